/**
 * The controls above the panels and what stands below them: search, score slider with both histograms, colour, box,
 * pinned pairs.
 */

import { debounce, el, shown, svg } from "./kit.js";
import { sameToken } from "./mapdata.js";
import { evidence, grouped, nameOf, short, title } from "./maplabels.js";

const BINS = 50, CHART = { w: 200, h: 26 };

/**
 * Counts of the values in equal bins from 0 to 1; what lies outside goes to the first or last.
 * @param {Iterable<number>} values
 * @param {number} bins
 */
export function histogram(values, bins) {
  const out = new Float64Array(bins);
  for (const v of values) if (Number.isFinite(v)) out[Math.min(bins - 1, Math.max(0, Math.floor(v * bins)))]++;
  return out;
}

/**
 * The middle value of finite ones, NaN without any.
 * @param {number[]} values
 */
export function median(values) {
  const kept = values.filter(Number.isFinite).sort((a, b) => a - b);
  return kept.length ? (kept[(kept.length - 1) >> 1] + kept[kept.length >> 1]) / 2 : NaN;
}

/**
 * @param {import("./mapdata.js").MapData} data
 * @param {{query: (text: string) => void, min: (score: number) => void, hideSame: (on: boolean) => void,
 *   colour: (panel: number) => void, box: (on: boolean) => void, reset: () => void}} act
 */
export function createBar(data, act) {
  const search = el("input", {
    type: "search", placeholder: "token or feature id", "aria-label": "Search: a whole token, or a feature id",
    spellcheck: "false", autocomplete: "off",
  });
  const hits = el("span", { class: "lm-hits", role: "status" });
  const ask = debounce(() => act.query(search.value), 80);
  search.addEventListener("input", ask);
  search.addEventListener("keydown", (e) => {
    e.stopPropagation();
    if (e.key === "Enter") act.query(search.value);
    if (e.key === "Escape") act.query("");
  });

  const scores = data.sets.flatMap((set) => Array.from(set.score));
  const nulls = data.sets.flatMap((set) => Array.from(set.chance));
  const slider = el("input", {
    type: "range", min: "0", max: "1", step: "0.01", value: "0", "aria-label": "Lowest score of a pair that is shown",
  });
  slider.addEventListener("input", () => act.min(Number(slider.value)));
  const left = el("output", {}), only = el("input", { type: "checkbox" });
  only.addEventListener("change", () => act.hideSame(only.checked));
  const middle = median(nulls);
  const evidenceGroup = el("div", { class: "lm-control lm-score" },
    el("div", { class: "lm-caption" },
      el("span", {}, "score ≥ ", left), el("span", { class: "lm-nullkey" }, `null, median ${short(middle)}`)),
    el("div", { class: "lm-slide" }, chart(scores, nulls), slider));
  const anyOnly = data.sets.some((set) => set.flags.some((_, e) => sameToken(set, e)));

  const withClusters = data.panels.map((p, i) => ({ p, i })).filter(({ p }) => p.cluster && p.clusterLabels.length);
  const colour = el("select", { "aria-label": "Colour of the points" }, el("option", { value: "-1" }, "one colour"),
    ...withClusters.map(({ p, i }) => el("option", { value: i }, `clusters of ${shown(p.name, 30)}`)));
  colour.addEventListener("change", () => act.colour(Number(colour.value)));

  const box = el("button", {
    type: "button", "aria-pressed": "false", title: "drag a box to select; Shift and drag does the same; Ctrl adds",
  }, "Box select");
  box.addEventListener("click", () => act.box(box.getAttribute("aria-pressed") !== "true"));
  const reset = el("button", { type: "button", title: "key 0 in a map" }, "Whole maps");
  reset.addEventListener("click", act.reset);

  /** @param {Node[]} caption @param {Node} control */
  const group = (caption, control) =>
    el("div", { class: "lm-control" }, el("div", { class: "lm-caption" }, ...caption), control);
  const element = el("div", { class: "lm-bar", role: "group", "aria-label": "Linked map" },
    group([el("span", {}, "find"), hits], search),
    data.sets.length ? evidenceGroup : null,
    withClusters.length ? group([el("span", {}, "colour")], colour) : null,
    el("div", { class: "lm-buttons" },
      anyOnly && el("label", { class: "lm-check" }, only, "hide same-token pairs"), box, reset));

  return {
    element,
    /**
     * @param {{query: string, min: number, hideSame: boolean, colour: number, box: boolean}} doc
     * @param {number[][]} found
     * @param {number} shownPairs
     * @param {number} allPairs
     */
    update(doc, found, shownPairs, allPairs) {
      if (search.value.trim() !== doc.query) search.value = doc.query;
      const total = found.reduce((sum, o) => sum + o.length, 0);
      const each = data.panels.map((p, i) => `${shown(p.name, 20)} ${grouped(found[i].length)}`).join(", ");
      hits.textContent = doc.query ? `${grouped(total)} found: ${each}` : "";
      slider.value = String(doc.min);
      const pairs = `${grouped(shownPairs)} of ${grouped(allPairs)} pairs`;
      slider.setAttribute("aria-valuetext", `${doc.min.toFixed(2)}, ${pairs} left`);
      left.replaceChildren(el("b", {}, short(doc.min)), `, ${pairs}`);
      only.checked = doc.hideSame;
      colour.value = String(doc.colour);
      box.setAttribute("aria-pressed", String(doc.box));
    },
    dispose: () => ask.cancel(),
  };
}

