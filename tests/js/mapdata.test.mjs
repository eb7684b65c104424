// What the page makes of a map's bytes: numbers, partners in both directions, masks of pairs; each against a naive form.
import test from "node:test";
import assert from "node:assert/strict";
import { BEYOND, MUTUAL, TOKEN_ONLY, WITHIN_BEYOND, bestEdges, bestScores, bothWays, finder, fromHundredths, fromPlanes, fromThousandths, linkedPoints, partnersOf, readMap, sameToken, shownEdges, testedPoints, tokensOf } from "../../featgeom/static/mapdata.js";
import { hundredths, packed, planes, thousandths } from "./packed.mjs";
import { seeded } from "./seeded.mjs";

const floats = (values) => values.map(Math.fround);

/** Two panels of three and two points; edges 0-0 .9, 0-1 .5, 2-1 .7 (beyond chance: the first and the last). */
function tiny() {
  const A = { name: "A", ids: [3, 7, 12], x: [0, 1000, 2000], y: [0, 300, 600], tokens: [[0], [1, 2], []] };
  const B = { name: "B", ids: [0, 5], x: [0, 1000], y: [0, 300], tokens: [[0, 3], [2]] };
  const edges = [{ a: 0, b: 0, score: 0.9, q: 0.001, within: 0.8 }, { a: 0, b: 1, score: 0.5, flags: 0 }, { a: 2, b: 1, score: 0.7, q: 0.04, within: -0.1, flags: BEYOND | TOKEN_ONLY }];
  return readMap(...packed([A, B], [{ left: 0, right: 1, edges }], { vocabulary: ["␣king", "Queen", "12", "<img onerror=1>"] }));
}

/** Three panels linked in a ring, the last set backwards, with equal scores, missing ones and points without edges. */
function ring(seed) {
  const rand = seeded(seed), whole = (n) => Math.floor(rand() * n), sizes = [40, 25, 60];
  const panels = sizes.map((n, p) => ({ name: `P${p}`, ids: Array.from({ length: n }, (_, i) => 3 * i), x: Array.from({ length: n }, () => whole(65536)), y: Array.from({ length: n }, () => whole(65536)) }));
  const sets = [[0, 1], [1, 2], [2, 0]].map(([left, right]) => ({ left, right, edges: Array.from({ length: 150 }, () => ({
    a: whole(sizes[left] - 3), b: whole(sizes[right]), score: whole(21) / 10 - 1, q: whole(3) ? whole(1001) / 1000 : NaN, within: whole(4) ? whole(201) / 100 - 1 : NaN, flags: whole(16),
  })) }));
  return readMap(...packed(panels, sets));
}

test("byte planes of any width, hundredths and thousandths come back exactly, NaN too", () => {
  for (const [values, width] of [[[0, 255], 1], [[0, 255, 256, 65535], 2], [[0, 70000, 16777215], 3], [[0, 255, 256, 70000, 4294967295], 4], [[], 2]])
    assert.deepEqual([...fromPlanes(planes(values, width), values.length)], values);
  assert.throws(() => fromPlanes(new Uint8Array(7), 3), /do not fit/);
  assert.throws(() => fromPlanes(new Uint8Array(3), 0), /do not fit/);
  const every = Array.from({ length: 201 }, (_, v) => (v - 100) / 100);
  assert.deepEqual([...fromHundredths(hundredths([...every, NaN]))], floats([...every, NaN]));
  assert.deepEqual([...fromThousandths(thousandths([0, 0.001, 0.123, 1, NaN]))], floats([0, 0.001, 0.123, 1, NaN]));
});

