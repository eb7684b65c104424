// The table of the linked map without a browser: rows of every tab, their order, what a filter keeps, what is exported.
import test from "node:test";
import assert from "node:assert/strict";
import { bothWays } from "../../featgeom/static/mapdata.js";
import { filterRows, recordOf, rowsOf, sortRows, toCsv, toJson } from "../../featgeom/static/maptable.js";

const NONE = NaN;
function panel(name, ids, tokens, more = {}) {
  const tokenStart = Uint32Array.of(0, ...tokens.map(((sum) => (t) => (sum += t.length))(0)));
  return { name, n: ids.length, ids: Int32Array.from(ids), tokens: Uint32Array.from(tokens.flat()), tokenStart, shares: null, explanations: null,
    cluster: null, clusterLabels: [], links: [], ...more };
}
/** A: 10, 11, 12, 40; B: 0, 5. Edges 10-0 .9, 10-5 .5, 11-0 (score missing), 12-5 .7; 40 has none. */
function map() {
  const vocabulary = ["␣king", "queen", "=1+1", 'say "hi", you', "@a\nb"];
  const panels = [panel("A", [10, 11, 12, 40], [[0, 1], [2], [3, 4], []], { explanations: ["about kings", "", "12 apostles", "-x"] }), panel("B", [0, 5], [[0], [1]])];
  const set = { left: 0, right: 1, a: Uint32Array.of(0, 0, 1, 2), b: Uint32Array.of(0, 1, 0, 1), score: Float32Array.of(0.9, 0.5, NONE, 0.7),
    chance: Float32Array.of(0.1, -0.2, 0.3, 0.1), q: Float32Array.of(0.001, NONE, 0.5, 0.04), within: Float32Array.of(0.55, NONE, 0, -0.12),
    flags: Uint8Array.of(2 | 4 | 8, 4, 0, 4 | 1), metric: "correlation", given: "token", total: 4 };
  return linked({ panels, sets: [set], vocabulary, columns: [], meta: {} });
}
function linked(data) {
  data.sets.forEach((set, s) => {
    const [forth, back] = bothWays(set, data.panels[set.left].n, data.panels[set.right].n);
    data.panels[set.left].links.push({ set: s, other: set.right, ...forth });
    data.panels[set.right].links.push({ set: s, other: set.left, ...back });
  });
  return data;
}
const partner = (panel, point, edge) => ({ panel, point, set: 0, edge });
const derived = (more = {}) => ({ pinned: [], found: [], looks: [], shown: [Uint8Array.of(1, 1, 1, 1)], ...more });
const doc = (table, more = {}) => ({ table, selection: [new Uint32Array(0), new Uint32Array(0)], searches: [], pins: [], ...more });
const plain = (rows) => rows.map(({ panel, point, set, edge }) => [panel, point, set < 0 ? null : edge]);
const all = doc("selected", { selection: [Uint32Array.of(0, 1, 2, 3), Uint32Array.of(0, 1)] });

test("pinned: every pinned feature with its partners, ten at most, one row without any", () => {
  const data = map(), many = Array.from({ length: 14 }, () => partner(1, 1, 1));
  const pinned = [{ panel: 0, point: 3, partners: [], all: false }, { panel: 0, point: 0, partners: [partner(1, 0, 0), partner(1, 1, 1)], all: false }];
  assert.deepEqual(plain(rowsOf(data, doc("pinned"), derived({ pinned }))), [[0, 3, null], [0, 0, 0], [0, 0, 1]]);
  assert.equal(rowsOf(data, doc("pinned"), derived({ pinned: [{ panel: 0, point: 0, partners: many, all: true }] })).length, 10);
  assert.equal(rowsOf(data, doc("pinned"), derived()).length, 0);
});

