"Labels: what they may be, labels counted from examples against known answers, labels of others, and labelling that survives every stop."
from pathlib import Path
import gzip, json, os, signal, threading, zlib

import numpy as np
import pytest
from scipy import sparse

import featgeom as fg
from featgeom import labelling
from featgeom.acts import FeatureActs
from featgeom.core import FeatgeomError
from featgeom.examples import pick_examples
from featgeom.features import feature_stats, top_tokens
from featgeom.labelling import PROMPT, export_examples, label_with, marked, prompt_of
from featgeom.labels import LONGEST, Labels, auto_labels, can_be_seen, explained_rows, one_line, read_delphi, read_neuronpedia
from featgeom.logits import LogitEffects
from featgeom.shards import Rows

HOSTILE = ['</script><script>alert(1)</script>', '"\'`${x}', 'a\0b\x1b[31m', '\u202egnp.exe', '\ud800 half', '«»', '日本語 👑👩‍👩‍👧', '{0} %s {passages}',
           'x'*100_000, '<!-- -->', 'line\u2028sep\u2029', '\ufeffbom', 'e\u0301']

# ---- a small world whose every token is known

def world(fires, texts, name='world', dense=False):
    "Activations on texts cut at spaces, a token with the space before it; fires(words, i) -> {feature: value} of word i."
    vocab, rows, cells, tokens = {}, [], [], {}
    for d, text in enumerate(texts):
        at, words = 0, text.split(' ')
        for i, word in enumerate(words):
            piece = word if i == 0 else ' ' + word
            for part in piece.split('+'):
                id = vocab.setdefault(part, len(vocab))
                tokens[id] = part
                rows.append((d, len([r for r in rows if r[0] == d]), id, at, at + len(part)))
                at += len(part)
                cells.append(fires(words, i, part))
    clean = [o.replace('+', '') for o in texts]
    f = 1 + max(j for c in cells for j in c)
    x = np.zeros((len(rows), f), np.float32)
    for i, c in enumerate(cells):
        for j, v in c.items(): x[i, j] = v
    d, p, t, a, b = np.array(rows).T
    r = Rows(doc=d, pos=p, token_id=t, start=a, end=b)
    if dense: return FeatureActs.from_dense(x, r, name, clean, tokens)
    return FeatureActs.from_csr(sparse.csr_array(x), r, name, clean, tokens)

NAMES = 'Tom Anna Ben Mia Sam Rosa Max Lily'.split()

def stories():
    "Forty short documents: every third has a king, castles are two tokens, names come in the middle."
    rng = np.random.default_rng(0)
    filler = 'dog cat tree lake stone bread rain wolf bear moon star road hill wind snow fish'.split()
    out = []
    for i in range(40):
        middle = ' '.join(rng.permutation(filler)[:4])
        out.append(f'Once {middle} saw {NAMES[i % 8]} . The old king of cast+le {rng.permutation(filler)[0]} ran far . '
                   f'Then {NAMES[(i + 3) % 8]} gave a prince {middle} and {NAMES[(i + 5) % 8]} some more .')
    return out

def fires(words, i, part):
    "0: king and, weaker, prince; 1: first token; 2: sentence starts; 3: after 'old'; 4: le of castle; 5: names; 6: never; 7: anything now and then"
    word, out = words[i], {6: 0}
    h = (i*7919 + sum(map(ord, word))) % 97
    if word == 'king': out[0] = 8 + h/97
    if word == 'prince': out[0] = 2
    if i == 0: out[1] = 1 + h/97
    if i == 0 or words[i - 1] == '.': out[2] = 1 + h/97
    if i and words[i - 1] == 'old': out[3] = 1 + h/97
    if word == 'cast+le' and part == 'le': out[4] = 1 + h/97
    if word in NAMES: out[5] = 1 + h/97
    any_ = zlib.crc32(f'{i} {part} {words}'.encode())
    if any_ % 5 == 0: out[7] = 1 + any_ % 1000
    return out

@pytest.fixture(scope='module')
def small(): return world(fires, stories())

@pytest.fixture(scope='module')
def picked(small): return pick_examples(small, left=6, right=4)

@pytest.fixture(scope='module')
def zoo():
    space = fg.FeatureSpace.load(fg.zoo_path('story-1l'), fg.zoo_path('story-1l/sae-256'))
    from featgeom.stories import tell
    acts, = fg.collect(space, tell(120, seed=3), progress=False)
    return space, acts, pick_examples(acts, range(40))

# ---- what a label may be

@pytest.mark.parametrize('text', HOSTILE)
def test_a_label_is_one_visible_line(text):
    import unicodedata
    out = one_line(text)
    assert len(out) <= LONGEST and out == one_line(out) and '\n' not in out and '\u2028' not in out
    assert not any(unicodedata.category(o) in ('Cc', 'Cs') or o == '\u202e' for o in out)
    out.encode()

