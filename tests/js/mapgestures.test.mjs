// Pointer, touch, wheel and keys of a panel, on an element that is none.
import test from "node:test";
import assert from "node:assert/strict";
import { gestures } from "../../featgeom/static/mapgestures.js";

/**
 * A plot of 400 x 400 pixels at (10, 20) with a border of 1, points at (100, 100) and (200, 100) of it, and a record
 * of all that is asked of the map.
 */
function stage({ tool = "move", combine = "new", zoom = 1, focus = null, selected = [] } = {}) {
  const log = [], outlines = [], points = [[100, 100], [200, 100]];
  const plot = Object.assign(new EventTarget(), {
    clientLeft: 1, clientTop: 1, focused: 0, captured: [],
    getBoundingClientRect: () => ({ left: 10, top: 20 }),
    focus() { plot.focused++; },
    setPointerCapture(id) { plot.captured.push(id); },
  });
  let view = { k: 1, tx: 0, ty: 0 }, buttons = 0;
  const panel = {
    index: 1, view: () => view, place: () => ({ x: 0, y: 0, zoom }), size: () => ({ width: 400, height: 400, k0: 1 }),
    tool: () => ({ tool, combine }),
    derived: () => ({ focus, looks: [{ selected: [] }, { selected }] }),
    pick: (x, y, reach) => points.findIndex(([px, py]) => Math.hypot(px - x, py - y) <= reach),
    middle: () => 0, toward: (point, dx, dy) => (dx > 0 && !point ? 1 : -1),
    outline: (o) => outlines.push(o && { ...o, path: [...o.path] }),
    within: ({ tool: kind, path }) => { log.push(["within", kind, path.map((o) => o.map(Math.round))]); return [0]; },
    move(next) { view = next; log.push(["move", next.k, next.tx, next.ty].map((v) => (typeof v === "number" ? Math.round(100 * v) / 100 : v))); },
  };
  const act = Object.fromEntries(["hover", "pin", "select", "zoomToPair", "walk", "go", "clear"].map((name) =>
    [name, (...args) => log.push([name, ...args])]));
  const forget = gestures(plot, panel, act);
  const fire = (type, props = {}) => {
    if (type === "pointerdown") buttons = 1;
    else if (type === "pointerup") buttons = 0;
    const { x = 0, y = 0, ...rest } = props, e = new Event(type, { cancelable: true });
    let stopped = false;
    e.stopPropagation = () => { stopped = true; };
    Object.assign(e, {
      clientX: x + 11, clientY: y + 21, button: 0, buttons, pointerId: 1, pointerType: "mouse", isPrimary: true, detail: 1,
      ctrlKey: false, metaKey: false, altKey: false, shiftKey: false, ...rest,
    });
    plot.dispatchEvent(e);
    return { taken: e.defaultPrevented, stopped };
  };
  const touch = (type, x, y, id = 1) => fire(type, { x, y, pointerId: id, pointerType: "touch", isPrimary: id === 1 });
  const take = () => log.splice(0);
  return { plot, fire, touch, take, outlines, forget, view: () => view };
}
const key = (o, name, more = {}) => o.fire("keydown", { key: name, ...more });

test("the mouse hovers over the nearest point, none far off, and none when it leaves", () => {
  const o = stage();
  o.fire("pointermove", { x: 103, y: 98 });
  o.fire("pointermove", { x: 150, y: 100 });
  o.fire("pointerleave");
  assert.deepEqual(o.take(), [["hover", 1, 0], ["hover", 1, -1], ["hover", 1, -1]]);
});

test("a click pins, a double click puts that back and zooms to the pair; a drag is no click", () => {
  const o = stage();
  const press = (x, y, detail) => {
    o.fire("pointerdown", { x, y });
    o.fire("pointerup", { x, y });
    o.fire("click", { x, y, detail });
  };
  press(101, 101, 1);
  assert.deepEqual(o.take(), [["pin", 1, 0]]);
  press(101, 101, 2);
  o.fire("dblclick", { x: 101, y: 101 });
  assert.deepEqual(o.take(), [["pin", 1, 0], ["zoomToPair", 1, 0]]);
  o.fire("pointerdown", { x: 100, y: 100 });
  o.fire("pointermove", { x: 102, y: 101 });                                             // a shaking hand
  assert.deepEqual(o.take(), []);
  o.fire("pointermove", { x: 130, y: 90 });
  o.fire("pointermove", { x: 140, y: 80 });
  o.fire("pointerup", { x: 140, y: 80 });
  o.fire("click", { x: 140, y: 80 });
  assert.deepEqual(o.take(), [["hover", 1, -1], ["move", 1, 30, -10], ["move", 1, 40, -20]]);
  assert.deepEqual(o.plot.captured, [1]);
});

