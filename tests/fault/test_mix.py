"""All of the venue's faults at once, from a fixed seed."""

import time

from tests.fault.conftest import Set

SEED = 11
SECONDS = 15.0


def test_all_faults_of_the_venue_mixed(stage: Set) -> None:
    it = stage(silence_seconds=3.0, ping_seconds=2.0)
    it.start_live()
    it.go()
    it.venue.chaos(SEED, 120)
    time.sleep(SECONDS)
    it.venue.calm()
    trades, candles, _ = it.finish()
    assert len({each.kind for each in it.venue.incidents()}) >= 8
    assert trades.compared > 3_000
    assert (trades.named, candles.named) == (0, 0)