def test_labels_survive_a_file_with_anything_in_them(tmp_path):
    a = Labels.of_dict(dict(enumerate(HOSTILE)), 100, source='<b>me</b>', note={'x': [1, 2.5, None]})
    a.save(tmp_path/'a.json')
    b = Labels.load(tmp_path/'a.json')
    assert b.of() == a.of() and (b.source, b.meta, b.n_features) == (a.source, a.meta, 100)
    assert [b[i] for i in range(100)] == b.of() and len(b.table()) == len(b) == sum(map(bool, b.of()))

@pytest.mark.parametrize('make, words', [
    (lambda: Labels('me', 's', 5, np.array([3, 1]), ('a', 'b')), 'ids rise'),
    (lambda: Labels('me', 's', 5, np.array([1, 1]), ('a', 'b')), 'ids rise'),
    (lambda: Labels('me', 's', 5, np.array([1]), ('a', 'b')), '2 labels'),
    (lambda: Labels('me', 's', 5, np.array([5]), ('a',)), 'feature 5'),
    (lambda: Labels('me', 's', 5, np.array([-1]), ('a',)), 'feature -1'),
    (lambda: Labels('me', 's', 5, np.array([1.5]), ('a',)), 'float64'),
    (lambda: Labels('me', 's', 5, np.array([1]), (7,)), 'int'),
    (lambda: Labels('me', 's', 0, np.array([]), ()), 'n_features=0'),
    (lambda: Labels.of_dict({'1': 'a'}, 5), "feature '1'"),
    (lambda: Labels.of_dict({True: 'a'}, 5), 'feature True'),
    (lambda: Labels.of_dict({1: None}, 5), 'NoneType'),
    (lambda: Labels.of_dict({9: 'a'}, 5), 'feature 9'),
    (lambda: Labels.of_dict({1: 'a'}, 'five'), 'acts of type str')])
def test_labels_refuse(make, words):
    with pytest.raises(FeatgeomError, match=words): make()

def test_labels_of_another_sae_are_refused_by_width_and_by_hash(zoo, tmp_path):
    space, acts, examples = zoo
    mine = auto_labels(examples)
    assert mine.check(acts) is mine and mine.check(space) is mine and mine.meta['sae_hash'] == space.sae.hash
    with pytest.raises(FeatgeomError, match='Labels of 256 features'): mine.check(1024)
    other = Labels('x', 'y', 256, mine.ids, mine.text, dict(mine.meta, sae_hash='f'*64))
    other.save(tmp_path/'other.json')
    with pytest.raises(FeatgeomError, match='Labels of SAE ffffffff'): Labels.load(tmp_path/'other.json', acts)
    assert len(Labels.load(tmp_path/'other.json')) == len(mine)

@pytest.mark.parametrize('data', [
    b'', b'{', b'[]', b'null', b'{"kind": "featgeom labels", "format": 2, "labels": {}}', b'{"kind": "featgeom labels", "format": 1}',
    b'{"kind": "featgeom labels", "format": 1, "labels": {"a": "b"}, "source": "", "space": "", "n_features": 2, "meta": {}}',
    b'{"kind": "featgeom labels", "format": 1, "labels": {"1": 2}, "source": "", "space": "", "n_features": 2, "meta": {}}',
    b'{"kind": "featgeom labels", "format": 1, "labels": {"5": "x"}, "source": "", "space": "", "n_features": 2, "meta": {}}',
    b'{"kind": "featgeom labels", "format": 1, "labels": {}, "source": "", "space": "", "n_features": 1e9, "meta": {}}',
    b'{"kind": "featgeom labels", "format": 1, "labels": {}, "source": 3, "space": "", "n_features": 2, "meta": []}', b'['*100_000])
def test_damaged_files_of_labels_are_named(data, tmp_path):
    (tmp_path/'x.json').write_bytes(data)
    with pytest.raises(FeatgeomError): Labels.load(tmp_path/'x.json')

# ---- labels that are counted

def test_known_answers(small, picked):
    labels = auto_labels(picked)
    assert labels[0].startswith('king 8') and 'prince ' in labels[0] and 'after "old" 10 of 10' in labels[0]
    assert labels[1] == 'Once 100 % | first in the document 10 of 10'
    assert 'begins a sentence 10 of 10' in labels[2] and 'after' not in labels[2]
    assert labels[3] == 'king 100 % | after "old" 10 of 10'
    n = (explained_rows(picked)[4] >= 0).sum()
    assert labels[4] == f'…le 100 % | in "castle" {n} of {n}'
    assert 'capitalised 10 of 10' in labels[5]
    assert labels[6] == '' and 6 not in labels.ids
    assert 'first' not in labels[7] and 'in "' not in labels[7] and 'begins' not in labels[7]

