"""Matching against float32 GEMM in blocks, side by side on the same cores, each contender in a process of its own.

`python tests/bench/bench_matching.py` runs one eighth of the GEMM's blocks and multiplies by eight; `--whole` all."""
import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy import sparse

N, F, L0, K = 64_000, 16_384, 32, 10


def cores(): return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()


def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss*(1 if sys.platform == 'darwin' else 1024)/1e9


def draw(seed, zipf):
    "Random SAE activations, L0 draws a token, equally likely or by a power law; equal draws of a row fall together."
    rng = np.random.default_rng(seed)
    weight = np.arange(1., F + 1)**-zipf
    which = rng.permutation(F)[np.searchsorted(np.cumsum(weight/weight.sum())[:-1], rng.random(N*L0))]
    acts = sparse.coo_array((rng.gamma(4, .25, N*L0).astype(np.float32), (np.repeat(np.arange(N), L0), which)),
                            shape=(N, F)).tocsr()
    acts.sum_duplicates()
    return acts


def load(folder, side): return sparse.csr_array(sparse.load_npz(Path(folder)/f'{side}.npz'))


def stores(folder):
    from featgeom.acts import FeatureActs, Rows
    rng = np.random.default_rng(9)
    token = rng.choice(4000, N, p=(w := 1/np.arange(1, 4001))/w.sum())
    rows = Rows(doc=np.arange(N)//250, pos=np.arange(N) % 250, token_id=token, start=np.zeros(N, int),
                end=np.zeros(N, int))
    return [FeatureActs.from_csr(load(folder, o), rows=rows, name=o.upper()) for o in 'ab']


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


def run_match(folder, **options):
    from featgeom.matching import match
    compile_s = warm()
    a, b = stores(folder)
    start, cpu = time.perf_counter(), time.process_time()
    pairs = match(a, b, k=K, **options)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    return dict(seconds=seconds, cpu=cpu, peak=peak(), compile=compile_s, pairs=len(pairs),
                mutual=int(pairs.mutual.sum())), pairs


def part_match(folder, whole):
    out, pairs = run_match(folder, null=None, given=None)
    np.savez(Path(folder)/'top.npz', a=pairs.a[pairs.from_a], b=pairs.b[pairs.from_a], score=pairs.score[pairs.from_a])
    return out


def part_null(folder, whole): return run_match(folder, given=None)[0]


def part_within(folder, whole): return run_match(folder, null=None)[0]


def part_gemm(folder, whole):
    "The same by dense float32: standardised columns, blocks of 2048 x 2048, top-k of rows, running top-k of columns."
    import torch
    torch.set_num_threads(cores())
    a, b = load(folder, 'a').tocsc(), load(folder, 'b').tocsc()

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
    return dict(seconds=seconds, cpu=cpu, peak=peak(), mutual=mutual, whole=whole)


def part_check(folder, whole):
    "The largest difference between match's scores and dense float64, on 256 features of A against all of B."
    top = np.load(Path(folder)/'top.npz')
    a, b = load(folder, 'a').tocsc(), load(folder, 'b').tocsc()
    some = np.sort(np.random.default_rng(0).choice(F, 256, replace=False))
    x = a[:, some].toarray().astype(np.float64)
    x = (x - x.mean(0))/np.maximum(np.linalg.norm(x - x.mean(0), axis=0), 1e-300)
    r = np.empty((256, F))
    for j in range(0, F, 1024):
        y = b[:, j:j + 1024].toarray().astype(np.float64)
        y -= y.mean(0)
        r[:, j:j + 1024] = x.T @ (y/np.maximum(np.linalg.norm(y, axis=0), 1e-300))
    r[:, np.diff(b.indptr) < 50] = -np.inf
    worst = 0.
    for i, line in zip(some, r):
        mine = np.sort(top['score'][top['a'] == i])[::-1]
        if len(mine): worst = max(worst, np.abs(mine - np.sort(line)[::-1][:len(mine)]).max())
    return dict(worst=worst)


def child(part, folder, whole):
    command = [sys.executable, __file__, '--part', part, '--folder', str(folder)] + ['--whole']*whole
    done = subprocess.run(command,
                          check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def show(what, o):
    print(f'  {what + ":":<55}{o["seconds"]:8.2f} s, {o["cpu"]:8.2f} s of processor time, '
          f'peak {o["peak"]:.2f} GB', flush=True)


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument('--whole', action='store_true', help='run all blocks of the GEMM')
    options.add_argument('--part'), options.add_argument('--folder')
    args = options.parse_args()
    if args.part: return print(json.dumps(globals()[f'part_{args.part}'](args.folder, args.whole)))
    for what, zipf in (('features equally likely', 0.), ('features by a power law, exponent .6', .6)):
        with tempfile.TemporaryDirectory() as folder:
            data = [draw(seed, zipf) for seed in (0, 1)]
            for o, x in zip('ab', data): sparse.save_npz(Path(folder)/f'{o}.npz', x, compressed=False)
            print(f'matching {F:,} x {F:,} features over {N:,} tokens, L0 {data[0].nnz/N:.1f}, {what}, {cores()} cores')
            del data
            ours = child('match', folder, False)
            show(f'featgeom.match, top {K} and mutual, both directions', ours)
            print(f'    scores equal dense float64 within {child("check", folder, False)["worst"]:.1e}; '
                  f'compiling or loading compiled code took {ours["compile"]:.1f} s more')
            if not zipf:
                gemm = child('gemm', folder, args.whole)
                show(f'float32 GEMM, {"all blocks" if args.whole else "1/8 of the blocks, times 8"}', gemm)
                print(f'  ratio: {gemm["seconds"]/ours["seconds"]:.0f} times faster, '
                      f'{gemm["cpu"]/ours["cpu"]:.0f} times less processor time')
            show('featgeom.match with the null, 10 shifts', child('null', folder, False))
            show('featgeom.match with within-token score, 99 exchanges', child('within', folder, False))


if __name__ == '__main__': main()
