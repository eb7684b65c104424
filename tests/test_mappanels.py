"Panels of the linked map in a browser: the card by keyboard, what is out of view, samples while moving, boxes, focus, pictures on white paper."
import re
from xml.etree import ElementTree

import numpy as np, pytest

from featgeom.linkedmap import LinkedMap
from featgeom.panels import Panel
from test_embedding import make_pairs
from test_linkedmap import IDS, LABELS, MARK, PAPER, PLACES, Map, open_map, small  # noqa: F401 (one is a fixture)

def focused(m): return m.page.evaluate('[document.activeElement.className, document.activeElement.getAttribute("aria-label")]')

def many_partners(n=30):
    "A feature with n partners in the other panel."
    xy = np.random.default_rng(0).normal(size=(n, 2))
    m = LinkedMap([Panel('A', xy, [f'a{i}' for i in range(n)]), Panel('B', xy[::-1].copy(), [f'b{i}' for i in range(n)])],
                  make_pairs(np.zeros(n, int), np.arange(n), np.linspace(.9, .3, n)), partners=n)
    return m, dict(A=xy, B=xy[::-1]), dict(A=list(range(n)), B=list(range(n)))

def test_the_card_is_walked_by_keyboard_and_keeps_the_focus(open_map):  # noqa: F811
    w, places, ids = many_partners()
    w.hovered = ['A', 0]
    m = open_map(w)
    m.places, m.ids = places, ids
    options = m.frame.locator('.lm-card [role=option]')
    assert options.count() == 12 and '30 partners' in m.card() and '18 more' in m.card()
    m.frame.focus('.lm-card [role=listbox]')
    for step in range(14): m.page.keyboard.press('ArrowDown')
    m.still()
    assert focused(m) == ['lm-partners', 'Partners of A 0'] and m.data('partner') == 'B:14' and options.count() == 15
    chosen = m.frame.locator('.lm-card [aria-selected=true]')
    assert chosen.count() == 1 and chosen.inner_text().startswith('B 14')
    body, row = m.frame.locator('.lm-cardbody').bounding_box(), chosen.bounding_box()
    assert body['y'] - 1 <= row['y'] and row['y'] + row['height'] <= body['y'] + body['height'] + 1     # scrolled to, inside the card
    assert chosen.get_attribute('id') == m.frame.get_attribute('.lm-card [role=listbox]', 'aria-activedescendant')
    m.page.keyboard.press('ArrowUp')
    m.page.keyboard.press('Enter')
    m.still()
    assert m.data('hovered') == 'B:13' and focused(m)[0].startswith('lm-plot')

def test_more_partners_and_a_click_on_one(open_map):  # noqa: F811
    w, *_ = many_partners()
    w.pinned = [['A', 0]]
    m = open_map(w)
    m.frame.click('.lm-card >> text=18 more')
    options = m.frame.locator('.lm-card [role=option]')
    assert options.count() == 30 and focused(m)[0] == 'lm-partners' and m.frame.locator('.lm-cardmore').is_hidden()
    options.nth(20).click()
    assert m.data('partner') == 'B:20'

def test_the_card_says_what_is_out_of_view(open_map):  # noqa: F811
    m = open_map(small(pinned=[['A', 10]], view=dict(places=dict(B=[.95, .05, 8]))))
    away = m.frame.locator('.lm-card .lm-away:visible')
    assert away.count() == 2
    m.press('0', 'B')
    m.page.wait_for_timeout(500)
    assert away.count() == 0

def test_buttons_of_the_card(open_map):  # noqa: F811
    m = open_map(small(hovered=['A', 10]))
    before = m.at('B', 0)
    m.frame.click('.lm-card >> text=Zoom')
    m.page.wait_for_timeout(500)
    assert m.at('B', 0) != before
    m.frame.click('.lm-cardacts >> text=Pin')
    m.still()
    assert m.frame.inner_text('.lm-cardacts button >> nth=2') == 'Unpin' and len(m.rows()) == 2
    assert m.frame.is_disabled('.lm-cardacts >> text=All partners')                                     # needs a kernel
    m.frame.click('.lm-cardacts >> text=Go there')
    assert m.data('hovered') == 'B:0'