def test_shares_are_those_of_a_naive_count(small, picked):
    x = small.csr().toarray()
    words = [o.strip() for o in small.token_text(range(len(small)))]
    labels, tops = auto_labels(picked), top_tokens(small, 8)
    assert labels.of() == auto_labels(picked, tops).of()
    for j in (0, 3, 5):
        mass = {}
        for w, v in zip(words, x[:, j]): mass[w] = mass.get(w, 0) + abs(v)
        for part in labels[j].split(' | ')[0].split(', '):
            word, share = part.rsplit(' ', 2)[0], int(part.split()[-2])
            assert share == round(100*mass[word]/sum(mass.values()))

def test_every_second_top_example_is_left_to_the_judge(picked):
    rows, top = explained_rows(picked), picked.rows[:, slice(*picked.strata['top'])]
    assert (rows == top[:, ::2]).all()
    other = top[:, 1::2]
    assert not set(rows[rows >= 0].tolist()) & set(other[0][other[0] >= 0].tolist()) or not set(rows[0]) & set(other[0])

def test_rare_and_signed_features_and_rows_without_texts(small):
    stats = feature_stats(small)
    assert auto_labels(pick_examples(small), stats=stats)[0].endswith(f'fires {stats.counts[0]} times') == (stats.counts[0] < 50)
    def signed(words, i, part): return {0: -3. if words[i] == 'king' else .01, 1: (-2 if zlib.crc32(str(words).encode()) % 2 else 2)*(words[i] == 'king')}
    labels = auto_labels(pick_examples(world(signed, stories(), dense=True)))
    assert '| negative' in labels[0] and labels[0].startswith('king 9')
    assert '| both signs' in labels[1]
    bare = FeatureActs.from_csr(small.csr(), Rows(doc=small.rows.doc, token_id=small.rows.token_id), 'bare')       # no texts, no strings
    assert auto_labels(pick_examples(bare))[3] == f'#{small.rows.token_id[small.column(3)[0][0]]} 100 % | after "#{small.rows.token_id[small.column(3)[0][0] - 1]}" 10 of 10'

def effects_of(acts, ids=(0,), up_text=(('a',),), up_effect=((1.,),), chance=1., **of):
    "Logit effects whose other fields nobody reads."
    up_text, up_effect, none = np.array(up_text), np.array(up_effect), np.zeros(len(ids))
    at = np.zeros(up_text.shape, np.int32)
    return LogitEffects(np.array(ids), at, up_effect, at, -up_effect, up_text, up_text, none, none, chance, 3., 99, '', **{'n_features': acts.n_features, 'sae_hash': '', **of})

def test_logit_effects_beyond_chance_end_a_label(picked):
    logits = effects_of(picked.acts, ids=[0, 3], up_text=[['␣crown', '␣throne', 'x', ''], ['a', 'b', 'c', 'd']], up_effect=[[3, 2, .1, np.nan], [.5, .4, .3, .2]])
    labels = auto_labels(picked, logits=logits)
    assert labels[0].endswith('| raises crown, throne') and 'raises' not in labels[3]

def test_what_is_about_other_rows_or_another_sae_makes_no_label(zoo, small, picked):
    space, acts, examples = zoo
    part = acts.select(np.arange(500))
    for what, match in [(dict(tops=top_tokens(small)), 'tops of 8 features'), (dict(tops=top_tokens(part)), 'tops of 256 features and 500 rows'), (dict(stats=feature_stats(part)), 'stats of 256 features and 500'),
                        (dict(tops=5), 'tops of type int'), (dict(stats=top_tokens(acts)), 'stats of type TopTokens'), (dict(logits=3), 'logits of type int'),
                        (dict(logits=effects_of(small)), 'effects of 8 features'), (dict(logits=effects_of(acts, sae_hash='f'*64)), 'SAE ffffffff')]:
        with pytest.raises(FeatgeomError, match=match): auto_labels(examples, **what)
    twin = FeatureActs.from_csr(acts.csr(), acts.rows, 'twin', acts.texts, acts.tokens)
    for what in (dict(tops=top_tokens(twin)), dict(stats=feature_stats(twin))):
        with pytest.raises(FeatgeomError, match="of 'twin'"): auto_labels(examples, **what)
    mine = fg.logit_effects(space, k=3)
    assert (mine.n_features, mine.sae_hash) == (256, space.sae.hash)
    assert 'raises' in ' '.join(auto_labels(examples, top_tokens(acts, 8), feature_stats(acts), mine).text)

@pytest.mark.parametrize('shift', [10**6, -10**6, -5])
def test_offsets_outside_of_a_text_make_labels_without_words(small, shift):
    rows = Rows(doc=small.rows.doc, pos=small.rows.pos, token_id=small.rows.token_id, start=small.rows.start + shift, end=small.rows.end + shift)
    moved = FeatureActs.from_csr(small.csr(), rows, 'moved', small.texts, small.tokens)
    label = auto_labels(pick_examples(moved))[0]
    assert 'king' in label and 'in "' not in label if abs(shift) > 5 else label

