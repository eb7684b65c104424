/**
 * The table below the panels: pinned, found and selected features with their partners. A tab may hold a million rows:
 * only what is looked at becomes text.
 */

import { debounce, download, el, shown, uid } from "./kit.js";
import { MUTUAL, sameToken, tokensOf } from "./mapdata.js";
import { alone, beyond, doubt, grouped, nameOf, short, shortQ, weak } from "./maplabels.js";
import { MAX_QUERY } from "./maplink.js";
import { findPoints, pointsWhere } from "./mapsearch.js";

/** @typedef {import("./mapdata.js").MapData} MapData */
/** @typedef {Pick<import("./linkedmap.js").MapState, "table" | "selection" | "searches" | "pins">} Doc */
/** @typedef {Pick<import("./linkedmap.js").Derived, "pinned" | "found" | "shown" | "looks">} Known */
/** @typedef {{panel: number, point: number, set: number, edge: number}} Row a feature and a pair, set -1 for none */
/** @typedef {"feature" | "partner" | "score" | "chance" | "q" | "within" | "mutual" | "mark"} Column */
/** @typedef {"pinned" | "found" | "selected"} Tab */
/** @typedef {Record<string, string | number | boolean | string[] | null>} Exported */

const PAGE = 100, MOST_PARTNERS = 10, CHUNK = 20000, LATER = 80;
/** @type {Record<Tab, string>} */
const EMPTY = {
  pinned: "Click a feature to pin it, or press Enter on it: its partners are listed here.",
  found: "Type into the search field: what it finds is listed here.",
  selected: "Hold Shift and drag over a map: the features in the box are listed here.",
};
/** @type {[Column, string, boolean][]} name of a column, and whether the largest come first */
const COLUMNS = [["feature", "feature", false], ["partner", "partner", false], ["score", "score", true],
  ["chance", "null", false], ["q", "q", false], ["within", "within", true], ["mutual", "mutual", true],
  ["mark", "doubts", false]];
const FIELDS = ["panel", "feature", "tokens", "explanation", "partner_panel", "partner", "partner_tokens", "score",
  "null", "q", "within", "mutual", "same_token", "beyond_chance", "metric", "given", "searches"];

/** @param {Uint32Array[]} points */
const size = (points) => points.reduce((sum, o) => sum + o.length, 0);

/**
 * The points that any search finds.
 * @param {MapData} data
 * @param {Known["looks"]} looks
 */
const foundPoints = (data, looks) => data.panels.map((p, i) => pointsWhere(p, (point) => looks[i].found[point] > 0));

/**
 * A point with its best shown pair.
 * @param {MapData} data
 * @param {number} panel
 * @param {number} point
 * @param {Uint8Array[]} shownEdges
 * @returns {Row}
 */
function bestRow(data, panel, point, shownEdges) {
  const best = { panel, point, set: -1, edge: 0 };
  let top = -Infinity;
  for (const { set, indptr, edges } of data.panels[panel].links) {
    let s = indptr[point];
    while (s < indptr[point + 1] && !shownEdges[set][edges[s]]) s++;
    const edge = edges[s], score = data.sets[set].score[edge];
    if (s === indptr[point + 1] || (best.set >= 0 && !(score > top))) continue;
    [best.set, best.edge, top] = [set, edge, score];
  }
  return best;
}

/**
 * The rows of the tab that is open.
 * @param {MapData} data
 * @param {Doc} doc
 * @param {Known} derived
 * @returns {Row[]}
 */
export function rowsOf(data, { table, selection }, { pinned, looks, shown: shownEdges }) {
  if (table === "pinned") {
    return pinned.flatMap(({ panel, point, partners }) =>
      (partners.length ? partners.slice(0, MOST_PARTNERS) : [{ set: -1, edge: 0 }])
        .map(({ set, edge }) => ({ panel, point, set, edge })));
  }
  /** @type {Row[]} */
  const rows = [];
  (table === "found" ? foundPoints(data, looks) : selection).forEach((points, panel) => {
    for (const point of points) rows.push(bestRow(data, panel, point, shownEdges));
  });
  return rows;
}

/**
 * The other end of a row's pair.
 * @param {MapData} data
 * @param {Row} row
 * @returns {[number, number] | null} panel and point
 */
function partnerOf(data, { panel, point, set: s, edge }) {
  if (s < 0) return null;
  const set = data.sets[s], forth = set.left === panel && set.a[edge] === point;
  return forth ? [set.right, set.b[edge]] : [set.left, set.a[edge]];
}

/**
 * How much speaks against a pair: 0 nothing, 1 the token, 2 chance.
 * @param {import("./mapdata.js").PairSet} set
 * @param {number} e
 */
const doubts = (set, e) => (weak(set, e) ? 2 : Number(sameToken(set, e)));