test("other buttons do nothing", () => {
  const o = stage();
  o.fire("pointerdown", { x: 100, y: 100, button: 2 });
  o.fire("pointermove", { x: 250, y: 300, button: -1 });
  o.fire("pointerup", { x: 250, y: 300, button: 2 });
  assert.deepEqual(o.take(), [["hover", 1, -1]]);
});

function dragged(o, props, way) {
  const [first, ...rest] = way;
  o.fire("pointerdown", { ...props, x: first[0], y: first[1] });
  for (const [x, y] of rest) o.fire("pointermove", { ...props, x, y });
  const [x, y] = way.at(-1);
  o.fire("pointerup", { ...props, x, y });
  return o.take().filter(([name]) => name !== "hover");
}

test("Shift and a drag draw a box that stops at the edge; it is gone when the button is up", () => {
  const o = stage();
  assert.ok(!o.fire("pointerdown", { x: 5, y: 5 }).taken && !o.plot.focused);              // the browser gives focus, without a ring
  o.fire("pointerup", { x: 5, y: 5 });
  assert.ok(o.fire("pointerdown", { x: 5, y: 5, shiftKey: true }).taken && o.plot.focused);
  o.forget();
  o.outlines.splice(0);
  assert.deepEqual(dragged(o, { shiftKey: true }, [[50, 60], [90, 90], [900, -30]]),
    [["within", "box", [[50, 60], [400, 0]]], ["select", 1, [0], "new"]]);
  assert.deepEqual(o.outlines.map((s) => s && s.path.length), [2, 2, null]);
});

test("tools draw without Shift; Ctrl or Cmd adds, Alt removes, else what is chosen holds", () => {
  const way = [[50, 50], [60, 50], [60, 51], [60, 80], [40, 80]];
  const lasso = stage({ tool: "lasso", combine: "remove" });
  assert.deepEqual(dragged(lasso, {}, way),
    [["within", "lasso", [[50, 50], [60, 50], [60, 80], [40, 80]]], ["select", 1, [0], "remove"]]);
  assert.equal(dragged(lasso, { ctrlKey: true }, way)[1][3], "add");
  assert.equal(dragged(lasso, { metaKey: true }, way)[1][3], "add");
  assert.equal(dragged(stage({ tool: "brush", combine: "add" }), { altKey: true }, way)[1][3], "remove");
  assert.deepEqual(dragged(stage({ tool: "box" }), {}, way)[0], ["within", "box", [[50, 50], [40, 80]]]);
  assert.equal(dragged(stage({ tool: "lasso" }), { shiftKey: true }, way)[0][1], "lasso");
});

test("the brush is seen before it paints and goes with the mouse", () => {
  const o = stage({ tool: "brush" });
  o.fire("pointermove", { x: 30, y: 40 });
  o.fire("pointerleave");
  assert.deepEqual(o.outlines, [{ tool: "brush", path: [[30, 40]] }, null]);
});

test("a cancelled drag selects nothing and leaves nothing drawn", () => {
  const o = stage({ tool: "lasso" });
  o.fire("pointerdown", { x: 10, y: 10 });
  o.fire("pointermove", { x: 60, y: 60 });
  o.fire("pointercancel");
  o.fire("pointerup", { x: 60, y: 60 });
  assert.ok(o.outlines.at(-1) === null && !o.take().some(([name]) => name === "select"));
});

test("a button let go outside ends the drag: the bare mouse neither pans nor draws", () => {
  for (const tool of ["move", "lasso"]) {
    const o = stage({ tool });
    o.fire("pointerdown", { x: 398, y: 100 });
    o.fire("pointermove", { x: 201, y: 100, buttons: 0, button: -1 });
    assert.deepEqual(o.take(), [["hover", 1, 1]]);
    o.fire("pointermove", { x: 250, y: 300, buttons: 0, button: -1 });
    assert.ok(o.take().every(([name]) => name === "hover") && !o.outlines.some(Boolean));
  }
});

test("Escape ends a drag and no more: nothing is cleared, selected or pinned", () => {
  for (const tool of ["move", "box"]) {
    const o = stage({ tool, focus: { panel: 1, point: 0 } });
    o.fire("pointerdown", { x: 100, y: 100 });
    o.fire("pointermove", { x: 150, y: 160 });
    o.take();
    key(o, "Escape");
    o.fire("pointermove", { x: 180, y: 180 });
    o.fire("pointerup", { x: 180, y: 180 });
    o.fire("click", { x: 180, y: 180 });
    assert.ok(o.take().every(([name]) => name === "hover"), tool);
    assert.ok(!o.outlines.at(-1));
    key(o, "Escape");
    assert.deepEqual(o.take(), [["clear"]]);
  }
});

