"""The truth of everything that the venue sent, or would have sent: the same whether a client listened or not.

Trades since the start with their ids, every candle, and the book at any update id. Rows leave it as the text that
was sent, so that a comparison with the tables is one of strings.
"""

from collections.abc import Iterable, Iterator

from msgspec import Struct

from ingest.simulator.candles import MINUTE_US, following, opening
from ingest.simulator.listing import Listing
from ingest.simulator.market import Batch, Market
from ingest.simulator.tape import Tape
from ingest.simulator.trail import Trail


class LedgerTrade(Struct, frozen=True):
    """A trade as it was sent; `side` is the taker's."""

    time_us: int
    id: int
    side: str
    price: str
    amount: str


class LedgerCandle(Struct, frozen=True):
    open_time_us: int
    open: str
    high: str
    low: str
    close: str
    volume: str
    quote_volume: str
    trades: int
    taker_buy_volume: str
    taker_buy_quote_volume: str
    first_id: int
    last_id: int


class LedgerBook(Struct, frozen=True):
    """The best levels at one update id, as (price, amount), best first."""

    sequence: int
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]


class LedgerSymbol(Struct, frozen=True):
    """`first_trade_id` is the first since the start; `last_trade_id` is below it while there is none."""

    symbol: str
    unified: str
    trades: int
    first_trade_id: int
    last_trade_id: int
    first_history_id: int
    history_start_us: int
    closed_minutes: int
    first_sequence: int
    last_sequence: int


class Summary(Struct, frozen=True):
    started_at_us: int
    now_us: int
    trades: int
    paused: bool
    symbols: list[LedgerSymbol]


class Ledger:
    """One tape and one trail an instrument, in the order of the listings."""

    def __init__(self, listings: tuple[Listing, ...], tapes: tuple[Tape, ...], market: Market) -> None:
        self.listings = listings
        self.tapes = tapes
        self.trails = tuple(Trail(pit.book.sequence, pit.book.levels) for pit in market.pits)
        self.started_at_us = self.now_us = market.time_us
        self._index = {listing.native: index for index, listing in enumerate(listings)}
        self._index |= {listing.symbol: index for index, listing in enumerate(listings)}
        self._minute_end_us = opening("1m", self.now_us) + MINUTE_US

    def index(self, symbol: str) -> int:
        """Where an instrument stands, by either name. Raises `KeyError` for one that is not listed."""
        return self._index[symbol]

    def record(self, batches: Iterable[Batch]) -> None:
        """Keep what one step brought."""
        for batch in batches:
            self.tapes[batch.index].record(batch)
            self.trails[batch.index].record(batch)

    def advance(self, time_us: int) -> list[int]:
        """Bring the time forward; returns the opening times of the minutes that closed by it."""
        self.now_us = time_us
        closed = []
        while time_us >= self._minute_end_us:
            closed.append(self._minute_end_us - MINUTE_US)
            self._minute_end_us += MINUTE_US
        if closed:
            for tape in self.tapes:
                tape.advance(time_us)
        return closed

    def trades(self, symbol: str, from_id: int | None = None, to_id: int | None = None) -> Iterator[LedgerTrade]:
        """Trades by id, both ends inclusive; by default all since the start. Ids of the history may be asked too."""
        tape = self.tapes[self.index(symbol)]
        price, amount = tape.listing.price, tape.listing.amount
        first = tape.first_live_id if from_id is None else from_id
        end = tape.next_id if to_id is None else to_id + 1
        for trade in tape.trades(first, end):
            side = "sell" if trade.maker else "buy"
            yield LedgerTrade(trade.time_us, trade.id, side, price(trade.price), amount(trade.lots))

    def candles(
        self, symbol: str, interval: str = "1m", start_us: int | None = None, end_us: int | None = None
    ) -> Iterator[LedgerCandle]:
        """Closed candles that open in [start_us, end_us); by default those that closed since the start."""
        tape = self.tapes[self.index(symbol)]
        listing = tape.listing
        first = opening(interval, self.started_at_us) if start_us is None else start_us
        at = opening(interval, max(first, tape.history.start_us))
        if at < first:
            at = following(interval, at)
        while following(interval, at) <= self.now_us and (end_us is None or at < end_us):
            candle = tape.candle(interval, at)
            yield LedgerCandle(
                at,
                listing.price(candle.open),
                listing.price(candle.high),
                listing.price(candle.low),
                listing.price(candle.close),
                listing.amount(candle.lots),
                listing.value(candle.quote),
                candle.trades,
                listing.amount(candle.buy_lots),
                listing.value(candle.buy_quote),
                candle.first_id,
                candle.last_id,
            )
            at = following(interval, at)

    def books(self, symbol: str, sequences: list[int], depth: int) -> list[LedgerBook]:
        """The book's best levels at each update id. Raises `ValueError` for an id that it never had."""
        index = self.index(symbol)
        price, amount = self.listings[index].price, self.listings[index].amount
        return [
            LedgerBook(
                state.sequence,
                [(price(ticks), amount(lots)) for ticks, lots in state.bids],
                [(price(ticks), amount(lots)) for ticks, lots in state.asks],
            )
            for state in self.trails[index].states(sequences, depth)
        ]

    def summary(self, *, paused: bool = False) -> Summary:
        symbols = [
            LedgerSymbol(
                symbol=tape.listing.native,
                unified=tape.listing.symbol,
                trades=tape.next_id - tape.first_live_id,
                first_trade_id=tape.first_live_id,
                last_trade_id=tape.next_id - 1,
                first_history_id=1,
                history_start_us=tape.history.start_us,
                closed_minutes=(self._minute_end_us - opening("1m", self.started_at_us)) // MINUTE_US - 1,
                first_sequence=trail.base,
                last_sequence=trail.sequence,
            )
            for tape, trail in zip(self.tapes, self.trails, strict=True)
        ]
        total = sum(symbol.trades for symbol in symbols)
        return Summary(self.started_at_us, self.now_us, total, paused, symbols)
