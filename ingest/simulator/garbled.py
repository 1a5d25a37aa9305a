"""Messages and replies that are wrong, made from right ones. Pure: the generator is passed in."""

import random
from collections.abc import Callable
from typing import Any, Final

import orjson

from ingest.simulator.faults import Spoiling

_DECADE_US: Final = 10 * 365 * 86_400 * 1_000_000
_MICROSECONDS_FROM: Final = 100_000_000_000_000
_ROW_PRICES: Final = (1, 2, 3, 4)
_LONG: Final = "huge"

Place = tuple[Any, Any]
"""A container, and the key or index of what is to be spoilt in it."""


def spoil(text: str, what: Spoiling, rng: random.Random, size: int) -> tuple[str, str]:
    """A wrong copy of a websocket message, and in words what is wrong. Falls back to `wrong_type` where the message
    holds nothing of the kind, such as a time.
    """
    if what == "any":
        what = rng.choice([*_WAYS, "truncated"])
    if what == "truncated":
        return text[: rng.randrange(1, len(text))], "truncated"
    frame = orjson.loads(text)
    event = frame["data"] if "stream" in frame else frame
    if what == "unknown_symbol" and "stream" in frame:
        frame["stream"] = "nope" + frame["stream"][frame["stream"].index("@") :]
    done = _spoil(event, what, rng)
    if what == _LONG:
        event["padding"] = "x" * max(size - len(text) - len(',"padding":""'), 0)
        done = f"huge: {size} bytes"
    return orjson.dumps(frame).decode(), done


def spoil_reply(body: bytes, what: Spoiling, rng: random.Random, *, instead: bool) -> tuple[bytes, str, Any]:
    """A reply with a wrong row after its right one, or `instead` of it; what is wrong; and the right row.

    A reply that is no list, or an empty one, is itself the row.
    """
    if what in {"any", "truncated", "huge", "unknown_event", "unknown_symbol"}:
        what = rng.choice(["wrong_type", "missing_field", "negative_price", "nan_price", "infinite_price", "future"])
    reply = orjson.loads(body)
    if not isinstance(reply, list) or not reply:
        kept = orjson.loads(body)
        done = _spoil(reply, what, rng) if isinstance(reply, dict) and reply else "an object for a list"
        return orjson.dumps(reply if isinstance(reply, dict) and reply else {"rows": reply}), done, kept
    place = rng.randrange(len(reply))
    wrong = orjson.loads(orjson.dumps(reply[place]))
    done = _spoil(wrong, what, rng)
    right = reply[place]
    reply[place : place + 1] = [wrong] if instead else [right, wrong]
    return orjson.dumps(reply), f"{done} in row {place if instead else place + 1}", right


def numbers(topic: str, text: str) -> tuple[int, int]:
    """First and last id of a message, bare or wrapped: of trades, aggregates, book updates.

    Of a candle when it opens, as it was sent; (0, 0) for a message that has none.
    """
    try:
        said = orjson.loads(text)
        said = said["data"] if "stream" in said else said
        kind = topic.partition("@")[2]
        if "k" in said:
            return said["k"]["t"], said["k"]["t"]
        last = said[{"trade": "t", "aggTrade": "a"}.get(kind, "lastUpdateId" if "lastUpdateId" in said else "u")]
        return said.get("U", last), last
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):  # a spoilt message need not have any
        return 0, 0


def _spoil(said: Any, what: Spoiling, rng: random.Random) -> str:
    return _WAYS.get(what, _wrong_type)(said, rng)


def _wrong_type(said: Any, rng: random.Random) -> str:
    places = [*_prices(said), *_times(said)]
    holder, key = rng.choice(places) if places else (said, next(iter(said)))
    wrong: Any = rng.choice([{"value": 1}, [], True, None])
    holder[key] = wrong
    return f"wrong_type: {key} is {orjson.dumps(wrong).decode()}"


