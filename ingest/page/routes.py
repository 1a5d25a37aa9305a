"""What the daemon's HTTP server answers for the page: the page itself, its files, and the websocket.

Who may ask, and the headers of every reply, are decided by `ingest.operate.http`.
"""

from importlib.resources import files

from aiohttp import web
from aiohttp.typedefs import Handler

from ingest.page.feed import Feed
from ingest.page.viewer import converse

TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
MAX_MESSAGE_BYTES = 1_024
_SEND_SECONDS = 10.0
_HEARTBEAT_SECONDS = 20.0


def _asset(body: bytes, content_type: str) -> Handler:
    """One file, read once at the start."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=body, content_type=content_type, charset="utf-8")

    return answer


def routes(feed: Feed, *, send_seconds: float = _SEND_SECONDS) -> list[web.RouteDef]:
    """`/`, `/page/…` and the websocket `/page/feed`.

    A viewer takes at most an update a second, and is dropped when one takes longer than `send_seconds` to be sent;
    one viewer too many is closed with 1013 (RFC 6455's registry: try again later).
    """

    async def follow(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=MAX_MESSAGE_BYTES, heartbeat=_HEARTBEAT_SECONDS)
        await socket.prepare(request)
        client = feed.enter()
        if client is None:
            await socket.close(code=1013, message=b"too many viewers")
            return socket
        try:
            await converse(request, socket, client, period_seconds=feed.period_seconds, send_seconds=send_seconds)
        finally:
            feed.leave(client)
        return socket

    made = [web.get("/page/feed", follow)]
    for entry in sorted(files("ingest.page").joinpath("static").iterdir(), key=lambda file: file.name):
        suffix = entry.name[entry.name.rfind(".") :]
        path = "/" if entry.name == "index.html" else f"/page/{entry.name}"
        made.append(web.get(path, _asset(entry.read_bytes(), TYPES[suffix])))
    return made
