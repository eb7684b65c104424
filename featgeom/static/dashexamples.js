/**
 * The examples of an entry: for each feature, by stratum, one line for each with the token in the middle, coloured
 * by both features. A line opens to its whole passage.
 */

import { el, shown, uid, walkTabs } from "./kit.js";
import { brief } from "./mapcolour.js";
import { amount } from "./dashcharts.js";
import { aloneWords, piecesOf, rowText, tokenSpan, tokenText, windowOf } from "./dashtext.js";

/** @typedef {import("./dashdata.js").Entry} Entry */
/** @typedef {import("./dashdata.js").Hit} Hit */
/** @typedef {{key: string, title: string, which: number[]}} Tab some strata that are read together */

const FEW = 10, ALONE = 20;   // lines of a stratum until more are asked for, beside another feature and without one
const OWN = ["top", "random", "silent"];   // strata with a tab of their own; the others stand together

/**
 * @param {{name: string, title: string}[]} strata
 * @returns {Tab[]}
 */
export function tabsOf(strata) {
  /** @type {Tab[]} */
  const tabs = [];
  strata.forEach(({ name, title }, i) => {
    const key = OWN.includes(name) ? name : "range", there = tabs.find((o) => o.key === key);
    if (there) there.which.push(i);
    else tabs.push({ key, title: key === "range" ? "Across the range" : title, which: [i] });
  });
  return tabs;
}

/** @param {Entry} entry */
const roomOf = (entry) => (entry.sides.length > 1 ? FEW : ALONE);

/**
 * The passages that a tab shows before more is asked for.
 * @param {Entry} entry
 * @param {Tab | undefined} tab
 */
export const passagesOf = (entry, tab) => new Set(entry.sides.flatMap((side) => side.strata
  .filter((o) => tab?.which.includes(o.stratum)).flatMap((o) => o.hits.slice(0, roomOf(entry)).map((hit) =>
    entry.docs[hit.doc]))));

/**
 * How both features colour a passage of an entry.
 * @param {Entry} entry
 * @param {number} doc
 * @param {number} rows
 * @returns {import("./dashtext.js").Colour[]}
 */
export const coloursOf = (entry, doc, rows) => entry.sides.map((side) => {
  const values = side.values(doc, rows);
  return { name: `${side.space} ${side.id}`, max: side.max, value: (row) => values[row] };
});

/**
 * @param {import("./dashdata.js").Dash} dash
 * @param {import("./dashboard.js").Act} act
 */
