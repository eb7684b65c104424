// Scales, levels and palettes of the linked map, against naive forms; and what the palettes promise, computed.
import test from "node:test";
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { CATEGORIES, STEPS, brief, colourVar, densities, keysOf, levelsOf, scaleOf } from "../../featgeom/static/mapcolour.js";
import { buildGrid } from "../../featgeom/static/grid.js";
import { BEYOND, partnersOf, readMap, shownEdges } from "../../featgeom/static/mapdata.js";
import { packed, planes } from "./packed.mjs";
import { seeded } from "./seeded.mjs";

const shares = (values) => planes(values.map((v) => (Number.isNaN(v) ? 65535 : Math.round(v * 65534))), 2);

/** Three panels in a ring of links; clusters in the first two, a number and a category in the first and last. */
function ring() {
  const rand = seeded(3), whole = (n) => Math.floor(rand() * n), sizes = [300, 200, 150];
  const columns = [{ name: "loss", kind: "number", low: 0, high: 1 }, { name: "kind", kind: "category", categories: Array.from({ length: 12 }, (_, c) => `k${c}`) }];
  const panels = sizes.map((n, p) => {
    const list = (f) => Array.from({ length: n }, f);
    return { name: `P${p}`, ids: list((_, i) => i), x: list(() => whole(65536)), y: list(() => whole(65536)), fires: list(() => whole(20) && 1 + Math.floor(10 ** (6 * rand()))), total: 2e6,
      cluster: p < 2 ? list(() => Math.floor(rand() ** 2 * 13) - 1) : null, labels: p < 2 ? Array.from({ length: 12 }, (_, c) => `c${c}`) : [],
      columns: p === 1 ? [] : [shares(list(() => (whole(9) ? rand() : NaN))), Uint8Array.from(list(() => (whole(9) ? Math.floor(rand() ** 2 * 12) : 255)))] };
  });
  const sets = [[0, 1], [1, 2], [2, 0]].map(([left, right]) => ({ left, right, edges: Array.from({ length: 400 }, () => ({ a: whole(sizes[left]), b: whole(sizes[right]), score: whole(101) / 100, flags: whole(16) })) }));
  return readMap(...packed(panels, sets, { columns }));
}
const data = ring(), shown = shownEdges(data, 0.3, true);
const every = (p, f) => Array.from({ length: data.panels[p].n }, (_, i) => f(i));

test("what can be chosen is what the map has", () => {
  assert.deepEqual(keysOf(data).map((o) => [o.key, o.kind]), [["", "none"], ["cluster of P0", "category"], ["cluster of P1", "category"],
    ["density", "number"], ["score", "number"], ["rate", "number"], ["loss", "number"], ["kind", "category"]]);
  const bare = readMap(...packed([{ name: "A", ids: [0], x: [1], y: [1] }], []));
  assert.deepEqual(keysOf(bare).map((o) => o.key), ["", "density"]);
  for (const key of ["", "cluster of nobody", "score", "constructor"]) {
    const none = scaleOf(bare, key, []);
    assert.deepEqual([none.kind, none.key, none.entries, [...none.codes[0]], none.cats], ["none", "", [], [0], null]);
  }
});

test("clusters: the eight largest have colours, elsewhere a point has that of its best shown partner beyond chance", () => {
  const { cluster } = data.panels[0], size = (c) => [...cluster].filter((o) => o === c).length;
  const largest = Array.from({ length: 12 }, (_, c) => c).sort((a, b) => size(b) - size(a) || a - b).slice(0, 8);
  const scale = scaleOf(data, "cluster of P0", shown);
  assert.equal(scale.kind, "category");
  assert.deepEqual(scale.entries.slice(0, 8), largest.map((c, r) => ({ name: `c${c}`, count: size(c), code: r + 1 })));
  assert.deepEqual(scale.entries.slice(8), [{ name: "other", code: 0, count: [...cluster].filter((c) => c >= 0 && !largest.includes(c)).length }]);
  const entry = (c) => (c < 0 ? -1 : largest.includes(c) ? largest.indexOf(c) : 8);
  for (const p of [0, 1, 2]) {
    const naive = every(p, (i) => {
      if (p === 0) return entry(cluster[i]);
      const best = partnersOf(data, p, i, shown).filter((o) => o.panel === 0 && data.sets[o.set].flags[o.edge] & BEYOND)[0];
      return best ? entry(cluster[best.point]) : -1;
    });
    assert.ok(naive.some((o) => o >= 0) && naive.includes(-1));
    assert.deepEqual([...scale.cats[p]], naive);
    assert.deepEqual([...scale.codes[p]], naive.map((o) => (o < 0 ? 0 : scale.entries[o].code)));
  }
});

