"""Secrets from files: which wins, and that a wrong file is told without what it holds."""

import traceback
from pathlib import Path

import pytest

from ingest.config.source import explain, load
from ingest.errors import ConfigError

SECRET = "pl4nted"


def dsn(host: str) -> str:
    return f"postgresql://ingest:{SECRET}@{host}/db"


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    folder = tmp_path / "credentials"
    folder.mkdir()
    return folder


def given(environ: dict[str, str], key: str = "database.url", file: Path | None = None) -> tuple[str, str]:
    """The value of a key as it is shown, and its origin."""
    loaded = load(file, environ=environ)
    return next((value, origin) for name, value, origin in explain(loaded) if name == key)


def refused(environ: dict[str, str]) -> str:
    with pytest.raises(ConfigError) as caught:
        load(None, environ=environ)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    return str(caught.value).removeprefix("the configuration is refused: ")


def test_each_source_wins_over_the_ones_below_it(tmp_path: Path, credentials: Path) -> None:
    toml = tmp_path / "ingest.toml"
    toml.write_text(f'[database]\nurl = "{dsn("toml")}"\n')
    environ: dict[str, str] = {}
    assert given(environ, file=toml) == ("postgresql://ingest:***@toml/db", f"{toml}:2")

    (credentials / "database_url").write_text(f"{dsn('credential')}\n")
    environ["CREDENTIALS_DIRECTORY"] = str(credentials)
    assert given(environ, file=toml) == ("postgresql://ingest:***@credential/db", "credential database_url")

    (tmp_path / "secret").write_text(f"  {dsn('file')}\r\n\n")
    environ["DATABASE_URL_FILE"] = str(tmp_path / "secret")
    assert given(environ, file=toml) == ("postgresql://ingest:***@file/db", "environment DATABASE_URL_FILE")

    (tmp_path / "own").write_text(dsn("own"))
    environ["INGEST_DATABASE__URL_FILE"] = str(tmp_path / "own")
    assert given(environ, file=toml) == ("postgresql://ingest:***@own/db", "environment INGEST_DATABASE__URL_FILE")

    environ["DATABASE_URL"] = dsn("variable")
    assert given(environ, file=toml) == ("postgresql://ingest:***@variable/db", "environment DATABASE_URL")

    environ["INGEST_DATABASE__URL"] = dsn("ours")
    assert given(environ, file=toml) == ("postgresql://ingest:***@ours/db", "environment INGEST_DATABASE__URL")

    loaded = load(toml, environ=environ, overrides={"database.url": dsn("flag")})
    assert loaded.origins["database.url"] == "flag --database-url"


def test_the_value_is_the_files_without_the_white_space_around_it(credentials: Path) -> None:
    (credentials / "database_url").write_text(f"\n {dsn('credential')} \n")
    url = load(None, environ={"CREDENTIALS_DIRECTORY": str(credentials)}).config.database.url
    assert url is not None
    assert url.get_secret_value() == dsn("credential")


def test_other_secrets_go_by_their_key(tmp_path: Path, credentials: Path) -> None:
    key = "exchanges.binance.proxy"
    (credentials / key).write_text(f"http://u:{SECRET}@credential:1")
    environ = {"CREDENTIALS_DIRECTORY": str(credentials)}
    assert given(environ, key) == ("http://u:***@credential:1", f"credential {key}")
    (tmp_path / "proxy").write_text(f"http://u:{SECRET}@file:1")
    environ["INGEST_EXCHANGES__BINANCE__PROXY_FILE"] = str(tmp_path / "proxy")
    assert given(environ, key) == ("http://u:***@file:1", "environment INGEST_EXCHANGES__BINANCE__PROXY_FILE")


def test_what_is_no_secret_of_ours_is_left_alone(credentials: Path) -> None:
    (credentials / "log.level").write_text("debug")
    (credentials / "tls.key").write_text(SECRET)
    environ = {"CREDENTIALS_DIRECTORY": str(credentials), "SOME_FILE": "/nowhere", "DATABASE_URL_FILE": ""}
    assert given(environ, "log.level") == ("info", "default")
    assert given(environ) == ("", "default")
    assert given({"CREDENTIALS_DIRECTORY": str(credentials / "gone")}) == ("", "default")


def test_a_key_that_is_no_secret_takes_no_file() -> None:
    assert refused({"INGEST_LOG__LEVEL_FILE": "/etc/hostname"}).startswith(
        "environment INGEST_LOG__LEVEL_FILE: log.level_file: unknown key"
    )


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "cannot be read: No such file or directory; check the path and its permissions"),
        (b"", "is empty; write the value of database.url into it"),
        (b" \n", "is empty; write the value of database.url into it"),
        (dsn("h").encode() + b"\xff", "is not UTF-8; save it as UTF-8"),
        (f"{dsn('h')}\n{dsn('g')}\n".encode(), "has several lines; leave only the value of database.url"),
    ],
)
def test_a_file_that_cannot_serve(tmp_path: Path, content: bytes | None, what: str) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    assert refused({"DATABASE_URL_FILE": str(path)}) == f"environment DATABASE_URL_FILE: {path} {what}"


def test_a_credential_that_cannot_serve(credentials: Path) -> None:
    (credentials / "database_url").touch()
    message = refused({"CREDENTIALS_DIRECTORY": str(credentials)})
    assert message.startswith("credential database_url: ")
    (credentials / "database_url").write_text(f"mysql://u:{SECRET}@h/d")
    message = refused({"CREDENTIALS_DIRECTORY": str(credentials)})
    assert message.startswith("credential database_url: database.url: is not a PostgreSQL URL;")
