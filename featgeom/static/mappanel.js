/**
 * One panel of the linked map: a base canvas with all points, an overlay canvas with the few that are meant, and text
 * in the DOM. It draws what the state says and turns pointer and keys into actions; it knows nothing of other panels.
 */

import { cssVar, el, shown } from "./kit.js";
import { gridInBox, gridNearest, gridToward } from "./grid.js";
import { BEYOND, sameToken } from "./mapdata.js";
import { evidence, grouped, nameOf, overlap, placeLabels, title } from "./maplabels.js";
import { radiusFor, readStyles, styleOf } from "./mapstyle.js";
import { cpuBackend } from "./splat.js";
import { fitBox, keepInside, placeOf, viewAt, zoomAt } from "./view.js";

/** @typedef {{panel: number, point: number, partners: import("./mapdata.js").Partner[]}} Focus */
/**
 * @typedef {Object} Derived what follows from the state
 * @property {Focus | null} focus the hovered point, or else the pinned one
 * @property {Focus[]} pinned
 * @property {import("./mapstyle.js").Looks[]} looks one per panel
 */
/**
 * @typedef {Object} Actions
 * @property {(panel: number, point: number) => void} hover -1 for none
 * @property {(panel: number, point: number) => void} pin or unpin
 * @property {(panel: number, point: number) => void} zoomToPair -1 resets the views
 * @property {(panel: number, points: number[], add: boolean) => void} select
 * @property {(panel: number, place: import("./view.js").Place) => void} move
 * @property {() => void} clear
 */

const PICK = 14, PAD = 22, MAX_ZOOM = 500, LABELS = 3;

/**
 * @param {import("./mapdata.js").MapData} data
 * @param {number} index
 * @param {Actions} act
 * @param {string} hint id of the element that explains the keys
 */
