"""A venue's REST history as repair meets it, and what it leaves in the database."""

import asyncio
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson

from ingest.clock import MILLISECOND, MINUTE, SECOND
from ingest.errors import IngestError
from ingest.exchanges.adapter import Request
from ingest.exchanges.rest import Reply
from ingest.records import Candle, CandleSource, Side, Trade
from ingest.store.queue import Queue, add_windows
from ingest.store.window import Window
from tests.conftest import Fetch
from tests.db.support import NOON, Rows, moment

RECEIVED = NOON + 30 * MINUTE


def trade_of(number: int, instrument_id: int = 1) -> Trade:
    """What is stored of the trade with this id."""
    side: Side = "sell" if number % 2 else "buy"
    return Trade(instrument_id, at(number), str(number), side, f"{number}.50", "0.10", RECEIVED)


def candle_of(minute: int) -> Candle:
    volumes = ("7.5", "75.25", 9, "3", "30")
    return Candle(1, open_of(minute), "10", "12", "9", f"10.{abs(minute)}", *volumes, CandleSource.REST, RECEIVED)


def at(number: int) -> int:
    """When the trade with this id happened."""
    return NOON + number * MILLISECOND


def open_of(minute: int) -> int:
    return NOON + minute * MINUTE


async def order(queue: Queue, windows: Sequence[Window]) -> None:
    """Queue windows of a backfill."""
    async with queue._transaction() as connection:
        await add_windows(connection, "backfill", [(None, window) for window in windows])


