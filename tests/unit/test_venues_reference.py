"""The table of venues says what the adapters say, and claims no recording that is not replayed."""

import re
from pathlib import Path

import pytest

from ingest.exchanges import ADAPTERS
from ingest.exchanges.adapter import History, Options
from tests.exchanges.evidence import VENUES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "venues.md").read_text()
HISTORY = {
    History("id", upwards=True): "by id, upwards",
    History("id", upwards=False): "by id, downwards",
    History("time"): "by time, upwards",
    History("recent"): "the latest trades alone",
}

Row = tuple[str, ...]


def table() -> list[Row]:
    """The rows below the first header, without it."""
    lines = re.findall(r"^\| .* \|$", PAGE.partition("## Which limits")[0], re.MULTILINE)
    assert lines[0] == "| venue | channel | of | comes by | promise | verified by | live on | repair reaches |"
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines[1:]]


def test_the_table_has_each_channel_of_each_venue_once_as_the_adapter_has_it() -> None:
    expected: list[Row] = []
    for name, of in VENUES.items():
        adapter, instruments = ADAPTERS[name]({}, Options()), of().instruments
        for channel in dict.fromkeys(c for instrument in instruments for c in adapter.channels(instrument)):
            offering = [instrument for instrument in instruments if channel in adapter.channels(instrument)]
            seconds = {adapter.polled(instrument).get(channel) for instrument in offering}
            (polled,) = seconds
            by = "stream" if polled is None else f"REST, {polled:.0f} s"
            kinds = ", ".join(instrument.kind for instrument in offering)
            expected.append((name, channel, kinds, by, adapter.promises[channel]))
    assert [row[:5] for row in table()] == expected


def test_what_is_called_recorded_is_what_the_tests_replay() -> None:
    recorded = {
        (name, channel) for name, of in VENUES.items() for found in of().recordings for channel in found.channels
    }
    assert {row[:2] for row in table() if row[5].startswith("recording")} == recorded
    assert all(row[5].startswith(("recording of 20", "documentation")) for row in table())


def test_live_is_a_date_or_never() -> None:
    assert all(re.fullmatch(r"never yet|20\d\d-\d\d-\d\d", row[6]) for row in table())


def test_repair_reaches_trades_and_candles_alone() -> None:
    for row in table():
        assert (row[7] == "–") is (row[1] not in ("trades", "candles")), row


@pytest.mark.parametrize("name", list(ADAPTERS))
def test_each_venue_says_how_it_gives_the_past(name: str) -> None:
    (told,) = re.findall(rf"^### `{name}`: (.*)$", PAGE, re.MULTILINE)
    adapter, files = ADAPTERS[name], "daily files"
    if set(adapter.limits.daily_dumps) != set(adapter.kinds):
        files = (
            f"daily files of {', '.join(adapter.limits.daily_dumps)}"
            if adapter.limits.daily_dumps
            else "no daily files"
        )
    assert told == f"{HISTORY[ADAPTERS[name].history]}; {files}"


def test_the_readme_names_every_venue() -> None:
    readme = (ROOT / "README.md").read_text()
    assert all(f"`{name}`" in readme for name in ADAPTERS)
    assert "docs/reference/venues.md" in readme
