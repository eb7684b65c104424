"SAE files of other libraries: equal to each library and to its formulas, refused with a reason, and harmless."
from pathlib import Path
import fnmatch, io, json, os, sys, types, zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from conftest import outside_folder
from featgeom import formats
from featgeom.core import FeatgeomError
from featgeom.formats import fetch, read_folder, read_npz, read_torch
from featgeom.sae import load_sae

D, F, K = 16, 64, 8


@pytest.fixture(scope='session')
def peers():
    "The other libraries, from the folder that FEATGEOM_PEERS names; nnsight, which runs models for one, is a stub."
    path = str(outside_folder('FEATGEOM_PEERS', 'sparsify and dictionary_learning'))
    patch = pytest.MonkeyPatch()
    patch.setenv('SPARSIFY_DISABLE_TRITON', '1')
    patch.setattr(sys, 'path', [*sys.path, path])
    stub = types.ModuleType('nnsight')
    stub.LanguageModel = object
    if 'nnsight' not in sys.modules: patch.setitem(sys.modules, 'nnsight', stub)
    import dictionary_learning.utils, sparsify
    yield types.SimpleNamespace(sparsify=sparsify, dictionaries=dictionary_learning)
    patch.undo()


def rows(n=300, seed=1): return torch.randn(n, D, generator=torch.Generator().manual_seed(seed)) + .5


def normal(*shape, seed=0): return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * .4


def close(ours, theirs, most=1e-5):
    "Equal to 1e-5, relative to the largest."
    ours, theirs = torch.as_tensor(ours).detach(), torch.as_tensor(theirs).detach()
    assert ours.shape == theirs.shape and ours.dtype == torch.float32
    error = float((ours - theirs).abs().max() / theirs.abs().max())
    assert error < most, f'{error:.1e}'
    assert (theirs != 0).any()


def agree(sae, x, codes, x_hat):
    "Our SAE gives the codes and the reconstruction, also by its sparse encoder; some codes are zero."
    close(sae.encode(x), codes)
    close(sae.reconstruct(x), x_hat)
    indptr, indices, values = sae.encode_csr(x)
    got = torch.zeros(len(x), sae.d_sae)
    got[np.repeat(np.arange(len(x)), np.diff(indptr)), indices] = torch.from_numpy(values)
    close(got, codes)
    assert (codes == 0).any()


# ---- sparsify

