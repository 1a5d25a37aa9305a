"""`ingest symbols`, `instruments refresh`, `exchanges` and what `status` says of venues: against the simulator."""

import json
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from ingest import directory, instruments, status
from ingest.config.model import Config
from ingest.config.source import load
from ingest.errors import ConfigError, Exit, Retryable
from ingest.records import Instrument, Stream
from ingest.store import roles
from ingest.store.database import connect_sync
from ingest.store.registry import Registry
from tests.conftest import Fetch
from tests.db.logins import login
from tests.fault.venue import Venue

Print = Callable[..., tuple[Exit, str]]


@pytest.fixture(scope="module")
def market() -> Iterator[Venue]:
    made = Venue()
    yield made
    made.close()


@pytest.fixture
def venue(market: Venue) -> Iterator[Venue]:
    """A venue that lists BTC, ETH and SOL against USDT, whatever the test before made of it."""
    yield market
    for symbol in ("BTC/USDT", "ETH/USDT", "SOL/USDT"):
        market.list_as(symbol, "trading")


def configured(url: str, *exchanges: str) -> Config:
    blocks = [{"exchange": exchange, "symbols": ["BTC/USDT"], "channels": ["trades"]} for exchange in exchanges]
    settings = {"exchanges.binance.rest_url": url, "exchanges.kraken.rest_url": "http://127.0.0.1:1"}
    return load(None, environ={"no_proxy": "*"}, overrides=settings).config.model_copy(
        update={"collect": Config.model_validate({"collect": blocks}).collect}
    )


@pytest.fixture
def config(venue: Venue) -> Config:
    return configured(venue.url, "binance")


def printed(show: Callable[..., Exit], *arguments: Any, as_json: bool = False, **options: Any) -> tuple[Exit, Any]:
    """The exit code, and the text or the object that was printed."""
    text = StringIO()
    code = show(*arguments, as_json=as_json, console=Console(file=text, width=200), **options)
    return code, json.loads(text.getvalue()) if as_json else text.getvalue()


# symbols


def test_symbols_shows_what_the_venue_lists(config: Config, venue: Venue) -> None:
    venue.list_as("SOL/USDT", "halted")
    code, found = printed(instruments.symbols, config, "binance", "*", stored_at=None, as_json=True)
    assert code == Exit.OK
    assert [(one["symbol"], one["active"]) for one in found] == [
        *(("BTC/USDT", True), ("ETH/USDT", True), ("SOL/USDT", False))
    ]
    assert found[0] == {
        "symbol": "BTC/USDT",
        "native": "BTCUSDT",
        "kind": "spot",
        "base": "BTC",
        "quote": "USDT",
        "settle": None,
        "price_step": "0.01000000",
        "amount_step": "0.00001000",
        "min_amount": found[0]["min_amount"],
        "max_amount": found[0]["max_amount"],
        "min_notional": "5.00000000",
        "contract_size": None,
        "expiry": None,
        "active": True,
        "delisted_at": None,
        "channels": ["trades", "candles", "book", "quotes", "ticker"],
    }
    code, text = printed(instruments.symbols, config, "binance", "[BS]*/USDT", stored_at=None)
    assert code == Exit.OK
    assert "2 of 3 instruments" in text
    assert "ETH/USDT" not in text
    (halted,) = (line for line in text.splitlines() if "SOL/USDT" in line)
    assert halted.split()[:7] == ["SOL/USDT", "SOLUSDT", "spot", "SOL", "USDT", "0.01", "0.001"]
    assert halted.split()[-2:] == ["5", "halted"]


def test_a_pattern_that_matches_nothing_is_a_mistake_with_the_nearest_symbol(config: Config) -> None:
    with pytest.raises(ConfigError, match=r"binance lists nothing that matches 'BTCC/USDT'; did you mean BTC/USDT\?"):
        printed(instruments.symbols, config, "binance", "BTCC/USDT", stored_at=None)


def test_a_venue_that_is_away_is_said_so() -> None:
    with pytest.raises(Retryable, match="kraken: cannot load the instruments"):
        printed(instruments.symbols, configured("http://127.0.0.1:1"), "kraken", "*", stored_at=None)


