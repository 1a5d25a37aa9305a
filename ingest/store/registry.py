"""What the database knows of instruments and streams: their ids, and each stream's state."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import orjson
import psycopg
from psycopg import AsyncConnection

from ingest import clock
from ingest.config.secret import redact_dsn
from ingest.records import Channel, Gap, Instrument, Progress, Promise, Stream
from ingest.store import database
from ingest.store.rows import printable
from ingest.store.sqlfiles import query

State = Literal["starting", "live", "reconnecting", "blocked", "stopped"]


class Registry:
    """Every call opens what it needs and raises Retryable while the database is away.

    `shard` is whose word on the venues' health it is, `2/3`.
    """

    def __init__(self, url: str, *, shard: str = "1/1") -> None:
        self._url = url
        self._shard = shard
        self._connection: AsyncConnection | None = None

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def register_instruments(
        self, exchange: str, instruments: Sequence[Instrument], *, complete: bool = False
    ) -> dict[str, int]:
        """Ids by unified symbol; what is new is added, what changed is updated.

        `complete` says that these are all that the venue lists: what is missing twice, an hour apart, is delisted.
        """
        rows = await self._fetch("register_instruments", registration(exchange, instruments, complete=complete))
        return dict(rows)

    async def register_streams(
        self,
        streams: Sequence[Stream],
        id_spaces: Mapping[Channel, str],
        promises: Mapping[Channel, Promise],
        *,
        starting: bool = True,
    ) -> dict[Stream, Progress | None]:
        """The streams that may run, each with how far it is complete (None: nothing is stored).

        Those whose stored ids count something else are left out. `starting` sets their state.
        """
        rows = await self._fetch(
            "register_streams",
            {
                "instrument_ids": [stream.instrument_id for stream in streams],
                "channels": [stream.channel for stream in streams],
                "id_spaces": [id_spaces[stream.channel] for stream in streams],
                "promises": [promises.get(stream.channel, "none") for stream in streams],
                "starting": starting,
            },
        )
        admitted = {(row[0], row[1]): _progress(*row) for row in rows}
        keys = {stream: (stream.instrument_id, stream.channel) for stream in streams}
        return {stream: admitted[key] for stream, key in keys.items() if key in admitted}

    async def save_states(self, states: Mapping[Stream, tuple[State, str | None]]) -> None:
        if states:
            await self._execute(
                "save_stream_states",
                {
                    "instrument_ids": [stream.instrument_id for stream in states],
                    "channels": [stream.channel for stream in states],
                    "states": [state for state, _ in states.values()],
                    "details": [_shown(detail) for _, detail in states.values()],
                },
            )

    async def save_health(
        self, exchange: str, state: str, detail: str | None, latency_ms: int | None, free: float | None
    ) -> None:
        """How the venue is now, as this shard sees it; its history is kept."""
        await self._execute(
            "save_exchange_health",
            {
                "exchange": exchange,
                "state": state,
                "detail": _shown(detail),
                "latency_ms": latency_ms,
                "free": None if free is None else round(free, 3),
                "shard": self._shard,
            },
        )

    async def _fetch(self, name: str, parameters: dict[str, Any]) -> list[Any]:
        try:
            cursor = await (await self._connected()).execute(query(name), parameters)
            return await cursor.fetchall()
        except psycopg.Error as error:
            raise database.translate(error) from error

    async def _execute(self, name: str, parameters: dict[str, Any]) -> None:
        try:
            await (await self._connected()).execute(query(name), parameters)
        except psycopg.Error as error:
            raise database.translate(error) from error

    async def _connected(self) -> AsyncConnection:
        if self._connection is None or self._connection.broken or self._connection.closed:
            await self.close()
            self._connection = await database.connect(self._url, role="registry")
        return self._connection


def registration(exchange: str, instruments: Sequence[Instrument], *, complete: bool) -> dict[str, Any]:
    """What `register_instruments` is given."""
    described = [_describe(instrument) for instrument in instruments]
    return {"exchange": exchange, "complete": complete, "instruments": orjson.dumps(described).decode()}


def _progress(
    instrument_id: int,
    channel: Channel,
    watermark_id: int | None,
    time_ns: int | None,
    cause: str | None,
    *gap: Any,
) -> Progress | None:
    from_ns, from_id, evidence, opened_ns = gap
    time_ns = from_ns if time_ns is None else time_ns  # a gap may be all that a stream has left
    if time_ns is None:
        return None
    left = None
    if cause is not None:
        left = Gap(instrument_id, channel, cause, from_ns, None, from_id, None, evidence, opened_ns=opened_ns)
    return Progress(watermark_id, time_ns, left)


def _shown(detail: str | None) -> str | None:
    """What a person may read: no password, nothing that PostgreSQL's text cannot hold."""
    return None if detail is None else printable(redact_dsn(detail))


def _describe(instrument: Instrument) -> dict[str, Any]:
    expiry_ns = instrument.expiry_ns
    return {
        "symbol": instrument.symbol,
        "native_symbol": instrument.native,
        "kind": instrument.kind,
        "base": instrument.base,
        "quote": instrument.quote,
        "settle": instrument.settle,
        "price_step": instrument.price_step,
        "amount_step": instrument.amount_step,
        "min_amount": instrument.min_amount,
        "max_amount": instrument.max_amount,
        "min_notional": instrument.min_notional,
        "contract_size": instrument.contract_size,
        "expiry": None if expiry_ns is None else datetime.fromtimestamp(expiry_ns / clock.SECOND, UTC),
        "active": instrument.active,
        "info": orjson.Fragment(instrument.info),
    }