test("selected: every point with its best shown partner, seen from either end", () => {
  const data = map();
  assert.deepEqual(plain(rowsOf(data, all, derived())), [[0, 0, 0], [0, 1, 2], [0, 2, 3], [0, 3, null], [1, 0, 0], [1, 1, 3]]);
  assert.deepEqual(plain(rowsOf(data, all, derived({ shown: [Uint8Array.of(0, 1, 1, 0)] }))), [[0, 0, 1], [0, 1, 2], [0, 2, null], [0, 3, null], [1, 0, 2], [1, 1, 1]]);
});

test("found: what any search finds, once", () => {
  const data = map(), looks = [{ found: Uint8Array.of(1, 0, 2, 2) }, { found: Uint8Array.of(0, 2) }];
  assert.deepEqual(plain(rowsOf(data, doc("found"), derived({ looks }))), [[0, 0, 0], [0, 2, 3], [0, 3, null], [1, 1, 3]]);
});

test("sorting by every column: missing ones last both ways, equal ones keep their order", () => {
  const data = map(), rows = rowsOf(data, all, derived());
  const order = (column, down) => sortRows(data, rows, column, down).map((row) => rows.indexOf(row));
  assert.deepEqual([order("score", true), order("score", false)], [[0, 4, 2, 5, 1, 3], [2, 5, 0, 4, 1, 3]]);
  assert.deepEqual([order("chance", false), order("q", false)], [[0, 2, 4, 5, 1, 3], [0, 4, 2, 5, 1, 3]]);
  assert.deepEqual([order("within", true), order("within", false)], [[0, 4, 1, 2, 5, 3], [2, 5, 1, 0, 4, 3]]);
  assert.deepEqual([order("mutual", true), order("mark", false)], [[0, 4, 1, 2, 5, 3], [0, 4, 2, 5, 1, 3]]);
  assert.deepEqual([order("feature", false), order("feature", true)], [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0]]);
  assert.deepEqual([order("partner", false), order("partner", true)], [[4, 5, 0, 1, 2, 3], [2, 0, 1, 5, 4, 3]]);
});

test("sorting a hundred thousand random rows equals the engine's stable sort", () => {
  let s = 11;
  const rand = (n) => (s = (s * 48271) % 2147483647) % n, n = 100000;
  const data = { panels: [panel("A", Array.from({ length: n }, (_, i) => i), Array(n).fill([])), panel("B", [7], [[]])], vocabulary: [], meta: {} };
  const values = Float32Array.from({ length: n }, () => (rand(5) ? rand(400) / 200 - 1 : NaN));
  data.sets = [{ left: 0, right: 1, a: Uint32Array.from({ length: n }, (_, i) => i), b: new Uint32Array(n), score: values, chance: values, q: values, within: values, flags: new Uint8Array(n) }];
  linked(data);
  const shown = [new Uint8Array(n).fill(1)], rows = rowsOf(data, doc("selected", { selection: [data.sets[0].a, new Uint32Array(0)] }), derived({ shown }));
  for (const down of [false, true]) {
    const wanted = [...Array(n).keys()].sort((i, j) => {
      const [x, y] = [values[i], values[j]];
      return Number.isNaN(x) || Number.isNaN(y) ? Number.isNaN(x) - Number.isNaN(y) : (down ? y - x : x - y);
    });
    assert.deepEqual(sortRows(data, rows, "score", down).map((row) => row.point), wanted);
  }
});

test("a filter asks tokens, explanations and ids of both ends, and sorting keeps to it", () => {
  const data = map(), rows = rowsOf(data, all, derived()), kept = (text) => filterRows(data, rows, text).map((row) => rows.indexOf(row));
  assert.deepEqual([kept(""), kept("  "), kept("queen"), kept("QUEEN")], [[0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5], [0, 2, 4, 5], []]);
  assert.deepEqual([kept("kings"), kept("apost"), kept("11"), kept("#40"), kept("12")], [[0, 4], [2, 5], [1], [3], [2, 5]]);
  assert.deepEqual([kept("<img"), kept("x".repeat(5000))], [[], []]);
  assert.deepEqual(sortRows(data, filterRows(data, rows, "queen"), "score", false).map((row) => rows.indexOf(row)), [2, 5, 0, 4]);
});

