"""The `ingest` command. Each command is a few lines in this package; the work is in the module of its name.

Imports stand inside the commands, so that `--help` and completion answer at once.
"""

import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Never

import typer

from ingest.cli import analysis, backfill, collecting, completeness, database, importing, listings, upkeep
from ingest.errors import ConfigError, Exit, IngestError

app = typer.Typer(
    name="ingest",
    help="Collect market data into TimescaleDB: exact, complete, queryable.",
    epilog="Exit codes, environment variables, shell completion: docs/reference/cli.md",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(collecting.commands)
app.add_typer(listings.commands)
app.add_typer(completeness.commands)
app.add_typer(upkeep.commands)
app.add_typer(importing.commands)
app.add_typer(analysis.commands)
app.add_typer(listings.instruments_commands, name="instruments")
app.add_typer(backfill.commands, name="backfill")
app.add_typer(completeness.spool_commands, name="spool")
app.add_typer(completeness.rejected_commands, name="rejected")
app.add_typer(database.commands, name="db")


def _version(wanted: bool) -> None:
    if wanted:
        from ingest import __version__

        print(f"ingest {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Collect market data into TimescaleDB: exact, complete, queryable."""


def main() -> None:
    """Run a command. A user's mistake is one message on standard error and an exit code, never a traceback."""
    try:
        code = app(standalone_mode=False)
    except IngestError as error:
        _end(str(error), error.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        _end("interrupted", Exit.INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - whatever it is, its text may hold a password
        if (show := getattr(error, "show", None)) is not None:  # a wrong command line: typer words it
            show()
            if hint := _hint(error, sys.argv[1:]):
                print(hint, file=sys.stderr)
            sys.exit(Exit.USAGE)
        if (translated := _from_database(error)) is not None:
            _end(str(translated), translated.exit_code)
        if isinstance(error, ExceptionGroup) and (known := _first_known(error)) is not None:
            _end(str(known), known.exit_code)
        _crash(error)
    sys.exit(code or Exit.OK)


def _hint(error: Exception, words: Sequence[str]) -> str:
    """For what a user of other programs writes: options before the command, the configuration as an argument."""
    context = getattr(error, "ctx", None)
    if context is None:
        return ""
    if getattr(error, "option_name", None):
        misplaced = context.parent is None and not getattr(error, "possibilities", None)
        return "Options stand behind the command: ingest check-config --config ingest.toml" if misplaced else ""
    for before, word in pairwise(["", *words]):
        if word.endswith(".toml") and not before.startswith("-") and not word.startswith("-"):
            return f"The configuration is an option: ingest {context.info_name} --config {word}"
    return ""


def _first_known(group: ExceptionGroup[Exception]) -> IngestError | None:
    """Of the errors that ended a TaskGroup, one with a message for the user."""
    for error in group.exceptions:
        found = _first_known(error) if isinstance(error, ExceptionGroup) else error
        if isinstance(found, IngestError):
            return found
    return None


def _from_database(error: Exception) -> IngestError | None:
    import psycopg

    from ingest.store import database

    if isinstance(error, psycopg.errors.UndefinedTable | psycopg.errors.InvalidSchemaName):
        return ConfigError("the database is not migrated. Run `ingest migrate`.")
    return database.translate(error) if isinstance(error, psycopg.Error) else None


def _crash(error: Exception) -> Never:
    """A fault of the program: its traceback, without the passwords that an address in it may hold."""
    import traceback

    from ingest.config.secret import redact_dsn

    print(redact_dsn("".join(traceback.format_exception(error))), end="", file=sys.stderr)
    sys.exit(Exit.FAILED)


def _end(message: str, code: int) -> Never:
    print(f"ingest: {message}", file=sys.stderr)
    sys.exit(code)
