/**
 * The map as a picture for print, 180 mm wide: PNG at 300 dots an inch, or SVG in which all but the points is vector.
 * Both are painted from one list of shapes.
 */

import { cssVar, download, el, shown, svg } from "./kit.js";
import { tokensOf } from "./mapdata.js";
import { amount, doubt, grouped, nameOf, placeLabels, short, shortQ, weak } from "./maplabels.js";

/**
 * @typedef {Object} Shape
 * @property {"rect" | "circle" | "text" | "image"} kind
 * @property {number} x left, or middle of a circle; of a text its beginning on the base line
 * @property {number} y
 * @property {number} [w]
 * @property {number} [h]
 * @property {number} [r] radius, or that of a rectangle's corners
 * @property {string} [fill]
 * @property {number} [alpha] of the fill
 * @property {string} [stroke]
 * @property {number} [line]
 * @property {string} [dash]
 * @property {string} [text]
 * @property {number} [size] of a text, 11 unless told
 * @property {boolean} [bold]
 * @property {boolean} [middle] of a text, whether x is its middle
 * @property {HTMLCanvasElement} [canvas]
 */
/** @typedef {(text: string, size?: number, bold?: boolean) => number} Wide how wide a text is */
/** @typedef {{colour: (name: string) => string, wide: Wide}} Look the colour of a CSS variable, and the ruler */

/** @typedef {import("./linkedmap.js").MapState} MapState */
/** @typedef {import("./linkedmap.js").Derived} Derived */

const PRINT = 2126;  // dots of 180 mm at 300 an inch
const MARGIN = 12, GAP = 16, LEADING = 15, FONT = "Helvetica, Arial, 'Noto Sans', sans-serif", MANY = 8;
// A PNG's chunk that says 11,811 dots a metre, which is 300 an inch: length, "pHYs", twice the number, unit, checksum.
const DENSITY = [0, 0, 0, 9, 112, 72, 89, 115, 0, 0, 46, 35, 0, 0, 46, 35, 1, 120, 165, 63, 118];

/**
 * Text that both painters take: shown as everywhere, and without the two characters that XML has no place for.
 * @param {any} text
 * @param {number} [max]
 */
export const plain = (text, max) =>
  shown(text, max).replace(/[\ufffe\uffff]/g, (c) => `⟨U+${c.charCodeAt(0).toString(16).toUpperCase()}⟩`);

/** A text of either direction within a line of the other. @param {any} text @param {number} [max] */
const isolated = (text, max) => `\u2068${plain(text, max)}\u2069`;

/**
 * Text in lines of at most `width`; a word that is longer stands alone.
 * @param {string} text
 * @param {number} width
 * @param {(text: string) => number} wide
 * @returns {string[]}
 */
