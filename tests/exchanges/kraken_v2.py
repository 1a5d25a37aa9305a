"""The recording of Kraken (2021), whose frames have a form that has been replaced since, in today's form.

Symbols, digits, times, checksums and the order of all things are the recording's; trades had no ids then and are
numbered here. Written with `json` alone, apart from the adapter.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from tests.exchanges.recordings import lines, recording

DEPTH = 1000
FIRST_TRADE_ID = 1001


class Message(NamedTuple):
    """What was said: levels as (price, amount), of trades (time, id, side, price, amount)."""

    time_ns: int
    symbol: str
    kind: str  # snapshot, update, trade
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]
    checksum: int | None
    trades: list[tuple[Decimal, int, str, str, str]]
    at: Decimal  # the latest time in it

    def frame(self, checksum: int) -> bytes:
        """In today's form; the snapshots of old had no checksum."""
        if self.kind == "trade":
            rows = ",".join(
                f'{{"symbol":"{self.symbol}","side":"{side}","price":{price},"qty":{amount},"ord_type":"limit",'
                f'"trade_id":{number},"timestamp":"{stamp(at)}"}}'
                for at, number, side, price, amount in self.trades
            )
            return f'{{"channel":"trade","type":"update","data":[{rows}]}}'.encode()
        bids, asks = (
            ",".join(f'{{"price":{price},"qty":{amount}}}' for price, amount in side) for side in (self.bids, self.asks)
        )
        return (
            f'{{"channel":"book","type":"{self.kind}","data":[{{"symbol":"{self.symbol}","bids":[{bids}],'
            f'"asks":[{asks}],"checksum":{checksum},"timestamp":"{stamp(self.at)}"}}]}}'
        ).encode()


def stamp(seconds: Decimal) -> str:
    whole, micros = int(seconds), int(seconds % 1 * 1_000_000)
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{micros:06}Z"


def messages(name: str) -> Iterator[Message]:
    """Of one file of the recording, without what is addressed to the connection."""
    ids: dict[str, int] = {}
    for line in lines(recording(name)):
        content = json.loads(line.text) if not line.mark else None
        if not isinstance(content, list):
            continue
        _, *parts, channel, pair = content
        symbol = pair.replace("XBT", "BTC")
        if channel == "trade":
            rows = []
            for price, amount, at, side, _order, _misc in parts[0]:
                ids[symbol] = ids.get(symbol, FIRST_TRADE_ID - 1) + 1
                rows.append((Decimal(at), ids[symbol], "buy" if side == "b" else "sell", price, amount))
            yield Message(line.time_ns, symbol, "trade", [], [], None, rows, rows[-1][0])
            continue
        told: dict[str, Any] = {key: value for part in parts for key, value in part.items()}
        rows_of = {key: told.get(key) or told.get(f"{key}s") or [] for key in "ab"}
        levels = {key: [(row[0], row[1]) for row in rows] for key, rows in rows_of.items()}
        at = max(Decimal(row[2]) for rows in rows_of.values() for row in rows)
        kind, crc = ("update", int(told["c"])) if "c" in told else ("snapshot", None)
        yield Message(line.time_ns, symbol, kind, levels["b"], levels["a"], crc, [], at)
