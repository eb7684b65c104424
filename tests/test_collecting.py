"Collect equals a plain loop over a model, refuses what it cannot do right, and survives kills."
import hashlib, itertools, json, os, signal, subprocess, sys, textwrap, tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse
from tokenizers import Tokenizer, decoders, models as tokenizer_models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from featgeom.acts import FeatureActs
from featgeom.collecting import _folder_name, collect, token_bytes
from featgeom.core import FeatgeomError
from featgeom.models import capture, load_model
from featgeom.sae import FeatureSpace
from test_acts import files, same_rows

HOSTILE = '</script><img src=x onerror=alert(1)> 👩‍👩‍👧 é\u2028 "quoted" \\ \x00 end'
TEXTS = ['the king saw the queen and the queen saw the cat', '', 'a cat', HOSTILE,
         'one two three four five six seven eight nine ten ' * 6, 'the end']


def make_tokenizer(bos=True, vocab=320):
    "Byte-level BPE: every text has tokens, emoji are split into bytes."
    tok = Tokenizer(tokenizer_models.BPE())
    tok.pre_tokenizer, tok.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=vocab, special_tokens=['<s>', '</s>'], show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tok.train_from_iterator(TEXTS, trainer)
    if bos: tok.post_processor = processors.TemplateProcessing(single='<s> $A', special_tokens=[('<s>', 0)])
    return PreTrainedTokenizerFast(tokenizer_object=tok, bos_token='<s>', eos_token='</s>', pad_token='</s>')


def make_model(seed=0, layers=2, bos=True, vocab=320, context=32):
    "A random Llama of 16 dimensions."
    config = LlamaConfig(vocab_size=vocab, hidden_size=16, intermediate_size=24, num_hidden_layers=layers,
                         num_attention_heads=2, max_position_embeddings=context)
    state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    hf = LlamaForCausalLM(config).eval()
    torch.random.set_rng_state(state)
    return load_model(hf, make_tokenizer(bos, vocab))


class ToySAE:
    "Relu codes of a random encoder: what collect needs of an SAE, and a count of calls."
    def __init__(self, d, f, seed=0, scale=1., bias=-1.):
        rng = np.random.default_rng(seed)
        self.W = torch.from_numpy(rng.normal(size=(d, f)).astype('f4'))*scale
        self.bias, self.calls = bias*scale, 0
        self.hash = hashlib.sha256(self.W.numpy().tobytes()).hexdigest()
    def encode(self, x): return torch.relu(x/x.norm(dim=1, keepdim=True) @ self.W + self.bias)
    def encode_csr(self, x):
        codes = self.encode(x)
        self.calls += 1
        out = sparse.csr_array(codes.numpy())
        return out.indptr.astype('i4'), out.indices.astype('i4'), out.data


class Space:
    "A FeatureSpace as collect sees it."
    def __init__(self, model, sae, layer=0, name='A'):
        self.model, self.sae, self.site, self.name = model, sae, f'blocks.{layer}.hook_resid_post', name
        self.d, self.f, self.dense = *sae.W.shape, False
    def provenance(self):
        return dict(model='toy', model_hash=self.model.hash, site=self.site, sae='toy', sae_hash=self.sae.hash,
                    architecture='relu', d=self.d, f=self.f)


@pytest.fixture(scope='module')
def model(): return make_model()

@pytest.fixture
def space(model): return Space(model, ToySAE(16, 40))

