"""What can go wrong at the venue: every kind of fault as a frozen struct with its own fields.

Faults change what clients are told, never what the market did; `Burst` alone is the market's own.
"""

from difflib import get_close_matches
from typing import Annotated, Any, ClassVar, Final, Literal

import msgspec
from msgspec import Meta, Struct

Place = Literal["message", "stall", "subscribe", "handshake", "venue", "call", "memory"]
"""Where a fault acts: on a message, on what leaves, on a subscription, on a handshake, on the whole venue, on a REST
call, on what REST remembers."""

Spoiling = Literal[
    "any", "truncated", "wrong_type", "missing_field", "negative_price", "nan_price", "infinite_price", "future",
    "1970", "unknown_event", "unknown_symbol", "other_price", "huge",
]  # fmt: skip
Until = Literal["resubscribe", "reconnect", "ever"]
Endpoint = Literal[
    "", "ping", "time", "exchangeInfo", "depth", "klines", "uiKlines", "trades", "historicalTrades", "aggTrades",
    "ticker/24hr", "ticker/price", "ticker/bookTicker",
]  # fmt: skip
Count = Annotated[int, Meta(ge=0)]
Id = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Seconds = Annotated[float, Meta(ge=0, le=31_536_000)]
Lasting = Annotated[float, Meta(gt=0, le=31_536_000)]
Share = Annotated[float, Meta(ge=0, le=1)]
Status = Annotated[int, Meta(ge=400, le=599)]


def _tag(name: str) -> str:
    """`RestError` is `rest_error`."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


class Fault(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag=_tag):
    """In force from `at_us` of the market's time (0: at once), after so many matching messages or calls went well.

    It ends with `count` acts or after `seconds`, whichever comes first; with neither it acts once, or where `lasting`
    is set, until it is lifted. `symbol`, by either name, narrows it to one instrument.
    """

    place: ClassVar[Place] = "venue"
    lasting: ClassVar[bool] = False
    unused: ClassVar[tuple[str, ...]] = ()  # fields of this class that mean nothing to the kind

    symbol: str = ""
    after: Count = 0
    at_us: Count = 0
    count: Count = 0
    seconds: Seconds = 0.0


class StreamFault(Fault, frozen=True, kw_only=True):
    """`stream` is a whole name (`btcusdt@trade`), or what follows the @ (`trade`) for every instrument's."""

    place: ClassVar[Place] = "message"
    stream: str = ""


class RestFault(Fault, frozen=True, kw_only=True):
    """`path` is an endpoint's name below `/api/v3/`; empty for all."""

    place: ClassVar[Place] = "call"
    path: Endpoint = ""


# A websocket's connection


class Drop(StreamFault, frozen=True):
    """End the connection at a message, which is lost: a close frame, a TCP reset, silence with the line left open, or
    the half of the message's frame and then the end of the line.
    """

    how: Literal["close", "abort", "half_open", "mid_frame"] = "close"
    code: Annotated[int, Meta(ge=1000, le=4999)] = 1001
    reason: Annotated[str, Meta(max_length=100)] = "going away"


class Refuse(StreamFault, frozen=True):
    """Answer a handshake with an error; status 0 closes the line without an answer. `retry_after` of seconds: by
    default what is left of the fault for 429 and 418, else none. Only streams named in the address are matched.
    """

    place: ClassVar[Place] = "handshake"
    status: Literal[0, 400, 403, 418, 429, 500, 502, 503, 504] = 503
    retry_after: Count | None = None


class Unreachable(Fault, frozen=True):
    """Listen no more, REST and control included, for `seconds`; connections that stand go on."""

    unused: ClassVar[tuple[str, ...]] = ("symbol", "after", "count")
    seconds: Lasting = 5.0


# Each message of a websocket


class Repeat(StreamFault, frozen=True):
    """Send a message `times` more, at once or each `ms` later than the one before."""

    times: Annotated[int, Meta(ge=1, le=10_000)] = 1
    ms: Count = 0


class Reorder(StreamFault, frozen=True):
    """Hold a message back for `ms`; with 0 until the stream's next one has gone, at most a second."""

    ms: Count = 0


class Skip(StreamFault, frozen=True):
    """Lose messages, each with this probability."""

    probability: Share = 1.0


class Malformed(StreamFault, frozen=True):
    """Send a spoilt copy of a message after it, or `instead` of it. `any` draws one; `size` is that of `huge`."""

    what: Spoiling = "any"
    instead: bool = False
    size: Annotated[int, Meta(ge=1, le=100_000_000)] = 10_000_000


class Stall(StreamFault, frozen=True):
    """Send nothing for `seconds`, then all of it, in order. Without symbol and stream answers to commands wait too."""

    place: ClassVar[Place] = "stall"
    unused: ClassVar[tuple[str, ...]] = ("count",)
    seconds: Lasting = 5.0


# A websocket's subscriptions


