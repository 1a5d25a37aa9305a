"""What a batch says of its streams is committed with its rows: gaps, and how far each stream came."""

import asyncio
from typing import Any

import msgspec
import psycopg
import pytest

from ingest.clock import MILLISECOND, MINUTE, SECOND
from ingest.errors import Retryable
from ingest.records import CHANNELS, Channel, Gap, Instrument, Mark, Progress, Quote, Record, Reject, Stream, Trade
from ingest.store.copy_writer import CopyWriter, Written
from ingest.store.registry import Registry
from tests.conftest import Fetch
from tests.db.conftest import MakeWriter
from tests.db.support import (
    BTC,
    NOON,
    Proxy,
    book,
    candle,
    expected,
    gap_row,
    mark_row,
    moment,
    progress,
    quote,
    stored_books,
    stored_gaps,
    stored_marks,
    stored_rejects,
    stored_trades,
    ticker,
    trade,
    trades,
)

STAGED = pytest.mark.parametrize("staged", [False, True])
GAP = Gap(1, "trades", "disconnected", NOON, None, 101, None, "reset", opened_ns=NOON + SECOND)
CLOSED = msgspec.structs.replace(GAP, to_ns=NOON + MINUTE, to_id=120, evidence="reset; 100 was followed by 121")


def mark(number: int | None = 100, *, channel: Channel = "trades", instrument_id: int = 1, at_ns: int = NOON) -> Mark:
    return Mark(instrument_id, channel, number, at_ns, at_ns + SECOND, NOON - MINUTE)


# As they are


@STAGED
async def test_notes_are_stored_with_their_rows(writer: CopyWriter, fetch: Fetch, *, staged: bool) -> None:
    batch = trades(100)
    gaps = [
        Gap(1, "trades", "cut", NOON, NOON + 1_999, 10, 20, "id 9 then 21\tok\\\n✓", "open", NOON + 1_999),
        Gap(2, "candles", "start", from_ns=NOON, opened_ns=NOON),
        Gap(2, "book", "sequence", from_id=9_223_372_036_854_775_807, state="unrecoverable", opened_ns=NOON),
        Gap(2, "quotes", "cut", NOON, NOON, evidence="nul \0 and \ud800", state="unrecoverable", opened_ns=NOON),
    ]
    marks = [mark(), mark(None, channel="quotes", instrument_id=2)]
    assert await writer.write(batch, gaps=gaps, marks=marks, staged=staged) == Written(100, 0, 0)
    assert stored_trades(fetch) == expected(*batch)
    legible = msgspec.structs.replace(gaps[3], evidence="nul \\0 and \\ud800")
    assert sorted(stored_gaps(fetch), key=repr) == sorted(map(gap_row, [*gaps[:3], legible]), key=repr)
    assert stored_marks(fetch) == [mark_row(m) for m in marks]


async def test_notes_without_rows(writer: CopyWriter, fetch: Fetch) -> None:
    assert await writer.write([], gaps=[GAP]) == Written(0, 0, 0)
    assert await writer.write([], marks=[mark()]) == Written(0, 0, 0)
    assert await writer.write([], gaps=[CLOSED], marks=[mark(120)], staged=True) == Written(0, 0, 0)
    assert stored_gaps(fetch) == [gap_row(CLOSED)]
    assert stored_marks(fetch) == [mark_row(mark(120))]
    assert progress(fetch)[0] == (1, None, None, None, 0, 0, False)


async def test_notes_go_with_every_kind_of_row(writer: CopyWriter, fetch: Fetch) -> None:
    reject = Reject("binance", "x", "why", b"{", NOON)
    records: list[Record] = [trade(), candle(), book(), quote(), ticker(), reject]
    for number, record in enumerate(records, 1):
        gap = Gap(1, "book", f"cause {number}", NOON, opened_ns=NOON)
        assert await writer.write([record], gaps=[gap], marks=[mark(number)]) == Written(1, 0, 0)
        assert stored_gaps(fetch)[-1] == gap_row(gap)
        assert stored_marks(fetch) == [mark_row(mark(number))]


