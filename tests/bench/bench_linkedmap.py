"""The linked map in headless Chromium without a GPU, at 2 x 16,384, 2 x 65,536 and 2 x 1,000,000 points (ids only), and its peers beside it.

Everything is timed inside the page and ends with pixels read back, so nothing is left in a queue: linkedmap_page.js has the how.
Peers, at 65,536: plotly's scattergl (restyle of a trace of one point) and regl-scatterplot (hover), the same points and size, one
panel each where ours lights two, in turn with ours in one browser. They are installed by `npm ci` in linkedmap_peers."""
import argparse, gc, os, platform, shutil, tempfile, time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

HERE = Path(__file__).parent
FLAGS = ['--enable-unsafe-swiftshader', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run',
         *(['--no-sandbox'] if hasattr(os, 'geteuid') and os.geteuid() == 0 else [])]
VIEWPORT = dict(width=1500, height=950)
PEERS_AT, TIMES_FASTER, CODE = 65_536, 5, 100_000
# points a panel: largest page (bytes), first paint after the load event, 99th percentile of hover, recolour (ms); frames a second
BUDGETS = {16_384: dict(page=1e6), 65_536: dict(page=4e6, paint=500, hover=8, recolour=50, fps=30),
           1_000_000: dict(page=20e6, paint=3000, hover=16, fps=30)}

def draw(n, seed=0):
    "Two clustered maps of n features; up to 65,536 with three tokens each of 20,000 and three pairs a feature, beyond with ids and one."
    from featgeom import LinkedMap, Panel
    rng, rich = np.random.default_rng(seed), n <= 65_536
    words = np.array(['␣'*int(rng.random() < .6) + ''.join(rng.choice(list('etaoinshrdlucmfwyp'), rng.integers(2, 9))) for _ in range(20_000)])
    share = 1/(np.arange(20_000) + 10)**.8
    panels, group = [], []
    for name in ('model A', 'model B'):
        c = rng.integers(0, 60, n)
        xy = rng.normal(size=(60, 2))[c]*5 + rng.normal(size=(n, 2))*rng.uniform(.1, .5, 60)[c, None]
        labels = words[rng.choice(20_000, (n, 3), p=share/share.sum())].tolist() if rich else None
        known = dict(fires=rng.geometric(1/900, n), cluster=c, cluster_labels=[' '.join(words[rng.integers(0, 500, 3)]) for _ in range(60)])
        panels.append(Panel(name, xy, labels, note=f'UMAP, n {n:,}, seed 0, trustworthiness 0.93, kNN recall 41% (chance 0.1%), scored on 2,000',
                            **known if rich else {}))
        group.append(c)
    return LinkedMap(panels, draw_pairs(*group, 3 if rich else 1, rng))

def draw_pairs(left, right, k, rng):
    "k pairs a feature of the left panel, with features of the same cluster."
    n, order = len(left), np.argsort(right, kind='stable')
    start = np.searchsorted(right[order], np.arange(61))
    c = np.repeat(left, k)
    score, null = rng.beta(2, 3, k*n), np.repeat(.05 + .2*np.round(rng.random(n)*50)/50, k)
    within = np.where(rng.random(k*n) < .12, np.nan, np.clip(score*rng.uniform(-.1, 1, k*n), -1, 1))
    first = np.arange(k*n) % k == 0
    return SimpleNamespace(a=np.repeat(np.arange(n), k), b=order[start[c] + (rng.random(k*n)*np.diff(start)[c]).astype(int)], score=score, null=null,
                           q=np.where(first, np.where(score > null, .001, .4), np.nan), within=within, within_p=np.where(within > .05, .01, .5),
                           token_only=np.isnan(within), mutual=first & (score > .6), meta=dict(metric='correlation'))

class Report:
    "Lines of a table; a line with a budget says whether it was kept."
    def __init__(self): self.good, self.busy = True, 0.

    def say(self, what, value, budget='', good=True):
        self.good &= bool(good)
        print(f'  {what:<46} {value:<86} {budget:<12} {("ok" if good else "MISSED") if budget else ""}'.rstrip(), flush=True)

    def at_most(self, what, value, number, limit, unit='ms'):
        self.say(what, value, *(() if limit is None else (f'<= {limit:g} {unit}', number <= limit)))

    def at_least(self, what, value, number, limit, unit):
        self.say(what, value, *(() if limit is None else (f'>= {limit:g} {unit}', number >= limit)))

