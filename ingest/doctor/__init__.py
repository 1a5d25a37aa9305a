"""`ingest doctor`: is this database, with this configuration, fit for the work? One check a function, each by itself.

It changes nothing. A check that is not allowed to look says so, and the others go on.
"""

from collections.abc import Callable, Iterable, Iterator

import psycopg
from rich.console import Console
from rich.table import Table

from ingest import terminal
from ingest.config.model import Config
from ingest.doctor import rights, server, settings, work
from ingest.doctor.finding import Finding, Patient, look
from ingest.errors import Exit
from ingest.store.database import connect_sync

Check = Callable[[Patient], Iterable[Finding]]

ANYWHERE: tuple[Check, ...] = (
    *(server.postgres, server.extension, server.edition, server.clocks, server.disk, work.schema),
    *(rights.granted, settings.settings, work.spool),
)
WHERE_MIGRATED: tuple[Check, ...] = (
    *(rights.login, rights.analysts, work.jobs, work.requests, work.vacuum, work.streams, work.gaps, work.rejects),
)
_STYLE = {"ok": "green", "warn": "yellow", "fail": "red"}


def examine(config: Config, url: str) -> list[Finding]:
    """Every check's findings, in order. Raises DatabaseUnavailable when there is no answer at all."""
    with connect_sync(url, role="doctor") as connection:
        patient = Patient(connection, url, config, look(connection))
        checks = (*ANYWHERE, *(WHERE_MIGRATED if patient.server.is_migrated else ()))
        return [finding for check in checks for finding in _guarded(check, patient)]


def show(config: Config, url: str, *, as_json: bool, console: Console) -> Exit:
    """Print the findings; FAILED when one of them is `fail`."""
    findings = examine(config, url)
    if as_json:
        terminal.print_json(findings, console)
    else:
        console.print(table(findings))
        _print_statements(findings, console)
    return Exit.FAILED if any(finding.verdict == "fail" for finding in findings) else Exit.OK


def table(findings: Iterable[Finding]) -> Table:
    shown = Table("check", "verdict", "what is so", "what to do", box=None, header_style="bold")
    for finding in findings:
        shown.add_row(
            finding.check,
            terminal.cell(finding.verdict, _STYLE[finding.verdict]),
            terminal.cell(finding.says),
            terminal.cell(finding.advice or ("see below" if finding.statements else "")),
        )
    return shown


def _print_statements(findings: Iterable[Finding], console: Console) -> None:
    """In full and unwrapped, to be copied."""
    for finding in findings:
        if finding.statements:
            console.out(f"\n-- {finding.check}: {terminal.plain(finding.says)}", highlight=False)
            for statement in finding.statements:
                console.out(f"{terminal.plain(statement)};", highlight=False)


def _guarded(check: Check, patient: Patient) -> Iterator[Finding]:
    try:
        yield from check(patient)
    except psycopg.errors.InsufficientPrivilege as error:
        name = check.__name__
        yield Finding(name, "warn", f"could not look: {error.diag.message_primary}", "ask as the owner or a superuser")
