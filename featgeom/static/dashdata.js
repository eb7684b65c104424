/**
 * What a dashboard page holds and how it is read: the list of entries at once, everything else when it is shown.
 * An entry is one feature, or a pair of two spaces; a passage is a document or a piece of a long one. Entries come in
 * bundles and passages in chunks out of the payload, or from Python where it listens.
 */

import { decode } from "./codec.js";

/** @typedef {[string, number]} Spot name of a space and feature id */
/** @typedef {{name: string, rows: string, n: number, f: number, note: string, no_logits: string}} Space */
/**
 * @typedef {Object} Listed an entry as the list knows it
 * @property {number} a feature of the first space, -1 for none
 * @property {number} b feature of the second space, -1 for none
 * @property {string} la its short label
 * @property {string} lb
 * @property {number | null} score
 * @property {number | null} null
 * @property {number | null} q
 */
/**
 * @typedef {Object} Passage
 * @property {string} text
 * @property {string | number} doc
 * @property {number} part from 0
 * @property {number} parts
 * @property {number} n rows
 * @property {Uint32Array} start of each row, in UTF-16 units of the text
 * @property {Uint32Array} end
 * @property {Record<string, string>} odd how rows are shown that are not what their characters say
 */
/**
 * @typedef {{doc: number, row: number, value: number}} Hit an example: place of its passage in the entry, row, value
 */
/**
 * @typedef {Object} Side one feature of an entry: what Python says of it, and its arrays
 * @property {string} space
 * @property {number} id
 * @property {any} meta
 * @property {Uint32Array} counts of the histogram
 * @property {Float32Array} knots 33 quantiles of the active values
 * @property {number} max what the strongest colour means
 * @property {{stratum: number, low: number | null, high: number | null, hits: Hit[]}[]} strata
 * @property {(doc: number, rows: number) => Float32Array} values activations on every row of a passage of the entry
 */
/**
 * @typedef {Object} Entry
 * @property {number} index in the list, -1 where Python was asked for it
 * @property {Spot[]} spots
 * @property {Side[]} sides
 * @property {any} pair
 * @property {any} scatter
 * @property {Record<string, any>} arrays of the scatter
 * @property {Uint32Array} docs passage numbers
 */
/** @typedef {{meta: any, arrays: Record<string, any>}} Read a text with its strongest features, as Python packs it */

const ENTRIES = 60, PASSAGES = 6000;   // kept decoded; an entry keeps the bundle that it was in
const PATIENCE = 30_000;               // milliseconds until Python is taken to be silent

/** @param {any} v */
const listed = (v) => (Array.isArray(v) ? v : []);
/** @param {any} v */
const finite = (v) => (typeof v === "number" && Number.isFinite(v) ? v : null);

/**
 * How many numbers come before each, and all of them.
 * @param {ArrayLike<number>} counts
 */
function starts(counts) {
  const out = new Uint32Array(counts.length + 1);
  for (let i = 0; i < counts.length; i++) out[i + 1] = out[i] + counts[i];
  return out;
}

/**
 * The share of a feature's active values that are at most `v`; null where it has too few to say.
 * @param {ArrayLike<number>} knots rising quantiles at equal steps from 0 to 1
 * @param {number} v
 */
export function quantileOf(knots, v) {
  const last = knots.length - 1;
  if (last < 1 || !Number.isFinite(knots[0]) || !Number.isFinite(v)) return null;
  if (v < knots[0]) return 0;
  if (v >= knots[last]) return 1;
  let low = 0, high = last;   // the last knot that is not above v
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (knots[middle] <= v) low = middle;
    else high = middle;
  }
  return (low + (v - knots[low]) / (knots[high] - knots[low])) / last;
}

/**
 * @param {import("./codec.js").Content} content of a chunk
 * @param {number} count the passages it must hold
 * @returns {Passage[]}
 */
export function readChunk({ arrays, meta }, count) {
  const { rows, step, size } = arrays, passages = listed(meta.passages);
  if (!rows || rows.length !== passages.length || passages.length !== count)
    throw new Error("The data is damaged: a chunk does not hold the passages it should.");
  const from = starts(rows);
  if (step?.length !== from[count] || size?.length !== from[count])
    throw new Error("The data is damaged: the tokens of a passage are missing.");
  return passages.map((o, p) => {
    const n = rows[p], start = new Uint32Array(n), end = new Uint32Array(n);
    for (let i = 0, at = 0; i < n; i++) {
      start[i] = at += step[from[p] + i];
      end[i] = at + size[from[p] + i];
    }
    return { text: String(o.text), doc: o.doc, part: o.part ?? 0, parts: o.parts ?? 1, n, start, end,
      odd: o.odd ?? {} };
  });
}

