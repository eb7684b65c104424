"Guarantees of matching.py: naive equality, planted truths, traps, calibration, files, bad input."
import json

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import sparse, stats
from scipy.optimize import linear_sum_assignment

from featgeom.acts import FeatureActs, Rows
from featgeom.core import FeatgeomError, generator
from featgeom.matching import Pairs, _COLUMNS, assign, match, rescore
from featgeom.nulls import permutation_p
from featgeom.products import search, side, survey
from featgeom.within import row_groups, within_groups


def walk(rng, n, states, stay):
    "A sticky random walk over states."
    move = rng.random(n) > stay
    move[0] = True
    return rng.integers(states, size=move.sum())[np.cumsum(move) - 1]


def sparse_acts(rng, n, f, low=.01, high=.1):
    return (rng.random((n, f)) < np.linspace(low, high, f))*rng.gamma(4, .25, (n, f))


def text_rows(rng, n, vocabulary=40, length=25):
    return Rows(doc=np.arange(n)//length, pos=np.arange(n) % length, token_id=rng.integers(vocabulary, size=n))


def store(x, rows=None, name='acts'): return FeatureActs.from_csr(x, rows=rows, name=name)


def dense_corr(x, y):
    x, y = x - x.mean(0), y - y.mean(0)
    return (x/np.linalg.norm(x, axis=0)).T @ (y/np.linalg.norm(y, axis=0))


def plain(a, b, **more): return match(a, b, **{**dict(null=None, given=None, min_fires=1), **more})


def same(p, q, but=()):
    return all(np.array_equal(getattr(p, o), getattr(q, o), equal_nan=np.dtype(t).kind == 'f') for o,
               t in _COLUMNS.items() if o not in but)


# scores, lists, flags ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('metric', ['correlation', 'jaccard'])
@pytest.mark.parametrize('k', [1, 4])
def test_lists_equal_the_dense_matrix(metric, k):
    rng = generator(0)
    x, y = (store(sparse_acts(rng, 3000, f)) for f in (30, 45))
    u, v = x.csr().toarray().astype(float), y.csr().toarray().astype(float)
    met = (u != 0).T.astype(int) @ (v != 0).astype(int)
    full = dense_corr(u, v) if metric == 'correlation' else met/((u != 0).sum(0)[:, None] + (v != 0).sum(0) - met)
    full = np.where(met > 0, full, -np.inf)
    from_a = {(i, j) for i in range(30) for j in np.argsort(-full[i], kind='stable')[:k] if met[i, j]}
    from_b = {(i, j) for j in range(45) for i in np.argsort(-full[:, j], kind='stable')[:k] if met[i, j]}
    got = plain(x, y, metric=metric, k=k)
    rows = list(zip(got.a.tolist(), got.b.tolist()))
    assert set(rows) == from_a | from_b and len(rows) == len(set(rows))
    assert {r for r, o in zip(rows, got.from_a) if o} == from_a and {r for r, o in zip(rows, got.from_b) if o} == from_b
    assert np.abs(got.score - full[got.a, got.b]).max() < 1e-12
    assert np.array_equal(got.support, met[got.a, got.b])
    best_a, best_b = full.argmax(1), full.argmax(0)
    assert np.array_equal(got.mutual, (best_a[got.a] == got.b) & (best_b[got.b] == got.a))
    assert np.array_equal(got.best().b, best_a)
    order = np.lexsort((got.b, -got.score, got.a))
    assert np.array_equal(order, np.arange(len(got)))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(2, 60), f_a=st.integers(1, 8), f_b=st.integers(1, 8),
       k=st.integers(1, 9))
def test_small_cases_signed_tied_and_constant(seed, n, f_a, f_b, k):
    "Small integers: many ties, signed codes, dead and constant columns."
    rng = np.random.default_rng(seed)
    u, v = (rng.integers(-1, 3, (n, f))*(rng.random((n, f)) < rng.random(f)*1.3) for f in (f_a, f_b))
    if (u.std(0) == 0).all() or (v.std(0) == 0).all():
        with pytest.raises(FeatgeomError, match='no feature to match'): plain(store(u), store(v), k=k)
        return
    got = plain(store(u), store(v), k=k)
    assert not np.isnan(got.score).any() and (np.abs(got.score) <= 1).all()
    for i in range(f_a):
        meets = lambda j: ((u[:, i] != 0) & (v[:, j] != 0)).any()
        can = [j for j in range(f_b) if u[:, i].std() > 0 and v[:, j].std() > 0 and meets(j)]
        r = {j: np.corrcoef(u[:, i], v[:, j])[0, 1] for j in can}
        mine = got.score[(got.a == i) & got.from_a]
        assert np.allclose(mine, sorted(r.values(), reverse=True)[:k], atol=1e-9) and len(mine) == min(k, len(can))


def test_self_correlation_is_one_to_the_last_digits():                      # KA-69, T8: one ddof everywhere
    x = store(sparse_acts(generator(1), 500, 20, .05, .3))
    best = plain(x, x).best()
    assert np.array_equal(best.a, best.b) and np.abs(best.score - 1).max() < 1e-12


def test_large_means_do_not_cancel():                                       # T8
    rng = generator(2)
    shared = rng.normal(size=(20000, 1))
    u, v = (1e4 + .6*shared + rng.normal(size=(20000, 6)) for _ in range(2))
    u, v = u.astype(np.float32), v.astype(np.float32)
    u[rng.random(u.shape) < .0002] = 0                                      # not quite dense
    full = dense_corr(u.astype(float), v.astype(float))
    got = plain(store(u), store(v), k=6)
    assert len(got) == 36 and np.abs(got.score - full[got.a, got.b]).max() < 1e-9
    assert np.array_equal(got.support, ((u != 0).T.astype(int) @ (v != 0).astype(int))[got.a, got.b])
    mixed = np.hstack([v[:, :3], sparse_acts(rng, 20000, 3)]).astype(np.float32)
    full, got = dense_corr(u.astype(float), mixed.astype(float)), plain(store(u), store(mixed), k=6)
    assert np.abs(got.score - full[got.a, got.b]).max() < 1e-9


