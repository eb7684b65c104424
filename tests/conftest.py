"What the tests share: markers, outside data, a browser with its network cut."
from pathlib import Path
import os, re, shutil

import pytest

def pytest_configure(config):
    config.addinivalue_line('markers', 'slow: a study that takes minutes; `make test` leaves it out, `make test-slow` runs it')
    config.addinivalue_line('markers', 'bench: measures time or memory; run by `make bench`')

def outside_folder(variable, what):
    "The folder that an environment variable names; skips where it is not set, fails where it names nothing."
    path = os.environ.get(variable)
    if not path: pytest.skip(f'{variable} is not set: the folder with {what}')
    if not Path(path).is_dir(): pytest.fail(f'{variable} names no folder: {path}')
    return Path(path)

@pytest.fixture(scope='session')
def test_data():
    "The folder with third-party models and text; without it the test is skipped."
    return outside_folder('FEATGEOM_TEST_DATA', 'third-party models and text')

def missing(what):
    "A tool that the tests need is not there: on a build machine that is a failure, elsewhere a reason to skip."
    (pytest.fail if os.environ.get('CI', '').lower() in ('1', 'true') else pytest.skip)(what)

# Software rendering on purpose (Chromium no longer falls back to it by itself), and none of the browser's own traffic.
FLAGS = ['--enable-unsafe-swiftshader', '--disable-background-networking', '--disable-component-update', '--disable-sync',
         '--disable-default-apps', '--no-first-run', '--hide-scrollbars', '--force-color-profile=srgb',
         *(['--no-sandbox'] if hasattr(os, 'geteuid') and os.geteuid() == 0 else [])]

@pytest.fixture(scope='session')
def playwright():
    sync_api = pytest.importorskip('playwright.sync_api', reason='playwright is not installed')
    with sync_api.sync_playwright() as p: yield p

@pytest.fixture(scope='session')
def chromium(playwright):
    "The path of a Chromium: the machine's, else Playwright's own."
    found = [shutil.which(o) for o in ('chromium', 'chromium-browser', 'google-chrome')]
    found.append(playwright.chromium.executable_path)
    for path in found:
        if path and Path(path).exists(): return path
    missing('no Chromium: install chromium, or run `playwright install chromium`')

@pytest.fixture(scope='session')
def browser(playwright, chromium):
    "A headless browser for the session."
    browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
    yield browser
    browser.close()

class Pages:
    """Pages whose network is cut, each in a context of its own; one that is given back serves a later test.

    A page costs a second, most of it a new process of the browser; an old one shows the next document in a third of that."""
    def __init__(self, browser): self.browser, self.free = browser, {}

    def take(self, fresh=False, viewport=None, color_scheme='light', **options):
        key, size = repr(sorted(options.items())), viewport or dict(width=1280, height=720)
        if self.free.get(key) and not fresh: page = self.free[key].pop()
        else: page = self.make(size, options)
        page.key, page.network, page.problems = '' if fresh else key, [], []
        page.set_default_timeout(10_000)
        page.set_viewport_size(size)
        page.emulate_media(color_scheme=color_scheme)
        return page

    def make(self, size, options):
        page = self.browser.new_context(viewport=size, **options).new_page()
        def refuse(route):
            page.network.append(route.request.url)
            route.abort()
        page.context.route(re.compile('^(https?|wss?|ftp):'), refuse)
        page.on('console', lambda o: page.problems.append(o.text) if o.type == 'error' else None)
        page.on('pageerror', lambda o: page.problems.append(str(o)))
        return page

    def give_back(self, page):
        """Neither document nor routes, cookies, keys held down, or a pointer over the next page stay. What was added to every
        document (`add_init_script`, `expose_function`), listeners and CDP sessions would: ask for a fresh page for these."""
        if not page.key or page.is_closed() or len(self.free.get(page.key, [])) > 2: return page.context.close()
        for o in page.context.pages:
            if o is not page: o.close()
        page.unroute_all()
        page.context.clear_cookies()
        page.goto('about:blank')
        for key in ('Shift', 'Control', 'Alt', 'Meta'): page.keyboard.up(key)
        page.mouse.up()
        page.mouse.move(-10, -10)
        self.free.setdefault(page.key, []).append(page)

@pytest.fixture(scope='session')
def offline_pages(browser): return Pages(browser)

@pytest.fixture
def offline_page(offline_pages):
    """Open a saved page as a file with the network cut: `page = offline_page(path, color_scheme='dark', viewport=...)`.

    `page.network` holds the addresses that were asked for (all refused; the test fails if there are any),
    `page.problems` what the console and uncaught errors said. `fresh=True`: a page that no test had before and none gets
    afterwards, for what a page cannot be rid of again (scripts for every document) and for measurements."""
    pages = []
    def open_page(path=None, **options):
        page = offline_pages.take(**options)
        pages.append(page)
        if path is not None: page.goto(Path(path).resolve().as_uri())
        return page
    yield open_page
    asked = [url for page in pages for url in page.network]
    for page in pages: offline_pages.give_back(page)
    assert asked == [], f'a page asked the network for {asked}'

@pytest.fixture(scope='session')
def lab_server(browser, tmp_path_factory):
    "One JupyterLab and one page for all notebooks of the session: (folder, address, page); see the fixture `lab`."
    from test_jupyterlab import guarded, jupyterlab
    folder = tmp_path_factory.mktemp('lab')
    with jupyterlab(folder) as address, guarded(browser, address) as page: yield folder, address, page
