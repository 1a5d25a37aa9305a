"""Commands around what is missing: gaps, rejected input, the spool."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from ingest.cli.options import ConfigFile, answering, configured_url, load

commands = typer.Typer()
spool_commands = typer.Typer(no_args_is_help=True, help="Rows that wait on disk for the database.")
rejected_commands = typer.Typer(no_args_is_help=True, help="Input that could not be stored.")


@commands.command()
def gaps(
    exchange: Annotated[str | None, typer.Argument(help="One exchange; default: all.")] = None,
    symbols: Annotated[list[str] | None, typer.Argument(help="Unified symbols or globs; default: all.")] = None,
    channel: Annotated[str | None, typer.Option(help="Only this channel.")] = None,
    since: Annotated[
        datetime | None, typer.Option("--from", help="Start, UTC; default: where collecting began.")
    ] = None,
    until: Annotated[datetime | None, typer.Option("--to", help="End, UTC; default: now.")] = None,
    fix: Annotated[bool, typer.Option("--fix", help="Queue what is missing for the daemon's repair.")] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Also what repair had given up; implies --fix.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    config: ConfigFile = None,
) -> None:
    """Look for what is missing: trade ids, minutes, coverage. Exit code 1 when something is."""
    from rich.console import Console

    from ingest import gaps as holes
    from ingest.store import provision

    url = provision.locate(configured_url(load(config)))
    code = holes.show(
        url,
        exchange=exchange,
        symbols=symbols or [],
        channel=channel,
        since=since,
        until=until,
        fix=fix or retry,
        retry=retry,
        as_json=as_json,
        console=Console(),
    )
    raise typer.Exit(code)


@rejected_commands.command("list")
def rejected_list(
    since: Annotated[datetime | None, typer.Option(help="Received since then, UTC.")] = None,
    stream: Annotated[str | None, typer.Option(help="A part of `exchange symbol channel`.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many of the latest to show.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    config: ConfigFile = None,
) -> None:
    """Count rejected input by reason, and show the latest."""
    from rich.console import Console

    from ingest import rejected
    from ingest.store import provision

    url = provision.locate(configured_url(load(config)))
    code = rejected.list_(url, since=since, stream=stream, limit=limit, as_json=as_json, console=Console())
    raise typer.Exit(code)


@rejected_commands.command("show")
def rejected_show(
    rejected_id: Annotated[int, typer.Argument(metavar="ID", help="As `list` shows it.")],
    max_bytes: Annotated[int, typer.Option("--bytes", min=1, help="How much of the payload to show.")] = 4096,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    config: ConfigFile = None,
) -> None:
    """Show one rejected input whole: reason, stream, payload."""
    from rich.console import Console

    from ingest import rejected
    from ingest.store import provision

    url = provision.locate(configured_url(load(config)))
    raise typer.Exit(rejected.show(url, rejected_id, max_bytes=max_bytes, as_json=as_json, console=Console()))


@rejected_commands.command("retry")
def rejected_retry(
    ids: Annotated[list[int] | None, typer.Argument(metavar="ID...", help="As `list` shows them.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    reason: Annotated[str | None, typer.Option(help="Those whose reason holds this text.")] = None,
    config: ConfigFile = None,
) -> None:
    """Decode rejected input again with this version, store what is good now, keep the rest."""
    from rich.console import Console

    from ingest import rejected_retry as retrying
    from ingest.store import provision

    loaded = load(config)
    url = answering(provision.locate(configured_url(loaded)))
    code = retrying.retry(loaded.config, url, ids=ids or [], everything=everything, reason=reason, console=Console())
    raise typer.Exit(code)


@spool_commands.command("status")
def spool_status(config: ConfigFile = None) -> None:
    """Say what waits on disk, of which streams and since when. Also while a daemon runs."""
    from rich.console import Console

    from ingest import spooled

    raise typer.Exit(spooled.show(spooled.folder(load(config).config), Console()))


@spool_commands.command("drain")
def spool_drain(config: ConfigFile = None) -> None:
    """Deliver to the database what waits on disk. A running daemon does this by itself."""
    from rich.console import Console

    from ingest import spooled
    from ingest.store import provision

    loaded = load(config)
    url = provision.locate(configured_url(loaded))
    settings = loaded.config.spool
    raise typer.Exit(spooled.drain(spooled.folder(loaded.config), settings.max_bytes, url, Console()))


@spool_commands.command("export")
def spool_export(
    output: Annotated[Path, typer.Argument(help="The file to write: NDJSON, a record a line with its table.")],
    config: ConfigFile = None,
) -> None:
    """Write what waits on disk as text; nothing is changed."""
    from ingest import spooled
    from ingest.pipeline import spool_view

    lines = spool_view.export(spooled.folder(load(config).config), output)
    print(f"{output}: {lines:,} lines")
