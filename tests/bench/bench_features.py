"""Statistics, top tokens and examples of all features of a large SAE, against their budget; each in a process of its own.

`python tests/bench/bench_features.py`: 16,384 features over 1,000,000 tokens at L0 32. `--stored` reads from a store on
disk instead of memory. What comes out is compared with plain loops on some features."""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from bench_matching import L0, cores, draw, forget, memory, text_rows

N, F, K, SECONDS, GB, SEED, SOME = 1_000_000, 16_384, 20, 60, 4, 0, 48
PARTS = 'feature_stats', 'top_tokens', 'pick_examples', 'activation_histograms'


def make(folder, zipf):
    "A store of random activations; returns the number of activations."
    from featgeom.acts import FeatureActs
    acts = FeatureActs.from_csr(draw(SEED, zipf, N, F), rows=text_rows(N))
    acts.save(Path(folder)/'store', dtype='float32')
    return acts.nnz


def load(folder, stored):
    from featgeom.acts import FeatureActs
    acts = FeatureActs.open(Path(folder)/'store')
    return acts if stored else FeatureActs.from_csr(acts.csr(), acts.rows)


def decoder(f, d=512): return np.random.default_rng(1).normal(size=(f, d)).astype(np.float32)


def work(acts):
    "What is measured, by name."
    from featgeom.examples import pick_examples
    from featgeom.features import activation_histograms, feature_stats, top_tokens
    w = decoder(acts.n_features)
    return dict(feature_stats=lambda: feature_stats(acts, w), top_tokens=lambda: top_tokens(acts),
                pick_examples=lambda: pick_examples(acts, k=K), activation_histograms=lambda: activation_histograms(acts))


def warm():
    "Compile on a tiny case; returns the seconds it took."
    from featgeom.acts import FeatureActs
    start = time.perf_counter()
    for one in work(FeatureActs.from_csr(draw(0, 0., 400, 60), rows=text_rows(400))).values(): one()
    return time.perf_counter() - start


def timed(acts):
    "Seconds and the peak of memory beyond what the activations take, all parts one after the other; and the results."
    compile_s, before, out, found = warm(), memory('VmRSS'), {}, {}
    forget()
    for name, one in work(acts).items():
        start, cpu = time.perf_counter(), time.process_time()
        found[name] = one()
        out[name] = dict(seconds=time.perf_counter() - start, cpu=time.process_time() - cpu)
    most = memory('VmHWM')
    return dict(parts=out, compile=compile_s, beyond=most and most - before, most=most), found


def naive_stats(x, n):
    "The statistics of one feature whose active values are x, by their definitions."
    whole = np.concatenate([x, np.zeros(n - len(x))])
    d, var = whole - whole.mean(), whole.var()
    return dict(counts=len(x), mean=x.mean(), sd=x.std(), largest=x[abs(x).argmax()], energy=(whole**2).mean(),
                skew=(d**3).mean()/var**1.5, kurtosis=(d**4).mean()/var**2, zero_skew=(whole**3).mean()/var**1.5,
                zero_kurtosis=(whole**4).mean()/var**2)


def naive_tokens(x, token, k):
    "Token ids by falling share, their shares, the entropy of all."
    ids, at = np.unique(token, return_inverse=True)
    share = np.bincount(at, weights=abs(x))/abs(x).sum()
    order = np.lexsort((ids, -share))[:k]
    return ids[order], share[order], -(share*np.log2(share)).sum()


def naive_top(rows, x, acts, k, left, right):
    "The strongest hits of different contexts, and how many stronger ones were left out."
    doc, token, found, out = acts.rows.doc, acts.rows.token_id, [], 0
    def window(r):
        a, b = max(r - left, 0), r + right + 1
        own = doc[a:b] == doc[r]
        a, part = a + int(own.argmax()), token[a:b][own]
        return r - a, part.tobytes()
    for i in np.lexsort((rows, -abs(x))):
        if len(found) == k: break
        r = int(rows[i])
        seen = any((doc[r] == doc[o] and abs(r - o) <= max(left, right)) or window(r) == window(o) for o in found)
        out += seen
        if not seen: found.append(r)
    return found, out


def check(acts, found):
    "The largest relative difference of statistics from plain loops, on some features; all else must be equal."
    stats, tops, examples, hist = (found[o] for o in PARTS)
    matrix, worst = acts.csc(), 0.
    for j in np.random.default_rng(0).choice(acts.n_features, SOME, replace=False):
        part = slice(*matrix.indptr[j:j + 2])
        rows, x = matrix.indices[part], matrix.data[part].astype(np.float64)
        if len(x) < 50: continue
        for name, value in naive_stats(x, len(acts)).items():
            worst = max(worst, abs(getattr(stats, name)[j] - value)/max(abs(value), 1e-12))
        np.testing.assert_allclose(stats.quantiles[j], np.quantile(x, stats.levels), rtol=1e-12)
        ids, share, entropy = naive_tokens(x, acts.rows.token_id[rows], tops.ids.shape[1])
        np.testing.assert_array_equal(tops.ids[j], ids)
        np.testing.assert_allclose(tops.weight[j], share, rtol=1e-5)
        worst = max(worst, abs(tops.entropy[j] - entropy)/entropy)
        best, same = naive_top(rows, x, acts, K, examples.left, examples.right)
        np.testing.assert_array_equal(examples.rows[j, :K], best)
        assert examples.same[j] == same
        np.testing.assert_array_equal(hist.counts[j], np.histogram(x, hist.counts.shape[1], (0, x.max()))[0])
    return worst


def part(folder, stored):
    acts = load(folder, stored)
    out, found = timed(acts)
    return dict(out, worst=check(acts, found))


def child(folder, stored):
    command = [sys.executable, __file__, '--folder', str(folder)] + ['--stored']*stored
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def show(where, o):
    for name, p in o['parts'].items():
        print(f'  {f"{name}, {where}:":<44}{p["seconds"]:7.2f} s, {p["cpu"]:7.2f} s of processor time', flush=True)
    seconds = sum(p['seconds'] for p in o['parts'].values())
    room = '' if o['most'] is None else f'; at most {o["most"]:.2f} GB, {o["beyond"]:.2f} beyond the activations (budget {GB} GB)'
    print(f'  {"together:":<44}{seconds:7.2f} s (budget {SECONDS} s){room}')
    print(f'    equal to plain loops on {SOME} features, moments within {o["worst"]:.1e}; compiling or loading compiled '
          f'code took {o["compile"]:.1f} s more')


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument('--stored', action='store_true', help='only from a store on disk')
    options.add_argument('--folder')
    args = options.parse_args()
    if args.folder: return print(json.dumps(part(args.folder, args.stored)))
    for what, zipf in (('features equally likely', 0.), ('features by a power law, exponent .6', .6)):
        with tempfile.TemporaryDirectory() as folder:
            nnz = make(folder, zipf)
            print(f'reading {F:,} features over {N:,} tokens, L0 {nnz/N:.1f}, top {K} and other examples, {what}, {cores()} cores')
            if not args.stored: show('in memory', child(folder, False))
            show('from a store', child(folder, True))


if __name__ == '__main__': main()
