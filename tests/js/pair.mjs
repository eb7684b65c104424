// Two panels and two pairs by hand: what tests of words need.
import { BEYOND } from "../../featgeom/static/mapdata.js";

/** Panels A (ids 3, 7) and B (ids 0, 5); A 3 goes with B 0 (.90, beyond chance) and B 5 (.50, not). */
export function tiny() {
  const panel = (name, ids, tokens) => ({
    name, ids, links: [], tokens: Uint16Array.from(tokens.flat()), tokenStart: Uint32Array.of(0, tokens[0].length, tokens.flat().length),
  });
  const set = {
    left: 0, right: 1, given: "token", score: Float32Array.of(0.9, 0.5), chance: Float32Array.of(0.2, 0.3), q: Float32Array.of(0.001, 0.4),
    within: Float32Array.of(0.8, NaN), flags: Uint8Array.of(BEYOND | 8, 1),
  };
  set.test = set.q;
  return { panels: [panel("A", [3, 7], [[0, 1], []]), panel("B", [0, 5], [[1], [2]])], sets: [set], vocabulary: ["␣king", "Queen", "\ufffe\u0000"] };
}

/** The partners of A 3. */
export const PARTNERS = [{ panel: 1, point: 0, set: 0, edge: 0 }, { panel: 1, point: 1, set: 0, edge: 1 }];
