"""What every adapter owes the rest of the program, tried with frames of its venue (`evidence.VENUES`).

The adapters' own tests say what a frame means. Here any adapter is held to the contract of
`ingest.exchanges.adapter`: frames are decoded, ignored for a reason or rejected; digits are the venue's; ids, times and
books keep what is promised; subscriptions and requests stay within the limits.
"""

import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import Any, get_args
from urllib.parse import urlsplit

import pytest
from msgspec import Struct, structs

from ingest import digits
from ingest.clock import MINUTE, SECOND
from ingest.collect.feed import Feed, Wants
from ingest.errors import Rejected, Retryable
from ingest.exchanges import ADAPTERS, adapter_of
from ingest.exchanges.adapter import Ack, Adapter, Bad, Event, Ignored, Options, Request, Shutdown, Skipped
from ingest.exchanges.limiter import Limiter
from ingest.records import (
    CHANNEL_OF,
    BookDelta,
    BookState,
    CandleSource,
    Channel,
    Gap,
    Instrument,
    Levels,
    Mark,
    OrderBook,
    Promise,
    Reject,
    Stream,
)
from ingest.store.rows import TABLES
from tests.exchanges.evidence import THROUGH_CCXT, VENUES, Recording, Sample, Step, Venue, ids

EVENTS = (*CHANNEL_OF, BookDelta, BookState, Ack, Bad, Ignored, Reject, Shutdown, Skipped)
WORDS = ("side",)  # fields of rows that are text and no figure
MUTANTS = 60
SEED = 20_261_121

EVERY = VENUES | THROUGH_CCXT

SAMPLES = [
    pytest.param(name, sample, id=f"{name}-{sample.instrument.kind}-{sample.channel}")
    for name, venue in EVERY.items()
    for sample in venue().samples
]
RECORDINGS = [
    pytest.param(name, recording, id=recording.file)
    for name, venue in VENUES.items()
    for recording in venue().recordings
]
by_venue = pytest.mark.parametrize("venue", [venue() for venue in EVERY.values()], ids=list(EVERY))
by_own_adapter = pytest.mark.parametrize("venue", [venue() for venue in VENUES.values()], ids=list(VENUES))
by_sample = pytest.mark.parametrize(("name", "sample"), SAMPLES)
by_recording = pytest.mark.parametrize(("name", "recorded"), RECORDINGS)


def made(venue: type[Adapter], *instruments: Instrument, options: Options | None = None) -> Adapter:
    return venue(ids(venue, instruments), options or Options())


def decoded(adapter: Adapter, frame: bytes, received_ns: int) -> Sequence[Event]:
    """What it says, with what the contract asks of any answer; nothing where it is rejected."""
    try:
        found = adapter.decode(frame, received_ns)
    except Rejected:
        return ()
    assert found, "a frame that says nothing is ignored for a reason"
    for event in found:
        assert isinstance(event, EVENTS)
        assert not isinstance(event, Ignored) or event.reason
        assert not isinstance(event, Ack) or event.request_id >= 0
    return found


def figures(event: Event) -> list[str]:
    """The decimals of an event."""
    if isinstance(event, BookDelta | BookState):
        return [text for side in (event.bids, event.asks) for level in side for text in level]
    if type(event) not in CHANNEL_OF:
        return []
    fields = structs.asdict(event)
    return [value for name, value in fields.items() if isinstance(value, str) and name not in WORDS]


def stored(event: Event) -> bytes:
    """Its row: what every record of a table must become."""
    return TABLES[type(event)].encode([event]) if type(event) in TABLES else b""


# The table


def test_every_adapter_has_evidence_of_every_channel_that_it_streams() -> None:
    assert VENUES.keys() == ADAPTERS.keys()
    for name, of in VENUES.items():
        venue = of()
        shown = {(sample.instrument.kind, sample.channel) for sample in venue.samples}
        adapter = made(venue.adapter)
        assert venue.adapter is ADAPTERS[name]
        assert {instrument.kind for instrument in venue.instruments} == set(adapter.kinds)
        assert shown == {
            (instrument.kind, channel)
            for instrument in venue.instruments
            for channel in adapter.channels(instrument)
            if channel not in adapter.polled(instrument)
        }


def test_any_other_exchange_has_evidence_of_every_channel_that_it_streams() -> None:
    for name, of in THROUGH_CCXT.items():
        venue = of()
        assert venue.adapter is adapter_of(name)
        assert name not in ADAPTERS
        adapter = made(venue.adapter)
        assert {(sample.instrument.kind, sample.channel) for sample in venue.samples} == {
            (instrument.kind, channel)
            for instrument in venue.instruments
            for channel in adapter.channels(instrument)
            if channel not in adapter.polled(instrument)
        }


