"""Figures as a table for the terminal, as the table of docs/benchmarks.md, and as JSON."""

import platform
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import orjson
from rich.table import Table

from tests.bench.harness import Figure, number

DOCS = Path(__file__).parents[2] / "docs" / "benchmarks.md"
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"

_HEAD = "| figure | value | target | measured | how |\n|---|--:|--:|---|---|"
_PACKAGES = ("msgspec", "orjson", "psycopg", "uvloop", "websockets")
_VERDICT = {True: "", False: " missed", None: ""}
_ROW = re.compile(r"^\| `(\w+)` \|.*$", re.MULTILINE)


def table() -> Table:
    shown = Table(box=None, header_style="bold")
    shown.add_column("figure")
    shown.add_column("value", justify="right")
    shown.add_column("target", justify="right")
    shown.add_column("how", overflow="fold")
    return shown


def add_row(shown: Table, figure: Figure) -> None:
    style = {True: "green", False: "red", None: ""}[figure.met]
    value = f"{number(figure.value)} {figure.unit}"
    shown.add_row(figure.key, f"[{style}]{value}[/]" if style else value, figure.target, figure.note)


def as_json(figures: Iterable[Figure]) -> bytes:
    """One flat object of numbers."""
    return orjson.dumps({figure.key: round(figure.value, 4) for figure in figures}, option=orjson.OPT_INDENT_2) + b"\n"


def write_docs(figures: Iterable[Figure], order: Iterable[str], database: str, path: Path = DOCS) -> None:
    """Put the figures between the markers; those not measured this time keep their row. Raises ValueError without
    markers. `order` is that of the rows.
    """
    old = _split(path, BEGIN, END)[1]
    rows = {found[1]: found[0] for found in _ROW.finditer(old)}
    rows |= {figure.key: _row(figure, database) for figure in figures}
    write_between(BEGIN, END, [_HEAD, *(rows[key] for key in order if key in rows)], path)


def write_between(begin: str, end: str, lines: Iterable[str], path: Path = DOCS) -> None:
    """Put lines between two markers, below what they were measured on. Raises ValueError without markers."""
    before, _, after = _split(path, begin, end)
    machine = f"Last run: {_machine()}; {_versions()}."
    path.write_text("\n".join([before + begin, machine, "", *lines, end + after]))


def _split(path: Path, begin: str, end: str) -> tuple[str, str, str]:
    """What stands before, between and after the markers."""
    before, found, rest = path.read_text().partition(begin)
    old, ended, after = rest.partition(end)
    if not found or not ended:
        raise ValueError(f"{path}: the markers {begin} and {end} are missing")
    return before, old, after


def _row(figure: Figure, database: str) -> str:
    value = f"{number(figure.value)} {figure.unit}{_VERDICT[figure.met]}"
    day = datetime.now(UTC).date().isoformat()
    note = figure.note.replace("|", "/")
    return f"| `{figure.key}` | {value} | {figure.target} | {day}{', ' + database if database else ''} | {note} |"


def _machine() -> str:
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    cores = len(re.findall(r"^processor", Path("/proc/cpuinfo").read_text(), re.MULTILINE))
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    gigabytes = int(memory[1]) / 1_048_576 if memory else 0
    return f"{cpu[1] if cpu else platform.machine()}, {cores} cores, {gigabytes:.0f} GB, {platform.platform()}"


def _versions() -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return f"Python {platform.python_version()}, {packages}"
