"Widgets that follow each other: keys in Python, several widgets in one page, links within a page and between frames."
from html import escape
import base64, hashlib, json, re, time

import numpy as np, pytest

from featgeom.core import FeatgeomError
from featgeom.finding import FeatureSet
from featgeom.linkedmap import LinkedMap
from featgeom.panels import Panel
from featgeom.widget import Widget, built, link, save_together
from test_dashboard import board
from test_embedding import make_pairs
from test_js import node  # noqa: F401 (a fixture)
from test_linkedmap import IDS, LABELS, PLACES, Map, small
from test_widget import HOSTILE, MODEL, PROBE, READY, Bars, Reader, bars, framed, module, probe  # noqa: F401 (module is a fixture)

# ---- in Python

def test_link_gives_one_key_and_joins_what_is_linked_already():
    a, b, c, d = bars(), bars(), bars(), bars()
    key = link(a, b)
    assert key and a.link == b.link == key and c.link == ''
    assert link(c, b) == key == c.link and link(d, bars()) not in ('', key)
    b.link = ''                                                          # let go again
    assert a.link == key and link(a, c) == key and b.link == ''
    for wrong in ((), (a,), (a, 'map'), (a, None), (a, Bars)):
        with pytest.raises(FeatgeomError): link(*wrong)
    assert a.get_state('link') == {'link': key}

def parts_of(text):
    "The page as a parser sees it: its policy's hashes, the scripts that run, roots, and texts by id."
    page = Reader(text)
    policy = next(attrs['content'] for tag, attrs in page.tags if attrs.get('http-equiv') == 'Content-Security-Policy')
    scripts = re.findall(r'<script type="module">(.*?)</script>', text, re.S)
    roots = [attrs for _, attrs in page.tags if 'data-renderer' in attrs]
    return re.findall(r"'sha256-([^']+)'", policy), scripts, roots, page

def test_one_page_holds_each_renderer_once_and_allows_these_alone(tmp_path):
    widgets = [small(), bars(), small(), bars(HOSTILE, HOSTILE[0])]
    link(widgets[0], widgets[2])
    path = save_together(tmp_path/'four.html', *widgets)
    hashes, scripts, roots, page = parts_of(path.read_text(encoding='utf-8'))
    assert scripts == [built('linkedmap.js'), built('example.js')]
    assert hashes == [base64.b64encode(hashlib.sha256(o.encode()).digest()).decode() for o in scripts] and 'unsafe' not in str(hashes)
    assert [(o['data-renderer'], o['data-part'], o['aria-label']) for o in roots] == [
        ('linkedmap', '1', 'LinkedMap'), ('example', '2', 'Bars'), ('linkedmap', '3', 'LinkedMap'), ('example', '4', 'Bars')]
    ids = [attrs['id'] for _, attrs in page.tags if 'id' in attrs]
    assert len(set(ids)) == len(ids) == 9 and page.comments == 0
    for i, w in enumerate(widgets, 1):
        assert base64.b64decode(''.join(page.texts['script', f'payload{i}'])) == w.payload
        assert json.loads(''.join(page.texts['script', f'state{i}']))['link'] == w.link
    assert ''.join(page.texts['title', None]).strip() == 'LinkedMap and Bars'
    assert not [attrs for _, attrs in page.tags if any(k.startswith('on') or k in ('src', 'href') for k in attrs)]
    alone = widgets[0].page()
    assert 'id="featgeom" data-renderer="linkedmap"' in alone and 'data-part' not in alone

def test_the_styles_that_all_share_are_in_a_page_once_and_first(tmp_path):
    text = save_together(tmp_path/'two.html', small(), bars(), title='<b>').read_text(encoding='utf-8')
    css = text[text.index('<style>'):text.index('</style>')]
    assert css.count('--fg-bg: #') == 2 and css.count('.featgeom :focus-visible{') == 1       # light and dark
    assert css.index('--fg-bg') < css.index('.lm-plot') < css.index('.fg-bar') and '<title>&lt;b&gt;</title>' in text
    assert css.count('{') == css.count('}')
    both = built('linkedmap.js', 'css'), built('example.js', 'css')
    rules = lambda o: {part.strip() for part in re.findall(r'[^{}]+\{[^{}]*\}', o)}
    assert rules(both[0]) | rules(both[1]) <= rules(css)

