"""`ingest rejected`: what is kept can be read without harm, and stored once it is understood."""

import json
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from ingest import rejected, rejected_retry
from ingest.clock import MICROSECOND, MILLISECOND, MINUTE, SECOND
from ingest.config.model import Config
from ingest.errors import ConfigError, Exit
from ingest.records import CandleSource, Instrument, Reject
from ingest.store.copy_writer import CopyWriter
from tests.conftest import Fetch
from tests.db.history import assert_rollup_changes
from tests.db.ledger import Ledger
from tests.db.support import (
    BTC,
    NOON,
    book,
    book_row,
    candle,
    candle_row,
    expected,
    mark_price,
    mark_price_row,
    moment,
    quote,
    quote_row,
    stored_books,
    stored_candles,
    stored_quotes,
    stored_rejects,
    stored_tickers,
    stored_trades,
    ticker,
    ticker_row,
    trade,
)

Put = Callable[..., None]
Retry = Callable[..., tuple[Exit, dict[str, str]]]

NASTY = "close \x1b[2J\x1b]0;owned\x07 \x9b31m \u202egnp.exe \u2028 [bold red]:smile:[/] \x7f\r\n\t€"
SHOWN = r"close \x1b[2J\x1b]0;owned\x07 \x9b31m \u202egnp.exe \u2028 [bold red]:smile:[/] \x7f\r\n\t€"


@pytest.fixture(autouse=True)
def ledger(fetch: Fetch) -> Ledger:
    return Ledger(fetch)


@pytest.fixture
def put(fetch: Fetch) -> Put:
    def add(
        payload: bytes | str | dict[str, Any],
        reason: str = "malformed frame: x",
        *,
        stream: str = "",
        exchange: str = "binance",
        received_ns: int = NOON + 50 * MILLISECOND,
    ) -> None:
        raw = json.dumps(payload).encode() if isinstance(payload, dict) else payload
        raw = raw.encode() if isinstance(raw, str) else raw
        fetch(
            "INSERT INTO ingest.rejected (received_at, exchange, stream, reason, payload) VALUES (%s, %s, %s, %s, %s)",
            *(moment(received_ns), exchange, stream, reason, raw),
        )

    return add


@pytest.fixture
def retry(database_url: str) -> Retry:
    """The exit code, and the printed counts by what they count."""

    def run(**options: Any) -> tuple[Exit, dict[str, str]]:
        printed = StringIO()
        code = rejected_retry.retry(Config(), database_url, console=Console(file=printed, width=200), **options)
        lines = [line.rsplit(maxsplit=1) for line in printed.getvalue().splitlines()]
        return code, {what.strip(): count for what, count in lines}

    return run


def told(settled: int, stored: int, known: int = 0, nothing: int = 0, **still: int) -> dict[str, str]:
    counts = {
        "rejects settled": settled,
        "of them with nothing to store": nothing,
        "rows stored": stored,
        "rows known already": known,
    }
    counts |= {f"still rejected: {why.replace('_', ' ')}": count for why, count in still.items()}
    return {what: str(count) for what, count in counts.items()}


def listing(url: str, **options: Any) -> dict[str, Any]:
    printed = StringIO()
    assert rejected.list_(url, as_json=True, console=Console(file=printed), **options) == Exit.OK
    told_: dict[str, Any] = json.loads(printed.getvalue())
    return told_


def shown(url: str, number: int, **options: Any) -> list[str]:
    printed = StringIO()
    terminal = Console(file=printed, width=60, force_terminal=True, color_system=None)
    assert rejected.show(url, number, console=terminal, **options) == Exit.OK
    return printed.getvalue().removesuffix("\n").split("\n")


def controls(text: str) -> set[str]:
    """What a terminal may obey, besides the line's own end and the styles that we print."""
    return {each for each in text if unicodedata.category(each)[0] == "C" or each in "\u2028\u2029"} - {"\n"}


# Frames


