"""The `ingest` command. Each command is a few lines here; the work is in the module of its name.

Imports stand inside the commands, so that `--help` and completion answer at once.
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Never

import typer

from ingest.errors import ConfigError, Exit, IngestError

if TYPE_CHECKING:
    from ingest.config.source import Loaded

app = typer.Typer(
    name="ingest",
    help="Collect market data into TimescaleDB: exact, complete, queryable.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
database_commands = typer.Typer(no_args_is_help=True, help="The database that the configuration leads to.")
app.add_typer(database_commands, name="db")

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="The configuration; default: $INGEST_CONFIG, else ./ingest.toml if it is there."
    ),
]


def _version(wanted: bool) -> None:
    if wanted:
        from ingest import __version__

        print(f"ingest {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Collect market data into TimescaleDB: exact, complete, queryable."""


def main() -> None:
    """Run a command. A user's mistake is one message on standard error and an exit code, never a traceback."""
    try:
        code = app(standalone_mode=False)
    except IngestError as error:
        _end(str(error), error.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        _end("interrupted", Exit.INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - whatever it is, its text may hold a password
        if (show := getattr(error, "show", None)) is not None:  # a wrong command line: typer words it
            show()
            sys.exit(Exit.USAGE)
        if (translated := _from_database(error)) is not None:
            _end(str(translated), translated.exit_code)
        if isinstance(error, ExceptionGroup) and (known := _first_known(error)) is not None:
            _end(str(known), known.exit_code)
        _crash(error)
    sys.exit(code or Exit.OK)


def _first_known(group: ExceptionGroup[Exception]) -> IngestError | None:
    """Of the errors that ended a TaskGroup, one with a message for the user."""
    for error in group.exceptions:
        found = _first_known(error) if isinstance(error, ExceptionGroup) else error
        if isinstance(found, IngestError):
            return found
    return None


def _from_database(error: Exception) -> IngestError | None:
    import psycopg

    from ingest.store import database

    if isinstance(error, psycopg.errors.UndefinedTable | psycopg.errors.InvalidSchemaName):
        return ConfigError("the database is not migrated. Run `ingest migrate`.")
    return database.translate(error) if isinstance(error, psycopg.Error) else None


def _crash(error: Exception) -> Never:
    """A fault of the program: its traceback, without the passwords that an address in it may hold."""
    import traceback

    from ingest.config.secret import redact_dsn

    print(redact_dsn("".join(traceback.format_exception(error))), end="", file=sys.stderr)
    sys.exit(Exit.FAILED)


def _end(message: str, code: int) -> Never:
    print(f"ingest: {message}", file=sys.stderr)
    sys.exit(code)


def _load(path: Path | None, *, required: bool = False, overrides: dict[str, object] | None = None) -> "Loaded":
    from ingest.config.source import load

    if path is None and "INGEST_CONFIG" in os.environ:
        path = Path(os.environ["INGEST_CONFIG"])
    if path is None and (required or Path("ingest.toml").exists()):
        path = Path("ingest.toml")
    return load(path, environ=os.environ, overrides=overrides)


def _load_for(exchange: str, path: Path | None) -> "Loaded":
    """The configuration for a command that names its exchange, with the log set up."""
    from ingest import log
    from ingest.exchanges import ADAPTERS

    loaded = _load(path)
    if exchange not in ADAPTERS:
        raise ConfigError(f"exchange {exchange!r} has no adapter; there are: {', '.join(ADAPTERS)}")
    log.configure(loaded.config.log.level, loaded.config.log.format)
    return loaded


def _configured_url(loaded: "Loaded") -> str | None:
    from ingest.store.database import with_connect_timeout

    settings = loaded.config.database
    if settings.url is None:
        return None
    return with_connect_timeout(settings.url.get_secret_value(), settings.connect_timeout_seconds)


def _say(line: str) -> None:
    print(line, file=sys.stderr)


@app.command()
def run(
    config: ConfigFile = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
    log_format: Annotated[str | None, typer.Option(help="auto, json or console.")] = None,
) -> None:
    """Collect until SIGTERM or Ctrl-C; a second signal ends at once."""
    from ingest import daemon, log
    from ingest.store import migrate, provision

    loaded = _load(config, required=True, overrides={"log.level": log_level, "log.format": log_format})
    log.configure(loaded.config.log.level, loaded.config.log.format)
    database = provision.up(_configured_url(loaded), _say)
    missing = migrate.pending(database.url)
    if missing:
        names = ", ".join(file.name for file in (*missing.migrations, *missing.definitions))
        raise ConfigError(f"the database is not migrated (missing: {names}). Run `ingest migrate`.")
    raise typer.Exit(daemon.run(loaded.config, database.url))


@app.command()
def migrate(
    config: ConfigFile = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be applied, and apply nothing.")] = False,
) -> None:
    """Bring the database to this program's schema. Safe to repeat."""
    from ingest.store import migrate as migrations
    from ingest.store import provision

    database = provision.up(_configured_url(_load(config)), _say)
    plan = migrations.migrate(database.url, dry_run=dry_run, report=print)
    if dry_run:
        for file in (*plan.migrations, *plan.definitions):
            print(f"would apply {file.name}")
    if not plan:
        print("the database is up to date")


@app.command("check-config")
def check_config(config: ConfigFile = None) -> None:
    """Check the configuration and print every value with its origin; secrets are hidden."""
    from rich.console import Console
    from rich.table import Table

    from ingest.config.source import explain

    loaded = _load(config, required=True)
    table = Table("key", "value", "from", box=None)
    for key, value, origin in explain(loaded):
        table.add_row(key, value, origin)
    Console().print(table)


@app.command()
def status(
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A list of objects, for programs.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Say nothing when all is well; exit 1 when it is not.")
    ] = False,
    config: ConfigFile = None,
) -> None:
    """Show every stream: state, last commit, lag, rates. Read from the database."""
    from rich.console import Console

    from ingest import status as streams
    from ingest.store import provision

    url = provision.locate(_configured_url(_load(config)))
    if check:
        raise typer.Exit(streams.check(url, Console(stderr=True)))
    raise typer.Exit(streams.show(url, watch=watch, as_json=as_json, console=Console()))


@app.command()
def demo(
    seconds: Annotated[float, typer.Option(min=1, max=3600, help="How long to stream.")] = 20,
    seed: Annotated[int, typer.Option(help="Of the simulated market.")] = 7,
    config: ConfigFile = None,
) -> None:
    """Stream from a simulated exchange, query the result, and compare it with the exchange's own ledger."""
    from rich.console import Console

    from ingest import demo as demonstration

    url = _configured_url(_load(config))
    raise typer.Exit(demonstration.run(url, seconds=seconds, seed=seed, console=Console()))


@app.command()
def record(
    exchange: Annotated[str, typer.Argument(help="The exchange's name: binance.")],
    symbols: Annotated[list[str], typer.Argument(help="Unified symbols or globs: BTC/USDT '*/EUR'.")],
    seconds: Annotated[float, typer.Option(min=1, max=86_400)] = 30,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder for the files.")] = Path("recordings"),
    config: ConfigFile = None,
) -> None:
    """Save an exchange's raw traffic, websocket and REST, for `replay` and for tests."""
    from rich.console import Console

    from ingest import record as recording

    loaded = _load_for(exchange, config)
    code = recording.record(loaded.config, exchange, symbols, seconds=seconds, folder=output, console=Console())
    raise typer.Exit(code)


@app.command()
def probe(
    exchange: Annotated[str, typer.Argument(help="The exchange's name: binance.")],
    symbols: Annotated[list[str] | None, typer.Argument(help="Unified symbols; default: BTC/USDT.")] = None,
    seconds: Annotated[float, typer.Option(min=1, max=3600)] = 30,
    config: ConfigFile = None,
) -> None:
    """Listen to the real exchange for a while and say whether the adapter understands it. Stores nothing."""
    from rich.console import Console

    from ingest import probe as probing

    loaded = _load_for(exchange, config)
    code = probing.probe(loaded.config, exchange, symbols or ["BTC/USDT"], seconds=seconds, console=Console())
    raise typer.Exit(code)


@app.command()
def replay(
    files: Annotated[
        list[Path], typer.Argument(help="Recorded connections: BINANCE.ws.1.0.gz; their siblings are found.")
    ],
    to_database: Annotated[bool, typer.Option("--to-database", help="Store the rows, too.")] = False,
    exchange: Annotated[str | None, typer.Option(help="Default: from the file's name.")] = None,
    trade_stream: Annotated[
        str | None, typer.Option(help="Which Binance stream is the trades: trade or aggTrade.")
    ] = None,
    config: ConfigFile = None,
) -> None:
    """Run recorded traffic through the adapter; print counts by kind, what was ignored and what rejected, and why."""
    from rich.console import Console

    from ingest import log
    from ingest import replay as replaying
    from ingest.store import provision

    loaded = _load(config, overrides={"exchanges.binance.trade_stream": trade_stream})
    log.configure(loaded.config.log.level, loaded.config.log.format)
    url = provision.up(_configured_url(loaded), _say).url if to_database else None
    result = replaying.replay(loaded.config, files, exchange=exchange, url=url)
    replaying.show(result, Console())
    raise typer.Exit(replaying.exit_code(result))


@database_commands.command("up")
def database_up(config: ConfigFile = None) -> None:
    """Start the database (container or embedded), make it first where there is none."""
    from ingest.config.secret import redact_dsn
    from ingest.store import provision
    from ingest.store.database import connect_sync

    database = provision.up(_configured_url(_load(config)), _say)
    with connect_sync(database.url, role="db up") as connection:
        (version,) = connection.execute("SHOW server_version").fetchone() or ("?",)
    print(f"{database.origin}: PostgreSQL {version} at {redact_dsn(database.url)}")


@database_commands.command("down")
def database_down(config: ConfigFile = None) -> None:
    """Stop the container or the embedded server; data is kept."""
    from ingest.store import provision

    print(provision.down(_configured_url(_load(config))))


@database_commands.command("status")
def database_status(config: ConfigFile = None) -> None:
    """Say which database it is, whether it runs, its versions and sizes."""
    from ingest.store import provision

    for key, value in provision.describe(_configured_url(_load(config))).items():
        print(f"{key:<12} {value}")


@database_commands.command("psql", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def database_psql(
    context: typer.Context,
    config: ConfigFile = None,
    name: Annotated[str | None, typer.Option("--database", help="Another database of the same server.")] = None,
) -> None:
    """Open psql with the `market` schema first; further arguments go to psql."""
    from ingest.store import provision

    command = provision.psql(_configured_url(_load(config)), name, context.args)
    os.execvpe(command.argv[0], list(command.argv), command.environment)  # noqa: S606 - psql takes this process over


@database_commands.command("destroy")
def database_destroy(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete the embedded server's data for ever."""
    from ingest.store import provision

    if not yes:
        typer.confirm("Delete the embedded server and everything it stores?", abort=True)
    provision.embedded_server(_say).destroy()
    print("the embedded server and its data are deleted")
