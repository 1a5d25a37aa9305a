"""A row that cannot be read costs itself alone: the others of its frame are stored, and it is told what is missing."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from msgspec import Struct

from ingest.clock import MINUTE, SECOND
from ingest.collect.continuity import PATIENCE_NS
from ingest.collect.feed import Feed, Wants
from ingest.errors import Rejected
from ingest.exchanges.adapter import Adapter, Bad, Options
from ingest.exchanges.bybit import Bybit
from ingest.exchanges.coinbase import Coinbase
from ingest.exchanges.kraken import Kraken
from ingest.exchanges.okx import Okx
from ingest.exchanges.pieces import pieces, row_by_row
from ingest.records import BookDelta, Candle, Channel, Gap, Instrument, Item, Liquidation, Reject, Stream, Ticker, Trade
from ingest.rejected_retry import Held, Venue, read

NOW_NS = 1_780_000_020 * SECOND
NOW_MS = NOW_NS // 1_000_000
ISO = "2026-05-28T20:27:00.000000Z"  # the same
Rows = Sequence[dict[str, Any]]


class Tape(Struct, frozen=True):
    """How a venue writes trades: three of a market, numbered 11, 12 and 13 where trades are numbered."""

    adapter: type[Adapter]
    instrument: Instrument
    price: str  # what it calls a price
    symbol: str  # and a market
    row: Callable[[int], dict[str, Any]]
    frame: Callable[[Rows], bytes]
    numbered: bool = True

    def made(self) -> tuple[Adapter, Stream]:
        adapter = self.adapter({self.adapter.key(self.instrument): 1}, Options())
        stream = Stream(1, self.instrument, "trades")
        adapter.url([stream])
        adapter.subscribe([stream], 1)
        return adapter, stream


def written(frame: object) -> bytes:
    return json.dumps(frame, separators=(",", ":")).encode()


def coinbase_frame(rows: Rows, number: int = 5) -> bytes:
    """The newest first."""
    events = [{"type": "update", "trades": [*reversed(rows)]}]
    return written({"channel": "market_trades", "timestamp": ISO, "sequence_num": number, "events": events})


def kraken_frame(rows: Rows) -> bytes:
    """Numbers are numbers there."""
    frame = written({"channel": "trade", "type": "update", "data": rows})
    return frame.replace(b'"10.5"', b"10.5").replace(b'"0.25"', b"0.25")


def bybit_row(number: int) -> dict[str, Any]:
    of = {"T": NOW_MS, "s": "BTCUSDT", "S": "Buy", "v": "0.25", "p": "10.5"}
    return {**of, "i": f"uuid-{number}", "BT": False}


def okx_row(number: int) -> dict[str, Any]:
    of = {"instId": "BTC-USDT", "tradeId": str(number), "px": "10.5", "sz": "0.25"}
    return {**of, "side": "buy", "ts": str(NOW_MS)}


def kraken_row(number: int) -> dict[str, Any]:
    of = {"symbol": "BTC/USD", "side": "buy", "price": "10.5", "qty": "0.25", "ord_type": "market"}
    return {**of, "trade_id": number, "timestamp": ISO}


def coinbase_row(number: int) -> dict[str, Any]:
    of = {"trade_id": str(number), "product_id": "BTC-USD", "price": "10.5", "size": "0.25"}
    return {**of, "time": ISO, "side": "SELL"}


TAPES = {
    "bybit": Tape(
        Bybit,
        Instrument("bybit", "BTC/USDT:USDT", "BTCUSDT", "swap", "BTC", "USDT", "USDT"),
        "p",
        "s",
        bybit_row,
        lambda rows: written({"topic": "publicTrade.BTCUSDT", "type": "snapshot", "ts": NOW_MS, "data": rows}),
        numbered=False,
    ),
    "okx": Tape(
        Okx,
        Instrument("okx", "BTC/USDT", "BTC-USDT", "spot", "BTC", "USDT"),
        "px",
        "instId",
        okx_row,
        lambda rows: written({"arg": {"channel": "trades-all", "instId": "BTC-USDT"}, "data": rows}),
    ),
    "kraken": Tape(
        Kraken,
        Instrument("kraken", "BTC/USD", "XXBTZUSD", "spot", "BTC", "USD", info=b'{"wsname":"XBT/USD"}'),
        "price",
        "symbol",
        kraken_row,
        kraken_frame,
    ),
    "coinbase": Tape(
        Coinbase,
        Instrument("coinbase", "BTC/USD", "BTC-USD", "spot", "BTC", "USD", info=b"{}"),
        "price",
        "product_id",
        coinbase_row,
        coinbase_frame,
    ),
}
by_tape = pytest.mark.parametrize("tape", TAPES.values(), ids=TAPES)


def followed(adapter: Adapter, *streams: Stream) -> tuple[Feed, list[Item]]:
    """A feed that collects these streams, and what it put."""
    put: list[Item] = []
    wants = Wants(*(lambda *_: None for _ in range(4)))
    feed = Feed(adapter.exchange, put.extend, wants, cadence_ns=SECOND)
    feed.follow(streams, 10, adapter)
    feed.connected(streams, NOW_NS - MINUTE)
    return feed, put


def kept(items: Sequence[Item]) -> tuple[list[str], list[Reject], list[Gap]]:
    """Ids of trades, rejects and gaps."""
    rejects, gaps = ([item for item in items if isinstance(item, kind)] for kind in (Reject, Gap))
    return [item.trade_id for item in items if isinstance(item, Trade)], rejects, gaps  # type: ignore[return-value]


def spoilt(tape: Tape, number: int, how: str) -> dict[str, Any]:
    row = tape.row(number)
    match how:
        case "value":
            return row | {tape.price: "ten"}
        case "shape":
            return row | {tape.price: None}
        case _:
            del row[tape.price]
            return row


@by_tape
@pytest.mark.parametrize("how", ["value", "shape", "field"])
@pytest.mark.parametrize("bad", [0, 1, 2])
def test_a_bad_row_costs_itself_alone_and_is_a_gap(tape: Tape, how: str, bad: int) -> None:
    adapter, stream = tape.made()
    feed, put = followed(adapter, stream)
    feed.take(adapter, tape.frame([tape.row(10)]), NOW_NS)
    rows = [tape.row(11), tape.row(12), tape.row(13)]
    rows[bad] = spoilt(tape, 11 + bad, how)
    assert feed.take(adapter, tape.frame(rows), NOW_NS) == []  # it brought something
    feed.take(adapter, tape.frame([tape.row(14)]), NOW_NS + SECOND)
    feed.sample(NOW_NS + 2 * PATIENCE_NS)
    ids, rejects, gaps = kept(put)
    good = [number for number in range(10, 15) if number != 11 + bad]
    assert ids == [str(number) if tape.numbered else f"uuid-{number}" for number in good]
    (reject,) = rejects
    assert (reject.stream, reject.payload) == (
        str(stream).removeprefix(f"{adapter.exchange} "),
        tape.frame([rows[bad]]),
    )
    closed = [gap for gap in gaps if gap.to_ns is not None]
    assert {gap.cause for gap in gaps} == {"frame rejected"}
    if tape.numbered:
        assert [(gap.from_id, gap.to_id, gap.state) for gap in closed] == [(11 + bad, 11 + bad, "open")]
    else:  # time is all that there is: from before it was made, up to the next tick
        assert [(gap.from_ns, gap.to_ns, gap.state) for gap in closed] == [
            (NOW_NS - 2 * SECOND, NOW_NS + SECOND, "open")
        ]


@by_tape
def test_a_reject_of_one_row_is_a_frame_that_can_be_read_again(tape: Tape) -> None:
    adapter, _ = tape.made()
    bad = tape.row(12) | {tape.symbol: "NEW"}
    events = adapter.decode(tape.frame([tape.row(11), bad]), NOW_NS)
    assert [type(event) for event in events] in ([Trade, Bad], [Bad, Trade])
    (odd,) = (event for event in events if isinstance(event, Bad))
    assert odd.reason == "unknown symbol: 'NEW:linear'" if tape.adapter is Bybit else "unknown symbol: 'NEW'"
    with pytest.raises(Rejected, match="unknown symbol"):
        adapter.decode(odd.payload, NOW_NS)
    held = Held(1, NOW_NS, adapter.exchange, "", "", tape.frame([bad, tape.row(11)]))
    with pytest.raises(Rejected, match="unknown symbol"):  # it stays while any row of it is bad
        read(held, Venue(adapter, {1: tape.instrument}, {}))
    again, _ = tape.made()
    (trade,) = again.decode(odd.payload.replace(b"NEW", tape.row(1)[tape.symbol].encode()), NOW_NS)
    assert isinstance(trade, Trade)


@by_tape
def test_a_reject_is_read_again_by_an_adapter_that_knows_of_no_connection(tape: Tape) -> None:
    """As `ingest rejected retry` does: Bybit's frames do not tell spot from linear."""
    adapter = tape.adapter({tape.adapter.key(tape.instrument): 1}, Options())
    name = f"{tape.instrument.symbol} trades"
    held = Held(1, NOW_NS, adapter.exchange, name, "", tape.frame([tape.row(11)]))
    (trade,) = read(held, Venue(adapter, {1: tape.instrument}, {tape.instrument.symbol: 1}))
    assert isinstance(trade, Trade)
    assert trade.instrument_id == 1


