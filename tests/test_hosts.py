"""The linked map, and the dashboard beside it, in every host that runs here: a mock widget manager, Colab's way of showing outputs, sandboxed frames, marimo,
Notebook 7, an exported notebook. In each a hover lights the partner's pixel and a feature is read; where a kernel lives, traits reach Python and back.
JupyterLab has a file of its own. VS Code and Colab itself cannot be run here."""
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote
import base64, os, re, sys

import nbformat, pytest
from conftest import outside_folder

from test_dashboard import Page as Board, board
from test_jupyterlab import MAP, Lab, Map, eventually, free_port, guarded, jupyterlab, server, yellow
from test_link import Part, map_of_board
from test_widget import framed
from featgeom.widget import link

def linked_map(**options):
    "The map that the live hosts make from the same text; `options` of LinkedMap make another one of the same parts."
    names = {}
    exec(MAP, names)   # our own text
    return names['LinkedMap']([names['a'], names['b']], names['pairs'], **options) if options else names['w']

def sent(w):
    "What a front end gets of a widget."
    own = 'selected', 'hovered', 'pinned', 'searches', 'view', 'focus', 'bookmarks', 'notes', 'text', 'link'
    state = {k: v for k, v in w.get_state().items() if k in own}
    return dict(esm=w._esm, css=w._css, payload=base64.b64encode(w.payload).decode(), state=state)

# A model as anywidget gives it to a view. `form`: how binary state arrives; `broken`: abilities that are "missing" or "throw".
MODEL = '''async ({ esm, css, payload, state, form, lacks, how, messages }) => {
    const bytes = Uint8Array.from(atob(payload), (c) => c.charCodeAt(0));
    const wide = new Uint8Array(bytes.length + 24);
    wide.set(bytes, 16);
    const values = { ...state, payload: form === "DataView" ? new DataView(wide.buffer, 16, bytes.length) : wide.subarray(16, 16 + bytes.length) };
    const listeners = new Set(), log = [];
    const tell = (event, ...args) => { for (const [name, f] of [...listeners]) if (name === event) f(...args); };
    const model = {
        get: (key) => values[key],
        set(key, value) {
            if (JSON.stringify(values[key]) === JSON.stringify(value)) return;
            values[key] = value;
            tell(`change:${key}`, model, value);
            tell("change", model);
        },
        on(event, f) { listeners.add([event, f]); },
        off(event, f) { for (const o of [...listeners]) if (o[0] === event && o[1] === f) listeners.delete(o); },
        save_changes() { log.push(["saved", JSON.parse(JSON.stringify({ ...values, payload: undefined }))]); },
        send(content, callbacks, buffers) { log.push(["sent", content]); },
    };
    for (const name of lacks ?? []) model[name] = how === "throw" ? () => { throw new Error(`no ${name} here`); } : undefined;
    const style = document.createElement("style");
    style.textContent = css;
    document.head.append(style);
    const el = document.createElement("div");
    document.body.append(el);
    const module = await import(URL.createObjectURL(new Blob([esm], { type: "text/javascript" })));
    const cleanup = await module.default.render({ model, el });
    Object.assign(window, { model, log, listeners, cleanup, tell, el });
}'''

def python_heard(page, frame=None):
    "The state that a mock kernel got last."
    return (frame or page).evaluate('() => log.filter((o) => o[0] === "saved").at(-1)?.[1]')

# ---- a mock widget manager

LACKS = ['off', 'send', 'save_changes']

def under_any_manager(test):
    "Whole, without some abilities, or with abilities that throw; buffers of both kinds."
    how = [([], ''), (LACKS, 'missing'), (LACKS, 'throw')]
    test = pytest.mark.parametrize('lacks, how', how, ids=['whole', 'missing', 'throwing'])(test)
    return pytest.mark.parametrize('form', ['DataView', 'Uint8Array'])(test)

