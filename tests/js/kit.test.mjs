// The parts of kit.js that need no page; elements and themes in a real one are tested in tests/test_widget.py.
import assert from "node:assert/strict";
import test from "node:test";
import { setTimeout as pause } from "node:timers/promises";

import { debounce, hostTheme, needsKernel, shown } from "../../featgeom/static/kit.js";

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
