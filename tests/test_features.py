"Statistics and top tokens of features equal plain loops, on clusters too; strings show what a token is; outliers are found."
import operator, pickle, tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import sparse
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from featgeom.acts import FeatureActs, Rows
from featgeom.core import FeatgeomError
from featgeom.features import activation_histograms, capacity, feature_stats, outliers, shown, token_labels, token_strings, top_tokens
from featgeom.matching import match
from featgeom.moments import block_sums, feature_sums, firing_counts, merged, over_columns, shards_of

EMOJI = ' family 👩‍👩‍👧\n\tend'


def make(n=80, f=12, density=.2, seed=0, signed=False, folder=None, shard=17):
    rng = np.random.default_rng(seed)
    matrix = sparse.random_array((n, f), density=density, rng=rng, dtype=np.float32, format='csr')
    if signed: matrix.data *= rng.choice([-1, 1], len(matrix.data)).astype('f4')
    ids = rng.choice([3, 5, 8, 13, 400], n)
    acts = FeatureActs.from_csr(matrix, Rows(doc=np.zeros(n, int), pos=np.arange(n), token_id=ids), tokens={o: f' t{o}' for o in (3, 5, 8, 13, 400)})
    return acts if folder is None else acts.save(folder, shard=shard)


def naive_top(acts, k):
    "Ids and shares by a loop over features and tokens."
    dense, token = abs(acts.csr().toarray().astype(float)), acts.rows.token_id
    out = []
    for j in range(acts.n_features):
        total = dense[:, j].sum()
        shares = sorted((-dense[token == id, j].sum(), id) for id in np.unique(token) if dense[token == id, j].sum() > 0)
        out.append([(id, -mass/total) for mass, id in shares[:k]])
    return out


@given(st.integers(1, 60), st.integers(1, 15), st.floats(0, .6), st.integers(0, 999), st.booleans(), st.integers(1, 6), st.sampled_from([1, 7, 50, 2**24]))
@settings(max_examples=60, deadline=None)
def test_top_tokens_equal_a_loop(n, f, density, seed, signed, k, budget):
    acts = make(n, f, density, seed, signed)
    top = top_tokens(acts, k, budget)
    for j, truth in enumerate(naive_top(acts, k)):
        m = len(truth)
        assert list(top.ids[j, m:]) == [-1]*(k - m) and list(top.strings[j, m:]) == ['']*(k - m) and not top.weight[j, m:].any()
        np.testing.assert_allclose(top.weight[j, :m], [w for _, w in truth], rtol=1e-5)
        assert list(top.ids[j, :m]) == [id for id, _ in truth]
        assert list(top.strings[j, :m]) == [f'␣t{id}' for id, _ in truth]


def test_ties_go_to_the_lower_id():
    acts = FeatureActs.from_csr([[1.], [1.], [1.]], Rows(doc=[0]*3, pos=range(3), token_id=[9, 2, 5]))
    assert top_tokens(acts, 2).ids.tolist() == [[2, 5]]


def test_a_store_gives_what_memory_gives(tmp_path):
    memory, store = make(), make(folder=tmp_path/'A')
    a, b = top_tokens(memory), top_tokens(store, budget=30)
    for name in ('ids', 'weight', 'strings'): np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    np.testing.assert_array_equal(firing_counts(memory), firing_counts(store))
    same_stats(feature_stats(memory, min_fires=1), feature_stats(store, min_fires=1))


STATS = 'counts rate mean largest energy sd quantiles skew kurtosis zero_skew zero_kurtosis'.split()

def same_stats(a, b, rtol=1e-9, names=STATS):
    for name in names: np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=rtol, err_msg=name)
    assert [getattr(a, o) for o in ('n', 'dead', 'rare', 'min_fires')] == [getattr(b, o) for o in ('n', 'dead', 'rare', 'min_fires')]


