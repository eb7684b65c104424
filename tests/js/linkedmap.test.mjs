// The parts of the linked map that need no browser: views, the state document, stamps, partners in both directions, search.
import test from "node:test";
import assert from "node:assert/strict";
import { between, boxOf, fitBox, keepInside, zoomAt } from "../../featgeom/static/view.js";
import { createState, sameValue } from "../../featgeom/static/state.js";
import { colours } from "../../featgeom/static/linkedmap.js";
import { histogram, median } from "../../featgeom/static/mapbar.js";
import { overlap, placeLabels, short, shortQ } from "../../featgeom/static/maplabels.js";
import { COLOURS, LAYERS, radiusFor, rgb, styleOf } from "../../featgeom/static/mapstyle.js";
import { makeStamp, splat } from "../../featgeom/static/splat.js";
import { BEYOND, bothWays, findPoints, fromHundredths, fromPlanes, fromThousandths, linkedPoints, partnersOf, readMap, sameToken, tokensOf } from "../../featgeom/static/mapdata.js";

const planes = (values, width) =>
  Uint8Array.from(Array.from({ length: width }, (_, p) => values.map((v) => (v >>> (8 * p)) & 255)).flat());
const thousandths = (values) => planes(values.map((v) => (Number.isNaN(v) ? 0 : Math.round(v * 1000) + 1)), 2);
const hundredths = (values) => Uint8Array.from(values, (v) => (Number.isNaN(v) ? 0 : Math.round(v * 100) + 101));

/** Two panels of three and two points; edges 0-0 .9, 0-1 .5, 2-1 .7 (beyond chance: the first and the last). */
function tiny() {
  const vocabulary = ["␣king", "Queen", "12", "<img onerror=1>"];
  const panel = (name, ids, tokens) => ({ name, note: "", cluster_labels: [], ids, tokens });
  const panels = [panel("A", [3, 7, 12], [[0], [1, 2], []]), panel("B", [0, 5], [[0, 3], [2]])];
  const arrays = {};
  panels.forEach((p, i) => {
    arrays[`x${i}`] = planes(p.ids.map((_, j) => 1000 * j), 2);
    arrays[`y${i}`] = planes(p.ids.map((_, j) => 300 * j), 2);
    arrays[`id${i}`] = planes(p.ids.map((v, j) => v - (j ? p.ids[j - 1] : 0)), 4);
    arrays[`count${i}`] = Uint8Array.from(p.tokens, (t) => t.length);
    arrays[`token${i}`] = planes(p.tokens.flat(), 4);
  });
  Object.assign(arrays, {
    degree0: Uint16Array.of(2, 0, 1), b0: planes([0, 1, 1], 4), score0: hundredths([0.9, 0.5, 0.7]), null0: hundredths([0.2, 0.2, 0.3]),
    q0: thousandths([0.001, NaN, 0.04]), within0: hundredths([0.8, NaN, -0.1]), flags0: Uint8Array.of(BEYOND, 0, BEYOND | 1),
  });
  return readMap(arrays, { panels, pairs: [{ left: 0, right: 1, metric: "correlation", total: 3 }], vocabulary });
}

test("byte planes, hundredths and thousandths come back exactly, NaN too", () => {
  assert.deepEqual([...fromPlanes(planes([0, 255, 256, 70000, 4294967295], 4), 4)], [0, 255, 256, 70000, 4294967295]);
  assert.deepEqual([...fromHundredths(hundredths([-1, -0.01, 0, 0.12, 1, NaN]))], [-1, -0.01, 0, 0.12, 1, NaN].map(Math.fround));
  assert.deepEqual([...fromThousandths(thousandths([0, 0.001, 0.123, 1, NaN]))], [0, 0.001, 0.123, 1, NaN].map(Math.fround));
});

test("each edge is stored once and found from both ends, best first", () => {
  const data = tiny();
  assert.deepEqual(partnersOf(data, 0, 0).map((o) => [o.panel, o.point, o.edge]), [[1, 0, 0], [1, 1, 1]]);
  assert.deepEqual(partnersOf(data, 0, 1), []);
  assert.deepEqual(partnersOf(data, 1, 1).map((o) => [o.panel, o.point, o.edge]), [[0, 2, 2], [0, 0, 1]]);
  assert.deepEqual(partnersOf(data, 1, 1, (set, e) => set.score[e] >= 0.6).map((o) => o.point), [2]);
});

