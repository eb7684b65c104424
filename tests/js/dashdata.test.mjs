// The dashboard without a browser: what is read from a payload, which entry is meant, how text is cut and said.
import test from "node:test";
import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { createList, entryOf, openDash, quantileOf, readChunk, readEntry, spotsIn } from "../../featgeom/static/dashdata.js";
import { alone, aloneWords, piecesOf, placeWords, rowText, tokenText, visible, windowOf } from "../../featgeom/static/dashtext.js";
import { amount, logHeights } from "../../featgeom/static/dashcharts.js";
import { claims } from "../../featgeom/static/dashfacts.js";
import { lookUp } from "../../featgeom/static/dashnav.js";
import { passagesOf, tabsOf } from "../../featgeom/static/dashexamples.js";
import { halvesOf, valueOf } from "../../featgeom/static/dashread.js";

/** The container of codec.js, from typed arrays. */
function pack(arrays, meta) {
  const pad = (bytes) => Buffer.concat([bytes, Buffer.alloc((8 - (bytes.length % 8)) % 8)]);
  const kinds = { Uint8Array: "uint8", Int8Array: "int8", Uint16Array: "uint16", Uint32Array: "uint32", Int32Array: "int32", Float32Array: "float32" };
  let offset = 0;
  const entries = Object.entries(arrays).map(([name, a]) => {
    const entry = { name, dtype: kinds[a.constructor.name], shape: [a.length], offset };
    offset += Math.ceil(a.byteLength / 8) * 8;
    return entry;
  });
  const header = Buffer.from(JSON.stringify({ arrays: entries, meta })), size = Buffer.alloc(4);
  size.writeUInt32LE(header.length);
  const parts = Object.values(arrays).map((a) => pad(Buffer.from(a.buffer, a.byteOffset, a.byteLength)));
  return new Uint8Array(gzipSync(Buffer.concat([pad(Buffer.concat([Buffer.from("FGB1"), size, header])), ...parts])));
}

const chunk = (...passages) => ({
  arrays: {
    rows: Uint16Array.from(passages, (o) => o.spans.length),
    step: Uint16Array.from(passages.flatMap((o) => o.spans.map(([s], i) => s - (i ? o.spans[i - 1][0] : 0)))),
    size: Uint16Array.from(passages.flatMap((o) => o.spans.map(([, w]) => w))),
  },
  meta: { passages: passages.map(({ text, odd }) => ({ text, odd: odd ?? {} })) },
});
const one = (text, spans, odd) => readChunk(chunk({ text, spans, odd }), 1)[0];

test("quantiles between knots, at ties, outside", () => {
  const knots = Float32Array.of(1, 2, 2, 2, 4);
  assert.deepEqual([0.5, 1, 1.5, 2, 3, 4, 9].map((v) => quantileOf(knots, v)), [0, 0, 0.125, 0.75, 0.875, 1, 1]);
  assert.equal(quantileOf(Float32Array.of(3, 3, 3), 3), 1);
  assert.equal(quantileOf(Float32Array.of(-4, -1, 2), -4), 0);
  assert.equal(quantileOf(Float32Array.of(NaN, NaN), 1), null);
  assert.equal(quantileOf([], 1), null);
});

test("places of tokens are sums of steps, also in units of a browser", () => {
  const passage = one("👑 a", [[0, 2], [2, 2]]);
  assert.deepEqual([[...passage.start], [...passage.end]], [[0, 2], [2, 4]]);
  assert.equal(rowText(passage, 0), "👑");
  for (const bad of [{ ...chunk({ text: "a", spans: [[0, 1]] }), meta: {} }, { arrays: { rows: Uint16Array.of(2), step: Uint16Array.of(0), size: Uint16Array.of(1) }, meta: { passages: [{}] } }])
    assert.throws(() => readChunk(bad, 1), /damaged/);
  assert.throws(() => readChunk(chunk({ text: "a", spans: [] }), 2), /damaged/);
});

