"""The server's roles and what each may do, kept as statements: `ingest migrate` runs those that are missing where it
may, and `ingest doctor` prints them for whoever may.

Roles belong to the whole server, so that two databases may be migrated, and make the same roles, at once.
"""

import psycopg
from psycopg import AsyncConnection, Connection, errors, sql

from ingest.store.sqlfiles import query

OWNER = "ingest_owner"
WRITER = "ingest_writer"
MAINTAINER = "ingest_maintainer"
ANALYST = "market_analyst"

# Another session did the same: made the role, or changed its row in the catalogue (XX000, tuple concurrently updated).
_RACES = (errors.DuplicateObject, errors.UniqueViolation, errors.InternalError_)
_ATTEMPTS = 20


def missing(connection: Connection) -> list[str]:
    """Statements that roles and privileges lack in this database, in order."""
    return [*_statements(connection, "roles_missing"), *_grants(connection)]


def prepare(connection: Connection) -> list[str]:
    """Make the roles that are missing, and act as `ingest_owner` from here on where this login is its member.

    Returns the statements that this role may not run. A superuser stays itself: `settle` hands over what it makes. No
    one else could hand over a continuous aggregate, whose rows lie in a schema that is TimescaleDB's own.
    """
    refused = _run_all(connection, "roles_missing")
    row = connection.execute(query("roles_assume")).fetchone()
    if row is not None and row[0]:
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(OWNER)))
    return refused


def settle(connection: Connection) -> list[str]:
    """Hand all of schemas `ingest` and `market` to `ingest_owner`, and give the roles their rights. Idempotent.

    Returns the statements that this role may not run.
    """
    return _run_all(connection, "roles_grants") if _has_timescaledb(connection) else []


async def become_owner(connection: AsyncConnection) -> bool:
    """Let this connection act as `ingest_owner`; False where the role is not there or this login may not.

    Only the maintenance connection calls it. Where it answers False the login itself may still own the tables.
    """
    try:
        await connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(OWNER)))
    except (errors.InsufficientPrivilege, errors.InvalidParameterValue):
        return False
    return True


def _run_all(connection: Connection, name: str) -> list[str]:
    """Each statement by itself: one that is refused costs no other one."""
    refused: list[str] = []
    for _ in range(_ATTEMPTS):
        todo = [statement for statement in _statements(connection, name) if statement not in refused]
        if not todo:
            break
        for statement in todo:
            try:
                connection.execute(statement.encode())
            except (errors.InsufficientPrivilege, errors.UndefinedObject):  # it, or the role that it is for
                refused.append(statement)
            except _RACES:
                break  # look again at what is missing
    return refused


def _grants(connection: Connection) -> list[str]:
    return _statements(connection, "roles_grants") if _has_timescaledb(connection) else []


def _statements(connection: Connection, name: str) -> list[str]:
    return [row[0] for row in connection.execute(query(name)).fetchall()]


def _has_timescaledb(connection: psycopg.Connection) -> bool:
    row = connection.execute("SELECT to_regclass('timescaledb_information.continuous_aggregates')").fetchone()
    return row is not None and row[0] is not None