async def test_notes_again_change_nothing(writer: CopyWriter, fetch: Fetch) -> None:
    """As when the answer to the commit was lost."""
    for _ in range(3):
        await writer.write(trades(5), gaps=[GAP, CLOSED], marks=[mark()])
    assert stored_gaps(fetch) == [gap_row(CLOSED)]
    assert stored_marks(fetch) == [mark_row(mark())]


# The life of a gap


async def test_a_gap_told_again_is_the_same_row_with_its_end(writer: CopyWriter, fetch: Fetch) -> None:
    await writer.write([], gaps=[GAP])
    assert stored_gaps(fetch) == [gap_row(GAP)]
    await writer.write([], gaps=[CLOSED])
    assert stored_gaps(fetch) == [gap_row(CLOSED)]
    await writer.write([], gaps=[GAP])  # the batch that opened it comes again from the spool
    assert stored_gaps(fetch) == [gap_row(CLOSED)]


async def test_a_gap_that_turned_out_empty_is_closed(writer: CopyWriter, fetch: Fetch) -> None:
    repaired = msgspec.structs.replace(CLOSED, to_id=100, state="repaired", evidence="no number is missing")
    await writer.write([], gaps=[GAP])
    await writer.write([], gaps=[repaired])
    assert stored_gaps(fetch) == [gap_row(repaired)]


async def test_opened_and_closed_in_one_batch_is_one_row(writer: CopyWriter, fetch: Fetch) -> None:
    await writer.write(trades(3), gaps=[GAP, CLOSED])
    assert stored_gaps(fetch) == [gap_row(CLOSED)]


@pytest.mark.parametrize("state", ["repairing", "repaired", "awaiting_dump", "unrecoverable"])
async def test_what_repair_found_is_not_undone(writer: CopyWriter, fetch: Fetch, state: str) -> None:
    await writer.write([], gaps=[GAP])
    await writer.write([], gaps=[CLOSED])
    fetch("UPDATE ingest.gaps SET state = %s, detail = 'repair was here', attempts = 3", state)
    before = fetch("SELECT * FROM ingest.gaps")
    for again in (GAP, CLOSED, msgspec.structs.replace(CLOSED, state="repaired", to_id=100)):
        await writer.write([], gaps=[again])
    assert fetch("SELECT * FROM ingest.gaps") == before


async def test_what_repair_settled_before_its_end_was_told_is_not_undone(writer: CopyWriter, fetch: Fetch) -> None:
    await writer.write([], gaps=[GAP])
    fetch("UPDATE ingest.gaps SET state = 'unrecoverable'")
    await writer.write([], gaps=[CLOSED])
    assert [row[8] for row in stored_gaps(fetch)] == ["unrecoverable"]


async def test_two_interruptions_at_one_place_are_two_gaps(writer: CopyWriter, fetch: Fetch) -> None:
    later = msgspec.structs.replace(GAP, opened_ns=GAP.opened_ns + SECOND)
    others = [
        later,
        msgspec.structs.replace(GAP, from_id=102),
        msgspec.structs.replace(GAP, from_ns=NOON + MILLISECOND),
        msgspec.structs.replace(GAP, cause="silent"),
        msgspec.structs.replace(GAP, instrument_id=2),
        msgspec.structs.replace(GAP, channel="candles"),
    ]
    await writer.write([], gaps=[GAP])
    for other in others:
        await writer.write([], gaps=[other])
    assert stored_gaps(fetch) == [gap_row(gap) for gap in (GAP, *others)]


# Marks


async def test_marks_never_go_back(writer: CopyWriter, fetch: Fetch) -> None:
    first, last = mark(100), mark(200, at_ns=NOON + MINUTE)
    await writer.write([], marks=[last])
    await writer.write(trades(2), marks=[first])  # from another writer, or again from the spool
    assert stored_marks(fetch) == [mark_row(last)]
    mixed = Mark(1, "trades", 150, NOON + 2 * MINUTE, NOON, NOON - 9 * MINUTE)
    await writer.write([], marks=[mixed])
    assert stored_marks(fetch) == [
        (1, "trades", 200, moment(NOON + 2 * MINUTE), moment(NOON + MINUTE + SECOND), moment(NOON - MINUTE))
    ]


