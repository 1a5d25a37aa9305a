"""`ingest sql` and `ingest export`: what analysts ask."""

from pathlib import Path
from typing import Annotated, cast

import typer

from ingest.cli.options import ConfigFile, configured_url, load

commands = typer.Typer()

Exchange = Annotated[str | None, typer.Option(help="The exchange's name, as ccxt gives it.")]
Symbol = Annotated[str | None, typer.Option(help="The unified symbol: BTC/USDT.")]
Since = Annotated[str | None, typer.Option("--from", help="Start, inclusive, UTC: a time, or today, yesterday.")]
Until = Annotated[str | None, typer.Option("--to", help="End, exclusive, UTC.")]
Values = Annotated[list[str] | None, typer.Option("--set", help="NAME=VALUE for another parameter.")]
Database = Annotated[str | None, typer.Option("--database", help="Another database of the same server.")]


@commands.command("sql")
def ask(
    question: Annotated[
        str | None, typer.Argument(help="One of sql/analyst, or a file that ends in .sql; default: list them.")
    ] = None,
    exchange: Exchange = None,
    symbol: Symbol = None,
    since: Since = None,
    until: Until = None,
    values: Values = None,
    as_json: Annotated[bool, typer.Option("--json", help="A row a line, for programs.")] = False,
    database: Database = None,
    config: ConfigFile = None,
) -> None:
    """Ask a ready question (docs/reference/cookbook.md) as an analyst, who can read `market` only."""
    from rich.console import Console

    from ingest import analyst

    if question is None:
        analyst.list_questions(Console())
        return
    given = analyst.given(values or [], **{"exchange": exchange, "symbol": symbol, "from": since, "to": until})
    url = _address(database, config)
    raise typer.Exit(analyst.run(url, analyst.find(question), given, as_json=as_json, console=Console()))


@commands.command()
def export(
    source: Annotated[str, typer.Argument(help="A view of market, one of sql/analyst, or a file that ends in .sql.")],
    output: Annotated[Path, typer.Argument(help="The file to write: its name ends in .parquet or .csv.")],
    exchange: Exchange = None,
    symbol: Symbol = None,
    since: Since = None,
    until: Until = None,
    values: Values = None,
    numbers: Annotated[
        str, typer.Option(help="What prices and amounts become in Parquet: decimal (exact), text (exact) or double.")
    ] = "decimal",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it is there.")] = False,
    database: Database = None,
    config: ConfigFile = None,
) -> None:
    """Write a view or the answer to a question into a Parquet or CSV file, in constant memory."""
    from rich.console import Console

    from ingest import analyst, export
    from ingest.errors import ConfigError
    from ingest.parquet import Numbers

    if numbers not in ("decimal", "text", "double"):
        raise ConfigError(f"--numbers {numbers}: there are decimal, text and double.")
    code = export.export(
        _address(database, config),
        source,
        output,
        wanted=export.Filter(exchange, symbol, since, until),
        values=analyst.given(values or []),
        numbers=cast(Numbers, numbers),
        overwrite=overwrite,
        console=Console(stderr=True),
    )
    raise typer.Exit(code)


def _address(database: str | None, config: Path | None) -> str:
    from ingest.store import provision
    from ingest.store.database import with_database

    url = provision.locate(configured_url(load(config)))
    return with_database(url, database) if database else url
