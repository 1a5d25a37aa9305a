"""Where the configuration comes from, and what each value's origin is.

TOML file < credentials < `…_FILE` variables < `INGEST_…` environment < flags.
"""

import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict, SettingsError

from ingest.config import known, secret_files
from ingest.config.keys import ENVIRONMENT_PREFIX
from ingest.config.lines import join, lines_of_keys, paths
from ingest.config.model import Config
from ingest.config.problems import (
    Problem,
    explain_validation,
    report,
    unknown_exchange,
    unknown_variable,
)
from ingest.config.secret import MASK, redact_dsn
from ingest.errors import ConfigError

OTHER_VARIABLES = frozenset(
    {"INGEST_CONFIG", "INGEST_CACHE_DIR", "INGEST_DATA_DIR", "INGEST_CONTAINER_PASSWORD", "INGEST_CONTAINER_PORT"}
)
"""`INGEST_…` variables that are no keys of the configuration: the path of its file, the embedded server's two folders,
and the container's password and port.
"""

DEFAULT = "default"


class Loaded(msgspec.Struct, frozen=True):
    """A valid configuration, and for every key (`log.level`, `collect[0].symbols`) where its value came from.

    An origin reads `ingest.toml:12`, `environment INGEST_LOG__LEVEL`, `credential database_url`, `flag --log-level`
    or `default`.
    """

    config: Config
    origins: Mapping[str, str]
    file: Path | None = None

    def origin(self, keys: Iterable[str]) -> tuple[str, str]:
        """The first of these keys that somebody set, behind its origin: what is wrong between several is told there."""
        return next(
            ((self.origins[key], key) for key in keys if self.origins.get(key, DEFAULT) != DEFAULT), (DEFAULT, "")
        )

    def require_collect(self) -> None:
        """Raises ConfigError, with file and remedy, where there is nothing to collect."""
        if not self.config.collect:
            problem = Problem(
                str(self.file or "environment INGEST_COLLECT"),
                "collect",
                "nothing to collect: there is no [[collect]] block",
                "add one, with exchange and symbols, as in ingest.example.toml",
            )
            raise ConfigError(report([problem]))


class _Environment(Config, BaseSettings):
    """Lends pydantic-settings' reading of nested environment variables to the same fields."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class _Layers:
    """Values laid over one another, the later winning, with the origin of each."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.origins: dict[str, str] = {}

    def lay(self, given: Mapping[str, Any], origin: Callable[[str], str]) -> None:
        """Puts a nested mapping on top: tables merge key by key, everything else is replaced whole."""
        self._merge(self.values, given, "", origin)

    def _merge(self, into: dict[str, Any], given: Mapping[str, Any], prefix: str, origin: Callable[[str], str]) -> None:
        for name, value in given.items():
            key = join(prefix, name)
            if isinstance(value, Mapping):
                if not isinstance(into.get(name), dict):
                    into[name] = {}
                self.origins[key] = origin(key)
                self._merge(into[name], value, key, origin)
                continue
            into[name] = value
            for old in [old for old in self.origins if old == key or old.startswith((f"{key}.", f"{key}["))]:
                del self.origins[old]
            self.origins.update((inner, origin(inner)) for inner in paths(value, key))


def load(
    path: Path | None,
    *,
    environ: Mapping[str, str],
    overrides: Mapping[str, object] | None = None,
    known_exchanges: Collection[str] | None = None,
) -> Loaded:
    """Reads the file (None: there is none), then secrets from files, then the environment, then the flags.

    `overrides` holds flags by dotted key (`{"log.level": "debug"}`); None means that the flag was not given. An
    empty variable is as good as an unset one. `DATABASE_URL` stands for `INGEST_DATABASE__URL` where that is unset.
    Raises ConfigError, whose message lists all problems at once and holds no secret.
    """
    layers = _Layers()
    if path is not None:
        _lay_file(layers, path)
    problems = _lay_secret_files(layers, environ)
    problems += _lay_environment(layers, environ)
    for key, value in (overrides or {}).items():
        if value is not None:
            flag = f"flag --{re.sub(r'[._]', '-', key)}"
            layers.lay(_nested(key, _as_toml(value)), lambda _, flag=flag: flag)  # type: ignore[misc]
    problems += _unknown_exchanges(layers.values, layers.origins, known_exchanges or known.exchanges())
    config: Config | None = None
    try:
        config = Config.model_validate(layers.values)
    except ValidationError as error:
        problems += explain_validation(error, layers.origins)
    # Raised out here, so that pydantic's error, which keeps its input, is not the context of this one.
    if config is None or problems:
        raise ConfigError(report(problems))
    return Loaded(config, {key: layers.origins.get(key, DEFAULT) for key, _ in _leaves(config)}, path)


def explain(loaded: Loaded) -> list[tuple[str, str, str]]:
    """Every key with its value and its origin, in the order of the models; passwords are masked."""
    return [(key, _shown(value), loaded.origins[key]) for key, value in _leaves(loaded.config)]


