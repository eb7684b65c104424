/**
 * The dashboard: one feature, or a pair of two models on the same text, read from its examples first. One state
 * document; entries, passages and prompts are decoded when they are shown. Traits of the host: payload, focus,
 * bookmarks, notes, text, view, link.
 */

import { debounce, el, joinLink, shown, uid } from "./kit.js";
import { amount } from "./dashcharts.js";
import { openDash, quantileOf, spotsIn } from "./dashdata.js";
import { createExamples, passagesOf } from "./dashexamples.js";
import { agreementTable, createFacts, createHead, nameOf } from "./dashfacts.js";
import { createNav, createNote } from "./dashnav.js";
import { createFree, createPrompts } from "./dashprompt.js";
import { createTip, placeWords } from "./dashtext.js";
import { helpText } from "./dashwords.js";
import { createPairScatter } from "./dashscatter.js";
import { createState, sameValue } from "./state.js";

/** @typedef {import("./dashdata.js").Spot} Spot */
/** @typedef {import("./dashdata.js").Entry} Entry */
/**
 * @typedef {Object} DashState
 * @property {Spot[]} focus what is shown, or asked for
 * @property {"feature" | "prompts"} tab
 * @property {number} prompt
 * @property {string} stratum which examples
 * @property {Spot[][]} bookmarks
 * @property {{at: Spot[], text: string}[]} notes
 * @property {string} text typed to be read
 */
/**
 * @typedef {{node: HTMLElement, token: string, values: (number | null)[]}} Pointed a token and the activations on it,
 *   null where unknown
 */
/**
 * @typedef {Object} Act every way to change what is shown
 * @property {() => DashState} state
 * @property {(patch: Partial<DashState>) => void} set
 * @property {(spots: Spot[]) => void} go to an entry, or to the nearest there is
 * @property {(spots: Spot[]) => boolean} can whether an entry is there or can be asked for
 * @property {(spots: Spot[]) => string} why it cannot
 * @property {(step: number) => void} step
 * @property {() => void} random
 * @property {() => void} back
 * @property {() => void} star bookmark the entry, or take the bookmark away
 * @property {(at: Spot[], text: string) => void} note
 * @property {(token: Pointed | null) => void} token pointed at
 * @property {(spot: Spot | null) => void} point at a feature, for whoever is linked
 * @property {(text: string) => void} say
 */

const MOST = 1000;   // bookmarks, and notes

/** Call `f` when what was just drawn has been painted. @param {() => void} f */
const afterPaint = (f) => (document.hidden ? setTimeout(f) : requestAnimationFrame(() => setTimeout(f)));

/** @param {any} v */
const listed = (v) => (Array.isArray(v) ? v : []);

/**
 * @param {HTMLElement} stage
 * @param {import("./host.js").Host} host
 * @returns {Promise<() => void>}
 */
