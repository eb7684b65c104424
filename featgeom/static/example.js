/**
 * The smallest renderer, to copy when writing another: a strip of bars. Click one and its index goes to `selected`,
 * which Python sees when it is there, and to linked widgets: a strip with the same title clicks along.
 * Payload: array `height` (n,), meta.labels (n) strings, meta.title.
 */
import { decode } from "./codec.js";
import { el, joinLink, needsKernel, shown } from "./kit.js";

/**
 * @param {HTMLElement} root
 * @param {import("./host.js").Host} host
 */
export async function mount(root, host) {
  const { arrays, meta } = await decode(host.get("payload"));
  const top = arrays.height.reduce((/** @type {number} */ a, /** @type {number} */ b) => Math.max(a, b), 0) || 1;
  const bars = Array.from(arrays.height, (value, i) => el("button", {
    class: "fg-bar", type: "button", onclick: () => click(i),
    style: `height:${Math.round((100 * value) / top)}px`, "aria-label": `${shown(meta.labels[i])}: ${value}`,
  }));
  const caption = el("p", { class: "fg-text", "aria-live": "polite" });
  const ask = el("button", { type: "button", onclick: () => host.send?.({ ask: "more" }) }, "Ask Python");

  const link = joinLink(host, ({ kind, spots: [spot] }) => {
    if (kind === "read" && spot[0] === meta.title && spot[1] < bars.length) host.set("selected", [spot[1]]);
  });
  const click = (/** @type {number} */ i) => {
    host.set("selected", [i]);
    link.tell({ kind: "read", spots: [[meta.title, i]] });
  };
  const show = () => {
    const [i] = host.get("selected") ?? [];
    bars.forEach((bar, j) => bar.setAttribute("aria-pressed", String(i === j)));
    caption.textContent = i === undefined ? "Click a bar." : `${shown(meta.labels[i])}: ${arrays.height[i]}`;
  };
  root.append(el("h2", { class: "fg-text" }, shown(meta.title)), el("div", { class: "fg-bars" }, ...bars), caption,
    needsKernel(ask, host));
  show();
  host.on("selected", show);   // ends with the view, as `hear` does; a link is ours to close
  return () => link.close();
}