test("a pair is no more than a token when nothing varies within it, or no better than chance", () => {
  const set = { flags: Uint8Array.of(1, 8, 0, 0, 9), within: Float32Array.of(NaN, 0.5, 0.5, NaN, 0.5) };
  assert.deepEqual([0, 1, 2, 3, 4].map((e) => sameToken(set, e)), [true, false, true, false, true]);
});

test("inverting a random edge list equals a naive inversion", () => {
  let s = 9;
  const rand = (n) => (s = (s * 48271) % 2147483647) % n;
  const m = 500, set = { a: new Uint32Array(m), b: new Uint32Array(m), score: new Float32Array(m) };
  for (let e = 0; e < m; e++) [set.a[e], set.b[e], set.score[e]] = [rand(60), rand(40), rand(100) / 100];
  const [forth, back] = bothWays(set, 60, 40);
  for (const [csr, from, to, n] of [[forth, set.a, set.b, 60], [back, set.b, set.a, 40]]) {
    for (let i = 0; i < n; i++) {
      const naive = [...Array(m).keys()].filter((e) => from[e] === i).sort((p, q) => set.score[q] - set.score[p] || p - q);
      assert.deepEqual([...csr.edges.subarray(csr.indptr[i], csr.indptr[i + 1])], naive);
      assert.deepEqual([...csr.points.subarray(csr.indptr[i], csr.indptr[i + 1])], naive.map((e) => to[e]));
    }
  }
});

test("a point is linked when a shown pair of it is beyond chance", () => {
  const data = tiny(), all = () => true;
  assert.deepEqual([...linkedPoints(data, 0, all)], [1, 0, 1]);
  assert.deepEqual([...linkedPoints(data, 1, all)], [1, 1]);
  assert.deepEqual([...linkedPoints(data, 1, (set, e) => set.score[e] > 0.8)], [1, 0]);
});

test("search: whole tokens only, the space mark need not be typed, ids with and without #", () => {
  const data = tiny();
  assert.deepEqual(tokensOf(data, 0, 1), ["Queen", "12"]);
  assert.deepEqual(findPoints(data, "king"), [[0], [0]]);
  assert.deepEqual(findPoints(data, "␣king"), [[0], [0]]);
  assert.deepEqual(findPoints(data, "kin"), [[], []]);
  assert.deepEqual(findPoints(data, "queen"), [[1], []]);
  assert.deepEqual(findPoints(data, "QUEEN"), [[], []]);
  assert.deepEqual(findPoints(data, "#12"), [[2], []]);
  assert.deepEqual(findPoints(data, "12"), [[1, 2], [1]]);
  assert.deepEqual(findPoints(data, "<img onerror=1>"), [[], [0]]);
  assert.deepEqual(findPoints(data, "  "), [[], []]);
});

test("zooming holds the pixel under the pointer still and respects its limits", () => {
  const view = { k: 2, tx: 10, ty: -4 }, at = (v, wx, wy) => [wx * v.k + v.tx, wy * v.k + v.ty];
  const zoomed = zoomAt(view, 50, 60, 1.7, 0.1, 100);
  const [wx, wy] = [(50 - 10) / 2, (60 + 4) / 2];
  assert.ok(Math.hypot(at(zoomed, wx, wy)[0] - 50, at(zoomed, wx, wy)[1] - 60) < 1e-9);
  assert.equal(zoomAt(view, 0, 0, 1e9, 0.1, 100).k, 100);
  assert.equal(zoomAt(view, 0, 0, 1e-9, 0.1, 100).k, 0.1);
});

test("fitting shows the whole box, also a box without size", () => {
  const v = fitBox({ x0: 0, y0: 0, x1: 100, y1: 10 }, 400, 300, 20);
  assert.equal(v.k, 3.6);
  assert.equal(50 * v.k + v.tx, 200);
  const point = fitBox({ x0: 5, y0: 5, x1: 5, y1: 5 }, 400, 300, 20, 8);
  assert.deepEqual([point.k, 5 * point.k + point.tx], [8, 200]);
  assert.ok(Number.isFinite(fitBox({ x0: 5, y0: 5, x1: 5, y1: 5 }, 400, 300, 20).k));
  assert.deepEqual(boxOf([1, 5, 3], [2, 2, 9], [0, 2]), { x0: 1, y0: 2, x1: 3, y1: 9 });
  assert.equal(boxOf([1], [1], []), null);
});

