"""Candles made from trades, against another reading of the same trades in decimal arithmetic."""

from decimal import Context, Decimal, localcontext

from hypothesis import given
from hypothesis import strategies as st

from ingest.clock import MILLISECOND, MINUTE, SECOND
from ingest.digits import places, plain, scaled, sum_of_products
from ingest.records import Candle, CandleSource, Side, Trade
from ingest.repair.fold import fold

START = 1_795_262_400 * SECOND // MINUTE * MINUTE
EXACT = Context(prec=400)

amounts = st.one_of(
    st.decimals(min_value="0.00000001", max_value="99999999", places=8).map(lambda number: f"{number:f}"),
    st.integers(1, 10**15).map(str),
    st.builds(lambda zeros, number: f"0.{'0' * zeros}{number}", st.integers(0, 20), st.integers(1, 10**6)),
    st.sampled_from(["1.0", "1.00", "100", "0.10", "00.1", "1."]),
)
sides: st.SearchStrategy[Side | None] = st.sampled_from(["buy", "sell", "buy", "sell", None])


@st.composite
def tapes(draw: st.DrawFn) -> list[Trade]:
    """Trades in order, several in a moment, with minutes between that have none."""
    time_ns, trades = START, list[Trade]()
    for number in range(draw(st.integers(0, 30))):
        time_ns += draw(st.sampled_from([0, MILLISECOND, 7 * SECOND, MINUTE, 3 * MINUTE]))
        figures = draw(amounts), draw(amounts)
        trades.append(Trade(1, time_ns, str(number), draw(sides), *figures, START + number))
    return trades


def reference(trades: list[Trade]) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = []
    for open_ns in sorted({trade.time_ns // MINUTE * MINUTE for trade in trades}):
        of_it = [trade for trade in trades if open_ns <= trade.time_ns < open_ns + MINUTE]
        prices = [Decimal(trade.price) for trade in of_it]
        bought = [trade for trade in of_it if trade.side == "buy"]
        known = None not in [trade.side for trade in of_it]
        found.append(
            (
                *(open_ns, prices[0], max(prices), min(prices), prices[-1]),
                sum((Decimal(trade.amount) for trade in of_it), Decimal()),
                sum((Decimal(trade.amount) * Decimal(trade.price) for trade in of_it), Decimal()),
                len(of_it),
                sum((Decimal(trade.amount) for trade in bought), Decimal()) if known else None,
                sum((Decimal(trade.amount) * Decimal(trade.price) for trade in bought), Decimal()) if known else None,
            )
        )
    return found


def read(candle: Candle) -> tuple[object, ...]:
    texts = (candle.open, candle.high, candle.low, candle.close, candle.volume, candle.quote_volume)
    taken = (candle.taker_buy_volume, candle.taker_buy_quote_volume)
    assert all(plain(text) for text in (*texts, *taken) if text is not None)
    numbers = [None if text is None else Decimal(text) for text in (*texts, *taken)]
    return (candle.time_ns, *numbers[:6], candle.trades, *numbers[6:])


@given(trades=tapes())
def test_candles_of_trades_are_those_of_another_reading(trades: list[Trade]) -> None:
    with localcontext(EXACT):
        candles = fold(trades)
        assert [read(candle) for candle in candles] == reference(trades)
    digits = {trade.price for trade in trades}
    for candle in candles:
        assert {candle.open, candle.high, candle.low, candle.close} <= digits  # as the venue wrote them
        assert candle.source is CandleSource.TRADES
        received = [trade.received_ns for trade in trades if trade.time_ns // MINUTE * MINUTE == candle.time_ns]
        assert (candle.instrument_id, candle.received_ns) == (1, max(received))


@given(terms=st.lists(st.lists(amounts, min_size=1, max_size=3).map(tuple), max_size=20))
def test_a_sum_of_products_is_exact_and_plain(terms: list[tuple[str, ...]]) -> None:
    text = sum_of_products(terms)
    with localcontext(EXACT):
        expected = Decimal()
        for factors in terms:
            product = Decimal(1)
            for factor in factors:
                product *= Decimal(factor)
            expected += product
        assert Decimal(text) == expected
    assert plain(text)
    assert not text.endswith(".")


@given(texts=st.lists(amounts, min_size=1))
def test_numbers_of_one_scale_are_in_the_order_of_decimals(texts: list[str]) -> None:
    behind = max(map(places, texts))
    assert sorted(texts, key=lambda text: scaled(text, behind)) == sorted(texts, key=Decimal)
