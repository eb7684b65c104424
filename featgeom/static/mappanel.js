/**
 * One panel of the linked map: a base canvas with all points, an overlay canvas with the few that are meant, and text
 * in the DOM. It draws what the state says; mapgestures.js turns pointer and keys into actions. It knows nothing of
 * other panels.
 */

import { cssVar, el, shown } from "./kit.js";
import { gridInBox, gridInCircle, gridInPolygon, gridNearest, gridToward } from "./grid.js";
import { sameToken } from "./mapdata.js";
import { gestures } from "./mapgestures.js";
import { evidence, grouped, leaderOf, placeLabels, title } from "./maplabels.js";
import { clustersOf, placeNames, rectOf, stepAside } from "./mapnames.js";
import { radiusFor, readStyles, styleOf } from "./mapstyle.js";
import { cpuBackend } from "./splat.js";
import { fitBox, keepInside, placeOf, viewAt } from "./view.js";

/** @typedef {import("./linkedmap.js").Derived} Derived */
/**
 * @typedef {Object} Mark a point that is meant
 * @property {number} point
 * @property {number} x
 * @property {number} y
 * @property {number} r
 * @property {boolean} filled
 * @property {boolean} dashed for pairs that are only a shared token
 * @property {boolean} walked the partner that is walked to
 */

const PAD = 22, LABELS = 3, BRUSH = 18;

/**
 * @param {import("./mapdata.js").MapData} data
 * @param {number} index
 * @param {import("./linkedmap.js").Act} act
 * @param {string} hint id of the element that explains the keys
 */
