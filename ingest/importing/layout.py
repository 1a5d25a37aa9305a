"""What the columns of a file are: the layouts of the exchanges' public files, and the shape that a mapping fills.

Pages that state the columns:

- Binance: https://github.com/binance/binance-public-data (headers stand in futures' files and not in spot's; spot's
  times are microseconds from 2025 on, milliseconds before; futures' are milliseconds)
- Bybit: https://public.bybit.com/trading (linear; times in seconds with a fraction, `trdMatchID` is the stream's trade
  id) and https://public.bybit.com/spot (times in milliseconds; `id` counts the file's rows from 1; since 2025 lines
  end with `rpi`, which the header of daily files names, and that of monthly ones does not)
- Tardis: https://docs.tardis.dev/downloadable-csv-files/data-types (microseconds)
"""

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct

from ingest.clock import MICROSECOND, MILLISECOND
from ingest.errors import ConfigError
from ingest.records import Candle, OrderBook, Row, Side, Trade

ImportChannel = Literal["trades", "candles", "book"]
Unit = Literal["s", "ms", "us", "ns", "ms or us", "iso"]
"""Of times: `s` may have a fraction, `ms or us` is told apart by size, `iso` is text such as 2024-01-01T00:00:00Z."""

KIND: Mapping[ImportChannel, type[Row]] = {"trades": Trade, "candles": Candle, "book": OrderBook}
FIELDS: Mapping[ImportChannel, tuple[str, ...]] = {
    "trades": ("time", "id", "side", "price", "amount"),
    "candles": (
        *("time", "open", "high", "low", "close", "volume", "quote_volume", "trades"),
        *("taker_buy_volume", "taker_buy_quote_volume"),
    ),
    "book": ("time",),
}
REQUIRED: Mapping[ImportChannel, tuple[str, ...]] = {
    "trades": ("time", "id", "price", "amount"),
    "candles": ("time", "open", "high", "low", "close", "volume"),
    "book": ("time",),
}

_MAKER: Mapping[str, Side] = {"True": "sell", "true": "sell", "False": "buy", "false": "buy"}
_SIDE: Mapping[str, Side | None] = {"Buy": "buy", "Sell": "sell", "buy": "buy", "sell": "sell", "unknown": None}
_LEVEL = re.compile(r"(asks|bids)\[(\d+)\]\.(price|amount)")


class Layout(Struct, frozen=True):
    """What the columns of a file are.

    `columns` names, by field of the record, the file's column. `names` are the columns of a file without a header,
    in order; empty: it always has one. `sides` tells what the words of the side column mean (None: not said),
    `grain_ns` the one resolution that the venue's trades have, whatever their source. `symbol` is a column that must
    hold the instrument's native name. `id_space` is what trade ids count (None: what the exchange's stream counts);
    `ids_follow` says that ids, or minutes, follow each other without a hole, `numbered` that ids number the rows of a
    file. `kinds` are the kinds of instrument that such files are about, `levels` how deep a book is.
    """

    name: str
    channel: ImportChannel
    columns: Mapping[str, str]
    unit: Unit
    names: tuple[str, ...] = ()
    sides: Mapping[str, Side | None] = {}
    grain_ns: int = MICROSECOND
    symbol: str | None = None
    id_space: str | None = None
    ids_follow: bool = False
    numbered: bool = False
    kinds: tuple[str, ...] = ()
    delimiter: str = ","
    levels: int = 0

    @property
    def kind(self) -> type[Row]:
        return KIND[self.channel]

    @property
    def wanted(self) -> tuple[str, ...]:
        """The file's columns that are read, each once."""
        levels = [column for pair in self.level_columns for column in pair]
        return tuple(dict.fromkeys([*self.columns.values(), *([self.symbol] if self.symbol else []), *levels]))

    @property
    def level_columns(self) -> list[tuple[str, str]]:
        """Of a book: price and amount of each level, all bids first."""
        return [
            (f"{side}[{level}].price", f"{side}[{level}].amount")
            for side in ("bids", "asks")
            for level in range(self.levels)
        ]

    def has_header(self, first: Sequence[str]) -> bool:
        """Whether a file's first line names columns. Raises ConfigError where names are needed and are not there."""
        missing = [column for column in self.wanted if column not in first]
        if not missing:
            return True
        if not self.names:
            raise ConfigError(f"its first line lacks the columns {', '.join(missing)}: is it {self.name}?")
        return not first[0][:1].isdigit()


