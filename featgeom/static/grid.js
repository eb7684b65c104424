/**
 * A uniform grid over points: the index behind hovering, box selection and neighbourhoods. Two arrays (CSR), built in
 * one counting sort; a query looks at the few cells under it. Works in any unit, because it only compares distances.
 */

/**
 * @typedef {Object} Grid
 * @property {ArrayLike<number>} x
 * @property {ArrayLike<number>} y
 * @property {number} n
 * @property {number} x0 left edge
 * @property {number} y0 top edge
 * @property {number} cell width of a cell, same unit as x
 * @property {number} cols
 * @property {number} rows
 * @property {Uint32Array} start (cols * rows + 1) where each cell begins in `items`
 * @property {Uint32Array} items (n) point indices, cell by cell
 */

/**
 * Index `n` points. Finite coordinates only.
 * @param {ArrayLike<number>} x
 * @param {ArrayLike<number>} y
 * @param {number} [perCell] points in a cell on average
 * @returns {Grid}
 */
export function buildGrid(x, y, perCell = 3) {
  const n = x.length;
  let x0 = Infinity, y0 = Infinity, x1 = -Infinity, y1 = -Infinity;
  for (let i = 0; i < n; i++) {
    if (x[i] < x0) x0 = x[i];
    if (x[i] > x1) x1 = x[i];
    if (y[i] < y0) y0 = y[i];
    if (y[i] > y1) y1 = y[i];
  }
  if (!n) x0 = y0 = x1 = y1 = 0;
  const w = x1 - x0, h = y1 - y0;
  const side = Math.max(1, Math.ceil(Math.sqrt(n / perCell)));
  const cell = Math.max(w, h) / side || 1;
  const cols = Math.floor(w / cell) + 1, rows = Math.floor(h / cell) + 1;
  const start = new Uint32Array(cols * rows + 1);
  const of = new Uint32Array(n);
  for (let i = 0; i < n; i++) {
    const c = Math.floor((y[i] - y0) / cell) * cols + Math.floor((x[i] - x0) / cell);
    of[i] = c;
    start[c + 1]++;
  }
  for (let c = 0; c < cols * rows; c++) start[c + 1] += start[c];
  const at = start.slice(0, cols * rows), items = new Uint32Array(n);
  for (let i = 0; i < n; i++) items[at[of[i]]++] = i;
  return { x, y, n, x0, y0, cell, cols, rows, start, items };
}

/**
 * The cells that a box touches: first and last column and row; none when the last is before the first.
 * @param {Grid} g
 * @param {number} x0
 * @param {number} y0
 * @param {number} x1
 * @param {number} y1
 */
function cellsOf(g, x0, y0, x1, y1) {
  /** @param {number} v @param {number} origin */
  const cell = (v, origin) => Math.floor((v - origin) / g.cell);
  return {
    c0: Math.max(0, cell(x0, g.x0)), c1: Math.min(g.cols - 1, cell(x1, g.x0)),
    r0: Math.max(0, cell(y0, g.y0)), r1: Math.min(g.rows - 1, cell(y1, g.y0)),
  };
}

/**
 * Look at cells ring by ring outwards from the one under (px, py), until no nearer point can come.
 * @param {Grid} g
 * @param {number} px
 * @param {number} py
 * @param {() => number} bound how far a point that matters can be, asked before every ring
 * @param {(from: number, to: number) => void} look at these items
 */
function outwards(g, px, py, bound, look) {
  const { cols, rows, start, cell } = g, cx = Math.floor((px - g.x0) / cell), cy = Math.floor((py - g.y0) / cell);
  const first = Math.max(0, -cx, cx - cols + 1, -cy, cy - rows + 1);
  const last = Math.max(cx, cols - 1 - cx, cy, rows - 1 - cy);
  // The cell under the point may reach up to its very edge, and quotients are rounded: hence 1.001 less.
  for (let ring = first; ring <= last && (ring - 1.001) * cell <= bound(); ring++) {
    const left = cx - ring, right = cx + ring, from = Math.max(0, left), to = Math.min(cols - 1, right);
    for (let r = Math.max(0, cy - ring); r <= Math.min(rows - 1, cy + ring); r++) {
      const row = r * cols;
      if (Math.abs(r - cy) === ring) look(start[row + from], start[row + to + 1]);
      else {
        if (left >= 0) look(start[row + left], start[row + left + 1]);
        if (right < cols) look(start[row + right], start[row + right + 1]);
      }
    }
  }
}

