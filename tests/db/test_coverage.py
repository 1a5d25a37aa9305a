"""`market.coverage` over whole days of edge cases, and the views that it and `ingest gaps` stand on."""

import itertools
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest import analyst
from tests.conftest import Fetch
from tests.db.ledger import BEGIN, MICROSECOND, Ledger, at

Piece = tuple[datetime, datetime, str, str | None, str | None]
Coverage = Callable[..., list[Piece]]


@pytest.fixture(autouse=True)
def ledger(fetch: Fetch) -> Ledger:
    return Ledger(fetch)


@pytest.fixture
def coverage(fetch: Fetch) -> Callable[..., list[Piece]]:
    """The rows without seconds and percent, which are checked here."""

    def ask(starts: datetime | None, ends: datetime | None, channel: str = "trades") -> list[Piece]:
        rows = fetch("SELECT * FROM market.coverage('binance', 'BTC/USDT', %s, %s, %s)", channel, starts, ends)
        whole = (rows[-1][1] - rows[0][0]).total_seconds() if rows else 0
        for row in rows:
            assert row[5] == Decimal((row[1] - row[0]) // MICROSECOND) / 1_000_000
            assert float(row[6]) == pytest.approx(100 * float(row[5]) / whole, rel=1e-12)
        assert all(before[1] == after[0] for before, after in itertools.pairwise(rows))
        return [row[:5] for row in rows]

    return ask


def proved(starts: datetime, ends: datetime) -> Piece:
    return (starts, ends, "proved", None, None)


def attested(starts: datetime, ends: datetime) -> Piece:
    return (starts, ends, "attested", None, None)


def lacking(starts: datetime, ends: datetime, cause: str = "not collected", state: str | None = None) -> Piece:
    return (starts, ends, "gap", cause, state)


def test_a_stream_without_a_gap(ledger: Ledger, coverage: Coverage) -> None:
    ledger.stream()
    assert coverage(BEGIN, at(60)) == [proved(BEGIN, at(60))]
    assert coverage(at(10), at(65)) == [proved(at(10), at(60)), attested(at(60), at(65))]
    assert coverage(at(-30), at(90)) == [
        lacking(at(-30), BEGIN),
        proved(BEGIN, at(60)),
        attested(at(60), at(65)),
        lacking(at(65), at(90)),
    ]


def test_before_it_began_and_after_it_ended(ledger: Ledger, coverage: Coverage) -> None:
    ledger.stream()
    assert coverage(at(-30), BEGIN) == [lacking(at(-30), BEGIN)]
    assert coverage(at(65), at(66)) == [lacking(at(65), at(66))]


def test_bounds_are_exact_to_the_microsecond(ledger: Ledger, coverage: Coverage) -> None:
    ledger.stream()
    ledger.gap(at(10), at(20))
    ends = at(20) + MICROSECOND  # what came at its last instant may be missing, too
    assert coverage(BEGIN, at(30)) == [
        proved(BEGIN, at(10)),
        lacking(at(10), ends, "cut", "open"),
        proved(ends, at(30)),
    ]
    assert coverage(at(10) - MICROSECOND, at(10) + MICROSECOND) == [
        proved(at(10) - MICROSECOND, at(10)),
        lacking(at(10), at(10) + MICROSECOND, "cut", "open"),
    ]
    assert coverage(ends, ends + MICROSECOND) == [proved(ends, ends + MICROSECOND)]
    assert coverage(BEGIN - MICROSECOND, BEGIN + MICROSECOND) == [
        lacking(BEGIN - MICROSECOND, BEGIN),
        proved(BEGIN, BEGIN + MICROSECOND),
    ]
    assert coverage(at(5), at(5)) == []


def test_a_gap_within_one_instant_shows(ledger: Ledger, coverage: Coverage) -> None:
    """Ids may be missing between two trades of the same microsecond."""
    ledger.stream()
    ledger.gap(at(10), at(10), ids=(5, 6))
    assert coverage(at(9), at(11)) == [
        proved(at(9), at(10)),
        lacking(at(10), at(10) + MICROSECOND, "cut", "open"),
        proved(at(10) + MICROSECOND, at(11)),
    ]


def test_a_gap_whose_clock_stepped_back(ledger: Ledger, coverage: Coverage) -> None:
    ledger.stream()
    ledger.gap(at(20), at(10))
    assert coverage(at(15), at(16)) == [lacking(at(15), at(16), "cut", "open")]


def test_gaps_that_touch(ledger: Ledger, coverage: Coverage) -> None:
    ledger.stream()
    ledger.gap(at(10), at(20) - MICROSECOND, "cut")
    ledger.gap(at(20), at(25) - MICROSECOND, "cut")
    ledger.gap(at(25), at(30) - MICROSECOND, "restart")
    assert coverage(at(5), at(40)) == [
        proved(at(5), at(10)),
        lacking(at(10), at(25), "cut", "open"),
        lacking(at(25), at(30), "restart", "open"),
        proved(at(30), at(40)),
    ]


def test_gaps_that_overlap(ledger: Ledger, coverage: Coverage) -> None:
    ledger.stream()
    ledger.gap(at(10), at(30) - MICROSECOND, "cut")
    ledger.gap(at(15), at(20) - MICROSECOND, "restart", "unrecoverable")
    ledger.gap(at(25), at(35) - MICROSECOND, "cut", "awaiting_dump")
    assert coverage(at(5), at(40)) == [
        proved(at(5), at(10)),
        lacking(at(10), at(15), "cut", "open"),
        lacking(at(15), at(20), "cut, restart", "open, unrecoverable"),
        lacking(at(20), at(25), "cut", "open"),
        lacking(at(25), at(30), "cut", "awaiting_dump, open"),
        lacking(at(30), at(35), "cut", "awaiting_dump"),
        proved(at(35), at(40)),
    ]


def test_the_same_gap_twice(ledger: Ledger, coverage: Coverage) -> None:
    ledger.stream()
    for cause in ("a", "b"):
        ledger.gap(at(10), at(20) - MICROSECOND, cause)
    assert coverage(at(10), at(20)) == [lacking(at(10), at(20), "a, b", "open")]


@pytest.mark.parametrize("state", ["open", "repairing", "awaiting_dump", "unrecoverable"])
def test_every_state_but_repaired_is_a_gap(ledger: Ledger, coverage: Coverage, state: str) -> None:
    ledger.stream()
    ledger.gap(at(10), at(20) - MICROSECOND, "cut", "repaired")
    assert coverage(BEGIN, at(60)) == [proved(BEGIN, at(60))]
    ledger.gap(at(30), at(40) - MICROSECOND, "cut", state)
    assert coverage(BEGIN, at(60)) == [
        proved(BEGIN, at(30)),
        lacking(at(30), at(40), "cut", state),
        proved(at(40), at(60)),
    ]


def test_a_gap_that_lasts(ledger: Ledger, coverage: Coverage) -> None:
    ledger.stream()
    ledger.gap(at(62), None, "disconnect")
    assert coverage(at(55), at(90)) == [
        proved(at(55), at(60)),
        attested(at(60), at(62)),
        lacking(at(62), at(90), "disconnect", "open"),
    ]


def test_a_gap_of_unknown_start_reaches_back(ledger: Ledger, coverage: Coverage) -> None:
    ledger.stream()
    ledger.gap(None, at(10) - MICROSECOND, "spool lost", ids=(5, 9))
    assert coverage(at(-5), at(20)) == [lacking(at(-5), at(10), "spool lost", "open"), proved(at(10), at(20))]


def test_a_gap_where_nothing_was_collected_has_its_own_cause(ledger: Ledger, coverage: Coverage) -> None:
    ledger.stream()
    ledger.gap(at(70), at(80) - MICROSECOND, "restart")
    assert coverage(at(60), at(90)) == [
        attested(at(60), at(65)),
        lacking(at(65), at(70)),
        lacking(at(70), at(80), "restart", "open"),
        lacking(at(80), at(90)),
    ]


def test_what_promises_nothing_is_attested(ledger: Ledger, coverage: Coverage) -> None:
    ledger.stream("quotes")
    ledger.gap(at(10), at(20) - MICROSECOND, "disconnect", "unrecoverable", channel="quotes")
    ledger.gap(at(10), at(20), "of another channel")
    assert coverage(BEGIN, at(70), "quotes") == [
        attested(BEGIN, at(10)),
        lacking(at(10), at(20), "disconnect", "unrecoverable"),
        attested(at(20), at(65)),
        lacking(at(65), at(70)),
    ]


def test_candles_go_by_whole_minutes(ledger: Ledger, coverage: Coverage) -> None:
    ledger.stream("candles")
    ledger.gap(at(10), at(12), "candles skipped", channel="candles")  # the opens of the first and the last missing one
    ledger.gap(at(20.5), at(21.5), "restart", channel="candles")
    assert coverage(BEGIN, at(30), "candles") == [
        proved(BEGIN, at(10)),
        lacking(at(10), at(13), "candles skipped", "open"),
        proved(at(13), at(20)),
        lacking(at(20), at(22), "restart", "open"),
        proved(at(22), at(30)),
    ]


def test_quiet_minutes_are_covered(ledger: Ledger, coverage: Coverage) -> None:
    """Not one trade is stored, and the ids say that none is missing."""
    ledger.stream()
    assert coverage(BEGIN, at(60)) == [proved(BEGIN, at(60))]


def test_a_stream_that_never_ran(ledger: Ledger, coverage: Coverage) -> None:
    assert coverage(BEGIN, at(1)) == [lacking(BEGIN, at(1))]
    assert coverage(None, None) == []
    ledger.stream(state="starting", covered_from=None, proved_to=None, attested_to=None, watermark_id=None)
    assert coverage(BEGIN, at(1)) == [lacking(BEGIN, at(1))]


def test_fetched_windows_are_proved(ledger: Ledger, coverage: Coverage) -> None:
    ledger.stream()
    ledger.job(at(-40), at(-30) - MICROSECOND)
    ledger.job(at(-30), at(-20) - MICROSECOND)
    ledger.job(at(-10), at(-5), state="failed")
    ledger.job(at(5), at(10))  # inside of what was collected it changes nothing
    ledger.gap(at(-25), at(-24) - MICROSECOND, "hole found")
    assert coverage(at(-50), at(60)) == [
        lacking(at(-50), at(-40)),
        proved(at(-40), at(-25)),
        lacking(at(-25), at(-24), "hole found", "open"),
        proved(at(-24), at(-20)),
        lacking(at(-20), BEGIN),
        proved(BEGIN, at(60)),
    ]
    assert coverage(None, at(0))[0] == proved(at(-40), at(-25))


def test_fetched_windows_of_ids_prove_the_time_between_them(ledger: Ledger, coverage: Coverage) -> None:
    """Their times are those of their rows."""
    ledger.job(at(1), at(9), ids=(1, 10))
    ledger.job(at(11), at(19), ids=(11, 20))
    ledger.job(at(12), at(13), ids=(12, 13))
    ledger.job(at(0), at(60), ids=(21, 30), rows=0)  # the venue has none of these; the times are the whole gap's
    ledger.job(at(31), at(39) - MICROSECOND, ids=(31, 40))
    ledger.job(at(41), at(49) - MICROSECOND, ids=(42, 50))
    assert coverage(at(0), at(50)) == [
        lacking(at(0), at(1)),
        proved(at(1), at(39)),
        lacking(at(39), at(41)),
        proved(at(41), at(49)),
        lacking(at(49), at(50)),
    ]


def test_fetched_candles_hold_their_last_minute(ledger: Ledger, coverage: Coverage) -> None:
    ledger.job(at(0), at(9), channel="candles")
    ledger.job(at(10), at(19), channel="candles")
    assert coverage(at(0), at(30), "candles") == [proved(at(0), at(20)), lacking(at(20), at(30))]


def test_what_retention_removed_is_a_gap(ledger: Ledger, coverage: Coverage) -> None:
    ledger.stream()
    ledger.stream("book")
    ledger.gap(at(5), at(6))
    ledger.removal(at(20), at(100))
    cut = at(6) + MICROSECOND
    assert coverage(at(-10), at(65)) == [
        lacking(at(-10), BEGIN),
        lacking(BEGIN, at(5), "retention"),
        lacking(at(5), cut, "cut", "open"),
        lacking(cut, at(20), "retention"),
        proved(at(20), at(60)),
        attested(at(60), at(65)),
    ]
    assert coverage(at(10), at(15)) == [lacking(at(10), at(15), "retention")]
    assert coverage(None, at(30))[0] == lacking(BEGIN, at(5), "retention")
    assert coverage(BEGIN, at(60), "book") == [proved(BEGIN, at(60))]
    ledger.removal(at(62), at(101))
    assert coverage(at(20), at(65)) == [lacking(at(20), at(62), "retention"), attested(at(62), at(65))]
    ledger.removal(at(90), at(102))
    assert coverage(at(20), at(95)) == [lacking(at(20), at(90), "retention"), lacking(at(90), at(95))]


def test_what_is_fetched_again_after_its_removal_is_proved(ledger: Ledger, coverage: Coverage) -> None:
    ledger.stream()
    ledger.job(at(-30), at(-20) - MICROSECOND, finished_at=at(90))
    ledger.removal(at(20), at(100))
    ledger.job(at(5), at(10) - MICROSECOND, finished_at=at(110))
    assert coverage(at(-40), at(30)) == [
        lacking(at(-40), at(-30)),
        lacking(at(-30), at(5), "retention"),
        proved(at(5), at(10)),
        lacking(at(10), at(20), "retention"),
        proved(at(20), at(30)),
    ]
    ledger.removal(at(7), at(120))  # retention is longer now, and has reached a part of it
    assert coverage(BEGIN, at(30)) == [
        lacking(BEGIN, at(7), "retention"),
        proved(at(7), at(10)),
        lacking(at(10), at(20), "retention"),
        proved(at(20), at(30)),
    ]


def test_windows_of_ids_do_not_prove_what_was_removed_between_them(ledger: Ledger, coverage: Coverage) -> None:
    ledger.job(at(0), at(10), ids=(1, 10), finished_at=at(110))
    ledger.job(at(12), at(20), ids=(11, 20), finished_at=at(90))
    ledger.job(at(22), at(30), ids=(21, 30), finished_at=at(90))
    ends = at(30) + MICROSECOND
    assert coverage(BEGIN, ends) == [proved(BEGIN, ends)]
    ledger.removal(at(15), at(100))
    again = at(10) + MICROSECOND
    assert coverage(BEGIN, ends) == [
        proved(BEGIN, again),
        lacking(again, at(15), "retention"),
        proved(at(15), ends),
    ]
    ledger.removal(at(21), at(101))
    assert coverage(BEGIN, ends) == [
        proved(BEGIN, again),
        lacking(again, at(21), "retention"),
        lacking(at(21), at(22)),
        proved(at(22), ends),
    ]


def test_nothing_is_said_of_the_future(ledger: Ledger, coverage: Coverage, fetch: Fetch) -> None:
    ((now,),) = fetch("SELECT now()")
    ledger.stream(attested_to=now + timedelta(days=1))
    rows = coverage(now - timedelta(hours=1), now + timedelta(days=2))
    assert [row[2] for row in rows] == ["attested"]
    assert now <= rows[0][1] <= now + timedelta(minutes=1)
    assert coverage(now + timedelta(days=1), now + timedelta(days=2)) == []


def test_a_live_stream_is_judged_up_to_its_watermark(ledger: Ledger, coverage: Coverage, fetch: Fetch) -> None:
    ((now,),) = fetch("SELECT now()")
    reached = now - timedelta(seconds=5)
    ledger.stream(state="live", proved_to=reached - timedelta(seconds=1), attested_to=reached)
    assert coverage(now - timedelta(hours=1), now) == [
        proved(now - timedelta(hours=1), reached - timedelta(seconds=1)),
        attested(reached - timedelta(seconds=1), reached),
    ]
    ledger.stream(state="live", proved_to=now - timedelta(minutes=30), attested_to=now - timedelta(minutes=10))
    assert coverage(now - timedelta(hours=1), now)[2:] == [lacking(now - timedelta(minutes=10), now, "not committed")]


def test_summary(ledger: Ledger, fetch: Fetch) -> None:
    def summary(starts: datetime, ends: datetime) -> tuple[Any, ...]:
        return fetch("SELECT * FROM market.coverage_summary('binance', 'BTC/USDT', 'trades', %s, %s)", starts, ends)[0]

    ledger.stream()
    assert summary(BEGIN, at(60)) == (100, 0, 0, 0)
    assert summary(at(-60), at(60)) == (50, 0, 50, 1)
    assert summary(BEGIN, at(65)) == (Decimal("92.307692"), Decimal("7.692307"), 0, 0)
    ledger.gap(at(10), at(10))
    assert summary(BEGIN, at(60)) == (Decimal("99.999999"), 0, Decimal("0.000001"), 1)  # 100 means whole
    assert summary(at(1), at(1)) == (None, None, None, 0)


@pytest.mark.parametrize(
    ("names", "message", "hint"),
    [
        (("binance", "BTCUSDT", "trades"), 'exchange "binance" has no symbol "BTCUSDT"', 'Did you mean "BTC/USDT"?'),
        (("binance", "eth-usdt", "trades"), 'exchange "binance" has no symbol "eth-usdt"', 'Did you mean "ETH/USDT"?'),
        (("binnance", "BTC/USDT", "trades"), 'there is no exchange "binnance"', 'Did you mean "binance"?'),
        (("kraken", "BTC/USDT", "trades"), 'there is no exchange "kraken"', "market.instruments lists"),
        (("binance", "BTC/USDT", "trade"), 'there is no channel "trade"', 'Did you mean "trades"?'),
        (
            ("binance", "BTC/USDT", "x"),
            'there is no channel "x"',
            "There are: book, candles, funding, liquidations, mark_price, open_interest, quotes, ticker, trades.",
        ),
        (("binance", None, "trades"), 'exchange "binance" has no symbol "<NULL>"', "market.instruments lists"),
    ],
)
def test_an_unknown_name_is_an_error_that_names_the_nearest(
    fetch: Fetch, names: tuple[str | None, ...], message: str, hint: str
) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue) as caught:
        fetch("SELECT * FROM market.coverage(%s::text, %s::text, %s::text)", *names)
    assert caught.value.diag.message_primary == message
    assert (caught.value.diag.message_hint or "").startswith(hint)


