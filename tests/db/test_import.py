"""`ingest import` against a real database: every row once and exact, whatever was there, stops it or is wrong in it."""

import asyncio
import gzip
import hashlib
import io
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from rich.console import Console

from ingest import status
from ingest.clock import MICROSECOND, MILLISECOND, MINUTE, SECOND
from ingest.config.model import Config
from ingest.errors import ConfigError, Exit
from ingest.importing import command, fast, source
from ingest.importing.command import Locator
from ingest.importing.job import Request
from ingest.importing.load import Importer, Outcome
from ingest.records import CandleSource, Gap, Instrument, Stream, Trade
from ingest.store.copy_writer import CopyWriter, Written
from ingest.store.recompress import Place, compress
from ingest.store.registry import Registry
from tests.conftest import Fetch
from tests.db.support import BTC, ETH, candle, moment, stored_candles, stored_trades, trade

DAY_SECONDS = 86_400
DAY = int(time.time()) // DAY_SECONDS * DAY_SECONDS - 10 * DAY_SECONDS
"""Ten days ago, 00:00 UTC, in seconds: dumps are of the past, and of less than their table's retention."""
LINEAR = Instrument("bybit", "BTC/USDT:USDT", "BTCUSDT", "swap", "BTC", "USDT", "USDT")
SPOT = Instrument("bybit", "BTC/USDT", "BTCUSDT", "spot", "BTC", "USDT")
BINANCE = Request("binance")


@pytest.fixture(autouse=True)
async def known(database_url: str) -> None:
    registry = Registry(database_url)
    try:
        assert await registry.register_instruments("binance", [BTC, ETH]) == {"BTC/USDT": 1, "ETH/USDT": 2}
        await registry.register_instruments("bybit", [SPOT, LINEAR])
    finally:
        await registry.close()


async def load(url: str, path: Path, request: Request = BINANCE, *, workers: int = 2, size: int = 4096) -> Outcome:
    importer = Importer(url, Locator(Config(), url).find, workers=workers, block_bytes=size)
    try:
        return await importer.file(path, request, lambda _written: None)
    finally:
        await importer.close()


def run(url: str, *paths: Path, request: Request = BINANCE, workers: int = 2) -> tuple[Exit, str]:
    console = Console(record=True, width=200, file=io.StringIO())
    code = command.run(Config(), url, paths, request, workers=workers, console=console)
    return code, console.export_text()


def keep_from(fetch: Fetch, table: str, second: int) -> None:
    """What is older is past the retention; the edge moves on by less than a minute while a test runs."""
    statement = "UPDATE ingest.policies SET retention = now() - to_timestamp(%s + 1) WHERE table_name = %s"
    fetch(statement, second, table)


def date(day: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(day))


def dumped(count: int, *, first: int = 1, day: int = DAY, step_us: int = 700, instrument_id: int = 1) -> list[Trade]:
    """Trades of a day, a few a millisecond."""
    return [
        trade(
            str(number),
            time_ns=day * SECOND + number * step_us * MICROSECOND,
            instrument_id=instrument_id,
            side="sell" if number % 3 else "buy",
            price=f"{60_000 + number % 700}.{number % 100:02}",
            amount=f"0.{number + 1:08}",
        )
        for number in range(first, first + count)
    ]


def lines(trades: Iterable[Trade], *, unit_ns: int = MICROSECOND) -> str:
    return "".join(
        f"{t.trade_id},{t.price},{t.amount},1.0,{t.time_ns // unit_ns},{t.side == 'sell'},True\n" for t in trades
    )


def packed(folder: Path, text: str, *, day: int = DAY, name: str = "BTCUSDT-trades") -> Path:
    path = folder / f"{name}-{date(day)}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{path.stem}.csv", text)
    return path


def rows(trades: Iterable[Trade]) -> list[tuple[object, ...]]:
    return sorted(
        (moment(t.time_ns), t.instrument_id, t.trade_id, t.side, Decimal(t.price), Decimal(t.amount)) for t in trades
    )


def stored(fetch: Fetch) -> list[tuple[object, ...]]:
    """Without when they were received; digit for digit."""
    found = stored_trades(fetch)
    assert all(str(row[4]) and row[6] for row in found)
    return sorted(row[:6] for row in found)


