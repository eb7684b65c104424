/**
 * From the bytes of a linked map to what the page works with: points, tokens, and for every point its partners.
 * A map may hold millions of points, so loading is plain loops over typed arrays.
 */

import { buildGrid } from "./grid.js";

/**
 * @typedef {Object} PanelData
 * @property {string} name
 * @property {string} note what the picture rests on: method, seed, trustworthiness, n
 * @property {string} rows what the rows are on which features fire: "tokens", "spans", ...
 * @property {number | null} total rows collected
 * @property {number} missing features without a place
 * @property {number} n
 * @property {Uint16Array} x in 1/65535 of the larger side
 * @property {Uint16Array} y grows downwards, as on screen
 * @property {Int32Array} ids feature id of each point
 * @property {(id: number) => number} find the point of a feature id, or -1
 * @property {Uint32Array} tokenStart (n + 1)
 * @property {Uint16Array | Uint32Array} tokens indices into the vocabulary
 * @property {Uint8Array | null} shares of the top examples, one for each of `tokens`, 255 = all
 * @property {string[] | null} explanations '' for none
 * @property {Uint32Array | null} fires
 * @property {Int16Array | null} cluster -1 where none
 * @property {string[]} clusterLabels
 * @property {Column[]} columns one for each of MapData.columns; null where this panel has none
 * @property {import("./grid.js").Grid} grid
 * @property {Neighbours[]} links one per pair set that this panel is part of
 */
/** @typedef {Float64Array | Int16Array | Int32Array | null} Column NaN, or -1 of categories, where missing */
/**
 * @typedef {Object} PairSet
 * @property {number} left panel of a
 * @property {number} right panel of b
 * @property {Uint32Array} a points of the left panel
 * @property {Uint32Array} b points of the right panel
 * @property {Float32Array} score
 * @property {Float32Array} chance the null of each pair
 * @property {Float32Array} q NaN where the pair was not tested
 * @property {Float32Array} test a number where the pair was tested: `q`, or `chance` in a set without any q
 * @property {Float32Array} within NaN where a side has no variance left
 * @property {Uint8Array} flags TOKEN_ONLY | MUTUAL | BEYOND | WITHIN_BEYOND
 * @property {string} metric
 * @property {string} given what `within` holds fixed: "token", "span", ...
 * @property {number} total pairs before the page's limit
 */
/** @typedef {{indptr: Uint32Array, points: Uint32Array, edges: Uint32Array}} Lists partners and edges of every point */
/** @typedef {Lists & {set: number, other: number}} Neighbours */
/** @typedef {{panel: number, point: number, set: number, edge: number}} Partner */
/**
 * @typedef {{name: string, kind: "number" | "category", low: number, high: number, categories: string[]}} ColumnMeta
 */
/**
 * @typedef {Object} MapData
 * @property {PanelData[]} panels
 * @property {PairSet[]} sets
 * @property {string[]} vocabulary
 * @property {ColumnMeta[]} columns
 * @property {any} meta
 */

export const TOKEN_ONLY = 1;
export const MUTUAL = 2;
export const BEYOND = 4;
export const WITHIN_BEYOND = 8;

/**
 * Whether a pair shows no more than that both features read the same token: nothing varies within tokens, or what
 * varies goes together no better than chance.
 * @param {PairSet} set
 * @param {number} e
 */
export function sameToken(set, e) {
  return Boolean(set.flags[e] & TOKEN_ONLY) || (Number.isFinite(set.within[e]) && !(set.flags[e] & WITHIN_BEYOND));
}

/**
 * Byte planes back to whole numbers: gzip packs low and high bytes better apart.
 * @param {Uint8Array} bytes all lowest bytes, then all next ones
 * @param {number} n how many numbers; their width follows
 * @returns {Uint32Array}
 */
export function fromPlanes(bytes, n) {
  const out = new Uint32Array(n);
  if (n ? bytes.length % n || bytes.length > 4 * n : bytes.length) throw new Error("The map's arrays do not fit.");
  for (let from = 0, shift = 0; from < bytes.length; from += n, shift += 8) {
    for (let i = 0; i < n; i++) out[i] |= bytes[from + i] << shift;
  }
  return out;
}

/**
 * Hundredths of numbers from -1 to 1, shifted by 101; 0 stands for NaN.
 * @param {Uint8Array} bytes
 */