test("a column of categories: the largest have colours, in the order of the column; a panel without it has none", () => {
  const scale = scaleOf(data, "kind", shown), values = [0, 2].flatMap((p) => [...data.panels[p].columns[1]]);
  const size = (c) => values.filter((o) => o === c).length;
  const own = Array.from({ length: 12 }, (_, c) => c).sort((a, b) => size(b) - size(a) || a - b).slice(0, 8).sort((a, b) => a - b);
  assert.deepEqual(scale.entries.map((o) => [o.name, o.code]), [...own.map((c, r) => [`k${c}`, r + 1]), ["other", 0]]);
  assert.equal(scale.entries.reduce((sum, o) => sum + o.count, 0), values.filter((o) => o >= 0).length);
  for (const p of [0, 2]) assert.deepEqual([...scale.cats[p]], every(p, (i) => { const c = data.panels[p].columns[1][i]; return c < 0 ? -1 : own.includes(c) ? own.indexOf(c) : 8; }));
  assert.ok(scale.cats[1].every((c) => c === -1) && scale.codes[1].every((c) => c === 0) && scale.cats[1].length === 200);
});

test("eight categories need no others", () => {
  const columns = [{ name: "kind", kind: "category", categories: Array.from({ length: 9 }, (_, c) => `k${c}`) }];
  const few = readMap(...packed([{ name: "A", ids: [0, 1, 2, 3, 4, 5, 6, 7, 8], x: Array(9).fill(0), y: Array(9).fill(0), columns: [Uint8Array.of(8, 7, 6, 5, 4, 3, 2, 1, 255)] }], [], { columns }));
  const scale = scaleOf(few, "kind", []);
  assert.deepEqual(scale.entries, [1, 2, 3, 4, 5, 6, 7, 8].map((c) => ({ name: `k${c}`, count: 1, code: c })));
  assert.deepEqual([...scale.codes[0]], [8, 7, 6, 5, 4, 3, 2, 1, 0]);
  assert.deepEqual([...scale.cats[0]], [7, 6, 5, 4, 3, 2, 1, 0, -1]);
});

/** Codes of numbers rise with the values, are 0 exactly where there is no value, and go from the first step to the last. */
function checkNumbers(scale, values) {
  const pairs = values.flatMap((list, p) => [...list].map((v, i) => [v, scale.codes[p][i]]));
  for (const [v, code] of pairs) assert.equal(code === 0, !Number.isFinite(v) || (scale.log && v <= 0), `${v} ${code}`);
  const usable = pairs.filter((o) => o[1]).sort((a, b) => a[0] - b[0]);
  usable.forEach(([, code], k) => assert.ok(!k || code >= usable[k - 1][1]));
  assert.ok(usable.every(([, code]) => code >= CATEGORIES && code < CATEGORIES + STEPS));
  return usable.map((o) => o[1] - CATEGORIES);
}

