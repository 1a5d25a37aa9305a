"""From the configuration to what a collector needs: one place for the daemon, `record` and `replay`."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Protocol, TypedDict

from ingest import clock
from ingest.collect.collector import Call, Connect
from ingest.collect.selection import Settings, Share, Subscription
from ingest.config.model import Config
from ingest.exchanges import ADAPTERS, REST_URLS, adapter_of
from ingest.exchanges.adapter import Adapter, Options
from ingest.exchanges.limiter import Limiter
from ingest.exchanges.markets import load_announcement, load_instruments
from ingest.records import Instrument

NewAdapter = Callable[[Mapping[str, int]], Adapter]
RestTap = Callable[[str, int, bytes], None]


class Lines(TypedDict, total=False):
    """What a venue needs beside the usual websocket and HTTP."""

    connect: Connect
    call: Call


def settings(config: Config) -> list[Settings]:
    """One collector's settings for each exchange that `[[collect]]` names."""
    subscriptions: dict[str, list[Subscription]] = {}
    for block in config.collect:
        subscriptions.setdefault(block.exchange, []).append(Subscription(block.symbols, block.channels))
    return [settings_of(config, exchange, tuple(blocks)) for exchange, blocks in subscriptions.items()]


def settings_of(config: Config, exchange: str, subscriptions: tuple[Subscription, ...]) -> Settings:
    """One collector's settings, as configured for its exchange."""
    return Settings(
        exchange,
        subscriptions,
        book_depth=config.book.depth,
        book_cadence_ns=int(config.book.cadence_seconds * clock.SECOND),
        book_unchanged=config.book.unchanged,
        warmup=config.candles.warmup,
        ping_seconds=config.sessions.ping_seconds,
        silence_ns=int(config.sessions.silence_seconds * clock.SECOND),
        proxy=_secret(config.exchanges[exchange].proxy),
        share=Share(config.shard.number, config.shard.of),
    )


def adapters(config: Config, exchange: str) -> NewAdapter:
    """Makes the exchange's adapter, as configured, for one more connection."""
    venue = config.exchanges[exchange]
    options = Options(
        rest_url=venue.rest_url,
        ws_url=venue.ws_url,
        trade_stream=getattr(venue, "trade_stream", "trade"),
        include_open_candles=config.candles.include_open,
        book_depth=config.book.depth,
    )
    made = adapter_of(exchange)
    return lambda instrument_ids: made(instrument_ids, options)


def lines(config: Config, exchange: str) -> Lines:
    """How a collector connects to the exchange and calls it, by the names of `Collector`'s arguments."""
    if exchange in ADAPTERS:
        return {}
    # Imported for those who need it: ccxt.pro takes a second.
    from ingest.collect.ccxt_session import CcxtSession  # noqa: PLC0415
    from ingest.exchanges.ccxt_client import Clients  # noqa: PLC0415
    from ingest.exchanges.ccxt_rest import CcxtRest  # noqa: PLC0415

    venue = config.exchanges[exchange]
    clients = Clients(exchange, rest_url=venue.rest_url, ws_url=venue.ws_url, proxy=_secret(venue.proxy))
    return {
        "connect": partial(CcxtSession, clients=clients, depth=config.book.depth),
        "call": partial(CcxtRest, clients=clients),
    }


class Load(Protocol):
    """Loads instruments; within a limit, where there is one."""

    def __call__(self, limiter: Limiter | None = None, /) -> Awaitable[list[Instrument]]: ...


def listing(config: Config, exchange: str, tap: RestTap | None = None) -> Load:
    """Loads all that the exchange lists, by its address as configured."""
    venue = config.exchanges[exchange]
    rest_url = venue.rest_url or REST_URLS.get(exchange)
    load = partial(load_instruments, exchange, rest_url=rest_url, proxy=_secret(venue.proxy), tap=tap)
    return lambda limiter=None: load(limiter=limiter)


def announcement(config: Config, exchange: str, limiter: Limiter | None) -> Awaitable[str | None]:
    """What the exchange says of its own maintenance."""
    venue = config.exchanges[exchange]
    return load_announcement(exchange, rest_url=venue.rest_url, proxy=_secret(venue.proxy), limiter=limiter)


def _secret(value: Any) -> str | None:
    return None if value is None else value.get_secret_value()
