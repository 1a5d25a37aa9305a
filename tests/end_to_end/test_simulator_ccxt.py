"""Unmodified ccxt.pro, and the `websockets` client, against the simulator in real time, compared with the ledger."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import aiohttp
import ccxt.pro
import orjson
import pytest
import websockets

from ingest.simulator.candles import MINUTE_US
from ingest.simulator.market import Dynamics
from ingest.simulator.venue import Venue, VenueConfig

pytestmark = pytest.mark.long

SECOND_US = 1_000_000


@asynccontextmanager
async def trading(start_us: int | None = None) -> AsyncIterator[tuple[Venue, Any]]:
    config = VenueConfig(start_us=start_us, dynamics=Dynamics(trades_per_second=300, book_levels=1_200))
    async with Venue.serve(config) as venue:
        exchange = ccxt.pro.binance({"options": {"fetchMarkets": {"types": ["spot"]}}, "newUpdates": True})
        exchange.urls["api"]["public"] = f"{venue.rest_url}/api/v3"
        exchange.urls["api"]["ws"]["spot"] = f"{venue.ws_url}/stream"
        try:
            yield venue, exchange
        finally:
            await exchange.close()


async def test_markets_and_candles() -> None:
    async with trading() as (venue, exchange), asyncio.timeout(20):
        markets = await exchange.load_markets()
        assert set(markets) == {"BTC/USDT", "ETH/USDT", "SOL/USDT"}
        precision = markets["BTC/USDT"]["precision"]
        assert (precision["amount"], precision["price"]) == (0.00001, 0.01)
        assert (markets["BTC/USDT"]["active"], markets["BTC/USDT"]["spot"]) == (True, True)
        rows = await exchange.fetch_ohlcv("ETH/USDT", "1m", limit=120)
        start_us = rows[0][0] * 1_000
        closed = list(venue.ledger.candles("ETH/USDT", "1m", start_us, start_us + 119 * MINUTE_US))
        assert rows[:119] == [
            [row.open_time_us // 1_000, *map(float, (row.open, row.high, row.low, row.close, row.volume))]
            for row in closed
        ]
        assert len(closed) == 119


async def test_watched_trades_equal_the_ledger_without_a_hole() -> None:
    async with trading() as (venue, exchange), asyncio.timeout(30):
        seen: list[Any] = []
        while len(seen) < 500:
            seen += await exchange.watch_trades("BTC/USDT")
        ids = [int(trade["id"]) for trade in seen]
        told = venue.ledger.trades("BTC/USDT", ids[0], ids[-1])
        assert [
            (trade["id"], trade["side"], trade["info"]["p"], trade["info"]["q"], trade["timestamp"]) for trade in seen
        ] == [(str(row.id), row.side, row.price, row.amount, row.time_us // 1_000) for row in told]


async def test_watched_candles_close_as_the_ledger_says() -> None:
    start_us = 1_760_000_040_000_000 - 3 * SECOND_US  # three seconds before a minute's end
    async with trading(start_us) as (venue, exchange), asyncio.timeout(30):
        candles: dict[int, list[Any]] = {}
        while len(candles) < 2:
            for candle in await exchange.watch_ohlcv("SOL/USDT", "1m"):
                candles[candle[0]] = candle
        (closed,) = venue.ledger.candles("SOL/USDT")
        first = candles[min(candles)]
        assert first[0] * 1_000 == closed.open_time_us
        assert first[1:] == [
            float(value) for value in (closed.open, closed.high, closed.low, closed.close, closed.volume)
        ]


async def test_the_watched_book_equals_the_ledger_at_each_nonce() -> None:
    async with trading() as (venue, exchange), asyncio.timeout(30):
        seen = []
        for _ in range(15):
            book = await exchange.watch_order_book("BTC/USDT")
            seen.append(
                (book["nonce"], [level[:2] for level in book["bids"][:20]], [level[:2] for level in book["asks"][:20]])
            )
        books = venue.ledger.books("BTC/USDT", [nonce for nonce, _, _ in seen], 20)
        assert seen == [
            (
                book.sequence,
                *([[float(price), float(amount)] for price, amount in side] for side in (book.bids, book.asks)),
            )
            for book in books
        ]
        assert len({nonce for nonce, _, _ in seen}) > 5
        best = books[-1]
        assert Decimal(best.bids[0][0]) < Decimal(best.asks[0][0])


async def test_the_program_says_where_it_is_pauses_and_ends_clean() -> None:
    program = (
        "-m",
        "ingest.simulator",
        "--symbols",
        "BTC/USDT",
        "--trades-per-second",
        "500",
        "--history-minutes",
        "60",
    )
    process = await asyncio.create_subprocess_exec(sys.executable, *program, stdout=asyncio.subprocess.PIPE)
    assert process.stdout
    try:
        async with asyncio.timeout(30):
            ready = orjson.loads(await process.stdout.readline())
            streams = "btcusdt@trade/btcusdt@kline_1m/btcusdt@depth@100ms"
            url = f"{ready['ws_url']}/stream?streams={streams}&timeUnit=MICROSECOND"
            async with aiohttp.ClientSession(ready["url"]) as http, websockets.connect(url) as socket:
                heard = [await socket.recv() for _ in range(300)]
                async with http.post("/control/pause", json={"paused": True}) as reply:
                    (symbol,) = (await reply.json())["symbols"]
                async with http.get("/ledger/trades", params={"symbol": "BTCUSDT"}) as reply:
                    told = [orjson.loads(line) for line in (await reply.read()).splitlines()]
                assert told[-1]["id"] == symbol["last_trade_id"]
                while f'"t":{symbol["last_trade_id"]},' not in heard[-1] and "depthUpdate" not in heard[-1]:
                    heard.append(await socket.recv())
                with contextlib.suppress(TimeoutError):  # nothing moves in a frozen market
                    async with asyncio.timeout(0.3):
                        while True:
                            heard.append(await socket.recv())
                trades = [data for frame in heard if (data := orjson.loads(frame)["data"])["e"] == "trade"]
                first = trades[0]["t"]
                assert [(trade["T"], trade["t"], trade["p"], trade["q"]) for trade in trades] == [
                    (row["time_us"], row["id"], row["price"], row["amount"]) for row in told if row["id"] >= first
                ]
                async with http.post("/control/pause", json={"paused": False}) as reply:
                    assert reply.status == 200
                assert orjson.loads(await socket.recv())["data"]["E"] > trades[-1]["E"] + 250_000
                process.terminate()
                heard += [frame async for frame in socket]
                assert socket.close_code == 1001
            assert orjson.loads(heard[-1])["stream"] == "!serverShutdown"
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
