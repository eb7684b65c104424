/**
 * What follows from the state: which pairs are shown, what colours the points, what the searches find, who is in
 * focus. No element of the page is touched here.
 */

import { levelsOf, scaleOf } from "./mapcolour.js";
import { BEYOND, linkedPoints, partnersOf, shownEdges, testedPoints } from "./mapdata.js";
import { short } from "./maplabels.js";
import { LINKS, allowedPoints } from "./maplegend.js";
import { findPoints } from "./mapsearch.js";
import { sameValue } from "./state.js";

/** @typedef {import("./linkedmap.js").MapState} MapState */
/** @typedef {import("./linkedmap.js").Search} Search */
/** @typedef {import("./linkedmap.js").Spot} Spot */
/** @typedef {import("./mapdata.js").MapData} MapData */
/** @typedef {import("./mapdata.js").Partner} Partner */
/**
 * @typedef {Object} Derived
 * @property {import("./linkedmap.js").Focus | null} focus the hovered point, or else the last pinned one
 * @property {number} partner which partner of it is walked to
 * @property {import("./linkedmap.js").Focus[]} pinned
 * @property {import("./mapstyle.js").Looks[]} looks one per panel
 * @property {Uint8Array[]} shown 1 for every edge of a set that passes score and token
 * @property {number} shownPairs of those that the page holds
 * @property {import("./linkedmap.js").Found[]} found one per search
 * @property {string} given what within scores hold fixed: "token"; "" without pairs
 * @property {string} beyond what a partner must be to fill a point, in words
 * @property {Uint8Array[]} linked 1 for every point of a panel with a shown pair beyond chance
 * @property {Uint8Array[]} tested 1 for every point with a tested pair
 * @property {Uint8Array[]} allowed 1 for every point that passes the legend
 * @property {import("./mapcolour.js").Scale} scale
 * @property {{size: string[], outline: string[]}} levels what the levels of size and outline mean
 * @property {number[]} counts points that are linked, tested without a link, not tested
 * @property {number[]} sizes points of each category of the scale, and of none
 */

/** @param {ArrayLike<number>} mask */
function ones(mask) {
  let sum = 0;
  for (let i = 0; i < mask.length; i++) sum += mask[i];
  return sum;
}

/**
 * Points that a search finds, or why it cannot be made.
 * @param {MapData} data
 * @param {Search} search
 */
function ask(data, search) {
  const none = data.panels.map(() => new Uint32Array(0));
  if (!search.text.trim()) return { points: none, error: "" };
  try {
    return { points: findPoints(data, search), error: "" };
  } catch (error) {
    return { points: none, error: error instanceof Error ? error.message : String(error) };
  }
}

/**
 * What is selected, and the points at the other end of its shown pairs beyond chance, as masks per panel.
 * @param {MapData} data
 * @param {Uint32Array[]} selection
 * @param {Uint8Array[]} shown
 */
function chosen(data, selection, shown) {
  const [selected, partners] = [0, 1].map(() => data.panels.map((p) => new Uint8Array(p.n)));
  selection.forEach((points, panel) => {
    for (const i of points) selected[panel][i] = 1;
  });
  data.sets.forEach(({ left, right, a, b, flags }, s) => {
    if (!selection[left].length && !selection[right].length) return;
    for (let e = 0; e < a.length; e++) {
      if (!shown[s][e] || !(flags[e] & BEYOND)) continue;
      if (selected[left][a[e]]) partners[right][b[e]] = 1;
      if (selected[right][b[e]]) partners[left][a[e]] = 1;
    }
  });
  return { selected, partners };
}

