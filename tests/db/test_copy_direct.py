"""What is written is what stands in the tables: every column, every digit, every microsecond."""

import psycopg
import pytest
from psycopg import sql

from ingest.clock import MICROSECOND, MINUTE, SECOND
from ingest.records import Candle, CandleSource, Reject, Trade
from ingest.store.copy_writer import CopyWriter, Written
from tests.conftest import Fetch
from tests.db.conftest import MakeWriter
from tests.db.support import (
    DAY,
    NOON,
    book,
    book_row,
    candle,
    candle_row,
    expected,
    moment,
    progress,
    reject_row,
    stored_books,
    stored_candles,
    stored_rejects,
    stored_trades,
    trade,
    trades,
)

DIGITS_38 = "1234567890123456789.0123456789012345678"
SMALL = "0.00000000000000000000000000000000000001"
LARGE = "99999999999999999999999999999999999999"


async def test_nothing_is_written_for_nothing(writer: CopyWriter, fetch: Fetch) -> None:
    assert await writer.write([]) == Written(0, 0, 0)
    assert stored_trades(fetch) == []


async def test_trades_are_stored_as_they_are(writer: CopyWriter, fetch: Fetch) -> None:
    batch = [
        trade("1", price=DIGITS_38, amount=SMALL),
        trade("2", price=LARGE, amount="1e-9", side="sell"),
        trade("3", side=None, price="0.10", amount="5.000000"),
        trade("4", instrument_id=2, time_ns=NOON + 59_999_999_999),
        trade("5", time_ns=NOON + DAY + 1_000),  # another chunk
        trade("6", time_ns=NOON - 40 * DAY),
        trade("7", instrument_id=2_147_483_647),  # an id that no stream has: the row is data all the same
    ]
    assert await writer.write(batch) == Written(7, 0, 0)
    assert stored_trades(fetch) == expected(*batch)


@pytest.mark.parametrize("staged", [False, True])
async def test_digits_are_kept_to_the_last_zero(writer: CopyWriter, fetch: Fetch, *, staged: bool) -> None:
    await writer.write([trade("1", price="64000.100", amount="0.00300")], staged=staged)
    assert fetch("SELECT price::text, amount::text FROM ingest.trades") == [("64000.100", "0.00300")]


