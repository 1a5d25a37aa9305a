"""When a stream's quiet becomes suspicious. Pure: times are given.

A heartbeat is not data: a connection may answer pings while a subscription is dead. How long a market may be
quiet differs by instrument, so each stream learns its own measure from the quiet that it came back from.
"""

from ingest.clock import MINUTE, SECOND
from ingest.records import Channel

FLOOR_NS = MINUTE
_LONGER_NS: dict[Channel, int] = {"candles": 90 * SECOND}  # a closed candle each minute
_CEILING_NS = 60 * MINUTE
_MARGIN = 3


class Silence:
    """One stream's quiet, never suspicious below `floor_ns`. `token` is anything that changes with each record."""

    __slots__ = ("_asked_ns", "_longest_ns", "_token", "since_ns")

    def __init__(self, channel: Channel, now_ns: int, floor_ns: int = FLOOR_NS) -> None:
        self._longest_ns = (floor_ns + _LONGER_NS.get(channel, 0)) // _MARGIN
        self._token: object = None
        self._asked_ns = now_ns
        self.since_ns = now_ns

    @property
    def limit_ns(self) -> int:
        """Quiet beyond this is suspicious: three times the longest that was real, an hour at most."""
        return min(_MARGIN * self._longest_ns, _CEILING_NS)

    def observe(self, token: object, now_ns: int) -> bool:
        """Look at the stream once more; True when its quiet has become suspicious, once each time it does."""
        if token != self._token:
            self._longest_ns = max(self._longest_ns, min(now_ns - self.since_ns, _CEILING_NS))
            self._token = token
            self.since_ns = self._asked_ns = now_ns
            return False
        if now_ns - self._asked_ns < self.limit_ns:
            return False
        self._asked_ns = now_ns
        return True

    def real(self, now_ns: int) -> None:
        """The venue confirms that there was nothing to deliver: such a quiet is no reason to ask again soon."""
        self._longest_ns = max(self._longest_ns, now_ns - self.since_ns)

    def restart(self, now_ns: int) -> None:
        """The stream was not delivered for a while: its quiet counts from now."""
        self.since_ns = self._asked_ns = now_ns
