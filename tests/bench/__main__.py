"""`python -m tests.bench [--only NAME] [--json FILE]`: measure, print a table, keep it in docs/benchmarks.md."""

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from ingest.errors import Exit, IngestError
from tests.bench import (
    book,
    ccxt_handlers,
    compression,
    decode,
    end_to_end,
    imports,
    policies,
    queries,
    report,
    streams,
    venues,
    writer,
)
from tests.bench.harness import Bench, Figure, Measurement, chosen
from tests.bench.server import Databases

GROUPS = (
    *(decode.GROUP, venues.GROUP, ccxt_handlers.GROUP, book.GROUP, writer.GROUP, imports.GROUP, policies.GROUP),
    *(queries.GROUP, compression.GROUP, end_to_end.GROUP, streams.GROUP),
)
"""In the order of running and of the table."""

KEYS = tuple(key for group in GROUPS for measurement in group.measurements for key in measurement.keys)


def measure(measurements: list[Measurement], console: Console) -> list[Figure]:
    """Run them, print the table on standard output, and keep each figure in docs/benchmarks.md as it comes."""
    shown, figures = report.table(), list[Figure]()
    with ExitStack() as stack:
        databases = Databases(stack, lambda text: console.print(f"  {text}", style="dim"))
        bench = Bench(databases.new, lambda text: console.print(f"  {text}", style="dim"))
        for measurement in measurements:
            console.print(", ".join(measurement.keys), style="bold")
            databases.described = ""
            measured = list(measurement.run(bench))
            report.write_docs(measured, KEYS, databases.described)
            for figure in measured:
                report.add_row(shown, figure)
            figures += measured
    Console().print(shown)
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    groups = ", ".join(group.name for group in GROUPS)
    parser.add_argument("--only", metavar="NAME", help=f"one figure, or one of the groups {groups}")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures there: one flat object")
    flags = parser.parse_args()
    console = Console(stderr=True)
    try:
        measurements = chosen(GROUPS, flags.only or None)
    except ValueError as error:
        console.print(str(error), style="red")
        return Exit.USAGE
    try:
        figures = measure(measurements, console)
    except IngestError as error:
        console.print(str(error), style="red")
        return error.exit_code
    if flags.json is not None:
        flags.json.write_bytes(report.as_json(figures))
    return Exit.OK


if __name__ == "__main__":
    sys.exit(main())