@pytest.mark.parametrize('by', ['drag', 'wheel', 'key'])
def test_very_many_points_are_a_sample_while_they_move_and_all_when_still(open_map, by):  # noqa: F811
    n = 140_000
    xy = np.random.default_rng(0).normal(size=(n, 2))
    m = open_map(LinkedMap([Panel('A', xy), Panel('B', PLACES['B'], LABELS['B'])]))
    plot, words = m.plot('A'), m.plot('A').locator('.lm-sample')
    assert plot.get_attribute('data-drawn') == str(n) and words.is_hidden()
    box = plot.bounding_box()
    x, y = box['x'] + box['width']/2, box['y'] + box['height']/2
    m.page.mouse.move(x, y)
    if by == 'drag':
        m.page.mouse.down()
        m.page.mouse.move(x + 20, y + 10, steps=2)
    elif by == 'wheel': m.page.mouse.wheel(0, -40)
    else: m.press('+')
    m.wait('document.querySelector(".lm-plot").dataset.sample')
    some = int(plot.get_attribute('data-sample'))
    assert .3*n < some < n and words.inner_text() == f'{some:,} of {n:,} points while moving'
    m.wait('!document.querySelector(".lm-plot").dataset.sample')
    assert words.is_hidden() and int(plot.get_attribute('data-drawn')) > some

def test_boxes_hold_their_clusters(open_map):  # noqa: F811
    rng, n = np.random.default_rng(0), 400
    cluster, centre = np.arange(n) % 4, np.array([[0, 0], [30, 0], [0, 30], [30, 30.]])
    xy = centre[np.arange(n) % 4] + rng.normal(size=(n, 2))*2
    w = LinkedMap([Panel('A', xy, cluster=cluster, cluster_labels=('north', 'east', 'שלום', 'west'))])
    w.view = dict(boxes=True)
    m = open_map(w)
    m.places, m.ids = dict(A=xy), dict(A=list(range(n)))
    boxes = m.frame.evaluate('[...document.querySelectorAll(".lm-names div")].map((o) => [o.offsetLeft, o.offsetTop, o.offsetWidth, o.offsetHeight])')
    assert len(boxes) == 4
    at = np.array([m.at('A', i) for i in range(0, n, 5)])
    held = [sum((at[:, 0] >= x) & (at[:, 0] <= x + w_) & (at[:, 1] >= y) & (at[:, 1] <= y + h)) for x, y, w_, h in boxes]
    assert all(.75*len(at)/4 <= o <= len(at)/4 for o in held), held
    assert m.frame.evaluate('[...document.querySelectorAll(".lm-names span")].map((o) => getComputedStyle(o).direction)').count('rtl') == 1
    m.frame.uncheck('text=cluster boxes')
    assert m.frame.locator('.lm-names div').count() == 0 and m.frame.locator('.lm-names span').count() == 4

def test_the_mouse_gives_a_panel_focus_without_a_ring_and_keys_with_one(open_map):  # noqa: F811
    m = open_map()
    ring = lambda: m.plot('A').evaluate('(o) => [document.activeElement === o, getComputedStyle(o).outlineStyle]')
    m.page.mouse.click(*m.on_screen('A', 14))
    assert ring() == [True, 'none']
    m.page.keyboard.press('Tab')
    m.page.keyboard.press('Shift+Tab')
    assert ring() == [True, 'solid']

def test_with_shift_a_picture_is_on_white_paper_in_the_dark_too(open_map, tmp_path):  # noqa: F811
    m = open_map(small(pinned=[['A', 10]]), color_scheme='dark')
    papers = []
    for keys in ([], ['Shift']):
        with m.page.expect_download() as got: m.frame.click('.lm-bar >> text=SVG', modifiers=keys)
        got.value.save_as(tmp_path/'map.svg')
        root = ElementTree.parse(tmp_path/'map.svg').getroot()
        papers.append(root[0].get('fill'))
        fills = {o.get('fill') for o in root.iter()}
        theme = 'light' if keys else 'dark'
        assert '#%02x%02x%02x' % MARK[theme] in fills and root.get('width') == '180mm'
    assert papers == ['#%02x%02x%02x' % PAPER[o] for o in ('dark', 'light')]
    assert m.pixel('A', 5, 5, 'base')[:3] == PAPER['dark'] and m.frame.locator('.featgeom .featgeom .featgeom').count() == 0     # the page itself stays as it is

def test_a_png_says_its_density(open_map, tmp_path):  # noqa: F811
    m = open_map()
    with m.page.expect_download() as got: m.frame.click('.lm-bar >> text=PNG')
    got.value.save_as(tmp_path/'map.png')
    data = (tmp_path/'map.png').read_bytes()
    assert data[12:16] == b'IHDR' and data[37:41] == b'pHYs'
    assert [int.from_bytes(data[i:i + 4], 'big') for i in (41, 45)] == [11811, 11811] and data[49] == 1                # 300 dots an inch
    assert int.from_bytes(data[16:20], 'big') == round(180/25.4*300)

