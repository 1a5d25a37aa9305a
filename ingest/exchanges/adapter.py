"""What an exchange adapter must do, and what it may say.

An adapter is a pure translator: values in, values out; no socket, no clock, no database. One instance serves
one connection, so it may remember what its connection has seen. `collect/` owns everything that waits.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from ingest.records import (
    BookDelta,
    BookState,
    Candle,
    CandleSource,
    Channel,
    Instrument,
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
    trades_page: int = 1000  # rows that one REST call gives at most
    candles_page: int = 1000
    daily_dumps: bool = False  # it publishes a file of each day, which holds what REST no longer does


class Ack(Struct, frozen=True):
    """The venue's answer to a subscription: `error` is None when it was accepted."""

    request_id: int
    error: str | None = None


class Ignored(Struct, frozen=True):
    """A frame that is understood and not stored, with the reason, which is a short constant."""

    reason: str


class Shutdown(Struct, frozen=True):
    """The venue is about to close this connection; open the next one now."""


Event = Trade | Candle | Quote | Ticker | Reject | BookDelta | BookState | Ack | Ignored | Shutdown


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


class Bad(Struct, frozen=True):
    """One row of a REST reply that cannot be used, with the reason; the other rows are good."""

    reason: str
    payload: bytes


class Options(Struct, frozen=True):
    """How an adapter is asked to work; None means the venue's own hosts."""

    rest_url: str | None = None
    ws_url: str | None = None
    trade_stream: str = "trade"
    include_open_candles: bool = False


class Adapter(Protocol):
    """The contract of `ingest/exchanges/*.py`."""

    exchange: str
    limits: Limits
    promises: Mapping[Channel, Promise]  # what shows that a channel is complete

    def id_space(self, channel: Channel) -> str:
        """Name what this channel's ids count (`trade`, `aggTrade`): two spaces are never stored under one stream."""

    def url(self, streams: Sequence[Stream]) -> str:
        """Where to connect for these streams."""

    def subscribe(self, streams: Sequence[Stream], first_request_id: int) -> list[Subscription]:
        """Frames that subscribe to `streams`, numbered upwards from `first_request_id`."""

    def decode(self, frame: bytes, received_ns: int) -> Sequence[Event]:
        """Translate one frame. Raises `Rejected` for a shape or a value that it does not know."""

    def stream_of(self, frame: bytes) -> tuple[int, Channel] | None:
        """Whose frame this is, as far as one that cannot be decoded still tells: (instrument id, channel)."""

    def follows(self, sequence: int, delta: BookDelta) -> bool | None:
        """True when `delta` continues the book at `sequence`, None when the book has it already, False at a break."""

    def book_request(self, instrument: Instrument, depth: int) -> Request:
        """The REST call for a snapshot several times deeper than `depth` levels a side."""

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

    def latest_trade_request(self, instrument: Instrument) -> Request:
        """The cheapest REST call that tells the id of the latest trade."""

    def decode_latest_trade(self, body: bytes) -> int | None:
        """Its reply: the id, None where nothing was ever traded."""

    def trades_request(self, instrument: Instrument, *, from_id: int, limit: int) -> Request:
        """The REST call for `limit` trades upwards from `from_id`."""

    def decode_trades(self, body: bytes, instrument_id: int, received_ns: int) -> tuple[list[Trade], list[Bad]]: ...
