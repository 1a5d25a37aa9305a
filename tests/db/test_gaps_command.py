"""`ingest gaps`: holes in ids and minutes are found where they are, and nowhere else, and are handed to repair once."""

import json
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from io import StringIO
from typing import Any

import psycopg
import pytest
from rich.console import Console

from ingest import gaps
from ingest.errors import ConfigError, Exit
from ingest.store.sqlfiles import query
from tests.conftest import Fetch, TestServer
from tests.db.ledger import BEGIN, MICROSECOND, Ledger, at

Hole = tuple[datetime, datetime, int | None, int | None, int | None, str, str | None]
Look = Callable[..., list[Hole]]


@pytest.fixture(autouse=True)
def ledger(fetch: Fetch) -> Ledger:
    return Ledger(fetch)


@pytest.fixture
def report(database_url: str) -> Callable[..., tuple[Exit, dict[str, Any]]]:
    def run(**options: Any) -> tuple[Exit, dict[str, Any]]:
        printed = StringIO()
        code = gaps.show(database_url, as_json=True, console=Console(file=printed), **options)
        return code, json.loads(printed.getvalue())

    return run


@pytest.fixture
def look(report: Callable[..., tuple[Exit, dict[str, Any]]]) -> Look:
    """What is missing of a channel of BTC/USDT."""

    def run(channel: str = "trades", **options: Any) -> list[Hole]:
        code, told = report(exchange="binance", symbols=["BTC/USDT"], channel=channel, **options)
        missing = [
            (
                *(datetime.fromisoformat(each[key]) for key in ("from_time", "to_time")),
                *(each[key] for key in ("from_id", "to_id", "ids", "cause", "state")),
            )
            for stream in told["streams"]
            for each in stream["missing"]
        ]
        assert code == (Exit.FAILED if missing else Exit.OK)
        return missing

    return run


def by_id(
    starts: datetime, ends: datetime, first: int, last: int, cause: str = "hole found", state: str | None = None
) -> Hole:
    """`starts` and `ends` are the times of the trades around it."""
    return (starts, ends + MICROSECOND, first, last, last - first + 1, cause, state)


def by_time(starts: datetime, ends: datetime, cause: str = "hole found", state: str | None = None) -> Hole:
    return (starts, ends, None, None, None, cause, state)


def found(fetch: Fetch) -> list[tuple[Any, ...]]:
    return fetch(
        "SELECT channel, from_time, to_time, from_id, to_id, cause, state, evidence FROM ingest.gaps ORDER BY gap_id"
    )


# Trade ids


def test_ids_without_a_hole(ledger: Ledger, look: Look) -> None:
    ledger.stream()
    ledger.trades(*((number, at(number)) for number in range(60)))
    assert look() == []


def test_ids_that_are_no_numbers_are_looked_past(ledger: Ledger, look: Look, fetch: Fetch) -> None:
    ledger.stream()
    ledger.trades(*((number, at(number)) for number in range(60)))
    fetch(
        "INSERT INTO ingest.trades (time, instrument_id, trade_id, price, amount, received_at)"
        " SELECT min(time) + INTERVAL '1 second', instrument_id, 'x-1', 1, 1, now() FROM ingest.trades GROUP BY 2"
    )
    assert look() == []


def test_holes_in_ids_are_found_and_queued_once(ledger: Ledger, look: Look, fetch: Fetch) -> None:
    ledger.stream()
    ledger.trades(*((number, at(number)) for number in range(60) if number not in {0, 7, 20, 21, 22, 59}))
    holes = [by_id(at(6), at(8), 7, 7), by_id(at(19), at(23), 20, 22)]
    assert look() == holes  # neither end of what is stored is one
    assert found(fetch) == []
    assert look(fix=True) == holes
    assert found(fetch) == [
        ("trades", at(6), at(8), 7, 7, "hole found", "open", "ingest gaps: 6 is followed by 8"),
        ("trades", at(19), at(23), 20, 22, "hole found", "open", "ingest gaps: 19 is followed by 23"),
    ]
    named = [(*hole[:6], "open") for hole in holes]
    assert look(fix=True) == named
    assert len(found(fetch)) == 2
    fetch("UPDATE ingest.gaps SET state = 'repaired'")
    assert look() == holes  # they are missing all the same


