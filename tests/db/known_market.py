"""A small market of which every number is known: what the tests of the analysts' functions and the cookbook query.

Monday, 2026-03-02, 00:00 to 02:00 UTC, BTC/USDT on two exchanges and ETH/USDT on one: 1m candles with a hole,
trades, book
snapshots of which one is out of sync, quotes, tickers, a gap. `load` writes it and brings the rollups up to date.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, LiteralString

import psycopg
from msgspec import Struct
from psycopg import sql

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
"""The first moment of the market's day."""
BUCKETS = datetime(2000, 1, 3, tzinfo=UTC)
"""A Monday: where buckets of any length are counted from."""
HOLE = range(30, 35)
"""Minutes of BTC/USDT at binance without a candle."""
NAMES = {1: ("binance", "BTC/USDT"), 2: ("binance", "ETH/USDT"), 3: ("kraken", "BTC/USDT")}
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

Row = tuple[Any, ...]


class Candle(Struct, frozen=True):
    time: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    quote_volume: Decimal
    trades: int
    taker_buy_volume: Decimal
    taker_buy_quote_volume: Decimal
    minutes: int = 1

    @property
    def row(self) -> Row:
        """As `market.ohlcv` returns it."""
        return tuple(getattr(self, name) for name in self.__struct_fields__)


def minute(number: int, instrument_id: int = 1) -> Candle:
    """The candle of a minute since Monday; each opens where the one before closed."""
    base = {1: 1000, 2: 50, 3: 1001}[instrument_id]
    before, after = (Decimal(base + n * 7 % 23 - n * 3 % 11) for n in (number, number + 1))
    volume = Decimal(1 + number * 5 % 13) / 4
    value = volume * (before + after) / 2
    return Candle(
        MONDAY + number * MINUTE,
        before,
        max(before, after) + Decimal("0.5"),
        min(before, after) - Decimal("0.25"),
        after,
        volume,
        value,
        2 + number % 7,
        volume / 2,
        value / 2,
    )


def minutes(instrument_id: int = 1) -> list[Candle]:
    """Those that are stored: the last one of Sunday, and two hours of Monday; at kraken every second minute only."""
    if instrument_id == 1:
        return [minute(number) for number in range(-1, 120) if number not in HOLE]
    return [minute(number, instrument_id) for number in range(0, 120, 1 if instrument_id == 2 else 2)]


def rolled(candles: Iterable[Candle], length: timedelta) -> list[Candle]:
    """Candles of a coarser length."""
    buckets: dict[datetime, list[Candle]] = {}
    for candle in candles:
        bucket = BUCKETS + (candle.time - BUCKETS) // length * length
        buckets.setdefault(bucket, []).append(candle)
    return joined(buckets)


def joined(buckets: Mapping[datetime, list[Candle]]) -> list[Candle]:
    """One candle of each bucket's, by time."""
    return [
        Candle(
            time,
            inside[0].open,
            max(c.high for c in inside),
            min(c.low for c in inside),
            inside[-1].close,
            sum((c.volume for c in inside), Decimal()),
            sum((c.quote_volume for c in inside), Decimal()),
            sum(c.trades for c in inside),
            sum((c.taker_buy_volume for c in inside), Decimal()),
            sum((c.taker_buy_quote_volume for c in inside), Decimal()),
            len(inside),
        )
        for time, inside in sorted(buckets.items())
    ]


TRADES: tuple[tuple[int, float, str, str | None, str, str], ...] = (
    # instrument, seconds since Monday, id, side, price, amount
    (1, -30, "8", "sell", "998", "1"),
    (1, 1, "9", "buy", "1000", "0.5"),
    (1, 1, "10", "buy", "1001", "0.25"),  # in the same microsecond: its id says that it is later
    (1, 20, "11", "sell", "1000.5", "1.25"),
    (1, 61, "12", "buy", "1004", "2"),
    (1, 90, "13", "sell", "1003", "1"),
    (1, 119.5, "14", None, "1002", "0.75"),
    (1, 200, "15", "sell", "1001", "4"),
    (1, 3_605, "16", "buy", "1010", "12"),
    (2, 5, "1", "buy", "50", "10"),
    (2, 65, "2", "sell", "51", "20"),
    (3, 30, "1", "sell", "1002", "0.1"),
    (3, 70, "2", "buy", "1005", "0.3"),
)

