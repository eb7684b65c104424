"Spans of two tokenizations against a slow reference, pooling against brute force, real tokenizers, texts cut alike."
from itertools import combinations, permutations
import re

from hypothesis import given, settings, strategies as st
from scipy import sparse
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast
import numpy as np
import pytest

from featgeom import align
from featgeom.acts import FeatureActs, StoreWriter
from featgeom.align import align_spans, common_spans, split_alike
from featgeom.collecting import token_bytes
from featgeom.core import FeatgeomError
from featgeom.matching import match
from featgeom.within import row_groups
from featgeom.models import LanguageModel
from featgeom.shards import Rows
from featgeom.stories import storybook

# --- the reference -------------------------------------------------------------------------------

def boundaries(tokens):
    "{tokens before: (first, last place)} of a list of (start, end), by the definition."
    out = {}
    for k in range(len(tokens) + 1):
        lo = max([0, *(e for _, e in tokens[:k])])
        hi = min([s for s, _ in tokens[k:]], default=lo)
        if lo <= hi: out[k] = lo, hi
    return out

def seen_before(text): return np.r_[0, np.cumsum([not o.isspace() for o in text])]

def spans_without_gaps(a, b, text):
    "Ends of spans of two tokenizations that leave nothing out, by sets: [(end in A, end in B)]."
    ends_a, ends_b, seen = ({e for _, e in o} | {0} for o in (a, b)), None, seen_before(text)
    ends_a, ends_b = ends_a
    cuts = {(e, e) for e in ends_a & ends_b}
    for p in set(seen.tolist()):
        here_a, here_b = ({e for e in ends if seen[e] == p} for ends in (ends_a, ends_b))
        if here_a and here_b and not here_a & here_b: cuts.add((min(here_a), min(here_b)))
    return sorted(cuts)

def columns(tokens): return np.array(tokens, np.int64).reshape(-1, 2).T

def check(a, b, text, spans):
    "What must hold of any spans: the ends agree, nothing smaller does, tokens are in one at most."
    seen, bounds = seen_before(text), [boundaries(o) for o in (a, b)]
    def differ_by_white(x, y): return seen[x[0]] <= seen[y[1]] and seen[y[0]] <= seen[x[1]]
    def meet(x, y): return x[0] <= y[1] and y[0] <= x[1]
    for side in (0, 1):
        first, last = spans[:, 2*side], spans[:, 2*side + 1]
        assert (first < last).all() and (first[1:] >= last[:-1]).all() and (not len(last) or last[-1] <= len((a, b)[side]))
    assert (spans[:, 4] <= spans[:, 5]).all() and (spans[1:, 4] >= spans[:-1, 5]).all()
    for i, j, k, l, start, end in spans.tolist():
        for x, y in ((i, k), (j, l)):
            assert x in bounds[0] and y in bounds[1] and differ_by_white(bounds[0][x], bounds[1][y])
        inside = [(bounds[0][x], bounds[1][y]) for x in range(i + 1, j) for y in range(k + 1, l) if x in bounds[0] and y in bounds[1]]
        assert not any(meet(x, y) for x, y in inside), 'a smaller span'
        if meet(bounds[0][i], bounds[1][k]):                                    # tokens in a gap of the other side stay out
            assert not any(x in bounds[0] and meet(bounds[0][x], bounds[1][k]) for x in range(i + 1, j))
            assert not any(y in bounds[1] and meet(bounds[0][i], bounds[1][y]) for y in range(k + 1, l))
        ends = [(bounds[0][x], bounds[1][y]) for x, y in ((i, k), (j, l))]
        opens, closes = min(seen[min(ends[0][0][1], ends[0][1][1])], seen[start]), max(seen[o[0]] for o in ends[1])
        for x, y in inside:
            at = max(seen[x[0]], seen[y[0]]), min(seen[x[1]], seen[y[1]])
            assert not (at[0] <= at[1] and opens < at[0] and at[1] < closes), 'white space hides a smaller span'

def cut_at(text, cuts):
    edges = sorted({0, len(text), *(o for o in cuts if 0 < o < len(text))})
    return [o for o in zip(edges[:-1], edges[1:])] if text else []

TEXT = st.text('ab \n', min_size=1, max_size=14)
CUTS = st.sets(st.integers(0, 14))

