"""`ingest rejected`: what could not be stored, why, and another try at it with today's adapters."""

from datetime import UTC, datetime
from typing import Any

from msgspec import Struct
from psycopg import Connection
from rich.console import Console
from rich.table import Table

from ingest.errors import ConfigError, Exit
from ingest.store.database import connect_sync
from ingest.store.sqlfiles import query
from ingest.terminal import cell, plain, print_json

_HEX_COLUMNS = 16


class Reason(Struct, frozen=True):
    """How often an exchange's input was rejected for one reason; numbers in it are `#`."""

    exchange: str
    reason: str
    count: int
    first: datetime
    last: datetime


class Entry(Struct, frozen=True):
    """One reject; `payload_bytes` is the size of what was kept."""

    rejected_id: int
    received_at: datetime
    exchange: str
    stream: str
    reason: str
    payload_bytes: int


class Listing(Struct, frozen=True):
    """All reasons, the most frequent first, and the latest rejects."""

    reasons: list[Reason]
    latest: list[Entry]


def list_(
    url: str,
    *,
    since: datetime | None = None,
    stream: str | None = None,
    limit: int = 20,
    as_json: bool = False,
    console: Console,
) -> Exit:
    """Print the reasons with their counts, and the latest `limit` rejects.

    `stream` is a part of "exchange symbol channel"; `since` without a zone is UTC.
    """
    if since is not None and since.tzinfo is None:
        since = since.replace(tzinfo=UTC)
    parameters = {"since": since, "stream": stream, "limit": limit}
    with connect_sync(url, role="rejected") as connection:
        listing = Listing(
            [Reason(*row) for row in _rows(connection, "rejected_reasons", parameters)],
            [Entry(*row) for row in _rows(connection, "rejected_latest", parameters)],
        )
    if as_json:
        print_json(listing, console)
    elif not listing.reasons:
        console.print("nothing was rejected")
    else:
        console.print(_reasons_table(listing.reasons))
        console.print(_latest_table(listing.latest))
    return Exit.OK


def show(url: str, rejected_id: int, *, max_bytes: int = 4096, as_json: bool = False, console: Console) -> Exit:
    """Print one reject with at most `max_bytes` of its payload: as text where it is text, else in hexadecimal.

    Nothing that it holds reaches the terminal as a control character. Raises ConfigError when there is none.
    """
    with connect_sync(url, role="rejected") as connection:
        rows = _rows(connection, "rejected_one", {"rejected_id": rejected_id, "bytes": max_bytes})
    if not rows:
        raise ConfigError(f"there is no reject {rejected_id}: `ingest rejected list` shows the latest")
    entry, payload = Entry(*rows[0][:6]), bytes(rows[0][6])
    text = payload_text(payload, cut=len(payload) < entry.payload_bytes)
    if as_json:
        print_json({"reject": entry, "payload": text if text is not None else payload.hex()}, console)
        return Exit.OK
    console.out(f"reject   {entry.rejected_id}", highlight=False)
    console.out(f"received {entry.received_at:%Y-%m-%d %H:%M:%S.%f}", highlight=False)
    console.out(plain(f"stream   {entry.exchange} {entry.stream or '(unknown)'}"), highlight=False)
    console.out(plain(f"reason   {entry.reason}"), highlight=False)
    console.out(f"payload  {entry.payload_bytes:,} bytes", highlight=False)
    console.out("")
    console.out(hex_dump(payload) if text is None else plain(text), highlight=False)
    if len(payload) < entry.payload_bytes:
        console.out(f"… and {entry.payload_bytes - len(payload):,} more bytes (--bytes)", highlight=False)
    return Exit.OK


def payload_text(payload: bytes, *, cut: bool) -> str | None:
    """The payload as text, None where it is not UTF-8; `cut` forgives a character that the cut has halved."""
    try:
        return payload.decode()
    except UnicodeDecodeError as error:
        if cut and error.start >= len(payload) - 3 and error.reason == "unexpected end of data":
            return payload[: error.start].decode()
        return None


def hex_dump(payload: bytes) -> str:
    """Lines of sixteen bytes: place, hexadecimal, and the printable ASCII among them."""
    lines = []
    for start in range(0, len(payload), _HEX_COLUMNS):
        part = payload[start : start + _HEX_COLUMNS]
        shown = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in part)
        lines.append(f"{start:08x}  {part.hex(' '):<{3 * _HEX_COLUMNS - 1}}  {shown}")
    return "\n".join(lines)


def _rows(connection: Connection, name: str, parameters: dict[str, Any]) -> list[Any]:
    return connection.execute(query(name), parameters).fetchall()


def _reasons_table(reasons: list[Reason]) -> Table:
    shown = Table(title="reasons", title_justify="left", box=None, header_style="bold")
    shown.add_column("count", justify="right")
    shown.add_column("exchange")
    shown.add_column("reason", overflow="fold")
    shown.add_column("last", no_wrap=True)
    for each in reasons:
        shown.add_row(f"{each.count:,}", cell(each.exchange), cell(each.reason), f"{each.last:%Y-%m-%d %H:%M:%S}")
    return shown


def _latest_table(entries: list[Entry]) -> Table:
    shown = Table(title="latest", title_justify="left", box=None, header_style="bold")
    shown.add_column("id", justify="right")
    shown.add_column("received", no_wrap=True)
    shown.add_column("stream")
    shown.add_column("bytes", justify="right")
    shown.add_column("reason", overflow="fold")
    for each in entries:
        shown.add_row(
            str(each.rejected_id),
            f"{each.received_at:%Y-%m-%d %H:%M:%S}",
            cell(f"{each.exchange} {each.stream}".strip()),
            f"{each.payload_bytes:,}",
            cell(each.reason),
        )
    return shown
