"""The recording of Coinbase Pro (2021) in today's form: its format is gone, its values and book rules are not."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.exchanges.recordings import lines, recording

PRODUCTS = (
    "BAND-BTC", "BAND-GBP", "CRV-EUR", "DASH-BTC", "NMR-EUR", "NU-GBP", "SKL-BTC", "SKL-GBP", "SKL-USD", "YFI-BTC",
)  # fmt: skip
AMOUNT = "1.50000000"  # of a quote: the old format had none


class Framed(NamedTuple):
    time_ns: int
    old: dict[str, Any]
    frame: bytes


def reframed() -> Iterator[Framed]:
    """Each message of the recording as today's frame, but those that were answers."""
    number = 0
    for line in lines(recording("COINBASE.ws.28.0.gz")):
        if line.mark:
            continue
        old = json.loads(line.text)
        if old["type"] == "subscriptions":
            continue
        channel, event = today(old)
        stamp = old.get("time") or "2021-04-17T16:43:37.000000Z"
        message = {
            "channel": channel, "client_id": "", "timestamp": stamp.replace("Z", "789Z"), "sequence_num": number,
            "events": [event],
        }  # fmt: skip
        yield Framed(line.time_ns, old, json.dumps(message).encode())
        number += 1


def today(old: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The channel and the event that the venue would send now."""
    product = {"product_id": old["product_id"]}
    if old["type"] == "snapshot":
        sides = (("bid", old["bids"]), ("offer", old["asks"]))
        updates = [_level(side, price, amount) for side, levels in sides for price, amount in levels]
        return "l2_data", {"type": "snapshot", **product, "updates": updates}
    if old["type"] == "l2update":
        names = {"buy": "bid", "sell": "offer"}
        return "l2_data", {
            "type": "update",
            **product,
            "updates": [_level(names[s], p, a) for s, p, a in old["changes"]],
        }
    if old["type"] == "ticker":
        figures = {
            "price": old["price"], "volume_24_h": old["volume_24h"], "low_24_h": old["low_24h"],
            "high_24_h": old["high_24h"], "best_bid": old["best_bid"], "best_bid_quantity": AMOUNT,
            "best_ask": old["best_ask"], "best_ask_quantity": AMOUNT,
        }  # fmt: skip
        return "ticker", {"type": "update", "tickers": [{"type": "ticker", **product, **figures}]}
    trade = {"trade_id": str(old["trade_id"]), "price": old["price"], "size": old["size"], "time": old["time"]}
    kind = "snapshot" if old["type"] == "last_match" else "update"
    return "market_trades", {"type": kind, "trades": [{**trade, **product, "side": old["side"].upper()}]}


def _level(side: str, price: str, amount: str) -> dict[str, str]:
    return {"side": side, "event_time": "1970-01-01T00:00:00Z", "price_level": price, "new_quantity": amount}