test("a map that is dragged away comes back into sight", () => {
  const box = { x0: 0, y0: 0, x1: 100, y1: 100 };
  const back = keepInside({ k: 1, tx: 5000, ty: 0 }, box, 200, 200);
  assert.equal(back.tx, 100);
  const inside = { k: 1, tx: 30, ty: 20 };
  assert.deepEqual(keepInside(inside, box, 200, 200), inside);
});

test("an animation begins and ends exactly, and k rises all the way", () => {
  const a = { k: 1, tx: 0, ty: 0 }, b = { k: 16, tx: -300, ty: 40 };
  assert.deepEqual(between(a, b, 0), a);
  assert.deepEqual(between(a, b, 1), b);
  assert.deepEqual(between(a, { ...a, tx: 10 }, 0.5), { k: 1, tx: 5, ty: 0 });
  assert.equal(between(a, b, 0.5).k, 4);
});

test("the state tells once what changed, says nothing when nothing did, and knows its keys", () => {
  const state = createState({ hover: null, min: 0, pins: [] }), heard = [];
  const off = state.on((doc, changed, origin) => heard.push([[...changed].sort(), origin, doc.min]));
  state.set({ min: 0.5, hover: [0, 3], pins: [] });
  state.set({ min: 0.5, hover: [0, 3] });
  state.set({ pins: [[0, 1]] }, "python");
  off();
  state.set({ min: 1 });
  assert.deepEqual(heard, [[["hover", "min"], "user", 0.5], [["pins"], "python", 0.5]]);
  assert.throws(() => state.set({ nonsense: 1 }), /no nonsense/);
  assert.ok(sameValue({ a: [1, { b: NaN }] }, { a: [1, { b: NaN }] }) && !sameValue([1], [1, 2]) && !sameValue([], {}));
});

const WHITE = 255;
function paper(w, h) {
  return new Uint8ClampedArray(w * h * 4).fill(WHITE);
}
const ink = (data) => data.reduce((sum, v, i) => sum + (i % 4 === 3 ? 0 : WHITE - v), 0);
const solid = { fill: [0, 0, 0], alpha: 1, ring: [0, 0, 0], ringAlpha: 0, scale: 1, line: 1 };

test("a stamp holds the ink of its disc wherever the point falls between pixels, and is centred there", () => {
  const stamp = makeStamp(solid, 3, 1);
  for (const [fx, fy] of [[10, 10], [10.3, 10.6], [10.9, 10.1]]) {
    const data = paper(24, 24);
    assert.equal(splat(data, 24, 24, [fx], [fy], [0], stamp, { k: 1, tx: 0, ty: 0 }), 1);
    assert.ok(Math.abs(ink(data) / (3 * 255) / (Math.PI * 9) - 1) < 0.03);
    let mx = 0, my = 0;
    for (let i = 0; i < 24 * 24; i++) {
      mx += (WHITE - data[4 * i]) * ((i % 24) + 0.5);
      my += (WHITE - data[4 * i]) * (Math.floor(i / 24) + 0.5);
    }
    const total = ink(data) / 3;
    assert.ok(Math.hypot(mx / total - fx, my / total - fy) < 0.2);
  }
});

test("a hollow point has paper in its middle and ink around it", () => {
  const data = paper(24, 24);
  splat(data, 24, 24, [12], [12], [0], makeStamp({ ...solid, alpha: 0, ringAlpha: 1 }, 5, 1), { k: 1, tx: 0, ty: 0 });
  assert.equal(data[4 * (12 * 24 + 12)], WHITE);
  assert.ok(data[4 * (12 * 24 + 16)] < 60);
});

test("two equal transparent points cover as alpha blending says; opacity of the paper stays", () => {
  const data = paper(9, 9), half = makeStamp({ ...solid, alpha: 0.5 }, 3, 1);
  splat(data, 9, 9, [4.5, 4.5], [4.5, 4.5], [0, 1], half, { k: 1, tx: 0, ty: 0 });
  assert.ok(Math.abs(data[4 * (4 * 9 + 4)] - 64) <= 2);
  assert.ok(data.every((v, i) => i % 4 !== 3 || v === 255));
});

