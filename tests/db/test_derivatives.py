"""Funding rates, open interest, mark prices and liquidations: stored once, read in words, compressed and dropped."""

from collections.abc import Callable
from typing import Any

import msgspec
import psycopg
import pytest
from psycopg import sql

from ingest.clock import MILLISECOND, MINUTE, SECOND
from ingest.config.model import Config
from ingest.records import CHANNEL_OF, Figure, Funding, Instrument, Liquidation, MarkPrice, OpenInterest
from ingest.store import roles
from ingest.store.copy_writer import CopyWriter, Written
from ingest.store.migrate import migrate
from ingest.store.registry import Registry
from ingest.store.rows import TABLES
from tests.conftest import Fetch
from tests.db import rollup_data as data
from tests.db.logins import login
from tests.db.support import (
    BTC,
    DAY,
    NOON,
    Rows,
    funding,
    funding_row,
    liquidation,
    liquidation_row,
    mark_price,
    mark_price_row,
    moment,
    open_interest,
    open_interest_row,
    progress,
)

ROW_OF: dict[type, Callable[[Any], tuple[Any, ...]]] = {
    Funding: funding_row,
    OpenInterest: open_interest_row,
    MarkPrice: mark_price_row,
    Liquidation: liquidation_row,
}
MAKE: dict[type, Callable[..., Any]] = {
    Funding: funding,
    OpenInterest: open_interest,
    MarkPrice: mark_price,
    Liquidation: liquidation,
}
KINDS = pytest.mark.parametrize("kind", MAKE, ids=lambda kind: kind.__name__)
CHANGED: dict[type, dict[str, str]] = {
    Funding: {"rate": "-0.0002"},
    OpenInterest: {"amount": "5"},
    MarkPrice: {"mark": "101"},
}
"""Of what has one row a moment: another one."""


def stored(url: str, kind: type) -> Rows:
    table = TABLES[kind]
    columns = ", ".join("side::text" if name == "side" else name for name in table.columns)
    return data.rows(url, f"SELECT {columns} FROM ingest.{table.name} ORDER BY 2, 1, 3, 4")


def expected(*figures: Figure) -> Rows:
    return [ROW_OF[type(figure)](figure) for figure in figures]


# Rows and conflicts


@KINDS
@pytest.mark.parametrize("staged", [False, True])
async def test_each_is_stored_once(
    writer: CopyWriter, database_url: str, fetch: Fetch, kind: type, *, staged: bool
) -> None:
    batch = [MAKE[kind](time_ns=NOON + number * 1_999) for number in range(300)]
    batch.append(MAKE[kind](instrument_id=2))
    assert await writer.write(batch, staged=staged) == Written(301, 0, 0)
    assert await writer.write([*batch[5:], batch[7]], staged=staged) == Written(0, 297, 0)
    assert stored(database_url, kind) == expected(*batch)
    last = NOON + 299 * 1_999
    assert progress(fetch, CHANNEL_OF[kind]) == [
        (1, moment(last), None, moment(last + 9_000), 300, 296, True),
        (2, moment(NOON), None, moment(NOON + 9_000), 1, 1, True),
    ]