def test_save_together_refuses_what_it_cannot_write(tmp_path, module):
    for wrong in ((), ('map',), (bars(), None), (bars(), Bars)):
        with pytest.raises(FeatgeomError): save_together(tmp_path/'x.html', *wrong)
    for path in (tmp_path, tmp_path/'none'/'x.html', '', 'a\0b', None):
        with pytest.raises(FeatgeomError): save_together(path, bars())
    with pytest.raises(FeatgeomError, match=r'page of 0\..*pass a larger max_mb'): save_together(tmp_path/'x.html', bars(), bars(), max_mb=.001)
    assert not list(tmp_path.glob('*.html'))
    class Other(Widget): _module = module('export function mount(el) { el.title = "1"; }\n')
    class Same(Widget): _module = Other._module.parent/'again'/'main.js'
    Same._module.parent.mkdir()
    for ending in ('js', 'css'): Same._module.with_suffix(f'.{ending}').write_text(Other._module.with_suffix(f'.{ending}').read_text().replace('"1"', '"2"'))
    with pytest.raises(FeatgeomError, match='Two different renderers main'): save_together(tmp_path/'x.html', Other(payload=b''), Same(payload=b''))
    save_together(tmp_path/'x.html', Other(payload=b''), Other(payload=b''))

def test_a_set_of_features_selects_in_its_own_space_only():
    w = small()
    w.selected = FeatureSet('king', 'A', [10, 15], 100)
    assert w.selected == {'A': [10, 15]}
    w.selected = {'A': [11], 'B': FeatureSet('duke', 'B', [0, 4], 5)}
    assert w.selected == {'A': [11], 'B': [0, 4]}
    for wrong, says in ((FeatureSet('king', 'C', [1], 100), "Panel 'C'"), ({'B': FeatureSet('king', 'A', [1], 100)}, "a set of 'A', for panel 'B'"),
                        (FeatureSet('king', 'A', [1], 15), 'a set of 15 features.*with feature 15'), ([10], 'selected of type list')):
        with pytest.raises(FeatgeomError, match=says): w.selected = wrong
    assert w.selected == {'A': [11], 'B': [0, 4]}
    with pytest.warns(UserWarning, match="2 of 3 features of 'king' have no place in 'A'"): w.selected = FeatureSet('king', 'A', [10, 50, 60], 100)
    assert w.selected == {'A': [10]}
    w.selected = FeatureSet('none', 'A', [], 100)
    assert w.selected == {'A': []}

def test_a_set_of_features_is_a_column():
    p = Panel('A', PLACES['A'], LABELS['A'], IDS['A'], columns={'in king': FeatureSet('king', 'A', [10, 15, 50], 100)})
    column = p.columns['in king']
    assert [column.categories[o] for o in column.values] == ['yes', 'no', 'no', 'no', 'no', 'yes']
    LinkedMap([p], colour='in king')
    for wrong in (FeatureSet('king', 'B', [1], 100), FeatureSet('king', 'A', [1], 12)):
        with pytest.raises(FeatgeomError, match='a set of'): Panel('A', PLACES['A'], ids=IDS['A'], columns=dict(king=wrong))

# ---- in one page

class Part(Map):
    "One of several maps in a page; `root` is a selector of its place."
    def __init__(self, page, root, frame=None):
        self.root = root
        (frame or page).wait_for_selector(f'{root} .lm[data-painted]')
        super().__init__(page, frame)
    def plot(self, name): return self.frame.locator(f'{self.root} .lm-plot').nth(self.panel(name))
    def data(self, key): return self.frame.locator(f'{self.root} .lm').get_attribute(f'data-{key}')
    def pins(self): return self.frame.locator(f'{self.root} [role=tab] >> text=pinned').inner_text()
    def pin(self, name, id):
        "Click a feature, once the page around it is still: what another map tells this one moves it."
        at = None
        while at != (at := self.on_screen(name, id)): self.page.wait_for_timeout(50)
        self.page.mouse.click(*at)

def until(ask, wanted):
    end = time.monotonic() + 10
    while (said := ask()) != wanted and time.monotonic() < end: time.sleep(.02)
    assert said == wanted

COUNT = '''(key) => {
    window.told = [];
    document.addEventListener(`featgeom:link:${key}`, (event) => told.push(event.detail?.message));
}'''

