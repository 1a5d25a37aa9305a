"""Connections to PostgreSQL, and what its errors mean for us."""

import os
import sys
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import psycopg
from psycopg import AsyncConnection, Connection, errors
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ingest.errors import DatabaseUnavailable, Fatal, Retryable

_SESSION = "-c timezone=UTC -c datestyle=ISO -c client_encoding=UTF8 -c search_path=public"


def conninfo(url: str, *, role: str) -> str:
    """`url` with what every connection of ours needs: a name to be seen by, UTC, and dead peers noticed."""
    settings: dict[str, Any] = {
        "application_name": f"ingest {role}",
        "connect_timeout": 10,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 30_000,
    }
    given = conninfo_to_dict(url)
    options = f"{given['options']} {_SESSION}" if given.get("options") else _SESSION
    return make_conninfo(url, **{key: value for key, value in settings.items() if key not in given}, options=options)


def with_connect_timeout(url: str, seconds: int) -> str:
    """The URL with libpq's `connect_timeout`, unless it states one."""
    return url if "connect_timeout=" in url else f"{url}{'&' if '?' in url else '?'}connect_timeout={seconds}"


def with_database(url: str, name: str) -> str:
    """The same server and role, another database; `url` is a URL, with or without a host or a `dbname` parameter."""
    scheme, _, rest = url.partition("://")
    place, question, query = rest.partition("?")
    parameters = [(key, value) for key, value in parse_qsl(query) if key != "dbname"]
    tail = f"?{urlencode(parameters)}" if question and parameters else ""
    return f"{scheme}://{place.partition('/')[0]}/{quote(name)}{tail}"


async def connect(url: str, *, role: str) -> AsyncConnection:
    """A connection in autocommit mode. Raises `Retryable` while the server is away, `Fatal` when it refuses us.

    Nothing is prepared unasked: a cached plan that returns rows breaks when maintenance changes a table under it.
    """
    try:
        return await AsyncConnection.connect(conninfo(url, role=role), autocommit=True, prepare_threshold=sys.maxsize)
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
        raise DatabaseUnavailable(
            f"no connection to the database: {_text(error)}. "
            f"Check [database] url (or DATABASE_URL), and whether it runs: `ingest db status`.{_tls_hint(url)}"
        ) from error


def _tls_hint(url: str) -> str:
    """Where the server must prove who it is, a wrong certificate is as likely as a wrong address."""
    mode = conninfo_to_dict(url).get("sslmode") or os.environ.get("PGSSLMODE", "")
    if not str(mode).startswith("verify"):
        return ""
    name = ", and the server's certificate must name the host of the url" if mode == "verify-full" else ""
    return f" With sslmode={mode}, sslrootcert must hold the certificate that signed the server's{name}."


# What passes by itself: the server restarts, fails over, is full, or asks for another try. Connecting reports
# everything as an OperationalError without a SQLSTATE, a wrong password too: there the text must tell.
_PASSING = (
    errors.OperationalError,  # 08 connection, 53 resources, 57 shutdown, 58 system
    errors.InternalError,  # 25 transaction state (read-only after a fail-over, idle time-outs), XX
    errors.SerializationFailure,
    errors.DeadlockDetected,
    errors.LockNotAvailable,
    errors.QueryCanceled,
)


def translate(error: psycopg.Error) -> Retryable | Fatal:
    """Sort an error that is not about the data. The message never holds the DSN: libpq does not repeat passwords."""
    text = _text(error)
    if isinstance(error, _PASSING):
        return Retryable(f"the database does not take it: {text}")
    return Fatal(f"the database reports an error that waiting will not mend ({error.sqlstate}): {text}")


def _text(error: psycopg.Error) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def is_data_error(error: psycopg.Error) -> bool:
    """True when a row is to blame, and not the server: classes 22 (data), 23 (constraint) and 54 (too large for it)."""
    return isinstance(error, errors.DataError | errors.IntegrityError | errors.ProgramLimitExceeded)