def trade_frame(number: int, *, price: str = "64000.10", symbol: str = "BTCUSDT") -> dict[str, Any]:
    event = {"e": "trade", "E": NOON // MICROSECOND, "s": symbol, "t": number, "p": price, "q": "0.00300"}
    return {"stream": f"{symbol.lower()}@trade", "data": event | {"T": NOON // MICROSECOND, "m": False, "M": True}}


def kline_frame() -> dict[str, Any]:
    kline = {
        "t": NOON // MICROSECOND, "T": (NOON + MINUTE) // MICROSECOND - 1, "s": "BTCUSDT", "i": "1m", "f": 1, "L": 42,
        "o": "100", "c": "105", "h": "110", "l": "90", "v": "12.5", "n": 42, "x": True,
        "q": "1300.25", "V": "6.25", "Q": "650", "B": "0",
    }  # fmt: skip
    event = {"e": "kline", "E": (NOON + MINUTE) // MICROSECOND, "s": "BTCUSDT", "k": kline}
    return {"stream": "btcusdt@kline_1m", "data": event}


def depth_frame() -> dict[str, Any]:
    event = {"e": "depthUpdate", "E": NOON // MICROSECOND, "s": "BTCUSDT", "U": 1, "u": 2, "b": [], "a": []}
    return {"stream": "btcusdt@depth", "data": event}


def test_frames_that_are_understood_now(put: Put, retry: Retry, fetch: Fetch) -> None:
    put(trade_frame(1))
    put(trade_frame(2, symbol="ETHUSDT"), "unknown symbol: 'ETHUSDT'")
    put(kline_frame(), received_ns=NOON + MINUTE + SECOND)
    put(depth_frame())
    put('{"result": null, "id": 1}')
    put('{"stream": "btcusdt@trade", "data": {"e": "tra')
    put(trade_frame(3, price="-1"))
    put(trade_frame(4, symbol="DOGEUSDT"), "unknown symbol: 'DOGEUSDT'")
    assert retry(everything=True) == (
        Exit.FAILED,
        told(5, 3, nothing=2, malformed_frame=1, trade=1, unknown_symbol=1),
    )
    assert stored_trades(fetch) == expected(trade("1"), trade("2", instrument_id=2))
    received_ns = NOON + MINUTE + SECOND
    assert stored_candles(fetch) == [candle_row(candle(source=CandleSource.STREAM, received_ns=received_ns))]
    assert fetch("SELECT rejected_id FROM ingest.rejected ORDER BY 1") == [(6,), (7,), (8,)]
    assert_rollup_changes(
        fetch,
        [
            (1, "trades", moment(NOON), moment(NOON)),
            (2, "trades", moment(NOON), moment(NOON)),
            (1, "candles", moment(NOON), moment(NOON)),
        ],
        in_order=False,
    )
    assert retry(everything=True) == (Exit.FAILED, told(0, 0, malformed_frame=1, trade=1, unknown_symbol=1))


def test_rows_that_are_there_already(put: Put, retry: Retry, fetch: Fetch) -> None:
    put(trade_frame(1))
    put(trade_frame(1), received_ns=NOON + SECOND)
    put(trade_frame(2))
    assert retry(everything=True) == (Exit.OK, told(3, 2, known=1))
    assert stored_trades(fetch) == expected(trade("1"), trade("2"))
    assert stored_rejects(fetch) == []


def test_what_is_asked_for_alone_is_tried(put: Put, retry: Retry, fetch: Fetch) -> None:
    for number in (1, 2, 3):
        put(trade_frame(number), "malformed frame: at 7")
    put(trade_frame(4), "unknown symbol: 'X'")
    put(trade_frame(5), "trade id is stored with price 12.5, amount 3")
    assert retry(ids=[2, 99]) == (Exit.OK, told(1, 1))
    assert retry(ids=[99])[0] == Exit.FAILED, "there is none"
    assert stored_trades(fetch) == expected(trade("2"))
    assert retry(reason="unknown symbol") == (Exit.OK, told(1, 1))
    assert retry(reason="price #, amount #") == (Exit.OK, told(1, 1))  # as `list` prints it
    assert retry(reason="at 7") == (Exit.OK, told(2, 2))
    assert stored_rejects(fetch) == []


@pytest.mark.parametrize("options", [{}, {"ids": [1], "everything": True}, {"everything": True, "reason": "x"}])
def test_it_must_be_said_which(database_url: str, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="say which rejects to try"):
        rejected_retry.retry(Config(), database_url, console=Console(file=StringIO()), **options)


# Rows of REST replies


def test_rows_of_replies(put: Put, retry: Retry, fetch: Fetch) -> None:
    received_ns = NOON + 10 * MINUTE
    kline = [NOON // MICROSECOND, "100", "110", "90", "105", "12.5", (NOON + MINUTE) // MICROSECOND - 1, "1300.25", 42]
    put(
        json.dumps([*kline, "6.25", "650", "0"]),
        "row of a reply: x",
        stream="BTC/USDT candles",
        received_ns=received_ns,
    )
    row = {"id": 8, "price": "64000.10", "qty": "0.00300", "quoteQty": "1", "time": NOON // MICROSECOND}
    good = row | {"isBuyerMaker": False, "isBestMatch": True}
    put(good, "row of a reply: x", stream="BTC/USDT trades", received_ns=received_ns)
    put(good | {"price": "x"}, "row of a reply: y", stream="BTC/USDT trades", received_ns=received_ns)
    put(good, "row of a reply: z", stream="NO/SUCH trades", received_ns=received_ns)
    code, counts = retry(everything=True)
    assert code == Exit.FAILED
    assert counts["rows stored"] == "2"
    assert stored_candles(fetch) == [candle_row(candle(source=CandleSource.REST, received_ns=received_ns))]
    assert stored_trades(fetch) == expected(trade("8", received_ns=received_ns))
    assert fetch("SELECT rejected_id FROM ingest.rejected ORDER BY 1") == [(3,), (4,)]


# Records


async def test_records_that_the_database_refused(database_url: str, fetch: Fetch) -> None:
    """Of every table: refused by a rule that is there no more."""
    fetch("ALTER TABLE ingest.trades ADD CONSTRAINT never CHECK (received_at < '2000-01-01')")
    fetch("ALTER TABLE ingest.candles_1m ADD CONSTRAINT never CHECK (received_at < '2000-01-01')")
    fetch("ALTER TABLE ingest.order_books ADD CONSTRAINT never CHECK (received_at < '2000-01-01')")
    fetch("ALTER TABLE ingest.quotes ADD CONSTRAINT never CHECK (received_at < '2000-01-01')")
    fetch("ALTER TABLE ingest.tickers ADD CONSTRAINT never CHECK (received_at < '2000-01-01')")
    fetch("ALTER TABLE ingest.mark_prices ADD CONSTRAINT never CHECK (received_at < '2000-01-01')")
    writer = CopyWriter(database_url, role="test", instruments={1: BTC})
    try:
        for record in (trade(), candle(), book(), quote(), ticker(), mark_price()):
            assert (await writer.write([record])).rejected == 1
    finally:
        await writer.close()
    assert [row[2] for row in stored_rejects(fetch)] == [
        f"BTC/USDT {table}" for table in ("trades", "candles_1m", "order_books", "quotes", "tickers", "mark_prices")
    ]
    for table in ("trades", "candles_1m", "order_books", "quotes", "tickers", "mark_prices"):
        fetch(f"ALTER TABLE ingest.{table} DROP CONSTRAINT never")
    outcome = await rejected_retry._retry(Config(), database_url, None, None)
    assert (outcome.settled, outcome.stored, outcome.failing.total()) == (6, 6, 0)
    assert stored_trades(fetch) == expected(trade())
    assert stored_candles(fetch) == [candle_row(candle())]
    assert stored_books(fetch) == [book_row(book())]
    assert stored_quotes(fetch) == [quote_row(quote())]
    assert stored_tickers(fetch) == [ticker_row(ticker())]
    assert fetch("SELECT time, instrument_id, mark, index_price, received_at FROM ingest.mark_prices") == [
        mark_price_row(mark_price())
    ]
    assert stored_rejects(fetch) == []


async def test_records_that_are_bad_still_stay(database_url: str, fetch: Fetch) -> None:
    instruments: dict[int, Instrument] = {1: BTC}
    other = trade("1", price="5")
    batch = [trade("1"), trade("2", price="NaN"), other, trade("3", time_ns=-1), trade("\ud800"), trade("4")]
    writer = CopyWriter(database_url, role="test", instruments=instruments)
    try:
        assert (await writer.write(batch)).rejected == 4
        assert (await writer.write([Reject("bin\0ance", "s", "why", b"\x01", NOON)])).rejected == 1
    finally:
        await writer.close()
    before = stored_rejects(fetch)
    for _ in range(2):
        outcome = await rejected_retry._retry(Config(), database_url, None, None)
        assert (outcome.settled, outcome.stored, outcome.failing.total()) == (0, 0, 5)
        assert stored_rejects(fetch) == before
    assert stored_trades(fetch) == expected(trade("1"), trade("4"))


async def test_more_than_a_page_with_bad_ones_between(
    database_url: str, put: Put, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rejected_retry, "_PAGE", 10)
    for number in range(1, 36):
        put(trade_frame(number), received_ns=NOON + number)
    fetch("UPDATE ingest.rejected SET payload = payload || 'x' WHERE rejected_id %% 10 = 0 AND %s", True)
    outcome = await rejected_retry._retry(Config(), database_url, None, None)
    assert (outcome.settled, outcome.stored, dict(outcome.failing)) == (32, 32, {"malformed frame": 3})
    assert [int(row[2]) for row in stored_trades(fetch)] == sorted(
        (number for number in range(1, 36) if number % 10), key=str
    )


async def test_of_a_page_only_what_is_refused_stays(database_url: str, put: Put, fetch: Fetch) -> None:
    put(trade_frame(1))
    put(trade_frame(1, price="5"), received_ns=NOON + SECOND)
    put(trade_frame(2))
    outcome = await rejected_retry._retry(Config(), database_url, None, None)
    assert (outcome.settled, outcome.stored, dict(outcome.failing)) == (2, 2, {"the database refuses it": 1})
    assert stored_trades(fetch) == expected(trade("1"), trade("2"))
    rejects = [(row[2], row[3]) for row in stored_rejects(fetch)]
    assert rejects == [
        ("", "malformed frame: x"),
        ("BTC/USDT trades", "trade id is stored with price 64000.10, amount 0.00300, side buy"),
    ]


def test_a_venue_without_an_adapter(put: Put, retry: Retry) -> None:
    put(trade_frame(1), exchange="mtgox")
    put("x", exchange="")
    assert retry(everything=True) == (Exit.FAILED, told(0, 0, no_adapter=2))


# Listing


def test_list_counts_by_reason_and_shows_the_latest(put: Put, database_url: str) -> None:
    assert listing(database_url) == {"reasons": [], "latest": []}
    for number in range(3):
        put("x" * number, f"malformed frame: at {number}", received_ns=NOON + number * SECOND)
    put("{}", "trade id is stored with price 1.5, amount 20", stream="BTC/USDT trades", received_ns=NOON)
    put("{}", "trade id is stored with price 7, amount 0.3", stream="ETH/USDT trades", received_ns=NOON - SECOND)
    put("{}", "malformed frame: y", exchange="kraken", received_ns=NOON - MINUTE)
    whole = listing(database_url, limit=2)
    at = "2026-11-21T12:00:0{}Z".format
    assert whole["reasons"] == [
        {"exchange": "binance", "reason": "malformed frame", "count": 3, "first": at(0), "last": at(2)},
        {
            "exchange": "binance", "reason": "trade id is stored with price #, amount #", "count": 2,
            "first": "2026-11-21T11:59:59Z", "last": at(0),
        },
        {
            "exchange": "kraken", "reason": "malformed frame", "count": 1,
            "first": "2026-11-21T11:59:00Z", "last": "2026-11-21T11:59:00Z",
        },
    ]  # fmt: skip
    assert whole["latest"] == [
        {
            "rejected_id": number, "received_at": at(number - 1), "exchange": "binance", "stream": "",
            "reason": f"malformed frame: at {number - 1}", "payload_bytes": number - 1,
        }
        for number in (3, 2)
    ]  # fmt: skip
    assert [each["rejected_id"] for each in listing(database_url, stream="eth/usdt")["latest"]] == [5]
    assert [each["rejected_id"] for each in listing(database_url, stream="kraken")["latest"]] == [6]
    since = datetime(2026, 11, 21, 12, 0, 1, tzinfo=UTC)
    assert [each["rejected_id"] for each in listing(database_url, since=since)["latest"]] == [3, 2]
    assert listing(database_url, since=since.replace(tzinfo=None))["reasons"][0]["count"] == 2
    assert listing(database_url, since=since + timedelta(days=1)) == {"reasons": [], "latest": []}


def test_the_table(put: Put, database_url: str) -> None:
    printed = StringIO()
    console = Console(file=printed, width=250)
    assert rejected.list_(database_url, console=console) == Exit.OK
    put("{}", f"unknown event: {NASTY}", stream="BTC/USDT [b]trades\x1b")
    rejected.list_(database_url, console=console)
    assert [" ".join(line.split()) for line in printed.getvalue().splitlines()] == [
        "nothing was rejected",
        "reasons",
        "count exchange reason last",
        "1 binance unknown event 2026-11-21 12:00:00",
        "latest",
        "id received stream bytes reason",
        rf"1 2026-11-21 12:00:00 binance BTC/USDT [b]trades\x1b 2 unknown event: {SHOWN}",
    ]


# Showing


def test_show_text(put: Put, database_url: str) -> None:
    put('{"a": "é"}', "malformed frame: [red]x", stream="BTC/USDT trades")
    assert shown(database_url, 1) == [
        "reject   1",
        "received 2026-11-21 12:00:00.050000",
        "stream   binance BTC/USDT trades",
        "reason   malformed frame: [red]x",
        "payload  11 bytes",
        "",
        '{"a": "é"}',
    ]


def test_nothing_that_was_received_commands_a_terminal(put: Put, database_url: str) -> None:
    put(NASTY, NASTY, stream=NASTY, exchange=NASTY)
    put(bytes(range(256)), NASTY)
    put("".join(map(chr, [*range(0x2100), *range(0xE000, 0xE010), 0xFEFF, 0xE0001, 0x10FFFF])), "x")
    printed = StringIO()
    console = Console(file=printed, width=80)
    for number in (1, 2, 3):
        assert controls("".join(shown(database_url, number, max_bytes=100_000))) == set()
        rejected.show(database_url, number, as_json=True, console=console)
    rejected.list_(database_url, as_json=True, console=console)
    assert controls(printed.getvalue()) == set()
    assert printed.getvalue().isascii()
    assert shown(database_url, 1)[-1] == SHOWN


def test_show_bytes_as_hex(put: Put, database_url: str) -> None:
    put(b"\x1f\x8b\x08\x00abcdefghijklmnop\xff")
    assert shown(database_url, 1)[-2:] == [
        "00000000  1f 8b 08 00 61 62 63 64 65 66 67 68 69 6a 6b 6c  ....abcdefghijkl",
        "00000010  6d 6e 6f 70 ff                                   mnop.",
    ]


def test_show_is_bounded(put: Put, database_url: str) -> None:
    put("é" * 5_000)
    lines = shown(database_url, 1, max_bytes=101)
    assert lines[-2:] == ["é" * 50, "… and 9,899 more bytes (--bytes)"]
    assert lines[4] == "payload  10,000 bytes"


def test_show_as_json(put: Put, database_url: str) -> None:
    put("\x1bé")
    put(b"\xff\x00")
    printed = StringIO()
    for number in (1, 2):
        rejected.show(database_url, number, as_json=True, console=Console(file=printed))
    first, second = map(json.loads, printed.getvalue().splitlines())
    assert first["payload"] == "\x1bé"
    assert first["reject"]["payload_bytes"] == 3
    assert second["payload"] == "ff00"


def test_show_of_none(database_url: str) -> None:
    with pytest.raises(ConfigError, match="there is no reject 7"):
        rejected.show(database_url, 7, console=Console(file=StringIO()))


def test_the_time_of_receipt_has_an_index(fetch: Fetch) -> None:
    """Retention and `--since` go by it."""
    fetch(
        "INSERT INTO ingest.rejected (received_at, exchange, stream, reason, payload)"
        " SELECT now() - n * INTERVAL '1 hour', 'binance', '', 'x', ''::bytea FROM generate_series(1, 5000) n"
    )
    fetch("ANALYZE ingest.rejected")
    plan = fetch("EXPLAIN DELETE FROM ingest.rejected WHERE received_at < now() - INTERVAL '207 days'")
    assert "rejected_key" in "".join(line for (line,) in plan)
