"""The ledger's candles, books and history against readings of its trades and changes that share no code with it."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.simulator.candles import INTERVALS, MINUTE_US, following, opening
from ingest.simulator.history import History
from ingest.simulator.ledger import LedgerCandle, LedgerTrade
from ingest.simulator.listing import KNOWN
from ingest.simulator.market import Dynamics
from ingest.simulator.venue import Venue, VenueConfig

START_US = 1_760_000_015_000_000  # 08:53:35, in the middle of a minute


def venue(*, start_us: int = START_US, rate: float = 30.0, seed: int = 7, minutes: int = 120) -> Venue:
    return Venue(
        VenueConfig(
            symbols=("BTC/USDT", "SOL/USDT"),
            seed=seed,
            start_us=start_us,
            realtime=False,
            history_minutes=minutes,
            history_trades_per_minute=4,
            dynamics=Dynamics(trades_per_second=rate, book_levels=40, tick_us=100_000),
        )
    )


def run(made: Venue, seconds: int) -> Venue:
    for _ in range(seconds * 10):
        made.tick()
    return made


def gathered(trades: list[LedgerTrade], open_us: int, end_us: int, before: str) -> LedgerCandle:
    """A candle by plain decimal sums, `before` being the last price before it."""
    inside = [trade for trade in trades if open_us <= trade.time_us < end_us]
    prices = [Decimal(trade.price) for trade in inside] or [Decimal(before)]
    bought = [trade for trade in inside if trade.side == "buy"]
    return LedgerCandle(
        open_us,
        f"{prices[0]:.8f}",
        f"{max(prices):.8f}",
        f"{min(prices):.8f}",
        f"{prices[-1]:.8f}",
        f"{sum((Decimal(trade.amount) for trade in inside), Decimal()):.8f}",
        f"{sum((Decimal(trade.amount) * Decimal(trade.price) for trade in inside), Decimal()):.8f}",
        len(inside),
        f"{sum((Decimal(trade.amount) for trade in bought), Decimal()):.8f}",
        f"{sum((Decimal(trade.amount) * Decimal(trade.price) for trade in bought), Decimal()):.8f}",
        inside[0].id if inside else -1,
        inside[-1].id if inside else -1,
    )


@pytest.mark.parametrize("interval", ["1s", "1m", "3m", "5m", "15m", "1h"])
@pytest.mark.parametrize("rate", [30.0, 0.05])
def test_candles_equal_their_trades_in_the_history_and_live(interval: str, rate: float) -> None:
    made = run(venue(rate=rate), 400)
    for symbol in ("BTCUSDT", "SOLUSDT"):
        trades = list(made.ledger.trades(symbol, 1))
        history_us = made.ledger.tapes[0].history.start_us
        candles = list(made.ledger.candles(symbol, interval, history_us))[-400:]
        assert candles[-1].open_time_us == opening(interval, made.market.time_us - INTERVALS[interval])
        for candle in candles:
            earlier = [trade.price for trade in trades if trade.time_us < candle.open_time_us]
            before = earlier[-1] if earlier else candle.open
            end_us = following(interval, candle.open_time_us)
            assert candle == gathered(trades, candle.open_time_us, end_us, before)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1_000), offset=st.integers(0, 3_600 * 10))
def test_trades_are_one_sequence_through_the_start(seed: int, offset: int) -> None:
    start_us = START_US + offset * 100_000
    made = run(venue(seed=seed, start_us=start_us, minutes=70), 5)
    tape = made.ledger.tapes[0]
    trades = list(tape.trades(1, tape.next_id))
    assert [trade.id for trade in trades] == list(range(1, tape.next_id))
    times = [trade.time_us for trade in trades]
    assert times == sorted(times)
    assert all((trade.time_us < start_us) == (trade.id < tape.first_live_id) for trade in trades)
    for trade in trades[:: len(trades) // 7]:
        assert tape.first_id_at(trade.time_us) <= trade.id
        assert tape.first_id_at(trade.time_us + 1) > trade.id
        assert list(tape.trades(trade.id, trade.id + 3)) == trades[trade.id - 1 : trade.id + 2]


def test_aggregates_hold_every_trade_once() -> None:
    made = run(venue(rate=300.0), 10)
    tape = made.ledger.tapes[0]
    runs = list(tape.aggregates(1, tape.next_aggregate))
    assert [one.id for one in runs] == list(range(1, tape.next_aggregate))
    assert len(runs) < tape.next_id - 1
    expected = 1
    for one in runs:
        assert one.first_id == expected
        parts = list(tape.trades(one.first_id, one.last_id + 1))
        assert {(part.price, part.maker, part.time_us) for part in parts} == {(one.price, one.maker, one.time_us)}
        assert sum(part.lots for part in parts) == one.lots
        expected = one.last_id + 1
    assert expected == tape.next_id


def test_a_book_at_any_sequence_equals_a_replay_of_the_changes() -> None:
    made = venue(rate=300.0)
    trail = made.ledger.trails[0]
    levels = dict(made.market.pits[0].book.levels)
    run(made, 5)
    expected = {}
    for sequence in range(trail.base + 1, trail.sequence + 1):
        bids, asks = trail.changes(sequence - 1, sequence)
        ((sign, (price, lots)),) = [(1, level) for level in bids] + [(-1, level) for level in asks]
        if lots:
            levels[sign * price] = lots
        else:
            del levels[sign * price]
        top_bids = sorted((key for key in levels if key > 0), reverse=True)[:5]
        top_asks = sorted(-key for key in levels if key < 0)[:5]
        expected[sequence] = [(key, levels[key]) for key in top_bids], [(key, levels[-key]) for key in top_asks]
    assert len(expected) > 500
    asked = sorted(expected, key=lambda sequence: sequence * 7_919 % 1_009)  # in no order
    states = trail.states(asked, 5)
    assert [state.sequence for state in states] == asked
    assert {state.sequence: (state.bids, state.asks) for state in states} == expected
    with pytest.raises(ValueError, match="outside"):
        trail.states([trail.sequence + 1], 5)


def test_history_is_the_same_from_any_side_and_some_minutes_are_empty() -> None:
    listing = KNOWN["ETH/USDT"]
    year, again = History(listing, 3, START_US, 525_600, 10), History(listing, 3, START_US, 525_600, 10)
    middle_us = START_US - 200 * 24 * 60 * MINUTE_US
    hour = year.hour(middle_us)
    again.hour(START_US - 1)
    assert again.hour(middle_us) == hour
    assert year.hour_of_id(hour.first_id) == hour
    assert hour.prices[-1] == year.hour(hour.start_us + 60 * MINUTE_US).open
    assert hour.first_id + 600 == year.hour(hour.start_us + 60 * MINUTE_US).first_id
    minutes = [year.minute(hour.start_us + at * MINUTE_US) for at in range(300)]
    assert sum(minute.trades for minute in minutes) == 5 * 600
    assert any(minute.trades == 0 for minute in minutes)
    assert year.next_id > 5_000_000


def test_the_grid_of_weeks_and_months() -> None:
    assert opening("1w", START_US) == 1_759_708_800_000_000  # Monday 2025-10-06
    assert opening("1M", START_US) == 1_759_276_800_000_000  # 2025-10-01
    assert following("1M", 1_759_276_800_000_000) == 1_761_955_200_000_000  # 2025-11-01


def test_the_summary_counts() -> None:
    made = run(venue(), 130)
    summary = made.ledger.summary()
    first = summary.symbols[0]
    assert summary.trades == sum(symbol.trades for symbol in summary.symbols) > 0
    assert first.last_trade_id - first.first_trade_id + 1 == first.trades == len(list(made.ledger.trades("BTC/USDT")))
    assert first.closed_minutes == 2 == len(list(made.ledger.candles("BTCUSDT")))
