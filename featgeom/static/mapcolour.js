/**
 * What colours, sizes and outlines may mean. A key names it ("" nothing, "cluster of NAME", "density", "score",
 * "rate", or a column); a scale says which palette entry every point of every panel has.
 */

import { BEYOND, bestEdges, bestScores } from "./mapdata.js";
import { grouped } from "./maplabels.js";

/** Palette entries of categories: one for all others, and eight of their own. */
export const CATEGORIES = 9;
/** Palette entries of numbers, low to high; they follow those of categories. */
export const STEPS = 12;

/** @typedef {import("./mapdata.js").MapData} MapData */
/** @typedef {{name: string, count: number, code: number}} Entry of a legend */
/**
 * @typedef {Object} Scale
 * @property {string} key
 * @property {"none" | "category" | "number"} kind
 * @property {string} title
 * @property {Entry[]} entries categories with a colour of their own, and what shares code 0, if anything does
 * @property {number} low of numbers, the power of ten of logarithmic ones; below it lies one in 200
 * @property {number} high above it lies one in 200
 * @property {boolean} log
 * @property {Uint8Array[]} codes palette entry of each point of each panel; 0 without a value
 * @property {Int16Array[] | null} cats entry of each point of each panel, -1 for none
 */

const CLUSTER = "cluster of ", SAMPLE = 20000, TAIL = 0.005;

/**
 * The CSS variable of a palette entry.
 * @param {number} code
 */
export function colourVar(code) {
  return code < CATEGORIES ? `--lm-c${code}` : `--lm-s${code - CATEGORIES}`;
}

/**
 * What can be chosen for colour, size and outline.
 * @param {MapData} data
 * @returns {{key: string, title: string, kind: "none" | "category" | "number"}[]}
 */
export function keysOf(data) {
  /** @type {{key: string, title: string, kind: "none" | "category" | "number"}[]} */
  const keys = [{ key: "", title: "nothing", kind: "none" }];
  for (const p of data.panels) {
    const key = CLUSTER + p.name;
    if (p.cluster && p.clusterLabels.length) keys.push({ key, title: key, kind: "category" });
  }
  keys.push({ key: "density", title: "density", kind: "number" });
  if (data.sets.length) keys.push({ key: "score", title: "score of the best partner", kind: "number" });
  if (data.panels.some((p) => p.fires)) keys.push({ key: "rate", title: rateTitle(data), kind: "number" });
  for (const { name, kind } of data.columns) keys.push({ key: name, title: name, kind });
  return keys;
}

/** @param {MapData} data */
function rateTitle({ panels }) {
  return panels.every((p) => p.total || !p.fires) ? "firing rate" : "how often it fires";
}

/**
 * @param {MapData} data
 * @param {string} key an unknown one counts as none
 * @param {Uint8Array[]} shown pairs, as `shownEdges` gives them
 * @returns {Scale}
 */
export function scaleOf(data, key, shown) {
  const about = keysOf(data).find((o) => o.key === key), title = about?.title ?? "";
  if (about?.kind === "category") return categoryScale(key, title, categoriesOf(data, key, shown));
  if (about?.kind === "number") return numberScale(data, key, title, numbersOf(data, key, shown));
  const codes = data.panels.map((p) => new Uint8Array(p.n));
  return { key: "", kind: "none", title: "", entries: [], low: NaN, high: NaN, log: false, codes, cats: null };
}

/**
 * @typedef {Object} Categories
 * @property {(Int16Array | Int32Array)[]} cats
 * @property {string[]} names
 * @property {Uint32Array} counts points of each
 * @property {number[]} order as a legend lists them
 */

/**
 * @param {MapData} data
 * @param {string} key
 * @param {Uint8Array[]} shown
 * @returns {Categories}
 */