def run_python(code, folder=None):
    "What a script prints that runs in a process of its own, on one thread."
    env = {**os.environ, 'OMP_NUM_THREADS': '1', 'TOKENIZERS_PARALLELISM': 'false',
           'PYTHONPATH': str(Path(__file__).parents[1])}
    code = textwrap.dedent(code.replace('{tests!r}', repr(str(Path(__file__).parent))))
    script = [sys.executable, '-c', code]
    done = subprocess.run(script, cwd=folder, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


# ---- collect -------------------------------------------------------------------------------------------------------

def naive(space, texts, context):
    "Codes, documents, positions, ids and spans of every kept token, by a plain loop: one window, no padding, no hooks."
    tok, out = space.model.tokenizer, []
    for doc, text in enumerate(texts):
        enc = tok(text, add_special_tokens=False, return_offsets_mapping=True)
        front = [tok.bos_token_id]
        for at in range(0, len(enc.input_ids), context - 1):
            ids = enc.input_ids[at:at + context - 1]
            with torch.no_grad(): out_of = space.model.hf(torch.tensor([front + ids]), output_hidden_states=True)
            codes = space.sae.encode(out_of.hidden_states[int(space.site.split('.')[1]) + 1][0, 1:]).numpy()
            for i, id in enumerate(ids): out.append((doc, at + i, id, *enc.offset_mapping[at + i], codes[i]))
    return out

@pytest.mark.parametrize('context,batch,shard', [(None, 32, 2**16), (8, 2, 20), (5, 3, 1), (32, 1, 40)])
def test_collect_equals_a_plain_loop(space, tmp_path, context, batch, shard):
    acts, = collect([space], TEXTS, tmp_path, context=context, batch=batch, shard=shard, progress=False)
    truth = naive(space, TEXTS, context or 32)
    assert len(acts) == len(truth) > 120
    for i, name in enumerate(['doc', 'pos', 'token_id', 'start', 'end']):
        np.testing.assert_array_equal(getattr(acts.rows, name), [o[i] for o in truth])
    dense = np.array([o[5] for o in truth])
    np.testing.assert_allclose(acts.csr().toarray(), dense, rtol=2e-3, atol=1e-4)
    assert .01 < acts.nnz/np.prod(acts.shape) < .5
    assert acts.texts == TEXTS
    acts.verify()


def test_hostile_text_comes_back_as_it_was(space, tmp_path):
    acts, = collect(space, TEXTS, tmp_path, progress=False)
    reopened = FeatureActs.open(acts.folder)
    assert reopened.texts[3] == HOSTILE
    rows = np.flatnonzero(reopened.rows.doc == 3)
    parts = [reopened.tokens[int(id)].encode('utf-8', 'surrogateescape') for id in reopened.rows.token_id[rows]]
    assert b''.join(parts).decode() == HOSTILE
    spans = reopened.rows[rows]
    assert [HOSTILE[a:b] for a, b in zip(spans.start, spans.end)] == reopened.token_text(rows)
    assert any('👩' in o for o in reopened.token_text(rows))


def test_two_spaces_on_one_model_share_its_passes_and_rows(model, tmp_path, monkeypatch):
    import featgeom.collecting as module
    calls = []
    capture = module.capture
    monkeypatch.setattr(module, 'capture', lambda m, ids, sites, mask: calls.append(sites) or capture(m, ids, sites, mask))
    a, b = Space(model, ToySAE(16, 40), 0, 'A'), Space(model, ToySAE(16, 50, 1), 1, 'B')
    c = Space(make_model(seed=1), ToySAE(16, 60, 2), 1, 'C')
    out = collect([a, b, c], TEXTS, tmp_path, batch=100, progress=False)
    assert calls == [['blocks.0.hook_resid_post', 'blocks.1.hook_resid_post'], ['blocks.1.hook_resid_post']]
    for acts in out[1:]: same_rows(acts.rows, out[0].rows)
    alone, = collect(b, TEXTS, tmp_path/'alone', batch=100, progress=False)
    assert files(alone.folder) == files(out[1].folder)


def test_max_tokens_cuts_rows_and_nothing_else(space, tmp_path):
    whole, = collect(space, TEXTS, tmp_path/'whole', progress=False)
    for m in (1, 11, 12, 100, len(whole), 10**6):
        part, = collect(space, TEXTS, tmp_path/f'part{m}', max_tokens=m, shard=30, progress=False)
        assert len(part) == min(m, len(whole))
        np.testing.assert_allclose(part.csr().toarray(), whole.csr()[:m].toarray(), atol=2e-3)
        np.testing.assert_array_equal(part.rows.pos, whole.rows.pos[:m])
        assert part.texts == TEXTS[:part.rows.doc.max() + 1]


def test_special_tokens_written_in_a_text_are_masked(space, tmp_path):
    acts, = collect(space, ['the king</s>saw<s> the queen'], tmp_path, progress=False)
    assert not np.isin(acts.rows.token_id, [0, 1]).any()
    assert ''.join(acts.token_text(np.arange(len(acts)))) == 'the kingsaw the queen'


MEMORY = """
    import sys
    import numpy as np
    sys.path.insert(0, {tests!r})
    import test_collecting as t
    from featgeom.collecting import collect
    from featgeom.sae import FeatureSpace
    def peak():
        "kB of this process; ru_maxrss would count what the process that started it had."
        return next(int(o.split()[1]) for o in open('/proc/self/status') if o.startswith('VmHWM'))
    rng = np.random.default_rng(0)
    W = rng.normal(size=(2**15, 16)).astype('f4')
    biases = dict(b_enc=np.zeros(2**15, 'f4'), b_dec=np.zeros(16, 'f4'))
    arrays = dict(W_enc=W.T.copy(), W_dec=W, architecture='topk', k=8, **biases)
    space = FeatureSpace.load(model=t.make_model(), sae=arrays, site='blocks.1.hook_resid_post', name='wide')
    collect(space, t.TEXTS, progress=False)
    before = peak()
    acts, = collect(space, t.TEXTS*40, max_tokens=5000, batch=64, progress=False)
    assert len(acts) == 5000 and acts.nnz == 40_000
    print((peak() - before)/1e3)
"""

@pytest.mark.skipif(sys.platform != 'linux', reason='/proc is there on Linux only')
def test_tokens_times_features_is_never_dense():
    out = run_python(MEMORY)
    assert float(out) < 250, f'{out} MB more; dense would be {5000*2**15*4/1e6:,.0f} MB'


def test_two_runs_give_the_same_bytes_whatever_the_folder(space, tmp_path):
    collect(space, TEXTS, tmp_path/'x', shard=50, progress=False)
    collect(space, TEXTS, tmp_path/'y', shard=50, progress=False)
    assert files(tmp_path/'x') == files(tmp_path/'y')


def test_a_finished_store_opens_without_the_model_running(space, tmp_path, monkeypatch):
    first, = collect(space, TEXTS, tmp_path, progress=False)
    import featgeom.collecting as module
    monkeypatch.setattr(module, 'capture', lambda *args: pytest.fail('collected again'))
    (tmp_path/'A'/'progress.json').write_text('{}')       # a kill between the last two steps leaves it
    again, = collect(space, TEXTS, tmp_path, batch=7, progress=False)
    assert files(tmp_path/'A') == files(first.folder) and 'progress.json' not in files(tmp_path/'A')


def test_another_request_is_refused_with_what_differs(model, space, tmp_path):
    collect(space, TEXTS, tmp_path, progress=False)
    before = files(tmp_path)
    others = [(Space(model, ToySAE(16, 40, 5)), {}, 'sae_hash'), (Space(make_model(3), ToySAE(16, 40)), {}, 'model_hash'),
              (Space(model, ToySAE(16, 40), 1), {}, 'site'), (space, dict(context=9), 'context'),
              (space, dict(max_tokens=9), 'max_tokens'), (space, dict(dtype='float32'), 'dtype'),
              (space, dict(texts=TEXTS[::-1]), 'texts')]
    for other, changed, what in others:
        request = {'texts': TEXTS, 'store': tmp_path, 'progress': False, **changed}
        with pytest.raises(FeatgeomError, match=what): collect(other, **request)
    assert files(tmp_path) == before


class Stop(ToySAE):
    "An SAE that is interrupted at its third batch."
    def encode_csr(self, x):
        if self.calls == 3: raise self.error
        return super().encode_csr(x)

@pytest.mark.parametrize('error', [KeyboardInterrupt(), OSError(28, 'No space left on device')])
def test_interrupted_collect_says_so_and_goes_on(model, tmp_path, error):
    collect(Space(model, ToySAE(16, 40)), TEXTS, tmp_path/'whole', shard=30, progress=False)
    sae = Stop(16, 40)
    sae.error = error
    with pytest.raises(type(error), match='the same call goes on|No space'):
        collect(Space(model, sae), TEXTS, tmp_path/'stopped', shard=30, progress=False)
    with pytest.raises(FeatgeomError, match='not finished'): FeatureActs.open(tmp_path/'stopped'/'A')
    request = dict(texts=TEXTS, store=tmp_path/'stopped', shard=30, progress=False)
    for changed, what in [(dict(batch=5), 'batch'), (dict(shard=31), 'shard'), (dict(context=9), 'context')]:
        with pytest.raises(FeatgeomError, match=what): collect(Space(model, ToySAE(16, 40)), **{**request, **changed})
    with pytest.raises(FeatgeomError, match='sae_hash'): collect(Space(model, ToySAE(16, 40, 9)), **request)
    fresh = ToySAE(16, 40)
    collect(Space(model, fresh), TEXTS, tmp_path/'stopped', shard=30, progress=False)
    assert files(tmp_path/'stopped') == files(tmp_path/'whole')
    assert 0 < fresh.calls < len(list((tmp_path/'whole').rglob('shard-*')))


def test_interrupted_temporary_collect_says_that_nothing_is_kept(model):
    sae = Stop(16, 40)
    sae.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt, match='keeps nothing'):
        collect(Space(model, sae), TEXTS, shard=30, progress=False)


