"""Records to write, what the database must then hold, and a line to the database that can be cut."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Self
from urllib.parse import urlsplit

from ingest.clock import MILLISECOND, MINUTE, SECOND
from ingest.records import (
    Candle,
    CandleSource,
    Funding,
    Gap,
    Instrument,
    Levels,
    Liquidation,
    Mark,
    MarkPrice,
    OpenInterest,
    OrderBook,
    Quote,
    Reject,
    Side,
    Ticker,
    Trade,
)
from tests.conftest import Fetch

BTC = Instrument("binance", "BTC/USDT", "BTCUSDT", "spot", "BTC", "USDT")
ETH = Instrument("binance", "ETH/USDT", "ETHUSDT", "spot", "ETH", "USDT")

NOON = 1_795_262_400 * SECOND
"""2026-11-21 12:00:00 UTC."""
DAY = 24 * 60 * MINUTE

Rows = list[tuple[Any, ...]]


def trade(
    trade_id: str = "1",
    *,
    time_ns: int = NOON,
    instrument_id: int = 1,
    side: Side | None = "buy",
    price: str = "64000.10",
    amount: str = "0.00300",
    received_ns: int = NOON + 50 * MILLISECOND,
) -> Trade:
    return Trade(instrument_id, time_ns, trade_id, side, price, amount, received_ns)


def trades(count: int, *, first: int = 1, instrument_id: int = 1, start_ns: int = NOON) -> list[Trade]:
    """Trades with ids from `first`, a millisecond apart."""
    return [
        trade(
            str(number),
            time_ns=start_ns + number * MILLISECOND,
            instrument_id=instrument_id,
            side="sell" if number % 3 else "buy",
            price=f"{60_000 + number}.{number % 100:02}",
            amount=f"0.{number + 1:08}",
            received_ns=start_ns + number * MILLISECOND + 7_000,
        )
        for number in range(first, first + count)
    ]


def candle(
    *,
    time_ns: int = NOON,
    instrument_id: int = 1,
    source: CandleSource = CandleSource.STREAM,
    close: str = "105",
    high: str = "110",
    low: str = "90",
    volume: str = "12.5",
    quote_volume: str | None = "1300.25",
    trades: int | None = 42,
    received_ns: int | None = None,
) -> Candle:
    received_ns = time_ns + MINUTE if received_ns is None else received_ns  # at its close
    taker = ("6.25", "650")
    return Candle(
        instrument_id, time_ns, "100", high, low, close, volume, quote_volume, trades, *taker, source, received_ns
    )


def book(
    *,
    time_ns: int = NOON,
    instrument_id: int = 1,
    bids: Levels = (("99.9", "1"), ("99.8", "2.50")),
    asks: Levels = (("100.1", "3"),),
    event_ns: int | None = NOON - 3_000_000,
    sequence: int | None = 77,
    in_sync: bool = True,
    checksum_ok: bool | None = True,
) -> OrderBook:
    return OrderBook(instrument_id, time_ns, event_ns, sequence, bids, asks, in_sync, time_ns + 9_000, checksum_ok)


def quote(*, time_ns: int = NOON, instrument_id: int = 1, sequence: int = 9, bid: str = "99.90") -> Quote:
    return Quote(instrument_id, time_ns, sequence, bid, "1.5", "100.1", "0", time_ns + 9_000)


def ticker(*, time_ns: int = NOON, instrument_id: int = 1, last: str | None = "100.50") -> Ticker:
    values = ("99", "1", "101", "2", "95", "105", "94", "1000.5", None)
    return Ticker(instrument_id, time_ns, last, *values, time_ns + 9_000)


def funding(*, time_ns: int = NOON, instrument_id: int = 1, rate: str = "0.00010000") -> Funding:
    return Funding(instrument_id, time_ns, rate, NOON + 4 * 60 * MINUTE, time_ns + 9_000)


def open_interest(*, time_ns: int = NOON, instrument_id: int = 1, value: str | None = "5e9") -> OpenInterest:
    return OpenInterest(instrument_id, time_ns, "81234.567", value, time_ns + 9_000)


def mark_price(*, time_ns: int = NOON, instrument_id: int = 1, index: str | None = "100.20") -> MarkPrice:
    return MarkPrice(instrument_id, time_ns, "100.10", index, time_ns + 9_000)


def liquidation(*, time_ns: int = NOON, instrument_id: int = 1, side: Side = "sell", price: str = "99") -> Liquidation:
    return Liquidation(instrument_id, time_ns, side, price, "0.50", time_ns + 9_000)


def moment(time_ns: int) -> datetime:
    """The time cut to microseconds, by integers alone."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_ns // 1000)


