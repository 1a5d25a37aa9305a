"""The venue over real sockets in manual time: nothing sleeps, nothing moves but by `advance`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
import pytest

from ingest.simulator.__main__ import configuration, parser
from ingest.simulator.connection import Frames
from ingest.simulator.limits import Limits
from ingest.simulator.market import Dynamics
from ingest.simulator.venue import Venue, VenueConfig

START_US = 1_760_000_015_000_000
Served = tuple[Venue, aiohttp.ClientSession]


@asynccontextmanager
async def serving(rate: float = 200.0, **limits: Any) -> AsyncIterator[Served]:
    config = VenueConfig(
        symbols=("BTC/USDT", "ETH/USDT"),
        start_us=START_US,
        realtime=False,
        dynamics=Dynamics(trades_per_second=rate, book_levels=300),
        limits=Limits(**limits),
    )
    async with Venue.serve(config) as venue, aiohttp.ClientSession() as session:
        yield venue, session


async def get(served: Served, path: str, *, micro: bool = False, status: int = 200) -> Any:
    headers = {"X-MBX-TIME-UNIT": "MICROSECOND"} if micro else {}
    async with served[1].get(f"{served[0].rest_url}/api/v3/{path}", headers=headers) as reply:
        assert reply.status == status
        return orjson.loads(await reply.read())


async def until_ack(socket: aiohttp.ClientWebSocketResponse, request_id: int) -> Any:
    while True:
        said = await socket.receive_json()
        if said.get("id") == request_id:
            return said


async def heard(socket: aiohttp.ClientWebSocketResponse, request_id: int = 999) -> list[Any]:
    """Everything sent so far: up to the answer of a question asked now."""
    await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": request_id})
    found = []
    while (said := await socket.receive_json()).get("id") != request_id:
        found.append(said)
    return found


async def test_the_stream_tells_every_trade_and_candle_of_the_ledger() -> None:
    async with serving() as (venue, session):
        url = f"{venue.ws_url}/stream?streams=btcusdt@trade/btcusdt@kline_1m/btcusdt@aggTrade&timeUnit=MICROSECOND"
        async with session.ws_connect(url) as socket:
            await heard(socket)
            await venue.advance(75)
            frames = await heard(socket)
        trades = [frame["data"] for frame in frames if frame["stream"] == "btcusdt@trade"]
        assert [
            (trade["T"], trade["t"], "sell" if trade["m"] else "buy", trade["p"], trade["q"]) for trade in trades
        ] == [(row.time_us, row.id, row.side, row.price, row.amount) for row in venue.ledger.trades("BTCUSDT")]
        assert len(trades) > 5_000
        closed = [frame["data"]["k"] for frame in frames if frame["data"].get("k", {}).get("x")]
        assert [tuple(k[key] for key in "tohlcvqnVQfL") for k in closed] == [
            tuple(getattr(row, name) for name in row.__struct_fields__) for row in venue.ledger.candles("BTCUSDT")
        ]
        assert len(closed) == 1
        still_open = [frame["data"]["k"] for frame in frames if frame["data"].get("k", {}).get("x") is False]
        assert 30 <= len(still_open) <= 38  # every two seconds
        runs = [frame["data"] for frame in frames if frame["stream"] == "btcusdt@aggTrade"]
        assert sum(run["l"] - run["f"] + 1 for run in runs) == len(trades)
        listed = await get((venue, session), f"aggTrades?symbol=BTCUSDT&fromId={runs[0]['a']}&limit=1000", micro=True)
        shown = [{key: run[key] for key in "apqflTmM"} for run in runs]
        assert listed == shown[:1_000]


@pytest.mark.parametrize("speed", ["@100ms", ""])
async def test_deltas_onto_a_snapshot_equal_the_ledger_at_each_update(speed: str) -> None:
    async with serving() as (venue, session), session.ws_connect(f"{venue.ws_url}/ws/btcusdt@depth{speed}") as socket:
        await heard(socket)
        await venue.advance(2.55)
        snapshot = await get((venue, session), "depth?symbol=BTCUSDT&limit=5000")
        await venue.advance(5)
        deltas = await heard(socket)
        sides = {"b": dict(snapshot["bids"]), "a": dict(snapshot["asks"])}
        sequence = snapshot["lastUpdateId"]
        applied: list[Any] = []
        for delta in deltas:
            if delta["u"] <= snapshot["lastUpdateId"]:
                continue
            if applied:
                assert delta["U"] == sequence + 1
            else:
                assert delta["U"] <= snapshot["lastUpdateId"] + 1 <= delta["u"]
            for side, levels in sides.items():
                for price, amount in delta[side]:
                    if float(amount):
                        levels[price] = amount
                    else:
                        levels.pop(price, None)
            sequence = delta["u"]
            bids = sorted(sides["b"].items(), key=lambda level: -float(level[0]))[:20]
            asks = sorted(sides["a"].items(), key=lambda level: float(level[0]))[:20]
            applied.append((sequence, bids, asks))
        books = venue.ledger.books("BTCUSDT", [one[0] for one in applied], 20)
        assert applied == [(book.sequence, book.bids, book.asks) for book in books]
        assert len(applied) >= (49 if speed else 4)


async def test_rest_history_reaches_from_before_the_start_to_the_open_candle() -> None:
    async with serving() as served:
        venue = served[0]
        await venue.advance(100)
        trades: list[Any] = []
        while page := await get(
            served, f"historicalTrades?symbol=BTCUSDT&limit=1000&fromId={len(trades) + 1}", micro=True
        ):
            trades += page
            if len(page) < 1_000:
                break
        told = venue.ledger.trades("BTCUSDT", 1, len(trades))
        assert [(row["time"], row["id"], row["price"], row["qty"], row["isBuyerMaker"]) for row in trades] == [
            (row.time_us, row.id, row.price, row.amount, row.side == "sell") for row in told
        ]
        await venue.advance(60)
        latest = await get(served, "klines?symbol=BTCUSDT&interval=1m&limit=1000", micro=True)
        assert len(latest) == 1_000
        assert latest[-1][0] <= venue.market.time_us < latest[-1][6]
        closed = venue.ledger.candles("BTCUSDT", "1m", latest[0][0])
        assert [row[:6] for row in latest[:-1]] == [
            [row.open_time_us, row.open, row.high, row.low, row.close, row.volume] for row in closed
        ]
        begin, end = latest[10][0], latest[14][0]
        for unit in (1, 1_000):
            query = f"klines?symbol=BTCUSDT&interval=1m&startTime={begin // unit + 1}&endTime={end // unit}&limit=3"
            assert await get(served, query, micro=True) == latest[11:14]
        assert (
            await get(served, f"klines?symbol=BTCUSDT&interval=1m&endTime={end // 1_000}&limit=2", micro=True)
            == latest[13:15]
        )
        milliseconds = await get(served, f"klines?symbol=BTCUSDT&interval=1m&startTime={begin}&limit=1")
        assert milliseconds[0][0] * 1_000 == begin
        for path in ("trades", "historicalTrades"):
            recent = await get(served, f"{path}?symbol=BTCUSDT&limit=5", micro=True)
            assert recent[-1]["id"] == venue.ledger.tapes[0].next_id - 1
        assert await get(served, "historicalTrades?symbol=BTCUSDT&fromId=99999999") == []


async def test_errors_weights_and_limits_of_rest() -> None:
    async with serving(weight_per_minute=100) as served:
        venue, session = served
        assert await get(served, "depth?symbol=NOPE", status=400) == {"code": -1121, "msg": "Invalid symbol."}
        assert (await get(served, "klines?symbol=BTCUSDT&interval=7m", status=400))["code"] == -1120
        assert (await get(served, "trades", status=400))["code"] == -1102
        assert (await get(served, "trades?symbol=BTCUSDT&limit=x", status=400))["code"] == -1100
        async with session.get(f"{venue.rest_url}/api/v3/depth?symbol=BTCUSDT&limit=500") as reply:
            used = 5 + 2 + 25 + 25 + 25
            assert reply.headers["X-MBX-USED-WEIGHT-1M"] == str(used)
        assert (await get(served, "exchangeInfo", status=429))["code"] == -1003
        async with session.get(f"{venue.rest_url}/api/v3/ping") as reply:
            assert (reply.status, reply.headers["Retry-After"]) == (429, "25")
        await venue.advance(25)
        assert await get(served, "ping") == {}


@pytest.mark.parametrize(
    ("path", "used"),
    [
        ("ping", 1), ("time", 1), ("exchangeInfo", 20), ("depth?symbol=BTCUSDT", 5),
        ("depth?symbol=BTCUSDT&limit=1000", 50), ("depth?symbol=BTCUSDT&limit=5000", 250),
        ("klines?symbol=BTCUSDT&interval=1d", 2), ("trades?symbol=BTCUSDT", 25),
        ("historicalTrades?symbol=BTCUSDT", 25), ("aggTrades?symbol=BTCUSDT", 4), ("ticker/24hr?symbol=BTCUSDT", 2),
        ("ticker/24hr", 80), ("ticker/price", 4), ("ticker/bookTicker?symbol=BTCUSDT", 2),
    ],
)  # fmt: skip
async def test_every_endpoint_answers_at_its_weight(path: str, used: int) -> None:
    async with serving() as (venue, session), session.get(f"{venue.rest_url}/api/v3/{path}") as reply:
        assert (reply.status, reply.headers["X-MBX-USED-WEIGHT-1M"]) == (200, str(used))


async def test_commands_and_both_framings() -> None:
    async with serving(messages_per_second=50) as (venue, session):
        async with session.ws_connect(f"{venue.ws_url}/ws") as socket:
            await socket.send_json({"method": "SUBSCRIBE", "params": ["btcusdt@trade", "nope@trade"], "id": 1})
            assert await until_ack(socket, 1) == {"result": None, "id": 1}
            await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 2})
            assert await until_ack(socket, 2) == {"result": ["btcusdt@trade", "nope@trade"], "id": 2}
            await venue.advance(1)
            assert {frame["e"] for frame in await heard(socket)} == {"trade"}
            await socket.send_json({"method": "SET_PROPERTY", "params": ["combined", True], "id": 3})
            await until_ack(socket, 3)
            await venue.advance(1)
            assert {frame["stream"] for frame in await heard(socket)} == {"btcusdt@trade"}
            await socket.send_json({"method": "UNSUBSCRIBE", "params": ["btcusdt@trade"], "id": 4})
            await until_ack(socket, 4)
            await venue.advance(1)
            assert await heard(socket) == []
            await socket.send_str("{")
            assert (await socket.receive_json())["code"] == 3
        async with session.ws_connect(f"{venue.ws_url}/ws/btcusdt@bookTicker/ethusdt@depth5@100ms") as socket:
            await heard(socket)
            await venue.advance(1)
            frames = await heard(socket)
            best = [frame for frame in frames if "B" in frame]
            assert {frame["s"] for frame in best} == {"BTCUSDT"}
            for frame, book in zip(best, venue.ledger.books("BTCUSDT", [one["u"] for one in best], 1), strict=True):
                assert [(frame["b"], frame["B"]), (frame["a"], frame["A"])] == [*book.bids, *book.asks]
            assert sum(len(frame.get("bids", [])) == 5 for frame in frames) == 10
        assert venue.streams.connections.keys() <= {2}


async def test_the_sixth_message_in_a_second_ends_the_connection() -> None:
    async with serving() as (venue, session), session.ws_connect(f"{venue.ws_url}/ws") as socket:
        for number in range(5):
            await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": number})
            await until_ack(socket, number)
        await venue.advance(1)
        for _ in range(5):
            await socket.pong()
        await socket.ping()
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
        assert socket.close_code == 1008


async def test_too_many_streams_and_too_many_connections() -> None:
    async with serving(connections_per_5_minutes=2) as (venue, session):
        names = "/".join(f"s{number}@trade" for number in range(1_024))
        async with session.ws_connect(f"{venue.ws_url}/stream?streams={names}") as socket:
            assert await heard(socket) == []
            await socket.send_json({"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": 1})
            assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
        async with session.ws_connect(f"{venue.ws_url}/ws"):
            pass
        with pytest.raises(aiohttp.WSServerHandshakeError, match="429"):
            await session.ws_connect(f"{venue.ws_url}/ws")
        await venue.advance(300)
        async with session.ws_connect(f"{venue.ws_url}/ws"):
            pass


async def test_pings_and_the_announced_end() -> None:
    async with serving(rate=1.0, connection_lifetime_seconds=50.0, shutdown_notice_seconds=5.0) as (venue, session):
        plain = await session.ws_connect(f"{venue.ws_url}/ws", autoping=False)
        wrapped = await session.ws_connect(f"{venue.ws_url}/stream?timeUnit=MICROSECOND", autoping=False)
        await heard(plain)
        await heard(wrapped)
        await venue.advance(51)
        for socket, stream, unit in ((plain, None, 1_000), (wrapped, "!serverShutdown", 1)):
            messages = [await socket.receive() for _ in range(4)]
            kinds = aiohttp.WSMsgType
            assert [message.type for message in messages] == [kinds.PING, kinds.PING, kinds.TEXT, kinds.CLOSE]
            notice = orjson.loads(messages[2].data)
            data = notice["data"] if stream else notice
            assert notice.get("stream") == stream
            assert data == {"e": "serverShutdown", "E": (START_US + 45_000_000) // unit}
            assert socket.close_code == 1001
            await socket.close()


async def test_a_client_that_never_pongs_is_cut() -> None:
    async with serving(rate=1.0) as (venue, session):
        socket = await session.ws_connect(f"{venue.ws_url}/ws", autoping=False)
        await heard(socket)
        await venue.advance(79)
        assert venue.streams.connections
        await venue.advance(2)
        kinds = [(await socket.receive()).type for _ in range(5)]
        assert kinds[:3] == [aiohttp.WSMsgType.PING] * 3
        assert socket.closed


async def test_a_slow_consumer_is_cut_and_the_market_goes_on() -> None:
    async with serving(buffer_max_bytes=100_000) as (venue, session):
        socket = await session.ws_connect(f"{venue.ws_url}/ws/btcusdt@trade")
        await heard(socket)
        before = venue.ledger.summary().trades
        venue.burst("BTCUSDT", 40_000)
        venue.burst("BTCUSDT", 40_000)
        venue.tick()
        (connection,) = venue.streams.connections.values()
        assert connection.ended == "slow consumer"
        assert venue.ledger.summary().trades - before >= 80_000
        await socket.close()


async def test_everything_passes_the_one_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as (venue, session), session.ws_connect(f"{venue.ws_url}/ws/btcusdt@trade") as socket:
        await heard(socket)
        (connection,) = venue.streams.connections.values()
        texts: list[str] = []
        passed_on = connection.send

        def keep(frames: Frames) -> None:
            texts.extend(frames.texts())
            passed_on(frames)

        monkeypatch.setattr(connection, "send", keep)
        await venue.advance(2)
        assert [orjson.dumps(frame).decode() for frame in await heard(socket)] == texts[:-1]


async def test_the_ledger_over_http() -> None:
    async with serving() as (venue, session):
        await venue.advance(50)
        base = venue.rest_url
        async with session.get(f"{base}/ledger/trades?symbol=BTCUSDT") as reply:
            rows = [orjson.loads(line) for line in (await reply.read()).splitlines()]
        expected = list(venue.ledger.trades("BTCUSDT"))
        assert [tuple(row.values()) for row in rows] == [
            (row.time_us, row.id, row.side, row.price, row.amount) for row in expected
        ]
        first, last = expected[5].id, expected[9].id
        url = f"{base}/ledger/trades?symbol=BTCUSDT&from_id={first}&to_id={last}&format=tsv"
        async with session.get(url) as reply:
            assert (await reply.text()).splitlines() == [
                f"{row.time_us}\t{row.id}\t{row.side}\t{row.price}\t{row.amount}" for row in expected[5:10]
            ]
        async with session.get(f"{base}/ledger/candles?symbol=ETHUSDT&interval=1m") as reply:
            assert len((await reply.read()).splitlines()) == 1
        sequence = venue.ledger.trails[0].sequence
        order = {"symbol": "BTCUSDT", "depth": 2, "sequences": [sequence, sequence - 9]}
        async with session.post(f"{base}/ledger/books", json=order) as reply:
            books = (await reply.json())["books"]
        assert [book["sequence"] for book in books] == [sequence, sequence - 9]
        assert [len(books[0]["bids"]), len(books[0]["asks"])] == [2, 2]
        async with session.post(f"{base}/ledger/books", json=order | {"sequences": [1]}) as reply:
            assert reply.status == 400
        async with session.get(f"{base}/ledger/trades?symbol=NOPE") as reply:
            assert reply.status == 404
        async with session.post(f"{base}/control/pause", json={"paused": True}) as reply:
            assert (await reply.json())["paused"] is True
        async with session.post(f"{base}/control/stop") as reply:
            assert reply.status == 200
        assert venue.stopped.is_set()


async def test_the_listing_says_what_it_is_told_to_and_the_market_goes_on() -> None:
    async with serving() as (venue, session):

        async def told(symbol: str, listed: str) -> int:
            order = {"symbol": symbol, "listed": listed}
            async with session.post(f"{venue.rest_url}/control/listing", json=order) as reply:
                return reply.status

        async def listing() -> dict[str, str]:
            symbols = (await get((venue, session), "exchangeInfo"))["symbols"]
            return {each["symbol"]: each["status"] for each in symbols}

        assert await listing() == {"BTCUSDT": "TRADING", "ETHUSDT": "TRADING"}
        assert await told("ETH/USDT", "halted") == 200
        assert await listing() == {"BTCUSDT": "TRADING", "ETHUSDT": "BREAK"}
        assert await told("ETHUSDT", "gone") == 200
        assert await listing() == {"BTCUSDT": "TRADING"}
        await venue.advance(1)
        assert await get((venue, session), "trades?symbol=ETHUSDT&limit=1") != []
        assert await told("ETHUSDT", "trading") == 200
        assert await listing() == {"BTCUSDT": "TRADING", "ETHUSDT": "TRADING"}
        assert await told("ETHUSDT", "trading") == 200
        assert [await told("NOPE", "gone"), await told("ETHUSDT", "going")] == [404, 400]


async def test_an_error_inside_the_block_arrives_as_it_is() -> None:
    with pytest.raises(KeyError, match="mine"):
        async with serving():
            raise KeyError("mine")


def test_every_flag_is_documented_and_reaches_the_configuration(pytestconfig: pytest.Config) -> None:
    page = (pytestconfig.rootpath / "docs/reference/simulator.md").read_text()
    flags = [action.option_strings[-1] for action in parser()._actions]
    assert [flag for flag in flags if f"`{flag}" not in page and flag != "--help"] == []
    config = configuration(parser().parse_args(["--symbols", "BTC/USDT, ETH/USDT", "--tick-ms", "5", "--burst", "1"]))
    assert config.symbols == ("BTC/USDT", "ETH/USDT")
    assert config.dynamics == Dynamics(tick_us=5_000, burst=1.0)
    assert config.limits == Limits()