test("pieces: gaps belong to no row, pieces of one character show what they are, nothing is said twice", () => {
  const passage = one("«a  b🦊!»", [[1, 1], [4, 1], [5, 2], [5, 2], [7, 1]], { 2: "⟨1⟩", 3: "⟨2⟩" });
  assert.deepEqual(piecesOf(passage), [[-1, "«"], [0, "a"], [-1, "  "], [1, "b"], [2, "⟨1⟩"], [3, "⟨2⟩"], [4, "!"], [-1, "»"]].map(([row, text]) => ({ row, text })));
  assert.deepEqual(piecesOf(passage, 1, 3).map((o) => o.text), ["b", "⟨1⟩"]);
  assert.deepEqual(piecesOf(one("", [])), []);
  assert.deepEqual(piecesOf(one("only text", [])), [{ row: -1, text: "only text" }]);
  assert.equal(piecesOf(one("x", [[0, 1]], { constructor: "evil" }))[0].text, "x");
});

test("a line holds what fits round its token", () => {
  const long = one("ab".repeat(300), Array.from({ length: 300 }, (_, i) => [2 * i, 2]));
  const [from, to] = windowOf(long, 150);
  assert.ok(from > 100 && from < 150 && to > 151 && to < 200);
  assert.deepEqual(windowOf(long, 0)[0], 0);
  assert.deepEqual(windowOf(long, 299)[1], 300);
  assert.deepEqual(windowOf(one("x".repeat(500), [[0, 500]]), 0), [0, 1]);
});

test("what cannot be seen is seen", () => {
  assert.equal(visible("a\nb\t\r\u0000"), "a⏎b⇥␍␀");
  assert.equal(visible("a\nb", true), "a⏎\nb");
  assert.equal(tokenText(" a \u202e"), "␣a␣⟨U+202E⟩");
});

test("one feature alone is marked where it is strong and the other silent", () => {
  const colour = (name, values, max) => ({ name, max, value: (row) => values[row] });
  const colours = [colour("A 1", [9, 2, 9, 0, 0, -9], 10), colour("B 2", [0, 0, 0.1, 5, 0, 0], 10)];
  assert.deepEqual([0, 1, 2, 3, 4, 5].map((row) => alone(colours, row)), [0, -1, -1, 1, -1, 0]);
  assert.equal(alone(colours.slice(0, 1), 0), -1);
  const passage = one("abcdef", [0, 1, 2, 3, 4, 5].map((i) => [i, 1]));
  assert.equal(aloneWords(passage, 0, 6, colours), "A 1 alone on a, f; B 2 alone on d");
});

test("numbers in words", () => {
  assert.deepEqual([1, 0.995, 0.97, 0.5, 0.2, 0, null].map(placeWords),
    ["the largest", "top 0.5 % of active", "top 3 % of active", "top 50 % of active", "lowest 20 % of active", "lowest 1 % of active", ""]);
  assert.deepEqual([0.0625, 0.5, 0.9999, 1, 12.34, 999.4, 12345, -0.25, 0.00001].map(amount), [".063", ".50", "1.00", "1.00", "12.3", "999", "12,345", "−.25", "1e−5"]);
});

test("bars on log counts: one is seen, none is none", () => {
  const [none, single, most] = logHeights([0, 1, 1e6]);
  assert.equal(none, 0);
  assert.ok(single >= 0.05 && single < 0.1 && most === 1);
  assert.deepEqual(logHeights([0, 0]), [0, 0]);
});

