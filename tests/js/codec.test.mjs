// The reader of the container: what Python wrote, every way a host may hand it over, and every way it may be broken.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import vm from "node:vm";
import { gunzipSync, gzipSync } from "node:zlib";

import { decode, toBytes } from "../../featgeom/static/codec.js";

const corpus = new Uint8Array(readFileSync(new URL("corpus.bin", import.meta.url)));
const expected = JSON.parse(readFileSync(new URL("corpus.json", import.meta.url), "utf8"));

/** A container from a header text and a body, true or not. */
function container(header, body = new Uint8Array(0), magic = "FGB1") {
  const text = Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
  const head = Buffer.concat([Buffer.from(magic), Buffer.alloc(4), text]);
  head.writeUInt32LE(text.length, 4);
  return new Uint8Array(gzipSync(Buffer.concat([head, Buffer.alloc((8 - (head.length % 8)) % 8), body])));
}
const one = (entry) => container({ arrays: [{ name: "x", dtype: "uint8", shape: [4], offset: 0, ...entry }], meta: {} }, new Uint8Array(8));

test("what Python packed is read as it was", async () => {
  const { arrays, shapes, meta } = await decode(corpus);
  assert.deepEqual(Object.keys(arrays), Object.keys(expected.arrays));
  for (const [name, { dtype, shape, values }] of Object.entries(expected.arrays)) {
    assert.deepEqual(shapes[name], shape);
    assert.equal(arrays[name].constructor.name.toLowerCase().replace("big", "").replace("array", ""), dtype === "bool" ? "uint8" : dtype);
    assert.deepEqual(Array.from(arrays[name], String), values.map((v) => String(typeof v === "boolean" ? +v : v)), name);
  }
  assert.deepEqual(meta, expected.meta);
});

test("a name cannot reach the prototype", async () => {
  const { arrays } = await decode(one({ name: "__proto__" }));
  assert.deepEqual(Object.keys(arrays), ["__proto__"]);
  assert.equal({}.length, undefined);
  assert.equal(arrays.toString, undefined);
});

test("every form of bytes that hosts hand over", async () => {
  const shifted = new Uint8Array(corpus.length + 24);
  shifted.set(corpus, 16);
  const foreign = vm.runInNewContext("(n) => new ArrayBuffer(n)")(corpus.length);
  assert.ok(!(foreign instanceof ArrayBuffer));
  new Uint8Array(foreign).set(corpus);
  const forms = {
    view: new DataView(shifted.buffer, 16, corpus.length), subarray: shifted.subarray(16, 16 + corpus.length),
    buffer: shifted.buffer.slice(16, 16 + corpus.length), foreign, base64: Buffer.from(corpus).toString("base64"),
    numbers: Array.from(corpus), signed: new Int8Array(shifted.buffer, 16, corpus.length), node: Buffer.from(corpus),
  };
  for (const [name, form] of Object.entries(forms)) {
    assert.deepEqual(Buffer.from(toBytes(form)), Buffer.from(corpus), name);
    assert.deepEqual((await decode(form)).meta, expected.meta, name);
  }
  for (const wrong of [null, undefined, {}, 7, [256], [1.5], ["a"]]) assert.throws(() => toBytes(wrong), /No binary data/);
  assert.throws(() => toBytes("not base64!"), /damaged: the text is not base64/);
});

test("base64 is read by the browser's own reader where there is one, and refused in the same words", () => {
  const text = Buffer.from(corpus).toString("base64"), asked = [];
  assert.deepEqual(Buffer.from(toBytes(text)), Buffer.from(corpus));
  const had = Object.getOwnPropertyDescriptor(Uint8Array, "fromBase64");
  Object.defineProperty(Uint8Array, "fromBase64", { configurable: true, value(x) {
    asked.push(x.length);
    if (/[^A-Za-z0-9+/=]/.test(x)) throw new SyntaxError("not base64");
    return new this(Buffer.from(x, "base64"));
  } });
  try {
    assert.deepEqual(Buffer.from(toBytes(text)), Buffer.from(corpus));
    assert.deepEqual(asked, [text.length]);
    assert.throws(() => toBytes("not base64!"), /damaged: the text is not base64/);
  } finally {
    if (had) Object.defineProperty(Uint8Array, "fromBase64", had);
    else delete Uint8Array.fromBase64;
  }
});

test("no damaged byte and no cut goes unseen", async () => {
  const header = new Set([4, 5, 6, 7, 8, 9]);   // time, flags and system in the gzip header: they carry no data
  for (let i = 0; i < corpus.length; i++) {
    if (header.has(i)) continue;
    const broken = corpus.slice();
    broken[i] ^= 0x55;
    await assert.rejects(decode(broken), /damaged/, `byte ${i}`);
  }
  for (let n = 0; n < corpus.length; n += 7) await assert.rejects(decode(corpus.slice(0, n)), /damaged/, `cut at ${n}`);
  await assert.rejects(decode(Buffer.concat([corpus, Buffer.from("tail")])), /damaged/);
});

test("sizes are compared before memory is asked for", async () => {
  const bomb = gzipSync(Buffer.alloc(2 ** 24));
  await assert.rejects(decode(bomb, 2 ** 20), /more than the 1048576 that are allowed/);
  const lie = Buffer.from(bomb);
  lie.writeUInt32LE(1000, lie.length - 4);
  await assert.rejects(decode(lie), /damaged/);
  const boast = Buffer.from(corpus);
  boast.writeUInt32LE(2 ** 28, boast.length - 4);
  await assert.rejects(decode(boast), /cannot unpack to the size/);
});

test("headers that lie are refused", async () => {
  const huge = Number.MAX_SAFE_INTEGER;
  for (const entry of [{ shape: [9] }, { shape: [huge, huge] }, { shape: [2 ** 31, 2 ** 31, 0.5] }, { shape: [-1] }, { shape: "4" }, { offset: -8 },
    { offset: 8 }, { offset: 1 }, { offset: huge }, { offset: null }, { dtype: "float16" }, { dtype: "constructor" }, { name: 3 }])
    await assert.rejects(decode(one(entry)), /damaged: /, JSON.stringify(entry));
  await assert.doesNotReject(decode(one({})));
  const twice = { name: "x", dtype: "uint8", shape: [1], offset: 0 };
  await assert.rejects(decode(container({ arrays: [twice, twice], meta: {} }, new Uint8Array(8))), /one that is taken/);
  for (const header of ["{", "[]", "null", '{"arrays": 3, "meta": {}}', '{"arrays": [], "meta": null}', '{"arrays": [null], "meta": {}}'])
    await assert.rejects(decode(container(header)), /damaged: /, header);
  await assert.rejects(decode(container("{}", undefined, "FGB2")), /does not begin with FGB1/);
  const long = gunzipSync(container({ arrays: [], meta: {} }));
  long.writeUInt32LE(2 ** 31, 4);
  await assert.rejects(decode(gzipSync(long)), /header is longer/);
});
