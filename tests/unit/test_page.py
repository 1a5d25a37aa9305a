"""The status page without a browser and without a database: what is served, to how many, and how often."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any

import aiohttp
import pytest

from ingest.config.operation import Http
from ingest.operate.http import HEADERS, HttpServer
from ingest.page import Feed, Teller, routes
from ingest.page.facts import Facts
from ingest.page.feed import Client
from ingest.page.market import Choice
from ingest.page.overview import Rates
from ingest.pipeline.pipeline import Counts
from ingest.status import StreamStatus

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"
CHOICE = {"exchange": "binance", "symbol": "BTC/USDT", "seconds": 60}
STATIC = files("ingest.page").joinpath("static")
ASSETS = sorted(entry.name for entry in STATIC.iterdir())


class Pipeline:
    held_rows = 12
    counts = Counts(stored=1000, duplicate=5, rejected=1, spooled=40, lag_ns=250_000_000)


class Spool:
    batches, rows, bytes, max_bytes = 3, 40, 9_000, 8_000_000_000


FACTS = Teller(Pipeline(), Spool(), queue_max_rows=500_000, now_ns=lambda: 1_795_262_400_000_000_000)


@asynccontextmanager
async def serving(url: str = NOWHERE, **bounds: Any) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of the page, whose feed runs; a second of it lasts 20 ms here."""
    send_seconds = bounds.pop("send_seconds", 10.0)
    feed = Feed(url, FACTS, period_seconds=0.02, **bounds)
    server = HttpServer(Http(port=0), routes(feed, send_seconds=send_seconds))
    async with server.running(), asyncio.TaskGroup() as group:
        running = group.create_task(feed.run())
        async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session:
            yield session
        running.cancel()


async def test_the_page_and_its_files_are_served_with_the_headers() -> None:
    types = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
    async with serving() as session:
        for name in ASSETS:
            async with session.get("/" if name == "index.html" else f"/page/{name}") as reply:
                assert reply.status == 200
                assert await reply.read() == STATIC.joinpath(name).read_bytes()
                assert reply.content_type == types[name.rpartition(".")[2]]
                assert {header: reply.headers.get(header) for header in HEADERS} == HEADERS
        async with session.get("/page/index.html") as reply:
            assert reply.status == 404


@pytest.mark.parametrize("name", ASSETS)
def test_no_file_needs_what_the_policy_forbids(name: str) -> None:
    """Nothing from another host, and neither script nor style in the page itself."""
    text = STATIC.joinpath(name).read_text()
    assert set(re.findall(r"https?://[^\"' )]+", text)) <= {"http://www.w3.org/2000/svg"}
    assert re.findall(r"\binnerHTML\b|\beval\(|\bstyle=|\bon(click|load|input)=|<style|javascript:", text) == []
    assert [tag for tag in re.findall(r"<script[^>]*>", text) if "src=" not in tag] == []


def test_every_module_that_is_imported_is_there() -> None:
    scripts = [name for name in ASSETS if name.endswith(".js")]
    imported = {
        name for script in scripts for name in re.findall(r'from "\./(.+?)"', STATIC.joinpath(script).read_text())
    }
    assert imported | {"page.js"} == set(scripts)


async def test_a_database_that_is_away_is_told_with_what_the_daemon_knows() -> None:
    async with serving() as session, session.ws_connect("/page/feed") as socket:
        told = await socket.receive_json(timeout=30)
        assert told.pop("away").startswith("the database does not take it: connection ")
        assert told == {
            "daemon": {
                "version": "0.1.0",
                "now_ms": 1_795_262_400_000,
                "started_ms": 1_795_262_400_000,
                "held_rows": 12,
                "queue_max_rows": 500_000,
                "stored": 1000,
                "duplicate": 5,
                "rejected": 1,
                "spooled": 40,
                "lag_ms": 250,
                "spool_batches": 3,
                "spool_rows": 40,
                "spool_bytes": 9_000,
                "spool_max_bytes": 8_000_000_000,
            }
        }
        assert "away" in await socket.receive_json(timeout=30)  # it is tried again


async def test_a_viewer_gets_at_most_one_update_a_period() -> None:
    """However often there is something new, and whatever it asks for meanwhile."""
    feed = Feed(NOWHERE, FACTS, period_seconds=0.2)
    server = HttpServer(Http(port=0), routes(feed))
    async with server.running(), aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session:
        began = time.monotonic()
        async with session.ws_connect("/page/feed") as socket:
            while not feed.clients:  # noqa: ASYNC110 - the server tells of no event
                await asyncio.sleep(0)
            for number in range(5):
                for client in feed.clients:
                    client.offer({"daemon": _facts(number)})
                await socket.send_json({**CHOICE, "seconds": number + 1})
                await socket.receive_json(timeout=30)
        assert time.monotonic() - began >= 4 * 0.2


