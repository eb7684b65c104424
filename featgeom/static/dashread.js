/**
 * One text as both models read it: the text coloured by one feature of each, and token by token the strongest features.
 * Two tokenizers may cut the text differently: then it stands there twice, and tokens are beside each other by where
 * they begin.
 */

import { el, shown } from "./kit.js";
import { amount } from "./dashcharts.js";
import { nameOf } from "./dashfacts.js";
import { piecesOf, rowText, tokenSpan, tokenText } from "./dashtext.js";

/** @typedef {import("./dashdata.js").Read} Read */
/** @typedef {import("./dashdata.js").Spot} Spot */
/**
 * @typedef {Object} Half what one model makes of the text
 * @property {string} space
 * @property {import("./dashdata.js").Passage} passage
 * @property {number} k features a token
 * @property {ArrayLike<number>} ids (n * k), -1 for none
 * @property {ArrayLike<number>} values
 * @property {ArrayLike<number> | null} focus activation of the feature in focus
 * @property {Record<string, string>} labels
 * @property {Record<string, number>} max
 */

const FEW = 3;   // features a token until more are asked for
const POINT = "Point at a feature below to see where it fires.";

/**
 * @param {Read} read
 * @returns {Half[]}
 */
export function halvesOf({ meta, arrays }) {
  return meta.sides.map((/** @type {any} */ side, /** @type {number} */ s) => {
    const start = Uint32Array.from(arrays[`start${s}`] ?? []), size = arrays[`size${s}`] ?? [], n = start.length;
    /** @type {Record<string, string>} */
    const odd = {};
    for (let i = 1; i < n; i++) {   // pieces of one character
      if (start[i] !== start[i - 1] || !size[i]) continue;
      for (const row of [i - 1, i]) odd[row] = String(side.tokens?.[row] ?? "");
    }
    const ids = arrays[`top_id${s}`] ?? [];
    return { space: side.space, k: n ? Math.floor(ids.length / n) : 0, ids, values: arrays[`top_val${s}`] ?? [],
      focus: arrays[`focus${s}`] ?? null,
      labels: side.labels ?? {}, max: side.max ?? {},
      passage: { text: String(meta.text), doc: "", part: 0, parts: 1, n, start, end: start.map((o, i) => o + size[i]),
        odd } };
  });
}

/**
 * The activation of a feature where the page knows it: it is in focus, or among the strongest of the token.
 * @param {Half} half
 * @param {number} id
 * @param {number} focus the feature in focus
 */
export const valueOf = ({ focus: values, ids, values: top, k }, id, focus) => (/** @type {number} */ row) => {
  if (id === focus && values) return values[row];
  for (let j = row * k; j < (row + 1) * k; j++) if (ids[j] === id) return top[j];
  return 0;
};

/** @param {Half} a @param {Half} b whether both cut the text the same */
const sameCuts = ({ passage: a }, { passage: b }) =>
  a.n === b.n && a.start.every((v, i) => v === b.start[i] && a.end[i] === b.end[i]);

/**
 * @param {import("./dashboard.js").Act} act
 * @param {boolean} open whether the features of each token are seen at once
 */