/**
 * Nearest point to (px, py) within `radius`, or -1. Of equally near ones the lowest index.
 * @param {Grid} g
 * @param {number} px
 * @param {number} py
 * @param {number} radius
 * @param {(i: number) => boolean} [accept] points it refuses are not seen
 */
export function gridNearest(g, px, py, radius, accept) {
  const { x, y, items } = g;
  let best = -1, bestD = radius * radius;
  if (g.n) outwards(g, px, py, () => Math.sqrt(bestD), (from, to) => {
    for (let s = from; s < to; s++) {
      const i = items[s], d = (x[i] - px) ** 2 + (y[i] - py) ** 2;
      if (d > bestD || (d === bestD && best >= 0 && i > best) || (accept && !accept(i))) continue;
      best = i;
      bestD = d;
    }
  });
  return best;
}

/**
 * Chosen points in rising order.
 * @param {Uint32Array} found room for all, filled up to `count`
 * @param {number} count
 * @param {number} n points in all
 */
function rising(found, count, n) {
  if (count < n / 16) return found.slice(0, count).sort();
  const mask = new Uint8Array(n);
  for (let s = 0; s < count; s++) mask[found[s]] = 1;
  for (let i = 0, s = 0; s < count; i++) if (mask[i]) found[s++] = i;
  return found.slice(0, count);
}

/**
 * Points in the cells that a box touches, as far as `inside` takes them, in rising order.
 * @param {Grid} g
 * @param {{x0: number, y0: number, x1: number, y1: number}} box
 * @param {(x: number, y: number, row: number) => boolean} inside
 */
function within(g, { x0, y0, x1, y1 }, inside) {
  const { c0, c1, r0, r1 } = cellsOf(g, x0, y0, x1, y1);
  if (!g.n || c1 < c0 || r1 < r0) return new Uint32Array(0);
  const { x, y, cols, start, items } = g;
  let room = 0, count = 0;
  for (let r = r0; r <= r1; r++) room += start[r * cols + c1 + 1] - start[r * cols + c0];
  const found = new Uint32Array(room);
  for (let r = r0; r <= r1; r++) {
    for (let s = start[r * cols + c0], end = start[r * cols + c1 + 1]; s < end; s++) {
      const i = items[s];
      if (inside(x[i], y[i], r)) found[count++] = i;
    }
  }
  return rising(found, count, g.n);
}

/**
 * Every point inside the box, its edges included, in rising order.
 * @param {Grid} g
 * @param {number} ax one corner
 * @param {number} ay
 * @param {number} bx the opposite corner
 * @param {number} by
 * @returns {Uint32Array}
 */
export function gridInBox(g, ax, ay, bx, by) {
  const x0 = Math.min(ax, bx), x1 = Math.max(ax, bx), y0 = Math.min(ay, by), y1 = Math.max(ay, by);
  return within(g, { x0, y0, x1, y1 }, (x, y) => x >= x0 && x <= x1 && y >= y0 && y <= y1);
}

/**
 * Every point at most `radius` away, in rising order.
 * @param {Grid} g
 * @param {number} px
 * @param {number} py
 * @param {number} radius
 * @returns {Uint32Array}
 */
export function gridInCircle(g, px, py, radius) {
  const box = { x0: px - radius, y0: py - radius, x1: px + radius, y1: py + radius }, most = radius * radius;
  return within(g, box, (x, y) => (x - px) ** 2 + (y - py) ** 2 <= most);
}

/**
 * Every point inside a polygon, in rising order. It closes itself; where it crosses itself, what is enclosed an even
 * number of times lies outside.
 * @param {Grid} g
 * @param {ArrayLike<number>} xs its corners
 * @param {ArrayLike<number>} ys
 * @returns {Uint32Array}
 */
