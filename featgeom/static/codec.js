/**
 * The binary container: the same bytes come from a live kernel and from a saved page.
 *
 *     gzip( "FGB1" | u32 header length | JSON header | padding | sections, each at a multiple of 8 bytes )
 *     header = {"arrays": [{"name", "dtype", "shape", "offset"}], "meta": {...}}, offsets count from the first section
 *
 * Without gzip where it is part of another container, or its parts are zipped one by one.
 *
 * Written by `pack` in widget.py, which states the format. Everything here may be damaged or hostile: sizes are
 * compared with what is there before memory is asked for.
 */

/**
 * @typedef {object} Content
 * @property {Record<string, any>} arrays            typed arrays, flat, row-major; no prototype, so any name is safe
 * @property {Record<string, number[]>} shapes
 * @property {Record<string, any>} meta
 */

/** The most bytes that a container may unpack to; widget.py refuses to write more. */
const LIMIT = 2 ** 29;

const MAGIC = "FGB1";
const KINDS = {
  bool: Uint8Array, int8: Int8Array, uint8: Uint8Array, int16: Int16Array, uint16: Uint16Array, int32: Int32Array,
  uint32: Uint32Array, int64: BigInt64Array, uint64: BigUint64Array, float32: Float32Array, float64: Float64Array,
};

/** @param {string} what */
const damaged = (what) => new Error(`The data is damaged: ${what}.`);

/**
 * @param {string} x
 * @returns {Uint8Array}
 */
function fromBase64(x) {
  const native = /** @type {any} */ (Uint8Array).fromBase64;   // since 2025, several times faster
  if (native) return native.call(Uint8Array, x);
  const text = atob(x), out = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) out[i] = text.charCodeAt(i);
  return out;
}

/**
 * Bytes from whatever a host hands over: DataView, typed array, ArrayBuffer (also of another window), base64, numbers.
 * @param {any} x
 * @returns {Uint8Array} a view of the same memory where there is one
 */
export function toBytes(x) {
  if (ArrayBuffer.isView(x)) return new Uint8Array(x.buffer, x.byteOffset, x.byteLength);
  const tag = Object.prototype.toString.call(x);
  if (tag === "[object ArrayBuffer]" || tag === "[object SharedArrayBuffer]") return new Uint8Array(x);
  if (typeof x === "string") {
    try { return fromBase64(x); } catch { throw damaged("the text is not base64"); }
  }
  if (Array.isArray(x) && x.every((v) => Number.isInteger(v) && v >= 0 && v < 256)) return Uint8Array.from(x);
  throw new Error(`No binary data here: got ${x === null ? "null" : tag.slice(8, -1)}.`);
}

/**
 * Unzip into one buffer of the size that the gzip trailer declares, once that size is believable.
 * @param {Uint8Array} packed
 * @param {number} limit
 */
async function inflate(packed, limit) {
  const n = packed.length;
  if (n < 18 || packed[0] !== 0x1f || packed[1] !== 0x8b) throw damaged("it does not begin like gzip data");
  const size = new DataView(packed.buffer, packed.byteOffset, n).getUint32(n - 4, true);
  if (size > 1040 * n) throw damaged("it cannot unpack to the size it declares");   // more than gzip can squeeze
  if (size > limit) throw new Error(`The data unpacks to ${size} bytes, more than the ${limit} that are allowed.`);
  const raw = new Uint8Array(size);
  const blob = new Blob([/** @type {Uint8Array<ArrayBuffer>} */ (packed)]);
  const reader = blob.stream().pipeThrough(new DecompressionStream("gzip")).getReader();
  let end = 0;
  for (;;) {
    let step;
    try { step = await reader.read(); } catch { throw damaged("it does not unzip"); }
    if (step.done) break;
    if (end + step.value.length > size) {
      await reader.cancel();
      throw damaged("it unpacks to more than it declares");
    }
    raw.set(step.value, end);
    end += step.value.length;
  }
  if (end !== size) throw damaged("it unpacks to less than it declares");
  return raw;
}

/**
 * Arrays and meta from a container. Rejects with a sentence that says what is wrong.
 * @param {any} data anything that `toBytes` takes
 * @param {number} [limit] the most bytes to unpack to
 * @returns {Promise<Content>}
 */
export async function decode(data, limit = LIMIT) {
  const bytes = toBytes(data), bare = [...MAGIC].every((c, i) => bytes[i] === c.charCodeAt(0));
  const raw = bare ? bytes.slice() : await inflate(bytes, limit);   // a copy: hosts may use their memory again
  /** @type {(from: number, to: number) => string} */
  const text = (from, to) => new TextDecoder().decode(raw.subarray(from, to));
  if (raw.length < 8 || text(0, 4) !== MAGIC) throw damaged(`it does not begin with ${MAGIC}`);
  const headEnd = 8 + new DataView(raw.buffer).getUint32(4, true);
  if (headEnd > raw.length) throw damaged("its header is longer than the data");
  let header;
  try { header = JSON.parse(text(8, headEnd)); } catch { throw damaged("its header is not JSON"); }
  if (!header || !Array.isArray(header.arrays) || typeof header.meta !== "object" || header.meta === null)
    throw damaged("its header lists no arrays or no meta");

  const start = headEnd + ((8 - (headEnd % 8)) % 8);
  /** @type {Content} */
  const out = { arrays: Object.create(null), shapes: Object.create(null), meta: header.meta };
  for (const entry of header.arrays) {
    const { name, dtype, shape, offset } = entry ?? {};
    if (typeof name !== "string" || name in out.arrays) throw damaged("an array has no name, or one that is taken");
    if (!Object.hasOwn(KINDS, dtype)) throw damaged(`array ${name} has the unknown type ${dtype}`);
    const Kind = KINDS[/** @type {keyof typeof KINDS} */ (dtype)];
    const count = (/** @type {any} */ v) => Number.isSafeInteger(v) && v >= 0;
    if (!Array.isArray(shape) || !shape.every(count)) throw damaged(`array ${name} has no proper shape`);
    const length = shape.reduce((a, b) => a * b, 1);
    if (!count(offset) || offset % 8 || start + offset + length * Kind.BYTES_PER_ELEMENT > raw.length)
      throw damaged(`array ${name} reaches past the end`);
    out.arrays[name] = new Kind(raw.buffer, start + offset, length);
    out.shapes[name] = shape;
  }
  return out;
}