@pytest.mark.parametrize('signed', [False, True])
def test_stats_equal_a_loop_and_are_nan_for_dead_features(signed):
    acts = make(60, 20, .05, signed=signed)
    dense, stats = acts.csr().toarray(), feature_stats(acts, min_fires=1)
    assert firing_counts(acts).dtype == np.int64
    assert stats.dead == (dense == 0).all(0).sum() > 0
    for j in range(20):
        on = dense[dense[:, j] != 0, j]
        assert stats.counts[j] == firing_counts(acts)[j] == len(on) and stats.rate[j] == len(on)/60
        if len(on):
            np.testing.assert_allclose([stats.mean[j], stats.largest[j]], [on.astype(float).mean(), on[abs(on).argmax()]], rtol=1e-6)
        else: assert np.isnan(stats.mean[j]) and np.isnan(stats.largest[j])


def test_all_dead_features_have_no_tokens_and_no_label():
    acts = FeatureActs.from_csr(np.zeros((4, 3)), Rows(doc=[0]*4, pos=range(4), token_id=[1, 2, 3, 4]))
    top = top_tokens(acts, 2)
    assert (top.ids == -1).all() and not top.weight.any() and (top.strings == '').all()
    assert token_labels(acts) == ['', '', ''] and feature_stats(acts).dead == 3
    assert np.isnan(top.entropy).all() and not top.tokens.any()


def test_labels_without_token_strings_show_ids():
    acts = FeatureActs.from_csr([[1., 0], [2, 1]], Rows(doc=[0, 0], pos=[0, 1], token_id=[4, 6]))
    assert token_labels(acts) == ['#6 · #4', '#6']


def test_rows_that_are_not_tokens_are_refused():
    with pytest.raises(FeatgeomError, match='without token ids'): top_tokens(FeatureActs.from_csr(np.eye(3)))
    with pytest.raises(FeatgeomError, match='k=0'): top_tokens(make(), 0)


def byte_level():
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer, tok.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tok.train_from_iterator([' family family'], trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False))
    return PreTrainedTokenizerFast(tokenizer_object=tok)

def byte_fallback():
    vocab = {o: i for i, o in enumerate(['<unk>', *(f'<0x{o:02X}>' for o in range(256)), *'▁famiyend', '▁f', 'l'])}
    tok = Tokenizer(models.BPE(vocab, [('▁', 'f')], unk_token='<unk>', byte_fallback=True))
    tok.normalizer = normalizers.Replace(' ', '▁')
    tok.decoder = decoders.Sequence([decoders.Replace('▁', ' '), decoders.ByteFallback(), decoders.Fuse()])
    return PreTrainedTokenizerFast(tokenizer_object=tok, unk_token='<unk>')

@pytest.mark.parametrize('tok', [byte_level(), byte_fallback()], ids=['byte level', 'byte fallback'])
def test_split_characters_are_shown_as_their_bytes(tok):
    shown = token_strings(tok, tok(EMOJI, add_special_tokens=False).input_ids)
    assert shown[0][:2] == '␣f'[:len(shown[0])] and '⏎' in shown and '⇥' in shown
    data = b''.join(o.encode().replace('⟨0x'.encode(), b'') for o in shown)
    bytes_shown = ''.join(shown)
    woman = ''.join(f'⟨0x{o:02X}⟩' for o in '👩'.encode())
    assert bytes_shown.count(woman) == 2 and '⟨0xE2⟩⟨0x80⟩⟨0x8D⟩' in bytes_shown and data
    assert all(o.isprintable() and '\n' not in o for o in shown)


def test_strings_hide_nothing_and_escape_nothing():
    acts = FeatureActs.from_csr(np.eye(6), Rows(doc=[0]*6, pos=range(6), token_id=range(6)),
                                tokens={0: '</script><img onerror=x>', 1: '\u202egnp', 2: '\u2028', 3: '\x1b[31m', 4: '\u00a0x', 5: '👑'})
    assert token_strings(acts, range(6)) == ['</script><img␣onerror=x>', '⟨U+202E⟩gnp', '⟨U+2028⟩', '⟨U+001B⟩[31m', '⟨U+00A0⟩x', '👑']


# --- dense stores, spans, shards and clusters -------------------------------------------------------------------------------------

