"""REST calls to an exchange through ccxt, with the surface of `Rest`: one client, our limiter, its refusals sorted.

A request is `ccxt:METHOD?arguments`, a reply the frame of ccxt's unified result (`ccxt_frames.py`). ccxt spaces its
calls by each endpoint's own cost; our limiter counts a call as `rateLimit` milliseconds, and lets live data go first.
"""

from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

import ccxt.async_support as ccxt
import structlog

from ingest import clock
from ingest.errors import Blocked, Rejected, Retryable
from ingest.exchanges import ccxt_frames as frames
from ingest.exchanges.adapter import Request
from ingest.exchanges.ccxt_client import Clients, close
from ingest.exchanges.ccxt_errors import Seen, explain, remember, seen
from ingest.exchanges.limiter import Limiter
from ingest.exchanges.rest import Reply, Rest
from ingest.records import Channel
from ingest.retry import BLOCKED_RETRY_SECONDS

log = structlog.get_logger()

_CHANNELS: dict[str, Channel] = {
    "fetch_trades": "trades",
    "fetch_ohlcv": "candles",
    "fetch_order_book": "book",
    "fetch_bids_asks": "quotes",
    "fetch_ticker": "ticker",
    "fetch_funding_rate": "funding",
    "fetch_open_interest": "open_interest",
    "fetch_mark_price": "mark_price",
    "fetch_liquidations": "liquidations",
}
_LEVELS_MAX = 5000


class CcxtRest(Rest):
    """Calls within the exchange's limit. Used inside `async with`."""

    def __init__(
        self,
        exchange: str,
        limiter: Limiter,
        *,
        clients: Clients,
        proxy: str | None = None,
        tap: Callable[[str, int, bytes], None] | None = None,
    ) -> None:
        super().__init__(exchange, limiter, proxy=proxy, tap=tap)
        self._clients = clients
        self._client: Any = None
        self._unlimited: set[str] = set()  # methods of which the exchange refuses our `limit`

    async def __aenter__(self) -> Self:
        self._client = self._clients.rest()
        self._client.on_rest_response = remember
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._client is not None:
            await close(self._client)

    async def fetch(self, request: Request, *, keep: float = 0.0) -> Reply:
        if self._client is None:
            raise RuntimeError("CcxtRest is used outside of `async with`")
        await self.limiter.take(request.weight, keep=keep)
        parts = urlsplit(request.url)
        arguments = dict(parse_qsl(parts.query))
        asked_ns, reply = clock.monotonic_ns(), Seen()
        seen.set(reply)
        try:
            await self._clients.load_markets(self._client, (arguments["symbol"],))
            found = await self._call(parts.path, arguments)
            received_ns = clock.now_ns()
            channel, symbol = _CHANNELS[parts.path], arguments["symbol"]
            try:
                body = frames.made(channel, symbol, _of_symbol(channel, symbol, found), _LEVELS_MAX)
            except (ValueError, KeyError, TypeError, IndexError) as error:
                raise Rejected(f"{self._exchange}: {request.url}: {type(error).__name__}: {error}") from error
        except Rejected:
            self.error = None  # it answers
            raise
        except Exception as error:
            raise self._refusal_of(error, parts.path, reply) from error
        self.latency_ms = (clock.monotonic_ns() - asked_ns) // clock.MILLISECOND
        self.error = None
        if self._tap is not None:
            self._tap(request.url, received_ns, body)
        return Reply(body, received_ns, _date_ns(reply.header("date")))

    async def _call(self, method: str, arguments: dict[str, str]) -> Any:
        """With our `limit`, or without where the exchange takes it ill: it gives what it gives then."""
        if "limit" in arguments and method not in self._unlimited:
            try:
                return await self._made(method, arguments, int(arguments["limit"]))
            except (ccxt.NetworkError, ccxt.BadSymbol):
                raise
            except ccxt.BaseError as error:
                found = await self._made(method, arguments, None)
                self._unlimited.add(method)
                log.info("ccxt.limit_refused", exchange=self._exchange, method=method, error=str(error)[:200])
                return found
        return await self._made(method, arguments, None)

    async def _made(self, method: str, arguments: dict[str, str], limit: int | None) -> Any:
        call, symbol = getattr(self._client, method), arguments["symbol"]
        since = int(arguments["since"]) if "since" in arguments else None
        if method == "fetch_ohlcv":
            return await call(symbol, "1m", since, limit)
        if method in ("fetch_trades", "fetch_liquidations"):
            return await call(symbol, since, limit)
        if method == "fetch_order_book":
            return await call(symbol, limit)
        return await call([symbol] if method == "fetch_bids_asks" else symbol)

    def _refusal_of(self, error: Exception, method: str, reply: Seen) -> Blocked | Retryable | Rejected:
        told = explain(self._exchange, error, method, reply)
        if isinstance(told, Retryable):
            self.error = str(told)
            self.failed += 1
            hold = BLOCKED_RETRY_SECONDS if isinstance(told, Blocked) else told.retry_after_seconds
            if hold is not None:
                self.limiter.hold_until(clock.monotonic_ns() + int(hold * clock.SECOND))
        return told


def _of_symbol(channel: Channel, symbol: str, found: Any) -> Any:
    """Best prices come for several symbols at a time."""
    return found[symbol] if channel == "quotes" else found


def _date_ns(text: str | None) -> int | None:
    try:
        return None if text is None else int(parsedate_to_datetime(text).timestamp()) * clock.SECOND
    except ValueError:
        return None
