"""Whether the daemon is alive and ready: `/live`, `/ready`, and `ingest health`, which asks for the latter.

*Alive* is whoever answers: the answer comes from the event loop itself. *Ready* is one whose every part is well; the
parts are named in the answer, each with what is wrong.
"""

from collections.abc import Callable, Mapping
from typing import Literal
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, Request, build_opener

import msgspec
from aiohttp import web
from msgspec import Struct

from ingest.config.operation import Http
from ingest.errors import ConfigError, Exit
from ingest.store.registry import State

Name = Literal["configuration", "schema", "database", "streams"]

_TIMEOUT_SECONDS = 10.0


class Part(Struct, frozen=True):
    """One part; `detail` says what it is, or what is wrong with it."""

    ok: bool
    detail: str


Parts = Mapping[Name, Part]


class Answer(Struct, frozen=True):
    """The body of `/ready`, as JSON; its status is 200 when `ready`, else 503."""

    ready: bool
    parts: dict[str, Part]


def streams_part(states: Mapping[State, int]) -> Part:
    """From the number of streams by state: all of those that are collected must be live, and there must be some."""
    wanted = sum(count for state, count in states.items() if state != "stopped")
    live = states.get("live", 0)
    others = ", ".join(
        f"{count} {state}" for state, count in sorted(states.items()) if state not in ("live", "stopped")
    )
    return Part(ok=0 < wanted == live, detail=f"{live} of {wanted} live{f': {others}' if others else ''}")


def routes(parts: Callable[[], Parts]) -> list[web.RouteDef]:
    """`/live` and `/ready`."""

    async def live(_: web.Request) -> web.Response:
        return web.json_response({"live": True})

    async def ready(_: web.Request) -> web.Response:
        found = parts()
        answer = Answer(ready=all(part.ok for part in found.values()), parts=dict(found.items()))
        body = msgspec.json.encode(answer)
        return web.Response(body=body, status=200 if answer.ready else 503, content_type="application/json")

    return [web.get("/live", live), web.get("/ready", ready)]


def ask(settings: Http) -> tuple[Exit, str]:
    """`ingest health`: OK when the daemon is ready, FAILED when it is not, UNAVAILABLE when it does not answer.

    The text says what is wrong, and nothing when all is well. Raises ConfigError where the server is off, or its port
    is not known beforehand.
    """
    if not settings.enabled or settings.port == 0:
        key = "http.enabled = false" if not settings.enabled else "http.port = 0"
        raise ConfigError(
            f"the daemon cannot be asked with {key}; remove it, or ask the database: `ingest status --check`"
        )
    url = f"http://{_host(settings.bind)}:{settings.port}/ready"
    headers = {"Authorization": f"Bearer {settings.token.get_secret_value()}"} if settings.token else {}
    opener = build_opener(ProxyHandler({}))  # no proxy stands between this machine and itself
    try:
        with opener.open(Request(url, headers=headers), timeout=_TIMEOUT_SECONDS) as reply:
            return _judge(reply.read(), url)
    except HTTPError as error:
        with error:
            if error.code == 503:
                return _judge(error.read(), url)
            return Exit.UNAVAILABLE, f"{url} answers {error.code} {error.reason}: is http.token the daemon's?"
    except (URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        return Exit.UNAVAILABLE, f"no answer from {url}: {reason}. Is the daemon running?"


def _judge(body: bytes, url: str) -> tuple[Exit, str]:
    try:
        answer = msgspec.json.decode(body, type=Answer)
    except msgspec.DecodeError:
        return Exit.UNAVAILABLE, f"{url} is not a daemon of ours"
    ill = [f"{name}: {part.detail}" for name, part in answer.parts.items() if not part.ok]
    return (Exit.OK, "") if answer.ready else (Exit.FAILED, "; ".join(ill))


def _host(bind: str) -> str:
    """Where a server that listens at `bind` is to be asked from this machine."""
    if bind in ("0.0.0.0", "::"):  # noqa: S104 - it is compared
        return "127.0.0.1" if bind == "0.0.0.0" else "[::1]"  # noqa: S104 - as above
    return f"[{bind}]" if ":" in bind else bind
