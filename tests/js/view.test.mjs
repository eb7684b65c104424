// Views: zooming, fitting, pinching, and the way between two.
import test from "node:test";
import assert from "node:assert/strict";
import { between, boxOf, fitBox, keepInside, pinched, placeOf, viewAt, zoomAt } from "../../featgeom/static/view.js";

const at = (v, wx, wy) => [wx * v.k + v.tx, wy * v.k + v.ty];
const world = (v, x, y) => [(x - v.tx) / v.k, (y - v.ty) / v.k];
const near = (a, b, eps = 1e-9) => a.forEach((v, i) => assert.ok(Math.abs(v - b[i]) < eps, `${a} is not ${b}`));

test("zooming holds the pixel under the pointer still and respects its limits", () => {
  const view = { k: 2, tx: 10, ty: -4 }, zoomed = zoomAt(view, 50, 60, 1.7, 0.1, 100);
  near(at(zoomed, ...world(view, 50, 60)), [50, 60]);
  assert.equal(zoomAt(view, 0, 0, 1e9, 0.1, 100).k, 100);
  assert.equal(zoomAt(view, 0, 0, 1e-9, 0.1, 100).k, 0.1);
});

test("fitting shows the whole box, also a box without size", () => {
  const v = fitBox({ x0: 0, y0: 0, x1: 100, y1: 10 }, 400, 300, 20);
  assert.equal(v.k, 3.6);
  assert.equal(50 * v.k + v.tx, 200);
  const point = fitBox({ x0: 5, y0: 5, x1: 5, y1: 5 }, 400, 300, 20, 8);
  assert.deepEqual([point.k, 5 * point.k + point.tx], [8, 200]);
  assert.ok(Number.isFinite(fitBox({ x0: 5, y0: 5, x1: 5, y1: 5 }, 400, 300, 20).k));
  assert.deepEqual(boxOf([1, 5, 3], [2, 2, 9], [0, 2]), { x0: 1, y0: 2, x1: 3, y1: 9 });
  assert.equal(boxOf([1], [1], []), null);
});

test("what lies under two fingers stays under them, wherever they go", () => {
  const view = { k: 2, tx: 10, ty: -4 }, from = [{ x: 100, y: 80 }, { x: 160, y: 80 }];
  const to = [{ x: 40, y: 120 }, { x: 220, y: 120 }], next = pinched(view, from, to, 0.1, 100);
  assert.equal(next.k, 6);
  from.forEach((finger, i) => near(at(next, ...world(view, finger.x, finger.y)), [to[i].x, to[i].y]));
  assert.deepEqual(pinched(view, from, from.map((o) => ({ x: o.x + 5, y: o.y - 3 })), 0.1, 100), { k: 2, tx: 15, ty: -7 });
  assert.equal(pinched(view, from, to, 0.1, 3).k, 3);
  assert.equal(pinched(view, [from[0], from[0]], [{ x: 0, y: 0 }, { x: 3, y: 0 }], 0.1, 100).k, 6);   // two fingers on one pixel
});

test("a map that is dragged away comes back into sight", () => {
  const box = { x0: 0, y0: 0, x1: 100, y1: 100 };
  assert.equal(keepInside({ k: 1, tx: 5000, ty: 0 }, box, 200, 200).tx, 100);
  const inside = { k: 1, tx: 30, ty: 20 };
  assert.deepEqual(keepInside(inside, box, 200, 200), inside);
});

test("an animation begins and ends exactly, and k rises all the way", () => {
  const a = { k: 1, tx: 0, ty: 0 }, b = { k: 16, tx: -300, ty: 40 };
  assert.deepEqual(between(a, b, 0), a);
  assert.deepEqual(between(a, b, 1), b);
  assert.deepEqual(between(a, { ...a, tx: 10 }, 0.5), { k: 1, tx: 5, ty: 0 });
  assert.equal(between(a, b, 0.5).k, 4);
});

test("a place gives the same middle and zoom at any size", () => {
  const place = { x: 300, y: 120, zoom: 4 };
  for (const [w, h, k0] of [[500, 400, 0.01], [90, 700, 0.2]]) {
    const view = viewAt(place, w, h, k0), back = placeOf(view, w, h, k0);
    near(at(view, 300, 120), [w / 2, h / 2]);
    near([back.x, back.y, back.zoom], [300, 120, 4]);
  }
});
