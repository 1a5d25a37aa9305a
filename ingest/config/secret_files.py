"""Secrets from files: systemd credentials, and `…_FILE` variables as container engines use them."""

from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from ingest.config.keys import keys
from ingest.config.problems import Problem

_SUFFIX = "_FILE"
_MAX_BYTES = 65_536


class SecretFile(Struct, frozen=True):
    """A file that holds the value of the key `key`. `origin` says who named it."""

    key: str
    path: Path
    origin: str


def credentials(environ: Mapping[str, str]) -> list[SecretFile]:
    """The systemd credentials that hold a secret of ours: `database_url`, or by key: `exchanges.binance.proxy`."""
    folder = environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        return []
    names = {key.name: key.name for key in keys() if key.secret} | {"database.url": "database_url"}
    files = [SecretFile(key, Path(folder, name), f"credential {name}") for key, name in names.items()]
    return [file for file in files if file.path.exists()]


def named_by_variables(environ: Mapping[str, str]) -> list[SecretFile]:
    """The files of `DATABASE_URL_FILE` and of each secret key's own variable with `_FILE`; the later wins."""
    variables = {"DATABASE_URL": "database.url"} | {key.environment: key.name for key in keys() if key.secret}
    return [
        SecretFile(key, Path(environ[f"{name}{_SUFFIX}"]), f"environment {name}{_SUFFIX}")
        for name, key in variables.items()
        if environ.get(f"{name}{_SUFFIX}")
    ]


def read(file: SecretFile) -> tuple[str, Problem | None]:
    """The value without the white space around it, or what is wrong; no message holds any of it."""
    try:
        with file.path.open("rb") as stream:
            text = stream.read(_MAX_BYTES).decode()
    except OSError as error:
        what, remedy = f"cannot be read: {error.strerror}", "check the path and its permissions"
        return "", Problem(file.origin, "", f"{file.path} {what}", remedy)
    except UnicodeDecodeError:
        return "", Problem(file.origin, "", f"{file.path} is not UTF-8", "save it as UTF-8")
    if not text.strip():
        return "", Problem(file.origin, "", f"{file.path} is empty", f"write the value of {file.key} into it")
    if len(text.strip().splitlines()) > 1:
        return "", Problem(file.origin, "", f"{file.path} has several lines", f"leave only the value of {file.key}")
    return text.strip(), None
