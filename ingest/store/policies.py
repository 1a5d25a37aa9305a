"""How long rows are kept, when they are compressed, what is rolled up from what: the figures of `ingest.policies`.

The migration states defaults, the configuration's keys take their place where they are set, and the files of
`sql/policies/` make the server do it: under TimescaleDB Community by its own jobs, under Apache maintenance does.
"""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct, structs
from psycopg import Connection

from ingest.config.fields import FOREVER, NEVER
from ingest.config.model import Config
from ingest.errors import ConfigError, Fatal
from ingest.store.sqlfiles import SqlFile, query, read_folder

Edition = Literal["community", "apache"]

_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)

_COARSE = ("candles_5m", "candles_15m", "candles_30m", "candles_1h", "candles_4h")
_ROLLUPS = ("trade_candles_1m", "book_1m", *_COARSE, "candles_1d", "candles_1w")
RETENTION: Mapping[str, tuple[str, ...]] = {
    "order_books": ("order_books",),
    "trades": ("trades",),
    "quotes": ("quotes",),
    "funding_rates": ("funding_rates",),
    "open_interest": ("open_interest",),
    "mark_prices": ("mark_prices",),
    "liquidations": ("liquidations",),
    "candles_1m": ("candles_1m", "trade_candles_1m"),
    "book_1m": ("book_1m",),
    "candles": _COARSE,
    "candles_1d": ("candles_1d",),
    "candles_1w": ("candles_1w",),
    "candles_coarse": ("candles_coarse",),
    "logs": ("logs",),
    "rejected": ("rejected",),
    "backfill_jobs": ("backfill_jobs",),
    "gaps": ("gaps",),
}
"""The keys of `[retention]`, and the tables that each is about."""
COMPRESSION: Mapping[str, tuple[str, ...]] = {
    "order_books": ("order_books",),
    "trades": ("trades",),
    "quotes": ("quotes",),
    "derivatives": ("funding_rates", "open_interest", "mark_prices", "liquidations"),
    "candles_1m": ("candles_1m",),
    "rollups": (*_ROLLUPS, "candles_coarse"),
}


class Policy(Struct, frozen=True):
    """One table's figures. None: never, for ever, or not for this table; `source` is None where it is no rollup."""

    table: str
    source: str | None = None
    bucket: timedelta | None = None
    chunk_interval: timedelta | None = None
    compress_after: timedelta | None = None
    retention: timedelta | None = None
    late_after: timedelta | None = None
    refresh_start: timedelta | None = None
    refresh_every: timedelta | None = None


class Misfit(Struct, frozen=True):
    """Figures that do not go together: the configuration's keys that state them, and the matter with its remedy."""

    keys: tuple[str, ...]
    text: str


Policies = dict[str, Policy]
"""By table; rollups stand behind their sources, finest first."""


def edition(connection: Connection) -> Edition:
    """Which TimescaleDB this is; Apache also where nothing says so."""
    row = connection.execute("SELECT current_setting('timescaledb.license', true)").fetchone()
    return edition_of(row)


def edition_of(row: tuple[Any, ...] | None) -> Edition:
    return "community" if row is not None and row[0] == "timescale" else "apache"


def read(connection: Connection) -> Policies:
    return by_table(connection.execute(query("read_policies")).fetchall())


def by_table(rows: Iterable[tuple[Any, ...]]) -> Policies:
    """From the rows of `read_policies`."""
    return {row[0]: Policy(*row) for row in rows}


def override(policies: Policies, config: Config) -> Policies:
    """With the figures that the configuration states. What it leaves out stays as it is, so that to migrate without
    one's file shortens no retention.
    """
    changed = dict(policies)

    def put(tables: Iterable[str], **figures: timedelta | None) -> None:
        for table in tables:
            changed[table] = structs.replace(changed[table], **figures)

    for key in config.retention.model_fields_set:
        put(RETENTION[key], retention=_days(getattr(config.retention, key)))
    for key in config.compression.model_fields_set:
        put(COMPRESSION[key], compress_after=_days(getattr(config.compression, key)))
    if "refresh_seconds" in config.rollups.model_fields_set:
        rollups = [name for name, policy in policies.items() if policy.source]
        put(rollups, refresh_every=timedelta(seconds=config.rollups.refresh_seconds))
    if "late_hours" in config.rollups.model_fields_set:
        late = timedelta(hours=config.rollups.late_hours)
        put([name for name, policy in policies.items() if policy.late_after], late_after=late)
        for name, policy in policies.items():
            if policy.bucket:
                put([name], refresh_start=late + max(2 * policy.bucket, _HOUR))
    return changed


def check(policies: Policies) -> None:
    """Raises ConfigError, naming every figure that would lose rows, with key and remedy."""
    problems = misfits(policies)
    if problems:
        lines = (f"- {problem.text}" for problem in problems)
        raise ConfigError("\n".join(["these figures do not fit together:", *lines]))


def misfits(policies: Policies) -> list[Misfit]:
    """The figures that would lose rows: those for which `check` raises."""
    return [problem for policy in policies.values() for problem in _problems(policies, policy)]


def never_compressed(policies: Policies) -> list[Misfit]:
    """The tables whose rows are gone before they are compressed: no row is lost, but the disk saves nothing."""
    found = []
    for name, policy in policies.items():
        if policy.compress_after and policy.retention and policy.compress_after >= policy.retention:
            compression, retention = _key(COMPRESSION, "compression", name), _key(RETENTION, "retention", name)
            text = (
                f"{name} is never compressed: that comes after {shown(policy.compress_after)} ({compression}), but it "
                f'is kept for {shown(policy.retention)} only ({retention}). Lower the first, or write "never".'
            )
            found.append(Misfit((compression, retention), text))
    return found


