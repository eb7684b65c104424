/**
 * From the bytes of a linked map to what the page works with: points, tokens, and for every point its partners.
 */

import { buildGrid } from "./grid.js";

/**
 * @typedef {Object} PanelData
 * @property {string} name
 * @property {string} note what the picture rests on: method, seed, trustworthiness, n
 * @property {number} n
 * @property {Uint16Array} x in 1/65535 of the larger side
 * @property {Uint16Array} y grows downwards, as on screen
 * @property {Int32Array} ids feature id of each point
 * @property {Map<number, number>} pointOf feature id -> point
 * @property {Uint32Array} tokenStart (n + 1)
 * @property {Uint16Array | Uint32Array} tokens indices into the vocabulary
 * @property {Uint32Array | null} fires
 * @property {Int16Array | null} cluster -1 where none
 * @property {string[]} clusterLabels
 * @property {import("./grid.js").Grid} grid
 * @property {Neighbours[]} links one per pair set that this panel is part of
 */
/**
 * @typedef {Object} PairSet
 * @property {number} left panel of a
 * @property {number} right panel of b
 * @property {Uint32Array} a points of the left panel
 * @property {Uint32Array} b points of the right panel
 * @property {Float32Array} score
 * @property {Float32Array} chance the null of each pair
 * @property {Float32Array} q NaN where the pair was not tested
 * @property {Float32Array} within NaN where a side has no variance left
 * @property {Uint8Array} flags TOKEN_ONLY | MUTUAL | BEYOND | WITHIN_BEYOND
 * @property {string} metric
 * @property {number} total pairs before the page's limit
 */
/** @typedef {{indptr: Uint32Array, points: Uint32Array, edges: Uint32Array}} Lists partners and edges of every point */
/** @typedef {Lists & {set: number, other: number}} Neighbours */
/** @typedef {{panel: number, point: number, set: number, edge: number}} Partner */
/** @typedef {{panels: PanelData[], sets: PairSet[], vocabulary: string[], meta: any}} MapData */

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
 * @param {number} width bytes in a number: 2 or 4
 * @returns {Uint32Array}
 */
export function fromPlanes(bytes, width) {
  const n = bytes.length / width, out = new Uint32Array(n);
  for (let p = 0; p < width; p++) for (let i = 0; i < n; i++) out[i] |= bytes[p * n + i] << (8 * p);
  return out;
}

/**
 * Hundredths of numbers from -1 to 1, shifted by 101; 0 stands for NaN.
 * @param {Uint8Array} bytes
 */
export function fromHundredths(bytes) {
  return Float32Array.from(bytes, (v) => (v ? (v - 101) / 100 : NaN));
}

/**
 * Thousandths of numbers from 0 to 1, shifted by 1; 0 stands for NaN.
 * @param {Uint8Array} bytes
 */
export function fromThousandths(bytes) {
  return Float32Array.from(fromPlanes(bytes, 2), (v) => (v ? (v - 1) / 1000 : NaN));
}

/**
 * Both directions of a list of edges as CSR, every list by falling score.
 * @param {PairSet} set
 * @param {number} nLeft
 * @param {number} nRight
 * @returns {[Lists, Lists]} from the left, from the right
 */
export function bothWays(set, nLeft, nRight) {
  const m = set.a.length;
  // Score (in millionths, falling) and row in one number: a plain numeric sort is ten times faster.
  const order = Float64Array.from(set.score, (s, e) => Math.round((64 - s) * 1e6) * m + e).sort().map((key) => key % m);
  /** @param {Uint32Array} from @param {Uint32Array} to @param {number} n */
  const csr = (from, to, n) => {
    const indptr = new Uint32Array(n + 1), points = new Uint32Array(to.length), edges = new Uint32Array(to.length);
    for (let e = 0; e < from.length; e++) indptr[from[e] + 1]++;
    for (let i = 0; i < n; i++) indptr[i + 1] += indptr[i];
    const at = indptr.slice(0, n);
    for (const e of order) {
      const s = at[from[e]]++;
      points[s] = to[e];
      edges[s] = e;
    }
    return { indptr, points, edges };
  };
  return [csr(set.a, set.b, nLeft), csr(set.b, set.a, nRight)];
}

/**
 * @param {Record<string, any>} arrays as packed in Python
 * @param {any} meta
 * @returns {MapData}
 */
