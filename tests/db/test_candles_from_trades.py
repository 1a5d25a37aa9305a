"""Minutes that are older than Kraken's candles: made from its trades, and stored below what the venue itself says."""

import random
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest
from msgspec import structs

from ingest.clock import MILLISECOND, MINUTE, SECOND
from ingest.exchanges.adapter import Options, Request
from ingest.exchanges.kraken import Kraken
from ingest.exchanges.rest import Reply
from ingest.records import Candle, CandleSource, Instrument, Trade
from ingest.repair import gather
from ingest.repair.repair import Repair
from ingest.store.copy_writer import CopyWriter
from ingest.store.queue import Queue
from tests.conftest import Fetch
from tests.db.history import Hand, gap_row, gap_rows, hurry, open_gap
from tests.db.support import DAY, NOON, candle_row, stored_candles

START = NOON - 3 * DAY
NOW = START + 2000 * MINUTE
KEPT = 720
OLDEST = 2000 - KEPT
"""The first minute of which REST has a candle."""

Expected = list[tuple[object, ...]]


def open_of(minute: int) -> int:
    return START + minute * MINUTE


def tape(minutes: range, seed: int = 1) -> list[Trade]:
    """Up to five trades in two minutes of three, times in milliseconds."""
    chance = random.Random(seed)  # noqa: S311 - the same each time
    trades: list[Trade] = []
    for minute in minutes:
        if minute % 3 == 1:
            continue
        moments = sorted(chance.randrange(60_000) for _ in range(chance.randrange(1, 6)))
        for at in moments:
            price, amount = (
                f"{chance.randrange(900_000, 999_999) / 10:.1f}",
                f"{chance.randrange(1, 10**9) / 10**8:.8f}",
            )
            time_ns = open_of(minute) + at * MILLISECOND
            side = chance.choice(("buy", "sell"))
            trades.append(Trade(1, time_ns, str(1000 + len(trades)), side, price, amount, NOW))  # type: ignore[arg-type]
    return trades


def candle_of(minute: int, trades: list[Trade], source: CandleSource) -> Candle:
    """Another reading of a minute: in decimal. REST tells less of it."""
    prices = [Decimal(trade.price) for trade in trades]
    told = source is CandleSource.REST

    def total(some: list[Trade], *, quote: bool) -> str | None:
        return None if told else str(sum(Decimal(t.amount) * (Decimal(t.price) if quote else 1) for t in some))

    bought = [trade for trade in trades if trade.side == "buy"]
    opened, high, low, closed = (str(number) for number in (prices[0], max(prices), min(prices), prices[-1]))
    volume = str(sum(Decimal(trade.amount) for trade in trades))
    taken = total(bought, quote=False), total(bought, quote=True)
    return Candle(
        *(1, open_of(minute), opened, high, low, closed, volume, total(trades, quote=True), len(trades)),
        *(*taken, source, NOW),
    )


