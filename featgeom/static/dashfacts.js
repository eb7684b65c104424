/**
 * What is known of the features of an entry beside its examples: names and claims, statistics, tokens, logit effects,
 * neighbours, partners, agreement. Every score stands beside what chance gives.
 */

import { el, shown } from "./kit.js";
import { brief } from "./mapcolour.js";
import { BEYOND, MUTUAL, TOKEN_ONLY, WITHIN_BEYOND } from "./mapdata.js";
import { grouped, short, shortQ } from "./maplabels.js";
import { createHistogram, logitBars, scoreLine } from "./dashcharts.js";

/** @typedef {import("./dashdata.js").Entry} Entry */
/** @typedef {import("./dashdata.js").Side} Side */
/** @typedef {import("./dashdata.js").Spot} Spot */

const ALPHA = 0.05, TOP = 5;   // tokens that are compared
/** @param {any} v @returns {v is number} */
const there = (v) => typeof v === "number" && Number.isFinite(v);
/** @param {any} v */
const list = (v) => (Array.isArray(v) ? v : []);
/** @param {any} v */
const number = (v) => (there(v) ? v : NaN);
/** @param {number} v a share */
const percent = (v) => (v >= 0.1 || !v ? `${Math.round(100 * v)} %` : v >= 0.0005 ? `${(100 * v).toFixed(1)} %`
  : `${brief(100 * v)} %`);

/** @param {number} v share of one token: small ones all alike */
const shareOf = (v) => (v > 0 && v < 0.0005 ? "<0.1 %" : percent(v));

/** @param {Spot} spot */
export const nameOf = ([space, id]) => `${shown(space, 40)} ${id}`;

/**
 * What a pair's tests allow to be said, no more: beyond chance, beyond the shared token, on other documents.
 * @param {any} pair
 * @returns {string[]}
 */
export function claims(pair) {
  const given = pair.given || "token";
  if (!there(pair.null) && !there(pair.q)) return ["Not tested against chance."];
  const beyond = there(pair.q) ? pair.q <= ALPHA : pair.score > pair.null;
  if (!beyond) return ["Not beyond chance: partners picked the same way by chance score as high."];
  const apart = pair.metric === "cosine";   // of decoder rows: no text had a part in the match
  const out = [apart ? "Beyond chance: their decoder rows point more alike than the best of random rows."
    : "Beyond chance: they fire together more than partners picked the same way by chance."];
  if (pair.token_only) out.push(`No more than a shared ${given}: nothing varies within one ${given}.`);
  else if (!there(pair.within) || !there(pair.within_p)) out.push(`Not tested within one ${given}.`);
  else if (pair.within_p > ALPHA)
    out.push(`Not beyond the ${given}: within one ${given} they go together no better than chance.`);
  else out.push(`Beyond the current ${given}: they go together among rows of one ${given} too.`);
  if (!there(pair.held)) return out;
  if (apart) out.push(`No text had a part in choosing it; on half of the documents their correlation is ${
    short(pair.held)}.`);
  else if (pair.held_same !== false) out.push(`Half of the documents chooses it${pair.held_same ? " again" : ""}; `
    + `on the other half its score is ${short(pair.held)}.`);
  else out.push(`Half of the documents chooses another partner${there(pair.held_best)
    ? `, whose score on the other half is ${short(pair.held_best)}` : ""}; this one has ${short(pair.held)} there, but `
    + "those documents had a say in choosing it.");
  return out;
}

/**
 * A label as a title. An automatic one is `token 80 %, token 9 % | where | what it raises`: its tokens stand out (their
 * shares are below), over the rest.
 * @param {string} label
 * @param {string} source
 */
export function titleOf(label, source) {
  const words = shown(label, 300);
  if (source !== "auto") return [words];
  const [tokens, ...rest] = words.split(" | ");
  const title = tokens.startsWith("many tokens") ? tokens : tokens.replaceAll(/ \d+ %(?=, |$)/g, "");
  return rest.length ? [title, el("span", { class: "ds-rest" }, rest.join(" · "))] : [title];
}

