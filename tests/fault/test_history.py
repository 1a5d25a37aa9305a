"""REST history that trails, has forgotten, fails, and breaks off."""

import time

import pytest

from ingest.simulator.faults import (
    Drop,
    Endpoint,
    Fault,
    ForgottenHistory,
    LaggingHistory,
    Refuse,
    RestCut,
    RestEmpty,
    RestError,
    RestMalformed,
    RestSilent,
    RestTruncated,
)
from tests.fault.conftest import Set
from tests.fault.stage import Stage, block

HOLE_SECONDS = 2.0


def hole(it: Stage) -> dict[str, tuple[int, int]]:
    """Leave a hole of some seconds; the ids that were surely made in it, by symbol."""
    it.venue.fault(Refuse(seconds=HOLE_SECONDS))
    it.venue.fault(Drop("abort"))
    it.wait(lambda: it.venue.incidents("refuse") != [])
    first = {symbol.unified: symbol.last_trade_id + 1 for symbol in it.venue.ledger.summary().symbols}
    time.sleep(HOLE_SECONDS / 2)
    return {
        symbol.unified: (first[symbol.unified], symbol.last_trade_id) for symbol in it.venue.ledger.summary().symbols
    }


@pytest.mark.long
def test_history_that_trails_is_waited_for(stage: Set) -> None:
    it = stage(collect=block(["BTC/USDT", "ETH/USDT"]))
    it.start_live(6)
    it.go()
    it.venue.fault(LaggingHistory(lag_seconds=6.0, seconds=12.0))
    hole(it)
    it.wait(lambda: it.events("repair.waiting") > 0)
    trades, candles, _ = it.finish()
    assert (trades.named, candles.named) == (0, 0)


@pytest.mark.long
def test_what_history_has_forgotten_is_named_exactly(stage: Set) -> None:
    it = stage(collect=block(["BTC/USDT", "ETH/USDT"]))
    it.start_live(6)
    it.go()
    made = hole(it)
    (first, last), (_, edge) = made["BTC/USDT"], made["ETH/USDT"]
    it.venue.fault(ForgottenHistory(symbol="BTC/USDT", from_id=first, to_id=last))
    it.venue.fault(ForgottenHistory(symbol="ETH/USDT", before_id=edge))
    trades, candles, _ = it.finish()
    named = it.fetch(
        "SELECT i.symbol, g.state, g.from_id, g.to_id"
        " FROM ingest.gaps g JOIN ingest.instruments i USING (instrument_id)"
        " WHERE g.channel = 'trades' AND g.state <> 'repaired' ORDER BY 1"
    )
    assert [row[:2] for row in named] == [("BTC/USDT", "unrecoverable"), ("ETH/USDT", "awaiting_dump")]
    assert named[0][2:] == (first, last)
    assert named[1][3] == edge - 1
    assert trades.named == last - first + 1 + edge - named[1][2]
    assert candles.named == 0


def test_history_that_fails_breaks_off_and_talks_nonsense(stage: Set) -> None:
    it = stage(collect=block(["BTC/USDT", "ETH/USDT"]))
    it.start_live(6)
    it.go()
    path: Endpoint = "historicalTrades"
    faults: list[Fault] = [
        RestError(500, path=path, count=1),
        RestTruncated(path=path, count=1),
        RestCut(path=path, count=1),
        RestEmpty(path=path, count=1),
        RestMalformed("negative_price", path=path, instead=True, count=1),
        RestSilent(1.0, path=path, count=1),
    ]
    for fault in faults:
        it.venue.fault(fault)
    hole(it)
    trades, candles, _ = it.finish()
    assert (trades.named, candles.named) == (0, 0)
    assert {each.kind for each in it.venue.incidents() if each.kind.startswith("rest_")} == {
        "rest_error", "rest_truncated", "rest_cut", "rest_empty", "rest_malformed", "rest_silent",
    }  # fmt: skip