def spread(times, digits=1):
    t = np.asarray(times)
    return f'median {np.median(t):.{digits}f} ms, p99 {np.percentile(t, 99):.{digits}f} ms, worst {t.max():.1f} ms'

def open_map(browser, path):
    page = browser.new_page(viewport=VIEWPORT)
    page.set_default_timeout(120_000)
    page.add_init_script(path=HERE/'linkedmap_page.js')
    page.goto(path.as_uri())
    page.wait_for_selector('[data-painted]')
    return page

def paint(browser, path):
    "Milliseconds from the start of the navigation, and from the load event, until all points of all panels could be read back."
    page = open_map(browser, path)
    got, loaded = page.evaluate('[bench.paint, performance.getEntriesByType("navigation")[0].loadEventEnd]')
    assert len(got['lit']) > 1 and all(lit > .02*pixels for lit, pixels in zip(got['lit'], got['pixels'])), f'painted, it says, but {got}'
    page.close()
    return got['time'], max(0., got['time'] - loaded)

def hovers(page, count, seed=1):
    "Milliseconds to the lit pixel of a partner, to the frame after that, and of a loop beside each; every event must light its own."
    got = page.evaluate('([count, seed]) => bench.hover(count, seed)', [count, seed])
    asked, timed = got['asked'], len(got['times'])
    assert asked == count and timed > .9*asked and got['lit'] == timed, f'{got["lit"]} partners lit of {timed} events that were timed, {asked} found'
    return [np.array(got[o]) for o in ('times', 'frames', 'yard')]

def moving(page, report, n, budget):
    "Frames a second while dragging and zooming; what the page shows and says meanwhile."
    got = page.evaluate('bench.drag(3)')
    report.at_least('drag, frames a second that followed', f'{got["fps"]:.0f} of {got["frames"]:.0f}; frame {spread(got["slow"])}', got['fps'], budget.get('fps'), 'frames')
    if got['sampled'] != got['full']:
        fair = bool(got['sample']) and not got['after']
        report.say('  while moving', f'{int(got["sampled"]):,} points drawn; it says "{got["sample"]}"', 'says so', fair)
        report.say('  all points again, after the drag', f'{got["rest"]:.0f} ms, {int(got["full"]):,} points in view')
    got = page.evaluate('bench.zoom(3)')
    report.at_least('zoom, frames a second that followed', f'{got["fps"]:.0f}; frame {spread(got["slow"])}', got['fps'], budget.get('fps'), 'frames')

def one_size(browser, folder, n, report, args):
    "All measurements of our map at one size."
    budget, path = BUDGETS.get(n, {}), folder/f'map{n}.html'
    start = time.perf_counter()
    widget = draw(n)
    made, start = time.perf_counter() - start, time.perf_counter()
    widget.save(path, max_mb=100)
    print(f'\nLinked map, 2 x {n:,} points; drawn and packed in {made:.1f} s, saved in {time.perf_counter() - start:.1f} s; load {os.getloadavg()[0]:.1f}')
    size, code, style = path.stat().st_size, len(widget._esm.encode()), len(widget._css.encode())
    report.at_most('page', f'{size/1e6:.3f} MB', size/1e6, budget.get('page') and budget['page']/1e6, 'MB')
    report.at_most('browser code of one display', f'{code/1e3:.1f} kB, and {style/1e3:.1f} kB of styles', code/1e3, CODE/1e3, 'kB')
    del widget
    gc.collect()
    whole, after = map(np.array, zip(*[paint(browser, path) for _ in range(args.repeats)]))
    report.at_most('first paint, after the load event', f'median {np.median(after):.0f} ms, worst of {args.repeats} {after.max():.0f} ms',
                   np.median(after), budget.get('paint'))
    report.say('  from the start of the navigation', f'median {np.median(whole):.0f} ms, worst {whole.max():.0f} ms')
    page = open_map(browser, path)
    hovers(page, 30, seed=2)   # the first calls compile
    times, frames, yard = hovers(page, args.hovers)
    p99 = np.percentile(times, 99)
    report.at_most(f'hover to lit partner, {len(times)} events', spread(times, 2), p99, budget.get('hover'))
    report.say('  a loop of always the same work, beside each', spread(yard, 2))
    report.busy = max(report.busy, np.percentile(yard, 99)/np.median(yard))
    report.say('  hover and the frame with its labels', spread(frames))
    if n <= 65_536:
        times = page.evaluate('words => bench.change("search", "", words, 12)', 'etao')
        report.at_most('recolour after a search', spread(times), np.median(times), budget.get('recolour'))
    times = page.evaluate('bench.change("slider", "0", "0.4", 8)')
    report.say('slider step, all points of both panels', spread(times))
    moving(page, report, n, budget)
    page.close()
    return path