KILLS = """
    import os, sys, traceback
    sys.path.insert(0, {tests!r})
    import featgeom.core as core
    import featgeom.collecting as acts
    import test_collecting as t

    def run(folder, left):
        "Collect in a child; the machine dies in its `left`-th write, the file half written. Returns the wait status."
        pid = os.fork()
        if pid: return os.waitpid(pid, 0)[1]
        real = os.fsync
        def fsync(fd):
            nonlocal left
            left -= 1
            if left == 0:
                os.ftruncate(fd, os.fstat(fd).st_size//2)
                os.kill(os.getpid(), 9)
            real(fd)
        core.os.fsync = fsync
        try:
            model = t.make_model()
            spaces = [t.Space(model, t.ToySAE(16, 40), 0, 'A'), t.Space(model, t.ToySAE(16, 30, 1), 1, 'B')]
            acts.collect(spaces, t.TEXTS, folder, shard=60, progress=False)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)

    if run('whole', 0): sys.exit('the uninterrupted run failed')
    for after in range(1, 99):
        if run(f'killed{after}', after) == 0: break
        if after % 3 == 0: run(f'killed{after}', 2)                     # and again, early in the second run
        if run(f'killed{after}', 0): sys.exit(f'going on after write {after} failed')
        print(after)
"""

