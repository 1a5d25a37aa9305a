"""`ingest record`: a venue's raw traffic into files, by the same sessions and REST calls that the daemon uses."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from ingest.config.model import Config
from ingest.errors import Exit
from ingest.observe import observe
from ingest.recording import Recorder
from ingest.terminal import plain


def record(
    config: Config, exchange: str, symbols: Sequence[str], *, seconds: float, folder: Path, console: Console
) -> Exit:
    """Record for `seconds`; print what was written. UNAVAILABLE when not one row was heard."""
    with Recorder(folder, exchange) as recorder:
        heard = observe(config, exchange, symbols, seconds=seconds, recorder=recorder)
    rows, rejected = heard.tally.rows.total(), heard.feed.rejected.total()
    console.print(f"{heard.feed.frames:,} frames, {rows:,} rows, {rejected:,} rejected")
    for path in recorder.paths:
        console.out(plain(str(path)), highlight=False)
    return Exit.OK if rows else Exit.UNAVAILABLE
