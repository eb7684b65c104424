// What surrounds the panels, without a browser: the state document, links that restore it, histograms.
import test from "node:test";
import assert from "node:assert/strict";
import { createState, sameValue } from "../../featgeom/static/state.js";
import { MAX_QUERY, MAX_SEARCHES, translator } from "../../featgeom/static/maplink.js";
import { histogram, median } from "../../featgeom/static/mapbar.js";

const panel = (name, ids) => ({ name, ids: Int32Array.from(ids), n: ids.length, find: (id) => ids.indexOf(id) });
const data = { panels: [panel("A", [3, 7, 12]), panel("__proto__", [0, 5])] };
const start = { places: [{ x: 100, y: 200, zoom: 1 }, { x: 100, y: 100, zoom: 1 }], colour: "cluster of A", size: "", outline: "" };
const link = translator(data, start, new Set(["cluster of A", "density", "age"]));
const doc = (patch = {}) => ({
  ...link.viewIn({}), v: 2, hover: null, partner: 0, pins: [], selection: [new Uint32Array(0), new Uint32Array(0)], searches: [],
  tool: "move", combine: "new", table: "pinned", ...patch,
});

test("state tells once which keys changed and refuses unknown ones", () => {
  const state = createState({ a: 1, b: Uint32Array.of(1, 2) }), heard = [];
  const off = state.on((now, changed, origin) => heard.push([now.a, [...changed], origin]));
  state.set({ a: 2, b: Uint32Array.of(1, 2) });
  state.set({ a: 2 });
  state.set({ b: Uint32Array.of(1, 3) }, "python");
  off();
  state.set({ a: 9 });
  assert.deepEqual(heard, [[2, ["a"], "user"], [2, ["b"], "python"]]);
  assert.throws(() => state.set({ c: 1 }), /no c/);
});

test("values are equal as values", () => {
  for (const [a, b] of [[NaN, NaN], [[1, [2]], [1, [2]]], [{ a: 1 }, { a: 1 }], [Uint32Array.of(), Uint32Array.of()]]) assert.ok(sameValue(a, b));
  for (const [a, b] of [[[1], { 0: 1 }], [{ a: 1 }, { b: 1 }], [Uint32Array.of(1), Uint32Array.of(2)], [Uint32Array.of(1), [1]], [null, {}]])
    assert.ok(!sameValue(a, b));
});

test("an empty view means the start, and only what differs is told", () => {
  assert.deepEqual(link.viewOut(doc()), {});
  const moved = doc({ places: [{ x: 65535, y: 0, zoom: 2.5 }, start.places[1]], min: 0.3, colour: "density", off: ["link:alone"], boxes: true, hideSame: true });
  const view = link.viewOut(moved);
  assert.deepEqual(view, { places: { A: [1, 0, 2.5] }, min: 0.3, hide_same: true, boxes: true, colour: "density", off: ["link:alone"] });
  assert.deepEqual(link.viewIn(view), { places: [{ x: 65535, y: 0, zoom: 2.5 }, start.places[1]], min: 0.3, hideSame: true, boxes: true,
    colour: "density", size: "", outline: "", off: ["link:alone"] });
});

test("one colour is told although it is empty", () => {
  assert.deepEqual(link.viewOut(doc({ colour: "" })), { colour: "" });
  assert.equal(link.viewIn({ colour: "" }).colour, "");
});

test("a link brings back what differs from the saved state, and what was taken away", () => {
  const full = doc({ pins: [[0, 1], [1, 0]], selection: [Uint32Array.of(0, 2), new Uint32Array(0)], min: 0.25,
    searches: [{ text: "a b%#\u202e</script>", mode: "regex", most: true }] });
  const view = { places: full.places, min: 0.25, hideSame: false, boxes: false, colour: "cluster of A", size: "", outline: "", off: [] };
  assert.deepEqual(link.fromHash(link.toHash(full, doc())), { ...view, searches: full.searches, pins: full.pins, selection: full.selection });
  assert.equal(link.toHash(full, full), "");
  assert.deepEqual({ ...full, ...link.fromHash(link.toHash(doc(), full)) }, doc());
  assert.deepEqual(link.fromHash(link.toHash({ ...full, pins: [] }, full)), { pins: [] });
});

test("a selection too large for a link stays as it was saved", () => {
  const ids = Array.from({ length: 400 }, (_, i) => i), big = { panels: [panel("A", ids), panel("B", ids)] };
  const wide = translator(big, start, new Set());
  const many = doc({ selection: [Uint32Array.from(ids), new Uint32Array(0)], min: 0.5 });
  const back = wide.fromHash(wide.toHash(many, doc()));
  assert.ok(!("selection" in back) && back.min === 0.5);
});

test("hostile links leave the map as it is", () => {
  for (const bad of ["", "%", "{", "null", "1", "a".repeat(10000)]) assert.equal(link.fromHash(bad), null);
  const evil = { view: { places: { A: [1e308, NaN, "1"], B: 3 }, min: "1", colour: "constructor", size: {}, off: [1, "cat:x"], boxes: 1, hide_same: "yes" },
    searches: [{ text: 1 }, { text: "x", mode: "code" }, ...Array.from({ length: 20 }, () => ({ text: "y".repeat(1e5), mode: "part", most: 1 }))],
    pinned: [["A", 4], ["nobody", 3], null, 5, ["A", "3"], ...Array.from({ length: 1e5 }, () => ["A", 3])], selected: { A: [3, 99, {}, null], nobody: [1] } };
  const back = link.fromHash(JSON.stringify(evil));
  assert.deepEqual(back.places, start.places);
  assert.deepEqual([back.min, back.colour, back.size, back.boxes, back.hideSame], [0, "cluster of A", "", false, false]);
  assert.deepEqual(back.off, ["cat:x"]);
  assert.equal(back.searches.length, MAX_SEARCHES - 2);
  assert.ok(back.searches.every((o) => o.text.length === MAX_QUERY && o.most === false));
  assert.deepEqual(back.pins, [[0, 0]]);
  assert.deepEqual(back.selection, [Uint32Array.of(0), new Uint32Array(0)]);
});

test("a selection comes in rising order, however it was told", () => {
  assert.deepEqual(link.selectionIn({ A: [12, 3] })[0], Uint32Array.of(0, 2));
  assert.deepEqual(link.selectionOut([Uint32Array.of(0, 2), new Uint32Array(0)]), { A: [3, 12] });
});

test("histograms count every finite value once, over all parts", () => {
  const h = histogram([[0, 0.019, 0.02, 0.999], [1, 2, -3, NaN, Infinity]], 50);
  assert.equal(h.reduce((a, b) => a + b), 7);
  assert.deepEqual([h[0], h[1], h[49]], [3, 1, 3]);
});

test("the median of hundredths is exact", () => {
  let s = 7;
  const rand = (n) => (s = (s * 48271) % 2147483647) % n;
  for (const n of [1, 2, 5, 8, 101]) {
    const values = Array.from({ length: n }, () => (rand(201) - 100) / 100), sorted = [...values].sort((a, b) => a - b);
    const want = (sorted[(n - 1) >> 1] + sorted[n >> 1]) / 2;
    assert.ok(Math.abs(median([Float32Array.from(values.slice(0, 3)), [NaN, ...values.slice(3)]]) - want) < 1e-9);
  }
  assert.ok(Number.isNaN(median([])) && Number.isNaN(median([[NaN]])));
});
