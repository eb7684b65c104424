"Logit effects: against finite differences through real norms and heads, by hand, on every kind of model, and where they are refused."
import copy

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, Gemma2Config, GPT2Config, LlamaConfig

import featgeom as fg
from featgeom.core import FeatgeomError
from featgeom.features import token_strings
from featgeom.logits import SITES, LogitEffects, _arrival, _final_norm, logit_effects, norm_gain
from featgeom.models import load_model

V = 1268

@pytest.fixture(scope='module')
def tokenizer(): return load_model(fg.zoo_path('story-1l')).tokenizer

def tiny(kind, tokenizer, d=16, vocab=V, layers=2):
    "A random model with norms and biases that are not 1 and 0."
    common = dict(vocab_size=vocab, tie_word_embeddings=False)
    config = dict(
        llama=lambda: LlamaConfig(hidden_size=d, intermediate_size=2*d, num_hidden_layers=layers, num_attention_heads=2, max_position_embeddings=64, **common),
        gpt2=lambda: GPT2Config(n_embd=d, n_layer=layers, n_head=2, n_positions=64, **common),
        gemma2=lambda: Gemma2Config(hidden_size=d, intermediate_size=2*d, num_hidden_layers=layers, num_attention_heads=2, num_key_value_heads=2,
                                    head_dim=8, max_position_embeddings=64, **common))[kind]()
    with torch.random.fork_rng():
        torch.manual_seed(3)
        hf = AutoModelForCausalLM.from_config(config).eval()
        for name, value in hf.named_parameters():
            if value.ndim == 1: value.data += .5*torch.randn(value.shape)
            else: value.data *= 3
    return load_model(hf, tokenizer)

def space_of(model, site, f=12, seed=0):
    "A space with random decoder rows at a site; row 7 is zero."
    rng, d = np.random.default_rng(seed), model.width(site)
    rows = rng.normal(size=(f, d)).astype(np.float32)*rng.uniform(.2, 5, (f, 1)).astype(np.float32)
    rows[7] = 0
    return fg.FeatureSpace.load(model, dict(W_enc=rows.T.copy(), W_dec=rows, b_enc=np.zeros(f, np.float32), b_dec=np.zeros(d, np.float32)), site, 'tiny')

def whole(effects, i):
    "The effects of one feature on all tokens, in the order of ids."
    out = np.full(effects.n_vocab, np.nan)
    out[effects.up[i]] = effects.up_effect[i]
    return out

def by_difference(model, norm, w, centred, seed=99):
    "Change of the logits per unit of w at a stream x, through norm and head in float64, times the norm's scale there."
    norm, head = (copy.deepcopy(o).double() for o in (norm, model.hf.get_output_embeddings()))
    x, w = torch.from_numpy(np.random.default_rng(seed).normal(size=(1, len(w)))*20), torch.from_numpy(w).double()
    plain = w - w.mean() if centred else w
    x = x - (x @ plain)[:, None]*plain/(plain @ plain)        # so that w does not change the scale of x
    spread = (x - x.mean() if centred else x).pow(2).mean().sqrt()
    step = .1                                                  # norms of transformers compute in float32, whatever goes in
    with torch.no_grad(): change = (head(norm(x + step*w)) - head(norm(x - step*w)))[0]/2/step*spread
    return (change - change[:V].mean())[:V].numpy()

