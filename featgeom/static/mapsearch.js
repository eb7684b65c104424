/**
 * What a linked map can be asked for: tokens, parts of tokens, regular expressions, labels, feature ids.
 */

import { MAX_QUERY } from "./maplink.js";

/** @typedef {"token" | "part" | "regex" | "label" | "id"} Mode */
/** @typedef {{text: string, mode: Mode, most: boolean}} Search */
/** @typedef {import("./mapdata.js").MapData} MapData */
/** @typedef {import("./mapdata.js").PanelData} PanelData */
/**
 * @typedef {Object} Known what searches of one map leave for the next
 * @property {string[]} words the vocabulary with one mark for a space
 * @property {string[] | null} lower the same without capitals
 */

const CUT = 200, PATIENCE = 1000, REPEAT = 64, MOST_WAYS = 2e4;

/** @type {WeakMap<MapData, Known>} */
const memory = new WeakMap();

/** @param {MapData} data */
function knownOf(data) {
  let known = memory.get(data);
  if (!known) {
    known = { words: data.vocabulary.map(marked), lower: null };
    memory.set(data, known);
  }
  return known;
}

/**
 * All marks that tokenizers write for a space as one.
 * @param {string} text
 */
const marked = (text) => text.replace(/[ ▁Ġ]/g, "␣");

/** @param {string} text */
const folded = (text) => text === text.toLowerCase();

/**
 * The points that a search finds. Throws an Error whose message is for the reader where the search cannot be run.
 * Capitals count only when the search has one.
 * @param {MapData} data
 * @param {Search} search
 * @returns {Uint32Array[]} rising points of every panel
 */
export function findPoints(data, { text, mode, most }) {
  const query = mode === "regex" ? text : text.trim();
  if (!query) return data.panels.map(() => new Uint32Array(0));
  const m = query.length;
  if (m > MAX_QUERY) throw new Error(`A search has at most ${MAX_QUERY} characters, this one ${m}.`);
  if (mode === "id" || (mode === "token" && /^#\d+$/.test(query))) {
    const ranges = rangesOf(query);
    return data.panels.map(({ n, ids }) =>
      pointsWhere({ n }, (i) => ranges.some(([low, high]) => low <= ids[i] && ids[i] <= high)));
  }
  if (mode === "label") return data.panels.map((p) => labelled(p, query));
  if (most && !data.panels.some((p) => p.shares)) throw new Error("This map holds no shares of tokens for “mostly”.");
  const wanted = wantedTokens(data, query, mode), any = wanted.includes(1);
  const id = mode === "token" && !most && /^\d+$/.test(query) ? Number(query) : NaN;
  return data.panels.map((p) => {
    const asked = any && p.tokens?.length && (p.shares || !most);
    return asked ? pointsWith(p, wanted, most ? p.shares : null, id) : pointsWhere(p, (i) => p.ids[i] === id);
  });
}

/**
 * @param {{n: number}} panel
 * @param {(point: number) => boolean} test
 */
export function pointsWhere({ n }, test) {
  const out = new Uint32Array(n);
  let m = 0;
  for (let i = 0; i < n; i++) if (test(i)) out[m++] = i;
  return out.slice(0, m);
}

/**
 * Points with a wanted token, or with the id. With shares, those whose wanted tokens make more than half.
 * @param {PanelData} p
 * @param {Uint8Array} wanted per token of the vocabulary
 * @param {Uint8Array | null} shares
 * @param {number} id
 */
function pointsWith({ n, ids, tokens, tokenStart }, wanted, shares, id) {
  const out = new Uint32Array(n);
  let m = 0;
  for (let i = 0, s = 0; i < n; i++) {
    let sum = ids[i] === id ? 256 : 0;
    for (const end = tokenStart[i + 1]; s < end; s++) if (wanted[tokens[s]]) sum += shares ? shares[s] : 256;
    if (2 * sum > 255) out[m++] = i;
  }
  return out.slice(0, m);
}

/**
 * 1 for every token of the vocabulary that the query means.
 * @param {MapData} data
 * @param {string} query
 * @param {Mode} mode
 */
function wantedTokens(data, query, mode) {
  const wanted = new Uint8Array(data.vocabulary.length), known = knownOf(data), text = marked(query);
  /** @type {(t: number) => boolean} */
  let test;
  if (mode === "regex") {
    const pattern = expression(query), end = performance.now() + PATIENCE;
    test = (t) => {
      if (performance.now() > end) throw new Error("Pattern refused: it takes too long.");
      return pattern.test(data.vocabulary[t].slice(0, CUT));
    };
  } else {
    const words = folded(text) ? known.lower ??= known.words.map((word) => word.toLowerCase()) : known.words;
    if (mode === "part") test = (t) => words[t].includes(text);
    else if (mode === "token") test = (t) => words[t] === text || (words[t][0] === "␣" && words[t].slice(1) === text);
    else throw new Error(`A search is for token, part, regex, label or id, not for ${String(mode).slice(0, 40)}.`);
  }
  for (let t = 0; t < wanted.length; t++) if (test(t)) wanted[t] = 1;
  return wanted;
}

/**
 * Points whose explanation or whose cluster's name holds the query.
 * @param {PanelData} p
 * @param {string} query
 */
function labelled(p, query) {
  const pattern = new RegExp(query.replace(/[\\^$.*+?()[\]{}|\/]/g, "\\$&"), folded(query) ? "iu" : "u");
  const named = p.clusterLabels.map((name) => pattern.test(name)), { cluster, explanations } = p;
  return pointsWhere(p, (i) => Boolean(cluster && named[cluster[i]])
    || Boolean(explanations && pattern.test(explanations[i])));
}

/**
 * "12, 15-20" as ranges; a range that is still being typed is its first id.
 * @param {string} query
 */
function rangesOf(query) {
  return query.replace(/\s*[-–]\s*/g, "-").split(/[\s,;]+/).filter(Boolean).map((part) => {
    const found = /^#?(\d+)(?:-#?(\d*))?$/.exec(part);
    if (!found) throw new Error(`“${part.slice(0, 40)}” is no feature id; ids are written like 12, 15-20.`);
    return [Number(found[1]), Number(found[2] || found[1])].sort((a, b) => a - b);
  });
}

/**
 * A regular expression that is sure to end soon on any token: one from a shared link must not stop the page.
 * @param {string} pattern
 */
function expression(pattern) {
  const letters = pattern.replace(/\\(?:[pPuk][{<][^}>]*[}>]|.)/gsu, "");
  try {
    const made = new RegExp(pattern, folded(letters) ? "iu" : "u");
    if (waysOf(pattern) > MOST_WAYS) throw new Error("it repeats too often");
    made.test("");
    return made;
  } catch (error) {
    const why = String(/** @type {Error} */ (error).message).split(": ").at(-1);
    throw new Error(`Pattern refused: ${why}.`);
  }
}