@under_any_manager
def test_a_widget_manager_with_and_without_gaps(offline_page, lacks, how, form):
    page = offline_page(viewport=dict(width=1200, height=900))
    page.evaluate(MODEL, dict(sent(linked_map()), form=form, lacks=lacks, how=how))
    m = Map(page)
    m.lights_partners()
    eventually(lambda: page.evaluate('model.get("hovered")'), ['B', 200])
    page.mouse.click(*m.place(0, 12))
    eventually(lambda: page.evaluate('model.get("pinned")'), [['A', 112]])
    if not lacks: eventually(lambda: python_heard(page)['pinned'], [['A', 112]])
    page.evaluate('model.set("selected", { A: [101, 106], B: [224] })')             # Python selects
    m.wait('selected', '2,1')
    page.evaluate('model.set("hovered", ["B", 207])')                               # and points
    m.wait('hovered', 'B:207')
    assert m.data('partners') == 'A:107 A:100' and yellow(m.mark(0, 0)) and yellow(m.mark(0, 7))
    page.evaluate('cleanup()')
    assert page.evaluate('el.childElementCount') == 0
    if 'off' not in lacks: assert page.evaluate('listeners.size') == 0
    page.evaluate('model.set("hovered", ["A", 100])')                               # nobody is left to stumble over it
    page.wait_for_timeout(200)
    assert page.problems == []

def test_twenty_views_come_and_go(offline_page):
    page, sending = offline_page(viewport=dict(width=1200, height=900)), sent(linked_map())
    page.evaluate(MODEL, dict(sending, form='DataView'))
    Map(page)
    code = '''async ({ esm }) => {
        const module = await import(URL.createObjectURL(new Blob([esm], { type: "text/javascript" })));
        for (let i = 0; i < 20; i++) {                                              // never shown, shown for a moment, shown in full
            const el = document.createElement("div");
            if (i % 3) document.body.append(el);
            const close = await module.default.render({ model, el });
            while (i % 3 === 2 && !el.querySelector("[data-painted]")) await new Promise(requestAnimationFrame);
            close();
            el.remove();
        }
        return listeners.size;
    }'''
    before = page.evaluate('listeners.size')
    assert page.evaluate(code, sending) == before > 0
    Map(page).lights_partners()
    assert page.problems == []

@pytest.mark.parametrize('buffers', ['[new DataView(new ArrayBuffer(8), 2, 3)]', '[new Uint8Array(3)]', '[]', 'undefined'])
def test_all_partners_are_asked_of_python_and_arrive(offline_page, buffers):
    page, w = offline_page(viewport=dict(width=1200, height=900)), linked_map(partners=1)
    page.evaluate(MODEL, dict(sent(w), form='DataView'))
    m = Map(page)
    m.hover(0, 0, 'A:100')
    assert m.data('partners') == 'B:200'                                            # the best alone travels
    page.mouse.click(*m.place(0, 0))
    page.click('button:has-text("All partners")')
    eventually(lambda: page.evaluate('log.filter(o => o[0] === "sent").map(o => o[1])'), [{'ask': 'partners', 'panel': 'A', 'id': 100}])
    page.evaluate('() => { for (const odd of [null, 3, {}, { partners: 1 }, { partners: { panel: "Z", id: 1, of: [] } }]) tell("msg:custom", odd, []); }')
    page.evaluate(f'answer => tell("msg:custom", answer, {buffers})', dict(partners=dict(panel='A', id=100, of=w._partners('A', 100))))
    m.wait('partners', 'B:200 B:207')
    assert yellow(m.mark(1, 7)) and page.problems == []

def reads_both(d):
    "Examples of the first entry are on the text of both features; the next entry is one click away, and a whole document."
    assert d.entry == 'A:3 B:5' and 'king' in d.line(0)
    d.page.locator('.ds-examples .ds-line').first.click()
    d.page.wait_for_selector('.ds-passage')
    d.click('Next')
    d.wait('A:7')