function categoriesOf(data, key, shown) {
  const giver = data.panels.findIndex((p) => key === CLUSTER + p.name && p.cluster);
  const c = data.columns.findIndex((o) => o.name === key), of = giver < 0 ? data.columns[c] : null;
  const names = of?.categories ?? data.panels[giver].clusterLabels, order = names.map((_, cat) => cat);
  const cats = data.panels.map((p, i) => {
    const own = of ? p.columns[c] : clustersOf(data, i, giver, shown);
    return /** @type {Int16Array} */ (own ?? new Int16Array(p.n).fill(-1));
  });
  const counts = new Uint32Array(names.length);
  for (const list of of ? cats : [cats[giver]]) {
    for (let i = 0; i < list.length; i++) if (list[i] >= 0) counts[list[i]]++;
  }
  if (!of) order.sort((a, b) => counts[b] - counts[a] || a - b);
  return { cats, names, counts, order };
}

/**
 * The clusters of the panel that gives them; elsewhere that of a point's best shown partner there beyond chance, so
 * that equal colours mean linked features.
 * @param {MapData} data
 * @param {number} panel
 * @param {number} giver
 * @param {Uint8Array[]} shown
 */
function clustersOf(data, panel, giver, shown) {
  const cluster = /** @type {Int16Array} */ (data.panels[giver].cluster);
  if (panel === giver) return cluster;
  const out = new Int16Array(data.panels[panel].n).fill(-1);
  for (const link of data.panels[panel].links) {
    if (link.other !== giver) continue;
    const set = data.sets[link.set], far = set.left === panel ? set.b : set.a;
    const best = bestEdges(set, panel, out.length, shown[link.set], BEYOND);
    for (let i = 0; i < out.length; i++) if (best[i] >= 0) out[i] = cluster[far[best[i]]];
  }
  return out;
}

/**
 * The largest categories have a colour of their own.
 * @param {string} key
 * @param {string} title
 * @param {Categories} categories
 * @returns {Scale}
 */
function categoryScale(key, title, { cats, names, counts, order }) {
  const largest = names.map((_, c) => c).filter((c) => counts[c]).sort((a, b) => counts[b] - counts[a] || a - b);
  const own = new Set(largest.slice(0, CATEGORIES - 1)), entryOf = new Int16Array(names.length + 1).fill(own.size);
  /** @type {Entry[]} */
  const entries = [];
  for (const c of order) {
    if (!own.has(c)) continue;
    entryOf[c + 1] = entries.length;
    entries.push({ name: names[c], count: counts[c], code: entries.length + 1 });
  }
  entryOf[0] = -1;
  const others = largest.slice(own.size).reduce((sum, c) => sum + counts[c], 0);
  if (others) entries.push({ name: "other", count: others, code: 0 });
  const indices = cats.map((list) => {
    const out = new Int16Array(list.length);
    for (let i = 0; i < out.length; i++) out[i] = entryOf[list[i] + 1];
    return out;
  });
  const codes = indices.map((list) => {
    const out = new Uint8Array(list.length);
    for (let i = 0; i < out.length; i++) out[i] = list[i] < own.size ? list[i] + 1 : 0;
    return out;
  });
  return { key, kind: "category", title, entries, low: NaN, high: NaN, log: false, codes, cats: indices };
}

/** @typedef {ArrayLike<number> | null} Numbers */

/**
 * @param {MapData} data
 * @param {string} key
 * @param {Uint8Array[]} shown
 * @returns {{values: Numbers[], log: boolean, range: Numbers[]}} `range` decides the ends of the scale
 */
function numbersOf(data, key, shown) {
  /** @type {Numbers[]} */
  let values;
  if (key === "score") {
    values = data.panels.map((_, p) => bestScores(data, p, shown));
    const range = data.panels.flatMap((p) => p.links.map((link) => data.sets[link.set].score));
    return { values, log: false, range };   // of all pairs: the slider moves no colours
  }
  if (key === "density") values = data.panels.map((p) => densities(p.grid));
  else if (key === "rate") values = rates(data);
  else {
    const c = data.columns.findIndex((o) => o.name === key);
    return { values: data.panels.map((p) => p.columns[c]), log: false, range: data.panels.map((p) => p.columns[c]) };
  }
  return { values, log: true, range: values };
}

