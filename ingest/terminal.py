"""Text of unknown origin made safe for a terminal: a venue's words may hold what would move its cursor or worse."""

import json
from typing import Any

import msgspec
from rich.console import Console
from rich.text import Text


def plain(text: str) -> str:
    r"""The text with everything that is not printed as it is (controls, direction marks, line breaks) as `\x1b`."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def cell(text: str, style: str = "") -> Text:
    """For a table: safe, and with no markup read out of it."""
    return Text(plain(text), style=style)


def print_json(value: Any, console: Console) -> None:
    """One line of JSON in ASCII: what is no plain letter is escaped."""
    console.out(json.dumps(msgspec.to_builtins(value), ensure_ascii=True), highlight=False)
