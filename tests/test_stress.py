"""Whatever stops collect (kill -9, Ctrl-C, a full disk, a folder that cannot be written, a second process), the same call goes on
and ends with the bytes of a run that nobody stopped. `python test_stress.py FOLDER WORK [...]` does it: one process that imports
everything and forks a child for each run."""
import json, os, random, signal, subprocess, sys, time
from pathlib import Path
from tempfile import gettempdir

import pytest

import test_collecting as t

TEXTS = t.TEXTS*10
SHARD = 30


class Paced(t.ToySAE):
    "An SAE that takes its time, so that there are moments to be killed in."
    def encode_csr(self, x):
        time.sleep(.01)
        return super().encode_csr(x)


class Stuck(t.ToySAE):
    "An SAE that says that it has begun, and does not end."
    def encode_csr(self, x):
        Path(self.path).touch()
        time.sleep(90)


# ---- the process that forks ----------------------------------------------------------------------------------------

def collect(folder, workers=1, sae=Paced):
    from featgeom.sae import FeatureSpace
    model, sae = t.make_model(), sae(16, 40)
    sae.path = f'{folder}.begun'
    spaces = [t.Space(model, sae, 0, 'A'), t.Space(model, t.ToySAE(16, 30, 1), 1, 'B'),
              FeatureSpace.load(model, site='blocks.1.hook_resid_post', name='N')]
    return t.collect(spaces, iter(TEXTS), folder, shard=SHARD, workers=workers, progress=False)