@under_any_manager
def test_a_dashboard_under_a_widget_manager_with_and_without_gaps(offline_page, lacks, how, form):
    page = offline_page(viewport=dict(width=1200, height=900))
    page.evaluate(MODEL, dict(sent(board()), form=form, lacks=lacks, how=how))
    d = Board(page)
    reads_both(d)
    eventually(lambda: page.evaluate('model.get("focus")'), [['A', 7]])
    if not lacks: eventually(lambda: python_heard(page)['focus'], [['A', 7]])
    page.click('.ds-star')
    assert page.evaluate('model.get("bookmarks")') == [[['A', 7]]]
    page.evaluate('model.set("focus", [["A", 9], ["B", 6]])')                       # Python goes there
    d.wait('A:9 B:6')
    for odd in ('null', '3', '{}', '{ reply: 1 }', '{ reply: "x", what: "entry", passages: [1] }'): page.evaluate(f'tell("msg:custom", {odd}, [])')
    if not lacks:                                                                   # what the payload has not, Python is asked for
        page.fill('.ds-jump', '8')
        page.keyboard.press('Enter')
        eventually(lambda: [o[1] for o in page.evaluate('log') if o[0] == 'sent'], [dict(ask='entry', at=[['A', 8]], id=1)])
    assert d.entry == 'A:9 B:6'
    page.evaluate('cleanup()')
    assert page.evaluate('el.childElementCount') == 0
    if 'off' not in lacks: assert page.evaluate('listeners.size') == 0
    page.evaluate('model.set("focus", [["A", 3], ["B", 5]])')
    page.wait_for_timeout(200)
    assert page.evaluate('window.hit') is None and page.problems == []

# ---- Colab: every output is a page of another origin in a frame; its manager is old

COLAB = '''<!doctype html><html theme="{theme}"><head><meta charset="utf-8"><script>
window.google = {{ colab: {{ kernel: {{ accessAllowed: {allowed}, invokeFunction: () => Promise.reject(new Error("Unknown function")) }}, output: {{ resizeIframeToContent() {{}} }} }} }};
</script></head><body></body></html>'''

def colab(page, allowed=True, theme='light'):
    "The output frame of a notebook as Colab shows it, on an origin of its own; what lies around it cannot be read."
    outer = '<!doctype html><title>Notebook</title><iframe src="http://output.colab.invalid/outputframe.html" width="1100" height="860"></iframe>'
    pages = {'http://colab.invalid/': outer, 'http://output.colab.invalid/outputframe.html': COLAB.format(theme=theme, allowed=str(allowed).lower())}
    page.route(re.compile(r'^http://(output\.)?colab\.invalid/'), lambda route: route.fulfill(body=pages[route.request.url], content_type='text/html'))
    page.goto('http://colab.invalid/')
    frame = page.frames[1]
    assert frame.evaluate('() => { try { return String(parent.document); } catch (error) { return error.name; } }') == 'SecurityError'
    return frame

@pytest.mark.parametrize('theme', ['light', 'dark'])
def test_an_output_frame_as_in_colab(offline_page, theme):
    page = offline_page(viewport=dict(width=1200, height=900), color_scheme='dark' if theme == 'light' else 'light')
    frame = colab(page, theme=theme)
    frame.evaluate(MODEL, dict(sent(linked_map()), form='DataView'))
    m = Map(page, frame)
    assert frame.get_attribute('.featgeom', 'data-theme') == theme
    m.lights_partners()
    eventually(lambda: (python_heard(page, frame) or {}).get('hovered'), ['B', 200])
    frame.evaluate('model.set("selected", { A: [124] })')
    m.wait('selected', '1,0')
    assert page.problems == []

def test_colab_without_a_kernel_keeps_what_needs_none(offline_page):
    page = offline_page(viewport=dict(width=1200, height=900))
    frame = colab(page, allowed=False)
    frame.evaluate(MODEL, dict(sent(linked_map()), form='DataView', lacks=['save_changes', 'send'], how='throw'))
    m = Map(page, frame)
    m.lights_partners()
    page.mouse.click(*m.place(0, 0))
    m.wait('hovered', 'A:100')
    assert frame.locator('.featgeom [title="needs a running kernel"]:not(:disabled)').count() == 0 and page.problems == []

