"""Any text, number and time survives the way through COPY into a real table."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, LiteralString

import msgspec
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.records import (
    Candle,
    CandleSource,
    Channel,
    Funding,
    Gap,
    GapState,
    Liquidation,
    MarkPrice,
    OpenInterest,
    OrderBook,
    Quote,
    Reject,
    Side,
    Ticker,
    Trade,
)
from ingest.store.database import connect_sync
from ingest.store.notes import encode_gaps
from ingest.store.rows import TABLES, printable, timestamp
from ingest.store.sqlfiles import query
from tests.conftest import TestServer

EXAMPLES = settings(max_examples=40, deadline=None)

# What PostgreSQL can hold as text: everything but NUL and lone surrogates. What it cannot is refused, not changed.
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
DECIMALS = st.one_of(
    st.decimals(allow_nan=False, allow_infinity=False, places=10, min_value=-(10**20), max_value=10**20).map(str),
    st.integers(-(10**60), 10**60).map(str),
    st.builds(lambda a, b: f"{a}.{b}", st.integers(0, 10**40), st.from_regex(r"[0-9]{1,40}", fullmatch=True)),
    st.from_regex(r"-?[0-9]{1,20}\.[0-9]{0,20}(e-?[0-9]{1,2})?", fullmatch=True),
)
MICROSECONDS_2262 = 2**63 // 1000
TIMES = st.integers(1_000_000_000, (MICROSECONDS_2262 - 1) * 1_000 + 999)
IDS = st.integers(-(2**31), 2**31 - 1)
BIG = st.none() | st.integers(-(2**63), 2**63 - 1)
SIDES: st.SearchStrategy[Side] = st.sampled_from(("buy", "sell"))
LEVELS = st.lists(st.tuples(DECIMALS, DECIMALS), max_size=8).map(tuple)


def moment(time_ns: int | None) -> datetime | None:
    return None if time_ns is None else datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_ns // 1000)


def number(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


@pytest.fixture(scope="module")
def connection(database_server: TestServer) -> Iterator[psycopg.Connection]:
    """Temporary tables with the columns of the real ones, and without their checks."""
    with database_server.migrated() as url, connect_sync(url, role="test") as connected:
        for table in TABLES.values():
            columns = ", ".join(table.columns)
            made = f"CREATE TEMP TABLE {table.name} AS SELECT {columns} FROM ingest.{table.name} WITH NO DATA"
            connected.execute(made.encode())
            connected.execute(f"ALTER TABLE pg_temp.{table.name} ADD n serial".encode())
        yield connected


def through_copy(connection: psycopg.Connection, records: list[Any], what: LiteralString) -> list[tuple[Any, ...]]:
    table = TABLES[type(records[0])]
    columns = ", ".join(table.columns)
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE pg_temp.{table.name}".encode())
        with cursor.copy(f"COPY pg_temp.{table.name} ({columns}) FROM STDIN".encode()) as copy:
            copy.write(table.encode(records))
        assert cursor.rowcount == len(records)
        return cursor.execute(f"SELECT {what} FROM pg_temp.{table.name} ORDER BY n".encode()).fetchall()


@EXAMPLES
@given(
    records=st.lists(
        st.builds(Trade, IDS, TIMES, TEXT, st.sampled_from(["buy", "sell", None]), DECIMALS, DECIMALS, TIMES),
        min_size=1,
    )
)
def test_trades(connection: psycopg.Connection, records: list[Trade]) -> None:
    what = "time, instrument_id, trade_id, side::text, price, amount, received_at"
    assert through_copy(connection, records, what) == [
        (
            moment(t.time_ns), t.instrument_id, t.trade_id, t.side, number(t.price), number(t.amount),
            moment(t.received_ns),
        )
        for t in records
    ]  # fmt: skip


OPTIONAL = st.none() | DECIMALS


@EXAMPLES
@given(
    records=st.lists(
        st.builds(
            Candle, IDS, TIMES, DECIMALS, DECIMALS, DECIMALS, DECIMALS, DECIMALS, OPTIONAL, BIG, OPTIONAL, OPTIONAL,
            st.sampled_from(CandleSource), TIMES,
        ),
        min_size=1, max_size=10,
    )
)  # fmt: skip
def test_candles(connection: psycopg.Connection, records: list[Candle]) -> None:
    what = (
        "time, instrument_id, open, high, low, close, volume, quote_volume, trades, taker_buy_volume,"
        " taker_buy_quote_volume, source, received_at"
    )
    assert through_copy(connection, records, what) == [
        (
            moment(c.time_ns), c.instrument_id,
            *map(number, (c.open, c.high, c.low, c.close, c.volume, c.quote_volume)), c.trades,
            number(c.taker_buy_volume), number(c.taker_buy_quote_volume), int(c.source), moment(c.received_ns),
        )
        for c in records
    ]  # fmt: skip


@EXAMPLES
@given(
    records=st.lists(
        st.builds(
            OrderBook, IDS, TIMES, st.none() | TIMES, BIG, LEVELS, LEVELS, st.booleans(), TIMES,
            st.none() | st.booleans(),
        ),
        min_size=1,
        max_size=8,
    )
)  # fmt: skip
def test_order_books(connection: psycopg.Connection, records: list[OrderBook]) -> None:
    what = (
        "time, instrument_id, event_time, sequence, bid_prices, bid_amounts, ask_prices, ask_amounts, in_sync,"
        " received_at, checksum_ok"
    )
    assert through_copy(connection, records, what) == [
        (
            moment(b.time_ns), b.instrument_id, moment(b.event_ns), b.sequence,
            *([Decimal(level[side]) for level in levels] for levels in (b.bids, b.asks) for side in (0, 1)),
            b.in_sync, moment(b.received_ns), b.checksum_ok,
        )
        for b in records
    ]  # fmt: skip


@EXAMPLES
@given(
    quotes=st.lists(
        st.builds(Quote, IDS, TIMES, st.integers(-(2**63), 2**63 - 1), *[DECIMALS] * 4, TIMES), min_size=1, max_size=8
    ),
    tickers=st.lists(st.builds(Ticker, IDS, TIMES, *[OPTIONAL] * 10, TIMES), min_size=1, max_size=8),
)
def test_quotes_and_tickers(connection: psycopg.Connection, quotes: list[Quote], tickers: list[Ticker]) -> None:
    for records in (quotes, tickers):
        columns = TABLES[type(records[0])].columns
        rows = through_copy(connection, list(records), ", ".join(columns))
        for row, record in zip(rows, records, strict=True):
            given_values = dict(zip(record.__struct_fields__, msgspec.structs.astuple(record), strict=True))
            for name, value in zip(columns, row, strict=True):
                if name in {"time", "received_at"}:
                    assert value == moment(given_values[{"time": "time_ns", "received_at": "received_ns"}[name]])
                elif name in {"instrument_id", "sequence"}:
                    assert value == given_values[name]
                else:
                    assert value == number(given_values[name])


@EXAMPLES
@given(
    rates=st.lists(st.builds(Funding, IDS, TIMES, DECIMALS, st.none() | TIMES, TIMES), min_size=1, max_size=8),
    interest=st.lists(st.builds(OpenInterest, IDS, TIMES, DECIMALS, OPTIONAL, TIMES), min_size=1, max_size=8),
    marks=st.lists(st.builds(MarkPrice, IDS, TIMES, DECIMALS, OPTIONAL, TIMES), min_size=1, max_size=8),
    orders=st.lists(st.builds(Liquidation, IDS, TIMES, SIDES, DECIMALS, DECIMALS, TIMES), min_size=1, max_size=8),
)
def test_figures_of_derivatives(
    connection: psycopg.Connection,
    rates: list[Funding],
    interest: list[OpenInterest],
    marks: list[MarkPrice],
    orders: list[Liquidation],
) -> None:
    assert through_copy(connection, rates, "time, instrument_id, rate, funding_time, received_at") == [
        (moment(f.time_ns), f.instrument_id, number(f.rate), moment(f.funding_ns), moment(f.received_ns)) for f in rates
    ]
    assert through_copy(connection, interest, "time, instrument_id, amount, value, received_at") == [
        (moment(o.time_ns), o.instrument_id, number(o.amount), number(o.value), moment(o.received_ns)) for o in interest
    ]
    assert through_copy(connection, marks, "time, instrument_id, mark, index_price, received_at") == [
        (moment(m.time_ns), m.instrument_id, number(m.mark), number(m.index), moment(m.received_ns)) for m in marks
    ]
    assert through_copy(connection, orders, "time, instrument_id, side::text, price, amount, received_at") == [
        (moment(o.time_ns), o.instrument_id, o.side, number(o.price), number(o.amount), moment(o.received_ns))
        for o in orders
    ]


@EXAMPLES
@given(rejects=st.lists(st.builds(Reject, TEXT, TEXT, TEXT, st.binary(), TIMES), min_size=1))
def test_rejects(connection: psycopg.Connection, rejects: list[Reject]) -> None:
    assert through_copy(connection, rejects, "received_at, exchange, stream, reason, payload") == [
        (moment(r.received_ns), r.exchange, r.stream, r.reason, r.payload) for r in rejects
    ]


ENDS = st.tuples(st.none() | TIMES, st.none() | TIMES, BIG, BIG).filter(lambda ends: (ends[0], ends[2]) != (None, None))


@st.composite
def a_gap(draw: st.DrawFn) -> Gap:
    channel: Channel = draw(st.sampled_from(["trades", "candles", "book"]))
    state: GapState = draw(st.sampled_from(["open", "repaired", "unrecoverable"]))
    from_ns, to_ns, from_id, to_id = draw(ENDS)
    texts = draw(st.text()), draw(st.text())
    return Gap(1, channel, texts[0], from_ns, to_ns, from_id, to_id, texts[1], state, opened_ns=draw(TIMES))


@EXAMPLES
@given(gaps=st.lists(a_gap(), min_size=1))
def test_gaps(connection: psycopg.Connection, gaps: list[Gap]) -> None:
    """Any gap is kept, its text legible, and of those that have one key the last one."""
    with connection.transaction(force_rollback=True):
        connection.execute("INSERT INTO ingest.exchanges (name) VALUES ('x')")
        connection.execute(
            "INSERT INTO ingest.instruments (instrument_id, exchange_id, symbol, native_symbol, kind, base, quote)"
            " OVERRIDING SYSTEM VALUE SELECT 1, exchange_id, 'X', 'X', 'spot', 'X', 'Y' FROM ingest.exchanges"
        )
        connection.execute(query("merge_gaps"), encode_gaps(gaps))
        found = connection.execute(
            "SELECT channel, from_time, to_time, from_id, to_id, cause, evidence, state, opened_at,"
            " closed_at IS NOT NULL FROM ingest.gaps"
        ).fetchall()
    told: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for g in gaps:
        cause, evidence, opened = printable(g.cause), printable(g.evidence), moment(g.opened_ns)
        ends = (moment(g.from_ns), moment(g.to_ns), g.from_id, g.to_id)
        row = (g.channel, *ends, cause, evidence, g.state, opened, g.state != "open")
        told[g.channel, opened, ends[0], g.from_id, cause] = row
    assert sorted(found, key=repr) == sorted(told.values(), key=repr)


@EXAMPLES
@given(reason=st.text())
def test_any_reason_can_be_kept(connection: psycopg.Connection, reason: str) -> None:
    ((kept,),) = through_copy(connection, [Reject("x", "y", reason, b"", 10**18)], "reason")
    if reason.isprintable():
        assert kept == reason


@given(time_ns=TIMES)
def test_timestamps_are_cut_never_rounded(time_ns: int) -> None:
    text = timestamp(time_ns)
    parsed = datetime.fromisoformat(text)
    assert parsed == moment(time_ns)
    assert timestamp(time_ns // 1000 * 1000) == text


@given(first=TIMES, second=TIMES)
def test_timestamps_sort_as_their_times(first: int, second: int) -> None:
    assert (timestamp(first) <= timestamp(second)) == (first // 1000 <= second // 1000)
