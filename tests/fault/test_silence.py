"""A subscription that is dead while its line is alive: noticed, not read as covered from then on, renewed, repaired."""

import psycopg
import pytest

from ingest.simulator.faults import Lapse, Mute, StreamFault
from tests.fault.conftest import Set
from tests.fault.stage import Stage, block

QUIET = 2.0
COVERED_WITHIN_THE_GAP = (
    "SELECT count(*) FROM ingest.gaps g, LATERAL market.coverage_of(g.instrument_id, 'book', g.from_time, now()) c"
    " WHERE g.channel = 'book' AND g.to_time IS NULL AND c.grade <> 'gap'"
)
STALE_OUTSIDE_OF_GAPS = (
    "SELECT count(*) FROM (SELECT sequence, lag(sequence, 2) OVER (ORDER BY time) AS before FROM ingest.order_books b"
    " WHERE in_sync AND NOT EXISTS (SELECT FROM ingest.gaps g WHERE g.channel = 'book' AND b.time >= g.from_time"
    " AND (b.time <= g.to_time OR g.to_time IS NULL))) states WHERE sequence = before"
)


def watch(it: Stage, kind: str, symbol: str) -> None:
    """Until the gap is repaired: from its detection on, where rows are missing coverage calls nothing covered.

    It says nothing of what lies behind the watermark, where the venue's clock is ours.
    """
    seen = 0
    while True:
        incident = next(each for each in it.venue.incidents(kind) if each.ids)
        kept_back = it.venue.ledger.trades(symbol, incident.ids[0][0], incident.ids[-1][1])
        with psycopg.connect(it.direct_url, options="-c timezone=UTC") as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            states = {row[0] for row in connection.execute("SELECT state FROM ingest.gaps WHERE cause = 'silent'")}
            stored = {row[0] for row in connection.execute("SELECT trade_id::bigint FROM ingest.trades")}
            missing = [time_us for number, time_us, *_ in kept_back if number not in stored]
            grades = connection.execute(
                "SELECT c.grade, c.from_time, c.to_time FROM ingest.instruments i, LATERAL market.coverage_of("
                "i.instrument_id, 'trades', to_timestamp(%s / 1e6), to_timestamp(%s / 1e6)) c"
                " WHERE i.native_symbol = %s",
                [min(missing, default=0), max(missing, default=1), symbol],
            ).fetchall()
        if states and missing:
            seen += 1
            assert {grade for grade, *_ in grades} <= {"gap"}, (states, len(missing), grades)
        if states == {"repaired"}:
            break
    assert seen > 0


@pytest.mark.parametrize(
    "fault",
    [
        Lapse(symbol="BTC/USDT", stream="trade"),
        pytest.param(Lapse("reconnect", symbol="BTC/USDT", stream="trade"), marks=pytest.mark.long),
    ],
)
def test_a_subscription_that_is_dropped_in_silence(stage: Set, fault: StreamFault) -> None:
    it = stage(silence_seconds=QUIET, collect=block(["BTC/USDT", "ETH/USDT"]))
    it.start_live(6)
    it.go()
    it.wait(lambda: it.count("SELECT count(*) FROM ingest.trades") > 100)
    it.venue.fault(fault)
    it.wait(lambda: it.count("SELECT count(*) FROM ingest.gaps WHERE cause = 'silent'") > 0)
    watch(it, "lapse", "BTCUSDT")
    trades, candles, _ = it.finish()
    assert (trades.named, candles.named) == (0, 0)
    silent = it.fetch("SELECT DISTINCT channel FROM ingest.gaps WHERE cause = 'silent'")
    assert silent == [("trades",)]


@pytest.mark.long
def test_trades_that_are_acknowledged_and_never_sent(stage: Set) -> None:
    it = stage(silence_seconds=QUIET, collect=block(["BTC/USDT"]))
    it.venue.fault(Mute(symbol="BTC/USDT", stream="trade"))
    it.start_live(3)
    it.venue.go()
    it.wait(lambda: it.count("SELECT count(*) FROM ingest.gaps WHERE cause = 'silent'") > 0)
    watch(it, "mute", "BTCUSDT")
    trades, candles, _ = it.finish()
    assert (trades.named, candles.named) == (0, 0)


@pytest.mark.long
def test_a_book_that_is_acknowledged_and_never_sent(stage: Set) -> None:
    it = stage(silence_seconds=QUIET, collect=block(["BTC/USDT"]))
    it.venue.fault(Mute(symbol="BTC/USDT", stream="depth@100ms"))
    it.start_live(3)
    it.venue.go()
    it.wait(lambda: it.count("SELECT count(*) FROM ingest.gaps WHERE channel = 'book' AND cause = 'silent'") == 1)
    while it.count("SELECT count(*) FROM ingest.gaps WHERE channel = 'book' AND to_time IS NULL"):
        assert it.count(COVERED_WITHIN_THE_GAP) == 0
    it.wait(lambda: it.count("SELECT count(*) FROM ingest.order_books WHERE in_sync") > 3)
    assert it.count(STALE_OUTSIDE_OF_GAPS) == 0
    it.finish()
