"The dashboard in a real browser with the network cut: going about, examples, hover, notes, live questions, hostile text, keys, themes, widths."
import base64, json, re, time
from urllib.parse import quote

import numpy as np, pytest

from featgeom.widget import pack
from dashpage import Dash, bundle, cut, entry, opened, outer, page as payload, read_text, side, space
from test_jupyterlab import lab  # noqa: F401 (a fixture)
from test_widget import HOSTILE

READY = '.featgeom[data-state=ready] .ds[data-ready][data-whole]'
EVIL = '<img src=x onerror="window.hit=1">'

# Rows: 0 The | 1 king | 2 saw | 3-5 pieces of one fox | 6 king | 7 newline | 8 End
FOX = [('🦊', '⟨0xF0⟩'), ('🦊', '⟨0x9F⟩'), ('🦊', '⟨0xA6⟩')]
DOCS = [['The', ' king', ' saw', ' ', *FOX, ' king', '\n', 'End'],
        [EVIL, '</script>', '\u202egnp', ' king', '<!--'],
        ['a', ' ~~ ', 'king', ' (', 'duke', ')'],
        ['no', ' royalty', ' here', ' at', ' all'],
        [*(['so '] * 300), 'king', *([' on'] * 300)]]
GAPS = [{3}, (), {1, 3}, (), ()]
PASSAGES = [dict(cut(d, g), doc=i) for i, (d, g) in enumerate(zip(DOCS, GAPS))]

def acts(words, scale, extra=()):
    "Activations of a feature on every passage: by word, in the order of `words`, and (passage, row) -> value on top."
    out = []
    for d, g in zip(DOCS, GAPS):
        rows = [t for i, t in enumerate(d) if i not in g]
        out.append(np.array([scale*words.get(t.strip(), 0) if isinstance(t, str) else 0. for t in rows]))
    for (doc, row), v in dict(extra).items(): out[doc][row] = v
    return out

A3 = acts({'king': 10, 'saw': 2}, 1., {(0, 1): 8., (4, 300): 4.})      # values 8 10 2 10 10 4
B5 = acts({'king': 5, 'duke': 4}, 1., {(1, 0): -5., (4, 300): 0.})     # signed; alone on duke, silent on the last king
PAIR = dict(score=.83, null=.21, p=.001, q=.001, within=.55, within_p=.01, token_only=False, mutual=True, support=4, metric='correlation', given='token', held=.8, held_same=True,
            agreement=[dict(name='jaccard', value=.5, chance=.1), dict(name='rank', value=.1, chance=.3), dict(name=EVIL, value=None, chance=None)])
LOGITS = dict(up=[['␣king', 1.25], [EVIL, .5]], down=[['␣the', -.75]], skew=.8, kurtosis=5.1, chance_effect=.6, chance_kurtosis=3.4, note='Direct path only.')
PARTNERS = [[5, .83, .21, .001, .55, 14, 'royalty'], [6, .5, .21, None, .02, 4, EVIL], [99, .4, .21, .5, None, 1, 'far']]

def board(**traits):
    "A 3 with B 5; A 7 alone; A 9, dead, with B 6; A 12 with B 40, which the page has not."
    docs = list(range(5))
    a = side(0, 'A', 3, A3, [('kings, mostly', 'auto'), (EVIL, 'hand')], tokens=[['␣king', .9], [EVIL, .06], ['␣saw', .04]], logits=LOGITS, partners=PARTNERS,
             near=dict(cosine=[[7, .5, 'seven'], [8, .2, 'eight']], cosine_chance=.3, cofire=[[9, .4, .1, EVIL], [12, .05, .1, '']]))
    b = side(1, 'B', 5, B5, ['royalty'], signed=True, tokens=[['␣king', .8], ['rare', .000393]], partners=[[3, .83, .21, .001, .55, 14, 'kings'], [7, .3, .21, None, .1, 4, 'seven']])
    xs, ys = np.concatenate(A3).astype(np.float32), np.concatenate(B5).astype(np.float32)
    rows = np.flatnonzero((xs != 0) | (ys != 0))
    scatter = dict(text=[['before ', EVIL, ' after']]*len(rows), n=len(xs), either=len(rows), both=3, r=.83, held=.8, x=[0., 10.], y=[-5., 5.])
    sarr = dict(sx=xs[rows], sy=ys[rows], hx=np.ones(24, np.uint32), hy=np.ones(24, np.uint32))
    alone = side(0, 'A', 7, acts({'here': 3}, 1.), ['here'])
    dead = side(0, 'A', 9, acts({}, 1.), [''])
    six = side(1, 'B', 6, acts({'all': 2}, 1.), ['all'], signed=True)
    blobs = [entry([a, b], docs, PAIR, scatter, sarr), entry([alone], docs), entry([dead, six], docs, PAIR | dict(score=.1, q=.6, held=None)), None]
    none = dict(score=None, null=None, q=None)
    listed = [dict(a=3, b=5, la='kings, mostly', lb='royalty', score=.83, null=.21, q=.001), dict(a=7, b=-1, la='here', lb='', **none),
              dict(a=9, b=6, la='', lb=EVIL, score=.1, null=.21, q=.6), dict(a=12, b=40, la='far', lb='away', score=.4, null=.2, q=.01)]
    same = [['A', ['The', '␣king'], [[0, 3], [3, 5]], [[3, 7], [3, -1]], [[4., 1.], [9., 0.]], {'3': 'kings', '7': EVIL}, {'3': 10., '7': 2.}, None],
            ['B', ['The', '␣ki', 'ng'], [[0, 3], [3, 3], [6, 2]], [[5], [6], [77]], [[1.], [2.], [3.]], {'5': 'royalty'}, {'5': 5.}, None]]
    prompts = [('Royal', read_text('The king', same)), (EVIL, read_text('no', [['A', ['no'], [[0, 2]], [[7]], [[1.]], {}, {}, None]]))]
    data = payload([space('A'), space('B', no_logits='B writes to no residual stream.')], listed, blobs, PASSAGES, prompts, live_text=True)
    return Dash(payload=data, **traits)

