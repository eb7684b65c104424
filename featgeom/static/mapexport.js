/**
 * The map as a picture for print, 180 mm wide: PNG at 300 dots an inch, or SVG in which all but the points is vector.
 * Both are painted from one list of shapes.
 */

import { cssVar, download, el, shown, svg } from "./kit.js";
import { CATEGORIES, STEPS, colourVar } from "./mapcolour.js";
import { TOKEN_ONLY, tokensOf } from "./mapdata.js";
import { doubt, grouped, nameOf, overlap, short, shortQ, weak } from "./maplabels.js";
import { legendOf } from "./maplegend.js";
import { SIZES } from "./mapstyle.js";

/**
 * @typedef {Object} Shape
 * @property {"rect" | "circle" | "line" | "text" | "image"} kind
 * @property {number} x left, or middle of a circle, or first end; of a text its beginning on the base line
 * @property {number} y
 * @property {number} [w] width, or how far the other end of a line is to the right
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

/** @typedef {ReturnType<ReturnType<typeof import("./mappanel.js").createPanel>["picture"]>} Picture */
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

/** A text that is not broken into lines. @param {string} text */
const whole = (text) => text.replace(/ /g, "\u00a0");

/** A text of either direction within a line of the other. @param {any} text @param {number} [max] */
const isolated = (text, max) => `\u2068${plain(text, max)}\u2069`;

/**
 * A text, cut to a width.
 * @param {string} text
 * @param {number} width
 * @param {Wide} wide
 * @param {[size?: number, bold?: boolean]} font
 */
function fitted(text, width, wide, ...font) {
  const points = [...text];
  for (; points.length && wide(text, ...font) > width; points.pop()) text = `${points.join("")}…`;
  return text;
}

/**
 * Text in lines of at most `width`; a word that is longer is cut.
 * @param {string} text
 * @param {number} width
 * @param {Wide} wide
 * @param {number} [size]
 * @returns {string[]}
 */
