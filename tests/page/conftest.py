"""A headless Chromium, and a viewer that notices what a page must not do. Skips where there is no browser."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.fault.conftest import Set, line, stage, venue
from tests.fault.stage import Stage

__all__ = ["line", "stage", "venue"]

pytest.importorskip("playwright", reason="no Playwright: `make test-page` installs it", exc_type=ImportError)

from playwright.sync_api import Browser, Page, sync_playwright

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 60_000


class Viewer:
    """One browser's tab. `errors` are what its console said as such, `hosts` where it asked for anything."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []
        self.hosts: set[str | None] = set()
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", lambda said: self.errors.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.hosts.add(urlsplit(request.url).hostname))
        page.on("websocket", lambda socket: self.hosts.add(urlsplit(socket.url).hostname))

    def open(self, address: str) -> None:
        self.page.goto(address)

    def until(self, script: str, argument: object = None) -> None:
        """Until the script gives something true in the page."""
        self.page.wait_for_function(script, arg=argument)

    def text(self, selector: str) -> str:
        text: str = self.page.locator(selector).inner_text()  # without Playwright, mypy knows no types of it
        return text

    def wait_for_text(self, selector: str, part: str) -> None:
        self.until("([s, part]) => document.querySelector(s)?.innerText.includes(part)", [selector, part])

    def stream(self, name: str) -> str | None:
        """A stream's state as the page has it: `binance BTC/USDT trades`."""
        state: str | None = self.page.locator(f'[data-stream="{name}"]').get_attribute("data-state")
        return state

    def wait_for_stream(self, name: str, state: str) -> None:
        self.until('([n, s]) => document.querySelector(`[data-stream="${n}"]`)?.dataset.state === s', [name, state])


View = Callable[..., Viewer]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium of the distribution, with a profile that is new and goes with it."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("no Chromium: `make test-page` installs it as root (apt-get install -y chromium)")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, headless=True, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def view(browser: Browser) -> Iterator[View]:
    """Opens tabs, with the keywords of a Playwright context; by default dark and of a desk's size."""
    with ExitStack() as stack:

        def build(*, width: int = 1440, height: int = 1000, **keywords: Any) -> Viewer:
            size: Any = {"width": width, "height": height}
            context = browser.new_context(viewport=size, **{"color_scheme": "dark", **keywords})
            stack.callback(context.close)
            return Viewer(context.new_page())

        yield build


@pytest.fixture
def running(stage: Set) -> Stage:
    """A daemon on a market that runs, all nine streams live."""
    made = stage(ping_seconds=1.0)
    made.start_live()
    made.go()
    return made


def address(made: Stage) -> str:
    """Where the daemon of a stage answers."""
    made.wait(lambda: made.events("http.listening") > 0)
    return str(made.said("http.listening")[-1]["url"])
