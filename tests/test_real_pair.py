"""The main job on two real models trained on TinyStories by other people: SAEs at layers 0, 2 and 4, compared with their nulls.

Runs when FEATGEOM_TEST_DATA names the folder with the models. Everything is trained and collected once for the module; the slow
tests make the same claims of SAEs of twice the width, trained three times as long, on more than twice the text."""
from collections import namedtuple
import json

import numpy as np
import pytest

import featgeom as fg
from featgeom.acts import FeatureActs
from featgeom.comparison import main
from featgeom.matching import match

LAYERS, MODELS = (0, 2, 4), ('stories260k', 'llama2xs')
Size = namedtuple('Size', 'stories rows width tokens')

@pytest.fixture(scope='module', params=[Size(160, 60_000, 512, 100_000), pytest.param(Size(400, 150_000, 1024, 300_000), marks=pytest.mark.slow)],
                ids=['small', 'large'])
def size(request): return request.param

@pytest.fixture(scope='module')
def stories(test_data, size): return json.loads((test_data/'text/tinystories_1000.json').read_text(encoding='utf-8'))[:size.stories]

@pytest.fixture(scope='module')
def acts(test_data, stories, size, tmp_path_factory):
    "{(model, layer): FeatureActs} of SAEs of one width, all collected in one pass."
    out, spaces, how = tmp_path_factory.mktemp('pair'), [], dict(k=16, tokens=size.tokens, progress=False)
    for name in MODELS:
        model = fg.load_model(test_data/'models'/name)
        for layer in LAYERS:
            sae, = fg.train_sae(model, f'blocks.{layer}.hook_resid_post', stories, [size.width], seed=0, **how)
            spaces.append(fg.FeatureSpace.load(model=model, sae=sae, name=f'{name}-{layer}'))
    again = fg.train_sae(spaces[0].model, 'blocks.2.hook_resid_post', stories, size.width, seed=1, **how)
    spaces.append(fg.FeatureSpace.load(model=spaces[0].model, sae=again, name='seed1-2'))
    spaces.append(fg.FeatureSpace.load(model=spaces[0].model, sae=None, site='blocks.2.hook_resid_post', name='neurons-2'))
    stored = fg.collect(spaces, stories, store=out/'acts', progress=False)
    return {tuple(o.name.split('-')): o for o in stored}

@pytest.fixture(scope='module')
def pairs(acts): return {layer: match(acts['stories260k', str(layer)], acts['llama2xs', str(layer)], seed=0) for layer in LAYERS}

def test_every_token_is_kept(acts, stories, size):
    for o in acts.values(): assert len(o) > size.rows and o.texts[0] == stories[0]

def test_matched_scores_beat_the_shifted_null_by_far(pairs, size):
    for layer, found in pairs.items():
        best = found.best()
        assert len(best.a) > .294*size.width, f'layer {layer}: {best}'
        assert np.median(best.score) > 5*np.median(best.null), f'layer {layer}: {best}'
        assert (best.q < .05).mean() > .9, f'layer {layer}: {best}'

def test_early_layers_match_by_token_and_late_layers_by_more(pairs, size):
    first, last = pairs[0].best(), pairs[4].best()
    # Layer 0: a good match says no more than that both features read the same token.
    identity = (first.score > .5) & (first.q < .05) & (first.token_only | (np.nan_to_num(first.within) < .05))
    assert identity.sum() > .05*size.width
    # Layer 4: some matches hold within occurrences of one and the same token, beyond a permutation there.
    more = (last.within > .3) & (last.within_p < .05) & (last.q < .05)
    assert more.sum() > .03*size.width
    assert np.nanmedian(last.within) > np.nanmedian(first.within) + .05

def test_a_model_against_itself_permuted_recovers_the_permutation(acts, size):
    mine = acts['stories260k', '4']
    order = np.random.default_rng(0).permutation(mine.n_features)
    csr = mine.csr()
    twin = FeatureActs.from_csr(csr[:, order], rows=mine.rows, name='permuted')
    best = match(mine, twin, seed=0).best()
    assert (order[best.b] == best.a).all()
    np.testing.assert_allclose(best.score, 1, atol=1e-6)
    np.testing.assert_allclose(best.within[~best.token_only], 1, atol=1e-6)
    assert best.mutual.all() and (~best.token_only).sum() > .1*size.width

