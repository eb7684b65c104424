"Examples equal a plain search, stratum by stratum; no context is shown twice; windows keep to their document; text is the document's."
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import sparse

from featgeom.acts import FeatureActs, Rows
from featgeom.core import FeatgeomError, read_arrays, write_arrays
from featgeom.examples import Examples, pick_examples, windows

STRATA = 'top', 'q4', 'q3', 'q2', 'q1', 'near zero', 'random', 'silent'


def make(n=300, f=8, density=.1, seed=0, vocab=40, docs=9, signed=False, dense=False):
    "Documents of unequal length, tokens of `vocab` kinds; each token is its character and a space before it."
    rng = np.random.default_rng(seed)
    x = rng.exponential(size=(n, f))*(rng.random((n, f)) < density)
    if signed: x *= rng.choice([-1, 1], x.shape)
    doc = np.sort(rng.integers(0, docs, n))
    pos = np.arange(n) - np.searchsorted(doc, doc)
    token = rng.integers(0, vocab, n)
    texts = [''.join(f' {chr(97 + t)}' for t in token[doc == d]) for d in range(docs)]
    rows = Rows(doc=doc, pos=pos, token_id=token, start=2*pos, end=2*pos + 2)
    tokens = {i: f' {chr(97 + i)}' for i in range(vocab)}
    return (FeatureActs.from_dense if dense else FeatureActs.from_csr)(x.astype('f4'), rows, 'A', texts, tokens)


def window(acts, r, left, right):
    own = np.flatnonzero(acts.rows.doc == acts.rows.doc[r])
    return max(r - left, own[0]), min(r + right + 1, own[-1] + 1)


def alike(acts, r, s, left, right):
    if acts.rows.doc[r] == acts.rows.doc[s] and abs(r - s) <= max(left, right): return True
    (a, b), (c, d) = (window(acts, o, left, right) for o in (r, s))
    return r - a == s - c and acts.rows.token_id[a:b].tolist() == acts.rows.token_id[c:d].tolist()


def greedy(acts, rows, k, left, right):
    found = []
    for r in rows:
        if len(found) == k: break
        if not any(alike(acts, r, o, left, right) for o in found): found.append(r)
    return found


def part(examples, name, i):
    rows = examples.rows[i, slice(*examples.strata[name])]
    assert (rows[(rows >= 0).sum():] == -1).all()                            # none stand behind
    return rows[rows >= 0].tolist()


@given(st.integers(1, 200), st.floats(0, .6), st.integers(0, 999), st.sampled_from([1, 3, 40]), st.booleans(), st.booleans(),
       st.sampled_from([(0, 0), (2, 1), (16, 8), (1, 5)]), st.integers(0, 12), st.integers(0, 4))
