"""Exchanges without code of their own: digits through ccxt's handlers, the adapter, its polls. Nothing is fetched."""

import asyncio
import json
from collections.abc import Collection, Iterator
from typing import Any, ClassVar, Self

import pytest

from ingest import clock
from ingest.clock import MILLISECOND, MINUTE, SECOND
from ingest.collect.book import Book, Need
from ingest.errors import Blocked, ConfigError, Rejected, Retryable
from ingest.exchanges import adapter_of
from ingest.exchanges.adapter import Bad, Ignored, Options, Skipped
from ingest.exchanges.binance import Binance
from ingest.exchanges.ccxt_client import Clients, close
from ingest.exchanges.ccxt_digits import Digits, decode_json, exact, text_of
from ingest.exchanges.ccxt_errors import Seen, explain
from ingest.exchanges.ccxt_frames import made
from ingest.exchanges.ccxt_offer import client_class, offer
from ingest.exchanges.ccxt_rest import CcxtRest
from ingest.exchanges.ccxt_venue import ccxt_adapter
from ingest.exchanges.limiter import Limiter
from ingest.records import BookState, CandleSource, Instrument, Stream, Trade

NOW_NS = 1_795_262_400 * SECOND
NOW_MS = NOW_NS // MILLISECOND
SPOT = Instrument("kucoin", "BTC/USDT", "BTC-USDT", "spot", "BTC", "USDT")
SWAP = Instrument("kucoin", "BTC/USDT:USDT", "XBTUSDTM", "swap", "BTC", "USDT", "USDT")
STREAM = Stream(7, SPOT, "trades")
Row = tuple[str | None, int, str | None, str, str]


def frame(channel: str, **members: Any) -> bytes:
    return json.dumps({"channel": channel, "symbol": "BTC/USDT", **members}).encode()


def adapter(exchange: str = "kucoin") -> Any:
    return ccxt_adapter(exchange)({"BTC/USDT": 7}, Options())


# Markets


class Lister:
    """As ccxt's client loads markets and hands them on: without `reload` what it has is good for ever."""

    id = "kucoin"
    listed: ClassVar[list[str]] = []
    calls = 0

    def __init__(self) -> None:
        self.markets: dict[str, Any] | None = None

    async def load_markets(self, reload: bool = False) -> None:
        if reload or not self.markets:
            Lister.calls += 1
            self.markets = {symbol: {} for symbol in Lister.listed}

    def set_markets_from_exchange(self, other: "Lister") -> None:
        self.markets = other.markets


async def test_markets_are_asked_for_once_and_again_for_what_was_listed_since(monkeypatch: pytest.MonkeyPatch) -> None:
    now_ns = [10 * 3600 * SECOND]
    monkeypatch.setattr(clock, "monotonic_ns", lambda: now_ns[0])
    monkeypatch.setattr(Lister, "listed", ["A/B"])
    monkeypatch.setattr(Lister, "calls", 0)
    clients, rest_client, session = Clients("kucoin"), Lister(), Lister()
    await asyncio.gather(*(clients.load_markets(each, ["A/B"]) for each in (rest_client, session, rest_client)))
    assert (Lister.calls, session.markets) == (1, {"A/B": {}})
    Lister.listed.append("C/D")
    for _ in range(13):  # calls that know their symbols, all the while
        now_ns[0] += 300 * SECOND
        await clients.load_markets(rest_client, ["A/B"])
    assert Lister.calls == 1
    later = Lister()
    await clients.load_markets(later, ["A/B", "C/D"])
    assert (Lister.calls, later.markets) == (2, {"A/B": {}, "C/D": {}})
    await clients.load_markets(rest_client, ["C/D"])
    assert (Lister.calls, rest_client.markets) == (2, later.markets)
    Lister.listed.append("E/F")
    now_ns[0] += 300 * SECOND
    for _ in range(3):
        await clients.load_markets(rest_client, ["E/F", "not listed"])
    assert Lister.calls == 3
    assert "E/F" in (rest_client.markets or {})


# Digits


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0.10000000", "0.10000000"),
        ("1e-8", "0.00000001"),
        ("1.50E3", "1500"),
        (7, "7"),
        (Digits("1E-7"), "0.0000001"),
        (12345678901234567890, "12345678901234567890"),
    ],
)
def test_numbers_are_written_as_they_came(value: object, text: str) -> None:
    assert text_of(value) == text


