"""Where the `.sql` files are, and how the daemon's own statements are named."""

import hashlib
from functools import cache
from pathlib import Path

from msgspec import Struct

from ingest.errors import Fatal

_PACKAGE = Path(__file__).resolve().parent.parent


class SqlFile(Struct, frozen=True):
    """One file: its name without the folder, its text, and the SHA-256 of the text in hex."""

    name: str
    text: str
    sha256: str


@cache
def sql_root() -> Path:
    """The folder `sql/`: inside an installed wheel, or beside the package in a checkout."""
    for candidate in (_PACKAGE / "_sql", _PACKAGE.parent / "sql"):
        if (candidate / "migrations").is_dir():
            return candidate
    raise Fatal(f"the SQL files are missing: neither {_PACKAGE / '_sql'} nor {_PACKAGE.parent / 'sql'} holds them")


def read_folder(folder: Path) -> list[SqlFile]:
    """The `.sql` files of a folder in the order of their names."""
    return [_read(path) for path in sorted(folder.glob("*.sql"))]


@cache
def query(name: str) -> str:
    """The text of `sql/queries/<name>.sql`."""
    return (sql_root() / "queries" / f"{name}.sql").read_text()


def _read(path: Path) -> SqlFile:
    text = path.read_text()
    return SqlFile(path.name, text, hashlib.sha256(text.encode()).hexdigest())
