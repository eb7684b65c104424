"""What a large store costs to open, to index, and to ask for one feature: ten million rows with 32 active features each.

The rows are synthetic: 16,384 features that fire as a power law, one shard of them written again and again, since what is
measured depends on sizes alone. Needs twice 2.2 GB in the temporary folder. Arguments: rows, features, active features a row."""
import os, subprocess, sys, textwrap, time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from featgeom.acts import FeatureActs, Rows, StoreWriter
from featgeom.shards import FORMAT, as_csr, shard_bytes

SHARD = 2**16


def one_shard(f, active, seed=0):
    "A csr_array (SHARD, f), rows of tokens: from each of `active` groups of features of equal weight one, weights 1/(rank + 50)."
    rng = np.random.default_rng(seed)
    total = np.concatenate([[0], np.cumsum(1/(np.arange(f) + 50))])
    edges = np.searchsorted(total, np.linspace(0, total[-1], active + 1))
    drawn = total[edges[:-1]] + rng.random((SHARD, active))*np.diff(total[edges])
    indices = np.clip(np.searchsorted(total, drawn, side='right') - 1, edges[:-1], edges[1:] - 1).astype(np.int32)
    values = rng.exponential(1, SHARD*active).astype('f2').astype('f4') + np.float32(.01)
    doc, pos = np.divmod(np.arange(SHARD), 128)
    rows = Rows(doc=doc, pos=pos, token_id=rng.integers(0, 50_000, SHARD), start=pos*4, end=pos*4 + 4)
    return as_csr(values, indices.reshape(-1), np.arange(0, SHARD*active + 1, active), f), rows


def dropped(folder):
    "Ask the system to forget the folder's pages, so that the next read comes from the disk."
    os.sync()
    for path in Path(folder).iterdir():
        with open(path, 'rb') as file: os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def timed(call):
    start = time.perf_counter()
    out = call()
    return time.perf_counter() - start, out


PROBE = """
    import resource, sys, time
    from featgeom.acts import FeatureActs
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    FeatureActs.open(sys.argv[1]).index()
    print(time.perf_counter() - start, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)/1e6)
"""


def main(n=10_000_000, f=16_384, active=32):
    n = -(-n//SHARD)*SHARD
    matrix, rows = one_shard(f, active)
    request = dict(format=FORMAT, name='A', n_features=f, dtype='float16', rows=dict(kind='token', columns=list(rows.columns)))
    with TemporaryDirectory() as tmp:
        def fill():
            data = shard_bytes(matrix, rows, 'float16', 'A')
            with StoreWriter(f'{tmp}/A', request) as writer:
                for _ in range(n//SHARD): writer.add_shard(data, SHARD, matrix.nnz)
                return writer.finish(None, None)
        seconds, store = timed(fill)
        size = sum(o['bytes'] for o in store.meta['shards'])
        print(f'{n:,} rows x {f:,} features, {store.nnz:,} activations: written in {seconds:.1f} s, {size/n:.1f} bytes a row '
              f'(aim at most {1.1*6*active + 24:.1f})')
        assert size/n <= 1.1*6*active + 24
        dropped(f'{tmp}/A')
        seconds, store = timed(lambda: FeatureActs.open(f'{tmp}/A'))
        print(f'open: {seconds:.3f} s from the disk (aim < 1)')
        seconds, plain = timed(lambda: store.column(100))
        print(f'a column without the index, the first, which checks all shards: {seconds:.1f} s; a later one: '
              f'{timed(lambda: store.column(101))[0]:.1f} s')
        out = subprocess.run([sys.executable, '-c', textwrap.dedent(PROBE), f'{tmp}/A'], capture_output=True, text=True, check=True)
        seconds, memory = map(float, out.stdout.split())
        index = (Path(tmp)/'A'/'columns.safetensors').stat().st_size
        print(f'index: {seconds:.1f} s in a process of its own, {memory:.2f} GB more memory, the mapped shards among it; {index/1e9:.2f} GB')
        chosen = np.random.default_rng(1).choice(f, 50, replace=False)
        for what, before in [('from the disk', lambda: dropped(f'{tmp}/A')), ('again, in memory', lambda: None)]:
            store = FeatureActs.open(f'{tmp}/A')
            store.column(0)
            before()
            took = np.array([timed(lambda: store.column(int(j)))[0] for j in chosen])*1e3
            print(f'a column with the index, {what}: median {np.median(took):.1f} ms, largest {took.max():.1f} ms of 50 (aim < 100)')
        indexed = store.column(100)
        assert all(np.array_equal(a, b) for a, b in zip(plain, indexed))
        often = int(np.argmax(np.diff(store._columns.tensors['pointers'])))
        took, (where, _) = timed(lambda: store.column(often))
        print(f'the most frequent feature, active on {len(where):,} rows: {took*1e3:.1f} ms')
        print(f'verify, every byte: {timed(store.verify)[0]:.1f} s')


if __name__ == '__main__': main(*map(int, sys.argv[1:]))