@by_venue
def test_channels_promises_and_id_spaces(venue: Venue) -> None:
    adapter = made(venue.adapter)
    offered = {channel for instrument in venue.instruments for channel in adapter.channels(instrument)}
    assert offered <= set(get_args(Channel))
    assert set(adapter.promises) == offered or (adapter.exchange not in ADAPTERS and offered <= set(adapter.promises))
    assert set(adapter.promises.values()) <= set(get_args(Promise))
    for channel in offered:
        assert adapter.id_space(channel)
    for instrument in venue.instruments:
        polled = adapter.polled(instrument)
        assert set(polled) <= set(adapter.channels(instrument))
        assert all(seconds > 0 for seconds in polled.values())


# Frames


@by_sample
def test_a_sample_is_rows_of_its_channel_with_the_digits_of_the_frame(name: str, sample: Sample) -> None:
    venue = EVERY[name]()
    adapter = made(venue.adapter, sample.instrument)
    stream = Stream(1, sample.instrument, sample.channel)
    adapter.url([stream])
    adapter.subscribe([stream], 1)
    found: list[Event] = []
    for number, frame in enumerate(sample.frames):
        assert adapter.stream_of(frame) == (1, sample.channel)
        events = adapter.decode(frame, venue.now_ns)
        told = b"".join(sample.frames[: number + 1])  # a candle that is over was said before
        for event in events:
            assert all(text.encode() in told for text in figures(event))
            assert stored(event) or type(event) not in CHANNEL_OF
        found += events
    rows = [event for event in found if not isinstance(event, Ignored)]
    kinds = {BookDelta: "book", BookState: "book", **CHANNEL_OF}
    assert {(kinds[type(row)], row.instrument_id) for row in rows} == {(sample.channel, 1)}  # type: ignore[union-attr]


@by_sample
def test_a_book_or_candle_or_trade_of_a_sample_keeps_the_promise(name: str, sample: Sample) -> None:
    venue = EVERY[name]()
    adapter = made(venue.adapter, sample.instrument)
    feed, _ = followed(adapter, [Stream(1, sample.instrument, sample.channel)], venue.now_ns)
    for frame in sample.frames:
        feed.feed.take(adapter, frame, venue.now_ns)
        assert not feed.feed.rejected
        if feed.wanted and sample.snapshot is not None:
            feed.wanted.clear()
            feed.feed.join(adapter.decode_book(sample.snapshot, 1, 20, venue.now_ns))
    if sample.channel == "book":
        book = feed.feed.books[1]
        assert book.in_sync, book.cause
        assert not feed.wanted
    assert not [item for item in feed.items if isinstance(item, Gap | Reject)]
    assert not feed.feed.rejected


@by_recording
def test_a_recording_is_decoded_or_ignored_and_its_digits_are_the_frames(name: str, recorded: Recording) -> None:
    venue = ADAPTERS[name]
    adapter = made(venue, *recorded.instruments, options=recorded.options)
    counts: Counter[Channel] = Counter()
    seen: list[bytes] = []
    for step in present(recorded):
        if step.url:
            events = adapter.decode_reply(step.url, step.payload, step.time_ns)
        else:
            events = adapter.decode(step.payload, step.time_ns)
        assert events
        seen.append(step.payload)
        for event in events:
            assert isinstance(event, EVENTS)
            assert not isinstance(event, Reject), event
            assert all(_said(text.encode(), seen) for text in figures(event))
            assert not (isinstance(event, BookDelta) and not event.event_ns), "something is missing before it"
            if (channel := CHANNEL_OF.get(type(event))) is not None:
                counts[channel] += 1
            elif isinstance(event, BookDelta | BookState):
                counts["book"] += 1
    assert set(counts) == set(recorded.channels)


def _said(text: bytes, frames: Sequence[bytes]) -> bool:
    """In the latest frame, nearly always; else in one before."""
    return any(text in frame for frame in reversed(frames))


