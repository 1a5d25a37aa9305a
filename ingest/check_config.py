"""`ingest check-config`: what a configuration says, what it leads to, and how much that will store."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct, structs
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ingest import venues
from ingest.config import problems
from ingest.config.model import Config
from ingest.config.problems import Problem
from ingest.config.secret import redact_dsn
from ingest.config.source import DEFAULT, Loaded, explain
from ingest.errors import ConfigError, Exit, Retryable
from ingest.estimate import (
    MAJOR_LIQUIDATIONS,
    MAJOR_QUOTES,
    MAJOR_TRADES,
    ORDINARY_LIQUIDATIONS,
    ORDINARY_QUOTES,
    ORDINARY_TRADES,
    ChannelEstimate,
    Estimate,
    estimate,
)
from ingest.plan import Lacking, Plan, Selection, plan
from ingest.records import Instrument
from ingest.store import policies
from ingest.store.policies import Misfit, Policies
from ingest.store.sqlfiles import read_folder, sql_root
from ingest.store.stated import stated
from ingest.terminal import print_json

_SHOWN = 5
_NOTES = (
    f"Trades, quotes and liquidations are typical figures: {MAJOR_TRADES:,}, {MAJOR_QUOTES:,} and "
    f"{MAJOR_LIQUIDATIONS:,} a day of a major pair, {ORDINARY_TRADES:,}, {ORDINARY_QUOTES:,} and "
    f"{ORDINARY_LIQUIDATIONS:,} of another; a busy day has several times as many. A GB is 10⁹ bytes, "
    "uncompressed, with indexes, without rollups and WAL."
)


class Value(Struct, frozen=True):
    """One key, its value as it is shown (no password), and where that came from."""

    key: str
    value: str
    origin: str


class Report(Struct, frozen=True):
    """All that is to say of a valid configuration; also the object of `--json`. `remarks` say what is hardly meant."""

    exchanges: tuple[Plan, ...]
    estimate: Estimate
    values: tuple[Value, ...]
    remarks: tuple[str, ...] = ()


def check(loaded: Loaded, *, online: bool, as_json: bool, console: Console) -> Exit:
    """Print the report. With `online` the venues' listings are loaded, to expand globs and to check symbols.

    USAGE when a symbol or a glob matches nothing that its venue lists, or a channel is not offered, or there is
    nothing to collect or to backfill, else OK. Raises ConfigError for figures that `migrate` would refuse of a new
    database, and Retryable when a venue cannot be reached.
    """
    if misfits := policies.misfits(_figures(loaded.config)):
        raise ConfigError(problems.report(_problem(loaded, misfit) for misfit in misfits))
    listings = _listings(loaded.config) if online else {}
    found = report(loaded, listings)
    if as_json:
        print_json(found, console)
    else:
        show(found, console)
    nothing = not (loaded.config.collect or loaded.config.backfill)
    wrong = nothing or any(venue.unknown or venue.lacking for venue in found.exchanges)
    return Exit.USAGE if wrong else Exit.OK


def report(loaded: Loaded, listings: Mapping[str, Sequence[Instrument]]) -> Report:
    """What the configuration leads to, at the venues without a listing with the globs as they are."""
    plans = tuple(
        _located(plan(settings, adapter.limits, listings.get(settings.exchange), adapter), loaded)
        for settings in venues.settings(loaded.config)
        for adapter in (venues.adapters(loaded.config, settings.exchange)({}),)
    )
    streams = (stream for venue in plans for stream in venue.each_stream())
    values = tuple(Value(*line) for line in explain(loaded))
    remarks = (str(_problem(loaded, misfit)) for misfit in policies.never_compressed(_figures(loaded.config)))
    return Report(plans, estimate(loaded.config, streams), values, tuple(remarks))


def _figures(config: Config) -> Policies:
    """Those that `migrate` would put into a new database."""
    return policies.override(stated(read_folder(sql_root() / "migrations")), config)


def _problem(loaded: Loaded, misfit: Misfit) -> Problem:
    return Problem(*loaded.origin(misfit.keys), misfit.text, "")


def _located(venue: Plan, loaded: Loaded) -> Plan:
    """The plan with the place of each channel that is not offered: the symbols, or the channels, of their block."""

    def place(lacking: Lacking) -> Lacking:
        blocks = [
            index
            for index, block in enumerate(loaded.config.collect)
            if block.exchange == venue.exchange
            and lacking.channel in block.channels
            and not set(lacking.symbols).isdisjoint(block.symbols)
        ]
        names = ("channels", "symbols") if lacking.offered else ("symbols",)
        origin, key = loaded.origin(f"collect[{index}].{name}" for index in blocks for name in names)
        return structs.replace(lacking, origin=origin, key=key)

    return structs.replace(venue, lacking=tuple(map(place, venue.lacking)))


def _listings(config: Config) -> dict[str, list[Instrument]]:
    async def load() -> dict[str, list[Instrument]]:
        return {
            settings.exchange: await venues.listing(config, settings.exchange)() for settings in venues.settings(config)
        }

    try:
        return asyncio.run(load())
    except Retryable as error:
        raise Retryable(
            f"{redact_dsn(str(error))}\nThe configuration itself is valid; without --online no venue is asked."
        ) from error


def show(found: Report, console: Console) -> None:
    """Print the report for a person: values first, so that what matters most stands last."""
    console.print(_values(found.values))
    if found.remarks:
        console.print()
    for remark in found.remarks:
        console.print(Text(remark, "yellow"))
    if not found.exchanges:
        console.print(Text("\nNothing would be collected: `ingest run` wants a [[collect]] block.", "yellow"))
        return
    for venue in found.exchanges:
        console.print()
        _show_plan(venue, console)
    if found.estimate.channels:
        console.print()
        console.print(_estimate(found.estimate))
    console.print()
    if not all(venue.expanded for venue in found.exchanges):
        console.print(Text("The streams of globs are not in the estimate: --online asks the venue for them.", "yellow"))
    console.print(Text(_NOTES, "dim"))


def _values(values: Iterable[Value]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("key", no_wrap=True)
    for name in ("value", "from"):
        table.add_column(name, overflow="fold")
    for value in values:
        style = "dim" if value.origin == DEFAULT else ""
        table.add_row(Text(value.key), Text(value.value), Text(value.origin), style=style)
    return table


def _show_plan(venue: Plan, console: Console) -> None:
    """One line for each group of channels that collect the same."""
    console.print(Text(f"{venue.exchange}: ", "bold") + Text(_size(venue), "not bold"))
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    groups: dict[tuple[object, ...], list[Selection]] = {}
    for selection in venue.selections:
        groups.setdefault((selection.symbols, selection.globs), []).append(selection)
    for alike in groups.values():
        table.add_row(
            Text(f"  {', '.join(selection.channel for selection in alike)}"), Text("\n".join(_wanted(alike[0])))
        )
    if venue.selections:
        console.print(table)
    if venue.polled:
        polled = {poll.channel: f"{poll.channel} every {poll.seconds:g} s" for poll in venue.polled}
        streamed = [selection.channel for selection in venue.selections if selection.channel not in polled]
        ways = [f"by websocket: {', '.join(streamed)}"] if streamed else []
        console.print(Text(f"  {'; '.join([*ways, 'by REST: ' + ', '.join(polled.values())])}"))
    for lacking in venue.lacking:
        console.print(Text(f"  {_refusal(venue.exchange, lacking)}", "red"))
    if venue.unknown:
        console.print(Text(f"  not listed at {venue.exchange}: {', '.join(venue.unknown)}", "red"))


def _refusal(exchange: str, lacking: Lacking) -> Problem:
    more = ", …" if len(lacking.symbols) > _SHOWN else ""
    symbols = ", ".join(lacking.symbols[:_SHOWN]) + more
    offers = ", ".join(lacking.offered) or "nothing"
    what = f"{exchange} does not offer {lacking.channel} of {symbols} (it offers {offers} of it)"
    return Problem(lacking.origin, lacking.key, what, lacking.remedy)


def _size(venue: Plan) -> str:
    streams, connections = _count(venue.streams, "stream"), _count(venue.connections, "connection")
    limit = f"(at most {venue.streams_per_connection:,} streams each)"
    if venue.expanded:
        return f"{streams} on {connections} {limit}"
    return f"{f'{streams} and ' if venue.streams else ''}those of the globs, on at least {connections} {limit}"


def _wanted(selection: Selection) -> Iterable[str]:
    if selection.symbols:
        yield ", ".join(selection.symbols)
    for glob in selection.globs:
        if glob.symbols is None:
            yield f"{glob.pattern}: expanded at start"
        elif not glob.symbols:
            yield f"{glob.pattern}: no instrument"
        else:
            more = ", …" if len(glob.symbols) > _SHOWN else ""
            first = ", ".join(glob.symbols[:_SHOWN])
            yield f"{glob.pattern}: {_count(len(glob.symbols), 'instrument')}: {first}{more}"


def _estimate(found: Estimate) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("estimate")
    for name in ("streams", "rows/day", "GB/day", "kept", "GB kept"):
        table.add_column(name, justify="right")
    for channel in found.channels:
        table.add_row(
            channel.channel,
            f"{channel.streams:,}",
            f"{channel.rows_per_day:,}",
            _gigabytes(channel.bytes_per_day),
            _kept(channel),
            "no end" if channel.kept_bytes is None else _gigabytes(channel.kept_bytes),
        )
    for_ever = any(channel.kept_bytes is None for channel in found.channels)
    table.add_row(
        "total",
        f"{sum(channel.streams for channel in found.channels):,}",
        f"{found.rows_per_day:,}",
        _gigabytes(found.bytes_per_day),
        "",
        f"{_gigabytes(found.kept_bytes)}{' and more' if for_ever else ''}",
        style="bold",
    )
    return table


def _kept(channel: ChannelEstimate) -> str:
    if channel.kept_days is None:
        return "latest row"
    return "forever" if channel.kept_days == "forever" else _count(channel.kept_days, "day")


def _gigabytes(size: int) -> str:
    """Two digits that count: it is an estimate."""
    rounded = float(f"{size / 1e9:.2g}")
    if rounded >= 1:
        return f"{rounded:,.1f}" if rounded < 10 else f"{rounded:,.0f}"
    if rounded >= 0.001:
        return f"{rounded:#.2g}"
    return "<0.001" if size else "0"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
