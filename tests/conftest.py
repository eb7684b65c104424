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

@pytest.fixture
def offline_page(browser):
    """Open a saved page as a file with the network cut: `page = offline_page(path, color_scheme='dark', viewport=...)`.

    `page.network` holds the addresses that were asked for (all refused; the test fails if there are any),
    `page.problems` what the console and uncaught errors said."""
    contexts, pages = [], []
    def open_page(path=None, **options):
        context = browser.new_context(**options)
        context.set_default_timeout(10_000)
        contexts.append(context)
        page = context.new_page()
        page.network, page.problems = [], []
        def refuse(route):
            page.network.append(route.request.url)
            route.abort()
        context.route(re.compile('^(https?|wss?|ftp):'), refuse)
        page.on('console', lambda o: page.problems.append(o.text) if o.type == 'error' else None)
        page.on('pageerror', lambda o: page.problems.append(str(o)))
        if path is not None: page.goto(Path(path).resolve().as_uri())
        pages.append(page)
        return page
    yield open_page
    asked = [url for page in pages for url in page.network]
    for context in contexts: context.close()
    assert asked == [], f'a page asked the network for {asked}'