Levels = tuple[tuple[str, str], ...]
BOOKS: tuple[tuple[int, float, Levels, Levels, bool], ...] = (
    # instrument, seconds since Monday, bids, asks, in sync
    (1, 10, (("999", "1"), ("998", "2"), ("990", "5")), (("1001", "0.5"), ("1002", "1.5"), ("1010", "4")), True),
    (1, 20, (("999.5", "1.5"), ("999", "1")), (("1000.5", "2"), ("1001", "3"), ("1003", "1")), True),
    (1, 30, (("900", "1"),), (("1100", "1"),), False),
    (1, 70, (("1003", "2"),), (("1005", "2"), ("1006", "2")), True),
    (2, 10, (("49.9", "100"),), (("50.1", "50"),), True),
    (3, 10, (("1002", "1"), ("999", "1")), (("1003", "1"),), True),
    (3, 15, (), (("1003", "1"),), True),
)
QUOTES = (
    # instrument, seconds since Monday, sequence, bid, its amount, ask, its amount
    (1, 10.5, 101, "999", "1", "1001", "0.5"),
    (1, 12, 102, "999.5", "1.5", "1001", "0.5"),
    (1, 15, 103, "999.5", "1.5", "1000.5", "2"),
    (1, 61, 104, "1003", "2", "1005", "2"),
)
TICKERS = (
    # instrument, seconds since Monday, last, bid, ask, open, high, low, volume, and volume in quote currency of 24 h
    (2, 100, "51.5", "51.4", "51.6", "48", "52", "47.5", "1000", "50000"),
    (3, 60, "1004", "1003", "1005", "980", "1010", "975", "200", "199000"),
)
SWAP = ("binance", "BTC/USDT:USDT")
"""The perpetual that `load_derivatives` adds: contracts of 0.1 BTC."""
FUNDING = (
    # hours since Monday, rate, hours since Monday of the funding that it is for
    (-1, "0.0001", 0),
    (0.5, "0.00012", 8),
    (4, "0.0002", 8),
    (7.9, "0.00015", 8),
    (8.5, "-0.00005", 16),
    (15, "-0.0001", 16),
    (17, "0.00008", 24),
)
MARKS = (
    # minutes since Monday, mark, index
    (1, "1001", "1000"),
    (30, "1003", "1000"),
    (61, "999", "1000"),
    (125, "1002", None),
)
OPEN_INTEREST = (
    # minutes since Monday, contracts, value
    (2, "50000", "5005000"),
    (58, "51000", None),
    (90, "50500", "5044950"),
)
LIQUIDATIONS = (
    # minutes since Monday, side, price, contracts
    (5, "sell", "999", "10"),
    (5, "sell", "998.5", "10"),
    (40, "buy", "1004", "2.5"),
    (130, "sell", "1001", "1"),
)


def load(url: str) -> None:
    """Write all of it into an empty, migrated database."""
    with psycopg.connect(url, options="-c timezone=UTC") as connection:
        _instruments(connection)
        _market_data(connection)
        _completeness(connection)
    refresh(url)


