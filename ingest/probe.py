"""`ingest probe`: half a minute with a real venue, to see that an adapter still understands it."""

from collections.abc import Sequence
from statistics import median

from rich.console import Console
from rich.table import Table

from ingest import clock
from ingest.config.model import Config
from ingest.errors import Exit
from ingest.observe import Observation, observe
from ingest.terminal import cell


def probe(config: Config, exchange: str, symbols: Sequence[str], *, seconds: float, console: Console) -> Exit:
    """Listen for `seconds` and print a verdict.

    OK when no frame was rejected, all books are in sync and no id is missing; UNAVAILABLE when nothing came.
    """
    console.print(cell(f"listening to {', '.join(symbols)} at {exchange} for {seconds:.0f} s"))
    heard = observe(config, exchange, symbols, seconds=seconds)
    if not heard.feed.frames:
        console.print("[red]nothing was heard[/]: see the log above")
        return Exit.UNAVAILABLE
    return judge(heard, console)


def judge(heard: Observation, console: Console) -> Exit:
    """Print what an observation found, and whether the adapter and the venue agree."""
    feed, tally = heard.feed, heard.tally
    facts = Table(box=None, show_header=False)
    facts.add_row("frames", f"{feed.frames:,}")
    for kind, count in sorted(feed.kinds.items()):
        if kind != "Ignored":
            facts.add_row(kind, f"{count:,}")
    for reason, count in sorted(feed.ignored.items()):
        facts.add_row(cell(f"ignored: {reason}"), f"{count:,}")
    for reason, count in sorted(feed.rejected.items()):
        facts.add_row(cell("rejected", "red").append_text(cell(f": {reason}", "not red")), f"{count:,}")
    synced = sum(book.in_sync for book in feed.books.values())
    facts.add_row("books in sync", f"{synced} of {len(feed.books)}")
    holes = [gap for gap in tally.gaps if gap.channel == "trades"]
    facts.add_row("holes in trade ids", f"{len(holes)}")
    for gap in holes[:5]:
        facts.add_row("", cell(gap.evidence, "red"))
    facts.add_row(
        "streams live", f"{sum(state == 'live' for state, _ in heard.states.values())} of {len(heard.states)}"
    )
    if tally.delays_ns:
        least, middle = min(tally.delays_ns), median(tally.delays_ns)
        facts.add_row(
            "trade to receipt",
            f"least {least / clock.MILLISECOND:,.1f} ms, median {middle / clock.MILLISECOND:,.1f} ms",
        )
        facts.add_row("clock", _clock_verdict(least))
    console.print(facts)
    agree = not feed.rejected and not holes and synced == len(feed.books)
    console.print("[green]the adapter and the venue agree" if agree else "[red]they do not agree: see above")
    return Exit.OK if agree else Exit.FAILED


def _clock_verdict(least_ns: int) -> str:
    """The least delay is the clock's offset plus the network's way: negative means our clock is behind."""
    if least_ns < 0:
        return f"[red]behind the venue's by at least {-least_ns / clock.MILLISECOND:,.1f} ms"
    if least_ns > 2 * clock.SECOND:
        return "[red]ahead of the venue's, or the line is very slow"
    return "no offset beyond the network's delay"
