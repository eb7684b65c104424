// Points as pixels: stamps, blending, what lies on top, the sample of a moving map, and which look a point has.
import test from "node:test";
import assert from "node:assert/strict";
import { SAMPLE, cpuBackend, drawingOrder, makeStamp, sampleOrder, splat } from "../../featgeom/static/splat.js";
import { COLOURS, LAYERS, OUTLINES, SIZES, radiusFor, readStyles, rgb, styleNumber, styleOf } from "../../featgeom/static/mapstyle.js";
import { seeded } from "./seeded.mjs";

const PAD = 32, WHITE = -1;
const solid = { layer: 3, strong: false, fill: [0, 0, 0], alpha: 1, ring: [0, 0, 0], ringAlpha: 0, scale: 1, line: 1, edge: [0, 0, 0], edgeAlpha: 1, edgeLine: 0 };
const still = { k: 1, tx: 0, ty: 0 };

/** A white sheet and how to look at it. */
function paper(width, height) {
  const stride = width + 2 * PAD, pixels = new Int32Array(stride * (height + 2 * PAD)).fill(WHITE), bytes = new Uint8Array(pixels.buffer);
  /** @returns {number[]} red, green, blue, alpha */
  const at = (x, y) => [...bytes.subarray(4 * ((y + PAD) * stride + x + PAD), 4 * ((y + PAD) * stride + x + PAD) + 4)];
  const darkness = (x, y) => 255 - at(x, y)[0];
  return { sheet: { pixels, width, height, pad: PAD }, stride, at, darkness };
}
const put = (page, xs, ys, stamp, view = still) =>
  splat(page.sheet, xs, ys, Uint32Array.from(xs, (_, i) => i), new Uint16Array(xs.length), [stamp], view);

test("a stamp holds the ink of its disc wherever the point falls between pixels, and is centred there", () => {
  for (const [fx, fy] of [[10, 10], [10.3, 10.6], [10.9, 10.1]]) {
    const page = paper(24, 24);
    assert.equal(put(page, [fx], [fy], makeStamp(solid, 3, 1, page.stride)), 1);
    let ink = 0, mx = 0, my = 0;
    for (let y = 0; y < 24; y++) for (let x = 0; x < 24; x++) {
      ink += page.darkness(x, y);
      mx += page.darkness(x, y) * (x + 0.5);
      my += page.darkness(x, y) * (y + 0.5);
    }
    assert.ok(Math.abs(ink / 255 / (Math.PI * 9) - 1) < 0.03);
    assert.ok(Math.hypot(mx / ink - fx, my / ink - fy) < 0.2);
  }
});

test("a hollow point has paper in its middle and ink around it", () => {
  const page = paper(24, 24);
  put(page, [12], [12], makeStamp({ ...solid, alpha: 0, ringAlpha: 1 }, 5, 1, page.stride));
  assert.equal(page.darkness(12, 12), 0);
  assert.ok(page.darkness(16, 12) > 195);
});

test("an outline lies around the point, thicker for the second, and leaves its colour", () => {
  const ring = [1, 2].map((edgeLine) => {
    const page = paper(24, 24);
    put(page, [12.25], [12.25], makeStamp({ ...solid, fill: [255, 0, 0], edgeLine }, 4, 1, page.stride));
    assert.deepEqual(page.at(12, 12), [255, 0, 0, 255]);
    return [16, 17, 18, 19].map((x) => 255 - page.at(x, 12)[0]);
  });
  assert.ok(ring[0][0] > 150 && ring[0][1] < 110 && ring[1][0] > 150 && ring[1][1] > 200 && ring[1][2] < 110, String(ring));
});

test("transparent points cover as alpha blending says, many never overflow; opacity of the paper stays", () => {
  for (const [fill, alpha] of [[[0, 0, 0], 0.5], [[255, 255, 255], 0.82], [[200, 90, 250], 0.16], [[255, 0, 254], 0.55]]) {
    const page = paper(9, 9), stamp = makeStamp({ ...solid, fill, alpha }, 3, 1, page.stride), wanted = [255, 255, 255];
    for (let k = 0; k < 40; k++) {
      put(page, [4.5], [4.5], stamp);
      wanted.forEach((v, c) => { wanted[c] = fill[c] * alpha + v * (1 - alpha); });
      page.at(4, 4).forEach((v, c) => assert.ok(c === 3 ? v === 255 : Math.abs(v - wanted[c]) <= 2 + 1 / alpha, `${k} ${page.at(4, 4)} ${wanted}`));
    }
  }
});

