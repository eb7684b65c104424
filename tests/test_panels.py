"Panels and the linked map in Python: what is refused, what goes into a page and comes out again, what traits and messages take, how large a page is."
from types import SimpleNamespace
import json, xml.etree.ElementTree as ET

import numpy as np, pandas as pd, pytest

from featgeom.core import FeatgeomError
from featgeom.linkedmap import LinkedMap, _linked
from featgeom.matching import Pairs
from featgeom.panels import Column, Panel, column_arrays, keep_pairs, pair_flags, panel_arrays, planes, points_of, quantise, vocabulary
from featgeom.widget import bundle, unpack
from test_embedding import HOSTILE, make_pairs

# ---- what goes into the page

def panel(name, n, seed=0, **more):
    rng = np.random.default_rng(seed)
    return Panel(name, rng.normal(size=(n, 2)), **dict(labels=[f'w{i%7} x{i}' for i in range(n)]) | more)

def from_planes(v): return (v.astype(np.int64).T @ 256**np.arange(len(v), dtype=np.int64)).astype(int)

def test_the_payload_holds_what_was_given():
    left, right = panel('A', 30, ids=np.arange(30)*3, fires=np.arange(30)*1000), panel('B', 20, 1, cluster=np.arange(20) % 3 - 1, cluster_labels=('p', 'q'), note='hello')
    a, b = [0, 0, 3, 87], [1, 2, 19, 0]
    part = make_pairs(a, b, [.9, .5, -.25, .333], q=[.0005, np.nan, .9, .0121], within=[.8, np.nan, -1, .004], token_only=[False, True, False, False],
                      mutual=[True, False, False, True], null=[.1, .2, .3, .25])
    w = LinkedMap([left, right], part)
    arrays, meta = unpack(w.payload)
    assert np.cumsum(from_planes(arrays['id0'])).tolist() == left.ids.tolist()
    assert from_planes(arrays['fires0']).tolist() == left.fires.tolist() and 'fires1' not in arrays
    assert arrays['cluster1'].tolist() == right.cluster.tolist() and meta['panels'][1]['cluster_labels'] == ['p', 'q'] and meta['panels'][1]['note'] == 'hello'
    tokens = [meta['vocabulary'][t] for t in from_planes(arrays['token0'])]
    assert tokens == ' '.join(left.labels).split(' ') and arrays['count0'].tolist() == [2]*30
    assert arrays['degree0'][[0, 1, 29]].tolist() == [2, 1, 1] and from_planes(arrays['b0']).tolist() == [1, 2, 19, 0]
    assert arrays['score0'].tolist() == [191, 151, 76, 134] and arrays['within0'].tolist() == [181, 0, 1, 101]
    assert from_planes(arrays['q0']).tolist() == [2, 0, 901, 14]            # .0005 is shown as .001 at most, never less; NaN; .0121 as .013
    assert arrays['flags0'].tolist() == [2+4+8, 1+4+8, 8, 2+4+8]
    assert meta['pairs'] == [dict(left=0, right=1, limit=3, total=4, kept=4, off_map=0, metric='correlation', tested=True)] and meta['notes'] == []

def test_places_keep_their_shape_and_point_up():
    q = quantise(np.array([[0., 0], [2, 0], [0, 1]]))
    assert q.tolist() == [[0, 32768], [65535, 32768], [0, 0]]
    assert quantise(np.full((3, 2), 7.)).tolist() == [[0, 0]]*3 and quantise(np.zeros((0, 2))).shape == (0, 2)

def test_every_feature_keeps_its_best_pair_and_the_rest_follows_by_strength():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 40, 600), rng.integers(0, 30, 600)
    score = rng.permutation(600)/600
    keep = keep_pairs(a, b, score, 3)
    best = {max(np.flatnonzero(side == f), key=lambda i: score[i]) for side in (a, b) for f in np.unique(side)}
    assert keep[list(best)].all()
    forced = np.zeros(600, bool)
    forced[list(best)] = True
    for i in np.flatnonzero(keep & ~forced): assert max((a[keep] == a[i]).sum(), (b[keep] == b[i]).sum()) <= 3
    degree = [np.bincount(side[keep], minlength=40) for side in (a, b)]
    for i in np.flatnonzero(~keep): assert degree[0][a[i]] >= 3 or degree[1][b[i]] >= 3     # nobody was left out for nothing
    assert keep_pairs(a, b, score, 600).all() and not len(keep_pairs(a[:0], b[:0], score[:0], 3))

def test_pairs_that_are_not_drawn_or_not_tested_are_said():
    part = make_pairs([0, 1, 99], [0, 1, 1], [.5, .4, .3], null=np.full(3, np.nan), q=np.full(3, np.nan))
    _, meta = unpack(LinkedMap([panel('A', 5), panel('B', 5)], part).payload)
    assert meta['pairs'][0]['off_map'] == 1 and '1 pairs' in meta['notes'][0] and 'without a null' in meta['notes'][1]
    assert (pair_flags(part) & 4 == 0).all()

def test_beyond_chance_is_q_where_tested_and_the_null_elsewhere():
    part = make_pairs([0, 1, 2, 3], [0, 1, 2, 3], [.5, .5, .5, .5], q=[.05, .051, np.nan, np.nan], null=[.9, .1, .4, .6], within_p=[.05, .06, np.nan, .01])
    assert (pair_flags(part) & 4 > 0).tolist() == [True, False, True, False]
    assert (pair_flags(part) & 8 > 0).tolist() == [True, False, True, True]
    assert _linked([panel('A', 5), panel('B', 4)], {(0, 1): part}, 0).tolist() == [True, False, True, False, False]