@pytest.mark.parametrize('kind, centred', [('llama', False), ('gpt2', True), ('gemma2', False)])
def test_effects_are_what_norm_and_head_do(kind, centred, tokenizer):
    model = tiny(kind, tokenizer)
    norm, head, plain = _final_norm(model)
    assert plain == (kind != 'gemma2'), 'Gemma 2 caps its logits'
    assert norm_gain(norm, 16)[1] == centred
    space = space_of(model, 'blocks.1.hook_resid_post')
    effects = logit_effects(space, k=V)
    assert ('soft cap' in effects.note) == (kind == 'gemma2') and 'direct path' not in effects.note
    for i in (0, 3, 11):
        w = space.sae.W_dec[i].numpy()/np.linalg.norm(space.sae.W_dec[i].numpy())
        wanted = by_difference(model, norm, w, centred)
        np.testing.assert_allclose(whole(effects, i), wanted, rtol=1e-3, atol=2e-3*np.abs(wanted).max())
        assert (effects.up_effect[i] == -np.sort(-effects.up_effect[i])).all() and (effects.down[i][::-1] == effects.up[i])[[0, -1]].all()
        centre = wanted - wanted.mean()
        assert effects.skew[i] == pytest.approx((centre**3).mean()/(centre**2).mean()**1.5, abs=2e-2)
        assert effects.kurtosis[i] == pytest.approx((centre**4).mean()/(centre**2).mean()**2, rel=2e-2)

@pytest.mark.parametrize('name', ['story-1l', 'story-2l', 'stories260k', 'babyllama105'])
def test_effects_on_trained_models(name, request):
    story = name.startswith('story-')
    model = load_model(fg.zoo_path(name) if story else request.getfixturevalue('test_data')/'models'/name)
    last = f'blocks.{model.n_layers - 1}.hook_resid_post'
    space = fg.FeatureSpace.load(model, fg.zoo_path(f'{name}/sae-256')) if story else space_of(model, last)
    norm, head, plain = _final_norm(model)
    assert plain and not norm_gain(norm, space.d)[1]
    effects = logit_effects(space, k=model.hf.get_output_embeddings().weight.shape[0])
    w = space.sae.W_dec[5].numpy()
    np.testing.assert_allclose(whole(effects, 5), difference_on(model, norm, w/np.linalg.norm(w)), rtol=1e-3, atol=1e-3)
    assert effects.up_text[5, 0] == token_strings(model.tokenizer, effects.up[5, :1])[0]

def difference_on(model, norm, w):
    "`by_difference` of an RMSNorm and all rows of the head."
    global V
    before, V = V, model.hf.get_output_embeddings().weight.shape[0]
    try: return by_difference(model, norm, w, False)
    finally: V = before