@pytest.mark.parametrize('text', ['\u200b', '\u200d', '\U000e0041', '\u2060 \u200c', '\u2800', '\u3164', '\ue000', '\ufe0f', '\u115f', '\u00ad'])
def test_what_nobody_sees_is_no_answer_and_shown_by_its_code(text, picked, tmp_path):
    assert not can_be_seen(text) and all('⟨' in o for o in one_line(text).split()) and one_line(one_line(text)) == one_line(text)
    assert one_line(f'king{text[0]}s') != f'king{text[0]}s' or text[0] in '\u200c\u200d\ufe0f'
    labels = label_with(lambda prompt: text, picked, tmp_path/'j.jsonl', ids=[0], retries=0, source='me')
    assert not len(labels) and labels.meta['counts'] == {'nothing that can be seen': 1}

def test_joined_letters_stay_joined():
    for text in ('मى‌خواهم', '👩‍👩‍👧', 'e\u0301', '日本'): assert one_line(text) == text and can_be_seen(text)

def test_hostile_tokens_in_labels_stay_text():
    texts = [f'say {HOSTILE[0].replace(" ", "")} now \u202e end' for _ in range(12)]
    labels = auto_labels(pick_examples(world(lambda w, i, p: {0: 1. if i == 1 else 0, 1: 1. if i == 3 else 0}, texts)))
    assert labels[0].startswith('</script><script>alert(1)</script> 100 %') and '\u202e' not in labels[1]

def test_labels_do_not_depend_on_how_they_are_stored(zoo, tmp_path):
    _, acts, examples = zoo
    store = acts.save(tmp_path/'store', shard=700)
    assert auto_labels(pick_examples(store, range(40))).text == auto_labels(examples).text

# ---- Neuronpedia

def row(index, text, model='gpt2-small', layer='6-res-jb', **more):
    return dict(modelId=model, layer=layer, index=index, description=text, explanationModelName='gpt-4o-mini', typeName='oai_token-act-pair', **more)

def lines(rows): return ''.join(json.dumps(o) + '\n' for o in rows).encode()

@pytest.mark.parametrize('name, pack', [
    ('x.json', lambda r: json.dumps(r).encode()), ('x.json', lambda r: json.dumps({'explanations': r, 'explanationsCount': 2}).encode()),
    ('x.jsonl', lines), ('x.jsonl', lambda r: lines(r).replace(b'\n', b'\r\n\n')), ('batch-0.jsonl.gz', lambda r: gzip.compress(lines(r))), ('x.json.gz', lambda r: gzip.compress(json.dumps(r).encode()))])
def test_all_forms_of_an_export_are_read(name, pack, tmp_path):
    rows = [row('3', ' months '), row(1, 'kings\nand queens', scoreV1=None), row('2', ''), row('4', None), dict(other=1)]
    (tmp_path/name).write_bytes(pack(rows))
    labels = read_neuronpedia(tmp_path/name, 5)
    assert labels.of() == ['', 'kings and queens', '', 'months', ''] and labels.source == 'neuronpedia'
    assert labels.meta['modelId'] == 'gpt2-small' and labels.meta['counts']['without a label'] == 3
    assert read_neuronpedia(tmp_path, 5).of() == labels.of()

def test_batches_are_read_in_the_order_of_their_numbers(tmp_path):
    for i in (0, 2, 10): (tmp_path/f'batch-{i}.jsonl.gz').write_bytes(gzip.compress(lines([row(7, f'batch {i}')])))
    assert read_neuronpedia(tmp_path, 8)[7] == 'batch 0'

def test_a_score_that_is_no_number_beats_none(tmp_path):
    path = tmp_path/'x.jsonl'
    path.write_bytes(b''.join(json.dumps(row(1, text, scoreV1=score)).encode() + b'\n' for text, score in [('bad', float('nan')), ('good', .9), ('worse', float('nan'))]))
    assert read_neuronpedia(path, 5)[1] == 'good'

def test_a_file_of_countless_lines_ends(tmp_path, monkeypatch):
    from featgeom import labels
    monkeypatch.setattr(labels, '_LINES', 1000)
    (tmp_path/'x.jsonl').write_bytes(lines([row(1, 'a')]) + b'\n'*999)
    assert read_neuronpedia(tmp_path/'x.jsonl', 5)[1] == 'a'
    (tmp_path/'x.jsonl').write_bytes(lines([row(1, 'a')]) + b'\n'*1000)
    with pytest.raises(FeatgeomError, match='more than 1,000 lines'): read_neuronpedia(tmp_path/'x.jsonl', 5)
    with pytest.raises(FeatgeomError, match='n_features'): Labels('me', 's', 10**15, np.array([1]), ('a',))

