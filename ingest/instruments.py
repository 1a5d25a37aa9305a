"""`ingest symbols` and `ingest instruments refresh`: what a venue lists, and what of that is new to the database."""

import asyncio
import difflib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

from msgspec import Struct, field, structs
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ingest import clock, venues
from ingest.config.model import Config
from ingest.config.secret import redact_dsn
from ingest.errors import ConfigError, Exit, Retryable
from ingest.exchanges.adapter import Adapter
from ingest.records import CHANNELS, Channel, Instrument
from ingest.store.database import connect_sync
from ingest.store.registry import registration
from ingest.store.sqlfiles import query
from ingest.terminal import cell, plain, print_json

_SHOWN = 20


class Symbol(Struct, frozen=True):
    """One instrument as it is shown. Steps and limits are the venue's digits; None where it states none.

    `channels` are those that may be collected of it: none of a kind that no adapter translates. `delisted_at` is set
    only of what the database remembers.
    """

    symbol: str
    native: str
    kind: str
    base: str
    quote: str
    settle: str | None
    price_step: str | None
    amount_step: str | None
    min_amount: str | None
    max_amount: str | None
    min_notional: str | None
    contract_size: str | None
    expiry: datetime | None
    active: bool
    delisted_at: datetime | None = None
    channels: tuple[Channel, ...] = ()


class Change(Struct, frozen=True):
    """The columns of an instrument that changed, before and after."""

    symbol: str
    before: dict[str, Any]
    after: dict[str, Any]


class Refreshed(Struct, frozen=True):
    """What a venue's listing has changed in the database; with an `error` it could not be had.

    `missing` is everything that the listing lacks and that is not delisted (yet).
    """

    exchange: str
    listed: int = 0
    new: list[str] = field(default_factory=list)
    changed: list[Change] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    delisted: list[str] = field(default_factory=list)
    error: str | None = None


# What a venue lists


def symbols(
    config: Config, exchange: str, pattern: str, *, stored_at: str | None, as_json: bool, console: Console
) -> Exit:
    """Print the instruments that match the glob: those of the venue's listing, or with `stored_at` (a DSN) those that
    this database knows. Raises ConfigError when there is none, Retryable when the venue cannot be reached.
    """
    known = _listed(config, exchange) if stored_at is None else _stored(config, stored_at, exchange)
    found = [each for each in known if fnmatchcase(each.symbol, pattern)]
    if not found:
        near = difflib.get_close_matches(pattern, [each.symbol for each in known], n=1)
        raise ConfigError(
            f"{exchange} lists nothing that matches {pattern!r}" + (f"; did you mean {near[0]}?" if near else "")
        )
    if as_json:
        print_json(found, console)
    else:
        console.print(_symbols_table(found))
        console.print(Text(f"{len(found):,} of {len(known):,} instruments", "dim"))
    return Exit.OK


def _listed(config: Config, exchange: str) -> list[Symbol]:
    listed, adapter = asyncio.run(_load(config, exchange)), venues.adapters(config, exchange)({})
    return [_symbol(instrument, adapter) for instrument in sorted(listed, key=lambda one: one.symbol)]


async def _load(config: Config, exchange: str) -> list[Instrument]:
    return await venues.listing(config, exchange)()


def _symbol(one: Instrument, adapter: Adapter) -> Symbol:
    expiry = None if one.expiry_ns is None else datetime.fromtimestamp(one.expiry_ns / clock.SECOND, UTC)
    steps, limits = (one.price_step, one.amount_step), (one.min_amount, one.max_amount, one.min_notional)
    names = (one.symbol, one.native, one.kind, one.base, one.quote, one.settle)
    return Symbol(*names, *steps, *limits, one.contract_size, expiry, one.active, channels=_channels(one, adapter))


def _channels(one: Instrument, adapter: Adapter) -> tuple[Channel, ...]:
    offered = adapter.channels(one)
    return tuple(channel for channel in CHANNELS if channel in offered)


def _stored(config: Config, url: str, exchange: str) -> list[Symbol]:
    with connect_sync(url, role="symbols") as connection:
        rows = connection.execute(query("stored_instruments"), {"exchange": exchange}).fetchall()
    if not rows:
        raise ConfigError(
            f"the database knows no instrument of {exchange}: `ingest instruments refresh {exchange}` brings them"
        )
    adapter = venues.adapters(config, exchange)({})
    return [structs.replace(Symbol(*row), channels=_channels(Instrument(exchange, *row[:6]), adapter)) for row in rows]