@pytest.fixture
def together(offline_page, tmp_path):
    "Open several widgets as one page with the network cut; whatever the page complains about fails the test."
    pages = []
    def go(*widgets, **options):
        path = save_together(tmp_path/f'together{len(pages)}.html', *widgets)
        page = offline_page(path, **dict(viewport=dict(width=1100, height=1900)) | options)
        page.evaluate(COUNT, widgets[0].link)
        pages.append(page)
        return page
    yield go
    for page in pages: assert page.problems == []

def test_linked_strips_click_along_and_others_do_not(together):
    a, b, other, apart = bars(), bars(), bars(title='Another'), bars()
    link(a, b, other)
    page = together(a, b, other, apart)
    said = lambda: page.locator('p.fg-text').all_inner_texts()
    until(lambda: page.locator(READY).count(), 4)
    page.click('.fg-bar >> nth=4')                                       # the second bar of the second strip
    assert said() == ['two: 2', 'two: 2', 'Click a bar.', 'Click a bar.']
    page.click('[data-part="1"] .fg-bar >> nth=2')
    assert said() == ['three: 3', 'three: 3', 'Click a bar.', 'Click a bar.']
    page.click('[data-part="4"] .fg-bar >> nth=0')                       # not linked
    assert said() == ['three: 3', 'three: 3', 'Click a bar.', 'one: 1']
    assert page.evaluate('told') == [{'kind': 'read', 'spots': [['Three bars', 1]]}, {'kind': 'read', 'spots': [['Three bars', 2]]}]
    ids = page.evaluate('[...document.querySelectorAll("[id]")].map((o) => o.id)')
    assert len(ids) == len(set(ids))

def test_a_map_shows_what_is_pinned_in_another(together):
    a, b = small(), small()
    link(a, b)
    page = together(a, b)
    one, two = Part(page, '[data-part="1"]'), Part(page, '[data-part="2"]')
    home = two.plot('A').get_attribute('data-view')
    one.pin('A', 10)
    until(lambda: two.data('hovered'), 'A:10')
    assert two.data('partner') == 'B:0' and two.pins() == 'pinned 0' and one.pins() == 'pinned 1'
    until(lambda: two.plot('A').get_attribute('data-view') != home, True)                # and flew there
    page.wait_for_timeout(400)
    assert page.evaluate('told') == [{'kind': 'read', 'spots': [['A', 10], ['B', 0]]}]     # nothing went back
    one.plot('A').focus()
    page.keyboard.press('Enter')                                         # unpinned: nothing to read
    assert one.pins() == 'pinned 0' and len(page.evaluate('told')) == 1
    page.keyboard.press('ArrowDown')                                     # the next partner: what is pinned is this pair
    until(lambda: one.data('partner'), 'B:1')
    page.keyboard.press('Enter')
    until(lambda: two.data('partner'), 'B:1')
    assert page.evaluate('told')[1:] == [{'kind': 'read', 'spots': [['A', 10], ['B', 1]]}]
    two.pin('B', 4)                                                      # a feature without partners, and the other way
    until(lambda: one.data('hovered'), 'B:4')
    assert page.evaluate('told')[2:] == [{'kind': 'read', 'spots': [['B', 4]]}]

def test_pointing_lasts_until_it_ends_and_unknown_names_change_nothing(together):
    w = small()
    w.link = 'k'
    page = together(w, bars())
    m, n = Part(page, '[data-part="1"]'), iter(range(1, 100))
    def tell(kind, *spots):
        page.evaluate('([from, n, message]) => document.dispatchEvent(new CustomEvent("featgeom:link:k", { detail: { from, n, message } }))',
                      ['stranger', next(n), dict(kind=kind, spots=list(spots))])
    view = m.plot('A').get_attribute('data-view')
    tell('point', ['A', 11])
    assert m.data('hovered') == 'A:11' and m.data('partners') == 'B:2'
    tell('read', ['Z', 11])
    tell('read', ['A', 99], ['Z', 1])
    assert m.data('hovered') == 'A:11'
    tell('point', ['Z', 11])
    assert m.data('hovered') == ''                                       # pointing at what this map does not have
    tell('point', ['B', 0])
    tell('point')
    page.wait_for_timeout(200)
    assert m.data('hovered') == '' and m.plot('A').get_attribute('data-view') == view and m.pins() == 'pinned 0'
    tell('read', ['Z', 1], ['B', 1])                                     # the first that is known
    assert m.data('hovered') == 'B:1'

