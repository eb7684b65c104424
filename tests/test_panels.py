"Panels and the linked map in Python: what is refused, what goes into a page and comes out again, what traits and messages take, how large a page is."
from collections import Counter
from types import SimpleNamespace
import json, xml.etree.ElementTree as ET

import numpy as np, pandas as pd, pytest

from featgeom.core import FeatgeomError
from featgeom.linkedmap import LinkedMap, _states
from featgeom.matching import Pairs
from featgeom.panels import Panel, column_arrays, keep_pairs, pair_flags, planes, points_of, quantise
from featgeom.widget import built, unpack
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
    assert arrays['flags0'].tolist() == [2+4+8, 1+8, 8, 2+4+8]
    assert meta['pairs'] == [dict(left=0, right=1, limit=3, total=4, kept=4, off_map=0, metric='correlation', tested=True, given='token')] and meta['notes'] == []

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

def test_beyond_chance_is_q_where_anything_was_tested():
    part = make_pairs([0, 1, 2, 3], [0, 1, 2, 3], [.5, .5, .5, .5], q=[.05, .051, np.nan, np.nan], null=[.9, .1, .4, np.nan], within_p=[.05, .06, np.nan, .01])
    assert (pair_flags(part) & 4 > 0).tolist() == [True, False, False, False]           # the third beats its null, and was not tested
    assert (pair_flags(part) & 8 > 0).tolist() == [True, False, True, True]
    assert _states([panel('A', 5), panel('B', 4)], {(0, 1): part}, 0).tolist() == [2, 1, 0, 0, 0]
    untested = make_pairs([0, 1, 2], [0, 1, 2], [.5, .5, .5], q=[np.nan]*3, null=[.9, .4, np.nan])
    assert (pair_flags(untested) & 4 > 0).tolist() == [False, True, False]
    assert _states([panel('A', 5), panel('B', 4)], {(0, 1): untested}, 1).tolist() == [1, 2, 0, 0] and _states([panel('A', 2)], {}, 0).tolist() == [2, 2]

def test_decoder_pairs_and_three_panels():
    part = make_pairs([0, 1], [1, 0], [.9, .8], support=[np.nan]*2, within=[np.nan]*2, within_p=[np.nan]*2)
    w = LinkedMap([panel('A', 3), panel('B', 4), panel('C', 5)], {(0, 1): part, (2, 0): part})
    assert repr(w) == 'LinkedMap(A 3 + B 4 + C 5 features; 2 of 2 pairs, 2 of 2 pairs)'
    assert 'no pairs' in repr(LinkedMap([panel('A', 3)])) and 'no pairs' not in repr(LinkedMap([panel('A', 3), panel('B', 2)], make_pairs([], [], [])))