SPARSIFY = [dict(), dict(num_latents=0, expansion_factor=F // D), dict(activation='groupmax'), dict(skip_connection=True),
            dict(multi_topk=True, normalize_decoder=False), dict(activation='groupmax', skip_connection=True)]


def sparsify_folder(path, changes=(), weights=(), dtype=torch.float32):
    "A hookpoint as sparsify saves it."
    cfg = dict(activation='topk', expansion_factor=32, normalize_decoder=True, num_latents=F, k=K, multi_topk=False,
               skip_connection=False, transcode=False, d_in=D) | dict(changes)
    tensors = {'encoder.weight': normal(F, D), 'encoder.bias': normal(F, seed=1), 'W_dec': normal(F, D, seed=2),
               'b_dec': normal(D, seed=3)} | dict(weights)
    if cfg['skip_connection']: tensors['W_skip'] = normal(D, D, seed=4)
    path.mkdir(parents=True, exist_ok=True)
    (path / 'cfg.json').write_text(json.dumps(cfg))
    save_file({key: value.to(dtype) for key, value in tensors.items()}, path / 'sae.safetensors')
    return path, cfg, tensors


@pytest.mark.parametrize('changes', SPARSIFY)
def test_sparsify_by_its_formula(tmp_path, changes):
    path, cfg, w = sparsify_folder(tmp_path / 'layers.3', changes)
    x = rows()
    z = torch.relu((x - w['b_dec']) @ w['encoder.weight'].T + w['encoder.bias'])
    if cfg['activation'] == 'topk': keep = z >= z.sort(dim=-1).values[:, [-K]]
    else: keep = (z.reshape(-1, K, F // K) == z.reshape(-1, K, F // K).amax(-1, keepdim=True)).reshape(-1, F)
    codes = z * keep
    x_hat = codes @ w['W_dec'] + w['b_dec'] + (x @ w['W_skip'].T if 'W_skip' in w else 0)
    sae = load_sae(path)
    agree(sae, x, codes, x_hat)
    assert sae.metadata == dict(hook_name='blocks.3.hook_resid_post', hookpoint='layers.3') and sae.name == 'layers.3'
    assert load_sae(path / 'sae.safetensors').hash == sae.hash == load_sae(sae.save(tmp_path / 'ours')).hash
    if 'W_skip' in w:
        with pytest.raises(FeatgeomError, match='linear map of the input'): sae.decode(codes)
    else: close(sae.decode(codes), x_hat)


@pytest.mark.parametrize('changes', SPARSIFY)
def test_sparsify_by_itself(tmp_path, peers, changes):
    cfg = peers.sparsify.SparseCoderConfig(**{**dict(num_latents=F, k=K), **changes})
    theirs = peers.sparsify.SparseCoder(D, cfg)
    for i, p in enumerate(theirs.parameters()): p.data = normal(*p.shape, seed=i)
    theirs.save_to_disk(tmp_path / 'layers.3.mlp')
    theirs, x = peers.sparsify.SparseCoder.load_from_disk(tmp_path / 'layers.3.mlp'), rows()
    out = theirs.encode(x)
    codes = torch.zeros(len(x), F).scatter(-1, out.top_indices, out.top_acts)
    sae = load_sae(tmp_path / 'layers.3.mlp')
    x_hat = theirs.decode(out.top_acts, out.top_indices)                  # forward gives that of 4 k with multi_topk
    agree(sae, x, codes, x_hat if 'multi_topk' in changes else theirs(x).sae_out)
    if 'skip_connection' not in changes: close(sae.decode(codes), x_hat)
    assert sae.metadata['hook_name'] == 'blocks.3.hook_mlp_out'


def test_sparsify_of_half_precision_and_of_signed_codes(tmp_path):
    path, _, w = sparsify_folder(tmp_path / 'layers.0', dtype=torch.bfloat16)
    assert load_sae(path).W_enc.dtype == torch.float32
    close(load_sae(path).W_dec, w['W_dec'], 1e-2)
    path, _, w = sparsify_folder(tmp_path / 'layers.1', dict(signed=True))
    x = rows()
    z = (x - w['b_dec']) @ w['encoder.weight'].T + w['encoder.bias']
    codes = z * (z.abs() >= z.abs().sort(dim=-1).values[:, [-K]])
    assert (codes < 0).any()
    agree(load_sae(path), x, codes, codes @ w['W_dec'] + w['b_dec'])


@pytest.mark.parametrize('module, site', [
    ('layers.3', 'blocks.3.hook_resid_post'), ('layers.12.mlp', 'blocks.12.hook_mlp_out'),
    ('layers.0.attention', 'blocks.0.hook_attn_out'), ('h.5', 'blocks.5.hook_resid_post'),
    ('model.layers.2.self_attn', 'blocks.2.hook_attn_out'), ('transformer.h.1.attn', 'blocks.1.hook_attn_out'),
    ('embed_in', None), ('layers.3.mlp.dense', None), ('layers', None)])
def test_sites_of_hookpoints(tmp_path, module, site):
    sae = load_sae(sparsify_folder(tmp_path / module)[0])
    assert sae.metadata.get('hook_name') == site and sae.metadata['hookpoint'] == module


def test_the_run_of_sparsify_names_the_model(tmp_path):
    path = sparsify_folder(tmp_path / 'layers.1')[0]
    (tmp_path / 'config.json').write_text('{"model": "EleutherAI/pythia-70m", "ctx_len": 2048, "sae": {}}')
    assert load_sae(path).metadata['model_name'] == 'EleutherAI/pythia-70m' and load_sae(path).metadata['context_size'] == 2048


@pytest.mark.parametrize('changes, says', [
    (dict(transcode=True), 'transcoder, which reads one site and writes another'), (dict(activation='relu'), "'relu'"),
    (dict(num_latents=65), 'says 16 -> 65'), (dict(num_latents=0), 'says 16 -> 512'), (dict(d_in=8), 'says 8 -> 64'),
    (dict(num_latents=-1), 'num_latents'), (dict(k=65), '1 to 64'), (dict(k='8'), "k in .*'8'"), (dict(k=0), 'k in'),
    (dict(k=7, activation='groupmax'), 'divides 64'), (dict(transcode='no'), 'true or false'),
    (dict(skip_connection=1), 'true or false'), (dict(d_in=[16]), 'd_in'), (dict(expansion_factor=None, num_latents=None), '16 -> 512')])
def test_sparsify_that_makes_no_sense(tmp_path, changes, says):
    with pytest.raises(FeatgeomError, match=says): load_sae(sparsify_folder(tmp_path / 'layers.3', changes)[0])


def test_sparsify_weights_that_are_not_those(tmp_path):
    for weights, says in (({'extra': normal(3)}, 'What is extra'), ({'encoder.weight': normal(F)}, 'A matrix'),
                          ({'W_dec': normal(D, F)}, 'W_dec .* has shape'), ({'encoder.bias': normal(D)}, 'b_enc .* shape'),
                          ({'b_dec': torch.full((D,), torch.nan)}, 'NaN'), ({'encoder.weight': torch.ones(F, D).int()}, 'int')):
        path = tmp_path / 'layers.0'
        changes = dict(weights)
        sparsify_folder(path)
        tensors = load_file(path / 'sae.safetensors') | changes
        save_file({key: value.contiguous() for key, value in tensors.items()}, path / 'sae.safetensors')
        with pytest.raises(FeatgeomError, match=says): load_sae(path)
    del tensors['W_dec']
    save_file(tensors, path / 'sae.safetensors')
    with pytest.raises(FeatgeomError, match='Does W_dec have another name'): load_sae(path)


# ---- dictionary_learning

LINEAR = {'encoder.weight': normal(F, D), 'encoder.bias': normal(F, seed=1), 'decoder.weight': normal(D, F, seed=2)}
PLAIN = dict(W_enc=normal(D, F), b_enc=normal(F, seed=1), W_dec=normal(F, D, seed=2), b_dec=normal(D, seed=3))
B_DEC, ASIDE = normal(D, seed=3), dict(k=torch.tensor(K, dtype=torch.int), threshold=torch.tensor(.3))
DICTIONARIES = {
    'AutoEncoder': {**LINEAR, 'bias': B_DEC},
    'AutoEncoderNew': {**LINEAR, 'decoder.bias': B_DEC},
    'GatedAutoEncoder': {'encoder.weight': LINEAR['encoder.weight'], 'decoder.weight': LINEAR['decoder.weight'],
                         'decoder_bias': B_DEC, 'r_mag': normal(F, seed=4), 'mag_bias': normal(F, seed=5),
                         'gate_bias': normal(F, seed=6)},
    'JumpReluAutoEncoder': {**PLAIN, 'threshold': normal(F, seed=7).abs()},
    'AutoEncoderTopK': {**LINEAR, 'b_dec': B_DEC, **ASIDE},
    'BatchTopKSAE': {**LINEAR, 'b_dec': B_DEC, **ASIDE},
    'MatryoshkaBatchTopKSAE': {**PLAIN, **ASIDE, 'group_sizes': torch.tensor([16, F - 16])}}


def dictionary_folder(path, kind, changes=(), weights=(), **top):
    "A folder as dictionary_learning saves it."
    trainer = dict(trainer_class='SomeTrainer', dict_class=kind, activation_dim=D, dict_size=F, layer=3, lr=1e-4, k=K,
                   lm_name='EleutherAI/pythia-70m-deduped', submodule_name='resid_post_layer_3') | dict(changes)
    cfg = dict(trainer={key: value for key, value in trainer.items() if value != 'absent'},
               buffer=dict(d_submodule=D, io='out', ctx_len=128)) | top
    path.mkdir(parents=True, exist_ok=True)
    (path / 'config.json').write_text(json.dumps(cfg))
    torch.save({**DICTIONARIES.get(kind, {}), **dict(weights)}, path / 'ae.pt')
    return path


def by_formula(kind, w, x):
    "Codes and reconstruction of a class, from its stored weights."
    relu = torch.relu
    if kind == 'JumpReluAutoEncoder':
        z = x @ w['W_enc'] + w['b_enc']
        codes = z * (z > w['threshold']) * (z > 0)
        return codes, codes @ w['W_dec'] + w['b_dec']
    if kind == 'MatryoshkaBatchTopKSAE':
        z = relu((x - w['b_dec']) @ w['W_enc'] + w['b_enc'])
        codes = torch.where(z > w['threshold'], z, 0.)
        return codes, codes @ w['W_dec'] + w['b_dec']
    W_enc, W_dec = w['encoder.weight'].T, w['decoder.weight'].T
    if kind == 'GatedAutoEncoder':
        z = (x - w['decoder_bias']) @ W_enc
        codes = (z + w['gate_bias'] > 0) * relu(w['r_mag'].exp() * z + w['mag_bias'])
        return codes, codes @ W_dec + w['decoder_bias']
    if kind == 'AutoEncoderNew':
        codes = relu(x @ W_enc + w['encoder.bias'])
        return codes, codes @ W_dec + w['decoder.bias']
    b_dec = w['bias'] if kind == 'AutoEncoder' else w['b_dec']
    codes = relu((x - b_dec) @ W_enc + w['encoder.bias'])
    x_hat = codes @ W_dec + b_dec
    if kind == 'AutoEncoder': return codes * W_dec.norm(dim=1), x_hat
    if kind == 'AutoEncoderTopK': codes = codes * (codes >= codes.sort(dim=-1).values[:, [-K]])
    if kind == 'BatchTopKSAE': codes = codes * (codes > w['threshold'])
    return codes, codes @ W_dec + b_dec


@pytest.mark.parametrize('kind', DICTIONARIES)
def test_dictionaries_by_their_formulas(tmp_path, kind):
    path, x = dictionary_folder(tmp_path / 'trainer_0', kind), rows()
    codes, x_hat = by_formula(kind, DICTIONARIES[kind], x)
    sae = load_sae(path)
    agree(sae, x, codes, x_hat)
    close(sae.decode(codes), x_hat)
    assert sae.metadata == dict(model_name='EleutherAI/pythia-70m-deduped', hook_name='blocks.3.hook_resid_post', dict_class=kind,
                                submodule='resid_post_layer_3', context_size=128)
    assert load_sae(path / 'ae.pt').hash == sae.hash == load_sae(sae.save(tmp_path / 'ours')).hash
    names = set(DICTIONARIES[kind])
    dictionary_folder(path, kind, dict(dict_class='absent'))
    if kind in ('AutoEncoderTopK', 'BatchTopKSAE'):                       # these two store the same
        with pytest.raises(FeatgeomError, match='Name it in config.json'): load_sae(path)
    else: assert names and load_sae(path).hash == sae.hash


@pytest.mark.parametrize('kind', DICTIONARIES)
def test_dictionaries_by_themselves(tmp_path, peers, kind):
    path, x = dictionary_folder(tmp_path, kind), rows()
    theirs, _ = peers.dictionaries.utils.load_dictionary(str(path), 'cpu')
    torch.save(theirs.state_dict(), tmp_path / 'ae.pt')                   # its own way of writing it
    theirs, _ = peers.dictionaries.utils.load_dictionary(str(path), 'cpu')
    codes, sae = theirs.encode(x), load_sae(path)
    agree(sae, x, codes, theirs(x))
    close(sae.decode(codes), theirs.decode(codes))


def test_every_dictionary_class_is_read_or_refused(peers):
    import importlib, inspect, pkgutil
    package = peers.dictionaries
    modules = [package.dictionary] + [importlib.import_module(f'{package.__name__}.trainers.{o.name}')
                                      for o in pkgutil.iter_modules(importlib.import_module(f'{package.__name__}.trainers').__path__)]
    base = package.dictionary.Dictionary
    found = {name for m in modules for name, o in inspect.getmembers(m, inspect.isclass) if issubclass(o, base) and o is not base}
    assert found - set(formats._NO_DICTIONARIES) == set(DICTIONARIES) == set(formats._DICTIONARIES)


def test_an_untrained_threshold_is_no_threshold(tmp_path):
    path, x = dictionary_folder(tmp_path, 'BatchTopKSAE', weights=dict(threshold=torch.tensor(-1.))), rows()
    codes = load_sae(path).encode(x)
    close(codes, by_formula('BatchTopKSAE', {**DICTIONARIES['BatchTopKSAE'], 'threshold': torch.tensor(-1.)}, x)[0])


def test_a_decoder_row_of_zeros_stays(tmp_path):
    W = LINEAR['decoder.weight'].clone()
    W[:, 5] = 0
    sae = load_sae(dictionary_folder(tmp_path, 'AutoEncoder', weights={'decoder.weight': W}))
    norms = sae.W_dec.norm(dim=1)
    assert norms[5] == 0 and torch.allclose(norms[torch.arange(F) != 5], torch.ones(F - 1))


@pytest.mark.parametrize('changes, top, site', [
    (dict(submodule_name=None), {}, 'blocks.3.hook_resid_post'), ({}, dict(buffer=dict(io='in')), 'blocks.3.hook_resid_pre'),
    (dict(submodule_name='mlp_layer3'), {}, 'blocks.3.hook_mlp_out'), (dict(submodule_name='attention_out'), {}, 'blocks.3.hook_attn_out'),
    (dict(submodule_name='mlp_layer3'), dict(buffer=dict(io='in')), None), (dict(layer=None), {}, None),
    (dict(submodule_name='embed'), {}, None), (dict(layer='3'), {}, None), ({}, dict(buffer=None), 'blocks.3.hook_resid_post')])
def test_sites_of_dictionaries(tmp_path, changes, top, site):
    assert load_sae(dictionary_folder(tmp_path, 'AutoEncoder', changes, **top)).metadata.get('hook_name') == site


@pytest.mark.parametrize('kind, changes, weights, top, says', [
    ('CrossCoder', {}, {}, {}, 'reads several models or layers'), ('IdentityDict', {}, {}, {}, 'without an SAE is the same'),
    ('AutoEncoderTopK', dict(dict_class='AutoEncoderTopk'), {}, {}, 'nearest: AutoEncoderTopK'),
    ('AutoEncoder', dict(dict_class=['x']), {}, {}, 'of class'), ('AutoEncoder', {}, {}, dict(trainer=[1]), 'no table "trainer"'),
    ('AutoEncoder', {}, {}, dict(buffer=dict(io='in_and_out')), 'transcoder'), ('AutoEncoder', dict(dict_size=65), {}, {}, '16 -> 65'),
    ('AutoEncoderTopK', dict(k=9), {}, {}, 'k=9 in config.json and'), ('AutoEncoderTopK', dict(k=None), dict(k=torch.tensor(.5)), {}, 'k=None'),
    ('AutoEncoder', {}, dict(odd=B_DEC), {}, 'What is odd'), ('BatchTopKSAE', {}, dict(threshold=B_DEC), {}, 'One number'),
    ('AutoEncoder', {}, {'encoder.bias': normal(F, 1)}, {}, 'b_enc .* shape'), ('AutoEncoder', {}, {'bias': 3}, {}, 'table of tensors'),
    ('AutoEncoder', {}, {'decoder.weight': normal(D)}, {}, 'A matrix'), ('GatedAutoEncoder', {}, {'r_mag': torch.ones(F).int()}, {}, 'int32'),
    ('MatryoshkaBatchTopKSAE', {}, dict(W_dec=normal(F)), {}, 'W_dec')])
def test_dictionaries_that_make_no_sense(tmp_path, kind, changes, weights, top, says):
    with pytest.raises(FeatgeomError, match=says): load_sae(dictionary_folder(tmp_path, kind, changes, weights, **top))


# ---- Gemma Scope

GEMMA = {**PLAIN, 'threshold': normal(F, seed=7).abs()}
INSIDE = 'layer_20/width_16k/average_l0_71'


def gemma_folder(path, weights=(), save=np.savez):
    path.mkdir(parents=True, exist_ok=True)
    save(path / 'params.npz', **{key: value.numpy() for key, value in {**GEMMA, **dict(weights)}.items()})
    return path


@pytest.mark.parametrize('save', [np.savez, np.savez_compressed])
@pytest.mark.parametrize('repo, inside, hook', [
    ('gemma-scope-2b-pt-res', INSIDE, 'blocks.20.hook_resid_post'), ('gemma-scope-2b-pt-mlp', INSIDE, 'blocks.20.hook_mlp_out'),
    ('gemma-scope-9b-pt-att', INSIDE, 'blocks.20.attn.hook_z'), ('gemma-scope-9b-it-res', INSIDE, 'blocks.20.hook_resid_post'),
    ('gemma-scope-2b-pt-res', 'embedding/width_4k/average_l0_6', None)])
def test_gemma_scope_by_its_formula_and_by_sae_lens(tmp_path, monkeypatch, repo, inside, hook, save):
    from sae_lens import SAE as Lens
    from sae_lens.loading import pretrained_sae_loaders as loaders
    path, x = gemma_folder(tmp_path / f'models--google--{repo}' / 'snapshots' / 'abc' / inside, save=save), rows()
    scale = D**.5 if inside.startswith('embedding') else 1
    z = x @ GEMMA['W_enc'] / scale + GEMMA['b_enc']
    codes = torch.relu(z) * (z > GEMMA['threshold'])
    sae = load_sae(path)
    agree(sae, x, codes, codes @ GEMMA['W_dec'] * scale + GEMMA['b_dec'])
    monkeypatch.setattr(loaders, 'hf_hub_download', lambda **kw: str(path / kw['filename']))
    cfg, weights, _ = loaders.gemma_2_sae_huggingface_loader(f'google/{repo}', inside, cfg_overrides=dict(d_in=D, d_sae=F))
    cfg = loaders.handle_config_defaulting(cfg)
    theirs = Lens.get_sae_class_for_architecture('jumprelu')(Lens.get_sae_config_class_for_architecture('jumprelu').from_dict(cfg))
    theirs.load_state_dict(weights)
    heads = x.reshape(len(x), 4, -1) if hook and hook.endswith('z') else x
    close(sae.encode(x), theirs.encode(heads))
    close(sae.decode(codes), theirs.decode(codes).reshape(x.shape))
    assert theirs.cfg.reshape_activations == sae.settings['reshape_activations']
    assert sae.metadata.get('hook_name') == hook
    if hook: assert (theirs.cfg.metadata.hook_name, theirs.cfg.metadata.prepend_bos) == (hook, sae.metadata['prepend_bos'])
    assert theirs.cfg.metadata.model_name == sae.metadata['model_name']


def test_gemma_scope_2(tmp_path):
    path = tmp_path / 'gemma-scope-2-1b-pt' / 'resid_post' / 'layer_12_width_16k_l0_small'
    path.mkdir(parents=True)
    save_file({key.replace('W_', 'w_'): value for key, value in GEMMA.items()}, path / 'params.safetensors')
    sae = load_sae(path)
    assert sae.hash == load_sae(gemma_folder(tmp_path / 'x')).hash
    assert sae.metadata == dict(model_name='gemma-3-1b-pt', hook_name='blocks.12.hook_resid_post', prepend_bos=True)
    save_file({**{key.replace('W_', 'w_'): value for key, value in GEMMA.items()}, 'affine_skip_connection': normal(D, D)},
              path / 'params.safetensors')
    with pytest.raises(FeatgeomError, match='transcoder'): load_sae(path)
    copied = gemma_folder(tmp_path / 'elsewhere')                     # the path no longer says what it is
    (copied / 'config.json').write_text('{"type": "transcoder", "hf_hook_point_out": "model.layers.3.mlp"}')
    with pytest.raises(FeatgeomError, match='transcoder'): load_sae(copied)


def test_gemma_scope_elsewhere_knows_no_site(tmp_path):
    assert load_sae(gemma_folder(tmp_path / 'mine')).metadata == {}
    with pytest.raises(FeatgeomError, match='transcoder'):
        load_sae(gemma_folder(tmp_path / 'gemma-scope-2b-pt-transcoders' / INSIDE))
    with pytest.raises(FeatgeomError, match='it holds .*odd'): load_sae(gemma_folder(tmp_path / 'odd', dict(odd=B_DEC)))


# ---- the hub

@pytest.fixture
def hub(tmp_path, monkeypatch):
    "A hub of two repositories on disk; what is asked for is copied, as the real one does, and remembered."
    import huggingface_hub, shutil
    far, near = tmp_path / 'far', tmp_path / 'near'
    sparsify_folder(far / 'EleutherAI/sae-pythia-70m-32k/layers.3')
    sparsify_folder(far / 'EleutherAI/sae-pythia-70m-32k/layers.4')
    (far / 'EleutherAI/sae-pythia-70m-32k/config.json').write_text('{"model": "EleutherAI/pythia-70m"}')
    (far / 'EleutherAI/sae-pythia-70m-32k/layers.3/optimizer_0.pt').write_bytes(b'large')
    dictionary_folder(far / 'owner/dicts/run[1]/trainer_0', 'AutoEncoderTopK')
    gemma_folder(far / 'google/gemma-scope-2b-pt-res' / INSIDE)
    def snapshot_download(repo, *, allow_patterns):
        if not (far / repo).is_dir(): raise huggingface_hub.errors.LocalEntryNotFoundError(repo)
        for path in (far / repo).rglob('*'):
            inside = path.relative_to(far / repo)
            if path.is_file() and any(fnmatch.fnmatch(str(inside), o) for o in allow_patterns):
                (near / repo / inside).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, near / repo / inside)
        return str(near / repo)
    monkeypatch.setattr(huggingface_hub, 'snapshot_download', snapshot_download)
    return near


def test_names_on_the_hub(hub):
    sae = load_sae('EleutherAI/sae-pythia-70m-32k:layers.3')
    assert (sae.name, sae.architecture, sae.settings['k']) == ('EleutherAI/sae-pythia-70m-32k:layers.3', 'topk', K)
    assert sae.metadata['hook_name'] == 'blocks.3.hook_resid_post' and sae.metadata['model_name'] == 'EleutherAI/pythia-70m'
    assert load_sae('owner/dicts:run[1]/trainer_0').architecture == 'topk'
    assert load_sae(f'google/gemma-scope-2b-pt-res:{INSIDE}').metadata['model_name'] == 'gemma-2-2b'
    got = sorted(str(o.relative_to(hub)) for o in hub.rglob('*') if o.is_file())
    assert got == ['EleutherAI/sae-pythia-70m-32k/config.json', 'EleutherAI/sae-pythia-70m-32k/layers.3/cfg.json',
                   'EleutherAI/sae-pythia-70m-32k/layers.3/sae.safetensors', f'google/gemma-scope-2b-pt-res/{INSIDE}/params.npz',
                   'owner/dicts/run[1]/trainer_0/ae.pt', 'owner/dicts/run[1]/trainer_0/config.json']


@pytest.mark.parametrize('name, says', [
    ('EleutherAI/sae-pythia-70m-32k:layers.99', 'No SAE at'), ('owner/nothing:x', 'does not load .LocalEntryNotFoundError'),
    ('owner/dicts:../other', 'names nothing on the hub'), ('a/b/c:x', 'names nothing on the hub'), ('owner/dicts:', 'No SAE at')])
def test_names_that_are_not_there(hub, name, says):
    with pytest.raises(FeatgeomError, match=says): load_sae(name)


def test_what_was_fetched_is_read_without_a_network(tmp_path, monkeypatch):
    from huggingface_hub import constants
    root = tmp_path / 'models--EleutherAI--sae-test'
    sparsify_folder(root / 'snapshots' / ('a' * 40) / 'layers.3')
    (root / 'refs').mkdir()
    (root / 'refs' / 'main').write_text('a' * 40)
    monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(tmp_path))
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
    assert fetch('EleutherAI/sae-test:layers.3') == root / 'snapshots' / ('a' * 40) / 'layers.3'
    assert load_sae('EleutherAI/sae-test:layers.3').architecture == 'topk'
    with pytest.raises(FeatgeomError, match='does not load'): load_sae('EleutherAI/sae-other:layers.3')


# ---- files that are not what they seem

def test_pt_files_hold_plain_tensors_and_nothing_else(tmp_path):
    ran, at = tmp_path / 'ran', tmp_path / 'ae.pt'
    class Evil:
        def __reduce__(self): return (open, (str(ran), 'w'))
    class Large:
        def __reduce__(self): return (bytearray, (2**40,))
    wide = torch.zeros(1).expand(2**20, 2**20)
    for content in (dict(a=Evil()), dict(a=Large()), [normal(3)], normal(3), dict(a=3), dict(a=dict(b=normal(3))), dict(a=wide),
                    dict(a=torch.zeros(3).to_sparse()), dict(a=torch.empty(2**20, 2**20, device='meta')), torch.nn.Linear(2, 2)):
        torch.save(content, at)
        with pytest.raises(FeatgeomError, match='is damaged or holds more than weights'): read_torch(at)
    torch.save(dict(a=normal(3)), at, _use_new_zipfile_serialization=False)
    with pytest.raises(FeatgeomError, match='damaged'): read_torch(at)
    for broken in (b'', b'PK', at.read_bytes()[:50], b'\x80\x02}q\x00.'):
        at.write_bytes(broken)
        with pytest.raises(FeatgeomError, match='damaged'): read_torch(at)
    assert not ran.exists()
    from collections import OrderedDict
    for content in (dict(a=normal(3), b=normal(3).bfloat16()), OrderedDict(a=torch.nn.Parameter(normal(3))), torch.nn.Linear(2, 2).state_dict()):
        torch.save(content, at)
        found = read_torch(at)
        assert all(torch.equal(found[key], value) for key, value in content.items()) and list(found) == list(content)
        torch.save({}, at)                                                # what was read does not hang on the file
        assert all(torch.equal(found[key], value) for key, value in content.items())


def rezipped(path, how=zipfile.ZIP_STORED, **changes):
    "The same zip again, compressed or with other records."
    with zipfile.ZipFile(path) as file: records = {o.filename: file.read(o) for o in file.infolist()}
    with zipfile.ZipFile(path, 'w', how) as file:
        for name, data in records.items(): file.writestr(name, changes.get(name.rpartition('/')[2].removesuffix('.npy'), data))


def test_zips_that_unpack_to_more_than_they_are(tmp_path):
    at = tmp_path / 'ae.pt'
    torch.save(dict(a=torch.zeros(10**6)), at)
    rezipped(at, zipfile.ZIP_DEFLATED)
    assert at.stat().st_size < 10**5
    with pytest.raises(FeatgeomError, match='compressed'): read_torch(at)
    at = tmp_path / 'params.npz'
    np.savez_compressed(at, W_enc=np.zeros(2**24, np.float32))
    with pytest.raises(FeatgeomError, match='many times its size'): read_npz(at, ['W_enc'])


def npy(shape, data=b'', descr='<f4'):
    "An .npy record that says what it likes."
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, dict(descr=descr, fortran_order=False, shape=shape))
    return head.getvalue() + data