export function fromHundredths(bytes) {
  const of = new Float32Array(256), out = new Float32Array(bytes.length);
  for (let v = 0; v < 256; v++) of[v] = v ? (v - 101) / 100 : NaN;
  for (let i = 0; i < out.length; i++) out[i] = of[bytes[i]];
  return out;
}

/**
 * Thousandths of numbers from 0 to 1, shifted by 1; 0 stands for NaN.
 * @param {Uint8Array} bytes two planes
 */
export function fromThousandths(bytes) {
  const n = bytes.length / 2, out = new Float32Array(n);
  for (let i = 0; i < n; i++) {
    const v = bytes[i] | (bytes[n + i] << 8);
    out[i] = v ? (v - 1) / 1000 : NaN;
  }
  return out;
}

/**
 * How many numbers come before each.
 * @param {ArrayLike<number>} counts
 * @returns {Uint32Array} one longer, the total last
 */
function starts(counts) {
  const out = new Uint32Array(counts.length + 1);
  for (let i = 0; i < counts.length; i++) out[i + 1] = out[i] + counts[i];
  return out;
}

/**
 * Edges by falling score, equal ones in their order, NaN last: scores are hundredths, so counting is enough.
 * @param {Float32Array} score
 */
function byScore(score) {
  const m = score.length, bin = new Uint8Array(m), counts = new Uint32Array(202), order = new Uint32Array(m);
  for (let e = 0; e < m; e++) {
    const v = score[e];
    counts[bin[e] = v === v ? (100.5 - v * 100) | 0 : 201]++;
  }
  const at = starts(counts);
  for (let e = 0; e < m; e++) order[at[bin[e]]++] = e;
  return order;
}

/**
 * Whether edges already stand as CSR wants them: by point, then by falling score.
 * @param {Uint32Array} from
 * @param {Float32Array} score
 */
function inOrder(from, score) {
  for (let e = 1; e < from.length; e++) {
    if (from[e] < from[e - 1] || (from[e] === from[e - 1] && !(score[e] <= score[e - 1]))) return false;
  }
  return true;
}

/**
 * Both directions of a list of edges as CSR, every list by falling score.
 * @param {{a: Uint32Array, b: Uint32Array, score: Float32Array}} set
 * @param {number} nLeft
 * @param {number} nRight
 * @returns {[Lists, Lists]} from the left, from the right
 */
export function bothWays({ a, b, score }, nLeft, nRight) {
  const order = byScore(score), m = order.length;
  /** @param {Uint32Array} from @param {Uint32Array} to @param {number} n */
  const csr = (from, to, n) => {
    const counts = new Uint32Array(n);
    for (let e = 0; e < m; e++) counts[from[e]]++;
    const indptr = starts(counts), at = indptr.slice(), edges = new Uint32Array(m);
    if (inOrder(from, score)) {
      for (let e = 0; e < m; e++) edges[e] = e;
      return { indptr, points: to, edges };
    }
    const points = new Uint32Array(m);
    for (let k = 0; k < m; k++) {
      const e = order[k], s = at[from[e]]++;
      points[s] = to[e];
      edges[s] = e;
    }
    return { indptr, points, edges };
  };
  return [csr(a, b, nLeft), csr(b, a, nRight)];
}

/**
 * From feature ids to points. Nothing is done before the first question.
 * @param {Int32Array} ids
 * @returns {(id: number) => number} -1 for none
 */
export function finder(ids) {
  /** @type {Map<number, number> | null | undefined} null where ids rise */
  let map;
  return (id) => {
    if (map === undefined) {
      map = null;
      for (let i = 1; i < ids.length && !map; i++) if (ids[i] <= ids[i - 1]) map = new Map();
      if (map) for (let i = 0; i < ids.length; i++) map.set(ids[i], i);
    }
    if (map) return map.get(id) ?? -1;
    let low = 0, high = ids.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (ids[middle] < id) low = middle + 1;
      else high = middle;
    }
    return low < ids.length && ids[low] === id ? low : -1;
  };
}

/**
 * The numbers of a column. They were packed in 65,535 steps: where all of them lie by round numbers, as whole ones do
 * or others with few digits, they are those again; else at least 0 is.
 * @param {Uint32Array} raw 65535 where missing
 * @param {ColumnMeta} about
 */
