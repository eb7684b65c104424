"The main job and the command line: what they find, what they keep, what they refuse."
from dataclasses import replace
from pathlib import Path
import json, signal, subprocess, sys, time

import numpy as np
import pytest

import featgeom as fg
from featgeom.comparison import main
from featgeom.core import FeatgeomError
from featgeom.stories import tell
from featgeom.widget import unpack

QUICK = dict(method='pca', shifts=3, progress=False)
HOSTILE = '</script><img src=x onerror="document.title=1"> \N{PILE OF POO} \u202e one two three four'

@pytest.fixture(scope='module')
def spaces():
    return [fg.FeatureSpace.load(model=fg.zoo_path(name), sae=fg.zoo_path(f'{name}/sae-256'), name=name) for name in ('story-1l', 'story-2l')]

@pytest.fixture(scope='module')
def texts(): return tell(250, seed=5)

@pytest.fixture(scope='module')
def store(tmp_path_factory): return tmp_path_factory.mktemp('compare')/'store'

@pytest.fixture(scope='module')
def comparison(spaces, texts, store): return fg.compare(*spaces, texts, store=store, **QUICK)

def test_partners_beyond_chance_are_found_and_said(comparison):
    s = comparison.summary()
    assert s['tokens'] == len(comparison.acts_a) == len(comparison.acts_b) > 5_000
    assert 20 < s['beyond_chance'] <= s['tested'] <= s['alive_a'] <= 256
    assert s['median_score'] > 2*s['median_null']
    text = str(comparison)
    for word in ('beyond chance', 'mutual', 'chance partners', 'within one token', 'only the token', 'health'): assert word in text
    for word in ('cause', 'because', 'drives', 'explains'): assert word not in text           # a correlation causes nothing

def test_table_puts_evidence_beside_every_score(comparison):
    table = comparison.table()
    assert len(table) == comparison.summary()['tested']
    assert {'a', 'label_a', 'b', 'label_b', 'score', 'null', 'p', 'q', 'within', 'within_p', 'token_only', 'support'} <= set(table.columns)

def test_saved_page_is_whole_and_small(comparison, tmp_path):
    comparison.save(tmp_path/'map.html')
    page = (tmp_path/'map.html').read_text(encoding='utf-8')
    assert 20_000 < len(page) < 1_000_000 and 'http://' not in page.replace('http://www.w3.org/', '')

def test_the_map_has_shares_rates_and_what_rows_are(comparison, tmp_path):
    arrays, meta = unpack(comparison.map.payload)
    for p, (acts, weight, embedding) in enumerate(zip((comparison.acts_a, comparison.acts_b), comparison.shares, comparison.embeddings)):
        assert (meta['panels'][p]['rows'], meta['panels'][p]['total']) == ('tokens', len(acts))
        ids = np.flatnonzero(embedding.kept)
        assert arrays[f'count{p}'].tolist() == (weight[ids] > 0).sum(1).tolist() and arrays[f'count{p}'].max() == 5
        assert np.abs(arrays[f'share{p}']/255 - weight[ids][weight[ids] > 0]).max() <= .5/51 + 1e-6
    assert meta['pairs'][0]['given'] == 'token' and comparison.map is comparison.map
    comparison.save(tmp_path/'map.html', title='Two stories', sidecar=True)
    assert '<title>Two stories</title>' in (tmp_path/'map.html').read_text(encoding='utf-8') and (tmp_path/'map.data.js').exists()

def test_panels_with_columns(comparison):
    f = comparison.acts_a.n_features
    one, two = comparison.panels(dict(v=np.arange(f)), dict(w=['a']*f))
    assert np.array_equal(one.columns['v'].values, one.ids) and list(two.columns) == ['w'] and fg.LinkedMap([one, two], comparison.pairs, colour='v')
    for wrong in ([dict(v=[1])], [dict(v=[1]), {}], [3, 4], [{}, {}, {}]):
        with pytest.raises(FeatgeomError): comparison.panels(*wrong)

def test_a_second_call_opens_what_is_kept(spaces, texts, store, comparison, monkeypatch):
    import featgeom.comparison as module
    def never(*a, **kw): raise AssertionError('this was kept and is computed again')
    monkeypatch.setattr(module, 'match', never)
    monkeypatch.setattr(module, 'embed', never)
    again = fg.compare(*spaces, texts, store=store, **QUICK)
    np.testing.assert_array_equal(again.pairs.score, comparison.pairs.score)
    np.testing.assert_array_equal(again.embeddings[0].xy, comparison.embeddings[0].xy)
    assert str(again) == str(comparison)

