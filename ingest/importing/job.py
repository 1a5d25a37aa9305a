"""A file, and what its rows are and belong to: from its name, its first line and what the command says."""

import csv
from pathlib import Path

from msgspec import Struct

from ingest.errors import ConfigError
from ingest.importing import mapping, names, source
from ingest.importing.layout import FORMATS, Layout, of_header
from ingest.importing.names import Named

_JSON = (".ndjson", ".jsonl")
CHECKSUM = ".CHECKSUM"


class Request(Struct, frozen=True):
    """What the command says of all its files."""

    exchange: str
    symbol: str | None = None
    format: str | None = None
    mapping: Path | None = None


class Job(Struct, frozen=True):
    """One file. `columns` are those of its lines, in order; `header` says whether its first line names them."""

    path: Path
    layout: Layout
    named: Named
    symbol: str
    columns: list[str]
    header: bool
    is_json: bool = False
    is_parquet: bool = False


def plan(path: Path, request: Request) -> Job:
    """Look into a file. Raises ConfigError that says what is not known of it, or wrong."""
    named = names.read(path.name)
    format_name = request.format or ("mapped" if request.mapping else named.format)
    if format_name is None:
        raise ConfigError(f"{path.name}: its name tells no format: say --format, one of {', '.join(FORMATS)}.")
    if format_name not in FORMATS:
        raise ConfigError(f"--format {format_name}: there are {', '.join(FORMATS)}.")
    if (format_name == "mapped") != (request.mapping is not None):
        raise ConfigError("--format mapped and --map FILE.toml go together.")
    if format_name == "binance-klines" and named.interval not in (None, "1m"):
        raise ConfigError(f"{path.name}: candles of {named.interval}; one-minute candles (1m) are what is imported.")
    symbol = request.symbol or (named.native if named.format == format_name else None)
    if symbol is None:
        raise ConfigError(f"{path.name}: its name tells no symbol: say --symbol, as BTC/USDT or BTCUSDT.")
    mapped = mapping.load(request.mapping) if request.mapping is not None else None
    is_parquet, is_json = path.suffix == ".parquet", not {*path.suffixes}.isdisjoint(_JSON)
    if is_parquet or is_json:
        if mapped is None:
            raise ConfigError(f"{path.name}: a file of this kind needs a mapping: --map FILE.toml.")
        return Job(path, mapped, named, symbol, [], header=False, is_json=is_json, is_parquet=is_parquet)
    delimiter = mapped.delimiter if mapped is not None else ","
    texts = [line.decode(errors="replace") for line in source.first_lines(path)]
    first, second = (next(csv.reader([text], delimiter=delimiter), []) for text in (texts[0], texts[-1]))
    layout = mapped if mapped is not None else of_header(format_name, first)
    header = layout.has_header(first)
    columns = first if header and _names_all(layout, first) else list(layout.names)[: len(first)]
    if format_name == "bybit-trades" and header and len(second) == len(columns) + 1:
        columns = [*columns, "rpi"]  # of which the header of a month says nothing
    missing = [column for column in layout.wanted if column not in columns]
    if missing:
        raise ConfigError(f"{path.name}: its lines have {len(first)} fields, too few for {layout.name}.")
    return Job(path, layout, named, symbol, columns, header)


def _names_all(layout: Layout, first: list[str]) -> bool:
    """Else the header has words of its own (there have been several of Binance's), and the order of columns counts."""
    return all(column in first for column in layout.wanted)
