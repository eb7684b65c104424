/**
 * The base layer without a GPU: every point is a small anti-aliased picture (a stamp), blended into one ImageData.
 * The same interface (setPoints, setStyle, draw, dispose) can be served by another backend.
 */

/** @typedef {[number, number, number]} Rgb */
/**
 * @typedef {Object} Style one look of a point
 * @property {Rgb} fill
 * @property {number} alpha of the fill, 0 for a hollow point
 * @property {Rgb} ring
 * @property {number} ringAlpha 0 for none
 * @property {number} scale of the radius, 1 is normal
 * @property {number} line width of the ring, 1 is normal
 */
/** @typedef {{size: number, reach: number, phases: Uint8Array[]}} Stamp */

const PHASES = 4;  // sub-pixel positions per axis: points glide instead of hopping when the map is dragged

/**
 * The pictures of one style: premultiplied RGBA, one per sub-pixel position.
 * @param {Style} style
 * @param {number} radius device pixels
 * @param {number} stroke width of the ring in device pixels
 * @returns {Stamp}
 */
export function makeStamp(style, radius, stroke) {
  const r = radius * style.scale, reach = Math.ceil(r + 1), size = 2 * reach + 2;
  /** @type {Uint8Array[]} */
  const phases = [];
  for (let py = 0; py < PHASES; py++) {
    for (let px = 0; px < PHASES; px++) {
      const cx = reach + (px + 0.5) / PHASES, cy = reach + (py + 0.5) / PHASES;
      const out = new Uint8Array(size * size * 4);
      for (let y = 0; y < size; y++) {
        for (let x = 0; x < size; x++) {
          const d = Math.hypot(x + 0.5 - cx, y + 0.5 - cy);
          const disc = Math.min(1, Math.max(0, r + 0.5 - d));
          const inner = Math.min(1, Math.max(0, r - stroke * style.line + 0.5 - d));
          const ringA = (disc - inner) * style.ringAlpha;
          const fillA = (style.ringAlpha ? inner : disc) * style.alpha;
          const a = ringA + fillA, o = (y * size + x) * 4;
          for (let c = 0; c < 3; c++) out[o + c] = Math.round(style.ring[c] * ringA + style.fill[c] * fillA);
          out[o + 3] = Math.round(255 * a);
        }
      }
      phases.push(out);
    }
  }
  return { size, reach, phases };
}

/**
 * Blend points of one style into an opaque picture.
 * @param {Uint8ClampedArray} data RGBA, w x h
 * @param {number} w
 * @param {number} h
 * @param {ArrayLike<number>} xs world coordinates
 * @param {ArrayLike<number>} ys
 * @param {ArrayLike<number>} which points to draw, in this order
 * @param {Stamp} stamp
 * @param {{k: number, tx: number, ty: number}} view in device pixels
 * @returns {number} points that touched the picture
 */
export function splat(data, w, h, xs, ys, which, stamp, view) {
  const { size, reach, phases } = stamp;
  let drawn = 0;
  for (let s = 0; s < which.length; s++) {
    const i = which[s];
    const fx = xs[i] * view.k + view.tx, fy = ys[i] * view.k + view.ty;
    const ix = Math.floor(fx), iy = Math.floor(fy);
    const left = ix - reach, top = iy - reach;
    if (left >= w || top >= h || left + size <= 0 || top + size <= 0) continue;
    drawn++;
    const src = phases[Math.floor((fy - iy) * PHASES) * PHASES + Math.floor((fx - ix) * PHASES)];
    const x0 = left < 0 ? -left : 0, x1 = left + size > w ? w - left : size;
    const y0 = top < 0 ? -top : 0, y1 = top + size > h ? h - top : size;
    for (let y = y0; y < y1; y++) {
      let o = (y * size + x0) * 4, d = ((top + y) * w + left + x0) * 4;
      for (let x = x0; x < x1; x++, o += 4, d += 4) {
        const a = src[o + 3];
        if (!a) continue;
        const keep = 255 - a;
        data[d] = src[o] + (((data[d] * keep + 128) * 257) >> 16);
        data[d + 1] = src[o + 1] + (((data[d + 1] * keep + 128) * 257) >> 16);
        data[d + 2] = src[o + 2] + (((data[d + 2] * keep + 128) * 257) >> 16);
      }
    }
  }
  return drawn;
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
  /** @type {Uint32Array[]} */
  let groups = [];
  /** @type {Style[]} */
  let styles = [];
  /** @type {Map<string, Stamp[]>} */
  const stamps = new Map();
  /** @type {ImageData | null} */
  let image = null;
  let paper = 0xffffffff;
  return {
    name: "cpu",
    /** @param {ArrayLike<number>} x @param {ArrayLike<number>} y */
    setPoints(x, y) {
      xs = x;
      ys = y;
    },
    /**
     * Points are drawn in the order of their style: the last style lies on top.
     * @param {Uint8Array} of style of each point
     * @param {Style[]} table
     * @param {Rgb} background
     */
    setStyle(of, table, background) {
      const size = new Uint32Array(table.length);
      for (let i = 0; i < of.length; i++) size[of[i]]++;
      groups = Array.from(size, (n) => new Uint32Array(n));
      size.fill(0);
      for (let i = 0; i < of.length; i++) groups[of[i]][size[of[i]]++] = i;
      if (table !== styles) stamps.clear();
      styles = table;
      paper = (0xff000000 | (background[2] << 16) | (background[1] << 8) | background[0]) >>> 0;
    },
    /**
     * @param {{k: number, tx: number, ty: number}} view CSS pixels
     * @param {number} width CSS pixels
     * @param {number} height
     * @param {number} ratio device pixels per CSS pixel
     * @param {number} radius CSS pixels
     */
    draw(view, width, height, ratio, radius) {
      const w = Math.max(1, Math.round(width * ratio)), h = Math.max(1, Math.round(height * ratio));
      if (!image || image.width !== w || image.height !== h) {
        canvas.width = w;
        canvas.height = h;
        image = ctx.createImageData(w, h);
      }
      new Uint32Array(image.data.buffer).fill(paper);
      const r = Math.round(radius * ratio * 4) / 4, key = `${r}/${ratio}`;
      let made = stamps.get(key);
      if (!made) {
        if (stamps.size > 64) stamps.clear();
        stamps.set(key, made = []);
      }
      const device = { k: view.k * ratio, tx: view.tx * ratio, ty: view.ty * ratio };
      let drawn = 0;
      for (let g = 0; g < groups.length; g++) {
        if (!groups[g].length) continue;
        made[g] ??= makeStamp(styles[g], r, Math.max(1, ratio));
        drawn += splat(image.data, w, h, xs, ys, groups[g], made[g], device);
      }
      ctx.putImageData(image, 0, 0);
      return drawn;
    },
    dispose() {
      image = null;
      groups = [];
      stamps.clear();
      canvas.width = canvas.height = 0;
    },
  };
}
