/**
 * What every renderer needs and no more: elements that hold text only, the host's theme, a debounce.
 *
 * The rule on text: tokens and labels are hostile. All of it enters the page as text nodes, through `el`, `svg` or
 * `textContent`. No renderer touches innerHTML, outerHTML, insertAdjacentHTML or document.write.
 */

/** @typedef {string | number | Node | null | undefined | false} Child */
/** @typedef {Record<string, any>} Attrs functions listen ("onclick"), true is an empty attribute, null none */

/** @param {any} x */
const given = (x) => x !== null && x !== undefined && x !== false;

/**
 * @param {Element} node
 * @param {Attrs} attrs
 * @param {Child[]} children
 */
function fill(node, attrs, children) {
  for (const [name, value] of Object.entries(attrs)) {
    if (typeof value === "function") node.addEventListener(name.replace(/^on/, ""), value);
    else if (/^on|^srcdoc$/i.test(name)) throw new Error(`Attribute ${name} would run text as code.`);
    else if (given(value)) node.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children) if (given(child)) node.append(child instanceof Node ? child : String(child));
}

/**
 * An HTML element. Strings become text nodes, never markup.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Attrs} [attrs]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function el(tag, attrs = {}, ...children) {
  const node = document.createElement(tag);
  fill(node, attrs, children);
  return node;
}

/**
 * An SVG element, under the same rule.
 * @template {keyof SVGElementTagNameMap} K
 * @param {K} tag
 * @param {Attrs} [attrs]
 * @param {...Child} children
 * @returns {SVGElementTagNameMap[K]}
 */
export function svg(tag, attrs = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  fill(node, attrs, children);
  return node;
}

/** Second control block, direction overrides and isolates, halves of surrogate pairs: shown by their code. */
const UNSEEN = [[0x80, 0x9f], [0x202a, 0x202e], [0x2066, 0x2069], [0xd800, 0xdfff]];

/**
 * Text as a reader should see it: control characters as pictures (NUL as ␀), direction overrides named, cut.
 * @param {any} text
 * @param {number} [max] characters (code points) to keep
 */
export function shown(text, max = 200) {
  // No character takes more than two UTF-16 units, so a cut here loses nothing that is shown.
  const points = Array.from(String(text).slice(0, 2 * max + 2));
  const kept = points.length > max ? [...points.slice(0, max - 1), "…"] : points;
  return kept.map((c) => {
    const code = /** @type {number} */ (c.codePointAt(0));
    if (code < 32) return String.fromCodePoint(0x2400 + code);
    if (code === 127) return "␡";
    const named = UNSEEN.some(([from, to]) => code >= from && code <= to);
    return named ? `⟨U+${code.toString(16).toUpperCase().padStart(4, "0")}⟩` : c;
  }).join("");
}

/** A name that no other element of the page has, for references between elements. */
export const uid = () => `fg-${Math.random().toString(36).slice(2)}`;

/**
 * Call `f` once things have been quiet for `ms`.
 * @template {any[]} A
 * @param {(...args: A) => void} f
 * @param {number} ms
 * @returns {((...args: A) => void) & {cancel(): void}}
 */
export function debounce(f, ms) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const wait = (/** @type {A} */ ...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => f(...args), ms);
  };
  return Object.assign(wait, { cancel: () => clearTimeout(timer) });
}

const MARKS = ["theme", "data-bs-theme", "data-theme"];

/**
 * "dark" or "light" if the page around us says so, else null.
 * Known marks: JupyterLab, VS Code, Colab, marimo, Quarto, Sphinx themes.
 * @param {Document} doc
 * @returns {"dark" | "light" | null}
 */
export function hostTheme(doc) {
  const html = doc.documentElement, body = doc.body;
  /** @param {string} name */
  const mark = (name) => html?.getAttribute(name) ?? body?.getAttribute(name) ?? "";
  const jupyter = mark("data-jp-theme-light");
  if (jupyter) return jupyter === "false" ? "dark" : "light";
  const vscode = mark("data-vscode-theme-kind");
  if (vscode) return /light$/.test(vscode) ? "light" : "dark";
  for (const name of MARKS) {
    const value = mark(name);
    if (value === "dark" || value === "light") return value;
  }
  for (const node of [html, body])
    for (const value of /** @type {const} */ (["dark", "light"]))
      if (node?.classList.contains(value) || node?.classList.contains(`quarto-${value}`)) return value;
  return null;
}

