"What goes out to Parquet, torch and delphi comes back as it was; files that lie are refused."
import json, shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from safetensors.numpy import load_file, save_file
from scipy import sparse

import featgeom.exchange as exchange
from featgeom.acts import FeatureActs, Rows
from featgeom.core import FeatgeomError
from featgeom.exchange import from_delphi, from_parquet, from_torch, to_delphi, to_parquet, to_torch

HOSTILE = '</script> 👩‍👩‍👧 é\u2028 "quoted" \\ \x00 end'


def token_acts(lengths=(5, 1, 9), f=7, density=.3, seed=0, dense=False):
    "Activations of documents of these lengths, with texts and tokens, one of which is half of a character."
    rng = np.random.default_rng(seed)
    n = sum(lengths)
    doc = np.repeat(np.arange(len(lengths)), lengths)
    pos = np.concatenate([np.arange(o) for o in lengths] or [[]]).astype(int)
    rows = Rows(doc=doc, pos=pos, token_id=rng.integers(0, 4, n), start=pos, end=pos + 1)
    array = rng.normal(size=(n, f)).astype('f2').astype('f4')*(rng.random((n, f)) < density)
    tokens = {0: 'a', 1: b'\xf0\x9f'.decode('utf-8', 'surrogateescape'), 2: HOSTILE, 3: ''}
    make = FeatureActs.from_dense if dense else FeatureActs.from_csr
    acts = make(array, rows, 'A é', [HOSTILE*2]*len(lengths), tokens)
    acts.meta.update(model='M', site='blocks.1.hook', sae_hash='ab'*32, settings=dict(k=3))
    return acts

def same(a, b, without=()):
    "Matrices, rows, names and provenance are equal."
    assert a.shape == b.shape and a.dense == b.dense and a.name == b.name and a.rows.kind == b.rows.kind
    np.testing.assert_array_equal(a.csr().toarray(), b.csr().toarray())
    assert list(b.rows.columns) == [o for o in a.rows.columns if o not in without]
    for o in b.rows.columns: np.testing.assert_array_equal(a.rows.columns[o], b.rows.columns[o])
    account = ('shards', 'files', 'sha256', 'dtype', 'rows')
    assert {k: o for k, o in a.meta.items() if k not in account} == {k: o for k, o in b.meta.items() if k not in account}


# ---- Parquet -------------------------------------------------------------------------------------------------------

@given(st.lists(st.integers(1, 12), max_size=5), st.integers(1, 9), st.floats(0, 1), st.booleans(), st.booleans(),
       st.sampled_from([3, 2**20]))
@settings(max_examples=25, deadline=None)
def test_parquet_gives_back_what_went_out(tmp_path_factory, lengths, f, density, dense, stored, piece):
    folder = tmp_path_factory.mktemp('x')
    acts = token_acts(lengths, f, density, f, dense)
    if stored: acts = acts.save(folder/'store', 'float16', 4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exchange, '_PIECE', piece)
        back = from_parquet(to_parquet(acts, folder/'out'))
    same(acts, back)
    assert back.texts == acts.texts and back.tokens == acts.tokens
    assert sorted(o.name for o in folder.iterdir()) == (['out', 'store'] if stored else ['out'])


def test_parquet_of_other_rows_without_texts(tmp_path):
    acts = FeatureActs.from_csr(np.eye(4), Rows(sample=[3, 1, 2, 0], label=[7, 7, -1, 2], kind='image'), 'images')
    out = to_parquet(acts, tmp_path/'out')
    same(acts, from_parquet(out))
    assert sorted(o.name for o in out.iterdir()) == ['activations.parquet', 'rows.parquet']
    assert from_parquet(out).texts is None


def test_parquet_is_a_table_for_pandas_with_its_provenance(tmp_path):
    import pandas as pd, pyarrow.parquet as pq
    acts = token_acts()
    out = to_parquet(acts, tmp_path/'out')
    table = pd.read_parquet(out/'activations.parquet')
    assert list(table.columns) == ['row', 'feature', 'value'] and len(table) == acts.nnz
    assert [str(o) for o in table.dtypes] == ['int64', 'int32', 'float32']
    whole = sparse.coo_array((table.value, (table.row, table.feature)), shape=acts.shape)
    np.testing.assert_array_equal(whole.toarray(), acts.csr().toarray())
    rows = pd.read_parquet(out/'rows.parquet')
    assert rows.token[rows.token_id == 1].iloc[0] == '\ufffd' and rows.token[rows.token_id == 2].iloc[0] == HOSTILE
    assert pd.read_parquet(out/'texts.parquet').text[0] == HOSTILE*2
    for path in out.iterdir():
        assert json.loads(pq.read_schema(path).metadata[b'featgeom'])['sae_hash'] == 'ab'*32


