// What follows from the state, without a page: shown pairs, filters, searches, selections, the focus, answers from Python.
import test from "node:test";
import assert from "node:assert/strict";
import { BEYOND, readMap } from "../../featgeom/static/mapdata.js";
import { createDerive } from "../../featgeom/static/mapderive.js";
import { placesAround, placesBetween } from "../../featgeom/static/mapmove.js";
import { packed } from "./packed.mjs";

/** A: points 0 to 3 (ids 10..13), B: 0 to 2. 0-0 beyond chance, 0-1 not tested, 1-1 tested and not beyond, 2 and 3 without pairs. */
function made() {
  const panel = (name, ids, tokens) => ({ name, x: ids.map((_, i) => 1000 * i), y: ids.map((_, i) => 700 * i), ids, tokens });
  const edges = [{ a: 0, b: 0, score: 0.9, q: 0.01, flags: BEYOND }, { a: 0, b: 1, score: 0.5, flags: 0 }, { a: 1, b: 1, score: 0.3, q: 0.5, flags: 0 }];
  const data = readMap(...packed([panel("A", [10, 11, 12, 13], [[0], [1], [0], []]), panel("B", [0, 1, 2], [[0], [1], [1]])], [{ left: 0, right: 1, edges }],
    { vocabulary: ["king", "dog"] }));
  const derive = createDerive(data);
  const doc = (patch = {}) => ({ hover: null, partner: 0, pins: [], selection: [new Uint32Array(0), new Uint32Array(0)], searches: [], min: 0, hideSame: false,
    colour: "", size: "", outline: "", off: [], ...patch });
  derive.update(doc(), null);
  return { data, derive, derived: derive.derived, doc };
}
const token = (text) => ({ text, mode: "token", most: false });

test("three states of a point, counted over all panels", () => {
  const { derive, derived, doc } = made();
  assert.deepEqual(derived.linked.map((o) => [...o]), [[1, 0, 0, 0], [1, 0, 0]]);
  assert.deepEqual(derived.tested.map((o) => [...o]), [[1, 1, 0, 0], [1, 1, 0]]);
  assert.deepEqual([derived.counts, derived.shownPairs, derived.beyond], [[2, 2, 3], 3, "beyond chance"]);
  derive.update(doc({ min: 0.95 }), new Set(["min"]));
  assert.deepEqual([derived.counts, derived.shownPairs, derived.beyond], [[0, 4, 3], 0, "beyond chance at score ≥ .95"]);
});

test("searches find what the legend allows, keep what they found, and count anew when they change", () => {
  const { derive, derived, doc } = made();
  const searches = [token("king"), token("dog")];
  derive.update(doc({ searches }), new Set(["searches"]));
  assert.deepEqual(derived.found.map((o) => o.points.map((p) => [...p])), [[[0, 2], [0]], [[1], [1, 2]]]);
  derive.jumped(0, 2);
  derive.update(doc({ searches, off: ["link:untested"] }), new Set(["off"]));
  assert.deepEqual(derived.found.map((o) => o.points.map((p) => [...p])), [[[0], [0]], [[1], [1]]]);
  assert.equal(derived.found[0].at, 2);
  derive.update(doc({ searches: [token("dog"), { text: "(", mode: "regex", most: false }, token(" ")] }), new Set(["searches"]));
  assert.deepEqual(derived.found.map((o) => [o.at, Boolean(o.error), o.points[0].length]), [[-1, false, 1], [-1, true, 0], [-1, false, 0]]);
});

test("the focus is the hovered point, else the last pinned one; the partner walked to stays in its list", () => {
  const { derive, derived, doc } = made();
  derive.focus(doc({ pins: [[0, 1], [0, 0]], partner: 1 }));
  assert.deepEqual([derived.focus.panel, derived.focus.point, derived.focus.partners.map((o) => o.point), derived.partner], [0, 0, [0, 1], 1]);
  derive.focus(doc({ pins: [[0, 1]], hover: [1, 2], partner: 1 }));
  assert.deepEqual([derived.focus.panel, derived.focus.point, derived.focus.partners, derived.partner], [1, 2, [], 0]);
  derive.update(doc({ min: 0.6 }), new Set(["min"]));
  derive.focus(doc({ min: 0.6, hover: [0, 0], partner: 1 }));
  assert.equal(derived.partner, 0);
});

test("selected points light the partners that they were tested with", () => {
  const { derive, derived, doc } = made();
  derive.looks(doc({ selection: [Uint32Array.of(0, 1), new Uint32Array(0)] }));
  assert.deepEqual([[...derived.looks[0].selected], [...derived.looks[1].partners], derived.looks[0].dimmed], [[1, 1, 0, 0], [1, 0, 0], true]);
  derive.looks(doc());
  assert.equal(derived.looks[0].dimmed, false);
});

test("a search later in the list colours what both find", () => {
  const { derive, derived, doc } = made();
  const state = doc({ searches: [token("king"), { text: "10-13", mode: "id", most: false }] });
  derive.update(state, new Set(["searches"]));
  derive.looks(state);
  assert.deepEqual([...derived.looks[0].found], [2, 2, 2, 2]);
  assert.deepEqual([...derived.looks[1].found], [1, 0, 0]);
});

