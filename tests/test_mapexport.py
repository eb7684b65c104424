"Pictures of the linked map for print: the legend of the page is that of the picture, what is off is said, labels keep off marks, long text is cut."
from xml.etree import ElementTree
import re

import numpy as np, pytest

from featgeom.linkedmap import LinkedMap
from featgeom.panels import Panel
from test_embedding import HOSTILE, make_pairs
from test_linkedmap import PLACES, open_map, saved, small  # noqa: F401 (open_map is a fixture)

NS, MARKS = '{http://www.w3.org/2000/svg}', '⁨⁩'

def picture(m):
    "The picture as XML, and its texts without marks of direction and with plain spaces."
    root = ElementTree.fromstring(saved(m, lambda: m.frame.click('.lm-bar >> text=SVG'))[0])
    return root, [re.sub(f'[{MARKS}]', '', o.text or '').replace('\xa0', ' ') for o in root.iter(f'{NS}text')]

def entries(m): return [' '.join(o.split()) for o in m.frame.locator('.lm-legend button, .lm-legend .lm-entry').all_inner_texts()]
def rects(root, **attrs): return [tuple(float(o.get(k)) for k in ('x', 'y', 'width', 'height')) for o in root.iter(f'{NS}rect') if all(o.get(k) == v for k, v in attrs.items())]

def test_the_picture_has_the_legend_of_the_page(open_map):
    m = open_map(small(pinned=[['A', 11]], selected={'A': [10]}, view=dict(colour='kind', size='age', outline='age', min=.3)))
    shown = entries(m)
    assert 'none · 2' in shown and 'selected' in shown and len(shown) > 12
    assert set(shown) <= set(picture(m)[1])
    m = open_map(small(view=dict(colour='rate')))                                              # nothing is marked: marks are not explained
    shown = entries(m)
    left = set(shown) - set(picture(m)[1])
    assert any(' to ' in o for o in shown) and len(left) == 2 and all('pinned' in o or 'dashed' in o for o in left)

def test_what_is_switched_off_is_said_in_the_picture(open_map):
    m = open_map(small(colour='kind'))
    for text in ('not tested', 'pet', 'none'): m.frame.locator('.lm-legend button', has_text=text).last.click(modifiers=['Shift'])
    off = m.frame.locator('.lm-legend button[aria-pressed=false]').all_inner_texts()
    texts = picture(m)[1]
    assert len(off) == 3 and not set(off) & set(texts)
    said = ' '.join(texts)
    assert 'Switched off, and faint: ' + ', '.join(off) + '.' in said and 'royal · 3' in texts

def test_others_and_none_are_no_categories(open_map):
    names = ['none', 'other', *'abcdefgh']
    kinds = names + ['other', 'none', *'abcdef'] + [None]*2
    xy = np.c_[np.arange(len(kinds)), np.arange(len(kinds)) % 3].astype(float)
    m = open_map(LinkedMap([Panel('A', xy, ['t']*len(kinds), columns=dict(kind=kinds))], colour='kind'))
    ids = {o.get_attribute('data-entry'): o.inner_text().split(' · ')[0] for o in m.frame.locator('.lm-legend button').all()}
    assert ids['rest:'] == 'others' and ids['none:'] == 'none' and ids['cat:other'] == 'other' and ids['cat:none'] == 'none'
    m.frame.click('[data-entry="rest:"]', modifiers=['Shift'])
    m.frame.click('[data-entry="cat:none"]', modifiers=['Shift'])
    m.places, m.ids = dict(A=xy), dict(A=list(range(len(kinds))))
    for id, kind in enumerate(kinds):
        m.hover('A', id)
        assert (m.data('hovered') == f'A:{id}') == (kind not in ('none', 'g', 'h')), (id, kind)
        m.away()