def test_symbols_of_the_database_are_those_that_it_was_told_of(
    config: Config, venue: Venue, database_url: str, fetch: Fetch
) -> None:
    with pytest.raises(ConfigError, match="`ingest instruments refresh binance` brings them"):
        printed(instruments.symbols, config, "binance", "*", stored_at=database_url)
    printed(instruments.refresh, config, database_url, [])
    asked = printed(instruments.symbols, config, "binance", "*", stored_at=None, as_json=True)
    stored = printed(instruments.symbols, config, "binance", "*", stored_at=database_url, as_json=True)
    assert stored == asked
    fetch("UPDATE ingest.instruments SET delisted_at = '2026-11-20 12:00', active = false WHERE symbol = 'SOL/USDT'")
    with login(database_url, roles.ANALYST) as analyst:
        _, text = printed(instruments.symbols, config, "binance", "SOL/*", stored_at=analyst)
    assert "delisted 2026-11-20 12:00" in text


# instruments refresh


def test_refresh_says_what_is_new_changed_missing_and_delisted(
    config: Config, venue: Venue, database_url: str, fetch: Fetch
) -> None:
    def refreshed() -> dict[str, Any]:
        code, (told,) = printed(instruments.refresh, config, database_url, [], as_json=True)
        assert (code, told.pop("exchange"), told.pop("error")) == (Exit.OK, "binance", None)
        return {key: value for key, value in told.items() if value}

    assert refreshed() == {"listed": 3, "new": ["BTC/USDT", "ETH/USDT", "SOL/USDT"]}
    assert refreshed() == {"listed": 3}
    venue.list_as("ETH/USDT", "halted")
    halted = {"symbol": "ETH/USDT", "before": {"active": True}, "after": {"active": False}}
    assert refreshed() == {"listed": 3, "changed": [halted]}
    venue.list_as("SOL/USDT", "gone")
    assert refreshed() == {"listed": 2, "missing": ["SOL/USDT"]}
    assert refreshed() == {"listed": 2, "missing": ["SOL/USDT"]}
    fetch("UPDATE ingest.instruments SET missing_since = missing_since - INTERVAL '61 minutes'")
    assert refreshed() == {"listed": 2, "delisted": ["SOL/USDT"]}
    assert refreshed() == {"listed": 2}
    venue.list_as("SOL/USDT", "trading")
    assert refreshed() == {"listed": 3, "new": ["SOL/USDT"]}
    assert fetch("SELECT count(*) FROM ingest.instruments WHERE symbol = 'SOL/USDT'") == [(2,)]


def test_refresh_in_words(config: Config, venue: Venue, database_url: str) -> None:
    code, text = printed(instruments.refresh, config, database_url, ["binance", "binance"])
    assert (code, text.splitlines()) == (
        Exit.OK,
        [
            "binance: 3 listed: 3 new, 0 changed, 0 missing, 0 delisted",
            *(f"  new      {symbol}" for symbol in ("BTC/USDT", "ETH/USDT", "SOL/USDT")),
        ],
    )
    venue.list_as("ETH/USDT", "halted")
    venue.list_as("SOL/USDT", "gone")
    _, text = printed(instruments.refresh, config, database_url, [])
    assert text.splitlines() == [
        "binance: 2 listed: 0 new, 1 changed, 1 missing, 0 delisted",
        "  changed  ETH/USDT: active true → false",
        "  missing  SOL/USDT",
    ]


def test_a_venue_that_is_away_costs_the_others_nothing(venue: Venue, database_url: str, fetch: Fetch) -> None:
    config = configured(venue.url, "kraken", "binance")
    code, (kraken, binance) = printed(instruments.refresh, config, database_url, [], as_json=True)
    assert code == Exit.UNAVAILABLE
    assert kraken["error"].startswith("kraken: cannot load the instruments")
    assert (binance["listed"], binance["error"]) == (3, None)
    assert fetch("SELECT name FROM ingest.exchanges") == [("binance",)]
    code, text = printed(instruments.refresh, config, database_url, ["kraken"])
    assert code == Exit.UNAVAILABLE
    assert text.startswith("kraken: not refreshed: kraken: cannot load")


def test_nothing_to_refresh_is_a_mistake(database_url: str) -> None:
    with pytest.raises(ConfigError, match="name an exchange"):
        printed(instruments.refresh, configured("http://127.0.0.1:1"), database_url, [])


