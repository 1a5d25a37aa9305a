"""`python -m ingest.simulator`: a venue in its own process, until SIGTERM or SIGINT."""

import argparse
import asyncio
import signal
import sys
import time

import msgspec
import orjson
import uvloop

from ingest.errors import Exit
from ingest.simulator.chaos import Mix
from ingest.simulator.limits import Limits
from ingest.simulator.listing import DEFAULT_SYMBOLS
from ingest.simulator.market import Dynamics
from ingest.simulator.venue import Venue, VenueConfig


def parser() -> argparse.ArgumentParser:
    """Every flag, for the program and for the test that compares it with the docs."""
    made = argparse.ArgumentParser(prog="python -m ingest.simulator", description=__doc__)
    add = made.add_argument
    add("--port", type=int, default=0, help="on 127.0.0.1; 0 takes a free one")
    add("--seed", type=int, default=7)
    add("--symbols", default=",".join(DEFAULT_SYMBOLS), help="comma-separated, as BTC/USDT")
    add("--synthetic", type=int, default=0, help="so many more instruments: SIM000/USDT and on")
    add("--start-us", type=int, help="the market's first moment, microseconds since the epoch; default now")
    add("--start-second", type=int, help="or: this second of the minute, at most a minute ago")
    add("--trades-per-second", type=float, default=100.0, help="in total, outside bursts")
    add("--burst", type=float, default=5.0, help="what a burst multiplies it by; 1 makes none")
    add("--book-changes-per-second", type=float, default=40.0, help="each instrument's, beside those of trades")
    add("--book-levels", type=int, default=1_200, help="on each side")
    add("--tick-ms", type=int, default=10, help="length of a step; divides a second")
    add("--history-minutes", type=int, default=1_000, help="how far REST history reaches back before the start")
    add("--history-trades-per-minute", type=int, default=10)
    add("--connection-lifetime", type=float, default=86_400.0, help="seconds until a websocket is closed")
    add("--shutdown-notice", type=float, default=10.0, help="seconds between serverShutdown and the close")
    add("--weight-per-minute", type=int, default=6_000)
    add("--slow-client", choices=["close", "wait"], default="close", help="cut it off, or hold the market for it")
    add("--faults", type=int, metavar="SEED", help="misbehave at random, from a seed of its own")
    add("--faults-per-minute", type=float, default=20.0)
    add("--faults-mix", default="", metavar="KIND=WEIGHT,…", help="other weights than the usual; 0 leaves a kind out")
    return made


def _mix(flags: argparse.Namespace) -> Mix | None:
    """Raises `ValueError` for a flag that is wrong."""
    if flags.faults is None:
        return None
    weights = dict(part.partition("=")[::2] for part in flags.faults_mix.split(",") if part)
    said = {"seed": flags.faults, "per_minute": flags.faults_per_minute, "weights": weights}
    return msgspec.convert(said, Mix, strict=False)


def _back_to(second: int) -> int:
    """The last moment at which a minute was `second` seconds old, so that the next one begins when it is wanted."""
    now_us = time.time_ns() // 1_000
    return now_us - (now_us - second * 1_000_000) % 60_000_000


def configuration(flags: argparse.Namespace) -> VenueConfig:
    return VenueConfig(
        symbols=tuple(name.strip() for name in flags.symbols.split(",") if name.strip()),
        synthetic=flags.synthetic,
        seed=flags.seed,
        port=flags.port,
        start_us=_back_to(flags.start_second) if flags.start_second is not None else flags.start_us,
        history_minutes=flags.history_minutes,
        history_trades_per_minute=flags.history_trades_per_minute,
        slow_client=flags.slow_client,
        chaos=_mix(flags),
        dynamics=Dynamics(
            trades_per_second=flags.trades_per_second,
            burst=flags.burst,
            book_changes_per_second=flags.book_changes_per_second,
            book_levels=flags.book_levels,
            tick_us=flags.tick_ms * 1_000,
        ),
        limits=Limits(
            weight_per_minute=flags.weight_per_minute,
            connection_lifetime_seconds=flags.connection_lifetime,
            shutdown_notice_seconds=flags.shutdown_notice,
        ),
    )


async def run(config: VenueConfig) -> None:
    """Serve, say so in one line of JSON on standard output, and end on a signal or on `/control/stop`."""
    loop = asyncio.get_running_loop()
    async with Venue.serve(config) as venue:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, venue.stop)
        ready = {
            "url": venue.rest_url,
            "ws_url": venue.ws_url,
            "port": venue.port,
            "started_at_us": venue.market.time_us,
        }
        sys.stdout.write(orjson.dumps(ready).decode() + "\n")
        sys.stdout.flush()
        await venue.stopped.wait()


def main() -> int:
    try:
        config = configuration(parser().parse_args())
        uvloop.run(run(config))
    except (ValueError, OSError) as error:
        sys.stderr.write(f"simulator: {error}\n")
        return Exit.USAGE
    return Exit.OK


if __name__ == "__main__":
    sys.exit(main())
