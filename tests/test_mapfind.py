"Finding features in the linked map and the table below it, in a real browser: several searches, errors, jumps, sorting, filters, exports, keys."
import base64, csv, io, json

import numpy as np, pytest

from featgeom.linkedmap import LinkedMap
from featgeom.panels import Panel
from test_embedding import HOSTILE, make_pairs
from test_linkedmap import Map, open_map, small  # noqa: F401 (open_map is a fixture)
from test_widget import MODEL

def search(m, text, mode=None):
    if mode: m.frame.select_option('.lm-find select', mode)
    m.frame.fill('.lm-find input[type=search]', text)
    m.still()
    return m.frame.inner_text('.lm-hits')

def chips(m): return [' '.join(o.split()) for o in m.frame.locator('.lm-chip').all_inner_texts()]
def tabs(m): return m.frame.locator('[role=tab]').all_inner_texts()
def table(m): return [' '.join(o.split()) for o in m.frame.locator('.lm-table tbody tr').all_inner_texts()]
def firsts(m): return m.frame.locator('.lm-table tbody th .lm-name').all_inner_texts()
def settled(m):
    m.page.wait_for_timeout(300)   # more than a page of rows waits until typing pauses
    return firsts(m)

# ---- search

def test_searches_are_kept_counted_walked_and_removed(open_map):
    m = open_map()
    assert chips(m) == [] and search(m, 'king') == '3 found: A 2, B 1'
    m.page.keyboard.press('Enter')
    assert m.frame.input_value('input[type=search]') == '' and m.frame.inner_text('.lm-hits') == ''
    assert search(m, 'queen') == '2 found: A 1, B 1'
    assert chips(m) == ['king A 2, B 1 ‹ › ×', 'queen A 1, B 1 ‹ › ×']
    assert m.data('found') == '2,1 1,1' and tabs(m)[1] == 'found 4'
    colours = m.frame.evaluate('[...document.querySelectorAll(".lm-chip .lm-swatch")].map(o => getComputedStyle(o).backgroundColor)')
    assert len(set(colours)) == 2 and 'rgba(0, 0, 0, 0)' not in colours
    button = lambda chip, does: m.frame.locator(f'.lm-chip[data-search="{chip}"] button[aria-label^="{does}"]')
    seen = []
    for does in ('Next', 'Next', 'Next', 'Next', 'Previous', 'Previous'):
        button(0, does).focus()
        m.page.keyboard.press('Enter')
        seen.append((m.data('hovered'), chips(m)[0].split(' · ')[0]))
    assert seen == [('A:10', 'king 1 / 3'), ('A:15', 'king 2 / 3'), ('B:0', 'king 3 / 3'), ('A:10', 'king 1 / 3'), ('B:0', 'king 3 / 3'), ('A:15', 'king 2 / 3')]
    assert m.frame.evaluate('document.activeElement.getAttribute("aria-label")') == 'Previous result: king'   # focus stays where it was
    button(0, 'Remove').click()
    assert chips(m) == ['queen A 1, B 1 ‹ › ×'] and m.frame.input_value('input[type=search]') == 'queen'
    assert m.frame.evaluate('document.activeElement.type') == 'search'
    m.page.keyboard.press('Escape')
    assert chips(m) == [] and m.data('found') == '' and tabs(m)[1] == 'found 0'

def test_errors_are_said_and_do_no_harm(open_map):
    m = open_map()
    for bad in ('(', '(a+)+$', '[z-a]'):
        said = search(m, bad, 'regex')
        assert said.startswith('Pattern refused: ') and m.frame.get_attribute('input[type=search]', 'aria-invalid') == 'true'
        assert m.frame.get_attribute('input[type=search]', 'aria-describedby') == m.frame.get_attribute('.lm-hits', 'id')
        m.wait('text => document.querySelector(".lm-spoken").textContent === text', said)
        m.page.keyboard.press('Enter')
        assert chips(m) == [f'{bad} regular expression cannot be searched ‹ › ×'] and m.frame.input_value('input[type=search]') == bad
    assert search(m, '^␣?[kq]') == '4 found: A 2, B 2' and m.frame.get_attribute('input[type=search]', 'aria-invalid') == 'false'
    assert search(m, 'five', 'id').startswith('“five” is no feature id')

