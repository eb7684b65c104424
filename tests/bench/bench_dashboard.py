"""Dashboards of all 2,048 features of a ReLU SAE on 65,536 tokens of a 2-layer GPT-2 with d 128: ours and SAEDashboard 0.8.0.

Both read the same weights and tokens from one folder, in turn, each in a process of its own with the same threads; the largest
activations that both show are compared. SAEDashboard does the features of `--features`, ours all of them. It is installed in
.venv/dashboard (dashboard_peer/requirements.txt); without it only ours is timed. Then a saved page is opened in Chromium."""
import argparse, json, os, shutil, subprocess, sys, tempfile, time
from pathlib import Path

import numpy as np
from bench_linkedmap import FLAGS, Report, spread
from bench_matching import cores, memory

HERE = Path(__file__).parent
PEER = HERE.parents[1]/'.venv/dashboard/bin/python'
SITE, DOCS, LENGTH, WIDTH, FASTER = 'blocks.1.hook_resid_post', 512, 128, 2048, 100
# Both sides get all cores.
THREADS = {o: str(cores()) for o in ('OMP_NUM_THREADS', 'NUMBA_NUM_THREADS')}

# -- the model, the SAE and the tokens that both sides read

def documents(tokenizer, n, seed):
    "n texts of LENGTH tokens each, put together from stories, which their tokenizer cuts into LENGTH tokens again."
    from featgeom.stories import storybook
    stories, out, at = storybook(4*n + 100, seed=seed), [], 0
    while len(out) < n:
        text = ''
        while len(ids := tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)['offset_mapping']) < LENGTH:
            text, at = f'{text} {stories[at]}'.strip(), at + 1
        text = text[:ids[LENGTH - 1][1]]
        if len(tokenizer(text, add_special_tokens=False)['input_ids']) == LENGTH: out.append(text)
    return out

def trained_model(folder, texts, tokenizer, steps, seed=0):
    "A GPT-2 with 2 layers of 128, trained a little, as a Hugging Face folder; returns its last loss in nats."
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel
    torch.manual_seed(seed)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), n_positions=LENGTH + 1, n_embd=128, n_layer=2, n_head=4,
                                       bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
                                       resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, use_cache=False))
    ids = torch.tensor([[tokenizer.bos_token_id, *tokenizer(o, add_special_tokens=False)['input_ids']] for o in texts])
    adam, order = torch.optim.AdamW(model.parameters(), lr=3e-3), torch.Generator().manual_seed(seed)
    for _ in range(steps):
        batch = ids[torch.randint(len(ids), (16,), generator=order)]
        loss = model(batch, labels=batch).loss
        loss.backward()
        adam.step()
        adam.zero_grad()
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return loss.item()

def relu_sae(model, texts, seed=0):
    """A ReLU SAE without training: features point to activations of random tokens, and their biases let them fire on .1 % to 6 %
    of the tokens, on 1.5 % on average. Decoder rows have length 1, as SAEDashboard makes them, which changes the units."""
    import torch
    from featgeom.models import capture
    from featgeom.sae import SAE
    ids = torch.tensor([[*model.prefix, *model.tokenizer(o, add_special_tokens=False)['input_ids']] for o in texts])
    x = torch.cat([capture(model, part, [SITE])[SITE][:, len(model.prefix):].flatten(0, 1) for part in ids.split(64)])
    rng = np.random.default_rng(seed)
    mean, share = x.mean(0), np.exp(rng.uniform(np.log(.001), np.log(.06), WIDTH))
    W = torch.nn.functional.normalize(x[torch.from_numpy(rng.choice(len(x), WIDTH, replace=False))] - mean, dim=1)
    y = np.sort(((x - mean) @ W.T).numpy(), axis=0)
    bias = torch.from_numpy(-y[((1 - share)*len(x)).astype(int), np.arange(WIDTH)])
    return SAE(dict(W_enc=W.T.contiguous(), W_dec=W, b_enc=bias, b_dec=mean), 'standard', dict(hook_name=SITE), 'relu')