export function createPanel(data, index, act, hint) {
  const p = data.panels[index];
  const base = el("canvas", { class: "lm-base" }), over = el("canvas", { class: "lm-over" });
  const names = el("div", { class: "lm-names", "aria-hidden": "true" });
  const labels = el("div", { class: "lm-labels", "aria-hidden": "true" });   // the live region says the same
  const sampled = el("div", { class: "lm-sample", hidden: true });
  const plot = el("div", {
    class: "lm-plot", tabindex: "0", role: "application", "aria-roledescription": "map of features",
    "aria-describedby": hint,
    "aria-label": `${shown(p.name, 40)}: ${grouped(p.n)} features. ${shown(p.note)}`,
  }, base, names, over, sampled, labels);
  const count = el("span", { class: "lm-count" });
  const element = el("section", { class: "lm-panel" },
    el("header", {}, el("h3", { class: "fg-text", dir: "auto" }, shown(p.name, 60)), count),
    el("p", { class: "lm-note fg-text", dir: "auto" }, shown(p.note)), plot);
  const backend = cpuBackend(base), ctx = /** @type {CanvasRenderingContext2D} */ (over.getContext("2d"));
  backend.setPoints(p.x, p.y);
  plot.dataset.backend = backend.name;

  const world = { x0: 0, y0: 0, x1: top(p.x), y1: top(p.y) };
  const clusters = clustersOf(p);
  let width = 0, height = 0, k0 = 1, ratio = 1;
  /** @type {import("./view.js").View} */
  let view = { k: 1, tx: 0, ty: 0 };
  /** @type {import("./view.js").Place} */
  let place = home();
  /** @type {Derived} */
  let derived = /** @type {any} */ ({ focus: null, partner: 0, pinned: [], looks: [], allowed: [] });
  /** @type {import("./mapgestures.js").Outline | null} */
  let outline = null;
  /** @type {ReturnType<typeof readStyles>} */
  let styles;
  /** @type {Uint16Array} */
  let of = new Uint16Array(p.n);
  let mark = "", markEdge = "", ink = "", paper = "", shade = "", scroll = "", boxes = false;
  /** @type {import("./mapgestures.js").Tool} */
  let tool = { tool: "move", combine: "new" };
  /** @type {import("./mapnames.js").Pill[]} where names stand when nothing is marked */
  let spots = [];
  /** @type {import("./mapnames.js").Pill[]} where they stand */
  let pills = [];
  /** @type {HTMLElement[]} */
  let pillNodes = [];
  /** @type {{focus: Derived["focus"], lines: number[][]}} from labels to their marks */
  let leaders = { focus: null, lines: [] };

  function home() {
    return { x: (world.x0 + world.x1) / 2, y: (world.y0 + world.y1) / 2, zoom: 1 };
  }
  /** @param {number} i */
  const sx = (i) => p.x[i] * view.k + view.tx;
  /** @param {number} i */
  const sy = (i) => p.y[i] * view.k + view.ty;
  /** @param {number} i */
  const inside = (i) => sx(i) >= 0 && sx(i) <= width && sy(i) >= 0 && sy(i) <= height;
  /** @param {number} i */
  const allowed = (i) => !derived.allowed[index] || derived.allowed[index][i] === 1;
  /** @param {number} i */
  const seen = (i) => inside(i) && allowed(i);
  const size = () => ({ width, height, k0 });
  /** @param {number} x @param {number} y @returns {[number, number]} */
  const worldAt = (x, y) => [(x - view.tx) / view.k, (y - view.ty) / view.k];

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
    letScroll();
  }

  /** One finger scrolls the page while the map has nothing to do with it. */
  function letScroll() {
    const next = tool.tool === "move" && place.zoom <= 1 ? "pan-x pan-y" : "none";
    if (next !== scroll) plot.style.touchAction = scroll = next;
  }

  /** Take the theme's colours. */
  function retheme() {
    styles = readStyles(plot);
    const variables = ["mark", "mark-edge", "ink", "paper", "box"];
    [mark, markEdge, ink, paper, shade] = variables.map((name) => cssVar(plot, `--lm-${name}`));
  }

  /** Give every point its look. */
  function restyle() {
    const { linked, tested, selected } = derived.looks[index], chosen = ones(selected);
    of = styleOf(derived.looks[index]);
    backend.setStyle(of, styles.style, styles.paper);
    const able = ones(tested), alone = able - linked.reduce((sum, v, i) => sum + (v & tested[i]), 0), rest = p.n - able;
    const compared = !able || !p.links.length ? "" : alone
      ? `${grouped(alone)} of ${grouped(able)} tested have no partner ${derived.beyond}`
      : `all ${grouped(able)} tested have a partner ${derived.beyond}`;
    const words = [
      chosen && el("b", {}, `${grouped(chosen)} selected`),
      compared && el("span", {}, alone ? el("span", { class: "lm-hollow" }) : null, compared),
      rest && `${grouped(rest)} not tested`, p.missing && `${grouped(p.missing)} not on the map`,
    ].filter(Boolean);
    count.replaceChildren(...words.flatMap((o, w) => /** @type {(Node | string)[]} */ (w ? [" · ", o] : [o])));
  }

  /** @param {boolean} [moving] whether a fair sample of very many points will do */
  function drawBase(moving = false) {
    if (!width) return;
    const { drawn, sample, of } = backend.draw(view, width, height, ratio, radiusFor(p.n, place.zoom), moving);
    plot.dataset.drawn = String(drawn);
    sampled.hidden = !sample;
    if (sample) {
      plot.dataset.sample = String(of);
      sampled.textContent = `${grouped(of)} of ${grouped(p.n)} points while moving`;
    } else delete plot.dataset.sample;
    drawNames();
  }

  /** Names of clusters, and their boxes below all names. */
  function drawNames() {
    spots = placeNames(clusters, view, width, height, place.zoom);
    /** @param {string} own */
    const colour = (own) => (own && own !== "--lm-c0" ? `;--lm-own:var(${own})` : "");
    const rects = (boxes ? spots : []).map(({ cluster }) => {
      const { x0, y0, x1, y1 } = rectOf(cluster, view), px = [x0 - 3, y0 - 3, x1 - x0 + 6, y1 - y0 + 6].map(Math.round);
      const style = `left:${px[0]}px;top:${px[1]}px;width:${px[2]}px;height:${px[3]}px`;
      return el("div", { style: style + colour(colourOf(cluster)) });
    });
    pillNodes = spots.map(({ x, y, w, h, cluster }) => {
      const style = `left:${(x + w / 2).toFixed(1)}px;top:${(y + h / 2).toFixed(1)}px`;
      return el("span", { class: "fg-text", dir: "auto", style: style + colour(colourOf(cluster)) }, cluster.text);
    });
    names.replaceChildren(...rects, ...pillNodes);
    pills = spots;
    clearMarks();
  }

  /** Names off the marks. */
  function clearMarks() {
    const before = pills;
    pills = stepAside(spots, marks().map(({ x, y, r }) => ({ x, y, r: r + 4 })), width, height);
    pills.forEach(({ x, y, w, h }, s) => {
      if (x === before[s].x && y === before[s].y) return;
      pillNodes[s].style.left = `${(x + w / 2).toFixed(1)}px`;
      pillNodes[s].style.top = `${(y + h / 2).toFixed(1)}px`;
    });
  }

  /**
   * The CSS variable of a cluster's colour, where the clusters of this panel colour the points; else "".
   * @param {import("./mapnames.js").Cluster} cluster
   */
  function colourOf(cluster) {
    const scale = derived.looks[index]?.scale;
    if (scale?.key !== `cluster of ${p.name}`) return "";
    const entry = scale.entries.find((o) => o.name === cluster.name);
    return `--lm-c${entry?.code ?? 0}`;
  }

  /**
   * The points that are meant, the most important last.
   * @returns {Mark[]}
   */
  function marks() {
    /** @type {Mark[]} */
    const out = [];
    /** @param {number} panel @param {number} point @param {number} r @param {Partial<Mark>} [how] */
    const add = (panel, point, r, how) => {
      if (panel !== index) return;
      const under = radiusFor(p.n, place.zoom) * styles.style(of[point]).scale;   // a mark is never less than its point
      const at = { point, x: sx(point), y: sy(point), r: Math.max(r, under + 1) };
      out.push({ ...at, dashed: false, filled: true, walked: false, ...how });
    };
    for (const pin of derived.pinned) {
      for (const o of pin.partners) add(o.panel, o.point, 5, { dashed: onlyToken(o), filled: false });
      add(pin.panel, pin.point, 5);
    }
    const { focus, partner } = derived;
    if (!focus) return out;
    const order = focus.partners.map((o, rank) => ({ o, walked: rank === partner }));
    for (const { o, walked } of order.reverse().sort((a, b) => Number(a.walked) - Number(b.walked)))
      add(o.panel, o.point, walked ? 7 : 6, { dashed: onlyToken(o), walked: walked && order.length > 1 });
    add(focus.panel, focus.point, 7.5);
    return out;
  }

  /** @param {import("./mapdata.js").Partner} o */
  const onlyToken = (o) => sameToken(data.sets[o.set], o.edge);

  /**
   * A point that is meant: yellow, with a dark ring and one of paper around it, so that neither colour nor theme
   * hides it.
   * @param {Mark} mark
   */
  function drawMark({ x, y, r, dashed, filled, walked }) {
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
    if (walked) ring(r + 8, ink, 2);
    if (!dashed) return;
    ctx.setLineDash([3, 3]);
    ring(r + 5, ink, 1.5);
    ctx.setLineDash([]);
  }

  function drawOverlay() {
    if (!width) return;
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    ctx.clearRect(0, 0, width, height);
    if (leaders.focus === derived.focus) leaders.lines.forEach(drawLeader);
    marks().forEach(drawMark);
    if (outline) drawOutline(outline);
  }

  /** @param {number[]} line */
  function drawLeader([fx, fy, x, y]) {
    for (const [colour, line] of /** @type {const} */ ([[paper, 3.5], [ink, 1.25]])) {
      ctx.beginPath();
      ctx.moveTo(fx, fy);
      ctx.lineTo(x, y);
      ctx.strokeStyle = colour;
      ctx.lineWidth = line;
      ctx.stroke();
    }
  }

  /** @param {import("./mapgestures.js").Outline} outline */
  function drawOutline({ tool: kind, path }) {
    ctx.beginPath();
    if (kind === "box") {
      const [[ax, ay], [bx, by]] = [path[0], path[path.length - 1]];
      ctx.rect(ax + 0.5, ay + 0.5, bx - ax, by - ay);
    } else for (const [x, y] of path) ctx.lineTo(x, y);
    ctx.fillStyle = ctx.strokeStyle = shade;
    if (kind === "brush") {
      if (path.length === 1) ctx.lineTo(path[0][0] + 0.01, path[0][1]);   // a line without length has no caps
      ctx.lineCap = ctx.lineJoin = "round";
      ctx.lineWidth = 2 * BRUSH;
      ctx.stroke();
      ctx.beginPath();
      ctx.arc(...last(path), BRUSH, 0, 2 * Math.PI);
    } else {
      ctx.closePath();
      ctx.fill();
      ctx.setLineDash([4, 3]);
    }
    ctx.lineWidth = 1;
    ctx.strokeStyle = ink;
    ctx.stroke();
    ctx.setLineDash([]);
  }

  /**
   * The points in what was drawn around them.
   * @param {import("./mapgestures.js").Outline} outline
   */
  function within({ tool: kind, path }) {
    const corners = path.map(([x, y]) => worldAt(x, y));
    if (kind === "box") return [...gridInBox(p.grid, ...corners[0], ...corners[corners.length - 1])].filter(allowed);
    const found = kind === "lasso" ? [gridInPolygon(p.grid, corners.map((o) => o[0]), corners.map((o) => o[1]))]
      : between(path, BRUSH / 3).map(([x, y]) => gridInCircle(p.grid, ...worldAt(x, y), BRUSH / view.k));
    const mask = new Uint8Array(p.n);   // a brush meets the same point many times
    return found.flatMap((points) => [...points].filter((i) => allowed(i) && !mask[i] && (mask[i] = 1)));
  }

  /** Labels are measured to be placed, which makes the browser lay out the page: once a frame is enough. */
  function drawLabels() {
    const { focus, partner } = derived;
    labels.replaceChildren();
    clearMarks();
    if (!focus) return;
    /** @type {{node: HTMLElement, point: number}[]} */
    const made = [];
    if (focus.panel === index) {
      const node = el("div", { class: "lm-label lm-focus" }, title(data, index, focus.point));
      made.push({ node, point: focus.point });
    }
    const walked = focus.partners[partner], mine = focus.partners.filter((o) => o.panel === index);
    const room = width < 440 ? 2 : LABELS, rest = mine.length - room;
    [...new Set([walked, ...mine])].filter((o) => o?.panel === index).slice(0, room).forEach((o, rank) => {
      made.push({ node: partnerLabel(o, rank === room - 1 ? rest : 0), point: o.point });
    });
    for (const { node, point } of made) {
      if (!inside(point)) node.append(el("div", { class: "lm-away" }, "outside this view"));
      labels.prepend(node);   // the best lies on top
    }
    const wanted = made.map(({ node, point }) => ({
      x: Math.max(0, Math.min(width, sx(point))), y: Math.max(0, Math.min(height, sy(point))),
      w: node.offsetWidth, h: node.offsetHeight,
    }));
    /** @type {number[][]} */
    const lines = [], had = leaders.focus === focus && leaders.lines.length;
    placeLabels(wanted, width, height).forEach((spot, s) => {
      made[s].node.style.transform = `translate(${Math.round(spot.x)}px, ${Math.round(spot.y)}px)`;
      const { point } = made[s], line = inside(point) && leaderOf(spot, sx(point), sy(point));
      if (line) lines.push(line);
    });
    leaders = { focus, lines };
    if (lines.length || had) drawOverlay();
  }

  /** @param {import("./mapdata.js").Partner} o @param {number} rest */
  function partnerLabel(o, rest) {
    return el("div", { class: "lm-label" },
      title(data, o.panel, o.point), evidence(data.sets[o.set], o.edge),
      rest > 0 && el("div", { class: "lm-facts" }, `and ${rest} more in this panel`));
  }

  /**
   * The panel as it stands, for print: points at another ratio of pixels, the rest as numbers.
   * @param {number} pixels device pixels per CSS pixel
   * @param {Element} [at] where colours are read
   */
  function picture(pixels, at = plot) {
    const canvas = el("canvas"), print = cpuBackend(canvas), { style, paper: ground } = readStyles(at);
    print.setPoints(p.x, p.y);
    print.setStyle(styleOf(derived.looks[index]), style, ground);
    print.draw(view, width, height, pixels, radiusFor(p.n, place.zoom), false);
    return {
      canvas, width, height, marks: marks(),
      pills: pills.map((o) => ({ ...o, colour: colourOf(o.cluster), box: boxes ? rectOf(o.cluster, view) : null })),
      /** @param {number} point */
      at: (point) => ({ x: sx(point), y: sy(point), inside: inside(point) }),
    };
  }

  const forget = gestures(plot, {
    index, within, view: () => view, place: () => place, size, tool: () => tool, derived: () => derived,
    pick: (x, y, reach) => gridNearest(p.grid, ...worldAt(x, y), reach / view.k, allowed),
    middle: () => gridNearest(p.grid, ...worldAt(width / 2, height / 2), Infinity, seen),
    toward: (point, dx, dy) => gridToward(p.grid, p.x[point], p.y[point], dx, dy, seen),
    move: (next) => act.move(index, placeOf(keepInside(next, world, width, height), width, height, k0)),
    outline(next) {
      if (!next && !outline) return;
      outline = next;
      drawOverlay();
    },
  }, act);

  return {
    element, plot, home, measure, setPlace, retheme, restyle, drawBase, drawOverlay, drawLabels, inside, picture,
    size,
    place: () => place,
    /** @param {Derived} next */
    setDerived(next) {
      derived = next;
    },
    /**
     * @param {import("./mapgestures.js").Tool["tool"]} next
     * @param {import("./mapgestures.js").Tool["combine"]} combine
     */
    setTool(next, combine) {
      forget();
      tool = { tool: next, combine };
      plot.classList.toggle("lm-drawing", next !== "move");
      letScroll();
    },
    /** @param {boolean} on */
    setBoxes(on) {
      boxes = on;
      drawNames();
    },
    dispose() {
      forget();
      backend.dispose();
    },
  };
}

/**
 * Largest value, at least 1: `Math.max(...x)` fails on long arrays.
 * @param {Uint16Array} x
 */
function top(x) {
  let most = 1;
  for (let i = 0; i < x.length; i++) if (x[i] > most) most = x[i];
  return most;
}

/** @param {Uint8Array} mask */
function ones(mask) {
  let sum = 0;
  for (let i = 0; i < mask.length; i++) sum += mask[i];
  return sum;
}

/** @param {number[][]} path @returns {[number, number]} */
const last = (path) => [path[path.length - 1][0], path[path.length - 1][1]];

/**
 * A way with points added so that no step is longer than `step`.
 * @param {number[][]} path
 * @param {number} step
 */
function between(path, step) {
  return path.flatMap(([x, y], s) => {
    const [fx, fy] = path[Math.max(0, s - 1)], parts = Math.ceil(Math.hypot(x - fx, y - fy) / step) || 1;
    return Array.from({ length: parts }, (_, t) => [fx + (x - fx) * (t + 1) / parts, fy + (y - fy) * (t + 1) / parts]);
  });
}