@pytest.mark.parametrize('record', [
    npy((10**9,)), npy((2**40, 2**40)), npy((3,), bytes(8)), npy((3,), bytes(16)), npy((-1,), bytes(12)), npy((2,), bytes(16), '|O'),
    npy((3,), bytes(12), '<i4'), npy((3,), bytes(12))[:20], b'', b'\x93NUMPY\x03\x00', b'garbage', npy((-2, -2), bytes(16))])
def test_arrays_that_are_not_what_they_say(tmp_path, record):
    at = tmp_path / 'params.npz'
    np.savez(at, W_enc=np.ones(3, np.float32))
    assert read_npz(at, ['W_enc'])['W_enc'].tolist() == [1, 1, 1]
    rezipped(at, W_enc=record)
    with pytest.raises(FeatgeomError, match='damaged'): read_npz(at, ['W_enc'])


@pytest.mark.parametrize('dtype', ['<f2', '>f4', '<f8', 'F'])
def test_arrays_of_other_types_become_float32(tmp_path, dtype):
    at = tmp_path / 'params.npz'
    value = np.arange(6.).reshape(2, 3)
    np.savez(at, W_enc=np.asfortranarray(value) if dtype == 'F' else value.astype(dtype))
    found = read_npz(at, ['W_enc'])['W_enc']
    assert found.dtype == torch.float32 and found.tolist() == value.tolist()


