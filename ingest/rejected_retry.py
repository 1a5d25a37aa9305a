"""`ingest rejected retry`: rejected payloads read again by today's adapter; what is good now is stored.

A payload is a frame, a row of a REST reply, or a record that the database refused, as JSON. Rows are stored before
their reject is deleted, so that a command that is broken off costs nothing: storing a row again is harmless.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
import psycopg
import uvloop
from msgspec import Struct
from psycopg import AsyncConnection
from rich.console import Console
from rich.table import Table

from ingest import venues
from ingest.clock import MINUTE
from ingest.config.model import Config
from ingest.errors import ConfigError, Exit, Rejected
from ingest.exchanges import adapter_of
from ingest.exchanges.adapter import Adapter, Bad
from ingest.records import CHANNEL_OF, Candle, CandleSource, Figure, Instrument, Quote, Row, Stream, Ticker, Trade
from ingest.store import database
from ingest.store.copy_writer import CopyWriter, Written
from ingest.store.rows import TABLES
from ingest.store.sqlfiles import query
from ingest.terminal import cell

_PAGE = 500
_BY_TABLE = {TABLES[kind].name: kind for kind in CHANNEL_OF}
_CHANNEL_OF_LATE: dict[type, str] = {Trade: "trades", Candle: "candles"}

Reading = tuple[int, Sequence[Row]]
"""A reject's id, and the rows that its payload holds."""


class Held(Struct, frozen=True):
    """A row of `ingest.rejected`."""

    rejected_id: int
    received_ns: int
    exchange: str
    stream: str
    reason: str
    payload: bytes


class Venue(Struct, frozen=True):
    """An adapter, and the instruments that its payloads may be about: by id, and by unified symbol."""

    adapter: Adapter
    by_id: Mapping[int, Instrument]
    ids: Mapping[str, int]


class Outcome(Struct):
    """What became of the rejects: `settled` ones are deleted, the others stay, counted by why."""

    settled: int = 0
    stored: int = 0
    known: int = 0
    nothing: int = 0  # of the settled ones: understood, with nothing in it to store
    failing: Counter[str] = msgspec.field(default_factory=Counter)


def retry(
    config: Config,
    url: str,
    *,
    ids: Sequence[int] = (),
    everything: bool = False,
    reason: str | None = None,
    console: Console,
) -> Exit:
    """Try the rejects with these ids, or those whose reason holds `reason`, or all; print what became of them.

    OK when none stays, FAILED also where no reject has one of these ids. Raises ConfigError when it is not said which.
    """
    if sum((bool(ids), everything, reason is not None)) != 1:
        raise ConfigError("say which rejects to try: their ids, or --reason TEXT, or --all")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        outcome = runner.run(_retry(config, url, list(ids) or None, reason))
    if not outcome.settled and not outcome.failing:
        console.print("nothing to try: `ingest rejected list` shows what there is")
        return Exit.FAILED if ids else Exit.OK
    _print(outcome, console)
    return Exit.FAILED if outcome.failing else Exit.OK


async def _retry(config: Config, url: str, ids: list[int] | None, reason: str | None) -> Outcome:
    outcome = Outcome()
    venues_of: dict[str, Venue | None] = {}
    instruments: dict[int, Instrument] = {}
    writer = CopyWriter(url, role="rejected retry", instruments=instruments)
    try:
        async with await database.connect(url, role="rejected retry") as connection:
            cursor = await connection.execute("SELECT coalesce(max(rejected_id), 0) FROM ingest.rejected")
            (last,) = await cursor.fetchone() or (0,)
            after = 0
            while page := await _page(connection, after=after, last=last, ids=ids, reason=reason):
                for exchange in {held.exchange for held in page} - venues_of.keys():
                    venue = venues_of[exchange] = await _venue(connection, config, exchange)
                    instruments.update(venue.by_id if venue is not None else {})
                await _settle(connection, writer, page, venues_of, outcome)
                after = page[-1].rejected_id
    except psycopg.Error as error:
        raise database.translate(error) from error
    finally:
        await writer.close()
    return outcome


async def _page(
    connection: AsyncConnection, *, after: int, last: int, ids: list[int] | None, reason: str | None
) -> list[Held]:
    cursor = await connection.execute(
        query("rejected_page"), {"after": after, "last": last, "ids": ids, "reason": reason, "limit": _PAGE}
    )
    return [Held(*row) for row in await cursor.fetchall()]


async def _venue(connection: AsyncConnection, config: Config, exchange: str) -> Venue | None:
    try:
        adapter_of(exchange)
    except ConfigError:
        return None
    cursor = await connection.execute(query("rejected_instruments"), {"exchange": exchange})
    by_id = {row[0]: Instrument(*row[1:]) for row in await cursor.fetchall()}
    new_adapter = venues.adapters(config, exchange)
    adapter = new_adapter({new_adapter({}).key(each): number for number, each in by_id.items()})
    return Venue(adapter, by_id, {each.symbol: number for number, each in by_id.items()})


