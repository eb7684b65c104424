/**
 * The linked map: panels side by side, one state document, partners found in the page through the index maps of
 * mapdata.js. Traits of the host: payload, selected, hovered, pinned, searches, view; maplink.js says what they hold.
 */

import { decode } from "./codec.js";
import { debounce, el, shown } from "./kit.js";
import { gridNeighbours } from "./grid.js";
import { createBar } from "./mapbar.js";
import { createCard } from "./mapcard.js";
import { keysOf, levelsOf, scaleOf } from "./mapcolour.js";
import { BEYOND, MUTUAL, linkedPoints, partnersOf, readMap, shownEdges, testedPoints } from "./mapdata.js";
import { createExport } from "./mapexport.js";
import { createFind } from "./mapfind.js";
import { grouped, short, spoken } from "./maplabels.js";
import { LINKS, allowedPoints, createLegend } from "./maplegend.js";
import { MAX_PINS, translator } from "./maplink.js";
import { createPanel } from "./mappanel.js";
import { findPoints } from "./mapsearch.js";
import { helpText, wordsOf } from "./mapwords.js";
import { createState, sameValue } from "./state.js";
import { createTable } from "./maptable.js";
import { between, boxOf, fitBox, placeOf, viewAt } from "./view.js";

/** @typedef {[number, number]} Spot panel and point */
/** @typedef {{text: string, mode: "token" | "part" | "regex" | "label" | "id", most: boolean}} Search */
/**
 * @typedef {Object} MapState
 * @property {number} v version of this document
 * @property {import("./view.js").Place[]} places
 * @property {Spot | null} hover
 * @property {number} partner which partner of the focus is walked to, 0 the best
 * @property {Spot[]} pins
 * @property {Uint32Array[]} selection points, rising, per panel
 * @property {Search[]} searches
 * @property {number} min lowest score shown
 * @property {boolean} hideSame whether pairs that are no more than a shared token are hidden
 * @property {string} colour
 * @property {string} size
 * @property {string} outline
 * @property {string[]} off entries of the legend that are switched off
 * @property {boolean} boxes whether clusters have boxes
 * @property {"move" | "box" | "lasso" | "brush"} tool
 * @property {"new" | "add" | "remove"} combine
 * @property {"pinned" | "found" | "selected"} table
 */
/** @typedef {{panel: number, point: number, partners: import("./mapdata.js").Partner[], all: boolean}} Focus */
/** @typedef {{points: Uint32Array[], error: string, at: number}} Found what a search finds, per panel */
/**
 * @typedef {Object} Derived what follows from the state
 * @property {Focus | null} focus the hovered point, or else the last pinned one
 * @property {number} partner
 * @property {Focus[]} pinned
 * @property {import("./mapstyle.js").Looks[]} looks one per panel
 * @property {Uint8Array[]} shown 1 for every edge of a set that passes score and token
 * @property {Found[]} found one per search
 * @property {string} beyond what a partner must be to fill a point, in words
 * @property {Uint8Array[]} allowed 1 for every point of a panel that passes the legend
 */
/**
 * @typedef {Object} Act every way to change the state
 * @property {(patch: Partial<MapState>) => void} set
 * @property {(panel: number, point: number) => void} hover -1 for none
 * @property {(step: number) => void} walk to the next partner of the focus, or back
 * @property {() => void} go the partner walked to becomes the focus
 * @property {(panel: number, point: number) => void} pin or unpin
 * @property {(panel: number, points: Iterable<number>, combine: "new" | "add" | "remove") => void} select
 * @property {(panel: number, place: import("./view.js").Place) => void} move
 * @property {(panel: number, point: number) => void} zoomToPair -1 for whole maps
 * @property {(search: number, step: number) => void} jump to the next result of a search, or back
 * @property {(panel: number, point: number) => void} show hover a point and fly to it and its partners
 * @property {(panel: number, point: number) => void} more ask Python for all partners
 * @property {() => void} clear the hovered point, else the selection; pins stay
 * @property {(text: string) => void} say to a screen reader
 */

