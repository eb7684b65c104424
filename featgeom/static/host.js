/**
 * One renderer, two hosts. A renderer module exports
 *
 *     export function mount(el, host) { ...; return cleanup; }        // may be async
 *
 * and knows nothing else about where it lives. `live` wraps it for anywidget, `page` starts it in a saved page.
 * When the payload changes, the renderer is unmounted and mounted again: it never listens to "payload" itself.
 */
import { toBytes } from "./codec.js";
import { debounce, el, followTheme, shown } from "./kit.js";

/**
 * @typedef {object} Hash the text behind the # of the page's address; of several widgets in one page, each has its own
 * @property {() => string} get
 * @property {(text: string) => void} set
 * @property {(text: string) => string} behind what stands behind the # if this text is set
 */

/**
 * @typedef {object} Host
 * @property {boolean} live            a kernel answers: `set` reaches Python, `send` may be there
 * @property {(key: string) => any} get
 * @property {(key: string, value: any) => void} set
 * @property {(key: string, callback: (value: any) => void) => () => void} on   hears each change, also by `set`
 * @property {((message: any, buffers?: ArrayBuffer[]) => void)=} send
 * @property {((callback: (message: any, buffers: Uint8Array[]) => void) => () => void)=} hear   what Python sends; live
 * @property {Hash=} hash   pages only
 */
/** @typedef {(() => void) | void} Cleanup */
/** @typedef {(el: HTMLElement, host: Host) => Cleanup | Promise<Cleanup>} Mount */

/**
 * Call what a front end may refuse: where no kernel listens there is nobody to tell, and the figure goes on.
 * @param {() => void} f
 */
function attempt(f) {
  try { f(); } catch (error) { console.debug(error); }
}

/**
 * A host over an anywidget model. Front ends differ: `off`, `send` and `save_changes` may be missing, or throw.
 * @param {any} model
 * @returns {Host}
 */
export function liveHost(model) {
  const colab = /** @type {any} */ (globalThis).google?.colab;
  /** @param {string} event @param {(...args: any[]) => void} callback */
  const listen = (event, callback) => {
    let listening = true;
    const heard = (/** @type {any[]} */ ...args) => { if (listening) callback(...args); };
    model.on(event, heard);
    return () => {
      if (listening) attempt(() => model.off?.(event, heard));
      listening = false;
    };
  };
  return {
    live: colab ? colab.kernel?.accessAllowed !== false : true,
    get: (key) => model.get(key),
    set(key, value) {
      model.set(key, value);
      attempt(() => model.save_changes?.());
    },
    on: (key, callback) => listen(`change:${key}`, () => callback(model.get(key))),
    hear: (callback) => listen("msg:custom", (message, buffers) => callback(message, [...buffers ?? []].map(toBytes))),
    send: model.send ? (message, buffers) => attempt(() => model.send(message, undefined, buffers)) : undefined,
  };
}

/**
 * A host without a kernel: state lives in the page.
 * @param {Record<string, any>} state
 * @returns {Host}
 */
export function staticHost(state) {
  const values = new Map(Object.entries(state));
  /** @type {Map<string, Set<(value: any) => void>>} */
  const listeners = new Map();
  return {
    live: false,
    get: (key) => values.get(key),
    set(key, value) {
      if (JSON.stringify(values.get(key)) === JSON.stringify(value)) return;   // as live models do: no change, no event
      values.set(key, value);
      for (const callback of [...(listeners.get(key) ?? [])]) callback(value);
    },
    on(key, callback) {
      const set = listeners.get(key) ?? new Set();
      listeners.set(key, set.add(callback));
      return () => { set.delete(callback); };
    },
  };
}

/**
 * The hash of the page's address, decoded. Where the address may not be changed (srcdoc frames), memory serves.
 * @param {string} [part] which widget of the page; then the hash is 1=TEXT&2=TEXT
 * @returns {Hash}
 */
export function pageHash(part = "") {
  let memory = "";
  const read = () => location.hash.slice(1);
  const pieces = () => read().split("&").filter((o) => /^\d+=./.test(o));
  const mine = (/** @type {string} */ o) => o.startsWith(`${part}=`);
  const own = () => (part ? pieces().find(mine)?.slice(part.length + 1) ?? "" : read());
  /** @param {string} text */
  const behind = (text) => {
    const code = encodeURIComponent(text);
    return part ? [...pieces().filter((o) => !mine(o)), ...(code ? [`${part}=${code}`] : [])].sort().join("&") : code;
  };
  attempt(() => { memory = decodeURIComponent(own()); });
  return {
    get: () => memory,
    set(text) {
      memory = text;
      attempt(() => history.replaceState(history.state, "", `#${behind(text)}`));
    },
    behind,
  };
}

/**
 * The same host for one mount: what a renderer listens to ends with it, also if it failed or came too late.
 * @param {Host} host
 */
function lease(host) {
  /** @type {(() => void)[] | null} */
  let offs = [];
  /** @param {() => void} off */
  const keep = (off) => {
    if (offs) offs.push(off);
    else off();
    return off;
  };
  const { hear } = host;
  return {
    host: { ...host, on: /** @type {Host["on"]} */ ((key, callback) => keep(host.on(key, callback))),
      hear: hear && (/** @type {Host["hear"]} */ ((callback) => keep(hear(callback)))) },
    end() {
      offs?.forEach((off) => off());
      offs = null;
    },
  };
}

