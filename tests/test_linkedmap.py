"The linked map in a real browser: lit pixels at planted points, partners, search, filters, table, tools, keys, touch, themes, hostile text."
import base64, csv, io, json, re, time
from urllib.parse import quote
from xml.etree import ElementTree

import numpy as np, pytest

from featgeom.linkedmap import LinkedMap
from featgeom.panels import Panel, quantise
from test_embedding import HOSTILE, make_pairs
from test_jupyterlab import lab  # noqa: F401 (a fixture)
from test_widget import MODEL, framed

READY = '.featgeom[data-state=ready] .lm[data-painted]'
MARK = {'light': (255, 212, 0), 'dark': (255, 225, 77)}
PAPER = {'light': (255, 255, 255), 'dark': (22, 24, 28)}

PLACES = {'A': np.array([[0, 0], [10, 0], [0, 10], [10, 10], [5, 5], [5, 8.]]), 'B': np.array([[0, 0], [6, 0], [0, 6], [6, 6], [3, 3.]])}
IDS = {'A': [10, 11, 12, 13, 14, 15], 'B': [0, 1, 2, 3, 4]}
LABELS = {'A': ['␣king queen', 'dog cat', 'one two', 'rain', '', 'snow ␣king'], 'B': ['king ␣duke', 'queen', 'dog', 'sun', 'moon']}
SHARES = {'A': [[.7, .2], [.5, .4], [.3, .3], [.9], [], [.6, .3]], 'B': [[.8, .1], [.9], [1.], [1.], [.4]]}
EXPLAINED = {'A': ['kings and queens', 'pets', 'numbers', '', 'nothing at all', 'winter courts'], 'B': ['nobles', 'a queen', 'dogs', '', '']}
AGES = {'A': [1., 2, 3, 4, np.nan, 6], 'B': [10., 20, 30, 40, 50]}
KINDS = {'A': ['royal', 'pet', None, 'weather', None, 'weather'], 'B': ['royal', 'royal', 'pet', 'weather', 'weather']}
PAIRS = make_pairs([10, 10, 11, 12, 13], [0, 1, 2, 2, 3], [.9, .6, .8, .7, .2], null=[.1, .1, .1, .1, .3], q=[.001, np.nan, .02, .03, .8],
                   within=[.55, .1, np.nan, .4, .02], within_p=[.01, .3, np.nan, .01, .9], token_only=[False, False, True, False, False],
                   mutual=[True, False, True, False, False])

def small(colour=None, size=None, outline=None, partners=3, **traits):
    clusters = dict(A=([0, 0, 1, 1, -1, -1], ('royal house', 'wet')), B=([0, 0, -1, -1, -1], ('court',)))
    w = LinkedMap([Panel(o, PLACES[o], LABELS[o], IDS[o], fires=np.arange(len(IDS[o]))*1000 + 50, cluster=np.array(clusters[o][0]), cluster_labels=clusters[o][1],
                         note=f'UMAP, n {len(IDS[o])}, seed 0, trustworthiness 0.93', columns=dict(age=AGES[o], kind=KINDS[o]), shares=SHARES[o],
                         explanations=EXPLAINED[o], total=10_000) for o in 'AB'], PAIRS, partners=partners, colour=colour, size=size, outline=outline)
    for key, value in traits.items(): setattr(w, key, value)
    return w

class Map:
    "A linked map in a page or frame, asked about points by panel name and feature id."
    def __init__(self, page, frame=None, places=PLACES, ids=IDS):
        self.page, self.frame, self.places, self.ids = page, frame or page, places, ids
        self.frame.wait_for_selector(READY)
        self.still()

    def still(self):
        "Wait until all that was asked to be drawn is drawn."
        self.frame.evaluate('() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))')

    def panel(self, name): return list(self.ids).index(name)
    def plot(self, name): return self.frame.locator('.lm-plot').nth(self.panel(name))

    def at(self, name, id):
        "Where a point stands inside its plot, in CSS pixels."
        k, tx, ty = map(float, self.plot(name).get_attribute('data-view').split(','))
        x, y = quantise(self.places[name])[list(self.ids[name]).index(id)].astype(float)
        return k*x + tx, k*y + ty

    def on_screen(self, name, id):
        self.plot(name).scroll_into_view_if_needed()
        box, (x, y) = self.plot(name).bounding_box(), self.at(name, id)
        return box['x'] + 1 + x, box['y'] + 1 + y

    def pixel(self, name, x, y, layer='over'):
        return tuple(self.frame.evaluate('''([p, x, y, layer]) => {
            const c = document.querySelectorAll(`.lm-${layer}`)[p], r = c.width / c.clientWidth;
            return [...c.getContext("2d").getImageData(Math.round(x * r), Math.round(y * r), 1, 1).data];
        }''', [self.panel(name), x, y, layer]))

    def near(self, name, id, colour, layer='base'):
        "Whether a colour is seen at a point or a few pixels beside it."
        x, y = self.at(name, id)
        return colour in [self.pixel(name, x + dx, y, layer)[:3] for dx in np.arange(-7, 7.5, .5)]

    def variable(self, name):
        "A colour of the style sheet as three numbers."
        text = self.plot('A').evaluate('(o, n) => getComputedStyle(o).getPropertyValue(n).trim().slice(1)', name)
        return tuple(int(o, 16) for o in re.findall('..', text))

    def card(self): return ' '.join(self.frame.inner_text('.lm-card').split())
    def tab(self, name): self.frame.click(f'[role=tab] >> text={name}')
    def rows(self):
        self.page.wait_for_timeout(250)   # the table follows when things are quiet
        return [' '.join(o.split()) for o in self.frame.locator('.lm-table tbody tr').all_inner_texts()]
    def press(self, key, name='A'):
        self.plot(name).focus()
        self.page.keyboard.press(key)

    def lit(self, theme='light'):
        "The points whose pixel on the overlay is yellow."
        return {f'{name}:{id}' for name in self.ids for id in self.ids[name] if self.pixel(name, *self.at(name, id))[:3] == MARK[theme]}

    def wait(self, truth, *args):
        "Wait for a JavaScript truth; asked from outside, because a saved page forbids code from strings."
        end = time.monotonic() + 10
        while not self.frame.evaluate(truth, *args):
            assert time.monotonic() < end, truth
            time.sleep(.02)

    def hover(self, name, id): self.page.mouse.move(*self.on_screen(name, id))
    def away(self): self.page.mouse.move(2, 2)
    def data(self, key): return self.frame.locator('.lm').get_attribute(f'data-{key}')
    def labels(self, name):
        self.still()   # labels come with the next frame
        return [' '.join(o.split()) for o in self.plot(name).locator('.lm-label').all_inner_texts()]

@pytest.fixture
def open_map(offline_page, tmp_path):
    "Open a saved map with the network cut; whatever the page complains about fails the test."
    pages = []
    def go(w=None, **options):
        page = offline_page((w or small()).save(tmp_path/f'map{len(pages)}.html'), **dict(viewport=dict(width=1100, height=900)) | options)
        pages.append(page)
        return Map(page)
    yield go
    for page in pages: assert page.problems == []

# ---- what is drawn