export function gridInPolygon(g, xs, ys) {
  const box = { x0: Infinity, y0: Infinity, x1: -Infinity, y1: -Infinity };
  for (let k = 0; k < xs.length; k++) {
    box.x0 = Math.min(box.x0, xs[k]);
    box.x1 = Math.max(box.x1, xs[k]);
    box.y0 = Math.min(box.y0, ys[k]);
    box.y1 = Math.max(box.y1, ys[k]);
  }
  let row = -1;
  /** @type {number[]} edges that reach into the row, by their second corner */
  let edges = [];
  return within(g, box, (x, y, r) => {
    if (r !== row) {
      const top = g.y0 + r * g.cell - g.cell, bottom = top + 3 * g.cell;   // wider than the row: quotients are rounded
      edges = [];
      for (let k = 0, j = xs.length - 1; k < xs.length; j = k++) {
        if (Math.min(ys[j], ys[k]) <= bottom && Math.max(ys[j], ys[k]) >= top) edges.push(k);
      }
      row = r;
    }
    let odd = false;
    for (const k of edges) {
      const j = k ? k - 1 : xs.length - 1;
      if (ys[k] > y !== ys[j] > y && x < xs[k] + (xs[j] - xs[k]) * (y - ys[k]) / (ys[j] - ys[k])) odd = !odd;
    }
    return odd;
  });
}

/**
 * The k points nearest to (px, py), nearest first; all points when there are fewer.
 * @param {Grid} g
 * @param {number} px
 * @param {number} py
 * @param {number} k
 * @returns {number[]}
 */
export function gridNeighbours(g, px, py, k) {
  const { x, y, items } = g, want = Math.min(k, g.n);
  /** @type {{i: number, d: number}[]} */
  const best = [];
  const worst = () => (best.length < want ? Infinity : best[want - 1].d);
  if (want) outwards(g, px, py, () => Math.sqrt(worst()), (from, to) => {
    for (let s = from; s < to; s++) {
      const i = items[s], d = (x[i] - px) ** 2 + (y[i] - py) ** 2;
      if (d > worst()) continue;
      let at = best.length;
      while (at && (best[at - 1].d > d || (best[at - 1].d === d && best[at - 1].i > i))) at--;
      best.splice(at, 0, { i, d });
      if (best.length > want) best.pop();
    }
  });
  return best.map((o) => o.i);
}

/**
 * Where an arrow key leads: of the points within 45 degrees of the direction (dx, dy) from (px, py) the nearest, when
 * distance off the axis counts double; of equal ones the lowest index. -1 when nothing lies there.
 * @param {Grid} g
 * @param {number} px
 * @param {number} py
 * @param {number} dx -1, 0 or 1; 0 when dy is not
 * @param {number} dy -1, 0 or 1
 * @param {(i: number) => boolean} [accept]
 */
export function gridToward(g, px, py, dx, dy, accept) {
  const { x, y, cols, rows, start, items, cell } = g;
  const cx = Math.floor((px - g.x0) / cell), cy = Math.floor((py - g.y0) / cell);
  let best = -1, bestCost = Infinity;
  /** @param {number} c @param {number} r */
  const look = (c, r) => {
    for (let s = start[r * cols + c]; s < start[r * cols + c + 1]; s++) {
      const i = items[s], ux = x[i] - px, uy = y[i] - py;
      const along = ux * dx + uy * dy, off = Math.abs(ux * dy) + Math.abs(uy * dx), cost = along + 2 * off;
      if (along <= 0 || off > along || cost > bestCost || (cost === bestCost && i > best)) continue;
      if (accept && !accept(i)) continue;
      best = i;
      bestCost = cost;
    }
  };
  // Line by line of cells away from the point, each as wide as 45 degrees reach there.
  const ahead = dx + dy, from = dx ? cx : cy, lines = dx ? cols : rows, across = dx ? cy : cx, width = dx ? rows : cols;
  const first = Math.max(0, ahead > 0 ? -from : from - lines + 1), last = ahead > 0 ? lines - 1 - from : from;
  for (let step = first; g.n && step <= last && (step - 1.001) * cell <= bestCost; step++) {
    const line = from + ahead * step;
    for (let o = Math.max(0, across - step - 1); o <= Math.min(width - 1, across + step + 1); o++) {
      if (dx) look(line, o);
      else look(o, line);
    }
  }
  return best;
}
