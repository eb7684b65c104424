/**
 * The linked map: panels side by side, one state document, partners found in the page through the index maps of
 * mapdata.js. Traits of the host: payload, selected, hovered, pinned, searches, view; maplink.js says what they hold.
 */

import { decode } from "./codec.js";
import { debounce, el, joinLink, shown, uid } from "./kit.js";
import { createBar } from "./mapbar.js";
import { createCard } from "./mapcard.js";
import { keysOf } from "./mapcolour.js";
import { readMap } from "./mapdata.js";
import { createDerive } from "./mapderive.js";
import { createExport } from "./mapexport.js";
import { createFind } from "./mapfind.js";
import { grouped, spoken } from "./maplabels.js";
import { LINKS, createLegend } from "./maplegend.js";
import { MAX_PINS, translator } from "./maplink.js";
import { placesAround, placesBetween } from "./mapmove.js";
import { createPanel } from "./mappanel.js";
import { helpText, wordsOf } from "./mapwords.js";
import { createState, sameValue } from "./state.js";
import { createTable } from "./maptable.js";

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
/** @typedef {import("./mapderive.js").Derived} Derived what follows from the state */
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
  const data = readMap(arrays, meta);
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const hint = uid();
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
      const added = others.length === pins.length, pair = pairOf(panel, point);
      state.set({ pins: added ? [...pins, [panel, point]] : others, table: "pinned" });
      if (added) group.tell({ kind: "read", spots: pair.map(link.spotOut) });
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
      let rest = at < 0 && step < 0 ? total - 1 : (at + step + total) % total;
      derive.jumped(search, rest);
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

  // ---- what follows from the state, and the parts of the page
  const derive = createDerive(data), { derived } = derive;
  let flight = 0;
  const find = createFind(data, act), legend = createLegend(act), card = createCard(data, act, host);
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
  if (!saved.pins.length && saved.searches.length) saved.table = "found";
  else if (!saved.pins.length && saved.selection.some((o) => o.length)) saved.table = "selected";
  const hash = host.hash?.get() ?? "", fromLink = link.fromHash(hash), toHash = () => link.toHash(state.get(), saved);
  const state = createState({ ...saved, ...fromLink });
  const words = wordsOf(data);
  const exported = createExport(data, panels, () => ({ doc: state.get(), derived, words }));
  const address = el("input", {
    type: "text", readonly: true, hidden: true, class: "lm-address", "aria-label": "Link to this view",
  });
  const linkButton = el("button", { type: "button", title: "a link that opens the page as it is now", onclick: () => {
    address.hidden = !address.hidden;
    address.value = `${location.href.split("#")[0]}#${host.hash?.behind(toHash())}`;
    if (!address.hidden) address.select();
    if (!link.fits(state.get())) announce("The selection is too large for a link and is left out.");
  } }, "Link");
  const bar = createBar(data, act, keys, { find: find.element, given: derived.given, take: [
    ...(host.hash && location.protocol !== "about:" ? [linkButton, address] : []),   // a frame has no address
    el("button", { type: "button", title: "for print, 300 dots/inch; Shift: on white", onclick: exported.png }, "PNG"),
    el("button", { type: "button", title: "for print, text as text; Shift: on white", onclick: exported.svg }, "SVG"),
  ] });

  // ---- drawing: highlights at once, points with the next frame; a sample while moving, all when still
  const live = el("p", { class: "lm-spoken", "aria-live": "polite" });
  const announce = debounce((/** @type {string} */ text) => { live.textContent = text; }, 150);
  let frame = 0, moving = false;
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
    derive.focus(state.get());
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
    const { selection } = state.get();
    derive.looks(state.get());
    for (const panel of panels) {
      panel.setDerived(derived);
      panel.restyle();
    }
    stage.dataset.selected = selection.map((o) => o.length).join(",");
    stage.dataset.found = derived.found.map((o) => o.points.map((part) => part.length).join(",")).join(" ");
    soon(panels);
  }
  function controls() {
    const doc = state.get();
    bar.update(doc, derived);
    find.update(doc, derived);
    legend.update(doc, derived);
    table.update(doc, derived);
    address.hidden = true;
  }

  // ---- moving to a pair
  /** Which partner of a feature is walked to. @param {number} panel @param {number} point */
  const walked = (panel, point) => {
    const { focus, partner } = derived;
    return focus?.panel === panel && focus.point === point ? partner : 0;
  };
  /** @param {number} panel @param {number} point */
  const around = (panel, point) => placesAround(data, panels, derive.focusOn([panel, point]), walked(panel, point));
  /** A feature and the partner walked to, if any. @param {number} panel @param {number} point @returns {Spot[]} */
  const pairOf = (panel, point) => {
    const to = derive.focusOn([panel, point]).partners[walked(panel, point)];
    return [[panel, point], .../** @type {Spot[]} */ (to ? [[to.panel, to.point]] : [])];
  };
  /** @param {import("./view.js").Place[]} target */
  function fly(target) {
    cancelAnimationFrame(flight);
    const from = state.get().places, begin = performance.now(), time = calm.matches ? 0 : 280;
    /** @param {number} now */
    const step = (now) => {
      const t = time ? Math.min(1, Math.max(0, (now - begin) / time)) : 1;
      state.set({ places: placesBetween(panels, from, target, t) });
      if (t < 1) flight = requestAnimationFrame(step);
    };
    step(begin + (time ? 0 : 1));
  }

  // ---- the page
  stage.classList.add("lm");
  const skip = el("button", { type: "button", class: "lm-skip", onclick: () => panels[0].plot.focus() }, "To the maps");
  stage.append(skip, bar.element,
    el("div", { class: "lm-main" }, el("div", { class: "lm-panels" }, ...panels.map((o) => o.element)), card.element),
    el("p", { class: "lm-words fg-text" }, words.join(" ")), legend.element, table.element,
    helpText(hint, data, derived.given), live);

  // ---- one listener for all changes
  const sendHover = debounce((/** @type {any} */ value) => host.set("hovered", value), 120);
  /** @type {Record<string, any> | null} */
  let told = null;   // places are rounded on the way out: hearing our own words would move the map a hair
  const sendView = debounce(() => host.set("view", told = link.viewOut(state.get())), 200);
  const sendHash = debounce(() => host.hash?.set(toHash()), 200);
  const offState = state.on((doc, changed, origin) => {
    /** @param {(keyof MapState)[]} names */
    const any = (...names) => names.some((name) => changed.has(name));
    const filter = derive.update(doc, changed), look = filter || any("searches", "selection");
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
      told = null;
      sendView.cancel();   // what was about to be told is older than this
      state.set(link.viewIn(value), "python");
    }),
    host.on("hovered", (value) => {
      sendHover.cancel();
      const hover = link.spotIn(value), { hover: before, partner } = state.get();
      state.set({ hover, partner: sameValue(hover, before) ? partner : 0 }, "python");
    }),
    host.hear?.((message) => {
      const spot = link.spotIn([message?.partners?.panel, message?.partners?.id]);
      if (!spot || !Array.isArray(message.partners.of)) return;
      derive.take(state.get(), spot, message.partners.of);
      marks();
      controls();
    }) ?? (() => {}),
  ];
  const group = joinLink(host, ({ kind, spots }) => {
    const [at, to] = spots.map(link.spotIn).filter((o) => o !== null);
    if (kind === "point") return act.hover(...at ?? [0, -1]);
    if (!at) return;
    act.hover(...at);
    const partner = derived.focus?.partners.findIndex((o) => o.panel === to?.[0] && o.point === to[1]) ?? 0;
    if (partner > 0) state.set({ partner });
    fly(around(...at));
  });
  const first = state.get();
  panels.forEach((o, p) => {
    o.retheme();
    o.setPlace(first.places[p]);
    o.setTool(first.tool, first.combine);
    o.setBoxes(first.boxes);
  });
  derive.update(first, null);
  derive.focus(first);
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
    group.close();
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