@pytest.mark.parametrize('theme', ['light', 'dark'])
@pytest.mark.parametrize('ratio', [1, 2])
def test_points_are_where_they_belong_and_nothing_is_elsewhere(open_map, theme, ratio):
    m = open_map(color_scheme=theme, device_scale_factor=ratio)
    assert [m.plot(o).get_attribute('data-backend') for o in 'AB'] == ['cpu', 'cpu']
    assert [m.plot(o).get_attribute('data-drawn') for o in 'AB'] == ['6', '5']
    for name in 'AB':
        for id in IDS[name]:
            x, y = m.at(name, id)
            filled = (name, id) not in [('A', 13), ('A', 14), ('A', 15), ('B', 1), ('B', 3), ('B', 4)]     # a tested pair beyond chance
            middle = m.pixel(name, x, y, 'base')[:3]
            assert (middle != PAPER[theme]) == filled, (name, id)
            ring = [m.pixel(name, x + dx, y, 'base')[:3] for dx in (-4, -3.5, -3, 3, 3.5, 4)]
            assert any(o != PAPER[theme] for o in ring), (name, id)
            assert m.pixel(name, x + (30 if x < 200 else -30), y + (17 if y < 200 else -17), 'base')[:3] == PAPER[theme]
    (x0, y0), (x1, y1) = m.at('A', 10), m.at('A', 13)
    assert x1 > x0 and y1 < y0                                                                    # up is up

def test_hover_lights_the_point_and_its_partners_and_says_the_evidence_at_both_ends_and_in_the_card(open_map):
    m = open_map()
    assert m.lit() == set()
    m.hover('A', 10)
    assert (m.data('hovered'), m.data('partners')) == ('A:10', 'B:0 B:1') and m.lit() == {'A:10', 'B:0', 'B:1'}
    [own], [second, first] = m.labels('A'), m.labels('B')                                           # the best lies on top
    assert own.startswith('A 10 ␣king queen')
    assert first == 'B 0 king ␣duke score .90 null .10 q ≤ .001 within token .55 mutual' and second.startswith('B 1 queen score .60 null .10')
    card = m.card()
    for part in ('A 10', '␣king', 'kings and queens', '50', 'royal house', 'B 0', 'score .90 null .10 q ≤ .001 within token .55 mutual', 'B 1',
                 'within token .10 not beyond the token'): assert part in card, (part, card)
    m.hover('B', 2)                                                                                # many-to-many, and from the other side
    assert m.data('partners') == 'A:11 A:12' and m.lit() == {'B:2', 'A:11', 'A:12'}
    m.away()
    assert m.data('hovered') == '' and m.lit() == set() and m.labels('A') == m.labels('B') == []

def test_the_card_holds_a_partner_that_is_out_of_view(open_map):
    m = open_map(small(view=dict(places=dict(B=[.9, .1, 20]))))
    m.hover('A', 10)
    m.still()
    assert 'outside' in m.card() and 'B 0' in m.card() and 'king' in m.card()
    m.press('z')
    m.page.wait_for_timeout(500)
    box, (x, y) = m.plot('B').bounding_box(), m.at('B', 0)
    assert 0 < x < box['width'] and 0 < y < box['height']

def test_a_pair_that_is_only_a_shared_token_is_marked_at_both_ends(open_map):
    m = open_map()
    m.hover('A', 11)
    assert 'same token only' in m.card() and 'same token only' in m.labels('B')[0]
    x, y = m.at('B', 2)
    around = [m.pixel('B', x + 11*np.cos(t), y + 11*np.sin(t))[3] > 100 for t in np.linspace(0, 2*np.pi, 60)]
    assert 10 < sum(around) < 50                                                                   # a dashed ring, not a full one

def test_what_chance_gives_too_and_what_was_not_tested_say_so(open_map):
    m = open_map()
    m.hover('A', 13)
    assert 'not beyond chance' in m.card() and 'not beyond chance' in m.labels('B')[0] and m.lit() == {'A:13', 'B:3'}
    m.hover('A', 14)
    assert 'not tested' in m.card() and 'no tokens' in m.card() and m.lit() == {'A:14'}              # it has no pair at all: nothing is known
    assert '1 of 4 tested have no partner beyond chance · 2 not tested' in ' '.join(m.frame.inner_text('.lm-count >> nth=0').split())
    entries = {o.split(' · ')[0]: o.split(' · ')[1] for o in m.frame.locator('.lm-legend button').all_inner_texts()}
    assert [entries[o] for o in ('has a partner beyond chance', 'tested, none beyond chance', 'not tested')] == ['5', '2', '4']

def test_the_page_says_what_the_maps_rest_on(open_map):
    text = open_map().frame.inner_text('.lm')
    for part in ('trustworthiness 0.93', 'seed 0', 'n 6', 'mean nothing between maps', 'null, median .10', 'royal house', 'no more than the same token'): assert part in text
    assert 'pairs are in this page' not in text                                                     # all of them are
    nine = make_pairs(np.repeat([0, 1, 2], 3), np.tile([0, 1, 2], 3), [.9, .2, .3, .2, .8, .1, .3, .1, .7])
    text = open_map(LinkedMap([Panel(o, PLACES['B'][:3], LABELS['B'][:3]) for o in 'AB'], nine, partners=1)).frame.inner_text('.lm')
    assert '3 of 9 pairs are in this page' in text and 'needs a running kernel' in text

# ---- colour, size, outline, and the legend as a filter

@pytest.mark.parametrize('theme', ['light', 'dark'])
def test_columns_colour_the_points(open_map, theme):
    m = open_map(small(colour='kind'), color_scheme=theme)
    colour = {text: m.variable(f'--lm-c{i}') for i, text in enumerate(('', 'royal', 'pet', 'weather'))}
    codes = {name: m.frame.locator('.lm-legend button', has_text=name).locator('.lm-key').evaluate('o => getComputedStyle(o).backgroundColor') for name in ('royal', 'pet', 'weather')}
    assert len(set(codes.values())) == 3
    legend = {name: tuple(int(v) for v in re.findall(r'\d+', text)[:3]) for name, text in codes.items()}
    assert set(legend.values()) <= set(colour.values())
    for panel, id, kind in (('A', 10, 'royal'), ('A', 11, 'pet'), ('B', 0, 'royal'), ('B', 2, 'pet')):
        got, want = np.array(m.pixel(panel, *m.at(panel, id), 'base')[:3]), np.array(legend[kind])
        others = [np.array(v) for k, v in legend.items() if k != kind]
        assert all(np.abs(got - want).sum() < np.abs(got - o).sum() for o in others), (panel, id)     # .82 opaque: nearest, not equal
    m.frame.select_option('[aria-label="What gives points their colour"]', 'age')
    m.still()
    low, high = (np.array(m.pixel(*o, 'base')[:3], int) for o in (('A', *m.at('A', 10)), ('B', *m.at('B', 2))))
    assert np.abs(low - high).sum() > 60 and 'age' in m.frame.inner_text('.lm-legend')
    assert m.frame.locator('.lm-ramp').is_visible()

