/**
 * The side card: all that is known of the feature in focus, and its partners in every panel as a list to walk.
 */

import { el, needsKernel, shown, uid } from "./kit.js";
import { brief } from "./mapcolour.js";
import { alone, evidence, grouped, nameOf, none, title } from "./maplabels.js";
import { tokensOf } from "./mapdata.js";

const PAGE = 12;  // partners shown until one beyond them is walked to, or more are asked for

/**
 * @param {import("./mapdata.js").MapData} data
 * @param {import("./linkedmap.js").Act} act
 * @param {import("./host.js").Host} host
 */
export function createCard(data, act, host) {
  const stem = uid();
  const about = el("div", {}), heading = el("h4", {});
  const list = el("div", { class: "lm-partners", role: "listbox", tabindex: "0", "aria-label": "Partners" });
  const more = el("button", {
    type: "button", class: "lm-cardmore", onclick: () => {
      room = Infinity;
      if (focus) fill(focus);
      list.focus({ preventScroll: true });
    },
  });
  const body = el("div", { class: "lm-cardbody" }, about, heading, list, more);
  /** @param {string} text @param {string} hint @param {(focus: Focus) => void} what */
  const button = (text, hint, what) => el("button", {
    type: "button", title: hint, onclick: () => { if (focus) what(focus); },
  }, text);
  const zoom = button("Zoom", "to the pair, in every panel (z)", (o) => act.zoomToPair(o.panel, o.point));
  const go = button("Go there", "the partner becomes the feature in focus (g)", () => act.go());
  const pin = button("Pin", "keep it in the table (Enter)", (o) => act.pin(o.panel, o.point));
  const all = needsKernel(button("All partners", "ask Python", (o) => act.more(o.panel, o.point)), host);
  const element = el("aside", { class: "lm-card", "aria-label": "Feature in focus" },
    body, el("div", { class: "lm-cardacts" }, zoom, go, pin, all));

  /** @typedef {import("./linkedmap.js").Focus} Focus */
  /** @type {Focus | null} */
  let focus = null;
  let partner = 0, pinned = false, room = PAGE, known = "";
  let scrolled = false;   // kept, as setting a place that is already held makes the browser lay out the page
  body.addEventListener("scroll", () => { scrolled = body.scrollTop > 0; });
  /** @type {{node: HTMLElement, away: HTMLElement, spot: import("./mapdata.js").Partner}[]} */
  let options = [];

  /** @param {import("./mapdata.js").Partner} o @param {number} rank */
  function option(o, rank) {
    const away = el("div", { class: "lm-away", hidden: true }, "outside the view");
    const node = el("div", {
      role: "option", id: `${stem}-${rank}`, class: "lm-option", "aria-selected": String(rank === partner),
      onclick: () => act.walk(rank - partner), ondblclick: () => act.show(o.panel, o.point),
    }, title(data, o.panel, o.point), evidence(data.sets[o.set], o.edge), away);
    return { node, away, spot: o };
  }

  /** @param {Focus} o */
  function fill(o) {
    const { partners } = o, shownCount = Math.min(partners.length, Math.max(room, partner + 1));
    options = partners.slice(0, shownCount).map(option);
    list.replaceChildren(...options.map(({ node }) => node));
    list.setAttribute("aria-label", `Partners of ${nameOf(data, o.panel, o.point)}`);
    if (options.length) list.setAttribute("aria-activedescendant", `${stem}-${partner}`);
    else list.removeAttribute("aria-activedescendant");
    const rest = partners.length - shownCount;
    more.hidden = !rest;
    more.textContent = `${grouped(rest)} more`;
    const kinds = `${o.all ? "all " : ""}${grouped(partners.length)} partner${partners.length === 1 ? "" : "s"}`;
    heading.textContent = partners.length ? kinds : alone(data, o.panel, o.point);
    about.replaceChildren(...facts(data, o));
    list.hidden = !partners.length;
    heading.hidden = !heading.textContent;
  }

  function empty() {
    options = [];
    about.replaceChildren(el("p", { class: "fg-muted" },
      "Point at a feature: what is known of it and its partners stands here."));
    list.replaceChildren();
    list.hidden = heading.hidden = more.hidden = true;
  }

  /** Bring the option that is walked to into the card's own view: the page stays where it is. */
  function reveal() {
    const node = options[partner]?.node;
    if (!node) return;
    const above = node.offsetTop - body.scrollTop, below = above + node.offsetHeight - body.clientHeight;
    if (above < 0) body.scrollTop += above;
    else if (below > 0) body.scrollTop += below;
  }

  list.addEventListener("keydown", (e) => {
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[e.key];
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    if (step) act.walk(step);
    else if (e.key === "Enter" || e.key === "g") act.go();
    else return;
    e.preventDefault();
    e.stopPropagation();
  });

  return {
    element,
    /**
     * To be called once a frame; cheap when nothing changed.
     * @param {import("./linkedmap.js").Derived} derived
     * @param {(panel: number, point: number) => boolean} [inside] whether a point is in its panel's view
     */
    update(derived, inside = () => true) {
      const next = derived.focus, name = next ? `${next.panel}:${next.point}` : "";
      const on = derived.pinned.some((o) => o.panel === next?.panel && o.point === next.point);
      if (next !== focus || partner !== derived.partner || pinned !== on || !about.firstChild) {
        const walked = partner !== derived.partner || name !== known;
        if (name !== known) room = PAGE;
        [focus, partner, pinned] = [next, derived.partner, on];
        if (next) fill(next);
        else empty();
        if (name !== known && scrolled) body.scrollTop = 0;
        if (next && walked && partner) reveal();
        known = name;
        for (const o of [zoom, pin]) o.disabled = !next;
        go.disabled = !next?.partners.length;
        all.disabled = !host.live || !next || next.all;
        pin.textContent = on ? "Unpin" : "Pin";
      }
      for (const { away, spot } of options) away.hidden = inside(spot.panel, spot.point);
    },
  };
}