def test_a_card_that_was_scrolled_begins_anew_with_another_feature(open_map):  # noqa: F811
    w, places, ids = many_partners()
    w.hovered = ['A', 0]
    m = open_map(w)
    m.places, m.ids = places, ids
    top = lambda: m.frame.evaluate('document.querySelector(".lm-cardbody").scrollTop')
    m.frame.focus('.lm-card [role=listbox]')
    for step in range(11): m.page.keyboard.press('ArrowDown')
    m.still()
    assert top() > 0
    m.hover('A', 5)
    m.still()
    assert m.data('hovered') == 'A:5' and top() == 0

def test_what_a_panel_says_of_its_features_without_partners(open_map):  # noqa: F811
    w, places, ids = many_partners(9)
    said = lambda m: [' '.join(o.split()) for o in m.frame.locator('.lm-count').all_inner_texts()]
    assert said(open_map(w)) == ['all 1 tested have a partner beyond chance · 8 not tested', 'all 9 tested have a partner beyond chance']
    q = np.array([np.nan, .01, .9])
    xy = places['A']
    some = LinkedMap([Panel(o, xy) for o in 'ABC'], {(0, 1): make_pairs([0, 1, 2], [0, 1, 2], [.9, .8, .7], q=q)})
    m = open_map(some)
    m.places, m.ids = dict(A=xy, B=xy, C=xy), {o: list(range(9)) for o in 'ABC'}
    assert said(m) == ['1 of 2 tested have no partner beyond chance · 7 not tested']*2 + ['']       # C is in no set: nothing is said of it
    m.hover('C', 4)
    m.still()
    assert m.data('hovered') == 'C:4' and 'tested' not in m.card()

def test_names_step_aside_from_marks_and_come_back(open_map):  # noqa: F811
    rng, n = np.random.default_rng(0), 201
    xy = np.concatenate([rng.normal(size=(n - 1, 2))*3, [[0, 0]]])
    m = open_map(LinkedMap([Panel('A', xy, cluster=np.zeros(n, int), cluster_labels=['a cluster'])]))
    m.places, m.ids = dict(A=xy), dict(A=list(range(n)))
    spot = lambda: m.frame.evaluate('(() => { const o = document.querySelector(".lm-names span"); return [o.offsetLeft, o.offsetTop, o.offsetWidth, o.offsetHeight]; })()')
    before, (x, y) = spot(), m.at('A', n - 1)
    assert abs(x - before[0]) < before[2] and abs(y - before[1]) < before[3]     # (offsets know nothing of the half size by which it is moved)
    m.hover('A', n - 1)
    m.still()
    left, top_, wide, high = spot()
    near = np.clip([x, y], [left - wide/2, top_ - high/2], [left + wide/2, top_ + high/2])
    assert np.hypot(*(near - [x, y])) > 9 and np.hypot(left - before[0], top_ - before[1]) < 60
    m.away()
    m.still()
    assert spot() == before

def test_a_label_far_from_its_mark_has_a_line_to_it(open_map):  # noqa: F811
    xy = np.array([[10, 10], [10, 0], [0., 0], [.01, 0], [0, .01], [.02, .02]])      # the partners share a corner
    w = LinkedMap([Panel(o, xy, [['a long token of many letters']*5]*6) for o in 'AB'], make_pairs([0, 0, 0], [2, 3, 4], [.9, .8, .7]), partners=3)
    m = open_map(w, viewport=dict(width=420, height=900))
    m.places, m.ids = dict(A=xy, B=xy), {o: list(range(6)) for o in 'AB'}
    m.hover('A', 0)
    m.still()
    x, y = m.at('B', 2)
    boxes = m.frame.evaluate('''(() => { const p = document.querySelectorAll(".lm-plot")[1], r = p.getBoundingClientRect();
        return [...p.querySelectorAll(".lm-label")].map((o) => { const b = o.getBoundingClientRect(); return [b.left - r.left - 1, b.top - r.top - 1, b.right - r.left - 1, b.bottom - r.top - 1]; }); })()''')
    lines = 0
    for x0, y0, x1, y1 in boxes:
        near = np.clip([x, y], [x0, y0], [x1, y1])
        if np.hypot(*(near - [x, y])) < 32: continue
        lines += 1
        assert any(m.pixel('B', *(near + t*(np.array([x, y]) - near)))[3] for t in (.3, .5, .6))
    assert lines, boxes
