"""How often what no websocket brings is asked for, and which of the trades that come are new. Pure."""

from collections.abc import Mapping, Sequence

from ingest.clock import MILLISECOND
from ingest.records import Channel, Stream, Trade

SECONDS: Mapping[Channel, float] = {
    "trades": 2.0,
    "candles": 60.0,
    "book": 1.0,
    "quotes": 1.0,
    "ticker": 10.0,
    "mark_price": 10.0,
    "funding": 60.0,
    "open_interest": 60.0,
    "liquidations": 30.0,
}
"""Between two calls, where the limit allows it; trades twice as often as half a page of them was new."""
_LEAST_SECONDS = 0.5
_BUSY, _QUIET = 0.5, 0.1


class _Seen:
    """The latest trades of one stream: the newest time, and the ids of the latest page."""

    def __init__(self) -> None:
        self.newest_ns = 0
        self.ids: set[str] = set()
        self.seconds = SECONDS["trades"]


class Polls:
    """What one adapter remembers of its polls of trades."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}  # by symbol

    def seconds(self, symbol: str, channel: Channel) -> float:
        """Until the next call: at once after a page full of news, for there may be more behind it."""
        seen = self._seen.get(symbol) if channel == "trades" else None
        return SECONDS[channel] if seen is None else seen.seconds

    def since_ms(self, stream: Stream) -> int | None:
        """From the last trade that was seen on, that one included; some exchanges leave out the bound."""
        seen = self._seen.get(stream.instrument.symbol) if stream.channel == "trades" else None
        return None if seen is None or not seen.newest_ns else seen.newest_ns // MILLISECOND - 1

    def take(self, stream: Stream, page: Sequence[Trade]) -> tuple[list[Trade], tuple[int, int] | None]:
        """The trades that are new, and from when to when some may be missing (None: the page follows the last)."""
        seen = self._seen.setdefault(stream.instrument.symbol, _Seen())
        if not page:
            return [], None
        oldest_ns, newest_ns = min(trade.time_ns for trade in page), max(trade.time_ns for trade in page)
        skipped = (seen.newest_ns, oldest_ns) if seen.newest_ns and oldest_ns > seen.newest_ns else None
        new = [trade for trade in page if trade.trade_id not in seen.ids]  # late ones, too: times need not be in order
        share = len(new) / len(page) if seen.newest_ns else 0.0
        if share > _BUSY:
            seen.seconds = max(_LEAST_SECONDS, seen.seconds / 2)
        elif share < _QUIET:
            seen.seconds = min(SECONDS["trades"], seen.seconds * 1.5)
        seen.newest_ns = max(seen.newest_ns, newest_ns)
        seen.ids = {trade.trade_id for trade in page}
        return new, skipped
