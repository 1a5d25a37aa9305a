"""The daemon's HTTP server: one small aiohttp application that only reads.

Whoever adds routes gives `aiohttp.web.RouteDef`s; who may ask, and what every reply says, is decided here:

- Only GET and HEAD.
- On a loopback address the `Host` header must name this machine, or a page elsewhere could point a name of its own at
  127.0.0.1 and read along (DNS rebinding). An `Origin` must be the server's own: a websocket is not held back by the
  browser's same-origin rule (RFC 6455, 10.2).
- With a token every path but `/live` wants it: as `Authorization: Bearer`, or as a cookie. A browser gets the cookie by
  opening any path with `?token=` once; it is sent on to the same path without it, so that no address keeps the token.
"""

import hashlib
import hmac
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from ipaddress import ip_address
from urllib.parse import urlsplit

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from ingest.config.operation import Http
from ingest.errors import ConfigError

log = structlog.get_logger()

COOKIE = "ingest"
OPEN_PATHS = frozenset({"/live"})
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
    "Server": "ingest",  # no version of ours or of aiohttp
}
_SHUTDOWN_SECONDS = 2.0


class HttpServer:
    """Answers `routes` while `running`. `port` is then the one that it listens at, also where 0 was configured."""

    def __init__(self, settings: Http, routes: Iterable[web.RouteDef]) -> None:
        self._settings = settings
        self._routes = tuple(routes)
        self._token = settings.token.get_secret_value() if settings.token else None
        self.port: int | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listens until the block ends; does nothing where it is not enabled.

        Raises ConfigError for an address or port that cannot be had: a daemon that cannot be looked at is not started.
        """
        if not self._settings.enabled:
            yield
            return
        runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
        await runner.setup()
        try:
            await self._listen(runner)
            yield
        finally:
            self.port = None
            await runner.cleanup()

    def _application(self) -> web.Application:
        application = web.Application(middlewares=[self._guard])
        application.add_routes(self._routes)
        application.on_response_prepare.append(_add_headers)
        return application

    async def _listen(self, runner: web.AppRunner) -> None:
        bind, port = self._settings.bind, self._settings.port
        try:
            await web.TCPSite(runner, bind, port).start()
        except OSError as error:
            raise ConfigError(
                f"http.port: cannot listen at {_authority(bind, port)}: {error.strerror or error}; is another daemon "
                "there? Set http.port or http.bind, or http.enabled = false"
            ) from None
        self.port = runner.addresses[0][1]
        log.info("http.listening", url=f"http://{_authority(bind, self.port)}", token=self._token is not None)

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method not in ("GET", "HEAD"):
            raise web.HTTPMethodNotAllowed(request.method, ["GET", "HEAD"])
        if self._settings.is_loopback and not _is_this_machine(request.host):
            raise web.HTTPMisdirectedRequest(text="ask by 127.0.0.1, [::1] or localhost\n")
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.host:
            raise web.HTTPForbidden(text="asked by a page from elsewhere\n")
        if self._token is None or request.path in OPEN_PATHS:
            return await handler(request)
        if (given := request.query.get("token")) is not None and _same(given, self._token):
            return self._welcome(request)
        if not self._is_known(request, self._token):
            hint = "a token is needed: Authorization: Bearer TOKEN, or once ?token=TOKEN in a browser\n"
            raise web.HTTPUnauthorized(text=hint, headers={"WWW-Authenticate": "Bearer"})
        return await handler(request)

    def _is_known(self, request: web.Request, token: str) -> bool:
        scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and _same(credentials.strip(), token):
            return True
        return _same(request.cookies.get(COOKIE, ""), _cookie(token))

    def _welcome(self, request: web.Request) -> web.Response:
        query = {name: text for name, text in request.query.items() if name != "token"}
        reply = web.Response(status=303, headers={"Location": str(request.rel_url.with_query(query))})
        assert self._token is not None  # noqa: S101 - only who has one comes here
        # Lax: a link from elsewhere opens the page, but no other page's websocket or image carries the cookie.
        secure = request.secure or request.headers.get("X-Forwarded-Proto") == "https"
        reply.set_cookie(COOKIE, _cookie(self._token), httponly=True, samesite="Lax", secure=secure)
        return reply


async def _add_headers(_request: web.Request, reply: web.StreamResponse) -> None:
    reply.headers.update(HEADERS)


def _cookie(token: str) -> str:
    """What the browser keeps: made from the token, so that it outlives a restart and does not tell the token."""
    return hmac.new(token.encode(), b"ingest cookie", hashlib.sha256).hexdigest()


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(), wanted.encode())


def _authority(host: str, port: int | None) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _is_this_machine(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False
