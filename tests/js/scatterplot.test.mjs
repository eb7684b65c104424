// The scatter, without a browser: scales, ticks, who is nearest, the walk, the bars. The page is tested in test_scatter.py.
import assert from "node:assert/strict";
import test from "node:test";

import { axis, bars, nearest, short, ticks, walk } from "../../featgeom/static/scatterplot.js";

test("numbers are short and never in a long row of digits", () => {
  assert.deepEqual([0, 0.1 + 0.2, 1234.5, 2e-7, -3.14159, 12].map(short), ["0", "0.3", "1230", "2e-7", "-3.14", "12"]);
});

test("ticks are round, inside, and about as many as asked for", () => {
  assert.deepEqual(ticks(0, 10, 5), [0, 2, 4, 6, 8, 10]);
  assert.deepEqual(ticks(0, 1, 4).map(short), ["0", "0.5", "1"]);
  assert.deepEqual(ticks(-3, 4, 4).map(short), ["-2", "0", "2", "4"]);
  for (const [low, high] of [[0, 1e-9], [0, 7.3e12], [-0.004, 0.01], [0, 0.3], [5, 5.0001]]) {
    for (const count of [1, 3, 8]) {
      const got = ticks(low, high, count), slack = (high - low) * 1e-6;
      assert.ok(got.length <= count * 2 + 1, `${got}`);
      assert.ok(got.every((o) => o >= low - slack && o <= high + slack), `${low} ${high}: ${got}`);
    }
  }
});

test("an axis holds zero, its range and every value, and never divides by nothing", () => {
  const a = axis([0, 2], [1, 5], 50, 250);
  assert.deepEqual([a.low, a.high, a.at(0), a.at(5), a.at(2.5)], [0, 5, 50, 250, 150]);
  const b = axis([-1, 3], [], 300, 100);                              // downwards, signed
  assert.deepEqual([b.at(-1), b.at(3), b.at(1)], [300, 100, 200]);
  const c = axis([0, 0], [0, 0], 0, 10);
  assert.deepEqual([c.low, c.high, c.at(0)], [0, 1, 0]);
  assert.deepEqual(axis([2, 4], [], 0, 10).low, 0);
});

test("the nearest point is found within reach only, the one on top of equals", () => {
  const xs = [0, 10, 20, 20], ys = [0, 0, 5, 5];
  assert.equal(nearest(9, 1, xs, ys, 5), 1);
  assert.equal(nearest(20, 6, xs, ys, 5), 3);                         // drawn last
  assert.equal(nearest(50, 50, xs, ys, 24), -1);
  assert.equal(nearest(0, 0, [], [], 24), -1);
});

test("arrows walk through every point once and stop at the ends", () => {
  const x = [3, 0, 2, 0, 3], y = [1, 5, 0, 2, 0];
  const seen = [];
  for (let i = walk(-1, 1, x, y), last = -1; i !== last; last = i, i = walk(i, 1, x, y)) seen.push(i);
  assert.deepEqual(seen, [3, 1, 2, 4, 0]);                            // by x, equal ones by y
  assert.equal(walk(-1, -1, x, y), 0);
  assert.equal(walk(2, -1, x, y), 1);
  assert.equal(walk(2, Infinity, x, y), 0);
  assert.equal(walk(2, -Infinity, x, y), 3);
  assert.equal(walk(-1, 1, [], []), -1);
  assert.equal(walk(0, -Infinity, [], []), -1);
});

test("bars are as long as the log of their count; empty ones are not drawn", () => {
  const path = bars([0, 1, 3], (k) => 10 * k, 50, -20, true);
  assert.equal(path, "M10.0 50V40.0H20.0V50ZM20.0 50V30.0H30.0V50Z"); // log 2 is half of log 4
  assert.equal(bars([3], (k) => 100 - 10 * k, 7, 20, false), "M7 100.0H27.0V90.0H7Z");
  assert.equal(bars([], () => 0, 0, 1, true), "");
  assert.equal(bars([0, 0], (k) => k, 0, 1, true), "");
});