def test_by_hand(tokenizer):
    model = tiny('llama', tokenizer, d=4)
    with torch.no_grad():
        model.hf.model.norm.weight[:] = torch.tensor([3., 2, 1, 1])
        model.hf.lm_head.weight.zero_()
        model.hf.lm_head.weight[10, 0] = V                               # so that the mean over the vocabulary is easy
        model.hf.lm_head.weight[20, 1] = -V
    rows = np.array([[6, 8, 0, 0], [0, 0, 5, 0], [0, -2, 0, 0]], np.float32)
    weights = dict(W_enc=rows.T.copy(), W_dec=rows, b_enc=np.zeros(3, np.float32), b_dec=np.zeros(4, np.float32))
    effects = logit_effects(fg.FeatureSpace.load(model, weights, 'blocks.1.hook_resid_post'), k=1)
    # unit rows (.6, .8) and (0, -1), gains (3, 2): 1.8 V on token 10 and -1.6 V on token 20; the mean is .2, and 2 of the last
    assert effects.up[:, 0].tolist() == [10, 0, 20] and effects.down[0, 0] == 20
    np.testing.assert_allclose(effects.up_effect[:, 0], [1.8*V - .2, 0, 2*V - 2], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(effects.down_effect[:, 0], [-1.6*V - .2, 0, -2], rtol=1e-5, atol=1e-5)
    assert np.isnan(effects.kurtosis[1]) and effects.kurtosis[2] == pytest.approx(V, rel=.01)

def test_sites_that_write_to_the_stream_and_others(tokenizer):
    for kind in ('llama', 'gpt2'):
        model = tiny(kind, tokenizer)
        for site in SITES:
            note = logit_effects(space_of(model, f'blocks.1.{site}'), k=2).note
            assert note.startswith('The direct path only') == (site not in ('hook_resid_post', 'hook_mlp_out')), (kind, site)
            assert logit_effects(space_of(model, f'blocks.0.{site}'), k=2).note.startswith('The direct path only')
        for site in ('attn.hook_z', 'mlp.hook_post'):
            with pytest.raises(FeatgeomError, match='read inside a block.*hook_resid_post'): logit_effects(space_of(model, f'blocks.1.{site}'))

def test_what_blocks_write_is_read_behind_their_own_norms(tokenizer):
    model = tiny('gemma2', tokenizer)                                     # here hook_mlp_out is what is added, norm and all
    for site in SITES: assert logit_effects(space_of(model, f'blocks.0.{site}'), k=2).n_vocab == V
    norm = _final_norm(model)[0]
    before = copy.deepcopy(model._site_places())
    for site, module in dict(hook_mlp_out='mlp', hook_attn_out='self_attn').items():      # and before that norm
        model._site_places()[f'blocks.0.{site}'] = before[f'blocks.0.{site}']._replace(module=f'model.layers.0.{module}')
        assert _arrival(model, f'blocks.0.{site}', norm) > .9
        with pytest.raises(FeatgeomError, match='does not arrive at the final norm'): logit_effects(space_of(model, f'blocks.0.{site}'))

def test_a_rescaled_branch_is_refused(tokenizer):
    model = tiny('llama', tokenizer)
    class Half(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner
        def forward(self, x): return .5*self.inner(x)
    norm = _final_norm(model)[0]
    assert _arrival(model, 'blocks.0.hook_mlp_out', norm) < .05
    model.hf.model.layers[0].mlp = Half(model.hf.model.layers[0].mlp)
    assert _arrival(model, 'blocks.0.hook_resid_post', norm) < .05
    inside = load_model(model.hf, tokenizer)
    inside._site_places()['blocks.0.hook_mlp_out'] = inside._site_places()['blocks.0.hook_mlp_out']._replace(module='model.layers.0.mlp.inner')
    assert _arrival(inside, 'blocks.0.hook_mlp_out', norm) == pytest.approx(.5, abs=.05)

def test_neurons_other_endings_and_bad_input(tokenizer):
    model = tiny('llama', tokenizer)
    with pytest.raises(FeatgeomError, match='neurons'): logit_effects(fg.FeatureSpace.load(model, site='blocks.1.hook_resid_post'))
    space = space_of(model, 'blocks.1.hook_resid_post')
    for ids in ([3, 12], [-1], [.5], [[1]], 'x'):
        with pytest.raises(FeatgeomError): logit_effects(space, ids)
    with pytest.raises(FeatgeomError, match='nearest: 11'): logit_effects(space, [3, 12])
    with pytest.raises(FeatgeomError, match='At most'): logit_effects(space, k=V + 1)
    with pytest.raises(FeatgeomError): logit_effects('space')
    for what in (dict(k=0), dict(draws=0), dict(seed=None)):
        with pytest.raises(FeatgeomError): logit_effects(space, **what)
    model.hf.model.norm = torch.nn.Tanh()
    with pytest.raises(FeatgeomError, match='no norm'): logit_effects(space)

@pytest.mark.parametrize('norm, centred', [(torch.nn.RMSNorm(33), False), (torch.nn.LayerNorm(33), True)])
def test_gains_of_norms(norm, centred):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for value in norm.parameters(): value.data = torch.randn(value.shape)
    gain, found = norm_gain(norm, 33)
    assert found == centred
    torch.testing.assert_close(gain, norm.weight.detach(), rtol=1e-3, atol=1e-3)

def test_dead_rows_some_features_and_one_random_seed(tokenizer):
    space = space_of(tiny('llama', tokenizer), 'blocks.1.hook_resid_post')
    effects, some = logit_effects(space, k=3), logit_effects(space, [9, 7, 2], k=3)
    assert (effects.up[7] == -1).all() and np.isnan(effects.up_effect[7]).all() and (effects.down_text[7] == '').all()
    assert np.isnan([effects.skew[7], effects.kurtosis[7]]).all() and np.isfinite(np.delete(effects.kurtosis, 7)).all()
    assert some.ids.tolist() == [9, 7, 2] and (some.up == effects.up[[9, 7, 2]]).all()
    np.testing.assert_allclose(some.up_effect, effects.up_effect[[9, 7, 2]], rtol=1e-5)
    assert some.chance_effect == effects.chance_effect != logit_effects(space, k=3, seed=1).chance_effect
    none = logit_effects(space, [], k=3)
    assert none.up.shape == (0, 3) and not len(none.table()) and none.chance_effect == effects.chance_effect
    table = effects.table()
    assert len(table) == 12*6 and table.groupby('way').effect.mean()['up'] > 0
    assert table[(table.feature == 3) & (table.way == 'down')].token_id.tolist() == effects.down[3].tolist()
    assert isinstance(effects, LogitEffects) and 'kurtosis=12' in repr(effects)

def test_chance_is_what_random_features_have(tokenizer):
    space = space_of(tiny('llama', tokenizer), 'blocks.1.hook_resid_post', f=400, seed=5)
    effects = logit_effects(space, k=1)
    beyond = np.maximum(effects.up_effect, -effects.down_effect)[:, 0] > effects.chance_effect
    assert .01 < beyond.mean() < .12 and .01 < (effects.kurtosis > effects.chance_kurtosis).mean() < .12

def test_ids_that_the_tokenizer_does_not_know_are_no_tokens(tokenizer):
    model = tiny('llama', tokenizer, vocab=V + 60)
    with torch.no_grad(): model.hf.lm_head.weight[V:] *= 1000
    effects = logit_effects(space_of(model, 'blocks.1.hook_resid_post'), k=5)
    assert effects.n_vocab == V and effects.up.max() < V and effects.down.max() < V and abs(effects.up_effect[0, 0]) < 100

def test_the_model_is_left_as_it_was(tokenizer):
    model = tiny('llama', tokenizer)
    model.hf.model.layers[0].train()
    before = {name: value.clone() for name, value in model.hf.state_dict().items()}
    logit_effects(space_of(model, 'blocks.0.hook_mlp_out'), k=2)
    assert model.hf.model.layers[0].training and not model.hf.model.layers[1].training
    assert not any(o._forward_hooks or o._forward_pre_hooks for o in model.hf.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.hf.state_dict().items())

@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_models_of_half_precision(dtype):
    path, sae = fg.zoo_path('story-1l'), fg.zoo_path('story-1l/sae-256')
    half, full = (logit_effects(fg.FeatureSpace.load(path, sae, dtype=o), k=1) for o in (dtype, torch.float32))
    assert (half.up == full.up).mean() > .95
    np.testing.assert_allclose(half.up_effect, full.up_effect, rtol=.02)

def test_steering_raises_the_tokens_that_are_named():
    space = fg.FeatureSpace.load(fg.zoo_path('story-2l'), fg.zoo_path('story-2l/sae-256'))
    model, effects = space.model, logit_effects(space, k=5)
    ids = model.tokenizer('Once upon a time there was a king in a castle.', return_tensors='pt').input_ids
    place = model._site_places()[space.site]
    right = []
    for j in np.argsort(-effects.kurtosis)[:20]:
        row = space.sae.W_dec[j]/space.sae.W_dec[j].norm()
        def steer(module, args, out): return (out[0] + 2*row, *out[1:]) if isinstance(out, tuple) else out + 2*row
        with torch.no_grad():
            before = model.hf(ids).logits[0]
            handle = model.hf.get_submodule(place.module).register_forward_hook(steer)
            try: after = model.hf(ids).logits[0]
            finally: handle.remove()
        change = (after - before).mean(0)
        right.append((change[effects.up[j].tolist()].mean() > change.mean() + 2*change.std()).item())
    assert np.mean(right) > .9

@pytest.mark.slow
def test_a_large_vocabulary_in_bounded_memory():
    from featgeom.logits import _effects
    import tracemalloc
    weight, rows = torch.randn(100_000, 32), torch.randn(3000, 32)
    tracemalloc.start()
    _effects(rows, weight, lambda o: o, 10)
    assert tracemalloc.get_traced_memory()[1] < 2**28
    tracemalloc.stop()
