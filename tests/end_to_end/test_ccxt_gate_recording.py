"""A recording of Gate.io, served to ccxt's own `gate` by a local venue, into TimescaleDB, against another reading.

The frames are the recorded ones, byte by byte; the acknowledgements, which name the client's request, are made here.
Book snapshots are answered from the recorded replies, which lack the time that ccxt wants of today's: it is the one of
the recording. The reading below shares no code with the program.
"""

import asyncio
import gzip
import json
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import ccxt
import psycopg
import pytest
from websockets.asyncio.server import ServerConnection, serve

from ingest.collect.collector import Collector
from ingest.config.model import Config
from ingest.exchanges.adapter import Options
from ingest.exchanges.ccxt_frames import Book, decode
from ingest.recording import Recorder
from ingest.records import Channel, Instrument
from ingest.replay import replay
from tests.conftest import Fetch
from tests.end_to_end.ccxt_collecting import collecting, until

STREAMS = Path(__file__).resolve().parents[3] / "shared" / "recordings" / "streams"
FILE = STREAMS / "GATEIO.ws.1.0.gz"
CHANNELS: tuple[Channel, ...] = ("trades", "candles", "book", "ticker")

pytestmark = pytest.mark.skipif(not FILE.exists(), reason="the recordings (../shared/recordings) are not at hand")


def lines(name: str) -> list[str]:
    with gzip.open(STREAMS / name, "rt") as file:
        return [line for line in file.read().splitlines() if line.strip()]


def updates() -> list[str]:
    """The frames with data, as they were."""
    frames = [line.partition(": ")[2] for line in lines(FILE.name) if re.match(r"[0-9.]+: ", line)]
    return [frame for frame in frames if json.loads(frame)["event"] == "update"]


def replies() -> dict[str, str]:
    """Recorded books by native symbol."""
    found = {}
    for line in lines("GATEIO.http.0.0.gz"):
        if " -> " in line:
            url, _, rest = line.partition(" -> ")
            time, _, body = rest.partition(": ")
            current = f'{{"current":{int(Decimal(time) * 1000)},'
            found[parse_qs(urlsplit(url).query)["currency_pair"][0]] = body.replace("{", current, 1)
    return found


def listing() -> str:
    return lines("GATEIO.0.gz")[0].partition(": ")[2]


def unified(native: str) -> str:
    return native.replace("_", "/")


Side = dict[Decimal, tuple[str, str]]


class Expected:
    """What the file says: each book's state by its sequence, and the rows of the other channels."""

    def __init__(self) -> None:
        self.trades: set[tuple[Any, ...]] = set()
        self.candles: dict[tuple[str, int], tuple[Any, ...]] = {}
        self.tickers: dict[str, tuple[Any, ...]] = {}
        self.books: dict[tuple[str, int], tuple[Any, Any]] = {}
        self.last: dict[str, int] = {}
        self.counts: Counter[str] = Counter()
        books: dict[str, tuple[int, Side, Side]] = {}
        snapshots = replies()
        for frame in updates():
            message = json.loads(frame)
            data, kind = message["result"], message["channel"].removeprefix("spot.")
            self.counts[kind] += 1
            if kind == "trades":
                ms = int(Decimal(data["create_time_ms"]))
                symbol = unified(data["currency_pair"])
                self.trades.add((symbol, str(data["id"]), ms, data["side"], data["price"], data["amount"]))
            elif kind == "candlesticks":
                symbol, values = unified(data["n"].removeprefix("1m_")), [data[name] for name in "ohlcv"]
                self.candles[symbol, int(data["t"]) * 1000] = tuple(values)
            elif kind == "tickers":
                names = ("last", "highest_bid", "lowest_ask", "high_24h", "low_24h", "base_volume", "quote_volume")
                self.tickers[unified(data["currency_pair"])] = tuple(data[name] for name in names)
            else:
                native = data["s"]
                if native not in books:
                    snapshot = json.loads(snapshots[native])
                    bids, asks = ({Decimal(p): (p, a) for p, a in snapshot[side]} for side in ("bids", "asks"))
                    books[native] = (snapshot["id"], bids, asks)
                    self._keep(native, *books[native])
                if data["u"] > books[native][0]:
                    assert data["U"] <= books[native][0] + 1, "the recording is free of gaps"
                    change(books[native][1], data["b"])
                    change(books[native][2], data["a"])
                    books[native] = (data["u"], *books[native][1:])
                    self._keep(native, *books[native])

    def _keep(self, native: str, sequence: int, bids: Side, asks: Side) -> None:
        symbol = unified(native)
        best = [bids[key] for key in sorted(bids, reverse=True)[:20]], [asks[key] for key in sorted(asks)[:20]]
        self.books[symbol, sequence] = best
        self.last[symbol] = sequence


