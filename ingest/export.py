"""`ingest export`: any view or query into a Parquet or CSV file, in constant memory, with the exchange's own digits.

The server sends COPY text of the whole statement; it goes into the file block by block. CSV is that text. For Parquet
pyarrow reads it in blocks of a few megabytes, by the types of the statement's columns. The file appears under its name
when it is whole.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psycopg
from msgspec import Struct
from psycopg import Connection, sql
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from ingest import analyst, parquet
from ingest.errors import ConfigError, Exit
from ingest.parquet import Numbers
from ingest.terminal import plain

_BLOCK_BYTES = 8 * 1024**2


class Filter(Struct, frozen=True):
    """What of a view is wanted; each part may be absent."""

    exchange: str | None = None
    symbol: str | None = None
    since: str | None = None
    until: str | None = None

    @property
    def given(self) -> dict[str, str]:
        """By the names that the parameters of a question have."""
        named = {"exchange": self.exchange, "symbol": self.symbol, "from": self.since, "to": self.until}
        return {name: value for name, value in named.items() if value is not None}


def export(
    url: str,
    source: str,
    output: Path,
    *,
    wanted: Filter,
    values: Mapping[str, str],
    numbers: Numbers = "decimal",
    overwrite: bool = False,
    console: Console,
) -> Exit:
    """Write `source` (a view of `market`, a question of the cookbook, a file `.sql`) to `output`, and say how much.

    Raises ConfigError for a name, a value or a statement that is wrong, Fatal where a number does not fit the column.
    """
    if output.suffix not in (".parquet", ".csv"):
        raise ConfigError(f"{output}: the name must end in .parquet or .csv.")
    if output.exists() and not overwrite:
        raise ConfigError(f"{output} is there already; --overwrite replaces it.")
    if not output.parent.is_dir():
        raise ConfigError(f"{output}: there is no folder {output.parent}.")
    with analyst.connect(url) as connection:
        statement = _statement(connection, source, wanted, values)
        try:
            with _written(output) as part, _progress(console, source, _expected(connection, statement)) as advance:
                if output.suffix == ".csv":
                    rows = _to_csv(connection, statement, part, advance)
                else:
                    rows = parquet.write(connection, statement, part, numbers, advance)
        except (psycopg.ProgrammingError, psycopg.DataError, psycopg.errors.ReadOnlySqlTransaction) as error:
            raise analyst.explain(error, source) from error
    console.out(plain(f"{output}: {rows:,} rows, {output.stat().st_size / 1e6:,.1f} MB"), highlight=False)
    return Exit.OK


def _statement(connection: Connection, source: str, wanted: Filter, values: Mapping[str, str]) -> sql.Composable:
    name = source.removeprefix("market.")
    if not source.endswith(".sql"):
        columns = _columns_of_view(connection, name)
        if columns:
            if values:
                raise ConfigError(f"--set is for a query; choose of {name} by --exchange, --symbol, --from and --to.")
            return _select(name, columns, wanted)
        if name not in analyst.questions():
            raise ConfigError(
                f"there is no view market.{name}, and no question {name!r} in sql/analyst: `ingest sql` lists those."
            )
    return analyst.find(name if not source.endswith(".sql") else source).filled({**wanted.given, **values})


def _columns_of_view(connection: Connection, name: str) -> set[str]:
    rows = connection.execute(
        "SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass(format('market.%%I', %s::text))"
        " AND attnum > 0"
        " AND NOT attisdropped",
        [name],
    )
    return {row[0] for row in rows}


def _select(name: str, columns: set[str], wanted: Filter) -> sql.Composable:
    """By instrument_id where both names are given: that is what the tables are ordered by."""
    conditions: list[sql.Composable] = []
    needed = {"exchange": wanted.exchange, "symbol": wanted.symbol, "time": wanted.since or wanted.until}
    for column, value in needed.items():
        if value is not None and column not in columns:
            raise ConfigError(f"market.{name} has no column {column} to choose by.")
    if wanted.exchange and wanted.symbol and "instrument_id" in columns:
        condition = sql.SQL("instrument_id = market.must_find({}, {}, 'trades')")
        conditions.append(condition.format(wanted.exchange, wanted.symbol))
    else:
        named = (("exchange", wanted.exchange), ("symbol", wanted.symbol))
        conditions += [sql.SQL("{} = {}").format(sql.Identifier(c), value) for c, value in named if value]
    if wanted.since:
        conditions.append(sql.SQL("time >= {}::timestamptz").format(wanted.since))
    if wanted.until:
        conditions.append(sql.SQL("time < {}::timestamptz").format(wanted.until))
    where = sql.SQL(" WHERE {}").format(sql.SQL(" AND ").join(conditions)) if conditions else sql.SQL("")
    one = wanted.exchange and wanted.symbol and {"time", "instrument_id"} <= columns
    # Of trades in one moment the shorter id was first.
    place = ', length(trade_id), trade_id COLLATE "C"' if "trade_id" in columns else ""
    order = sql.SQL(" ORDER BY time" + place) if one else sql.SQL("")
    return sql.SQL("SELECT * FROM market.{}{}{}").format(sql.Identifier(name), where, order)


def _expected(connection: Connection, statement: sql.Composable) -> int:
    """The planner's guess at the number of rows: for the bar alone."""
    row = connection.execute(sql.SQL("EXPLAIN (FORMAT json) {}").format(statement)).fetchone()
    return int(row[0][0]["Plan"]["Plan Rows"]) if row else 0


@contextmanager
def _written(output: Path) -> Iterator[Path]:
    """A file beside it that takes its name at the end, and is gone when that does not come."""
    part = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(output)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _progress(console: Console, source: str, expected: int) -> Iterator[Callable[[int], None]]:
    """Rows of about how many; a guess that was too low grows with them."""
    parts = (BarColumn(), TaskProgressColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(TextColumn("{task.description}"), *parts, console=console, transient=True) as bar:
        task = bar.add_task(source, total=max(expected, 1))

        def advance(rows: int) -> None:
            bar.update(task, completed=rows, total=max(expected, rows))

        yield advance


def _to_csv(connection: Connection, statement: sql.Composable, part: Path, advance: Callable[[int], None]) -> int:
    """COPY sends a row a message, the heading first."""
    copying = sql.SQL("COPY (\n{}\n) TO STDOUT (FORMAT csv, HEADER)").format(statement)
    rows = -1
    with part.open("wb", buffering=_BLOCK_BYTES) as file, connection.cursor().copy(copying) as copy:
        for rows, line in enumerate(copy):
            file.write(line)
            if rows % 10_000 == 0:
                advance(rows)
    return max(rows, 0)
