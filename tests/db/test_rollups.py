"""Rollups: the same on both editions, equal to a direct computation, also where rows come late or leave."""

from datetime import UTC, datetime, timedelta

import pytest

from ingest.clock import MINUTE, SECOND
from tests.db import rollup_data as data
from tests.db.rollup_data import LEVELS, ROLLUPS, direct, maintain, rollup, rows, store

DAY = 24 * 60 * MINUTE


@pytest.fixture(params=["here", pytest.param("community", marks=pytest.mark.community)])
def url(request: pytest.FixtureRequest) -> str:
    """A migrated database on the server at hand, and one on Community; no job runs by itself."""
    name = "database_url" if request.param == "here" else "community_database_url"
    found: str = request.getfixturevalue(name)
    data.still(found)
    return found


def right(url: str) -> None:
    """Every level is what plain SQL makes of the one-minute candles."""
    for table, bucket in LEVELS.items():
        assert rollup(url, table) == direct(url, bucket), table


async def test_every_level_with_the_open_bucket(url: str) -> None:
    now = data.this_minute()
    batch = data.candles(now - 3 * 60 * MINUTE, range(181))
    await store(url, batch, data.candles(now - 20 * MINUTE, range(0, 20, 3), instrument_id=2))
    await maintain(url)
    right(url)
    await store(url, data.candles(now + MINUTE, range(2)))
    await maintain(url)
    right(url)
    (last,) = rows(
        url, "SELECT time, minutes FROM ingest.candles_1w WHERE instrument_id = 1 ORDER BY time DESC LIMIT 1"
    )
    assert last[0].weekday() == 0


async def test_weeks_begin_on_monday_and_days_at_midnight(url: str) -> None:
    monday = datetime(2026, 11, 16, tzinfo=UTC)
    start = int(monday.timestamp()) * SECOND
    await store(url, data.candles(start - MINUTE, range(2)), data.candles(start + DAY - MINUTE, range(2)))
    await maintain(url)
    right(url)
    counts = "SELECT time, minutes FROM ingest.candles_{} ORDER BY time"
    assert rows(url, counts.format("1w")) == [(monday - timedelta(days=7), 1), (monday, 3)]
    assert rows(url, counts.format("1d")) == [
        (monday - timedelta(days=1), 1), (monday, 2), (monday + timedelta(days=1), 1)
    ]  # fmt: skip


async def test_rows_that_come_late_reach_every_level(url: str) -> None:
    now = data.this_minute()
    await store(url, data.candles(now - 40 * DAY, range(0, 40 * 24 * 60, 30)))
    await maintain(url)
    right(url)
    for days in (39, 8, 2, 1):
        await store(url, data.candles(now - days * DAY + MINUTE, range(0, 50, 7)), staged=True)
        await store(url, [data.candle(2, now - days * DAY, days)])
    replaced = [data.candle(1, now - 30 * DAY, 7, volume="5000")]
    await store(url, replaced, staged=True)
    await maintain(url)
    right(url)
    assert rows(url, "SELECT * FROM ingest.refresh_requests") == rows(url, "SELECT 1 FROM ingest.rollup_changes") == []


async def test_nothing_coarser_is_lost_when_chunks_are_dropped_and_all_is_refreshed(url: str) -> None:
    """The daemon's retention, then the widest refresh that can be asked for, then late rows before the edge."""
    now = data.this_minute()
    await store(url, data.candles(now - 200 * DAY, range(0, 200 * 24 * 60, 60)))
    await maintain(url)
    right(url)
    before = {table: rollup(url, table) for table in LEVELS}
    rows(url, "UPDATE ingest.policies SET retention = '40 days' WHERE table_name = 'candles_1m'")
    (stored,) = rows(url, "SELECT count(*) FROM ingest.candles_1m")
    rows(url, "SELECT drop_chunks('ingest.candles_1m', older_than => now() - INTERVAL '40 days')")
    (kept,) = rows(url, "SELECT count(*) FROM ingest.candles_1m")
    assert 40 * 24 <= kept[0] < stored[0] - 100 * 24
    rows(url, "INSERT INTO ingest.refresh_requests (table_name) VALUES ('candles_5m')")
    await maintain(url)
    assert {table: rollup(url, table) for table in LEVELS} == before
    await store(url, data.candles(now - 100 * DAY, range(10)))  # what lies before the edge is rolled up from nothing
    await maintain(url)
    assert {table: rollup(url, table) for table in LEVELS} == before


async def test_trades_of_one_moment_stand_in_the_order_of_their_ids(url: str) -> None:
    start = data.this_minute() - 10 * MINUTE
    await store(url, data.trades(start, 3_000), data.trades(start + 30 * SECOND, 500, instrument_id=2))
    await maintain(url)
    made = rollup(url, "trade_candles_1m")
    assert made == rows(
        url,
        """
        SELECT date_bin('1 minute', time, 'epoch'), instrument_id,
               (array_agg(price ORDER BY time, trade_id::bigint))[1], max(price), min(price),
               (array_agg(price ORDER BY time DESC, trade_id::bigint DESC))[1],
               sum(amount), sum(price * amount), count(*),
               CASE WHEN bool_and(side IS NOT NULL) THEN sum(CASE side WHEN 'buy' THEN amount ELSE 0 END) END,
               CASE WHEN bool_and(side IS NOT NULL) THEN sum(CASE side WHEN 'buy' THEN price * amount ELSE 0 END) END
        FROM ingest.trades GROUP BY 1, 2 ORDER BY 2, 1
        """,
    )
    assert {row[9] is None for row in made} == {True, False}


