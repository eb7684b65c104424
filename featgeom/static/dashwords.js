/**
 * What the page says under everything: what it rests on, what the chance levels are, which keys there are.
 */

import { el, shown } from "./kit.js";
import { grouped } from "./maplabels.js";
import { MEASURES, STATS } from "./dashfacts.js";

/** @type {Record<string, string>} */
const NULLS = { ...MEASURES, score: "null of a score", within: "within", cosine: "chance of a cosine",
  cofire: "null of firing together",
  logits: "fine line of logit effects", held: "held out", agreement: "chance of agreement" };

const WORDS = [
  "Keys: j or → next, k or ← previous, r random, u back, s bookmark, / jump. In the examples: ↑ and ↓ go from line to "
    + "line, → and ← walk the tokens of a line, Enter opens the whole passage, Escape closes it.",
  "On the line of a score: ● the score, ┃ its null with what chance reaches below it, ○ the score among rows of one "
    + "token, ◇ on held-out documents.",
  "Strength of a colour is the share of the feature's largest activation; hatched is below zero. “Top 3 % of active” "
    + "counts only tokens on which the feature fires.",
  "Scores say what goes together on these texts, not what would follow if one of the two were changed.",
];

/** @param {import("./dashdata.js").Dash} dash */
export function helpText(dash) {
  const spaces = dash.spaces.map((o) => el("p", { class: "fg-text" }, el("b", {}, shown(o.name, 40)),
    ` ${grouped(o.f)} features on ${grouped(o.n)} ${shown(o.rows, 20)}`, o.note ? `; ${shown(o.note, 400)}` : null));
  const nulls = Object.entries(dash.nulls).flatMap(([name, words]) => (typeof words === "string" && words
    ? [el("dt", { class: "fg-text" }, Object.hasOwn(NULLS, name) ? NULLS[name] : shown(name, 40)),
      el("dd", { class: "fg-text" }, shown(words, 600))] : []));
  return el("details", { class: "ds-help" }, el("summary", {}, "Keys, and what the numbers mean"), ...spaces,
    ...WORDS.map((o) => el("p", {}, o)),
    el("dl", {}, ...nulls, ...STATS.filter(([, , what]) => what)
      .flatMap(([, name, what]) => [el("dt", {}, name), el("dd", {}, what)])));
}
