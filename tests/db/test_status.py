"""`ingest status`: what it says of an ill stream, to a person, to a program, and to a health check."""

import io
import json

import pytest
from rich.console import Console

from ingest import status
from ingest.errors import Exit
from tests.conftest import Fetch

pytestmark = pytest.mark.usefixtures("instruments")


@pytest.mark.parametrize("detail", ["451 [restricted location]", "GET [/api/v3/ping] failed", "\x1b[2J é"])
def test_a_detail_is_shown_as_it_is(
    database_url: str, fetch: Fetch, monkeypatch: pytest.MonkeyPatch, detail: str
) -> None:
    monkeypatch.setattr(status, "_SAMPLE_SECONDS", 0)
    fetch("UPDATE ingest.streams SET state = 'blocked', detail = %s WHERE channel = 'trades'", detail)
    said = io.StringIO()
    assert status.show(database_url, watch=False, as_json=True, console=Console(file=said, width=40)) is Exit.OK
    assert said.getvalue().isascii()
    assert detail in {stream["detail"] for stream in json.loads(said.getvalue())}
    shown = detail.replace("\x1b", "\\x1b")
    for checking in (True, False):
        console = Console(file=(said := io.StringIO()), width=200)
        if checking:
            assert status.check(database_url, console) is Exit.FAILED
        else:
            assert status.show(database_url, watch=False, as_json=False, console=console) is Exit.OK
        assert shown in said.getvalue()
        assert "\x1b" not in said.getvalue()
