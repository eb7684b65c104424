"Collect equals a plain loop over a model, refuses what it cannot do right, and survives kills."
import hashlib, json, os, subprocess, sys, textwrap
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
from featgeom.models import load_model

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

def files(folder):
    "All files below a folder: {path: bytes}."
    return {str(o.relative_to(folder)): o.read_bytes() for o in sorted(Path(folder).rglob('*')) if o.is_file()}

def same_rows(a, b):
    "All columns of the rows are equal."
    assert list(a.columns) == list(b.columns)
    for name in a.columns: np.testing.assert_array_equal(a.columns[name], b.columns[name])

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
    import resource, sys
    import numpy as np
    sys.path.insert(0, {tests!r})
    import test_collecting as t
    from featgeom.collecting import collect
    from featgeom.sae import FeatureSpace
    rng = np.random.default_rng(0)
    W = rng.normal(size=(2**15, 16)).astype('f4')
    biases = dict(b_enc=np.zeros(2**15, 'f4'), b_dec=np.zeros(16, 'f4'))
    arrays = dict(W_enc=W.T.copy(), W_dec=W, architecture='topk', k=8, **biases)
    space = FeatureSpace.load(model=t.make_model(), sae=arrays, site='blocks.1.hook_resid_post', name='wide')
    collect(space, t.TEXTS, progress=False)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    acts, = collect(space, t.TEXTS*40, max_tokens=5000, batch=64, progress=False)
    assert len(acts) == 5000 and acts.nnz == 40_000
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)/1e3)
"""

@pytest.mark.skipif(sys.platform != 'linux', reason='ru_maxrss counts in other units')
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
    (dict(shard=0), 'shard=0'), (dict(spaces=[]), 'No spaces'), (dict(spaces='A'), 'A space that is a str')])
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
    with pytest.raises(FeatgeomError, match='vocabularies of 512 and 105 tokens'):
        collect([spaces[0], Space(other, ToySAE(128, 9))], texts, tmp_path/'x', progress=False)