# Once, and exact


async def test_a_file_is_stored_and_not_read_again(database_url: str, tmp_path: Path, fetch: Fetch) -> None:
    given = dumped(1_000)
    path = packed(tmp_path, lines(given))
    outcome = await load(database_url, path)
    assert (outcome.written, outcome.known_file) == (Written(1_000, 0, 0), False)
    assert stored(fetch) == rows(given)
    received = "SELECT count(*) FROM ingest.trades t JOIN ingest.imports i ON i.started_at = t.received_at"
    assert fetch(received) == [(1_000,)]
    again = await load(database_url, path)
    assert (again.written, again.known_file) == (Written(1_000, 0, 0), True)
    assert fetch("SELECT state, lines, last_place, rows_stored, rows_known, rows_rejected FROM ingest.imports") == [
        ("finished", 1_000, 1_000, 1_000, 0, 0)
    ]
    assert fetch("SELECT channel, id_space, state, last_sequence, rows_stored FROM ingest.streams") == [
        ("trades", "trade", "stopped", 1_000, 1_000)
    ]


async def test_trades_of_the_stream_stay_one_row(database_url: str, tmp_path: Path, fetch: Fetch) -> None:
    """The stream's are in microseconds, the file's in milliseconds, and one of them says another price."""
    given = dumped(1_000)
    by_stream = [*given[100:200], *given[700:705]]
    await register(database_url, "trade")
    writer = CopyWriter(database_url, role="stream", instruments={1: BTC})
    await writer.write(by_stream)
    await writer.close()
    told = lines(given, unit_ns=MILLISECOND).replace(f"\n150,{given[149].price},", "\n150,1.5,")
    outcome = await load(database_url, packed(tmp_path, told))
    assert outcome.written == Written(895, 104, 1)
    streamed = {t.trade_id for t in by_stream}
    cut = [t if t.trade_id in streamed else trade_cut(t) for t in given]
    assert stored(fetch) == rows(cut)
    (reject,) = fetch("SELECT exchange, stream, reason, payload FROM ingest.rejected")
    assert reject[:2] == ("binance", f"BTC/USDT trades BTCUSDT-trades-{date(DAY)}.zip:150")
    assert reject[2].startswith("trade id is stored with price 60150.50")
    assert bytes(reject[3]).startswith(b"150,1.5,")


def trade_cut(t: Trade) -> Trade:
    return trade(
        t.trade_id, time_ns=t.time_ns // MILLISECOND * MILLISECOND, side=t.side, price=t.price, amount=t.amount
    )


async def register(url: str, id_space: str) -> None:
    registry = Registry(url)
    try:
        await registry.register_streams([Stream(1, BTC, "trades")], {"trades": id_space}, {"trades": "ids"})
    finally:
        await registry.close()


async def test_blocks_that_meet_in_a_millisecond_are_copied_straight(
    database_url: str, tmp_path: Path, fetch: Fetch
) -> None:
    given = dumped(2_000, step_us=10)
    outcome = await load(database_url, packed(tmp_path, lines(given, unit_ns=MILLISECOND)), workers=1)
    assert outcome.written == Written(2_000, 0, 0)
    assert fetch("SELECT count(*), count(DISTINCT trade_id) FROM ingest.trades") == [(2_000, 2_000)]
    assert fetch("SELECT rows_duplicate FROM ingest.streams") == [(0,)]


async def test_a_line_that_is_twice_in_a_file_is_one_row(database_url: str, tmp_path: Path, fetch: Fetch) -> None:
    given = dumped(500)
    outcome = await load(database_url, packed(tmp_path, lines([*given, *given[400:]])))
    assert outcome.written == Written(500, 100, 0)
    assert stored(fetch) == rows(given)


def test_a_stream_that_nobody_collects_is_not_ill(database_url: str, tmp_path: Path, fetch: Fetch) -> None:
    assert run(database_url, packed(tmp_path, lines(dumped(5))))[0] == Exit.OK
    fetch("UPDATE ingest.streams SET committed_at = now() - INTERVAL '1 hour'")
    assert status.check(database_url, Console(file=io.StringIO())) == Exit.OK
    fetch("UPDATE ingest.streams SET state = 'blocked'")
    assert status.check(database_url, Console(file=io.StringIO())) == Exit.FAILED