def test_size_and_outline_follow_columns(open_map):
    def extent(m, name, id):
        x, y = m.at(name, id)
        return sum(m.pixel(name, x + dx, y, 'base')[:3] != PAPER['light'] for dx in np.arange(-12, 12.5, .5))
    plain, sized = open_map(small(colour='')), open_map(small(colour='', size='age'))
    assert extent(plain, 'A', 10) == extent(plain, 'B', 2)
    assert extent(sized, 'A', 10) < extent(sized, 'B', 2)
    outlined = open_map(small(colour='', outline='age'))
    ink = np.array(outlined.variable('--lm-ink'))
    dark = lambda m, id: any(np.abs(np.array(m.pixel('B', m.at('B', id)[0] + dx, m.at('B', id)[1], 'base')[:3]) - ink).sum() < 150 for dx in np.arange(-8, 8.5, .5))
    assert dark(outlined, 2) and not dark(plain, 2)
    assert 'outline: age' in outlined.frame.inner_text('.lm-legend')

def test_every_colour_that_is_offered_draws(open_map):
    m = open_map()
    values = m.frame.eval_on_selector_all('[aria-label="What gives points their colour"] option', 'all => all.map(o => o.value)')
    assert values == ['', 'cluster of A', 'cluster of B', 'density', 'score', 'rate', 'age', 'kind']
    for value in values:
        m.frame.select_option('[aria-label="What gives points their colour"]', value)
        m.still()
        assert m.pixel('A', *m.at('A', 10), 'base')[:3] != PAPER['light'], value

def test_the_legend_isolates_and_toggles_and_what_is_off_cannot_be_pointed_at(open_map):
    m = open_map(small(colour='kind'))
    entry = lambda text: m.frame.locator('.lm-legend button', has_text=text)
    before = m.pixel('A', *m.at('A', 11), 'base')[:3]
    entry('royal').click()
    m.still()
    assert entry('pet').get_attribute('aria-pressed') == 'false' and entry('royal').get_attribute('aria-pressed') == 'true'
    faint = m.pixel('A', *m.at('A', 11), 'base')[:3]
    assert faint != before and sum(faint) > sum(before)                                              # a pet, now dim
    m.hover('A', 11)
    assert m.data('hovered') == '' and m.lit() == set()
    m.hover('A', 12)                                                                                  # of no kind: an entry of its own
    assert m.data('hovered') == '' and entry('none · 2').get_attribute('aria-pressed') == 'false'
    m.hover('A', 10)
    assert m.data('hovered') == 'A:10'
    m.away()
    entry('pet').click(modifiers=['Shift'])
    m.still()
    assert m.pixel('A', *m.at('A', 11), 'base')[:3] == before
    entry('royal').click()
    entry('royal').click()
    assert all(o == 'true' for o in m.frame.eval_on_selector_all('.lm-legend button', 'all => all.map(o => o.ariaPressed)'))
    entry('tested, none').click()
    m.still()
    m.hover('A', 10)
    assert m.data('hovered') == ''
    m.hover('A', 14)
    assert m.data('hovered') == ''
    m.hover('A', 13)
    assert m.data('hovered') == 'A:13'

# ---- search

def search(m, text, mode=None, most=None, keep=False):
    if mode: m.frame.select_option('[aria-label="What to search for"]', mode)
    if most is not None: (m.frame.check if most else m.frame.uncheck)('.lm-most input')
    m.frame.fill('input[type=search]', text)
    m.page.wait_for_timeout(150)
    if keep: m.page.keyboard.press('Enter')
    m.still()

@pytest.mark.parametrize('text, mode, most, found', [
    ('king', 'token', False, {'A:10', 'A:15', 'B:0'}), ('kin', 'token', False, set()), ('11', 'token', False, {'A:11'}), ('#4', 'token', False, {'B:4'}),
    ('QUEEN', 'token', False, set()), ('queen', 'token', False, {'A:10', 'B:1'}), ('queen', 'token', True, {'B:1'}), ('kin', 'part', False, {'A:10', 'A:15', 'B:0'}),
    ('^(sun|moon)$', 'regex', False, {'B:3', 'B:4'}), ('^(sun|moon)$', 'regex', True, {'B:3'}), ('court', 'label', False, {'A:15', 'B:0', 'B:1'}), ('11-13, 2', 'id', False, {'A:11', 'A:12', 'A:13', 'B:2'})])
def test_search_recolours_and_counts(open_map, text, mode, most, found):
    m = open_map()
    search(m, text, mode, most if mode not in ('label', 'id') else None)
    assert m.frame.inner_text('.lm-hits').startswith(f'{len(found)} found')
    colour = m.variable('--lm-f0')
    assert {f'{name}:{id}' for name in 'AB' for id in IDS[name] if m.near(name, id, colour)} == found
    m.tab('found')
    assert len(m.rows()) == len(found)

def test_several_searches_have_colours_counts_and_results_one_by_one(open_map):
    m = open_map()
    search(m, 'king', keep=True)
    search(m, 'queen', keep=True)
    search(m, 'dog')
    chips = [' '.join(o.split()) for o in m.frame.locator('.lm-chip').all_inner_texts()]
    assert len(chips) == 3 and chips[0].startswith('king') and 'A 2, B 1' in chips[0] and 'A 1, B 1' in chips[1]
    colours = [m.variable(f'--lm-f{i}') for i in range(3)]
    assert len(set(colours)) == 3
    assert m.near('A', 15, colours[0]) and m.near('B', 1, colours[1]) and m.near('B', 2, colours[2])
    m.frame.click('[data-search="0"] [aria-label^="Next result"]')
    m.page.wait_for_timeout(500)
    first = m.data('hovered')
    m.frame.click('[data-search="0"] [aria-label^="Next result"]')
    m.page.wait_for_timeout(500)
    assert first == 'A:10' and m.data('hovered') == 'A:15' and 'A:15' in m.lit()
    box, (x, y) = m.plot('A').bounding_box(), m.at('A', 15)
    assert 0 < x < box['width'] and 0 < y < box['height'] and float(m.plot('A').get_attribute('data-view').split(',')[0]) > 0
    m.frame.click('[data-search="0"] [aria-label^="Remove"]')
    assert m.frame.locator('.lm-chip').count() == 2

def test_bad_and_dangerous_patterns_are_refused_in_words(open_map):
    m = open_map()
    for bad in ('(', '(a+)+$'):
        search(m, bad, 'regex')
        assert 'lm-bad' in m.frame.get_attribute('.lm-hits', 'class') and len(m.frame.inner_text('.lm-hits')) > 15
        assert m.pixel('A', *m.at('A', 10), 'base')[:3] != PAPER['light']
    search(m, 'king', 'token')
    assert m.frame.inner_text('.lm-hits').startswith('3 found')

# ---- the slider

