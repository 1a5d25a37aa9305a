"""The market is a pure state machine: the same seed and steps, the same events; and its book is never crossed."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.simulator.history import History
from ingest.simulator.listing import DEFAULT_SYMBOLS, UNIT, Listing, listings, text
from ingest.simulator.market import Batch, Dynamics, Market

START_US = 1_760_000_015_000_000
LISTED = listings(DEFAULT_SYMBOLS)


def market(seed: int = 7, *, levels: int = 60, rate: float = 3_000.0, burst: float = 5.0) -> Market:
    histories = [History(listing, seed, START_US, 60, 5) for listing in LISTED]
    return Market(
        LISTED,
        seed,
        START_US,
        Dynamics(trades_per_second=rate, burst=burst, book_levels=levels),
        mids=tuple(past.close for past in histories),
        first_ids=tuple(past.next_id for past in histories),
    )


def run(made: Market, steps: int) -> list[Batch]:
    return [batch for step in range(1, steps + 1) for batch in made.step(START_US + step * made.tick_us)]


def test_the_same_seed_and_steps_give_the_same_events() -> None:
    first, again, other = run(market(), 200), run(market(), 200), run(market(seed=8), 200)
    assert first == again
    assert sum(len(batch.times) for batch in first) > 1_000
    assert first != other


def test_an_instrument_does_not_depend_on_its_neighbours() -> None:
    past = History(LISTED[0], 7, START_US, 60, 5)
    alone = Market(
        LISTED[:1],
        7,
        START_US,
        Dynamics(trades_per_second=1_500.0, book_levels=60),
        mids=(past.close,),
        first_ids=(past.next_id,),
    )
    together = [batch for batch in run(market(), 100) if batch.index == 0]
    assert run(alone, 100) == together


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), levels=st.integers(25, 200), rate=st.floats(0.0, 20_000.0), burst=st.floats(1, 20))
def test_the_book_is_never_crossed_and_moves_with_the_trades(seed: int, levels: int, rate: float, burst: float) -> None:
    made = market(seed, levels=levels, rate=rate, burst=burst)
    replayed = [dict(pit.book.levels) for pit in made.pits]
    sequences = [pit.book.sequence for pit in made.pits]
    for step in range(1, 40):
        for batch in made.step(START_US + step * made.tick_us):
            for key, lots in zip(batch.changed, batch.amounts, strict=True):
                assert lots >= 0
                if lots:
                    replayed[batch.index][key] = lots
                else:
                    del replayed[batch.index][key]
            sequences[batch.index] += len(batch.changed)
            assert batch.sequence == sequences[batch.index]
        for pit, levels_now in zip(made.pits, replayed, strict=True):
            assert pit.book.levels == levels_now
            bids, asks = [key for key in levels_now if key > 0], [-key for key in levels_now if key < 0]
            assert max(bids) < min(asks)
            assert (sorted(bids), sorted(-ask for ask in asks)) == (pit.book.bids, pit.book.asks)


def test_ids_are_contiguous_and_times_stay_in_their_step() -> None:
    made = market(rate=20_000.0)
    next_ids = [(pit.next_id, pit.next_aggregate) for pit in made.pits]
    shared = 0
    last_us = [0] * len(LISTED)
    for batch in run(made, 150):
        trade_id, aggregate_id = next_ids[batch.index]
        assert (batch.first_id, batch.first_aggregate) == (trade_id, aggregate_id)
        next_ids[batch.index] = (trade_id + len(batch.times), aggregate_id + len(batch.aggregates))
        if not batch.times:
            continue
        assert batch.times == sorted(batch.times)
        assert last_us[batch.index] <= batch.times[0]
        last_us[batch.index] = batch.times[-1]
        assert batch.time_us - made.tick_us <= batch.times[0]
        assert batch.times[-1] < batch.time_us
        assert batch.times[0] // 1_000_000 == batch.times[-1] // 1_000_000
        assert min(batch.prices) > 0
        assert min(batch.lots) > 0
        shared += sum(one == two for one, two in pairwise(batch.times))
        assert batch.aggregates[0] == 0
        for start, end in pairwise([*batch.aggregates, len(batch.times)]):
            run_of = {
                (
                    batch.prices[at],
                    batch.makers[at],
                    batch.times[at],
                    (batch.sellers, batch.buyers)[1 - batch.makers[at]][at],
                )
                for at in range(start, end)
            }
            assert len(run_of) == 1  # one price and one taker order
    assert shared > 100
    assert [(pit.next_id, pit.next_aggregate) for pit in made.pits] == next_ids


def test_the_rate_is_the_total_outside_bursts() -> None:
    total = sum(len(batch.times) for batch in run(market(rate=5_000.0, burst=1.0), 500))
    assert total == pytest.approx(25_000, rel=0.02)


def test_a_burst_on_command_comes_whole_in_one_step() -> None:
    made = market(rate=1.0, burst=1.0, levels=300)
    made.burst(0, 40_000)
    (batch,) = [batch for batch in made.step(START_US + made.tick_us) if batch.index == 0]
    assert len(batch.times) == 40_000
    assert batch.times == sorted(batch.times)


def test_the_market_refuses_to_go_back_or_off_its_grid() -> None:
    made = market()
    with pytest.raises(ValueError, match="grid"):
        made.step(START_US)
    with pytest.raises(ValueError, match="grid"):
        made.step(START_US + made.tick_us + 1)


def test_numbers_are_printed_with_eight_decimals() -> None:
    assert [text(0), text(1), text(UNIT), text(-UNIT - 1)] == ["0.00000000", "0.00000001", "1.00000000", "-1.00000001"]
    assert LISTED[0].price(6_543_210) == "65432.10000000"


def test_an_inexact_listing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"A/B: a tick times a lot"):
        Listing("A", "B", 1_000, 10_000, 1_000, 1)
    with pytest.raises(ValueError, match="BASE/QUOTE"):
        listings(("BTCUSDT",))
    for names in ((), ("BTC/USDT", "BTC/USDT")):
        with pytest.raises(ValueError, match="none twice"):
            listings(names)


def test_500_synthetic_instruments_are_all_different() -> None:
    found = listings((), 500)
    assert len({listing.native for listing in found}) == 500
    assert found[0].symbol == "SIM000/USDT"
