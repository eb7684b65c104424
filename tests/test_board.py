"What a dashboard says of the numbers that it shows: which chance, of whom, by what metric, and why one is missing."
from functools import partial
import warnings

import numpy as np
import pytest

import featgeom as fg
from featgeom.agreement import agree, held_out
from featgeom.collecting import collect
from featgeom.core import FeatgeomError
from featgeom.dashboard import Dashboard
from featgeom.decoders import match_decoders
from featgeom.reading import read_features
from featgeom.stories import tell
from dashpage import apart, opened

read = partial(read_features, progress=False)


@pytest.fixture(scope='module')
def spaces():
    "Two SAEs of one site."
    return [fg.FeatureSpace.load(model=fg.zoo_path('story-1l'), sae=fg.zoo_path(f'story-1l/{o}'), name=o) for o in ('sae-256', 'sae-1024')]


@pytest.fixture(scope='module')
def acts(spaces): return collect(spaces, tell(60, seed=3), progress=False)


@pytest.fixture(scope='module')
def readings(acts, spaces): return [read(*o) for o in zip(acts, spaces)]


@pytest.fixture(scope='module')
def matched(acts, spaces):
    how = dict(shifts=3, permutations=19, min_fires=20, k=3)
    return dict(correlation=fg.match(*acts, **how), jaccard=fg.match(*acts, metric='jaccard', given='position', **how),
                cosine=match_decoders(*spaces, k=3), bare=fg.match(*acts, null=None, given=None, min_fires=20, k=3))


def entries(board):
    meta, blobs, _ = opened(board.payload)
    return meta, [told for _, told in blobs]


@pytest.mark.parametrize('name, score, within, held', [
    ('correlation', ['Score: correlation.', 'text is shifted'], 'rows of one token;', 'same score'),
    ('jaccard', ['Jaccard index', 'text is shifted'], 'rows of one position;', 'same score'),
    ('cosine', ['cosine of decoder rows', 'random decoder rows'], 'no text had a part', 'The correlation on half'),
    ('bare', ['matched without chance'], 'held nothing fixed', 'same score')])
def test_sentences_follow_the_match(readings, matched, name, score, within, held):
    meta, [told] = entries(Dashboard(readings, matched[name], most=1))
    nulls = meta['nulls']
    assert all(o in nulls['score'] for o in score) and within in nulls['within'] and held in nulls['held']
    assert ('shifted' in nulls['score']) == (name in ('correlation', 'jaccard'))
    assert told['pair']['metric'] == ('correlation' if name == 'bare' else name) and told['pair']['why'] == ''
    if name != 'cosine': assert (told['scatter'].get('held') is None) == (name == 'jaccard')     # it stands beside r


def test_another_null_is_told_in_its_own_words(readings, matched):
    from dataclasses import replace
    pairs = matched['correlation']
    other = replace(pairs, meta={**pairs.meta, 'null': 'swap', 'null_means': 'best partner in swapped documents'})
    assert 'by chance stay below this (best partner in swapped documents)' in entries(Dashboard(readings, other, most=1))[0]['nulls']['score']


def test_one_reading_has_no_sentences_about_pairs_and_says_what_is_missing(readings, acts):
    assert set(entries(Dashboard(readings[0], most=1))[0]['nulls']) == {'cosine', 'cofire', 'logits'}
    bare = entries(Dashboard(read(acts[0]), most=1))[0]
    assert 'logits' not in bare['nulls'] and bare['nulls']['cosine'].startswith('None for sae-256: ')
    mixed = entries(Dashboard([readings[0], read(acts[1])], features=[1]))[0]['nulls']['cosine']
    assert mixed.startswith('95 %') and 'None for sae-1024' in mixed


def test_spaces_say_where_they_come_from_and_how_well_they_fit(readings, acts):
    def note(reading): return entries(Dashboard(reading, most=1))[0]['spaces'][0]['note']
    assert note(read(acts[0])) == 'topk SAE, 96 to 256, at blocks.0.hook_resid_post of story-1l'
    assert note(readings[0]).endswith('health: not measured, space.health(texts) does')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        line = readings[0].space.health(tell(20, seed=0)).line
    assert note(readings[0]).endswith(f'; {line}')
    neurons = fg.FeatureSpace.load(model=fg.zoo_path('story-1l'), site='blocks.0.mlp.hook_post')
    assert note(read(*collect([neurons], tell(5, seed=0), progress=False), neurons)).startswith('neurons, no SAE, at blocks.0.mlp')
    assert note(read(fg.FeatureActs.from_csr(acts[0].csr(), acts[0].rows))) == ''