class History:
    """Binance's replies for one instrument: trades 1 to `latest`, candles of `minutes`. Stands in for `Rest`.

    `requests` lists what was asked: (path, fromId or the minute of startTime, limit); `24hr` tells the latest id.
    """

    def __init__(self, latest: int = 0, minutes: range | tuple[int, ...] = ()) -> None:
        self.latest = latest
        self.minutes = list(minutes)
        self.hours: list[int] = []  # candles of an hour, by the minute of their open
        self.forgotten_below = 1
        self.skipped: set[int] = set()
        self.unreadable: set[int] = set()
        self.errors: list[IngestError] = []  # raised one after the other before anything is answered
        self.requests: list[tuple[str, int, int]] = []
        self.venue_ns: int | None = RECEIVED
        self.answering = asyncio.Event()
        self.answering.set()
        self.asked = asyncio.Event()

    async def fetch(self, request: Request, *, keep: float = 0.0) -> Reply:  # noqa: ARG002 - there is no limiter
        parts = urlsplit(request.url)
        path, query = parts.path.rpartition("/")[2], dict(parse_qsl(parts.query))
        if path == "24hr":
            self.requests.append((path, 0, 0))
            return Reply(orjson.dumps({"lastId": self.latest}), RECEIVED, self.venue_ns)
        limit = int(query["limit"])
        first = (
            int(query["fromId"]) if path == "historicalTrades" else (int(query["startTime"]) * 1000 - NOON) // MINUTE
        )
        self.requests.append((path, first, limit))
        self.asked.set()
        await self.answering.wait()
        if self.errors:
            raise self.errors.pop(0)
        rows = self._trades(first) if path == "historicalTrades" else self._candles(first, query["interval"])
        return Reply(orjson.dumps(rows[:limit]), RECEIVED, self.venue_ns)

    def _trades(self, first: int) -> list[Any]:
        numbers = range(max(first, self.forgotten_below), min(self.latest, first + 5_000) + 1)
        return [self._trade(number) for number in numbers if number not in self.skipped]

    def _trade(self, number: int) -> dict[str, Any]:
        trade = trade_of(number)
        price = "-1" if number in self.unreadable else trade.price
        maker = trade.side == "sell"
        return {"id": number, "price": price, "qty": trade.amount, "time": trade.time_ns // 1000, "isBuyerMaker": maker}

    def _candles(self, first: int, interval: str) -> list[Any]:
        opens = [minute for minute in (self.minutes if interval == "1m" else self.hours) if minute >= first]
        found = [candle_of(minute) for minute in opens]
        return [
            [
                *(c.time_ns // 1000, c.open, c.high, "-1" if minute in self.unreadable else c.low, c.close, c.volume),
                *((c.time_ns + MINUTE) // 1000 - 1, c.quote_volume, c.trades),
                *(c.taker_buy_volume, c.taker_buy_quote_volume, "0"),
            ]
            for minute, c in zip(opens, found, strict=True)
        ]


class Hand:
    """A clock that is turned by hand."""

    def __init__(self) -> None:
        self.now_ns = 1_000 * SECOND

    def __call__(self) -> int:
        return self.now_ns

    def turn(self, seconds: float) -> None:
        self.now_ns += int(seconds * SECOND)


def open_gap(
    fetch: Fetch,
    channel: str,
    ids: tuple[int, int] | None = None,
    times: tuple[int, int] | None = None,
    *,
    cause: str = "disconnect",
    instrument_id: int = 1,
) -> int:
    """A gap as the feed leaves it; its times are those of the trades around the ids, unless they are given."""
    if times is None:
        assert ids is not None
        times = at(ids[0] - 1), at(ids[1] + 1)
    bounds = [moment(ns) for ns in times]
    rows = fetch(
        "INSERT INTO ingest.gaps (instrument_id, channel, from_time, to_time, from_id, to_id, cause, evidence)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, 'seen') RETURNING gap_id",
        *(instrument_id, channel, *bounds, *(ids or (None, None)), cause),
    )
    return int(rows[0][0])


def gap_row(
    channel: str,
    ids: tuple[int, int] | None,
    times: tuple[int, int],
    state: str,
    detail: str = "",
    *,
    cause: str = "disconnect",
    instrument_id: int = 1,
) -> tuple[Any, ...]:
    """One of `gap_rows`."""
    bounds = [moment(ns) for ns in times]
    closed = state in ("repaired", "unrecoverable")
    return (instrument_id, channel, *bounds, *(ids or (None, None)), cause, "seen", state, detail, closed)


def gap_rows(fetch: Fetch) -> Rows:
    """Every gap, by instrument, channel and place; the last column tells whether it is closed."""
    return fetch(
        "SELECT instrument_id, channel, from_time, to_time, from_id, to_id, cause, evidence, state, detail,"
        " closed_at IS NOT NULL FROM ingest.gaps ORDER BY instrument_id, channel DESC, from_id, from_time"
    )


def job_rows(fetch: Fetch) -> Rows:
    """Every window: purpose, ids, times, state, attempts, rows stored, rows known, error, still claimed."""
    return fetch(
        "SELECT purpose, from_id, to_id, from_time, to_time, state, attempts, rows_stored, rows_known, error,"
        " claimed_by IS NOT NULL FROM ingest.backfill_jobs ORDER BY from_id, from_time, job_id"
    )


def assert_rollup_changes(fetch: Fetch, expected: Rows, *, in_order: bool = True) -> None:
    """What maintenance is told of old rows; under Community the server keeps a log of its own."""
    if fetch("SELECT current_setting('timescaledb.license', true)") != [("timescale",)]:
        found = rollup_changes(fetch)
        assert (found if in_order else sorted(found)) == (expected if in_order else sorted(expected))


def rollup_changes(fetch: Fetch) -> Rows:
    return fetch("SELECT instrument_id, channel, from_time, to_time FROM ingest.rollup_changes ORDER BY change_id")


def changed(channel: str, first_ns: int, last_ns: int, instrument_id: int = 1) -> tuple[Any, ...]:
    return (instrument_id, channel, moment(first_ns), moment(last_ns))


def hurry(fetch: Fetch) -> None:
    """What is to be tried later is due now."""
    fetch("UPDATE ingest.backfill_jobs SET not_before = now() WHERE state = 'waiting'")