def peers_page(browser, n):
    "A page with both peers, served from their folder to this page alone."
    page = browser.new_page(viewport=VIEWPORT)
    page.set_default_timeout(120_000)
    folder = HERE/'linkedmap_peers'
    kinds = dict(html='text/html', js='text/javascript', mjs='text/javascript')
    page.route('**/*', lambda o: o.fulfill(body=(folder/o.request.url.split('/', 3)[3]).read_bytes(),
                                           content_type=kinds[o.request.url.rsplit('.', 1)[1]]))
    page.goto('http://peers.test/index.html')
    rng = np.random.default_rng(0)
    c = rng.integers(0, 60, n)
    xy = rng.normal(size=(60, 2))[c]*5 + rng.normal(size=(n, 2))*rng.uniform(.1, .5, 60)[c, None]
    xy = (xy - xy.min(0))/np.ptp(xy, axis=0).max()
    for name in ('regl', 'plotly'):
        page.evaluate('([name, points]) => peers.make(name, points)',
                      [name, dict(x=xy[:, 0].tolist(), y=xy[:, 1].tolist(), group=(c % 9).tolist(), size=560)])
    return page

def beside_peers(browser, path, report, rounds=3, each=20):
    "Hover of ours and of both peers in turn, and how many times faster ours is."
    n, names = PEERS_AT, dict(regl='regl-scatterplot hover', plotly='plotly scattergl restyle')
    if not (HERE/'linkedmap_peers'/'node_modules').is_dir():
        return print(f'\nNo peers: `npm ci --ignore-scripts` in {HERE.name}/linkedmap_peers installs them.')
    print(f'\nHover at {n:,} points to the lit pixel read back, in turn, {rounds*each} events each; load {os.getloadavg()[0]:.1f}')
    ours, theirs = open_map(browser, path), peers_page(browser, n)
    times = {name: [] for name in ('ours', *names)}
    rng = np.random.default_rng(3)
    for turn in range(rounds + 1):
        got = dict(ours=hovers(ours, each, seed=10 + turn)[0])
        for name in names: got[name] = theirs.evaluate('([name, which]) => peers.times(name, which)', [name, rng.integers(0, n, each).tolist()])
        if turn:   # the first turn compiles
            for name, t in got.items(): times[name] += list(t)
    report.say('ours, two panels, to the lit pixel', spread(times['ours'], 2))
    for name, what in names.items():
        said, lit = np.array(times[name], float).T
        seen = np.isfinite(lit)
        assert seen.mean() > .8, f'{name}: {seen.sum()} of {len(lit)} points lit'   # others may hide under later points
        for t, until in ((lit[seen], 'to the lit pixel'), (said, 'until it says so')):
            ratio, tail = (float(f(t)/f(times['ours'])) for f in (np.median, lambda o: np.percentile(o, 99)))
            report.at_least(f'{what}, {until}', f'{spread(t)}; ours {ratio:.0f} times faster (p99 {tail:.0f})', ratio, TIMES_FASTER, 'times')
    ours.close()
    theirs.close()

def main(args):
    from playwright.sync_api import sync_playwright
    report = Report()
    print(f'Headless Chromium without a GPU, {os.cpu_count()} cores ({platform.machine()}), load {os.getloadavg()[0]:.1f}: compare ratios, not milliseconds of two runs')
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as p:
        found = [o for o in (shutil.which('chromium'), shutil.which('google-chrome'), p.chromium.executable_path) if o and Path(o).exists()]
        browser = p.chromium.launch(executable_path=found[0], args=FLAGS)
        for n in args.sizes[:-1] if args.short and len(args.sizes) > 1 else args.sizes:
            path = one_size(browser, Path(folder), n, report, args)
            if n == PEERS_AT: beside_peers(browser, path, report)
        browser.close()
    if report.busy > 4 and not report.good:
        print(f'\nThis machine was busy: the 99th percentile of a loop of always the same work was {report.busy:.0f} times its median. Run again when it is quiet.')
    return report.good

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--sizes', type=int, nargs='+', default=list(BUDGETS), help='points a panel')
    parser.add_argument('--short', action='store_true', help='without the largest size')
    parser.add_argument('--hovers', type=int, default=600)
    parser.add_argument('--repeats', type=int, default=5, help='of the first paint')
    raise SystemExit(0 if main(parser.parse_args()) else 1)
