/**
 * Where the panels fly to: the neighbourhoods of a feature and its partners.
 */

import { gridNeighbours } from "./grid.js";
import { between, boxOf, fitBox, placeOf, viewAt } from "./view.js";

/** @typedef {import("./view.js").Place} Place */
/** @typedef {{width: number, height: number, k0: number}} Size */
/** @typedef {{size: () => Size, place: () => Place}} Sized what a panel is here */

const NEAR = 14, CLOSEST = 200;

/**
 * Places that show a feature and, in every other panel, the partner walked to or the best one, each with the points
 * nearest to it; panels without any stay.
 * @param {import("./mapdata.js").MapData} data
 * @param {Sized[]} panels
 * @param {import("./linkedmap.js").Focus} focus
 * @param {number} partner which of its partners is walked to
 */
export function placesAround(data, panels, { panel, point, partners }, partner) {
  const walked = partners[partner];
  return panels.map((o, p) => {
    const best = walked?.panel === p ? walked : partners.find((q) => q.panel === p);
    const own = p === panel ? [point] : best ? [best.point] : [];
    const { grid, x, y } = data.panels[p], { width, height, k0 } = o.size();
    const seen = boxOf(x, y, own.flatMap((i) => gridNeighbours(grid, x[i], y[i], NEAR)));
    if (!seen || !width) return o.place();
    return placeOf(fitBox(seen, width, height, Math.min(width, height) / 5, k0 * CLOSEST), width, height, k0);
  });
}

/**
 * Places on the way, slower towards the end.
 * @param {Sized[]} panels
 * @param {Place[]} from
 * @param {Place[]} to
 * @param {number} t 0 to 1
 */
export function placesBetween(panels, from, to, t) {
  const ease = 1 - (1 - t) ** 3;
  return to.map((target, p) => {
    const { width, height, k0 } = panels[p].size();
    if (t === 1 || !width) return target;
    const [first, last] = [from[p], target].map((o) => viewAt(o, width, height, k0));
    return placeOf(between(first, last, ease), width, height, k0);
  });
}
