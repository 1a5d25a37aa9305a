"""From the market's numbers to Binance's bytes: websocket payloads and REST bodies, in today's documented format.

https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams and …/rest-api/market-data-endpoints.
Prices and amounts are texts of eight decimals. Times are milliseconds, or microseconds where `micro` is asked.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from ingest.simulator.candles import Candle, following
from ingest.simulator.listing import UNIT, Listing
from ingest.simulator.market import Batch
from ingest.simulator.tape import Aggregate, Trade
from ingest.simulator.trail import Level

_KEPT_TEXTS = 200_000
_BOOLEAN = ("false", "true")
PRECISION = 8


class Digits(dict[int, str]):
    """Texts of whole numbers of one unit, made once: prices and amounts come again and again."""

    def __init__(self, unit_e8: int) -> None:
        super().__init__()
        self._unit = unit_e8

    def __missing__(self, number: int) -> str:
        if len(self) > _KEPT_TEXTS:
            self.clear()
        whole, rest = divmod(number * self._unit, UNIT)
        made = self[number] = f"{whole}.{rest:08d}"
        return made


def stamp(time_us: int, *, micro: bool) -> int:
    return time_us if micro else time_us // 1_000


class Scribe:
    """Writes one instrument's payloads."""

    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        self.native = listing.native
        self.price = Digits(listing.tick_e8)
        self.amount = Digits(listing.lot_e8)
        self.value = listing.value

    def trades(self, batch: Batch, *, micro: bool) -> list[str]:
        """One `trade` payload each. The hottest function of the venue."""
        event, unit = stamp(batch.time_us, micro=micro), 1 if micro else 1_000
        head = f'{{"e":"trade","E":{event},"s":"{self.native}","t":'
        price, amount = self.price, self.amount
        return [
            f'{head}{number},"p":"{price[p]}","q":"{amount[q]}","b":{b},"a":{a},"T":{t // unit},'
            f'"m":{_BOOLEAN[m]},"M":true}}'
            for number, t, p, q, m, b, a in zip(
                range(batch.first_id, batch.first_id + len(batch.times)),
                batch.times,
                batch.prices,
                batch.lots,
                batch.makers,
                batch.buyers,
                batch.sellers,
                strict=True,
            )
        ]

    def aggregates(self, batch: Batch, *, micro: bool) -> list[str]:
        event = stamp(batch.time_us, micro=micro)
        head = f'{{"e":"aggTrade","E":{event},"s":"{self.native}","a":'
        starts = batch.aggregates
        ends = [*starts[1:], len(batch.times)]
        return [
            f'{head}{number},"p":"{self.price[batch.prices[start]]}","q":"{self.amount[sum(batch.lots[start:end])]}",'
            f'"f":{batch.first_id + start},"l":{batch.first_id + end - 1},'
            f'"T":{stamp(batch.times[start], micro=micro)},"m":{_BOOLEAN[batch.makers[start]]},"M":true}}'
            for number, start, end in zip(
                range(batch.first_aggregate, batch.first_aggregate + len(starts)), starts, ends, strict=True
            )
        ]

    def kline(self, interval: str, candle: Candle, event_us: int, *, closed: bool, micro: bool) -> str:
        end_us = following(interval, candle.open_us)
        end = end_us - 1 if micro else end_us // 1_000 - 1
        price = self.price
        return (
            f'{{"e":"kline","E":{stamp(event_us, micro=micro)},"s":"{self.native}","k":{{'
            f'"t":{stamp(candle.open_us, micro=micro)},"T":{end},"s":"{self.native}","i":"{interval}",'
            f'"f":{candle.first_id},"L":{candle.last_id},"o":"{price[candle.open]}","c":"{price[candle.close]}",'
            f'"h":"{price[candle.high]}","l":"{price[candle.low]}","v":"{self.listing.amount(candle.lots)}",'
            f'"n":{candle.trades},"x":{_BOOLEAN[closed]},"q":"{self.value(candle.quote)}",'
            f'"V":"{self.listing.amount(candle.buy_lots)}","Q":"{self.value(candle.buy_quote)}","B":"0"}}}}'
        )

    def levels(self, side: Iterable[Level]) -> str:
        price, amount = self.price, self.amount
        return "[" + ",".join([f'["{price[ticks]}","{amount[lots]}"]' for ticks, lots in side]) + "]"

    def depth_update(
        self, first: int, last: int, bids: Iterable[Level], asks: Iterable[Level], event_us: int, *, micro: bool
    ) -> str:
        return (
            f'{{"e":"depthUpdate","E":{stamp(event_us, micro=micro)},"s":"{self.native}","U":{first},"u":{last},'
            f'"b":{self.levels(bids)},"a":{self.levels(asks)}}}'
        )

    def depth(self, sequence: int, bids: Iterable[Level], asks: Iterable[Level]) -> str:
        """The REST snapshot, and the payload of partial depth streams."""
        return f'{{"lastUpdateId":{sequence},"bids":{self.levels(bids)},"asks":{self.levels(asks)}}}'

    def book_ticker(self, sequence: int, bid: Level, ask: Level) -> str:
        return (
            f'{{"u":{sequence},"s":"{self.native}","b":"{self.price[bid[0]]}","B":"{self.amount[bid[1]]}",'
            f'"a":"{self.price[ask[0]]}","A":"{self.amount[ask[1]]}"}}'
        )

    def ticker(self, day: Candle, last_lots: int, bid: Level, ask: Level, now_us: int, *, micro: bool) -> str:
        facts = self.day_facts(day, last_lots, bid, ask, now_us, micro=micro)
        names = {"priceChange": "p", "priceChangePercent": "P", "weightedAvgPrice": "w", "prevClosePrice": "x"}
        names |= {"lastPrice": "c", "lastQty": "Q", "bidPrice": "b", "bidQty": "B", "askPrice": "a", "askQty": "A"}
        names |= {"openPrice": "o", "highPrice": "h", "lowPrice": "l", "volume": "v", "quoteVolume": "q"}
        names |= {"openTime": "O", "closeTime": "C", "firstId": "F", "lastId": "L", "count": "n"}
        body = ",".join(f'"{short}":{_json(facts[name])}' for name, short in names.items())
        return f'{{"e":"24hrTicker","E":{stamp(now_us, micro=micro)},"s":"{self.native}",{body}}}'

    def mini_ticker(self, day: Candle, now_us: int, *, micro: bool) -> str:
        price = self.price
        return (
            f'{{"e":"24hrMiniTicker","E":{stamp(now_us, micro=micro)},"s":"{self.native}","c":"{price[day.close]}",'
            f'"o":"{price[day.open]}","h":"{price[day.high]}","l":"{price[day.low]}",'
            f'"v":"{self.listing.amount(day.lots)}","q":"{self.value(day.quote)}"}}'
        )

    def day_facts(
        self, day: Candle, last_lots: int, bid: Level, ask: Level, now_us: int, *, micro: bool
    ) -> dict[str, str | int]:
        """The reply of `ticker/24hr`, whose names are the documentation's."""
        change = day.close - day.open
        price, amount = self.price, self.amount
        thousandths = abs(change) * 100_000 // day.open
        weighted = day.quote // day.lots if day.lots else 0
        return {
            "symbol": self.native,
            "priceChange": self.listing.price(change),
            "priceChangePercent": f"{'-' if change < 0 else ''}{thousandths // 1000}.{thousandths % 1000:03d}",
            "weightedAvgPrice": price[weighted],
            "prevClosePrice": price[day.open],
            "lastPrice": price[day.close],
            "lastQty": amount[last_lots],
            "bidPrice": price[bid[0]],
            "bidQty": amount[bid[1]],
            "askPrice": price[ask[0]],
            "askQty": amount[ask[1]],
            "openPrice": price[day.open],
            "highPrice": price[day.high],
            "lowPrice": price[day.low],
            "volume": self.listing.amount(day.lots),
            "quoteVolume": self.value(day.quote),
            "openTime": stamp(day.open_us, micro=micro),
            "closeTime": stamp(now_us, micro=micro),
            "firstId": day.first_id,
            "lastId": day.last_id,
            "count": day.trades,
        }

    def kline_row(self, interval: str, candle: Candle, *, micro: bool) -> str:
        end_us = following(interval, candle.open_us)
        end = end_us - 1 if micro else end_us // 1_000 - 1
        price = self.price
        return (
            f'[{stamp(candle.open_us, micro=micro)},"{price[candle.open]}","{price[candle.high]}",'
            f'"{price[candle.low]}","{price[candle.close]}","{self.listing.amount(candle.lots)}",{end},"{self.value(candle.quote)}",'
            f'{candle.trades},"{self.listing.amount(candle.buy_lots)}","{self.value(candle.buy_quote)}","0"]'
        )

    def trade_row(self, trade: Trade, *, micro: bool) -> str:
        return (
            f'{{"id":{trade.id},"price":"{self.price[trade.price]}","qty":"{self.amount[trade.lots]}",'
            f'"quoteQty":"{self.value(trade.price * trade.lots)}","time":{stamp(trade.time_us, micro=micro)},'
            f'"isBuyerMaker":{_BOOLEAN[trade.maker]},"isBestMatch":true}}'
        )

    def aggregate_row(self, run: Aggregate, *, micro: bool) -> str:
        return (
            f'{{"a":{run.id},"p":"{self.price[run.price]}","q":"{self.amount[run.lots]}","f":{run.first_id},'
            f'"l":{run.last_id},"T":{stamp(run.time_us, micro=micro)},"m":{_BOOLEAN[run.maker]},"M":true}}'
        )