def many(n=30):
    "Thirty features, each on documents of its own."
    docs = [[f'w{i}', ' a', ' b'] for i in range(n)]
    blobs = [entry([side(0, 'A', 2*i, [np.array([0., i + 1, 0])], [f'label {i}'])], [i]) for i in range(n)]
    listed = [dict(a=2*i, b=-1, la=f'label {i}', lb='', score=None, null=None, q=None) for i in range(n)]
    return Dash(payload=payload([space('A')], listed, blobs, [dict(cut(d), doc=i) for i, d in enumerate(docs)], size=4))

class Page:
    "A dashboard in a page."
    def __init__(self, page):
        self.page = page
        page.wait_for_selector(READY)
    @property
    def entry(self): return self.data('entry')
    def data(self, key): return self.page.locator('.ds').first.get_attribute(f'data-{key}')
    def wait(self, entry):
        end = time.monotonic() + 10
        while self.entry != entry or self.data('ready') is None or self.data('whole') != entry:
            assert time.monotonic() < end, (self.entry, entry, self.notice())
            time.sleep(.02)
    def notice(self): return self.page.inner_text('.ds-notice') if self.page.locator('.ds-notice').is_visible() else ''
    def text(self, where='.ds'): return ' '.join(self.page.inner_text(where).split())
    def lines(self, side=0): return self.page.locator('.ds-examples .ds-column').nth(side).locator('.ds-line')
    def line(self, i, side=0): return ' '.join(self.lines(side).nth(i).inner_text().split())
    def tip(self): return self.text('.ds-tip') if self.page.locator('.ds-tip').is_visible() else ''
    def captions(self): return [' '.join(o.split()) for o in self.page.locator('.ds-heresaid').all_inner_texts()]
    def click(self, name): self.page.click(f'.ds-nav button >> text={name}')
    def tab(self, name): self.page.click(f'[role=tab] >> text={name}')

@pytest.fixture
def show(offline_page, tmp_path):
    "Open a saved dashboard with the network cut, in a page of its own or `on` that of another; what a page complains about fails the test."
    pages = []
    def go(w=None, hash='', on=None, **options):
        path = (w or board()).save(tmp_path/f'dash{len(list(tmp_path.iterdir()))}.html')
        if on: assert on.page.evaluate('window.hit') is None
        page = on.page if on else offline_page(**dict(viewport=dict(width=1300, height=900)) | options)
        page.goto(path.resolve().as_uri() + hash)
        pages.append(page)
        return Page(page)
    yield go
    for page in pages: assert page.problems == [] and page.evaluate('window.hit') is None

LIVE = '''async ([esm, css, base64, traits]) => {
    const state = { ...traits, payload: Uint8Array.from(atob(base64), c => c.charCodeAt(0)) }, listeners = [], log = [];
    const model = { get: k => state[k], save_changes() {}, send: (message) => log.push(message),
        set(k, v) { state[k] = v; for (const [e, f] of [...listeners]) if (e === "change:" + k) f(); },
        on: (e, f) => listeners.push([e, f]), off: (e, f) => listeners.splice(listeners.findIndex(([a, b]) => a === e && b === f), 1) };
    const style = document.createElement("style"); style.textContent = css; document.head.append(style);
    const el = document.createElement("div"); document.body.append(el);
    const module = await import(URL.createObjectURL(new Blob([esm], { type: "text/javascript" })));
    const cleanup = await module.default.render({ model, el });
    const bytes = b => new DataView(Uint8Array.from(atob(b), c => c.charCodeAt(0)).buffer);
    const answer = (message, buffers) => { for (const [e, f] of [...listeners]) if (e === "msg:custom") f(message, buffers.map(bytes)); };
    Object.assign(window, { model, state, log, listeners, answer, cleanup, el });
}'''

@pytest.fixture
def live(offline_page):
    "A dashboard over a model that plays Python: `page.evaluate('state.notes')`, `log`, `answer(message, buffers)`."
    pages = []
    def go(w=None, **traits):
        page, w = offline_page(viewport=dict(width=1300, height=900)), w or board()
        page.evaluate(LIVE, [w._esm, w._css, base64.b64encode(w.payload).decode(), dict(focus=[], bookmarks=[], notes=[], text='', view={}, link='') | traits])
        pages.append(page)
        return Page(page)
    yield go
    for page in pages:
        assert page.problems == [] and page.evaluate('window.hit') is None
        page.evaluate('cleanup()')
        assert page.evaluate('[listeners.length, el.childElementCount]') == [0, 0]

def b64(data): return base64.b64encode(data).decode()

# ---- what stands there

def test_the_first_entry_shows_both_features_and_what_is_known_of_the_pair(show):
    d = show()
    assert d.entry == 'A:3 B:5' and '1 of 4' in d.text('.ds-nav')
    head = d.text('.ds-head')
    for part in ('A 3', 'kings, mostly', 'fires on 6 of 1,000 tokens', '␣king 90 %', EVIL, 'B 5', 'royalty', 'score .83', 'null .21', 'q ≤ .001', 'within token .55', 'held out .80', 'mutual',
                 'Beyond chance', 'Beyond the current token', 'Half of the documents chooses it again; on the other half its score is .80.'): assert part in head, (part, head)
    text = d.text()
    for part in ('raises', '␣king +1.25', 'lowers', '␣the −.75', 'random directions: up to 3.4', 'Direct path only.', 'B writes to no residual stream.', 'kurtosis', '153', 'skew about 0', 'capacity',
                 'Jaccard of the rows they fire on .50 .10', 'rank correlation where both fire .10 .30 as chance', '8 of 8 tokens where either fires',
                 '7 seven .50 null .30', '8 eight as chance .20 null .30', 'not beyond the token', 'same token only', 'not beyond chance'): assert part in text, (part, text)
    assert 'caus' not in head and 'because' not in head

