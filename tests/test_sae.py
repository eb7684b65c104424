"SAEs: equal to sae-lens, safe to load, trained reproducibly, and judged by the right FVU at the right site."
import json, warnings

import numpy as np
import pytest
import scipy.sparse as sp
import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from featgeom import sae as S
from featgeom.core import FeatgeomError
from featgeom.models import capture, load_model, token_windows
from featgeom.sae import FVU, SAE, FeatureSpace, Neurons, fvu, load_sae

D, F = 16, 64
ARCHITECTURES = [('standard', 'Standard', {}), ('topk', 'TopK', dict(k=5)),
                 ('topk', 'TopK', dict(k=5, rescale_acts_by_decoder_norm=True)), ('jumprelu', 'JumpReLU', {}),
                 ('gated', 'Gated', {}), ('abstopk', 'AbsTopK', dict(k=5)),
                 ('abstopk', 'AbsTopK', dict(k=5, rescale_acts_by_decoder_norm=True)),
                 ('matching_pursuit', 'MatchingPursuit', {}),
                 ('matching_pursuit', 'MatchingPursuit', dict(residual_threshold=2., stop_on_duplicate_support=False)),
                 ('matching_pursuit', 'MatchingPursuit', dict(residual_threshold=-1., max_iterations=7,
                                                              stop_on_duplicate_support=False))]


def lens(name, seed=0, **kw):
    "A sae-lens SAE with random weights."
    from sae_lens import saes
    sae = getattr(saes, f'{name}SAE')(getattr(saes, f'{name}SAEConfig')(d_in=D, d_sae=F, **kw))
    g = torch.Generator().manual_seed(seed)
    for p in sae.parameters(): p.data = torch.randn(p.shape, generator=g) * .4
    if name == 'MatchingPursuit': sae.W_dec.data /= sae.W_dec.data.norm(dim=1, keepdim=True)  # else it does not end
    return sae


def rows(n=200, seed=1): return torch.randn(n, D, generator=torch.Generator().manual_seed(seed)) + .5


def arrays(seed=0, d=D, f=F):
    rng = np.random.default_rng(seed)
    return dict(W_enc=rng.normal(size=(d, f)), W_dec=rng.normal(size=(f, d)), b_enc=rng.normal(size=f),
                b_dec=rng.normal(size=d))


def tokenizer():
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tok = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(['<s>', '<unk>'] + alphabet)}, merges=[],
                               unk_token='<unk>'))
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.post_processor = processors.TemplateProcessing(single='<s> $A', pair='<s> $A $B', special_tokens=[('<s>', 0)])
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tok, bos_token='<s>', unk_token='<unk>',
                                                pad_token='<s>')


