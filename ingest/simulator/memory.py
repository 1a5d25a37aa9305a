"""What REST still knows of trades and candles: the tape, or less of it when history lags or has been forgotten."""

from collections.abc import Iterable, Iterator

from msgspec import Struct

from ingest.simulator.candles import Candle, following
from ingest.simulator.tape import Aggregate, Tape, Trade


class Memory(Struct, frozen=True, kw_only=True):
    """Nothing newer than `lag_us` or `lag_trades` ago, nothing before `before_us`, no trades of `holes` (both ends
    inclusive). Book snapshots are `behind` changes old.
    """

    lag_us: int = 0
    lag_trades: int = 0
    before_us: int = 0
    holes: tuple[tuple[int, int], ...] = ()
    behind: int = 0

    def end_id(self, tape: Tape, now_us: int) -> int:
        """One after the newest trade that is known."""
        end = tape.next_id - self.lag_trades
        return max(min(end, tape.first_id_at(now_us - self.lag_us)) if self.lag_us else end, 1)

    def trades(self, tape: Tape, now_us: int, first: int | None, limit: int) -> Iterator[Trade]:
        """At most `limit` known trades from an id on, or the newest, upwards."""
        for part in _pick(self._known(tape, now_us), first, limit):
            yield from tape.trades(part.start, part.stop)

    def aggregates(
        self, tape: Tape, now_us: int, first: int | None, end: int | None, limit: int
    ) -> Iterator[Aggregate]:
        """The same of aggregates, before `end`; one that lost a trade is unknown."""
        known = []
        for part in self._known(tape, now_us):
            begin, stop = tape.aggregate_of(part.start), tape.aggregate_of(part.stop)
            last = next(iter(tape.aggregates(stop - 1, stop)), None) if stop > begin else None
            if last is not None and last.last_id >= part.stop:
                stop -= 1
            known.append(range(begin, stop if end is None else min(stop, end)))
        for part in _pick(known, first, limit):
            yield from tape.aggregates(part.start, part.stop)

    def candles(
        self, tape: Tape, now_us: int, interval: str, first_us: int, last_us: int, limit: int
    ) -> Iterable[Candle]:
        """Candles that open in [first_us, last_us], at most `limit`; of lagging history what had closed by then."""
        found = tape.candles(interval, max(first_us, self.before_us), last_us, limit)
        if not (self.lag_us or self.lag_trades):
            return found
        horizon_us = now_us - self.lag_us
        if self.lag_trades:
            newest = next(tape.trades(self.end_id(tape, now_us) - 1, self.end_id(tape, now_us)), None)
            horizon_us = min(horizon_us, newest.time_us if newest else 0)
        return [candle for candle in found if following(interval, candle.open_us) <= horizon_us]

    def _known(self, tape: Tape, now_us: int) -> list[range]:
        """The ids that are known, as ranges, upwards."""
        end, at = self.end_id(tape, now_us), 1
        holes = [*self.holes, (1, tape.first_id_at(self.before_us) - 1)] if self.before_us else self.holes
        known = []
        for first, last in sorted(holes):
            known.append(range(at, min(first, end)))
            at = max(at, last + 1)
        return [part for part in [*known, range(at, end)] if part]


def _pick(known: list[range], first: int | None, limit: int) -> list[range]:
    """`limit` numbers of `known`, from `first` on, or with None the last ones."""
    picked: list[range] = []
    for part in known if first is not None else reversed(known):
        if limit <= 0:
            break
        wanted = range(max(part.start, first), part.stop) if first is not None else part
        wanted = wanted[:limit] if first is not None else wanted[-limit:]
        limit -= len(wanted)
        picked.append(wanted)
    return picked if first is not None else picked[::-1]


WHOLE = Memory()