def both(n=300, f=12, seed=0, folder=None, shard=64, kind='token'):
    "The same signed activations as a sparse and as a dense store."
    sparse_acts = make(n, f, .3, seed, signed=True)
    rows = Rows(**sparse_acts.rows.columns, kind=kind)
    found = [FeatureActs.from_csr(sparse_acts.csr(), rows, tokens=sparse_acts.tokens),
             FeatureActs.from_dense(sparse_acts.csr().toarray(), rows, tokens=sparse_acts.tokens)]
    return found if folder is None else [o.save(folder/name, shard=shard) for o, name in zip(found, ('sparse', 'dense'))]


@pytest.mark.parametrize('kind', ['token', 'span'])
@pytest.mark.parametrize('stored', [False, True])
def test_dense_activations_give_what_sparse_ones_give(tmp_path, stored, kind):
    a, b = both(folder=tmp_path if stored else None, kind=kind)
    assert b.dense and not a.dense
    np.testing.assert_array_equal(firing_counts(a), firing_counts(b))
    assert firing_counts(b).dtype == np.int64
    same_stats(feature_stats(a), feature_stats(b))
    for name in ('low', 'high', 'counts', 'knots'):
        np.testing.assert_array_equal(getattr(activation_histograms(a), name), getattr(activation_histograms(b), name))
    for budget in (1, 20, 2**24):
        for name in ('ids', 'strings'): np.testing.assert_array_equal(getattr(top_tokens(a), name), getattr(top_tokens(b, budget=budget), name))
        for name in ('weight', 'entropy', 'tokens'):
            np.testing.assert_array_equal(getattr(top_tokens(a), name), getattr(top_tokens(b, budget=budget), name))
    assert token_labels(a) == token_labels(b)
    for name in ('keep', 'norm', 'rows', 'features'): np.testing.assert_array_equal(getattr(outliers(a, 1.3, 1.5), name), getattr(outliers(b, 1.3, 1.5), name))


def test_energy_is_the_mean_square_over_all_rows():
    acts = make(60, 20, .05, signed=True)
    np.testing.assert_allclose(feature_stats(acts).energy, (acts.csr().toarray().astype(float)**2).mean(0), rtol=1e-12)


@given(st.integers(1, 70))
@settings(max_examples=70, deadline=None)
def test_parts_are_merged_as_in_a_tournament(n):
    depth = lambda o: 0 if isinstance(o, int) else 1 + max(map(depth, o))
    flat = lambda o: [o] if isinstance(o, int) else flat(o[0]) + flat(o[1])
    tree = merged(range(n), lambda a, b: (a, b))
    assert flat(tree) == list(range(n)) and depth(tree) == int(np.ceil(np.log2(n)))
    level = list(range(n))
    while len(level) > 1: level = [tuple(level[i:i + 2]) if len(level[i:i + 2]) == 2 else level[i] for i in range(0, len(level), 2)]
    assert tree == level[0]


class Cluster:
    "A stand-in for a Dask client: every task and result travels as bytes, and tasks run when they are asked for."
    class Future:
        def __init__(self, work): self.work = work
    def __init__(self): self.tasks, self.merges = 0, 0
    def submit(self, f, *args, pure=True):
        assert pure is False
        self.tasks, self.merges = self.tasks + 1, self.merges + (f is operator.add)
        return self.Future((pickle.dumps((f, [None if isinstance(o, self.Future) else o for o in args])), args))
    def gather(self, futures):
        out = []
        for future in futures:
            f, args = pickle.loads(future.work[0])
            args = [self.gather([given])[0] if isinstance(given, self.Future) else o for o, given in zip(args, future.work[1])]
            out.append(pickle.loads(pickle.dumps(f(*args))))
        return out


def wild(folder, n=1000, f=20, shard=64, dense=False):
    "A store whose values differ so much in size that any other order of sums is seen in the last digits."
    rng = np.random.default_rng(5)
    matrix = sparse.random_array((n, f), density=.3, rng=rng, dtype=np.float32, format='csr')
    matrix.data = (rng.standard_normal(len(matrix.data))*10.**rng.integers(-6, 6, len(matrix.data))).astype('f4')
    rows = Rows(doc=np.zeros(n, int), pos=np.arange(n), token_id=rng.integers(0, 30, n))
    acts = FeatureActs.from_dense(matrix.toarray(), rows) if dense else FeatureActs.from_csr(matrix, rows)
    return acts.save(folder, shard=shard)