async def test_a_mark_without_an_id_leaves_the_id(writer: CopyWriter, fetch: Fetch) -> None:
    await writer.write([], marks=[mark(100)])
    await writer.write([], marks=[mark(None, at_ns=NOON + MINUTE)])
    assert stored_marks(fetch)[0][2:4] == (100, moment(NOON + MINUTE))


async def test_a_mark_of_no_stream_is_nothing(writer: CopyWriter, fetch: Fetch) -> None:
    assert await writer.write(trades(3), marks=[mark(instrument_id=99)]) == Written(3, 0, 0)
    assert stored_marks(fetch) == []


# Neither or both


@STAGED
@pytest.mark.parametrize("let_through", [0, 100, 150_000, 400_000])
async def test_a_line_that_is_cut_leaves_neither_rows_nor_notes(
    proxy: Proxy, make_writer: MakeWriter, fetch: Fetch, let_through: int, *, staged: bool
) -> None:
    writer, batch = make_writer(proxy.url), trades(5_000)
    await writer.write([candle()])
    proxy.cut_after(let_through)
    with pytest.raises(Retryable):
        await writer.write(batch, gaps=[GAP], marks=[mark()], staged=staged)
    assert (stored_trades(fetch), stored_gaps(fetch), stored_marks(fetch)) == ([], [], [])
    assert await writer.write(batch, gaps=[GAP], marks=[mark()], staged=staged) == Written(5_000, 0, 0)
    assert stored_trades(fetch) == expected(*batch)
    assert (stored_gaps(fetch), stored_marks(fetch)) == ([gap_row(GAP)], [mark_row(mark())])


@pytest.mark.parametrize("table", ["gaps", "streams"])
@STAGED
async def test_a_line_that_breaks_between_rows_and_notes_leaves_neither(
    database_url: str, make_writer: MakeWriter, fetch: Fetch, table: str, *, staged: bool
) -> None:
    """The rows are copied, the notes wait for a lock, and the server ends the line."""
    writer, batch = make_writer(), trades(100)
    await writer.write([candle()])
    with psycopg.connect(database_url) as lock:
        # The progress of rows needs `streams` too, before the notes: there it stops one statement earlier.
        lock.execute(f"LOCK TABLE ingest.{table} IN SHARE MODE".encode())
        writing = asyncio.ensure_future(writer.write(batch, gaps=[GAP], marks=[mark()], staged=staged))
        await _waiting(fetch)
        fetch(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND starts_with(application_name, 'ingest test')"
        )
        with pytest.raises(Retryable):
            await writing
    assert (stored_trades(fetch), stored_gaps(fetch), stored_marks(fetch)) == ([], [], [])
    assert await writer.write(batch, gaps=[GAP], marks=[mark()], staged=staged) == Written(100, 0, 0)
    assert stored_trades(fetch) == expected(*batch)
    assert (stored_gaps(fetch), stored_marks(fetch)) == ([gap_row(GAP)], [mark_row(mark())])


async def _waiting(fetch: Fetch) -> None:
    """Until a writer of ours waits for a lock."""
    async with asyncio.timeout(5):
        while not await asyncio.to_thread(  # noqa: ASYNC110 - the server tells nobody
            fetch,
            "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name LIKE 'ingest test%'",
        ):
            await asyncio.sleep(0.01)


# Bad rows


