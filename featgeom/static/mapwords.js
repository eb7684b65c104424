/**
 * What the page says under the maps: what the pictures mean and do not mean, how to use it, what the numbers are.
 */

import { el, shown } from "./kit.js";
import { grouped } from "./maplabels.js";

/**
 * What a reader must know about the whole.
 * @param {import("./mapdata.js").MapData} data
 */
export function wordsOf({ panels, sets, meta }) {
  /** @type {string[]} */
  const notes = (meta.notes ?? []).map((/** @type {string} */ text) => shown(text, 400));
  for (const { left, right, kept, total, limit } of meta.pairs) {
    if (kept === total) continue;
    notes.push(`${shown(panels[left].name, 30)} and ${shown(panels[right].name, 30)}: ${grouped(kept)} of `
      + `${grouped(total)} pairs are in this page, the best partner of every feature and then the strongest whose ends `
      + `have fewer than ${limit}; the rest needs a running kernel.`);
  }
  const recall = panels.some((p) => p.note.includes("kNN recall")) ? ": the kNN recall says how often" : "";
  const words = [`Near points of one map are often alike${recall}.`];
  if (panels.length > 1) words.push("Distances, directions and places mean nothing between maps: only the links do.");
  if (sets.some((set) => set.q.some(Number.isFinite)))
    words.push("A feature is tested on its best partner; other partners have no q.");
  return [...words, ...notes];
}

/**
 * @param {string} id
 * @param {import("./mapdata.js").MapData} data
 * @param {string} given
 */
export function helpText(id, data, given) {
  const metric = shown([...new Set(data.sets.map((set) => set.metric))].join(", "), 60);
  const numbers = Object.entries({
    score: `how alike two features fire on the same rows (${metric})`,
    null: "what the best of as many chance partners reaches: 95 % of them stay below",
    q: "share of false finds among partners that look at least as good (Benjamini and Hochberg); where none stands, "
      + "that pair was not tested",
    [`within ${given}`]: `the same score among rows of one ${given}: what is left once the ${given} is held fixed`,
    mutual: "each is the other's best partner",
    histogram: "bars are scores and the line is their nulls, each drawn to its own top, by square roots",
    trustworthiness: "1 where near points of the picture are near in the model too",
    "kNN recall": "share of the nearest neighbours in the model that are among the nearest in the picture",
  });
  const keys = el("p", { id },
    "Point at a feature to see its partners; click pins it; double-click zooms to it and its partners. The wheel ",
    "zooms, a drag moves, Shift and a drag select: Ctrl adds, Alt removes. Touch: tap to point, press long to pin, ",
    "two fingers zoom. Keys in a map: arrows walk the partners, g goes to the partner, Shift and arrows go to the next ",
    "feature, Enter pins, s selects, z zooms to the pair, + and − zoom, 0 shows the whole maps, Escape lets go of the ",
    "feature, then of the selection; pins stay. Legend: a click on a name isolates, on its spot (or with Shift) switches it.");
  return el("details", { class: "lm-help" }, el("summary", {}, "Keys, gestures, and what the numbers mean"), keys,
    el("dl", {}, ...numbers.flatMap(([name, text]) => [el("dt", {}, name), el("dd", {}, text)])));
}
