"""On which line of a TOML text each key stands: `tomllib` keeps no positions."""

import tomllib
from collections.abc import Iterator, Mapping
from typing import Any


def lines_of_keys(text: str) -> dict[str, int]:
    """Dotted key → line, from 1, of a text that `tomllib` accepts; tables and blocks have lines too.

    A statement is the fewest lines from its first on that parse alone; `[[collect]]` counts as `collect[0]`,
    `collect[1]`, and so on.
    """
    lines: dict[str, int] = {}
    counts: dict[str, int] = {}
    table = ""
    for number, statement in _statements(text):
        value = tomllib.loads(statement)
        stripped = statement.lstrip()
        if stripped.startswith("["):
            table = _enter(value, counts)
            lines[table] = number
        else:
            for key in paths(value, table):
                lines.setdefault(key, number)
    return lines


def _statements(text: str) -> Iterator[tuple[int, str]]:
    pending = ""
    first = 0
    for number, line in enumerate(text.splitlines(keepends=True), start=1):
        if not pending:
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            first = number
        pending += line
        # Parsing is tried only where a value can end, or a long list would be parsed once a line.
        if (number == first or any(end in line for end in ("]", '"""', "'''"))) and _parses(pending):
            yield first, pending
            pending = ""


def _parses(statement: str) -> bool:
    try:
        tomllib.loads(statement)
    except tomllib.TOMLDecodeError:
        return False
    return True


def _enter(header: Mapping[str, Any], counts: dict[str, int]) -> str:
    path = ""
    inner: Any = header
    while isinstance(inner, dict) and inner:
        name, inner = next(iter(inner.items()))
        path = join(path, name)
        if isinstance(inner, list):
            counts[path] = counts.get(path, 0) + 1
        if path in counts:
            path = f"{path}[{counts[path] - 1}]"
    return path


def join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def paths(value: Any, prefix: str = "") -> Iterator[str]:
    """Dotted keys of a nested value, tables before their keys; a list of plain values is one key."""
    if prefix:
        yield prefix
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from paths(inner, join(prefix, name))
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for index, item in enumerate(value):
            yield from paths(item, f"{prefix}[{index}]")
