"The house rules that a machine can check: notebooks and modules agree, arrows point down, nothing heavy or unsafe at import."
from pathlib import Path
import ast, importlib, inspect, json, re, shutil, subprocess, sys

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT/'nbs').glob('[0-9]*.ipynb'))

def module_of(nb):
    "The module that a notebook exports, or None."
    cells = json.loads(nb.read_text(encoding='utf-8'))['cells']
    found = re.search(r'^#\|\s*default_exp (\w+)', '\n'.join(''.join(c['source']) for c in cells if c['cell_type'] == 'code'), re.M)
    return found and found.group(1)

ORDER = {module_of(nb): nb.name.split("_")[0] for nb in NOTEBOOKS if module_of(nb)}
MODULES = sorted(ORDER, key=ORDER.get)

def tree_of(name): return ast.parse((ROOT/f'featgeom/{name}.py').read_text(encoding='utf-8'))

def test_there_are_modules(): assert len(MODULES) >= 10

def test_exported_modules_and_clean_notebooks_are_in_sync(tmp_path):
    for part in ('nbs', 'featgeom'):
        shutil.copytree(ROOT/part, tmp_path/part, ignore=shutil.ignore_patterns('__pycache__', 'zoo', '.ipynb_checkpoints'))
    for name in ('settings.ini', 'setup.py', 'README.md'): shutil.copy(ROOT/name, tmp_path/name)
    subprocess.run([sys.executable, '-c', 'import nbdev; nbdev.nbdev_export(); from nbdev.clean import nbdev_clean; nbdev_clean()'],
                   cwd=tmp_path, check=True, capture_output=True)
    for path in [*(ROOT/'nbs').glob('*.ipynb'), *(ROOT/'featgeom').glob('*.py')]:
        again = tmp_path/path.relative_to(ROOT)
        assert path.read_text(encoding='utf-8') == again.read_text(encoding='utf-8'), f'{path.name}: run nbdev_export and nbdev_clean'
    assert {p.name for p in (tmp_path/'featgeom').glob('*.py')} == {p.name for p in (ROOT/'featgeom').glob('*.py')}

def test_every_module_has_its_notebook():
    written = {p.stem for p in (ROOT/'featgeom').glob('*.py')} - {'__init__', '_modidx'}
    assert written == set(MODULES)

@pytest.mark.parametrize('name', MODULES)
def test_a_module_imports_only_lower_numbers(name):
    for node in ast.walk(tree_of(name)):
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or '').startswith('featgeom')):
            used = (node.module or '').split('.')[-1]
            names = [used] if used in ORDER else [a.name for a in node.names]
            for other in names: assert ORDER.get(other, "") < ORDER[name], f'{name} imports {other}'

@pytest.mark.parametrize('name', MODULES)
def test_module_style(name):
    source = (ROOT/f'featgeom/{name}.py').read_text(encoding='utf-8')
    for i, line in enumerate(source.splitlines(), 1):
        if not line.startswith('"""') and not line.startswith('__all__') and not line.startswith("           '"):
            assert len(line) <= 120, f'{name}.py:{i} is {len(line)} columns wide'
    for node in ast.walk(tree_of(name)):
        if isinstance(node, ast.ImportFrom): assert all(a.name != '*' for a in node.names), f'{name}: star import'
        if isinstance(node, ast.ExceptHandler): assert node.type is not None, f'{name}:{node.lineno}: bare except'
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            roots = [a.name.split('.')[0] for a in node.names] + [(getattr(node, 'module', '') or '').split('.')[0]]
            assert not {'pickle', 'dill', 'joblib', 'requests', 'urllib'} & set(roots), f'{name}: {roots}'
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and name != 'comparison': assert node.func.id != 'print', f'{name}:{node.lineno}: print'
        if isinstance(node, ast.Call): assert not unsafe(node), f'{name}:{node.lineno}: {ast.unparse(node)[:80]}'

