/**
 * How strongly two features fire on the same rows: a point for each of some rows, with the text around it, and the
 * histograms of all their activations in the margins, on log counts. `createScatter` is the whole interface.
 */
import { el, shown, svg } from "./kit.js";

/**
 * @typedef {object} ScatterData
 * @property {string[]} names             what the two features are called, [A, B]: "model 12 · label"
 * @property {ArrayLike<number>} x        activation of A on each drawn row; 0 where it is silent
 * @property {ArrayLike<number>} y        of B, on the same rows
 * @property {string[][]} text            [before, token, after] of each drawn row; [] where there is none
 * @property {ArrayLike<number>=} doc     document of each drawn row
 * @property {ArrayLike<number>} hx       rows in each bin of A's activations other than 0, over ALL rows; may be empty
 * @property {ArrayLike<number>} hy       of B's
 * @property {number[]} rangeX            [first edge of hx, last edge of hx]
 * @property {number[]} rangeY
 * @property {string=} rows               what a row is, in the plural; "tokens"
 * @property {string[]=} notes            sentences below the picture: correlations and what chance gives
 */

/**
 * @typedef {object} ScatterOptions
 * @property {number=} height                    of the picture, in pixels; 300
 * @property {((i: number) => void)=} onpick     a drawn row was clicked, or chosen with Enter
 */

/** Pixels around the plane: axis and its name on the left and below, histograms above and on the right. */
const LEFT = 50, BELOW = 40, MARGIN = 44, PAD = 7;
const KEYS = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End", "Enter", "Escape"];

/** @param {number} v */
export const short = (v) => String(Number(v.toPrecision(3)));

/**
 * Round numbers from low to high, about `count` of them.
 * @param {number} low
 * @param {number} high
 * @param {number} count
 */
export function ticks(low, high, count) {
  const rough = (high - low) / Math.max(count, 1), power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((o) => o * power).find((o) => o >= rough * 0.999) ?? rough;
  const out = [];
  const last = high * (1 + 1e-9) + step * 1e-9;
  for (let k = Math.ceil(low / step - 1e-9); k * step <= last; k++) out.push(k * step + 0);   // + 0: never -0
  return out;
}

/**
 * From values to pixels. Zero is always there, and nothing that is drawn lies outside.
 * @param {number[]} range
 * @param {ArrayLike<number>} values
 * @param {number} from pixel of the lowest value
 * @param {number} to   pixel of the highest
 */
export function axis(range, values, from, to) {
  let [low, high] = [Math.min(range[0], 0), Math.max(range[1], 0)];
  for (let i = 0; i < values.length; i++) [low, high] = [Math.min(low, values[i]), Math.max(high, values[i])];
  if (!(high > low)) high = low + 1;
  const scale = (to - from) / (high - low);
  return { low, high, at: (/** @type {number} */ v) => from + (v - low) * scale };
}

/**
 * The point next to a place, within `reach` pixels; -1 for none.
 * @param {number} px
 * @param {number} py
 * @param {ArrayLike<number>} xs
 * @param {ArrayLike<number>} ys
 * @param {number} reach
 */
export function nearest(px, py, xs, ys, reach) {
  let best = -1, least = reach * reach;
  for (let i = 0; i < xs.length; i++) {
    const d = (xs[i] - px) ** 2 + (ys[i] - py) ** 2;
    if (d <= least) [best, least] = [i, d];
  }
  return best;
}

/**
 * The next point from `i` along `values`, equal ones by `others`: `step` places on, never beyond the ends.
 * @param {number} i  -1 for none: the highest point if the step is back, else the lowest
 * @param {number} step
 * @param {ArrayLike<number>} values
 * @param {ArrayLike<number>} others
 */
export function walk(i, step, values, others) {
  const order = Array.from(values, (_, k) => k);
  order.sort((a, b) => values[a] - values[b] || others[a] - others[b] || a - b);
  const at = i < 0 ? (step < 0 ? order.length - 1 : 0) : order.indexOf(i) + step;
  return order[Math.max(0, Math.min(at, order.length - 1))] ?? -1;
}

/**
 * The outline of a histogram: bar k lies from edges[k] to edges[k + 1] and is as long as the log of its count.
 * @param {ArrayLike<number>} counts
 * @param {(k: number) => number} edge pixel of an edge
 * @param {number} base pixel of no count
 * @param {number} most pixels of the highest bar; negative goes up
 * @param {boolean} upright bars go up, not to the side
 */
