"Guarantees of nulls.py: known answers, naive references, calibration under true nulls, bad input."
import numpy as np
import pytest
from scipy import stats

from featgeom.core import FeatgeomError, generator
from featgeom.nulls import bh, permutation_p, permute_within, shifts


def corr(x, y):
    x, y = x - x.mean(-1, keepdims=True), y - y.mean(-1, keepdims=True)
    return (x*y).sum(-1)/np.sqrt((x*x).sum(-1)*(y*y).sum(-1))


def ar1(rng, phi, shape):
    x = rng.normal(size=shape)
    for t in range(1, shape[-1]): x[..., t] = phi*x[..., t-1] + np.sqrt(1 - phi*phi)*x[..., t]
    return x


@pytest.mark.parametrize('draws', [999, 9999])
def test_p_floor_known_answer(draws):                                       # KA-65
    assert permutation_p(5., np.zeros(draws)) == 1/(draws + 1)
    assert permutation_p(-5., np.zeros(draws)) == 1


def test_p_is_the_naive_loop_on_every_axis():
    rng = generator(0)
    null, seen = rng.integers(0, 6, (4, 3, 50)).astype(float), rng.integers(0, 6, (4, 3)).astype(float)
    naive = np.array([[(1 + sum(v >= seen[i, j] for v in null[i, j]))/51 for j in range(3)] for i in range(4)])
    assert np.array_equal(permutation_p(seen, null), naive)
    assert np.array_equal(permutation_p(seen, np.moveaxis(null, -1, 0), axis=0), naive)
    assert np.array_equal(permutation_p(seen, np.moveaxis(null, -1, 1), axis=1), naive)


def test_p_exact_uniform_when_exchangeable():
    "Observed and draws exchangeable: P(p <= k/(B+1)) is exactly k/(B+1)."
    x = generator(1).normal(size=(20000, 20))
    counts = np.bincount(np.rint(permutation_p(x[:, 0], x[:, 1:])*20).astype(int), minlength=21)[1:]
    assert stats.chisquare(counts).pvalue > .001


def test_p_never_anticonservative_with_ties():
    "A statistic with few values: p stays valid, because equal draws count as reached."
    x = generator(2).integers(0, 3, (20000, 40))
    p = permutation_p(x[:, 0], x[:, 1:])
    for level in (.05, .1, .35, .7): assert (p <= level).mean() <= level + .01


@pytest.mark.parametrize('seen,null', [(1., []), (1., 2.), ([1., 2.], [0., 0., 0.]), (1., [0., np.nan])])
def test_p_refuses(seen, null):
    with pytest.raises(FeatgeomError): permutation_p(seen, null)


def test_bh_known_answers():                                                # KA-66
    p = np.array([.01, .02, .03, .04, .05])
    assert np.allclose(bh(p), .05) and (bh(p) <= .05 + 1e-15).all() and (p*5 <= .05).sum() == 1
    assert bh([]).shape == (0,) and np.isnan(bh([np.nan])).all()


def test_bh_is_the_step_up_rule_and_scipy():
    rng = generator(3)
    for m in (1, 2, 17, 400):
        p = rng.random(m)**2
        q = bh(p)
        assert np.allclose(q, stats.false_discovery_control(p))
        for level in (.01, .05, .3):
            passing = [k for k in range(1, m + 1) if np.sort(p)[k-1] <= level*k/m]
            assert (q <= level).sum() == (max(passing) if passing else 0)


def test_bh_order_and_nan_do_not_matter():
    rng = generator(4)
    p = rng.random((6, 9)); perm = rng.permutation(54)
    assert np.allclose(bh(p.ravel()[perm]), bh(p).ravel()[perm])
    holes = np.insert(p.ravel(), [0, 3, 54], np.nan)
    assert np.allclose(bh(holes)[~np.isnan(holes)], bh(p).ravel()) and np.isnan(bh(holes)).sum() == 3


def test_bh_holds_the_family_under_the_full_null():                          # T16: 175 null cells, 200 repeats
    p = generator(5).random((200, 175))
    assert np.mean([(bh(row) <= .05).any() for row in p]) <= .09


@pytest.mark.parametrize('bad', [[-.1, .5], [.5, 1.1]])
def test_bh_refuses(bad):
    with pytest.raises(FeatgeomError, match='between 0 and 1'): bh(bad)


def test_shifts_are_uniform_distinct_and_far():
    got = np.array([shifts(30, 3, 11, seed) for seed in range(4000)])
    assert got.min() == 11 and got.max() == 19 and all(len(set(row)) == 3 for row in got)
    assert stats.chisquare(np.bincount(got.ravel() - 11, minlength=9)).pvalue > .001
    circle = np.minimum(got, 30 - got)
    assert circle.min() >= 11


@pytest.mark.parametrize('n,count,low', [(10, 1, 6), (10, 4, 4), (0, 1, 1), (10, 0, 2), (10, 2, 0)])
def test_shifts_refuse(n, count, low):
    with pytest.raises(FeatgeomError): shifts(n, count, low, 0)


def test_token_shuffle_overrejects_shift_does_not():                         # T17
    rng = generator(6)
    shuffled, shifted, n, draws = 0, 0, 800, 99
    for x, y in ar1(rng, .9, (300, 2, n)):
        seen = corr(x, y)
        shuffled += permutation_p(seen, corr(x, rng.permuted(np.tile(y, (draws, 1)), axis=1))) <= .05
        shifted += permutation_p(seen, corr(x, np.stack([np.roll(y, s) for s in shifts(n, draws, 40, rng)]))) <= .05
    assert shuffled/300 > .2 and shifted/300 < .11


def test_permute_within_keeps_groups_and_is_uniform():
    rng = generator(7)
    groups = rng.integers(0, 50, 2000)
    perm = permute_within(groups, 0)
    assert np.array_equal(groups[perm], groups) and np.array_equal(np.sort(perm), np.arange(2000))
    assert (perm != np.arange(2000)).mean() > .9
    words = np.array(['a', 'b', 'a', 'c', 'a'])
    orders, counts = np.unique([permute_within(words, i) for i in range(3000)], axis=0, return_counts=True)
    assert len(orders) == 6 and (orders[:, 1] == 1).all() and stats.chisquare(counts).pvalue > .001


def test_within_group_permutation_is_calibrated_where_the_free_one_is_not():
    rng = generator(8)
    free, inside = [], []
    for _ in range(400):
        z = rng.integers(30, size=240)
        x, y = rng.normal(size=30)[z] + rng.normal(size=(2, 240))
        seen = corr(x, y)
        free.append(permutation_p(seen, [corr(x, rng.permutation(y)) for _ in range(59)]))
        inside.append(permutation_p(seen, [corr(x, y[permute_within(z, rng)]) for _ in range(59)]))
    assert np.mean(np.array(free) <= .05) > .9
    assert stats.kstest(inside, 'uniform').pvalue > .005


def test_permute_within_refuses_and_accepts_the_edges():
    assert permute_within([], 0).shape == (0,)
    with pytest.raises(FeatgeomError, match='One group per row'): permute_within(np.zeros((2, 2)), 0)


def test_seeds_reproduce_and_leave_the_global_state_alone():
    before = np.random.get_state()[1].copy()
    assert np.array_equal(permute_within(np.arange(9) % 2, 1), permute_within(np.arange(9) % 2, 1))
    assert np.array_equal(shifts(99, 5, 9, 1), shifts(99, 5, 9, 1))
    assert np.array_equal(np.random.get_state()[1], before)
    with pytest.raises(FeatgeomError): shifts(99, 5, 9, None)