def test_slider_hides_weak_pairs_and_counts_the_rest(open_map):
    m = open_map()
    slide = lambda v: m.frame.locator('input[type=range]').fill(str(v))
    assert '5 of 5 pairs' in m.frame.inner_text('.lm-score')
    slide(.65)
    assert '3 of 5 pairs' in m.frame.inner_text('.lm-score') and '3 of 5 pairs left' in m.frame.get_attribute('input[type=range]', 'aria-valuetext')
    m.still()
    m.hover('A', 10)
    assert m.data('partners') == 'B:0' and m.lit() == {'A:10', 'B:0'}
    slide(.85)
    m.still()
    assert m.pixel('A', *m.at('A', 11), 'base')[:3] == PAPER['light']                                # it turned hollow
    assert '3 of 4 tested have no partner beyond chance at score ≥ .85' in ' '.join(m.frame.inner_text('.lm-count >> nth=0').split())
    assert 'tested, none beyond chance at score ≥ .85' in m.frame.inner_text('.lm-legend')
    slide(0)
    m.frame.check('text=hide same-token pairs')
    assert '2 of 5 pairs' in m.frame.inner_text('.lm-score')                                         # 11-2, 10-1 and 13-3 are no more

def test_the_histograms_stand_one_over_the_other(open_map):
    m = open_map()
    paths = m.frame.locator('.lm-slide path')
    assert paths.count() == 2
    bars, line = (paths.nth(i).get_attribute('d') for i in range(2))
    assert len(re.findall('z', bars)) == 5                                                           # five different scores
    assert re.findall(r'h', line) and len(re.findall('L', line)) == 51

# ---- pins and the table

def test_click_pins_and_unpinning_takes_them_away(open_map):
    m = open_map()
    m.page.mouse.click(*m.on_screen('A', 10))
    m.away()
    assert m.data('hovered') == 'A:10' and m.lit() == {'A:10', 'B:0', 'B:1'}                        # it stays
    assert len(m.rows()) == 2 and 'B 0' in m.rows()[0] and '.90' in m.rows()[0] and '.10' in m.rows()[0]
    m.page.mouse.click(*m.on_screen('A', 11))
    assert len(m.rows()) == 3
    m.frame.locator('.lm-table tbody tr', has_text='A 10').first.locator('text=unpin').click()
    m.away()
    assert len(m.rows()) == 1 and m.data('hovered') == 'A:11'
    for _ in range(3): m.press('Escape')
    assert len(m.rows()) == 1                                                                        # Escape lets go, it throws nothing away
    m.frame.click('text=unpin all')
    assert m.rows() == [] and m.lit() == set()

def test_the_table_sorts_filters_and_shows(open_map):
    m = open_map(small(pinned=[['A', i] for i in IDS['A']]))
    names = lambda: [re.match(r'A \d+', o)[0] for o in m.rows()]
    assert names() == ['A 10', 'A 10', 'A 11', 'A 12', 'A 13', 'A 14', 'A 15']
    m.frame.click('.lm-table th >> text=score')
    up = names()
    m.frame.click('.lm-table th >> text=score')
    down = names()
    assert {tuple(up), tuple(down)} == {('A 13', 'A 10', 'A 12', 'A 11', 'A 10', 'A 14', 'A 15'), ('A 10', 'A 11', 'A 12', 'A 10', 'A 13', 'A 14', 'A 15')}   # missing last
    assert m.frame.locator('.lm-table th[aria-sort$=ending]').count() == 1
    m.frame.fill('.lm-filter', 'pets')
    m.page.wait_for_timeout(300)
    assert names() == ['A 11']                                                                       # its explanation
    m.frame.fill('.lm-filter', 'zzz')
    m.page.wait_for_timeout(300)
    assert m.rows() == []

def saved(m, click):
    with m.page.expect_download() as got: click()
    return open(got.value.path(), 'rb').read(), got.value.suggested_filename

def test_tables_are_exported_as_csv_and_json(open_map):
    m = open_map(small(pinned=[['A', 10], ['A', 14]]))
    text, name = saved(m, lambda: m.frame.click('.lm-table >> text=CSV'))
    rows = list(csv.DictReader(io.StringIO(text.decode('utf-8-sig'))))
    assert name.endswith('.csv') and [(o['feature'], o['partner'], o['score'], o['null'], o['q'], o['mutual']) for o in rows] == [
        ('10', '0', '0.9', '0.1', '0.001', 'true'), ('10', '1', '0.6', '0.1', '', 'false'), ('14', '', '', '', '', '')]
    text, name = saved(m, lambda: m.frame.click('.lm-table >> text=JSON'))
    rows = json.loads(text)
    rows = rows['rows'] if isinstance(rows, dict) else rows
    assert name.endswith('.json') and [(o['feature'], o['partner'], o['q']) for o in rows] == [(10, 0, .001), (10, 1, None), (14, None, None)]
    assert rows[0]['tokens'] == ['␣king', 'queen'] and rows[0]['beyond_chance'] is True

# ---- tools

def drag(m, name, start, end, key=None):
    "Drag over a plot from one corner (shares of its size) to another."
    m.plot(name).scroll_into_view_if_needed()
    box = m.plot(name).bounding_box()
    points = [(box['x'] + box['width']*x, box['y'] + box['height']*y) for x, y in (start, end)]
    if key: m.page.keyboard.down(key)
    m.page.mouse.move(*points[0])
    m.page.mouse.down()
    m.page.mouse.move(*points[1], steps=4)
    m.page.mouse.up()
    if key: m.page.keyboard.up(key)
    m.still()

def tool(m, name): m.frame.click(f'[data-tool={name}]')

def test_box_selects_and_shows_partners_adds_and_removes(open_map):
    m = open_map()
    drag(m, 'A', (.02, .3), (.3, .98), 'Shift')
    assert m.data('selected') == '1,0' and '1 selected' in m.frame.inner_text('.lm-count >> nth=0')
    yellow = {id for id in IDS['B'] if m.pixel('B', *m.at('B', id), 'base')[:3] == MARK['light']}
    assert yellow == {0}                                                                             # what is selected was tested with it
    tool(m, 'box')
    drag(m, 'A', (.02, .02), (.98, .98))
    assert m.data('selected') == '6,0' and len(m.rows()) == 6
    drag(m, 'B', (.02, .6), (.3, .98), 'Control')
    assert m.data('selected') == '6,1'
    drag(m, 'A', (.02, .02), (.98, .4), 'Alt')
    assert m.data('selected') == '3,1'
    m.frame.select_option('[aria-label="What a selection does"]', 'add')
    drag(m, 'B', (.02, .02), (.98, .98))
    assert m.data('selected') == '3,5'
    m.away()
    m.press('Escape')
    assert m.data('selected') == '0,0'

def test_lasso_takes_what_it_goes_round_and_brush_what_it_touches(open_map):
    m = open_map()
    tool(m, 'lasso')
    box = m.plot('A').bounding_box()
    spot = lambda x, y: (box['x'] + box['width']*x, box['y'] + box['height']*y)
    m.page.mouse.move(*spot(.02, .98))
    m.page.mouse.down()
    for x, y in ((.02, .02), (.3, .02), (.3, .7), (.98, .7), (.98, .98)): m.page.mouse.move(*spot(x, y), steps=3)      # an L: left side and bottom
    m.page.mouse.up()
    m.still()
    assert m.data('selected') == '3,0'
    assert m.frame.locator('.lm-table tbody tr').count() == 3 and {re.match(r'A \d+', o)[0] for o in m.rows()} == {'A 10', 'A 11', 'A 12'}
    tool(m, 'brush')
    m.page.mouse.move(*m.on_screen('A', 14))
    m.page.mouse.down()
    m.page.mouse.move(*m.on_screen('A', 15), steps=5)
    m.page.mouse.up()
    m.still()
    assert m.data('selected') == '2,0' and {re.match(r'A \d+', o)[0] for o in m.rows()} == {'A 14', 'A 15'}