def part_make(folder, args):
    "Everything that both sides read, in `folder`."
    import featgeom as fg, torch
    torch.set_num_threads(cores())
    tokenizer, start = fg.load_model(fg.zoo_path('story-2l')).tokenizer, time.perf_counter()
    texts = documents(tokenizer, DOCS + 200, seed=1)
    loss = trained_model(folder/'model', texts[DOCS:], tokenizer, args.steps)
    model = fg.load_model(folder/'model')
    relu_sae(model, texts[DOCS:DOCS + 64]).save(folder/'sae')
    ids = [[*model.prefix, *tokenizer(o, add_special_tokens=False)['input_ids']] for o in texts[:DOCS]]
    np.save(folder/'tokens.npy', np.array(ids, np.int32))
    (folder/'texts.json').write_text(json.dumps(texts[:DOCS]), encoding='utf-8')
    return dict(seconds=time.perf_counter() - start, loss=loss)

# -- ours

def made(folder, store, space, texts, features):
    "From text to a dashboard: the store, the dashboard, and the seconds of each step."
    import featgeom as fg
    from featgeom.dashboard import Dashboard
    from featgeom.reading import read_features
    times, last, cpu = {}, time.perf_counter(), time.process_time()
    def lap(name):
        nonlocal last, cpu
        times[name], times[f'{name} cpu'] = time.perf_counter() - last, time.process_time() - cpu
        last, cpu = time.perf_counter(), time.process_time()
    fg.collect([space], texts, store=folder/store, progress=False)
    lap('collect')
    acts = fg.FeatureActs.open(folder/store/space.name)
    reading = read_features(acts, space, progress=False)
    lap('read')
    board = Dashboard(reading, features=range(features))
    lap('pack')
    return acts, board, times

def part_ours(folder, args):
    "All features, and two pages: of all of them, and of the first 200. Compiled code is loaded by a small case before."
    import featgeom as fg, torch
    from featgeom.dashboard import Dashboard
    torch.set_num_threads(cores())
    space = fg.FeatureSpace.load(model=folder/'model', sae=folder/'sae', name='gpt2')
    texts, start = json.loads((folder/'texts.json').read_text(encoding='utf-8')), time.perf_counter()
    made(folder, 'warm', space, texts[:16], 50)
    warm = time.perf_counter() - start
    shutil.rmtree(folder/'store', ignore_errors=True)
    acts, board, times = made(folder, 'store', space, texts, WIDTH)
    start = time.perf_counter()
    board.save(folder/'ours.html', max_mb=100)
    page = time.perf_counter() - start
    Dashboard(board.readings, features=range(200)).save(folder/'ours200.html')
    (folder/'ours.json').write_text(json.dumps(top_values(acts, args.features)))
    return dict(times, page=page, warm=warm, tokens=len(acts), l0=acts.csr().nnz/len(acts), payload=len(board.payload),
                sizes=[(folder/o).stat().st_size for o in ('ours.html', 'ours200.html')], peak=memory('VmHWM'))

def part_pairs(folder, args):
    "A page of the 200 best pairs of this space and its twin, which has the same features in another order with some noise."
    import featgeom as fg
    from featgeom.acts import FeatureActs
    from featgeom.dashboard import Dashboard
    from featgeom.matching import match
    from featgeom.reading import read_features
    space = fg.FeatureSpace.load(model=folder/'model', sae=folder/'sae', name='gpt2')
    acts, rng = FeatureActs.open(folder/'store'/space.name), np.random.default_rng(0)
    twin = acts.csr()[:, rng.permutation(WIDTH)]
    twin.data = (twin.data*rng.uniform(.3, 1, twin.nnz)).astype(np.float32)
    twin = FeatureActs.from_csr(twin, rows=acts.rows, name='twin', texts=acts.texts, tokens=acts.tokens)
    readings = [read_features(acts, space, progress=False), read_features(twin, progress=False)]
    board = Dashboard(readings, match(acts, twin, shifts=2, given=None, seed=0))
    board.save(folder/'pairs.html')
    return dict(payload=len(board.payload), entries=len(board.spots))

def top_values(acts, features, k=20, buffer=5):
    "{feature: its k largest activations} on the tokens that SAEDashboard shows: those with a buffer to both ends of a sequence."
    at = 1 + np.arange(len(acts)) % LENGTH                               # BOS is at 0
    keep = (at >= buffer + 1) & (at < LENGTH + 1 - buffer)
    columns = acts.csr()[keep].tocsc()
    def largest(j):
        values = np.sort(columns.data[slice(*columns.indptr[j:j + 2])])[::-1][:k]
        return [*values.tolist(), *[0.]*(k - len(values))]
    return {j: largest(j) for j in range(features)}