@pytest.mark.parametrize("position", [0, 51, 99])
async def test_the_notes_of_a_halved_batch_go_with_its_last_part(
    database_url: str, make_writer: MakeWriter, fetch: Fetch, position: int
) -> None:
    """While the last part is not stored, no mark says so; the gap of the refused row stands."""
    batch = trades(100)
    bad = batch[position] = msgspec.structs.replace(batch[position], price="NaN")
    seen: list[tuple[int, int]] = []

    class Watching(CopyWriter):
        async def _merge(self, *args: Any) -> Written:
            written = await super()._merge(*args)
            seen.append((len(stored_trades(fetch)), len(stored_marks(fetch))))
            return written

    writer = Watching(database_url, role="test", instruments={1: BTC})
    try:
        assert await writer.write(batch, gaps=[GAP], marks=[mark()]) == Written(99, 0, 1)
    finally:
        await writer.close()
    assert [marks for rows, marks in seen if rows < 99] == [0] * len([rows for rows, _ in seen if rows < 99])
    assert stored_trades(fetch) == expected(*[t for t in batch if t is not bad])
    assert stored_marks(fetch) == [mark_row(mark())]
    gaps = stored_gaps(fetch)
    number = int(bad.trade_id)
    refused = ("row rejected", moment(bad.time_ns), moment(bad.time_ns), number, number)
    assert sorted(row[2:7] for row in gaps) == sorted([gap_row(GAP)[2:7], refused])


async def test_a_refused_row_leaves_a_gap_for_repair(writer: CopyWriter, fetch: Fetch) -> None:
    refused = msgspec.structs.replace(trades(1, first=7)[0], price="NaN")
    await writer.write([*trades(3), refused])
    await writer.write([*trades(3), refused])
    ((*row, evidence, state, opened_at, closed),) = stored_gaps(fetch)
    at = moment(refused.time_ns)
    assert row == [1, "trades", "row rejected", at, at, 7, 7]
    assert "trades_price_check" in evidence
    assert (state, opened_at, closed) == ("open", moment(refused.received_ns), False)


async def test_a_refused_row_of_each_kind(writer: CopyWriter, fetch: Fetch) -> None:
    """What REST has no history of will never be had again."""
    bad_quote: Quote = msgspec.structs.replace(quote(), bid="0")
    for record in (
        trade("abc", price="-1"),
        candle(volume="-1"),
        book(bids=(("NaN", "1"),)),
        bad_quote,
        ticker(last="NaN"),  # the next one is as good
        Reject("bin\0ance", "s", "why", b"", NOON),
    ):
        assert await writer.write([record]) == Written(0, 0, 1)
    at = moment(NOON)
    assert [(*row[1:7], row[8]) for row in stored_gaps(fetch)] == [
        ("trades", "row rejected", at, at, None, None, "open"),
        ("candles", "row rejected", at, at, None, None, "open"),
        ("book", "row rejected", at, at, None, None, "unrecoverable"),
        ("quotes", "row rejected", at, at, None, None, "unrecoverable"),
    ]


@pytest.mark.parametrize(
    ("change", "ends"),
    [
        ({"time_ns": 0}, (None, None, 7, 7)),
        ({"time_ns": 10**25}, (None, None, 7, 7)),
        ({"time_ns": 0, "trade_id": "x"}, None),  # neither a time nor an id is left to name it by
        ({"received_ns": 0}, (moment(NOON), moment(NOON), 7, 7)),
        ({"received_ns": 10**25}, (moment(NOON), moment(NOON), 7, 7)),
        ({"instrument_id": 99, "price": "0"}, None),  # of nobody
        ({"instrument_id": 2**31}, None),
        ({"trade_id": "7" * 40, "price": "0"}, (moment(NOON), moment(NOON), None, None)),
    ],
)
async def test_a_row_that_can_hardly_be_named_poisons_nothing(
    writer: CopyWriter, fetch: Fetch, change: dict[str, object], ends: tuple[object, ...] | None
) -> None:
    refused: Trade = msgspec.structs.replace(trade("7"), **change)
    good = trades(5, first=10)
    assert await writer.write([*good, refused], marks=[mark()]) == Written(5, 0, 1)
    assert stored_trades(fetch) == expected(*good)
    assert len(stored_rejects(fetch)) == 1
    assert [row[3:7] for row in stored_gaps(fetch)] == ([ends] if ends else [])
    assert stored_marks(fetch) == [mark_row(mark())]


async def test_a_trade_that_contradicts_a_stored_one_leaves_no_gap(writer: CopyWriter, fetch: Fetch) -> None:
    await writer.write(trades(3))
    assert await writer.write([msgspec.structs.replace(trades(3)[1], price="5")]) == Written(0, 0, 1)
    assert stored_gaps(fetch) == []