def test_double_click_zooms_to_the_pair_and_leaves_pins_alone(open_map):
    m = open_map()
    before = m.at('A', 10), m.at('B', 0)
    m.page.mouse.dblclick(*m.on_screen('A', 10))
    m.page.wait_for_timeout(500)
    assert m.rows() == [] and (m.at('A', 10), m.at('B', 0)) != before
    for name in 'AB':
        box = m.plot(name).bounding_box()
        x, y = m.at(name, 10 if name == 'A' else 0)
        assert 0 < x < box['width'] and 0 < y < box['height']
    m.frame.click('text=Whole maps')
    m.page.wait_for_timeout(500)
    assert np.allclose(m.at('A', 10), before[0])

def test_wheel_zooms_at_the_pointer_and_drag_pans(open_map):
    m = open_map()
    x, y = m.on_screen('A', 14)
    k = float(m.plot('A').get_attribute('data-view').split(',')[0])
    m.page.mouse.move(x, y)
    m.page.mouse.wheel(0, -300)
    m.wait('k => document.querySelector(".lm-plot").dataset.view.split(",")[0] > 1.3 * k', k)
    assert np.allclose(m.on_screen('A', 14), (x, y), atol=.6) and m.data('hovered') == 'A:14'
    m.still()
    assert m.pixel('A', *m.at('A', 14), 'over')[:3] == MARK['light']
    m.page.mouse.move(x + 40, y + 40)
    m.page.mouse.down()
    m.page.mouse.move(x + 70, y + 20, steps=3)
    m.page.mouse.up()
    assert np.allclose(m.on_screen('A', 14), (x + 30, y - 20), atol=.6)
    assert m.rows() == []                                                                             # a drag is no click

def test_clusters_have_names_and_boxes(open_map):
    m = open_map()
    assert 'royal house' in m.frame.inner_text('.lm-names >> nth=0')
    before = m.plot('A').screenshot()
    m.frame.check('text=cluster boxes')
    m.still()
    assert m.plot('A').screenshot() != before

# ---- keys, touch and ears

def test_everything_by_keyboard(open_map):
    m = open_map()
    key = m.page.keyboard.press
    reached = []
    for _ in range(40):
        key('Tab')
        reached.append(m.page.evaluate('(document.activeElement.getAttribute("aria-label") ?? document.activeElement.textContent).slice(0, 40)'))
        if m.page.evaluate('document.activeElement.className') == 'lm-plot': break
    assert any(o.startswith('Search') for o in reached) and reached[-1].startswith('A: 6 features') and len(reached) < 25, reached
    assert m.page.evaluate('getComputedStyle(document.activeElement).outlineStyle') == 'solid'
    key('ArrowRight')                                                                                # the one nearest to the middle
    assert m.data('hovered') == 'A:14' and 'A:14' in m.lit()
    key('Shift+ArrowUp')
    assert m.data('hovered') == 'A:15'
    key('Shift+ArrowLeft')
    assert m.data('hovered') == 'A:12'
    key('Shift+ArrowDown')
    assert m.data('hovered') == 'A:10' and m.lit() == {'A:10', 'B:0', 'B:1'}
    m.wait('document.querySelector(".lm-spoken").textContent.includes("A 10")')
    spoken = m.frame.inner_text('.lm-spoken')
    for part in ('␣king', '2', 'B 0', 'score .90', 'null .10', 'within token .55'): assert part in spoken, spoken
    assert m.data('partner') == 'B:0'
    key('ArrowRight')                                                                                # walks the partners
    assert m.data('partner') == 'B:1' and m.data('hovered') == 'A:10'
    m.wait('document.querySelector(".lm-spoken").textContent.includes("B 1")')
    key('ArrowDown')
    assert m.data('partner') == 'B:0'
    key('ArrowLeft')
    assert m.data('partner') == 'B:1'
    key('g')
    assert m.data('hovered') == 'B:1' and m.page.evaluate('document.activeElement.getAttribute("aria-label")').startswith('B: 5 features')
    key('g')
    assert m.data('hovered') == 'A:10'
    key('Enter')
    assert len(m.rows()) == 2
    key('s')
    assert m.data('selected') == '1,0'
    key('s')
    assert m.data('selected') == '0,0'
    before = m.at('B', 0)
    key('z')
    m.page.wait_for_timeout(500)
    assert m.at('B', 0) != before
    key('0')
    m.page.wait_for_timeout(500)
    assert np.allclose(m.at('B', 0), before)
    key('+')
    assert m.at('A', 10) != before
    key('Enter')                                                                                     # unpins
    key('Escape')
    assert m.data('hovered') == '' and m.rows() == []

def test_the_legend_and_the_tabs_work_by_keyboard(open_map):
    m = open_map(small(colour='kind'))
    m.frame.locator('.lm-legend button', has_text='royal').focus()
    m.page.keyboard.press('Enter')
    assert m.frame.locator('.lm-legend button', has_text='pet').get_attribute('aria-pressed') == 'false'
    assert 'royal' in m.page.evaluate('document.activeElement.textContent')                           # the focus stays
    m.frame.locator('[role=tab][aria-selected=true]').focus()
    m.page.keyboard.press('ArrowRight')
    assert 'found' in m.page.evaluate('document.activeElement.textContent')

def touch(m, *points, kind='touchStart'):
    "One touch event of Chromium's own input, at these points of the page."
    m.cdp.send('Input.dispatchTouchEvent', dict(type=kind, touchPoints=[dict(x=x, y=y, id=i) for i, (x, y) in enumerate(points)]))

def test_touch_tap_points_long_press_pins_pinch_zooms(open_map):
    m = open_map(has_touch=True, is_mobile=True)
    m.cdp = m.page.context.new_cdp_session(m.page)
    m.page.touchscreen.tap(*m.on_screen('A', 10))
    m.still()
    assert m.data('hovered') == 'A:10' and m.lit() == {'A:10', 'B:0', 'B:1'} and m.rows() == []
    x, y = m.on_screen('A', 11)
    touch(m, (x, y))
    m.page.wait_for_timeout(700)
    touch(m, kind='touchEnd')
    m.still()
    assert len(m.rows()) == 1 and 'A 11' in m.rows()[0]
    k = float(m.plot('A').get_attribute('data-view').split(',')[0])
    x, y = m.on_screen('A', 14)
    touch(m, (x - 30, y), (x + 30, y))
    for d in (40, 60, 80, 100): touch(m, (x - d, y), (x + d, y), kind='touchMove')
    touch(m, kind='touchEnd')
    m.still()
    assert float(m.plot('A').get_attribute('data-view').split(',')[0]) > 1.8*k and np.allclose(m.on_screen('A', 14), (x, y), atol=8)
    m.page.touchscreen.tap(*m.on_screen('A', 14))
    m.still()
    assert m.data('hovered') == 'A:14'