def agreement(folder):
    "The share of features whose top activations are the same on both sides, in half precision, and the largest difference relative to a feature's largest."
    ours, theirs = ({int(k): np.array(v) for k, v in json.loads((folder/o).read_text()).items()} for o in ('ours.json', 'peer.json'))
    worst = np.array([np.abs(ours[j] - theirs[j]).max()/max(theirs[j].max(), 1e-9) for j in theirs])
    return (worst < 2e-3).mean(), worst.max()

# -- the page in a browser

WATCH = '''new MutationObserver((_, self) => {
  const stage = document.querySelector("[data-ready]");
  if (!stage || !document.querySelector(".ds-line")) return;
  self.disconnect();
  requestAnimationFrame(() => { const o = new MessageChannel(); o.port1.onmessage = () => { document.documentElement.dataset.seen = String(performance.now()); }; o.port2.postMessage(0); });
}).observe(document, {attributes: true, childList: true, subtree: true});'''
# Presses a key; resolves with the milliseconds until the next entry is in the page, laid out, and until the frame with it is done.
PRESS = '''key => new Promise((done, fail) => {
  const stage = document.querySelector("[data-entry]"), before = stage.dataset.entry, start = performance.now();
  const late = setTimeout(() => fail(new Error("no other entry after " + key)), 20000);
  const look = new MutationObserver(() => {
    if (stage.dataset.entry === before || !stage.dataset.ready) return;
    look.disconnect();
    clearTimeout(late);
    document.body.getBoundingClientRect();
    const laid = performance.now() - start;
    requestAnimationFrame(() => { const o = new MessageChannel(); o.port1.onmessage = () => done([laid, performance.now() - start]); o.port2.postMessage(0); });
  });
  look.observe(stage, {attributes: true});
  document.body.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
})'''

def open_page(browser, path):
    page = browser.new_page(viewport=dict(width=1300, height=900))
    page.set_default_timeout(60_000)
    page.add_init_script(WATCH)
    page.goto(path.as_uri())
    page.wait_for_selector('[data-seen]')
    seen = float(page.get_attribute('html', 'data-seen'))
    return page, (seen, max(0., seen - page.evaluate('performance.getEntriesByType("navigation")[0].loadEventEnd')))

def in_browser(path, what, report, args, budget=True):
    "First and next feature of a page."
    from playwright.sync_api import sync_playwright
    with sync_playwright() as p:
        found = [o for o in (shutil.which('chromium'), shutil.which('google-chrome'), p.chromium.executable_path) if o and Path(o).exists()]
        browser = p.chromium.launch(executable_path=found[0], args=FLAGS)
        firsts = []
        for _ in range(args.repeats):
            page, times = open_page(browser, path)
            firsts.append(times)
            if len(firsts) < args.repeats: page.close()
        firsts = np.array(firsts)
        report.at_most(f'{what}: first feature visible', f'median {np.median(firsts[:, 0]):.0f} ms from the start of the navigation, worst {firsts[:, 0].max():.0f}; '
                       f'{np.median(firsts[:, 1]):.0f} after the load event', np.median(firsts[:, 0]), 500 if budget else None)
        for key, how in (('j', 'next feature'), ('r', 'a random feature, nothing fetched before')):
            for _ in range(5): page.evaluate(PRESS, key)                # the first ones compile
            laid, frame = np.array([page.evaluate(PRESS, key) for _ in range(args.presses)]).T
            report.at_most(f'  {how}, in the page and laid out', spread(laid), np.median(laid), 50 if budget else None)
            report.say('    and its frame', spread(frame))
        browser.close()

# -- side by side

def child(part, folder, args):
    command = [sys.executable, __file__, '--part', part, '--folder', str(folder), '--features', str(args.features), '--steps', str(args.steps)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **THREADS})
    return json.loads(done.stdout.splitlines()[-1])

def peer(folder, args):
    "What SAEDashboard says, or None where it is not installed."
    if not PEER.exists(): return None
    command = [PEER, '-W', 'ignore', HERE/'dashboard_peer/run.py', folder, '--out', folder, '--features', str(args.features), '--threads', str(cores()), '--site', SITE]
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, text=True, env={**{k: v for k, v in os.environ.items() if k != 'PYTHONPATH'}, **THREADS})
    if done.returncode: raise SystemExit('SAEDashboard failed; remove .venv/dashboard and call `make bench` again')
    return json.loads(done.stdout.splitlines()[-1])