def unsafe(call):
    "Does a call draw from a global generator, run code, or unpickle? A reader of pickles is allowed where it says, as a literal, that it reads none."
    name = ast.unparse(call.func)
    if name in ('np.random.seed', 'torch.manual_seed', 'eval', 'exec', 'os.system', 'torch.hub.load', 'np.fromfile', 'pd.read_pickle', '__import__'): return True
    said = {o.arg: o.value.value for o in call.keywords if isinstance(o.value, ast.Constant)}
    if name == 'torch.load': return said.get('weights_only') is not True
    if name == 'np.load' or name.endswith('.read_array'): return said.get('allow_pickle') is not False
    return False

@pytest.mark.parametrize('code, bad', [
    ('torch.load(p)', True), ('torch.load(p, weights_only=False)', True), ('torch.load(p, weights_only=safe)', True), ('torch.load(p, **how)', True), ('torch.load(p, weights_only=True)', False),
    ('np.load(p)', True), ('np.load(p, allow_pickle=True)', True), ('np.load(p, allow_pickle=0)', True), ('np.load(p, allow_pickle=False)', False), ('np.random.seed(0)', True),
    ('torch.manual_seed(0)', True), ('eval(x)', True), ('np.lib.format.read_array(f)', True), ('np.lib.format.read_array(f, allow_pickle=False)', False), ('json.load(f)', False)])
def test_the_rule_about_unsafe_calls_can_fail(code, bad): assert unsafe(ast.parse(code).body[0].value) == bad

@pytest.mark.parametrize('name', MODULES)
def test_public_names_are_documented(name):
    module = importlib.import_module(f'featgeom.{name}')
    for public in module.__all__:
        obj = getattr(module, public)
        if not (inspect.isfunction(obj) or inspect.isclass(obj)): continue
        assert (inspect.getdoc(obj) or '').strip(), f'{name}.{public} has no docstring'
        if inspect.isclass(obj):
            for key, method in vars(obj).items():
                if inspect.isfunction(method) and not key.startswith('_'):
                    assert inspect.getdoc(method), f'{name}.{public}.{key} has no docstring'

@pytest.mark.parametrize('nb', NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_stay_small_and_open_with_a_promise(nb):
    assert nb.stat().st_size < 1_000_000, f'{nb.name} stores {nb.stat().st_size:,} bytes'
    cells = json.loads(nb.read_text(encoding='utf-8'))['cells']
    first = ''.join(cells[0]['source'])
    assert cells[0]['cell_type'] == 'markdown' and first.startswith('# ') and '\n> ' in first, f'{nb.name}: title and one-line promise'
    assert len({c['id'] for c in cells}) == len(cells)

def test_import_is_light():
    code = ('import sys, time; t = time.perf_counter(); import featgeom; t = time.perf_counter() - t; '
            'heavy = {"torch", "numba", "transformers", "sae_lens", "transformer_lens", "umap", "sklearn", "pandas", "matplotlib"} & set(sys.modules); '
            'print(t, sorted(heavy))')
    out = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert out.split(maxsplit=1)[1].strip() == '[]', out

def test_lazy_names_all_resolve():
    import featgeom
    for name in featgeom.__all__: assert getattr(featgeom, name) is not None
    assert set(MODULES) <= set(dir(featgeom)) and set(MODULES) <= set(featgeom.__all__), 'a module that featgeom/__init__.py does not name'
    for name in set(featgeom.__all__) - set(MODULES) - {'__version__'}:
        home = sys.modules[getattr(featgeom, name).__module__]
        assert name in home.__all__, f'{home.__name__} does not export {name}'

def test_the_repository_speaks_of_the_project_alone():
    files = subprocess.run(['git', 'ls-files'], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split('\n')
    home = re.compile(r'/(?:root|home/\w+|work|opt/wheels)/')
    for name in filter(None, files):
        path = ROOT/name
        if path.suffix in ('.py', '.js', '.mjs', '.md', '.ipynb', '.json', '.ini', '.txt', '.yml', '') and path.exists() and path.stat().st_size < 2_000_000:
            assert not home.search(path.read_text(encoding='utf-8', errors='ignore')) or path == Path(__file__), f'{name} holds a machine path'
