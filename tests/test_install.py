"The wheel is complete: built, installed in a clean environment, used from another folder."
from importlib.metadata import distributions
from pathlib import Path
import configparser, os, shutil, subprocess, sys, sysconfig, zipfile

from packaging.specifiers import SpecifierSet
import pytest

ROOT = Path(__file__).parents[1]

@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    # From a copy of the tracked files: what an earlier build left behind must not get in.
    out, source = tmp_path_factory.mktemp('wheel'), tmp_path_factory.mktemp('source')
    for name in subprocess.run(['git', 'ls-files'], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split('\n'):
        if name and (ROOT/name).is_file():
            (source/name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT/name, source/name)
    subprocess.run([sys.executable, '-m', 'build', '--wheel', '--no-isolation', '--outdir', str(out), str(source)],
                   check=True, capture_output=True, cwd=out)
    return next(out.glob('*.whl'))

def test_wheel_holds_the_browser_code_and_the_zoo(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    tracked = subprocess.run(['git', 'ls-files', 'featgeom'], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    missing = [f for f in tracked if f not in names]
    assert tracked and not missing, missing

def test_wheel_works_from_another_folder(wheel, tmp_path):
    # The clean environment borrows the installed requirements, so that the test needs no network; featgeom itself comes from the wheel.
    site = tmp_path/'site'
    subprocess.run([sys.executable, '-m', 'pip', 'install', '-q', '--no-deps', '--no-index', '--target', str(site), str(wheel)], check=True, capture_output=True)
    env = {**os.environ, 'PYTHONPATH': os.pathsep.join([str(site), sysconfig.get_path('purelib')])}
    code = 'import featgeom; from featgeom.comparison import main; assert "site" in featgeom.__file__, featgeom.__file__; main(["info"])'
    done = subprocess.run([sys.executable, '-S', '-c', code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 'featgeom' in done.stdout

def test_what_is_pinned_installs_on_the_oldest_python_that_we_name():
    # pip drops versions that refuse its Python without a word, and then finds no way through the rest.
    config = configparser.ConfigParser(delimiters=['='])
    config.read(ROOT/'settings.ini', encoding='utf-8')
    pinned = dict(line.split('==') for line in (ROOT/'constraints.txt').read_text(encoding='utf-8').split() if '==' in line)
    wanted = {o.metadata['Name']: o.metadata.get('Requires-Python') for o in distributions() if pinned.get(o.metadata['Name']) == o.version}
    oldest = config['DEFAULT']['min_python'] + '.0'
    assert len(wanted) > 100
    assert [name for name, needs in wanted.items() if needs and not SpecifierSet(needs).contains(oldest)] == []