def test_every_mode_finds(open_map):
    m = open_map()
    assert search(m, 'in', 'part') == '4 found: A 3, B 1'
    assert search(m, 'royal', 'label') == '2 found: A 2, B 0'
    assert search(m, '3, 10-12', 'id') == '4 found: A 3, B 1'
    assert m.frame.is_disabled('.lm-most input') and m.frame.get_attribute('.lm-most', 'title')
    m.page.keyboard.press('Enter')
    assert chips(m) == ['3, 10-12 feature id A 3, B 1 ‹ › ×']

def test_mostly_counts_shares(open_map):
    places = np.c_[np.arange(3.), np.zeros(3)]
    panels = [Panel(o, places, [['king', 'dog'], ['king', 'cat'], ['sun']], shares=[[.8, .2], [.3, .7], [1.]]) for o in 'AB']
    m = open_map(LinkedMap(panels, make_pairs([0], [0], [.5])))
    assert search(m, 'king') == '4 found: A 2, B 2'
    m.frame.check('.lm-most input')
    assert m.frame.inner_text('.lm-hits') == '2 found: A 1, B 1' and chips(m) == ['king mostly A 1, B 1 ‹ › ×']
    m.frame.select_option('.lm-find select', 'id')
    assert m.frame.is_disabled('.lm-most input')

def test_a_seventh_search_is_refused(open_map):
    m = open_map()
    for word in ('king', 'queen', 'dog', 'cat', 'one', 'two'):
        search(m, word)
        m.page.keyboard.press('Enter')
    assert search(m, 'rain') == '6 searches at most: remove one' and len(chips(m)) == 6
    m.page.keyboard.press('Enter')
    assert len(chips(m)) == 6
    m.frame.click('.lm-chip[data-search="0"] button[aria-label^=Remove]')
    assert search(m, 'rain') == '1 found: A 1, B 0' and chips(m)[-1].startswith('rain')

def test_a_search_of_python_is_a_chip_and_typing_tells_python(offline_page):
    page, w = offline_page(viewport=dict(width=1100, height=900)), small()
    code = MODEL.replace('selected: [] }', 'selected: {}, hovered: null, pinned: [], searches: [{ text: "dog", mode: "token", most: false }], view: {} }').replace('["save", state.selected]', '["save"]')
    page.evaluate(code, [w._esm, w._css, base64.b64encode(w.payload).decode(), 'DataView'])
    m = Map(page)
    assert chips(m) == ['dog A 1, B 1 ‹ › ×'] and m.frame.input_value('input[type=search]') == ''
    search(m, 'king')
    assert page.evaluate('model.get("searches").map(o => o.text)') == ['dog', 'king']
    page.evaluate('model.set("searches", [{ text: "sun", mode: "part", most: false }])')
    assert chips(m) == ['sun part of a token A 0, B 1 ‹ › ×'] and m.frame.input_value('input[type=search]') == ''
    search(m, 'moon')
    assert page.evaluate('model.get("searches").map(o => o.text)') == ['sun', 'moon'] and page.problems == []

# ---- table