def load_derivatives(url: str) -> None:
    """A perpetual beside what `load` wrote."""
    with psycopg.connect(url, options="-c timezone=UTC") as connection:
        found = connection.execute(
            "INSERT INTO ingest.instruments (exchange_id, symbol, native_symbol, kind, base, quote, settle,"
            " contract_size) SELECT exchange_id, %s, 'BTCUSDT', 'swap', 'BTC', 'USDT', 'USDT', 0.1"
            " FROM ingest.exchanges WHERE name = %s RETURNING instrument_id",
            [SWAP[1], SWAP[0]],
        ).fetchone()
        assert found is not None
        (number,) = found
        _many(
            connection,
            "INSERT INTO ingest.funding_rates (instrument_id, time, received_at, rate, funding_time)"
            " VALUES (%s, %s, %s, %s, %s)",
            ((number, _at(h * 3600), _at(h * 3600), rate, _at(paid * 3600)) for h, rate, paid in FUNDING),
        )
        for table, columns, rows in (
            ("mark_prices", ("mark", "index_price"), MARKS),
            ("open_interest", ("amount", "value"), OPEN_INTEREST),
            ("liquidations", ("side", "price", "amount"), LIQUIDATIONS),
        ):
            names = ("instrument_id", "time", "received_at", *columns)
            insert = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
                sql.Identifier("ingest", table),
                sql.SQL(", ").join(map(sql.Identifier, names)),
                sql.SQL(", ").join([sql.Placeholder()] * len(names)),
            )
            with connection.cursor() as cursor:
                cursor.executemany(insert, [(number, _at(60 * at), _at(60 * at), *rest) for at, *rest in rows])


def refresh(url: str) -> None:
    """Bring the rollups of candles and trades up to date, finest first, without the retention that maintenance
    executes:
    by it these books are too old.
    """
    with psycopg.connect(url, autocommit=True, options="-c timezone=UTC") as connection:
        license_ = connection.execute("SHOW timescaledb.license").fetchone()
        for name, source, bucket in ROLLUPS:
            if license_ == ("timescale",):
                connection.execute("CALL refresh_continuous_aggregate(%s, NULL, NULL)", [f"ingest.{name}"])
            else:
                parts = {"name": sql.Identifier(name), "source": sql.Identifier(source), "bucket": sql.Literal(bucket)}
                rows = "count(*)" if source == "candles_1m" else "sum(minutes)::bigint"
                text = _TRADES_ROLLED if source == "trades" else _CANDLES_ROLLED
                connection.execute(sql.SQL(text).format(**parts, minutes=sql.SQL(rows)))


ROLLUPS = (
    ("trade_candles_1m", "trades", "1 minute"),
    ("candles_5m", "candles_1m", "5 minutes"),
    ("candles_15m", "candles_5m", "15 minutes"),
    ("candles_30m", "candles_15m", "30 minutes"),
    ("candles_1h", "candles_30m", "1 hour"),
    ("candles_4h", "candles_1h", "4 hours"),
    ("candles_1d", "candles_4h", "1 day"),
    ("candles_1w", "candles_1d", "7 days"),
)
_CANDLES_ROLLED: LiteralString = """
INSERT INTO ingest.{name} (time, instrument_id, open, high, low, close, volume, quote_volume, trades, taker_buy_volume,
                           taker_buy_quote_volume, minutes)
SELECT time_bucket({bucket}, time), instrument_id, first(open, time), max(high), min(low), last(close, time),
sum(volume),
       sum(quote_volume), sum(trades)::bigint, sum(taker_buy_volume), sum(taker_buy_quote_volume), {minutes}
FROM ingest.{source} GROUP BY 1, 2
"""
_TRADES_ROLLED: LiteralString = """
INSERT INTO ingest.{name} (time, instrument_id, open, high, low, close, volume, quote_volume, trades, taker_buy_volume,
                           taker_buy_quote_volume)
SELECT time_bucket({bucket}, time), instrument_id, first(price, ingest.trade_place(time, trade_id)),
max(price), min(price),
       last(price, ingest.trade_place(time, trade_id)), sum(amount), sum(price * amount), count(*),
       CASE WHEN count(side) = count(*) THEN coalesce(sum(amount) FILTER (WHERE side = 'buy'), 0) END,
       CASE WHEN count(side) = count(*) THEN coalesce(sum(price * amount) FILTER (WHERE side = 'buy'), 0) END
FROM ingest.{source} GROUP BY 1, 2
"""


def _many(connection: psycopg.Connection, statement: LiteralString, rows: Iterable[Row | dict[str, Any]]) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(statement, list(rows))


def _at(seconds: float) -> datetime:
    return MONDAY + timedelta(seconds=seconds)


