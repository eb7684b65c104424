"""Matching against dense products on the same cores, side by side; each contender in a process of its own.

`python tests/bench/bench_matching.py`: 16,384 features over 64,000 tokens, a neuron baseline, and 65,536 features over
1,000,000 tokens, which `--short` leaves out. `--whole` multiplies all blocks of the dense product instead of one eighth."""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy import sparse

L0, K = 32, 10
SMALL, LARGE = (64_000, 16_384), (1_000_000, 65_536)


def cores(): return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()


def memory(what):
    "GB of this process: VmRSS now, or VmHWM, the most since `forget`; None where the system does not say."
    if not Path('/proc/self/status').is_file(): return None
    line = next(o for o in Path('/proc/self/status').read_text().splitlines() if o.startswith(what))
    return int(line.split()[1])*1024/1e9


def forget():
    "Let the peak start from here."
    if Path('/proc/self/clear_refs').exists(): Path('/proc/self/clear_refs').write_text('5')


def draw(seed, zipf, n, f):
    "Random SAE activations, L0 draws a token, equally likely or by a power law; equal draws of a row fall together."
    rng = np.random.default_rng(seed)
    weight = np.arange(1., f + 1)**-zipf
    at, order, indptr, indices, values = np.cumsum(weight/weight.sum())[:-1], rng.permutation(f), [0], [], []
    for first in range(0, n, 50_000):
        m = min(50_000, n - first)
        some = sparse.coo_array((rng.gamma(4, .25, m*L0).astype(np.float32),
                                 (np.repeat(np.arange(m), L0), order[np.searchsorted(at, rng.random(m*L0))])),
                                shape=(m, f)).tocsr()
        some.sum_duplicates()
        indptr.extend((some.indptr[1:].astype(np.int64) + indptr[-1]).tolist())
        indices.append(some.indices.astype(np.int32)), values.append(some.data)
    return sparse.csr_array((np.concatenate(values), np.concatenate(indices), np.array(indptr, np.int32)), shape=(n, f))


def load(folder, side): return sparse.csr_array(sparse.load_npz(Path(folder)/f'{side}.npz'))


def text_rows(n):
    from featgeom.acts import Rows
    token = np.random.default_rng(9).choice(4000, n, p=(w := 1/np.arange(1, 4001))/w.sum())
    return Rows(doc=np.arange(n)//250, pos=np.arange(n) % 250, token_id=token, start=np.zeros(n, int),
                end=np.zeros(n, int))


def stores(folder):
    from featgeom.acts import FeatureActs
    data = [load(folder, o) for o in 'ab']
    rows = text_rows(data[0].shape[0])
    return [FeatureActs.from_csr(x, rows=rows, name=o.upper()) for o, x in zip('ab', data)]


def neurons(seed, n, d, rows):
    "A dense store of correlated features, in memory."
    from featgeom.acts import FeatureActs
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)).astype(np.float32)
    x[:, 1:] += .5*x[:, :-1]
    return FeatureActs.from_dense(x, rows=rows, name=f'neurons {seed}')


def warm():
    "Compile on a tiny case; returns the seconds it took."
    from featgeom.acts import FeatureActs, Rows
    from featgeom.matching import match
    start = time.perf_counter()
    x = (np.random.default_rng(0).random((400, 6)) < .3).astype(np.float32)
    tiny = FeatureActs.from_csr(x, rows=Rows(doc=np.arange(400)//20, pos=np.arange(400) % 20,
                                             token_id=np.arange(400) % 3))
    match(tiny, tiny, min_fires=5)
    return time.perf_counter() - start


def timed(a, b, **options):
    from featgeom.matching import match
    compile_s, before = warm(), memory('VmRSS')
    forget()
    start, cpu = time.perf_counter(), time.process_time()
    pairs = match(a, b, k=K, **options)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    return dict(seconds=seconds, cpu=cpu, beyond=before and memory('VmHWM') - before, compile=compile_s,
                pairs=len(pairs), mutual=int(pairs.mutual.sum())), pairs


def part_match(folder, whole):
    out, pairs = timed(*stores(folder), null=None, given=None)
    np.savez(Path(folder)/'top.npz', a=pairs.a[pairs.from_a], b=pairs.b[pairs.from_a], score=pairs.score[pairs.from_a])
    return out


def part_null(folder, whole): return timed(*stores(folder), given=None)[0]


def part_within(folder, whole): return timed(*stores(folder), null=None)[0]


def part_neurons(folder, whole):
    rows = text_rows(SMALL[0])
    return timed(*(neurons(o, SMALL[0], 512, rows) for o in (0, 1)), given=None)[0]


def part_mixed(folder, whole):
    a = stores(folder)[0]
    return timed(a, neurons(0, len(a.rows), 512, a.rows), given=None)[0]