/**
 * In how many ways a valid pattern can be tried at one place, about. Groups that repeat must hold nothing that can be
 * tried in several ways: such patterns take exponential time.
 * @param {string} pattern
 */
function waysOf(pattern) {
  let at = 0;
  /** @param {RegExp} part sticky */
  const take = (part) => {
    part.lastIndex = at;
    const found = part.exec(pattern);
    if (found) at = part.lastIndex;
    return found;
  };
  /** @returns {{ways: number, varied: boolean}} */
  const group = () => {
    let before = 0, ways = 1, varied = false;
    while (at < pattern.length && pattern[at] !== ")") {
      let own = 1, inner = false;
      if (take(/\|/y)) {
        [before, ways, varied] = [before + ways, 1, true];
        continue;
      }
      if (take(/\((?:\?(?:<?[=!]|<[^>]*>|[a-z-]*:))?/y)) {
        ({ ways: own, varied: inner } = group());
        at++;
      } else take(/\\(?:[pPuk][{<][^}>]*[}>]|.)|\[(?:\\.|[^\]\\])*\]|./suy);
      const times = take(/(?:([*+?])|\{(\d+)(,?)(\d*)\})\??/y);
      if (times) {
        const [, sign, least, comma, most] = times;
        if (sign !== "?" && inner) throw new Error("a group that repeats holds a repeat or a choice");
        const span = !sign ? Number(comma ? most || Infinity : least) - Number(least) + 1 : sign === "?" ? 2 : REPEAT;
        own = sign === "?" ? own + 1 : Math.min(REPEAT, span);
        inner = true;
      }
      ways *= own;
      varied ||= inner;
    }
    return { ways: before + ways, varied };
  };
  return group().ways;
}
