"""Steps and limits of a listing: the venue's digits as plain decimal text, whatever JSON or ccxt make of them."""

import json

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from structlog.testing import capture_logs

from ingest import clock
from ingest.errors import Fatal, Retryable
from ingest.exchanges.adapter import Options
from ingest.exchanges.bybit import Bybit
from ingest.exchanges.ccxt_digits import Digits, step_text
from ingest.exchanges.limiter import Limiter
from ingest.exchanges.markets import load_announcement, load_instruments
from ingest.exchanges.okx import Okx

BINANCE = b"""{"timezone":"UTC","serverTime":1795262400000,"symbols":[{"symbol":"PEPEUSDT","status":"TRADING",
"baseAsset":"PEPE","baseAssetPrecision":8,"quoteAsset":"USDT","quoteAssetPrecision":8,"isSpotTradingAllowed":true,
"permissions":["SPOT"],"permissionSets":[["SPOT"]],"filters":[
{"filterType":"PRICE_FILTER","minPrice":0.00000001,"maxPrice":1000.00000000,"tickSize":1e-8},
{"filterType":"LOT_SIZE","minQty":0.123456789012345678901,"maxQty":92233720368.00000001,"stepSize":0.00001},
{"filterType":"NOTIONAL","minNotional":1.00000000000000000001}]}]}"""
BITSTAMP = b"""[{"name":"PEPE/USD","market_symbol":"pepeusd","base_currency":"PEPE","base_decimals":0,
"counter_currency":"USD","counter_decimals":10,"minimum_order_value":10.50,"minimum_order_amount":0.000010,
"trading":"Enabled","description":"Pepe / U.S. dollar","market_type":"SPOT"}]"""


async def test_fractions_of_json_keep_their_digits() -> None:
    (found,) = await load_instruments("binance", replies={"/api/v3/exchangeInfo": BINANCE})
    assert (found.price_step, found.amount_step) == ("0.00000001", "0.00001")
    assert (found.min_amount, found.max_amount) == ("0.123456789012345678901", "92233720368.00000001")
    assert found.min_notional == "1.00000000000000000001"
    assert b'"tickSize":"1e-8"' in found.info  # as it was said
    assert b"0.123456789012345678901" in found.info


class Counting(Limiter):
    def __init__(self, weight_per_minute: float, burst: float) -> None:
        super().__init__(weight_per_minute, burst)
        self.weights: list[int] = []

    async def take(self, weight: int, *, keep: float = 0.0) -> None:
        self.weights.append(weight)
        await super().take(weight, keep=keep)


async def test_the_listing_is_within_the_limit_of_all_other_calls() -> None:
    limiter = Counting(6_000, 100)
    await load_instruments("binance", replies={"/api/v3/exchangeInfo": BINANCE}, limiter=limiter)
    assert limiter.weights == [
        20
    ]  # https://developers.binance.com/docs/binance-spot-api-docs/rest-api/general-endpoints

    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "40"})

    app = web.Application()
    app.router.add_get("/{path:.*}", refuse)
    async with TestServer(app) as server:
        with pytest.raises(Retryable, match="waiting 40 s"):
            await load_instruments("binance", rest_url=str(server.make_url("/")), limiter=limiter)
    assert limiter.delay_seconds(1, clock.monotonic_ns()) > 20  # every other call waits, too


def okx(kind: str, native: str, **more: str) -> dict[str, str]:
    """One row as https://www.okx.com/docs-v5/en/#public-data-rest-api-get-instruments has it."""
    said = {"instType": kind, "instId": native, "state": "live", "tickSz": "0.1", "lotSz": "1", "minSz": "1"}
    if kind == "SPOT":
        return said | {"baseCcy": "BTC", "quoteCcy": "USDT"}
    return said | {"uly": "BTC-USD", "settleCcy": "BTC", "ctType": "inverse", "ctVal": "100", "ctMult": "1", **more}


