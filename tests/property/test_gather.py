"""Trades by their times, from histories of every kind: whatever the pages' size, none is passed over or doubled."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from ingest.clock import MICROSECOND, SECOND
from ingest.exchanges.adapter import Bad, History, Options, Request
from ingest.exchanges.binance import Binance
from ingest.exchanges.rest import Reply
from ingest.records import Instrument, Trade
from ingest.repair import gather as module
from ingest.repair.gather import gather, page_of
from ingest.store.window import Window

BTC = Instrument("binance", "BTC/USDT", "BTCUSDT", "spot", "BTC", "USDT")
START = 1_795_262_400 * SECOND


class Venue(Binance):
    """Pages of at most `page` trades between two times, both inclusive, from the lower end up or the upper one down."""

    def __init__(self, history: History, trades: Sequence[Trade], page: int) -> None:
        super().__init__({"BTCUSDT": 1}, Options())
        self.history = history
        self.limits = structs.replace(Binance.limits, trades_page=page)
        self.trades = trades
        self.asked = 0
        self.cut: dict[int, int] = {}  # rows that are left of a page, by its number, from 1

    def trades_request(self, _instrument: Instrument, *, start: int | None, end: int | None, limit: int) -> Request:
        return Request(f"{start} {end} {limit}", 1)

    def decode_trades(self, body: bytes, _instrument_id: int, _received_ns: int) -> tuple[list[Trade], list[Bad]]:
        start, _end, limit = map(int, body.split())
        if self.history.by == "recent":
            return list(self.trades[-limit:]), []
        found = [trade for trade in self.trades if trade.time_ns >= start]
        return found[: self.cut.get(self.asked, limit)], []  # such venues know no end

    async def fetch(self, request: Request) -> Reply:
        self.asked += 1
        return Reply(request.url.encode(), START + 10_000 * SECOND, None)


def trade(number: int, micros: int) -> Trade:
    return Trade(1, START + micros * MICROSECOND, str(number), "buy", "1", "1", START)


async def all_of(venue: Venue, window: Window) -> list[Trade]:
    """What repair stores of a window, as it goes on with what is left of it."""
    stored: list[Trade] = []
    while True:
        page = page_of(window, await gather(venue.fetch, venue, BTC, window))
        assert page.absent == ()
        stored += [row for row in page.rows if isinstance(row, Trade)]
        if page.rest is None:
            return stored
        assert page.open_seconds == 0.0
        assert (page.rest.first, page.rest.from_ns) > (window.first, window.from_ns)
        window = page.rest


@given(
    gaps=st.lists(st.integers(0, 4), min_size=1, max_size=80),
    page=st.integers(5, 9),
    most=st.integers(2, 6),
    ids=st.booleans(),
    bounds=st.tuples(st.integers(0, 79), st.integers(0, 79)),
)
def test_all_of_a_window_and_nothing_twice(
    gaps: list[int], page: int, most: int, ids: bool, bounds: tuple[int, int]
) -> None:
    moments: list[int] = []
    now = 0
    for gap in gaps:
        now += max(gap, 1) if moments[-4:].count(now) >= 4 else gap  # fewer of one moment than a page holds
        moments.append(now)
    trades = [trade(number, micros) for number, micros in enumerate(moments, 1)]
    first, last = sorted(min(bound, len(trades) - 1) for bound in bounds)
    within = trades[first : last + 1]
    times = within[0].time_ns, within[-1].time_ns
    numbers = (first + 1, last + 1) if ids else (None, None)
    if not ids:
        within = [each for each in trades if times[0] <= each.time_ns <= times[1]]
    venue = Venue(History("time"), trades, page)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_PAGES_MAX", most)
        stored = asyncio.run(all_of(venue, Window(1, "trades", *times, *numbers)))
    assert [each.trade_id for each in stored] == [each.trade_id for each in within]


def test_a_history_of_the_latest_trades_tells_where_it_begins() -> None:
    trades = [trade(number, 10 * number) for number in range(1, 101)]
    venue = Venue(History("recent"), trades, 60)
    whole = Window(1, "trades", trades[50].time_ns, trades[90].time_ns)
    page = page_of(whole, asyncio.run(gather(venue.fetch, venue, BTC, whole)))
    assert [row.trade_id for row in page.rows if isinstance(row, Trade)] == [str(n) for n in range(51, 92)]
    assert (page.absent, page.rest, venue.asked) == ((), None, 1)
    longer = structs.replace(whole, from_ns=trades[9].time_ns)
    page = page_of(longer, asyncio.run(gather(venue.fetch, venue, BTC, longer)))
    ((absent, why),) = [(each.window, each.why) for each in page.absent]
    assert (why, absent.from_ns, absent.to_ns) == ("forgotten", trades[9].time_ns, trades[40].time_ns)
    assert [row.trade_id for row in page.rows if isinstance(row, Trade)] == [str(n) for n in range(41, 92)]


@given(cut=st.dictionaries(st.integers(1, 12), st.integers(0, 4), max_size=2), empty=st.booleans())
def test_pages_that_are_cut_short_pass_nothing_over(cut: dict[int, int], *, empty: bool) -> None:
    """Also where nothing is left of a page, or but the trade that it overlaps by; two in a row are not believed."""
    venue = Venue(History(by="time"), [trade(number, 10 * number) for number in range(30)], 5)
    venue.cut = dict.fromkeys(cut, 0) if empty else cut
    window = Window(1, "trades", START + 20 * MICROSECOND, START + 250 * MICROSECOND)
    assert asyncio.run(all_of(venue, window)) == venue.trades[2:26]


@pytest.mark.parametrize(("ended_seconds", "calls"), [(9_000, 1), (3_000, 3)])
def test_where_nothing_follows_is_asked_again_of_times_long_over(ended_seconds: int, calls: int) -> None:
    venue = Venue(History(by="time"), [], 5)
    window = Window(1, "trades", START, START + ended_seconds * SECOND)
    assert asyncio.run(all_of(venue, window)) == []
    assert venue.asked == calls
