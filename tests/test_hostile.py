"""Files of strangers: thousands of mutated ones against every door that opens a file, arbitrary bytes and JSON, paths that lead out.

What may happen: a sane object, or a FeatgeomError. What may not: another error, a panic, a crash, a hang, code that runs, a look outside the folder, memory beyond
what the files declare. A failure prints how to run its case again."""
import json, os, pickle, shutil

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import hostile
from featgeom.acts import FeatureActs
from featgeom.core import FeatgeomError, check_file, foreign, read_arrays, read_json, write_arrays, write_bytes, write_json

SLOW = dict(sae_topk=900, sae_jumprelu=500, sae_gated=400, sae_old_cfg=600, sae_raw=800, sae_sparsify=600, sae_dictionary_topk=400, sae_dictionary=200,
            sae_dictionary_batchtopk=300, sae_gemma=400, sae_gemma_2=300, store=1400, store_dense=700, store_half=500, store_indexed=600, pairs=900, embedding=600, texts=700,
            texts_packed=300, parquet=400, delphi=500,
            tokenizer_bpe=500, tokenizer_unigram=300, tokenizer_wordpiece=200, model_llama=400, model_gpt2=300, model_sharded=200, space=300)

def test_every_target_is_counted_and_the_counts_are_what_is_promised():
    assert set(SLOW) == set(hostile.TARGETS)
    assert sum(SLOW.values()) >= 10_000 and sum(o//20 for o in SLOW.values()) >= 500

def check(ends, failures, cases):
    "No failure; every case came to an end; no door lets everything in (that it opens at all is seen before the first case)."
    told = '\n'.join(f'  python tests/hostile.py {name} /tmp/hostile {number}    # {what}: {how}' for name, number, what, how in failures[:40])
    assert not failures, f'{len(failures)} of {len(cases)} cases failed:\n{told}'
    assert sum(ends.values()) == len(cases)
    for name in {o for o, _ in cases}: assert ends.get(f'{name} refused', 0), f'{name} refused nothing'

def test_some_mutated_files(tmp_path):
    cases = [(name, 20*i) for name in SLOW for i in range(SLOW[name]//20)]
    check(*hostile.campaign(tmp_path/'x', cases), cases)

@pytest.mark.slow
@pytest.mark.parametrize('name', SLOW)
def test_mutated_files(name, tmp_path):
    cases = [(name, i) for i in range(SLOW[name])]
    check(*hostile.campaign(tmp_path/'x', cases), cases)

def test_the_engine_notices_what_it_is_for(tmp_path, monkeypatch):
    "Doors that crash, hang, panic, eat memory, run code, look outside or load nonsense are all found."
    script = tmp_path/'bad.py'
    script.write_text(f'import sys; sys.path.insert(0, {os.path.dirname(hostile.__file__)!r})\n' + '''
import hostile, json, os, time, pathlib, pickle, sys
def good(folder): (folder/'a.json').write_text('{"a": [1, 2, 3]}')
def door(folder):
    root = folder.parent.parent
    which = json.loads((root/'cases').read_text())[int((root/'at').read_text())][1] if (root/'at').exists() else 0
    if which == 1: raise KeyError('a')
    if which == 2: os.abort()
    if which == 3: time.sleep(60)
    if which == 4: return len(b'x'*(250*2**20))
    if which == 5: return pickle.loads(pickle.dumps(hostile.Canary(str(folder.parent.parent/'outside'/'canary'))))
    if which == 6: return (folder.parent.parent/'outside'/'secret').read_text()
    if which == 7: raise type('PanicException', (BaseException,), {})('index out of bounds')
    if which == 8: return bytearray(2**40)
hostile.TARGETS['bad'] = dict(door=door, make=good, keep=(), change=hostile.mutate)
hostile.SECONDS = 6
if sys.argv[1:2] == ['work']: hostile.work(pathlib.Path(sys.argv[2]), __import__('json').loads((pathlib.Path(sys.argv[2])/'cases').read_text()))
''')
    monkeypatch.setattr(hostile, '__file__', str(script))
    ends, failures = hostile.campaign(tmp_path/'x', [('bad', i) for i in range(9)])
    found = {i: how for _, i, _, how in failures}
    for i, word in enumerate(('KeyError', 'ended the process', 'hung', 'memory grew', 'pickle', 'outside', 'PanicException', 'MemoryError'), 1):
        assert word in found.get(i, 'nothing'), f'case {i} should have been found: {word}, not {found.get(i)}'
    assert 0 not in found and ends['bad loaded'] >= 1

# ---- arbitrary content

def refused_or(door):
    try: return door()
    except FeatgeomError as e: return str(e) and None

DEEP = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
                    lambda o: st.lists(o, max_size=4) | st.dictionaries(st.text(max_size=8), o, max_size=4), max_leaves=12)
KEYS = ('format', 'name', 'dtype', 'layout', 'n_features', 'n_rows', 'rows', 'shards', 'files', 'sha256', 'architecture', 'd_in', 'd_sae', 'k', 'metadata',
        'normalize_activations', 'kind', 'columns', 'trainer', 'dict_class', 'activation')

@pytest.fixture(scope='module')
def doors(tmp_path_factory):
    "Every kind of folder whose JSON is read, as (folder, JSON file, door)."
    from featgeom.sae import load_sae
    root = tmp_path_factory.mktemp('doors')
    out = []
    for make, name, door in ((hostile.make_store, 'meta.json', FeatureActs.open), (hostile.make_topk, 'cfg.json', load_sae),
                             (hostile.make_dictionary('AutoEncoderTopK'), 'config.json', load_sae)):
        folder = root/f'{len(out)}'
        if make is not hostile.make_store: folder.mkdir()
        make(folder)
        out.append((folder, name, door))
    return out

@settings(max_examples=150, deadline=None)
@given(DEEP | st.dictionaries(st.sampled_from(KEYS), DEEP, max_size=12), st.integers(0, 2))
def test_arbitrary_json_as_a_manifest_or_configuration(doors, value, which):
    folder, name, door = doors[which]
    (folder/name).write_bytes(hostile.dump(value))
    with pytest.raises(FeatgeomError): door(folder)

@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_arbitrary_bytes_as_any_file(tmp_path_factory, data):
    from featgeom.embedding import Embedding
    from featgeom.matching import Pairs
    from featgeom.sae import load_sae
    folder = tmp_path_factory.getbasetemp()/'bytes'
    folder.mkdir(exist_ok=True)
    for name, door in (('a.safetensors', load_sae), ('a.safetensors', Pairs.load), ('a.safetensors', Embedding.load), ('a.safetensors', lambda o: read_arrays(o, 'x'))):
        (folder/name).write_bytes(data)
        with pytest.raises(FeatgeomError): door(folder/name)
    (folder/'a.json').write_bytes(data)
    refused_or(lambda: read_json(folder/'a.json'))

@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(min_size=1, max_size=10), DEEP, max_size=5))
def test_settings_come_back_or_are_refused(tmp_path_factory, meta):
    path = tmp_path_factory.getbasetemp()/'settings.safetensors'
    if refused_or(lambda: write_arrays(path, 'x', {'a': np.arange(3)}, meta)) is None: return
    expected = {k: o for k, o in meta.items() if k not in ('kind', 'format')}
    assert read_arrays(path, 'x')[1] == json.loads(json.dumps(expected))