export function readMap(arrays, meta) {
  /** @type {PanelData[]} */
  const panels = meta.panels.map((/** @type {any} */ m, /** @type {number} */ p) => {
    const x = Uint16Array.from(fromPlanes(arrays[`x${p}`], 2)), y = Uint16Array.from(fromPlanes(arrays[`y${p}`], 2));
    const count = arrays[`count${p}`], tokenStart = new Uint32Array(x.length + 1);
    for (let i = 0; i < x.length; i++) tokenStart[i + 1] = tokenStart[i] + count[i];
    const ids = Int32Array.from(fromPlanes(arrays[`id${p}`], 4));
    for (let i = 1; i < ids.length; i++) ids[i] += ids[i - 1];
    const fires = arrays[`fires${p}`] ? fromPlanes(arrays[`fires${p}`], 4) : null;
    return {
      name: m.name, note: m.note, n: x.length, x, y, ids, tokenStart, tokens: fromPlanes(arrays[`token${p}`], 4), fires,
      pointOf: new Map(Array.from(ids, (id, i) => [id, i])), cluster: arrays[`cluster${p}`] || null,
      clusterLabels: m.cluster_labels, grid: buildGrid(x, y), links: [],
    };
  });
  /** @type {PairSet[]} */
  const sets = meta.pairs.map((/** @type {any} */ m, /** @type {number} */ s) => {
    const b = fromPlanes(arrays[`b${s}`], 4), a = new Uint32Array(b.length), degree = arrays[`degree${s}`];
    for (let i = 0, e = 0; i < degree.length; i++) for (let d = 0; d < degree[i]; d++) a[e++] = i;
    return {
      left: m.left, right: m.right, a, b,
      score: fromHundredths(arrays[`score${s}`]), chance: fromHundredths(arrays[`null${s}`]),
      q: fromThousandths(arrays[`q${s}`]), within: fromHundredths(arrays[`within${s}`]),
      flags: arrays[`flags${s}`], metric: m.metric, total: m.total,
    };
  });
  sets.forEach((set, s) => {
    const [forth, back] = bothWays(set, panels[set.left].n, panels[set.right].n);
    panels[set.left].links.push({ set: s, other: set.right, ...forth });
    panels[set.right].links.push({ set: s, other: set.left, ...back });
  });
  return { panels, sets, vocabulary: meta.vocabulary, meta };
}

/**
 * The partners of a point in every other panel, best first within a panel.
 * @param {MapData} data
 * @param {number} panel
 * @param {number} point
 * @param {(set: PairSet, edge: number) => boolean} [shown] pairs it refuses are left out
 * @returns {Partner[]}
 */
export function partnersOf(data, panel, point, shown) {
  /** @type {Partner[]} */
  const out = [];
  for (const link of data.panels[panel].links) {
    for (let s = link.indptr[point]; s < link.indptr[point + 1]; s++) {
      const edge = link.edges[s];
      if (shown && !shown(data.sets[link.set], edge)) continue;
      out.push({ panel: link.other, point: link.points[s], set: link.set, edge });
    }
  }
  return out;
}

/**
 * For every point of a panel, 1 where it has a shown pair beyond chance.
 * @param {MapData} data
 * @param {number} panel
 * @param {(set: PairSet, edge: number) => boolean} shown
 * @returns {Uint8Array}
 */
export function linkedPoints(data, panel, shown) {
  const out = new Uint8Array(data.panels[panel].n);
  for (const set of data.sets) {
    if (set.left !== panel && set.right !== panel) continue;
    const end = set.left === panel ? set.a : set.b;
    for (let e = 0; e < end.length; e++) if (set.flags[e] & BEYOND && shown(set, e)) out[end[e]] = 1;
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

/**
 * Points of every panel that a search finds: "#12" the feature with that id, "12" the feature or the token, anything
 * else the token, whole. A leading-space mark need not be typed; capitals count only when the search has one.
 * @param {MapData} data
 * @param {string} query
 * @returns {number[][]} one rising list per panel
 */
export function findPoints(data, query) {
  const text = query.trim();
  if (!text) return data.panels.map(() => []);
  const id = /^#?\d+$/.test(text) ? Number(text.replace("#", "")) : NaN;
  const fold = text === text.toLowerCase();
  /** @type {Set<number>} */
  const wanted = new Set();
  if (!/^#\d+$/.test(text)) {
    data.vocabulary.forEach((token, t) => {
      const plain = fold ? token.toLowerCase() : token;
      if (plain === text || plain.replace(/^[␣▁Ġ ]/u, "") === text) wanted.add(t);
    });
  }
  return data.panels.map((p) => {
    /** @type {Set<number>} */
    const found = new Set();
    const byId = p.pointOf.get(id);
    if (byId !== undefined) found.add(byId);
    if (wanted.size) {
      for (let i = 0; i < p.n; i++) {
        for (let s = p.tokenStart[i]; s < p.tokenStart[i + 1]; s++) if (wanted.has(p.tokens[s])) found.add(i);
      }
    }
    return [...found].sort((i, j) => i - j);
  });
}
