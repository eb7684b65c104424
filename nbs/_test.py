"""Test notebooks as `nbdev_test` does, two at a time, each in a fresh process: `python nbs/_test.py nbs/00_core.ipynb ...`.

A notebook may not lean on what another left behind. What takes seconds in every one of them is done once: a server imports the
large libraries (not featgeom) and forks a clean process for each notebook. The last of the book are the longest and start first."""
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
import os, sys, time

LIBRARIES = ['pandas', 'pyarrow.parquet', 'matplotlib.pyplot', 'scipy.stats', 'numba', 'transformers', 'sae_lens', 'umap', 'nbdev.test']

def test(path, log):
    "Run the cells of one notebook in this process; what it prints goes to `log`, and a failing cell makes the exit status 1."
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for o in 1, 2: os.dup2(out, o)
    from nbdev.config import get_config
    from nbdev.test import test_nb
    done, _ = test_nb(path, skip_flags=get_config().tst_flags.split(), basepath=get_config().config_path)
    sys.exit(not done)

def main(paths):
    "Whether all notebooks passed; says of each how it ended, and of those that failed what they printed."
    processes = get_context('forkserver' if sys.platform == 'linux' else 'spawn')          # forks of macOS's own libraries crash
    processes.set_forkserver_preload(LIBRARIES)
    with TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
        def run(path):
            log, begun = Path(folder)/f'{Path(path).name}.log', time.monotonic()
            process = processes.Process(target=test, args=(Path(path).absolute(), log))
            process.start()
            process.join()
            passed = process.exitcode == 0
            print(f'{"ok  " if passed else "FAIL"} {path}  {time.monotonic() - begun:.0f} s', flush=True)
            if not passed: print(f'exit status {process.exitcode}', log.read_text(errors='replace') if log.exists() else '', sep='\n', flush=True)
            return passed
        return all([*pool.map(run, sorted(paths, reverse=True))])

if __name__ == '__main__':
    os.environ.update(OMP_NUM_THREADS='1')
    sys.exit(not main(sys.argv[1:]))