def test_pinned_features_and_their_partners_sort_filter_and_go(open_map):
    m = open_map(small(pinned=[['A', 11], ['A', 10], ['A', 14]]))
    assert tabs(m) == ['pinned 3', 'found 0', 'selected 0']
    assert table(m) == ['A 11 dog cat B 2 dog .80 .10 .020 – mutual same token only unpin', 'A 10 ␣king queen B 0 king ␣duke .90 .10 ≤ .001 .55 mutual unpin',
                        'A 10 ␣king queen B 1 queen .60 .10 – .10 not beyond the token unpin', 'A 14 not tested unpin']
    head = lambda name: m.frame.locator(f'.lm-table thead button >> text="{name}"')
    def sorted_by(name):
        head(name).click()
        return firsts(m), head(name).locator('..').get_attribute('aria-sort')
    assert sorted_by('score') == (['A 10', 'A 11', 'A 10', 'A 14'], 'descending')
    assert sorted_by('score') == (['A 10', 'A 11', 'A 10', 'A 14'], 'ascending')                          # .60 .80 .90, none last
    assert sorted_by('score') == (['A 11', 'A 10', 'A 10', 'A 14'], 'none')
    assert sorted_by('q') == (['A 10', 'A 11', 'A 10', 'A 14'], 'ascending')
    assert sorted_by('feature')[0] == ['A 10', 'A 10', 'A 11', 'A 14']
    assert m.frame.locator('.lm-table th[aria-sort=ascending]').count() == 1 and m.frame.locator('.lm-table th[scope=col]').count() == 9
    m.frame.fill('.lm-filter', 'dog')
    m.wait('document.querySelectorAll(".lm-table tbody tr").length === 1')
    assert firsts(m) == ['A 11'] and m.frame.inner_text('.lm-table caption') == '1 of 4 rows'
    m.frame.fill('.lm-filter', 'nobody')
    m.wait('document.querySelector(".lm-empty").textContent.includes("nobody")')
    m.frame.fill('.lm-filter', '')
    m.wait('document.querySelectorAll(".lm-table tbody tr").length === 4')
    m.frame.click('.lm-table tbody tr:nth-child(3) td >> nth=1')
    assert m.data('hovered') == 'A:11'
    m.frame.click('.lm-table tbody tr:nth-child(1) td .lm-name')
    assert m.data('hovered') == 'B:0'
    for _ in range(3): m.frame.click('.lm-unpin >> nth=0')
    assert tabs(m)[0] == 'pinned 0' and table(m) == [] and 'Click a feature to pin it' in m.frame.inner_text('.lm-empty')
    assert m.frame.is_disabled('.lm-tools > button >> nth=0') and m.frame.is_disabled('.lm-tools > button >> nth=1')

def test_the_slider_changes_partners_in_the_table(open_map):
    m = open_map(small(pinned=[['A', 10]], selected={'A': [10, 12], 'B': [2]}))
    m.frame.locator('input[type=range]').first.fill('.75')
    assert table(m) == ['A 10 ␣king queen B 0 king ␣duke .90 .10 ≤ .001 .55 mutual unpin']
    m.frame.click('[role=tab] >> text=selected')
    assert table(m) == ['A 10 ␣king queen B 0 king ␣duke .90 .10 ≤ .001 .55 mutual', 'A 12 one two no partner at this score', 'B 2 dog A 11 dog cat .80 .10 .020 – mutual same token only']

def test_tabs_by_keyboard(open_map):
    m = open_map(small(selected={'A': [11]}))
    search(m, 'king')
    assert settled(m) == ['A 10', 'A 15', 'B 0']                                                         # a search opens what it found
    m.frame.focus('[role=tab][aria-selected=true]')
    seen = []
    for key in ('ArrowRight', 'ArrowRight', 'ArrowLeft', 'Home', 'End'):
        m.page.keyboard.press(key)
        seen.append(m.frame.evaluate('''(() => { const o = document.activeElement, panel = document.querySelector("[role=tabpanel]");
            return [o.textContent, o.getAttribute("aria-selected"), o.tabIndex, panel.getAttribute("aria-labelledby") === o.id, o.getAttribute("aria-controls") === panel.id].join(); })()'''))
    assert seen == [f'{o},true,0,true,true' for o in ('selected 1', 'pinned 0', 'selected 1', 'pinned 0', 'selected 1')]
    assert firsts(m) == ['A 11'] and m.frame.locator('[role=tab][tabindex="0"]').count() == 1
    m.page.keyboard.press('Tab')
    assert m.frame.evaluate('document.activeElement.className') == 'lm-filter'

def test_what_is_exported(open_map):
    m = open_map(small(pinned=[['A', 10], ['A', 14]], searches=[dict(text='king', mode='token', most=False), dict(text='een', mode='part', most=False)]))
    def saved(kind):
        with m.page.expect_download() as got: m.frame.click(f'.lm-tools button >> text={kind}')
        assert got.value.suggested_filename == f'featgeom-pinned.{kind.lower()}'
        return open(got.value.path(), encoding='utf-8-sig', newline='').read()
    rows = list(csv.DictReader(io.StringIO(saved('CSV'))))
    assert list(rows[0]) == 'panel feature tokens explanation partner_panel partner partner_tokens score null q within mutual same_token beyond_chance metric given searches'.split()
    assert [o['partner'] for o in rows] == ['0', '1', '']
    assert (rows[0]['tokens'], rows[0]['score'], rows[0]['within'], rows[0]['mutual'], rows[0]['searches']) == ('␣king queen', '0.9', '0.55', 'true', 'king; een')
    records = json.loads(saved('JSON'))
    assert len(records) == 3 and records[1]['q'] is None and records[1]['partner_tokens'] == ['queen'] and records[2]['score'] is None
    assert {k: ('' if v is None else v) for k, v in records[2].items() if k in ('partner', 'mutual')} == dict(partner='', mutual='')
    m.wait('document.querySelector(".lm-spoken").textContent === "3 rows saved as featgeom-pinned.json."')
    m.frame.fill('.lm-filter', '14')
    m.wait('document.querySelectorAll(".lm-table tbody tr").length === 1')
    assert [o['feature'] for o in json.loads(saved('JSON'))] == [14]