@pytest.mark.parametrize("bounds", ["'2026-01-02', '2026-01-01'", "'-infinity', now()", "'2026-01-01', 'infinity'"])
def test_a_range_without_a_length_is_an_error(fetch: Fetch, bounds: Any) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="has no length"):
        fetch(f"SELECT * FROM market.coverage('binance', 'BTC/USDT', 'trades', {bounds})")


def test_who_may_read_market_alone_can_ask(ledger: Ledger, database_url: str) -> None:
    ledger.stream()
    ledger.gap(at(10), at(20))
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS coverage_reader")
        connection.execute("CREATE ROLE coverage_reader")
        try:
            connection.execute("GRANT USAGE ON SCHEMA market TO coverage_reader")
            connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA market TO coverage_reader")
            connection.execute("SET ROLE coverage_reader")
            parameters = (BEGIN, at(60))
            rows = connection.execute(
                "SELECT grade FROM market.coverage('binance', 'BTC/USDT', 'trades', %s, %s)", parameters
            ).fetchall()
            gaps = connection.execute(
                "SELECT gaps FROM market.coverage_summary('binance', 'BTC/USDT', 'trades', %s, %s)", parameters
            ).fetchone()
        finally:
            connection.execute("RESET ROLE")
            connection.execute("DROP OWNED BY coverage_reader")
            connection.execute("DROP ROLE coverage_reader")
    assert (rows, gaps) == ([("proved",), ("gap",), ("proved",)], (1,))


