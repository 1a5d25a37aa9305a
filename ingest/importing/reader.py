"""Blocks of a file as blocks for COPY: by columns where that is certain, line by line where it is not. Pure.

A block that `fast` does not take is halved until the doubtful lines stand in a few short ones, which `exact` judges:
one bad line costs its block little.
"""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from typing import Any

import msgspec
from msgspec import Struct

from ingest.clock import MICROSECOND, MINUTE
from ingest.errors import Rejected
from ingest.importing import exact, fast
from ingest.importing.fast import Target
from ingest.importing.layout import Layout
from ingest.importing.run import Run, of_columns, of_list
from ingest.importing.source import Lines
from ingest.records import Row, Trade
from ingest.store.block_writer import Block
from ingest.store.rows import TABLES

_SHORT = 256
"""A doubtful block of so few rows is read line by line."""
_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode


class Rows(Struct, frozen=True):
    """Rows of a table of texts, by column. `first` is the number of the first one, from 1."""

    columns: Mapping[str, Any]
    first: int
    count: int

    def halves(self) -> "tuple[Rows, Rows]":
        left = self.count // 2
        return self._slice(0, left), self._slice(left, self.count - left)

    def _slice(self, start: int, count: int) -> "Rows":
        columns = {name: column.slice(start, count) for name, column in self.columns.items()}
        return Rows(columns, self.first + start, count)

    def texts(self) -> Iterator[dict[str, str | None]]:
        columns = [column.to_pylist() for column in self.columns.values()]
        for values in zip(*columns, strict=True):
            yield dict(zip(self.columns, values, strict=True))


class BadLine(Struct, frozen=True):
    """A line that is no row, by its number, and why."""

    number: int
    reason: str


class Read(Struct, frozen=True):
    """What became of a part: a block, the line of each of its rows, and what is bad or missing in it.

    `until` is the part's last line; `payload` gives back a line by its number; `old` counts the rows that were passed
    over, being past the table's retention.
    """

    block: Block
    numbers: Sequence[int]
    run: Run | None
    bad: Sequence[BadLine]
    until: int
    payload: Callable[[int], bytes]
    old: int

    @property
    def begins_bad(self) -> bool:
        """Whether a bad line stands before its first row."""
        return bool(self.bad) and (not self.numbers or self.bad[0].number < self.numbers[0])

    @property
    def ends_bad(self) -> bool:
        """Whether a bad line stands behind its last row."""
        return bool(self.bad) and (not self.numbers or self.bad[-1].number > self.numbers[-1])


class _Piece(Struct):
    text: bytes
    numbers: Sequence[int]
    first_us: int
    last_us: int
    run: Run | None
    bad: list[BadLine]
    old: int = 0