/**
 * Whether a pair is beyond chance; null where nothing was tested, or another pair of its feature.
 * @param {import("./mapdata.js").PairSet} set
 * @param {number} e
 */
const verdict = (set, e) =>
  (beyond(set, e) ? true : Number.isFinite(set.q[e]) || set.score[e] <= set.chance[e] ? false : null);

/**
 * What a row is sorted by, NaN where it has nothing there.
 * @param {MapData} data
 * @param {Row} row
 * @param {Column} column
 */
function valueOf(data, row, column) {
  const set = data.sets[row.set];
  if (column === "feature" || column === "partner") {
    const end = column === "partner" ? partnerOf(data, row) : [row.panel, row.point];
    return end ? end[0] * 2 ** 32 + data.panels[end[0]].ids[end[1]] : NaN;
  }
  if (!set) return NaN;
  if (column === "mutual") return set.flags[row.edge] & MUTUAL;
  return column === "mark" ? doubts(set, row.edge) : Math.round((set[column][row.edge] + 2) * 1e6);
}

/**
 * Rows in the order of a column, those without a value last whichever the direction. Stable, by counting 16 bits at a
 * time: a million rows must not stop the page.
 * @param {MapData} data
 * @param {Row[]} rows
 * @param {Column} column
 * @param {boolean} down largest first
 */
export function sortRows(data, rows, column, down) {
  const low = new Uint32Array(rows.length), high = low.slice();
  let order = low.slice();
  rows.forEach((row, r) => {
    const value = valueOf(data, row, column), key = value === value ? (down ? 2 ** 47 - value : value) : 2 ** 48 - 1;
    order[r] = r;
    low[r] = key % 2 ** 32;
    high[r] = key / 2 ** 32;
  });
  for (const [keys, shift] of /** @type {const} */ ([[low, 0], [low, 16], [high, 0]])) {
    const at = new Uint32Array(65537), next = low.slice();
    for (const r of order) at[((keys[r] >>> shift) & 65535) + 1]++;
    for (let k = 0; k < 65536; k++) at[k + 1] += at[k];
    for (const r of order) next[at[(keys[r] >>> shift) & 65535]++] = r;
    order = next;
  }
  return Array.from(order, (r) => rows[r]);
}

/**
 * Rows of which an end has the text in its tokens, its explanation, its cluster's name, or as its id.
 * @param {MapData} data
 * @param {Row[]} rows
 * @param {string} text
 */