class Tape:
    """Kraken's replies about one market: candles of the latest 720 minutes, and all of its trades."""

    def __init__(self, trades: list[Trade]) -> None:
        self.trades = trades
        self.asked: list[str] = []
        self.unreadable: set[str] = set()

    async def fetch(self, request: Request, *, keep: float = 0.0) -> Reply:  # noqa: ARG002 - there is no limiter
        parts = urlsplit(request.url)
        path, query = parts.path.rpartition("/")[2], parse_qs(parts.query)
        self.asked.append(path)
        since = int(query["since"][0])
        rows = self._candles(since) if path == "OHLC" else self._trades(since)[: int(query["count"][0])]
        body = orjson.dumps({"error": [], "result": {"XXBTZUSD": rows, "last": 0}})
        return Reply(body, NOW, NOW)

    def minutes(self) -> dict[int, list[Trade]]:
        found: dict[int, list[Trade]] = {}
        for trade in self.trades:
            found.setdefault((trade.time_ns - START) // MINUTE, []).append(trade)
        return found

    def _candles(self, since: int) -> list[object]:
        rows: list[object] = []
        for minute, trades in self.minutes().items():
            c = candle_of(minute, trades, CandleSource.REST)
            if minute >= OLDEST and c.time_ns // SECOND > since:
                rows.append([c.time_ns // SECOND, c.open, c.high, c.low, c.close, "0.0", c.volume, c.trades])
        return rows

    def _trades(self, since: int) -> list[object]:
        return [
            [
                *("-1" if t.trade_id in self.unreadable else t.price, t.amount, t.time_ns / SECOND),
                *("b" if t.side == "buy" else "s", "l", "", int(t.trade_id)),
            ]
            for t in self.trades
            if t.time_ns > since
        ]


Make = Callable[[Tape], Repair]


@pytest.fixture
async def make(
    database_url: str, instruments: dict[int, Instrument], writer: CopyWriter, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Make]:
    """Workers that hold two pages of 100 trades at a time. What the exchange is called does not matter here."""
    monkeypatch.setattr(gather, "_PAGES_MAX", 2)
    async with Queue(database_url, role="test candles from trades") as queue:

        def worker(rest: Tape) -> Repair:
            adapter = Kraken({}, Options())
            adapter.limits = structs.replace(Kraken.limits, trades_page=100)
            return Repair("binance", rest, adapter, instruments, queue, writer, worker_name="a", now=Hand())

        yield worker


async def work(repair: Repair, fetch: Fetch) -> None:
    for _ in range(6):
        while await repair.step():
            pass
        hurry(fetch)


def expected(rest: Tape, first: int, last: int, *but: int) -> Expected:
    return [
        candle_row(candle_of(minute, trades, CandleSource.TRADES if minute < OLDEST else CandleSource.REST))
        for minute, trades in rest.minutes().items()
        if first <= minute <= last and minute not in but
    ]


async def test_minutes_beyond_the_venues_candles_are_made_from_its_trades(fetch: Fetch, make: Make) -> None:
    rest = Tape(tape(range(2000)))
    open_gap(fetch, "candles", times=(open_of(100), open_of(1400)))
    await work(make(rest), fetch)
    assert gap_rows(fetch) == [gap_row("candles", None, (open_of(100), open_of(1400)), "repaired")]
    rows = expected(rest, 100, 1400)
    assert len([row for row in rows if row[11] == CandleSource.TRADES]) > 700
    assert stored_candles(fetch) == rows
    assert rest.asked.count("Trades") > 20  # a few at a time


async def test_a_candle_of_the_venue_stays_whatever_its_rank_and_replaces_one_that_was_made(
    fetch: Fetch, make: Make, writer: CopyWriter
) -> None:
    rest = Tape(tape(range(2000)))
    sources = {200: CandleSource.STREAM, 201: CandleSource.REST, 203: CandleSource.DUMP}
    likeness = rest.minutes()[200]
    stored = [structs.replace(candle_of(minute, likeness, source), volume="7") for minute, source in sources.items()]
    early = structs.replace(stored[0], time_ns=open_of(204), received_ns=open_of(204) + SECOND)  # by a slow clock
    await writer.write([*stored, early])
    open_gap(fetch, "candles", times=(open_of(195), open_of(210)))
    await work(make(rest), fetch)
    kept = [candle_row(c) for c in (*stored, early)]
    assert stored_candles(fetch) == sorted(
        [*expected(rest, 195, 210, 200, 201, 203, 204), *kept], key=lambda row: row[0]
    )
    made = next(c for c in rest.minutes() if c == 206)
    better = candle_of(made, rest.minutes()[made], CandleSource.STREAM)
    await writer.write([better])
    assert candle_row(better) in stored_candles(fetch)
    assert len(stored_candles(fetch)) == len(expected(rest, 195, 210))


async def test_the_minutes_of_a_trade_that_is_missing_are_named_and_the_others_made(fetch: Fetch, make: Make) -> None:
    rest = Tape(tape(range(2000)))
    at = rest.minutes()[302][0]
    rest.trades.remove(at)
    before = next(t for t in reversed(rest.trades) if t.time_ns < at.time_ns)
    behind = next(t for t in rest.trades if int(t.trade_id) > int(at.trade_id))
    doubtful = [(t.time_ns - START) // MINUTE for t in (before, behind)]
    assert doubtful == [300, 302]
    open_gap(fetch, "candles", times=(open_of(298), open_of(306)))
    await work(make(rest), fetch)
    assert stored_candles(fetch) == expected(rest, 298, 306, 300, 301, 302)
    assert gap_rows(fetch) == [
        gap_row("candles", None, (open_of(298), open_of(299)), "repaired"),
        gap_row("candles", None, (open_of(300), open_of(302)), "unrecoverable", "the venue's history skips it"),
        gap_row("candles", None, (open_of(303), open_of(306)), "repaired"),
    ]


@pytest.mark.parametrize("at", [(302, 0), (300, 0)])
async def test_a_trade_that_cannot_be_read_costs_its_minutes(fetch: Fetch, make: Make, at: tuple[int, int]) -> None:
    """The first one of a window leaves no trace in the ids: then all minutes may be its."""
    minute, number = at
    rest = Tape(tape(range(2000)))
    bad = rest.minutes()[minute][number]
    rest.unreadable = {bad.trade_id}
    open_gap(fetch, "candles", times=(open_of(300), open_of(306)))
    await work(make(rest), fetch)
    reason = f"the venue's rows cannot be read: row of a reply: trade: price '-1', amount '{bad.amount}'"
    last = 302 if minute == 302 else 306
    assert stored_candles(fetch) == expected(rest, last + 1, 306)
    lost, *others = gap_rows(fetch)
    assert lost == gap_row("candles", None, (open_of(300), open_of(last)), "unrecoverable", reason)
    assert others == [gap_row("candles", None, (open_of(303), open_of(306)), "repaired")][: last < 306]


async def test_a_market_that_rests_now_is_repaired_from_its_trades_too(fetch: Fetch, make: Make) -> None:
    """REST has no candle of the latest 720 minutes, so that nothing shows where its reach begins."""
    rest = Tape(tape(range(400)))
    open_gap(fetch, "candles", times=(open_of(350), open_of(500)))
    await work(make(rest), fetch)
    assert stored_candles(fetch) == expected(rest, 350, 500)
    assert gap_rows(fetch) == [gap_row("candles", None, (open_of(350), open_of(500)), "repaired")]