# ---- what stands in the place of a file

@pytest.mark.parametrize('what', ['pipe', 'folder', 'zero', 'loop', 'dead', 'huge'])
def test_what_is_no_file_is_refused_at_once(tmp_path, what):
    path = tmp_path/'a.json'
    if what == 'pipe': os.mkfifo(path)
    elif what == 'folder': path.mkdir()
    elif what == 'huge': path.touch(); os.truncate(path, 2**40)
    else: path.symlink_to(dict(zero='/dev/zero', loop='a.json', dead='nothing')[what])
    with pytest.raises(FeatgeomError, match='regular file'): read_json(path)
    if what != 'huge':
        with pytest.raises(FeatgeomError, match='regular file'): read_arrays(path, 'x')

@pytest.mark.parametrize('path', [None, 3, '', 'a\0b', b'a', [], 'x'*5000, '/nowhere/at/all/x.json', '/dev/null/x'])
def test_what_is_no_path_is_refused(path):
    for door in (read_json, lambda o: read_arrays(o, 'x'), check_file, lambda o: write_json(o, 1), lambda o: write_bytes(o, b'')):
        if path == 'x'*5000 and door not in (read_json, check_file): continue
        with pytest.raises(FeatgeomError): door(path)

def test_a_writer_does_not_follow_links(tmp_path, monkeypatch):
    from itertools import count
    import featgeom.core as core
    monkeypatch.setattr(core, '_CALLS', count())                       # so that the temporary name can be foreseen
    victim = tmp_path/'victim'
    victim.write_text('mine')
    folder = tmp_path/'store'
    folder.mkdir()
    for name in ('meta.json', f'.meta.json.{os.getpid()}000000.tmp'): (folder/name).symlink_to(victim)
    write_json(folder/'meta.json', {'a': 1})
    assert victim.read_text() == 'mine' and read_json(folder/'meta.json') == {'a': 1} and not (folder/'meta.json').is_symlink()
    (folder/'sub').mkdir()
    with pytest.raises(FeatgeomError, match='cannot be written'): write_bytes(folder/'sub', b'')
    assert sorted(o.name for o in folder.iterdir()) == ['meta.json', 'sub']