def test_dead_rare_and_constant_are_counted_and_never_nan():                # T9
    rng = generator(3)
    x, y = sparse_acts(rng, 4000, 12, .05, .2), sparse_acts(rng, 4000, 9, .05, .2)
    x[:, 2] = 0; y[:, 5] = 0; x[:, 3] = 0; x[:7, 3] = 1; x[:, 4] = 2.5
    for one_to_one in (False, True):
        got = match(store(x), store(y), given=None, one_to_one=one_to_one)
        counts = dict(f=12, live=9, dead=1, rare=1, constant=1)
        assert {o: got.meta['a'][o] for o in counts} == counts
        assert got.meta['b']['dead'] == 1 and not set(got.a) & {2, 3, 4} and 5 not in got.b
        assert not any(np.isnan(getattr(got, o)).any() for o in ('score', 'support', 'null', 'p'))


def test_two_singletons_on_one_token_are_no_match():                        # T10
    x = sparse_acts(generator(4), 5000, 10, .05, .1)
    x[:, 0] = 0; x[77, 0] = 3.
    assert 0 not in match(store(x), store(x), given=None).a
    spurious = plain(store(x), store(x)).best()
    assert spurious.score[0] == pytest.approx(1) and spurious.support[0] == 1    # without min_fires it would be perfect


def test_order_of_features_does_not_matter():                               # T11
    rng = generator(5)
    x, y = sparse_acts(rng, 3000, 40), sparse_acts(rng, 3000, 50)
    x[:, :20] += (y[:, :20] > 0)*rng.random((3000, 20))
    rows = text_rows(rng, 3000)
    p, q = rng.permutation(40), rng.permutation(50)
    for one_to_one in (False, True):
        one = match(store(x, rows), store(y, rows), min_fires=5, one_to_one=one_to_one).table()
        two = match(store(x[:, p], rows), store(y[:, q], rows), min_fires=5, one_to_one=one_to_one).table()
        two = two.assign(a=p[two.a], b=q[two.b], falling=-two.score).sort_values(['a', 'falling', 'b']).reset_index()
        exact = ['a', 'b', 'support', 'token_only', 'mutual', 'from_a', 'from_b', 'of_a']
        assert one[exact].astype(int).equals(two[exact].astype(int))
        for o in ('score', 'within', 'within_p'): assert np.allclose(one[o], two[o], atol=1e-12, equal_nan=True)
        assert np.corrcoef(one.p, two.p)[0, 1] > .99        # pools at equal firing counts may be cut elsewhere


def test_sides_swap():                                                      # T12
    "A->B is not the transpose of B->A, but swapping the sides swaps the result."
    rng = generator(6)
    x, y = sparse_acts(rng, 3000, 25), sparse_acts(rng, 3000, 60)
    one, two = plain(store(x), store(y), k=2), plain(store(y), store(x), k=2)
    flags = lambda o, first, second: zip(o.score, getattr(o, first), getattr(o, second), o.mutual)
    forth = dict(zip(zip(one.a, one.b), flags(one, 'from_a', 'from_b')))
    back = dict(zip(zip(two.b, two.a), flags(two, 'from_b', 'from_a')))
    assert forth == back
    assert (one.from_a != one.from_b).any()


def test_result_does_not_depend_on_the_threads(monkeypatch):
    from featgeom import products
    rng = generator(7)
    x, y, rows = sparse_acts(rng, 2000, 37), sparse_acts(rng, 2000, 41), text_rows(rng, 2000)
    results = []
    for threads in (1, 3, 8):
        monkeypatch.setattr(products, 'THREADS', threads)
        results.append(match(store(x, rows), store(y, rows), min_fires=5))
    assert same(results[0], results[1]) and same(results[0], results[2])


def test_ties_go_to_the_lower_index_in_whatever_order_the_pieces_come(monkeypatch):
    from featgeom import products
    x = np.repeat(sparse_acts(generator(34), 300, 1, .3, .3), 60, 1)         # 60 features alike
    monkeypatch.setattr(products, 'THREADS', 4)
    for turn in (1, -1):
        def one_by_one(task, pieces): return [task(o) for o in [*pieces][::turn]][::turn]
        monkeypatch.setattr(products, 'in_threads', one_by_one)
        got = plain(store(x), store(x), k=3)
        for mine, other in ((got.a, got.b[got.from_a]), (got.b, got.a[got.from_b])):
            assert len(other) == 180 and set(other) == {0, 1, 2}


# one-to-one ----------------------------------------------------------------------------------------------------------

def test_assignment_known_answer():                                         # KA-40
    scores = np.array([[.9, .8], [.85, .1]])
    i, j = assign(scores)
    assert j.tolist() == [1, 0] and scores[i, j].sum() == pytest.approx(1.65)
    assert scores.argmax(1).tolist() == [0, 0] and scores[i, j].mean() <= scores.max(1).mean()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), f_a=st.integers(1, 12), f_b=st.integers(1, 12), density=st.floats(.1, 1))
def test_assignment_is_the_best_partial_matching(seed, f_a, f_b, density):
    rng = np.random.default_rng(seed)
    scores = np.where(rng.random((f_a, f_b)) < density, rng.uniform(-.5, 1, (f_a, f_b)), 0)
    i, j = assign(sparse.csr_array(scores))
    assert len(set(i)) == len(i) and len(set(j)) == len(j) and (scores[i, j] > 0).all() and (np.diff(i) > 0).all()
    useful = np.maximum(scores, 0)                                          # staying single is worth 0
    r, c = linear_sum_assignment(useful, maximize=True)
    assert scores[i, j].sum() == pytest.approx(useful[r, c].sum())