def test_what_cannot_be_measured_says_why(acts, spaces):
    few = [o.select(o.rows.doc < 3) for o in acts]
    readings = [read(*o) for o in zip(few, spaces)]
    pairs = fg.match(*few, shifts=3, permutations=19, min_fires=5, min_shift=1)
    _, [told] = entries(Dashboard(readings, pairs, most=1))
    assert told['pair']['why'].startswith('No held-out score: 3 documents.') and told['pair']['held'] is None
    assert told['pair']['agreement']                                                     # which needs no halves


def test_the_page_shows_why_whose_and_where_from(acts, spaces, tmp_path, offline_page):
    few = [o.select(o.rows.doc < 3) for o in acts]
    pairs = fg.match(*few, shifts=3, permutations=19, min_fires=5, min_shift=1)
    pairs = pairs[np.flatnonzero(~pairs.of_a)[:1]]
    page = offline_page(viewport=dict(width=1300, height=900))
    page.goto(Dashboard([read(*o) for o in zip(few, spaces)], pairs, all_pairs=pairs).save(tmp_path/'d.html').resolve().as_uri())
    page.wait_for_selector('.ds-pair')
    text = ' '.join(page.inner_text('.ds-pair').split())
    assert 'No held-out score: 3 documents. At least 4' in text and 'null of sae-1024 ' in text
    page.mouse.wheel(0, 3000)
    page.wait_for_selector('.ds-stats')
    words = ' '.join(page.locator('.featgeom').first.inner_text().split())
    assert 'sae-256: topk SAE, 96 to 256, at blocks.0.hook_resid_post of story-1l; health: ' in words
    page.locator('.ds-help summary').click()
    words = ' '.join(page.inner_text('.ds-help').split())
    assert 'Score: correlation. 95 % of the best scores that a feature gets when the text is shifted' in words
    assert 'same score on half of the documents' in words and page.problems == []


def test_an_entry_that_is_asked_for_says_that_nothing_was_held_out(readings, matched):
    board, sent = Dashboard(readings, matched['correlation'], most=1), []
    board.send = lambda content, buffers=None: sent.append((content, buffers))
    a, b = (int(o[5]) for o in (matched['correlation'].a, matched['correlation'].b))
    board._hear(board, dict(ask='entry', at=[['sae-256', a], ['sae-1024', b]], id=1), [])
    pair = apart([sent[0][1][0]])[0][1]['pair']
    assert pair['held'] is None and pair['why'].startswith('Held-out score: only of pairs')
    board._entries = None                                                                # whatever goes wrong
    board._hear(board, dict(ask='entry', at=[['sae-256', a]], id=2), [])
    assert 'cannot be shown' in sent[1][0]['error'] and 'models' not in sent[1][0]['error']


def test_no_q_looks_smaller_than_it_is_and_all_say_the_same(readings, matched):
    from dataclasses import replace
    from featgeom.panels import Panel, pair_arrays
    pairs = matched['correlation']
    pairs = replace(pairs, q=np.where(np.isnan(pairs.q), np.nan, .00200004))
    meta, told = entries(Dashboard(readings, pairs, most=5))
    assert {o['q'] for o in meta['entries']} == {o['pair']['q'] for o in told} == {.003}
    panels = [Panel(o.name, np.zeros((o.acts.n_features, 2))) for o in readings]
    coded = pair_arrays(pairs, *panels, 99)[0]['q']
    assert set((coded.T @ [1, 256]).tolist()) <= {0, 4} and 4 in coded                   # 1 + 3 thousandths; 0: none


def test_the_owner_of_null_and_q_is_named_where_it_is_not_the_first(readings, matched):
    pairs = matched['correlation']
    rows = np.r_[np.flatnonzero(pairs.of_a)[:1], np.flatnonzero(~pairs.of_a)[:1]]
    _, told = entries(Dashboard(readings, pairs[rows], all_pairs=pairs))
    assert [o['pair']['owner'] for o in told] == ['', 'sae-1024']


