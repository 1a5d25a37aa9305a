"""The status page in a browser: a real daemon on the simulator's market, and what a person then sees.

`make test-page`. Every test ends with a console without errors and no request to another host.
"""

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from ingest.simulator.faults import Drop, Refuse
from tests.fault.conftest import Set
from tests.fault.line import Line
from tests.fault.stage import Stage, block
from tests.page.conftest import View, Viewer, address

pytestmark = pytest.mark.page

TRADES = "binance BTC/USDT trades"
DRAWN = """() => [...document.querySelectorAll("#chart .candle")].map((candle) => {
  const [wick, body, volume] = candle.children, box = (element) => element.getBBox();
  return { ...candle.dataset, up: candle.classList.contains("up"),
    x: box(wick).x, top: box(wick).y, bottom: box(wick).y + box(wick).height,
    bodyTop: box(body).y, bodyHeight: box(body).height, volumeHeight: box(volume).height };
})"""


@pytest.fixture
def viewer(view: View) -> Iterator[Viewer]:
    """One at a desk, with a clean console at the end."""
    made = view()
    yield made
    clean(made)


def clean(viewer: Viewer) -> None:
    assert viewer.errors == []
    assert viewer.hosts == {"127.0.0.1"}


def test_a_stream_goes_down_and_comes_back(running: Stage, viewer: Viewer) -> None:
    viewer.open(address(running))
    viewer.wait_for_stream(TRADES, "live")
    viewer.wait_for_text("#state", "all live")
    assert viewer.text("#figure-streams") == "9 / 9"
    running.venue.fault(Refuse(503, seconds=6.0))
    running.venue.fault(Drop("abort"))
    viewer.wait_for_stream(TRADES, "reconnecting")
    viewer.wait_for_text("#state", "not live")
    viewer.page.get_by_label("only what is not live").check()
    assert viewer.page.locator(f'[data-stream="{TRADES}"]').is_visible()
    viewer.wait_for_stream(TRADES, "live")
    viewer.wait_for_text("#state", "all live")
    viewer.wait_for_text("#streams-count", "Every stream is live.")
    viewer.wait_for_text("#gaps-body", "BTC/USDT trades")
    viewer.wait_for_text("#gaps-body", "repaired")


def test_the_chart_draws_the_stored_candles(running: Stage, viewer: Viewer) -> None:
    running.wait(lambda: running.count("SELECT count(*) FROM ingest.candles_1m") >= 360)
    viewer.open(address(running) + "/#binance/ETH/USDT/1m")
    viewer.until("() => document.querySelectorAll('#chart .candle').length > 100")
    statement = (
        "SELECT extract(epoch FROM time)::bigint, open::text, high::text, low::text, close::text, volume::text"
        " FROM market.ohlcv('binance', 'ETH/USDT', '1 minute', now() - INTERVAL '1 day') ORDER BY time"
    )
    before = running.fetch(statement)
    drawn = viewer.page.evaluate(DRAWN)
    after = running.fetch(statement)  # a minute may have closed meanwhile
    stored = [row for row in after if row[0] <= int(drawn[-1]["time"])]
    assert len(before) - 1 <= len(drawn) <= len(after)
    shown = [(int(c["time"]), c["open"], c["high"], c["low"], c["close"], c["volume"]) for c in drawn]
    assert shown == stored[-160:]
    assert_to_scale(drawn)


def assert_to_scale(drawn: list[dict[str, Any]]) -> None:
    """Prices run up, time to the right, both evenly; bodies go from open to close, volumes stand on the ground."""
    high, low = max(float(c["high"]) for c in drawn), min(float(c["low"]) for c in drawn)
    top, bottom = min(c["top"] for c in drawn), max(c["bottom"] for c in drawn)
    pixels = (bottom - top) / (high - low)
    first, last = drawn[0], drawn[-1]
    across = (last["x"] - first["x"]) / (float(last["time"]) - float(first["time"]))
    most = max(float(c["volume"]) for c in drawn)
    tallest = max(c["volumeHeight"] for c in drawn)
    near = pytest.approx
    for c in drawn:
        assert c["x"] == near(first["x"] + (float(c["time"]) - float(first["time"])) * across, abs=0.1)
        assert c["top"] == near(top + (high - float(c["high"])) * pixels, abs=0.1)
        assert c["bottom"] == near(top + (high - float(c["low"])) * pixels, abs=0.1)
        upper, lower = sorted((float(c["open"]), float(c["close"])), reverse=True)
        assert c["bodyTop"] == near(top + (high - upper) * pixels, abs=0.1)
        assert c["bodyHeight"] == near(max(1.0, (upper - lower) * pixels), abs=0.1)
        assert c["volumeHeight"] == near(float(c["volume"]) / most * tallest, abs=0.1)
        assert c["up"] is (float(c["close"]) >= float(c["open"]))