HARM = '''([key, hostile]) => {
    const good = { kind: "read", spots: [["A", 10]] }, channel = new BroadcastChannel(`featgeom:link:${key}`);
    const messages = [null, 3, "read", [], {}, { kind: "read" }, { kind: "read", spots: {} }, { kind: "read", spots: [[null, 1]] }, { kind: "read", spots: [["A", "10"]] },
        { kind: "read", spots: [["A", 1e300]] }, { kind: "read", spots: [["__proto__", 0]] }, { kind: "read", spots: [["constructor", 0]] },
        { kind: "read", spots: [["A", 10], [hostile, -1]] }, { kind: "point", spots: Array(10000).fill(["A", 10]) }, { kind: "eval", spots: [["A", 10]] },
        ...hostile.map((o) => ({ kind: "read", spots: [[o, 0]] })), ...hostile.map((o) => ({ kind: o, spots: [["A", 10]] }))];
    const envelopes = [null, 7, "x", [], { message: good }, { from: "x", n: "1", message: good }, { from: "x", n: -1, message: good },
        ...messages.map((message, n) => ({ from: "stranger", n: n + 1, message }))];
    for (const detail of envelopes) {
        document.dispatchEvent(new CustomEvent(`featgeom:link:${key}`, { detail }));
        channel.postMessage(detail);
    }
    document.dispatchEvent(new Event(`featgeom:link:${key}`));
    channel.close();
}'''

def test_hostile_messages_move_nothing(together):
    w, b = small(), bars()
    link(w, b)
    page = together(w, b)
    m = Part(page, '[data-part="1"]')
    page.evaluate(HARM, [w.link, HOSTILE])
    page.wait_for_timeout(200)
    assert m.data('hovered') == '' and page.inner_text('[data-part="2"] p.fg-text') == 'Click a bar.' and page.evaluate('window.hit') is None
    page.click('.fg-bar >> nth=0')                                       # and the link still works
    assert page.inner_text('[data-part="2"] p.fg-text') == 'one: 1' and page.evaluate('told.at(-1)') == {'kind': 'read', 'spots': [['Three bars', 0]]}

def test_each_widget_of_a_page_has_its_part_of_the_address(together, offline_page):
    a, b = small(), small()
    page = together(a, b)
    one, two = Part(page, '[data-part="1"]'), Part(page, '[data-part="2"]')
    assert page.evaluate('location.hash') == ''
    one.pin('A', 11)
    two.pin('B', 3)
    one.away()
    page.fill('[data-part="2"] input[type=search]', 'king')
    page.keyboard.press('Enter')
    until(lambda: re.findall(r'(?:[#&])([12])=', page.evaluate('location.hash')), ['1', '2'])
    until(lambda: 'king' in page.evaluate('location.hash'), True)
    page.click('[data-part="1"] button:text-is("Link")')
    copied, address = page.input_value('[data-part="1"] .lm-address'), page.evaluate('location.href')
    assert copied == address and two.pins() == 'pinned 1' and one.data('hovered') == 'A:11'
    for go in (lambda o: o.reload(), None):
        other = page if go else offline_page(viewport=dict(width=1100, height=1900))
        go(other) if go else other.goto(copied)
        one, two = Part(other, '[data-part="1"]'), Part(other, '[data-part="2"]')
        assert (one.data('hovered'), two.data('hovered')) == ('A:11', 'B:3') and one.pins() == two.pins() == 'pinned 1'
        assert other.locator('[data-part="1"] .lm-chip').count() == 0 and other.locator('[data-part="2"] .lm-chip').count() == 1
    other.evaluate('location.hash = "#2=%7Bnonsense&x&1"')
    until(lambda: [Part(other, f'[data-part="{i}"]').data('hovered') for i in (1, 2)], ['', ''])
    assert other.problems == []

def test_damage_to_one_widget_leaves_the_others(tmp_path, offline_page):
    path = save_together(tmp_path/'two.html', bars(), bars(title='Whole'))
    path.write_text(re.sub(r'(id="payload1">[^<]{40})[^<]*', r'\1', path.read_text(encoding='utf-8')), encoding='utf-8')
    page = offline_page(path)
    page.wait_for_selector('[data-part="1"] .featgeom[data-state=error]')
    page.wait_for_selector(f'[data-part="2"] {READY}')
    assert 'damaged' in page.inner_text('[role=alert]') and page.inner_text('h2') == 'Whole'