def test_parquet_refuses_what_is_there_and_names_that_clash(tmp_path):
    (tmp_path/'mine').mkdir()
    with pytest.raises(FeatgeomError, match='there already'): to_parquet(token_acts(), tmp_path/'mine')
    with pytest.raises(FeatgeomError, match="named 'row'"): to_parquet(FeatureActs.from_csr(np.eye(2), Rows(row=[1, 2])), tmp_path/'x')
    odd = FeatureActs.from_csr(np.eye(2), Rows(doc=[0, 1]), texts=['a\ud800', 'b'])
    with pytest.raises(FeatgeomError, match='texts.parquet'): to_parquet(odd, tmp_path/'x')
    odd = FeatureActs.from_csr(np.eye(2), Rows(doc=[0, 1]), tokens={0: '\ud800'})
    with pytest.raises(FeatgeomError, match='not UTF-8'): to_parquet(odd, tmp_path/'x')
    for path in ('', None, 3):
        with pytest.raises(FeatgeomError): to_parquet(token_acts(), path)
        with pytest.raises(FeatgeomError): from_parquet(path)
    assert sorted(o.name for o in tmp_path.iterdir()) == ['mine']


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    import pyarrow.parquet as pq
    def full(*args): raise OSError(28, 'No space left on device')
    monkeypatch.setattr(pq.ParquetWriter, 'write_table', full)
    with pytest.raises(FeatgeomError, match='No space'): to_parquet(token_acts(), tmp_path/'out')
    monkeypatch.undo()
    monkeypatch.setattr(exchange, 'write_bytes', full)
    with pytest.raises(FeatgeomError, match='No space'): to_delphi(token_acts(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def change(path, **columns):
    "Replace columns of a Parquet file, and its provenance with `meta=`; sizes stay as they fit."
    import pyarrow as pa, pyarrow.parquet as pq
    table = pq.read_table(path)
    meta = columns.pop('meta', None)
    for name, values in columns.items():
        i = table.schema.get_field_index(name)
        table = table.set_column(i, name, values if isinstance(values, pa.Array) else pa.array(values, table.schema.types[i]))
    if meta is not None: table = table.replace_schema_metadata(dict(featgeom=json.dumps(meta)))
    pq.write_table(table, path)

def test_tables_that_lie_are_refused(tmp_path):
    import pyarrow as pa, pyarrow.parquet as pq
    acts = token_acts()
    good = to_parquet(acts, tmp_path/'good')
    table = pq.read_table(good/'activations.parquet')
    row, feature, value = (table.column(i).to_numpy().copy() for i in range(3))
    meta = json.loads(table.schema.metadata[b'featgeom'])
    def put(array, at, what):
        array = array.copy()
        array[at] = what
        return array
    bad = [('activations', dict(row=put(row, 0, 10**6))), ('activations', dict(row=put(row, 0, -1))),
           ('activations', dict(feature=put(feature, 0, 7))), ('activations', dict(feature=put(feature, 0, -2**31))),
           ('activations', dict(value=put(value, 0, np.nan))), ('activations', dict(value=put(value, 0, np.inf))),
           ('activations', dict(row=row*0, feature=feature*0)),
           ('activations', dict(value=pa.array([None, *value[1:]], pa.float32()))),
           ('activations', dict(row=pa.array(row.astype('f8')))), ('activations', dict(value=pa.array(value.astype(str)))),
           ('rows', dict(row=put(np.arange(15), 3, 4))), ('rows', dict(pos=pa.array(np.arange(15.)))),
           ('texts', dict(doc=[2, 1, 0])), ('texts', dict(text=pa.array([b'a', b'b', b'\xff'], pa.binary()))),
           ('tokens', dict(bytes=['a', 'b', 'c', None])),
           *[(name, dict(meta={**meta, **o})) for name in ('activations', 'rows')
             for o in (dict(n_rows=14), dict(n_features=5), dict(name=3), dict(rows=dict(kind='token', columns=['values'])),
                       dict(layout='x'), dict(site='another'), dict(n_features=2**40))],
           ('activations', dict(meta=[])), ('activations', dict(meta='x'))]
    for i, (name, columns) in enumerate(bad):
        folder = tmp_path/f'bad{i}'
        shutil.copytree(good, folder)
        change(folder/f'{name}.parquet', **columns)
        with pytest.raises(FeatgeomError, match='parquet'): from_parquet(folder)
    same(acts, from_parquet(good))


def test_mutated_tables_give_our_error_or_the_right_numbers(tmp_path):
    acts, rng = token_acts(), np.random.default_rng(0)
    out = to_parquet(acts, tmp_path/'out')
    for path in (out/'activations.parquet', out/'rows.parquet'):
        good = path.read_bytes()
        for data in (b'', b'PAR1', good[:-9], good[:50], b'\0'*len(good)):
            path.write_bytes(data)
            with pytest.raises(FeatgeomError, match=path.name): from_parquet(out)
        for _ in range(60):
            bad = bytearray(good)
            for at in rng.integers(0, len(good), 3): bad[at] = int(rng.integers(256))
            path.write_bytes(bad)
            try: back = from_parquet(out)
            except FeatgeomError: continue
            np.testing.assert_array_equal(back.csr().toarray(), acts.csr().toarray())
            for o in back.rows.columns: np.testing.assert_array_equal(back.rows.columns[o], acts.rows.columns[o])
        path.unlink()
        with pytest.raises(FeatgeomError, match=path.name): from_parquet(out)
        path.write_bytes(good)


def test_a_table_that_would_fill_the_memory_is_refused(tmp_path):
    import pyarrow as pa, pyarrow.parquet as pq
    out = to_parquet(token_acts(), tmp_path/'out')
    schema = pq.read_schema(out/'activations.parquet')
    zeros = [pa.array(np.zeros(10**6, o.type.to_pandas_dtype())) for o in schema]
    pq.write_table(pa.table(zeros, schema=schema), out/'activations.parquet', compression='zstd')
    assert (out/'activations.parquet').stat().st_size < 200_000
    with pytest.raises(FeatgeomError, match='out of order, or twice'): from_parquet(out)


# ---- torch ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('layout', ['csr', 'coo'])
def test_torch_gives_back_what_went_out(layout, tmp_path):
    acts = token_acts()
    for o in (acts, acts.save(tmp_path/'A', 'float16', 4), FeatureActs.from_csr(sparse.csr_array((3, 4)))):
        tensor = to_torch(o, layout)
        assert tensor.layout == getattr(torch, f'sparse_{layout}') and tensor.dtype == torch.float32
        np.testing.assert_array_equal(tensor.to_dense().numpy(), o.csr().toarray())
        back = from_torch(tensor, o.rows, o.name)
        np.testing.assert_array_equal(back.csr().toarray(), o.csr().toarray())
        assert torch.equal(to_torch(back, layout).to_dense(), tensor.to_dense())


def test_torch_tensors_are_copies_and_dense_ones_stay_dense(tmp_path):
    acts, neurons = token_acts(), token_acts(dense=True)
    to_torch(acts).values().zero_()
    to_torch(neurons).zero_()
    assert acts.csr().sum() != 0 and neurons.csr().sum() != 0
    for o in (neurons, neurons.save(tmp_path/'A', shard=4)):
        tensor = to_torch(o)
        assert tensor.layout == torch.strided and from_torch(tensor).dense
        np.testing.assert_array_equal(tensor.numpy(), neurons.csr().toarray())


@pytest.mark.parametrize('dtype', [torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.bool])
def test_torch_of_other_types(dtype):
    dense = torch.tensor([[0, 1, 0], [2, 0, 1]]).to(dtype)
    for tensor in (dense, dense.to_sparse(), dense.to_sparse_csr(), dense.to_sparse_csc()):
        np.testing.assert_array_equal(from_torch(tensor).csr().toarray(), dense.float().numpy())
    graph = torch.ones(2, 2, requires_grad=True)*2
    assert from_torch(graph).csr().sum() == 8
    twice = torch.sparse_coo_tensor([[0, 0], [1, 1]], [1., 2.], (2, 2), check_invariants=True)     # not coalesced: a sum, as in torch
    assert from_torch(twice).csr()[0, 1] == 3


def test_torch_refuses():
    bad = [None, np.ones((2, 2)), torch.ones(3), torch.ones(2, 2, 2), torch.ones(2, 2)*1j, torch.tensor([[np.nan]]),
           torch.ones(4, 4).to_sparse_bsr((2, 2)), torch.ones(2, 0),
           torch.sparse_coo_tensor([[5], [0]], [1.], (2, 2), check_invariants=False),
           torch.sparse_coo_tensor([[-1], [0]], [1.], (2, 2), check_invariants=False),
           torch.sparse_csr_tensor([0, 1, 9], [0, 1], [1., 1.], (2, 2), check_invariants=False),
           torch.sparse_csr_tensor([0, 1, 2], [0, 7], [1., 1.], (2, 2), check_invariants=False),
           torch.sparse_csr_tensor([0, 1, 2], [0, 1], [1., np.inf], (2, 2), check_invariants=False)]
    for tensor in bad:
        with pytest.raises(FeatgeomError): from_torch(tensor)
    with pytest.raises(FeatgeomError, match='9 rows'): from_torch(torch.ones(2, 2), Rows(doc=np.arange(9)))


# ---- delphi --------------------------------------------------------------------------------------------------------

@given(st.lists(st.integers(1, 12), max_size=5), st.integers(1, 9), st.floats(0, 1), st.integers(1, 9), st.integers(1, 12),
       st.booleans())
@settings(max_examples=25, deadline=None)
def test_delphi_gives_back_what_went_out(tmp_path_factory, lengths, f, density, context, splits, stored):
    folder = tmp_path_factory.mktemp('x')
    acts = token_acts(lengths, f, density, f)
    if stored: acts = acts.save(folder/'store', 'float16', 4)
    out = to_delphi(acts, folder/'cache', context=context, splits=splits)
    assert out.name == 'blocks.1.hook' and len(list(out.glob('*.safetensors'))) == min(splits, f)
    same(acts, from_delphi(out), without=('start', 'end'))


def test_delphi_shards_are_as_delphi_reads_them(tmp_path):
    acts = token_acts((5, 1, 9), 7)
    out = to_delphi(acts, tmp_path, 'layers.1', context=4, splits=3, pad=3)
    dense, seen = acts.csr().toarray(), 0
    assert sorted(o.name for o in out.glob('*.safetensors')) == ['0_1.safetensors', '2_3.safetensors', '4_6.safetensors']
    for path in out.glob('*.safetensors'):
        t, (start, end) = load_file(path), map(int, path.stem.split('_'))
        assert t['tokens'].shape == (2 + 1 + 3, 4) and t['activations'].dtype == np.float16
        assert t['locations'].dtype == np.uint16 and t['locations'].shape == (len(t['activations']), 3)
        for (batch, at, latent), value in zip(t['locations'].tolist(), t['activations']):
            doc, window = [(0, 0), (0, 1), (1, 0), (2, 0), (2, 1), (2, 2)][batch]
            row = int(np.flatnonzero((acts.rows.doc == doc) & (acts.rows.pos == 4*window + at))[0])
            assert dense[row, start + latent] == value and acts.rows.token_id[row] == t['tokens'][batch, at]
            seen += 1
    assert seen == acts.nnz
    config = json.loads((out/'config.json').read_text())
    assert config['model_name'] == 'M' and config['ctx_len'] == 4 and config['n_splits'] == 3


def foreign_cache(folder, f=6, empty=False):
    "A cache as delphi itself writes one: no note of ours; returns the truth (windows, context, features)."
    rng = np.random.default_rng(0)
    truth = rng.random((3, 4, f)).astype('f2')*(rng.random((3, 4, f)) < .4)
    if empty: truth[:, :, 3:] = 0
    tokens = rng.integers(0, 50, (3, 4))
    folder.mkdir(parents=True)
    for low in (0, 3):
        part = truth[:, :, low:low + 3]
        where = np.argwhere(part)
        save_file(dict(locations=np.ascontiguousarray(where, 'u2'), activations=part[part != 0], tokens=tokens), folder/f'{low}_{low + 2}.safetensors')
    (folder/'config.json').write_text(json.dumps(dict(ctx_len=4, model_name='M', n_splits=2)))
    return truth, tokens

@pytest.mark.parametrize('empty', [False, True])
def test_a_cache_of_delphi_itself_is_read(tmp_path, empty):
    truth, tokens = foreign_cache(tmp_path/'c'/'layers.3', empty=empty)
    acts = from_delphi(tmp_path/'c'/'layers.3')
    np.testing.assert_array_equal(acts.csr().toarray(), truth.reshape(12, -1))
    np.testing.assert_array_equal(acts.rows.doc, np.repeat(np.arange(3), 4))
    np.testing.assert_array_equal(acts.rows.pos, np.tile(np.arange(4), 3))
    np.testing.assert_array_equal(acts.rows.token_id, tokens.reshape(-1))
    assert acts.name == 'layers.3' and from_delphi(tmp_path/'c'/'layers.3', 'B').name == 'B'
    with pytest.raises(FeatgeomError, match='Open one of them: layers.3'): from_delphi(tmp_path/'c')


def test_delphi_caches_that_lie_are_refused(tmp_path):
    foreign_cache(tmp_path/'good')
    t = load_file(tmp_path/'good'/'0_2.safetensors')
    where, values = t['locations'], t['activations']
    def put(array, at, what):
        array = array.copy()
        array[at] = what
        return array
    changes = [dict(locations=put(where, (0, 0), 3)), dict(locations=put(where, (0, 1), 4)), dict(locations=put(where, (0, 2), 3)),
               dict(locations=np.ascontiguousarray(where[:, :2])), dict(locations=where.astype('f4')), dict(locations=where[:-1].copy()),
               dict(locations=put(where, 1, where[0])), dict(activations=put(values, 0, np.nan)),
               dict(activations=values.astype('i4')), dict(activations=values[None].copy()), dict(locations=where.astype('i8')*-1),
               dict(tokens=t['tokens'] + 1), dict(tokens=t['tokens'][:2].copy()), dict(tokens=t['tokens'].astype('f4')),
               dict(tokens=-t['tokens']), dict(tokens=t['tokens'].reshape(-1).copy()), dict(locations=None), dict(tokens=None)]
    for i, o in enumerate(changes):
        folder = tmp_path/f'bad{i}'
        shutil.copytree(tmp_path/'good', folder)
        save_file({k: v for k, v in {**t, **o}.items() if v is not None}, folder/'0_2.safetensors')
        with pytest.raises(FeatgeomError): from_delphi(folder)
    def files(change):
        folder = tmp_path/'files'
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(tmp_path/'good', folder)
        change(folder)
        with pytest.raises(FeatgeomError): from_delphi(folder)
    for change in [lambda o: (o/'0_2.safetensors').unlink(), lambda o: (o/'3_5.safetensors').rename(o/'4_6.safetensors'),
                   lambda o: (o/'0_2.safetensors').write_bytes(b''), lambda o: (o/'0_2.safetensors').write_bytes(b'\xff'*99),
                   lambda o: (o/'config.json').write_text('{'), lambda o: (o/'config.json').unlink(),
                   lambda o: (o/'3_5.safetensors').rename(o/'3_99999999.safetensors'),
                   lambda o: ((o/'0_2.safetensors').unlink(), (o/'0_2.safetensors').mkdir())]: files(change)


def test_notes_of_ours_that_lie_are_refused(tmp_path):
    acts = token_acts((5, 1, 9))
    out = to_delphi(acts, tmp_path, context=4)
    good = json.loads((out/'config.json').read_text())
    kept = good['featgeom']
    for bad in [[], 3, {}, {**kept, 'doc': None}, {**kept, 'doc': kept['doc'][:-1]}, {**kept, 'doc': kept['doc'][::-1]},
                {**kept, 'tokens': [5]*6}, {**kept, 'tokens': [-1]*6}, {**kept, 'tokens': [0]*6}, {**kept, 'tokens': ['4']*6},
                {**kept, 'origin': None}, {**kept, 'origin': {**kept['origin'], 'n_features': 6}},
                {**kept, 'origin': {**kept['origin'], 'name': 4}}]:
        (out/'config.json').write_text(json.dumps({**good, 'featgeom': bad}))
        with pytest.raises(FeatgeomError): from_delphi(out)
    (out/'config.json').write_text(json.dumps(good))
    same(acts, from_delphi(out), without=('start', 'end'))


def test_delphi_takes_whole_documents_within_float16(tmp_path):
    acts = token_acts((5, 1, 9))
    some = acts.select(acts.rows.doc != 1)
    same(some, from_delphi(to_delphi(some, tmp_path/'some')), without=('start', 'end'))
    for bad in (acts.select(acts.rows.pos != 1), acts.select(acts.rows.pos > 0), token_acts(dense=True),
                FeatureActs.from_csr(np.eye(3)), FeatureActs.from_csr(np.eye(2), Rows(doc=[1, 0], pos=[0, 0], token_id=[1, 1])),
                FeatureActs.from_csr(np.eye(2), Rows(doc=[1, 0], pos=[0, 1], token_id=[1, 1]))):
        with pytest.raises(FeatgeomError, match='whole documents'): to_delphi(bad, tmp_path/'x')
    large = FeatureActs.from_csr([[7e4]], Rows(doc=[0], pos=[0], token_id=[0]))
    with pytest.raises(FeatgeomError, match='65504'): to_delphi(large, tmp_path/'x')
    for name in ('../up', 'a/b', '.hidden', 'x'*200):
        with pytest.raises(FeatgeomError, match='module='): to_delphi(acts, tmp_path/'x', name)
    for more in (dict(splits=0), dict(context=-1), dict(pad=-1)):
        with pytest.raises(FeatgeomError): to_delphi(acts, tmp_path/'x', **more)
    assert not (tmp_path/'x').exists() or not list((tmp_path/'x').iterdir())
