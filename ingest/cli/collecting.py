"""Commands around collecting: run, look, try, record."""

import gc
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ingest.cli.options import ConfigFile, answering, configured_url, load, load_for, say, share, symbols_of
from ingest.errors import ConfigError

if TYPE_CHECKING:
    from ingest.config.source import Loaded

commands = typer.Typer()


@commands.command()
def run(
    config: ConfigFile = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
    log_format: Annotated[str | None, typer.Option(help="auto, json or console.")] = None,
    shard: Annotated[
        str | None, typer.Option(help="Of n daemons with one configuration, the share of this one: 1/3, 2/3, 3/3.")
    ] = None,
) -> None:
    """Collect until SIGTERM or Ctrl-C; a second signal ends at once. SIGHUP reads the configuration again."""
    gc.disable()  # what is imported stays for ever: to look through it for garbage, now and later, takes time
    from ingest import daemon, log
    from ingest.store import migrate, provision

    gc.freeze()
    gc.enable()

    def read() -> "Loaded":
        number, of = (None, None) if shard is None else share(shard)
        flags: dict[str, object] = {
            "log.level": log_level,
            "log.format": log_format,
            "shard.number": number,
            "shard.of": of,
        }
        return load(config, required=True, overrides=flags)

    loaded = read()
    loaded.require_collect()  # before a database is asked, or fetched
    log.configure(loaded.config.log.level, loaded.config.log.format)
    database = provision.up(configured_url(loaded), say)
    missing = migrate.pending(database.url, loaded.config)
    if missing.files:
        names = ", ".join(file.name for file in missing.files)
        raise ConfigError(f"the database is not migrated (missing: {names}). Run `ingest migrate`.")
    for figure in missing.figures:
        say(f"policy of {figure}: not in force before `ingest migrate`")
    raise typer.Exit(daemon.run(lambda: read().config, database.url))


@commands.command()
def reload(config: ConfigFile = None) -> None:
    """Let the running daemon read its configuration again: streams are added and taken away, the others go on."""
    import os
    import signal

    from ingest import spooled
    from ingest.pipeline.spool import running_pid

    folder = spooled.folder(load(config, required=True).config)  # and a mistake in it is told here, too
    pid = running_pid(folder)
    if pid is None:
        raise ConfigError(f"no daemon is running with the spool {folder}")
    os.kill(pid, signal.SIGHUP)
    print(f"told the daemon (process {pid}); its log says what changed")


@commands.command()
def migrate(
    config: ConfigFile = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be applied, and apply nothing.")] = False,
) -> None:
    """Bring the database to this program's schema and to the configuration's policies. Safe to repeat."""
    from ingest.store import migrate as migrations
    from ingest.store import provision

    loaded = load(config)
    database = provision.up(configured_url(loaded), say)
    plan = migrations.migrate(database.url, loaded.config, dry_run=dry_run, report=print)
    if dry_run:
        for figure in plan.figures:
            print(f"would change the policy of {figure}")
        for file in plan.files:
            remark = (
                ", with which earlier programs cannot work: the way back is a backup" if file in plan.breaking else ""
            )
            print(f"would apply {file.name}{remark}")
    if not plan:
        print("the database is up to date")


@commands.command("check-config")
def check_config(
    online: Annotated[
        bool, typer.Option("--online", help="Ask the venues for their listings: expand globs, check symbols.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One object, for programs.")] = False,
    config: ConfigFile = None,
) -> None:
    """Check the configuration; print every value with its origin, what would run, and how much it would store."""
    from rich.console import Console

    from ingest import check_config as checking
    from ingest import log

    loaded = load(config, required=True)
    log.configure(loaded.config.log.level, loaded.config.log.format)
    raise typer.Exit(checking.check(loaded, online=online, as_json=as_json, console=Console()))


@commands.command()
def status(
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Go on until Ctrl-C; without --json and --check.")
    ] = False,
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

    if watch + as_json + check > 1:
        raise ConfigError("--watch, --json and --check: choose one")
    url = provision.locate(configured_url(load(config)))
    if check:
        raise typer.Exit(streams.check(url, Console(stderr=True)))
    raise typer.Exit(streams.show(url, watch=watch, as_json=as_json, console=Console()))


@commands.command()
def health(config: ConfigFile = None) -> None:
    """Ask the running daemon, on this machine, whether it is ready: 0 if it is, 1 if not, 3 without an answer.

    For containers and monitors. It asks `/ready` at the `[http]` address; what is wrong goes to standard error.
    """
    from ingest.operate import health as asking

    code, reason = asking.ask(load(config).config.http)
    if reason:
        say(f"ingest: {reason}")
    raise typer.Exit(code)


@commands.command()
def demo(
    seconds: Annotated[float, typer.Option(min=1, max=3600, help="How long to stream.")] = 20,
    seed: Annotated[int, typer.Option(help="Of the simulated market.")] = 7,
    config: ConfigFile = None,
) -> None:
    """Stream from a simulated exchange, query the result, and compare it with the exchange's own ledger."""
    from rich.console import Console

    from ingest import demo as demonstration

    url = configured_url(load(config))
    raise typer.Exit(demonstration.run(url, seconds=seconds, seed=seed, console=Console()))


@commands.command()
def record(
    exchange: Annotated[str, typer.Argument(help="The exchange's name: binance.")],
    symbols: Annotated[list[str], typer.Argument(help="Unified symbols or globs: BTC/USDT '*/EUR'.")],
    seconds: Annotated[float, typer.Option(min=1, max=86_400, help="How long to record.")] = 30,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder for the files.")] = Path("recordings"),
    config: ConfigFile = None,
) -> None:
    """Save an exchange's raw traffic, websocket and REST, for `replay` and for tests."""
    from rich.console import Console

    from ingest import record as recording

    loaded = load_for(exchange, config)
    wanted = symbols_of(symbols)
    code = recording.record(loaded.config, exchange, wanted, seconds=seconds, folder=output, console=Console())
    raise typer.Exit(code)


@commands.command()
def probe(
    exchange: Annotated[str, typer.Argument(help="The exchange's name: binance.")],
    symbols: Annotated[list[str] | None, typer.Argument(help="Unified symbols; default: BTC/USDT.")] = None,
    seconds: Annotated[float, typer.Option(min=1, max=3600, help="How long to listen.")] = 30,
    config: ConfigFile = None,
) -> None:
    """Listen to the real exchange for a while and say whether the adapter understands it. Stores nothing."""
    from rich.console import Console

    from ingest import probe as probing

    loaded = load_for(exchange, config)
    wanted = symbols_of(symbols or ["BTC/USDT"])
    code = probing.probe(loaded.config, exchange, wanted, seconds=seconds, console=Console())
    raise typer.Exit(code)


@commands.command()
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

    loaded = load(config, overrides={"exchanges.binance.trade_stream": trade_stream})
    log.configure(loaded.config.log.level, loaded.config.log.format)
    url = answering(provision.up(configured_url(loaded), say).url) if to_database else None
    result = replaying.replay(loaded.config, files, exchange=exchange, url=url)
    replaying.show(result, Console())
    raise typer.Exit(replaying.exit_code(result))
