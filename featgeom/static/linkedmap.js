/**
 * The linked map: panels side by side, one state document, partners found in the page through the index maps of
 * mapdata.js. Traits of the host: payload; selected {panel name: [ids]}; hovered null | [name, id]; pinned [[name,
 * id], ...].
 */

import { decode } from "./codec.js";
import { debounce, el, shown } from "./kit.js";
import { gridNeighbours } from "./grid.js";
import { BEYOND, findPoints, linkedPoints, partnersOf, readMap, sameToken } from "./mapdata.js";
import { createBar, createPins } from "./mapbar.js";
import { grouped, spoken } from "./maplabels.js";
import { createPanel } from "./mappanel.js";
import { COLOURS } from "./mapstyle.js";
import { createState } from "./state.js";
import { between, boxOf, fitBox, placeOf, viewAt } from "./view.js";

/** @typedef {[number, number]} Spot panel and point */
/**
 * @typedef {Object} MapState
 * @property {number} v version of this document
 * @property {import("./view.js").Place[]} views
 * @property {Spot | null} hover
 * @property {Spot[]} pins
 * @property {number[][]} selection points, per panel
 * @property {string} query
 * @property {number} min lowest score shown
 * @property {boolean} hideSame whether pairs that are no more than a shared token are hidden
 * @property {number} colour panel whose clusters colour all panels, -1 for none
 * @property {boolean} box whether dragging selects
 */

/**
 * @param {HTMLElement} stage
 * @param {import("./host.js").Host} host
 * @returns {Promise<() => void>}
 */
