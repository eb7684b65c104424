/**
 * The legend is the filter: a click on an entry leaves it alone on the map, on its spot it switches that one off or on.
 * Groups are independent: whether a point has a partner, and what colours it.
 */

import { el, shown } from "./kit.js";
import { brief, colourVar } from "./mapcolour.js";
import { grouped } from "./maplabels.js";

export const LINKS = ["link:linked", "link:alone", "link:untested"];
/** Points of no category: an entry like any other. */
export const NONE = "cat:";

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
 * @param {ArrayLike<number> | null} cats category of each point, an index into names
 * @param {string[]} names
 * @returns {Uint8Array}
 */
export function allowedPoints(off, linked, tested, cats, names) {
  const out = new Uint8Array(linked.length), link = LINKS.map((o) => !off.includes(o));
  const category = names.map((name) => !off.includes(`cat:${name}`)), none = !off.includes(NONE);
  for (let i = 0; i < out.length; i++)
    out[i] = Number(link[linked[i] ? 0 : tested[i] ? 1 : 2] && (!cats || (cats[i] < 0 ? none : category[cats[i]])));
  return out;
}

/**
 * @param {import("./linkedmap.js").Act} act
 * @param {string} given what within scores hold fixed: "token"; "" without pairs
 */
export function createLegend(act, given) {
  const element = el("div", { class: "lm-legend", role: "group", "aria-label": "Legend, also a filter" });
  /**
   * @param {string} key class of the swatch
   * @param {string | null} colour
   * @param {string} text
   */
  const entry = (key, colour, text) => [
    el("i", { class: `lm-key lm-${key}`, style: colour ? `--lm-key: ${colour}` : null, "aria-hidden": "true" }),
    el("span", { class: "fg-text", dir: "auto" }, text),
  ];
  /** @param {string} title @param {Node[]} entries */
  const group = (title, entries) => el("div", { class: "lm-group" }, el("b", { class: "fg-text" }, title), ...entries);

  return {
    element,
    /**
     * @param {import("./linkedmap.js").MapState} doc
     * @param {import("./mapcolour.js").Scale} scale
     * @param {number[]} counts points of each of LINKS
     * @param {number[]} sizes points of each category of the scale, and of none
     * @param {string} beyond what a partner must be: "beyond chance", and what slider and filter ask for
     * @param {boolean} chosen whether anything is selected
     * @param {{size: string[], outline: string[]}} levels what the levels of size and outline mean
     */
    update(doc, scale, counts, sizes, beyond, chosen, levels) {
      const { activeElement } = /** @type {Document | ShadowRoot} */ (element.getRootNode());   // marimo: a shadow root
      const focused = element.contains(activeElement) && activeElement?.getAttribute("data-entry");
      /** @param {string[]} all @param {string} id @param {Node[]} parts */
      const button = (all, id, parts) => el("button", {
        type: "button", "data-entry": id, "aria-pressed": String(!doc.off.includes(id)),
        title: "click: only this, again: all; on the spot, or with Shift: off or on",
        onclick: (/** @type {MouseEvent} */ e) => {
          const spot = /** @type {Element} */ (e.target).classList.contains("lm-key");   // touch has no Shift
          act.set({ off: switched(doc.off, all, id, e.shiftKey || spot) });
        },
      }, ...parts);
      const states = [
        ["full", `has a partner ${beyond}`], ["hollow", `tested, none ${beyond}`], ["hollow lm-faint", "not tested"],
      ];
      const links = states.flatMap(([key, text], i) => (counts[i] || i < 2
          ? [button(LINKS, LINKS[i], entry(key, null, `${text} · ${grouped(counts[i])}`))] : []));
      const marks = [["mark", "this feature and its partners"], ["dash", `dashed: no more than the same ${given}`],
        ...(chosen ? [["ring", "selected"], ["partner", "tested partner of what is selected"]] : [])]
        .map(([key, text]) => el("span", { class: "lm-entry" }, ...entry(key, null, text)));
      const groups = given ? [group("partners", [...links, ...marks])] : [];   // without pairs there is nothing to say
      if (scale.kind === "category") {
        const entries = [...scale.entries, { name: "", code: 0 }].filter((o, i) => o.name || sizes[i]);
        const all = entries.map((o) => `cat:${o.name}`);
        groups.push(group(scale.title, entries.map(({ name, code }, i) => button(all, all[i], entry(
          name ? "full" : "full lm-faint", `var(${colourVar(code)})`,
          `${shown(name, 40) || "none"} · ${grouped(sizes[i])}`)))));
      } else if (scale.kind === "number") {
        /** @param {number} v */
        const end = (v) => brief(scale.log ? 10 ** v : v);
        groups.push(group(scale.title, [el("span", { class: "lm-entry" }, end(scale.low),
          el("i", { class: "lm-ramp", "aria-hidden": "true" }), end(scale.high), ...entry("full", null, "no value"))]));
      }
      for (const name of /** @type {const} */ (["size", "outline"])) {
        const title = doc[name], texts = levels[name];
        if (title) groups.push(group(`${name}: ${shown(title, 40)}`, texts.flatMap((text, i) =>
          (text ? [el("span", { class: "lm-entry" }, ...entry(`${name}${i}`, null, shown(text, 40)))] : []))));
      }
      element.replaceChildren(...groups);
      if (focused) {
        const again = [...element.querySelectorAll("button")].find((o) => o.dataset.entry === focused);
        again?.focus({ preventScroll: true });
      }
    },
  };
}