# Bad notes

BAD_GAPS = [
    Gap(99, "trades", "of no instrument", NOON, opened_ns=NOON),
    Gap(2**31, "trades", "of none that can be", NOON, opened_ns=NOON),
    Gap(1, "trades", "of no extent", opened_ns=NOON),
    Gap(1, "trades", "too far", from_id=2**63, opened_ns=NOON),
    Gap(1, "trades", "of no time that can be", 10**25, opened_ns=NOON),
    Gap(1, "trades", "never opened", NOON),
]
BAD_MARKS = [
    mark(2**63),
    Mark(1, "trades", 5, 0, NOON, NOON),
    Mark(1, "trades", 5, NOON, 10**25, NOON),
    mark(instrument_id=2**31),
]


@STAGED
async def test_a_bad_note_costs_neither_a_row_nor_another_note(
    writer: CopyWriter, fetch: Fetch, *, staged: bool
) -> None:
    good: list[Trade] = []
    notes = [(gap, None) for gap in BAD_GAPS] + [(None, bad) for bad in BAD_MARKS]
    for number, (gap, bad) in enumerate(notes, 1):
        batch = trades(7, first=number * 10)
        fine = Gap(1, "book", f"cause {number}", NOON, opened_ns=NOON)
        gaps = [fine, *([gap] if gap else [])]
        marks = [mark(number, channel="quotes"), *([bad] if bad else [])]
        assert await writer.write(batch, gaps=gaps, marks=marks, staged=staged) == Written(7, 0, 1)
        good += batch
        assert stored_gaps(fetch)[-1] == gap_row(fine)
        assert stored_marks(fetch) == [mark_row(mark(number, channel="quotes"))]
    assert stored_trades(fetch) == expected(*good)
    rejects = stored_rejects(fetch)
    assert [msgspec.json.decode(row[4], type=Gap) for row in rejects[: len(BAD_GAPS)]] == BAD_GAPS
    assert [msgspec.json.decode(row[4], type=Mark) for row in rejects[len(BAD_GAPS) :]] == BAD_MARKS
    assert {row[2] for row in rejects} == {"gaps", "marks", "BTC/USDT gaps", "BTC/USDT marks"}
    assert all(row[3] for row in rejects)


async def test_a_bad_note_among_bad_rows(writer: CopyWriter, fetch: Fetch) -> None:
    batch = [trade("bad", price="NaN"), *trades(5), trade("worse", price="0", time_ns=NOON + SECOND)]
    assert await writer.write(batch, gaps=[BAD_GAPS[0], GAP], marks=[mark()]) == Written(5, 0, 3)
    assert stored_trades(fetch) == expected(*trades(5))
    assert sorted(row[2] for row in stored_gaps(fetch)) == ["disconnected", "row rejected", "row rejected"]
    assert stored_marks(fetch) == [mark_row(mark())]


async def test_bad_notes_alone(writer: CopyWriter, fetch: Fetch) -> None:
    assert await writer.write([], gaps=[*BAD_GAPS, GAP], marks=[mark()]) == Written(0, 0, len(BAD_GAPS))
    assert stored_gaps(fetch) == [gap_row(GAP)]
    assert stored_marks(fetch) == [mark_row(mark())]
    assert fetch("SELECT bool_and(received_at > now() - INTERVAL '1 hour') FROM ingest.rejected") == [(True,)]


# What the next start finds


ID_SPACES: dict[Channel, str] = {channel: f"{channel} id" for channel in CHANNELS}


async def found(database_url: str, *channels: Channel, starting: bool = True) -> dict[Channel, Progress | None]:
    registry = Registry(database_url)
    try:
        streams = [Stream(1, BTC, channel) for channel in channels]
        promises = {"trades": "ids", "candles": "grid", "book": "sequence"}
        admitted = await registry.register_streams(streams, ID_SPACES, promises, starting=starting)  # type: ignore[arg-type]
    finally:
        await registry.close()
    assert list(admitted) == streams
    return {stream.channel: progress for stream, progress in admitted.items()}