export async function mount(stage, host) {
  const dash = await openDash(host.get("payload"), host), { list, spaces, entries } = dash;

  // ---- what comes in, checked
  /** @param {any} value */
  const focusIn = (value) => spotsIn(value, spaces);
  /** @param {any} value @returns {Spot[][]} */
  const bookmarksIn = (value) => listed(value).slice(0, MOST).map(focusIn).filter((o) => o.length);
  /** @param {any} value @returns {{at: Spot[], text: string}[]} */
  const notesIn = (value) => listed(value).slice(0, MOST).filter((o) => typeof o?.text === "string")
    .map((o) => ({ at: focusIn(o.at), text: o.text })).filter((o) => o.at.length);
  /** @param {any} view @returns {{tab: "feature" | "prompts", prompt: number}} */
  const viewIn = (view) => ({
    tab: view?.tab === "prompts" ? "prompts" : "feature",
    prompt: Number.isInteger(view?.prompt) && view.prompt >= 0 && view.prompt < dash.prompts.length ? view.prompt : 0,
  });
  const start = () => (entries.length ? list.spotsOf(Math.max(0, entries.findIndex((_, i) => dash.has(i)))) : []);
  /** @param {string} hash @returns {Partial<DashState>} */
  const fromHash = (hash) => {
    try {
      const read = JSON.parse(hash), focus = focusIn(read?.focus);
      return { ...(focus.length && { focus }), ...(read?.view && viewIn(read.view)) };
    } catch { return {}; }
  };
  const wanted = focusIn(host.get("focus")), text = host.get("text");
  const state = createState(/** @type {DashState} */ ({
    stratum: "top", bookmarks: bookmarksIn(host.get("bookmarks")), notes: notesIn(host.get("notes")),
    text: typeof text === "string" ? text : "", ...viewIn(host.get("view")), focus: wanted.length ? wanted : start(),
    ...fromHash(host.hash?.get() ?? ""),
  }));

  // ---- every way to change the state
  /** @type {Spot[][]} */
  const trail = [];
  /** @type {Entry | null} */
  let entry = null;
  let remark = "";   // to be said with the next entry
  let pointing = false;
  let upwards = false;   // whether the next entry is read from its head on
  let place = 0;     // in the list, also while something outside it is shown
  const live = el("p", { class: "ds-spoken", "aria-live": "polite" });
  const announce = debounce((/** @type {string} */ words) => { live.textContent = words; }, 100);
  /** @param {Spot[]} spots @param {string} origin */
  const goTo = (spots, origin) => {
    const { focus } = state.get();
    if (!spots.length || (sameValue(spots, focus) && state.get().tab === "feature")) return;
    if (origin === "user" && focus.length) trail.push(focus);
    if (trail.length > 200) trail.shift();
    state.set({ focus: spots, ...(origin === "user" && { tab: "feature" }) }, origin);
  };
  /** @type {Act} */
  const act = {
    state: () => state.get(),
    set: (patch) => state.set(patch),
    go(spots) {
      const exact = list.find(spots), last = spots.slice(-1), own = list.find(last);
      upwards = true;
      if (exact >= 0) return goTo(list.spotsOf(exact), "user");
      if (dash.canAsk || !dash.has(own)) return goTo(focusIn(spots), "user");
      remark = `${spots.map(nameOf).join(" with ")} is not in this page; ${nameOf(last[0])} is shown as it is there.`;
      goTo(list.spotsOf(own), "user");
    },
    can: (spots) => dash.canAsk || dash.has(list.find(spots)) || dash.has(list.find(spots.slice(-1))),
    why: (spots) => `${spots.map(nameOf).join(" with ")} is not in this page; it needs a running kernel.`,
    step(by) {
      if (entries.length) goTo(list.spotsOf((place + by + entries.length) % entries.length), "user");
    },
    random() {
      const n = entries.length;
      if (n > 1) goTo(list.spotsOf((place + 1 + Math.floor(Math.random() * (n - 1))) % n), "user");
    },
    back() {
      const before = trail.pop();
      if (before) state.set({ focus: before, tab: "feature" });
    },
    star() {
      const { bookmarks, focus } = state.get(), others = bookmarks.filter((o) => !sameValue(o, focus));
      if (others.length === MOST) return announce(`${MOST} bookmarks at most.`);
      state.set({ bookmarks: others.length < bookmarks.length ? others : [...bookmarks, focus] });
      announce(others.length < bookmarks.length ? "Bookmark taken away." : "Bookmarked.");
    },
    note(at, words) {
      const { notes } = state.get(), i = notes.findIndex((o) => sameValue(o.at, at));
      if ((notes[i]?.text ?? "") === words) return;
      const others = notes.filter((_, j) => j !== i);
      if (!words.trim()) return state.set({ notes: others });
      const note = { at, text: words };
      state.set({ notes: i < 0 ? [...notes, note] : notes.map((o, j) => (j === i ? note : o)) });
    },
    token(pointed) {
      if (!entry || !pointed) {
        head.mark(null);
        tip.hide();
        return;
      }
      const quantiles = pointed.values.map((v, s) => (v && entry ? quantileOf(entry.sides[s].knots, v) : null));
      head.mark(pointed.values, pointed.values.map((v, s) => (v ? `${amount(v)}, ${placeWords(quantiles[s])}` : "")));
      tip.show(pointed.node, pointed.token, entry.sides.flatMap((side, s) => {
        const value = pointed.values[s];
        return value === null ? [] : [{ name: nameOf([side.space, side.id]), side: s, value, quantile: quantiles[s] }];
      }));
    },
    point(spot) {
      if (spot || pointing) link.tell({ kind: "point", spots: spot ? [spot] : [] });
      pointing = Boolean(spot);
    },
    say: (words) => announce(words),
  };

  // ---- the page
  stage.classList.add("ds");
  const link = joinLink(host, ({ kind, spots }) => {
    if (kind !== "read") return;
    const known = focusIn(spots);
    for (const some of [known, ...known.map((o) => [o])]) {
      const index = list.find(some);
      if (index >= 0) return goTo(list.spotsOf(index), "link");
    }
    if (dash.canAsk && known.length) goTo(known, "link");
  });
  const nav = createNav(dash, act), head = createHead(dash), note = createNote(act), tip = createTip(stage);
  const examples = createExamples(dash, act), facts = createFacts(dash, act);
  const prompts = createPrompts(dash, act), free = createFree(dash, act, host);
  const scatter = createPairScatter(dash);
  const notice = el("p", { class: "ds-notice fg-text", role: "status", hidden: true });
  const together = el("div", { class: "ds-together" }), stem = uid();
  const feature = el("div", { class: "ds-feature-tab", role: "tabpanel", id: `${stem}-feature`, tabindex: -1,
    "aria-label": "Features" }, head.element,
    note.element,
    el("div", { class: "ds-body" }, examples.element, ...(dash.liveText ? [free.element] : []), together, facts.element,
      facts.near),
    dash.liveText ? null : free.element);
  const tabs = /** @type {const} */ (["feature", "prompts"]).map((name) => el("button", {
    type: "button", role: "tab", "aria-controls": name === "feature" ? `${stem}-feature` : null,
      onclick: () => act.set({ tab: name }),
  }, name === "feature" ? "Features" : `Prompts ${dash.prompts.length || ""}`));
  const top = el("div", { class: "ds-top" }, el("div", { class: "ds-tabs", role: "tablist", "aria-label": "Views",
    onkeydown: (/** @type {KeyboardEvent} */ event) => {
      if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
      event.preventDefault();
      event.stopPropagation();
      const to = state.get().tab === "feature" ? 1 : 0;
      act.set({ tab: to ? "prompts" : "feature" });
      tabs[to].focus();
    } }, ...tabs), nav.element);
  stage.append(top, notice, feature, prompts.element, helpText(dash), live);

  /** Do something to the page; who had the keyboard in it keeps it there. @param {() => void} change */
  const keepingFocus = (change) => {
    const root = /** @type {Document | ShadowRoot} */ (stage.getRootNode()), had = stage.contains(root.activeElement);
    change();
    if (had && !stage.contains(root.activeElement)) (feature.hidden ? tabs[1] : feature).focus({ preventScroll: true });
  };

  // ---- showing an entry: all that is seen first is decoded, then it is drawn at once
  let run = 0;
  /** @param {string} words */
  const tell = (words) => {
    notice.textContent = words;
    notice.hidden = !words;
  };
  /** @param {Spot[]} spots @returns {{index: number, words: string}} what can be shown for them */
  const choose = (spots) => {
    const exact = list.find(spots);
    if (dash.has(exact) || dash.canAsk) return { index: exact, words: "" };
    const index = list.nearest(spots, dash.has), named = spots.map(nameOf).join(" with ");
    if (index < 0) return { index, words: `${named} is not in this page, which holds no entry that can be shown.` };
    return { index,
      words: `${named} is not in this page; the nearest is ${list.spotsOf(index).map(nameOf).join(" with ")}. `
      + `${host.live ? "" : "Others need a running kernel."}` };
  };
  /** @param {number} index */
  const fetchEntry = async (index) => {
    const found = await dash.entry(index);
    await dash.passages(passagesOf(found, examples.tab(state.get().stratum)));
    return found;
  };
  async function show(began = performance.now()) {
    const mine = ++run, { focus, stratum } = state.get();
    const { index, words } = choose(focus), asks = !dash.has(index);
    delete stage.dataset.ready;
    if (!entry || !sameValue(entry.spots, focus)) delete stage.dataset.whole;
    stage.setAttribute("aria-busy", "true");
    if (asks && dash.canAsk) tell(`Asking Python for ${focus.map(nameOf).join(" with ")}…`);
    try {
      if (asks && !dash.canAsk) throw new Error(words);
      const found = asks ? await dash.ask(focus) : await fetchEntry(index);
      await dash.passages(passagesOf(found, examples.tab(stratum)));
      if (mine !== run) return;
      keepingFocus(() => draw(found, words));
    } catch (error) {
      if (mine !== run) return;
      if (index >= 0) place = index;   // the next one is behind it
      if (entry) state.set({ focus: entry.spots }, "shown");
      stage.dataset.whole = stage.dataset.entry ?? "";
      tell(error instanceof Error ? shown(error.message, 500) : "This entry cannot be shown.");
    }
    stage.removeAttribute("aria-busy");
    stage.dataset.decoded = String(dash.count.entries);
    stage.dataset.took = (performance.now() - began).toFixed(1);
    stage.dataset.ready = performance.now().toFixed(1);
    later();
  }
  /** @param {Entry} found @param {string} words */
  function draw(found, words) {
    act.token(null);
    const other = entry !== found;
    entry = found;
    if (found.index >= 0) place = found.index;
    state.set({ focus: found.spots }, "shown");
    if (!sameValue(host.get("focus"), found.spots)) host.set("focus", found.spots);
    tell(words || remark);
    remark = "";
    if (other) {
      stage.dataset.sides = String(found.sides.length);
      feature.classList.toggle("ds-second", found.sides.length === 1 && found.sides[0].space === spaces[1]?.name);
      head.update(found);
      afterPaint(() => rest(found));
      stage.dataset.entry = found.spots.map((o) => o.join(":")).join(" ");
      const where = found.index < 0 ? "" : `, ${found.index + 1} of ${entries.length}`;
      announce(`${found.spots.map(nameOf).join(" with ")}${where}.`);
    }
    examples.update(found, state.get().stratum);
    controls();
    if (upwards && stage.getBoundingClientRect().top < -80) stage.scrollIntoView();
    upwards = false;
  }
  /** What stands below the examples, once these are seen. @param {Entry} found */
  function rest(found) {
    if (entry !== found || !stage.isConnected) return;
    act.point(null);   // what was pointed at goes
    keepingFocus(() => {
      facts.update(found);
      together.replaceChildren(...[agreementTable(found.pair, dash.nulls), scatter.update(found)]
        .filter((o) => o !== null));
    });
    stage.dataset.whole = stage.dataset.entry;
  }
  function controls() {
    const doc = state.get();
    nav.update(doc, entry && entry.index < 0 ? -1 : place, trail.length > 0);
    note.update(doc);
    free.update(doc);
    tabs.forEach((tab, t) => {
      const on = (t ? "prompts" : "feature") === doc.tab;
      tab.setAttribute("aria-selected", String(on));
      tab.tabIndex = on ? 0 : -1;
    });
    feature.hidden = doc.tab !== "feature";
    prompts.update(doc).catch((error) => tell(shown(error.message, 300)));
  }
  /** What is likely next, while nothing else is to do. */
  const idle = globalThis.requestIdleCallback ?? ((/** @type {() => void} */ f) => setTimeout(f, 60));
  const later = debounce(() => idle(async () => {
    const mine = run;
    for (const step of [1, -1, 2]) {
      const i = (place + step + entries.length) % entries.length;
      if (mine === run && entries.length > 1 && dash.has(i)) await fetchEntry(i).catch(() => {});
    }
    if (mine === run) stage.dataset.decoded = String(dash.count.entries);
  }), 40);

  // ---- one listener for all changes
  const sendHash = debounce(() => {
    const { focus, tab, prompt } = state.get();
    host.hash?.set(JSON.stringify({ focus, view: { tab, prompt } }));
  }, 200);
  const sendText = debounce((/** @type {string} */ value) => host.set("text", value), 200);
  const offState = state.on((doc, changed, origin) => {
    /** @param {(keyof DashState)[]} names */
    const any = (...names) => names.some((name) => changed.has(name));
    if (any("focus")) note.leave();
    if (any("focus") && origin !== "shown") show();
    else if (any("stratum")) show();
    else controls();
    if (any("focus", "tab", "prompt") && origin !== "python") sendHash();
    if (any("focus") && origin === "user") link.tell({ kind: "read", spots: doc.focus });
    if (origin === "python") return;
    if (any("bookmarks")) host.set("bookmarks", doc.bookmarks);
    if (any("notes")) host.set("notes", doc.notes);
    if (any("tab", "prompt")) host.set("view", { tab: doc.tab, prompt: doc.prompt });
    if (any("text")) sendText(doc.text);
  });
  /** @param {string} trait @param {(value: any) => Partial<DashState>} read */
  const hear = (trait, read) => host.on(trait, (value) => state.set(read(value), "python"));
  const offHost = [
    host.on("focus", (value) => {
      const focus = focusIn(value);
      if (focus.length) goTo(focus, "python");
    }),
    hear("bookmarks", (value) => ({ bookmarks: bookmarksIn(value) })),
    hear("notes", (value) => ({ notes: notesIn(value) })),
    hear("view", viewIn), hear("text", (value) => ({ text: typeof value === "string" ? value : "" })),
  ];

  // ---- keys
  /** @param {KeyboardEvent} event */
  const keys = (event) => {
    const node = /** @type {Element} */ (event.target);
    if (event.ctrlKey || event.metaKey || event.altKey
      || node.closest?.("input, textarea, select, [contenteditable]")) return;
    const next = () => act.step(1), before = () => act.step(-1);
    const what = { j: next, ArrowRight: next, k: before, ArrowLeft: before,
      r: () => act.random(), u: () => act.back(), s: () => act.star(), "/": () => nav.focus() }[event.key];
    if (!what) return;
    event.preventDefault();
    event.stopPropagation();
    what();
  };
  stage.addEventListener("keydown", keys);
  /** @param {KeyboardEvent} event in a page of its own, keys that nothing else wants */
  const bodyKeys = (event) => {
    if (event.target === document.body && document.querySelectorAll(".ds").length === 1) keys(event);
  };
  if (host.hash) document.addEventListener("keydown", bodyKeys);

  await show();
  if (!entries.length) tell("This dashboard has no entries.");

  return () => {
    note.dispose();
    for (const wait of [announce, sendHash, sendText, later]) wait.cancel();
    run++;
    free.dispose();
    scatter.dispose();
    offState();
    offHost.forEach((off) => off());
    document.removeEventListener("keydown", bodyKeys);
    link.close();
    dash.close();
  };
}