class Reader:
    """Reads the blocks of one file, of one instrument. `names` are the columns of its lines, in order; rows from before
    `kept_from_ns` are passed over.
    """

    def __init__(
        self, layout: Layout, names: list[str], target: Target, *, json_lines: bool = False, kept_from_ns: int = 0
    ) -> None:
        self._layout = layout
        self._names = names
        self._target = target
        self._json = json_lines
        self._kept_from_us = -(-kept_from_ns // MICROSECOND)
        self._encode = TABLES[layout.kind].encode
        self._is_fast = fast.available() and not json_lines and layout.channel != "book" and layout.unit != "iso"

    def read(self, part: Lines | Rows) -> Read:
        """Everything of the part: its rows as COPY text, and its bad lines with their reasons."""
        pieces = list(self._pieces(part))
        full = [piece for piece in pieces if piece.numbers]
        runs = [piece.run for piece in full if piece.run is not None]
        run = reduce(Run.then, runs) if runs and len(runs) == len(full) else None
        numbers = full[0].numbers if len(full) == 1 else [number for piece in full for number in piece.numbers]
        block = Block(
            kind=self._layout.kind,
            instrument_id=self._target.instrument_id,
            text=full[0].text if len(full) == 1 else b"".join([piece.text for piece in full]),
            rows=len(numbers),
            first_ns=min((piece.first_us for piece in full), default=0) * MICROSECOND,
            last_ns=max((piece.last_us for piece in full), default=0) * MICROSECOND,
            last_sequence=run.last if run is not None and self._layout.channel == "trades" else None,
            received_ns=self._target.received_ns,
        )
        bad = [line for piece in pieces for line in piece.bad]
        old = sum(piece.old for piece in pieces)
        return Read(block, numbers, run, bad, part.first + part.count - 1, _payloads(part), old)

    def _pieces(self, part: Any) -> Iterator[_Piece]:
        piece = self._by_columns(part) if self._is_fast else None
        if piece is not None:
            yield piece
        elif self._is_fast and part.count > _SHORT:
            for half in part.halves():
                yield from self._pieces(half)
        else:
            yield self._by_lines(part)

    def _by_columns(self, part: Lines | Rows) -> _Piece | None:
        columns = part.columns if isinstance(part, Rows) else fast.csv_columns(part.text, self._names, self._layout)
        made = None if columns is None else fast.make(columns, self._layout, self._target)
        if columns is None or made is None or made.rows != part.count:
            return None
        first_us, last_us = fast.ends(made.times)
        numbers: Sequence[int] = range(part.first, part.first + part.count)
        if first_us < self._kept_from_us:
            young = fast.since(made.times, self._kept_from_us)
            if not len(young):
                return _Piece(b"", (), 0, 0, None, [], part.count)
            made = fast.make({name: column.take(young) for name, column in columns.items()}, self._layout, self._target)
            assert made is not None  # noqa: S101 - all of its lines were certain
            numbers = [numbers[at] for at in young.to_pylist()]
            first_us, last_us = fast.ends(made.times)
        places = made.places if self._follows else None
        run = None if places is None else of_columns(places, made.times)
        return _Piece(made.text, numbers, first_us, last_us, run, [], part.count - made.rows)

    def _by_lines(self, part: Lines | Rows) -> _Piece:
        rows: list[Row] = []
        numbers: list[int] = []
        bad: list[BadLine] = []
        old, target = 0, self._target
        for number, fields in enumerate(self._fields(part), part.first):
            try:
                if isinstance(fields, Rejected):
                    raise fields
                row = exact.row(self._layout, fields, target.instrument_id, target.native, target.received_ns)
                if row.time_ns < self._kept_from_us * MICROSECOND:
                    old += 1
                else:
                    rows.append(row)
                    numbers.append(number)
            except Rejected as error:
                bad.append(BadLine(number, str(error)))
        times = [row.time_ns // MICROSECOND for row in rows]
        places = [_place(row) for row in rows] if self._follows else []
        run = of_list([place for place in places if place is not None], times) if None not in places else None
        return _Piece(self._encode(rows), numbers, min(times, default=0), max(times, default=0), run, bad, old)

    def _fields(self, part: Lines | Rows) -> Iterator[exact.Fields | Rejected]:
        if isinstance(part, Rows):
            yield from part.texts()
            return
        for line in part.text.removesuffix(b"\n").split(b"\n"):
            try:
                yield _of_json(line) if self._json else self._of_csv(line.decode())
            except Rejected as error:
                yield error
            except UnicodeDecodeError:
                yield Rejected("it is no UTF-8")

    def _of_csv(self, line: str) -> exact.Fields:
        values = next(csv.reader([line], delimiter=self._layout.delimiter), [])
        if len(values) != len(self._names):
            raise Rejected(f"{len(values)} fields, not {len(self._names)}")
        return dict(zip(self._names, values, strict=True))

    @property
    def _follows(self) -> bool:
        return self._layout.ids_follow


def _of_json(line: bytes) -> exact.Fields:
    """A number's digits as they stand."""
    try:
        return {name: _of_raw(bytes(value)) for name, value in _decode_object(line).items()}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Rejected("it is no JSON object") from None


def _of_raw(value: bytes) -> str | None:
    if value == b"null":
        return None
    return _decode_text(value) if value.startswith(b'"') else value.decode()


def _place(row: Row) -> int | None:
    if isinstance(row, Trade):
        return (
            int(row.trade_id) if row.trade_id.isascii() and row.trade_id.isdigit() and len(row.trade_id) <= 18 else None
        )
    return row.time_ns // MINUTE


def _payloads(part: Lines | Rows) -> Callable[[int], bytes]:
    """What a line, or a row, was, by its number."""
    if isinstance(part, Lines):
        lines: list[bytes] = []

        def line(number: int) -> bytes:
            if not lines:
                lines.extend(part.text.split(b"\n"))
            return lines[number - part.first]

        return line
    return lambda number: msgspec.json.encode(
        {name: column[number - part.first].as_py() for name, column in part.columns.items()}
    )
