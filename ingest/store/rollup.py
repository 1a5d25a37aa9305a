"""Rollups made anew where rows have changed, finest first: by statements under Apache, by requests under Community.

Nothing is made from before the retention edge of a rollup or of its source: what a bucket there was made from may be
gone, and the bucket must not go with it.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any

import psycopg
from msgspec import Struct
from psycopg import AsyncConnection, sql

from ingest.store.policies import Edition, Policies, Policy, by_table, edition_of
from ingest.store.sqlfiles import query

ORIGIN = datetime(2000, 1, 3, tzinfo=UTC)
"""A Monday: where `time_bucket` begins to count."""
CHANGES = 2_000
"""Rows of `ingest.rollup_changes` taken in one transaction; of repair each stands for a page of rows."""

_FIRST = {"candles": "candles_5m", "trades": "trade_candles_1m", "book": "book_1m"}
"""By channel, the rollup that is made from its rows."""
_STATEMENT = {"candles_1m": "roll_up_candles_1m", "trades": "roll_up_trades", "order_books": "roll_up_books"}
_APART = timedelta(days=1)
_ERROR_MAX = 300


class Span(Struct, frozen=True):
    """An interval of one instrument, half-open."""

    instrument_id: int
    from_time: datetime
    to_time: datetime


class Situation(Struct, frozen=True):
    """What a pass works with."""

    edition: Edition
    now: datetime
    instrument_ids: list[int]
    policies: Policies

    def chain(self, table: str) -> list[Policy]:
        """A rollup and all that is made from it, finest first."""
        found = [self.policies[table]]
        for policy in self.policies.values():
            if policy.source == found[-1].table:
                found.append(policy)
        return found

    def bounds(self, policy: Policy, from_time: datetime, to_time: datetime) -> tuple[datetime, datetime] | None:
        """The whole buckets around an interval, without those that begin before what is kept; None if none is left."""
        bucket, source = _bucket(policy), self.policies[str(policy.source)]
        lowest, highest = floor(from_time, bucket), ceiling(to_time, bucket)
        for kept in (policy.retention, source.retention):
            if kept is not None:
                lowest = max(lowest, ceiling(self.now - kept, bucket))
        return (lowest, highest) if lowest < highest else None


def floor(time: datetime, bucket: timedelta) -> datetime:
    """The start of the bucket that a moment lies in."""
    return ORIGIN + (time - ORIGIN) // bucket * bucket


def ceiling(time: datetime, bucket: timedelta) -> datetime:
    """The first start of a bucket that is not before a moment."""
    return ORIGIN - (ORIGIN - time) // bucket * bucket


def groups(spans: Iterable[Span]) -> list[list[Span]]:
    """Spans that lie near each other, so that the bounds of each group tell the planner which chunks it needs."""
    found: list[list[Span]] = []
    reached = datetime.min.replace(tzinfo=UTC)
    for span in sorted(spans, key=lambda span: span.from_time):
        if span.from_time - reached > _APART:
            found.append([])
        found[-1].append(span)
        reached = max(reached, span.to_time)
    return found


async def look(connection: AsyncConnection) -> Situation:
    facts = await (await connection.execute(query("maintenance_facts"))).fetchone()
    assert facts is not None  # noqa: S101 - it has no condition
    rows = await (await connection.execute(query("read_policies"))).fetchall()
    return Situation(edition_of(facts[:1]), facts[1], facts[2], by_table(rows))


async def refresh_changed(connection: AsyncConnection, now: Situation, channels: Sequence[str]) -> int:
    """Bring the rollups of these channels up to date; return how many buckets were written (Apache)."""
    if now.edition == "community":
        async with connection.transaction():
            await connection.execute(query("request_refreshes"))
        return 0
    written = 0
    while True:
        async with connection.transaction():
            cursor = await connection.execute(query("take_changes"), {"channels": list(channels), "count": CHANGES})
            rows = await cursor.fetchall()
            for channel, of_channel in groupby(rows, itemgetter(0)):
                if channel in _FIRST:
                    near = groups(Span(*row[1:4]) for row in of_channel)
                    for policy in now.chain(_FIRST[channel]):
                        for spans in near:
                            written += await _roll_up(connection, now, policy, spans)
        if not rows or rows[0][4] < CHANGES:
            return written


async def refresh_requested(connection: AsyncConnection, now: Situation) -> tuple[int, list[str]]:
    """Make what was requested, and what is built on it; return how many were made, and what those that failed said."""
    done, errors = 0, []
    for request_id, table in await (await connection.execute(query("due_requests"))).fetchall():
        try:
            for policy in now.chain(table):
                await _refresh(connection, now, policy, request_id)
        except psycopg.Error as error:
            if connection.broken:
                raise
            text = (error.diag.message_primary or str(error))[:_ERROR_MAX]
            errors.append(f"{table}: {text}")
            await connection.execute(query("request_failed"), {"request_id": request_id, "error": text})
        else:
            await connection.execute("DELETE FROM ingest.refresh_requests WHERE request_id = %s", [request_id])
            done += 1
    return done, errors


async def _refresh(connection: AsyncConnection, now: Situation, policy: Policy, request_id: int) -> None:
    cursor = await connection.execute(
        query("request_windows"), {"source": f"ingest.{policy.source}", "request_id": request_id}
    )
    for from_time, to_time in await cursor.fetchall():
        if now.edition == "apache":
            spans = [Span(instrument_id, from_time, to_time) for instrument_id in now.instrument_ids]
            await _roll_up(connection, now, policy, spans)
        elif bounds := now.bounds(policy, from_time, to_time):
            call = sql.SQL("CALL refresh_continuous_aggregate({}, {}, {})")
            await connection.execute(call.format(f"ingest.{policy.table}", *bounds))


async def _roll_up(connection: AsyncConnection, now: Situation, policy: Policy, spans: Sequence[Span]) -> int:
    """Make the buckets anew that the spans touch; return how many were written."""
    if not spans:
        return 0
    bounds = now.bounds(policy, min(span.from_time for span in spans), max(span.to_time for span in spans))
    if bounds is None:
        return 0
    source = str(policy.source)
    statement = sql.SQL(query(_STATEMENT.get(source, "roll_up_candles"))).format(
        target=sql.Identifier("ingest", policy.table), source=sql.Identifier("ingest", source)
    )
    parameters: dict[str, Any] = {
        "bucket": policy.bucket,
        "instrument_ids": [span.instrument_id for span in spans],
        "from_times": [span.from_time for span in spans],
        "to_times": [span.to_time for span in spans],
        "lowest": bounds[0],
        "highest": bounds[1],
    }
    return (await connection.execute(statement, parameters)).rowcount


def _bucket(policy: Policy) -> timedelta:
    assert policy.bucket is not None  # noqa: S101 - the table's CHECK: what has a source has a bucket
    return policy.bucket
