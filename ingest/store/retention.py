"""What is past its retention leaves: chunks under Apache (Community's own jobs drop theirs), rows of plain tables."""

from psycopg import AsyncConnection, sql

from ingest.store.rollup import Situation
from ingest.store.sqlfiles import query

ROWS = 10_000
"""Rows deleted in one transaction."""

_DELETE = {"rejected": "delete_rejected", "backfill_jobs": "delete_jobs", "gaps": "delete_gaps"}


async def drop_chunks(connection: AsyncConnection, now: Situation) -> dict[str, int]:
    """Drop the chunks whose rows are all too old; return how many, by table."""
    dropped = {}
    if now.edition == "apache":
        for policy in now.policies.values():
            if policy.chunk_interval is not None and policy.retention is not None:
                statement = sql.SQL("SELECT drop_chunks({}, older_than => {}::timestamptz)")
                cursor = await connection.execute(
                    statement.format(f"ingest.{policy.table}", now.now - policy.retention)
                )
                if cursor.rowcount:
                    dropped[policy.table] = cursor.rowcount
        if dropped:
            await note_removals(connection)
    return dropped


async def note_removals(connection: AsyncConnection) -> None:
    """See which chunks are gone since this was called last, for `market.coverage`. Idempotent."""
    await connection.execute(query("note_removals"))


async def delete_rows(connection: AsyncConnection) -> dict[str, int]:
    """Delete the rows of tables without chunks that are too old; return how many, by table."""
    deleted = {}
    for table, name in _DELETE.items():
        rows = 0
        while True:
            count = (await connection.execute(query(name), {"count": ROWS})).rowcount
            rows += count
            if count < ROWS:
                break
        if rows:
            deleted[table] = rows
    return deleted