def test_kill_9_in_any_write_ends_with_the_same_bytes(tmp_path):
    kills = [int(o) for o in run_python(KILLS, tmp_path).split()]
    assert len(kills) > 15
    whole = files(tmp_path/'whole')
    for after in kills: assert files(tmp_path/f'killed{after}') == whole


def test_progress_bar_shows_tokens_per_second_and_ends_full(space, capsys):
    acts, = collect(space, TEXTS, shard=30)
    shown = capsys.readouterr().err
    assert 'temporary: cannot resume' in shown and ' tok/s' in shown and f'{len(acts)}/{len(acts)}' in shown


def test_temporary_store_lives_as_long_as_its_result(space):
    acts, = collect(space, TEXTS, progress=False)
    folder = acts.folder
    assert len(acts.csr().toarray()) == len(acts) and 'temporary' in repr(acts)
    del acts
    assert not folder.exists()


def test_names_that_are_hostile_as_folders_stay_inside_the_store(model, tmp_path):
    names = ['../up', '/abs', '..', '.', '', 'a/b', 'CON', 'nul.txt', 'x'*300, 'new\nline', '👑', 'dot.', ' ', '-rf',
             'a\x00b', 'ok-1.2']
    folders = [_folder_name(o) for o in names]
    assert len({o.casefold() for o in folders}) == len(names) and folders[-1] == 'ok-1.2'
    for o in folders:
        assert 0 < len(o) < 80 and o.isascii() and o.isprintable() and not set(o) & set('/\\:*?"<>| ') and o[0] != '.'
    spaces = [Space(model, ToySAE(16, 9), 0, o) for o in names[:6]]
    out = collect(spaces, TEXTS[:1], tmp_path/'in', progress=False)
    assert [o.name for o in out] == names[:6]
    assert [o.name for o in tmp_path.iterdir()] == ['in'] and len(list((tmp_path/'in').iterdir())) == 6


@pytest.mark.parametrize('names', [('A', 'A'), ('a', 'A')])
def test_equal_names_are_refused(model, tmp_path, names):
    spaces = [Space(model, ToySAE(16, 9), 0, o) for o in names]
    with pytest.raises(FeatgeomError, match='Two spaces named'): collect(spaces, TEXTS, tmp_path, progress=False)


@pytest.mark.parametrize('changed,match', [
    (dict(texts=[]), 'No texts'), (dict(texts=['', '']), 'all empty'), (dict(texts='abc'), 'One string'),
    (dict(texts=['a', 3]), r'texts\[1\] is a int'), (dict(texts=['a', None]), 'NoneType'),
    (dict(texts=['a\ud800']), 'surrogate'), (dict(texts=['</s>', '<s>']), 'No token'), (dict(context=33), 'context=33'),
    (dict(context=1), 'context=1'),
    (dict(context='8'), 'context='), (dict(max_tokens=0), 'max_tokens=0'), (dict(max_tokens=2.5), 'max_tokens'),
    (dict(batch=0), 'batch=0'), (dict(batch=None), 'batch=None'), (dict(dtype='float64'), 'float64'),
    (dict(shard=0), 'shard=0'), (dict(workers=0), 'workers=0'), (dict(client=3), 'client of type int'),
    (dict(texts=None), 'no documents'), (dict(texts=Path('stories.txt')), 'read_texts'), (dict(texts=iter([])), 'No texts'),
    (dict(texts=iter(['a', 3])), r'texts\[1\] is a int'), (dict(texts=(o for o in ['', ''])), 'all empty'),
    (dict(spaces=[]), 'No spaces'), (dict(spaces='A'), 'A space that is a str')])
def test_collect_refuses(space, tmp_path, changed, match):
    request = {'spaces': space, 'texts': TEXTS, 'store': tmp_path, 'progress': False, **changed}
    with pytest.raises(FeatgeomError, match=match): collect(**request)


def test_tokenizers_that_differ_are_refused_with_the_reason(model, tmp_path):
    for other, match in [(make_model(vocab=300), 'vocabularies of'), (make_model(bos=False), 'in front')]:
        spaces = [Space(model, ToySAE(16, 9)), Space(other, ToySAE(16, 9), name='B')]
        with pytest.raises(FeatgeomError, match=match): collect(spaces, TEXTS, tmp_path, progress=False)
    assert not list(tmp_path.iterdir())


