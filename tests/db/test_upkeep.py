"""What `ingest` says of its own upkeep: sizes, compression, use of indexes, jobs; the same columns on every edition."""

import pytest

from ingest.store import roles
from ingest.store.database import connect_sync
from tests.conftest import Fetch
from tests.db.logins import login

VIEWS = {
    "table_sizes": [
        *("table_name", "kind", "chunks", "compressed_chunks", "rows_estimate", "table_bytes", "index_bytes"),
        *("toast_bytes", "total_bytes", "bytes_before_compression", "bytes_after_compression", "compression_ratio"),
        *("oldest", "newest"),
    ],
    "chunk_sizes": [
        *("table_name", "chunk_name", "range_start", "range_end", "compressed", "table_bytes", "index_bytes"),
        *("toast_bytes", "total_bytes", "bytes_before_compression", "bytes_after_compression"),
    ],
    "index_use": [
        *("table_name", "index_name", "columns", "is_unique", "indexes", "scans", "rows_read", "index_bytes"),
        "sequential_scans",
    ],
    "policy_jobs": [
        *(
            "policy",
            "table_name",
            "run_by",
            "every",
            "scheduled",
            "last_started_at",
            "last_succeeded_at",
            "last_status",
        ),
        *("last_error", "next_start_at", "total_runs", "total_failures", "job_id"),
    ],
}
DAYS = (
    "INSERT INTO ingest.trades SELECT '2026-11-20'::timestamptz + n * INTERVAL '1 minute', 1 + n % 5, n::text, 'buy',"
    " 100 + n % 7, 1, now() FROM generate_series(0, 2879) n"
)


@pytest.fixture
def days(fetch: Fetch) -> None:
    """Two days of trades, analysed."""
    fetch(DAYS)
    fetch("ANALYZE ingest.trades")


@pytest.mark.parametrize("view", VIEWS)
def test_each_view_has_its_columns_for_writer_and_maintainer(database_url: str, view: str) -> None:
    for group in (roles.WRITER, roles.MAINTAINER):
        with login(database_url, group) as url, connect_sync(url, role="test") as connection:
            cursor = connection.execute(f"SELECT * FROM ingest.{view}".encode())
            assert [column.name for column in cursor.description or ()] == VIEWS[view]


def test_sizes_of_tables_are_those_of_their_chunks(days: None, fetch: Fetch) -> None:
    (trades,) = fetch("SELECT * FROM ingest.table_sizes WHERE table_name = 'trades'")
    assert trades[:5] == ("trades", "hypertable", 2, 0, 2880)
    assert trades[8] == sum(trades[5:8]) > 0
    assert fetch("SELECT sum(total_bytes)::bigint FROM ingest.chunk_sizes WHERE table_name = 'trades'") == [
        (trades[8],)
    ]
    assert fetch("SELECT hypertable_size('ingest.trades') >= %s", trades[8]) == [(True,)]
    listed = {row[0] for row in fetch("SELECT table_name FROM ingest.table_sizes")}
    assert listed >= {
        row[0]
        for row in fetch(
            "SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'ingest'::regnamespace"
        )
    }


def test_chunks_in_the_order_of_time(days: None, fetch: Fetch) -> None:
    chunks = fetch(
        "SELECT range_start::text, range_end::text, compressed, total_bytes > 0, bytes_before_compression"
        " FROM ingest.chunk_sizes WHERE table_name = 'trades'"
    )
    assert chunks == [
        ("2026-11-20 00:00:00+00", "2026-11-21 00:00:00+00", False, True, None),
        ("2026-11-21 00:00:00+00", "2026-11-22 00:00:00+00", False, True, None),
    ]


def test_indexes_of_chunks_count_together(days: None, fetch: Fetch) -> None:
    (index,) = fetch(
        "SELECT index_name, columns, is_unique, indexes, index_bytes > 0 FROM ingest.index_use"
        " WHERE table_name = 'trades'"
    )
    assert index == ("trades_key", 'instrument_id, "time", trade_id', True, 3, True)


@pytest.fixture
def compressed(days: None, fetch: Fetch) -> None:
    fetch("ALTER TABLE ingest.trades SET (timescaledb.compress, timescaledb.compress_segmentby = 'instrument_id')")
    fetch("SELECT compress_chunk(c) FROM show_chunks('ingest.trades', older_than => '2026-11-21'::timestamptz) c")


@pytest.mark.community
def test_compression_is_told(compressed: None, fetch: Fetch) -> None:
    (sizes,) = fetch(
        "SELECT chunks, compressed_chunks, bytes_before_compression > bytes_after_compression, compression_ratio > 1"
        " FROM ingest.table_sizes WHERE table_name = 'trades'"
    )
    assert sizes == (2, 1, True, True)


@pytest.mark.community
def test_a_job_that_fails_says_why(fetch: Fetch) -> None:
    fetch(
        "CREATE PROCEDURE ingest.broken(job_id int, config jsonb) LANGUAGE plpgsql"
        " AS $$ BEGIN RAISE 'out of luck'; END $$"
    )
    fetch("SELECT add_job('ingest.broken', INTERVAL '1 hour')")
    fetch("SELECT _timescaledb_functions.start_background_workers()")  # a new database is noticed once a minute
    (row,) = fetch("SELECT job_id FROM ingest.policy_jobs WHERE policy = 'broken'")
    for _ in range(300):
        found = fetch("SELECT last_status, last_error, run_by FROM ingest.policy_jobs WHERE job_id = %s", row[0])
        if found[0][0] is not None:
            break
        fetch("SELECT pg_sleep(0.1)")
    assert found == [("failed", "out of luck", "server")]


def test_no_view_keeps_timescaledb_from_being_updated(fetch: Fetch) -> None:
    """An update of the extension replaces its views, and cannot where ours are made of them."""
    found = fetch(
        "SELECT DISTINCT v.oid::regclass::text, used.oid::regclass::text FROM pg_class v"
        " JOIN pg_rewrite r ON r.ev_class = v.oid"
        " JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid"
        " AND d.refclassid = 'pg_class'::regclass"
        " JOIN pg_class used ON used.oid = d.refobjid"
        " WHERE v.relnamespace IN ('ingest'::regnamespace, 'market'::regnamespace)"
        " AND used.relnamespace IN ('timescaledb_information'::regnamespace, '_timescaledb_catalog'::regnamespace)"
    )
    assert found == []


def test_hot_tables_are_vacuumed_by_number(fetch: Fetch) -> None:
    found = fetch(
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'ingest'::regnamespace"
        " AND EXISTS (SELECT FROM unnest(reloptions) o WHERE starts_with(o, 'autovacuum_vacuum_scale_factor'))"
    )
    assert {row[0] for row in found} >= {"streams", "tickers", "gaps", "backfill_jobs", "rollup_changes"}
