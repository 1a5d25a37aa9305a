"""Frames to finished COPY rows, against `orjson.loads` of the same frames.

Frames are the recorded ones of `../shared/recordings`. What that holds none of, spot trades and closed candles, is
made in the documented form from the recorded digits; where the folder is absent, frames of the same form and size
stand in for it. A side passes over all frames of a kind, over few again and again; rows are encoded once a pass, as
the writer does once a batch.
"""

import gzip
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median

import orjson
from msgspec import Struct

from ingest.clock import SECOND
from ingest.exchanges.adapter import Adapter, Options
from ingest.exchanges.binance import Binance
from ingest.records import Levels, OrderBook
from ingest.store.rows import TABLES
from tests.bench.book import full_book
from tests.bench.harness import Bench, Figure, Group, Pairs, alternate, number, repeated

GROUP = Group("decode")

RECORDING = Path(__file__).parents[3] / "shared" / "recordings" / "streams" / "BINANCE.ws.1.0.gz"
RECEIVED_NS = 1_795_262_400 * SECOND
IDS = {"NKNUSDT": 1, "BLZETH": 2, "LRCBTC": 3, "RUNEEUR": 4}
DELTAS_A_ROW = 10
"""Deltas of a busy instrument (`@depth@100ms`) to one row of the default cadence, a second."""

Pass = Callable[[], object]


class Frames(Struct, frozen=True):
    """By kind. `recorded` is False where the recordings are not on this machine."""

    trades: list[bytes]
    aggregates: list[bytes]
    candles: list[bytes]
    deltas: list[bytes]
    recorded: bool

    @property
    def source(self) -> str:
        return "recorded digits" if self.recorded else "no recordings here: digits of the documentation"


def frames() -> Frames:
    lines = _recorded() or _documented()
    quotes = [orjson.loads(line)["data"] for line in lines if b"@bookTicker" in line]
    klines = [line for line in lines if b'"e":"kline"' in line]
    return Frames(
        trades=[_trade_frame(quote, 812_345_678 + index) for index, quote in enumerate(quotes)],
        aggregates=_at_least_a_hundred([line for line in lines if b'"e":"aggTrade"' in line]),
        candles=_at_least_a_hundred([line.replace(b'"x":false', b'"x":true') for line in klines]),
        deltas=[line for line in lines if b'"e":"depthUpdate"' in line],
        recorded=RECORDING.exists(),
    )


def _recorded() -> list[bytes]:
    if not RECORDING.exists():
        return []
    with gzip.open(RECORDING, "rb") as file:
        return [line.rstrip(b"\n").split(b": ", 1)[1] for line in file if line[:1].isdigit()]


def _trade_frame(quote: dict[str, str], trade_id: int) -> bytes:
    """A quote's best bid as a trade of today's form, in microseconds."""
    symbol = quote["s"]
    return (
        f'{{"stream":"{symbol.lower()}@trade","data":{{"e":"trade","E":1672515782136123,"s":"{symbol}","t":{trade_id},'
        f'"p":"{quote["b"]}","q":"{quote["B"]}","T":{1672515782135000 + trade_id % 1000},'
        f'"m":{"true" if trade_id % 2 else "false"},"M":true}}}}'
    ).encode()


def _documented() -> list[bytes]:
    """As recorded, in form and length."""
    symbols = list(IDS)
    lines: list[str] = []
    for index in range(100):
        symbol, cents = symbols[index % 4], 35_000_000 + 10_000 * (index % 37)
        stream = symbol.lower()
        bid, ask = f"0.{cents:08}", f"0.{cents + 10_000:08}"
        lines.append(
            f'{{"stream":"{stream}@bookTicker","data":{{"u":{499_869_752 + index},"s":"{symbol}","b":"{bid}",'
            f'"B":"{index + 1}145.00000000","a":"{ask}","A":"672.00000000"}}}}'
        )
        lines.append(
            f'{{"stream":"{stream}@depth@100ms","data":{{"e":"depthUpdate","E":1633998512068,"s":"{symbol}",'
            f'"U":{499_869_752 + 3 * index},"u":{499_869_754 + 3 * index},'
            f'"b":[["{bid}","6195.00000000"],["0.34640000","{index}.00000000"]],"a":[["{ask}","5548.00000000"]]}}}}'
        )
    lines.append(
        '{"stream":"nknusdt@kline_1m","data":{"e":"kline","E":1633998515000,"s":"NKNUSDT","k":{"t":1633998480000,'
        '"T":1633998539999,"s":"NKNUSDT","i":"1m","f":22712741,"L":22712748,"o":"0.35200000","c":"0.35270000",'
        '"h":"0.35290000","l":"0.35130000","v":"15224.00000000","n":8,"x":true,"q":"5369.50480000",'
        '"V":"9210.00000000","Q":"3248.36700000","B":"0"}}}'
    )
    lines.append(
        '{"stream":"nknusdt@aggTrade","data":{"e":"aggTrade","E":1633998515000,"s":"NKNUSDT","a":16171834,'
        '"p":"0.35270000","q":"145.00000000","f":22712748,"l":22712748,"T":1633998514999,"m":false,"M":true}}'
    )
    return [line.encode() for line in lines]


