"""What a person sees: bars while it works, lines where there is no terminal, tables before and after."""

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table

from ingest.backfill.estimates import Estimate
from ingest.backfill.targets import Target
from ingest.store.backfill import Failed, Progress, Standing
from ingest.terminal import cell, plain

_LINES_SECONDS = 10.0
_BARS_SHOWN = 20
_FAILED_SHOWN = 50


class Meter:
    """Bars in a terminal, an instrument each, and a line now and then elsewhere. Used inside `with`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars: Bars | None = None
        if console.is_terminal:
            self._bars = Bars(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]:,.0f} rows/s"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[stored]:,} new, {task.fields[known]:,} known"),
                TextColumn("{task.fields[waits]}"),
                console=console,
                transient=True,
            )
        self._tasks: list[TaskID] = []
        self._targets: Sequence[Target] = ()
        self._started = self._said = time.monotonic()
        self._ended: set[int] = set()

    def __enter__(self) -> Self:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def of(self, targets: Sequence[Target]) -> Self:
        """For these targets, in the order of their progress."""
        self._targets = targets
        self._started = self._said = time.monotonic()
        if self._bars is not None:
            self._tasks = [
                self._bars.add_task(plain(target.name), total=None, rate=0.0, stored=0, known=0, waits="")
                for target in targets
            ]
        return self

    def update(self, progress: Sequence[Progress]) -> None:
        if self._bars is None:
            self._say(progress)
            return
        shown = 0
        elapsed = max(time.monotonic() - self._started, 0.001)
        for task, each in zip(self._tasks, progress, strict=True):
            ended = each.done + each.failed + each.cancelled
            visible = each.waiting > 0 and shown < _BARS_SHOWN
            shown += visible
            self._bars.update(
                task,
                completed=ended,
                total=max(ended + each.waiting, 1),
                visible=visible,
                rate=(each.stored + each.known) / elapsed,
                stored=each.stored,
                known=each.known,
                waits=plain(each.error or "")[:60],
            )

    def _say(self, progress: Sequence[Progress]) -> None:
        """A line for what has ended, and every few seconds for what goes on."""
        now = time.monotonic()
        due = now - self._said >= _LINES_SECONDS
        for place, (target, each) in enumerate(zip(self._targets, progress, strict=True)):
            ended = each.done + each.failed + each.cancelled
            if place in self._ended or (each.waiting and not due):
                continue
            if not each.waiting:
                self._ended.add(place)
            rate = ended / max(now - self._started, 0.001)
            left = f", about {timedelta(seconds=round(each.waiting / rate))} left" if each.waiting and rate else ""
            self._console.print(
                plain(
                    f"{target.name}: {ended:,} of {ended + each.waiting:,} windows, {each.stored:,} rows new, "
                    f"{each.known:,} known{left}{f' ({each.error})' if each.error else ''}"
                ),
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
        if due:
            self._said = now


def estimates(targets: Sequence[Target], found: Sequence[Estimate | None], console: Console) -> None:
    """What `--dry-run` says."""
    shown = _table("stream", "windows", "requests", "rows", "time")
    for target, each in zip(targets, found, strict=True):
        if each is not None:
            rows = "?" if each.rows is None else f"{each.rows:,}"
            shown.add_row(cell(target.name), f"{each.windows:,}", f"{each.requests:,}", rows, _duration(each.seconds))
    known = [each for each in found if each is not None]
    if len(known) > 1:
        rows = "?" if any(each.rows is None for each in known) else f"{sum(each.rows or 0 for each in known):,}"
        seconds = sum(each.seconds for each in known)
        windows, requests = sum(each.windows for each in known), sum(each.requests for each in known)
        shown.add_row("total", f"{windows:,}", f"{requests:,}", rows, _duration(seconds))
    console.print(shown)
    _refusals(targets, console)


def result(
    targets: Sequence[Target],
    progress: Sequence[Progress],
    failed: Sequence[Failed],
    closed: int,
    remarks: Sequence[str],
    console: Console,
) -> None:
    """The table at the end, then what failed."""
    wanted = [target for target in targets if target.refused is None]
    shown = _table("stream", "windows", "new", "known", "failed")
    shown.add_column("remarks", overflow="fold")
    for target, each in zip(wanted, progress, strict=True):
        remark = "complete already" if not each.done + each.failed + each.cancelled else each.remarks or ""
        remark = "; ".join(filter(None, [remark, f"{each.cancelled:,} cancelled" if each.cancelled else ""]))
        cells = (each.done, each.stored, each.known, each.failed)
        shown.add_row(cell(target.name), *(f"{number:,}" for number in cells), cell(remark))
    console.print(shown)
    if closed:
        console.print(f"{closed:,} gap{'s' if closed > 1 else ''} closed")
    for text in remarks:
        _line(text, console)
    for lost in failed[:_FAILED_SHOWN]:
        _line(f"failed: {wanted[lost.place].name} {_window(lost)}: {lost.error}", console)
    if len(failed) > _FAILED_SHOWN:
        _line(f"… and {len(failed) - _FAILED_SHOWN:,} more", console)
    if failed:
        _line("the same command, or `ingest backfill retry`, tries them again", console)
    _refusals(targets, console)


def standings(found: Sequence[Standing], console: Console) -> None:
    """What `ingest backfill status` says."""
    if not found:
        console.print("no backfill was asked for")
        return
    shown = _table("stream", "left", "done", "failed", "new", "known", "from", "to")
    for each in found:
        numbers = (each.waiting + each.claimed, each.done, each.failed, each.stored, each.known)
        shown.add_row(
            cell(" ".join(filter(None, [each.exchange, each.symbol, each.channel, each.timeframe]))),
            *(f"{number:,}" for number in numbers),
            _time(each.from_time),
            _time(each.to_time),
        )
    console.print(shown)
    for each in found:
        if each.error:
            _line(f"failed: {each.exchange} {each.symbol} {each.channel}: {each.error}", console)


def _refusals(targets: Sequence[Target], console: Console) -> None:
    for target in targets:
        if not target.is_whole:
            _line(f"refused: {target.name}: {target.refused or target.clipped}", console)


def _table(first: str, *numbers: str) -> Table:
    """What is too wide folds: of a figure that is cut nobody could tell what it was."""
    shown = Table(box=None, header_style="bold")
    shown.add_column(first, overflow="fold")
    for name in numbers:
        shown.add_column(name, justify="right", overflow="fold", min_width=len(name))
    return shown


def _line(text: str, console: Console) -> None:
    console.print(plain(text), markup=False, highlight=False, soft_wrap=True)


def _window(each: Failed) -> str:
    if each.from_id is not None:
        return f"ids {each.from_id:,} to {each.to_id:,}"
    return f"{_time(each.from_time)} to {_time(each.to_time)}"


def _time(moment: datetime | None) -> str:
    return "-" if moment is None else f"{moment:%Y-%m-%d %H:%M}"


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