@pytest.mark.parametrize('value', [float('nan'), float('inf'), object(), {1, 2}, b'x', {'a': [np.float32(1)]}])
def test_what_json_cannot_hold_is_refused_before_anything_is_written(tmp_path, value):
    for write in (lambda: write_json(tmp_path/'a', {'v': value}), lambda: write_arrays(tmp_path/'a', 'x', {}, {'v': value})):
        with pytest.raises(FeatgeomError, match='no JSON'): write()
    assert not list(tmp_path.iterdir())

def test_interrupts_pass_through_the_translation_of_foreign_errors():
    for error in (KeyboardInterrupt, SystemExit, GeneratorExit):
        with pytest.raises(error), foreign('a', 'b', 'c'): raise error
    with pytest.raises(FeatgeomError) as e, foreign('a', 'b', 'c'): raise FeatgeomError('x', 'y', 'z')
    assert e.value.got == 'x'

# ---- folders that lead elsewhere

@pytest.fixture
def model_folder(tmp_path):
    folder = tmp_path/'model'
    hostile.make_model('llama')(folder)
    (tmp_path/'outside').mkdir()
    for name in ('model.safetensors', 'tokenizer.json'): shutil.copy(folder/name, tmp_path/'outside'/name)
    return folder

def change(path, **more):
    table = json.loads(path.read_text())
    path.write_text(json.dumps({**table, **more}))

def load(folder):
    from featgeom.models import load_model
    return load_model(folder, device='cpu')

@pytest.mark.parametrize('name', ['../outside/model.safetensors', '{root}/outside/model.safetensors', 'sub/model.safetensors', 'model.safetensors/../../outside/model.safetensors', 3, None])
def test_a_list_of_weights_names_only_files_beside_it(model_folder, name):
    if isinstance(name, str): name = name.format(root=model_folder.parent)
    raw = (model_folder/'model.safetensors').read_bytes()
    tensors = [o for o in json.loads(raw[8:8 + int.from_bytes(raw[:8], 'little')]) if o != '__metadata__']
    (model_folder/'model.safetensors').unlink()
    (model_folder/'model.safetensors.index.json').write_text(json.dumps(dict(metadata={}, weight_map=dict.fromkeys(tensors, name))))
    with pytest.raises(FeatgeomError, match='its own folder'): load(model_folder)

@pytest.mark.parametrize('more', [dict(tokenizer_file='{root}/outside/tokenizer.json'), dict(vocab_file='../outside/tokenizer.json'), dict(name_or_path='{root}/outside'),
                                  dict(fast_tokenizer_files=['../outside/tokenizer.json']), dict(tokenizer_class='LlamaTokenizer'), dict(auto_map={'AutoTokenizer': [None, 'evil.T']})])
def test_a_tokenizer_comes_from_its_own_folder_or_not_at_all(model_folder, more):
    (model_folder/'tokenizer.json').unlink()
    (model_folder/'evil.py').write_text(f'import os; os.mkdir({str(model_folder.parent/"canary")!r})')
    change(model_folder/'tokenizer_config.json', **json.loads(json.dumps(more).replace('{root}', str(model_folder.parent))))
    with pytest.raises(FeatgeomError, match='tokenizer'): load(model_folder)
    assert not (model_folder.parent/'canary').exists()

def test_code_and_adapters_in_a_model_folder_are_not_used(model_folder):
    (model_folder/'evil.py').write_text(f'import os; os.mkdir({str(model_folder.parent/"canary")!r})')
    change(model_folder/'config.json', auto_map=dict(AutoConfig='evil.C', AutoModelForCausalLM='evil.M'))
    refused_or(lambda: load(model_folder))
    change(model_folder/'config.json', model_type='evil')
    with pytest.raises(FeatgeomError): load(model_folder)
    assert not (model_folder.parent/'canary').exists()
    (model_folder/'adapter_config.json').write_text(json.dumps(dict(base_model_name_or_path=str(model_folder.parent/'outside'), peft_type='LORA')))
    with pytest.raises(FeatgeomError, match='adapter'): load(model_folder)

@pytest.mark.parametrize('more', [dict(num_hidden_layers=2**31), dict(num_hidden_layers=10**30), dict(num_labels=10**9), dict(text_config=dict(num_hidden_layers=10**9)),
                                  dict(vocab_size=10**12), dict(hidden_size=2**40), dict(max_position_embeddings=-1, num_attention_heads=0), dict(output_hidden_states='a')])