async def test_the_listing_of_okx_is_whole_with_the_options_of_every_underlying() -> None:
    path, ends = "/api/v5/public/instruments?instType=", {"expTime": "1798185600000"}
    right = {**ends, "stk": "90000", "optType": "C"}
    listed = {
        f"{path}SPOT": [okx("SPOT", "BTC-USDT")],
        f"{path}SWAP": [okx("SWAP", "BTC-USD-SWAP")],
        f"{path}FUTURES": [okx("FUTURES", "BTC-USD-261225", **ends)],
        f"{path}OPTION&uly=BTC-USD": [okx("OPTION", "BTC-USD-261225-90000-C", **right)],
        f"{path}OPTION&uly=SOL-USD": [okx("OPTION", "SOL-USD-261225-90000-C", **right, uly="SOL-USD", settleCcy="SOL")],
        "/api/v5/public/underlying?instType=OPTION": [["BTC-USD", "SOL-USD"]],
    }
    replies = {call: json.dumps({"code": "0", "msg": "", "data": data}).encode() for call, data in listed.items()}
    found = await load_instruments("okx", replies=replies)
    assert {one.symbol: one.kind for one in found} == {
        "BTC/USDT": "spot",
        "BTC/USD:BTC": "swap",
        "BTC/USD:BTC-261225": "future",
        "BTC/USD:BTC-261225-90000-C": "option",
        "SOL/USD:SOL-261225-90000-C": "option",
    }
    adapter = Okx({}, Options())
    assert {one.kind for one in found if adapter.channels(one)} == set(Okx.kinds)


def bybit(native: str, base: str, quote: str, settle: str, contract: str, ends: str = "0") -> dict[str, object]:
    """One row as https://bybit-exchange.github.io/docs/v5/market/instrument has it."""
    sizes = {"qtyStep": "1", "minOrderQty": "1", "maxOrderQty": "9", "basePrecision": "0.01"}
    return {
        "symbol": native,
        "contractType": contract,
        "status": "Trading",
        "deliveryTime": ends,
        "baseCoin": base,
        "quoteCoin": quote,
        "settleCoin": settle,
        "optionsType": "Call",
        "priceFilter": {"tickSize": "0.5", "minPrice": "0.5", "maxPrice": "999"},
        "lotSizeFilter": sizes,
    }


async def test_the_listing_of_bybit_is_whole_with_every_page_of_the_options_of_every_coin() -> None:
    said = {
        "category=spot": [bybit("BTCUSDT", "BTC", "USDT", "USDT", "")],
        "category=linear&limit=1000": [bybit("BTCUSDT", "BTC", "USDT", "USDT", "LinearPerpetual")],
        "category=inverse&limit=1000": [
            bybit("BTCUSD", "BTC", "USD", "BTC", "InversePerpetual"),
            bybit("BTCUSDZ26", "BTC", "USD", "BTC", "InverseFutures", "1798185600000"),
        ],
        "category=option&baseCoin=All": [bybit("BTC-25DEC26-90000-C", "BTC", "USD", "USDC", "", "1798185600000")],
        "category=option&limit=1000&cursor=next&baseCoin=All": [
            bybit("SOL-25DEC26-90-C", "SOL", "USDT", "USDT", "", "1798185600000")
        ],
    }
    replies = {}
    for asked, rows in said.items():
        result = {"category": asked[9:].partition("&")[0], "list": rows, "nextPageCursor": ""}
        if asked == "category=option&baseCoin=All":
            result["nextPageCursor"] = "next"
        replies[f"/v5/market/instruments-info?{asked}"] = json.dumps({"retCode": 0, "result": result}).encode()
    found = await load_instruments("bybit", replies=replies)
    assert {one.symbol: one.kind for one in found} == {
        "BTC/USDT": "spot",
        "BTC/USDT:USDT": "swap",
        "BTC/USD:BTC": "swap",
        "BTC/USD:BTC-261225": "future",
        "BTC/USD:USDC-261225-90000-C": "option",
        "SOL/USDT:USDT-261225-90-C": "option",
    }
    adapter = Bybit({}, Options())
    assert {one.symbol for one in found if adapter.channels(one)} == {"BTC/USDT", "BTC/USDT:USDT"}


