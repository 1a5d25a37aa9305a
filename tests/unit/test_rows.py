"""Encoded rows, to the byte."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from msgspec.structs import astuple

from ingest.records import (
    Candle,
    CandleSource,
    CoarseCandle,
    Funding,
    Gap,
    Liquidation,
    Mark,
    MarkPrice,
    OpenInterest,
    OrderBook,
    Quote,
    Reject,
    Row,
    Side,
    Ticker,
    Trade,
)
from ingest.store import rows
from ingest.store.notes import encode_gaps, encode_marks
from ingest.store.rows import (
    TABLES,
    encode_candles,
    encode_order_books,
    encode_rejects,
    encode_trades,
    timestamp,
)

NOON = 1_795_262_400_000_000_000


@pytest.mark.parametrize(
    ("time_ns", "text"),
    [
        (NOON, "2026-11-21 12:00:00.000000+00"),
        (NOON + 999, "2026-11-21 12:00:00.000000+00"),
        (NOON + 1_000, "2026-11-21 12:00:00.000001+00"),
        (NOON + 59_999_999_999, "2026-11-21 12:00:59.999999+00"),
        (NOON - 1, "2026-11-21 11:59:59.999999+00"),
        (1_000_001_000, "1970-01-01 00:00:01.000001+00"),
    ],
)
def test_timestamp(time_ns: int, text: str) -> None:
    assert timestamp(time_ns) == text
    assert timestamp(time_ns) == text  # and from the cache


@pytest.mark.parametrize("time_ns", [0, -1, -(2**63), 999_999_999, 10**25, 300_000 * 365 * 86_400 * 10**9])
def test_a_time_that_cannot_be_is_refused(time_ns: int) -> None:
    for _ in range(2):  # the cache does not learn it
        with pytest.raises((ValueError, OverflowError)):
            timestamp(time_ns)


def test_the_cache_of_seconds_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "_SECONDS_KEPT", 10)
    for second in range(100):
        expected = datetime(2026, 11, 21, 12, tzinfo=UTC) + timedelta(seconds=second, microseconds=5)
        assert timestamp(NOON + second * 1_000_000_000 + 5_000) == f"{expected:%Y-%m-%d %H:%M:%S.%f}+00"
        assert len(rows._seconds) <= 65_536


TRADE = Trade(7, NOON, "42", "sell", "0.10", "5.000", NOON + 1_999)


def test_trades() -> None:
    assert encode_trades([TRADE, msgspec.structs.replace(TRADE, side=None, trade_id="a\tb\\c\nd\re")]) == (
        b"2026-11-21 12:00:00.000000+00\t7\t42\tsell\t0.10\t5.000\t2026-11-21 12:00:00.000001+00\n"
        b"2026-11-21 12:00:00.000000+00\t7\ta\\tb\\\\c\\nd\\re\t\\N\t0.10\t5.000\t2026-11-21 12:00:00.000001+00\n"
    )


SECOND = 1_000_000_000
AROUND = [NOON, NOON + SECOND - 1, NOON + SECOND, NOON + 7 * SECOND + 1_000, NOON - 1, NOON + 999_999, SECOND, NOON]
"""Within a second, over its edge, forwards and back."""


def test_times_of_trades_and_candles_are_those_of_timestamp() -> None:
    pairs = [(first, second) for first in AROUND for second in AROUND]
    trades = [msgspec.structs.replace(TRADE, time_ns=first, received_ns=second) for first, second in pairs]
    candle = Candle(7, NOON, "1", "4", "0.5", "2", "10", "20", 3, "5", "6", CandleSource.REST, NOON)
    candles = [msgspec.structs.replace(candle, time_ns=first, received_ns=second) for first, second in pairs]
    for block in (encode_trades(trades), encode_candles(candles)):
        fields = [line.split("\t") for line in block.decode().splitlines()]
        assert [(row[0], row[-1]) for row in fields] == [
            (timestamp(first), timestamp(second)) for first, second in pairs
        ]


@pytest.mark.parametrize("time_ns", [0, -1, -(2**63), 999_999_999, 10**25, -(10**30), -(10**30) + 5])
@pytest.mark.parametrize("field", ["time_ns", "received_ns"])
def test_a_row_of_a_time_that_cannot_be_is_refused_wherever_it_stands(field: str, time_ns: int) -> None:
    candle = Candle(7, NOON, "1", "4", "0.5", "2", "10", "20", 3, "5", "6", CandleSource.REST, NOON)
    for good in (TRADE, candle):
        bad = msgspec.structs.replace(good, **{field: time_ns})
        for records in ([bad], [good, bad], [bad, good]):
            with pytest.raises((ValueError, OverflowError)):
                TABLES[type(good)].encode(records)


@pytest.mark.parametrize(
    "trade_id", ["a\tb", "a\nb", "a\rb", "a\\b", "\\N", "\\", "a\tb\nc", "\n\t\t\t\t\t\t"], ids=ascii
)
@pytest.mark.parametrize("sides", [("buy", "buy"), (None, "buy"), (None, None)])
def test_an_id_is_escaped_whatever_stands_beside_it(trade_id: str, sides: tuple[Side | None, Side | None]) -> None:
    first = msgspec.structs.replace(TRADE, trade_id=trade_id, side=sides[0])
    second = msgspec.structs.replace(TRADE, side=sides[1])
    escaped = trade_id.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
    plain = encode_trades([msgspec.structs.replace(first, trade_id="ID"), second]).decode()
    assert encode_trades([first, second]).decode() == plain.replace("ID", escaped)


def test_candles() -> None:
    candle = Candle(7, NOON, "1", "4", "0.5", "2", "10", "20", 3, "5", "6", CandleSource.REST, NOON)
    silent = Candle(7, NOON, "1", "4", "0.5", "2", "10", None, None, None, None, CandleSource.OPEN, NOON)
    time = b"2026-11-21 12:00:00.000000+00"
    assert encode_candles([candle, silent]) == (
        time + b"\t7\t1\t4\t0.5\t2\t10\t20\t3\t5\t6\t30\t" + time + b"\n"
        + time + b"\t7\t1\t4\t0.5\t2\t10\t\\N\t\\N\t\\N\t\\N\t0\t" + time + b"\n"
    )  # fmt: skip


def test_order_books() -> None:
    full = OrderBook(7, NOON, NOON + 1_000, 9, (("3", "1"), ("2", "0.10")), (("4", "2"),), True, NOON, True)
    wrong = msgspec.structs.replace(full, in_sync=False, checksum_ok=False)
    empty = OrderBook(7, NOON, None, None, (), (), False, NOON)
    time = b"2026-11-21 12:00:00.000000+00"
    assert encode_order_books([full, wrong, empty]) == (
        time + b"\t7\t2026-11-21 12:00:00.000001+00\t9\t{3,2}\t{1,0.10}\t{4}\t{2}\tt\t" + time + b"\tt\n"
        + time + b"\t7\t2026-11-21 12:00:00.000001+00\t9\t{3,2}\t{1,0.10}\t{4}\t{2}\tf\t" + time + b"\tf\n"
        + time + b"\t7\t\\N\t\\N\t{}\t{}\t{}\t{}\tf\t" + time + b"\t\\N\n"
    )  # fmt: skip


FIGURES: list[tuple[Row, bytes]] = [
    (Funding(7, NOON, "-0.00010000", None, NOON), b"-0.00010000\t\\N"),
    (Funding(7, NOON, "1e-5", NOON + 1_999, NOON), b"1e-5\t2026-11-21 12:00:00.000001+00"),
    (OpenInterest(7, NOON, "0", None, NOON), b"0\t\\N"),
    (OpenInterest(7, NOON, "0.10", "64.000", NOON), b"0.10\t64.000"),
    (MarkPrice(7, NOON, "1.50", None, NOON), b"1.50\t\\N"),
    (MarkPrice(7, NOON, "1.50", "1.49", NOON), b"1.50\t1.49"),
    (Liquidation(7, NOON, "sell", "1.50", "3", NOON), b"sell\t1.50\t3"),
]


@pytest.mark.parametrize(("row", "told"), FIGURES)
def test_times_of_figures_are_those_of_timestamp(row: Row, told: bytes) -> None:
    pairs = [(first, second) for first in AROUND for second in AROUND]
    rows_ = [msgspec.structs.replace(row, time_ns=first, received_ns=second) for first, second in pairs]
    assert TABLES[type(row)].encode(rows_) == b"".join(
        timestamp(first).encode() + b"\t7\t" + told + b"\t" + timestamp(second).encode() + b"\n"
        for first, second in pairs
    )


def test_times_of_quotes_and_tickers_are_those_of_timestamp() -> None:
    for first in AROUND:
        for second in AROUND:
            quote = Quote(7, first, 9, "1", "2", "3", "4", second)
            ticker = Ticker(7, first, "1", None, "2", None, "3", None, "4", None, "5", None, second)
            at, then = timestamp(first), timestamp(second)
            for before in AROUND:
                row = f"{at}\t7\t9\t1\t2\t3\t4\t{then}\n".encode()
                earlier = msgspec.structs.replace(quote, time_ns=before, received_ns=before)
                assert TABLES[Quote].encode([earlier, quote]).endswith(b"\n" + row)
            row = f"7\t{at}\t1\t\\N\t2\t\\N\t3\t\\N\t4\t\\N\t5\t\\N\t{then}\n".encode()
            assert TABLES[Ticker].encode([ticker, ticker]) == 2 * row


@pytest.mark.parametrize(("row", "told"), FIGURES)
def test_figures_of_derivatives(row: Row, told: bytes) -> None:
    time = b"2026-11-21 12:00:00.000000+00"
    assert TABLES[type(row)].encode([row, row]) == 2 * (time + b"\t7\t" + told + b"\t" + time + b"\n")


def test_gaps_and_marks() -> None:
    whole = Gap(2, "book", "cut", NOON, NOON + 1_999, 5, 6, "nul \0, lone \ud800", "unrecoverable", NOON + 999)
    assert encode_gaps([Gap(1, "trades", "a\tb", from_id=5, opened_ns=NOON), whole]) == {
        "instrument_ids": [1, 2],
        "channels": ["trades", "book"],
        "causes": ["a\tb", "cut"],
        "from_times": [None, "2026-11-21 12:00:00.000000+00"],
        "to_times": [None, "2026-11-21 12:00:00.000001+00"],
        "from_ids": [5, 5],
        "to_ids": [None, 6],
        "evidences": ["", "nul \\0, lone \\ud800"],
        "states": ["open", "unrecoverable"],
        "opened_ats": ["2026-11-21 12:00:00.000000+00"] * 2,
    }
    assert encode_marks([Mark(1, "trades", None, NOON, NOON + 1_000, NOON - 1)]) == {
        "instrument_ids": [1],
        "channels": ["trades"],
        "began_ats": ["2026-11-21 11:59:59.999999+00"],
        "watermark_ids": [None],
        "proved_tos": ["2026-11-21 12:00:00.000000+00"],
        "attested_tos": ["2026-11-21 12:00:00.000001+00"],
    }
    assert encode_gaps([]).keys() == encode_gaps([whole]).keys()


def test_rejects() -> None:
    assert encode_rejects([Reject("x", "y\n", "\0\ud800", b"\x00\xff", NOON)]) == (
        b"2026-11-21 12:00:00.000000+00\tx\ty\\n\t\\\\0\\\\ud800\t\\\\x00ff\n"
    )


@pytest.mark.parametrize("kind", list(TABLES))
def test_nothing_is_an_empty_block(kind: type) -> None:
    assert TABLES[kind].encode([]) == b""


def test_as_many_fields_as_columns() -> None:
    candle = Candle(7, NOON, "1", "4", "0.5", "2", "10", "20", 3, "5", "6", CandleSource.REST, NOON)
    book = OrderBook(7, NOON, NOON, 9, (), (), True, NOON)
    quote = Quote(7, NOON, 9, "1", "2", "3", "4", NOON)
    ticker = Ticker(7, NOON, None, None, None, None, None, None, None, None, None, None, NOON)
    figures = (row for row, _ in FIGURES)
    coarse = CoarseCandle(*astuple(candle), timeframe="1h")
    records = (TRADE, candle, coarse, book, quote, ticker, *figures, Reject("x", "y", "z", b"", NOON))
    assert {type(record) for record in records} == set(TABLES)
    for record in records:
        table = TABLES[type(record)]
        assert table.encode([record]).count(b"\t") + 1 == len(table.columns)