def test_a_named_part_leaves_the_rest(ledger: Ledger, look: Look) -> None:
    ledger.stream()
    ledger.trades((1, at(1)), (10, at(10)))
    ledger.gap(at(1), at(10), ids=(4, 6))
    assert look() == [
        by_id(at(1), at(10), 2, 3),
        by_id(at(1), at(10), 4, 6, "cut", "open"),
        by_id(at(1), at(10), 7, 9),
    ]


def test_a_gap_told_by_time_names_the_holes_in_it(ledger: Ledger, look: Look) -> None:
    ledger.stream()
    ledger.trades((1, at(1)), (5, at(5)), (6, at(6)), (9, at(9)))
    ledger.gap(at(1), at(5), "restart")
    assert look() == [by_time(at(1), at(5) + MICROSECOND, "restart", "open"), by_id(at(6), at(9), 7, 8)]


def test_a_gap_without_an_end_names_what_is_behind_its_start(ledger: Ledger, look: Look) -> None:
    ledger.stream()
    ledger.trades((1, at(1)), (5, at(5)))
    ledger.gap(at(1), None, "disconnect", ids=(2, None))
    assert look() == [(at(1), at(65), 2, None, None, "disconnect", "open")]


def test_ids_that_the_venue_does_not_have(ledger: Ledger, look: Look) -> None:
    """A finished job that got fewer rows than it asked for; one that got all of them shows that rows were lost."""
    ledger.stream()
    ledger.trades((1, at(1)), (5, at(5)), (9, at(9)))
    ledger.job(at(1), at(5), ids=(1, 5), rows=2)
    ledger.job(at(5), at(9), ids=(5, 9), rows=5)
    assert look() == [by_id(at(5), at(9), 6, 8)]


