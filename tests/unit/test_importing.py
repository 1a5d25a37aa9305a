"""Files for `ingest import`: what their names tell, their lines as the exchanges write them, packing, checksums."""

import gzip
import hashlib
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from ingest.clock import MILLISECOND, SECOND
from ingest.errors import ConfigError
from ingest.importing import fast, job, names, source, table
from ingest.importing.fast import Target
from ingest.importing.job import Request
from ingest.importing.names import Named, Period
from ingest.importing.reader import Read, Reader
from ingest.importing.run import Hole
from ingest.importing.telling import Watermark
from ingest.records import Candle, CandleSource, OrderBook, Row, Trade
from ingest.store.rows import TABLES

NOW = 1_795_262_400 * SECOND
"""2026-11-21 12:00 UTC: the import's start."""


def read(path: Path, request: Request | None = None, *, exact: bool = False) -> list[Read]:
    """A file in blocks, by the columns or only line by line."""
    planned = job.plan(path, request or Request("binance", "BTCUSDT"))
    reader = Reader(planned.layout, planned.columns, Target(1, "BTCUSDT", NOW), json_lines=planned.is_json)
    reader._is_fast = reader._is_fast and not exact
    if planned.is_parquet:
        return [reader.read(part) for part in table.rows(path, planned.layout)]
    return [reader.read(part) for part in source.lines(path, skip=int(planned.header))]


def text(rows: list[Row]) -> bytes:
    return TABLES[type(rows[0])].encode(rows)


def trade(trade_id: str, time_us: int, side: str | None, price: str, amount: str) -> Trade:
    return Trade(1, time_us * 1_000, trade_id, side, price, amount, NOW)  # type: ignore[arg-type]


def both(path: Path, rows: list[Row], request: Request | None = None, *, by_columns: bool = True) -> None:
    """The file is these rows, by columns and line by line."""
    for exact in (False, True):
        (found,) = read(path, request, exact=exact)
        assert found.block.text == text(rows)
        assert (found.block.rows, list(found.bad)) == (len(rows), [])
    planned = job.plan(path, request or Request("binance", "BTCUSDT"))
    if by_columns and not planned.is_parquet:
        (lines,) = source.lines(path, skip=int(planned.header))
        columns = fast.csv_columns(lines.text, planned.columns, planned.layout)
        assert columns is not None
        assert fast.make(columns, planned.layout, Target(1, "BTCUSDT", NOW)) is not None


# Names


def day(text: str) -> Period:
    first = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return Period(first, datetime.fromtimestamp(first.timestamp() + 86_400, UTC))


JANUARY = Period(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("BTCUSDT-trades-2024-01-01.zip", Named("binance-trades", "BTCUSDT", day("2024-01-01"))),
        ("BTCUSDT-trades-2024-01.zip", Named("binance-trades", "BTCUSDT", JANUARY)),
        ("1000PEPEUSDT-aggTrades-2024-01.csv", Named("binance-aggTrades", "1000PEPEUSDT", JANUARY)),
        ("BTCUSDT-1m-2024-01.zip", Named("binance-klines", "BTCUSDT", JANUARY, "1m")),
        ("BTCUSDT_240628-1h-2024-01-01.zip", Named("binance-klines", "BTCUSDT_240628", day("2024-01-01"), "1h")),
        ("BTCUSDT2024-01-01.csv.gz", Named("bybit-trades", "BTCUSDT", day("2024-01-01"))),
        ("BTCUSDT_2024-01-01.csv.gz", Named("bybit-trades", "BTCUSDT", day("2024-01-01"))),
        ("BTCUSDT-2024-01.csv.gz", Named("bybit-trades", "BTCUSDT", JANUARY)),
        ("binance_trades_2024-01-01_BTCUSDT.csv.gz", Named("tardis-trades", "BTCUSDT", day("2024-01-01"))),
        (
            "deribit_book_snapshot_25_2024-01-01_BTC-PERPETUAL.csv.gz",
            Named("tardis-book_snapshot", "BTC-PERPETUAL", day("2024-01-01")),
        ),
        ("BTCUSDT-trades-2024-02-30.zip", Named("binance-trades", "BTCUSDT", None)),
        ("my trades.csv", Named()),
        ("BTCUSDT-trades-2024-01-01.zip.CHECKSUM", Named()),
    ],
)
def test_what_a_name_tells(name: str, told: Named) -> None:
    assert names.read(name) == told