def test_permutation_is_recovered():                                        # KA-39
    rng = generator(8)
    x = sparse_acts(rng, 2000, 200, .03, .1)
    p = rng.permutation(200)
    got = plain(store(x), store(x[:, p]*rng.uniform(.1, 9, 200)), one_to_one=True)
    assert np.array_equal(p[got.b], got.a) and len(got) == 200 and got.score.min() > .9999 and got.mutual.all()
    assert got.meta['one_to_one'] == dict(exact=True, candidates=200, left_a=0, left_b=0)


def test_restricted_assignment_says_so_and_is_close():
    "Above 2**20 pairs each feature's best 64 are candidates."
    rng = generator(9)
    x, y = sparse_acts(rng, 1500, 1100, .03, .1), sparse_acts(rng, 1500, 1000, .03, .1)
    got = plain(store(x), store(y), one_to_one=True)
    note = got.meta['one_to_one']
    assert note['candidates'] == 64 and note['exact'] is False
    assert note['left_a'] == 1100 - len(got) and note['left_b'] == 1000 - len(got)
    full = np.maximum(dense_corr(x, y), 0)
    r, c = linear_sum_assignment(full, maximize=True)
    assert .97*full[r, c].sum() < got.score.sum() <= full[r, c].sum() + 1e-6


# chance --------------------------------------------------------------------------------------------------------------

def sticky(rng, n, f):
    "Independent features that fire in bursts, half of them rarely."
    return np.stack([(walk(rng, n, 8 if i % 2 else 40, .9) == 0)*rng.gamma(4, .25, n) for i in range(f)], 1)


@pytest.mark.parametrize('one_to_one', [False, True])
def test_p_of_best_partners_is_uniform_on_independent_sticky_data(one_to_one):     # T13, T17
    rng, ps, qs = generator(10), [], []
    for i in range(60):
        got = match(store(sticky(rng, 3000, 50)), store(sticky(rng, 3000, 60)), min_fires=20, given=None, shifts=20,
                    seed=i, one_to_one=one_to_one)
        tested = ~np.isnan(got.q)
        ps.append(got.p[tested & got.of_a]); qs.append((got.q[tested] <= .05).any())
    p = np.concatenate(ps)
    if one_to_one:
        assert np.mean(p <= .05) <= .06                           # the null is that of the best partner: conservative
    else:
        assert abs(np.mean(p <= .05) - .05) < .012 and abs(np.mean(p <= .2) - .2) < .03 and abs(p.mean() - .5) < .03
        for feature in (0, 1):                              # a common and a rare one of each match: independent
            assert stats.kstest([o[feature] for o in ps], 'uniform').pvalue > .005
            assert abs(np.mean([np.mean(o[feature::2] <= .05) for o in ps]) - .05) < .025
    assert np.mean(qs) <= .2                                                # two families at 5 % a match


def test_null_and_p_against_the_definition():
    "One shift after the other with numpy, pools by firing count, ranks."
    rng = generator(11)
    x, y = sparse_acts(rng, 1000, 12, .05, .3), sparse_acts(rng, 1000, 10, .05, .3)
    got = match(store(x), store(y), k=2, min_fires=1, given=None, shifts=7, pool=5, seed=3)
    for side, u, v, sign in (('a', x, y, -1), ('b', y, x, 1)):
        draws = np.array([np.maximum(dense_corr(u, np.roll(v, sign*s, axis=0)).max(1), 0) for s in got.meta['shifts']])
        order = np.argsort((u != 0).sum(0), kind='stable')
        for e in np.flatnonzero(got.of_a == (side == 'a')):
            feature = getattr(got, side)[e]
            first = np.clip(np.flatnonzero(order == feature)[0] - 2, 0, u.shape[1] - 5)
            pool = draws[:, order[first:first + 5]].ravel()
            assert got.p[e] == pytest.approx(permutation_p(got.score[e], pool))
            assert got.null[e] == pytest.approx(np.quantile(pool, .95, method='inverted_cdf'))
    assert got.meta['p_floor'] == 1/36 and all(50 <= s <= 950 for s in got.meta['shifts'])


def test_every_feature_is_tested_once():
    rng = generator(12)
    x, y = sparse_acts(rng, 4000, 40), sparse_acts(rng, 4000, 70)
    got = match(store(x), store(y), given=None, min_fires=5)
    tested = ~np.isnan(got.q)
    assert np.array_equal(got.a[tested & got.of_a], np.unique(got.a))       # each a once, on its best
    assert np.array_equal(got.best().q, got.q[tested & got.of_a])
    mine = got.b[tested & ~got.of_a]
    assert len(mine) == len(set(mine)) and not set(mine) & set(got.b[got.mutual])
    assert set(mine) | set(got.b[got.mutual]) == set(range(70))
    assert (got.q[tested] >= got.p[tested] - 1e-12).all()


def test_shift_is_longer_than_the_longest_document():
    rng = generator(13)
    def cut(*lengths):
        doc = np.repeat(np.arange(len(lengths)), lengths)
        return store(x, Rows(doc=doc, pos=0*doc, token_id=0*doc))
    x = sparse_acts(rng, 2000, 20, .05, .1)
    long, y = cut(150, 700, 1150), cut(150, 400, 600, 850)
    with pytest.raises(FeatgeomError, match='leave 0 shifts'): match(long, long, given=None)
    assert match(y, y, given=None).meta['min_shift'] == 851
    assert match(store(x), store(x), given=None).meta['min_shift'] == 100     # n/20 where rows are samples