def change(side: Side, levels: list[list[str]]) -> None:
    for price, amount in levels:
        if Decimal(amount):
            side[Decimal(price)] = (price, amount)
        else:
            side.pop(Decimal(price), None)


def served() -> dict[str, str]:
    """The recorded books as ccxt can join them: it wants one that holds the first change, not one just before it."""
    found = replies()
    first: dict[str, Any] = {}
    for frame in updates():
        data = json.loads(frame)["result"]
        if "U" in data:
            first.setdefault(data["s"], data)
    for native, delta in first.items():
        snapshot = json.loads(found[native])
        if snapshot["id"] < delta["U"]:
            assert delta["U"] == snapshot["id"] + 1
            for name, key in (("bids", "b"), ("asks", "a")):
                side = {Decimal(price): (price, amount) for price, amount in snapshot[name]}
                change(side, delta[key])
                snapshot[name] = list(side.values())
            found[native] = json.dumps({**snapshot, "id": delta["u"]})
    return found


def columns(sides: tuple[Any, Any]) -> list[list[str]]:
    return [list(column) for side in sides for column in zip(*side, strict=True)]


class Gate:
    """Acknowledges what is subscribed; `play` sends the recording."""

    def __init__(self) -> None:
        self.socket: ServerConnection | None = None

    async def __call__(self, socket: ServerConnection) -> None:
        self.socket = socket
        async for text in socket:
            asked = json.loads(text)
            # The book's subscription of that year; its handler is the one that ccxt still has for other markets.
            channel = asked["channel"].replace("spot.obu", "spot.order_book_update")
            answer = {**asked, "channel": channel, "result": {"status": "success"}}
            del answer["payload"]
            await socket.send(json.dumps(answer))

    async def play(self) -> None:
        assert self.socket is not None
        for frame in updates():
            await self.socket.send(frame)
            await asyncio.sleep(0.005)


@asynccontextmanager
async def gate() -> AsyncIterator[tuple[Gate, Any]]:
    venue = Gate()
    async with serve(venue, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]

        books = served()

        def configure(client: Any) -> None:
            client.urls["api"]["spot"] = f"ws://127.0.0.1:{port}/ws/v4/"
            client.options["fetchMarkets"] = {"types": ["spot"]}
            client.options["watchOrderBook"] = {**client.options["watchOrderBook"], "snapshotDelay": 0}

            async def fetch(url: str, *_: object) -> Any:
                parts = urlsplit(url)
                if parts.path.endswith("order_book"):
                    return client.on_json_response(books[parse_qs(parts.query)["currency_pair"][0]])
                if parts.path.endswith("currency_pairs"):
                    return client.on_json_response(listing())
                if parts.path.endswith("margin/currency_pairs"):
                    return []
                raise ccxt.ExchangeError(f"the recording holds no reply of {url}")

            client.fetch = fetch

        yield venue, configure