@by_recording
def test_ids_times_and_books_of_a_recording_keep_what_is_promised(name: str, recorded: Recording) -> None:
    venue = ADAPTERS[name]
    adapter = made(venue, *recorded.instruments, options=recorded.options)
    streams = [
        Stream(number, instrument, channel)
        for number, instrument in enumerate(recorded.instruments, 1)
        for channel in recorded.channels
    ]
    first = next(present(recorded)).time_ns
    bench, checked = followed(adapter, streams, first)
    for step in present(recorded):
        if step.url:
            bench.feed.take_reply(adapter, step.url, step.payload, step.time_ns)
        else:
            bench.feed.take(adapter, step.payload, step.time_ns)
    deltas = bench.feed.kinds["BookDelta"]
    assert not bench.feed.rejected
    for book in bench.feed.books.values():
        assert book.in_sync, book.cause
    if adapter.books.snapshot == "stream":
        assert not bench.wanted, "a book has lost its way"
        assert not [item for item in bench.items if isinstance(item, Gap)]
    assert checked["verified"] == recorded.checksums
    assert deltas or "book" not in recorded.channels
    for channel, promise in adapter.promises.items():
        rows = [item for item in bench.items if CHANNEL_OF.get(type(item)) == channel and channel in recorded.channels]
        for number in range(1, len(recorded.instruments) + 1):
            _kept(promise, [row for row in rows if row.instrument_id == number])


def _kept(promise: Promise, rows: Sequence[Any]) -> None:
    """What the rows of one stream must be like."""
    if promise == "ids":
        numbers = [int(row.trade_id) for row in rows]
        assert numbers == [*range(numbers[0], numbers[0] + len(numbers))] if numbers else True
    elif promise == "grid":
        assert all(row.time_ns % MINUTE == 0 for row in rows)
    if promise != "none" and not (rows and isinstance(rows[0], OrderBook)):
        assert all(before.time_ns <= after.time_ns for before, after in pairwise(rows))
    if rows and isinstance(rows[0], OrderBook):
        assert [row.time_ns for row in rows] == sorted({row.time_ns for row in rows})
        sequences = [row.sequence for row in rows]
        assert sequences == sorted(sequences)


# Frames that no venue should send


@by_sample
def test_a_spoilt_frame_is_decoded_ignored_or_rejected_and_the_next_good_one_is_taken(
    name: str, sample: Sample
) -> None:
    """Nothing else is raised, by `stream_of` neither, and what comes of it can be stored."""
    venue = EVERY[name]()
    chance = random.Random(f"{SEED} {name} {sample.channel}")  # noqa: S311 - the same frames each time
    stream = Stream(1, sample.instrument, sample.channel)
    good = run(made(venue.adapter, sample.instrument), sample, venue)
    adapter, other = (made(venue.adapter, sample.instrument) for _ in range(2))
    bench, _ = followed(other, [stream], venue.now_ns)
    adapter.url([stream])
    adapter.subscribe([stream], 1)
    for number, frame in enumerate(sample.frames):
        for spoilt in mutants(frame, chance, MUTANTS):
            for event in decoded(adapter, spoilt, venue.now_ns):
                assert stored(event) or type(event) not in CHANNEL_OF
                of_a_book = isinstance(event, BookDelta | BookState)  # whose levels the book itself looks at
                assert of_a_book or all(_decimal(text) for text in figures(event)), spoilt
            found = adapter.stream_of(spoilt)
            assert found is None or (found[0] == 1 and found[1] in adapter.promises)
            bench.feed.take(other, spoilt, venue.now_ns + number * SECOND)
    for row in bench.items:
        assert stored(row) or isinstance(row, Gap | Mark)
        if isinstance(row, OrderBook):
            assert all(digits.plain(text) for level in (*row.bids, *row.asks) for text in level)
    assert run(made(venue.adapter, sample.instrument), sample, venue) == good, "instances share what they have seen"
    assert any(decoded(adapter, frame, venue.now_ns) for frame in sample.frames)


def run(adapter: Adapter, sample: Sample, venue: Venue) -> list[Event]:
    return [event for frame in sample.frames for event in decoded(adapter, frame, venue.now_ns)]


@by_venue
@pytest.mark.parametrize("frame", [b"", b" ", b"null", b"[]", b"{}", b"0", b'""', b"\xff\xfe", b"[" * 5_000])
def test_what_is_no_frame_is_rejected(venue: Venue, frame: bytes) -> None:
    adapter = made(venue.adapter, *venue.instruments)
    with pytest.raises(Rejected):
        adapter.decode(frame, venue.now_ns)
    assert adapter.stream_of(frame) is None