test("points at and beyond the border are cut, never wrapped or written outside", () => {
  const page = paper(10, 10), stamp = makeStamp(solid, 3, 1, page.stride);
  assert.equal(put(page, [-20, 30, 5, 5, -1e7, 1e9], [5, 5, -20, 30, 1e7, 5], stamp), 0);
  assert.ok(page.sheet.pixels.every((v) => v === WHITE));
  assert.equal(put(page, [0, 10], [5, 9.99], stamp), 2);
  assert.ok(page.darkness(0, 5) > 225 && page.darkness(9, 9) > 225);
  for (let y = 0; y < 6; y++) assert.equal(page.darkness(9, y), 0);
  assert.ok(page.sheet.pixels.slice(0, page.stride * (PAD - 4)).every((v) => v === WHITE));
  assert.ok(page.sheet.pixels.slice(page.stride * (PAD + 15)).every((v) => v === WHITE));
});

test("every place of a zoomed view draws as a naive transform says", () => {
  const rand = seeded(5), view = { k: 0.37, tx: -113, ty: -57.3 };
  const xs = Uint16Array.from({ length: 3000 }, () => rand() * 700), ys = Uint16Array.from({ length: 3000 }, () => rand() * 700);
  const page = paper(60, 50), stamp = makeStamp(solid, 0.7, 1, page.stride), drawn = put(page, xs, ys, stamp, view);
  let near = 0, lit = 0;
  xs.forEach((x, i) => {
    const fx = x * view.k + view.tx, fy = ys[i] * view.k + view.ty;
    if (fx >= -2 && fy >= -2 && fx <= 62 && fy <= 52) near++;
    if (fx < 0 || fy < 0 || fx >= 60 || fy >= 50) return;
    assert.ok(page.darkness(Math.floor(fx), Math.floor(fy)) > 80);
    lit++;
  });
  assert.ok(lit > 50);
  assert.equal(drawn, near);
});

test("points are drawn layer by layer, within a layer by number: no style of a layer lies over the others", () => {
  const of = Uint16Array.of(5, 1, 3, 1, 5, 3, 7), layerOf = new Uint8Array(8);
  layerOf[5] = 2;
  layerOf[1] = layerOf[3] = 1;
  layerOf[7] = 0;
  assert.deepEqual([...drawingOrder(of, layerOf)], [6, 1, 2, 3, 5, 0, 4]);
});

test("a sample is fixed, has every style in proportion and the special ones whole", () => {
  const n = 900000, rand = seeded(6), of = Uint16Array.from({ length: n }, (_, i) => (i % 1000 === 7 ? 4 : Math.floor(rand() ** 2 * 4)));
  const layerOf = Uint8Array.of(0, 1, 1, 1, 4), strong = Uint8Array.of(0, 0, 0, 0, 1), got = sampleOrder(of, layerOf, strong);
  const count = (list) => [0, 1, 2, 3, 4].map((s) => list.reduce((sum, style) => sum + (style === s), 0));
  const all = count(of), some = count(got.map((i) => of[i]));
  assert.equal(some[4], all[4]);
  for (const s of [0, 1, 2, 3]) {
    const expected = all[s] * SAMPLE / n;
    assert.ok(Math.abs(some[s] - expected) < 4 * Math.sqrt(expected), `${s}: ${some[s]} of ${expected}`);
  }
  assert.equal(new Set(got).size, got.length);
  const plain = (list) => new Set([...list].filter((i) => i % 1000 !== 7));
  assert.deepEqual(plain(sampleOrder(new Uint16Array(n), layerOf, strong)), plain(got));            // the same points whatever their style
  const halves = got.reduce((sum, i) => sum + (i < n / 2), 0) / got.length, odd = got.reduce((sum, i) => sum + (i & 1), 0) / got.length;
  assert.ok(Math.abs(halves - 0.5) < 0.01 && Math.abs(odd - 0.5) < 0.01);                          // and not by their place in the list
  const most = sampleOrder(new Uint16Array(n).fill(4), layerOf, strong);
  assert.ok(Math.abs(most.length / SAMPLE - 1) < 0.02);                                            // all are special: then a sample of them
});

