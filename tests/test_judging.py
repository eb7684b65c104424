"Scores of labels: the judge's tasks, the arithmetic against naive references, calibrated p, failing judges, and the embedded models."
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import sparse, stats

import featgeom as fg
from featgeom import judging
from featgeom.acts import FeatureActs
from featgeom.core import FeatgeomError
from featgeom.examples import pick_examples
from featgeom.judging import KINDS, keyword_judge, moved_features, score_labels, tasks_of
from featgeom.labels import Labels, auto_labels, explained_rows
from featgeom.stories import tell

SOME = np.arange(0, 256, 8)

@pytest.fixture(scope='module')
def zoo():
    "Labels of some features of an SAE from 300 stories, and examples of the same from 300 others."
    space = fg.FeatureSpace.load(fg.zoo_path('story-1l'), fg.zoo_path('story-1l/sae-256'))
    told, unseen = (fg.collect(space, tell(300, seed=s), progress=False)[0] for s in (3, 4))
    return SimpleNamespace(space=space, told=told, unseen=unseen, labels=auto_labels(pick_examples(told, SOME)),
                           examples=pick_examples(unseen, SOME, silent=12))

# ---- what the judge is given

def test_no_task_shows_what_a_label_was_made_from(zoo):
    ex, acts = zoo.examples, zoo.unseen
    told = {int(id): {(int(acts.rows.doc[r]), int(acts.rows.pos[r])) for r in row if r >= 0} for id, row in zip(ex.ids, explained_rows(ex))}
    for id, tasks in tasks_of(ex):
        for stratum, parts in dict(top=('top',), q=('q4', 'q3', 'q2', 'q1'), random=('random',)).items():
            rows = {o.row for part in parts for o in ex.of(id, part)}
            assert tasks['detection'].stratum.count(stratum) <= len(rows)
        hits = [o for part in ('top', 'q4', 'q3', 'q2', 'q1', 'random') for o in ex.of(id, part)]
        outside = {o.row for o in hits if not any(d == o.doc and p - ex.left <= acts.rows.pos[o.row] <= p + ex.right for d, p in told[id])}
        assert sum(tasks['detection'].truth) == len(outside)
        assert len(set(tasks['detection'].items)) > .8*len(tasks['detection'].items)

def test_tasks_depend_on_seed_and_feature_alone(zoo):
    every, one = dict(tasks_of(zoo.examples, seed=5)), dict(tasks_of(zoo.examples, [16], seed=5))
    for kind in KINDS:
        assert every[16][kind].items == one[16][kind].items and every[16][kind].stratum == one[16][kind].stratum
    assert dict(tasks_of(zoo.examples, [16], seed=6))[16]['detection'].items != one[16]['detection'].items
    assert set(dict(tasks_of(zoo.examples, [16], ('top',)))[16]['detection'].stratum) == {'top', ''}

def test_truth_and_order_tell_nothing(zoo):
    first = [tasks['detection'].truth[0] for _, tasks in tasks_of(zoo.examples)]
    assert 0 < sum(first) < len(first)
    for _, tasks in tasks_of(zoo.examples):
        assert {type(o) for o in tasks['detection'].items} == {str} and not any('«' in o or '\n' in o for o in tasks['detection'].items)
        for s in ('top', 'q'):
            right = [t for t, o in zip(tasks['fuzzing'].truth, tasks['fuzzing'].stratum) if o == s]
            assert abs(sum(right) - len(right)/2) <= 1
        for tokens, values in zip(tasks['simulation'].items, tasks['simulation'].truth): assert len(tokens) == len(values) and (values >= 0).all()

def test_wrong_marks_are_as_many_and_never_where_the_feature_is_active(zoo):
    rng = np.random.default_rng(0)
    for id in zoo.examples.ids[:10]:
        for o in zoo.examples.of(id)[:6]:
            text = judging._wrongly(o, rng)
            if text is None: continue
            size = abs(o.values)
            base, plain, inside, at = int(o.start[0]), text.replace('«', '').replace('»', ''), [], 0
            for c in text:
                if c in '«»': inside.append((c, at))
                else: at += 1
            marked = {p for (a, p0), (b, p1) in zip(inside[::2], inside[1::2]) for p in range(p0, p1)}
            skipped = len(o.text) - len(o.text.lstrip())
            active = {p for a, b, v in zip(o.start, o.end, size) if v >= .3*size.max() and v > 0 for p in range(a - base - skipped, b - base - skipped)}
            letters = {p for p in marked if not plain[p].isspace()}
            hot = {p for p in active if 0 <= p < len(plain) and not plain[p].isspace()}
            assert letters and not letters & hot

