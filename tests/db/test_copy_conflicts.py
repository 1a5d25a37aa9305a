"""Writing again is harmless; a trade is one row whatever its source; a better candle replaces a worse one."""

import asyncio
import itertools

import msgspec
import pytest

from ingest.clock import MICROSECOND, MILLISECOND, MINUTE, SECOND
from ingest.errors import Retryable
from ingest.records import Candle, CandleSource, OrderBook, Record, Trade
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
    stored_books,
    stored_candles,
    stored_rejects,
    stored_trades,
    trade,
    trades,
)

STAGED = pytest.mark.parametrize("staged", [False, True])


# Again


@STAGED
async def test_a_batch_again_changes_nothing(writer: CopyWriter, fetch: Fetch, *, staged: bool) -> None:
    batch = [*trades(500), *trades(500, instrument_id=2, start_ns=NOON + DAY)]
    assert await writer.write(batch, staged=staged) == Written(1_000, 0, 0)
    for _ in range(3):
        assert await writer.write(batch, staged=staged) == Written(0, 1_000, 0)
    assert stored_trades(fetch) == expected(*batch)
    assert stored_rejects(fetch) == []
    assert [row[4:6] for row in progress(fetch)] == [(500, 1_500), (500, 1_500)]


@STAGED
async def test_candles_and_books_again_change_nothing(writer: CopyWriter, fetch: Fetch, *, staged: bool) -> None:
    candles = [candle(time_ns=NOON + number * MINUTE) for number in range(100)]
    books = [book(time_ns=NOON + number * SECOND, sequence=number) for number in range(100)]
    later = [msgspec.structs.replace(c, received_ns=c.received_ns + SECOND) for c in candles]
    for batch in (candles, books):
        assert await writer.write(batch, staged=staged) == Written(100, 0, 0)
    for batch in (candles, books, later):
        assert await writer.write(batch, staged=staged) == Written(0, 100, 0)
    assert stored_candles(fetch) == [candle_row(c) for c in candles]
    assert stored_books(fetch) == [book_row(b) for b in books]
    assert progress(fetch, "candles")[0][4:6] == (100, 200)
    assert progress(fetch, "book")[0][4:6] == (100, 100)


@pytest.mark.parametrize("position", [0, 250, 499])
async def test_one_known_row_among_new_ones(writer: CopyWriter, fetch: Fetch, position: int) -> None:
    batch = trades(500)
    await writer.write([batch[position]])
    assert await writer.write(batch) == Written(499, 1, 0)
    assert stored_trades(fetch) == expected(*batch)
    assert stored_rejects(fetch) == []
    latest = batch[-1]
    assert progress(fetch)[0] == (1, moment(latest.time_ns), 500, moment(latest.received_ns), 500, 1, True)


async def test_one_new_row_among_known_ones(writer: CopyWriter, fetch: Fetch) -> None:
    batch = trades(500)
    await writer.write([*batch[:200], *batch[201:]])
    assert await writer.write(batch) == Written(1, 499, 0)
    assert stored_trades(fetch) == expected(*batch)


@STAGED
async def test_one_batch_with_itself_inside(writer: CopyWriter, fetch: Fetch, *, staged: bool) -> None:
    batch = trades(100)
    assert await writer.write([*batch, *reversed(batch), batch[50]], staged=staged) == Written(100, 101, 0)
    assert stored_trades(fetch) == expected(*batch)
    assert stored_rejects(fetch) == []


async def test_the_first_of_two_receipts_stays(writer: CopyWriter, fetch: Fetch) -> None:
    first = trade(received_ns=NOON + 5 * SECOND)
    await writer.write([first])
    await writer.write([trade(received_ns=NOON + 1 * SECOND), trade(received_ns=NOON + 9 * SECOND)])
    assert stored_trades(fetch) == expected(first)


