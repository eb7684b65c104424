/**
 * One pair of features as a picture of its own: the renderer of PairScatter. Payload: arrays x, y (n,) float32,
 * doc (n,) int32 where known, hx, hy (bins,) uint32; meta.names [A, B], text [[before, token, after]], rangeX, rangeY,
 * rows, title, notes: ScatterData of scatterplot.js.
 */
import { decode } from "./codec.js";
import { el, shown } from "./kit.js";
import { createScatter } from "./scatterplot.js";

/**
 * @param {HTMLElement} stage
 * @param {import("./host.js").Host} host
 */
export async function mount(stage, host) {
  const { arrays, meta } = await decode(host.get("payload"));
  const data = /** @type {import("./scatterplot.js").ScatterData} */ (/** @type {any} */ ({ ...meta, ...arrays }));
  const scatter = createScatter(data, { height: 340 });
  stage.append(el("h2", { class: "fg-text" }, shown(meta.title)), scatter.element);
  return scatter.dispose;
}