def test_examples_stand_by_their_token_and_by_stratum(show):
    d = show()
    assert d.lines().count() == 6 and [d.line(i).split()[0] for i in range(6)] == ['10.0', '10.0', '10.0', '8.00', '4.00', '2.00']
    assert d.lines(1).count() == 6 and d.line(5, 1).startswith('4.00')
    hits = d.lines().locator('.ds-hit').all_inner_texts()
    assert [o.strip() for o in hits] == ['king', 'king', 'king', 'king', 'king', 'saw']
    xs = {round(o.bounding_box()['x']) for o in d.lines().locator('.ds-hit').all()}
    assert max(xs) - min(xs) <= 2                                                                 # one under the other
    d.tab('Silent')
    d.page.wait_for_selector('.ds-examples >> text=royalty here')
    assert d.line(0).startswith('0 no royalty here')
    d.tab('Across')
    d.page.wait_for_selector('h4 >> text=Near zero')
    assert [o.split(' ')[0] for o in d.page.locator('.ds-examples .ds-column').first.locator('h4').all_inner_texts()] == ['Highest', 'Third', 'Second', 'Lowest', 'Near']

def shares(d, line, side=0):
    "Row -> strengths of both features on a line, in percent."
    spans = d.lines(side).nth(line).locator('.ds-t').evaluate_all('all => all.map(o => [o.dataset.row, o.style.getPropertyValue("--a"), o.style.getPropertyValue("--b"), o.className])')
    return {int(r): (a, b, c) for r, a, b, c in spans}

def test_tokens_are_coloured_by_both_features_on_the_same_text(show):
    d = show()
    first = next(i for i in range(6) if d.line(i).startswith('10.0 The king'))
    rows = shares(d, first)
    assert rows[6][:2] == ('50%', '50%') and rows[1][:2] == (f'{round(8 + 42*204/255)}%', '50%') and rows[0][:2] == ('', '')
    assert 'ds-alone' not in rows[6][2] and rows[2][:2] == (f'{round(8 + 42*51/255)}%', '0%') and 'ds-alone' not in rows[2][2]      # too weak to be marked
    late = next(i for i in range(6) if d.line(i).startswith('4.00'))
    assert 'ds-alone0' in shares(d, late)[300][2]
    assert 'A 3 alone on king' in d.lines().nth(late).get_attribute('aria-label')
    duke = next(i for i in range(d.lines(1).count()) if 'duke' in d.lines(1).nth(i).locator('.ds-hit').inner_text())
    assert 'ds-alone1' in shares(d, duke, 1)[2][2]
    minus = next(i for i in range(d.lines(1).count()) if d.line(i, 1).startswith('−5.00'))
    assert 'ds-minus' in shares(d, minus, 1)[0][2]                                                 # signed activations
    colour = d.lines().nth(first).locator('.ds-hit').evaluate('o => getComputedStyle(o).backgroundImage')
    assert colour.startswith('linear-gradient') and colour.count('color(') + colour.count('rgba(') >= 2

def test_hover_says_token_activations_and_quantiles_and_marks_them_in_the_histograms(show):
    d = show()
    late = next(i for i in range(6) if d.line(i).startswith('4.00'))
    assert d.captions() == ['6 active values, log counts', '6 active values, log counts'] and d.tip() == ''
    d.lines().nth(late).locator('.ds-hit').hover()
    q = (np.quantile([2, 4, 8, 10, 10, 10], np.arange(33)/32) <= 4).sum() - 1
    assert d.tip() == f'king A 3 4.00 lowest {int(np.ceil(100*.2))} % of active B 5 0 silent' and 6 <= q <= 7
    assert d.captions() == ['4.00, lowest 20 % of active', 'silent here']
    lines = d.page.locator('.ds-here')
    assert [o.get_attribute('visibility') for o in lines.all()] == ['visible', 'hidden'] and float(lines.first.get_attribute('x1')) == pytest.approx(300*.4, abs=1)
    first = next(i for i in range(6) if d.line(i).startswith('10.0 The king'))
    d.lines().nth(first).locator('.ds-hit').hover()
    assert d.tip() == '␣king A 3 10.0 the largest B 5 5.00 the largest'
    d.page.mouse.move(2, 2)
    assert d.tip() == '' and d.captions()[0].startswith('6 active values')

def test_a_line_opens_to_the_whole_passage_with_split_characters_newlines_and_gaps(show):
    d = show()
    first = next(i for i in range(6) if d.line(i).startswith('10.0 The king'))
    assert '⟨0xF0⟩⟨0x9F⟩⟨0xA6⟩' in d.line(first) and '🦊' not in d.line(first) and '⏎' in d.line(first)
    d.lines().nth(first).click()
    text = d.page.locator('.ds-passagetext').text_content()
    assert text == 'The king saw ⟨0xF0⟩⟨0x9F⟩⟨0xA6⟩ king⏎\nEnd' and 'document 0, 9 tokens' in d.text('.ds-passage')
    assert d.lines().nth(first).get_attribute('aria-expanded') == 'true'
    d.lines().nth(first).click()
    assert d.page.locator('.ds-passage').count() == 0
    gap = next(i for i in range(6) if 'duke' in d.line(i))
    assert [o.text_content() for o in d.lines().nth(gap).locator('.ds-gap').all()] == [' ~~ ', ' (']
    d.page.locator('.ds-gap').first.hover()
    assert d.tip() == ''                                                                           # it is no token
    late = next(i for i in range(6) if d.line(i).startswith('4.00'))
    d.lines().nth(late).click()
    box, hit = d.page.locator('.ds-passagetext').bounding_box(), d.page.locator('.ds-passagetext .ds-hit').bounding_box()
    assert d.page.locator('.ds-passagetext .ds-t').count() == 601 and box['y'] <= hit['y'] <= box['y'] + box['height']     # scrolled to