TIMES = [
    (SECOND, "1970-01-01 00:00:01+00"),
    (NOON, "2026-11-21 12:00:00+00"),
    (NOON + 1_999, "2026-11-21 12:00:00.000001+00"),
    (NOON + 10 * MICROSECOND, "2026-11-21 12:00:00.00001+00"),
    (NOON + 999_999_999, "2026-11-21 12:00:00.999999+00"),  # cut, never rounded into the next second
    (NOON + 59 * SECOND + 999_999_999, "2026-11-21 12:00:59.999999+00"),
    (NOON // DAY * DAY + DAY - 1, "2026-11-21 23:59:59.999999+00"),
    (4_102_444_799_999_999_999, "2099-12-31 23:59:59.999999+00"),
]


@pytest.mark.parametrize("staged", [False, True])
async def test_times_are_cut_to_microseconds(writer: CopyWriter, fetch: Fetch, *, staged: bool) -> None:
    batch = [trade(text, time_ns=time_ns, received_ns=time_ns) for time_ns, text in TIMES]
    await writer.write(batch, staged=staged)
    texts = fetch("SELECT time::text, received_at::text FROM ingest.trades ORDER BY time")
    assert texts == [(text, text) for _, text in TIMES]


IDS = [
    "a\tb",
    "a\nb",
    "a\r\nb",
    "a\\b",
    "\\N",
    "\\.",
    "\\x41",
    "a\\",
    " ",
    "NULL",
    "žluťoučký 🐎 \u2028",
    "'; DROP TABLE ingest.trades; --",
    '{"a": [1]}',
    "%s %(x)s",
    "\x01\x7f",
    "x" * 2_000,
]


@pytest.mark.parametrize("staged", [False, True])
async def test_any_text_is_an_id(writer: CopyWriter, fetch: Fetch, *, staged: bool) -> None:
    batch = [trade(text, time_ns=NOON + number * SECOND) for number, text in enumerate(IDS)]
    assert await writer.write(batch, staged=staged) == Written(len(IDS), 0, 0)
    assert stored_trades(fetch) == expected(*batch)
    assert stored_rejects(fetch) == []


@pytest.mark.parametrize("staged", [False, True])
async def test_candles_are_stored_as_they_are(writer: CopyWriter, fetch: Fetch, *, staged: bool) -> None:
    batch = [
        candle(),
        candle(time_ns=NOON + MINUTE, quote_volume=None, trades=None, source=CandleSource.OPEN),
        candle(time_ns=NOON + 45 * DAY, volume="0", trades=0, source=CandleSource.DUMP),
        Candle(
            2, NOON, DIGITS_38, LARGE, SMALL, DIGITS_38, DIGITS_38, DIGITS_38, 9_223_372_036_854_775_807, None, None,
            CandleSource.REST, NOON + 1_999,
        ),
    ]  # fmt: skip
    assert await writer.write(batch, staged=staged) == Written(4, 0, 0)
    assert stored_candles(fetch) == [candle_row(c) for c in batch]


@pytest.mark.parametrize("staged", [False, True])
async def test_order_books_are_stored_as_they_are(writer: CopyWriter, fetch: Fetch, *, staged: bool) -> None:
    deep = tuple((f"{100 - level / 100:.2f}", f"{level + 1}.50") for level in range(1_000))
    batch = [
        book(),
        book(time_ns=NOON + SECOND, bids=(), asks=(), event_ns=None, sequence=None, in_sync=False),
        book(time_ns=NOON + 2 * SECOND, bids=((DIGITS_38, SMALL),), asks=()),
        book(time_ns=NOON + 3 * SECOND, bids=deep, asks=deep, sequence=9_223_372_036_854_775_807),
        book(time_ns=NOON, instrument_id=2, event_ns=NOON + 999),
    ]
    assert await writer.write(batch, staged=staged) == Written(5, 0, 0)
    assert stored_books(fetch) == [book_row(b) for b in batch]


async def test_rejects_are_stored_as_they_are(writer: CopyWriter, fetch: Fetch) -> None:
    batch = [
        Reject("binance", "BTC/USDT trades", "no price\tat\\all\nhere ✗", bytes(range(256)), NOON + 1),
        Reject("", "", "", b"", NOON),
    ]
    assert await writer.write(batch) == Written(2, 0, 0)
    assert stored_rejects(fetch) == [reject_row(r) for r in batch]


async def test_a_reason_with_what_postgresql_cannot_hold_is_kept_legible(writer: CopyWriter, fetch: Fetch) -> None:
    await writer.write([Reject("x", "y", "nul \0 and lone \ud800", b"\0", NOON)])
    assert stored_rejects(fetch) == [(moment(NOON), "x", "y", "nul \\0 and lone \\ud800", b"\0")]


async def test_progress_is_that_of_the_committed_rows(writer: CopyWriter, fetch: Fetch) -> None:
    await writer.write([*trades(3), trade("9", instrument_id=2, time_ns=NOON + 5_999, received_ns=NOON + 7_999)])
    latest = trades(3)[-1]
    assert progress(fetch) == [
        (1, moment(latest.time_ns), 3, moment(latest.received_ns), 3, 0, True),
        (2, moment(NOON + 5_000), 9, moment(NOON + 7_000), 1, 0, True),
    ]
    await writer.write(trades(2, first=4))
    await writer.write(trades(1, first=2), staged=True)  # an old one again: the watermark does not go back
    latest = trades(2, first=4)[-1]
    assert progress(fetch)[0] == (1, moment(latest.time_ns), 5, moment(latest.received_ns), 5, 1, True)


async def test_progress_of_candles_and_books(writer: CopyWriter, fetch: Fetch) -> None:
    await writer.write([candle(), candle(time_ns=NOON + MINUTE)])
    await writer.write([book(sequence=None), book(time_ns=NOON + SECOND, sequence=12)])
    nothing = (2, None, None, None, 0, 0, False)
    assert progress(fetch, "candles") == [
        (1, moment(NOON + MINUTE), None, moment(NOON + 2 * MINUTE), 2, 0, True),
        nothing,
    ]
    assert progress(fetch, "book") == [
        (1, moment(NOON + SECOND), 12, moment(NOON + SECOND + 9_000), 2, 0, True),
        nothing,
    ]
    assert progress(fetch, "trades") == [(1, None, None, None, 0, 0, False), nothing]


async def test_progress_is_the_largest_of_an_unordered_batch(writer: CopyWriter, fetch: Fetch) -> None:
    await writer.write(list(reversed(trades(3))))
    latest = trades(3)[-1]
    assert progress(fetch)[0] == (1, moment(latest.time_ns), 3, moment(latest.received_ns), 3, 0, True)


@pytest.mark.parametrize(
    ("trade_id", "last_sequence"),
    [
        ("0", 0),
        ("9223372036854775807", 9_223_372_036_854_775_807),
        ("-5", None),
        ("0f3a-uuid", None),
        ("9223372036854775808", None),  # an id, but not one that can be counted
        ("102457890123456789012345678", None),
        ("²", None),  # str.isdigit says yes, int says no
        ("7" * 400, None),
    ],
    ids=lambda value: str(value)[:30],
)
@pytest.mark.parametrize("staged", [False, True])
async def test_ids_that_are_no_sequence(
    writer: CopyWriter, fetch: Fetch, trade_id: str, last_sequence: int | None, *, staged: bool
) -> None:
    record = trade(trade_id)
    assert await writer.write([record], staged=staged) == Written(1, 0, 0)
    assert stored_trades(fetch) == expected(record)
    assert progress(fetch)[0] == (1, moment(NOON), last_sequence, moment(record.received_ns), 1, 0, True)


async def test_a_batch_of_ten_thousand_is_whole(writer: CopyWriter, fetch: Fetch) -> None:
    batch: list[Trade] = trades(10_000)
    assert await writer.write(batch) == Written(10_000, 0, 0)
    assert stored_trades(fetch) == expected(*batch)


async def test_each_connection_says_who_it_is(writer: CopyWriter, fetch: Fetch) -> None:
    await writer.write(trades(1))
    assert fetch(
        "SELECT application_name, state FROM pg_stat_activity"
        " WHERE datname = current_database() AND starts_with(application_name, 'ingest test')"
    ) == [("ingest test 0", "idle")]


@pytest.mark.parametrize("staged", [False, True])
async def test_the_database_may_have_other_defaults(
    database_url: str, make_writer: MakeWriter, fetch: Fetch, *, staged: bool
) -> None:
    """Settings that would change the meaning of a date or a time change nothing."""
    name = sql.Identifier(database_url.rpartition("/")[2])
    with psycopg.connect(database_url, autocommit=True) as connection:
        for setting in (
            "datestyle = 'SQL, DMY'",
            "timezone = 'Asia/Tokyo'",
            "default_transaction_isolation = serializable",
        ):
            connection.execute(sql.SQL("ALTER DATABASE {} SET ").format(name) + sql.SQL(setting))
    batch = [trade(time_ns=NOON + 5_000), trade("2", time_ns=NOON - 10 * DAY)]
    assert await make_writer().write(batch, staged=staged) == Written(2, 0, 0)
    assert stored_trades(fetch) == expected(*batch)


async def test_progress_is_told_also_after_its_tables_changed(writer: CopyWriter, fetch: Fetch) -> None:
    """Its statement stays planned on the connection, and maintenance goes on beside it."""
    await writer.write([trade("1")])
    fetch("ALTER TABLE ingest.streams ADD COLUMN remark text")
    fetch("CREATE INDEX ON ingest.rollup_changes (channel)")
    await writer.write([trade("2", time_ns=NOON + SECOND)])
    fetch("ALTER TABLE ingest.streams DROP COLUMN remark")
    await writer.write([trade("3", time_ns=NOON + 2 * SECOND)])
    assert fetch(
        "SELECT rows_stored, last_sequence FROM ingest.streams WHERE channel = 'trades' AND instrument_id = 1"
    ) == [(3, 3)]
