"""What a daemon learns of its streams from the batches that an earlier one left on disk."""

from ingest.clock import SECOND
from ingest.pipeline.inherited import Inherited, ahead, inherited
from ingest.pipeline.parcel import Head
from ingest.records import Gap, Mark, Progress
from tests.db.support import NOON


def head(sequence: int, *, gaps: tuple[Gap, ...] = (), marks: tuple[Mark, ...] = ()) -> Head:
    return Head(sequence, "trades", 0, 1, NOON, NOON, 0, 0, b"", [], list(gaps), list(marks))


def mark(number: int, second: int) -> Mark:
    return Mark(1, "trades", number, NOON + second * SECOND, NOON + second * SECOND, NOON)


def gap(from_id: int, second: int, to_id: int | None = None) -> Gap:
    to_ns = None if to_id is None else NOON + (second + 1) * SECOND
    ends = (NOON + second * SECOND, to_ns, from_id, to_id)
    return Gap(1, "trades", "disconnected", *ends, opened_ns=NOON + second * SECOND + 1)


def left(*heads: Head) -> Inherited:
    return inherited(heads)[1, "trades"]


def test_nothing_on_disk_leaves_what_the_database_knows() -> None:
    known = Progress(100, NOON, gap(101, 1))
    assert inherited([]) == {}
    assert ahead(known, None) is known
    assert ahead(None, None) is None


def test_the_last_mark_goes_before_an_older_watermark_and_not_before_a_newer_one() -> None:
    waiting = left(head(1, marks=(mark(150, 5),)), head(2, marks=(mark(180, 6),)))
    assert ahead(Progress(100, NOON), waiting) == Progress(180, NOON + 6 * SECOND)
    assert ahead(Progress(200, NOON + 9 * SECOND), waiting) == Progress(200, NOON + 9 * SECOND)


def test_a_stream_that_the_database_does_not_know_yet() -> None:
    assert ahead(None, left(head(1, marks=(mark(150, 5),)))) == Progress(150, NOON + 5 * SECOND)
    assert ahead(None, left(head(1, gaps=(gap(7, 1),)))) == Progress(None, NOON + SECOND, gap(7, 1))
    assert ahead(None, left(head(1, gaps=(gap(7, 1, 9),)))) is None


def test_streams_without_ids_go_by_how_far_their_line_was_alive() -> None:
    told = Mark(1, "quotes", None, NOON, NOON + 8 * SECOND, NOON)
    waiting = inherited([head(1, marks=(told,))])[1, "quotes"]
    assert ahead(Progress(None, NOON), waiting) == Progress(None, NOON + 8 * SECOND)


def test_a_gap_that_ends_on_disk_is_not_gone_on_with() -> None:
    """Else its second end would be refused, and what is missing behind its first one be named nowhere."""
    waiting = left(head(1, gaps=(gap(101, 1, 120),), marks=(mark(180, 6),)))
    opened = Gap(
        1, "trades", "disconnected", NOON + SECOND, None, 101, None, opened_ns=NOON + SECOND
    )  # in microseconds
    assert ahead(Progress(100, NOON, opened), waiting) == Progress(180, NOON + 6 * SECOND, None)


def test_a_gap_that_is_open_at_the_end_is_gone_on_with() -> None:
    waiting = left(head(1, gaps=(gap(101, 1, 120),), marks=(mark(180, 6),)), head(2, gaps=(gap(181, 7),)))
    assert ahead(Progress(100, NOON, gap(101, 1)), waiting) == Progress(180, NOON + 6 * SECOND, gap(181, 7))


def test_a_gap_that_opens_and_ends_on_disk_is_over() -> None:
    waiting = left(head(1, gaps=(gap(181, 7),)), head(2, gaps=(gap(181, 7, 190),), marks=(mark(195, 9),)))
    assert ahead(Progress(180, NOON), waiting) == Progress(195, NOON + 9 * SECOND, None)


def test_a_gap_of_which_the_disk_says_nothing_stays_open() -> None:
    waiting = left(head(1, gaps=(gap(300, 9, 310),)))
    assert ahead(Progress(100, NOON, gap(101, 1)), waiting) == Progress(100, NOON, gap(101, 1))


def test_streams_are_told_apart() -> None:
    other = Mark(2, "trades", 9, NOON, NOON, NOON)
    assert set(inherited([head(1, gaps=(gap(1, 1),), marks=(other,))])) == {(1, "trades"), (2, "trades")}
