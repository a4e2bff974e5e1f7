"""A picture of each page, light, dark and on a phone.

python -m tests.web.screenshots FOLDER [PAGE ...]
"""

from __future__ import annotations

import sys
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from PIL import Image
from playwright.sync_api import sync_playwright

from mmcoord.api.app import create_app
from mmcoord.api.service import Service
from mmcoord.config import Settings
from tests.web import sample
from tests.web.busy import PAGES, burst_page, busy
from tests.web.sample import EVENT, HEARD
from tests.web.server import serving
from tests.web.test_browser import ARGUMENTS, CHROMIUM, SIZES

_LOOKS = {"light": ("desktop", "light"), "dark": ("desktop", "dark"), "phone": ("phone", "light")}
_TALLEST = 2400
_EXTENT = """() => {
  const part = document.querySelector(":target");
  scrollTo(0, 0);  // what sticks to the top is drawn there
  if (!part) return [0, document.documentElement.scrollHeight];
  const top = part.getBoundingClientRect().top - 16;
  return [top, part.parentElement.getBoundingClientRect().bottom - top + 16];
}"""
"""Where a picture begins and how tall it is: the page, or from the part in its address on."""
_NOW = HEARD + timedelta(hours=2)
"""All clocks stand, the browser's too: the night of the sample."""


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as home, sync_playwright() as playwright:
        database = sample.open_store(Path(home))
        sample.fill(database)
        busy(database, _NOW)
        pages = PAGES | {
            "burst": burst_page(database, Path(home) / "out", _NOW),
            "tiles": f"/events/{EVENT}#h-tiles",
        }
        wanted = sys.argv[2:] or list(pages)
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        with (
            patch.object(Service, "now", lambda service: _NOW),
            serving(create_app(database, Settings(), list)) as address,
        ):
            for look, (size, scheme) in _LOOKS.items():
                width, height = SIZES[size]
                page = browser.new_context(
                    viewport={"width": width, "height": height}, color_scheme=scheme
                ).new_page()
                page.set_default_timeout(60_000)
                page.clock.set_fixed_time(_NOW)
                for name in wanted:
                    page.goto(address + pages[name], wait_until="load")
                    top, tall = page.evaluate(_EXTENT)
                    seen = page.screenshot(
                        full_page=True,
                        clip={"x": 0, "y": top, "width": width, "height": min(tall, _TALLEST)},
                    )
                    _small(seen).save(folder / f"{name}-{look}.png", optimize=True)
                page.context.close()
        browser.close()
        database.close()


def _small(seen: bytes) -> Image.Image:
    """The picture in 256 colours that are nowhere far from its own: a third of the bytes."""
    picture = Image.open(BytesIO(seen)).convert("RGB")
    return picture.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)


if __name__ == "__main__":
    main()