test("claims go no further than the tests of a pair, and never to causes", () => {
  const pair = { score: 0.8, null: 0.2, q: 0.01, within: 0.5, within_p: 0.01, token_only: false, given: "token", held: null };
  const said = (patch) => claims({ ...pair, ...patch }).join(" ");
  assert.match(said({}), /^Beyond chance.*Beyond the current token/);
  assert.match(said({ within_p: 0.3 }), /Not beyond the token/);
  assert.match(said({ token_only: true }), /No more than a shared token/);
  assert.match(said({ within: null }), /Not tested within one token/);
  assert.match(said({ q: 0.2 }), /^Not beyond chance/);
  assert.match(said({ q: null, score: 0.1 }), /^Not beyond chance/);
  assert.match(said({ q: null, null: null }), /^Not tested against chance\.$/);
  assert.match(said({ held: 0.7, held_same: true }), /chooses it again; on the other half its score is \.70\./);
  assert.match(said({ held: 0.7, held_same: false, held_best: 0.5 }), /another partner, whose score on the other half is \.50; this one has \.70 there, but those documents had a say/);
  const apart = { metric: "cosine", within: null, within_p: null, held: 0.3, held_same: false };
  assert.match(said(apart), /^Beyond chance: their decoder rows point more alike.*No text had a part in choosing it; on half of the documents their correlation is \.30\.$/);
  assert.doesNotMatch(said(apart), /fire together|had a say|within one token: nothing/);
  for (const patch of [{}, apart, { q: 0.2 }, { token_only: true }, { held: 0.7, held_same: true }]) assert.doesNotMatch(said(patch), /caus|driv|because|same feature/i);
});

const spaces = [{ name: "A" }, { name: "B" }];
const entry = (a, b, la = "", lb = "") => ({ a, b, la, lb, score: null, null: null, q: null });

test("which entry is meant, and the nearest of those that are there", () => {
  const list = createList([entry(3, 5), entry(7, -1), entry(9, 5), entry(-1, 8), entry(40, 2)], spaces);
  assert.deepEqual([[["A", 3], ["B", 5]], [["B", 5], ["A", 9]], [["A", 7]], [["B", 8]], [["B", 5]], [["A", 3], ["B", 8]], [["C", 1]], []].map((o) => list.find(o)), [0, 2, 1, 3, 0, -1, -1, -1]);
  const may = (i) => i !== 1;
  assert.deepEqual([[["A", 8]], [["A", 100]], [["A", 3], ["B", 99]], [["A", 99], ["B", 8]], [["B", 6]]].map((o) => list.nearest(o, may)), [2, 4, 0, 3, 0]);
  assert.equal(list.nearest([["A", 1]], () => false), -1);
  assert.deepEqual([0, 1, 3].map(list.spotsOf), [[["A", 3], ["B", 5]], [["A", 7]], [["B", 8]]]);
});

test("spots from outside are checked, and stand in the order of the spaces", () => {
  assert.deepEqual(spotsIn([["B", 2], ["A", 1], ["A", 9]], spaces), [["A", 1], ["B", 2]]);
  for (const bad of [null, 3, "x", {}, [null], [["A"]], [["A", "1"]], [["A", -1]], [["A", 1.5]], [["__proto__", 1]], ["A", 1]]) assert.deepEqual(spotsIn(bad, spaces), []);
});

test("the box finds ids before labels", () => {
  const entries = [entry(1, 12, "the 12 kings", "x"), entry(12, 3, "queens", "Duke"), entry(30, 30, "", "")];
  const find = (text) => lookUp(entries, ["A", "B"], text);
  assert.deepEqual([find("12"), find("#12"), find("A 12"), find("b #12"), find("DUKE"), find(""), find("zzz"), find("99")],
    [[0, 1], [0, 1], [1], [0], [1], [0, 1, 2], [], []]);
});