def test_reduced_motion_jumps(open_map):
    m = open_map(reduced_motion='reduce')
    m.plot('A').focus()
    before = m.at('B', 0)
    m.hover('A', 10)
    m.page.keyboard.press('z')
    assert m.at('B', 0) != before and m.at('B', 0) == (m.still(), m.at('B', 0))[1]

def test_controls_have_names(open_map):
    m = open_map(small(pinned=[['A', 10]], searches=[dict(text='king', mode='token', most=False)]))
    nameless = m.page.evaluate('''[...document.querySelectorAll("button, input, select, [tabindex]")].filter(o => !(o.getAttribute("aria-label")
        || o.getAttribute("aria-labelledby") || o.closest("label")?.textContent.trim() || o.textContent.trim())).map(o => o.outerHTML.slice(0, 80))''')
    assert nameless == []
    described = m.plot('A').get_attribute('aria-describedby')
    assert 'arrows' in m.frame.text_content(f'#{described}')

# ---- sizes, themes, frames

@pytest.mark.parametrize('width', [340, 700, 1500])
def test_panels_fit_any_width_and_repaint_when_it_changes(open_map, width):
    m = open_map()
    m.page.set_viewport_size(dict(width=width, height=800))
    m.wait('w => Math.abs(document.querySelector(".lm").offsetWidth - w) < 3', width)
    m.still()
    assert m.page.evaluate('document.documentElement.scrollWidth') <= width
    tops = [m.plot(o).bounding_box()['y'] for o in 'AB']
    assert (tops[0] == tops[1]) == (width >= 700)
    for name in 'AB':
        box = m.plot(name).bounding_box()
        for id in IDS[name]: assert 8 < m.at(name, id)[0] < box['width'] - 8 and 8 < m.at(name, id)[1] < box['height'] - 8
        assert m.pixel(name, *m.at(name, IDS[name][0]), 'base')[:3] != PAPER['light']
    m.hover('B', 0)
    assert m.lit() == {'A:10', 'B:0'}

def test_hovering_never_moves_the_page(open_map):
    m = open_map()
    tops = lambda: [m.plot(o).bounding_box() for o in 'AB'] + [m.frame.locator('.lm-table').bounding_box()]
    before = tops()
    for id in IDS['A']:
        m.hover('A', id)
        m.still()
        assert tops() == before

def test_a_change_of_theme_repaints(open_map):
    m = open_map(color_scheme='light')
    for theme in ('dark', 'light'):
        m.page.emulate_media(color_scheme=theme)
        m.frame.wait_for_selector(f'.featgeom[data-theme={theme}] .lm')
        m.still()
        assert m.pixel('A', 5, 5, 'base')[:3] == PAPER[theme]
        m.hover('A', 10)
        assert m.lit(theme) == {'A:10', 'B:0', 'B:1'}
        m.away()

def light(c):
    c = np.asarray(c)/255
    return np.where(c <= .04045, c/12.92, ((c + .055)/1.055)**2.4) @ [.2126, .7152, .0722]

def contrast(a, b): return (max(light(a), light(b)) + .05)/(min(light(a), light(b)) + .05)

@pytest.mark.parametrize('theme', ['light', 'dark'])
def test_colours_keep_their_contrast(open_map, theme):
    m = open_map(color_scheme=theme)
    paper = m.variable('--lm-paper')
    assert paper == PAPER[theme]
    for name in [f'--lm-c{i}' for i in range(9)] + [f'--lm-f{i}' for i in range(6)] + [f'--lm-s{i}' for i in range(4, 12)]: assert contrast(m.variable(name), paper) >= 3, name
    assert contrast(m.variable('--lm-ink'), paper) >= 7
    assert contrast(m.variable('--lm-mark'), m.variable('--lm-mark-edge')) >= 7                      # the ring shows the mark on either paper
    steps = [light(m.variable(f'--lm-s{i}')) for i in range(12)]
    assert np.all(np.diff(steps) > 0) or np.all(np.diff(steps) < 0)                                  # lightness alone carries the order

@pytest.mark.parametrize('theme', ['light', 'dark'])
def test_all_text_can_be_read(open_map, theme):
    m = open_map(small(pinned=[['A', 10], ['A', 13], ['A', 14]], searches=[dict(text='king', mode='token', most=False)]), color_scheme=theme)
    m.hover('A', 10)
    m.still()
    poor = m.page.evaluate("""() => {
        const out = [], rgb = (text) => {
            const v = (text.match(/[\\d.]+/g) ?? []).map(Number);
            return text.startsWith("color(") ? [...v.slice(0, 3).map((o) => 255 * o), ...v.slice(3)] : v;
        };
        const lum = ([r, g, b]) => [r, g, b].map((v) => ((v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)).reduce((s, v, i) => s + v * [0.2126, 0.7152, 0.0722][i], 0);
        const walk = document.createTreeWalker(document.querySelector(".lm"), NodeFilter.SHOW_TEXT);
        for (let node; (node = walk.nextNode()); ) {
            const o = node.parentElement;
            if (!node.data.trim() || !o.getClientRects().length || o.closest(":disabled") || o.closest(".lm-spoken") || o.tagName === "OPTION") continue;
            let ground = o;
            while (ground && (rgb(getComputedStyle(ground).backgroundColor)[3] ?? 1) < 0.5) ground = ground.parentElement;
            const [a, b] = [rgb(getComputedStyle(o).color), ground ? rgb(getComputedStyle(ground).backgroundColor) : [255, 255, 255]].map(lum);
            const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
            if (contrast < 4.5) out.push([node.data.slice(0, 30), o.className, contrast.toFixed(2)]);
        }
        return out;
    }""")
    assert poor == []

def test_a_sandboxed_frame_works(offline_page, tmp_path):
    page = offline_page(viewport=dict(width=1000, height=900))
    frame = framed(page, tmp_path, ('sandbox="allow-scripts" style="width:980px; height:860px"', ''), small().page())
    m = Map(page, frame)
    m.hover('A', 10)
    assert m.lit() == {'A:10', 'B:0', 'B:1'} and page.problems == []
    m.page.mouse.click(*m.on_screen('A', 10))
    m.still()
    assert m.frame.locator('.lm-table tbody tr').count() == 2 and page.problems == []

def test_without_3d_the_map_is_the_same(playwright, chromium, tmp_path):
    browser = playwright.chromium.launch(executable_path=chromium, args=['--disable-3d-apis', '--no-sandbox'])
    try:
        page = browser.new_page(viewport=dict(width=1100, height=900))
        page.goto(small().save(tmp_path/'map.html').as_uri())
        m = Map(page)
        m.hover('A', 10)
        assert m.lit() == {'A:10', 'B:0', 'B:1'} and m.pixel('A', *m.at('A', 11), 'base')[:3] != PAPER['light']
    finally: browser.close()

# ---- links and pictures