def test_a_feature_alone_and_a_dead_one(show):
    d = show()
    d.click('Next')
    d.wait('A:7')
    assert d.page.locator('.ds-card').count() == 1 and not d.page.locator('.ds-pair').is_visible() and 'here' in d.line(0)
    assert d.page.locator('.ds-one').count() and d.page.locator('.sp').count() == 0
    d.click('Next')
    d.wait('A:9 B:6')
    assert 'never fires on 1,000 tokens' in d.text('.ds-head') and 'no label' in d.text('.ds-head')
    assert 'Never fires on these texts: there are no examples.' in d.text('.ds-examples') and 'Not beyond chance' in d.text('.ds-head')
    assert d.page.locator('.ds-hist').count() == 1 and d.lines(1).count() == 1

# ---- going about

def test_next_previous_random_back_and_jump(show):
    d = show(many())
    assert d.entry == 'A:0'
    for name, to in (('Next', 'A:2'), ('Next', 'A:4'), ('Previous', 'A:2'), ('Back', 'A:4'), ('Previous', 'A:2'), ('Previous', 'A:0'), ('Previous', 'A:58')):
        d.click(name)
        d.wait(to)
    d.click('Random')
    d.page.wait_for_timeout(300)
    assert d.entry != 'A:58'
    d.page.fill('.ds-jump', '20')                                                                  # an id before labels that hold it
    assert d.page.locator('[role=option]').first.inner_text().split() == ['A', '20', 'label', '10'] and '2 of 30' in d.text('.ds-popup')
    d.page.keyboard.press('Enter')
    d.wait('A:20')
    d.page.fill('.ds-jump', 'LABEL 7')
    d.page.keyboard.press('Enter')
    d.wait('A:14')
    d.page.fill('.ds-jump', 'label 2')
    d.page.keyboard.press('ArrowDown')
    d.page.keyboard.press('ArrowDown')
    assert d.page.get_attribute('.ds-jump', 'aria-activedescendant') == d.page.get_attribute('[role=option][aria-selected=true]', 'id')
    d.page.keyboard.press('Enter')
    d.wait('A:42')
    d.page.fill('.ds-jump', 'nothing such')
    assert 'Nothing found' in d.text('.ds-popup')
    d.page.keyboard.press('Escape')
    assert not d.page.locator('.ds-popup').is_visible()
    d.page.click('.ds-jump')
    d.page.click('[role=option] >> text=label 5')
    d.wait('A:10')

def test_only_what_is_shown_and_its_neighbours_are_decoded(show):
    d = show(many())
    d.page.wait_for_timeout(400)
    assert int(d.data('decoded')) <= 4                                                              # itself, the next two and the one before
    for i in range(1, 6):
        d.click('Next')
        d.wait(f'A:{2*i}')
    d.page.wait_for_timeout(400)
    assert int(d.data('decoded')) <= 9

def test_what_is_not_in_the_page_says_the_nearest(show):
    d = show(board(focus=[['A', 8]]))
    assert d.entry == 'A:7' and 'A 8 is not in this page; the nearest is A 7' in d.notice() and 'running kernel' in d.notice()
    d = show(board(focus=[['A', 12], ['B', 40]]), on=d)                                             # listed, but without its data
    assert d.entry == 'A:9 B:6' and 'A 12 with B 40 is not in this page' in d.notice()
    d.page.fill('.ds-jump', '11')
    assert 'Enter goes to the nearest' in d.text('.ds-popup')
    d.page.keyboard.press('Enter')
    d.page.wait_for_selector('.ds-notice >> text=A 11 is not in this page; the nearest is A 9')
    d.click('Previous')
    d.wait('A:7')
    assert d.notice() == ''
    for focus in ([['C', 1]], [[EVIL, 3]], [['A', -3]], [['A', '3']], ['A', 3], [None]): assert show(board(focus=focus), on=d).entry == 'A:3 B:5'

def test_partners_and_neighbours_lead_on_or_say_why_not(show):
    d = show()
    go = lambda name: d.page.locator('.ds-go', has_text=name).first
    assert go('far').get_attribute('aria-disabled') == 'true' and 'B 99 is not in this page; it needs a running kernel.' in go('far').get_attribute('title')
    go('far').click(force=True)
    assert d.entry == 'A:3 B:5'
    go('seven').click()
    d.wait('A:7')
    d.click('Back')
    d.wait('A:3 B:5')
    d.page.locator('.ds-partners .ds-go').nth(1).click()                                            # B 6 is there, with another feature
    d.wait('A:9 B:6')
    assert 'A 3 with B 6 is not in this page; B 6 is shown as it is there.' in d.notice()

def test_the_address_keeps_the_place(show, tmp_path):
    d = show()
    d.click('Next')
    d.wait('A:7')
    d.tab('Prompts')
    d.page.wait_for_timeout(400)
    hash = d.page.evaluate('location.hash')
    again = show(hash=hash)
    assert again.entry == 'A:7' and again.page.locator('.ds-prompts').is_visible()
    for bad in ('#%', '#{', '#' + quote('{"focus":[["A",99999],["__proto__",1]],"view":{"tab":"x","prompt":-1}}'), '#' + quote(json.dumps({'focus': EVIL}))):
        assert show(hash=bad, on=again).entry in ('A:3 B:5', 'A:9 B:6')

# ---- what goes to Python and comes back