def test_the_writers_role_may_refresh(config: Config, database_url: str) -> None:
    with login(database_url, roles.WRITER) as url:
        code, _ = printed(instruments.refresh, config, url, [])
    assert code == Exit.OK


# exchanges and status


async def of_binance(url: str) -> None:
    """A venue with one stream, another with none, a third one without a daemon for an hour."""
    registry = Registry(url)
    try:
        ids = await registry.register_instruments("binance", [BTC])
        stream = Stream(ids["BTC/USDT"], BTC, "trades")
        await registry.register_streams([stream], {"trades": "trade"}, {})
        await registry.save_states({stream: ("reconnecting", "cut \x1b[31mred")})
        await registry.save_health("binance", "degraded", "1 of 1 streams [bold]", 35, 0.975)
        await registry.save_health("okx", "stopped", "the daemon ended", None, None)
        await registry.save_health("kraken", "online", None, 80, 1.0)
    finally:
        await registry.close()
    with connect_sync(url, role="test") as connection:
        connection.execute(
            "UPDATE ingest.exchange_status SET checked_at = now() - INTERVAL '3 hours' WHERE latency_ms = 80"
        )


BTC = Instrument("binance", "BTC/USDT", "BTCUSDT", "spot", "BTC", "USDT")
DEGRADED = "REST 35 ms, 98 % of the limit free: 1 of 1 streams [bold]"


async def test_status_says_how_each_venue_is_above_its_streams(database_url: str) -> None:
    await of_binance(database_url)
    with login(database_url, roles.ANALYST) as analyst:
        code, text = printed(status.show, analyst, watch=False)
    assert code == Exit.OK
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[0].startswith("binance: degraded for ")
    assert lines[0].endswith(DEGRADED)
    assert lines[2].startswith("BTC/USDT trades reconnecting - -")
    assert lines[2].endswith(r"cut \x1b[31mred")
    assert "kraken: online when it was last seen, 3 h ago" in lines
    assert any(line.startswith("okx: stopped ") for line in lines)
    code, streams = printed(status.show, database_url, watch=False, as_json=True)
    assert [(one["exchange"], one["state"]) for one in streams] == [("binance", "reconnecting")]


def test_status_of_an_empty_database(database_url: str) -> None:
    assert printed(status.show, database_url, watch=False) == (
        Exit.OK,
        "no stream was ever collected into this database\n",
    )


async def test_exchanges_are_those_that_are_configured_with_their_states(database_url: str) -> None:
    await of_binance(database_url)
    config = configured("http://127.0.0.1:1", "binance", "bybit", "kucoin")
    code, (binance, bybit, kucoin) = printed(directory.show, config, database_url, everything=False, as_json=True)
    assert code == Exit.OK
    assert {**binance, "status": binance["status"]["state"]} == {
        "exchange": "binance",
        "native": True,
        "configured": True,
        "offers": [{"kind": "spot", "streamed": ["trades", "candles", "book", "quotes", "ticker"], "polled": []}],
        "status": "degraded",
    }
    assert (bybit["native"], bybit["status"], [offer["kind"] for offer in bybit["offers"]]) == (
        *(True, None, ["spot", "swap"]),
    )
    assert "liquidations" in bybit["offers"][1]["streamed"]
    assert (kucoin["native"], kucoin["status"]) == (False, None)
    assert "trades" in kucoin["offers"][0]["streamed"]
    _, text = printed(directory.show, config, database_url, everything=False)
    assert " ".join(text.splitlines()[1].split()).startswith(
        "binance native spot: trades, candles, book, quotes, ticker degraded for"
    )
    assert text.splitlines()[1].rstrip().endswith(DEGRADED)


def test_all_exchanges_without_a_database() -> None:
    nowhere = "postgresql://ingest@127.0.0.1:1/x"
    config = configured("http://127.0.0.1:1", "okx")
    _, found = printed(directory.show, config, nowhere, everything=True, as_json=True)
    assert len(found) > 90
    assert [one["exchange"] for one in found if one["configured"]] == ["okx"]
    assert {one["exchange"] for one in found if one["native"]} >= {"binance", "binanceusdm", "bybit", "kraken", "okx"}
    assert all(one["offers"] and one["status"] is None for one in found)
    assert printed(directory.show, configured("http://127.0.0.1:1"), nowhere, everything=False) == (
        *(Exit.OK, "no exchange is configured; --all shows those that may be\n"),
    )
