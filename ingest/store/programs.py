"""PostgreSQL's own client programs (pg_dump, pg_restore), of the server's major version: a dump needs that one."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ingest import embedded
from ingest.embedded import ClientCommand
from ingest.errors import DatabaseUnavailable
from ingest.store import provision

_FOLDERS = ("/usr/lib/postgresql/{major}/bin", "/usr/pgsql-{major}/bin", "/opt/homebrew/opt/postgresql@{major}/bin")
"""Where Debian, Red Hat and Homebrew put several versions side by side."""


def client(url: str, program: str, major: int, *arguments: str, in_container: bool = False) -> ClientCommand:
    """The command that runs `program` on the database of `url`; the password is in its environment.

    `in_container`: the server is the container that `ingest db up` starts, whose image holds its own programs.
    Raises DatabaseUnavailable where no program of the server's version is found.
    """
    parts = {key: value for key, value in conninfo_to_dict(url).items() if value is not None}
    password = parts.pop("password", None)
    if (path := find(program, major)) is not None:
        environment = dict(os.environ) if password is None else {**os.environ, "PGPASSWORD": str(password)}
        return ClientCommand((path, "--dbname", make_conninfo("", **parts), *arguments), environment)
    if in_container:
        login = ("--username", str(parts.get("user", "ingest")), "--dbname", str(parts.get("dbname", "ingest")))
        return provision.in_container(program, *login, *arguments)
    raise DatabaseUnavailable(
        f"there is no {program} of PostgreSQL {major}, the server's version. Install postgresql-client-{major} "
        f"(or put the folder of its programs on the PATH), or use --method tables, which needs none."
    )


def find(program: str, major: int) -> str | None:
    """The path of the program in that version; None where this machine has none."""
    for path in _candidates(program, major):
        if _major(path) == major:
            return path
    return None


def _candidates(program: str, major: int) -> Iterator[str]:
    for folder in _FOLDERS:
        path = Path(folder.format(major=major)) / program
        if path.exists():
            yield str(path)
    for name in os.get_exec_path():
        if found := shutil.which(program, path=name):
            yield found
    if binaries := embedded.installed(embedded.default_root()):
        yield str(binaries.folder / program)


def _major(path: str) -> int | None:
    try:
        said = subprocess.run([path, "--version"], check=False, capture_output=True, text=True, timeout=10).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"\) (\d+)", said)
    return int(found[1]) if found else None