@settings(max_examples=200, deadline=None)
@given(TEXT, CUTS, CUTS)
def test_spans_are_those_of_the_reference(text, cuts_a, cuts_b):
    a, b = cut_at(text, cuts_a), cut_at(text, cuts_b)
    spans = common_spans(*columns(a), *columns(b), text)
    cuts = spans_without_gaps(a, b, text)
    want = [(x[0], y[0], x[1], y[1]) for x, y in zip(cuts[:-1], cuts[1:])]
    assert [(a[i][0], a[j - 1][1], b[k][0], b[l - 1][1]) for i, j, k, l, *_ in spans] == want
    check(a, b, text, spans)
    assert sum(spans[:, 1] - spans[:, 0]) == len(a) and sum(spans[:, 3] - spans[:, 2]) == len(b)      # nothing is left out
    assert ''.join(text[o:p] for o, p in spans[:, 4:]) == text

@settings(max_examples=300, deadline=None)
@given(TEXT, CUTS, CUTS, st.sampled_from(['strip', 'drop', 'lead']), st.sampled_from(['strip', 'drop', 'lead']))
def test_conventions_of_white_space_lose_no_visible_text(text, cuts_a, cuts_b, way_a, way_b):
    def told(tokens, way):
        "Offsets without the spaces around a token; tokens of spaces alone dropped, or of no width."
        out = []
        for s, e in tokens:
            part = text[s:e]
            if way == 'lead': out.append((s, e))
            elif part.strip(): out.append((s + len(part) - len(part.lstrip()), e - len(part) + len(part.rstrip())))
            elif way == 'strip': out.append((e, e))
        return out
    a, b = told(cut_at(text, cuts_a), way_a), told(cut_at(text, cuts_b), way_b)
    spans = common_spans(*columns(a), *columns(b), text)
    check(a, b, text, spans)
    inside = {c for o, p in spans[:, 4:] for c in range(o, p)}
    assert all(c in inside for c, o in enumerate(text) if not o.isspace())
    for tokens, first, last in ((a, spans[:, 0], spans[:, 1]), (b, spans[:, 2], spans[:, 3])):
        used = {t for o, p in zip(first, last) for t in range(o, p)}
        assert all(t in used for t, (s, e) in enumerate(tokens) if text[s:e].strip())

OFFSETS = st.lists(st.tuples(st.integers(-1, 12), st.integers(-1, 13)), max_size=8)

@settings(max_examples=200, deadline=None)
@given(OFFSETS, OFFSETS, st.sampled_from([None, 'a b  cd e fgh', ' '*13]))
def test_hostile_offsets_give_spans_or_an_error(a, b, text):
    try: spans = common_spans(*columns(a), *columns(b), text)
    except FeatgeomError: assert any(s < 0 or e < s or e > 13 for s, e in a + b)
    else: check(a, b, text or 'x'*13, spans)

@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10), st.integers(0, 3)), max_size=8), st.lists(st.tuples(st.integers(0, 10), st.integers(0, 3)), max_size=8))
def test_shuffled_and_overlapping_offsets_keep_the_promise(a, b):
    a, b = ([(s, s + n) for s, n in o] for o in (a, b))
    check(a, b, 'a b  cd e fghi', common_spans(*columns(a), *columns(b), 'a b  cd e fghi'))

def test_offsets_that_no_text_has_are_refused():
    for start, end, what in (([0., 1], [1., 2], 'whole numbers'), ([0, 1], [1], 'Two columns'), ([2], [1], 'covers'), ([-1], [1], 'covers')):
        with pytest.raises(FeatgeomError, match=what): common_spans(start, end, [0], [1], 'ab')

def test_white_space_goes_to_the_span_that_follows():
    text = 'Once upon a time'
    a, b = [(0, 5), (5, 10), (10, 12), (12, 16)], [(0, 4), (4, 9), (9, 11), (11, 16)]
    assert [text[o:p] for o, p in common_spans(*columns(a), *columns(b), text)[:, 4:]] == ['Once', ' upon', ' a', ' time']

def test_text_that_one_side_drops_is_in_no_span():
    a, b = [(0, 2), (4, 6)], [(0, 2), (2, 3), (3, 4), (4, 6)]
    assert common_spans(*columns(a), *columns(b), 'abcdef')[:, :4].tolist() == [[0, 1, 0, 1], [1, 2, 3, 4]]
    assert common_spans(*columns(b), *columns(a), 'abcdef')[:, :4].tolist() == [[0, 1, 0, 1], [3, 4, 1, 2]]

# --- pooling -------------------------------------------------------------------------------------

def segments(rng, n, m):
    "m disjoint rising runs of rows, with gaps."
    edges = np.sort(rng.choice(n + 1, 2*m, replace=False))
    return edges[::2], edges[1::2]

