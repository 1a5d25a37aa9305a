"""How far a batch brings its streams, though it comes in pieces."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.records import Record, Reject, Trade
from ingest.store.advance import Advance, sequence_of
from ingest.store.rows import timestamp

START_NS = 1_795_298_400_000_000_000


def told(*pieces: list[Record], stored: dict[int, int] | None = None) -> dict[str, Any]:
    advance = Advance()
    for piece in pieces:
        advance.add(piece)
    return advance.parameters(stored)


def trade(instrument_id: int, after_ns: int, trade_id: str, received_ns: int = 0) -> Trade:
    return Trade(instrument_id, START_NS + after_ns, trade_id, "buy", "1", "1", START_NS + received_ns)


def test_rejects_belong_to_no_stream() -> None:
    assert told([Reject("binance", "", "why", b"", START_NS)]) == {}
    assert told([]) == {}


def test_what_is_stored_is_told_beside_what_was_received() -> None:
    parameters = told([trade(1, 0, "5"), trade(1, 0, "6"), trade(2, 0, "7")], stored={1: 1})
    columns = zip(parameters["instrument_ids"], parameters["received"], parameters["stored"], strict=True)
    assert sorted(columns) == [(1, 2, 1), (2, 1, 0)]


@pytest.mark.parametrize(
    ("trade_id", "number"),
    [("5", 5), ("9223372036854775807", 2**63 - 1), ("9223372036854775808", None), ("9" * 5000, None), ("٣", None)],
)
def test_an_id_counts_where_the_database_can_count_it(trade_id: str, number: int | None) -> None:
    assert sequence_of(trade(1, 0, trade_id)) == number


@given(
    st.lists(st.tuples(st.integers(1, 3), st.integers(0, 5)), min_size=1, max_size=30),
    st.sets(st.integers(0, 30)),
)
def test_pieces_tell_what_the_whole_tells(drawn: list[tuple[int, int]], cuts: set[int]) -> None:
    trades = [trade(number, micros * 1000, str(place), place * 1000) for place, (number, micros) in enumerate(drawn)]
    ends = sorted({0, len(trades), *(cut for cut in cuts if cut < len(trades))})
    parameters = told(*(list[Record](trades[a:b]) for a, b in pairwise(ends)))
    assert sorted(parameters["instrument_ids"]) == sorted({one.instrument_id for one in trades})
    for place, number in enumerate(parameters["instrument_ids"]):
        mine = [one for one in trades if one.instrument_id == number]
        last = max(mine, key=lambda one: (one.time_ns, int(one.trade_id)))  # of a moment's rows the last
        assert parameters["received"][place] == parameters["stored"][place] == len(mine)
        assert parameters["first_times"][place] == timestamp(min(one.time_ns for one in mine))
        assert parameters["last_times"][place] == timestamp(last.time_ns)
        assert parameters["last_sequences"][place] == int(last.trade_id)
        assert parameters["last_received_ats"][place] == timestamp(last.received_ns)