test("a column of numbers: equal steps between its ends, outliers cannot wash out the rest", () => {
  const scale = scaleOf(data, "loss", shown), steps = checkNumbers(scale, [data.panels[0].columns[0], [], data.panels[2].columns[0]]);
  assert.deepEqual([scale.kind, scale.log, scale.entries, scale.cats], ["number", false, [], null]);
  assert.deepEqual([steps[0], steps.at(-1)], [0, STEPS - 1]);
  const v = data.panels[0].columns[0], at = (x) => Math.max(0, Math.min(STEPS - 1, Math.floor((x - scale.low) / (scale.high - scale.low) * STEPS)));
  every(0, (i) => { if (!Number.isNaN(v[i])) assert.ok(Math.abs(scale.codes[0][i] - CATEGORIES - at(v[i])) <= 1e-9); });
  assert.ok(scale.codes[1].every((c) => c === 0) && scale.codes[1].length === 200);
  const n = 1000, wild = readMap(...packed([{ name: "A", ids: Array.from({ length: n }, (_, i) => i), x: Array(n).fill(0), y: Array(n).fill(0), columns: [shares(Array.from({ length: n }, (_, i) => (i ? i / 1e5 : 1)))] }], [],
    { columns: [{ name: "c", kind: "number", low: 0, high: 1 }] }));
  assert.ok(new Set(scaleOf(wild, "c", []).codes[0]).size === STEPS);
});

test("equal numbers have one colour in the middle, no numbers none", () => {
  const of = (values) => readMap(...packed([{ name: "A", ids: values.map((_, i) => i), x: values.map(() => 0), y: values.map(() => 0), columns: [shares(values)] }], [], { columns: [{ name: "c", kind: "number", low: 0, high: 1 }] }));
  assert.deepEqual([...scaleOf(of([0.5, 0.5, NaN]), "c", []).codes[0]], [CATEGORIES + STEPS / 2, CATEGORIES + STEPS / 2, 0]);
  const none = scaleOf(of([NaN, NaN]), "c", []);
  assert.deepEqual([[...none.codes[0]], none.low, none.high], [[0, 0], NaN, NaN]);
  assert.deepEqual(levelsOf(of([NaN, NaN]), "c", [], 4), { codes: [new Uint8Array(2)], names: ["no value", "", "", ""] });
  assert.deepEqual(levelsOf(of([0.5, 0.5]), "c", [], 4), { codes: [new Uint8Array(2)], names: ["all", "", "", ""] });
});

test("score: that of the best shown partner; the slider moves no colours", () => {
  const best = data.panels.map((p, i) => every(i, (k) => Math.max(...partnersOf(data, i, k, shown).map((o) => data.sets[o.set].score[o.edge]))));
  const scale = scaleOf(data, "score", shown), all = scaleOf(data, "score", shownEdges(data, 0, false));
  checkNumbers(scale, best);
  assert.ok(scale.codes[0].includes(0));
  assert.deepEqual([scale.low, scale.high], [all.low, all.high]);
  const full = data.panels.map((p, i) => every(i, (k) => Math.max(...partnersOf(data, i, k).map((o) => data.sets[o.set].score[o.edge]))));
  best.forEach((list, p) => list.forEach((v, i) => { if (v === full[p][i]) assert.equal(scale.codes[p][i], all.codes[p][i]); }));
});

test("rate: by powers of ten, features that never fired have none; counts where a panel does not know its rows", () => {
  const scale = scaleOf(data, "rate", shown), rates = data.panels.map((p) => [...p.fires].map((v) => v / p.total));
  const steps = checkNumbers(scale, rates);
  assert.ok(scale.log && scale.low > -7 && scale.low < -5 && scale.high < 0 && scale.high > -1 && scale.title === "firing rate");
  const middle = rates[0].findIndex((v) => Math.abs(Math.log10(v) - (scale.low + scale.high) / 2) < 0.1);
  assert.ok(Math.abs(scale.codes[0][middle] - CATEGORIES - STEPS / 2) <= 1);
  assert.ok(steps.filter((s) => s > 2 && s < 9).length > steps.length / 4);
  const unknown = ring();
  unknown.panels[1].total = null;
  const counts = scaleOf(unknown, "rate", shown);
  assert.ok(counts.high > 3 && counts.title !== scale.title);
  assert.deepEqual(counts.codes, scale.codes);
});

