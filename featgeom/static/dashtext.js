/**
 * Text coloured by one or two features. The upper half of a token's ground is the first feature, the lower half the
 * second; strength is the share of each feature's largest activation, and a dotted line says that one fires alone.
 */

import { el, shown } from "./kit.js";
import { amount } from "./dashcharts.js";

/** @typedef {import("./dashdata.js").Passage} Passage */
/** @typedef {{row: number, text: string}} Piece of a text: a token, or with row -1 what belongs to none */

const LEFT = 72, RIGHT = 64;   // characters of a line beside its token; what does not fit is cut by the page
const ALONE = 0.3;             // share of its largest from which a feature that fires alone is marked

/** @type {Record<string, string>} */
const SIGNS = { "\n": "⏎", "\t": "⇥", "\r": "␍" };

/**
 * Text as it stands in a line: newlines, tabs and whatever else is unseen by their signs.
 * @param {string} text
 * @param {boolean} [broken] whether lines are broken too
 */
export function visible(text, broken = false) {
  const sign = (/** @type {string} */ c) => SIGNS[c] + (broken && c === "\n" ? "\n" : "");
  return text.split(/([\n\t\r])/).map((o) => (o in SIGNS ? sign(o) : shown(o, 5000))).join("");
}

/** A token on its own, as in lists: spaces are seen. @param {string} text */
export const tokenText = (text) => shown(visible(text).replaceAll(" ", "␣"), 40);

/**
 * The text of a row. Pieces of a split character share its place, so what they are stands beside the text.
 * @param {Passage} passage
 * @param {number} row
 */
export const rowText = ({ text, start, end, odd }, row) =>
  (Object.hasOwn(odd, row) ? odd[row] : text.slice(start[row], end[row]));

/**
 * Rows [from, to) of a passage and the text between them; at both ends of the passage also what lies beyond them.
 * @param {Passage} passage
 * @param {number} [from]
 * @param {number} [to]
 * @returns {Piece[]}
 */
export function piecesOf(passage, from = 0, to = passage.n) {
  /** @type {Piece[]} */
  const out = [];
  let seen = from ? passage.end[from - 1] : 0;
  for (let row = from; row < to; row++) {
    const gap = passage.text.slice(seen, passage.start[row]);
    if (gap && (row > from || !from)) out.push({ row: -1, text: gap });
    out.push({ row, text: rowText(passage, row) });
    seen = Math.max(seen, passage.end[row]);
  }
  if (to === passage.n && seen < passage.text.length) out.push({ row: -1, text: passage.text.slice(seen) });
  return out;
}

/**
 * The rows beside a token that a line has room for, first and last (exclusive).
 * @param {Passage} passage
 * @param {number} row
 */
export function windowOf({ start, end, n }, row) {
  let from = row, to = row + 1;
  while (from > 0 && start[row] - start[from - 1] <= LEFT && row - from < 40) from--;
  while (to < n && end[to] - end[row] <= RIGHT && to - row <= 40) to++;
  return [from, to];
}

/**
 * @typedef {Object} Colour how strongly one feature colours rows
 * @property {string} name
 * @property {(row: number) => number} value
 * @property {number} max
 */

/** @param {Colour | undefined} colour @param {number} row */
const share = (colour, row) => (colour ? Math.max(-1, Math.min(1, colour.value(row) / colour.max)) || 0 : 0);

/**
 * Which of two features fires alone on a row, strongly enough to be marked: 0, 1, or -1.
 * @param {Colour[]} colours
 * @param {number} row
 */
export function alone(colours, row) {
  if (colours.length < 2) return -1;
  const [a, b] = colours.map((o) => share(o, row));
  return Math.abs(a) >= ALONE && !b ? 0 : Math.abs(b) >= ALONE && !a ? 1 : -1;
}

/**
 * One token, or text of none.
 * @param {Piece} piece
 * @param {Colour[]} colours first the upper half
 * @param {boolean} [broken]
 * @param {string} [more] a class
 */
export function tokenSpan({ row, text }, colours, broken = false, more = "") {
  const node = document.createElement("span");
  node.textContent = visible(text, broken);
  if (row < 0) {
    node.className = "ds-gap";
    return node;
  }
  const [a, b] = [share(colours[0], row), share(colours[1], row)];
  node.dataset.row = String(row);
  let name = `ds-t${more}`;
  if (a || b) {
    /** @param {number} v */
    const percent = (v) => (v ? `${Math.round(8 + 42 * Math.abs(v))}%` : "0%");
    node.style.setProperty("--a", percent(a));
    node.style.setProperty("--b", percent(colours.length > 1 ? b : a));
    name += colours.length > 1 ? " ds-on" : " ds-on ds-one";
    if (a < 0 || b < 0) name += " ds-minus";
    const which = alone(colours, row);
    if (which >= 0) name += ` ds-alone${which}`;
  }
  node.className = name;
  return node;
}

/**
 * What a line says to who cannot see its colours: which tokens one of two features fires on alone.
 * @param {Passage} passage
 * @param {number} from
 * @param {number} to
 * @param {Colour[]} colours
 */
export function aloneWords(passage, from, to, colours) {
  const lists = colours.map(() => /** @type {string[]} */ ([]));
  for (let row = from; row < to; row++) {
    const which = alone(colours, row);
    if (which >= 0) lists[which].push(tokenText(rowText(passage, row)));
  }
  return lists.map((o, s) => (o.length ? `${shown(colours[s].name, 60)} alone on ${o.slice(0, 5).join(", ")}` : ""))
    .filter(Boolean).join("; ");
}

/**
 * The tip over a token: what it is, and every feature's activation with its place among the active ones.
 * @param {HTMLElement} stage what it stands in
 */
export function createTip(stage) {
  const element = el("div", { class: "ds-tip", role: "status", hidden: true });
  stage.append(element);
  return {
    element,
    /**
     * @param {HTMLElement} node
     * @param {string} token
     * @param {{name: string, side: number, value: number, quantile: number | null}[]} values
     */
    show(node, token, values) {
      element.replaceChildren(el("b", { class: "fg-text", dir: "auto" }, tokenText(token)), ...values.map((o) =>
        el("div", { class: `ds-side${o.side}` }, el("span", { class: "fg-text ds-who" }, o.name), " ",
          el("b", {}, o.value ? amount(o.value) : "0"), o.value ? ` ${placeWords(o.quantile)}` : " silent")));
      element.hidden = false;
      const box = node.getClientRects()[0] ?? node.getBoundingClientRect(), outer = stage.getBoundingClientRect();
      const left = Math.max(4, Math.min(box.left - outer.left - 6, outer.width - element.offsetWidth - 4));
      const above = box.top - outer.top - element.offsetHeight - 5;
      element.style.left = `${left}px`;
      element.style.top = `${box.top - element.offsetHeight < 8 ? box.bottom - outer.top + 5 : above}px`;
    },
    hide: () => { element.hidden = true; },
  };
}

/**
 * A quantile in words: of active values, how many are smaller.
 * @param {number | null} q
 */
export function placeWords(q) {
  if (q === null) return "";
  if (q >= 1) return "the largest";
  const top = 100 * (1 - q);
  return q >= 0.5 ? `top ${top < 0.95 ? top.toFixed(1) : Math.ceil(top - 0.01)} % of active`
    : `lowest ${Math.max(1, Math.ceil(100 * q - 0.01))} % of active`;
}
