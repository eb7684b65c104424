// What the linked map can be asked for: every mode, smart case, marks of spaces, ids, shares, and patterns that would stop the page.
import test from "node:test";
import assert from "node:assert/strict";
import { modesOf } from "../../featgeom/static/mapfind.js";
import { findPoints } from "../../featgeom/static/mapsearch.js";

const VOCABULARY = ["␣king", "Queen", "12", "<img onerror=1>", "▁Paris", "Ġrain", "kingdom", "a\0b", "ĠNew York", "x".repeat(10000) + "y", "🙂", "שלום"];

function panel(ids, tokens, more = {}) {
  const tokenStart = Uint32Array.of(0, ...tokens.map(((sum) => (t) => (sum += t.length))(0)));
  return { n: ids.length, ids: Int32Array.from(ids), tokens: Uint32Array.from(tokens.flat()), tokenStart, shares: null,
    explanations: null, cluster: null, clusterLabels: [], ...more };
}

const A = () => panel([3, 7, 12, 40], [[0], [1, 2], [], [6, 4]], { shares: Uint8Array.of(200, 100, 128, 60, 70),
  explanations: ["about Kings", "", "the number 12", "places"], cluster: Int16Array.of(0, 0, 1, -1), clusterLabels: ["Royal house", "wet"] });
const B = () => panel([0, 5, 9], [[0, 3], [2], [5, 7, 8, 9, 10, 11]]);
const map = (...panels) => ({ panels: panels.length ? panels : [A(), B()], sets: [], vocabulary: VOCABULARY, meta: {} });
const find = (text, mode = "token", most = false, data = map()) => findPoints(data, { text, mode, most }).map((o) => [...o]);

test("token: whole, the mark of a space need not be typed, capitals count only when the search has one", () => {
  assert.deepEqual(find("king"), [[0], [0]]);
  for (const mark of ["␣", "▁", "Ġ"]) assert.deepEqual(find(mark + "king"), [[0], [0]]);
  assert.deepEqual(find("kin"), [[], []]);
  assert.deepEqual([find("queen"), find("Queen"), find("QUEEN")], [[[1], []], [[1], []], [[], []]]);
  assert.deepEqual([find("paris"), find("rain"), find("␣queen")], [[[3], []], [[], [2]], [[], []]]);
  assert.deepEqual([find("new york"), find("New York"), find("York")], [[[], [2]], [[], [2]], [[], []]]);
  assert.deepEqual([find("  "), find("")], [[[], []], [[], []]]);
});

test("token: a number is the feature with that id or the token, with # only the feature", () => {
  assert.deepEqual([find("#12"), find("12"), find("7"), find("#7")], [[[2], []], [[1, 2], [1]], [[1], []], [[1], []]]);
});

test("part: within a token, smart case, and nothing is a pattern", () => {
  assert.deepEqual([find("king", "part"), find("KING", "part"), find("␣ki", "part")], [[[0, 3], [0]], [[], []], [[0], [0]]]);
  assert.deepEqual([find(".", "part"), find("onerror=", "part"), find("yor", "part"), find("Yor", "part")], [[[], []], [[], [0]], [[], [2]], [[], [2]]]);
});

test("regular expressions: smart case knows escapes, tokens stay as they are written", () => {
  assert.deepEqual([find("^␣?king", "regex"), find("^queen$", "regex"), find("^QUEEN$", "regex")], [[[0, 3], [0]], [[1], []], [[], []]]);
  assert.deepEqual([find("^\\S+ \\S+k$", "regex"), find("^\\D+$", "regex").flat().length > 0, find("\\p{Lu}ueen", "regex")], [[[], [2]], true, [[1], []]]);
  assert.deepEqual([find("(?<=k)ing\\b", "regex"), find("\\x00|🙂", "regex"), find("y$", "regex")], [[[0], [0]], [[], [2]], [[], []]]);
  assert.deepEqual(find("  ", "regex"), [[], []]);
});

test("regular expressions that do not parse say why, those that could stop the page are refused", () => {
  for (const bad of ["(", "[", "*", "a{2,1}", "\\", "(?<n", "a**", "\\-"]) assert.throws(() => find(bad, "regex"), /^Error: Pattern refused: .+\.$/, bad);
  const dangerous = ["(a+)+", "(a+)+$", "(a|a)*$", "(.*)*x", "(?:a*)*b", "((a)+)+", "(a?){30}b", "(?<n>a+){2,}", "(?:(?:a|b)c)+d", "([a-z]+)*!", "(\\w{1,9})*_",
    "(a|b|ab)*c", "(?=a*)+", "(?i:a+)+", "\\u{61}*\\u{61}*\\u{61}*\\u{61}*b", "(a(?:b|c))*?", "(\\(+)+", "([)]*)*", ".*.*.*.*x", ".*.*.*u", "a?".repeat(60) + "a".repeat(60), "(a|a)".repeat(40),
    "a{0,99}".repeat(5), "(a{1000}){1000}"];
  for (const bad of dangerous) assert.throws(() => find(bad, "regex"), /Pattern refused/, bad);
  for (const fine of ["(ing|ed)$", "^(un)?king", "(?:ab)+", "king|queen|prince|duke|earl|lord", "^\\w+-\\w+$", "a{3}b{2,4}", "(\\d{4})", "[(a+)+]", "\\(a+\\)+", "(?<!k)ing", "\\u{6b}ing", "(a)\\1+"])
    assert.doesNotThrow(() => find(fine, "regex"), fine);
});

