"""Trainings that are killed and go on, in processes of their own: `python killed.py FOLDER` prints what ended how, as JSON.

One process imports everything and forks a child for every run, so that a dozen of them take seconds."""
from pathlib import Path
import json, os, signal, sys

os.environ['TOKENIZERS_PARALLELISM'] = 'false'
from featgeom import core, training
from featgeom.models import load_model
from featgeom.stories import storybook, zoo_path
from sae_lens.training import sae_trainer  # noqa: F401 (imported once here, and not by every child)

STEPS, EVERY, SITE = 24, 5, 'blocks.0.hook_resid_post'


def die(): os.kill(os.getpid(), signal.SIGKILL)


def kill_after(step):
    "Die before a step of one of the two SAEs; after an odd number the other one has made it already."
    real, done = training._step, []
    def counted(*a):
        done.append(1)
        if len(done) > 2*step: die()
        return real(*a)
    training._step = counted


def kill_in_write(nth):
    "Die in the nth checkpoint: its temporary file is there, its name is not."
    real, done = core.os.replace, []
    def counted(a, b):
        if Path(b).name == 'checkpoint.safetensors':
            done.append(1)
            if len(done) == nth: die()
        return real(a, b)
    core.os.replace = counted


def kill_when_saved():
    "Die when the SAE is saved and the checkpoint not yet removed."
    training._Checkpoint.remove = lambda self: die()


MOMENTS = dict(start=lambda: kill_after(0), between=lambda: kill_after(11.5), at_a_checkpoint=lambda: kill_after(15),
               write=lambda: kill_in_write(3), first_write=lambda: kill_in_write(1), saved=kill_when_saved)
RUNS = [('topk', 2**28, list(MOMENTS)), ('batchtopk', 2**17, ['between', 'write']), ('jumprelu', 2**28, ['between']),
        ('standard', 2**17, ['between']), ('gated', 2**17, ['between'])]


def train(model, texts, architecture, memory, out, checkpoint=None, **kw):
    training.train_sae(model, SITE, texts, [32, 64], architecture, k=8, tokens=STEPS*128, batch=128, lr=2e-3, memory=memory,
                       progress=False, out=out, checkpoint=checkpoint, every=EVERY, start='data' if architecture == 'gated' else 'random', **kw)


def child(work):
    "How a forked process ends that does this work: 0, or minus the signal that killed it."
    pid = os.fork()
    if pid == 0:
        try: work()
        except BaseException as e:
            print(f'{type(e).__name__}: {e}', file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main(folder):
    folder, found = Path(folder), []
    model, texts = load_model(zoo_path('story-1l'), device='cpu'), storybook(24, seed=5)
    for architecture, memory, moments in RUNS:
        base = folder/f'{architecture}-{memory}'
        assert child(lambda: train(model, texts, architecture, memory, base/'whole')) == 0
        whole = {o.relative_to(base/'whole').as_posix(): o.read_bytes() for o in sorted((base/'whole').rglob('*.*'))}
        for name in moments:
            out, kept = base/name/'out', base/name/'kept'
            def first():
                MOMENTS[name]()
                train(model, texts, architecture, memory, out, kept)
            ends = [child(first)]
            path = kept/'checkpoint.safetensors'
            left = core.read_arrays(path, 'checkpoint')[1] if path.exists() else None
            if name == 'between': ends.append(child(lambda: (kill_after(7), train(model, texts, architecture, memory, out, kept))))
            steps = folder/'steps'
            def again():
                done, real = [], training._step
                training._step = lambda *a: done.append(1) or real(*a)
                train(model, texts, architecture, memory, out, kept)
                steps.write_text(str(len(done)))
            ends.append(child(again))
            same = {o.relative_to(out).as_posix(): o.read_bytes() for o in sorted(out.rglob('*.*'))} == whole
            found.append(dict(architecture=architecture, memory=memory, moment=name, ends=ends, step=left and left['step'],
                              place=left and left['pool'], same=same and len(whole) == 4,
                              again=int(steps.read_text())//2, files=sorted(o.name for o in kept.iterdir() if o.name != '.checkpoint.lock')))
    print(json.dumps(found))


if __name__ == '__main__': main(sys.argv[1])