def same_on(client, acts):
    "All statistics of a store are the same numbers, to the last bit, on a cluster."
    a, b = feature_sums(acts), feature_sums(acts, client=client)
    for name in ('n', 'counts', 'total', 'square', 'low', 'high', 'moments'): np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    np.testing.assert_array_equal(firing_counts(acts), firing_counts(acts, client=client))
    a, b = feature_stats(acts), feature_stats(acts, client=client)
    for name in STATS: np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    a, b = top_tokens(acts), top_tokens(acts, budget=500, client=client)
    for name in ('ids', 'weight', 'entropy', 'tokens'): np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert token_labels(acts) == token_labels(acts, client=client)


@pytest.mark.parametrize('dense', [False, True])
def test_a_cluster_gives_the_same_bits(tmp_path, dense):
    acts, client = wild(tmp_path/'a', dense=dense), Cluster()
    same_on(client, acts)
    assert len(acts.meta['shards']) == 16 and client.merges % 15 == 0 and client.tasks > client.merges*31//15


def test_the_order_of_sums_matters_and_is_kept(tmp_path):
    acts = wild(tmp_path/'a')
    parts = [feature_sums(o).total for o in shards_of(acts)]
    assert not np.array_equal(sum(parts[1:], parts[0]), feature_sums(acts).total)          # in a row, last digits differ
    np.testing.assert_array_equal(merged(parts, np.add), feature_sums(acts).total)


def test_two_processes_of_dask_give_the_same_bits(tmp_path):
    distributed = pytest.importorskip('distributed')
    acts = wild(tmp_path/'a')
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=':0') as cluster, \
         distributed.Client(cluster) as client: same_on(client, acts)


def test_a_client_needs_a_folder_and_its_methods(tmp_path):
    with pytest.raises(FeatgeomError, match='Leave client= out'): feature_stats(make(), client=Cluster())
    with pytest.raises(FeatgeomError, match='client of type int'): firing_counts(wild(tmp_path/'a'), client=3)


def test_a_store_of_no_rows_has_dead_features(tmp_path):
    for acts in (FeatureActs.from_csr(np.zeros((0, 3))), FeatureActs.from_csr(np.zeros((0, 3))).save(tmp_path/'a')):
        stats = feature_stats(acts)
        assert (stats.n, stats.dead) == (0, 3) and not stats.energy.any() and not firing_counts(acts).any()
        assert outliers(acts).keep.shape == (0,)


def test_tables_are_for_pandas():
    acts = make()
    stats, top = feature_stats(acts), top_tokens(acts, 2)
    table = stats.table()
    levels = [f'q{o:g}' for o in stats.levels]
    assert list(table.columns) == 'counts rate mean sd largest energy skew kurtosis zero_skew zero_kurtosis'.split() + levels
    np.testing.assert_array_equal(table['mean'], stats.mean)
    assert table.index.name == 'feature' and (table['q1'] == stats.quantiles[:, -1]).sum() == (stats.counts >= 50).sum()
    wide = feature_stats(acts, np.ones((12, 3))).table()
    assert {'decoder_norm', 'capacity'} <= set(wide.columns) and wide.decoder_norm[0] == pytest.approx(3**.5)
    long = top.table()
    assert len(long) == (top.ids >= 0).sum() and list(long.columns) == ['feature', 'rank', 'token_id', 'token', 'weight']
    np.testing.assert_array_equal(long[long['rank'] == 0].set_index('feature').token, top.strings[top.ids[:, 0] >= 0, 0])


# --- moments, quantiles, capacity, histograms -----------------------------------------------------------------------------------------

def naive(x, levels):
    "The statistics of one feature, x (n,), by their definitions, in the precision of a long double."
    x = x.astype(np.longdouble)
    on, d, var = x[x != 0], x - x.mean(), x.var()
    return dict(counts=len(on), rate=len(on)/len(x), mean=on.mean(), largest=on[abs(on).argmax()], energy=(x**2).mean(), sd=on.std(),
                skew=(d**3).mean()/var**1.5, kurtosis=(d**4).mean()/var**2, zero_skew=(x**3).mean()/var**1.5,
                zero_kurtosis=(x**4).mean()/var**2, quantiles=np.quantile(on.astype(float), levels))


