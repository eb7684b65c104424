// What labels say and where they stand.
import test from "node:test";
import assert from "node:assert/strict";
import { alone, beyond, grouped, leaderOf, overlap, placeLabels, short, shortQ, spoken, weak } from "../../featgeom/static/maplabels.js";
import { BEYOND } from "../../featgeom/static/mapdata.js";
import { PARTNERS, tiny } from "./pair.mjs";

test("numbers are written as in a table, and a q is never flattered", () => {
  assert.deepEqual([0.876, -0.124, 1, 0, NaN, -0.001].map(short), [".88", "−.12", "1.00", ".00", "–", ".00"]);
  assert.deepEqual([0, 0.001, 0.004, 0.0499, 0.1, 0.42, 1, NaN].map(shortQ), ["≤ .001", "≤ .001", ".004", ".050", ".10", ".42", "1.00", "–"]);
  assert.deepEqual([0.00105, 0.00212, 0.0991, 0.1041, 0.9951].map(shortQ), [".002", ".003", ".10", ".11", "1.00"]);
  for (let k = 0; k < 3000; k++) {   // as the map holds it, and as a dashboard does
    const q = k / 3000 + 1e-5, coarse = Math.fround(Math.ceil(q * 1000 - 1e-6) / 1000);
    assert.equal(shortQ(coarse), shortQ(q));
    assert.ok(Number(shortQ(q).replace("≤ ", "")) >= q);
  }
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
  assert.equal(spoken(data, { ...focus, point: 1, partners: [] }, 0), "A 7.");           // a panel without pairs: nobody was left out
  assert.equal(alone(data, 0, 1), "");
  data.panels[0].links = [{ set: 0, other: 1, indptr: Uint32Array.of(0, 0, 0), points: new Uint32Array(0), edges: new Uint32Array(0) }];
  assert.equal(spoken(data, { ...focus, point: 1, partners: [] }, 0), "A 7; not tested.");
  data.panels[0].links = [{ set: 0, other: 1, indptr: Uint32Array.of(0, 0, 1), points: Uint32Array.of(1), edges: Uint32Array.of(1) }];
  assert.equal(spoken(data, { ...focus, point: 1, partners: [] }, 0), "A 7; no partner at this score.");   // it has one, below the slider
  data.sets[0].q[1] = NaN;
  assert.equal(spoken(data, { ...focus, point: 1, partners: [] }, 0), "A 7; not tested.");
  data.sets[0].test = data.sets[0].chance;
  assert.equal(alone(data, 0, 1), "no partner at this score");
  assert.deepEqual([0, 1].map((e) => beyond(data.sets[0], e)), [true, false]);
  const q = Float32Array.of(0.01, 0.4, NaN, NaN), chance = Float32Array.of(0.1, 0.1, 0.1, NaN), flags = Uint8Array.of(BEYOND, 0, 0, 0);
  assert.deepEqual([0, 1, 2, 3].map((e) => weak({ q, chance, flags }, e)), ["", "not beyond chance", "", "not tested"]);
});

test("a label that does not stand beside its mark has a line from its nearest edge", () => {
  const box = { x: 100, y: 100, w: 80, h: 40 };
  assert.equal(leaderOf(box, 120, 120), null);                                  // upon it
  assert.equal(leaderOf(box, 88, 152), null);                                   // at a corner
  assert.deepEqual(leaderOf(box, 140, 300), [140, 140, 140, 300]);
  assert.deepEqual(leaderOf(box, 10, 20), [100, 100, 10, 20]);
  for (const [x, y] of [[200, 200], [40, 60], [200, 20]])
    for (const spot of placeLabels([{ x, y, w: 120, h: 60 }], 400, 400)) assert.equal(leaderOf(spot, x, y), null);
});
