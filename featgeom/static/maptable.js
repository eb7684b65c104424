/**
 * The table below the panels: pinned, found and selected features with their partners. A tab may hold a million rows:
 * they are numbers in typed arrays, and only what is looked at becomes text.
 */

import { debounce, download, el, shown } from "./kit.js";
import { BEYOND, MUTUAL, sameToken, tokensOf } from "./mapdata.js";
import { grouped, nameOf, short, shortQ } from "./maplabels.js";
import { LONGEST, lookUp } from "./mapsearch.js";

/** @typedef {import("./mapdata.js").MapData} MapData */
/** @typedef {Pick<import("./linkedmap.js").MapState, "table" | "selection" | "searches" | "pins">} Doc */
/** @typedef {Pick<import("./linkedmap.js").Derived, "pinned" | "found" | "shown">} Known */
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

const PAGE = 100, MOST_PARTNERS = 10, CHUNK = 20000, LATER = 80, NONE = 0xffffffff;
/** @type {Record<Tab, string>} */
const EMPTY = {
  pinned: "Click a feature to pin it, or press Enter on it: its partners are listed here.",
  found: "Type into the search field: the features that it finds are listed here, each with its best partner.",
  selected: "Hold Shift and drag over a map: the features in the box are listed here, each with its best partner.",
};
/** @type {[Column, string, boolean][]} name of a column, and whether the largest come first */
const COLUMNS = [["feature", "feature", false], ["partner", "partner", false], ["score", "score", true],
  ["null", "null", false], ["q", "q", false], ["within", "within token", true], ["mutual", "mutual", true],
  ["mark", "doubts", false]];
const FIELDS = ["panel", "feature", "tokens", "explanation", "partner_panel", "partner", "partner_tokens", "score",
  "null", "q", "within", "mutual", "same_token", "beyond_chance", "searches"];

/**
 * The points that any search finds.
 * @param {MapData} data
 * @param {Known["found"]} found
 * @returns {Uint32Array[]} rising, per panel
 */
export function foundPoints(data, found) {
  return data.panels.map((p, i) => {
    const lists = found.map((o) => o.points[i]).filter((o) => o.length);
    if (lists.length < 2) return lists[0] ?? new Uint32Array(0);
    const mask = new Uint8Array(p.n);
    for (const list of lists) for (const point of list) mask[point] = 1;
    const out = new Uint32Array(p.n);
    let m = 0;
    for (let j = 0; j < p.n; j++) if (mask[j]) out[m++] = j;
    return out.slice(0, m);
  });
}

/** @param {Uint32Array[]} points */
const size = (points) => points.reduce((sum, o) => sum + o.length, 0);

/**
 * The best shown pair of every point of every panel; of equal ones the first.
 * @param {MapData} data
 * @param {Uint8Array[]} shownEdges
 */
