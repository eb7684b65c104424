/**
 * Labels of the linked map: what they say and where they stand.
 */

import { el, shown } from "./kit.js";
import { BEYOND, MUTUAL, TOKEN_ONLY, partnersOf, sameToken, tokensOf } from "./mapdata.js";

/**
 * A number as it is written in a table: ".87", "−.12", "1.00", a dash where there is none.
 * @param {number} v
 */
export function short(v) {
  if (!Number.isFinite(v)) return "–";
  return (v < -0.005 ? "−" : "") + Math.abs(v).toFixed(2).replace(/^0/, "");
}

/**
 * A q value, rounded up: never shown smaller than it is. A map holds thousandths, rounded up as well.
 * @param {number} q
 */
export function shortQ(q) {
  if (!Number.isFinite(q)) return "–";
  const up = Math.ceil(1000 * q - 1e-4);   // 1e-4: what single precision leaves of a thousandth
  if (up <= 1) return "≤ .001";
  return up < 100 ? (up / 1000).toFixed(3).replace(/^0/, "") : short(Math.ceil(up / 10) / 100);
}

const NUMBERS = new Intl.NumberFormat("en");   // making one is slow
/** @param {number} n */
export const grouped = (n) => NUMBERS.format(n);

/**
 * @param {import("./mapdata.js").MapData} data
 * @param {number} panel
 * @param {number} point
 */
export const nameOf = (data, panel, point) => `${shown(data.panels[panel].name, 40)} ${data.panels[panel].ids[point]}`;

/**
 * Said of a feature that has no top tokens; nothing where no feature has any.
 * @param {import("./mapdata.js").PanelData} p
 */
export const none = (p) => (p.tokens.length ? el("span", { class: "fg-muted" }, `no ${shown(p.rows, 40)}`) : null);

/**
 * The head of every label: feature id and its top tokens.
 * @param {import("./mapdata.js").MapData} data
 * @param {number} panel
 * @param {number} point
 */
export function title(data, panel, point) {
  const tokens = tokensOf(data, panel, point).slice(0, 5);
  const chips = tokens.map((t) => el("span", { class: "lm-token fg-text", dir: "auto" }, shown(t, 24)));
  return el("div", { class: "lm-title" }, el("b", { class: "fg-text", dir: "auto" }, nameOf(data, panel, point)),
    ...chips, !chips.length && none(data.panels[panel]));
}

/**
 * What a pair may be no more than: the same token, or whatever the within score holds fixed; "" where it is more.
 * @param {import("./mapdata.js").PairSet} set
 * @param {number} e
 */
export function doubt(set, e) {
  if (!sameToken(set, e)) return "";
  return set.flags[e] & TOKEN_ONLY ? `same ${set.given} only` : `not beyond the ${set.given}`;
}

/**
 * The evidence of one pair, as numbers with their names.
 * @param {import("./mapdata.js").PairSet} set
 * @param {number} e
 */
export function evidence(set, e) {
  const only = set.flags[e] & TOKEN_ONLY, tested = Number.isFinite(set.q[e]);
  const mutual = set.flags[e] & MUTUAL ? "mutual" : tested ? "not mutual" : "";
  /** @param {string} name @param {string} value */
  const part = (name, value) => el("span", {}, el("i", {}, name), " ", el("b", {}, value));
  return el("div", { class: "lm-evidence" },
    part("score", short(set.score[e])), part("null", short(set.chance[e])),
    tested ? part("q", shortQ(set.q[e])) : null,
    only ? null : part(`within ${set.given}`, short(set.within[e])),
    doubt(set, e) && el("span", { class: "lm-only" }, doubt(set, e)),
    mutual && el("span", { class: "lm-mutual" }, mutual),
    weak(set, e) && el("span", { class: "lm-weak" }, weak(set, e)));
}

/**
 * One sentence for a screen reader: the feature in focus and the partner that is walked to.
 * @param {import("./mapdata.js").MapData} data
 * @param {import("./linkedmap.js").Focus} focus
 * @param {number} partner
 */
export function spoken(data, { panel, point, partners }, partner) {
  /** @param {number} p @param {number} i */
  const said = (p, i) => [nameOf(data, p, i), ...tokensOf(data, p, i).slice(0, 3).map((t) => shown(t, 24))].join(", ");
  const own = said(panel, point), to = partners[partner], count = partners.length;
  if (!to) return `${[own, alone(data, panel, point)].filter(Boolean).join("; ")}.`;
  const { panel: p, point: i, set: s, edge: e } = to, set = data.sets[s];
  const within = set.flags[e] & TOKEN_ONLY ? "" : `within ${set.given} ${short(set.within[e])}`;
  const more = [within, doubt(set, e), weak(set, e)].filter(Boolean).join(", ");
  const which = partner ? `partner ${partner + 1} of ${count}:` : `${count} partner${count > 1 ? "s" : ""}, first`;
  return `${own}; ${which} ${said(p, i)}, score ${short(set.score[e])}, null ${short(set.chance[e])}, ${more}.`;
}