test("all that Python packs is read, and what it leaves out is none", () => {
  const columns = [{ name: "loss", kind: "number", low: -1, high: 3 }, { name: "kind", kind: "category", categories: ["x", "y"] }, { name: "big", kind: "category", categories: Array(300).fill("c") }];
  const A = { name: "A", ids: [9, 2, 5], x: [0, 65535, 7], y: [1, 2, 300], tokens: [[0], [], [1, 0]], shares: [[255], [], [51, 0]], fires: [1, 2, 70000], cluster: [-1, 0, 1], labels: ["u", "v"],
    explanations: ["a", "", "b"], rows: "spans", total: 1000, missing: 4, columns: [planes([0, 65535, 65534], 2), Uint8Array.of(1, 255, 0), planes([299, 65535, 0], 2)] };
  const B = { name: "B", ids: [4], x: [5], y: [6], cluster: [-1], small: true, labels: ["w"] };
  const [arrays, meta] = packed([A, B], [{ left: 0, right: 1, given: "span", edges: [] }], { vocabulary: ["k", "l"], columns });
  const data = readMap(arrays, meta), [a, b] = data.panels;
  assert.deepEqual([[...a.x], [...a.y], [...a.ids], [...a.fires], [...a.cluster]], [A.x, A.y, A.ids, A.fires, A.cluster]);
  assert.deepEqual([a.rows, a.total, a.missing, a.explanations, a.clusterLabels, [...a.shares]], ["spans", 1000, 4, ["a", "", "b"], ["u", "v"], [255, 51, 0]]);
  assert.deepEqual([0, 1, 2].map((i) => tokensOf(data, 0, i)), [["k"], [], ["l", "k"]]);
  assert.deepEqual(a.columns.map((o) => [...o]), [[-1, NaN, 3], [1, -1, 0], [299, -1, 0]]);
  assert.ok(a.columns[0] instanceof Float64Array && a.columns[1] instanceof Int16Array && b.cluster instanceof Int16Array);
  assert.deepEqual([b.rows, b.total, b.missing, b.explanations, b.shares, b.fires, b.columns, [...b.cluster]], ["tokens", null, 0, null, null, null, [null, null, null], [-1]]);
  assert.deepEqual([tokensOf(data, 1, 0), [...b.tokenStart], b.tokens.length], [[], [0, 0], 0]);
  assert.deepEqual([data.columns, data.sets[0].given, data.sets[0].a.length], [columns, "span", 0]);
  assert.equal(tiny().sets[0].given, "token");
});

test("panels without points are read, and hold nothing", () => {
  const none = (name) => ({ name, ids: [], x: [], y: [], tokens: [] });
  const data = readMap(...packed([none("A"), none("B")], [{ left: 0, right: 1, edges: [] }]));
  assert.deepEqual([data.panels[0].n, data.panels[0].find(0), linkedPoints(data, 1, shownEdges(data, 0, true)).length], [0, -1, 0]);
});

test("an id leads to its point, whether ids rise or not; what is no id leads nowhere", () => {
  const rand = seeded(2), rising = Int32Array.from({ length: 200 }, (_, i) => 5 * i + Math.floor(rand() * 5));
  const mixed = rising.slice().sort((a, b) => (a * 7919) % 1009 - (b * 7919) % 1009);
  for (const ids of [rising, mixed, new Int32Array(0), Int32Array.of(6)]) {
    const find = finder(ids);
    for (let id = -1; id < 1010; id++) assert.equal(find(id), ids.indexOf(id));
    for (const wrong of [NaN, 0.5, Infinity, undefined, null]) if (!ids.includes(Number(wrong))) assert.equal(find(wrong), -1);
  }
});

test("each edge is stored once and found from both ends, best first", () => {
  const data = tiny();
  assert.deepEqual(partnersOf(data, 0, 0).map((o) => [o.panel, o.point, o.set, o.edge]), [[1, 0, 0, 0], [1, 1, 0, 1]]);
  assert.deepEqual(partnersOf(data, 0, 1), []);
  assert.deepEqual(partnersOf(data, 1, 1).map((o) => [o.panel, o.point, o.edge]), [[0, 2, 2], [0, 0, 1]]);
  assert.deepEqual(partnersOf(data, 1, 1, [Uint8Array.of(1, 0, 1)]).map((o) => o.point), [2]);
});