@settings(max_examples=60, deadline=None)
def test_every_stratum_is_what_its_words_say(n, density, seed, vocab, signed, dense, sides, k, each):
    acts = make(n, 4, density, seed, vocab, signed=signed, dense=dense)
    left, right = sides
    examples = pick_examples(acts, k=k, each=each, random=each, silent=each, left=left, right=right, seed=seed)
    x = acts.csr().toarray()
    assert tuple(examples.strata) == STRATA and examples.rows.shape == examples.values.shape == (4, k + 7*each)
    for i in range(4):
        on = np.flatnonzero(x[:, i])
        ranked = on[np.lexsort((on, -abs(x[on, i])))]
        top = part(examples, 'top', i)
        assert top == greedy(acts, ranked, k, left, right)
        stop = list(ranked).index(top[-1]) + 1 if len(top) == k > 0 else len(ranked)
        assert examples.same[i] == (stop - len(top) if k else 0)
        assert part(examples, 'near zero', i) == greedy(acts, ranked[::-1], each, left, right)
        quarters = [ranked[::-1][len(on)*q//4:len(on)*(q + 1)//4] for q in range(4)]
        quiet = [r for r in range(n) if not x[slice(*window(acts, r, left, right)), i].any()] if len(on) else []
        for name, pool in [*zip(('q1', 'q2', 'q3', 'q4'), quarters), ('random', on), ('silent', quiet)]:
            rows = part(examples, name, i)
            assert set(rows) <= set(pool) and greedy(acts, rows, each, left, right) == rows
            if len(rows) < each: assert all(any(alike(acts, r, o, left, right) for o in rows) for r in pool), 'one was missed'
        for name in STRATA:
            a, b = examples.strata[name]
            np.testing.assert_array_equal(examples.values[i, a:b], np.where(examples.rows[i, a:b] >= 0, x[examples.rows[i, a:b], i], 0))


def test_no_stratum_depends_on_what_else_is_asked_for():
    acts = make(600, 4, .4, 5, 40, signed=True, dense=False)
    whole = pick_examples(acts, each=3, random=5, silent=5, seed=7)
    for less in (dict(each=0), dict(each=1), dict(k=0), dict(random=2), dict(silent=0), dict(each=4, k=3, random=9)):
        some = pick_examples(acts, **{**dict(each=3, random=5, silent=5), **less}, seed=7)
        for name in STRATA:
            for i in range(4):
                a, b = part(whole, name, i), part(some, name, i)
                assert a[:len(b)] == b[:len(a)], (less, name)


def test_random_ones_are_equally_likely():
    "4 of 40 hits, 3,000 seeds: every hit as often as every other; so are the silent rows."
    x = np.zeros((400, 1), 'f4')
    x[::10, 0] = np.arange(40) + 1
    acts = FeatureActs.from_csr(x, Rows(doc=np.arange(400), token_id=np.arange(400)))
    found = [pick_examples(acts, k=0, each=2, random=4, silent=3, left=0, right=0, seed=s) for s in range(3000)]
    for name, pool in (('random', range(0, 400, 10)), ('q2', range(100, 200, 10)), ('silent', [r for r in range(400) if r % 10])):
        seen = np.bincount(np.concatenate([part(o, name, 0) for o in found]), minlength=400)
        expected = seen.sum()/len(pool)
        assert not np.delete(seen, list(pool)).any() and ((seen[list(pool)] - expected)**2/expected).sum() < len(pool) + 5*(2*len(pool))**.5


def test_few_silent_rows_are_found_and_equally_likely():
    "Active nearly everywhere: trials fail, the list of all silent rows does not."
    x = np.ones((20_000, 1), 'f4')
    quiet = [5, 4000, 4001, 19_999]
    x[quiet] = 0
    acts = FeatureActs.from_csr(x, Rows(doc=np.arange(20_000), token_id=np.arange(20_000)))
    assert set(part(pick_examples(acts, silent=9), 'silent', 0)) == set(quiet)
    first = [part(pick_examples(acts, k=0, each=0, random=0, silent=1, seed=s), 'silent', 0)[0] for s in range(400)]
    assert np.bincount(np.searchsorted(quiet, first)).min() > 60


def test_a_feature_has_the_same_examples_whatever_is_asked_with_it(tmp_path, monkeypatch):
    acts = make(600, 30, .1)
    whole = pick_examples(acts, seed=3)
    stored = acts.save(tmp_path/'a', shard=37)
    monkeypatch.setattr('featgeom.examples.THREADS', 7)
    for other in (pick_examples(stored, seed=3), pick_examples(acts, np.arange(30), seed=3), pick_examples(stored.index(), seed=3)):
        for name in ('rows', 'values', 'same'): np.testing.assert_array_equal(getattr(whole, name), getattr(other, name))
    some = pick_examples(acts, [4, 11, 29], seed=3)
    np.testing.assert_array_equal(some.rows, whole.rows[[4, 11, 29]])
    assert (pick_examples(acts, seed=4).rows != whole.rows).any()
    blocks = FeatureActs.column_blocks
    monkeypatch.setattr(FeatureActs, 'column_blocks', lambda self, ids=None, budget=0: blocks(self, ids, 50))
    np.testing.assert_array_equal(pick_examples(stored, seed=3).rows, whole.rows)


def test_boilerplate_is_one_example():
    "One sentence in 30 documents, stronger than everything else; and a hit twice in one window."
    token, x = np.arange(400), np.zeros((400, 1), 'f4')
    for d in range(30): token[10*d:10*d + 10] = np.arange(10)
    x[5:300:10, 0] = 50 + np.arange(30)
    x[[310, 313, 350], 0] = 3, 2, 1
    acts = FeatureActs.from_csr(x, Rows(doc=np.arange(400)//10, token_id=token))
    examples = pick_examples(acts, k=3)
    assert part(examples, 'top', 0) == [295, 310, 350] and examples.same.tolist() == [30]


def test_windows_keep_to_documents_and_do_not_see_shards(tmp_path):
    acts = make(200)
    rows = np.arange(200)
    first, last = windows(acts, rows, 5, 3)
    assert [(a, b) for a, b in zip(first, last)] == [window(acts, r, 5, 3) for r in rows]
    for a, b in zip((first, last), windows(acts.save(tmp_path/'a', shard=7), rows, 5, 3)): np.testing.assert_array_equal(a, b)
    first, last = windows(acts, [[3, -1], [199, 0]], 2, 2)
    assert first.shape == (2, 2) and (first[0, 1], last[0, 1]) == (0, 0) and last[1, 0] == 200
    assert [o.shape for o in windows(acts, np.zeros((0, 2), int))] == [(0, 2)]*2
    for bad in ([200], [-2], [.5], ['a'], None):
        with pytest.raises(FeatgeomError): windows(acts, bad)
    with pytest.raises(FeatgeomError, match='left'): windows(acts, [0], left=-1)
    assert windows(FeatureActs.from_csr(np.zeros((0, 2))), [])[0].shape == (0,)


def test_an_example_is_the_text_of_its_document():
    acts = make(500, 5, .1, vocab=26)
    examples, x = pick_examples(acts), acts.csr().toarray()
    for name in STRATA:
        for o in examples.of(2, name):
            a, b = window(acts, o.row, 16, 8)
            assert (o.feature, o.stratum, o.doc, o.hit) == (2, name, acts.rows.doc[o.row], o.row - a)
            np.testing.assert_array_equal(o.values, x[a:b, 2])
            assert o.value == x[o.row, 2] and o.text == acts.texts[o.doc][2*acts.rows.pos[a]:2*acts.rows.pos[b - 1] + 2]
            assert [acts.texts[o.doc][c:d] for c, d in zip(o.start, o.end)] == [t.replace('␣', ' ') for t in o.tokens]
            assert str(o).replace('«', '').replace('»', '') == o.text and str(o).split('«')[1][:2] == o.tokens[o.hit].replace('␣', ' ')


def test_each_gives_what_of_gives(tmp_path):
    acts = make(300, 6).save(tmp_path/'a', shard=50)
    examples = pick_examples(acts)
    seen = list(examples.each())
    assert [j for j, _ in seen] == list(range(6)) and all(tuple(o) == STRATA for _, o in seen)
    for j, strata in seen:
        for name, some in strata.items():
            assert [str(o) for o in some] == [str(o) for o in examples.of(j, name)]
            for a, b in zip(some, examples.of(j, name)): np.testing.assert_array_equal(a.values, b.values)
    assert [(j, *o) for j, o in examples.each([3, 1], 'top')] == [(1, 'top'), (3, 'top')]
    with pytest.raises(FeatgeomError, match='nearest'): examples.each([99])
    with pytest.raises(FeatgeomError, match='A stratum'): examples.each(strata='tops')


def test_dead_and_rare_features():
    x = np.zeros((100, 3), 'f4')
    x[50, 1] = 2
    acts = FeatureActs.from_csr(x, Rows(doc=np.arange(100)//20, token_id=np.arange(100)))
    examples = pick_examples(acts)
    assert (examples.rows[[0, 2]] == -1).all() and not examples.values[[0, 2]].any() and examples.of(0) == []
    assert part(examples, 'top', 1) == [50] and part(examples, 'near zero', 1) == [50] and len(part(examples, 'silent', 1)) == 5
    assert len(list(examples.each())) == 3


def test_split_characters_and_hostile_text():
    text = 'a👑\n</script>\u202eb\x1b'
    start, end = [0, 1, 1, 2, 3, 12, 13, 14], [1, 2, 2, 3, 12, 13, 14, 15]
    tokens = dict(enumerate(['a', '\udcf0\udc9f', '\udc91\udc91', '\n', '</script>', '\u202e', 'b', '\x1b']))
    acts = FeatureActs.from_csr(np.eye(8, dtype='f4'), Rows(doc=[0]*8, pos=range(8), token_id=range(8), start=start, end=end), texts=[text], tokens=tokens)
    said = [str(pick_examples(acts).of(j)[0]) for j in range(8)]
    assert said[1] == said[2] == 'a«👑»⏎</script>⟨U+202E⟩b⟨U+001B⟩' and said[4] == 'a👑⏎«</script>»⟨U+202E⟩b⟨U+001B⟩'
    assert pick_examples(acts).of(1)[0].tokens[:4] == ['a', '⟨0xF0⟩⟨0x9F⟩', '⟨0x91⟩⟨0x91⟩', '⏎'] and all(o.isprintable() for o in said)


def test_without_texts_the_tokens_are_the_text():
    acts = make(60)
    bare = FeatureActs.from_csr(acts.csr(), Rows(doc=acts.rows.doc, token_id=acts.rows.token_id))
    o = pick_examples(bare).of(0)[0]
    assert o.text == ''.join(o.tokens) and o.tokens[0].startswith('#') and [o.text[a:b] for a, b in zip(o.start, o.end)] == o.tokens
    assert f'«{o.tokens[o.hit]}»' in str(o)


@pytest.mark.parametrize('bad', [dict(k=-1), dict(each=.5), dict(left=2**30), dict(seed=-1), dict(seed=None), dict(k=2**40), dict(ids=[99]),
                                 dict(ids=[2, 1]), dict(ids=['a'])])
def test_bad_arguments_are_refused(bad):
    with pytest.raises(FeatgeomError): pick_examples(make(), **bad)


def test_rows_that_cannot_be_shown_are_refused():
    with pytest.raises(FeatgeomError, match='without token ids'): pick_examples(FeatureActs.from_csr(np.eye(3)))
    with pytest.raises(FeatgeomError, match='without documents'): pick_examples(FeatureActs.from_csr(np.eye(3), Rows(token_id=[0, 1, 2])))
    acts = make()
    lost = FeatureActs.from_csr(acts.csr(), acts.rows, texts=acts.texts[:1], tokens=acts.tokens)
    with pytest.raises(FeatgeomError, match='1 texts'): pick_examples(lost).of(0)
    examples = pick_examples(acts, [1, 2])
    with pytest.raises(FeatgeomError, match='nearest'): examples.of(5)
    with pytest.raises(FeatgeomError, match='nearest: 7'): examples.of(8)
    for bad in ('tops', None, 3):
        with pytest.raises(FeatgeomError, match='A stratum'): examples.of(1, bad)


def test_no_features_and_no_rows():
    assert pick_examples(make(), []).rows.shape == (0, 45) and list(pick_examples(make(), []).each()) == []
    empty = FeatureActs.from_csr(np.zeros((0, 2)), Rows(doc=np.zeros(0, int), token_id=np.zeros(0, int)))
    assert (pick_examples(empty).rows == -1).all()


def test_a_table_is_for_pandas():
    examples = pick_examples(make())
    table = examples.table()
    assert list(table.columns) == 'feature stratum rank row doc value text'.split() and len(table) == (examples.rows >= 0).sum()
    assert len(examples.table([2])) == (examples.rows[2] >= 0).sum() and 'rows=8x45' in repr(examples)


def test_saved_examples_belong_to_their_activations(tmp_path):
    acts = make()
    examples = pick_examples(acts, [0, 3, 5], seed=7)
    path = examples.save(tmp_path/'e.safetensors')
    again = Examples.load(path, acts)
    for name in ('ids', 'rows', 'values', 'same'): np.testing.assert_array_equal(getattr(again, name), getattr(examples, name))
    assert [getattr(again, o) for o in ('strata', 'left', 'right', 'seed', 'n')] == [getattr(examples, o) for o in ('strata', 'left', 'right', 'seed', 'n')]
    assert [str(o) for o in again.of(3)] == [str(o) for o in examples.of(3)]
    for other in (make(seed=1), make(n=301), make(f=9)):
        with pytest.raises(FeatgeomError): Examples.load(path, other)
    with pytest.raises(FeatgeomError, match='other activations'): Examples.load(path, make(seed=1))


@pytest.mark.parametrize('change', [lambda a, m: a.pop('same'), lambda a, m: a.update(rows=a['rows'] + 10**6), lambda a, m: a.update(rows=a['rows'] - 5),
    lambda a, m: a.update(values=a['values'].astype('f8')), lambda a, m: a.update(ids=a['ids'][::-1]), lambda a, m: a.update(ids=a['ids'] + 7),
    lambda a, m: m.update(strata=[['top', 0, 99]]), lambda a, m: m.update(strata='top'), lambda a, m: m.update(strata=[['top', 0]]), lambda a, m: m.update(left=-1),
    lambda a, m: m.update(seed='x'), lambda a, m: m.pop('right'), lambda a, m: a.update(same=a['same'][:1]), lambda a, m: m.update(strata=[[0, 0, 45]]),
    lambda a, m: m.pop('acts')])
def test_a_damaged_file_is_refused(tmp_path, change):
    acts = make()
    path = pick_examples(acts, [0, 3, 5]).save(tmp_path/'e.safetensors')
    arrays, meta = read_arrays(path, 'examples')
    arrays = {name: o.copy() for name, o in arrays.items()}
    change(arrays, meta)
    write_arrays(path, 'examples', arrays, meta)
    with pytest.raises(FeatgeomError): Examples.load(path, acts)


def test_examples_of_the_embedded_model_stand_where_it_fires():
    from featgeom.collecting import collect
    from featgeom.models import load_model
    from featgeom.sae import FeatureSpace
    from featgeom.stories import storybook, zoo_path
    acts, = collect(FeatureSpace.load(model=load_model(zoo_path('story-1l')), sae=zoo_path('story-1l/sae-256')), storybook(40, seed=2), progress=False)
    examples = pick_examples(acts)
    for j, strata in examples.each(range(0, 256, 16)):
        rows, values = acts.column(j)
        for o in strata['top']: assert values[np.searchsorted(rows, o.row)] == o.value
        assert not len(rows) or strata['top'][0].value == values.max()
        for some in strata.values():
            for o in some: assert o.text[o.start[o.hit] - o.start[0]:o.end[o.hit] - o.start[0]] == acts.token_text(o.row)[0]


ODD = [None, True, -1, 1.5, float('nan'), 10**30, '', 'odd', b'bytes', [], [None], [1, 'a'], {}, object(), np.zeros(0), np.zeros((2, 2)), np.full(3, np.nan), np.int64(-5)]

def test_odd_arguments_end_in_our_words(tmp_path):
    from featgeom.features import activation_histograms, capacity, feature_stats, shown, top_tokens
    acts = make(60)
    examples = pick_examples(acts)
    examples.save(tmp_path/'e')
    doors = [(pick_examples, dict(acts=acts, ids=[1, 2], k=2, each=1, random=1, silent=1, left=1, right=1, seed=0, progress=False)), (windows, dict(acts=acts, rows=[1], left=1, right=1)),
             (examples.of, dict(feature=1, stratum='top')), (lambda **o: list(examples.each(**o)), dict(features=[1], strata=['top'])), (examples.table, dict(features=[1])),
             (Examples.load, dict(path=tmp_path/'e', acts=acts)), (feature_stats, dict(acts=acts, decoder=np.ones((8, 3)), min_fires=3, levels=[.5], client=None)), (shown, dict(text='a')),
             (top_tokens, dict(acts=acts, k=3, budget=100, client=None)), (activation_histograms, dict(acts=acts, ids=[1, 2], bins=5)), (capacity, dict(W_dec=np.eye(3)))]
    wrong = []
    for door, arguments in doors:
        door(**arguments)
        for key in arguments:
            for value in ODD:
                try: door(**{**arguments, key: value})
                except FeatgeomError: pass
                except Exception as e: wrong.append(f'{getattr(door, "__name__", door)}({key}={value!r:.40}): {type(e).__name__}: {e!s:.80}')
    assert not wrong, '\n'.join(wrong)