def test_context_is_the_smaller_of_the_models(model, tmp_path):
    short = make_model(seed=1, context=16)
    spaces = [Space(model, ToySAE(16, 9)), Space(short, ToySAE(16, 9), name='B')]
    assert [o.meta['context'] for o in collect(spaces, TEXTS, tmp_path, progress=False)] == [16, 16]
    with pytest.raises(FeatgeomError, match='context=20'): collect(spaces, TEXTS, tmp_path/'x', context=20, progress=False)


def test_nan_in_activations_names_document_and_site(tmp_path):
    model = make_model()
    bad = model.tokenizer(' queen', add_special_tokens=False).input_ids[0]
    with torch.no_grad(): model.hf.get_input_embeddings().weight[bad, 0] = float('nan')
    with pytest.raises(FeatgeomError, match='blocks.0.hook_resid_post, document 1'):
        collect(Space(model, ToySAE(16, 9)), ['a cat', 'the queen saw', 'the cat'], tmp_path, progress=False)


def test_nan_and_overflow_in_codes_name_the_sae(model, tmp_path):
    sae = ToySAE(16, 9)
    sae.W[3, 2] = float('inf')
    with pytest.raises(FeatgeomError, match='the codes of SAE'):
        collect(Space(model, sae), TEXTS, tmp_path/'a', progress=False)
    large = Space(model, ToySAE(16, 9, scale=1e6))
    with pytest.raises(FeatgeomError, match='dtype="float32"'): collect(large, TEXTS, tmp_path/'b', progress=False)
    acts, = collect(large, TEXTS, tmp_path/'c', dtype='float32', progress=False)
    assert acts.csr().max() > 65504


def test_all_dead_sae_gives_an_empty_matrix(model, tmp_path):
    acts, = collect(Space(model, ToySAE(16, 9, bias=-100)), TEXTS, tmp_path, progress=False)
    assert acts.nnz == 0 and len(acts) > 0 and acts.column(3)[0].size == 0
    acts.verify()


def test_token_bytes_of_split_characters():
    tok = make_tokenizer()
    ids = tok(HOSTILE, add_special_tokens=False).input_ids
    assert b''.join(token_bytes(tok, ids)).decode() == HOSTILE
    assert token_bytes(tok, [0, 1]) == [b'<s>', b'</s>']
    with pytest.raises(FeatgeomError, match='Token id -1'): token_bytes(tok, [-1])


@pytest.mark.parametrize('name', ['stories260k', 'llama2xs', 'babyllama105'])
def test_token_bytes_of_real_tokenizers(name, test_data):
    from transformers import AutoTokenizer
    tok = AutoTokenizer.from_pretrained(test_data/'models'/name)
    text = 'Once upon a time, a king and his dog.' if name == 'babyllama105' else 'Once upon a time, a king 👑 and\nhis dog.'
    assert b''.join(token_bytes(tok, tok(text, add_special_tokens=False).input_ids)).decode() == ' ' + text


def test_collect_on_real_models(test_data, tmp_path):
    texts = json.loads((test_data/'text'/'tinystories_1000.json').read_text())[:12]
    models = [load_model(test_data/'models'/o) for o in ('stories260k', 'llama2xs')]
    spaces = [Space(o, ToySAE(64, 200, bias=-2), 2, o.name) for o in models]
    out = collect(spaces, texts, tmp_path, batch=5, shard=900, progress=False)
    assert out[0].meta['context'] == 256
    same_rows(out[0].rows, out[1].rows)
    for space, acts in zip(spaces, out):
        truth = naive(space, texts, 256)
        assert len(truth) == len(acts) > 2000
        np.testing.assert_allclose(acts.csr().toarray(), np.array([o[5] for o in truth]), rtol=2e-3, atol=1e-3)
    other = load_model(test_data/'models'/'babyllama105')
    with pytest.raises(FeatgeomError, match=r'vocabularies of 512 and 105 tokens.*align_spans\(a, b\)'):
        collect([spaces[0], Space(other, ToySAE(128, 9))], texts, tmp_path/'x', progress=False)


# ---- documents that come one by one --------------------------------------------------------------------------------

def test_any_iterable_gives_the_bytes_of_the_list(space, tmp_path):
    whole, = collect(space, TEXTS, tmp_path/'list', shard=30, progress=False)
    for name, texts in dict(generator=(o for o in TEXTS), tuple=tuple(TEXTS), keys=dict.fromkeys(TEXTS), array=np.array(TEXTS)).items():
        collect(space, texts, tmp_path/name, shard=30, progress=False)
        assert files(tmp_path/name) == files(tmp_path/'list')
    collect(space, iter(TEXTS), tmp_path/'list', shard=30, progress=False)                # opens the store of the list
    with pytest.raises(FeatgeomError, match='texts: '): collect(space, iter(TEXTS[::-1]), tmp_path/'list', progress=False)