/**
 * Scores as bars and their nulls as a line, each scaled to its own top: where the line ends, chance ends.
 * @param {number[]} scores
 * @param {number[]} nulls
 */
function chart(scores, nulls) {
  const { w, h } = CHART, step = w / BINS;
  /** @param {number[]} values */
  const heights = (values) => {
    const counts = histogram(values, BINS), top = Math.max(1, ...counts);
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

/**
 * The pinned points and their pairs, as a table.
 * @param {import("./mapdata.js").MapData} data
 * @param {{unpin: (panel: number, point: number) => void, show: (panel: number, point: number) => void}} act
 */
export function createPins(data, act) {
  const body = el("tbody", {});
  const element = el("div", { class: "lm-pins", hidden: true },
    el("table", {}, el("caption", {}, "Pinned"), el("thead", {}, el("tr", {},
      ...["feature", "partner", "evidence", "actions"].map((text) => el("th", { scope: "col" }, text)))), body));
  return {
    element,
    /** @param {import("./mappanel.js").Focus[]} pinned */
    update(pinned) {
      element.hidden = !pinned.length;
      body.replaceChildren(...pinned.flatMap((pin) => (pin.partners.length ? pin.partners.slice(0, 3) : [null])
        .map((partner, rank) => pinRow(data, act, pin, partner, rank))));
    },
  };
}

/**
 * One line of the pinned table; the feature itself and its buttons stand in the first.
 * @param {import("./mapdata.js").MapData} data
 * @param {{unpin: (panel: number, point: number) => void, show: (panel: number, point: number) => void}} act
 * @param {import("./mappanel.js").Focus} pin
 * @param {import("./mapdata.js").Partner | null} partner
 * @param {number} rank
 */
function pinRow(data, act, { panel, point, partners }, partner, rank) {
  const name = nameOf(data, panel, point), first = rank === 0, rest = rank === 2 ? partners.length - 3 : 0;
  /** @param {string} text */
  const muted = (text) => el("span", { class: "fg-muted" }, text);
  /** @param {string} text @param {(panel: number, point: number) => void} what */
  const button = (text, what) =>
    el("button", { type: "button", "aria-label": `${text} ${name}`, onclick: () => what(panel, point) }, text);
  return el("tr", { class: first ? "lm-first" : "" },
    el("td", {}, first && title(data, panel, point)),
    el("td", {}, partner ? title(data, partner.panel, partner.point) : muted("no partner at this score")),
    el("td", {}, partner && evidence(data.sets[partner.set], partner.edge), rest > 0 && muted(`and ${rest} more`)),
    el("td", { class: "lm-acts" }, first && button("zoom to", act.show), first && button("unpin", act.unpin)));
}
