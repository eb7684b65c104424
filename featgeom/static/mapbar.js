/**
 * The controls above the panels: score slider with both histograms, what colours, sizes and outlines the points, the
 * tools, and what can be taken away.
 */

import { el, shown, svg } from "./kit.js";
import { sameToken } from "./mapdata.js";
import { grouped, short } from "./maplabels.js";

const BINS = 50, CHART = { w: 200, h: 26 };
const TOOLS = [
  ["move", "Move", "drag moves the map"], ["box", "Box", "drag a box to select; Shift and drag does the same"],
  ["lasso", "Lasso", "draw round points to select them"], ["brush", "Brush", "paint over points to select them"],
];
const COMBINE = [["new", "new selection"], ["add", "add (Ctrl)"], ["remove", "remove (Alt)"]];

/**
 * Counts of the values in equal bins from 0 to 1; what lies outside goes to the first or last.
 * @param {Iterable<ArrayLike<number>>} parts
 * @param {number} bins
 */
export function histogram(parts, bins) {
  const out = new Float64Array(bins);
  for (const values of parts) {
    for (let i = 0; i < values.length; i++) {
      const v = values[i];
      if (Number.isFinite(v)) out[Math.min(bins - 1, Math.max(0, Math.floor(v * bins)))]++;
    }
  }
  return out;
}

/**
 * The middle of finite values in hundredths, NaN without any: exact for what a page holds.
 * @param {ArrayLike<number>[]} parts
 */
export function median(parts) {
  const counts = new Float64Array(201);
  let total = 0;
  for (const values of parts) {
    for (let i = 0; i < values.length; i++) {
      if (!Number.isFinite(values[i])) continue;
      counts[Math.round(values[i] * 100) + 100]++;
      total++;
    }
  }
  /** @param {number} rank */
  const at = (rank) => {
    let c = 0;
    for (let seen = counts[0]; seen <= rank; seen += counts[c]) c++;
    return (c - 100) / 100;
  };
  return total ? (at((total - 1) >> 1) + at(total >> 1)) / 2 : NaN;
}

/**
 * @param {import("./mapdata.js").MapData} data
 * @param {import("./linkedmap.js").Act} act
 * @param {{key: string, title: string, kind: string}[]} keys what can colour, size and outline
 * @param {{find: Node, take: Node[], given: string}} parts the search controls, the buttons that take something away,
 *   what within scores hold fixed
 */
