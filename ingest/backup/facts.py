"""What is known of a database before it is backed up or restored into, and the counts that show that it arrived."""

from graphlib import TopologicalSorter

from msgspec import Struct
from psycopg import Connection, sql

from ingest.store.sqlfiles import query


class Facts(Struct, frozen=True):
    """`timescaledb` is "" where the extension is not installed, `available` where the server has none."""

    postgres: int
    timescaledb: str
    edition: str
    is_superuser: bool
    is_migrated: bool
    available: str


class Source(Struct, frozen=True):
    """A table by the name that people know, and the relation with its rows: a continuous aggregate's is another."""

    name: str
    schema: str
    relation: str
    is_aggregate: bool
    columns: tuple[str, ...]

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.relation)


def look(connection: Connection) -> Facts:
    row = connection.execute(query("backup_facts")).fetchone()
    assert row is not None  # noqa: S101 - a SELECT without FROM
    postgres, timescaledb, edition, is_superuser, is_migrated, available = row
    return Facts(postgres, timescaledb or "", edition, bool(is_superuser), is_migrated, available or "")


def tables(connection: Connection) -> list[Source]:
    """Every table whose rows a backup holds, each after those that it refers to."""
    rows = connection.execute(query("backup_tables")).fetchall()
    sources = {row[0]: Source(row[0], row[1], row[2], row[3], tuple(row[4])) for row in rows}
    order = TopologicalSorter({row[0]: [name for name in row[5] if name in sources] for row in rows})
    return [sources[name] for name in order.static_order()]


def migrations(connection: Connection) -> tuple[str, ...]:
    statement = "SELECT name FROM ingest.migrations WHERE name !~ '/' ORDER BY name"
    return tuple(row[0] for row in connection.execute(statement).fetchall())


def count(connection: Connection, sources: list[Source]) -> dict[str, int]:
    """The rows of each table, in one statement each."""
    counts = {}
    for source in sources:
        row = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(source.identifier)).fetchone()
        counts[source.name] = int(row[0]) if row else 0
    return counts


def holds_data(connection: Connection) -> bool:
    row = connection.execute("SELECT EXISTS (SELECT FROM ingest.exchanges)").fetchone()
    return row is not None and bool(row[0])
