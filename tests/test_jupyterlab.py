"End to end: a real JupyterLab with a real kernel; widgets are drawn, touched, and Python hears of it. No network."
from contextlib import contextmanager
from urllib.request import urlopen
import os, re, signal, socket, subprocess, sys, time

import nbformat, pytest

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
               '--LabApp.news_url=None', '--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate', *(['--allow-root'] if hasattr(os, 'geteuid') and os.geteuid() == 0 else [])]
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
            server.send_signal(signal.SIGTERM)   # it shuts its kernels down
            try: server.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait(10)

class Lab:
    "A notebook in JupyterLab, driven as a person would."
    def __init__(self, page, address, folder, cells):
        self.page = page
        nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(o) for o in cells],
                                      metadata=dict(kernelspec=dict(name='python3', display_name='Python 3', language='python')))
        nbformat.write(nb, folder/'test.ipynb')
        page.goto(f'{address}/lab/tree/test.ipynb?token={TOKEN}')
        page.wait_for_selector('.jp-Notebook .jp-Cell', timeout=60_000)
        page.wait_for_function("window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'", timeout=60_000)

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
