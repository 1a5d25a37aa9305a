"""The schema is the one on record, on every server and edition."""

import pytest

from tests.conftest import Fetch
from tests.db import schema


def test_the_migrations_make_the_schema_on_record(database_url: str) -> None:
    assert schema.listing(database_url) == schema.FILE.read_text(), (
        "sql/ makes another schema than tests/db/schema.txt says. If that is meant: python -m tests.db.schema"
    )


@pytest.mark.community
def test_community_has_the_same_schema(community_database_url: str) -> None:
    assert schema.listing(community_database_url) == schema.FILE.read_text()


def test_no_hypertable_has_an_index_on_time_alone(fetch: Fetch) -> None:
    indexes = fetch(
        "SELECT tablename::text, indexdef FROM pg_indexes WHERE schemaname = 'ingest' AND tablename IN"
        " (SELECT hypertable_name FROM timescaledb_information.hypertables) ORDER BY 1"
    )
    assert {table for table, _ in indexes} >= {"trades", "candles_1m", "order_books", "quotes", "candles_coarse"}
    assert [definition for _, definition in indexes if "(instrument_id, " not in definition] == [
        'CREATE INDEX logs_level ON ingest.logs USING btree (level, "time")'  # lines of no instrument
    ]
    assert len(indexes) == len({table for table, _ in indexes})


def test_every_table_view_and_column_of_the_hypertables_is_explained(fetch: Fetch) -> None:
    silent = fetch(
        "SELECT c.oid::regclass::text FROM pg_class c WHERE c.relkind IN ('r', 'v') AND obj_description(c.oid) IS NULL"
        " AND c.relnamespace IN ('ingest'::regnamespace, 'market'::regnamespace)"
    )
    assert silent == []


def test_timescaledb_is_where_analysts_find_it(fetch: Fetch) -> None:
    """`ingest db psql` has search_path = market, public: time_bucket must be found there."""
    assert fetch("SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'timescaledb'") == [
        ("public",)
    ]


def test_the_analysts_search_path_finds_time_bucket(fetch: Fetch) -> None:
    fetch("SET search_path = market, public; SELECT time_bucket('1 minute', now())")
