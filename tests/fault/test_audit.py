"""The comparison itself: it passes over nothing, neither rows that differ nor names that are wrong."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import psycopg
import pytest
from msgspec.structs import astuple
from psycopg import AsyncConnection, sql

from ingest.simulator.audit import Comparison, LedgerClient, audit
from ingest.simulator.ledger import LedgerBook, LedgerTrade, Summary
from ingest.simulator.market import Dynamics
from ingest.simulator.venue import Venue, VenueConfig

START_US = 1_760_000_030_000_000
SYMBOL = "BTC/USDT"
BOOK = 1


_AT = "to_timestamp(0) + %s * INTERVAL '1 microsecond'"
_TRADE = f"INSERT INTO ingest.trades VALUES ({_AT}, 1, %s, %s, %s, %s, now())"
_CANDLE = f"INSERT INTO ingest.candles_1m VALUES ({_AT}, 1, %s, %s, %s, %s, %s, %s, %s, %s, %s, 20, now())"
_BOOK = (
    f"INSERT INTO ingest.order_books VALUES ({_AT}, 1, NULL, %s, %s::numeric[], %s::numeric[], %s::numeric[],"
    " %s::numeric[], true, now())"
)


class Store:
    """Everything that the venue did in a minute and a bit, stored; and whatever a test does to it."""

    def __init__(self, url: str, venue: Venue, since: Summary) -> None:
        self.url = url
        self._venue = venue
        self._since = since
        self.trades = list(venue.ledger.trades(SYMBOL))
        self.ticks_us = [START_US + second * 1_000_000 for second in (1, 2, 3, 4)]

    async def fill(self) -> None:
        ledger = self._venue.ledger
        books = ledger.books(SYMBOL, [ledger.trails[0].base + BOOK] * 4, 20)
        await self.run("INSERT INTO ingest.exchanges (name) VALUES ('binance')")
        await self.run(
            "INSERT INTO ingest.instruments (exchange_id, symbol, native_symbol, kind, base, quote)"
            " VALUES (1, %s, 'BTCUSDT', 'spot', 'BTC', 'USDT')",
            SYMBOL,
        )
        await self.run(
            f"INSERT INTO ingest.streams (instrument_id, channel, id_space, covered_from, proved_to)"
            f" VALUES (1, 'book', 'update', {_AT}, {_AT})",
            START_US + 500_000,
            START_US + 4_500_000,
        )
        async with await AsyncConnection.connect(self.url, options="-c timezone=UTC") as connection:
            cursor = connection.cursor()
            await cursor.executemany(_TRADE, map(trade_values, self.trades))
            await cursor.executemany(_CANDLE, [astuple(candle)[:10] for candle in ledger.candles(SYMBOL)])
            await cursor.executemany(_BOOK, map(book_values, self.ticks_us, books))

    async def name(
        self,
        channel: str,
        ids: tuple[int, int] | None = None,
        times_us: tuple[int, int] = (START_US, START_US),
        state: str = "unrecoverable",
    ) -> None:
        """A gap."""
        await self.run(
            "INSERT INTO ingest.gaps (instrument_id, channel, from_time, to_time, from_id, to_id, cause, state)"
            " VALUES (1, %s, to_timestamp(0) + %s * INTERVAL '1 microsecond',"
            " to_timestamp(0) + %s * INTERVAL '1 microsecond', %s, %s, 'told', %s)",
            *(channel, *times_us, *(ids or (None, None)), state),
        )

    async def lose(self, *ids: int) -> None:
        await self.run("DELETE FROM ingest.trades WHERE trade_id = ANY (%s)", [str(number) for number in ids])

    async def run(self, statement: str, *parameters: Any) -> None:
        async with await AsyncConnection.connect(self.url, autocommit=True, options="-c timezone=UTC") as connection:
            await connection.execute(statement.encode(), parameters or None)

    async def audit(self) -> dict[str, Comparison]:
        ledger = LedgerClient(self._venue.rest_url)
        made = await asyncio.to_thread(audit, self.url, ledger, since=self._since, depth=20, outside_gaps=True)
        return {each.channel: each for each in made}


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    config = VenueConfig(
        symbols=(SYMBOL,), start_us=START_US, realtime=False, dynamics=Dynamics(trades_per_second=2.0, book_levels=100)
    )
    async with Venue.serve(config) as venue:
        since = venue.ledger.summary()
        await venue.advance(75)
        made = Store(database_url, venue, since)
        await made.fill()
        yield made


def trade_values(trade: LedgerTrade) -> tuple[int, str, str, str, str]:
    return trade.time_us, str(trade.id), trade.side, trade.price, trade.amount


def book_values(tick_us: int, book: LedgerBook) -> tuple[Any, ...]:
    return (
        tick_us,
        book.sequence,
        *([each[place] for each in side] for side in (book.bids, book.asks) for place in (0, 1)),
    )


def counts(comparison: Comparison) -> tuple[int, int, int, int, int, int]:
    """(missing, unexpected, different, named, overnamed, unsettled)"""
    c = comparison
    return c.missing, c.unexpected, c.different, c.named, c.overnamed, c.unsettled


async def test_all_equal(store: Store) -> None:
    found = await store.audit()
    assert {channel: (each.equal, counts(each)) for channel, each in found.items()} == {
        "trades": (True, (0,) * 6),
        "candles": (True, (0,) * 6),
        "book": (True, (0,) * 6),
    }
    assert {channel: each.compared for channel, each in found.items()} == {
        "trades": len(store.trades),
        "candles": 2,
        "book": 4,
    }


async def seen(store: Store, channel: str = "trades") -> tuple[bool, tuple[int, int, int, int, int, int]]:
    """Whether one channel is equal, and what was counted; the other channels must not be touched."""
    found = await store.audit()
    assert all(each.equal for each in found.values() if each.channel != channel)
    return found[channel].equal, counts(found[channel])


async def test_a_missing_trade(store: Store) -> None:
    number = store.trades[7].id
    await store.lose(number)
    assert await seen(store) == (False, (1, 0, 0, 0, 0, 0))
    await store.name("trades", (number, number), state="repaired")
    assert await seen(store) == (False, (1, 0, 0, 0, 0, 0))
    await store.name("trades", (number, number))
    assert await seen(store) == (True, (0, 0, 0, 1, 0, 0))


async def test_a_gap_that_names_too_little(store: Store) -> None:
    ids = [trade.id for trade in store.trades[5:10]]
    await store.lose(*ids)
    await store.name("trades", (ids[0], ids[1]))
    await store.name("trades", (ids[1], ids[3]), state="awaiting_dump")
    assert await seen(store) == (False, (1, 0, 0, 4, 0, 0))


async def test_a_gap_that_names_a_stored_trade(store: Store) -> None:
    ids = [trade.id for trade in store.trades[5:8]]
    await store.lose(*ids[1:])
    await store.name("trades", (ids[0], ids[2]))
    assert await seen(store) == (False, (0, 0, 0, 2, 1, 0))


async def test_a_gap_that_names_what_never_was(store: Store) -> None:
    last = store.trades[-1].id
    await store.lose(last)
    await store.name("trades", (last, last + 3))
    assert await seen(store) == (False, (0, 0, 0, 1, 3, 0))


async def test_a_gap_that_names_what_was_before_the_start(store: Store) -> None:
    await store.name("trades", (1, 2))
    assert await seen(store) == (False, (0, 0, 0, 0, 2, 0))


async def test_a_gap_by_time_names_what_lies_within(store: Store) -> None:
    before, first, second, after = store.trades[10:14]
    await store.lose(first.id, second.id)
    await store.name("trades", times_us=(before.time_us, after.time_us))
    assert await seen(store) == (True, (0, 0, 0, 2, 0, 0))
    await store.run(_TRADE, *trade_values(first))
    assert await seen(store) == (False, (0, 0, 0, 1, 1, 0))


async def test_a_gap_by_time_without_a_missing_trade(store: Store) -> None:
    before, after = store.trades[10:12]
    await store.name("trades", times_us=(before.time_us, after.time_us))
    assert await seen(store) == (False, (0, 0, 0, 0, 1, 0))


@pytest.mark.parametrize("state", ["open", "repairing"])
async def test_a_gap_that_waits_for_repair(store: Store, state: str) -> None:
    number = store.trades[7].id
    await store.lose(number)
    await store.name("trades", (number, number), state=state)
    assert await seen(store) == (False, (1, 0, 0, 0, 0, 1))


async def test_a_trade_that_is_stored_twice(store: Store) -> None:
    await store.run(
        "INSERT INTO ingest.trades SELECT time + INTERVAL '1 ms', instrument_id, trade_id, side, price, amount,"
        " received_at FROM ingest.trades ORDER BY time LIMIT 1"
    )
    assert await seen(store) == (False, (0, 1, 0, 0, 0, 0))


@pytest.mark.parametrize("wrong_id", ["999999999", "1", "not a number"])
async def test_a_trade_that_never_was(store: Store, wrong_id: str) -> None:
    await store.run(
        "INSERT INTO ingest.trades SELECT time, instrument_id, %s, side, price, amount, received_at"
        " FROM ingest.trades ORDER BY time LIMIT 1",
        wrong_id,
    )
    assert await seen(store) == (False, (0, 1, 0, 0, 0, 0))


@pytest.mark.parametrize(
    "change",
    [
        "price = price + 0.00000001",
        "amount = amount * 2",
        "price = price::text::numeric(30, 12)",  # the same number in other digits
        "side = CASE side WHEN 'buy' THEN 'sell' ELSE 'buy' END::ingest.side",
        "time = time + INTERVAL '1 microsecond'",
    ],
)
async def test_an_altered_trade(store: Store, change: str) -> None:
    number = str(store.trades[7].id)
    with psycopg.connect(store.url, autocommit=True) as connection:
        statement = sql.SQL("UPDATE ingest.trades SET {} WHERE trade_id = {}")
        connection.execute(statement.format(sql.SQL(change), number))
    assert await seen(store) == (False, (0, 0, 1, 0, 0, 0))


LOSE_FIRST_CANDLE = "DELETE FROM ingest.candles_1m WHERE time = (SELECT min(time) FROM ingest.candles_1m)"
Spoil = Callable[[Store], Awaitable[None]]
MINUTE_US = START_US // 60_000_000 * 60_000_000


async def test_a_missing_candle(store: Store) -> None:
    """The first one, too: it is that of the minute in which collection began."""
    await store.run(LOSE_FIRST_CANDLE)
    assert await seen(store, "candles") == (False, (1, 0, 0, 0, 0, 0))
    await store.name("candles", times_us=(MINUTE_US, MINUTE_US + 30_000_000))
    assert await seen(store, "candles") == (True, (0, 0, 0, 1, 0, 0))


async def test_a_gap_that_names_a_stored_candle(store: Store) -> None:
    await store.run(LOSE_FIRST_CANDLE)
    await store.name("candles", times_us=(MINUTE_US, MINUTE_US + 60_000_000))
    assert await seen(store, "candles") == (False, (0, 0, 0, 1, 1, 0))


async def test_a_gap_that_names_a_candle_that_never_was(store: Store) -> None:
    await store.name("candles", times_us=(MINUTE_US + 10 * 60_000_000, MINUTE_US + 11 * 60_000_000))
    assert await seen(store, "candles") == (False, (0, 0, 0, 0, 2, 0))


async def test_an_altered_candle(store: Store) -> None:
    await store.run(
        "UPDATE ingest.candles_1m SET trades = trades + 1 WHERE time = (SELECT max(time) FROM ingest.candles_1m)"
    )
    assert await seen(store, "candles") == (False, (0, 0, 1, 0, 0, 0))


async def test_a_candle_that_never_was(store: Store) -> None:
    await store.run(
        "INSERT INTO ingest.candles_1m SELECT time + INTERVAL '1 hour', instrument_id, open, high, low, close, volume,"
        " quote_volume, trades, taker_buy_volume, taker_buy_quote_volume, source, received_at"
        " FROM ingest.candles_1m LIMIT 1"
    )
    assert await seen(store, "candles") == (False, (0, 1, 0, 0, 0, 0))


async def test_a_tick_without_a_book(store: Store) -> None:
    await store.run("DELETE FROM ingest.order_books WHERE time = to_timestamp(%s / 1e6)", store.ticks_us[1])
    assert await seen(store, "book") == (False, (1, 0, 0, 0, 0, 0))
    await store.name("book", times_us=(store.ticks_us[1] - 1, store.ticks_us[1] + 1))
    assert await seen(store, "book") == (True, (0, 0, 0, 1, 0, 0))


async def test_a_book_out_of_sync_that_no_gap_names(store: Store) -> None:
    await store.run(
        "UPDATE ingest.order_books SET in_sync = false WHERE time = to_timestamp(%s / 1e6)", store.ticks_us[2]
    )
    assert await seen(store, "book") == (False, (1, 0, 0, 0, 0, 0))


async def test_a_tick_before_the_collected_time_and_one_after_it(store: Store) -> None:
    await store.run("UPDATE ingest.streams SET covered_from = to_timestamp(%s / 1e6)", store.ticks_us[0] + 1)
    await store.run("UPDATE ingest.streams SET proved_to = to_timestamp(%s / 1e6)", store.ticks_us[3] - 1)
    await store.run(
        "DELETE FROM ingest.order_books WHERE time IN (to_timestamp(%s / 1e6), to_timestamp(%s / 1e6))",
        store.ticks_us[0],
        store.ticks_us[3],
    )
    assert await seen(store, "book") == (True, (0, 0, 0, 0, 0, 0))


async def test_an_altered_book(store: Store) -> None:
    await store.run(
        "UPDATE ingest.order_books SET bid_amounts[1] = bid_amounts[1] + 1 WHERE time = to_timestamp(%s / 1e6)",
        store.ticks_us[0],
    )
    assert await seen(store, "book") == (False, (0, 0, 1, 0, 0, 0))


async def test_nothing_at_all_is_not_equal(store: Store) -> None:
    await store.run("TRUNCATE ingest.trades, ingest.candles_1m, ingest.order_books, ingest.streams")
    found = await store.audit()
    assert not any(each.equal for each in found.values())
