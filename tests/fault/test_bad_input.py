"""Bad input of every kind in the middle of the stream: kept with its bytes, counted, and nothing is poisoned by it."""

import json
from typing import get_args

from ingest.simulator.faults import Malformed, Reorder, Repeat, Spoiling
from tests.fault.conftest import Set
from tests.fault.stage import block

KINDS = [what for what in get_args(Spoiling) if what not in ("any", "huge")]
EACH = 3


def test_bad_frames_between_good_ones(stage: Set) -> None:
    it = stage(collect=block(["BTC/USDT", "ETH/USDT"]))
    it.start_live(6)
    it.go()
    for what in KINDS:
        it.venue.fault(Malformed(what, stream="trade", symbol="BTC/USDT", count=EACH))
        it.venue.fault(Malformed(what, stream="depth@100ms", symbol="ETH/USDT", count=EACH))
        it.venue.fault(Malformed(what, stream="kline_1m", symbol="ETH/USDT", count=1))
    it.venue.fault(Malformed("huge", stream="trade", symbol="ETH/USDT", count=1))
    it.venue.fault(Repeat(2, stream="trade", symbol="ETH/USDT", count=30))
    it.venue.fault(Repeat(1, 300, stream="trade", symbol="ETH/USDT", count=30))
    it.venue.fault(Reorder(stream="trade", symbol="ETH/USDT", count=20))
    it.venue.fault(Reorder(200, stream="trade", symbol="ETH/USDT", count=20))
    it.wait(lambda: sum(each.times for each in it.venue.incidents("malformed")) >= EACH * 2 * len(KINDS) + 4)
    it.wait(lambda: sum(each.times for each in it.venue.incidents("reorder")) == 40)
    trades, candles, books = it.finish()
    assert (trades.named, candles.named) == (0, 0)
    assert books.compared > 0
    spoilt = {
        number
        for each in it.venue.incidents("malformed")
        if each.target.endswith("btcusdt@trade")
        for first, last in each.ids
        for number in range(first, last + 1)
    }
    assert len(spoilt) == EACH * len(KINDS)
    rejected = it.fetch("SELECT stream, reason, payload FROM ingest.rejected ORDER BY rejected_id")
    kept = [bytes(payload) for _, _, payload in rejected]
    parsed = [json.loads(payload) for payload in kept if payload.endswith(b"}")]
    whole = {
        each["data"]["t"]
        for each in parsed
        if "data" in each and each["data"].get("s", "BTCUSDT") != "ETHUSDT" and "t" in each["data"]
    }
    other = {int(each["trade_id"]) for each in parsed if "trade_id" in each}
    assert len(other & spoilt) == EACH, "the same id with another price"
    assert len((whole | other) & spoilt) == EACH * (len(KINDS) - 1), "all but the truncated ones"
    assert (
        sum(payload.startswith(b'{"stream":"btcusdt@trade"') and not payload.endswith(b"}") for payload in kept) <= EACH
    )
    assert {reason.partition(":")[0] for _, reason, _ in rejected} >= {
        "malformed frame",
        "absurd time",
        "trade",
        "unknown symbol",
        "unknown event",
    }
