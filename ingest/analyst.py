"""The analysts' side: a session that may only read, and the questions of `sql/analyst` with their parameters.

A question is a file: comment lines that say what it answers, one line `-- :name = default` for each parameter, and one
statement in which each stands as a psql variable (`:'name'`). So `psql -v name=value -f FILE` runs it as `ingest sql`.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, LiteralString, cast

import psycopg
from msgspec import Struct
from psycopg import Connection, sql
from rich.console import Console
from rich.table import Table

from ingest.errors import ConfigError, DatabaseUnavailable, Exit
from ingest.store.database import connect_sync
from ingest.store.roles import ANALYST
from ingest.store.sqlfiles import sql_root
from ingest.terminal import cell, print_json

_PARAMETER = re.compile(r"^-- :(\w+) = (.*)$")
_VARIABLE = re.compile(r"(?<!:):'(\w+)'")
_END = re.compile(r";\s*\Z")


class Question(Struct, frozen=True):
    """One file. `parameters` has the defaults in the order of the file; `statement` ends without a semicolon."""

    name: str
    answers: str
    parameters: dict[str, str]
    statement: str

    @property
    def variables(self) -> set[str]:
        """The names that the statement uses."""
        return set(_VARIABLE.findall(self.statement))

    def filled(self, given: Mapping[str, str]) -> sql.Composed:
        """The statement with values as literals, the defaults where none is given. Raises ConfigError for a name that
        the question does not have.
        """
        for name in given:
            if name not in self.parameters:
                known = ", ".join(self.parameters) or "none"
                raise ConfigError(f"{self.name} has no parameter {name!r}; it has: {known}.")
        missing = sorted(self.variables - self.parameters.keys())
        if missing:
            raise ConfigError(f"{self.name} uses :'{missing[0]}' and has no line `-- :{missing[0]} = default`.")
        values = {**self.parameters, **given}
        parts = _VARIABLE.split(self.statement)
        return sql.Composed(
            [
                sql.Literal(values[part]) if place % 2 else sql.SQL(cast(LiteralString, part))
                for place, part in enumerate(parts)
            ]
        )


def read(path: Path) -> Question:
    """The question in a file."""
    words: list[str] = []
    parameters: dict[str, str] = {}
    lines = path.read_text().splitlines()
    head = next((place for place, line in enumerate(lines) if not line.startswith("--")), len(lines))
    for line in lines[:head]:
        if found := _PARAMETER.match(line):
            parameters[found[1]] = found[2].strip()
        else:
            words.append(line.removeprefix("--").strip())
    return Question(path.stem, " ".join(filter(None, words)), parameters, _END.sub("", "\n".join(lines[head:]).strip()))


@cache
def questions() -> dict[str, Question]:
    """The cookbook, by name."""
    return {path.stem: read(path) for path in sorted((sql_root() / "analyst").glob("*.sql"))}


def find(name: str) -> Question:
    """The question of this name, or in the file of this path. Raises ConfigError, naming the nearest."""
    if name.endswith(".sql"):
        path = Path(name)
        if not path.is_file():
            raise ConfigError(f"there is no file {name}.")
        return read(path)
    if name not in questions():
        raise ConfigError(f"there is no question {name!r} in sql/analyst. `ingest sql` lists them.")
    return questions()[name]


def connect(url: str) -> Connection:
    """A session that can only read, as the role `market_analyst` where it is there and may be taken, with the search
    path of `make psql`.
    """
    connection = connect_sync(url, role="analyst")
    try:
        connection.execute("SET default_transaction_read_only = on")
        connection.execute("SET search_path = market, public")
        if may_be_analyst(connection):
            connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(ANALYST)))
    except BaseException:
        connection.close()
        raise
    return connection


def role(url: str) -> str | None:
    """`market_analyst`, where it is there and the login of this address may take it; None where nobody answers."""
    try:
        with connect_sync(url, role="analyst") as connection:
            return ANALYST if may_be_analyst(connection) else None
    except DatabaseUnavailable:
        return None  # whoever connects next says why


def may_be_analyst(connection: Connection) -> bool:
    """Whether the role is there and this login may take it."""
    row = connection.execute(
        "SELECT pg_has_role(current_user, oid, 'MEMBER') FROM pg_roles WHERE rolname = %s", [ANALYST]
    ).fetchone()
    return row is not None and bool(row[0])


def given(pairs: list[str], **named: str | None) -> dict[str, str]:
    """The values of `NAME=VALUE` and of options of their own, of which None was not given."""
    values = {name: value for name, value in named.items() if value is not None}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise ConfigError(f"--set {pair}: write NAME=VALUE, for example --set period=14.")
        values[name] = value
    return values


def explain(error: psycopg.Error, what: str) -> ConfigError:
    """What the server says of a user's statement, without a traceback."""
    hint = f" {error.diag.message_hint}" if error.diag.message_hint else ""
    text = error.diag.message_primary or " ".join(str(error).split())
    return ConfigError(f"{what}: {text.removesuffix('.')}.{hint}")


def list_questions(console: Console) -> None:
    """Every question with what it answers."""
    table = Table(box=None, header_style="bold")
    for heading in ("question", "parameters", "what it answers"):
        table.add_column(heading, overflow="fold")
    for question in questions().values():
        table.add_row(question.name, " ".join(question.parameters), question.answers)
    console.print(table)


def run(url: str, question: Question, values: Mapping[str, str], *, as_json: bool, console: Console) -> Exit:
    """Print the answer as a table, or each row as an object on a line."""
    statement = question.filled(values)
    with connect(url) as connection:
        try:
            cursor = connection.execute(statement)
        except (psycopg.ProgrammingError, psycopg.DataError, psycopg.errors.ReadOnlySqlTransaction) as error:
            raise explain(error, question.name) from error
        names = [column.name for column in cursor.description or ()]
        if as_json:
            for row in cursor:
                print_json(dict(zip(names, map(_plain, row), strict=True)), console)
            return Exit.OK
        table = Table(title=question.answers, title_justify="left", title_style="dim", box=None, header_style="bold")
        for name in names:
            table.add_column(name, justify="right")
        for row in cursor:
            table.add_row(*(cell(shown(value)) for value in row))
    console.print(table)
    return Exit.OK


def shown(value: object) -> str:
    """As psql shows it, times with Z; nothing for NULL."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, datetime):
        return value.isoformat(" ").replace("+00:00", "Z")
    if isinstance(value, list):
        return "{" + ",".join(map(shown, value)) + "}"
    return str(value)


def _plain(value: Any) -> Any:
    """For JSON: what it has no word for is text; a number with a fraction keeps its digits as text."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return [_plain(each) for each in value] if isinstance(value, list) else str(value)