@pytest.mark.parametrize("value", [0.1, None, [], "1e999999", "e", True])
def test_what_is_no_text_of_the_exchange_is_refused(value: object) -> None:
    with pytest.raises(ValueError):
        text_of(value)


def test_digits_compare_exactly_and_negate() -> None:
    low, high = Digits("0.1000000000000000000001"), Digits("0.1000000000000000000002")
    assert float(low) == float(high)
    assert (low < high, low == high) == (True, False)
    assert sorted([high, low]) == [low, high]
    assert Digits("1.0") == Digits("1.00") == 1.0
    assert (-high < -low, str(-high), str(abs(-high))) == (True, f"-{high}", str(high))
    assert type(low * 2) is float


class Heard:
    """A client of ccxt's, made as for a session; `take` is a frame's way through its handlers."""

    closing = False

    def __init__(self, exchange: str, *markets: dict[str, Any]) -> None:
        self.trades: list[dict[str, Any]] = []
        self.client = Clients(exchange).socket(self)  # type: ignore[arg-type]  # as much of a listener as is needed
        self.client.set_markets([self.client.safe_market_structure(market) for market in markets])
        self.socket: Any = None

    async def __aenter__(self) -> Self:
        self.socket = self.client.client("wss://nowhere.example/stream")
        return self

    async def __aexit__(self, *_: object) -> None:
        await close(self.client)

    def heard_trade(self, trade: dict[str, Any]) -> None:
        self.trades.append(trade)

    def heard_quote(self, symbol: str, quote: dict[str, Any]) -> None: ...

    def take(self, text: str) -> None:
        self.socket.handle_text_or_binary_message(text)


def market(native: str) -> dict[str, Any]:
    return {
        **dict.fromkeys(("contract", "margin", "swap", "future", "option"), False),
        "id": native,
        "symbol": "BTC/USDT",
        "base": "BTC",
        "quote": "USDT",
        "baseId": "BTC",
        "quoteId": "USDT",
        "type": "spot",
        "spot": True,
        "active": True,
        "precision": {"amount": Digits("1e-8"), "price": Digits("0.01")},
        "limits": {name: {"min": None, "max": None} for name in ("amount", "price", "cost")},
    }


FRAMES = {
    "htx": (
        "btcusdt",
        (
            '{"ch":"market.btcusdt.trade.detail","ts":1630994963175,"tick":{"id":137005445109,"ts":1630994963173,"data":'
            '[{"id":137005445109359286410323766,"ts":1630994963173,"tradeId":102523573486,"amount":1E-8,'
            '"price":52648.620000000000000001,"direction":"buy"}]}}'
        ),
        ("0.00000001", "52648.620000000000000001"),
    ),
    "kraken": (
        "XBTUSDT",
        (
            '{"channel":"trade","type":"update","data":[{"symbol":"BTC/USDT","side":"sell","price":34136.10,'
            '"qty":0.02730000,"ord_type":"limit","trade_id":35276,"timestamp":"2025-02-04T17:20:17.000000Z"}]}'
        ),
        ("0.02730000", "34136.10"),
    ),
    "kucoin": (
        "BTC-USDT",
        (
            '{"type":"message","topic":"/market/match:BTC-USDT","subject":"trade.l3match","data":{"sequence":"1545896669145",'
            '"type":"match","symbol":"BTC-USDT","side":"buy","price":"0.08200000000000000000","size":"0.01022222000000000000",'
            '"tradeId":"5c24c5da03aa673885cd67aa","takerOrderId":"1","makerOrderId":"2","time":"1545913818099033203"}}'
        ),
        ("0.01022222000000000000", "0.08200000000000000000"),
    ),
    "bitstamp": (
        "btcusdt",
        (
            '{"data":{"buy_order_id":1,"amount_str":"0.00030000","timestamp":"1582886540","microtimestamp":"1582886540000000",'
            '"id":107154402,"amount":0.00030000,"sell_order_id":2,"price_str":"8753.10","type":0,"price":8753.10},'
            '"event":"trade","channel":"live_trades_btcusdt"}'
        ),
        ("0.00030000", "8753.10"),
    ),
    "okx": (
        "BTC-USDT",
        (
            '{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT","tradeId":"130639474",'
            '"px":"42219.90","sz":"0.12060306","side":"buy","ts":"1630048897897"}]}'
        ),
        ("0.12060306", "42219.90"),
    ),
}