export function createReadText(act, open) {
  const lines = el("div", { class: "ds-read" }), key = el("p", { class: "ds-small ds-readkey" });
  const table = el("ol", { class: "ds-rows" });
  const more = el("button", { type: "button", "aria-pressed": "false", onclick: () => {
    all = !all;
    draw();
  } }, "All that are known");
  const element = el("div", { class: "ds-readbox" }, key, lines,
    el("details", { open }, el("summary", {}, "Strongest features at each token"), more, table));
  /** @type {Half[]} */
  let halves = [];
  /** @type {HTMLElement[]} */
  let texts = [];
  let all = false;
  /** @type {Spot | null} */
  let over = null;

  const focusOf = (/** @type {string} */ space) => act.state().focus.find((o) => o[0] === space)?.[1] ?? -1;
  function paint() {
    const colours = halves.map((half) => {
      const focus = focusOf(half.space), id = over?.[0] === half.space ? over[1] : over ? -1 : focus,
        value = valueOf(half, id, focus);
      const seen = Array.from({ length: half.passage.n }, (_, row) => Math.abs(value(row)));
      return { name: nameOf([half.space, id]), id, value, max: half.max[id] || Math.max(1e-12, ...seen),
        known: Boolean(half.focus) && id === focus };
    });
    const one = halves.length > 1 && sameCuts(halves[0], halves[1]), only = colours.findIndex((o) => o.id >= 0);
    const single = colours.filter((o) => o.id >= 0).length === 1;
    texts = (one ? [halves[0]] : halves).map((half, s) => {
      const which = one && !single ? -1 : one ? only : s;
      const node = el("div", { class: `ds-readtext${which < 0 ? "" : ` ds-only${which}`}`, dir: "auto" });
      for (const piece of piecesOf(half.passage)) node.append(tokenSpan(piece, which < 0 ? colours : [colours[which]],
        true));
      return node;
    });
    lines.replaceChildren(...texts);
    const said = colours.filter((o) => o.id >= 0), names = said.map((o) => o.name).join(" and ");
    const both = one && said.length > 1 ? " (upper and lower half)" : "";
    const where = said.every((o) => o.known) ? ""
      : `, where ${said.length > 1 ? "they are" : "it is"} among the strongest of a token`;
    key.textContent = `${names ? `Coloured by ${names}${both}${where}. ` : ""}${POINT}`;
  }
  /** @param {Half} half @param {number} row @param {number} s */
  function chips(half, row, s) {
    const out = [];
    for (let j = row * half.k; j < (row + 1) * half.k && out.length < (all ? half.k : FEW); j++) {
      const id = half.ids[j], value = half.values[j];
      if (id < 0 || !value) continue;
      const spot = /** @type {Spot} */ ([half.space, id]), can = act.can([spot]), label = half.labels[id] ?? "";
      const strength = Math.min(1, Math.abs(value) / (half.max[id] || Math.abs(value)));
      /** @param {Spot | null} to */
      const point = (to) => () => {
        over = to;
        paint();
        act.point(to);
      };
      out.push(el("button", {
        type: "button", class: "ds-feature", style: `--w:${Math.round(100 * strength)}%`,
        "aria-disabled": can ? null : "true", title: can ? `${nameOf(spot)} ${shown(label, 120)}` : act.why([spot]),
        onclick: () => (can ? act.go([spot]) : act.say(act.why([spot]))),
        onpointerenter: point(spot), onpointerleave: point(null), onfocus: point(spot), onblur: point(null),
      }, el("b", {}, String(id)), " ", el("span", { class: "fg-text", dir: "auto" }, shown(label, 60)), " ",
        el("small", {}, amount(value))));
    }
    return el("span", { class: `ds-features ds-side${s}` },
      ...(out.length ? out : [el("small", { class: "fg-muted" }, "–")]));
  }
  function draw() {
    more.setAttribute("aria-pressed", String(all));
    more.hidden = halves.every((o) => o.k <= FEW);
    const [first, second] = halves, same = second && sameCuts(first, second);
    const rows = [el("li", { class: "ds-small" }, el("span", {}, "token"),
      ...halves.map((o) => el("span", { class: "fg-text" }, shown(o.space, 40))))];
    for (let row = 0, other = 0; row < first.passage.n; row++) {
      const cells = [el("span", { class: "ds-token fg-text", dir: "auto" }, tokenText(rowText(first.passage, row))),
        chips(first, row, 0)];
      if (same) cells.push(chips(second, row, 1));
      else if (second) {
        const until = row + 1 < first.passage.n ? first.passage.start[row + 1] : Infinity,
          there = el("span", { class: "ds-others" });
        for (; other < second.passage.n && second.passage.start[other] < until; other++)
          there.append(el("span", { class: "ds-other" },
            el("span", { class: "ds-token fg-text", dir: "auto" }, tokenText(rowText(second.passage, other))),
            chips(second, other, 1)));
        cells.push(there);
      }
      rows.push(el("li", {}, ...cells));
    }
    table.replaceChildren(...rows);
    table.dataset.sides = String(halves.length);
  }
  lines.addEventListener("pointerover", (event) => {
    const node = /** @type {HTMLElement | null} */ (/** @type {Element} */ (event.target).closest(".ds-t")),
      row = Number(node?.dataset.row);
    const own = texts.findIndex((o) => node && o.contains(node)), known = halves.some((o) => o.focus) && !over;
    act.token(node && known ? { node, token: rowText(halves[own].passage, row),
      values: halves.map((o, s) => (o.focus && (texts.length === 1 || s === own) ? o.focus[row] : null)) } : null);
  });
  lines.addEventListener("pointerleave", () => act.token(null));
  return {
    element,
    /** @param {Read} read */
    update(read) {
      halves = halvesOf(read);
      over = null;
      paint();
      draw();
    },
  };
}
