"""What a person is shown of a backfill, with a terminal and without."""

import io
from datetime import UTC, datetime

from rich.console import Console

from ingest.backfill.estimates import Estimate
from ingest.backfill.show import Meter, estimates, result, standings
from ingest.backfill.targets import Target
from ingest.store.backfill import Failed, Progress, Standing
from ingest.store.window import Range

BTC = Target("binance", "BTC/USDT", Range(1, "candles", 0, 10))
ETH = Target("binance", "ETH/USDT", Range(2, "trades", 0, 10))
OLD = Target("okx", "BTC/USDT", Range(3, "candles", 0, 10), refused="candles_1m is kept for 730 days")
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def test_a_narrow_table_folds_and_cuts_nothing() -> None:
    by = Console(file=io.StringIO(), width=80, color_system=None)
    days = (datetime(2025, 1, 2, 3, 4, tzinfo=UTC), datetime(2026, 5, 6, 7, 8, tzinfo=UTC), None)
    standings(
        [Standing("coinbase", "BTC/USD", "candles", "1m", 1, 0, 51_234, 0, 0, 43_170_000, 9, *days, None, None, 1)], by
    )
    assert "…" not in said(by)
    for word in ("failed", "51,234", "43,170,000", "2025-01-02", "03:04", "2026-05-06", "07:08"):
        assert word in said(by)


def console(*, terminal: bool = False) -> Console:
    return Console(file=io.StringIO(), width=160, force_terminal=terminal, color_system=None)


def said(by: Console) -> str:
    assert isinstance(by.file, io.StringIO)
    return by.file.getvalue()


def lines(by: Console) -> list[str]:
    return [" ".join(line.split()) for line in said(by).splitlines()]


def test_without_a_terminal_a_line_is_printed_when_a_stream_has_ended() -> None:
    by = console()
    with Meter(by) as meter:
        meter.of([BTC, ETH])
        meter.update([Progress(5, 1, 0, 0, 1_000, 0), Progress(2, 0, 0, 0, 0, 0)])
        meter.update([Progress(0, 6, 0, 0, 6_000, 3), Progress(2, 0, 0, 0, 0, 0)])
        meter.update([Progress(0, 6, 0, 0, 6_000, 3), Progress(0, 1, 1, 0, 9, 0)])
    assert lines(by) == [
        "binance BTC/USDT candles 1m: 6 of 6 windows, 6,000 rows new, 3 known",
        "binance ETH/USDT trades: 2 of 2 windows, 9 rows new, 0 known",
    ]


def test_a_terminal_gets_a_bar_an_instrument_with_rate_and_rows() -> None:
    by = console(terminal=True)
    with Meter(by) as meter:
        meter.of([BTC, ETH]).update([Progress(5, 1, 0, 0, 1_234, 5, "over the rate limit"), Progress(2, 0, 0, 0, 0, 0)])
    assert "binance BTC/USDT candles 1m" in said(by)
    assert "1,234 new, 5 known" in said(by)
    assert "rows/s" in said(by)
    assert "over the rate limit" in said(by)


def test_the_table_at_the_end_names_what_failed_and_what_was_refused() -> None:
    by = console()
    failed = Failed(1, 7, NOON, NOON, 11, 1_020, "HTTP 400")
    progress = [Progress(0, 0, 0, 0, 0, 0), Progress(0, 4, 1, 0, 3_990, 10, None, "nothing was traded")]
    result([BTC, ETH, OLD], progress, [failed], 2, ["rollups: another process is refreshing them"], by)
    assert lines(by) == [
        "stream windows new known failed remarks",
        "binance BTC/USDT candles 1m 0 0 0 0 complete already",
        "binance ETH/USDT trades 4 3,990 10 1 nothing was traded",
        "2 gaps closed",
        "rollups: another process is refreshing them",
        "failed: binance ETH/USDT trades ids 11 to 1,020: HTTP 400",
        "the same command, or `ingest backfill retry`, tries them again",
        "refused: okx BTC/USDT candles 1m: candles_1m is kept for 730 days",
    ]


def test_a_dry_run_says_requests_rows_and_time() -> None:
    by = console()
    estimates([BTC, ETH, OLD], [Estimate(526, 526, 525_600, 13.2), Estimate(1, 149, None, 47.0), None], by)
    assert lines(by) == [
        "stream windows requests rows time",
        "binance BTC/USDT candles 1m 526 526 525,600 0:00:13",
        "binance ETH/USDT trades 1 149 ? 0:00:47",
        "total 527 675 ? 0:01:00",
        "refused: okx BTC/USDT candles 1m: candles_1m is kept for 730 days",
    ]


def test_the_standing_of_every_backfill() -> None:
    by = console()
    standings([], by)
    numbers = (3, 1, 20, 1, 0, 19_000, 4)
    rest = (NOON, NOON, NOON, "host:1", "HTTP 400", 1)
    standings([Standing("binance", "BTC/USDT", "candles", "1h", *numbers, *rest)], by)
    assert lines(by) == [
        "no backfill was asked for",
        "stream left done failed new known from to",
        "binance BTC/USDT candles 1h 4 20 1 19,000 4 2026-11-21 12:00 2026-11-21 12:00",
        "failed: binance BTC/USDT candles: HTTP 400",
    ]
