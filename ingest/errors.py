"""What can go wrong, by what must be done about it.

Three kinds decide the program's course: `Retryable` (wait and try again), `Rejected` (keep the input,
go on), `Fatal` (stop: a person must act). They are told apart by class, never by message.
"""

from enum import IntEnum
from typing import Self


class Exit(IntEnum):
    """Exit codes of the `ingest` command, each with its meaning for `docs/reference/cli.md`."""

    meaning: str

    OK = 0, "The work is done; for `run`: told to stop, and everything received is stored or spooled."
    FAILED = (
        1,
        "The work failed: a comparison differs, a stream is ill, a part is refused, rows neither stored nor spooled.",
    )
    USAGE = 2, "The command line or the configuration is wrong, or the database is not migrated."
    UNAVAILABLE = 3, "Something it needs cannot be had: the database, the network, an exchange. Try again later."
    INTERRUPTED = 130, "Stopped by Ctrl-C, or by a second signal before everything was delivered."

    def __new__(cls, code: int, meaning: str) -> Self:
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member


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
