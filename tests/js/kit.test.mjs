// The parts of kit.js that need no page; elements and themes in a real one are tested in tests/test_widget.py.
import assert from "node:assert/strict";
import test from "node:test";
import { setTimeout as pause } from "node:timers/promises";

import { debounce, hostTheme, joinLink, needsKernel, openLink, shown } from "../../featgeom/static/kit.js";

test("text is shown whole, or visibly not", () => {
  assert.equal(shown("a\0b\n\x7f"), "a␀b␊␡");
  assert.equal(shown("</script><!-- & 🦊 שלום e\u0301"), "</script><!-- & 🦊 שלום e\u0301");
  assert.equal(shown("evil\u202Etxt.exe"), "evil⟨U+202E⟩txt.exe");
  assert.equal(shown("half \ud83e pair\x85"), "half ⟨U+D83E⟩ pair⟨U+0085⟩");
  assert.equal(shown("🦊".repeat(10), 5), "🦊🦊🦊🦊…");
  assert.equal(shown("🦊".repeat(5), 5), "🦊🦊🦊🦊🦊");
  assert.equal(Array.from(shown("x".repeat(10000))).length, 200);
  assert.equal(shown(12), "12");
  assert.equal(shown(""), "");
});

test("debounce calls once, with the last arguments, and can be called off", async () => {
  const calls = [];
  const f = debounce((x) => calls.push(x), 10);
  f(1); f(2); f(3);
  assert.deepEqual(calls, []);
  await pause(40);
  assert.deepEqual(calls, [3]);
  f(4);
  f.cancel();
  await pause(30);
  assert.deepEqual(calls, [3]);
});

/** A document with these attributes on html and body. */
function doc(html = {}, body = {}) {
  const node = (o) => ({
    getAttribute: (name) => o[name] ?? null,
    classList: { contains: (name) => (o.class ?? "").split(" ").includes(name) },
  });
  return { documentElement: node(html), body: body && node(body) };
}

test("hosts are asked for their theme in their own way", () => {
  const cases = [
    ["dark", doc({ theme: "dark" })],                                              // Colab
    ["light", doc({ theme: "light" })],
    ["dark", doc({}, { "data-jp-theme-light": "false" })],                         // JupyterLab
    ["light", doc({ class: "dark" }, { "data-jp-theme-light": "true" })],
    ["dark", doc({}, { "data-vscode-theme-kind": "vscode-dark" })],                // VS Code
    ["dark", doc({}, { "data-vscode-theme-kind": "vscode-high-contrast" })],
    ["light", doc({}, { "data-vscode-theme-kind": "vscode-light" })],
    ["light", doc({}, { "data-vscode-theme-kind": "vscode-high-contrast-light" })],
    ["dark", doc({ "data-bs-theme": "dark" })],                                    // Quarto
    ["dark", doc({}, { class: "quarto-dark" })],
    ["light", doc({}, { class: "page quarto-light" })],
    ["dark", doc({}, { "data-theme": "dark" })],                                   // Sphinx
    [null, doc({}, { "data-theme": "auto" })],
    ["dark", doc({ class: "dark" })],                                              // marimo
    [null, doc()], [null, { documentElement: null, body: null }],
  ];
  for (const [want, d] of cases) assert.equal(hostTheme(d), want);
});

test("a control that needs Python says so", () => {
  const button = { disabled: false, title: "" };
  assert.equal(needsKernel(button, { live: true }), button);
  assert.equal(button.disabled, false);
  needsKernel(button, { live: false });
  assert.deepEqual(button, { disabled: true, title: "needs a running kernel" });
});

// ---- links between widgets

/** Frames of one origin: documents of their own; node's BroadcastChannel joins them. */
async function frames(count, act) {
  const prefix = Math.random().toString(36);            // messages of an earlier test may still be on their way
  const docs = Array.from({ length: count }, () => new EventTarget()), open = [];
  const at = (i, f) => {
    globalThis.document = docs[i];
    try { return f(); } finally { delete globalThis.document; }
  };
  /** A widget in frame `i`: what it hears, and its end of the link. */
  const widget = (i, key = "k") => {
    const link = at(i, () => openLink(prefix + key)), heard = [];
    link.hear((message) => heard.push(message));
    const close = () => at(i, () => link.close());
    open.push(close);
    return { heard, link, close, tell: (kind, ...spots) => at(i, () => link.tell({ kind, spots })) };
  };
  const raw = (i, detail, key = "k") => docs[i].dispatchEvent(new CustomEvent(`featgeom:link:${prefix}${key}`, { detail }));
  try { await act(widget, raw, docs); } finally { open.forEach((f) => f()); }
}
/** Wait for what is on its way between frames, and then for what should not come. */
async function settled(truth = () => true) {
  for (let i = 0; i < 500 && !truth(); i++) await pause(10);
  await pause(20);
}

