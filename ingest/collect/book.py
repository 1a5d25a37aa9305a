"""A local order book: a REST snapshot and the deltas that follow it. Pure: it says what it needs, others fetch.

Prices are ordered by their decimal value and kept as the exchange's digits. A snapshot of limited depth leaves
the levels beyond it unknown, so the book also knows how far its knowledge reaches: changes beyond are not
taken in, and before the best levels run out it asks for another snapshot.
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from enum import Enum

from ingest import digits
from ingest.errors import Rejected
from ingest.exchanges.adapter import BookRule
from ingest.records import BookDelta, BookState, Levels, OrderBook

Follows = Callable[[int, BookDelta], bool | None]
"""`Adapter.follows`: True continues, None is known already, False is a break."""

_BY_REST = BookRule()
_BUFFER_MAX = 10_000
"""Deltas kept while a snapshot is on its way; at ten a second that is a quarter of an hour."""


class Need(Enum):
    """What the book asks of its keeper after an event."""

    NOTHING = "nothing"
    SNAPSHOT = "snapshot"  # in sync, but its depth runs out
    RESYNC = "resync"  # out of sync


class Side:
    """One side: prices in order, best last, with their amounts; `edge` is the last price that is known of."""

    __slots__ = ("_keys", "_levels", "_sign", "edge")

    def __init__(self, sign: int, levels: Sequence[tuple[str, str]] = (), limit: int | None = None) -> None:
        """`levels` as a snapshot gives them: as many as its `limit` were cut there, fewer are the whole side."""
        self._sign = sign  # +1 for bids (the highest is best), -1 for asks
        self._keys: list[Decimal] = []
        self._levels: dict[Decimal, tuple[str, str]] = {}
        self.edge: Decimal | None = None
        for price, amount in levels:
            self.set(price, amount)
        if limit is not None and len(levels) >= limit and self._keys:
            self.edge = self._keys[0]

    def __len__(self) -> int:
        return len(self._keys)

    def set(self, price: str, amount: str) -> None:
        """Set a level's amount; zero removes it. Raises Rejected for what is not a plain decimal in range."""
        if not digits.plain(price + amount):
            raise Rejected(f"book level: {price!r}, {amount!r} is not decimal text")
        try:
            value, quantity = Decimal(price), Decimal(amount)
        except InvalidOperation:
            raise Rejected(f"book level: {price!r}, {amount!r} is not decimal text") from None
        if not value:
            raise Rejected(f"book level: price {price!r} is zero")
        key = value if self._sign > 0 else value.copy_negate()  # unary minus would round to the context's digits
        if self.edge is not None and key < self.edge:
            return
        if not quantity:
            if self._levels.pop(key, None) is not None:
                del self._keys[bisect_left(self._keys, key)]
        elif key in self._levels:
            self._levels[key] = (price, amount)
        else:
            insort(self._keys, key)
            self._levels[key] = (price, amount)

    def cut(self, keep: int) -> None:
        """Drop what lies below the best `keep` levels."""
        excess = len(self._keys) - keep
        if excess > 0:
            for key in self._keys[:excess]:
                del self._levels[key]
            del self._keys[:excess]

    def best(self) -> Decimal | None:
        """The best price, or None when the side is empty."""
        if not self._keys:
            return None
        return self._keys[-1] if self._sign > 0 else self._keys[-1].copy_negate()

    def top(self, depth: int) -> Levels:
        levels = self._levels
        return tuple([levels[key] for key in self._keys[: -depth - 1 : -1]])


