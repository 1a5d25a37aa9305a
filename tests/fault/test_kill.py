"""`kill -9` of the daemon: what was committed or spooled stays, the rest is fetched again or named."""

import time

import pytest

from ingest.simulator.faults import ForgottenHistory
from tests.fault.conftest import Set
from tests.fault.line import Line


def test_several_kills_one_of_them_while_the_database_is_away(stage: Set, line: Line, database_url: str) -> None:
    it = stage(line.url, direct_url=database_url)
    it.start_live()
    it.go()
    time.sleep(0.5)
    it.kill()
    it.start_live()
    time.sleep(0.5)
    line.refuse()
    it.wait(lambda: it.spooled() > 10)
    it.kill()
    waiting = it.spooled()
    it.start()
    assert it.process is not None
    assert it.process.wait(30) == 3, "it needs the database to start"
    it.process = None
    assert it.spooled() == waiting
    line.accept()
    it.start_live()
    time.sleep(0.3)
    it.kill()
    it.start_live()
    time.sleep(0.5)
    trades, candles, books = it.finish()
    assert (trades.named, candles.named) == (0, 0)
    assert books.compared > 0


@pytest.mark.long
def test_a_kill_before_the_first_commit(stage: Set, line: Line, database_url: str) -> None:
    it = stage(line.url, direct_url=database_url)
    it.start_live()
    line.refuse()
    it.venue.go()
    it.wait(lambda: it.spooled() > 10)
    it.kill()
    time.sleep(1)
    line.accept()
    it.start_live()
    time.sleep(0.5)
    trades, candles, _ = it.finish()
    assert (trades.named, candles.named) == (0, 0)


@pytest.mark.long
def test_what_the_spool_holds_is_not_named_when_history_is_forgotten(stage: Set, line: Line, database_url: str) -> None:
    it = stage(line.url, direct_url=database_url)
    it.start_live()
    it.go()
    time.sleep(1)
    line.refuse()
    it.wait(lambda: it.spooled() > 20)
    it.kill()
    time.sleep(1)
    for symbol in it.venue.ledger.summary().symbols:
        it.venue.fault(ForgottenHistory(symbol=symbol.symbol, before_id=symbol.last_trade_id))
    line.accept()
    it.start_live()
    time.sleep(0.5)
    trades, candles, _ = it.finish()
    assert trades.named > 0
    assert candles.named == 0