@pytest.mark.parametrize('seed', range(2))
@pytest.mark.parametrize('shard', [17, 40, 10**6])
def test_pooling_is_brute_force_over_any_blocks(tmp_path, seed, shard):
    rng = np.random.default_rng(seed)
    matrix = sparse.random_array((120, 9), density=.3, rng=rng, format='csr', dtype='f4')
    matrix.data = np.round(matrix.data*6 - 3)                                     # ties, both signs, zeros
    acts = FeatureActs.from_csr(matrix).save(tmp_path/'s', shard=shard)
    dense = acts.csr().toarray()
    for m in (1, 10, 40):
        first, last = segments(rng, 120, m)
        want = np.array([[max(column, key=lambda v: (abs(v), v)) for column in dense[i:j].T] for i, j in zip(first, last)])
        parts = list(align._pooled(acts, first, last))
        got = sparse.vstack([o for *_, o in parts], format='csr')
        np.testing.assert_array_equal(got.toarray(), want)
        assert got.data.all() and all((np.diff(got.indices[i:j]) > 0).all() for i, j in zip(got.indptr[:-1], got.indptr[1:]))
        assert [o for o, *_ in parts] == [0, *[p for _, p, _ in parts[:-1]]] and parts[-1][1] == m
        np.testing.assert_array_equal(align._pool(dense, first, last), want)

# --- real tokenizers -----------------------------------------------------------------------------

LINES = [o[:300] for o in storybook(40, seed=3)]

def wrapped(tok): return PreTrainedTokenizerFast(tokenizer_object=tok)

def byte_level(trim):
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer, tok.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tok.train_from_iterator(LINES, trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False))
    tok.post_processor = processors.ByteLevel(trim_offsets=trim)
    return wrapped(tok)

def fallback():
    words = ['▁the', '▁a', '▁was', 'ing']
    vocab, merges = ['<unk>', '▁', *[f'<0x{o:02X}>' for o in range(256)], *map(chr, range(33, 127))], []
    for word in words:
        for i in range(1, len(word)):
            merges.append((word[:i], word[i]))
            vocab.append(word[:i + 1])
    vocab = {o: i for i, o in enumerate(dict.fromkeys(vocab))}
    tok = Tokenizer(models.BPE(vocab, list(dict.fromkeys(merges)), unk_token='<unk>', byte_fallback=True))
    tok.normalizer = normalizers.Sequence([normalizers.Prepend('▁'), normalizers.Replace(' ', '▁')])
    tok.decoder = decoders.Sequence([decoders.Replace('▁', ' '), decoders.ByteFallback(), decoders.Fuse()])
    return wrapped(tok)

def wordpiece():
    tok = Tokenizer(models.WordPiece(unk_token='[UNK]'))
    tok.normalizer, tok.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    tok.train_from_iterator(LINES, trainers.WordPieceTrainer(vocab_size=200, special_tokens=['[UNK]'], show_progress=False))
    return wrapped(tok)

def unigram():
    tok = Tokenizer(models.Unigram())
    tok.normalizer, tok.pre_tokenizer = normalizers.NFKC(), pre_tokenizers.Metaspace()
    tok.decoder = decoders.Metaspace()
    tok.train_from_iterator(LINES, trainers.UnigramTrainer(vocab_size=200, unk_token='<unk>', special_tokens=['<unk>'], show_progress=False))
    return wrapped(tok)

def behind():
    "A tokenizer whose words end with their space."
    tok = Tokenizer(models.WordLevel({'[UNK]': 0}, unk_token='[UNK]'))
    tok.pre_tokenizer = pre_tokenizers.Split(' ', 'merged_with_previous')
    tok.train_from_iterator(LINES, trainers.WordLevelTrainer(special_tokens=['[UNK]'], show_progress=False))
    return wrapped(tok)

def characters():
    tok = Tokenizer(models.WordLevel({'[UNK]': 0}, unk_token='[UNK]'))
    tok.pre_tokenizer = pre_tokenizers.Split(Regex('.|\n'), 'isolated')
    tok.train_from_iterator(LINES, trainers.WordLevelTrainer(special_tokens=['[UNK]'], show_progress=False))
    return wrapped(tok)

TOKENIZERS = dict(bytes=byte_level(False), trimmed=byte_level(True), fallback=fallback(), wordpiece=wordpiece(), unigram=unigram(),
                  behind=behind(), characters=characters())