def _missing_field(said: Any, rng: random.Random) -> str:
    places = [*_prices(said), *_times(said)]
    holder, key = rng.choice(places) if places else (said, next(iter(said)))
    del holder[key]
    return f"missing_field: {key}"


def _price(text: str | None) -> Callable[[Any, random.Random], str]:
    """Put `text` in the place of a price; None makes it negative."""

    def change(said: Any, rng: random.Random) -> str:
        places = _prices(said)
        if not places:
            return _wrong_type(said, rng)
        holder, key = rng.choice(places)
        holder[key] = text or f"-{holder[key]}"
        return f"price {key} is {holder[key]}"

    return change


def _moment(years: int) -> Callable[[Any, random.Random], str]:
    """Move every time so far ahead, or to the first seconds of 1970 with 0."""

    def change(said: Any, rng: random.Random) -> str:
        places = _times(said)
        if not places:
            return _wrong_type(said, rng)
        for holder, key in places:
            unit = 1 if holder[key] > _MICROSECONDS_FROM else 1_000
            holder[key] = holder[key] + years // 10 * _DECADE_US // unit if years else 1_000_000 // unit
        holder, key = places[0]
        return f"time {key} is {holder[key]}"

    return change


def _unknown_event(said: Any, rng: random.Random) -> str:
    if "e" not in said:
        return _wrong_type(said, rng)
    said["e"] = "neverHeardOf"
    return "unknown_event: neverHeardOf"


def _unknown_symbol(said: Any, rng: random.Random) -> str:
    if "s" not in said:
        return _wrong_type(said, rng)
    said["s"] = "NOPE"
    if "k" in said:
        said["k"]["s"] = "NOPE"
    return "unknown_symbol: NOPE"


def _other_price(said: Any, rng: random.Random) -> str:
    """Only of what has an id of its own: another candle or book would be taken for the newer one."""
    key = "price" if isinstance(said, dict) and "id" in said else "p"
    if not isinstance(said, dict) or said.get("e") not in {"trade", "aggTrade", None} or key not in said:
        return _price(None)(said, rng)
    whole, _, rest = said[key].partition(".")
    said[key] = f"{int(whole) + 1}.{rest}"
    return f"other_price: {said[key]}"


def _nothing(_: Any, __: random.Random) -> str:
    return ""


_WAYS: Final[dict[Spoiling, Callable[[Any, random.Random], str]]] = {
    "wrong_type": _wrong_type,
    "missing_field": _missing_field,
    "negative_price": _price(None),
    "nan_price": _price("NaN"),
    "infinite_price": _price("Infinity"),
    "future": _moment(10),
    "1970": _moment(0),
    "unknown_event": _unknown_event,
    "unknown_symbol": _unknown_symbol,
    "other_price": _other_price,
    "huge": _nothing,
}


def _prices(said: Any) -> list[Place]:
    """Where a message, a candle's row or a trade's row holds prices."""
    if isinstance(said, list):
        return [(said, index) for index in _ROW_PRICES]
    if isinstance(said.get("k"), dict):
        return [(said["k"], name) for name in "ohlc"]
    sides = [said[name] for name in ("b", "a", "bids", "asks") if isinstance(said.get(name), list)]
    if sides:
        return [(side[0], 0) for side in sides if side]
    if said.get("e") in {"24hrTicker", "24hrMiniTicker"}:
        return [(said, name) for name in "ohlc"]
    names = ("b", "a") if "B" in said else ("p", "price", "lastPrice", "bidPrice", "askPrice")
    return [(said, name) for name in names if isinstance(said.get(name), str)]


def _times(said: Any) -> list[Place]:
    if isinstance(said, list):
        return [(said, 0), (said, 6)]
    if isinstance(said.get("k"), dict):
        return [(said["k"], "t"), (said["k"], "T")]
    names = ("T", "time", "serverTime", "closeTime")
    found = [(said, name) for name in names if isinstance(said.get(name), int)]
    return found or ([(said, "E")] if "E" in said else [])
