"""The spool while all goes well, and at its bound. Crashes: test_spool_crash; bad disks: test_spool_damage."""

import errno
import io
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from ingest import spooled
from ingest.errors import ConfigError, Exit, Retryable
from ingest.pipeline import parcel, spool_files, spool_view
from ingest.pipeline.batch import Batch
from ingest.pipeline.spool import Spool, SpoolError, SpoolFull
from ingest.pipeline.spool_files import Segment, running_pid
from ingest.pipeline.spool_index import Index
from ingest.records import (
    Candle,
    CandleSource,
    Funding,
    Gap,
    Liquidation,
    Mark,
    MarkPrice,
    OpenInterest,
    OrderBook,
    Quote,
    Record,
    Reject,
    Ticker,
    Trade,
)

T0 = 1_795_262_400_000_000_000
MANY = 100_000_000

TRADE = Trade(1, T0, "17", "buy", "64000.10", "0.00012", T0 + 1)
CANDLE = Candle(1, T0, "1", "2", "0.5", "1.5", "10", "15.0", 7, None, "2", CandleSource.REST, T0 + 2)
BOOK = OrderBook(2, T0, T0 - 5, 99, (("1", "2"), ("0.9", "3")), (("1.1", "2"),), False, T0 + 3)
QUOTE = Quote(3, T0, 2**63 - 1, "1", "2", "3", "4", T0 + 4)
TICKER = Ticker(4, T0, None, "1", None, "2", None, None, None, None, None, "5", T0 + 5)
FIGURES = [
    Funding(5, T0, "-0.0001", T0 + 6, T0 + 7),
    OpenInterest(5, T0, "10", None, T0 + 7),
    MarkPrice(5, T0, "10", "9.9", T0 + 7),
    Liquidation(5, T0, "sell", "10", "1", T0 + 7),
]
REJECT = Reject("binance", "BTC/USDT trades", "not a price: é\t", b"\x00\xff{", T0 + 6)


def batch(*numbers: int, writer: int = 0, instrument_id: int = 1) -> Batch:
    records: list[Record] = [
        Trade(instrument_id, T0 + number, str(number), None, f"{number}.50", "1", T0) for number in numbers
    ]
    return Batch(Trade, writer, T0, records, size_bytes=110 * len(numbers))


def noise(rows: int, seed: int = 0) -> Batch:
    """Some 90 bytes a row that do not compress: hex of random bytes."""
    payload = [os.urandom(90) for _ in range(rows)]
    return Batch(Reject, 0, T0, [Reject("x", str(seed), "y", each, T0) for each in payload])


def take_all(spool: Spool, lane: int = 0) -> list[Batch]:
    taken = []
    while (entry := spool.oldest(lane)) is not None:
        taken.append(entry.batch)
        spool.remove(entry)
    return taken


def files(folder: Path) -> set[str]:
    """Without what SQLite keeps beside."""
    return {path.name for path in folder.iterdir() if not path.name.endswith(("-wal", "-shm"))}


@pytest.mark.parametrize(
    "record", [TRADE, CANDLE, BOOK, QUOTE, TICKER, *FIGURES, REJECT], ids=lambda record: type(record).__name__
)
def test_a_batch_comes_back_whole(tmp_path: Path, record: Record) -> None:
    gaps = [Gap(1, "trades", "line lost: ü", T0, None, 5, None, "pong\n", "unrecoverable"), Gap(2, "book", "x")]
    marks = [Mark(1, "trades", 17, T0, T0 + 9, T0), Mark(1, "book", None, T0, T0, T0)]
    whole = Batch(type(record), 1, T0, [record, record], gaps, {(m.instrument_id, m.channel): m for m in marks}, 220)
    with Spool.open(tmp_path, MANY, writers=2) as spool:
        spool.append([whole])
        entry = spool.oldest(1)
        assert entry is not None
        assert entry.batch == whole
        assert not entry.damaged
        assert entry.batch.records[0] == record
        assert type(entry.batch.records[0]) is type(record)
    with Spool.open(tmp_path, MANY, writers=2) as spool:
        assert take_all(spool, 1) == [whole]


