/**
 * Texts read by the models: the prompts that came with the page, and whatever is typed while a kernel listens. Under
 * every token stand the strongest features of both models; the text itself is coloured by the features in focus.
 */

import { debounce, el, shown, uid, walkTabs } from "./kit.js";
import { createReadText } from "./dashread.js";

/** @typedef {import("./dashdata.js").Read} Read */

/**
 * @param {import("./dashdata.js").Dash} dash
 * @param {import("./dashboard.js").Act} act
 */
export function createPrompts(dash, act) {
  const stem = uid();
  const buttons = dash.prompts.map((o, p) => el("button", {
    type: "button", role: "tab", id: `${stem}-${p}`, "aria-controls": stem, onclick: () => act.set({ prompt: p }),
  }, shown(o.title, 40)));
  const tablist = el("div", { class: "ds-tabs", role: "tablist", "aria-label": "Prompts" }, ...buttons);
  const text = createReadText(act, true), body = el("div", { role: "tabpanel", id: stem }, text.element);
  const none = el("p", { class: "ds-none" },
    "No prompts came with this dashboard. Pass prompts= in Python, or type a text under a feature.");
  const element = el("section", { class: "ds-prompts", "aria-label": "Prompts" }, dash.prompts.length ? tablist : none,
    body);
  walkTabs(tablist, buttons, (to) => act.set({ prompt: to }));
  let asked = -1;
  return {
    element,
    /** @param {import("./dashboard.js").DashState} doc */
    async update(doc) {
      element.hidden = doc.tab !== "prompts";
      const p = Math.min(doc.prompt, dash.prompts.length - 1);
      buttons.forEach((button, i) => {
        button.setAttribute("aria-selected", String(i === p));
        button.tabIndex = i === p ? 0 : -1;
        if (i === p) body.setAttribute("aria-labelledby", button.id);
      });
      if (element.hidden || p < 0 || asked === p) return;
      asked = p;
      const read = await dash.prompt(p);
      if (asked === p) text.update(read);
    },
  };
}

/**
 * The box for any text: through the kernel, with a sign while what is shown is older than what was typed.
 * @param {import("./dashdata.js").Dash} dash
 * @param {import("./dashboard.js").Act} act
 * @param {{live: boolean}} host
 */
export function createFree(dash, act, host) {
  const why = host.live ? "this dashboard was made without its models" : "needs a running kernel";
  const area = el("textarea", { rows: 2, maxlength: 20_000, spellcheck: "false", class: "ds-text",
    "aria-label": "Any text",
    placeholder: dash.liveText ? "type any text: where does this fire?" : `type any text: ${why}` });
  const badge = el("span", { class: "ds-badge", role: "status" }), text = createReadText(act, false);
  if (!dash.liveText) {
    area.disabled = true;
    area.title = why;
  }
  text.element.hidden = true;
  const element = el("section", { class: "ds-block ds-free" },
    el("h3", {}, "Any text ", el("small", {}, dash.liveText ? "" : why), badge), area, text.element);
  let shownFor = "", run = 0;
  const ask = debounce(async () => {
    const { text: typed, focus } = act.state(), mine = ++run;
    if (!dash.liveText || !typed.trim()) return;
    badge.textContent = "reading…";
    try {
      const read = await dash.text(typed, focus);
      if (mine !== run) return;
      text.update(read);
      text.element.hidden = false;
      shownFor = JSON.stringify([typed, focus]);
      badge.textContent = "";
    } catch (error) {
      if (mine === run) badge.textContent = error instanceof Error ? shown(error.message, 300) : "";
    }
    text.element.classList.remove("ds-stale");
  }, 150);
  area.addEventListener("input", () => act.set({ text: area.value }));
  return {
    element, dispose: () => ask.cancel(),
    /** @param {import("./dashboard.js").DashState} doc */
    update(doc) {
      if (area.value !== doc.text) area.value = doc.text;
      if (!doc.text.trim()) {
        run++;
        ask.cancel();
        shownFor = badge.textContent = "";
        text.element.hidden = true;
        return;
      }
      if (!dash.liveText || shownFor === JSON.stringify([doc.text, doc.focus])) return;
      if (!text.element.hidden) {
        badge.textContent = "older than the text";
        text.element.classList.add("ds-stale");
      }
      ask();
    },
  };
}
