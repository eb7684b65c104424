"""Make the README's pictures: `python tests/picture.py docs/linked-map.png docs/dashboard.png` compares the embedded models and
photographs the linked map and, as far as the scatter, the dashboard of the pinned pair. `-` leaves one out.

The pair is the one that agrees most within occurrences of one token, among mutual partners beyond chance."""
from pathlib import Path
from tempfile import TemporaryDirectory
import shutil, sys

import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright

import featgeom as fg
from featgeom.stories import tell

WIDE = 1200

def compared():
    "The comparison that README and `featgeom demo` show."
    spaces = [fg.FeatureSpace.load(model=fg.zoo_path(name), sae=fg.zoo_path(f'{name}/sae-1024'), name=title)
              for name, title in (('story-1l', 'one layer'), ('story-2l', 'two layers'))]
    return fg.compare(*spaces, tell(2000, seed=1), progress=False)

def photographed(page_path, out, browser, height, last=None):
    "The page as it opens; down to the end of what `last` selects."
    page = browser.new_page(viewport=dict(width=WIDE, height=height))
    page.goto(Path(page_path).as_uri())
    page.wait_for_timeout(2000)
    if last:
        box = page.locator(last).bounding_box()
        height = min(height, int(box['y'] + box['height'] + 8))
    page.screenshot(path=out, clip=dict(x=0, y=0, width=WIDE, height=height))

def main(map_out, board_out='-'):
    c = compared()
    best = c.pairs.best()
    good = best[(best.q < .05) & best.mutual & (best.within_p < .05)]
    top = int(np.argmax(good.within))
    browser_path = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
    with TemporaryDirectory() as tmp, sync_playwright() as p:
        browser = p.chromium.launch(executable_path=browser_path, args=['--no-sandbox'])
        if map_out != '-':
            c.map.pinned = [['one layer', int(good.a[top])]]
            photographed(c.save(Path(tmp)/'map.html'), map_out, browser, 860)
        if board_out != '-':
            board = c.dashboard(pairs=good[np.argsort(-good.within, kind='stable')[:100]])
            photographed(board.save(Path(tmp)/'dashboard.html'), board_out, browser, 1400, '.ds-scatter')
            Image.open(board_out).convert('RGB').quantize(256, dither=Image.Dither.NONE).save(board_out, optimize=True)
        browser.close()

if __name__ == '__main__': main(*sys.argv[1:])