def _symbols_table(found: Iterable[Symbol]) -> Table:
    shown = Table(box=None, header_style="bold")
    for name in ("symbol", "native", "kind", "base", "quote"):
        shown.add_column(name, no_wrap=name == "symbol")
    for name in ("price step", "amount step", "least", "most", "least value"):
        shown.add_column(name, justify="right")
    shown.add_column("")
    for one in found:
        state = "halted" if not one.active else "" if one.channels else "not collected"
        if one.delisted_at is not None:
            state = f"delisted {one.delisted_at:%Y-%m-%d %H:%M}"
        steps, limits = (one.price_step, one.amount_step), (one.min_amount, one.max_amount, one.min_notional)
        shown.add_row(
            *(cell(text) for text in (one.symbol, one.native, one.kind, one.base, one.quote)),
            *(cell(_short(text)) for text in (*steps, *limits)),
            Text(state, "yellow"),
            style="" if one.active and one.channels else "dim",
        )
    return shown


def _short(digits: str | None) -> str:
    """Without the zeros that say nothing: a table is for the eye, `--json` for programs."""
    if digits is None:
        return "-"
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


# What is new of it


def refresh(config: Config, url: str, exchanges: Sequence[str], *, as_json: bool, console: Console) -> Exit:
    """Make the listings of these venues (default: of those that are collected) known to the database, by the daemon's
    own rules, and print what that changed. UNAVAILABLE when a venue could not be asked; the others are done.
    """
    chosen = list(dict.fromkeys(exchanges)) or [settings.exchange for settings in venues.settings(config)]
    if not chosen:
        raise ConfigError("nothing to refresh: name an exchange, or add a [[collect]] block to the configuration")
    found = [_refreshed(config, url, exchange) for exchange in chosen]
    if as_json:
        print_json(found, console)
    else:
        _show(found, console)
    return Exit.UNAVAILABLE if any(each.error for each in found) else Exit.OK


def _refreshed(config: Config, url: str, exchange: str) -> Refreshed:
    try:
        listed = asyncio.run(_load(config, exchange))
    except Retryable as error:
        return Refreshed(exchange, error=redact_dsn(str(error)))
    with connect_sync(url, role="instruments") as connection, connection.transaction():
        connection.execute(query("register_instruments"), registration(exchange, listed, complete=True))
        rows = connection.execute(query("registered"), {"exchange": exchange}).fetchall()
    by_what: dict[str, list[str]] = {"new": [], "missing": [], "delisted": []}
    for what, symbol, *_ in rows:
        by_what.setdefault(what, []).append(symbol)
    changed = [Change(symbol, before, after) for what, symbol, before, after in rows if what == "changed"]
    return Refreshed(exchange, len(listed), by_what["new"], changed, by_what["missing"], by_what["delisted"])


def _show(found: Iterable[Refreshed], console: Console) -> None:
    for venue in found:
        if venue.error is not None:
            console.print(cell(f"{venue.exchange}: not refreshed: {venue.error}", "red"))
            continue
        counts = {name: len(getattr(venue, name)) for name in ("new", "changed", "missing", "delisted")}
        told = ", ".join(f"{count:,} {name}" for name, count in counts.items())
        console.print(Text(f"{venue.exchange}: ", "bold") + Text(f"{venue.listed:,} listed: {told}", "not bold"))
        _show_some("new", venue.new, console)
        _show_some("changed", [_words(change) for change in venue.changed], console)
        _show_some("missing", venue.missing, console)
        _show_some("delisted", venue.delisted, console)


def _show_some(what: str, lines: Sequence[str], console: Console) -> None:
    for line in lines[:_SHOWN]:
        console.print(f"  {what:<8} ", cell(line), sep="", soft_wrap=True)
    if len(lines) > _SHOWN:
        console.print(Text(f"  {what:<8} … and {len(lines) - _SHOWN:,} more (--json names them)", "dim"))


def _words(change: Change) -> str:
    parts = (f"{name} {_value(change.before[name])} → {_value(change.after[name])}" for name in change.before)
    return plain(f"{change.symbol}: {', '.join(parts)}")


def _value(value: object) -> str:
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