def test_focus_bookmarks_and_notes_are_traits(live):
    d = live()
    state = lambda key: d.page.evaluate(f'state.{key}')
    d.click('Next')
    d.wait('A:7')
    assert state('focus') == [['A', 7]]
    d.page.click('.ds-star')
    assert state('bookmarks') == [[['A', 7]]] and d.page.get_attribute('.ds-star', 'aria-pressed') == 'true'
    d.page.fill('.ds-note', f'odd: {EVIL}\nsecond line')
    d.click('Previous')                                                                              # leaving keeps the note at once
    d.wait('A:3 B:5')
    assert state('notes') == [dict(at=[['A', 7]], text=f'odd: {EVIL}\nsecond line')] and d.page.input_value('.ds-note') == ''
    assert d.page.get_attribute('.ds-star', 'aria-pressed') == 'false'
    d.page.click('.ds-jump')
    d.page.click('.ds-only')
    assert d.page.locator('[role=option]').count() == 1 and '★✎' in d.text('[role=option]')
    d.page.keyboard.press('Escape')
    d.page.evaluate('model.set("focus", [["A", 7]])')                                                # Python goes there
    d.wait('A:7')
    assert d.page.input_value('.ds-note') == f'odd: {EVIL}\nsecond line'
    d.page.fill('.ds-note', '')
    d.page.wait_for_timeout(600)
    assert state('notes') == []
    d.page.click('.ds-star')
    assert state('bookmarks') == []
    d.page.evaluate('model.set("notes", [{ at: [["A", 7]], text: "from Python" }, { at: 3 }, null])')
    assert d.page.input_value('.ds-note') == 'from Python'
    d.page.evaluate('model.set("bookmarks", [[["A", 7]], "x", [["C", 1]]])')
    assert d.page.get_attribute('.ds-star', 'aria-pressed') == 'true'
    d.tab('Prompts')
    assert state('view') == dict(tab='prompts', prompt=0)

def test_what_is_missing_is_asked_of_python(live):
    d = live()
    d.page.fill('.ds-jump', '8')
    assert 'Enter goes to it all the same' in d.text('.ds-popup')
    d.page.keyboard.press('Enter')
    assert d.page.evaluate('log') == [dict(ask='entry', at=[['A', 8]], id=1)] and 'Asking Python for A 8' in d.notice() and d.entry == 'A:3 B:5'
    blob = bundle([entry([side(0, 'A', 8, [np.array([0., 2.])], ['asked for'])], [77])])
    chunk = pack(dict(rows=np.array([2], np.uint16), step=np.array([0, 3], np.uint16), size=np.array([3, 4], np.uint16)),
                 dict(passages=[dict(text='far away', doc='d', part=1, parts=3, odd={})]))
    d.page.evaluate('([b]) => answer({ reply: 99, what: "entry", passages: [] }, b)', [[b64(blob), b64(chunk)]])          # not what was asked
    assert d.entry == 'A:3 B:5'
    d.page.evaluate('([b]) => answer({ reply: 1, what: "entry", passages: [77] }, b)', [[b64(blob), b64(chunk)]])
    d.wait('A:8')
    assert d.line(0) == '2.00 far away' and 'not in the list' in d.text('.ds-nav') and d.notice() == ''
    d.click('Next')
    d.wait('A:7')
    d.click('Next'), d.wait('A:9 B:6'), d.click('Next')
    assert d.page.evaluate('log.at(-1)') == dict(ask='entry', at=[['A', 12], ['B', 40]], id=2)
    d.page.evaluate('answer({ reply: 2, error: "Feature 12 has no <b>." }, [])')
    d.page.wait_for_selector('.ds-notice >> text=Feature 12 has no <b>.')
    d.click('Previous')
    d.page.wait_for_timeout(300)
    assert d.notice() == '' or 'Asking' not in d.notice()

def test_any_text_through_the_kernel_with_a_sign_while_it_is_older(live):
    d = live()
    d.page.fill('.ds-text', 'The king')
    d.page.wait_for_timeout(500)
    assert d.page.evaluate('log.at(-1)') == dict(ask='text', text='The king', at=[['A', 3], ['B', 5]], id=1) and 'reading' in d.text('.ds-badge')
    assert d.page.evaluate('state.text') == 'The king'
    spans = [[0, 3], [3, 5]]
    blob = read_text('The king', [['A', ['The', '␣king'], spans, [[7], [3]], [[1.], [5.]], {'3': 'kings', '7': EVIL}, {'3': 10., '7': 2.}, [0., 5.]],
                                  ['B', ['The', '␣king'], spans, [[5], [5]], [[1.], [5.]], {'5': 'royalty'}, {'5': 5.}, [0., 5.]]])
    d.page.evaluate('([b]) => answer({ reply: 1, what: "text" }, b)', [[b64(blob)]])
    d.page.wait_for_selector('.ds-free .ds-readtext')
    assert d.text('.ds-badge') == '' and d.page.locator('.ds-free .ds-readtext .ds-t').nth(1).evaluate('o => [o.style.getPropertyValue("--a"), o.style.getPropertyValue("--b")]') == ['29%', '50%']
    d.page.locator('.ds-free .ds-readtext .ds-t').nth(1).hover()
    assert d.tip().startswith('␣king A 3 5.00') and 'B 5 5.00 the largest' in d.tip()
    d.page.fill('.ds-text', 'The king!')
    assert 'older than the text' in d.text('.ds-badge') and d.page.locator('.ds-free .ds-stale').count() == 1
    d.page.wait_for_timeout(400)
    d.page.evaluate('answer({ reply: 2, error: "No model." }, [])')
    d.page.wait_for_selector('.ds-badge >> text=No model.')
    d.page.fill('.ds-text', '')
    assert not d.page.locator('.ds-free .ds-readtext').is_visible()

def test_the_text_box_is_greyed_out_in_a_page(show):
    d = show()
    assert d.page.locator('.ds-text').is_disabled() and 'needs a running kernel' in d.page.get_attribute('.ds-text', 'title') and 'needs a running kernel' in d.text('.ds-free')

def test_prompts_show_the_strongest_features_at_each_token_of_both_models(show):
    d = show()
    d.tab('Prompts')
    d.page.wait_for_selector('.ds-readtext')
    assert not d.page.locator('.ds-head').is_visible() and d.page.locator('.ds-prompts .ds-readtext').count() == 2       # the tokenizers differ
    rows = [' '.join(o.split()) for o in d.page.locator('.ds-prompts .ds-rows li').all_inner_texts()]
    assert rows[1:] == [f'The 3 kings 4.00 7 {EVIL} 1.00 The 5 royalty 1.00', '␣king 3 kings 9.00 ␣ki 6 2.00 ng 77 3.00']
    seven = d.page.locator('.ds-feature', has_text='7').first
    seven.hover()
    assert 'Coloured by A 7' in d.text('.ds-prompts .ds-readkey')
    assert d.page.locator('.ds-feature', has_text='77').get_attribute('aria-disabled') == 'true'
    seven.click()
    d.wait('A:7')
    assert d.page.locator('.ds-head').is_visible()