def _binance(name: str, channel: ImportChannel, names: str, columns: Mapping[str, str], **more: object) -> Layout:
    shared: dict[str, object] = {"unit": "ms or us", "names": tuple(names.split()), "ids_follow": True, **more}
    return Layout(name, channel, columns, **shared)  # type: ignore[arg-type]


LAYOUTS: Mapping[str, Layout] = {
    layout.name: layout
    for layout in (
        _binance(
            "binance-trades",
            "trades",
            "id price qty quote_qty time is_buyer_maker is_best_match",
            {"time": "time", "id": "id", "side": "is_buyer_maker", "price": "price", "amount": "qty"},
            sides=_MAKER,
            id_space="trade",
        ),
        _binance(
            "binance-aggTrades",
            "trades",
            "agg_trade_id price quantity first_trade_id last_trade_id transact_time is_buyer_maker is_best_match",
            {
                "time": "transact_time",
                "id": "agg_trade_id",
                "side": "is_buyer_maker",
                "price": "price",
                "amount": "quantity",
            },
            sides=_MAKER,
            id_space="aggTrade",
        ),
        _binance(
            "binance-klines",
            "candles",
            "open_time open high low close volume close_time quote_volume count taker_buy_volume taker_buy_quote_volume"
            " ignore",
            {
                "time": "open_time",
                "open": "open",
                "high": "high",
                "low": "low",
                "close": "close",
                "volume": "volume",
                "quote_volume": "quote_volume",
                "trades": "count",
                "taker_buy_volume": "taker_buy_volume",
                "taker_buy_quote_volume": "taker_buy_quote_volume",
            },
        ),
        Layout(
            "bybit-linear-trades",
            "trades",
            {"time": "timestamp", "id": "trdMatchID", "side": "side", "price": "price", "amount": "size"},
            "s",
            sides=_SIDE,
            grain_ns=MILLISECOND,
            symbol="symbol",
            id_space="execId",
            kinds=("swap", "future"),
        ),
        Layout(
            "bybit-spot-trades",
            "trades",
            {"time": "timestamp", "id": "id", "side": "side", "price": "price", "amount": "volume"},
            "ms",
            sides=_SIDE,
            grain_ns=MILLISECOND,
            id_space="row of a Bybit file",
            numbered=True,
            kinds=("spot",),
        ),
        Layout(
            "tardis-trades",
            "trades",
            {"time": "timestamp", "id": "id", "side": "side", "price": "price", "amount": "amount"},
            "us",
            sides=_SIDE,
            symbol="symbol",
        ),
        Layout("tardis-book_snapshot", "book", {"time": "timestamp"}, "us", symbol="symbol"),
    )
}
FORMATS = (
    "binance-trades",
    "binance-aggTrades",
    "binance-klines",
    "bybit-trades",
    "tardis-trades",
    "tardis-book_snapshot",
    "mapped",
)
"""What `--format` takes. `bybit-trades` is linear or spot, which its header tells."""


def of_header(layout_name: str, header: Sequence[str]) -> Layout:
    """The layout of a file of this format with this first line."""
    if layout_name == "bybit-trades":
        return LAYOUTS["bybit-linear-trades" if "trdMatchID" in header else "bybit-spot-trades"]
    layout = LAYOUTS[layout_name]
    if layout.channel == "book":
        found = [int(match[2]) for column in header if (match := _LEVEL.fullmatch(column))]
        if not found:
            raise ConfigError("its first line names no level such as asks[0].price: is it tardis-book_snapshot?")
        return Layout(**{**_fields(layout), "levels": max(found) + 1})  # type: ignore[arg-type]
    return layout


def _fields(layout: Layout) -> dict[str, object]:
    return {name: getattr(layout, name) for name in layout.__struct_fields__}