function readNumbers(raw, { low, high }) {
  const out = new Float64Array(raw.length), step = (high - low) / 65534, place = Math.ceil(Math.log10(step));
  const times = 10 ** Math.max(0, -place), by = 10 ** Math.max(0, place);
  const round = (/** @type {number} */ v) => Math.round(v * times / by) * by / times + 0;   // + 0: no -0
  let exact = true;
  for (let i = 0; i < out.length; i++) {
    const v = out[i] = raw[i] === 65535 ? NaN : low + step * raw[i];
    exact &&= v !== v || Math.abs(round(v) - v) <= step * 0.501;
  }
  for (let i = 0; i < out.length; i++) {
    if (exact) out[i] = round(out[i]);
    else if (Math.abs(out[i]) < step / 2) out[i] = 0;
  }
  return out;
}

/**
 * @param {Uint8Array | undefined} bytes
 * @param {ColumnMeta} about
 * @param {number} n
 * @returns {Column}
 */
function readColumn(bytes, about, n) {
  if (!bytes) return null;
  const raw = fromPlanes(bytes, n), missing = bytes.length > n ? 65535 : 255;
  if (about.kind === "number") return readNumbers(raw, about);
  const out = about.categories.length > 32767 ? new Int32Array(n) : new Int16Array(n);
  for (let i = 0; i < n; i++) out[i] = raw[i] === missing ? -1 : raw[i];
  return out;
}

/**
 * @param {Record<string, any>} arrays as packed in Python
 * @param {any} m what the page knows of the panel
 * @param {number} p
 * @param {ColumnMeta[]} columns
 * @returns {PanelData}
 */
function readPanel(arrays, m, p, columns) {
  const n = arrays[`x${p}`].length / 2;
  const x = new Uint16Array(fromPlanes(arrays[`x${p}`], n)), y = new Uint16Array(fromPlanes(arrays[`y${p}`], n));
  const ids = new Int32Array(fromPlanes(arrays[`id${p}`], n).buffer);
  for (let i = 1; i < n; i++) ids[i] += ids[i - 1];
  const tokenStart = arrays[`count${p}`] ? starts(arrays[`count${p}`]) : new Uint32Array(n + 1);
  return {
    name: m.name, note: m.note, rows: m.rows ?? "tokens", total: m.total ?? null, missing: m.missing ?? 0,
    n, x, y, ids, find: finder(ids), tokenStart, tokens: fromPlanes(arrays[`token${p}`] ?? [], tokenStart[n]),
    shares: arrays[`share${p}`] ?? null, explanations: m.explanations ?? null,
    fires: arrays[`fires${p}`] ? fromPlanes(arrays[`fires${p}`], n) : null,
    cluster: arrays[`cluster${p}`] ? new Int16Array(arrays[`cluster${p}`]) : null, clusterLabels: m.cluster_labels,
    columns: columns.map((about, c) => readColumn(arrays[`col${c}_${p}`], about, n)), grid: buildGrid(x, y), links: [],
  };
}

/**
 * @param {Record<string, any>} arrays
 * @param {any} m
 * @param {number} s
 * @returns {PairSet}
 */
function readSet(arrays, m, s) {
  const score = fromHundredths(arrays[`score${s}`]), b = fromPlanes(arrays[`b${s}`], score.length);
  const a = new Uint32Array(b.length), degree = arrays[`degree${s}`];
  for (let i = 0, e = 0; i < degree.length; i++) for (const end = e + degree[i]; e < end; e++) a[e] = i;
  const chance = fromHundredths(arrays[`null${s}`]), q = fromThousandths(arrays[`q${s}`]);
  return {
    left: m.left, right: m.right, a, b, score, chance, q, test: q.some((v) => v === v) ? q : chance,
    within: fromHundredths(arrays[`within${s}`]), flags: arrays[`flags${s}`], metric: m.metric,
    given: m.given ?? "token", total: m.total,
  };
}

/**
 * @param {Record<string, any>} arrays as packed in Python
 * @param {any} meta
 * @returns {MapData}
 */
export function readMap(arrays, meta) {
  const columns = meta.columns ?? [];
  /** @type {PanelData[]} */
  const panels = meta.panels.map((/** @type {any} */ m, /** @type {number} */ p) => readPanel(arrays, m, p, columns));
  /** @type {PairSet[]} */
  const sets = meta.pairs.map((/** @type {any} */ m, /** @type {number} */ s) => readSet(arrays, m, s));
  sets.forEach((set, s) => {
    const [forth, back] = bothWays(set, panels[set.left].n, panels[set.right].n);
    panels[set.left].links.push({ set: s, other: set.right, ...forth });
    panels[set.right].links.push({ set: s, other: set.left, ...back });
  });
  return { panels, sets, vocabulary: meta.vocabulary, columns, meta };
}

