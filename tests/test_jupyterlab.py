"End to end: a real JupyterLab with a real kernel; widgets are drawn, touched, and Python hears of it. No network."
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from urllib.request import Request, urlopen
import json, os, re, socket, subprocess, sys, time

import nbformat, psutil, pytest

TOKEN = 'featgeom-test'

def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]

@contextmanager
def server(command, answers, folder, env):
    "A server for this while, ended in any case with all that it started; the address `answers` is asked until it replies."
    log = folder/'server.log'
    with open(log, 'w') as out:
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            end = time.monotonic() + 90
            while True:
                try:
                    with urlopen(answers, timeout=5): break
                except OSError:
                    if process.poll() is not None or time.monotonic() > end:
                        pytest.fail(f'{command[2]} did not start:\n{log.read_text()[-3000:]}')
                    time.sleep(0.2)
            yield
        finally:
            family = [process, *psutil.Process(process.pid).children(recursive=True)] if process.poll() is None else [process]
            process.terminate()                  # it shuts its kernels down
            try: process.wait(10)
            except subprocess.TimeoutExpired: pass
            for o in family:
                try: o.kill()
                except psutil.NoSuchProcess: pass
            process.wait(10)

@contextmanager
def jupyterlab(folder, module='jupyterlab', app='LabApp', **more):
    "A JupyterLab, or another front end of Jupyter, over `folder` with settings of its own; yields its address."
    port = free_port()
    env = {k: v for k, v in os.environ.items() if k not in ('FEATGEOM_DISPLAY', 'CI')}
    env.update({f'JUPYTER_{o}_DIR': str(folder/'.jupyter'/o.lower()) for o in ('CONFIG', 'DATA', 'RUNTIME')},
               IPYTHONDIR=str(folder/'.ipython'), JUPYTERLAB_SETTINGS_DIR=str(folder/'.jupyter'/'settings'),
               JUPYTERLAB_WORKSPACES_DIR=str(folder/'.jupyter'/'workspaces'), OMP_NUM_THREADS='1', **more)
    command = [sys.executable, '-m', module, '--no-browser', '--ip', '127.0.0.1', '--port', str(port),
               '--ServerApp.port_retries=0', f'--IdentityProvider.token={TOKEN}', f'--{app}.expose_app_in_browser=True',
               *(['--allow-root'] if hasattr(os, 'geteuid') and os.geteuid() == 0 else [])]
    quiet = folder/'.jupyter'/'settings'/'@jupyterlab'/'apputils-extension'/'notification.jupyterlab-settings'
    quiet.parent.mkdir(parents=True)
    quiet.write_text('{"fetchNews": "false", "checkForUpdates": false}')
    with server(command, f'http://127.0.0.1:{port}/api/status?token={TOKEN}', folder, env): yield f'http://127.0.0.1:{port}'

class Lab:
    "A notebook in JupyterLab, driven as a person would."
    def __init__(self, page, address, folder, cells, path='lab/tree'):
        self.page = page
        nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(o) for o in cells],
                                      metadata=dict(kernelspec=dict(name='python3', display_name='Python 3', language='python')))
        nbformat.write(nb, folder/'test.ipynb')
        page.goto(f'{address}/{path}/test.ipynb?token={TOKEN}')
        page.wait_for_selector('.jp-Notebook .jp-Cell')
        self.wait_for_kernel()

    def wait_for_kernel(self):
        self.page.wait_for_function("window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'")

    def run_all(self):
        self.page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")

    def ask(self, cell):
        "Run one cell again and return what it prints."
        return self.page.evaluate('''async (i) => {
            const notebook = window.jupyterapp.shell.currentWidget.content;
            notebook.activeCellIndex = i;
            await window.jupyterapp.commands.execute("notebook:run-cell");
            const outputs = notebook.widgets[i].model.outputs.toJSON();
            return outputs.map((o) => [o.text ?? o.traceback ?? ""].flat().join("")).join("");
        }''', cell)

@contextmanager
def guarded(browser, address):
    "A page that may ask this address and nothing else. `asked` holds what it asked for otherwise, `problems` uncaught errors."
    context = browser.new_context(viewport=dict(width=1400, height=1800))
    context.set_default_timeout(60_000)
    page = context.new_page()
    page.asked, page.problems = [], []
    def guard(route):
        if route.request.url.startswith(address): return route.fallback()
        page.asked.append(route.request.url)
        route.abort()
    context.route(re.compile('^https?:'), guard)
    page.on('pageerror', lambda o: page.problems.append(o.stack or str(o)))
    yield page
    context.close()

