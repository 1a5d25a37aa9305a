"""How soon a book is subscribed anew, for its stream to send it whole. Pure."""

SNAPSHOT_SECONDS = 15.0
"""How long a book waits for that snapshot, before its next change asks again."""
_CALM_SECONDS = 60.0
_FIRST_SECONDS = 1.0


class Pauses:
    """At once, and ever later while it goes on: a market that is crossed before it opens asks at every snapshot."""

    def __init__(self) -> None:
        self._latest: dict[int, tuple[float, float]] = {}  # by instrument: when it asked, and for how long it waited

    def next_seconds(self, instrument_id: int, now: float) -> float:
        """`now` in seconds of any clock that does not go back."""
        asked, pause = self._latest.get(instrument_id, (now - 2 * _CALM_SECONDS, 0.0))
        pause = 0.0 if now - asked > _CALM_SECONDS else min(max(2 * pause, _FIRST_SECONDS), SNAPSHOT_SECONDS)
        self._latest[instrument_id] = now, pause
        return pause
