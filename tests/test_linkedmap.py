"The linked map in a real browser: lit pixels at planted points, partners, labels, search, slider, box, keys, themes, hostile text."
import base64, re, time

import numpy as np, pytest

from featgeom.linkedmap import LinkedMap
from featgeom.panels import Panel, quantise as _quantise
from test_embedding import HOSTILE, make_pairs
from test_jupyterlab import lab  # noqa: F401 (a fixture)
from test_widget import MODEL, framed

READY = '.featgeom[data-state=ready] .lm[data-painted]'
MARK = {'light': (255, 212, 0), 'dark': (255, 225, 77)}
PAPER = {'light': (255, 255, 255), 'dark': (22, 24, 28)}

PLACES = {'A': np.array([[0, 0], [10, 0], [0, 10], [10, 10], [5, 5], [5, 8.]]), 'B': np.array([[0, 0], [6, 0], [0, 6], [6, 6], [3, 3.]])}
IDS = {'A': [10, 11, 12, 13, 14, 15], 'B': [0, 1, 2, 3, 4]}
LABELS = {'A': ['␣king queen', 'dog cat', 'one two', 'rain', '', 'snow ␣king'], 'B': ['king ␣duke', 'queen', 'dog', 'sun', 'moon']}
PAIRS = make_pairs([10, 10, 11, 12, 13], [0, 1, 2, 2, 3], [.9, .6, .8, .7, .2], null=[.1, .1, .1, .1, .3], q=[.001, np.nan, .02, .03, .8],
                   within=[.55, .1, np.nan, .4, .02], within_p=[.01, .3, np.nan, .01, .9], token_only=[False, False, True, False, False],
                   mutual=[True, False, True, False, False])

def small(**traits):
    clusters = dict(A=([0, 0, 1, 1, -1, -1], ('royal house', 'wet')), B=([0, 0, -1, -1, -1], ('court',)))
    w = LinkedMap([Panel(o, PLACES[o], LABELS[o], IDS[o], fires=np.arange(len(IDS[o]))*1000 + 50, cluster=np.array(clusters[o][0]), cluster_labels=clusters[o][1],
                         note=f'UMAP, n {len(IDS[o])}, seed 0, trustworthiness 0.93') for o in 'AB'], PAIRS)
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
        x, y = _quantise(self.places[name])[list(self.ids[name]).index(id)].astype(float)
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
            filled = (name, id) not in [('A', 13), ('A', 14), ('A', 15), ('B', 3), ('B', 4)]     # a pair beyond chance
            middle = m.pixel(name, x, y, 'base')[:3]
            assert (middle != PAPER[theme]) == filled, (name, id)
            ring = [m.pixel(name, x + dx, y, 'base')[:3] for dx in (-4, -3.5, -3, 3, 3.5, 4)]
            assert any(o != PAPER[theme] for o in ring), (name, id)
            assert m.pixel(name, x + (30 if x < 200 else -30), y + (17 if y < 200 else -17), 'base')[:3] == PAPER[theme]
    (x0, y0), (x1, y1) = m.at('A', 10), m.at('A', 13)
    assert x1 > x0 and y1 < y0                                                                    # up is up

def test_hover_lights_the_point_and_its_partners_and_says_the_evidence_at_both_ends(open_map):
    m = open_map()
    assert m.lit() == set()
    m.hover('A', 10)
    assert (m.data('hovered'), m.data('partners')) == ('A:10', 'B:0 B:1') and m.lit() == {'A:10', 'B:0', 'B:1'}
    [own], [second, first] = m.labels('A'), m.labels('B')                                           # the best lies on top
    assert own == ('A 10 ␣king queen fires on 50 tokens · cluster royal house → B 0 score .90 null .10 q ≤ .001 within token .55 mutual '
                   '→ B 1 score .60 null .10 within token .10 not beyond the token')
    assert first == 'B 0 king ␣duke score .90 null .10 q ≤ .001 within token .55 mutual' and second.startswith('B 1 queen score .60 null .10')
    m.hover('B', 2)                                                                                # many-to-many, and from the other side
    assert m.data('partners') == 'A:11 A:12' and m.lit() == {'B:2', 'A:11', 'A:12'}
    m.away()
    assert m.data('hovered') == '' and m.lit() == set() and m.labels('A') == m.labels('B') == []