test("density: points in the square of cells around, as a naive count says", () => {
  const rand = seeded(8);
  for (const n of [1, 40, 3000, 60000]) {
    const x = Uint16Array.from({ length: n }, () => rand() ** 2 * 65535), y = Uint16Array.from({ length: n }, () => rand() * 40000), g = buildGrid(x, y);
    const cell = (i) => [Math.floor((x[i] - g.x0) / g.cell), Math.floor((y[i] - g.y0) / g.cell)], got = densities(g);
    const reach = Math.max(1, Math.round((Math.max(g.cols, g.rows) / 32 - 1) / 2));
    for (let t = 0; t < 60; t++) {
      const i = Math.floor(rand() * n), [c, r] = cell(i);
      let near = 0;
      for (let k = 0; k < n; k++) {
        const [ck, rk] = cell(k);
        if (Math.abs(c - ck) <= reach && Math.abs(r - rk) <= reach) near++;
      }
      assert.equal(got[i], near);
    }
    assert.ok(n < 60000 || reach > 1);
  }
  assert.equal(densities(buildGrid(new Uint16Array(0), new Uint16Array(0))).length, 0);
  assert.deepEqual([...densities(buildGrid(new Uint16Array(5).fill(3), new Uint16Array(5).fill(3)))], [5, 5, 5, 5, 5]);
});

test("levels of numbers hold equal shares, rise with the value and say their ranges", () => {
  const { codes, names } = levelsOf(data, "loss", shown, 4), v = [...data.panels[0].columns[0], ...data.panels[2].columns[0]], got = [...codes[0], ...codes[2]];
  const usable = v.map((value, i) => [value, got[i]]).filter((o) => !Number.isNaN(o[0])).sort((a, b) => a[0] - b[0]);
  usable.forEach(([, level], k) => assert.ok(!k || level >= usable[k - 1][1]));
  for (const level of [0, 1, 2, 3]) assert.ok(Math.abs(usable.filter((o) => o[1] === level).length / usable.length - 0.25) < 0.02);
  v.forEach((value, i) => { if (Number.isNaN(value)) assert.equal(got[i], 0); });
  const first = usable.find((o) => o[1] === 1)[0], second = usable.find((o) => o[1] === 2)[0], third = usable.find((o) => o[1] === 3)[0];
  assert.deepEqual(names, [`under ${brief(first)} or no value`, `${brief(first)} to ${brief(second)}`, `${brief(second)} to ${brief(third)}`, `${brief(third)} and more`]);
  assert.equal(codes[1].length, 200);
});

test("two values make two levels, the outer ones", () => {
  const values = [...Array(30).fill(0), ...Array(10).fill(1)], at = values.map(() => 0);
  const two = readMap(...packed([{ name: "A", ids: values.map((_, i) => i), x: at, y: at, columns: [shares(values)] }], [], { columns: [{ name: "c", kind: "number", low: 0, high: 1 }] }));
  const { codes, names } = levelsOf(two, "c", [], 3);
  assert.deepEqual([...codes[0]], [...Array(30).fill(0), ...Array(10).fill(2)]);
  assert.deepEqual(names, ["under 1", "", "1 and more"]);
});

test("levels of categories are their order; of more than there are levels the last ones share one", () => {
  const { codes, names } = levelsOf(data, "kind", shown, 3);
  assert.deepEqual(names, ["k0 or none", "k1", "k2 and others"]);
  assert.deepEqual([...codes[0]], every(0, (i) => Math.max(0, Math.min(2, data.panels[0].columns[1][i]))));
  assert.deepEqual(levelsOf(data, "", shown, 3), { codes: data.panels.map((p) => new Uint8Array(p.n)), names: ["", "", ""] });
});

test("numbers have all digits before the point, and of small ones three that count", () => {
  const numbers = [0.123456, -0.5, 12345.6, 0, 1e-7, 999.6, 3, -0.00123, 99.96, 1.7e9 + 40, -2016, 1e22, -1.234e-5, NaN, Infinity];
  assert.deepEqual(numbers.map(brief),
    ["0.123", "−0.5", "12,346", "0", "1e−7", "1,000", "3", "−0.00123", "100", "1,700,000,040", "−2,016", "1e+22", "−1.23e−5", "–", "–"]);
});

