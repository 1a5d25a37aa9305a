"""How soon a book that lost its way is subscribed anew."""

from ingest.collect.resync import Pauses


def test_at_once_then_ever_later_and_at_once_again_after_calm() -> None:
    pauses = Pauses()
    assert [pauses.next_seconds(1, now) for now in (0.0, 0.5, 2.0, 5.0, 10.0, 20.0, 40.0)] == [0, 1, 2, 4, 8, 15, 15]
    assert pauses.next_seconds(2, 40.0) == 0
    assert pauses.next_seconds(1, 101.0) == 0