def test_in_sample_scores_of_independent_features_vanish_held_out():        # T13
    rng = generator(14)
    x, y = sticky(rng, 6000, 60), sticky(rng, 6000, 60)
    best = match(store(x[:3000]), store(y[:3000]), given=None, min_fires=20).best()
    held = rescore(best, store(x[3000:]), store(y[3000:]))
    assert best.meta['in_sample'] and best.score.mean() > .04 and abs(held.mean()) < .01
    full = dense_corr(x[3000:], y[3000:])
    assert np.allclose(held, full[best.a, best.b], atol=1e-9)
    jaccard = match(store(x), store(y), metric='jaccard', given=None, null=None, min_fires=20)
    assert np.allclose(rescore(jaccard, store(x), store(y)), jaccard.score)


# within tokens -------------------------------------------------------------------------------------------------------

def naive_within(u, v, z):
    keep = np.bincount(z)[z] > 1
    u, v, z = u[keep].astype(float), v[keep].astype(float), z[keep]
    mean = lambda o: (np.bincount(z, o)/np.maximum(np.bincount(z), 1))[z]
    top = np.mean(u*v - mean(u)*mean(v))
    return top/np.sqrt(np.mean(u*u - mean(u)**2)*np.mean(v*v - mean(v)**2))


@pytest.mark.parametrize('given_', ['token', 'bigram', 'position'])
def test_within_equals_the_formula(given_):
    rng = generator(15)
    n = 3000
    rows = text_rows(rng, n, vocabulary=30, length=20)
    x, y = sparse_acts(rng, n, 15, .05, .3), sparse_acts(rng, n, 18, .05, .3)
    x[:, :5] += rng.normal(size=30)[rows.token_id][:, None] > 1             # some token dependence
    got = match(store(x, rows), store(y, rows), k=4, min_fires=5, null=None, given=given_)
    z = row_groups(rows, given_)
    want = [naive_within(store(x).csr().toarray()[:, a], store(y).csr().toarray()[:, b], z) for a,
            b in zip(got.a, got.b)]
    assert np.abs(got.within - want).max() < 1e-9 and not got.token_only.any()
    assert got.meta['given_rows'] == (np.bincount(z)[z] > 1).sum()


def test_token_detectors_and_context_features():                            # T33
    rng = generator(16)
    n = 12000
    rows = text_rows(rng, n, vocabulary=30)
    context = walk(rng, n, 6, .95)
    on = rows.token_id == 4
    def side():
        strength = lambda: rng.gamma(20, .05, n)
        return np.stack([on*1., (rows.token_id == 5)*strength(), ((rows.token_id == 6) & (context < 3))*strength(),
                         (context == 2)*strength(),
                         np.isin(rows.token_id, [7, 9])*(1. + (rows.token_id == 9))], 1)
    x, y = side(), side()
    got = match(store(x, rows), store(y, rows)).best()
    assert np.array_equal(got.a, got.b) and (got.score > .8).all() and (got.q < .05).all()
    assert got.token_only.tolist() == [True, False, False, False, True]
    assert np.isnan(got.within[[0, 4]]).all() and np.isnan(got.within_p[[0, 4]]).all()
    assert abs(got.within[1]) < .15 and got.within_p[1] > .01               # the token and nothing else
    assert got.within[2] > .8 and got.within[3] > .8 and (got.within_p[2:4] == .01).all()
    own = match(store(x, rows), store(x, rows), one_to_one=True)
    assert np.allclose(own.within[~own.token_only], 1) and own.token_only.sum() == 2
    assert '2 are pure token detectors' in repr(got)


def test_within_p_is_uniform_where_only_the_token_is_shared_and_matches_the_naive_loop():
    rng = generator(17)
    ps, n = [], 600
    for _ in range(60):
        z = rng.integers(12, size=n)
        common = rng.random((12, 8))
        x, y = ((rng.random((n, 8)) < common[z])*rng.gamma(4, .25, (n, 8)) for _ in range(2))
        r, p, only = within_groups(x, y, z, np.arange(8), np.arange(8), permutations=59, seed=rng)
        ps.append(p)
        assert not only.any() and np.abs(r).max() < .3
    ps = np.concatenate(ps)
    assert stats.kstest(ps, 'uniform').pvalue > .005 and set(np.rint(ps*60)) <= set(range(1, 61))
    from featgeom.nulls import permute_within                               # the same draws, naively
    order = np.argsort(z, kind='stable')
    u, v, w, draws = sparse.csr_array(x).toarray()[order], y[order], z[order], generator(5)
    perms = [permute_within(w, draws) for _ in range(30)]
    naive = [permutation_p((u[:, i]*v[:, i]).sum(), [(u[q, i]*v[:, i]).sum() for q in perms]) for i in range(8)]
    assert np.allclose(within_groups(x, y, z, np.arange(8), np.arange(8), permutations=30, seed=5)[1], naive)


def test_storage_noise_does_not_hide_a_token_detector():
    "A detector whose strength is rounded differently from row to row, as float16 does, is still a detector."
    rng = generator(18)
    rows = text_rows(rng, 4000, vocabulary=10)
    flat = (rows.token_id == 3)*(7.3 + 1e-3*rng.normal(size=4000))
    alive = (rows.token_id == 3)*(7.3 + .1*rng.normal(size=4000))
    x = np.stack([flat.astype(np.float16), alive.astype(np.float16)], 1).astype(np.float32)
    got = match(store(x, rows), store(x, rows), k=1, null=None).best()
    assert got.token_only.tolist() == [True, False] and got.within[1] == pytest.approx(1)


def test_features_only_on_tokens_seen_once_are_undefined_not_token_only():
    x = np.array([[1.], [2.], [0.], [0.], [0.]])
    r, p, only = within_groups(x, x, np.array([0, 1, 2, 2, 2]), [0], [0])
    assert np.isnan(r[0]) and np.isnan(p[0]) and not only[0]


def test_bigrams_stay_in_their_document():
    rows = Rows(doc=[0, 0, 1, 1, 1], pos=[0, 1, 0, 1, 3], token_id=[7, 8, 8, 8, 8])
    z = row_groups(rows, 'bigram')
    assert z[1] != z[2] and len(set(z)) == 5                                # "7 8", start "8", "8 8", unknown "8"


