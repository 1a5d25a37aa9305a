"""`python -m tests.bench [--only NAME] [--json FILE]`: measure, print a table, keep it in docs/benchmarks.md."""

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from rich.console import Console

from ingest.errors import Exit, IngestError
from tests.bench import report
from tests.bench.harness import Figure, Measurement, chosen
from tests.bench.suite import GROUPS, KEYS, measured


def measure(measurements: list[Measurement], console: Console) -> list[Figure]:
    """Run each in a process of its own, print the table on standard output, and keep each figure in docs/benchmarks.md
    as it comes.

    What one leaves in memory, all of ccxt and a heap with holes, must cost no other.
    """
    shown, figures = report.table(), list[Figure]()
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as processes:
        for measurement in measurements:
            console.print(", ".join(measurement.keys), style="bold")
            found, described = processes.submit(measured, measurement.keys[0]).result()
            report.write_docs(found, KEYS, described)
            for figure in found:
                report.add_row(shown, figure)
            figures += found
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