def _instruments(connection: psycopg.Connection) -> None:
    connection.execute("INSERT INTO ingest.exchanges (name) VALUES ('binance'), ('kraken')")
    exchanges: dict[str, int] = dict(connection.execute("SELECT name, exchange_id FROM ingest.exchanges").fetchall())
    _many(
        connection,
        "INSERT INTO ingest.instruments (exchange_id, symbol, native_symbol, kind, base, quote, price_step,"
        " amount_step,"
        " first_seen_at, updated_at) VALUES (%s, %s, %s, 'spot', %s, 'USDT', 0.01, 0.0001, %s, %s)",
        (
            (exchanges[exchange], symbol, symbol.replace("/", ""), symbol.partition("/")[0], MONDAY - DAY, MONDAY - DAY)
            for exchange, symbol in NAMES.values()
        ),
    )
    found = connection.execute("SELECT instrument_id, exchange, symbol FROM market.instruments").fetchall()
    assert {number: names for number, *names in found} == {number: list(names) for number, names in NAMES.items()}


def _market_data(connection: psycopg.Connection) -> None:
    _many(
        connection,
        "INSERT INTO ingest.candles_1m (instrument_id, received_at, source, time, open, high, low, close, volume,"
        " quote_volume, trades, taker_buy_volume, taker_buy_quote_volume)"
        " VALUES (%s, %s, 30, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        ((number, c.time + MINUTE + SECOND, *c.row[:-1]) for number in NAMES for c in minutes(number)),
    )
    _many(
        connection,
        "INSERT INTO ingest.trades (instrument_id, time, received_at, trade_id, side, price, amount)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s)",
        ((number, _at(at), _at(at + 0.05), *rest) for number, at, *rest in TRADES),
    )
    _many(
        connection,
        "INSERT INTO ingest.order_books (instrument_id, time, received_at, sequence, bid_prices, bid_amounts,"
        " ask_prices,"
        " ask_amounts, in_sync) VALUES (%s, %s, %s, %s, %s::numeric[], %s::numeric[], %s::numeric[],"
        " %s::numeric[], %s)",
        (
            (
                number,
                _at(at),
                _at(at),
                at,
                *([level[n] for level in side] for side in (bids, asks) for n in (0, 1)),
                sync,
            )
            for number, at, bids, asks, sync in BOOKS
        ),
    )
    _many(
        connection,
        "INSERT INTO ingest.quotes (instrument_id, time, received_at, sequence, bid, bid_amount, ask, ask_amount)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        ((number, _at(at), _at(at), *rest) for number, at, *rest in QUOTES),
    )
    _many(
        connection,
        "INSERT INTO ingest.tickers (instrument_id, time, received_at, last, bid, ask, open_24h, high_24h, low_24h,"
        " volume_24h, quote_volume_24h) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        ((number, _at(at), _at(at), *rest) for number, at, *rest in TICKERS),
    )


def _completeness(connection: psycopg.Connection) -> None:
    """Streams that were collected for those two hours and stopped, and the hole of the candles as a gap."""
    _many(
        connection,
        "INSERT INTO ingest.streams (instrument_id, channel, id_space, state, state_since, promise,"
        " covered_from, proved_to,"
        " attested_to, last_time, last_received_at, committed_at, rows_stored)"
        " VALUES (%(i)s, %(c)s, 'id', 'stopped', %(b)s, %(p)s, %(a)s, %(b)s, %(b)s, %(b)s, %(b)s, %(b)s, %(n)s)",
        [
            {"i": number, "c": channel, "p": promise, "a": MONDAY, "b": MONDAY + 2 * HOUR, "n": 10 * number}
            for number in NAMES
            for channel, promise in (("trades", "ids"), ("candles", "grid"), ("book", "none"))
        ],
    )
    connection.execute(
        "INSERT INTO ingest.gaps (instrument_id, channel, from_time, to_time, cause, state, evidence,"
        " opened_at, closed_at,"
        " updated_at) VALUES (1, 'candles', %(from)s, %(to)s, 'disconnect', 'unrecoverable', 'seen', %(to)s,"
        " %(to)s, %(to)s)",
        {"from": MONDAY + HOLE[0] * MINUTE, "to": MONDAY + HOLE[-1] * MINUTE},
    )
