"Guarantees of decoders.py: naive equality, calibration, bad input."
import numpy as np
import pytest

from featgeom.acts import FeatureActs
from featgeom.core import FeatgeomError, generator
from featgeom.decoders import match_decoders
from featgeom.matching import rescore


class Space:
    "A stand-in for FeatureSpace."
    def __init__(self, w, **provenance):
        import torch
        self.sae, self.name = type('SAE', (), dict(W_dec=torch.tensor(w)))(), 'space'
        self.provenance = lambda: dict(dict(model_hash='m', site='blocks.0.hook_resid_post', sae_hash='s'),
                                       **provenance)


def test_decoders_equal_the_dense_cosine_and_recover_a_permutation():
    rng = generator(25)
    w = rng.normal(size=(300, 40))
    w[7] = 0
    p = rng.permutation(300)
    got = match_decoders(Space(w), Space(w[p]*rng.uniform(.1, 5, (300, 1)), sae_hash='t'), k=3)
    assert np.array_equal(p[got.best().b], got.best().a) and 7 not in got.a and got.meta['a']['dead'] == 1
    assert np.allclose(got.best().score,
                       1) and (got.best().q < .05).all() and np.isnan(got.support).all() and np.isnan(got.within).all()
    v = rng.normal(size=(700, 40))
    got, full = match_decoders(w, v, k=5), (w/np.maximum(np.linalg.norm(w, axis=1, keepdims=True),
                                                         1e-9)) @ (v/np.linalg.norm(v, axis=1, keepdims=True)).T
    assert np.abs(got.score - full[got.a, got.b]).max() < 1e-12
    mine = got.score[got.from_a].reshape(-1, 5)
    assert np.allclose(mine, -np.sort(-np.delete(full, 7, 0), 1)[:, :5])
    assert np.array_equal(got.mutual, (full.argmax(1)[got.a] == got.b) & (full.argmax(0)[got.b] == got.a))
    assert match_decoders(w, -w, k=1, null=None).score.max() < .99          # KA-42: signed


def test_decoder_null_is_calibrated_for_uneven_rows():
    "Independent decoders with a strong common mean and covariance: isotropic rows would call everything a match."
    rng, ps = generator(26), []
    for i in range(12):
        shape = np.diag(np.linspace(3, .2, 20)) @ rng.normal(size=(20, 20))
        x, y = (rng.normal(size=(150, 20)) @ shape + shape[0] for _ in range(2))
        ps.append(match_decoders(x, y, k=1, seed=i).best().p)
    ps = np.concatenate(ps)
    assert abs(np.mean(ps <= .05) - .05) < .03 and abs(ps.mean() - .5) < .06


def test_decoders_of_other_sites_widths_or_broken_are_refused():
    rng = generator(27)
    w = rng.normal(size=(30, 8))
    cases = [(Space(w), Space(w, site='blocks.1.hook_resid_post'), 'different site'),
             (Space(w), Space(w, model_hash='n'), 'different model_hash'),
             (w, w[:, :7], 'One width'), (w, np.where(w == w.max(), np.nan, w), 'NaN'),
             (w, w[0], 'Rows of features'), (w, 0*w, 'are zero')]
    for a, b, words in cases:
        with pytest.raises(FeatgeomError, match=words): match_decoders(a, b)
    with pytest.raises(FeatgeomError, match='k is'): match_decoders(w, w, k=0)
    acts = FeatureActs.from_csr(w)
    with pytest.raises(FeatgeomError, match='Rows have no part'): rescore(match_decoders(w, w), acts, acts)
