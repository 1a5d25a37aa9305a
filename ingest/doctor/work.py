"""Checks of the work itself: schema, policies, streams, gaps, rejected input, spool."""

from collections.abc import Iterator

from msgspec import Struct

from ingest import clock, spooled
from ingest.doctor.finding import Finding, Patient, plural
from ingest.errors import ConfigError, Fatal, Retryable
from ingest.pipeline import spool_view
from ingest.store import migrate
from ingest.store.sqlfiles import query

_STILL_SECONDS = 900.0
_OLD_SECONDS = 86_400.0
_SPOOL_SECONDS = 600.0
_SHOWN = 3


class Counts(Struct, frozen=True):
    """Old and recent mean a day."""

    streams: int
    live: int
    gaps: int
    old_gaps: int
    oldest_gap: object
    awaiting_dump: int
    unrecoverable: int
    failed_jobs: int
    recent_rejects: int
    rejects: int


def schema(patient: Patient) -> Iterator[Finding]:
    """Whether `ingest migrate` has brought it up to date, the configuration's figures included."""
    try:
        missing = migrate.pending(patient.url, patient.config)
    except Fatal as error:
        yield Finding("schema", "fail", str(error))
        return
    if missing.files:
        names = ", ".join(file.name for file in missing.files)
        yield Finding("schema", "fail", f"not applied: {names}", "run `ingest migrate`")
    elif missing.figures:
        says = f"figures of the configuration are not in force: {'; '.join(missing.figures)}"
        yield Finding("schema", "warn", says, "run `ingest migrate`")
    else:
        yield Finding("schema", "ok", "up to date")


def jobs(patient: Patient) -> Iterator[Finding]:
    """Policies that failed, stand still or are switched off."""
    found = False
    rows = patient.connection.execute(query("doctor_jobs")).fetchall()
    for policy, table, run_by, scheduled, status, error, succeeded, overdue, failures in rows:
        name = f"{policy} of {table}" if table else policy
        if status == "failed":
            since = f", last well at {succeeded:%Y-%m-%d %H:%M}" if succeeded else ""
            why = error or "its owner can see why"
            says = f"{name} failed ({failures} times{since}): {why}"
            yield Finding("policies", "fail", says, "SELECT * FROM ingest.policy_jobs shows all")
        elif not scheduled:
            yield Finding("policies", "warn", f"{name} is switched off", "`ingest migrate` sets the policies anew")
        elif overdue:
            advice = {
                "server": "is timescaledb.max_background_workers large enough? else the server's log says why",
                "daemon": "start the daemon, or `ingest maintain` from cron",
            }[run_by]
            yield Finding("policies", "warn", f"{name} is overdue", advice)
        else:
            continue
        found = True
    if not found:
        yield Finding("policies", "ok", f"{plural(len(rows), 'job')}, none failing" if rows else "none")


def requests(patient: Patient) -> Iterator[Finding]:
    """Refreshes that were asked for, and fail."""
    for table, attempts, error, since in patient.connection.execute(query("doctor_requests")).fetchall():
        says = f"a refresh of {table}, asked for at {since:%Y-%m-%d %H:%M}, failed {plural(attempts, 'time')}: {error}"
        yield Finding("rollups", "warn", says, "SELECT * FROM ingest.refresh_requests shows all")


def vacuum(patient: Patient) -> Iterator[Finding]:
    for table, live, dead, _ in patient.connection.execute(query("doctor_vacuum")).fetchall():
        yield Finding(
            "autovacuum",
            "warn",
            f"ingest.{table} has {dead:,} dead rows beside {live:,}",
            "is a transaction open for long? (pg_stat_activity, xact_start)",
            (f"VACUUM ANALYZE ingest.{table}",),
        )


def streams(patient: Patient) -> Iterator[Finding]:
    """Streams that should come further and do not."""
    rows = patient.connection.execute(query("doctor_streams"), {"seconds": _STILL_SECONDS}).fetchall()
    counts = _counts(patient)
    if not rows:
        says = f"{counts.live} of {plural(counts.streams, 'stream')} live" if counts.streams else "none collected yet"
        yield Finding("streams", "ok", says)
        return
    shown = [f"{exchange} {symbol} {channel} ({state})" for exchange, symbol, channel, state, *_ in rows[:_SHOWN]]
    more = f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
    yield Finding(
        "streams",
        "warn",
        f"no progress for {_STILL_SECONDS / 60:.0f} minutes: {', '.join(shown)}{more}",
        "does the daemon run? `ingest status` says more, and its log says why",
    )


def gaps(patient: Patient) -> Iterator[Finding]:
    counts = _counts(patient)
    lost = f"{counts.unrecoverable:,} unrecoverable, {counts.awaiting_dump:,} awaiting a dump"
    if counts.old_gaps:
        old = f"{plural(counts.old_gaps, 'gap')} open for more than a day, since {counts.oldest_gap:%Y-%m-%d %H:%M}"
        yield Finding("gaps", "warn", f"{old}; {lost}", "`ingest gaps --retry`, with the daemon running")
    else:
        yield Finding("gaps", "ok", f"{counts.gaps:,} open, none older than a day; {lost}")
    if counts.failed_jobs:
        says = f"{plural(counts.failed_jobs, 'window')} of history could not be fetched since yesterday"
        yield Finding(
            "gaps", "warn", says, "SELECT error, count(*) FROM ingest.backfill_jobs WHERE state = 'failed' GROUP BY 1"
        )


def rejects(patient: Patient) -> Iterator[Finding]:
    counts = _counts(patient)
    if counts.recent_rejects:
        says = f"{counts.recent_rejects:,} since yesterday, {counts.rejects:,} in all"
        yield Finding("rejected", "warn", says, "`ingest rejected list` says why, `ingest rejected retry` tries again")
    else:
        yield Finding("rejected", "ok", f"none since yesterday, {counts.rejects:,} in all")


def spool(patient: Patient) -> Iterator[Finding]:
    folder = spooled.folder(patient.config)
    try:
        status = spool_view.inspect(folder)
    except ConfigError as error:
        yield Finding("spool", "fail", str(error))
        return
    except (Retryable, OSError) as error:
        yield Finding("spool", "warn", f"{folder} cannot be read: {error}")
        return
    if status.damaged_files:
        says = f"damaged: {', '.join(status.damaged_files)} in {folder}"
        yield Finding("spool", "fail", says, "what they held is in market.gaps; delete them when you have seen it")
    age = 0 if status.oldest_ns is None else (clock.now_ns() - status.oldest_ns) / clock.SECOND
    if not status.batches:
        yield Finding("spool", "ok", "nothing waits")
    elif age > _SPOOL_SECONDS:
        says = f"{status.rows:,} rows wait, the oldest for {age / 60:.0f} minutes ({status.bytes / 1e6:,.0f} MB)"
        yield Finding("spool", "warn", says, "a running daemon delivers them; without one: `ingest spool drain`")
    else:
        yield Finding("spool", "ok", f"{status.rows:,} rows wait, none for long")


def _counts(patient: Patient) -> Counts:
    row = patient.connection.execute(query("doctor_counts"), {"seconds": _OLD_SECONDS}).fetchone()
    assert row is not None  # noqa: S101 - a SELECT without FROM
    return Counts(*row)
