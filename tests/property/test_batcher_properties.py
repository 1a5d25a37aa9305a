"""Whatever comes in whatever order at whatever time: each record in one batch, in order, within the bounds."""

from hypothesis import given
from hypothesis import strategies as st

from ingest.pipeline.batcher import Batch, Batcher, Limits
from ingest.records import Candle, CandleSource, Gap, OrderBook, Reject, Trade
from ingest.store.copy_writer import Record

T0 = 1_795_262_400_000_000_000


def _record(kind: int, instrument_id: int, levels: int, number: int) -> Record:
    """A record that can be told from every other by its number."""
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
            return Gap(instrument_id, "trades", str(number), T0)
        case _:
            return Reject("x", str(instrument_id), str(number), b"0" * levels, number)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 4), st.integers(1, 9), st.integers(0, 40)),
        st.tuples(st.just("wait"), st.integers(0, 400), st.none(), st.none()),
    ),
    max_size=300,
)
LIMITS = st.builds(
    Limits, max_rows=st.integers(1, 20), max_bytes=st.integers(1, 5_000), max_age_ns=st.integers(0, 1_000)
)


def _stream(record: Record) -> tuple[object, ...]:
    return (type(record), record.stream if isinstance(record, Reject) else record.instrument_id)


def _bytes(record: Record) -> int:
    """No more than what a row is counted as."""
    match record:
        case OrderBook():
            return 130 + 26 * (len(record.bids) + len(record.asks))
        case Reject():
            return 120 + 2 * len(record.payload)
        case Candle():
            return 190
        case Gap():
            return 150
    return 110


@given(steps=STEPS, limits=LIMITS, writers=st.integers(1, 5))
def test_each_record_is_in_one_batch_in_order_within_bounds(
    steps: list[tuple[str, int, int | None, int | None]], limits: Limits, writers: int
) -> None:
    batcher, now = Batcher(writers, limits), T0
    given_records: list[Record] = []
    sealed: list[Batch] = []
    taken_at: dict[int, int] = {}
    for number, (what, first, second, third) in enumerate(steps):
        if what == "wait":
            now += first
            due = batcher.due(now)
            assert all(batch.opened_ns <= now - limits.max_age_ns for batch in due)
            assert [batch.opened_ns for batch in due] == sorted(batch.opened_ns for batch in due)
            sealed += due
            assert batcher.due(now) == []
        else:
            assert second is not None
            assert third is not None
            record = _record(first, second, third, number)
            given_records.append(record)
            taken_at[id(record)] = now
            batch = batcher.add(record, now)
            if batch is not None:
                assert batch.records[-1] is record
                assert len(batch.records) == limits.max_rows or sum(map(_bytes, batch.records)) >= limits.max_bytes
                sealed.append(batch)
    sealed += batcher.seal_all()
    assert batcher.seal_all() == []
    assert batcher.due(now + 10**18) == []

    out = [record for batch in sealed for record in batch.records]
    assert sorted(map(id, out)) == sorted(map(id, given_records))
    for batch in sealed:
        assert batch.records
        assert len({type(record) for record in batch.records}) == 1
        assert len(batch.records) <= limits.max_rows
        assert sum(map(_bytes, batch.records[:-1])) < limits.max_bytes
        assert batch.opened_ns == taken_at[id(batch.records[0])]
        assert 0 <= batch.writer < writers
    for stream in set(map(_stream, given_records)):
        assert len({batch.writer for batch in sealed for record in batch.records if _stream(record) == stream}) == 1
        before = [record for record in given_records if _stream(record) == stream]
        assert [record for record in out if _stream(record) == stream] == before
