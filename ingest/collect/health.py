"""How a venue is, told from its streams and its REST calls."""

from collections import Counter
from collections.abc import Collection
from typing import Literal

from msgspec import Struct

from ingest.errors import Blocked, Retryable
from ingest.exchanges.rest import Rest
from ingest.store.registry import State

HealthState = Literal["online", "degraded", "blocked", "offline", "maintenance", "stopped"]


class Health(Struct, frozen=True):
    """`latency_ms` is of the latest REST call; `free` the share of the venue's request limit that is not used."""

    state: HealthState
    detail: str | None = None
    latency_ms: int | None = None
    free: float | None = None


def health_of(
    streams: Collection[tuple[State, str | None]],
    rest: Rest | None,
    unreachable: Retryable | None,
    announced: str | None,
) -> Health:
    """A venue's health, as `judge` has it; `unreachable` is why its listing cannot be had."""
    error = str(unreachable) if unreachable is not None else (rest.error if rest is not None else None)
    state, detail = judge(streams, error=error, announced=announced)
    if isinstance(unreachable, Blocked):
        state = "blocked"
    return Health(state, detail, *((rest.latency_ms, rest.free) if rest is not None else (None, None)))


def judge(
    streams: Collection[tuple[State, str | None]], *, error: str | None, announced: str | None
) -> tuple[HealthState, str | None]:
    """A venue's state, with the reason: `streams` are the states of those that should be delivered, `error` is what
    the latest REST call ended with, `announced` what the venue says of its own maintenance.
    """
    counts = Counter(state for state, _ in streams if state != "stopped")
    reasons = [detail for state, detail in streams if detail and state not in ("live", "stopped")]
    away = counts.total() - counts["live"]
    reason = reasons[0] if reasons else error
    if counts["blocked"]:
        return "blocked", reason
    if announced is not None:
        return "maintenance", announced
    if not counts["live"]:
        return "offline", reason
    if away:
        return "degraded", f"{away} of {counts.total()} streams are not delivered{f': {reason}' if reason else ''}"
    return ("degraded", f"REST: {error}") if error else ("online", None)
