"The embedded models as shipped: small, complete, honest about where they come from, and as good as their notebook says."
import re

import numpy as np
import pytest
import torch
from safetensors import safe_open

from featgeom.models import batches, capture, load_model
from featgeom.sae import FeatureSpace
from featgeom.stories import LEXICON, held_out, tell, zoo_path

LAYERS, WIDTHS = {'story-1l': 1, 'story-2l': 2}, (256, 1024, 4096)
SAES = [f'{name}/sae-{width}' for name in LAYERS for width in WIDTHS]
ZOO = zoo_path('story-1l').parent

@pytest.fixture(scope='module')
def models(): return {name: load_model(zoo_path(name), device='cpu') for name in LAYERS}

@pytest.fixture(scope='module')
def activations(models):
    "{model: (token ids (n,), activations (n, d))} at the SAEs' site, on text of a seed that no training used."
    texts, out = tell(700, seed=202), {}
    for name, lm in models.items():
        site, ids, found = f'blocks.{LAYERS[name] - 1}.hook_resid_post', [], []
        for _, batch in batches(lm, texts):
            keep = torch.from_numpy(batch.keep)
            ids.append(batch.input_ids[keep])
            found.append(capture(lm, batch.input_ids, [site], batch.attention_mask)[site][keep])
        out[name] = torch.cat(ids)[:20_000].numpy(), torch.cat(found)[:20_000]
    return out

def test_the_whole_zoo_fits_and_holds_only_boring_files():
    files = [o for o in ZOO.rglob('*') if o.is_file()]
    assert sum(o.stat().st_size for o in files) <= 12e6
    assert {o.suffix for o in files} == {'.json', '.safetensors'}
    assert {str(o.parent.relative_to(ZOO)) for o in files} == {*LAYERS, *SAES}

def test_no_file_tells_of_the_machine_that_made_it():
    for path in ZOO.rglob('*.json'):
        if path.name == 'tokenizer.json': continue
        values = re.findall(r'"([^"]*)"', path.read_text())
        assert not [o for o in values if o.startswith(('/', '~')) or '\\' in o or '@' in o], path

def test_both_models_share_one_tokenizer():
    a, b = ((zoo_path(name)/'tokenizer.json').read_bytes() for name in LAYERS)
    assert a == b

def test_every_word_is_one_token_and_bos_comes_by_itself(models):
    tok = models['story-1l'].tokenizer
    for words in LEXICON.values():
        for word in words: assert len(tok(f' {word}').input_ids) == 2, word
    assert tok('Tom').input_ids[0] == tok.bos_token_id != tok.eos_token_id
    assert tok.pad_token_id not in (tok.bos_token_id, tok.eos_token_id, None) and 1000 <= len(tok) <= 1500

@pytest.mark.parametrize('text', ['', ' ', '🙂👩‍👩‍👧', '</script><img onerror=x>', 'a\r\n\tb  c ', 'dieciséis 中文 \u202e x',
                                  "don't , stop .", '\x00\x7f'])
def test_any_text_survives_the_tokenizer(models, text):
    tok = models['story-1l'].tokenizer
    assert tok.decode(tok(text).input_ids, skip_special_tokens=True) == text

def test_the_files_are_float16_and_the_two_models_differ(models):
    for path in ZOO.rglob('*.safetensors'):
        with safe_open(path, 'pt') as f: assert {f.get_slice(key).get_dtype() for key in f.keys()} == {'F16'}, path
    a, b = (lm.hf.get_input_embeddings().weight.detach() for lm in models.values())
    assert a.dtype == torch.float32 and a.shape == b.shape and abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.1

@pytest.mark.parametrize('name', LAYERS)
def test_they_count_where_nothing_was_shown_before(models, name):
    lm, tests = models[name], held_out(600, seed=204)
    enc = lm.tokenizer([prompt for prompt, _, _ in tests], return_tensors='pt', padding=True, padding_side='right')
    with torch.no_grad(): logits = lm.hf(enc.input_ids, attention_mask=enc.attention_mask).logits
    said = logits[torch.arange(len(tests)), enc.attention_mask.sum(1) - 1].argmax(-1)
    right = np.array([lm.tokenizer.decode([int(i)]) == f' {answer}' for i, (_, answer, _) in zip(said, tests)])
    kinds = np.array([kind for _, _, kind in tests])
    assert right.mean() > 0.9
    for kind in set(kinds): assert right[kinds == kind].mean() > 0.8, (kind, (kinds == kind).sum())

def test_the_bridge_of_transformer_lens_boots_and_agrees(models):
    from transformer_lens.model_bridge import TransformerBridge
    for name, lm in models.items():
        bridge = TransformerBridge.boot_transformers(str(zoo_path(name)), device='cpu', dtype=torch.float32)
        ids = lm.tokenizer('Tom counts from three to nine: three four', return_tensors='pt').input_ids
        site = f'blocks.{LAYERS[name] - 1}.hook_resid_post'
        _, cache = bridge.run_with_cache(ids)
        torch.testing.assert_close(cache[site], capture(lm, ids, [site])[site], atol=1e-4, rtol=1e-4)

@pytest.mark.parametrize('name', SAES)
def test_saes_say_where_they_belong_and_load_in_sae_lens(models, name):
    from sae_lens import SAE
    lens, model = SAE.load_from_disk(zoo_path(name)), name.split('/')[0]
    meta = lens.cfg.metadata
    assert (meta.model_name, meta.hook_name) == (model, f'blocks.{LAYERS[model] - 1}.hook_resid_post')
    assert meta.prepend_bos is True and meta.context_size == models[model].context == 128
    assert lens.W_dec.shape == (int(name.split('-')[-1]), 96) and lens.cfg.device == 'cpu'

@pytest.mark.parametrize('name', SAES)
def test_saes_reconstruct_held_out_text_and_few_features_are_dead(activations, name):
    from sae_lens import SAE
    lens = SAE.load_from_disk(zoo_path(name), dtype='float32')
    _, x = activations[name.split('/')[0]]
    assert len(x) == 20_000
    with torch.no_grad():
        codes = lens.encode(x)
        fvu = float((x - lens.decode(codes)).square().sum() / (x - x.mean(0)).square().sum())
    assert fvu < 0.2 and float((codes > 0).sum(1).float().mean()) <= 32
    if lens.cfg.d_sae <= 1024: assert float((codes > 0).any(0).float().mean()) >= 0.9

@pytest.mark.parametrize('name', [o for o in SAES if not o.endswith('4096')])
def test_some_features_follow_the_context(activations, models, name):
    "Of the features that fire, some vary more among the occurrences of one token than between tokens: by a plain loop."
    ids, x = activations[name.split('/')[0]]
    space = FeatureSpace.load(model=models[name.split('/')[0]], sae=zoo_path(name))
    codes = space.sae.encode(x).detach().double().numpy()
    codes = codes[:, (codes > 0).sum(0) >= 50]
    order = np.argsort(ids, kind='stable')
    groups = np.split(codes[order], np.flatnonzero(np.diff(ids[order])) + 1)
    within = sum(((group - group.mean(0)) ** 2).sum(0) for group in groups)
    share = within / ((codes - codes.mean(0)) ** 2).sum(0)
    assert (share > 0.5).mean() > 0.05 and (share < 0.5).any()