def test_a_pair_that_is_only_a_shared_token_is_marked_at_both_ends(open_map):
    m = open_map()
    m.hover('A', 11)
    assert 'same token only' in m.labels('A')[0] and 'same token only' in m.labels('B')[0]
    x, y = m.at('B', 2)
    around = [m.pixel('B', x + 11*np.cos(t), y + 11*np.sin(t))[3] > 100 for t in np.linspace(0, 2*np.pi, 60)]
    assert 10 < sum(around) < 50                                                                   # a dashed ring, not a full one
    m.hover('A', 10)
    x, y = m.at('B', 0)
    assert not any(m.pixel('B', x + 11*np.cos(t), y + 11*np.sin(t))[3] > 100 for t in np.linspace(0, 2*np.pi, 60))

def test_a_pair_no_better_than_chance_says_so(open_map):
    m = open_map()
    m.hover('A', 13)
    assert 'no better than chance' in m.labels('A')[0] and 'no better than chance' in m.labels('B')[0] and m.lit() == {'A:13', 'B:3'}
    m.hover('A', 14)
    assert 'no partner' in m.labels('A')[0] and 'no tokens' in m.labels('A')[0] and m.lit() == {'A:14'}
    assert '3 of 6 have no partner beyond chance' in m.frame.inner_text('.lm-count >> nth=0')

def test_the_page_says_what_the_maps_rest_on(open_map):
    text = open_map().frame.inner_text('.lm')
    for part in ('trustworthiness 0.93', 'seed 0', 'n 6', 'mean nothing between maps', 'null, median .10', 'royal house', 'no more than the same token'): assert part in text
    assert 'pairs are in this page' not in text                                                     # all of them are

# ---- pins, search, slider, box

def test_click_pins_and_escape_clears(open_map):
    m = open_map()
    m.page.mouse.click(*m.on_screen('A', 10))
    m.away()
    assert m.data('hovered') == 'A:10' and m.lit() == {'A:10', 'B:0', 'B:1'}                        # it stays
    rows = m.frame.locator('.lm-pins tbody tr')
    assert rows.count() == 2 and 'B 0' in rows.nth(0).inner_text() and 'null .10' in rows.nth(0).inner_text()
    m.page.mouse.click(*m.on_screen('A', 11))
    m.frame.click('[aria-label="unpin A 10"]')
    m.away()
    assert m.frame.locator('.lm-pins tbody tr').count() == 1 and m.data('hovered') == 'A:11'
    m.plot('A').focus()
    m.page.keyboard.press('Escape')
    assert m.frame.locator('.lm-pins').is_hidden() and m.lit() == set()

def test_double_click_zooms_to_the_pair_and_leaves_pins_alone(open_map):
    m = open_map()
    before = m.at('A', 10), m.at('B', 0)
    m.page.mouse.dblclick(*m.on_screen('A', 10))
    m.page.wait_for_timeout(500)
    assert m.frame.locator('.lm-pins').is_hidden() and (m.at('A', 10), m.at('B', 0)) != before
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
    assert m.frame.locator('.lm-pins').is_hidden()                                                  # a drag is no click

@pytest.mark.parametrize('text, found, says', [('king', {'A:10', 'A:15', 'B:0'}, '3 found: A 2, B 1'), ('kin', set(), '0 found'), ('11', {'A:11'}, '1 found: A 1, B 0'),
                                               ('#4', {'B:4'}, '1 found'), ('QUEEN', set(), '0 found'), ('queen', {'A:10', 'B:1'}, '2 found')])
def test_search_recolours_and_counts(open_map, text, found, says):
    m = open_map()
    m.frame.fill('input[type=search]', text)
    m.wait('s => document.querySelector(".lm-hits").textContent.startsWith(s)', says)
    m.still()
    ink = (194, 24, 91)
    red = {f'{name}:{id}' for name in 'AB' for id in IDS[name]
           if ink in [m.pixel(name, m.at(name, id)[0] + dx, m.at(name, id)[1], 'base')[:3] for dx in np.arange(-7, 7.5, .5)]}
    assert red == found
    m.frame.focus('input[type=search]')
    m.page.keyboard.press('Escape')
    assert m.frame.input_value('input[type=search]') == '' and m.frame.inner_text('.lm-hits') == ''

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
    assert '5 of 6 have no partner' in m.frame.inner_text('.lm-count >> nth=0')
    slide(0)
    m.frame.check('text=hide same-token pairs')
    assert '2 of 5 pairs' in m.frame.inner_text('.lm-score')                                         # 11-2, 10-1 and 13-3 are no more

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