def test_a_page_of_several_without_javascript_says_so_for_each(tmp_path, offline_page):
    page = offline_page(save_together(tmp_path/'two.html', bars(), bars()), java_script_enabled=False)
    assert page.content().count('This figure is drawn by JavaScript') == 2

def test_the_policy_of_a_page_of_several_refuses_other_code(together):
    page = together(bars(), small())
    page.wait_for_selector(READY)
    page.evaluate('document.body.append(Object.assign(document.createElement("script"), { textContent: "window.hit = 1" }))')
    page.wait_for_timeout(100)
    assert page.evaluate('window.hit') is None and ['Content Security Policy' in o for o in page.problems] == [True]
    page.problems.clear()

# ---- in frames

@pytest.mark.parametrize('attributes', ['', 'sandbox="allow-scripts"'])
def test_a_frame_is_as_high_as_all_widgets_of_its_page(offline_page, tmp_path, attributes):
    a, b = bars(), bars()
    link(a, b)
    page = offline_page()
    html = save_together(tmp_path/'two.html', a, small(), b).read_text(encoding='utf-8')
    frame = framed(page, tmp_path, (attributes, ''), html)
    frame.wait_for_selector('.lm[data-painted]')
    until(lambda: frame.locator(READY).count(), 3)
    high = 'Math.ceil(document.getElementById("featgeom").getBoundingClientRect().height)'
    told = 'document.querySelector("iframe").clientHeight' if not attributes else 'window.heights.at(-1)?.height'
    until(lambda: page.evaluate(told) == frame.evaluate(high), True)
    parts = frame.evaluate('[...document.querySelectorAll("[data-renderer]")].map((o) => o.getBoundingClientRect().height)')
    assert len(parts) == 3 and min(parts) > 100 and abs(sum(parts) - frame.evaluate(high)) <= 3
    frame.click('[data-part="3"] .fg-bar >> nth=1')                      # without an origin, too
    assert frame.inner_text('[data-part="1"] p.fg-text') == 'two: 2' and page.problems == []

def serve(page, pages):
    "Answer addresses of a made-up site with these texts."
    page.route(re.compile(r'^http://[\w.]+\.invalid/'), lambda route: route.fulfill(body=pages[route.request.url], content_type='text/html'))

def frames_of(*sources):
    return '<!doctype html>' + ''.join(f'<iframe src="{escape(o)}" width="1050" height="860"></iframe>' for o in sources)

def test_maps_in_two_frames_of_one_site_follow_each_other_and_another_site_does_not(offline_page):
    a, b, c = small(), small(), small()
    link(a, b, c)
    page = offline_page(viewport=dict(width=1100, height=2700))
    serve(page, {'http://docs.invalid/': frames_of('/a.html', 'b.html', 'http://other.invalid/c.html'), 'http://docs.invalid/a.html': a.page(),
                 'http://docs.invalid/b.html': b.page(), 'http://other.invalid/c.html': c.page()})
    page.goto('http://docs.invalid/')
    one, two, three = (Part(page, '#featgeom', frame) for frame in page.frames[1:])
    for frame in page.frames[1:]: frame.evaluate('''(key) => {
        window.told = [];
        new BroadcastChannel(`featgeom:link:${key}`).onmessage = (event) => told.push(event.data.message);
    }''', a.link)
    one.pin('A', 10)
    until(lambda: two.data('hovered'), 'A:10')
    two.pin('B', 2)
    until(lambda: one.data('hovered'), 'B:2')
    page.wait_for_timeout(300)
    assert three.data('hovered') == '' and one.data('partners') == two.data('partners') == 'A:11 A:12'
    assert [len(frame.evaluate('told')) for frame in page.frames[1:]] == [2, 2, 0] and page.problems == []

# ---- live