@pytest.mark.parametrize('most', [1, 12, 13, 100, 10_000])
def test_of_an_endless_iterable_only_what_max_tokens_needs_is_read(space, tmp_path, most):
    asked = []
    def endless():
        for i in itertools.count():
            asked.append(i)
            yield TEXTS[i % len(TEXTS)]
    acts, = collect(space, endless(), tmp_path/'endless', max_tokens=most, batch=300, shard=3000, progress=False)
    used = acts.meta['documents']
    assert len(acts) == most and used == len(acts.texts) and len(asked) <= used + 64
    texts = [TEXTS[i % len(TEXTS)] for i in range(used)]
    listed, = collect(space, texts, tmp_path/'list', max_tokens=most, batch=300, shard=3000, progress=False)
    assert files(tmp_path/'endless') == files(tmp_path/'list')


def test_documents_of_an_iterable_are_not_held_in_memory(tmp_path):
    from featgeom.collecting import _fingerprint, _spooled
    tracemalloc.start()
    texts = _spooled((str(i)*10_000 for i in range(2000)), tmp_path, None, None, None, False)
    print_of = _fingerprint(texts)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sum(map(len, texts)) > 60e6 > 20*peak and len(print_of) == 64
    assert texts[1999] == '1999'*10_000 and not list(tmp_path.iterdir())


def test_an_iterable_that_fails_leaves_nothing(space, tmp_path):
    def failing():
        yield 'a cat'
        raise ConnectionResetError('the stream broke')
    with pytest.raises(ConnectionResetError): collect(space, failing(), tmp_path/'x', progress=False)
    assert not files(tmp_path)


class Counted(list):
    "Texts that note which of them were asked for again."
    def __getitem__(self, i):
        if isinstance(i, int): self.asked.append(i)
        return super().__getitem__(i)


@pytest.mark.parametrize('most', [None, 120])
def test_a_resumed_run_tokenizes_only_what_is_left(model, space, tmp_path, most):
    texts, settings = Counted(TEXTS + ['the end', 'and the cat'] * 3), dict(shard=30, max_tokens=most, progress=False)
    texts.asked = []
    collect(space, list(texts), tmp_path/'whole', **settings)
    for after in range(1, 5):
        sae, folder = Stop(16, 40), tmp_path/f'stopped{after}'
        sae.calls, sae.error = 3 - after, KeyboardInterrupt()
        with pytest.raises(KeyboardInterrupt): collect(Space(model, sae), texts, folder, **settings)
        done = json.loads((folder/'A'/'progress.json').read_text())['shards']
        assert len(done) == after
        last = FeatureActs.open(tmp_path/'whole'/'A').rows.doc[sum(o['rows'] for o in done) - 1]
        texts.asked.clear()
        import featgeom.collecting as module
        cut, real = [], module.token_windows
        try:
            module.token_windows = lambda model, given, context: real(model, (cut.append(o) or o for o in given), context)
            collect(space, texts, folder, **settings)
        finally: module.token_windows = real
        assert cut == texts[last:last + len(cut)]
        assert files(folder) == files(tmp_path/'whole')


# ---- neurons -------------------------------------------------------------------------------------------------------

def test_neurons_are_stored_dense_in_the_pass_of_the_saes(model, tmp_path):
    site = 'blocks.0.hook_resid_post'
    neurons = FeatureSpace.load(model, site=site, name='neurons')
    a, b = collect([Space(model, ToySAE(16, 40)), neurons], TEXTS, tmp_path, batch=3, shard=50, progress=False)
    assert b.dense and not a.dense and b.meta['architecture'] == 'neurons' and b.meta['layout'] == 'dense' and 'layout' not in a.meta
    same_rows(a.rows, b.rows)
    ids = model.tokenizer(TEXTS[0]).input_ids
    x = capture(model, [ids], [site])[site][0, 1:]
    stored = np.concatenate([o for _, o in b.blocks()])
    np.testing.assert_allclose(stored[:len(x)], x, rtol=1e-3, atol=1e-6)
    assert len(stored) == len(a) and b.nnz > .99*stored.size
    alone, = collect(neurons, TEXTS, tmp_path/'alone', batch=3, shard=50, progress=False)
    assert files(alone.folder) == files(b.folder)
    b.verify()