/**
 * Mount a renderer under `parent`: theme, a message instead of a blank on failure, again when the payload changes.
 * The root's `data-state` is "busy", then "ready" or "error".
 * @param {Mount} mount
 * @param {HTMLElement} parent
 * @param {Host} host
 * @returns {() => void} take everything away again
 */
export function attach(mount, parent, host) {
  const root = el("div", { class: "featgeom" });
  parent.replaceChildren(root);
  const stopTheme = followTheme(root);
  let run = 0;
  let rent = lease(host);
  /** @type {Cleanup} */
  let cleanup;
  const stop = () => {
    run++;
    rent.end();
    cleanup?.();
    cleanup = undefined;
  };
  const start = async () => {
    stop();
    const mine = run;
    rent = lease(host);
    const stage = el("div", { class: "fg-stage" });
    root.replaceChildren(stage);
    root.dataset.state = "busy";
    try {
      while (!root.isConnected) {   // some hosts attach it later; without its place in a page it has no styles
        await new Promise(requestAnimationFrame);
        if (mine !== run) return;
      }
      const done = await mount(stage, rent.host);
      if (mine !== run) return done?.();
      cleanup = done;
      root.dataset.state = "ready";
    } catch (error) {
      if (mine !== run) return;
      console.error(error);
      root.replaceChildren(el("div", { class: "fg-error", role: "alert" },
        el("strong", {}, "This figure cannot be drawn. "),
        el("span", {}, error instanceof Error ? error.message : String(error)), " ",
        el("span", {}, host.live ? "Make the widget again in Python." : "Save the page again from Python.")));
      root.dataset.state = "error";
    }
  };
  const off = host.on("payload", start);
  start();
  return () => {
    off();
    stop();
    stopTheme();
    root.remove();
  };
}

/**
 * The default export that anywidget asks for.
 * @param {Mount} mount
 */
export const live = (mount) => ({
  /** @param {{model: any, el: HTMLElement}} view */
  render: ({ model, el: parent }) => attach(mount, parent, liveHost(model)),
});

/**
 * Tell the frame around a page how high its content is. A frame of our own origin is resized, another one is sent
 * {type: "featgeom:height", height}. The content must not size itself by the window's height.
 * @param {HTMLElement} content
 */
function fitFrame(content) {
  if (window.parent === window) return;
  const fit = debounce(() => {
    const height = Math.ceil(content.getBoundingClientRect().height);
    let frame = null;
    try { frame = window.frameElement; } catch { /* a frame of another origin */ }
    if (frame) /** @type {HTMLElement} */ (frame).style.height = `${height}px`;
    else window.parent.postMessage({ type: "featgeom:height", height }, "*");
  }, 120);
  new ResizeObserver(fit).observe(content);
}

/**
 * The payload of a page that keeps it in a script beside it. Such files get lost, cut and mixed up.
 * @param {{file: string, length: number, sha256: string}} wanted
 */
async function beside({ file, length, sha256 }) {
  const own = /** @type {any} */ (globalThis), found = own.featgeomData;
  delete own.featgeomData;
  const wrong = (/** @type {string} */ how) =>
    new Error(`The data of this page are in the file ${shown(file)}, which ${how}. Put the one that was saved with this`
      + " page into the same folder and open the page again.");
  if (!found) throw wrong("is not beside it, or is not whole");
  if (found.sha256 !== sha256) throw wrong("belongs to another page, or to another version of this one");
  const bytes = /** @type {Uint8Array<ArrayBuffer>} */ (toBytes(found.data));
  const digest = await crypto.subtle?.digest("SHA-256", bytes);   // not there on http; a CRC is inside the data as well
  const hex = digest && Array.from(new Uint8Array(digest), (o) => o.toString(16).padStart(2, "0")).join("");
  if (bytes.length !== length || (hex ?? sha256) !== sha256) throw wrong("is damaged");
  return bytes;
}

/**
 * Start a renderer in a saved page, wherever the page names it, from the state and the payload that the page holds.
 * Elsewhere it does nothing.
 * @param {Mount} mount
 * @param {string} name of the renderer
 */
export function page(mount, name) {
  const main = document.getElementById("featgeom");
  /** @type {NodeListOf<HTMLElement>} */
  const roots = document.querySelectorAll("#featgeom[data-renderer], #featgeom > [data-renderer]");
  if (!main || !roots.length) return;   // a notebook, which calls what `live` made
  document.documentElement.classList.add("featgeom");
  followTheme(document.documentElement);
  for (const root of roots) if (root.dataset.renderer === name) startPart(mount, root, root.dataset.part ?? "");
  fitFrame(main);
}

/**
 * Start one of the widgets of a page, `part` "" for the only one.
 * @param {Mount} mount
 * @param {HTMLElement} root
 * @param {string} part
 */
async function startPart(mount, root, part) {
  /** @param {string} id */
  const text = (id) => document.getElementById(id + part)?.textContent?.trim() ?? "";
  /** @type {Record<string, any>} */
  let state = {};
  let start = mount;
  try {
    const stored = text("payload");   // base64, or JSON that names the file beside the page
    const payload = stored.startsWith("{") ? await beside(JSON.parse(stored)) : toBytes(stored);
    state = { ...JSON.parse(text("state")), payload };
  } catch (error) {
    start = () => { throw error; };   // shown where the figure would be
  }
  let stop = () => {};
  const begin = () => {
    stop();
    stop = attach(start, root, { ...staticHost(state), hash: pageHash(part) });
  };
  begin();
  window.addEventListener("hashchange", begin);   // a link with another hash, opened in the same tab, loads nothing
}
