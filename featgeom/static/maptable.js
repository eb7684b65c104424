/**
 * The table below the panels: pinned, found and selected features with their partners. A tab may hold a million rows:
 * they are numbers in typed arrays, and only what is looked at becomes text.
 */

import { debounce, download, el, shown } from "./kit.js";
import { BEYOND, MUTUAL, sameToken, tokensOf } from "./mapdata.js";
import { grouped, nameOf, short, shortQ } from "./maplabels.js";
import { MAX_QUERY } from "./maplink.js";
import { findPoints, pointsWhere } from "./mapsearch.js";

/** @typedef {import("./mapdata.js").MapData} MapData */
/** @typedef {Pick<import("./linkedmap.js").MapState, "table" | "selection" | "searches" | "pins">} Doc */
/** @typedef {Pick<import("./linkedmap.js").Derived, "pinned" | "found" | "shown" | "looks">} Known */
/**
 * @typedef {Object} Rows a feature and a partner in each, as columns
 * @property {Uint8Array} panel
 * @property {Uint32Array} point
 * @property {Int32Array} set of pairs, -1 where there is no partner
 * @property {Uint32Array} edge in that set
 */
/** @typedef {"feature" | "partner" | "score" | "null" | "q" | "within" | "mutual" | "mark"} Column */
/** @typedef {"pinned" | "found" | "selected"} Tab */
/** @typedef {Record<string, string | number | boolean | string[] | null>} Row as it is exported */

const PAGE = 100, MOST_PARTNERS = 10, CHUNK = 20000, LATER = 80;
/** @type {Record<Tab, string>} */
const EMPTY = {
  pinned: "Click a feature to pin it, or press Enter on it: its partners are listed here.",
  found: "Type into the search field: what it finds is listed here.",
  selected: "Hold Shift and drag over a map: the features in the box are listed here.",
};
/** @type {[Column, string, boolean][]} name of a column, and whether the largest come first */
const COLUMNS = [["feature", "feature", false], ["partner", "partner", false], ["score", "score", true],
  ["null", "null", false], ["q", "q", false], ["within", "within token", true], ["mutual", "mutual", true],
  ["mark", "doubts", false]];
const DOUBTS = ["", "same token", "not beyond chance"];
const FIELDS = ["panel", "feature", "tokens", "explanation", "partner_panel", "partner", "partner_tokens", "score",
  "null", "q", "within", "mutual", "same_token", "beyond_chance", "searches"];

/** @param {Uint32Array[]} points */
const size = (points) => points.reduce((sum, o) => sum + o.length, 0);

/**
 * The points that any search finds.
 * @param {MapData} data
 * @param {Known["looks"]} looks
 */
const foundPoints = (data, looks) => data.panels.map((p, i) => pointsWhere(p, (point) => looks[i].found[point] > 0));

/**
 * The best shown pair of a point, as set and edge.
 * @param {MapData} data
 * @param {number} panel
 * @param {number} point
 * @param {Uint8Array[]} shownEdges
 */
function bestPair(data, panel, point, shownEdges) {
  let best = { set: -1, edge: 0 }, top = -Infinity;
  for (const { set, indptr, edges } of data.panels[panel].links) {
    let s = indptr[point];
    while (s < indptr[point + 1] && !shownEdges[set][edges[s]]) s++;
    if (s === indptr[point + 1]) continue;
    const score = data.sets[set].score[edges[s]];
    if (best.set >= 0 && !(score > top)) continue;
    best = { set, edge: edges[s] };
    top = score;
  }
  return best;
}

/**
 * The rows of the tab that is open.
 * @param {MapData} data
 * @param {Doc} doc
 * @param {Known} derived
 * @returns {Rows}
 */
export function rowsOf(data, doc, derived) {
  const flat = doc.table !== "pinned" ? [] : derived.pinned.flatMap(({ panel, point, partners }) =>
    (partners.length ? partners.slice(0, MOST_PARTNERS) : [{ set: -1, edge: 0 }])
      .map(({ set, edge }) => ({ panel, point, set, edge })));
  const { table, selection } = doc;
  const lists = table === "selected" ? selection : table === "found" ? foundPoints(data, derived.looks) : [];
  const n = flat.length + size(lists), [point, edge] = [new Uint32Array(n), new Uint32Array(n)];
  const rows = { panel: new Uint8Array(n), point, set: new Int32Array(n), edge };
  let r = 0;
  /** @param {number} p @param {number} i @param {{set: number, edge: number}} pair */
  const put = (p, i, pair) => {
    rows.panel[r] = p;
    point[r] = i;
    rows.set[r] = pair.set;
    edge[r++] = pair.edge;
  };
  for (const pair of flat) put(pair.panel, pair.point, pair);
  lists.forEach((list, p) => list.forEach((i) => put(p, i, bestPair(data, p, i, derived.shown))));
  return rows;
}

