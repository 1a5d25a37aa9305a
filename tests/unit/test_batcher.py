"""The batcher's bounds at their edges. Properties over arbitrary input: tests/property."""

from collections.abc import Callable

import msgspec
import pytest

from ingest.pipeline.batch import TABLE_OF, Batch
from ingest.pipeline.batcher import Batcher, Limits
from ingest.records import (
    CHANNELS,
    Candle,
    CandleSource,
    Channel,
    Funding,
    Gap,
    Item,
    Liquidation,
    Mark,
    MarkPrice,
    OpenInterest,
    OrderBook,
    Quote,
    Record,
    Reject,
    Row,
    Ticker,
    Trade,
)

T0 = 1_000_000_000_000


def trade(number: int = 1, instrument_id: int = 1) -> Trade:
    return Trade(instrument_id, T0, str(number), "buy", "1", "1", T0)


CANDLE = Candle(1, T0, "1", "1", "1", "1", "1", None, None, None, None, CandleSource.STREAM, T0)
BOOK = OrderBook(1, T0, None, None, (("1", "1"),) * 20, (("2", "1"),) * 20, True, T0)
QUOTE = Quote(1, T0, 5, "1", "1", "2", "1", T0)
TICKER = Ticker(1, T0, "1", None, None, None, None, None, None, None, None, None, T0)
FIGURES: list[Row] = [
    Funding(1, T0, "0.0001", T0, T0),
    OpenInterest(1, T0, "1", "2", T0),
    MarkPrice(1, T0, "1", "2", T0),
    Liquidation(1, T0, "sell", "1", "2", T0),
]
ROWS: list[Row] = [trade(), CANDLE, BOOK, QUOTE, TICKER, *FIGURES]


def test_sealed_by_the_row_that_fills_it() -> None:
    batcher = Batcher(1, Limits(max_rows=3))
    records = [trade(number) for number in range(7)]
    sealed = [batcher.add(record, T0) for record in records]
    assert [position for position, batch in enumerate(sealed) if batch] == [2, 5]
    assert [batch.records for batch in sealed if batch] == [records[:3], records[3:6]]
    (rest,) = batcher.seal_all()
    assert rest.records == records[6:]
    assert batcher.seal_all() == []


def test_one_row_a_batch() -> None:
    batch = Batcher(1, Limits(max_rows=1)).add(trade(), T0)
    assert batch is not None
    assert batch.records == [trade()]


def test_sealed_by_bytes() -> None:
    batcher = Batcher(1, Limits(max_bytes=3_000))
    sizes = []
    for _ in range(10):
        batch = batcher.add(BOOK, T0)
        if batch:
            sizes.append((len(batch.records), batch.size_bytes))
    assert sizes == [(3, 3 * (130 + 40 * 26))] * 3


def test_a_row_above_the_bound_is_a_batch_of_its_own() -> None:
    batcher = Batcher(1, Limits(max_bytes=1_000))
    reject = Reject("x", "y", "z", b"0" * 10_000, T0)
    batch = batcher.add(reject, T0)
    assert batch is not None
    assert batch.records == [reject]


def test_age_counts_from_the_first_row_by_the_given_time() -> None:
    batcher = Batcher(1, Limits(max_age_ns=250))
    assert batcher.due(T0) == []
    batcher.add(trade(1), T0)
    batcher.add(trade(2), T0 + 200)  # does not make it younger
    assert batcher.due(T0 + 249) == []
    (batch,) = batcher.due(T0 + 250)
    assert (batch.opened_ns, batch.records) == (T0, [trade(1), trade(2)])
    assert batcher.due(T0 + 10_000) == []
    batcher.add(trade(3), T0 + 260)
    assert batcher.due(T0 + 509) == []
    assert [batch.records for batch in batcher.due(T0 + 510)] == [[trade(3)]]


