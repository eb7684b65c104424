/**
 * Where world coordinates land on screen: screen = world * k + t, in CSS pixels. Pure functions; a view is never
 * changed in place.
 */

/** @typedef {{k: number, tx: number, ty: number}} View */
/** @typedef {{x0: number, y0: number, x1: number, y1: number}} Box */

/**
 * The view that shows the whole box centred in w x h pixels with `pad` pixels free at each side.
 * @param {Box} box
 * @param {number} w
 * @param {number} h
 * @param {number} pad
 * @param {number} [maxK] never closer than this
 * @returns {View}
 */
export function fitBox(box, w, h, pad, maxK = Infinity) {
  const bw = box.x1 - box.x0, bh = box.y1 - box.y0;
  const room = Math.max(1, Math.min(w, h) - 2 * pad);
  let k = Math.min(Math.max(1, w - 2 * pad) / bw, Math.max(1, h - 2 * pad) / bh, maxK);
  if (!Number.isFinite(k)) k = room;
  return { k, tx: w / 2 - k * (box.x0 + box.x1) / 2, ty: h / 2 - k * (box.y0 + box.y1) / 2 };
}

/**
 * Zoom by `factor` with the pixel (sx, sy) held still, k kept within [minK, maxK].
 * @param {View} view
 * @param {number} sx
 * @param {number} sy
 * @param {number} factor
 * @param {number} minK
 * @param {number} maxK
 * @returns {View}
 */
export function zoomAt(view, sx, sy, factor, minK, maxK) {
  const k = Math.min(maxK, Math.max(minK, view.k * factor)), f = k / view.k;
  return { k, tx: sx - (sx - view.tx) * f, ty: sy - (sy - view.ty) * f };
}

/**
 * The view after two fingers moved: what lay under them still does, as far as a view that does not turn can.
 * @param {View} view when the fingers came down
 * @param {{x: number, y: number}[]} from where the two were then
 * @param {{x: number, y: number}[]} to where they are
 * @param {number} minK
 * @param {number} maxK
 * @returns {View}
 */
export function pinched(view, from, to, minK, maxK) {
  /** @param {{x: number, y: number}[]} o */
  const middle = ([a, b]) => ({ x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 });
  /** @param {{x: number, y: number}[]} o */
  const spread = ([a, b]) => Math.max(1, Math.hypot(a.x - b.x, a.y - b.y));
  const begin = middle(from), end = middle(to);
  const { k, tx, ty } = zoomAt(view, begin.x, begin.y, spread(to) / spread(from), minK, maxK);
  return { k, tx: tx + end.x - begin.x, ty: ty + end.y - begin.y };
}

/**
 * Shift the view so that some of `box` stays in the middle of the screen: a map that was dragged away cannot be lost.
 * @param {View} view
 * @param {Box} box
 * @param {number} w
 * @param {number} h
 * @returns {View}
 */
export function keepInside(view, box, w, h) {
  const cx = (w / 2 - view.tx) / view.k, cy = (h / 2 - view.ty) / view.k;
  const nx = Math.min(box.x1, Math.max(box.x0, cx)), ny = Math.min(box.y1, Math.max(box.y0, cy));
  return { k: view.k, tx: w / 2 - nx * view.k, ty: h / 2 - ny * view.k };
}

/**
 * A view between two: scale by powers and the fixed point of the move straight, so that a zoom does not swing.
 * @param {View} a
 * @param {View} b
 * @param {number} t 0 gives a, 1 gives b
 * @returns {View}
 */
export function between(a, b, t) {
  if (t <= 0) return a;
  if (t >= 1) return b;
  const k = a.k * (b.k / a.k) ** t;
  const s = Math.abs(b.k - a.k) < 1e-9 * a.k ? t : (k - a.k) / (b.k - a.k);
  return { k, tx: a.tx + (b.tx - a.tx) * s, ty: a.ty + (b.ty - a.ty) * s };
}

/**
 * The box around some points.
 * @param {ArrayLike<number>} x
 * @param {ArrayLike<number>} y
 * @param {Iterable<number>} which
 * @returns {Box | null} null for no points
 */
export function boxOf(x, y, which) {
  let x0 = Infinity, y0 = Infinity, x1 = -Infinity, y1 = -Infinity;
  for (const i of which) {
    x0 = Math.min(x0, x[i]);
    x1 = Math.max(x1, x[i]);
    y0 = Math.min(y0, y[i]);
    y1 = Math.max(y1, y[i]);
  }
  return x0 > x1 ? null : { x0, y0, x1, y1 };
}

/**
 * What lies in the middle, and zoom 1 where everything fits: free of the size on screen.
 * @typedef {{x: number, y: number, zoom: number}} Place
 */

/**
 * @param {Place} place
 * @param {number} w
 * @param {number} h
 * @param {number} k0 scale at zoom 1
 * @returns {View}
 */
export function viewAt(place, w, h, k0) {
  const k = k0 * place.zoom;
  return { k, tx: w / 2 - k * place.x, ty: h / 2 - k * place.y };
}

/**
 * @param {View} view
 * @param {number} w
 * @param {number} h
 * @param {number} k0
 * @returns {Place}
 */
export function placeOf(view, w, h, k0) {
  return { x: (w / 2 - view.tx) / view.k, y: (h / 2 - view.ty) / view.k, zoom: view.k / k0 };
}
