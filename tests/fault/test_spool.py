"""The spool's files spoilt while no daemon runs: set aside, their rows named exactly, and fetched again."""

import sqlite3
from contextlib import closing

from ingest.pipeline.parcel import read_head
from tests.fault.conftest import Set
from tests.fault.line import Line
from tests.fault.stage import Stage, block

SMALL = "[pipeline]\nbatch_max_rows = 500\n"


def ids_by_segment(it: Stage) -> dict[int, list[tuple[int, int]]]:
    """The runs of trade ids that each segment holds, by the index."""
    held: dict[int, list[tuple[int, int]]] = {}
    with closing(sqlite3.connect(it.spool / "index.sqlite")) as index:
        for segment, packed in index.execute("SELECT segment, head FROM batches ORDER BY sequence"):
            head = read_head(packed)
            runs = held.setdefault(segment, [])
            if head.table == "trades":
                runs += [(span.from_id, span.to_id) for span in head.spans if span.from_id and span.to_id]
    return held


def test_overwritten_truncated_and_deleted_files(stage: Set, line: Line, database_url: str) -> None:
    it = stage(line.url, direct_url=database_url, collect=block(["BTC/USDT"]), spool_max_bytes=1_000_000, extra=SMALL)
    it.start_live(3)
    it.go()
    it.wait(lambda: it.count("SELECT count(*) FROM ingest.trades") > 100)
    line.refuse()
    it.wait(lambda: it.spooled() > 0)
    it.venue.burst("BTC/USDT", 12_000)
    it.wait(lambda: len(list(it.spool.glob("*.spool"))) >= 5)
    it.kill()
    held = ids_by_segment(it)
    overwritten, truncated, deleted = sorted(held)[:3]
    assert all(held[number] for number in (overwritten, truncated, deleted))
    file = it.spool / f"{overwritten:08}.spool"
    content = bytearray(file.read_bytes())
    content[4096:] = b"\x55" * (len(content) - 4096)
    file.write_bytes(content)
    (it.spool / f"{overwritten:08}.spool-wal").unlink(missing_ok=True)
    file = it.spool / f"{truncated:08}.spool"
    (it.spool / f"{truncated:08}.spool-wal").unlink(missing_ok=True)
    file.write_bytes(file.read_bytes()[:4096])
    for name in (f"{deleted:08}.spool", f"{deleted:08}.spool-wal", f"{deleted:08}.spool-shm"):
        (it.spool / name).unlink(missing_ok=True)
    line.accept()
    it.start_live(3)
    trades, candles, _ = it.finish()
    assert (trades.named, candles.named) == (0, 0)
    assert it.events("spool.damaged") == 3
    aside = sorted(path.name for path in it.spool.glob("*.damaged"))
    assert aside == [f"{overwritten:08}.spool.damaged", f"{truncated:08}.spool.damaged"]
    named = it.fetch(
        "SELECT from_id, to_id FROM ingest.gaps WHERE channel = 'trades' AND cause = 'spool file damaged' ORDER BY 1"
    )
    lost = sorted(run for number in (overwritten, truncated, deleted) for run in held[number])
    assert ids(named) == ids(lost)


def ids(runs: list[tuple[int, int]]) -> set[int]:
    return {number for first, last in runs for number in range(first, last + 1)}