@by_tape
def test_a_frame_without_a_good_row_is_rejected_whole(tape: Tape) -> None:
    adapter, stream = tape.made()
    feed, put = followed(adapter, stream)
    frame = tape.frame([spoilt(tape, 11, "value"), spoilt(tape, 12, "shape")])
    assert feed.take(adapter, frame, NOW_NS) is None
    ids, rejects, _ = kept(put)
    assert (ids, [reject.payload for reject in rejects]) == ([], [frame])


def test_candles_of_a_frame() -> None:
    okx, _ = TAPES["okx"].made()
    start = NOW_MS // 60_000 * 60_000
    row = [str(start), "2", "3", "1", "2", "5", "5", "10", "1"]
    rows = [[*row[:1], "x", *row[2:]], row]
    frame = {"arg": {"channel": "candle1m", "instId": "BTC-USDT"}}
    bad, good = okx.decode(written(frame | {"data": rows}), NOW_NS)
    assert isinstance(bad, Bad)
    assert isinstance(good, Candle)
    assert bad.payload == written(frame | {"data": rows[:1]})
    assert good.time_ns == start * 1_000_000


def test_a_minute_of_one_market_is_bad_and_that_of_another_is_good() -> None:
    kraken = Kraken({"BTC/USD": 1, "ETH/USD": 2}, Options())

    def row(symbol: str, opened: str, begin: str = ISO) -> str:
        return (
            f'{{"symbol":"{symbol}","open":{opened},"high":3.0,"low":1.0,"close":2.0,"trades":1,"volume":5.0,'
            f'"vwap":2.0,"interval_begin":"{begin}","interval":1}}'
        )

    def frame(kind: str, *rows: str) -> bytes:
        return f'{{"channel":"ohlc","type":"{kind}","data":[{",".join(rows)}]}}'.encode()

    (bad, _) = kraken.decode(frame("snapshot", row("BTC/USD", "9.0"), row("ETH/USD", "2.0")), NOW_NS)
    assert bad == Bad(
        "candle: open 9.0, high 3.0, low 1.0, close 2.0, volume 5.0 cannot be", frame("snapshot", row("BTC/USD", "9.0"))
    )
    later = ISO.replace("27:00", "28:00")
    told = kraken.decode(frame("update", row("ETH/USD", "2.0", later)), NOW_NS + MINUTE)
    assert [(event.instrument_id, event.open) for event in told if isinstance(event, Candle)] == [(2, "2.0")]


