"""ccxt's errors as ours: what to try again, what is refused for good, what is blocked."""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

import ccxt.async_support as ccxt

from ingest.errors import Blocked, Rejected, Retryable
from ingest.exchanges.rest import blocked, retry_after_seconds

REFUSALS = (
    ccxt.AuthenticationError,
    ccxt.NotSupported,
    ccxt.BadSymbol,
    ccxt.BadRequest,
    ccxt.ArgumentsRequired,
    ccxt.MarketClosed,
)
"""What asking again does not change."""
BROKEN_BOOKS = (ccxt.ChecksumError, ccxt.InvalidNonce)
_SHOWN = 300


class Seen:
    """The status and the headers of a call's last reply: ccxt's errors carry neither."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: Mapping[str, str] = {}

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers.items() if key.lower() == name), None)


seen: ContextVar[Seen] = ContextVar("seen")
"""Of the call that is made now: several may be, with one client."""


def remember(code: int, _reason: str, _url: str, _method: str, headers: Mapping[str, str], body: str, *_: Any) -> str:
    """For ccxt's `on_rest_response`."""
    reply = seen.get(None)
    if reply is not None:
        reply.status, reply.headers = code, headers
    return body.strip()  # what ccxt's own hook does


def explain(
    exchange: str, error: BaseException, what: str, reply: Seen | None = None
) -> Retryable | Rejected | Blocked:
    """`what` was being done. Retryable and Blocked as `Rest.fetch` raises them, else Rejected."""
    status, after = _status(error, reply)
    if status in (403, 451):
        return blocked(exchange, status)
    if status in (418, 429) or isinstance(error, ccxt.RateLimitExceeded):
        wait = retry_after_seconds(after)
        message = f"{exchange}: {what}: over the rate limit, waiting {wait:.0f} s"
        return Retryable(message, retry_after_seconds=wait)
    said = f"{exchange}: {what}: {cause(error)}"
    if isinstance(error, REFUSALS):
        return Rejected(said)
    if isinstance(error, ccxt.BaseError) and not isinstance(error, ccxt.OperationFailed):
        return Rejected(said) if status and 400 <= status < 500 else Retryable(said)
    if isinstance(error, ccxt.BaseError | OSError | TimeoutError):
        return Retryable(said)
    return Rejected(f"{exchange}: {what}: ccxt failed: {type(error).__name__}: {error}")


def cause(error: BaseException) -> str:
    """The message names the request; what went wrong is said by the error below it."""
    below = error.__cause__ or error.__context__
    return f"{_short(error)}: {_short(below)}" if below is not None and str(below) else _short(error)


def _status(error: BaseException, reply: Seen | None) -> tuple[int, str | None]:
    """Of a REST reply, or of a refused handshake, which ccxt wraps into an error of its own."""
    if reply is not None and reply.status:
        return reply.status, reply.header("retry-after")
    inner = next((each for each in error.args if isinstance(each, BaseException)), error)
    headers = getattr(inner, "headers", None) or {}
    return getattr(inner, "status", 0), headers.get("Retry-After")


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:_SHOWN] or type(error).__name__
