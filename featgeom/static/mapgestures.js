/**
 * Pointer, wheel, touch and keys of one panel, as actions. Nothing is drawn or looked up here: the panel does both.
 */

import { pinched, zoomAt } from "./view.js";

/** @typedef {import("./view.js").View} View */
/** @typedef {{tool: "move" | "box" | "lasso" | "brush", combine: "new" | "add" | "remove"}} Tool */
/** @typedef {{tool: Tool["tool"], path: number[][]}} Outline corners of a box or lasso, or a brush's way */
/**
 * @typedef {Object} Surface what gestures need of a panel
 * @property {number} index
 * @property {() => View} view
 * @property {() => import("./view.js").Place} place
 * @property {() => {width: number, height: number, k0: number}} size
 * @property {(x: number, y: number, reach: number) => number} pick point near a pixel, or -1
 * @property {() => number} middle point nearest the middle, or -1
 * @property {(point: number, dx: number, dy: number) => number} toward next point in a direction, or -1
 * @property {(outline: Outline | null) => void} outline shows what is being drawn around points
 * @property {(outline: Outline) => number[]} within points in it
 * @property {(view: View) => void} move
 * @property {() => Tool} tool
 * @property {() => import("./linkedmap.js").Derived} derived
 */

const PICK = 14, TOUCH = 28, SLIP = 4, TOUCH_SLIP = 10, HOLD = 500, STEP = 3, MAX_ZOOM = 500;

/** @type {Record<string, [number, number]>} */
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/**
 * @param {HTMLElement} plot
 * @param {Surface} panel
 * @param {import("./linkedmap.js").Act} act
 * @returns {() => void} forget what is under way
 */
