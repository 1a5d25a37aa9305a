"""The figures that the migrations state for `ingest.policies`, read from their text: what a new database will have.

`check-config` asks no database, and still refuses what `migrate` would refuse. The migrations stay the one place where
the figures stand; a test holds what is read here against a database.
"""

import re
from collections.abc import Iterable
from datetime import timedelta

from ingest.store.policies import Policies, by_table
from ingest.store.sqlfiles import SqlFile, query

_INSERT = re.compile(r"INSERT INTO ingest\.policies \(([^)]*)\) VALUES\s*([^;]*);")
_ROW = re.compile(r"\(([^)]*)\)")
_FIGURE = re.compile(r"(\d+) (minute|hour|day)s?")


def stated(migrations: Iterable[SqlFile]) -> Policies:
    """The policies of a database to which these migrations, and no configuration, were applied."""
    columns = _names(query("read_policies").partition("SELECT")[2].partition("FROM")[0])
    rows = []
    for file in migrations:
        for names, values in _INSERT.findall(file.text):
            for row in _ROW.findall(values):
                given = dict(zip(_names(names), map(_value, row.split(",")), strict=True))
                rows.append(tuple(given.get(column) for column in columns))
    return by_table(sorted(rows, key=lambda row: (row[2] or timedelta(0), row[0])))  # as read_policies orders them


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


def _value(text: str) -> str | timedelta | None:
    text = text.strip()
    if text == "NULL":
        return None
    figure = _FIGURE.fullmatch(text.strip("'"))
    return timedelta(**{f"{figure[2]}s": int(figure[1])}) if figure else text.strip("'")
