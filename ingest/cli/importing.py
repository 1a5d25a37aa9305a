"""`ingest import`: dump files into the database."""

from pathlib import Path
from typing import Annotated

import typer

from ingest.cli.options import ConfigFile, answering, configured_url, load

commands = typer.Typer()


@commands.command("import")
def import_files(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Files to import: .csv, .zip, .csv.gz, .ndjson, .parquet. Checksums beside them are verified."
        ),
    ],
    exchange: Annotated[str, typer.Option(help="The exchange's name, as ccxt gives it: binance.")],
    symbol: Annotated[
        str | None,
        typer.Option(help="The instrument, unified or native: BTC/USDT, BTCUSDT; default: from the file's name."),
    ] = None,
    format_name: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="binance-trades, binance-aggTrades, binance-klines, bybit-trades, tardis-trades, "
            "tardis-book_snapshot or mapped; default: from the file's name.",
        ),
    ] = None,
    mapping: Annotated[Path | None, typer.Option("--map", help="A TOML file that says which column is which.")] = None,
    workers: Annotated[
        int, typer.Option(min=1, max=16, help="How many connections write, and files are read, at most.")
    ] = 2,
    config: ConfigFile = None,
) -> None:
    """Load dump files at COPY speed. Safe to repeat; goes on where it was stopped. Exit code 1: a file was refused."""
    from rich.console import Console

    from ingest.importing import command
    from ingest.importing.job import Request
    from ingest.store import provision

    loaded = load(config)
    url = answering(provision.locate(configured_url(loaded)))
    request = Request(exchange, symbol, format_name, mapping)
    raise typer.Exit(command.run(loaded.config, url, files, request, workers=workers, console=Console()))