# results -------------------------------------------------------------------------------------------------------------

@pytest.fixture(scope='module')
def pairs():
    rng = generator(19)
    rows = text_rows(rng, 2000)
    x = sparse_acts(rng, 2000, 20, .05, .2)
    return match(store(x, rows, 'one'), store(x[:, ::-1] + (rng.random((2000, 20)) < .02), rows, 'two'))


def test_save_and_load(pairs, tmp_path):
    path = pairs.save(tmp_path/'p.safetensors')
    back = Pairs.load(path)
    assert same(pairs, back) and back.meta == pairs.meta and repr(back) == repr(pairs)
    assert back.save(tmp_path/'q').read_bytes() == path.read_bytes()
    empty = pairs[np.zeros(0, int)]
    assert len(Pairs.load(empty.save(tmp_path/'e'))) == 0 and 'Pairs(0 pairs' in repr(empty)


def test_damaged_and_foreign_files_are_refused(pairs, tmp_path):
    from safetensors.numpy import save
    whole = pairs.save(tmp_path/'p').read_bytes()
    good = {o: getattr(pairs, o) for o in _COLUMNS}
    meta = dict(format=1, kind='featgeom pairs', **pairs.meta)
    foreign = [b'', b'junk'*100, whole[:100], whole[:-1], whole + b'x', save(good),
               save(good, metadata={'featgeom': '{'}),
               save(good, metadata={'featgeom': '[]'}),
               save(good, metadata={'featgeom': json.dumps({**meta, 'format': 2})}),
               save({**good, 'a': good['a'].astype(np.int64)}, metadata={'featgeom': json.dumps(meta)}),
               save({**good, 'b': good['b'] + 1000}, metadata={'featgeom': json.dumps(meta)}),
               save({**good, 'b': good['b'] - 1000}, metadata={'featgeom': json.dumps(meta)}),
               save({**good, 'p': good['p'][:-1]}, metadata={'featgeom': json.dumps(meta)}),
               save({**good, 'a': good['a'][:, None]}, metadata={'featgeom': json.dumps(meta)}),
               save(good, metadata={'featgeom': json.dumps({**meta, 'a': None})}),
               save(good, metadata={'featgeom': json.dumps({**meta, 'p_floor': 'low'})}),
               save(good, metadata={'featgeom': json.dumps({o: v for o, v in meta.items() if o != 'one_to_one'})}),
               save({o: v for o, v in good.items() if o != 'q'}, metadata={'featgeom': json.dumps(meta)})]
    for i, data in enumerate(foreign):
        (tmp_path/'bad').write_bytes(data)
        with pytest.raises(FeatgeomError): Pairs.load(tmp_path/'bad')
    with pytest.raises(FeatgeomError, match='no such file'): Pairs.load(tmp_path/'none')


def test_further_columns_travel_with_the_pairs(pairs, tmp_path):
    import pandas as pd
    import pyarrow.parquet as pq
    from dataclasses import replace
    m, some = len(pairs), np.array([3, 1])
    held = np.where(np.arange(m) % 3, pairs.score, np.nan)
    more = dict(held=held, held_same=pairs.mutual, shared=np.arange(m, dtype=np.int16))
    rich = replace(pairs, more=more)
    assert pairs.more == {} and list(rich.columns) == [*_COLUMNS, *more] == list(rich.table().columns)
    assert np.array_equal(rich[some].more['held'], held[some], equal_nan=True) and len(rich.best().more['shared']) == 20
    back = Pairs.load(rich.save(tmp_path/'p'))
    assert same(back, pairs) and set(back.more) == set(more)
    for o in more:
        assert np.array_equal(back.more[o], more[o], equal_nan=o == 'held') and back.more[o].dtype == more[o].dtype
    assert back.save(tmp_path/'q').read_bytes() == (tmp_path/'p').read_bytes()
    assert pq.read_table(rich.export(tmp_path/'p.parquet')).to_pandas().equals(rich.table())
    columns = json.loads(rich.export(tmp_path/'p.json').read_text())['columns']
    assert columns['held'][0] is None and columns['shared'] == list(range(m))
    assert pd.read_csv(rich.export(tmp_path/'p.csv')).held_same.equals(rich.table().held_same)


def test_bad_further_columns_are_refused(pairs, tmp_path):
    from dataclasses import replace
    from safetensors.numpy import save
    m = len(pairs)
    for name, values, words in (('score', pairs.score, 'another column'), ('', pairs.score, 'another column'),
                                (3, pairs.score, 'another column'), ('x'*61, pairs.score, 'another column'),
                                ('new', pairs.score[1:], 'for each pair'), ('new', ['a']*m, 'Real numbers'),
                                ('new', np.full(m, np.inf), 'for each pair'), ('new', np.zeros((m, 2)), 'for each pair')):
        with pytest.raises(FeatgeomError, match=words): replace(pairs, more={name: values})
    columns = dict(pairs.columns, new=np.zeros((m, 2)))
    meta = json.dumps(dict(format=1, kind='featgeom pairs', **pairs.meta))
    (tmp_path/'bad').write_bytes(save(columns, metadata={'featgeom': meta}))
    with pytest.raises(FeatgeomError, match="Column 'new'"): Pairs.load(tmp_path/'bad')


def test_table_repr_plot(pairs):
    assert list(pairs.table().columns) == list(_COLUMNS) and len(pairs.table()) == len(pairs)
    text = repr(pairs)
    for words in ('one: 20 of 20 features', 'in sample', 'chance', 'p is at least', 'within token',
                  'pure token detectors', 'mutual'):
        assert words in text
    import matplotlib
    matplotlib.use('Agg')
    assert len(pairs.plot().axes) == 2
    assert json.loads(json.dumps(pairs.meta)) == pairs.meta