test("points at and beyond the border are cut, never wrapped or written outside", () => {
  const stamp = makeStamp(solid, 3, 1);
  const data = paper(10, 10);
  assert.equal(splat(data, 10, 10, [-20, 30, 5, 5], [5, 5, -20, 30], [0, 1, 2, 3], stamp, { k: 1, tx: 0, ty: 0 }), 0);
  assert.equal(ink(data), 0);
  splat(data, 10, 10, [0], [5], [0], stamp, { k: 1, tx: 0, ty: 0 });
  assert.ok(data[4 * (5 * 10)] < 30);
  for (let y = 0; y < 10; y++) assert.equal(data[4 * (y * 10 + 9)], WHITE);
});

test("numbers are written as in a table, and a q is never flattered", () => {
  assert.deepEqual([0.876, -0.124, 1, 0, NaN, -0.001].map(short), [".88", "−.12", "1.00", ".00", "–", ".00"]);
  assert.deepEqual([0, 0.001, 0.004, 0.0499, 0.1, 0.42, 1, NaN].map(shortQ), ["≤ .001", "≤ .001", ".004", ".050", ".10", ".42", "1.00", "–"]);
});

test("labels stay inside, off each other and off the points while there is room", () => {
  const near = [{ x: 200, y: 200, w: 120, h: 60 }, { x: 215, y: 205, w: 120, h: 60 }, { x: 190, y: 190, w: 120, h: 60 }, { x: 398, y: 2, w: 120, h: 60 }];
  const placed = placeLabels(near, 400, 400);
  placed.forEach((box, i) => {
    assert.ok(box.x >= 0 && box.y >= 0 && box.x + box.w <= 400 && box.y + box.h <= 400);
    placed.slice(i + 1).forEach((other) => assert.equal(overlap(box, other), 0));
    for (const p of near) assert.equal(overlap(box, { x: p.x - 2, y: p.y - 2, w: 4, h: 4 }), 0);
  });
  const crowded = placeLabels(Array(9).fill({ x: 50, y: 50, w: 90, h: 90 }), 100, 100);   // no room at all: still inside
  assert.ok(crowded.every((o) => o.x >= 0 && o.x + o.w <= 100 && o.y >= 0 && o.y + o.h <= 100));
});

test("histogram and median see finite values only", () => {
  assert.deepEqual([...histogram([0, 0.24, 0.25, 0.99, 1, -0.3, NaN], 4)], [3, 1, 0, 2]);
  assert.equal(median([3, NaN, 1, 2]), 2);
  assert.equal(median([4, 1]), 2.5);
  assert.ok(Number.isNaN(median([])));
});

test("elsewhere a point has the colour of its best partner beyond chance, else none", () => {
  const data = tiny(), all = () => true;
  data.panels[0].cluster = Int16Array.of(1, 1, 0);
  data.panels[0].clusterLabels = ["small", "large"];
  assert.deepEqual([...colours(data, 0, 0, all)], [1, 1, 2]);                                    // the largest cluster is colour 1
  assert.deepEqual([...colours(data, 1, 0, all)], [1, 2]);
  assert.deepEqual([...colours(data, 1, 0, (set, e) => set.score[e] < 0.8)], [0, 2]);
  assert.deepEqual([...colours(data, 1, -1, all)], [0, 0]);
  data.panels[0].cluster = Int16Array.of(-1, -1, 0);
  assert.deepEqual([...colours(data, 0, 0, all)].slice(0, 2), [0, 0]);                             // points of no cluster
});

test("what is found lies over what is selected, over partners, over the rest", () => {
  const linked = Uint8Array.of(0, 1, 1, 0, 1), colour = new Uint8Array(5), none = new Set();
  const layer = (looks) => [...styleOf(looks)].map((s) => LAYERS[Math.floor(s / COLOURS)]);
  assert.deepEqual(layer({ linked, colour, selected: none, partners: none, found: none, dimmed: false }), ["hollow", "full", "full", "hollow", "full"]);
  assert.deepEqual(layer({ linked, colour, selected: new Set([1, 3, 4]), partners: new Set([2, 1]), found: new Set([4]), dimmed: true }),
    ["dim hollow", "selected", "partner", "selected hollow", "found"]);
  assert.deepEqual(rgb("#0af"), [0, 170, 255]);
  assert.throws(() => rgb("red"), /hexadecimal/);
});

test("points shrink with their number and never vanish", () => {
  const radii = [1, 300, 3000, 16384, 65536, 1e6].map((n) => radiusFor(n, 1));
  assert.ok(radii.every((r, i) => r >= 1 && (!i || r <= radii[i - 1])));
  assert.ok(radiusFor(16384, 20) > radiusFor(16384, 1) && radiusFor(10, 1e6) <= 7);
});
