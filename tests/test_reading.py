"Readings, passages, entries and the dashboard's Python side, against plain references, hostile text and odd stores."
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from threading import Event
from types import SimpleNamespace
import json, time

from scipy import sparse
import numpy as np
import pytest

import featgeom as fg
from featgeom import reading as reading_module
from featgeom.align import align_spans
from featgeom.collecting import collect
from featgeom.core import FeatgeomError
from featgeom.dashboard import Dashboard
from featgeom.entries import entry_blobs, on_passages, pair_meta, plain, scatter_of
from featgeom.finding import FeatureSet
from featgeom.labels import Labels
from featgeom.passages import passage_blob, passages, utf16
from featgeom.products import search, side, survey
from featgeom.reading import read_features
from featgeom.stories import tell
from featgeom.widget import unpack
from dashpage import apart, opened

HOSTILE = '</script><img src=x onerror="document.title=1"> \N{PILE OF POO} \u202e <!-- \ud83d "king" \\u003c\n\ttail'
read = partial(read_features, progress=False)

@pytest.fixture(scope='module')
def spaces():
    return [fg.FeatureSpace.load(model=fg.zoo_path(o), sae=fg.zoo_path(f'{o}/sae-256'), name=o) for o in ('story-1l', 'story-2l')]

@pytest.fixture(scope='module')
def acts(spaces): return collect(spaces, tell(160, seed=3), progress=False)

@pytest.fixture(scope='module')
def readings(acts, spaces): return [read(*o) for o in zip(acts, spaces)]

@pytest.fixture(scope='module')
def pairs(acts): return fg.match(*acts, shifts=3, given='token', permutations=19, min_fires=20, seed=0)

@pytest.fixture(scope='module')
def board(readings, pairs): return Dashboard(readings, pairs, most=12, prompts=['The king asked the queen.', ('Numbers', 'one two three')])

def parts_of(board):
    "The outer meta, and the (arrays, meta) of entries and blobs of chunks and prompts of a payload."
    meta, entries, rest = opened(board.payload)
    return meta, [*entries, *rest]

def entries_of(*args):
    "(arrays, meta) of some entries, and their passages."
    bundles, used = entry_blobs(*args)
    return apart(bundles), used

def rows_of(blob):
    "The passages of a chunk as (meta, [(first unit, size)] of each row), decoded as the page does."
    arrays, meta = unpack(blob)
    out, at = [], 0
    for told, n in zip(meta['passages'], arrays['rows'].tolist()):
        start = np.cumsum(arrays['step'][at:at + n].astype(int))
        out.append((told, list(zip(start.tolist(), arrays['size'][at:at + n].tolist()))))
        at += n
    assert at == len(arrays['step']) == len(arrays['size'])
    return out

def shown(text, start, size):
    "What a browser shows: a slice in UTF-16 units."
    return text.encode('utf-16-le', 'surrogatepass')[2*start:2*(start + size)].decode('utf-16-le', 'surrogatepass')

# ---- passages

