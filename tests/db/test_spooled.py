"""`ingest spool` and the tie between a spool and its database."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from ingest import spooled
from ingest.errors import ConfigError, Exit
from ingest.pipeline.batch import Batch
from ingest.records import Gap, Instrument, Mark, Trade
from tests.conftest import Fetch, TestServer
from tests.db.support import NOON, trades

MAX_BYTES = 100_000_000
pytestmark = pytest.mark.usefixtures("instruments")


def _batch() -> Batch:
    batch = Batch(Trade, 0, NOON)
    batch.records = list(trades(3))
    batch.gaps = [Gap(1, "trades", "disconnected", NOON, None, 9, None, "reset", opened_ns=NOON)]
    batch.marks = {(1, "trades"): Mark(1, "trades", 3, NOON, NOON, NOON)}
    return batch


def test_drain_delivers_rows_gaps_and_marks_once(database_url: str, tmp_path: Path, fetch: Fetch) -> None:
    where = tmp_path / "spool"
    with spooled.open_for(database_url, where, MAX_BYTES, writers=2) as spool:
        spool.append([_batch(), _batch()])
    said = io.StringIO()
    assert spooled.drain(where, MAX_BYTES, database_url, Console(file=said, width=120)) is Exit.OK
    assert "stored 3, known already 3, rejected 0" in said.getvalue()
    assert fetch("SELECT trade_id FROM ingest.trades ORDER BY time") == [("1",), ("2",), ("3",)]
    assert fetch("SELECT from_id, state FROM ingest.gaps") == [(9, "open")]
    assert fetch("SELECT watermark_id FROM ingest.streams WHERE watermark_id IS NOT NULL") == [(3,)]
    assert spooled.show(where, Console(file=said, width=120)) is Exit.OK
    assert "nothing waits" in said.getvalue()


def test_a_spool_of_another_database_is_refused_while_rows_wait_in_it(
    database_url: str, database_server: TestServer, tmp_path: Path, instruments: dict[int, Instrument]
) -> None:
    assert instruments
    where = tmp_path / "spool"
    with spooled.open_for(database_url, where, MAX_BYTES, writers=2) as spool:
        spool.append([_batch()])
    with database_server.empty() as other:
        from ingest.store.migrate import migrate  # noqa: PLC0415 - only here: a second database

        migrate(other)
        with pytest.raises(ConfigError, match="holds 1 batches for another database"):
            spooled.open_for(other, where, MAX_BYTES, writers=2)
        with spooled.open_for(database_url, where, MAX_BYTES, writers=2) as spool:
            entry = spool.oldest(0)
            assert entry is not None
            spool.remove(entry)
        spooled.open_for(other, where, MAX_BYTES, writers=2).close()