def server_shutdown(event_us: int, *, micro: bool) -> str:
    return f'{{"e":"serverShutdown","E":{stamp(event_us, micro=micro)}}}'


def _json(value: str | int) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def exchange_info(
    listings: Sequence[Listing], now_us: int, weight_per_minute: int, *, micro: bool, halted: Collection[str] = ()
) -> dict[str, Any]:
    """The reply of `exchangeInfo`: full enough for `load_markets` of ccxt. `halted` are native names."""
    return {
        "timezone": "UTC",
        "serverTime": stamp(now_us, micro=micro),
        "rateLimits": [
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": weight_per_minute},
            {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 100},
            {"rateLimitType": "ORDERS", "interval": "DAY", "intervalNum": 1, "limit": 200_000},
            {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 61_000},
        ],
        "exchangeFilters": [],
        "symbols": [_symbol_info(listing, halted=listing.native in halted) for listing in listings],
    }


def _symbol_info(listing: Listing, *, halted: bool) -> dict[str, Any]:
    orders = ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"]
    tick, lot = listing.price(1), listing.amount(1)
    notional: dict[str, Any] = {"filterType": "NOTIONAL", "minNotional": "5.00000000", "applyMinToMarket": True}
    notional |= {"maxNotional": "9000000.00000000", "applyMaxToMarket": False, "avgPriceMins": 5}
    side: dict[str, Any] = {"filterType": "PERCENT_PRICE_BY_SIDE", "bidMultiplierUp": "5", "bidMultiplierDown": "0.2"}
    side |= {"askMultiplierUp": "5", "askMultiplierDown": "0.2", "avgPriceMins": 5}
    market_lot: dict[str, Any] = {"filterType": "MARKET_LOT_SIZE", "minQty": "0.00000000", "stepSize": "0.00000000"}
    return {
        "symbol": listing.native,
        "status": "BREAK" if halted else "TRADING",
        "baseAsset": listing.base,
        "baseAssetPrecision": PRECISION,
        "quoteAsset": listing.quote,
        "quotePrecision": PRECISION,
        "quoteAssetPrecision": PRECISION,
        "baseCommissionPrecision": PRECISION,
        "quoteCommissionPrecision": PRECISION,
        "orderTypes": orders,
        "icebergAllowed": True,
        "ocoAllowed": True,
        "otoAllowed": True,
        "opoAllowed": True,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": True,
        "cancelReplaceAllowed": True,
        "amendAllowed": True,
        "pegInstructionsAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": tick,
                "maxPrice": listing.price(1_000_000_000),
                "tickSize": tick,
            },
            {"filterType": "LOT_SIZE", "minQty": lot, "maxQty": listing.amount(9_000_000_000), "stepSize": lot},
            {"filterType": "ICEBERG_PARTS", "limit": 10},
            market_lot | {"maxQty": listing.amount(1_000_000_000)},
            side,
            notional,
            {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
            {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": 5},
        ],
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "DECREMENT"],
    }
