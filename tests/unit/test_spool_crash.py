"""A process that is killed between any two steps of the spool: nothing that `append` took is lost, order holds."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ingest.pipeline.batch import Batch
from ingest.pipeline.spool import Spool
from ingest.pipeline.spool_files import running_pid
from ingest.records import Record, Trade

T0 = 1_795_262_400_000_000_000
MANY = 100_000_000

CHILD = """
import os, signal, sys
from pathlib import Path
from ingest.pipeline import spool, spool_files, spool_index
from ingest.pipeline.batch import Batch
from ingest.pipeline.spool import Spool
from ingest.records import Trade

folder, where, nth, when, what = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5]

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def arm():
    owner, name = where.split(".")
    owner = {"Segment": spool_files.Segment, "Index": spool_index.Index, "spool": spool, "files": spool_files,
             "index": spool_index}[owner]
    real, calls = getattr(owner, name), [0]
    def deadly(*args, **kwargs):
        calls[0] += 1
        if calls[0] == nth and when == "before":
            die()
        answer = real(*args, **kwargs)
        if calls[0] == nth and when == "after":
            die()
        return answer
    setattr(owner, name, deadly)

def batch(*numbers):
    return Batch(Trade, 0, 1795262400000000000,
        [Trade(1, 1795262400000000000 + n, str(n), None, str(n * 2654435761 % 2**32), str(n**5 % 2**61),
               1795262400000000000) for n in numbers])

if what == "open":
    arm()
spool_ = Spool.open(folder, 10**8, writers=1, segment_bytes=65_536)
if what == "append":
    spool_.append([batch(1), batch(2)])
    print("took 1 2", flush=True)
    arm()
    spool_.append([batch(3), batch(*range(10_000, 20_000)), batch(4)])  # over several segments
    print("took the rest", flush=True)
if what == "remove":
    spool_.append([batch(1), batch(2)])
    arm()
    for _ in range(2):
        entry = spool_.oldest(0)
        spool_.remove(entry)
        print("removed", entry.sequence, flush=True)
if what == "oldest":
    arm()
    spool_.oldest(0)
