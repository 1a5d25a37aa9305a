"""Connections to PostgreSQL, and what its errors mean for us."""

from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg import AsyncConnection, Connection, errors
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ingest.errors import DatabaseUnavailable, Fatal, Retryable

_SESSION = "-c timezone=UTC -c datestyle=ISO -c client_encoding=UTF8 -c search_path=public"


def conninfo(url: str, *, role: str, connect_timeout_seconds: int = 10) -> str:
    """`url` with what every connection of ours needs: a name to be seen by, UTC, and dead peers noticed."""
    settings: dict[str, Any] = {
        "application_name": f"ingest {role}",
        "connect_timeout": connect_timeout_seconds,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 30_000,
    }
    given = conninfo_to_dict(url)
    options = f"{given['options']} {_SESSION}" if given.get("options") else _SESSION
    return make_conninfo(url, **{key: value for key, value in settings.items() if key not in given}, options=options)


def with_database(url: str, name: str) -> str:
    """The same server and role, another database."""
    return urlsplit(url)._replace(path=f"/{name}").geturl()


async def connect(url: str, *, role: str) -> AsyncConnection:
    """A connection in autocommit mode. Raises `Retryable` while the server is away, `Fatal` when it refuses us.

    Nothing is prepared: a plan that is cached breaks when maintenance changes a table under it.
    """
    try:
        return await AsyncConnection.connect(conninfo(url, role=role), autocommit=True, prepare_threshold=None)
    except psycopg.Error as error:
        raise translate(error) from error


def connect_sync(url: str, *, role: str) -> Connection:
    """The same for commands that a person waits for. Raises `DatabaseUnavailable` when there is no answer."""
    try:
        return Connection.connect(conninfo(url, role=role), autocommit=True, prepare_threshold=None)
    except psycopg.Error as error:
        translated = translate(error)
        if isinstance(translated, Fatal):
            raise translated from error
        raise DatabaseUnavailable(f"{translated}. Is it running? See `ingest db status`.") from error


# Classes of SQLSTATE that pass by themselves: the server restarts, is full, or asks for another try.
_PASSING = (
    errors.OperationalError,  # 08 connection, 53 resources, 57 shutdown, 58 system, 40 as a subclass
    errors.SerializationFailure,
    errors.DeadlockDetected,
    errors.LockNotAvailable,
    errors.QueryCanceled,
)
_REFUSALS = (
    errors.InvalidPassword,
    errors.InvalidAuthorizationSpecification,
    errors.InvalidCatalogName,
    errors.InsufficientPrivilege,
)


def translate(error: psycopg.Error) -> Retryable | Fatal:
    """Sort an error that is not about the data. The message never holds the DSN: libpq does not repeat passwords."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, _REFUSALS):
        return Fatal(f"the database refuses: {text}. Correct [database] url or the role's privileges.")
    if isinstance(error, _PASSING):
        return Retryable(f"the database is away: {text}")
    return Fatal(f"the database reports an error that waiting will not mend ({error.sqlstate}): {text}")


def is_data_error(error: psycopg.Error) -> bool:
    """True when a row is to blame, and not the server: classes 22 (data), 23 (constraint) and 54 (too large for it)."""
    return isinstance(error, errors.DataError | errors.IntegrityError | errors.ProgramLimitExceeded)
