"""A linked map keeps nothing that it no longer shows: JavaScript memory, DOM nodes and listeners after garbage collection stand still
over 1,000 hovers, 100 re-renders and 20 displays and closes of its live form.

Every round is measured twice and the smaller growth counts: what V8 compiles or what a cache takes is taken once, a leak every time."""
import base64, json

import anywidget, numpy as np, pytest

from featgeom import LinkedMap, Panel
from test_embedding import make_pairs

N = 3000
# A host as anywidget sees it; each display is a model and an element of its own, the module is loaded once, as a front end does.
HOST = '''async ([esm, css, base64, traits]) => {
    const style = document.createElement("style");
    style.textContent = css;
    document.head.append(style);
    const module = await import(URL.createObjectURL(new Blob([esm], { type: "text/javascript" })));
    const payload = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    window.frames_ = async (n) => { while (n--) await new Promise(requestAnimationFrame); };
    window.display = async () => {
        const state = { ...traits, payload }, listeners = [];
        const model = {
            get: (k) => state[k], save_changes() {}, send() {},
            set(k, v) { state[k] = v; for (const [e, f] of [...listeners]) if (e === "change:" + k) f(); },
            on: (e, f) => listeners.push([e, f]),
            off: (e, f) => listeners.splice(listeners.findIndex(([a, b]) => a === e && b === f), 1),
        };
        const el = document.createElement("div");
        document.body.append(el);
        const cleanup = await module.default.render({ model, el });
        while (!el.querySelector(".featgeom[data-state=ready] .lm[data-painted]")) await frames_(1);
        window.close_ = () => {
            cleanup();
            const left = [el.childElementCount, listeners.length];
            el.remove();
            window.close_ = null;
            return left;
        };
    };
}'''

HOVERS = '''async (count) => {
    const plots = [...document.querySelectorAll(".lm-plot")], root = document.querySelector(".lm"), seen = new Set();
    const boxes = plots.map((o) => o.getBoundingClientRect());
    const event = (type, p, x, y) => plots[p].dispatchEvent(new PointerEvent(type, { clientX: boxes[p].left + x * boxes[p].width,
        clientY: boxes[p].top + y * boxes[p].height, bubbles: true, pointerType: "mouse" }));
    for (let i = 0; i < count; i++) {                    // the same path in every round
        event("pointermove", i % plots.length, 0.05 + 0.9 * ((i * 0.618) % 1), 0.05 + 0.9 * ((i * 0.414) % 1));
        if (root.dataset.hovered) seen.add(root.dataset.hovered);
        if (i % 5 === 4) await frames_(1);               // labels and card come with the frame
        if (i % 50 === 49) plots.forEach((_, p) => event("pointerleave", p, -1, -1));
    }
    await new Promise((done) => setTimeout(done, 400));  // what waits to be said or sent
    return seen.size;
}'''

RERENDERS = '''async (count) => {
    const slider = document.querySelector("input[type=range]"), colour = document.querySelector("select[aria-label*=olour]");
    const pictures = new Set(), options = [...colour.options].map((o) => o.value);
    const picture = () => [...document.querySelectorAll(".lm-base")].map((c) => c.getContext("2d").getImageData(0, 0, c.width, c.height).data
        .reduce((h, v) => (Math.imul(h, 31) + v) | 0, 7)).join();
    for (let i = 0; i < count; i++) {
        const slide = i % 2 === 0;
        if (slide) slider.value = String((i % 50) / 60);
        else colour.value = options[(i >> 1) % options.length];
        (slide ? slider : colour).dispatchEvent(new Event(slide ? "input" : "change", { bubbles: true }));
        await frames_(2);
        if (i < 20) pictures.add(picture());
    }
    slider.value = "0";
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    colour.value = options.at(-1);
    colour.dispatchEvent(new Event("change", { bubbles: true }));
    await new Promise((done) => setTimeout(done, 400));
    return pictures.size;
}'''

CYCLES = '''async (count) => {
    const left = [];
    for (let i = 0; i < count; i++) {
        await display();
        left.push(...close_());
        await frames_(2);
    }
    await new Promise((done) => setTimeout(done, 400));
    return left;
}'''

