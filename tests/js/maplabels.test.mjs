// What labels say and where they stand; the words of a printed map.
import test from "node:test";
import assert from "node:assert/strict";
import { amount, beyond, grouped, overlap, placeLabels, short, shortQ, spoken, weak } from "../../featgeom/static/maplabels.js";
import { labelLines, plain, wrapped } from "../../featgeom/static/mapexport.js";
import { BEYOND } from "../../featgeom/static/mapdata.js";

/** Panels A (ids 3, 7) and B (ids 0, 5); A 3 goes with B 0 (.90, beyond chance) and B 5 (.50, not). */
function tiny() {
  const panel = (name, ids, tokens) => ({
    name, ids, links: [], tokens: Uint16Array.from(tokens.flat()), tokenStart: Uint32Array.of(0, tokens[0].length, tokens.flat().length),
  });
  const set = {
    left: 0, right: 1, given: "token", score: Float32Array.of(0.9, 0.5), chance: Float32Array.of(0.2, 0.3), q: Float32Array.of(0.001, 0.4),
    within: Float32Array.of(0.8, NaN), flags: Uint8Array.of(BEYOND | 8, 1),
  };
  return { panels: [panel("A", [3, 7], [[0, 1], []]), panel("B", [0, 5], [[1], [2]])], sets: [set], vocabulary: ["␣king", "Queen", "\ufffe\u0000"] };
}
const PARTNERS = [{ panel: 1, point: 0, set: 0, edge: 0 }, { panel: 1, point: 1, set: 0, edge: 1 }];

test("numbers are written as in a table, and a q is never flattered", () => {
  assert.deepEqual([0.876, -0.124, 1, 0, NaN, -0.001].map(short), [".88", "−.12", "1.00", ".00", "–", ".00"]);
  assert.deepEqual([0, 0.001, 0.004, 0.0499, 0.1, 0.42, 1, NaN].map(shortQ), ["≤ .001", "≤ .001", ".004", ".050", ".10", ".42", "1.00", "–"]);
  assert.deepEqual([0, 3, -0.12345, 99.96, 123.4, 65536, 2e7, 1.2e-5, NaN].map(amount),
    ["0", "3", "−0.123", "100", "123", "65,536", "2.0e+7", "1.2e−5", "–"]);
  assert.equal(grouped(1048576), "1,048,576");
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

test("what is said names the feature and the partner that is walked to, with its evidence", () => {
  const data = tiny(), focus = { panel: 0, point: 0, partners: PARTNERS, all: false };
  assert.equal(spoken(data, focus, 0), "A 3, ␣king, Queen; 2 partners, first B 0, Queen, score .90, null .20, within token .80.");
  assert.match(spoken(data, focus, 1), /; partner 2 of 2: B 5, .*, score \.50, null \.30, same token only, not beyond chance\.$/);
  assert.equal(spoken(data, { ...focus, point: 1, partners: [] }, 0), "A 7; not tested: fires too rarely.");
  assert.equal(spoken({ ...data, sets: [] }, { ...focus, point: 1, partners: [] }, 0), "A 7.");
  data.panels[0].links = [{ set: 0, other: 1, indptr: Uint32Array.of(0, 0, 1), points: Uint32Array.of(1), edges: Uint32Array.of(1) }];
  assert.equal(spoken(data, { ...focus, point: 1, partners: [] }, 0), "A 7; no partner at this score.");   // it has one, below the slider
  data.sets[0].chance[1] = NaN;
  assert.equal(spoken(data, { ...focus, point: 1, partners: [] }, 0), "A 7; not tested: fires too rarely.");
  assert.deepEqual([0, 1].map((e) => beyond(data.sets[0], e)), [true, false]);
  const q = Float32Array.of(0.01, 0.4, NaN, NaN), chance = Float32Array.of(0.1, 0.1, 0.1, NaN), flags = Uint8Array.of(BEYOND, 0, 0, 0);
  assert.deepEqual([0, 1, 2, 3].map((e) => weak({ q, chance, flags }, e)), ["", "not beyond chance", "", "not tested"]);
});

test("a printed map labels the feature in focus, the pinned ones and the partner walked to, each with score and null", () => {
  const data = tiny(), focus = { panel: 0, point: 0, partners: PARTNERS, all: false };
  const words = (index, state) => [...labelLines(data, index, { focus: null, partner: 0, pinned: [], ...state })]
    .map(([point, lines]) => [point, ...lines.map((o) => o.replace(/[\u2068\u2069]/g, ""))]);
  assert.deepEqual(words(0, { focus }), [[0, "A 3", "␣king · Queen"]]);
  assert.deepEqual(words(1, { focus }), [[0, "B 0", "Queen", "score .90 · null .20 · q ≤ .001"]]);
  assert.deepEqual(words(1, { focus, partner: 1 })[0].at(-1), "score .50 · null .30 · q .40 · same token only · not beyond chance");
  assert.equal(words(0, { focus, pinned: [focus, { ...focus, point: 1, partners: [] }] }).length, 2);   // nothing twice
  const other = { panel: 1, point: 0, partners: [], all: false };
  assert.equal(words(1, { focus, pinned: [other] })[0].length, 4);                                     // the score stays
  assert.deepEqual(words(0, {}), []);
});

test("a printed map holds nothing that XML forbids", () => {
  const hostile = "\u0000\u0008\ufffe\uffff\ud800x\udfff\u202e\u0085 漢 🙂", text = plain(hostile);
  assert.doesNotMatch(text, /[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/u);
  assert.match(text, /⟨U\+FFFE⟩⟨U\+FFFF⟩.*x.*漢 🙂/u);
  assert.doesNotMatch(labelLines(tiny(), 1, { focus: null, partner: 0, pinned: [{ panel: 1, point: 1, partners: [], all: false }] }).get(1).join(""), /[\ufffe\u0000]/);
});

test("long text is put in lines that fit; a word without end stands alone", () => {
  const text = "Near points of one map are rather alike. " + "x".repeat(90) + " end";
  const wide = (o) => 5.5 * o.length, lines = wrapped(text, 200, wide);
  assert.equal(lines.join(" "), text);
  for (const line of lines) assert.ok(wide(line) <= 200 || !line.includes(" "), line);
  assert.deepEqual(wrapped("", 200, wide), []);
});
