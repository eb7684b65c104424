/**
 * The search controls of the linked map: one field that searches while one types, and a chip for every search.
 */

import { debounce, el, shown, uid } from "./kit.js";
import { grouped } from "./maplabels.js";
import { MAX_QUERY, MAX_SEARCHES, MODES } from "./maplink.js";

/** @typedef {import("./mapsearch.js").Search} Search */
/** @typedef {import("./mapsearch.js").Mode} Mode */

const LARGE = 400000;   // points in all, from which a search waits until typing pauses
/** @type {Record<Mode, [string, string]>} what a mode is called, and what to type */
const NAMES = {
  token: ["whole token", "token or #id"], part: ["part of a token", "letters"],
  regex: ["regular expression", "^un.*ed$"], label: ["label", "words"], id: ["feature id", "12, 15-20"],
};

/**
 * The modes that can find anything in a map.
 * @param {import("./mapdata.js").MapData} data
 * @returns {Mode[]}
 */
export function modesOf({ panels }) {
  const tokens = panels.some((p) => p.tokens?.length);
  const labels = panels.some((p) => p.explanations || (p.cluster && p.clusterLabels.length));
  return MODES.filter((mode) => (mode === "label" ? labels : mode === "id" || tokens));
}

/**
 * @param {import("./mapdata.js").MapData} data
 * @param {import("./linkedmap.js").Act} act
 */
