/**
 * One state document, one way to change it. Whatever happens (pointer, key, slider, Python), it becomes `set(patch)`;
 * whoever draws listens and is told once which keys changed. Values are replaced, never changed in place.
 */

/**
 * @template {Object} S
 * @param {S} initial
 */
export function createState(initial) {
  let doc = { ...initial };
  /** @type {Set<(doc: S, changed: Set<keyof S>, origin: string) => void>} */
  const listeners = new Set();
  return {
    get: () => doc,
    /**
     * @param {Partial<S>} patch
     * @param {string} [origin] who asks: "user", "python", "animation"
     */
    set(patch, origin = "user") {
      /** @type {Set<keyof S>} */
      const changed = new Set();
      for (const key of /** @type {(keyof S)[]} */ (Object.keys(patch))) {
        if (!(key in doc)) throw new Error(`state has no ${String(key)}`);
        if (!sameValue(doc[key], patch[key])) changed.add(key);
      }
      if (!changed.size) return;
      doc = { ...doc, ...patch };
      for (const listener of listeners) listener(doc, changed, origin);
    },
    /** @param {(doc: S, changed: Set<keyof S>, origin: string) => void} listener */
    on(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

/**
 * Equal as plain values (numbers, strings, nested lists and records, typed arrays).
 * @param {unknown} a
 * @param {unknown} b
 * @returns {boolean}
 */
export function sameValue(a, b) {
  if (Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || !a || !b) return false;
  if (a instanceof Uint32Array)
    return b instanceof Uint32Array && a.length === b.length && a.every((v, i) => v === b[i]);
  const ka = Object.keys(a), kb = Object.keys(b);
  if (ka.length !== kb.length || Array.isArray(a) !== Array.isArray(b)) return false;
  const ra = /** @type {Record<string, unknown>} */ (a), rb = /** @type {Record<string, unknown>} */ (b);
  return ka.every((key) => key in rb && sameValue(ra[key], rb[key]));
}