def test_neurons_that_overflow_are_an_error(tmp_path):
    model = make_model()
    with torch.no_grad(): model.hf.get_input_embeddings().weight[5] *= 1e7
    token = model.tokenizer.convert_ids_to_tokens(5)
    neurons = FeatureSpace.load(model, site='blocks.0.hook_resid_pre', name='neurons')
    with pytest.raises(FeatgeomError, match='does not fit in float16.*dtype="float32"'):
        collect(neurons, [token], tmp_path/'a', progress=False)
    acts, = collect(neurons, [token], tmp_path/'b', dtype='float32', progress=False)
    assert abs(next(acts.blocks())[1]).max() > 65504


# ---- what crosses from the device to the host ----------------------------------------------------------------------

class Crossings(torch.overrides.TorchFunctionMode):
    "Notes what makes the host wait for a device: (name, number of elements)."
    names = ('cpu', 'numpy', '__array__', 'item', 'tolist', '__bool__', '__int__', '__float__', '__index__', '__len__', 'nonzero')
    def __init__(self):
        super().__init__()
        self.seen = []
    def __torch_function__(self, func, types, args=(), kwargs=None):
        name = getattr(func, '__name__', '')
        masked = name == '__getitem__' and any(getattr(o, 'dtype', None) == torch.bool for o in (args[1] if isinstance(args[1], tuple) else [args[1]]))
        if masked or (name in self.names and name != '__len__'): self.seen.append((name, args[0].numel()))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize('kind', ['topk', 'standard', 'neurons'])
def test_only_what_is_active_leaves_the_device_and_once_a_batch(model, monkeypatch, kind):
    import featgeom.collecting as module
    f, k, d, site = 2**12, 8, 16, 'blocks.1.hook_resid_post'
    W = np.random.default_rng(0).normal(size=(f, d)).astype('f4')
    arrays = dict(W_enc=W.T.copy(), W_dec=W, b_enc=np.full(f, 0 if kind == 'topk' else -11, 'f4'), b_dec=np.zeros(d, 'f4'), architecture=kind)
    if kind == 'topk': arrays['k'] = k
    space = FeatureSpace.load(model, None if kind == 'neurons' else arrays, site=site, name='A')
    space.provenance()                                             # hashes all weights, once
    def activations(model, ids, sites, mask): return {o: torch.randn(*ids.shape, d, generator=torch.Generator().manual_seed(0)) for o in sites}
    monkeypatch.setattr(module, 'capture', activations)
    found = {}
    for words in (1, 9):
        with Crossings() as crossed: acts, = collect(space, [' a'*words]*12, batch=4, progress=False)
        sizes = [n for name, n in crossed.seen if name == 'cpu']
        found[words] = [name for name, _ in crossed.seen]
        active = acts.nnz if kind != 'topk' else len(acts)*k
        assert len(sizes) == 3 and sum(sizes) <= {'topk': 2, 'standard': 3, 'neurons': 1}[kind]*active
        assert max(n for name, n in crossed.seen if name not in ('cpu', 'numpy', 'nonzero')) == 1
    assert found[1] == found[9] and len(found[1]) <= 5*3         # as many for 36 tokens a batch as for 4


# ---- in other processes --------------------------------------------------------------------------------------------

class Dying(ToySAE):
    "An SAE that kills its process where a token of the last document comes."
    def encode_csr(self, x):
        if self.calls >= 2: os.kill(os.getpid(), signal.SIGKILL)
        return super().encode_csr(x)


def test_workers_end_with_the_bytes_of_one_process(model, tmp_path):
    model.hf(torch.tensor([[1]]), output_hidden_states=True)            # leaves hooks that cannot be pickled
    neurons = FeatureSpace.load(model, site='blocks.1.hook_resid_post', name='N')
    def spaces(sae=ToySAE): return [Space(model, sae(16, 40), 0, 'A'), Space(model, ToySAE(16, 30, 1), 1, 'B'), neurons]
    settings = dict(shard=20, batch=3, progress=False)
    collect(spaces(), TEXTS, tmp_path/'one', **settings)
    stopped = spaces(Stop)
    stopped[0].sae.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt): collect(stopped, TEXTS, tmp_path/'two', **settings)
    before = {o: o.stat().st_mtime_ns for o in (tmp_path/'two').rglob('shard-*')}
    assert len(before) == 3*3
    collect(spaces(), (o for o in TEXTS), tmp_path/'two', workers=2, **settings)
    assert files(tmp_path/'two') == files(tmp_path/'one') and len(files(tmp_path/'one')) > 20
    assert {o: o.stat().st_mtime_ns for o in before} == before
    assert not any(o.is_shared() for o in model.hf.parameters())


