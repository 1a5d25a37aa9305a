"""What can go wrong, by what must be done about it.

Three kinds decide the program's course: `Retryable` (wait and try again), `Rejected` (keep the input,
go on), `Fatal` (stop: a person must act). They are told apart by class, never by message.
"""

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of the `ingest` command."""

    OK = 0
    FAILED = 1  # the work itself failed: a comparison differs, a window could not be fetched
    USAGE = 2  # the command line or the configuration is wrong
    UNAVAILABLE = 3  # something it needs (database, network) cannot be had
    INTERRUPTED = 130  # stopped by a second signal before everything was delivered


class IngestError(Exception):
    """Base of all errors with a message for the user: what is wrong, where, and what to do."""

    exit_code = Exit.FAILED


class Retryable(IngestError):
    """May pass by itself: a closed connection, a server that restarts, a rate limit."""

    exit_code = Exit.UNAVAILABLE

    def __init__(self, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class Blocked(Retryable):
    """The venue refuses this address (403, 451): a state to report, with a long retry."""


class Rejected(IngestError):
    """Input that cannot be stored. It is kept in `ingest.rejected` and counted, and the rest goes on."""


class Fatal(IngestError):
    """Cannot be mended by waiting; the process ends with `exit_code` and no traceback."""


class ConfigError(Fatal):
    """The configuration or the command line is wrong; the message names file, key and remedy."""

    exit_code = Exit.USAGE


class DatabaseUnavailable(Fatal):
    """No database can be had in any of the three ways; the message says which way is open."""

    exit_code = Exit.UNAVAILABLE