test("a pair is no more than a token when nothing varies within it, or no better than chance", () => {
  const set = { flags: Uint8Array.of(TOKEN_ONLY, WITHIN_BEYOND, 0, MUTUAL, TOKEN_ONLY | WITHIN_BEYOND), within: Float32Array.of(NaN, 0.5, 0.5, NaN, 0.5) };
  assert.deepEqual([0, 1, 2, 3, 4].map((e) => sameToken(set, e)), [true, false, true, false, true]);
});

for (const sorted of [false, true])
  test(`inverting a ${sorted ? "sorted" : "random"} list of edges equals a naive inversion`, () => {
    const rand = seeded(9), whole = (n) => Math.floor(rand() * n), m = 700;
    const edges = Array.from({ length: m }, () => ({ a: whole(60), b: whole(40), score: whole(30) ? whole(201) / 100 - 1 : NaN }));
    const rank = (o) => (Number.isNaN(o.score) ? -9 : o.score);
    if (sorted) edges.sort((p, q) => p.a - q.a || rank(q) - rank(p));
    const set = { a: Uint32Array.from(edges, (o) => o.a), b: Uint32Array.from(edges, (o) => o.b), score: Float32Array.from(edges, (o) => o.score) };
    const [forth, back] = bothWays(set, 60, 40);
    for (const [csr, from, to, n] of [[forth, set.a, set.b, 60], [back, set.b, set.a, 40]]) {
      assert.equal(csr.indptr.length, n + 1);
      for (let i = 0; i < n; i++) {
        const naive = [...Array(m).keys()].filter((e) => from[e] === i).sort((p, q) => rank(edges[q]) - rank(edges[p]) || p - q);
        assert.deepEqual([...csr.edges.subarray(csr.indptr[i], csr.indptr[i + 1])], naive);
        assert.deepEqual([...csr.points.subarray(csr.indptr[i], csr.indptr[i + 1])], naive.map((e) => to[e]));
      }
    }
  });

test("which pairs are shown, who is linked by them and how strongly, as a naive look says", () => {
  const data = ring(4);
  for (const [min, hideSame] of [[0, false], [0, true], [0.3, false], [0.7, true], [1, false]]) {
    const shown = shownEdges(data, min, hideSame);
    data.sets.forEach((set, s) => {
      const naive = [...set.score].map((v, e) => Number((min <= 0 || Math.round(100 * v) >= Math.round(100 * min)) && !(hideSame && sameToken(set, e))));
      assert.deepEqual([...shown[s]], naive);
      for (const panel of [set.left, set.right]) for (const flag of [0, BEYOND]) {
        const end = panel === set.left ? set.a : set.b, best = bestEdges(set, panel, data.panels[panel].n, shown[s], flag);
        best.forEach((e, i) => {
          const all = [...end.keys()].filter((k) => end[k] === i && naive[k] && (set.flags[k] & flag) === flag).sort((p, q) => set.score[q] - set.score[p] || p - q);
          assert.equal(e, all[0] ?? -1);
        });
      }
    });
    data.panels.forEach((p, panel) => {
      const linked = linkedPoints(data, panel, shown), scores = bestScores(data, panel, shown);
      for (let i = 0; i < p.n; i++) {
        const partners = partnersOf(data, panel, i, shown);
        assert.equal(linked[i], Number(partners.some((o) => data.sets[o.set].flags[o.edge] & BEYOND)));
        assert.equal(scores[i], partners.length ? Math.max(...partners.map((o) => data.sets[o.set].score[o.edge])) : NaN);
      }
    });
  }
});

