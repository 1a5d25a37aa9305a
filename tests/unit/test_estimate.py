"""Rows and bytes a day, and what is kept of them."""

from itertools import pairwise

import pytest

from ingest.config.model import Book, Config, Retention
from ingest.estimate import ChannelEstimate, Estimate, estimate, is_major, row_bytes, rows_per_day
from ingest.records import Channel


def test_every_channel_of_a_major_and_an_ordinary_pair() -> None:
    config = Config(book=Book(depth=10, cadence_seconds=0.5), retention=Retention(quotes="forever", trades=7))
    channels: tuple[Channel, ...] = ("trades", "candles", "book", "quotes", "ticker")
    streams = [(channel, symbol) for symbol in ("BTC/USDT", "NKN/USDT") for channel in channels]
    assert estimate(config, streams) == Estimate(
        (
            ChannelEstimate("trades", "trades", 2, 1_030_000, 1_030_000 * 174, 7, 1_030_000 * 174 * 7),
            ChannelEstimate("candles", "candles_1m", 2, 2_880, 2_880 * 167, 730, 2_880 * 167 * 730),
            ChannelEstimate("book", "order_books", 2, 345_600, 345_600 * 726, 30, 345_600 * 726 * 30),
            ChannelEstimate("quotes", "quotes", 2, 3_100_000, 3_100_000 * 166, "forever", None),
            ChannelEstimate("ticker", "tickers", 2, 172_800, 0, None, 2 * 250),
        ),
        rows_per_day=4_651_280,
        bytes_per_day=1_030_000 * 174 + 2_880 * 167 + 345_600 * 726 + 3_100_000 * 166,
        kept_bytes=1_030_000 * 174 * 7 + 2_880 * 167 * 730 + 345_600 * 726 * 30 + 500,
    )


def test_the_channels_of_derivatives() -> None:
    config = Config(retention=Retention(liquidations=100))
    channels: tuple[Channel, ...] = ("funding", "open_interest", "mark_price", "liquidations")
    streams = [(channel, symbol) for symbol in ("BTC/USDT:USDT", "NKN/USDT:USDT") for channel in channels]
    assert estimate(config, streams).channels == (
        ChannelEstimate("funding", "funding_rates", 2, 2_880, 2_880 * 103, "forever", None),
        ChannelEstimate("open_interest", "open_interest", 2, 57_600, 57_600 * 101, 730, 57_600 * 101 * 730),
        ChannelEstimate("mark_price", "mark_prices", 2, 172_800, 172_800 * 103, 365, 172_800 * 103 * 365),
        ChannelEstimate("liquidations", "liquidations", 2, 2_100, 2_100 * 171, 100, 2_100 * 171 * 100),
    )


def test_nothing_takes_nothing() -> None:
    assert estimate(Config(), []) == Estimate((), 0, 0, 0)


@pytest.mark.parametrize(("cadence", "rows"), [(0.1, 864_000), (1.0, 86_400), (7.0, 12_343), (60.0, 1_440)])
def test_a_book_has_a_row_a_tick(cadence: float, rows: int) -> None:
    assert rows_per_day("book", "BTC/USDT", cadence_seconds=cadence) == rows


@pytest.mark.parametrize(
    ("depth", "size"), [(1, 239), (3, 346), (5, 453), (20, 1_213), (25, 1_447), (100, 2_292), (1_000, 18_571)]
)
def test_a_deeper_book_is_larger(depth: int, size: int) -> None:
    assert row_bytes("book", depth=depth) == size


def test_a_deeper_book_is_never_smaller_but_by_rounding() -> None:
    sizes = [row_bytes("book", depth=depth) for depth in range(1, 1_001)]
    assert all(more >= less - 1 for less, more in pairwise(sizes))


@pytest.mark.parametrize(
    ("symbol", "major"),
    [
        ("BTC/USDT", True),
        ("BTC/USDT:USDT", True),
        ("DOGE/USDC", True),
        ("BTC/EUR", False),
        ("NKN/USDT", False),
        ("USDT/BTC", False),
        ("WBTC/USDT", False),
    ],
)
def test_which_pairs_are_major(symbol: str, major: bool) -> None:
    assert is_major(symbol) is major