def test_seed_reproduces_and_inputs_are_untouched():
    rng = generator(20)
    rows = text_rows(rng, 1500)
    x = store(1e4*(rng.random((1500, 6)) > .001) + sparse_acts(rng, 1500, 6, .2, .3), rows)
    before, state = x.csr().copy(), np.random.get_state()[1].copy()
    one, two, three = (match(x, x, seed=s) for s in (1, 1, 2))
    assert same(one, two) and one.meta == two.meta and three.meta['shifts'] != one.meta['shifts']
    assert (before != x.csr()).nnz == 0 and np.array_equal(np.random.get_state()[1], state)


def test_exports_hold_every_number(pairs, tmp_path):
    import pandas as pd
    import pyarrow.parquet as pq
    table = pairs.table()
    sheet = pq.read_table(pairs.export(tmp_path/'p.parquet'))
    assert sheet.to_pandas().equals(table) and json.loads(sheet.schema.metadata[b'featgeom']) == pairs.meta
    back = json.loads(pairs.export(tmp_path/'p.json').read_text())
    assert back['meta'] == pairs.meta
    assert pd.DataFrame(back['columns']).astype(dict(_COLUMNS)).equals(table)
    back = pd.read_csv(pairs.export(tmp_path/'p.csv')).astype(dict(_COLUMNS))
    assert all(np.array_equal(back[o], table[o], equal_nan=back[o].dtype.kind == 'f') for o in _COLUMNS)
    assert json.loads((tmp_path/'p.csv.meta.json').read_text()) == pairs.meta
    with pytest.raises(FeatgeomError, match='.csv, .json or .parquet'): pairs.export(tmp_path/'p.xlsx')
    assert pairs.export(tmp_path/'p.json').read_bytes() == pairs.export(tmp_path/'q.json').read_bytes()


# dense stores --------------------------------------------------------------------------------------------------------

def dense_store(x, rows=None, name='neurons'): return FeatureActs.from_dense(x, rows=rows, name=name)


@pytest.mark.parametrize('which', ['dense dense', 'sparse dense', 'dense sparse'])
def test_dense_stores_equal_numpy(which):
    rng = generator(30)
    n, rows = 3000, text_rows(rng, 3000, vocabulary=30)
    u, v = rng.normal(size=(n, 12)) + 5, rng.normal(size=(n, 15))*rng.uniform(.01, 100, 15)
    u[:, :5] += v[:, :5]/v[:, :5].std(0)
    u[:, 6] = 3.; v[:, 7] = 0; v[20:, 8] = 0                                # constant, dead, rare
    if which.startswith('sparse'): u *= rng.random(u.shape) < .1
    if which.endswith('sparse'): v *= rng.random(v.shape) < .1
    x, y = ((dense_store if kind == 'dense' else store)(o, rows, kind) for kind, o in zip(which.split(), (u, v)))
    got = match(x, y, k=4, permutations=19)
    u, v = x.csr().toarray().astype(float), y.csr().toarray().astype(float)
    assert (got.meta['b']['dead'], got.meta['b']['rare']) == (1, 1) and 8 not in got.b and 7 not in got.b
    with np.errstate(invalid='ignore'): full = dense_corr(u, v)
    assert np.abs(got.score - full[got.a, got.b]).max() < 1e-9
    live_a, live_b = np.unique(got.a), np.unique(got.b)
    assert np.array_equal(got.best().b, live_b[full[np.ix_(live_a, live_b)].argmax(1)]) and len(live_b) == 13
    assert np.array_equal(got.support, ((u != 0).T.astype(int) @ (v != 0))[got.a, got.b])
    z = row_groups(rows, 'token')
    want = [naive_within(u[:, a], v[:, b], z) for a, b in zip(got.a, got.b)]
    assert np.abs(got.within - want).max() < 1e-9
    one = match(x, y, k=4, given=None, shifts=3)                            # and the null is that of shifted rows
    with np.errstate(invalid='ignore'):
        moved = [dense_corr(u, np.roll(v, -o, 0))[np.ix_(live_a, live_b)].max(1) for o in one.meta['shifts']]
    reach = (np.maximum(moved, 0)[..., None] >= one.best().score).sum((0, 1))
    assert np.allclose(one.best().p, (1 + reach)/(1 + np.size(moved)))


def test_null_of_dense_stores_is_calibrated():
    ps = []
    for i in range(15):
        rng = generator(100 + i)
        x, y = (np.cumsum(rng.normal(size=(2000, 30)), 0) for _ in range(2))
        x, y = (o[5:] - o[:-5] for o in (x, y))                             # correlated from row to row
        ps.append(match(dense_store(x), dense_store(y), given=None, seed=i, min_shift=50).best().p)
    ps = np.concatenate(ps)
    assert abs(np.mean(ps <= .05) - .05) < .035 and abs(ps.mean() - .5) < .06


def test_dense_stores_of_several_shards_and_jaccard_refused(tmp_path):
    rng = generator(31)
    u, v = rng.normal(size=(700, 9)), rng.normal(size=(700, 11))
    folder = [dense_store(o, name=name).save(tmp_path/name, shard=150) for o, name in ((u, 'u'), (v, 'v'))]
    one, two = match(*folder, given=None), match(dense_store(u), dense_store(v), given=None)
    assert same(one, two, but=('score', 'null')) and np.allclose(one.score, two.score, atol=1e-14)
    with pytest.raises(FeatgeomError, match='the dense store'): match(dense_store(u), store(v), metric='jaccard')


def test_rescore_of_dense_stores():
    rng = generator(32)
    u, v = rng.normal(size=(900, 9)) + 100, rng.normal(size=(900, 11))
    got = match(dense_store(u[:500]), dense_store(v[:500]), given=None, null=None)
    full = dense_corr(u[500:].astype(np.float32).astype(float), v[500:].astype(np.float32).astype(float))
    assert np.abs(rescore(got, dense_store(u[500:]), dense_store(v[500:])) - full[got.a, got.b]).max() < 1e-9