def test_liquidations_within_the_rows_of_a_frame() -> None:
    swap = Instrument("okx", "BTC/USDT:USDT", "BTC-USDT-SWAP", "swap", "BTC", "USDT", "USDT")
    okx = Okx({"BTC-USDT-SWAP": 1}, Options())
    okx.subscribe([Stream(1, swap, "liquidations")], 1)
    detail = {"side": "buy", "bkPx": "10.5", "sz": "13", "ts": str(NOW_MS)}
    row = {"instId": "BTC-USDT-SWAP", "details": [detail, detail | {"sz": "x"}, detail]}
    frame = {"arg": {"channel": "liquidation-orders", "instType": "SWAP"}, "data": [row]}
    first, bad, last = okx.decode(written(frame), NOW_NS)
    assert first == last == Liquidation(1, NOW_NS, "buy", "10.5", "13", NOW_NS)
    assert isinstance(bad, Bad)
    assert okx.stream_of(bad.payload) == (1, "liquidations")


def coinbase(*channels: Channel) -> Adapter:
    adapter = Coinbase({"BTC-USD": 1, "ETH-USD": 2}, Options())
    of = [
        Instrument("coinbase", f"{base}/USD", f"{base}-USD", "spot", base, "USD", info=b"{}") for base in ("BTC", "ETH")
    ]
    adapter.subscribe([Stream(n, each, channel) for n, each in enumerate(of, 1) for channel in channels], 1)
    return adapter


def level2(number: int, kind: str, *products: str, price: str = "9") -> bytes:
    update = {"side": "bid", "price_level": price, "new_quantity": "1"}
    events = [{"type": kind, "product_id": product, "updates": [update]} for product in products]
    return written({"channel": "l2_data", "timestamp": ISO, "sequence_num": number, "events": events})


