"Training SAEs: reproducible, fair to the text, and saved for sae-lens."
import json
import os
import subprocess
import sys
from pathlib import Path

import filelock
import numpy as np
import pytest
import torch

from featgeom import sae as S, training as T
from featgeom.core import FeatgeomError
from featgeom.models import load_model
from featgeom.sae import FeatureSpace, fvu, load_sae
from featgeom.training import train_sae
from test_sae import SITE, TEXTS, every_row, hf, lm, rows, tokenizer  # noqa: F401 (hf and lm are fixtures)


def quick(lm, **kw):
    settings = dict(width=32, k=4, tokens=20 * 64, batch=64, progress=False, lr=1e-3)
    return train_sae(lm, SITE, TEXTS, **{**settings, **kw})


@pytest.mark.parametrize('architecture, saved_as',
                         [('topk', 'topk'), ('batchtopk', 'jumprelu'), ('jumprelu', 'jumprelu'),
                          ('standard', 'standard'), ('gated', 'gated')])
def test_every_architecture_trains_and_is_saved_for_sae_lens(lm, tmp_path, architecture, saved_as):
    from sae_lens import SAE as Lens
    sae = quick(lm, architecture=architecture, out=tmp_path, tokens=60 * 64)
    assert sae.architecture == saved_as and load_sae(tmp_path).hash == sae.hash
    theirs, x = Lens.load_from_disk(tmp_path), rows()
    torch.testing.assert_close(theirs.encode(x).detach(), sae.encode(x), rtol=1e-5, atol=1e-5)
    meta = theirs.cfg.metadata
    assert (meta.model_name, meta.hook_name, meta.context_size, meta.prepend_bos) == (lm.name, SITE, 64, True)
    assert len(meta.dataset_fingerprint) == 64 and meta.training_tokens == 60 * 64
    assert S.health(FeatureSpace.load(lm, sae), TEXTS).warnings == ()


def test_training_explains_more_than_no_training(lm):
    x = next(T._Pool(lm, SITE, TEXTS, None, 512, 1024, 0))
    short, long = quick(lm, tokens=64), quick(lm, tokens=400 * 64)
    assert fvu(x, long.reconstruct(x)) < .7 * fvu(x, short.reconstruct(x)) and fvu(x, long.reconstruct(x)) < .6


@pytest.mark.parametrize('architecture', list(T._TRAINERS))
def test_features_may_start_as_activations(lm, architecture):
    x = next(T._Pool(lm, SITE, TEXTS, None, 64, 10**5, 0))
    mean, scale, began = x.mean(0), x.shape[1]**.5 / float(x.norm(dim=1).mean()), {}
    def keep(trainer, *a):
        real(trainer, *a)
        began[trainer.sae.cfg.d_sae] = trainer.sae.W_dec.detach().clone(), trainer.sae.W_enc.detach().clone()
    real, T._begin = T._begin, keep
    try: pair = quick(lm, width=[16, 32], start='data', architecture=architecture)
    finally: T._begin = real
    every = every_row(lm) - mean
    every = every / every.norm(dim=1, keepdim=True)
    for f, (decoder, encoder) in began.items():
        near = (decoder @ every.T).max(1).values
        assert near.min() > .999 and torch.equal(decoder, encoder.T) and torch.equal(decoder, began[32][0][:f])
        assert len(torch.unique((decoder @ every.T).argmax(1))) > f/2
    assert quick(lm, start='data', architecture=architecture).hash == pair[1].hash != quick(lm, architecture=architecture).hash


def test_a_start_with_more_features_than_tokens_keeps_the_rest(lm):
    sae = train_sae(lm, SITE, TEXTS[:3], 512, k=4, tokens=4 * 32, batch=32, progress=False, start='data')
    assert torch.isfinite(sae.W_dec).all() and sae.d_sae == 512


def test_several_widths_equal_each_alone_and_seeds_differ(lm, tmp_path):
    pair = quick(lm, width=[16, 32], out=tmp_path)
    assert [s.d_sae for s in pair] == [16, 32]
    assert [load_sae(tmp_path / f'sae-{f}').hash for f in (16, 32)] == [s.hash for s in pair]
    assert quick(lm).hash == pair[1].hash and quick(lm, seed=1).hash != pair[1].hash


