"""What the daemon would have written of its streams, put there by hand: how far they are, their gaps and jobs."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.conftest import Fetch

BEGIN = datetime(2026, 1, 5, 12, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

Ids = tuple[int | None, int | None]


def at(minutes: float) -> datetime:
    """Minutes after the begin of collecting."""
    return BEGIN + timedelta(minutes=minutes)


class Ledger:
    """BTC/USDT is instrument 1 and ETH/USDT 2; each has a stream of every channel that never ran."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        fetch("INSERT INTO ingest.exchanges (name) VALUES ('binance')")
        fetch(
            "INSERT INTO ingest.instruments (exchange_id, symbol, native_symbol, kind, base, quote)"
            " SELECT 1, base || '/USDT', base || 'USDT', 'spot', base, 'USDT' FROM unnest(ARRAY['BTC', 'ETH']) AS base"
        )
        fetch(
            "INSERT INTO ingest.streams (instrument_id, channel, id_space)"
            " SELECT i, c, c FROM generate_series(1, 2) i,"
            " unnest(ARRAY['trades', 'candles', 'book', 'quotes', 'ticker']) c"
        )

    def stream(self, channel: str = "trades", *, instrument_id: int = 1, **changes: Any) -> None:
        """Say how far a stream is: by default an hour from `BEGIN`, and five minutes more by its line."""
        row = {
            "state": "stopped",
            "promise": {"trades": "ids", "candles": "grid", "book": "sequence"}.get(channel, "none"),
            "covered_from": BEGIN,
            "proved_to": at(60),
            "attested_to": at(65),
            "watermark_id": 1000,
        }
        self._fetch(
            "UPDATE ingest.streams s SET (state, promise, covered_from, proved_to, attested_to, watermark_id) ="
            " (SELECT n.state, n.promise, n.covered_from, n.proved_to, n.attested_to, n.watermark_id"
            " FROM jsonb_populate_record(NULL::ingest.streams, %s::jsonb) n)"
            " WHERE s.instrument_id = %s AND s.channel = %s",
            *(json.dumps(row | changes, default=str), instrument_id, channel),
        )

    def gap(
        self,
        from_time: datetime | None,
        to_time: datetime | None,
        cause: str = "cut",
        state: str = "open",
        *,
        ids: Ids = (None, None),
        channel: str = "trades",
    ) -> None:
        self._fetch(
            "INSERT INTO ingest.gaps (instrument_id, channel, from_time, to_time, cause, state, from_id, to_id)"
            " VALUES (1, %s, %s, %s, %s, %s, %s, %s)",
            *(channel, from_time, to_time, cause, state, *ids),
        )

    def job(
        self,
        from_time: datetime | None,
        to_time: datetime | None,
        *,
        ids: Ids = (None, None),
        channel: str = "trades",
        state: str = "done",
        rows: int = 1,
        finished_at: datetime | None = None,
    ) -> None:
        self._fetch(
            "INSERT INTO ingest.backfill_jobs (purpose, instrument_id, channel, from_time, to_time, from_id, to_id,"
            " state, rows_stored, finished_at) VALUES ('backfill', 1, %s, %s, %s, %s, %s, %s, %s, %s)",
            *(channel, from_time, to_time, *ids, state, rows, finished_at),
        )

    def removal(self, before: datetime, removed_at: datetime, table: str = "trades") -> None:
        """Say what retention has removed."""
        self._fetch("INSERT INTO ingest.removals VALUES (%s, %s, %s)", table, before, removed_at)

    def trades(self, *rows: tuple[int, datetime]) -> None:
        """Store trades of BTC/USDT: (id, time) each."""
        self._fetch(
            "INSERT INTO ingest.trades (time, instrument_id, trade_id, side, price, amount, received_at)"
            " SELECT t, 1, n::text, 'buy', 1, 1, t FROM unnest(%s::bigint[], %s::timestamptz[]) AS r (n, t)",
            *([number for number, _ in rows], [time for _, time in rows]),
        )

    def candles(self, *minutes: float, source: int = 20) -> None:
        """Store candles of BTC/USDT that open at these minutes."""
        self._fetch(
            "INSERT INTO ingest.candles_1m (time, instrument_id, open, high, low, close, volume, source, received_at)"
            " SELECT t, 1, 1, 1, 1, 1, 1, %s, t + INTERVAL '1 minute' FROM unnest(%s::timestamptz[]) AS r (t)",
            *(source, [at(minute) for minute in minutes]),
        )