export function createFind(data, act) {
  /** @type {Search[]} */
  let searches = [];
  /** @type {import("./linkedmap.js").Found[]} */
  let found = [];
  /** @type {Search | null} what is being typed, the last of the searches */
  let draft = null;
  let drawn = "";

  const hits = el("span", { class: "lm-hits", id: uid() });
  const mode = el("select", { "aria-label": "What to search for" },
    ...modesOf(data).map((name) => el("option", { value: name }, NAMES[name][0])));
  const input = el("input", {
    type: "search", spellcheck: "false", autocomplete: "off", maxlength: MAX_QUERY, "aria-describedby": hits.id,
  });
  const most = el("input", { type: "checkbox" });
  const mostly = el("label", { class: "lm-most" }, most, "mostly");
  const chips = el("ul", { class: "lm-chips", "aria-label": "Searches" });
  const element = el("div", { class: "lm-find", role: "group", "aria-label": "Find features" },
    el("div", { class: "lm-caption" }, el("span", {}, "find"), hits),
    el("div", { class: "lm-ask" }, mode, input, mostly), chips);

  const sharesKnown = data.panels.some((p) => p.shares);
  function adapt() {
    const kind = /** @type {Mode} */ (mode.value), ofTokens = kind !== "label" && kind !== "id";
    input.placeholder = NAMES[kind][1];
    input.setAttribute("aria-label", `Search: ${NAMES[kind][0]}, for example ${NAMES[kind][1]}. Enter keeps it.`);
    most.disabled = !ofTokens || !sharesKnown;
    mostly.title = !sharesKnown ? "this map does not hold the shares of tokens"
      : ofTokens ? "only features with more than half of their activation on it, of the tokens that are listed" : "for tokens only";
  }

  const kept = () => (draft ? searches.slice(0, -1) : searches);
  function write() {
    ask.cancel();
    const raw = input.value, text = mode.value === "regex" ? raw : raw.trim();
    const next = kept();
    const asks = text.trim() && next.length < MAX_SEARCHES;
    draft = asks ? { text, mode: /** @type {Mode} */ (mode.value), most: most.checked && !most.disabled } : null;
    act.set(draft ? { searches: [...next, draft], table: "found" } : { searches: next });
    render();
  }
  const ask = debounce(write, 80);

  function keep() {
    write();
    if (!draft) return;
    const s = searches.length - 1;
    if (found[s].error) return act.say(found[s].error);
    input.value = "";
    draft = null;
    render();
    act.say(`Kept. ${said(s)}`);
  }
  /** @param {number} s */
  function remove(s) {
    const rest = searches.filter((_, i) => i !== s);
    if (draft && s === searches.length - 1) {
      input.value = "";
      draft = null;
    }
    act.set({ searches: rest });
    act.say(`Removed; ${rest.length} searches left.`);
    render();
    input.focus();
  }

  /** @param {Search[]} list */
  const key = (list) => JSON.stringify(list.map((o) => [o.text, o.mode, Boolean(o.most)]));
  /** @param {number} s */
  const total = (s) => found[s].points.reduce((sum, o) => sum + o.length, 0);
  /** @param {number} s */
  const each = (s) =>
    data.panels.map((p, i) => `${shown(p.name, 20)} ${grouped(found[s].points[i].length)}`).join(", ");
  /** @param {number} s */
  const said = (s) => found[s].error || `${grouped(total(s))} found: ${each(s)}`;

  function render() {
    const now = key(searches);
    if (now !== drawn) chips.replaceChildren(...(searches.length ? searches.map(chip) : [hint()]));
    drawn = now;
    [...chips.children].forEach((node, s) => searches[s] && recount(node, s));
    const last = searches.length - 1, full = !draft && input.value.trim();   // only then is what is typed no draft
    const text = full ? `${MAX_SEARCHES} searches at most: remove one` : draft ? said(last) : "";
    const bad = Boolean(full || (draft && found[last].error));
    input.setAttribute("aria-invalid", String(bad));
    hits.classList.toggle("lm-bad", bad);
    if (hits.textContent === text) return;
    hits.textContent = text;
    if (text) act.say(text);
  }
  const hint = () => el("li", { class: "lm-hint" }, "Enter keeps a search and begins the next; each has its colour.");

  /** @param {Search} search @param {number} s */
  function chip(search, s) {
    const name = shown(search.text, 40), kind = search.mode === "token" ? "" : NAMES[search.mode]?.[0];
    const notes = [kind, search.most && "mostly"].filter(Boolean).join(", ");
    /** @param {string} sign @param {string} does @param {() => void} what */
    const button = (sign, does, what) => el("button", {
      type: "button", class: "lm-step", title: does, "aria-label": `${does}: ${name}`, onclick: what,
    }, sign);
    return el("li", { class: "lm-chip", "data-search": s },
      el("i", { class: "lm-swatch", style: `background:var(--lm-f${s})` }),
      el("b", { class: "fg-text" }, name), notes && el("span", {}, notes),
      el("span", { class: "lm-tally" }),
      button("‹", "Previous result", () => act.jump(s, -1)), button("›", "Next result", () => act.jump(s, 1)),
      button("×", "Remove search", () => remove(s)));
  }
  /** @param {Element} node @param {number} s */
  function recount(node, s) {
    const tally = /** @type {Element} */ (node.querySelector(".lm-tally")), { error, at } = found[s];
    tally.classList.toggle("lm-bad", Boolean(error));
    const place = at < 0 ? "" : `${grouped(at + 1)} / ${grouped(total(s))} · `;
    tally.textContent = error ? "cannot be searched" : place + each(s);
    for (const button of [...node.querySelectorAll("button")].slice(0, 2)) button.disabled = !total(s);
  }

  input.addEventListener("input", data.panels.reduce((sum, p) => sum + p.n, 0) < LARGE ? write : ask);
  input.addEventListener("keydown", (e) => {
    if (e.key === "Enter" && !e.isComposing) keep();
    if (e.key === "Escape") {
      input.value = "";
      write();
    }
  });
  mode.addEventListener("change", () => {
    adapt();
    write();
  });
  most.addEventListener("change", write);
  element.addEventListener("keydown", (e) => e.stopPropagation());   // a notebook has its own keys
  adapt();

  return {
    element,
    /**
     * @param {import("./linkedmap.js").MapState} doc
     * @param {import("./linkedmap.js").Derived} derived
     */
    update(doc, derived) {
      if (draft && key(doc.searches.slice(-1)) !== key([draft])) {   // Python has changed the searches
        draft = null;
        input.value = "";
      }
      searches = doc.searches;
      found = derived.found;
      render();
    },
    dispose: () => ask.cancel(),
  };
}