test("strata of one kind share a tab; a tab needs few passages at first", () => {
  const strata = ["top", "q4", "q3", "near zero", "random", "silent"].map((name) => ({ name, title: name }));
  assert.deepEqual(tabsOf(strata).map((o) => [o.key, o.which]), [["top", [0]], ["range", [1, 2, 3]], ["random", [4]], ["silent", [5]]]);
  const hits = Array.from({ length: 30 }, (_, doc) => ({ doc, row: 0, value: 1 })), side = { strata: [{ stratum: 0, hits }] };
  const docs = Uint32Array.from({ length: 30 }, (_, i) => 100 + i);
  assert.equal(passagesOf({ sides: [side, side], docs }, { which: [0] }).size, 10);
  assert.equal(passagesOf({ sides: [side], docs }, { which: [0] }).size, 20);
  assert.equal(passagesOf({ sides: [side], docs }, { which: [3] }).size, 0);
});

const raw = {
  meta: { sides: [{ space: "A", id: 1, max: 10, strata: [[0, 0, 2, 1, 9], [1, 2, 9, null, null]] }, { space: "B", id: 2, max: 5, strata: [] }], pair: null },
  arrays: { doc: Uint32Array.of(4, 9), ex_doc0: Uint16Array.of(1, 0, 7), ex_row0: Uint16Array.of(2, 0, 0), ex_val0: Float32Array.of(9, 1, 1),
    n0: Uint16Array.of(1, 2), row0: Uint16Array.of(0, 2, 99), act0: Uint8Array.of(255, 51, 1), n1: Uint16Array.of(0, 1), row1: Uint16Array.of(1), act1: Int8Array.of(-127) },
};

test("an entry: examples by stratum, activations on every passage, signed ones with their sign", () => {
  const { sides, spots, docs } = readEntry(raw, 3);
  assert.deepEqual([spots, [...docs]], [[["A", 1], ["B", 2]], [4, 9]]);
  assert.deepEqual(sides[0].strata[0].hits, [{ doc: 1, row: 2, value: 9 }, { doc: 0, row: 0, value: 1 }]);
  assert.deepEqual(sides[0].strata[1].hits, []);                                   // of a passage that the entry has not
  assert.deepEqual([[...sides[0].values(0, 3)], [...sides[0].values(1, 3)], [...sides[1].values(1, 3)]], [[10, 0, 0], [0, 0, 2], [0, -5, 0]]);
  assert.throws(() => readEntry({ arrays: {}, meta: {} }, 0), /damaged/);
});

const text = (patch = {}) => ({ meta: { text: "a🦊", sides: [{ space: "A", tokens: ["a", "⟨1⟩", "⟨2⟩"], labels: {}, max: {} }] },
  arrays: { start0: Uint32Array.of(0, 1, 1), size0: Uint32Array.of(1, 2, 2), top_id0: Int32Array.of(5, 7, 7, -1, 5, -1), top_val0: Float32Array.of(3, 2, 4, 0, 1, 0), ...patch } });

test("a text: strongest features, pieces of a character, the feature in focus where it is known", () => {
  const [half] = halvesOf(text());
  assert.deepEqual([half.k, half.passage.odd], [2, { 1: "⟨1⟩", 2: "⟨2⟩" }]);
  assert.deepEqual([0, 1, 2].map(valueOf(half, 7, -1)), [2, 4, 0]);
  const [known] = halvesOf(text({ focus0: Float32Array.of(0.5, 0, 8) }));
  assert.deepEqual([0, 1, 2].map(valueOf(known, 7, 7)), [0.5, 0, 8]);
  assert.deepEqual([0, 1, 2].map(valueOf(known, 5, 7)), [3, 0, 1]);
});

test("the label of a feature is that of its entry, on either side", () => {
  const list = createList([{ ...entry(3, -1), la: "kings" }, { ...entry(4, 3), la: "", lb: "queens" }, { ...entry(3, 5), la: "later", lb: "x" }],
    [{ name: "A" }, { name: "B" }]);
  assert.deepEqual([["A", 3], ["B", 3], ["A", 4], ["B", 9], ["C", 3]].map((o) => list.labelOf(o)), ["kings", "queens", "", "", ""]);
});

