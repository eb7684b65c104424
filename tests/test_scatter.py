"Guarantees of scatter.py: which rows are drawn, their text, the numbers, and the picture in a real browser."
from xml.dom import minidom
import json

import numpy as np
import pytest
from scipy import stats

from featgeom.acts import FeatureActs, Rows
from featgeom.agreement import agree, held_out
from featgeom.core import FeatgeomError, generator
from featgeom.matching import match
from featgeom.scatter import PairScatter, contexts, marginal, pair_points, pair_sample
from featgeom.widget import unpack

HOSTILE = ['</script><img src=x onerror="window.hit=1">', '<!-- <script>', '\u202egnp.exe', '🦊👩‍👧', "a\0b", '$& ${x}']
WORDS = [' king', ' the', ' cat', *(f' {o}' for o in HOSTILE)]


def two_stores(n=1200, seed=0, words=WORDS, length=30):
    "Features 0 are a planted pair; documents of words, with the places of their tokens."
    rng = generator(seed)
    token = rng.integers(len(words), size=n)
    doc, start, end, texts = np.arange(n)//length, np.zeros(n, int), np.zeros(n, int), []
    for i in range(n):
        if i % length == 0: texts.append('')
        start[i] = len(texts[-1])
        texts[-1] += words[token[i]]
        end[i] = len(texts[-1])
    rows = Rows(doc=doc, pos=np.arange(n) % length, token_id=token, start=start, end=end)
    x, y = ((rng.random((n, 5)) < .2)*rng.gamma(4, .25, (n, 5)) for _ in range(2))
    y[:, 0] = np.where(rng.random(n) < .8, 2*x[:, 0], y[:, 0])
    x[:, 4] = 0
    tokens = dict(enumerate(words))
    return [FeatureActs.from_csr(o, rows=rows, name=name, texts=texts, tokens=tokens) for o, name in ((x, 'A'), (y, 'B'))]


@pytest.fixture(scope='module')
def stores(): return two_stores()


@pytest.fixture(scope='module')
def points(stores): return pair_points(*stores, 0, 0, labels=(HOSTILE[0], 'king'))


# numbers -------------------------------------------------------------------------------------------------------------

def test_all_rows_where_either_fires_with_both_activations(stores):
    u, v = (o.csr().toarray()[:, 0] for o in stores)
    rows, x, y = pair_sample(*stores[0].column(0), *stores[1].column(0))
    assert np.array_equal(rows, np.flatnonzero((u != 0) | (v != 0)))
    assert np.array_equal(x, u[rows]) and np.array_equal(y, v[rows])


def test_a_sample_is_uniform_and_reproducible(stores):
    columns = *stores[0].column(0), *stores[1].column(0)
    every = pair_sample(*columns)[0]
    count = np.zeros(1200)
    for s in range(400):
        rows, x, y = pair_sample(*columns, 40, s)
        assert len(rows) == 40 == len(np.unique(rows)) and (np.diff(rows) > 0).all() and ((x != 0) | (y != 0)).all()
        count[rows] += 1
    assert stats.chisquare(count[every]).pvalue > .001 and count.sum() == 400*40
    assert np.array_equal(pair_sample(*columns, 40, 3)[0], pair_sample(*columns, 40, 3)[0])


def test_one_side_may_be_silent():
    rows, x, y = pair_sample([], [], [3, 8], [1., 2])
    assert rows.tolist() == [3, 8] and x.tolist() == [0, 0] and y.tolist() == [1, 2]
    assert [len(o) for o in pair_sample([], [], [], [])] == [0, 0, 0]


def test_histograms_are_of_all_rows(stores):
    rng = generator(2)
    for values in (rng.gamma(3, 1, 500), rng.normal(size=500), -rng.random(50), np.array([2.])):
        counts, (low, high) = marginal(values, 7)
        assert counts.sum() == len(values) and low <= min(values.min(), 0) and high >= max(values.max(), 0)
        assert np.array_equal(counts, np.histogram(values, 7, (low, high))[0]) and counts.dtype == np.uint32
    assert marginal([])[0].sum() == 0 and marginal([])[1] == [0, 1]
    got = pair_points(*stores, 0, 0, n=20, held=False)
    u, v = (o.csr().toarray()[:, 0] for o in stores)
    assert (got.hx.sum(), got.hy.sum()) == got.fires == ((u != 0).sum(), (v != 0).sum()) and len(got.x) == 20
    assert got.both == ((u != 0) & (v != 0)).sum() and got.either == ((u != 0) | (v != 0)).sum()