/** @param {string} name @param {string} value @param {string} [why] @param {string} [sign] that marks it on the line */
const part = (name, value, why, sign) => el("span", { title: why ? shown(why, 400) : null },
  sign ? el("span", { class: "ds-sign", "aria-hidden": "true" }, sign) : null, el("i", {}, name), " ",
    el("b", {}, value));

/**
 * The head of the page: both features by name, and between them what is known of the pair.
 * @param {import("./dashdata.js").Dash} dash
 */
export function createHead(dash) {
  const cards = el("div", { class: "ds-sides" }), pairBox = el("div", { class: "ds-pair" });
  const element = el("header", { class: "ds-head" }, cards, pairBox);
  /** @type {ReturnType<typeof createHistogram>[]} */
  let charts = [];

  /** @param {Side} side @param {number} s */
  function card(side, s) {
    const { meta } = side, labels = list(meta.labels), stats = meta.stats ?? {};
    const space = dash.spaces.find((o) => o.name === side.space), rows = shown(space?.rows ?? "tokens", 20);
    const { text: title = "", source = "" } = labels.find((o) => o.text) ?? {};
    const rate = there(stats.rate) ? percent(stats.rate) : "–";
    const fires = meta.dead ? el("span", { class: "ds-warn" }, `never fires on ${grouped(space?.n ?? 0)} ${rows}`)
      : el("span", {}, `fires on ${grouped(stats.count ?? 0)} of ${grouped(space?.n ?? 0)} ${rows}, ${rate}`);
    const most = list(meta.tokens).slice(0, 6).filter((o, i) => !i || o[1] >= 0.01);
    const chips = most.map(([token, share]) => el("span", { class: "ds-chip" },
      el("span", { class: "ds-token fg-text", dir: "auto" }, shown(token, 24)), " ", el("small", {}, percent(share))));
    const more = labels.filter((o) => o.text && o.text !== title);
    return el("article", { class: `ds-card ds-side${s}`, "aria-label": nameOf([side.space, side.id]) },
      el("div", { class: "ds-about" },
        el("h2", {}, el("span", { class: "ds-id fg-text" }, nameOf([side.space, side.id]))),
        el("p", { class: "ds-title fg-text", dir: "auto",
          title: source ? `label (${shown(source, 60)}): ${shown(title, 300)}` : null },
        ...(title ? titleOf(title, source) : [el("span", { class: "fg-muted" }, "no label")])),
        el("p", { class: "ds-small" }, fires,
          meta.rare && !meta.dead ? el("span", { class: "ds-warn" }, " · rare: too few for its statistics") : null),
        chips.length ? el("p", { class: "ds-chips", "aria-label": "top tokens, with their shares of the activation" },
          ...chips) : null,
        ...more.map((o) => el("p", { class: "ds-label fg-text", dir: "auto" }, shown(o.text, 300), " ",
          el("small", {}, shown(o.source, 40))))),
      meta.dead ? null : charts[s].element);
  }

  /** @param {any} pair */
  function evidence(pair) {
    const given = shown(pair.given || "token", 20), nulls = dash.nulls;
    const apart = pair.metric === "cosine", again = apart || pair.held_same !== false, held = again ? pair.held : null;
    const found = { within: pair.token_only ? null : pair.within, held: apart ? null : held };
    return [el("div", { class: "ds-evidence" }, scoreLine(pair.score, pair.null, found),
      part("score", short(number(pair.score)), pair.metric, "●"), 
      part(pair.owner ? `null of ${shown(pair.owner, 40)}` : "null", short(number(pair.null)), nulls.score, "┃"),
      there(pair.q) ? part("q", shortQ(pair.q), "share of false finds among pairs that look at least as good") : null,
      pair.token_only ? el("span", { class: "ds-warn" }, `same ${given} only`)
        : part(`within ${given}`, short(number(pair.within)), nulls.within, "○"),
      there(held) ? part(apart ? "correlation held out" : "held out", short(held), nulls.held, apart ? "" : "◇") : null,
      there(held) && there(pair.held_chance) ? part("its null", short(pair.held_chance)) : null,
      again || !there(pair.held) ? null : el("span", { class: "ds-warn" }, "not chosen again on half of the documents"),
      el("span", { class: pair.mutual ? null : "fg-muted" }, pair.mutual ? "mutual" : "not mutual"),
      pair.why ? el("span", { class: "fg-muted fg-text" }, shown(pair.why, 300)) : null),
    el("p", { class: "ds-claims" }, claims(pair).join(" "))];
  }
  return {
    element,
    /** @param {Entry} entry */
    update(entry) {
      charts = entry.sides.map(createHistogram);
      cards.replaceChildren(...entry.sides.map(card));
      pairBox.replaceChildren(...(entry.pair ? evidence(entry.pair) : []));
      pairBox.hidden = !entry.pair;
    },
    /** @param {(number | null)[] | null} values one a side @param {string[]} [words] */
    mark: (values, words = []) => charts.forEach((o, s) => o.mark(values ? values[s] ?? null : null, words[s])),
  };
}