def test_live_widgets_join_and_leave_as_python_says(offline_page):
    page = offline_page()
    send = lambda o: base64.b64encode(o).decode()
    views = 'Object.assign(window, { [name]: { model, listeners, cleanup, el, log } });'
    for name in ('first', 'second'):                                     # two cells: two copies of the code in one document
        w = bars()
        page.evaluate(MODEL.replace('Object.assign(window, { model, log, listeners, cleanup, el });', views.replace('name', f'"{name}"', 1)),
                      [w._esm, w._css, send(w.payload), 'DataView'])
    until(lambda: page.locator(READY).count(), 2)
    said = lambda: page.locator('p.fg-text').all_inner_texts()
    page.click('.fg-bar >> nth=0')
    assert said() == ['one: 1', 'Click a bar.']
    page.evaluate('first.model.set("link", "k"); second.model.set("link", "k")')
    page.click('.fg-bar >> nth=1')
    assert said() == ['two: 2', 'two: 2']
    assert page.evaluate('second.log') == [['save', [1]]]                # its own Python hears of it
    page.evaluate('first.model.set("selected", [2])')                    # Python's doing is not told
    assert said() == ['three: 3', 'two: 2']
    page.evaluate('second.model.set("link", "")')
    page.click('.fg-bar >> nth=0')
    assert said() == ['one: 1', 'two: 2']
    page.evaluate('second.model.set("link", "k"); second.cleanup()')
    page.click('.fg-bar >> nth=1')
    assert page.evaluate('[second.listeners.length, JSON.stringify(second.model.get("selected"))]') == [0, '[1]'] and page.problems == []

def test_a_hearer_that_stumbles_leaves_the_link_in_order(offline_page, module):
    page = offline_page()
    path = module('''import { el, joinLink } from "./kit.js";
export function mount(root, host) {
  const heard = el("output"), link = joinLink(host, ({ spots }) => {
    heard.textContent += spots[0][1];
    if (spots[0][1] === 1) throw new Error("stumbled");
  });
  root.append(heard, ...[1, 2].map((i) => el("button", { type: "button", onclick: () => link.tell({ kind: "read", spots: [["A", i]] }) }, `tell ${i}`)));
  return () => link.close();
}
''')
    class Probe(Widget): _module = path
    a, b = Probe(payload=b''), Probe(payload=b'')
    link(a, b)
    page = offline_page(save_together(path.parent/'two.html', a, b))
    until(lambda: page.locator(READY).count(), 2)
    page.click('[data-part="1"] >> text=tell 1')
    page.click('[data-part="1"] >> text=tell 2')
    page.click('[data-part="2"] >> text=tell 2')                         # it may speak again
    assert page.locator('output').all_inner_texts() == ['2', '12'] and ['stumbled' in o for o in page.problems] == [True]

# ---- a map and a dashboard