def test_another_setting_is_never_answered_with_an_old_result(spaces, texts, store, comparison):
    other = fg.compare(*spaces, texts, store=store, **{**QUICK, 'seed': 7})
    assert other.pairs.meta['seed'] == 7 and not np.array_equal(other.pairs.null, comparison.pairs.null)

def test_another_text_in_the_same_store_is_refused(spaces, store, comparison):
    with pytest.raises(FeatgeomError, match='text'): fg.compare(*spaces, ['one two three four five'], store=store, **QUICK)

def test_no_store_says_that_it_cannot_resume(spaces, texts, capsys):
    c = fg.compare(*spaces, texts, **{**QUICK, 'progress': True})
    assert 'cannot resume' in capsys.readouterr().err
    assert len(c.table()) and len(c.acts_a.csr().data)                  # the result outlives its temporary folder

def test_two_spaces_of_one_name_are_refused(spaces, texts):
    with pytest.raises(FeatgeomError, match='name'): fg.compare(spaces[0], spaces[0], texts)

@pytest.mark.parametrize('bad', [[], ['', ' '], 'nowhere.json', [3]], ids=['none', 'blank', 'missing', 'number'])
def test_bad_texts_are_refused(spaces, bad):
    with pytest.raises(FeatgeomError): fg.compare(*spaces, bad, **QUICK)

def test_too_little_text_says_so(spaces):
    with pytest.raises(FeatgeomError, match='(?i)rows|text|fire'): fg.compare(*spaces, ['one two three four five six'], **QUICK)

def test_hostile_text_stays_text(spaces, texts, tmp_path):
    c = fg.compare(*spaces, [HOSTILE]*40 + texts[:120], **{**QUICK, 'store': tmp_path/'s'})
    c.save(tmp_path/'map.html')
    page = (tmp_path/'map.html').read_text(encoding='utf-8')
    assert '<img' not in page and 'onerror' not in page
    assert c.acts_a.texts[0] == HOSTILE

def test_a_model_with_itself_is_one_to_one(spaces, texts):
    twin = fg.FeatureSpace.load(model=spaces[0].model, sae=spaces[0].sae, site=spaces[0].site, name='twin')
    best = fg.compare(spaces[0], twin, texts, **QUICK).pairs.best()
    assert (best.a == best.b).all() and best.mutual.all()
    np.testing.assert_allclose(best.score, 1, atol=1e-6)
    np.testing.assert_allclose(best.within[~best.token_only], 1, atol=1e-6)

def other_tokenizer(tmp_path):
    "The two-layer model with a tokenizer that keeps every e apart."
    import shutil
    from transformers import AutoTokenizer
    folder = tmp_path/'other'
    shutil.copytree(fg.zoo_path('story-2l'), folder, ignore=shutil.ignore_patterns('sae-*'))
    table = json.loads((folder/'tokenizer.json').read_text(encoding='utf-8'))
    apart = dict(type='Split', pattern=dict(String='e'), behavior='Isolated', invert=False)
    table['pre_tokenizer'] = dict(type='Sequence', pretokenizers=[apart, table['pre_tokenizer']]) if table['pre_tokenizer'] else apart
    (folder/'tokenizer.json').write_text(json.dumps(table), encoding='utf-8')
    assert AutoTokenizer.from_pretrained(folder).tokenize('one two') != AutoTokenizer.from_pretrained(fg.zoo_path('story-2l')).tokenize('one two')
    return fg.FeatureSpace.load(model=folder, sae=fg.zoo_path('story-2l/sae-256'), name='other')

def test_two_tokenizers_are_compared_over_spans(spaces, texts, tmp_path):
    other, long = other_tokenizer(tmp_path), [' '.join(texts[i:i + 25]) for i in range(0, 250, 25)]
    how = dict(QUICK, store=tmp_path/'s', shifts=5, min_fires=20)
    c = fg.compare(spaces[0], other, long, **how)
    assert c.acts_a.rows.kind == 'span' and c.coverage.spans == len(c.acts_a) == len(c.acts_b) and 'spans common to both' in str(c)
    assert c.summary()['median_score'] > 2*c.summary()['median_null']
    meta = unpack(c.map.payload)[1]
    assert [o['rows'] for o in meta['panels']] == ['spans', 'spans'] and meta['pairs'][0]['given'] == 'span' and 'within span' in c.map.poster()
    rows, whole = c.acts_a.rows, np.cumsum([len(o) for o in c.acts_a.texts])[c.acts_a.rows.doc]
    document = np.searchsorted(np.cumsum([len(o) for o in long]), whole)                  # pieces joined are the documents
    assert c.pairs.meta['min_shift'] > np.bincount(document).max() > np.bincount(rows.doc).max()
    fg.compare(spaces[0], other, long, **how, pool='last')                                # beside the first, in the same store
    twin = fg.FeatureSpace.load(model=other.model, sae=other.sae, name=spaces[0].name)
    with pytest.raises(FeatgeomError, match='Two spaces named'): fg.compare(spaces[0], twin, long, **QUICK)

