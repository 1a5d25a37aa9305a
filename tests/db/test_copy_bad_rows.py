"""One bad row never costs its batch: the good rows are stored, the bad one is kept with its reason."""

from typing import Any

import msgspec
import pytest

from ingest.clock import MILLISECOND, MINUTE, SECOND
from ingest.records import Candle, OrderBook, Reject, Trade
from ingest.store.copy_writer import CopyWriter, Written
from tests.conftest import Fetch
from tests.db.support import (
    NOON,
    book,
    book_row,
    candle,
    candle_row,
    expected,
    moment,
    progress,
    stored_books,
    stored_candles,
    stored_rejects,
    stored_trades,
    trade,
    trades,
)

BAD_TRADES: list[dict[str, Any]] = [
    {"price": "NaN"},
    {"price": "Infinity"},
    {"price": "-Infinity"},
    {"price": "-1"},
    {"price": "0"},
    {"price": ""},
    {"price": "1,5"},
    {"price": "garbage"},
    {"price": "1\t2"},
    {"price": "\\N"},
    {"price": "1\\"},
    {"price": "1 \0"},
    {"price": "0x"},
    {"price": "1" + "0" * 140_000},
    {"price": "−5"},  # a minus, not a hyphen
    {"amount": "NaN"},
    {"amount": "0.0"},
    {"amount": "1\n2"},
    {"side": "long"},
    {"instrument_id": 2**31},
    {"trade_id": "nul\0byte"},
]
TIMES = [
    *(0, -1, -100_000, 5_000, -(2**63), -63_000_000_000 * SECOND),
    *(2**63 - 1, 300_000 * 365 * 86_400 * SECOND, 10**25),
]


def _ids(value: object) -> str:
    return ascii(value)[:60]


@pytest.mark.parametrize("position", [0, 499, 999])
async def test_one_bad_trade_in_a_thousand(writer: CopyWriter, fetch: Fetch, position: int) -> None:
    batch = trades(1_000)
    bad = batch[position] = msgspec.structs.replace(batch[position], price="NaN")
    assert await writer.write(batch) == Written(999, 0, 1)
    good = [t for t in batch if t is not bad]
    assert stored_trades(fetch) == expected(*good)
    ((received_at, exchange, stream, reason, payload),) = stored_rejects(fetch)
    assert (received_at, exchange, stream) == (moment(bad.received_ns), "binance", "BTC/USDT trades")
    assert "trades_price_check" in reason
    assert msgspec.json.decode(payload, type=Trade) == bad
    latest = good[-1]
    assert progress(fetch)[0] == (
        1,
        moment(latest.time_ns),
        int(latest.trade_id),
        moment(latest.received_ns),
        999,
        0,
        True,
    )


async def test_each_kind_of_bad_trade(writer: CopyWriter, fetch: Fetch) -> None:
    """Each by the direct path and by the staged one, among good rows that are new and then known."""
    good: list[Trade] = []
    bad: list[Trade] = []
    for number, change in enumerate(BAD_TRADES):
        refused = msgspec.structs.replace(trade("bad", received_ns=NOON + number * SECOND), **change)
        new = trades(7, first=number * 7 + 1)
        for staged in (False, True):
            writer._stage_first.clear()
            written = await writer.write([*new[:3], refused, *new[3:]], staged=staged)
            assert written == (Written(0, 7, 1) if staged else Written(7, 0, 1)), change
        good += new
        bad.append(refused)  # once: again is no other reject
    assert stored_trades(fetch) == expected(*good)
    rejects = stored_rejects(fetch)
    assert [row[0] for row in rejects] == [moment(t.received_ns) for t in bad]
    assert [msgspec.json.decode(row[4]) for row in rejects] == [msgspec.to_builtins(t) for t in bad]
    assert all(row[3] for row in rejects)


@pytest.mark.parametrize("time_ns", TIMES, ids=_ids)
async def test_a_time_that_cannot_be(writer: CopyWriter, fetch: Fetch, time_ns: int) -> None:
    """Stored exactly or put aside, and never as another time."""
    good = trades(3)
    bad = trade("bad", time_ns=time_ns)
    written = await writer.write([*good, bad])
    if written == Written(3, 0, 1):
        assert stored_trades(fetch) == expected(*good)
        assert [msgspec.json.decode(row[4])["trade_id"] for row in stored_rejects(fetch)] == ["bad"]
    else:
        assert written == Written(4, 0, 0)
        assert stored_trades(fetch) == expected(*good, bad)


async def test_an_id_that_is_no_utf_8(writer: CopyWriter, fetch: Fetch) -> None:
    """A JSON string may hold a lone surrogate."""
    good = trades(3)
    assert await writer.write([*good, trade("\ud800")]) == Written(3, 0, 1)
    assert stored_trades(fetch) == expected(*good)


async def test_an_id_too_long_for_the_key(writer: CopyWriter, fetch: Fetch) -> None:
    long = "".join(chr(0x4E00 + (number * 7919) % 20_000) for number in range(4_000))
    good = trades(3)
    assert await writer.write([*good, trade(long)]) == Written(3, 0, 1)
    assert stored_trades(fetch) == expected(*good)


_FORGED = "1\t0.1\t2026-11-21 12:00:00+00\n2026-11-21 12:00:00+00\t2\tforged\tbuy\t1"


@pytest.mark.parametrize(
    "price",
    [
        _FORGED,
        "1\t0.1\t2026-11-21 12:00:00+00\n\\.\n",  # ends the COPY: what follows is lost in silence on 17
    ],
    ids=["forged row", "end of data"],
)
async def test_a_number_cannot_make_or_end_rows(writer: CopyWriter, fetch: Fetch, price: str) -> None:
    good = trades(4)
    written = await writer.write([*good[:2], trade("bad", price=price), *good[2:]])
    assert written == Written(4, 0, 1)
    assert stored_trades(fetch) == expected(*good)