def test_a_batch_of_notes_alone(tmp_path: Path) -> None:
    notes = Batch(Trade, 0, T0, [], [Gap(1, "trades", "x")], {(1, "trades"): Mark(1, "trades", 1, T0, T0, T0)})
    with Spool.open(tmp_path, MANY, writers=1) as spool:
        spool.append([notes])
        assert take_all(spool) == [notes]


def test_a_field_that_is_added_later_reads_old_files() -> None:
    class Later(msgspec.Struct):
        instrument_id: int
        time_ns: int
        trade_id: str
        side: str | None
        price: str
        amount: str
        received_ns: int
        maker: str | None = None

    encoded = parcel._encode([TRADE])
    assert msgspec.msgpack.decode(encoded, type=list[Later])[0].maker is None


def test_order_within_a_lane_and_no_mixing_of_lanes(tmp_path: Path) -> None:
    given = [batch(number, writer=number % 3) for number in range(30)]
    with Spool.open(tmp_path, MANY, writers=3) as spool:
        spool.append(given[:10])
        for each in given[10:]:
            spool.append([each])
        assert (spool.batches, spool.rows) == (30, 30)
        for lane in (2, 0, 1):
            assert take_all(spool, lane) == given[lane::3]
        assert spool.oldest(0) is None
        assert (spool.batches, spool.rows) == (0, 0)


def test_order_outlives_a_close_and_numbers_are_not_used_again(tmp_path: Path) -> None:
    with Spool.open(tmp_path, MANY, writers=1) as spool:
        spool.append([batch(1), batch(2)])
        first = spool.oldest(0)
        assert first is not None
        spool.remove(first)
    with Spool.open(tmp_path, MANY, writers=1) as spool:
        assert (spool.batches, spool.rows) == (1, 1)
        spool.append([batch(3)])
        assert take_all(spool) == [batch(2), batch(3)]
        spool.remove(first)  # again, long after
    with Spool.open(tmp_path, MANY, writers=1) as spool:
        spool.append([batch(4)])
        entry = spool.oldest(0)
        assert entry is not None
        assert entry.sequence > 3
        spool.remove(first)
        assert spool.batches == 1


def test_an_empty_call_and_what_asks_twice(tmp_path: Path) -> None:
    with Spool.open(tmp_path, MANY, writers=1) as spool:
        spool.append([])
        assert spool.oldest(0) is None
        spool.append([batch(1)])
        assert spool.oldest(0) == spool.oldest(0)


def test_a_segment_is_deleted_with_its_last_batch(tmp_path: Path) -> None:
    with Spool.open(tmp_path, MANY, writers=1, segment_bytes=65_536) as spool:
        for seed in range(6):
            spool.append([noise(250, seed)])
        assert {"00000001.spool", "00000002.spool", "00000003.spool"} <= files(tmp_path)
        while (entry := spool.oldest(0)) is not None:
            spool.remove(entry)
            present = {path.name for path in tmp_path.glob("*.spool*")}
            assert f"{entry.segment - 1:08}.spool" not in present
        assert files(tmp_path) == {"index.sqlite", "lock"}
        assert not list(tmp_path.glob("0*"))


def test_a_batch_larger_than_a_segment_has_one_of_its_own(tmp_path: Path) -> None:
    large = noise(3_000)
    with Spool.open(tmp_path, MANY, writers=1, segment_bytes=65_536) as spool:
        spool.append([batch(1), large, batch(2)])
        assert take_all(spool) == [batch(1), large, batch(2)]


def test_only_the_owner_may_read(tmp_path: Path) -> None:
    with Spool.open(tmp_path / "a" / "spool", MANY, writers=1) as spool:
        spool.append([batch(1)])
        assert stat.S_IMODE(spool.folder.stat().st_mode) == 0o700
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in spool.folder.iterdir()}
        assert set(modes.values()) == {0o600}, modes