test("all partners from Python replace those of the page for that feature, and obey the slider; nonsense is left out", () => {
  const { data, derive, derived, doc } = made();
  const one = (other, score, more = {}) => ({ set: 0, other, score, null: 0.1, q: null, within: null, flags: 0, ...more });
  derive.take(doc(), [0, 0], [one(0, 0.9, { q: 0.01, flags: BEYOND }), one(1, 0.5), one(2, 0.2), one(99, 0.2), one(1, 1, { set: 7 }), one(1, 1, { set: -1 }), null, 3, "x", {}]);
  derive.focus(doc({ hover: [0, 0] }));
  assert.deepEqual([derived.focus.all, derived.focus.partners.map((o) => o.point)], [true, [0, 1, 2]]);
  assert.deepEqual([derived.shownPairs, derived.counts], [3, [2, 2, 3]]);
  derive.update(doc({ min: 0.4 }), new Set(["min"]));
  derive.focus(doc({ min: 0.4, hover: [0, 0] }));
  assert.deepEqual(derived.focus.partners.map((o) => o.point), [0, 1]);
  derive.focus(doc({ hover: [1, 0] }));
  assert.deepEqual(derived.focus.partners.map((o) => o.point), [0]);
  derive.take(doc(), [1, 0], [one(12, 0.4)]);                       // and from the other side
  derive.focus(doc({ hover: [1, 0] }));
  assert.deepEqual(derived.focus.partners.map((o) => [o.panel, o.point]), [[0, 2]]);
  assert.deepEqual([...data.sets.at(-1).a, ...data.sets.at(-1).b], [2, 0]);
});

test("a flight ends where it was meant to, and a panel without partners stays", () => {
  const { data, derive } = made();
  const panel = (place) => ({ place: () => place, size: () => ({ width: 400, height: 300, k0: 0.1 }) });
  const here = { x: 5, y: 6, zoom: 2 }, panels = [panel(here), panel(here)];
  const alone = placesAround(data, panels, derive.focusOn([0, 3]), 0), both = placesAround(data, panels, derive.focusOn([0, 0]), 0);
  assert.equal(alone[1], here);
  assert.ok(both[1] !== here && Math.abs(alone[0].x - both[0].x) < 3001);
  assert.deepEqual(placesBetween(panels, [here, here], both, 1), both);
  const start = placesBetween(panels, [here, here], both, 0);
  start.forEach((o) => assert.ok(Math.abs(o.x - 5) < 1e-6 && Math.abs(o.zoom - 2) < 1e-6));
});

test("a flight goes to the partner that is walked to, and to the best one in the other panels", () => {
  const ids = Array.from({ length: 300 }, (_, i) => i), line = (name) => ({ name, x: ids.map((i) => 200 * i), y: ids.map(() => 0), ids });
  const edges = [{ a: 5, b: 10, score: 0.9, q: 0.01, flags: BEYOND }, { a: 5, b: 250, score: 0.5, flags: 0 }];
  const data = readMap(...packed([line("A"), line("B"), line("C")], [{ left: 0, right: 1, edges }, { left: 0, right: 2, edges: [{ a: 5, b: 100, score: 0.4 }] }]));
  const derive = createDerive(data), panels = ids.slice(0, 3).map(() => ({ place: () => null, size: () => ({ width: 400, height: 400, k0: 400 / 60000 }) }));
  derive.update({ min: 0, hideSame: false, colour: "", size: "", outline: "", off: [], searches: [] }, null);
  const at = (partner) => placesAround(data, panels, derive.focusOn([0, 5]), partner).map((o) => Math.round(o.x / 200));
  assert.deepEqual([at(0), at(1), at(2)].map(([a, b, c]) => [Math.abs(a - 6) < 3, Math.abs(b - 10) < 3, Math.abs(c - 100) < 3]), [[true, true, true], [true, false, true], [true, true, true]]);
  assert.ok(Math.abs(at(1)[1] - 250) < 3);
  assert.ok(placesAround(data, panels, derive.focusOn([0, 5]), 1)[1].zoom > 3);
});

test("a panel without pairs is drawn plain, and neither counted nor filtered by links", () => {
  const panel = (name) => ({ name, x: [0, 1], y: [0, 1], ids: [0, 1] });
  const derive = createDerive(readMap(...packed([panel("A"), panel("B"), panel("C")], [{ left: 0, right: 1, edges: [{ a: 0, b: 0, score: 0.9, q: 0.01, flags: BEYOND }] }])));
  derive.update({ min: 0, hideSame: false, colour: "", size: "", outline: "", off: ["link:linked", "link:untested"], searches: [] }, null);
  assert.deepEqual(derive.derived.counts, [2, 0, 2]);
  assert.deepEqual(derive.derived.allowed.map((o) => [...o]), [[0, 0], [0, 0], [1, 1]]);
  assert.deepEqual([...derive.derived.linked[2]], [1, 1]);
});
