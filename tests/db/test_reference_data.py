"""What the venues say of their instruments, as it changes, and how the venues are: by the queries that keep it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from msgspec import structs

from ingest.errors import Fatal
from ingest.records import Instrument
from ingest.status import health as health_now
from ingest.store import roles
from ingest.store.database import connect_sync
from ingest.store.registry import Registry
from tests.conftest import Fetch
from tests.db.logins import login

Rows = list[tuple[Any, ...]]


def listed(symbol: str, **said: Any) -> Instrument:
    base, _, quote = symbol.partition("/")
    told = {
        "price_step": "0.01",
        "amount_step": "0.00001",
        "min_notional": "5",
        "info": b'{"status":"TRADING"}',
        **said,
    }
    return Instrument("binance", symbol, base + quote, "spot", base, quote, **told)


BTC, ETH, SOL, XRP = (listed(f"{base}/USDT") for base in ("BTC", "ETH", "SOL", "XRP"))
ALL = [BTC, ETH, SOL, XRP]
LACKING = [BTC, ETH, XRP]  # without SOL


@pytest.fixture
async def registry(database_url: str) -> AsyncIterator[Registry]:
    made = Registry(database_url)
    yield made
    await made.close()


def changes(fetch: Fetch) -> Rows:
    return fetch("SELECT instrument_id, before, after FROM ingest.instrument_changes ORDER BY change_id")


def living(fetch: Fetch, *, missing: bool) -> list[str]:
    """Symbols of what is listed, by whether the latest whole listing lacked it."""
    rows = fetch(
        "SELECT symbol FROM ingest.instruments"
        " WHERE delisted_at IS NULL AND (missing_since IS NOT NULL) = %s ORDER BY 1",
        missing,
    )
    return [row[0] for row in rows]


def an_hour_passes(fetch: Fetch) -> None:
    """As far as what is missing can tell."""
    fetch("UPDATE ingest.instruments SET missing_since = missing_since - INTERVAL '61 minutes'")


# Changes


async def test_each_change_is_kept_with_the_values_before_and_after(registry: Registry, fetch: Fetch) -> None:
    ids = await registry.register_instruments("binance", ALL, complete=True)
    assert changes(fetch) == []
    finer = structs.replace(BTC, price_step="0.001", min_notional=None, max_amount="9000")
    halted = structs.replace(ETH, active=False)
    begins = datetime.now(UTC)
    again = await registry.register_instruments("binance", [finer, halted, SOL, XRP], complete=True)
    assert again == ids
    expected = [
        (
            ids["BTC/USDT"],
            {"price_step": 0.01, "min_notional": 5, "max_amount": None},
            {"price_step": 0.001, "min_notional": None, "max_amount": 9000},
        ),
        (ids["ETH/USDT"], {"active": True}, {"active": False}),
    ]
    assert changes(fetch) == expected
    await registry.register_instruments("binance", [finer, ETH, SOL, XRP], complete=True)
    assert changes(fetch) == [*expected, (ids["ETH/USDT"], {"active": False}, {"active": True})]
    told = fetch(
        "SELECT time, exchange, symbol, before, after, instrument_id FROM market.instrument_changes ORDER BY 1, 6"
    )
    assert [(row[1], row[2], row[5]) for row in told] == [
        ("binance", "BTC/USDT", ids["BTC/USDT"]),
        ("binance", "ETH/USDT", ids["ETH/USDT"]),
        ("binance", "ETH/USDT", ids["ETH/USDT"]),
    ]
    assert begins <= told[0][0] == told[1][0] < told[2][0] <= datetime.now(UTC)


async def test_what_is_said_again_is_no_change_and_neither_are_the_venues_own_words(
    registry: Registry, fetch: Fetch
) -> None:
    await registry.register_instruments("binance", ALL, complete=True)
    before = fetch("SELECT symbol, xmin::text, updated_at FROM ingest.instruments ORDER BY 1")
    await registry.register_instruments("binance", ALL, complete=True)
    assert fetch("SELECT symbol, xmin::text, updated_at FROM ingest.instruments ORDER BY 1") == before
    await registry.register_instruments(
        "binance", [structs.replace(BTC, info=b'{"status":"TRADING","price":"64000"}'), *ALL[1:]], complete=True
    )
    assert changes(fetch) == []
    assert fetch("SELECT info ->> 'price' FROM ingest.instruments WHERE symbol = 'BTC/USDT'") == [("64000",)]


async def test_digits_of_steps_and_limits_are_kept(registry: Registry, fetch: Fetch) -> None:
    odd = listed("PEPE/USDT", price_step="0.00000001", amount_step="1", min_amount="0.10", contract_size="1E-8")
    await registry.register_instruments("binance", [odd])
    stored = fetch("SELECT price_step, amount_step, min_amount, contract_size FROM ingest.instruments")
    assert stored == [(Decimal("0.00000001"), Decimal(1), Decimal("0.10"), Decimal("0.00000001"))]
    assert str(stored[0][2]) == "0.10"


# Listed, missing, delisted, listed again


async def test_what_two_listings_an_hour_apart_lack_is_delisted_since_the_first(
    registry: Registry, fetch: Fetch
) -> None:
    ids = await registry.register_instruments("binance", ALL, complete=True)
    first = await registry.register_instruments("binance", LACKING, complete=True)
    assert first == {symbol: ids[symbol] for symbol in ("BTC/USDT", "ETH/USDT", "XRP/USDT")}
    assert (living(fetch, missing=True), changes(fetch)) == (["SOL/USDT"], [])
    await registry.register_instruments("binance", LACKING, complete=True)
    assert living(fetch, missing=True) == ["SOL/USDT"], "the hour is not over"
    an_hour_passes(fetch)
    since = fetch("SELECT missing_since FROM ingest.instruments WHERE symbol = 'SOL/USDT'")
    await registry.register_instruments("binance", LACKING, complete=True)
    assert living(fetch, missing=True) == []
    assert fetch("SELECT delisted_at FROM ingest.instruments WHERE symbol = 'SOL/USDT'") == since
    ((instrument_id, before, after),) = changes(fetch)
    assert (instrument_id, before) == (ids["SOL/USDT"], {"active": True, "delisted_at": None})
    assert after == {"active": False, "delisted_at": since[0][0].isoformat()}
    await registry.register_instruments("binance", LACKING, complete=True)
    assert len(changes(fetch)) == 1


async def test_what_is_listed_again_after_its_delisting_is_another_instrument(registry: Registry, fetch: Fetch) -> None:
    ids = await registry.register_instruments("binance", ALL, complete=True)
    await registry.register_instruments("binance", LACKING, complete=True)
    an_hour_passes(fetch)
    await registry.register_instruments("binance", LACKING, complete=True)
    anew = await registry.register_instruments("binance", ALL, complete=True)
    assert anew["SOL/USDT"] not in ids.values()
    assert {**anew, "SOL/USDT": 0} == {**ids, "SOL/USDT": 0}
    periods = fetch(
        "SELECT instrument_id, active, delisted_at IS NULL FROM ingest.instruments WHERE symbol = 'SOL/USDT' ORDER BY 1"
    )
    assert periods == [(ids["SOL/USDT"], False, False), (anew["SOL/USDT"], True, True)]
    assert fetch("SELECT market.instrument_id('binance', 'SOL/USDT')") == [(anew["SOL/USDT"],)]
    assert len(changes(fetch)) == 1, "the second period begins with nothing before it"


async def test_what_is_back_within_the_hour_was_never_gone(registry: Registry, fetch: Fetch) -> None:
    ids = await registry.register_instruments("binance", ALL, complete=True)
    for lacking in (LACKING, ALL, LACKING):
        known = await registry.register_instruments("binance", lacking, complete=True)
        assert known.items() <= ids.items()
    an_hour_passes(fetch)
    assert await registry.register_instruments("binance", ALL, complete=True) == ids
    await registry.register_instruments("binance", LACKING, complete=True)
    assert (living(fetch, missing=True), changes(fetch)) == (["SOL/USDT"], [])


@pytest.mark.parametrize("few", [[], [BTC], [BTC, ETH]])
async def test_half_of_the_listing_or_less_is_no_whole_one(
    registry: Registry, fetch: Fetch, few: list[Instrument]
) -> None:
    await registry.register_instruments("binance", ALL, complete=True)
    await registry.register_instruments("binance", few, complete=True)
    assert living(fetch, missing=True) == []
    fetch("UPDATE ingest.instruments SET missing_since = now() - INTERVAL '2 hours' WHERE symbol = 'SOL/USDT'")
    await registry.register_instruments("binance", few, complete=True)
    assert (living(fetch, missing=True), changes(fetch)) == (["SOL/USDT"], [])


async def test_a_list_of_some_delists_nothing(registry: Registry, fetch: Fetch) -> None:
    await registry.register_instruments("binance", ALL, complete=True)
    await registry.register_instruments("binance", LACKING)
    assert living(fetch, missing=True) == []
    await registry.register_instruments("binance", LACKING, complete=True)
    an_hour_passes(fetch)
    await registry.register_instruments("binance", LACKING)
    assert (living(fetch, missing=True), changes(fetch)) == (["SOL/USDT"], [])


async def test_a_venue_tells_nothing_of_another_ones_instruments(registry: Registry, fetch: Fetch) -> None:
    await registry.register_instruments("binance", ALL, complete=True)
    ids = await registry.register_instruments(
        "okx", [structs.replace(one, exchange="okx") for one in ALL], complete=True
    )
    await registry.register_instruments("okx", [structs.replace(one, exchange="okx") for one in LACKING], complete=True)
    assert fetch("SELECT instrument_id FROM ingest.instruments WHERE missing_since IS NOT NULL") == [(ids["SOL/USDT"],)]


async def test_programs_that_register_the_same_listing_at_once_agree(database_url: str, fetch: Fetch) -> None:
    many = [listed(f"SIM{number:03}/USDT") for number in range(500)]
    programs = [Registry(database_url) for _ in range(4)]
    try:
        found = await asyncio.gather(*(one.register_instruments("binance", many, complete=True) for one in programs))
    finally:
        for one in programs:
            await one.close()
    assert found[0].keys() == {one.symbol for one in many}
    assert found == [found[0]] * 4
    assert changes(fetch) == []


# How the venues are


def health(fetch: Fetch) -> Rows:
    """Each period: state, detail, latency, limiter, and whether it is the present one."""
    return fetch(
        "SELECT state, detail, latency_ms, limiter, until IS NULL FROM market.exchange_status ORDER BY exchange, since"
    )


async def test_a_state_goes_on_until_another_one_ends_it(registry: Registry, fetch: Fetch) -> None:
    await registry.save_health("binance", "online", None, 35, 0.97531)
    first = fetch("SELECT since, checked_at FROM ingest.exchange_status")
    await registry.save_health("binance", "online", None, 40, 0.5)
    ((since, checked_at),) = fetch("SELECT since, checked_at FROM ingest.exchange_status")
    assert since == first[0][0] < checked_at
    assert health(fetch) == [("online", None, 40, Decimal("0.5"), True)]
    await registry.save_health("binance", "degraded", "REST: HTTP 500", 1200, 0.25)
    await registry.save_health("binance", "degraded", "1 of 9 streams are not delivered", None, None)
    await registry.save_health("binance", "online", None, 30, 1.0)
    assert health(fetch) == [
        ("online", None, 40, Decimal("0.5"), False),
        ("degraded", "1 of 9 streams are not delivered", 1200, Decimal("0.25"), False),
        ("online", None, 30, Decimal("1.0"), True),
    ]
    periods = fetch("SELECT since, until FROM ingest.exchange_status ORDER BY since")
    assert [ends for _, ends in periods[:-1]] == [begins for begins, _ in periods[1:]]


async def test_a_daemon_that_was_killed_claims_nothing_of_the_time_after(registry: Registry, fetch: Fetch) -> None:
    """Its last state ends when it was last seen; the same state later is another period."""
    await registry.save_health("binance", "online", None, 35, 1.0)
    fetch(
        "UPDATE ingest.exchange_status SET since = since - INTERVAL '2 hours', checked_at = now() - INTERVAL '1 hour'"
    )
    ((checked_at,),) = fetch("SELECT checked_at FROM ingest.exchange_status")
    await registry.save_health("binance", "online", None, 36, 1.0)
    (first, second) = fetch("SELECT since, until, latency_ms FROM ingest.exchange_status ORDER BY since")
    assert first[1:] == (checked_at, 35)
    assert second[0] > checked_at
    assert second[1:] == (None, 36)


async def test_shards_do_not_end_one_anothers_states_and_the_worst_is_shown(
    registry: Registry, database_url: str, fetch: Fetch
) -> None:
    first, second = Registry(database_url, shard="1/2"), Registry(database_url, shard="2/2")
    shown = "SELECT shard, state, until IS NULL FROM market.exchange_status ORDER BY shard, since"
    try:
        await registry.save_health("binance", "online", None, 35, 1.0)
        fetch("UPDATE ingest.exchange_status SET checked_at = now() - INTERVAL '1 hour'")
        for _ in range(3):
            await first.save_health("binance", "degraded", "1 of 9 streams are not delivered", None, None)
            await second.save_health("binance", "online", None, 30, 1.0)
        assert fetch(shown) == [("1/1", "online", False), ("1/2", "degraded", True), ("2/2", "online", True)]
        with connect_sync(database_url, role="test") as connection:
            assert [(v.exchange, v.state) for v in health_now(connection)] == [("binance", "degraded")]
            await first.save_health("binance", "stopped", "the daemon ended", None, None)
            assert [v.state for v in health_now(connection)] == ["online"]  # of those that run
            await second.save_health("binance", "stopped", "the daemon ended", None, None)
            assert [v.state for v in health_now(connection)] == ["stopped"]
    finally:
        await first.close()
        await second.close()


async def test_venues_have_histories_of_their_own(registry: Registry, fetch: Fetch) -> None:
    await registry.save_health("okx", "blocked", "okx: HTTP 451 via http://me:planted@127.0.0.1:1/\x00", None, None)
    await registry.save_health("binance", "online", None, 35, 1.0)
    await registry.save_health("okx", "blocked", "okx: HTTP 451", None, None)
    told = fetch("SELECT exchange, state, detail FROM market.exchange_status WHERE until IS NULL ORDER BY 1")
    assert told == [("binance", "online", None), ("okx", "blocked", "okx: HTTP 451")]


async def test_a_detail_holds_no_password(registry: Registry, fetch: Fetch) -> None:
    await registry.save_health("okx", "offline", "cannot reach http://me:planted@127.0.0.1:1/\x00", None, None)
    ((_, detail, *_),) = health(fetch)
    assert "planted" not in detail
    assert "127.0.0.1" in detail


async def test_a_state_that_is_none_is_refused(registry: Registry, fetch: Fetch) -> None:
    with pytest.raises(Fatal):
        await registry.save_health("binance", "fine", None, None, None)
    assert health(fetch) == []


# Roles


@pytest.fixture
def writer_url(database_url: str) -> Iterator[str]:
    with login(database_url, roles.WRITER) as url:
        yield url


async def test_the_writers_role_keeps_all_of_it(writer_url: str, fetch: Fetch) -> None:
    registry = Registry(writer_url)
    try:
        await registry.register_instruments("binance", ALL, complete=True)
        await registry.register_instruments("binance", [structs.replace(BTC, active=False), ETH, XRP], complete=True)
        an_hour_passes(fetch)
        await registry.register_instruments("binance", [structs.replace(BTC, active=False), ETH, XRP], complete=True)
        await registry.save_health("binance", "online", None, 35, 1.0)
        await registry.save_health("binance", "stopped", "the daemon ended", None, None)
    finally:
        await registry.close()
    assert [sorted(after) for _, _, after in changes(fetch)] == [["active"], ["active", "delisted_at"]]
    assert [row[0] for row in health(fetch)] == ["online", "stopped"]