def test_a_frame_with_a_bad_row_is_not_a_missing_one() -> None:
    adapter = coinbase("book", "trades")
    adapter.decode(level2(1, "snapshot", "BTC-USD"), NOW_NS)
    rows = [coinbase_row(11), coinbase_row(12) | {"price": "ten"}, coinbase_row(13)]
    assert [type(event) for event in adapter.decode(coinbase_frame(rows, 2), NOW_NS)] == [Trade, Bad, Trade]
    (change,) = adapter.decode(level2(3, "update", "BTC-USD"), NOW_NS)
    assert isinstance(change, BookDelta)
    assert adapter.follows(1, change)


def test_a_frame_with_a_bad_row_shows_which_one_is_missing_before_it() -> None:
    adapter = coinbase("book", "trades")
    adapter.decode(level2(1, "snapshot", "BTC-USD"), NOW_NS)
    broken, *events = adapter.decode(coinbase_frame([coinbase_row(11), {}], 3), NOW_NS)
    assert isinstance(broken, BookDelta)
    assert not adapter.follows(1, broken)
    assert [type(event) for event in events] == [Trade, Bad]
    (change,) = adapter.decode(level2(4, "update", "BTC-USD"), NOW_NS)
    assert isinstance(change, BookDelta)
    assert not adapter.follows(1, change)


def test_a_frame_without_a_good_row_is_a_missing_one() -> None:
    adapter = coinbase("book", "trades")
    adapter.decode(level2(1, "snapshot", "BTC-USD"), NOW_NS)
    with pytest.raises(Rejected):
        adapter.decode(coinbase_frame([{}, {}], 2), NOW_NS)
    broken, _ = adapter.decode(level2(3, "update", "BTC-USD"), NOW_NS)
    assert isinstance(broken, BookDelta)
    assert not adapter.follows(1, broken)


def test_changes_of_books_belong_together() -> None:
    """Else a book would miss one in silence: by the numbers of its frames nothing is missing."""
    adapter = coinbase("book")
    adapter.decode(level2(1, "snapshot", "BTC-USD", "ETH-USD"), NOW_NS)
    frame = json.loads(level2(2, "update", "BTC-USD", "ETH-USD"))
    frame["events"][0]["updates"][0]["side"] = "middle"
    with pytest.raises(Rejected):
        adapter.decode(written(frame), NOW_NS)
    changes = adapter.decode(level2(3, "update", "BTC-USD", "ETH-USD"), NOW_NS)
    assert not any(adapter.follows(1, change) for change in changes if isinstance(change, BookDelta))


def test_tickers_of_a_frame() -> None:
    adapter = coinbase("ticker")
    rows = [{"product_id": "BTC-USD", "price": "-1"}, {"product_id": "ETH-USD", "price": "7"}]
    frame = {"channel": "ticker", "timestamp": ISO, "sequence_num": 1, "events": [{"type": "update", "tickers": rows}]}
    bad, good = adapter.decode(written(frame), NOW_NS)
    assert isinstance(bad, Bad)
    assert isinstance(good, Ticker)
    assert (adapter.stream_of(bad.payload), good.instrument_id, good.last) == ((1, "ticker"), 2, "7")


# The pieces


def test_pieces_keep_what_stands_around_the_rows_and_their_digits() -> None:
    frame = b'{"a": 1.50, "rows": [ {"x": 1e-8}, null ], "z": "\\u0041"}'
    around = b'{"a":1.50,"rows":[%s],"z":"\\u0041"}'
    assert pieces(frame, "rows") == [around % b'{"x": 1e-8}', around % b"null"]


def test_pieces_of_lists_within_rows() -> None:
    frame = b'{"data":[{"of":1,"in":[1,2]},{"of":2,"in":[]},{"of":3,"in":[3]}]}'
    assert pieces(frame, "data", "in") == [
        b'{"data":[{"of":1,"in":[1]}]}',
        b'{"data":[{"of":1,"in":[2]}]}',
        b'{"data":[{"of":3,"in":[3]}]}',
    ]


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"{",
        b"[]",
        b'{"rows":{}}',
        b'{"rows":[]}',
        b'{"rows":[1]}',
        b"{}",
        b"[" * 9_000,
        b'{"rows":' + b"[" * 9_000,
    ],
)
def test_a_frame_that_has_no_pieces_is_rejected_for_what_was_wrong_with_it(frame: bytes) -> None:
    def decode(_frame: bytes, _now_ns: int) -> list[Any]:
        raise AssertionError

    with pytest.raises(Rejected, match="malformed frame: this"):
        row_by_row(decode, frame, NOW_NS, ValueError("this"), "rows")
