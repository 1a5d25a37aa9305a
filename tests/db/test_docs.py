"""What the pages tell people to type: every statement runs, every command, option and target exists."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from ingest import analyst
from ingest.cli import app
from ingest.store.database import connect_sync
from tests.db import known_market

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted(page for page in (ROOT / "docs").rglob("*.md") if page.parent.name != "reference")]
SQL = [page for page in PAGES if "```sql" in page.read_text()]

_CODE = re.compile(r"`([^`]+)`|^ {4}(\S.*)$", re.MULTILINE)
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", SQL, ids=name)
def test_every_statement_runs(page: Path, database_url: str) -> None:
    """As an analyst; what names `ingest` as the owner."""
    known_market.load(database_url)
    statements = [
        statement
        for language, block in _BLOCK.findall(page.read_text())
        if language == "sql"
        for statement in re.sub(r"--.*", "", block).split(";")
        if statement.strip()
    ]
    assert statements
    with analyst.connect(database_url) as reader, connect_sync(database_url, role="test") as owner:
        for statement in statements:
            (owner if "ingest." in statement else reader).execute(statement.encode())


def lines(page: Path) -> Iterator[str]:
    """Each line of shell, and each piece of code in the text."""
    text = page.read_text()
    for language, block in _BLOCK.findall(text):
        if language in ("", "sh"):
            yield from block.replace("\\\n", " ").splitlines()
    rest = _BLOCK.sub("", text).replace("\\\n", " ")
    for inline, indented in _CODE.findall(rest):
        yield (inline or indented).replace("\n", " ")


def calls(page: Path, program: str) -> list[list[str]]:
    """The words behind each call of a program."""
    found = []
    for line in lines(page):
        for part in re.split(r"&&|\||;", re.sub(r"(^|\s)#.*", "", line)):
            words = re.findall(r"'[^']*'|\"[^\"]*\"|\S+", part)
            while words and (re.match(r"[A-Z_]+=", words[0]) or words[0] == "sudo"):
                words.pop(0)
            if words and words[0].rpartition("/")[2] == program:
                found.append(words[1:])
    return found


def test_every_target_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {word for page in PAGES for call in calls(page, "make") for word in call if re.fullmatch("[a-z-]+", word)}
    assert "backfill" in named
    assert named - targets == set()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_and_option_exists(page: Path) -> None:
    for call in calls(page, "ingest"):
        command: Any = typer.main.get_command(app)
        if call == ["page"]:  # the name of a connection
            continue
        for word in call:
            if word.startswith("-"):
                known = {option for each in command.params for option in each.opts} | {"--help", "--version"}
                assert word.partition("=")[0] in known, call
            elif word in getattr(command, "commands", ()):
                command = command.commands[word]
            elif command.name == "backfill":  # `ingest backfill EXCHANGE …` is `ingest backfill run EXCHANGE …`
                command = command.commands["run"]
            else:
                assert not hasattr(command, "commands"), call