def test_every_commit_is_synced(tmp_path: Path) -> None:
    with Spool.open(tmp_path, MANY, writers=1) as spool:
        spool.append([batch(1)])
        for connection in (spool._index._connection, spool._segment(1)._connection):
            assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


# The bound


def test_refuses_at_its_bound_and_takes_again_after_removals(tmp_path: Path) -> None:
    given, taken = [noise(100, seed) for seed in range(100)], 0
    with Spool.open(tmp_path, 600_000, writers=1) as spool:
        while True:
            try:
                spool.append([given[taken]])
            except SpoolFull as full:
                said = str(full)
                break
            taken += 1
        assert said.startswith(f"the spool {tmp_path} is full: it holds {spool.bytes:,} of 600,000 bytes")
        assert said.endswith("bring the database back, or raise spool.max_bytes")
        assert 20 < taken < 60
        assert spool.batches == taken
        assert spool.bytes <= 600_000
        for _ in range(taken // 2):
            entry = spool.oldest(0)
            assert entry is not None
            spool.remove(entry)
        spool.append([given[taken]])
        assert take_all(spool) == given[taken // 2 : taken + 1]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 600_000


def test_a_call_is_taken_wholly_or_not_at_all(tmp_path: Path) -> None:
    with Spool.open(tmp_path, 600_000, writers=1) as spool:
        spool.append([batch(1)])
        before = (spool.batches, spool.rows, spool.bytes, files(tmp_path))
        with pytest.raises(SpoolFull):
            spool.append([batch(2), *[noise(100, seed) for seed in range(100)]])
        assert (spool.batches, spool.rows, spool.bytes, files(tmp_path)) == before
    with Spool.open(tmp_path, 600_000, writers=1) as spool:
        assert take_all(spool) == [batch(1)]


def _fail_nth(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, nth: int, error: Exception) -> None:
    real: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def failing(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == nth:
            raise error
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, name, failing)


def _disk_full() -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    return error


@pytest.mark.parametrize(
    ("owner", "name", "nth"),
    [
        (Segment, "create", 1),
        (Segment, "create", 3),
        (Segment, "add", 1),
        (Segment, "add", 2),
        (Segment, "add", 4),
        (Index, "enter", 1),
    ],
)
@pytest.mark.parametrize("error", [_disk_full(), OSError(errno.ENOSPC, "No space left on device")], ids=type)
def test_a_full_disk_at_any_step_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: type, name: str, nth: int, error: Exception
) -> None:
    many = [noise(250, seed) for seed in range(8)]
    with Spool.open(tmp_path, MANY, writers=1, segment_bytes=65_536) as spool:
        spool.append([batch(1)])
        before = (spool.batches, spool.rows)
        with monkeypatch.context() as patch:
            _fail_nth(patch, owner, name, nth, error)
            with pytest.raises(SpoolFull, match=r"the disk of the spool .* is full"):
                spool.append(many)
        assert (spool.batches, spool.rows) == before
        assert files(tmp_path) == {"index.sqlite", "lock", "00000001.spool"}
    with Spool.open(tmp_path, MANY, writers=1, segment_bytes=65_536) as spool:
        spool.append(many)
        assert take_all(spool) == [batch(1), *many]


def test_a_failure_that_is_no_full_disk_is_retryable_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Spool.open(tmp_path, MANY, writers=1) as spool:
        with monkeypatch.context() as patch:
            _fail_nth(patch, Index, "enter", 1, sqlite3.OperationalError("disk I/O error"))
            with pytest.raises(SpoolError, match="disk I/O error") as caught:
                spool.append([batch(1)])
        assert isinstance(caught.value, Retryable)
        assert not isinstance(caught.value, SpoolFull)
        spool.append([batch(2)])
        assert take_all(spool) == [batch(2)]


def test_leaves_room_on_the_disk_to_forget_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Spool.open(tmp_path, MANY, writers=1) as spool:
        spool.append([batch(1)])
        with monkeypatch.context() as patch:
            patch.setattr(spool_files, "RESERVE_BYTES", 2**62)
            with pytest.raises(SpoolFull, match=r"is full but for .* bytes, and .* must stay free"):
                spool.append([batch(2)])
            assert take_all(spool) == [batch(1)]


def test_forgets_on_a_full_disk(tmp_path: Path) -> None:
    """Neither file may grow here, as on a disk that another program filled; the journal is used again."""
    with Spool.open(tmp_path, MANY, writers=1) as spool:
        for number in range(20):
            spool.append([batch(number)])
        index, real = spool._index, Index._remove
        calls = []

        def first_full(self: Index, sequence: int, last_of_segment: int | None) -> bool | None:
            calls.append(sequence)
            if len(calls) == 1:
                raise _disk_full()
            return real(self, sequence, last_of_segment)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Index, "_remove", first_full)
            entry = spool.oldest(0)
            assert entry is not None
            spool.remove(entry)
        assert calls == [1, 1]
        assert index._connection.execute("PRAGMA wal_checkpoint").fetchone()[1] < 10  # pages in the journal
        assert take_all(spool) == [batch(number) for number in range(1, 20)]