# ---- the keyword judge

@pytest.mark.parametrize('label, text, found', [
    ('king 80 % | after "the" 9 of 10', 'the queen', 0), ('king 80 %, queen 9 %', 'the queen', 1), ('King 80 %', 'a king.', 1), ('king 80 %', 'kingdom', 0),
    ('. 90 %', 'the end', 0), ('. 90 %', 'the end.', 1), (', 60 %, and 12 %', 'a, b', 1), ('… 40 %', 'a… b', 1), ('…ing 40 %', 'singing', 1), ('…ing 40 %', 'ingot', 0), ('cast… 40 %', 'castle', 1),
    ('…a… 40 %', 'cat', 1), ('many tokens, most on the 4 %', 'the', 1), ('many tokens, most on the 4 %', 'many', 0), ('🙂 90 %', 'a 🙂', 1), ('né… 30 %', 'née', 1), ('3 50 %', '13', 0), ('3 50 %', 'at 3', 1),
    ('words about royal people', 'a royal', 1), ('words about royal people', 'words about', 0), ('the of', 'the', 1), ('it\'s', "it's", 1), ('(a+)+$ [', 'a', 1), ('', 'x', 0), ('%%%', 'x', 0), ('\\ 30 %', 'a \\ b', 1)])
def test_keywords(label, text, found):
    assert keyword_judge('detection', label, [text]) == [found]

def test_the_keyword_judge_reads_marks_and_tokens():
    assert keyword_judge('fuzzing', 'castle 90 %', ['the «cast»le', 'the «castle»', 'a «tower» of the castle', 'no marks', '«a» castle «castle»']) == [1, 1, 0, 0, .5]
    assert keyword_judge('simulation', 'castle 90 %', [['␣the', '␣cast', 'le', '⏎', 'castle', '␣castles']]) == [[0, 1, 1, 0, 1, 0]]
    assert keyword_judge('simulation', '. 90 %', [['.', '⟨0xE2⟩', '."']]) == [[1, 0, 1]]

def test_hostile_labels_do_not_hang_the_keyword_judge():
    for label in ('a'*500, '('*200, '(a|a)*'*50 + ' 30 %', ', '.join(f'{"…" + "x"*60 + "…"} 3 %' for _ in range(6))):
        assert len(keyword_judge('detection', label, ['a'*5000]*3)) == 3

# ---- arithmetic

def test_balanced_accuracy_against_a_naive_count():
    rng = np.random.default_rng(0)
    for _ in range(20):
        truth, said, group = (rng.random(30) < .5 for _ in range(3))
        yes, no = [s for s, t, g in zip(said, truth, group) if t and g], [s for s, t, g in zip(said, truth, group) if not t and g]
        want = np.nan if min(len(yes), len(no)) < 2 else (sum(yes)/len(yes) + sum(not o for o in no)/len(no))/2
        assert judging._balanced(said, truth, group, 2) == pytest.approx(want, nan_ok=True)

def test_simulation_is_a_correlation_and_a_constant_answer_is_zero():
    rng = np.random.default_rng(0)
    x, y = [rng.random(5) for _ in range(4)], [rng.random(5) for _ in range(4)]
    every = np.ones(4, bool)
    assert judging._simulated(x, y, every) == pytest.approx(stats.pearsonr(np.concatenate(x), np.concatenate(y))[0])
    assert judging._simulated([np.ones(5)]*4, y, every) == 0 and np.isnan(judging._simulated(x, [np.ones(5)]*4, every))
    assert judging._simulated(x, y, np.array([1, 0, 0, 1], bool)) == pytest.approx(np.corrcoef(np.r_[x[0], x[3]], np.r_[y[0], y[3]])[0, 1])

