"""Collecting while rollups are made, against collecting alone.

Both sides write the same trades through the daemon's writer. The base tells nothing to the rollups and nothing is made
of its rows; beside the other, maintenance makes a pass every five seconds over all that has changed. Such a pass has
many minutes of trades to make, as the load is written at many times the speed of its clock: each row is rolled up about
once, as it is live.
"""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from typing import Any, TypeVar

import psycopg

from ingest.clock import SECOND, Clock, monotonic_ns
from ingest.maintain import Maintenance
from tests.bench.harness import Bench, Figure, Group, alternate
from tests.bench.writer import _note, sides

GROUP = Group("policies")

_EVERY_SECONDS = 5.0
_HOUR_NS = 3_600 * SECOND
_LATE = "UPDATE ingest.policies SET late_after = CASE WHEN {} THEN INTERVAL '24 hours' END WHERE table_name = 'trades'"

Result = TypeVar("Result")


def _hourly() -> Clock:
    """A clock by which everything is due at each pass."""
    ticks = iter(range(monotonic_ns(), 2**63 - 1, _HOUR_NS))
    return lambda: next(ticks)


@GROUP.measures("ingest_with_policies")
def ingest_with_policies(bench: Bench) -> Iterator[Figure]:
    with bench.database() as url, sides(bench, bench.scale.rows, url) as made:
        alone = made._run

        def together(work: Coroutine[Any, Any, Result]) -> Result:
            return alone(_beside(url, work))

        def base() -> float:
            _tell(url, told=False)
            made._run = alone
            return made.write()

        def other() -> float:
            _tell(url, told=True)
            made._run = together  # type: ignore[assignment]  # the same but for a context that nobody gives
            return made.write()

        pairs = alternate(bench.scale.pairs, base, other)
        made._run = alone
    yield Figure("ingest_with_policies", pairs.rate, at_least=0.85, note=_note(pairs, bench.scale.rows))


async def _beside(url: str, work: Coroutine[Any, Any, Result]) -> Result:
    maintenance = Maintenance(url, now=_hourly())

    async def passes() -> None:
        while True:
            await asyncio.sleep(_EVERY_SECONDS)
            await maintenance.step()

    task = asyncio.create_task(passes())
    try:
        return await work
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await maintenance.close()


def _tell(url: str, *, told: bool) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_LATE.format("true" if told else "false").encode())
        connection.execute("TRUNCATE ingest.rollup_changes")