def test_numbers_are_those_of_all_rows_and_of_agreement(stores, points):
    u, v = (o.csr().toarray()[:, 0].astype(float) for o in stores)
    assert points.r == pytest.approx(np.corrcoef(u, v)[0, 1], abs=1e-12) and points.n == 1200
    found = match(*stores, k=5, min_fires=20)
    row = found[(found.a == 0) & (found.b == 0)]
    want = held_out(agree(row, *stores), *stores)
    for o in ('jaccard', 'rank', 'rank_chance', 'held', 'held_chance', 'held_same', 'shared_tokens'):
        assert points.more[o] == pytest.approx(want.more[o][0], nan_ok=True), o
    said = pair_points(*stores, 0, 0, pairs=found)
    assert f'Chance: {row.null[0]:.3f}' in repr(said) and f'same token the correlation is {row.within[0]:.3f}' in repr(said)
    assert said.more['held'] == points.more['held']
    known = pair_points(*stores, 0, 0, pairs=held_out(agree(found, *stores, seed=9), *stores, seed=9))
    assert known.more['held'] != points.more['held']                          # taken from the pairs, not made again
    assert 'held' not in pair_points(*stores, 0, 0, held=False).more


@pytest.mark.parametrize('metric, name', [('jaccard', 'Jaccard index'), ('cosine', 'cosine of the decoder rows')])
def test_notes_name_the_score_that_a_number_is_of(stores, metric, name):
    from dataclasses import replace
    found = match(*stores, k=5, min_fires=20, metric='correlation' if metric == 'cosine' else metric)
    if metric == 'cosine': found = replace(found, meta={**found.meta, 'metric': 'cosine', 'given': None}, within=found.within*np.nan)
    row = found[(found.a == 0) & (found.b == 0)]
    notes = pair_points(*stores, 0, 0, pairs=found).notes
    assert f'They were matched by {name}: {row.score[0]:.3f}.' in notes
    assert any(o.startswith(f'Chance: {row.null[0]:.3f} is the 95 % level of the {name} of') for o in notes)
    want = held_out(row, *stores).more['held'][0]
    held = next(o for o in notes if 'held out' in o)
    if metric == 'jaccard': assert f'the Jaccard index is {want:.3f}' in held and 'alone chooses' in held
    else: assert f'the correlation is {want:.3f}' in held and held.endswith('No text had a part in choosing the pair.')


