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
from featgeom.features import (_merged, _shards, feature_stats, feature_sums, firing_counts, outliers, token_labels, token_strings,
                               top_tokens)
from featgeom.matching import match

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
    for name in ('counts', 'rate', 'mean', 'largest'):
        np.testing.assert_allclose(getattr(feature_stats(memory), name), getattr(feature_stats(store), name))


@pytest.mark.parametrize('signed', [False, True])
def test_stats_equal_a_loop_and_are_nan_for_dead_features(signed):
    acts = make(60, 20, .05, signed=signed)
    dense, stats = acts.csr().toarray(), feature_stats(acts)
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
    for name in ('counts', 'rate', 'mean', 'largest', 'energy'):
        np.testing.assert_allclose(getattr(feature_stats(a), name), getattr(feature_stats(b), name), rtol=1e-12)
    for budget in (1, 20, 2**24):
        for name in ('ids', 'strings'): np.testing.assert_array_equal(getattr(top_tokens(a), name), getattr(top_tokens(b, budget=budget), name))
        np.testing.assert_allclose(top_tokens(a).weight, top_tokens(b, budget=budget).weight, rtol=1e-6)
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
    tree = _merged(range(n), lambda a, b: (a, b))
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
    for name in ('n', 'counts', 'total', 'square', 'low', 'high'): np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    np.testing.assert_array_equal(firing_counts(acts), firing_counts(acts, client=client))
    for name in ('mean', 'largest', 'energy'):
        np.testing.assert_array_equal(getattr(feature_stats(acts), name), getattr(feature_stats(acts, client=client), name))
    a, b = top_tokens(acts), top_tokens(acts, client=client)
    for name in ('ids', 'weight'): np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert token_labels(acts) == token_labels(acts, client=client)


@pytest.mark.parametrize('dense', [False, True])
def test_a_cluster_gives_the_same_bits(tmp_path, dense):
    acts, client = wild(tmp_path/'a', dense=dense), Cluster()
    same_on(client, acts)
    shards = len(acts.meta['shards'])
    assert shards == 16 and client.tasks % (2*shards - 1) == 0 and client.merges == client.tasks*(shards - 1)//(2*shards - 1)


def test_the_order_of_sums_matters_and_is_kept(tmp_path):
    acts = wild(tmp_path/'a')
    parts = [feature_sums(o).total for o in _shards(acts)]
    assert not np.array_equal(sum(parts[1:], parts[0]), feature_sums(acts).total)          # in a row, last digits differ
    np.testing.assert_array_equal(_merged(parts, np.add), feature_sums(acts).total)


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
    assert list(table.columns) == ['counts', 'rate', 'mean', 'largest', 'energy'] and table.index.name == 'feature'
    np.testing.assert_array_equal(table['mean'], stats.mean)
    long = top.table()
    assert len(long) == (top.ids >= 0).sum() and list(long.columns) == ['feature', 'rank', 'token_id', 'token', 'weight']
    np.testing.assert_array_equal(long[long['rank'] == 0].set_index('feature').token, top.strings[top.ids[:, 0] >= 0, 0])


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
