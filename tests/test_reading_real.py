"""The dashboard page of real pairs: 200 of two models with one tokenizer, 50 across two tokenizers, opened with the network cut.

Runs when FEATGEOM_TEST_DATA names the folder with the models. What the page shows is compared with the stores it was made from,
not with its payload. The study (slow) does the same with SAEs of twice the width, longer trained, on all stories."""
from collections import namedtuple
import json, re

import numpy as np
import pytest

import featgeom as fg
from featgeom.align import align_spans, split_alike
from featgeom.dashboard import Dashboard
from featgeom.features import token_strings
from featgeom.matching import match
from featgeom.reading import read_features

READY = '.ds[data-ready]'
# Of the entry that is shown: what stands in the head, and of each feature's strongest examples their value, token, line and words.
SEEN = '''() => {
  const number = (o) => Number(o.replace("−", "-")), stage = document.querySelector("[data-entry]");
  const parts = [...document.querySelectorAll(".ds-head .ds-evidence span")].map((o) => [o.querySelector("i")?.textContent, o.querySelector("b")?.textContent]);
  return {
    entry: stage.dataset.entry, claims: document.querySelector(".ds-claims").textContent,
    evidence: Object.fromEntries(parts.filter(([name, value]) => name && value)),
    ids: [...document.querySelectorAll(".ds-card .ds-id")].map((o) => o.textContent),
    fires: [...document.querySelectorAll(".ds-card")].map((o) => o.textContent.match(/fires on ([\\d,]+) of ([\\d,]+)/).slice(1).map((v) => Number(v.replaceAll(",", "")))),
    columns: [...document.querySelectorAll(".ds-column")].map((column) => [...column.querySelectorAll(".ds-line")].map((line) => ({
      value: number(line.querySelector(".ds-value").textContent), words: line.getAttribute("aria-label"),
      hit: Number(line.querySelector(".ds-hit").dataset.row), tokens: [...line.querySelectorAll(".ds-t")].map((o) => [Number(o.dataset.row), o.textContent]),
    }))),
  };
}'''

Made = namedtuple('Made', 'readings pairs board path')

def load(test_data, names, layer, texts, width, tokens, **options):
    "A FeatureSpace of a freshly trained SAE for each model."
    spaces = []
    for name in names:
        model, site = fg.load_model(test_data/'models'/name, device='cpu'), f'blocks.{layer}.hook_resid_post'
        sae = fg.train_sae(model, site, texts, width, k=16, tokens=tokens, seed=0, progress=False, **options)
        spaces.append(fg.FeatureSpace.load(model=model, sae=sae, name=name))
    return spaces

def written(acts, spaces, most, path):
    "Readings of both sides, all their pairs, and the page of the best of them."
    readings = [read_features(a, s, progress=False) for a, s in zip(acts, spaces)]
    pairs = match(*acts, seed=0)
    board = Dashboard(readings, pairs, most=most, prompts=['Once upon a time there was a little girl named Lily.'])
    return Made(readings, pairs, board, board.save(path, max_mb=20))

def one_tokenizer(test_data, out, stories, width, tokens, most=200):
    spaces = load(test_data, ('stories260k', 'llama2xs'), 4, stories, width, tokens)
    return written(fg.collect(spaces, stories, store=out/'acts', progress=False), spaces, most, out/'pairs.html')

def two_tokenizers(test_data, out, stories, width, tokens, most=50):
    names = 'stories260k', 'babyllama105'
    pieces = list(split_alike(stories, [fg.load_model(test_data/'models'/o, device='cpu') for o in names], context=256))
    spaces = load(test_data, names, 3, pieces, width, tokens, context=256)
    acts = [fg.collect(o, pieces, store=out/o.name, context=256, progress=False)[0] for o in spaces]
    aligned = align_spans(*acts)
    return written((aligned.a, aligned.b), spaces, most, out/'spans.html')

@pytest.fixture(scope='module')
def stories(test_data): return json.loads((test_data/'text/tinystories_1000.json').read_text(encoding='utf-8'))

@pytest.fixture(scope='module')
def same(test_data, stories, tmp_path_factory):
    return one_tokenizer(test_data, tmp_path_factory.mktemp('same'), stories[:140], 512, 80_000)

@pytest.fixture(scope='module')
def other(test_data, stories, tmp_path_factory):
    return two_tokenizers(test_data, tmp_path_factory.mktemp('other'), stories[:60], 256, 60_000)

