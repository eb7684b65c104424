"""Run notebooks and store what they show: `python nbs/_run.py nbs/00_core.ipynb ...`. A second run changes nothing.

Each notebook runs in a process of its own. Cells marked slow, gpu or `eval: false` keep the outputs they have. Live widget
views are dropped, since they are dead without their kernel; their still picture and text stay."""
from pathlib import Path
import os, re, subprocess, sys

SKIP = re.compile(r'^#\|\s*(slow|gpu|eval:\s*false)\b', re.M)
VIEW = 'application/vnd.jupyter.widget-view+json'

def run(path):
    "Execute one notebook in this process and write its outputs back."
    from execnb.nbio import read_nb, write_nb
    from execnb.shell import CaptureShell
    from nbdev.clean import nbdev_clean
    path = Path(path).resolve()
    nb = read_nb(path)
    shell = CaptureShell(path.parent, mpl_format='png')
    kept = lambda cell: cell.cell_type != 'code' or bool(SKIP.search(cell.source)) or 'nbdev_export(' in cell.source
    shell.run_all(nb, exc_stop=True, preproc=kept)
    for cell in nb.cells:
        for out in cell.get('outputs', []): out.get('data', {}).pop(VIEW, None)
    nb.metadata.pop('widgets', None)
    write_nb(nb, path)
    nbdev_clean(str(path))

if __name__ == '__main__':
    env = {**os.environ, 'FEATGEOM_DISPLAY': 'widget', 'TQDM_DISABLE': '1', 'PYTHONHASHSEED': '0'}
    for path in sys.argv[1:]:
        print(path, flush=True)
        subprocess.run([sys.executable, '-c', f'import sys; sys.path.insert(0, "nbs"); import _run; _run.run({path!r})'],
                       env=env, check=True)