const records = (data = map(), state = all, known = derived(), hits = []) => rowsOf(data, state, known).map((row) => recordOf(data, row, hits));

test("a record holds names and numbers, null where there is none, and the searches that found it", () => {
  const hits = [["king", [new Set([0, 3]), new Set([0])]], ["x", [new Set([0]), new Set()]]];
  const [first, second, , alone, back] = records(map(), all, derived(), hits);
  assert.deepEqual(first, { panel: "A", feature: 10, tokens: ["␣king", "queen"], explanation: "about kings", partner_panel: "B", partner: 0, partner_tokens: ["␣king"],
    score: 0.9, null: 0.1, q: 0.001, within: 0.55, mutual: true, same_token: false, beyond_chance: true, metric: "correlation", given: "token", searches: ["king", "x"] });
  assert.deepEqual([second.score, second.q, second.mutual, second.same_token, second.beyond_chance, second.searches], [null, 0.5, false, true, false, []]);
  assert.deepEqual(alone, { panel: "A", feature: 40, tokens: [], explanation: "-x", partner_panel: null, partner: null, partner_tokens: null, score: null, null: null,
    q: null, within: null, mutual: null, same_token: null, beyond_chance: null, metric: null, given: null, searches: ["king"] });
  assert.deepEqual([back.panel, back.feature, back.partner_panel, back.partner, back.score], ["B", 0, "A", 10, 0.9]);
});

test("CSV: quotes, and nothing that a spreadsheet would run", () => {
  const [head, ...lines] = toCsv(records()).split("\r\n");
  assert.equal(head, "panel,feature,tokens,explanation,partner_panel,partner,partner_tokens,score,null,q,within,mutual,same_token,beyond_chance,metric,given,searches");
  assert.equal(lines[0], "A,10,␣king queen,about kings,B,0,␣king,0.9,0.1,0.001,0.55,true,false,true,correlation,token,");
  assert.equal(lines[1], "A,11,'=1+1,,B,0,␣king,,0.3,0.5,0,false,true,false,correlation,token,");
  assert.equal(lines[2], 'A,12,"say ""hi"", you @a\nb",12 apostles,B,5,queen,0.7,0.1,0.04,-0.12,false,true,true,correlation,token,');
  assert.equal(lines[3], "A,40,,'-x,,,,,,,,,,,,,");
  assert.deepEqual([toCsv([]).split("\r\n").length, lines.length], [2, 7]);
  for (const bad of ["=a", "+a", "-a", "@a", "\ta", "\ra", "\na", "＝a"]) assert.match(toCsv([{ ...records()[0], panel: bad }]), /\r\n"?'/);
  assert.match(toCsv([{ ...records()[0], panel: "x;=1" }]), /\r\n"x;=1",/);
});

test("JSON: parses back to the same records, NaN as null", () => {
  assert.deepEqual(JSON.parse(toJson(records())), records());
  assert.deepEqual(JSON.parse(toJson([])), []);
});

test("partners that Python sent later, in sets of their own, are rows like others", () => {
  const data = map();
  data.sets.push({ ...data.sets[0], a: Uint32Array.of(3), b: Uint32Array.of(1), score: Float32Array.of(0.33), chance: Float32Array.of(0.1), q: Float32Array.of(NaN),
    within: Float32Array.of(NaN), flags: Uint8Array.of(0) });
  const pinned = [{ panel: 0, point: 3, partners: [{ panel: 1, point: 1, set: 1, edge: 0 }], all: true }];
  const [only] = records(data, doc("pinned"), derived({ pinned, shown: [new Uint8Array(4), new Uint8Array(1)] }));
  assert.deepEqual([only.feature, only.partner, only.score, only.same_token, only.beyond_chance], [40, 5, 0.33, false, null]);
});