test("entries out of a container: each gets its part of every array, features counted as its sides", () => {
  const entries = [{ a: 3, b: -1, scatter: null }, null, { a: -1, b: 5, scatter: null }, { a: 4, b: 6, scatter: {} }];
  const arrays = {
    docs: Uint32Array.of(2, 0, 1, 2), doc: Uint32Array.of(10, 11, 20, 30, 31),
    hist0: Uint32Array.of(1, 1, 2, 2), knots0: Float32Array.of(0, 1, 1, 2), ex0: Uint16Array.of(1, 0, 0, 2),                     // 3 and 4
    ex_doc0: Uint16Array.of(0, 1, 0), ex_row0: Uint16Array.of(7, 8, 9), ex_val0: Float32Array.of(.5, 1, 2),
    n0: Uint16Array.of(1, 0, 0, 0, 2), row0: Uint16Array.of(5, 6, 7), act0: Uint8Array.of(50, 60, 70),
    hist1: Uint32Array.of(3, 3, 4, 4), knots1: Float32Array.of(3, 4, 5, 6), ex1: Uint16Array.of(0, 0, 1, 1),                  // 5 and 6
    ex_doc1: Uint16Array.of(0, 1), ex_row1: Uint16Array.of(1, 2), ex_val1: Float32Array.of(8, 9),
    n1: Uint16Array.of(0, 0, 1, 1, 0), row1: Uint16Array.of(1, 2), act1: Int8Array.of(-1, 2),
    points: Uint16Array.of(2), sx: Float32Array.of(1, 2), sy: Float32Array.of(3, 4), hx: Uint32Array.of(1, 2, 3), hy: Uint32Array.of(4, 5, 6),
  };
  const seen = (k) => Object.fromEntries(Object.entries(entryOf({ arrays, meta: { entries } }, k).arrays).map(([name, o]) => [name, [...o]]));
  assert.deepEqual(seen(0), { doc: [10, 11], hist0: [1, 1], knots0: [0, 1], ex_doc0: [0], ex_row0: [7], ex_val0: [.5], n0: [1, 0], row0: [5], act0: [50] });
  assert.deepEqual(seen(2), { doc: [20], hist0: [3, 3], knots0: [3, 4], ex_doc0: [0], ex_row0: [1], ex_val0: [8], n0: [1], row0: [1], act0: [-1] });
  assert.deepEqual(seen(3), { doc: [30, 31], hist0: [2, 2], knots0: [1, 2], ex_doc0: [1, 0], ex_row0: [8, 9], ex_val0: [1, 2], n0: [0, 2], row0: [6, 7], act0: [60, 70],
    hist1: [4, 4], knots1: [5, 6], ex_doc1: [1], ex_row1: [2], ex_val1: [9], n1: [1, 0], row1: [2], act1: [2], sx: [1, 2], sy: [3, 4], hx: [1, 2, 3], hy: [4, 5, 6] });
  assert.throws(() => entryOf({ arrays, meta: { entries } }, 1), /damaged/);
  assert.throws(() => entryOf({ arrays, meta: { entries } }, 9), /damaged/);
  assert.throws(() => entryOf({ arrays: {}, meta: {} }, 0), /damaged/);
});

/** A container of entries of these features on passages of the same numbers; null for one that is not there. */
const bundled = (...ids) => pack({ docs: Uint32Array.from(ids, (o) => (o === null ? 0 : 1)), doc: Uint32Array.from(ids.filter((o) => o !== null)) },
  { entries: ids.map((id) => (id === null ? null : { a: id, b: -1, sides: [{ space: "A", id, strata: [] }] })) });

