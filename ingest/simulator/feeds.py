"""Who listens to what, and the cadence at which each stream speaks."""

import re
from collections.abc import Callable, Iterable
from typing import Final

from msgspec import Struct, field

from ingest.simulator.book import top
from ingest.simulator.candles import INTERVALS, SECOND_US, following, opening
from ingest.simulator.connection import Connection, Frames
from ingest.simulator.ledger import Ledger
from ingest.simulator.market import Batch, Market
from ingest.simulator.wire import Scribe

_STREAM: Final = re.compile(
    r"(?P<symbol>[a-z0-9]+)@(?:(?P<plain>trade|aggTrade|bookTicker|ticker|miniTicker)|kline_(?P<interval>\w+)"
    r"|depth(?P<levels>5|10|20)?(?:@(?P<speed>100|1000)ms)?)"
)
_SLOT_US: Final = 100_000


class Topic(Struct, eq=False):
    """One stream that somebody listens to. `every` is its cadence in tenths of a second, 0 for at once."""

    name: str
    kind: str
    index: int
    every: int = 0
    interval: str = ""
    levels: int = 0
    mark: int = 0
    open_us: int = 0
    members: dict[tuple[bool, bool], list[Connection]] = field(default_factory=dict)


class Feeds:
    """The streams in use. A stream nobody listens to costs nothing."""

    def __init__(self, market: Market, ledger: Ledger, scribes: tuple[Scribe, ...]) -> None:
        self._market = market
        self._ledger = ledger
        self._scribes = scribes
        self._index = {scribe.native.lower(): index for index, scribe in enumerate(scribes)}
        self._topics: dict[str, Topic] = {}
        self._at_once: dict[int, list[Topic]] = {}
        self._paced: list[Topic] = []
        self._slot = self._second = 0

    def subscribe(self, connection: Connection, names: Iterable[str]) -> None:
        """Add streams. A name that means nothing here is accepted and stays silent, as at Binance."""
        for name in names:
            if name in connection.streams:
                continue
            connection.streams[name] = None
            topic = self._topics.get(name) or self._open(name)
            if topic:
                topic.members.setdefault((connection.combined, connection.micro), []).append(connection)

    def unsubscribe(self, connection: Connection, names: Iterable[str]) -> None:
        for name in names:
            if name not in connection.streams:
                continue
            del connection.streams[name]
            topic = self._topics.get(name)
            if topic is None:
                continue
            for shape, members in list(topic.members.items()):
                if connection in members:
                    members.remove(connection)
                    if not members:
                        del topic.members[shape]
            if not topic.members:
                self._shut(topic)

    def on_batch(self, batch: Batch) -> None:
        """Send what speaks at once: trades, aggregates, the best bid and ask."""
        topics = self._at_once.get(batch.index)
        if topics is None:
            return
        scribe = self._scribes[batch.index]
        for topic in topics:
            if topic.kind == "trade" and batch.times:
                self._publish(topic, lambda micro: scribe.trades(batch, micro=micro))
            elif topic.kind == "aggTrade" and batch.times:
                self._publish(topic, lambda micro: scribe.aggregates(batch, micro=micro))
            elif topic.kind == "bookTicker":
                self._book_ticker(topic, scribe)

    def on_time(self, now_us: int) -> None:
        """Send what speaks by the clock: closed candles at each second, the rest at each stream's own tenth."""
        slot = now_us // _SLOT_US
        if slot == self._slot:
            return
        self._slot = slot
        if slot // 10 != self._second:
            self._second = slot // 10
            for topic in self._paced:
                if topic.kind == "kline":
                    self._close_candles(topic, now_us)
        for topic in self._paced:
            if (slot + topic.index) % topic.every == 0:
                self._speak(topic, now_us)

    def _open(self, name: str) -> Topic | None:
        match = _STREAM.fullmatch(name)
        index = self._index.get(match["symbol"]) if match else None
        if match is None or index is None or (match["interval"] and match["interval"] not in INTERVALS):
            return None
        kind, every = match["plain"] or "depth", 0
        if match["interval"]:
            kind, every = "kline", 10 if match["interval"] == "1s" else 20
        elif match["levels"]:
            kind = "partial"
        if kind in {"depth", "partial"}:
            every = 1 if match["speed"] == "100" else 10
        elif kind in {"ticker", "miniTicker"}:
            every = 10
        topic = Topic(name, kind, index, every, match["interval"] or "", int(match["levels"] or 0))
        topic.mark = self._ledger.trails[index].sequence
        if kind == "kline":
            topic.open_us = opening(topic.interval, self._market.time_us)
        self._topics[name] = topic
        if every:
            self._paced.append(topic)
        else:
            self._at_once.setdefault(index, []).append(topic)
        return topic

    def _shut(self, topic: Topic) -> None:
        del self._topics[topic.name]
        if topic.every:
            self._paced.remove(topic)
            return
        self._at_once[topic.index].remove(topic)
        if not self._at_once[topic.index]:
            del self._at_once[topic.index]

    def _publish(self, topic: Topic, render: Callable[[bool], list[str]]) -> None:
        """Write each payload once a unit of time, each frame once a format."""
        written: dict[bool, list[str]] = {}
        for (combined, micro), members in topic.members.items():
            if micro not in written:
                written[micro] = render(micro)
            frames = Frames(written[micro], topic.name if combined else None, topic.name)
            for connection in members:
                connection.send(frames)

    def _book_ticker(self, topic: Topic, scribe: Scribe) -> None:
        book = self._market.pits[topic.index].book
        bid, ask = (book.best_bid, book.levels[book.bids[-1]]), (book.best_ask, book.levels[book.asks[-1]])
        best = hash((bid, ask))
        if best != topic.mark:
            topic.mark = best
            self._publish(topic, lambda _: [scribe.book_ticker(book.sequence, bid, ask)])

    def _close_candles(self, topic: Topic, now_us: int) -> None:
        scribe, tape = self._scribes[topic.index], self._ledger.tapes[topic.index]
        while (end_us := following(topic.interval, topic.open_us)) <= now_us:
            candle = tape.candle(topic.interval, topic.open_us)
            self._publish(
                topic,
                lambda micro, candle=candle: [  # type: ignore[misc]  # mypy gives a default in a lambda no type
                    scribe.kline(topic.interval, candle, now_us, closed=True, micro=micro)
                ],
            )
            topic.open_us = end_us

    def _speak(self, topic: Topic, now_us: int) -> None:
        scribe, trail = self._scribes[topic.index], self._ledger.trails[topic.index]
        tape, book = self._ledger.tapes[topic.index], self._market.pits[topic.index].book
        if topic.kind == "depth":
            first, last = topic.mark + 1, trail.sequence
            if first <= last:
                bids, asks = trail.changes(topic.mark, last)
                topic.mark = last
                self._publish(topic, lambda micro: [scribe.depth_update(first, last, bids, asks, now_us, micro=micro)])
        elif topic.kind == "partial":
            bids, asks = top(book.bids, book.levels, topic.levels), top(book.asks, book.levels, topic.levels)
            self._publish(topic, lambda _: [scribe.depth(trail.sequence, bids, asks)])
        elif topic.kind == "kline":
            candle = tape.candle(topic.interval, topic.open_us)
            if now_us - topic.open_us >= SECOND_US or candle.trades:
                self._publish(
                    topic, lambda micro: [scribe.kline(topic.interval, candle, now_us, closed=False, micro=micro)]
                )
        elif topic.kind == "miniTicker":
            day = tape.day()
            self._publish(topic, lambda micro: [scribe.mini_ticker(day, now_us, micro=micro)])
        else:
            day, last_lots = tape.day(), tape.last_lots
            bid, ask = top(book.bids, book.levels, 1)[0], top(book.asks, book.levels, 1)[0]
            self._publish(topic, lambda micro: [scribe.ticker(day, last_lots, bid, ask, now_us, micro=micro)])