def test_box_selects_by_shift_and_by_button_and_shows_partners(open_map):
    m = open_map()
    drag(m, 'A', (.02, .3), (.3, .98), 'Shift')
    assert m.data('selected') == '1,0' and '1 selected' in m.frame.inner_text('.lm-count >> nth=0')
    yellow = {id for id in IDS['B'] if m.pixel('B', *m.at('B', id), 'base')[:3] == MARK['light']}
    assert yellow == {0, 1}                                                                          # partners of what is selected
    m.frame.click('text=Box select')
    drag(m, 'A', (.02, .02), (.98, .98))
    assert m.data('selected') == '6,0'
    drag(m, 'B', (.02, .6), (.3, .98), 'Control')
    assert m.data('selected') == '6,1'
    m.plot('A').focus()
    m.page.keyboard.press('Escape')
    assert m.data('selected') == '0,0'

# ---- keys and ears

def test_everything_by_keyboard(open_map):
    m = open_map()
    key = m.page.keyboard.press
    reached = []
    for _ in range(20):
        key('Tab')
        reached.append(m.page.evaluate('(document.activeElement.getAttribute("aria-label") ?? document.activeElement.textContent).slice(0, 40)'))
        if m.page.evaluate('document.activeElement.className') == 'lm-plot': break
    assert len(reached) == 7 and reached[0].startswith('Search') and reached[-1].startswith('A: 6 features'), reached
    assert m.page.evaluate('getComputedStyle(document.activeElement).outlineStyle') == 'solid'
    key('ArrowRight')                                                                                # the one nearest to the middle
    assert m.data('hovered') == 'A:14' and 'A:14' in m.lit()
    key('ArrowUp')
    assert m.data('hovered') == 'A:15'
    key('ArrowLeft')
    assert m.data('hovered') == 'A:12'
    key('ArrowDown')
    assert m.data('hovered') == 'A:10' and m.lit() == {'A:10', 'B:0', 'B:1'}
    m.wait('document.querySelector(".lm-spoken").textContent.includes("2 partners")')
    spoken = m.frame.inner_text('.lm-spoken')
    assert spoken.startswith('A 10, ␣king, queen; 2 partners, first B 0, king, ␣duke, score .90, null .10, within token .55')
    key('Enter')
    assert m.frame.locator('.lm-pins tbody tr').count() == 2
    before = m.at('B', 0)
    key('z')
    m.page.wait_for_timeout(500)
    assert m.at('B', 0) != before
    key('0')
    m.page.wait_for_timeout(500)
    assert np.allclose(m.at('B', 0), before)
    key('+')
    assert m.at('A', 10) != before
    key('Escape')
    assert m.data('hovered') == '' and m.frame.locator('.lm-pins').is_hidden()

def test_reduced_motion_jumps(open_map):
    m = open_map(reduced_motion='reduce')
    m.plot('A').focus()
    before = m.at('B', 0)
    m.hover('A', 10)
    m.page.keyboard.press('z')
    assert m.at('B', 0) != before and m.at('B', 0) == (m.still(), m.at('B', 0))[1]

def test_controls_have_names(open_map):
    m = open_map()
    nameless = m.page.evaluate('''[...document.querySelectorAll("button, input, select, [tabindex]")].filter(o =>
        !(o.getAttribute("aria-label") || o.closest("label")?.textContent.trim() || o.textContent.trim())).map(o => o.outerHTML.slice(0, 80))''')
    assert nameless == []
    described = m.plot('A').get_attribute('aria-describedby')
    assert 'arrows' in m.frame.inner_text(f'#{described}')

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

