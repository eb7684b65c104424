/**
 * The base layer without a GPU: every point is a small anti-aliased picture (a stamp), blended into one ImageData.
 * The same interface (setPoints, setStyle, draw, dispose) can be served by another backend.
 */

/** @typedef {[number, number, number]} Rgb */
/**
 * @typedef {Object} Style one look of a point
 * @property {number} layer higher ones lie on top
 * @property {boolean} strong whether samples keep every such point
 * @property {Rgb} fill
 * @property {number} alpha of the fill, 0 for a hollow point
 * @property {Rgb} ring
 * @property {number} ringAlpha 0 for none
 * @property {number} scale of the radius, 1 is normal
 * @property {number} line width of the ring, 1 is normal
 * @property {Rgb} edge a second ring around the point
 * @property {number} edgeAlpha
 * @property {number} edgeLine its width, 0 for none
 */
/**
 * @typedef {Object} Stamp pixels of all sub-pixel positions, one after the other
 * @property {number} reach from the middle
 * @property {number} phases positions per axis: points glide instead of hopping when the map is dragged
 * @property {Uint32Array} start (phases * phases + 1) where each of them begins
 * @property {Int32Array} dots three numbers for each pixel: its place counted from the middle, its colour times its
 *   alpha, how much of what lies below stays, in 1/256
 */
/** @typedef {{pixels: Int32Array, width: number, height: number, pad: number}} Sheet a picture and room around it */

/** More points than this are thinned to about as many while the map moves. */
export const SAMPLE = 120000;
const KEPT = 2 ** 22;  // numbers in stamps that are kept for the next time, 16 MB

/**
 * How far the picture of a point reaches from its middle, in pixels.
 * @param {Style} style
 * @param {number} radius
 * @param {number} stroke
 */
const reachOf = (style, radius, stroke) => Math.ceil(radius * style.scale + stroke * style.edgeLine + 1);
/** @param {number} v */
const share = (v) => Math.min(1, Math.max(0, v));

/**
 * The pictures of one style, for sheets of one width.
 * @param {Style} style
 * @param {number} radius device pixels
 * @param {number} stroke width of the ring in device pixels
 * @param {number} stride pixels in a row of the sheet
 * @returns {Stamp}
 */
export function makeStamp(style, radius, stroke, stride) {
  const r = radius * style.scale, hole = r - stroke * style.line, rim = r + stroke * style.edgeLine;
  const reach = reachOf(style, radius, stroke), phases = rim > 5 ? 2 : 4, start = new Uint32Array(phases ** 2 + 1);
  const dots = new Int32Array(3 * ((2 * reach + 2) * phases) ** 2), { fill: a, ring: b, edge: c } = style;
  let n = 0;
  for (let phase = 0; phase < phases ** 2; phase++) {
    const cx = (phase % phases + 0.5) / phases, cy = (Math.floor(phase / phases) + 0.5) / phases;
    for (let y = -reach; y <= reach + 1; y++) {
      for (let x = -reach; x <= reach + 1; x++) {
        const d = Math.sqrt((x + 0.5 - cx) ** 2 + (y + 0.5 - cy) ** 2) - 0.5;
        const disc = share(r - d), inner = style.ringAlpha ? share(hole - d) : disc;
        const fill = inner * style.alpha, ring = (disc - inner) * style.ringAlpha;
        const edge = style.edgeLine ? (share(rim - d) - disc) * style.edgeAlpha : 0;
        const left = Math.floor(256 * (1 - fill - ring - edge));   // both roundings go down: no channel can overflow
        if (left > 255) continue;
        const red = a[0] * fill + b[0] * ring + c[0] * edge, green = a[1] * fill + b[1] * ring + c[1] * edge;
        const blue = a[2] * fill + b[2] * ring + c[2] * edge;
        dots[n++] = y * stride + x;
        dots[n++] = 0xff000000 | (blue << 16) | (green << 8) | red;
        dots[n++] = Math.max(0, left);
      }
    }
    start[phase + 1] = n;
  }
  return { reach, phases, start, dots: dots.slice(0, n) };
}

/**
 * Blend points into an opaque picture.
 * @param {Sheet} sheet its room takes a whole stamp
 * @param {ArrayLike<number>} xs world coordinates
 * @param {ArrayLike<number>} ys
 * @param {Uint32Array} which points to draw, in this order
 * @param {Uint16Array} of style of each point
 * @param {Stamp[]} stamps by style
 * @param {{k: number, tx: number, ty: number}} view in device pixels
 * @returns {number} points that touched the picture
 */