def test_a_link_tells_and_hears(live):
    d = live(link='L')
    d.page.evaluate('''() => { window.told = []; document.addEventListener("featgeom:link:L", e => { if (e.detail.from !== "test") told.push(e.detail.message); });
        window.tell = (message) => document.dispatchEvent(new CustomEvent("featgeom:link:L", { detail: { from: "test", n: ++tell.n, message } })); tell.n = 0; }''')
    d.click('Next')
    d.wait('A:7')
    assert d.page.evaluate('told') == [dict(kind='read', spots=[['A', 7]])]
    d.page.evaluate('tell({ kind: "read", spots: [["B", 5], ["A", 100]] })')
    d.wait('A:3 B:5')
    assert d.page.evaluate('state.focus') == [['A', 3], ['B', 5]]                                    # Python sees it, the link does not hear it again
    d.page.evaluate('tell({ kind: "read", spots: [["other", 5]] })')
    assert d.entry == 'A:3 B:5' and d.page.evaluate('told.length') == 1
    d.page.locator('.ds-partners .ds-go').nth(1).hover()
    d.page.mouse.move(2, 2)
    assert d.page.evaluate('told.slice(1)') == [dict(kind='point', spots=[['B', 6]]), dict(kind='point', spots=[])]

# ---- keys, hostile text, themes, widths, damage

def test_keys(show):
    d = show()
    key = d.page.keyboard.press
    for name, to in (('j', 'A:7'), ('ArrowRight', 'A:9 B:6'), ('k', 'A:7'), ('ArrowLeft', 'A:3 B:5'), ('j', 'A:7'), ('u', 'A:3 B:5')):
        key(name)
        d.wait(to)
    key('s')
    assert d.page.get_attribute('.ds-star', 'aria-pressed') == 'true'
    key('/')
    assert d.page.evaluate('document.activeElement.className') == 'ds-jump'
    d.page.keyboard.type('jk')                                                                        # typing is not going
    key('Escape')
    assert d.entry == 'A:3 B:5'
    d.lines().first.focus()
    key('ArrowDown')
    assert d.page.evaluate('document.activeElement.dataset.hit') == '0-0-1'
    key('ArrowRight')
    assert d.tip().startswith('␣king A 3 10.0') or d.tip().startswith('king A 3 10.0')
    before = d.tip()
    key('ArrowLeft')
    assert d.tip() != before and d.page.locator('.ds-cursor').count() == 1
    key('Enter')
    assert d.page.locator('.ds-passage').count() == 1
    key('Escape')
    assert d.page.locator('.ds-passage').count() == 0
    key('End')
    assert d.page.evaluate('document.activeElement.dataset.hit') == '0-0-5'
    assert d.entry == 'A:3 B:5'
    key('j')                                                                                          # also from within
    d.wait('A:7')
    stops = d.page.evaluate('[...document.querySelectorAll(".ds-column")].map(o => o.querySelectorAll(".ds-line[tabindex=\'0\']").length)')
    assert all(o <= 1 for o in stops)

def test_the_keyboard_stays_in_the_dashboard_when_the_line_it_was_on_goes(live):
    d = live()
    d.lines().first.focus()
    d.page.keyboard.press('j')
    d.wait('A:7')
    d.page.keyboard.press('j')                       # in a notebook nothing else hears it
    d.wait('A:9 B:6')
    d.page.keyboard.press('u')
    d.wait('A:7')
    d.page.keyboard.press('k')
    d.wait('A:3 B:5')
    d.page.locator('.ds-near .ds-go', has_text='seven').first.focus()
    d.page.keyboard.press('Enter')
    d.wait('A:7')
    assert d.page.evaluate('document.querySelector(".ds").contains(document.activeElement)')

def test_keys_in_an_open_passage_walk_and_close_it(show):
    d = show()
    line = d.lines().first
    line.focus()
    d.page.keyboard.press('Enter')
    d.page.keyboard.press('Tab')
    assert d.page.evaluate('document.activeElement.className') == 'ds-passage'
    d.page.keyboard.press('ArrowLeft')               # to its token, then on
    first = d.tip()
    d.page.keyboard.press('ArrowRight')
    assert d.entry == 'A:3 B:5' and first and d.tip() not in ('', first)
    d.page.keyboard.press('Escape')
    assert d.page.locator('.ds-passage').count() == 0 and line.evaluate('o => o === document.activeElement') and d.tip() == ''

def test_what_has_the_keyboard_is_not_under_the_bar(show):
    d = show()
    d.page.set_viewport_size(dict(width=1300, height=300))
    d.lines().last.focus()
    d.page.evaluate('scrollBy(0, 400)')
    d.page.keyboard.press('Home')                    # the first line, above the window
    assert d.lines().first.bounding_box()['y'] >= d.page.locator('.ds-top').evaluate('o => o.getBoundingClientRect().bottom') - 1

def test_of_an_automatic_label_only_its_tokens_stand_out(show):
    words = 'The 97 %, her 1 % | begins a sentence 10 of 10 | raises end, duke'
    own = side(0, 'A', 1, [np.array([0., 1, 2])], [words])
    many = side(0, 'A', 2, [np.array([0., 1, 2])], ['many tokens, most on the 26 %'])
    near = dict(score=None, null=None, q=None)
    listed = [dict(a=i, b=-1, la='x', lb='', **near) for i in (1, 2)]
    d = show(Dash(payload=payload([space('A')], listed, [entry([o], [0]) for o in (own, many)], [dict(cut(['a', ' b', ' c']), doc=0)])))
    assert d.text('.ds-title .ds-rest') == 'begins a sentence 10 of 10 · raises end, duke' and d.text('.ds-title').startswith('The, her begins')
    assert words in d.page.get_attribute('.ds-title', 'title') and 'The 97 %' not in d.text('.ds-title')
    weight = lambda where: int(d.page.locator(where).evaluate('o => getComputedStyle(o).fontWeight'))
    assert weight('.ds-title') > weight('.ds-rest') == 400
    d.click('Next')
    d.wait('A:2')
    assert d.text('.ds-title') == 'many tokens, most on the 26 %'        # here the share is what is said