def test_global_random_states_are_left_alone(lm):
    import random
    states = lambda: (torch.random.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist())
    before = states()
    quick(lm)
    assert states() == before


def in_order(x): return x[np.lexsort(x.numpy().round(2).T)]


def test_the_pool_gives_every_kept_token_once_in_an_epoch_and_no_bos(lm):
    every = every_row(lm)
    n = len(every)
    stream = T._Pool(lm, SITE, TEXTS, None, 1, n + 10, 0)
    epochs = [torch.cat([next(stream) for _ in range(n)]) for _ in range(2)]
    for got in epochs: torch.testing.assert_close(in_order(got), in_order(every), rtol=1e-3, atol=2e-2)
    assert not torch.equal(*epochs) and not torch.allclose(epochs[0], every, atol=.1)


def test_a_pool_smaller_than_the_text_is_bounded_and_fair(lm):
    every = every_row(lm)
    n = len(every)
    stream = T._Pool(lm, SITE, TEXTS, None, 16, 128, 0)
    got = torch.cat([next(stream) for _ in range(4 * n // 16)])
    distance = torch.cdist(got, every).min(1).values
    assert distance.max() < 1e-2                                           # each row is one of the text's
    assert (got.mean(0) - every.mean(0)).abs().max() < .1 * every.std()


def test_the_model_runs_once_when_the_text_fits(lm, monkeypatch):
    calls = []
    real = T.capture
    monkeypatch.setattr(T, 'capture', lambda *a, **kw: calls.append(1) or real(*a, **kw))
    quick(lm, width=[16, 32], tokens=100 * 64)
    runs = len(calls)
    calls.clear()
    quick(lm, width=[16], tokens=10 * 64)
    assert runs == len(calls) > 0


@pytest.mark.parametrize('bad, says',
                         [(dict(architecture='topkk'), 'topk'), (dict(width=2), '4'), (dict(width=[]), 'width'),
                          (dict(width=[8, 8]), 'Different'),
                                       (dict(k=0), 'k=0'), (dict(tokens=3), 'At least one batch'),
                          (dict(width=8.5), '8.5'), (dict(start='zeros'), 'start'), (dict(lr=0), 'lr=0'), (dict(penalty=-1), 'penalty'),
                          (dict(seed=2**63), 'seed'), (dict(memory='1G'), 'memory'), (dict(tokens=10**16), '10\\*\\*15'),
                          (dict(batch=10**6, tokens=10**7), 'tokens of text')])
def test_what_cannot_be_trained(lm, bad, says):
    with pytest.raises(FeatgeomError, match=says): quick(lm, **bad)


@pytest.mark.parametrize('texts', [[], ['', ''], [3]])
def test_training_on_no_text(lm, texts):
    with pytest.raises(FeatgeomError): train_sae(lm, SITE, texts, 32, k=4, tokens=640, batch=64, progress=False)


def test_a_killed_training_leaves_no_hooks_and_no_files(lm, hf, tmp_path, monkeypatch):
    n_hooks = lambda: sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in hf.modules())
    before, state = n_hooks(), torch.random.get_rng_state()
    real, calls = T._step, []
    def step(*a):
        calls.append(1)
        if len(calls) == 5: raise KeyboardInterrupt
        return real(*a)
    monkeypatch.setattr(T, '_step', step)
    with pytest.raises(KeyboardInterrupt): quick(lm, out=tmp_path / 'out')
    assert not (tmp_path / 'out').exists() and torch.equal(torch.random.get_rng_state(), state)
    assert n_hooks() == before


def test_nan_activations_are_an_error_and_no_sae(hf):
    lm = load_model(hf, tokenizer())
    handle = hf.transformer.h[1].mlp.register_forward_hook(lambda m, a, out: out * float('nan'))
    try:
        with pytest.raises(FeatgeomError, match='NaN or Inf'):
            train_sae(lm, SITE, TEXTS, 32, k=4, tokens=256, batch=64, progress=False)
    finally: handle.remove()


@pytest.fixture(scope='module')
def killed(tmp_path_factory):
    "How trainings ended that were killed at several moments and called again; see killed.py."
    done = subprocess.run([sys.executable, Path(__file__).with_name('killed.py'), tmp_path_factory.mktemp('killed')],
                          capture_output=True, text=True, env={**os.environ, 'OMP_NUM_THREADS': '1'})
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='kill -9 and fork are of POSIX')
def test_a_killed_training_ends_with_the_bytes_of_one_that_was_not(killed):
    assert len(killed) == 11 and {o['architecture'] for o in killed} == set(T._TRAINERS)
    for o in killed:
        assert o['ends'] == [-9] * (len(o['ends']) - 1) + [0], o
        assert o['same'] and o['files'] == [], o
    again = {o['moment']: o['again'] for o in killed if o['architecture'] == 'topk'}
    assert again == dict(start=24, between=9, at_a_checkpoint=9, write=14, first_write=24, saved=4)
    assert {o['place']['whole'] for o in killed if o['place']} == {True, False}


@pytest.mark.parametrize('size', [40, 10**6], ids=['streamed', 'whole'])
def test_a_pool_goes_on_from_any_place(lm, size):
    make = lambda: T._Pool(lm, SITE, TEXTS * 9, None, 16, size, 3)
    pool, places, seen = make(), [], []
    for i in range(2 * len(every_row(lm)) * 9 // 16 if size > 40 else 600):
        if i % 37 == 5:
            arrays, place = pool.state()
            places.append((i, {name: o.clone() for name, o in arrays.items()}, json.loads(json.dumps(place))))
        seen.append(next(pool).clone())
    if size == 40: assert len({(o['epoch'], o['groups']) for _, _, o in places}) > 4
    for i, arrays, place in places:
        again = make()
        again.go_on(arrays, place)
        for j in range(i, min(i + 45, len(seen))): assert torch.equal(next(again), seen[j]), (i, j, place)


def interrupted(lm, monkeypatch, folder, step, error=KeyboardInterrupt, **kw):
    "Stop a training with a checkpoint in its step of this number; what was said."
    real, calls = T._step, []
    def failing(*a):
        calls.append(1)
        if len(calls) == step: raise error
        return real(*a)
    monkeypatch.setattr(T, '_step', failing)
    with pytest.raises(error) as said: quick(lm, checkpoint=folder, every=4, **kw)
    monkeypatch.setattr(T, '_step', real)
    return str(said.value)


def test_ctrl_c_says_what_is_safe(lm, tmp_path, monkeypatch):
    said = interrupted(lm, monkeypatch, tmp_path, 11)
    assert '8 steps are safe' in said and str(tmp_path / 'checkpoint.safetensors') in said and 'goes on' in said
    real, calls = T._step, []
    monkeypatch.setattr(T, '_step', lambda *a: calls.append(1) or real(*a))
    state = torch.random.get_rng_state()
    assert quick(lm, checkpoint=tmp_path, every=3).hash == quick(lm).hash             # another interval is no other training
    assert len(calls) == 12 + 20 and not (tmp_path / 'checkpoint.safetensors').exists()
    assert torch.equal(state, torch.random.get_rng_state())
    assert 'nothing is kept' in interrupted(lm, monkeypatch, None, 11)


@pytest.mark.parametrize('architecture', ['topk', 'jumprelu'])
def test_all_of_the_state_comes_back(lm, tmp_path, monkeypatch, architecture):
    interrupted(lm, monkeypatch, tmp_path, 12, architecture=architecture, tokens=100 * 64, width=512)
    arrays, meta = T.read_arrays(tmp_path / 'checkpoint.safetensors', 'checkpoint')
    real, found = T._Checkpoint.load, []
    def load(self, pool, trainers):
        done = real(self, pool, trainers)
        self.save(done, pool, trainers)                   # what came back, written again, is the same file
        found.append(self.path.read_bytes())
        return done
    before = (tmp_path / 'checkpoint.safetensors').read_bytes()
    monkeypatch.setattr(T._Checkpoint, 'load', load)
    quick(lm, checkpoint=tmp_path, architecture=architecture, tokens=100 * 64, width=512)
    assert found == [before] and meta['step'] == 8
    assert arrays['0/n_forward_passes_since_fired'].max() > 0 and arrays['0/act_freq_scores'].max() > 0
    assert meta['trainers'][0]['counts'] == dict(n_training_steps=8, n_training_samples=8 * 64, n_frac_active_samples=8 * 64)


@pytest.mark.parametrize('other', [dict(seed=1), dict(lr=2e-3), dict(tokens=21 * 64), dict(width=[32]), dict(k=5),
                                   dict(architecture='batchtopk'), dict(context=32), dict(memory=2**14), dict(penalty=1.), dict(start='data')],
                         ids=lambda o: next(iter(o)))
def test_another_training_is_refused_by_name(lm, tmp_path, monkeypatch, other):
    interrupted(lm, monkeypatch, tmp_path, 11)
    before = (tmp_path / 'checkpoint.safetensors').read_bytes()
    if other == dict(width=[32]):
        assert quick(lm, checkpoint=tmp_path, **other)[0].hash == quick(lm).hash      # one width, as a list: the same training
        return
    name = dict(tokens='training_tokens', context='context_size').get(*other, *other)
    with pytest.raises(FeatgeomError, match=f'another training.*{name}'): quick(lm, checkpoint=tmp_path, **other)
    assert (tmp_path / 'checkpoint.safetensors').read_bytes() == before


def test_a_checkpoint_has_one_trainer_and_must_be_whole(lm, tmp_path, monkeypatch):
    with filelock.FileLock(tmp_path / '.checkpoint.lock'):
        with pytest.raises(FeatgeomError, match='Another process'): quick(lm, checkpoint=tmp_path)
    interrupted(lm, monkeypatch, tmp_path, 11, OSError)
    path = tmp_path / 'checkpoint.safetensors'
    (tmp_path / '.checkpoint.safetensors.1.tmp').write_bytes(b'of a killed writer')
    data = path.read_bytes()
    flipped, meant = bytearray(data), data.index(b'training_tokens')
    flipped[-1000] ^= 1
    for bad in (data[:-9], bytes(flipped), data[:meant] + b'trazning' + data[meant + 8:], b'', T.np.random.default_rng(0).bytes(5000)):
        path.write_bytes(bad)
        with pytest.raises(FeatgeomError, match='checkpoint.safetensors'): quick(lm, checkpoint=tmp_path)
    path.write_bytes(data)
    assert quick(lm, checkpoint=tmp_path).hash == quick(lm).hash
    assert [o.name for o in tmp_path.iterdir() if o.name != '.checkpoint.lock'] == []
    (tmp_path / 'file').write_text('')
    for bad, says in ((dict(checkpoint=tmp_path / 'file'), 'A folder to write in'), (dict(checkpoint=''), 'path'),
                      (dict(checkpoint=tmp_path, every=0), 'every=0')):
        with pytest.raises(FeatgeomError, match=says): quick(lm, **bad)


@pytest.mark.slow
def test_a_real_sae_is_at_home_and_its_neighbours_are_named(test_data):
    texts = json.loads((test_data / 'text/tinystories_1000.json').read_text())
    lm = load_model(test_data / 'models/stories260k', device='cpu')
    home = 'blocks.2.hook_resid_post'
    sae = train_sae(lm, home, texts[:200], 512, tokens=150_000, progress=False, context=256)
    at_home = S.health(FeatureSpace.load(lm, sae), texts[900:], max_tokens=5000)
    assert at_home.fvu < .2 and not at_home.warnings
    for site in ('blocks.1.hook_resid_post', 'blocks.3.hook_resid_post', 'blocks.2.hook_resid_mid'):
        found = S.health(FeatureSpace.load(lm, sae, site=site), texts[900:], max_tokens=5000)
        assert any(f'{home} is reconstructed clearly better than {site}' in o for o in found.warnings)
