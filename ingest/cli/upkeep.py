"""Commands around the database's health: look for what is wrong, back up, restore."""

from pathlib import Path
from typing import Annotated

import typer

from ingest.cli.options import ConfigFile, answering, configured_url, load, say

commands = typer.Typer()


@commands.command()
def policies(
    as_json: Annotated[bool, typer.Option("--json", help="One object, for programs.")] = False,
    config: ConfigFile = None,
) -> None:
    """Show chunk intervals, compression, retention and rollups in force, table by table, and when they last ran."""
    from rich.console import Console

    from ingest import policies as figures
    from ingest.store import provision

    raise typer.Exit(figures.show(provision.locate(configured_url(load(config))), Console(), as_json=as_json))


@commands.command()
def maintain(config: ConfigFile = None) -> None:
    """Do once what the daemon does all day: roll up what changed, drop what is too old. For cron."""
    from rich.console import Console

    from ingest import maintain as upkeep
    from ingest.store import provision

    raise typer.Exit(upkeep.once(answering(provision.locate(configured_url(load(config)))), Console()))


@commands.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="A list of objects, for programs.")] = False,
    config: ConfigFile = None,
) -> None:
    """Examine server, schema, roles, settings, jobs, streams, spool; say what to do. Exit code 1 when a check fails."""
    from rich.console import Console

    from ingest import doctor as examining
    from ingest.store import provision

    loaded = load(config)
    url = provision.locate(configured_url(loaded))
    raise typer.Exit(examining.show(loaded.config, url, as_json=as_json, console=Console()))


@commands.command()
def backup(
    file: Annotated[Path, typer.Argument(help="The file to make: ingest.backup.zip.")],
    method: Annotated[
        str, typer.Option(help="dump, tables, or auto: dump where a superuser and pg_dump of the server's version are.")
    ] = "auto",
    config: ConfigFile = None,
) -> None:
    """Write the whole database into one file, as it is at this moment; the daemon may go on."""
    from ingest import backup as backing
    from ingest.store import provision

    configured = configured_url(load(config))
    backing.backup(
        provision.locate(configured),
        file,
        method=backing.chosen(method),
        in_container=not configured and provision.container_engine(),
        report=say,
    )


@commands.command()
def restore(
    file: Annotated[Path, typer.Argument(help="As `backup` made it.")],
    config: ConfigFile = None,
) -> None:
    """Bring a backup into an empty database, and compare its rows with the backup's count."""
    from ingest import backup as backing
    from ingest.store import provision

    configured = configured_url(load(config))
    url = provision.up(configured, say).url
    in_container = not configured and provision.container_engine()
    raise typer.Exit(backing.restore(url, file, in_container=in_container, report=say))
