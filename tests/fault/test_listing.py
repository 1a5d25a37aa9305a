"""What the venue lists while the daemon runs: a symbol that is listed later starts, and the venue's history is kept."""

import pytest

from tests.fault.conftest import Set
from tests.fault.stage import block

pytestmark = pytest.mark.long

STATE = "SELECT count(*) FROM market.streams WHERE symbol = %s AND state = %s"
HEALTH = "SELECT count(*) FROM market.exchange_status WHERE exchange = 'binance' AND state = %s AND until IS NULL"


def test_a_symbol_that_is_listed_later_starts_without_a_restart(stage: Set) -> None:
    it = stage(collect=block(["BTC/USDT", "SOL/USDT"], ["trades"]))
    it.venue.list_as("SOL/USDT", "gone")
    it.start_live(1)
    it.go()
    it.wait(lambda: it.count(HEALTH, "online") == 1)
    it.venue.list_as("SOL/USDT", "trading")
    it.wait(lambda: it.count(STATE, "SOL/USDT", "live") == 1)
    it.wait(lambda: it.count("SELECT count(*) FROM market.trades WHERE symbol = 'SOL/USDT'") > 0)
    assert it.stop() == 0, it.tail()
    assert it.fetch("SELECT symbol, missing_since FROM ingest.instruments ORDER BY 1") == [
        ("BTC/USDT", None), ("ETH/USDT", None), ("SOL/USDT", None)
    ]  # fmt: skip
    assert it.fetch("SELECT count(*) FROM market.gaps g WHERE symbol = 'BTC/USDT'") == [(0,)]
    states = it.fetch("SELECT state, until IS NULL FROM market.exchange_status ORDER BY since")
    assert states[-1] == ("stopped", True)
    assert ("online", False) in states
    assert [over for _, over in states[:-1]] == [False] * (len(states) - 1)
