"""The sizes that `ingest.estimate` states, measured again with fewer rows."""

from collections.abc import Iterator
from functools import partial
from itertools import islice

import psycopg
import pytest
from psycopg import sql

from ingest.estimate import TABLES, row_bytes
from ingest.records import CHANNEL_OF, Channel, Row
from ingest.store import rows
from tests.db import traffic

ROWS = 40_000
BATCH_ROWS = 10_000


def measured_bytes(url: str, records: Iterator[Row], count: int) -> float:
    """Store the records in the daemon's way, and tell what a row takes with its share of the indexes."""
    with psycopg.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
        while batch := list(islice(records, BATCH_ROWS)):
            table = rows.TABLES[type(batch[0])]
            copy = sql.SQL("COPY {} ({}) FROM STDIN").format(
                sql.Identifier("ingest", table.name), sql.SQL(", ").join(map(sql.Identifier, table.columns))
            )
            with cursor.copy(copy) as block:
                block.write(table.encode(batch))
        cursor.execute("SELECT hypertable_size(%s)", [f"ingest.{table.name}"])
        (size,) = cursor.fetchone() or (0,)
    return float(size / count)


@pytest.mark.parametrize("channel", traffic.TRAFFIC)
def test_the_size_of_a_row(channel: Channel, database_url: str) -> None:
    size = measured_bytes(database_url, traffic.TRAFFIC[channel](ROWS), ROWS)
    assert size == pytest.approx(row_bytes(channel, depth=20), rel=0.15)  # PostgreSQL 18's indexes are a little larger


@pytest.mark.parametrize(("depth", "count"), [(5, 20_000), (20, 5_000), (200, 2_000)])
def test_the_size_of_a_book(depth: int, count: int, database_url: str) -> None:
    size = measured_bytes(database_url, partial(traffic.order_books, depth=depth)(count), count)
    assert size == pytest.approx(row_bytes("book", depth=depth), rel=0.1)


def test_every_channel_has_the_table_that_its_rows_go_to() -> None:
    assert {channel: rows.TABLES[kind].name for kind, channel in CHANNEL_OF.items()} == TABLES