/**
 * Shares of the rows on which features fire, or counts where a panel does not know its rows.
 * @param {MapData} data
 * @returns {Numbers[]}
 */
function rates({ panels }) {
  const known = panels.every((p) => p.total || !p.fires);
  return panels.map(({ fires, total }) => {
    if (!fires) return null;
    const out = new Float32Array(fires.length), per = known && total ? 1 / total : 1;
    for (let i = 0; i < out.length; i++) out[i] = fires[i] * per;
    return out;
  });
}

/**
 * Points in the square of cells around each point: 1/32 of the map wide, in small maps three cells.
 * @param {import("./grid.js").Grid} g
 */
export function densities({ n, cols, rows, start, items }) {
  const reach = Math.max(1, Math.round((Math.max(cols, rows) / 32 - 1) / 2)), out = new Float32Array(n);
  const wide = cols + 1, sums = new Uint32Array(wide * (rows + 1));   // points above and to the left of a corner
  for (let r = 0; r < rows; r++) {
    const from = r * cols, row = (r + 1) * wide;
    for (let c = 1; c <= cols; c++) sums[row + c] = sums[row - wide + c] + start[from + c] - start[from];
  }
  for (let r = 0; r < rows; r++) {
    const top = Math.max(0, r - reach) * wide, below = Math.min(rows, r + reach + 1) * wide;
    for (let c = 0; c < cols; c++) {
      const left = Math.max(0, c - reach), right = Math.min(cols, c + reach + 1), cell = r * cols + c;
      const near = sums[below + right] - sums[below + left] - sums[top + right] + sums[top + left];
      for (let s = start[cell]; s < start[cell + 1]; s++) out[items[s]] = near;
    }
  }
  return out;
}

/**
 * Some of the usable values in rising order: all of few, every so many of many.
 * @param {Numbers[]} lists
 * @param {boolean} positive only values above 0
 */
function ranked(lists, positive) {
  const total = lists.reduce((sum, list) => sum + (list?.length ?? 0), 0), step = Math.ceil(total / SAMPLE) || 1;
  const out = new Float64Array(Math.ceil(total / step) + lists.length);
  let n = 0;
  for (const list of lists) {
    for (let i = 0; list && i < list.length; i += step) {
      if (Number.isFinite(list[i]) && (!positive || list[i] > 0)) out[n++] = list[i];
    }
  }
  return out.subarray(0, n).sort();
}

/** @param {ArrayLike<number>} rising @param {number} share */
const quantile = (rising, share) => rising[Math.min(rising.length - 1, Math.floor(share * rising.length))];

/**
 * @param {MapData} data
 * @param {string} key
 * @param {string} title
 * @param {{values: Numbers[], log: boolean, range: Numbers[]}} numbers
 * @returns {Scale}
 */
function numberScale(data, key, title, { values, log, range }) {
  const rising = ranked(range, log);
  const [low, high] = [TAIL, 1 - TAIL].map((share) => quantile(rising, share) ?? NaN).map(log ? Math.log10 : Number);
  const step = STEPS / (high - low);
  const codes = values.map((list, p) => {
    const out = new Uint8Array(data.panels[p].n);
    for (let i = 0; list && i < out.length; i++) {
      const v = log ? Math.log10(list[i]) : list[i];
      if (!Number.isFinite(v)) continue;
      const at = Number.isFinite(step) ? Math.floor((v - low) * step) : STEPS >> 1;
      out[i] = CATEGORIES + Math.max(0, Math.min(STEPS - 1, at));
    }
    return out;
  });
  return { key, kind: "number", title, entries: [], low, high, log, codes, cats: null };
}

