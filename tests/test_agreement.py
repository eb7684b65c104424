"Guarantees of agreement.py: naive loops, known answers, calibration, every kind of store, bad input."
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from featgeom import agreement
from featgeom.acts import FeatureActs, Rows
from featgeom.agreement import CHANCE, agree, held_out
from featgeom.core import FeatgeomError, generator
from featgeom.features import token_labels, top_tokens
from featgeom.matching import match, rescore

N, WORDS = 3000, 30


def text_rows(rng, n=N, length=25):
    return Rows(doc=np.arange(n)//length, pos=np.arange(n) % length, token_id=rng.integers(WORDS, size=n))


def bursts(rng, n, share, stay=.9):
    "Where an independent sticky feature fires; no burst goes on in the next document."
    move = rng.random(n) > stay
    move[::25] = True
    return (rng.random(move.sum()) < share)[np.cumsum(move) - 1]


def sticky(rng, n, shares): return np.stack([bursts(rng, n, s)*rng.gamma(4, .25, n) for s in shares], 1)


def two_stores(seed=0, f=12, n=N, **how):
    "Features of which the first four pairs are planted: alike, same rows, half of the rows, tied strengths."
    rng = generator(seed)
    rows, tokens = text_rows(rng, n), {k: f' w{k}' for k in range(WORDS)}
    x, y = (sticky(rng, n, np.linspace(.05, .2, f)) for _ in range(2))
    y[:, 0] = 3*x[:, 0]
    y[:, 1] = (x[:, 1] > 0)*rng.gamma(4, .25, n)
    y[:, 2] = x[:, 2]*(rng.random(n) < .5)
    x[:, 3], y[:, 3] = np.round(x[:, 3]), np.round(2*x[:, 3] + (x[:, 3] > 0)*rng.normal(0, .5, n)).clip(0)
    return [FeatureActs.from_csr(o, rows=rows, name=name, tokens=tokens) for o, name in ((x, 'A'), (y, 'B'))]


def of_all(a, b, **how):
    "Every pair of features, in rows of a match."
    return match(a, b, **{**dict(k=b.n_features, min_fires=1, null=None, given=None), **how})


@pytest.fixture(scope='module')
def stores(): return two_stores()


@pytest.fixture(scope='module')
def pairs(stores): return of_all(*stores)


@pytest.fixture(scope='module')
def agreed(stores, pairs): return agree(pairs, *stores, labels=[token_labels(o, 4) for o in stores])


def level(draws): return np.sort(draws)[min(len(draws), int(np.ceil(.95*(len(draws) + 1) - 1e-9))) - 1]


# values --------------------------------------------------------------------------------------------------------------

def test_values_equal_naive_loops(stores, pairs, agreed):
    u, v = (o.csr().toarray().astype(float) for o in stores)
    tops, labels = [top_tokens(o, 5).strings for o in stores], [token_labels(o, 4) for o in stores]
    for e, (a, b) in enumerate(zip(pairs.a, pairs.b)):
        x, y = u[:, a] != 0, v[:, b] != 0
        assert agreed.more['jaccard'][e] == pytest.approx((x & y).sum()/(x | y).sum())
        if (x & y).sum() >= 20:
            assert agreed.more['rank'][e] == pytest.approx(stats.spearmanr(u[x & y, a], v[x & y, b]).statistic, abs=1e-12)
        else: assert np.isnan(agreed.more['rank'][e])
        assert agreed.more['shared_tokens'][e] == len({*tops[0][a]} & {*tops[1][b]} - {''})
        p, q = (set(o.lower().replace('␣', '').split(' · ')) for o in (labels[0][a], labels[1][b]))
        p, q = ({w.rstrip('0123456789') for w in o} for o in (p, q))                  # words are letters
        assert agreed.more['label'][e] == len(p & q)/len(p | q)
    assert (~np.isnan(agreed.more['rank'])).sum() > 20


def test_levels_equal_naive_loops(stores, pairs):
    draws, seed = 25, 7
    got = agree(pairs, *stores, seed=seed, draws=draws)
    u, v = (o.csr().toarray().astype(float) for o in stores)
    rng = generator(seed)
    rng.integers(2**62)
    moves = agreement._moves(stores[0].rows, N, draws, rng)
    assert len(set(moves)) == draws and moves.min() >= 150
    for e, (a, b) in enumerate(zip(pairs.a, pairs.b)):
        x, y = u[:, a] != 0, v[:, b] != 0
        null = [(x & np.roll(y, s)).sum() for s in moves]
        c = level(null)
        assert got.more['jaccard_chance'][e] == pytest.approx(c/(x.sum() + y.sum() - c))
        m = (x & y).sum()
        if m < 20: continue
        p, q = stats.rankdata(u[x & y, a]), stats.rankdata(v[x & y, b])
        count = min(draws, m - 1)
        null = [np.corrcoef(p, np.roll(q, -(1 + k*(m - 1)//count)))[0, 1] for k in range(count)]
        assert got.more['rank_chance'][e] == pytest.approx(level(null), abs=1e-12)


def test_known_answers(agreed):
    at = {(a, b): e for e, (a, b) in enumerate(zip(agreed.a, agreed.b))}
    more = {o: v[[at[k, k] for k in range(4)]] for o, v in agreed.more.items()}
    assert more['jaccard'][[0, 1]].tolist() == [1, 1] and more['jaccard'][2] == pytest.approx(.5, abs=.08)
    assert more['rank'][[0, 2]] == pytest.approx(1) and abs(more['rank'][1]) < .25 and .5 < more['rank'][3] < .9
    assert (more['jaccard'] > more['jaccard_chance']).all() and (more['rank'][[0, 2]] > more['rank_chance'][[0, 2]]).all()
    assert more['shared_tokens'][0] == 5 and more['label'][0] == 1
    assert set(agreed.more) >= {f'{o}_chance' for o in CHANCE} - {'held_chance'}


def test_a_pair_has_the_same_numbers_in_any_list(stores, pairs, agreed):
    labels = [token_labels(o, 4) for o in stores]
    rows = np.array([7, 3, 50])
    some = agree(pairs[rows], *stores, labels=labels)
    for o, v in agreed.more.items(): assert np.array_equal(v[rows], some.more[o], equal_nan=True)
    small = agree(pairs, *stores, labels=labels, memory=2**20)
    for o, v in agreed.more.items(): assert np.array_equal(v, small.more[o], equal_nan=True)
    none = agree(pairs[:0], *stores, labels=labels)
    assert len(none) == 0 and set(none.more) == set(agreed.more)
    assert len(held_out(none, *stores).more['held']) == 0


def test_neighbours_in_rate_are_what_a_partner_is_compared_with(stores, pairs):
    fires = generator(0).permutation(1000)
    more = replace(pairs, b=np.arange(len(pairs), dtype=np.int32) + 100)
    able = np.ones(1000, bool)
    able[::7] = False
    other = agreement._others(more, fires, able, 30, 5)
    assert other.shape == (len(pairs), 30) and able[other].all() and (other != more.b[:, None]).all()
    assert np.abs(fires[other] - fires[more.b][:, None]).max() < 250
    assert len(np.unique(other)) > 200
    assert agreement._others(more, fires, able & (np.arange(1000) == 500), 30, 5).shape == (len(pairs), 0)


def test_what_cannot_be_asked_is_nan(stores):
    a, b = stores
    x = a.csr().toarray()
    x[:, 5] = 0
    dead = FeatureActs.from_csr(x, rows=a.rows, name='A', tokens=a.tokens)
    pairs = of_all(a, b)
    got = agree(pairs, dead, b, labels=([''] + ['x']*11, ['x']*12))
    gone = pairs.a == 5
    for o in ('rank', 'shared_tokens', 'rank_chance'): assert np.isnan(got.more[o][gone]).all()
    assert (got.more['jaccard'][gone] == 0).all() and not np.isnan(got.more['jaccard']).any()
    assert np.isnan(got.more['label'][pairs.a == 0]).all() and (got.more['label'][pairs.a > 0] == 1).all()
    bare = [FeatureActs.from_csr(o.csr(), rows=Rows(doc=a.rows.doc)) for o in stores]
    assert set(agree(pairs, *bare).more) == {'jaccard', 'jaccard_chance', 'rank', 'rank_chance'}
    dense = [FeatureActs.from_dense(o.csr().toarray(), rows=a.rows, name=o.name, tokens=o.tokens) for o in stores]
    got = agree(pairs, *dense)
    assert np.isnan(got.more['jaccard']).all() and np.isnan(got.more['jaccard_chance']).all()
    assert got.more['rank'][(pairs.a == 0) & (pairs.b == 0)] == pytest.approx(1)


def test_too_little_text_for_shifts_has_no_level():
    a, b = two_stores(1, n=30)
    got = agree(of_all(a, b), a, b)
    assert np.isnan(got.more['jaccard_chance']).all() and not np.isnan(got.more['jaccard']).any()


def test_stored_and_indexed_stores_give_the_same(stores, pairs, agreed, tmp_path):
    kept = []
    for o in stores:
        o.save(tmp_path/o.name)
        kept.append(FeatureActs.open(tmp_path/o.name).index())
    got = agree(pairs, *kept)
    for o in got.more: assert np.allclose(got.more[o], agreed.more[o], atol=2e-3, equal_nan=True)
    held, again = held_out(pairs, *stores).more, held_out(pairs, *kept).more
    assert np.allclose(held['held'], again['held'], atol=2e-3)


# chance --------------------------------------------------------------------------------------------------------------

def test_five_percent_of_independent_pairs_lie_above_each_level():
    "Bursty features in documents, paired beforehand; rates from 2 to 30 %."
    over = {o: [] for o in CHANCE}
    for seed in range(8):
        rng = generator(100 + seed)
        rows = text_rows(rng)
        stores = [FeatureActs.from_csr(sticky(rng, N, np.exp(np.linspace(np.log(.02), np.log(.3), 120))), rows=rows,
                                       tokens={k: f'w{k}' for k in range(WORDS)}) for _ in 'AB']
        pairs = of_all(*stores)
        pairs = pairs[pairs.b == generator(seed).permutation(120)[pairs.a]]
        labels = [[' '.join(rng.choice(list('abcdefghijklm'), 4, replace=False)) for _ in range(120)] for _ in 'AB']
        got = held_out(agree(pairs, *stores, labels=labels, seed=seed), *stores, seed=seed).more
        for o in CHANCE: over[o] += (got[o] > got[o + '_chance'])[~np.isnan(got[o])].tolist()
    share = {o: np.mean(v) for o, v in over.items()}
    for o in ('jaccard', 'rank', 'held'): assert share[o] == pytest.approx(.05, abs=.022), share
    for o in ('shared_tokens', 'label'): assert share[o] < .072, share


# held out ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('metric', ['correlation', 'jaccard'])
def test_held_out_equals_a_match_and_a_rescore_of_the_halves(stores, metric):
    pairs = of_all(*stores, metric=metric, min_fires=20)
    got = held_out(pairs, *stores, seed=3)
    fit = agreement._halves(stores[0].rows, generator(3))
    docs = stores[0].rows.doc
    assert not set(docs[fit]) & set(docs[~fit]) and abs(fit.mean() - .5) < .1
    first, second = ([o.select(keep) for o in stores] for keep in (fit, ~fit))
    assert np.allclose(got.more['held'], rescore(pairs, *second)) and np.allclose(got.more['held_fit'], rescore(pairs, *first))
    half = of_all(*first, metric=metric, min_fires=10, k=1).best()
    best = dict(zip(half.a.tolist(), half.b.tolist()))
    assert got.more['held_same'].tolist() == [best[a] == b for a, b in zip(pairs.a.tolist(), pairs.b.tolist())]
    theirs = dict(zip(half.a.tolist(), rescore(half, *second)))
    assert np.allclose(got.more['held_best'], [theirs[a] for a in pairs.a.tolist()])
    assert got.meta['held_out']['documents'] == [60, 60] and got.meta['held_out']['metric'] == metric


def test_pieces_of_one_document_are_in_one_half_and_shifts_are_longer_than_it(stores, pairs):
    pieces = 120
    joined = [o for o in range(pieces) if o % 6]                                   # 20 documents of 6 pieces, 150 rows
    whole = replace(pairs, meta={**pairs.meta, 'joined': joined})
    doc = stores[0].rows.doc//6
    long = [FeatureActs.from_csr(o.csr(), rows=Rows(doc=doc, pos=np.arange(N) % 150, token_id=o.rows.token_id), name=o.name) for o in stores]
    for measure in (held_out, agree):
        got, want = measure(whole, *stores, seed=1).more, measure(pairs, *long, seed=1).more
        for o in want: assert np.array_equal(got[o], want[o], equal_nan=True), o
    assert held_out(whole, *stores, seed=1).meta['held_out']['documents'] == [10, 10]
    assert not np.array_equal(held_out(pairs, *stores, seed=1).more['held'], held_out(whole, *stores, seed=1).more['held'])
    few = replace(pairs, meta={**pairs.meta, 'joined': [o for o in range(pieces) if o % 40]})
    with pytest.raises(FeatgeomError, match='3 documents'): held_out(few, *stores)


def test_set_phrases_of_counted_labels_are_no_agreement(stores, pairs):
    one, two = 'The 64 %, " 28 % | begins a sentence 10 of 10 | raises end', 'king 90 % | begins a sentence 9 of 10 | raises of'
    got = agree(pairs, *stores, labels=[[one]*12, [two]*6 + ['the queen']*3 + ['The 30 %, king 20 %']*3]).more['label']
    assert (got[pairs.b < 6] == 0).all() and (got[(pairs.b >= 6) & (pairs.b < 9)] == 0).all() and (got[pairs.b >= 9] == 1/3).all()


def test_held_chance_equals_a_naive_loop(stores, pairs):
    got = held_out(pairs, *stores, seed=4, draws=19)
    rng = generator(4)
    keep = ~agreement._halves(stores[0].rows, rng)
    moves = agreement._moves(stores[0].rows[keep], keep.sum(), 19, rng)
    u, v = (o.csr().toarray()[keep].astype(float) for o in stores)
    for e in range(0, len(pairs), 11):
        x, y = u[:, pairs.a[e]], v[:, pairs.b[e]]
        assert got.more['held_chance'][e] == pytest.approx(level([np.corrcoef(x, np.roll(y, s))[0, 1] for s in moves]))


def test_selection_is_gone_in_the_partner_of_the_fitting_half():                # T13
    rng = generator(5)
    rows = text_rows(rng, 6000)
    stores = [FeatureActs.from_csr(sticky(rng, 6000, np.full(150, .04)), rows=rows) for _ in 'AB']
    best = match(*stores, null=None, given=None).best()
    got = held_out(best, *stores).more
    assert best.score.mean() > .08 and got['held_fit'].mean() > .08
    assert abs(got['held_best'].mean()) < .012 < got['held'].mean()


def test_dense_stores_and_large_means(stores):
    rng = generator(6)
    shared = rng.normal(size=(N, 4))
    u, v = (np.float32(1e3 + shared + rng.normal(size=(N, 4))*.5) for _ in range(2))
    for make in (FeatureActs.from_dense, FeatureActs.from_csr):
        a, b = (make(o, rows=stores[0].rows) for o in (u, v))
        pairs = of_all(a, b)
        got = held_out(pairs, a, b, seed=0).more
        keep = ~agreement._halves(a.rows, generator(0))
        full = np.corrcoef(u[keep].astype(float).T, v[keep].astype(float).T)[:4, 4:]
        assert np.allclose(got['held'], full[pairs.a, pairs.b], atol=1e-6)
        assert np.abs(got['held_chance']).max() < .15 and got['held_same'][pairs.a == pairs.b].all()


def test_columns_of_both_are_kept(stores, pairs, agreed, tmp_path):
    both = held_out(agreed, *stores)
    assert set(both.more) == set(agreed.more) | {'held', 'held_chance', 'held_fit', 'held_best', 'held_same'}
    assert pairs.more == {} and both.meta['agreement']['draws'] == 39
    back = type(pairs).load(both.save(tmp_path/'p'))
    assert back.meta == both.meta and back.table()[list(both.columns)].equals(both.table())


# bad input -----------------------------------------------------------------------------------------------------------

def test_bad_input_is_refused_with_the_reason(stores, pairs):
    a, b = stores
    few = FeatureActs.from_csr(b.csr()[:, :5], rows=b.rows)
    cases = [(lambda: agree(pairs, a, few), 'same SAEs'), (lambda: held_out(pairs, a, few), 'same SAEs'),
             (lambda: agree(pairs, a, b.select(np.arange(100))), 'rows'), (lambda: agree(pairs, a, b, draws=18), 'draws'),
             (lambda: agree(pairs, a, b, tops=(1, 2)), 'tops'), (lambda: agree(pairs, a, b, tops=[top_tokens(o, 4) for o in (a, b)]), 'tops of 4'),
             (lambda: agree(pairs, b, a), 'Swap the two'), (lambda: held_out(pairs, b, a), 'Swap the two'), (lambda: rescore(pairs, b, a), 'Swap the two'), (lambda: agree(pairs, a, b, labels=(['a'], ['b'])), 'labels'),
             (lambda: agree(pairs, a, b, labels=([3]*12, ['b']*12)), 'text'),
             (lambda: agree(pairs, a, b, labels=(['a']*12,)), 'labels'), (lambda: agree(pairs, a, b, seed=None), 'seed'),
             (lambda: held_out(pairs, *(FeatureActs.from_csr(o.csr(), rows=Rows(doc=a.rows.doc//40)) for o in stores)), '3 documents'),
             (lambda: held_out(pairs, *(FeatureActs.from_csr(o.csr(), rows=Rows(pos=a.rows.pos)) for o in stores)), 'without documents')]
    for call, words in cases:
        with pytest.raises(FeatgeomError, match=words): call()


def test_hostile_labels_are_only_text(stores, pairs):
    hostile = ['</script><img onerror=x>', '\ud800\0', 'x'*10**5, '\u202e', '   ', '12 %', '']
    got = agree(pairs, *stores, labels=[(hostile*2)[:12]]*2)
    same = pairs.a % 7 == pairs.b % 7
    asked = ~np.isnan(got.more['label'])
    assert (got.more['label'][same & asked] == 1).all() and not asked[(pairs.a % 7 == 6) | (pairs.b % 7 == 4)].any()