def test_updates_arrive_by_themselves(running: Stage, viewer: Viewer) -> None:
    viewer.open(address(running) + "/#binance/BTC/USDT/5s")
    viewer.until("() => document.querySelectorAll('#trades tbody tr').length >= 10")
    for selector in ("#trades tbody", "#book tbody", "#figure-rate", "#note-rate", "#clock", "#readout"):
        before = viewer.text(selector)
        viewer.until("([s, before]) => document.querySelector(s).innerText !== before", [selector, before])
    running.venue.freeze()
    running.settle()
    running.venue.freeze()
    newest = "SELECT price::text FROM market.last_trades('binance', 'BTC/USDT', 1)"
    price = running.fetch(newest)[0][0]
    viewer.until("(price) => document.querySelector('#trades tbody td span[title]')?.title === price", price)


def test_any_instrument_and_interval_can_be_chosen(running: Stage, viewer: Viewer) -> None:
    page = viewer.page
    viewer.open(address(running))
    viewer.until("() => document.querySelectorAll('#chart .candle').length > 100")
    page.get_by_label("Instrument").select_option("binance SOL/USDT")
    viewer.until("() => document.getElementById('chart').ariaLabel.includes('SOL/USDT at binance')")
    page.get_by_label("Another length of a candle").fill("7m")
    page.keyboard.press("Enter")
    viewer.until("() => document.querySelectorAll('#chart .candle').length < 30")
    assert page.url.endswith("/#binance/SOL/USDT/7m")
    page.get_by_text("15m", exact=True).click()
    viewer.until("() => location.hash.endsWith('/15m') && !document.querySelector('[aria-busy]')")
    page.get_by_label("Filter by exchange").fill("eth book")
    viewer.wait_for_text("#streams-count", "1 of 9 streams")
    page.get_by_label("Filter by exchange").fill("nonsense")
    viewer.wait_for_text("#streams-count", "No stream fits.")


def test_the_chart_can_be_read_by_keyboard(running: Stage, viewer: Viewer) -> None:
    viewer.open(address(running))
    viewer.until("() => document.querySelectorAll('#chart .candle').length > 100")
    viewer.page.locator("#chart").focus()
    viewer.page.keyboard.press("Home")
    first = viewer.page.evaluate("document.querySelector('#chart .candle').dataset.time * 1000")
    moment = viewer.page.evaluate("(t) => new Date(t).toISOString().slice(0, 19).replace('T', ' ')", first)
    assert viewer.text("#chart-spoken").startswith(moment)
    viewer.page.keyboard.press("ArrowRight")
    assert not viewer.text("#chart-spoken").startswith(moment)


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("width", [360, 768, 1440])
def test_it_fits_and_can_be_read(running: Stage, view: View, scheme: str, width: int) -> None:
    """No horizontal scroll, every control has a name, and every text stands out from its ground (WCAG AA, 4.5)."""
    viewer = view(width=width, height=800, color_scheme=scheme)
    viewer.open(address(running))
    viewer.until("() => document.querySelectorAll('#chart .candle').length > 100")
    viewer.until("() => document.querySelector('#database-body table')")
    assert viewer.page.evaluate("document.documentElement.scrollWidth") <= width
    assert viewer.page.evaluate(UNNAMED) == []
    assert viewer.page.evaluate(PALE) == []
    clean(viewer)


UNNAMED = """() => [...document.querySelectorAll("input, select, button, [tabindex], svg[role], img")]
  .filter((e) => !(e.labels?.length && e.labels[0].textContent.trim()) && !e.ariaLabel && !e.hasAttribute("alt"))
  .map((e) => e.outerHTML.slice(0, 80))"""