/**
 * For every set, 1 where a pair is to be seen.
 * @param {MapData} data
 * @param {number} min lowest score; at 0 all are shown, negative ones too
 * @param {boolean} hideSame without pairs that are no more than a shared token
 * @returns {Uint8Array[]}
 */
export function shownEdges(data, min, hideSame) {
  return data.sets.map((set) => {
    const { score } = set, out = new Uint8Array(score.length), least = min - 1e-6;
    for (let e = 0; e < out.length; e++) {
      if ((min <= 0 || score[e] >= least) && !(hideSame && sameToken(set, e))) out[e] = 1;
    }
    return out;
  });
}

/**
 * The partners of a point in every other panel, best first within a panel.
 * @param {MapData} data
 * @param {number} panel
 * @param {number} point
 * @param {Uint8Array[]} [shown] as `shownEdges` gives it; all pairs without
 * @returns {Partner[]}
 */
export function partnersOf(data, panel, point, shown) {
  /** @type {Partner[]} */
  const out = [];
  for (const { set, other, indptr, points, edges } of data.panels[panel].links) {
    for (let s = indptr[point]; s < indptr[point + 1]; s++) {
      if (!shown || shown[set][edges[s]]) out.push({ panel: other, point: points[s], set, edge: edges[s] });
    }
  }
  return out;
}

/**
 * For every point of a panel, 1 where it has a shown pair beyond chance.
 * @param {MapData} data
 * @param {number} panel
 * @param {Uint8Array[]} shown
 * @returns {Uint8Array}
 */
export function linkedPoints(data, panel, shown) {
  const out = new Uint8Array(data.panels[panel].n);
  for (const link of data.panels[panel].links) {
    const { flags, left, a, b } = data.sets[link.set], end = left === panel ? a : b, seen = shown[link.set];
    for (let e = 0; e < end.length; e++) if (seen[e] && flags[e] & BEYOND) out[end[e]] = 1;
  }
  return out;
}

/**
 * For every point of a panel, 1 where it has a pair that was tested, whatever is shown now. In a panel without any
 * pairs there was nothing to test: all 1.
 * @param {MapData} data
 * @param {number} panel
 * @returns {Uint8Array}
 */
export function testedPoints(data, panel) {
  const { n, links } = data.panels[panel], out = new Uint8Array(n).fill(links.length ? 0 : 1);
  for (const link of links) {
    const { test, left, a, b } = data.sets[link.set], end = left === panel ? a : b;
    for (let e = 0; e < end.length; e++) if (test[e] === test[e]) out[end[e]] = 1;   // a number, not NaN
  }
  return out;
}

/**
 * For every point of a panel its best edge in a set, of equal ones the first; -1 for none.
 * @param {PairSet} set
 * @param {number} panel at one of its ends
 * @param {number} n points there
 * @param {Uint8Array} shown
 * @param {number} [flag] one that an edge must have
 * @returns {Int32Array}
 */
export function bestEdges({ score, flags, left, a, b }, panel, n, shown, flag = 0) {
  const out = new Int32Array(n).fill(-1), end = left === panel ? a : b;
  for (let e = 0; e < end.length; e++) {
    if (!shown[e] || (flags[e] & flag) !== flag) continue;
    const best = out[end[e]];
    if (best < 0 || score[e] > score[best] || Number.isNaN(score[best])) out[end[e]] = e;
  }
  return out;
}

/**
 * For every point of a panel the score of its best shown partner anywhere, NaN where it has none.
 * @param {MapData} data
 * @param {number} panel
 * @param {Uint8Array[]} shown
 * @returns {Float32Array}
 */
export function bestScores(data, panel, shown) {
  const out = new Float32Array(data.panels[panel].n).fill(NaN);
  for (const link of data.panels[panel].links) {
    const set = data.sets[link.set], best = bestEdges(set, panel, out.length, shown[link.set]);
    for (let i = 0; i < out.length; i++) {
      if (best[i] >= 0 && !(out[i] >= set.score[best[i]])) out[i] = set.score[best[i]];
    }
  }
  return out;
}

/**
 * The top tokens of a point.
 * @param {MapData} data
 * @param {number} panel
 * @param {number} point
 * @returns {string[]}
 */
export function tokensOf(data, panel, point) {
  const p = data.panels[panel];
  return Array.from(p.tokens.subarray(p.tokenStart[point], p.tokenStart[point + 1]), (t) => data.vocabulary[t]);
}