/** @param {MapData} data */
export function createDerive(data) {
  const packed = data.sets.length;   // sets that Python sends later come behind
  /** @type {Derived} */
  const derived = {
    focus: null, partner: 0, pinned: [], looks: [], shown: [], shownPairs: 0, found: [], beyond: "", linked: [],
    given: [...new Set(data.sets.map((set) => set.given))].join(" or "),
    tested: data.panels.map((_, p) => testedPoints(data, p)), allowed: [], scale: scaleOf(data, "", []),
    levels: { size: [], outline: [] }, counts: [], sizes: [],
  };
  /** @type {(Uint8Array[] | null)[]} */
  let [sizes, outlines] = /** @type {(Uint8Array[] | null)[]} */ ([null, null]);
  /** @type {{search: Search, points: Uint32Array[], error: string}[]} */
  let results = [];
  /** @type {Map<string, Partner[]>} */
  const asked = new Map();

  /** @param {MapState} doc */
  function pairs({ min, hideSame }) {
    const limits = [min ? `at score ≥ ${short(min)}` : "", hideSame ? `and beyond the ${derived.given}` : ""];
    derived.beyond = ["beyond chance", ...limits].filter(Boolean).join(" ");
    derived.shown = shownEdges(data, min, hideSame);
    derived.shownPairs = derived.shown.slice(0, packed).reduce((sum, mask) => sum + ones(mask), 0);
    derived.linked = data.panels.map((p, i) =>
      (p.links.length ? linkedPoints(data, i, derived.shown) : new Uint8Array(p.n).fill(1)));
    derived.counts = [0, 0, 0];
    derived.linked.forEach((linked, p) => {
      if (!data.panels[p].links.length) return;   // nothing was asked of these points
      for (let i = 0; i < linked.length; i++) derived.counts[linked[i] ? 0 : derived.tested[p][i] ? 1 : 2]++;
    });
  }
  /** @param {MapState} doc */
  function scales({ colour, size, outline }) {
    derived.scale = scaleOf(data, colour, derived.shown);
    derived.sizes = new Array(derived.scale.entries.length + 1).fill(0);
    for (const cats of derived.scale.cats ?? [])
      for (let i = 0; i < cats.length; i++) derived.sizes[cats[i] < 0 ? derived.sizes.length - 1 : cats[i]]++;
    const bySize = size ? levelsOf(data, size, derived.shown, 4) : null;
    const byOutline = outline ? levelsOf(data, outline, derived.shown, 3) : null;
    [sizes, outlines] = [bySize?.codes ?? null, byOutline?.codes ?? null];
    derived.levels = { size: bySize?.names ?? [], outline: byOutline?.names ?? [] };
  }
  /** @param {MapState} doc */
  function allowed({ off }) {
    const { scale, linked, tested } = derived;
    derived.allowed = data.panels.map(({ links }, p) => allowedPoints(
      links.length ? off : off.filter((o) => !LINKS.includes(o)), linked[p], tested[p], scale.cats?.[p] ?? null,
      scale.entries));
  }
  /** @param {MapState} doc @param {boolean} anew whether the searches are others than before */
  function found({ searches }, anew) {
    const known = results, before = derived.found;
    results = searches.map((search) =>
      known.find((o) => sameValue(o.search, search)) ?? { search, ...ask(data, search) });
    derived.found = results.map(({ points, error }, s) => ({
      points: points.map((o, p) => o.filter((i) => derived.allowed[p][i])), error, at: anew ? -1 : before[s].at,
    }));
  }
  /** @param {Spot} spot @returns {import("./linkedmap.js").Focus} */
  function focusOn([panel, point]) {
    const all = asked.get(`${panel}:${point}`);
    const partners = all?.filter((o) => derived.shown[o.set][o.edge]) ?? partnersOf(data, panel, point, derived.shown);
    return { panel, point, partners, all: Boolean(all) };
  }

  return {
    derived, focusOn,
    /**
     * Follow a change of the state.
     * @param {MapState} doc
     * @param {Set<keyof MapState> | null} changed null for everything
     * @returns {boolean} whether the look of all points may have changed
     */
    update(doc, changed) {
      /** @param {(keyof MapState)[]} names */
      const any = (...names) => !changed || names.some((name) => changed.has(name));
      const other = any("min", "hideSame"), scaled = other || any("colour", "size", "outline");
      if (other) pairs(doc);
      if (scaled) scales(doc);
      if (scaled || any("off")) allowed(doc);
      if (scaled || any("off", "searches")) found(doc, any("searches"));
      return scaled || any("off");
    },
    /** @param {MapState} doc */
    focus({ hover, pins, partner }) {
      derived.pinned = pins.map(focusOn);
      derived.focus = hover ? focusOn(hover) : derived.pinned.at(-1) ?? null;
      derived.partner = Math.min(partner, Math.max(0, (derived.focus?.partners.length ?? 0) - 1));
    },
    /** @param {MapState} doc */
    looks({ selection, searches }) {
      const { selected, partners } = chosen({ ...data, sets: data.sets.slice(0, packed) }, selection, derived.shown);
      const dimmed = searches.some((o) => o.text.trim()) || selection.some((o) => o.length);
      derived.looks = data.panels.map((p, i) => {
        const hits = new Uint8Array(p.n);
        derived.found.forEach(({ points }, s) => {
          for (const point of points[i]) hits[point] = s + 1;
        });
        return {
          linked: derived.linked[i], tested: derived.tested[i], codes: derived.scale.codes[i], scale: derived.scale,
          size: sizes?.[i] ?? null, outline: outlines?.[i] ?? null, selected: selected[i], partners: partners[i],
          found: hits, allowed: derived.allowed[i], dimmed,
        };
      });
    },
    /** @param {number} search @param {number} at result that the page has jumped to */
    jumped(search, at) {
      derived.found[search].at = at;
    },
    /**
     * All partners of a feature, as Python answered: each is a set of one edge.
     * @param {MapState} doc
     * @param {Spot} spot
     * @param {any[]} answer checked here
     */
    take(doc, spot, answer) {
      /** @type {Partner[]} */
      const partners = [];
      /** @param {any} v */
      const number = (v) => Float32Array.of(typeof v === "number" ? v : NaN);
      for (const one of answer) {
        const from = one?.set < packed ? data.sets[one.set] : null, forth = from?.left === spot[0];
        const panel = from ? (forth ? from.right : from.left) : -1, point = data.panels[panel]?.find(one.other) ?? -1;
        if (!from || point < 0) continue;
        const ends = [Uint32Array.of(spot[1]), Uint32Array.of(point)], [a, b] = forth ? ends : ends.reverse();
        const [score, chance, q] = [number(one.score), number(one.null), number(one.q)];
        const test = from.test === from.q ? q : chance;
        partners.push({ panel, point, set: data.sets.length, edge: 0 });
        const within = number(one.within), flags = Uint8Array.of(one.flags);
        data.sets.push({ ...from, a, b, score, chance, q, test, within, flags });
      }
      asked.set(spot.join(":"), partners);
      pairs(doc);
    },
  };
}