@pytest.mark.parametrize('theme', ['light', 'dark'])
def test_a_dashboard_in_an_output_frame_as_in_colab(offline_page, theme):
    page = offline_page(viewport=dict(width=1200, height=900), color_scheme='dark' if theme == 'light' else 'light')
    frame = colab(page, theme=theme)
    frame.evaluate(MODEL, dict(sent(board()), form='DataView'))
    d = Board(frame)
    assert frame.get_attribute('.featgeom', 'data-theme') == theme
    reads_both(d)
    eventually(lambda: (python_heard(page, frame) or {}).get('focus'), [['A', 7]])
    assert frame.locator('.ds-text').is_enabled() and page.problems == []

def test_a_dashboard_in_colab_without_a_kernel_keeps_what_needs_none(offline_page):
    page = offline_page(viewport=dict(width=1200, height=900))
    frame = colab(page, allowed=False)
    frame.evaluate(MODEL, dict(sent(board()), form='DataView', lacks=['save_changes', 'send'], how='throw'))
    reads_both(Board(frame))
    assert frame.locator('.ds-text').is_disabled() and frame.locator('.featgeom [title="needs a running kernel"]:not(:disabled)').count() == 0
    assert page.problems == []

# ---- frames and pages

def test_a_dashboard_in_a_sandboxed_frame(offline_page, tmp_path):
    page = offline_page(viewport=dict(width=1200, height=1000))
    frame = framed(page, tmp_path, ('sandbox="allow-scripts" style="width:1180px; height:940px"', ''), board().page())
    reads_both(Board(frame))
    frame.click('.ds-star')
    page.wait_for_timeout(400)
    assert page.evaluate('location.hash') == '' and frame.evaluate('[location.href, window.hit]') == ['about:srcdoc', None] and page.problems == []

def test_a_sandboxed_frame(offline_page, tmp_path):
    page = offline_page(viewport=dict(width=1200, height=1000))
    frame = framed(page, tmp_path, ('sandbox="allow-scripts" style="width:1180px; height:940px"', ''), linked_map().page())
    m = Map(page, frame)
    m.lights_partners()
    page.mouse.click(*m.place(0, 0))                                                # pinned
    page.mouse.move(5, 5)
    m.wait('hovered', 'A:100')
    assert yellow(m.mark(1, 7))
    looks = lambda: frame.evaluate("""([x, y]) => [...document.querySelector(".lm-base").getContext("2d").getImageData(x - 6, y, 13, 1).data].join()""",
                                   [round(o) for o in m.at(0, 8)])
    before = looks()
    frame.fill('input[type=search]', 'a8')
    m.wait('found', '1,0')
    eventually(lambda: looks() != before, True)                                     # drawn as found
    frame.click('button[role=tab]:has-text("pinned")')
    frame.click('button:text-is("CSV")')                                            # downloads are forbidden here
    eventually(lambda: frame.locator('.fg-file textarea').count(), 1)
    text = frame.input_value('.fg-file textarea')
    assert len(text.splitlines()) == 3 and '100' in text and '207' in text
    page.wait_for_timeout(500)                                                      # what the page's address would hold by now
    assert page.evaluate('location.hash') == '' and frame.evaluate('location.href') == 'about:srcdoc'
    assert [o for o in page.problems if 'download' not in o.lower()] == []

def test_a_page_opened_again_is_as_it_was_left(offline_page, tmp_path):
    path = linked_map().save(tmp_path/'map # %.html')
    page = offline_page(path, viewport=dict(width=1200, height=1000))
    m = Map(page)
    page.mouse.click(*m.place(0, 0))
    page.mouse.move(5, 5)
    page.fill('input[type=search]', 'a8')
    m.wait('found', '1,0')
    page.keyboard.press('Enter')
    eventually(lambda: 'a8' in unquote(page.evaluate('location.hash')), True)
    address = page.evaluate('location.href')
    page.reload()
    m = Map(page)
    m.wait('hovered', 'A:100')                                                      # the pinned one has the focus
    assert m.data('found') == '1,0' and yellow(m.mark(0, 0)) and yellow(m.mark(1, 0)) and yellow(m.mark(1, 7))
    other = offline_page(viewport=dict(width=900, height=800))                      # the link, sent to somebody else
    other.goto(address)
    Map(other).wait('hovered', 'A:100')
    other.evaluate('location.hash = "#%7Bnonsense"')                                # typed into the address bar: no pins, no error
    eventually(lambda: Map(other).data('hovered'), '')
    assert page.problems == other.problems == []