def test_exports_of_another_sae_are_refused(tmp_path, zoo):
    path = tmp_path/'x.jsonl'
    path.write_bytes(lines([row(1, 'a'), row(2, 'b')]))
    for kw, words in [(dict(model='gemma-2-2b'), "modelId 'gpt2-small'"), (dict(sae='7-res-jb'), "layer '6-res-jb'")]:
        with pytest.raises(FeatgeomError, match=words): read_neuronpedia(path, 5, **kw)
    with pytest.raises(FeatgeomError, match='label of feature 2'): read_neuronpedia(path, 2)
    assert len(read_neuronpedia(path, 5, model='gpt2-small', sae='6-res-jb')) == 2
    path.write_bytes(lines([row(1, 'a'), row(2, 'b', layer='7-res-jb')]))
    with pytest.raises(FeatgeomError, match='mixes 2 SAEs'): read_neuronpedia(path, 5)
    with pytest.raises(FeatgeomError, match="layer '7-res-jb'"): read_neuronpedia(path, 5, sae='6-res-jb')
    space, acts, _ = zoo
    path.write_bytes(lines([row(1, 'a')]))
    for here in (acts, space):
        with pytest.raises(FeatgeomError, match="labels of layer 6. Of layer 0.*sae='6-res-jb'"): read_neuronpedia(path, here)
    told = read_neuronpedia(path, acts, sae='6-res-jb')
    assert told.space == acts.name and (told.meta['sae_hash'], told.meta['checked']) == (space.sae.hash, 'name and width'), 'the user says so'
    path.write_bytes(lines([row(1, 'a', layer='0-res-jb')]))
    told = read_neuronpedia(path, acts)
    assert 'sae_hash' not in told.meta and told.meta['checked'] == 'width alone', 'nobody compared'
    path.write_bytes(lines([row(1, 'a')]))
    sae = fg.load_sae(fg.zoo_path('story-1l/sae-256'))
    sae.metadata['neuronpedia_id'] = 'gpt2-small/5-res-jb'
    with pytest.raises(FeatgeomError, match="layer '6-res-jb'"): read_neuronpedia(path, fg.FeatureSpace.load(space.model, sae))

def test_of_several_explanations_the_best_stays_and_explainers_can_be_chosen(tmp_path):
    path = tmp_path/'x.jsonl'
    path.write_bytes(lines([row(1, 'first'), row(1, 'best', scoreV2=.9), row(1, 'worse', scoreV1=.2), dict(row(1, 'mine'), explanationModelName='me')]))
    assert read_neuronpedia(path, 5)[1] == 'best' and read_neuronpedia(path, 5, explainer='me')[1] == 'mine'
    with pytest.raises(FeatgeomError, match="by 'nobody'"): read_neuronpedia(path, 5, explainer='nobody')

@pytest.mark.parametrize('index', ['٣', '1.0', 1.5, True, None, [1], '-1', -1, '9'*5000, 10**30, ' 1', '0x1', {}])
def test_ids_that_are_no_ids_are_counted_not_guessed(index, tmp_path):
    (tmp_path/'x.jsonl').write_bytes(lines([row(index, 'odd'), row(2, 'good')]))
    labels = read_neuronpedia(tmp_path/'x.jsonl', 5)
    assert labels.of() == ['', '', 'good', '', ''] and labels.meta['counts'] == {'without a label': 1, 'several of a feature': 0} 

@pytest.mark.parametrize('name, data', [
    ('x.json', b''), ('x.json', b'{}'), ('x.json', b'3'), ('x.json', b'['*200_000), ('x.jsonl', b'{"a":'), ('x.jsonl', b'\xff\xfe'), ('x.jsonl', b'{}\n'),
    ('x.jsonl', b'"' + b'a'*2**23), ('x.jsonl.gz', b'no gzip'), ('x.jsonl.gz', gzip.compress(lines([row(1, 'a')]*50))[:-12]), ('x.jsonl.gz', gzip.compress(b' '*2**24))])
def test_damaged_exports_are_named(name, data, tmp_path):
    (tmp_path/name).write_bytes(data)
    with pytest.raises(FeatgeomError): read_neuronpedia(tmp_path/name, 5)

def test_folders_without_an_export_say_where_to_look(tmp_path):
    (tmp_path/'explanations').mkdir()
    with pytest.raises(FeatgeomError, match='explanations'): read_neuronpedia(tmp_path, 5)
    with pytest.raises(FeatgeomError, match='No export'): read_neuronpedia(tmp_path/'none', 5)

@pytest.mark.parametrize('text', HOSTILE)
def test_hostile_labels_of_others_become_one_line(text, tmp_path):
    (tmp_path/'x.jsonl').write_bytes(lines([row(1, text)]))
    assert read_neuronpedia(tmp_path/'x.jsonl', 5)[1] == one_line(text)
    (tmp_path/'layers.0_latent1.txt').write_bytes(json.dumps(text).encode())
    assert read_delphi(tmp_path, 5)[1] == one_line(text)

# ---- delphi

