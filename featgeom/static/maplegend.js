/**
 * The legend is the filter: a click on an entry leaves it alone on the map, on its spot it switches that one off or on.
 * Groups are independent: whether a point has a partner, and what colours it.
 */

import { el, shown } from "./kit.js";
import { brief, colourVar } from "./mapcolour.js";
import { grouped } from "./maplabels.js";

/** @typedef {import("./linkedmap.js").MapState} MapState */
/** @typedef {import("./linkedmap.js").Derived} Derived */
/**
 * @typedef {Object} Entry
 * @property {string} id what the state calls it while it is off; "" where it cannot be switched
 * @property {string} key the kind of its swatch, a class of the style sheet
 * @property {string} colour CSS variable of the swatch, "" for the usual one
 * @property {string} text
 * @property {boolean} on
 */

export const LINKS = ["link:linked", "link:alone", "link:untested"];
const SWATCHES = ["full", "hollow", "hollow lm-faint"];   // of LINKS
const NONE = "none:";   // points of no category

/** The id of a category; those without a colour of their own are one entry. @param {{name: string, code: number}} of */
const idOf = ({ name, code }) => (code ? `cat:${name}` : "rest:");

/**
 * The entries that are off after a click on one of a group.
 * @param {string[]} off
 * @param {string[]} group all entries of the group
 * @param {string} entry
 * @param {boolean} toggle switch this one alone; else leave it alone on the map, and a second time bring all back
 * @returns {string[]}
 */
export function switched(off, group, entry, toggle) {
  const rest = off.filter((o) => !group.includes(o)), mine = off.filter((o) => group.includes(o));
  if (toggle) return mine.includes(entry) ? off.filter((o) => o !== entry) : [...off, entry];
  const others = group.filter((o) => o !== entry);
  const alone = !mine.includes(entry) && others.every((o) => mine.includes(o));
  return alone ? rest : [...rest, ...others];
}

/**
 * Points that pass the legend: 1 where nothing that is off applies to them.
 * @param {string[]} off
 * @param {Uint8Array} linked
 * @param {Uint8Array} tested
 * @param {ArrayLike<number> | null} cats category of each point, an index into entries
 * @param {{name: string, code: number}[]} entries
 * @returns {Uint8Array}
 */
export function allowedPoints(off, linked, tested, cats, entries) {
  const out = new Uint8Array(linked.length), link = LINKS.map((o) => !off.includes(o));
  const category = entries.map((o) => !off.includes(idOf(o)));
  const none = !off.includes(NONE);
  for (let i = 0; i < out.length; i++)
    out[i] = Number(link[linked[i] ? 0 : tested[i] ? 1 : 2] && (!cats || (cats[i] < 0 ? none : category[cats[i]])));
  return out;
}

/**
 * What the legend says, on the page and in print.
 * @param {Pick<MapState, "off" | "selection" | "size" | "outline">} doc
 * @param {Pick<Derived, "given" | "beyond" | "scale" | "levels" | "counts" | "sizes">} derived
 * @returns {{title: string, entries: Entry[]}[]}
 */
export function legendOf(doc, { given, beyond, scale, levels, counts, sizes }) {
  /** @param {string} key @param {string} text @param {string} [id] @param {string} [colour] @returns {Entry} */
  const entry = (key, text, id = "", colour = "") => ({ id, key, colour, text, on: !doc.off.includes(id) });
  /** @param {string} id @param {string} name @param {number} i @param {number} code */
  const category = (id, name, i, code) => entry("full", `${name} · ${grouped(sizes[i])}`, id, colourVar(code));
  const groups = [];
  if (given) {   // without pairs there is nothing to say
    const links = [`has a partner ${beyond}`, `tested, none ${beyond}`, "not tested"].flatMap((text, i) =>
      (counts[i] || i < 2 ? [entry(SWATCHES[i], `${text} · ${grouped(counts[i])}`, LINKS[i])] : []));
    const chosen = doc.selection.some((o) => o.length)
      ? [entry("ring", "selected"), entry("partner", `partner of what is selected, ${beyond}`)] : [];
    groups.push({ title: "partners", entries: [...links, entry("mark", "feature in focus or pinned, and its partners"),
      entry("dash", `dashed: no more than the same ${given}`), ...chosen] });
  }
  const title = shown(scale.title, 40), none = scale.entries.length;
  if (scale.kind === "category") {
    const entries = scale.entries.map((o, i) => category(idOf(o), o.code ? shown(o.name, 40) : "others", i, o.code));
    groups.push({ title, entries: [...entries, ...(sizes[none] ? [category(NONE, "none", none, 0)] : [])] });
  } else if (scale.kind === "number") {
    const [low, high] = [scale.low, scale.high].map((v) => brief(scale.log ? 10 ** v : v));
    const some = scale.codes.some((o) => o.includes(0)) ? [entry("full", "no value")] : [];
    groups.push({ title, entries: [entry("ramp", `${low} to ${high}${scale.log ? ", logarithmic" : ""}`), ...some] });
  }
  for (const name of /** @type {const} */ (["size", "outline"])) {
    if (doc[name]) groups.push({ title: `${name}: ${shown(doc[name], 40)}`, entries: levels[name].flatMap((text, i) =>
      (text ? [entry(name + i, shown(text, 40))] : [])) });
  }
  return groups;
}

/** @param {import("./linkedmap.js").Act} act */
export function createLegend(act) {
  const element = el("div", { class: "lm-legend", role: "group", "aria-label": "Legend, also a filter" });
  /** @param {Entry} entry */
  const parts = ({ key, colour, text }) => [
    el("i", { class: `lm-key lm-${key}`, style: colour ? `--lm-key: var(${colour})` : null, "aria-hidden": "true" }),
    el("span", { class: "fg-text", dir: "auto" }, text),
  ];
  return {
    element,
    /**
     * @param {MapState} doc
     * @param {Derived} derived
     */
    update(doc, derived) {
      const { activeElement } = /** @type {Document | ShadowRoot} */ (element.getRootNode());   // marimo: a shadow root
      const focused = element.contains(activeElement) && activeElement?.getAttribute("data-entry");
      /** @param {string[]} all ids of the group @param {Entry} one */
      const button = (all, one) => el("button", {
        type: "button", "data-entry": one.id, "aria-pressed": String(one.on),
        title: "click: only this, again: all; on the spot, or with Shift: off or on",
        onclick: (/** @type {MouseEvent} */ e) => {
          const spot = /** @type {Element} */ (e.target).classList.contains("lm-key");   // touch has no Shift
          act.set({ off: switched(doc.off, all, one.id, e.shiftKey || spot) });
        },
      }, ...parts(one));
      element.replaceChildren(...legendOf(doc, derived).map(({ title, entries }) => {
        const all = entries.map((o) => o.id).filter(Boolean);
        return el("div", { class: "lm-group" }, el("b", { class: "fg-text" }, title),
          ...entries.map((o) => (o.id ? button(all, o) : el("span", { class: "lm-entry" }, ...parts(o)))));
      }));
      if (focused) {
        const again = [...element.querySelectorAll("button")].find((o) => o.dataset.entry === focused);
        again?.focus({ preventScroll: true });
      }
    },
  };
}