# Stopped, and side by side


async def test_a_cancelled_import_goes_on_where_it_stood(database_url: str, tmp_path: Path, fetch: Fetch) -> None:
    given = dumped(3_000)
    path = packed(tmp_path, lines(given))
    importer = Importer(database_url, Locator(Config(), database_url).find, workers=2, block_bytes=4096)
    seen = 0

    def stop(written: Written) -> None:
        nonlocal seen
        seen += written.stored
        if seen > 1_000:
            task.cancel()

    task = asyncio.ensure_future(importer.file(path, BINANCE, stop))
    with suppress(asyncio.CancelledError):
        await task
    await importer.close()
    ((state, committed),) = fetch("SELECT state, lines FROM ingest.imports")
    assert state == "started"
    assert 0 < committed < 3_000
    outcome = await load(database_url, path)
    assert not outcome.known_file
    assert stored(fetch) == rows(given)
    assert fetch("SELECT state, lines FROM ingest.imports") == [("finished", 3_000)]
    assert fetch("SELECT count(*) FROM ingest.gaps") == [(0,)]


@pytest.mark.long
def test_a_killed_import_goes_on_where_it_stood(database_url: str, tmp_path: Path, fetch: Fetch) -> None:
    path = packed(tmp_path, lines(dumped(400_000, step_us=100)))
    arguments = [sys.executable, "-m", "ingest", "import", str(path), "--exchange", "binance", "--workers", "1"]
    environment = {**os.environ, "DATABASE_URL": database_url}
    process = subprocess.Popen(arguments, env=environment, cwd=Path(__file__).parents[2])
    try:
        deadline = time.monotonic() + 60
        while process.poll() is None and fetch("SELECT coalesce(max(lines), 0) FROM ingest.imports") == [(0,)]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    code, said = run(database_url, path)
    assert code == Exit.OK, said
    assert fetch(
        "SELECT count(*), count(DISTINCT trade_id), min(trade_id::int), max(trade_id::int) FROM ingest.trades"
    ) == [(400_000, 400_000, 1, 400_000)]
    assert fetch("SELECT state, lines FROM ingest.imports") == [("finished", 400_000)]


def test_files_side_by_side(database_url: str, tmp_path: Path, fetch: Fetch) -> None:
    days = [DAY - number * DAY_SECONDS for number in range(4)]
    given = [dumped(800, first=1 + 1_000 * place, day=day) for place, day in enumerate(days)]
    paths = [packed(tmp_path, lines(part), day=day) for part, day in zip(given, days, strict=True)]
    whole = tmp_path / "all.csv"
    whole.write_text("".join(lines(part, unit_ns=MILLISECOND) for part in given))
    code, said = run(database_url, *paths, workers=3)
    assert code == Exit.OK, said
    assert stored(fetch) == rows(t for part in given for t in part)
    request = Request("binance", "BTC/USDT", "binance-trades")
    code, said = run(database_url, whole, request=request, workers=3)
    assert code == Exit.OK, said
    assert stored(fetch) == rows(t for part in given for t in part)


async def test_a_file_that_breaks_off_costs_no_other(database_url: str, tmp_path: Path, fetch: Fetch) -> None:
    """By one connection: what the broken file held is free again. What it brought stays, and is not whole."""
    given = dumped(2_000)
    broken, good = tmp_path / f"BTCUSDT-trades-{date(DAY - DAY_SECONDS)}.csv.gz", packed(tmp_path, lines(given))
    text = lines(dumped(2_000, first=10_001, day=DAY - DAY_SECONDS))
    broken.write_bytes(gzip.compress(text.encode(), 0)[:-5_000])
    importer = Importer(database_url, Locator(Config(), database_url).find, workers=1, block_bytes=4096)
    try:
        with pytest.raises(ConfigError, match="cannot be unpacked behind line"):
            await importer.file(broken, BINANCE, lambda _written: None)
        async with asyncio.timeout(30):
            outcome = await importer.file(good, BINANCE, lambda _written: None)
    finally:
        await importer.close()
    assert outcome.written == Written(2_000, 0, 0)
    assert fetch("SELECT state FROM ingest.imports ORDER BY import_id") == [("started",), ("finished",)]
    assert fetch("SELECT count(*) FROM market.fetched") == [(1,)]


