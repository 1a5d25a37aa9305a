"""What commands share: the configuration's option, and from it the configuration and the database's address."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ingest.config.source import Loaded

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="The configuration; default: $INGEST_CONFIG, else ./ingest.toml if it is there."
    ),
]


def load(path: Path | None, *, required: bool = False, overrides: dict[str, object] | None = None) -> "Loaded":
    from ingest.config.source import load

    if path is None and (named := os.environ.get("INGEST_CONFIG")):
        path = Path(named)
    if path is None and (required or Path("ingest.toml").exists()):
        path = Path("ingest.toml")
    return load(path, environ=os.environ, overrides=overrides)


def load_for(exchange: str, path: Path | None) -> "Loaded":
    """The configuration for a command that names its exchange, with the log set up."""
    from ingest import log
    from ingest.exchanges import adapter_of

    loaded = load(path)
    adapter_of(exchange)
    log.configure(loaded.config.log.level, loaded.config.log.format)
    return loaded


def configured_url(loaded: "Loaded") -> str | None:
    from ingest.store.database import with_connect_timeout

    settings = loaded.config.database
    if settings.url is None:
        return None
    return with_connect_timeout(settings.url.get_secret_value(), settings.connect_timeout_seconds)


def answering(url: str) -> str:
    """The address, where a database answers at it. Raises DatabaseUnavailable, which says what to check.

    For commands whose own connections are those of the daemon: that one waits, and says less.
    """
    from ingest.store.database import connect_sync

    connect_sync(url, role="start").close()
    return url


def symbols_of(words: Sequence[str]) -> list[str]:
    """Symbols and globs of a command line, held to what the configuration takes. Raises ConfigError."""
    from ingest.config.fields import check_symbol
    from ingest.errors import ConfigError

    try:
        return [check_symbol(word) for word in words]
    except ValueError as error:
        raise ConfigError(str(error)) from None


def say(line: str) -> None:
    print(line, file=sys.stderr)


def share(text: str) -> tuple[int, int]:
    """`--shard 2/3` → (2, 3). Raises ConfigError."""
    from ingest.errors import ConfigError

    number, slash, of = text.partition("/")
    if not (slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise ConfigError(f"--shard {text}: write i/n, which of how many daemons: 1/3, 2/3 or 3/3 of three")
    return int(number), int(of)
