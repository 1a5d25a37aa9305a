"""The line to the venue: cut in every way, refused, limited."""

import itertools

import pytest

from ingest.simulator.faults import Drop, Fault, Refuse, RestError, Unreachable
from tests.fault.conftest import Set
from tests.fault.stage import block

CUTS = [Drop("close"), Drop("abort"), Drop("mid_frame")]
BOOKS_MENDED = "SELECT count(*) FROM ingest.gaps WHERE channel = 'book' AND to_time IS NOT NULL"


@pytest.mark.parametrize("cuts", [5, pytest.param(18, marks=pytest.mark.long)])
def test_many_cuts_lose_nothing(stage: Set, cuts: int) -> None:
    it = stage(collect=block(["BTC/USDT"]), ping_seconds=1.0)
    it.start_live(3)
    it.go()
    for number, cut in enumerate([*itertools.islice(itertools.cycle(CUTS), cuts), *[Drop("half_open")] * 2], start=1):
        it.venue.fault(cut)
        it.wait(lambda number=number: it.count(BOOKS_MENDED) == number)  # type: ignore[misc]
    trades, candles, books = it.finish()
    assert len(it.venue.incidents("drop")) == cuts + 2
    assert trades.compared > 300
    assert (trades.named, candles.named) == (0, 0)
    assert books.compared > 0


@pytest.mark.long
def test_refusals_are_outlasted_and_retry_after_is_honoured(stage: Set) -> None:
    it = stage(collect=block(["BTC/USDT"]))
    it.start_live(3)
    it.go()
    refusals: list[list[Fault]] = [
        [Refuse(0, seconds=1.5)],
        [Refuse(503, seconds=1.5)],
        [Refuse(429, seconds=2.0), RestError(429, seconds=3.0)],
        [Refuse(418, seconds=2.0), RestError(418, seconds=3.0)],
        [Unreachable(seconds=1.5)],
    ]
    for number, faults in enumerate(refusals, start=1):
        for fault in [Drop("abort", after=20), *faults]:  # it may not be reached after the last of them
            it.venue.fault(fault)
        it.wait(lambda number=number: it.count(BOOKS_MENDED) == number)  # type: ignore[misc]
    trades, candles, _ = it.finish()
    assert (trades.named, candles.named) == (0, 0)
    did = {incident.did: incident.times for incident in it.venue.incidents() if "handshake" in incident.target}
    assert {each: times for each, times in did.items() if each in {"refused with 429", "refused with 418"}} == {
        "refused with 429": 1,
        "refused with 418": 1,
    }
    calls: dict[int, int] = {}
    for incident in it.venue.incidents("rest_error"):
        calls[incident.fault] = calls.get(incident.fault, 0) + incident.times
    assert all(times <= 4 for times in calls.values()), "no more than were on their way when the first was refused"