/** A canvas that keeps what is put on it. */
function fakeCanvas() {
  const canvas = { width: 0, height: 0, shown: null, images: 0 };
  const context = {
    createImageData: (width, height) => { canvas.images++; return { width, height, data: new Uint8ClampedArray(4 * width * height) }; },
    putImageData(image, dx, dy, left, top, width, height) {
      canvas.shown = new Uint8ClampedArray(4 * canvas.width * canvas.height);
      for (let y = top; y < top + height; y++) for (let x = left; x < left + width; x++) {
        const px = x + dx, py = y + dy;
        if (px < 0 || py < 0 || px >= canvas.width || py >= canvas.height) continue;
        canvas.shown.set(image.data.subarray(4 * (y * image.width + x), 4 * (y * image.width + x) + 4), 4 * (py * canvas.width + px));
      }
    },
  };
  canvas.getContext = () => context;
  canvas.at = (x, y) => [...canvas.shown.subarray(4 * (y * canvas.width + x), 4 * (y * canvas.width + x) + 4)];
  return canvas;
}
const COLOUR = { 0: [200, 0, 0], 1: [0, 160, 0], 2: [0, 0, 220] };
const byNumber = (asked) => (number) => {
  asked.push(number);
  return { ...solid, layer: number, strong: number === 2, fill: COLOUR[number] };
};

test("the backend puts points where they are, the higher layer on top, and paper where none are", () => {
  const canvas = fakeCanvas(), backend = cpuBackend(canvas), asked = [];
  backend.setPoints(Uint16Array.of(100, 100, 300), Uint16Array.of(100, 100, 50));
  backend.setStyle(Uint16Array.of(1, 0, 2), byNumber(asked), [250, 251, 252]);
  assert.deepEqual([...new Set(asked)].sort(), [0, 1, 2]);
  for (const [ratio, reached] of [[1, [20, 60]], [2, [40, 120]]]) {
    assert.deepEqual(backend.draw({ k: 0.2, tx: 0, ty: 10 }, 80, 40, ratio, 3), { drawn: 3, sample: false, of: 3 });
    assert.deepEqual([canvas.width, canvas.height], [80 * ratio, 40 * ratio]);
    assert.deepEqual(canvas.at(reached[0], 30 * ratio), [0, 160, 0, 255]);
    assert.deepEqual(canvas.at(reached[1], 20 * ratio), [0, 0, 220, 255]);
    for (const [x, y] of [[0, 0], [80 * ratio - 1, 40 * ratio - 1], [40 * ratio, 30 * ratio]]) assert.deepEqual(canvas.at(x, y), [250, 251, 252, 255]);
  }
  assert.equal(backend.draw({ k: 0.2, tx: 1000, ty: 10 }, 80, 40, 1, 3).drawn, 0);
  assert.ok(canvas.shown.every((v, i) => v === [250, 251, 252, 255][i % 4]));
});

test("a new theme changes colours that were drawn before; a small zoom needs no new sheet", () => {
  const canvas = fakeCanvas(), backend = cpuBackend(canvas), draw = (r) => backend.draw(still, 20, 20, 1, r);
  backend.setPoints(Uint16Array.of(10), Uint16Array.of(10));
  backend.setStyle(Uint16Array.of(0), byNumber([]), [255, 255, 255]);
  draw(3);
  assert.deepEqual(canvas.at(10, 10), [200, 0, 0, 255]);
  backend.setStyle(Uint16Array.of(0), (number) => ({ ...solid, layer: number, fill: [1, 2, 3] }), [9, 9, 9]);
  for (const r of [3.75, 3.5, 3.25, 3]) draw(r);
  assert.deepEqual([canvas.at(10, 10), canvas.at(0, 0)], [[1, 2, 3, 255], [9, 9, 9, 255]]);
  assert.ok(canvas.images <= 2);
  backend.dispose();
  assert.deepEqual([canvas.width, canvas.height], [0, 0]);
});

