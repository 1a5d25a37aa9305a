"""Quotes are kept, each once; of tickers only the latest of each instrument."""

from typing import Any

import msgspec
import pytest

from ingest.clock import SECOND
from ingest.records import Quote, Ticker
from ingest.store.copy_writer import CopyWriter, Written
from tests.conftest import Fetch
from tests.db.support import (
    NOON,
    moment,
    progress,
    quote,
    quote_row,
    stored_quotes,
    stored_rejects,
    stored_tickers,
    ticker,
    ticker_row,
)


@pytest.mark.parametrize("staged", [False, True])
async def test_quotes_are_stored_once(writer: CopyWriter, fetch: Fetch, *, staged: bool) -> None:
    batch = [quote(sequence=number, time_ns=NOON + number * 1_999) for number in range(500)]
    batch.append(quote(instrument_id=2, bid="0.00000000000000000000000000000000000001"))
    assert await writer.write([batch[7], *batch], staged=staged) == Written(501, 1, 0)
    assert await writer.write([msgspec.structs.replace(batch[0], bid="5")], staged=staged) == Written(0, 1, 0)
    assert stored_quotes(fetch) == [quote_row(q) for q in batch]
    assert progress(fetch, "quotes")[0][1:6] == (
        moment(NOON + 499 * 1_999), 499, moment(NOON + 499 * 1_999 + 9_000), 500, 2,
    )  # fmt: skip


BAD_QUOTES: list[dict[str, Any]] = [
    {"bid": "NaN"}, {"bid": "0"}, {"bid": "Infinity"}, {"ask": "-1"}, {"ask": ""}, {"ask_amount": "-0.1"},
    {"bid_amount": "NaN"}, {"sequence": 2**63},
]  # fmt: skip


async def test_bad_quotes_cost_nothing_else(writer: CopyWriter, fetch: Fetch) -> None:
    good = [quote(sequence=number) for number in range(50)]
    bad = [msgspec.structs.replace(quote(sequence=99), **change) for change in BAD_QUOTES]
    assert await writer.write([*good[:20], *bad, *good[20:]]) == Written(50, 0, len(bad))
    assert stored_quotes(fetch) == [quote_row(q) for q in good]
    assert [msgspec.json.decode(row[4]) for row in stored_rejects(fetch)] == [msgspec.to_builtins(q) for q in bad]
    assert msgspec.json.decode(stored_rejects(fetch)[0][4], type=Quote) == bad[0]


async def test_the_latest_ticker_stays(writer: CopyWriter, fetch: Fetch) -> None:
    first = [ticker(), ticker(instrument_id=2, last=None)]
    assert await writer.write(first) == Written(2, 0, 0)
    assert stored_tickers(fetch) == [ticker_row(t) for t in first]
    newer = ticker(time_ns=NOON + 2 * SECOND, last="3")
    assert await writer.write([newer, ticker(time_ns=NOON + SECOND, last="2")]) == Written(1, 1, 0)
    assert await writer.write([ticker(time_ns=NOON + SECOND, last="1")]) == Written(0, 1, 0)
    assert stored_tickers(fetch) == [ticker_row(newer), ticker_row(first[1])]
    corrected = ticker(time_ns=NOON + 2 * SECOND, last="4")
    assert await writer.write([corrected]) == Written(1, 0, 0)
    assert stored_tickers(fetch) == [ticker_row(corrected), ticker_row(first[1])]


async def test_a_ticker_of_no_instrument_is_put_aside(writer: CopyWriter, fetch: Fetch) -> None:
    unknown = ticker(instrument_id=99)
    assert await writer.write([ticker(), unknown]) == Written(1, 0, 1)
    assert stored_tickers(fetch) == [ticker_row(ticker())]
    assert [msgspec.json.decode(row[4], type=Ticker) for row in stored_rejects(fetch)] == [unknown]


@pytest.mark.parametrize("last", ["NaN", "Infinity", "-1"])
async def test_a_ticker_that_is_no_price_is_put_aside(writer: CopyWriter, fetch: Fetch, last: str) -> None:
    assert await writer.write([ticker(last=last)]) == Written(0, 0, 1)
    assert stored_tickers(fetch) == []
