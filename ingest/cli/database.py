"""`ingest db …`: the database that the configuration leads to."""

import os
from typing import Annotated

import typer

from ingest.cli.options import ConfigFile, configured_url, load, say

commands = typer.Typer(no_args_is_help=True, help="The database that the configuration leads to.")


@commands.command("up")
def database_up(config: ConfigFile = None) -> None:
    """Start the database (container or embedded), make it first where there is none."""
    from ingest.config.secret import redact_dsn
    from ingest.store import provision
    from ingest.store.database import connect_sync

    database = provision.up(configured_url(load(config)), say)
    with connect_sync(database.url, role="db up") as connection:
        (version,) = connection.execute("SHOW server_version").fetchone() or ("?",)
    print(f"{database.origin}: PostgreSQL {version} at {redact_dsn(database.url)}")


@commands.command("down")
def database_down(config: ConfigFile = None) -> None:
    """Stop the container or the embedded server; data is kept."""
    from ingest.store import provision

    print(provision.down(configured_url(load(config))))


@commands.command("status")
def database_status(config: ConfigFile = None) -> None:
    """Say which database it is, whether it runs, its versions and sizes."""
    from ingest.store import provision

    for key, value in provision.describe(configured_url(load(config))).items():
        print(f"{key:<12} {value}")


@commands.command("psql", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def database_psql(
    context: typer.Context,
    config: ConfigFile = None,
    name: Annotated[str | None, typer.Option("--database", help="Another database of the same server.")] = None,
    owner: Annotated[bool, typer.Option("--owner", help="Stay the login's own role, which may write.")] = False,
) -> None:
    """Open psql as an analyst, schema `market` first; further arguments go to psql."""
    from ingest import analyst
    from ingest.store import provision

    configured = configured_url(load(config))
    role = None if owner else analyst.role(provision.up(configured, say).url)
    command = provision.psql(configured, name, context.args, role=role)
    os.execvpe(command.argv[0], list(command.argv), command.environment)  # noqa: S606 - psql takes this process over


@commands.command("destroy")
def database_destroy(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete the embedded server's data for ever."""
    from ingest.store import provision

    if not yes:
        typer.confirm("Delete the embedded server and everything it stores?", abort=True)
    provision.embedded_server(say).destroy()
    print("the embedded server and its data are deleted")