/**
 * @param {any} meta
 * @param {Record<string, any>} arrays
 * @param {number} s
 * @param {number} count passages of the entry
 * @returns {Side}
 */
function readSide(meta, arrays, s, count) {
  const doc = arrays[`ex_doc${s}`] ?? [], row = arrays[`ex_row${s}`] ?? [], val = arrays[`ex_val${s}`] ?? [];
  const n = arrays[`n${s}`] ?? new Uint16Array(count), rows = arrays[`row${s}`] ?? [], act = arrays[`act${s}`] ?? [];
  const from = starts(n), largest = Math.max(Math.abs(finite(meta.low) ?? 0), Math.abs(finite(meta.high) ?? 0));
  const max = finite(meta.max) || largest || 1, unit = max / (act instanceof Int8Array ? 127 : 255);
  /** @type {Map<number, Float32Array>} */
  const known = new Map();
  return {
    space: String(meta.space), id: meta.id, meta, max,
    counts: arrays[`hist${s}`] ?? new Uint32Array(0), knots: arrays[`knots${s}`] ?? new Float32Array(0),
    strata: listed(meta.strata).map(([stratum, start, stop, low, high]) => ({
      stratum, low: finite(low), high: finite(high),
      hits: Array.from({ length: Math.max(0, Math.min(stop, row.length) - start) }, (_, i) => start + i)
        .filter((i) => doc[i] < count).map((i) => ({ doc: doc[i], row: row[i], value: val[i] })),
    })),
    values(d, length) {
      let out = known.get(d);
      if (!out) {
        known.set(d, out = new Float32Array(length));
        for (let i = from[d]; i < from[d + 1]; i++) if (rows[i] < length) out[rows[i]] = act[i] * unit;
      }
      return out;
    },
  };
}

/**
 * One of the entries whose arrays lie end to end in a container: its arrays, with its features counted as its sides.
 * @param {{arrays: Record<string, any>, meta: any}} bundle
 * @param {number} k which one
 */
export function entryOf({ arrays, meta }, k) {
  const entries = listed(meta.entries), told = entries[k];
  if (!told || arrays.docs?.length !== entries.length) throw new Error("The data is damaged: an entry is missing.");
  const from = starts(arrays.docs), [first, last] = [from[k], from[k + 1]];
  /** @type {Record<string, any>} */
  const out = { doc: arrays.doc?.subarray(first, last) };
  [told.a, told.b].flatMap((id, s) => (id >= 0 ? [s] : [])).forEach((s, side) => {
    const rank = entries.slice(0, k).filter((o) => (s ? o?.b : o?.a) >= 0).length;
    const all = entries.filter((o) => (s ? o?.b : o?.a) >= 0).length;
    const hits = starts(arrays[`ex${s}`] ?? []), active = starts(arrays[`n${s}`] ?? []);
    /** @type {(names: string[], low: number, high: number) => void} */
    const take = (names, low, high) => {
      for (const name of names) out[`${name}${side}`] = arrays[`${name}${s}`]?.subarray(low, high);
    };
    for (const name of ["hist", "knots"]) {
      const wide = (arrays[`${name}${s}`]?.length ?? 0) / all;
      take([name], rank * wide, (rank + 1) * wide);
    }
    take(["ex_doc", "ex_row", "ex_val"], hits[k], hits[k + 1]);
    take(["n"], first, last);
    take(["row", "act"], active[first], active[last]);
  });
  if (told.scatter) {
    const rank = entries.slice(0, k).filter((o) => o?.scatter).length, points = starts(arrays.points ?? []);
    for (const name of ["sx", "sy"]) out[name] = arrays[name]?.subarray(points[rank], points[rank + 1]);
    for (const name of ["hx", "hy"]) {
      const wide = (arrays[name]?.length ?? 0) / (points.length - 1);
      out[name] = arrays[name]?.subarray(rank * wide, (rank + 1) * wide);
    }
  }
  return { arrays: out, meta: told };
}

/**
 * @param {{arrays: Record<string, any>, meta: any}} content of an entry
 * @param {number} index
 * @returns {Entry}
 */
export function readEntry({ arrays, meta }, index) {
  const docs = arrays.doc ?? new Uint32Array(0);
  const sides = listed(meta.sides).slice(0, 2).map((side, s) => readSide(side, arrays, s, docs.length));
  if (!sides.length) throw new Error("The data is damaged: an entry has no feature.");
  const spots = sides.map((o) => /** @type {Spot} */ ([o.space, o.id]));
  return { index, spots, sides, pair: meta.pair ?? null, scatter: meta.scatter ?? null, arrays, docs };
}