ODD = ['The king\'s 12 cats,  née Ångström\n\tsaid: “naïve” 👑👩‍👩‍👧 \u00a0日本 ﬁ e\u0301 ABC', ' ', '', '\n\n', 'ﬁﬃ ½ Ⅷ', 'İstanbul ß ẞ',
       'a', ' a ', '👑', 'x👑y', '\u200b\ufeff', 'the  the   the', '▁the▁', '##ing ing', 'e\u0301\u0301\u0301', '한국어 नमस्ते', '\x00\x01']

def tokens_of(tok, text):
    return [tuple(o) for o in tok(text, add_special_tokens=False, return_offsets_mapping=True).offset_mapping]

@pytest.mark.parametrize('a, b', list(combinations(TOKENIZERS, 2)))
def test_two_tokenizers_on_odd_texts(a, b):
    for text in [*ODD, *LINES[:5]]:
        x, y = tokens_of(TOKENIZERS[a], text), tokens_of(TOKENIZERS[b], text)
        check(x, y, text, common_spans(*columns(x), *columns(y), text))
    for text in LINES[:5]:                                          # on plain text nothing that can be seen is left out
        x, y = tokens_of(TOKENIZERS[a], text), tokens_of(TOKENIZERS[b], text)
        spans = common_spans(*columns(x), *columns(y), text)
        assert ''.join(text[o:p] for o, p in spans[:, 4:]).split() and \
            ''.join(''.join(text[o:p] for o, p in spans[:, 4:]).split()) == ''.join(text.split())

@settings(max_examples=60, deadline=None)
@given(st.text(st.one_of(st.sampled_from(' \nabeﬁé👑İ\u0301ß'), st.characters(exclude_categories=['Cs'])), max_size=12),
       st.sampled_from(list(permutations(TOKENIZERS, 2))))
def test_two_tokenizers_on_any_text(text, pair):
    x, y = (tokens_of(TOKENIZERS[o], text) for o in pair)
    check(x, y, text, common_spans(*columns(x), *columns(y), text))

def one_hot(tok, texts, name='acts', f=2000, meta=None, keep=slice(None)):
    "A store in memory whose only feature at a token is its number."
    enc = [tok(o, add_special_tokens=False, return_offsets_mapping=True) for o in texts]
    ids = np.concatenate([np.array(o.input_ids, int) for o in enc])
    start, end = np.concatenate([columns(o.offset_mapping).T for o in enc]).T
    lengths = [len(o.input_ids) for o in enc]
    rows = Rows(np.repeat(np.arange(len(texts)), lengths), np.concatenate([np.arange(o) for o in lengths]), ids, start, end)[keep]
    ids = ids[keep]
    strings = {o: s.decode('utf-8', 'surrogateescape') for o, s in zip(np.unique(ids).tolist(), token_bytes(tok, np.unique(ids)))}
    acts = FeatureActs.from_csr(sparse.csr_array((np.ones(len(ids)), ids, np.arange(len(ids) + 1)), shape=(len(ids), f)), rows, name, texts, strings)
    acts.meta.update(meta or {})
    return acts

@pytest.mark.parametrize('pool', ['max', 'last', 'single'])
def test_aligned_stores_hold_the_tokens_of_their_spans(pool):
    texts = [*ODD, *LINES]
    a, b = one_hot(TOKENIZERS['bytes'], texts, 'a'), one_hot(TOKENIZERS['wordpiece'], texts, 'b')
    out = align_spans(a, b, pool)
    assert out.a.rows.kind == 'span' and len(out.a) == len(out.b) == out.coverage.spans
    counted, before = [], {}                                           # a place is left free where text lies between
    for doc, start, end in zip(*(out.a.rows.columns[o].tolist() for o in ('doc', 'start', 'end'))):
        counted.append(0 if doc not in before else counted[-1] + 1 + bool(texts[doc][before[doc]:start].strip()))
        before[doc] = end
    assert pool == 'single' or out.a.rows.pos.tolist() == counted
    for acts, source in ((out.a, a), (out.b, b)):
        rows, at = source.rows, 0
        matrix = acts.csr()
        for r in np.random.default_rng(0).choice(len(acts), 300):
            doc, start, end = (int(acts.rows.columns[o][r]) for o in ('doc', 'start', 'end'))
            text = texts[doc][start:end]
            assert acts.tokens[int(acts.rows.token_id[r])] == text
            inside = np.flatnonzero((rows.doc == doc) & (rows.end > start) & (rows.start < end))
            inside = inside if text.strip() else inside[:0]
            fired = set(matrix.indices[matrix.indptr[r]:matrix.indptr[r+1]].tolist())
            if pool == 'max' and len(inside): assert set(rows.token_id[inside].tolist()) <= fired
            if pool == 'last' and len(inside): assert fired == {int(rows.token_id[inside[-1]])}
            if pool == 'single': assert len(fired) == 1
    same = {}
    for id, text in zip(out.a.rows.token_id.tolist(), out.a.token_text(np.arange(len(out.a)))): assert same.setdefault(id, text) == text
    assert len(same) == len(set(same.values()))