const STILL = 160;  // milliseconds after the last move until a sample gives way to the whole picture

/**
 * @param {HTMLElement} stage
 * @param {import("./host.js").Host} host
 * @returns {Promise<() => void>}
 */
export async function mount(stage, host) {
  const { arrays, meta } = await decode(host.get("payload"));
  const data = readMap(arrays, meta), packed = data.sets.length;
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const hint = `lm-${Math.random().toString(36).slice(2)}`;
  const keys = keysOf(data).filter((o) => o.key);
  const firstClusters = keys.find((o) => o.key.startsWith("cluster of "))?.key ?? "";

  // ---- every way to change the state
  /** @type {Act} */
  const act = {
    set(patch) {
      const off = state.get().off.filter((o) => LINKS.includes(o));   // categories of another colour mean nothing
      state.set("colour" in patch ? { off, ...patch } : patch);
    },
    hover: (panel, point) => state.set({ hover: point < 0 ? null : [panel, point], partner: 0 }),
    walk(step) {
      const count = derived.focus?.partners.length ?? 0;
      if (count) state.set({ partner: (derived.partner + step + count) % count });
    },
    go() {
      const to = derived.focus?.partners[derived.partner];
      if (!to) return;
      act.hover(to.panel, to.point);
      panels[to.panel].plot.focus({ preventScroll: true });
    },
    pin(panel, point) {
      const { pins } = state.get(), others = pins.filter((o) => o[0] !== panel || o[1] !== point);
      if (others.length === MAX_PINS) return announce(`${MAX_PINS} pinned at most: unpin one.`);
      state.set({ pins: others.length < pins.length ? others : [...pins, [panel, point]], table: "pinned" });
    },
    select(panel, points, combine) {
      const selection = state.get().selection.map((o) => (combine === "new" ? new Uint32Array(0) : o));
      const mask = new Uint8Array(data.panels[panel].n);
      for (const i of selection[panel]) mask[i] = 1;
      for (const i of points) mask[i] = combine === "remove" ? 0 : 1;
      selection[panel] = indices(mask);
      state.set({ selection, ...(combine === "remove" ? {} : { table: "selected" }) });
    },
    move(panel, place) {
      cancelAnimationFrame(flight);
      state.set({ places: state.get().places.map((o, p) => (p === panel ? place : o)) });
    },
    zoomToPair: (panel, point) => fly(point < 0 ? homes : around(panel, point)),
    jump(search, step) {
      const { points, at } = derived.found[search], total = points.reduce((sum, o) => sum + o.length, 0);
      if (!total) return;
      let rest = jumps[search] = at < 0 && step < 0 ? total - 1 : (at + step + total) % total;
      derived.found[search].at = rest;
      const panel = points.findIndex((o) => (rest < o.length ? true : ((rest -= o.length), false)));
      act.show(panel, points[panel][rest]);
      controls();
    },
    show(panel, point) {
      act.hover(panel, point);
      fly(around(panel, point));
    },
    more(panel, point) {
      const [name, id] = link.spotOut([panel, point]);
      host.send?.({ ask: "partners", panel: name, id });
    },
    clear: () => state.set(state.get().hover ? { hover: null, partner: 0 }
      : { selection: data.panels.map(() => new Uint32Array(0)) }),
    say: (text) => announce(text),
  };

  // ---- the parts of the page
  const given = [...new Set(data.sets.map((set) => set.given))].join(" or ");
  const find = createFind(data, act), legend = createLegend(act, given), card = createCard(data, act, host);
  const table = createTable(data, act);
  const panels = data.panels.map((_, p) => createPanel(data, p, act, hint));
  const homes = panels.map((o) => o.home());
  const start = { places: homes, colour: firstClusters, size: "", outline: "" };
  for (const name of /** @type {const} */ (["colour", "size", "outline"]))
    start[name] = meta.start?.[name] ?? start[name];
  const link = translator(data, start, new Set(keys.map((o) => o.key)));
  const saved = /** @type {MapState} */ ({
    v: 2, partner: 0, tool: "move", combine: "new", table: "pinned", hover: link.spotIn(host.get("hovered")),
    pins: link.pinsIn(host.get("pinned")), selection: link.selectionIn(host.get("selected")),
    searches: link.searchesIn(host.get("searches")), ...link.viewIn(host.get("view")),
  });
  const hash = host.hash?.get() ?? "", fromLink = link.fromHash(hash), toHash = () => link.toHash(state.get(), saved);
  const state = createState({ ...saved, ...fromLink });
  const words = wordsOf(data);
  const exported = createExport(data, panels, () => ({ doc: state.get(), derived, words }));
  const address = el("input", {
    type: "text", readonly: true, hidden: true, class: "lm-address", "aria-label": "Link to this view",
  });
  const linkButton = el("button", { type: "button", title: "a link that opens the page as it is now", onclick: () => {
    address.hidden = !address.hidden;
    address.value = `${location.href.split("#")[0]}#${encodeURIComponent(toHash())}`;
    if (!address.hidden) address.select();
  } }, "Link");
  const bar = createBar(data, act, keys, { find: find.element, given, take: [
    ...(host.hash ? [linkButton, address] : []),
    el("button", { type: "button", title: "for print, 300 dots an inch; Shift: on white", onclick: exported.png }, "PNG"),
    el("button", { type: "button", title: "for print, text as text; Shift: on white", onclick: exported.svg }, "SVG"),
  ] });

  // ---- what follows from the state
  /** @type {Derived} */
  const derived = { focus: null, partner: 0, pinned: [], looks: [], shown: [], found: [], beyond: "", allowed: [] };
  /** @type {Uint8Array[]} */
  let linked = [];
  const tested = data.panels.map((_, p) => testedPoints(data, p));
  let shownPairs = 0;
  const allPairs = data.sets.reduce((sum, set) => sum + set.a.length, 0);
  /** @type {import("./mapcolour.js").Scale} */
  let scale;
  /** @type {Record<"size" | "outline", ReturnType<typeof levelsOf> | null>} */
  const levels = { size: null, outline: null };
  /** @type {Map<Search, {points: Uint32Array[], error: string}>} */
  let results = new Map();
  /** @type {number[]} */
  let jumps = [];
  /** @type {Map<string, import("./mapdata.js").Partner[]>} */
  const asked = new Map();

  /** @param {Spot} spot @returns {Focus} */
  const focusOn = ([panel, point]) => {
    const all = asked.get(`${panel}:${point}`);
    const partners = all?.filter((o) => derived.shown[o.set][o.edge]) ?? partnersOf(data, panel, point, derived.shown);
    return { panel, point, partners, all: Boolean(all) };
  };
  function deriveFocus() {
    const { hover, pins, partner } = state.get();
    derived.pinned = pins.map(focusOn);
    derived.focus = hover ? focusOn(hover) : derived.pinned.at(-1) ?? null;
    derived.partner = Math.min(partner, Math.max(0, (derived.focus?.partners.length ?? 0) - 1));
  }
  function derivePairs() {
    const { min, hideSame } = state.get();
    derived.beyond = ["beyond chance", min ? `at score ≥ ${short(min)}` : "", hideSame ? `and beyond the ${given}` : ""]
      .filter(Boolean).join(" ");
    derived.shown = shownEdges(data, min, hideSame);
    linked = data.panels.map((p, i) =>
      (p.links.length ? linkedPoints(data, i, derived.shown) : new Uint8Array(p.n).fill(1)));
    shownPairs = derived.shown.slice(0, packed).reduce((sum, mask) => sum + mask.reduce((s, v) => s + v, 0), 0);
  }
  function deriveScales() {
    const { colour, size, outline } = state.get();
    scale = scaleOf(data, colour, derived.shown);
    levels.size = size ? levelsOf(data, size, derived.shown, 4) : null;
    levels.outline = outline ? levelsOf(data, outline, derived.shown, 3) : null;
  }
  function deriveAllowed() {
    const { off } = state.get(), names = scale.entries.map((o) => o.name);
    derived.allowed = data.panels.map((_, p) =>
      allowedPoints(off, linked[p], tested[p], scale.cats?.[p] ?? null, names));
  }
  function deriveFound() {
    const known = results, { searches } = state.get();
    results = new Map();
    derived.found = searches.map((search, s) => {
      const got = [...known].find(([o]) => sameValue(o, search))?.[1] ?? ask(search);
      results.set(search, got);
      const points = got.points.map((o, p) => o.filter((i) => derived.allowed[p][i]));
      return { points, error: got.error, at: jumps[s] ?? -1 };
    });
  }
  /** @param {Search} search */
  function ask(search) {
    const none = data.panels.map(() => new Uint32Array(0));
    if (!search.text.trim()) return { points: none, error: "" };
    try {
      return { points: findPoints(data, search), error: "" };
    } catch (error) {
      return { points: none, error: error instanceof Error ? error.message : String(error) };
    }
  }
  function deriveLooks() {
    const { selection, searches } = state.get();
    const [partners, selected] = [0, 1].map(() => data.panels.map((p) => new Uint8Array(p.n)));
    selection.forEach((points, panel) => {
      for (const i of points) selected[panel][i] = 1;
    });
    data.sets.slice(0, packed).forEach((set, s) => {
      if (!selection[set.left].length && !selection[set.right].length) return;
      for (let e = 0; e < set.a.length; e++) {
        if (!derived.shown[s][e] || !(set.flags[e] & BEYOND)) continue;
        if (selected[set.left][set.a[e]]) partners[set.right][set.b[e]] = 1;
        if (selected[set.right][set.b[e]]) partners[set.left][set.a[e]] = 1;
      }
    });
    const dimmed = searches.some((o) => o.text.trim()) || selection.some((o) => o.length);
    derived.looks = data.panels.map((p, i) => {
      const found = new Uint8Array(p.n);
      derived.found.forEach(({ points }, s) => points[i].forEach((point) => { found[point] = s + 1; }));
      return {
        linked: linked[i], tested: tested[i], codes: scale.codes[i], scale, size: levels.size?.codes[i] ?? null,
        outline: levels.outline?.codes[i] ?? null, selected: selected[i], partners: partners[i], found,
        allowed: derived.allowed[i], dimmed,
      };
    });
    stage.dataset.selected = selection.map((o) => o.length).join(",");
    stage.dataset.found = derived.found.map((o) => o.points.map((part) => part.length).join(",")).join(" ");
  }

  // ---- drawing: highlights at once, points with the next frame; a sample while moving, all when still
  const live = el("p", { class: "lm-spoken", "aria-live": "polite" });
  const announce = debounce((/** @type {string} */ text) => { live.textContent = text; }, 150);
  let frame = 0, flight = 0, moving = false;
  /** @type {Set<ReturnType<typeof createPanel>>} */
  const stale = new Set();
  const redraw = () => {
    frame = 0;
    for (const panel of stale) {
      panel.drawBase(moving);
      panel.drawOverlay();
    }
    stale.clear();
    for (const panel of panels) panel.drawLabels();
    card.update(derived, (panel, point) => panels[panel].inside(point));
  };
  /** @param {ReturnType<typeof createPanel>[]} which */
  const soon = (which) => {
    which.forEach((panel) => stale.add(panel));
    frame ||= requestAnimationFrame(redraw);
  };
  const settle = debounce(() => {
    moving = false;
    soon(panels.filter((o) => o.plot.dataset.sample));
  }, STILL);

  function marks() {
    deriveFocus();
    for (const panel of panels) {
      panel.setDerived(derived);
      panel.drawOverlay();
    }
    soon([]);
    const { focus, partner } = derived, to = focus?.partners[partner];
    /** @param {Spot} spot */
    const named = (spot) => link.spotOut(spot).join(":");
    stage.dataset.hovered = focus ? named([focus.panel, focus.point]) : "";
    stage.dataset.partners = focus ? focus.partners.map((o) => named([o.panel, o.point])).join(" ") : "";
    stage.dataset.partner = to ? named([to.panel, to.point]) : "";
    if (focus) announce(spoken(data, focus, partner));
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
    const doc = state.get(), counts = [0, 0, 0], sizes = new Array(scale.entries.length + 1).fill(0);
    data.panels.forEach(({ n }, p) => {
      for (let i = 0; i < n; i++) counts[linked[p][i] ? 0 : tested[p][i] ? 1 : 2]++;
      scale.cats?.[p].forEach((c) => { sizes[c < 0 ? scale.entries.length : c]++; });
    });
    bar.update(doc, shownPairs, allPairs);
    find.update(doc, derived);
    legend.update(doc, scale, counts, sizes, derived.beyond, doc.selection.some((o) => o.length),
      { size: levels.size?.names ?? [], outline: levels.outline?.names ?? [] });
    table.update(doc, derived);
    if (!address.hidden) address.hidden = true;
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
    const from = state.get().places, begin = performance.now(), time = calm.matches ? 0 : 280;
    /** @param {number} now */
    const step = (now) => {
      const t = time ? Math.min(1, Math.max(0, (now - begin) / time)) : 1, ease = 1 - (1 - t) ** 3;
      state.set({ places: target.map((to, p) => {
        const { width, height, k0 } = panels[p].size();
        if (t === 1 || !width) return to;
        const [first, last] = [from[p], to].map((o) => viewAt(o, width, height, k0));
        return placeOf(between(first, last, ease), width, height, k0);
      }) });
      if (t < 1) flight = requestAnimationFrame(step);
    };
    step(begin + (time ? 0 : 1));
  }

  // ---- the page
  stage.classList.add("lm");
  const skip = el("button", { type: "button", class: "lm-skip", onclick: () => panels[0].plot.focus() }, "To the maps");
  stage.append(skip, bar.element,
    el("div", { class: "lm-main" }, el("div", { class: "lm-panels" }, ...panels.map((o) => o.element)), card.element),
    el("p", { class: "lm-words fg-text" }, words.join(" ")), legend.element, table.element, helpText(hint, given),
    live);

  // ---- one listener for all changes
  const sendHover = debounce((/** @type {any} */ value) => host.set("hovered", value), 120);
  /** @type {Record<string, any> | null} */
  let told = null;   // places are rounded on the way out: hearing our own words would move the map a hair
  const sendView = debounce(() => host.set("view", told = link.viewOut(state.get())), 200);
  const sendHash = debounce(() => host.hash?.set(toHash()), 200);
  const offState = state.on((doc, changed, origin) => {
    /** @param {(keyof MapState)[]} names */
    const any = (...names) => names.some((name) => changed.has(name));
    const pairs = any("min", "hideSame"), scales = pairs || any("colour", "size", "outline");
    const filter = scales || any("off"), look = filter || any("searches", "selection");
    if (pairs) derivePairs();
    if (scales) deriveScales();
    if (filter) deriveAllowed();
    if (any("searches")) jumps = [];
    if (filter || any("searches")) deriveFound();
    if (any("places")) {
      const moved = panels.filter((o, p) => o.place() !== doc.places[p]);
      panels.forEach((o, p) => o.setPlace(doc.places[p]));
      moving = true;
      settle();
      soon(moved);
    }
    if (any("tool", "combine")) panels.forEach((o) => o.setTool(doc.tool, doc.combine));
    if (any("boxes")) panels.forEach((o) => o.setBoxes(doc.boxes));
    if (look) looks();
    if (any("hover", "partner", "pins") || filter) marks();
    if (look || any("pins", "boxes", "tool", "combine", "table")) controls();
    if (any("selection")) {
      const sizes = data.panels.map((p, i) => `${grouped(doc.selection[i].length)} in ${shown(p.name, 30)}`);
      announce(doc.selection.some((o) => o.length) ? `Selected ${sizes.join(", ")}.` : "Nothing selected.");
    }
    if (any("pins", "selection", "searches", "places", "boxes") || filter) sendHash();
    if (origin === "python") return;
    if (any("hover")) sendHover(doc.hover ? link.spotOut(doc.hover) : null);
    if (any("pins")) host.set("pinned", doc.pins.map(link.spotOut));
    if (any("selection")) host.set("selected", link.selectionOut(doc.selection));
    if (any("searches")) host.set("searches", doc.searches);
    if (filter || any("places", "boxes")) sendView();
  });

  /** @param {string} trait @param {(value: any) => Partial<MapState>} read */
  const hear = (trait, read) => host.on(trait, (value) => state.set(read(value), "python"));
  const offHost = [
    hear("selected", (value) => ({ selection: link.selectionIn(value) })),
    hear("pinned", (value) => ({ pins: link.pinsIn(value) })),
    hear("searches", (value) => ({ searches: link.searchesIn(value) })),
    host.on("view", (value) => {
      if (sameValue(value, told)) return;
      sendView.cancel();   // what was about to be told is older than this
      state.set(link.viewIn(value), "python");
    }),
    host.on("hovered", (value) => {
      sendHover.cancel();
      state.set({ hover: link.spotIn(value), partner: 0 }, "python");
    }),
    host.hear?.((message) => takePartners(message?.partners)) ?? (() => {}),
  ];
  /** All partners of a feature, as Python answered: a set of edges of their own. @param {any} answer */
  function takePartners(answer) {
    const spot = link.spotIn([answer?.panel, answer?.id]);
    if (!spot || !Array.isArray(answer.of)) return;
    /** @type {import("./mapdata.js").Partner[]} */
    const partners = [];
    for (const { set: s, other, score, null: chance, q, within, flags } of answer.of) {
      const from = s < packed ? data.sets[s] : null, forth = from?.left === spot[0];
      const panel = from ? (forth ? from.right : from.left) : -1, point = data.panels[panel]?.find(other) ?? -1;
      if (!from || point < 0) continue;
      const number = (/** @type {any} */ v) => Float32Array.of(typeof v === "number" ? v : NaN);
      const ends = [Uint32Array.of(spot[1]), Uint32Array.of(point)], [a, b] = forth ? ends : [ends[1], ends[0]];
      partners.push({ panel, point, set: data.sets.length, edge: 0 });
      data.sets.push({
        ...from, a, b, score: number(score), chance: number(chance), q: number(q), within: number(within),
        flags: Uint8Array.of(flags & (MUTUAL * 8 - 1)),
      });
    }
    asked.set(spot.join(":"), partners);
    derivePairs();
    marks();
    controls();
  }

  const first = state.get();
  panels.forEach((o, p) => {
    o.retheme();
    o.setPlace(first.places[p]);
    o.setTool(first.tool, first.combine);
    o.setBoxes(first.boxes);
  });
  derivePairs();
  deriveScales();
  deriveAllowed();
  deriveFound();
  deriveFocus();
  looks();
  marks();
  controls();
  if (hash && !fromLink) announce("The state in this link cannot be read; the map is as it was saved.");

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
    for (const wait of [announce, sendHover, sendView, sendHash, settle]) wait.cancel();
    find.dispose();
    panels.forEach((o) => o.dispose());
  };
}

/**
 * The places of the ones in a mask.
 * @param {Uint8Array} mask
 */
function indices(mask) {
  const out = new Uint32Array(mask.reduce((sum, v) => sum + v, 0));
  for (let i = 0, at = 0; i < mask.length; i++) if (mask[i]) out[at++] = i;
  return out;
}