async def _settle(
    connection: AsyncConnection,
    writer: CopyWriter,
    page: Sequence[Held],
    venues_of: Mapping[str, Venue | None],
    outcome: Outcome,
) -> None:
    """Store what the page's payloads hold, all at once; where something is refused again, one by one to see whose."""
    readings: list[Reading] = []
    for held in page:
        try:
            readings.append((held.rejected_id, read(held, venues_of[held.exchange])))
        except Rejected as error:
            outcome.failing[str(error).partition(":")[0]] += 1
    written = await _store(writer, [row for _, rows in readings for row in rows])
    outcome.stored += written.stored
    settled = readings
    if written.rejected:
        settled = []
        for reading in readings:
            again = [await _store(writer, [row]) for row in reading[1]]
            if any(each.rejected for each in again):
                outcome.failing["the database refuses it"] += 1
            else:
                settled.append(reading)
    outcome.known += sum(len(rows) for _, rows in settled)
    outcome.nothing += sum(not rows for _, rows in settled)
    outcome.settled += len(settled)
    await connection.execute(
        "DELETE FROM ingest.rejected WHERE rejected_id = ANY (%s)", [[number for number, _ in settled]]
    )


async def _store(writer: CopyWriter, rows: Iterable[Row]) -> Written:
    written = Written(0, 0, 0)
    by_type: defaultdict[type, list[Row]] = defaultdict(list)
    for row in rows:
        by_type[row.__class__].append(row)
    for of_kind in by_type.values():
        written += await writer.write(of_kind, staged=True)
    return written


# Reading. Pure.


def read(held: Held, venue: Venue | None) -> Sequence[Row]:
    """The rows that a payload holds, none where it is understood and holds nothing to store.

    Raises Rejected for what is still not understood.
    """
    record = _record(held)
    if record is not None:
        return [record]
    if venue is None:
        raise Rejected(f"no adapter: exchange {held.exchange!r}")
    stream = _stream(held, venue)
    if stream is not None:
        venue.adapter.url([stream])  # of some venues a frame does not tell the kind of its instrument
    try:
        events = venue.adapter.decode(held.payload, held.received_ns)
    except Rejected as error:
        rows = _reply_row(held, venue)
        if rows is None:
            raise Rejected(str(error)) from error
        return rows
    for event in events:
        if isinstance(event, Bad):
            raise Rejected(event.reason)
    return [event for event in events if isinstance(event, Trade | Candle | Quote | Ticker | Figure)]


def _stream(held: Held, venue: Venue) -> Stream | None:
    symbol, _, name = held.stream.rpartition(" ")
    number = venue.ids.get(symbol)
    if number is None:
        return None
    instrument = venue.by_id[number]
    channels = [channel for channel in venue.adapter.channels(instrument) if channel == name]
    return Stream(number, instrument, channels[0]) if channels else None


def _record(held: Held) -> Row | None:
    """A record that the database refused: its stream ends with the name of its table."""
    kind = _BY_TABLE.get(held.stream.rpartition(" ")[2])
    if kind is None:
        return None
    try:
        record: Row = msgspec.json.decode(held.payload, type=kind)
    except (ValueError, RecursionError):  # not JSON, or another shape: a frame, or a row of a reply
        return None
    return record


def _reply_row(held: Held, venue: Venue) -> Sequence[Row] | None:
    """A row of a REST reply, whose stream is "symbol channel"; None when it cannot be one, or is bad still."""
    symbol, _, channel = held.stream.rpartition(" ")
    instrument_id = venue.ids.get(symbol)
    readers: dict[str, Callable[[bytes, int], tuple[Sequence[Row], Sequence[object]]]] = {
        "trades": lambda body, number: venue.adapter.decode_trades(body, number, held.received_ns),
        "candles": lambda body, number: venue.adapter.decode_candles(
            body, number, held.received_ns, CandleSource.REST, as_of_ns=held.received_ns - MINUTE
        ),
    }
    if instrument_id is None or channel not in readers:
        return None
    try:
        rows, bad = readers[channel](b"[" + held.payload + b"]", instrument_id)
    except Rejected:
        return None
    return None if bad else rows


def _print(outcome: Outcome, console: Console) -> None:
    shown = Table(box=None, show_header=False)
    shown.add_column("what")
    shown.add_column("count", justify="right")
    shown.add_row("rejects settled", f"{outcome.settled:,}")
    shown.add_row("  of them with nothing to store", f"{outcome.nothing:,}")
    shown.add_row("rows stored", f"{outcome.stored:,}")
    shown.add_row("rows known already", f"{max(0, outcome.known - outcome.stored):,}")
    for why, count in sorted(outcome.failing.items()):
        shown.add_row(cell(f"still rejected: {why}"), f"{count:,}")
    console.print(shown)