/**
 * Any number as one reads it: all digits before the point, of small ones three that count, a dash for none.
 * @param {number} v
 */
export function brief(v) {
  const size = Math.abs(v), rounded = Number(size.toPrecision(3));
  if (!Number.isFinite(v)) return "–";
  const sign = v < 0 ? "−" : "", far = size >= 1e15 || (size > 0 && size < 1e-3);
  if (far) return sign + rounded.toExponential().replace("-", "−");
  return sign + (size < 100 ? String(rounded) : grouped(Math.round(size)));
}

/**
 * A few levels, for sizes and outlines: numbers by equal shares over all panels, categories in their order. Points
 * without a value have level 0.
 * @param {MapData} data
 * @param {string} key
 * @param {Uint8Array[]} shown
 * @param {number} levels
 * @returns {{codes: Uint8Array[], names: string[]}} names of the levels, '' for one that no point has
 */
export function levelsOf(data, key, shown, levels) {
  const kind = keysOf(data).find((o) => o.key === key)?.kind;
  if (kind === "category") return categoryLevels(categoriesOf(data, key, shown), levels);
  if (kind === "number") return numberLevels(data, numbersOf(data, key, shown), levels);
  return { codes: data.panels.map((p) => new Uint8Array(p.n)), names: Array(levels).fill("") };
}

/**
 * @param {Categories} categories
 * @param {number} levels
 */
function categoryLevels({ cats, names, order }, levels) {
  const levelOf = new Uint8Array(names.length + 1), last = levels - 1;
  order.forEach((cat, rank) => { levelOf[cat + 1] = Math.min(rank, last); });
  let missing = false;
  const codes = cats.map((list) => {
    const out = new Uint8Array(list.length);
    for (let i = 0; i < out.length; i++) {
      out[i] = levelOf[list[i] + 1];
      missing ||= list[i] < 0;
    }
    return out;
  });
  const said = Array.from({ length: levels }, (_, level) => names[order[level]] ?? "");
  if (order.length > levels) said[last] += " and others";
  if (missing) said[0] += said[0] ? " or none" : "none";
  return { codes, names: said };
}

/**
 * @param {MapData} data
 * @param {{values: Numbers[], range: Numbers[]}} numbers
 * @param {number} levels
 */
function numberLevels(data, { values }, levels) {
  const rising = ranked(values, false), last = levels - 1;
  const shares = Array.from({ length: last }, (_, k) => quantile(rising, (k + 1) / levels));
  const cuts = [...new Set(shares)].filter((v) => v > rising[0]), above = rising.find((v) => v > rising[0]);
  if (!cuts.length && above !== undefined) cuts.push(above);   // nearly all values are the lowest one
  // Where many values are equal there are fewer levels: they keep the distance of the outer ones.
  const spread = [0, ...cuts.map((_, k) => Math.round((k + 1) * last / cuts.length))];
  let missing = false;
  const codes = values.map((list, p) => {
    const out = new Uint8Array(data.panels[p].n);
    if (!list) missing = true;
    for (let i = 0; list && i < out.length; i++) {
      const v = list[i];
      let level = 0;
      for (let k = 0; k < cuts.length; k++) if (v >= cuts[k]) level++;
      out[i] = spread[level];
      if (!(v === v)) missing = true;
    }
    return out;
  });
  const names = Array(levels).fill("");
  if (rising.length) spread.forEach((level, k) => { names[level] = rangeName(cuts[k - 1], cuts[k]); });
  if (missing) names[0] += names[0] ? " or no value" : "no value";
  return { codes, names };
}

/** @param {number | undefined} from @param {number | undefined} to */
function rangeName(from, to) {
  if (from === undefined) return to === undefined ? "all" : `under ${brief(to)}`;
  return to === undefined ? `${brief(from)} and more` : `${brief(from)} to ${brief(to)}`;
}
