"""The verdict of `ingest probe`: a venue's words are shown as they are, whatever they look like."""

import io

from rich.console import Console

from ingest.collect.feed import Feed, Wants
from ingest.errors import Exit
from ingest.observe import Observation, Tally
from ingest.probe import judge
from ingest.records import Gap


def _nothing(*_: object) -> None:
    return


def test_a_venues_words_are_no_markup() -> None:
    feed = Feed("binance", _nothing, Wants(_nothing, _nothing, _nothing, _nothing), cadence_ns=1)
    feed.ignored["an [unknown] stream"] = 1
    feed.rejected["[/api/v3/ping] \x1b[2J"] = 2
    tally = Tally()
    tally.gaps.append(Gap(1, "trades", "missing", 1, evidence="after [/9]"))
    said = io.StringIO()
    assert judge(Observation(tally, feed, {}), Console(file=said, width=100)) is Exit.FAILED
    assert "ignored: an [unknown] stream" in said.getvalue()
    assert "rejected: [/api/v3/ping] \\x1b[2J" in said.getvalue()
    assert "after [/9]" in said.getvalue()