def test_lossy_tokenizers_are_reported():
    texts = ['The Café is Big 👑', 'ﬁne the lamp \n ok', 'MIX'] + LINES[:3]
    c = align_spans(one_hot(TOKENIZERS['bytes'], texts, 'exact'), one_hot(TOKENIZERS['wordpiece'], texts, 'lossy')).coverage
    assert c.changed[0] == dict(case=0, form=0, other=0) and c.dropped == [0, 0]
    assert c.changed[1]['case'] > 5 and c.changed[1]['form'] >= 1 and c.changed[1]['other'] >= 1
    assert 'keeps the text' in repr(c) and 'case' in repr(c)
    n = align_spans(one_hot(TOKENIZERS['unigram'], texts), one_hot(TOKENIZERS['characters'], texts)).coverage
    assert n.changed[0]['form'] >= 1                                                   # the ligature
    table = c.table()
    assert table.loc['B', 'case'] == c.changed[1]['case']/c.of_tokens[1] and list(table.index) == ['A', 'B']
    assert len(c.plot().axes) == 2
    dropped = one_hot(TOKENIZERS['characters'], ['abc def']*3, keep=np.tile([True, False, True, True, True, True, True], 3))
    c = align_spans(dropped, one_hot(TOKENIZERS['bytes'], ['abc def']*3)).coverage
    assert c.dropped == [3, 0] and c.characters[1] == 18

def test_the_coverage_is_counted_right():
    texts = ['ab cd', 'ef gh']
    a, b = one_hot(TOKENIZERS['characters'], texts), one_hot(TOKENIZERS['behind'], texts)
    c = align_spans(a, b).coverage
    assert (c.spans, c.documents, c.characters) == (4, [2, 2], [8, 8])
    assert c.tokens == c.of_tokens == [10, 4] and c.per_span[0][:3] == [0, 4, 0][:3] or c.per_span[0][1] + c.per_span[0][2] == 4
    assert c.per_span[1][0] == 4
    part = align_spans(a, one_hot(TOKENIZERS['behind'], texts, keep=slice(0, 3))).coverage     # B was stopped in text 1
    assert (part.spans, part.tokens, part.of_tokens) == (3, [8, 3], [10, 3]) and part.characters == [6, 8]
    first = align_spans(a, one_hot(TOKENIZERS['behind'], texts, keep=slice(0, 2))).coverage
    assert first.documents == [1, 2]

def test_documents_that_only_one_side_has_are_left_out():
    a, b = one_hot(TOKENIZERS['bytes'], LINES), one_hot(TOKENIZERS['wordpiece'], LINES[:7])
    out = align_spans(a, b)
    assert out.a.rows.doc.max() == 6 and out.a.texts == LINES[:7]

def test_other_texts_and_rows_without_offsets_are_refused(tmp_path):
    a = one_hot(TOKENIZERS['bytes'], LINES)
    for b, what in [(one_hot(TOKENIZERS['wordpiece'], LINES[::-1]), 'different texts, from text 0'),
                    (one_hot(TOKENIZERS['wordpiece'], [*LINES[:3], 'other']), 'different texts, from text 3'),
                    (FeatureActs.from_csr(np.eye(3), Rows([0]*3, [0, 1, 2], [0]*3), texts=LINES), 'start, end'),
                    (FeatureActs.from_csr(np.eye(3), Rows([0]*3, [0, 1, 2], [0]*3, [0]*3, [1]*3)), 'no texts'),
                    (FeatureActs.from_csr(np.eye(2), Rows([1, 0], [0, 1], [0]*2, [0]*2, [1]*2), texts=LINES), 'order'),
                    (FeatureActs.from_csr(np.eye(2), Rows([0, 99], [0, 1], [0]*2, [0]*2, [1]*2), texts=LINES), 'order'),
                    (FeatureActs.from_csr(np.eye(1), Rows([0], [0], [0], [0], [10**6]), texts=LINES), 'inside the text'),
                    (FeatureActs.from_csr(np.eye(1), Rows([1], [0], [0], [0], [0]), texts=LINES[:2]), 'common span'),
                    (np.eye(3), 'FeatureActs')]:
        with pytest.raises(FeatgeomError, match=what): align_spans(one_hot(TOKENIZERS['bytes'], LINES[:1]) if 'common' in what else a, b)
    with pytest.raises(FeatgeomError, match='max'): align_spans(a, a, 'mean')