export function filterRows(data, rows, text) {
  const query = text.trim().slice(0, MAX_QUERY);
  if (!query) return rows;
  const masks = data.panels.map((p) => new Uint8Array(p.n));
  for (const mode of /** @type {const} */ (["part", "label", "id"])) {
    if (mode === "id" && !/^#?\d+$/.test(query)) continue;
    findPoints(data, { text: query, mode, most: false }).forEach((points, p) => {
      for (const i of points) masks[p][i] = 1;
    });
  }
  return rows.filter((row) => {
    const partner = partnerOf(data, row);
    return masks[row.panel][row.point] || (partner && masks[partner[0]][partner[1]]);
  });
}

/**
 * One row as it is exported: names and numbers, null where there is none.
 * @param {MapData} data
 * @param {Row} row
 * @param {[string, Set<number>[]][]} hits text and points of every search
 * @returns {Exported}
 */
export function recordOf(data, row, hits) {
  const { panel, point, edge: e } = row, p = data.panels[panel], set = data.sets[row.set];
  const partner = partnerOf(data, row), other = partner && data.panels[partner[0]];
  /** @param {"score" | "chance" | "q" | "within"} name */
  const number = (name) => (set && Number.isFinite(set[name][e]) ? Math.round(set[name][e] * 1e4) / 1e4 : null);
  /** @param {number} flag */
  const flag = (flag) => (set ? Boolean(set.flags[e] & flag) : null);
  return {
    panel: p.name, feature: p.ids[point], tokens: tokensOf(data, panel, point),
    explanation: p.explanations?.[point] ?? "", partner_panel: other && other.name,
    partner: partner && data.panels[partner[0]].ids[partner[1]], partner_tokens: partner && tokensOf(data, ...partner),
    score: number("score"), null: number("chance"), q: number("q"), within: number("within"),
    mutual: flag(MUTUAL), same_token: set ? sameToken(set, e) : null, beyond_chance: set ? verdict(set, e) : null,
    metric: set ? set.metric : null, given: set ? set.given : null,
    searches: hits.filter(([, points]) => points[panel].has(point)).map(([text]) => text),
  };
}

/**
 * A cell of CSV. What a spreadsheet would run as a formula gets an apostrophe before it.
 * @param {Exported[string]} value
 * @param {string} between items of a list
 */
function cell(value, between) {
  if (value === null || typeof value === "number" || typeof value === "boolean") return String(value ?? "");
  const text = Array.isArray(value) ? value.join(between) : value;
  const safe = /^[=+\-@\t\r\n＝＋－＠]/.test(text) ? `'${text}` : text;
  return /[",;\t\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** @param {Exported[]} records */
export const toCsv = (records) => [Object.fromEntries(FIELDS.map((name) => [name, name])), ...records].map((record) =>
  FIELDS.map((name) => cell(record[name], name === "searches" ? "; " : " ")).join(",") + "\r\n").join("");

/** @param {Exported[]} records */
export const toJson = (records) => `[\n${records.map((record) => JSON.stringify(record)).join(",\n")}\n]\n`;

/**
 * @param {MapData} data
 * @param {import("./linkedmap.js").Act} act
 */
export function createTable(data, act) {
  const stem = uid(), names = /** @type {Tab[]} */ (Object.keys(EMPTY));
  const given = [...new Set(data.sets.map((set) => set.given))].join(" or ");
  /** @type {Doc} */
  let doc = { table: "pinned", selection: [], searches: [], pins: [] };
  /** @type {Known} */
  let derived = { pinned: [], found: [], shown: [], looks: [] };
  /** @type {Row[]} */
  let rows = [], pages = 1;
  /** @type {Row[]} what passes the filter, sorted */
  let order = [];
  let counted = derived.found, foundCount = 0;
  /** @type {{column: Column, down: boolean} | null} */
  let sort = null;
  /** @type {unknown[]} what the rows were made from */
  let made = [];

  // ---- what stands in the page
  const tabs = names.map((name) => el("button", {
    type: "button", role: "tab", id: `${stem}-${name}`, "aria-controls": stem, onclick: () => open(name),
  }));
  const filter = el("input", {
    type: "text", class: "lm-filter", placeholder: "filter", maxlength: MAX_QUERY, spellcheck: "false",
    autocomplete: "off", "aria-label": "Filter the rows by token, explanation or feature id",
  });
  const saves = ["csv", "json"].map((kind) => el("button", {
    type: "button", title: "all rows of this tab, as filtered and sorted", onclick: () => save(kind),
  }, kind.toUpperCase()));
  const caption = el("caption", {}), body = el("tbody", {}), empty = el("p", { class: "lm-empty" });
  const heads = COLUMNS.map(([column, name]) => el("th", { scope: "col" },
    el("button", { type: "button", class: "lm-sort", onclick: () => sortBy(column) },
      column === "within" ? `within ${given}` : name)));
  const lastHead = el("th", { scope: "col" },
    el("button", { type: "button", onclick: () => act.set({ pins: [] }) }, "unpin all"));
  const table = el("table", {}, caption, el("thead", {}, el("tr", {}, ...heads, lastHead)), body);
  const more = el("button", { type: "button", class: "lm-more", onclick: () => {
    const from = body.childElementCount;
    pages++;
    draw();
    body.children[from].querySelector("button")?.focus();
  } });
  const scroll = el("div", { class: "lm-scroll", role: "tabpanel", id: stem, tabindex: "0" }, table, empty, more);
  const tablist = el("div", { class: "lm-tabs", role: "tablist", "aria-label": "Features" }, ...tabs);
  const element = el("section", { class: "lm-table", "aria-label": "Features in a table" },
    el("div", { class: "lm-tools" }, tablist, filter, ...saves), scroll);

  // ---- what follows from a change
  /** @param {Tab} name */
  function open(name) {
    act.set({ table: name });
    scroll.scrollTop = 0;
  }
  /** @param {Column} column */
  function sortBy(column) {
    const [, name, first] = /** @type {typeof COLUMNS[0]} */ (COLUMNS.find((o) => o[0] === column));
    if (sort?.column !== column) sort = { column, down: first };
    else sort = sort.down === first ? { column, down: !first } : null;
    arrange();
    act.say(sort ? `Sorted by ${name}, ${sort.down ? "falling" : "rising"}.` : "In the order of the maps.");
  }
  function fill() {
    rows = rowsOf(data, doc, derived);
    arrange();
  }
  function arrange() {
    later.cancel();
    const kept = filterRows(data, rows, filter.value);
    order = sort ? sortRows(data, kept, sort.column, sort.down) : kept;
    pages = 1;
    body.replaceChildren();
    draw();
  }
  const later = debounce(fill, LATER);

  function draw() {
    const from = body.childElementCount, to = Math.min(order.length, pages * PAGE), all = rows.length;
    for (let k = from; k < to; k++) body.append(line(order[k]));
    heads.forEach((head, c) => {
      const own = sort?.column === COLUMNS[c][0] ? sort : null;
      head.setAttribute("aria-sort", own ? (own.down ? "descending" : "ascending") : "none");
    });
    lastHead.hidden = doc.table !== "pinned";
    table.hidden = !order.length;
    empty.textContent = all ? `No row has “${shown(filter.value.trim(), 40)}”.` : EMPTY[doc.table];
    empty.hidden = order.length > 0;
    const some = order.length < all ? ` of ${grouped(all)}` : "";
    const cut = to < order.length ? `, ${grouped(to)} shown` : "";
    caption.textContent = `${grouped(order.length)}${some} ${all === 1 ? "row" : "rows"}${cut}`;
    more.hidden = to === order.length;
    more.textContent = `Show ${grouped(Math.min(PAGE, order.length - to))} more`;
    for (const button of saves) button.disabled = !order.length;
  }

  /** @param {Row} row */
  function line(row) {
    const { panel, point, edge: e } = row, set = data.sets[row.set], partner = partnerOf(data, row);
    /** @param {number} q @param {number} i */
    const feature = (q, i) => [
      el("button", { type: "button", class: "lm-name fg-text", onclick: () => act.show(q, i) }, nameOf(data, q, i)),
      ...tokensOf(data, q, i).slice(0, 4)
        .flatMap((t) => [" ", el("span", { class: "lm-token fg-text" }, shown(t, 20))]),
    ];
    /** @param {"score" | "chance" | "q" | "within"} name */
    const number = (name) => el("td", { class: "lm-number" }, set && (name === "q" ? shortQ : short)(set[name][e]));
    const unpin = () => el("button", {
      type: "button", class: "lm-unpin", "aria-label": `Unpin ${nameOf(data, panel, point)}`, onclick: () => {
        act.pin(panel, point);
        (body.querySelector("button") ?? scroll).focus();
      },
    }, "unpin");
    return el("tr", { onclick: (/** @type {Event} */ event) => {
      const plain = !(/** @type {Element} */ (event.target).closest("button")) && !String(getSelection());
      if (plain) act.show(panel, point);   // else a button was meant, or text is being copied
    } }, el("th", { scope: "row" }, ...feature(panel, point)),
    el("td", {}, ...(partner ? feature(...partner) : [el("span", { class: "fg-muted" }, data.sets.length ? alone(data, panel, point) : "")])),
    number("score"), number("chance"), number("q"), number("within"),
    el("td", {}, set && set.flags[e] & MUTUAL ? "mutual" : ""),
    el("td", { class: "lm-doubt" }, set && (weak(set, e) || doubt(set, e))),
    doc.table === "pinned" && el("td", {}, unpin()));
  }

  element.addEventListener("keydown", (e) => {
    e.stopPropagation();   // a notebook has its own keys
    const at = tabs.findIndex((o) => o === e.target), last = tabs.length - 1;
    const to = { ArrowLeft: at ? at - 1 : last, ArrowRight: at < last ? at + 1 : 0, Home: 0, End: last }[e.key];
    if (at < 0 || to === undefined) return;
    e.preventDefault();
    open(names[to]);
    tabs[to].focus();
  });
  filter.addEventListener("input", debounce(arrange, LATER));

  /** @param {string} kind */
  async function save(kind) {
    const name = `featgeom-${doc.table}.${kind}`, which = order, { found } = derived, records = [];
    const hits = doc.searches.map(({ text }, s) =>
      /** @type {[string, Set<number>[]]} */ ([text, found[s].points.map((points) => new Set(points))]));
    for (const row of which) {
      records.push(recordOf(data, row, hits));
      if (records.length % CHUNK === 0) await new Promise((done) => { setTimeout(done); });
    }
    const [text, type] = kind === "csv" ? [`\ufeff${toCsv(records)}`, "text/csv"] : [toJson(records), "application/json"];
    download(name, text, type, element);
    act.say(`${grouped(which.length)} rows saved as ${name}.`);
  }

  return {
    element,
    /**
     * @param {import("./linkedmap.js").MapState} state
     * @param {import("./linkedmap.js").Derived} known
     */
    update(state, known) {
      doc = state;
      derived = { ...known };
      if (counted !== known.found) foundCount = size(foundPoints(data, known.looks));
      counted = known.found;
      const counts = { pinned: doc.pins.length, found: foundCount, selected: size(doc.selection) };
      tabs.forEach((tab, t) => {
        const name = names[t], open = name === doc.table;
        tab.textContent = `${name} ${grouped(counts[name])}`;
        tab.setAttribute("aria-selected", String(open));
        tab.tabIndex = open ? 0 : -1;
        if (open) scroll.setAttribute("aria-labelledby", tab.id);
      });
      const from = { pinned: doc.pins, found: derived.found, selected: doc.selection }[doc.table];
      const needs = [doc.table, derived.shown, from];
      if (needs.every((o, i) => o === made[i])) return;
      made = needs;
      if (counts[doc.table] > PAGE) later();   // whoever types, slides or draws a lasso need not wait for rows
      else fill();
    },
  };
}