async def test_progress_comes_back_as_it_was(database_url: str, writer: CopyWriter) -> None:
    assert await found(database_url, "trades", "quotes") == {"trades": None, "quotes": None}
    await writer.write(trades(3))  # rows alone say nothing of what is between them
    assert await found(database_url, "trades") == {"trades": None}
    await writer.write(
        [], marks=[mark(100), mark(None, channel="quotes"), mark(5, channel="candles", at_ns=NOON + 999)]
    )
    assert await found(database_url, "candles", "trades", "quotes", "book") == {
        "trades": Progress(100, NOON),  # proved, not attested: there the run goes on
        "quotes": Progress(None, NOON + SECOND),
        "candles": Progress(5, NOON),
        "book": None,
    }


async def test_the_gap_that_was_open_comes_back_as_it_was(database_url: str, writer: CopyWriter, fetch: Fetch) -> None:
    odd = msgspec.structs.replace(GAP, from_ns=NOON + 1_000, opened_ns=NOON + 2_000, evidence="ü\t\\")
    await writer.write([], gaps=[odd], marks=[mark(100)])
    assert await found(database_url, "trades") == {"trades": Progress(100, NOON, odd)}
    told = msgspec.structs.replace(odd, to_ns=NOON + MINUTE, to_id=120)
    progress_of = (await found(database_url, "trades"))["trades"]
    assert progress_of is not None
    assert progress_of.gap is not None
    await writer.write([], gaps=[msgspec.structs.replace(progress_of.gap, to_ns=NOON + MINUTE, to_id=120)])
    assert stored_gaps(fetch) == [gap_row(told)]
    assert await found(database_url, "trades") == {"trades": Progress(100, NOON)}


async def test_a_gap_by_time_alone_comes_back(database_url: str, writer: CopyWriter) -> None:
    gap = Gap(1, "quotes", "disconnected", NOON, opened_ns=NOON)
    await writer.write(
        [], gaps=[gap, Gap(2, "quotes", "other", NOON, opened_ns=NOON)], marks=[mark(None, channel="quotes")]
    )
    assert await found(database_url, "quotes") == {"quotes": Progress(None, NOON + SECOND, gap)}


async def test_promises_and_states_are_kept(
    database_url: str, instruments: dict[int, Instrument], fetch: Fetch
) -> None:
    assert instruments[1] == BTC
    fetch("UPDATE ingest.streams SET state = 'stopped', detail = 'why'")
    await found(database_url, "trades", "quotes")
    await found(database_url, "book", starting=False)
    rows = fetch(
        "SELECT channel, promise, state, detail FROM ingest.streams WHERE instrument_id = 1"
        " AND channel IN ('trades', 'quotes', 'book') ORDER BY channel"
    )
    assert rows == [
        ("book", "sequence", "stopped", "why"),
        ("quotes", "none", "starting", None),
        ("trades", "ids", "starting", None),
    ]


async def test_a_stream_of_other_ids_is_not_given_back(database_url: str, writer: CopyWriter) -> None:
    await writer.write(trades(3), marks=[mark(3)])
    registry = Registry(database_url)
    try:
        streams = [Stream(1, BTC, "trades"), Stream(1, BTC, "quotes")]
        admitted = await registry.register_streams(streams, {"trades": "aggTrade", "quotes": "other"}, {})
        assert await registry.register_streams([], {}, {}) == {}
    finally:
        await registry.close()
    assert admitted == {streams[1]: None}  # it has stored nothing: it may count anew


async def test_books_are_stored_beside_a_gap_of_theirs(writer: CopyWriter, fetch: Fetch) -> None:
    gap = Gap(1, "book", "book out of sync", NOON, opened_ns=NOON)
    over = msgspec.structs.replace(gap, to_ns=NOON + SECOND, state="unrecoverable")
    await writer.write([book(in_sync=False)], gaps=[gap])
    await writer.write([book(time_ns=NOON + SECOND)], gaps=[over], marks=[mark(None, channel="book")])
    assert [row[8] for row in stored_books(fetch)] == [False, True]
    assert stored_gaps(fetch) == [gap_row(over)]