def _problems(policies: Policies, policy: Policy) -> Iterable[Misfit]:
    name, start = policy.table, policy.refresh_start
    compression, late_hours = _key(COMPRESSION, "compression", name), "rollups.late_hours"
    if policy.late_after and policy.compress_after and policy.compress_after < policy.late_after:
        text = (
            f"{name} is compressed after {shown(policy.compress_after)} ({compression}), "
            f"but rows may come {shown(policy.late_after)} late ({late_hours}). Raise the one to "
            f"{_whole_days(policy.late_after)} days or lower the other to {_hours(policy.compress_after)} hours."
        )
        yield Misfit((compression, late_hours), text)
    if policy.source is None or start is None or policy.bucket is None:
        return
    for kept, whose in ((policies[policy.source], f"its source {policy.source}"), (policy, "it")):
        if kept.retention and kept.retention < start:
            retention = _key(RETENTION, "retention", kept.table)
            text = (
                f"{name} is refreshed from {shown(start)} before now on ({late_hours} and two buckets), but "
                f"{whose} is kept for {shown(kept.retention)} only ({retention}): "
                f"rows would be lost. Raise it to {_whole_days(start)} days at least{_lower(policy, kept.retention)}."
            )
            yield Misfit((retention, late_hours), text)
    if policy.compress_after and policy.compress_after <= start:
        text = (
            f"{name} is compressed after {shown(policy.compress_after)} ({compression}), "
            f"but refreshed from {shown(start)} before now on ({late_hours} and two buckets). Raise the one to "
            f"{_whole_days(start + _HOUR)} days at least{_lower(policy, policy.compress_after - _HOUR)}."
        )
        yield Misfit((compression, late_hours), text)
    late = _base(policies, policy).late_after
    if late and start < late + 2 * policy.bucket:
        text = (
            f"{name} is refreshed from {shown(start)} before now on, but rows may come {shown(late)} late "
            f"({late_hours}): set its refresh_start in ingest.policies to {shown(late + 2 * policy.bucket)} at least."
        )
        yield Misfit((late_hours,), text)


def _lower(policy: Policy, limit: timedelta) -> str:
    """The other remedy, where there is one."""
    assert policy.bucket is not None  # noqa: S101 - only rollups are asked about
    hours = _hours(limit - max(2 * policy.bucket, _HOUR))
    return f", or lower rollups.late_hours to {hours}" if hours >= 1 else ""


def _base(policies: Policies, policy: Policy) -> Policy:
    """The table that a rollup in the end is made from."""
    while policy.source is not None:
        policy = policies[policy.source]
    return policy


def _key(keys: Mapping[str, tuple[str, ...]], table: str, name: str) -> str:
    return next((f"{table}.{key}" for key, tables in keys.items() if name in tables), f"ingest.policies, {name}")


def changes(before: Policies, wanted: Policies) -> list[str]:
    """Which figures differ, in words."""
    said = []
    for name, policy in wanted.items():
        old, new = structs.asdict(before[name]), structs.asdict(policy)
        said += [
            f"{name}: {field} {shown(old[field])} -> {shown(new[field])}" for field in new if new[field] != old[field]
        ]
    return said


def apply(connection: Connection, before: Policies, wanted: Policies) -> list[str]:
    """Write the figures that differ; return them in words."""
    for name, policy in wanted.items():
        if policy != before[name]:
            figures = structs.asdict(policy)
            connection.execute(query("write_policy"), {"table_name": name, **figures})
    return changes(before, wanted)


def files(folder: Path, which: Edition, applied: Mapping[str, str], policies: Policies) -> list[SqlFile]:
    """The files of `sql/policies/` that must be applied, the steps first, because text or figures have changed.

    Raises Fatal where the database was made under the other edition.
    """
    other = "apache" if which == "community" else "community"
    if any(name.startswith(f"policies/{other}/") for name in applied):
        raise Fatal(
            f"this server runs TimescaleDB's {which} edition, but the database was made under the {other} edition, "
            "whose rollups are made in another way. Use a server of that edition, or a new database."
        )
    found = read_folder(folder / which)
    if not found:
        return []
    steps, *rest = found
    due = []
    for file in rest:
        figures = repr(policies.get(_table(file)))
        digest = hashlib.sha256(f"{steps.sha256} {file.sha256} {figures}".encode()).hexdigest()
        if applied.get(f"policies/{which}/{file.name}") != digest:
            due.append(structs.replace(file, sha256=digest))
    return [steps, *due] if due else []


def tables(folder: Path) -> list[str]:
    """The tables with a policy: names in schema `ingest` that no definition may take."""
    return [_table(file) for file in read_folder(folder / "community")[1:]]


def _table(file: SqlFile) -> str:
    return file.name.partition("_")[2].removesuffix(".sql")


def shown(figure: timedelta | None) -> str:
    """`30 days`, `25 hours`, `4 days and 4 hours`, `never`."""
    if figure is None:
        return "never"
    if 2 * _DAY < figure and figure % _DAY:
        return f"{_counted(figure // _DAY, 'day')} and {shown(figure % _DAY)}"
    for unit, name in ((_DAY, "day"), (_HOUR, "hour"), (timedelta(minutes=1), "minute")):
        if figure >= unit and not figure % unit:
            return _counted(figure // unit, name)
    return f"{figure.total_seconds():g} seconds"


def _counted(count: int, name: str) -> str:
    return f"{count} {name}{'' if count == 1 else 's'}"


def _days(value: int | str) -> timedelta | None:
    return None if isinstance(value, str) and value in (FOREVER, NEVER) else timedelta(days=int(value))


def _whole_days(figure: timedelta) -> int:
    return -(-figure // _DAY)


def _hours(figure: timedelta) -> int:
    return figure // _HOUR
