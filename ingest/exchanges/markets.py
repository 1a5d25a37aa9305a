"""Instruments of a venue, through ccxt's `load_markets`, for the market types that are configured."""

from collections.abc import Callable
from typing import Any

import ccxt.async_support as ccxt
import orjson

from ingest import clock
from ingest.errors import Fatal, Retryable
from ingest.exchanges.rest import blocked
from ingest.records import Instrument

_KINDS = {"spot": "spot", "swap": "swap", "future": "future", "option": "option"}


async def load_instruments(
    exchange: str,
    *,
    kinds: tuple[str, ...] = ("spot",),
    rest_url: str | None = None,
    proxy: str | None = None,
    tap: Callable[[str, int, bytes], None] | None = None,
) -> list[Instrument]:
    """All instruments of the kinds. Raises Retryable when the venue cannot be reached, Blocked when it refuses us.

    Numbers come as the venue's digits: ccxt is told to parse them as text.
    """
    client: Any = getattr(ccxt, exchange)(
        {"enableRateLimit": True, "timeout": 20_000, "aiohttp_trust_env": proxy is None}
    )
    client.number = str
    client.options["fetchMarkets"] = {"types": list(kinds)}
    client.options["fetchCurrencies"] = False
    if rest_url is not None:
        client.urls["api"]["public"] = f"{rest_url.rstrip('/')}/api/v3"
    if proxy is not None:
        client.https_proxy = proxy
    try:
        markets = await client.load_markets()
    except ccxt.NetworkError as error:
        refused = next((status for status in (403, 451) if f" {status} " in str(error)), None)
        if refused is not None:
            raise blocked(exchange, refused) from error
        raise Retryable(f"{exchange}: cannot load the instruments: {_short(error)}") from error
    except ccxt.BaseError as error:
        raise Fatal(f"{exchange}: cannot load the instruments: {_short(error)}") from error
    finally:
        await client.close()
    if tap is not None and client.last_http_response:
        tap(client.last_request_url, clock.now_ns(), client.last_http_response.encode())
    return [_instrument(exchange, market) for market in markets.values() if market["type"] in kinds]


def _instrument(exchange: str, market: dict[str, Any]) -> Instrument:
    limits, precision = market["limits"], market["precision"]
    return Instrument(
        exchange=exchange,
        symbol=market["symbol"],
        native=market["id"],
        kind=_KINDS[market["type"]],
        base=market["base"],
        quote=market["quote"],
        settle=market.get("settle"),
        price_step=precision.get("price"),
        amount_step=precision.get("amount"),
        min_amount=limits["amount"].get("min"),
        max_amount=limits["amount"].get("max"),
        min_notional=limits["cost"].get("min"),
        contract_size=market.get("contractSize"),
        expiry_ns=market["expiry"] * clock.MILLISECOND if market.get("expiry") else None,
        active=market.get("active") is not False,
        info=orjson.dumps(market["info"]),
    )


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