# Wrong


async def test_bad_lines_go_to_rejected_with_file_and_line(database_url: str, tmp_path: Path, fetch: Fetch) -> None:
    given = dumped(1_000)
    text = lines(given).splitlines()
    text[499], text[500] = "rubbish", text[500].replace(given[500].price, "-5")
    path = packed(tmp_path, "\n".join(text))
    assert (await load(database_url, path)).written == Written(998, 0, 2)
    name = f"BTC/USDT trades {path.name}"
    assert fetch("SELECT stream, reason, payload FROM ingest.rejected ORDER BY rejected_id") == [
        (f"{name}:500", "1 fields, not 7", b"rubbish"),
        (f"{name}:501", "price '-5' is not a number above zero", text[500].encode()),
    ]
    assert stored(fetch) == rows([*given[:499], *given[501:]])
    assert fetch("SELECT channel, cause, from_id, to_id, from_time, to_time, state, evidence FROM ingest.gaps") == [
        (
            *("trades", "hole in file", 500, 501, moment(given[498].time_ns), moment(given[501].time_ns), "open"),
            path.name,
        )
    ]


async def test_what_the_database_refuses_costs_its_line(database_url: str, tmp_path: Path, fetch: Fetch) -> None:
    """Of a size that a float tells apart from nothing, and the table's CHECK does."""
    opens = [DAY * 1_000 + 60_000 * number for number in range(50)]
    text = [f"{at},5,6,4,5.5,1,0,9,3,0.5,2,0" for at in opens]
    text[20] = f"{opens[20]},5,6,{'5.' + '0' * 30 + '1'},5.5,1,0,9,3,0.5,2,0"
    path = packed(tmp_path, "\n".join(text), name="BTCUSDT-1m")
    assert (await load(database_url, path)).written == Written(49, 0, 1)
    ((stream, reason),) = fetch("SELECT stream, reason FROM ingest.rejected")
    assert stream == f"BTC/USDT candles {path.name}:21"
    assert "candles_1m_prices" in reason
    assert fetch("SELECT cause, state FROM ingest.gaps") == [("row rejected", "open")]


def test_a_wrong_checksum_refuses_the_file_and_no_other(database_url: str, tmp_path: Path, fetch: Fetch) -> None:
    good, bad = packed(tmp_path, lines(dumped(10))), packed(tmp_path, lines(dumped(5, first=50)), day=DAY - DAY_SECONDS)
    digest = hashlib.sha256(good.read_bytes()).hexdigest()
    for path in (good, bad):
        path.with_name(f"{path.name}.CHECKSUM").write_text(f"{digest}  {path.name}\n")
    code, said = run(database_url, *sorted(tmp_path.iterdir()))
    assert code == Exit.FAILED
    assert "checksum right" in said
    assert f"{bad.name}: refused: its SHA-256 is" in said
    assert fetch("SELECT count(*) FROM ingest.trades") == [(10,)]


async def test_a_file_past_the_retention_is_refused_with_the_figure(
    database_url: str, tmp_path: Path, fetch: Fetch
) -> None:
    old = DAY - 400 * DAY_SECONDS
    with pytest.raises(
        ConfigError, match=rf"ends before {date(old + DAY_SECONDS)}, and nothing before .* is stored"
    ) as error:
        await load(database_url, packed(tmp_path, lines(dumped(5, day=old)), day=old))
    assert "(retention.trades = 365 days). Raise it" in str(error.value)
    unnamed = tmp_path / "old.csv"
    unnamed.write_text(lines(dumped(5, day=old)))
    request = Request("binance", "BTC/USDT", "binance-trades")
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"5 rows are too old: .*retention.trades = 365 days"):
            await load(database_url, unnamed, request)
    assert fetch("SELECT count(*) FROM ingest.trades") == [(0,)]
    fetch("UPDATE ingest.policies SET retention = '36500 days' WHERE table_name = 'trades'")
    assert (await load(database_url, unnamed, request)).written == Written(5, 0, 0)