def test_many_rows_come_in_pages(open_map):
    n = 250
    places = np.random.default_rng(0).normal(size=(n, 2))
    m = open_map(LinkedMap([Panel(o, places, ['t']*n) for o in 'AB'], make_pairs(np.arange(n), np.arange(n), np.linspace(.9, .1, n))))
    search(m, 't')
    assert len(settled(m)) == 100 and m.frame.inner_text('.lm-table caption') == '500 rows, 100 shown'
    counts = []
    for _ in range(4):
        m.frame.click('.lm-more')
        counts.append(m.frame.locator('.lm-table tbody tr').count())
    assert counts == [200, 300, 400, 500] and m.frame.is_hidden('.lm-more') and len(set(firsts(m))) == 500
    assert m.frame.locator('.lm-scroll').bounding_box()['height'] <= 300

def test_hostile_text_is_text_in_chips_and_table(open_map):
    n = len(HOSTILE)
    places = np.c_[np.arange(n), np.arange(n) % 3].astype(float)
    panels = [Panel(HOSTILE[0] + o, places, [[t] for t in HOSTILE], explanations=[t[:500] for t in HOSTILE], cluster=np.arange(n) % 2, cluster_labels=HOSTILE[:2]) for o in 'AB']
    m = open_map(LinkedMap(panels, make_pairs(np.arange(n), np.arange(n), np.linspace(.9, .3, n))))
    for text, mode in ((HOSTILE[0], 'part'), ('<!--', 'label'), ('.*', 'regex')):
        search(m, text, mode)
        m.page.keyboard.press('Enter')
    assert len(settled(m)) == 2*n and '<img src=x' in table(m)[0] and len(chips(m)) == 3
    with m.page.expect_download() as got: m.frame.click('.lm-tools button >> text=JSON')
    assert json.load(open(got.value.path(), encoding='utf-8'))[0]['tokens'] == [HOSTILE[0]]
    assert m.page.evaluate('[window.hit, document.images.length]') == [None, 0]
    assert m.page.evaluate('document.documentElement.scrollWidth') <= 1100

@pytest.mark.parametrize('theme', ['light', 'dark'])
@pytest.mark.parametrize('width', [400, 1200])
def test_it_fits_and_is_named_and_readable(open_map, theme, width):
    m = open_map(small(pinned=[['A', 10], ['A', 11]]), color_scheme=theme, viewport=dict(width=width, height=900))
    search(m, 'king')
    assert m.page.evaluate('document.documentElement.scrollWidth') <= width
    assert m.page.evaluate('''[...document.querySelectorAll(".lm-find button, .lm-find input, .lm-find select, .lm-table button, .lm-table input")].filter(o =>
        !(o.getAttribute("aria-label") || o.closest("label")?.textContent.trim() || o.textContent.trim())).length''') == 0
    low = m.page.evaluate('''(() => {
        const light = (text) => { const [r, g, b] = text.match(/[\\d.]+/g).slice(0, 3).map(v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b; };
        const ground = (o) => { for (; o; o = o.parentElement) { const c = getComputedStyle(o).backgroundColor; if (!/, 0\\)$|transparent/.test(c)) return c; } return "rgb(255, 255, 255)"; };
        return [...document.querySelectorAll(".lm-find *, .lm-table *")].filter(o => !o.disabled && [...o.childNodes].some(c => c.nodeType === 3 && c.data.trim())).map(o => {
            const [a, b] = [light(getComputedStyle(o).color), light(ground(o))].sort((x, y) => y - x);
            return [(a + .05) / (b + .05), o.className || o.tagName];
        }).filter(([c]) => c < 4.5);
    })()''')
    assert low == []