@pytest.mark.parametrize('make, says', [
    (lambda: LinkedMap([panel('A', 3), panel('A', 3)]), 'a name of its own'), (lambda: LinkedMap([]), 'One or more panels'),
    (lambda: LinkedMap([panel('A', 3)]*1, make_pairs([0], [0], [.5])), 'A dict'), (lambda: LinkedMap([panel('A', 3), panel('B', 3)], {(0, 2): None}), 'below 2'),
    (lambda: LinkedMap([panel('A', 3), panel('B', 3)], dict.fromkeys([(0, 1), (1, 0)], make_pairs([0], [0], [.5]))), 'one order'), (lambda: LinkedMap([panel('A', 3)], partners=0), 'partners=0'),
    (lambda: LinkedMap([panel('A', 3), panel('B', 3)], make_pairs([0, 1], [0, 1], [.5, .5], q=[.1])), 'differ in length'),
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

def test_a_still_has_the_colours_and_names_of_a_column():
    left = panel('A', 5, columns=dict(c=['x<y', 'x<y', 'z', None, 'z'], v=np.arange(5)))
    w = LinkedMap([left, panel('B', 3)], make_pairs([0, 2], [0, 1], [.5, .9], q=[.5, .01]), colour='c')
    still = ET.fromstring(w.poster())
    strokes = Counter()
    for o in still.findall('.//{*}path'): strokes[o.get('stroke'), o.get('stroke-width')] += o.get('d').count('M')
    assert strokes == {('#9aa0a9', '3'): 2, ('#9aa0a9', '1.5'): 2, ('#2b6089', '3'): 1, ('#2b6089', '1.5'): 1, ('#169b7e', '3'): 1, ('#169b7e', '1.5'): 1, ('#ffffff', '1.4'): 2, ('#2b6089', '7'): 1, ('#169b7e', '7'): 1}
    texts = {o.text for o in still.findall('.//{*}text')}
    assert {'x<y', 'z', 'filled: a partner beyond chance (2); hollow: tested, none beyond chance (2); small: not tested (4)'} <= texts
    w.view = dict(colour='v')                                              # numbers have no colours in a still
    assert 'x&lt;y' not in w.poster() and '#2f6fb5' in w.poster()

def test_a_still_of_many_points_says_that_it_is_a_sample():
    still = LinkedMap([panel('A', 4000)]).poster()
    assert still.count('M') >= 1500 and still.count('h0') == 1500 and '1,500 of 4,000 points drawn' in still

# ---- every field comes out as it went in

def real_pairs(a, b, score, **more):
    "`Pairs` as match makes them, ordered."
    o, m = np.lexsort((-np.asarray(score), np.asarray(a))), len(a)
    yes = np.ones(m, bool)
    base = vars(make_pairs(a, b, score)) | dict(of_a=yes, meta=dict(metric='correlation', given='token')) | {k: np.asarray(v) for k, v in more.items()}
    return Pairs(**{k: v if k == 'meta' else np.asarray(v)[o] for k, v in base.items()})

@pytest.mark.parametrize('seed', range(6))
def test_a_random_map_comes_out_as_it_went_in(seed):
    rng = np.random.default_rng(seed)
    sizes, panels = rng.integers(1, 400, 2), []
    for name, n in zip('AB', sizes):
        ids = rng.choice(10**int(rng.integers(3, 9)), n, replace=False)           # in any order
        labels = [[f'w{rng.integers(50)}' for _ in range(rng.integers(0, 5))] for _ in range(n)]
        panels.append(Panel(name, rng.normal(size=(n, 2))*10.**rng.integers(-300, 300), labels, ids, fires=rng.integers(0, 2**rng.integers(4, 32), n), cluster=rng.integers(-1, 200, n),
                            cluster_labels=[f'c{i}' for i in range(200)], shares=[rng.dirichlet(np.ones(len(o) + 1))[:len(o)].tolist() for o in labels],
                            explanations=[None if rng.random() < .5 else f'about {i}' for i in range(n)], rows='spans', total=2**32))
    m = 900
    part = make_pairs(rng.choice(panels[0].ids, m), rng.choice(panels[1].ids, m), rng.uniform(-1, 1, m), q=np.where(rng.random(m) < .3, np.nan, rng.random(m)),
                      within=np.where(rng.random(m) < .3, np.nan, rng.uniform(-1, 1, m)), mutual=rng.random(m) < .5, token_only=rng.random(m) < .1)
    arrays, meta = unpack(LinkedMap(panels, part, partners=2).payload)
    for p, panel in enumerate(panels):
        n, about = len(panel.ids), meta['panels'][p]
        assert np.array_equal(np.cumsum(from_planes(arrays[f'id{p}'])) % 2**32, panel.ids) and np.array_equal(from_planes(arrays[f'fires{p}']), panel.fires)
        cuts = np.cumsum(arrays[f'count{p}'])[:-1]
        assert [[meta['vocabulary'][t] for t in o] for o in np.split(from_planes(arrays[f'token{p}']), cuts)] == panel.labels
        assert np.abs(arrays[f'share{p}']/255 - [x for o in panel.shares for x in o]).max(initial=0) <= .5/51 + 1e-6
        assert np.array_equal(arrays[f'cluster{p}'], panel.cluster) and about['explanations'] == [o or '' for o in panel.explanations]
        assert (about['rows'], about['total'], about['missing']) == ('spans', 2**32, 0)
        q, span = np.stack([from_planes(arrays[f'{o}{p}']) for o in 'xy'], 1), np.ptp(panel.xy, axis=0).max()
        back = (q - q.min(0))/65535 if n == 1 else (q - q.min(0))*[1, -1]/65535 + [0, (q[:, 1].max() - q[:, 1].min())/65535]
        assert np.abs(back - (panel.xy - panel.xy.min(0))/(span or 1)).max() < 1/65535
    a = np.repeat(panels[0].ids, arrays['degree0'])
    b = panels[1].ids[from_planes(arrays['b0'])]
    assert meta['pairs'][0]['given'] == 'span'
    rows = [np.flatnonzero((part.a == x) & (part.b == y)) for x, y in zip(a, b)]
    near = lambda packed, given, tol: all(np.any(np.abs(given[r] - v) <= tol) if np.isfinite(v) else np.isnan(given[r]).any() for v, r in zip(packed, rows))
    hundredths = lambda key: np.where(arrays[key] == 0, np.nan, (arrays[key] - 101.)/100)
    assert near(hundredths('score0'), part.score, .0051) and near(hundredths('within0'), part.within, .0051)
    q = from_planes(arrays['q0'])
    assert near(np.where(q == 0, np.nan, (q - 1)/1000), part.q, .00101) and all(np.isin(f, pair_flags(part)[r]) for f, r in zip(arrays['flags0'], rows))

def test_planes_hold_the_largest_numbers():
    for top, width in ((0, 2), (65535, 2), (65536, 3), (2**24 - 1, 3), (2**24, 4), (2**32 - 1, 4)):
        got = planes(np.array([0, top]))
        assert len(got) == width and from_planes(got).tolist() == [0, top]
    assert planes([]).shape == (2, 0) and planes([5], 4).tolist() == [[5], [0], [0], [0]]

def test_columns_of_every_kind():
    values = dict(whole=np.array([1, 2, 3, 4]), real=[.5, None, float('nan'), -2], flag=[True, False, None, True], flags=np.array([True, False, False, False]), text=['a', 'b', None, 'b'],
                  fixed=np.array(['x', 'yy', 'x', 'z']), series=pd.Series([1., 2, np.nan, 4]), ordered=pd.Categorical(['low', 'high', None, 'low'], ['low', 'mid', 'high'], ordered=True),
                  strings=pd.Series(['p', None, 'q', 'q']), nothing=[None]*4, same=[7.]*4, small=np.array([1, 0, 1, 1], np.int8), half=np.array([1, 2, 3, 4], np.float16))
    one, two = panel('A', 4, columns=values), panel('B', 2, columns=dict(text=['c', 'b'], real=[10, 0]))
    arrays, meta = unpack(LinkedMap([one, two]).payload)
    about = {o['name']: (c, o) for c, o in enumerate(meta['columns'])}
    def back(name, p=0):
        c, o = about[name]
        raw = arrays[f'col{c}_{p}']
        codes = raw.astype(int) if raw.ndim == 1 else from_planes(raw)
        none = 255 if raw.ndim == 1 else 65535
        if o['kind'] == 'category': return [None if v == none else o['categories'][v] for v in codes]
        return [None if v == none else round(o['low'] + v*(o['high'] - o['low'])/65534, 3) for v in codes]
    assert back('whole') == [1, 2, 3, 4] and back('real') == [.5, None, None, -2] and back('real', 1) == [10, 0] and back('series') == [1, 2, None, 4]
    assert (about['real'][1]['low'], about['real'][1]['high']) == (-2, 10) and back('same') == [7]*4 and back('nothing') == [None]*4 and back('small') == [1, 0, 1, 1]
    assert back('flag') == ['yes', 'no', None, 'yes'] and back('flags') == ['yes', 'no', 'no', 'no'] and back('fixed') == ['x', 'yy', 'x', 'z'] and back('strings') == ['p', None, 'q', 'q']
    assert back('text') == ['a', 'b', None, 'b'] and back('text', 1) == ['c', 'b'] and about['text'][1]['categories'][0] == 'b'       # most common first, over both panels
    assert back('ordered') == ['low', 'high', None, 'low'] and about['ordered'][1]['categories'] == ['low', 'mid', 'high']               # the order that was given
    assert f'col{about["whole"][0]}_1' not in arrays and back('half') == [1, 2, 3, 4]

def test_columns_of_pandas_with_gaps_and_of_torch():
    torch = pytest.importorskip('torch')
    got = panel('A', 3, columns=dict(i=pd.Series([1, None, 3], dtype='Int64'), s=pd.Series(['a', None, 'b'], dtype='string'), b=pd.Series([True, None, False], dtype='boolean'),
                                     t=torch.tensor([1, 2, 3]), h=torch.tensor([1., 2, float('nan')], dtype=torch.bfloat16), f=torch.tensor([True, False, True]))).columns
    assert np.array_equal(got['i'].values, [1, np.nan, 3], equal_nan=True) and got['s'].values.tolist() == [0, -1, 1] and got['b'].categories == ('no', 'yes')
    assert got['t'].values.tolist() == [1, 2, 3] and np.isnan(got['h'].values[2]) and got['f'].values.tolist() == [0, 1, 0]

def test_many_categories_take_two_bytes_and_too_many_are_refused():
    one = panel('A', 300, columns=dict(c=[f'n{i}' for i in range(299)] + [None]))
    arrays, about = column_arrays([one])
    assert arrays['col0_0'].shape == (2, 300) and from_planes(arrays['col0_0'])[-1] == 65535 and len(about[0]['categories']) == 299
    assert column_arrays([panel('A', 254, columns=dict(c=[f'n{i}' for i in range(254)]))])[0]['col0_0'].dtype == np.uint8
    with pytest.raises(FeatgeomError, match='65,536 categories'): column_arrays([Panel('A', np.zeros((65536, 2)), columns=dict(c=[f'n{i}' for i in range(65536)]))])
    with pytest.raises(FeatgeomError, match='One kind'): LinkedMap([panel('A', 2, columns=dict(c=['a', 'b'])), panel('B', 2, columns=dict(c=[1, 2]))])

@pytest.mark.parametrize('columns, says', [
    ({'score': [1, 2]}, "named 'score'"), ({'density': [1, 2]}, 'density'), ({'rate': [1, 2]}, 'rate'), ({'cluster of A': [1, 2]}, 'cluster of'), ({'': [1, 2]}, "named ''"),
    ({3: [1, 2]}, 'named 3'), ({'c': [1]}, '1 values of column'), ({'c': [1, 'a']}, 'number, string'), ({'c': [True, 1]}, 'boolean, number'), ({'c': [[], 1]}, 'other things'),
    ({'c': [1, np.inf]}, 'Inf'), ({'c': [1, 10**400]}, 'Take logarithms'), ({'c': 'ab'}, 'of type str'), ({'c': np.zeros((2, 2))}, 'shape (2, 2)'), ({'c': [1j, 2]}, 'other things'), ({'c': {1: 2}}, 'of type dict'),
    ({'c': np.array(['2020', '2021'], 'M8[Y]')}, 'other things'), ([1, 2], 'columns of type list'), ({'c': None}, 'NoneType')])
def test_columns_refuse(columns, says):
    with pytest.raises(FeatgeomError) as e: panel('A', 2, columns=columns)
    assert says in str(e.value)

@pytest.mark.parametrize('more, says', [
    (dict(shares=np.ones((3, 1))), 'shape (3, 1)'), (dict(shares=np.ones((2, 2))), 'shape (2, 2)'), (dict(shares=[[1, 0]]*2), '2 shares'), (dict(shares=[[1]]*3), 'not as many'),
    (dict(shares=[[1, 0], [1, 0], [1, 2]]), 'that are none'), (dict(shares=[[1, 0], [1, 0], [1, np.nan]]), 'that are none'), (dict(shares=[['a', 'b']]*3), 'Real numbers'),
    (dict(labels=None, shares=[[]]*3), 'without labels'), (dict(explanations=['a']), '1 explanations'), (dict(explanations=['a', 3, None]), 'type int'), (dict(rows=''), "rows=''"),
    (dict(rows=3), 'rows=3'), (dict(total=-1), 'total=-1'), (dict(total=5, fires=[1, 2, 6]), 'fires 6 times'), (dict(total=2.5, fires=[1, 2, 6]), 'total=2.5'),
    (dict(labels=[['a']*256, 'b', 'c']), '256 tokens'), (dict(fires=[-1, 0, 2]), 'no whole numbers'), (dict(cluster=[0, 0, -2], cluster_labels=('a',)), 'no whole numbers'),
    (dict(cluster=[0, 0, 0], cluster_labels=(3,)), 'type int'), (dict(ids=[0, 1, 2**31]), 'no whole numbers')])
def test_panels_refuse_more(more, says):
    with pytest.raises(FeatgeomError) as e: panel('A', 3, **more)
    assert says in str(e.value)

def test_labels_may_have_up_to_255_tokens():
    one = panel('A', 2, labels=[[f't{i}' for i in range(255)], []])
    arrays, meta = unpack(LinkedMap([one]).payload)
    assert arrays['count0'].tolist() == [255, 0] and len(meta['vocabulary']) == 255

def test_shares_follow_short_labels():
    one = Panel('A', np.eye(2), [['a', 'b'], ['c']], shares=np.array([[.6, .3, 0], [1, 0, 0]]))
    assert unpack(LinkedMap([one]).payload)[0]['share0'].tolist() == [155, 75, 255]

def test_ids_alone_are_a_map():
    arrays, meta = unpack(LinkedMap([Panel('A', np.eye(2)), Panel('B', np.eye(2))]).payload)
    assert {'count0', 'token0', 'fires0', 'cluster0', 'share0'}.isdisjoint(arrays) and from_planes(arrays['id0']).tolist() == [0, 1] and meta['vocabulary'] == []

# ---- places

def test_features_without_a_place_are_left_out_and_counted():
    xy = np.random.default_rng(0).normal(size=(6, 2))
    xy[[1, 4]] = np.nan
    left = Panel('A', xy, list('abcdef'), np.arange(6)*2, fires=np.arange(6), cluster=[0]*6, cluster_labels=('c',), columns=dict(v=np.arange(6), w=list('uvwxyz')), shares=np.ones((6, 1)),
                 explanations=list('ABCDEF'))
    w = LinkedMap([left, panel('B', 3)], make_pairs([0, 2, 4], [0, 1, 2], [.9, .8, .7]))
    arrays, meta = unpack(w.payload)
    assert np.cumsum(from_planes(arrays['id0'])).tolist() == [0, 4, 6, 10] and from_planes(arrays['fires0']).tolist() == [0, 2, 3, 5]
    assert meta['panels'][0]['missing'] == 2 and meta['panels'][1]['missing'] == 0 and meta['panels'][0]['explanations'] == list('ACDF')
    assert '2 features of A have no place' in meta['notes'][0] and '1 pairs of features that are not drawn' in meta['notes'][1]
    assert meta['pairs'][0]['off_map'] == 1 and (meta['columns'][0]['low'], meta['columns'][0]['high']) == (0, 5) and arrays['col1_0'].tolist() == [0, 2, 3, 5]
    with pytest.raises(FeatgeomError, match='Feature 2 '): w.selected = {'A': [2]}
    assert ET.fromstring(w.poster()) is not None and repr(w).startswith('LinkedMap(A 4 + B 3')
    none = LinkedMap([Panel('A', np.full((3, 2), np.nan)), panel('B', 3)], make_pairs([0], [0], [.5]))
    assert 'A 0 + B 3' in repr(none) and '0 of 1 pairs' in repr(none) and ET.fromstring(none.poster()) is not None

@pytest.mark.parametrize('xy', [[[1, np.inf]], [[np.nan, 1]], [[-np.inf, np.nan]], [[0, 0], [np.inf, np.inf]]])
def test_half_a_place_is_refused(xy):
    with pytest.raises(FeatgeomError, match='Inf or half a NaN in 1 of'): Panel('A', np.array(xy, float))

@pytest.mark.parametrize('xy', [np.zeros((0, 2)), np.ones((1, 2)), np.full((5, 2), 3.), np.array([[1e308, -1e308], [-1e308, 1e308]]), np.array([[5e-324, 0], [0, 0]]), np.arange(6).reshape(3, 2)],
                         ids=['empty', 'one', 'equal', 'huge', 'tiny', 'whole'])
def test_odd_pictures_pack(xy):
    w = LinkedMap([Panel('A', xy), Panel('B', xy)], make_pairs([], [], []))
    arrays, _ = unpack(w.payload)
    assert arrays['x0'].shape == (2, len(xy)) and ET.fromstring(w.poster()) is not None
    if len(np.unique(xy, axis=0)) > 1: assert max(from_planes(arrays['x0']).max(), from_planes(arrays['y0']).max()) == 65535

def test_very_many_points_are_on_a_coarser_grid_and_the_page_says_so():
    w = LinkedMap([Panel('A', np.random.default_rng(0).normal(size=(300_001, 2)))])
    arrays, meta = unpack(w.payload)
    assert set(np.unique(from_planes(arrays['x0']) % 8)) == {0} and 'has 8,192 steps' in meta['notes'][0]

# ---- what Python takes from users and pages

def talking(several=False):
    "A map with a column and clusters, its pairs, and what it sends."
    left = panel('A', 5, ids=[2, 3, 5, 7, 11], cluster=[0, 0, 1, 1, -1], cluster_labels=('x', 'y'), columns=dict(concept=list('aabbc')))
    right, third = panel('B', 4), panel('C', 3)
    one = real_pairs([2, 2, 3, 5, 7], [0, 1, 1, 2, 3], [.5, .9, .4, .3, .2])
    w = LinkedMap([left, right, third], {(0, 1): one, (2, 0): real_pairs([0, 1], [2, 11], [.6, .7])}) if several else LinkedMap([left, right], one)
    w.sent = []
    w.send = lambda content, buffers=None: w.sent.append(json.loads(json.dumps(content, allow_nan=False)))
    return w

GOOD_VIEW = dict(places={'A': [.5, .25, 2], 'B': (0, 1, 1)}, min=.25, hide_same=True, colour='concept', size='cluster of A', outline='', off=['link:alone', 'link:untested', 'cat:a', 'cat:a', 'rest:', 'none:'], boxes=False)

def test_searches_and_view_are_taken_as_they_are_meant():
    w = talking()
    w.searches = [dict(text='king'), dict(text='^a', mode='regex', most=True)]
    assert w.searches == [dict(text='king', mode='token', most=False), dict(text='^a', mode='regex', most=True)]
    w.view = GOOD_VIEW
    assert w.view == {**GOOD_VIEW, 'places': {'A': [.5, .25, 2.], 'B': [0., 1., 1.]}, 'off': ['link:alone', 'link:untested', 'cat:a', 'rest:', 'none:']}
    w.view = dict(min=np.float32(.5))
    assert json.dumps(w.view) == '{"min": 0.5}'
    w.view, w.searches = {}, []
    state = w.get_state(['view', 'searches', 'selected', 'hovered', 'pinned'])
    assert state == dict(view={}, searches=[], selected={}, hovered=None, pinned=[])

@pytest.mark.parametrize('value, says', [
    ([dict(text='a')]*7, '7 searches'), (['king'], 'type str'), ([dict()], 'type NoneType'), ([dict(text=3)], 'type int'), ([dict(text='a', mode='fuzzy')], 'token, part'), ([dict(text='a', mode=[])], 'token, part'),
    ([dict(text='a', most='yes')], 'type str'), ([dict(text='a', kind=1)], "with 'kind'"), ([dict(text='a'*201)], '201 characters'), ([None], 'NoneType')])
def test_searches_refuse(value, says):
    w = talking()
    with pytest.raises(FeatgeomError) as e: w.searches = value
    assert says in str(e.value) and w.searches == []

@pytest.mark.parametrize('value, says', [
    (dict(zoom=1), "with 'zoom'"), (dict(places=[]), 'type list'), (dict(places={'Z': [0, 0, 1]}), "Panel 'Z'"), (dict(places={'A': [0, 0]}), '2 numbers'), (dict(places={'A': [0, 0, 0]}), 'zoom 0'),
    (dict(places={'A': [np.nan, 0, 1]}), 'x nan'), (dict(places={'A': [0, 5, 1]}), 'y 5'), (dict(places={'A': [0, '0', 1]}), "y '0'"), (dict(places={'A': 'abc'}), 'type str'), (dict(min=2), 'min 2'),
    (dict(min=None), 'min None'), (dict(min=True), 'min True'), (dict(hide_same=1), 'hide_same of type int'), (dict(colour='consept'), 'nearest: concept'), (dict(colour=None), 'colour=None'),
    (dict(size='cluster of B'), "'cluster of A'"), (dict(outline=['concept']), "outline=['concept']"), (dict(off='cat:a'), 'type str'), (dict(off=['cat']), 'Use one') , (dict(off=['link:x']), 'link:alone'), (dict(off=['none:x']), 'none:, cat:NAME'),
    (dict(off=[3]), '3'), (dict(boxes='no'), 'boxes of type str'), ({3: 4}, 'with 3')])
def test_view_refuses(value, says):
    w = talking()
    with pytest.raises(FeatgeomError) as e: w.view = value
    assert says in str(e.value) and w.view == {}

@pytest.mark.parametrize('key, value', [('selected', {'A': 3}), ('selected', {'A': ['2']}), ('selected', {'A': [True]}), ('selected', {'A': [2.]}), ('selected', {'A': [2**70]}), ('selected', {3: [2]}), ('selected', {'A': None}),
                                        ('selected', {'A': [[2]]}), ('hovered', ['A', True]), ('hovered', ['A', 2, 3]), ('hovered', [[], 2]), ('pinned', [2]), ('pinned', [None]), ('pinned', [{'A': 2}]), ('pinned', ['A2'])])
def test_spots_refuse_in_our_words(key, value):
    w = talking()
    with pytest.raises(FeatgeomError): setattr(w, key, value)

def test_pins_count_once_and_none_is_refused():
    w = talking()
    w.pinned = [['A', 2], ('A', 2), ['B', 1]]
    assert w.pinned == [['A', 2], ['B', 1]]
    for key in ('selected', 'pinned', 'searches', 'view'):
        with pytest.raises(FeatgeomError): setattr(w, key, None)
    w.view = dict(off=(o for o in ('link:alone', 'none:')))
    assert w.view == dict(off=['link:alone', 'none:']) and repr(w)
    many = LinkedMap([panel('A', 300)])
    many.pinned = [['A', i] for i in range(200)]
    with pytest.raises(FeatgeomError, match='At most 200'): many.pinned = [['A', i] for i in range(201)]

def test_keys_that_have_nothing_to_show_are_refused():
    for key in ('score', 'rate'):
        with pytest.raises(FeatgeomError, match=key): LinkedMap([panel('A', 3)], colour=key)
    assert LinkedMap([panel('A', 3, fires=[1, 2, 3]), panel('B', 3)], {(np.int64(0), np.int32(1)): make_pairs([0], [0], [.5])}, colour='rate', size='score').pairs.keys() == {(0, 1)}
    for wrong in (dict(meta=3), dict(meta=None)):
        with pytest.raises(FeatgeomError, match='meta'): LinkedMap([panel('A', 3), panel('B', 3)], SimpleNamespace(**vars(make_pairs([0], [0], [.5])) | wrong))

def test_empty_text_is_missing():
    got = panel('A', 4, columns=dict(c=['', 'a', '', None], d=pd.Categorical(['x', '', 'y', None], ['x', '', 'y']))).columns
    assert got['c'].values.tolist() == [-1, 0, -1, -1] and got['c'].categories == ('a',) and got['d'].values.tolist() == [0, -1, 1, -1] and got['d'].categories == ('x', 'y')

@pytest.mark.parametrize('key', ['colour', 'size', 'outline'])
def test_what_a_map_starts_with(key):
    one = [panel('A', 3, columns=dict(c=[1, 2, 3])), panel('B', 3)]
    assert unpack(LinkedMap(one, **{key: 'c'}).payload)[1]['start'] == {'colour': '', 'size': '', 'outline': '', key: 'c'}
    with pytest.raises(FeatgeomError, match='nearest|valid'): LinkedMap(one, **{key: 'd'})
    assert unpack(talking().payload)[1]['start'] == dict(colour='cluster of A', size='', outline='')

def test_selected_pairs_are_those_with_an_end_in_the_selection():
    w = talking()
    assert isinstance(w.selected_pairs, Pairs) and len(w.selected_pairs) == 0
    w.selected = {'A': [3, 7]}
    assert list(zip(w.selected_pairs.a, w.selected_pairs.b)) == [(3, 1), (7, 3)]
    w.selected = {'A': [3], 'B': [1, 2]}
    assert list(zip(w.selected_pairs.a, w.selected_pairs.b)) == [(2, 1), (3, 1), (5, 2)]
    w = talking(several=True)
    w.selected = {'A': [2, 11]}
    got = w.selected_pairs
    assert list(got) == [(0, 1), (2, 0)] and [len(o) for o in got.values()] == [2, 2] and got[2, 0].a.tolist() == [0, 1]
    assert LinkedMap([panel('A', 2)]).selected_pairs == {}

def test_a_page_may_ask_for_all_partners():
    w = talking(several=True)
    w._handle_custom_msg(dict(ask='partners', panel='A', id=2), [])
    got = w.sent[0]['partners']
    assert (got['panel'], got['id']) == ('A', 2) and [(o['set'], o['other'], o['score']) for o in got['of']] == [(0, 1, .9), (1, 0, .6), (0, 0, .5)]
    assert got['of'][0] == dict(set=0, other=1, score=.9, null=.1, q=.01, within=.3, flags=12)
    w._handle_custom_msg(dict(ask='partners', panel='B', id=1), [])
    assert [(o['set'], o['other']) for o in w.sent[1]['partners']['of']] == [(0, 2), (0, 3)]
    w._handle_custom_msg(dict(ask='partners', panel='C', id=2), [])
    assert w.sent[2]['partners']['of'] == []

@pytest.mark.parametrize('content', [None, [], 'ask', {}, dict(ask='partners'), dict(ask='partners', panel='Z', id=1), dict(ask='partners', panel='A', id=4), dict(ask='partners', panel='A', id='2'),
                                     dict(ask='partners', panel='A', id=None), dict(ask='partners', panel=['A'], id=2), dict(ask='partners', panel='A', id=2**80), dict(ask='partners', panel='A', id=float('nan')),
                                     dict(ask='partners', panel='A', id=True), dict(ask=['partners'], panel='A', id=2), dict(ask='all', panel='A', id=2)], ids=str)
def test_nonsense_gets_no_answer_and_raises_nothing(content):
    w = talking()
    w._handle_custom_msg(content, [b'bytes'])
    assert w.sent == []

def test_an_answer_is_json_and_at_most_200_long_and_of_drawn_features():
    n = 400
    part = make_pairs(np.zeros(n, int), np.arange(n), np.linspace(-1, 1, n), null=np.full(n, np.nan), q=np.full(n, np.nan), within=np.full(n, np.nan))
    w = LinkedMap([panel('A', 2), panel('B', 300)], part)
    said = []
    w.send = lambda content, buffers=None: said.append(json.dumps(content, allow_nan=False))
    w._handle_custom_msg(dict(ask='partners', panel='A', id=0), [])
    of = json.loads(said[0])['partners']['of']
    assert len(of) == 200 and of[0]['other'] == 299 and of[0]['null'] is None and of[0]['within'] is None and [o['score'] for o in of] == sorted([o['score'] for o in of], reverse=True)

# ---- which pairs stay, and how large pages are

def slow_keep(a, b, score, limit):
    keep, degree = [False]*len(a), ({}, {})
    order = sorted(range(len(a)), key=lambda i: -score[i])
    for best in (True, False):
        for i in order:
            x, y = degree[0].get(a[i], 0), degree[1].get(b[i], 0)
            if keep[i] or (min(x, y) >= 1 if best else max(x, y) >= limit): continue
            keep[i], degree[0][a[i]], degree[1][b[i]] = True, x + 1, y + 1
    return keep

@pytest.mark.parametrize('seed', range(8))
def test_kept_pairs_are_those_of_a_slow_reference(seed):
    rng = np.random.default_rng(seed)
    n, m = int(rng.integers(1, 60)), int(rng.integers(0, 800))
    a, b, score = rng.integers(0, n, m), rng.integers(0, n, m), np.round(rng.normal(size=m), 1)       # with ties
    for limit in (1, 2, 5): assert keep_pairs(a, b, score, limit).tolist() == slow_keep(a.tolist(), b.tolist(), score.tolist(), limit)

def test_points_of_is_a_dictionary():
    rng = np.random.default_rng(0)
    one = panel('A', 500, ids=rng.choice(2000, 500, replace=False))
    where = {int(id): i for i, id in enumerate(one.ids)}
    asked = rng.integers(-5, 2100, 3000)
    assert points_of(one, asked).tolist() == [where.get(int(o), -1) for o in asked]
    assert points_of(Panel('A', np.zeros((0, 2))), [1, 2]).tolist() == [-1, -1]

def test_a_feature_that_is_the_best_of_very_many_keeps_them_all():
    n = 70_000
    part = make_pairs(np.zeros(n, int), np.arange(n), np.full(n, .5))
    arrays, meta = unpack(LinkedMap([Panel('A', np.zeros((2, 2))), Panel('B', np.zeros((n, 2)))], part).payload)
    assert arrays['degree0'].tolist() == [n, 0] and from_planes(arrays['b0']).tolist() == list(range(n)) and meta['pairs'][0]['kept'] == n

def test_code_budget(): assert len(built('linkedmap.js').encode()) <= 100_000

@pytest.mark.parametrize('n, partners, shares, most', [(16_384, 10, False, 1e6), (16_384, 3, True, 1e6), (65_536, 3, True, 4e6)])
def test_page_budget(n, partners, shares, most):
    "Features with three tokens each of 20,000, and so many pairs each of which three stay."
    rng = np.random.default_rng(0)
    common, m = 1/(np.arange(20000) + 10)**.8, partners*n
    words = np.array([''.join(rng.choice(list('etaoinshrdlucmfwyp'), rng.integers(2, 9))) for _ in range(20000)])
    draw = lambda: dict(labels=words[rng.choice(20000, (n, 3), p=common/common.sum())].tolist(), shares=-np.sort(-rng.dirichlet((1, 1, 1, 3), n)[:, :3]) if shares else None)
    panels = [Panel(o, rng.normal(size=(n, 2)), **draw(), fires=rng.geometric(1/900, n), cluster=rng.integers(-1, 60, n), cluster_labels=('a b c',)*60) for o in 'AB']
    a, b, score = np.repeat(np.arange(n), partners), rng.integers(0, n, m), rng.beta(2, 3, m)
    part = make_pairs(a, b, score, within=np.clip(score*rng.uniform(-.1, 1, m), -1, 1), null=np.repeat(.05 + .2*rng.integers(0, 50, n)/50, partners),
                      q=np.where(np.arange(m) % partners, np.nan, np.round(rng.uniform(0, 1, m)**4, 3)), token_only=rng.random(m) < .2)
    w = LinkedMap(panels, part)
    assert 2*n < w._sets[0]['kept'] < 3*n and len(w.page().encode()) <= most

@pytest.mark.slow
def test_page_budget_of_a_million():
    "2 x 1,000,000 features with ids alone and three pairs each, of which the best stay: at most 20 MB."
    rng, n = np.random.default_rng(0), 10**6
    part = make_pairs(np.repeat(np.arange(n), 3), rng.integers(0, n, 3*n), rng.beta(2, 3, 3*n), null=np.repeat(.05 + .2*rng.integers(0, 50, n)/50, 3),
                      within=rng.uniform(-.1, .9, 3*n), q=np.where(np.arange(3*n) % 3, np.nan, np.round(rng.random(3*n)**4, 3)), token_only=rng.random(3*n) < .2)
    w = LinkedMap([Panel(o, rng.normal(size=(n, 2))) for o in 'AB'], part, partners=1)
    assert n < w._sets[0]['kept'] < 2*n and len(w.page().encode()) <= 20e6
