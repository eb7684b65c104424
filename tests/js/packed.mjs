// The payload of a linked map as Python packs it, from plain lists: what the tests of several files need.
import { BEYOND } from "../../featgeom/static/mapdata.js";

export const planes = (values, width) =>
  Uint8Array.from(Array.from({ length: width }, (_, p) => values.map((v) => (v >>> (8 * p)) & 255)).flat());
export const thousandths = (values) => planes(values.map((v) => (Number.isNaN(v) ? 0 : Math.round(v * 1000) + 1)), 2);
export const hundredths = (values) => Uint8Array.from(values, (v) => (Number.isNaN(v) ? 0 : Math.round(v * 100) + 101));

/** The arrays and meta that Python packs, from plain lists. */
export function packed(panels, sets, { vocabulary = [], columns = [] } = {}) {
  const arrays = {};
  panels.forEach((p, i) => {
    const put = (name, value) => { if (value) arrays[name + i] = value; };
    put("x", planes(p.x, 2));
    put("y", planes(p.y, 2));
    put("id", planes(p.ids.map((v, j) => v - (j ? p.ids[j - 1] : 0)), 4));
    put("count", p.tokens && Uint8Array.from(p.tokens, (t) => t.length));
    put("token", p.tokens && planes(p.tokens.flat(), 2));
    put("share", p.shares && Uint8Array.from(p.shares.flat()));
    put("fires", p.fires && planes(p.fires, 3));
    put("cluster", p.cluster && (p.small ? Int8Array : Int16Array).from(p.cluster));
    (p.columns ?? []).forEach((bytes, c) => { if (bytes) arrays[`col${c}_${i}`] = bytes; });
  });
  sets.forEach((set, s) => {
    const order = set.edges.map((_, e) => e).sort((p, q) => set.edges[p].a - set.edges[q].a || set.edges[q].score - set.edges[p].score || p - q);
    const edges = order.map((e) => ({ null: 0.1, q: NaN, within: NaN, flags: BEYOND, ...set.edges[e] }));
    const degree = new Uint16Array(panels[set.left].x.length);
    for (const { a } of edges) degree[a]++;
    Object.assign(arrays, {
      [`degree${s}`]: degree, [`b${s}`]: planes(edges.map((o) => o.b), 3), [`score${s}`]: hundredths(edges.map((o) => o.score)),
      [`null${s}`]: hundredths(edges.map((o) => o.null)), [`q${s}`]: thousandths(edges.map((o) => o.q)),
      [`within${s}`]: hundredths(edges.map((o) => o.within)), [`flags${s}`]: Uint8Array.from(edges, (o) => o.flags),
    });
  });
  const meta = {
    panels: panels.map((p) => ({ name: p.name, note: "", rows: p.rows, total: p.total, cluster_labels: p.labels ?? [], explanations: p.explanations, missing: p.missing })),
    pairs: sets.map(({ left, right, given }) => ({ left, right, given, metric: "correlation", total: 3 })), vocabulary, columns,
  };
  return [arrays, meta];
}