/** Our document and, as far as they may be read, those of the windows around it. */
function documents() {
  const docs = [document];
  try {
    for (let w = window; w !== w.parent; ) {
      w = /** @type {typeof window} */ (w.parent);
      docs.push(w.document);
    }
  } catch {
    // A window of another origin: what lies beyond it is not ours to read.
  }
  return docs;
}

/**
 * Keep `node.dataset.theme` equal to the host's theme, and say so now and at every change.
 * @param {HTMLElement} node
 * @param {(theme: "dark" | "light") => void} [callback]
 * @returns {() => void} stop
 */
export function followTheme(node, callback) {
  const docs = documents();
  const media = matchMedia("(prefers-color-scheme: dark)");
  /** @type {"dark" | "light" | undefined} */
  let last;
  const update = () => {
    // Our own marks (data-theme on a saved page's root) are on elements of class featgeom, which are not asked.
    const others = docs.filter((doc) => !doc.documentElement.classList.contains("featgeom"));
    const found = others.map(hostTheme).find(Boolean);
    const theme = found ?? (media.matches ? "dark" : "light");
    if (theme === last) return;
    node.dataset.theme = last = theme;
    callback?.(theme);
  };
  const observer = new MutationObserver(update);
  const watched = { attributeFilter: ["class", ...MARKS, "data-jp-theme-light", "data-vscode-theme-kind"] };
  for (const doc of docs)
    for (const target of [doc.documentElement, doc.body]) if (target) observer.observe(target, watched);
  media.addEventListener("change", update);
  update();
  return () => {
    observer.disconnect();
    media.removeEventListener("change", update);
  };
}

/**
 * The value of a CSS variable at `node`, for canvases: `cssVar(root, "--fg-text")`.
 * @param {Element} node
 * @param {string} name
 */
export const cssVar = (node, name) => getComputedStyle(node).getPropertyValue(name).trim();

/**
 * Hand the reader a file. A sandboxed frame may refuse downloads without a word: there, text is shown as well.
 * @param {string} name of the file
 * @param {string | Blob} data
 * @param {string} type
 * @param {HTMLElement} root where the text may be shown
 */
export function download(name, data, type, root) {
  const url = URL.createObjectURL(new Blob([data], { type }));
  const link = el("a", { href: url, download: name });
  root.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
  const sandboxed = window.origin === "null" && (location.protocol !== "file:" || window.parent !== window);
  if (sandboxed && typeof data === "string") showFile(name, data, root);
}

/**
 * The text of a file, selected and ready to be copied, until it is closed.
 * @param {string} name
 * @param {string} text
 * @param {HTMLElement} root
 */
function showFile(name, text, root) {
  root.querySelector(".fg-file")?.remove();
  const before = /** @type {HTMLElement | null} */ (
    /** @type {Document | ShadowRoot} */ (root.getRootNode()).activeElement);   // marimo shows widgets in shadow roots
  const close = () => {
    box.remove();
    before?.focus();
  };
  const area = el("textarea", { readonly: true, rows: 8, "aria-label": shown(name) });
  area.value = text;
  const box = el("div", { class: "fg-file", role: "group",
    onkeydown: (/** @type {KeyboardEvent} */ event) => {
      event.stopPropagation();
      if (event.key === "Escape") close();
    } },
  el("p", {}, "If no download began: this is ", el("b", { class: "fg-text" }, shown(name)), ", to copy. ",
    el("button", { type: "button", onclick: close }, "Close")), area);
  root.append(box);
  area.select();
}

/**
 * Keys of a row of tabs: arrows go round, Home and End to its ends; the tab that is reached is chosen.
 * @param {HTMLElement} tablist
 * @param {HTMLElement[]} tabs
 * @param {(index: number) => void} choose
 */