# --- command line ---------------------------------------------------------------------------------------------------------------

def featgeom(*words, **how):
    "The command in a process of its own."
    return subprocess.Popen([sys.executable, '-c', 'from featgeom.comparison import main; main()', *map(str, words)], text=True, **how)

def test_info_names_versions_and_stores(store, comparison, capsys):
    main(['info'])
    main(['info', str(store)])
    main(['info', str(fg.zoo_path('story-1l/sae-256'))])
    main(['info', str(fg.zoo_path('story-1l'))])
    out = capsys.readouterr().out
    for word in ('torch', 'story-1l', 'SAE', 'LanguageModel', 'rows x'): assert word in out

@pytest.mark.parametrize('words', [('info', 'nowhere'), ('compare', '--a', 'nowhere/at/all', 'x', '--b', 'y', 'z', '--texts', 'none.json')], ids=['info', 'compare'])
def test_command_errors_are_one_sentence_and_status_2(words, capsys):
    with pytest.raises(SystemExit) as e: main(list(words))
    assert e.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith('featgeom: ') and 'Traceback' not in err

def test_a_killed_command_goes_on_where_it_was(texts, tmp_path, capsys):
    (tmp_path/'texts.json').write_text(json.dumps(texts))
    a, b = (fg.zoo_path(name) for name in ('story-1l', 'story-2l'))
    words = ['compare', '--a', a, a/'sae-256', '--b', b, b/'sae-256', '--texts', tmp_path/'texts.json', '--method', 'pca', '--store']
    killed = featgeom(*words, tmp_path/'killed', stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob('killed/*/*')) and killed.poll() is None and time.monotonic() < deadline: time.sleep(.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert killed.returncode == -signal.SIGKILL and not list((tmp_path/'killed').glob('pairs-*'))
    said = []
    for name in ('killed', 'straight'):
        main([*map(str, words), str(tmp_path/name)])
        said.append(capsys.readouterr().out)
    assert said[0] == said[1] and 'beyond chance' in said[0]
    for path in sorted(p for p in (tmp_path/'straight').rglob('*') if p.is_file()):
        assert path.read_bytes() == (tmp_path/'killed'/path.relative_to(tmp_path/'straight')).read_bytes(), path

def test_interrupt_ends_with_130_and_says_how_to_go_on(texts, tmp_path):
    (tmp_path/'texts.json').write_text(json.dumps(texts*8))
    a = fg.zoo_path('story-1l')
    words = ['compare', '--a', a, a/'sae-256', '--b', fg.zoo_path('story-2l'), fg.zoo_path('story-2l/sae-256'), '--texts', tmp_path/'texts.json', '--store', tmp_path/'s']
    run = featgeom(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                   preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))           # a test runner in the background ignores it
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob('s/*/*')) and run.poll() is None and time.monotonic() < deadline: time.sleep(.01)
    run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=120)
    assert run.returncode == 130 and 'goes on where it was' in err, err

def test_the_readme_example_runs(tmp_path, monkeypatch, capsys):
    readme = (Path(__file__).parents[1]/'README.md').read_text(encoding='utf-8')
    blocks = [o.split('```')[0] for o in readme.split('```python\n')[1:]]
    assert len([line for line in blocks[0].splitlines() if line.strip()]) <= 10
    reading = next(o for o in blocks if 'c.readings' in o)
    code = blocks[0].replace('tell(2000', 'tell(150') + reading
    monkeypatch.chdir(tmp_path)
    exec(code, {})                                                      # a module of its own: what it needs, it imports
    assert 'beyond chance' in capsys.readouterr().out and (tmp_path/'report.html').stat().st_size > 200_000

def test_an_sae_that_never_fires_is_named(spaces, texts):
    import warnings
    dead = fg.load_sae({'W_enc': np.zeros((96, 8), 'f4'), 'b_enc': np.full(8, -1, 'f4'), 'W_dec': np.ones((8, 96), 'f4'), 'b_dec': np.zeros(96, 'f4')})
    space = fg.FeatureSpace.load(model=spaces[0].model, sae=dead, site=spaces[0].site, name='silent')
    with warnings.catch_warnings(record=True) as said, pytest.raises(FeatgeomError, match='no feature to match: of 8, 8 are dead'):
        warnings.simplefilter('always')
        fg.compare(space, spaces[1], texts, **QUICK)
    assert any('dead on these texts' in str(w.message) for w in said)