test("large points at a border do not come out at the opposite one", () => {
  const canvas = fakeCanvas(), backend = cpuBackend(canvas), large = (number) => ({ ...byNumber([])(number), scale: 3.2, edgeLine: 2 });
  backend.setPoints(Uint16Array.of(0, 69, 40, 40), Uint16Array.of(30, 30, 0, 59));
  backend.setStyle(Uint16Array.of(0, 0, 0, 0), large, [255, 255, 255]);
  for (const shift of [0, 8, 16]) {
    backend.draw({ k: 1, tx: shift, ty: 0 }, 70, 60, 1, 7);
    for (let y = 0; y < 60; y++) for (let x = 0; x < 70; x++) {
      const near = [[0, 30], [69, 30], [40, 0], [40, 59]].some(([px, py]) => Math.hypot(px + shift - x, py - y) < 27);
      if (!near) assert.deepEqual(canvas.at(x, y), [255, 255, 255, 255], `${x} ${y}`);
    }
  }
});

test("a moving map of many points draws its sample; of few points, or zoomed in to few, all of them", () => {
  const n = 300000, rand = seeded(8), x = Uint16Array.from({ length: n }, () => rand() * 65536), y = Uint16Array.from({ length: n }, () => rand() * 65536);
  const canvas = fakeCanvas(), backend = cpuBackend(canvas), whole = { k: 100 / 65536, tx: 0, ty: 0 };
  backend.setPoints(x, y);
  const of = Uint16Array.from(x, (_, i) => (i % 10000 ? 0 : 2));
  backend.setStyle(of, byNumber([]), [255, 255, 255]);
  const some = backend.draw(whole, 100, 100, 1, 1, true), all = backend.draw(whole, 100, 100, 1, 1);
  assert.deepEqual([some.sample, some.drawn, all], [true, some.of, { drawn: n, sample: false, of: n }]);
  assert.ok(Math.abs(some.of / SAMPLE - 1) < 0.02);
  const close = { k: 400 / 65536, tx: -100, ty: -100 }, near = backend.draw(close, 100, 100, 1, 1, true);
  assert.deepEqual(near, backend.draw(close, 100, 100, 1, 1));
  assert.ok(near.drawn > 15000 && near.drawn < 30000 && !near.sample);
  backend.setPoints(x.slice(0, 999), y.slice(0, 999));
  backend.setStyle(new Uint16Array(999), byNumber([]), [255, 255, 255]);
  assert.deepEqual(backend.draw(whole, 100, 100, 1, 1, true), { drawn: 999, sample: false, of: 999 });
});

test("no points at all: paper", () => {
  const canvas = fakeCanvas(), backend = cpuBackend(canvas);
  backend.setPoints(new Uint16Array(0), new Uint16Array(0));
  backend.setStyle(new Uint16Array(0), byNumber([]), [1, 2, 3]);
  assert.deepEqual(backend.draw(still, 5, 5, 1, 2, true), { drawn: 0, sample: false, of: 0 });
  assert.deepEqual(canvas.at(4, 4), [1, 2, 3, 255]);
});

// ---- looks

test("which look a point has, as a naive choice says: not allowed, found, selected, partner, tested or not", () => {
  const rand = seeded(9), n = 4000, mask = (share) => Uint8Array.from({ length: n }, () => Number(rand() < share)), up = (k) => Uint8Array.from({ length: n }, () => rand() * k);
  for (const dimmed of [false, true]) for (const filtered of [false, true]) for (const [size, outline] of [[null, null], [up(4), up(3)]]) {
    const found = mask(0.3).map((v) => v * (1 + Math.floor(rand() * 6)));
    const looks = { linked: mask(0.5), tested: mask(0.5), codes: up(COLOURS), scale: null, size, outline, selected: mask(0.3), partners: mask(0.3), found, allowed: mask(0.8), dimmed };
    if (!filtered) looks.allowed.fill(1);
    const seen = new Set(), got = styleOf(looks);
    for (let i = 0; i < n; i++) {
      const hollow = looks.linked[i] ? "" : " hollow";
      const [layer, colour] = !looks.allowed[i] ? [`off${hollow}`, looks.codes[i]] : found[i] ? [`found${hollow}`, found[i] - 1] : looks.selected[i] ? [`selected${hollow}`, looks.codes[i]]
        : looks.partners[i] ? ["partner", 0] : [dimmed ? `dim${hollow}` : looks.linked[i] ? "full" : filtered ? "left hollow" : looks.tested[i] ? "hollow" : "untested hollow", looks.codes[i]];
      const edge = looks.allowed[i] && found[i] && looks.selected[i] ? 2 : outline ? outline[i] : 0;   // a found one that is selected has a ring of ink
      seen.add(layer);
      assert.equal(got[i], styleNumber(LAYERS.indexOf(layer), colour, size ? size[i] : 1, edge));
    }
    assert.equal(seen.size, 5 + (dimmed ? 2 : filtered ? 2 : 3) + (filtered ? 2 : 0));
  }
  assert.ok(styleNumber(LAYERS.length - 1, COLOURS - 1, SIZES.length - 1, OUTLINES - 1) < 65536);
});