async def test_every_record_of_the_file_is_stored_and_no_other(
    database_url: str, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = Expected()
    assert dict(expected.counts) == {"trades": 9, "candlesticks": 14, "tickers": 22, "order_book_update": 172}
    instruments = [
        Instrument("gate", unified(native), native, "spot", native.split("_")[0], native.split("_")[1])
        for native in sorted(replies())
    ]
    books: dict[tuple[str, int], tuple[Any, Any]] = {}
    with psycopg.connect(database_url, autocommit=True) as connection:  # the recording is older than candles are kept
        connection.execute("UPDATE ingest.policies SET retention = NULL WHERE table_name = 'candles_1m'")
    async with gate() as (venue, configure):
        options = Options(include_open_candles=True)
        async with collecting(
            "gate", instruments, CHANNELS, database_url, configure=configure, cadence_ns=100_000_000, options=options
        ) as (collector, _):
            take = collector.feed.take

            def seen(adapter: Any, frame: bytes, received_ns: int) -> Any:
                found = decode(frame)
                if isinstance(found, Book):
                    assert found.nonce is not None
                    books[found.symbol, found.nonce] = (found.bids, found.asks)
                return take(adapter, frame, received_ns)

            monkeypatch.setattr(collector.feed, "take", seen)
            await venue.play()
            await until(lambda: all((symbol, last) in books for symbol, last in expected.last.items()))
            await asyncio.sleep(0.3)  # a sample of each
        assert not collector.feed.rejected

    # Each state that ccxt's book went through, and the one in the database, is the file's at that sequence.
    assert len(books) >= 100
    assert {key: ([*map(tuple, b)], [*map(tuple, a)]) for key, (b, a) in books.items()} == {
        key: expected.books[key] for key in books
    }
    stored = fetch(
        "SELECT DISTINCT ON (i.symbol) i.symbol, b.sequence, b.bid_prices::text[], b.bid_amounts::text[],"
        " b.ask_prices::text[], b.ask_amounts::text[], b.in_sync FROM ingest.order_books b"
        " JOIN ingest.instruments i USING (instrument_id) ORDER BY i.symbol, b.time DESC"
    )
    assert stored == [
        (symbol, last, *columns(expected.books[symbol, last]), True) for symbol, last in sorted(expected.last.items())
    ]

    assert (
        set(
            fetch(
                "SELECT i.symbol, t.trade_id, (extract(epoch FROM t.time) * 1000)::bigint, t.side::text, t.price::text,"
                " t.amount::text FROM ingest.trades t JOIN ingest.instruments i USING (instrument_id)"
            )
        )
        == expected.trades
    )
    assert len(expected.trades) == 9
    candles = fetch(
        "SELECT i.symbol, (extract(epoch FROM c.time) * 1000)::bigint, c.open::text, c.high::text, c.low::text,"
        " c.close::text, c.volume::text, c.source FROM ingest.candles_1m c"
        " JOIN ingest.instruments i USING (instrument_id)"
    )
    assert {(row[0], row[1]): row[2:7] for row in candles} == expected.candles
    assert {row[7] for row in candles} == {0}
    tickers = fetch(
        "SELECT i.symbol, t.last::text, t.bid::text, t.ask::text, t.high_24h::text, t.low_24h::text,"
        " t.volume_24h::text, t.quote_volume_24h::text"
        " FROM ingest.tickers t JOIN ingest.instruments i USING (instrument_id)"
    )
    assert {row[0]: row[1:] for row in tickers} == expected.tickers
    assert (len(candles), len(tickers)) == (len(expected.candles), len(expected.tickers))
    print(len(expected.trades), len(candles), len(tickers), len(books))  # noqa: T201 - the counts are to be seen


TABLES = {
    "trades": "time, instrument_id, trade_id, side, price::text, amount::text, received_at",
    "tickers": "time, instrument_id, last::text, bid::text, ask::text, volume_24h::text, received_at",
}
LISTINGS = (
    *("spot/currencies", "margin/currency_pairs", "futures/usdt/contracts", "futures/btc/contracts"),
    *("delivery/usdt/contracts", "options/underlyings"),
)


async def test_what_our_session_recorded_replays_to_the_same_rows(
    database_url: str, fetch: Fetch, tmp_path: Path
) -> None:
    """The frames are those that the session makes of what ccxt gives: they must say all that the rows need."""

    def rows() -> dict[str, list[tuple[Any, ...]]]:
        return {
            table: fetch(f"SELECT {columns} FROM ingest.{table} ORDER BY 1, 2, 3") for table, columns in TABLES.items()
        }

    instruments = [
        Instrument("gate", unified(native), native, "spot", native.split("_")[0], native.split("_")[1])
        for native in sorted(replies())
    ]
    with Recorder(tmp_path, "gate") as recorder:
        async with (
            gate() as (venue, configure),
            collecting("gate", instruments, CHANNELS, database_url, configure=configure, recorder=recorder) as (
                collector,
                _,
            ),
        ):
            await venue.play()
            last = Expected().last
            await until(
                lambda: all(
                    collector.feed.books[number].sequence == last[name] for name, number in symbols(collector).items()
                )
            )
        kinds = dict(collector.feed.kinds)
        for path, body in {"spot/currency_pairs": listing(), **dict.fromkeys(LISTINGS, "[]")}.items():
            recorder.instruments(f"https://api.gateio.ws/api/v4/{path}", 0, body.encode())
    stored = rows()
    assert {table: bool(found) for table, found in stored.items()} == dict.fromkeys(TABLES, True)
    with psycopg.connect(database_url, autocommit=True) as connection:
        for table in TABLES:
            connection.execute(f"DELETE FROM ingest.{table}")
    result = await asyncio.to_thread(
        replay, Config(), [path for path in recorder.paths if ".ws." in path.name], exchange=None, url=database_url
    )
    assert not result.rejected
    listings = result.ignored["reply: the listing"]
    assert dict(result.kinds) == kinds | {"Ignored": kinds["Ignored"] + listings}
    assert rows() == stored


def symbols(collector: Collector) -> dict[str, int]:
    return {stream.instrument.symbol: stream.instrument_id for stream in collector.states}
