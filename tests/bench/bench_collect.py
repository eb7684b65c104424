"""What the store costs: `collect` beside the plain Hugging Face model and the SAEs' own `encode` on the same batches.

Both sides run in turn in one process, so that a busy machine slows both. Models: those of FEATGEOM_TEST_DATA, else the embedded
ones. SAEs of random directions (top-k, 16 of 1,024 and of 16,384): the time of encode depends on shapes, not on what was learned."""
import json, os, sys, time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from featgeom import acts, collecting
from featgeom.models import load_model, pad, token_windows
from featgeom.sae import FeatureSpace
from featgeom.stories import storybook, zoo_path

CONTEXT = 128


def load():
    "Two models that share a tokenizer, the last site of each, and text."
    data = os.environ.get('FEATGEOM_TEST_DATA')
    if data:
        models = [load_model(Path(data)/'models'/o) for o in ('stories260k', 'llama2xs')]
        return models, json.loads((Path(data)/'text'/'tinystories_1000.json').read_text())
    return [load_model(zoo_path(o)) for o in ('story-1l', 'story-2l')], storybook(1000, seed=7)


def random_sae(d, f, k=16):
    "Arrays of a top-k SAE whose decoder rows are random unit vectors and whose encoder is their transpose."
    W = np.random.default_rng(f).normal(size=(f, d)).astype('f4')
    W /= np.linalg.norm(W, axis=1, keepdims=True)
    return dict(W_enc=W.T.copy(), W_dec=W, b_enc=np.zeros(f, 'f4'), b_dec=np.zeros(d, 'f4'), architecture='topk', k=k)


def seconds(): return np.array([time.perf_counter(), time.process_time()])      # wall, and processor: steady on a busy machine


def plain(spaces, windows, batch=32):
    "Seconds of the bare work: the models' own forward pass to their last layer, and encode, on the batches that collect makes."
    order = sorted(windows, key=lambda w: -len(w.ids))
    start = seconds()
    with torch.no_grad():
        for at in range(0, len(order), batch):
            b = pad(order[at:at + batch])
            keep = torch.from_numpy(b.keep)
            for space in spaces:
                x = space.model.hf.model(input_ids=b.input_ids, attention_mask=b.attention_mask, use_cache=False).last_hidden_state
                space.sae.encode(x[keep])
    return seconds() - start


class Clock:
    "Seconds spent in a function of a module while inside; of an iterator, in getting its items."
    def __init__(self, module, name): self.module, self.name, self.real, self.seconds = module, name, getattr(module, name), 0.

    def __enter__(self):
        setattr(self.module, self.name, self.timed)
        return self

    def __exit__(self, *exc): setattr(self.module, self.name, self.real)

    def timed(self, *args):
        start = seconds()
        out = self.real(*args)
        self.seconds += seconds() - start
        return self.items(out) if hasattr(out, '__next__') else out

    def items(self, iterator):
        while True:
            start = seconds()
            item = next(iterator, None)
            self.seconds += seconds() - start
            if item is None: return
            yield item


def collected(spaces, texts, tokens):
    "Seconds of collect, of its tokenizing, of its hashing (texts, tokenizers, shards); bytes a token."
    with TemporaryDirectory() as tmp, Clock(collecting, 'token_windows') as cut, Clock(collecting, 'fingerprint') as a, \
         Clock(collecting, 'tokenizer_fingerprint') as b, Clock(acts.hashlib, 'sha256') as c:
        start = seconds()
        out = collecting.collect(spaces, texts, tmp, context=CONTEXT, max_tokens=tokens, progress=False)
        total = seconds() - start
        assert [len(o) for o in out] == [tokens]*len(spaces)
        size = sum(o['bytes'] for o in out[0].meta['shards'])/tokens
    return total, cut.seconds, a.seconds + b.seconds + c.seconds, size


def in_processes(spaces, texts, tokens, repeats=3):
    "Seconds of collect in one process and in two, in turn, and of starting two for next to nothing; all of them wall time."
    def run(workers, tokens):
        with TemporaryDirectory() as tmp:
            start = time.perf_counter()
            collecting.collect(spaces, texts, tmp, context=CONTEXT, max_tokens=tokens, shard=4096, workers=workers, progress=False)
            return time.perf_counter() - start
    return np.median([[run(1, tokens), run(2, tokens), run(2, 100)] for _ in range(repeats)], axis=0)


def main(tokens=20_000, repeats=5):
    models, texts = load()
    start = seconds()
    for model in models: model.hash
    print(f'{" and ".join(o.name for o in models)}; {tokens:,} tokens, context {CONTEXT}, batches of 32, {torch.get_num_threads()} '
          f'threads; hashing all weights once: {(seconds() - start)[0]:.2f} s')
    print(f'{"f":>7} {"plain s":>8} {"collect s":>10} {"ratio":>6} {"range":>12} {"CPU ratio":>10} {"tokenize s":>11} {"hash s":>7} '
          f'{"bytes a token":>14}')
    for f in (1024, 16384):
        spaces = [FeatureSpace.load(model=o, sae=random_sae(o.width(o.sites()[-1]), f), site=o.sites()[-1], name=o.name) for o in models]
        for space in spaces: space.sae.hash
        windows = next(collecting._plan(token_windows(models[0], texts, CONTEXT), 2**16, tokens))
        plain(spaces, windows[:64])
        rows, before = [], plain(spaces, windows)
        for _ in range(repeats):
            total, cut, hashing, size = collected(spaces, texts, tokens)
            after = plain(spaces, windows)
            rows.append([(before + after)/2, total - cut - hashing, cut, hashing, (total - cut - hashing)/((before + after)/2)])
            before = after
        rows, middle = np.array(rows), np.median(rows, axis=0)         # (repeats, 5, wall and processor)
        low, high = rows[:, 4, 0].min(), rows[:, 4, 0].max()
        print(f'{f:>7,} {middle[0, 0]:>8.2f} {middle[1, 0]:>10.2f} {middle[4, 0]:>6.2f} {low:>5.2f}..{high:<5.2f} {middle[4, 1]:>10.2f} '
              f'{middle[2, 0]:>11.2f} {middle[3, 0]:>7.3f} {size:>14.0f}', flush=True)
    one, two, started = in_processes(spaces, texts, 4*tokens)
    print(f'{4*tokens:,} tokens, f={f:,}, in shards of 4,096: {one:.2f} s in one process, {two:.2f} s with workers=2 (ratio '
          f'{two/one:.2f}), of which starting them {started:.2f} s (ratio without it {(two - started)/one:.2f}); median of 3')
    print(f'ratio: wall time of collect, without tokenizing and hashing, over that of the plain runs before and after it; median of '
          f'{repeats}. Aim: at most 1.25')


if __name__ == '__main__': main(*map(int, sys.argv[1:]))
