"""What the database tells the daemon for its metrics and its readiness, also where the daemon may only write."""

from pathlib import Path

import psycopg
import pytest

from ingest.operate.figures import Figures
from ingest.operate.health import Part
from ingest.store.sqlfiles import read_folder, sql_root
from tests.db.logins import login

NEWEST = read_folder(sql_root() / "migrations")[-1].name
GAPS = """
INSERT INTO ingest.exchanges (name) VALUES ('binance');
INSERT INTO ingest.instruments (exchange_id, symbol, native_symbol, base, quote, kind)
SELECT exchange_id, 'BTC/USDT', 'BTCUSDT', 'BTC', 'USDT', 'spot' FROM ingest.exchanges;
INSERT INTO ingest.gaps (instrument_id, channel, from_id, cause, state, opened_at)
SELECT instrument_id, channel, number, 'test', state, now() - make_interval(mins => number)
FROM ingest.instruments, (VALUES ('trades', 1, 'open'), ('trades', 2, 'open'), ('book', 9, 'unrecoverable'))
     AS g (channel, number, state)
"""


def told(figures: Figures) -> dict[tuple[str, ...], float]:
    """By name and labels' values."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in figures.collect()
        for sample in family.samples
    }


@pytest.mark.parametrize("groups", [(), ("ingest_writer",)], ids=["owner", "writer"])
async def test_gaps_sizes_jobs_and_the_schema(database_url: str, tmp_path: Path, groups: tuple[str, ...]) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(GAPS)
    with login(database_url, *groups) as url:
        figures = Figures(url if groups else database_url, tmp_path)
        try:
            await figures.ask()
            found, parts = told(figures), figures.parts()
        finally:
            await figures._close()
    assert parts == {"database": Part(ok=True, detail="answers"), "schema": Part(ok=True, detail=NEWEST)}
    assert found["ingest_database_up",] == 1
    assert found["ingest_gaps", "binance", "trades", "open"] == 2
    assert found["ingest_gaps", "binance", "book", "unrecoverable"] == 1
    assert 120 <= found["ingest_gap_oldest_seconds", "binance"] < 240  # the older of the open ones
    assert found["ingest_table_bytes", "instruments"] > 0
    assert found["ingest_table_chunks", "trades"] == 0
    assert ("ingest_table_chunks", "instruments") not in found
    assert found["ingest_database_bytes",] > 1_000_000
    assert found["ingest_jobs_failing", "trades"] == 0
    assert found["ingest_disk_free_bytes",] > 0


async def test_a_failed_run_of_maintenance_is_a_failing_job(database_url: str, tmp_path: Path) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO ingest.maintenance_runs (policy, last_started_at, last_error) VALUES ('retention', now(), 'x')"
        )
    figures = Figures(database_url, tmp_path)
    try:
        await figures.ask()
    finally:
        await figures._close()
    assert told(figures)["ingest_jobs_failing", "gaps"] == 1


async def test_while_the_database_is_away_the_last_answers_stay(database_url: str, tmp_path: Path) -> None:
    figures = Figures(database_url, tmp_path)
    assert figures.parts() == {
        "database": Part(ok=False, detail="not asked yet"),
        "schema": Part(ok=False, detail="not known yet"),
    }
    await figures.ask()
    await figures._close()
    figures._url = "postgresql://nobody:pl4nted@127.0.0.1:9/nowhere?connect_timeout=2"
    await figures.ask()
    away = figures.parts()["database"]
    assert not away.ok
    assert "pl4nted" not in away.detail
    found = told(figures)
    assert found["ingest_database_up",] == 0
    assert found["ingest_table_bytes", "instruments"] > 0
