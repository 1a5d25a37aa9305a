"""The benchmarks themselves: pairs, targets, the choice of figures, the report; and that each cheap figure runs."""

from pathlib import Path

import orjson
import pytest

from ingest.exchanges import ADAPTERS
from ingest.exchanges.adapter import Options
from ingest.pipeline.batcher import Limits
from tests.bench import book, ccxt_handlers, decode, report, venues
from tests.bench.harness import Bench, Figure, Group, Pairs, Scale, alternate, chosen, number
from tests.bench.suite import GROUPS, KEYS
from tests.bench.writer import INSTRUMENTS, WRITERS, load, trades
from tests.exchanges.evidence import VENUES

QUICK = Scale(loop_pairs=1, loop_seconds=0.001)
REQUIRED = (
    *("writer_vs_copy", "replay_vs_copy", "one_dup_vs_copy", "executemany_vs_copy"),
    *("decode_binance_trade", "decode_binance_candle", "decode_binance_book", "book_us"),
    *("import_vs_copy", "import_mb", "ingest_with_policies"),
    *("rollup_speedup", "ohlcv_ms", "latest_price_ms", "book_at_ms", "last_trades_ms", "bytes_per_trade_compressed"),
    *("e2e_trades_per_second", "e2e_p99_ms", "e2e_rss_mb"),
    *("streams500_cpu", "streams500_rss_mb", "streams500_lag_p99_ms"),
    *(f"decode_ccxt_{name}" for name in ("trade", "candle", "book", "quote", "ticker", "mark_price", "liquidation")),
)


def no_database() -> None:
    pytest.fail("a figure that needs no database asked for one")


def quick() -> Bench:
    return Bench(no_database, scale=QUICK)  # type: ignore[arg-type]


def test_sides_alternate() -> None:
    calls: list[str] = []

    def side(name: str, seconds: float) -> float:
        calls.append(name)
        return seconds

    pairs = alternate(3, lambda: side("A", 2.0), lambda: side("B", 4.0))
    assert calls == ["A", "B", "A", "B", "A", "B"]
    assert pairs == Pairs([2.0, 2.0, 2.0], [4.0, 4.0, 4.0])
    assert (pairs.rate, pairs.cost) == (0.5, 2.0)


def test_a_ratio_is_the_median_of_ratios_within_pairs() -> None:
    pairs = Pairs([1.0, 10.0, 1.0], [2.0, 10.0, 4.0])
    assert pairs.rate == 0.5
    assert pairs.cost == 2.0
    assert pairs.spread == "3 pairs, 0.25 to 1.00"


@pytest.mark.parametrize(
    ("figure", "met", "target"),
    [
        (Figure("a", 0.8, at_least=0.8), True, "≥ 0.8"),
        (Figure("a", 0.79, at_least=0.8), False, "≥ 0.8"),
        (Figure("a", 2.61, at_most=2.6), False, "≤ 2.6"),
        (Figure("a", 2.6, at_most=2.6), True, "≤ 2.6"),
        (Figure("a", 9.0), None, ""),
        (Figure("a", 50_001.0, at_least=50_000), True, "≥ 50,000"),
    ],
)
def test_targets(figure: Figure, met: bool | None, target: str) -> None:
    assert figure.met is met
    assert figure.target == target


@pytest.mark.parametrize(
    ("value", "text"), [(0.05, "0.05"), (0.5, "0.5"), (1.0, "1"), (12.34, "12.3"), (123.4, "123"), (52_345.6, "52,346")]
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


def test_every_figure_is_declared_once() -> None:
    """Also one for each channel that an adapter streams."""
    streamed = {
        venues.key(name, channel)
        for name, of in VENUES.items()
        for instrument in of().instruments
        for channel in ADAPTERS[name]({}, Options()).channels(instrument)
        if channel not in ADAPTERS[name]({}, Options()).polled(instrument)
    }
    assert sorted(KEYS) == sorted(streamed.union(REQUIRED))


def test_a_group_or_a_figure_is_chosen_by_name() -> None:
    assert [m.keys for m in chosen(GROUPS, "book")] == [("book_us",)]
    assert [m.keys for m in chosen(GROUPS, "e2e_rss_mb")] == [("e2e_p99_ms", "e2e_rss_mb")]
    assert tuple(key for m in chosen(GROUPS, None) for key in m.keys) == KEYS
    with pytest.raises(ValueError, match=r"'nothing'.*writer.*book_us"):
        chosen(GROUPS, "nothing")


@pytest.mark.parametrize(
    "group", [decode.GROUP, venues.GROUP, ccxt_handlers.GROUP, book.GROUP], ids=lambda group: group.name
)
def test_the_figures_without_a_database_run(group: Group) -> None:
    for measurement in group.measurements:
        figures = list(measurement.run(quick()))
        assert tuple(figure.key for figure in figures) == measurement.keys
        assert all(figure.value > 0 for figure in figures)


def test_frames_for_a_machine_without_recordings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "RECORDING", Path("/nonexistent"))
    given = decode.frames()
    assert not given.recorded
    venue = decode.adapter()
    assert {type(e).__name__ for e in decode.decode(venue, given.trades)} == {"Trade"}
    assert {type(e).__name__ for e in decode.decode(venue, given.candles)} == {"Candle"}
    assert {type(e).__name__ for e in decode.decode(venue, given.deltas)} == {"BookDelta"}
    assert {type(e).__name__ for e in decode.decode(decode.adapter("aggTrade"), given.aggregates)} == {"Trade"}


def test_a_load_holds_every_trade_once_in_the_daemons_batches() -> None:
    parts = load(45_000)
    assert len(parts) == WRITERS
    given = sorted((trade.instrument_id, trade.trade_id) for trade in trades(45_000))
    assert sorted((t.instrument_id, t.trade_id) for part in parts for b in part.batches for t in b) == given
    assert len(given) == len(set(given)) == 45_000
    for part in parts:
        assert len(part.blocks) == len(part.batches)
        assert [len(batch) for batch in part.batches[:-1]] == [Limits().max_rows] * (len(part.batches) - 1)
        assert len({t.instrument_id for b in part.batches for t in b}) == INSTRUMENTS // WRITERS


def test_json_is_one_flat_object_of_numbers() -> None:
    written = report.as_json([Figure("a", 0.123456), Figure("b", 52_000.0, "trades/s")])
    assert orjson.loads(written) == {"a": 0.1235, "b": 52000.0}


def test_the_docs_keep_what_was_not_measured_again(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text(f"# Title\n\n{report.BEGIN}\n{report.END}\n\n## After\n")
    first = [Figure("b", 1.5, at_least=2.0, note="first"), Figure("a", 0.9)]
    report.write_docs(first, ("a", "b"), "a server", page)
    report.write_docs([Figure("b", 2.5, at_least=2.0, note="second")], ("a", "b"), "", page)
    text = page.read_text()
    rows = [line.split(" | ")[:3] for line in text.splitlines() if line.startswith("| `")]
    assert rows == [["| `a`", "0.9 ×", ""], ["| `b`", "2.5 ×", "≥ 2"]]
    assert "second" in text
    assert "first" not in text
    assert text.startswith("# Title\n\n")
    assert text.endswith("\n\n## After\n")


def test_docs_without_markers_are_refused(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text("# Title\n")
    with pytest.raises(ValueError, match="markers"):
        report.write_docs([Figure("a", 1.0)], ("a",), "", page)