async def test_one_viewer_too_many_is_told_to_come_back() -> None:
    async with serving(max_clients=2) as session:
        address = "/page/feed"
        async with session.ws_connect(address), session.ws_connect(address), session.ws_connect(address) as third:
            assert (await third.receive(timeout=30)).type is aiohttp.WSMsgType.CLOSE
            assert third.close_code == 1013
        while True:  # those who left make room as soon as the server notices
            async with session.ws_connect("/page/feed") as socket:
                if (await socket.receive(timeout=30)).type is aiohttp.WSMsgType.TEXT:
                    break


@pytest.mark.parametrize(
    "said",
    [
        "hello",
        "{}",
        json.dumps({**CHOICE, "seconds": 0}),
        json.dumps({**CHOICE, "seconds": 10**9}),
        json.dumps({**CHOICE, "symbol": ""}),
        json.dumps({**CHOICE, "query": "DROP TABLE"}),
        "\ufffe" * 300,
    ],
)
async def test_what_is_no_choice_ends_the_connection(said: str) -> None:
    async with serving() as session, session.ws_connect("/page/feed") as socket:
        await socket.send_str(said)
        while not socket.closed:
            await socket.receive(timeout=30)
        assert socket.close_code == 1008


async def test_a_message_beyond_the_bound_ends_the_connection() -> None:
    async with serving() as session, session.ws_connect("/page/feed") as socket:
        await socket.send_str(" " * 5_000)
        while not socket.closed:
            await socket.receive(timeout=30)
        assert socket.close_code == 1009


async def test_the_end_of_the_daemon_is_told() -> None:
    feed = Feed(NOWHERE, FACTS, period_seconds=0.02)
    async with HttpServer(Http(port=0), routes(feed)).running(), asyncio.TaskGroup() as group:
        running = group.create_task(feed.run())
        client = feed.enter()
        assert client is not None
        await client.next()
        running.cancel()
        await asyncio.wait([running])
        assert await client.next() is None


async def test_what_a_viewer_has_not_fetched_is_replaced_by_what_is_newer() -> None:
    client = Client(asyncio.Event())
    for number in range(1000):
        client.offer({"daemon": _facts(number), "away": f"word {number}"})
    told = json.loads(await client.next() or b"")
    assert (told["daemon"]["stored"], told["away"]) == (999, "word 999")
    client.offer({"daemon": _facts(1), "away": "away"})
    client.offer({"daemon": _facts(2)})
    assert "away" not in json.loads(await client.next() or b"")


async def test_a_new_choice_drops_what_was_chosen_before() -> None:
    changed = asyncio.Event()
    client = Client(changed)
    client.offer({"daemon": _facts(1), "market": {"choice": "the old one"}})
    client.choose(Choice("binance", "ETH/USDT", 60))
    assert changed.is_set()
    assert "market" not in json.loads(await client.next() or b"")


async def test_a_viewer_that_does_not_read_is_cut_off() -> None:
    """Its socket takes a few 100 kB, then sending waits."""
    feed = Feed(NOWHERE, FACTS, period_seconds=0.0)
    server = HttpServer(Http(port=0), routes(feed, send_seconds=0.2))
    async with server.running():
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(
            f"GET /page/feed HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        await reader.readuntil(b"\r\n\r\n")
        async with asyncio.timeout(60):
            while not feed.clients:  # noqa: ASYNC110 - the server tells of no event
                await asyncio.sleep(0)
            (viewer,) = feed.clients
            while feed.clients:
                viewer.offer({"daemon": _facts(1), "away": "x" * 500_000})
                await asyncio.sleep(0.001)
        writer.close()


def test_rates_are_those_of_the_last_minute() -> None:
    rates = Rates()
    assert _told(rates, 0, 100) is None  # seen for the first time
    assert _told(rates, 10, 200) == 10.0
    for second in range(20, 200, 5):
        told = _told(rates, second, 200)
    assert told == 0.0
    assert _told(rates, 200, 260) == 1.0
    rates.clear()
    assert _told(rates, 201, 500) is None


def test_a_stream_that_comes_later_has_a_rate_later() -> None:
    rates = Rates()
    rates.applied([_stream("trades", 10)], 0.0)
    told = rates.applied([_stream("trades", 30), _stream("book", 50)], 10.0)
    assert [stream.rows_per_second for stream in told] == [2.0, None]


def _told(rates: Rates, second: float, rows: int) -> float | None:
    return rates.applied([_stream("trades", rows)], second)[0].rows_per_second


def _stream(channel: str, rows: int) -> StreamStatus:
    return StreamStatus("binance", "BTC/USDT", channel, "live", None, 1.0, None, 1.0, 0.1, rows, 0)


def _facts(stored: int) -> Facts:
    return Facts("0", 0, 0, 0, 1, stored, 0, 0, 0, 0, 0, 0, 0, 1)
