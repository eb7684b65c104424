// Pictures for print, what of them needs no browser: texts, lines, places of labels.
import test from "node:test";
import assert from "node:assert/strict";
import { labelLines, placeInPrint, plain, printed, wrapped } from "../../featgeom/static/mapexport.js";
import { overlap } from "../../featgeom/static/maplabels.js";
import { PARTNERS, tiny } from "./pair.mjs";
import { seeded } from "./seeded.mjs";

const NOBODY = { focus: null, partner: 0, pinned: [] };
const words = (index, state) => [...labelLines(tiny(), index, { ...NOBODY, ...state })]
  .map(([point, lines]) => [point, ...lines.map((o) => o.replace(/[\u2068\u2069]/g, "").replace(/\u00a0/g, " "))]);

test("a printed map labels the feature in focus, the pinned ones and the partner walked to, and says whose partner it is", () => {
  const focus = { panel: 0, point: 0, partners: PARTNERS, all: false };
  assert.deepEqual(words(0, { focus }), [[0, "A 3", "␣king · Queen"]]);
  assert.deepEqual(words(1, { focus }), [[0, "B 0", "Queen", "with A 3: score .90 · null .20 · q ≤ .001 · within token .80"]]);
  assert.equal(words(1, { focus, partner: 1 })[0].at(-1), "with A 3: score .50 · null .30 · q .40 · same token only · not beyond chance");
  assert.equal(words(0, { focus, pinned: [focus, { ...focus, point: 1, partners: [] }] }).length, 2);   // nothing twice
  assert.deepEqual(words(1, { focus, pinned: [focus] })[0].length, 4);
  const other = { panel: 1, point: 0, partners: [], all: false };
  assert.equal(words(1, { pinned: [other, focus] })[0].at(-1).slice(0, 9), "with A 3:");                // a pinned feature that is a partner too
  assert.deepEqual(words(0, {}), []);
});

test("a partner of two pinned features says both", () => {
  const pins = [0, 1].map((point) => ({ panel: 0, point, partners: [PARTNERS[0]], all: false }));
  assert.deepEqual(words(1, { pinned: pins })[0].slice(3).map((o) => o.slice(0, 9)), ["with A 3:", "with A 7:"]);
});

test("a printed map holds nothing that XML forbids", () => {
  const hostile = "\u0000\u0008\ufffe\uffff\ud800x\udfff\u202e\u0085 漢 🙂", text = plain(hostile);
  assert.doesNotMatch(text, /[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/u);
  assert.match(text, /⟨U\+FFFE⟩⟨U\+FFFF⟩.*x.*漢 🙂/u);
  assert.doesNotMatch(labelLines(tiny(), 1, { ...NOBODY, pinned: [{ panel: 1, point: 1, partners: [], all: false }] }).get(1).join(""), /[\ufffe\u0000]/);
});

test("what holds for a page alone is not said on paper", () => {
  const of = (a, b) => `${a} and ${b}: 9 of 20 pairs are in this page, the best partner of every feature and then the strongest; the rest needs a running kernel.`;
  const text = printed(`Links only. ${of("A", "B")} ${of("A", "C")}`);
  assert.equal(text, "Links only. " + ["B", "C"].map((o) => `A and ${o}: 9 of 20 pairs are behind this picture: the best partner of every feature and then the strongest.`).join(" "));
});

test("text is put in lines that fit; a word without end is cut, between characters", () => {
  const text = "Near points of one map are rather alike. " + "🙂".repeat(90) + " end", wide = (o) => 5.5 * o.length;
  const lines = wrapped(text, 200, wide);
  for (const line of lines) assert.ok(wide(line) <= 200, line);
  assert.match(lines.join(" "), /^Near points of one map are rather alike\. (🙂)+… end$/u);
  assert.deepEqual(wrapped("", 200, wide), []);
});

const away = (box, { x, y }) => Math.hypot(Math.max(box.x - x, 0, x - box.x - box.w), Math.max(box.y - y, 0, y - box.y - box.h));

test("labels keep off marks and each other, inside the panel, near their points", () => {
  const rand = seeded(3), marks = Array.from({ length: 24 }, () => ({ x: 500 * rand(), y: 500 * rand(), w: 20, h: 20 }));
  const wanted = marks.slice(0, 6).map((o) => ({ x: o.x + 10, y: o.y + 10, w: 150, h: 50 }));
  const places = placeInPrint(wanted, marks, [], 520, 520);
  places.forEach((box, i) => {
    assert.ok(box.x >= 0 && box.y >= 0 && box.x + box.w <= 520 && box.y + box.h <= 520);
    for (const o of [...marks, ...places.slice(0, i)]) assert.equal(overlap(box, o), 0);
    assert.ok(away(box, wanted[i]) < 200);
  });
  const [alone] = placeInPrint([{ x: 260, y: 260, w: 150, h: 50 }], [{ x: 250, y: 250, w: 20, h: 20 }], [], 520, 520);
  assert.ok(away(alone, { x: 260, y: 260 }) < 18);
  const names = [{ x: 0, y: 0, w: 520, h: 240 }];                                                        // rather off names too
  assert.equal(overlap(placeInPrint([{ x: 260, y: 260, w: 150, h: 50 }], [{ x: 250, y: 250, w: 20, h: 20 }], names, 520, 520)[0], names[0]), 0);
  assert.equal(placeInPrint([{ x: 5, y: 5, w: 900, h: 50 }], [], [], 520, 20).length, 1);                   // larger than the panel
});
