"""What `/ready` says, part by part, and what `ingest health` makes of it."""

import asyncio
import socket
from collections.abc import Mapping

import aiohttp
import pytest
from pydantic import SecretStr

from ingest.config.operation import Http
from ingest.errors import ConfigError, Exit
from ingest.operate.figures import schema_part
from ingest.operate.health import Name, Part, ask, routes, streams_part
from ingest.operate.http import HttpServer
from ingest.store.registry import State

WELL: dict[Name, Part] = {
    "configuration": Part(ok=True, detail="in force"),
    "schema": Part(ok=True, detail="0012_logs.sql"),
    "database": Part(ok=True, detail="answers"),
    "streams": Part(ok=True, detail="9 of 9 live"),
}
TOKEN = "a-token-of-24-characters"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


@pytest.mark.parametrize(
    ("states", "part"),
    [
        ({}, Part(ok=False, detail="0 of 0 live")),
        ({"live": 9}, Part(ok=True, detail="9 of 9 live")),
        ({"live": 9, "stopped": 2}, Part(ok=True, detail="9 of 9 live")),
        ({"stopped": 2}, Part(ok=False, detail="0 of 0 live")),
        ({"live": 7, "starting": 1, "blocked": 1}, Part(ok=False, detail="7 of 9 live: 1 blocked, 1 starting")),
    ],
)
def test_streams_are_well_when_all_that_are_collected_are_live(states: Mapping[State, int], part: Part) -> None:
    assert streams_part(states) == part


@pytest.mark.parametrize(
    ("found", "breaks", "part"),
    [
        ("", "", Part(ok=False, detail="not known yet")),
        ("0012_b.sql", "", Part(ok=True, detail="0012_b.sql")),
        ("0012_b.sql", "0011_a.sql", Part(ok=True, detail="0012_b.sql")),
        ("0013_c.sql", "", Part(ok=True, detail="0013_c.sql")),
        ("0011_a.sql", "", Part(ok=False, detail="0011_a.sql, and this program wants 0012_b.sql: `ingest migrate`")),
    ],
)
def test_the_schema_is_well_when_it_is_ours_or_a_later_one(found: str, breaks: str, part: Part) -> None:
    assert schema_part(found, breaks, "0012_b.sql") == part


def test_a_later_schema_that_breaks_this_program_is_ill() -> None:
    part = schema_part("0014_d.sql", "0013_c.sql", "0012_b.sql")
    assert (part.ok, part.detail.startswith("0013_c.sql is a later version's")) == (False, True)


@pytest.mark.parametrize("ill", [None, *WELL])
async def test_every_part_must_be_well(ill: Name | None) -> None:
    parts = WELL if ill is None else WELL | {ill: Part(ok=False, detail="it hurts")}
    server = HttpServer(Http(port=0), routes(lambda: parts))
    async with server.running(), aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as client:
        async with client.get("/ready") as reply:
            assert reply.status == (200 if ill is None else 503)
            assert await reply.json() == {
                "ready": ill is None,
                "parts": {name: {"ok": part.ok, "detail": part.detail} for name, part in parts.items()},
            }
        async with client.get("/live") as live:
            assert (live.status, await live.json()) == (200, {"live": True})


@pytest.mark.parametrize("bind", ["127.0.0.1", "0.0.0.0"])  # noqa: S104 - with a token
async def test_ingest_health_asks_the_configured_address_with_the_token(bind: str) -> None:
    settings = Http(bind=bind, port=_free_port(), token=SecretStr(TOKEN))
    parts = dict(WELL)
    async with HttpServer(settings, routes(lambda: parts)).running():
        assert await asyncio.to_thread(ask, settings) == (Exit.OK, "")
        parts["streams"] = Part(ok=False, detail="8 of 9 live: 1 reconnecting")
        parts["database"] = Part(ok=False, detail="no answer in time")
        ill = "database: no answer in time; streams: 8 of 9 live: 1 reconnecting"
        assert await asyncio.to_thread(ask, settings) == (Exit.FAILED, ill)
        other = settings.model_copy(update={"token": None})
        code, reason = await asyncio.to_thread(ask, other)
        assert (code, "is http.token the daemon's?" in reason) == (Exit.UNAVAILABLE, True)
    code, reason = await asyncio.to_thread(ask, settings)
    assert (code, reason.endswith("Is the daemon running?")) == (Exit.UNAVAILABLE, True)
    assert TOKEN not in reason


@pytest.mark.parametrize("settings", [Http(enabled=False), Http(port=0)])
def test_a_daemon_that_cannot_be_asked_is_told_with_the_remedy(settings: Http) -> None:
    with pytest.raises(ConfigError, match="ingest status --check"):
        ask(settings)