export function createExamples(dash, act) {
  const tabs = tabsOf(dash.strata), stem = uid();
  const buttons = tabs.map((tab) => el("button", {
    type: "button", role: "tab", id: `${stem}-${tab.key}`, "aria-controls": stem,
      onclick: () => act.set({ stratum: tab.key }),
  }, shown(tab.title, 40)));
  const tablist = el("div", { class: "ds-tabs", role: "tablist", "aria-label": "Examples" }, ...buttons);
  const key = el("p", { class: "ds-key ds-small" });
  const columns = el("div", { class: "ds-sides", role: "tabpanel", id: stem });
  const element = el("section", { class: "ds-examples", "aria-label": "Examples" },
    el("div", { class: "ds-row" }, el("h3", {}, "Examples"), tablist, key), columns);

  /** @type {Entry | null} */
  let entry = null;
  let tab = tabs[0];
  /** @type {WeakMap<Element, {doc: number, hit: Hit, side: number}>} */
  const of = new WeakMap();

  /** @param {Element | null} node a token @returns {import("./dashboard.js").Pointed | null} */
  const pointed = (node) => {
    const holder = node?.closest(".ds-line, .ds-passage"), known = holder && of.get(holder);
    if (!(node instanceof HTMLElement) || !known || !entry) return null;
    const passage = dash.passage(entry.docs[known.doc]), row = Number(node.dataset.row);
    return passage ? { node, token: rowText(passage, row),
      values: entry.sides.map((o) => o.values(known.doc, passage.n)[row]) } : null;
  };

  /** @param {Hit} hit @param {number} side @param {string} name */
  function line(hit, side, name) {
    const here = /** @type {Entry} */ (entry), passage = dash.passage(here.docs[hit.doc]);
    const value = el("span", { class: "ds-value" }, hit.value ? amount(hit.value) : "0");
    if (!passage || hit.row >= passage.n)
      return el("li", {}, el("div", { class: "ds-line" }, value, el("span", { class: "fg-muted" },
        "its text is not in this page")));
    const colours = coloursOf(here, hit.doc, passage.n), [from, to] = windowOf(passage, hit.row);
    const before = el("span", { class: "ds-before" }), after = el("span", { class: "ds-after" });
    const inner = el("span", {});
    before.append(inner);
    for (const piece of piecesOf(passage, from, to)) {
      const hitHere = piece.row === hit.row;
      (piece.row >= 0 ? piece.row >= hit.row : after.firstChild !== null) || hitHere
        ? after.append(tokenSpan(piece, colours, false, hitHere ? " ds-hit" : ""))
        : inner.append(tokenSpan(piece, colours));
    }
    const other = here.sides[1 - side];
    const words = [`${brief(hit.value)} on ${tokenText(rowText(passage, hit.row))}`,
      other && `${other.space} ${other.id} ${brief(other.values(hit.doc, passage.n)[hit.row])}`,
      aloneWords(passage, from, to, colours), `in: ${passage.text.slice(passage.start[from], passage.end[to - 1])}`];
    const node = el("div", {
      class: "ds-line", role: "button", tabindex: "-1", "aria-expanded": "false", "data-hit": name,
      "aria-label": shown(words.filter(Boolean).join("; "), 400),
    }, value, before, after);
    of.set(node, { doc: hit.doc, hit, side });
    return el("li", {}, node);
  }

  /** @param {HTMLElement} node a line */
  function toggle(node) {
    const known = of.get(node), next = node.nextElementSibling;
    if (!known || !entry) return;
    act.token(null);
    node.setAttribute("aria-expanded", String(!next));
    if (next) return next.remove();
    const number = entry.docs[known.doc], passage = dash.passage(number);
    if (!passage) return;
    const colours = coloursOf(entry, known.doc, passage.n), text = el("div", { class: "ds-passagetext", dir: "auto" });
    for (const piece of piecesOf(passage))
      text.append(tokenSpan(piece, colours, true, piece.row === known.hit.row ? " ds-hit" : ""));
    const part = passage.parts > 1 ? `, part ${passage.part + 1} of ${passage.parts}` : "";
    const rows = dash.spaces[known.side]?.rows ?? "tokens";
    const box = el("div", { class: "ds-passage", role: "group", tabindex: "0", "aria-label": "The whole passage" },
      el("p", { class: "ds-small fg-text" },
        `document ${shown(passage.doc, 60)}${part}, ${passage.n} ${shown(rows, 20)}`), text);
    of.set(box, known);
    node.after(box);
    const hit = /** @type {HTMLElement | null} */ (text.querySelector(".ds-hit"));
    if (hit) text.scrollTop = hit.offsetTop - text.offsetTop - text.clientHeight / 2;
  }

  /** @param {number} side @param {number} s place in the side's strata @param {number} room */
  function lines(side, s, room) {
    const { hits } = /** @type {Entry} */ (entry).sides[side].strata[s];
    return hits.slice(0, room).map((hit, i) => line(hit, side, `${side}-${s}-${i}`));
  }

  /** @param {number} side */
  function column(side) {
    const here = /** @type {Entry} */ (entry), { meta, strata, space, id } = here.sides[side], room = roomOf(here);
    const name = `${shown(space, 40)} ${id}`;
    const box = el("div", { class: "ds-column", role: "group", "aria-label": `Examples of ${name}` });
    if (here.sides.length > 1) box.append(el("p", { class: `ds-of ds-side${side} fg-text` }, "where ",
      el("b", {}, name), " fires"));
    if (meta.dead) {
      box.append(el("p", { class: "ds-none" }, `Never fires on these texts: there are no examples.`));
      return box;
    }
    strata.forEach(({ stratum, low, high, hits }, s) => {
      if (!tab.which.includes(stratum)) return;
      const range = low === null || high === null || tab.key === "silent" ? "" : low === high ? brief(low)
        : `${brief(low)} to ${brief(high)}`;
      if (tab.which.length > 1) box.append(el("h4", { class: "fg-text" }, shown(dash.strata[stratum].title, 60), " ",
        el("span", { class: "fg-muted" }, hits.length ? range : "none")));
      else if (!hits.length) box.append(el("p", { class: "ds-none" }, "None."));
      const list = el("ol", { class: "ds-lines" }, ...lines(side, s, room));
      box.append(list);
      if (hits.length <= room) return;
      const more = el("button", { type: "button", class: "ds-more", onclick: async () => {
        more.disabled = true;
        await dash.passages(hits.map((o) => here.docs[o.doc]));
        if (entry !== here) return;
        list.append(...lines(side, s, hits.length).slice(room));
        more.remove();
        /** @type {HTMLElement | null} */ (list.children[room]?.querySelector(".ds-line"))?.focus();
      } }, `${hits.length - room} more`);
      box.append(more);
    });
    /** @type {HTMLElement | null} */ (box.querySelector(".ds-line"))?.setAttribute("tabindex", "0");
    return box;
  }

  // ---- pointer and keys
  columns.addEventListener("pointerover", (event) => {
    const token = /** @type {Element} */ (event.target).closest(".ds-t");
    act.token(token && pointed(token));
  });
  columns.addEventListener("pointerleave", () => act.token(null));
  columns.addEventListener("focusout", () => {
    columns.querySelector(".ds-cursor")?.classList.remove("ds-cursor");
    act.token(null);
  });
  columns.addEventListener("click", (event) => {
    const node = /** @type {HTMLElement | null} */ (/** @type {Element} */ (event.target).closest(".ds-line"));
    if (node && !String(getSelection())) toggle(node);
  });
  /** Walk the tokens of a line, or of its open passage. @param {HTMLElement} node @param {number} step */
  function walk(node, step) {
    const open = node.nextElementSibling ?? node, tokens = [...open.querySelectorAll(".ds-t")];
    const at = tokens.findIndex((o) => o.classList.contains("ds-cursor"));
    const hit = tokens.findIndex((o) => o.classList.contains("ds-hit"));
    const to = tokens[at < 0 ? hit : Math.max(0, Math.min(tokens.length - 1, at + step))];
    tokens[at]?.classList.remove("ds-cursor");
    if (!to) return;
    to.classList.add("ds-cursor");
    const box = to.closest(".ds-passagetext"), line = to.getBoundingClientRect(), seen = box?.getBoundingClientRect();
    if (box && seen && (line.top < seen.top || line.bottom > seen.bottom)) box.scrollTop += line.top - seen.top - 40;
    act.token(pointed(to));
  }
  /** @param {KeyboardEvent} event @param {HTMLElement} box an open passage */
  function inPassage(event, box) {
    const line = /** @type {HTMLElement} */ (box.previousElementSibling);
    if (event.key === "ArrowRight" || event.key === "ArrowLeft") walk(line, event.key === "ArrowRight" ? 1 : -1);
    else if (event.key === "Escape") {
      line.focus();
      toggle(line);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }
  columns.addEventListener("keydown", (event) => {
    const node = /** @type {HTMLElement} */ (event.target);
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (node.classList.contains("ds-passage")) return inPassage(event, node);
    if (!node.classList.contains("ds-line")) return;
    const column = /** @type {Element} */ (node.closest(".ds-column"));
    const all = /** @type {HTMLElement[]} */ ([...column.querySelectorAll(".ds-line[tabindex]")]);
    const at = all.indexOf(node), last = all.length - 1;
    const to = { ArrowDown: Math.min(at + 1, last), ArrowUp: Math.max(at - 1, 0), Home: 0, End: last }[event.key];
    if (to !== undefined) {
      node.tabIndex = -1;
      all[to].tabIndex = 0;
      all[to].focus();
    } else if (event.key === "ArrowRight" || event.key === "ArrowLeft") walk(node, event.key === "ArrowRight" ? 1 : -1);
    else if (event.key === "Enter" || event.key === " ") toggle(node);
    else if (event.key === "Escape" && node.nextElementSibling) toggle(node);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  walkTabs(tablist, buttons, (to) => act.set({ stratum: tabs[to].key }));

  return {
    element, tabs,
    /** @param {string} key @returns {Tab} */
    tab: (key) => tabs.find((o) => o.key === key) ?? tabs[0],
    /**
     * @param {Entry} next whose passages of this tab are decoded
     * @param {string} stratum
     */
    update(next, stratum) {
      entry = next;
      tab = tabs.find((o) => o.key === stratum) ?? tabs[0];
      buttons.forEach((button, i) => {
        const on = tabs[i] === tab;
        button.setAttribute("aria-selected", String(on));
        button.tabIndex = on ? 0 : -1;
        if (on) columns.setAttribute("aria-labelledby", button.id);
      });
      const names = entry.sides.map((o) => `${shown(o.space, 40)} ${o.id}`);
      key.replaceChildren(...(names.length > 1 ? [
        el("span", { class: "ds-sample ds-on", style: "--a:45%;--b:0%", "aria-hidden": "true" }),
        ` upper half ${names[0]} · `,
        el("span", { class: "ds-sample ds-on", style: "--a:0%;--b:45%", "aria-hidden": "true" }),
        ` lower half ${names[1]} · dotted: one alone`,
      ] : ["strength is the share of the largest activation"]));
      columns.replaceChildren(...entry.sides.map((_, s) => column(s)));
    },
  };
}