# Formats, with the lines of their documentation


def test_binance_trades_without_a_header_in_milliseconds(tmp_path: Path) -> None:
    path = tmp_path / "BTCUSDT-trades-2020-03-08.csv"
    path.write_text("51175358,17.80180000,5.69000000,101.29224200,1583709433583,True,True\n")
    both(path, [trade("51175358", 1_583_709_433_583_000, "sell", "17.80180000", "5.69000000")])


def test_binance_trades_in_microseconds_in_a_zip(tmp_path: Path) -> None:
    path = tmp_path / "BTCUSDT-trades-2025-01-01.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "BTCUSDT-trades-2025-01-01.csv",
            "4359107213,93576.00000000,0.00006000,5.61456000,1735689600013337,True,True\n"
            "4359107214,93576.01000000,0.10000000,9357.60100000,1735689600013338,False,True\n",
        )
    rows = [
        trade("4359107213", 1_735_689_600_013_337, "sell", "93576.00000000", "0.00006000"),
        trade("4359107214", 1_735_689_600_013_338, "buy", "93576.01000000", "0.10000000"),
    ]
    both(path, list[Row](rows))


def test_binance_futures_trades_with_a_header(tmp_path: Path) -> None:
    path = tmp_path / "BTCUSDT-trades-2024-01-01.csv"
    path.write_text(
        "id,price,qty,quote_qty,time,is_buyer_maker\n28457,4.00000100,12.00000000,48.00,1499865549590,true\n"
    )
    both(path, [trade("28457", 1_499_865_549_590_000, "sell", "4.00000100", "12.00000000")])


def test_binance_aggregate_trades_and_a_header_of_other_words(tmp_path: Path) -> None:
    path = tmp_path / "BTCUSDT-aggTrades-2024-01-01.csv"
    path.write_text("0,0.20000000,50.00000000,0,0,1608872400000,False,True\n")
    rows: list[Row] = [trade("0", 1_608_872_400_000_000, "buy", "0.20000000", "50.00000000")]
    both(path, rows)
    path.write_text(f"a,p,q,f,l,T,m,M\n{path.read_text()}")
    both(path, rows)


def test_binance_klines(tmp_path: Path) -> None:
    path = tmp_path / "BTCUSDT-1m-2020-10.csv"
    figures = "4.15070000,4.15870000,4.15060000,4.15540000,539.23000000"
    rest = "2240.39860900,13,401.82000000,1669.98121300,0"
    rows: list[Row] = [
        Candle(
            instrument_id=1,
            time_ns=1_601_510_340_000 * MILLISECOND,
            open="4.15070000",
            high="4.15870000",
            low="4.15060000",
            close="4.15540000",
            volume="539.23000000",
            quote_volume="2240.39860900",
            trades=13,
            taker_buy_volume="401.82000000",
            taker_buy_quote_volume="1669.98121300",
            source=CandleSource.DUMP,
            received_ns=NOW,
        )
    ]
    path.write_text(f"1601510340000,{figures},1601510399999,{rest}\n")
    both(path, rows)
    path.write_text(f"1601510340000000,{figures},1601510399999999,{rest}\n")
    both(path, rows)
    header = "open_time,open,high,low,close,volume,close_time,quote_volume,count"
    path.write_text(f"{header},taker_buy_volume,taker_buy_quote_volume,ignore\n{path.read_text()}")
    both(path, rows)


def test_candles_of_another_length_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "BTCUSDT-1h-2020-10.csv"
    path.touch()
    with pytest.raises(ConfigError, match="candles of 1h; one-minute candles"):
        job.plan(path, Request("binance"))