def test_the_address_holds_the_state_and_brings_it_back(open_map):
    m = open_map()
    m.page.mouse.click(*m.on_screen('A', 10))
    search(m, 'queen', keep=True)
    m.frame.locator('input[type=range]').fill('0.65')
    m.frame.select_option('[aria-label="What gives points their colour"]', 'kind')
    m.frame.locator('.lm-legend button', has_text='royal').click()
    m.press('+')
    m.page.wait_for_timeout(500)
    before, url = [m.at(o, IDS[o][0]) for o in 'AB'], m.page.url
    assert '#' in url
    m.frame.click('text=Link')
    assert m.frame.input_value('.lm-address') == url
    m.page.goto('about:blank')
    m.page.goto(url)
    again = Map(m.page)
    assert np.allclose([again.at(o, IDS[o][0]) for o in 'AB'], before, atol=.5)
    assert again.frame.locator('.lm-chip').count() == 1 and '3 of 5 pairs' in again.frame.inner_text('.lm-score')
    assert again.frame.locator('.lm-legend button', has_text='pet').get_attribute('aria-pressed') == 'false'
    assert len(again.rows()) >= 1 and again.data('hovered') == 'A:10'

def test_what_is_taken_away_stays_away_in_the_link(open_map):
    m = open_map(small(pinned=[['A', 10]], searches=[dict(text='king', mode='token', most=False)], selected={'A': [11]}, view=dict(min=.3, colour='age')))
    assert '#' not in m.page.url
    m.frame.click('[data-search="0"] [aria-label^="Remove"]')
    m.tab('pinned')
    m.frame.click('text=unpin all')
    m.frame.locator('input[type=range]').fill('0')
    m.page.wait_for_timeout(400)
    url = m.page.url
    m.page.goto('about:blank')
    m.page.goto(url)
    again = Map(m.page)
    assert again.frame.locator('.lm-chip').count() == 0 and again.frame.input_value('input[type=range]') == '0' and again.data('selected') == '1,0'
    assert again.data('hovered') == '' and again.frame.input_value('[aria-label="What gives points their colour"]') == 'age'

@pytest.mark.parametrize('hash', ['%', 'nonsense', quote('{"view":{"places":{"A":[1e308,0,1]},"min":"x"},"pinned":[["A",1e9]],"searches":[{"text":"(a+)+$","mode":"regex"}]}'), 'x'*100_000])
def test_hostile_addresses_draw_the_map(open_map, hash):
    m = open_map()
    url = m.page.url.split('#')[0]
    m.page.goto('about:blank')
    m.page.goto(f'{url}#{hash}')
    again = Map(m.page)
    again.hover('A', 10)
    assert again.lit() == {'A:10', 'B:0', 'B:1'}

@pytest.mark.parametrize('theme', ['light', 'dark'])
def test_pictures_for_print(open_map, theme):
    m = open_map(small(pinned=[['A', 10]]), color_scheme=theme)
    png, name = saved(m, lambda: m.frame.click('.lm-bar >> text=PNG'))
    width, height = (int.from_bytes(png[i:i+4], 'big') for i in (16, 20))
    assert png[:8] == b'\x89PNG\r\n\x1a\n' and name.endswith('.png') and width >= 2000 and height > 800
    got = m.page.evaluate("""async (data) => {
        const image = await createImageBitmap(await (await (async () => new Response(Uint8Array.from(atob(data), (c) => c.charCodeAt(0))))()).blob());
        const c = new OffscreenCanvas(image.width, image.height), ctx = c.getContext("2d");
        ctx.drawImage(image, 0, 0);
        const px = ctx.getImageData(0, 0, c.width, c.height).data, seen = {};
        for (let i = 0; i < px.length; i += 4) { const k = `${px[i]},${px[i + 1]},${px[i + 2]}`; seen[k] = (seen[k] ?? 0) + 1; }
        return seen;
    }""", base64.b64encode(png).decode())
    assert got[','.join(map(str, MARK[theme]))] > 500 and got[','.join(map(str, PAPER[theme]))] > 100_000
    text, name = saved(m, lambda: m.frame.click('.lm-bar >> text=SVG'))
    root = ElementTree.fromstring(text)
    words = ' '.join(root.itertext())
    assert name.endswith('.svg') and root.tag.endswith('svg')
    for part in ('A 10', 'B 0', '.90', '.10', 'trustworthiness 0.93', 'royal house'): assert part in words, part
    images = [o for o in root.iter() if o.tag.endswith('image')]
    assert len(images) == 2 and all((o.get('href') or o.get('{http://www.w3.org/1999/xlink}href')).startswith('data:image/png') for o in images)

# ---- unfriendly data

def test_hostile_text_is_text_everywhere(open_map):
    n = len(HOSTILE)
    places = {o: np.c_[np.arange(n), np.arange(n) % 3].astype(float) for o in 'AB'}
    panels = [Panel(HOSTILE[0] + o, places[o], [[t] for t in HOSTILE], cluster=np.arange(n) % 2, cluster_labels=HOSTILE[:2], note=HOSTILE[0], explanations=HOSTILE,
                    columns={HOSTILE[1]: HOSTILE}, rows=HOSTILE[2][:40]) for o in 'AB']
    m = open_map(LinkedMap(panels, make_pairs(np.arange(n), np.arange(n), np.linspace(.9, .3, n)), colour=HOSTILE[1]))
    m.places, m.ids = places, {o: list(range(n)) for o in 'AB'}
    for id in range(n):
        m.hover('A', id)
        assert m.labels('A') and m.labels('B') and m.lit() == {f'A:{id}', f'B:{id}'}
        assert m.plot('A').locator('.lm-label').bounding_box()['height'] < 260
    m.hover('A', 0)
    assert '<img src=x' in m.labels('A')[0]
    m.page.mouse.click(*m.on_screen('A', 0))
    search(m, HOSTILE[0], 'token')
    assert m.frame.inner_text('.lm-hits').startswith('2 found')
    m.frame.locator('.lm-legend button').nth(2).click()
    text, _ = saved(m, lambda: m.frame.click('.lm-bar >> text=SVG'))
    ElementTree.fromstring(text)
    m.tab('pinned')
    assert m.rows()
    saved(m, lambda: m.frame.click('.lm-table >> text=CSV'))
    assert m.page.evaluate('[window.hit, document.images.length, document.querySelectorAll("script").length]') == [None, 0, 3]
    assert m.page.evaluate('document.documentElement.scrollWidth') <= 1100

@pytest.mark.parametrize('places', [np.zeros((0, 2)), np.array([[3., 4]]), np.full((40, 2), 7.), np.c_[np.arange(30.), np.zeros(30)], np.array([[1., 1], [np.nan, np.nan], [2, 5]])],
                         ids=['none', 'one', 'equal', 'line', 'no place'])
def test_odd_panels_draw(open_map, places):
    n, drawn = len(places), np.flatnonzero(np.isfinite(places).all(1))
    m = open_map(LinkedMap([Panel('A', places, ['t']*n), Panel('B', PLACES['B'], LABELS['B'])], make_pairs(range(min(n, 1)), range(min(n, 1)), [.5]*min(n, 1))))
    m.places, m.ids = dict(A=places[drawn], B=PLACES['B']), dict(A=drawn.tolist(), B=IDS['B'])
    assert m.plot('A').get_attribute('data-drawn') == str(len(drawn))
    m.plot('A').focus()
    for key in ('ArrowRight', 'z', '+', 'Enter', 's', 'g', '0'): m.page.keyboard.press(key)
    m.page.wait_for_timeout(400)
    for name in ('box', 'lasso', 'brush'):
        tool(m, name)
        drag(m, 'A', (.1, .1), (.9, .9))
    if n:
        assert m.pixel('A', *m.at('A', 0), 'base')[:3] != PAPER['light']
        tool(m, 'move')
        m.hover('B', 0)
        assert 'B:0' in m.lit()
    if len(drawn) < n: assert '1 feature' in m.frame.inner_text('.lm')