async def test_the_same_id_at_another_instrument_or_time_is_another_trade(writer: CopyWriter, fetch: Fetch) -> None:
    batch = [trade(), trade(instrument_id=2), trade(time_ns=NOON + MILLISECOND), trade("01")]
    for record in batch:
        assert await writer.write([record], staged=True) == Written(1, 0, 0)
    assert await writer.write(batch) == Written(0, 4, 0)
    assert stored_trades(fetch) == expected(*batch)


# After a conflict the table is staged first for a while


async def test_batches_are_staged_after_a_conflict_and_direct_again_later(writer: CopyWriter, fetch: Fetch) -> None:
    batches = [trades(10, first=number * 10 + 1) for number in range(12)]
    await writer.write(batches[0])
    assert writer._stage_first == {}
    await writer.write(batches[0])
    assert writer._stage_first == {"trades": 8}
    for number, batch in enumerate(batches[1:], 1):
        assert await writer.write(batch) == Written(10, 0, 0)
        assert writer._stage_first["trades"] == max(0, 8 - number)
    assert stored_trades(fetch) == expected(*itertools.chain(*batches))
    await writer.write([candle()])  # another table has its own count
    assert writer._stage_first == {"trades": 0}


async def test_a_replay_while_staged_is_no_conflict(writer: CopyWriter, fetch: Fetch) -> None:
    batch = trades(100)
    for _ in range(4):
        await writer.write(batch)
    assert stored_trades(fetch) == expected(*batch)
    assert progress(fetch)[0][4:6] == (100, 300)


# One trade by stream (µs), by REST (µs) and in a dump's milliseconds


STREAM_NS = NOON + 123_456_000


