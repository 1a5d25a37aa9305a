"""Checks of the server: versions, edition, clock, disk."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from ingest import clock, spooled
from ingest.doctor.finding import Finding, Patient, Verdict

OLDEST_POSTGRES = 15  # NULLS NOT DISTINCT
OLDEST_TIMESCALEDB = (2, 13)
_CLOCK_WARN_SECONDS, _CLOCK_FAIL_SECONDS = 0.5, 30.0
_CLOCK_TRIES = 3
_DISK_WARN_SHARE, _DISK_FAIL_SHARE = 0.15, 0.03
_GB = 1e9


def postgres(patient: Patient) -> Iterator[Finding]:
    server = patient.server
    if server.major < OLDEST_POSTGRES:
        yield Finding(
            "PostgreSQL", "fail", f"{server.version} is too old", f"move to PostgreSQL {OLDEST_POSTGRES} or newer"
        )
    elif server.is_standby:
        yield Finding("PostgreSQL", "fail", f"{server.version}, a standby that takes no writes", "name the primary")
    else:
        yield Finding("PostgreSQL", "ok", server.version)


def extension(patient: Patient) -> Iterator[Finding]:
    """Its version; then, where it is there, what its edition means."""
    server, check = patient.server, "TimescaleDB"
    if not server.available and not server.timescaledb:
        advice = "install the package timescaledb for this PostgreSQL, and add it to shared_preload_libraries"
        yield Finding(check, "fail", "this server has none", advice)
    elif not server.timescaledb:
        yield Finding(
            check,
            "fail",
            f"{server.available} is at hand, but not in this database",
            "`ingest migrate` creates it where its role may; else run this as a superuser",
            ("CREATE EXTENSION timescaledb SCHEMA public",),
        )
    elif _numbers(server.timescaledb) < OLDEST_TIMESCALEDB:
        oldest = ".".join(map(str, OLDEST_TIMESCALEDB))
        yield Finding(
            check,
            "fail",
            f"{server.timescaledb} is too old: {oldest} is the least",
            f"install {oldest} or newer and restart the server; update as the first command of a session (psql -X)",
            ("ALTER EXTENSION timescaledb UPDATE",),
        )
    elif _numbers(server.available) > _numbers(server.timescaledb):
        yield Finding(
            check,
            "warn",
            f"{server.timescaledb}, while {server.available} is installed on the server",
            "update as the first command of a fresh session (psql -X), with the daemon stopped",
            ("ALTER EXTENSION timescaledb UPDATE",),
        )
    else:
        yield Finding(check, "ok", server.timescaledb)


def edition(patient: Patient) -> Iterator[Finding]:
    meanings = {
        "Community": "compression, continuous aggregates and policies, which the server runs by itself",
        "Apache": "no compression (expect 5 to 10 times the disk); rollups and retention are kept by the daemon, or by "
        "`ingest maintain` from cron",
    }
    known = patient.server.edition
    if known in meanings:
        yield Finding("edition", "ok", f"{known}: {meanings[known]}")
    elif patient.server.timescaledb:
        advice = "add timescaledb to shared_preload_libraries and restart the server"
        yield Finding("edition", "fail", "unknown: the extension is not loaded", advice)


def clocks(patient: Patient) -> Iterator[Finding]:
    """The clock of this machine against the server's, as exact as the way there and back allows."""
    best_ns, offset_ns = 2**62, 0
    for _ in range(_CLOCK_TRIES):
        before = clock.now_ns()
        statement = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
        row = patient.connection.execute(statement).fetchone()
        after = clock.now_ns()
        assert row is not None  # noqa: S101 - a SELECT without FROM
        if after - before < best_ns:
            best_ns, offset_ns = after - before, row[0] * clock.MICROSECOND - (before + after) // 2
    seconds = max(0, abs(offset_ns) - best_ns // 2) / clock.SECOND
    verdict: Verdict = "fail" if seconds > _CLOCK_FAIL_SECONDS else "warn" if seconds > _CLOCK_WARN_SECONDS else "ok"
    if verdict == "ok":
        yield Finding("clock", "ok", "this machine and the server agree")
        return
    where = "behind" if offset_ns > 0 else "ahead of"
    says = f"this machine is at least {seconds:.1f} s {where} the server"
    yield Finding("clock", verdict, says, "let both follow a time server (chrony, systemd-timesyncd)")


def disk(patient: Patient) -> Iterator[Finding]:
    """Free space where the data and the spool lie; where the data's disk cannot be seen, only the database's size."""
    size = f"the database has {patient.server.database_bytes / _GB:,.2f} GB"
    directory = patient.server.data_directory
    if directory is not None and patient.server.is_local and _is_there(Path(directory)):
        yield _space("disk", Path(directory), f"{size}, its disk")
    else:
        yield Finding("disk", "ok", f"{size}; its disk cannot be seen from here")
    spool = spooled.folder(patient.config)
    while not spool.exists():
        spool = spool.parent
    yield _space("disk of the spool", spool, "")


def _is_there(path: Path) -> bool:
    try:
        return path.is_dir()
    except PermissionError:
        return False


def _space(check: str, path: Path, lead: str) -> Finding:
    usage = shutil.disk_usage(path)
    share = usage.free / usage.total
    verdict: Verdict = "fail" if share < _DISK_FAIL_SHARE else "warn" if share < _DISK_WARN_SHARE else "ok"
    says = f"{lead} {usage.free / _GB:,.1f} of {usage.total / _GB:,.1f} GB free".strip()
    advice = "" if verdict == "ok" else "make room: a shorter [retention], compression, or a larger disk"
    return Finding(check, verdict, says, advice)


def _numbers(version: str) -> tuple[int, ...]:
    """2.19.3 as (2, 19, 3); a development version's suffix counts for nothing."""
    return tuple(int(part) for part in version.partition("-")[0].split(".") if part.isdecimal())