test("another button pressed while a box is drawn: letting go of the first one selects, the outline goes", () => {
  const o = stage({ tool: "box" });
  o.fire("pointerdown", { x: 10, y: 10 });
  o.fire("pointermove", { x: 150, y: 150 });
  o.fire("pointermove", { x: 150, y: 150, button: 2, buttons: 3 });
  o.fire("pointermove", { x: 150, y: 150, button: 0, buttons: 2 });
  o.fire("pointerup", { x: 150, y: 150, button: 2 });
  o.fire("click", { x: 150, y: 150 });
  assert.deepEqual(o.take().filter(([name]) => name !== "hover"), [["within", "box", [[10, 10], [150, 150]]], ["select", 1, [0], "new"]]);
  assert.equal(o.outlines.at(-1), null);
});

test("touch: a tap is hover and stays, a tap beside all points clears; it never pins", () => {
  const o = stage();
  for (const [x, y] of [[120, 100], [320, 320]]) {
    o.touch("pointerdown", x, y);
    o.touch("pointermove", x + 3, y + 2);
    o.touch("pointerup", x + 3, y + 2);
    o.touch("pointerleave", x, y);
    o.fire("click", { x, y });                                                           // browsers send one after a tap
  }
  assert.deepEqual(o.take(), [["hover", 1, 0], ["hover", 1, -1]]);
});

test("touch: a long press pins once, and lifting the finger changes nothing", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const o = stage();
  o.touch("pointerdown", 105, 100);
  t.mock.timers.tick(499);
  assert.deepEqual(o.take(), []);
  t.mock.timers.tick(1);
  assert.deepEqual(o.take(), [["hover", 1, 0], ["pin", 1, 0]]);
  assert.ok(o.fire("contextmenu").taken);
  o.touch("pointerup", 105, 100);
  o.fire("click", { x: 105, y: 100 });
  assert.deepEqual(o.take(), []);
  o.touch("pointerdown", 105, 100);                                                      // a finger that moves is no press
  o.touch("pointermove", 105, 130);
  t.mock.timers.tick(900);
  o.touch("pointerup", 105, 130);
  assert.deepEqual(o.take(), []);
  const zoomed = stage({ zoom: 3 });                                                     // nor does a press become a drag
  zoomed.touch("pointerdown", 105, 100);
  t.mock.timers.tick(500);
  zoomed.take();
  zoomed.touch("pointermove", 205, 100);
  zoomed.touch("pointerup", 205, 100);
  assert.deepEqual(zoomed.take(), []);
});

test("touch: one finger leaves the page its scrolling, pans a zoomed map, and draws with a tool", () => {
  const swipe = (o) => {
    o.touch("pointerdown", 100, 300);
    o.touch("pointermove", 100, 320);
    o.touch("pointermove", 110, 350);
    o.touch("pointerup", 110, 350);
    return o.take();
  };
  assert.deepEqual(swipe(stage()), []);
  assert.deepEqual(swipe(stage({ zoom: 3 })), [["move", 1, 0, 20], ["move", 1, 10, 50]]);
  assert.deepEqual(swipe(stage({ tool: "lasso" })).map(([name]) => name), ["within", "select"]);
});

test("touch: two fingers zoom and pan about what is under them; the one left pans on", () => {
  const o = stage();
  o.touch("pointerdown", 100, 200);
  o.touch("pointerdown", 200, 200, 2);
  o.touch("pointermove", 50, 200);
  o.touch("pointermove", 250, 200, 2);
  assert.equal(o.view().k, 2);
  assert.deepEqual([100, 200].map((x) => x * o.view().k + o.view().tx), [50, 250]);
  assert.ok(o.take().every(([name]) => name === "move"));
  o.touch("pointerup", 250, 200, 2);
  o.touch("pointerup", 50, 200);
  assert.deepEqual(o.take(), []);                                                        // neither tap nor selection
});

test("touch: of three fingers two go on from where they are, whichever is lifted", () => {
  for (const lifted of [1, 2, 3]) {
    const o = stage({ zoom: 2 }), at = { 1: [100, 200], 2: [200, 200], 3: [150, 300] };
    for (const id of [1, 2, 3]) o.touch("pointerdown", ...at[id], id);
    o.touch("pointerup", ...at[lifted], lifted);
    const [a, b] = [1, 2, 3].filter((id) => id !== lifted), away = o.view();
    for (const id of [a, b]) o.touch("pointermove", at[id][0] + 10, at[id][1], id);
    assert.deepEqual(o.view(), { k: away.k, tx: away.tx + 10, ty: away.ty });
    o.touch("pointerup", at[b][0] + 10, at[b][1], b);
    o.touch("pointermove", at[a][0] + 40, at[a][1], a);
    assert.deepEqual(o.view(), { k: away.k, tx: away.tx + 40, ty: away.ty });
    assert.ok(o.take().every(([name]) => name === "move"));
  }
});