/**
 * Spots that came from outside, each of another space; an empty list where nothing can be read.
 * @param {any} value
 * @param {Space[]} spaces
 * @returns {Spot[]}
 */
export function spotsIn(value, spaces) {
  const names = spaces.map((o) => o.name);
  const good = listed(value).filter((o) => Array.isArray(o) && names.includes(o[0]) && Number.isSafeInteger(o[1])
    && o[1] >= 0);
  return names.flatMap((name) => good.filter((o) => o[0] === name).slice(0, 1)
    .map((o) => /** @type {Spot} */ ([o[0], o[1]])));
}

/**
 * The list of entries: which one a spot or a pair is, which one is next to it, what a feature is called.
 * @param {Listed[]} entries
 * @param {Space[]} spaces
 */
export function createList(entries, spaces) {
  /** @type {Map<string, number>} */
  const places = new Map();
  entries.forEach(({ a, b }, i) => {
    for (const key of [`${a},${b}`, `${a},`, `,${b}`]) if (!places.has(key)) places.set(key, i);
  });
  /** @param {Spot[]} spots @param {number} s */
  const idOf = (spots, s) => spots.find((o) => o[0] === spaces[s]?.name)?.[1];
  /** @param {number} index @returns {Spot[]} */
  const spotsOf = (index) => {
    const { a, b } = entries[index];
    return [a, b].flatMap((id, s) => (id >= 0 && spaces[s] ? [/** @type {Spot} */ ([spaces[s].name, id])] : []));
  };
  return {
    spotsOf,
    /**
     * The entry of exactly these spots: one spot is that of the first entry that it is in. -1 for none.
     * @param {Spot[]} spots
     */
    find(spots) {
      const a = idOf(spots, 0), b = idOf(spots, 1);
      if (a === undefined && b === undefined) return -1;
      const alone = a === undefined ? places.get(`-1,${b}`) : b === undefined ? places.get(`${a},-1`) : undefined;
      return alone ?? places.get(`${a ?? ""},${b ?? ""}`) ?? -1;
    },
    /** @param {Spot} spot @returns {string} the label of a feature that is in an entry, else "" */
    labelOf([name, id]) {
      const at = places.get(name === spaces[0].name ? `${id},` : name === spaces[1]?.name ? `,${id}` : "");
      return at === undefined ? "" : name === spaces[0].name ? entries[at].la : entries[at].lb;
    },
    /**
     * The nearest that there is: with the first spot, with the second, else with the id next to one of them.
     * @param {Spot[]} spots
     * @param {(index: number) => boolean} may
     */
    nearest(spots, may) {
      for (const s of [0, 1]) {
        const id = idOf(spots, s), at = id === undefined ? undefined : places.get(s ? `,${id}` : `${id},`);
        if (at !== undefined && may(at)) return at;
      }
      const s = idOf(spots, 0) === undefined ? 1 : 0, id = idOf(spots, s) ?? 0;
      let best = -1, least = Infinity;
      entries.forEach((o, i) => {
        const other = s ? o.b : o.a, far = Math.abs(other - id);
        if (other >= 0 && far < least && may(i)) [best, least] = [i, far];
      });
      return best;
    },
  };
}

/**
 * @typedef {Awaited<ReturnType<typeof openDash>>} Dash a page's data, and what Python adds
 */

/**
 * @param {any} payload
 * @param {import("./host.js").Host} host
 */