export function wrapped(text, width, wide, size) {
  /** @type {string[]} */
  const lines = [];
  for (const word of text.split(" ").filter(Boolean)) {
    const longer = lines.length ? `${lines[lines.length - 1]} ${word}` : word;
    if (lines.length && wide(longer, size) <= width) lines[lines.length - 1] = longer;
    else lines.push(fitted(word, width, wide, size));
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
  const small = (text, room) => wrapped(text, room, wide, 10);
  const cols = panels.length > 3 ? Math.ceil(Math.sqrt(panels.length)) : panels.length;
  const sizes = panels.map((o) => o.size()), cell = Math.max(...sizes.map((o) => o.width));
  const width = 2 * MARGIN + cols * cell + (cols - 1) * GAP;
  /** @type {Shape[]} */
  const shapes = [];
  /** @type {Picture["marks"]} */
  const marks = [];
  let y = MARGIN;
  for (let first = 0; first < panels.length; first += cols) {
    const row = panels.slice(first, first + cols).map((_, i) => first + i);
    const notes = row.map((i) => small(plain(data.panels[i].note, 400), cell));
    const head = LEADING * (1.2 + Math.max(...notes.map((o) => o.length)));
    row.forEach((i, c) => {
      const x = MARGIN + c * (cell + GAP);
      const text = fitted(isolated(data.panels[i].name, 60), cell, wide, 14, true);
      shapes.push({ kind: "text", x, y: y + 13, size: 14, bold: true, text, fill: colour("--fg-text") });
      shapes.push(...lines(notes[c], x, y + LEADING + 11, 10, colour("--fg-muted")));
      const picture = panels[i].picture(PRINT / width, at);
      marks.push(...picture.marks);
      shapes.push(...panelShapes(data, i, picture, derived, x, y + head, look));
    });
    y += head + Math.max(...row.map((i) => sizes[i].height)) + GAP;
  }
  const legend = legendOf(doc, derived), off = legend.flatMap((o) => o.entries).filter((o) => !o.on);
  for (const row of legendShapes(legend, doc, derived, marks, look, width - 2 * MARGIN)) {
    shapes.push(...row.map((o) => ({ ...o, x: o.x + MARGIN, y: o.y + y })));
    y += LEADING + 2;
  }
  const less = off.length ? `Switched off, and faint: ${off.map((o) => isolated(o.text)).join(", ")}.` : "";
  const said = [less, printed(words.join(" "))].flatMap((o) => small(o, width - 2 * MARGIN));
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
 * @param {Picture} picture
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
  for (const { x, y, w: pw, h: ph, cluster, colour: own } of picture.pills) {
    const stroke = own && own !== "--lm-c0" ? colour(own) : undefined;
    out.push({ kind: "rect", x, y, w: pw, h: ph, r: 8, fill: paper, alpha: 0.8, stroke });
    const text = fitted(isolated(cluster.text), pw - 8, look.wide, 11, true);
    out.push({ kind: "text", x: x + pw / 2, y: y + 12, bold: true, middle: true, text, fill: ink });
  }
  const labels = labelShapes(data, index, picture, derived, look);
  out.push(...labels.leaders);
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
  out.push(...labels.boxes);
  return out.map((o) => ({ ...o, x: o.x + left, y: o.y + top }));
}

/**
 * What stands in the labels of a panel: the pinned features and the one in focus, and the best partner of each here.
 * @param {import("./mapdata.js").MapData} data
 * @param {number} index
 * @param {Pick<Derived, "focus" | "partner" | "pinned">} derived
 * @returns {Map<number, string[]>} lines by point
 */
export function labelLines(data, index, { focus, partner, pinned }) {
  /** @type {Map<number, string[]>} */
  const out = new Map();
  /** @param {number} point @param {string[]} [more] */
  const add = (point, more = []) => {
    const known = out.get(point), tokens = tokensOf(data, index, point).slice(0, 4).map((t) => whole(isolated(t, 20)));
    if (known) known.push(...more.filter((o) => !known.includes(o)));
    else if (out.size < MANY)
      out.set(point, [isolated(nameOf(data, index, point)), ...(tokens.length ? [dotted(tokens)] : []), ...more]);
  };
  for (const one of [...(focus ? [focus] : []), ...pinned]) {
    if (one.panel === index) add(one.point);
    const walked = one === focus && one.partners[partner]?.panel === index ? one.partners[partner] : null;
    const best = walked ?? one.partners.find((o) => o.panel === index);
    if (!best) continue;
    const set = data.sets[best.set], e = best.edge, q = set.q[e], within = set.within[e];
    const words = [`score ${short(set.score[e])}`, `null ${short(set.chance[e])}`, q === q && `q ${shortQ(q)}`,
      !(set.flags[e] & TOKEN_ONLY) && within === within && `within ${set.given} ${short(within)}`,
      doubt(set, e), weak(set, e)].filter(Boolean).map((o) => whole(plain(o)));
    add(best.point, [`${whole(`with ${isolated(nameOf(data, one.panel, one.point))}:`)} ${dotted(words)}`]);
  }
  return out;
}

/** Parts of a line, which may be broken behind a dot. @param {string[]} parts */
const dotted = (parts) => parts.join("\u00a0· ");

/** @typedef {import("./maplabels.js").Rect} Rect */

/**
 * Places of labels, near their points but off every mark, off each other and off the lines that lead to others, and
 * rather off names. All places of a raster are compared: a picture for print may take its time.
 * @param {{x: number, y: number, w: number, h: number}[]} wanted
 * @param {Rect[]} marks
 * @param {Rect[]} names
 * @param {number} width
 * @param {number} height
 * @returns {Rect[]}
 */
export function placeInPrint(wanted, marks, names, width, height) {
  /** @type {Rect[]} */
  const placed = [], taken = [...marks];
  for (const { x, y, w, h } of wanted) {
    let best = { x: 4, y: 4, w, h }, least = Infinity;
    /** @param {Rect} box dots on the line to it */
    const line = (box) => [0.2, 0.4, 0.6, 0.8].map((t) => {
      const [nx, ny] = nearest(box, x, y);
      return { x: nx + t * (x - nx), y: ny + t * (y - ny), w: 2, h: 2 };
    });
    for (let top = 4; top <= Math.max(4, height - h - 4); top += 6) {
      for (let left = 4; left <= Math.max(4, width - w - 4); left += 6) {
        const box = { x: left, y: top, w, h }, [nx, ny] = nearest(box, x, y);
        let cost = Math.hypot(nx - x, ny - y) + Math.abs(left + w / 2 - x) / 50;
        if (cost >= least) continue;
        for (const o of taken) cost += 9 * overlap(box, o);
        for (const o of names) cost += overlap(box, o) / 30;
        for (const dot of cost < least ? line(box) : []) for (const o of placed) cost += 9 * overlap(dot, o);
        if (cost < least) [best, least] = [box, cost];
      }
    }
    placed.push(best);
    taken.push(best, ...line(best));
  }
  return placed;
}

/** The place in a box that is nearest to a point. @param {Rect} box @param {number} x @param {number} y */
const nearest = (box, x, y) =>
  [Math.max(box.x, Math.min(box.x + box.w, x)), Math.max(box.y, Math.min(box.y + box.h, y))];

/**
 * @param {import("./mapdata.js").MapData} data
 * @param {number} index
 * @param {Picture} picture
 * @param {Derived} derived
 * @param {Look} look
 * @returns {{leaders: Shape[], boxes: Shape[]}} lines to the points, and the labels
 */
function labelShapes(data, index, picture, derived, { colour, wide }) {
  const { width, height, marks } = picture, room = Math.min(200, 0.6 * width);
  const labels = [...labelLines(data, index, derived)].map(([point, texts]) => (
    { texts, r: 0, ...marks.find((o) => o.point === point), ...picture.at(point) })).filter((o) => o.inside)
    .map((o) => ({ ...o, texts: o.texts.flatMap((t) => wrapped(t, room, wide)) }))
    .map((o) => (
      { ...o, h: o.texts.length * LEADING + 7, w: 14 + Math.max(...o.texts.map((t) => wide(t, 11, true))) }));
  const [fill, stroke, ink] = ["--lm-paper", "--fg-edge", "--fg-text"].map(colour);
  const rects = marks.map(({ x, y, r, walked }) => {
    const reach = r + (walked ? 11 : 6);
    return { x: x - reach, y: y - reach, w: 2 * reach, h: 2 * reach };
  });
  const places = placeInPrint(labels, rects, picture.pills, width, height);
  const boxes = places.flatMap(({ x, y, w, h }, i) => [
    { kind: /** @type {const} */ ("rect"), x, y, w, h, r: 4, fill, stroke, line: 0.75 },
    ...lines(labels[i].texts, x + 7, y + 14, 11, ink).map((o, row) => ({ ...o, bold: row === 0 })),
  ]);
  const leaders = places.flatMap((box, i) => {
    const { x, y, r } = labels[i], [nx, ny] = nearest(box, x, y), rim = (r + 2) / Math.hypot(nx - x, ny - y);
    if (rim >= 1) return [];
    const w = (x - nx) * (1 - rim), h = (y - ny) * (1 - rim);
    /** @type {Shape} */
    const line = { kind: "line", x: nx, y: ny, w, h, stroke: fill, line: 3.5 };
    return [line, { ...line, stroke: ink, line: 1 }];
  });
  return { leaders, boxes };
}

/**
 * The words of the page, of which not all hold for paper.
 * @param {string} words
 */
export const printed = (words) => plain(words, 4000)
  .replace(/pairs are in this page, (.*?); the rest needs a running kernel\./g, "pairs are behind this picture: $1.");

/**
 * The legend, in lines: what the points' looks mean.
 * @param {ReturnType<typeof legendOf>} legend
 * @param {MapState} doc
 * @param {Derived} derived
 * @param {Picture["marks"]} marks
 * @param {Look} look
 * @param {number} width
 * @returns {Shape[][]}
 */
function legendShapes(legend, doc, derived, marks, { colour, wide }, width) {
  const muted = colour("--fg-muted");
  /** @type {Record<string, boolean>} */
  const absent = { mark: !marks.length, dash: !marks.some((o) => o.dashed) };
  /**
   * @param {string} key "" for a heading
   * @param {string} own colour
   * @param {string} said
   * @returns {[Shape[], number]}
   */
  const entry = (key, own, said) => {
    const x = key === "ramp" ? 114 : key ? 15 : 0, bold = !key;
    const text = fitted(isolated(said), width - x, wide, 10.5, bold);
    /** @type {Shape} */
    const words = { kind: "text", x, y: 12, text, bold, fill: muted, size: 10.5 };
    return [[...(key ? swatch(key, colour(own || "--lm-c0"), colour) : []), words], x + wide(text, 10.5, bold)];
  };
  const groups = legend.map(({ title, entries }) => [entry("", "", title),
    ...entries.filter((o) => o.on && !absent[o.key]).map((o) => entry(o.key, o.colour, o.text))]);
  const texts = doc.searches.flatMap(({ text }, s) => (text.trim() ? [entry("full", `--lm-f${s}`,
    `${plain(text, 40)} · ${grouped(derived.found[s].points.reduce((sum, o) => sum + o.length, 0))}`)] : []));
  if (texts.length) groups.push([entry("", "", "found"), ...texts]);
  return groups.flatMap((entries) => flow(entries, width));
}

/**
 * The sign of an entry, as the style sheet draws it on the page.
 * @param {string} key
 * @param {string} fill
 * @param {(name: string) => string} colour
 * @returns {Shape[]}
 */
function swatch(key, fill, colour) {
  if (key === "ramp") return Array.from({ length: STEPS }, (_, i) =>
    ({ kind: "rect", x: 9 * i, y: 3, w: 9.3, h: 10, fill: colour(colourVar(CATEGORIES + i)) }));
  const [ink, edge, yellow] = ["--lm-ink", "--lm-mark-edge", "--lm-mark"].map(colour), level = Number(key.slice(-1));
  const mark = { fill: yellow, stroke: edge, line: 1.5 }, hollow = { fill: undefined, stroke: fill, line: 1.5 };
  /** @type {Record<string, Partial<Shape>>} */
  const looks = {
    hollow, "hollow lm-faint": { ...hollow, r: 2.75, line: 0.9 }, mark, partner: { ...mark, stroke: ink },
    dash: { ...mark, stroke: ink, dash: "2.5 2" }, ring: { stroke: ink, line: 1.5 },
    size: { r: 3 * SIZES[level] }, outline: level ? { stroke: ink, line: level } : {},
  };
  return [{ kind: "circle", x: 5, y: 8, r: 4, fill, ...(looks[key] ?? looks[key.slice(0, -1)]) }];
}

/**
 * Entries side by side, in as many lines as they need.
 * @param {[Shape[], number][]} entries shapes and width of each
 * @param {number} width
 */
function flow(entries, width) {
  /** @type {Shape[][]} */
  const rows = [[]];
  let x = 0;
  for (const [shapes, wideness] of entries) {
    if (x && x + wideness > width) {
      rows.push([]);
      x = 0;
    }
    rows[rows.length - 1].push(...shapes.map((o) => ({ ...o, x: o.x + x })));
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
  const box = { x, y, width: w, height: h, rx: r };
  const weight = bold && "bold", anchor = middle && "middle";
  const node = svg(kind, {
    ...{
      rect: box, image: box, circle: { cx: x, cy: y, r }, line: { x1: x, y1: y, x2: x + (w ?? 0), y2: y + (h ?? 0) },
      text: { x, y, "font-size": size, "font-weight": weight, "text-anchor": anchor },
    }[kind],
    fill: fill ?? "none", "fill-opacity": alpha, stroke, "stroke-width": line, "stroke-dasharray": dash,
  }, text ?? "");
  // Older programs know the picture's address by this name only.
  if (canvas) node.setAttributeNS("http://www.w3.org/1999/xlink", "xlink:href", canvas.toDataURL("image/png"));
  return node;
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
  else if (kind === "line") {
    ctx.moveTo(x, y);
    ctx.lineTo(x + w, y + h);
  } else ctx.roundRect(x, y, w, h, r);
  ctx.globalAlpha = alpha;
  if (fill) ctx.fill();
  ctx.globalAlpha = 1;
  if (!stroke) return;
  ctx.setLineDash(dash?.split(" ").map(Number) ?? []);
  ctx.strokeStyle = stroke;
  ctx.lineWidth = line;
  ctx.stroke();
}