export function wrapped(text, width, wide) {
  /** @type {string[]} */
  const lines = [];
  for (const word of text.split(" ").filter(Boolean)) {
    const longer = lines.length ? `${lines[lines.length - 1]} ${word}` : word;
    if (lines.length && wide(longer) <= width) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}

/** @returns {Wide} */
function ruler() {
  const ctx = /** @type {CanvasRenderingContext2D} */ (el("canvas").getContext("2d"));
  return (text, size = 11, bold = false) => {
    ctx.font = fontOf(size, bold);
    return ctx.measureText(text).width;
  };
}

/** @param {number} [size] @param {boolean} [bold] */
const fontOf = (size = 11, bold = false) => `${bold ? "bold " : ""}${size}px ${FONT}`;

/**
 * @param {import("./mapdata.js").MapData} data
 * @param {ReturnType<typeof import("./mappanel.js").createPanel>[]} panels
 * @param {() => {doc: MapState, derived: Derived, words: string[]}} now
 */
export function createExport(data, panels, now) {
  /** @param {"png" | "svg"} format @param {boolean} light */
  async function save(format, light) {
    const root = /** @type {HTMLElement} */ (panels[0].plot.closest(".featgeom"));
    const probe = el("div", { class: "featgeom", hidden: true });   // without a theme of its own: the light one
    root.append(probe);
    try {
      const { shapes, width, height } = figure(data, panels, now(), light ? probe : root);
      const file = format === "svg" ? toSvg(shapes, width, height) : await toPng(shapes, width, height);
      download(`linked-map.${format}`, file, format === "svg" ? "image/svg+xml" : "image/png", root);
    } finally {
      probe.remove();
    }
  }
  return {
    /** With Shift on white paper, whatever the theme. @param {MouseEvent} e */
    png: (e) => save("png", e.shiftKey),
    /** @param {MouseEvent} e */
    svg: (e) => save("svg", e.shiftKey),
  };
}

/**
 * All shapes of the figure, the lowest first.
 * @param {import("./mapdata.js").MapData} data
 * @param {ReturnType<typeof import("./mappanel.js").createPanel>[]} panels
 * @param {ReturnType<Parameters<typeof createExport>[2]>} state
 * @param {Element} at where colours are read
 */
function figure(data, panels, { doc, derived, words }, at) {
  const wide = ruler();
  /** @type {Look} */
  const look = { colour: (name) => cssVar(at, name), wide }, { colour } = look;
  /** @param {string} text @param {number} room */
  const small = (text, room) => wrapped(text, room, (o) => wide(o, 10));
  const cols = panels.length > 3 ? Math.ceil(Math.sqrt(panels.length)) : panels.length;
  const sizes = panels.map((o) => o.size()), cell = Math.max(...sizes.map((o) => o.width));
  const width = 2 * MARGIN + cols * cell + (cols - 1) * GAP;
  /** @type {Shape[]} */
  const shapes = [];
  let y = MARGIN;
  for (let first = 0; first < panels.length; first += cols) {
    const row = panels.slice(first, first + cols).map((_, i) => first + i);
    const notes = row.map((i) => small(plain(data.panels[i].note, 400), cell));
    const head = LEADING * (1.2 + Math.max(...notes.map((o) => o.length)));
    row.forEach((i, c) => {
      const x = MARGIN + c * (cell + GAP);
      const text = isolated(data.panels[i].name, 60);
      shapes.push({ kind: "text", x, y: y + 13, size: 14, bold: true, text, fill: colour("--fg-text") });
      shapes.push(...lines(notes[c], x, y + LEADING + 11, 10, colour("--fg-muted")));
      shapes.push(...panelShapes(data, i, panels[i].picture(PRINT / width, at), derived, x, y + head, look));
    });
    y += head + Math.max(...row.map((i) => sizes[i].height)) + GAP;
  }
  for (const entry of legendShapes(doc, derived, look, width - 2 * MARGIN)) {
    shapes.push(...entry.shapes.map((o) => ({ ...o, x: o.x + MARGIN, y: o.y + y })));
    y += entry.height;
  }
  const said = small(plain(words.join(" "), 4000), width - 2 * MARGIN);
  shapes.push(...lines(said, MARGIN, y + 14, 10, colour("--fg-muted")));
  const height = Math.ceil(y + LEADING * said.length + MARGIN);
  shapes.unshift({ kind: "rect", x: 0, y: 0, w: width, h: height, fill: colour("--fg-bg") });
  return { shapes, width, height };
}

/**
 * @param {string[]} texts
 * @param {number} x
 * @param {number} y
 * @param {number} size
 * @param {string} fill
 * @returns {Shape[]}
 */
const lines = (texts, x, y, size, fill) =>
  texts.map((text, i) => ({ kind: "text", x, y: y + i * LEADING, size, text, fill }));

/**
 * @param {import("./mapdata.js").MapData} data
 * @param {number} index
 * @param {ReturnType<ReturnType<typeof import("./mappanel.js").createPanel>["picture"]>} picture
 * @param {Derived} derived
 * @param {number} left
 * @param {number} top
 * @param {Look} look
 * @returns {Shape[]}
 */
function panelShapes(data, index, picture, derived, left, top, look) {
  const { canvas, width: w, height: h } = picture, { colour } = look;
  const [ink, paper, yellow] = ["--lm-ink", "--lm-paper", "--lm-mark"].map(colour);
  /** @type {Shape[]} */
  const out = [{ kind: "image", x: 0, y: 0, w, h, canvas }];
  out.push({ kind: "rect", x: 0, y: 0, w, h, stroke: colour("--fg-line"), line: 1 });
  for (const pill of picture.pills) {
    if (!pill.box) continue;
    const x0 = Math.max(0, pill.box.x0 - 3), y0 = Math.max(0, pill.box.y0 - 3);
    const x1 = Math.min(w, pill.box.x1 + 3), y1 = Math.min(h, pill.box.y1 + 3);
    const stroke = colour(pill.colour || "--lm-c0");
    out.push({ kind: "rect", x: x0, y: y0, w: x1 - x0, h: y1 - y0, r: 6, stroke, line: 1.25 });
  }
  for (const { x, y, w: pw, h: ph, cluster } of picture.pills) {
    out.push({ kind: "rect", x, y, w: pw, h: ph, r: 8, fill: paper, alpha: 0.8 });
    const text = isolated(cluster.text);
    out.push({ kind: "text", x: x + pw / 2, y: y + 12, bold: true, middle: true, text, fill: ink });
  }
  for (const mark of picture.marks) {
    if (!picture.at(mark.point).inside) continue;
    const { x, y, r, dashed, filled, walked } = mark;
    /** @param {number} radius @param {string} stroke @param {number} line @param {string} [dash] @returns {Shape} */
    const ring = (radius, stroke, line, dash) => ({ kind: "circle", x, y, r: radius, stroke, line, dash });
    out.push(filled ? { kind: "circle", x, y, r, fill: yellow } : ring(r - 1.5, yellow, 3));
    out.push(ring(r + 2.5, paper, 2), ring(r + 0.75, colour("--lm-mark-edge"), 1.75));
    if (walked) out.push(ring(r + 8, ink, 2));
    if (dashed) out.push(ring(r + 5, ink, 1.5, "3 3"));
  }
  out.push(...labelShapes(data, index, picture, derived, look));
  return out.map((o) => ({ ...o, x: o.x + left, y: o.y + top }));
}

/**
 * What stands in the labels of a panel: the pinned features and the one in focus, and the best partner of each here.
 * @param {import("./mapdata.js").MapData} data
 * @param {number} index
 * @param {Derived} derived
 * @returns {Map<number, string[]>} lines by point
 */
export function labelLines(data, index, { focus, partner, pinned }) {
  /** @type {Map<number, string[]>} */
  const out = new Map();
  /** @param {number} point @param {string[]} [more] */
  const add = (point, more = []) => {
    if (out.size >= MANY || out.has(point)) return;
    const tokens = tokensOf(data, index, point).slice(0, 4).map((t) => isolated(t, 20)).join(" · ");
    out.set(point, [isolated(nameOf(data, index, point)), ...(tokens ? [tokens] : []), ...more]);
  };
  for (const one of [...(focus ? [focus] : []), ...pinned]) {
    if (one.panel === index) add(one.point);
    const walked = one === focus && one.partners[partner]?.panel === index ? one.partners[partner] : null;
    const best = walked ?? one.partners.find((o) => o.panel === index);
    if (!best) continue;
    const set = data.sets[best.set], e = best.edge, q = set.q[e];
    const words = [`score ${short(set.score[e])}`, `null ${short(set.chance[e])}`,
      Number.isFinite(q) && `q ${shortQ(q)}`, doubt(set, e), weak(set, e)];
    add(best.point, [words.filter(Boolean).join(" · ")]);
  }
  return out;
}

/**
 * @param {import("./mapdata.js").MapData} data
 * @param {number} index
 * @param {Parameters<typeof panelShapes>[2]} picture
 * @param {Derived} derived
 * @param {Look} look
 * @returns {Shape[]}
 */
function labelShapes(data, index, picture, derived, { colour, wide }) {
  const labels = [...labelLines(data, index, derived)].map(([point, texts]) => ({ texts, ...picture.at(point) }))
    .filter((o) => o.inside)
    .map((o) => ({ ...o, h: o.texts.length * LEADING + 7,
      w: 16 + Math.max(...o.texts.map((t) => wide(t, 11, true))) }));
  const [fill, stroke, ink] = ["--lm-paper", "--fg-edge", "--fg-text"].map(colour);
  return placeLabels(labels, picture.width, picture.height).flatMap(({ x, y, w, h }, i) => [
    { kind: /** @type {const} */ ("rect"), x, y, w, h, r: 4, fill, stroke, line: 0.75 },
    ...lines(labels[i].texts, x + 7, y + 14, 11, ink).map((o, row) => ({ ...o, bold: row === 0 })),
  ]);
}

/**
 * The legend, in lines: what the points' looks mean.
 * @param {MapState} doc
 * @param {Derived} derived
 * @param {Look} look
 * @param {number} width
 * @returns {{shapes: Shape[], height: number}[]}
 */
function legendShapes(doc, derived, { colour, wide }, width) {
  const plainColour = colour("--lm-c0"), scale = derived.looks[0]?.scale, muted = colour("--fg-muted");
  /** @param {Partial<Shape>} how @param {string} text @returns {[Shape[], number]} */
  const entry = (how, text) => [[
    { kind: "circle", x: 5, y: 8, r: 4.5, ...how }, { kind: "text", x: 14, y: 12, text, fill: muted, size: 10.5 },
  ], 14 + wide(text)];
  /** @param {string} text @returns {[Shape[], number]} */
  const heading = (text) => [[{ kind: "text", x: 0, y: 12, text, bold: true, fill: muted, size: 10.5 }], wide(text)];
  /** @type {[Shape[], number][][]} */
  const groups = [derived.shown.length ? [entry({ fill: plainColour }, `has a partner ${derived.beyond}`),
    entry({ r: 3.75, stroke: plainColour, line: 1.5 }, `tested, none ${derived.beyond}`)] : []];
  if (derived.shown.length && derived.looks.some((o) => o.tested.includes(0)))
    groups[0].push(entry({ r: 2.75, stroke: plainColour, line: 1 }, "not tested"));
  if (derived.focus || derived.pinned.length) {
    const mark = { fill: colour("--lm-mark"), stroke: colour("--lm-mark-edge"), line: 1.5 };
    groups[0].push(entry(mark, "a chosen feature or its partner"));
  }
  if (scale?.kind === "category") {
    groups.push([heading(isolated(scale.title, 60)), ...scale.entries.map((o) =>
      entry({ fill: colour(`--lm-c${o.code}`) }, `${isolated(o.name, 40)} · ${grouped(o.count)}`))]);
  } else if (scale?.kind === "number") {
    /** @param {number} v */
    const end = (v) => amount(scale.log ? 10 ** v : v);
    const low = end(scale.low), from = wide(low) + 6;
    /** @type {Shape[]} */
    const ramp = Array.from({ length: 12 }, (_, i) =>
      ({ kind: "rect", x: from + 9 * i, y: 3, w: 9.3, h: 10, fill: colour(`--lm-s${i}`) }));
    ramp.push({ kind: "text", x: 0, y: 12, text: low, fill: muted, size: 10.5 });
    ramp.push({ kind: "text", x: from + 114, y: 12, text: end(scale.high), fill: muted, size: 10.5 });
    groups.push([heading(isolated(scale.title, 60)), [ramp, from + 120 + wide(end(scale.high))]]);
  }
  const texts = doc.searches.map((o, s) => ({ text: o.text, s })).filter((o) => o.text.trim());
  if (texts.length) groups.push([heading("found"), ...texts.map(({ text, s }) => {
    const count = derived.found[s]?.points.reduce((sum, o) => sum + o.length, 0) ?? 0;
    return entry({ fill: colour(`--lm-f${s}`) }, `${isolated(text, 40)} · ${grouped(count)}`);
  })]);
  const more = [doc.size && `size: ${plain(doc.size, 60)}`, doc.outline && `outline: ${plain(doc.outline, 60)}`,
    doc.min > 0 && `pairs from score ${short(doc.min)}`, doc.hideSame && "same-token pairs hidden"].filter(Boolean);
  if (more.length) groups.push([heading(more.join(" · "))]);
  return groups.flatMap((entries) => flow(entries, width));
}

/**
 * Entries side by side, in as many lines as they need.
 * @param {[Shape[], number][]} entries shapes and width of each
 * @param {number} width
 */
function flow(entries, width) {
  /** @type {{shapes: Shape[], height: number}[]} */
  const rows = [{ shapes: [], height: LEADING + 2 }];
  let x = 0;
  for (const [shapes, wideness] of entries) {
    if (x && x + wideness > width) {
      rows.push({ shapes: [], height: LEADING + 2 });
      x = 0;
    }
    rows[rows.length - 1].shapes.push(...shapes.map((o) => ({ ...o, x: o.x + x })));
    x += wideness + 18;
  }
  return rows;
}

/**
 * @param {Shape[]} shapes
 * @param {number} width
 * @param {number} height
 * @returns {string}
 */
function toSvg(shapes, width, height) {
  const root = svg("svg", {
    viewBox: `0 0 ${width} ${height}`, width: "180mm", height: `${(180 * height / width).toFixed(2)}mm`,
    "font-family": FONT, "font-size": 11,
  }, ...shapes.map(svgShape));
  return new XMLSerializer().serializeToString(root);
}

/** @param {Shape} o */
function svgShape({ kind, x, y, w, h, r, fill, alpha, stroke, line, dash, text, size, bold, middle, canvas }) {
  const paint = { fill: fill ?? "none", "fill-opacity": alpha, stroke, "stroke-width": line, "stroke-dasharray": dash };
  if (kind === "rect") return svg("rect", { x, y, width: w, height: h, rx: r, ...paint });
  if (kind === "circle") return svg("circle", { cx: x, cy: y, r, ...paint });
  if (kind === "text") return svg("text", { x, y, fill, "font-size": size, "font-weight": bold ? "bold" : null,
    "text-anchor": middle ? "middle" : null }, text);
  const image = svg("image", { x, y, width: w, height: h });
  // Older programs know the picture's address by this name only.
  image.setAttributeNS("http://www.w3.org/1999/xlink", "xlink:href", canvas?.toDataURL("image/png") ?? "");
  return image;
}

/**
 * @param {Shape[]} shapes
 * @param {number} width
 * @param {number} height
 * @returns {Promise<Blob>}
 */
async function toPng(shapes, width, height) {
  const ratio = PRINT / width, canvas = el("canvas", { width: PRINT, height: Math.round(height * ratio) });
  const ctx = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  ctx.scale(ratio, ratio);
  for (const o of shapes) paintShape(ctx, o);
  /** @type {Blob | null} */
  const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
  if (!blob) throw new Error("The browser could not make the picture.");
  const header = 33;   // signature and first chunk
  return new Blob([blob.slice(0, header), Uint8Array.from(DENSITY), blob.slice(header)], { type: "image/png" });
}

/**
 * @param {CanvasRenderingContext2D} ctx
 * @param {Shape} o
 */
function paintShape(ctx, o) {
  const { kind, x, y, w = 0, h = 0, r = 0, fill, alpha = 1, stroke, line = 1, dash, canvas } = o;
  if (fill) ctx.fillStyle = fill;
  if (kind === "text") {
    ctx.font = fontOf(o.size, o.bold);
    ctx.textAlign = o.middle ? "center" : "left";
    return ctx.fillText(o.text ?? "", x, y);
  }
  if (kind === "image" && canvas) return ctx.drawImage(canvas, x, y, w, h);
  ctx.beginPath();
  if (kind === "circle") ctx.arc(x, y, r, 0, 2 * Math.PI);
  else ctx.roundRect(x, y, w, h, r);
  ctx.globalAlpha = alpha;
  if (fill) ctx.fill();
  ctx.globalAlpha = 1;
  if (!stroke) return;
  ctx.setLineDash(dash ? dash.split(" ").map(Number) : []);
  ctx.strokeStyle = stroke;
  ctx.lineWidth = line;
  ctx.stroke();
  ctx.setLineDash([]);
}