def test_a_configuration_cannot_ask_for_more_than_the_weights_are(model_folder, more):
    change(model_folder/'config.json', **more)
    with pytest.raises(FeatgeomError): load(model_folder)

@pytest.mark.parametrize('name', ['config.json', 'tokenizer.json', 'generation_config.json', 'model.safetensors', 'chat_template.jinja', 'added_tokens.json'])
def test_pipes_and_devices_in_a_model_folder_are_refused_at_once(model_folder, name):
    (model_folder/name).unlink(missing_ok=True)
    os.mkfifo(model_folder/name)
    with pytest.raises(FeatgeomError, match='regular file'): load(model_folder)
    (model_folder/name).unlink()
    (model_folder/name).symlink_to('/dev/zero')
    with pytest.raises(FeatgeomError, match='regular file'): load(model_folder)

def test_links_inside_a_cache_are_followed(model_folder, tmp_path):
    "The hub's cache is made of links; they are the user's own and go on to work."
    cached = tmp_path/'snapshot'
    cached.mkdir()
    for o in model_folder.iterdir(): (cached/o.name).symlink_to(o)
    assert load(cached).hash == load(model_folder).hash

def test_a_pickle_under_any_name_is_not_run(tmp_path):
    from featgeom.embedding import Embedding
    from featgeom.matching import Pairs
    from featgeom.sae import load_sae
    canary = tmp_path/'canary'
    evil = pickle.dumps(hostile.Canary(str(canary)))
    for name in ('sae_weights.safetensors', 'sae.safetensors', 'ae.pt', 'params.npz', 'params.safetensors', 'raw.safetensors'):
        folder = tmp_path/name.replace('.', '-')
        folder.mkdir()
        for o in ('cfg.json', 'config.json'): (folder/o).write_text('{"trainer": {"dict_class": "AutoEncoder"}}')
        (folder/name).write_bytes(evil)
        for door in (load_sae, Pairs.load, Embedding.load):
            with pytest.raises(FeatgeomError): door(folder/name)
        with pytest.raises(FeatgeomError): load_sae(folder)
    assert not canary.exists()

# ---- texts of strangers, through the whole flow

SPOKEN = ['</script><img src=x onerror=window.hit=1>', 'a\0b\x1b[31m', '\u202eRTL \u05e9\u05dc\u05d5\u05dd', 'zero\u200bwidth\u2060\ufeff', '\u2028\u2029', '👩\u200d👩\u200d👧\u200d👦 🏳️\u200d🌈', '   \n\t ', '',
          'x'*10**6, '<!-- <script>', ']]>&amp;', '${alert(1)}`', 'e\u0301'*50, '\U0010ffff\ue000', '</s><s>']

def test_hostile_texts_go_through_collect_labels_and_a_saved_page(tmp_path):
    import featgeom as fg
    from featgeom.models import load_model
    lm = load_model(hostile.tiny_model(), hostile.byte_tokenizer())
    hostile.make_topk(tmp_path)
    space = fg.FeatureSpace.load(lm, tmp_path, name=SPOKEN[0])
    acts, = fg.collect([space], SPOKEN[:8] + SPOKEN[9:] + [SPOKEN[8]], store=tmp_path/'store', max_tokens=1500, progress=False)
    again = FeatureActs.open(next((tmp_path/'store').glob('*/meta.json')).parent).verify()
    assert again.texts == acts.texts == SPOKEN[:8] + SPOKEN[9:] + [SPOKEN[8]]
    ends = np.array([len(o) for o in again.texts])[again.rows.doc]
    assert (again.rows.start >= 0).all() and (again.rows.end <= ends).all() and len(again.token_text(np.arange(len(again)))) == len(again)
    labels = fg.token_labels(again, 3)
    page = tmp_path/'page.html'
    panel = lambda name: fg.Panel(name, hostile.seeded(hostile.F, 2), labels, cluster=np.zeros(hostile.F, int), cluster_labels=(SPOKEN[9],), note=SPOKEN[0])
    fg.LinkedMap([panel(SPOKEN[0]), panel(SPOKEN[2])]).save(page)
    text = page.read_text(encoding='utf-8')
    assert SPOKEN[0] not in text and '<img' not in text

@pytest.mark.parametrize('text', ['half \ud83d', '\udc80'])
def test_half_characters_are_refused_with_their_place(text):
    import featgeom as fg
    from featgeom.models import load_model, token_windows
    lm = load_model(hostile.tiny_model(), hostile.byte_tokenizer())
    with pytest.raises(FeatgeomError, match=r'texts\[1\] holds half'): list(token_windows(lm, ['good', text]))
