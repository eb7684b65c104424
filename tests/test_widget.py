"The base of all widgets: container, bundle, page and display rule in Python; both hosts in a real browser."
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote
from xml.dom import minidom
import base64, gzip, json, re, sys, types, warnings

import anywidget, numpy as np, pytest, traitlets
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp

from featgeom.core import FeatgeomError
from featgeom.widget import Widget, built, display_mode, pack, svg_text, unpack
from test_js import node, run  # noqa: F401 (a fixture)

JS = Path(__file__).parent/'js'
STATIC = Path(__file__).parents[1]/'featgeom'/'static'
DTYPES = 'bool int8 uint8 int16 uint16 int32 uint32 int64 uint64 float32 float64'.split()
HOSTILE = ['</script><img src=x onerror="window.hit=1">', '<!-- <script>', '"><svg onload=window.hit=1>', "javascript:window.hit=1", 'a\0b', '🦊👩‍👩‍👧',
           'שלום \u202egnp.exe', '&lt;b&gt; &amp;', ']]>', '\u2028\u2029', '\ud83e', '$& $1 ${x} \\u003c', '```', 'x' * 10000]

class Bars(Widget):
    "The example of the notebook."
    _module, _height = 'example.js', 230
    selected = traitlets.List(traitlets.Int()).tag(sync=True)

def bars(labels=('one', 'two', 'three'), title='Three bars', **kwargs):
    heights = np.arange(1, len(labels)+1, dtype=np.float32)
    return Bars(payload=pack({'height': heights}, {'labels': list(labels), 'title': title}), **kwargs)

# ---- the container

def corpus():
    "One container that Python and node both read: every dtype, empty and scalar shapes, hostile text."
    rng = np.random.default_rng(0)
    arrays = {}
    for i, dtype in enumerate(DTYPES):
        info = None if dtype == 'bool' or 'float' in dtype else np.iinfo(dtype)
        if info is None: arrays[dtype] = (rng.normal(size=(i+1, 3)) > 0) if dtype == 'bool' else rng.normal(size=(2, i)).astype(dtype)
        else: arrays[dtype] = np.array([info.min, info.max, 0, 1, *rng.integers(0, 100, i)], dtype)
    arrays.update(empty=np.zeros((0, 4), np.float32), scalar=np.array(2.5), fortran=np.asfortranarray(np.arange(6, dtype=np.uint8).reshape(2, 3)))
    return arrays, {'labels': HOSTILE, 'nested': {'a': [1, 2.5, None, True]}}

def write_corpus():
    "Write tests/js/corpus.bin and corpus.json: python tests/test_widget.py"
    arrays, meta = corpus()
    values = {n: dict(dtype=a.dtype.name, shape=a.shape, values=[str(o) if a.dtype.itemsize == 8 and a.dtype.kind in 'iu' else o for o in a.ravel().tolist()])
              for n, a in arrays.items()}
    (JS/'corpus.bin').write_bytes(pack(arrays, meta))
    (JS/'corpus.json').write_text(json.dumps(dict(arrays=values, meta=meta)) + '\n')

def same(a, b):
    assert list(a) == list(b)
    for name in a:
        assert (a[name].dtype, a[name].shape) == (b[name].dtype, b[name].shape), name
        np.testing.assert_array_equal(a[name], b[name])

def test_the_corpus_that_node_reads_is_what_python_packs():
    arrays, meta = corpus()
    stored = (JS/'corpus.bin').read_bytes()
    same(unpack(stored)[0], arrays)
    assert unpack(stored)[1] == meta
    assert gzip.decompress(stored) == gzip.decompress(pack(arrays, meta)), 'run python tests/test_widget.py'

@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(max_size=8), hnp.arrays(st.sampled_from(DTYPES), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)), max_size=4),
       st.dictionaries(st.text(max_size=5), st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda o: st.lists(o, max_size=3)), max_size=3))
def test_round_trip(arrays, meta):
    data = pack(arrays, meta)
    again, meta_again = unpack(data)
    same(again, arrays)
    assert meta_again == meta and pack(arrays, meta) == data

def test_big_endian_and_strided_arrays_keep_their_values():
    a = np.arange(20, dtype='>i4').reshape(4, 5)[::2, ::-1]
    np.testing.assert_array_equal(unpack(pack({'a': a}))[0]['a'], a)