PALE = """() => {
  const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
  const over = ([r, g, b, a = 1], below) => [r, g, b].map((part, at) => part * a + below[at] * (1 - a));
  const light = (rgb) => rgb.map((part) => part / 255)
    .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
  const ground = (e) => e ? over(numbers(getComputedStyle(e).backgroundColor), ground(e.parentElement))
    : [255, 255, 255];
  const pale = new Set(), walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement, svg = e.closest("svg");
    if (!walk.currentNode.data.trim() || !e.checkVisibility() || (svg && e.closest(".last"))) continue;
    const style = getComputedStyle(e), back = ground(svg ?? e);
    const ink = over(numbers(svg ? style.fill : style.color), back);
    const [a, b] = [light(ink), light(back)].sort((x, y) => y - x), ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) pale.add(`${e.className || e.tagName} ${ratio.toFixed(2)}`);
  }
  return [...pale];
}"""


def test_what_is_renewed_stays_where_the_reader_has_put_it(running: Stage, viewer: Viewer) -> None:
    """Gaps are read anew every five seconds: the table keeps its place and the focus."""
    running.fetch(
        "INSERT INTO ingest.gaps (instrument_id, channel, from_time, cause, state)"
        " SELECT 1, 'quotes', now() - n * INTERVAL '1 minute', 'test', 'unrecoverable' FROM generate_series(1, 40) n"
        " RETURNING 1"
    )
    viewer.open(address(running))
    viewer.until("() => document.querySelectorAll('#gaps-body tbody tr').length > 20")
    viewer.page.evaluate(
        "() => { const it = document.querySelector('#gaps-body .scroll'); it.focus(); it.scrollTop = 99; }"
    )
    old = viewer.page.locator("#gaps-body .scroll").element_handle()
    viewer.until("(old) => !old.isConnected", old)
    assert viewer.page.evaluate("document.querySelector('#gaps-body .scroll').scrollTop") == 99
    assert viewer.page.evaluate("document.activeElement === document.querySelector('#gaps-body .scroll')")


def test_a_database_that_is_away_is_said_and_found_again(stage: Set, line: Line, view: View, database_url: str) -> None:
    it = stage(line.url, direct_url=database_url)
    it.start_live()
    it.go()
    viewer = view()
    viewer.open(address(it))
    viewer.wait_for_text("#state", "all live")
    line.refuse()
    viewer.wait_for_text("#state", "database away")
    viewer.wait_for_text("#notice", "Collecting goes on, rows wait on disk")
    viewer.until("() => document.getElementById('note-spool').innerText.includes('of the spool')")
    line.accept()
    viewer.wait_for_text("#state", "all live")
    viewer.until("() => document.getElementById('notice').hidden")
    clean(viewer)


def test_nothing_collected_yet_says_what_to_do(stage: Set, viewer: Viewer) -> None:
    it = stage(collect=block(["NONE/*"]))
    it.start()
    viewer.open(address(it))
    viewer.wait_for_text("#state", "nothing collected yet")
    assert "[[collect]] block of ingest.toml" in viewer.text("#streams-body")
    assert viewer.text("#gaps-body").strip() == "Nothing was ever missed: no stream has a gap."


def test_a_daemon_that_ends_is_said_and_its_successor_found(stage: Set, view: View) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    it = stage(collect=block(["BTC/USDT"]), http=f"port = {port}")
    it.start_live(3)
    viewer = view()
    viewer.open(f"http://127.0.0.1:{port}")
    viewer.wait_for_text("#state", "all live")
    assert it.stop() == 0
    viewer.wait_for_text("#state", "no connection")
    assert "This page goes on trying" in viewer.text("#notice")
    it.start_live(3)
    viewer.wait_for_text("#state", "all live")
    assert [error for error in viewer.errors if "ERR_CONNECTION_REFUSED" not in error] == []
    assert viewer.hosts == {"127.0.0.1"}


def test_a_token_opens_the_page_once_and_stays_out_of_the_address(stage: Set, viewer: Viewer) -> None:
    it = stage(http='port = 0\ntoken = "a-token-of-24-characters"')
    it.start_live()
    at = address(it)
    reply = viewer.page.request.get(at)
    assert reply.status == 401
    viewer.open(f"{at}/?token=a-token-of-24-characters")
    assert viewer.page.url == f"{at}/"
    viewer.wait_for_text("#state", "all live")
