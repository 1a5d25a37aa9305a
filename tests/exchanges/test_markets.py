"""Steps and limits of a listing: the venue's digits as plain decimal text, whatever JSON or ccxt make of them."""

import json

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from ingest import clock
from ingest.errors import Retryable
from ingest.exchanges.ccxt_digits import Digits, step_text
from ingest.exchanges.limiter import Limiter
from ingest.exchanges.markets import load_instruments
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


async def test_the_listing_of_okx_has_every_kind_that_its_adapter_translates() -> None:
    listed = {"SPOT": "BTC-USDT", "SWAP": "BTC-USD-SWAP", "FUTURES": "BTC-USD-261225"}
    replies = {}
    for kind, native in listed.items():
        said = {"instType": kind, "instId": native, "state": "live", "tickSz": "0.1", "lotSz": "1", "minSz": "1"}
        if kind == "SPOT":
            said |= {"baseCcy": "BTC", "quoteCcy": "USDT"}
        else:
            said |= {"uly": "BTC-USD", "settleCcy": "BTC", "ctType": "inverse", "ctVal": "100", "ctMult": "1"}
        if kind == "FUTURES":
            said["expTime"] = "1798185600000"
        reply = json.dumps({"code": "0", "msg": "", "data": [said]}).encode()
        replies[f"/api/v5/public/instruments?instType={kind}"] = reply
    found = await load_instruments("okx", kinds=Okx.kinds, replies=replies)
    assert {one.native: one.kind for one in found} == dict(zip(listed.values(), Okx.kinds, strict=True))
    assert [one.symbol for one in found if one.expiry_ns] == ["BTC/USD:BTC-261225"]


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
