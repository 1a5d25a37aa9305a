"""The configuration's shape: every key with its type, unit, range, default and meaning.

Values come from a TOML file, the environment and flags by way of `config.source.load`. All tables are frozen,
refuse keys that they do not know, and never show a secret in their `repr` or in an error.
"""

from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from ingest.config.fields import (
    FOREVER,
    Days,
    DaysOrNever,
    Dsn,
    Moment,
    MomentOrNone,
    Number,
    Proxy,
    RestUrl,
    Symbol,
    Text,
    Whole,
    WsUrl,
)
from ingest.config.operation import Http, Log, Shard, Shutdown
from ingest.config.table import Table
from ingest.records import Channel, Timeframe

DEFAULT_CHANNELS: tuple[Channel, ...] = ("trades", "candles", "book")

TradeStream = Literal["trade", "aggTrade"]


class Database(Table):
    """`[database]`"""

    url: Dsn = Field(
        default=None,
        description="The server, `postgresql://USER:PASSWORD@HOST:5432/DATABASE`. A secret: prefer the environment "
        "(`DATABASE_URL` is read too). Empty: a container engine's TimescaleDB, else the embedded one.",
    )
    connect_timeout_seconds: Whole = Field(default=10, ge=1, le=300, description="How long one connection may take.")


class Collect(Table):
    """One `[[collect]]` block: which channels of which symbols of one exchange."""

    exchange: str = Field(min_length=1, description="Name of the exchange.")
    symbols: tuple[Symbol, ...] = Field(
        min_length=1,
        description="Unified symbols (`BTC/USDT`, `BTC/USDT:USDT`) or globs over them (`*/EUR`).",
    )
    channels: tuple[Channel, ...] = Field(
        default=DEFAULT_CHANNELS, min_length=1, description="What to collect of each symbol."
    )

    @field_validator("symbols", "channels")
    @classmethod
    def _each_once(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        return _without_repetition(values)


class Backfill(Table):
    """One `[[backfill]]` block: history of some symbols of one exchange, for `ingest backfill all`."""

    exchange: str = Field(min_length=1, description="Name of the exchange.")
    symbols: tuple[Symbol, ...] = Field(min_length=1, description="Unified symbols or globs over them.")
    channel: Literal["candles", "trades"] = Field(default="candles", description="What to fetch.")
    timeframe: Timeframe = Field(
        default="1m", description="Of candles. Longer ones are the exchange's own, kept where its minutes are not."
    )
    since: Moment = Field(
        description="Start, inclusive, UTC: a day (`2024-01-31`), a time (`2024-01-31 12:00`), or so long before now "
        "(`30 days`, `12 hours`)."
    )
    until: MomentOrNone = Field(default=None, description="End, exclusive, in the same forms. Empty: now.")

    @field_validator("symbols")
    @classmethod
    def _each_once(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        return _without_repetition(values)

    @model_validator(mode="after")
    def _trades_have_no_timeframe(self) -> Self:
        if self.channel == "trades" and self.timeframe != "1m":
            raise ValueError("timeframe is for candles alone; remove it")
        return self


def _without_repetition(values: tuple[str, ...]) -> tuple[str, ...]:
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        raise ValueError(f"names {', '.join(twice)} more than once; remove the repetition")
    return values


class ExchangeSettings(Table):
    """`[exchanges.NAME]`: what any venue takes. None means the adapter's own address."""

    rest_url: RestUrl = Field(default=None, description="Base of the REST addresses. Empty: the venue's own.")
    ws_url: WsUrl = Field(default=None, description="Base of the websocket addresses. Empty: the venue's own.")
    proxy: Proxy = Field(
        default=None,
        description="Proxy for REST and websocket, `http://USER:PASSWORD@HOST:PORT`. A secret. Empty: none.",
    )


class BinanceSettings(ExchangeSettings):
    """`[exchanges.binance]`"""

    trade_stream: TradeStream = Field(
        default="trade",
        description="`trade`: every single trade; `aggTrade`: trades of one order at one price as one. "
        "Their ids differ: never change it on a database that holds the other.",
    )


class Exchanges(Table):
    """`[exchanges]`: settings by venue. `exchanges[name]` gives any venue's, with defaults where it has no table."""

    model_config = ConfigDict(extra="allow")  # other venues' tables; config.source refuses unknown names

    __pydantic_extra__: dict[str, ExchangeSettings] = Field(init=False)

    binance: BinanceSettings = BinanceSettings()

    def __getitem__(self, name: str) -> ExchangeSettings:
        if name in type(self).model_fields:
            settings: ExchangeSettings = getattr(self, name)
            return settings
        return self.__pydantic_extra__.get(name, ExchangeSettings())


class Sessions(Table):
    """`[sessions]`: when a websocket, or a stream on it, counts as dead."""

    ping_seconds: Number = Field(
        default=20.0,
        ge=1,
        le=300,
        description="Every connection is pinged this often, and given up when no answer comes within as long again.",
    )
    silence_seconds: Number = Field(
        default=60.0,
        ge=1,
        le=3600,
        description="A stream is suspicious when nothing came for this long and for three times its longest quiet so "
        "far (candles: 90 s longer): the venue is asked, and a dead subscription renewed.",
    )


class Book(Table):
    """`[book]`: order-book snapshots."""

    depth: Whole = Field(
        default=20, ge=1, le=1000, description="Levels stored a side.", json_schema_extra={"unit": "levels"}
    )
    cadence_seconds: Number = Field(default=1.0, ge=0.1, le=60, description="A snapshot is stored this often.")
    unchanged: bool = Field(
        default=True,
        description="Also store a snapshot that says what the last one said. Without it a row holds until the next: "
        "`market.book_at` then needs a longer `max_age`, and the minutes of `book_1m` weigh only what changed.",
    )


class Candles(Table):
    """`[candles]`: one-minute candles."""

    warmup: Whole = Field(
        default=120,
        ge=0,
        le=999,
        description="Closed candles loaded by REST when a stream is first subscribed.",
        json_schema_extra={"unit": "candles"},
    )
    include_open: bool = Field(default=False, description="Also store the candle that is still open, as it changes.")


class Pipeline(Table):
    """`[pipeline]`: between the exchanges and the database."""

    writers: Whole = Field(
        default=2,
        ge=1,
        le=32,
        description="Connections that write. A stream's rows all go through one of them.",
        json_schema_extra={"unit": "connections"},
    )
    batch_max_rows: Whole = Field(default=20_000, ge=1, le=1_000_000, description="A batch closes at this many rows.")
    batch_max_bytes: Whole = Field(
        default=4_000_000, ge=1_000, le=1_000_000_000, description="A batch closes at this many bytes of COPY text."
    )
    batch_max_age_seconds: Number = Field(
        default=0.25, ge=0.001, le=60, description="A batch closes this long after its first row."
    )
    queue_max_rows: Whole = Field(
        default=500_000,
        ge=1,
        le=100_000_000,
        description="Rows that may wait in memory. From half of it on they go to the spool; when that is full, intake "
        "waits.",
    )
    queue_max_bytes: Whole = Field(
        default=512_000_000,
        ge=1_000_000,
        le=1_000_000_000_000,
        description="The same in bytes of COPY text.",
    )

    @model_validator(mode="after")
    def _queue_holds_a_batch(self) -> Self:
        if self.queue_max_rows < self.batch_max_rows:
            raise ValueError(
                f"queue_max_rows ({self.queue_max_rows}) is below batch_max_rows ({self.batch_max_rows}), so that no "
                "batch could fill; raise the one or lower the other"
            )
        return self


def _kept(default: int | Literal["forever"], what: str) -> Any:
    return Field(default=default, description=f"How long {what} are kept.", json_schema_extra={"unit": "days"})


class Retention(Table):
    """`[retention]`: how long each table keeps its rows, in whole days or for ever."""

    order_books: Days = _kept(30, "order-book snapshots")
    trades: Days = _kept(365, "trades")
    quotes: Days = _kept(30, "quotes")
    funding_rates: Days = _kept(FOREVER, "funding rates")
    open_interest: Days = _kept(730, "figures of open interest")
    mark_prices: Days = _kept(365, "mark prices")
    liquidations: Days = _kept(FOREVER, "liquidations")
    candles_1m: Days = _kept(730, "one-minute candles, the exchange's and those made from trades,")
    book_1m: Days = _kept(730, "the minutes made from order-book snapshots")
    candles: Days = _kept(1825, "the rollups of 5 minutes to 4 hours")
    candles_1d: Days = _kept(FOREVER, "daily rollups")
    candles_1w: Days = _kept(FOREVER, "weekly rollups")
    candles_coarse: Days = _kept(FOREVER, "coarser candles of the exchange's own")
    logs: Days = _kept(365, "logged warnings and errors")
    rejected: Days = _kept(90, "rejected inputs")
    gaps: Days = _kept(90, "repaired gaps")
    backfill_jobs: Days = _kept(30, "failed and cancelled windows of repair and backfill")


def _compressed(default: int, what: str) -> Any:
    return Field(
        default=default,
        description=f"Chunks of {what} are compressed when all of them is older; under TimescaleDB Community.",
        json_schema_extra={"unit": "days"},
    )


class Compression(Table):
    """`[compression]`: after how many whole days, or never."""

    order_books: DaysOrNever = _compressed(3, "order-book snapshots")
    trades: DaysOrNever = _compressed(3, "trades")
    quotes: DaysOrNever = _compressed(3, "quotes")
    derivatives: DaysOrNever = _compressed(7, "funding rates, open interest, mark prices and liquidations")
    candles_1m: DaysOrNever = _compressed(7, "one-minute candles")
    rollups: DaysOrNever = _compressed(30, "rollups and of coarser candles")


class Rollups(Table):
    """`[rollups]`: how coarser rows are made from finer ones."""

    refresh_seconds: Whole = Field(default=60, ge=10, le=3600, description="How often rollups are refreshed.")
    late_hours: Whole = Field(
        default=24,
        ge=1,
        le=8760,
        description="How far back, and two buckets more, each refresh looks for rows that came late; what comes later "
        "still is rolled up by a request of its own.",
        json_schema_extra={"unit": "hours"},
    )


class Spool(Table):
    """`[spool]`: where rows wait on disk while the database does not take them."""

    folder: Text = Field(
        default=None,
        description="The folder, for one daemon alone. Empty: `spool` in `INGEST_DATA_DIR`, else where the embedded "
        "server's data would be.",
    )
    max_bytes: Whole = Field(
        default=8_000_000_000,
        ge=1_000_000,
        le=100_000_000_000_000,
        description="What it may hold; then intake waits, and the venues cut the lines.",
    )


class RepeatedStreamError(ValueError):
    """Two blocks name one stream; `index` is the later block's, from 0."""

    def __init__(self, message: str, *, index: int) -> None:
        super().__init__(message)
        self.index = index


class Config(Table):
    """The whole configuration. `collect` may be empty: `run` has then nothing to do, other commands work."""

    database: Database = Database()
    collect: tuple[Collect, ...] = ()
    backfill: tuple[Backfill, ...] = ()
    exchanges: Exchanges = Exchanges()
    sessions: Sessions = Sessions()
    book: Book = Book()
    candles: Candles = Candles()
    pipeline: Pipeline = Pipeline()
    spool: Spool = Spool()
    retention: Retention = Retention()
    compression: Compression = Compression()
    rollups: Rollups = Rollups()
    shard: Shard = Shard()
    shutdown: Shutdown = Shutdown()
    log: Log = Log()
    http: Http = Http()

    @field_validator("collect")
    @classmethod
    def _each_stream_once(cls, blocks: tuple[Collect, ...]) -> tuple[Collect, ...]:
        seen: dict[tuple[str, str, str], int] = {}
        for number, block in enumerate(blocks, start=1):
            for symbol in block.symbols:
                for channel in block.channels:
                    first = seen.setdefault((block.exchange, symbol, channel), number)
                    if first != number:
                        raise RepeatedStreamError(
                            f"blocks {first} and {number} both name {channel} of {symbol} at {block.exchange}; "
                            "remove it from one of them",
                            index=number - 1,
                        )
        return blocks