def test_forms_of_delphi(tmp_path):
    for name, data in {'layers.6.mlp_latent0.txt': b'"royalty"', 'layers.6.mlp_latent2.txt': b'plain text', 'layers.6.mlp_latent3.json': b'{"explanation": "months"}',
                       'layers.6.mlp_latent4.txt': b'"Explanation could not be parsed."', 'layers.6.mlp_latent5.txt': b'"No explanation found"', 'notes.txt': b'x', 'layers.6.mlp_latent7.txt': b'[]'}.items():
        (tmp_path/name).write_bytes(data)
    labels = read_delphi(tmp_path, 8)
    assert labels.of() == ['royalty', '', 'plain text', 'months', '', '', '', ''] and labels.meta == dict(module='layers.6.mlp', counts=dict(failed=3), checked='width alone')
    assert read_delphi(tmp_path/'layers.6.mlp_latent0.txt', 8)[0] == 'royalty'
    (tmp_path/'table.json').write_text(json.dumps({'.transformer.h.0_feature3': 'old form', '.transformer.h.0_feature4': 'too', 'x': 'y'}))
    assert read_delphi(tmp_path/'table.json', 8).of()[3:5] == ['old form', 'too']

def test_explanations_of_another_sae_are_refused(tmp_path):
    (tmp_path/'layers.6_latent9.txt').write_bytes(b'"a"')
    with pytest.raises(FeatgeomError, match='label of feature 9'): read_delphi(tmp_path, 9)
    with pytest.raises(FeatgeomError, match='layers.6'): read_delphi(tmp_path, 10, module='layers.7')
    (tmp_path/'layers.7_latent1.txt').write_bytes(b'"a"')
    with pytest.raises(FeatgeomError, match='mixes hookpoints'): read_delphi(tmp_path, 10)

def test_explanations_of_another_layer_are_refused(zoo, tmp_path):
    space, acts, _ = zoo
    (tmp_path/'layers.6.mlp_latent9.txt').write_bytes(b'"a"')
    for here in (acts, space):
        with pytest.raises(FeatgeomError, match="labels of layer 6. Of layer 0.*module='layers.6.mlp'"): read_delphi(tmp_path, here)
    assert read_delphi(tmp_path, acts, module='layers.6.mlp').meta['sae_hash'] == space.sae.hash
    (tmp_path/'layers.6.mlp_latent9.txt').rename(tmp_path/'layers.0_latent9.txt')
    assert read_delphi(tmp_path, acts).check(acts).meta == dict(module='layers.0', counts=dict(failed=0), checked='width alone')

def test_a_folder_of_scores_is_no_folder_of_labels(tmp_path):
    (tmp_path/'layers.6_latent9.txt').write_text(json.dumps([dict(str_tokens=['a'], prediction=True)]))
    with pytest.raises(FeatgeomError, match='scores'): read_delphi(tmp_path, 10)
    with pytest.raises(FeatgeomError): read_delphi(tmp_path/'none', 10)

# ---- prompts

def test_marks_are_where_the_feature_is_active(picked):
    for o in picked.of(0)[:5]:
        text = marked(o)
        assert text.replace('«', '').replace('»', '') == o.text.strip() and '«king»' in text
    two = world(lambda w, i, p: {0: 1. if w[i] in ('old', 'king') else .1 if w[i] == 'of' else 0}, stories())
    assert '«old king» of' in marked(pick_examples(two, left=6, right=4).of(0)[0])

def test_marks_in_a_text_are_not_ours():
    acts = world(lambda w, i, p: {0: 1. if w[i] == 'king' else 0}, ['a «false» mark and a king\nof two lines here'.replace('\n', ' \n ')]*3)
    text = prompt_of(pick_examples(acts), 0)
    assert '«king»' in text and '‹false›' in text and '⏎' in text and text.count('«') == PROMPT.count('«') + 1

def test_the_prompt_is_made_of_the_explained_examples_alone(picked):
    text = prompt_of(picked, 5)
    for i, o in enumerate(picked.of(5)[::2], 1): assert f'\n{i}. {marked(o)}' in text
    assert f'\n{len(picked.of(5)[::2]) + 1}. ' not in text

# ---- asking

def answer(prompt): return f'label {abs(hash_of(prompt)) % 1000}'
def hash_of(text):
    import hashlib
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)

def test_what_was_answered_survives_a_raise_and_is_not_asked_again(picked, tmp_path):
    whole = label_with(answer, picked, tmp_path/'whole.jsonl')
    for stop in (KeyboardInterrupt, RuntimeError, FeatgeomError, MemoryError):
        path, asked = tmp_path/f'{stop.__name__}.jsonl', []
        def raising(prompt):
            asked.append(prompt)
            if len(asked) in (3, 5): raise stop('a', 'b', 'c') if stop is FeatgeomError else stop('stopped')
            return answer(prompt)
        for _ in range(2):
            with pytest.raises(stop) as caught: label_with(raising, picked, path, source='answer')
        assert 'the same call goes on' in ''.join(caught.value.__notes__)
        labels = label_with(raising, picked, path, source='answer')
        assert (labels.ids.tolist(), labels.text, labels.meta) == (whole.ids.tolist(), whole.text, whole.meta)
        assert len(asked) == len(whole) + 2 and label_with(raising, picked, path, source='answer').text == whole.text and len(asked) == len(whole) + 2