def part_gemm(folder, whole):
    "The same by dense float32: standardised columns, blocks of 2048 x 2048, top-k of rows, running top-k of columns."
    import torch
    torch.set_num_threads(cores())
    a, b = load(folder, 'a').tocsc(), load(folder, 'b').tocsc()
    F = a.shape[1]

    def block(x, first):
        d = torch.from_numpy(x[:, first:first + 2048].toarray())
        d -= d.mean(0)
        return d.div_(d.norm(dim=0))
    start, cpu, step = time.perf_counter(), time.process_time(), 2048
    top_b = [(torch.full((K, step), -2.), torch.zeros((K, step), dtype=torch.long)) for _ in range(0, F, step)]
    best_a = []
    for i in range(0, F if whole else step, step):
        x = block(a, i)
        top = (torch.full((step, K), -2.), torch.zeros((step, K), dtype=torch.long))
        for j in range(0, F, step):
            r = x.T @ block(b, j)
            score, at = torch.cat([top[0], r], 1).topk(K, 1)
            top = score, torch.cat([top[1], torch.arange(j, j + step).expand(step, -1)], 1).gather(1, at)
            score, at = torch.cat([top_b[j//step][0], r], 0).topk(K, 0)
            top_b[j//step] = score, torch.cat([top_b[j//step][1], torch.arange(i, i + step)[:, None].expand(-1, step)],
                                              0).gather(0, at)
        best_a.append(top[1][:, 0])
    best_a, best_b = torch.cat(best_a), torch.cat([o[1][0] for o in top_b])
    mutual = int((best_b[best_a] == torch.arange(len(best_a))).sum())
    times = 1 if whole else F//step
    seconds, cpu = (time.perf_counter() - start)*times, (time.process_time() - cpu)*times
    return dict(seconds=seconds, cpu=cpu, beyond=None, mutual=mutual, whole=whole)


def part_rate(folder, whole):
    "Flop a second of a float32 product of 2048 x 32,768 x 2048 numbers, the best of three."
    import torch
    torch.set_num_threads(cores())
    x, best = torch.rand(32_768, 2048), np.inf
    for _ in range(3):
        start = time.perf_counter()
        x.T @ x
        best = min(best, time.perf_counter() - start)
    return dict(rate=2*2048*32_768*2048/best)


def part_check(folder, whole):
    "The largest difference between match's scores and dense float64, on some features of A against all of B."
    top = np.load(Path(folder)/'top.npz')
    a, b = (load(folder, o).tocsc().astype(np.float64) for o in 'ab')
    n, f = a.shape
    some = np.sort(np.random.default_rng(0).choice(f, min(256, 16_000_000//n), replace=False))
    x = a[:, some].toarray()
    x = (x - x.mean(0))/np.maximum(np.linalg.norm(x - x.mean(0), axis=0), 1e-300)
    mean, square = np.asarray(b.sum(0)).ravel()/n, np.asarray(b.multiply(b).sum(0)).ravel()
    norm = np.sqrt(square - n*mean**2)
    r = (b.T @ x).T/np.maximum(norm, 1e-300)          # x sums to 0: B needs no centring
    r[:, np.diff(b.indptr) < 50] = -np.inf
    worst = 0.
    for i, line in zip(some, r):
        mine = np.sort(top['score'][top['a'] == i])[::-1]
        if len(mine): worst = max(worst, np.abs(mine - np.sort(line)[::-1][:len(mine)]).max())
    return dict(worst=worst)


def child(part, folder, whole=False):
    command = [sys.executable, __file__, '--part', part, '--folder', str(folder)] + ['--whole']*whole
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def show(what, o):
    beyond = '' if o.get('beyond') is None else f', {o["beyond"]:.2f} GB beyond the stores'
    print(f'  {what + ":":<58}{o["seconds"]:8.2f} s, {o["cpu"]:8.2f} s of processor time{beyond}', flush=True)


def save(folder, zipf, n, f):
    nnz = 0
    for seed, o in enumerate('ab'):
        x = draw(seed, zipf, n, f)
        sparse.save_npz(Path(folder)/f'{o}.npz', x, compressed=False)
        nnz += x.nnz/2
    return nnz


def small(whole):
    n, f = SMALL
    for what, zipf in (('features equally likely', 0.), ('features by a power law, exponent .6', .6)):
        with tempfile.TemporaryDirectory() as folder:
            nnz = save(folder, zipf, n, f)
            print(f'matching {f:,} x {f:,} features over {n:,} tokens, L0 {nnz/n:.1f}, {what}, {cores()} cores')
            ours = child('match', folder)
            show(f'featgeom.match, top {K} and mutual, both directions', ours)
            print(f'    scores equal dense float64 within {child("check", folder)["worst"]:.1e}; '
                  f'compiling or loading compiled code took {ours["compile"]:.1f} s more')
            if not zipf:
                gemm = child('gemm', folder, whole)
                show(f'float32 GEMM, {"all blocks" if whole else "1/8 of the blocks, times 8"}', gemm)
                print(f'  ratio: {gemm["seconds"]/ours["seconds"]:.0f} times faster, '
                      f'{gemm["cpu"]/ours["cpu"]:.0f} times less processor time')
            show('featgeom.match with the null, 10 shifts', child('null', folder))
            show('featgeom.match with within-token score, 99 exchanges', child('within', folder))
            if not zipf:
                show(f'512 x 512 neurons (dense stores), {n:,} tokens, null', child('neurons', folder))
                show(f'{f:,} features x 512 neurons, {n:,} tokens, null', child('mixed', folder))


def large():
    n, f = LARGE
    with tempfile.TemporaryDirectory() as folder:
        nnz = save(folder, 0., n, f)
        print(f'matching {f:,} x {f:,} features over {n:,} tokens, {nnz/1e6:.1f} million firings a side, '
              f'{cores()} cores')
        ours, rate, flop = child('match', folder), child('rate', folder)['rate'], 2.*n*f*f
        show(f'featgeom.match, top {K} and mutual, both directions', ours)
        print(f'    scores equal float64 within {child("check", folder)["worst"]:.1e}')
        print(f'  the dense product, {flop:.2g} flop at {rate/1e9:.0f} Gflop/s measured here: {flop/rate:,.0f} s, '
              f'{flop/rate/ours["seconds"]:,.0f} times longer')


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument('--whole', action='store_true', help='run all blocks of the GEMM')
    options.add_argument('--short', action='store_true', help='without 65,536 features over a million tokens')
    options.add_argument('--part'), options.add_argument('--folder')
    args = options.parse_args()
    if args.part: return print(json.dumps(globals()[f'part_{args.part}'](args.folder, args.whole)))
    small(args.whole)
    if not args.short: large()


if __name__ == '__main__': main()
