"""What one viewer chose to see: candles, order book and trades of one instrument."""

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct
from psycopg import AsyncConnection, DataError, errors

from ingest.store.sqlfiles import query

CANDLES = 160
LEVELS = 12
TRADES = 30
_SECONDS_OF_TRADES = 900
"""How far back candles go that are made from trades: as many rows as a venue's busy minutes hold."""
_ALL_AGAIN_ROUNDS = 60  # what repair brought into older candles is seen a minute later

_Name = Annotated[str, Meta(min_length=1, max_length=100)]


class Choice(Struct, frozen=True, forbid_unknown_fields=True):
    """What the browser asks for: an instrument by exchange and unified symbol, and the length of a candle."""

    exchange: _Name
    symbol: _Name
    seconds: Annotated[int, Meta(ge=1, le=31 * 86_400)]


class Candle(Struct, frozen=True, array_like=True):
    """`time_seconds` is its open, since the epoch; the others are the stored digits."""

    time_seconds: float
    open: str
    high: str
    low: str
    close: str
    volume: str
    trades: int | None


class Trade(Struct, frozen=True, array_like=True):
    """`side` is the taker's; None where the venue does not say."""

    time_seconds: float
    side: str | None
    price: str
    amount: str


class Book(Struct, frozen=True):
    """The latest snapshot, from the best prices outwards."""

    time: datetime
    bid_prices: list[str]
    bid_amounts: list[str]
    ask_prices: list[str]
    ask_amounts: list[str]
    spread: str | None
    in_sync: bool


class Instrument(Struct, frozen=True):
    base: str | None
    quote: str | None
    kind: str
    price_step: str | None
    active: bool


class Market(Struct, frozen=True):
    """`choice` says what it is about. `error`, a sentence, stands in place of what could not be had."""

    choice: Choice
    instrument: Instrument | None = None
    candles: list[Candle] = []
    book: Book | None = None
    trades: list[Trade] = []
    error: str | None = None


class View:
    """One choice, looked at each second: candles that are closed and known are not read again each time."""

    def __init__(self, choice: Choice) -> None:
        self.choice = choice
        self._candles: dict[float, Candle] = {}
        self._rounds = 0
        length = choice.seconds
        self._count = CANDLES if length % 60 == 0 else max(10, min(CANDLES, _SECONDS_OF_TRADES // length))

    async def look(self, connection: AsyncConnection) -> Market:
        """What there is. An instrument that nobody knows and a query that takes too long are told in `error`.

        Raises psycopg's other errors: the connection or the server is to blame.
        """
        try:
            return await self._look(connection)
        except errors.QueryCanceled:
            self._candles.clear()
            return Market(self.choice, error="The database took too long for this chart. Choose a longer interval.")
        except DataError as error:
            parts = [error.diag.message_primary, error.diag.message_hint]
            return Market(self.choice, error=". ".join(part for part in parts if part))

    async def _look(self, connection: AsyncConnection) -> Market:
        names = {"exchange": self.choice.exchange, "symbol": self.choice.symbol}
        found = await (await connection.execute(query("page_instrument"), names)).fetchall()
        instrument = Instrument(*found[0]) if found else None
        candles = await self._look_at_candles(connection)
        books = await (await connection.execute(query("page_book"), {**names, "levels": LEVELS})).fetchall()
        trades = await (await connection.execute(query("page_trades"), {**names, "count": TRADES})).fetchall()
        book = Book(*books[0]) if books else None
        return Market(self.choice, instrument, candles, book, [Trade(*row) for row in trades])

    async def _look_at_candles(self, connection: AsyncConnection) -> list[Candle]:
        """The last ones by time; those before the last two are those of an earlier look."""
        if self._rounds % _ALL_AGAIN_ROUNDS == 0:
            self._candles.clear()
        self._rounds += 1
        known = sorted(self._candles)
        values = {
            "exchange": self.choice.exchange,
            "symbol": self.choice.symbol,
            "seconds": self.choice.seconds,
            "count": self._count,
            "since": known[-2:][0] if known else 0.0,
        }
        for row in await (await connection.execute(query("page_candles"), values)).fetchall():
            self._candles[row[0]] = Candle(*row)
        self._candles = {time: self._candles[time] for time in sorted(self._candles)[-self._count :]}
        return [*self._candles.values()]