@pytest.mark.parametrize('make', [lambda path: sparsify_folder(path)[0], lambda path: dictionary_folder(path, 'AutoEncoderTopK'),
                                  lambda path: dictionary_folder(path, 'MatryoshkaBatchTopKSAE'), gemma_folder])
def test_damage_is_an_error_of_ours(tmp_path, make):
    "Bytes changed, cut and repeated at random, checksums put right where a zip has them: an SAE or a FeatgeomError."
    rng, read = np.random.default_rng(0), 0
    for i in range(120):
        path = make(tmp_path / 'layers.3')
        files = sorted(path.iterdir())
        at = files[rng.integers(len(files))]
        data = bytearray(at.read_bytes())
        if at.suffix in ('.pt', '.npz') and i % 2:
            with zipfile.ZipFile(at) as file: name = [o for o in file.namelist() if o.endswith(('pkl', 'npy'))][0]
            with zipfile.ZipFile(at) as file: inner = bytearray(file.read(name))
            for j in rng.integers(min(len(inner), 400), size=rng.integers(1, 4)): inner[j] = rng.integers(256)
            rezipped(at, **{name.rpartition('/')[2].removesuffix('.npy'): bytes(inner)})
        else:
            for j in rng.integers(min(len(data), 600), size=rng.integers(1, 4)): data[j] = rng.integers(256)
            if i % 3 == 0: data = data[:rng.integers(len(data))]
            at.write_bytes(bytes(data))
        try: sae = load_sae(path)
        except FeatgeomError: continue
        read += 1
        assert sae.d_in * sae.d_sae <= D * F and torch.isfinite(sae.W_dec).all()
    assert read < 60


