"""On two real models, a saved page answers "which features of A about names have no partner in B beyond chance?" in three gestures.

Names are those that the stories themselves give ("a boy named Tim"); a feature is about names where more than a tenth of its activation
lies on tokens inside them, which are 3 % of all. What the page lists is compared with the same answer worked out from the pairs."""
from dataclasses import replace
from types import SimpleNamespace
import json, re, time

import numpy as np, pytest

import featgeom as fg
from featgeom import LinkedMap

READY = '.featgeom[data-state=ready] .lm[data-painted]'
MODELS, SITE, ENOUGH = ('stories260k', 'llama2xs'), 'blocks.4.hook_resid_post', .1

def inside_names(rows, texts):
    "Which rows are tokens that overlap with a name, (n,) bool."
    names = set(re.findall(r'\bnamed ([A-Z][a-z]+)', ' '.join(texts)))
    assert 'Lily' in names and len(names) > 10
    name, out = re.compile(rf'\b(?:{"|".join(sorted(names))})\b'), np.zeros(len(rows.doc), bool)
    for doc, text in enumerate(texts):
        own = np.flatnonzero(rows.doc == doc)
        for found in name.finditer(text): out[own[(rows.start[own] < found.end()) & (rows.end[own] > found.start())]] = True
    return out

def share_inside(acts, inside):
    "The share of every feature's activation that lies on the chosen rows, (f,), 0 for the dead."
    csr = acts.csr()
    total, part = (np.asarray(o.sum(0), np.float64).ravel() for o in (csr, csr[np.flatnonzero(inside)]))
    return part/np.maximum(total, 1e-30)

@pytest.fixture(scope='module')
def found(test_data):
    "The comparison, each side's share inside names, and the answer for each side: {model: ids}."
    stories, spaces = json.loads((test_data/'text/tinystories_1000.json').read_text(encoding='utf-8'))[:200], []
    for name in MODELS:
        model = fg.load_model(test_data/'models'/name)
        sae = fg.train_sae(model, SITE, stories, 1024, k=16, tokens=100_000, seed=0, progress=False)
        spaces.append(fg.FeatureSpace.load(model=model, sae=sae, name=name))
    texts = stories[:120]
    c = fg.compare(*spaces, texts, min_fires=3, method='pca', progress=False)
    inside = inside_names(c.acts_a.rows, texts)
    assert .01 < inside.mean() < .1
    shares = [share_inside(o, inside) for o in (c.acts_a, c.acts_b)]
    p, answer, about = c.pairs, {}, {}
    tested, beyond = np.isfinite(p.null), p.q <= .05
    for name, share, mine, drawn in zip(MODELS, shares, (p.a, p.b), c.embeddings):
        ids = np.flatnonzero(drawn.kept & (share > ENOUGH))
        about[name] = set(ids.tolist())
        answer[name] = about[name] & set(mine[tested].tolist()) - set(mine[beyond].tolist())
    print({name: f'{len(answer[name])} of {len(about[name])} about names, of {int(o.kept.sum())}' for name, o in zip(MODELS, c.embeddings)})
    return SimpleNamespace(c=c, shares=shares, about=about, answer=answer)

@pytest.fixture(scope='module')
def saved(found, tmp_path_factory):
    "The page: points coloured by what they read, with the share as their explanation."
    kinds = [{'reads': np.where(o > ENOUGH, 'names', 'other words').tolist()} for o in found.shares]
    panels = [replace(panel, explanations=[f'{share[id]:.0%} inside names' if share[id] > ENOUGH else '' for id in panel.ids])
              for panel, share in zip(found.c.panels(*kinds), found.shares)]
    return LinkedMap(panels, found.c.pairs, colour='reads').save(tmp_path_factory.mktemp('names')/'names.html')

def opened(offline_page, path):
    page = offline_page(path, viewport=dict(width=1500, height=1000))
    page.wait_for_selector(READY)
    return page

def lists(page, tab, wanted):
    "The open tab comes to list these features: {panel: ids}; rows follow the typing a little later."
    end = time.monotonic() + 10
    while True:
        if page.locator('.lm-more').is_visible(): page.click('.lm-more')   # rows come by the hundred
        rows = [o.rsplit(' ', 1) for o in page.locator('.lm-table tbody tr th .lm-name').all_inner_texts()]
        got = {name: {int(id) for panel, id in rows if panel == name} for name in MODELS}
        if got == wanted or time.monotonic() > end: break
        time.sleep(.1)
    assert got == wanted and len(rows) == sum(map(len, wanted.values()))
    assert page.get_attribute(f'[role=tab]:has-text("{tab}")', 'aria-selected') == 'true'

def test_the_answer_is_neither_nothing_nor_everything(found):
    about, answer = found.about[MODELS[0]], found.answer[MODELS[0]]
    assert len(about) > 20 and set() < answer < about < set(range(1024))

def test_three_gestures_in_the_map(found, saved, offline_page):
    page = opened(offline_page, saved)
    page.click('[data-entry="cat:names"]')                              # 1: leaves the features about names
    page.click('[data-entry="link:alone"]')                             # 2: of these, the ones that were tested and have no partner beyond chance
    box = page.locator('.lm-plot').first.bounding_box()
    page.keyboard.down('Shift')                                         # 3: a box round the map of A
    page.mouse.move(box['x'] + 3, box['y'] + 3)
    page.mouse.down()
    page.mouse.move(box['x'] + box['width'] - 3, box['y'] + box['height'] - 3, steps=5)
    page.mouse.up()
    page.keyboard.up('Shift')
    lists(page, 'selected', {MODELS[0]: found.answer[MODELS[0]], MODELS[1]: set()})
    assert page.problems == []

def test_three_gestures_by_searching(found, saved, offline_page):
    page = opened(offline_page, saved)
    page.select_option('select[aria-label="What to search for"]', 'label')   # 1: search in explanations
    page.locator('input[type=search]').press_sequentially('inside names')    # 2: this opens the table of what is found
    lists(page, 'found', found.about)
    page.click('[data-entry="link:alone"]')                                  # 3: without a partner beyond chance
    lists(page, 'found', found.answer)                                       # for both sides, each beside its model's name
    assert page.problems == []
