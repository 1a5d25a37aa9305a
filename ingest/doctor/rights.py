"""Checks of roles and privileges, with the statements that are missing."""

from collections.abc import Iterator

from msgspec import Struct

from ingest.doctor.finding import Finding, Patient, plural
from ingest.store import roles
from ingest.store.sqlfiles import query


class Login(Struct, frozen=True):
    """The role of the connection. `owns` and `writes`: as a member, too; `may_own`: by SET ROLE."""

    name: str
    is_superuser: bool
    owns: bool
    writes: bool
    may_own: bool
    may_stage: bool
    roles_exist: bool
    analysts_may_create: bool


def login(patient: Patient) -> Iterator[Finding]:
    """Whether this login can do what the daemon does."""
    me = _look(patient)
    name = '"' + me.name.replace('"', '""') + '"'
    if not me.may_stage:
        statement = f'GRANT TEMPORARY ON DATABASE "{patient.server.database}" TO {name}'
        yield Finding(
            "login", "fail", f"{me.name} may not make temporary tables, which staging needs", "", (statement,)
        )
    elif me.is_superuser:
        says = f"{me.name} is a superuser"
        yield Finding("login", "ok", f"{says}; a daemon needs no more than {roles.WRITER} (docs/how-to/roles.md)")
    elif me.owns:
        yield Finding("login", "ok", f"{me.name} owns the tables")
    elif me.writes:
        keeps = "" if me.may_own else f"; maintenance is another's: it is no member of {roles.MAINTAINER}"
        yield Finding("login", "ok", f"{me.name} writes as a member of {roles.WRITER}{keeps}")
    else:
        advice = "as a superuser or the owner of the roles" if me.roles_exist else "after the statements of `roles`"
        statement = f"GRANT {roles.WRITER} TO {name}"
        yield Finding("login", "fail", f"{me.name} may not write: no daemon can run as it", advice, (statement,))


def granted(patient: Patient) -> Iterator[Finding]:
    """Roles and grants that are missing, for whoever may run them."""
    missing = roles.missing(patient.connection)
    if not missing:
        yield Finding("roles", "ok", f"{roles.OWNER}, {roles.WRITER}, {roles.MAINTAINER}, {roles.ANALYST}")
        return
    yield Finding(
        "roles",
        "warn",
        f"{plural(len(missing), 'statement')} missing",
        "run these as a superuser, or as a role with CREATEROLE that owns the database; then `ingest migrate`",
        tuple(missing),
    )


def analysts(patient: Patient) -> Iterator[Finding]:
    """Logins of analysts without a time-out and a search path; and what they may do beside reading."""
    rows = patient.connection.execute(query("doctor_analysts")).fetchall()
    if rows:
        says = f"logins lack {plural(len(rows), 'setting')}: those of {roles.ANALYST} do not reach its members"
        yield Finding(
            "analysts", "warn", says, "each is a default, which a session may change", tuple(r[0] for r in rows)
        )
    if _look(patient).analysts_may_create:
        says = "everyone may make tables in schema public, as before PostgreSQL 15"
        yield Finding("analysts", "warn", says, "", ("REVOKE CREATE ON SCHEMA public FROM PUBLIC",))


def _look(patient: Patient) -> Login:
    row = patient.connection.execute(query("doctor_login")).fetchone()
    assert row is not None  # noqa: S101 - everyone has a role
    return Login(*row)