def test_layout_is_the_documented_one():
    raw = gzip.decompress(pack({'a': np.array([1, 2, 3], np.uint8), 'b': np.array([7.5])}, {'k': 1}))
    length = int.from_bytes(raw[4:8], 'little')
    header = json.loads(raw[8:8+length])
    assert raw[:4] == b'FGB1' and header['meta'] == {'k': 1}
    assert header['arrays'] == [dict(name='a', dtype='uint8', shape=[3], offset=0), dict(name='b', dtype='float64', shape=[1], offset=8)]
    start = -(-(8 + length) // 8) * 8
    assert raw[start:start+3] == b'\1\2\3' and np.frombuffer(raw[start+8:start+16], '<f8')[0] == 7.5 and len(raw) == start + 16

def test_the_gzip_header_holds_no_time_and_no_machine():
    data = pack({'a': np.arange(3)})
    assert data[4:8] == b'\0\0\0\0' and data[9] == 255

@pytest.mark.parametrize('bad', [np.array(['x']), np.array([object()]), np.zeros(2, np.float16), np.zeros(2, complex), np.array(['2020-01-01'], 'M8[D]')],
                         ids=lambda a: a.dtype.name)
def test_pack_refuses_what_a_browser_cannot_hold(bad):
    with pytest.raises(FeatgeomError, match="Array 'bad' has dtype"): pack({'bad': bad})

@pytest.mark.parametrize('meta', [{'x': float('nan')}, {'x': np.float32(1)}, {'x': {1, 2}}, {'x': b'bytes'}], ids=['nan', 'numpy', 'set', 'bytes'])
def test_pack_refuses_meta_that_is_not_json(meta):
    with pytest.raises(FeatgeomError, match='not JSON'): pack({}, meta)

def test_pack_refuses_what_no_reader_takes(monkeypatch):
    monkeypatch.setattr('featgeom.widget._LIMIT', 1000)
    with pytest.raises(FeatgeomError, match='At most 1,000'): pack({'x': np.zeros(1000, np.uint8)})
    with pytest.raises(FeatgeomError, match='more than 1,000'): unpack(gzip.compress(bytes(2000)))

def test_every_damaged_byte_is_seen():
    data = pack({'a': np.arange(50)}, {'labels': HOSTILE[:4]})
    for i in set(range(len(data))) - {4, 5, 6, 7, 8, 9}:   # time, flags and system in the gzip header carry no data
        broken = bytearray(data)
        broken[i] ^= 0x55
        with pytest.raises(FeatgeomError, match='damaged'): unpack(broken)
    for n in range(0, len(data), 7):
        with pytest.raises(FeatgeomError, match='damaged'): unpack(data[:n])
    with pytest.raises(FeatgeomError, match='damaged'): unpack(data + b'tail')

@pytest.mark.parametrize('entry', [dict(shape=[9]), dict(shape=[2**62, 2**62]), dict(shape=[-1]), dict(shape=None), dict(offset=-8), dict(offset=8), dict(offset=1),
                                   dict(offset=None), dict(dtype='float16'), dict(dtype='O'), dict(dtype=[1]), dict(shape=[1.5]), dict(shape=[True])], ids=str)
def test_headers_that_lie_are_refused(entry):
    header = json.dumps({'arrays': [dict(dict(name='x', dtype='uint8', shape=[4], offset=0), **entry)], 'meta': {}}).encode()
    head = b'FGB1' + len(header).to_bytes(4, 'little') + header
    with pytest.raises(FeatgeomError, match='damaged'): unpack(gzip.compress(head + bytes(-len(head) % 8) + bytes(8)))

# ---- the built code

@pytest.fixture
def module(tmp_path, node):
    "Build a renderer beside which files may lie; what it imports as ./kit.js is ours."
    def build(code, **files):
        for name, text in dict(files, main=code).items(): (tmp_path/f'{name}.js').write_text(text.replace('"./kit.js"', json.dumps(str(STATIC/'kit.js'))))
        run(node, 'build.mjs', str(tmp_path/'built'), str(tmp_path/'main.js'))
        return tmp_path/'built'/'main.js'
    return build

def test_built_names_what_there_is(tmp_path):
    with pytest.raises(FeatgeomError, match='No built renderer exmaple.js.*nearest: example.js'): built('exmaple.js')
    with pytest.raises(FeatgeomError, match='No built renderer none.js'): built(tmp_path/'none.js')
    assert built('example.js').startswith('var') and '.fg-bar' in built('example.js', 'css')

def test_styles_of_every_file_come_in_the_order_of_need(module, tmp_path):
    for i, name in enumerate(('main', 'b', 'stranger')): (tmp_path/f'{name}.css').write_text(f'.featgeom .{name} {{ top: {i}px; }}\n')
    path = module('import { a } from "./a.js";\nexport function mount(el) { el.title = a; }\n', a='import { b } from "./b.js";\nexport const a = b;\n', b='export const b = String(1);\n')
    class Probe(Widget): _module = path
    css = Probe()._css
    assert css.count('--fg-bg: #ffffff') == 1 and css.index('--fg-bg') < css.index('.b{') < css.index('.main{') and 'stranger' not in css

# ---- the page

class Reader(HTMLParser):
    "Tags, and the text of script and title elements, as a parser sees them."
    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.comments = [], {}, 0
        self.feed(text)
    def handle_starttag(self, tag, attrs): self.tags.append((tag, dict(attrs)))
    def handle_comment(self, data): self.comments += 1
    def handle_data(self, data):
        if self.tags: self.texts.setdefault((self.tags[-1][0], self.tags[-1][1].get('id')), []).append(data)

def test_a_page_with_hostile_labels_parses_to_the_same_page():
    good, bad = bars(), bars(HOSTILE, title=HOSTILE[0])
    bad.add_traits(note=traitlets.Unicode(HOSTILE[0]).tag(sync=True))
    a, b = Reader(good.page()), Reader(bad.page(title=HOSTILE[0] + '\ud800'))
    assert [t for t, _ in a.tags] == [t for t, _ in b.tags] and b.comments == 0
    assert not [attrs for _, attrs in b.tags if any(k.startswith('on') or k in ('src', 'href') for k in attrs)]
    state = json.loads(''.join(b.texts['script', 'state']))
    assert state == {'link': '', 'selected': [], 'note': HOSTILE[0]}
    assert unpack(base64.b64decode(''.join(b.texts['script', 'payload'])))[1]['labels'] == HOSTILE

def test_state_holds_the_subclass_traits_and_nothing_of_the_notebook():
    w = bars(selected=[2])
    assert json.loads(''.join(Reader(w.page()).texts['script', 'state'])) == {'link': '', 'selected': [2]}

def test_save(tmp_path):
    w, path = bars(), tmp_path/'ü page.html'
    assert w.save(path) == path and path.read_text(encoding='utf-8') == w.page() and w.page() == w.page()
    with pytest.raises(FeatgeomError, match='No folder'): w.save(tmp_path/'none'/'x.html')
    with pytest.raises(FeatgeomError, match='pass a larger max_mb'): w.save(path, max_mb=0.001)
    assert path.read_text(encoding='utf-8') == w.page()

def test_save_with_its_data_beside_it(tmp_path, monkeypatch):
    w, path = bars(HOSTILE), tmp_path/'map.html'
    assert w.save(path, sidecar=True) == path and sorted(o.name for o in tmp_path.iterdir()) == ['map.data.js', 'map.html']
    text, script = path.read_text(encoding='utf-8'), (tmp_path/'map.data.js').read_text(encoding='ascii')
    first = Reader(text)
    assert json.loads(''.join(first.texts['script', 'payload']))['file'] == 'map.data.js' and len(text) < len(w.page())
    assert unpack(base64.b64decode(re.search('"data":"([^"]*)"', script)[1]))[1]['labels'] == HOSTILE
    w.save(path, sidecar=True)
    assert path.read_text(encoding='utf-8') == text and (tmp_path/'map.data.js').read_text(encoding='ascii') == script
    loaders = [attrs for tag, attrs in first.tags if tag == 'script' and 'src' in attrs]
    policy = next(attrs['content'] for tag, attrs in first.tags if attrs.get('http-equiv') == 'Content-Security-Policy')
    assert len(loaders) == 1 and f"'nonce-{loaders[0]['nonce']}'" in policy and 'self' not in policy and 'file:' not in policy
    assert 'nonce' not in w.page() and bars().page() != w.page()

def test_the_way_out_of_a_large_page_is_a_sidecar(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, 9_000_000).astype(np.uint8)
    w = Bars(payload=pack({'height': noise}, {}))
    with pytest.raises(FeatgeomError, match=r'page of 12\.. MB.*sidecar=True.*max_mb'): w.save(tmp_path/'map.html')
    assert not list(tmp_path.iterdir())
    w.save(tmp_path/'map.html', sidecar=True)
    assert (tmp_path/'map.html').stat().st_size < 100_000 and (tmp_path/'map.data.js').stat().st_size > 12e6
    with pytest.raises(FeatgeomError, match=r'page of 0\..*labels, or pass a larger max_mb'): w.save(tmp_path/'map.html', sidecar=True, max_mb=.001)

@pytest.mark.parametrize('sidecar', [False, True])
def test_save_refuses_paths_that_cannot_be(tmp_path, sidecar):
    for bad in (tmp_path, '', 'a\0b', tmp_path/('x'*300 + '.html'), tmp_path/'none'/'x.html', None):
        with pytest.raises(FeatgeomError): bars().save(bad, sidecar=sidecar)
    with pytest.raises(FeatgeomError): bars().save(tmp_path/('x'*248 + '.html'), sidecar=True)   # the sidecar's name is longer
    assert not list(tmp_path.iterdir())

# ---- what a cell shows

@pytest.fixture
def shell(monkeypatch):
    "Pretend to run under this IPython shell."
    def pretend(shell): monkeypatch.setattr('IPython.get_ipython', lambda: shell)
    monkeypatch.delenv('FEATGEOM_DISPLAY', raising=False)
    return pretend

KERNEL = types.SimpleNamespace(kernel=types.SimpleNamespace(comm_manager=object()))

def test_display_rule(shell, monkeypatch):
    shell(None)
    assert display_mode() == 'html'                                     # a script
    shell(types.SimpleNamespace())
    assert display_mode() == 'html'                                     # a shell without a kernel: terminal, execnb
    shell(types.SimpleNamespace(kernel=types.SimpleNamespace()))
    assert display_mode() == 'html'                                     # a kernel without comms
    shell(KERNEL)
    assert display_mode() == 'widget'
    monkeypatch.setattr(sys, 'platform', 'emscripten')
    assert display_mode() == 'html'                                     # a kernel in the browser
    monkeypatch.setitem(sys.modules, 'marimo', types.SimpleNamespace(running_in_notebook=lambda: True))
    assert display_mode() == 'widget'                                   # marimo hosts widgets itself, in the browser too
    monkeypatch.setenv('FEATGEOM_DISPLAY', 'html')
    assert display_mode() == 'html'                                     # and the variable always wins
    shell(None)
    monkeypatch.setenv('FEATGEOM_DISPLAY', 'widget')
    assert display_mode() == 'widget'
    for wrong in ('HTML', '', 'live'):
        monkeypatch.setenv('FEATGEOM_DISPLAY', wrong)
        with pytest.raises(FeatgeomError, match='auto, html or widget'): display_mode()
        with pytest.raises(FeatgeomError, match='auto, html or widget'): bars()._repr_mimebundle_()

def test_a_cell_shows_one_form_and_never_both(monkeypatch):
    w = bars(HOSTILE, HOSTILE[0])
    monkeypatch.setenv('FEATGEOM_DISPLAY', 'widget')
    data, _ = w._repr_mimebundle_()
    assert set(data) == {'application/vnd.jupyter.widget-view+json', 'image/svg+xml', 'text/plain'}
    assert data['text/plain'] == repr(w) and minidom.parseString(data['image/svg+xml'])
    monkeypatch.setenv('FEATGEOM_DISPLAY', 'html')
    data, _ = w._repr_mimebundle_()
    assert set(data) == {'text/html', 'text/plain'}
    (tag, attrs), = Reader(data['text/html']).tags
    assert tag == 'iframe' and attrs['srcdoc'] == w.page() and attrs['height'] == '230'

def test_a_large_output_warns(monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, 5_000_000).astype(np.uint8)
    w = Bars(payload=pack({'height': noise}, {}))
    monkeypatch.setenv('FEATGEOM_DISPLAY', 'html')
    with pytest.warns(UserWarning, match='MB in one output'): w._repr_mimebundle_()
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        bars()._repr_mimebundle_()

def test_svg_text_is_xml_for_any_text():
    for text in HOSTILE: assert minidom.parseString(f'<svg><text title="{svg_text(text)}">{svg_text(text)}</text></svg>')
    assert svg_text('x' * 100, 10) == 'x' * 9 + '…'

def test_live_code_travels_inside_the_widget():
    w = bars()
    assert w._esm == built('example.js') and '.fg-bar' in w._css and '--fg-text' in w._css
    assert isinstance(w, anywidget.AnyWidget) and w.get_state()['payload'] == w.payload
    assert len(w._esm.encode()) < 20_000

# ---- colours

def luminance(colour):
    c = np.array([int(colour[i:i+2], 16) for i in (1, 3, 5)]) / 255
    return np.where(c <= .03928, c/12.92, ((c+.055)/1.055)**2.4) @ [.2126, .7152, .0722]

def contrast(a, b):
    x, y = sorted([luminance(a), luminance(b)])
    return (y + .05) / (x + .05)

@pytest.mark.parametrize('theme', ['light', 'dark'])
def test_contrast(theme):
    css = (STATIC/'kit.css').read_text()
    light, dark = [dict(re.findall(r'--fg-([\w-]+): (#\w{6});', part)) for part in re.findall(r'\{([^}]*color-scheme[^}]*)\}', css)]
    c = light if theme == 'light' else dark
    assert set(light) == set(dark) and len(c) >= 10
    for ground in (c['bg'], c['panel']):
        for text in 'text muted accent second error'.split(): assert contrast(c[text], ground) >= 4.5, (text, ground)
        for mark in 'edge mark-edge'.split(): assert contrast(c[mark], ground) >= 3, (mark, ground)

# ---- the saved page in a browser

READY = '.featgeom[data-state=ready]'

def test_saved_page_draws_and_answers_without_network(tmp_path, offline_page):
    page = offline_page(bars(selected=[1]).save(tmp_path/'bars.html', title='Bars'))
    page.wait_for_selector(READY)
    assert page.title() == 'Bars' and page.inner_text('h2') == 'Three bars'
    heights = page.eval_on_selector_all('.fg-bar', 'bars => bars.map(b => b.offsetHeight)')
    assert heights == [33, 67, 100]
    assert page.inner_text('p.fg-text') == 'two: 2'
    page.click('.fg-bar >> nth=2')
    assert page.inner_text('p.fg-text') == 'three: 3' and page.get_attribute('.fg-bar >> nth=2', 'aria-pressed') == 'true'
    ask = page.locator('text=Ask Python')
    assert ask.is_disabled() and ask.get_attribute('title') == 'needs a running kernel'
    assert page.problems == []

@pytest.mark.parametrize('theme', ['light', 'dark'])
def test_saved_page_follows_the_system(tmp_path, offline_page, theme):
    page = offline_page(bars().save(tmp_path/'bars.html'), color_scheme=theme)
    page.wait_for_selector(READY)
    look = '(s) => { const c = getComputedStyle(document.querySelector(s)); return [c.backgroundColor, c.color]; }'
    ground, ink = page.evaluate(look, READY)
    assert page.evaluate(look, 'html')[0] == ground
    dark_ground, dark_ink = ('rgb(22, 24, 28)', 'rgb(232, 234, 238)')
    assert ((ground, ink) == (dark_ground, dark_ink)) == (theme == 'dark')
    other = 'light' if theme == 'dark' else 'dark'
    page.emulate_media(color_scheme=other)
    page.wait_for_selector(f'{READY}[data-theme={other}]')
    assert page.evaluate(look, READY)[0] != ground

def test_hostile_text_is_text(tmp_path, offline_page):
    page = offline_page(bars(HOSTILE, HOSTILE[0], selected=[0]).save(tmp_path/'bars.html', title=HOSTILE[0]))
    page.wait_for_selector(READY)
    assert page.title() == HOSTILE[0] and page.inner_text('h2') == HOSTILE[0]
    for i, label in enumerate(HOSTILE):
        page.click(f'.fg-bar >> nth={i}')
        said = page.text_content('p.fg-text')
        if i in (0, 1, 2, 3, 5, 7, 8, 9, 11, 12): assert said == f'{label}: {i+1}'
        elif len(label) > 1000: assert said == 'x' * 199 + f'…: {i+1}'
        else: assert said == {4: 'a␀b: 5', 6: 'שלום ⟨U+202E⟩gnp.exe: 7', 10: '⟨U+D83E⟩: 11'}[i]
    assert page.evaluate('window.hit') is None and page.locator('img, svg, iframe').count() == 0
    assert page.problems == []

def test_a_page_forbids_foreign_code_and_the_network(tmp_path, offline_page):
    page = offline_page(bars().save(tmp_path/'bars.html'))
    page.wait_for_selector(READY)
    page.evaluate('''() => {
        const box = document.createElement("div");
        box["inner" + "HTML"] = '<img src="data:," onerror="window.hit = 1"><img src="http://featgeom.invalid/x.png">';
        const script = document.createElement("script");
        script.textContent = "window.hit = 2";
        document.body.append(box, script);
    }''')
    assert page.evaluate('fetch("http://featgeom.invalid/").then(() => "sent", () => "refused")') == 'refused'
    page.wait_for_timeout(100)
    assert page.evaluate('window.hit') is None
    assert len([o for o in page.problems if 'Content Security Policy' in o]) >= 4

def framed(page, tmp_path, frame_attributes, html):
    "A page that holds a saved page in a frame, on its own dark or light ground."
    from html import escape
    path = tmp_path/'outer.html'
    path.write_text(f'<!doctype html><meta charset="utf-8"><body {frame_attributes[1]}><iframe {frame_attributes[0]} width="400" height="50" srcdoc="{escape(html)}"></iframe>'
                    '<script>window.heights = []; addEventListener("message", e => heights.push(e.data));</script>', encoding='utf-8')
    page.goto(path.as_uri())
    frame = page.frames[1]
    frame.wait_for_selector(READY)
    return frame

def test_a_page_works_inside_a_sandbox(tmp_path, offline_page):
    page = offline_page()
    frame = framed(page, tmp_path, ('sandbox="allow-scripts"', ''), bars().page())
    frame.click('.fg-bar >> nth=1')
    assert frame.inner_text('p.fg-text') == 'two: 2'
    page.wait_for_function('window.heights.length')
    message = page.evaluate('window.heights.at(-1)')
    assert message['type'] == 'featgeom:height' and abs(message['height'] - frame.evaluate('document.getElementById("featgeom").offsetHeight')) <= 1
    assert page.problems == []

@pytest.mark.parametrize('mark, theme', [('data-jp-theme-light="false"', 'dark'), ('data-jp-theme-light="true"', 'light'), ('data-vscode-theme-kind="vscode-dark"', 'dark')])
def test_a_frame_takes_its_height_and_the_notebooks_theme(tmp_path, offline_page, mark, theme):
    page = offline_page(color_scheme='light' if theme == 'dark' else 'dark')
    frame = framed(page, tmp_path, ('', mark), bars().page())
    assert frame.get_attribute(READY, 'data-theme') == theme
    page.wait_for_function('document.querySelector("iframe").offsetHeight > 100')
    inside = frame.evaluate('document.documentElement.scrollHeight')
    height = page.evaluate('document.querySelector("iframe").clientHeight')
    page.wait_for_timeout(400)
    assert page.evaluate('document.querySelector("iframe").clientHeight') == height and abs(inside - height) <= 1   # it settles
    assert page.problems == []

def test_a_frame_follows_a_notebook_that_changes_its_theme(tmp_path, offline_page):
    page = offline_page()
    frame = framed(page, tmp_path, ('', 'data-jp-theme-light="true"'), bars().page())
    assert frame.get_attribute(READY, 'data-theme') == 'light'
    page.evaluate('document.body.setAttribute("data-jp-theme-light", "false")')
    frame.wait_for_selector(f'{READY}[data-theme=dark]')

def test_an_exported_notebook_still_draws(tmp_path, offline_page, monkeypatch):
    nbformat, nbconvert = pytest.importorskip('nbformat.v4'), pytest.importorskip('nbconvert')
    monkeypatch.setenv('FEATGEOM_DISPLAY', 'html')
    output = nbformat.new_output('execute_result', bars(HOSTILE[:3])._repr_mimebundle_()[0], execution_count=1)
    notebook = nbformat.new_notebook(cells=[nbformat.new_code_cell('w', outputs=[output], execution_count=1)])
    html = nbconvert.HTMLExporter().from_notebook_node(notebook)[0]
    path = tmp_path/'notebook.html'
    path.write_text(re.sub(r'<script[^>]*\bsrc="https:[^>]*>\s*</script>', '', html), encoding='utf-8')   # what its own template fetches
    page = offline_page(path)
    frame = page.wait_for_selector('iframe[title=Bars]').content_frame()
    frame.wait_for_selector(READY)
    frame.click('.fg-bar >> nth=0')
    assert frame.inner_text('p.fg-text') == f'{HOSTILE[0]}: 1' and page.evaluate('window.hit') is None

PROBE = """import { download, el } from "./kit.js";
export function mount(root, host) {
  const say = el("output", {}, host.hash.get());
  const set = el("button", { type: "button", class: "set", onclick: () => host.hash.set('{"a": "% # é"}') }, "set");
  const save = el("button", { type: "button", class: "save", onclick: () => download("a b.csv", "id;é\\n", "text/csv", root) }, "save");
  root.append(say, set, save);
  root.dataset.mounts = String(Number(document.body.dataset.mounts ?? 0) + 1);
  document.body.dataset.mounts = root.dataset.mounts;
}
"""

def probe(path):
    class Probe(Widget): _module = path
    return Probe(payload=b'')

def test_a_pages_hash_survives_reload_and_a_pasted_link_is_followed(tmp_path, offline_page, module):
    path = probe(module(PROBE)).save(tmp_path/'probe # %.html')
    page = offline_page(path)
    page.wait_for_selector(READY)
    assert page.inner_text('output') == ''
    page.click('.set')
    assert page.evaluate('location.hash') == '#%7B%22a%22%3A%20%22%25%20%23%20%C3%A9%22%7D' and page.evaluate('document.body.dataset.mounts') == '1'
    page.reload()
    page.wait_for_selector(READY)
    assert page.inner_text('output') == '{"a": "% # é"}' and page.evaluate('document.body.dataset.mounts') == '1'
    page.evaluate('location.hash = "#other"')                            # in the address bar, or by a link
    page.wait_for_selector(f'{READY} [data-mounts="2"]')
    assert page.inner_text('output') == 'other' and page.locator('.featgeom output').count() == 1
    page.evaluate('location.hash = "#%"')
    page.wait_for_selector(f'{READY} [data-mounts="3"]')
    assert page.inner_text('output') == '' and page.problems == []

def test_a_page_hands_out_files(tmp_path, offline_page, module):
    page = offline_page(probe(module(PROBE)).save(tmp_path/'probe.html'), accept_downloads=True)
    page.wait_for_selector(READY)
    with page.expect_download() as got: page.click('.save')
    assert got.value.suggested_filename == 'a b.csv' and Path(got.value.path()).read_text(encoding='utf-8') == 'id;é\n'
    assert page.locator('.fg-file').count() == 0 and page.problems == []

def test_a_frame_of_a_notebook_leaves_addresses_alone(tmp_path, offline_page, module):
    page = offline_page()
    frame = framed(page, tmp_path, ('', ''), probe(module(PROBE)).page())
    before = page.evaluate('[location.href, history.length]')
    frame.click('.set')
    frame.wait_for_timeout(100)
    assert page.evaluate('[location.href, history.length]') == before and frame.evaluate('location.href') == 'about:srcdoc'
    assert page.problems == []

def test_a_sandbox_keeps_the_hash_in_memory_and_shows_the_text_of_files(tmp_path, offline_page, module):
    page = offline_page()
    frame = framed(page, tmp_path, ('sandbox="allow-scripts"', ''), probe(module(PROBE)).page())
    frame.click('.set')
    assert page.evaluate('location.hash') == ''
    for _ in range(2): frame.click('.save')
    assert frame.locator('.fg-file').count() == 1 and frame.input_value('.fg-file textarea') == 'id;é\n'
    assert frame.evaluate('getSelection().toString() || document.activeElement.tagName') in ('id;é\n', 'TEXTAREA')
    page.keyboard.press('Escape')
    assert frame.locator('.fg-file').count() == 0 and frame.evaluate('document.activeElement.className') == 'save'
    frame.click('.save')
    frame.click('text=Close')
    assert frame.locator('.fg-file').count() == 0
    assert [o for o in page.problems if 'download' not in o.lower()] == []                       # the browser says that it refused one

STEMS = ['map', 'my map', 'a "b" \'c\'', '<script>alert(1)<', '<!--', 'a#b?c&d', '100%25 %', 'é 地図 🦊', '..x', 'a\nb', 'back\\slash', '"onload="x', '$& \u202e', 'x.data',
         'byte \udcff', 'javascript:hit', '-']

@pytest.mark.parametrize('stem', STEMS, ids=lambda o: ascii(o))
def test_a_page_finds_the_data_beside_it_from_disk_without_network(tmp_path, offline_page, stem):
    path = bars(HOSTILE[:3]).save(tmp_path/f'{stem}.html', sidecar=True)
    page = offline_page()
    page.goto('file://' + ''.join(f'%{o:02X}' for o in str(path).encode('utf-8', 'surrogateescape')).replace('%2F', '/'))
    page.wait_for_selector(READY)
    page.click('.fg-bar >> nth=0')
    assert page.inner_text('p.fg-text') == f'{HOSTILE[0]}: 1'
    assert page.evaluate('[window.hit, window.featgeomData]') == [None, None] and page.problems == []

def with_sidecar(folder, harm):
    "A saved page whose sidecar was harmed: `harm` turns its text and that of another page's sidecar into the new text, None removes it."
    path, other = bars().save(folder/'map.html', sidecar=True), bars(['other', 'data', 'three']).save(folder/'other.html', sidecar=True)
    mine, theirs = path.with_name('map.data.js'), other.with_name('other.data.js')
    if harm: mine.write_text(harm(mine.read_text(), theirs.read_text()))
    else: mine.unlink()
    return path

def part(script, key): return re.search(f'"{key}":"([^"]*)"', script)[1]
def flip(text, at): return text[:at] + ('A' if text[at] != 'A' else 'B') + text[at+1:]
HARMS = dict(
    missing=(None, 'is not beside it'), cut=(lambda mine, _: mine[:-40], 'is not whole'), foreign=(lambda _, theirs: theirs, 'belongs to another page'),
    odd=(lambda *_: 'globalThis.featgeomData = 3;', 'belongs to another page'),
    shorter=(lambda mine, _: mine.replace(part(mine, 'data'), part(mine, 'data')[:160]), 'is damaged'),
    lying=(lambda mine, theirs: theirs.replace(part(theirs, 'sha256'), part(mine, 'sha256')), 'is damaged'),
    changed=(lambda mine, _: mine.replace(part(mine, 'data'), flip(part(mine, 'data'), 60)), 'is damaged'))

@pytest.mark.parametrize('crypto, harm', [*[(True, o) for o in HARMS], *[(False, o) for o in HARMS if o != 'lying']])
def test_a_page_says_what_is_wrong_with_its_sidecar(tmp_path, offline_page, crypto, harm):
    page = offline_page(fresh=not crypto)
    if not crypto: page.add_init_script('Object.defineProperty(crypto, "subtle", { value: undefined })')   # as on http
    page.goto(with_sidecar(tmp_path, HARMS[harm][0]).as_uri())
    page.wait_for_selector('.featgeom[data-state=error]')
    message = page.inner_text('[role=alert]')
    if crypto or harm != 'changed': assert HARMS[harm][1] in message and 'map.data.js' in message and 'same folder' in message
    else: assert 'does not unzip' in message                             # the CRC inside the data
    assert page.evaluate('window.featgeomData') is None

def test_the_policy_allows_the_sidecar_and_no_other_script(tmp_path, offline_page):
    path = bars().save(tmp_path/'map.html', sidecar=True)
    (tmp_path/'other.js').write_text('window.hit = 1;')
    page = offline_page(path)
    page.wait_for_selector(READY)
    page.evaluate('''() => {
        for (const attributes of [{ src: "./other.js" }, { src: "./map.data.js" }, { textContent: "window.hit = 2" }])
            document.body.append(Object.assign(document.createElement("script"), attributes));
    }''')
    page.wait_for_timeout(200)
    assert page.evaluate('[window.hit, window.featgeomData]') == [None, None]
    assert len([o for o in page.problems if 'Content Security Policy' in o]) == 3

def test_a_sidecar_on_a_server_and_in_a_sandboxed_frame(tmp_path, offline_page):
    bars().save(tmp_path/'my map.html', sidecar=True)
    (tmp_path/'outer.html').write_text('<!doctype html><iframe sandbox="allow-scripts" src="my%20map.html" width="400" height="300"></iframe>')
    page = offline_page()
    page.route('http://docs.invalid/**', lambda route: route.fulfill(path=tmp_path/unquote(route.request.url.rsplit('/', 1)[1])))
    page.goto('http://docs.invalid/outer.html')                          # no TLS: no crypto.subtle either
    page.frames[1].wait_for_selector(READY)
    page.frames[1].click('.fg-bar >> nth=1')
    assert page.frames[1].inner_text('p.fg-text') == 'two: 2' and page.problems == []

@pytest.mark.parametrize('damage, says', [(lambda t: re.sub(r'(id="payload">[^<]{40})[^<]', r'\1A' if t[t.index('id="payload">')+53] != 'A' else r'\1B', t), 'does not unzip'),
                                          (lambda t: re.sub(r'(id="payload">[^<]{40})[^<]*', r'\1', t), 'damaged'),
                                          (lambda t: re.sub(r'(id="payload">)[^<]*', r'\1', t), 'damaged'),
                                          (lambda t: re.sub(r'(id="payload">)[^<]*', r'\1%%%', t), 'not base64'),
                                          (lambda t: t.replace('<script type="application/json" id="state">{', '<script type="application/json" id="state">'), 'JSON')],
                         ids=['byte', 'cut', 'empty', 'not base64', 'state'])
def test_a_damaged_page_says_so(tmp_path, offline_page, damage, says):
    path = bars().save(tmp_path/'bars.html')
    text = path.read_text(encoding='utf-8')
    path.write_text(damage(text), encoding='utf-8')
    assert path.read_text(encoding='utf-8') != text
    page = offline_page(path)
    page.wait_for_selector('.featgeom[data-state=error]')
    message = page.inner_text('[role=alert]')
    assert message.startswith('This figure cannot be drawn.') and says in message and 'Save the page again' in message

def test_a_page_without_javascript_says_so(tmp_path, offline_page):
    page = offline_page(bars().save(tmp_path/'bars.html'), java_script_enabled=False)
    assert 'This figure is drawn by JavaScript' in page.content()

# ---- the live host in a browser, over a model as notebooks have it

MODEL = '''async ([esm, css, base64, form]) => {
    const bytes = Uint8Array.from(atob(base64), c => c.charCodeAt(0));
    const wide = new Uint8Array(bytes.length + 8); wide.set(bytes, 8);
    const forms = { DataView: new DataView(wide.buffer, 8), Uint8Array: wide.subarray(8), ArrayBuffer: bytes.buffer, base64 };
    const state = { payload: forms[form], selected: [] }, listeners = [], log = [];
    const model = {
        get: k => state[k], send: (...a) => log.push(["send", a[0]]), save_changes: () => log.push(["save", state.selected]),
        set(k, v) { state[k] = v; for (const [e, f] of [...listeners]) if (e === "change:" + k) f(); },
        on: (e, f) => listeners.push([e, f]), off: (e, f) => listeners.splice(listeners.findIndex(([a, b]) => a === e && b === f), 1),
    };
    const style = document.createElement("style"); style.textContent = css; document.head.append(style);
    const el = document.createElement("div"); document.body.append(el);
    const module = await import(URL.createObjectURL(new Blob([esm], { type: "text/javascript" })));
    const cleanup = await module.default.render({ model, el });
    Object.assign(window, { model, log, listeners, cleanup, el });
}'''

@pytest.mark.parametrize('form', ['DataView', 'Uint8Array', 'ArrayBuffer', 'base64'])
def test_live_view_over_a_model(offline_page, form):
    page, w = offline_page(), bars(HOSTILE[:4], 'Live')
    send = lambda o: base64.b64encode(o).decode()
    page.evaluate(MODEL, [w._esm, w._css, send(w.payload), form])
    page.wait_for_selector(READY)
    page.click('.fg-bar >> nth=0')
    assert page.evaluate('log') == [['save', [0]]] and page.inner_text('p.fg-text') == f'{HOSTILE[0]}: 1'
    page.evaluate('model.set("selected", [3])')                          # Python selects
    assert page.inner_text('p.fg-text') == f'{HOSTILE[3]}: 4'
    page.click('text=Ask Python')
    assert page.evaluate('log.at(-1)') == ['send', {'ask': 'more'}]
    again = bars(['new', 'data'], 'Again')
    page.evaluate('b => model.set("payload", Uint8Array.from(atob(b), c => c.charCodeAt(0)))', send(again.payload))
    page.wait_for_selector(f'{READY} >> text=Again')
    assert page.locator('.fg-bar').count() == 2 and page.evaluate('listeners.length') == 3
    page.evaluate('model.set("payload", new Uint8Array(3))')
    page.wait_for_selector('.featgeom[data-state=error]')
    assert 'Make the widget again in Python' in page.inner_text('[role=alert]')
    page.evaluate('b => model.set("payload", Uint8Array.from(atob(b), c => c.charCodeAt(0)))', send(again.payload))
    page.wait_for_selector(READY)                                        # and it recovers
    page.evaluate('cleanup()')
    assert page.evaluate('[listeners.length, el.childElementCount]') == [0, 0]
    assert page.evaluate('window.hit') is None
    assert len(page.problems) == 1 and 'damaged' in page.problems[0]     # the one that was provoked

def test_a_view_removed_while_it_loads_leaves_nothing(offline_page):
    page, w = offline_page(), bars()
    code = MODEL.replace('const cleanup = await module.default.render({ model, el });', 'const cleanup = module.default.render({ model, el }); cleanup();')
    page.evaluate(code, [w._esm, w._css, base64.b64encode(w.payload).decode(), 'DataView'])
    page.wait_for_timeout(200)
    assert page.evaluate('[listeners.length, el.childElementCount]') == [0, 0] and page.problems == []

def test_what_a_failed_or_late_renderer_listens_to_ends(offline_page, module):
    page = offline_page()
    class Probe(Widget):
        _module = module('''export async function mount(root, host) {
  host.on("selected", () => { window.stumbled = true; });
  await new Promise((done) => { window.goOn = done; });
  host.on("selected", () => { window.stumbled = true; });
  throw new Error("halfway");
}
''')
    page.evaluate(MODEL, [Probe()._esm, '', '', 'DataView'])
    page.wait_for_selector('.featgeom[data-state=busy]', state='attached')
    page.wait_for_function('Boolean(window.goOn)')
    page.evaluate('cleanup(); goOn()')                                   # while it loads
    page.wait_for_timeout(100)
    assert page.evaluate('listeners.length') == 0
    page.evaluate('model.set("selected", [1])')
    assert page.evaluate('window.stumbled') is None and page.problems == []

def test_a_view_that_is_attached_later_waits_for_its_place(offline_page):
    page, w = offline_page(), bars()
    code = MODEL.replace('document.body.append(el);', '')
    page.evaluate(code, [w._esm, w._css, base64.b64encode(w.payload).decode(), 'DataView'])
    page.wait_for_timeout(100)
    assert page.evaluate('el.firstChild.dataset.state') == 'busy' and page.evaluate('listeners.length') == 1
    page.evaluate('document.body.append(el)')
    page.wait_for_selector(READY)
    page.evaluate('cleanup()')
    assert page.evaluate('listeners.length') == 0 and page.problems == []

def test_elements_hold_text_only(offline_page, module):
    page = offline_page()
    path = module('''import { el, svg } from "./kit.js";
export function mount(root) {
  root.append(el("p", { class: "a", title: "<b>", hidden: false, "data-x": null, "data-y": true }, "<b>bold</b>", 3, null, false, el("i", {}, "in")));
  root.append(svg("svg", {}, svg("text", {}, "<tspan>")));
  const refused = [{ onclick: "alert(1)" }, { ONERROR: "x" }, { srcdoc: "<p>" }].map((a) => { try { el("p", a); return "made"; } catch { return "refused"; } });
  root.append(el("output", {}, refused.join()));
}
''')
    class Probe(Widget): _module = path
    w = Probe(payload=b'')
    page.evaluate(MODEL, [w._esm, w._css, '', 'DataView'])
    page.wait_for_selector(READY)
    made = page.evaluate('(() => { const p = document.querySelector("p.a"); return [p.title, p.getAttributeNames(), p.innerText, p.childElementCount]; })()')
    assert made == ['<b>', ['class', 'title', 'data-y'], '<b>bold</b>3in', 1]
    assert page.inner_text('output') == 'refused,refused,refused'
    assert page.text_content('svg text') == '<tspan>' and page.evaluate('document.querySelector("svg").namespaceURI').endswith('svg')

if __name__ == '__main__': write_corpus()