@pytest.mark.parametrize("by_columns", [True, False])
def test_of_a_file_across_the_edge_of_retention_the_kept_rows_are_stored(
    database_url: str, tmp_path: Path, fetch: Fetch, monkeypatch: pytest.MonkeyPatch, *, by_columns: bool
) -> None:
    """The rows of a day, a minute apart, of which noon is the edge; a bad line, and a hole, on either side of it."""
    monkeypatch.setattr(fast, "available", lambda: by_columns)
    keep_from(fetch, "trades", DAY + 43_200)
    rows = [trade(str(n), time_ns=(DAY + n * 60) * SECOND) for n in range(1_440) if n not in (300, 1_000)]
    text = lines(rows).splitlines(keepends=True)
    text[100], text[800] = "no\n", "line\n"
    path = packed(tmp_path, "".join(text))
    for _ in range(2):
        code, said = run(database_url, path)
        assert code == Exit.FAILED
        assert f"{path.name}: refused: 719 rows are too old: nothing before {date(DAY)} 12:00 is stored" in said
    assert "imported before" in said
    assert fetch("SELECT count(*), min(trade_id::int), max(trade_id::int) FROM ingest.trades") == [(717, 721, 1_439)]
    assert fetch("SELECT from_id, cause FROM ingest.gaps ORDER BY 1") == [
        (801, "hole in file"),
        (1_000, "hole in file"),
    ]
    edge, end = moment((DAY + 43_200) * SECOND), moment((DAY + DAY_SECONDS) * SECOND - MICROSECOND)
    assert fetch("SELECT from_time > %s, to_time = %s FROM ingest.backfill_jobs", edge, end) == [(True, True)]
    fetch("UPDATE ingest.policies SET retention = NULL WHERE table_name = 'trades'")
    code, said = run(database_url, path)
    assert code == Exit.OK
    assert fetch("SELECT count(*), min(trade_id::int) FROM ingest.trades") == [(1_436, 0)]
    assert fetch("SELECT rows_stored, rows_known, rows_rejected, rows_old FROM ingest.imports") == [(719, 717, 2, 0)]


async def test_a_file_that_went_on_after_its_retention_was_raised_begins_anew(
    database_url: str, tmp_path: Path, fetch: Fetch
) -> None:
    keep_from(fetch, "trades", DAY + 43_200)
    rows = [trade(str(n), time_ns=(DAY + n * 60) * SECOND) for n in range(1_440)]
    path = packed(tmp_path, lines(rows))
    await load(database_url, path)
    fetch("UPDATE ingest.imports SET state = 'started', lines = 1000")
    fetch("DELETE FROM ingest.trades WHERE trade_id::int > 1000")
    fetch("UPDATE ingest.policies SET retention = '1 year' WHERE table_name = 'trades'")
    assert (await load(database_url, path)).written == Written(721 + 439, 280, 0)
    assert fetch("SELECT count(*) FROM ingest.trades") == [(1_440,)]


async def test_a_file_whose_rows_are_removed_is_read_anew_once_they_would_be_kept(
    database_url: str, tmp_path: Path, fetch: Fetch
) -> None:
    path = packed(tmp_path, lines(dumped(5)))
    await load(database_url, path)
    fetch("DELETE FROM ingest.trades")
    fetch("INSERT INTO ingest.removals VALUES ('trades', to_timestamp(%s), now())", DAY + 86_400)
    keep_from(fetch, "trades", DAY + 43_200)
    assert (await load(database_url, path)).known_file  # they would not be kept
    fetch("UPDATE ingest.policies SET retention = '1 year' WHERE table_name = 'trades'")
    for known in (False, True):
        outcome = await load(database_url, path)
        assert (outcome.written, outcome.known_file) == (Written(5, 0, 0), known)
        assert stored(fetch) == rows(dumped(5))


@pytest.mark.parametrize("cut", [False, True])
async def test_a_file_that_is_cut_short_does_not_prove_its_day(
    database_url: str, tmp_path: Path, fetch: Fetch, *, cut: bool
) -> None:
    text = lines(dumped(100))
    path = packed(tmp_path, text[:-30] if cut else text)
    assert (await load(database_url, path)).written == Written(100 - cut, 0, int(cut))
    ends = fetch("SELECT from_time, to_time FROM market.fetched")
    last_ns = dumped(99)[-1].time_ns if cut else (DAY + 86_400) * SECOND - MICROSECOND
    assert ends == [(moment(DAY * SECOND), moment(last_ns))]