def test_three_panels_light_together(open_map):
    part = lambda score: make_pairs([0], [0], [score])
    places = {o: PLACES['B'] for o in 'ABC'}
    m = open_map(LinkedMap([Panel(o, places[o], LABELS['B']) for o in 'ABC'], {(0, 1): part(.9), (2, 0): part(.8)}))
    m.places, m.ids = places, {o: IDS['B'] for o in 'ABC'}
    m.hover('A', 0)
    assert m.lit() == {'A:0', 'B:0', 'C:0'}
    m.press('ArrowRight')
    assert m.data('partner') == 'C:0'
    m.hover('C', 0)
    assert m.lit() == {'A:0', 'C:0'}

# ---- Python and the page

def test_state_that_python_set_is_in_the_saved_page(open_map):
    m = open_map(small(selected={'A': [11, 12]}, pinned=[['B', 0]], searches=[dict(text='queen', mode='token', most=False)],
                       view=dict(min=.3, colour='age', off=['link:alone', 'link:untested'], boxes=True, hide_same=True)))
    assert m.data('selected') == '2,0' and '2 selected' in m.frame.inner_text('.lm-count >> nth=0')
    assert m.lit() == {'B:0', 'A:10'} and m.data('found') == '1,0'                                    # B 1 has no partner left: switched off
    assert m.frame.input_value('[aria-label="What gives points their colour"]') == 'age' and m.frame.input_value('input[type=range]') == '0.3'
    assert m.frame.is_checked('text=cluster boxes') and m.frame.is_checked('text=hide same-token pairs')

def live(offline_page, w):
    page = offline_page(viewport=dict(width=1100, height=900))
    state = {o: getattr(w, o) for o in ('selected', 'hovered', 'pinned', 'searches', 'view')}
    code = MODEL.replace('selected: [] }', f'...{json.dumps(state)} }}').replace('["save", state.selected]', '["save"]')
    page.evaluate(code, [w._esm, w._css, base64.b64encode(w.payload).decode(), 'DataView'])
    return page, Map(page)

def test_live_traits_go_both_ways_and_closing_leaves_nothing(offline_page):
    page, m = live(offline_page, small())
    m.hover('A', 10)
    page.wait_for_function('model.get("hovered")?.[1] === 10')
    drag(m, 'A', (.02, .02), (.98, .98), 'Shift')
    assert page.evaluate('model.get("selected")') == {'A': IDS['A']}
    page.mouse.click(*m.on_screen('A', 11))
    assert page.evaluate('model.get("pinned")') == [['A', 11]]
    search(m, 'king')
    assert page.evaluate('model.get("searches")') == [dict(text='king', mode='token', most=False)]
    m.frame.locator('input[type=range]').fill('0.25')
    page.wait_for_function('model.get("view").min === 0.25')
    page.wait_for_timeout(400)
    saves = page.evaluate('log.length')
    page.evaluate('model.set("selected", { B: [1, 2], A: [12] })')
    page.evaluate('model.set("searches", [{ text: "dog", mode: "part", most: false }, { text: "sun", mode: "token", most: true }])')
    page.evaluate('model.set("view", { colour: "age", places: { A: [0.5, 0.5, 3] } })')
    page.wait_for_timeout(400)
    assert m.data('selected') == '1,2' and m.frame.locator('.lm-chip').count() == 2 and '5 of 5 pairs' in m.frame.inner_text('.lm-score')
    assert m.frame.input_value('[aria-label="What gives points their colour"]') == 'age' and page.evaluate('log.length') == saves   # Python is not told what it said
    colour = lambda: m.frame.input_value('[aria-label="What gives points their colour"]')
    for view, wanted in (({}, 'cluster of A'), (dict(colour='age'), 'age'), ({}, 'cluster of A')):     # saved, left and set again
        page.evaluate('view => model.set("view", view)', view)
        assert colour() == wanted
    page.evaluate('model.set("pinned", [])')
    page.evaluate('model.set("hovered", ["B", 2])')
    assert m.data('hovered') == 'B:2' and m.lit() == {'B:2', 'A:11', 'A:12'}
    m.away()
    page.wait_for_timeout(300)
    page.evaluate('cleanup()')
    assert page.evaluate('[listeners.length, el.childElementCount]') == [0, 0] and page.problems == []

LIVE = '''
import numpy as np
from types import SimpleNamespace
from featgeom import LinkedMap, Panel
xy = np.array([[0, 0], [10, 0], [0, 10], [10, 10], [5, 5.]])
m = np.repeat(np.arange(5), 5)
o = np.tile(np.arange(5), 5)
score = np.where(m + o == 4, .8, .3)
pairs = SimpleNamespace(a=m + 10, b=o, score=score, null=np.full(25, .1), q=np.where(m + o == 4, .01, np.nan), within=np.full(25, .5),
                        within_p=np.full(25, .01), token_only=m < 0, mutual=m + o == 4, meta={})
w = LinkedMap([Panel('A', xy, list('abcde'), ids=np.arange(10, 15)), Panel('B', xy, list('vwxyz'))], pairs, partners=1)
w
'''

def test_live_in_jupyterlab(lab):  # noqa: F811
    lab = lab([LIVE, 'print(w.selected, w.pinned)', "w.selected = {'B': [4]}; w.hovered = ['A', 10]; w.view = dict(min=.5)", 'print(w.searches, w.view)'])
    lab.run_all()
    lab.page.wait_for_selector(READY)
    lab.page.wait_for_timeout(500)
    lab.ask(2)
    xy = np.array([[0, 0], [10, 0], [0, 10], [10, 10], [5, 5.]])
    m = Map(lab.page, places=dict(A=xy, B=xy), ids=dict(A=list(range(10, 15)), B=list(range(5))))
    lab.page.wait_for_function('document.querySelector(".lm").dataset.hovered === "A:10"')
    assert m.data('selected') == '0,1' and m.lit() == {'A:10', 'B:4'} and m.frame.input_value('input[type=range]') == '0.5'
    m.hover('A', 12)
    assert m.lit() == {'A:12', 'B:2'}
    m.page.mouse.click(*m.on_screen('A', 12))
    m.frame.locator('input[type=range]').fill('0')
    m.frame.click('.lm-card >> text=All partners')                                                    # the page holds one; Python knows five
    m.page.wait_for_function('document.querySelector(".lm").dataset.partners.split(" ").length === 5')
    assert m.lit() == {'A:12', *(f'B:{i}' for i in range(5))}
    drag(m, 'A', (.02, .02), (.98, .98), 'Shift')
    lab.page.wait_for_timeout(300)
    assert lab.ask(1) == "{'A': [10, 11, 12, 13, 14]} [['A', 12]]\n"
    assert lab.ask(3) == '[] {}\n'
    assert lab.page.problems == []