@pytest.mark.parametrize('r', [1, 3])
def test_p_is_uniform_where_labels_say_nothing(r):
    rng = np.random.default_rng(r)
    p = [judging._swap_p(o[0], o[1:], 199, rng) for o in rng.normal(size=(200, 1 + r, 25)) + rng.normal(size=(200, 1, 25))]
    assert stats.kstest(p, 'uniform').pvalue > .01 and min(p) >= 1/200
    q = [judging._mix_p(*rng.normal(size=(2, 25)), 199, rng) for _ in range(200)]
    assert stats.kstest(q, 'uniform').pvalue > .01
    assert judging._swap_p(np.ones(40), np.zeros((r, 40)), 199, rng) == 1/200 == judging._mix_p(np.ones(40), np.zeros(40), 199, rng)
    assert np.isnan(judging._swap_p(np.full(4, np.nan), np.ones((r, 4)), 9, rng)) and np.isnan(judging._mix_p(np.ones(4), np.full(3, np.nan), 9, rng))

def test_foreign_labels_are_those_of_others():
    for n in (2, 3, 50):
        out = judging._foreign([str(i) for i in range(n)], 0, 0)
        assert sorted(out) == sorted(str(i) for i in range(n)) and all(o != str(i) for i, o in enumerate(out))
    assert judging._foreign(['alone'], 0, 0) == ['']

# ---- judges that know, guess, and fail

def oracle(examples):
    "A judge that knows the right answers for the labels of these features, and answers no for any other label."
    answers = {}
    for id, tasks in tasks_of(examples):
        for kind, task in tasks.items(): answers[kind, str(id), tuple(map(str, task.items))] = task.truth
    def judge(kind, label, items):
        if (kind, label, tuple(map(str, items))) not in answers: return [0.]*len(items) if kind != 'simulation' else [[0.]*len(o) for o in items]
        truth = answers[kind, label, tuple(map(str, items))]
        return [float(o) for o in truth] if kind != 'simulation' else [(3*o).tolist() for o in truth]
    return judge

def numbered(zoo): return Labels.of_dict({int(o): str(o) for o in SOME}, zoo.unseen)

def test_who_knows_has_one_and_who_does_not_has_chance(zoo):
    scores = score_labels(numbered(zoo), zoo.examples, oracle(zoo.examples), shuffles=3, draws=199)
    good = np.isfinite(scores.own)
    assert np.allclose(scores.own[good], 1) and good[:, :3].mean() > .9
    assert np.allclose(scores.shuffled[:2][np.isfinite(scores.shuffled[:2])], .5) and np.allclose(scores.shuffled[2][np.isfinite(scores.shuffled[2])], 0)
    assert (scores.p == 1/200).all() and scores.counts['failed'] == 0
    assert scores.counts['calls'] <= 3*4*len(SOME) and scores.shuffled.shape == (3, 4, 3, len(scores.ids))
    table, summary = scores.table(), scores.summary()
    assert list(table.columns) == ['feature', *(o for kind in KINDS for o in (kind, f'{kind} shuffled'))] and len(table) == len(scores.ids)
    assert summary.groupby('kind').own.first().tolist() == pytest.approx([1, 1, 1]) and len(summary) == 12
    assert len(scores.plot().axes) == 3

def test_who_guesses_has_chance_and_no_small_p(zoo):
    rng = np.random.default_rng(0)
    def guess(kind, label, items): return [rng.random(len(o)) for o in items] if kind == 'simulation' else rng.random(len(items))
    scores = score_labels(numbered(zoo), zoo.examples, guess, draws=199)
    means = scores.summary()
    assert means[means.kind != 'simulation'].own.between(.42, .58).all() and means[means.kind == 'simulation'].own.between(-.1, .1).all()
    assert scores.p.min() > .005

def test_failures_are_counted_and_never_right(zoo):
    calls, knows = [], oracle(zoo.examples)
    def failing(kind, label, items):
        calls.append(label)
        n = len(calls)
        if n % 8 == 1: raise TimeoutError('slow')
        out = knows(kind, label, items)
        return {2: None, 3: out[:-1], 4: 'yes', 5: {}, 6: iter(out), 7: [str(o) for o in out]}.get(n % 8, out)
    scores = score_labels(numbered(zoo), zoo.examples, failing, 'detection', draws=9)
    n = len(calls)
    bad = sum(i % 8 in (1, 2, 3, 4, 5) for i in range(1, n + 1))
    assert scores.counts == {'calls': n, 'failed': bad, 'items without an answer': scores.counts['items without an answer']} and sum(scores.failed.values()) == bad
    assert scores.failed['TimeoutError: slow'] == sum(i % 8 == 1 for i in range(1, n + 1))
    own = scores.own[0, 0]
    for i in range(len(scores.ids)):
        kind = (2*i + 1) % 8                                                   # own and foreign labels in turn
        if kind in (1, 3, 5): assert np.isnan(own[i])
        elif kind == 7: assert own[i] == .5                                    # words instead of numbers: every item a guess