def value(words):
    "A number as the page writes it."
    return float(words.replace('−', '-').replace(',', ''))

def press(page, key):
    "Go on, and wait for another entry."
    page.evaluate('''key => new Promise((done) => {
      const stage = document.querySelector("[data-entry]"), before = stage.dataset.entry;
      const look = new MutationObserver(() => {
        if (stage.dataset.entry === before || !stage.dataset.ready) return;
        look.disconnect();
        done();
      });
      look.observe(stage, {attributes: true});
      document.body.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
    })''', key)

def on_row(reading, row):
    "What may stand for a row: the characters of the text, or what pieces of a split character are shown as."
    rows, acts = reading.acts.rows, reading.acts
    text = acts.texts[rows.doc[row]][rows.start[row]:rows.end[row]].replace('\n', '⏎').replace('\t', '⇥')
    if rows.kind != 'token': return {text}
    token = token_strings(acts, rows.token_id[[row]])[0]
    return {text, token, token.replace('␣', ' ')}

def close(shown, real): return abs(shown - real) <= .006*max(abs(real), 1)

def check_entry(seen, made, spot):
    "The entry on the page against the stores: its scores, how often it fires, and its strongest examples on both sides."
    names, csr = [o.name for o in made.readings], [o.acts.csr() for o in made.readings]
    assert seen['entry'] == ' '.join(f'{name}:{id}' for name, id in zip(names, spot))
    assert seen['ids'] == [f'{name} {id}' for name, id in zip(names, spot)]
    at, = np.flatnonzero((made.pairs.a == spot[0]) & (made.pairs.b == spot[1]))
    x, y = (o[:, [id]].toarray().ravel().astype(float) for o, id in zip(csr, spot))
    assert close(value(seen['evidence']['score']), made.pairs.score[at]) and abs(np.corrcoef(x, y)[0, 1] - made.pairs.score[at]) < 1e-4
    assert close(value(seen['evidence']['null']), made.pairs.null[at])
    assert seen['claims'].startswith('Beyond chance')
    for side, (reading, values, column) in enumerate(zip(made.readings, (x, y), seen['columns'])):
        assert seen['fires'][side] == [(values != 0).sum(), len(values)]
        rows = reading.examples.rows[spot[side], slice(*reading.examples.strata['top'])]
        rows = rows[rows >= 0][:10]
        assert len(column) == len(rows) and close(column[0]['value'], values.max())
        for line, row in zip(column, rows.tolist()):
            assert close(line['value'], values[row]), (line, values[row])
            theirs = re.search(rf'; {re.escape(names[1 - side])} {spot[1 - side]} ([^;]+);', line['words'])
            step = (y, x)[side].max()/255                      # the page has activations in steps of the largest
            assert abs(value(theirs[1]) - (y, x)[side][row]) <= step + .006*abs((y, x)[side][row]), (line['words'], (y, x)[side][row])
            assert len(line['tokens']) > 1
            for r, text in line['tokens']:                     # the line is the text around this row, token for token
                assert text in on_row(reading, row + r - line['hit']), (text, on_row(reading, row + r - line['hit']))

def jump(page, names, spot):
    "To an entry by the id of A's feature, typed."
    page.fill('.ds-jump', str(spot[0]))                       # a feature of B may have the same id
    page.get_by_role('option').filter(has_text=re.compile(rf'{names[0]} {spot[0]}\b')).first.click()
    page.wait_for_selector(f'[data-entry="{" ".join(f"{name}:{id}" for name, id in zip(names, spot))}"][data-ready]')

def check_page(page, made, some=(0, 1, 2, 5, 20, 40), walk=None):
    "The first `walk` entries (all) come one after the other, the others have their places; some say what the stores say."
    page.wait_for_selector(READY)
    board, shown, names = made.board, [], [o.name for o in made.readings]
    walk, total = walk or len(board.spots), len(board.spots)
    for i in range(walk):
        if i in some: check_entry(page.evaluate(SEEN), made, board.spots[i].tolist())
        shown.append(page.get_attribute('[data-entry]', 'data-entry'))
        if i + 1 < walk: press(page, 'j')
    assert shown == [' '.join(f'{name}:{id}' for name, id in zip(names, spot)) for spot in board.spots[:walk].tolist()]
    for i in sorted({*some, walk, total - 1} & {*range(walk, total)}):
        jump(page, names, board.spots[i].tolist())
        assert f'{i + 1} of {total}' in ' '.join(page.inner_text('.ds-nav').split())
        check_entry(page.evaluate(SEEN), made, board.spots[i].tolist())
    assert page.problems == []