def test_the_cookbook_query(ledger: Ledger, database_url: str, fetch: Fetch) -> None:
    ((now,),) = fetch("SELECT now()")
    ledger.stream(covered_from=now - timedelta(days=2), proved_to=now + timedelta(hours=1), attested_to=None)
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(analyst.find("coverage").filled({})).fetchall()
    assert [row[2:5] + row[6:] for row in rows] == [("proved", None, None, 100)]


# The views below it


def test_gaps_with_duration_and_ids(ledger: Ledger, fetch: Fetch) -> None:
    ledger.gap(at(1), at(3), "a", ids=(5, 9))
    ledger.gap(at(1), at(3), "b", channel="candles")
    ledger.gap(at(1), None, "c")
    ledger.gap(None, at(3), "d", ids=(5, None))
    ledger.gap(at(1), at(1), "e", "repaired", ids=(5, 4))
    ledger.gap(at(3), at(1), "f")
    rows = fetch(
        "SELECT cause, CASE WHEN to_time IS NULL THEN duration - (now() - from_time) ELSE duration END, missing_ids,"
        " lower(span), upper(span), attempts, detail FROM market.gaps ORDER BY cause"
    )
    two = timedelta(minutes=2)
    assert rows == [
        ("a", two, 5, at(1), at(3) + MICROSECOND, 0, ""),
        ("b", timedelta(minutes=3), None, at(1), at(4), 0, ""),
        ("c", timedelta(0), None, at(1), None, 0, ""),
        ("d", None, None, None, at(3) + MICROSECOND, 0, ""),
        ("e", timedelta(0), 0, at(1), at(1) + MICROSECOND, 0, ""),
        ("f", two, None, at(1), at(3) + MICROSECOND, 0, ""),
    ]