@pytest.mark.parametrize('value', [None, np.nan, np.inf, -1, 1.5, 'yes', 1j, [1]])
def test_an_item_without_an_answer_counts_as_a_guess(value, zoo):
    def partly(kind, label, items): return [value]*len(items)
    scores = score_labels(numbered(zoo), zoo.examples, partly, 'detection', draws=9)
    assert np.nanmax(scores.own) == .5 == np.nanmin(scores.own) and scores.counts['failed'] == 0 and scores.counts['items without an answer'] > 100

def test_numbers_that_are_none_in_a_simulation_say_nothing(zoo):
    def partly(kind, label, items): return [[None]*len(o) for o in items]
    scores = score_labels(numbered(zoo), zoo.examples, partly, 'simulation', draws=9)
    assert np.nanmax(scores.own) == 0 == np.nanmin(scores.own)
    def short(kind, label, items): return [o[1:] for o in items]
    with pytest.raises(FeatgeomError, match='not one number a token'): score_labels(numbered(zoo), zoo.examples, short, 'simulation', draws=9)

def test_a_judge_that_never_answers_ends_the_call_and_an_interrupt_passes(zoo):
    calls = []
    def broken(kind, label, items):
        calls.append(1)
        raise ConnectionError('no network')
    with pytest.raises(FeatgeomError, match='no network'): score_labels(numbered(zoo), zoo.examples, broken)
    assert len(calls) == 10
    def interrupted(kind, label, items): raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt): score_labels(numbered(zoo), zoo.examples, interrupted)

def test_a_judge_cannot_change_the_task(zoo):
    def vandal(kind, label, items):
        n = len(items)
        items.clear()
        return [1.]*n
    scores = score_labels(numbered(zoo), zoo.examples, vandal, 'detection', draws=9)
    assert np.allclose(scores.own[np.isfinite(scores.own)], .5)

@pytest.mark.parametrize('kw, words', [(dict(kinds=['guess']), 'detection'), (dict(kinds=[]), 'detection'), (dict(strata=['middle']), 'near zero'), (dict(shuffles=0), 'shuffles=0'), (dict(judge=3), 'judge of type int'),
                                       (dict(draws=0), 'draws=0'), (dict(ids=[999]), 'nearest: 255'), (dict(labels=Labels.of_dict({0: 'a'}, 1024)), 'Labels of 1,024'), (dict(labels=['a']), 'labels of type list'),
                                       (dict(examples=[]), 'examples of type list'), (dict(min_fires=-1), 'min_fires'), (dict(seed=-1), 'seed')])
def test_doors(kw, words, zoo):
    with pytest.raises(FeatgeomError, match=words): score_labels(**{**dict(labels=zoo.labels, examples=zoo.examples, judge=keyword_judge), **kw})

def test_examples_that_cannot_be_judged_and_odd_random_features_are_refused(zoo):
    bare = pick_examples(zoo.unseen, SOME, silent=1)
    with pytest.raises(FeatgeomError, match='1 silent examples a feature. At least 2.*silent=12'): score_labels(zoo.labels, bare, keyword_judge)
    with pytest.raises(FeatgeomError, match='0 silent'): score_labels(zoo.labels, zoo.examples, keyword_judge, random=(zoo.labels, pick_examples(zoo.unseen, SOME, silent=0)))
    assert np.isfinite(score_labels(zoo.labels, bare, keyword_judge, 'fuzzing', draws=9).own[0, 0]).any()
    for odd in (5, (5, 6), (zoo.labels,), {'a': None}, {'a': (zoo.labels, zoo.labels)}, (Labels.of_dict({0: 'a'}, 1024), zoo.examples)):
        with pytest.raises(FeatgeomError): score_labels(zoo.labels, zoo.examples, keyword_judge, 'detection', random=odd, draws=9)

