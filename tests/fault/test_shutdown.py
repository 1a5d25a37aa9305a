"""SIGTERM under full load: everything that was received is committed or on disk."""

import subprocess
import time

import pytest

from tests.fault.conftest import Set
from tests.fault.line import Line
from tests.fault.stage import Stage

LOAD = ("--trades-per-second", "20000", "--burst", "1", "--slow-client", "wait")
UNBROKEN = (
    "SELECT count(*) FROM (SELECT instrument_id, min(trade_id::bigint) AS first, max(trade_id::bigint) AS last,"
    " count(*) AS rows FROM ingest.trades GROUP BY 1) t JOIN ingest.streams s USING (instrument_id)"
    " WHERE s.channel = 'trades' AND last - first + 1 = rows AND s.watermark_id = last"
)


def stored_from_the_first_on(it: Stage) -> None:
    """No id is missing between the first of the market and the last that is stored."""
    assert it.count(UNBROKEN) == 3
    firsts: dict[str, int] = dict(
        it.fetch(
            "SELECT i.native_symbol, min(t.trade_id::bigint) FROM ingest.trades t JOIN ingest.instruments i"
            " USING (instrument_id) GROUP BY 1"
        )
    )
    assert firsts == {symbol.symbol: symbol.last_trade_id + 1 for symbol in it.venue.since.symbols}


@pytest.mark.parametrize("venue", [LOAD], indirect=True)
def test_all_is_committed(stage: Set) -> None:
    it = stage()
    it.start_live()
    it.go()
    time.sleep(2)
    assert it.stop() == 0, it.tail()
    assert it.spooled() == 0
    it.venue.freeze()
    stored_from_the_first_on(it)
    assert it.count("SELECT count(*) FROM ingest.trades") > 20_000
    it.start_live()
    it.venue.go()
    trades, candles, _ = it.finish()
    assert (trades.named, candles.named) == (0, 0)


@pytest.mark.long
@pytest.mark.parametrize("venue", [LOAD], indirect=True)
def test_what_a_stalled_database_does_not_take_is_on_disk(stage: Set, line: Line, database_url: str) -> None:
    it = stage(line.url, direct_url=database_url, extra="[shutdown]\ndeadline_seconds = 1.0\n")
    it.start_live()
    it.go()
    time.sleep(1)
    line.stall_after(100_000)
    it.wait(lambda: line.stalled)
    # Frozen, or repair would have to fetch what a market does in 10 s.
    assert it.stop(meanwhile=it.venue.freeze) == 0, it.tail()
    assert it.spooled() > 0
    line.cut()
    line.flow()
    done = subprocess.run(it.command("spool", "drain"), env=it.environment, check=True, capture_output=True)
    assert it.spooled() == 0, done.stdout
    stored_from_the_first_on(it)
    it.start_live()
    it.venue.go()
    trades, candles, _ = it.finish()
    assert (trades.named, candles.named) == (0, 0)