@given(st.integers(20, 200), st.sampled_from(['sparse', 'signed', 'shifted', 'small', 'large']), st.integers(0, 999), st.integers(1, 50))
@settings(max_examples=30, deadline=None)
def test_every_statistic_equals_its_definition(n, kind, seed, shard):
    rng = np.random.default_rng(seed)
    x = rng.exponential(size=(n, 4))*(rng.random((n, 4)) < .5)
    if kind == 'signed': x *= rng.choice([-1, 1], x.shape)
    if kind == 'shifted': x += 1000
    x = (x*dict(small=1e-12, large=1e12).get(kind, 1)).astype('f4')
    x[0], x[1] = 3*abs(x).max() + 1, 0                                        # no constant and no dead feature
    parts = [block_sums(FeatureActs.from_dense(x[a:a + shard])) for a in range(0, n, shard)]
    both = merged(parts, operator.add), feature_sums(FeatureActs.from_csr(x))
    np.testing.assert_allclose(both[0].all_rows(), both[1].all_rows(), rtol=1e-9)
    for acts in (FeatureActs.from_csr(x), FeatureActs.from_dense(x)):
        stats = feature_stats(acts, min_fires=1, levels=(0, .1, .5, .77, 1))
        for j in range(4):
            for name, value in naive(x[:, j], stats.levels).items():
                np.testing.assert_allclose(getattr(stats, name)[j], np.float64(value), rtol=1e-8, err_msg=name)


def test_moments_are_those_of_scipy():
    from scipy.stats import kurtosis, skew
    x = (np.random.default_rng(0).gamma(2, size=(3000, 3))*(np.random.default_rng(1).random((3000, 3)) < .2)).astype('f4')
    stats = feature_stats(FeatureActs.from_csr(x))
    np.testing.assert_allclose(stats.skew, skew(x.astype(float)), rtol=1e-9)
    np.testing.assert_allclose(stats.kurtosis, kurtosis(x.astype(float), fisher=False), rtol=1e-9)
    assert (abs(stats.zero_kurtosis/stats.kurtosis - 1) > .05).all() and (abs(stats.zero_skew/stats.skew - 1) > .05).all()


N = 2_000_000

@pytest.mark.parametrize('draw, p, kurt, skewness', [
    (lambda r, m: r.uniform(-1, 1, m), .1, 18, 0), (lambda r, m: r.standard_normal(m), .1, 30, 0), (lambda r, m: r.exponential(size=m), .5, 13, None),
    (lambda r, m: r.exponential(size=m), .1, 60.158, 6.544), (lambda r, m: np.ones(m), .1, 8.111, 2.667), (lambda r, m: np.ones(m), .5, 1, 0),
    (lambda r, m: r.uniform(0, 1, m), .1, 16.284, 3.740)], ids=['uniform', 'normal', 'exp .5', 'exp .1', 'one .1', 'one .5', 'unit'])
def test_slabs_have_the_moments_that_theory_says(draw, p, kurt, skewness):
    rng = np.random.default_rng(0)
    rows = np.flatnonzero(rng.random(N) < p)
    stats = feature_stats(FeatureActs.from_csr(sparse.csr_array((draw(rng, len(rows)).astype('f4'), (rows, rows*0)), shape=(N, 1))))
    assert stats.kurtosis[0] == pytest.approx(kurt, rel=.03)
    if skewness is not None: assert stats.skew[0] == pytest.approx(skewness, rel=.01, abs=.05)


def test_quantiles_are_numpys_and_a_constant_feature_has_no_skew():
    acts = make(500, 6, .5, signed=True)
    x = acts.csr().toarray()
    x[:, 5] = .1
    stats = feature_stats(FeatureActs.from_dense(x), levels=np.linspace(0, 1, 17))
    for j in range(6): np.testing.assert_allclose(stats.quantiles[j], np.quantile(x[x[:, j] != 0, j].astype(float), stats.levels), rtol=1e-14)
    assert np.isnan([stats.skew[5], stats.kurtosis[5], stats.zero_skew[5]]).all() and stats.sd[5] == 0 and stats.mean[5] == np.float32(.1)
    assert stats.quantiles.shape == (6, 17) and not np.isnan(stats.kurtosis[:5]).any()