def compared(report, ours, theirs, folder, args):
    "The rates of both sides, from medians over the rounds."
    def rate(part, *names): return WIDTH/sum(np.median([o[name] for o in part]) for name in names)
    fast, own = rate(ours, 'read', 'pack'), rate(ours, 'read cpu', 'pack cpu')
    whole = rate(ours, 'collect', 'read', 'pack', 'page')
    print(f'\n{WIDTH:,} features on {ours[0]["tokens"]:,} tokens, L0 {ours[0]["l0"]:.0f}; {len(ours)} rounds, medians; {cores()} cores, load {os.getloadavg()[0]:.1f}; '
          f'compiling or loading compiled code took {ours[-1]["warm"]:.1f} s more')
    steps = ', '.join(f'{name} {np.median([o[name] for o in ours]):.2f} s' for name in ('collect', 'read', 'pack', 'page'))
    report.say('ours, stored activations to payloads', f'{fast:,.0f} features a second; {own:,.0f} a second of processor time')
    report.say('ours, text to a page, compression included', f'{whole:,.0f} features a second ({steps}); at most {ours[0]["peak"] or 0:.2f} GB')
    if not theirs: return print(f'  SAEDashboard is not installed beside: `make {PEER.parents[1].relative_to(HERE.parents[1])}/ready` installs it.')
    def theirs_rate(*names): return theirs[0]['features']/sum(np.median([o[name] for o in theirs]) for name in names)
    run, cpu, both = theirs_rate('run'), theirs_rate('cpu'), theirs_rate('run', 'page')
    same, worst = agreement(folder)
    report.say('SAEDashboard 0.8.0, text to data in memory', f'{run:.1f} features a second; {cpu:.1f} a second of processor time ({args.features} features, its defaults)')
    report.say('SAEDashboard 0.8.0, text to a page', f'{both:.1f} features a second; {theirs[0]["size"]/args.features/1e3:.0f} kB of page a feature')
    report.at_least('ratio, payloads to its data', f'{fast/run:,.0f} times as many features a second ({own/cpu:,.0f} times by processor time)', fast/run, FASTER, 'times')
    report.say('ratio, text to page', f'{whole/both:,.0f} times')
    slow = sum(o['read'] + o['pack'] for o in ours)/sum(o['read cpu'] + o['pack cpu'] for o in ours)/(theirs_rate('cpu')/run)
    if slow > 1.2: report.say('  this machine was busy', f'while ours ran, more than while theirs did: ours waited {slow:.1f} times as long for a second of processor time')
    report.say('the 20 largest activations are the same', f'of {same:.1%} of the features; they differ by at most {worst:.1e} of the largest', 'all', same == 1)

def main(args):
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        made = child('make', folder, args)
        print(f'A GPT-2 with 2 layers of 128 after {args.steps} steps ({made["loss"]:.2f} nats a token), a ReLU SAE, {DOCS} texts of {LENGTH} tokens: {made["seconds"]:.0f} s')
        ours, theirs = [], []
        for _ in range(args.rounds):
            ours.append(child('ours', folder, args))
            if done := peer(folder, args): theirs.append(done)
        compared(report, ours, theirs, folder, args)
        report.at_most('size of a feature, compressed', f'{ours[0]["payload"]/WIDTH/1e3:.2f} kB with its passages; {ours[0]["sizes"][0]/WIDTH/1e3:.2f} kB of the page',
                       ours[0]['payload']/WIDTH/1e3, 10, 'kB')
        pairs = child('pairs', folder, args)
        report.at_most('size of a feature of a pair, compressed', f'{pairs["payload"]/pairs["entries"]/2e3:.2f} kB with its passages', pairs['payload']/pairs['entries']/2e3, 10, 'kB')
        for name, what in (('ours200.html', '200 features'), ('pairs.html', f'{pairs["entries"]} pairs'), ('ours.html', f'{WIDTH:,} features')):
            in_browser(folder/name, f'page of {what}, {(folder/name).stat().st_size/1e6:.1f} MB', report, args, name != 'ours.html')
    return report.good

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--features', type=int, default=256, help='that SAEDashboard does: 256 are one batch of its defaults')
    parser.add_argument('--rounds', type=int, default=2), parser.add_argument('--steps', type=int, default=60, help='of training')
    parser.add_argument('--repeats', type=int, default=5, help='of the first paint'), parser.add_argument('--presses', type=int, default=60)
    parser.add_argument('--part'), parser.add_argument('--folder', type=Path)
    args = parser.parse_args()
    if args.part: print(json.dumps(globals()[f'part_{args.part}'](args.folder, args)))
    else: raise SystemExit(0 if main(args) else 1)
