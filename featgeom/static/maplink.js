/**
 * What leaves the page and comes back: names and feature ids outside, panel and point numbers inside. Everything that
 * comes in is checked and what does not fit is left out, because a link may have been made by anybody.
 */

/** @typedef {import("./linkedmap.js").MapState} MapState */
/** @typedef {import("./linkedmap.js").Spot} Spot */
/** @typedef {import("./linkedmap.js").Search} Search */

/** @type {Search["mode"][]} */
export const MODES = ["token", "part", "regex", "label", "id"];
export const MAX_SEARCHES = 6;
export const MAX_QUERY = 200;
export const MAX_PINS = 200;

const FEW = 300;      // ids of a selection that fit into a link
const WORLD = 65535;  // places are told as shares of it

/** @param {any} v @param {number} low @param {number} high */
const within = (v, low, high) => typeof v === "number" && v >= low && v <= high;
/** @param {any} v */
const listed = (v) => (Array.isArray(v) ? v : []);
/** @param {any} v */
const record = (v) => (v && typeof v === "object" && !Array.isArray(v) ? v : {});

/**
 * @param {import("./mapdata.js").MapData} data
 * @param {{places: import("./view.js").Place[], colour: string, size: string, outline: string}} start what an empty
 *   view means
 * @param {Set<string>} keys what may colour, size and outline points
 */
export function translator(data, start, keys) {
  /** @param {any} pair @returns {Spot | null} */
  const spotIn = (pair) => {
    const panel = data.panels.findIndex((p) => p.name === pair?.[0]);
    const point = panel < 0 ? -1 : data.panels[panel].find(pair[1]);
    return point < 0 ? null : [panel, point];
  };
  /** @param {Spot} spot @returns {[string, number]} */
  const spotOut = ([panel, point]) => [data.panels[panel].name, data.panels[panel].ids[point]];
  /** @param {any} pinned */
  const pinsIn = (pinned) => {
    const spots = listed(pinned).slice(0, MAX_PINS).map(spotIn).filter((o) => o !== null);
    return [...new Map(spots.map((o) => [o.join(), o])).values()];
  };
  /** @param {any} selected */
  const selectionIn = (selected) => data.panels.map((p) =>
    Uint32Array.from(new Set(listed(record(selected)[p.name]).map((id) => p.find(id)).filter((i) => i >= 0))).sort());
  /** @param {Uint32Array[]} selection */
  const selectionOut = (selection) => Object.fromEntries(selection.flatMap((points, p) =>
    (points.length ? [[data.panels[p].name, Array.from(points, (i) => data.panels[p].ids[i])]] : [])));
  /** @param {any} searches @returns {Search[]} */
  const searchesIn = (searches) => listed(searches).slice(0, MAX_SEARCHES)
    .filter((o) => typeof o?.text === "string" && MODES.includes(o.mode))
    .map(({ text, mode, most }) => ({ text: text.slice(0, MAX_QUERY), mode, most: most === true }));

  /** @param {any} place @param {number} p */
  const placeIn = (place, p) => {
    const [x, y, zoom] = listed(place);
    const good = within(x, -1, 2) && within(y, -1, 2) && within(zoom, 0.5, 1000);
    return good ? { x: x * WORLD, y: y * WORLD, zoom } : start.places[p];
  };
  /** @param {"colour" | "size" | "outline"} name @param {any} view */
  const keyIn = (name, view) => (view[name] === "" || keys.has(view[name]) ? view[name] : start[name]);
  /** @param {any} given @returns {Partial<MapState>} */
  const viewIn = (given) => {
    const view = record(given), places = record(view.places);
    return {
      places: data.panels.map((p, i) => placeIn(places[p.name], i)),
      min: within(view.min, 0, 1) ? view.min : 0, hideSame: view.hide_same === true, boxes: view.boxes === true,
      colour: keyIn("colour", view), size: keyIn("size", view), outline: keyIn("outline", view),
      off: listed(view.off).filter((o) => typeof o === "string").slice(0, 300),
    };
  };
  /** @param {MapState} doc only what differs from an empty view */
  const viewOut = (doc) => {
    /** @type {Record<string, any>} */
    const view = {}, moved = data.panels.flatMap((p, i) => {
      const { x, y, zoom } = doc.places[i], home = start.places[i];
      const same = x === home.x && y === home.y && zoom === home.zoom;
      return same ? [] : [[p.name, [x / WORLD, y / WORLD, zoom].map((v) => Number(v.toPrecision(6)))]];
    });
    if (moved.length) view.places = Object.fromEntries(moved);
    if (doc.min) view.min = doc.min;
    if (doc.hideSame) view.hide_same = true;
    if (doc.boxes) view.boxes = true;
    for (const name of /** @type {const} */ (["colour", "size", "outline"]))
      if (doc[name] !== start[name]) view[name] = doc[name];
    if (doc.off.length) view.off = doc.off;
    return view;
  };

  /** Whether the selection is small enough for a link. @param {MapState} doc */
  const fits = ({ selection }) => selection.reduce((sum, o) => sum + o.length, 0) <= FEW;
  /** @param {MapState} doc @returns {Record<string, any>} */
  const parts = (doc) => ({
    view: viewOut(doc), searches: doc.searches, pinned: doc.pins.map(spotOut),
    selected: fits(doc) ? selectionOut(doc.selection) : null,
  });

  return {
    spotIn, spotOut, pinsIn, selectionIn, selectionOut, searchesIn, viewIn, viewOut, fits,
    /**
     * What differs from the saved state, as the text of a link; "" for nothing. A large selection does not fit.
     * @param {MapState} doc
     * @param {MapState} saved
     */
    toHash(doc, saved) {
      const before = parts(saved);
      const changed = Object.entries(parts(doc)).filter(([name, value]) =>
        value && JSON.stringify(value) !== JSON.stringify(before[name]));
      return changed.length ? JSON.stringify(Object.fromEntries(changed)) : "";
    },
    /** What a link changes; null for a text that is none. @param {string} hash @returns {Partial<MapState> | null} */
    fromHash(hash) {
      let read;
      try { read = JSON.parse(hash); } catch { return null; }
      if (!read || typeof read !== "object") return null;
      return {
        ...("view" in read && viewIn(read.view)), ...("searches" in read && { searches: searchesIn(read.searches) }),
        ...("pinned" in read && { pins: pinsIn(read.pinned) }),
        ...("selected" in read && { selection: selectionIn(read.selected) }),
      };
    },
  };
}