@pytest.mark.parametrize('theme', ['light', 'dark'])
def test_colours_keep_their_contrast(open_map, theme):
    m = open_map(color_scheme=theme)
    def light(c):
        c = np.asarray(c)/255
        return np.where(c <= .04045, c/12.92, ((c + .055)/1.055)**2.4) @ [.2126, .7152, .0722]
    def contrast(a, b): return (max(light(a), light(b)) + .05)/(min(light(a), light(b)) + .05)
    read = lambda name: [int(o, 16) for o in re.findall('..', m.plot('A').evaluate('(o, n) => getComputedStyle(o).getPropertyValue(n).trim().slice(1)', name))]
    paper = read('--lm-paper')
    assert tuple(paper) == PAPER[theme]
    for name in [f'--lm-c{i}' for i in range(9)] + ['--lm-found']: assert contrast(read(name), paper) >= 3, name
    assert contrast(read('--lm-ink'), paper) >= 7
    assert contrast(read('--lm-mark'), read('--lm-mark-edge')) >= 7                                  # the ring shows the mark on either paper

def test_a_sandboxed_frame_works(offline_page, tmp_path):
    page = offline_page(viewport=dict(width=1000, height=900))
    frame = framed(page, tmp_path, ('sandbox="allow-scripts" style="width:980px; height:860px"', ''), small().page())
    m = Map(page, frame)
    m.hover('A', 10)
    assert m.lit() == {'A:10', 'B:0', 'B:1'} and page.problems == []

def test_without_3d_the_map_is_the_same(playwright, chromium, tmp_path):
    browser = playwright.chromium.launch(executable_path=chromium, args=['--disable-3d-apis', '--no-sandbox'])
    try:
        page = browser.new_page(viewport=dict(width=1100, height=900))
        page.goto(small().save(tmp_path/'map.html').as_uri())
        m = Map(page)
        m.hover('A', 10)
        assert m.lit() == {'A:10', 'B:0', 'B:1'} and m.pixel('A', *m.at('A', 11), 'base')[:3] != PAPER['light']
    finally: browser.close()

# ---- unfriendly data

def test_hostile_text_is_text_everywhere(open_map):
    n = len(HOSTILE)
    places = {o: np.c_[np.arange(n), np.arange(n) % 3].astype(float) for o in 'AB'}
    panels = [Panel(HOSTILE[0] + o, places[o], [[t] for t in HOSTILE], cluster=np.arange(n) % 2, cluster_labels=HOSTILE[:2], note=HOSTILE[0]) for o in 'AB']
    m = open_map(LinkedMap(panels, make_pairs(np.arange(n), np.arange(n), np.linspace(.9, .3, n))))
    m.places, m.ids = places, {o: list(range(n)) for o in 'AB'}
    for id in range(n):
        m.hover('A', id)
        assert m.labels('A') and m.labels('B') and m.lit() == {f'A:{id}', f'B:{id}'}
        assert m.plot('A').locator('.lm-label').bounding_box()['height'] < 260
    m.hover('A', 0)
    assert '<img src=x' in m.labels('A')[0]
    m.page.mouse.click(*m.on_screen('A', 0))
    m.frame.fill('input[type=search]', HOSTILE[0])
    m.wait('document.querySelector(".lm-hits").textContent.startsWith("2 found")')
    assert m.page.evaluate('[window.hit, document.images.length, document.querySelectorAll("script").length]') == [None, 0, 3]
    assert m.page.evaluate('document.documentElement.scrollWidth') <= 1100

@pytest.mark.parametrize('places', [np.zeros((0, 2)), np.array([[3., 4]]), np.full((40, 2), 7.), np.c_[np.arange(30.), np.zeros(30)]], ids=['none', 'one', 'equal', 'line'])
def test_odd_panels_draw(open_map, places):
    n = len(places)
    m = open_map(LinkedMap([Panel('A', places, ['t']*n), Panel('B', PLACES['B'], LABELS['B'])], make_pairs(range(min(n, 1)), range(min(n, 1)), [.5]*min(n, 1))))
    m.places, m.ids = dict(A=places, B=PLACES['B']), dict(A=list(range(n)), B=IDS['B'])
    assert m.plot('A').get_attribute('data-drawn') == str(n)
    m.plot('A').focus()
    for key in ('ArrowRight', 'z', '+', 'Enter', '0'): m.page.keyboard.press(key)
    m.page.wait_for_timeout(400)
    if n:
        assert m.data('hovered').startswith('A:') and m.pixel('A', *m.at('A', 0), 'base')[:3] != PAPER['light']
        m.hover('B', 0)
        assert 'B:0' in m.lit()