def test_strict_watermarks_stop_at_the_first_gap(ledger: Ledger, fetch: Fetch) -> None:
    def watermarks(channel: str = "trades") -> tuple[Any, ...]:
        return fetch(
            "SELECT watermark_id, proved_to, attested_to, strict_watermark_id, strict_watermark_time"
            " FROM market.streams WHERE instrument_id = 1 AND channel = %s",
            channel,
        )[0]

    assert watermarks() == (None, None, None, None, None)
    ledger.stream()
    ledger.gap(at(5), at(6), "of another channel", channel="quotes")
    ledger.gap(at(5), at(6), state="repaired", ids=(100, 110))
    assert watermarks() == (1000, at(60), at(65), 1000, at(60))
    ledger.gap(at(30), at(31), ids=(500, 510), state="unrecoverable")
    ledger.gap(at(20), at(21), ids=(400, 410))
    assert watermarks() == (1000, at(60), at(65), 399, at(20))
    ledger.gap(at(70), None, ids=(2000, None))
    assert watermarks() == (1000, at(60), at(65), 399, at(20))
    ledger.stream("quotes", watermark_id=None)
    assert watermarks("quotes") == (None, at(60), at(65), None, at(5))


def test_many_gaps_are_quick(ledger: Ledger, fetch: Fetch, database_url: str) -> None:
    """A year of a book with a hundred losses a day."""
    ledger.stream("book", covered_from=at(-400 * 1440))
    fetch(
        "INSERT INTO ingest.gaps (instrument_id, channel, from_time, to_time, cause, state)"
        " SELECT 1, 'book', t, t + INTERVAL '1 minute', 'cut', 'unrecoverable'"
        " FROM generate_series(%s::timestamptz, %s::timestamptz, INTERVAL '14 minutes 24 seconds') t",
        at(-365 * 1440),
        at(0) - MICROSECOND,
    )
    with psycopg.connect(database_url) as connection:
        connection.execute("SET statement_timeout = '20s'")
        row = connection.execute(
            "SELECT * FROM market.coverage_summary('binance', 'BTC/USDT', 'book', %s, %s)",
            (at(-365 * 1440), at(0)),
        ).fetchone()
    assert row is not None
    assert row[3] == 36_500