export function walkTabs(tablist, tabs, choose) {
  tablist.addEventListener("keydown", (event) => {
    const at = tabs.findIndex((o) => o === event.target), last = tabs.length - 1;
    const to = { ArrowLeft: at ? at - 1 : last, ArrowRight: at < last ? at + 1 : 0, Home: 0, End: last }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    tabs[to].focus();
    choose(to);
  });
}

/**
 * Mark a control that only a running kernel can serve: without one it is disabled and says why.
 * @template {HTMLButtonElement | HTMLInputElement | HTMLSelectElement} T
 * @param {T} control
 * @param {{live: boolean}} host
 * @returns {T}
 */
export function needsKernel(control, host) {
  if (!host.live) {
    control.disabled = true;
    control.title = "needs a running kernel";
  }
  return control;
}

/**
 * @typedef {{kind: "read" | "point", spots: [string, number][]}} LinkMessage what widgets of one link tell each other:
 *   "read" these features (name of a space, id; the first is the one meant, then its partner), or "point" at them for a
 *   moment; "point" without any ends that
 */
/** @typedef {(message: LinkMessage) => void} Hearer */

const LINK = "featgeom:link";

/** Our own copy of a message, or null: whatever runs in another frame of our origin may send. @param {any} given */
function readMessage(given) {
  const { kind, spots } = Object(given);
  const good = (kind === "read" && spots?.length) || kind === "point";
  const fits = (/** @type {any} */ o) =>
    Array.isArray(o) && typeof o[0] === "string" && o[1] >= 0 && Number.isInteger(o[1]);
  return good && Array.isArray(spots) && spots.length <= 100 && spots.every(fits)
    ? /** @type {LinkMessage} */ ({ kind, spots: spots.map(([name, id]) => [name, id]) }) : null;
}

/**
 * A line to the widgets with the same key, in this page and in other frames and windows of its origin. Nobody hears
 * itself, nobody hears a thing twice, and what is told while something is heard goes nowhere: so nothing echoes.
 * @param {string} key
 */
export function openLink(key) {
  const me = uid(), channelName = `${LINK}:${key}`;
  /** @type {Set<Hearer>} */
  const hearers = new Set();
  /** @type {Map<any, number>} */
  const last = new Map();   // of each sender: a message comes by two ways
  let count = 0, hearing = false;
  /** @type {BroadcastChannel | null} */
  let channel = null;
  /** @param {any} envelope */
  const take = (envelope) => {
    const { from, n } = Object(envelope), message = readMessage(envelope?.message);
    if (!message || from === me || typeof n !== "number" || !(n > (last.get(from) ?? 0))) return;
    if (last.size > 1000) last.clear();
    last.set(from, n);
    hearing = true;
    try { hearers.forEach((hearer) => hearer(message)); } finally { hearing = false; }
  };
  const near = (/** @type {any} */ event) => take(event.detail);
  document.addEventListener(channelName, near);
  try {
    channel = new BroadcastChannel(channelName);
    channel.onmessage = (event) => take(event.data);
  } catch { /* a page of no origin: its own widgets are linked all the same */ }
  return {
    /** @param {LinkMessage} message */
    tell(message) {
      if (hearing) return;
      const envelope = { from: me, n: ++count, message };
      document.dispatchEvent(new CustomEvent(channelName, { detail: envelope }));
      channel?.postMessage(envelope);
    },
    /** @param {Hearer} hearer */
    hear(hearer) {
      hearers.add(hearer);
      return () => { hearers.delete(hearer); };
    },
    close() {
      document.removeEventListener(channelName, near);
      channel?.close();
      hearers.clear();
    },
  };
}

/**
 * The link that a widget's trait `link` names, also when Python names another one. Without a name nobody listens.
 * @param {import("./host.js").Host} host
 * @param {Hearer} hearer
 */
export function joinLink(host, hearer) {
  /** @type {ReturnType<typeof openLink> | null} */
  let link = null;
  const join = (/** @type {any} */ key) => {
    link?.close();
    link = key && typeof key === "string" ? openLink(key) : null;
    link?.hear(hearer);
  };
  const off = host.on("link", join);
  join(host.get("link"));
  return {
    tell: (/** @type {LinkMessage} */ message) => link?.tell(message),
    close() {
      off();
      join("");
    },
  };
}
