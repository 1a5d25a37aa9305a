"""The normalised rows that flow from the exchanges to the database.

Prices and amounts are the exchange's own decimal digits, as text; no float ever holds one. Times are
nanoseconds since the epoch, UTC, truncated to microseconds by the adapter. `side` is the taker's.
Structs are frozen, and built without the garbage collector's book-keeping: they hold no cycles.
"""

from enum import IntEnum
from typing import Literal, get_args

from msgspec import Struct

Channel = Literal[
    "trades", "candles", "book", "quotes", "ticker", "funding", "open_interest", "mark_price", "liquidations"
]
Side = Literal["buy", "sell"]
GapState = Literal["open", "repairing", "repaired", "awaiting_dump", "unrecoverable"]
Promise = Literal["ids", "sequence", "grid", "none"]
"""What shows that a channel is complete: contiguous ids, a sequence, the grid of minutes, or nothing."""
CHANNELS: tuple[Channel, ...] = get_args(Channel)
Timeframe = Literal["1m", "5m", "15m", "30m", "1h", "4h", "1d", "1w"]
"""Of candles, as ccxt writes it."""
TIMEFRAMES: tuple[Timeframe, ...] = get_args(Timeframe)


class CandleSource(IntEnum):
    """Where a candle came from. A higher rank replaces a lower one that says something else."""

    OPEN = 0  # the minute was still running
    TRADES = 10  # made from the trades that the exchange gave, where it gives no candle any more
    STREAM = 20
    REST = 30  # asked for after the close
    DUMP = 40  # the exchange's published files


class Instrument(Struct, frozen=True):
    """One tradable thing at one exchange.

    `symbol` is ccxt's unified name (`BTC/USDT`), `native` the exchange's (`BTCUSDT`). Steps and limits are
    decimal text in units of the quote (price) or base (amount) currency, None where the exchange states none.
    `info` is the exchange's own description, as JSON.
    """

    exchange: str
    symbol: str
    native: str
    kind: str
    base: str
    quote: str
    settle: str | None = None
    price_step: str | None = None
    amount_step: str | None = None
    min_amount: str | None = None
    max_amount: str | None = None
    min_notional: str | None = None
    contract_size: str | None = None
    expiry_ns: int | None = None
    active: bool = True
    info: bytes = b"{}"


class Stream(Struct, frozen=True):
    """One instrument × one channel; the unit that is subscribed, watched and repaired."""

    instrument_id: int
    instrument: Instrument
    channel: Channel

    def __str__(self) -> str:
        return f"{self.instrument.exchange} {self.instrument.symbol} {self.channel}"


class Trade(Struct, frozen=True, gc=False):
    instrument_id: int
    time_ns: int
    trade_id: str
    side: Side | None
    price: str
    amount: str
    received_ns: int


class Candle(Struct, frozen=True, gc=False):
    """One minute. `time_ns` is its open; volumes are in base and quote currency; None where the exchange is silent."""

    instrument_id: int
    time_ns: int
    open: str
    high: str
    low: str
    close: str
    volume: str
    quote_volume: str | None
    trades: int | None
    taker_buy_volume: str | None
    taker_buy_quote_volume: str | None
    source: CandleSource
    received_ns: int


class CoarseCandle(Candle, frozen=True, gc=False, kw_only=True):
    """A longer one, as the exchange itself reports it."""

    timeframe: Timeframe


Levels = tuple[tuple[str, str], ...]
"""(price, amount) pairs, best first."""


class OrderBook(Struct, frozen=True, gc=False):
    """The best levels of a book at one tick of the cadence.

    `time_ns` is the tick, `event_ns` the exchange's time of the last change (None when a REST snapshot was the
    last), `sequence` the exchange's id of the state. `in_sync` is False from a break until the book is rebuilt.
    `checksum_ok` says whether the exchange's checksum of this state is ours, None where it sent none.
    """

    instrument_id: int
    time_ns: int
    event_ns: int | None
    sequence: int | None
    bids: Levels
    asks: Levels
    in_sync: bool
    received_ns: int
    checksum_ok: bool | None = None


class Quote(Struct, frozen=True, gc=False):
    """Best bid and ask. `time_ns` is the time of receipt where the exchange gives none, `sequence` its id."""

    instrument_id: int
    time_ns: int
    sequence: int
    bid: str
    bid_amount: str
    ask: str
    ask_amount: str
    received_ns: int


