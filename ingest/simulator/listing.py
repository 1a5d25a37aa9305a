"""What the venue lists: instruments with the tick and lot sizes of real ones."""

from typing import Literal

from msgspec import Struct

Listed = Literal["trading", "halted", "gone"]
"""What the venue says of an instrument in its listing."""

UNIT = 100_000_000
"""Everything is printed with eight decimals: prices, amounts and quote volumes are integers of 1e-8 inside."""


def text(value_e8: int) -> str:
    """Print an integer of 1e-8 as Binance prints it: `0.00100000`."""
    whole, rest = divmod(abs(value_e8), UNIT)
    return f"{'-' if value_e8 < 0 else ''}{whole}.{rest:08d}"


class Listing(Struct, frozen=True):
    """One spot instrument.

    `price_ticks` is where its walk begins, `trade_lots` a usual taker order, `weight` its share of all trades.
    A tick times a lot is a whole number of 1e-8, so that quote volumes are exact in eight decimals.
    """

    base: str
    quote: str
    tick_e8: int
    lot_e8: int
    price_ticks: int
    trade_lots: int
    weight: int = 1

    def __post_init__(self) -> None:
        if self.tick_e8 * self.lot_e8 % UNIT:
            raise ValueError(f"{self.symbol}: a tick times a lot is not a multiple of 0.00000001")

    @property
    def symbol(self) -> str:
        return f"{self.base}/{self.quote}"

    @property
    def native(self) -> str:
        return f"{self.base}{self.quote}"

    @property
    def quote_e8(self) -> int:
        """The value of one lot at one tick."""
        return self.tick_e8 * self.lot_e8 // UNIT

    def price(self, ticks: int) -> str:
        return text(ticks * self.tick_e8)

    def amount(self, lots: int) -> str:
        return text(lots * self.lot_e8)

    def value(self, ticks_times_lots: int) -> str:
        return text(ticks_times_lots * self.quote_e8)


KNOWN: dict[str, Listing] = {
    listing.symbol: listing
    for listing in (
        Listing("BTC", "USDT", 1_000_000, 1_000, 6_543_210, 1_500, 5),
        Listing("ETH", "USDT", 1_000_000, 10_000, 321_098, 2_500, 3),
        Listing("SOL", "USDT", 1_000_000, 100_000, 15_432, 4_000, 2),
        Listing("BNB", "USDT", 1_000_000, 100_000, 61_234, 900, 1),
        Listing("XRP", "USDT", 10_000, 10_000_000, 21_234, 3_000, 1),
        Listing("DOGE", "USDT", 1_000, 100_000_000, 18_765, 2_000, 1),
        Listing("NKN", "USDT", 1_000, 100_000_000, 35_210, 700, 1),
    )
}
DEFAULT_SYMBOLS = ("BTC/USDT", "ETH/USDT", "SOL/USDT")

_SHAPES = (  # tick, lot, first price, usual order of the synthetic instruments, in turn
    (1_000_000, 100_000, 25_000, 3_000),
    (10_000, 10_000_000, 34_567, 900),
    (100_000, 1_000_000, 71_234, 1_200),
    (1, 100_000_000, 123_456, 50_000),
)


def listings(symbols: tuple[str, ...], synthetic: int = 0) -> tuple[Listing, ...]:
    """The named instruments, then `synthetic` made ones (`SIM000/USDT` …). An unknown name gets a synthetic shape.

    Raises `ValueError` for a name that is not `BASE/QUOTE`, for one that comes twice, and for none at all.
    """
    names = [*symbols, *(f"SIM{number:03d}/USDT" for number in range(synthetic))]
    if not names or len(set(names)) != len(names):
        raise ValueError("name at least one symbol, and none twice")
    found = []
    for number, name in enumerate(names):
        base, slash, quote = name.partition("/")
        if not (base and slash and quote):
            raise ValueError(f"{name!r} is not a symbol; write BASE/QUOTE, such as BTC/USDT")
        tick, lot, price, lots = _SHAPES[number % len(_SHAPES)]
        found.append(KNOWN.get(name) or Listing(base, quote, tick, lot, price + 37 * number, lots))
    return tuple(found)