test("linked widgets hear each other once, in one page and in others, and never themselves", () => frames(2, async (widget) => {
  const a = widget(0), b = widget(0), c = widget(1), other = widget(0, "another key");
  a.tell("read", ["A", 1], ["B", 2]);
  assert.deepEqual(b.heard, [{ kind: "read", spots: [["A", 1], ["B", 2]] }], "at once in one page");
  await settled(() => c.heard.length);
  assert.equal(b.heard.length, 1, "not again by the other way");
  assert.deepEqual(c.heard, b.heard);
  assert.deepEqual([a.heard, other.heard], [[], []]);
  for (let i = 0; i < 5; i++) c.tell("point", ["A", i]);
  c.tell("point");
  await settled(() => b.heard.length === 7);
  assert.deepEqual(a.heard.map((o) => o.spots), [[["A", 0]], [["A", 1]], [["A", 2]], [["A", 3]], [["A", 4]], []]);
  assert.deepEqual(b.heard.slice(1), a.heard);
  assert.equal(c.heard.length, 1);
}));

test("what is told while something is heard goes nowhere, so nothing goes in circles", () => frames(2, async (widget) => {
  const all = [widget(0), widget(0), widget(1)];
  for (const o of all) o.link.hear((message) => o.tell("read", ...message.spots));
  all[0].tell("read", ["A", 1]);
  await settled(() => all[2].heard.length);
  assert.deepEqual(all.map((o) => o.heard.length), [0, 1, 1]);
  all[2].tell("read", ["A", 2]);                        // and it is not deaf or mute afterwards
  await settled(() => all[0].heard.length && all[1].heard.length === 2);
  assert.deepEqual(all.map((o) => o.heard.length), [1, 2, 1]);
}));

test("messages of strangers are checked, copied, and otherwise dropped", () => frames(1, async (widget, raw) => {
  const { heard } = widget(0), good = { kind: "read", spots: [["A", 1]] };
  const bad = [undefined, null, 3, "read", [], {}, { kind: "read" }, { kind: "read", spots: [] }, { kind: "read", spots: "A1" },
    { kind: "write", spots: [["A", 1]] }, { kind: "read", spots: [["A"]] }, { kind: "read", spots: [["A", "1"]] }, { kind: "read", spots: [[1, 1]] },
    { kind: "read", spots: [["A", -1]] }, { kind: "read", spots: [["A", 1.5]] }, { kind: "read", spots: [["A", NaN]] }, { kind: "read", spots: [null] },
    { kind: "read", spots: [["A", 1], 7] }, { kind: "point", spots: {} }, { kind: "point" }, { kind: "read", spots: Array(101).fill(["A", 1]) },
    { kind: { toString: () => "read" }, spots: [["A", 1]] }];
  bad.forEach((message, i) => raw(0, { from: `s${i}`, n: 1, message }));
  for (const envelope of [undefined, null, 7, "x", {}, { message: good }, { from: "x", n: "1", message: good }, { from: "x", n: NaN, message: good },
    { from: "x", n: 0, message: good }, { from: "x", n: -1, message: good }]) raw(0, envelope);
  assert.deepEqual(heard, []);
  const spots = [["</script><img src=x onerror=alert(1)>", 1, "more"]];
  raw(0, { from: "s", n: 1, message: { kind: "read", spots, extra: 1 } });
  assert.deepEqual(heard, [{ kind: "read", spots: [[spots[0][0], 1]] }], "a copy, without what does not belong");
  spots[0][1] = 5;
  assert.equal(heard[0].spots[0][1], 1);
  for (let i = 0; i < 3000; i++) raw(0, { from: `flood ${i}`, n: 1, message: good });
  assert.equal(heard.length, 3001, "and a flood of senders is no leak that lasts");
}));

test("a closed link neither hears nor is heard, also without BroadcastChannel", () => frames(2, async (widget) => {
  const a = widget(0), b = widget(0), c = widget(1);
  a.tell("read", ["A", 1]);
  await settled(() => c.heard.length);
  assert.equal(c.heard.length, 1);
  c.close();
  a.tell("read", ["A", 1]);
  b.tell("read", ["A", 1]);
  await settled(() => a.heard.length);
  assert.deepEqual([a, b, c].map((o) => o.heard.length), [1, 2, 1]);
  const { BroadcastChannel } = globalThis;
  globalThis.BroadcastChannel = function refused() { throw new Error("SecurityError"); };
  try {
    const lone = widget(0);
    lone.tell("read", ["A", 2]);
    assert.equal(a.heard.length, 2, "a page without an origin still links its own widgets");
  } finally { globalThis.BroadcastChannel = BroadcastChannel; }
}));

test("a widget joins the link that its trait names, changes it, and leaves", () => frames(1, async (widget, raw, [doc]) => {
  globalThis.document = doc;
  const other = openLink("one"), heard = [];
  let listener = null, link = "";
  const host = { get: (key) => (key === "link" ? link : undefined), on: (key, f) => {
    assert.equal(key, "link");
    listener = f;
    return () => { listener = null; };
  } };
  const told = [];
  other.hear((message) => told.push(message));
  const joined = joinLink(host, (message) => heard.push(message)), message = { kind: "read", spots: [["A", 1]] };
  joined.tell(message);
  other.tell(message);
  assert.deepEqual([told, heard], [[], []], "no key, no link");
  listener("one");
  joined.tell(message);
  other.tell(message);
  assert.deepEqual([told.length, heard.length], [1, 1]);
  for (const key of ["two", "", 7, null]) {
    listener(key);
    joined.tell(message);
    other.tell(message);
  }
  assert.deepEqual([told.length, heard.length], [1, 1]);
  listener("one");
  joined.close();
  assert.equal(listener, null);
  other.tell(message);
  assert.equal(heard.length, 1);
  other.close();
  delete globalThis.document;
}));