def start(folder, work=collect, before=lambda: None, **kw):
    "Fork a child, the first of a session of its own, that does this work; its number. What it says goes to `FOLDER.said`."
    pid = os.fork()
    if pid: return pid
    try:
        os.setsid()
        said = os.open(f'{folder}.said', os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(said, 2)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        before()
        work(folder, **kw)
        os._exit(0)
    except BaseException as e:
        os.write(2, f'{type(e).__name__}: {e}'.encode())
        os._exit(1)


def end(pid): return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def said(folder): return Path(f'{folder}.said').read_text().splitlines()[-1:]

def shards(folder):
    "How many shards the journal of space A lists."
    try: return len(json.loads((Path(folder)/'A'/'progress.json').read_text())['shards'])
    except FileNotFoundError: return 0

def wait_for_shards(folder, pid, n=1):
    while shards(folder) < n and os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None: time.sleep(.005)

def alive(session):
    "Processes of a session that still run after a while."
    for _ in range(400):
        found = []
        for path in Path('/proc').glob('[0-9]*/stat'):
            try: state, _, _, its = path.read_text().rpartition(')')[2].split()[:4]
            except (FileNotFoundError, ProcessLookupError): continue
            if int(its) == session and state != 'Z': found.append(int(path.parent.name))
        if not found: return []
        time.sleep(.05)
    return found

def contents(folder): return {o: data for o, data in t.files(folder).items() if not o.endswith('.lock')}

def again(folder, whole, work=collect):
    "Go on without trouble; whether the result is that of an undisturbed run."
    assert end(start(folder, work)) == 0, said(folder)
    return contents(folder) == whole


def undisturbed(root, work=collect):
    "The bytes of a run that nobody stops, and its seconds."
    work(root/'warm')                                  # in this process: what is imported on the way is there for all
    begun = time.perf_counter()
    assert end(start(root/'whole', work)) == 0, said(root/'whole')
    return contents(root/'whole'), time.perf_counter() - begun


def kills(root, seed, workers, first, last):
    "Kill runs at random moments, some of them twice; the moments depend on seed and number alone."
    whole, seconds = undisturbed(root)
    found = []
    for i in range(first, last):
        rng, folder, ends, left = random.Random(f'{seed} {i}'), root/f'killed{i}', [], []
        for _ in range(1 + (rng.random() < .4)):
            pid = start(folder, workers=workers)
            if workers > 1 and rng.random() < .75: wait_for_shards(folder, pid, shards(folder) + 1)   # else while the workers start
            time.sleep(rng.uniform(0, seconds/workers))
            os.kill(pid, signal.SIGKILL)
            ends.append(end(pid))
            left += alive(pid)
        found.append(dict(ends=ends, shards=shards(folder), alive=left, same=again(folder, whole)))
    return found


def match(folder):
    "Match two made-up stores, unhurriedly."
    import numpy as np
    from featgeom import matching
    from featgeom.acts import FeatureActs
    from featgeom.shards import Rows
    rng, n = np.random.default_rng(0), 2000
    rows = Rows(doc=np.repeat(np.arange(n//20), 20), pos=np.tile(np.arange(20), n//20), token_id=rng.integers(0, 20, n))
    x = (rng.random((n, 60)) < .1)*rng.random((n, 60))
    a, b = (FeatureActs.from_csr(o, rows, name) for o, name in ((x, 'a'), (x[:, ::-1] + (rng.random((n, 60)) < .02), 'b')))
    real = matching._Journal.keep
    def keep(self, *args):
        time.sleep(.03)
        return real(self, *args)
    matching._Journal.keep = keep
    try: matching.match(a, b, store=folder, min_fires=20, permutations=19)
    finally: matching._Journal.keep = real


def match_kills(root, seed, first, last):
    "Kill matches at random moments."
    whole, seconds = undisturbed(root, match)
    found = []
    for i in range(first, last):
        rng, folder, ends = random.Random(f'{seed} {i}'), root/f'killed{i}', []
        for _ in range(1 + (rng.random() < .4)):
            pid = start(folder, match)
            time.sleep(rng.uniform(0, seconds))
            os.kill(pid, signal.SIGKILL)
            ends.append(end(pid))
        found.append(dict(ends=ends, shards=len(contents(folder)) if folder.exists() else 0, alive=alive(pid), same=again(folder, whole, match)))
    return found


def troubles(root):
    "Everything but kills: what each said, whether something of it ran on, how many shards it kept, whether the same call went on."
    import resource
    import featgeom.core as core
    whole, _ = undisturbed(root)
    found = {}

    def note(name, folder, pid, **more):
        code = end(pid)
        found[name] = dict(code=code, said=said(folder), shards=shards(folder), alive=alive(pid), **more, same=again(folder, whole))

    def full_after(n):
        "The n-th write and all that follow find no room."
        real, done = os.fsync, []
        def fsync(fd):
            done.append(fd)
            if len(done) >= n: raise OSError(28, 'No space left on device')
            real(fd)
        core.os.fsync = fsync
    for n in (1, 2, 9, 60): note(f'full {n}', root/f'full{n}', start(root/f'full{n}', before=lambda: full_after(n)))
    for n in (500, 5000):                              # too little for the texts, then for the growing journal
        note(f'limit {n}', root/f'limit{n}', start(root/f'limit{n}', before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (n, n))))

    disk = root/'disk'
    disk.mkdir()
    if subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=200k', 'tmpfs', str(disk)], capture_output=True).returncode == 0:
        try:
            pid = start(disk/'store')
            code = end(pid)
            kept = {o: data for o, data in contents(disk/'store').items()}
            found['small disk'] = dict(code=code, said=said(disk/'store'), shards=shards(disk/'store'), alive=alive(pid))
            subprocess.run(['mount', '-o', 'remount,size=20m', str(disk)], check=True)
            found['small disk']['same'] = again(disk/'store', whole) and len(kept) > 5
        finally: subprocess.run(['umount', str(disk)], check=True)

    def nobody():
        if os.geteuid() == 0: os.seteuid(65534)
    closed = root/'closed'
    closed.mkdir()
    if os.geteuid() == 0:                              # nobody must be able to come here
        for o in [o for o in closed.parents if Path(gettempdir()) in o.parents]: o.chmod(o.stat().st_mode | 0o055)
    closed.chmod(0o555)
    def refused(folder): return collect(root/'closed'/'store')
    pid = start(root/'refused', work=refused, before=nobody)
    code = end(pid)
    closed.chmod(0o755)
    found['read-only'] = dict(code=code, said=said(root/'refused'), shards=0, alive=[], same=again(closed/'store', whole))
    def opened(folder): assert len(collect(root/'closed'/'store')) == 3
    for o in closed.rglob('*'): o.chmod(0o555)
    pid = start(root/'opened', work=opened, before=nobody)
    found['read-only, finished'] = dict(code=end(pid), said=said(root/'opened'))

    pid = start(root/'two')
    wait_for_shards(root/'two', pid)
    try: collect(root/'two')
    except core.FeatgeomError as e: second = str(e)
    note('two', root/'two', pid, second=second, first=pid)

    pid = start(root/'interrupted', workers=2)
    wait_for_shards(root/'interrupted', pid)
    os.killpg(pid, signal.SIGINT)                      # as a terminal does: to the workers too
    note('interrupted', root/'interrupted', pid)

    pid = start(root/'stuck', workers=2, sae=Stuck)
    while not (root/'stuck.begun').exists() and Path(f'/proc/{pid}').exists(): time.sleep(.05)
    os.kill(pid, signal.SIGKILL)                       # the workers have nothing to read or to write for 90 s
    note('stuck', root/'stuck', pid)
    return found


def one_of_each(root):
    "One killed run of each kind, and all troubles: what `make test` has time for, in one process."
    work = dict(alone=lambda o: kills(o, 1, 1, 0, 1), workers=lambda o: kills(o, 1, 2, 0, 1), match=lambda o: match_kills(o, 3, 0, 1), troubles=troubles)
    for name in work: (root/name).mkdir()
    return {name: do(root/name) for name, do in work.items()}


if __name__ == '__main__':
    os.umask(0o022)
    work = dict(kills=kills, match_kills=match_kills, one_of_each=one_of_each)[sys.argv[2]]
    print(json.dumps(work(Path(sys.argv[1]), *map(int, sys.argv[3:]))))


# ---- the tests -----------------------------------------------------------------------------------------------------

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='forks, and reads /proc')

def run(folder, *args):
    "What this file prints as a script."
    env = dict(os.environ, OMP_NUM_THREADS='1', NUMBA_NUM_THREADS='1', TOKENIZERS_PARALLELISM='false', PYTHONPATH=str(Path(__file__).parents[1]))
    done = subprocess.run([sys.executable, __file__, str(folder), *map(str, args)], env=env, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)

def check(found, kills):
    "Every run was killed, or had just ended; most in the middle of the work; all ended as if nothing had happened."
    assert len(found) == kills and all(o['same'] for o in found), found
    assert all(code in (-9, 0) for o in found for code in o['ends']) and not any(o['alive'] for o in found), found
    assert sum(-9 in o['ends'] for o in found) >= .6*kills and sum(o['shards'] > 0 for o in found) >= .4*kills, found


@pytest.fixture(scope='module')
def each(tmp_path_factory): return run(tmp_path_factory.mktemp('each'), 'one_of_each')

def test_killed_at_a_random_moment(each): check(each['alone'], 1)

def test_killed_at_a_random_moment_with_workers(each): check(each['workers'], 1)

def test_match_killed_at_a_random_moment(each): check(each['match'], 1)

@pytest.mark.slow
def test_match_killed_at_20_random_moments(tmp_path): check(run(tmp_path, 'match_kills', 3, 0, 20), 20)

@pytest.mark.slow
def test_killed_at_20_random_moments(tmp_path): check(run(tmp_path, 'kills', 1, 1, 0, 20), 20)

@pytest.mark.slow
def test_killed_at_20_random_moments_with_workers(tmp_path): check(run(tmp_path, 'kills', 1, 2, 0, 20), 20)


def test_troubles_are_told_and_survived(each):
    found = each['troubles']
    print(found)
    for name, o in found.items():
        if name == 'read-only, finished': continue                # nothing is to be done there
        assert o['same'] and not o['alive'], (name, o)
        assert o['code'] == dict(two=0, stuck=-9).get(name, 1), (name, o)
    for name in ('full 1', 'full 2', 'full 9', 'full 60', 'limit 500', 'limit 5000', *(['small disk'] if 'small disk' in found else [])):
        text, = found[name]['said']
        assert text.startswith('FeatgeomError: ') and 'cannot be written' in text and 'the same call goes on' in text, text
    assert found['full 60']['shards'] >= 5 and found['limit 5000']['shards'] >= 5 and found['limit 500']['shards'] == 0
    assert 'closed/store cannot be written' in found['read-only']['said'][0] and found['read-only, finished']['code'] == 0
    assert f'is being written by process {found["two"]["first"]}' in found['two']['second']
    text, = found['interrupted']['said']
    assert text.startswith('KeyboardInterrupt: Collect was stopped; ') and 'goes on from there' in text and found['interrupted']['shards'] > 0
