"""Instruments of a venue, through ccxt's `load_markets`: all that it lists, also what no adapter translates."""

import math
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import ccxt.async_support as ccxt
import orjson
import structlog

from ingest import clock
from ingest.errors import Fatal, IngestError, Retryable
from ingest.exchanges.ccxt_digits import decode_json, exact, step_text
from ingest.exchanges.limiter import Limiter
from ingest.exchanges.rest import blocked, retry_after_seconds
from ingest.records import Instrument

log = structlog.get_logger()

_KINDS = ("spot", "swap", "future", "option", "index")
"""What `ingest.instruments` takes."""
_LISTS: dict[str, dict[str, Any]] = {
    "binance": {"types": ["spot"]},
    "bybit": {"options": ["All"], "loadAllOptions": True},
}
"""What ccxt is told where it would list more than the venue, or less.

Binance's contracts are venues of their own (`binanceusdm`, `binancecoinm`). Of Bybit's options it would ask for a few
coins, and for the first page: https://bybit-exchange.github.io/docs/v5/market/instrument
"""
_AT_LEAST = {"bybit": ["spot", "linear"], "okx": ["spot", "swap", "future"]}
"""What is listed where not all can be had: not every host of a venue has its options."""
_SEVERAL = 2
_HOST = re.compile(r"^https?://[^/]+")


async def load_instruments(
    exchange: str,
    *,
    rest_url: str | None = None,
    proxy: str | None = None,
    tap: Callable[[str, int, bytes], None] | None = None,
    replies: Mapping[str, bytes] | None = None,
    limiter: Limiter | None = None,
) -> list[Instrument]:
    """All that the venue lists. Raises Retryable when the venue cannot be reached, Blocked when it refuses us.

    Steps and limits are the venue's digits, as plain decimal text, also where it sends JSON numbers. With `replies`
    (bodies by path and query, or path alone) nothing is fetched: they are what the venue once said, and a part of the
    listing that they lack is empty. `tap` is shown each reply: url, time, body. The calls are within the `limiter`, and
    it is told where the venue wants us to wait.
    """
    client = _client(exchange, rest_url, proxy)
    if exchange in _LISTS:
        client.options["fetchMarkets"] = {**client.options["fetchMarkets"], **_LISTS[exchange]}
    client.options["fetchCurrencies"] = False
    if replies is not None:
        client.fetch = _from(replies)
    elif tap is not None:
        client.fetch = _shown_to(tap, client)
    if limiter is not None:
        client.throttle = _within(limiter, client.rateLimit)
    seen = Seen()
    client.on_rest_response = seen
    try:
        markets = await _markets(client)
    except ccxt.BaseError as error:
        translated = _translate(exchange, error, seen)
        if limiter is not None and isinstance(translated, Retryable) and translated.retry_after_seconds:
            limiter.hold_until(clock.monotonic_ns() + int(translated.retry_after_seconds * clock.SECOND))
        raise translated from error
    finally:
        await client.close()
    if replies is not None and not markets:
        raise Fatal(f"{exchange}: the recording holds no listing of its instruments")
    return [_instrument(exchange, market) for market in markets.values() if market["type"] in _KINDS]


async def _markets(client: Any) -> dict[str, Any]:
    """All of them, or those that can be collected: what is only remembered must not keep a venue from starting."""
    try:
        if client.id == "okx":
            client.options["defaultUnderlying"] = await _underlyings(client)
        return await client.load_markets()  # type: ignore[no-any-return]  # ccxt has no types
    except Exception as error:
        if client.id not in _AT_LEAST or isinstance(error, ccxt.NetworkError):
            raise
        log.warning("exchange.listing_partial", exchange=client.id, error=_short(error))
    client.options["fetchMarkets"] = {**client.options["fetchMarkets"], "types": _AT_LEAST[client.id]}
    return await client.load_markets()  # type: ignore[no-any-return]


async def _underlyings(client: Any) -> list[str]:
    """Of all OKX's options, of which it lists those of one underlying a call; ccxt would ask for two of them.

    https://www.okx.com/docs-v5/en/#public-data-rest-api-get-underlying
    """
    reply = await client.publicGetPublicUnderlying({"instType": "OPTION"})
    return [underlying for group in reply.get("data", ()) for underlying in group]


def _within(limiter: Limiter, rate_limit_ms: float) -> Callable[..., Awaitable[None]]:
    """In place of ccxt's own throttle, which counts a call as `cost` times so many milliseconds of the venue's time."""

    async def throttle(cost: float | None = None) -> None:
        minutes = (1.0 if cost is None else cost) * rate_limit_ms / 60_000
        await limiter.take(math.ceil(minutes * limiter.weight_per_minute))

    return throttle