/**
 * What is known of a feature, line by line.
 * @param {import("./mapdata.js").MapData} data
 * @param {{panel: number, point: number}} spot
 */
function facts(data, { panel, point }) {
  const p = data.panels[panel], from = p.tokenStart[point], cluster = p.cluster ? p.cluster[point] : -1;
  const tokens = tokensOf(data, panel, point).map((token, t) => {
    const part = p.shares && ` ${Math.round(p.shares[from + t] / 2.55)}%`;
    const share = part && el("small", { title: "share of its activation" }, part);
    return el("span", {}, el("span", { class: "lm-token fg-text", dir: "auto" }, shown(token, 40)), share);
  });
  /** @type {[string, string][]} */
  const lines = [];
  if (p.fires) {
    const rows = `${grouped(p.fires[point])}${p.total ? ` of ${grouped(p.total)}` : ""} ${shown(p.rows, 30)}`;
    lines.push(["fires on", rows]);
  }
  if (cluster >= 0) lines.push(["cluster", shown(p.clusterLabels[cluster], 80)]);
  data.columns.forEach((column, c) => {
    const values = p.columns[c], v = values ? values[point] : NaN;
    if (!values || Number.isNaN(v) || (column.kind === "category" && v < 0)) return;
    lines.push([shown(column.name, 40), column.kind === "number" ? brief(v) : shown(column.categories[v], 80)]);
  });
  const explanation = shown(p.explanations?.[point] ?? "", 600);
  return [
    el("h3", { class: "fg-text", dir: "auto" }, nameOf(data, panel, point)),
    el("div", { class: "lm-cardtokens" }, ...(tokens.length ? tokens : [none(p)])),
    ...(explanation ? [el("p", { class: "lm-says fg-text", dir: "auto" }, explanation)] : []),
    ...(lines.length ? [el("dl", {}, ...lines.flatMap(([name, value]) =>
      [el("dt", { class: "fg-text", dir: "auto" }, name), el("dd", { class: "fg-text", dir: "auto" }, value)]))] : []),
  ];
}
