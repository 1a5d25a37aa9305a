"""The server's settings: what endangers data, and what is worth changing for ingest."""

from collections.abc import Callable, Iterator, Mapping

from msgspec import Struct

from ingest.doctor.finding import Finding, Patient, Verdict
from ingest.embedded.settings import Memory, machine_bytes, memory_for
from ingest.store.sqlfiles import query

MIB = 1024 * 1024
MINUTE_MS = 60_000
RESTART = "then restart the server"
RELOAD = "then SELECT pg_reload_conf()"


class Setting(Struct, frozen=True):
    """`size` in bytes or milliseconds, None for a setting without a unit; `text` as SHOW gives it."""

    size: int | None
    value: str
    text: str
    choices: tuple[str, ...] = ()


class Server(Struct, frozen=True):
    """What the rules ask: settings by name, the edition, its jobs, what suits this machine (None: it is another)."""

    settings: Mapping[str, Setting]
    edition: str
    jobs: int
    memory: Memory | None

    def size(self, name: str) -> int:
        return self.settings[name].size or 0

    def number(self, name: str) -> int:
        return int(self.settings[name].value)

    def value(self, name: str) -> str:
        return self.settings[name].value


class Rule(Struct, frozen=True):
    """`wants` gives the value to set, None where the present one will do."""

    name: str
    wants: Callable[[Server], str | None]
    why: str
    verdict: Verdict = "warn"
    then: str = RELOAD


def _at_least(name: str, mib: int, suited: Callable[[Memory], int]) -> Callable[[Server], str | None]:
    """At least `mib`, or what suits this machine where that is less; the advice is what suits it."""

    def wants(server: Server) -> str | None:
        advised = mib if server.memory is None else suited(server.memory)
        return f"'{advised}MB'" if server.size(name) < min(mib, advised) * MIB else None

    return wants


def _on(name: str) -> Callable[[Server], str | None]:
    return lambda server: "on" if server.value(name) == "off" else None


def _workers(server: Server) -> str | None:
    least = max(8, server.jobs // 2)
    name = "timescaledb.max_background_workers"
    return str(least) if server.edition == "Community" and server.number(name) < least else None


def _processes(server: Server) -> str | None:
    """Room for TimescaleDB's workers, parallel queries and PostgreSQL's own three."""
    least = server.number("timescaledb.max_background_workers") + server.number("max_parallel_workers") + 3
    return str(least) if server.edition == "Community" and server.number("max_worker_processes") < least else None


RULES = (
    Rule("fsync", _on("fsync"), "a crash of the machine can destroy the database", "fail"),
    Rule("full_page_writes", _on("full_page_writes"), "a crash of the machine can destroy pages", "fail"),
    Rule("autovacuum", _on("autovacuum"), "tables that are updated all day grow without end", "fail"),
    Rule("track_counts", _on("track_counts"), "autovacuum does not see what changed", "fail"),
    Rule(
        "synchronous_commit",
        lambda server: "on" if server.value("synchronous_commit") == "off" else None,
        "a crash of the server loses its last commits, which the daemon counts as stored and never sends again",
    ),
    Rule(
        "shared_buffers",
        _at_least("shared_buffers", 512, lambda memory: memory.shared_buffers),
        "the indexes of the open chunks should fit",
        then=RESTART,
    ),
    Rule(
        "max_wal_size",
        _at_least("max_wal_size", 4096, lambda memory: memory.max_wal_size),
        "COPY fills it, and each forced checkpoint writes whole pages again",
    ),
    Rule(
        "checkpoint_timeout",
        lambda server: "'15min'" if server.size("checkpoint_timeout") < 10 * MINUTE_MS else None,
        "fewer checkpoints write fewer whole pages",
    ),
    Rule(
        "wal_compression",
        lambda server: (
            ("lz4" if "lz4" in server.settings["wal_compression"].choices else "on")
            if server.value("wal_compression") == "off"
            else None
        ),
        "whole pages in the WAL shrink to a fraction",
    ),
    Rule(
        "max_locks_per_transaction",
        lambda server: "256" if server.number("max_locks_per_transaction") < 128 else None,
        "a query over a hypertable locks each of its chunks",
        then=RESTART,
    ),
    Rule(
        "timescaledb.max_background_workers", _workers, "policies of several tables run beside each other", then=RESTART
    ),
    Rule("max_worker_processes", _processes, "TimescaleDB's workers and parallel queries share it", then=RESTART),
)
_OTHERS = ("max_parallel_workers", "statement_timeout", "default_transaction_read_only", "timescaledb.restoring")


def advise(server: Server) -> Iterator[Finding]:
    """What the rules say. A setting that the server does not have is no fault."""
    for rule in RULES:
        if rule.name not in server.settings or (value := rule.wants(server)) is None:
            continue
        says = f"{server.settings[rule.name].text}: {rule.why}"
        yield Finding(rule.name, rule.verdict, says, rule.then, (f"ALTER SYSTEM SET {rule.name} = {value}",))


def settings(patient: Patient) -> Iterator[Finding]:
    """Each setting that wants changing; one line when none does."""
    names = [*(rule.name for rule in RULES), *_OTHERS]
    rows = patient.connection.execute(query("doctor_settings"), {"names": names}).fetchall()
    found = {row[0]: Setting(row[1], row[2], row[3], tuple(row[4])) for row in rows}
    jobs = 0
    if patient.server.timescaledb:
        row = patient.connection.execute("SELECT count(*) FROM timescaledb_information.jobs").fetchone()
        jobs = row[0] if row else 0
    memory = memory_for(machine_bytes()) if patient.server.is_local else None
    findings = [
        *advise(Server(found, patient.server.edition, jobs, memory)),
        *_of_this_database(found, patient.server.database),
    ]
    yield from findings or [Finding("settings", "ok", f"{len(found)} looked at")]


def _of_this_database(found: Mapping[str, Setting], database: str) -> Iterator[Finding]:
    """What is set for this login or database rather than for the server."""
    if "timescaledb.restoring" in found and found["timescaledb.restoring"].value == "on":
        says = "a restore was begun and not ended: TimescaleDB is asleep in this database"
        yield Finding("timescaledb.restoring", "fail", says, "as a superuser", ("SELECT timescaledb_post_restore()",))
    if found["default_transaction_read_only"].value == "on":
        statement = f'ALTER DATABASE "{database}" RESET default_transaction_read_only'
        yield Finding("default_transaction_read_only", "fail", "on: nothing can be written", "", (statement,))
    if found["statement_timeout"].size:
        says = f"{found['statement_timeout'].text} for this login: the daemon's statements may be cut off"
        yield Finding("statement_timeout", "warn", says, "set it to 0 for the daemon's login")