export async function mount(stage, host) {
  const { arrays, meta } = await decode(host.get("payload"));
  const data = readMap(arrays, meta);
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const hint = `lm-${Math.random().toString(36).slice(2)}`;

  // ---- what Python and the page tell each other: names and feature ids outside, panel and point numbers inside
  /** @param {any} pair @returns {Spot | null} */
  const inward = (pair) => {
    const panel = data.panels.findIndex((p) => p.name === pair?.[0]), point = data.panels[panel]?.pointOf.get(pair[1]);
    return point === undefined ? null : [panel, point];
  };
  /** @param {Spot} spot */
  const outward = ([panel, point]) => [data.panels[panel].name, data.panels[panel].ids[point]];
  /** @param {any} selected @returns {number[][]} */
  const selectionIn = (selected) => data.panels.map((p) => {
    /** @type {number[]} */
    const ids = selected?.[p.name] ?? [];
    return ids.flatMap((id) => p.pointOf.get(id) ?? []).sort((i, j) => i - j);
  });
  /** @param {number[][]} selection */
  const selectionOut = (selection) => Object.fromEntries(selection.flatMap((points, p) =>
    (points.length ? [[data.panels[p].name, points.map((i) => data.panels[p].ids[i])]] : [])));
  /** @param {any} pinned @returns {Spot[]} */
  const pinsIn = (pinned) => (pinned ?? []).map(inward).filter(Boolean);

  // ---- the state and what follows from it
  const act = {
    /** @param {number} panel @param {number} point */
    hover: (panel, point) => state.set({ hover: point < 0 ? null : [panel, point] }),
    /** @param {number} panel @param {number} point */
    pin(panel, point) {
      const { pins } = state.get(), others = pins.filter((o) => o[0] !== panel || o[1] !== point);
      state.set({ pins: others.length < pins.length ? others : [...pins, [panel, point]] });
    },
    /** @param {number} panel @param {number[]} points @param {boolean} add */
    select(panel, points, add) {
      const selection = data.panels.map((_, p) => (add ? state.get().selection[p] : []));
      selection[panel] = [...new Set([...selection[panel], ...points])].sort((i, j) => i - j);
      state.set({ selection });
    },
    /** @param {number} panel @param {import("./view.js").Place} place */
    move(panel, place) {
      cancelAnimationFrame(flight);
      state.set({ views: state.get().views.map((o, p) => (p === panel ? place : o)) });
    },
    /** @param {number} panel @param {number} point */
    zoomToPair: (panel, point) => fly(point < 0 ? panels.map((o) => o.home()) : around(panel, point)),
    clear: () => state.set({ hover: null, pins: [], selection: data.panels.map(() => []) }),
  };
  const bar = createBar(data, {
    query: (text) => state.set({ query: text.trim() }),
    min: (min) => state.set({ min }),
    hideSame: (hideSame) => state.set({ hideSame }),
    colour: (colour) => state.set({ colour }),
    box: (box) => state.set({ box }),
    reset: () => act.zoomToPair(0, -1),
  });
  const panels = data.panels.map((_, p) => createPanel(data, p, act, hint));
  const pins = createPins(data, { unpin: act.pin, show: act.zoomToPair });
  const firstClusters = data.panels.findIndex((p) => p.cluster && p.clusterLabels.length);
  const state = createState(/** @type {MapState} */ ({
    v: 1, views: panels.map((o) => o.home()), hover: inward(host.get("hovered")),
    pins: pinsIn(host.get("pinned")), selection: selectionIn(host.get("selected")),
    query: "", min: 0, hideSame: false, colour: firstClusters, box: false,
  }));

  /** @type {number[][]} */
  let found = data.panels.map(() => []);
  let shownPairs = 0;
  const allPairs = data.sets.reduce((sum, set) => sum + set.a.length, 0);
  /** @type {import("./mappanel.js").Derived} */
  const derived = { focus: null, pinned: [], looks: [] };
  /** @param {import("./mapdata.js").PairSet} set @param {number} e */
  const isShown = (set, e) => {
    const { min, hideSame } = state.get();
    const strong = min <= 0 || set.score[e] >= min - 1e-6;   // at 0 all are shown, negative ones too
    return strong && !(hideSame && sameToken(set, e));
  };
  /** @param {Spot} spot @returns {import("./mappanel.js").Focus} */
  const focusOn = ([panel, point]) => ({ panel, point, partners: partnersOf(data, panel, point, isShown) });

  function deriveFocus() {
    const { hover, pins: pinned } = state.get();
    derived.pinned = pinned.map(focusOn);
    derived.focus = hover ? focusOn(hover) : derived.pinned.at(-1) ?? null;
  }

  function deriveLooks() {
    const { selection, query, colour } = state.get();
    const partners = data.panels.map(() => new Set());
    /** @param {import("./mapdata.js").PairSet} set @param {number} e */
    const real = (set, e) => Boolean(set.flags[e] & BEYOND) && isShown(set, e);
    selection.forEach((points, panel) => points.forEach((i) => {
      for (const o of partnersOf(data, panel, i, real)) partners[o.panel].add(o.point);
    }));
    const dimmed = Boolean(query) || selection.some((o) => o.length);
    stage.dataset.selected = selection.map((o) => o.length).join(",");
    derived.looks = data.panels.map((_, p) => ({
      linked: linkedPoints(data, p, isShown), colour: colours(data, p, colour, isShown),
      selected: new Set(selection[p]), partners: partners[p], found: new Set(found[p]), dimmed,
    }));
  }

  // ---- drawing: highlights at once, points with the next frame
  const live = el("p", { class: "lm-spoken", "aria-live": "polite" });
  const announce = debounce((/** @type {string} */ text) => { live.textContent = text; }, 150);
  let frame = 0, flight = 0;
  /** @type {Set<ReturnType<typeof createPanel>>} */
  const stale = new Set();
  const redraw = () => {
    frame = 0;
    for (const panel of stale) {
      panel.drawBase();
      panel.drawOverlay();
    }
    stale.clear();
    for (const panel of panels) panel.drawLabels();
  };
  /** @param {ReturnType<typeof createPanel>[]} which */
  const soon = (which) => {
    which.forEach((panel) => stale.add(panel));
    frame ||= requestAnimationFrame(redraw);
  };

  function marks() {
    deriveFocus();
    for (const panel of panels) {
      panel.setDerived(derived);
      panel.drawOverlay();
    }
    soon([]);
    const { focus } = derived;
    stage.dataset.hovered = focus ? outward([focus.panel, focus.point]).join(":") : "";
    stage.dataset.partners = focus ? focus.partners.map((o) => outward([o.panel, o.point]).join(":")).join(" ") : "";
    announce(focus ? spoken(data, focus.panel, focus.point, focus.partners) : "");
  }
  function looks() {
    deriveLooks();
    for (const panel of panels) {
      panel.setDerived(derived);
      panel.restyle();
    }
    soon(panels);
  }
  function controls() {
    const { colour } = state.get();
    colourKey.textContent = colour < 0 ? "" : `colours: the largest clusters of ${shown(data.panels[colour].name, 30)}`
      + (data.panels.length > 1 ? "; elsewhere a point has the colour of its best partner there" : "");
    bar.update(state.get(), found, shownPairs, allPairs);
    pins.update(derived.pinned);
  }

  // ---- moving to a pair
  /** @param {number} panel @param {number} point */
  function around(panel, point) {
    const { partners } = focusOn([panel, point]);
    return panels.map((o, p) => {
      const own = p === panel ? [point] : partners.filter((q) => q.panel === p).slice(0, 3).map((q) => q.point);
      const d = data.panels[p], { width, height, k0 } = o.size();
      const seen = boxOf(d.x, d.y, own.flatMap((i) => gridNeighbours(d.grid, d.x[i], d.y[i], 14)));
      if (!seen || !width) return o.place();
      return placeOf(fitBox(seen, width, height, Math.min(width, height) / 5, k0 * 200), width, height, k0);
    });
  }
  /** @param {import("./view.js").Place[]} target */
  function fly(target) {
    cancelAnimationFrame(flight);
    const from = state.get().views, begin = performance.now(), time = still.matches ? 0 : 280;
    /** @param {number} now */
    const step = (now) => {
      const t = time ? Math.min(1, Math.max(0, (now - begin) / time)) : 1, ease = 1 - (1 - t) ** 3;
      state.set({ views: target.map((to, p) => {
        const { width, height, k0 } = panels[p].size();
        if (t === 1 || !width) return to;
        const [start, end] = [from[p], to].map((o) => viewAt(o, width, height, k0));
        return placeOf(between(start, end, ease), width, height, k0);
      }) }, "flight");
      if (t < 1) flight = requestAnimationFrame(step);
    };
    step(begin + (time ? 0 : 1));
  }

  // ---- the page
  /** @type {string[]} */
  const notes = [...(meta.notes ?? [])].map((text) => shown(text, 400));
  for (const { left, right, kept, total, limit } of meta.pairs) {
    if (kept === total) continue;
    notes.push(`${shown(data.panels[left].name, 30)} and ${shown(data.panels[right].name, 30)}: ${grouped(kept)} of `
      + `${grouped(total)} pairs are in this page, the best partner of every feature and then the strongest whose ends `
      + `have fewer than ${limit}.`);
  }
  const colourKey = el("li", {});
  const legend = el("ul", { class: "lm-legend" },
    ...[["full", "has a partner beyond chance"], ["hollow", "has none"], ["mark", "this feature and its partners"],
      ["dash", "dashed: no more than the same token"]].map(([key, text]) =>
      el("li", {}, el("i", { class: `lm-key lm-${key}` }), text)), colourKey);
  const words = el("p", { class: "lm-words fg-text" }, [
    "Near points of one map are alike. Distances, directions and places mean nothing between maps: only the links do.",
    "A feature is tested on its best partner, so other partners have no q.", ...notes].join(" "));
  const help = el("p", { class: "lm-help", id: hint },
    "Point at a feature, click to pin it, double-click to zoom to it and its partners; the wheel zooms, a drag moves, ",
    "Shift and a drag select. Keys: arrows go to the next feature, Enter pins, z zooms to the pair, + and − zoom, ",
    "0 shows all, Escape clears.");
  const grid = el("div", { class: "lm-panels" }, ...panels.map((o) => o.element));
  stage.classList.add("lm");
  stage.append(bar.element, grid, legend, pins.element, words, help, live);

  // ---- one listener for all changes
  const sendHover = debounce((/** @type {any} */ value) => host.set("hovered", value), 120);
  const offState = state.on((doc, changed, origin) => {
    /** @param {(keyof MapState)[]} keys */
    const any = (...keys) => keys.some((key) => changed.has(key));
    if (any("query")) found = findPoints(data, doc.query);
    if (any("min", "hideSame")) shownPairs = countShown();
    if (any("views")) {
      const moved = panels.filter((o, p) => o.place() !== doc.views[p]);
      panels.forEach((o, p) => o.setPlace(doc.views[p]));
      soon(moved);
    }
    if (any("box")) panels.forEach((o) => o.setBoxMode(doc.box));
    if (any("query", "min", "hideSame", "selection", "colour")) looks();
    if (any("hover", "pins", "min", "hideSame")) marks();
    if (any("query", "min", "hideSame", "selection", "colour", "pins", "box")) controls();
    if (any("query")) announce(doc.query ? `Found ${found.reduce((sum, o) => sum + o.length, 0)}.` : "");
    if (any("selection")) {
      const sizes = data.panels.map((p, i) => `${doc.selection[i].length} in ${shown(p.name, 30)}`).join(", ");
      announce(doc.selection.some((o) => o.length) ? `Selected ${sizes}.` : "Nothing selected.");
    }
    if (origin === "python") return;
    if (any("hover")) sendHover(doc.hover ? outward(doc.hover) : null);
    if (any("pins")) host.set("pinned", doc.pins.map(outward));
    if (any("selection")) host.set("selected", selectionOut(doc.selection));
  });
  const countShown = () => data.sets.reduce((sum, set) => {
    for (let e = 0; e < set.score.length; e++) if (isShown(set, e)) sum++;
    return sum;
  }, 0);

  const offHost = [
    host.on("selected", (value) => state.set({ selection: selectionIn(value) }, "python")),
    host.on("pinned", (value) => state.set({ pins: pinsIn(value) }, "python")),
    host.on("hovered", (value) => {
      sendHover.cancel();   // what was about to be told is older than this
      state.set({ hover: inward(value) }, "python");
    }),
  ];

  shownPairs = countShown();
  panels.forEach((o) => o.retheme());
  deriveFocus();
  looks();
  marks();
  controls();
  const resize = () => {
    let any = false;
    for (const panel of panels) any = panel.measure() || any;
    if (!any) return;
    cancelAnimationFrame(frame);
    panels.forEach((o) => stale.add(o));
    redraw();
    stage.dataset.painted ||= performance.now().toFixed(1);
  };
  const observer = new ResizeObserver(resize);
  panels.forEach((o) => observer.observe(o.plot));
  window.addEventListener("resize", resize);   // also when only the ratio of device pixels changes
  const theme = new MutationObserver(() => {
    for (const panel of panels) {
      panel.retheme();
      panel.restyle();
    }
    soon(panels);
  });
  const root = /** @type {Element} */ (stage.closest(".featgeom"));
  theme.observe(root, { attributes: true, attributeFilter: ["data-theme"] });

  return () => {
    offState();
    offHost.forEach((off) => off());
    observer.disconnect();
    window.removeEventListener("resize", resize);
    theme.disconnect();
    cancelAnimationFrame(frame);
    cancelAnimationFrame(flight);
    for (const wait of [announce, sendHover]) wait.cancel();
    bar.dispose();
    panels.forEach((o) => o.dispose());
  };
}

