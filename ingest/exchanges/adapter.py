"""What an exchange adapter must do, and what it may say.

An adapter is a pure translator: values in, values out; no socket, no clock, no database. One instance serves
one connection, so it may remember what its connection has seen. `collect/` owns everything that waits.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Literal, Protocol

from msgspec import Struct

from ingest.records import (
    BookDelta,
    BookState,
    Candle,
    CandleSource,
    Channel,
    Figure,
    Instrument,
    Levels,
    Promise,
    Quote,
    Reject,
    Stream,
    Ticker,
    Trade,
)


class Limits(Struct, frozen=True):
    """The venue's own limits, from its documentation; the collector stays inside them."""

    streams_per_connection: int
    messages_per_second: float
    connections_per_window: int
    connection_window_seconds: float
    connection_lifetime_seconds: float
    weight_per_minute: int
    burst: float | None = None  # of it so much may be used at once; None: a sixth of a minute's
    trades_page: int = 1000  # rows that one REST call gives at most
    candles_page: int = 1000
    candles_kept: int | None = None  # of each length REST has so many of the latest; None: all since the listing
    daily_dumps: Collection[str] = ()  # kinds of which a file of each day has what REST no longer has, by the same ids


class Ping(Struct, frozen=True):
    """What a venue wants to be sent by its clients, beside the protocol's own pings, and how often."""

    frame: str
    seconds: float


class BookRule(Struct, frozen=True):
    """How a venue's books are kept.

    `snapshot` tells where a whole book comes from: asked for by REST, or sent by the stream when it is subscribed.
    `keep` is how many levels a side the venue speaks of: what falls out below is not taken back by it, so that the
    book must drop it; None where the venue deletes what it does not speak of any more. `checksum`, of the best
    `checksum_levels` (bids, asks), is compared with that of each message that has one.
    """

    snapshot: Literal["rest", "stream"] = "rest"
    keep: int | None = None
    checksum: Callable[[Levels, Levels], int] | None = None
    checksum_levels: int = 0


class History(Struct, frozen=True):
    """How REST gives past trades: a page is asked for `by` a bound. Of ids it runs upwards from the lower one or
    downwards from the upper one, of times upwards; or it is always the latest trades, whatever is asked (`recent`).
    """

    by: Literal["id", "time", "recent"] = "id"
    upwards: bool = True


class Refusal(Struct, frozen=True):
    """How a venue refuses one stream for good: `words` captures what it calls it, which is `Adapter.topic`.

    Where it is `whole`, all that was asked for in the same request is refused with it, and can be had by another one.
    """

    words: re.Pattern[str]
    whole: bool = False

    def topics(self, said: str) -> set[str]:
        """What these words refuse; nothing where they speak of something else."""
        return set(self.words.findall(said))


class Ack(Struct, frozen=True):
    """The venue's answer to a subscription: `error` is None when all of it was accepted that was not refused before.

    An error that names streams as `Adapter.refuses` says refuses those alone; any other one the whole connection.
    """

    request_id: int
    error: str | None = None


class Ignored(Struct, frozen=True):
    """A frame that is understood and not stored, with the reason, which is a short constant."""

    reason: str


class Shutdown(Struct, frozen=True):
    """The venue is about to close this connection; open the next one now."""


class Skipped(Struct, frozen=True):
    """Something of a stream between two times was not seen, and its numbers cannot tell: a gap, with its reason."""

    instrument_id: int
    channel: Channel
    from_ns: int
    to_ns: int
    reason: str


class Bad(Struct, frozen=True):
    """One row that cannot be used, with the reason; the other rows are good.

    `payload` is that row of a REST reply; as an event of `decode`, a frame that holds it alone.
    """

    reason: str
    payload: bytes


Event = (
    Trade | Candle | Quote | Ticker | Figure | Reject | BookDelta | BookState | Skipped | Ack | Bad | Ignored | Shutdown
)


class Subscription(Struct, frozen=True):
    """A frame to send, and the id by which its `Ack` will be known."""

    request_id: int
    frame: str
    streams: tuple[Stream, ...]


class Request(Struct, frozen=True):
    """A REST call: what `fetch` sends and what it costs in the venue's units of weight."""

    url: str
    weight: int
    headers: tuple[tuple[str, str], ...] = ()


class Options(Struct, frozen=True):
    """How an adapter is asked to work; None means the venue's own hosts."""

    rest_url: str | None = None
    ws_url: str | None = None
    trade_stream: str = "trade"
    include_open_candles: bool = False
    book_depth: int = 20