def test_rare_features_are_counted_and_nan():
    x = np.zeros((200, 4), 'f4')
    x[:49, 0], x[:50, 1], x[0, 2] = np.arange(49) + 1, np.arange(50) + 1, 7
    stats = feature_stats(FeatureActs.from_csr(x))
    assert (stats.dead, stats.rare, stats.min_fires) == (1, 2, 50) and stats.counts.tolist() == [49, 50, 1, 0]
    for name in ('mean', 'sd', 'quantiles', 'skew', 'kurtosis', 'zero_skew', 'zero_kurtosis'):
        assert np.isnan(getattr(stats, name).reshape(4, -1)).all(1).tolist() == [True, False, True, True], name
    assert stats.largest[2] == 7 and np.isnan(stats.largest[3]) and stats.energy[2] == 49/200
    one = feature_stats(FeatureActs.from_csr(x), min_fires=1)
    assert (one.rare, one.sd[2]) == (0, 0) and feature_stats(FeatureActs.from_csr(x), min_fires=1).quantiles[2].tolist() == [7]*7


@pytest.mark.parametrize('W, value', [(np.eye(4), 1), ([[1, 0], [-1, 0]], 1/2), ([[1, 0], [-.5, 3**.5/2], [-.5, -3**.5/2]], 2/3),
    ([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], 3/4), (np.stack([np.cos(np.arange(5)*.4*np.pi), np.sin(np.arange(5)*.4*np.pi)], 1), 2/5)])
def test_capacity_of_known_shapes(W, value):
    for scale in (1, 1e-20, 1e20): np.testing.assert_allclose(capacity(np.array(W, float)*scale), value)


def test_capacity_of_random_directions_and_by_definition():
    W = np.random.default_rng(0).standard_normal((2048, 512))
    own = capacity(W/np.linalg.norm(W, axis=1, keepdims=True))
    assert own.mean() == pytest.approx(.2003, abs=.0005) and own.sum() <= 512
    some = np.random.default_rng(1).standard_normal((30, 7))*np.arange(30)[:, None]
    gram = some @ some.T
    np.testing.assert_allclose(capacity(some)[1:], (np.diag(gram)**2/(gram**2).sum(1).clip(1e-300))[1:])
    assert np.isnan(capacity(some)[0])
    for bad in ('x', np.ones(3), [[np.nan, 1]], None):
        with pytest.raises(FeatgeomError): capacity(bad)


def test_a_decoder_belongs_to_its_features():
    acts, W = make(), np.random.default_rng(0).standard_normal((12, 5))
    stats = feature_stats(acts, W)
    np.testing.assert_allclose(stats.decoder_norm, np.linalg.norm(W, axis=1))
    np.testing.assert_array_equal(stats.capacity, capacity(W))
    assert feature_stats(acts).decoder_norm is None and feature_stats(acts).capacity is None
    with pytest.raises(FeatgeomError, match='A decoder of 3 features'): feature_stats(acts, W[:3])
    for bad in ([2.], [-.1], 'x', [[.5]], [np.nan]):
        with pytest.raises(FeatgeomError, match='levels'): feature_stats(acts, levels=bad)


@pytest.mark.parametrize('signed', [False, True])
def test_histograms_are_numpys(signed):
    acts = make(400, 9, .2, signed=signed)
    hist, x = activation_histograms(acts, bins=10), acts.csr().toarray().astype(float)
    assert hist.counts.dtype == np.int64 and hist.knots.shape == (9, 33) and hist.knots.dtype == np.float32
    for j in range(9):
        on = x[x[:, j] != 0, j]
        ends = min(on.min(), 0), max(on.max(), 0)
        assert (hist.low[j], hist.high[j]) == ends
        np.testing.assert_array_equal(hist.counts[j], np.histogram(on, 10, ends)[0])
        np.testing.assert_allclose(hist.knots[j], np.quantile(on, np.arange(33)/32), rtol=1e-6)
    some = activation_histograms(acts, [2, 7], bins=10)
    np.testing.assert_array_equal(some.counts, hist.counts[[2, 7]])
    assert some.ids.tolist() == [2, 7] and len(activation_histograms(acts, []).ids) == 0
    with pytest.raises(FeatgeomError, match='nearest: 11'): activation_histograms(make(), [12])


