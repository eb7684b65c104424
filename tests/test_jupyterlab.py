"End to end: a real JupyterLab with a real kernel; widgets are drawn, touched, and Python hears of it. No network."
from contextlib import contextmanager
from urllib.request import urlopen
import os, re, socket, subprocess, sys, time

import nbformat, psutil, pytest

TOKEN = 'featgeom-test'

def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]

@contextmanager
def jupyterlab(folder):
    "A JupyterLab over `folder` with settings of its own, ended in any case; yields its address."
    port = free_port()
    env = {k: v for k, v in os.environ.items() if k not in ('FEATGEOM_DISPLAY', 'CI')}
    env.update({f'JUPYTER_{o}_DIR': str(folder/'.jupyter'/o.lower()) for o in ('CONFIG', 'DATA', 'RUNTIME')},
               IPYTHONDIR=str(folder/'.ipython'), JUPYTERLAB_SETTINGS_DIR=str(folder/'.jupyter'/'settings'),
               JUPYTERLAB_WORKSPACES_DIR=str(folder/'.jupyter'/'workspaces'), OMP_NUM_THREADS='1')
    command = [sys.executable, '-m', 'jupyterlab', '--no-browser', '--ip', '127.0.0.1', '--port', str(port),
               '--ServerApp.port_retries=0', f'--IdentityProvider.token={TOKEN}', '--LabApp.expose_app_in_browser=True',
               *(['--allow-root'] if hasattr(os, 'geteuid') and os.geteuid() == 0 else [])]
    quiet = folder/'.jupyter'/'settings'/'@jupyterlab'/'apputils-extension'/'notification.jupyterlab-settings'
    quiet.parent.mkdir(parents=True)
    quiet.write_text('{"fetchNews": "false", "checkForUpdates": false}')
    log = folder/'jupyterlab.log'
    with open(log, 'w') as out:
        server = subprocess.Popen(command, cwd=folder, env=env, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            end = time.monotonic() + 60
            while True:
                try:
                    with urlopen(f'http://127.0.0.1:{port}/api/status?token={TOKEN}', timeout=5): break
                except OSError:
                    if server.poll() is not None or time.monotonic() > end:
                        pytest.fail(f'JupyterLab did not start:\n{log.read_text()[-3000:]}')
                    time.sleep(0.2)
            yield f'http://127.0.0.1:{port}'
        finally:
            family = [server, *psutil.Process(server.pid).children(recursive=True)] if server.poll() is None else [server]
            server.terminate()                   # it shuts its kernels down
            try: server.wait(10)
            except subprocess.TimeoutExpired: pass
            for process in family:
                try: process.kill()
                except psutil.NoSuchProcess: pass
            server.wait(10)

class Lab:
    "A notebook in JupyterLab, driven as a person would."
    def __init__(self, page, address, folder, cells):
        self.page = page
        nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(o) for o in cells],
                                      metadata=dict(kernelspec=dict(name='python3', display_name='Python 3', language='python')))
        nbformat.write(nb, folder/'test.ipynb')
        page.goto(f'{address}/lab/tree/test.ipynb?token={TOKEN}')
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

@pytest.fixture
def lab(browser, tmp_path):
    "Open a notebook with these cells in JupyterLab: `lab([source, ...])`."
    asked = []
    with jupyterlab(tmp_path) as address:
        context = browser.new_context(viewport=dict(width=1400, height=1000))
        context.set_default_timeout(60_000)
        def guard(route):
            if route.request.url.startswith(address): return route.fallback()
            asked.append(route.request.url)
            route.abort()
        context.route(re.compile('^https?:'), guard)
        page = context.new_page()
        page.problems = []
        page.on('pageerror', lambda o: page.problems.append(str(o)))
        yield lambda cells: Lab(page, address, tmp_path, cells)
        context.close()
    assert asked == [], f'JupyterLab with our widgets asked the network for {asked}'

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