def test_due_and_seal_all_are_oldest_first() -> None:
    takes: list[Callable[[Batcher], list[Batch]]] = [lambda b: b.due(T0 + 1_000), Batcher.seal_all]
    for take in takes:
        batcher = Batcher(1, Limits(max_age_ns=100))
        batcher.add(CANDLE, T0 + 30)
        batcher.add(trade(), T0 + 10)
        batcher.add(BOOK, T0 + 20)
        sealed = take(batcher)
        assert [batch.records for batch in sealed] == [[trade()], [BOOK], [CANDLE]]


def test_tables_are_never_mixed() -> None:
    batcher = Batcher(1, Limits(max_rows=2))
    records: list[Record] = [*ROWS, Reject("x", "y", "z", b"", T0)]
    for record in records:
        assert batcher.add(record, T0) is None
    assert [batch.records for batch in batcher.seal_all()] == [[record] for record in records]


# Notes


def mark(number: int, instrument_id: int = 1) -> Mark:
    return Mark(instrument_id, "trades", number, T0, T0, T0)


def test_notes_go_with_the_rows_that_came_before_them() -> None:
    batcher = Batcher(1, Limits(max_rows=2))
    opened, closed = Gap(1, "trades", "cut", T0, opened_ns=T0), Gap(1, "trades", "cut", T0, T0 + 1, opened_ns=T0)
    items: list[Item] = [trade(1), mark(1), opened, trade(2), mark(2), trade(3), closed, mark(3), mark(7, 2)]
    sealed = [batch for item in items if (batch := batcher.add(item, T0))]
    sealed += batcher.seal_all()
    assert sealed == [
        Batch(Trade, 0, T0, [trade(1), trade(2)], [opened], {(1, "trades"): mark(1)}, 2 * 110 + 2 * 200),
        Batch(Trade, 0, T0, [trade(3)], [closed], {(1, "trades"): mark(3), (2, "trades"): mark(7, 2)}, 110 + 4 * 200),
    ]
    assert batcher.open_bytes == 0


def test_notes_alone_are_a_batch_that_comes_of_age() -> None:
    batcher = Batcher(1, Limits(max_age_ns=100))
    gap = Gap(1, "book", "cut", T0, opened_ns=T0)
    assert batcher.add(gap, T0) is None
    assert batcher.add(mark(5), T0 + 50) is None
    assert batcher.due(T0 + 99) == []
    assert batcher.due(T0 + 100) == [Batch(OrderBook, 0, T0, [], [gap], {}, 200)]
    assert batcher.due(T0 + 150) == [Batch(Trade, 0, T0 + 50, [], [], {(1, "trades"): mark(5)}, 200)]


@pytest.mark.parametrize("writers", [1, 2, 3, 7])
@pytest.mark.parametrize("channel", CHANNELS)
def test_notes_have_the_writer_of_their_stream_s_rows(channel: Channel, writers: int) -> None:
    (like,) = (row for row in ROWS if type(row) is TABLE_OF[channel])
    for instrument_id in range(1, 20):
        row: Row = msgspec.structs.replace(like, instrument_id=instrument_id)
        batcher = Batcher(writers, Limits())
        gap = Gap(instrument_id, channel, "cut", T0, opened_ns=T0)
        note = Mark(instrument_id, channel, None, T0, T0, T0)
        for item in (row, gap, note):
            batcher.add(item, T0)
        (batch,) = batcher.seal_all()
        assert (batch.records, batch.gaps, batch.marks) == ([row], [gap], {(instrument_id, channel): note})


@pytest.mark.parametrize("writers", [1, 2, 3, 7])
def test_a_stream_has_one_writer_and_streams_are_spread(writers: int) -> None:
    batcher = Batcher(writers, Limits(max_rows=1))
    chosen: dict[int, set[int]] = {}
    for _ in range(3):
        for instrument_id in range(1, 100):
            batch = batcher.add(trade(instrument_id=instrument_id), T0)
            assert batch is not None
            chosen.setdefault(instrument_id, set()).add(batch.writer)
    assert {len(found) for found in chosen.values()} == {1}
    assert set.union(*chosen.values()) == set(range(writers))