def test_bybit_linear_trades_at_the_streams_resolution(tmp_path: Path) -> None:
    path = tmp_path / "BTCUSDT2021-05-04.csv.gz"
    header = "timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,foreignNotional"
    number = "224061a0-e105-508c-9696-b53ab4b5bb03"
    line = f"1620086396.8268,BTCUSDT,Buy,0.02,57199.5,ZeroMinusTick,{number},114399000000.0,0.02,1143.99"
    path.write_bytes(gzip.compress(f"{header},RPI\n{line},0\n".encode()))
    both(path, [trade(number, 1_620_086_396_826_000, "buy", "57199.5", "0.02")])
    path.write_bytes(gzip.compress(f"{header}\n{line.replace('BTCUSDT', 'ETHUSDT')}\n".encode()))
    assert [bad.reason for bad in read(path)[0].bad] == ["symbol 'ETHUSDT' is not 'BTCUSDT'"]


def test_bybit_spot_trades(tmp_path: Path) -> None:
    path = tmp_path / "BTCUSDT_2025-05-19.csv.gz"
    path.write_bytes(gzip.compress(b"id,timestamp,price,volume,side,rpi\n1,1747612800074,106453.8,0.003718,sell,0\n"))
    both(path, [trade("1", 1_747_612_800_074_000, "sell", "106453.8", "0.003718")])
    assert job.plan(path, Request("bybit")).layout.numbered


def test_tardis_trades(tmp_path: Path) -> None:
    path = tmp_path / "binance_trades_2020-09-01_BTCUSDT.csv.gz"
    lines = (
        "exchange,symbol,timestamp,local_timestamp,id,side,price,amount\n"
        "binance,BTCUSDT,1598918403696000,1598918403810979,382963561,buy,11656.8,0.5\n"
        "binance,BTCUSDT,1598918404583000,1598918404639414,382963562,unknown,11655.3,1.25\n"
    )
    path.write_bytes(gzip.compress(lines.encode()))
    rows: list[Row] = [
        trade("382963561", 1_598_918_403_696_000, "buy", "11656.8", "0.5"),
        trade("382963562", 1_598_918_404_583_000, None, "11655.3", "1.25"),
    ]
    both(path, rows)


def test_tardis_book_snapshots(tmp_path: Path) -> None:
    path = tmp_path / "binance_book_snapshot_2_2020-09-01_BTCUSDT.csv"
    path.write_text(
        "exchange,symbol,timestamp,local_timestamp,asks[0].price,asks[0].amount,bids[0].price,bids[0].amount,"
        "asks[1].price,asks[1].amount,bids[1].price,bids[1].amount\n"
        "binance,BTCUSDT,1598918403696000,1598918403810979,11657.07,0.5,11657.06,2,,,11657.05,3.10\n"
    )
    at = 1_598_918_403_696_000 * 1_000
    levels = (("11657.06", "2"), ("11657.05", "3.10")), (("11657.07", "0.5"),)
    both(path, [OrderBook(1, at, at, None, *levels, in_sync=True, received_ns=NOW)], by_columns=False)


# Mappings

MAP = """
channel = "trades"
time = { column = "ts", unit = "UNIT" }
[columns]
id = "tid"
price = "px"
amount = "qty"
side = "taker"
[sides]
B = "buy"
S = "sell"
"""


def mapped(tmp_path: Path, unit: str, extra: str = "") -> Request:
    path = tmp_path / "map.toml"
    path.write_text(extra + MAP.replace("UNIT", unit))
    return Request("binance", "BTC/USDT", mapping=path)


ROWS: list[Row] = [
    trade("7", 1_700_000_000_123_000, "buy", "0.1", "10"),
    trade("8", 1_700_000_001_000_000, "sell", "0.00000005", "2.50"),
]