def mutants(frame: bytes, chance: random.Random, count: int) -> Iterator[bytes]:
    """Cut off, with another byte, or with another value in one place of its JSON."""
    values: tuple[Any, ...] = (
        *(None, True, 0, -1, 1.5, 10**30, "", "x", "-1", "1e5", "NaN", "1_0", "\u0661", "9" * 400, [], {}, [[]]),
    )
    for _ in range(count):
        match chance.randrange(3):
            case 0:
                yield frame[: chance.randrange(len(frame))]
            case 1:
                place = chance.randrange(len(frame))
                yield frame[:place] + bytes([chance.randrange(256)]) + frame[place + 1 :]
            case _:
                message = json.loads(frame)
                _alter(message, chance, chance.choice(values))
                yield json.dumps(message, separators=(",", ":")).encode()


def _alter(message: Any, chance: random.Random, value: Any) -> None:
    """Set another value somewhere, or take the place away."""
    places = list(_places(message))
    holder, key = chance.choice(places)
    if chance.random() < 0.2:
        del holder[key]
    else:
        holder[key] = value


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield value, key
        yield from _places(each)


def _decimal(text: str) -> bool:
    """A figure as a table takes it: a trade's id may be any word, and a rate may be below zero."""
    return digits.plain(text.removeprefix("-")) or text.replace("-", "").replace(".", "").isalnum()


# Subscriptions


@by_venue
def test_streams_are_subscribed_once_within_the_limits(venue: Venue) -> None:
    """A connection full of streams of each group."""
    for group, streams in full_connections(venue).items():
        adapter = made(venue.adapter, *{stream.instrument for stream in streams})
        assert {adapter.group(stream) for stream in streams} == {group}
        assert {adapter.url([stream]).split("?")[0] for stream in streams} == {adapter.url(streams).split("?")[0]}
        parts = urlsplit(adapter.url(streams))
        assert parts.scheme == ("wss" if adapter.exchange in ADAPTERS else "ccxt")
        assert parts.hostname
        subscriptions = adapter.subscribe(streams, 5)
        assert [each.request_id for each in subscriptions] == [*range(5, 5 + len(subscriptions))]
        assert Counter(stream for each in subscriptions for stream in each.streams) == Counter(streams)
        for each in subscriptions:
            assert len(each.frame.encode()) <= venue.message.size
            most = min((venue.message.arguments[stream.instrument.kind] for stream in each.streams), default=1)
            assert _longest(json.loads(each.frame)) <= most
        assert len(subscriptions) / adapter.limits.messages_per_second < 60


@by_own_adapter
def test_a_stream_is_subscribed_anew_on_its_connection(venue: Venue) -> None:
    """Of others ccxt mends the books itself."""
    for instrument in venue.instruments:
        adapter = made(venue.adapter, instrument)
        for channel in adapter.channels(instrument):
            stream = Stream(1, instrument, channel)
            if channel in adapter.polled(instrument):
                continue
            adapter.subscribe([stream], 1)
            again = adapter.resubscribe(stream, 7)
            assert [each.request_id for each in again] == [*range(7, 7 + len(again))]
            assert not again or again[-1].streams == (stream,)
            assert again or adapter.books.snapshot == "rest", "only the stream can send its books anew"


def full_connections(venue: Venue) -> dict[str, list[Stream]]:
    """By group: streams of many instruments, as many as one connection takes."""
    adapter = made(venue.adapter)
    groups: dict[str, list[Stream]] = {}
    most = venue.adapter.limits.streams_per_connection
    for number in range(1, most + 1):
        for instrument in venue.instruments:
            other = structs.replace(
                instrument,
                symbol=f"X{number:03}{instrument.symbol}",
                native=f"X{number:03}{instrument.native}",
                info=b"{}",
            )
            for channel in adapter.channels(instrument):
                if channel not in adapter.polled(instrument):
                    stream = Stream(number, other, channel)
                    streams = groups.setdefault(adapter.group(stream), [])
                    if len(streams) < most:
                        streams.append(stream)
    return groups


