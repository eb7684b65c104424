"The store keeps what it is given through kills, damage and strangers' files."
import hashlib, json, os, subprocess, sys, textwrap, tracemalloc
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import sparse

from featgeom.acts import FeatureActs, Rows, StoreWriter
from featgeom.core import FeatgeomError, write_json
from featgeom.shards import sealed, shard_bytes, shard_rows


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


@pytest.fixture
def store(tmp_path): return random_acts().save(tmp_path/'A', shard=64)


# ---- the store -----------------------------------------------------------------------------------------------------

@given(st.integers(1, 60), st.integers(1, 20), st.integers(1, 25), st.floats(0, 1), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
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


def test_columns_that_are_views_are_saved_as_what_they_show(tmp_path):
    table = np.arange(12, dtype=np.int32).reshape(6, 2)
    rows = Rows(doc=table[:, 0], pos=table[::-1, 1])
    store = FeatureActs.from_dense(np.arange(12.).reshape(2, 6).T, rows).save(tmp_path/'A')
    same_rows(store.rows, rows)
    np.testing.assert_array_equal(store.csr().toarray(), np.arange(12.).reshape(2, 6).T)
    wide = sparse.csr_array((np.ones(4, 'f4')[::2], np.arange(4)[::2], np.array([0, 1, 2])), shape=(2, 3))
    np.testing.assert_array_equal(FeatureActs.from_csr(wide).save(tmp_path/'B').csr().toarray(), wide.toarray())


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


# ---- dense stores, rows that are no tokens, parts -------------------------------------------------------------------

@given(st.integers(1, 60), st.integers(1, 20), st.integers(1, 25), st.sampled_from(['float16', 'float32']), st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_dense_store_returns_what_was_saved(tmp_path_factory, n, f, shard, dtype, seed):
    rng = np.random.default_rng(seed)
    array = rng.normal(size=(n, f)).astype(dtype).astype('f4')*(rng.random((n, f)) < .8)
    rows = Rows(sample=rng.integers(0, 5, n), label=np.arange(n), kind='image')
    acts = FeatureActs.from_dense(array, rows, 'neurons')
    store = acts.save(tmp_path_factory.mktemp('store')/'A', dtype, shard)
    assert store.dense and store.shape == (n, f) and store.nnz == acts.nnz == np.count_nonzero(array)
    assert store.rows.kind == 'image' and 'dense' in repr(store)
    same_rows(store.rows, rows)
    for o in (acts, store):
        blocks = list(o.blocks())
        assert [a for a, _ in blocks] == [0, *np.cumsum([len(b) for _, b in blocks])[:-1]]
        np.testing.assert_array_equal(np.concatenate([b for _, b in blocks]), array)
        assert all(type(b) is np.ndarray and b.dtype == np.float32 for _, b in blocks)
        np.testing.assert_array_equal(o.csr().toarray(), array)
        where, values = o.column(f - 1)
        np.testing.assert_array_equal(where, np.flatnonzero(array[:, -1]))
        np.testing.assert_array_equal(values, array[where, -1])
    store.verify()


def test_dense_blocks_are_bounded_and_large_ones_are_not_made_sparse(tmp_path):
    wide = FeatureActs.from_dense(np.ones((40, 2**20), 'f4'))
    assert [len(o) for _, o in wide.blocks()] == [16, 16, 8]
    assert [o['rows'] for o in wide.save(tmp_path/'A', 'float16').meta['shards']] == [40]
    assert shard_rows(2**16, 2**24, dense=True) == 4
    huge = FeatureActs({**wide.meta, 'n_rows': 2**20}, folder=tmp_path)
    with pytest.raises(FeatgeomError, match='2\\*\\*27'): huge.csr()


def test_a_writer_refuses_what_its_request_does_not_say(tmp_path):
    acts, neurons = random_acts(), FeatureActs.from_dense(np.ones((4, 30)))
    with StoreWriter(tmp_path/'A', {key: o for key, o in acts.meta.items() if key != 'n_rows'}) as writer:
        for matrix, rows in [(np.ones((4, 30)), acts.rows[:4]), (acts.csr()[:4, :29], acts.rows[:4]),
                             (acts.csr()[:4], acts.rows[:5])]:
            with pytest.raises(FeatgeomError): writer.add(matrix, rows)
        with pytest.raises(FeatgeomError, match='expected the tensors'): writer.add(acts.csr()[:4], neurons.rows)
        data = shard_bytes(acts.csr()[:4], acts.rows[:4], 'float32', 'A')
        for rows, nnz in [(5, acts.csr()[:4].nnz), (4, 1)]:
            with pytest.raises(FeatgeomError, match='shard-00000'): writer.add_shard(data, rows, nnz)
        with pytest.raises(FeatgeomError): writer.add_shard(data[:50], 4, acts.csr()[:4].nnz)
        writer.add_shard(data, 4, acts.csr()[:4].nnz)
        store = writer.finish(None, None)
    np.testing.assert_array_equal(store.csr().toarray(), acts.csr()[:4].toarray())
    with pytest.raises(FeatgeomError, match='closed'): writer.add_shard(data, 4, acts.csr()[:4].nnz)


@pytest.mark.parametrize('names', [['Doc'], ['values'], ['indptr'], ['kind'], ['columns'], ['a b'], ['é'], ['x'*33], ['_x']])
def test_columns_with_names_that_no_store_can_hold_are_refused(names):
    with pytest.raises((FeatgeomError, TypeError)): Rows(**{o: [1] for o in names})


@pytest.mark.parametrize('dense', [False, True])
def test_select_keeps_rows_texts_and_a_note(tmp_path, dense):
    rng = np.random.default_rng(0)
    array = rng.random((20, 6))*(rng.random((20, 6)) < .5)
    rows = Rows(doc=np.arange(20)//2, pos=np.arange(20) % 2, token_id=np.arange(20), start=np.arange(20) % 2,
                end=np.arange(20) % 2 + 1)
    acts = (FeatureActs.from_dense if dense else FeatureActs.from_csr)(array, rows, 'A', ['ab']*10, {i: 'a' for i in range(20)})
    for o in (acts, acts.save(tmp_path/'A', shard=3)):
        keep = rng.random(20) < .4
        part, same = o.select(keep), o.select(np.flatnonzero(keep))
        assert part.dense == dense and part.meta == same.meta
        np.testing.assert_array_equal(part.csr().toarray(), array.astype('f4')[keep])
        same_rows(part.rows, rows[keep])
        assert part.token_text(np.arange(len(part))) == o.token_text(np.flatnonzero(keep)) and part.tokens == o.tokens
        assert part.meta['selected']['n'] == keep.sum() and part.meta['selected']['of'] == 20
        assert part.meta['selected'] != o.select(~keep).meta['selected']
        assert len(o.select([])) == 0 and o.select(np.zeros(20, bool)).csr().shape == (0, 6)
        for bad in ([3, 2], [1, 1], [20], [-1], [.5], keep[:5], [[1]], ['a']):
            with pytest.raises(FeatgeomError, match='rise'): o.select(bad)
    again = part.save(tmp_path/'part')
    assert again.meta['selected'] == part.meta['selected'] and 'selected of 20' in repr(again)


def test_saving_a_store_again_cuts_other_shards_and_keeps_provenance(tmp_path):
    acts = random_acts()
    acts.meta['site'] = 'blocks.3'
    one = acts.save(tmp_path/'one', shard=7)
    two = one.save(tmp_path/'two', shard=64)
    assert files(two.folder) == files(acts.save(tmp_path/'direct', shard=64).folder) and two.meta['site'] == 'blocks.3'


def test_repr_tells_the_origin():
    acts = random_acts()
    acts.meta.update(model='M', site='blocks.1', architecture='topk', sae_hash='abcdef0123', mask='BOS', documents=20, texts='7777aaaa99')
    for part in ('M blocks.1', 'topk SAE abcdef01', 'masked BOS', '20 documents 7777aaaa'): assert part in repr(acts)


# ---- stores of before, one writer, full disks -----------------------------------------------------------------------

def test_a_store_of_format_1_opens_and_goes_on(tmp_path, store):
    def old(meta): meta.update(format=1)
    edit(store, old)
    meta = json.loads((store.folder/'meta.json').read_text())
    del meta['sha256']
    (store.folder/'meta.json').write_text(json.dumps(meta))
    np.testing.assert_array_equal(FeatureActs.open(store.folder).verify().csr().toarray(), random_acts().csr().toarray())
    meta['format'] = 2
    (store.folder/'meta.json').write_text(json.dumps(meta))
    with pytest.raises(FeatgeomError, match='own hash'): FeatureActs.open(store.folder)
    meta['format'] = 3
    (store.folder/'meta.json').write_text(json.dumps(meta))
    with pytest.raises(FeatgeomError, match='newer featgeom'): FeatureActs.open(store.folder)


HOLD = """
    import sys, time
    from featgeom.acts import StoreWriter
    writer = StoreWriter(sys.argv[1], json.loads(sys.argv[2]), dict(shard=64))
    print('held', flush=True)
    time.sleep(60)
"""

def test_one_writer_at_a_time_and_a_killed_one_leaves_no_lock(tmp_path):
    acts = random_acts()
    request = {key: o for key, o in acts.meta.items() if key != 'n_rows'}
    code = 'import json\n' + textwrap.dedent(HOLD)
    child = subprocess.Popen([sys.executable, '-c', code, str(tmp_path/'A'), json.dumps(request)], stdout=subprocess.PIPE,
                             env={**os.environ, 'PYTHONPATH': str(Path(__file__).parents[1])})
    assert child.stdout.readline() == b'held\n'
    with pytest.raises(FeatgeomError, match=f'is being written by process {child.pid}.*Wait for it'): acts.save(tmp_path/'A', shard=64)
    child.kill()
    child.wait()
    assert (tmp_path/'A'/'.lock').exists()
    acts.save(tmp_path/'A', shard=64)
    acts.save(tmp_path/'B', shard=64)
    assert files(tmp_path/'A') == files(tmp_path/'B') and not (tmp_path/'A'/'.lock').exists()


def test_many_threads_on_one_folder_make_one_store(tmp_path):
    from concurrent.futures import ThreadPoolExecutor
    acts = random_acts()
    def save(_):
        try: return acts.save(tmp_path/'A', shard=8)
        except FeatgeomError as e: return str(e)
    with ThreadPoolExecutor(8) as pool: out = list(pool.map(save, range(24)))
    assert sum(isinstance(o, FeatureActs) for o in out) == 1
    assert all('is being written' in o or 'which no unfinished store does' in o for o in out if isinstance(o, str))
    assert files(tmp_path/'A') == files(acts.save(tmp_path/'B', shard=8).folder)


def test_a_lock_is_given_back_when_the_start_fails(tmp_path):
    mine = ['notes.txt', '.mine.tmp', '.meta.json.tmp', '.shard-a.safetensors.1.tmp']
    for name in mine: (tmp_path/name).write_text('mine')
    for _ in range(2):
        with pytest.raises(FeatgeomError, match='which no unfinished store does'): random_acts().save(tmp_path)
    assert files(tmp_path) == {name: b'mine' for name in mine}


@pytest.mark.parametrize('after', range(1, 11, 2))
def test_a_full_disk_loses_nothing_that_was_complete(tmp_path, monkeypatch, after):
    import featgeom.core as core
    acts, left, real = random_acts(), [after], os.fsync
    def fsync(fd):
        left[0] -= 1
        if left[0] <= 0: raise OSError(28, 'No space left on device')
        real(fd)
    monkeypatch.setattr(core.os, 'fsync', fsync)
    with pytest.raises(FeatgeomError, match='No space left on device.*the same call goes on'): acts.save(tmp_path/'A', shard=64)
    monkeypatch.undo()
    done = len(list((tmp_path/'A').glob('shard-*')))
    assert done >= (after - 1)//2
    assert files(acts.save(tmp_path/'A', shard=64).folder) == files(acts.save(tmp_path/'B', shard=64).folder)


@pytest.fixture
def stranger():
    "A folder that others may read and not write, while this process is not the administrator."
    with TemporaryDirectory() as tmp:
        Path(tmp).chmod(0o755)
        yield Path(tmp)

@pytest.mark.skipif(os.name == 'nt', reason='permissions of POSIX')
def test_a_folder_that_may_only_be_read_opens_and_takes_no_store(stranger):
    random_acts().save(stranger/'A')
    for path in [stranger, stranger/'A']: path.chmod(0o555)
    root = os.geteuid() == 0
    if root: os.seteuid(65534)
    try:
        store = FeatureActs.open(stranger/'A').verify()
        assert store.nnz == random_acts().nnz
        with pytest.raises(FeatgeomError, match='No store at'): random_acts().save(stranger/'B')
        with pytest.raises(FeatgeomError, match='cannot be written'): random_acts().save(stranger/'A')
    finally:
        if root: os.seteuid(0)
        for path in [stranger, stranger/'A']: path.chmod(0o755)


# ---- the column index -----------------------------------------------------------------------------------------------

@given(st.integers(1, 80), st.integers(1, 20), st.integers(1, 25), st.floats(0, 1), st.sampled_from(['float16', 'float32']),
       st.sampled_from([1, 60, 2**29]))
@settings(max_examples=15, deadline=None)
def test_indexed_columns_are_those_of_the_shards(tmp_path_factory, n, f, shard, density, dtype, memory):
    import featgeom.columns as module
    store = random_acts(n, f, density, n).save(tmp_path_factory.mktemp('store')/'A', dtype, shard)
    before = [store.column(j) for j in range(f)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, '_BYTES', memory)                                    # many passes, or one
        assert store.index() is store
    for o in (store, FeatureActs.open(store.folder)):
        for j, (rows, values) in enumerate(before):
            got = o.column(j)
            np.testing.assert_array_equal(got[0], rows)
            np.testing.assert_array_equal(got[1], values)
            assert got[0].dtype == np.int64 and got[1].dtype == np.float32
        o.verify()
    from safetensors.numpy import load_file
    index = load_file(store.folder/'columns.safetensors')
    truth = store.csr().tocsc()
    np.testing.assert_array_equal(index['pointers'], truth.indptr)
    np.testing.assert_array_equal(index['rows'], truth.indices)
    np.testing.assert_array_equal(index['values'], truth.data)


def test_an_indexed_column_reads_no_shard(store, monkeypatch):
    truth = store.index().column(3)
    monkeypatch.setattr(FeatureActs, '_tensors', lambda *args: pytest.fail('read a shard'))
    np.testing.assert_array_equal(store.column(3)[1], truth[1])


def test_every_flipped_byte_of_an_index_is_found_and_never_a_wrong_number(store):
    truth = [store.column(j) for j in range(30)]
    path = store.index().folder/'columns.safetensors'
    good, rng, seen = path.read_bytes(), np.random.default_rng(0), 0
    for at in [*range(0, 700, 9), *rng.integers(0, len(good), 80)]:
        path.write_bytes(good[:at] + bytes([good[at] ^ (1 << int(rng.integers(8)))]) + good[at + 1:])
        with pytest.raises(FeatgeomError, match='columns.safetensors.*Remove'): FeatureActs.open(store.folder).verify()
        again = FeatureActs.open(store.folder)
        for j in range(30):
            try: np.testing.assert_array_equal(again.column(j), truth[j])
            except FeatgeomError: seen += 1
    assert seen > 150
    for data in (b'', good[:9], good[:-1], good + b'x'):
        path.write_bytes(data)
        with pytest.raises(FeatgeomError, match='columns.safetensors'): FeatureActs.open(store.folder).column(0)
    path.unlink()
    np.testing.assert_array_equal(FeatureActs.open(store.folder).column(3), truth[3])
    FeatureActs.open(store.folder).index()
    assert path.read_bytes() == good


def test_an_open_index_that_is_cut_is_an_error_and_not_a_crash(store):
    path = store.index().folder/'columns.safetensors'
    store.column(0)
    with open(path, 'r+b') as file: file.truncate(100)
    with pytest.raises(FeatgeomError, match='100 bytes'): store.column(29)


def test_the_index_of_another_store_is_refused(tmp_path, store):
    other = random_acts(seed=1).save(tmp_path/'B', shard=64).index()
    assert other.nnz == store.nnz
    (store.folder/'columns.safetensors').write_bytes((other.folder/'columns.safetensors').read_bytes())
    for use in (lambda: store.column(0), store.index, store.verify):
        with pytest.raises(FeatgeomError, match='not the index of these shards'): use()


def test_a_few_columns_of_a_large_matrix_take_little_memory():
    rng, n, each = np.random.default_rng(0), 100_000, 40
    at = np.sort(rng.integers(0, 50, (n, each)) + 50*np.arange(each), axis=1)
    acts = FeatureActs.from_csr(sparse.csr_array((np.ones(at.size, np.float32), at.ravel(), each*np.arange(n + 1)), shape=(n, 50*each)))
    list(acts.column_blocks([3, 9]))
    tracemalloc.start()
    try:
        list(acts.column_blocks([3, 9]))
        assert tracemalloc.get_traced_memory()[1] < 16e6                         # 8 bytes for each activation are 32 MB
    finally: tracemalloc.stop()

@pytest.mark.parametrize('dtype', ['float16', 'float32'])
def test_a_loaded_store_is_the_same_by_row_and_by_feature(tmp_path, dtype):
    acts = random_acts(density=.05).save(tmp_path/'A', shard=64, dtype=dtype)
    there = acts.loaded()
    assert there.folder is None and (there.name, there.nnz, there.shape) == (acts.name, acts.nnz, acts.shape) and there.rows is acts.rows
    assert (there.csr() != acts.csr()).nnz == 0
    for j in range(30):
        for one, two in zip(there.column(j), acts.column(j)): np.testing.assert_array_equal(one, two)
    for ids in (None, [2, 3, 29]):
        for budget in (2**26, 20):
            for one, two in zip(there.column_blocks(ids, budget), acts.column_blocks(ids, budget), strict=True):
                for x, y in zip(one, two, strict=True):
                    np.testing.assert_array_equal(x, y)
                    assert x.dtype == y.dtype
    empty = FeatureActs.from_csr(sparse.csr_array((4, 3))).loaded()
    assert [len(o) for o in empty.column(1)] == [0, 0]
    with pytest.raises(FeatgeomError, match='dense'): FeatureActs.from_dense(np.ones((3, 4))).loaded()

def test_index_refuses_damaged_shards_and_what_needs_none(tmp_path, store):
    path = store.folder/'shard-00001.safetensors'
    good = path.read_bytes()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(FeatgeomError, match='shard-00001'): store.index()
    path.write_bytes(good)
    with pytest.raises(FeatgeomError, match='in memory'): random_acts().index()
    with pytest.raises(FeatgeomError, match='dense'): FeatureActs.from_dense(np.ones((3, 4))).save(tmp_path/'D').index()
    assert sorted(o.name for o in store.folder.iterdir()) == sorted(['meta.json', *(o['file'] for o in store.meta['shards'])])


def test_index_clears_what_a_killed_one_left(store):
    before = store.folder/'.columns.safetensors.77.tmp'
    before.write_bytes(b'half an index')
    store.index()
    assert not before.exists() and not (store.folder/'.lock').exists()


def test_a_full_disk_leaves_no_half_index(store, monkeypatch):
    import featgeom.columns as module
    def full(fd): raise OSError(28, 'No space left on device')
    monkeypatch.setattr(module.os, 'fsync', full)
    before = files(store.folder)
    with pytest.raises(FeatgeomError, match='No space'): store.index()
    assert files(store.folder) == before


# ---- damage and strangers ------------------------------------------------------------------------------------------

def test_every_flipped_byte_of_every_file_is_found_and_the_file_named(tmp_path):
    acts = random_acts(40, 8)
    acts = FeatureActs.from_csr(acts.csr(), acts.rows, 'é', ['one two']*4, {i: chr(97 + i) for i in range(9)})
    store = acts.save(tmp_path/'A', shard=20)
    rng = np.random.default_rng(0)
    assert len(files(store.folder)) == 5
    for name, good in files(store.folder).items():
        path = store.folder/name
        for at in range(len(good)) if name == 'meta.json' else rng.integers(0, len(good), 40):
            for value in (good[at] ^ (1 << int(rng.integers(8))), int(rng.integers(256))):
                if value == good[at]: continue
                path.write_bytes(good[:at] + bytes([value]) + good[at + 1:])
                with pytest.raises(FeatgeomError, match=name): FeatureActs.open(store.folder).verify()
                with pytest.raises(FeatgeomError, match=name): store.verify()
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
    "Change a manifest and put its own hash right: the stranger knows the format."
    meta = json.loads((store.folder/'meta.json').read_text())
    change(meta)
    write_json(store.folder/'meta.json', sealed(meta))

def put(**changes): return lambda meta: meta.update(changes)
def put_rows(**changes): return lambda meta: meta['rows'].update(changes)
def put_shard(**changes): return lambda meta: meta['shards'][0].update(changes)

@pytest.mark.parametrize('change', [
    put(format=3), put(format='2'), put(format=0), put(format=True), lambda m: m.pop('format'), put(layout='coo'), put(name=7), put(dtype='float64'), put(n_features=-1), put(n_features=2**40),
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
        for use in (damaged.csr, lambda: damaged.column(0), lambda: list(damaged.blocks()), damaged.verify):
            with pytest.raises(FeatgeomError, match=message): use()
        for name, data in keep.items(): (store.folder/name).write_bytes(data)


@pytest.mark.parametrize('tensor', [3, None, [], {}, dict(data_offsets=3), dict(data_offsets=[]), dict(data_offsets=[[]]),
                                    dict(data_offsets=['0', '8']), dict(data_offsets=[-8, 0]), dict(data_offsets=[2**70, 2**70])])
def test_headers_of_odd_values_are_refused(store, tensor):
    path = store.folder/'shard-00000.safetensors'
    data = path.read_bytes()
    length = int.from_bytes(data[:8], 'little')
    header = json.loads(data[8:8 + length])
    header['indices'] = {**header['indices'], **tensor} if isinstance(tensor, dict) and tensor else tensor
    text = json.dumps(header).encode()
    data = len(text).to_bytes(8, 'little') + text + data[8 + length:]
    path.write_bytes(data)
    edit(store, lambda m: m['shards'][0].update(bytes=len(data), sha256=hashlib.sha256(data).hexdigest()))
    with pytest.raises(FeatgeomError, match='indices is not'): FeatureActs.open(store.folder).csr()


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
        with StoreWriter(folder, request, dict(shard=64)) as writer:
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


def test_a_save_never_goes_on_with_other_activations(tmp_path, monkeypatch):
    x, y = random_acts(300, seed=1), random_acts(300, seed=2)
    import featgeom.acts as module
    real, left = module.StoreWriter.add_shard, [2]
    def dies(self, *args):
        left[0] -= 1
        if left[0] < 0: raise KeyboardInterrupt
        return real(self, *args)
    monkeypatch.setattr(module.StoreWriter, 'add_shard', dies)
    with pytest.raises(KeyboardInterrupt): x.save(tmp_path/'s', shard=100)
    monkeypatch.setattr(module.StoreWriter, 'add_shard', real)
    with pytest.raises(FeatgeomError, match='other activations'): y.save(tmp_path/'s', shard=100)
    short = FeatureActs.from_csr(x.csr()[:100], x.rows[:100], name='A')
    with pytest.raises(FeatgeomError, match='other activations'): short.save(tmp_path/'s', shard=100)
    assert (x.save(tmp_path/'s', shard=100).verify().csr() != x.csr()).nnz == 0