def big_enough():
    "A map whose arrays alone are far larger than what a round may leave behind."
    rng = np.random.default_rng(0)
    words = ['ab', '␣cd', 'ef', '␣gh', 'ij']
    def panel(name):
        cluster = rng.integers(0, 12, N)
        return Panel(name, rng.normal(size=(12, 2))[cluster]*2 + rng.normal(size=(N, 2)), rng.choice(words, (N, 3)).tolist(), fires=rng.integers(50, 9000, N),
                     cluster=cluster, cluster_labels=[f'cluster {o}' for o in range(12)], note='UMAP, seed 0')
    a = np.repeat(np.arange(N), 2)
    return LinkedMap([panel('A'), panel('B')], make_pairs(a, rng.integers(0, N, 2*N), rng.beta(2, 3, 2*N), null=np.full(2*N, .2)))

class Memory:
    "What a page holds after garbage collection."
    def __init__(self, page):
        self.page, self.ask = page, page.context.new_cdp_session(page)
        for domain in ('Performance', 'HeapProfiler'): self.ask.send(f'{domain}.enable')

    def now(self):
        "{bytes, nodes, listeners}: bytes of the JavaScript heap and of the buffers of typed arrays."
        for _ in range(3):                                             # finalisers of one collection feed the next
            self.ask.send('HeapProfiler.collectGarbage')
            self.page.wait_for_timeout(50)
        heap = self.ask.send('Runtime.getHeapUsage')
        counts = {o['name']: o['value'] for o in self.ask.send('Performance.getMetrics')['metrics']}
        return dict(bytes=heap['usedSize'] + heap.get('backingStorageSize', 0), nodes=counts['Nodes'], listeners=counts['JSEventListeners'])

    def growth(self, code, count):
        "The smaller growth of two rounds after a short one that warms up, and what each full round said."
        self.page.evaluate(code, max(2, count//10))
        before, grown, said = self.now(), [], []
        for _ in range(2):
            said.append(self.page.evaluate(code, count))
            after = self.now()
            grown.append({key: after[key] - before[key] for key in before})
            before = after
        return {key: min(o[key] for o in grown) for key in before}, said

@pytest.fixture
def page(offline_page):
    page, w = offline_page(fresh=True, viewport=dict(width=1400, height=950)), big_enough()
    names = set(w.traits(sync=True)) - set(anywidget.AnyWidget.class_traits(sync=True)) - {'payload', '_esm', '_css'}
    traits = json.loads(json.dumps({name: getattr(w, name) for name in names if not name.startswith('_')}))
    page.set_default_timeout(60_000)
    page.evaluate(HOST, [w._esm, w._css, base64.b64encode(w.payload).decode(), traits])
    yield page
    assert page.problems == []

def test_a_thousand_hovers_leave_nothing(page):
    page.evaluate('display()')
    grown, seen = Memory(page).growth(HOVERS, 1000)
    print(grown, seen)
    assert min(seen) > 200                                             # features were really under the pointer
    # 100 bytes a hover: less than any object with a listener or a node would take.
    assert grown['bytes'] < 100_000 and grown['nodes'] <= 20 and grown['listeners'] <= 0, grown

def test_a_hundred_re_renders_leave_nothing(page):
    page.evaluate('display()')
    grown, pictures = Memory(page).growth(RERENDERS, 100)
    print(grown, pictures)
    assert min(pictures) > 5                                           # the maps were really drawn again, in other ways
    # One byte a point and re-render, of the many masks that each makes anew, would be 600,000.
    assert grown['bytes'] < 200_000 and grown['nodes'] <= 20 and grown['listeners'] <= 0, grown

def test_twenty_displays_and_closes_leave_nothing(page):
    grown, left = Memory(page).growth(CYCLES, 20)
    print(grown)
    assert set(sum(left, [])) == {0}                                   # no element, no listener of the model
    # One display that stays holds its canvases' records and arrays: more than 400,000 bytes of buffers alone.
    assert grown['bytes'] < 300_000 and grown['nodes'] <= 20 and grown['listeners'] <= 0, grown