def check_board(made, most):
    "The best pairs by score, one for each feature of A, beyond chance; at most 10 kB for each of the two features of a pair."
    pairs, board = made.pairs, made.board
    best = pairs.best()
    best = best[np.argsort(-best.score, kind='stable')]
    best = best[(best.q < .05) & (best.score > best.null)][:most]
    assert len(board.spots) == most and {*map(tuple, board.spots.tolist())} == {*zip(best.a.tolist(), best.b.tolist())}
    each, page = (o/(2*most)/1e3 for o in (len(board.payload), made.path.stat().st_size))
    print(f'{most} pairs: {each:.2f} kB a feature compressed, {page:.2f} kB of the page; scores {best.score.min():.2f} to {best.score.max():.2f}, '
          f'nulls up to {best.null.max():.2f}')
    assert each < 10
    assert np.median(best.score) > 3*np.median(best.null)

def check_whole(page, reading, row):
    "The opened passage is the document of this row, or a piece of it."
    def plain(o): return re.sub(r'[\s⏎]+', ' ', o).strip()
    whole, text = (plain(o) for o in (page.locator('.ds-passagetext').first.inner_text(), reading.acts.texts[reading.acts.rows.doc[row]]))
    odd = '⟨' in whole                                        # pieces of split characters stand for themselves
    assert len(whole) > 100 and (odd or whole in text or text in whole), (whole, text)

def test_the_two_hundred_best_pairs(same): check_board(same, 200)
def test_the_fifty_best_across_tokenizers(other): check_board(other, 50)
def test_the_page_of_pairs_shows_what_the_stores_hold(same, offline_page): check_page(offline_page(same.path), same, (0, 1, 7, 60, 199), walk=20)
def test_the_page_across_tokenizers_shows_what_the_stores_hold(other, offline_page): check_page(offline_page(other.path), other)

def test_pointing_at_a_token_shows_both_activations(same, offline_page):
    page, made = offline_page(same.path, viewport=dict(width=1300, height=900)), same
    page.wait_for_selector(READY)
    spot, (a, b) = made.board.spots[0].tolist(), made.readings
    hit = page.locator('.ds-line .ds-hit').first
    hit.hover()
    shown = [value(o) if o != '0' else 0. for o in page.locator('.ds-tip div > b').all_inner_texts()]
    row = a.examples.rows[spot[0], a.examples.strata['top'][0]]
    for v, reading, id in zip(shown, made.readings, spot):
        values = reading.acts.csr()[:, [id]].toarray().ravel()
        assert abs(v - values[row]) <= values.max()/255 + .006*abs(values[row])
    hit.click()
    check_whole(page, a, row)

def test_a_line_opens_to_the_same_text_for_both_sides(other, offline_page):
    page, (a, b) = offline_page(other.path), other.readings
    page.wait_for_selector(READY)
    assert a.acts.rows.kind == 'span' and a.acts.texts == b.acts.texts
    page.locator('.ds-column').nth(1).locator('.ds-line').first.click()
    check_whole(page, b, b.examples.rows[other.board.spots[0, 1], 0])

def test_prompts_are_read_by_both_models(same, other, offline_page):
    for made in (same, other):
        page = offline_page(made.path)
        page.wait_for_selector(READY)
        page.get_by_role('tab', name=re.compile('Prompts')).click()
        page.wait_for_selector('.ds-prompts .ds-readtext')
        words = page.locator('.ds').inner_text()
        assert 'Lily' in words and all(o.name in words for o in made.readings)

@pytest.mark.slow
def test_the_study(test_data, stories, tmp_path, offline_page):
    "SAEs of width 1024 trained on a million tokens; all stories with one tokenizer, 300 across two."
    pairs = one_tokenizer(test_data, tmp_path, stories, 1024, 1_000_000)
    check_board(pairs, 200)
    check_page(offline_page(pairs.path), pairs, (0, 3, 50, 100, 150, 199))
    (tmp_path/'spans').mkdir()
    spans = two_tokenizers(test_data, tmp_path/'spans', stories[:300], 1024, 1_000_000)
    check_board(spans, 50)
    check_page(offline_page(spans.path), spans, (0, 3, 10, 30, 49))
