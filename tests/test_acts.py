"The store keeps what it is given through kills, damage and strangers' files."
import hashlib, json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import sparse

from featgeom.acts import FeatureActs, Rows, StoreWriter
from featgeom.core import FeatgeomError


def files(folder):
    "All files below a folder: {path: bytes}."
    return {str(o.relative_to(folder)): o.read_bytes() for o in sorted(Path(folder).rglob('*')) if o.is_file()}

def same_rows(a, b):
    "All columns of the rows are equal."
    assert list(a.columns) == list(b.columns)
    for name in a.columns: np.testing.assert_array_equal(a.columns[name], b.columns[name])

def random_acts(n=200, f=30, density=.1, seed=0, name='A'):
    rng = np.random.default_rng(seed)
    matrix = sparse.random_array((n, f), density=density, rng=rng, dtype=np.float32, format='csr')
    doc, pos = np.divmod(np.arange(n), 10)
    rows = Rows(doc=doc, pos=pos, token_id=rng.integers(0, 9, n), start=pos, end=pos + 1)
    return FeatureActs.from_csr(matrix, rows, name=name)


# ---- the store -----------------------------------------------------------------------------------------------------

@given(st.integers(1, 60), st.integers(1, 20), st.integers(1, 25), st.floats(0, 1), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_store_returns_what_was_saved(tmp_path_factory, n, f, shard, density, seed):
    acts = random_acts(n, f, density, seed)
    store = acts.save(tmp_path_factory.mktemp('store')/'A', shard=shard)
    assert store.shape == acts.shape and store.nnz == acts.nnz and len(store) == n
    np.testing.assert_array_equal(store.csr().toarray(), acts.csr().toarray())
    np.testing.assert_array_equal(store.csc().toarray(), acts.csr().toarray())
    same_rows(store.rows, acts.rows)
    for j in {0, f - 1, seed % f}:
        where, values = store.column(j)
        dense = acts.csr().toarray()[:, j]
        np.testing.assert_array_equal(where, np.flatnonzero(dense))
        np.testing.assert_array_equal(values, dense[where])
    at = 0
    for first, block in store.blocks():
        assert first == at
        np.testing.assert_array_equal(block.toarray(), acts.csr().toarray()[at:at + block.shape[0]])
        at += block.shape[0]
    assert at == n
    store.verify()


def test_two_saves_give_the_same_bytes_and_no_metadata(tmp_path):
    for name in 'xy': random_acts().save(tmp_path/name, shard=64)
    assert files(tmp_path/'x') == files(tmp_path/'y')
    assert b'__metadata__' not in files(tmp_path/'x')['shard-00000.safetensors']
    from safetensors.numpy import load_file
    names = {'indptr', 'indices', 'values', 'doc', 'pos', 'token_id', 'start', 'end'}
    assert set(load_file(tmp_path/'x'/'shard-00001.safetensors')) == names


def test_bytes_a_row_stay_within_format(tmp_path):
    acts = random_acts(5000, 500, .06)
    store = acts.save(tmp_path/'A', dtype='float16', shard=2000)
    assert sum(o['bytes'] for o in store.meta['shards']) <= 1.1*6*acts.nnz + 24*5000


def test_rows_of_other_kinds_pass_through(tmp_path):
    rows = Rows(doc=[0, 0, 1], pos=[0, 1, 0], label=[3, 3, 5], kind='patch')
    store = FeatureActs.from_csr(np.eye(3), rows).save(tmp_path/'A')
    assert store.rows.kind == 'patch' and list(store.rows.columns) == ['doc', 'pos', 'label']
    np.testing.assert_array_equal(store.rows.label, [3, 3, 5])
    assert not hasattr(store.rows, 'token_id')
    with pytest.raises(AttributeError): store.rows.label = 1


def test_from_csr_leaves_the_callers_matrix_alone_and_cleans_its_own():
    messy = sparse.csr_matrix((np.array([1., 2., 0., 4.]), np.array([2, 0, 1, 1]), np.array([0, 2, 4])), shape=(2, 3))
    acts = FeatureActs.from_csr(messy)
    assert messy.nnz == 4 and list(messy.indices) == [2, 0, 1, 1]
    assert acts.nnz == 3 and list(acts.csr().indices) == [0, 2, 1]
    assert acts.csr().dtype == np.float32
    one = sparse.csr_array(np.eye(2, dtype=np.float32))
    assert np.shares_memory(FeatureActs.from_csr(one).csr().data, one.data)


def test_signed_codes_are_active_when_not_zero():
    rows, values = FeatureActs.from_csr([[-2., 0], [3, 0]]).column(0)
    assert list(rows) == [0, 1] and list(values) == [-2, 3]


@pytest.mark.parametrize('bad', [[[np.nan, 1]], [[np.inf, 1]], [[1e39, 1]], np.zeros(3), np.zeros((2, 0)), [['a']], [[1j]]])
def test_from_csr_refuses(bad):
    with pytest.raises(FeatgeomError): FeatureActs.from_csr(bad)


def test_float16_overflow_is_an_error_and_underflow_keeps_firing(tmp_path):
    big = FeatureActs.from_csr([[1., 70000.]])
    with pytest.raises(FeatgeomError, match='dtype="float32"'): big.save(tmp_path/'big', dtype='float16')
    assert big.save(tmp_path/'big32').csr().data[1] == 70000
    small = FeatureActs.from_csr([[1e-9, -1e-12, 6e-8]]).save(tmp_path/'small', dtype='float16')
    assert small.nnz == 3 and list(np.sign(small.csr().data)) == [1, -1, 1]


def test_rows_longer_or_shorter_than_the_matrix_are_refused():
    with pytest.raises(FeatgeomError, match='3 rows described'): FeatureActs.from_csr(np.eye(2), Rows(doc=[0, 1, 2]))


# ---- damage and strangers ------------------------------------------------------------------------------------------

@pytest.fixture
def store(tmp_path): return random_acts().save(tmp_path/'A', shard=64)


def test_every_flipped_byte_is_found_and_the_file_named(store):
    rng = np.random.default_rng(0)
    for o in store.meta['shards']:
        path = store.folder/o['file']
        good = path.read_bytes()
        for at in rng.integers(0, len(good), 10):
            bad = bytearray(good)
            bad[at] ^= 1 << int(rng.integers(8))
            path.write_bytes(bad)
            with pytest.raises(FeatgeomError, match=o['file']): store.verify()
        path.write_bytes(good)
    assert store.verify() is store


def test_missing_or_cut_shard_is_named_at_opening(store):
    path = store.folder/'shard-00002.safetensors'
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    with pytest.raises(FeatgeomError, match='shard-00002'): FeatureActs.open(store.folder)
    with pytest.raises(FeatgeomError, match='shard-00002'): store.csr()
    path.unlink()
    with pytest.raises(FeatgeomError, match='shard-00002.*missing'): FeatureActs.open(store.folder)


def edit(store, change):
    meta = json.loads((store.folder/'meta.json').read_text())
    change(meta)
    (store.folder/'meta.json').write_text(json.dumps(meta))

def put(**changes): return lambda meta: meta.update(changes)
def put_rows(**changes): return lambda meta: meta['rows'].update(changes)
def put_shard(**changes): return lambda meta: meta['shards'][0].update(changes)

@pytest.mark.parametrize('change', [
    put(format=2), lambda m: m.pop('format'), put(name=7), put(dtype='float64'), put(n_features=-1), put(n_features=2**40),
    put(n_features=True), put(n_features=1.5), put(n_rows=10**9), put(n_rows='200'), put(rows=None), put_rows(kind=3),
    put_rows(columns=['doc', 'doc']), put_rows(columns=['indices']), put_rows(columns=[['doc']]),
    put_rows(columns=['__class__']), put(shards={}), put_shard(file='../../etc/passwd'),
    put_shard(file='shard-00001.safetensors'), put_shard(rows=2**62),
    put_shard(nnz=2**30), put_shard(nnz=None), put_shard(bytes=10**14), put_shard(sha256='xyz'),
    lambda m: m['shards'].reverse(), lambda m: m['shards'].append(3), lambda m: m.pop('shards'), put(files='texts.jsonl'),
    put(files=[dict(file='/etc/passwd', bytes=1, sha256='0'*64)]), put(files=[[]])])
def test_foreign_or_hostile_manifest_is_refused(store, change):
    edit(store, change)
    with pytest.raises(FeatgeomError, match='meta.json|shard-0'): FeatureActs.open(store.folder)


@pytest.mark.parametrize('text', ['', '{', '[]', 'null', '3', '"x"', '{"format": NaN}', '[' * 100000, '\x00'])
def test_manifest_that_is_no_manifest_is_refused(store, text):
    (store.folder/'meta.json').write_text(text)
    with pytest.raises(FeatgeomError): FeatureActs.open(store.folder)


def test_other_folders_are_refused_with_a_hint(tmp_path, store):
    with pytest.raises(FeatgeomError, match='Check the path'): FeatureActs.open(tmp_path/'nothing')
    with pytest.raises(FeatgeomError, match='Open one of them: A'): FeatureActs.open(tmp_path)


def rewrite(store, **tensors):
    "Put tensors of a stranger into shard 0, with sizes and hashes that agree: only structure can tell."
    from safetensors.numpy import load_file, save
    path = store.folder/'shard-00000.safetensors'
    data = save({**load_file(path), **tensors})
    path.write_bytes(data)
    edit(store, lambda m: m['shards'][0].update(bytes=len(data), sha256=hashlib.sha256(data).hexdigest()))
    return FeatureActs.open(store.folder)

def test_shard_whose_matrix_would_crash_compiled_code_is_refused(store):
    t = store._shard(0)
    outside, order, pointers, values = (np.array(t[o]) for o in ('indices', 'indices', 'indptr', 'values'))
    outside[3] = 10**6
    row = int(np.flatnonzero(np.diff(t['indptr']) > 1)[0])
    at = int(t['indptr'][row])
    order[[at, at + 1]] = order[[at + 1, at]]
    pointers[5] = 10**6
    values[0] = np.nan
    for tensors, message in [(dict(indices=outside), 'outside'), (dict(indices=order), 'out of order'),
                             (dict(indptr=pointers), 'pointers'), (dict(values=values), 'not finite'),
                             (dict(indices=-outside), 'outside')]:
        keep = files(store.folder)
        damaged = rewrite(store, **tensors)
        for use in (damaged.csr, lambda: damaged.column(0), lambda: list(damaged.blocks()), lambda: damaged.rows):
            with pytest.raises(FeatgeomError, match=message): use()
        for name, data in keep.items(): (store.folder/name).write_bytes(data)


def test_mutated_shard_headers_give_our_error_or_the_right_numbers(store):
    rng = np.random.default_rng(1)
    path, truth = store.folder/'shard-00000.safetensors', store.csr().toarray()
    good = path.read_bytes()
    head = 8 + int.from_bytes(good[:8], 'little')
    for _ in range(300):
        bad = bytearray(good)
        for at in rng.integers(0, head, 2): bad[at] = int(rng.integers(256))
        path.write_bytes(bad)
        try: np.testing.assert_array_equal(store.csr().toarray(), truth)
        except FeatgeomError as e: assert 'shard-00000' in str(e)
    path.write_bytes(good)


def test_damaged_texts_and_tokens_are_named(tmp_path):
    rows = Rows(doc=[0, 0, 1], pos=[0, 1, 0], token_id=[4, 5, 4], start=[0, 1, 0], end=[1, 2, 1])
    acts = FeatureActs.from_csr(np.eye(3), rows, texts=['ab', 'a👩'], tokens={4: 'a', 5: 'b'}).save(tmp_path/'A')
    for name, attribute in [('texts.jsonl', 'texts'), ('tokens.json', 'tokens')]:
        path = acts.folder/name
        good = path.read_bytes()
        path.write_bytes(b'[1]' + b' '*(len(good) - 4) + b'\n')
        with pytest.raises(FeatgeomError, match=name): getattr(FeatureActs.open(acts.folder), attribute)
        with pytest.raises(FeatgeomError, match=name): acts.verify()
        path.write_bytes(good)


# ---- writing, stopping, going on -----------------------------------------------------------------------------------

def test_stopped_after_any_shard_ends_with_the_same_bytes(tmp_path):
    acts = random_acts(300)
    whole = files(acts.save(tmp_path/'whole', shard=64).folder)
    request = {key: o for key, o in acts.meta.items() if key != 'n_rows'}
    for stop in range(5):
        folder = tmp_path/f'stop{stop}'
        writer = StoreWriter(folder, request)
        for i in range(stop): writer.add(acts.csr()[64*i:64*i + 64], acts.rows[64*i:64*i + 64])
        (folder/'.shard-00009.safetensors.1.tmp').write_bytes(b'half')
        if stop > 1: (folder/f'shard-{stop - 1:05d}.safetensors').write_bytes(b'cut short by a power failure')
        acts.save(folder, shard=64)
        assert files(folder) == whole


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path):
    (tmp_path/'notes.txt').write_text('mine')
    with pytest.raises(FeatgeomError, match='notes.txt'): random_acts().save(tmp_path)
    assert files(tmp_path) == {'notes.txt': b'mine'}
    (tmp_path/'file').write_text('mine')
    with pytest.raises(FeatgeomError, match='No store at'): random_acts().save(tmp_path/'file')


@pytest.mark.parametrize('journal', ['', '[]', '{}', '{"request": {}, "resume": {}, "shards": [4]}',
                                     '{"request": 1, "resume": {}, "shards": []}'])
def test_damaged_journal_is_an_error(tmp_path, journal):
    (tmp_path/'A').mkdir()
    (tmp_path/'A'/'progress.json').write_text(journal)
    with pytest.raises(FeatgeomError): random_acts().save(tmp_path/'A')
