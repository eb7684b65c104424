// The legend, without a browser: what it says, what a click leaves, which points pass.
import test from "node:test";
import assert from "node:assert/strict";
import { LINKS, allowedPoints, legendOf, switched } from "../../featgeom/static/maplegend.js";

const ENTRIES = [{ name: "x", count: 4, code: 1 }, { name: "other", count: 2, code: 2 }, { name: "other", count: 1, code: 0 }];
const scale = (patch = {}) => ({ key: "kind", kind: "category", title: "kind", entries: ENTRIES, low: NaN, high: NaN, log: false,
  codes: [Uint8Array.of(1, 2, 0)], cats: null, ...patch });
const derived = (patch = {}) => ({ given: "token", beyond: "beyond chance", scale: scale(), levels: { size: [], outline: [] },
  counts: [1234, 2, 3], sizes: [4, 2, 1, 7], ...patch });
const doc = (patch = {}) => ({ off: [], selection: [new Uint32Array(0)], size: "", outline: "", ...patch });
const texts = (group) => group.entries.map((o) => o.text);

test("the legend counts every state and category and names what is not in one", () => {
  const [links, kinds, ...rest] = legendOf(doc(), derived());
  assert.deepEqual(rest, []);
  assert.deepEqual(texts(links).slice(0, 3), ["has a partner beyond chance · 1,234", "tested, none beyond chance · 2", "not tested · 3"]);
  assert.deepEqual(links.entries.map((o) => o.id), [...LINKS, "", ""]);
  assert.match(texts(links).at(-1), /no more than the same token/);
  assert.deepEqual([kinds.title, ...texts(kinds)], ["kind", "x · 4", "other · 2", "others · 1", "none · 7"]);
  assert.deepEqual(kinds.entries.map((o) => o.id), ["cat:x", "cat:other", "rest:", "none:"]);
  assert.deepEqual(kinds.entries.map((o) => o.colour), ["--lm-c1", "--lm-c2", "--lm-c0", "--lm-c0"]);
});

test("entries that say nothing are left out", () => {
  assert.deepEqual(legendOf(doc(), derived({ given: "", scale: scale({ kind: "none", entries: [] }) })), []);
  const [links, kinds] = legendOf(doc(), derived({ counts: [5, 0, 0], sizes: [4, 2, 1, 0] }));
  assert.equal(texts(links).filter((o) => o.includes("tested")).length, 1);          // none is an answer, no untested ones are not
  assert.ok(!texts(kinds).some((o) => o.startsWith("none")));
});

test("what is off is told from what is on, and selected points have entries of their own", () => {
  const groups = legendOf(doc({ off: ["link:alone", "rest:", "none:"], selection: [Uint32Array.of(1)] }), derived());
  const off = groups.flatMap((o) => o.entries).filter((o) => !o.on).map((o) => o.id);
  assert.deepEqual(off, ["link:alone", "rest:", "none:"]);
  assert.deepEqual(groups[0].entries.slice(-2).map((o) => o.key), ["ring", "partner"]);
});

test("numbers have a ramp with both ends, levels have their names", () => {
  const numbers = (patch) => legendOf(doc(), derived({ scale: scale({ kind: "number", entries: [], low: 1, high: 4, ...patch }) }))[1];
  assert.deepEqual(texts(numbers({})), ["1 to 4", "no value"]);
  assert.deepEqual(texts(numbers({ log: true, codes: [Uint8Array.of(9, 20)] })), ["10 to 10,000, logarithmic"]);
  const sized = legendOf(doc({ size: "a".repeat(60), outline: "b" }), derived({ levels: { size: ["low", "", "high", ""], outline: ["one"] } })).slice(2);
  assert.deepEqual(sized.map((o) => [o.title.length, ...o.entries.map((e) => `${e.key} ${e.text}`)]), [[46, "size0 low", "size2 high"], [10, "outline0 one"]]);
});

test("hostile names are shown, not obeyed", () => {
  const odd = [{ name: "\u0000\u202e<!--", count: 1, code: 1 }];
  const [, kinds] = legendOf(doc(), derived({ scale: scale({ title: "\u202e".repeat(90), entries: odd }), sizes: [1, 0] }));
  assert.doesNotMatch(kinds.title + texts(kinds), /[\u0000\u202e]/);
  assert.deepEqual(kinds.entries[0].id, "cat:\u0000\u202e<!--");                       // what the state holds is the name itself
});

test("a click isolates, a second one brings all back, Shift switches one", () => {
  const all = ["cat:a", "cat:b", "rest:"];
  const only = switched(["link:alone"], all, "cat:b", false);
  assert.deepEqual(only, ["link:alone", "cat:a", "rest:"]);
  assert.deepEqual(switched(only, all, "cat:b", false), ["link:alone"]);
  assert.deepEqual(switched(only, all, "cat:a", false), ["link:alone", "cat:b", "rest:"]);
  assert.deepEqual(switched(only, all, "cat:a", true), ["link:alone", "rest:"]);
  assert.deepEqual(switched([], all, "cat:a", true), ["cat:a"]);
  assert.deepEqual(switched([], LINKS, "link:alone", false), ["link:linked", "link:untested"]);
});

test("what the legend switches off is not allowed: states, categories, the rest, none; a category named as the rest is another", () => {
  const linked = Uint8Array.of(1, 0, 1, 0, 1), tested = Uint8Array.of(1, 1, 1, 0, 1), cats = Int16Array.of(0, 1, -1, 0, 2);
  const allowed = (off) => [...allowedPoints(off, linked, tested, cats, ENTRIES)];
  assert.deepEqual(allowed([]), [1, 1, 1, 1, 1]);
  assert.deepEqual(allowed(["link:linked"]), [0, 1, 0, 1, 0]);
  assert.deepEqual(allowed(["link:linked", "link:untested"]), [0, 1, 0, 0, 0]);
  assert.deepEqual(allowed(["cat:x"]), [0, 1, 1, 0, 1]);
  assert.deepEqual(allowed(["cat:x", "link:alone"]), [0, 0, 1, 0, 1]);
  assert.deepEqual(allowed(["cat:other"]), [1, 0, 1, 1, 1]);
  assert.deepEqual(allowed(["rest:"]), [1, 1, 1, 1, 0]);
  assert.deepEqual(allowed(["none:"]), [1, 1, 0, 1, 1]);
  assert.deepEqual(allowed(["cat:"]), [1, 1, 1, 1, 1]);
  assert.deepEqual([...allowedPoints(["cat:x"], linked, tested, null, [])], [1, 1, 1, 1, 1]);
});
