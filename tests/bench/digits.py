"""Real trades of `../shared/recordings` (OKX, Coinbase, Gate.io, Kraken), made many.

Half a minute holds 200 of them, too few to compress. So each instrument's are continued by a block bootstrap: runs of
recorded trades, in their own order, are joined to each other, each trade a recorded step in time, id and price after
the one before, on its recorded side and as late as it was received. An amount keeps its form, and its digits are drawn
anew unless it is round: a handful of amounts again and again would compress far better than real ones.
"""

import gzip
import random
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson

from ingest.clock import MICROSECOND, MILLISECOND
from ingest.records import Side, Trade

FOLDER = Path(__file__).parents[3] / "shared" / "recordings" / "streams"
LEAST = 5
"""Recorded trades of an instrument that is continued."""

_RUN = 5  # trades, on average, before a run ends
_ROUND = 2  # significant digits
_SIDES: dict[str, Side] = {"b": "buy", "s": "sell"}

Found = tuple[str, int, str, Side, str, str]
"""Instrument, time in ns, id (empty: the venue's form had none then), taker's side, price, amount."""


def recorded() -> dict[str, list[Trade]]:
    """By venue and instrument, in order; nothing where the folder is absent."""
    found: dict[str, list[Trade]] = {}
    for name, read in (
        ("OKX.ws.1", _okx),
        ("COINBASE.ws.28", _coinbase),
        ("GATEIO.ws.1", _gateio),
        ("KRAKEN.ws.48", _kraken),
    ):
        for received_ns, message in _messages(FOLDER / f"{name}.0.gz"):
            for instrument, time_ns, trade_id, side, price, amount in read(message):
                trades = found.setdefault(f"{name.partition('.')[0]} {instrument}", [])
                trades.append(Trade(0, time_ns, trade_id or str(len(trades) + 1), side, price, amount, received_ns))
    return {
        instrument: sorted(trades, key=lambda trade: (trade.time_ns, int(trade.trade_id)))
        for instrument, trades in found.items()
        if len(trades) >= LEAST
    }


def continued(instrument_id: int, trades: list[Trade], count: int, start_ns: int) -> Iterator[Trade]:
    """`count` trades from `start_ns` on; the same ones each time."""
    chance = random.Random(instrument_id)  # noqa: S311 - the same rows each time
    scale = max(_decimals(trade.price) for trade in trades)
    is_padded = len({_decimals(trade.price) for trade in trades}) == 1
    ticks = [round(float(trade.price) * 10**scale) for trade in trades]
    steps = [
        (after.time_ns - before.time_ns, max(1, int(after.trade_id) - int(before.trade_id)), later - earlier, after)
        for (before, after), (earlier, later) in zip(pairwise(trades), pairwise(ticks), strict=True)
    ]
    early_ns = min(
        0, *(trade.received_ns - trade.time_ns for trade in trades)
    )  # the recording machine's clock was slow
    time_ns, number, price, place = start_ns, int(trades[0].trade_id), ticks[0], 0
    for _ in range(count):
        if chance.random() * _RUN < 1 or place == len(steps):
            place = chance.randrange(len(steps))
        passed_ns, ids, change, like = steps[place]
        place += 1
        time_ns, number = time_ns + passed_ns, number + ids
        price += change if ticks[0] * 4 < (price + change) * 5 < ticks[0] * 6 else -change
        text = f"{price // 10**scale}.{price % 10**scale:0{scale}}" if scale else str(price)
        if scale and not is_padded:
            text = text.rstrip("0").rstrip(".")
        received_ns = time_ns + like.received_ns - like.time_ns - early_ns
        yield Trade(instrument_id, time_ns, str(number), like.side, text, _like(like.amount, chance), received_ns)


def _like(amount: str, chance: random.Random) -> str:
    """An amount of the same form and size."""
    digits = amount.replace(".", "").strip("0")
    if len(digits) <= _ROUND:
        return amount
    first = amount.index(digits[0])
    last = max(place for place, digit in enumerate(amount) if digit not in "0.")
    return "".join(
        digit if digit == "." or not first < place <= last else str(chance.randrange(place == last, 10))
        for place, digit in enumerate(amount)
    )


def _decimals(number: str) -> int:
    return len(number.partition(".")[2])


def _messages(path: Path) -> Iterator[tuple[int, Any]]:
    """What was received of a connection, with the time."""
    if not path.exists():
        return
    with gzip.open(path, "rt") as file:
        for line in file:
            received, colon, text = line.partition(": ")
            if colon and received[:1].isdigit() and "<" not in received:
                yield round(float(received) * 10**6) * MICROSECOND, orjson.loads(text)


def _okx(message: Any) -> Iterable[Found]:
    if message.get("arg", {}).get("channel") == "trades":
        for trade in message.get("data", []):
            time_ns = int(trade["ts"]) * MILLISECOND
            yield trade["instId"], time_ns, trade["tradeId"], trade["side"], trade["px"], trade["sz"]


def _coinbase(message: Any) -> Iterable[Found]:
    """Its `side` is the maker's."""
    if message["type"] == "match":
        time_ns = round(datetime.fromisoformat(message["time"]).timestamp() * 10**6) * MICROSECOND
        side: Side = "buy" if message["side"] == "sell" else "sell"
        yield message["product_id"], time_ns, str(message["trade_id"]), side, message["price"], message["size"]


def _gateio(message: Any) -> Iterable[Found]:
    if message.get("channel") == "spot.trades" and message.get("event") == "update":
        trade = message["result"]
        time_ns = round(float(trade["create_time_ms"]) * 1_000) * MICROSECOND
        yield trade["currency_pair"], time_ns, str(trade["id"]), trade["side"], trade["price"], trade["amount"]


def _kraken(message: Any) -> Iterable[Found]:
    """Its first version had no ids; today's count each pair's trades."""
    if isinstance(message, list) and message[-2] == "trade":
        for price, amount, time, side, *_ in message[1]:
            yield message[-1], round(float(time) * 10**6) * MICROSECOND, "", _SIDES[side], price, amount