def test_a_mapped_csv(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("px;qty;tid;ts;taker;note\r\n0.1;10;7;1700000000.123;B;x\r\n0.00000005;2.50;8;1700000001;S;\r\n")
    both(path, ROWS, mapped(tmp_path, "s", 'delimiter = ";"\n'))
    path.write_text(
        'px,qty,tid,ts,taker\n"0.1",10,7,2023-11-14T22:13:20.123Z,B\n5e-8,2.50,8,2023-11-14T22:13:21+00:00,S\n'
    )
    both(path, ROWS, mapped(tmp_path, "iso"), by_columns=False)


def test_mapped_json_lines_keep_the_digits_of_numbers(tmp_path: Path) -> None:
    path = tmp_path / "mine.ndjson.gz"
    lines = (
        '{"px": 0.1, "qty": "10", "tid": 7, "ts": 1700000000123, "taker": "B", "more": [1]}\n'
        '{"px": 0.00000005, "qty": 2.50, "tid": "8", "ts": 1700000001000, "taker": "S"}\n'
    )
    path.write_bytes(gzip.compress(lines.encode()))
    both(path, ROWS, mapped(tmp_path, "ms"), by_columns=False)
    path.write_bytes(gzip.compress(b'{"px": 0.1}\nnot json\n'))
    (found,) = read(path, mapped(tmp_path, "ms"))
    assert [(bad.number, bad.reason) for bad in found.bad] == [(1, "it has no ts"), (2, "it is no JSON object")]
    assert found.payload(2) == b"not json"


def test_a_mapped_parquet_file(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path, request = tmp_path / "mine.parquet", mapped(tmp_path, "us")
    columns = {
        "px": pa.array(["0.10", "0.00000005"]).cast(pa.decimal128(20, 8)),
        "qty": pa.array(["10", "2.50"]),
        "tid": pa.array([7, 8]),
        "ts": pa.array([1_700_000_000_123, 1_700_000_001_000], pa.timestamp("ms", tz="UTC")),
        "taker": pa.array(["B", "S"]).dictionary_encode(),
    }
    parquet.write_table(pa.table(columns), path)
    rows: list[Row] = [
        msgspec.structs.replace(row, price=price)
        for row, price in zip(ROWS, ("0.10000000", "5E-8"), strict=True)
        if isinstance(row, Trade)
    ]
    (found,) = read(path, request)
    assert found.block.text.replace(b"0.00000005", b"5E-8") == text(rows)
    parquet.write_table(pa.table({**columns, "px": pa.array([0.1, 0.2])}), path)
    with pytest.raises(ConfigError, match="'px' holds doubles"):
        read(path, request)


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ('channel = "trades"', "time"),
        ('channel = "book"\ntime = { column = "t", unit = "ms" }\n[columns]\n', "channel"),
        ('channel = "trades"\ntime = { column = "t", unit = "hours" }\n[columns]\n', "unit"),
        ('channel = "trades"\ntime = { column = "t", unit = "ms" }\n[columns]\nprice = "p"\n', "lacks id, amount"),
        (
            'channel = "candles"\ntime = { column = "t", unit = "ms" }\n[columns]\nvwap = "w"\n'
            + "".join(f'{name} = "x"\n' for name in ("open", "high", "low", "close", "volume")),
            "has vwap",
        ),
        (MAP.replace("UNIT", "ms").partition("[sides]")[0], "must say which words"),
    ],
)
def test_a_wrong_mapping_says_what_is_wrong(tmp_path: Path, toml: str, said: str) -> None:
    path, data = tmp_path / "map.toml", tmp_path / "mine.csv"
    path.write_text(toml)
    data.write_text("ts,tid,px,qty,taker\n")
    with pytest.raises(ConfigError, match=said):
        job.plan(data, Request("binance", "BTC/USDT", mapping=path))


# Bad lines