# memory, resume, clusters --------------------------------------------------------------------------------------------

@pytest.fixture(scope='module')
def larger():
    rng = generator(33)
    rows, n, f = text_rows(rng, 6000), 6000, 200
    x, y = ((rng.random((n, f)) < .03)*rng.gamma(4, .25, (n, f)) for _ in range(2))
    y[:, :40] += x[:, :40]*(rng.random((n, 40)) < .5)
    x[:, 5] = 1e4 + rng.normal(size=n)                                      # one that must be centred
    return store(x, rows, 'x'), store(y, rows, 'y')


def test_little_memory_gives_the_same_bytes(larger, tmp_path, monkeypatch):
    from featgeom import matching
    whole, units = match(*larger).save(tmp_path/'whole').read_bytes(), []
    keep = matching._Journal.keep
    def counted(self, name, make): return units.append(name) or keep(self, name, make)
    monkeypatch.setattr(matching._Journal, 'keep', counted)
    assert match(*larger, memory=1_400_000).save(tmp_path/'small').read_bytes() == whole
    assert len([o for o in units if o.startswith('search-0-')]) >= 4
    with pytest.raises(FeatgeomError, match='Allow more'): match(*larger, memory=100_000)
    folders = [o.save(tmp_path/o.name, shard=700) for o in larger]          # and so do stores of many shards
    assert match(*folders).save(tmp_path/'shards').read_bytes() == whole


_KILLED = """
import os, signal, sys
from featgeom.acts import FeatureActs
from featgeom import core, matching
folder, after = sys.argv[1], int(sys.argv[2])
left, write = [after], core.write_bytes
def dying(path, data):
    left[0] -= 1
    if left[0] < 0:
        with open(path.with_name(f'.{path.name}.1.tmp'), 'wb') as f: f.write(data[:len(data)//2])
        os.kill(os.getpid(), signal.SIGKILL)
    write(path, data)
core.write_bytes = dying                                                    # every file of the journal goes through it
x, y = (FeatureActs.open(f'{folder}/{o}') for o in 'xy')
matching.match(x, y, store=f'{folder}/match', shifts=5, permutations=19)
"""


def test_a_killed_match_goes_on_and_ends_in_the_same_bytes(larger, tmp_path):
    import signal
    import subprocess
    import sys
    from featgeom import matching
    x, y = (o.save(tmp_path/o.name) for o in larger)
    want = match(x, y, shifts=5, permutations=19).save(tmp_path/'want').read_bytes()
    folder, seen = tmp_path/'match', []
    for after in (0, 2, 3, 4):                                              # files written before each kill
        done = subprocess.run([sys.executable, '-c', _KILLED, str(tmp_path), str(after)])
        assert done.returncode == -signal.SIGKILL
        seen.append(len(list(folder.glob('part-*'))))
    assert seen == [0, 1, 4, 8]                         # what was done stays: only the unit in hand is lost
    with pytest.raises(FeatgeomError, match='k: 10 there, 5 asked for'): match(x, y, k=5, store=folder, shifts=5,
                                                                               permutations=19)
    with pytest.raises(FeatgeomError, match='b name: y there, x asked for'): match(x, x, store=folder, shifts=5,
                                                                                   permutations=19)
    got = match(x, y, store=folder, shifts=5, permutations=19)
    assert got.save(tmp_path/'got').read_bytes() == want == (folder/'pairs.safetensors').read_bytes()
    assert {o.name for o in folder.iterdir()} <= {'request.json', 'pairs.safetensors', '.lock'}
    matching_search, matching.search = matching.search, None               # a finished match is read, not made
    try: assert match(x, y, store=folder, shifts=5, permutations=19).save(tmp_path/'got').read_bytes() == want
    finally: matching.search = matching_search


