"""Commands around what is missing: gaps, rejected input, the spool."""

from pathlib import Path
from typing import Annotated

import typer

from ingest.cli.options import ConfigFile, configured_url, load

commands = typer.Typer()
spool_commands = typer.Typer(no_args_is_help=True, help="Rows that wait on disk for the database.")
rejected_commands = typer.Typer(no_args_is_help=True, help="Input that could not be stored.")


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