@pytest.mark.parametrize('text', ['', 'plain', 'née', 'a\N{CROWN}b\N{CROWN}', '\ud83d alone', '\U0010ffff\uffff\u0000', HOSTILE, '\N{WOMAN}\u200d\N{GIRL}'*9])
def test_utf16_counts_units_as_browsers_do(text):
    places = np.arange(len(text) + 1)
    assert utf16(text, places).tolist() == [len(text[:i].encode('utf-16-le', 'surrogatepass'))//2 for i in places]
    assert utf16(text, [-5, 10**6]).tolist() == [0, len(text.encode('utf-16-le', 'surrogatepass'))//2]

def toy(docs, f=3, dense=False, seed=0, texts=True, tokens=True):
    "Random activations on documents of words; a word of more than one character beyond U+FFFF is two tokens of the same place."
    rng = np.random.default_rng(seed)
    spans, ids, table = [], [], {}
    for d, text in enumerate(docs):
        at = 0
        for word in text.split(' '):
            end = at + len(word) + (at > 0)
            for half in range(2 if any(ord(o) > 0xffff for o in word) else 1):
                spans.append((d, at, end))
                ids.append(table.setdefault((text[at:end], half), len(table)))
            at = end
    rows = dict(doc=[o[0] for o in spans], pos=range(len(spans)), token_id=ids)
    if texts: rows.update(start=[o[1] for o in spans], end=[o[2] for o in spans])
    names = {i: (t if half == 0 else '\udc91').encode('utf-8', 'replace').decode() for (t, half), i in table.items()} if tokens else None
    x = rng.gamma(1, 1, (len(spans), f))*(rng.random((len(spans), f)) < .3)
    rows, more = fg.Rows(**{k: np.array(v) for k, v in rows.items()}), dict(texts=list(docs) if texts else None, tokens=names)
    if dense: return fg.FeatureActs.from_dense((rng.normal(size=x.shape)).astype(np.float32), rows, 'toy', **more)
    return fg.FeatureActs.from_csr(sparse.csr_array(x.astype(np.float32)), rows, 'toy', **more)

def test_rows_of_passages_show_the_documents_own_characters():
    docs = ['The king slept.', f'A \N{CROWN} for {HOSTILE}', 'x', 'née \N{CROWN} '*700 + 'end']
    acts = toy(docs)
    cut = passages(acts)
    assert len(cut) > 4 and cut.first[-1] == len(acts) and np.diff(cut.first).max() <= 1024 and (np.diff(cut.first) > 0).all()
    for p in range(len(cut)):
        [(told, places)] = rows_of(passage_blob(cut, [p]))
        mine = range(*cut.first[p:p + 2])
        assert (told['doc'], told['part'], told['parts']) == (cut.doc[p], cut.part[p], cut.parts[p]) and len(places) == len(mine)
        assert [shown(told['text'], *o) for o in places] == acts.token_text(list(mine))
        halves = {str(i - mine[0]) for i in mine if '\N{CROWN}' in acts.token_text([i])[0] or '\N{PILE OF POO}' in acts.token_text([i])[0]}
        assert set(told['odd']) >= halves
    assert (cut.of(np.arange(len(acts))) == np.repeat(np.arange(len(cut)), np.diff(cut.first))).all()
    start, end = acts.rows.start, acts.rows.end
    assert all(start[a] >= end[a - 1] for a in cut.first[1:-1] if acts.rows.doc[a] == acts.rows.doc[a - 1])    # no cut inside a character

def test_chunks_hold_what_single_passages_hold():
    cut = passages(toy(tell(20, seed=0)))
    assert rows_of(passage_blob(cut, [3, 9, 4])) == [rows_of(passage_blob(cut, [o]))[0] for o in (3, 9, 4)]

def test_stores_without_texts_show_their_tokens():
    cut = passages(toy(['The king slept.', 'A \N{CROWN} x'], texts=False))
    (_, places), (told, more) = rows_of(passage_blob(cut, [0, 1]))
    assert [shown(told['text'], *o) for o in more] == ['A', ' \N{CROWN}', '?', ' x'] and len(places) == 3
    bare = passages(toy(['one two one'], texts=False, tokens=False))
    [(told, places)] = rows_of(passage_blob(bare, [0]))
    assert [shown(told['text'], *o) for o in places] == ['#0 ', '#1 ', '#2 ']

@pytest.mark.parametrize('rows, words', [
    (None, 'Rows of tokens'), (fg.Rows(doc=[0, 1, 0], token_id=[0, 0, 0]), 'out of order'), (fg.Rows(doc=[-1, 0, 0], token_id=[0, 0, 0]), 'out of order'),
    (fg.Rows(doc=[0, 1, 7], token_id=[0, 0, 0], start=[0, 0, 0], end=[1, 1, 1]), '2 texts'), (fg.Rows(token_id=[1, 2, 3], kind='pixel'), 'Only text')])
def test_rows_that_cannot_be_read_are_refused(rows, words):
    acts = fg.FeatureActs.from_csr(sparse.csr_array(np.eye(3)), rows, texts=['a', 'b'], tokens={0: 'a'})
    with pytest.raises(FeatgeomError, match=words): passages(acts)
    with pytest.raises(FeatgeomError, match=words): read(acts)

# ---- entries

def test_plain_numbers_are_short_and_right():
    x = np.random.default_rng(0).normal(size=2000)*10.**np.random.default_rng(1).integers(-12, 12, 2000)
    got = plain(x, 4)
    assert all(o == float(f'{v:.3e}') for o, v in zip(got, x)) and max(len(json.dumps(o)) for o in got) < 16
    assert plain([np.nan, -np.inf, 0]) == [None, None, 0] and plain(np.float32(.1)) == .1

@pytest.mark.parametrize('dense', [False, True])
def test_activations_on_passages_are_those_of_the_matrix(dense, monkeypatch):
    acts = toy(tell(30, seed=1), f=7, dense=dense)
    reading = read(acts)
    real = fg.FeatureActs.column_blocks
    monkeypatch.setattr(fg.FeatureActs, 'column_blocks', lambda self, ids=None: real(self, ids, 60))      # many blocks
    rng = np.random.default_rng(0)
    ids = np.array([4, -1, 0, 4, 6])
    some = [np.sort(rng.choice(30, k, replace=False)) for k in (3, 4, 0, 30, 1)]
    at, docs = np.cumsum([0] + [len(o) for o in some]), np.concatenate(some).astype(int)
    n, row, act = on_passages(reading, ids, at, docs)
    x, first, k = acts.csr().toarray(), reading.passages.first, 0
    steps = 127 if dense else 255
    assert act.dtype == (np.int8 if dense else np.uint8)
    for e, i in [(e, i) for e in range(5) for i in range(at[e], at[e + 1])]:
        mine = x[first[docs[i]]:first[docs[i] + 1], ids[e]]/reading.scale[ids[e]]*steps if ids[e] >= 0 else np.zeros(0)
        active = np.flatnonzero(np.rint(mine) != 0 if dense else mine != 0)
        assert n[i] == len(active) and (row[k:k + n[i]] == active).all()
        assert (act[k:k + n[i]] == (np.rint(mine) if dense else np.maximum(np.rint(mine), 1))[active]).all()
        k += n[i]
    assert k == len(row) == len(act)

def test_an_entry_is_what_the_reading_says(readings, pairs):
    blobs, used = entries_of(readings, [[5, 9], [7, -1]], pairs)
    arrays, meta = blobs[0]
    assert (meta['a'], meta['b'], len(meta['sides'])) == (5, 9, 2) and arrays['doc'].tolist() == used[0].tolist() == sorted({*used[0].tolist()})
    for s, (r, id) in enumerate(zip(readings, (5, 9))):
        side, first = meta['sides'][s], r.passages.first
        assert (side['space'], side['id'], side['stats']['count']) == (r.name, id, r.stats.counts[id])
        assert arrays[f'hist{s}'].sum() == r.stats.counts[id] and np.allclose(arrays[f'knots{s}'], r.histograms.knots[id])
        rows = first[arrays['doc'][arrays[f'ex_doc{s}']]] + arrays[f'ex_row{s}']
        x = r.acts.csr().toarray()[:, id]
        assert np.allclose(arrays[f'ex_val{s}'], x[rows])
        for k, a, b, low, high in side['strata']:
            name = list(r.examples.strata)[k]
            mine = r.examples.rows[id, slice(*r.examples.strata[name])]
            assert sorted(rows[a:b]) == sorted(mine[mine >= 0]) and (np.diff(np.abs(x[rows[a:b]])) <= 0).all()
            assert low <= x[rows[a:b]].min()*1.001 and x[rows[a:b]].max() <= high*1.001
        assert [o[0] for o in side['near']['cofire']] == [b for a, b in zip(r.near['cofire'].a, r.near['cofire'].b) if a == id][:10]
        assert side['near']['cosine_chance'] == pytest.approx(r.cosine_chance, rel=1e-3)
        assert side['tokens'][0][0] == r.tops.strings[id, 0] and side['labels'][0]['source'] == r.labels[0].source
        mine, theirs = (pairs.a, pairs.b) if s == 0 else (pairs.b, pairs.a)
        best = sorted(zip(-pairs.score[mine == id], theirs[mine == id]))[:10]
        assert [o[0] for o in side['partners']] == [o for _, o in best] and side['max'] == pytest.approx(x.max(), rel=1e-4)
    alone = blobs[1][1]
    assert (alone['a'], alone['b'], len(alone['sides'])) == (7, -1, 1)

def test_neighbours_are_the_largest_correlations_and_cosines(readings, spaces):
    r, x = readings[0], readings[0].acts.csr().toarray()
    w = spaces[0].sae.W_dec.detach().numpy()
    w = w/np.linalg.norm(w, axis=1, keepdims=True)
    alive = np.flatnonzero(r.stats.counts >= 50)
    for name, full, who in (('cofire', np.corrcoef(x[:, alive].T), alive), ('cosine', w @ w.T, np.arange(len(w)))):
        np.fill_diagonal(full, -2)
        near = r.near[name]
        assert (near.a != near.b).all() and set(near.a) <= set(who)
        for i, j in enumerate(who[:20].tolist()):
            got = near.score[near.a == j]
            want = np.sort(full[i])[::-1][:10]
            assert np.allclose(got, want[:len(got)], atol=1e-5) and (len(got) == 10 or want[len(got)] <= 1e-6)

def test_constants_have_no_correlation_in_a_scatter():
    rng = np.random.default_rng(0)
    acts = toy(['a b c d e f g h '*375], f=2, texts=False)
    for a, b in rng.random((40, 2)):
        x = np.stack([np.full(len(acts), a), np.full(len(acts), b)], 1).astype(np.float32)
        one = fg.FeatureActs.from_dense(x, acts.rows, 'one', tokens=acts.tokens)
        r = SimpleNamespace(acts=one)
        assert scatter_of([r, r], [[0, 1]])[0][0]['r'] is None

def test_q_is_rounded_up(readings, pairs):
    assert all(o['q'] is None or np.ceil(q*1000 - 1e-6)/1000 == o['q'] for o, q in zip(pair_meta(pairs), pairs.q))

def test_a_space_against_itself_is_searched_for_half_the_work_with_the_same_lists():
    rng = np.random.default_rng(0)
    for signed, f in ((False, 5), (False, 300), (True, 130)):
        x = rng.gamma(1, 1, (700, f))*(rng.random((700, f)) < rng.uniform(.001, .3, f))
        x[:, 2], x[:, 3] = x[:, 1], 2*x[:, 1]
        if signed: x *= rng.choice([-1, 1], x.shape)
        acts = fg.FeatureActs.from_csr(sparse.csr_array(x.astype(np.float32)))
        seen = survey(acts)
        ids = np.flatnonzero((seen.fires > 3) & (seen.var > 0))
        for jaccard in (False, True):
            a, b = side(acts, seen, ids, jaccard), side(acts.select(np.arange(700)), seen, ids, jaccard)
            for memory in (2**31, 2**18 + 700*len(ids)):                           # one block, and several
                for one, two in zip(search(a, a, [(0, 5), (37, 2)], memory), search(a, b, [(0, 5), (37, 2)], memory)):
                    assert all((p.top == q.top).all() and (p.who == q.who).all() for p, q in zip(one, two))

# ---- the reading

def test_a_killed_reading_goes_on_and_equals_an_undisturbed_one(acts, spaces, tmp_path, monkeypatch):
    whole = read(acts[0], spaces[0])
    real, calls = reading_module.logit_effects, []
    def killed(*args, **how): raise KeyboardInterrupt
    monkeypatch.setattr(reading_module, 'logit_effects', killed)
    with pytest.raises(KeyboardInterrupt): read(acts[0], spaces[0], store=tmp_path)
    done = {o.name: o.stat().st_mtime_ns for o in tmp_path.iterdir()}
    made = {o.split('-')[0] for o in done}                                          # co-firing is looked for beside the others
    assert made - {'cofire'} == {'statistics', 'tokens', 'histograms', 'examples'}
    monkeypatch.setattr(reading_module, 'logit_effects', lambda *args, **how: calls.append(1) or real(*args, **how))
    monkeypatch.setattr(reading_module, 'feature_stats', None)                     # made already
    for _ in range(2): again = read(acts[0], spaces[0], store=tmp_path)
    assert calls == [1] and done.items() <= {o.name: o.stat().st_mtime_ns for o in tmp_path.iterdir()}.items()
    assert entry_blobs([again], [[5], [9]])[0] == entry_blobs([whole], [[5], [9]])[0]
    assert again.short == whole.short and again.logits.chance_effect == whole.logits.chance_effect

def test_small_stores_are_read_once_with_the_same_result(acts, spaces, monkeypatch):
    one = read(acts[0], spaces[0])
    monkeypatch.setattr(reading_module, '_SMALL', 0)
    two = read(acts[0], spaces[0])
    assert one.acts is two.acts is one.examples.acts is acts[0] and one.short == two.short
    assert entry_blobs([one], np.arange(256)[:, None])[0] == entry_blobs([two], np.arange(256)[:, None])[0]
    assert all(np.array_equal(getattr(one.near[o], c), getattr(two.near[o], c), equal_nan=True) for o in one.near for c in ('a', 'b', 'score', 'null', 'q'))
    assert (one.examples.rows == two.examples.rows).all() and (one.histograms.counts == two.histograms.counts).all()

def test_of_readings_at_once_one_limits_blas(monkeypatch):
    limits, seen, first, second = [0], {}, Event(), Event()
    @contextmanager
    def limited(n):
        limits[0] += n
        yield
        limits[0] -= n
    monkeypatch.setattr(reading_module, 'THREADS', 2)
    monkeypatch.setattr(reading_module, 'threadpool_limits', limited)
    def one():
        seen['one'] = limits[0]
        first.set()
        second.wait(10)
    def two():
        seen['two'] = limits[0]
        second.set()
        early.result()
        seen['left'] = limits[0]
    with ThreadPoolExecutor(2) as pool:
        early = pool.submit(reading_module._on_one_core, one, False)
        first.wait(10)
        pool.submit(reading_module._on_one_core, two, False).result()
    assert seen == dict(one=1, two=1, left=0)
    assert reading_module._on_one_core(lambda: limits[0], False) == 1 and reading_module._on_one_core(lambda: limits[0], True) == 0
    monkeypatch.setattr(reading_module, 'THREADS', 16)
    assert reading_module._on_one_core(lambda: limits[0], False) == 0

def test_an_interrupt_waits_for_no_further_part(acts, tmp_path, monkeypatch):
    begun, real = Event(), reading_module.feature_stats
    def slow(*args):
        begun.set()
        time.sleep(.3)
        return real(*args)
    def killed(*args, **how):
        begun.wait()
        raise KeyboardInterrupt
    monkeypatch.setattr(reading_module, 'feature_stats', slow)
    monkeypatch.setattr(reading_module, 'near_by_firing', killed)
    with pytest.raises(KeyboardInterrupt): read(acts[0], store=tmp_path)
    assert [o.name.split('-')[0] for o in tmp_path.iterdir()] == ['statistics']

def test_another_seed_or_store_makes_parts_of_its_own(acts, spaces, tmp_path):
    read(acts[0], store=tmp_path)
    n = len(list(tmp_path.iterdir()))
    read(acts[0], seed=1, store=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2*n
    read(acts[0].select(np.arange(len(acts[0]) - 50)), store=tmp_path)
    assert len(list(tmp_path.iterdir())) == 3*n

def test_a_damaged_part_is_named(acts, tmp_path):
    read(acts[0], store=tmp_path)
    path = next(tmp_path.glob('tokens-*'))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(FeatgeomError, match='tokens-'): read(acts[0], store=tmp_path)

@pytest.mark.parametrize('part', ['statistics', 'tokens', 'histograms', 'examples', 'cofire'])
def test_a_flipped_byte_of_a_part_is_noticed(acts, tmp_path, part):
    read(acts[0], store=tmp_path)
    path = next(tmp_path.glob(f'{part}-*'))
    data = bytearray(path.read_bytes())
    data[-9] ^= 1
    path.write_bytes(data)
    with pytest.raises(FeatgeomError, match=f'{part}-.*damaged.*made again'): read(acts[0], store=tmp_path)

def test_a_store_of_parts_knows_rows_texts_and_tokens(tmp_path):
    one = toy(tell(20, seed=0))
    x, rows, texts, tokens = one.csr(), one.rows, one.texts, one.tokens
    moved = fg.Rows(**{**rows.columns, 'token_id': rows.token_id[::-1].copy()})
    others = [(rows, texts, {id: f'{o}!' for id, o in tokens.items()}), (moved, texts, tokens), (rows, [o.upper() for o in texts], tokens)]
    read(one, store=tmp_path)
    for rows, texts, tokens in others:
        two = fg.FeatureActs.from_csr(x, rows, 'toy', texts, tokens)
        got, want = read(two, store=tmp_path), read(two)
        assert got.tops.strings.tolist() == want.tops.strings.tolist() and (got.examples.rows == want.examples.rows).all() and got.short == want.short

def test_what_does_not_fit_is_refused(acts, spaces):
    with pytest.raises(FeatgeomError, match='256 features'): read(acts[0], fg.FeatureSpace.load(model=spaces[0].model, sae=fg.zoo_path('story-1l/sae-1024')))
    with pytest.raises(FeatgeomError, match='Activations of this space'): read(acts[0], spaces[1])
    with pytest.raises(FeatgeomError): read(acts[0], labels=[Labels.of_dict({3: 'x'}, 999)])
    with pytest.raises(FeatgeomError): read(acts[0], labels='mine')
    with pytest.raises(FeatgeomError): read('acts')

def test_given_labels_come_first_and_the_automatic_ones_stay(acts):
    mine = Labels.of_dict({3: 'a king'}, acts[0], source='mine')
    r = read(acts[0], labels=mine)
    assert r.short[3] == 'a king' and r.short[4] == r.labels[0].of()[4] and [o.source for o in r.labels][1] == 'mine'
    side = (entries_of([r], [[3]])[0][0])[1]['sides'][0]
    assert [o['source'] for o in side['labels']] == [r.labels[0].source, 'mine']

def test_a_reading_finds_by_word_and_prints(readings):
    found = readings[0].find('king', 'queen', share=.3)
    assert isinstance(found, FeatureSet) and found.space == 'story-1l'
    assert 'story-1l' in repr(readings[0]) and len(readings[0].table()) == 256

# ---- odd stores

def test_dead_features_have_an_entry_that_says_so():
    acts = toy(tell(20, seed=0), f=4)
    x = acts.csr().toarray()
    x[:, 2] = 0
    acts = fg.FeatureActs.from_csr(sparse.csr_array(x), acts.rows, 'toy', acts.texts, acts.tokens)
    board = Dashboard(read(acts), features=[2, 0])
    meta, blobs = parts_of(board)
    arrays, told = blobs[0]
    side = told['sides'][0]
    assert side['dead'] and not side['rare'] and side['stats']['count'] == 0 and side['stats']['mean'] is None and side['tokens'] == []
    assert arrays['hist0'].sum() == 0 and len(arrays['row0']) == 0 and side['strata'] == [] and meta['entries'][0]['a'] == 2

def test_all_features_may_be_dead_but_there_must_be_rows():
    acts = toy(['a b c'], f=2)
    empty = fg.FeatureActs.from_csr(sparse.csr_array((3, 2)), acts.rows, 'toy', acts.texts, acts.tokens)
    assert len(Dashboard(read(empty)).spots) == 2
    none = fg.FeatureActs.from_csr(sparse.csr_array((0, 2)), acts.rows[:0], 'toy', [], {})
    with pytest.raises(FeatgeomError, match='no rows'): read(none)

def test_neurons_are_signed_and_say_why_there_are_no_logits():
    space = fg.FeatureSpace.load(model=fg.zoo_path('story-1l'), site='blocks.0.mlp.hook_post', name='neurons')
    acts = collect(space, tell(40, seed=0), progress=False)[0]
    r = read(acts, space)
    assert r.signed and r.logits is None and 'neurons' in r.no_logits and 'cosine' not in r.near and 'no decoder' in r.no_near['cosine']
    meta, blobs = parts_of(Dashboard(r, features=[0, 1], prompts=['The king.']))
    arrays, told = blobs[0]
    assert arrays['act0'].dtype == np.int8 and told['sides'][0]['low'] < 0 and meta['spaces'][0]['no_logits'] == r.no_logits

def test_ranges_of_strata_hold_their_examples_where_signs_differ():
    r = read(toy(tell(60, seed=2), f=4, dense=True))
    for blob in entries_of([r], np.arange(4)[:, None])[0]:
        arrays, told = blob
        for _, a, b, low, high in told['sides'][0]['strata']:
            x = arrays['ex_val0'][a:b]
            assert low <= x.min() + 1e-3*abs(x.min()) and x.max() <= high + 1e-3*abs(x.max())

def test_spans_of_two_tokenizers_are_read_on_one_text(spaces, acts):
    aligned = align_spans(*acts, progress=False)
    both = [read(o) for o in (aligned.a, aligned.b)]
    meta, blobs = parts_of(Dashboard(both, features={both[0].name: [3], both[1].name: [4]}))
    assert meta['spaces'][0]['rows'] == 'spans' and not meta['live_text']
    assert [(o['a'], o['b']) for o in meta['entries']] == [(3, -1), (-1, 4)]
    assert blobs[1][1]['sides'][0]['space'] == both[1].name

def test_stores_without_texts_still_have_entries():
    r = read(toy(tell(20, seed=0), texts=False))
    meta, blobs = parts_of(Dashboard(r))
    assert len(meta['entries']) == 3 and len(rows_of(blobs[3])) == 16

# ---- the dashboard

def test_the_payload_is_laid_out_as_the_page_reads_it(board, readings, pairs):
    meta, blobs = parts_of(board)
    entries, chunks = meta['entries'], -(-len(meta['passages'])//meta['chunk'])
    assert len(entries) == 12 and len(blobs) == 12 + chunks + 2 == len(entries) + chunks + len(meta['prompts'])
    assert [o['title'] for o in meta['prompts']] == ['Text 1', 'Numbers'] and meta['live_text'] and meta['version'] == 1
    score = [o['score'] for o in entries]
    assert score == sorted(score, reverse=True) and all(o['q'] < .05 for o in entries)
    at = {p: i for i, p in enumerate(meta['passages'])}
    for blob in blobs[:12]:
        arrays, told = blob
        assert {*arrays['doc'].tolist()} <= {*at} and told['pair']['mutual'] in (True, False) and told['pair']['given'] == 'token'
        assert len(arrays['sx']) == len(arrays['sy']) == len(told['scatter']['text']) <= 150 and len(arrays['hx']) == 24
        assert {o['name'] for o in told['pair']['agreement']} >= {'jaccard', 'rank'} and 'held_same' in told['pair']
    number = meta['passages'][20]
    assert rows_of(blobs[12 + 20//16])[20 % 16] == rows_of(passage_blob(readings[0].passages, [number]))[0]
    arrays, told = unpack(blobs[-2])
    side = told['sides'][0]
    assert told['text'] == 'The king asked the queen.' and [shown(told['text'], a, b) for a, b in zip(arrays['start0'].tolist(), arrays['size0'].tolist())][1].strip() == 'king'
    assert len(arrays['top_id0']) % len(side['tokens']) == 0 and set(side['labels']) == {str(o) for o in arrays['top_id0'].tolist() if o >= 0}

def test_a_page_takes_less_than_ten_kilobytes_a_feature(board): assert len(board.payload)/(2*12) < 10_000

def test_equal_input_makes_equal_bytes(board, readings, pairs):
    again = Dashboard(readings, pairs, most=12, prompts=['The king asked the queen.', ('Numbers', 'one two three')])
    assert again.payload == board.payload

def test_which_features_are_shown(readings, pairs):
    best = pairs.best()
    assert Dashboard(readings, pairs, features=[int(best.a[4])]).spots.tolist() == [[best.a[4], best.b[4]]]
    some = FeatureSet('two', 'story-2l', np.array([3, 8]), 256)
    assert Dashboard(readings, pairs, features=some).spots[:, 1].tolist() == [3, 8]
    assert Dashboard(readings, pairs, features={'story-1l': [9, 9, 2]}).spots[:, 0].tolist() == [9, 2]
    chosen = pairs[np.array([7, 3])]
    assert Dashboard(readings, chosen, all_pairs=pairs).spots.tolist() == [[chosen.a[0], chosen.b[0]], [chosen.a[1], chosen.b[1]]]
    assert len(Dashboard(readings[0], most=9).spots) == 9
    for features, words in (([256], 'nearest: 255'), ({'story': [1]}, 'story-1l'), ([1.5], 'Whole numbers'), (some & some, 'story-1l')):
        with pytest.raises(FeatgeomError, match=words): Dashboard(readings[0], features=features)

def test_a_dashboard_may_be_empty(readings, pairs):
    for board in (Dashboard(readings[0], features=[]), Dashboard(readings, pairs[:0]), Dashboard(readings, pairs, features={'story-2l': []})):
        meta, blobs = parts_of(board)
        assert meta['entries'] == meta['passages'] == blobs == [] and board.focus is None and '<svg' in board.poster()

def test_counts_are_not_rounded(readings, pairs):
    side = (entries_of([readings[0]], [[int(readings[0].stats.counts.argmax())]])[0][0])[1]['sides'][0]
    assert side['stats']['count'] == readings[0].stats.counts.max() and isinstance(side['stats']['count'], int)
    assert [o['support'] for o in pair_meta(pairs)] == pairs.support.tolist()

def test_rows_with_places_outside_their_text_show_nothing_wrong():
    rows = fg.Rows(doc=[0]*1200 + [1], token_id=[0]*1201, start=[-50, 900] + [10**9]*1199, end=[-20, 2**31 - 1] + [-10**9]*1199)
    cut = passages(fg.FeatureActs.from_csr(sparse.csr_array((1201, 1)), rows, texts=['short', ''], tokens={0: 'a'}))
    for told, places in rows_of(passage_blob(cut, np.arange(len(cut)))):
        assert told['text'] in ('short', '') and all(0 <= a and a + b <= len(told['text']) for a, b in places)

def test_readings_and_pairs_that_do_not_fit_are_refused(readings, pairs, acts):
    for wrong in ([readings[0], readings[0]], [], [*readings, readings[0]], 'x', [acts[0]]):
        with pytest.raises(FeatgeomError): Dashboard(wrong, pairs)
    with pytest.raises(FeatgeomError, match='without pairs'): Dashboard(readings)
    with pytest.raises(FeatgeomError, match='Pairs of'): Dashboard(readings[0], pairs)
    short = read(acts[1].select(np.arange(500)))
    with pytest.raises(FeatgeomError, match='500'): Dashboard([readings[0], short], pairs)
    with pytest.raises(FeatgeomError, match='space='): Dashboard(read(acts[0]), prompts=['x'])

def test_traits_take_what_is_valid_and_keep_it(board):
    assert board.focus[0][0] == 'story-1l' and len(board.focus) == 2
    board.focus = [['story-2l', np.int64(3)], ('story-1l', 4)]
    assert board.focus == [['story-1l', 4], ['story-2l', 3]]                            # A's first
    board.bookmarks = [board.focus, [['story-2l', 3]], board.focus]
    assert len(board.bookmarks) == 2
    board.notes = [dict(at=board.focus, text=HOSTILE)]
    assert board.notes[0]['text'] == HOSTILE
    board.text, board.view = HOSTILE, dict(tab='prompts', prompt=1)
    for name, value, words in (('focus', [['story-1l', 256]], 'nearest: 255'), ('focus', [['story-1l', -1]], 'nearest: 0'), ('focus', [['storyl', 1]], 'story-1l'), ('focus', [], 'empty'),
                               ('focus', [['story-1l', 1], ['story-1l', 2]], 'One feature'), ('focus', [['story-1l', True]], 'whole number'), ('focus', 'x', 'list'),
                               ('bookmarks', [['story-1l', 1]], 'whole number|focus'), ('notes', [dict(at=board.focus)], 'at and text'), ('notes', [dict(at=board.focus, text='x'*20_000)], '10,000'),
                               ('text', 'x'*20_001, '20,000'), ('view', dict(tab='x'), 'prompts'), ('view', dict(prompt=2), 'Below 2'), ('view', dict(zoom=1), 'zoom'), ('view', [], 'dict')):
        before = getattr(board, name)
        with pytest.raises(FeatgeomError, match=words): setattr(board, name, value)
        assert getattr(board, name) == before
    board.focus = board.bookmarks[0]

def heard(board, **message):
    "What the page hears when it asks."
    sent, real = [], board.send
    object.__setattr__(board, 'send', lambda content, buffers=None: sent.append((content, buffers)))
    try: board._hear(board, message, [])
    finally: object.__setattr__(board, 'send', real)
    return sent

def test_questions_of_the_page_are_answered(board, readings):
    meta, blobs = parts_of(board)
    a, b = meta['entries'][2]['a'], meta['entries'][2]['b']
    [(said, buffers)] = heard(board, ask='entry', at=[['story-1l', a], ['story-2l', b]], id=7)
    assert (said['reply'], said['what']) == (7, 'entry') and len(rows_of(buffers[1])) == len(said['passages'])
    mine, there = apart(buffers[:1])[0], blobs[2]
    assert mine[1]['sides'] == there[1]['sides'] and all((mine[0][k] == v).all() for k, v in there[0].items())
    assert said['passages'] == mine[0]['doc'].tolist()
    [(said, buffers)] = heard(board, ask='text', text='The \N{CROWN} king', at=[['story-2l', 5]], id='x')
    arrays, told = unpack(buffers[0])
    assert said['what'] == 'text' and told['text'] == 'The \N{CROWN} king' and 'focus1' in arrays and 'focus0' not in arrays
    assert len(arrays['focus1']) == len(told['sides'][1]['tokens'])

@pytest.mark.parametrize('message', [dict(ask='entry', at=[['story-1l', 999]], id=1), dict(ask='entry', at='x', id=1), dict(ask='entry', id=1), dict(ask='text', text=' ', id=1), dict(ask='text', id=1),
                                     dict(ask='text', text='x'*30_000, id=1), dict(ask='text', text=5, at=[['story-1l', 1]], id=1), dict(ask='entry', at=[[{}, []]], id=1)])
def test_wrong_questions_get_a_sentence(board, message):
    [(said, buffers)] = heard(board, **message)
    assert said['reply'] == 1 and said['error'] and buffers is None

@pytest.mark.parametrize('message', [dict(), dict(ask='x', id=1), dict(ask='text', text='x'), dict(ask='text', text='x', id={}), dict(ask='text', text='x', id='y'*500), dict(ask=['entry'], id=1)])
def test_other_messages_are_left_alone(board, message): assert heard(board, **message) == []

def test_hostile_text_is_data_everywhere(tmp_path):
    acts = toy([HOSTILE, f'{HOSTILE} again', *tell(10, seed=0)], f=3)
    r = read(acts, labels=[Labels.of_dict({0: HOSTILE, 1: '<script>'}, acts, source='</script>')])
    board = Dashboard(r)
    meta, blobs = parts_of(board)
    told = blobs[0][1]
    assert told['sides'][0]['labels'][1]['source'] == '</script>'
    page = board.save(tmp_path/'x.html', title=HOSTILE).read_text()
    assert page.count('<img src=x') == 0 and '<script>' not in board.poster() and 'onerror="' not in board.poster()
    [(first, _)] = rows_of(blobs[3])[:1]
    assert first['text'] == HOSTILE

def test_the_still_shows_what_is_in_focus(board):
    from xml.dom.minidom import parseString
    text = board.poster()
    parseString(text)
    assert f'{board.focus[0][0]} {board.focus[0][1]}' in text and f'{board.focus[1][0]} {board.focus[1][1]}' in text
