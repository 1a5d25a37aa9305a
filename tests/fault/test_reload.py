"""A configuration that changes while trades flow: what is new comes, what is gone goes, what stays loses nothing."""

import signal
import subprocess
import time

from msgspec import structs

from ingest.simulator.ledger import Summary
from tests.fault.conftest import Set
from tests.fault.stage import Stage, block

LIVE = "SELECT count(*) FROM ingest.streams WHERE state = 'live'"


def ends(it: Stage, which: str, symbol: str) -> int:
    """The first or last stored trade of one instrument."""
    found = it.fetch(
        "SELECT min(t.trade_id::bigint), max(t.trade_id::bigint) FROM ingest.trades t"
        " JOIN ingest.instruments i USING (instrument_id) WHERE i.symbol = %s",
        symbol,
    )
    return int(found[0][0 if which == "first" else 1])


def from_id(summary: Summary, symbol: str, last_id: int) -> Summary:
    """The same moment, with another last trade of one symbol."""
    symbols = [structs.replace(s, last_trade_id=last_id) if s.unified == symbol else s for s in summary.symbols]
    return structs.replace(summary, symbols=symbols)


def at_rest(it: Stage, symbol: str) -> int:
    """The last trade of a symbol, once it has been the last for a second."""
    seen = [ends(it, "last", symbol)]

    def same() -> bool:
        time.sleep(1)
        seen.append(ends(it, "last", symbol))
        return seen[-1] == seen[-2]

    it.wait(same)
    return seen[-1]


def test_symbols_and_channels_come_and_go(stage: Set) -> None:
    it = stage(collect=block(["BTC/USDT"], ["trades", "book"]) + block(["ETH/USDT"]))
    it.start_live(5)
    it.go()
    assert it.process is not None
    time.sleep(0.5)
    it.configure(block(["BTC/USDT", "SOL/USDT"]))  # a channel and a symbol more, a symbol less
    it.process.send_signal(signal.SIGHUP)
    it.wait(lambda: it.count(LIVE) == 6)
    gone = at_rest(it, "ETH/USDT")  # the connection that held it delivers until another one has taken over
    it.configure(block(["BTC/USDT", "SOL/USDT"], ["trades", "nonsense"]))
    it.process.send_signal(signal.SIGHUP)
    it.wait(lambda: it.events("reload.refused") == 1)
    it.configure('[[collect]]\nexchange = "binance"\nsymbols = [')
    refused = subprocess.run(it.command("reload"), env=it.environment, check=False, capture_output=True)
    assert refused.returncode == 2
    time.sleep(0.5)
    assert it.count(LIVE) == 6
    assert ends(it, "last", "ETH/USDT") == gone, "it is collected no more"
    it.configure(
        block(["BTC/USDT"]) + block(["SOL/USDT"], ["trades"]) + block(["ETH/USDT"], ["book", "trades", "candles"])
    )
    subprocess.run(it.command("reload"), env=it.environment, check=True, capture_output=True)
    it.wait(lambda: it.count(LIVE) == 7)
    time.sleep(0.5)
    it.settle()
    assert it.stop() == 0, it.tail()
    since = from_id(it.venue.since, "SOL/USDT", ends(it, "first", "SOL/USDT") - 1)
    trades, candles, _ = it.compare(since=since)
    assert (trades.named, candles.named) == (0, 0)
    staying = it.fetch(
        "SELECT g.channel, g.cause FROM ingest.gaps g JOIN ingest.instruments i USING (instrument_id)"
        " WHERE i.symbol = 'BTC/USDT' OR i.symbol = 'SOL/USDT' AND g.channel = 'trades'"
    )
    assert staying == []