class Funding(Struct, frozen=True, gc=False):
    """A funding rate, a fraction of the position's value: the one that will be paid at `funding_ns`, as it stands."""

    instrument_id: int
    time_ns: int
    rate: str
    funding_ns: int | None
    received_ns: int


class OpenInterest(Struct, frozen=True, gc=False):
    """Open contracts: `amount` as the venue counts them (base currency or contracts), `value` in quote currency."""

    instrument_id: int
    time_ns: int
    amount: str
    value: str | None
    received_ns: int


class MarkPrice(Struct, frozen=True, gc=False):
    """The price at which positions are valued, and the index behind it."""

    instrument_id: int
    time_ns: int
    mark: str
    index: str | None
    received_ns: int


class Liquidation(Struct, frozen=True, gc=False):
    """A forced order: `side` is that of the order which closes the position (a long one is sold)."""

    instrument_id: int
    time_ns: int
    side: Side
    price: str
    amount: str
    received_ns: int


class Ticker(Struct, frozen=True, gc=False):
    """Latest price and the figures of the last 24 hours; None where the exchange is silent."""

    instrument_id: int
    time_ns: int
    last: str | None
    bid: str | None
    bid_amount: str | None
    ask: str | None
    ask_amount: str | None
    open_24h: str | None
    high_24h: str | None
    low_24h: str | None
    volume_24h: str | None
    quote_volume_24h: str | None
    received_ns: int


class Gap(Struct, frozen=True):
    """An interval of one stream that may be incomplete, by time or by id (both ends inclusive), with its cause.

    It is put when it opens, with no end, and again when its end is known: stream, cause, start and `opened_ns`, when it
    was noticed, name it. `state` is
    `open` for what repair should look at, `repaired` when nothing turned out to be missing, `unrecoverable` where no
    venue can supply it again.
    """

    instrument_id: int
    channel: Channel
    cause: str
    from_ns: int | None = None
    to_ns: int | None = None
    from_id: int | None = None
    to_id: int | None = None
    evidence: str = ""
    state: GapState = "open"
    opened_ns: int = 0


class Mark(Struct, frozen=True):
    """How far a stream is complete: all that came before it was put before it, or is named as a gap.

    `id` is the last contiguous id (of candles: the minute since the epoch), None where ids promise nothing. Up to
    `proved_ns` ids, sequence or grid show that nothing is missing; up to `attested_ns` the stream was subscribed and
    its line alive (both exclusive). Collecting began at `began_ns`.
    """

    instrument_id: int
    channel: Channel
    id: int | None
    proved_ns: int
    attested_ns: int
    began_ns: int


class Progress(Struct, frozen=True):
    """How far a stream is complete: its watermark, and the gap that was open when it was last heard of."""

    id: int | None
    time_ns: int
    gap: Gap | None = None


class Reject(Struct, frozen=True):
    """Input that could not be stored: what it was, why, and the raw bytes."""

    exchange: str
    stream: str
    reason: str
    payload: bytes
    received_ns: int


Figure = Funding | OpenInterest | MarkPrice | Liquidation
"""What derivatives have beside trades and books."""

Row = Trade | Candle | OrderBook | Quote | Ticker | Figure
"""What a table of market data holds."""

CHANNEL_OF: dict[type, Channel] = {
    Trade: "trades",
    Candle: "candles",
    OrderBook: "book",
    Quote: "quotes",
    Ticker: "ticker",
    Funding: "funding",
    OpenInterest: "open_interest",
    MarkPrice: "mark_price",
    Liquidation: "liquidations",
}
"""The channel that brings a kind of row."""

Record = Row | Reject
"""What a batch's table holds."""

Item = Record | Gap | Mark
"""What collectors put into the pipeline."""


class BookDelta(Struct, frozen=True, gc=False):
    """Changed levels with their absolute amounts; an amount of zero removes the level.

    `first` and `last` are the ids of the changes it holds, `previous` the id it follows where the venue says so,
    `checksum` that of the book after them.
    """

    instrument_id: int
    first: int
    last: int
    previous: int | None
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]
    event_ns: int
    received_ns: int
    checksum: int | None = None


class BookState(Struct, frozen=True, gc=False):
    """A whole book (or its best `limit` levels a side) at one sequence, as REST or a snapshot frame gives it.

    A `streamed` one is in line with the deltas of its connection: they go on from it. `limit` is None where what lies
    beyond is not hidden, but sent when it comes near: the book's depth is the venue's business.
    """

    instrument_id: int
    sequence: int
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]
    limit: int | None
    received_ns: int
    streamed: bool = False
    event_ns: int | None = None
    checksum: int | None = None
