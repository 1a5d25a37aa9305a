"""Whatever comes in whatever order at whatever time: each item in one batch, in order, within the bounds."""

from hypothesis import given
from hypothesis import strategies as st

from ingest.pipeline.batch import TABLE_OF, Batch
from ingest.pipeline.batcher import Batcher, Limits
from ingest.records import Candle, CandleSource, Channel, Gap, Item, Mark, OrderBook, Record, Reject, Trade

T0 = 1_795_262_400_000_000_000


NOTED: tuple[Channel, ...] = ("trades", "candles", "book")


def _item(kind: int, instrument_id: int, levels: int, number: int) -> Item:
    """A record or a note that can be told from every other by its number."""
    match kind:
        case 0:
            return Trade(instrument_id, T0, str(number), "buy", "1", "1", number)
        case 1:
            return Candle(
                instrument_id, T0, "1", "1", "1", "1", "1", None, None, None, None, CandleSource.STREAM, number
            )
        case 2:
            side = (("1", "1"),) * levels
            return OrderBook(instrument_id, T0, None, number, side, side, True, number)
        case 3:
            return Reject("x", str(instrument_id), str(number), b"0" * levels, number)
        case 4:
            return Gap(instrument_id, NOTED[levels % 3], str(number), T0, opened_ns=T0)
        case _:
            return Mark(instrument_id, NOTED[levels % 3], number, T0, T0, T0)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 5), st.integers(1, 9), st.integers(0, 40)),
        st.tuples(st.just("wait"), st.integers(0, 400), st.none(), st.none()),
    ),
    max_size=300,
)
LIMITS = st.builds(
    Limits, max_rows=st.integers(1, 20), max_bytes=st.integers(1, 5_000), max_age_ns=st.integers(0, 1_000)
)


def _stream(item: Item) -> tuple[object, ...]:
    if isinstance(item, Reject):
        return (Reject, item.stream)
    return (TABLE_OF[item.channel] if isinstance(item, Gap | Mark) else type(item), item.instrument_id)


def _bytes(item: Item) -> int:
    """No more than what it is counted as."""
    match item:
        case OrderBook():
            return 130 + 26 * (len(item.bids) + len(item.asks))
        case Reject():
            return 120 + 2 * len(item.payload)
        case Candle():
            return 190
        case Gap() | Mark():
            return 200
    return 110


@given(steps=STEPS, limits=LIMITS, writers=st.integers(1, 5))
def test_each_item_is_in_one_batch_in_order_within_bounds(
    steps: list[tuple[str, int, int | None, int | None]], limits: Limits, writers: int
) -> None:
    batcher, now = Batcher(writers, limits), T0
    items: list[Item] = []
    sealed: list[Batch] = []
    sealed_after: list[int] = []  # how many items had been given
    taken_at: dict[int, int] = {}

    def take(batches: list[Batch]) -> None:
        sealed.extend(batches)
        sealed_after.extend([len(items)] * len(batches))

    for number, (what, first, second, third) in enumerate(steps):
        if what == "wait":
            now += first
            due = batcher.due(now)
            assert all(batch.opened_ns <= now - limits.max_age_ns for batch in due)
            assert [batch.opened_ns for batch in due] == sorted(batch.opened_ns for batch in due)
            take(due)
            assert batcher.due(now) == []
        else:
            assert second is not None
            assert third is not None
            item = _item(first, second, third, number)
            items.append(item)
            taken_at[id(item)] = now
            batch = batcher.add(item, now)
            if batch is not None:
                assert batch.records[-1] is item
                assert len(batch.records) == limits.max_rows or batch.size_bytes >= limits.max_bytes
                take([batch])
    take(batcher.seal_all())
    assert batcher.seal_all() == []
    assert batcher.due(now + 10**18) == []
    assert batcher.open_bytes == 0

    records = [item for item in items if not isinstance(item, Gap | Mark)]
    out: list[Record] = [record for batch in sealed for record in batch.records]
    assert sorted(map(id, out)) == sorted(map(id, records))
    gaps = [gap for batch in sealed for gap in batch.gaps]
    assert sorted(map(id, gaps)) == sorted(id(item) for item in items if isinstance(item, Gap))
    for batch in sealed:
        assert {type(record) for record in batch.records} <= {batch.table}
        assert len(batch.records) <= limits.max_rows
        held = [*batch.records, *batch.gaps, *batch.marks.values()]
        assert sum(map(_bytes, held)) <= batch.size_bytes
        assert batch.opened_ns <= min(taken_at[id(item)] for item in held)
        assert 0 <= batch.writer < writers
    for stream in set(map(_stream, items)):
        before = [item for item in items if _stream(item) == stream]
        of_stream = [batch for batch in sealed if any(_stream(item) == stream for item in _held(batch))]
        assert len({batch.writer for batch in of_stream}) == 1
        kept = [record for record in before if not isinstance(record, Gap | Mark)]
        assert [record for record in out if _stream(record) == stream] == kept
        assert [gap for gap in gaps if _stream(gap) == stream] == [item for item in before if isinstance(item, Gap)]
        _check_marks(items, of_stream, stream)


def _held(batch: Batch) -> list[Item]:
    return [*batch.records, *batch.gaps, *batch.marks.values()]


def _check_marks(items: list[Item], of_stream: list[Batch], stream: tuple[object, ...]) -> None:
    """A mark is never before a row or a gap that was given before it, and the last one is not lost."""
    place = {id(item): position for position, item in enumerate(items)}
    marks = [item for item in items if isinstance(item, Mark) and _stream(item) == stream]
    told = [mark for batch in of_stream for mark in batch.marks.values() if _stream(mark) == stream]
    assert [place[id(mark)] for mark in told] == sorted(place[id(mark)] for mark in told)
    for mark in told:
        at = next(position for position, batch in enumerate(of_stream) if mark in batch.marks.values())
        for batch in of_stream[at + 1 :]:
            late = [item for item in [*batch.records, *batch.gaps] if _stream(item) == stream]
            assert all(place[id(item)] > place[id(mark)] for item in late)
    for channel in {mark.channel for mark in marks}:
        assert [mark for mark in told if mark.channel == channel][-1] is [m for m in marks if m.channel == channel][-1]
