"Loading, naming, capturing: equality with the library and with TransformerBridge, bad input, no trace left behind."
import copy, json, socket
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from featgeom import models as M
from featgeom.core import FeatgeomError
from featgeom.models import SITE_NAMES, batches, capture, finite, load_model, pad, token_windows


def byte_tokenizer(bos=True, unk='<unk>'):
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {c: i for i, c in enumerate(['<s>', '<unk>', '</s>'] + alphabet)}
    tok = Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token='<unk>'))
    tok.add_special_tokens(['<s>', '<unk>', '</s>'])
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if bos:
        tok.post_processor = processors.TemplateProcessing(single='<s> $A', pair='<s> $A $B',
                                                           special_tokens=[('<s>', 0)])
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tok, bos_token='<s>', eos_token='</s>', unk_token=unk,
                                                pad_token='</s>')


def tiny(kind, layers=3, seed=0, **kw):
    size = dict(vocab_size=259, bos_token_id=0, eos_token_id=2, initializer_range=.3)
    if kind == 'gpt2':
        config = transformers.GPT2Config(n_positions=48, n_embd=16, n_layer=layers, n_head=2, **size, **kw)
    else:
        cls = dict(llama=transformers.LlamaConfig, neox=transformers.GPTNeoXConfig, gemma2=transformers.Gemma2Config,
                   qwen2=transformers.Qwen2Config)[kind]
        if kind == 'gemma2': kw = dict(head_dim=8, **kw)
        if kind != 'neox': kw = dict(num_key_value_heads=1, **kw)
        config = cls(hidden_size=16, intermediate_size=32, num_hidden_layers=layers, num_attention_heads=2,
                     max_position_embeddings=48, **size, **kw)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return transformers.AutoModelForCausalLM.from_config(config).eval()


KINDS = ['llama', 'gpt2', 'neox', 'gemma2', 'qwen2']


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    found = {}
    for kind in KINDS:
        found[kind] = tmp_path_factory.mktemp(kind)
        tiny(kind).save_pretrained(found[kind])
        byte_tokenizer().save_pretrained(found[kind])
    return found


@pytest.fixture(scope='module')
def ids(): return torch.randint(0, 259, (3, 20), generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope='module')
def lm(folders): return load_model(folders['llama'], device='cpu')


def n_hooks(hf): return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in hf.modules())


# ---- the right tensor

def check_hidden_states(lm, ids):
    posts = [f'blocks.{i}.hook_resid_post' for i in range(lm.n_layers)]
    pres = [f'blocks.{i}.hook_resid_pre' for i in range(lm.n_layers)]
    got = capture(lm, ids, posts + pres)
    with torch.no_grad(): hidden = lm.hf(ids, output_hidden_states=True, use_cache=False).hidden_states
    assert len(hidden) == lm.n_layers + 1
    for i in range(lm.n_layers): assert torch.equal(got[pres[i]], hidden[i])
    for i in range(lm.n_layers - 1): assert torch.equal(got[posts[i]], hidden[i + 1])
    assert not torch.allclose(got[posts[-1]], hidden[-1], rtol=.1, atol=.1)
    return got[posts[-1]], hidden[-1]


@pytest.mark.parametrize('kind', KINDS)
def test_hidden_states_entry_after_the_block_is_resid_post_except_the_last(folders, ids, kind):
    lm = load_model(folders[kind], device='cpu')
    last, hidden = check_hidden_states(lm, ids)
    norm = dict(gpt2='transformer.ln_f', neox='gpt_neox.final_layer_norm').get(kind, 'model.norm')
    with torch.no_grad(): assert torch.allclose(lm.hf.get_submodule(norm)(last), hidden, atol=1e-5)


@pytest.mark.parametrize('name', ['stories260k', 'llama2xs'])
def test_hidden_states_of_real_models(test_data, name):
    lm = load_model(test_data / 'models' / name, device='cpu')
    text = json.loads((test_data / 'text/tinystories_1000.json').read_text())[0]
    last, hidden = check_hidden_states(lm, torch.tensor([lm.tokenizer(text).input_ids[:64]]))
    with torch.no_grad(): assert torch.allclose(lm.hf.model.norm(last), hidden, atol=1e-5)