def at_host(urls: Any, host: str, of: re.Pattern[str] = _HOST) -> Any:
    """The same addresses at another host, where they are `of` this kind."""
    if isinstance(urls, dict):
        return {name: at_host(url, host, of) for name, url in urls.items()}
    return of.sub(host, urls) if isinstance(urls, str) else urls


async def load_announcement(
    exchange: str, *, rest_url: str | None = None, proxy: str | None = None, limiter: Limiter | None = None
) -> str | None:
    """What the venue says of its own maintenance, None where all is well or it says nothing (or cannot be asked)."""
    client = _client(exchange, rest_url, proxy)
    if limiter is not None:
        client.throttle = _within(limiter, client.rateLimit)
    try:
        if not client.has.get("fetchStatus"):
            return None
        status = await client.fetch_status()
    except ccxt.BaseError:
        return None  # its streams and REST calls tell the rest
    finally:
        await client.close()
    if status.get("status") in ("ok", None):
        return None
    return f"the venue reports {status['status']}" + (f", until {status['eta']}" if status.get("eta") else "")


def _client(exchange: str, rest_url: str | None, proxy: str | None) -> Any:
    client: Any = exact(getattr(ccxt, exchange))(
        {"enableRateLimit": True, "timeout": 20_000, "aiohttp_trust_env": proxy is None}
    )
    client.number = str
    if rest_url is not None:
        client.urls["api"] = at_host(client.urls["api"], rest_url.rstrip("/"))
    if proxy is not None:
        client.https_proxy = proxy
    return client


class Seen:
    """Remembers the status and the headers of the last reply: ccxt's errors carry neither."""

    def __init__(self) -> None:
        self.status = 0
        self.retry_after = ""

    def __call__(
        self, code: int, _reason: str, _url: str, _method: str, headers: Mapping[str, str], body: Any, *_: Any
    ) -> Any:
        self.status = code
        self.retry_after = next((value for name, value in headers.items() if name.lower() == "retry-after"), "")
        return body.strip()  # what ccxt's own hook does


def _translate(exchange: str, error: ccxt.BaseError, seen: Seen) -> IngestError:
    if seen.status in (403, 451):
        return blocked(exchange, seen.status)
    if seen.status in (418, 429):
        wait = retry_after_seconds(seen.retry_after)
        return Retryable(
            f"{exchange}: HTTP {seen.status}: over the rate limit, waiting {wait:.0f} s", retry_after_seconds=wait
        )
    if isinstance(error, ccxt.NetworkError):
        return Retryable(f"{exchange}: cannot load the instruments: {_cause(error)}")
    return Fatal(f"{exchange}: cannot load the instruments: {_short(error)}")


Fetch = Callable[..., Awaitable[Any]]


def _from(replies: Mapping[str, bytes]) -> Fetch:
    """A path stands for all of its queries where no more than one of them is known."""
    known = Counter(call.partition("?")[0] for call in replies if "?" in call)

    async def fetch(url: str, *_: object) -> Any:
        parts = urlsplit(url)
        of_path = replies.get(parts.path) if known[parts.path] < _SEVERAL else None
        body = replies.get(f"{parts.path}?{parts.query}", of_path)
        return {} if body is None else decode_json(body)

    return fetch


def _shown_to(tap: Callable[[str, int, bytes], None], client: Any) -> Fetch:
    original = client.fetch

    async def fetch(url: str, *arguments: Any) -> Any:
        reply = await original(url, *arguments)
        tap(url, clock.now_ns(), client.last_http_response.encode())
        return reply

    return fetch


def _instrument(exchange: str, market: dict[str, Any]) -> Instrument:
    limits, precision = market["limits"], market["precision"]
    return Instrument(
        exchange=exchange,
        symbol=market["symbol"],
        native=market["id"],
        kind=market["type"],
        base=market["base"],
        quote=market["quote"],
        settle=market.get("settle"),
        price_step=step_text(precision.get("price")),
        amount_step=step_text(precision.get("amount")),
        min_amount=step_text(limits["amount"].get("min")),
        max_amount=step_text(limits["amount"].get("max")),
        min_notional=step_text(limits["cost"].get("min")),
        contract_size=step_text(market.get("contractSize")),
        expiry_ns=int(market["expiry"]) * clock.MILLISECOND if market.get("expiry") else None,
        active=market.get("active") is not False,
        info=orjson.dumps(market["info"]),
    )


def _cause(error: BaseException) -> str:
    """Ccxt's message names the request; what went wrong is said by the error below it."""
    below = error.__cause__ or error.__context__
    return f"{_short(error)}: {_short(below)}" if below is not None and str(below) else _short(error)


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
