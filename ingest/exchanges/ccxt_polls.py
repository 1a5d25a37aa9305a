"""How often what no websocket brings is asked for, and which of the trades that come are new. Pure.

A trade without an id is told from others like it by their number within their moment (`ccxt_rows`). A page that begins
within a moment does not show how many came before: so an earlier moment is asked for, too, and where a page has none
of it, something may be missing.
"""

from collections.abc import Mapping, Sequence

from ingest.clock import MILLISECOND
from ingest.exchanges.ccxt_rows import is_made
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
_FULL = 50  # trades: a page of so many may be cut
_BUSY, _QUIET = 0.5, 0.1


class _Seen:
    """The latest trades of one stream: the newest time and the one before, and the ids of the latest page."""

    def __init__(self) -> None:
        self.newest_ns = 0
        self.before_ns = 0
        self.ids: set[str] = set()
        self.stuck = False
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
        """From the moment before the last one that was seen, that one included; some exchanges leave out the bound."""
        seen = self._seen.get(stream.instrument.symbol) if stream.channel == "trades" else None
        if seen is not None and seen.stuck:  # the oldest may be shown first, and leave no room for others
            return seen.newest_ns // MILLISECOND
        since_ns = 0 if seen is None else seen.before_ns or seen.newest_ns
        return since_ns // MILLISECOND - 1 if since_ns else None

    def take(self, stream: Stream, page: Sequence[Trade]) -> tuple[list[Trade], tuple[int, int] | None]:
        """The trades that are new, and from when to when some may be missing (None: the page follows the last)."""
        seen = self._seen.setdefault(stream.instrument.symbol, _Seen())
        if not page:
            return [], None
        moments = sorted({trade.time_ns for trade in page})
        oldest_ns, newest_ns = moments[0], moments[-1]
        new = [trade for trade in page if trade.trade_id not in seen.ids]  # late ones, too: times need not be in order
        skipped = None
        if seen.newest_ns and not _follows(page, new, seen.newest_ns):
            skipped = (seen.newest_ns, max(oldest_ns, seen.newest_ns + MILLISECOND))
        share = len(new) / len(page) if seen.newest_ns else 0.0
        if share > _BUSY:
            seen.seconds = max(_LEAST_SECONDS, seen.seconds / 2)
        elif share < _QUIET:
            seen.seconds = min(SECONDS["trades"], seen.seconds * 1.5)
        earlier = [each for each in (seen.before_ns, seen.newest_ns, *moments) if each < max(seen.newest_ns, newest_ns)]
        seen.before_ns = max(earlier, default=0)
        seen.stuck = not new and len(page) >= _FULL and not seen.stuck
        seen.newest_ns = max(seen.newest_ns, newest_ns)
        seen.ids = {trade.trade_id for trade in page}
        return new, skipped


def _follows(page: Sequence[Trade], new: Sequence[Trade], newest_ns: int) -> bool:
    """Whether nothing lies between what was seen up to `newest_ns` and the page's first trade."""
    oldest_ns = min(trade.time_ns for trade in page)
    if oldest_ns != newest_ns:
        return oldest_ns < newest_ns
    return not any(is_made(trade) for trade in new)