export function gestures(plot, panel, act) {
  const { index } = panel;
  /** @typedef {{x: number, y: number}} Spot */
  /** @type {Map<number, Spot>} */
  const fingers = new Map();
  /** @typedef {Spot & Tool & {view: View, moved: boolean, path: number[][]}} Drag */
  /** @type {Drag | null} */
  let drag = null;
  /** @type {{view: View, from: Spot[]} | null} */
  let pinch = null;
  let touched = false, dragged = false, held = false, clicked = -1, pressed = { x: 0, y: 0 };
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;

  /** @param {MouseEvent} e @returns {Spot} */
  const at = (e) => {
    const r = plot.getBoundingClientRect();
    return { x: e.clientX - r.left - plot.clientLeft, y: e.clientY - r.top - plot.clientTop };
  };
  /** @param {Spot} o */
  const pick = ({ x, y }) => panel.pick(x, y, touched ? TOUCH : PICK);
  /** @param {Spot} o @returns {[number, number]} */
  const inside = ({ x, y }) => {
    const { width, height } = panel.size();
    return [Math.max(0, Math.min(width, x)), Math.max(0, Math.min(height, y))];
  };
  const limits = () => {
    const { k0 } = panel.size();
    return /** @type {const} */ ([k0, k0 * MAX_ZOOM]);
  };
  /** @param {number} x @param {number} y @param {number} factor */
  const zoom = (x, y, factor) => panel.move(zoomAt(panel.view(), x, y, factor, ...limits()));
  /** @param {MouseEvent} e @returns {Tool} */
  const toolOf = (e) => {
    const { tool, combine } = panel.tool();
    return {
      tool: tool === "move" && e.shiftKey ? "box" : tool,
      combine: e.ctrlKey || e.metaKey ? "add" : e.altKey ? "remove" : combine,
    };
  };
  /** @param {number} x @param {number} y */
  const brush = (x, y) => panel.outline({ tool: "brush", path: [[x, y]] });

  /** @param {Spot} spot @param {Partial<Drag>} how */
  function begin(spot, how) {
    drag = { ...spot, view: panel.view(), path: [inside(spot)], tool: "move", combine: "new", moved: false, ...how };
  }

  function forget() {
    clearTimeout(timer);
    fingers.clear();
    drag = pinch = null;
    panel.outline(null);
  }

  function hold() {
    held = true;
    const i = drag ? pick(drag) : -1;
    if (i < 0) return;
    act.hover(index, i);
    act.pin(index, i);
  }

  /** @param {Drag} o @param {Spot} spot */
  function follow(o, { x, y }) {
    if (o.tool === "move") return panel.move({ ...o.view, tx: o.view.tx + x - o.x, ty: o.view.ty + y - o.y });
    const [cx, cy] = inside({ x, y }), [lx, ly] = o.path[o.path.length - 1];
    if (o.tool === "box") o.path = [o.path[0], [cx, cy]];
    else if (Math.hypot(cx - lx, cy - ly) >= STEP) o.path.push([cx, cy]);
    panel.outline(o);
  }

  plot.addEventListener("pointerdown", (e) => {
    if (e.button !== 0) return;
    const spot = pressed = at(e);
    touched = e.pointerType === "touch";
    held = false;
    if (touched) {
      if (!e.isPrimary && !fingers.size) return;   // the first finger lies elsewhere
      fingers.set(e.pointerId, spot);
      clearTimeout(timer);
      if (fingers.size > 1) {
        drag = null;
        panel.outline(null);
        pinch = { view: panel.view(), from: [...fingers.values()] };
        return;
      }
      timer = setTimeout(hold, HOLD);
    }
    begin(spot, toolOf(e));
    if (!e.shiftKey) return;
    e.preventDefault();   // no text is selected up to here; but then the browser gives no focus either
    plot.focus({ preventScroll: true });
  });

  plot.addEventListener("pointermove", (e) => {
    const spot = at(e), touch = e.pointerType === "touch";
    if (touch) {
      if (!fingers.has(e.pointerId)) return;
      fingers.set(e.pointerId, spot);
      if (pinch) {
        const now = [...fingers.values()].slice(0, 2);
        return panel.move(pinched(pinch.view, pinch.from, now, ...limits()));
      }
    }
    if (drag && !touch && !(e.buttons & 1)) {   // let go elsewhere unseen, or here with another button still down
      if (e.button === 0) return release(e);
      forget();
    }
    if (!drag) {
      touched = touch;
      if (panel.tool().tool === "brush") brush(spot.x, spot.y);
      return act.hover(index, pick(spot));
    }
    if (!drag.moved) {
      if (held || Math.hypot(spot.x - drag.x, spot.y - drag.y) < (touch ? TOUCH_SLIP : SLIP)) return;
      clearTimeout(timer);
      drag.moved = true;
      plot.setPointerCapture(e.pointerId);
      if (!touch) act.hover(index, -1);
    }
    if (touch && drag.tool === "move" && panel.place().zoom <= 1) return;   // the page scrolls
    follow(drag, spot);
  });

  /** @param {PointerEvent} e */
  function release(e) {
    const done = drag;
    drag = null;
    clearTimeout(timer);
    fingers.delete(e.pointerId);
    dragged = !done || done.moved || Boolean(pinch) || held;   // then what follows is no click
    if (pinch) {
      const from = [...fingers.values()];
      pinch = from.length > 1 ? { view: panel.view(), from } : null;
      if (from.length === 1) begin(from[0], { moved: true });
      return;
    }
    if (!done) return;
    if (!done.moved) {
      if (touched && !held) act.hover(index, pick(done));
    } else if (done.tool !== "move") {
      panel.outline(null);
      act.select(index, panel.within(done), done.combine);
    }
  }
  plot.addEventListener("pointerup", release);

  plot.addEventListener("click", (e) => {
    if (dragged || touched || e.detail > 1) return;
    clicked = pick(pressed);   // a click's own place is rounded: it could mean another point than the hovered one
    if (clicked >= 0) act.pin(index, clicked);
  });
  plot.addEventListener("dblclick", () => {
    if (dragged) return;
    if (touched) clicked = pick(pressed);
    else if (clicked >= 0) act.pin(index, clicked);   // the first click pinned or unpinned it: put that back
    act.zoomToPair(index, clicked);
  });
  plot.addEventListener("pointercancel", forget);
  plot.addEventListener("pointerleave", (e) => {
    if (drag || e.pointerType === "touch") return;
    panel.outline(null);
    act.hover(index, -1);
  });
  plot.addEventListener("contextmenu", (e) => {
    if (touched && (held || fingers.size)) e.preventDefault();   // a long press is ours
  });
  plot.addEventListener("touchmove", (e) => {
    if (e.touches.length > 1 && e.cancelable) e.preventDefault();   // else the page takes the second finger
  }, { passive: false });

  plot.addEventListener("wheel", (e) => {
    const step = e.deltaY * (e.deltaMode === 1 ? 16 : e.deltaMode === 2 ? 400 : 1);
    if (step > 0 && panel.place().zoom <= 1 && !e.ctrlKey) return;   // nothing to zoom out of: let the page scroll
    e.preventDefault();
    const spot = at(e), fine = e.ctrlKey ? 0.01 : 0.002;   // a pinch on a touchpad is a wheel with Ctrl, in small steps
    zoom(spot.x, spot.y, Math.exp(-Math.max(-240, Math.min(240, step)) * fine));
    act.hover(index, pick(spot));
  }, { passive: false });

  /**
   * @param {KeyboardEvent} e
   * @returns {boolean | void} false when the key is not ours
   */
  function key(e) {
    const { focus, looks } = panel.derived(), here = focus?.panel === index ? focus.point : -1;
    const { width, height } = panel.size();
    if (e.key in ARROWS) {
      const [dx, dy] = ARROWS[e.key];
      if (here >= 0 && !e.shiftKey) return act.walk(dx + dy);
      const next = here < 0 ? panel.middle() : panel.toward(here, dx, dy);
      if (next >= 0) act.hover(index, next);
    } else if (e.key === "+" || e.key === "=") zoom(width / 2, height / 2, 1.5);
    else if (e.key === "-") zoom(width / 2, height / 2, 1 / 1.5);
    else if (e.key === "0") act.zoomToPair(index, -1);
    else if (e.key === "z") act.zoomToPair(focus?.panel ?? index, focus?.point ?? -1);
    else if (e.key === "Escape") {
      if (drag || pinch) forget();
      else act.clear();
    } else if (e.key === "Enter" || e.key === " ") {
      if (focus && !e.repeat) act.pin(focus.panel, focus.point);
    } else if (e.key === "g") {
      if (focus) act.go();
    } else if (e.key === "s") {
      const on = focus && looks[focus.panel]?.selected[focus.point];
      if (focus && !e.repeat) act.select(focus.panel, [focus.point], on ? "remove" : "add");
    } else return false;
  }
  plot.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || key(e) === false) return;
    e.preventDefault();
    e.stopPropagation();   // a notebook has its own keys
  });
  return forget;
}
