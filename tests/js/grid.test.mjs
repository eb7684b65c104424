// The grid against brute force, on clustered points, on points that are all equal, on a line, and on none.
import test from "node:test";
import assert from "node:assert/strict";
import { buildGrid, gridInBox, gridInCircle, gridInPolygon, gridNearest, gridNeighbours, gridToward } from "../../featgeom/static/grid.js";
import { seeded } from "./seeded.mjs";

function clustered(n, seed) {
  const rand = seeded(seed), x = new Uint16Array(n), y = new Uint16Array(n);
  for (let i = 0; i < n; i++) {
    const c = Math.floor(rand() * 7), r = rand() ** 2 * 6000, t = rand() * 7;
    x[i] = Math.min(65535, Math.max(0, 9000 * c + r * Math.cos(t)));
    y[i] = Math.min(65535, Math.max(0, 8000 * ((c * 3) % 7) + r * Math.sin(t)));
  }
  return { x, y };
}

const cases = {
  clustered: clustered(2000, 1),
  few: clustered(3, 2),
  one: { x: Uint16Array.of(7), y: Uint16Array.of(9) },
  equal: { x: new Uint16Array(50).fill(5), y: new Uint16Array(50).fill(5) },
  line: { x: Uint16Array.from({ length: 300 }, (_, i) => 200 * i), y: new Uint16Array(300).fill(1000) },
  column: { x: new Uint16Array(200).fill(1000), y: Uint16Array.from({ length: 200 }, (_, i) => 300 * i) },
  lattice: { x: Uint16Array.from({ length: 900 }, (_, i) => 1000 * (i % 30)), y: Uint16Array.from({ length: 900 }, (_, i) => 1000 * Math.floor(i / 30)) },
};

/** Even-odd by the crossings of a ray to the right. */
function enclosed(px, py, xs, ys) {
  let odd = false;
  xs.forEach((_, k) => {
    const j = (k + 1) % xs.length;
    if (ys[k] > py === ys[j] > py) return;
    if (px < xs[k] + (py - ys[k]) / (ys[j] - ys[k]) * (xs[j] - xs[k])) odd = !odd;
  });
  return odd;
}