export function createBar(data, act, keys, parts) {
  const allPairs = data.sets.reduce((sum, set) => sum + set.a.length, 0);
  const scores = data.sets.map((set) => set.score), nulls = data.sets.map((set) => set.chance);
  const slider = el("input", {
    type: "range", min: "0", max: "1", step: "0.01", value: "0", "aria-label": "Lowest score of a pair that is shown",
  });
  slider.addEventListener("input", () => act.set({ min: Number(slider.value) }));
  const left = el("output", {});

  /** @param {string} text @param {"hideSame" | "boxes"} field */
  const check = (text, field) => {
    const input = el("input", { type: "checkbox" });
    input.addEventListener("change", () => act.set({ [field]: input.checked }));
    return { input, label: el("label", { class: "lm-check" }, input, text) };
  };
  const same = check(`hide same-${parts.given} pairs`, "hideSame"), boxes = check("cluster boxes", "boxes");
  const anySame = data.sets.some((set) => {
    for (let e = 0; e < set.flags.length; e++) if (sameToken(set, e)) return true;
    return false;
  });
  const anyCluster = data.panels.some((p) => p.cluster);

  /** @param {"colour" | "size" | "outline"} field @param {string} none */
  const choose = (field, none) => {
    const select = el("select", { "aria-label": `What gives points their ${field}` }, el("option", { value: "" }, none),
      ...keys.map(({ key, title }) => el("option", { value: key }, shown(title, 40))));
    select.addEventListener("change", () => act.set({ [field]: select.value }));
    return select;
  };
  const selects = {
    colour: choose("colour", "one colour"), size: choose("size", "one size"), outline: choose("outline", "none"),
  };

  const tools = TOOLS.map(([tool, text, title]) => el("button", {
    type: "button", title, "data-tool": tool, onclick: () => act.set({ tool: /** @type {any} */ (tool) }),
  }, text));
  const combine = el("select", { "aria-label": "What a selection does" },
    ...COMBINE.map(([value, text]) => el("option", { value }, text)));
  combine.addEventListener("change", () => act.set({ combine: /** @type {any} */ (combine.value) }));

  /** @param {(Node | string)[]} caption @param {...Node} controls */
  const group = (caption, ...controls) => el("div", { class: "lm-control" },
    el("div", { class: "lm-caption" }, ...caption), el("div", { class: "lm-set" }, ...controls));
  const evidence = el("div", { class: "lm-control lm-score" },
    el("div", { class: "lm-caption" }, el("span", {}, "score ≥ ", left),
      el("span", { class: "lm-nullkey" }, `null, median ${short(median(nulls))}`)),
    el("div", { class: "lm-slide" }, chart(scores, nulls), slider));
  const element = el("div", { class: "lm-bar", role: "group", "aria-label": "Linked map" },
    el("div", { class: "lm-line" }, parts.find, data.sets.length ? evidence : null,
      el("div", { class: "lm-set lm-last" },
        el("button", { type: "button", title: "key 0 in a map", onclick: () => act.zoomToPair(0, -1) }, "Whole maps"),
        ...parts.take)),
    el("div", { class: "lm-line" },
      ...Object.entries(selects).map(([name, select]) => group([name], select)),
      group(["drag"],
        el("div", { class: "lm-dragtools", role: "group", "aria-label": "What a drag does" }, ...tools), combine),
      el("div", { class: "lm-set lm-checks" }, anySame && same.label, anyCluster && boxes.label)));

  return {
    element,
    /**
     * @param {import("./linkedmap.js").MapState} doc
     * @param {import("./mapderive.js").Derived} derived
     */
    update(doc, { shownPairs }) {
      slider.value = String(doc.min);
      const pairs = `${grouped(shownPairs)} of ${grouped(allPairs)} pairs`;
      slider.setAttribute("aria-valuetext", `${doc.min.toFixed(2)}, ${pairs} left`);
      left.replaceChildren(el("b", {}, short(doc.min)), `, ${pairs}`);
      same.input.checked = doc.hideSame;
      boxes.input.checked = doc.boxes;
      for (const field of /** @type {const} */ (["colour", "size", "outline"])) selects[field].value = doc[field];
      for (const button of tools) button.setAttribute("aria-pressed", String(button.dataset.tool === doc.tool));
      combine.value = doc.combine;
    },
  };
}

/**
 * Scores as bars and their nulls as a line, each scaled to its own top: where the line ends, chance ends.
 * @param {ArrayLike<number>[]} scores
 * @param {ArrayLike<number>[]} nulls
 */
function chart(scores, nulls) {
  const { w, h } = CHART, step = w / BINS;
  /** @param {ArrayLike<number>[]} parts */
  const heights = (parts) => {
    const counts = histogram(parts, BINS), top = Math.max(1, ...counts);
    return Array.from(counts, (c) => (c ? Math.max(1, Math.sqrt(c / top) * (h - 2)) : 0));
  };
  /** @param {number} v */
  const f = (v) => v.toFixed(1);
  const bars = heights(scores).map((v, b) => (v ? `M${f(b * step + 0.4)} ${h}v${f(-v)}h${f(step - 0.8)}V${h}z` : ""));
  const line = heights(nulls).map((v, b) => `L${f(b * step)} ${f(h - v)}h${f(step)}`);
  return svg("svg", { viewBox: `0 0 ${w} ${h}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("path", { class: "lm-bars", d: bars.join("") }),
    svg("path", {
      class: "lm-nullline", d: `M0 ${h}${line.join("")}L${w} ${h}`, "vector-effect": "non-scaling-stroke",
    }));
}