def test_sqlite_itself_holds_a_segment_to_its_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The estimate of what fits is wrong here, on purpose."""
    with Spool.open(tmp_path, MANY, writers=1, segment_bytes=65_536) as spool:
        spool.append([batch(1)])
        with monkeypatch.context() as patch:
            patch.setattr(parcel.Parcel, "disk_bytes", 1)
            with pytest.raises(SpoolFull, match="database or disk is full"):
                spool.append([batch(2), *[noise(250, seed) for seed in range(8)]])
        assert (tmp_path / "00000001.spool").stat().st_size <= 65_536
        assert spool.batches == 1
        spool.append([batch(3)])
        assert take_all(spool) == [batch(1), batch(3)]


@pytest.mark.parametrize("rows", [1, 5, 40, 400, 4_000])
def test_the_estimate_of_bytes_is_never_too_low(tmp_path: Path, rows: int) -> None:
    with Spool.open(tmp_path, MANY, writers=1) as spool:
        spool.append([batch(0)])
        for count in (1, 3, 30):
            given = [noise(rows, seed) for seed in range(count)]
            estimate = sum(each.disk_bytes for each in spool._pack(given)) + 8 * parcel.PAGE_BYTES
            before = spool.bytes
            spool.append(given)
            assert spool.bytes - before <= estimate


# What cannot be encoded


def test_a_row_that_cannot_be_encoded_does_not_cost_its_batch(tmp_path: Path) -> None:
    torn = Trade(1, T0, "18\ud800", None, "1", "1", T0)
    late = Trade(1, 2**70, "19", None, "1", "1", T0)
    gap = Gap(1, "trades", "torn \ud800", T0, 2**70)
    marks = {(1, "trades"): Mark(1, "trades", 2**70, T0, T0, T0), (2, "trades"): Mark(2, "trades", 5, T0, T0, T0)}
    given = Batch(Trade, 1, T0, [TRADE, torn, late], [gap], marks, 330)  # type: ignore[arg-type]
    with Spool.open(tmp_path, MANY, writers=2) as spool:
        spool.append([given])
        rows, rejects = take_all(spool, 1)
    assert rows.records == [TRADE]
    assert rows.gaps == [Gap(1, "trades", "torn \\ud800", T0, None)]
    assert list(rows.marks.values()) == [Mark(2, "trades", 5, T0, T0, T0)]
    stream, reason = "instrument 1 trades", "cannot be encoded"
    assert rejects.table is Reject
    assert rejects.records == [
        Reject("", stream, reason, repr(torn).encode(errors="backslashreplace"), T0),
        Reject("", stream, reason, repr(late).encode(), T0),
    ]


def test_a_reject_that_cannot_be_encoded(tmp_path: Path) -> None:
    with Spool.open(tmp_path, MANY, writers=1) as spool:
        spool.append([Batch(Reject, 0, T0, [Reject("x", "y", "\udcff", b"\xff", T0)])])
        assert take_all(spool)[0].records == [Reject("x", "y", "\\udcff", b"\xff", T0)]


# Another number of writers


def test_what_was_spooled_for_other_writers_goes_through_lane_0_first(tmp_path: Path) -> None:
    old = [batch(number, writer=number % 3) for number in range(6)]
    with Spool.open(tmp_path, MANY, writers=3) as spool:
        spool.append(old)
    new = [batch(number, writer=number % 2) for number in range(10, 14)]
    with Spool.open(tmp_path, MANY, writers=2) as spool:
        spool.append(new)
        assert spool.blocked(1)
        assert not spool.blocked(0)
        for each in old:
            assert spool.oldest(1) is None
            assert spool.blocked(1)
            entry = spool.oldest(0)
            assert entry is not None
            assert entry.batch == each
            spool.remove(entry)
        assert not spool.blocked(1)
        assert take_all(spool, 1) == new[1::2]
        assert take_all(spool, 0) == new[0::2]


def test_a_setting_changed_and_changed_back_keeps_the_order(tmp_path: Path) -> None:
    """Stream 1 is writer 1's under two writers, and writer 2's under three."""
    for writers, writer, number in ((2, 1, 1), (3, 2, 2)):
        with Spool.open(tmp_path, MANY, writers=writers) as spool:
            spool.append([batch(number, writer=writer)])
    with Spool.open(tmp_path, MANY, writers=2) as spool:
        spool.append([batch(3, writer=1)])
        assert spool.oldest(1) is None
        entries = []
        for _ in range(2):
            entry = spool.oldest(0)
            assert entry is not None
            entries.append(entry.batch.records)
            spool.remove(entry)
        assert entries == [batch(1).records, batch(2).records]
        assert take_all(spool, 1) == [batch(3, writer=1)]


# Other processes


def _in_another_process(code: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_a_second_process_is_told_who_has_it(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from ingest.pipeline.spool import Spool; "
        "from ingest.errors import ConfigError; from ingest.pipeline.spool_files import running_pid\n"
        "print(running_pid(Path(sys.argv[1])))\n"
        "try: Spool.open(Path(sys.argv[1]), 10**8, writers=1)\n"
        "except ConfigError as error: print(error)\n"
    )
    assert running_pid(tmp_path) is None
    with Spool.open(tmp_path, MANY, writers=1) as spool:
        pid, message = _in_another_process(code, str(tmp_path)).splitlines()
        assert pid == str(os.getpid()) == str(running_pid(tmp_path))
        assert message == (
            f"the spool folder {tmp_path} is in use by process {pid}; stop that one, or give this one another "
            "spool.folder"
        )
        spool.append([batch(1)])
    assert running_pid(tmp_path) is None
    assert (tmp_path / "lock").exists()


def test_a_lock_left_by_a_longer_pid(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("123456789012\n")
    assert running_pid(tmp_path) is None
    with Spool.open(tmp_path, MANY, writers=1):
        assert running_pid(tmp_path) == os.getpid()


def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"the spool folder .*file/spool cannot be used: .*; make it writable"):
        Spool.open(tmp_path / "file" / "spool", MANY, writers=1)


def test_a_failed_open_lets_go_of_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        _fail_nth(patch, Index, "enter", 1, _disk_full())
        with pytest.raises(ConfigError, match="disk is full"):
            Spool.open(tmp_path, MANY, writers=1)
    assert running_pid(tmp_path) is None
    Spool.open(tmp_path, MANY, writers=1).close()


def test_status_from_within_and_from_another_process(tmp_path: Path) -> None:
    assert Spool.inspect(tmp_path) == spool_view.Status(0, 0, 0, 0, None, {}, [])
    times = iter(range(100, 200))
    with Spool.open(tmp_path, MANY, writers=2, now_ns=lambda: next(times)) as spool:
        spool.append([batch(5, 3, 4), batch(9, writer=1, instrument_id=2), Batch(Candle, 0, T0, [CANDLE])])
        spool.append([batch(8), Batch(Reject, 0, T0, [REJECT])])
        status = spool.status()
        assert status == spool_view.Status(
            batches=5,
            rows=7,
            bytes=spool.bytes,
            max_bytes=MANY,
            oldest_ns=status.oldest_ns,
            streams={
                (1, "trades"): spool_view.StreamTotal(4, T0 + 3, T0 + 8),
                (2, "trades"): spool_view.StreamTotal(1, T0 + 9, T0 + 9),
                (1, "candles"): spool_view.StreamTotal(1, T0, T0),
            },
            damaged_files=[],
        )
        assert status.oldest_ns in range(100, 105)
        code = "import sys; from pathlib import Path; from ingest.pipeline.spool_view import inspect; "
        assert _in_another_process(code + "print(inspect(Path(sys.argv[1])))", str(tmp_path)) == str(status)
        entry = spool.oldest(0)
        assert entry is not None
        spool.remove(entry)
        assert spool.status().oldest_ns == 1 + (status.oldest_ns or 0)
    assert Spool.inspect(tmp_path).batches == 4


def test_a_file_in_the_folders_place_is_no_empty_spool(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"the spool .*/file is a file: set \[spool\] folder"):
        spool_view.inspect(tmp_path / "file")
    with pytest.raises(ConfigError, match="is a file"):
        spool_view.export(tmp_path / "file", tmp_path / "out.ndjson")
    assert not (tmp_path / "out.ndjson").exists()
    assert running_pid(tmp_path / "file") is None


def test_a_damaged_file_is_shown_whatever_the_folder_is_called(tmp_path: Path) -> None:
    folder, said = tmp_path / "[red]", io.StringIO()
    folder.mkdir()
    (folder / "00000001.spool.damaged").touch()
    assert spooled.show(folder, Console(file=said, width=200)) is Exit.FAILED
    assert f"{folder}: nothing waits\n" in said.getvalue()
    assert "damaged: 00000001.spool.damaged (what" in said.getvalue()


def _lines(out: Path) -> Sequence[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in out.read_bytes().splitlines()]


def test_export_writes_what_waits_and_changes_nothing(tmp_path: Path) -> None:
    folder, gap = tmp_path / "spool", Gap(1, "candles", "x", T0)
    assert spool_view.export(folder, tmp_path / "none.ndjson") == 0
    with Spool.open(folder, MANY, writers=1) as spool:
        spool.append([batch(1, 2), Batch(Candle, 0, T0, [CANDLE], [gap]), Batch(Reject, 0, T0, [REJECT])])
        expected: list[tuple[str, object]] = [
            *[("trades", trade) for trade in batch(1, 2).records],
            ("candles", CANDLE),
            ("gaps", gap),
            ("rejected", REJECT),
        ]
        lines = [msgspec.to_builtins({"table": table, "record": record}) for table, record in expected]
        assert spool_view.export(folder, tmp_path / "open.ndjson") == 5
        assert spool.batches == 3
    assert spool_view.export(folder, tmp_path / "closed.ndjson") == 5
    for name in ("open.ndjson", "closed.ndjson"):
        assert _lines(tmp_path / name) == lines
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    with pytest.raises(ConfigError, match=r"cannot make .*open.ndjson: File exists"):
        spool_view.export(folder, tmp_path / "open.ndjson")
    with Spool.open(folder, MANY, writers=1) as spool:
        assert spool.batches == 3


def test_export_leaves_out_what_is_delivered_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "spool"
    with Spool.open(folder, MANY, writers=1) as spool:
        spool.append([batch(1)])
        real = spool_files.Segment.open

        def deliver_first(path: Path) -> Segment:
            monkeypatch.undo()
            take_all(spool)
            return real(path)

        monkeypatch.setattr(spool_files.Segment, "open", deliver_first)
        assert spool_view.export(folder, tmp_path / "out.ndjson") == 0


def test_the_index_shrinks_when_all_is_delivered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.pipeline.spool._SHRINK_BYTES", 0)
    with Spool.open(tmp_path, MANY, writers=1) as spool:
        spool.append([batch(number) for number in range(3_000)])
        large = spool._index.used_bytes
        assert len(take_all(spool)) == 3_000
    assert (tmp_path / "index.sqlite").stat().st_size < large / 10