const OF_DECODER = ["decoder_norm", "capacity"];   // a neuron has none
/** @type {[string, string, string][]} key, name, what it is */
export const STATS = [
  ["mean", "mean", "of the active values"], ["sd", "sd", "of the active values"], ["max", "largest", ""],
  ["skew", "skew", "central, over all rows, zeros included"],
  ["kurtosis", "kurtosis", "central, over all rows, zeros included; 3 for a Gaussian"],
  ["zero_skew", "skew about 0", "mean of x³ over sd³, anchored at zero instead of the mean"],
  ["zero_kurtosis", "kurtosis about 0", "mean of x⁴ over variance², anchored at zero instead of the mean"],
  ["decoder_norm", "decoder norm", ""],
  ["capacity", "capacity", "share of a dimension of its own, among all decoder directions"],
];

/**
 * The columns below the examples, one for each feature.
 * @param {import("./dashdata.js").Dash} dash
 * @param {import("./dashboard.js").Act} act
 */
export function createFacts(dash, act) {
  const element = el("div", { class: "ds-main" }), near = el("div", { class: "ds-near" });
  /** @param {string} title @param {string} more @param {...(Node | null)} children */
  const block = (title, more, ...children) => el("section", { class: "ds-block" },
    el("h3", {}, title, more ? el("small", { class: "fg-text" }, ` ${more}`) : null), ...children);

  /** @param {Spot[]} spots where to @param {Spot} spot what is named @param {string | null} label or the list has it */
  function go(spots, spot, label) {
    const can = act.can(spots), words = shown(label ?? dash.list.labelOf(spot), 120);
    return el("button", {
      type: "button", class: "ds-go", "aria-disabled": can ? null : "true", "aria-label": `${nameOf(spot)} ${words}`,
      title: can ? `${nameOf(spot)} ${words}` : act.why(spots),
      onclick: () => (can ? act.go(spots) : act.say(act.why(spots))),
      onpointerenter: () => act.point(spot), onpointerleave: () => act.point(null),
      onfocus: () => act.point(spot), onblur: () => act.point(null),
    }, el("span", { class: "ds-id" }, String(spot[1])), " ", el("span", { class: "fg-text", dir: "auto" }, words));
  }

  /** @param {Side} side */
  function statistics({ meta }) {
    const stats = meta.stats ?? {}, known = new Set(["count", "rate", ...STATS.map((o) => o[0])]);
    const others = Object.keys(stats).filter((o) => !known.has(o)).map((o) =>
      /** @type {[string, string, string]} */ ([o, o, ""]));
    const rows = [...STATS, ...others].filter(([key]) => key in stats
      && (there(stats[key]) || !OF_DECODER.includes(key)));
    return el("dl", { class: "ds-stats" }, ...rows.flatMap(([key, name, what]) => [
      el("dt", { class: "fg-text", title: what || null }, shown(name, 40)), el("dd", {}, brief(number(stats[key])))]),
    there(meta.entropy) ? el("dt", { title: "of the shares of its tokens" }, "token entropy") : null,
    there(meta.entropy) ? el("dd", {}, `${brief(meta.entropy)} bits`) : null);
  }

  /** @param {Side} side */
  function origin(side) {
    const note = dash.spaces.find((o) => o.name === side.space)?.note;
    return note ? el("p", { class: "ds-small fg-text" }, `${shown(side.space, 40)}: ${shown(note, 400)}`) : null;
  }

  /** @param {Side} side */
  function tokens({ meta }) {
    const rows = list(meta.tokens).slice(0, 10), top = Math.max(1e-9, ...rows.map((o) => o[1]));
    return el("ol", { class: "ds-barlist" }, ...rows.map(([token, share]) => el("li", {},
      el("span", { class: "ds-token fg-text", dir: "auto" }, shown(token, 24)),
      el("span", { class: "ds-track" },
        el("i", { class: "ds-share", style: `width:${((100 * share) / top).toFixed(1)}%` })),
      el("span", { class: "ds-number" }, shareOf(share)))));
  }

  /** @param {Side} side */
  function neighbours(side) {
    const near = side.meta.near ?? {};
    /** @param {number} id @param {string | null} label @param {number} value @param {number | null} chance */
    const row = (id, label, value, chance) => el("li", {}, go([[side.space, id]], [side.space, id], label),
      el("span", { class: "ds-evidence" },
        there(chance) && value <= chance ? el("span", { class: "ds-warn" }, "as chance") : null,
        el("b", {}, short(number(value))),
        there(chance) ? el("span", { class: "fg-muted" }, `null ${short(chance)}`) : null));
    /** @param {string} title @param {string} why @param {Node[]} rows */
    const column = (title, why, rows) => el("div", {}, el("h4", { title: why ? shown(why, 300) : null }, title),
      rows.length ? el("ol", { class: "ds-list" }, ...rows) : el("p", { class: "ds-none" }, "none"));
    const directions = list(near.cosine).length > 0 || there(side.meta.stats?.decoder_norm);
    return el("div", { class: "ds-two" },
      directions && column("by decoder cosine", dash.nulls.cosine,
        list(near.cosine).map(([id, value, label]) => row(id, label, value, near.cosine_chance))),
      column("by firing together", dash.nulls.cofire, list(near.cofire).map(([id, value, chance, label]) =>
        row(id, label, value, chance))));
  }

  /** @param {Side} side @param {Spot | undefined} shownWith the other feature of the entry @param {string} given */
  function partners(side, shownWith, given) {
    const other = dash.spaces.find((o) => o.name !== side.space), rows = list(side.meta.partners);
    if (!other) return null;
    return block("Partners", `in ${shown(other.name, 40)}`, rows.length ? el("ol", { class: "ds-list ds-partners" },
      ...rows.map(([id, score, chance, q, within, flags, label]) => {
        const spot = /** @type {Spot} */ ([other.name, id]), tested = there(q);
        const doubt = flags & TOKEN_ONLY ? `same ${given} only` : there(within) && !(flags & WITHIN_BEYOND)
          ? `not beyond the ${given}` : "";
        const weak = !there(chance) ? "not tested" : tested && !(flags & BEYOND) ? "not beyond chance" : "";
        const doubts = [doubt, weak].filter(Boolean).join(" · "), mutual = flags & MUTUAL ? "mutual" : "";
        return el("li", { "aria-current": shownWith?.[1] === id ? "true" : null },
          go([[side.space, side.id], spot], spot, label),
          el("span", { class: "ds-evidence" }, scoreLine(score, chance, { within: flags & TOKEN_ONLY ? null : within }),
            part("score", short(number(score))), part("null", short(number(chance))),
            tested ? part("q", shortQ(q)) : el("span", {}),
            flags & TOKEN_ONLY ? el("span", {}) : part(`within ${given}`, short(number(within)))),
          mutual || doubts ? el("p", { class: "ds-more-said" }, mutual, mutual && doubts ? " · " : null,
            doubts ? el("span", { class: "ds-warn" }, doubts) : null) : null);
      })) : el("p", { class: "ds-none" }, "No partner was looked for, or none found."));
  }

  /**
   * A row of the page: the same block of both features.
   * @param {Entry} entry
   * @param {(side: Side, s: number) => Node | null} make
   */
  const both = (entry, make) => el("div", { class: "ds-sides ds-facts" }, ...entry.sides.map((side, s) =>
    el("div", { class: `ds-column ds-side${s}`, role: "group", "aria-label": `About ${nameOf([side.space, side.id])}` },
      entry.sides.length > 1 ? el("p", { class: "ds-whose fg-text", "aria-hidden": "true" },
        nameOf([side.space, side.id])) : null, make(side, s))));
  /** @param {Side} side */
  const about = (side) => el("div", { class: "ds-two" },
    block("Top tokens", there(side.meta.n_tokens) ? `${grouped(side.meta.n_tokens)} different` : "",
      side.meta.dead ? el("p", { class: "ds-none" }, "none") : tokens(side)),
    block("Statistics", side.meta.dead ? "" : side.meta.rare ? "too few to say" : "", statistics(side), origin(side)));
  return {
    element, near,
    /** @param {Entry} entry */
    update(entry) {
      const given = shown(entry.pair?.given || "token", 20), pairs = dash.spaces.length > 1;
      element.replaceChildren(...[pairs ? both(entry, (side, s) => partners(side, entry.spots[1 - s], given)) : null,
        both(entry, about),
        both(entry, (side) => block("Writes to the output", "for a step of one along its direction",
          logitBars(side.meta.logits, dash.spaces.find((o) => o.name === side.space)?.no_logits ?? ""))),
      ].filter((o) => o !== null));
      near.replaceChildren(both(entry, (side) => block("Neighbours", `in ${shown(side.space, 40)}`, neighbours(side))));
    },
  };
}