def test_labels_of_a_picture_keep_off_marks_say_whose_they_are_and_lines_lead_to_them(open_map):
    m = open_map(small(pinned=[['A', 10], ['B', 2], ['A', 13]]))
    root, texts = picture(m)
    said = ' '.join(texts)
    assert 'with A 10: score .90 · null .10 · q ≤ .001 · within token .55' in said
    assert 'with B 2: score .80' in said and 'with A 13: score .20' in said
    boxes, marks = rects(root, rx='4'), [[float(o.get(k)) for k in ('cx', 'cy', 'r')] for o in root.iter(f'{NS}circle') if float(o.get('cy')) < 500 and float(o.get('r')) > 5]
    assert len(boxes) == 6 and len(marks) > 12
    for x, y, w, h in boxes:
        for cx, cy, r in marks: assert np.hypot(max(x - cx, 0, cx - x - w), max(y - cy, 0, cy - y - h)) > r, (x, y, cx, cy)
    for o in root.iter(f'{NS}line'):
        ends = [float(o.get(k)) for k in ('x1', 'y1', 'x2', 'y2')]
        assert any(abs(max(x, min(x + w, ends[0])) - ends[0]) + abs(max(y, min(y + h, ends[1])) - ends[1]) < 1e-6 for x, y, w, h in boxes)
        assert min(np.hypot(ends[2] - cx, ends[3] - cy) - r for cx, cy, r in marks) < 4

def test_names_have_the_border_of_their_cluster(open_map):
    m = open_map()
    colour = m.plot('A').evaluate('o => getComputedStyle(o).getPropertyValue("--lm-c1").trim()')
    root, _ = picture(m)
    assert {o.get('stroke') for o in root.iter(f'{NS}rect') if o.get('rx') == '8'} >= {colour, None}     # those of A have colours, those of B none

def test_words_for_a_page_are_not_in_a_picture(open_map):
    nine = make_pairs(np.repeat([0, 1, 2], 3), np.tile([0, 1, 2], 3), [.9, .2, .3, .2, .8, .1, .3, .1, .7])
    m = open_map(LinkedMap([Panel(o, PLACES['B'][:3], list('abc')) for o in 'AB'], nine, partners=1))
    said = ' '.join(picture(m)[1])
    assert '3 of 9 pairs are behind this picture' in said and 'kernel' not in said and 'this page' not in said

@pytest.mark.parametrize('width', [1100, 420])
def test_long_and_hostile_text_stays_in_its_cell(open_map, width):
    text, n = 'W'*300, len(HOSTILE)
    xy = np.c_[np.arange(n), np.arange(n) % 3].astype(float)
    panels = [Panel(text[:60] + o, xy, [[text, t] for t in HOSTILE], note=text, cluster=np.arange(n) % 2, cluster_labels=(text, '\0\ufffe' + text), columns={text[:200]: HOSTILE}) for o in 'AB']
    w = LinkedMap(panels, make_pairs(np.arange(n), np.arange(n), np.linspace(.9, .3, n)), colour=text[:200])
    w.pinned, w.searches = [[panels[0].name, 0], [panels[1].name, 3]], [dict(text='W'*200, mode='part', most=False), dict(text=HOSTILE[3], mode='token', most=False)]
    m = open_map(w, viewport=dict(width=width, height=900))
    root, texts = picture(m)
    assert not any('U+2068' in o for o in texts) and 'U+FFFE' in ' '.join(texts)
    cells = rects(root, **{'stroke-width': '1'})
    total = float(root.get('viewBox').split()[2])
    widths = m.frame.evaluate('''(texts) => { const ctx = document.createElement("canvas").getContext("2d");
        return texts.map(([text, size, bold]) => { ctx.font = `${bold ? "bold " : ""}${size}px Helvetica, Arial, 'Noto Sans', sans-serif`; return ctx.measureText(text).width; }); }''',
        [[o.text or '', float(o.get('font-size') or 11), o.get('font-weight') == 'bold'] for o in root.iter(f'{NS}text')])
    top = max(y + h for _, y, _, h in cells[:2])
    for o, wide in zip(root.iter(f'{NS}text'), widths):
        x, y = float(o.get('x')), float(o.get('y'))
        left = x - wide/2 if o.get('text-anchor') == 'middle' else x
        cell = next(c for c in reversed(cells) if y > top or c[0] - 1 <= x) if y <= top else (0, 0, total, 0)
        assert cell[0] - 1 <= left and left + wide <= cell[0] + cell[2] + 1, (o.text, left, wide, cell)