export function splat({ pixels, width, height, pad }, xs, ys, which, of, stamps, { k, tx, ty }) {
  const stride = width + 2 * pad;
  // The world that the sheet shows, in whole numbers: whether a point lies outside is one sign, so one branch.
  const x0 = Math.floor((-pad - tx) / k), x1 = Math.ceil((width + pad - tx) / k);
  const y0 = Math.floor((-pad - ty) / k), y1 = Math.ceil((height + pad - ty) / k);
  let drawn = 0;
  for (let s = 0; s < which.length; s++) {
    const i = which[s], x = xs[i], y = ys[i];
    if (((x - x0) | (x1 - x) | (y - y0) | (y1 - y)) < 0) continue;
    const fx = x * k + tx, fy = y * k + ty;
    const { reach, phases, start, dots } = stamps[of[i]];
    if (fx < -reach || fy < -reach || fx > width + reach || fy > height + reach) continue;
    drawn++;
    const px = fx + pad, py = fy + pad, ix = px | 0, iy = py | 0, middle = iy * stride + ix;
    const phase = (((py - iy) * phases) | 0) * phases + (((px - ix) * phases) | 0), end = start[phase + 1];
    for (let j = start[phase]; j < end; j += 3) {
      const d = middle + dots[j], below = pixels[d], kept = dots[j + 2];
      const redBlue = ((Math.imul(below & 0xff00ff, kept) + 0x800080) >>> 8) & 0xff00ff;
      const green = ((Math.imul(below & 0xff00, kept) + 0x8000) >>> 8) & 0xff00;
      pixels[d] = (redBlue | green) + dots[j + 1];
    }
  }
  return drawn;
}

/**
 * Whether a point belongs to the fixed random sample: a hash of its number, so that order and style do not matter.
 * @param {number} i
 * @param {number} limit share of all, in 1/2^32
 */
