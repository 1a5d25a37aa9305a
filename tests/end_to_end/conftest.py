"""Fixtures of the end-to-end tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.processes import Daemon, Simulator


@pytest.fixture
def venue(request: pytest.FixtureRequest) -> Iterator[Simulator]:
    simulator = Simulator("--trades-per-second", "500", *getattr(request, "param", ()))
    yield simulator
    simulator.close()


@pytest.fixture
def daemon(tmp_path: Path, venue: Simulator, database_url: str) -> Iterator[Daemon]:
    process = Daemon(tmp_path, venue, database_url)
    yield process
    process.close()