# By the model: second by second


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    gaps=st.lists(
        st.tuples(
            st.integers(-20, 80), st.integers(0, 30) | st.none(), st.sampled_from(["open", "repaired", "unrecoverable"])
        ),
        max_size=8,
    ),
    jobs=st.lists(st.tuples(st.integers(-40, 80), st.integers(0, 20), st.booleans()), max_size=4),
    removed=st.none() | st.integers(-50, 60),
    bounds=st.tuples(st.integers(-50, 50), st.integers(1, 60)),
)
def test_each_moment_has_the_grade_that_the_rules_give(
    ledger: Ledger,
    fetch: Fetch,
    coverage: Coverage,
    gaps: list[tuple[int, int | None, str]],
    jobs: list[tuple[int, int, bool]],
    removed: int | None,
    bounds: tuple[int, int],
) -> None:
    fetch("DELETE FROM ingest.gaps")
    fetch("DELETE FROM ingest.backfill_jobs")
    fetch("DELETE FROM ingest.removals")
    ledger.stream(proved_to=at(40), attested_to=at(50))
    for number, (start, length, state) in enumerate(gaps):
        ledger.gap(at(start), None if length is None else at(start + length), f"gap {number}", state)
    for start, length, again in jobs:
        ledger.job(at(start), at(start + length), finished_at=at(110 if again else 90))
    if removed is not None:
        ledger.removal(at(removed), at(100))
    begun = at(min([0, *(start for start, _, _ in jobs)]))

    def grade(moment: datetime) -> tuple[str, set[str]]:
        causes = {
            f"gap {number}"
            for number, (start, length, state) in enumerate(gaps)
            if state != "repaired" and at(start) <= moment and (length is None or moment <= at(start + length))
        }
        if causes:
            return "gap", causes
        gone = removed is not None and moment < at(removed)
        if any(at(start) <= moment <= at(start + length) and (again or not gone) for start, length, again in jobs):
            return "proved", set()
        if gone:
            return "gap", {"retention" if begun <= moment else "not collected"}
        if at(0) <= moment < at(50):
            return ("proved" if moment < at(40) else "attested"), set()
        return "gap", {"not collected"}

    starts, ends = at(bounds[0]), at(bounds[0] + bounds[1])
    rows = coverage(starts, ends)
    assert (rows[0][0], rows[-1][1]) == (starts, ends)
    assert all(before[2:] != after[2:] for before, after in itertools.pairwise(rows))
    for minute in range(bounds[0], sum(bounds)):
        for moment in (at(minute), at(minute) + MICROSECOND, at(minute + 0.5), at(minute + 1) - MICROSECOND):
            (row,) = [row for row in rows if row[0] <= moment < row[1]]
            assert (row[2], set(row[3].split(", ")) if row[3] else set()) == grade(moment)