test("touch: fingers that came down elsewhere do nothing here", () => {
  const o = stage({ zoom: 3 });
  o.touch("pointerdown", 100, 200, 2);                                                   // the first one is on the page
  o.touch("pointermove", 150, 250, 2);
  o.touch("pointerup", 150, 250, 2);
  o.touch("pointerdown", 100, 200);
  o.touch("pointermove", 300, 300, 7);
  assert.deepEqual(o.take(), []);
});

test("touch: a second finger ends a lasso without selecting", () => {
  const o = stage({ tool: "lasso" });
  o.touch("pointerdown", 100, 100);
  o.touch("pointermove", 150, 150);
  o.touch("pointerdown", 200, 200, 2);
  o.touch("pointerup", 200, 200, 2);
  o.touch("pointerup", 150, 150);
  assert.ok(o.take().every(([name]) => name !== "select") && o.outlines.at(-1) === null);
});

test("the wheel zooms about the pointer and lets the page scroll where there is nothing to zoom out of", () => {
  const o = stage();
  assert.ok(!o.fire("wheel", { x: 100, y: 100, deltaY: 100, deltaMode: 0 }).taken);
  assert.deepEqual(o.take(), []);
  assert.ok(o.fire("wheel", { x: 100, y: 100, deltaY: -100, deltaMode: 0 }).taken);
  const { k, tx } = o.view();
  assert.ok(k > 1.2 && Math.abs(100 * k + tx - 100) < 1e-9);
  assert.deepEqual(o.take().at(-1), ["hover", 1, 0]);
  assert.ok(o.fire("wheel", { deltaY: 5, deltaMode: 0, ctrlKey: true }).taken);           // a touchpad's pinch never zooms the page
});

test("keys without a focus here: arrows find the feature nearest the middle", () => {
  for (const focus of [null, { panel: 0, point: 5 }]) {
    const o = stage({ focus });
    assert.deepEqual(key(o, "ArrowRight"), { taken: true, stopped: true });
    assert.deepEqual(o.take(), [["hover", 1, 0]]);
  }
  const o = stage();
  for (const name of ["Enter", "g", "s"]) assert.ok(key(o, name).taken);
  assert.deepEqual(o.take(), []);
  key(o, "z");
  key(o, "0");
  assert.deepEqual(o.take(), [["zoomToPair", 1, -1], ["zoomToPair", 1, -1]]);
});

test("keys with a focus: arrows walk the partners, Shift walks the map", () => {
  const o = stage({ focus: { panel: 1, point: 0 } });
  for (const name of ["ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp"]) key(o, name);
  assert.deepEqual(o.take(), [["walk", 1], ["walk", 1], ["walk", -1], ["walk", -1]]);
  key(o, "ArrowRight", { shiftKey: true });
  key(o, "ArrowLeft", { shiftKey: true });                                               // nothing lies there
  assert.deepEqual(o.take(), [["hover", 1, 1]]);
  for (const name of ["Enter", " ", "g", "z", "s", "Escape"]) key(o, name);
  assert.deepEqual(o.take(), [["pin", 1, 0], ["pin", 1, 0], ["go"], ["zoomToPair", 1, 0], ["select", 1, [0], "add"], ["clear"]]);
});

test("s takes a selected feature out; a focus in another panel is pinned and zoomed to from here", () => {
  const o = stage({ focus: { panel: 1, point: 0 }, selected: [1] });
  key(o, "s");
  assert.deepEqual(o.take(), [["select", 1, [0], "remove"]]);
  const other = stage({ focus: { panel: 0, point: 7 } });
  key(other, "Enter");
  key(other, "z");
  assert.deepEqual(other.take(), [["pin", 0, 7], ["zoomToPair", 0, 7]]);
});

test("plus and minus zoom about the middle; keys that are not ours, and those with modifiers, pass", () => {
  const o = stage();
  key(o, "+");
  assert.equal(o.view().k, 1.5);
  key(o, "-");
  assert.ok(Math.abs(o.view().k - 1) < 1e-9);
  o.take();
  for (const [name, more] of [["a", {}], ["Tab", {}], ["z", { ctrlKey: true }], ["ArrowLeft", { altKey: true }], ["s", { metaKey: true }]])
    assert.deepEqual(key(o, name, more), { taken: false, stopped: false });
  assert.deepEqual(o.take(), []);
});