class Mute(StreamFault, frozen=True):
    """Acknowledge a subscription and send nothing for it, until the client asks again on this connection, or on a new
    one, or never.
    """

    place: ClassVar[Place] = "subscribe"
    until: Until = "reconnect"


class Lapse(StreamFault, frozen=True):
    """Forget a subscription at one of its messages, without a word, until the same as `Mute`."""

    until: Until = "resubscribe"


class NoAck(StreamFault, frozen=True):
    """Never answer a SUBSCRIBE; `subscribed` says whether its streams come all the same."""

    place: ClassVar[Place] = "subscribe"
    subscribed: bool = False


# The venue as a whole


class Burst(Fault, frozen=True):
    """Let one instrument make that many trades in the next step. The ledger holds them: the market is another."""

    unused: ClassVar[tuple[str, ...]] = ("after", "count", "seconds")
    trades: Annotated[int, Meta(ge=1, le=1_000_000)] = 40_000


class ClockJump(Fault, frozen=True):
    """Add `ms` to the time that is told: `Date`, `serverTime` and the `E` of events. Times of trades and candles are
    the market's, and stay.
    """

    lasting: ClassVar[bool] = True
    unused: ClassVar[tuple[str, ...]] = ("symbol", "after", "count")
    ms: int = 5_000


# Calls by REST


class RestError(RestFault, frozen=True):
    """Refuse a call. `retry_after` as in `Refuse`."""

    status: Status = 503
    retry_after: Count | None = None


class RestSilent(RestFault, frozen=True):
    """Answer a call only after `wait_seconds`, as things are then."""

    wait_seconds: Seconds = 30.0


class RestTruncated(RestFault, frozen=True):
    """A whole reply, whose body ends after this share of its text."""

    keep: Share = 0.5


class RestCut(RestFault, frozen=True):
    """End the connection after this share of the body."""

    keep: Share = 0.5


class RestMalformed(RestFault, frozen=True):
    """Add a spoilt copy of a row after it, or put it `instead`. In replies that are no list, that one is spoilt."""

    what: Spoiling = "any"
    instead: bool = False


class RestEmpty(RestFault, frozen=True):
    """An empty list, where the reply is a list."""


class StaleDepth(Fault, frozen=True):
    """The book as it was `behind` changes ago, not before the start."""

    place: ClassVar[Place] = "memory"
    behind: Annotated[int, Meta(ge=1)] = 100


class LaggingHistory(Fault, frozen=True):
    """Trades, aggregates and candles only up to so long or so many trades ago; candles only closed ones."""

    place: ClassVar[Place] = "memory"
    lasting: ClassVar[bool] = True
    lag_seconds: Seconds = 0.0
    lag_trades: Count = 0


class ForgottenHistory(Fault, frozen=True):
    """Trades and aggregates without those before an id or time, and without [from_id, to_id]; candles without those
    that open before `before_us`. What is asked from a hole is answered from after it.
    """

    place: ClassVar[Place] = "memory"
    lasting: ClassVar[bool] = True
    before_id: Id = 0
    before_us: Count = 0
    from_id: Id = 0
    to_id: Id = 0


KINDS: Final[dict[str, type[Fault]]] = {
    str(kind.__struct_config__.tag): kind
    for kind in (
        Drop, Refuse, Unreachable, Repeat, Reorder, Skip, Malformed, Stall, Mute, Lapse, NoAck, Burst, ClockJump,
        RestError, RestSilent, RestTruncated, RestCut, RestMalformed, RestEmpty, StaleDepth, LaggingHistory,
        ForgottenHistory,
    )
}  # fmt: skip


def fields(kind: type[Fault]) -> list[str]:
    """What may be said of a kind, its own fields first."""
    own = [name for name in kind.__struct_fields__ if name not in Fault.__struct_fields__]
    return own + [name for name in Fault.__struct_fields__ if name not in kind.unused]


def read_fault(body: bytes) -> Fault:
    """A fault from JSON. Raises `ValueError` that names the wrong word and the nearest right one."""
    try:
        said: Any = msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(said, dict) or not isinstance(said.get("kind"), str):
        known = ", ".join(KINDS)
        raise ValueError(f'a fault is an object with a "kind": one of {known}')  # noqa: TRY004 - said, not passed
    kind = KINDS.get(said["kind"])
    if kind is None:
        raise ValueError(f"unknown kind {said['kind']!r}; {nearest(said['kind'], list(KINDS))}")
    for name in said:
        if name != "kind" and name not in fields(kind):
            raise ValueError(f"{said['kind']} has no field {name!r}; {nearest(name, fields(kind))}")
    try:
        return msgspec.convert(said, kind)
    except msgspec.ValidationError as error:
        raise ValueError(f"{said['kind']}: {error}") from None


def nearest(word: str, known: list[str]) -> str:
    """`did you mean …?`, or all that there are."""
    near = get_close_matches(word, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
