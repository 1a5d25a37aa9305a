"""Everything that is measured, and one measurement of it in this process."""

from contextlib import ExitStack

from rich.console import Console

from tests.bench import (
    book,
    ccxt_handlers,
    compression,
    decode,
    end_to_end,
    imports,
    policies,
    queries,
    streams,
    venues,
    writer,
)
from tests.bench.harness import Bench, Figure, chosen
from tests.bench.server import Databases

GROUPS = (
    *(decode.GROUP, venues.GROUP, ccxt_handlers.GROUP, book.GROUP, writer.GROUP, imports.GROUP, policies.GROUP),
    *(queries.GROUP, compression.GROUP, end_to_end.GROUP, streams.GROUP),
)
"""In the order of running and of the table."""

KEYS = tuple(key for group in GROUPS for measurement in group.measurements for key in measurement.keys)


def measured(key: str) -> tuple[list[Figure], str]:
    """What the measurement of this key yields, and the database that it used."""
    console = Console(stderr=True)
    (measurement,) = chosen(GROUPS, key)
    with ExitStack() as stack:
        databases = Databases(stack, lambda text: console.print(f"  {text}", style="dim"))
        bench = Bench(databases.new, lambda text: console.print(f"  {text}", style="dim"))
        return list(measurement.run(bench)), databases.described
