"""Make the README's picture: `python tests/picture.py docs/linked-map.png` compares the embedded models and photographs the page.

The pinned pair is the one that agrees most within occurrences of one token, among mutual partners beyond chance."""
from pathlib import Path
from tempfile import TemporaryDirectory
import shutil, sys

import numpy as np
from playwright.sync_api import sync_playwright

import featgeom as fg
from featgeom.stories import tell

def compared():
    "The comparison that README and `featgeom demo` show."
    spaces = [fg.FeatureSpace.load(model=fg.zoo_path(name), sae=fg.zoo_path(f'{name}/sae-1024'), name=title)
              for name, title in (('story-1l', 'one layer'), ('story-2l', 'two layers'))]
    return fg.compare(*spaces, tell(2000, seed=1), progress=False)

def main(out):
    c = compared()
    best = c.pairs.best()
    good = best[(best.q < .05) & best.mutual & (best.within_p < .05)]
    c.map.pinned = [['one layer', int(good.a[np.argmax(good.within)])]]
    browser_path = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
    with TemporaryDirectory() as tmp, sync_playwright() as p:
        page_path = c.save(Path(tmp)/'map.html')
        browser = p.chromium.launch(executable_path=browser_path, args=['--no-sandbox'])
        page = browser.new_page(viewport=dict(width=1200, height=860))
        page.goto(Path(page_path).as_uri())
        page.wait_for_timeout(2000)
        page.screenshot(path=out)
        browser.close()

if __name__ == '__main__': main(sys.argv[1])