for (const [name, { x, y }] of Object.entries(cases)) {
  const g = buildGrid(x, y), n = x.length, all = [...Array(n).keys()];
  /** A place in and around the map, often exactly at a point. */
  const place = (rand) => {
    const i = Math.floor(rand() * n);
    return rand() < 0.4 ? [x[i], y[i]] : [rand() * 72000 - 3000, rand() * 72000 - 3000];
  };

  test(`${name}: every point is in exactly one cell`, () => {
    assert.deepEqual([...g.items].sort((a, b) => a - b), all);
    assert.equal(g.start[g.cols * g.rows], n);
  });

  test(`${name}: nearest, with and without a filter, equals brute force`, () => {
    const rand = seeded(3);
    for (let t = 0; t < 400; t++) {
      const [px, py] = place(rand), radius = t % 9 ? 10 ** (1 + 4 * rand()) : Infinity;
      const accept = t % 2 ? (i) => i % 3 !== 0 : undefined;
      let best = -1, bestD = radius * radius;
      for (let i = 0; i < n; i++) {
        const d = (x[i] - px) ** 2 + (y[i] - py) ** 2;
        if ((d < bestD || (best < 0 && d <= bestD)) && (!accept || accept(i))) [best, bestD] = [i, d];
      }
      assert.equal(gridNearest(g, px, py, radius, accept), best);
    }
  });

  test(`${name}: box, circle and neighbours equal brute force`, () => {
    const rand = seeded(4);
    for (let t = 0; t < 100; t++) {
      const [ax, ay] = place(rand), [bx, by] = place(rand), radius = Math.floor(10 ** (1 + 4 * rand()));
      const inside = all.filter((i) => x[i] >= Math.min(ax, bx) && x[i] <= Math.max(ax, bx)
        && y[i] >= Math.min(ay, by) && y[i] <= Math.max(ay, by));
      assert.deepEqual([...gridInBox(g, ax, ay, bx, by)], inside);
      const d = (i) => (x[i] - ax) ** 2 + (y[i] - ay) ** 2;
      assert.deepEqual([...gridInCircle(g, ax, ay, radius)], all.filter((i) => d(i) <= radius * radius));
      const near = [...all].sort((i, j) => d(i) - d(j) || i - j).slice(0, 9);
      assert.deepEqual(gridNeighbours(g, ax, ay, 9), near);
    }
  });

  test(`${name}: a lasso equals brute force, also where it crosses itself`, () => {
    const rand = seeded(5);
    let some = 0;
    for (let t = 0; t < 60; t++) {
      const corners = Array.from({ length: 3 + Math.floor(rand() * 30) }, () => place(rand).map((v, axis) => Math.floor(v) + 0.37 + axis / 7));   // no point on an edge
      if (t % 3 === 0) corners.splice(1, 0, corners[0]);   // a pointer that stood still
      const xs = corners.map((o) => o[0]), ys = corners.map((o) => o[1]), wanted = all.filter((i) => enclosed(x[i], y[i], xs, ys));
      some += wanted.length;
      assert.deepEqual([...gridInPolygon(g, xs, ys)], wanted);
    }
    assert.ok(some > 0 || n < 4 || name === "equal");
    assert.deepEqual([...gridInPolygon(g, [], [])], []);
    assert.deepEqual([...gridInPolygon(g, [0, 9], [0, 9])], []);
    assert.deepEqual([...gridInPolygon(g, [-1, 70000, 70000, -1], [-1, -1, 70000, 70000])], all);
  });

  test(`${name}: an arrow key leads where brute force says`, () => {
    const rand = seeded(6);
    for (let t = 0; t < 400; t++) {
      const [px, py] = place(rand), [dx, dy] = [[1, 0], [-1, 0], [0, 1], [0, -1]][t % 4];
      const accept = t % 3 ? undefined : (i) => i % 4 === 0;
      let best = -1, bestCost = Infinity;
      for (let i = 0; i < n; i++) {
        const along = (x[i] - px) * dx + (y[i] - py) * dy, off = Math.abs((x[i] - px) * dy) + Math.abs((y[i] - py) * dx);
        if (along > 0 && off <= along && along + 2 * off < bestCost && (!accept || accept(i))) [best, bestCost] = [i, along + 2 * off];
      }
      assert.equal(gridToward(g, px, py, dx, dy, accept), best, `from ${px} ${py} to ${dx} ${dy}`);
    }
  });
}

test("no points: nothing is found and nothing fails", () => {
  const g = buildGrid(new Uint16Array(0), new Uint16Array(0));
  assert.equal(gridNearest(g, 0, 0, 1e9), -1);
  for (const found of [gridInBox(g, -1e9, -1e9, 1e9, 1e9), gridInCircle(g, 0, 0, 9), gridInPolygon(g, [-1, 1, 0], [-1, -1, 1])]) assert.equal(found.length, 0);
  assert.deepEqual(gridNeighbours(g, 0, 0, 4), []);
  assert.equal(gridToward(g, 0, 0, 1, 0), -1);
});

test("few or nearly all of many points come in rising order", () => {
  const { x, y } = clustered(20000, 7), g = buildGrid(x, y), shares = [];
  for (const side of [200, 9000, 65535]) {
    const [left, top] = [x[5] - side, y[5] - side], right = x[5] + side, bottom = y[5] + side;
    const got = gridInBox(g, left, top, right, bottom), wanted = [];
    for (let i = 0; i < x.length; i++) if (x[i] >= left && y[i] >= top && x[i] <= right && y[i] <= bottom) wanted.push(i);
    shares.push(wanted.length / x.length);
    assert.deepEqual([...got], wanted);
  }
  assert.ok(shares[0] > 0 && shares[0] < 1 / 16 && shares[2] > 1 / 2);
});

test("an arrow key leads to what lies that way, straight ahead before askew, never to the point itself", () => {
  //            0 here      1 right     2 right, askew   3 left      4 above     5 far right
  const x = [1000, 2000, 1800, 400, 1010, 9000], y = [1000, 1010, 1700, 1000, 300, 1000];
  const g = buildGrid(x, y);
  assert.equal(gridToward(g, 1000, 1000, 1, 0), 1);
  assert.equal(gridToward(g, 1000, 1000, -1, 0), 3);
  assert.equal(gridToward(g, 1000, 1000, 0, -1), 4);
  assert.equal(gridToward(g, 1000, 1000, 1, 0, (i) => i !== 1), 2);
  assert.equal(gridToward(g, 9000, 1000, 1, 0), -1);
});