def _cut(record: Trade) -> Trade:
    return msgspec.structs.replace(record, time_ns=record.time_ns // MILLISECOND * MILLISECOND)


BY_SOURCE = {
    "stream": trade(time_ns=STREAM_NS),
    "rest": trade(time_ns=STREAM_NS, received_ns=NOON + 60 * SECOND),
    "dump": trade(time_ns=STREAM_NS // MILLISECOND * MILLISECOND, received_ns=NOON + 3600 * SECOND),
}


@pytest.mark.parametrize("order", list(itertools.permutations(BY_SOURCE)), ids="-".join)
async def test_one_trade_from_three_sources_is_one_row(
    writer: CopyWriter, fetch: Fetch, order: tuple[str, ...]
) -> None:
    """REST and dump are staged, as repair and backfill are; the stream too, after the conflict with REST."""
    for source in order:
        if source != "stream":
            await writer.write([BY_SOURCE[source]], staged=True)
        elif order.index("stream") == 0 or order[0] == "rest":
            await writer.write([BY_SOURCE[source]])
        else:
            await writer.write([BY_SOURCE[source]], staged=True)
    assert stored_trades(fetch) == expected(BY_SOURCE[order[0]])
    assert stored_rejects(fetch) == []
    assert progress(fetch)[0][4:6] == (1, 2)


BORDERS = [
    NOON,
    NOON + 999 * MICROSECOND,
    NOON + MILLISECOND - MICROSECOND,
    NOON + SECOND - MICROSECOND,
    NOON // DAY * DAY + DAY - MICROSECOND,  # the last microsecond of a chunk
    NOON // DAY * DAY + DAY,  # the first of one
    NOON // DAY * DAY + DAY + 500 * MICROSECOND,
]


@pytest.mark.parametrize("exact_first", [True, False])
@pytest.mark.parametrize("together", [True, False])
async def test_precisions_meet_at_every_border(
    writer: CopyWriter, fetch: Fetch, *, exact_first: bool, together: bool
) -> None:
    kept: list[Trade] = []
    for number, time_ns in enumerate(BORDERS):
        exact = trade(str(number), time_ns=time_ns)
        pair = [exact, _cut(exact)] if exact_first else [_cut(exact), exact]
        # The same id in the next millisecond is another trade, and so is another id in the same one.
        others = [trade(str(number), time_ns=time_ns + MILLISECOND), trade(f"other {number}", time_ns=time_ns)]
        total = Written(0, 0, 0)
        for batch in [[*pair, *others]] if together else [[*others, pair[0]], [pair[1]]]:
            total += await writer.write(batch, staged=True)
        assert total == Written(3, 1, 0)
        kept += [pair[0], *others]
    assert stored_trades(fetch) == expected(*kept)
    assert stored_rejects(fetch) == []


async def test_a_whole_dump_over_a_whole_stream(writer: CopyWriter, fetch: Fetch) -> None:
    """2,000 trades across midnight, several in one millisecond, by stream in part; then the dump with all of them."""
    midnight = NOON // DAY * DAY + DAY
    day = [trade(str(n), time_ns=midnight + (n - 1_000) * 250_000 + 1_000) for n in range(2_000)]
    stream = [t for n, t in enumerate(day) if n % 7]
    dump = [_cut(t) for t in day]
    assert await writer.write(stream) == Written(len(stream), 0, 0)
    assert await writer.write(dump, staged=True) == Written(2_000 - len(stream), len(stream), 0)
    assert await writer.write(day, staged=True) == Written(0, 2_000, 0)
    assert stored_trades(fetch) == expected(*(t if n % 7 else _cut(t) for n, t in enumerate(day)))
    assert stored_rejects(fetch) == []


# A known id with other values


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"price": "64000.11"}, "trade id is stored with price 64000.10, amount 0.00300, side buy"),
        ({"amount": "0.00301"}, "trade id is stored with price 64000.10, amount 0.00300, side buy"),
        ({"side": "sell"}, "trade id is stored with price 64000.10, amount 0.00300, side buy"),
        ({"side": None}, "trade id is stored with price 64000.10, amount 0.00300, side buy"),
        ({"price": "1", "time_ns": NOON + 999_000}, "trade id is stored with price 64000.10, amount 0.00300, side buy"),
    ],
)
@STAGED
async def test_another_price_amount_or_side_is_put_aside(
    writer: CopyWriter, fetch: Fetch, changed: dict[str, str | int | None], reason: str, *, staged: bool
) -> None:
    first = trade()
    other = msgspec.structs.replace(first, received_ns=NOON + SECOND + 1_000, **changed)
    await writer.write([first])
    new = trade("2")
    if "time_ns" in changed:
        staged = True
    assert await writer.write([other, new], staged=staged) == Written(1, 0, 1)
    assert stored_trades(fetch) == expected(first, new)
    ((received_at, exchange, stream, said, payload),) = stored_rejects(fetch)
    assert (received_at, exchange, stream, said) == (
        moment(NOON + SECOND + 1_000),
        "binance",
        "BTC/USDT trades",
        reason,
    )
    assert msgspec.json.decode(payload, type=Trade) == other


@STAGED
async def test_two_different_ones_in_one_batch(writer: CopyWriter, fetch: Fetch, *, staged: bool) -> None:
    batch = [trade(price="5"), trade("2"), trade(price="6"), trade(price="5.0"), trade(price="7")]
    assert await writer.write(batch, staged=staged) == Written(2, 1, 2)
    assert stored_trades(fetch) == expected(batch[0], batch[1])
    assert [msgspec.json.decode(row[4], type=Trade) for row in stored_rejects(fetch)] == [batch[2], batch[4]]


async def test_equal_numbers_in_other_digits_are_the_same(writer: CopyWriter, fetch: Fetch) -> None:
    await writer.write([trade(price="1.10", amount="2")])
    assert await writer.write([trade(price="1.1", amount="2.000")]) == Written(0, 1, 0)
    assert fetch("SELECT price::text, amount::text FROM ingest.trades") == [("1.10", "2")]
    assert stored_rejects(fetch) == []


async def test_rejects_name_no_stream_of_an_unknown_instrument(writer: CopyWriter, fetch: Fetch) -> None:
    await writer.write([trade(instrument_id=99)])
    await writer.write([trade(instrument_id=99, price="1")])
    assert [row[1:3] for row in stored_rejects(fetch)] == [("", "trades")]


# Candle ranks


