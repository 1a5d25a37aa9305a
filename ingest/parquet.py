"""A statement's rows into a Parquet file, with exact numbers: COPY text, read by pyarrow in blocks of a few megabytes.

`numeric` becomes a decimal of 38 digits, 18 of them after the point; what does not fit exactly ends the export rather
than being rounded. Times become microseconds in UTC, what Parquet has no type for becomes the server's text.
"""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, LiteralString

import psycopg
from msgspec import Struct
from psycopg import Connection, sql

from ingest.errors import ConfigError

Numbers = Literal["decimal", "text", "double"]
"""What `numeric` becomes."""

PRECISION, SCALE = 38, 18
_BLOCK_BYTES = 8 * 1024**2
_ROW_GROUP_ROWS = 131_072

_TIMESTAMP, _TIMESTAMPTZ, _DATE, _BOOL = 1114, 1184, 1082, 16
_NUMERIC, _NUMERIC_ARRAY = 1700, 1231
_PLAIN = {21: "int16", 23: "int32", 20: "int64", 700: "float32", 701: "float64", _BOOL: "bool_", _DATE: "date32"}
_MICROSECONDS: LiteralString = "(extract(epoch FROM {column}) * 1000000)::bigint"


class Column(Struct, frozen=True):
    name: str
    type_oid: int


def write(
    connection: Connection, statement: sql.Composable, path: Path, numbers: Numbers, advance: Callable[[int], None]
) -> int:
    """The number of rows. Raises ConfigError where pyarrow is missing, or a number does not fit."""
    try:
        import pyarrow as pa  # noqa: PLC0415 - large, and needed here alone
        from pyarrow import csv  # noqa: PLC0415
        from pyarrow.parquet import ParquetWriter  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(
            "Parquet needs pyarrow: pip install 'ingest[parquet]' (`make setup` does). CSV needs nothing more."
        ) from error
    columns = _columns(connection, statement)
    sent = {f"c{place}": _sent(pa, column.type_oid, numbers) for place, column in enumerate(columns)}
    schema = pa.schema([(column.name, _stored(pa, column.type_oid, numbers)) for column in columns])
    rows = 0
    with connection.cursor().copy(_copy(statement, columns)) as copy, ParquetWriter(path, schema) as writer:
        lines = _Lines(copy)
        if lines.empty:
            return 0
        try:
            reader = csv.open_csv(
                io.BufferedReader(lines, _BLOCK_BYTES),
                read_options=csv.ReadOptions(column_names=list(sent), block_size=_BLOCK_BYTES),
                parse_options=csv.ParseOptions(newlines_in_values=True),
                convert_options=csv.ConvertOptions(
                    column_types=sent,
                    null_values=[""],
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=False,
                    true_values=["t"],
                    false_values=["f"],
                ),
            )
            for batch in reader:
                arrays = [_finished(pa, a, field.type) for a, field in zip(batch.columns, schema, strict=True)]
                writer.write_batch(pa.record_batch(arrays, schema=schema), row_group_size=_ROW_GROUP_ROWS)
                rows += batch.num_rows
                advance(rows)
        except pa.ArrowInvalid as error:
            raise ConfigError(_does_not_fit(str(error), columns)) from error
    return rows


def _columns(connection: Connection, statement: sql.Composable) -> list[Column]:
    cursor = connection.execute(sql.SQL("SELECT * FROM (\n{}\n) q LIMIT 0").format(statement))
    columns = [Column(column.name, column.type_code) for column in cursor.description or ()]
    if len({column.name for column in columns}) < len(columns):
        raise ConfigError("two columns have the same name: give each its own with AS.")
    return columns