def test_decoder_pairs_and_three_panels():
    part = make_pairs([0, 1], [1, 0], [.9, .8], support=[np.nan]*2, within=[np.nan]*2, within_p=[np.nan]*2)
    w = LinkedMap([panel('A', 3), panel('B', 4), panel('C', 5)], {(0, 1): part, (2, 0): part})
    assert repr(w) == 'LinkedMap(A 3 + B 4 + C 5 features; 2 of 2 pairs, 2 of 2 pairs)'
    assert 'no pairs' in repr(LinkedMap([panel('A', 3)])) and 'no pairs' not in repr(LinkedMap([panel('A', 3), panel('B', 2)], make_pairs([], [], [])))

@pytest.mark.parametrize('make, says', [
    (lambda: LinkedMap([panel('A', 3), panel('A', 3)]), 'a name of its own'), (lambda: LinkedMap([]), 'One or more panels'),
    (lambda: LinkedMap([panel('A', 3)]*1, make_pairs([0], [0], [.5])), 'A dict'), (lambda: LinkedMap([panel('A', 3), panel('B', 3)], {(0, 2): None}), 'below 2'),
    (lambda: LinkedMap([panel('A', 3), panel('B', 3)], {(0, 1): None, (1, 0): None}), 'one order'), (lambda: LinkedMap([panel('A', 3)], partners=0), 'partners=0'),
    (lambda: LinkedMap([panel('A', 3), panel('B', 3)], make_pairs([0], [0], [7.])), 'from -1 to 1'), (lambda: panel('', 3), 'A name'),
    (lambda: panel('A', 3, ids=[1, 1, 2]), 'repeat'), (lambda: panel('A', 3, ids=[0, 1]), 'One each'), (lambda: panel('A', 3, ids=[.5, 1, 2]), 'no whole numbers'),
    (lambda: panel('A', 3, labels=['x']), '1 labels'), (lambda: panel('A', 2, cluster=np.array([0, 1]), cluster_labels=('one',)), 'A name for each'),
    (lambda: Panel('A', np.array([[1, np.nan], [1, 2.]]), ['', '']), 'half a NaN in 1 of 2'), (lambda: Panel('A', np.zeros((2, 3)), ['', '']), '(n, 2)')])
def test_maps_refuse(make, says):
    with pytest.raises(FeatgeomError) as e: make()
    assert says in str(e.value)

def test_traits_take_names_and_ids_and_refuse_others():
    w = LinkedMap([panel('A', 5, ids=[2, 3, 5, 7, 11]), panel('B', 3)], make_pairs([2], [0], [.5]))
    w.selected, w.hovered, w.pinned = {'A': np.array([7, 2, 7])}, ('B', 1), [('A', 3)]
    assert (w.selected, w.hovered, w.pinned) == ({'A': [2, 7]}, ['B', 1], [['A', 3]])
    for key, value, says in (('selected', {'A': [4]}, 'Feature 4'), ('hovered', ['C', 1], "Panel 'C'"), ('pinned', [['B', 'x']], 'Feature x'), ('hovered', ['A'], 'Panel')):
        with pytest.raises(FeatgeomError) as e: setattr(w, key, value)
        assert says in str(e.value)
    assert w.selected == {'A': [2, 7]} and 'selected A 2' in repr(w)

def test_hostile_text_packs_and_the_still_is_xml():
    w = LinkedMap([Panel(HOSTILE[0], np.eye(2)[[0, 1, 0, 1, 0, 1, 0]]*1., HOSTILE, note=HOSTILE[5]), panel('B', 3)], make_pairs([0], [0], [.5]))
    _, meta = unpack(w.payload)
    assert set(' '.join(HOSTILE).split(' ')) <= set(meta['vocabulary'])
    page = w.page()
    assert page.count('</script') == 3 and HOSTILE[0] not in page and '<!--' not in page
    still = ET.fromstring(w.poster())
    assert len(still.findall('.//{*}circle')) == 2 and sum(o.get('d').count('M') for o in still.findall('.//{*}path')) == 10

def test_a_still_of_many_points_says_that_it_is_a_sample():
    still = LinkedMap([panel('A', 4000)]).poster()
    assert still.count('M') >= 1500 and still.count('h0') == 1500 and '1,500 of 4,000 points drawn' in still

def test_page_budget():
    "2 x 16,384 features with three tokens each of 20,000 and ten pairs a feature: at most 1 MB, code at most 100 kB."
    rng = np.random.default_rng(0)
    n, share = 16384, 1/(np.arange(20000) + 10)**.8
    words = np.array([''.join(rng.choice(list('etaoinshrdlucmfwyp'), rng.integers(2, 9))) for _ in range(20000)])
    draw = lambda: [' '.join(o) for o in words[rng.choice(20000, (n, 3), p=share/share.sum())]]
    panels = [Panel(o, rng.normal(size=(n, 2)), draw(), fires=rng.geometric(1/900, n), cluster=rng.integers(-1, 60, n), cluster_labels=('a b c',)*60) for o in 'AB']
    a, b, score = np.repeat(np.arange(n), 10), rng.integers(0, n, 10*n), rng.beta(2, 3, 10*n)
    part = make_pairs(a, b, score, within=np.clip(score*rng.uniform(-.1, 1, 10*n), -1, 1), null=np.repeat(.05 + .2*rng.integers(0, 50, n)/50, 10),
                      q=np.where(np.arange(10*n) % 10, np.nan, np.round(rng.uniform(0, 1, 10*n)**4, 3)), token_only=rng.random(10*n) < .2)
    w = LinkedMap(panels, part)
    assert 40_000 < w._sets[0]['kept'] < 60_000 and len(w.page().encode()) <= 1_000_000
    assert len(bundle('linkedmap.js').encode()) <= 100_000
