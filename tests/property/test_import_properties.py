"""The columns' way through a file and the line-by-line way say the same of every line, good or bad."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from ingest.clock import SECOND
from ingest.importing import fast
from ingest.importing.fast import Target
from ingest.importing.layout import LAYOUTS, Layout
from ingest.importing.reader import Read, Reader
from ingest.importing.source import Lines

NOW = 1_795_262_400 * SECOND
TARGET = Target(1, "BTCUSDT", NOW)

pytestmark = pytest.mark.skipif(not fast.available(), reason="without pyarrow there is one way only")

good_number = st.from_regex(r"[0-9]{1,9}(\.[0-9]{1,9})?", fullmatch=True)
number = st.one_of(
    good_number,
    good_number,
    st.sampled_from(["0", "0.00", "-1", "", ".", ".5", "5.", "1.2.3", "1e-5", "NaN", " 1", "١", "1_0"]),
)
milliseconds = st.integers(1_300_000_000_000, 1_795_262_400_000)
microseconds = st.integers(1_300_000_000_000_000, 1_795_262_400_000_000)
when = st.one_of(
    milliseconds, microseconds, st.sampled_from(["", "0", "12", "-5", "9" * 19, "9" * 20, "+1", "now"])
).map(str)
trade_id = st.one_of(st.integers(0, 2**64).map(str), st.text("abc-1\u00e9 \\", max_size=4))
word = st.sampled_from(["True", "False", "true", "false", "maybe", ""])


def trade_line(layout: Layout) -> st.SearchStrategy[str]:
    by_column = {"time": when, "id": trade_id, "side": word, "price": number, "amount": number}
    return line_of(layout, by_column)


def candle_line(layout: Layout) -> st.SearchStrategy[str]:
    minute = st.one_of(st.integers(22_000_000, 29_900_000).map(lambda n: str(n * 60_000)), when)
    prices = st.sampled_from(["5", "5.0", "6", "4.99999", "7.1"])
    fields = dict.fromkeys(("open", "high", "low", "close"), prices)
    volumes = dict.fromkeys(("volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume"), number)
    return line_of(
        layout, {"time": minute, **fields, **volumes, "trades": st.one_of(st.integers(0, 10**6).map(str), number)}
    )


def line_of(layout: Layout, by_field: dict[str, st.SearchStrategy[str]]) -> st.SearchStrategy[str]:
    by_column = {layout.columns[field]: values for field, values in by_field.items()}
    line = st.tuples(*(by_column.get(name, st.just("0")) for name in layout.names)).map(",".join)
    return st.one_of(line, line, line, st.text('0,.x"', max_size=8))


EDGES = (0, 1_600_000_000 * SECOND + 1)
"""From where on rows are kept: all, or some of them."""


def read(layout: Layout, lines: list[str], *, exact: bool, edge_ns: int = 0) -> Read:
    reader = Reader(layout, list(layout.names), TARGET, kept_from_ns=edge_ns)
    reader._is_fast = not exact
    text = "".join(f"{line}\n" for line in lines).encode()
    return reader.read(Lines(text, 1, len(lines)))


def agree(layout: Layout, lines: list[str]) -> None:
    """Whole, and each line alone: alone, a good one is not hidden by a bad neighbour."""
    for part, edge_ns in product((lines, *([line] for line in lines)), EDGES):
        by_columns, by_line = (read(layout, part, exact=exact, edge_ns=edge_ns) for exact in (False, True))
        assert by_columns.block == by_line.block
        assert list(by_columns.numbers) == list(by_line.numbers)
        assert (by_columns.bad, by_columns.run) == (by_line.bad, by_line.run)
        assert by_columns.old == by_line.old == len(part) - by_line.block.rows - len(by_line.bad)
        assert not by_line.block.rows or by_line.block.first_ns >= edge_ns


@settings(max_examples=300, deadline=None)
@given(st.lists(trade_line(LAYOUTS["binance-trades"]), min_size=1, max_size=6))
def test_trades(lines: list[str]) -> None:
    agree(LAYOUTS["binance-trades"], lines)


@settings(max_examples=300, deadline=None)
@given(st.lists(candle_line(LAYOUTS["binance-klines"]), min_size=1, max_size=6))
def test_candles(lines: list[str]) -> None:
    agree(LAYOUTS["binance-klines"], lines)


@settings(max_examples=200, deadline=None)
@given(st.from_regex(r"1[0-9]{9}(\.[0-9]{0,10})?", fullmatch=True), good_number, good_number)
def test_seconds_with_a_fraction(at: str, price: str, amount: str) -> None:
    linear = LAYOUTS["bybit-linear-trades"]
    layout = structs.replace(linear, names=linear.wanted)
    values = {"timestamp": at, "trdMatchID": "a-1", "side": "Buy", "price": price, "size": amount}
    agree(layout, [",".join(values.get(name, "BTCUSDT") for name in layout.names)])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.booleans(), min_size=600, max_size=1_200), st.data())
def test_a_bad_line_is_found_however_the_block_is_halved(chosen: list[bool], data: st.DataObject) -> None:
    layout = LAYOUTS["binance-trades"]
    wrong = set(data.draw(st.lists(st.integers(0, len(chosen) - 1), max_size=3)))
    lines = [
        "rubbish" if place in wrong else f"{place},1.5,2,3,{1_700_000_000_000 + place},{maker},True"
        for place, maker in enumerate(chosen)
    ]
    by_columns, by_line = read(layout, lines, exact=False), read(layout, lines, exact=True)
    assert by_columns.block == by_line.block
    assert (by_columns.bad, by_columns.run) == (by_line.bad, by_line.run)
    assert [bad.number for bad in by_columns.bad] == sorted(place + 1 for place in wrong)