def test_errors_in_workers_are_those_of_one_process_and_nothing_is_lost(tmp_path):
    model = make_model()
    texts, settings = ['the cat saw the cat'] * 7 + ['the queen'] + ['a cat'] * 5, dict(shard=5, progress=False, workers=2)
    good = model.hf.get_input_embeddings().weight.detach().clone()
    bad = model.tokenizer(' queen', add_special_tokens=False).input_ids[0]
    model.hash                                                     # of the good weights: the same model, broken by hand
    with torch.no_grad(): model.hf.get_input_embeddings().weight[bad, 0] = float('nan')
    with pytest.raises(FeatgeomError, match='NaN or Inf in the activations of .* at blocks.0.hook_resid_post, document 7') as e:
        collect(Space(model, ToySAE(16, 9)), texts, tmp_path/'a', **settings)
    assert any('_encode_windows' in o for o in e.value.__notes__)
    kept = json.loads((tmp_path/'a'/'A'/'progress.json').read_text())['shards']
    assert len(kept) >= 5
    with torch.no_grad(): model.hf.get_input_embeddings().weight.copy_(good)
    with pytest.raises(FeatgeomError, match=r'A worker process was killed \(SIGKILL\)'):
        collect(Space(model, Dying(16, 9)), texts, tmp_path/'b', **settings)
    collect(Space(model, ToySAE(16, 9)), texts, tmp_path/'c', **{**settings, 'workers': 1})
    for name in 'ab':
        collect(Space(model, ToySAE(16, 9)), texts, tmp_path/name, **{**settings, 'workers': 1})
        assert files(tmp_path/name) == files(tmp_path/'c')


def test_spaces_that_cannot_travel_are_an_error(model, tmp_path):
    class Local(ToySAE): pass
    with pytest.raises(FeatgeomError, match='cannot be sent to a worker.*workers=1'):
        collect(Space(model, Local(16, 9)), TEXTS, tmp_path, workers=2, progress=False)


def test_a_script_without_a_guard_is_told_so(tmp_path):
    (tmp_path/'script.py').write_text(textwrap.dedent(f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        import test_collecting as t
        t.collect(t.Space(t.make_model(), t.ToySAE(16, 9)), t.TEXTS, 'out', workers=2, progress=False)"""))
    env = dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=str(Path(__file__).parents[1]))
    done = subprocess.run([sys.executable, 'script.py'], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=200)
    assert done.returncode == 1 and done.stderr.count('collect in a script that its workers import') >= 1
    assert 'A worker process ended with exit code 1' in done.stderr.splitlines()[-1] and '__main__' in done.stderr.splitlines()[-1]


def test_a_dask_cluster_gives_the_bytes_of_one_process(model, tmp_path):
    distributed = pytest.importorskip('distributed')
    import dask
    neurons = FeatureSpace.load(model, site='blocks.1.hook_resid_post', name='N')
    spaces, settings = [Space(model, ToySAE(16, 40), 0, 'A'), neurons], dict(shard=20, batch=3, progress=False)
    collect(spaces, TEXTS, tmp_path/'one', **settings)
    bad = Space(model, ToySAE(16, 9), 1, 'bad')
    bad.sae.W[3, 2] = float('inf')
    with dask.config.set({'distributed.worker.daemon': False}), \
         distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster, \
         distributed.Client(cluster) as client:
        collect(spaces, iter(TEXTS), tmp_path/'dask', client=client, **settings)
        assert files(tmp_path/'dask') == files(tmp_path/'one')
        with pytest.raises(FeatgeomError, match="the codes of SAE 'bad', document 0"):
            collect(bad, TEXTS, tmp_path/'bad', client=client, **settings)
        with pytest.raises(FeatgeomError, match='Pass one of the two'):
            collect(spaces, TEXTS, tmp_path/'x', client=client, workers=2)


def test_tokenizers_that_mask_other_tokens_are_not_the_same(model):
    other = make_tokenizer()
    plain = PreTrainedTokenizerFast(tokenizer_object=other.backend_tokenizer, bos_token='<s>')       # </s> is a word like any other
    b = Space(load_model(model.hf, plain), ToySAE(16, 30, 1), 0, 'B')
    with pytest.raises(FeatgeomError, match='mask'): collect([Space(model, ToySAE(16, 40)), b], TEXTS, progress=False)


def test_a_selection_is_not_taken_for_the_whole(space, tmp_path):
    whole, = collect(space, TEXTS, tmp_path/'whole', progress=False)
    whole.select(np.arange(len(whole)) % 2 == 0).save(tmp_path/'other'/'A', dtype='float16')
    with pytest.raises(FeatgeomError, match='selected'): collect(space, TEXTS, tmp_path/'other', progress=False)


def test_numpy_numbers_are_numbers(space, tmp_path):
    acts, = collect(space, TEXTS, tmp_path, max_tokens=np.int64(20), batch=np.int32(2), progress=False)
    assert len(acts) == 20
