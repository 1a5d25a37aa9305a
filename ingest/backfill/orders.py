"""What is asked for: by the command line, or by `[[backfill]]` in the configuration. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from ingest.config.fields import span_of
from ingest.config.model import Config
from ingest.errors import ConfigError
from ingest.records import TIMEFRAMES, Channel, Timeframe

_FIRST = datetime(1971, 1, 1, tzinfo=UTC)
BACKFILLED: tuple[Channel, ...] = ("candles", "trades")


class Order(Struct, frozen=True):
    """One range of some symbols (or globs) of one exchange; `until` is exclusive."""

    exchange: str
    symbols: tuple[str, ...]
    channel: Channel
    timeframe: Timeframe
    since: datetime
    until: datetime


def of_command(
    exchanges: str, symbols: Sequence[str], channel: str, timeframe: str, since: str, until: str | None, now: datetime
) -> list[Order]:
    """Of a command line; exchanges are parted by commas. Raises ConfigError."""
    if channel not in BACKFILLED:
        raise ConfigError(f"--channel {channel!r}: history can be fetched of {' and '.join(BACKFILLED)}")
    if timeframe not in TIMEFRAMES:
        raise ConfigError(f"--timeframe {timeframe!r}: there are {', '.join(TIMEFRAMES)}")
    if channel == "trades" and timeframe != "1m":
        raise ConfigError("--timeframe is for candles alone")
    names = [name.strip() for name in exchanges.split(",") if name.strip()]
    start, end = moment(since, now, "--from"), now if until is None else moment(until, now, "--to")
    if start >= end:
        raise ConfigError(f"--from {since} is not before --to {until or 'now'}")
    return [Order(name, tuple(symbols), channel, timeframe, start, end) for name in dict.fromkeys(names)]


def of_configuration(config: Config, now: datetime) -> list[Order]:
    """Of every `[[backfill]]` block. Raises ConfigError where there is none, or one has no length."""
    if not config.backfill:
        raise ConfigError("nothing to backfill: add a [[backfill]] block to the configuration")
    orders = []
    for number, block in enumerate(config.backfill, 1):
        name = f"[[backfill]] block {number}"
        start = moment(block.since, now, f"{name}, since")
        end = now if block.until is None else moment(block.until, now, f"{name}, until")
        if start >= end:
            raise ConfigError(f"{name}: since ({block.since}) is not before until ({block.until or 'now'})")
        orders.append(Order(block.exchange, block.symbols, block.channel, block.timeframe, start, end))
    return orders


def moment(text: str, now: datetime, where: str) -> datetime:
    """A day or a time, in UTC unless it says otherwise, or so long before now: `30 days`, `12 hours`."""
    try:
        found = span_of(text)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from error
    try:
        if isinstance(found, timedelta):
            time = now - found
        else:
            time = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except OverflowError:
        time = datetime.min.replace(tzinfo=UTC)
    if time < _FIRST:
        raise ConfigError(f"{where}: {text} is before there was any such market: say a later day")
    return time
