"Embedding: scores against scikit-learn and a naive count, seeds, bad input, clusters."
from types import SimpleNamespace
import subprocess, sys

import numpy as np, pytest
from sklearn.manifold import trustworthiness

from featgeom.core import FeatgeomError
from featgeom.embedding import Clusters, Embedding, as_list, clusters, embed, quality, tokens_of

pytestmark = pytest.mark.filterwarnings('ignore:n_jobs', 'ignore:Spectral', 'ignore:.*disconnected')

def blobs(n, d=20, groups=6, seed=0):
    rng = np.random.default_rng(seed)
    which = rng.integers(0, groups, n)
    return rng.normal(size=(groups, d))[which] + .4*rng.normal(size=(n, d)), which

def make_pairs(a, b, score, **more):
    "Pairs with the fields that a map reads; q beyond chance unless told otherwise."
    m = len(a)
    base = dict(a=np.asarray(a, np.int32), b=np.asarray(b, np.int32), score=np.asarray(score, float), support=np.full(m, 50.), null=np.full(m, .1),
                p=np.full(m, .01), q=np.full(m, .01), within=np.full(m, .3), within_p=np.full(m, .01), token_only=np.zeros(m, bool),
                mutual=np.zeros(m, bool), from_a=np.ones(m, bool), from_b=np.zeros(m, bool), meta=dict(metric='correlation'))
    return SimpleNamespace(**base | {k: np.asarray(v) for k, v in more.items()})

HOSTILE = ['</script><img src=x onerror=window.hit=1>', '<!--', 'x'*10_000, 'السلام', '👩‍👩‍👧', '\0\ud800', '&amp;]]>']

# ---- quality

@pytest.mark.parametrize('n, k', [(120, 5), (300, 15), (40, 12)])
def test_trustworthiness_is_scikit_learns(n, k):
    x, _ = blobs(n)
    xy = np.random.default_rng(1).normal(size=(n, 2)) + x[:, :2]
    got = quality(x, xy, k=k)
    assert got.n_scored == n and got.k == k
    assert got.trustworthiness == pytest.approx(trustworthiness(x, xy, n_neighbors=k, metric='cosine'), abs=1e-12)
    unit = x/np.linalg.norm(x, axis=1, keepdims=True)   # continuity is trustworthiness with the sides exchanged; equal ranks by chord and cosine
    assert got.continuity == pytest.approx(trustworthiness(xy, unit, n_neighbors=k), abs=1e-12)

def test_recall_is_a_naive_count():
    x, _ = blobs(80)
    xy = x[:, :2]
    unit = x/np.linalg.norm(x, axis=1, keepdims=True)
    kept = 0
    for i in range(80):
        near = [set(sorted((j for j in range(80) if j != i), key=lambda j: d[j])[:7]) for d in (-unit @ unit[i], ((xy - xy[i])**2).sum(1))]
        kept += len(near[0] & near[1])
    got = quality(x, xy, k=7)
    assert got.knn_recall == kept/(80*7) and got.chance_recall == 7/79

def test_a_sample_estimates_the_whole_and_is_seeded():
    x, _ = blobs(1500)
    xy = x[:, :2]
    whole, part, again, other = (quality(x, xy, sample=s, seed=seed) for s, seed in ((1500, 0), (400, 0), (400, 0), (400, 1)))
    assert part == again and part.n_scored == 400 and part != other
    assert abs(part.trustworthiness - whole.trustworthiness) < .02 and abs(part.knn_recall - whole.knn_recall) < .02

def test_a_random_picture_scores_as_chance():
    x, _ = blobs(800)
    got = quality(x, np.random.default_rng(5).normal(size=(800, 2)))
    assert abs(got.trustworthiness - .5) < .03 and abs(got.continuity - .5) < .03 and abs(got.knn_recall - got.chance_recall) < .01

def test_memory_stays_far_below_the_square():
    if sys.platform != 'linux': pytest.skip('/proc is there on Linux only')
    # VmHWM, not ru_maxrss: the latter counts what the process that started this one had.
    code = ('import numpy as np\nfrom featgeom.embedding import quality\nrng = np.random.default_rng(0)\n'
            'def peak(): return next(int(o.split()[1]) for o in open("/proc/self/status") if o.startswith("VmHWM"))\n'
            'x = rng.normal(size=(16384, 16)).astype(np.float32); quality(x, x[:, :2], sample=128)\n'
            'before = peak()\nquality(x, x[:, :2], sample=512)\nprint(peak() - before, before)')
    more, before = map(int, subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout.split())
    assert more < 50_000 and before < 1_000_000   # kB; all ranks at once would take gigabytes

# ---- embed

@pytest.mark.parametrize('method', ['umap', 'pca'])
def test_seed_means_one_picture_and_global_randomness_is_left_alone(method):
    x, _ = blobs(90)
    np.random.seed(3)
    state = np.random.get_state()[1].copy()
    one, two = embed(x, method), embed(x, method)
    assert np.array_equal(one.xy, two.xy) and np.array_equal(np.random.get_state()[1], state)
    assert one.xy.dtype == np.float32 and one.xy.shape == (90, 2) and one.kept.all() and one.n == 90

def test_length_of_a_row_does_not_matter():
    x, _ = blobs(60)
    long = x*np.random.default_rng(0).uniform(.1, 9, (60, 1))
    assert np.allclose(embed(x, 'pca').xy, embed(long, 'pca').xy, atol=1e-5)

def test_pca_is_scikit_learns_up_to_sign():
    from sklearn.decomposition import PCA
    x, _ = blobs(70)
    unit = x/np.linalg.norm(x, axis=1, keepdims=True)
    model = PCA(2).fit(unit)
    got = embed(x, 'pca')
    assert np.allclose(np.abs(got.xy), np.abs(model.transform(unit)), atol=1e-5)
    assert got.params['explained'] == pytest.approx(model.explained_variance_ratio_.sum())
    assert (got.xy[np.abs(got.xy).argmax(0), [0, 1]] > 0).all()

