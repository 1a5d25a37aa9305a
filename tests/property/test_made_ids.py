"""Trades without ids: each is stored once, however they come, or it is told where one may be missing.

Trades that say the same in one moment are the same but for their number, so that what counts is how many are stored.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import accumulate, pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.clock import MILLISECOND, SECOND
from ingest.exchanges import adapter_of
from ingest.exchanges import ccxt_frames as frames
from ingest.exchanges.adapter import Adapter, Options, Skipped
from ingest.records import Instrument, Stream, Trade

SYMBOL = "BTC/USDT"
STREAM = Stream(1, Instrument("bitbank", SYMBOL, "btc_usdt", "spot", "BTC", "USDT"), "trades")
START_MS = 1_795_262_400_000
NOW_NS = START_MS * MILLISECOND + 60 * SECOND

Told = tuple[int, str]
"""(milliseconds since the start, price)"""

tapes = st.lists(st.tuples(st.integers(0, 2), st.sampled_from("12")), min_size=1, max_size=40).map(
    lambda steps: list(zip(accumulate(step for step, _ in steps), (price for _, price in steps), strict=True))
)


VENUE = adapter_of("bitbank")  # once: ccxt is imported for it


def adapter() -> Adapter:
    return VENUE({SYMBOL: 1}, Options())


def frame(tape: Sequence[Told]) -> bytes:
    rows: list[frames.TradeRow] = [(None, START_MS + ms, "buy", price, "1") for ms, price in tape]
    return frames.encode(frames.Trades(SYMBOL, rows))


def likeness(trade: Trade) -> Told:
    return trade.time_ns // MILLISECOND - START_MS, trade.price


@settings(deadline=None)
@given(tape=tapes, cuts=st.lists(st.integers(0, 40), max_size=6))
def test_a_stream_and_a_page_give_the_same_ids(tape: list[Told], cuts: list[int]) -> None:
    (page, _), stream = adapter().decode_trades(frame(tape), 1, NOW_NS), adapter()
    bounds = sorted({0, len(tape), *(cut for cut in cuts if cut < len(tape))})
    streamed = [
        event
        for start, end in pairwise(bounds)
        for event in stream.decode(frame(tape[start:end]), NOW_NS)
        if isinstance(event, Trade)
    ]
    assert [trade.trade_id for trade in streamed] == [trade.trade_id for trade in page]
    assert len({trade.trade_id for trade in page}) == len(tape)


@settings(deadline=None)
@given(
    tape=tapes,
    polls=st.lists(st.integers(1, 40), min_size=1, max_size=8),
    limit=st.integers(1, 12),
    heeds=st.booleans(),
)
def test_polled_pages_of_any_length_lose_nothing_in_silence(
    tape: list[Told], polls: list[int], limit: int, heeds: bool
) -> None:
    """`heeds`: whether the exchange heeds the time that is asked for. It gives the latest `limit` at most."""
    venue = adapter()
    stored: dict[str, Told] = {}
    missed: list[tuple[int, int]] = []
    first: int | None = None
    shown = 0
    for poll in sorted(min(each, len(tape)) for each in polls):
        asked = dict(part.split("=") for part in venue.poll_request(STREAM).url.partition("?")[2].split("&"))
        since = int(asked.get("since", 0)) - START_MS if heeds else -1
        page, shown = [told for told in tape[:poll] if told[0] >= since][-limit:], poll
        first = page[0][0] if first is None else first
        for event in venue.decode_poll(STREAM, frame(page), NOW_NS):
            if isinstance(event, Trade):
                assert event.trade_id not in stored
                stored[event.trade_id] = likeness(event)
            elif isinstance(event, Skipped):
                missed.append((event.from_ns // MILLISECOND - START_MS, event.to_ns // MILLISECOND - START_MS))
    truth, found = Counter(tape[:shown]), Counter(stored.values())
    assert found <= truth
    assert first is not None
    for ms, price in truth - found:  # of the first page's first moment, too, a part may have been before the start
        assert ms <= first or any(since <= ms <= until for since, until in missed), (ms, price)


@settings(deadline=None)
@given(tape=tapes, cuts=st.tuples(st.integers(0, 40), st.integers(0, 40)))
def test_two_lines_in_turn_lose_nothing_in_silence(tape: list[Told], cuts: tuple[int, int]) -> None:
    """The second begins before the first ends, both anywhere within a moment: what they do not show is told."""
    begun, ended = sorted(min(cut, len(tape)) for cut in cuts)
    stored: dict[str, Told] = {}
    told: list[tuple[int, int]] = []
    for part in (tape[:ended], tape[begun:]):
        for event in adapter().decode(frame(part), NOW_NS) if part else ():
            if isinstance(event, Trade):
                stored[event.trade_id] = likeness(event)
            elif isinstance(event, Skipped):
                told.append((event.from_ns // MILLISECOND - START_MS, event.to_ns // MILLISECOND - START_MS))
    truth, found = Counter(tape), Counter(stored.values())
    assert found <= truth
    assert all(any(since <= ms <= until for since, until in told) for ms, _ in truth - found)
