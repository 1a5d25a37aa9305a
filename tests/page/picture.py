"""`make page-picture`: the status page as the README shows it, of a real daemon on the simulator's market.

It watches for a minute and a half first, so that rates have a history.
"""

import shutil
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.conftest import _server
from tests.fault.stage import Stage, block
from tests.fault.venue import Venue
from tests.page.conftest import FLAGS, Viewer, address

SYMBOLS = ("BTC/USDT", "ETH/USDT", "SOL/USDT", "XRP/USDT")
CHANNELS = ("trades", "candles", "book", "quotes", "ticker")
MARKET = {
    "--symbols": ",".join(SYMBOLS),
    "--trades-per-second": "60",
    "--burst": "3",
    "--history-minutes": "180",
    "--history-trades-per-minute": "1000",
}
_WATCH = "() => document.querySelector('#spark polyline')?.points.length >= 88"
_MAX_BYTES = 300_000


def take(path: Path) -> None:
    """Writes a PNG; raises AssertionError for one that a README should not load."""
    second = str(int(time.time()) % 60)
    with tempfile.TemporaryDirectory() as folder, _server() as server, server.migrated() as url:
        venue = Venue(*[word for flag in MARKET.items() for word in flag], "--start-second", second)
        stage = Stage(Path(folder), venue, url, collect=block(SYMBOLS, CHANNELS))
        try:
            stage.start_live(len(SYMBOLS) * len(CHANNELS))
            stage.go()
            _photograph(address(stage), path)
        finally:
            stage.close()
            venue.close()
    assert path.stat().st_size < _MAX_BYTES, path.stat().st_size


def _photograph(at: str, path: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), headless=True, args=FLAGS)
        viewer = Viewer(browser.new_page(viewport={"width": 1400, "height": 1200}, color_scheme="dark"))
        viewer.page.set_default_timeout(300_000)
        viewer.open(at)
        viewer.until(_WATCH)
        bottom = viewer.page.evaluate("document.getElementById('streams').getBoundingClientRect().bottom")
        path.parent.mkdir(parents=True, exist_ok=True)
        viewer.page.screenshot(path=path, clip={"x": 0, "y": 0, "width": 1400, "height": bottom + 10})
        assert viewer.errors == []
        browser.close()


if __name__ == "__main__":
    take(Path(sys.argv[1]))
