"""The daemon's HTTP server: who may ask, what every reply says, and what is refused at the start."""

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from ingest.config.operation import Http
from ingest.config.source import explain, load
from ingest.errors import ConfigError
from ingest.operate.http import HEADERS, HttpServer

TOKEN = "a-token-of-24-characters"


async def _say(request: web.Request) -> web.Response:
    return web.Response(text=f"{request.path} {request.query_string}".strip())


async def _talk(request: web.Request) -> web.WebSocketResponse:
    talk = web.WebSocketResponse()
    await talk.prepare(request)
    await talk.send_str("hello")
    await talk.close()
    return talk


ROUTES = [web.get("/", _say), web.get("/live", _say), web.get("/ws", _talk)]
Serve = Callable[..., AbstractAsyncContextManager[aiohttp.ClientSession]]


@pytest.fixture
def serve() -> Serve:
    """A client of a server with these settings, with a cookie jar that takes an address for a name."""

    @asynccontextmanager
    async def start(**settings: Any) -> AsyncIterator[aiohttp.ClientSession]:
        server = HttpServer(Http(port=0, **settings), ROUTES)
        async with server.running():
            jar = aiohttp.CookieJar(unsafe=True)
            async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}", cookie_jar=jar) as client:
                yield client
        assert server.port is None

    return start


async def test_every_reply_has_the_headers_also_where_nothing_is_found(serve: Serve) -> None:
    async with serve() as client:
        for path, status in (("/", 200), ("/nothing", 404)):
            async with client.get(path) as reply:
                assert reply.status == status
                assert {name: reply.headers.get(name) for name in HEADERS} == HEADERS


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_nothing_can_be_changed(serve: Serve, method: str) -> None:
    async with serve() as client, client.request(method, "/") as reply:
        assert (reply.status, reply.headers["Allow"]) == (405, "GET,HEAD")
    async with serve() as client, client.head("/") as head:
        assert (head.status, await head.text()) == (200, "")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *(("127.0.0.1:9464", 200), ("localhost", 200), ("[::1]:9464", 200)),
        *(("evil.example", 421), ("127.0.0.1.evil.example:9464", 421), ("192.168.1.7", 421), ("[nonsense", 421)),
    ],
)
async def test_a_name_that_points_here_is_no_way_in(serve: Serve, host: str, status: int) -> None:
    async with serve() as client, client.get("/", headers={"Host": host}) as reply:
        assert reply.status == status


async def test_a_page_from_elsewhere_gets_no_websocket(serve: Serve) -> None:
    async with serve() as client:
        own = f"http://127.0.0.1:{client._base_url.port}"  # type: ignore[union-attr]
        async with client.ws_connect("/ws", headers={"Origin": own}) as talk:
            assert await talk.receive_str() == "hello"
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.ws_connect("/ws", headers={"Origin": "https://evil.example"})
        assert refused.value.status == 403


async def test_a_token_is_asked_for_everywhere_but_at_live(serve: Serve) -> None:
    async with serve(token=TOKEN) as client:
        async with client.get("/live") as live:
            assert live.status == 200
        for headers in (
            {},
            {"Authorization": f"Bearer {TOKEN}x"},
            {"Authorization": f"Basic {TOKEN}"},
            {"Cookie": "ingest=x"},
        ):
            async with client.get("/", headers=headers) as refused:
                assert (refused.status, refused.headers["WWW-Authenticate"]) == (401, "Bearer")
                assert TOKEN not in await refused.text()
        async with client.get("/", headers={"Authorization": f"Bearer {TOKEN}"}) as known:
            assert known.status == 200


async def test_a_browser_gives_the_token_once_and_keeps_a_cookie_that_does_not_tell_it(serve: Serve) -> None:
    async with serve(token=TOKEN, bind="0.0.0.0") as client:  # noqa: S104 - that it wants the token is the point
        async with client.get("/", params={"token": "wrong-token-of-24-letters"}) as refused:
            assert refused.status == 401
        async with client.get("/", params={"token": TOKEN, "symbol": "BTC/USDT"}, allow_redirects=False) as sent_on:
            assert (sent_on.status, sent_on.headers["Location"]) == (303, "/?symbol=BTC/USDT")
            cookie = sent_on.headers["Set-Cookie"]
            assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))
            assert TOKEN not in cookie
        async with client.get("/") as known:
            assert known.status == 200
        async with client.ws_connect("/ws") as talk:
            assert await talk.receive_str() == "hello"


async def test_a_port_that_is_taken_is_told_with_the_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"http.port: cannot listen at 127.0.0.1:{port}: .*Set http.port"):
            async with HttpServer(Http(port=port), ROUTES).running():
                pass


async def test_without_it_nothing_listens() -> None:
    server = HttpServer(Http(enabled=False), ROUTES)
    async with server.running():
        assert server.port is None


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('bind = "0.0.0.0"', "http: bind = 0.0.0.0 lets other machines in, which needs a token; set http.token"),
        ('bind = "::"', "http: bind = :: lets other machines in"),
        ('bind = "all"', "http.bind: is no IP address; write 127.0.0.1"),
        ('token = "short"', "http.token: must be 16 to 256 letters, digits"),
        ('token = "with a space in between"', "http.token: must be 16 to 256"),
    ],
)
def test_what_is_refused(tmp_path: Path, lines: str, message: str) -> None:
    path = tmp_path / "ingest.toml"
    path.write_text(f"[http]\n{lines}\n")
    with pytest.raises(ConfigError) as refused:
        load(path, environ={})
    assert message in str(refused.value)
    assert "with a space" not in str(refused.value)


def test_the_token_comes_from_a_file_and_is_never_shown(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    environ = {"INGEST_HTTP__TOKEN_FILE": str(tmp_path / "token"), "INGEST_HTTP__BIND": "::"}
    loaded = load(None, environ=environ)
    shown = {key: value for key, value, _ in explain(loaded)}
    assert (shown["http.bind"], shown["http.token"]) == ("::", "***")
    assert loaded.config.http.token is not None
    assert loaded.config.http.token.get_secret_value() == TOKEN
    assert TOKEN not in repr(loaded)
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "http.token").write_text(TOKEN)
    known = load(None, environ={"CREDENTIALS_DIRECTORY": str(folder)})
    assert known.origins["http.token"] == "credential http.token"
