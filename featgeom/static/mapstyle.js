/**
 * How points look. Every point has a style number, from its layer, colour, size and outline; what a style looks like
 * is worked out from the page's CSS variables when a point first has it.
 */

import { cssVar } from "./kit.js";
import { CATEGORIES, STEPS, colourVar } from "./mapcolour.js";

export const COLOURS = CATEGORIES + STEPS;
/** Radius at each of the sizes; points without a size have the second. */
export const SIZES = [0.7, 1, 1.4, 1.9];
export const OUTLINES = 3;

/** Looks of a point, the lowest layer first. */
export const LAYERS = [
  "off hollow", "off", "dim hollow", "dim", "untested hollow", "hollow", "left hollow", "full", "partner",
  "selected hollow", "selected", "found hollow", "found",
];
const [OFF, DIM, UNTESTED, LEFT, FULL, PARTNER, SELECTED, FOUND] = [
  "off hollow", "dim hollow", "untested hollow", "left hollow", "full", "partner", "selected hollow", "found hollow",
].map((name) => LAYERS.indexOf(name));

/** @typedef {import("./splat.js").Style} Style */
/** @typedef {import("./splat.js").Rgb} Rgb */

/**
 * @param {number} layer
 * @param {number} colour palette entry; of what is found, the number of the search
 * @param {number} size
 * @param {number} outline
 */
export function styleNumber(layer, colour, size, outline) {
  return ((layer * COLOURS + colour) * SIZES.length + size) * OUTLINES + outline;
}

/**
 * "#rgb" or "#rrggbb" as three numbers.
 * @param {string} text
 * @returns {Rgb}
 */
export function rgb(text) {
  const hex = text.replace("#", "");
  const full = hex.length === 3 ? [...hex].map((c) => c + c).join("") : hex;
  if (!/^[0-9a-f]{6}$/i.test(full)) throw new Error(`The map's colours are plain hexadecimal ones, not "${text}".`);
  const v = parseInt(full, 16);
  return [v >> 16, (v >> 8) & 255, v & 255];
}

/**
 * @param {Element} root
 * @returns {{paper: Rgb, style: (number: number) => Style}} to be read anew when the theme changes
 */
export function readStyles(root) {
  /** @type {Record<string, Rgb>} */
  const colours = {};
  /** @param {string} name */
  const colour = (name) => (colours[name] ??= rgb(cssVar(root, name)));
  /** @type {Style[]} */
  const made = [];
  return { paper: colour("--lm-paper"), style: (number) => (made[number] ??= makeStyle(number, colour)) };
}

/**
 * A quarter of a colour on paper: however many such points lie on each other, they stay as pale.
 * @param {Rgb} own
 * @param {Rgb} paper
 * @returns {Rgb}
 */
function mixed(own, paper) {
  const [r, g, b] = own.map((v, c) => Math.round(0.25 * v + 0.75 * paper[c]));
  return [r, g, b];
}

/**
 * Opacity of layers, by the first word of their names; the others' depends on the colour.
 * @type {Record<string, number>}
 */
const FAINT = { off: 0.2, dim: 0.16, untested: 0.4, hollow: 0.55, left: 0.9 };

/**
 * @param {number} number
 * @param {(name: string) => Rgb} colour
 * @returns {Style}
 */
function makeStyle(number, colour) {
  const outline = number % OUTLINES, rest = Math.floor(number / OUTLINES), shade = Math.floor(rest / SIZES.length);
  const layer = Math.floor(shade / COLOURS), code = shade % COLOURS, name = LAYERS[layer];
  const hollow = name.endsWith("hollow"), found = name.startsWith("found"), strong = layer >= PARTNER;
  const own = colour(found ? `--lm-f${code}` : name === "partner" ? "--lm-mark" : colourVar(code));
  const paper = colour("--lm-paper"), fill = layer < DIM ? mixed(own, paper) : own;
  const faint = FAINT[name.split(" ")[0]] ?? (code ? 0.82 : 0.6);
  const size = SIZES[rest % SIZES.length] * (layer === UNTESTED ? 0.75 : 1);
  const plain = {
    layer, strong, fill, alpha: hollow ? 0 : faint, ring: fill, ringAlpha: hollow ? faint : 0, scale: size,
    line: layer === LEFT ? 1.5 : 1, edge: colour("--lm-ink"), edgeAlpha: layer < UNTESTED ? faint : 0.9,
    edgeLine: outline,
  };
  if (!strong) return plain;
  const ring = found ? fill : colour("--lm-ink"), scale = size * (found ? 1.7 : 1.5), line = found ? 2 : 1;
  return { ...plain, fill: hollow ? paper : fill, alpha: 1, ring, ringAlpha: 1, scale, line };
}

/**
 * @typedef {Object} Looks what decides the look of a panel's points; lists have a value for each
 * @property {Uint8Array} linked 1 where a shown pair is beyond chance
 * @property {Uint8Array} tested 1 where any pair was tested
 * @property {import("./mapcolour.js").Scale} scale what the codes mean
 * @property {Uint8Array} codes palette entry
 * @property {Uint8Array | null} size 0 to 3
 * @property {Uint8Array | null} outline 0 to 2
 * @property {Uint8Array} selected 1 where it is
 * @property {Uint8Array} partners 1 for partners of what is selected anywhere
 * @property {Uint8Array} found 0, or the number of the search plus 1
 * @property {Uint8Array} allowed 0 where the legend has switched a point off
 * @property {boolean} dimmed whether the rest steps back
 */

/**
 * A style number for every point. Where the legend has switched points off, hollow ones that are left stand out.
 * @param {Looks} looks
 * @returns {Uint16Array}
 */
export function styleOf({ linked, tested, codes, size, outline, selected, partners, found, allowed, dimmed }) {
  const n = linked.length, out = new Uint16Array(n), filtered = allowed.includes(0);
  for (let i = 0; i < n; i++) {
    let layer = dimmed ? DIM + linked[i] : linked[i] ? FULL : filtered ? LEFT : UNTESTED + tested[i], colour = codes[i];
    let edge = outline ? outline[i] : 0;
    if (!allowed[i]) layer = OFF + linked[i];
    else if (found[i]) {
      layer = FOUND + linked[i];
      colour = found[i] - 1;
      if (selected[i]) edge = 2;
    } else if (selected[i]) layer = SELECTED + linked[i];
    else if (partners[i]) {
      layer = PARTNER;
      colour = 0;
    }
    out[i] = styleNumber(layer, colour, size ? size[i] : 1, edge);
  }
  return out;
}

/**
 * Radius of a point: smaller where there are many, growing slowly with zoom.
 * @param {number} n
 * @param {number} zoom
 */
export function radiusFor(n, zoom) {
  const base = Math.min(4.2, Math.max(1, 4.2 - 0.35 * Math.log2(Math.max(1, n) / 256)));
  return Math.min(7, base * Math.max(1, zoom) ** 0.3);
}