/**
 * The other end of a row's pair.
 * @param {MapData} data
 * @param {Rows} rows
 * @param {number} r
 * @returns {[number, number] | null} panel and point
 */
function partnerOf(data, rows, r) {
  const set = data.sets[rows.set[r]], e = rows.edge[r];
  if (!set) return null;
  const forth = set.left === rows.panel[r] && set.a[e] === rows.point[r];
  return forth ? [set.right, set.b[e]] : [set.left, set.a[e]];
}

/**
 * What speaks against a pair, as a place in DOUBTS.
 * @param {import("./mapdata.js").PairSet} set
 * @param {number} e
 */
const doubt = (set, e) => (set.flags[e] & BEYOND ? Number(sameToken(set, e)) : 2);

/**
 * What a row is sorted by, NaN where it has nothing there.
 * @param {MapData} data
 * @param {Rows} rows
 * @param {number} r
 * @param {Column} column
 */
function valueOf(data, rows, r, column) {
  const set = data.sets[rows.set[r]], e = rows.edge[r];
  if (column === "feature" || column === "partner") {
    const end = column === "partner" ? partnerOf(data, rows, r) : [rows.panel[r], rows.point[r]];
    return end ? end[0] * 2 ** 32 + data.panels[end[0]].ids[end[1]] : NaN;
  }
  if (!set) return NaN;
  if (column === "mutual") return set.flags[e] & MUTUAL;
  if (column === "mark") return doubt(set, e);
  return Math.round((set[column === "null" ? "chance" : column][e] + 2) * 1e6);
}

/**
 * Rows in the order of a column, those without a value last whichever the direction. Stable, by counting 16 bits at a
 * time: a million rows must not stop the page.
 * @param {MapData} data
 * @param {Rows} rows
 * @param {Uint32Array} which rows, in the order that equal ones keep
 * @param {Column} column
 * @param {boolean} down largest first
 * @returns {Uint32Array}
 */
export function sortRows(data, rows, which, column, down) {
  const n = rows.point.length, low = new Uint32Array(n), high = new Uint32Array(n);
  for (const r of which) {
    const value = valueOf(data, rows, r, column), ranked = down ? 2 ** 47 - value : value;
    const key = value === value ? ranked : 2 ** 48 - 1;
    low[r] = key % 2 ** 32;
    high[r] = key / 2 ** 32;
  }
  let order = which;
  for (const [keys, shift] of /** @type {const} */ ([[low, 0], [low, 16], [high, 0]])) {
    const at = new Uint32Array(65537), next = new Uint32Array(order.length);
    for (const r of order) at[((keys[r] >>> shift) & 65535) + 1]++;
    for (let k = 0; k < 65536; k++) at[k + 1] += at[k];
    for (const r of order) next[at[(keys[r] >>> shift) & 65535]++] = r;
    order = next;
  }
  return order;
}

/**
 * Rows of which an end has the text in its tokens, its explanation, its cluster's name, or as its id.
 * @param {MapData} data
 * @param {Rows} rows
 * @param {string} text
 * @returns {Uint32Array}
 */