def noise(seed, name='noise'):
    "Features that have nothing to do with the tokens they fire on."
    rng = np.random.default_rng(seed)
    x = rng.exponential(size=(3000, 40)).astype(np.float32)*(rng.random((3000, 40)) < .04)
    words, token = {i: f' w{i}' for i in range(300)}, rng.integers(0, 300, 3000)
    length = np.array([len(words[o]) for o in token]).reshape(100, 30)
    end = length.cumsum(1)
    rows = fg.Rows(doc=np.arange(3000)//30, pos=np.arange(3000) % 30, token_id=token, start=(end - length).ravel(), end=end.ravel())
    return FeatureActs.from_csr(sparse.csr_array(x), rows, name, [''.join(words[o] for o in part) for part in token.reshape(100, 30)], words)

def test_counted_labels_judged_on_rows_that_they_counted_have_no_p():
    "Noise seems to have good labels there; on other documents it has not."
    acts = noise(0)
    early, late = acts.select(acts.rows.doc < 50), acts.select(acts.rows.doc >= 50)
    judged = {name: score_labels(auto_labels(pick_examples(a, left=5, right=3)), pick_examples(b, left=5, right=3, silent=12), keyword_judge, draws=199, min_fires=20)
              for name, a, b in [('same', acts, acts), ('part', acts, late), ('apart', early, late), ('other', acts, noise(1))]}
    for name in ('same', 'part'): assert np.isnan(judged[name].p).all() and 'circular' in judged[name].note and 'circular' in judged[name].plot().axes[0].get_title()
    assert np.nanmean(judged['same'].own[2, 0]) > .15, 'this is what is circular'
    for name in ('apart', 'other'): assert (judged[name].p > .01).all() and judged[name].note == 'judged on other documents than labelled'

def test_the_note_says_what_labels_had_seen(zoo):
    own = pick_examples(zoo.told, SOME, silent=12)
    asked = Labels('me', zoo.labels.space, 256, zoo.labels.ids, zoo.labels.text, dict(zoo.labels.meta, made='asked'))
    said = [score_labels(labels, examples, keyword_judge, 'detection', ids=[0, 8], draws=9).note for labels, examples in ((zoo.labels, own), (asked, own), (numbered(zoo), own), (zoo.labels, zoo.examples))]
    assert 'circular' in said[0] and 'not known' in said[1] and 'not known' in said[2] and said[3] == 'judged on other documents than labelled'

def test_a_judge_that_refuses_foreign_labels_more_often_gains_nothing_by_it(zoo):
    rng = np.random.default_rng(0)
    def coy(kind, label, items):
        if np.mean(keyword_judge('detection', label, items)) < .3: return [None]*len(items)
        return rng.random(len(items))
    scores = score_labels(zoo.labels, zoo.examples, coy, 'detection', draws=199)
    assert scores.counts['items without an answer'] > 100 and .44 < np.nanmean(scores.shuffled[0, 0]) and scores.p[0, 0] > .01

def test_answers_in_a_journal_are_not_asked_for_again(zoo, tmp_path):
    asked, path = [], tmp_path/'said.jsonl'
    def judge(kind, label, items):
        asked.append((kind, label, str(items)))
        if len(asked) in (5, 40): raise KeyboardInterrupt
        if len(asked) % 11 == 0: raise TimeoutError('slow')
        if len(asked) % 13 == 0: return [1.]*(len(items) + 1)
        return [np.nan, None, *keyword_judge(kind, label, items)[2:]] if kind == 'fuzzing' else keyword_judge(kind, label, items)
    def call(**more): return score_labels(zoo.labels, zoo.examples, judge, draws=9, path=path, random=(zoo.labels, zoo.examples), **more)
    for n in (5, 40):
        with pytest.raises(KeyboardInterrupt) as caught: call()
        assert len(asked) == n and 'answers are kept' in ''.join(caught.value.__notes__)
    first = call()
    done, lines = len(asked), len(path.read_text().splitlines()) - 1
    assert first.counts['failed'] > 5 and lines < len(set(asked)), 'failures are not kept'
    second = call()
    assert len(asked) - done < 2*first.counts['failed'] and second.counts['failed'] < first.counts['failed']
    while call().counts['failed']: pass
    before, whole = len(asked), call()
    assert len(asked) == before
    def same(kind, label, items): return [np.nan, None, *keyword_judge(kind, label, items)[2:]] if kind == 'fuzzing' else keyword_judge(kind, label, items)
    free = score_labels(zoo.labels, zoo.examples, same, draws=9, random=(zoo.labels, zoo.examples))
    assert np.array_equal(whole.own, free.own, equal_nan=True) and np.array_equal(whole.shuffled, free.shuffled, equal_nan=True) and whole.counts == free.counts
    with pytest.raises(FeatgeomError, match='judge_name="..."'): score_labels(zoo.labels, zoo.examples, lambda *o: 0, path=path)
    with pytest.raises(FeatgeomError, match='judge: judge there, keyword_judge now'): score_labels(zoo.labels, zoo.examples, keyword_judge, path=path)
    (tmp_path/'thesis.txt').write_text('mine')
    with pytest.raises(FeatgeomError, match='no journal of scores'): score_labels(zoo.labels, zoo.examples, keyword_judge, path=tmp_path/'thesis.txt')
    assert (tmp_path/'thesis.txt').read_text() == 'mine'

# ---- random features

def test_moved_features_fire_as_often_elsewhere(zoo):
    moved = moved_features(zoo.told, seed=1)
    a, b = zoo.told.csc(), moved.csc()
    assert (np.diff(a.indptr) == np.diff(b.indptr)).all() and moved.texts == zoo.told.texts
    for j in range(0, 256, 32):
        (ra, va), (rb, vb) = zoo.told.column(j), moved.column(j)
        shift = set(((rb[None] - ra[:, None]) % len(moved))[va[:, None] == vb[None]].tolist())
        assert any(set(((ra + s) % len(moved)).tolist()) == set(rb.tolist()) for s in shift) and set(ra.tolist()) != set(rb.tolist())
    dense = moved_features(FeatureActs.from_dense(zoo.told.select(np.arange(500)).csr().toarray(), zoo.told.rows[:500], 'dense', zoo.told.texts, zoo.told.tokens), seed=1)
    assert dense.dense and (np.sort(dense.column(8)[1]) == np.sort(zoo.told.select(np.arange(500)).column(8)[1])).all()

def test_rare_features_are_not_judged(zoo):
    counts = fg.firing_counts(zoo.unseen)
    limit = int(np.median(counts[SOME]))
    scores = score_labels(zoo.labels, zoo.examples, keyword_judge, 'detection', min_fires=limit, draws=9)
    assert scores.ids.tolist() == [o for o in zoo.labels.ids if counts[o] >= limit]

# ---- what must be shown

@pytest.mark.parametrize('model, sae, step', [('story-1l', 'sae-256', 4), ('story-1l', 'sae-1024', 16), ('story-2l', 'sae-1024', 16)])
def test_labels_of_real_features_beat_shuffled_labels_and_features_moved(model, sae, step):
    space = fg.FeatureSpace.load(fg.zoo_path(model), fg.zoo_path(f'{model}/{sae}'))
    told, unseen = (fg.collect(space, tell(n, seed=s), progress=False)[0] for n, s in ((600, 3), (400, 4)))
    some = np.arange(0, space.f, step)
    chance = auto_labels(pick_examples(moved_features(told), some)), pick_examples(moved_features(unseen), some, silent=12)
    scores = score_labels(auto_labels(pick_examples(told, some)), pick_examples(unseen, some, silent=12), keyword_judge, draws=1999, random={'moved': chance})
    means = {kind: part.iloc[0] for kind, part in scores.summary().groupby('kind')}
    detection = means['detection']
    assert detection.features > 50 and detection.own > .64 and .46 < detection.shuffled < .54 and .46 < detection.moved < .54
    assert means['fuzzing'].own > .7 and abs(means['fuzzing'].shuffled - .5) < .04 and means['simulation'].own > .35 and abs(means['simulation'].shuffled) < .05
    for o in means.values(): assert o.p == o['p moved'] == 1/2000
    assert (scores.own[0, 0] > np.nanquantile(scores.shuffled[0, 0], .95)).mean() > .3
    assert scores.note == 'judged on other documents than labelled' and scores.counts['failed'] == 0
