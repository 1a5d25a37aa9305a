"""A mapping: a small TOML file that says which column of any CSV, NDJSON or Parquet file is which field.

```toml
channel = "trades"            # or candles
time = { column = "ts", unit = "ms" }
id_space = "trade"            # what the ids count; default: what the exchange's stream counts
[columns]
id = "tid"
price = "px"
amount = "qty"
side = "taker"
[sides]
B = "buy"
S = "sell"
```
"""

import hashlib
import tomllib
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from ingest.clock import MICROSECOND, MILLISECOND
from ingest.errors import ConfigError
from ingest.importing.layout import FIELDS, REQUIRED, Layout, Unit
from ingest.records import Side


class _Time(Struct, forbid_unknown_fields=True):
    column: str
    unit: Unit


class _Mapping(Struct, forbid_unknown_fields=True):
    channel: Literal["trades", "candles"]
    time: _Time
    columns: dict[str, str]
    sides: dict[str, Side] = {}
    names: list[str] = []
    delimiter: str = ","
    symbol: str | None = None
    id_space: str | None = None
    milliseconds: bool = False


def load(path: Path) -> Layout:
    """The layout that a mapping file describes. Raises ConfigError that names the key and the remedy."""
    try:
        text = path.read_bytes()
        given = msgspec.convert(tomllib.loads(text.decode()), _Mapping)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise ConfigError(f"{path}: {error}") from error
    channel = given.channel
    columns = {"time": given.time.column, **given.columns}
    unknown = sorted(columns.keys() - set(FIELDS[channel]))
    missing = [field for field in REQUIRED[channel] if field not in columns]
    if unknown or missing:
        what = f"lacks {', '.join(missing)}" if missing else f"has {', '.join(unknown)}"
        raise ConfigError(f"{path}: [columns] {what}; {channel} have {', '.join(FIELDS[channel])}.")
    if "side" in columns and not given.sides:
        raise ConfigError(f"{path}: [sides] must say which words of the column {columns['side']!r} mean buy and sell.")
    if len(given.delimiter) != 1 or given.delimiter in '"\n\r':
        raise ConfigError(f"{path}: delimiter = {given.delimiter!r}: it is one character.")
    return Layout(
        f"mapped {hashlib.sha256(text).hexdigest()[:16]}",
        channel,
        columns,
        given.time.unit,
        names=tuple(given.names),
        sides=dict(given.sides),
        grain_ns=MILLISECOND if given.milliseconds else MICROSECOND,
        symbol=given.symbol,
        id_space=given.id_space,
        delimiter=given.delimiter,
    )
