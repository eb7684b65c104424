"Statistics and top tokens of features equal plain loops; strings show what a token is."
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import sparse
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from featgeom.acts import FeatureActs, Rows
from featgeom.core import FeatgeomError
from featgeom.features import feature_stats, firing_counts, token_labels, token_strings, top_tokens

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
