"""`ingest` with Binance's limit of REST calls lifted: within it, the snapshots of 500 books take five minutes."""

from msgspec import structs

from ingest.cli import main
from ingest.exchanges.binance import Binance

if __name__ == "__main__":
    Binance.limits = structs.replace(Binance.limits, weight_per_minute=100 * Binance.limits.weight_per_minute)
    main()
