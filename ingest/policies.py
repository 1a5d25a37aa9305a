"""`ingest policies`: the figures in force, and what the server has made of them."""

from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct
from rich.console import Console
from rich.table import Table

from ingest.errors import Exit
from ingest.store import policies as store
from ingest.store.database import connect_sync
from ingest.store.policies import Edition, Policy
from ingest.store.sqlfiles import query
from ingest.terminal import print_json


class Job(Struct, frozen=True):
    """One of the server's own jobs (Community). `last_status` is None before its first run."""

    what: str
    next_start: datetime | None
    last_status: str | None
    failures: int


class Shown(Struct, frozen=True):
    """One table; times in seconds, None where there is none (kept for ever, never compressed, no rollup)."""

    table: str
    source: str | None
    bucket_seconds: float | None
    chunk_seconds: float | None
    compress_after_seconds: float | None
    retention_seconds: float | None
    late_after_seconds: float | None
    refresh_start_seconds: float | None
    refresh_every_seconds: float | None
    jobs: list[Job]


class Report(Struct, frozen=True):
    """`kept_by` says who does it: the server's jobs, or maintenance."""

    edition: Edition
    kept_by: str
    policies: list[Shown]


def show(url: str, console: Console, *, as_json: bool) -> Exit:
    """Print the figures; FAILED when one of the server's jobs failed at its last run."""
    with connect_sync(url, role="policies") as connection:
        which = store.edition(connection)
        figures = store.read(connection)
        jobs = _jobs(connection.execute(query("policy_jobs")).fetchall()) if which == "community" else {}
    kept_by = "the server's jobs" if which == "community" else "the daemon, or `ingest maintain`"
    report = Report(which, kept_by, [_shown(policy, jobs.get(policy.table, [])) for policy in figures.values()])
    if as_json:
        print_json(report, console)
    else:
        console.print(_table(which, kept_by, list(figures.values()), jobs))
    failed = any(job.last_status == "Failed" for of_table in jobs.values() for job in of_table)
    return Exit.FAILED if failed else Exit.OK


def _jobs(rows: list[tuple[Any, ...]]) -> dict[str, list[Job]]:
    found: dict[str, list[Job]] = {}
    for table, *job in rows:
        found.setdefault(table, []).append(Job(*job))
    return found


def _shown(policy: Policy, jobs: list[Job]) -> Shown:
    return Shown(
        table=policy.table,
        source=policy.source,
        bucket_seconds=_seconds(policy.bucket),
        chunk_seconds=_seconds(policy.chunk_interval),
        compress_after_seconds=_seconds(policy.compress_after),
        retention_seconds=_seconds(policy.retention),
        late_after_seconds=_seconds(policy.late_after),
        refresh_start_seconds=_seconds(policy.refresh_start),
        refresh_every_seconds=_seconds(policy.refresh_every),
        jobs=jobs,
    )


def _seconds(figure: timedelta | None) -> float | None:
    return None if figure is None else figure.total_seconds()


def _table(which: Edition, kept_by: str, figures: list[Policy], jobs: dict[str, list[Job]]) -> Table:
    title = f"TimescaleDB {which}: kept by {kept_by}"
    shown = Table(title=title, title_justify="left", box=None, header_style="bold")
    for name in ("table", "made from"):
        shown.add_column(name)
    for name in ("chunks", "compressed after", "kept", "refreshed every", "from"):
        shown.add_column(name, justify="right")
    shown.add_column("jobs")
    for policy in figures:
        shown.add_row(
            policy.table,
            policy.source or "",
            store.shown(policy.chunk_interval) if policy.chunk_interval else "",
            _compressed(which, policy),
            store.shown(policy.retention) if policy.retention else "for ever",
            store.shown(policy.refresh_every) if policy.refresh_every else "",
            f"{store.shown(policy.refresh_start)} ago" if policy.refresh_start else "",
            ", ".join(f"{job.what} failed" for job in jobs.get(policy.table, []) if job.last_status == "Failed"),
        )
    return shown


def _compressed(which: Edition, policy: Policy) -> str:
    if policy.chunk_interval is None:
        return ""
    return store.shown(policy.compress_after) if which == "community" else "never (Apache)"
