"""Commands around venues and what they list."""

from typing import Annotated

import typer

from ingest.cli.options import ConfigFile, configured_url, load, load_for

commands = typer.Typer()
instruments_commands = typer.Typer(no_args_is_help=True, help="What the database knows of the venues' instruments.")


@commands.command()
def exchanges(
    everything: Annotated[bool, typer.Option("--all", help="Also those that are not configured, but may be.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A list of objects, for programs.")] = False,
    config: ConfigFile = None,
) -> None:
    """Show the exchanges: native or through ccxt, channels by kind of instrument, and how each is, by the database."""
    from rich.console import Console

    from ingest import directory

    loaded = load(config)
    url = configured_url(loaded)
    raise typer.Exit(directory.show(loaded.config, url, everything=everything, as_json=as_json, console=Console()))


@commands.command()
def symbols(
    exchange: Annotated[str, typer.Argument(help="The exchange's name: binance.")],
    pattern: Annotated[str, typer.Argument(help="A glob over unified symbols: '*/EUR'.")] = "*",
    stored: Annotated[bool, typer.Option("--stored", help="Ask the database, not the exchange.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A list of objects, for programs.")] = False,
    config: ConfigFile = None,
) -> None:
    """Show what an exchange lists: kinds, steps and limits. Exit code 2 when nothing matches."""
    from rich.console import Console

    from ingest import instruments
    from ingest.store import provision

    loaded = load_for(exchange, config)
    url = provision.locate(configured_url(loaded)) if stored else None
    code = instruments.symbols(loaded.config, exchange, pattern, stored_at=url, as_json=as_json, console=Console())
    raise typer.Exit(code)


@instruments_commands.command("refresh")
def instruments_refresh(
    exchanges: Annotated[
        list[str] | None, typer.Argument(metavar="EXCHANGE...", help="Default: those that are collected.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A list of objects, for programs.")] = False,
    config: ConfigFile = None,
) -> None:
    """Ask exchanges for all that they list, and store it. A running daemon does this every hour."""
    from rich.console import Console

    from ingest import instruments
    from ingest.store import provision

    loaded = load(config)
    for exchange in exchanges or []:
        load_for(exchange, config)
    url = provision.locate(configured_url(loaded))
    code = instruments.refresh(loaded.config, url, exchanges or [], as_json=as_json, console=Console())
    raise typer.Exit(code)