def test_exchanged_sides_and_other_saes_are_refused(readings, acts, spaces, matched):
    from dataclasses import replace
    pairs = fg.match(acts[0], replace_name(acts[0], 'again'), shifts=3, given=None, min_fires=20)    # both 256 wide
    swapped = replace_name(acts[0], 'again'), acts[0]
    for call in (lambda: agree(pairs, *swapped), lambda: held_out(pairs, *swapped), lambda: Dashboard([read(o) for o in swapped], pairs)):
        with pytest.raises(FeatgeomError, match='Swap the two'): call()
    assert pairs.meta['a']['sae_hash'] == spaces[0].sae.hash
    other = replace(pairs, meta={**pairs.meta, 'b': {**pairs.meta['b'], 'sae_hash': 'f'*64}})
    with pytest.raises(FeatgeomError, match='B has another sae_hash'): agree(other, acts[0], replace_name(acts[0], 'again'))
    with pytest.raises(FeatgeomError, match='all_pairs by jaccard'): Dashboard(readings, matched['correlation'], all_pairs=matched['jaccard'])


def replace_name(acts, name): return fg.FeatureActs({**acts.meta, 'name': name}, matrix=acts.csr(), rows=acts.rows, texts=acts.texts, tokens=acts.tokens)


@pytest.mark.parametrize('id', [None, [], [3, 4], '3', 3., True, np.bool_(True)])
def test_a_focus_takes_whole_numbers_only(readings, id):
    board, sent = Dashboard(readings[0], most=1), []
    for name, value in (('focus', [['sae-256', id]]), ('bookmarks', [[['sae-256', id]]]), ('notes', [dict(at=[['sae-256', id]], text='')])):
        with pytest.raises(FeatgeomError, match='A whole number'): setattr(board, name, value)
    board.send = lambda content, buffers=None: sent.append(content)
    board._hear(board, dict(ask='entry', id=1, at=[['sae-256', id]]), [])
    board._hear(board, dict(ask='entry', id=2, at=['sae-256']), [])
    assert 'whole number' in sent[0]['error'] and 'focus' in sent[1]['error']


@pytest.mark.parametrize('prompt', [3, None, ('title',), ('a', 'b', 'c'), (3, 'text'), {'a': 1}])
def test_a_wrong_prompt_is_named(readings, prompt):
    with pytest.raises(FeatgeomError, match=r'prompts\[1\]='): Dashboard(readings[0], prompts=['fine', prompt])


def test_empty_pairs_are_an_empty_dashboard_and_empty_columns(readings, acts, matched):
    none = matched['correlation'][:0]
    assert len(agree(none, *acts)) == len(held_out(none, *acts)) == 0
    assert set(held_out(agree(none, *acts), *acts).more) == set(held_out(agree(matched['correlation'][:3], *acts), *acts).more)
    board = Dashboard(readings, none)
    meta, told = entries(board)
    assert told == [] and board.focus is None and repr(board).startswith('Dashboard(sae-256 and sae-1024: 0 entries, ')
    _, [alone] = entries(Dashboard(readings, none, features=[3]))
    assert alone['a'] == 3 and alone['b'] == -1 and alone['pair'] is None


def test_how_many_of_the_pairs_are_shown(readings, matched):
    pairs = matched['correlation']
    assert f'4 entries from {len(pairs):,} pairs' in repr(Dashboard(readings, pairs, most=4))
    assert 'from' not in repr(Dashboard(readings, pairs[:3], all_pairs=pairs))


def test_a_label_stands_in_the_list_or_in_the_entry(readings, matched):
    meta, told = entries(Dashboard(readings, matched['correlation'], most=30))
    names = [o.name for o in readings]
    listed = [{o[key] for o in meta['entries']} for key in 'ab']
    seen = [0, 0]
    for side in (o for one in told for o in one['sides']):
        s = names.index(side['space'])
        for where, rows in ((s, side['near']['cosine'] + side['near']['cofire']), (1 - s, side['partners'])):
            for id, *_, label in rows:
                assert label == (None if id in listed[where] else readings[where].short[id][:100])
                seen[label is None] += 1
    assert min(seen) > 20