def test_every_correlation_stands_beside_its_null_and_chance_says_what_it_is(show):
    d = show()
    assert 'correlation .83 (null .21)' in d.text('.ds-scatter') and 'held out .80' in d.text('.ds-scatter')
    assert '95 % of shifts overlap no more.' in d.text('.ds-together')   # seen, not only pointed at
    d.page.set_viewport_size(dict(width=400, height=900))
    d.page.keyboard.press('j')
    d.wait('A:7')
    d.page.keyboard.press('k')
    d.wait('A:3 B:5')
    assert d.page.locator('.ds-chances').is_visible() is False           # folded where there is no room

def test_rows_of_partners_and_of_the_list_stand_in_columns(show):
    d = show()
    lefts = lambda where: {round(o.bounding_box()['x']) for o in d.page.locator(where).all()}
    for column in ('.ds-partners >> nth=0', '.ds-partners >> nth=1'):
        assert len(lefts(f'{column} >> .ds-evidence > :nth-child(2)')) == 1, column
    assert 'not beyond the token' in d.text('.ds-partners >> nth=0')
    d.page.focus('.ds-jump')
    assert d.page.locator('.ds-options li').count() == 4
    assert len(lefts('.ds-options .ds-side0')) == len(lefts('.ds-options .ds-side1')) == 1

def test_neurons_show_no_empty_rows_of_a_decoder(show):
    sides = [side(0, 'A', 1, [np.array([0., 1, 2])], ['one'])]
    sides[0][0]['stats'] |= dict(decoder_norm=None, capacity=None)
    none = dict(score=None, null=None, q=None)
    d = show(Dash(payload=payload([space('A')], [dict(a=1, b=-1, la='x', lb='', **none)], [entry(sides, [0])], [dict(cut(['a', ' b', ' c']), doc=0)])))
    assert 'decoder' not in d.text('.ds-main') and 'cosine' not in d.text('.ds-near') and 'by firing together' in d.text('.ds-near')

def test_what_a_screen_reader_hears(show):
    d = show()
    d.click('Next')
    d.wait('A:7')
    d.page.wait_for_timeout(200)
    assert d.page.inner_text('.ds-spoken') == 'A 7, 2 of 4.'
    unnamed = d.page.evaluate('''() => [...document.querySelectorAll("button, input, textarea, [role=button], [role=img], [role=group], [role=tablist]")]
        .filter(o => o.checkVisibility() && !(o.getAttribute("aria-label") || o.textContent.trim() || o.getAttribute("aria-labelledby"))).map(o => o.outerHTML.slice(0, 80))''')
    assert unnamed == []

def test_hostile_text_is_text_everywhere(show):
    docs = [HOSTILE[:8], HOSTILE[8:]]
    passages = [dict(cut(o), doc=EVIL, odd={'0': EVIL}) for o in docs]
    acts = [np.ones(len(o)) for o in docs]
    label = EVIL + ' \u202e\0'
    s = lambda i, name: side(i, name, 1, acts, [(o, o) for o in HOSTILE], tokens=[[o, .1] for o in HOSTILE], logits=dict(up=[[o, 1.] for o in HOSTILE], down=[], skew=0., kurtosis=3., chance_effect=.1,
                             chance_kurtosis=3., note=label), near=dict(cosine=[[2, .5, label]], cosine_chance=.1, cofire=[[2, .5, .1, label]]), partners=[[1, .5, .1, .01, .1, 14, label]])
    names = [EVIL, 'constructor']
    pair = PAIR | dict(metric=label, given=label, agreement=[dict(name='__proto__', value=.5, chance=.1), dict(name='toString', value=1., chance=None)])
    data = payload([space(n, rows=label) for n in names], [dict(a=1, b=1, la=label, lb=label, score=.5, null=.1, q=.01)], [entry([s(0, names[0]), s(1, names[1])], [0, 1], pair)], passages,
                   [(label, read_text(HOSTILE[0], [[names[0], [HOSTILE[0]], [[0, 10]], [[1]], [[1.]], {'1': label}, {}, None]]))])
    d = show(Dash(payload=data, notes=[dict(at=[[names[0], 1], [names[1], 1]], text=label)], bookmarks=[[[names[0], 1], [names[1], 1]]], text=label))
    assert d.entry.startswith(EVIL) and d.page.locator('.ds img, .ds script').count() == 0
    text = d.text()
    assert EVIL in text and '⟨U+202E⟩' in text and '\u202e' not in text.replace(d.page.input_value('.ds-note'), '')
    d.lines().first.click()
    d.page.click('.ds-jump')
    d.page.keyboard.press('Escape')
    d.tab('Prompts')
    d.page.wait_for_selector('.ds-feature')
    d.tab('Features')
    assert d.page.locator('.ds img, .ds script').count() == 0

def contrast(page, selector):
    "The lowest contrast of text to the ground that is painted under it, colours of tokens blended in."
    return page.evaluate('''(selector) => {
        const lum = ([r, g, b]) => { const f = v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; return .2126 * f(r) + .7152 * f(g) + .0722 * f(b); };
        const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
        const over = (ground, colour) => { canvas.fillStyle = ground; canvas.fillRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); return [...canvas.getImageData(0, 0, 1, 1).data]; };
        let least = 99;
        for (const node of document.querySelectorAll(selector)) {
            const style = getComputedStyle(node), root = getComputedStyle(node.closest(".featgeom")), ground = root.backgroundColor;
            for (const name of ["--fg-accent", "--fg-second"]) {
                const mixed = over(ground, root.getPropertyValue(name).trim() + "80"), a = lum(mixed), b = lum(over(ground, style.color));
                least = Math.min(least, (Math.max(a, b) + .05) / (Math.min(a, b) + .05));
            }
        }
        return least;
    }''', selector)