def test_umap_keeps_groups_and_says_so():
    x, which = blobs(200)
    got = embed(x)
    centre = np.array([got.xy[which == c].mean(0) for c in range(6)])
    assert (((got.xy[:, None] - centre)**2).sum(2).argmin(1) == which).mean() > .95
    assert got.trustworthiness > .85
    assert got.note.startswith('UMAP, n 200, seed 0, trustworthiness 0.') and 'kNN recall' in got.note and 'chance' in got.note

def test_rows_without_direction_and_unwanted_rows_are_left_out_and_counted():
    x, _ = blobs(50)
    x[[4, 9]] = 0
    keep = np.ones(50, bool)
    keep[[0, 9]] = False
    got = embed(x, 'pca', keep=keep)
    assert (got.n, got.n_excluded) == (47, 1)
    assert np.flatnonzero(~got.kept).tolist() == [0, 4, 9] and np.isnan(got.xy[~got.kept]).all() and np.isfinite(got.xy[got.kept]).all()

def test_torch_weights_come_as_they_are():
    torch = pytest.importorskip('torch')
    x, _ = blobs(40)
    weight = torch.nn.Parameter(torch.tensor(x, dtype=torch.bfloat16))
    assert embed(weight, 'pca').n == 40

@pytest.mark.parametrize('args, says', [
    (dict(vectors=np.zeros((30, 4))), '0 rows with a direction'), (dict(vectors=np.ones((5, 4))), "method='pca'"),
    (dict(vectors=np.ones((2, 4)), method='pca'), 'Embed more'), (dict(vectors=np.ones(9)), 'table of numbers'),
    (dict(vectors=np.array([['a', 'b']]*20)), 'table of numbers'), (dict(vectors=np.ones((30, 4)), method='tsne'), "'umap' or 'pca'"),
    (dict(vectors=np.full((30, 4), np.inf)), 'NaN or Inf in 30 of 30 rows'), (dict(vectors=np.ones((30, 4)), seed=None), 'seed=None'),
    (dict(vectors=np.ones((30, 4)), keep=np.ones(30)), '(30,) bool'), (dict(vectors=np.ones((30, 4)), keep=np.ones(9, bool)), '(30,) bool')])
def test_embed_refuses(args, says):
    with pytest.raises(FeatgeomError) as e: embed(**args)
    assert says in str(e.value)

@pytest.mark.parametrize('x, method', [(np.ones((30, 4)), 'pca'), (np.eye(3), 'pca'), (np.random.default_rng(0).normal(size=(20, 1)), 'pca'),
                                       (np.ones((30, 4)), 'umap'), (np.random.default_rng(0).normal(size=(17, 3)), 'umap')])
def test_small_and_degenerate_inputs_give_finite_pictures(x, method):
    got = embed(x, method)
    assert np.isfinite(got.xy).all() and np.isfinite([got.trustworthiness, got.knn_recall]).all()

def test_a_saved_picture_comes_back_and_others_are_refused(tmp_path):
    x, _ = blobs(40)
    x[3] = 0
    got = embed(x, 'pca')
    back = Embedding.load(got.save(tmp_path/'map.safetensors'))
    assert np.array_equal(back.xy, got.xy, equal_nan=True) and np.array_equal(back.kept, got.kept)
    assert back.note == got.note and back.params == got.params
    raw = (tmp_path/'map.safetensors').read_bytes()
    for name, data in (('cut', raw[:-9]), ('junk', b'not this'), ('empty', b''), ('kind', raw.replace(b'embedding', b'embeddong'))):
        (tmp_path/name).write_bytes(data)
        with pytest.raises(FeatgeomError): Embedding.load(tmp_path/name)
    with pytest.raises(FeatgeomError, match='no such file'): Embedding.load(tmp_path/'missing')

# ---- clusters

def test_clusters_find_islands_and_name_them_by_their_tokens():
    rng = np.random.default_rng(0)
    which = rng.permutation(np.repeat([0, 1, 2], [80, 50, 30]))
    xy = np.array([[0, 0], [10, 0], [0, 10]])[which] + .3*rng.normal(size=(160, 2))
    own = ['apple', 'dog', 'king']
    labels = [f'the {own[c]}' for c in which]                    # "the" is everywhere and tells nothing
    got = clusters(xy, labels, words=1)
    assert isinstance(got, Clusters) and got.labels == ('apple', 'dog', 'king')     # larger first
    assert got.sizes.tolist() == [(got.ids == c).sum() for c in range(3)]
    assert (got.ids[got.ids >= 0] == which[got.ids >= 0]).all() and got.n_noise == (got.ids < 0).sum()
    assert clusters(xy, [o.split() for o in labels], words=1).labels == got.labels  # lists of tokens do as well
    assert clusters(xy, [o.replace(' ', ' · ') for o in labels], words=1).labels == got.labels
    marked = [f'␣The · ␣{own[c]} · {own[c].title()} · , b' for c in which]           # a token may hold a space; one word counts once
    assert [o.casefold() for o in clusters(xy, marked, words=1).labels] == list(got.labels)

def test_no_islands_no_points_and_empty_labels():
    spread = clusters(np.random.default_rng(0).uniform(size=(30, 2)), ['']*30, min_size=25)
    assert set(spread.labels) <= {''} and spread.n == 30
    assert clusters(np.zeros((0, 2)), []).labels == () and clusters(np.zeros((3, 2)), ['a']*3).ids.tolist() == [-1]*3
    with pytest.raises(FeatgeomError): clusters(np.zeros((3, 2)), ['a'])