def test_a_dead_feature_has_an_empty_histogram():
    hist = activation_histograms(FeatureActs.from_csr(np.zeros((5, 2))))
    assert not hist.counts.any() and np.isnan(hist.low).all() and np.isnan(hist.knots).all()


def test_with_an_index_only_the_features_asked_for_are_read(tmp_path, monkeypatch):
    acts = make(folder=tmp_path/'a').index()
    monkeypatch.setattr(FeatureActs, '_parts', lambda self: pytest.fail('the whole store was read'))
    assert activation_histograms(acts, [1, 3]).counts.sum() == feature_counts(acts, [1, 3])

def feature_counts(acts, ids): return sum(len(acts.column(j)[0]) for j in ids)


def test_columns_in_blocks_and_on_a_cluster_give_the_same(tmp_path):
    acts, client = make(folder=tmp_path/'a'), Cluster()
    whole = over_columns(acts, spans)
    for budget in (1, 20, 1000):
        for how in (dict(), dict(client=client)):
            for a, b in zip(whole, over_columns(acts, spans, budget=budget, **how)): np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(over_columns(acts, spans, ids=[3, 5], client=client)[0], whole[0][[3, 5]])

def spans(pointers, rows, values): return np.diff(pointers), np.array([values[a:b].sum() for a, b in zip(pointers, pointers[1:])])


@given(st.integers(1, 60), st.integers(0, 999), st.integers(1, 40))
@settings(max_examples=30, deadline=None)
def test_entropy_is_over_all_tokens(n, seed, vocab):
    rng = np.random.default_rng(seed)
    x, token = rng.exponential(size=(n, 2)).astype('f4'), rng.integers(0, vocab, n)
    top = top_tokens(FeatureActs.from_csr(x, Rows(doc=np.zeros(n, int), pos=np.arange(n), token_id=token)), 1)
    for j in range(2):
        mass = np.bincount(token, weights=x[:, j])
        share = mass[mass > 0]/mass.sum()
        assert top.entropy[j] == pytest.approx(-(share*np.log2(share)).sum(), abs=1e-9) and top.tokens[j] == len(share)
        assert top.weight[j, 0] == pytest.approx(share.max(), rel=1e-5)


def test_shown_is_for_one_line():
    assert shown('a b\n\u202e') == 'a␣b⏎⟨U+202E⟩'


# --- outliers ---------------------------------------------------------------------------------------------------------------------