def test_neither_order_nor_repetition_deceives(ledger: Ledger, look: Look) -> None:
    """Times that step back, several trades at one instant, digits of other lengths, one trade under two times."""
    ledger.stream()
    times = [at(number / 20) for number in range(1, 1100)]
    shuffled = random.Random(4)  # noqa: S311 - any disorder will do
    rows = [(number, times[max(0, number // 7 * 7 + shuffled.randint(-20, 5))]) for number in range(1, 1001)]
    lost = {9, 10, 99, 500, 501, 777}
    rows = [row for row in rows if row[0] not in lost]
    ledger.trades(*rows, *((number, time + timedelta(microseconds=3)) for number, time in rows[300:320]))
    assert [hole[2:5] for hole in look()] == [(9, 10, 2), (99, 99, 1), (500, 501, 2), (777, 777, 1)]
    assert all(hole[0] < hole[1] for hole in look())


def test_what_is_behind_the_watermark_is_on_its_way(ledger: Ledger, look: Look, fetch: Fetch) -> None:
    ledger.stream(state="live")
    ledger.trades((1, at(1)), (2, at(59)), (5, at(61)))
    not_committed = by_time(at(65), fetch("SELECT now()")[0][0], "not committed")
    (told,) = look()
    assert told[0] == not_committed[0]
    assert told[2:] == not_committed[2:]
    (told,) = look(since=at(0), until=at(70))
    assert told == by_time(at(65), at(70), "not committed")


def test_a_hole_across_the_ends_of_the_range(ledger: Ledger, look: Look) -> None:
    ledger.stream()
    ledger.trades((1, at(1)), (5, at(5)), (6, at(6)), (9, at(9)), (10, at(10)))
    assert look(since=at(2), until=at(8)) == [by_id(at(1), at(5), 2, 4), by_id(at(6), at(9), 7, 8)]
    assert look(since=at(5), until=at(6)) == [by_id(at(1), at(5), 2, 4)]
    assert look(since=at(5) + MICROSECOND, until=at(6) + MICROSECOND) == [by_id(at(6), at(9), 7, 8)]
    assert look(since=at(9), until=at(10)) == [by_id(at(6), at(9), 7, 8)]
    assert look(since=at(9.5), until=at(9.6)) == []
    assert look(since=at(3).replace(tzinfo=None), until=at(4).replace(tzinfo=None)) == [by_id(at(1), at(5), 2, 4)]


def test_trades_whose_ids_promise_nothing(ledger: Ledger, look: Look) -> None:
    ledger.stream(promise="none")
    ledger.trades((1, at(1)), (5, at(5)))
    assert look() == []


# Minutes


def test_missing_minutes(ledger: Ledger, look: Look, fetch: Fetch) -> None:
    ledger.stream("candles")
    ledger.candles(*(minute for minute in range(60) if minute not in {0, 7, 20, 21, 59}))
    ledger.candles(7, source=0)  # was open when it was last seen
    holes = [
        by_time(at(0), at(1)),
        by_time(at(7), at(8)),
        by_time(at(20), at(22)),
        by_time(at(59), at(60)),
    ]
    assert look("candles", fix=True) == holes
    assert [row[:7] for row in found(fetch)] == [
        ("candles", starts, ends - timedelta(minutes=1), None, None, "hole found", "open") for starts, ends, *_ in holes
    ]
    assert look("candles", fix=True) == [(*hole[:6], "open") for hole in holes]
    assert len(found(fetch)) == 4


def test_only_whole_minutes_inside_of_what_was_collected(ledger: Ledger, look: Look) -> None:
    ledger.stream("candles", covered_from=at(0.5), proved_to=at(3.5), attested_to=at(3.5))
    ledger.candles(1, 2)
    assert look("candles") == []
    ledger.stream("candles", covered_from=at(0) + MICROSECOND, proved_to=at(4) - MICROSECOND, attested_to=at(4))
    assert look("candles") == []
    ledger.stream("candles", covered_from=at(0), proved_to=at(4), attested_to=at(4))
    assert look("candles") == [by_time(at(0), at(1)), by_time(at(3), at(4))]


def test_minutes_that_were_empty(ledger: Ledger, look: Look) -> None:
    """A finished job returned their neighbours, or trades with contiguous ids stand around them."""
    ledger.stream("candles")
    ledger.stream()
    ledger.candles(*(minute for minute in range(60) if minute not in {7, 8, 9, 20, 30, 40}))
    holes = [by_time(at(7), at(10)), *(by_time(at(minute), at(minute + 1)) for minute in (20, 30, 40))]
    assert look("candles") == holes
    ledger.job(at(8), at(9), channel="candles")
    ledger.job(at(20), at(20), channel="candles", state="failed")
    holes[0] = by_time(at(7), at(8))
    assert look("candles") == holes
    ledger.trades(
        (1, at(6)),
        (2, at(8)),  # nothing at 7
        (3, at(20) - MICROSECOND),
        (4, at(21)),  # nothing at 20
        (5, at(30)),  # at 30, so that its candle is missing
        (6, at(31)),
        (7, at(39)),
        (9, at(41)),  # 8 may have been at 40
    )
    assert look("candles") == [by_time(at(30), at(31)), by_time(at(40), at(41))]
    ledger.stream(promise="none")
    assert look("candles") == holes


def test_a_quiet_instrument(ledger: Ledger, look: Look) -> None:
    """Two trades in an hour, and a venue that sends no candle without one."""
    ledger.stream("candles")
    ledger.stream()
    ledger.candles(10, 50)
    ledger.trades((4, at(-3)), (5, at(10.5)), (6, at(50.5)), (7, at(63)))
    assert look("candles") == []


def test_named_minutes(ledger: Ledger, look: Look) -> None:
    ledger.stream("candles")
    ledger.candles(*(minute for minute in range(60) if minute not in range(10, 20)))
    ledger.gap(at(12), at(14), "restart", "repairing", channel="candles")
    assert look("candles") == [
        by_time(at(10), at(12)),
        by_time(at(12), at(15), "restart", "repairing"),
        by_time(at(15), at(20)),
    ]


# What was not collected


def test_history_that_was_not_collected(ledger: Ledger, look: Look, fetch: Fetch) -> None:
    ledger.stream("candles")
    ledger.candles(*range(60))
    assert look("candles", since=at(-10.5), until=at(90), fix=True) == [
        by_time(at(-10.5), at(0), "not collected"),
        by_time(at(65), at(90), "not collected"),
    ]
    # What follows the watermark the daemon fetches at its start.
    assert [row[:7] for row in found(fetch)] == [
        ("candles", at(-11), at(-1), None, None, "not collected", "open"),
    ]
    assert look("candles", since=at(-10.5), until=at(65), fix=True) == [
        by_time(at(-10.5), at(0), "not collected", "open")
    ]


def test_history_of_trades_that_was_not_collected(ledger: Ledger, look: Look, fetch: Fetch) -> None:
    ledger.stream()
    ledger.trades((1, at(-20)), (4, at(-10)), (7, at(1)), (8, at(2)))
    ledger.job(at(-20), at(-10))
    assert look(since=at(-20), until=at(60), fix=True) == [
        by_id(at(-20), at(-10), 2, 3),
        by_id(at(-10), at(1), 5, 6),
        by_time(at(-10) + MICROSECOND, at(0), "not collected"),
    ]
    assert [row[1:6] for row in found(fetch)] == [
        (at(-20), at(-10), 2, 3, "hole found"),
        (at(-10), at(1), 5, 6, "hole found"),
        (at(-10) + MICROSECOND, at(0) - MICROSECOND, None, None, "not collected"),
    ]


def test_what_has_no_history_is_not_queued(ledger: Ledger, look: Look, fetch: Fetch) -> None:
    ledger.stream("quotes")
    assert look("quotes", since=at(-10), until=at(60), fix=True) == [by_time(at(-10), at(0), "not collected")]
    assert found(fetch) == []


def test_a_stopped_stream_lacks_nothing_after_its_end(ledger: Ledger, look: Look) -> None:
    ledger.stream("quotes")
    assert look("quotes") == []


def test_streams_that_never_ran(report: Callable[..., tuple[Exit, dict[str, Any]]], ledger: Ledger) -> None:
    code, told = report()
    assert code == Exit.OK
    assert len(told["streams"]) == 10
    assert {each["from_time"] for each in told["streams"]} == {None}


# Given up


def test_given_up_gaps_are_opened_again_with_retry_alone(ledger: Ledger, look: Look, fetch: Fetch) -> None:
    ledger.stream()
    ledger.stream("book")
    ledger.trades((1, at(1)), (5, at(5)))
    ledger.gap(at(1), at(5), "cut", "unrecoverable", ids=(2, 4))
    ledger.gap(at(6), at(7), "cut", "awaiting_dump")
    ledger.gap(at(6), at(7), "cut", "unrecoverable", channel="book")
    fetch("UPDATE ingest.gaps SET attempts = 3, detail = 'gone', closed_at = now()")
    look(fix=True)
    assert {row[6] for row in found(fetch)} == {"unrecoverable", "awaiting_dump"}
    look(retry=True)
    look("book", retry=True)
    assert fetch("SELECT channel, state, attempts, detail, closed_at IS NULL FROM ingest.gaps ORDER BY gap_id") == [
        ("trades", "open", 0, "", True),
        ("trades", "open", 0, "", True),
        ("book", "unrecoverable", 3, "gone", False),
    ]


# The command


def test_json_tells_all(ledger: Ledger, report: Callable[..., tuple[Exit, dict[str, Any]]]) -> None:
    ledger.stream()
    ledger.trades((1, at(1)), (5, at(6) - MICROSECOND))
    ledger.gap(at(1), at(6) - MICROSECOND, "cut", ids=(2, 3))
    code, told = report(symbols=["BTC/*"], channel="trades", fix=True)
    assert code == Exit.FAILED
    stream = {"exchange": "binance", "symbol": "BTC/USDT", "channel": "trades"}
    span = {"from_time": "2026-01-05T12:01:00Z", "to_time": "2026-01-05T12:06:00Z"}
    assert told == {
        "streams": [
            {
                **stream,
                "from_time": "2026-01-05T12:00:00Z",
                "to_time": "2026-01-05T13:05:00Z",
                "proved_percent": 84.6153,
                "attested_percent": 7.6923,
                "gap_percent": 7.6924,
                "missing": [
                    {**stream, **span, "from_id": 2, "to_id": 3, "ids": 2, "cause": "cut", "state": "open",
                     "fixable": False, "gap_id": 1, "instrument_id": 1},
                    {**stream, **span, "from_id": 4, "to_id": 4, "ids": 1, "cause": "hole found", "state": None,
                     "fixable": True, "gap_id": None, "instrument_id": 1},
                ],
            }
        ],
        "queued": 1,
    }  # fmt: skip


def test_the_table(ledger: Ledger, database_url: str) -> None:
    ledger.stream()
    ledger.trades((1, at(1)), (5000, at(5)))
    ledger.gap(at(10), at(11), "close code 1006 \x1b[31m[red]\u202e", "unrecoverable")

    def run(**options: Any) -> tuple[Exit, list[str]]:
        printed = StringIO()
        code = gaps.show(database_url, console=Console(file=printed, width=160), **options)
        return code, [" ".join(line.split()) for line in printed.getvalue().splitlines()]

    shown = r"close code 1006 \x1b[31m[red]\u202e"
    code, lines = run(channel="trades")
    assert code == Exit.FAILED
    assert lines == [
        "missing",
        "stream from to ids cause state",
        "binance BTC/USDT trades 2026-01-05 12:01:00.000000 2026-01-05 12:05:00.000001 4,998 hole found -",
        f"binance BTC/USDT trades 2026-01-05 12:10:00.000000 2026-01-05 12:11:00.000001 - {shown} unrecoverable",
        "coverage",
        "stream from to proved attested gap",
        "binance BTC/USDT trades 2026-01-05 12:00:00 2026-01-05 13:05:00 90.7692 % 7.6923 % 1.5385 %",
        "binance ETH/USDT trades never collected - - - -",
        "1 are named by no gap yet: --fix queues them for the daemon's repair",
    ]
    assert run(channel="trades", fix=True)[1][-1] == "1 queued: the daemon's repair takes them"
    assert run(channel="candles") == (
        Exit.OK,
        [
            "coverage",
            "stream from to proved attested gap",
            "binance BTC/USDT candles never collected - - - -",
            "binance ETH/USDT candles never collected - - - -",
            "nothing is missing",
        ],
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exchange": "Binanse"}, "exchange 'Binanse' was ever collected into this database; did you mean binance?"),
        ({"symbols": ["BTCUSDT"]}, "symbol 'BTCUSDT' was ever collected into this database; did you mean BTC/USDT?"),
        ({"symbols": ["X*"]}, "symbol 'X*' was ever collected"),
        ({"channel": "trade"}, "--channel 'trade': there is no such channel; there are: trades, candles"),
        ({"since": at(1), "until": at(1)}, "--from 2026-01-05 12:01:00+00:00 is not before --to"),
    ],
)
def test_mistakes_are_told(database_url: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        gaps.show(database_url, console=Console(file=StringIO()), **options)
    assert message in str(caught.value)


# Speed


def test_a_pass_over_the_ids_needs_no_sort_and_skips_other_chunks(
    ledger: Ledger, fetch: Fetch, database_url: str, database_server: TestServer
) -> None:
    if database_server.embedded is None:
        pytest.skip("plans are told of the embedded server's version")
    fetch(
        "INSERT INTO ingest.trades (time, instrument_id, trade_id, price, amount, received_at)"
        " SELECT %s::timestamptz + n * INTERVAL '1 minute', 1 + n %% 2, n::text, 1, 1, now()"
        " FROM generate_series(1, 14400) n",
        BEGIN,
    )
    fetch("ANALYZE ingest.trades")
    statement = query("find_trade_holes")
    parameters = {"instrument_id": 1, "from_time": at(1440), "to_time": at(4320)}
    with psycopg.connect(database_url) as connection:
        (plan,) = connection.execute(f"EXPLAIN (FORMAT json) {statement}".encode(), parameters).fetchone() or ({},)
    scans = json.dumps(plan).count('"_hyper_1_')
    assert scans > 0
    assert scans <= 2 * 4 * 2, "four days are looked at, twice, each with its name and its alias"
    steps = next(node for node in _nodes(plan[0]["Plan"]) if node.get("Subplan Name") == "CTE breaks")
    assert [node["Node Type"] for node in _nodes(steps) if "Sort" in node["Node Type"]] == []


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for below in plan.get("Plans", ()) for node in _nodes(below))]