def test_position_by_position_is_refused_and_so_are_other_partners():
    texts = LINES[:20]
    a, b, c = (one_hot(TOKENIZERS[o], texts, o) for o in ('bytes', 'wordpiece', 'characters'))
    n = min(len(a), len(b))
    with pytest.raises(FeatgeomError, match='rows'): match(a, b, min_fires=5)
    cut = [FeatureActs.from_csr(o.csr()[:n], o.rows[:n], o.name, texts) for o in (a, b)]
    with pytest.raises(FeatgeomError, match='differ in token_id'): match(*cut, min_fires=5)             # as many rows are not enough
    ab, ac = align_spans(a, b), align_spans(a, c)
    n = min(len(ab.b), len(ac.b))
    with pytest.raises(FeatgeomError, match='differ in'):
        match(*[FeatureActs.from_csr(o.csr()[:n], o.rows[:n], texts=texts) for o in (ab.b, ac.b)], min_fires=5)
    # The smallest such case: as many spans in every document, other text in them.
    x, y = ('abcd', 'abcd'), [[(0, 2), (2, 4)], [(0, 1), (1, 4)]]
    def store(offsets): return FeatureActs.from_csr(np.eye(4), Rows([0, 0, 1, 1], [0, 1, 0, 1], [0, 1, 0, 1], *columns(offsets*2)), texts=x)
    letters = FeatureActs.from_csr(np.eye(8), Rows(np.repeat([0, 1], 4), np.tile(np.arange(4), 2), np.zeros(8, int), *columns([(i, i + 1) for i in range(4)]*2)), texts=x)
    one, two = (align_spans(letters, store(o)) for o in y)
    assert len(one.b) == len(two.b) == 4
    with pytest.raises(FeatgeomError, match='differ in token_id'): match(one.b, two.b, min_fires=1, null=None)

def test_aligned_stores_go_through_match_with_every_given():
    a, b = one_hot(TOKENIZERS['bytes'], LINES, 'a'), one_hot(TOKENIZERS['fallback'], LINES, 'b')
    for pool in ('max', 'single'):
        out = align_spans(a, b, pool)
        for given_ in ('token', 'bigram', 'position'): assert len(match(out.a, out.b, given=given_, min_fires=5, shifts=5))
    single = align_spans(a, b, 'single').a.rows
    assert (np.diff(single.pos)[np.diff(single.doc) == 0] > 1).any()           # left-out spans leave a hole that bigrams see

def test_one_tokenizer_means_tokens():
    rng = np.random.default_rng(0)
    texts = [*ODD, *LINES]
    a = one_hot(TOKENIZERS['bytes'], texts, 'a')
    noise = sparse.random_array((len(a), 50), density=.1, rng=rng, format='csr', dtype='f4')
    mine = FeatureActs.from_csr(noise, a.rows, 'mine', texts, a.tokens)
    other = FeatureActs.from_csr(noise[:, rng.permutation(50)], a.rows, 'other', texts, a.tokens)
    out = align_spans(mine, other)
    assert out.coverage.shared and 'one tokenizer' in repr(out.coverage)
    assert (out.a.csr() != mine.csr()).nnz == 0 and all(np.array_equal(out.a.rows.columns[o], a.rows.columns[o]) for o in a.rows.columns)
    direct, through = match(mine, other, seed=0), match(out.a, out.b, seed=0)
    for o in ('a', 'b', 'score', 'p', 'within', 'within_p'): np.testing.assert_array_equal(getattr(direct, o), getattr(through, o))
    # Told by the fingerprint alone, with one side stopped early.
    for o in (mine, other): o.meta['tokenizer'] = 'same'
    n = 1000
    early = FeatureActs.from_csr(noise[:n], a.rows[:n], 'early', texts, a.tokens)
    early.meta['tokenizer'] = 'same'
    part = align_spans(early, other)
    assert len(part.a) == n and (part.b.csr() != other.csr()[:n]).nnz == 0
    assert part.coverage.of_tokens[1] > n
    twice = FeatureActs.from_csr(noise[[0, 0]], a.rows[[0, 0]], 'twice', texts, a.tokens)
    twice.meta['tokenizer'] = 'same'
    with pytest.raises(FeatgeomError, match='twice'): align_spans(twice, other)

