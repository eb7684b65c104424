/**
 * Going from entry to entry: previous, next, back, random, a box that jumps by id or label, bookmarks, and notes.
 */

import { debounce, download, el, shown, uid } from "./kit.js";
import { grouped, short } from "./maplabels.js";
import { nameOf } from "./dashfacts.js";

/** @typedef {import("./dashdata.js").Spot} Spot */
/** @typedef {import("./dashboard.js").DashState} DashState */
/** @typedef {import("./dashdata.js").Listed} Listed */

const MOST = 60;   // entries in the open list

/**
 * Entries that a text names: by feature id ("12", "#12", "A 12"), else by what stands in their labels.
 * @param {Listed[]} entries
 * @param {string[]} spaces
 * @param {string} text
 * @returns {number[]} the ids themselves first
 */
export function lookUp(entries, spaces, text) {
  const query = text.trim().toLowerCase(), id = /^#?(\d+)$/.exec(query);
  const named = spaces.findIndex((name) => query.startsWith(`${name.toLowerCase()} `)
    && /^#?\d+$/.test(query.slice(name.length + 1).trim()));
  const behind = named >= 0 ? query.slice(spaces[named].length + 1).trim().replace("#", "") : "-1";
  const wanted = Number(id ? id[1] : behind);
  const first = /** @type {number[]} */ ([]), rest = /** @type {number[]} */ ([]);
  entries.forEach(({ a, b, la, lb }, i) => {
    const hit = wanted >= 0 && ((named !== 1 && a === wanted) || (named !== 0 && b === wanted));
    if (hit) first.push(i);
    else if (named < 0 && (!query || `${la ?? ""}\n${lb ?? ""}`.toLowerCase().includes(query))) rest.push(i);
  });
  return [...first, ...rest];
}

/**
 * @param {import("./dashdata.js").Dash} dash
 * @param {import("./dashboard.js").Act} act
 */
export function createNav(dash, act) {
  const stem = uid(), spaces = dash.spaces.map((o) => o.name);
  /** @type {DashState} */
  let doc;
  /** @type {number[]} */
  let options = [];
  let active = -1, only = false;

  /** @param {string} text @param {string} hint @param {() => void} what */
  const button = (text, hint, what) => el("button", { type: "button", title: hint, onclick: what }, text);
  const previous = button("‹ Previous", "the entry before this one (k or ←)", () => act.step(-1));
  const next = button("Next ›", "the entry after this one (j or →)", () => act.step(1));
  const random = button("Random", "any other entry (r)", () => act.random());
  const back = button("Back", "where you came from (u)", () => act.back());
  const star = el("button", { type: "button", class: "ds-star", title: "bookmark (s)", "aria-label": "Bookmark",
    onclick: () => act.star() }, "☆");
  const place = el("span", { class: "ds-place" });
  const box = el("ul", { role: "listbox", id: stem, class: "ds-options", "aria-label": "Entries",
    "data-spaces": spaces.length });
  const count = el("p", { class: "ds-small ds-count" });
  const marked = el("button", { type: "button", class: "ds-only", "aria-pressed": "false", onclick: () => {
    only = !only;
    open();
    input.focus();
  } }, "Bookmarks");
  const saved = el("button", { type: "button", title: "bookmarks and notes as a file", onclick: save }, "Save notes");
  const popup = el("div", { class: "ds-popup", hidden: true }, el("div", { class: "ds-row" }, count, marked, saved),
    box);
  const input = el("input", {
    type: "text", role: "combobox", class: "ds-jump", placeholder: "jump to an id or a word", autocomplete: "off",
    spellcheck: "false", maxlength: 200, "aria-label": "Jump to an entry by feature id or label",
    "aria-expanded": "false", "aria-controls": stem, "aria-autocomplete": "list",
  });
  const jump = el("div", { class: "ds-jumpbox" }, input, popup);
  const element = el("nav", { class: "ds-nav", "aria-label": "Entries" }, previous, next, place, jump, random, back,
    star);

  /** @param {Spot[]} spots */
  const key = (spots) => JSON.stringify(spots);
  /** @param {number} i */
  function option(i, rank = 0) {
    const { la, lb, score } = dash.entries[i], spots = dash.list.spotsOf(i),
      starred = doc.bookmarks.some((o) => key(o) === key(spots));
    const noted = doc.notes.some((o) => key(o.at) === key(spots)), can = act.can(spots);
    return el("li", {
      role: "option", id: `${stem}-${rank}`, "aria-selected": String(rank === active),
      "aria-disabled": can ? null : "true",
      onpointerdown: (/** @type {Event} */ event) => event.preventDefault(), onclick: () => choose(i),
    }, el("span", { class: "ds-starred" }, starred ? "★" : "", noted ? "✎" : ""),
    ...spots.flatMap((spot, s) => [el("span", { class: `ds-id fg-text ds-side${s}` }, nameOf(spot)), " ",
      el("span", { class: "ds-optlabel fg-text", dir: "auto" }, shown((spot[0] === spaces[0] ? la : lb) ?? "", 60)),
        " "]),
    typeof score === "number" ? el("span", { class: "ds-number" }, short(score)) : null);
  }
  function open() {
    const found = lookUp(dash.entries, spaces, input.value),
      starred = new Set([...doc.bookmarks, ...doc.notes.map((o) => o.at)].map(key));
    options = only ? found.filter((i) => starred.has(key(dash.list.spotsOf(i)))) : found;
    active = input.value.trim() && options.length ? 0 : -1;
    const cut = options.length > MOST ? `, first ${MOST} shown` : "";
    const nothing = /^#?\d+$/.test(input.value.trim())
      ? `No entry has this id: Enter goes to ${dash.canAsk ? "it all the same" : "the nearest"}.` : "Nothing found.";
    count.textContent = options.length ? `${grouped(options.length)} of ${grouped(dash.entries.length)}${cut}`
      : only ? "No bookmarks or notes here." : nothing;
    marked.setAttribute("aria-pressed", String(only));
    draw();
    popup.hidden = false;
    input.setAttribute("aria-expanded", "true");
  }
  function draw() {
    box.replaceChildren(...options.slice(0, MOST).map(option));
    if (active >= 0) input.setAttribute("aria-activedescendant", `${stem}-${active}`);
    else input.removeAttribute("aria-activedescendant");
    const node = /** @type {HTMLElement | null} */ (box.children[active]);
    if (node) box.scrollTop = Math.max(node.offsetTop + node.offsetHeight - box.clientHeight,
      Math.min(box.scrollTop, node.offsetTop));
  }
  function close() {
    popup.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }
  /** @param {number} i */
  function choose(i) {
    input.value = "";
    close();
    act.go(dash.list.spotsOf(i));
  }
  function save() {
    const { bookmarks, notes } = doc;
    download("featgeom-notes.json", `${JSON.stringify({ bookmarks, notes }, null, 1)}\n`, "application/json", element);
    act.say(`${bookmarks.length} bookmarks and ${notes.length} notes saved as featgeom-notes.json.`);
  }
  input.addEventListener("focus", open);
  input.addEventListener("click", () => { if (popup.hidden) open(); });
  input.addEventListener("input", open);
  jump.addEventListener("focusout", (event) => {
    if (!jump.contains(/** @type {Node | null} */ (event.relatedTarget))) close();
  });
  jump.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.key === "Escape") {
      input.value = "";
      input.focus();
      return close();
    }
    if (event.target !== input) return;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key], last = Math.min(options.length, MOST) - 1;
    if (step) {
      if (popup.hidden) open();
      active = Math.max(0, Math.min(last, active + step));
      draw();
      event.preventDefault();
    } else if (event.key === "Enter") {
      const id = /^#?(\d+)$/.exec(input.value.trim());
      if (options.length && active >= 0) choose(options[active]);
      else if (id && !options.length) {
        input.value = "";
        close();
        act.go([[spaces[0], Number(id[1])]]);
      }
    }
  });
  return {
    element, focus: () => input.focus(),
    /** @param {DashState} state @param {number} index @param {boolean} cameFrom */
    update(state, index, cameFrom) {
      doc = state;
      const on = doc.bookmarks.some((o) => key(o) === key(doc.focus));
      star.textContent = on ? "★" : "☆";
      star.setAttribute("aria-pressed", String(on));
      marked.textContent = `Bookmarks and notes ${doc.bookmarks.length + doc.notes.length}`;
      saved.disabled = !doc.bookmarks.length && !doc.notes.length;
      place.textContent = index < 0 ? "not in the list" : `${grouped(index + 1)} of ${grouped(dash.entries.length)}`;
      back.disabled = !cameFrom;
      for (const o of [previous, next, random]) o.disabled = dash.entries.length < 2;
      if (!popup.hidden) open();
    },
  };
}

/**
 * The note on an entry, kept once the reader pauses.
 * @param {import("./dashboard.js").Act} act
 */
export function createNote(act) {
  const area = el("textarea", { rows: 1, maxlength: 10_000, placeholder: "a note on this entry",
    "aria-label": "Note on this entry", class: "ds-note" });
  const element = el("label", { class: "ds-notebox" }, el("span", { class: "ds-small" }, "Note"), area);
  /** @type {Spot[]} */
  let at = [];
  const later = debounce(() => act.note(at, area.value), 400);
  const now = () => {
    later.cancel();
    act.note(at, area.value);
  };
  area.addEventListener("input", later);
  area.addEventListener("change", now);
  return {
    element, dispose: now,
    /** Before another entry is shown. */
    leave: () => { if (at.length) now(); },
    /** @param {DashState} doc */
    update(doc) {
      const mine = doc.notes.find((o) => JSON.stringify(o.at) === JSON.stringify(doc.focus))?.text ?? "";
      if (JSON.stringify(at) === JSON.stringify(doc.focus)
        && area === /** @type {Document | ShadowRoot} */ (area.getRootNode()).activeElement) return;
      at = doc.focus;
      area.value = mine;
      area.rows = Math.min(6, mine.split("\n").length);
    },
  };
}