@pytest.mark.parametrize("exchange", FRAMES)
async def test_handlers_of_several_exchanges_keep_the_digits_of_trades(exchange: str) -> None:
    native, text, (amount, price) = FRAMES[exchange]
    async with Heard(exchange, market(native)) as heard:
        heard.take(text)
        (trade,) = heard.trades
    row = json.loads(made("trades", "BTC/USDT", [trade], 20))["rows"][0]
    assert (row[4], row[3]) == (amount, price)


def test_a_book_of_json_numbers_keeps_its_digits() -> None:
    client = Heard("htx", market("btcusdt")).client
    book = client.order_book({})
    for price, amount in (("0.10000000", "1e-8"), ("0.1000000000000000000001", "5"), ("0.3", "0.50")):
        message = decode_json(f'{{"bid":[{price},{amount}]}}')
        book["bids"].storeArray(client.parse_order_book_bid_ask(message["bid"]))
    book["bids"].storeArray(client.parse_order_book_bid_ask(["0.3", "0.000"]))
    assert json.loads(made("book", "BTC/USDT", book, 20))["bids"] == [
        ["0.1000000000000000000001", "5"],
        ["0.10000000", "0.00000001"],
    ]


async def test_a_candle_of_json_numbers_keeps_its_digits() -> None:
    async with Heard("htx", market("btcusdt")) as heard:
        heard.take(
            '{"ch":"market.btcusdt.kline.1min","ts":1,"tick":{"id":1630994940,"open":1.10,"close":1E-8,"low":1e-8,'
            '"high":2.50,"amount":0.300,"vol":1,"count":2}}'
        )
        rows = json.loads(made("candles", "BTC/USDT", heard.client.ohlcvs["BTC/USDT"]["1m"], 20))["rows"]
    assert rows == [[1630994940000, "1.10", "2.50", "0.00000001", "0.00000001", "0.300"]]


def test_a_ticker_shows_what_the_exchange_said_and_nothing_that_ccxt_calculated() -> None:
    client = exact(client_class("gate"))()
    said = {"last": "2.50", "change_percentage": "10", "high_24h": "3.00", "base_volume": "7.10", "quote_volume": "9"}
    ticker = client.parse_ticker({"currency_pair": "BTC_USDT", **said}, market("BTC_USDT"))
    assert ticker["open"] is not None  # 2.50 / 1.10, cut somewhere
    found = json.loads(made("ticker", "BTC/USDT", ticker, 20))
    assert (found["last"], found["open"], found["high"], found["volume"]) == ("2.50", None, "3.00", "7.10")


# The adapter


def test_what_has_code_of_its_own_goes_first_and_what_ccxt_does_not_know_is_refused() -> None:
    assert adapter_of("binance") is Binance
    assert adapter_of("kucoin").exchange == "kucoin"
    with pytest.raises(ConfigError, match=r"does not know the exchange 'bitmex'; did you mean"):
        adapter_of("bitmex")


def test_channels_are_those_that_ccxt_has_and_what_it_cannot_watch_is_polled() -> None:
    kucoin, bitbank = adapter(), adapter("bitbank")
    assert set(kucoin.channels(SPOT)) == {"trades", "candles", "book", "quotes", "ticker"}
    assert {"funding", "mark_price", "open_interest"} <= set(kucoin.channels(SWAP))
    assert kucoin.polled(SWAP) == {"open_interest": 60.0}
    assert bitbank.polled(SPOT) == {"trades": 2.0, "candles": 60.0, "book": 1.0, "ticker": 10.0}
    assert "open_interest" not in adapter("bitbank").channels(SWAP)
    assert all(way.watch is None for way in offer("ndax").ways.values())


def test_trades_without_an_id_get_one_from_what_they_say() -> None:
    row = [None, NOW_MS, "buy", "1.50", "0.10"]
    same = [None, NOW_MS, "buy", "1.5", "0.100"]
    venue = adapter()
    with pytest.raises(Rejected):
        venue.decode(frame("trades", rows=[[*row[:3], "0", "1"]]), NOW_NS)  # with which nothing begins
    begun, *events = venue.decode(frame("trades", rows=[row, same, [None, NOW_MS, "sell", "1.50", "0.10"]]), NOW_NS)
    ids = [event.trade_id for event in events]
    assert ids == [f"{NOW_MS}-buy-1.5-0.1-0", f"{NOW_MS}-buy-1.5-0.1-1", f"{NOW_MS}-sell-1.5-0.1-0"]
    again, _ = adapter().decode_trades(frame("trades", rows=[row, row]), 7, NOW_NS)
    assert [trade.trade_id for trade in again] == ids[:2]
    # Whether there were more like the first ones, before the stream began, REST must say; it is told once.
    assert begun == Skipped(7, "trades", NOW_NS, NOW_NS + MILLISECOND, begun.reason)
    assert [type(event) for event in venue.decode(frame("trades", rows=[row]), NOW_NS)] == [Trade]
    assert adapter().promises["trades"] == "none"


