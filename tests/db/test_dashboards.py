"""The market dashboard's statements run, and read nothing but what an analyst may."""

import json
import re
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ingest.clock import MINUTE, SECOND
from ingest.records import Funding
from ingest.store.copy_writer import CopyWriter
from tests.db.logins import login
from tests.db.rollup_data import maintain, this_minute
from tests.db.support import book, candle, funding, trade

DASHBOARD = Path(__file__).parents[2] / "deploy" / "grafana" / "dashboards" / "market.json"
READ: dict[str, Any] = json.loads(DASHBOARD.read_text())
STATEMENTS = {panel["title"]: panel["targets"][0]["rawSql"] for panel in READ["panels"]}
VARIABLES = {each["name"]: each["query"] for each in READ["templating"]["list"] if each["type"] == "query"}
EMPTY = {"Gaps"}  # nothing is missing here


def filled(statement: str) -> bytes:
    """As Grafana sends it: the last hour of BTC/USDT at binance, by the minute."""
    values = {"exchange": "binance", "symbol": "BTC/USDT", "interval": "1 minute"}
    for name, value in values.items():
        statement = statement.replace(f"${{{name}:sqlstring}}", f"'{value}'")
    for macro, shift in (("$__timeFrom()", "-1 hour"), ("$__timeTo()", "2 minutes")):
        statement = statement.replace(macro, f"(now() + INTERVAL '{shift}')")
    assert re.findall(r"\$\w+|\$\{", statement) == []
    return statement.encode()


@pytest.fixture
async def analyst_url(writer: CopyWriter, database_url: str) -> Any:
    """A login like Grafana's, on a database that holds a few minutes of everything."""
    start = this_minute() - 10 * MINUTE
    times = [start + n * MINUTE for n in range(10)]
    await writer.write([candle(time_ns=time) for time in times])
    await writer.write([trade(str(n), time_ns=time + SECOND) for n, time in enumerate(times, 1)])
    await writer.write([book(time_ns=time) for time in times])
    rates: list[Funding] = [funding(time_ns=time) for time in times]
    await writer.write(rates)
    await maintain(database_url)
    with login(database_url, "market_analyst") as url:
        yield url


async def test_every_panel_shows_what_is_stored(analyst_url: str) -> None:
    with psycopg.connect(analyst_url, autocommit=True) as connection:
        counts = {
            title: len(connection.execute(filled(statement)).fetchall()) for title, statement in STATEMENTS.items()
        }
    assert len(counts) == len(READ["panels"])
    assert {title for title, rows in counts.items() if not rows} == EMPTY
    assert counts["Candles"] == counts["Last trades"] == 10


async def test_every_variable_offers_something(analyst_url: str) -> None:
    with psycopg.connect(analyst_url, autocommit=True) as connection:
        offered = {name: connection.execute(filled(statement)).fetchall() for name, statement in VARIABLES.items()}
    assert offered == {"exchange": [("binance",)], "symbol": [("BTC/USDT",), ("ETH/USDT",)]}