class Adapter(Protocol):
    """The contract of `ingest/exchanges/*.py`, which inherit it for what most venues have in common.

    Decoding is called for each frame of a connection in order; everything else may be asked of any instance.
    """

    exchange: str
    kinds: tuple[str, ...] = ("spot",)  # of instruments that it translates
    limits: Limits
    promises: Mapping[Channel, Promise]  # what shows that a channel is complete
    ping: Ping | None = None
    books: BookRule = BookRule()
    history: History = History()
    refuses: Refusal | None = None  # None where it does not say which stream it refuses

    def __init__(self, instrument_ids: Mapping[str, int], options: Options) -> None:
        """`instrument_ids` by `key`; a frame of any other symbol is rejected. It may grow."""

    @staticmethod
    def key(instrument: Instrument) -> str:
        """What `instrument_ids` calls it: the native symbol, unless two kinds of instruments share it."""
        return instrument.native

    def channels(self, instrument: Instrument) -> Collection[Channel]:
        """What it offers of this instrument: nothing, where it is of a kind that is listed and not translated."""

    def polled(self, instrument: Instrument) -> Mapping[Channel, float]:
        """Channels that no stream brings, with the seconds between two REST calls; of candles: after their close."""
        return {}

    def group(self, stream: Stream) -> str:
        """Streams of two groups never share a connection: the venue serves them at different addresses."""
        return ""

    def id_space(self, channel: Channel) -> str:
        """Name what this channel's ids count (`trade`, `aggTrade`): two spaces are never stored under one stream."""

    def url(self, streams: Sequence[Stream]) -> str:
        """Where to connect for these streams."""

    def subscribe(self, streams: Sequence[Stream], first_request_id: int) -> list[Subscription]:
        """Frames that subscribe to `streams`, numbered upwards from `first_request_id`."""

    def topic(self, stream: Stream) -> str:
        """What the venue calls this stream where it refuses it; several may share a topic."""
        return stream.instrument.native

    def resubscribe(self, stream: Stream, first_request_id: int) -> list[Subscription]:
        """Frames that end one subscription of a living connection and begin it anew, so that its book is sent whole.

        Empty where the venue cannot: another connection is made instead.
        """
        return []

    def recorded(self, said: str) -> None:
        """A recording's connection was opened at this address, or this frame was sent on it.

        In place of `url` and `subscribe`, for venues whose frames do not tell all that `decode` must know.
        """
        return

    def decode(self, frame: bytes, received_ns: int) -> Sequence[Event]:
        """Translate one frame. Raises `Rejected` for a shape or a value that it does not know.

        Of a frame of several rows each bad one is a `Bad`, where others are good.
        """

    def stream_of(self, frame: bytes) -> tuple[int, Channel] | None:
        """Whose frame this is, as far as one that cannot be decoded still tells: (instrument id, channel)."""

    def follows(self, sequence: int, delta: BookDelta) -> bool | None:
        """True when `delta` continues the book at `sequence`, None when the book has it already, False at a break."""

    def book_request(self, instrument: Instrument, depth: int) -> Request:
        """The REST call for a snapshot several times deeper than `depth` levels a side.

        Also asked of venues whose stream sends books, to see whether a quiet one should be.
        """

    def decode_book(self, body: bytes, instrument_id: int, depth: int, received_ns: int) -> BookState:
        """The reply to `book_request` with the same depth."""

    def candles_request(self, instrument: Instrument, *, start_ns: int | None, limit: int) -> Request:
        """The REST call for one-minute candles: `limit` of them from `start_ns`, or the latest."""

    def decode_candles(
        self, body: bytes, instrument_id: int, received_ns: int, source: CandleSource, *, as_of_ns: int
    ) -> tuple[list[Candle], list[Bad]]:
        """The closed candles of a reply. `as_of_ns` is the venue's own time: what ends later is still open."""

    def decode_reply(self, url: str, body: bytes, received_ns: int) -> Sequence[Event]:
        """What a REST reply holds, told from its URL: for recordings, where the request is long gone."""

    def rows(self, records: Sequence[Trade | Candle], bad: Sequence[Bad], received_ns: int) -> list[Event]:
        """What `decode_reply` makes of the rows of a reply, and of those of them that cannot be used."""
        return [*records, *(Reject(self.exchange, "", row.reason, row.payload, received_ns) for row in bad)]

    def tells_latest(self, stream: Stream) -> bool:
        """Whether REST shows if a stream that is quiet should be: by the latest trade's id, or the book's sequence."""
        if stream.channel == "trades":
            return self.latest_trade_request(stream.instrument) is not None
        return stream.channel in ("book", "quotes") and self.books.snapshot == "rest"

    def poll_request(self, stream: Stream) -> Request:
        """The REST call for what a polled channel (other than candles) shows now."""
        raise LookupError(f"{self.exchange} polls no {stream.channel}")

    def decode_poll(self, stream: Stream, body: bytes, received_ns: int) -> Sequence[Event]:
        """The reply to `poll_request`. Raises `Rejected`."""
        raise LookupError(f"{self.exchange} polls no {stream.channel}")

    def latest_trade_request(self, instrument: Instrument) -> Request | None:
        """The cheapest REST call that tells the id of the latest trade; None where ids promise nothing."""

    def decode_latest_trade(self, body: bytes) -> int | None:
        """Its reply: the id, None where nothing was ever traded."""

    def trades_request(self, instrument: Instrument, *, start: int | None, end: int | None, limit: int) -> Request:
        """The REST call for `limit` trades between two bounds, both inclusive, as `history` says: ids, or times in ns.

        Of a venue that pages upwards `start` is given, of one that pages downwards `end`; the other one may be.
        """

    def decode_trades(self, body: bytes, instrument_id: int, received_ns: int) -> tuple[list[Trade], list[Bad]]:
        """The trades of a reply to `trades_request`, oldest first."""