@pytest.fixture(scope='module')
def hf():
    config = transformers.GPT2Config(vocab_size=258, n_positions=64, n_embd=D, n_layer=3, n_head=2,
                                     initializer_range=.3,
                                     bos_token_id=0, eos_token_id=0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return transformers.GPT2LMHeadModel(config).eval()


@pytest.fixture(scope='module')
def lm(hf): return load_model(hf, tokenizer())


TEXTS = [f'text number {i} says {i * i} and 🌧' for i in range(60)]
SITE = 'blocks.1.hook_resid_post'


def dense(sae, x):
    indptr, indices, values = sae.encode_csr(x)
    assert indptr.dtype == indices.dtype == np.int32 and values.dtype == np.float32
    return sp.csr_array((values, indices, indptr), shape=(len(x), sae.d_sae))


# ---- equal to sae-lens

@pytest.mark.parametrize('norm', ['none', 'layer_norm', 'constant_norm_rescale'])
@pytest.mark.parametrize('b_dec', [True, False])
@pytest.mark.parametrize('architecture, name, kw', ARCHITECTURES)
def test_encode_and_decode_equal_sae_lens(architecture, name, kw, b_dec, norm, tmp_path):
    theirs = lens(name, apply_b_dec_to_input=b_dec, normalize_activations=norm, **kw)
    theirs.save_model(tmp_path / 'theirs')
    x = rows()
    codes = theirs.encode(x).detach()
    x_hat = theirs(x).detach()
    for ours in (load_sae(tmp_path / 'theirs'), load_sae(theirs)):
        assert ours.architecture == architecture and (codes != 0).any() and (codes == 0).any()
        torch.testing.assert_close(ours.encode(x), codes, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(ours.reconstruct(x), x_hat, rtol=1e-5, atol=1e-5)
        if norm == 'none':
            torch.testing.assert_close(ours.decode(codes), theirs.decode(codes).detach(), rtol=1e-5, atol=1e-5)
        else:
            with pytest.raises(FeatgeomError, match='reconstruct'): ours.decode(codes)
    from sae_lens import SAE as Lens
    ours.save(tmp_path / 'ours')
    again = Lens.load_from_disk(tmp_path / 'ours')
    torch.testing.assert_close(again.encode(x).detach(), codes, rtol=1e-5, atol=1e-5)
    assert load_sae(tmp_path / 'ours').hash == ours.hash == load_sae(again).hash


@pytest.mark.parametrize('architecture, name, kw', ARCHITECTURES)
def test_sparse_encode_equals_dense(architecture, name, kw, monkeypatch):
    ours, x = load_sae(lens(name, **kw)), rows(333)
    for rows_at_once in (1000, 64, 7):
        monkeypatch.setattr(S, '_slice', lambda f: rows_at_once)
        got = dense(ours, x)
        assert got.has_canonical_format and (got.data != 0).all()
        np.testing.assert_allclose(got.toarray(), ours.encode(x).numpy(), rtol=1e-5, atol=1e-5)
    for few in (0, 1): assert dense(ours, x[:few]).shape == (few, F)


def test_one_transfer_leaves_the_device_for_each_slice(monkeypatch):
    seen, real = [], torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, 'cpu', lambda o, *a: seen.append(tuple(o.shape)) or real(o, *a))
    monkeypatch.setattr(S, '_slice', lambda f: 50)
    for kw in (dict(k=5), {}):
        seen.clear()
        load_sae(dict(arrays(), **kw)).encode_csr(rows(200))
        assert len(seen) == 4


def test_groupmax_and_skip_come_back_as_they_were(tmp_path):
    weights = dict(arrays(), W_skip=np.random.default_rng(1).normal(size=(D, D)))
    sae, x = load_sae(dict(weights, architecture='groupmax', k=8)), rows()
    z = ((x - sae.b_dec) @ sae.W_enc + sae.b_enc).relu().reshape(-1, 8, F // 8)
    codes = torch.where(z == z.amax(-1, keepdim=True), z, 0).reshape(-1, F)
    torch.testing.assert_close(sae.encode(x), codes)
    np.testing.assert_allclose(dense(sae, x).toarray(), codes, rtol=1e-6)
    torch.testing.assert_close(sae.reconstruct(x), codes @ sae.W_dec + sae.b_dec + x @ sae.W_skip.T)
    with pytest.raises(FeatgeomError, match='adds a linear map of the input'): sae.decode(codes)
    again = load_sae(sae.save(tmp_path))
    assert again.hash == sae.hash and torch.equal(again.reconstruct(x), sae.reconstruct(x))
    assert load_sae(dict(arrays(), architecture='groupmax', k=8)).hash != sae.hash
    with pytest.raises(FeatgeomError, match='W_skip .* shape'): load_sae(dict(weights, W_skip=np.zeros((F, D))))


def test_every_architecture_of_sae_lens_is_read_or_refused_with_a_reason():
    from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory
    from sae_lens.registry import SAE_CLASS_REGISTRY
    names = set(SAE_CLASS_REGISTRY)
    assert len(names) >= 11 and names <= set(S.ARCHITECTURES) | set(S._REFUSED), 'a new architecture'
    tested = {architecture for architecture, _, _ in ARCHITECTURES}
    assert names - set(S._REFUSED) <= tested, 'an architecture that is not compared'
    for name in names & set(S._REFUSED):
        with pytest.raises(FeatgeomError, match=S._REFUSED[name]): SAE(load_sae(arrays()).weights, name)
    assert not [o for o in get_pretrained_saes_directory() if '/' in o]    # a name with / is one on the hub


def test_objects_of_refused_architectures_say_why():
    from sae_lens import saes
    theirs = saes.Transcoder(saes.TranscoderConfig(d_in=D, d_sae=F, d_out=D, apply_b_dec_to_input=False))
    with pytest.raises(FeatgeomError, match='reads one site and writes another'): load_sae(theirs)
    with pytest.raises(FeatgeomError, match='sae of type Linear'): load_sae(torch.nn.Linear(2, 2))


@pytest.mark.parametrize('name', ['BatchTopK', 'MatryoshkaBatchTopK'])
def test_training_saes_that_are_saved_as_jumprelu(name, tmp_path):
    from sae_lens import SAE as Lens, saes
    extra = dict(matryoshka_widths=[16, F]) if 'Matryoshka' in name else {}
    training = getattr(saes,
                       f'{name}TrainingSAE')(getattr(saes, f'{name}TrainingSAEConfig')(d_in=D, d_sae=F, k=4, **extra))
    training.topk_threshold = torch.tensor(.05, dtype=torch.double)
    training.save_inference_model(tmp_path)
    theirs, x = Lens.load_from_disk(tmp_path), rows()
    for ours in (load_sae(tmp_path), load_sae(training)):
        assert ours.architecture == 'jumprelu'
        torch.testing.assert_close(ours.encode(x), theirs.encode(x).detach(), rtol=1e-5, atol=1e-5)


def test_ties_fall_as_in_sae_lens():
    theirs = lens('TopK', k=3)
    theirs.W_enc.data = theirs.W_enc.data[:, :1].repeat(1, F)
    theirs.b_enc.data = torch.zeros(F)
    ours, x = load_sae(theirs), rows(50)
    assert torch.equal(ours.encode(x), theirs.encode(x).detach())
    np.testing.assert_array_equal(dense(ours, x).toarray(), ours.encode(x).numpy())


def test_hand_set_weights():
    eye, zero = np.eye(2, dtype=np.float32), np.zeros(2, np.float32)
    x = torch.tensor([[2., 1.], [1., 3.], [-1., -1.], [.2, .1]])
    base = dict(W_enc=eye, W_dec=2 * eye, b_dec=zero)
    assert load_sae(dict(base, b_enc=zero)).encode(x).tolist()[:3] == [[2, 1], [1, 3], [0, 0]]
    assert load_sae(dict(base, b_enc=zero, k=1)).encode(x).tolist()[:3] == [[2, 0], [0, 3], [0, 0]]
    jump = load_sae(dict(base, b_enc=zero, threshold=np.float32([1, 1])))
    assert jump.encode(x).tolist() == [[2, 0], [0, 3], [0, 0], [0, 0]]           # 1 is not above 1
    gated = load_sae(dict(base, b_gate=np.float32([-1.5, 0]), r_mag=np.log(np.float32([1, 2])),
                          b_mag=np.float32([0, 1])))
    np.testing.assert_allclose(gated.encode(x)[:3], [[2, 3], [0, 7], [0, 0]], rtol=1e-6)
    shifted = load_sae(dict(base, b_enc=zero, b_dec=np.float32([1, 0])))
    assert shifted.encode(x).tolist()[0] == [1, 1] and shifted.decode([[1, 1]]).tolist() == [[3, 2]]
    assert load_sae(dict(base, b_enc=zero, b_dec=np.float32([1, 0]),
                         apply_b_dec_to_input=False)).encode(x).tolist()[0] == [2, 1]


def test_topk_keeps_k_and_only_positive():
    sae = load_sae(dict(arrays(), k=7))
    assert (dense(sae, rows() * 100).sum(1) > 0).all() and np.diff(sae.encode_csr(rows() * 10)[0]).max() == 7
    low = load_sae(dict(arrays(), b_enc=np.full(F, -1e4), k=7))
    assert low.encode_csr(rows())[0][-1] == 0


def test_hash_is_of_what_decides_the_numbers():
    base = load_sae(dict(arrays(), k=4))
    assert base.hash == load_sae(dict({key: np.float32(value) for key, value in arrays().items()}, k=4)).hash
    assert base.hash == SAE(base.weights, 'topk', {'model_name': 'x'}, 'other', k=4).hash
    for other in (dict(arrays(), k=5), arrays(), dict(arrays(), k=4, apply_b_dec_to_input=False),
                  dict(arrays(), k=4, rescale_acts_by_decoder_norm=True), dict(arrays(1), k=4)):
        assert load_sae(other).hash != base.hash


# ---- loading

def test_releases_go_through_sae_lens(monkeypatch):
    import sae_lens
    asked = []
    def fake(release, sae_id):
        asked.append((release, sae_id))
        return lens('TopK', k=3)
    monkeypatch.setattr(sae_lens.SAE, 'from_pretrained', staticmethod(fake))
    got = load_sae('some-release:layer_3/width_16k/average_l0_71')
    assert asked == [('some-release', 'layer_3/width_16k/average_l0_71')] and got.architecture == 'topk'


def test_unknown_releases_say_so():
    with pytest.raises(FeatgeomError, match='no-such-release'): load_sae('no-such-release:x')


def test_float16_files_load_as_float32(tmp_path):
    sae = load_sae(dict(arrays(), k=4))
    sae.save(tmp_path, dtype=torch.float16)
    assert {v.dtype for v in load_file(tmp_path / 'sae_weights.safetensors').values()} == {torch.float16}
    again = load_sae(tmp_path)
    assert {v.dtype for v in again.weights.values()} == {torch.float32}
    torch.testing.assert_close(again.W_dec, sae.W_dec, rtol=1e-3, atol=1e-3)
    with pytest.raises(FeatgeomError, match='float16'):
        load_sae(dict(arrays(), b_dec=np.full(D, 1e6))).save(tmp_path, dtype=torch.float16)


def test_one_array_under_two_names_is_saved(tmp_path):
    W, b = torch.from_numpy(arrays()['W_dec']).float(), torch.zeros(F)
    sae = SAE(dict(W_enc=W.T, W_dec=W, b_dec=torch.zeros(D), b_gate=b, b_mag=b, r_mag=b), 'gated')
    assert load_sae(sae.save(tmp_path)).hash == sae.hash


def test_a_safetensors_file_of_arrays(tmp_path):
    save_file({key: torch.tensor(value) for key, value in arrays().items()}, tmp_path / 'mine.safetensors')
    assert load_sae(tmp_path / 'mine.safetensors').hash == load_sae(arrays()).hash


def test_folders_from_before_version_6_are_read_as_sae_lens_reads_them(tmp_path):
    from sae_lens import SAE as Lens
    theirs = lens('Standard')
    theirs.save_model(tmp_path)
    old = dict(d_in=D, d_sae=F, dtype='float32', device='cpu', hook_point='blocks.1.hook_resid_post',
               model_name='gpt2-small', prepend_bos=True,
               activation_fn_str='relu', normalize_activations=False, context_size=128)
    (tmp_path / 'cfg.json').write_text(json.dumps(old))
    weights = load_file(tmp_path / 'sae_weights.safetensors')
    save_file({**weights, 'scaling_factor': torch.ones(F)}, tmp_path / 'sae_weights.safetensors')
    ours = load_sae(tmp_path)
    assert ours.metadata['hook_name'] == 'blocks.1.hook_resid_post'
    torch.testing.assert_close(ours.encode(rows()), Lens.load_from_disk(tmp_path).encode(rows()).detach(), rtol=1e-5,
                               atol=1e-5)
    save_file({**weights, 'scaling_factor': torch.full((F,), 2.)}, tmp_path / 'sae_weights.safetensors')
    with pytest.raises(FeatgeomError, match='scaling factor'): load_sae(tmp_path)


def test_the_scale_of_inputs_is_folded_in_or_the_sae_refused(tmp_path):
    theirs = lens('Standard', normalize_activations='expected_average_only_in')
    theirs.save_model(tmp_path)
    with pytest.raises(FeatgeomError, match='whose scale is not in its weights'): load_sae(tmp_path)
    (tmp_path / 'activation_scaler.json').write_text('{"scaling_factor": 2.5}')
    ours, x = load_sae(tmp_path), rows()
    torch.testing.assert_close(ours.encode(x), theirs.encode(x * 2.5).detach(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.reconstruct(x), theirs(x * 2.5).detach() / 2.5, rtol=1e-4, atol=1e-4)
    (tmp_path / 'activation_scaler.json').write_text('[2.5]')
    with pytest.raises(FeatgeomError, match='no table'): load_sae(tmp_path)


def test_the_scale_of_inputs_of_a_tied_sae_is_folded_as_sae_lens_folds_it(tmp_path):
    theirs = lens('MatchingPursuit', normalize_activations='expected_average_only_in', residual_threshold=2.)
    theirs.save_model(tmp_path)
    (tmp_path / 'activation_scaler.json').write_text('{"scaling_factor": 2.5}')
    theirs.fold_activation_norm_scaling_factor(2.5)
    ours, x = load_sae(tmp_path), rows()
    torch.testing.assert_close(ours.encode(x), theirs.encode(x).detach(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.reconstruct(x), theirs(x).detach(), rtol=1e-4, atol=1e-4)


def saved(tmp_path, **cfg_changes):
    load_sae(dict(arrays(), k=4)).save(tmp_path)
    cfg = json.loads((tmp_path / 'cfg.json').read_text())
    cfg.update(cfg_changes)
    (tmp_path / 'cfg.json').write_text(json.dumps(cfg))
    return tmp_path


@pytest.mark.parametrize('changes, says', [
    (dict(d_in=8), r'says 8 -> 64, its W_dec .* \(64, 16\)'), (dict(d_sae=None), 'says 16 -> None'),
                                           (dict(k=0), 'k=0'), (dict(k=65), '1 to 64'),
    (dict(k='4'), "k='4'"), (dict(architecture='transcoder'), 'reads one site and writes another'),
    (dict(architecture='temporal'), 'depend on the tokens before'), (dict(architecture=None), 'One of standard'),
    (dict(architecture=['topk']), 'One of standard'), (dict(k=True), 'k=True'), (dict(metadata=dict(sae_lens_version='6.0', hook_name=[1])), 'no name'),
    (dict(apply_b_dec_to_input='yes'), 'True or False'), (dict(architecture='groupmax', k=5), 'divides 64'),
    (dict(max_iterations=10**9), 'None, or a whole number'), (dict(residual_threshold=float('nan')), 'finite'),
    (dict(architecture='jumprelu'), 'Add threshold'),
                                           (dict(normalize_activations='covariance_whitening'), 'covariance_whitening'),
    (dict(reshape_activations='odd'), 'reshape_activations'), (dict(metadata=[1]), 'metadata that are no table')])
def test_configurations_that_disagree_with_weights_are_refused(tmp_path, changes, says):
    with pytest.raises(FeatgeomError, match=says): load_sae(saved(tmp_path, **changes))


@pytest.mark.parametrize('content', [b'', b'{', b'[]', b'\xff\xfe', b'{"d_in": 16' * 5])
def test_damaged_configurations_are_refused(tmp_path, content):
    saved(tmp_path)
    (tmp_path / 'cfg.json').write_bytes(content)
    with pytest.raises(FeatgeomError): load_sae(tmp_path)


def test_hostile_safetensors_headers_are_refused(tmp_path):
    saved(tmp_path)
    at = tmp_path / 'sae_weights.safetensors'
    whole = at.read_bytes()
    header = lambda d: len(json.dumps(d)).to_bytes(8, 'little') + json.dumps(d).encode()
    huge = header({'W_enc': dict(dtype='F32', shape=[2**40, 2**40], data_offsets=[0, 16])}) + bytes(16)
    beyond = header({'W_enc': dict(dtype='F32', shape=[4], data_offsets=[0, 10**12])}) + bytes(16)
    odd = header({'W_enc': dict(dtype='Q9', shape=[4], data_offsets=[0, 16])}) + bytes(16)
    for broken in (b'', b'x', (2**63).to_bytes(8, 'little') + b'{}', whole[:-10], whole[:100], b'\x80\x04' + whole,
                   huge, beyond, odd):
        at.write_bytes(broken)
        with pytest.raises(FeatgeomError, match='damaged|shape|Add'): load_sae(tmp_path)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FeatgeomError, match='No SAE at /no/such/sae'): load_sae('/no/such/sae')
    with pytest.raises(FeatgeomError, match='no weights of an SAE, only nothing.*sparsify'): load_sae(tmp_path)
    saved(tmp_path)
    saved(tmp_path / 'other' / 'one')
    with pytest.raises(FeatgeomError, match='Pass one of the folders inside: one'): load_sae(tmp_path / 'other')
    (tmp_path / 'cfg.json').rename(tmp_path / 'a.json')
    with pytest.raises(FeatgeomError, match='sae_weights.safetensors of sae-lens but no cfg.json'): load_sae(tmp_path)
    (tmp_path / 'sae_weights.safetensors').unlink()
    with pytest.raises(FeatgeomError, match='only a.json'): load_sae(tmp_path)
    with pytest.raises(FeatgeomError, match='No SAE at'): load_sae('x' * 5000)
    with pytest.raises(FeatgeomError, match='sae of type int'): load_sae(3)


@pytest.mark.parametrize('name', ['sae.pt', 'sae.bin', 'sae.pkl', 'sae.npz', 'ae.pth'])
def test_pickles_are_refused_unread(tmp_path, name):
    import pickle
    ran = tmp_path / 'ran'
    class Evil:
        def __reduce__(self): return (open, (str(ran), 'w'))
    (tmp_path / 'folder').mkdir()
    for at in (tmp_path / name, tmp_path / 'folder' / name):
        at.write_bytes(pickle.dumps(Evil()))
        with pytest.raises(FeatgeomError, match='can run any code'):
            load_sae(at if at.parent == tmp_path else at.parent)
    assert not ran.exists()


@pytest.mark.parametrize('key', ['W_enc', 'W_dec', 'b_enc', 'b_dec'])
@pytest.mark.parametrize('bad', [np.nan, np.inf])
def test_non_finite_weights_are_named(key, bad):
    broken = arrays()
    broken[key].flat[3] = bad
    with pytest.raises(FeatgeomError, match=f'1 of .* NaN or Inf in {key}'): load_sae(broken)


@pytest.mark.parametrize('change, says',
                         [(dict(W_enc=np.zeros((F, D))), 'W_enc .* shape'), (dict(b_enc=np.zeros(3)), 'b_enc'),
                                          (dict(W_dec=np.zeros(5)), 'shape'), (dict(b_dec=np.zeros(D, int)), 'int64'),
                          (dict(odd=1), 'Leave out odd'),
                                          (dict(k=3, architecture='nothing'), 'nothing'),
                          (dict(W_dec=np.zeros((0, D)), W_enc=np.zeros((D, 0)), b_enc=np.zeros(0)), 'shape')])
def test_arrays_that_make_no_sae_are_refused(change, says):
    with pytest.raises(FeatgeomError, match=says): load_sae({**arrays(), **change})


@pytest.mark.parametrize('x', [torch.zeros(3, 5), torch.zeros(D), torch.zeros(2, 3, D)])
def test_activations_of_another_shape_are_refused(x):
    sae = load_sae(arrays())
    for call in (sae.encode, sae.encode_csr, sae.reconstruct):
        with pytest.raises(FeatgeomError, match=r'reads \(n, 16\)'): call(x)
    with pytest.raises(FeatgeomError, match='Codes of shape'): sae.decode(x)
    with pytest.raises(FeatgeomError, match='2 rows of codes, 3 of'): sae.reconstruct(torch.zeros(3, D), torch.zeros(2, sae.d_sae))


# ---- FVU

def test_fvu_of_the_two_token_oracle():
    x, x_hat = np.array([[2., 0], [0, 4]]), np.array([[2., 1], [0, 3]])
    assert fvu(x, x_hat) == pytest.approx(.2, abs=1e-12) and fvu(x, x) == 0 and fvu(x, x * 0 + x.mean(0)) == 1


def test_fvu_of_known_predictors():
    rng = np.random.default_rng(0)
    sd = np.arange(1, 11)
    x = 3 + sd * rng.normal(size=(200_000, 10))
    assert fvu(x, x * 0) == pytest.approx(1 + 90 / (sd**2).sum(),
                                          rel=5e-3)                   # 1 + |mu|^2 / tr(Sigma), 1.234
    assert fvu(x, x + 1.5) == pytest.approx(10 * 1.5**2 / x.var(0).sum(), rel=1e-9)          # an offset is an error
    centred = x - x.mean(0)
    w, v = np.linalg.eigh(centred.T @ centred)
    top = v[:, -4:]
    assert fvu(x, centred @ top @ top.T + x.mean(0)) == pytest.approx(w[:-4].sum() / w.sum(), rel=1e-9)


@pytest.mark.parametrize('mu, sd', [(3, 1), (0, 10)])
def test_fvu_where_published_code_fails(mu, sd):
    rng = np.random.default_rng(1)
    x = mu + sd * rng.normal(size=(20_000, 64))
    assert 1 - fvu(x, x + .3 * sd * rng.normal(size=x.shape)) == pytest.approx(.910, abs=1e-3)


def test_fvu_does_not_depend_on_batches():
    rng = np.random.default_rng(2)
    x = 1e4 + rng.normal(size=(5000, 8))
    x_hat = x + .1 * rng.normal(size=x.shape)
    whole = fvu(x, x_hat)
    assert whole == pytest.approx(((x - x_hat)**2).sum() / ((x - x.mean(0))**2).sum(), rel=1e-10)
    for cuts in ([1, 2, 3], [100, 4000], sorted(rng.choice(5000, 40, replace=False))):
        order, stream = rng.permutation(5000), FVU()
        for part in np.split(order, cuts): stream.add(x[part], x_hat[part])
        assert stream.value == pytest.approx(whole, rel=1e-10)
    with pytest.raises(FeatgeomError, match='without variance'): fvu(x[:1], x[:1])
    with pytest.raises(FeatgeomError, match='without variance'): FVU().value


def test_left_out_equals_leaving_out():
    x, x_hat = rows(103), rows(103, 2)
    got = S._left_out(x, x_hat, 10)
    parts = np.array_split(np.arange(103), 10)
    for i in range(10):
        rest = np.concatenate(parts[:i] + parts[i + 1:])
        assert got[i] == pytest.approx(fvu(x[rest], x_hat[rest]), rel=1e-9)


def test_a_better_site_is_named_only_when_that_is_clear():
    flat, wave = np.ones(20), np.resize([1., -1.], 20)
    clear, noisy, slight = .4 * flat, .4 * flat + .02 * wave, .47 * flat           # jackknife error of the noisy one: .087
    assert S._better_site(dict(home=.5 * flat, a=noisy, b=clear, c=slight)) == 'b'
    assert S._better_site(dict(home=.5 * flat, a=noisy, c=slight)) is None
    assert S._better_site(dict(home=9. * flat, a=1.1 * flat)) is None              # both useless
    assert S._better_site(dict(home=.5 * flat)) is None


# ---- FeatureSpace and health

def every_row(lm, site=SITE):
    "Activations of all kept tokens of the texts, one window at a time."
    windows = list(token_windows(lm, TEXTS))
    x = [capture(lm, torch.from_numpy(w.ids[None]), [site])[site][0][torch.from_numpy(w.keep)] for w in windows]
    return torch.cat(x)


def pca_sae(lm, site, k=6):
    "An SAE that is at home at a site by construction: its features are the two signs of each principal direction."
    x = every_row(lm, site)
    u = torch.linalg.svd(x - x.mean(0), full_matrices=False)[2][:k]
    both = torch.cat([u, -u])
    return dict(W_enc=both.T, W_dec=both, b_enc=torch.zeros(2 * k), b_dec=x.mean(0), metadata=dict(hook_name=site))


def test_a_space_takes_its_site_from_the_metadata(lm):
    sae = load_sae(dict(pca_sae(lm, SITE)))
    space = FeatureSpace.load(lm, sae)
    assert (space.site, space.d, space.f) == (SITE, D, 12) and space.model is lm
    assert set(space.provenance()) >= {'model', 'model_hash', 'site', 'sae', 'sae_hash', 'architecture', 'd', 'f'}
    assert space.provenance()['sae_hash'] == sae.hash and space.provenance()['model_hash'] == lm.hash
    json.dumps(space.provenance())
    assert SITE in repr(space) and 'f=12' in repr(space) and 'health' not in repr(space)


def test_spaces_that_cannot_be(lm):
    with pytest.raises(FeatgeomError, match='does not say where it was trained.*blocks.0.hook_resid_post'):
        FeatureSpace.load(lm, arrays())
    with pytest.raises(FeatgeomError, match='reads 8-wide activations, site blocks.0.hook_resid_post .* is 16 wide'):
        FeatureSpace.load(lm, arrays(d=8), site='blocks.0.hook_resid_post')
    with pytest.raises(FeatgeomError, match='nearest: blocks.0.hook_resid_post'):
        FeatureSpace.load(lm, arrays(), site='blocks.0.hook_resid_pots')


def test_a_model_loaded_for_an_sae_follows_its_bos(hf, tmp_path):
    hf.save_pretrained(tmp_path)
    tok = tokenizer()
    tok.save_pretrained(tmp_path)
    for bos, prefix in ((True, (0,)), (False, ()), (None, (0,))):
        meta = dict(hook_name=SITE, **({} if bos is None else dict(prepend_bos=bos)))
        assert FeatureSpace.load(tmp_path, dict(arrays(), metadata=meta), device='cpu').model.prefix == prefix


def test_health_equals_a_naive_computation(lm):
    sae = load_sae(dict(arrays(3), k=5))
    space = FeatureSpace.load(lm, sae, site=SITE)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        found = space.health(TEXTS, max_tokens=700)
    x = every_row(lm)[:700]
    codes = sae.encode(x).numpy()
    x_hat, x = sae.reconstruct(x).numpy().astype(float), x.numpy().astype(float)
    assert found.n_tokens == 700
    assert found.fvu == pytest.approx(((x - x_hat)**2).sum() / ((x - x.mean(0))**2).sum(), rel=1e-4)
    assert found.l0 == pytest.approx((codes != 0).sum(1).mean())
    assert found.dead == pytest.approx((codes == 0).all(0).mean())
    assert found.nonzero == pytest.approx((codes != 0).mean())
    assert np.abs(found.fires - (codes != 0).sum(0)).max() <= 1 and found.l0_counts.sum() == 700
    assert 'health: FVU' in repr(space)


def test_health_does_not_depend_on_windows_of_other_sites(lm):
    space = FeatureSpace.load(lm, pca_sae(lm, SITE))
    a, b = (S.health(space, TEXTS, site_tokens=n) for n in (50, 100_000))
    assert a.fvu == pytest.approx(b.fvu, rel=1e-9) and b.n_by_site == b.n_tokens and a.n_by_site == 50
    assert b.by_site[SITE] == pytest.approx(b.fvu, rel=1e-6) and list(a.by_site)[0] == SITE


@pytest.mark.parametrize('home',
                         ['blocks.0.hook_resid_post', SITE, 'blocks.2.hook_resid_post', 'blocks.1.hook_mlp_out'])
def test_health_names_the_site_where_the_sae_is_at_home(lm, home):
    sae = load_sae(pca_sae(lm, home))
    at_home = S.health(FeatureSpace.load(lm, sae), TEXTS)
    assert not [o for o in at_home.warnings if 'clearly better' in o]
    kind = home.split('.', 2)[2]
    for other in (o for o in lm.sites() if o.split('.', 2)[2] == kind and o != home):
        space = FeatureSpace.load(lm, sae, site=other)
        with pytest.warns(UserWarning, match=f'{home} is reconstructed clearly better than {other}'):
            found = space.health(TEXTS)
        assert found.fvu > at_home.fvu and any(f'trained at {home}, by its metadata' in o for o in found.warnings)


def test_the_same_tensor_under_another_name_is_no_other_site(lm):
    sae = load_sae(pca_sae(lm, 'blocks.1.hook_resid_pre'))
    found = S.health(FeatureSpace.load(lm, sae, site='blocks.0.hook_resid_post'), TEXTS)
    assert not [o for o in found.warnings if 'clearly better' in o or 'trained at' in o]
    assert 'blocks.1.hook_resid_pre' not in found.by_site


@pytest.mark.parametrize('meta, says',
                         [(dict(model_name='pythia-70m'), 'trained on model pythia-70m'),
                          (dict(hook_name='blocks.2.hook_resid_post'), 'trained at'),
                                        (dict(hook_name='blocks.9.hook_resid_post'), 'trained at'),
                          (dict(prepend_bos=False), 'without BOS')])
def test_metadata_that_name_something_else_are_told(lm, meta, says):
    space = FeatureSpace.load(lm, dict(pca_sae(lm, SITE), metadata=meta), site=SITE)
    with pytest.warns(UserWarning, match=says): found = space.health(TEXTS)
    assert any(says in o for o in found.warnings)


@pytest.mark.parametrize('meta',
                         [{}, dict(model_name='openai-community/gpt2'),
                          dict(model_name='gpt2-small', hook_name='blocks.1.hook_out'), dict(prepend_bos=True)])
def test_metadata_that_agree_are_not_told(hf, meta):
    lm = load_model(hf, tokenizer())
    lm.name = 'gpt2'
    meta = {key: lm.site(value) if key == 'hook_name' else value for key, value in meta.items()}
    space = FeatureSpace.load(lm, dict(pca_sae(lm, SITE), metadata=meta), site=SITE)
    assert S.health(space, TEXTS).warnings == ()


def test_dead_and_useless_saes_are_told(lm):
    dead = dict(arrays(), b_enc=np.full(F, -1e6))
    with pytest.warns(UserWarning, match='All 64 features are dead'):
        found = FeatureSpace.load(lm, dead, site=SITE).health(TEXTS)
    assert found.dead == 1 and found.l0 == 0 and len(found.warnings) == 1
    with pytest.warns(UserWarning, match='no better than the mean'):
        found = FeatureSpace.load(lm, arrays(), site=SITE).health(TEXTS)
    assert len(found.warnings) == 1                                   # no other site is named when all are useless


def test_fvu_gate_sees_codes_without_topk(lm):
    sae = load_sae(dict(pca_sae(lm, SITE, 12), k=3))
    x = rows(500) * 3
    before = torch.relu((x - sae.b_dec) @ sae.W_enc + sae.b_enc)
    assert (sae.encode(x) != 0).sum(1).max() == 3 and (before != 0).sum(1).float().mean() > 6
    assert not torch.allclose(sae.decode(before), sae.reconstruct(x))


def test_nan_activations_are_an_error_and_not_a_number(hf):
    lm = load_model(hf, tokenizer())
    space = FeatureSpace.load(lm, arrays(), site=SITE)
    handle = hf.transformer.h[1].mlp.register_forward_hook(lambda m, a, out: out * float('nan'))
    try:
        with pytest.raises(FeatgeomError, match='NaN or Inf in activations at blocks.1.hook_resid_post'):
            space.health(TEXTS)
    finally: handle.remove()


def test_neurons_are_a_space_without_an_sae(lm):
    space = FeatureSpace.load(lm, site=SITE)
    assert space.dense and not FeatureSpace.load(lm, arrays(), site=SITE).dense
    assert (space.d, space.f, space.site) == (D, D, SITE) and 'neurons, no SAE, d=16' in repr(space)
    x = rows()
    assert torch.equal(space.sae.encode(x), x) and torch.equal(space.sae.reconstruct(x.half()), x.half().float())
    assert torch.equal(space.sae.W_dec, torch.eye(D)) and torch.equal(space.sae.decode(x), x)
    assert space.provenance()['architecture'] == 'neurons' and len(space.sae.hash) == 64
    assert space.sae.hash != Neurons(D + 1).hash
    found = space.health(TEXTS)
    assert found.fvu == 0 and found.l0 == D and found.dead == 0 and list(found.by_site) == [SITE]
    assert found.warnings == () and found.n_tokens == len(every_row(lm))
    again = FeatureSpace.load(lm, space.sae, site=SITE)
    assert again.provenance() == space.provenance()
    with pytest.raises(FeatgeomError, match='No SAE and no site'): FeatureSpace.load(lm)
    with pytest.raises(FeatgeomError, match='shape'): space.sae.encode(torch.zeros(3, 5))


def test_planted_sinks_and_outlier_dimensions_are_told(hf):
    lm, block = load_model(hf, tokenizer()), hf.transformer.h[1]
    clean = S.health(FeatureSpace.load(lm, pca_sae(lm, SITE)), TEXTS)
    assert clean.sinks == {} and clean.outlier_dims == () and 'sink' not in clean.line
    def plant(sizes):
        def hook(module, args, out):
            x = (out[0] if isinstance(out, tuple) else out).clone()
            for place, dim, size in sizes: x[:, place, dim] += size
            return (x, *out[1:]) if isinstance(out, tuple) else x
        return block.register_forward_hook(hook)
    for site_sizes, sinks, dims in ((((3, 7, 1e3),), len(TEXTS), (7,)), (((slice(None), 4, 300.),), 0, (4,))):
        handle = plant(site_sizes)
        try:
            for sae in (None, pca_sae(lm, SITE)):
                with warnings.catch_warnings():
                    warnings.simplefilter('ignore')
                    space = FeatureSpace.load(lm, sae, site=SITE)
                    found = space.health(TEXTS)
                assert found.sinks.get('n', 0) == sinks and found.outlier_dims == dims
                assert ('attention sinks' in repr(space)) == bool(sinks) and ', 1 outlier dimension' in repr(space)
                assert any('features.outliers' in o for o in found.warnings)
                if sinks:
                    assert found.sinks['positions'] == [(2, sinks)]           # BOS stands in front of position 0
                    assert found.sinks['share'] == pytest.approx(sinks / found.n_tokens)
                    assert sum(n for _, n in found.sinks['tokens']) == sinks and found.sinks['tokens'][0][0] == 'x'
        finally: handle.remove()


@pytest.mark.parametrize('texts', [[], [''], 'text', [3]])
def test_health_of_no_text(lm, texts):
    with pytest.raises(FeatgeomError): FeatureSpace.load(lm, arrays(), site=SITE).health(texts)


def test_health_shows_itself(lm):
    found = S.health(FeatureSpace.load(lm, pca_sae(lm, SITE)), TEXTS)
    assert found.table().iloc[0].site == SITE and len(found.table()) == len(found.by_site)
    assert len(found.plot().axes) == 2