/**
 * What a test says against a pair: "" where it is beyond chance, or was not the pair that its feature was tested on.
 * @param {import("./mapdata.js").PairSet} set
 * @param {number} e
 */
export function weak(set, e) {
  if (!Number.isFinite(set.chance[e])) return "not tested";
  return Number.isFinite(set.q[e]) && !beyond(set, e) ? "not beyond chance" : "";
}

/**
 * Why a feature has no partner here; "" in a panel that has no pairs.
 * @param {import("./mapdata.js").MapData} data
 * @param {number} panel
 * @param {number} point
 */
export function alone(data, panel, point) {
  if (!data.panels[panel].links.length) return "";
  const tested = partnersOf(data, panel, point).some((o) => Number.isFinite(data.sets[o.set].test[o.edge]));
  return tested ? "no partner at this score" : "not tested";
}

/**
 * Whether a pair is better than chance.
 * @param {import("./mapdata.js").PairSet} set
 * @param {number} e
 */
export const beyond = (set, e) => Boolean(set.flags[e] & BEYOND);

/** @typedef {{x: number, y: number, w: number, h: number}} Rect */

const BESIDE = 26;   // pixels from a mark to a label that is still seen to be its

/**
 * Put boxes near their anchors so that they stay inside, keep off each other and off the anchors. Greedy, in the given
 * order; a box that finds no free place takes the one with the least overlap.
 * @param {{x: number, y: number, w: number, h: number}[]} wanted anchor and size of each box
 * @param {number} width
 * @param {number} height
 * @param {number} [gap] between anchor and box
 * @returns {Rect[]}
 */
export function placeLabels(wanted, width, height, gap = 12) {
  /** @type {Rect[]} */
  const placed = [];
  const keepOff = wanted.map((o) => ({ x: o.x - 7, y: o.y - 7, w: 14, h: 14 }));
  for (const { x, y, w, h } of wanted) {
    const far = gap + 6, right = width - w - 4, bottom = height - h - 4;
    const spots = [
      [x + gap, y - h - gap], [x - w - gap, y - h - gap], [x + gap, y + gap], [x - w - gap, y + gap],   // corners
      [x - w / 2, y - h - far], [x - w / 2, y + far], [x + far, y - h / 2], [x - w - far, y - h / 2],   // sides
      [right, 4], [4, bottom], [4, 4], [right, bottom],                                                 // of the panel
    ];
    let best = placed[0], bestCost = Infinity;
    for (const [sx, sy] of spots) {
      const box = { x: Math.max(2, Math.min(width - w - 2, sx)), y: Math.max(2, Math.min(height - h - 2, sy)), w, h };
      const moved = Math.hypot(box.x - sx, box.y - sy);
      /** @param {Rect[]} boxes */
      const hidden = (boxes) => boxes.reduce((sum, o) => sum + overlap(box, o), 0);
      const cost = 4 * hidden(placed) + 20 * hidden(keepOff) + moved;
      if (cost < bestCost) [best, bestCost] = [box, cost];
      if (!cost) break;
    }
    placed.push(best);
  }
  return placed;
}

/**
 * The line that leads from a box to its anchor; null where the box stands beside it.
 * @param {Rect} box
 * @param {number} x of the anchor
 * @param {number} y
 * @returns {[number, number, number, number] | null} from the nearest point of the box to the anchor
 */
export function leaderOf(box, x, y) {
  const fx = Math.max(box.x, Math.min(box.x + box.w, x)), fy = Math.max(box.y, Math.min(box.y + box.h, y));
  return Math.hypot(x - fx, y - fy) > BESIDE ? [fx, fy, x, y] : null;
}

/**
 * Area that two boxes share.
 * @param {Rect} a
 * @param {Rect} b
 */
export function overlap(a, b) {
  const w = Math.min(a.x + a.w, b.x + b.w) - Math.max(a.x, b.x);
  const h = Math.min(a.y + a.h, b.y + b.h) - Math.max(a.y, b.y);
  return Math.max(0, w) * Math.max(0, h);
}