test("what passes ends soon on the worst token there can be", () => {
  const data = { ...map(B()), vocabulary: VOCABULARY.map(() => "a".repeat(10000)) };
  for (const pattern of [".*.*b", "a*a*b", "a?".repeat(14) + "b", "(?:aa)*a*$b"]) {
    try {
      assert.deepEqual(find(pattern, "regex", false, data), [[]]);
    } catch (error) {
      assert.match(error.message, /it takes too long/);
    }
  }
});

test("label: explanations and names of clusters", () => {
  assert.deepEqual([find("king", "label"), find("royal", "label"), find("ROYAL", "label"), find("number 12", "label")], [[[0], []], [[0, 1], []], [[], []], [[2], []]]);
  assert.deepEqual([find("Kings", "label"), find("wet", "label")], [[[0], []], [[2], []]]);
});

test("id: lists and ranges, in any order, and what is no id is named", () => {
  assert.deepEqual([find("12, 5-9", "id"), find("9-5;40 #3", "id"), find("0–3", "id"), find("5-", "id"), find("7 - 12", "id")],
    [[[1, 2], [1, 2]], [[0, 1, 3], [1, 2]], [[0], [0]], [[], [1]], [[1, 2], [2]]]);
  assert.deepEqual(find("1-1000000000000", "id"), [[0, 1, 2, 3], [1, 2]]);
  assert.throws(() => find("12, king", "id"), /“king” is no feature id/);
});

test("mostly: the shares of all tokens that match make more than half", () => {
  assert.deepEqual(find("king", "token", true), [[0], []]);
  assert.deepEqual([find("queen", "token", true), find("12", "token", true)], [[[], []], [[1], []]]);    // 100 and 128 of 255; the id 12 has no shares
  assert.deepEqual([find("king", "part", true), find("king|paris", "regex", true)], [[[0], []], [[0, 3], []]]);
  assert.deepEqual(find("#12", "token", true), [[2], []]);
  assert.throws(() => find("king", "token", true, map(B())), /no shares/);
});

test("long searches and unknown modes are refused with a sentence", () => {
  assert.throws(() => find("a".repeat(201), "part"), /at most 200 characters, this one 201/);
  assert.deepEqual(find("a".repeat(200), "part"), [[], []]);
  assert.throws(() => find("a", "magic"), /not for magic/);
});

test("panels without tokens or points, and hostile words, find what there is", () => {
  const bare = { ...panel([4, 5], [[], []]), tokens: null, tokenStart: null };
  assert.deepEqual(find("king", "token", false, map(bare, panel([], []), B())), [[], [], [0]]);
  assert.deepEqual(find("5", "token", false, map(bare, B())), [[1], [1]]);
  assert.deepEqual([find("<img onerror=1>"), find("a\0b"), find("שלום"), find("🙂"), find("__proto__"), find("constructor", "part")],
    [[[], [0]], [[], [2]], [[], [2]], [[], [2]], [[], []], [[], []]]);
});

test("only what can find something is offered", () => {
  const bare = { ...panel([4, 5], [[], []]) };
  assert.deepEqual([modesOf(map()), modesOf(map(B())), modesOf(map(bare))], [["token", "part", "regex", "label", "id"], ["token", "part", "regex", "id"], ["id"]]);
});

test("random maps: the same points as a naive search", () => {
  let s = 7;
  const rand = (n) => (s = (s * 48271) % 2147483647) % n;
  const vocabulary = Array.from({ length: 300 }, () => ["", "␣"][rand(2)] + "abAB".split("").map((c) => c.repeat(rand(3))).join(""));
  const make = () => panel(Array.from({ length: 400 }, (_, i) => 2 * i), Array.from({ length: 400 }, () => Array.from({ length: rand(4) }, () => rand(300))));
  const data = { panels: [make(), make()], sets: [], vocabulary, meta: {} };
  const naive = (test) => data.panels.map((p) => [...Array(p.n).keys()].filter((i) =>
    [...p.tokens.subarray(p.tokenStart[i], p.tokenStart[i + 1])].some((t) => test(vocabulary[t]))));
  for (const q of ["aa", "ab", "abb", "b"]) {
    assert.deepEqual(find(q, "token", false, data), naive((t) => t.toLowerCase().replace(/^␣/, "") === q));
    assert.deepEqual(find(q, "part", false, data), naive((t) => t.toLowerCase().includes(q)));
    assert.deepEqual(find(`^${q}+$`, "regex", false, data), naive((t) => new RegExp(`^${q}+$`, "i").test(t)));
    const Q = q.toUpperCase();
    assert.deepEqual(find(Q, "part", false, data), naive((t) => t.includes(Q)));
  }
});