/** @type {Record<string, string>} */
export const MEASURES = { shared_tokens: "shared top tokens", jaccard: "Jaccard of the rows they fire on",
  rank: "rank correlation where both fire", label: "words of the labels" };

/**
 * Whether both features mean the same: measures of agreement, each beside its chance level.
 * @param {any} pair
 * @param {Record<string, string>} nulls what the chance levels are
 */
export function agreementTable(pair, nulls) {
  const rows = list(pair?.agreement);
  if (!rows.length) return null;
  return el("section", { class: "ds-block" },
    el("h3", {}, "Agreement", el("small", {}, " each beside its chance level")),
    el("table", { class: "ds-agreement" },
      el("thead", {}, el("tr", {}, ...["", "", "value", "chance", ""].map((o) => el("th", { scope: "col" }, o)))),
      el("tbody", {}, ...rows.map(({ name, value, chance }) => {
        const whole = name === "shared_tokens", top = whole ? TOP : 1;
        const write = (/** @type {any} */ v) => (whole && there(v) ? brief(v) : short(number(v)));
        const why = Object.hasOwn(nulls, name) ? shown(nulls[name], 300) : null;
        return el("tr", {}, el("th", { scope: "row", class: "fg-text", title: why },
          Object.hasOwn(MEASURES, name) ? MEASURES[name] : shown(name, 60)),
        el("td", {}, there(value) ? scoreLine(value / top, there(chance) ? chance / top : null) : null),
        el("td", { class: "ds-number" }, write(value), whole ? ` of ${TOP}` : null),
        el("td", { class: "ds-number fg-muted" }, write(chance)),
        el("td", { class: "ds-warn" }, there(value) && there(chance) && value <= chance ? "as chance" : ""));
      }))),
    el("details", { class: "ds-small", open: !matchMedia("(max-width: 860px)").matches },
      el("summary", {}, "What the chance levels are"),
      el("dl", { class: "ds-chances" }, ...rows.filter(({ name }) => Object.hasOwn(nulls, name)).flatMap(({ name }) => [
        el("dt", {}, MEASURES[name] ?? shown(name, 60)), el("dd", { class: "fg-text" }, shown(nulls[name], 300))]))));
}