_BUDGET = """
import sys
import numpy as np
from pathlib import Path
from featgeom.acts import FeatureActs, Rows, as_csr
from featgeom.matching import match
def gb(what): return next(int(o.split()[1])/1e6 for o in open('/proc/self/status') if o.startswith(what))
def sides(n, f, dense):
    rows = Rows(doc=np.arange(n)//50, pos=np.arange(n) % 50, token_id=np.arange(n) % 97)
    for seed in (0, 1):
        rng = np.random.default_rng(seed)
        if dense: yield FeatureActs.from_dense(rng.random((n, f), np.float32), rows=rows)
        else:
            which = (rng.integers(f//16, size=(n, 16)) + np.arange(16)*(f//16)).astype(np.int32).ravel()
            matrix = as_csr(rng.random(16*n, np.float32) + .1, which, np.arange(0, 16*n + 1, 16), f)
            yield FeatureActs.from_csr(matrix, rows=rows)
dense = sys.argv[1] == 'dense'
how = dict(k=5, shifts=2, permutations=19, min_fires=10)
match(*sides(2000, 64, dense), **how)
a, b = sides(*((30_000, 100) if dense else (200_000, 2048)), dense)
before = gb('VmRSS')
Path('/proc/self/clear_refs').write_text('5')
match(a, b, memory=int(float(sys.argv[2])*1e9), **how, given=None if dense else 'token')
print(gb('VmHWM') - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize(('kind', 'least', 'budget'), [('sparse', .07, 2.), ('sparse', .02, .06), ('dense', 0, .03)])
def test_the_budget_is_kept(kind, least, budget):
    "Beyond the stores: 26 MB of firings a side, or 12 MB of neurons. The result and the interpreter may take 40 MB."
    import os
    import subprocess
    import sys
    from pathlib import Path
    if not Path('/proc/self/clear_refs').exists(): pytest.skip('this system does not tell its peak of memory')
    command = [sys.executable, '-c', _BUDGET, kind, str(budget)]
    env = {**os.environ, 'NUMBA_NUM_THREADS': '2', 'OMP_NUM_THREADS': '1'}              # each thread has memory of its own
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    assert least < float(done.stdout) < budget + .04


def test_a_folder_is_for_one_match_at_a_time_and_nothing_else(larger, tmp_path):
    from filelock import FileLock
    (tmp_path/'other').mkdir()
    (tmp_path/'other'/'thesis.txt').write_text('mine')
    with pytest.raises(FeatgeomError, match='holds thesis.txt'): match(*larger, store=tmp_path/'other')
    with pytest.raises(FeatgeomError, match='Pass seed=0'): match(*larger, store=tmp_path/'new', seed=generator(0))
    with pytest.raises(FeatgeomError, match='A folder to write in'):
        match(*larger, store=tmp_path/'other'/'thesis.txt')
    (tmp_path/'busy').mkdir()
    with FileLock(tmp_path/'busy'/'.lock'):
        with pytest.raises(FeatgeomError, match='in use by another process'): match(*larger, store=tmp_path/'busy')


def test_a_cluster_gives_the_same_bytes(larger, tmp_path):
    distributed = pytest.importorskip('distributed')
    how = dict(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None)
    with distributed.LocalCluster(**how) as cluster:
        with distributed.Client(cluster) as client:
            for options in (dict(), dict(metric='jaccard', given=None), dict(memory=1_400_000)):
                want = match(*larger, **options).save(tmp_path/'want').read_bytes()
                assert match(*larger, client=client, **options).save(tmp_path/'got').read_bytes() == want


# bad input -----------------------------------------------------------------------------------------------------------

def test_bad_arguments_are_refused_with_the_reason():
    rng = generator(21)
    rows, x = text_rows(rng, 500), sparse_acts(rng, 500, 6, .2, .3)
    a = store(x, rows)
    cases = [(dict(metric='corelation'), 'nearest: correlation'), (dict(k=0), 'k is a whole number'),
             (dict(k=2.5), 'k is a whole number'),
             (dict(min_fires=0), 'min_fires'), (dict(shifts=0), 'shifts'), (dict(shifts=3), 'At least 19'),
             (dict(permutations=5), 'at least 19'), (dict(null='shuffle'), 'null is "shift"'),
             (dict(given='tokens'), 'nearest: token'), (dict(min_shift=300), 'leave 0 shifts'),
             (dict(seed=None), 'Pass seed=0'), (dict(min_fires=400), 'no feature to match')]
    for options, words in cases:
        with pytest.raises(FeatgeomError, match=words): match(a, a, **options)


def test_bad_stores_are_refused_with_the_reason():
    rng = generator(22)
    rows, x = text_rows(rng, 500), sparse_acts(rng, 500, 6, .2, .3)
    a = store(x, rows)
    changed = lambda **o: store(x, Rows(**{**dict(doc=rows.doc, pos=rows.pos, token_id=rows.token_id), **o}))
    cases = [(store(x[:400], rows[np.arange(400)]), 'A has 500 rows, B has 400'),
             (changed(token_id=rows.token_id + 1), 'tokenizers'),
             (changed(doc=rows.doc//2), 'differ in doc'), (changed(pos=rows.pos + 1), 'differ in pos'),
             (store(x), 'rows of another kind'), (x, 'from_csr'), (store(np.zeros((500, 3)), rows), '3 are dead')]
    for other, words in cases:
        with pytest.raises(FeatgeomError, match=words): match(a, other, min_fires=5)
    with pytest.raises(FeatgeomError, match='given=None'): match(store(x), store(x), min_fires=5)
    for what in ('texts', 'mask'):
        one, two = (store(x, rows) for _ in range(2))
        one.meta[what], two.meta[what] = 'this', 'that'
        with pytest.raises(FeatgeomError, match=f'another {what}: this and that'): match(one, two, min_fires=5)
    with pytest.raises(FeatgeomError, match='align_spans'): match(a, changed(token_id=rows.token_id + 1), min_fires=5)
    class Broken:
        shape, name, meta = x.shape, 'broken', {}
        def blocks(self): yield 0, sparse.csr_array(np.where(x == x.max(), np.nan, x))
    broken = Broken()
    broken.rows = rows
    with pytest.raises(FeatgeomError, match='NaN or Inf'): match(a, broken, min_fires=5)


def test_sides_that_never_meet_give_no_pairs():
    x = np.zeros((400, 2))
    x[:100] = generator(23).random((100, 2))
    got = match(store(x), store(x[::-1]), given=None)
    assert len(got) == 0 and len(got.best()) == 0 and repr(got).startswith('Pairs(0 pairs')


def test_split_child_and_jaccard_of_independent():                          # KA-71
    rng = generator(24)
    n = 200_000
    parent = rng.random(n) < .02
    child = parent & (rng.random(n) < .5)
    got = plain(store(parent[:, None].astype(float)), store(child[:, None].astype(float)))
    assert got.score[0] == pytest.approx(.7035, abs=.02)
    u, v = rng.random(n) < .01, rng.random(n) < .02
    got = plain(store(u[:, None].astype(float)), store(v[:, None].astype(float)), metric='jaccard')
    assert got.score[0] == pytest.approx(.00671, abs=.0015)

def test_a_long_store_against_itself_needs_no_place_for_each_row():
    n, rng = 5_000_000, np.random.default_rng(0)
    rows = np.sort(rng.choice(n, 300, replace=False))
    acts = FeatureActs.from_csr(sparse.csr_array((np.ones(300, 'f4'), (rows, rng.integers(0, 3, 300))), shape=(n, 3)))
    one = side(acts, survey(acts), np.arange(3))
    found = search(one, one, [(0, 2)], memory=2**28)[0][0]
    assert np.allclose(found.top[:, 0], 1) and found.who[:, 0].tolist() == [0, 1, 2]
