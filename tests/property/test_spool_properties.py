"""Whatever is appended, delivered, closed and reopened in whatever order: the spool is a list of batches."""

import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ingest.pipeline import parcel
from ingest.pipeline.batch import Batch
from ingest.pipeline.spool import Entry, Spool, SpoolFull
from ingest.records import Gap, Mark, Record, Reject, Trade

T0 = 1_795_262_400_000_000_000
MAX_BYTES = 400_000
_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of our own is made below it


def _batch(number: int, lane: int, rows: int, noise: bytes) -> Batch:
    """A batch that can be told from every other by its number; `noise` makes it large."""
    if noise:
        rejects: list[Record] = [Reject("x", str(number), "y", noise * rows, T0)]
        return Batch(Reject, lane, T0, rejects, size_bytes=number)
    records: list[Record] = [Trade(lane, T0 + row, str(number), "buy", "1", "1", T0) for row in range(rows)]
    mark = Mark(lane, "trades", number, T0, T0, T0)
    return Batch(Trade, lane, T0, records, [Gap(lane, "trades", str(number))], {(lane, "trades"): mark}, number)


class SpoolMachine(RuleBasedStateMachine):
    """The model: (writers when it was spooled, batch), oldest first."""

    @initialize(writers=st.integers(1, 3))
    def start(self, writers: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="spool", dir=_MEMORY if _MEMORY.is_dir() else None))
        self.writers = writers
        self.model: list[tuple[int, Batch]] = []
        self.removed: list[Entry] = []
        self.number = 0
        self.spool = self._open()

    def _open(self) -> Spool:
        return Spool.open(self.folder, MAX_BYTES, writers=self.writers, now_ns=lambda: T0)

    @rule(
        kinds=st.lists(
            st.tuples(st.integers(0, 2), st.integers(0, 30), st.binary(max_size=1_500)), min_size=1, max_size=8
        )
    )
    def append(self, kinds: list[tuple[int, int, bytes]]) -> None:
        batches = []
        for lane, rows, noise in kinds:
            self.number += 1
            batches.append(_batch(self.number, lane % self.writers, rows, noise))
        try:
            self.spool.append(batches)
        except SpoolFull:
            need = sum(each.disk_bytes for each in self.spool._pack(batches)) + 8 * parcel.PAGE_BYTES
            assert self.spool.bytes + need > MAX_BYTES
        else:
            self.model += [(self.writers, batch) for batch in batches]

    def _expected(self, lane: int) -> tuple[int, Batch] | None:
        """Up to the last batch of other writers, all is lane 0's, and the other lanes wait."""
        last = max((index for index, (writers, _) in enumerate(self.model) if writers != self.writers), default=-1)
        for index, (_, batch) in enumerate(self.model):
            if last >= 0:
                return (index, batch) if lane == 0 else None
            if batch.writer == lane:
                return index, batch
        return None

    @rule(lane=st.integers(0, 2), remove=st.booleans())
    def oldest(self, lane: int, *, remove: bool) -> None:
        entry, expected = self.spool.oldest(lane), self._expected(lane)
        if expected is None:
            assert entry is None
            return
        index, batch = expected
        assert entry is not None
        assert entry.batch == batch
        assert not entry.damaged
        if remove:
            self.spool.remove(entry)
            self.removed.append(entry)
            del self.model[index]

    @precondition(lambda self: self.removed)
    @rule()
    def remove_again(self) -> None:
        self.spool.remove(self.removed[-1])

    @rule(writers=st.one_of(st.none(), st.integers(1, 3)))
    def reopen(self, writers: int | None) -> None:
        self.spool.close()
        self.writers = writers or self.writers
        self.spool = self._open()

    @rule(damage=st.booleans())
    def lose_the_index(self, *, damage: bool) -> None:
        """What was delivered from a living segment comes again; so the spool is emptied first, but for one lane."""
        for lane in range(self.writers):
            while (entry := self.spool.oldest(lane)) is not None:
                self.spool.remove(entry)
        self.model.clear()
        self.append([(0, 3, b""), (1, 2, b"")])
        self.spool.close()
        if damage:
            (self.folder / "index.sqlite").write_bytes(b"\0" * 4_096)
        else:
            (self.folder / "index.sqlite").unlink()
        self.spool = self._open()

    @invariant()
    def counts(self) -> None:
        if not hasattr(self, "spool"):
            return
        rows = sum(len(batch.records) for _, batch in self.model)
        assert (self.spool.batches, self.spool.rows) == (len(self.model), rows)
        status = Spool.inspect(self.folder)
        assert (status.batches, status.rows, status.bytes) == (len(self.model), rows, self.spool.bytes)
        assert self.spool.bytes <= MAX_BYTES
        foreign = any(writers != self.writers for writers, _ in self.model)
        assert [self.spool.blocked(lane) for lane in range(3)] == [False, foreign, foreign]
        if not self.model:
            assert not list(self.folder.glob("0*"))

    def teardown(self) -> None:
        if hasattr(self, "spool"):
            self.spool.close()
            shutil.rmtree(self.folder)


TestSpool = SpoolMachine.TestCase
TestSpool.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