def map_of_board(**traits):
    "A map of the features of test_dashboard's board, and of some that it does not have."
    ids = dict(A=np.array([1, 3, 7, 9, 12]), B=np.array([2, 5, 6, 40]))
    pairs = make_pairs([3, 9, 12], [5, 6, 40], [.83, .5, .4])
    places = {name: np.stack([np.arange(len(o)) % 2, np.arange(len(o)) // 2], 1).astype(float) for name, o in ids.items()}
    w = LinkedMap([Panel(o, places[o], [f'{o.lower()} {i}' for i in ids[o]], ids[o]) for o in 'AB'], pairs)
    for key, value in traits.items(): setattr(w, key, value)
    return w, dict(places=places, ids=ids)

class Both:
    "A linked map above a dashboard in one page or frame."
    def __init__(self, page, where, frame=None):
        self.page, self.frame, self.map = page, frame or page, Part(page, '#featgeom', frame)
        self.map.places, self.map.ids = where['places'], where['ids']
        self.frame.wait_for_selector('.ds[data-ready]')
    @property
    def entry(self): return self.frame.get_attribute('.ds', 'data-entry')
    def reads(self, entry): until(lambda: self.entry, entry)

@pytest.fixture
def both(together):
    def go():
        (w, where), d = map_of_board(), board()
        link(w, d)
        return Both(together(w, d), where)
    return go

def test_a_pin_in_the_map_is_read_in_the_dashboard(both):
    o = both()
    assert o.entry == 'A:3 B:5'
    for panel, id, entry in (('A', 9, 'A:9 B:6'), ('B', 5, 'A:3 B:5'), ('A', 7, 'A:7'), ('B', 6, 'A:9 B:6')):
        o.map.pin(panel, id)
        o.reads(entry)
    o.map.pin('A', 1)                                                    # which the dashboard does not have
    o.page.wait_for_timeout(300)
    assert o.entry == 'A:9 B:6' and o.map.pins() == 'pinned 5'
    assert [m['spots'] for m in o.page.evaluate('told')] == [[['A', 9], ['B', 6]], [['B', 5], ['A', 3]], [['A', 7]], [['B', 6], ['A', 9]], [['A', 1]]]
    assert o.page.evaluate('window.hit') is None

def test_the_map_shows_what_the_dashboard_goes_to_and_points_at(both):
    o = both()
    assert o.map.data('hovered') == ''                                   # what is read at first is nobody's doing
    o.page.click('.ds-nav button >> text=Next')
    o.reads('A:7')
    until(lambda: o.map.data('hovered'), 'A:7')
    o.page.click('.ds-nav button >> text=Next')
    o.reads('A:9 B:6')
    until(lambda: (o.map.data('hovered'), o.map.data('partner')), ('A:9', 'B:6'))
    o.page.click('.ds-nav button >> text=Previous')
    o.page.click('.ds-nav button >> text=Previous')
    o.reads('A:3 B:5')
    until(lambda: o.map.data('hovered'), 'A:3')
    o.page.locator('.ds-partners .ds-go').nth(1).hover()
    until(lambda: o.map.data('hovered'), 'B:6')
    o.page.mouse.move(3, 3)
    until(lambda: o.map.data('hovered'), '')
    o.page.wait_for_timeout(300)
    told = o.page.evaluate('told')
    assert [m['spots'] for m in told if m['kind'] == 'read'] == [[['A', 7]], [['A', 9], ['B', 6]], [['A', 7]], [['A', 3], ['B', 5]]]
    assert o.map.pins() == 'pinned 0' and o.entry == 'A:3 B:5'

def test_keys_go_to_the_one_that_has_the_focus(both):
    o = both()
    o.map.plot('A').focus()
    for key in ('j', 'ArrowRight', 'r'): o.page.keyboard.press(key)
    o.page.wait_for_timeout(200)
    assert o.entry == 'A:3 B:5'
    o.page.evaluate('document.activeElement.blur()')
    o.page.keyboard.press('j')                                           # the page's own: of the only dashboard in it
    o.reads('A:7')

def test_a_page_of_map_and_dashboard_opened_again_is_as_it_was_left(both, offline_page):
    o = both()
    where = dict(places=o.map.places, ids=o.map.ids)
    o.map.pin('A', 9)
    o.reads('A:9 B:6')
    until(lambda: len(re.findall(r'(?:[#&])[12]=', o.page.evaluate('location.hash'))), 2)
    o.page.wait_for_timeout(300)
    address = o.page.evaluate('location.href')
    for page in (o.page, offline_page(viewport=dict(width=1100, height=1900))):
        page.reload() if page is o.page else page.goto(address)
        again = Both(page, where)
        assert again.entry == 'A:9 B:6' and again.map.pins() == 'pinned 1' and again.map.data('hovered') == 'A:9' and page.problems == []

def test_a_frame_of_map_and_dashboard_keeps_its_height_and_stays_linked(offline_page, tmp_path):
    (w, where), d = map_of_board(), board()
    link(w, d)
    page = offline_page(viewport=dict(width=1100, height=2200))
    frame = framed(page, tmp_path, ('sandbox="allow-scripts" style="width:1050px; height:2100px"', ''), save_together(tmp_path/'two.html', w, d).read_text(encoding='utf-8'))
    o = Both(page, where, frame)
    o.map.pin('A', 9)
    o.reads('A:9 B:6')
    high = 'Math.ceil(document.getElementById("featgeom").getBoundingClientRect().height)'
    until(lambda: page.evaluate('window.heights.at(-1)?.height') == frame.evaluate(high), True)
    assert page.problems == []

def test_hostile_messages_leave_the_dashboard_where_it_is(both):
    o = both()
    key = json.loads(o.page.text_content('#state2'))['link']
    o.page.evaluate(HARM, [key, HOSTILE])
    o.page.wait_for_timeout(300)
    assert o.entry == 'A:3 B:5' and o.map.data('hovered') == '' and o.page.evaluate('window.hit') is None
    o.map.pin('A', 9)
    o.reads('A:9 B:6')
