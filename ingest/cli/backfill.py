"""`ingest backfill`: history on demand."""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ingest.cli.options import ConfigFile, answering, configured_url, load, say, symbols_of


class _RunByDefault(TyperGroup):
    """`ingest backfill binance BTC/USDT …` is `ingest backfill run binance BTC/USDT …`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["run", *args]
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed


commands = typer.Typer(
    cls=_RunByDefault,
    no_args_is_help=True,
    help="Fetch history that is missing; `ingest backfill EXCHANGE SYMBOLS...` is `ingest backfill run ...`.",
)

Exchange = Annotated[str | None, typer.Argument(help="One exchange; default: all.")]
Symbols = Annotated[list[str] | None, typer.Argument(help="Unified symbols or globs; default: all.")]
Channel = Annotated[str | None, typer.Option(help="Only candles, or only trades.")]
Workers = Annotated[int, typer.Option(min=1, max=16, help="Windows fetched at a time, of each exchange.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say how many requests, rows and minutes; queue nothing.")]


@commands.command()
def run(
    exchanges: Annotated[str, typer.Argument(help="The exchange, or several parted by commas: binance,okx.")],
    symbols: Annotated[list[str], typer.Argument(help="Unified symbols or globs: BTC/USDT '*/EUR'.")],
    since: Annotated[
        str, typer.Option("--from", help="Start, inclusive, UTC: 2024-01-31, '2024-01-31 12:00', or '30 days' ago.")
    ],
    until: Annotated[str | None, typer.Option("--to", help="End, exclusive, in the same forms; default: now.")] = None,
    channel: Annotated[str, typer.Option(help="candles or trades.")] = "candles",
    timeframe: Annotated[
        str, typer.Option(help="Of candles: 1m; longer ones are the exchange's own, kept where its minutes are not.")
    ] = "1m",
    dry_run: DryRun = False,
    workers: Workers = 2,
    config: ConfigFile = None,
) -> None:
    """Fetch what is missing of a range. Safe to stop, to repeat, and to run on several machines at once."""
    from datetime import UTC, datetime

    from ingest import log
    from ingest.backfill import command, orders
    from ingest.store import provision

    now = datetime.now(UTC)
    wanted = orders.of_command(exchanges, symbols_of(symbols), channel, timeframe, since, until, now)
    loaded = load(config)
    log.configure(_quiet(loaded.config.log.level), loaded.config.log.format)
    url = answering(provision.up(configured_url(loaded), say).url)
    raise typer.Exit(command.fetch(loaded.config, url, wanted, dry_run=dry_run, workers=workers))


@commands.command("all")
def run_all(dry_run: DryRun = False, workers: Workers = 2, config: ConfigFile = None) -> None:
    """Fetch what is missing of every backfill block of the configuration. For cron."""
    from datetime import UTC, datetime

    from ingest import log
    from ingest.backfill import command, orders
    from ingest.store import provision

    loaded = load(config, required=True)
    wanted = orders.of_configuration(loaded.config, datetime.now(UTC))
    log.configure(_quiet(loaded.config.log.level), loaded.config.log.format)
    url = answering(provision.up(configured_url(loaded), say).url)
    raise typer.Exit(command.fetch(loaded.config, url, wanted, dry_run=dry_run, workers=workers))


@commands.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="A list of objects, for programs.")] = False,
    config: ConfigFile = None,
) -> None:
    """Show how far every backfill is, by stream. Exit code 1 when a window has failed."""
    from rich.console import Console

    from ingest.backfill import command
    from ingest.store import provision

    url = answering(provision.locate(configured_url(load(config))))
    raise typer.Exit(command.status(url, as_json=as_json, console=Console()))


@commands.command()
def cancel(
    exchange: Exchange = None, symbols: Symbols = None, channel: Channel = None, config: ConfigFile = None
) -> None:
    """Take the windows that are left off the queue; what was fetched stays."""
    from rich.console import Console

    from ingest.backfill import command
    from ingest.store import provision

    url = answering(provision.locate(configured_url(load(config))))
    raise typer.Exit(command.cancel(url, exchange, symbols or [], channel, Console()))


@commands.command()
def retry(
    exchange: Exchange = None, symbols: Symbols = None, channel: Channel = None, config: ConfigFile = None
) -> None:
    """Put the windows that failed on the queue again."""
    from rich.console import Console

    from ingest.backfill import command
    from ingest.store import provision

    url = answering(provision.locate(configured_url(load(config))))
    raise typer.Exit(command.retry(url, exchange, symbols or [], channel, Console()))


def _quiet(level: str) -> str:
    """The bars say what goes on; the log what goes wrong."""
    return "warning" if level == "info" else level