OPEN, STREAM, REST, DUMP = CandleSource.OPEN, CandleSource.STREAM, CandleSource.REST, CandleSource.DUMP


def _versions(*sources: CandleSource) -> list[Candle]:
    """Candles of one minute that all say something else."""
    return [
        candle(source=source, close=str(101 + number), received_ns=NOON + MINUTE + number * SECOND)
        for number, source in enumerate(sources)
    ]


def _later(version: Candle, by_ns: int) -> Candle:
    return msgspec.structs.replace(version, time_ns=version.time_ns + by_ns, received_ns=version.received_ns + by_ns)


@pytest.mark.parametrize("together", [False, True], ids=["one by one", "one batch"])
async def test_the_highest_rank_stays_in_any_order(writer: CopyWriter, fetch: Fetch, *, together: bool) -> None:
    """Every order of the four ranks, each in a minute of its own."""
    minutes = [
        [_later(version, number * MINUTE) for version in _versions(*order)]
        for number, order in enumerate(itertools.permutations([OPEN, STREAM, REST, DUMP]))
    ]
    rounds = [list(turn) for turn in zip(*minutes, strict=True)]
    for batch in [list(itertools.chain(*rounds))] if together else rounds:
        await writer.write(batch)
    assert stored_candles(fetch) == [candle_row(c) for minute in minutes for c in minute if c.source is DUMP]
    assert stored_rejects(fetch) == []


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("source", list(CandleSource))
async def test_of_equal_rank_the_last_stays(
    writer: CopyWriter, fetch: Fetch, source: CandleSource, *, together: bool
) -> None:
    versions = _versions(source, source, source)
    written = [await writer.write(batch) for batch in ([versions] if together else [[v] for v in versions])]
    assert stored_candles(fetch) == [candle_row(versions[-1])]
    assert written == ([Written(1, 2, 0)] if together else [Written(1, 0, 0)] * 3)


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(CandleSource, 2)))
async def test_the_same_values_at_a_higher_rank_raise_the_rank(
    writer: CopyWriter, fetch: Fetch, first: CandleSource, second: CandleSource
) -> None:
    await writer.write([candle(source=first, quote_volume=None)])
    again = candle(source=second, quote_volume=None, received_ns=NOON + 2 * MINUTE)
    assert await writer.write([again]) == Written(1, 0, 0)
    assert stored_candles(fetch) == [candle_row(again)]


async def test_what_was_received_before_its_minute_was_over_gives_way(writer: CopyWriter, fetch: Fetch) -> None:
    """REST gave the running minute; the stream's close is the lower rank and yet the better one. Not so an open one."""
    early = candle(source=REST, close="101", received_ns=NOON + 30 * SECOND)
    await writer.write([early])
    still_open = candle(source=OPEN, close="102", received_ns=NOON + 40 * SECOND)
    assert await writer.write([still_open]) == Written(0, 1, 0)
    closed = candle(source=STREAM, close="103")
    assert await writer.write([closed]) == Written(1, 0, 0)
    assert stored_candles(fetch) == [candle_row(closed)]


async def test_what_was_received_before_its_minute_was_over_does_not_replace_a_closed_one(
    writer: CopyWriter, fetch: Fetch
) -> None:
    """The same two rows in the other order: the result must be the same."""
    closed = candle(source=STREAM, close="103")
    await writer.write([closed])
    await writer.write([candle(source=REST, close="101", received_ns=NOON + 30 * SECOND)])
    assert stored_candles(fetch) == [candle_row(closed)]


async def test_a_lower_rank_after_a_higher_is_outranked(writer: CopyWriter, fetch: Fetch) -> None:
    dump, *lower = _versions(DUMP, REST, STREAM, OPEN)
    await writer.write([dump])
    for version in lower:
        assert await writer.write([version]) == Written(0, 1, 0)
    assert await writer.write(lower) == Written(0, 3, 0)
    assert stored_candles(fetch) == [candle_row(dump)]


