"An unfriendly stranger at every public door: odd arguments, one at a time, end in a result or in a FeatgeomError, and soon."
import io, signal, warnings

import numpy as np
import pytest
import torch

import featgeom as fg
import hostile
from featgeom.core import FeatgeomError

pytestmark = pytest.mark.filterwarnings('ignore')

ODD = [None, True, -1, 0, 1.5, float('nan'), 10**30, '', 'odd', 'a\0b', b'bytes', [], [None], [1, 'a'], {}, object(), np.zeros(0), np.zeros((2, 2)), np.full(3, np.nan), np.int64(-5), torch.zeros(2, 3)]
SECONDS = 20

@pytest.fixture(scope='module')
def good(tmp_path_factory):
    "One good set of arguments for each door."
    from featgeom import core, embedding, exchange, features, finding, matching, models, nulls, sae, stories, texts, within
    root = tmp_path_factory.mktemp('good')
    for name in ('store', 'sae_topk', 'sae_raw', 'model', 'delphi', 'parquet', 'pairs', 'embedding', 'texts', 'out'): (root/name).mkdir()
    (root/'store').rmdir()
    hostile.make_store(root/'store'), hostile.make_topk(root/'sae_topk'), hostile.make_raw(root/'sae_raw'), hostile.make_model('llama')(root/'model')
    hostile.make_delphi(root/'delphi'), hostile.make_parquet(root/'parquet'), hostile.make_embedding(root/'embedding'), hostile.make_texts(root/'texts')
    acts = hostile.small_acts(400)
    pairs = hostile.small_pairs()
    halves = fg.FeatureActs.from_csr(acts.csr(), fg.Rows(doc=np.arange(len(acts))//8, kind='sample'))
    pairs.save(root/'pairs'/'p')
    lm = fg.load_model(root/'model', device='cpu')
    space = fg.FeatureSpace.load(lm, root/'sae_topk', name='A')
    other = fg.FeatureSpace.load(lm, root/'sae_topk', site='blocks.1.hook_resid_post', name='B')
    twin = fg.FeatureSpace.load(lm, root/'sae_topk', name='C')
    said = [f'the king {i} saw the queen and the cat' for i in range(12)]
    xy, count = hostile.seeded(30, 2), iter(range(10**9))
    panel = lambda name: fg.Panel(name, hostile.seeded(hostile.F, 2), ['a']*hostile.F)
    talking = fg.LinkedMap([panel('A'), panel('B')], pairs)
    new = lambda: root/'out'/str(next(count))
    dense = acts.csr().toarray()
    picked, read = fg.pick_examples(acts, k=4, left=2, right=2), fg.read_features(acts, k=4, progress=False)
    said_of = fg.Labels.of_dict({1: 'the', 2: 'king', 3: 'a'}, acts)
    said_of.save(root/'labels.json')
    (root/'n.jsonl').write_text('{"modelId": "m", "layer": "0-x", "index": 1, "description": "a"}\n')
    (root/'layers.6_latent1.txt').write_text('"a"')
    return {
        'load_model': (fg.load_model, dict(model=root/'model', tokenizer=None, device='cpu', dtype=None, bos=None)),
        'capture': (fg.capture, dict(model=lm, input_ids=torch.tensor([[0, 1]]), sites=['blocks.0.hook_resid_post'], attention_mask=torch.ones(1, 2))),
        'token_windows': (lambda **o: list(models.token_windows(**o)), dict(model=lm, texts=said, context=8)),
        'batches': (lambda **o: list(models.batches(**o)), dict(model=lm, texts=said, context=8, batch=3)),
        'pad': (models.pad, dict(windows=list(models.token_windows(lm, said)), pad_id=0)),
        'LanguageModel.site': (lm.site, dict(name='blocks.0.hook_resid_post')),
        'LanguageModel.width': (lm.width, dict(site='blocks.0.hook_resid_post')),
        'load_sae': (fg.load_sae, dict(sae=root/'sae_topk', device='cpu')),
        'load_sae, a dict': (lambda **o: fg.load_sae(o), hostile.sae_arrays()),
        'SAE.encode': (space.sae.encode, dict(x=torch.zeros(2, hostile.D))),
        'SAE.encode_csr': (space.sae.encode_csr, dict(x=torch.zeros(2, hostile.D))),
        'SAE.decode': (space.sae.decode, dict(codes=torch.zeros(2, hostile.F))),
        'SAE.reconstruct': (space.sae.reconstruct, dict(x=torch.zeros(2, hostile.D), codes=torch.zeros(2, hostile.F))),
        'SAE.save': (lambda dtype: space.sae.save(new(), dtype), dict(dtype=torch.float32)),
        'fvu': (sae.fvu, dict(x=hostile.seeded(5, 3), x_hat=hostile.seeded(5, 3))),
        'FeatureSpace.load': (fg.FeatureSpace.load, dict(model=lm, sae=root/'sae_topk', site=None, name='A', tokenizer=None, device=None, dtype=None)),
        'FeatureSpace.health': (space.health, dict(texts=said, max_tokens=50)),
        'health': (sae.health, dict(space=space, texts=said, max_tokens=50, site_tokens=20, context=8)),
        'train_sae': (fg.train_sae, dict(model=lm, site='blocks.0.hook_resid_post', texts=said, width=16, architecture='topk', k=4, tokens=64, seed=0, out=None, progress=False, context=8, batch=16,
                                         lr=None, penalty=None, memory=2**20)),
        'collect': (fg.collect, dict(spaces=[space, other], texts=said, store=None, context=8, max_tokens=40, batch=4, dtype='float16', progress=False, shard=16, workers=1, client=None)),
        'compare': (fg.compare, dict(a=space, b=other, texts=said*8, store=None, context=8, max_tokens=600, batch=4, k=2, min_fires=5, shifts=20, given='token', method='pca', seed=0, progress=False)),
        'FeatureActs.open': (fg.FeatureActs.open, dict(path=root/'store')),
        'FeatureActs.from_csr': (fg.FeatureActs.from_csr, dict(matrix=acts.csr(), rows=acts.rows, name='A', texts=acts.texts, tokens=acts.tokens)),
        'FeatureActs.from_dense': (fg.FeatureActs.from_dense, dict(array=dense, rows=acts.rows, name='A', texts=acts.texts, tokens=acts.tokens)),
        'FeatureActs.select': (acts.select, dict(keep=np.arange(10))),
        'FeatureActs.column': (acts.column, dict(j=0)),
        'FeatureActs.token_text': (acts.token_text, dict(index=[0, 1])),
        'FeatureActs.save': (lambda dtype, shard: acts.save(new(), dtype, shard), dict(dtype='float32', shard=16)),
        'Rows': (fg.Rows, dict(doc=[0, 0], pos=[0, 1], token_id=[1, 2], start=[0, 1], end=[1, 2], kind='token', label=[3, 4])),
        'firing_counts': (fg.firing_counts, dict(acts=acts)),
        'feature_stats': (fg.feature_stats, dict(acts=acts, decoder=np.ones((hostile.F, 3)), min_fires=3, levels=[.5])),
        'token_strings': (features.token_strings, dict(tokenizer=acts, ids=[0, 1])),
        'top_tokens': (fg.top_tokens, dict(acts=acts, k=3, budget=2**20)),
        'outliers': (fg.outliers, dict(acts=acts)),
        'token_labels': (fg.token_labels, dict(acts=acts, k=3)),
        'match': (fg.match, dict(acts_a=acts, acts_b=acts, metric='correlation', k=2, min_fires=5, one_to_one=False, null='shift', shifts=20, given='token', permutations=19, pool=10, min_shift=None, seed=0,
                                 progress=False, memory=2**28, store=None)),
        'match_decoders': (fg.match_decoders, dict(space_a=space, space_b=twin, k=2, one_to_one=False, null='random', draws=2, seed=0, progress=False)),
        'Pairs.load': (fg.Pairs.load, dict(path=root/'pairs'/'p')),
        'Embedding.load': (embedding.Embedding.load, dict(path=root/'embedding'/'map.safetensors')),
        'embed': (fg.embed, dict(vectors=hostile.seeded(30, 4), method='pca', seed=0, n_neighbors=5, min_dist=.1, keep=np.ones(30, bool), sample=20)),
        'quality': (embedding.quality, dict(vectors=hostile.seeded(30, 4), xy=xy, k=5, sample=20, seed=0)),
        'clusters': (fg.clusters, dict(xy=xy, labels=['a']*30, min_size=5, words=3)),
        'Panel': (fg.Panel, dict(name='A', xy=xy, labels=['a']*30, ids=np.arange(30), fires=np.arange(30), cluster=np.zeros(30, int), cluster_labels=('a',), note='n', columns=dict(c=np.arange(30)), shares=np.ones((30, 1)),
                                  explanations=['e']*30, rows='tokens', total=99)),
        'LinkedMap': (fg.LinkedMap, dict(panels=[panel('A'), panel('B')], pairs=pairs, partners=2, colour='density', size='score', outline='')),
        'a column of a panel': (lambda column: fg.LinkedMap([fg.Panel('A', xy, columns=dict(c=column))]), dict(column=np.arange(30))),
        'LinkedMap traits': (lambda **o: [setattr(talking, k, v) for k, v in o.items()], dict(selected={'A': [0]}, hovered=['A', 0], pinned=[['A', 0]], searches=[dict(text='a')], view=dict(min=0.))),
        'read_texts': (lambda **o: list(fg.read_texts(**o)), dict(source=root/'texts'/'a.json', column='text')),
        'balanced': (texts.balanced, dict(texts=said, words=['king', 'cat'], cap=3, max_documents=5, case=True)),
        'align_spans': (fg.align_spans, dict(acts_a=acts, acts_b=acts, pool='max', store=None, progress=False)),
        'split_alike': (fg.split_alike, dict(texts=said, models=[lm, lm], context=8)),
        'to_parquet': (lambda acts: exchange.to_parquet(acts, new()), dict(acts=acts)),
        'from_parquet': (exchange.from_parquet, dict(path=root/'parquet'/'x')),
        'to_torch': (exchange.to_torch, dict(acts=acts, layout='csr')),
        'from_torch': (exchange.from_torch, dict(tensor=torch.eye(3), rows=None, name='A', texts=None, tokens=None)),
        'to_delphi': (lambda **o: exchange.to_delphi(folder=new(), **o), dict(acts=hostile.small_acts(), module='x', context=6, splits=2, pad=0)),
        'from_delphi': (exchange.from_delphi, dict(folder=root/'delphi'/'x', name='A')),
        'zoo_path': (fg.zoo_path, dict(name='story-1l')),
        'tell': (stories.tell, dict(n=3, seed=0)),
        'permutation_p': (nulls.permutation_p, dict(observed=np.ones(2), null=np.zeros((2, 3)), axis=-1)),
        'bh': (nulls.bh, dict(p=np.array([.1, .2]))),
        'shifts': (nulls.shifts, dict(n=100, count=2, min_shift=5, seed=0)),
        'permute_within': (nulls.permute_within, dict(groups=[0, 0, 1], seed=0)),
        'generator': (core.generator, dict(seed=0)),
        'row_groups': (within.row_groups, dict(rows=acts.rows, given='token')),
        'capacity': (fg.capacity, dict(W_dec=np.eye(3))),
        'activation_histograms': (features.activation_histograms, dict(acts=acts, ids=[1, 2], bins=4)),
        'pick_examples': (fg.pick_examples, dict(acts=acts, ids=[1, 2], k=2, each=1, random=1, silent=1, left=1, right=1, seed=0, progress=False)),
        'Examples.of': (picked.of, dict(feature=1, stratum='top')),
        'logit_effects': (fg.logit_effects, dict(space=space, ids=[1, 2], k=2, draws=3, seed=0)),
        'index_examples': (finding.index_examples, dict(examples=picked, stratum='top')),
        'find': (lambda where, a, b, **o: fg.find(where, a, b, **o), dict(where=picked, a='king', b='the', mode='word', share=.5, case=None, name='n')),
        'fires_on': (fg.fires_on, dict(space=space, text='the king', k=3, context=8)),
        'FeatureSet': (fg.FeatureSet, dict(name='n', space='A', ids=[1, 2], n_features=hostile.F, how={}, share=[.5, .6])),
        'Labels': (fg.Labels, dict(source='me', space='A', n_features=9, ids=[1, 2], text=['a', 'b'], meta={})),
        'Labels.of_dict': (fg.Labels.of_dict, dict(labels={1: 'a'}, acts=acts, source='me')),
        'Labels.load': (fg.Labels.load, dict(path=root/'labels.json', acts=acts)),
        'auto_labels': (fg.auto_labels, dict(examples=picked, tops=fg.top_tokens(acts), stats=fg.feature_stats(acts, min_fires=3), logits=None)),
        'read_neuronpedia': (fg.read_neuronpedia, dict(path=root/'n.jsonl', acts=acts, model=None, sae=None, explainer=None)),
        'read_delphi': (fg.read_delphi, dict(path=root/'layers.6_latent1.txt', acts=acts, module=None)),
        'label_with': (lambda **o: fg.label_with(path=new(), **o), dict(ask=lambda prompt: 'a', examples=picked, ids=[1, 2], chunk=1, retries=0, again=False, source='me', progress=False)),
        'label_with, the journal': (lambda path: fg.label_with(lambda prompt: 'a', picked, path, source='me'), dict(path=root/'out'/'j.jsonl')),
        'export_examples': (lambda **o: fg.export_examples(folder=new(), **o), dict(examples=picked, ids=[1, 2], chunk=1, strata=['top'], progress=False)),
        'keyword_judge': (fg.keyword_judge, dict(kind='detection', label='a', items=['a'])),
        'score_labels': (fg.score_labels, dict(labels=said_of, examples=picked, judge=fg.keyword_judge, kinds=('detection',), strata=('top',), shuffles=1, random=None, ids=[1, 2], min_fires=3, least=2, draws=9, seed=0,
                                               progress=False, path=None, judge_name=None)),
        'agree': (fg.agree, dict(pairs=pairs, acts_a=acts, acts_b=acts, tops=None, labels=None, seed=0, draws=19, memory=2**28)),
        'held_out': (fg.held_out, dict(pairs=pairs, acts_a=halves, acts_b=halves, seed=0, draws=19, memory=2**28)),
        'pair_points': (fg.pair_points, dict(acts_a=acts, acts_b=acts, a=1, b=2, n=20, seed=0, pairs=None, labels=('', ''), held=False)),
        'PairScatter': (fg.PairScatter, dict(points=fg.pair_points(acts, acts, 1, 2, held=False))),
        'read_features': (fg.read_features, dict(acts=acts, space=None, labels=(), k=2, seed=0, store=None, progress=False)),
        'Dashboard': (fg.Dashboard, dict(readings=read, pairs=None, features=[1, 2], prompts=(), all_pairs=None, most=3, seed=0)),
        'link': (lambda a, b: fg.link(a, b), dict(a=talking, b=fg.Dashboard(read, features=[1]))),
        'save_together': (lambda widget, title, max_mb: fg.save_together(new(), widget, title=title, max_mb=max_mb), dict(widget=talking, title='t', max_mb=10))}

DOORS = ['load_model', 'capture', 'token_windows', 'batches', 'pad', 'LanguageModel.site', 'LanguageModel.width', 'load_sae', 'load_sae, a dict', 'SAE.encode', 'SAE.encode_csr', 'SAE.decode',
         'SAE.reconstruct', 'SAE.save', 'fvu', 'FeatureSpace.load', 'FeatureSpace.health', 'health', 'train_sae', 'collect', 'compare', 'FeatureActs.open', 'FeatureActs.from_csr',
         'FeatureActs.from_dense', 'FeatureActs.select', 'FeatureActs.column', 'FeatureActs.token_text', 'FeatureActs.save', 'Rows', 'firing_counts', 'feature_stats', 'token_strings', 'top_tokens',
         'token_labels', 'outliers', 'match', 'match_decoders', 'Pairs.load', 'Embedding.load', 'embed', 'quality', 'clusters', 'Panel', 'LinkedMap', 'a column of a panel', 'LinkedMap traits', 'read_texts', 'balanced', 'align_spans', 'split_alike',
         'to_parquet', 'from_parquet', 'to_torch', 'from_torch', 'to_delphi', 'from_delphi', 'zoo_path', 'tell', 'permutation_p', 'bh', 'shifts', 'permute_within', 'generator', 'row_groups',
         'capacity', 'activation_histograms', 'pick_examples', 'Examples.of', 'logit_effects', 'index_examples', 'find', 'fires_on', 'FeatureSet', 'Labels', 'Labels.of_dict', 'Labels.load', 'auto_labels', 'read_neuronpedia',
         'read_delphi', 'label_with', 'label_with, the journal', 'export_examples', 'keyword_judge', 'score_labels', 'agree', 'held_out', 'pair_points', 'PairScatter', 'read_features', 'Dashboard', 'link', 'save_together']

# a name that could be one of the hub would be looked for there
NAMES = {('load_model', 'model'), ('load_model', 'tokenizer'), ('FeatureSpace.load', 'model'), ('FeatureSpace.load', 'tokenizer')}

LONG = ('train_sae', 'collect', 'compare', 'FeatureActs.save', 'health', 'FeatureSpace.load')      # each call does real work

def marks(o): return [pytest.mark.slow]*(o in LONG)

@pytest.mark.parametrize('name', [pytest.param(o, marks=marks(o)) for o in DOORS])
def test_odd_arguments(good, name, monkeypatch, tmp_path):
    door, arguments = good[name]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('HF_HUB_OFFLINE', '1')
    def late(*_): raise TimeoutError('took too long')
    before = signal.signal(signal.SIGALRM, late)
    wrong = []
    try:
        door(**arguments)
        for key in arguments:
            for value in ODD:
                if (name, key) in NAMES and isinstance(value, str): continue
                signal.alarm(SECONDS)
                try: door(**{**arguments, key: value})
                except FeatgeomError as e: str(e)
                except Exception as e: wrong.append(f'{name}({key}={str(value)[:40]!r} [{type(value).__name__}]): {type(e).__name__}: {str(e)[:120]}')
                finally: signal.alarm(0)
    finally: signal.signal(signal.SIGALRM, before)
    assert not wrong, f'{len(wrong)} odd arguments were not refused in our words:\n' + '\n'.join(wrong)

def test_every_public_name_is_a_door_here(good):
    public = {o for o in fg.__all__ if callable(getattr(fg, o)) and not isinstance(getattr(fg, o), type(fg))}
    tried = {o.split('.')[0].split(',')[0] for o in DOORS}
    assert public - tried <= {'FeatgeomError', 'Comparison', 'FeatureActs', 'FeatureSpace', 'Pairs'}
    assert set(DOORS) == set(good)