@pytest.mark.parametrize('theme', ['light', 'dark'])
def test_text_is_readable_on_the_strongest_colours(show, theme):
    d = show(color_scheme=theme)
    assert contrast(d.page, '.ds-t') >= 4.5
    assert d.page.locator('.featgeom').last.get_attribute('data-theme') == theme

@pytest.mark.parametrize('width', [400, 800])
def test_narrow_pages_do_not_scroll_sideways(show, width):
    d = show(viewport=dict(width=width, height=800))
    wide = lambda: d.page.evaluate('document.documentElement.scrollWidth')
    assert wide() <= width and '<0.1 %' in d.text('.ds-main')
    d.lines().first.click()
    d.page.click('.ds-jump')
    assert wide() <= width
    d.page.keyboard.press('Escape')
    d.tab('Across')
    d.page.wait_for_timeout(200)
    assert wide() <= width
    d.tab('Prompts')
    d.page.wait_for_selector('.ds-readtext')
    assert wide() <= width

def test_damage_is_said_and_does_not_end_the_page(show, offline_page, tmp_path):
    meta, entries, rest = opened(board().payload)
    held, meta['bundle'] = [True]*len(entries), 1
    single = [bundle([o]) for o in entries]
    bad = bytearray(single[1])
    bad[30] ^= 0x55                                                                                   # inside the second entry
    for second in (bytes(bad), bundle([])):                                                           # or nothing is in it
        d = show(Dash(payload=outer([single[0], second, *single[2:], *rest], held, meta)))
        d.click('Next')
        d.page.wait_for_selector('.ds-notice >> text=damaged')
        assert d.entry == 'A:3 B:5'
    d.click('Next')
    d.page.wait_for_timeout(200)
    page = offline_page(Dash(payload=outer([*single, *rest[:-2]], held, meta)).save(tmp_path/'bad.html'))
    page.wait_for_selector('[role=alert]')
    assert 'does not hold as many parts as it lists' in page.inner_text('[role=alert]')

def test_an_empty_dashboard_says_so(show):
    d = show(Dash(payload=payload([space('A')], [], [], [])))
    assert 'no entries' in d.notice()

# ---- of Python's own making

def test_a_dashboard_of_the_embedded_models(show):
    import featgeom as fg
    from featgeom.collecting import collect
    from featgeom.dashboard import Dashboard
    from featgeom.reading import read_features
    from featgeom.stories import tell
    spaces = [fg.FeatureSpace.load(model=fg.zoo_path(o), sae=fg.zoo_path(f'{o}/sae-256'), name=o) for o in ('story-1l', 'story-2l')]
    acts = collect(spaces, tell(60, seed=0), progress=False)
    readings = [read_features(*o, progress=False) for o in zip(acts, spaces)]
    w = Dashboard(readings, fg.match(*acts, given='token', seed=0), most=12, prompts=['The king 👑 slept.\nThe end.'])
    d = show(w)
    a, b = (f'{name}:{id}' for name, id in w.focus)
    assert d.entry == f'{a} {b}' and '1 of 12' in d.text('.ds-nav') and d.lines().count() and d.lines(1).count() and d.page.locator('.sp').count() == 1
    first = d.lines().first
    value = float(d.line(0).split()[0])
    first.locator('.ds-hit').hover()
    shown = float(re.search(re.escape(a.replace(':', ' ')) + r' (\S+)', d.tip())[1])
    assert shown == pytest.approx(value, rel=.01) and 'the largest' in d.tip() or 'top' in d.tip()
    rows = acts[0].column(w.focus[0][1])[1]
    assert value == pytest.approx(rows.max(), rel=.01)
    for _ in range(12):
        before = d.entry
        d.click('Next')
        d.page.wait_for_timeout(150)
        assert d.entry != before and d.notice() == ''
    d.tab('Prompts')
    d.page.wait_for_selector('.ds-prompts .ds-readtext')
    assert d.page.locator('.ds-prompts .ds-readtext').first.text_content().replace('⟨0xF0⟩⟨0x9F⟩⟨0x91⟩⟨0x91⟩', '👑') == 'The king 👑 slept.⏎\nThe end.'

IN_LAB = '''
import featgeom as fg
from featgeom.collecting import collect
from featgeom.dashboard import Dashboard
from featgeom.reading import read_features
from featgeom.stories import tell
space = fg.FeatureSpace.load(model=fg.zoo_path('story-1l'), sae=fg.zoo_path('story-1l/sae-256'), name='A')
acts, = collect([space], tell(40, seed=0), progress=False)
w = Dashboard(read_features(acts, space, progress=False), features=[7, 20])
w
'''

def test_live_in_jupyterlab(lab):  # noqa: F811
    lab = lab([IN_LAB, 'print(w.focus, w.bookmarks, w.notes, w.text)', "w.focus = [['A', 30]]"])
    lab.run_all()
    lab.page.wait_for_selector(READY)
    d = Page(lab.page)
    d.wait('A:30')                                                                                  # Python asks for what the page has not, and answers it
    assert 'not in the list' in d.text('.ds-nav') and d.lines().count()
    d.lines().first.focus()
    d.page.keyboard.press('j')                                                                       # the key of a notebook as well
    d.page.wait_for_function('() => ["A:7", "A:20"].includes(document.querySelector(".ds").dataset.entry)')
    d.wait(d.entry)
    d.page.click('.ds-star')
    d.page.fill('.ds-note', 'seen')
    d.page.fill('.ds-text', 'The king slept.')
    d.page.wait_for_selector('.ds-free .ds-readtext')
    assert d.page.locator('.ds-free .ds-readtext').text_content() == 'The king slept.'
    d.page.wait_for_timeout(600)
    id = int(d.entry.split(':')[1])
    assert lab.ask(1) == f"[['A', {id}]] [[['A', {id}]]] [{{'at': [['A', {id}]], 'text': 'seen'}}] The king slept.\n"
    assert lab.page.problems == []