/** A payload of `n` one-sided entries on `n` passages, bundles of three, chunks of two; entry `without` is listed only. */
function payload(n, without = -1) {
  const blobs = [], entries = Array.from({ length: n }, (_, i) => (i === without ? null : i));
  for (let i = 0; i < n; i += 3) blobs.push(bundled(...entries.slice(i, i + 3)));
  for (let i = 0; i < n; i += 2) {
    const some = [i, i + 1].filter((o) => o < n).map((o) => ({ text: `t${o}`, spans: [[0, 1]] })), { arrays, meta } = chunk(...some);
    blobs.push(pack(arrays, meta));
  }
  const at = Uint32Array.from([0, ...blobs.map(((sum) => (b) => (sum += b.length))(0))]), blob = new Uint8Array(at.at(-1));
  blobs.forEach((b, i) => blob.set(b, at[i]));
  const meta = { spaces: [{ name: "A", rows: "tokens", n: 1, f: n }], strata: [], entries: Array.from({ length: n }, (_, i) => entry(i, -1)),
    passages: Array.from({ length: n }, (_, i) => 10 * i), chunk: 2, bundle: 3, prompts: [] };
  return pack({ head: pack({}, meta), blob, at, there: Uint8Array.from(entries, (o) => (o === null ? 0 : 1)) }, {});
}

test("entries and chunks are decoded once, when they are asked for", async () => {
  const dash = await openDash(payload(5, 3), { live: false });
  assert.deepEqual([dash.has(0), dash.has(3), dash.has(-1), dash.has(9), dash.canAsk], [true, false, false, false, false]);
  assert.deepEqual(dash.count, { entries: 0, bundles: 0, chunks: 0 });
  const [a, b] = await Promise.all([dash.entry(1), dash.entry(1)]);
  assert.ok(a === b && a.sides[0].id === 1);
  await Promise.all([dash.passages([20, 30]), dash.passages([30, 999])]);
  assert.deepEqual([dash.count, dash.passage(20).text, dash.passage(30).text, dash.passage(0)], [{ entries: 1, bundles: 1, chunks: 1 }, "t2", "t3", undefined]);
  for (const i of [0, 2, 4]) await dash.entry(i);                            // 0, 1 and 2 lie in one bundle
  assert.deepEqual(dash.count, { entries: 4, bundles: 2, chunks: 1 });
});

test("questions: the answer that belongs, errors in words, silence at the end", async () => {
  const sent = [];
  let answer = () => {};
  const dash = await openDash(payload(2), { live: true, send: (o) => sent.push(o), hear: (f) => ((answer = f), () => { answer = () => {}; }) });
  const asked = dash.ask([["A", 77]]), again = dash.ask([["A", 77]]);
  assert.deepEqual(sent, [{ ask: "entry", at: [["A", 77]], id: 1 }]);
  const { arrays, meta } = chunk({ text: "new", spans: [[0, 3]] });
  answer({ reply: 5 }, []);
  answer({ reply: 1, passages: [500] }, [bundled(77), pack(arrays, meta)]);
  assert.ok((await asked) === (await again) && (await asked).index === -1 && dash.passage(500).text === "new");
  const bad = dash.ask([["A", 78]]);
  answer({ reply: 2, error: "Feature 78: 0 to 76." }, []);
  await assert.rejects(bad, /Feature 78/);
  assert.equal(sent.length, 2);
  const last = dash.text("hello", [["A", 0]]);
  assert.deepEqual(sent.at(-1), { ask: "text", text: "hello", at: [["A", 0]], id: 3 });
  dash.close();
  await assert.rejects(last, /closed/);
});

test("a payload that does not hold what it lists is refused", async () => {
  for (const meta of [{}, { spaces: [{ name: "A" }], entries: [1, 2], passages: [], prompts: [] }])
    await assert.rejects(openDash(pack({ head: pack({}, meta), blob: new Uint8Array(0), at: Uint32Array.of(0), there: new Uint8Array(2) }, {}), { live: false }), /damaged/);
  await assert.rejects(openDash(pack({ blob: new Uint8Array(0), at: Uint32Array.of(0) }, {}), { live: false }), /damaged/);
});