test("styles are made when they are first asked for, from the variables of the page", () => {
  const read = [], had = globalThis.getComputedStyle;
  globalThis.getComputedStyle = () => ({ getPropertyValue: (name) => { read.push(name); return `#0000${(16 + read.length).toString(16)}`; } });
  try {
    const styles = readStyles({});
    assert.deepEqual(read, ["--lm-paper"]);
    const layer = (name) => LAYERS.indexOf(name), full = styles.style(styleNumber(layer("full"), 3, 1, 0));
    assert.ok(read.includes("--lm-c3") && !read.includes("--lm-c4") && !read.includes("--lm-s0"));
    assert.deepEqual([full.alpha < 1, full.ringAlpha, full.scale, full.edgeLine, full.strong, full.layer], [true, 0, 1, 0, false, layer("full")]);
    assert.equal(styles.style(styleNumber(layer("full"), 3, 1, 0)), full);
    styles.style(styleNumber(layer("dim"), COLOURS - 1, 1, 0));
    assert.ok(read.includes("--lm-s11"));
    const found = styles.style(styleNumber(layer("found hollow"), 5, 3, 2));
    assert.ok(read.includes("--lm-f5") && found.strong && found.scale > SIZES[3] && found.edgeLine === 2);
    assert.deepEqual([found.fill, found.alpha], [styles.paper, 1]);
    for (const name of LAYERS) {
      const style = styles.style(styleNumber(layer(name), 2, 1, 0)), hollow = name.endsWith("hollow");
      assert.equal(style.strong, /^(partner|selected|found)/.test(name));
      assert.equal(style.ringAlpha > style.alpha || style.fill === styles.paper, hollow, name);
      assert.equal(Math.max(style.alpha, style.ringAlpha) < 0.3, /^(dim|off)/.test(name));
    }
    const [off, left, hollow, untested] = ["off hollow", "left hollow", "hollow", "untested hollow"].map((name) => styles.style(styleNumber(layer(name), 2, 1, 2)));
    assert.deepEqual([off.ringAlpha, off.edgeAlpha, left.ringAlpha, left.line, left.scale], [0.2, 0.2, 0.9, 1.5, 1]);
    assert.deepEqual(off.ring, [0, 1, 2].map((c) => Math.round(0.25 * left.ring[c] + 0.75 * styles.paper[c])));   // pale even where many lie on each other
    assert.ok(left.ringAlpha > hollow.ringAlpha && hollow.ringAlpha > untested.ringAlpha && hollow.scale > untested.scale);
  } finally { globalThis.getComputedStyle = had; }
});

test("colours of the page are plain hexadecimal", () => {
  assert.deepEqual([rgb("#0af"), rgb("#102030")], [[0, 170, 255], [16, 32, 48]]);
  for (const wrong of ["red", "", "#12345", "rgb(1, 2, 3)"]) assert.throws(() => rgb(wrong), /hexadecimal/);
});

test("points shrink with their number and never vanish", () => {
  const radii = [1, 300, 3000, 16384, 65536, 1e6].map((n) => radiusFor(n, 1));
  assert.ok(radii.every((r, i) => r >= 1 && (!i || r <= radii[i - 1])));
  assert.ok(radiusFor(16384, 20) > radiusFor(16384, 1) && radiusFor(10, 1e6) <= 7);
});
