/**
 * Names and boxes of clusters: where they stand is a pure function of the clusters, the view and the size.
 */

import { shown } from "./kit.js";
import { overlap } from "./maplabels.js";

/**
 * @typedef {Object} Cluster
 * @property {string} name as given
 * @property {string} text as shown
 * @property {number} size points in it
 * @property {number} x median, as all places here in units of the map
 * @property {number} y
 * @property {import("./view.js").Box} box holds 5 to 95 percent of the points, in x and in y
 */
/** @typedef {import("./maplabels.js").Rect & {cluster: Cluster}} Pill x and y are its upper left corner */

const ENOUGH = 2000;   // points of a cluster that its middle and box are taken from
const PILL = 16, WIDEST = 190, AREA = 11000, MOST = 60;
/** Ways that a name may step aside, the shortest first. */
const STEPS = [-40, -32, -24, -16, -8, 0, 8, 16, 24, 32, 40].flatMap((dy) =>
  [-120, -90, -60, -30, 0, 30, 60, 90, 120].map((dx) => [dx, dy])).sort((a, b) => Math.hypot(...a) - Math.hypot(...b));

/**
 * Clusters that have points and a name, the largest first.
 * @param {import("./mapdata.js").PanelData} p
 * @returns {Cluster[]}
 */
export function clustersOf(p) {
  const { cluster, clusterLabels } = p;
  if (!cluster) return [];
  const sizes = new Uint32Array(clusterLabels.length);
  for (let i = 0; i < p.n; i++) if (cluster[i] >= 0) sizes[cluster[i]]++;
  const steps = sizes.map((n) => Math.ceil(n / ENOUGH) || 1), seen = new Uint32Array(sizes.length);
  const xs = Array.from(sizes, (n, c) => new Uint16Array(Math.ceil(n / steps[c]))), ys = xs.map((o) => o.slice());
  for (let i = 0; i < p.n; i++) {
    const c = cluster[i];
    if (c < 0 || seen[c]++ % steps[c]) continue;
    const s = Math.floor((seen[c] - 1) / steps[c]);
    xs[c][s] = p.x[i];
    ys[c][s] = p.y[i];
  }
  return clusterLabels.map((name, c) => {
    const [x0, x, x1] = spread(xs[c]), [y0, y, y1] = spread(ys[c]);
    return { name, text: shown(name, 28), size: sizes[c], x, y, box: { x0, y0, x1, y1 } };
  }).filter((o) => o.size && o.text.trim()).sort((a, b) => b.size - a.size);
}

/**
 * @param {Uint16Array} values sorted in place
 * @returns {number[]} at 5, 50 and 95 percent
 */
function spread(values) {
  values.sort();
  return [0.05, 0.5, 0.95].map((share) => values[Math.floor(share * (values.length - 1) + 0.5)]);
}

/**
 * About how wide a bold text of 11 pixels is.
 * @param {string} text
 */
export function textWidth(text) {
  let sum = 0;
  for (const c of text)
    sum += c > "\u2e7f" ? 11.5 : "mwMW@%".includes(c) ? 10.8 : "ijltfI .,:;|!'".includes(c) ? 4.4 : 7.2;
  return sum;
}

/**
 * The names that fit: larger clusters first, none over another, more of them the closer one looks. A name stands at
 * the median of its points, or at the edge next to it while any of the cluster's box is on screen.
 * @param {Cluster[]} clusters the largest first
 * @param {import("./view.js").View} view
 * @param {number} width
 * @param {number} height
 * @param {number} zoom
 * @returns {Pill[]}
 */
export function placeNames(clusters, view, width, height, zoom) {
  const room = Math.max(4, width * height / AREA) * (1 + Math.log2(Math.max(1, zoom)));
  /** @type {Pill[]} */
  const pills = [];
  for (const cluster of clusters) {
    const { x0, y0, x1, y1 } = rectOf(cluster, view);
    if (x1 < 0 || y1 < 0 || x0 > width || y0 > height) continue;
    const w = Math.min(WIDEST, textWidth(cluster.text) + 10), h = PILL;
    const cx = cluster.x * view.k + view.tx, cy = cluster.y * view.k + view.ty;
    const pill = { x: held(cx - w / 2, 2, width - w - 2), y: held(cy - h / 2, 2, height - h - 2), w, h, cluster };
    const wide = { x: pill.x - 4, y: pill.y - 3, w: w + 8, h: h + 6 };
    if (pills.some((o) => overlap(o, wide))) continue;
    pills.push(pill);
    if (pills.length >= Math.min(MOST, Math.round(room))) break;
  }
  return pills;
}

/**
 * The names again, those that lie on a mark a little aside if there is room.
 * @param {Pill[]} pills
 * @param {{x: number, y: number, r: number}[]} marks
 * @param {number} width
 * @param {number} height
 * @returns {Pill[]} in the same order
 */
export function stepAside(pills, marks, width, height) {
  /** @param {Pill} o */
  const free = ({ x, y, w, h }) =>
    marks.every((m) => Math.hypot(m.x - held(m.x, x, x + w), m.y - held(m.y, y, y + h)) > m.r);
  const out = pills.slice();
  pills.forEach((pill, p) => {
    if (free(pill)) return;
    for (const [dx, dy] of STEPS) {
      const next = { ...pill, x: pill.x + dx, y: pill.y + dy };
      const inside = next.x >= 2 && next.y >= 2 && next.x + next.w <= width - 2 && next.y + next.h <= height - 2;
      if (!inside || !free(next) || out.some((o, k) => k !== p && overlap(o, next))) continue;
      out[p] = next;
      break;
    }
  });
  return out;
}

/**
 * A cluster's box on screen.
 * @param {Cluster} cluster
 * @param {import("./view.js").View} view
 * @returns {import("./view.js").Box}
 */
export function rectOf({ box }, { k, tx, ty }) {
  return { x0: box.x0 * k + tx, y0: box.y0 * k + ty, x1: box.x1 * k + tx, y1: box.y1 * k + ty };
}

/** @param {number} v @param {number} low @param {number} high */
const held = (v, low, high) => Math.max(low, Math.min(high, v));