def test_pipes_and_folders_in_the_place_of_files(tmp_path):
    for make, names in ((lambda path: sparsify_folder(path)[0], ('cfg.json', 'sae.safetensors')),
                        (lambda path: dictionary_folder(path, 'AutoEncoder'), ('config.json', 'ae.pt')), (gemma_folder, ('params.npz',))):
        for i, name in enumerate(names):
            for put in (os.mkfifo, os.mkdir, lambda path: os.symlink('/dev/zero', path), lambda path: os.symlink('nowhere', path)):
                path = make(tmp_path / f'{names[-1]}-{i}-{id(put)}')
                (path / name).unlink()
                put(path / name)
                with pytest.raises(FeatgeomError): load_sae(path)


def test_several_libraries_in_one_folder_and_none(tmp_path):
    path = sparsify_folder(tmp_path / 'layers.3')[0]
    assert read_folder(path).architecture == 'topk'
    (path / 'cfg.json').unlink()
    with pytest.raises(FeatgeomError, match='sae.safetensors of sparsify but no cfg.json'): read_folder(path)
    with pytest.raises(FeatgeomError, match='inside: layers.3'): read_folder(tmp_path)
    (tmp_path / 'layers.3' / 'sae.safetensors').rename(path / 'model.safetensors')
    with pytest.raises(FeatgeomError, match='only model.safetensors'): read_folder(path)
    for bad in ('', None, 'a\0b'):
        with pytest.raises(FeatgeomError): read_folder(bad)