async def test_another_kind_of_ids_is_refused(database_url: str, tmp_path: Path, fetch: Fetch) -> None:
    await load(database_url, packed(tmp_path, lines(dumped(5))))
    path = packed(tmp_path, f"0,0.2,50.0,0,0,{DAY}000,False,True\n", name="BTCUSDT-aggTrades")
    with pytest.raises(ConfigError, match="count 'aggTrade', those stored of BTC/USDT count 'trade'"):
        await load(database_url, path)
    assert fetch("SELECT count(*) FROM ingest.trades") == [(5,)]


async def test_a_file_that_is_something_else_is_refused_whole(database_url: str, tmp_path: Path, fetch: Fetch) -> None:
    path = packed(tmp_path, "some\ntext\n")
    with pytest.raises(ConfigError, match="too few for binance-trades"):
        await load(database_url, path)
    path = packed(tmp_path, "a,b,c,d,e,f\n1,2,3,4,5,6\n")
    with pytest.raises(ConfigError, match="none of its first 1 lines is a row of binance-trades"):
        await load(database_url, path)
    assert fetch("SELECT count(*) FROM ingest.rejected") == [(0,)]


@pytest.mark.community
def test_rows_of_a_file_come_into_compressed_chunks_which_are_compressed_again(
    database_url: str, tmp_path: Path, fetch: Fetch
) -> None:
    """More rows than one transaction may decompress, of which every other one is stored and compressed."""
    old, count = DAY - 60 * DAY_SECONDS, 120_000
    rows = dumped(count, day=old, step_us=700_000)
    half = packed(tmp_path, lines(rows[::2]), day=old, name="ETHUSDT-trades")
    half = half.rename(half.with_name("half.zip"))
    request = Request("binance", "BTC/USDT", "binance-trades")
    code, said = run(database_url, half, request=request)
    assert code == Exit.OK, said
    assert statuses(fetch) == [1]
    code, said = run(database_url, packed(tmp_path, lines(rows), day=old))
    assert code == Exit.OK, said
    assert statuses(fetch) == [1]
    assert fetch("SELECT count(*), count(DISTINCT trade_id) FROM ingest.trades") == [(count, count)]
    assert fetch("SELECT rows_stored, rows_known, rows_rejected FROM ingest.imports ORDER BY import_id") == [
        (count // 2, 0, 0),
        (count // 2, count // 2, 0),
    ]
    assert fetch("SELECT sum(trades) FROM ingest.trade_candles_1m") == [(count,)]


@pytest.mark.community
async def test_candles_of_a_file_replace_compressed_ones(database_url: str, tmp_path: Path, fetch: Fetch) -> None:
    """Of a month, all at once: more than half of what one statement may decompress."""
    old, count = (DAY - 90 * DAY_SECONDS) // DAY_SECONDS * DAY_SECONDS, 60_000
    known = [candle(time_ns=(old + 60 * minute) * SECOND, close="104") for minute in range(count)]
    writer = CopyWriter(database_url, role="stream", instruments={1: BTC})
    for start in range(0, count, 10_000):
        await writer.write(known[start : start + 10_000], staged=True)
    await writer.close()
    place = Place("candles_1m", old * SECOND, (old + 60 * count) * SECOND)
    assert await compress(database_url, [place]) > 0
    path = packed(tmp_path, klines(old, range(count)), day=old, name="BTCUSDT-1m")
    assert (await load(database_url, path, size=source.BLOCK_BYTES)).written == Written(count, 0, 0)
    assert await compress(database_url, [place]) > 0
    assert statuses(fetch, "candles_1m") == [1]
    assert fetch("SELECT count(*), min(close)::text, max(close)::text FROM ingest.candles_1m") == [
        (count, "105", "105")
    ]


def statuses(fetch: Fetch, table: str = "trades") -> list[int]:
    """1: compressed, and nothing was written to it since."""
    statement = "SELECT DISTINCT _timescaledb_functions.chunk_status(c) FROM show_chunks(%s) AS c ORDER BY 1"
    rows = fetch(statement, f"ingest.{table}")
    return [status for (status,) in rows]


# Bybit


async def test_bybit_spot_files_of_one_time_are_not_doubled(database_url: str, tmp_path: Path, fetch: Fetch) -> None:
    def file(name: str, first: int) -> Path:
        path = tmp_path / name
        text = "".join(f"{first + n},{DAY * 1_000 + n},100.5,0.01,buy,0\n" for n in range(100))
        path.write_bytes(gzip.compress(f"id,timestamp,price,volume,side,rpi\n{text}".encode()))
        return path

    daily = file(f"BTCUSDT_{date(DAY)}.csv.gz", 1)
    assert (await load(database_url, daily, Request("bybit"))).written == Written(100, 0, 0)
    monthly = file(f"BTCUSDT-{date(DAY)[:7]}.csv.gz", 70_001)
    with pytest.raises(ConfigError, match=f"{daily.name} has brought rows of the same time"):
        await load(database_url, monthly, Request("bybit"))
    assert fetch("SELECT symbol, count(*) FROM market.trades GROUP BY symbol") == [("BTC/USDT", 100)]
    assert fetch("SELECT id_space FROM ingest.streams") == [("row of a Bybit file",)]


async def test_a_month_of_bybit_spot_has_a_field_that_its_header_does_not_name(
    database_url: str, tmp_path: Path, fetch: Fetch
) -> None:
    """Twins, too: rows of one millisecond, price, amount and side are two trades, which nothing but the row tells."""
    path = tmp_path / f"BTCUSDT-{date(DAY)[:7]}.csv.gz"
    text = "".join(f"{number},{DAY * 1_000 + 150},106456.9,0.0005,buy,0\n" for number in (1, 2))
    path.write_bytes(
        gzip.compress(f"id,timestamp,price,volume,side\n{text}3,{DAY * 1_000 + 151},1,2,sell,0\n".encode())
    )
    assert (await load(database_url, path, Request("bybit"))).written == Written(3, 0, 0)
    assert fetch("SELECT trade_id, side::text, price::text, amount::text FROM ingest.trades ORDER BY 1") == [
        ("1", "buy", "106456.9", "0.0005"),
        ("2", "buy", "106456.9", "0.0005"),
        ("3", "sell", "1", "2"),
    ]


async def test_bybit_spot_files_are_refused_beside_the_stream_s_rows(
    database_url: str, tmp_path: Path, fetch: Fetch
) -> None:
    ((spot,),) = fetch("SELECT instrument_id FROM ingest.instruments WHERE symbol = 'BTC/USDT' AND exchange_id = 2")
    registry = Registry(database_url)
    await registry.register_streams([Stream(spot, SPOT, "trades")], {"trades": "execId"}, {})
    await registry.close()
    path = tmp_path / f"BTCUSDT_{date(DAY)}.csv.gz"
    path.write_bytes(gzip.compress(f"id,timestamp,price,volume,side,rpi\n1,{DAY}000,2,3,buy,0\n".encode()))
    with pytest.raises(ConfigError, match="count 'row of a Bybit file', those stored of BTC/USDT count 'execId'"):
        await load(database_url, path, Request("bybit"))
    assert fetch("SELECT count(*) FROM ingest.trades") == [(0,)]


async def test_bybit_linear_files_meet_the_stream(database_url: str, tmp_path: Path, fetch: Fetch) -> None:
    header = "timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,foreignNotional"
    path = tmp_path / f"BTCUSDT{date(DAY)}.csv.gz"
    ids = [f"224061a0-e105-508c-9696-b53ab4b5bb{n:02}" for n in range(10)]
    text = "".join(f"{DAY + n}.8268,BTCUSDT,Buy,0.02,57199.5,ZeroMinusTick,{ids[n]},1,0.02,1\n" for n in range(10))
    path.write_bytes(gzip.compress(f"{header}\n{text}".encode()))
    ((linear,),) = fetch("SELECT instrument_id FROM ingest.instruments WHERE symbol = 'BTC/USDT:USDT'")
    at = DAY * SECOND + 826 * MILLISECOND
    live = trade(ids[0], time_ns=at, instrument_id=linear, price="57199.5", amount="0.02")
    writer = CopyWriter(database_url, role="stream", instruments={linear: LINEAR})
    await writer.write([live])
    await writer.close()
    assert (await load(database_url, path, Request("bybit"))).written == Written(9, 1, 0)


# Candles, gaps, coverage, rollups, books


def klines(day: int, minutes: Iterable[int], close: str = "105") -> str:
    return "".join(
        f"{at},100,110,90,{close},12.5,{at + 59_999},1300.25,42,6.25,650,0\n"
        for at in (day * 1_000 + 60_000 * n for n in minutes)
    )


async def test_candles_fill_what_waited_for_them(database_url: str, tmp_path: Path, fetch: Fetch) -> None:
    """A gap over two days is repaired when both files are there, and not before; the dump's candle outranks REST's."""
    started, ended = DAY * SECOND + 20 * 60 * MINUTE, (DAY + DAY_SECONDS) * SECOND + 30 * MINUTE
    instrument = {1: BTC}
    writer = CopyWriter(database_url, role="stream", instruments=instrument)
    wrong = candle(time_ns=DAY * SECOND, source=CandleSource.REST, close="99")
    gap = Gap(1, "candles", "disconnect", started, ended, state="awaiting_dump", opened_ns=ended)
    await writer.write([wrong], gaps=[gap])
    await writer.close()
    first = packed(tmp_path, klines(DAY, range(1_440)), name="BTCUSDT-1m")
    second = packed(tmp_path, klines(DAY + DAY_SECONDS, range(1_440)), day=DAY + DAY_SECONDS, name="BTCUSDT-1m")
    code, said = await asyncio.to_thread(run, database_url, first)
    assert code == Exit.OK, said
    assert fetch("SELECT state FROM ingest.gaps") == [("awaiting_dump",)]
    code, said = await asyncio.to_thread(run, database_url, second)
    assert "1 gaps repaired" in said
    assert fetch("SELECT state, detail FROM ingest.gaps") == [("repaired", f"imported from {second.name}")]
    found = stored_candles(fetch)
    assert len(found) == 2_880
    assert found[0][:12] == (
        *(moment(DAY * SECOND), 1, *map(Decimal, ("100", "110", "90", "105", "12.5", "1300.25")), 42),
        *(Decimal("6.25"), Decimal(650), int(CandleSource.DUMP)),
    )
    assert fetch("SELECT count(*), sum(minutes), min(close) FROM ingest.candles_1h") == [(48, 2_880, Decimal(105))]
    starts = datetime.fromtimestamp(DAY, UTC)
    assert fetch(
        "SELECT from_time, to_time, grade FROM market.coverage_of(1, 'candles', %s, %s)",
        starts,
        starts + timedelta(days=2),
    ) == [(starts, starts + timedelta(days=2), "proved")]


async def test_minutes_that_a_file_lacks_are_named(database_url: str, tmp_path: Path, fetch: Fetch) -> None:
    minutes = [*range(100), *range(103, 200)]
    await load(database_url, packed(tmp_path, klines(DAY, minutes), name="BTCUSDT-1m"))
    ends = [moment(DAY * SECOND + n * MINUTE) for n in (100, 102)]
    assert fetch("SELECT channel, cause, from_time, to_time, from_id, state FROM ingest.gaps") == [
        ("candles", "hole in file", *ends, None, "open")
    ]


async def test_order_books(database_url: str, tmp_path: Path, fetch: Fetch) -> None:
    path = tmp_path / f"binance_book_snapshot_1_{date(DAY)}_BTCUSDT.csv.gz"
    header = "exchange,symbol,timestamp,local_timestamp,asks[0].price,asks[0].amount,bids[0].price,bids[0].amount"
    text = "".join(f"binance,BTCUSDT,{DAY}00000{n},{DAY}000009,101.{n},1,100.{n},2.50\n" for n in range(5))
    path.write_bytes(gzip.compress(f"{header}\n{text}".encode()))
    assert (await load(database_url, path)).written == Written(5, 0, 0)
    first = "SELECT time, bid_prices, bid_amounts, ask_prices, in_sync FROM ingest.order_books ORDER BY time LIMIT 1"
    assert fetch(first) == [(moment(DAY * SECOND), [Decimal("100.0")], [Decimal("2.50")], [Decimal("101.0")], True)]
