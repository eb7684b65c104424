"""Two real models with different tokenizers, made by other people: one of 512 pieces of words and one of single characters.

Runs when FEATGEOM_TEST_DATA names the folder with the models. The fast part takes few stories and small SAEs; the study
(slow) takes all of them and prints the table that notebook 07 quotes: `pytest -m slow -s tests/test_real_tokenizers.py`."""
import json

import numpy as np
import pytest

import featgeom as fg
from featgeom.acts import FeatureActs
from featgeom.align import align_spans, split_alike
from featgeom.matching import match

MODELS = 'stories260k', 'babyllama105'

def prepare(test_data, out, stories, layers, width, tokens, context=256):
    "The pieces, and {(model, layer): FeatureActs} of freshly trained SAEs."
    models = {name: fg.load_model(test_data/'models'/name, device='cpu') for name in MODELS}
    pieces = split_alike(stories, list(models.values()), context=context)
    acts = {}
    for name, model in models.items():
        spaces = []
        for layer in layers:
            sae, = fg.train_sae(model, f'blocks.{layer}.hook_resid_post', list(pieces), [width], k=16, tokens=tokens, seed=0, context=context, progress=False)
            spaces.append(fg.FeatureSpace.load(model=model, sae=sae, name=f'{name}-{layer}'))
        stored = fg.collect(spaces, list(pieces), store=out/name, context=context, progress=False)
        acts.update({(name, layer): o for layer, o in zip(layers, stored)})
    return pieces, acts

def shuffled(a, b, seed=1):
    """B's documents in another order under A's rows: the same features on other text.

    Documents are not laid start on start: beginnings of pieces look alike in both models, which is no chance."""
    docs = np.random.default_rng(seed).permutation(np.unique(b.rows.doc))
    rows = np.concatenate([np.flatnonzero(b.rows.doc == d) for d in docs])
    return a, FeatureActs.from_csr(b.csr()[rows], a.rows, 'shuffled')

@pytest.fixture(scope='module')
def small(test_data, tmp_path_factory):
    stories = json.loads((test_data/'text/tinystories_1000.json').read_text(encoding='utf-8'))[:80]
    return stories, *prepare(test_data, tmp_path_factory.mktemp('tokenizers'), stories, (3,), 256, 80_000)

@pytest.fixture(scope='module')
def aligned(small): return {pool: align_spans(*(small[2][name, 3] for name in MODELS), pool) for pool in ('max', 'last', 'single')}

def test_texts_are_cut_alike(small):
    stories, pieces, acts = small
    assert [''.join(pieces[i] for i in np.flatnonzero(pieces.doc == d)) for d in range(len(stories))] == stories
    assert len(pieces) > 2*len(stories) and pieces.cuts['character'] == pieces.cuts['over'] == 0
    assert pieces.cuts['word'] == len(pieces) - len(stories)
    for o in acts.values(): assert o.texts == list(pieces) and (np.diff(o.rows.doc) <= 1).all()

def test_positions_are_not_compared(small):
    a, b = (small[2][name, 3] for name in MODELS)
    with pytest.raises(fg.FeatgeomError, match='align'): match(a, b)
    n = min(len(a), len(b))
    with pytest.raises(fg.FeatgeomError, match='align'): match(a.select(np.arange(n)), b.select(np.arange(n)))

def test_spans_are_the_pieces_of_words(small, aligned):
    _, _, acts = small
    c = aligned['max'].coverage
    assert c.several == [0, 0] and c.dropped == [0, 0] and c.documents[0] == c.documents[1]
    assert c.characters[0] == c.characters[1]                              # nothing that can be seen is left out
    assert c.tokens == c.of_tokens == [len(acts[name, 3]) for name in MODELS]
    assert c.changed[0] == dict(case=0, form=0, other=0)                   # bytes of characters are theirs
    assert .001 < c.changed[1]['other']/c.of_tokens[1] < .05               # the other has no token for a new line
    assert .99 < c.tokens[0]/c.spans < 1.01 and 1.8 < c.tokens[1]/c.spans < 2.2
    assert .3 < len(aligned['single'].a)/len(aligned['max'].a) < .6 and set(aligned['single'].coverage.per_span[1][1:]) <= {0}
    texts = aligned['max'].a.token_text(np.arange(40))
    assert ''.join(texts) == small[1][0][:sum(map(len, texts))]

@pytest.mark.parametrize('pool', ['max', 'last', 'single'])
def test_matches_beat_chance_and_hold_within_one_text(aligned, pool):
    best = match(aligned[pool].a, aligned[pool].b, seed=0).best()
    assert len(best) > 100, best
    assert np.median(best.score) > 4*np.median(best.null), best
    assert (best.q < .05).mean() > .9, best
    held = (best.within > .1) & (best.within_p < .05) & (best.q < .05)
    assert held.sum() > 30, best

@pytest.mark.parametrize('pool', ['max', 'last'])
def test_shuffled_documents_are_at_chance(aligned, pool):
    best = match(*shuffled(aligned[pool].a, aligned[pool].b), given=None, seed=0).best()
    assert len(best) > 100 and (best.q < .05).mean() < .05, best
    assert np.median(best.score) < 1.5*np.median(best.null), best

@pytest.mark.slow
def test_study_of_all_stories(test_data, tmp_path):
    stories = json.loads((test_data/'text/tinystories_1000.json').read_text(encoding='utf-8'))
    pieces, acts = prepare(test_data, tmp_path, stories, (0, 2, 4), 1024, 1_000_000)
    print(f'\n{pieces}\nlayer pool       spans features  score   null within  shuffled: score   null q<.05')
    for layer in (0, 2, 4):
        for pool in ('max', 'last', 'single'):
            out = align_spans(*(acts[name, layer] for name in MODELS), pool)
            best, control = match(out.a, out.b, seed=0).best(), match(*shuffled(out.a, out.b), given=None, seed=0).best()
            score, null, within = np.median(best.score), np.median(best.null), np.nanmedian(best.within)
            chance = np.median(control.score), np.median(control.null), (control.q < .05).mean()
            print(f'{layer:5} {pool:7} {len(out.a):8,} {len(best):8} {score:6.3f} {null:6.3f} {within:6.3f}'
                  f'           {chance[0]:6.3f} {chance[1]:6.3f} {chance[2]:5.1%}', flush=True)
            assert score > 5*null and (best.q < .05).mean() > .9, best
            assert chance[0] < 1.5*chance[1] and chance[2] < .05, control