def test_an_exported_notebook_opened_offline(offline_page, tmp_path, monkeypatch):
    nbclient, nbconvert = pytest.importorskip('nbclient'), pytest.importorskip('nbconvert')
    monkeypatch.setenv('FEATGEOM_DISPLAY', 'html')
    for name in ('CONFIG', 'DATA', 'RUNTIME'): monkeypatch.setenv(f'JUPYTER_{name}_DIR', str(tmp_path/name))
    monkeypatch.setenv('IPYTHONDIR', str(tmp_path/'ipython'))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(MAP)])
    nbclient.NotebookClient(notebook, timeout=120, kernel_name='python3', store_widget_state=False).execute()
    assert 'application/vnd.jupyter.widget-view+json' not in notebook.cells[0].outputs[0].data
    html = nbconvert.HTMLExporter().from_notebook_node(notebook)[0]
    path = tmp_path/'notebook.html'
    path.write_text(re.sub(r'<script[^>]*\bsrc="https:[^>]*>\s*</script>', '', html), encoding='utf-8')   # what its own template fetches
    page = offline_page(path, viewport=dict(width=1400, height=1200))
    frame = page.wait_for_selector('iframe[title=LinkedMap]').content_frame()
    m = Map(page, frame)
    m.lights_partners()
    assert page.evaluate('window.hit') is None and page.problems == []

def test_two_cells_of_an_exported_notebook_follow_each_other_offline(offline_page, tmp_path, monkeypatch):
    nbconvert = pytest.importorskip('nbconvert')
    monkeypatch.setenv('FEATGEOM_DISPLAY', 'html')
    a, b = linked_map(), linked_map(partners=1)
    link(a, b)
    outputs = [nbformat.v4.new_output('execute_result', o._repr_mimebundle_()[0], execution_count=1) for o in (a, b)]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell('w', outputs=[o], execution_count=1) for o in outputs])
    html = nbconvert.HTMLExporter().from_notebook_node(notebook)[0]
    path = tmp_path/'notebook.html'
    path.write_text(re.sub(r'<script[^>]*\bsrc="https:[^>]*>\s*</script>', '', html), encoding='utf-8')
    page = offline_page(path, viewport=dict(width=1400, height=2200))
    page.wait_for_function('document.querySelectorAll("iframe[title=LinkedMap]").length === 2')
    one, two = (Map(page, o.content_frame()) for o in page.query_selector_all('iframe[title=LinkedMap]'))
    page.mouse.click(*one.place(0, 12))
    two.wait('hovered', 'A:112')
    page.mouse.click(*two.place(1, 3))
    one.wait('hovered', 'B:203')
    assert page.problems == []

# ---- servers of their own: `make test` installs them into a folder, apart from our own requirements

def ours(page):
    "Uncaught errors of widgets, which hosts load from blobs; some hosts have errors of their own."
    return [o for o in page.problems if 'blob:' in o]

@pytest.fixture
def hosts(tmp_path):
    "The environment in which Notebook 7 and marimo run."
    folder = outside_folder('FEATGEOM_HOSTS', 'Notebook 7 and marimo')
    return dict(PYTHONPATH=os.pathsep.join([str(folder), os.environ.get('PYTHONPATH', '')]).rstrip(os.pathsep), JUPYTER_PATH=str(folder/'share'/'jupyter'))