def _copy(statement: sql.Composable, columns: list[Column]) -> sql.Composed:
    """Columns by place, in a form that pyarrow reads: times as whole microseconds, arrays of other things as JSON."""
    names = [sql.Identifier(f"c{place}") for place in range(len(columns))]
    forms: list[sql.Composable] = []
    for name, column in zip(names, columns, strict=True):
        if column.type_oid in (_TIMESTAMP, _TIMESTAMPTZ):
            forms.append(sql.SQL(_MICROSECONDS).format(column=name))
        elif column.type_oid == _BOOL or column.type_oid in _PLAIN:
            forms.append(name)
        else:
            forms.append(sql.SQL("{}::text").format(name))
    return sql.SQL("COPY (SELECT {} FROM (\n{}\n) q ({})) TO STDOUT (FORMAT csv)").format(
        sql.SQL(", ").join(forms), statement, sql.SQL(", ").join(names)
    )


def _sent(pa: Any, type_oid: int, numbers: Numbers) -> Any:
    """The type in which pyarrow reads a column."""
    if type_oid in (_TIMESTAMP, _TIMESTAMPTZ):
        return pa.int64()
    return pa.string() if type_oid == _NUMERIC_ARRAY else _stored(pa, type_oid, numbers)


def _stored(pa: Any, type_oid: int, numbers: Numbers) -> Any:
    """The type of a column in the file."""
    if type_oid in (_NUMERIC, _NUMERIC_ARRAY):
        kinds = {"decimal": pa.decimal128(PRECISION, SCALE), "text": pa.string(), "double": pa.float64()}
        return pa.list_(kinds[numbers]) if type_oid == _NUMERIC_ARRAY else kinds[numbers]
    if type_oid in (_TIMESTAMP, _TIMESTAMPTZ):
        return pa.timestamp("us", tz="UTC" if type_oid == _TIMESTAMPTZ else None)
    return getattr(pa, _PLAIN[type_oid])() if type_oid in _PLAIN else pa.string()


def _finished(pa: Any, array: Any, kind: Any) -> Any:
    """What was read, as it is stored."""
    if not pa.types.is_list(kind):
        return array.view(kind) if pa.types.is_timestamp(kind) else array
    from pyarrow import compute  # noqa: PLC0415 - as pyarrow itself

    inner = compute.utf8_slice_codeunits(array, 1, -1)  # without the braces
    parts = compute.split_pattern(inner, ",")
    lengths = compute.if_else(compute.equal(inner, ""), 0, compute.list_value_length(parts))
    offsets = pa.concat_arrays(
        [pa.array([0], pa.int32()), compute.cumulative_sum(lengths.fill_null(0)).cast(pa.int32())]
    )
    values = parts.flatten()
    values = values.filter(compute.not_equal(values, "")).cast(kind.value_type)
    return pa.ListArray.from_arrays(offsets, values, mask=array.is_null())


def _does_not_fit(text: str, columns: list[Column]) -> str:
    """Pyarrow names a column by its place: `In CSV column #3: …`."""
    head, found, said = text.partition("In CSV column #")
    if not found:
        return f"the rows cannot be written as Parquet: {head}"
    place, _, why = said.partition(": ")
    name = columns[int(place)].name if place.isdigit() else place
    return (
        f"column {name}: a number does not fit into a decimal of {PRECISION - SCALE} digits before the point"
        f" and {SCALE} "
        f"after it ({why.strip()}). Round it in the query, or take --numbers text."
    )


class _Lines(io.RawIOBase):
    """What COPY sends, as a file to read from."""

    def __init__(self, copy: psycopg.Copy) -> None:
        self._copy = copy
        self._rest = memoryview(copy.read())
        self.empty = not self._rest

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        """Fill what there is room for; 0 only at the end."""
        room = memoryview(target).cast("B")
        filled = 0
        while filled < len(room):
            if not self._rest:
                self._rest = memoryview(self._copy.read())
            if not self._rest:
                break
            size = min(len(self._rest), len(room) - filled)
            room[filled : filled + size] = self._rest[:size]
            self._rest = self._rest[size:]
            filled += size
        return filled