async def test_minutes_of_books(url: str) -> None:
    start = data.this_minute() - 5 * MINUTE
    await store(url, data.books(start, 150), data.books(start + 7 * SECOND, 20, instrument_id=2))
    await maintain(url)
    expected = rows(
        url,
        """
        WITH used AS (
            SELECT b.*, date_bin('1 minute', time, 'epoch') AS minute, m.mid, ask_prices[1] - bid_prices[1] AS spread,
                   (bid_amounts[1] - ask_amounts[1]) / (bid_amounts[1] + ask_amounts[1]) AS imbalance
            FROM ingest.order_books b, LATERAL (SELECT (bid_prices[1] + ask_prices[1]) / 2 AS mid) m
            WHERE in_sync AND bid_prices <> '{}' AND ask_prices <> '{}'
        ),
        depths AS (
            SELECT u.instrument_id, u.minute, bps,
                   avg((SELECT coalesce(sum(a), 0) FROM unnest(bid_prices, bid_amounts) AS l (p, a)
                        WHERE p >= mid - mid * bps / 10000)) AS bid,
                   avg((SELECT coalesce(sum(a), 0) FROM unnest(ask_prices, ask_amounts) AS l (p, a)
                        WHERE p <= mid + mid * bps / 10000)) AS ask
            FROM used u, unnest(ARRAY[10, 25, 50]) AS bps GROUP BY 1, 2, 3
        )
        SELECT u.minute, u.instrument_id,
               (SELECT count(*) FROM ingest.order_books b WHERE b.instrument_id = u.instrument_id
                AND b.time >= u.minute AND b.time < u.minute + INTERVAL '1 minute'), count(*),
               (array_agg(mid ORDER BY time))[1], max(mid), min(mid), (array_agg(mid ORDER BY time DESC))[1],
               round(avg(mid), 8), round(avg(spread), 8), min(spread), max(spread),
               (array_agg(spread ORDER BY time DESC))[1], round(avg(spread / mid * 10000), 8), round(avg(imbalance), 8),
               (array_agg(imbalance ORDER BY time DESC))[1],
               (SELECT array_agg(ARRAY[round(bid, 8), round(ask, 8)] ORDER BY bps) FROM depths d
                WHERE d.instrument_id = u.instrument_id AND d.minute = u.minute),
               round(min(least(mid - bid_prices[cardinality(bid_prices)], ask_prices[10] - mid) / mid * 10000), 8)
        FROM used u GROUP BY 1, 2 ORDER BY 2, 1
        """,
    )
    assert len(expected) == 4
    assert expected == rows(
        url,
        """
        SELECT time, instrument_id, snapshots, used, mid_open, mid_high, mid_low, mid_close, round(mid_avg, 8),
               round(spread_avg, 8), spread_min, spread_max, spread_close, round(spread_bps_avg, 8),
               round(imbalance_avg, 8), imbalance_close,
               ARRAY[[round(bid_10bps_avg, 8), round(ask_10bps_avg, 8)],
                     [round(bid_25bps_avg, 8), round(ask_25bps_avg, 8)],
                     [round(bid_50bps_avg, 8), round(ask_50bps_avg, 8)]],
               round(reach_bps_min, 8)
        FROM ingest.book_1m ORDER BY instrument_id, time
        """,
    )


async def test_a_minute_without_a_usable_book_says_so(url: str) -> None:
    await store(url, [data.books(data.this_minute() - 2 * MINUTE, 1)[0]])
    await maintain(url)
    ((_, _, *figures),) = rollup(url, "book_1m")
    assert figures == [1, 0, *[None] * 19]


@pytest.fixture
def both(database_url: str, community_database_url: str) -> tuple[str, str]:
    for url in (database_url, community_database_url):
        data.still(url)
    return (database_url, community_database_url)


COLUMNS = """
SELECT c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod), col_description(c.oid, a.attnum)
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace = 'ingest'::regnamespace AND c.relname = ANY (%s) ORDER BY 1, a.attnum
"""


@pytest.mark.community
async def test_both_editions_say_the_same(both: tuple[str, str]) -> None:
    """The same rows, also late ones, give the same names, types, comments and numbers."""
    now = data.this_minute()
    for url in both:
        await store(
            url,
            data.candles(now - 30 * DAY, range(0, 30 * 24 * 60 + 1, 11)),
            data.candles(now - DAY, range(1_000), instrument_id=2),
            data.trades(now - 30 * MINUTE, 10_000),
            data.books(now - 10 * MINUTE, 600),
        )
        await maintain(url)
        await store(url, data.candles(now - 20 * DAY + MINUTE, range(0, 3_000, 13)), staged=True)
        await store(url, data.trades(now - 3 * DAY, 1_000), data.books(now - 4 * DAY, 100), staged=True)
        await maintain(url)
        right(url)
    apache, community = both
    assert rows(apache, COLUMNS, list(ROLLUPS)) == rows(community, COLUMNS, list(ROLLUPS))
    assert [row for row in rows(apache, COLUMNS, list(ROLLUPS)) if row[3] is None] == []
    for table in ROLLUPS:
        as_text = f"SELECT t::text FROM ingest.{table} t ORDER BY instrument_id, time"
        assert rows(apache, as_text) == rows(community, as_text)
        assert len(rows(apache, as_text)) > 3
    candles = "SELECT c::text FROM market.candles c ORDER BY timeframe, instrument_id, time"
    assert rows(apache, candles) == rows(community, candles)
