"""`ingest export` and `ingest sql`: exact values in both formats, a user's mistakes in words, nothing left
half-written.
"""

import csv
import io
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pyarrow.parquet as pq
import pytest
from pyarrow import types
from rich.console import Console

from ingest import analyst, export
from ingest.errors import ConfigError, Exit, Fatal, IngestError
from ingest.export import Filter
from ingest.parquet import Numbers
from tests.conftest import Fetch
from tests.db import known_market
from tests.db.known_market import BOOKS, MONDAY, SECOND, TRADES

D = Decimal
EVERYTHING = Filter()


@pytest.fixture
def market(database_url: str) -> str:
    known_market.load(database_url)
    return database_url


def run(
    url: str,
    source: str,
    output: Path,
    wanted: Filter = EVERYTHING,
    *,
    numbers: Numbers = "decimal",
    overwrite: bool = False,
    values: dict[str, str] | None = None,
) -> str:
    console = Console(file=io.StringIO(), width=200)
    code = export.export(
        url, source, output, wanted=wanted, values=values or {}, numbers=numbers, overwrite=overwrite, console=console
    )
    assert code == Exit.OK
    assert sorted(output.parent.glob(".*.part")) == []
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def table(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def test_trades_as_parquet(market: str, tmp_path: Path) -> None:
    said = run(
        market, "market.trades", tmp_path / "t.parquet", Filter("binance", "BTC/USDT", "2026-03-02", "2026-03-03")
    )
    assert "t.parquet: 8 rows" in said
    assert table(tmp_path / "t.parquet") == [
        {
            "time": MONDAY + at * SECOND,
            "exchange": "binance",
            "symbol": "BTC/USDT",
            "instrument_id": 1,
            "trade_id": trade_id,
            "side": side,
            "price": D(price),
            "amount": D(amount),
            "received_at": MONDAY + (at + 0.05) * SECOND,
        }
        for number, at, trade_id, side, price, amount in TRADES
        if number == 1 and at >= 0
    ]


def test_the_types_of_a_file(market: str, tmp_path: Path) -> None:
    query = tmp_path / "types.sql"
    query.write_text(
        "SELECT 1.50::numeric AS n, timestamptz '2026-03-02 00:00:00.000001Z' AS tz, timestamp '1969-12-31"
        " 23:59:59.5' AS ts,"
        " date '2026-03-02' AS d, true AS b, 7::smallint AS i2, 8 AS i4, 9::bigint AS i8, 0.1::float8 AS f8,"
        " ''::text AS empty,"
        " NULL::text AS nothing, 'a,\"b\nc' AS quoted, '{1.5,2}'::numeric[] AS numbers, '{}'::numeric[] AS none,"
        " NULL::numeric[] AS missing, '{a,b}'::text[] AS words, '{\"k\": 1}'::jsonb AS j, interval '90 minutes'"
        " AS span,"
        " 'buy'::text AS side, 'NaN'::float8 AS nan UNION ALL SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL,"
        " NULL, NULL, 'x',"
        " NULL, NULL, '{3}', '{4.25}', '{5}', NULL, NULL, NULL, NULL, NULL;\n"
    )
    run(market, str(query), tmp_path / "o.parquet")
    first, second = table(tmp_path / "o.parquet")
    assert str(first.pop("nan")) == "nan"
    assert first == {
        "n": D("1.5"),
        "tz": datetime(2026, 3, 2, 0, 0, 0, 1, tzinfo=UTC),
        "ts": datetime(1969, 12, 31, 23, 59, 59, 500_000),  # noqa: DTZ001 - a time without a zone
        "d": datetime(2026, 3, 2, tzinfo=UTC).date(),
        "b": True,
        "i2": 7,
        "i4": 8,
        "i8": 9,
        "f8": 0.1,
        "empty": "",
        "nothing": None,
        "quoted": 'a,"b\nc',
        "numbers": [D("1.5"), D(2)],
        "none": [],
        "missing": None,
        "words": "{a,b}",
        "j": '{"k": 1}',
        "span": "01:30:00",
        "side": "buy",
    }
    assert {name for name, value in second.items() if value is not None} == {"empty", "numbers", "none", "missing"}
    assert (second["numbers"], second["none"], second["missing"]) == ([D(3)], [D("4.25")], [D(5)])
    schema = pq.read_schema(tmp_path / "o.parquet")
    assert str(schema.field("n").type) == "decimal128(38, 18)"
    assert str(schema.field("tz").type) == "timestamp[us, tz=UTC]"
    assert str(schema.field("numbers").type.value_type) == "decimal128(38, 18)"
    assert types.is_int16(schema.field("i2").type)


def test_order_books_keep_their_levels(market: str, tmp_path: Path) -> None:
    run(market, "order_books", tmp_path / "b.parquet", Filter("kraken", "BTC/USDT"))
    books = [
        [[D(level[n]) for level in side] for side in (bids, asks) for n in (0, 1)]
        for i, _, bids, asks, _ in BOOKS
        if i == 3
    ]
    columns = ("bid_prices", "bid_amounts", "ask_prices", "ask_amounts")
    assert [[row[name] for name in columns] for row in table(tmp_path / "b.parquet")] == books


@pytest.mark.parametrize(("numbers", "value"), [("text", "0.1234567890123456789"), ("double", 0.12345678901234568)])
def test_a_number_that_does_not_fit_is_never_rounded(
    numbers: Numbers, value: object, market: str, tmp_path: Path
) -> None:
    query = tmp_path / "q.sql"
    query.write_text("SELECT 0.1234567890123456789 AS price")
    with pytest.raises(ConfigError, match=r"column price: .*--numbers text"):
        run(market, str(query), tmp_path / "o.parquet")
    assert list(tmp_path.iterdir()) == [query]
    run(market, str(query), tmp_path / "o.parquet", numbers=numbers)
    assert table(tmp_path / "o.parquet") == [{"price": value}]


def test_csv_has_the_servers_digits(market: str, tmp_path: Path, fetch: Fetch) -> None:
    said = run(market, "trades", tmp_path / "t.csv")
    assert f"t.csv: {len(TRADES)} rows" in said
    with (tmp_path / "t.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    stored = {
        (str(i), t, str(p), str(a))
        for i, t, p, a in fetch("SELECT instrument_id, trade_id, price, amount FROM market.trades")
    }
    assert {(row["instrument_id"], row["trade_id"], row["price"], row["amount"]) for row in rows} == stored
    assert rows[0]["received_at"].endswith("+00")


@pytest.mark.parametrize("name", ["empty.csv", "empty.parquet"])
def test_nothing_makes_a_file_without_rows(name: str, market: str, tmp_path: Path) -> None:
    assert f"{name}: 0 rows" in run(market, "trades", tmp_path / name, Filter(since="2030-01-01"))
    if name.endswith("parquet"):
        assert table(tmp_path / name) == []
        assert pq.read_schema(tmp_path / name).names[:3] == ["time", "exchange", "symbol"]
    else:
        assert (tmp_path / name).read_text().startswith("time,exchange,symbol,")


def test_a_question_with_its_parameters(market: str, tmp_path: Path) -> None:
    wanted = Filter("binance", "BTC/USDT", "2026-03-02", "2026-03-03")
    run(market, "ohlcv", tmp_path / "c.parquet", wanted, values={"interval": "2 hours"})
    (row,) = table(tmp_path / "c.parquet")
    (whole,) = known_market.rolled(known_market.minutes()[1:], 2 * known_market.HOUR)
    assert [row[name] for name in ("time", "open", "high", "low", "close", "volume", "trades", "minutes")] == [
        *whole.row[:6],
        whole.trades,
        whole.minutes,
    ]


def test_many_rows_in_blocks(market: str, tmp_path: Path) -> None:
    query = tmp_path / "many.sql"
    query.write_text(
        "SELECT g AS number, g / 7.0 AS seventh, repeat('x', 100) AS text FROM generate_series(1, 200000) g"
    )
    run(market, str(query), tmp_path / "m.parquet", numbers="text")
    file = pq.ParquetFile(tmp_path / "m.parquet")
    assert file.metadata.num_rows == 200_000
    assert file.metadata.num_row_groups > 1
    assert file.read(["number"])["number"].to_pylist() == list(range(1, 200_001))


_CHILD = """
import io, sys
from pathlib import Path
from rich.console import Console
from ingest import export
url, query, output = sys.argv[1:]
export.export(url, query, Path(output), wanted=export.Filter(), values={}, console=Console(file=io.StringIO()))
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
_WIDE = "SELECT g AS number, g * 0.25 AS quarter, repeat(md5(g::text), 8) AS text FROM generate_series(1, {}) g"


def _peak_bytes(url: str, rows: int, output: Path) -> int:
    """Of a process that does nothing but this export."""
    query = output.with_suffix(".sql")
    query.write_text(_WIDE.format(rows))
    command = [sys.executable, "-c", _CHILD, url, str(query), str(output)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) * 1024


@pytest.mark.parametrize("suffix", [".csv", pytest.param(".parquet", marks=pytest.mark.long)])
def test_memory_does_not_grow_with_the_rows(suffix: str, database_url: str, tmp_path: Path) -> None:
    """900,000 rows are 250 MB more of text, and next to nothing more of memory."""
    few, many = 300_000, 1_200_000
    small = _peak_bytes(database_url, few, tmp_path / f"few{suffix}")
    large = _peak_bytes(database_url, many, tmp_path / f"many{suffix}")
    assert large - small < (many - few) * 256 / 4


@pytest.mark.parametrize(
    ("source", "name", "wanted", "values", "message"),
    [
        ("trades", "t.xlsx", EVERYTHING, {}, r"\.parquet or \.csv"),
        ("tradez", "t.csv", EVERYTHING, {}, "no view market.tradez"),
        ("nothing.sql", "t.csv", EVERYTHING, {}, "no file nothing.sql"),
        ("trades", "t.csv", EVERYTHING, {"x": "1"}, "--set is for a query"),
        ("instruments", "t.csv", Filter(since="today"), {}, "no column time"),
        ("trades", "t.csv", Filter("binance", "BTCUSDT"), {}, r'no symbol "BTCUSDT".*Did you mean "BTC/USDT"'),
        ("trades", "t.csv", Filter(since="teatime"), {}, "teatime"),
        ("vwap", "t.csv", Filter("binance", "XBT/USD"), {}, 'no symbol "XBT/USD"'),
        ("vwap", "t.csv", EVERYTHING, {"intervall": "1 hour"}, "no parameter 'intervall'; it has: exchange, symbol"),
        ("trades", "away/t.csv", EVERYTHING, {}, "no folder"),
    ],
)
def test_mistakes_are_said_in_words(
    source: str, name: str, wanted: Filter, values: dict[str, str], message: str, market: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        run(market, source, tmp_path / name, wanted, values=values)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_stays(market: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("mine")
    with pytest.raises(ConfigError, match="--overwrite"):
        run(market, "trades", tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text() == "mine"
    run(market, "trades", tmp_path / "t.csv", overwrite=True)
    assert (tmp_path / "t.csv").read_text() != "mine"


@pytest.mark.parametrize("statement", ["DELETE FROM ingest.trades RETURNING 1", "SELECT * FROM ingest.trades"])
def test_an_analysts_query_cannot_write_or_leave_market(
    statement: str, market: str, tmp_path: Path, fetch: Fetch
) -> None:
    query = tmp_path / "q.sql"
    query.write_text(statement)
    with pytest.raises((ConfigError, Fatal)):
        run(market, str(query), tmp_path / "o.csv")
    assert fetch("SELECT count(*) FROM ingest.trades") == [(len(TRADES),)]
    assert list(tmp_path.iterdir()) == [query]


def test_an_analysts_session(market: str) -> None:
    with analyst.connect(market) as connection:
        assert connection.execute("SELECT current_user::text").fetchone() == ("market_analyst",)
        assert connection.execute("SHOW search_path").fetchone() == ("market, public",)
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            connection.execute("CREATE TEMP TABLE t (); INSERT INTO pg_temp.t DEFAULT VALUES")
    assert analyst.role(market) == "market_analyst"


def test_answers_as_a_table_and_as_json(market: str) -> None:
    question = analyst.find("last_trades")
    values = {"exchange": "kraken"}
    console = Console(file=io.StringIO(), width=200)
    assert analyst.run(market, question, values, as_json=False, console=console) == Exit.OK
    assert "2026-03-02 00:01:10Z" in console.file.getvalue()  # type: ignore[attr-defined]
    console = Console(file=io.StringIO(), width=200)
    analyst.run(market, question, values, as_json=True, console=console)
    assert orjson.loads(console.file.getvalue().splitlines()[0]) == {  # type: ignore[attr-defined]
        "time": "2026-03-02 00:01:10+00:00",
        "trade_id": "2",
        "side": "buy",
        "price": "1005",
        "amount": "0.3",
        "value": "301.5",
    }


def test_a_question_without_a_line_for_its_parameter(tmp_path: Path) -> None:
    path = tmp_path / "mine.sql"
    path.write_text("-- What?\nSELECT :'this', 'a'::text, ARRAY['x']::text[], '12:30'\n")
    question = analyst.find(str(path))
    assert question.variables == {"this"}
    with pytest.raises(ConfigError, match="mine uses :'this'"):
        question.filled({})
    with pytest.raises(IngestError, match="`ingest sql` lists them"):
        analyst.find("what")
    with pytest.raises(ConfigError, match="NAME=VALUE"):
        analyst.given(["period"])
    assert analyst.given(["a=b=c"], exchange="x", symbol=None) == {"a": "b=c", "exchange": "x"}