die()
"""


def batch(*numbers: int) -> Batch:
    """Digits that hardly compress, so that the large one needs a segment of its own."""
    records: list[Record] = [
        Trade(1, T0 + n, str(n), None, str(n * 2654435761 % 2**32), str(n**5 % 2**61), T0) for n in numbers
    ]
    return Batch(Trade, 0, T0, records)


def killed(folder: Path, where: str, nth: int, when: str, what: str) -> str:
    """Run it until it dies; return what it said that was done."""
    arguments = [str(folder), where, str(nth), when, what]
    child = subprocess.run([sys.executable, "-c", CHILD, *arguments], check=False, capture_output=True, text=True)
    assert child.returncode == -signal.SIGKILL, child.stderr
    return child.stdout


def take_all(spool: Spool) -> list[Batch]:
    taken = []
    while (entry := spool.oldest(0)) is not None:
        taken.append(entry.batch)
        spool.remove(entry)
    return taken


def assert_clean(folder: Path) -> None:
    assert {path.name for path in folder.iterdir() if not path.name.startswith("index")} == {"lock"}
    assert not list(folder.glob("*.damaged*"))
    with Spool.open(folder, MANY, writers=1) as spool:
        assert (spool.batches, spool.rows) == (0, 0)


REST = [batch(3), batch(*range(10_000, 20_000)), batch(4)]


@pytest.mark.parametrize(
    ("where", "nth", "when", "survives"),
    [
        ("Segment.add", 1, "before", 0),
        ("Segment.add", 1, "after", 1),
        ("Segment.create", 1, "before", 1),
        ("Segment.create", 1, "after", 1),
        ("files.sync_folder", 1, "before", 1),
        ("Segment.add", 2, "before", 1),
        ("Segment.add", 2, "after", 3),
        ("Index.enter", 1, "before", 3),
        ("Index.enter", 1, "after", 3),
        ("nothing", 0, "", 3),
    ],
)
def test_killed_in_append(tmp_path: Path, where: str, nth: int, when: str, survives: int) -> None:
    if where == "nothing":
        where, nth = "Index.close", 99
    said = killed(tmp_path, where, nth, when, "append")
    assert "took 1 2" in said
    assert ("took the rest" in said) == (nth == 99)
    assert running_pid(tmp_path) is None
    with Spool.open(tmp_path, MANY, writers=1) as spool:
        spool.append([batch(5)])
        expected = [batch(1), batch(2), *REST[:survives], batch(5)]
        assert (spool.batches, spool.rows) == (len(expected), sum(len(each.records) for each in expected))
    with Spool.open(tmp_path, MANY, writers=1) as spool:
        assert take_all(spool) == expected
    assert_clean(tmp_path)


@pytest.mark.parametrize(
    ("where", "nth", "when", "left"),
    [
        ("Index.remove", 1, "before", [1, 2]),
        ("Index.remove", 1, "after", [2]),
        ("Index.remove", 2, "after", []),
        ("spool.unlink", 1, "before", []),
        ("files.companions", 1, "before", []),  # the file is gone, what is beside it is not
        ("spool.unlink", 1, "after", []),
    ],
)
def test_killed_in_remove(tmp_path: Path, where: str, nth: int, when: str, left: list[int]) -> None:
    killed(tmp_path, where, nth, when, "remove")
    with Spool.open(tmp_path, MANY, writers=1) as spool:
        assert bool(list(tmp_path.glob("0*"))) == bool(left)
        spool.append([batch(3)])
        assert take_all(spool) == [*map(batch, left), batch(3)]
    assert_clean(tmp_path)


@pytest.mark.parametrize(
    ("where", "nth", "when"),
    [
        ("Index.make", 1, "before"),
        ("index.connect", 1, "after"),
        ("index.set_aside", 1, "before"),
        ("index.set_aside", 1, "after"),
        ("index.sync_folder", 1, "before"),
        ("Index.make", 1, "after"),
        ("Index.enter", 1, "before"),
        ("Index.enter", 1, "after"),
    ],
)
@pytest.mark.parametrize("state", ["new", "index lost", "index damaged"])
def test_killed_in_open(tmp_path: Path, where: str, nth: int, when: str, state: str) -> None:
    given = [batch(1), batch(2)] if state != "new" else []
    with Spool.open(tmp_path, MANY, writers=1) as spool:
        spool.append(given)
    if state == "index damaged":
        (tmp_path / "index.sqlite").write_bytes(b"\0" * 100)
    else:
        (tmp_path / "index.sqlite").unlink()
    killed(tmp_path, where, nth, when, "open")
    with Spool.open(tmp_path, MANY, writers=1) as spool:
        spool.append([batch(3)])
        assert take_all(spool) == [*given, batch(3)]
    with Spool.open(tmp_path, MANY, writers=1) as spool, capture_logs() as logs:
        assert spool.batches == 0
    assert logs == []


@pytest.mark.parametrize(
    ("where", "nth", "when"),
    [
        ("spool.set_aside", 1, "before"),
        ("spool.set_aside", 1, "after"),
        ("spool.unreadable", 1, "after"),
        ("Index.mark_lost", 1, "after"),
    ],
)
@pytest.mark.parametrize("flushed", [True, False])
def test_killed_while_a_damaged_file_is_set_aside(
    tmp_path: Path, where: str, nth: int, when: str, *, flushed: bool
) -> None:
    """`flushed`: the rows are in the file; otherwise they are still in what SQLite keeps beside it."""
    large = batch(*range(1, 5_000))
    if flushed:
        with Spool.open(tmp_path, MANY, writers=1) as spool:
            spool.append([large, batch(6_000)])
            segment = spool._segment(1)._connection
            segment.execute("UPDATE parcels SET payload = zeroblob(length(payload)) WHERE sequence = 1")
    else:
        killed(tmp_path, "Index.close", 99, "", "append")
        killed(tmp_path, where, nth, when, "oldest")  # sound: nothing to set aside
        with Spool.open(tmp_path, MANY, writers=1) as spool:
            assert take_all(spool) == [batch(1), batch(2), *REST]
        return
    killed(tmp_path, where, nth, when, "oldest")
    with Spool.open(tmp_path, MANY, writers=1) as spool:
        entry = spool.oldest(0)
        assert entry is not None
        assert entry.damaged
        assert [(gap.from_id, gap.to_id) for gap in entry.batch.gaps] == [(1, 4_999)]
        spool.remove(entry)
        assert take_all(spool) == [batch(6_000)]
    assert {path.name for path in tmp_path.glob("0*") if "-" not in path.name} == {"00000001.spool.damaged"}
