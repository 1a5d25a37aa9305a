"""The candles of a connection whose venue does not say when a minute is over. Pure: its clock is the venue's."""

from collections.abc import Sequence

from msgspec import Struct, structs

from ingest.clock import MINUTE, SECOND
from ingest.records import Candle

_GRACE_NS = 3 * SECOND
"""A minute is over this long after its end, by the venue's time: the row with its last trade must have been sent."""
_NEVER = 2**63


class _Minute(Struct):
    """`whole`: what is in it is known from its beginning. `done`: it was told, or is not to be."""

    candle: Candle
    whole: bool
    done: bool = False


class Minutes:
    """A row is a minute as it stands, and minutes without trades have none.

    A minute is over when a row of a newer one comes (`take`), or by the venue's clock (`over`); then it is told, once.
    The one that a connection's first row is of is told only where a snapshot held it.
    """

    def __init__(self) -> None:
        self.due_ns = _NEVER  # when, by the venue's clock, the next minute is over
        self._latest: dict[int, _Minute] = {}

    def begin(self, candles: Sequence[Candle], venue_ns: int) -> list[Candle]:
        """Take the rows of a snapshot, and return those of instruments that had rows before: they are to be taken.

        Of the others what was over before is not told: REST gives it, and better, when a stream begins.
        """
        known = set(self._latest)
        for candle in candles:
            latest = self._latest.get(candle.instrument_id)
            if candle.instrument_id not in known and (latest is None or candle.time_ns > latest.candle.time_ns):
                self._set(candle, whole=True, done=_over_ns(candle) <= venue_ns)
        return [candle for candle in candles if candle.instrument_id in known]

    def contradicts(self, candle: Candle, *, snapshot: bool) -> bool:
        """True for a row that changes what was told, or that is out of order."""
        latest = self._latest.get(candle.instrument_id)
        if latest is None or candle.time_ns > latest.candle.time_ns:
            return False
        if candle.time_ns < latest.candle.time_ns:
            return not snapshot
        told = latest.done and latest.whole
        return told and structs.replace(candle, received_ns=latest.candle.received_ns) != latest.candle

    def take(self, candle: Candle) -> Candle | None:
        """Take a row; the minute before it, if that is over now and was not told."""
        latest = self._latest.get(candle.instrument_id)
        if latest is None:
            self._set(candle, whole=False)
        elif candle.time_ns > latest.candle.time_ns:
            self._set(candle, whole=True)
            return latest.candle if latest.whole and not latest.done else None
        elif candle.time_ns == latest.candle.time_ns and not latest.done:
            latest.candle = candle
        return None

    def over(self, venue_ns: int) -> list[Candle]:
        """The minutes that are over by the venue's clock and were not told."""
        due = [minute for minute in self._latest.values() if not minute.done and _over_ns(minute.candle) <= venue_ns]
        for minute in due:
            minute.done = True
        self.due_ns = min((_over_ns(m.candle) for m in self._latest.values() if not m.done), default=_NEVER)
        return [minute.candle for minute in due if minute.whole]

    def _set(self, candle: Candle, *, whole: bool, done: bool = False) -> None:
        self._latest[candle.instrument_id] = _Minute(candle, whole, done)
        self.due_ns = min(self.due_ns, _over_ns(candle))


def _over_ns(candle: Candle) -> int:
    return candle.time_ns + MINUTE + _GRACE_NS
