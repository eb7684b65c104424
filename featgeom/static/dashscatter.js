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
    update({ scatter, arrays, spots, sides, pair }) {
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
      /** @param {any} v */
      const write = (v) => (Math.abs(v) <= 1 ? short(v) : brief(v));
      const own = pair?.metric === "correlation";   // then the nulls of the pair are of this number
      for (const [name, v, chance] of [["correlation", scatter.r, own && pair.null],
        ["held out", scatter.held ?? (own ? pair.held : null), own && pair.held_chance]]) {
        if (!Number.isFinite(v)) continue;
        words.push(`${name} ${write(v)}${Number.isFinite(chance) ? ` (null ${write(chance)})` : ""}`);
      }
      return el("section", { class: "ds-block ds-scatter" }, el("h3", {}, "Scatter"),
        el("p", { class: "ds-small" }, words.join(" · ")), plot.element);
    },
  };
}
