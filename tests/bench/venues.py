"""Every venue and channel: frames to finished COPY rows, against `orjson.loads` of the same frames.

Frames are those of `tests.exchanges.evidence`: recorded ones, else those of the venue's documentation, told again and
again. Some make no row, as they make none in the daemon: an open candle, or a delta of a book, whose share of a row is
counted as in `decode`. What is polled is left out.
"""

from collections.abc import Iterator, Mapping
from functools import cache, partial

from msgspec import Struct

from ingest.exchanges.adapter import Adapter, Options
from ingest.records import CHANNEL_OF, BookDelta, BookState, Channel, Instrument, Stream
from ingest.store.rows import TABLES
from tests.bench.book import full_book
from tests.bench.decode import DELTAS_A_ROW, Pass, compare, snapshot
from tests.bench.harness import Bench, Figure, Group
from tests.exchanges.evidence import VENUES, Recording, Step, Venue, ids

GROUP = Group("venues")

NAMES: Mapping[Channel, str] = {
    "trades": "trade",
    "candles": "candle",
    "quotes": "quote",
    "liquidations": "liquidation",
}
"""Channels as figures call them, where that is another word."""
APART = ("decode_binance_trade", "decode_binance_candle", "decode_binance_book")
"""Figures of `decode`."""
LEAST, MOST = 100, 1_000
"""Frames a pass: what is done once a batch must not weigh more here than it does in the daemon."""

_KINDS = {channel: kind for kind, channel in CHANNEL_OF.items()}


class Given(Struct, frozen=True):
    """Frames of one channel, in the order of a connection."""

    channel: Channel
    frames: list[bytes]
    instruments: tuple[Instrument, ...]
    options: Options
    received_ns: int
    source: str

    def adapter(self, venue: Venue) -> Adapter:
        """One that has subscribed to them."""
        adapter = venue.adapter(ids(venue.adapter, self.instruments), self.options)
        streams = [Stream(number, instrument, self.channel) for number, instrument in enumerate(self.instruments, 1)]
        adapter.url(streams)
        adapter.subscribe(streams, 1)
        return adapter


def key(name: str, channel: Channel) -> str:
    return f"decode_{name}_{NAMES.get(channel, channel)}"


def given(venue: Venue, channel: Channel) -> Given:
    for recording in venue.recordings:
        if recording.present and channel in recording.channels:
            return _recorded(venue, recording, channel)
    sample = [sample for sample in venue.samples if sample.channel == channel][-1]  # of derivatives, where there are
    source = "the documentation's frames"
    return Given(channel, [*sample.frames], (sample.instrument,), Options(), venue.now_ns, source)


def _recorded(venue: Venue, recording: Recording, channel: Channel) -> Given:
    """Those that bring the channel; of books their changes."""
    adapter = venue.adapter(ids(venue.adapter, recording.instruments), recording.options)
    wanted = BookDelta if channel == "book" else _KINDS[channel]
    steps, frames = _steps(recording), list[bytes]()
    for step in steps:
        events = adapter.decode(step.payload, step.time_ns)
        if any(isinstance(event, wanted) for event in events) and not any(type(e) is BookState for e in events):
            frames.append(step.payload)
    return Given(channel, frames[:MOST], recording.instruments, recording.options, steps[-1].time_ns, "recorded digits")


@cache
def _steps(recording: Recording) -> list[Step]:
    return [step for step in recording.steps() if not step.url]


def to_rows(venue: Venue, of: Given, times: int) -> Pass:
    """As one connection's traffic: all frames `times` over, then a batch of their rows."""
    table = TABLES[_KINDS[of.channel]]
    book = full_book(lambda *_: True) if of.channel == "book" else None
    adapter = of.adapter(venue)
    kind, samples = _KINDS[of.channel], range(times * len(of.frames) // DELTAS_A_ROW)

    def run() -> bytes:
        records: list[object] = []
        for _ in range(times):
            adapter.recorded("wss://again")
            for frame in of.frames:
                records += [event for event in adapter.decode(frame, of.received_ns) if event.__class__ is kind]
        if book is not None:
            records = [snapshot(book.top()) for _ in samples]
        return table.encode(records)

    return run


def _figure(name: str, channel: Channel, bench: Bench) -> Iterator[Figure]:
    venue = VENUES[name]()
    of = given(venue, channel)
    times = -(-LEAST // len(of.frames))
    pairs, note = compare(bench, of.frames * times, to_rows(venue, of, times))
    yield Figure(key(name, channel), pairs.cost, note=f"{note}; {of.source}")


def channels(venue: Venue) -> list[Channel]:
    """Those that are streamed, in the table's order."""
    return list(dict.fromkeys(sample.channel for sample in venue.samples))


for _name, _of in VENUES.items():
    for _channel in channels(_of()):
        if key(_name, _channel) not in APART:
            GROUP.measures(key(_name, _channel))(partial(_figure, _name, _channel))