@pytest.mark.skipif(not hasattr(os, 'fork'), reason='kills a forked process')
def test_a_kill_half_way_loses_nothing(zoo, tmp_path):
    _, _, examples = zoo
    whole = label_with(answer, examples, tmp_path/'whole.jsonl')
    for n in (1, 7, 23):
        path, log = tmp_path/f'{n}.jsonl', tmp_path/f'{n}.log'
        def dying(prompt):
            with open(log, 'a') as f: f.write('x')
            if log.stat().st_size == n: os.kill(os.getpid(), signal.SIGKILL)
            return answer(prompt)
        pid = os.fork()
        if pid == 0:
            label_with(dying, examples, path, chunk=10**6)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        assert len(path.read_bytes().splitlines()) == n                        # the head, and n - 1 answers
        labels = label_with(dying, examples, path)
        assert labels.text == whole.text and log.stat().st_size == len(whole) + 1

def test_a_journal_cut_anywhere_goes_on(picked, tmp_path):
    whole = label_with(answer, picked, tmp_path/'whole.jsonl')
    data = (tmp_path/'whole.jsonl').read_bytes()
    for cut in range(0, len(data), 13):
        path = tmp_path/'cut.jsonl'
        path.write_bytes(data[:cut])
        assert label_with(answer, picked, path).text == whole.text
        assert path.read_bytes() == data

@pytest.mark.parametrize('bad, reason', [(None, 'no text but NoneType'), (3, 'no text but int'), (b'x', 'no text but bytes'), (['a'], 'no text but list'), ('', 'empty'), (' \n ', 'empty'),
                                         ('x'*501, 'longer than 500 characters'), ('a\nb', 'control characters'), ('a\x07', 'control characters'), ('\ud800', 'control characters')])
def test_nonsense_is_asked_again_and_then_counted_never_kept(bad, reason, picked, tmp_path):
    asked = []
    def sometimes(prompt):
        asked.append(prompt)
        return bad if prompt.count('«king»') > 8 else answer(prompt)
    labels = label_with(sometimes, picked, tmp_path/'x.jsonl', retries=2, source='answer')
    failed = [id for id in (0, 3)]
    assert labels.meta['counts'] == {reason: 2} and labels.meta['failed'] == {str(o): reason for o in failed}
    assert not set(failed) & set(labels.ids.tolist()) and len(asked) == len(labels) + 3*2
    label_with(sometimes, picked, tmp_path/'x.jsonl', source='answer')
    assert len(asked) == len(labels) + 3*2
    good = label_with(answer, picked, tmp_path/'x.jsonl', again=True)
    assert good.meta['counts'] == {} and len(good) == len(labels) + 2
    assert label_with(sometimes, picked, tmp_path/'x.jsonl', source='answer').text == good.text

def test_an_answer_after_a_retry_is_kept(picked, tmp_path):
    asked = []
    def second(prompt):
        asked.append(prompt)
        return 'good' if len(asked) % 2 == 0 else ''
    labels = label_with(second, picked, tmp_path/'x.jsonl', retries=1)
    assert set(labels.text) == {'good'} and len(asked) == 2*len(labels)

def test_journals_of_something_else_are_refused_untouched(picked, small, tmp_path):
    path = tmp_path/'x.jsonl'
    label_with(answer, picked, path)
    before = path.read_bytes()
    with pytest.raises(FeatgeomError, match='begun for something else .examples'): label_with(answer, pick_examples(small, left=3, right=3), path)
    assert path.read_bytes() == before
    for data in (b'{"a": 1}\n', b'not json\n', b'[1]\n{}\n', before + b'{"id": -1}\n', before + b'{"label": "x"}\n'):
        path.write_bytes(data)
        with pytest.raises(FeatgeomError): label_with(answer, picked, path)
        assert path.read_bytes() == data
    text = b'My only copy of this, without a line end'
    for data in (text, b'One line\n' + text, text + b'\nand a second', b'\0'*100, before + text[:7] + b'\n' + text, b'{"kind": "another", "format": 1}\n{"id": 1'):
        path.write_bytes(data)
        with pytest.raises(FeatgeomError, match='no journal of labels'): label_with(answer, picked, path)
        assert path.read_bytes() == data, 'what is no journal is never written to'
    with pytest.raises(FeatgeomError): label_with(answer, picked, tmp_path)
    with pytest.raises(FeatgeomError): label_with(answer, picked, path/'x.jsonl')
    assert len(label_with(answer, picked, tmp_path/'new'/'folder'/'x.jsonl')) == 7