def adapter(trade_stream: str = "trade") -> Binance:
    return Binance(IDS, Options(trade_stream=trade_stream))


def _at_least_a_hundred(frames: list[bytes]) -> list[bytes]:
    """What is done once a batch must not weigh more here than it does in the daemon."""
    return frames * -(-100 // len(frames))


def loads(frames: Sequence[bytes]) -> Pass:
    """The base of every ratio."""

    def run() -> None:
        parse = orjson.loads
        for frame in frames:
            parse(frame)

    return run


def decode(adapter: Adapter, frames: Sequence[bytes]) -> list[object]:
    decoded: list[object] = []
    for frame in frames:
        decoded += adapter.decode(frame, RECEIVED_NS)
    return decoded


def to_rows(adapter: Adapter, frames: Sequence[bytes]) -> Pass:
    """From frames to the bytes that COPY is given."""

    def run() -> bytes:
        records = decode(adapter, frames)
        return TABLES[type(records[0])].encode(records)

    return run


def compare(bench: Bench, frames: Sequence[bytes], work: Pass) -> tuple[Pairs, str]:
    """`work` over all frames against loading them; and both in microseconds a frame, for the note."""
    seconds = bench.scale.loop_seconds
    pairs = alternate(bench.scale.loop_pairs, repeated(loads(frames), seconds), repeated(work, seconds))
    base, other = (1e6 * median(side) / len(frames) for side in (pairs.base, pairs.other))
    return pairs, f"{number(base)} and {number(other)} µs a frame of {len(frames)}"


@GROUP.measures("decode_binance_trade")
def decode_binance_trade(bench: Bench) -> Iterator[Figure]:
    given = frames()
    pairs, note = compare(bench, given.trades, to_rows(adapter(), given.trades))
    aggregates, _ = compare(bench, given.aggregates, to_rows(adapter("aggTrade"), given.aggregates))
    note += f"; aggTrade {number(aggregates.cost)}; {given.source}"
    yield Figure("decode_binance_trade", pairs.cost, at_most=2.6, note=note)


@GROUP.measures("decode_binance_candle")
def decode_binance_candle(bench: Bench) -> Iterator[Figure]:
    given = frames()
    pairs, note = compare(bench, given.candles, to_rows(adapter(), given.candles))
    yield Figure("decode_binance_candle", pairs.cost, at_most=2.6, note=f"{note}; {given.source}")


@GROUP.measures("decode_binance_book")
def decode_binance_book(bench: Bench) -> Iterator[Figure]:
    """A delta makes no row: a row is the book's best levels once a second, whatever the number of deltas.

    So the figure is decoding a delta plus its share of a row, that is of taking the best levels and encoding them, at
    `DELTAS_A_ROW`. Applying the delta is the book's work and is in `book_us`.
    """
    given = frames()
    venue = adapter()
    bare, _ = compare(bench, given.deltas, lambda: decode(venue, given.deltas))
    book = full_book(venue.follows)
    sampled = range(max(1, len(given.deltas) // DELTAS_A_ROW))

    def with_rows() -> bytes:
        decode(venue, given.deltas)
        return TABLES[OrderBook].encode([snapshot(book.top()) for _ in sampled])

    pairs, note = compare(bench, given.deltas, with_rows)
    note += f"; without the row's share {number(bare.cost)}; {given.source}"
    yield Figure("decode_binance_book", pairs.cost, at_most=2.6, note=note)


def snapshot(top: tuple[Levels, Levels]) -> OrderBook:
    return OrderBook(1, RECEIVED_NS, RECEIVED_NS, 499_869_752, *top, True, RECEIVED_NS)
