// Both hosts give renderers one interface, whatever the model behind it can do.
import assert from "node:assert/strict";
import test from "node:test";

import { liveHost, pageHash, staticHost } from "../../featgeom/static/host.js";

/** A model as notebook front ends have it; `without` takes abilities away. */
function model(state, without = []) {
  const listeners = [], log = [];
  const full = {
    log, listeners,
    get: (key) => state[key],
    set(key, value) { state[key] = value; for (const [event, f] of [...listeners]) if (event === `change:${key}`) f(); },
    on: (event, f) => listeners.push([event, f]),
    off: (event, f) => listeners.splice(listeners.findIndex(([e, g]) => e === event && g === f), 1),
    save_changes: () => log.push("saved"),
    send: (...args) => log.push(args),
  };
  for (const name of without) full[name] = undefined;
  return full;
}

for (const without of [[], ["off"], ["save_changes"], ["send"], ["off", "save_changes", "send"]])
  test(`a live host over a model without ${without.join(", ") || "gaps"}`, () => {
    const m = model({ selected: [] }, without), host = liveHost(m), heard = [];
    const off = host.on("selected", (v) => heard.push(v));
    host.set("selected", [1]);
    m.set("selected", [2]);
    assert.deepEqual(heard, [[1], [2]]);
    assert.deepEqual(host.get("selected"), [2]);
    assert.equal(m.log.filter((o) => o === "saved").length, without.includes("save_changes") ? 0 : 1);
    off();
    m.set("selected", [3]);
    assert.equal(heard.length, 2, "deaf after off, even where the model cannot forget a listener");
    assert.equal(m.listeners.length, without.includes("off") ? 1 : 0);
    assert.equal(host.live, true);
    if (without.includes("send")) assert.equal(host.send, undefined);
    else {
      host.send({ ask: 1 }, [new ArrayBuffer(2)]);
      assert.deepEqual(m.log.at(-1), [{ ask: 1 }, undefined, [new ArrayBuffer(2)]]);
    }
  });

for (const without of [[], ["off"]])
  test(`custom messages, with a model ${without.length ? "that cannot forget" : "as it should be"}`, () => {
    const m = model({}, without), host = liveHost(m), heard = [];
    const tell = (...args) => { for (const [event, f] of [...m.listeners]) if (event === "msg:custom") f(...args); };
    const off = host.hear((message, buffers) => heard.push([message, buffers]));
    const wide = new Uint8Array([0, 0, 7, 8]);
    tell({ a: 1 }, [new DataView(wide.buffer, 2), wide.subarray(2), wide.buffer.slice(2)]);   // Jupyter, Colab, others
    tell({ a: 2 });
    assert.deepEqual(heard, [[{ a: 1 }, Array(3).fill(Uint8Array.of(7, 8))], [{ a: 2 }, []]]);
    off();
    tell({ a: 3 });
    assert.equal(heard.length, 2);
  });

test("the hash of a page, and memory where the address may not be changed", () => {
  const fresh = (hash) => {
    Object.assign(globalThis, { location: { hash }, history: { state: null, replaceState(...a) { location.hash = a[2]; } } });
    return pageHash();
  };
  try {
    const text = JSON.stringify({ pinned: [["A % #", 1]], note: "שלום 🦊 </script>" });
    const hash = fresh("");
    assert.equal(hash.get(), "");
    hash.set(text);
    assert.equal(hash.get(), text);
    assert.equal(fresh(location.hash).get(), text, "what was written is read again");
    assert.equal(fresh("#%7B%").get(), "", "half an escape is no hash");
    const deaf = fresh("");
    history.replaceState = () => { throw new Error("SecurityError"); };
    deaf.set("kept");
    assert.equal(deaf.get(), "kept");
    assert.equal(location.hash, "");
    deaf.set("\ud83e");
    assert.equal(deaf.get(), "\ud83e", "half a character stays in memory");
  } finally {
    delete globalThis.location;
    delete globalThis.history;
  }
});

test("several widgets of a page have their own parts of the hash", () => {
  const odd = '{"a": "1=2&3=4#%"}';
  Object.assign(globalThis, { location: { hash: "" }, history: { state: null, replaceState(...a) { location.hash = a[2]; } } });
  try {
    const [one, two, ten] = ["1", "2", "10"].map(pageHash);
    two.set(odd);
    one.set("é");
    ten.set("x");
    assert.equal(location.hash, `#10=x&1=${encodeURIComponent("é")}&2=${encodeURIComponent(odd)}`);
    assert.deepEqual(["1", "2", "10", "3"].map((o) => pageHash(o).get()), ["é", odd, "x", ""]);
    assert.equal(two.behind("y"), `10=x&1=${encodeURIComponent("é")}&2=y`, "an address to copy has the others' parts, too");
    one.set("");
    assert.equal(location.hash, `#10=x&2=${encodeURIComponent(odd)}`);
    for (const foreign of ["#%7B%7D", "#2", "#=x&&&2", "#__proto__=1", "#2=%"]) {
      location.hash = foreign;
      assert.equal(pageHash("2").get(), "", foreign);
      pageHash("1").set("a");
      assert.match(location.hash, /^#1=a(&2=%)?$/, "and what is no part of ours goes away");
    }
  } finally {
    delete globalThis.location;
    delete globalThis.history;
  }
});

test("a live host over a model that refuses", () => {
  const refuse = () => { throw new Error("not here"); };
  const m = Object.assign(model({ selected: [] }), { off: refuse, save_changes: refuse, send: refuse });
  const host = liveHost(m), heard = [];
  const off = host.on("selected", (v) => heard.push(v));
  host.set("selected", [1]);
  host.send({ ask: 1 });
  off();
  host.set("selected", [2]);
  assert.deepEqual(heard, [[1]]);
  assert.deepEqual(host.get("selected"), [2]);
});

test("a notebook opened in Colab without its kernel is not live", () => {
  globalThis.google = { colab: { kernel: { accessAllowed: false } } };
  try {
    assert.equal(liveHost(model({})).live, false);
    globalThis.google.colab.kernel.accessAllowed = true;
    assert.equal(liveHost(model({})).live, true);
  } finally { delete globalThis.google; }
});

test("a static host keeps its state and tells of changes only", () => {
  const host = staticHost({ selected: [1] }), heard = [];
  const off = host.on("selected", (v) => heard.push(v));
  host.on("other", (v) => heard.push(v));
  host.set("selected", [1]);
  host.set("selected", [1, 2]);
  host.set("other", "x");
  assert.deepEqual(heard, [[1, 2], "x"]);
  off();
  host.set("selected", []);
  assert.equal(heard.length, 2);
  assert.deepEqual(host.get("selected"), []);
  assert.equal(host.get("constructor"), undefined);
  assert.equal(host.live, false);
  assert.equal(host.send, undefined);
});