def test_three_models_by_aligning_twice():
    a, b, c = (one_hot(TOKENIZERS[o], LINES, o) for o in ('bytes', 'wordpiece', 'behind'))
    for o in (a, c): o.meta['tokenizer'] = 'x'                    # spans and tokens are never taken for the same rows
    ab = align_spans(a, b)
    out = align_spans(ab.a, c)
    assert not out.coverage.shared and out.coverage.characters[0] == out.coverage.characters[1]
    again = align_spans(ab.b, out.b)
    assert len(again.a) == len(out.a) and again.coverage.tokens[1] == len(out.b)

# --- stores --------------------------------------------------------------------------------------

def contents(folder): return {str(o.relative_to(folder)): o.read_bytes() for o in sorted(folder.rglob('*')) if o.is_file() and o.name != '.lock'}

def test_stores_open_resume_and_refuse(tmp_path, monkeypatch):
    a = one_hot(TOKENIZERS['bytes'], LINES, 'a').save(tmp_path/'a', shard=500)
    b = one_hot(TOKENIZERS['wordpiece'], LINES, 'b').save(tmp_path/'b', shard=700)
    whole = align_spans(a, b, store=tmp_path/'whole')
    assert len(whole.a.meta['shards']) > 3 and whole.a.verify() is whole.a
    memory = align_spans(a, b)
    for x, y in ((whole.a, memory.a), (whole.b, memory.b)):
        assert (x.csr() != y.csr()).nnz == 0 and x.tokens == y.tokens and x.texts == y.texts == LINES
        assert all(np.array_equal(x.rows.columns[o], y.rows.columns[o]) for o in x.rows.columns)
        assert x.meta['aligned'] == y.meta['aligned'] and x.meta['aligned']['partner']['name'] in 'ab'
    add, left = StoreWriter.add, [6]
    def stopped(self, *parts):
        left[0] -= 1
        if left[0] < 0: raise KeyboardInterrupt
        return add(self, *parts)
    with monkeypatch.context() as m:
        m.setattr(StoreWriter, 'add', stopped)
        with pytest.raises(KeyboardInterrupt): align_spans(a, b, store=tmp_path/'part')
    assert not (tmp_path/'part'/'b'/'meta.json').exists()
    align_spans(a, b, store=tmp_path/'part')
    assert contents(tmp_path/'part') == contents(tmp_path/'whole')
    again = align_spans(a, b, store=tmp_path/'whole')
    assert again.a.meta == whole.a.meta and repr(again.coverage) == repr(whole.coverage)
    for other in (dict(pool='last'), dict(pool='single')):
        with pytest.raises(FeatgeomError, match='another request'): align_spans(a, b, store=tmp_path/'whole', **other)
    doubled = FeatureActs.from_csr(a.csr()*2, a.rows, 'a', LINES, a.tokens)              # the same rows, other numbers
    with pytest.raises(FeatgeomError, match='another request'): align_spans(doubled, b, store=tmp_path/'whole')

def test_stores_of_neurons_are_pooled_too(tmp_path):
    a, b = one_hot(TOKENIZERS['bytes'], LINES, 'a'), one_hot(TOKENIZERS['wordpiece'], LINES, 'b')
    x = np.random.default_rng(0).normal(size=(len(a), 12)).astype('f4')
    neurons = FeatureActs.from_dense(x, a.rows, 'neurons', LINES, a.tokens)
    codes = FeatureActs.from_csr(x, a.rows, 'codes', LINES, a.tokens)
    for pool in ('max', 'last', 'single'):
        out, sparse_out = align_spans(neurons, b, pool), align_spans(codes, b, pool)
        assert out.a.dense and not out.b.dense
        np.testing.assert_array_equal(np.concatenate([o for _, o in out.a.blocks()]), sparse_out.a.csr().toarray())
    stored = align_spans(neurons.save(tmp_path/'n', shard=300), b, store=tmp_path/'spans')
    assert stored.a.dense and len(match(stored.a, stored.b, min_fires=5))
    np.testing.assert_array_equal(np.concatenate([o for _, o in stored.a.blocks()]), np.concatenate([o for _, o in align_spans(neurons, b).a.blocks()]))

# --- texts cut alike -----------------------------------------------------------------------------

class Reader(LanguageModel):
    "All of a model that cutting texts needs: no weights."
    def __init__(self, name, context, prefix=0):
        self.name, self.tokenizer, self.context, self.prefix = name, TOKENIZERS[name], context, (0,)*prefix