def test_a_bad_row_costs_itself_alone_and_can_be_read_again() -> None:
    rows = [["1", NOW_MS, "buy", "1", "2"], ["2", NOW_MS, "buy", "-1", "2"], ["3", NOW_MS * 9, None, "1", "2"]]
    good, *bad = adapter().decode(frame("trades", rows=rows), NOW_NS)
    assert good == Trade(7, NOW_NS, "1", "buy", "1", "2", NOW_NS)
    assert [each.reason for each in bad] == ["trade: price '-1', amount '2'", f"absurd time: {NOW_MS * 9}"]
    assert all(isinstance(each, Bad) and adapter().stream_of(each.payload) == (7, "trades") for each in bad)
    with pytest.raises(Rejected, match="trade: price '-1'"):
        adapter().decode(bad[0].payload, NOW_NS)


def test_a_row_of_another_shape_costs_itself_alone() -> None:
    rows = [["1", NOW_MS, "buy", "1", "2"], ["2", "now", "buy", "1", "2"], ["3", NOW_MS, "buy", "1", "2"]]
    first, bad, last = adapter().decode(frame("trades", rows=rows), NOW_NS)
    assert (first.trade_id, last.trade_id) == ("1", "3")
    assert isinstance(bad, Bad)
    assert json.loads(bad.payload) == json.loads(frame("trades", rows=rows[1:2]))


def test_a_bad_candle_does_not_take_the_closed_one_before_it_along() -> None:
    venue, minute = adapter(), MINUTE // MILLISECOND
    opens = NOW_MS // minute * minute
    rows: list[list[Any]] = [[opens - minute * back, "1", "2", "1", "2", "5"] for back in (3, 2, 1)]
    venue.decode(frame("candles", rows=rows[:1]), NOW_NS)
    closed, _, bad = venue.decode(frame("candles", rows=[rows[1], [opens, "x", *rows[2][2:]]]), NOW_NS)
    assert (closed.time_ns, closed.source) == (rows[0][0] * MILLISECOND, CandleSource.STREAM)
    assert isinstance(bad, Bad)


def test_a_bad_candle_of_a_reply_that_is_read_again_is_closed_and_opens_nothing() -> None:
    minute = MINUTE // MILLISECOND
    opens = NOW_MS // minute * minute
    bad_row, open_row = [opens - minute, "x", "2", "1", "2", "5"], [opens, "x", "2", "1", "2", "5"]
    body, as_of_ns = frame("candles", rows=[bad_row, open_row]), opens * MILLISECOND + SECOND
    good, bad = adapter().decode_candles(body, 7, NOW_NS, CandleSource.REST, as_of_ns=as_of_ns)
    assert not good
    venue = adapter()
    with pytest.raises(Rejected):
        venue.decode(bad[0].payload, NOW_NS)
    (closed,) = venue.decode(bad[0].payload.replace(b'"x"', b'"1"'), NOW_NS)
    assert (closed.time_ns, closed.source) == ((opens - minute) * MILLISECOND, CandleSource.REST)
    assert [type(event) for event in venue.decode(bad[1].payload.replace(b'"x"', b'"1"'), NOW_NS)] == [Ignored]
    assert [type(event) for event in venue.decode(frame("candles", rows=[[opens, *"12125"]]), NOW_NS)] == [Ignored]


def test_polls_of_an_exchange_that_shows_the_oldest_first_do_not_stick() -> None:
    """Two moments of 60 trades fill its page of 100: from the moment before the last it shows nothing new."""
    venue, page_rows, shown = adapter(), 100, 0
    tape: list[Any] = [
        [None, NOW_MS + moment, "buy", "1", str(place + 1)] for moment in range(8) for place in range(60)
    ]
    stored: set[str] = set()
    for _ in range(40):
        asked = dict(part.split("=") for part in venue.poll_request(STREAM).url.partition("?")[2].split("&"))
        rows = [row for row in tape if row[1] >= int(asked.get("since", 0))][:page_rows]
        events = venue.decode_poll(STREAM, frame("trades", rows=rows), NOW_NS)
        stored.update(event.trade_id for event in events if isinstance(event, Trade))
        shown = max(shown, rows[-1][1])
    assert shown == NOW_MS + 7
    assert len(stored) == len(tape)