test("pairs that Python answers later change neither who is linked nor the scores", () => {
  const data = tiny(), more = { ...data.sets[0], a: Uint32Array.of(1), b: Uint32Array.of(0), score: Float32Array.of(1), within: Float32Array.of(NaN), flags: Uint8Array.of(BEYOND) };
  data.sets.push(more);
  const shown = shownEdges(data, 0, false);
  assert.deepEqual(shown.map((o) => o.length), [3, 1]);
  assert.deepEqual([...linkedPoints(data, 0, shown)], [1, 0, 1]);
  assert.deepEqual([...bestScores(data, 0, shown)], floats([0.9, NaN, 0.7]));
});

test("a point was tested when any of its pairs has a q, or a null where there are no q's, whatever the slider hides", () => {
  const panel = (ids) => ({ name: "p", x: ids, y: ids, ids });
  const edge = (a, b, chance, q = NaN) => ({ a, b, score: 0.1, null: chance, q });
  const read = (edges, ...more) => readMap(...packed([panel([0, 1, 2, 3]), panel([0, 1]), panel([0, 1])], [{ left: 0, right: 1, edges }, ...more]));
  const nulls = [edge(0, 0, 0.2), edge(1, 0, NaN), edge(3, 1, 0.5), edge(3, 0, NaN)], data = read(nulls);
  assert.deepEqual([...testedPoints(data, 0)], [1, 0, 0, 1]);
  assert.deepEqual([...testedPoints(data, 1)], [1, 1]);
  assert.deepEqual([...testedPoints(data, 2)], [1, 1]);                 // no pairs at all: nothing was left out
  assert.deepEqual([...linkedPoints(data, 0, shownEdges(data, 0.9, false))], [0, 0, 0, 0]);
  assert.equal(data.sets[0].test, data.sets[0].chance);
  const tests = read([edge(0, 0, 0.2), edge(1, 0, 0.1, 1), edge(3, 1, 0.5, 0.01), edge(3, 0, NaN)], { left: 0, right: 2, edges: [edge(2, 0, 0.3)] });
  assert.deepEqual([...testedPoints(tests, 0)], [0, 1, 1, 1]);          // each set by itself
  assert.deepEqual([...testedPoints(tests, 1)], [1, 1]);
  assert.deepEqual([...testedPoints(tests, 2)], [1, 0]);
  assert.equal(tests.sets[0].test, tests.sets[0].q);
});

test("columns of numbers come back as they were: zero is zero, whole ones are whole, large and tiny ones differ", () => {
  const read = (values) => {
    const [low, high] = [Math.min(...values), Math.max(...values)], ids = values.map((_, i) => i);
    const bytes = planes([...values.map((v) => (high > low ? Math.round((v - low) / (high - low) * 65534) : 0)), 65535], 2);
    const p = { name: "A", ids: [...ids, ids.length], x: [...ids, 0], y: [...ids, 0], columns: [bytes] };
    return readMap(...packed([p], [], { columns: [{ name: "c", kind: "number", low, high }] })).panels[0].columns[0];
  };
  for (const values of [[-3, -2, -1, 0, 1], [0.1, 0.25, -0.3, 17.05], [0, 10, 20, 30, 40].map((s) => 1.7e9 + s), [0, 60000, 59999, 7], [5, 5], [0, 0], [-7, 7e4, 0]]) {
    const got = read(values);
    assert.deepEqual([...got.subarray(0, -1)], values);
    assert.ok(Number.isNaN(got.at(-1)));
  }
  for (const values of [[1, 2, 3, 4, 5].map((v) => v * 1e-50), [1, 2, 3].map((v) => v * 1e300), [2 ** 60, 2 ** 60 + 2 ** 20], [0, 300000, 123456]]) {
    const got = [...read(values)].slice(0, -1), close = (Math.max(...values) - Math.min(...values)) / 6000;
    got.forEach((v, i) => assert.ok(Math.abs(v - values[i]) <= close, `${v} for ${values[i]}`));
    assert.equal(new Set(got).size, values.length);
  }
});
