// Names of clusters: which are shown, where, and the boxes around them.
import test from "node:test";
import assert from "node:assert/strict";
import { overlap } from "../../featgeom/static/maplabels.js";
import { clustersOf, placeNames, rectOf, stepAside, textWidth } from "../../featgeom/static/mapnames.js";

function random(seed) {
  let s = seed;
  return () => (s = (s * 48271) % 2147483647) / 2147483647;
}

/** Forty clusters on a grid of 8 x 5, the first the largest, on a map of 1000 units. */
function forty() {
  const rand = random(7), x = [], y = [], cluster = [];
  for (let c = 0; c < 40; c++) {
    for (let i = 0; i < 200 - 4 * c; i++) {
      x.push(Math.round(60 + 125 * (c % 8) + 30 * (rand() - 0.5)));
      y.push(Math.round(100 + 200 * Math.floor(c / 8) + 30 * (rand() - 0.5)));
      cluster.push(c);
    }
  }
  return {
    n: x.length, x: Uint16Array.from(x), y: Uint16Array.from(y), cluster: Int16Array.from(cluster),
    clusterLabels: Array.from({ length: 40 }, (_, c) => `cluster number ${c}`),
  };
}

test("a cluster has its median, and a box of 5 to 95 percent of its points", () => {
  const x = Uint16Array.from({ length: 101 }, (_, i) => (i * 37) % 101), y = x.map((v) => 2 * v);
  const cluster = new Int16Array(101), p = { n: 101, x, y, cluster, clusterLabels: ["one", "empty"] };
  cluster[0] = -1;                                                                      // the point at 0
  const [one, ...rest] = clustersOf(p);
  assert.deepEqual(one, { name: "one", text: "one", size: 100, x: 51, y: 102, box: { x0: 6, y0: 12, x1: 95, y1: 190 } });
  assert.deepEqual(rest, []);
  assert.deepEqual(clustersOf({ ...p, cluster: null }), []);
});

test("clusters come by size; of a very large one a fair part tells where it is", () => {
  const rand = random(3), n = 50000, cluster = Int16Array.from({ length: n }, (_, i) => (i % 10 ? 1 : 0));
  const x = Uint16Array.from({ length: n }, () => 60000 * rand()), p = { n, x, y: x, cluster, clusterLabels: ["small", "large"] };
  const [large, small] = clustersOf(p);
  assert.deepEqual([large.name, large.size, small.name, small.size], ["large", 45000, "small", 5000]);
  for (const o of [large, small]) {
    assert.ok(Math.abs(o.x - 30000) < 2500, `${o.x}`);
    assert.ok(Math.abs(o.box.x0 - 3000) < 1600 && Math.abs(o.box.x1 - 57000) < 1600);
  }
});

test("names keep off each other and inside, the largest are there, and more come when one looks closer", () => {
  const clusters = clustersOf(forty()), seen = [];
  for (const zoom of [1, 2, 4]) {
    const k = 0.5 * zoom, view = { k, tx: 250 - k * 185, ty: 250 - k * 200 };
    const pills = placeNames(clusters, view, 500, 500, zoom);
    assert.ok(pills.length >= 4);
    pills.forEach((pill, i) => {
      assert.ok(pill.x >= 2 && pill.y >= 2 && pill.x + pill.w <= 498 && pill.y + pill.h <= 498);
      for (const other of pills.slice(i + 1)) assert.equal(overlap(pill, other), 0);
    });
    seen.push(new Set(pills.map((o) => o.cluster.name)));
    if (zoom === 1) assert.equal(pills[0].cluster.name, "cluster number 0");
  }
  const [far, , close] = seen, part = (o) => o.box.x1 < 310 && o.box.y1 < 325 && o.box.x0 > 60 && o.box.y0 > 75;
  const here = clusters.filter(part).map((o) => o.name);
  const shownOf = (set) => here.filter((name) => set.has(name)).length;
  assert.ok(here.length && shownOf(close) === here.length && shownOf(close) > shownOf(far), `${shownOf(far)} ${shownOf(close)}`);
});

test("no more names than a small panel has room for, and none of what is not on screen", () => {
  const clusters = clustersOf(forty());
  const far = { k: 0.27, tx: 0, ty: 0 }, few = placeNames(clusters, far, 280, 250, 1).length;
  assert.ok(few <= 6 && placeNames(clusters, far, 280, 250, 4).length > few);
  assert.deepEqual(placeNames(clusters, { k: 1, tx: 5000, ty: 0 }, 500, 500, 1), []);
  assert.deepEqual(placeNames([], { k: 1, tx: 0, ty: 0 }, 500, 500, 1), []);
});

test("names step aside from marks if there is room, keep off each other and inside, and stay where there is none", () => {
  const pills = placeNames(clustersOf(forty()), { k: 1, tx: -50, ty: -80 }, 600, 600, 3);
  const marks = pills.slice(0, 6).map((o, i) => ({ x: o.x + o.w * i / 5, y: o.y + 8, r: 12 }));
  const on = (o, m) => Math.hypot(m.x - Math.max(o.x, Math.min(o.x + o.w, m.x)), m.y - Math.max(o.y, Math.min(o.y + o.h, m.y))) <= m.r;
  const next = stepAside(pills, marks, 600, 600);
  assert.deepEqual(next.map((o) => o.cluster), pills.map((o) => o.cluster));
  next.forEach((o, i) => {
    assert.ok(!marks.some((m) => on(o, m)) && o.x >= 2 && o.y >= 2 && o.x + o.w <= 598 && o.y + o.h <= 598);
    for (const other of next.slice(i + 1)) assert.equal(overlap(o, other), 0);
    if (!marks.some((m) => on(pills[i], m))) assert.equal(o, pills[i]);
    else assert.ok(Math.hypot(o.x - pills[i].x, o.y - pills[i].y) < 60);
  });
  assert.deepEqual(stepAside(pills, [{ x: 300, y: 300, r: 900 }], 600, 600), pills);
  assert.deepEqual(stepAside(pills, [], 600, 600), pills);
});

test("inside a large cluster its name stays on screen", () => {
  const box = { x0: 0, y0: 0, x1: 1000, y1: 1000 }, cluster = { name: "a", text: "a", size: 9, x: 500, y: 500, box };
  const view = { k: 5, tx: -200, ty: -3000 }, [pill] = placeNames([cluster], view, 400, 400, 10);
  assert.ok(pill.x >= 0 && pill.x + pill.w <= 400 && pill.y >= 0 && pill.y + pill.h <= 400);
  assert.deepEqual(rectOf(cluster, view), { x0: -200, y0: -3000, x1: 4800, y1: 2000 });
});

test("wide letters are taken for wide, hostile names are shown, empty ones are not", () => {
  assert.ok(textWidth("漢字漢字") > 1.5 * textWidth("abcd"));
  const p = { ...forty(), clusterLabels: Array.from({ length: 40 }, (_, c) => ["<img>\u0000\u202e", " ", "x".repeat(900)][c % 3]) };
  const texts = clustersOf(p).map((o) => o.text);
  assert.ok(texts.includes("<img>␀⟨U+202E⟩") && !texts.includes(" ") && texts.every((t) => [...t].length <= 28));
});