def _number(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def trade_row(t: Trade) -> tuple[Any, ...]:
    times = moment(t.time_ns), moment(t.received_ns)
    return (times[0], t.instrument_id, t.trade_id, t.side, _number(t.price), _number(t.amount), times[1])


def candle_row(c: Candle) -> tuple[Any, ...]:
    prices = map(_number, (c.open, c.high, c.low, c.close, c.volume, c.quote_volume))
    taker = map(_number, (c.taker_buy_volume, c.taker_buy_quote_volume))
    return (moment(c.time_ns), c.instrument_id, *prices, c.trades, *taker, int(c.source), moment(c.received_ns))


def book_row(b: OrderBook) -> tuple[Any, ...]:
    arrays = [[Decimal(level[side]) for level in levels] for levels in (b.bids, b.asks) for side in (0, 1)]
    event = None if b.event_ns is None else moment(b.event_ns)
    then = moment(b.received_ns)
    return (moment(b.time_ns), b.instrument_id, event, b.sequence, *arrays, b.in_sync, then, b.checksum_ok)


def quote_row(q: Quote) -> tuple[Any, ...]:
    numbers = map(_number, (q.bid, q.bid_amount, q.ask, q.ask_amount))
    return (moment(q.time_ns), q.instrument_id, q.sequence, *numbers, moment(q.received_ns))


def ticker_row(t: Ticker) -> tuple[Any, ...]:
    day = (t.open_24h, t.high_24h, t.low_24h, t.volume_24h, t.quote_volume_24h)
    numbers = map(_number, (t.last, t.bid, t.bid_amount, t.ask, t.ask_amount, *day))
    return (t.instrument_id, moment(t.time_ns), *numbers, moment(t.received_ns))


def funding_row(f: Funding) -> tuple[Any, ...]:
    paid = None if f.funding_ns is None else moment(f.funding_ns)
    return (moment(f.time_ns), f.instrument_id, _number(f.rate), paid, moment(f.received_ns))


def open_interest_row(o: OpenInterest) -> tuple[Any, ...]:
    return (moment(o.time_ns), o.instrument_id, _number(o.amount), _number(o.value), moment(o.received_ns))


def mark_price_row(m: MarkPrice) -> tuple[Any, ...]:
    return (moment(m.time_ns), m.instrument_id, _number(m.mark), _number(m.index), moment(m.received_ns))


def liquidation_row(o: Liquidation) -> tuple[Any, ...]:
    return (moment(o.time_ns), o.instrument_id, o.side, _number(o.price), _number(o.amount), moment(o.received_ns))


def gap_row(g: Gap) -> tuple[Any, ...]:
    """As `stored_gaps` returns it: over as soon as it is not open any more."""
    ends = (None if g.from_ns is None else moment(g.from_ns), None if g.to_ns is None else moment(g.to_ns))
    told = (g.evidence, g.state, moment(g.opened_ns), g.state != "open")
    return (g.instrument_id, g.channel, g.cause, *ends, g.from_id, g.to_id, *told)


def mark_row(m: Mark) -> tuple[Any, ...]:
    return (m.instrument_id, m.channel, m.id, moment(m.proved_ns), moment(m.attested_ns), moment(m.began_ns))


def reject_row(r: Reject) -> tuple[Any, ...]:
    return (moment(r.received_ns), r.exchange, r.stream, r.reason, r.payload)


def expected(*records: Trade) -> Rows:
    """What `stored_trades` returns when exactly these are stored."""
    return sorted(map(trade_row, records), key=lambda row: (row[1], row[0], row[2]))


def stored_trades(fetch: Fetch) -> Rows:
    return fetch(
        "SELECT time, instrument_id, trade_id, side::text, price, amount, received_at FROM ingest.trades"
        ' ORDER BY instrument_id, time, trade_id COLLATE "C"'
    )


def stored_candles(fetch: Fetch) -> Rows:
    return fetch(
        "SELECT time, instrument_id, open, high, low, close, volume, quote_volume, trades, taker_buy_volume,"
        " taker_buy_quote_volume, source, received_at FROM ingest.candles_1m ORDER BY instrument_id, time"
    )


def stored_books(fetch: Fetch) -> Rows:
    return fetch(
        "SELECT time, instrument_id, event_time, sequence, bid_prices, bid_amounts, ask_prices, ask_amounts, in_sync,"
        " received_at, checksum_ok FROM ingest.order_books ORDER BY instrument_id, time"
    )


def stored_quotes(fetch: Fetch) -> Rows:
    return fetch(
        "SELECT time, instrument_id, sequence, bid, bid_amount, ask, ask_amount, received_at FROM ingest.quotes"
        " ORDER BY instrument_id, time, sequence"
    )


def stored_tickers(fetch: Fetch) -> Rows:
    return fetch(
        "SELECT instrument_id, time, last, bid, bid_amount, ask, ask_amount, open_24h, high_24h, low_24h, volume_24h,"
        " quote_volume_24h, received_at FROM ingest.tickers ORDER BY instrument_id"
    )


def stored_rejects(fetch: Fetch) -> Rows:
    return fetch("SELECT received_at, exchange, stream, reason, payload FROM ingest.rejected ORDER BY rejected_id")


def stored_gaps(fetch: Fetch) -> Rows:
    return fetch(
        "SELECT instrument_id, channel, cause, from_time, to_time, from_id, to_id, evidence, state, opened_at,"
        " closed_at IS NOT NULL FROM ingest.gaps ORDER BY gap_id"
    )


def stored_marks(fetch: Fetch) -> Rows:
    """Of the streams that say how far they came."""
    return fetch(
        "SELECT instrument_id, channel, watermark_id, proved_to, attested_to, covered_from FROM ingest.streams"
        " WHERE covered_from IS NOT NULL ORDER BY instrument_id, channel"
    )


def progress(fetch: Fetch, channel: str = "trades") -> Rows:
    """(instrument_id, last_time, last_sequence, last_received_at, rows_stored, rows_duplicate, committed), each."""
    return fetch(
        "SELECT instrument_id, last_time, last_sequence, last_received_at, rows_stored, rows_duplicate,"
        " committed_at IS NOT NULL FROM ingest.streams WHERE channel = %s ORDER BY instrument_id",
        channel,
    )


class Proxy:
    """A TCP line to the database's server that can be cut, refused, stalled towards the server, or mute from it."""

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self._server: asyncio.Server | None = None
        self._lines: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._answering = asyncio.Event()
        self._answering.set()
        self._refusing = False
        self._cut_at: int | None = None
        self._stall_at: int | None = None
        self.forwarded_bytes = 0
        self.connections = 0
        self.stalled = asyncio.Event()
        """Set once something is held on its way to the server."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        login = self._target.netloc.rpartition("@")[0]
        return self._target._replace(netloc=f"{login}@127.0.0.1:{port}").geturl()

    def cut(self) -> None:
        """Break every line there is; new ones are served."""
        for line in self._lines:
            line.transport.abort()

    def refuse(self) -> None:
        """Break every line, and each new one at once, until `accept`."""
        self._refusing = True
        self.cut()

    def accept(self) -> None:
        self._refusing = False

    def cut_after(self, count: int) -> None:
        """Let `count` more bytes through to the server, then break the lines, once."""
        self._cut_at = self.forwarded_bytes + count

    def stall_after(self, count: int) -> None:
        """Let `count` more bytes through to the server, then hold everything until `flow`."""
        self.stalled.clear()
        self._stall_at = self.forwarded_bytes + count

    def flow(self) -> None:
        self._stall_at = None
        self._flowing.set()

    def mute(self) -> None:
        """Hold what the server answers, until `answer`."""
        self._answering.clear()

    def answer(self) -> None:
        self._answering.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        lines = [writer]
        try:
            if not self._refusing:
                up_reader, up_writer = await asyncio.open_connection(self._target.hostname, self._target.port or 5432)
                lines.append(up_writer)
                self._lines.update(lines)
                ways = {
                    asyncio.create_task(self._to_server(reader, up_writer)),
                    asyncio.create_task(self._to_client(up_reader, writer)),
                }
                try:
                    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for way in ways:
                        way.cancel()
                    await asyncio.gather(*ways, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for line in lines:
                self._lines.discard(line)
                line.transport.abort()
            self._tasks.discard(task)

    async def _to_server(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            rest = data
            if self._cut_at is not None and self.forwarded_bytes + len(data) > self._cut_at:
                await self._forward(writer, data[: self._cut_at - self.forwarded_bytes])
                self._cut_at = None
                writer.close()  # what was let through arrives
                return
            if self._stall_at is not None and self.forwarded_bytes + len(data) > self._stall_at:
                passing = max(0, self._stall_at - self.forwarded_bytes)
                await self._forward(writer, data[:passing])
                rest = data[passing:]
                self._flowing.clear()
                self.stalled.set()
            await self._flowing.wait()
            await self._forward(writer, rest)

    async def _forward(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        self.forwarded_bytes += len(data)
        writer.write(data)
        await writer.drain()

    async def _to_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            await self._answering.wait()
            writer.write(data)
            await writer.drain()