def test_a_feature_that_does_not_vary_has_no_correlation():
    rng = np.random.default_rng(0)
    rows = Rows(doc=np.arange(3000)//100)
    for value in (.63696, .26979, .80794, 1e3):
        a, b = (FeatureActs.from_dense(np.full((3000, 1), o, np.float32), rows=rows) for o in (value, .8050))
        noise = FeatureActs.from_dense(rng.normal(size=(3000, 1)).astype(np.float32), rows=rows)
        for one, two in ((a, b), (a, noise), (noise, b)):
            got = pair_points(one, two, 0, 0, held=False)
            assert np.isnan(got.r) and got.notes[0].startswith('No correlation, as one of the two does not vary')


def test_why_nothing_was_held_out_is_said(stores):
    three = [FeatureActs.from_csr(o.csr(), rows=Rows(doc=np.arange(1200)//400)) for o in stores]
    assert pair_points(*three, 0, 0).notes[-1].startswith('No held-out score: 3 documents.')
    assert 'No held-out' not in repr(pair_points(*three, 0, 0, held=False))


def test_contexts_of_rows_that_do_not_fit_their_text():
    def acts(**rows): return FeatureActs.from_csr(np.ones((2, 1)), rows=Rows(token_id=[0, 0], **rows), texts=['abc'], tokens={0: 'a'})
    assert contexts(acts(doc=[0, 0], start=[-5, 10**6], end=[2, 10**6 + 1]), [0, 1]) == [['', 'ab', 'c'], ['abc', '', '']]
    with pytest.raises(FeatgeomError, match='document 1 and 1 texts'): contexts(acts(doc=[0, 1], start=[0, 0], end=[1, 1]), [0, 1])


def test_no_note_claims_that_a_feature_does_something(stores, points):
    text = ' '.join(points.notes + pair_points(*stores, 1, 2).notes)
    for word in ('caus', 'because', 'detects', 'represents', 'means', 'same feature'): assert word not in text
    assert 'The other half alone chooses the same partner.' in ' '.join(points.notes)
    assert 'not free of selection' in text


def test_stores_of_every_kind(stores, tmp_path):
    a, b = stores
    dense = [FeatureActs.from_dense(o.csr().toarray() - .1, rows=o.rows, name=o.name) for o in stores]
    got = pair_points(*dense, 0, 0, n=50)
    assert got.either == 1200 and got.range_x[0] < 0 and len(got.x) == 50 and np.isnan(got.more['jaccard'])
    bare = [FeatureActs.from_csr(o.csr()) for o in stores]
    got = pair_points(*bare, 0, 0)
    assert got.text[0] == ['', '', ''] and got.kind == 'samples'
    one = [FeatureActs.from_csr(o.csr(), rows=Rows(doc=np.zeros(1200, int))) for o in stores]
    assert 'held' not in pair_points(*one, 0, 0).more
    a.save(tmp_path/'a')
    again = pair_points(FeatureActs.open(tmp_path/'a').index(), b, 0, 0)
    assert np.allclose(again.x, pair_points(a, b, 0, 0).x, rtol=1e-3)


# text ----------------------------------------------------------------------------------------------------------------

def test_contexts_are_cut_from_the_document(stores):
    a, _ = stores
    for row in (0, 7, 29, 30, 1199):
        [[before, token, after]] = contexts(a, [row], 25, 10)
        text, start, end = a.texts[a.rows.doc[row]], a.rows.start[row], a.rows.end[row]
        assert token == text[start:end]
        assert before == ('…' if start > 25 else '') + text[max(start - 25, 0):start]
        assert after == text[end:end + 10] + ('…' if end + 10 < len(text) else '')


def test_a_byte_of_a_character_is_shown_by_its_code():
    rows = Rows(doc=[0, 0, 0], pos=[0, 1, 2], token_id=[5, 6, 7], start=[0, 1, 1], end=[1, 2, 2])
    tokens = {5: 'a', 6: b'\xf0\x9f'.decode('utf-8', 'surrogateescape'), 7: b'\xa6\x8a'.decode('utf-8', 'surrogateescape')}
    acts = FeatureActs.from_csr(np.ones((3, 1)), rows=rows, texts=['a🦊'], tokens=tokens)
    assert [o[1] for o in contexts(acts, [0, 1, 2])] == ['a', '⟨0xF0⟩⟨0x9F⟩', '⟨0xA6⟩⟨0x8A⟩']
    bare = FeatureActs.from_csr(np.ones((3, 1)), rows=rows, tokens=tokens)
    assert contexts(bare, [1]) == [['', '⟨0xF0⟩⟨0x9F⟩', '']] and contexts(bare, []) == []


# results -------------------------------------------------------------------------------------------------------------

def test_table_plot_and_poster(points):
    import matplotlib
    matplotlib.use('Agg')
    table = points.table()
    assert len(table) == len(points.x) == points.either and list(table.columns) == ['row', 'doc', 'a', 'b', 'before', 'token', 'after']
    figure = points.plot()
    assert len(figure.axes) == 4 and 'seed 0' in figure.get_suptitle()
    figure.canvas.draw()
    poster = PairScatter(points).poster()
    minidom.parseString(poster)
    assert '<img' not in poster and len(poster) < 60_000


def test_payload(points):
    arrays, meta = unpack(PairScatter(points).payload)
    assert np.array_equal(arrays['x'], points.x) and np.array_equal(arrays['hy'], points.hy)
    assert meta['text'] == [list(o) for o in points.text] and meta['notes'] == list(points.notes) and meta['rangeX'] == points.range_x


def test_bad_input_is_refused_with_the_reason(stores):
    a, b = stores
    cases = [((a, b, 5, 0), {}, 'nearest: 4'), ((a, b, 0, -1), {}, 'nearest: 0'), ((a, b, 0, .5), {}, 'Whole numbers'),
             *(((a, b, 0, o), {}, 'Whole numbers') for o in (None, [], [1, 2], 'x', True)),
             ((a, b.select(np.arange(90)), 0, 0), {}, 'rows'), ((a, a, 4, 4), {}, 'never fire'),
             ((a, b, 0, 0), dict(n=0), 'n is a whole'), ((a, b, 0, 0), dict(seed=None), 'seed'),
             ((a, b, 0, 0), dict(pairs=3), 'Pairs'), ((a, b, 0, 0), dict(labels=(1, '')), 'label')]
    for args, more, words in cases:
        with pytest.raises(FeatgeomError, match=words): pair_points(*args, **more)
    with pytest.raises(FeatgeomError, match='PairPoints'): PairScatter(3)
    silent = pair_points(a, b, 4, 1)                                          # one that fires is enough
    assert np.isnan(silent.r) and silent.fires[0] == 0


# in the browser ------------------------------------------------------------------------------------------------------

@pytest.fixture(scope='module')
def saved(points, tmp_path_factory): return PairScatter(points).save(tmp_path_factory.mktemp('pair')/'pair.html')


def ready(page):
    page.wait_for_selector('[data-state="ready"] .sp-dot', state='attached')
    return page


def inside(page, selector):
    "Whether an element lies within the width of the window."
    box = page.locator(selector).bounding_box()
    return box['x'] >= 0 and box['x'] + box['width'] <= page.viewport_size['width']


@pytest.mark.parametrize('width, theme', [(400, 'light'), (400, 'dark'), (1000, 'light'), (1000, 'dark')])
def test_points_show_their_text_by_pointer_and_by_key(offline_page, saved, points, width, theme):
    page = ready(offline_page(saved, color_scheme=theme, viewport=dict(width=width, height=700)))
    assert page.evaluate('document.documentElement.scrollWidth') <= width
    drawn = page.evaluate("[...document.querySelectorAll('.sp-dot')].map(o => (o.getAttribute('d').match(/M/g) ?? []).length)")
    x, y = points.x, points.y
    assert drawn == [(y == 0).sum(), (x == 0).sum(), ((x != 0) & (y != 0)).sum()]
    plane, tip = page.locator('.sp-plane'), page.locator('.sp-tip')
    assert tip.is_hidden()
    plane.focus()
    page.keyboard.press('End')
    order = np.lexsort((y, x))                                               # along A, equal ones along B
    best = order[-1]
    assert plane.get_attribute('data-at') == str(best) and points.text[best][1].strip(' \u202e') in tip.inner_text()
    assert f'{float(f"{x[best]:.3g}"):g}' in tip.inner_text() and 'document' in tip.inner_text() and inside(page, '.sp-tip')
    page.keyboard.press('ArrowLeft')
    assert plane.get_attribute('data-at') == str(order[-2])
    page.keyboard.press('Home')
    page.keyboard.press('ArrowUp')
    assert tip.is_visible()
    page.keyboard.press('Escape')
    assert tip.is_hidden() and plane.get_attribute('data-at') == '-1'
    ring = page.locator('.sp-ring')
    page.keyboard.press('End')
    at = [float(ring.get_attribute(o)) for o in ('cx', 'cy')]
    page.keyboard.press('Escape')
    box = page.locator('.sp svg').bounding_box()
    page.mouse.move(box['x'] + at[0] + 1, box['y'] + at[1] + 1)
    assert plane.get_attribute('data-at') == str(best) and inside(page, '.sp-tip')
    page.mouse.move(box['x'] + (60 + at[0])/2, box['y'] + 38)
    assert 'tokens' in tip.inner_text() and ' from ' in tip.inner_text()
    page.mouse.move(box['x'] + 5, 690)
    assert tip.is_hidden() and page.problems == []


def test_hostile_text_stays_text(offline_page, saved, points):
    page = ready(offline_page(saved, viewport=dict(width=700, height=700)))
    page.locator('.sp-plane').focus()
    for _ in range(60): page.keyboard.press('ArrowRight')
    seen = page.evaluate("[document.title, document.body.innerText, document.querySelectorAll('img').length, window.hit ?? null]")
    assert seen[2:] == [0, None] and 'onerror' in seen[1] and page.problems == []
    assert page.locator('.sp-plane').get_attribute('aria-label').startswith('A 0 · </script>')


def test_every_sentence_is_below_the_picture_and_the_picture_follows_the_width(offline_page, saved, points):
    page = ready(offline_page(saved, viewport=dict(width=900, height=700)))
    assert page.locator('.sp-notes p').all_inner_texts() == list(points.notes)
    wide = page.locator('.sp-line').bounding_box()['width']
    page.set_viewport_size(dict(width=360, height=700))
    for _ in range(100):                                                     # a page's own policy forbids wait_for_function
        box = page.locator('.sp-line').bounding_box()                        # none while it is drawn again
        narrow = box['width'] if box else 999
        if narrow < 330: break
        page.wait_for_timeout(50)
    assert wide > 400 and narrow < 330 and page.evaluate('document.documentElement.scrollWidth') <= 360


def test_a_store_with_signed_values_and_one_point(offline_page, tmp_path):
    rows = Rows(doc=[0, 1, 2, 3], token_id=[0, 0, 0, 0])
    a, b = (FeatureActs.from_dense(np.array(o, np.float32)[:, None], rows=rows) for o in ([-1, 2, .5, 1], [3, -2, 1, 1]))
    page = ready(offline_page(PairScatter(pair_points(a, b, 0, 0)).save(tmp_path/'signed.html')))
    assert page.locator('.sp-dot-both').get_attribute('d').count('M') == 4
    one = FeatureActs.from_csr(np.array([[0.], [3], [0], [0]]), rows=rows)
    none = FeatureActs.from_csr(np.zeros((4, 1)), rows=rows)
    page = ready(offline_page(PairScatter(pair_points(one, none, 0, 0)).save(tmp_path/'one.html')))
    page.locator('.sp-plane').focus()
    page.keyboard.press('ArrowRight')
    assert 'silent' in page.locator('.sp-tip').inner_text() and page.problems == []
