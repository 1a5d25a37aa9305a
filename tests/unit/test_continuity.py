"""Holes in contiguous ids: found, filled by late arrivals, reported once and only when nothing filled them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.clock import SECOND
from ingest.collect.continuity import PATIENCE_NS, Hole, Run
from ingest.errors import Rejected


def test_a_hole_is_reported_once_and_after_a_while() -> None:
    run = Run()
    run.see(10, 1 * SECOND, 1 * SECOND)
    run.see(14, 2 * SECOND, 2 * SECOND)
    assert run.overdue(2 * SECOND + PATIENCE_NS - 1) == []
    assert run.overdue(2 * SECOND + PATIENCE_NS) == [Hole(11, 13, 1 * SECOND, 2 * SECOND, 2 * SECOND)]
    assert run.overdue(60 * SECOND) == []


def test_late_idsfill_a_hole_from_any_side() -> None:
    run = Run()
    run.see(10, 0, 0)
    run.see(16, 0, 0)
    for number in (13, 11, 15):
        run.see(number, 0, 0)
    assert [(hole.first, hole.last) for hole in run.overdue(PATIENCE_NS)] == [(12, 12), (14, 14)]


def test_a_run_goes_on_from_where_the_stream_stood() -> None:
    run = Run(100, 5 * SECOND)
    run.see(104, 9 * SECOND, 9 * SECOND)
    assert run.overdue(9 * SECOND + PATIENCE_NS) == [Hole(101, 103, 5 * SECOND, 9 * SECOND, 9 * SECOND)]


def test_what_the_venue_names_is_missing_and_tells_no_time() -> None:
    run = Run(100, 5 * SECOND)
    run.expect(103, 9 * SECOND)
    run.expect(102, 9 * SECOND)
    assert run.contiguous() == (100, 5 * SECOND)
    run.see(102, 7 * SECOND, 9 * SECOND)
    holes = run.overdue(9 * SECOND + PATIENCE_NS)
    assert [(hole.first, hole.last, hole.after_ns, hole.before_ns) for hole in holes] == [
        (101, 101, 5 * SECOND, 9 * SECOND),
        (103, 103, 5 * SECOND, 9 * SECOND),
    ]
    assert run.contiguous() == (103, 5 * SECOND)


def test_an_absurd_id_is_refused_and_changes_nothing() -> None:
    run = Run()
    run.see(10, 0, 0)
    with pytest.raises(Rejected, match="absurd id: 9223372036854775807 behind 10"):
        run.see(2**63 - 1, 0, 0)
    with pytest.raises(Rejected):
        run.expect(2**62, 0)
    run.see(11, 0, 0)
    assert run.contiguous() == (11, 0)
    assert run.overdue(60 * SECOND) == []


@given(st.sets(st.integers(1, 60), min_size=1), st.randoms(use_true_random=False))
def test_what_is_reported_is_exactly_what_never_came(seen: set[int], random: object) -> None:
    order = sorted(seen)
    random.shuffle(order)  # type: ignore[attr-defined]
    run = Run(0)
    for number in order:
        run.see(number, 0, 0)
    missing = {number for hole in run.overdue(PATIENCE_NS) for number in range(hole.first, hole.last + 1)}
    assert missing == set(range(1, max(seen) + 1)) - seen
