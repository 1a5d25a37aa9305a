"""A Parquet file's rows as columns of texts, a few ten thousand at a time. Needs pyarrow.

Numbers must be text, decimals or whole numbers: a double's digits are not those that the exchange wrote.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ingest.errors import ConfigError
from ingest.importing.layout import Layout
from ingest.importing.reader import Rows

_ROWS = 65_536


def rows(path: Path, layout: Layout, *, skip: int = 0) -> Iterator[Rows]:
    """Rows from behind the first `skip` ones on. Raises ConfigError where a column is not there, or holds doubles."""
    try:
        import pyarrow as pa  # noqa: PLC0415 - an optional dependency
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError("Parquet needs pyarrow: pip install 'ingest[parquet]' (`make setup` does).") from error
    try:
        with parquet.ParquetFile(path) as file:
            schema = file.schema_arrow
            for name in layout.wanted:
                _check(pa, path, schema, name)
            number = 1
            for batch in file.iter_batches(_ROWS, columns=list(layout.wanted)):
                first, count = number, batch.num_rows
                number += count
                if number - 1 <= skip:
                    continue
                start = max(0, skip - first + 1)
                columns = {name: _texts(pa, batch.column(name).slice(start), layout) for name in layout.wanted}
                yield Rows(columns, first + start, count - start)
    except (pa.ArrowInvalid, OSError) as error:
        raise ConfigError(f"{path.name}: it cannot be read as Parquet: {error}") from error


def _check(pa: Any, path: Path, schema: Any, name: str) -> None:
    if name not in schema.names:
        raise ConfigError(f"{path.name}: it has no column {name!r}; it has {', '.join(schema.names)}.")
    if pa.types.is_floating(schema.field(name).type):
        raise ConfigError(
            f"{path.name}: column {name!r} holds doubles, whose digits are not the exchange's: write it as decimals or "
            "as text."
        )


def _texts(pa: Any, column: Any, layout: Layout) -> Any:
    kind = column.type
    if pa.types.is_timestamp(kind):
        scale = {"s": "s", "ms": "ms", "us": "us", "ns": "ns", "ms or us": "us"}.get(layout.unit)
        if scale is None:
            raise ConfigError(f"time.unit = {layout.unit!r}: of a column of timestamps it is s, ms, us or ns.")
        column = column.cast(pa.timestamp(scale, tz=kind.tz), safe=False).cast(pa.int64())
    elif pa.types.is_dictionary(kind):
        column = column.dictionary_decode()
    elif pa.types.is_boolean(kind):
        return column.cast(pa.string())
    return column.cast(pa.string())