def check_bridge(folder, ids):
    "Every site of ours holds what TransformerBridge caches under the same name."
    from transformer_lens.model_bridge import TransformerBridge
    lm = load_model(folder, device='cpu')
    ours = capture(lm, ids, lm.sites())
    bridge = TransformerBridge.boot_transformers(str(folder), device='cpu')
    _, cache = bridge.run_with_cache(ids)
    names = bridge.hook_dict
    for site, x in ours.items():
        theirs = cache[names[site].name]
        theirs = theirs.flatten(2) if theirs.ndim == 4 else theirs
        assert torch.allclose(x, theirs, rtol=1e-4, atol=1e-4 * float(theirs.abs().max())), site
    return ours


@pytest.mark.parametrize('kind', KINDS)
def test_sites_equal_transformer_bridge(folders, ids, kind):
    ours = check_bridge(folders[kind], ids)
    kinds = {site.split('.', 2)[2] for site in ours}
    absent = {'hook_resid_mid'} if kind == 'neox' else set()    # a parallel block has no middle
    assert kinds == set(SITE_NAMES) - absent


@pytest.mark.parametrize('name', ['stories260k', 'llama2xs'])
def test_sites_of_real_models_equal_transformer_bridge(test_data, name):
    check_bridge(test_data / 'models' / name, torch.randint(3, 500, (2, 40), generator=torch.Generator().manual_seed(2)))


@pytest.mark.parametrize('kind', ['llama', 'gpt2'])
def test_written_out_layouts_equal_the_bridges(folders, kind):
    lm = load_model(folders[kind], device='cpu')
    architecture = type(lm.hf).__name__
    assert M._KNOWN[architecture] == M._bridge_layout(lm.hf.config, architecture)


def test_bridges_own_names_mean_the_same_sites(lm):
    assert lm.site('blocks.1.hook_out') == 'blocks.1.hook_resid_post'
    assert lm.site('blocks.1.attn.o.hook_in') == 'blocks.1.attn.hook_z'
    x = capture(lm, torch.tensor([[1, 2, 3]]), ['blocks.1.hook_out', 'blocks.1.hook_resid_post'])
    assert torch.equal(x['blocks.1.hook_out'], x['blocks.1.hook_resid_post'])


def test_several_sites_in_one_pass_equal_each_alone(lm, ids):
    together = capture(lm, ids, lm.sites())
    for site in lm.sites(): assert torch.equal(capture(lm, ids, [site])[site], together[site])


def test_the_pass_stops_at_the_last_site(lm, ids):
    ran = []
    layers = enumerate(lm.hf.model.layers)
    handles = [layer.register_forward_pre_hook(lambda m, a, i=i: ran.append(i)) for i, layer in layers]
    try: capture(lm, ids, ['blocks.1.hook_resid_post', 'blocks.0.hook_mlp_out'])
    finally:
        for h in handles: h.remove()
    assert ran == [0, 1]


def test_widths(folders):
    lm = load_model(folders['gemma2'], device='cpu')
    assert {s: lm.width(f'blocks.0.{s}') for s in ('hook_resid_post', 'mlp.hook_post', 'attn.hook_z')} == {
        'hook_resid_post': 16, 'mlp.hook_post': 32, 'attn.hook_z': 16}


def test_captured_memory_is_not_the_models_own(lm, ids):
    before = capture(lm, ids, ['blocks.0.hook_resid_post'])['blocks.0.hook_resid_post']
    late = lm.hf.model.layers[1].register_forward_pre_hook(lambda m, a: a[0].add_(1))    # adds to it in place
    try: both = capture(lm, ids, ['blocks.0.hook_resid_post', 'blocks.1.hook_resid_pre', 'blocks.2.hook_resid_post'])
    finally: late.remove()
    assert torch.equal(both['blocks.0.hook_resid_post'], before)
    assert torch.equal(both['blocks.1.hook_resid_pre'], before + 1)


# ---- no trace

@pytest.mark.parametrize('error', [RuntimeError, KeyboardInterrupt])
def test_hooks_come_off_and_modes_come_back_after_an_error(folders, ids, error):
    hf = tiny('gpt2')
    lm = load_model(hf, byte_tokenizer())
    hf.train()
    hf.transformer.h[0].eval()
    modes, before = [m.training for m in hf.modules()], n_hooks(hf)
    def bomb(*_): raise error
    handle = hf.transformer.h[1].register_forward_pre_hook(bomb)
    with pytest.raises(error): capture(lm, ids, ['blocks.2.hook_resid_post', 'blocks.0.hook_resid_post'])
    handle.remove()
    assert n_hooks(hf) == before and [m.training for m in hf.modules()] == modes
    got = capture(lm, ids, ['blocks.2.hook_resid_post'])['blocks.2.hook_resid_post']
    assert n_hooks(hf) == before and [m.training for m in hf.modules()] == modes
    assert torch.equal(got,
                       capture(load_model(hf.eval(), byte_tokenizer()), ids,
                               ['blocks.2.hook_resid_post'])['blocks.2.hook_resid_post'])
    assert not got.requires_grad