def test_bad_lines_are_told_by_their_number_and_cost_no_other(tmp_path: Path) -> None:
    path = tmp_path / "BTCUSDT-trades-2024-01-01.csv"
    lines = [f"{n},1.0,2.0,2.0,{1_700_000_000_000 + n},True,True" for n in range(1, 3_001)]
    lines[9] = "10,-1.0,2.0,2.0,1700000000010,True,True"
    lines[1_499] = "1500,1.0,0.000,2.0,1700000001500,True,True"
    lines[1_500] = "garbage"
    lines[2_000] = "2001,1.0,2.0,2.0,1700000002001,maybe,True"
    lines[2_001] = "2002,1.0,2.0,2.0,12,True,True"
    lines[2_999] = "3000,1.0,1.2.3,2.0,1700000003000,True,True"
    path.write_text("\n".join(lines) + "\n")
    (found,) = read(path)
    assert [(bad.number, bad.reason) for bad in found.bad] == [
        (10, "price '-1.0' is not a number above zero"),
        (1_500, "amount '0.000' is not a number above zero"),
        (1_501, "1 fields, not 7"),
        (2_001, "side 'maybe'"),
        (2_002, "absurd time: '12'"),
        (3_000, "amount '1.2.3' is not a number above zero"),
    ]
    assert found.payload(1_501) == b"garbage"
    assert found.block.rows == len(found.numbers) == 2_994
    assert found.block.text == read(path, exact=True)[0].block.text
    assert found.run is not None
    assert [(hole.first, hole.last) for hole in found.run.holes] == [(10, 10), (1_500, 1_501), (2_001, 2_002)]
    assert found.run.holes[0] == Hole(10, 10, 1_700_000_000_009_000, 1_700_000_000_011_000)


def test_without_pyarrow_the_rows_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "BTCUSDT-trades-2020-03-08.csv"
    path.write_text("51175358,17.80180000,5.69000000,101.29224200,1583709433583,True,True\nbad\n")
    (by_columns,) = read(path)
    monkeypatch.setattr(fast, "pa", None)
    (found,) = read(path)
    assert (found.block, found.bad, found.run) == (by_columns.block, by_columns.bad, by_columns.run)


# Packing and checksums


def test_lines_are_counted_whatever_the_blocks(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbfa\r\n" + b"\n".join(b"%d" % n for n in range(2, 500)))
    for size in (8, 64, 4_096):
        blocks = list(source.lines(path, block_bytes=size))
        assert b"".join(block.text for block in blocks).split() == [b"a", *(b"%d" % n for n in range(2, 500))]
        assert [block.first for block in blocks[1:]] == [block.first + block.count for block in blocks[:-1]]
        rest = list(source.lines(path, skip=100, block_bytes=size))
        assert rest[0].first == 101
        assert b"".join(block.text for block in rest).split()[0] == b"101"


def test_a_broken_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"1,2\n" * 10_000)[:-20])
    with pytest.raises(ConfigError, match="cannot be unpacked"):
        list(source.lines(path))
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", "1")
        archive.writestr("b", "2")
    with pytest.raises(ConfigError, match="holds 2 files"):
        list(source.lines(path))


def test_checksums(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("1,2\n")
    right = hashlib.sha256(b"1,2\n").hexdigest()
    assert source.digest(path) == right
    beside = tmp_path / "a.csv.CHECKSUM"
    assert not source.verify(path, right)
    beside.write_text(f"{right}  a.csv\n")
    assert source.verify(path, right)
    beside.write_text(f"{'0' * 64}  a.csv\n")
    with pytest.raises(ConfigError, match="the file is damaged"):
        source.verify(path, right)
    beside.write_text("no checksum\n")
    with pytest.raises(ConfigError, match="holds no SHA-256 of a"):
        source.verify(path, right)


# How far a file is committed


def test_the_watermark_passes_no_block_that_is_not_committed() -> None:
    mark = Watermark(0, None)
    for until in (10, 20, 30):
        mark.begin(until, until * 100)
    assert mark.after(20) == (0, None)
    mark.committed(20)
    assert mark.after(10) == (20, 2_000)
    assert mark.after(30) == (0, None)
    mark.committed(10)
    assert mark.after(30) == (30, 3_000)