async def test_what_is_only_remembered_keeps_no_venue_from_starting() -> None:
    """A host of Bybit that has no options refuses to list them."""
    asked: list[str] = []

    async def instruments(request: web.Request) -> web.Response:
        category = request.query["category"]
        asked.append(category)
        if category not in ("spot", "linear"):
            return web.json_response({"retCode": 10001, "retMsg": "params error: category invalid"})
        rows = [] if "status" in request.query else [bybit("BTCUSDT", "BTC", "USDT", "USDT", "LinearPerpetual")]
        return web.json_response({"retCode": 0, "result": {"category": category, "list": rows}})

    app = web.Application()
    app.router.add_get("/v5/market/instruments-info", instruments)
    async with TestServer(app) as server:
        with capture_logs() as logs:
            found = await load_instruments("bybit", rest_url=str(server.make_url("/")))
    assert {one.symbol for one in found} == {"BTC/USDT", "BTC/USDT:USDT"}
    assert {"spot", "linear", "inverse", "option"} == set(asked)
    (entry,) = logs
    assert entry["event"] == "exchange.listing_partial"
    assert "category invalid" in entry["error"]


async def test_a_path_stands_for_its_one_query_and_not_for_several() -> None:
    """A recording of Bybit from before its options were listed: they are empty, and not its spot once more."""
    said = {
        "category=spot": [bybit("BTCUSDT", "BTC", "USDT", "USDT", "")],
        "category=linear&limit=1000": [bybit("BTCUSDT", "BTC", "USDT", "USDT", "LinearPerpetual")],
    }
    path, replies = "/v5/market/instruments-info", {}
    for asked, rows in said.items():
        body = json.dumps({"retCode": 0, "result": {"category": asked[9:].partition("&")[0], "list": rows}}).encode()
        replies[f"{path}?{asked}"] = body
        replies.setdefault(path, body)
    assert {one.symbol for one in await load_instruments("bybit", replies=replies)} == {"BTC/USDT", "BTC/USDT:USDT"}


async def test_a_recording_without_a_listing_is_refused_and_one_with_a_part_of_it_is_not() -> None:
    with pytest.raises(Fatal, match="okx: the recording holds no listing"):
        await load_instruments("okx", replies={})
    reply = json.dumps({"code": "0", "msg": "", "data": [okx("SPOT", "BTC-USDT")]}).encode()
    (found,) = await load_instruments("okx", replies={"/api/v5/public/instruments?instType=SPOT": reply})
    assert found.symbol == "BTC/USDT"


async def test_maintenance_is_asked_for_within_the_limit() -> None:
    """https://developers.binance.com/docs/wallet/others/system-status: 0 is normal, 1 is maintenance."""
    limiter = Counting(6_000, 100)
    said = {"status": 0, "msg": "normal"}

    async def status(_: web.Request) -> web.Response:
        return web.json_response(said)

    app = web.Application()
    app.router.add_get("/{path:.*}", status)
    async with TestServer(app) as server:
        url = str(server.make_url("/"))
        assert await load_announcement("binance", rest_url=url, limiter=limiter) is None
        said |= {"status": 1, "msg": "system maintenance"}
        assert "maintenance" in str(await load_announcement("binance", rest_url=url, limiter=limiter))
    assert len(limiter.weights) == 2


async def test_numbers_of_places_are_steps() -> None:
    (spot,) = await load_instruments("bitstamp", replies={"/api/v2/markets/": BITSTAMP})
    assert (spot.price_step, spot.amount_step) == ("0.0000000001", "1")
    assert (spot.min_amount, spot.min_notional) == ("0.000010", "10.50")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *(("0.010", "0.010"), ("1e-05", "0.00001"), ("1E+3", "1000"), (Digits("0.10"), "0.10"), (5, "5")),
        *((1e-05, "0.00001"), (0.5, "0.5"), (1e-10, "0.0000000001"), (100.0, "100.0"), (1e22, "1" + 22 * "0")),
        *((0.1 + 0.2, None), (1 / 3, None), (float("nan"), None), (float("inf"), None), (None, None), ("much", None)),
    ],
)
def test_a_step_as_text(value: object, text: str | None) -> None:
    assert step_text(value) == text