async def test_a_rank_once_reached_is_kept(writer: CopyWriter, fetch: Fetch) -> None:
    """REST confirmed the stream's candle; a stream's other version after that is the lower rank."""
    stream, wrong = candle(source=STREAM), candle(source=STREAM, close="99")
    await writer.write([stream])
    await writer.write([candle(source=REST)])
    await writer.write([wrong])
    assert [row[2:11] for row in stored_candles(fetch)] == [candle_row(stream)[2:11]]


async def test_each_column_alone_makes_a_difference(writer: CopyWriter, fetch: Fetch) -> None:
    base = candle(source=STREAM)
    changes: list[dict[str, object]] = [
        {"open": "101"}, {"high": "111"}, {"low": "89"}, {"close": "106"}, {"volume": "13"}, {"quote_volume": None},
        {"quote_volume": "1"}, {"trades": None}, {"trades": 43}, {"taker_buy_volume": None},
        {"taker_buy_volume": "7"}, {"taker_buy_quote_volume": None}, {"taker_buy_quote_volume": "651"},
    ]  # fmt: skip
    minutes = [NOON + number * MINUTE for number in range(len(changes))]
    await writer.write([_later(base, time_ns - NOON) for time_ns in minutes])
    changed = [
        msgspec.structs.replace(base, time_ns=time_ns, received_ns=time_ns + 2 * MINUTE, source=REST, **change)
        for time_ns, change in zip(minutes, changes, strict=True)
    ]
    assert await writer.write(changed) == Written(len(changes), 0, 0)
    assert stored_candles(fetch) == [candle_row(c) for c in changed]


async def test_the_first_book_of_a_tick_stays(writer: CopyWriter, fetch: Fetch) -> None:
    first = book(sequence=1)
    await writer.write([first, book(sequence=2, bids=())])
    assert await writer.write([book(sequence=3, in_sync=False)]) == Written(0, 1, 0)
    assert stored_books(fetch) == [book_row(first)]


# Two writers at once


async def _until_written(writer: CopyWriter, batch: list[Trade] | list[Candle] | list[OrderBook]) -> Written:
    """As the pipeline does: what may pass is tried again."""
    records: list[Record] = list(batch)
    for _ in range(20):
        try:
            return await writer.write(records)
        except Retryable:
            continue
    raise AssertionError("never written")


@pytest.mark.parametrize("direction", [1, -1])
@STAGED
async def test_two_writers_with_overlapping_batches(
    make_writer: MakeWriter, fetch: Fetch, direction: int, *, staged: bool
) -> None:
    one, two = make_writer(), make_writer()
    if staged:
        one._stage_first["trades"] = two._stage_first["trades"] = 100
    streams = [trades(1_000, instrument_id=number) for number in (1, 2)]
    left = [*streams[0], *streams[1][:500]]
    right = [*streams[1], *streams[0][500:]][::direction]
    results = await asyncio.gather(_until_written(one, left), _until_written(two, right))
    assert stored_trades(fetch) == expected(*streams[0], *streams[1])
    assert stored_rejects(fetch) == []
    assert results[0] + results[1] == Written(2_000, 1_000, 0)
    assert [row[4:6] for row in progress(fetch)] == [(1_000, 500), (1_000, 500)]


async def test_two_writers_on_their_own_streams_never_wait(make_writer: MakeWriter, fetch: Fetch) -> None:
    """Both make the same new chunks, in opposite orders, ten times."""
    one, two = make_writer(), make_writer()
    days = [NOON + number * DAY for number in range(10)]
    left = [trades(20, start_ns=day) for day in days]
    right = [trades(20, start_ns=day, instrument_id=2) for day in reversed(days)]

    async def write_all(writer: CopyWriter, batches: list[list[Trade]]) -> list[Written]:
        return [await writer.write(batch) for batch in batches]

    results = await asyncio.gather(write_all(one, left), write_all(two, right))
    assert list(results) == [[Written(20, 0, 0)] * 10] * 2
    assert stored_trades(fetch) == expected(*itertools.chain(*left, *right))
