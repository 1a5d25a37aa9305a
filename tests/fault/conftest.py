"""The stage, set and cleared for each scenario."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ingest.embedded import Server, default_root, prepare
from tests.conftest import TestServer
from tests.fault.line import Line
from tests.fault.stage import Stage
from tests.fault.venue import Venue

Set = Callable[..., Stage]


@pytest.fixture
def venue(request: pytest.FixtureRequest) -> Iterator[Venue]:
    """500 trades a second; a test may give more flags."""
    simulator = Venue("--trades-per-second", "500", *getattr(request, "param", ()))
    yield simulator
    simulator.close()


@pytest.fixture
def stage(tmp_path: Path, venue: Venue, database_url: str) -> Iterator[Set]:
    """Sets the stage, with the keywords of `Stage`; whatever daemon runs at the end is ended."""
    with ExitStack() as stack:

        def build(database: str = database_url, **keywords: Any) -> Stage:
            made = Stage(tmp_path, venue, database, **keywords)
            stack.callback(made.close)
            return made

        yield build


@pytest.fixture
def line(database_url: str) -> Iterator[Line]:
    """The daemon's way to the test's database, to be cut."""
    with Line.to(database_url) as made:
        yield made


@pytest.fixture(scope="session")
def durable_server() -> Iterator[TestServer]:
    """A server of our own that keeps what it has committed when it is killed."""
    with Server.temporary(prepare(default_root(), print), durable=True) as server:
        made = TestServer(server.dsn, server)
        yield made
        server.up()  # a scenario that failed may have left it down
        made.close()
