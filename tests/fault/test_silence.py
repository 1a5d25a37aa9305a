"""A subscription that is dead while its line is alive: noticed, not read as covered from then on, renewed, repaired."""

import psycopg
import pytest

from ingest.simulator.faults import Lapse, Mute, StreamFault
from tests.fault.conftest import Set
from tests.fault.stage import Stage, block

QUIET = 2.0


def watch(it: Stage, kind: str, symbol: str) -> None:
    """Until the gap is repaired: whenever rows of it are missing, coverage says so, from the moment of detection on."""
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
            assert {grade for grade, *_ in grades} == {"gap"}, (states, len(missing), grades)
        if states == {"repaired"}:
            break
    assert seen > 0


@pytest.mark.parametrize(
    "fault", [Lapse(symbol="BTC/USDT", stream="trade"), Lapse("reconnect", symbol="BTC/USDT", stream="trade")]
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


def test_trades_that_are_acknowledged_and_never_sent(stage: Set) -> None:
    it = stage(silence_seconds=QUIET, collect=block(["BTC/USDT"]))
    it.venue.fault(Mute(symbol="BTC/USDT", stream="trade"))
    it.start_live(3)
    it.venue.go()
    it.wait(lambda: it.count("SELECT count(*) FROM ingest.gaps WHERE cause = 'silent'") > 0)
    watch(it, "mute", "BTCUSDT")
    trades, candles, _ = it.finish()
    assert (trades.named, candles.named) == (0, 0)


def test_a_book_that_is_acknowledged_and_never_sent(stage: Set) -> None:
    it = stage(silence_seconds=QUIET, collect=block(["BTC/USDT"]))
    it.venue.fault(Mute(symbol="BTC/USDT", stream="depth@100ms"))
    it.start_live(3)
    it.venue.go()
    covered = (
        "SELECT coalesce(sum(c.seconds), 0) FROM ingest.streams s, LATERAL market.coverage_of(s.instrument_id, 'book',"
        " s.state_since, now()) c WHERE s.channel = 'book' AND s.covered_from IS NULL AND c.grade <> 'gap'"
    )
    waiting = "SELECT count(*) FROM ingest.streams WHERE channel = 'book' AND covered_from IS NULL"
    while it.count(waiting):
        assert it.count(covered) == 0
        it.wait(lambda: it.events("stream.silent") >= 0)
    it.finish()
    assert it.events("stream.silent") == 1
