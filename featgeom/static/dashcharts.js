/**
 * The small charts of a dashboard: how strongly a feature fires, what it raises and lowers, scores beside chance.
 */

import { el, shown, svg } from "./kit.js";
import { brief } from "./mapcolour.js";
import { grouped, short } from "./maplabels.js";

const W = 300, H = 62;

/**
 * A number with three digits that count, also where the last ones are zeros: in a column they stand alike.
 * @param {number} v
 */
export function amount(v) {
  const size = Math.abs(v), plain = size >= 0.001 && size < 999.5;
  if (!plain) return brief(v);
  const digits = size < 0.9995 ? size.toFixed(size < 0.0995 ? 3 : 2).replace(/^0/, "") : size.toPrecision(3);
  return (v < 0 ? "−" : "") + digits;
}

/**
 * Heights of bars on a logarithmic scale, as shares: a bin with one value is still seen.
 * @param {ArrayLike<number>} counts
 */
export function logHeights(counts) {
  const top = Math.log1p(Math.max(0, ...Array.from(counts)));
  return Array.from(counts, (c) => (c ? Math.max(0.06, Math.log1p(c) / top) : 0));
}

/**
 * The histogram of the active values, counts on a logarithmic scale; `mark` shows where one value stands.
 * @param {import("./dashdata.js").Side} side
 * @param {number} s
 */
export function createHistogram(side, s) {
  const { counts, meta } = side, heights = logHeights(counts), step = W / (counts.length || 1);
  const most = Math.max(0, ...counts), low = meta.low ?? 0, high = meta.high ?? side.max;
  const ticks = [1, 10, 100, 1000, 1e4, 1e5, 1e6, 1e7].filter((o) => o <= most);
  const some = ticks.length > 3 ? ticks.filter((_, i) => i % 2 === 0) : ticks;
  /** @param {number} c */
  const up = (c) => H - (H - 4) * (Math.log1p(c) / Math.log1p(most));
  const line = svg("line", { class: "ds-here", y1: 0, y2: H, visibility: "hidden" });
  const said = el("span", { class: "ds-heresaid" });
  const total = counts.reduce((sum, c) => sum + c, 0);
  const words = `Histogram of ${grouped(total)} activations from ${brief(low)} to ${brief(high)}, `
    + `counts on a logarithmic scale, at most ${grouped(most)} in one bin.`;
  const chart = svg("svg", { viewBox: `0 0 ${W} ${H}`, preserveAspectRatio: "none", role: "img", "aria-label": words },
    ...some.map((c) => svg("line", { class: "ds-grid", x1: 0, x2: W, y1: up(c), y2: up(c) })),
    svg("path", { class: `ds-bars ds-fill${s}`, d: heights.map((h, i) => (h
      ? `M${(i * step + 0.4).toFixed(2)} ${H}v${(-(H - 4) * h).toFixed(2)}h${(step - 0.8).toFixed(2)}V${H}z`
        : "")).join("") }),
    svg("line", { class: "ds-axis", x1: 0, x2: W, y1: H, y2: H }), line);
  const scale = el("div", { class: "ds-counts", "aria-hidden": "true" }, ...some.map((c) =>
    el("span", { style: `bottom:${(100 * (1 - up(c) / H)).toFixed(1)}%` },
      c >= 1e6 ? `${c / 1e6}M` : c >= 1e3 ? `${c / 1e3}k` : c)));
  const element = el("figure", { class: "ds-hist" }, el("div", { class: "ds-plot" }, scale, chart),
    el("figcaption", {}, el("span", {}, brief(low)), said, el("span", {}, brief(high))));
  const plain = `${grouped(total)} active values, log counts`;
  said.textContent = plain;
  return {
    element,
    /** @param {number | null} value null for none @param {string} [words] */
    mark(value, words = "") {
      const seen = value !== null && value !== 0 && high > low;
      line.setAttribute("visibility", seen ? "visible" : "hidden");
      said.textContent = value === null ? plain : words || "silent here";
      if (!seen) return;
      const x = String(W * Math.max(0, Math.min(1, (value - low) / (high - low))));
      line.setAttribute("x1", x);
      line.setAttribute("x2", x);
    },
  };
}