export function filterRows(data, rows, text) {
  const all = new Uint32Array(rows.point.length), query = text.trim().slice(0, MAX_QUERY);
  for (let r = 0; r < all.length; r++) all[r] = r;
  if (!query) return all;
  const masks = data.panels.map((p) => new Uint8Array(p.n));
  /** @type {import("./mapsearch.js").Mode[]} */
  const modes = ["part", "label", ...(/^#?\d+$/.test(query) ? /** @type {const} */ (["id"]) : [])];
  for (const mode of modes) {
    findPoints(data, { text: query, mode, most: false }).forEach((points, p) => {
      for (const i of points) masks[p][i] = 1;
    });
  }
  return all.filter((r) => {
    const partner = masks[rows.panel[r]][rows.point[r]] ? null : partnerOf(data, rows, r);
    return !partner ? masks[rows.panel[r]][rows.point[r]] : masks[partner[0]][partner[1]];
  });
}

/**
 * One row as it is exported: names and numbers, null where there is none.
 * @param {MapData} data
 * @param {Doc} doc
 * @param {Known} derived
 * @param {Rows} rows
 * @param {number} r
 * @returns {Row}
 */
export function recordOf(data, doc, derived, rows, r) {
  const panel = rows.panel[r], point = rows.point[r], p = data.panels[panel], partner = partnerOf(data, rows, r);
  const set = data.sets[rows.set[r]], e = rows.edge[r], other = partner && data.panels[partner[0]];
  /** @param {ArrayLike<number>} values */
  const number = (values) => (set && Number.isFinite(values[e]) ? Math.round(values[e] * 1e4) / 1e4 : null);
  /** @param {number} flag */
  const flag = (flag) => (set ? Boolean(set.flags[e] & flag) : null);
  const found = doc.searches.filter((_, s) => holds(derived.found[s].points[panel], point));
  return {
    panel: p.name, feature: p.ids[point], tokens: tokensOf(data, panel, point),
    explanation: p.explanations?.[point] ?? "", partner_panel: other && other.name,
    partner: other && other.ids[partner[1]], partner_tokens: partner && tokensOf(data, ...partner),
    score: number(set?.score), null: number(set?.chance), q: number(set?.q), within: number(set?.within),
    mutual: flag(MUTUAL), same_token: set ? sameToken(set, e) : null, beyond_chance: flag(BEYOND),
    searches: found.map((o) => o.text),
  };
}

/** @param {Uint32Array} rising @param {number} value */
function holds(rising, value) {
  let low = 0, high = rising.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (rising[middle] < value) low = middle + 1;
    else high = middle;
  }
  return rising[low] === value;
}

/**
 * A cell of CSV. What a spreadsheet would run as a formula gets an apostrophe before it.
 * @param {Row[string]} value
 * @param {string} between items of a list
 */
function cell(value, between) {
  if (value === null || typeof value === "number" || typeof value === "boolean") return String(value ?? "");
  const text = Array.isArray(value) ? value.join(between) : value;
  const safe = /^[=+\-@\t\r\n]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** @param {Row} record */
const csvLine = (record) => FIELDS.map((name) => cell(record[name], name === "searches" ? "; " : " ")).join(",");
/** @type {Record<string, {line: (record: Row) => string, whole: (lines: string[]) => string}>} */
const FORMATS = {
  csv: { line: csvLine, whole: (lines) => [FIELDS.join(","), ...lines, ""].join("\r\n") },
  json: { line: (record) => JSON.stringify(record), whole: (lines) => `[\n${lines.join(",\n")}\n]\n` },
};

/** @param {Row[]} records */
export const toCsv = (records) => FORMATS.csv.whole(records.map(FORMATS.csv.line));

/** @param {Row[]} records */
export const toJson = (records) => FORMATS.json.whole(records.map(FORMATS.json.line));

/**
 * @param {MapData} data
 * @param {import("./linkedmap.js").Act} act
 */
export function createTable(data, act) {
  const uid = `lm-table-${Math.random().toString(36).slice(2)}`, names = /** @type {Tab[]} */ (Object.keys(EMPTY));
  /** @type {Doc} */
  let doc = { table: "pinned", selection: [], searches: [], pins: [] };
  /** @type {Known} */
  let derived = { pinned: [], found: [], shown: [], looks: [] };
  let rows = rowsOf(data, doc, derived), pages = 1;
  /** @type {Uint32Array} the rows that pass the filter, sorted */
  let order = new Uint32Array(0);
  let counted = derived.found, foundCount = 0;
  /** @type {{column: Column, down: boolean} | null} */
  let sort = null;
  /** @type {unknown[]} what the rows were made from */
  let made = [];

  // ---- what stands in the page
  const tabs = names.map((name) => el("button", {
    type: "button", role: "tab", id: `${uid}-${name}`, "aria-controls": uid, onclick: () => open(name),
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
    el("button", { type: "button", class: "lm-sort", onclick: () => sortBy(column) }, name)));
  const lastHead = el("th", { scope: "col" }, "actions");
  const table = el("table", {}, caption, el("thead", {}, el("tr", {}, ...heads, lastHead)), body);
  const more = el("button", { type: "button", class: "lm-more", onclick: () => {
    const from = body.childElementCount;
    pages++;
    draw();
    body.children[from].querySelector("button")?.focus();
  } });
  const panel = el("div", { class: "lm-scroll", role: "tabpanel", id: uid, tabindex: "0" }, table, empty, more);
  const tablist = el("div", { class: "lm-tabs", role: "tablist", "aria-label": "Features" }, ...tabs);
  const element = el("section", { class: "lm-table", "aria-label": "Features in a table" },
    el("div", { class: "lm-tools" }, tablist, filter, ...saves), panel);

  // ---- what follows from a change
  /** @param {Tab} name */
  function open(name) {
    act.set({ table: name });
    panel.scrollTop = 0;
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
    order = sort ? sortRows(data, rows, kept, sort.column, sort.down) : kept;
    pages = 1;
    body.replaceChildren();
    draw();
  }
  const later = debounce(fill, LATER);

  function draw() {
    const from = body.childElementCount, to = Math.min(order.length, pages * PAGE), all = rows.point.length;
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

  /** @param {number} r */
  function line(r) {
    const set = data.sets[rows.set[r]], e = rows.edge[r], partner = partnerOf(data, rows, r), at = rows.point[r];
    const first = !r || rows.point[r - 1] !== at || rows.panel[r - 1] !== rows.panel[r];
    /** @param {string} text */
    const number = (text) => el("td", { class: "lm-number" }, set && text);
    /** @param {number} q @param {number} i @param {string} does */
    const feature = (q, i, does) => [
      el("button", { type: "button", class: "lm-name fg-text", "data-does": does }, nameOf(data, q, i)),
      ...tokensOf(data, q, i).slice(0, 4).map((t) => el("span", { class: "lm-token fg-text" }, shown(t, 20))),
    ];
    const none = () => el("span", { class: "fg-muted" }, "no partner shown");
    const unpin = () => el("button", {
      type: "button", "data-does": "unpin", "aria-label": `Unpin ${nameOf(data, rows.panel[r], at)}`,
    }, "unpin");
    return el("tr", { "data-row": r },
      el("th", { scope: "row" }, ...feature(rows.panel[r], at, "own")),
      el("td", {}, ...(partner ? feature(...partner, "partner") : [none()])),
      number(short(set?.score[e])), number(short(set?.chance[e])), number(shortQ(set?.q[e])),
      number(short(set?.within[e])), el("td", {}, set && set.flags[e] & MUTUAL ? "mutual" : ""),
      el("td", { class: "lm-doubt" }, set && DOUBTS[doubt(set, e)]),
      doc.table === "pinned" && el("td", {}, first && unpin()));
  }

  const buttons = () => [...body.querySelectorAll("button")];
  body.addEventListener("click", (e) => {
    const target = /** @type {Element} */ (e.target), tr = target.closest("tr"), button = target.closest("button");
    if (!tr || (!button && String(getSelection()))) return;   // text is being copied
    const r = Number(tr.dataset.row), own = /** @type {const} */ ([rows.panel[r], rows.point[r]]);
    if (button?.dataset.does !== "unpin") {
      return act.show(...(button?.dataset.does === "partner" && partnerOf(data, rows, r) || own));
    }
    const at = buttons().indexOf(button);
    act.pin(...own);
    (buttons()[at] ?? panel).focus();
  });
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
    const name = `featgeom-${doc.table}.${kind}`, [state, known, kept, which] = [doc, derived, rows, order], lines = [];
    for (const r of which) {
      lines.push(FORMATS[kind].line(recordOf(data, state, known, kept, r)));
      if (lines.length % CHUNK === 0) await new Promise((done) => { setTimeout(done); });
    }
    download(name, FORMATS[kind].whole(lines), kind === "csv" ? "text/csv" : "application/json", element);
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
        if (open) panel.setAttribute("aria-labelledby", tab.id);
      });
      const from = { pinned: doc.pins, found: derived.found, selected: doc.selection }[doc.table];
      const needs = [doc.table, derived.shown, from];
      if (needs.every((o, i) => o === made[i])) return;
      const soon = doc.table !== "pinned" && doc.table === made[0];
      made = needs;
      if (soon) later();
      else fill();
    },
  };
}