async def test_all_rows_bad(writer: CopyWriter, fetch: Fetch) -> None:
    batch = [trade(str(number), price="-1") for number in range(33)]
    assert await writer.write(batch) == Written(0, 0, 33)
    assert stored_trades(fetch) == []
    assert [msgspec.json.decode(row[4], type=Trade) for row in stored_rejects(fetch)] == batch
    assert progress(fetch)[0] == (1, None, None, None, 0, 0, False)
    assert await writer.write(trades(2)) == Written(2, 0, 0)


async def test_bad_known_differing_and_new_rows_in_one_batch(writer: CopyWriter, fetch: Fetch) -> None:
    known = trades(20)
    await writer.write(known)
    new = trades(20, first=21)
    bad = [trade("bad 1", amount="NaN"), trade("bad 2", side="up")]  # type: ignore[arg-type] # that is what is bad
    other = msgspec.structs.replace(known[7], amount="5")
    batch = [*known[5:10], bad[0], *new, other, bad[1], new[3]]
    assert await writer.write(batch) == Written(20, 6, 3)
    assert stored_trades(fetch) == expected(*known, *new)
    payloads = [msgspec.json.decode(row[4]) for row in stored_rejects(fetch)]
    assert sorted(payload["trade_id"] for payload in payloads) == ["8", "bad 1", "bad 2"]


BAD_CANDLES: list[dict[str, Any]] = [
    {"high": "99", "low": "90", "close": "95"},  # high below open
    {"high": "104"},  # high below close
    {"low": "101"},
    {"low": "0"},
    {"low": "-1"},
    {"close": "NaN", "high": "NaN"},
    {"high": "Infinity"},
    {"volume": "-0.1"},
    {"volume": "NaN"},
    {"volume": "\\N"},
    {"quote_volume": "NaN"},
    {"quote_volume": "Infinity"},
    {"trades": -1},
    {"trades": 2**63},
    {"taker_buy_volume": "-1"},
    {"taker_buy_quote_volume": "x"},
]


async def test_each_kind_of_bad_candle(writer: CopyWriter, fetch: Fetch) -> None:
    good = [candle(time_ns=NOON + number * MINUTE) for number in range(50)]
    bad = [
        msgspec.structs.replace(candle(time_ns=NOON - (number + 1) * MINUTE), **change)
        for number, change in enumerate(BAD_CANDLES)
    ]
    batch: list[Candle] = [*good[:10], *bad, *good[10:]]
    assert await writer.write(batch) == Written(50, 0, len(bad))
    assert stored_candles(fetch) == [candle_row(c) for c in good]
    rejects = stored_rejects(fetch)
    assert [msgspec.json.decode(row[4]) for row in rejects] == [msgspec.to_builtins(c) for c in bad]
    assert {row[1:3] for row in rejects} == {("binance", "BTC/USDT candles_1m")}
    assert progress(fetch, "candles")[0][4:6] == (50, 0)


BAD_BOOKS: list[dict[str, Any]] = [
    {"bids": (("NaN", "1"),)},
    {"bids": (("1", "Infinity"),)},
    {"asks": (("1", "0"),)},
    {"asks": (("-1", "1"),)},
    {"asks": (("1,2", "1"),)},  # two prices for one amount
    {"asks": (("{1}", "{1}"),)},  # two dimensions
    {"bids": (("NULL", "1"),)},
    {"bids": (("", "1"),)},
    {"bids": (("1", "2"), ("}", "1"))},
    {"bids": (("1\t", "2"),)},
    {"bids": (("\\N", "2"),)},
    {"sequence": 2**63},
]


async def test_each_kind_of_bad_book(writer: CopyWriter, fetch: Fetch) -> None:
    good = [book(time_ns=NOON + number * SECOND) for number in range(50)]
    bad = [
        msgspec.structs.replace(book(time_ns=NOON - (number + 1) * SECOND), **change)
        for number, change in enumerate(BAD_BOOKS)
    ]
    batch: list[OrderBook] = [*good[:10], *bad, *good[10:]]
    assert await writer.write(batch) == Written(50, 0, len(bad))
    assert stored_books(fetch) == [book_row(b) for b in good]
    payloads = [msgspec.json.decode(row[4]) for row in stored_rejects(fetch)]
    assert payloads == [msgspec.json.decode(msgspec.json.encode(b)) for b in bad]
    assert progress(fetch, "book")[0][4:6] == (50, 0)


async def test_a_reject_that_is_itself_refused_is_kept(writer: CopyWriter, fetch: Fetch) -> None:
    good = Reject("binance", "s", "why", b"{}", NOON)
    bad = Reject("bin\0ance", "s", "why", b"\x01", NOON + MILLISECOND)
    other = Reject("binance", "s", "why", b"[]", NOON)
    assert await writer.write([good, bad, other]) == Written(2, 0, 1)
    rejects = stored_rejects(fetch)
    assert [row[0] for row in rejects] == [moment(NOON), moment(NOON + MILLISECOND), moment(NOON)]
    assert msgspec.json.decode(rejects[1][4], type=Reject) == bad


async def test_a_bad_row_again_is_one_reject(writer: CopyWriter, fetch: Fetch) -> None:
    """`writing it again is harmless`: a lost connection after the commit makes the pipeline write it again."""
    batch = [*trades(3), trade("bad", price="NaN")]
    await writer.write(batch)
    await writer.write(batch)
    assert len(stored_rejects(fetch)) == 1