export async function openDash(payload, host) {
  const { arrays: { head, blob, at, there } } = await decode(payload), { meta } = await decode(head ?? new Uint8Array(0));
  const spaces = /** @type {Space[]} */ (listed(meta.spaces)), entries = /** @type {Listed[]} */ (listed(meta.entries));
  const numbers = listed(meta.passages), few = meta.chunk || 16, chunks = Math.ceil(numbers.length / few);
  const many = meta.bundle || 16, bundles = Math.ceil(entries.length / many);
  if (!spaces.length || there?.length !== entries.length
    || at?.length !== bundles + chunks + listed(meta.prompts).length + 1)
    throw new Error("The data is damaged: it does not hold as many parts as it lists.");
  const places = new Map(numbers.map((number, i) => /** @type {[number, number]} */ ([number, i])));
  /** @param {number} k */
  const part = (k) => blob.subarray(at[k], at[k + 1]);
  /** @param {number} i whether an entry is in the page */
  const has = (i) => there[i] > 0;

  // ---- what is decoded, the oldest let go
  /** @type {Map<string, Promise<Entry>>} */
  const known = new Map();
  /** @type {Map<number, Passage>} */
  const passages = new Map();
  /** @type {Map<number, Promise<void>>} */
  const reading = new Map();
  const count = { entries: 0, bundles: 0, chunks: 0 };
  /** @param {string} key @param {() => Promise<Entry>} make */
  const remember = (key, make) => {
    const there = known.get(key), entry = there ?? make();
    known.delete(key);
    known.set(key, entry);
    if (!there) entry.catch(() => known.delete(key));
    if (known.size > ENTRIES) known.delete(known.keys().next().value ?? "");
    return entry;
  };
  /** @param {number[]} which @param {Passage[]} read */
  const keep = (which, read) => {
    which.forEach((number, i) => passages.set(number, read[i]));
    for (const number of passages.keys()) {
      if (passages.size <= PASSAGES) break;
      passages.delete(number);
    }
  };
  /** @param {number} chunk */
  const read = (chunk) => {
    const which = numbers.slice(chunk * few, (chunk + 1) * few);
    const run = reading.get(chunk) ?? decode(part(bundles + chunk)).then((content) => {
      count.chunks++;
      keep(which, readChunk(content, which.length));
    }).finally(() => reading.delete(chunk));
    reading.set(chunk, run);
    return run;
  };

  let latest = { g: -1, content: /** @type {ReturnType<typeof decode> | null} */ (null) };
  /** @param {number} g the bundle that was looked at last, or another one */
  const bundleOf = (g) => {
    if (latest.g === g && latest.content) return latest.content;
    count.bundles++;
    latest = { g, content: decode(part(g)) };
    return /** @type {ReturnType<typeof decode>} */ (latest.content);
  };

  // ---- questions to Python
  /**
   * @type {Map<number, {done: (answer: {message: any, buffers: Uint8Array[]}) => void, fail: (error: Error) => void}>}
   */
  const waiting = new Map();
  let asked = 0;
  const offHear = host.hear?.((message, buffers) => {
    const one = waiting.get(message?.reply);
    if (!one) return;
    if (typeof message.error === "string") one.fail(new Error(message.error));
    else one.done({ message, buffers });
  });
  /** @param {Record<string, any>} question */
  const ask = (question) => new Promise((/** @type {(o: {message: any, buffers: Uint8Array[]}) => void} */ done,
    fail) => {
    const id = ++asked;
    const timer = setTimeout(() => waiting.get(id)?.fail(new Error("The kernel does not answer.")), PATIENCE);
    /** @template T @param {(answer: T) => void} then @returns {(answer: T) => void} */
    const once = (then) => (answer) => {
      clearTimeout(timer);
      waiting.delete(id);
      then(answer);
    };
    waiting.set(id, { done: once(done), fail: once(fail) });
    host.send?.({ ...question, id });
  });

  return {
    meta, spaces, entries, count, has, list: createList(entries, spaces),
    strata: /** @type {{name: string, title: string}[]} */ (listed(meta.strata)),
    prompts: /** @type {{title: string}[]} */ (listed(meta.prompts)), nulls: meta.nulls ?? {},
    canAsk: host.live && Boolean(host.send && host.hear), liveText: host.live && meta.live_text === true,
    /** @param {number} number the passage where it is decoded */
    passage: (number) => passages.get(number),
    /**
     * Have passages ready; those that are in no chunk stay away.
     * @param {Iterable<number>} which
     */
    async passages(which) {
      const missing = new Set([...which].filter((o) => !passages.has(o) && places.has(o))
        .map((o) => Math.floor(/** @type {number} */ (places.get(o)) / few)));
      await Promise.all([...missing].map(read));
    },
    /** @param {number} i an entry of the list that the page has */
    entry: (i) => remember(`${i}`, async () => {
      const bundle = await bundleOf(Math.floor(i / many));
      count.entries++;
      return readEntry(entryOf(bundle, i % many), i);
    }),
    /** @param {Spot[]} spots what Python is asked for */
    ask: (spots) => remember(JSON.stringify(spots), async () => {
      const { message, buffers } = await ask({ ask: "entry", at: spots });
      const which = listed(message.passages);
      const [bundle, chunk] = await Promise.all([decode(buffers[0]), which.length ? decode(buffers[1]) : null]);
      if (chunk) keep(which, readChunk(chunk, which.length));
      count.entries++;
      return readEntry(entryOf(bundle, 0), -1);
    }),
    /** @param {number} p @returns {Promise<Read>} */
    prompt: (p) => decode(part(bundles + chunks + p)),
    /** @param {string} text @param {Spot[]} spots @returns {Promise<Read>} */
    text: async (text, spots) => decode((await ask({ ask: "text", text, at: spots })).buffers[0]),
    close() {
      offHear?.();
      for (const { fail } of [...waiting.values()]) fail(new Error("The dashboard was closed."));
    },
  };
}
