"""The venues with an adapter of their own."""

from collections.abc import Callable, Mapping

from ingest.exchanges.adapter import Adapter, Options
from ingest.exchanges.binance import REST_URL as BINANCE_REST_URL
from ingest.exchanges.binance import Binance

ADAPTERS: dict[str, Callable[[Mapping[str, int], Options], Adapter]] = {
    "binance": Binance,
}

REST_URLS: dict[str, str] = {
    "binance": BINANCE_REST_URL,
}
"""Where `load_markets` is asked, when the configuration says nothing else."""
