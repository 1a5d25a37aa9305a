"""Blocks of lines as COPY text, by arithmetic on whole columns (pyarrow): no object a field, no float stored. Pure.

It takes a block only where it is certain of every line; `exact` judges the others. A float tells the size of a number,
as in `digits`; the text itself goes on. The lines come out of one join: what Arrow lays in memory as a column of texts,
end to end, is the block that COPY reads.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from ingest.clock import MICROSECOND, MILLISECOND, MINUTE
from ingest.digits import DIGITS
from ingest.importing.exact import DIGITS_MAX, EARLIEST_NS, LATE_NS, MICROSECONDS_FROM
from ingest.importing.layout import Layout
from ingest.records import CandleSource
from ingest.store.rows import timestamp

try:
    import pyarrow as pa
    from pyarrow import compute as pc
    from pyarrow import csv
except ImportError:  # an optional dependency: without it every line goes through `exact`
    pa = None

_DIGITS = DIGITS.encode()
_WHOLE = b"0123456789"
_ID_BYTES = _WHOLE + b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_.:"
_INFINITY = float("inf")
_NULL = "\\N"
_PRICES = ("open", "high", "low", "close")
_VOLUMES = ("volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume")
_MINUTE_US = MINUTE // MICROSECOND
_UNITS = {"ms": MILLISECOND // MICROSECOND, "us": 1}


class Target(Struct, frozen=True):
    """Whose rows they are."""

    instrument_id: int
    native: str
    received_ns: int


class Made(Struct, frozen=True):
    """COPY text, and of its rows: how many, their times in microseconds, their places (ids, or minutes) if any."""

    text: bytes
    rows: int
    times: Any
    places: Any | None


class _Doubt(Exception):
    """Some line of the block may be bad, or is written in a way that this does not know."""


def available() -> bool:
    return pa is not None


def csv_columns(lines: bytes, names: list[str], layout: Layout) -> Mapping[str, Any] | None:
    """The wanted columns of a block of lines as texts; None where it is not plainly that."""
    wanted = list(layout.wanted)
    if b'"' in lines:
        return None
    try:
        table = csv.read_csv(
            pa.BufferReader(lines),
            read_options=csv.ReadOptions(column_names=names, use_threads=False, block_size=len(lines) + 1),
            parse_options=csv.ParseOptions(delimiter=layout.delimiter, quote_char=False, ignore_empty_lines=False),
            convert_options=csv.ConvertOptions(
                include_columns=wanted,
                column_types=dict.fromkeys(wanted, pa.string()),
                strings_can_be_null=False,
            ),
        )
    except (pa.ArrowInvalid, pa.ArrowKeyError):
        return None
    return {name: table.column(name).combine_chunks() for name in wanted}


def make(columns: Mapping[str, Any], layout: Layout, target: Target) -> Made | None:
    """COPY text of columns of texts; None where a line may be bad."""
    try:
        if layout.symbol is not None and not pc.all(pc.equal(columns[layout.symbol], target.native)).as_py():
            return None
        given = {field: columns[column] for field, column in layout.columns.items()}
        if layout.channel == "trades":
            return _trades(given, layout, target)
        return _candles(given, layout, target) if layout.channel == "candles" else None
    except (_Doubt, pa.ArrowInvalid):
        return None


def _trades(given: Mapping[str, Any], layout: Layout, target: Target) -> Made:
    times = _times(given["time"], layout, target)
    grain = layout.grain_ns // MICROSECOND
    if grain > 1:
        times = pc.multiply(pc.divide(times, grain), grain)
    ids = given["id"]
    _only(ids, _ID_BYTES)
    lengths = pc.min_max(pc.binary_length(ids)).as_py()
    if not 0 < lengths["min"] <= lengths["max"] <= 100:
        raise _Doubt
    for number in ("price", "amount"):
        _number(given[number], above_zero=True)
    text = _joined(
        _stamp(times), f"+00\t{target.instrument_id}\t", ids, _sides(given, layout), given["price"], "\t",
        given["amount"], f"\t{timestamp(target.received_ns)}\n",
    )  # fmt: skip
    numbers = layout.ids_follow and lengths["max"] <= DIGITS_MAX and not _bytes(ids).translate(None, _WHOLE)
    places = ids.cast(pa.int64()) if numbers else None
    return Made(text, len(ids), times, places)


def _sides(given: Mapping[str, Any], layout: Layout) -> Any:
    if "side" not in given:
        return f"\t{_NULL}\t"
    place = pc.index_in(given["side"], pa.array(list(layout.sides), pa.string()))
    if place.null_count:
        raise _Doubt
    return pa.array([f"\t{side or _NULL}\t" for side in layout.sides.values()]).take(place)


def _candles(given: Mapping[str, Any], layout: Layout, target: Target) -> Made:
    times = _times(given["time"], layout, target)
    minutes = pc.divide(times, _MINUTE_US)
    if not pc.all(pc.equal(pc.multiply(minutes, _MINUTE_US), times)).as_py():
        raise _Doubt
    o, h, l, c = (_number(given[name], above_zero=True) for name in _PRICES)  # noqa: E741 - a candle's letters
    # Rounding keeps order, so it never refuses a candle that can be; equals are the exact reader's to judge.
    for low, high in ((l, o), (l, c), (o, h), (c, h)):
        if not pc.all(pc.less_equal(low, high)).as_py():
            raise _Doubt
    for name in _VOLUMES:
        if name in given:
            _number(given[name], above_zero=False)
    if "trades" in given:
        _only(given["trades"], _WHOLE)
        given = {**given, "trades": given["trades"].cast(pa.int64()).cast(pa.string())}
    parts = [given.get(name, _NULL) for name in ("volume", "quote_volume", "trades", *_VOLUMES[2:])]
    fields = [given[name] for name in _PRICES] + parts
    tabbed = [each for field in fields for each in (field, "\t")]
    tail = f"{CandleSource.DUMP.value}\t{timestamp(target.received_ns)}\n"
    text = _joined(_stamp(times), f"+00\t{target.instrument_id}\t", *tabbed, tail)
    return Made(text, len(times), times, minutes)


def _times(texts: Any, layout: Layout, target: Target) -> Any:
    """Microseconds since the epoch, each within what can be."""
    if layout.unit == "iso":
        raise _Doubt
    if layout.unit == "s":
        parts = pc.extract_regex(texts, r"^(?P<s>[0-9]{1,12})(?:\.(?P<f>[0-9]{1,18}))?$")
        if parts.null_count:
            raise _Doubt
        fraction = pc.utf8_slice_codeunits(pc.utf8_rpad(pc.struct_field(parts, "f"), 6, "0"), 0, 6)
        times = pc.binary_join_element_wise(pc.struct_field(parts, "s"), fraction, "").cast(pa.int64())
    else:
        _only(texts, _WHOLE)
        times = texts.cast(pa.int64())
        ends = pc.min_max(times).as_py()
        unit = layout.unit
        if unit == "ms or us":
            unit = "us" if ends["min"] >= MICROSECONDS_FROM else "ms"
            if unit == "ms" and ends["max"] >= MICROSECONDS_FROM:
                raise _Doubt
        if unit == "ns":
            times = pc.divide(times, MICROSECOND)
        elif unit == "ms":
            times = pc.multiply_checked(times, _UNITS["ms"])
    ends = pc.min_max(times).as_py()
    if ends["min"] * MICROSECOND < EARLIEST_NS or ends["max"] * MICROSECOND > target.received_ns + LATE_NS:
        raise _Doubt
    return times


def _stamp(times: Any) -> Any:
    return times.cast(pa.timestamp("us")).cast(pa.string())


def _number(texts: Any, *, above_zero: bool) -> Any:
    """The sizes of plain decimals."""
    _only(texts, _DIGITS)
    sizes = texts.cast(pa.float64())
    ends = pc.min_max(sizes).as_py()
    if not (0.0 <= ends["min"] and ends["max"] < _INFINITY) or (above_zero and not ends["min"]):
        raise _Doubt
    return sizes


def _only(texts: Any, allowed: bytes) -> None:
    if texts.null_count or _bytes(texts).translate(None, allowed):
        raise _Doubt


def _bytes(texts: Any) -> bytes:
    """What the texts of a column are made of, end to end."""
    if not len(texts):
        return b""
    _, offsets, data = texts.buffers()
    ends = memoryview(offsets).cast("i")
    return bytes(memoryview(data)[ends[texts.offset] : ends[texts.offset + len(texts)]])


def _joined(*parts: Any) -> bytes:
    return _bytes(pc.binary_join_element_wise(*parts, ""))


def since(times: Any, first: int) -> Any:
    """Where those stand that are no earlier."""
    return pc.indices_nonzero(pc.greater_equal(times, first))


def ends(times: Any) -> tuple[int, int]:
    """The least and the greatest."""
    found = pc.min_max(times).as_py()
    return found["min"], found["max"]