/**
 * The colour of every point: that of its own cluster in the panel that gives the colours, elsewhere that of its best
 * partner there, so that equal colours mean linked features. The eight largest clusters have colours of their own.
 * @param {import("./mapdata.js").MapData} data
 * @param {number} panel
 * @param {number} source
 * @param {(set: import("./mapdata.js").PairSet, edge: number) => boolean} isShown
 * @returns {Uint8Array}
 */
export function colours(data, panel, source, isShown) {
  const out = new Uint8Array(data.panels[panel].n), giver = data.panels[source];
  if (!giver?.cluster) return out;
  const sizes = giver.clusterLabels.map(() => 0);
  for (const c of giver.cluster) if (c >= 0) sizes[c]++;
  const largest = sizes.map((size, c) => ({ size, c })).sort((a, b) => b.size - a.size || a.c - b.c);
  const rank = new Map(largest.slice(0, COLOURS - 1).map((o, r) => [o.c, r + 1]));
  const own = Uint8Array.from(giver.cluster, (c) => rank.get(c) ?? 0);
  if (panel === source) return own;
  for (const link of data.panels[panel].links.filter((o) => o.other === source)) {
    const set = data.sets[link.set];
    for (let i = 0; i < out.length; i++) {
      for (let s = link.indptr[i]; s < link.indptr[i + 1]; s++) {
        if (!(set.flags[link.edges[s]] & BEYOND) || !isShown(set, link.edges[s])) continue;
        out[i] = own[link.points[s]];
        break;
      }
    }
  }
  return out;
}
