/**
 * How points look: one small table of styles, read from the page's CSS variables, and one style number for every
 * point.
 */

import { cssVar } from "./kit.js";

export const COLOURS = 9;  // the plain colour and eight for clusters

/** Looks of a point, the lowest layer first. */
export const LAYERS = [
  "dim hollow", "dim", "hollow", "full", "partner", "selected hollow", "selected", "found hollow", "found",
];

/**
 * "#rgb" or "#rrggbb" as three numbers.
 * @param {string} text
 * @returns {[number, number, number]}
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
 * @returns {{paper: [number, number, number], table: import("./splat.js").Style[]}}
 */
export function readStyles(root) {
  /** @param {string} name */
  const colour = (name) => rgb(cssVar(root, name));
  const [paper, ink, found, mark] = ["paper", "ink", "found", "mark"].map((name) => colour(`--lm-${name}`));
  const fills = Array.from({ length: COLOURS }, (_, c) => colour(`--lm-c${c}`));
  /** @type {import("./splat.js").Style[]} */
  const table = [];
  for (const layer of LAYERS) {
    for (const fill of fills) {
      const hollow = layer.endsWith("hollow"), plain = { fill, alpha: 1, ring: fill, ringAlpha: 1, scale: 1, line: 1 };
      if (layer.startsWith("dim")) table.push({ ...plain, alpha: hollow ? 0 : 0.16, ringAlpha: hollow ? 0.16 : 0 });
      else if (layer === "hollow") table.push({ ...plain, alpha: 0, ringAlpha: 0.55 });
      else if (layer === "full") table.push({ ...plain, alpha: 0.82, ringAlpha: 0 });
      else if (layer === "partner") table.push({ ...plain, fill: mark, ring: ink, scale: 1.5 });
      else {
        const chosen = layer.startsWith("selected") ? { fill, ring: ink, scale: 1.5 }
          : { fill: found, ring: found, scale: 1.7, line: 2 };
        table.push({ ...plain, ...chosen, fill: hollow ? paper : chosen.fill });
      }
    }
  }
  return { paper, table };
}

/**
 * @typedef {Object} Looks what decides the look of a panel's points
 * @property {Uint8Array} linked 1 where a shown pair is beyond chance
 * @property {Uint8Array} colour 0 to COLOURS - 1
 * @property {Set<number>} selected
 * @property {Set<number>} partners of what is selected anywhere
 * @property {Set<number>} found by the search
 * @property {boolean} dimmed whether the rest steps back
 */

/**
 * @param {Looks} looks
 * @returns {Uint8Array} a style number for every point
 */
export function styleOf({ linked, colour, selected, partners, found, dimmed }) {
  const out = new Uint8Array(linked.length);
  const [base, step] = [(dimmed ? 0 : 2) * COLOURS, COLOURS];
  for (let i = 0; i < out.length; i++) out[i] = base + linked[i] * step + colour[i];
  for (const i of partners) out[i] = 4 * COLOURS;
  for (const i of selected) out[i] = (5 + linked[i]) * COLOURS + colour[i];
  for (const i of found) out[i] = (7 + linked[i]) * COLOURS;
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
