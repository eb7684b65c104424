// The grid against brute force, on clustered points, on points that are all equal, on a line, and on none.
import test from "node:test";
import assert from "node:assert/strict";
import { buildGrid, gridInBox, gridNearest, gridNeighbours, gridToward } from "../../featgeom/static/grid.js";

/** A small seeded generator, so that a failure can be seen again. */
export function seeded(seed) {
  let s = seed >>> 0;
  return () => {
    s = (s + 0x6d2b79f5) >>> 0;
    let t = Math.imul(s ^ (s >>> 15), s | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

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
};

for (const [name, { x, y }] of Object.entries(cases)) {
  const g = buildGrid(x, y), n = x.length;

  test(`${name}: every point is in exactly one cell`, () => {
    assert.deepEqual([...g.items].sort((a, b) => a - b), [...Array(n).keys()]);
    assert.equal(g.start[g.cols * g.rows], n);
  });

  test(`${name}: nearest, with and without a filter, equals brute force`, () => {
    const rand = seeded(3);
    for (let t = 0; t < 400; t++) {
      const px = rand() * 72000 - 3000, py = rand() * 72000 - 3000, radius = 10 ** (1 + 4 * rand());
      const accept = t % 2 ? (i) => i % 3 !== 0 : undefined;
      let best = -1, bestD = radius * radius;
      for (let i = 0; i < n; i++) {
        const d = (x[i] - px) ** 2 + (y[i] - py) ** 2;
        if ((d < bestD || (best < 0 && d <= bestD)) && (!accept || accept(i))) [best, bestD] = [i, d];
      }
      assert.equal(gridNearest(g, px, py, radius, accept), best);
    }
  });

  test(`${name}: box and neighbours equal brute force`, () => {
    const rand = seeded(4);
    for (let t = 0; t < 100; t++) {
      const [ax, ay, bx, by] = [0, 1, 2, 3].map(() => rand() * 70000 - 2000);
      const inside = [...Array(n).keys()].filter((i) => x[i] >= Math.min(ax, bx) && x[i] <= Math.max(ax, bx)
        && y[i] >= Math.min(ay, by) && y[i] <= Math.max(ay, by));
      assert.deepEqual(gridInBox(g, ax, ay, bx, by), inside);
      const d = (i) => (x[i] - ax) ** 2 + (y[i] - ay) ** 2;
      const near = [...Array(n).keys()].sort((i, j) => d(i) - d(j) || i - j).slice(0, 9);
      assert.deepEqual(gridNeighbours(g, ax, ay, 9), near);
    }
  });
}

test("no points: nothing is found and nothing fails", () => {
  const g = buildGrid(new Uint16Array(0), new Uint16Array(0));
  assert.equal(gridNearest(g, 0, 0, 1e9), -1);
  assert.deepEqual(gridInBox(g, -1e9, -1e9, 1e9, 1e9), []);
  assert.deepEqual(gridNeighbours(g, 0, 0, 4), []);
  assert.equal(gridToward(g, 0, 0, 1, 0), -1);
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