def test_labels_of_one_source_do_not_become_those_of_another(picked, tmp_path):
    def another(prompt): return 'mine'
    label_with(answer, picked, tmp_path/'x.jsonl', ids=[0])
    with pytest.raises(FeatgeomError, match='source: answer there, another now'): label_with(another, picked, tmp_path/'x.jsonl')
    assert label_with(another, picked, tmp_path/'x.jsonl', source='answer', ids=[0, 3]).source == 'answer', 'who says so takes it over'

def test_a_function_without_a_name_must_get_one(picked, tmp_path):
    with pytest.raises(FeatgeomError, match='source="..."'): label_with(lambda prompt: 'x', picked, tmp_path/'x.jsonl')
    assert not (tmp_path/'x.jsonl').exists()

def test_one_writer_at_a_time(picked, tmp_path):
    inside, go = threading.Event(), threading.Event()
    def slow(prompt):
        inside.set()
        go.wait(20)
        return answer(prompt)
    thread = threading.Thread(target=lambda: label_with(slow, picked, tmp_path/'x.jsonl', source='answer'))
    thread.start()
    inside.wait(20)
    with pytest.raises(FeatgeomError, match='being written'): label_with(answer, picked, tmp_path/'x.jsonl')
    go.set()
    thread.join()
    assert len(label_with(answer, picked, tmp_path/'x.jsonl')) == 7 and sorted(o.name for o in tmp_path.iterdir()) == ['x.jsonl']

def test_some_features_now_others_later(picked, tmp_path):
    first = label_with(answer, picked, tmp_path/'x.jsonl', ids=[5, 0], source='f')
    assert first.ids.tolist() == [0, 5]
    asked = []
    every = label_with(lambda p: asked.append(p) or answer(p), picked, tmp_path/'x.jsonl', source='f')
    assert len(every) == 7 and len(asked) == 5 and every.source == 'f' and 6 not in every.ids                    # 6 is dead
    assert len(label_with(answer, picked, tmp_path/'y.jsonl', ids=[6])) == 0

@pytest.mark.parametrize('kw, words', [(dict(ids=[99]), 'nearest: 7'), (dict(chunk=0), 'chunk=0'), (dict(retries=-1), 'retries=-1'), (dict(source=3), 'source of type int')])
def test_doors_of_label_with(kw, words, picked, tmp_path):
    with pytest.raises(FeatgeomError, match=words): label_with(answer, picked, tmp_path/'x.jsonl', **kw)
    with pytest.raises(FeatgeomError, match='function'): label_with('gpt', picked, tmp_path/'x.jsonl')
    with pytest.raises(FeatgeomError, match='examples of type'): label_with(answer, [1], tmp_path/'x.jsonl')

# ---- handing examples on

def test_an_export_holds_every_example_and_goes_on(picked, small, tmp_path):
    paths = export_examples(picked, tmp_path/'out', chunk=3)
    data = {}
    for o in paths[:-1]: data |= json.loads(o.read_text())
    assert sorted(map(int, data)) == [0, 1, 2, 3, 4, 5, 7] and json.loads(paths[-1].read_text())['complete']
    for id, examples in data.items():
        told = [o for s in picked.strata for o in picked.of(int(id), s)]
        assert [(o['stratum'], o['text'], o['doc'], o['hit'], o['tokens']) for o in examples] == [(o.stratum, o.text, o.doc, o.hit, list(o.tokens)) for o in told]
        for o in examples: assert small.texts[o['doc']][o['first']:][:len(o['text'])] == o['text']
    before = {o.name: o.read_bytes() for o in paths}
    paths[1].unlink()
    export_examples(picked, tmp_path/'out', chunk=3)
    assert {o.name: o.read_bytes() for o in paths} == before
    for kw in (dict(chunk=4), dict(chunk=3, ids=[0]), dict(chunk=3, strata=['top'])):
        with pytest.raises(FeatgeomError, match='something else'): export_examples(picked, tmp_path/'out', **kw)
    (tmp_path/'full').mkdir()
    (tmp_path/'full'/'mine.txt').write_text('x')
    with pytest.raises(FeatgeomError, match='something else'): export_examples(picked, tmp_path/'full')
    with pytest.raises(FeatgeomError, match='Stratum'): export_examples(picked, tmp_path/'new', strata=['best'])

def test_a_stopped_export_goes_on(picked, tmp_path, monkeypatch):
    real, done = labelling.write_json, []
    def stopping(path, obj):
        done.append(path)
        if len(done) == 3: raise KeyboardInterrupt
        real(path, obj)
    monkeypatch.setattr(labelling, 'write_json', stopping)
    with pytest.raises(KeyboardInterrupt): export_examples(picked, tmp_path/'out', chunk=2)
    monkeypatch.undo()
    assert not json.loads((tmp_path/'out'/'manifest.json').read_text())['complete']
    paths = export_examples(picked, tmp_path/'out', chunk=2)
    assert all(o.is_file() for o in paths) and json.loads(paths[-1].read_text())['complete']