def _leaves(model: BaseModel, prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in model:
        key = join(prefix, name)
        if isinstance(value, BaseModel):
            yield from _leaves(value, key)
        elif isinstance(value, tuple) and value and all(isinstance(item, BaseModel) for item in value):
            for index, item in enumerate(value):
                yield from _leaves(item, f"{key}[{index}]")
        else:
            yield key, value


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, SecretStr):
        text = value.get_secret_value()
        return redact_dsn(text) if "://" in text else MASK
    if isinstance(value, tuple):
        return ", ".join(_shown(item) for item in value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _lay_file(layers: _Layers, path: Path) -> None:
    text, problem = _read(path)
    if problem is None:
        given, problem = _parse(text, path)
    if problem is not None:
        raise ConfigError(report([problem]))
    lines = lines_of_keys(text)
    layers.lay(given, lambda key: f"{path}:{lines[key]}" if key in lines else str(path))


def _read(path: Path) -> tuple[str, Problem | None]:
    try:
        return path.read_text(encoding="utf-8-sig"), None
    except FileNotFoundError:
        return "", Problem(str(path), "", "no such file", f"copy the example: cp ingest.example.toml {path}")
    except UnicodeDecodeError as error:
        return "", Problem(str(path), "", f"is not UTF-8 (byte {error.start})", "save it as UTF-8")
    except OSError as error:
        return "", Problem(str(path), "", f"cannot be read: {error.strerror}", "check the path and its permissions")


def _parse(text: str, path: Path) -> tuple[dict[str, Any], Problem | None]:
    try:
        return tomllib.loads(text), None
    except tomllib.TOMLDecodeError as error:
        what, _, place = str(error).rpartition(" (at ")
        line = re.match(r"line (\d+)", place)
        where = f"{path}:{line[1] if line else max(1, len(text.splitlines()))}"
        reading = f"not valid TOML: {(what or str(error))[:1].lower()}{(what or str(error))[1:]}"
        return {}, Problem(where, "", reading, "text stands in double quotes, a list in [ ], and a key once a table")


def _lay_secret_files(layers: _Layers, environ: Mapping[str, str]) -> list[Problem]:
    problems: list[Problem] = []
    for file in (*secret_files.credentials(environ), *secret_files.named_by_variables(environ)):
        text, problem = secret_files.read(file)
        if problem is None:
            layers.lay(_nested(file.key, text), lambda _, origin=file.origin: origin)  # type: ignore[misc]
        else:
            problems.append(problem)
    return problems


def _lay_environment(layers: _Layers, environ: Mapping[str, str]) -> list[Problem]:
    problems: list[Problem] = []
    source = EnvSettingsSource(_Environment, env_prefix=ENVIRONMENT_PREFIX, env_nested_delimiter="__")
    files = {file.origin for file in secret_files.named_by_variables(environ)}
    given = {
        name: text
        for name, text in environ.items()
        if name.upper().startswith(ENVIRONMENT_PREFIX) and text and f"environment {name}" not in files
    }
    if environ.get("DATABASE_URL"):
        layers.lay({"database": {"url": environ["DATABASE_URL"]}}, lambda _: "environment DATABASE_URL")
    for name in sorted(given, key=lambda name: (name.count("__"), name)):
        if name in OTHER_VARIABLES:
            continue
        source.env_vars = {name.lower(): given[name]}
        try:
            values = source()
        except (SettingsError, ValueError):
            values = None
        if values is None:
            problems.append(Problem(f"environment {name}", "", "is not valid JSON", "write a JSON list or object"))
        elif values:
            layers.lay(values, lambda _, name=name: f"environment {name}")  # type: ignore[misc]
        else:
            problems.append(unknown_variable(name))
    return problems


def _as_toml(value: object) -> object:
    """A flag's value in the shapes that a file gives: models become tables, tuples lists."""
    if isinstance(value, BaseModel):
        return {name: _as_toml(getattr(value, name)) for name in value.model_fields_set}
    return [_as_toml(item) for item in value] if isinstance(value, list | tuple) else value


def _nested(dotted: str, value: object) -> dict[str, Any]:
    name, _, rest = dotted.partition(".")
    return {name: _nested(rest, value) if rest else value}


def _unknown_exchanges(
    values: Mapping[str, Any], origins: Mapping[str, str], known: Collection[str]
) -> Iterator[Problem]:
    tables = values.get("exchanges")
    for blocks in ("collect", "backfill"):
        found = values.get(blocks)
        for index, block in enumerate(found if isinstance(found, list) else ()):
            name = block.get("exchange") if isinstance(block, dict) else None
            if isinstance(name, str) and name not in known:
                key = f"{blocks}[{index}].exchange"
                yield unknown_exchange(origins.get(key, ""), key, name, known)
    for name in tables if isinstance(tables, dict) else ():
        if name not in known:
            key = f"exchanges.{name}"
            yield unknown_exchange(origins.get(key, ""), key, name, known)