export function createPanel(data, index, act, hint) {
  const p = data.panels[index];
  const base = el("canvas", { class: "lm-base" }), over = el("canvas", { class: "lm-over" });
  const names = el("div", { class: "lm-names", "aria-hidden": "true" });
  const labels = el("div", { class: "lm-labels", "aria-hidden": "true" });   // the live region says the same
  const plot = el("div", {
    class: "lm-plot", tabindex: "0", role: "application", "aria-roledescription": "map of features",
    "aria-describedby": hint,
    "aria-label": `${shown(p.name, 40)}: ${grouped(p.n)} features. ${shown(p.note)}`,
  }, base, over, names, labels);
  const count = el("span", { class: "lm-count" });
  const element = el("section", { class: "lm-panel" },
    el("header", {}, el("h3", { class: "fg-text" }, shown(p.name, 60)), count),
    el("p", { class: "lm-note fg-text" }, shown(p.note)), plot);
  const backend = cpuBackend(base), ctx = /** @type {CanvasRenderingContext2D} */ (over.getContext("2d"));
  backend.setPoints(p.x, p.y);
  plot.dataset.backend = backend.name;

  const world = { x0: 0, y0: 0, x1: Math.max(1, ...extremes(p.x)), y1: Math.max(1, ...extremes(p.y)) };
  const clusterAt = clusterCentres(p);
  let width = 0, height = 0, k0 = 1, ratio = 1;
  /** @type {import("./view.js").View} */
  let view = { k: 1, tx: 0, ty: 0 };
  /** @type {import("./view.js").Place} */
  let place = home();
  /** @type {Derived} */
  let derived = { focus: null, pinned: [], looks: [] };
  /** @type {{x0: number, y0: number, x1: number, y1: number} | null} */
  let box = null;
  /** @type {ReturnType<typeof readStyles>} */
  let styles = { paper: [255, 255, 255], table: [] };
  let mark = "", markEdge = "", ink = "", paper = "", shade = "", boxMode = false;

  function home() {
    return { x: (world.x0 + world.x1) / 2, y: (world.y0 + world.y1) / 2, zoom: 1 };
  }
  /** @param {number} i */
  const sx = (i) => p.x[i] * view.k + view.tx;
  /** @param {number} i */
  const sy = (i) => p.y[i] * view.k + view.ty;
  /** @param {number} i */
  const inside = (i) => sx(i) >= 0 && sx(i) <= width && sy(i) >= 0 && sy(i) <= height;

  /** Take the size on screen; false while there is none. */
  function measure() {
    width = plot.clientWidth;
    height = plot.clientHeight;
    ratio = Math.min(3, window.devicePixelRatio || 1);
    if (!width || !height) return false;
    k0 = fitBox(world, width, height, Math.min(PAD, width / 8)).k;
    over.width = Math.round(width * ratio);
    over.height = Math.round(height * ratio);
    setPlace(place);
    return true;
  }

  /** @param {import("./view.js").Place} next */
  function setPlace(next) {
    place = next;
    view = viewAt(place, width, height, k0);
    plot.dataset.view = [view.k, view.tx, view.ty].join(",");
  }

  /** Take the theme's colours. */
  function retheme() {
    styles = readStyles(plot);
    const names = ["mark", "mark-edge", "ink", "paper", "box"];
    [mark, markEdge, ink, paper, shade] = names.map((name) => cssVar(plot, `--lm-${name}`));
  }

  /** Give every point its look. */
  function restyle() {
    const looks = derived.looks[index];
    backend.setStyle(styleOf(looks), styles.table, styles.paper);
    const alone = looks.linked.reduce((sum, v) => sum - v, p.n);
    count.replaceChildren(looks.selected.size ? el("b", {}, `${grouped(looks.selected.size)} selected · `) : "",
      el("span", { class: "lm-hollow" }), `${grouped(alone)} of ${grouped(p.n)} have no partner beyond chance`);
  }

  function drawBase() {
    if (!width) return;
    plot.dataset.drawn = String(backend.draw(view, width, height, ratio, radiusFor(p.n, place.zoom)));
    drawNames();
  }

  /**
   * A point that is meant: yellow, with a dark ring and one of paper around it, so that neither colour nor theme
   * hides it.
   * @param {number} i
   * @param {number} r
   * @param {boolean} dashed for pairs that are only a shared token
   * @param {boolean} filled
   */
  function drawMark(i, r, dashed, filled) {
    const x = sx(i), y = sy(i);
    /** @param {number} radius @param {string} colour @param {number} line */
    const ring = (radius, colour, line) => {
      ctx.beginPath();
      ctx.arc(x, y, radius, 0, 2 * Math.PI);
      ctx.strokeStyle = colour;
      ctx.lineWidth = line;
      ctx.stroke();
    };
    if (filled) {
      ctx.beginPath();
      ctx.arc(x, y, r, 0, 2 * Math.PI);
      ctx.fillStyle = mark;
      ctx.fill();
    } else ring(r - 1.5, mark, 3);
    ring(r + 2.5, paper, 2);
    ring(r + 0.75, markEdge, 1.75);
    if (!dashed) return;
    ctx.setLineDash([3, 3]);
    ring(r + 5, ink, 1.5);
    ctx.setLineDash([]);
  }

  function drawOverlay() {
    if (!width) return;
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    ctx.clearRect(0, 0, width, height);
    for (const pin of derived.pinned) {
      for (const o of pin.partners) if (o.panel === index) drawMark(o.point, 5, onlyToken(o), false);
      if (pin.panel === index) drawMark(pin.point, 5, false, true);
    }
    const { focus } = derived;
    if (focus) {
      for (const o of [...focus.partners].reverse()) if (o.panel === index) drawMark(o.point, 6, onlyToken(o), true);
      if (focus.panel === index) drawMark(focus.point, 7.5, false, true);
    }
    if (box) {
      ctx.fillStyle = shade;
      ctx.strokeStyle = ink;
      ctx.lineWidth = 1;
      ctx.setLineDash([4, 3]);
      ctx.fillRect(box.x0, box.y0, box.x1 - box.x0, box.y1 - box.y0);
      ctx.strokeRect(box.x0 + 0.5, box.y0 + 0.5, box.x1 - box.x0, box.y1 - box.y0);
      ctx.setLineDash([]);
    }
  }

  /** @param {import("./mapdata.js").Partner} o */
  function onlyToken(o) {
    return sameToken(data.sets[o.set], o.edge);
  }

  /** Labels are measured to be placed, which makes the browser lay out the page: once a frame is enough. */
  function drawLabels() {
    const { focus } = derived;
    labels.replaceChildren();
    names.classList.toggle("lm-quiet", Boolean(focus));
    if (!focus) return;
    /** @type {{node: HTMLElement, point: number}[]} */
    const made = [];
    if (focus.panel === index) made.push({ node: focusLabel(focus), point: focus.point });
    const mine = focus.partners.filter((o) => o.panel === index);
    const room = width < 440 ? 2 : LABELS;
    mine.slice(0, room).forEach((o, rank) => {
      made.push({ node: partnerLabel(o, rank === room - 1 ? mine.length - room : 0), point: o.point });
    });
    for (const { node, point } of made) {
      if (!inside(point)) node.append(el("div", { class: "lm-away" }, "outside this view; z zooms to it"));
      labels.prepend(node);   // the best lies on top
    }
    const wanted = made.map(({ node, point }) => ({
      x: Math.max(0, Math.min(width, sx(point))), y: Math.max(0, Math.min(height, sy(point))),
      w: node.offsetWidth, h: node.offsetHeight,
    }));
    placeLabels(wanted, width, height).forEach((spot, s) => {
      made[s].node.style.transform = `translate(${Math.round(spot.x)}px, ${Math.round(spot.y)}px)`;
    });
  }

  /** @param {Focus} focus */
  function focusLabel({ panel, point, partners }) {
    const cluster = p.cluster && p.cluster[point] >= 0 ? p.clusterLabels[p.cluster[point]] : "";
    const facts = [];
    if (p.fires) facts.push(`fires on ${grouped(p.fires[point])} tokens`);
    if (cluster) facts.push(`cluster ${shown(cluster, 60)}`);
    const rows = partners.slice(0, LABELS).map((o) => el("div", { class: "lm-row" },
      el("div", {}, "→ ", el("b", { class: "fg-text" }, nameOf(data, o.panel, o.point)), beyond(o)),
      evidence(data.sets[o.set], o.edge)));
    const rest = partners.length - rows.length;
    /** @param {string} text */
    const line = (text) => (text ? el("div", { class: "lm-facts fg-text" }, text) : null);
    return el("div", { class: "lm-label lm-focus" }, title(data, panel, point), line(facts.join(" · ")), ...rows,
      line(!partners.length && data.sets.length ? "no partner at this score" : ""),
      line(rest > 0 ? `and ${rest} more partner${rest > 1 ? "s" : ""}` : ""));
  }

  /** @param {import("./mapdata.js").Partner} o @param {number} rest */
  function partnerLabel(o, rest) {
    return el("div", { class: "lm-label" },
      title(data, o.panel, o.point), evidence(data.sets[o.set], o.edge), beyond(o),
      rest > 0 ? el("div", { class: "lm-facts" }, `and ${rest} more in this panel`) : null);
  }

  /** @param {import("./mapdata.js").Partner} o */
  function beyond(o) {
    return data.sets[o.set].flags[o.edge] & BEYOND ? null : el("span", { class: "lm-weak" }, "no better than chance");
  }

  function drawNames() {
    names.replaceChildren();
    /** @type {import("./maplabels.js").Rect[]} */
    const taken = [];
    for (const { x, y, text } of clusterAt) {
      const cx = x * view.k + view.tx, cy = y * view.k + view.ty;
      if (cx < 0 || cy < 0 || cx > width || cy > height) continue;
      const w = 6.3 * Math.min(28, [...text].length) + 8, h = 16;
      const x0 = Math.max(2, Math.min(width - w - 2, cx - w / 2));
      const y0 = Math.max(2, Math.min(height - h - 2, cy - h / 2));
      const rect = { x: x0, y: y0, w, h };
      if (taken.some((o) => overlap(o, rect))) continue;
      taken.push({ x: x0 - 4, y: y0 - 3, w: w + 8, h: h + 6 });
      const style = `left:${(x0 + w / 2).toFixed(1)}px;top:${(y0 + h / 2).toFixed(1)}px`;
      names.append(el("span", { class: "fg-text", style }, text));
      if (taken.length >= 24) break;
    }
  }

  // ---- pointer and keys

  /** @typedef {import("./view.js").View} View */
  /** @type {{x: number, y: number, view: View, moved: boolean, boxing: boolean, add: boolean} | null} */
  let drag = null;
  let dragged = false, clicked = -1;

  /** @param {MouseEvent} e */
  const at = (e) => {
    const r = plot.getBoundingClientRect();
    return { x: e.clientX - r.left - plot.clientLeft, y: e.clientY - r.top - plot.clientTop };
  };
  /** @param {number} x @param {number} y @returns {[number, number]} */
  const worldAt = (x, y) => [(x - view.tx) / view.k, (y - view.ty) / view.k];
  /** @param {number} x @param {number} y @param {number} [reach] */
  const pick = (x, y, reach = PICK) => gridNearest(p.grid, ...worldAt(x, y), reach / view.k);

  plot.addEventListener("pointerdown", (e) => {
    if (e.button !== 0) return;
    const { x, y } = at(e);
    drag = { x, y, view, moved: false, boxing: boxMode || e.shiftKey, add: e.ctrlKey || e.metaKey };
    plot.focus({ preventScroll: true });
    if (drag.boxing) e.preventDefault();
  });
  plot.addEventListener("pointermove", (e) => {
    const { x, y } = at(e);
    if (!drag) return act.hover(index, pick(x, y, e.pointerType === "touch" ? 2 * PICK : PICK));
    if (!drag.moved && Math.hypot(x - drag.x, y - drag.y) < 4) return;
    if (!drag.moved) {
      drag.moved = true;
      plot.setPointerCapture(e.pointerId);
      act.hover(index, -1);
    }
    if (drag.boxing) {
      box = { x0: drag.x, y0: drag.y, x1: Math.max(0, Math.min(width, x)), y1: Math.max(0, Math.min(height, y)) };
      drawOverlay();
    } else moveTo({ ...drag.view, tx: drag.view.tx + x - drag.x, ty: drag.view.ty + y - drag.y });
  });
  plot.addEventListener("pointerup", (e) => {
    const done = drag;
    drag = null;
    dragged = Boolean(done?.moved);
    if (!done || e.button !== 0) return;
    if (box) {
      const inBox = gridInBox(p.grid, ...worldAt(box.x0, box.y0), ...worldAt(box.x1, box.y1));
      box = null;
      act.select(index, inBox, done.add);
      drawOverlay();
    }
  });
  plot.addEventListener("click", (e) => {
    if (dragged || e.detail > 1) return;
    const { x, y } = at(e), i = pick(x, y, /** @type {PointerEvent} */ (e).pointerType === "touch" ? 2 * PICK : PICK);
    clicked = i;
    if (i >= 0) act.pin(index, i);
  });
  plot.addEventListener("pointercancel", () => {
    drag = box = null;
    drawOverlay();
  });
  plot.addEventListener("pointerleave", () => {
    if (!drag) act.hover(index, -1);
  });
  plot.addEventListener("dblclick", (e) => {
    if (dragged) return;
    if (clicked >= 0) act.pin(index, clicked);   // the first click pinned or unpinned it: put that back
    act.zoomToPair(index, clicked);
  });
  plot.addEventListener("wheel", (e) => {
    const step = e.deltaY * (e.deltaMode === 1 ? 16 : e.deltaMode === 2 ? 400 : 1);
    if (step > 0 && place.zoom <= 1) return;   // nothing to zoom out of: let the page scroll
    e.preventDefault();
    const { x, y } = at(e);
    zoom(x, y, Math.exp(-Math.max(-240, Math.min(240, step)) * 0.002));
    act.hover(index, pick(x, y));
  }, { passive: false });

  /** @param {import("./view.js").View} next */
  const moveTo = (next) => act.move(index, placeOf(keepInside(next, world, width, height), width, height, k0));
  /** @param {number} x @param {number} y @param {number} factor */
  const zoom = (x, y, factor) => moveTo(zoomAt(view, x, y, factor, k0, k0 * MAX_ZOOM));

  /** @type {Record<string, [number, number]>} */
  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  plot.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const here = derived.focus?.panel === index ? derived.focus.point : -1;
    if (e.key in ARROWS) {
      const [dx, dy] = ARROWS[e.key];
      const next = here < 0 ? gridNearest(p.grid, ...worldAt(width / 2, height / 2), Infinity, inside)
        : gridToward(p.grid, p.x[here], p.y[here], dx, dy, inside);
      if (next >= 0) act.hover(index, next);
    } else if (e.key === "Enter" || e.key === " ") {
      if (here >= 0) act.pin(index, here);
    } else if (e.key === "z") act.zoomToPair(index, here);
    else if (e.key === "0") act.zoomToPair(index, -1);
    else if (e.key === "+" || e.key === "=") zoom(width / 2, height / 2, 1.5);
    else if (e.key === "-") zoom(width / 2, height / 2, 1 / 1.5);
    else if (e.key === "Escape") act.clear();
    else return;
    e.preventDefault();
    e.stopPropagation();   // a notebook has its own keys
  });

  return {
    element, plot, home, measure, setPlace, retheme, restyle, drawBase, drawOverlay, drawLabels,
    size: () => ({ width, height, k0 }),
    place: () => place,
    /** @param {Derived} next */
    setDerived(next) {
      derived = next;
    },
    /** @param {boolean} on */
    setBoxMode(on) {
      boxMode = on;
      plot.classList.toggle("lm-boxing", on);
    },
    dispose: () => backend.dispose(),
  };
}

/**
 * Largest value, as a list of one or none: `Math.max(...x)` fails on long arrays.
 * @param {ArrayLike<number>} x
 */
function extremes(x) {
  let top = -Infinity;
  for (let i = 0; i < x.length; i++) if (x[i] > top) top = x[i];
  return x.length ? [top] : [];
}

/**
 * Where each cluster's name stands: at the medians of its points, larger clusters first.
 * @param {import("./mapdata.js").PanelData} p
 */
function clusterCentres(p) {
  const { cluster } = p;
  if (!cluster) return [];
  /** @type {number[][]} */
  const members = p.clusterLabels.map(() => []);
  for (let i = 0; i < p.n; i++) if (cluster[i] >= 0) members[cluster[i]].push(i);
  /** @param {ArrayLike<number>} v @param {number[]} which */
  const median = (v, which) => which.map((i) => v[i]).sort((a, b) => a - b)[which.length >> 1];
  return members.map((which, c) => ({ which, text: shown(p.clusterLabels[c], 28) }))
    .filter((o) => o.which.length && o.text)
    .sort((a, b) => b.which.length - a.which.length)
    .map(({ which, text }) => ({ x: median(p.x, which), y: median(p.y, which), text }));
}