def forget(folder, address):
    "End all kernels of a server and take back the theme: the next notebook finds it as it was."
    asked = lambda what, method='GET': urlopen(Request(f'{address}/api/sessions{what}', method=method, headers=dict(Authorization=f'token {TOKEN}')), timeout=60)
    for o in json.load(asked('')): asked(f'/{o["id"]}', 'DELETE')
    (folder/'.jupyter'/'settings'/'@jupyterlab'/'apputils-extension'/'themes.jupyterlab-settings').unlink(missing_ok=True)

@pytest.fixture
def lab(lab_server):
    "Open a notebook with these cells in JupyterLab: `lab([source, ...])`. Each has a folder, a workspace and a kernel of its own."
    folder, address, page = lab_server
    page.asked, page.problems = [], []
    def open_notebook(cells):
        own = Path(mkdtemp(prefix='n', dir=folder))
        return Lab(page, address, own, cells, f'lab/workspaces/{own.name}/tree/{own.name}')
    yield open_notebook
    page.goto('about:blank')
    forget(folder, address)
    assert page.asked == [], f'JupyterLab with our widgets asked the network for {page.asked}'

BARS = '''
import numpy as np, traitlets
from featgeom.widget import Widget, pack
class Bars(Widget):
    _module = 'example.js'
    selected = traitlets.List(traitlets.Int()).tag(sync=True)
heard = []
w = Bars(payload=pack({'height': np.arange(1., 6.)}, {'labels': ['</script><img src=x onerror=window.hit=1>', 'b', 'c', 'd', 'e'], 'title': 'Live bars'}))
w.on_msg(lambda widget, message, buffers: heard.append(message))
w
'''

def test_example_widget_lives_in_jupyterlab(lab):
    lab = lab([BARS, 'print(w.selected, heard)', 'w.selected = [4]'])
    page = lab.page
    lab.run_all()
    page.wait_for_selector('.featgeom[data-state=ready]')
    page.click('.fg-bar >> nth=0')
    assert page.inner_text('p.fg-text').startswith('</script><img')
    page.click('text=Ask Python')
    assert lab.ask(1) == "[0] [{'ask': 'more'}]\n"
    lab.ask(2)
    page.wait_for_selector('p.fg-text >> text="e: 5"')
    assert lab.ask(1).startswith('[4]')
    assert page.get_attribute('.featgeom', 'data-theme') == 'light'
    page.evaluate("window.jupyterapp.commands.execute('apputils:change-theme', { theme: 'JupyterLab Dark' })")
    page.wait_for_selector('.featgeom[data-theme=dark]')
    page.evaluate("window.jupyterapp.shell.currentWidget.content.widgets[0].model.outputs.clear()")
    page.wait_for_selector('.featgeom', state='detached')
    assert page.evaluate('window.hit') is None and page.problems == []

def test_the_page_form_outlives_the_kernel(lab):
    lab = lab([BARS.replace('import numpy', "import os\nos.environ['FEATGEOM_DISPLAY'] = 'html'\nimport numpy")])
    page = lab.page
    lab.run_all()
    def frame():
        handle = page.wait_for_selector('.jp-OutputArea iframe[title=Bars]')
        inside = handle.content_frame()
        inside.wait_for_selector('.featgeom[data-state=ready]')
        return handle, inside
    handle, inside = frame()
    content = 'o.contentDocument.getElementById("featgeom").getBoundingClientRect().height'
    page.wait_for_function(f'(o) => o.clientHeight === Math.ceil({content})', arg=handle)
    page.evaluate("""async () => {
        const { commands, shell } = window.jupyterapp;
        await commands.execute("docmanager:save");
        await shell.currentWidget.sessionContext.shutdown();
    }""")
    page.reload()
    handle, inside = frame()
    inside.click('.fg-bar >> nth=1')
    assert inside.inner_text('p.fg-text') == 'b: 2'
    assert inside.locator('text=Ask Python').is_disabled()
    page.evaluate("window.jupyterapp.commands.execute('apputils:change-theme', { theme: 'JupyterLab Dark' })")
    inside.wait_for_selector('.featgeom[data-theme=dark]')
    assert inside.evaluate('window.hit') is None and page.problems == []
    lab.wait_for_kernel()   # the new one, so that it is not ended while it starts