@pytest.mark.parametrize("kind", CHANGED, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("staged", [False, True])
async def test_what_was_received_last_stands(
    writer: CopyWriter, database_url: str, kind: type, *, staged: bool
) -> None:
    """Of one moment: in one batch, in a later one, and where an older one comes again."""
    first = MAKE[kind]()
    later = msgspec.structs.replace(first, received_ns=first.received_ns + SECOND, **CHANGED[kind])
    assert await writer.write([later, first], staged=staged) == Written(1, 1, 0)
    assert stored(database_url, kind) == expected(later)
    assert await writer.write([first], staged=staged) == Written(0, 1, 0)
    assert stored(database_url, kind) == expected(later)
    again = msgspec.structs.replace(first, received_ns=first.received_ns + MINUTE)
    assert await writer.write([again], staged=staged) == Written(1, 0, 0)
    same = msgspec.structs.replace(again, received_ns=again.received_ns + MINUTE)
    assert await writer.write([same], staged=staged) == Written(0, 1, 0)
    assert stored(database_url, kind) == expected(again)


async def test_two_liquidations_of_one_moment(writer: CopyWriter, database_url: str) -> None:
    batch = [liquidation(side=side, price=price) for side in ("buy", "sell") for price in ("98.5", "99")]
    batch.append(msgspec.structs.replace(batch[-1], amount="7"))
    assert await writer.write([*batch, batch[0]]) == Written(5, 1, 0)
    assert stored(database_url, Liquidation) == expected(*batch[:3], batch[3], batch[4])


async def test_what_an_exchange_leaves_out_is_null(writer: CopyWriter, database_url: str) -> None:
    unknown = Funding(1, NOON, "0", None, NOON)
    bare: tuple[Figure, ...] = (unknown, open_interest(value=None), mark_price(index=None))
    for figure in bare:
        assert await writer.write([figure]) == Written(1, 0, 0)
        assert stored(database_url, type(figure)) == expected(figure)


# Who may


@KINDS
@pytest.mark.parametrize("staged", [False, True])
async def test_the_daemons_role_is_enough(
    database_url: str, instruments: dict[int, Instrument], kind: type, *, staged: bool
) -> None:
    figure = MAKE[kind]()
    later = msgspec.structs.replace(figure, received_ns=figure.received_ns + 1_000, **CHANGED.get(kind, {}))
    with login(database_url, roles.WRITER) as url:
        writer = CopyWriter(url, role="test", instruments=instruments)
        try:
            assert await writer.write([figure], staged=staged) == Written(1, 0, 0)
            replaced = int(kind in CHANGED)
            assert await writer.write([later], staged=staged) == Written(replaced, 1 - replaced, 0)
        finally:
            await writer.close()


@KINDS
async def test_an_analyst_reads_words(writer: CopyWriter, database_url: str, kind: type) -> None:
    figures = [MAKE[kind](), MAKE[kind](instrument_id=2), MAKE[kind](instrument_id=9)]
    await writer.write(figures)
    names = [("binance", "BTC/USDT"), ("binance", "ETH/USDT"), (None, None)]
    statement = sql.SQL("SELECT * FROM market.{} ORDER BY instrument_id").format(sql.Identifier(TABLES[kind].name))
    with login(database_url, roles.ANALYST) as url, psycopg.connect(url, options="-c timezone=UTC") as connection:
        rows = connection.execute(statement).fetchall()
    told = zip(expected(*figures), names, strict=True)
    assert rows == [(row[0], *words, *row[1:]) for row, words in told]


async def test_a_perpetual_is_another_instrument(database_url: str, fetch: Fetch) -> None:
    swap = Instrument(
        "binance", "BTC/USDT:USDT", "BTCUSDT", "swap", "BTC", "USDT", settle="USDT", contract_size="0.001"
    )
    registry = Registry(database_url)
    try:
        ids = await registry.register_instruments("binance", [BTC, swap])
        assert await registry.register_instruments("binance", [swap]) == {swap.symbol: ids[swap.symbol]}
    finally:
        await registry.close()
    assert sorted(ids) == [BTC.symbol, swap.symbol]
    assert len(set(ids.values())) == 2
    assert fetch("SELECT market.instrument_id('binance', 'BTC/USDT:USDT')") == [(ids[swap.symbol],)]
    assert fetch(
        "SELECT symbol, native_symbol, kind, base, quote, settle, contract_size::text FROM market.instruments"
        " ORDER BY symbol"
    ) == [
        ("BTC/USDT", "BTCUSDT", "spot", "BTC", "USDT", None, None),
        ("BTC/USDT:USDT", "BTCUSDT", "swap", "BTC", "USDT", "USDT", "0.001"),
    ]


def test_coverage_knows_the_channels(instruments: dict[int, Instrument], fetch: Fetch) -> None:
    for channel in (CHANNEL_OF[kind] for kind in MAKE):
        assert fetch("SELECT * FROM market.coverage('binance', 'BTC/USDT', %s)", channel) == []
    fetch("DELETE FROM ingest.streams")
    for channel in (CHANNEL_OF[kind] for kind in MAKE):
        assert fetch("SELECT * FROM market.coverage('binance', 'BTC/USDT', %s)", channel) == []


# Policies


@pytest.fixture(params=["here", pytest.param("community", marks=pytest.mark.community)])
def url(request: pytest.FixtureRequest) -> str:
    name = "database_url" if request.param == "here" else "community_database_url"
    found: str = request.getfixturevalue(name)
    data.still(found)
    return found


async def test_old_marks_leave_and_rates_stay(url: str) -> None:
    now = data.this_minute()
    times = [now - days * DAY for days in (800, 400, 300, 1)]
    for make in MAKE.values():
        await data.store(url, [make(time_ns=time_ns) for time_ns in times])
    await data.maintain(url)
    data.run_jobs(url, "policy_retention")
    kept = {kind.__name__: len(stored(url, kind)) for kind in MAKE}
    assert kept == {"Funding": 4, "OpenInterest": 3, "MarkPrice": 2, "Liquidation": 4}


@pytest.mark.community
async def test_compressed_chunks_take_what_comes_again(community_database_url: str) -> None:
    url = community_database_url
    data.still(url)
    start = data.this_minute() - 60 * DAY
    for kind, make in MAKE.items():
        batch = [make(time_ns=start + number * 100 * MILLISECOND) for number in range(200)]
        await data.store(url, batch)
        data.run_jobs(url, "policy_compression")
        compressed = (
            "SELECT bool_and(is_compressed) FROM timescaledb_information.chunks"
            f" WHERE hypertable_schema = 'ingest' AND hypertable_name = '{TABLES[kind].name}'"
        )
        assert data.rows(url, compressed) == [(True,)]
        changed = msgspec.structs.replace(batch[9], received_ns=batch[9].received_ns + 1_000, **CHANGED.get(kind, {}))
        extra = make(time_ns=start + MINUTE)
        await data.store(url, [*batch[:9], changed, extra])
        whole = batch if kind is Liquidation else [*batch[:9], changed, *batch[10:]]
        assert stored(url, kind) == expected(*whole, extra)


def test_one_key_compresses_them_all(url: str) -> None:
    migrate(url, Config.model_validate({"compression": {"derivatives": 20}}))
    figures = data.rows(
        url, "SELECT table_name FROM ingest.policies WHERE compress_after = '20 days' ORDER BY table_name"
    )
    assert [name for (name,) in figures] == sorted(TABLES[kind].name for kind in MAKE)