class Book:
    """The book of one instrument at one venue.

    Give it every delta in order (`apply`) and each snapshot that was asked for (`join`); both return what it
    needs next. `top` and `in_sync` describe it at any moment; out of sync it still shows its last state.
    """

    def __init__(self, instrument_id: int, depth: int, follows: Follows, rule: BookRule = _BY_REST) -> None:
        self.instrument_id = instrument_id
        self.depth = depth
        self.sequence: int | None = None
        self.event_ns: int | None = None
        self.received_ns = 0
        self.in_sync = False
        self.cause = "no snapshot yet"  # why it is out of sync
        self.checksum_ok: bool | None = None  # of this state, None where the venue sent none
        self._follows = follows
        self._rule = rule
        self._bids = Side(+1)
        self._asks = Side(-1)
        self._waiting = False  # for a snapshot: deltas are kept until it comes
        self._kept: deque[BookDelta] = deque(maxlen=_BUFFER_MAX)

    @property
    def known(self) -> bool:
        """True once there has been a first snapshot."""
        return self.sequence is not None

    def top(self) -> tuple[Levels, Levels]:
        """(bids, asks), at most `depth` levels each, best first."""
        return self._bids.top(self.depth), self._asks.top(self.depth)

    def sample(self, tick_ns: int) -> OrderBook:
        """What is stored at a tick."""
        ids, (bids, asks) = (self.instrument_id, tick_ns, self.event_ns, self.sequence), self.top()
        return OrderBook(*ids, bids, asks, self.in_sync, self.received_ns, self.checksum_ok)

    def apply(self, delta: BookDelta) -> Need:
        """Take the next delta. Raises Rejected for levels that are no numbers: the next delta then asks."""
        if self.sequence is None or not self.in_sync:
            need = self._ask(Need.RESYNC)
            self._keep(delta)
            return need
        follows = self._follows(self.sequence, delta)
        if follows is None:
            return Need.NOTHING
        if self._waiting:
            self._keep(delta)
        if not follows:
            return self._break(delta, f"sequence {self.sequence} is followed by {delta.first} to {delta.last}")
        try:
            self._change(delta)
        except Rejected:
            self.desync("a level is not a number")
            raise
        if wrong := self._wrong(delta.checksum):
            return self._break(delta, wrong)
        return self._ask(Need.SNAPSHOT) if self._shallow() else Need.NOTHING

    def join(self, state: BookState) -> Need:
        """Take a snapshot that was asked for, and the deltas kept since.

        One that nobody waits for any more (the line was lost meanwhile), or that is older than what the book would
        continue with, is not taken; in the second case the book asks again. Raises Rejected for levels that are no
        numbers; the book is as before and still waits.
        """
        if not self._waiting:
            return Need.NOTHING
        kept = list(self._kept)
        behind = self.in_sync and not kept and self.sequence is not None and state.sequence < self.sequence
        if behind or (kept and self._follows(state.sequence, kept[0]) is False):
            self._waiting = False
            return self._ask(Need.SNAPSHOT if self.in_sync else Need.RESYNC)
        if wrong := self._begin(state):
            return self._break(None, f"snapshot {wrong}")
        need = Need.NOTHING
        for delta in kept:  # behind a break `apply` only keeps: that part may continue the next snapshot
            asked = self.apply(delta)
            need = need if asked is Need.NOTHING else asked
        return need

    def restart(self, state: BookState) -> Need:
        """Take a snapshot of the stream itself: what came before is in it. Raises Rejected as `join` does."""
        wrong = self._begin(state)
        return self._break(None, f"snapshot {wrong}") if wrong else Need.NOTHING

    def desync(self, cause: str) -> None:
        """Declare the state unknown (the connection was lost); the next delta asks for a snapshot."""
        self.in_sync, self.cause = False, cause
        self._waiting = False
        self._kept.clear()

    def expect(self) -> None:
        """A snapshot comes that was not asked for: take it all the same."""
        self._waiting = True

    def give_up_waiting(self) -> None:
        """The snapshot will not come: forget what was kept for it, so that the next delta asks again."""
        self._waiting = False
        self._kept.clear()

    def _keep(self, delta: BookDelta) -> None:
        if self._rule.snapshot == "rest":  # one of the stream comes in line: it holds what came before it
            self._kept.append(delta)

    def _begin(self, state: BookState) -> str:
        """Make the book what the snapshot says, and return what is wrong with it: nothing, or a cause."""
        bids, asks = Side(+1, state.bids, state.limit), Side(-1, state.asks, state.limit)
        self._bids, self._asks = bids, asks
        self._waiting = False
        self._kept.clear()
        self.sequence, self.event_ns, self.received_ns = state.sequence, state.event_ns, state.received_ns
        self.in_sync = True
        return self._wrong(state.checksum)

    def _ask(self, need: Need) -> Need:
        """Ask once; while the answer is on its way, nothing more is needed."""
        if self._waiting:
            return Need.NOTHING
        self._waiting = True
        return need

    def _break(self, delta: BookDelta | None, cause: str) -> Need:
        """Out of sync from here on; a good delta is kept, since it may continue the next snapshot."""
        self.in_sync, self.cause = False, cause
        if delta is None:
            self._kept.clear()
        elif not self._waiting:
            self._keep(delta)
        return self._ask(Need.RESYNC)

    def _change(self, delta: BookDelta) -> None:
        self.checksum_ok = None
        for price, amount in delta.bids:
            self._bids.set(price, amount)
        for price, amount in delta.asks:
            self._asks.set(price, amount)
        if self._rule.keep is not None:
            self._bids.cut(self._rule.keep)
            self._asks.cut(self._rule.keep)
        self.sequence, self.event_ns, self.received_ns = delta.last, delta.event_ns, delta.received_ns

    def _wrong(self, checksum: int | None) -> str:
        """Why the state cannot be the venue's, or nothing."""
        self.checksum_ok = None
        bid, ask, rule = self._bids.best(), self._asks.best(), self._rule
        if bid is not None and ask is not None and bid >= ask:
            return f"crossed: bid {bid} is not below ask {ask}"
        if checksum is not None and rule.checksum is not None:
            ours = rule.checksum(self._bids.top(rule.checksum_levels), self._asks.top(rule.checksum_levels))
            self.checksum_ok = ours == checksum
            if not self.checksum_ok:
                return f"checksum: {ours} is not the venue's {checksum}"
        return ""

    def _shallow(self) -> bool:
        """Fewer known levels than twice what is stored, on a side whose rest is unknown."""
        return any(side.edge is not None and len(side) < 2 * self.depth for side in (self._bids, self._asks))
