"""Damaged files: exactly the lost batches become gaps, by stream, and everything else is delivered in order."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs

from ingest.errors import ConfigError
from ingest.pipeline import parcel, spool_view
from ingest.pipeline.batch import Batch
from ingest.pipeline.spool import Spool, SpoolError
from ingest.records import (
    Candle,
    CandleSource,
    Funding,
    Gap,
    GapState,
    Mark,
    OrderBook,
    Quote,
    Record,
    Reject,
    Ticker,
    Trade,
)

T0 = 1_795_262_400_000_000_000
MANY = 100_000_000
CAUSE = "spool file damaged"
GONE: GapState = "unrecoverable"  # REST has no history of it


def trade(number: int, instrument_id: int = 1, trade_id: str | None = None) -> Trade:
    return Trade(instrument_id, T0 + number, str(number) if trade_id is None else trade_id, "buy", "1", "2", T0)


def batch(*records: Record, writer: int = 0) -> Batch:
    """With a gap and a mark of its own, so that a test sees that they are kept."""
    gap, mark = Gap(7, "book", "line lost", T0), Mark(7, "trades", len(records), T0, T0, T0)
    return Batch(type(records[0]), writer, T0, list(records), [gap], {(7, "trades"): mark}, 100)


def lost(whole: Batch, *gaps: Gap) -> Batch:
    return Batch(whole.table, whole.writer, T0, [], [*whole.gaps, *gaps], whole.marks, 0)


def gap(folder: Path, *numbers: int, instrument_id: int = 1, segment: int = 1, missing: bool = False) -> Gap:
    """Of trades with these ids."""
    first, last = min(numbers), max(numbers)
    path = folder / f"{segment:08}.spool"
    evidence = f"{path} is missing" if missing else f"{path}.damaged"
    return Gap(instrument_id, "trades", CAUSE, T0 + first, T0 + last, first, last, evidence, opened_ns=T0)


def take_all(spool: Spool, lane: int = 0) -> list[Batch]:
    taken = []
    while (entry := spool.oldest(lane)) is not None:
        taken.append(entry.batch)
        spool.remove(entry)
    return taken


def overwrite_payload(path: Path, payload: bytes) -> None:
    """Turn over one bit in the middle of a payload, where it stands in the file."""
    content = bytearray(path.read_bytes())
    at = content.find(payload[: min(len(payload), 400)])
    assert at > 0
    content[at + min(len(payload), 400) // 2] ^= 1
    path.write_bytes(content)


def packed(whole: Batch) -> bytes:
    return parcel.pack(whole, sequence=1, writers=1, spooled_ns=T0).payload


A = batch(*map(trade, range(1, 400)))
B = batch(*[trade(number, 1 + number % 2) for number in (411, 410, 413, 412)])
C = batch(*map(trade, range(500, 900)))


def spooled(folder: Path, *batches: Batch) -> None:
    with Spool.open(folder, MANY, writers=1) as spool:
        spool.append(batches)


def test_one_bit_in_one_payload(tmp_path: Path) -> None:
    spooled(tmp_path, A, B, C)
    overwrite_payload(tmp_path / "00000001.spool", packed(B))
    gaps = gap(tmp_path, 411, 413, instrument_id=2), gap(tmp_path, 410, 412)
    with capture_logs() as logs, Spool.open(tmp_path, MANY, writers=1) as spool:
        assert take_all(spool) == [A, lost(B, *gaps), C]
        assert (spool.batches, spool.rows) == (0, 0)
        assert spool.status().damaged_files == ["00000001.spool.damaged"]
    (said,) = logs
    assert (said["event"], said["log_level"], said["batches"], said["rows"]) == ("spool.damaged", "error", 1, 4)
    assert said["file"] == str(tmp_path / "00000001.spool.damaged")
    with Spool.open(tmp_path, MANY, writers=1) as spool:  # and the number is not used again
        spool.append([A])
        assert (tmp_path / "00000002.spool").exists()


def test_damage_is_remembered_over_a_restart_between_its_batches(tmp_path: Path) -> None:
    spooled(tmp_path, A, B, C)
    overwrite_payload(tmp_path / "00000001.spool", packed(C))
    taken = []
    for _ in range(3):
        with Spool.open(tmp_path, MANY, writers=1) as spool:
            entry = spool.oldest(0)
            assert entry is not None
            assert entry == spool.oldest(0)
            taken.append(entry.batch)
            spool.remove(entry)
    assert taken == [A, B, lost(C, gap(tmp_path, 500, 899))]


def _zero_header(path: Path) -> None:
    path.write_bytes(bytes(100) + path.read_bytes()[100:])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _noise(path: Path) -> None:
    path.write_bytes(b"noise" * 5_000)


@pytest.mark.parametrize("spoil", [_zero_header, _empty, _noise, Path.unlink])
def test_a_segment_that_cannot_be_read_at_all(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    for whole in (A, B, C):
        spooled(tmp_path, whole)
    spoil(tmp_path / "00000002.spool")
    missing = spoil is Path.unlink
    gaps = [
        gap(tmp_path, 411, 413, instrument_id=2, segment=2, missing=missing),
        gap(tmp_path, 410, 412, segment=2, missing=missing),
    ]
    with capture_logs() as logs, Spool.open(tmp_path, MANY, writers=1) as spool:
        assert (spool.batches, spool.rows) == (3, len(A.records) + len(C.records))
        assert spool.status().rows == spool.rows
        assert take_all(spool) == [A, lost(B, *gaps), C]
    assert [(line["event"], line["batches"], line["rows"]) for line in logs] == [("spool.damaged", 1, 4)]
    kept = {path.name for path in tmp_path.glob("0*.damaged")}
    assert kept == (set() if missing else {"00000002.spool.damaged"})


def test_a_truncated_segment_gives_what_it_still_holds(tmp_path: Path) -> None:
    many = [batch(*map(trade, range(number * 1_000, number * 1_000 + 400))) for number in range(1, 20)]
    spooled(tmp_path, *many)
    path = tmp_path / "00000001.spool"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with Spool.open(tmp_path, MANY, writers=1) as spool:
        taken = take_all(spool)
    whole = [taken == given for taken, given in zip(taken, many, strict=True)]
    assert not all(whole)
    assert any(whole)
    for given, got, is_whole in zip(many, taken, whole, strict=True):
        first = int(given.records[0].trade_id)  # type: ignore[union-attr]
        assert got == (given if is_whole else lost(given, gap(tmp_path, first, first + 399)))


def test_damage_while_it_is_open(tmp_path: Path) -> None:
    with Spool.open(tmp_path, MANY, writers=1) as spool:
        spool.append([A, B, C])
        connection = spool._segment(1)._connection
        connection.execute("DELETE FROM parcels WHERE sequence = 3")
        connection.execute("UPDATE parcels SET payload = 'text' WHERE sequence = 1")
        entry = spool.oldest(0)
        assert entry is not None
        assert entry.batch == lost(A, gap(tmp_path, 1, 399))
        spool.append([A])  # goes on in a new file
        spool.remove(entry)
        assert take_all(spool) == [B, lost(C, gap(tmp_path, 500, 899)), A]


def test_what_the_gap_of_each_channel_says(tmp_path: Path) -> None:
    """From the lowest to the highest id and time, whatever the order; no ids where a row has none."""
    late = T0 + 60 * 10**9

    def candle(time_ns: int) -> Candle:
        return Candle(1, time_ns, "1", "1", "1", "1", "1", None, None, None, None, CandleSource.STREAM, T0)

    def book(time_ns: int, sequence: int | None) -> OrderBook:
        return OrderBook(1, time_ns, None, sequence, (), (), True, T0)

    ticker = Ticker(1, T0, None, None, None, None, None, None, None, None, None, None, T0)
    cases: list[tuple[Batch, Gap | None]] = [
        (batch(trade(9), trade(5), trade(7)), Gap(1, "trades", CAUSE, T0 + 5, T0 + 9, 5, 9)),
        (batch(trade(1), trade(2, trade_id="2a")), Gap(1, "trades", CAUSE, T0 + 1, T0 + 2)),
        (batch(trade(1, trade_id="")), Gap(1, "trades", CAUSE, T0 + 1, T0 + 1)),
        (batch(trade(1, trade_id="²")), Gap(1, "trades", CAUSE, T0 + 1, T0 + 1)),
        (batch(trade(1, trade_id="9" * 19)), Gap(1, "trades", CAUSE, T0 + 1, T0 + 1)),
        (batch(trade(1, trade_id="9" * 9_999)), Gap(1, "trades", CAUSE, T0 + 1, T0 + 1)),
        (batch(candle(late), candle(T0)), Gap(1, "candles", CAUSE, T0, late)),
        (batch(book(T0, 8), book(late, 6)), Gap(1, "book", CAUSE, T0, late, 6, 8, state=GONE)),
        (batch(book(T0, 8), book(late, None)), Gap(1, "book", CAUSE, T0, late, state=GONE)),
        (batch(Quote(1, T0, 4, "1", "1", "2", "1", T0)), Gap(1, "quotes", CAUSE, T0, T0, 4, 4, state=GONE)),
        (batch(ticker), Gap(1, "ticker", CAUSE, T0, T0, state=GONE)),
        (batch(Funding(1, T0, "0", None, T0)), Gap(1, "funding", CAUSE, T0, T0, state=GONE)),
        (batch(Reject("x", "y", "z", b"{", T0)), None),
    ]
    spooled(tmp_path, *[whole for whole, _ in cases])
    (tmp_path / "00000001.spool").unlink()
    evidence = f"{tmp_path / '00000001.spool'} is missing"
    with Spool.open(tmp_path, MANY, writers=1) as spool:
        named = [each and msgspec.structs.replace(each, evidence=evidence, opened_ns=T0) for _, each in cases]
        assert take_all(spool) == [
            lost(whole, *[each] if each else []) for (whole, _), each in zip(cases, named, strict=True)
        ]


def test_a_moment_of_trouble_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spooled(tmp_path, A)

    def too_many(*_: object, **__: object) -> None:
        raise OSError(24, "Too many open files")

    with Spool.open(tmp_path, MANY, writers=1) as spool:
        with monkeypatch.context() as patch:
            patch.setattr("ingest.pipeline.spool.Segment.open", too_many)
            with pytest.raises(SpoolError, match="Too many open files"):
                spool.oldest(0)
        assert take_all(spool) == [A]


def test_export_and_status_of_a_damaged_spool_move_nothing(tmp_path: Path) -> None:
    folder, out = tmp_path / "spool", tmp_path / "out.ndjson"
    spooled(folder, A, B)
    overwrite_payload(folder / "00000001.spool", packed(A))
    assert spool_view.export(folder, out) == 1 + 1 + 4 + 1
    lines = [msgspec.json.decode(line) for line in out.read_bytes().splitlines()]
    assert lines[1]["record"]["cause"] == CAUSE
    assert (lines[1]["record"]["from_id"], lines[1]["record"]["to_id"]) == (1, 399)
    assert Spool.inspect(folder).batches == 2
    assert (folder / "00000001.spool").exists()


# The index


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5_000])


@pytest.mark.parametrize("spoil", [_zero_header, _empty, _noise, _cut, Path.unlink])
def test_an_index_that_is_lost_is_made_anew(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    with Spool.open(tmp_path, MANY, writers=2) as spool:
        other = batch(trade(1_000, 5), writer=1)
        spool.append([A, other, B, C])
    spoil(tmp_path / "index.sqlite")
    with capture_logs() as logs, Spool.open(tmp_path, MANY, writers=2, now_ns=lambda: T0) as spool:
        assert (spool.batches, spool.rows) == (4, sum(len(each.records) for each in (A, other, B, C)))
        assert take_all(spool, 1) == [other]
        assert take_all(spool, 0) == [A, B, C]
        spool.append([A])
        assert take_all(spool) == [A]
    assert [line["event"] for line in logs] == ["spool.index_damaged", "spool.recovered"][: len(logs)]
    aside = tmp_path / "index.sqlite.damaged-20261121T120000Z"
    assert aside.exists() == (spoil is not Path.unlink)
    with capture_logs() as logs, Spool.open(tmp_path, MANY, writers=2) as spool:
        assert spool.batches == 0
    assert logs == []


def test_a_damaged_index_still_names_what_a_damaged_segment_lost(tmp_path: Path) -> None:
    """Bit rot in one line of the index, and a segment that is gone: the other lines are saved."""
    spooled(tmp_path, A)
    spooled(tmp_path, B)
    spooled(tmp_path, C)
    index = tmp_path / "index.sqlite"
    content = bytearray(index.read_bytes())
    at = content.find(parcel.pack(A, sequence=1, writers=1, spooled_ns=T0).head.payload_sha256)
    assert at > 0
    content[at] ^= 1
    index.write_bytes(content)
    (tmp_path / "00000003.spool").unlink()
    with Spool.open(tmp_path, MANY, writers=1) as spool:
        assert take_all(spool) == [A, B, lost(C, gap(tmp_path, 500, 899, segment=3, missing=True))]


def test_batches_of_a_file_set_aside_outlive_the_index(tmp_path: Path) -> None:
    spooled(tmp_path, A, B, C)
    overwrite_payload(tmp_path / "00000001.spool", packed(A))
    with Spool.open(tmp_path, MANY, writers=1) as spool:
        entry = spool.oldest(0)
        assert entry is not None
        assert entry.damaged
    (tmp_path / "index.sqlite").unlink()
    with Spool.open(tmp_path, MANY, writers=1) as spool:
        assert take_all(spool) == [lost(A, gap(tmp_path, 1, 399)), B, C]


def test_a_strange_file_in_the_folder_is_kept(tmp_path: Path) -> None:
    spooled(tmp_path, A)
    (tmp_path / "00000009.spool").write_bytes(b"noise" * 5_000)
    (tmp_path / "00000008.spool").write_bytes(b"")  # a crash as it was made
    (tmp_path / "notes.txt").write_text("mine")
    with capture_logs() as logs, Spool.open(tmp_path, MANY, writers=1) as spool:
        assert [(line["event"], line["batches"]) for line in logs] == [("spool.damaged", 0)]
        assert take_all(spool) == [A]
        spool.append([B])
        assert {path.name for path in tmp_path.glob("[0n]*") if "-" not in path.name} == {
            "00000009.spool.damaged",
            "00000010.spool",
            "notes.txt",
        }


@pytest.mark.parametrize("index", ["there", "lost"])
def test_what_a_later_version_wrote_is_left_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, index: str) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(parcel, "FORMAT", parcel.FORMAT + 1)
        spooled(tmp_path, A)
    if index == "lost":
        (tmp_path / "index.sqlite").unlink()
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"a later version of ingest wrote .*; let that version deliver it"):
            Spool.open(tmp_path, MANY, writers=1)
    monkeypatch.setattr(parcel, "FORMAT", parcel.FORMAT + 1)
    with Spool.open(tmp_path, MANY, writers=1) as spool:
        assert take_all(spool) == [A]