def test_shuffled_documents_are_at_chance(acts):
    # The same features on text in another order: nothing should pass but what chance lets pass.
    mine, other = acts['stories260k', '4'], acts['llama2xs', '4']
    docs = np.random.default_rng(1).permutation(np.unique(other.rows.doc))
    rows = np.concatenate([np.flatnonzero(other.rows.doc == d) for d in docs])
    shuffled = FeatureActs.from_csr(other.csr()[rows], rows=mine.rows, name='shuffled')
    best = match(mine, shuffled, seed=0).best()
    assert (best.q < .05).mean() < .05, best
    assert np.median(best.score) < 1.5*np.median(best.null), best

def test_two_seeds_are_the_ceiling_and_another_model_stays_below(acts, pairs):
    # Two SAEs of the same activations: nothing but the random start differs, so no other pair can be expected to agree more.
    seeds, models = match(acts['stories260k', '2'], acts['seed1', '2'], seed=0).best(), pairs[2].best()
    assert np.median(seeds.score) > np.median(models.score) + .1
    assert np.nanmedian(seeds.within) > .2 > np.nanmedian(models.within) + .1

@pytest.mark.slow
def test_the_ceiling_after_full_training(test_data, tmp_path):
    "TopK SAEs 64 -> 1024 (k 16) of layer 2, 2 M samples at lr 3e-4, seeds 0 and 1, 1000 stories cut at 256 tokens: medians near .65 and .41."
    stories = json.loads((test_data/'text/tinystories_1000.json').read_text(encoding='utf-8'))
    model = fg.load_model(test_data/'models/stories260k')
    cut = []
    for story in stories:
        ends = model.tokenizer(story, add_special_tokens=False, return_offsets_mapping=True).offset_mapping[:255]
        cut.append(story[:ends[-1][1]])
    spaces = [fg.FeatureSpace.load(model=model, name=f'seed {seed}', sae=fg.train_sae(
        model, 'blocks.2.hook_resid_post', cut, 1024, k=16, tokens=2_000_000, lr=3e-4, seed=seed, progress=False)) for seed in (0, 1)]
    best = match(*fg.collect(spaces, cut, store=tmp_path, progress=False), seed=0).best()
    print(f'{len(best)} features: score {np.median(best.score):.3f}, within {np.nanmedian(best.within):.3f}, null {np.median(best.null):.3f}')
    assert abs(np.median(best.score) - .65) < .06 and abs(np.nanmedian(best.within) - .41) < .08
    assert np.median(best.null) < .02 and (best.q < .05).mean() > .95

def test_the_command_line_does_the_same(test_data, tmp_path, capsys):
    texts = tmp_path/'stories.json'
    texts.write_text(json.dumps(json.loads((test_data/'text/tinystories_1000.json').read_text(encoding='utf-8'))[:150]), encoding='utf-8')
    def featgeom(*words):
        main([*map(str, words)])
        return capsys.readouterr().out
    for name in MODELS:
        featgeom('train-sae', '--model', test_data/'models'/name, '--site', 'blocks.4.hook_resid_post', '--texts', texts,
                 '--width', 256, '--tokens', 100_000, '--out', tmp_path/name)
    sides = [o for side, name in zip(('--a', '--b'), MODELS) for o in (side, test_data/'models'/name, next(tmp_path.glob(f'{name}/**/cfg.json')).parent)]
    words = ['compare', *sides, '--texts', texts, '--store', tmp_path/'store', '--out', tmp_path/'map.html', '--method', 'pca', '--names', *MODELS]
    first = featgeom(*words)
    assert 'partner beyond chance' in first and 'more than the token' in first
    assert (tmp_path/'map.html').stat().st_size > 20_000
    again = featgeom(*words)                                   # everything is kept: the second run only opens
    assert [o for o in again.splitlines() if 'partner' in o] == [o for o in first.splitlines() if 'partner' in o]
    assert 'stories260k' in featgeom('info', tmp_path/'store')