MAP = '''
import numpy as np
from featgeom import LinkedMap, Panel
from featgeom.matching import Pairs
grid = np.stack(np.meshgrid(np.arange(5.), np.arange(5.)), -1).reshape(-1, 2)
label = lambda name: [f'{name}{i}' for i in range(24)] + ['</script><img src=x onerror=window.hit=1>']
a, b = Panel('A', grid, label('a'), ids=100 + np.arange(25)), Panel('B', grid[::-1], label('b'), ids=200 + np.arange(25))
rows = sorted([(100 + i, 200 + i, .9) for i in range(25)] + [(100, 207, .5), (103, 200, .4)], key=lambda o: (o[0], -o[2]))
x, y, score = (np.array(o) for o in zip(*rows))
one, yes = np.ones(len(x)), np.ones(len(x), bool)
pairs = Pairs(a=x, b=y, score=score, support=50*one, null=.2*one, p=.01*one, q=.01*one, within=.3*one, within_p=.01*one,
              token_only=~yes, mutual=score > .8, from_a=yes, from_b=yes, of_a=yes, meta=dict(metric='correlation'))
w = LinkedMap([a, b], pairs)
w
'''

class Map:
    "The two panels of `MAP` in a page or one of its frames: 5 x 5 points with a known place each."
    def __init__(self, page, frame=None):
        self.page, self.frame = page, frame or page
        self.frame.wait_for_selector('.featgeom[data-state=ready] .lm[data-painted]')

    def at(self, panel, i):
        "Where point `i` is inside its plot."
        col, row = (i % 5, i // 5) if panel == 0 else ((24 - i) % 5, (24 - i) // 5)
        k, tx, ty = map(float, self.plot(panel).get_attribute('data-view').split(','))
        return col/4*65535*k + tx, (4 - row)/4*65535*k + ty

    def plot(self, panel): return self.frame.locator('.lm-plot').nth(panel)

    def place(self, panel, i):
        "Where point `i` of a panel is on the screen."
        self.plot(panel).scroll_into_view_if_needed()
        box, (x, y) = self.plot(panel).bounding_box(), self.at(panel, i)
        return box['x'] + 1 + x, box['y'] + 1 + y                        # the plot's border is one pixel wide

    def mark(self, panel, i, layer='over'):
        "The colour of a layer at a point: red, green, blue, opacity."
        return self.plot(panel).locator(f'.lm-{layer}').evaluate("""(canvas, [x, y]) => {   // by locator: some hosts have shadow roots
            const scale = canvas.width / canvas.clientWidth;
            return [...canvas.getContext("2d").getImageData(Math.round(x * scale), Math.round(y * scale), 1, 1).data];
        }""", self.at(panel, i))

    def data(self, name): return self.frame.get_attribute('.lm', f'data-{name}')

    def hover(self, panel, i, wanted):
        "Point at a point, again if the notebook scrolled meanwhile, until the page says that it is hovered."
        def point():
            self.page.mouse.move(*self.place(panel, i))
            return self.data('hovered')
        eventually(point, wanted)

    def wait(self, name, value): eventually(lambda: self.data(name), value)

    def lights_partners(self):
        "One feature is pointed at, its two partners light up, and the other way round; nothing else does."
        self.hover(0, 0, 'A:100')
        assert self.data('partners') == 'B:200 B:207'
        lit = {(p, i) for p in (0, 1) for i in range(25) if yellow(self.mark(p, i))}
        assert lit == {(0, 0), (1, 0), (1, 7)}
        self.hover(1, 0, 'B:200')
        assert self.data('partners') == 'A:100 A:103' and yellow(self.mark(0, 3)) and not yellow(self.mark(1, 7))

def yellow(rgba): return rgba[3] > 200 and rgba[0] > 200 and rgba[1] > 180 and rgba[2] < 120

def eventually(ask, wanted):
    "What the page tells Python takes a moment: ask until it is there."
    for _ in range(50):
        said = ask()
        if said == wanted: return
        time.sleep(0.1)
    assert said == wanted

def test_linked_map_lives_in_jupyterlab(lab):
    lab = lab([MAP, 'print(w.selected)', 'print(w.hovered, w.pinned)', "w.selected = {'B': [201]}; w.pinned = [['B', 200]]",
               'w.close(); w = LinkedMap([a, b], pairs, partners=1); w'])
    page = lab.page
    page.mouse.move(5, 5)
    lab.ask(0)
    m = Map(page)
    lab.ask(3)
    m.wait('hovered', 'B:200')                                            # pinned from Python, the focus while nothing is hovered
    m.wait('selected', '0,1')
    m.lights_partners()
    eventually(lambda: lab.ask(2), "['B', 200] [['B', 200]]\n")
    m.hover(0, 24, 'A:124')
    page.mouse.click(*m.place(0, 24))
    eventually(lambda: lab.ask(2), "['A', 124] [['B', 200], ['A', 124]]\n")
    (x0, y0), (x1, y1) = m.place(0, 0), m.place(0, 6)
    page.keyboard.down('Shift')
    page.mouse.move(x0 - 12, y0 + 12)
    page.mouse.down()
    page.mouse.move((x0 + x1)/2, (y0 + y1)/2)
    page.mouse.move(x1 + 12, y1 - 12)
    page.mouse.up()
    page.keyboard.up('Shift')
    m.wait('selected', '4,0')
    eventually(lambda: lab.ask(1), "{'A': [100, 101, 105, 106]}\n")
    lab.ask(4)                                                            # the best partner alone travels with the widget
    page.wait_for_function('document.querySelectorAll(".lm[data-painted]").length === 1')
    m = Map(page)
    m.hover(0, 0, 'A:100')
    assert m.data('partners') == 'B:200'
    page.mouse.click(*m.place(0, 0))
    page.click('button:has-text("All partners")')                         # the kernel has the others
    m.wait('partners', 'B:200 B:207')
    assert page.evaluate('window.hit') is None and page.problems == []

PAIR = '''
import numpy as np
import featgeom as fg
from featgeom import widget
from featgeom.dashboard import Dashboard
from featgeom.reading import read_features
from featgeom.stories import tell
spaces = [fg.FeatureSpace.load(model=fg.zoo_path(o), sae=fg.zoo_path(f'{o}/sae-256'), name=n) for n, o in (('A', 'story-1l'), ('B', 'story-2l'))]
acts = fg.collect(spaces, tell(60, seed=0), progress=False)
pairs = fg.match(*acts, one_to_one=True, permutations=19)
pairs = pairs[np.argsort(-pairs.score)[:25]]
grid = np.stack(np.meshgrid(np.arange(5.), np.arange(5.)), -1).reshape(-1, 2)
label = lambda ids: [f'</script><img src=x onerror=window.hit=1> {i}' for i in ids]
w = fg.LinkedMap([fg.Panel('A', grid, label(pairs.a), pairs.a), fg.Panel('B', grid[::-1], label(pairs.b), pairs.b)], pairs)
d = Dashboard([read_features(*o, progress=False) for o in zip(acts, spaces)], pairs[:10])
widget.link(w, d)
'''

def test_a_map_and_a_dashboard_in_two_cells_follow_each_other(lab):
    lab = lab([PAIR, 'w', 'd', 'print(d.focus, w.hovered, w.pinned)', "d.focus = [['A', int(pairs.a[1])]]", 'print([pairs.a.tolist(), pairs.b.tolist()])'])
    page = lab.page
    lab.ask(0)
    a, b = json.loads(lab.ask(5))
    lab.ask(1)
    lab.ask(2)
    m = Map(page)
    page.wait_for_selector('.featgeom[data-state=ready] .ds[data-ready]')
    entry, both = lambda: page.get_attribute('.ds[data-ready]', 'data-entry'), lambda i: f'A:{a[i]} B:{b[i]}'
    assert entry() == both(0) and m.data('hovered') == ''
    page.click('.ds-nav button >> text=Next')                             # read in the dashboard: the map shows it
    eventually(entry, both(1))
    m.wait('hovered', f'A:{a[1]}')
    said = f"[['A', {a[1]}], ['B', {b[1]}]] ['A', {a[1]}] []\n"            # and Python hears both
    eventually(lambda: lab.ask(3), said)
    page.mouse.click(*m.place(0, 7))                                      # pinned in the map: the dashboard reads it
    eventually(entry, both(7))
    page.mouse.click(*m.place(1, 20))                                     # which the page lacks, and the kernel has
    eventually(lambda: sorted(entry().split()), sorted(both(20).split()))
    eventually(lambda: lab.ask(3).endswith(f"[['A', {a[7]}], ['B', {b[20]}]]\n"), True)
    hovered = m.data('hovered')
    lab.ask(4)                                                            # Python's doing is not told
    eventually(lambda: entry().split()[0], f'A:{a[1]}')
    assert m.data('hovered') == hovered
    assert page.evaluate('window.hit') is None and page.problems == []