def _longest(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return max([len(value) if isinstance(value, list) else 0, *map(_longest, inner)])


# Requests


@by_venue
def test_requests_are_well_formed_and_within_the_limit(venue: Venue) -> None:
    for instrument in venue.instruments:
        adapter = made(venue.adapter, instrument)
        for request in requests(adapter, instrument):
            parts = urlsplit(request.url)
            own = adapter.exchange in ADAPTERS  # others name a method of ccxt
            assert (parts.scheme, bool(parts.hostname)) == (("https", True) if own else ("ccxt", False))
            assert parts.path
            assert " " not in request.url
            assert request.url.isascii()
            assert 0 < request.weight <= venue.adapter.limits.weight_per_minute
            limiter = Limiter(venue.adapter.limits.weight_per_minute, venue.adapter.limits.burst)
            assert limiter.delay_seconds(request.weight, 1) == 0, "it waits for a bucket that it does not fit into"


@by_venue
def test_a_reply_that_is_none_is_rejected(venue: Venue) -> None:
    """Those of requests, and of recordings, which know a reply by its URL alone."""
    instrument = venue.instruments[0]
    adapter = made(venue.adapter, instrument)
    for body in (b"", b"<html>", b"null", b"0", b'"x"', b"[" * 5_000, b"\xff"):
        for decode in replies(adapter, instrument, body):
            with pytest.raises((Rejected, Retryable)):
                decode()
        for request in requests(adapter, instrument):
            try:
                found = adapter.decode_reply(request.url, body, venue.now_ns)
            except Rejected:
                continue
            assert all(isinstance(event, Ignored) for event in found)


def requests(adapter: Adapter, instrument: Instrument) -> Iterator[Request]:
    """Every call that an adapter may be asked for."""
    for depth in (1, 20, 250, 1000):
        yield adapter.book_request(instrument, depth)
    for start_ns in (None, 1_700_000_000 * SECOND // MINUTE * MINUTE):
        for limit in (1, 120, 1000):
            yield adapter.candles_request(instrument, start_ns=start_ns, limit=limit)
    bounds = {"id": (1_000, 2_000), "time": (1_700_000_000 * SECOND, 1_700_000_060 * SECOND), "recent": (None, None)}
    start, end = bounds[adapter.history.by]
    for first, last in ((start, end), (start, None) if adapter.history.upwards else (None, end)):
        yield adapter.trades_request(instrument, start=first, end=last, limit=adapter.limits.trades_page)
    latest = adapter.latest_trade_request(instrument)
    assert (latest is not None) is (adapter.promises["trades"] == "ids")
    assert adapter.tells_latest(Stream(1, instrument, "trades")) is (latest is not None)
    if latest is not None:
        yield latest
    for channel in adapter.polled(instrument):
        if channel != "candles":  # those are asked for as any missed ones
            yield adapter.poll_request(Stream(1, instrument, channel))


def replies(adapter: Adapter, instrument: Instrument, body: bytes) -> Iterator[Any]:
    now_ns = 1_800_000_000 * SECOND
    yield lambda: adapter.decode_book(body, 1, 20, now_ns)
    yield lambda: adapter.decode_trades(body, 1, now_ns)
    yield lambda: adapter.decode_candles(body, 1, now_ns, CandleSource.REST, as_of_ns=now_ns)
    if adapter.promises["trades"] == "ids":
        yield lambda: adapter.decode_latest_trade(body)
    for channel in adapter.polled(instrument):
        if channel != "candles":
            stream = Stream(1, instrument, channel)
            yield lambda stream=stream: adapter.decode_poll(stream, body, now_ns)


# Feeds


class Kept(Struct):
    """A feed, what it put, and the books that wanted a snapshot."""

    feed: Feed
    items: list[Any]
    wanted: list[int]


def followed(adapter: Adapter, streams: Sequence[Stream], now_ns: int) -> tuple[Kept, Counter[str]]:
    """A feed of these streams that are live; and how many checksums were verified."""
    checked: Counter[str] = Counter()
    rule = adapter.books
    if rule.checksum is not None:
        ours = rule.checksum

        def counted(bids: Levels, asks: Levels) -> int:
            checked["verified"] += 1
            return ours(bids, asks)

        adapter.books = structs.replace(rule, checksum=counted)
    items: list[Any] = []
    wanted: list[int] = []
    wants = Wants(book=wanted.append, candles=lambda *_: None, check=lambda _: None, renew=lambda _: None)
    feed = Feed(adapter.exchange, items.extend, wants, cadence_ns=SECOND)
    feed.follow(streams, 20, adapter, {}, now_ns)
    feed.connected(streams, now_ns)
    adapter.url(streams)
    for group in dict.fromkeys(map(adapter.group, streams)):
        adapter.subscribe([stream for stream in streams if adapter.group(stream) == group], 1)
    return Kept(feed, items, wanted), checked


@cache
def _steps(recorded: Recording) -> tuple[Step, ...]:
    return tuple(recorded.steps())


def present(recorded: Recording) -> Iterator[Step]:
    """The test is skipped where the recordings are absent."""
    if not recorded.present:
        pytest.skip(f"{recorded.file} is not on this machine")
    return iter(_steps(recorded))