function inSample(i, limit) {
  let h = Math.imul(i ^ (i >>> 16) ^ 0x9e3779b9, 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return ((h ^ (h >>> 16)) >>> 0) < limit;
}

/**
 * Points layer by layer, within a layer by number: which style lies on top is left to chance.
 * @param {Uint16Array} of
 * @param {Uint8Array} layerOf by style
 * @param {(i: number) => boolean} [wanted]
 */
export function drawingOrder(of, layerOf, wanted) {
  const counts = new Uint32Array(257);
  for (let i = 0; i < of.length; i++) if (!wanted || wanted(i)) counts[layerOf[of[i]] + 1]++;
  for (let layer = 0; layer < 256; layer++) counts[layer + 1] += counts[layer];
  const out = new Uint32Array(counts[256]);
  for (let i = 0; i < of.length; i++) if (!wanted || wanted(i)) out[counts[layerOf[of[i]]]++] = i;
  return out;
}

/**
 * The sample that is drawn while the map moves: each style in proportion, the strong ones whole while there are no
 * more of them than a sample may hold.
 * @param {Uint16Array} of
 * @param {Uint8Array} layerOf by style
 * @param {Uint8Array} strong by style
 */
export function sampleOrder(of, layerOf, strong) {
  let special = 0;
  for (let i = 0; i < of.length; i++) special += strong[of[i]];
  const whole = special <= SAMPLE, limit = SAMPLE / of.length * 2 ** 32;
  return drawingOrder(of, layerOf, (i) => (whole && strong[of[i]] === 1) || inSample(i, limit));
}

/**
 * The CPU backend of a base layer.
 * @param {HTMLCanvasElement} canvas
 */
export function cpuBackend(canvas) {
  const options = { alpha: false, willReadFrequently: true };
  const ctx = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", options));
  /** @type {ArrayLike<number>} */
  let xs = [];
  /** @type {ArrayLike<number>} */
  let ys = [];
  /** @type {Uint16Array} */
  let of = new Uint16Array(0);
  let order = new Uint32Array(0), paper = -1;
  /** @type {Uint32Array | null} */
  let thinned = null;
  /** @type {number[]} style numbers in use */
  let used = [];
  /** @type {(number: number) => Style} */
  let styleAt;
  const layerOf = new Uint8Array(65536), strong = new Uint8Array(65536);
  /** @type {Map<string, Map<number, Stamp>>} */
  const stamps = new Map();
  let held = 0;
  /** @type {ImageData | null} */
  let image = null;

  /** @param {number} r @param {number} stroke @param {number} stride */
  function stampsFor(r, stroke, stride) {
    const key = [r, stroke, stride].join();
    if (held > KEPT) {
      stamps.clear();
      held = 0;
    }
    const made = stamps.get(key) ?? new Map();
    stamps.set(key, made);
    /** @type {Stamp[]} */
    const list = new Array((used.at(-1) ?? -1) + 1);   // grown by and by it would become a slow table
    for (const number of used) {
      let stamp = made.get(number);
      if (!stamp) {
        made.set(number, stamp = makeStamp(styleAt(number), r, stroke, stride));
        held += stamp.dots.length;
      }
      list[number] = stamp;
    }
    return list;
  }

  /**
   * The points of the sample, or all where the view holds few.
   * @param {{k: number, tx: number, ty: number}} view
   * @param {number} w
   * @param {number} h
   */
  function thin({ k, tx, ty }, w, h) {
    const some = thinned ??= sampleOrder(of, layerOf, strong);
    let seen = 0;
    for (let s = 0; s < some.length; s++) {
      const x = xs[some[s]] * k + tx, y = ys[some[s]] * k + ty;
      if (x >= 0 && y >= 0 && x < w && y < h) seen++;
    }
    return seen * of.length > SAMPLE * some.length ? some : order;
  }

  return {
    name: "cpu",
    /** @param {ArrayLike<number>} x @param {ArrayLike<number>} y */
    setPoints(x, y) {
      xs = x;
      ys = y;
    },
    /**
     * @param {Uint16Array} numbers style of each point
     * @param {(number: number) => Style} style
     * @param {Rgb} background
     */
    setStyle(numbers, style, background) {
      if (style !== styleAt) held = Infinity;   // other colours: drop all stamps
      styleAt = style;
      of = numbers;
      const any = new Uint8Array(65536);
      for (let i = 0; i < of.length; i++) any[of[i]] = 1;
      used = [];
      for (let number = 0; number < any.length; number++) {
        if (!any[number]) continue;
        used.push(number);
        layerOf[number] = style(number).layer;
        strong[number] = Number(style(number).strong);
      }
      order = drawingOrder(of, layerOf);
      thinned = null;
      paper = 0xff000000 | (background[2] << 16) | (background[1] << 8) | background[0];
    },
    /**
     * @param {{k: number, tx: number, ty: number}} view CSS pixels
     * @param {number} width CSS pixels
     * @param {number} height
     * @param {number} ratio device pixels per CSS pixel
     * @param {number} radius CSS pixels
     * @param {boolean} [sample] whether a sample will do, because the map moves
    * @returns {{drawn: number, sample: boolean, of: number}} points on the picture; whether it is a sample, and of how
     *   many points
     */
    draw(view, width, height, ratio, radius, sample = false) {
      const w = Math.max(1, Math.round(width * ratio)), h = Math.max(1, Math.round(height * ratio));
      const size = radius * ratio, step = size > 4 ? 2 : 4, stroke = Math.max(1, ratio);
      const r = Math.round(size * step) / step;   // few sizes: zooming would make new stamps in every frame
      const reach = used.reduce((most, number) => Math.max(most, reachOf(styleAt(number), r, stroke)), 0);
      const pad = 16 * Math.ceil((2 * reach + 2) / 16);   // in steps, so that zooming keeps the same sheet for a while
      if (canvas.width !== w || canvas.height !== h) {
        canvas.width = w;
        canvas.height = h;
      }
      const stride = w + 2 * pad, rows = h + 2 * pad;
      if (!image || image.width !== stride || image.height !== rows) image = ctx.createImageData(stride, rows);
      const pixels = new Int32Array(image.data.buffer).fill(paper);
      const device = { k: view.k * ratio, tx: view.tx * ratio, ty: view.ty * ratio };
      const which = sample && of.length > SAMPLE ? thin(device, w, h) : order;
      const sheet = { pixels, width: w, height: h, pad };
      const drawn = splat(sheet, xs, ys, which, of, stampsFor(r, stroke, stride), device);
      ctx.putImageData(image, -pad, -pad, pad, pad, w, h);
      return { drawn, sample: which !== order, of: which.length };
    },
    dispose() {
      image = thinned = null;
      of = new Uint16Array(0);
      order = new Uint32Array(0);
      stamps.clear();
      canvas.width = canvas.height = 0;
    },
  };
}