function bestPairs(data, shownEdges) {
  const best = data.panels.map(({ n }) =>
    ({ set: new Int32Array(n).fill(-1), edge: new Uint32Array(n), score: new Float32Array(n) }));
  data.sets.forEach((set, s) => {
    for (const side of /** @type {const} */ (["left", "right"])) {
      const ends = side === "left" ? set.a : set.b, { set: sets, edge, score } = best[set[side]];
      for (let e = 0; e < ends.length; e++) {
        const i = ends[e];
        if (!shownEdges[s][e] || (sets[i] >= 0 && !(set.score[e] > score[i]))) continue;
        sets[i] = s;
        edge[i] = e;
        score[i] = set.score[e];
      }
    }
  });
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
  if (doc.table === "pinned") {
    const flat = derived.pinned.flatMap(({ panel, point, partners }) =>
      (partners.length ? partners.slice(0, MOST_PARTNERS) : [{ set: -1, edge: 0 }])
        .map(({ set, edge }) => ({ panel, point, set, edge })));
    return {
      panel: Uint8Array.from(flat, (o) => o.panel), point: Uint32Array.from(flat, (o) => o.point),
      set: Int32Array.from(flat, (o) => o.set), edge: Uint32Array.from(flat, (o) => o.edge),
    };
  }
  const points = doc.table === "found" ? foundPoints(data, derived.found) : doc.selection;
  const n = size(points), best = n ? bestPairs(data, derived.shown) : [];
  const [point, edge] = [new Uint32Array(n), new Uint32Array(n)];
  const rows = { panel: new Uint8Array(n), point, set: new Int32Array(n), edge };
  let r = 0;
  points.forEach((list, panel) => {
    for (const point of list) {
      rows.panel[r] = panel;
      rows.point[r] = point;
      rows.set[r] = best[panel].set[point];
      rows.edge[r++] = best[panel].edge[point];
    }
  });
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
 * What speaks against a row's pair: 0 nothing, 1 same token, 2 not beyond chance.
 * @param {import("./mapdata.js").PairSet} set
 * @param {number} e
 */
const doubt = (set, e) => (set.flags[e] & BEYOND ? Number(sameToken(set, e)) : 2);

/** @typedef {(set: import("./mapdata.js").PairSet, e: number) => number} Value */
/** @type {Record<Exclude<Column, "feature" | "partner">, Value>} */
const VALUES = {
  score: (set, e) => set.score[e], null: (set, e) => set.chance[e], q: (set, e) => set.q[e],
  within: (set, e) => set.within[e], mutual: (set, e) => Number(Boolean(set.flags[e] & MUTUAL)), mark: doubt,
};

/**
 * Rows in the order of a column, those without a value last whichever the direction.
 * @param {MapData} data
 * @param {Rows} rows
 * @param {Uint32Array} which rows, in the order that equal ones keep
 * @param {Column} column
 * @param {boolean} down largest first
 * @returns {Uint32Array}
 */
export function sortRows(data, rows, which, column, down) {
  const n = rows.point.length;
  /** @param {(r: number) => number} key whole, below 2 ** 32 - 1 */
  const keysFrom = (key) => {
    const keys = new Uint32Array(n);
    for (const r of which) {
      const k = key(r);
      keys[r] = k === NONE || !down ? k : NONE - 1 - k;
    }
    return keys;
  };
  if (column === "feature" || column === "partner") {
    const panels = new Uint32Array(n), ids = new Uint32Array(n);
    for (const r of which) {
      const end = column === "partner" ? partnerOf(data, rows, r) : [rows.panel[r], rows.point[r]];
      panels[r] = end ? end[0] : NONE;
      ids[r] = end ? data.panels[end[0]].ids[end[1]] : NONE;
    }
    return sorted(sorted(which, keysFrom((r) => ids[r])), keysFrom((r) => panels[r]));
  }
  const value = VALUES[column];
  return sorted(which, keysFrom((r) => {
    const v = rows.set[r] < 0 ? NaN : value(data.sets[rows.set[r]], rows.edge[r]);
    return v === v ? Math.round((v + 2) * 1e6) : NONE;
  }));
}

/**
 * Stable, by counting 16 bits at a time: a million rows must not stop the page.
 * @param {Uint32Array} which
 * @param {Uint32Array} keys
 */
function sorted(which, keys) {
  let order = which;
  for (const shift of [0, 16]) {
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
  const all = new Uint32Array(rows.point.length), query = text.trim().slice(0, LONGEST);
  for (let r = 0; r < all.length; r++) all[r] = r;
  if (!query) return all;
  const masks = data.panels.map((p) => new Uint8Array(p.n));
  /** @type {import("./mapsearch.js").Mode[]} */
  const modes = ["part", "label", ...(/^#?\d+$/.test(query) ? /** @type {const} */ (["id"]) : [])];
  for (const mode of modes) {
    lookUp(data, { text: query, mode, most: false }).forEach((points, p) => {
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

/**
 * @param {Row[]} records
 * @param {boolean} [head]
 */
export function toCsv(records, head = true) {
  const lines = records.map((o) => FIELDS.map((name) => cell(o[name], name === "searches" ? "; " : " ")));
  return [...(head ? [FIELDS] : []), ...lines].map((cells) => cells.join(",") + "\r\n").join("");
}

/** @param {Row[]} records */
export const toJson = (records) => `[\n${records.map((o) => JSON.stringify(o)).join(",\n")}\n]\n`;

/**
 * @param {MapData} data
 * @param {import("./linkedmap.js").Act} act
 */
export function createTable(data, act) {
  const uid = `lm-table-${Math.random().toString(36).slice(2)}`, names = /** @type {Tab[]} */ (Object.keys(EMPTY));
  /** @type {Doc} */
  let doc = { table: "pinned", selection: [], searches: [], pins: [] };
  /** @type {Known} */
  let derived = { pinned: [], found: [], shown: [] };
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
    type: "text", class: "lm-filter", placeholder: "filter", maxlength: LONGEST, spellcheck: "false",
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
    focusOn(buttons(body.children[from])[0]);
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
  const later = debounce(fill, LATER), laterFilter = debounce(arrange, LATER);

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
    buttons()[0]?.setAttribute("tabindex", "0");
  }

  /** @param {number} r */
  function line(r) {
    const set = data.sets[rows.set[r]], e = rows.edge[r], partner = partnerOf(data, rows, r), at = rows.point[r];
    const first = !r || rows.point[r - 1] !== at || rows.panel[r - 1] !== rows.panel[r];
    /** @param {string} text */
    const number = (text) => el("td", { class: "lm-number" }, set && text);
    /** @param {number} q @param {number} i @param {string} does */
    const feature = (q, i, does) => [
      el("button", { type: "button", class: "lm-name fg-text", tabindex: "-1", "data-does": does }, nameOf(data, q, i)),
      ...tokensOf(data, q, i).slice(0, 4).map((t) => el("span", { class: "lm-token fg-text" }, shown(t, 20))),
    ];
    const none = () => el("span", { class: "fg-muted" }, "no partner shown");
    const unpin = () => el("button", {
      type: "button", tabindex: "-1", "data-does": "unpin", "aria-label": `Unpin ${nameOf(data, rows.panel[r], at)}`,
    }, "unpin");
    return el("tr", { "data-row": r },
      el("th", { scope: "row" }, ...feature(rows.panel[r], at, "own")),
      el("td", {}, ...(partner ? feature(...partner, "partner") : [none()])),
      number(short(set?.score[e])), number(short(set?.chance[e])), number(shortQ(set?.q[e])),
      number(short(set?.within[e])), el("td", {}, set && set.flags[e] & MUTUAL ? "mutual" : ""),
      el("td", { class: "lm-doubt" }, set && ["", "same token", "not beyond chance"][doubt(set, e)]),
      doc.table === "pinned" && el("td", {}, first && unpin()));
  }

  /** @param {ParentNode} [within] @returns {HTMLButtonElement[]} */
  const buttons = (within = body) => [...within.querySelectorAll("button")];
  body.addEventListener("click", (e) => {
    const target = /** @type {Element} */ (e.target), tr = target.closest("tr"), button = target.closest("button");
    if (!tr || (!button && String(getSelection()))) return;   // text is being copied
    const r = Number(tr.dataset.row), own = /** @type {const} */ ([rows.panel[r], rows.point[r]]);
    if (button?.dataset.does !== "unpin") {
      return act.show(...(button?.dataset.does === "partner" && partnerOf(data, rows, r) || own));
    }
    const at = buttons().indexOf(button);
    act.pin(...own);
    focusOn(buttons()[at] ?? buttons().at(-1) ?? panel);
  });
  /** @param {HTMLElement} next the one button of the table that Tab reaches */
  function focusOn(next) {
    for (const button of buttons()) button.tabIndex = button === next ? 0 : -1;
    next.focus();
  }
  body.addEventListener("focusin", (e) => {
    for (const button of buttons()) button.tabIndex = button === e.target ? 0 : -1;
  });
  body.addEventListener("keydown", (e) => {
    const lines = [...body.children], tr = /** @type {Element} */ (e.target).closest("tr");
    if (!tr) return;
    const across = buttons(tr), c = across.findIndex((o) => o === e.target), l = lines.indexOf(tr);
    const side = { ArrowLeft: -1, ArrowRight: 1 }[e.key];
    const to = { ArrowUp: l - 1, ArrowDown: l + 1, Home: 0, End: lines.length - 1 }[e.key];
    if (side === undefined && to === undefined) return;
    e.preventDefault();
    const row = to === undefined ? across : lines[to] ? buttons(lines[to]) : [];
    const next = to === undefined ? row[c + (side ?? 0)] : row[Math.min(c, row.length - 1)];
    if (next) focusOn(next);
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
  filter.addEventListener("input", laterFilter);
  filter.addEventListener("keydown", (e) => {
    if (e.key === "Escape") filter.value = "";
    if (e.key === "Escape" || e.key === "Enter") arrange();
  });

  /** @param {string} kind */
  async function save(kind) {
    const name = `featgeom-${doc.table}.${kind}`, [state, known, kept, which] = [doc, derived, rows, order], parts = [];
    for (let k = 0; k < which.length; k += CHUNK) {
      const records = Array.from(which.subarray(k, k + CHUNK), (r) => recordOf(data, state, known, kept, r));
      parts.push(kind === "csv" ? toCsv(records, !k) : (k ? ",\n" : "[\n") + toJson(records).slice(2, -3));
      if (which.length > CHUNK) await new Promise((done) => { setTimeout(done); });
    }
    if (kind === "json") parts.push("\n]\n");
    const type = kind === "csv" ? "text/csv" : "application/json";
    download(name, which.length > CHUNK ? new Blob(parts) : parts.join(""), `${type};charset=utf-8`, element);
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
      if (counted !== known.found) foundCount = size(foundPoints(data, known.found));
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
      const needs = [doc.table, from, derived.shown];
      if (needs.every((o, i) => o === made[i])) return;
      const soon = doc.table !== "pinned" && doc.table === made[0];
      made = needs;
      if (soon) later();
      else fill();
    },
    dispose() {
      later.cancel();
      laterFilter.cancel();
    },
  };
}
