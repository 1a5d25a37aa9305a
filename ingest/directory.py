"""`ingest exchanges`: the venues that are configured, or all that may be, what each offers, and how it is."""

from collections.abc import Iterable

import psycopg
from msgspec import Struct
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from ingest import venues
from ingest.config.known import exchanges as known_exchanges
from ingest.config.model import Config
from ingest.errors import Exit, IngestError
from ingest.exchanges import ADAPTERS, adapter_of
from ingest.records import CHANNELS, Channel, Instrument
from ingest.status import VenueStatus, health, style_of
from ingest.store import provision
from ingest.store.database import connect_sync
from ingest.terminal import cell, print_json


class Offered(Struct, frozen=True):
    """The channels of one kind of instruments: those that come by websocket, and those that are asked for by REST."""

    kind: str
    streamed: tuple[Channel, ...]
    polled: tuple[Channel, ...]


class Venue(Struct, frozen=True):
    """One exchange. `status` is None where no database says how it is."""

    exchange: str
    native: bool
    configured: bool
    offers: tuple[Offered, ...]
    status: VenueStatus | None


def show(config: Config, url: str | None, *, everything: bool, as_json: bool, console: Console) -> Exit:
    """Print the venues. A database that is away or not migrated costs their states, and nothing else."""
    configured = {block.exchange for block in config.collect}
    names = sorted(configured | known_exchanges() if everything else configured)
    states = _states(url)
    found = [_venue(config, name, name in configured, states.get(name)) for name in names]
    if as_json:
        print_json(found, console)
    elif not found:
        console.print("no exchange is configured; --all shows those that may be")
    else:
        console.print(_table(found))
    return Exit.OK


def _states(configured_url: str | None) -> dict[str, VenueStatus]:
    try:
        with connect_sync(provision.locate(configured_url), role="exchanges") as connection:
            return {venue.exchange: venue for venue in health(connection)}
    except (IngestError, psycopg.Error):
        return {}


def _venue(config: Config, exchange: str, configured: bool, status: VenueStatus | None) -> Venue:
    adapter = venues.adapters(config, exchange)({})
    offers = []
    for kind in _kinds(exchange):
        one = _example(exchange, kind)
        offered, polled = adapter.channels(one), adapter.polled(one)
        streamed = tuple(channel for channel in CHANNELS if channel in offered and channel not in polled)
        offers.append(Offered(kind, streamed, tuple(c for c in CHANNELS if c in offered and c in polled)))
    return Venue(exchange, exchange in ADAPTERS, configured, tuple(offers), status)


def _kinds(exchange: str) -> tuple[str, ...]:
    """Of instruments. What works through ccxt takes all kinds; which the exchange has, ccxt says."""
    kinds = adapter_of(exchange).kinds
    if exchange in ADAPTERS:
        return kinds
    from ingest.exchanges.ccxt_offer import client_class  # noqa: PLC0415 - ccxt.pro takes a second to import

    has = client_class(exchange)().has
    return tuple(kind for kind in kinds if has.get(kind)) or kinds


def _example(exchange: str, kind: str) -> Instrument:
    if kind == "spot":
        return Instrument(exchange, "BTC/USDT", "BTCUSDT", kind, "BTC", "USDT")
    return Instrument(exchange, "BTC/USDT:USDT", "BTCUSDT", kind, "BTC", "USDT", settle="USDT")


def _table(found: Iterable[Venue]) -> Table:
    shown = Table(box=None, header_style="bold", pad_edge=False)
    shown.add_column("exchange", no_wrap=True)
    shown.add_column("through")
    shown.add_column("channels", overflow="fold")
    shown.add_column("state", overflow="fold")
    for venue in found:
        status = venue.status
        state = Text("-", "dim") if status is None else cell(status.sentence, style_of(status))
        offers = Group(*(Text.assemble((f"{offer.kind}: ", "dim"), _channels(offer)) for offer in venue.offers))
        shown.add_row(venue.exchange, "native" if venue.native else "ccxt", offers, state)
    return shown


def _channels(offer: Offered) -> str:
    streamed, polled = ", ".join(offer.streamed), ", ".join(offer.polled)
    return "; ".join(part for part in (streamed, f"by REST: {polled}" if polled else "") if part) or "none"