export function bars(counts, edge, base, most, upright) {
  const top = Math.log1p(Math.max(...Array.from(counts), 1)), [along, across] = upright ? "HV" : "VH";
  let path = "";
  for (let k = 0; k < counts.length; k++) {
    if (!counts[k]) continue;
    const a = edge(k).toFixed(1), b = edge(k + 1).toFixed(1);
    const end = (base + (most * Math.log1p(counts[k])) / top).toFixed(1);
    path += `M${upright ? `${a} ${base}` : `${base} ${a}`}${across}${end}${along}${b}${across}${base}Z`;
  }
  return path;
}

/**
 * The scatter. Put `element` anywhere; it takes the width that it gets. Arrow keys walk from row to row (left and right
 * along A, up and down along B), Home, End and Escape as usual. Keys that it uses go no further.
 * @param {ScatterData} data
 * @param {ScatterOptions} [options]
 * @returns {{element: HTMLElement, update: (data: ScatterData) => void, dispose: () => void}}
 */
export function createScatter(data, { height = 300, onpick } = {}) {
  const picture = svg("svg", { height, width: "100%", "aria-hidden": "true" });
  const tip = el("div", { class: "sp-tip fg-text", role: "status", hidden: true });
  const plane = el("div", { class: "sp-plane", tabindex: 0, role: "application", "aria-roledescription": "scatter" },
    picture, tip);
  const notes = el("div", { class: "sp-notes fg-muted fg-text" });
  const element = el("div", { class: "sp" }, plane, notes);
  /** @type {number[]} */ let xs = [];
  /** @type {number[]} */ let ys = [];
  /** @type {ReturnType<typeof axis>} */ let ax;
  /** @type {ReturnType<typeof axis>} */ let ay;
  let width = 0, chosen = -1;
  const ring = svg("circle", { class: "sp-ring", r: 6, visibility: "hidden" });

  /** A name without its label. @param {number} k */
  const brief = (k) => shown(data.names[k].split(" · ")[0], 40);
  /** @param {number} k @param {boolean} x */
  const edge = (k, x) => {
    const [low, high] = x ? data.rangeX : data.rangeY, bins = (x ? data.hx : data.hy).length;
    return low + ((high - low) * k) / bins;
  };

  function draw() {
    const w = width - MARGIN, h = height - BELOW;
    ax = axis(data.rangeX, data.x, LEFT + PAD, w - PAD);
    ay = axis(data.rangeY, data.y, h - PAD, MARGIN + PAD);
    xs = Array.from(data.x, ax.at);
    ys = Array.from(data.y, ay.at);
    const dots = ["", "", ""];   // A alone, B alone, both: in that order, so that both lie on top
    for (let i = 0; i < xs.length; i++)
      dots[data.x[i] === 0 ? 1 : data.y[i] === 0 ? 0 : 2] += `M${xs[i].toFixed(1)} ${ys[i].toFixed(1)}h0`;
    const line = (/** @type {string} */ d) => svg("path", { class: "sp-line", d });
    const word = (/** @type {import("./kit.js").Attrs} */ attrs, /** @type {string} */ t) =>
      svg("text", attrs, shown(t, 60));
    const zeroX = ax.at(0).toFixed(1), zeroY = ay.at(0).toFixed(1);
    picture.replaceChildren(
      line(`M${LEFT} ${h}H${w}M${LEFT} ${MARGIN}V${h}M${zeroX} ${MARGIN}V${h}M${LEFT} ${zeroY}H${w}`),
      ...ticks(ax.low, ax.high, (w - LEFT) / 70).map((v) =>
        word({ x: ax.at(v), y: h + 14, "text-anchor": "middle" }, short(v))),
      ...ticks(ay.low, ay.high, (h - MARGIN) / 40).map((v) =>
        word({ x: LEFT - 5, y: ay.at(v) + 4, "text-anchor": "end" }, short(v))),
      word({ class: "sp-a", x: (LEFT + w) / 2, y: height - 8, "text-anchor": "middle" }, data.names[0]),
      word({ class: "sp-b", x: -(MARGIN + h) / 2, y: 12, transform: "rotate(-90)", "text-anchor": "middle" },
        data.names[1]),
      ...["rows", "(log)"].map((o, k) =>
        word({ x: w + MARGIN / 2, y: MARGIN - 24 + 13 * k, "text-anchor": "middle" }, o)),
      svg("path", { class: "sp-bar-a", d: bars(data.hx, (k) => ax.at(edge(k, true)), MARGIN - 3, 8 - MARGIN, true) }),
      svg("path", { class: "sp-bar-b", d: bars(data.hy, (k) => ay.at(edge(k, false)), w + 3, MARGIN - 8, false) }),
      ...["a", "b", "both"].map((o, k) => svg("path", { class: `sp-dot sp-dot-${o}`, d: dots[k] })), ring);
    choose(chosen);
  }

  /**
   * Show what is said of a place.
   * @param {number} px
   * @param {number} py
   * @param {...import("./kit.js").Child} says nothing: hide
   */
  function tell(px, py, ...says) {
    tip.hidden = !says.length;
    tip.replaceChildren(...says.map((o) => (o instanceof Node ? o : String(o))));
    if (tip.hidden) return;
    const room = Math.max(width - tip.offsetWidth - 4, 4), below = py + 12 + tip.offsetHeight <= height;
    tip.style.left = `${Math.min(Math.max(px - tip.offsetWidth / 2, 4), room)}px`;
    tip.style.top = `${below ? py + 12 : Math.max(py - tip.offsetHeight - 12, 0)}px`;
  }

  /** @param {number} i  a drawn row, -1 for none */
  function choose(i) {
    chosen = i < xs.length ? i : -1;
    ring.setAttribute("visibility", chosen < 0 ? "hidden" : "visible");
    plane.dataset.at = String(chosen);
    if (chosen < 0) return tell(0, 0);
    ring.setAttribute("cx", String(xs[i]));
    ring.setAttribute("cy", String(ys[i]));
    const [before = "", token = "", after = ""] = data.text[i] ?? [];
    const value = (/** @type {number} */ k) => {
      const v = [data.x, data.y][k][i];
      return el("span", { class: k ? "sp-b" : "sp-a" }, `${brief(k)}: ${v === 0 ? "silent" : short(v)}`);
    };
    tell(xs[i], ys[i], el("div", {}, shown(before), el("mark", {}, shown(token)), shown(after)),
      value(0), " ", value(1), data.doc ? el("span", { class: "fg-muted" }, ` document ${data.doc[i]}`) : "");
  }

  /** @param {PointerEvent} event */
  function point(event) {
    const box = picture.getBoundingClientRect(), px = event.clientX - box.left, py = event.clientY - box.top;
    const above = py < MARGIN, beside = px > width - MARGIN, counts = above ? data.hx : data.hy;
    if (above === beside || !counts.length) return choose(nearest(px, py, xs, ys, 24));
    const use = above ? ax : ay, from = use.at(edge(0, above)), to = use.at(edge(counts.length, above));
    const k = Math.floor((((above ? px : py) - from) / (to - from)) * counts.length);
    choose(-1);
    if (k >= 0 && k < counts.length)
      tell(px, py, `${brief(above ? 0 : 1)} from ${short(edge(k, above))} to `
        + `${short(edge(k + 1, above))}: ${counts[k].toLocaleString("en")} ${data.rows ?? "tokens"}`);
  }

  /** @param {KeyboardEvent} event */
  function key(event) {
    if (!KEYS.includes(event.key) || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "Escape" && chosen < 0) return;   // somebody around us may close on it
    event.preventDefault();
    event.stopPropagation();
    if (event.key === "Enter") return void (chosen >= 0 && onpick?.(chosen));
    if (event.key === "Escape") return choose(-1);
    const upright = /Up|Down/.test(event.key), step = /Up|Right/.test(event.key) ? 1 : -1;
    const ends = { Home: -Infinity, End: Infinity }, far = ends[/** @type {"Home"} */ (event.key)];
    const [along, other] = upright ? [data.y, data.x] : [data.x, data.y];
    choose(far ? walk(0, far, along, other) : walk(chosen, step, along, other));
  }

  plane.addEventListener("pointermove", point);
  plane.addEventListener("pointerdown", point);
  plane.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") choose(-1); });
  plane.addEventListener("click", () => { if (chosen >= 0) onpick?.(chosen); });
  plane.addEventListener("keydown", key);
  plane.addEventListener("blur", () => choose(-1));
  const watch = new ResizeObserver(() => {
    if (plane.clientWidth === width || !plane.clientWidth) return;
    width = plane.clientWidth;
    draw();
  });
  watch.observe(plane);

  /** @param {ScatterData} next */
  function update(next) {
    data = next;
    chosen = -1;
    plane.setAttribute("aria-label", `${shown(data.names[0], 60)} against ${shown(data.names[1], 60)}: `
      + `${data.x.length} ${data.rows ?? "tokens"}. Arrow keys go from one to the next.`);
    notes.replaceChildren(...(data.notes ?? []).map((o) => el("p", {}, shown(o, 400))));
    if (width) draw();
  }
  update(data);
  return { element, update, dispose: () => { watch.disconnect(); element.remove(); } };
}