// ---- palettes
const css = readFileSync(new URL("../../featgeom/static/mapstyle.css", import.meta.url), "utf8");
const themes = Object.fromEntries(css.split("}").slice(0, 2).map((block) =>
  [block.includes("dark") ? "dark" : "light", Object.fromEntries([...block.matchAll(/--lm-(\w+): (#[0-9a-f]{6});/g)].map((o) => [o[1], o[2]]))]));
const other = { light: { paper: "#ffffff", mark: "#ffd400" }, dark: { paper: "#16181c", mark: "#ffe14d" } };
const linear = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16) / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
const times = (m, v) => m.map((row) => row[0] * v[0] + row[1] * v[1] + row[2] * v[2]);
const luminance = ([r, g, b]) => 0.2126 * r + 0.7152 * g + 0.0722 * b;
const contrast = (a, b) => { const [p, q] = [luminance(linear(a)), luminance(linear(b))].sort((x, y) => y - x); return (p + 0.05) / (q + 0.05); };
// Machado, Oliveira & Fernandes 2009, severity 1.
const VISIONS = {
  normal: [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
  protanopia: [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
  deuteranopia: [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
};
const oklab = (hex, vision) => {
  const seen = times(VISIONS[vision], linear(hex)).map((v) => Math.min(1, Math.max(0, v)));
  const lms = times([[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566], [0.0883024619, 0.2817188376, 0.6299787005]], seen).map(Math.cbrt);
  return times([[0.2104542553, 0.793617785, -0.0040720468], [1.9779984951, -2.428592205, 0.4505937099], [0.0259040371, 0.7827717662, -0.808675766]], lms);
};
const apart = (a, b, vision) => Math.hypot(...oklab(a, vision).map((v, k) => v - oklab(b, vision)[k]));
const list = (theme, kind, n) => Array.from({ length: n }, (_, k) => themes[theme][`${kind}${k}`]);

test("the naive colour arithmetic of these tests is right", () => {
  assert.equal(contrast("#000000", "#ffffff").toFixed(2), "21.00");
  assert.ok(oklab("#ff0000", "normal").every((v, k) => Math.abs(v - [0.628, 0.2249, 0.1258][k]) < 1e-3));
  assert.ok(apart("#d62728", "#2ca02c", "deuteranopia") < 0.5 * apart("#d62728", "#2ca02c", "normal"));
});

for (const theme of ["light", "dark"]) {
  const categories = list(theme, "c", CATEGORIES), steps = list(theme, "s", STEPS), searches = list(theme, "f", 6);

  test(`${theme}: every palette entry that a code can name is there`, () => {
    for (let code = 0; code < CATEGORIES + STEPS; code++) assert.match(themes[theme][colourVar(code).replace("--lm-", "")], /^#/);
    assert.ok(searches.every(Boolean));
  });

  test(`${theme}: categories, searches and the upper two thirds of the numbers have a contrast of 3 on the paper`, () => {
    for (const hex of [...categories, ...searches, ...steps.slice(STEPS / 3)]) assert.ok(contrast(hex, other[theme].paper) >= 3, hex);
  });

  for (const vision of Object.keys(VISIONS)) {
    test(`${theme}, ${vision}: numbers go steadily away from the paper, in steps that can be seen`, () => {
      const lightness = steps.map((hex) => oklab(hex, vision)[0] * (theme === "light" ? -1 : 1));
      lightness.forEach((v, k) => assert.ok(!k || v > lightness[k - 1] + 0.03, `${steps[k]} ${v - lightness[k - 1]}`));
    });

    test(`${theme}, ${vision}: categories and searches are apart from each other and from the yellow of the marks`, () => {
      const least = (a, b) => Math.min(...a.flatMap((p, i) => b.map((q, j) => (a === b && i === j ? Infinity : apart(p, q, vision)))));
      const [within, found] = vision === "normal" ? [0.09, 0.15] : [0.06, 0.08];   // of Oklab; 0.02 is just seen side by side
      assert.ok(least(categories, categories) >= within, String(least(categories, categories)));
      assert.ok(least(searches, searches) >= found, String(least(searches, searches)));
      assert.ok(least(searches, categories) >= 0.06, String(least(searches, categories)));
      assert.ok(least([...searches, ...categories], [other[theme].mark]) >= 0.12);
    });
  }
}