def test_notebook_7(browser, tmp_path, hosts):
    with jupyterlab(tmp_path, 'notebook', 'JupyterNotebookApp', **hosts) as address, guarded(browser, address) as page:
        lab = Lab(page, address, tmp_path, [MAP, 'print(w.hovered, w.selected)', "w.selected = {'A': [101]}"], 'notebooks')
        lab.ask(0)
        m = Map(page)
        m.lights_partners()
        eventually(lambda: lab.ask(1), "['B', 200] {}\n")
        lab.ask(2)
        m.wait('selected', '1,0')
        assert page.evaluate('window.hit') is None and ours(page) == page.asked == []

MARIMO = '''import marimo
app = marimo.App()

@app.cell
def _():
    import marimo as mo
{map}
    view = mo.ui.anywidget(w)
    view
    return mo, view, w

@app.cell
def _(mo, view):
    mo.md(f"heard {{view.value.get('hovered')}}")
    return

@app.cell
def _(mo, w):
    mo.ui.button(label="select in Python", on_click=lambda _: setattr(w, "selected", {{"A": [101, 102]}}))
    return

if __name__ == "__main__": app.run()
'''

PAIR = '''import marimo
app = marimo.App()

@app.cell
def _():
    import marimo as mo
    from featgeom import widget
    from test_dashboard import board
    from test_link import map_of_board
    w, d = map_of_board()[0], board()
    widget.link(w, d)
    return d, mo, w

@app.cell
def _(mo, w):
    mo.ui.anywidget(w)
    return

@app.cell
def _(d, mo):
    read = mo.ui.anywidget(d)
    read
    return read,

@app.cell
def _(mo, read):
    mo.md(f"reads {read.value.get('focus')}")
    return

if __name__ == "__main__": app.run()
'''

@contextmanager
def marimo(folder, source, browser, hosts, mode='run'):
    "A page with a marimo notebook of this source."
    (folder/'map.py').write_text(source)
    port, home = free_port(), {o: str(folder/'home') for o in ('HOME', 'XDG_CONFIG_HOME', 'XDG_STATE_HOME', 'XDG_CACHE_HOME', 'XDG_DATA_HOME')}
    env = dict({k: v for k, v in os.environ.items() if k not in ('FEATGEOM_DISPLAY', 'CI')}, **hosts, **home, OMP_NUM_THREADS='1')
    (folder/'home'/'marimo').mkdir(parents=True)
    (folder/'home'/'marimo'/'marimo.toml').write_text('[runtime]\nauto_instantiate = true\n')
    address = f'http://127.0.0.1:{port}'
    command = [sys.executable, '-m', 'marimo', '-q', mode, 'map.py', '--headless', '--no-token', '--host', '127.0.0.1', '--port', str(port)]
    with server(command, f'{address}/health', folder, env), guarded(browser, address) as page:
        page.goto(address)
        yield page
        assert page.evaluate('window.hit') is None and page.asked == page.problems == []

@pytest.mark.parametrize('mode', ['run', 'edit'])
def test_marimo(browser, tmp_path, hosts, mode):
    body = '\n'.join('    ' + line for line in MAP.strip().splitlines()[:-1])
    with marimo(tmp_path, MARIMO.format(map=body), browser, hosts, mode) as page:
        m = Map(page)
        m.lights_partners()
        page.wait_for_selector("text=heard ['B', 200]")                             # a cell that depends on the widget ran again
        page.click('button:has-text("select in Python")')
        m.wait('selected', '2,0')

def test_a_map_and_a_dashboard_in_two_cells_of_marimo(browser, tmp_path, hosts):
    ours = dict(hosts, PYTHONPATH=os.pathsep.join([hosts['PYTHONPATH'], str(Path(__file__).parent)]))
    with marimo(tmp_path, PAIR, browser, ours) as page:
        page.wait_for_selector('.lm[data-painted]')
        d = Board(page)
        d.click('Next')
        d.wait('A:7')
        page.wait_for_selector('.lm[data-hovered="A:7"]')
        m, where = Part(page, '.featgeom'), map_of_board()[1]
        m.places, m.ids = where['places'], where['ids']
        m.pin('A', 9)
        d.wait('A:9 B:6')
        page.wait_for_selector("text=reads [['A', 9], ['B', 6]]")                   # Python hears of it as well
