"""`ingest import` of a Binance trades ZIP against one bare COPY of the same rows into the same empty hypertable.

The COPY side reads prebuilt COPY text from a file and sends it on one connection in one transaction: no checksum, no
unpacking, no parsing, no ledger. The import side begins with the ZIP and ends with the range counted as fetched;
rollups, which are the same for both, are left out. Memory is the process's high-water mark while it imports, beside
what it was.
"""

import asyncio
import random
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import psycopg
from psycopg import sql

from ingest.clock import SECOND
from ingest.importing.job import Job, Request
from ingest.importing.load import Importer, Outcome
from ingest.records import Instrument, Trade
from ingest.store import database
from ingest.store.registry import Registry
from ingest.store.rows import TABLES, timestamp
from tests.bench.harness import Bench, Figure, Group, Pairs, alternate, number

GROUP = Group("imports")

BTC = Instrument("binance", "BTC/USDT", "BTCUSDT", "spot", "BTC", "USDT")
WORKERS = 2
"""The default of `ingest import --workers`."""
FIRST_ID = 5_400_000_000
_DAY_SECONDS = 86_400
_COLUMNS = sql.SQL(", ").join(map(sql.Identifier, TABLES[Trade].columns))
_COPY = sql.SQL("COPY ingest.trades ({}) FROM STDIN").format(_COLUMNS)
_READ_BYTES = 256 * 1024


def name_of(day_start: int) -> str:
    return f"BTCUSDT-trades-{time.strftime('%Y-%m-%d', time.gmtime(day_start))}.zip"


def generate(folder: Path, rows: int) -> tuple[Path, Path]:
    """The ZIP of a busy day ten days ago, as Binance writes it since 2025, and the same rows as COPY text."""
    chance = random.Random(7)  # noqa: S311 - the same rows each time
    start = int(time.time()) // _DAY_SECONDS * _DAY_SECONDS - 10 * _DAY_SECONDS
    step_us = (_DAY_SECONDS - 1) * 1_000_000 // rows
    packed, plain = folder / name_of(start), folder / "trades.copy"
    received = timestamp((start + _DAY_SECONDS) * SECOND)
    cents, at_us = 6_400_000, start * 1_000_000
    with (
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open(packed.name.replace(".zip", ".csv"), "w", force_zip64=True) as member,
        plain.open("w") as copy_text,
    ):
        lines, texts = [], []
        for place in range(rows):
            cents += chance.randrange(-3, 4)
            at_us += chance.randrange(1, 2 * step_us)
            price, amount = f"{cents // 100}.{cents % 100:02}000000", f"0.{chance.randrange(1, 10_000_000):08}"
            maker, quote = chance.randrange(2), f"{chance.randrange(1, 99_999)}.{chance.randrange(10**8):08}"
            word = "True" if maker else "False"
            lines.append(f"{FIRST_ID + place},{price},{amount},{quote},{at_us},{word},True\n")
            side = "sell" if maker else "buy"
            texts.append(f"{timestamp(at_us * 1000)}\t1\t{FIRST_ID + place}\t{side}\t{price}\t{amount}\t{received}\n")
            if len(lines) == 50_000 or place == rows - 1:
                member.write("".join(lines).encode())
                copy_text.write("".join(texts))
                lines, texts = [], []
    return packed, plain


class Sides:
    """Both ways of storing the rows. Each returns its seconds."""

    def __init__(self, url: str, packed: Path, plain: Path, rows: int) -> None:
        self._url, self._packed, self._plain, self._rows = url, packed, plain, rows
        self.peak_mb = 0.0
        asyncio.run(self._register())

    def copy(self) -> float:
        self._empty()
        with database.connect_sync(self._url, role="copy") as connection:
            started = time.perf_counter()
            with connection.transaction(), connection.cursor().copy(_COPY) as copy, self._plain.open("rb") as file:
                while read := file.read(_READ_BYTES):
                    copy.write(read)
            seconds = time.perf_counter() - started
        self._check()
        return seconds

    def load(self) -> float:
        self._empty()
        before = _memory_mb("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins anew
        started = time.perf_counter()
        outcome = asyncio.run(self._import())
        seconds = time.perf_counter() - started
        self.peak_mb = max(self.peak_mb, _memory_mb("VmHWM") - before)
        assert outcome.written.stored == self._rows
        self._check()
        return seconds

    async def _import(self) -> Outcome:
        async def locate(_request: Request, _job: Job) -> tuple[int, Instrument, str]:
            return 1, BTC, "trade"

        importer = Importer(self._url, locate, workers=WORKERS)
        try:
            return await importer.file(self._packed, Request("binance"), lambda _written: None)
        finally:
            await importer.close()

    async def _register(self) -> None:
        registry = Registry(self._url)
        try:
            assert await registry.register_instruments("binance", [BTC]) == {"BTC/USDT": 1}
        finally:
            await registry.close()

    def _empty(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute("TRUNCATE ingest.trades, ingest.imports, ingest.backfill_jobs, ingest.rollup_changes")
            connection.execute("CHECKPOINT")

    def _check(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            row = connection.execute("SELECT count(*) FROM ingest.trades").fetchone()
        assert row == (self._rows,), f"{row} rows are stored, {self._rows} were given"


def _memory_mb(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(field)


@contextmanager
def sides(bench: Bench, rows: int) -> Iterator[Sides]:
    with TemporaryDirectory(prefix="ingest-bench-") as folder, bench.database() as url:
        bench.say(f"preparing a ZIP of {rows:,} trades")
        yield Sides(url, *generate(Path(folder), rows), rows)


@GROUP.measures("import_vs_copy", "import_mb")
def import_vs_copy(bench: Bench) -> Iterator[Figure]:
    rows = bench.scale.import_rows
    with sides(bench, rows) as s:
        pairs = alternate(bench.scale.import_pairs, s.copy, s.load)
    yield Figure("import_vs_copy", pairs.rate, at_least=0.8, note=_note(pairs, rows))
    yield Figure("import_mb", s.peak_mb, "MB", note=f"memory above what the process had, at most, of {rows:,} trades")


def _note(pairs: Pairs, rows: int) -> str:
    base, other = (rows / median(seconds) / 1000 for seconds in (pairs.base, pairs.other))
    return f"{number(base)} and {number(other)} thousand rows/s; {pairs.spread}"