def test_naming_sites_leaves_the_model_alone(folders):
    hf = tiny('neox')
    before = [(name, type(m)) for name, m in hf.named_modules()]
    load_model(hf, byte_tokenizer()).sites()
    assert [(name, type(m)) for name, m in hf.named_modules()] == before


# ---- loading

def test_a_folder_asks_nothing_of_the_network(folders, monkeypatch):
    def refuse(*a, **kw): raise AssertionError('network')
    monkeypatch.setattr(socket.socket, 'connect', refuse)
    monkeypatch.setattr(socket, 'getaddrinfo', refuse)
    lm = load_model(str(folders['llama']), device='cpu')
    assert lm.name == folders['llama'].name and lm.context == 48 and lm.prefix == (0,)


def test_hash_tells_configurations_of_equal_weights_apart(folders, lm):
    hf = copy.deepcopy(lm.hf)
    hf.config.rms_norm_eps = 1e-3
    assert load_model(hf, byte_tokenizer()).hash != lm.hash

def test_hash_is_of_the_content_alone(folders, lm):
    assert len(lm.hash) == 64 and lm.hash == load_model(folders['llama'], device='cpu').hash
    assert lm.hash != load_model(tiny('llama', seed=1), byte_tokenizer()).hash
    hf = tiny('llama')
    assert load_model(hf, byte_tokenizer()).hash == lm.hash
    with torch.no_grad(): hf.model.norm.weight[3] += 1e-6
    assert load_model(hf, byte_tokenizer()).hash != lm.hash


def test_float16_files_load_as_float32(tmp_path):
    tiny('llama').half().save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    lm = load_model(tmp_path, device='cpu')
    assert {p.dtype for p in lm.hf.parameters()} == {torch.float32}
    assert {p.dtype for p in load_model(tmp_path, device='cpu', dtype='auto').hf.parameters()} == {torch.float16}


def test_missing_folder_is_named():
    with pytest.raises(FeatgeomError, match='No folder /no/such/model'): load_model('/no/such/model')
    with pytest.raises(FeatgeomError, match='No folder'): load_model('./nothing here')


def copy_of(folder, to, leave_out=()):
    for o in Path(folder).iterdir():
        if o.name not in leave_out: (to / o.name).write_bytes(o.read_bytes())


def test_pickled_weights_are_refused_unread(folders, tmp_path):
    copy_of(folders['llama'], tmp_path, ['model.safetensors'])
    ran = tmp_path / 'ran'
    class Evil:
        def __reduce__(self): return (open, (str(ran), 'w'))
    import pickle
    (tmp_path / 'pytorch_model.bin').write_bytes(pickle.dumps(Evil()))
    with pytest.raises(FeatgeomError, match='pickled.*can run any code'): load_model(tmp_path)
    assert not ran.exists()


@pytest.mark.parametrize('missing, says',
                         [('config.json', 'no config.json'), ('model.safetensors', 'no weights'),
                          ('tokenizer.json', 'tokenizer')])
def test_incomplete_folders_say_what_is_missing(folders, tmp_path, missing, says):
    copy_of(folders['llama'], tmp_path,
            [missing, 'tokenizer_config.json'] if missing == 'tokenizer.json' else [missing])
    with pytest.raises(FeatgeomError, match=says): load_model(tmp_path)


def test_weights_that_do_not_fill_the_model_are_refused(folders, tmp_path):
    from safetensors.torch import load_file, save_file
    copy_of(folders['llama'], tmp_path)
    weights = load_file(tmp_path / 'model.safetensors')
    lost = weights.pop('model.layers.1.mlp.down_proj.weight')
    save_file(weights, tmp_path / 'model.safetensors', metadata={'format': 'pt'})
    with pytest.raises(FeatgeomError, match='do not fill the model: model.layers.1.mlp.down_proj'): load_model(tmp_path)
    save_file({**weights, 'model.layers.1.mlp.down_proj.weight': lost[:, :5].contiguous()},
              tmp_path / 'model.safetensors', metadata={'format': 'pt'})
    with pytest.raises(FeatgeomError): load_model(tmp_path)


