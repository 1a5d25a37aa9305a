"""REST calls to one venue: one HTTP session, one limiter, and the venue's refusals sorted."""

from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Self

import aiohttp
from msgspec import Struct

from ingest import __version__, clock
from ingest.errors import Blocked, Rejected, Retryable
from ingest.exchanges.adapter import Request
from ingest.exchanges.limiter import Limiter
from ingest.retry import BLOCKED_RETRY_SECONDS

_TIMEOUT = aiohttp.ClientTimeout(total=30, sock_connect=10)
_SHOWN = 200
_USED_WEIGHT = "X-MBX-USED-WEIGHT-1M"
"""Binance's: https://developers.binance.com/docs/binance-spot-api-docs/rest-api/limits#ip-limits"""


class Reply(Struct, frozen=True):
    """A successful reply. `venue_ns` is the venue's clock (its `Date` header), None where it sent none."""

    body: bytes
    received_ns: int
    venue_ns: int | None


class Rest:
    """Calls within the venue's weight a minute. Used inside `async with`."""

    def __init__(
        self,
        exchange: str,
        limiter: Limiter,
        *,
        proxy: str | None = None,
        tap: Callable[[str, int, bytes], None] | None = None,
    ) -> None:
        """`tap` is shown each reply: url, time of receipt, body."""
        self._exchange = exchange
        self.limiter = limiter
        self._proxy = proxy
        self._tap = tap
        self._session: aiohttp.ClientSession | None = None
        self.latency_ms: int | None = None  # of the latest call that was answered
        self.error: str | None = None  # what the latest call ended with, None when it was answered well
        self.failed = 0  # calls that were not

    @property
    def free(self) -> float:
        """The share of the venue's limit that may be used at once."""
        return self.limiter.free(clock.monotonic_ns())

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            timeout=_TIMEOUT, headers={"User-Agent": f"ingest/{__version__}"}, trust_env=self._proxy is None
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def fetch(self, request: Request, *, keep: float = 0.0) -> Reply:
        """One call, within the limit; `keep` of it is left for others, who then go first.

        Raises Blocked on 403 and 451, Retryable on 418, 429, 5xx and a broken line, Rejected on other refusals.
        """
        if self._session is None:
            raise RuntimeError("Rest is used outside of `async with`")
        await self.limiter.take(request.weight, keep=keep)
        asked_ns = clock.monotonic_ns()
        try:
            async with self._session.get(request.url, headers=dict(request.headers), proxy=self._proxy) as response:
                body = await response.read()
                received_ns = clock.now_ns()
                self.latency_ms = (clock.monotonic_ns() - asked_ns) // clock.MILLISECOND
                self.error = None
                self._heed(response)
                if response.status != 200:
                    raise self._refusal(response, request, body)
                if self._tap is not None:
                    self._tap(request.url, received_ns, body)
                return Reply(body, received_ns, _date_ns(response.headers.get("Date")))
        except (Blocked, Retryable) as error:
            self.error = str(error)
            self.failed += 1
            raise
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self.failed += 1
            self.error = f"{self._exchange}: cannot reach {_host(request.url)}: {_reason(error)}"
            raise Retryable(self.error) from error

    def _heed(self, response: aiohttp.ClientResponse) -> None:
        """What the venue itself has counted, of all programs behind this address, where it says so."""
        used, at_ns = response.headers.get(_USED_WEIGHT, ""), _date_ns(response.headers.get("Date"))
        if used.isascii() and used.isdigit() and at_ns is not None:
            self.limiter.counted(int(used), at_ns // clock.SECOND % 60, clock.monotonic_ns())

    def _refusal(
        self, response: aiohttp.ClientResponse, request: Request, body: bytes
    ) -> Blocked | Retryable | Rejected:
        what = f"{self._exchange}: HTTP {response.status} from {_host(request.url)}"
        text = body[:_SHOWN].decode(errors="replace")
        if response.status in (403, 451):
            self.limiter.hold_until(clock.monotonic_ns() + int(BLOCKED_RETRY_SECONDS * clock.SECOND))
            return blocked(self._exchange, response.status)
        if response.status in (418, 429):
            wait = retry_after_seconds(response.headers.get("Retry-After"))
            self.limiter.hold_until(clock.monotonic_ns() + int(wait * clock.SECOND))
            return Retryable(f"{what}: over the rate limit, waiting {wait:.0f} s", retry_after_seconds=wait)
        if response.status >= 500 or response.status in (408, 425):
            return Retryable(f"{what}: {text}")
        return Rejected(f"{what} to {request.url}: {text}")


def blocked(exchange: str, status: int) -> Blocked:
    """The state of a venue that refuses this address."""
    return Blocked(
        f"{exchange}: HTTP {status}, the venue refuses this address (a region it does not serve, or a ban). "
        f"Set [exchanges.{exchange}] proxy, or rest_url and ws_url of a host that serves you."
    )


def _date_ns(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return int(parsedate_to_datetime(text).timestamp()) * clock.SECOND
    except ValueError:
        return None


def retry_after_seconds(text: str | None) -> float:
    """Seconds, an hour at most; a minute where the venue says nothing that can be read."""
    return min(float(text), 3600.0) if text is not None and text.isascii() and text.isdigit() else 60.0


def _host(url: str) -> str:
    return url.split("/")[2]


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError) and not str(error):
        return f"no answer within {_TIMEOUT.total:g} s"
    return str(error) or type(error).__name__