def test_three_panels_light_together(open_map):
    part = lambda score: make_pairs([0], [0], [score])
    places = {o: PLACES['B'] for o in 'ABC'}
    m = open_map(LinkedMap([Panel(o, places[o], LABELS['B']) for o in 'ABC'], {(0, 1): part(.9), (2, 0): part(.8)}))
    m.places, m.ids = places, {o: IDS['B'] for o in 'ABC'}
    m.hover('A', 0)
    assert m.lit() == {'A:0', 'B:0', 'C:0'}
    m.hover('C', 0)
    assert m.lit() == {'A:0', 'C:0'}

# ---- Python and the page

def test_state_that_python_set_is_in_the_saved_page(open_map):
    m = open_map(small(selected={'A': [11, 12]}, pinned=[['B', 0]]))
    assert m.data('selected') in (None, '2,0') and '2 selected' in m.frame.inner_text('.lm-count >> nth=0')
    assert m.lit() == {'B:0', 'A:10'} and m.frame.locator('.lm-pins tbody tr').count() == 1

def test_live_traits_go_both_ways_and_closing_leaves_nothing(offline_page):
    page, w = offline_page(viewport=dict(width=1100, height=900)), small()
    code = MODEL.replace('selected: [] }', 'selected: {}, hovered: null, pinned: [] }').replace('["save", state.selected]', '["save"]')
    page.evaluate(code, [w._esm, w._css, base64.b64encode(w.payload).decode(), 'DataView'])
    m = Map(page)
    m.hover('A', 10)
    page.wait_for_function('model.get("hovered")?.[1] === 10')
    drag(m, 'A', (.02, .02), (.98, .98), 'Shift')
    assert page.evaluate('model.get("selected")') == {'A': IDS['A']}
    page.mouse.click(*m.on_screen('A', 11))
    assert page.evaluate('model.get("pinned")') == [['A', 11]]
    saves = page.evaluate('log.length')
    page.evaluate('model.set("selected", { B: [1, 2], A: [12] })')
    assert m.data('selected') == '1,2' and page.evaluate('log.length') == saves                      # Python is not told what it said
    page.evaluate('model.set("pinned", [])')
    page.evaluate('model.set("hovered", ["B", 2])')
    assert m.data('hovered') == 'B:2' and m.lit() == {'B:2', 'A:11', 'A:12'}
    m.away()
    page.wait_for_timeout(300)
    page.evaluate('cleanup()')
    assert page.evaluate('[listeners.length, el.childElementCount]') == [0, 0] and page.problems == []

def test_live_in_jupyterlab(lab):  # noqa: F811
    source = '''
import numpy as np
from types import SimpleNamespace
from featgeom import LinkedMap, Panel
xy = np.array([[0, 0], [10, 0], [0, 10], [10, 10], [5, 5.]])
m = np.arange(5)
pairs = SimpleNamespace(a=m + 10, b=m[::-1], score=np.full(5, .8), null=np.full(5, .1), q=np.full(5, .01), within=np.full(5, .5),
                        within_p=np.full(5, .01), token_only=m < 0, mutual=m >= 0, meta={})
w = LinkedMap([Panel('A', xy, list('abcde'), ids=m + 10), Panel('B', xy, list('vwxyz'))], pairs)
w
'''
    lab = lab([source, 'print(w.selected, w.pinned)', "w.selected = {'B': [4]}; w.hovered = ['A', 10]"])
    lab.run_all()
    lab.page.wait_for_selector(READY)
    lab.page.wait_for_timeout(500)
    lab.ask(2)
    xy = np.array([[0, 0], [10, 0], [0, 10], [10, 10], [5, 5.]])
    m = Map(lab.page, places=dict(A=xy, B=xy), ids=dict(A=list(range(10, 15)), B=list(range(5))))
    lab.page.wait_for_function('document.querySelector(".lm").dataset.hovered === "A:10"')
    assert m.data('selected') == '0,1' and m.lit() == {'A:10', 'B:4'}
    m.hover('A', 12)
    assert m.lit() == {'A:12', 'B:2'}
    drag(m, 'A', (.02, .02), (.98, .98), 'Shift')
    lab.page.wait_for_timeout(300)
    assert lab.ask(1) == "{'A': [10, 11, 12, 13, 14]} []\n"
    assert lab.page.problems == []