def lengths(piece, models): return [len(tokens_of(o.tokenizer, piece)) + len(o.prefix) for o in models]

@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(st.sampled_from('  \nabcde.é👑ﬁ'), max_size=60), max_size=3), st.integers(2, 12), st.sampled_from(list(permutations(TOKENIZERS, 2))))
def test_pieces_make_up_the_text_and_fit(texts, context, pair):
    models = [Reader(pair[0], context, 1), Reader(pair[1], context + 3)]
    pieces = split_alike(iter(texts), models)
    assert [''.join(pieces[i] for i in np.flatnonzero(pieces.doc == d)) for d in range(len(texts))] == texts
    over = [o for o in pieces if any(n > m.context for n, m in zip(lengths(o, models), models))]
    assert all(len(o) == 1 for o in over) and len(over) == pieces.cuts['over']
    for o, d, s in zip(pieces, pieces.doc, pieces.start): assert o and texts[d][s:s + len(o)] == o
    assert sum(pieces.cuts[o] for o in ('word', 'token', 'character')) == len(pieces) - sum(bool(o) for o in texts)

def test_cuts_are_between_words_and_long():
    models = [Reader('bytes', 60, 1), Reader('characters', 80)]
    pieces = split_alike(LINES, models)
    assert pieces.cuts == dict(word=len(pieces) - len(LINES), token=0, character=0, over=0) and 'word' in repr(pieces)
    inner = [(a, b) for a, b, x, y in zip(pieces[:-1], pieces[1:], pieces.doc[:-1], pieces.doc[1:]) if x == y]
    for a, b in inner:
        assert a[-1].isspace() and not b[0].isspace()
        assert not all(n <= m.context for n, m in zip(lengths(a + re.match(r'\S+\s*', b)[0], models), models))   # one more word does not fit

@pytest.mark.parametrize('name', TOKENIZERS)
def test_pieces_that_get_longer_by_themselves_are_still_cut_between_words(name):
    pieces = split_alike(LINES, [Reader(name, 20, 1)])                  # a tokenizer may put a space before every text
    assert pieces.cuts['word'] == len(pieces) - len(LINES) and max(lengths(o, [Reader(name, 20, 1)])[0] for o in pieces) <= 20

def test_words_that_never_end_are_cut_at_tokens_then_characters():
    models = [Reader('wordpiece', 9), Reader('bytes', 9)]
    assert split_alike(['dragonflies'*20], models).cuts['word'] == 0
    crowns = split_alike(['👑'*20], [Reader('bytes', 3)])
    assert crowns.cuts['over'] == 20 and len(crowns) == 20
    assert [*map(len, split_alike(['q'*35], [Reader('behind', 10), Reader('characters', 10)]))] == [10, 10, 10, 5]
    unknown = split_alike(['日'*50], [Reader('wordpiece', 5), Reader('characters', 10)])
    assert ''.join(unknown) == '日'*50 and max(map(len, unknown)) <= 10

def test_what_cannot_be_cut_is_refused():
    for texts, models, what in [('text', [Reader('bytes', 9)], 'One string'), ([3], [Reader('bytes', 9)], 'int'), (['a'], [], 'No models'),
                                (['\ud800'], [Reader('bytes', 9)], 'surrogate'), (['a'], [Reader('bytes', 1, 1)], 'context')]:
        with pytest.raises(FeatgeomError, match=what): split_alike(texts, models)


def test_spans_beside_a_gap_are_no_neighbours():
    # B has no token for the middle: "ghi" follows what was left out, not "def".
    def store(name, tokens):
        doc, start, end, ids = map(np.array, zip(*tokens))
        pos = np.concatenate([np.arange((doc == d).sum()) for d in np.unique(doc)])
        return FeatureActs.from_csr(np.eye(len(doc), dtype='f4'), Rows(doc, pos, ids, start, end), name, ['abcdefghi', 'abcxyzghi'])
    a = store('A', [(d, s, s + 3, s) for d in (0, 1) for s in (0, 3, 6)])
    b = store('B', [(0, 0, 1, 0), (0, 1, 3, 1), (0, 3, 6, 2), (0, 6, 9, 3), (1, 0, 1, 0), (1, 1, 3, 1), (1, 6, 9, 3)])
    rows = align_spans(a, b).a.rows
    assert rows.pos.tolist() == [0, 1, 2, 0, 2]
    groups = row_groups(rows, 'bigram')
    assert groups[2] != groups[4] and groups[0] == groups[3]