def test_damaged_weights_are_refused(folders, tmp_path):
    copy_of(folders['llama'], tmp_path)
    whole = (tmp_path / 'model.safetensors').read_bytes()
    for broken in (whole[:len(whole) // 2], b'\xff' * 64, b''):
        (tmp_path / 'model.safetensors').write_bytes(broken)
        with pytest.raises(FeatgeomError): load_model(tmp_path)


@pytest.mark.parametrize('bad', [float('nan'), float('inf')])
def test_non_finite_weights_are_named(bad):
    hf = tiny('llama')
    with torch.no_grad(): hf.model.layers[2].mlp.up_proj.weight[1, 1] = bad
    with pytest.raises(FeatgeomError, match='model.layers.2.mlp.up_proj.weight'): load_model(hf, byte_tokenizer())


def test_finite_passes_large_values_and_finds_nan():
    x = torch.full((4, 4), 3e38)
    assert finite(x, 'x') is x
    x[0, 0] = float('nan')
    with pytest.raises(FeatgeomError, match='1 of 16 values are NaN or Inf in x'): finite(x, 'x')


def test_code_in_a_folder_is_not_run(folders, tmp_path):
    copy_of(folders['llama'], tmp_path)
    config = json.loads((tmp_path / 'config.json').read_text())
    config.update(model_type='mine', auto_map={'AutoConfig': 'evil.Config', 'AutoModelForCausalLM': 'evil.Model'})
    (tmp_path / 'config.json').write_text(json.dumps(config))
    (tmp_path / 'evil.py').write_text(f'open({str(tmp_path / "ran")!r}, "w")')
    with pytest.raises(FeatgeomError): load_model(tmp_path)
    assert not (tmp_path / 'ran').exists()


def test_loaded_models_are_left_where_they_are():
    hf = tiny('llama')
    with pytest.raises(FeatgeomError, match='without its tokenizer'): load_model(hf)
    with pytest.raises(FeatgeomError, match='left as it is'): load_model(hf, byte_tokenizer(), dtype=torch.float16)
    with pytest.raises(FeatgeomError, match='A folder, a hub name'): load_model(3)


def test_unknown_sites_name_the_nearest(lm, ids):
    with pytest.raises(FeatgeomError, match='blocks.1.hook_resid_post'): capture(lm, ids, ['blocks.1.hook_resid_psot'])
    with pytest.raises(FeatgeomError, match='blocks.2'): capture(lm, ids, ['blocks.3.hook_resid_post'])
    with pytest.raises(FeatgeomError, match='No sites'): capture(lm, ids, [])


@pytest.mark.parametrize('bad',
                         [torch.tensor([[300]]), torch.tensor([[-1]]), torch.tensor([1, 2]), torch.zeros(0, 4).long()])
def test_bad_ids_are_refused(lm, bad):
    with pytest.raises(FeatgeomError, match='0..258'): capture(lm, bad, ['blocks.0.hook_resid_post'])


def test_an_architecture_that_the_bridge_does_not_know_is_refused():
    class Odd(torch.nn.Module): pass
    with pytest.raises(FeatgeomError, match='OddForCausalLM'):
        M._bridge_layout(transformers.LlamaConfig(), 'OddForCausalLM')


# ---- windows

def spelled(windows, texts):
    return [(texts[w.doc][a:b]) for w in windows for a, b, k in zip(w.start, w.end, w.keep) if k]


def test_nothing_is_cut_and_every_window_begins_with_bos(lm):
    texts = ['short', '', 'long ' * 40, 'x', 'ünï 👩‍🚀 </script><img onerror=...>']
    for context in (5, 17, None):
        windows = list(token_windows(lm, texts, context))
        assert all(len(w.ids) <= (context or 48) for w in windows)
        assert all(w.ids[0] == 0 and not w.keep[0] and w.pos[0] == w.start[0] == -1 for w in windows)
        for i, text in enumerate(texts):
            own = [w for w in windows if w.doc == i]
            ids = np.concatenate([w.ids[1:] for w in own]) if own else np.zeros(0, int)
            assert ids.tolist() == lm.tokenizer(text, add_special_tokens=False).input_ids
            pos = np.concatenate([w.pos[w.keep] for w in own]) if own else np.zeros(0, int)
            assert pos.tolist() == list(range(len(ids)))


def test_offsets_are_characters_also_behind_an_emoji(lm):
    text = 'é🌧x'
    w, = token_windows(lm, [text])
    spans = list(zip(w.start[1:].tolist(), w.end[1:].tolist()))
    assert spans == [(0, 1)] * 2 + [(1, 2)] * 4 + [(2, 3)]


def test_texts_are_read_lazily_and_from_any_iterable(lm):
    seen = []
    def texts():
        for i in range(1000):
            seen.append(i)
            yield 'abc'
    next(token_windows(lm, texts()))
    assert 0 < len(seen) < 200
    assert len(list(token_windows(lm, ('a' for _ in range(150))))) == 150


def test_special_tokens_in_a_text_are_not_kept(lm):
    w, = token_windows(lm, ['ab</s>cd'])
    assert w.keep.tolist() == [False, True, True, False, True, True] and w.pos.tolist() == [-1, 0, 1, -1, 2, 3]


def test_the_unknown_token_stands_for_text_unless_it_is_special_otherwise():
    kept = load_model(tiny('llama'), byte_tokenizer())
    assert {0, 2} == M.special_ids(kept.tokenizer)
    same = load_model(tiny('llama'), byte_tokenizer(unk='</s>'))
    assert {0, 2} == M.special_ids(same.tokenizer)


def test_a_tokenizer_that_adds_no_bos_gets_none_unless_asked():
    assert load_model(tiny('llama'), byte_tokenizer(bos=False)).prefix == ()
    assert load_model(tiny('llama'), byte_tokenizer(bos=False), bos=True).prefix == (0,)
    assert load_model(tiny('llama'), byte_tokenizer(), bos=True).prefix == (0,)
    assert load_model(tiny('llama'), byte_tokenizer(), bos=False).prefix == ()
    w, = token_windows(load_model(tiny('llama'), byte_tokenizer(bos=False)), ['ab'])
    assert w.keep.all() and w.pos.tolist() == [0, 1]


@pytest.mark.parametrize('texts, says',
                         [('one', r'Pass \[text\]'), ([], 'No token'), (['', ''], 'No token'),
                          (['a', 3], r'texts\[1\] is a int'),
                                         ([None], 'NoneType'), (['\ud83d'], 'surrogate'), (['</s>'], 'No token')])
def test_bad_texts(lm, texts, says):
    with pytest.raises(FeatgeomError, match=says): list(token_windows(lm, texts))


@pytest.mark.parametrize('context', [1, 0, -3, 49, 2.5])
def test_bad_contexts(lm, context):
    with pytest.raises(FeatgeomError, match='2 to 48'): token_windows(lm, ['a'], context)


def test_a_model_without_context_asks_for_one():
    lm = load_model(tiny('llama'), byte_tokenizer())
    lm.context = None
    with pytest.raises(FeatgeomError, match='names no context'): token_windows(lm, ['a'])
    assert len(list(token_windows(lm, ['abc'], context=2))) == 3


def test_slow_tokenizers_are_refused():
    class Slow: is_fast = False
    with pytest.raises(FeatgeomError, match='no character offsets'): load_model(tiny('llama'), Slow())


def test_padding_changes_nothing_for_real_tokens(folders):
    for kind in ('llama', 'gpt2'):
        lm = load_model(folders[kind], device='cpu')
        texts = ['a', 'something longer', 'x' * 60]
        site = f'blocks.{lm.n_layers - 1}.hook_resid_post'
        (windows, batch), = batches(lm, texts, batch=8)
        got = capture(lm, batch.input_ids, [site], batch.attention_mask)[site]
        for i, w in enumerate(windows):
            alone = capture(lm, torch.from_numpy(w.ids[None]), [site])[site][0]
            assert torch.allclose(got[i, :len(w.ids)], alone, rtol=1e-4, atol=1e-4)
        assert batch.keep.sum() == sum(len(t.encode()) for t in texts)


def test_batches_hold_windows_in_order(lm):
    texts = [f'text {i}' for i in range(10)]
    groups = list(batches(lm, texts, batch=4))
    assert [len(g) for g, _ in groups] == [4, 4, 2] and [w.doc for g, _ in groups for w in g] == list(range(10))
    with pytest.raises(FeatgeomError, match='No windows'): pad([])
