"""The venues with an adapter of their own, by ccxt's name of the venue; any other works through ccxt."""

from ingest.exchanges.adapter import Adapter
from ingest.exchanges.binance import REST_URL as BINANCE_REST_URL
from ingest.exchanges.binance import Binance
from ingest.exchanges.binanceusdm import BinanceUsdm
from ingest.exchanges.bybit import Bybit
from ingest.exchanges.coinbase import Coinbase
from ingest.exchanges.kraken import Kraken
from ingest.exchanges.okx import Okx

ADAPTERS: dict[str, type[Adapter]] = {
    "binance": Binance,
    "binanceusdm": BinanceUsdm,
    "bybit": Bybit,
    "coinbase": Coinbase,
    "kraken": Kraken,
    "okx": Okx,
}

REST_URLS: dict[str, str] = {
    "binance": BINANCE_REST_URL,
}
"""Where `load_markets` is asked, when neither the configuration nor ccxt's own address is to be used."""


def adapter_of(exchange: str) -> type[Adapter]:
    """Its own adapter, else one that works through ccxt. Raises ConfigError for what ccxt does not know either."""
    if exchange in ADAPTERS:
        return ADAPTERS[exchange]
    from ingest.exchanges.ccxt_venue import ccxt_adapter  # noqa: PLC0415 - ccxt.pro takes a second to import

    return ccxt_adapter(exchange)