/**
 * Tokens that a direction raises or lowers, as bars from one side; a fine line is what a random direction reaches.
 * @param {[string, number][]} rows
 * @param {string} title
 * @param {number | null} chance
 * @param {number} top the longest bar
 */
function bars(rows, title, chance, top) {
  /** @param {number} v */
  const percent = (v) => `${(100 * Math.min(1, Math.abs(v) / top)).toFixed(1)}%`;
  const line = chance && chance <= top
    ? el("i", { class: "ds-chance", style: `--at:${percent(chance)}`, "aria-hidden": "true" }) : null;
  return el("div", { class: "ds-logits" }, el("h4", {}, title), el("ol", { class: "ds-barlist" },
    ...rows.map(([token, effect]) =>
    el("li", {}, el("span", { class: "ds-token fg-text", dir: "auto" }, shown(token, 24)),
      el("span", { class: "ds-track" },
        el("i", { class: effect < 0 ? "ds-down" : "ds-up", style: `width:${percent(effect)}` }),
        line?.cloneNode()), el("span", { class: "ds-number" }, (effect < 0 ? "−" : "+") + amount(Math.abs(effect)))))));
}

/**
 * What a feature writes to the output.
 * @param {any} logits
 * @param {string} why there are none
 */
export function logitBars(logits, why) {
  if (!logits) return el("p", { class: "fg-muted fg-text" }, why ? shown(why, 400) : "No logit effects here.");
  const up = logits.up ?? [], down = logits.down ?? [];
  const top = Math.max(1e-12, ...[...up, ...down].map((/** @type {[string, number]} */ o) => Math.abs(o[1])));
  const beside = Number.isFinite(logits.chance_kurtosis)
    ? ` (random directions: up to ${brief(logits.chance_kurtosis)})` : "";
  return el("div", {}, el("div", { class: "ds-two" }, bars(up, "raises", logits.chance_effect, top),
    bars(down, "lowers", logits.chance_effect, top)),
    el("p", { class: "ds-small" }, `skew ${brief(logits.skew)} · kurtosis ${brief(logits.kurtosis)}${beside}`,
      Number.isFinite(logits.chance_effect)
        ? ` · fine line: 95 % of random directions stay below ${brief(logits.chance_effect)}` : "",
      logits.note ? el("span", { class: "fg-text" }, ` · ${shown(logits.note, 300)}`) : null));
}

/**
 * A score on a line from 0 to 1 beside what chance reaches, and scores of the same kind.
 * @param {number | null} value
 * @param {number | null} chance
 * @param {{within?: number | null, held?: number | null}} [more]
 */
export function scoreLine(value, chance, { within = null, held = null } = {}) {
  const w = 220;
  /** @param {number} v */
  const x = (v) => (4 + (w - 8) * Math.max(0, Math.min(1, v))).toFixed(1);
  /** @type {string[]} */
  const said = [];
  /** @param {string} name @param {number | null} v */
  const say = (name, v) => { if (v !== null && Number.isFinite(v)) said.push(`${name} ${short(v)}`); };
  say("score", value);
  say("null", chance);
  say("within", within);
  say("held out", held);
  /** @param {number | null} v @returns {v is number} */
  const there = (v) => typeof v === "number" && Number.isFinite(v);
  const words = said.join(", ") || "no score";
  return svg("svg", { class: "ds-scoreline", viewBox: `0 0 ${w} 18`, role: "img", "aria-label": words },
    there(chance) && svg("path", { class: "ds-under", d: `M4 3H${x(chance)}V15H4z` }),
    svg("path", { class: "ds-axis", d: "M4 9H216M4 5v8M57 7v4M110 7v4M163 7v4M216 5v8" }),
    there(chance) && svg("path", { class: "ds-null", d: `M${x(chance)} 2v14` }),
    there(within) && svg("circle", { class: "ds-within", cx: x(within), cy: 9, r: 4 }),
    there(held) && svg("path", { class: "ds-held", d: `M${x(held)} 4l4.5 5l-4.5 5l-4.5 -5z` }),
    there(value) && svg("circle", { class: "ds-score", cx: x(value), cy: 9, r: 4.5 }));
}