@pytest.mark.parametrize("text", [b"", b"{", b'{"channel":"other"}', b'{"channel":"trades","symbol":"X/Y","rows":[]}'])
def test_what_is_no_frame_is_rejected(text: bytes) -> None:
    with pytest.raises(Rejected):
        adapter().decode(text, NOW_NS)


def test_a_broken_book_is_out_of_sync_until_its_next_state() -> None:
    venue = adapter()
    book = Book(7, 20, venue.follows, venue.books)
    levels = {"bids": [["1.0", "2"]], "asks": [["1.1", "3"]]}
    (state,) = venue.decode(frame("book", time=NOW_MS, nonce=5, **levels), NOW_NS)
    assert isinstance(state, BookState)
    assert (book.restart(state), book.in_sync) == (Need.NOTHING, True)
    (broken,) = venue.decode(frame("book", broken="checksum"), NOW_NS)
    assert (book.apply(broken), book.in_sync) == (Need.RESYNC, False)
    assert (book.restart(state), book.in_sync) == (Need.NOTHING, True)


def test_candles_of_rest_are_those_that_are_over() -> None:
    begun = NOW_NS // MINUTE * MINUTE
    rows = [[(begun - n * MINUTE) // MILLISECOND, "1.0", "2.0", "0.50", "1.5", "0"] for n in (2, 1, 0)]
    good, bad = adapter().decode_candles(
        frame("candles", rows=[*rows, [7, "1", "1", "1", "1", "1"]]), 7, NOW_NS, CandleSource.REST, as_of_ns=begun
    )
    assert [candle.time_ns for candle in good] == [begun - 2 * MINUTE, begun - MINUTE]
    assert [each.reason for each in bad] == ["absurd time: 7"]


# Polls


def poll(venue: Any, *rows: tuple[int, int]) -> list[Any]:
    """Rows by (id, milliseconds)."""
    body = frame("trades", rows=[[str(number), NOW_MS + ms, "buy", "1", "2"] for number, ms in rows])
    return list(venue.decode_poll(STREAM, body, NOW_NS + 10 * SECOND))


def test_polled_trades_come_once_and_from_the_last_one_on() -> None:
    venue = adapter("bitbank")
    assert venue.poll_request(STREAM).url == "ccxt:fetch_trades?symbol=BTC%2FUSDT"
    assert [trade.trade_id for trade in poll(venue, (1, 0), (2, 5))] == ["1", "2"]
    url = f"ccxt:fetch_trades?symbol=BTC%2FUSDT&since={NOW_MS - 1}"  # from the moment before the last one on
    assert venue.poll_request(STREAM).url == url
    assert [trade.trade_id for trade in poll(venue, (2, 5), (3, 5), (4, 9))] == ["3", "4"]
    assert poll(venue, (4, 9)) == []
    assert poll(venue) == []


def test_a_trade_that_is_told_late_is_no_old_one() -> None:
    """Matching engines that share a tape, or a page that is a moment behind: its time lies before one that was told."""
    venue = adapter("bitbank")
    poll(venue, (1, 0), (2, 5), (4, 9))
    assert [trade.trade_id for trade in poll(venue, (1, 0), (2, 5), (3, 8), (4, 9))] == ["3"]
    assert [trade.trade_id for trade in poll(venue, (3, 8), (4, 9), (5, 12))] == ["5"]


def test_a_page_that_begins_within_the_last_moment_may_have_left_out_trades_like_those_that_it_shows() -> None:
    """The third of three that say the same looks like the first: what the exchange has cut off cannot be told."""
    venue = adapter("bitbank")

    def told(*rows: tuple[int, str]) -> list[Any]:
        body = frame("trades", rows=[[None, NOW_MS + ms, "buy", price, "2"] for ms, price in rows])
        return list(venue.decode_poll(STREAM, body, NOW_NS + 10 * SECOND))

    assert len(told((0, "1"), (5, "1"))) == 2
    assert told((5, "1")) == []  # nothing is new: a quiet market
    told((0, "1"), (5, "1"))
    assert len(told((0, "1"), (5, "1"), (5, "1"))) == 1  # the moment before shows that this one is whole
    skipped, *new = told((5, "1"), (5, "1"), (6, "1"))
    at_ns = NOW_NS + 5 * MILLISECOND
    assert skipped == Skipped(7, "trades", at_ns, at_ns + MILLISECOND, skipped.reason)
    assert [trade.trade_id for trade in new] == [f"{NOW_MS + 6}-buy-1-2-0"]


def test_a_page_that_does_not_reach_back_is_told_as_a_gap() -> None:
    venue = adapter("bitbank")
    poll(venue, (1, 0), (2, 5))
    skipped, *new = poll(venue, (8, 20), (9, 30))
    assert skipped == Skipped(7, "trades", NOW_NS + 5 * MILLISECOND, NOW_NS + 20 * MILLISECOND, skipped.reason)
    assert [trade.trade_id for trade in new] == ["8", "9"]


def test_a_busy_market_is_polled_more_often_and_a_quiet_one_less() -> None:
    venue = adapter("bitbank")
    poll(venue, (1, 0))
    for number in range(2, 6):
        poll(venue, (number - 1, number - 1), (number, number), (number + 100, number), (number + 200, number))
    assert venue.polled(SPOT)["trades"] == 0.5
    for _ in range(5):
        poll(venue, (5, 5), (105, 5), (205, 5))
    assert venue.polled(SPOT)["trades"] == 2.0


# REST


class Stub:
    """Stands for ccxt's client: answers, or raises, and remembers how it was asked."""

    def __init__(self, *answers: Any) -> None:
        self.answers: Iterator[Any] = iter(answers)
        self.asked: list[tuple[Any, ...]] = []

    async def fetch_trades(self, *arguments: Any) -> Any:
        self.asked.append(arguments)
        answer = next(self.answers)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Listed(Clients):
    async def load_markets(self, client: Any, symbols: Collection[str]) -> None: ...


def rest(stub: Stub) -> CcxtRest:
    made_rest = CcxtRest("kucoin", Limiter(60_000), clients=Listed("kucoin"))
    made_rest._client = stub
    return made_rest


TRADE = {"id": "1", "timestamp": NOW_MS, "side": "buy", "price": Digits("1.50"), "amount": Digits("2")}


async def test_a_call_gives_a_frame_and_a_refused_limit_is_left_away() -> None:
    import ccxt  # noqa: PLC0415

    stub = Stub(ccxt.ExchangeError("limit must be 20 or 100"), [TRADE], [TRADE])
    calls, request = rest(stub), adapter().trades_request(SPOT, start=1, end=2, limit=1000)
    for _ in range(2):
        reply = await calls.fetch(request)
        assert json.loads(reply.body)["rows"] == [["1", NOW_MS, "buy", "1.50", "2"]]
    assert stub.asked == [("BTC/USDT", None, 1000), ("BTC/USDT", None, None), ("BTC/USDT", None, None)]
    assert calls.error is None


async def test_errors_are_sorted() -> None:
    import ccxt  # noqa: PLC0415

    request = adapter().poll_request(STREAM)
    calls = rest(Stub(ccxt.RequestTimeout("slow"), ccxt.BadSymbol("no such"), [{**TRADE, "price": 0.1}]))
    with pytest.raises(Retryable, match="slow"):
        await calls.fetch(request)
    assert calls.error is not None
    with pytest.raises(Rejected, match="no such"):
        await calls.fetch(request)
    with pytest.raises(Rejected, match="not the exchange's text"):
        await calls.fetch(request)
    seen = Seen()
    seen.status = 451
    assert isinstance(explain("kucoin", ccxt.ExchangeError("legal"), "fetch", seen), Blocked)
    seen.status, seen.headers = 429, {"Retry-After": "7"}
    told = explain("kucoin", ccxt.DDoSProtection("much"), "fetch", seen)
    assert isinstance(told, Retryable)
    assert told.retry_after_seconds == 7.0


@pytest.mark.parametrize("channel", ["trades", "candles", "liquidations"])
def test_a_frame_without_rows_is_ignored_for_a_reason(channel: str) -> None:
    assert [*adapter().decode(frame(channel, rows=[]), NOW_NS)] == [Ignored("nothing in it")]
