/**
 * The scatter of a pair inside the dashboard: activations of both features on single tokens, and what goes with it.
 */

import { el, shown } from "./kit.js";
import { brief } from "./mapcolour.js";
import { grouped, short } from "./maplabels.js";
import { nameOf } from "./dashfacts.js";
import { createScatter } from "./scatterplot.js";

/** @param {import("./dashdata.js").Dash} dash */
export function createPairScatter(dash) {
  /** @type {ReturnType<typeof createScatter> | null} */
  let plot = null;
  const dispose = () => {
    plot?.dispose();
    plot = null;
  };
  return {
    dispose,
    /** @param {import("./dashdata.js").Entry} entry @returns {HTMLElement | null} */
    update({ scatter, arrays, spots, sides }) {
      dispose();
      if (!scatter || spots.length < 2 || !arrays.sx || !arrays.sy) return null;
      const rows = shown(dash.spaces[0].rows, 20);
      const edges = sides.map(({ meta, max }, s) => scatter[s ? "y" : "x"] ?? [meta.low ?? 0, meta.high ?? max]);
      plot = createScatter({
        names: spots.map(nameOf), x: arrays.sx, y: arrays.sy, text: scatter.text ?? [], 
        hx: arrays.hx ?? [], hy: arrays.hy ?? [], rangeX: edges[0], rangeY: edges[1], rows, notes: scatter.notes ?? [],
      }, { height: 280 });
      const drawn = grouped(arrays.sx.length), all = grouped(scatter.either ?? scatter.n ?? 0);
      const words = [`${drawn} of ${all} ${rows} where either fires`];
      if (Number.isFinite(scatter.both)) words.push(`both on ${grouped(scatter.both)}`);
      for (const [name, v] of [["correlation", scatter.r], ["held out", scatter.held]])
        if (Number.isFinite(v)) words.push(`${name} ${Math.abs(v) <= 1 ? short(v) : brief(v)}`);
      return el("section", { class: "ds-block ds-scatter" }, el("h3", {}, "Scatter"),
        el("p", { class: "ds-small" }, words.join(" · ")), plot.element);
    },
  };
}
