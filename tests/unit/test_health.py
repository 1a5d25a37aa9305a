"""How a venue is said to be."""

import pytest

from ingest.collect.health import HealthState, judge
from ingest.store.registry import State


@pytest.mark.parametrize(
    ("states", "error", "announced", "wanted"),
    [
        ([("live", None), ("live", None)], None, None, ("online", None)),
        ([("live", None)], "HTTP 500", None, ("degraded", "REST: HTTP 500")),
        (
            [("live", None), ("reconnecting", "cut"), ("stopped", "delisted")], None, None,
            ("degraded", "1 of 2 streams are not delivered: cut"),
        ),
        ([("live", None), ("starting", None)], None, None, ("degraded", "1 of 2 streams are not delivered")),
        ([("reconnecting", "cut")], "HTTP 500", None, ("offline", "cut")),
        ([("stopped", "delisted")], None, None, ("offline", None)),
        ([], "cannot load the instruments", None, ("offline", "cannot load the instruments")),
        ([("blocked", "HTTP 451"), ("live", None)], None, "maintenance", ("blocked", "HTTP 451")),
        ([("reconnecting", "cut")], None, "it reports maintenance", ("maintenance", "it reports maintenance")),
    ],
)  # fmt: skip
def test_states(
    states: list[tuple[State, str | None]],
    error: str | None,
    announced: str | None,
    wanted: tuple[HealthState, str | None],
) -> None:
    assert judge(states, error=error, announced=announced) == wanted