def with_sinks(n=500, f=40, seed=1, at=(3, 77, 300), size=100.):
    rng = np.random.default_rng(seed)
    x = rng.random((n, f))*(rng.random((n, f)) < .1)
    x[list(at)] = rng.random((len(at), f))*size*np.arange(1, len(at) + 1)[:, None]
    rows = Rows(doc=np.arange(n)//50, pos=np.arange(n) % 50, token_id=np.arange(n) % 7)
    return x.astype('f4'), rows


@pytest.mark.parametrize('layout', ['csr', 'dense', 'stored csr', 'stored dense'])
def test_sinks_and_outlying_features_are_found_and_named(tmp_path, layout):
    x, rows = with_sinks()
    x[:, 5] = 200 + x[:, 6]
    tokens = {i: f' t{i}' for i in range(7)}
    acts = FeatureActs.from_dense(x, rows, tokens=tokens) if 'dense' in layout else FeatureActs.from_csr(x, rows, tokens=tokens)
    if 'stored' in layout: acts = acts.save(tmp_path/'a', shard=64)
    found, norm = outliers(acts, factor=2), np.linalg.norm(x.astype(float), axis=1)
    median = np.median(norm[norm > 0])
    np.testing.assert_allclose(found.norm, norm, rtol=1e-6)
    assert found.median == pytest.approx(median)
    assert set(found.rows) == set(np.flatnonzero(norm >= 2*median)) == {77, 300, 3} and list(found.rows) == list(np.argsort(-norm)[:3])
    np.testing.assert_array_equal(found.keep, norm < 2*median)
    np.testing.assert_allclose(found.energy, (x[found.keep].astype(float)**2).mean(0))
    assert found.features.tolist() == [5] and found.share == pytest.approx((norm[~found.keep]**2).sum()/(norm**2).sum())
    table = found.table()
    assert list(table.columns) == ['row', 'doc', 'pos', 'token', 'feature', 'feature_share', 'norm', 'medians', 'share']
    np.testing.assert_array_equal(table.feature, abs(x[found.rows]).argmax(1))
    np.testing.assert_allclose(table.feature_share, (abs(x[found.rows]).max(1)/norm[found.rows])**2, rtol=1e-5)
    top = table.iloc[0]
    assert (top['doc'], top['pos'], top['token']) == (rows.doc[top['row']], rows.pos[top['row']], f'␣t{rows.token_id[top["row"]]}')
    assert table.share.sum() == pytest.approx(found.share) and found.feature_table().medians[0] > 1000
    kept = acts.select(found.keep)
    assert len(kept) == found.keep.sum() and outliers(kept, factor=2).keep.all()
    found.plot()


def test_features_are_judged_without_the_sinks():
    x, rows = with_sinks(size=1e5)
    x[[3, 77, 300], 9] *= 1e6
    assert outliers(FeatureActs.from_csr(x, rows)).features.tolist() == []


def test_a_rare_huge_feature_is_named_by_the_rows_it_spoils():
    x, rows = with_sinks(size=0)
    x[::25, 5] = 500
    found = outliers(FeatureActs.from_csr(x, rows))
    assert sorted(found.rows) == list(range(0, 500, 25)) and set(found.table().feature) == {5} and found.table().feature_share.min() > .99


def test_silence_has_no_outliers_and_most_rows_may_be_silent():
    assert outliers(FeatureActs.from_csr(np.zeros((4, 3)))).keep.all()
    x = np.zeros((100, 3))
    x[:10, 0], x[10, 0] = 1, 50
    found = outliers(FeatureActs.from_csr(x))
    assert found.rows.tolist() == [10] and found.median == 1 and list(found.table().columns) == ['row', 'doc', 'feature', 'feature_share', 'norm', 'medians', 'share']


@pytest.mark.parametrize('bad', [dict(factor=1), dict(factor='10'), dict(factor=np.nan), dict(feature_factor=0), dict(factor=np.inf)])
def test_bad_factors_are_refused(bad):
    with pytest.raises(FeatgeomError, match=next(iter(bad))): outliers(make(), **bad)


def test_outliers_hold_a_block_at_a_time(tmp_path):
    acts = make(n=40_000, f=200, density=.1, folder=tmp_path/'a', shard=2000)
    outliers(acts)
    tracemalloc.start()
    outliers(acts)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8*acts.nnz/3, f'{peak/1e6:.1f} MB of {8*acts.nnz/1e6:.1f}'


def test_a_shared_sink_makes_strangers_match_until_it_is_masked():
    rng = np.random.default_rng(0)
    rows = Rows(doc=np.arange(4000)//40, pos=np.arange(4000) % 40, token_id=rng.integers(0, 50, 4000))
    xs = [rng.random((4000, 60))*(rng.random((4000, 60)) < .03) for _ in range(2)]
    for x in xs: x[2000] = 1000*rng.random(60)
    a, b = (FeatureActs.from_csr(x, rows, name=name) for x, name in zip(xs, 'AB'))
    options = dict(given=None, shifts=19, min_fires=20)
    fooled = match(a, b, **options).best()
    keep = outliers(a).keep & outliers(b).keep
    assert np.flatnonzero(~keep).tolist() == [2000]
    masked = match(a.select(keep), b.select(keep), **options).best()
    assert np.median(fooled.score) > .99 and (fooled.q < .05).mean() > .9
    assert np.median(masked.score) < .1 and (masked.q < .05).mean() < .05
    assert abs(np.median(masked.score) - np.median(masked.null)) < .05
