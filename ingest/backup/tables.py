"""A backup table by table: COPY text out of one snapshot, and into a schema that was migrated, in one transaction."""

from collections.abc import Callable

import psycopg
from psycopg import Connection, sql

from ingest.backup import facts
from ingest.backup.archive import Part, Reader, Writer
from ingest.backup.facts import Source
from ingest.errors import ConfigError
from ingest.store.sqlfiles import query

Report = Callable[[str], None]


def write(connection: Connection, writer: Writer, sources: list[Source], report: Report) -> dict[str, int]:
    """Each table's rows as a part; returns how many. The caller holds the snapshot."""
    rows = {}
    for source in sources:
        columns = sql.SQL(", ").join(map(sql.Identifier, source.columns))
        select = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT").format(columns, source.identifier)
        with (
            writer.part(f"tables/{source.name}.copy", table=source.name, columns=source.columns) as sink,
            connection.cursor() as cursor,
            cursor.copy(select) as copy,
        ):
            for block in copy:
                sink.write(block)
        rows[source.name] = sink.lines
        report(f"{source.name}: {sink.lines:,} rows")
    return rows


def read(connection: Connection, reader: Reader, report: Report) -> dict[str, int]:
    """Every part into its table, all or nothing; returns the rows that the tables then have.

    Raises ConfigError for a table or a column that this schema does not have.
    """
    sources = {source.name: source for source in facts.tables(connection)}
    for part in reader.manifest.parts:
        _refuse_unknown(part, sources)
    with connection.transaction():
        for source in reversed(sources.values()):  # what the migrations put in, those that refer to others first
            if not source.is_aggregate:
                connection.execute(sql.SQL("DELETE FROM {}").format(source.identifier))
        for part in reader.manifest.parts:
            _copy(connection, reader, part, sources[part.table])
            report(f"{part.table}: {reader.manifest.rows[part.table]:,} rows")
        for table, column, sequence in connection.execute(query("backup_identities")).fetchall():
            _continue(connection, table, column, sequence)
        counted = facts.count(connection, [sources[part.table] for part in reader.manifest.parts])
    _analyze(connection, list(sources.values()))
    return counted


def _refuse_unknown(part: Part, sources: dict[str, Source]) -> None:
    source = sources.get(part.table)
    unknown = () if source is None else set(part.columns) - set(source.columns)
    if source is None or unknown:
        what = f"columns {', '.join(sorted(unknown))} of table {part.table}" if unknown else f"table {part.table}"
        raise ConfigError(f"the backup holds {what}, which this version's schema does not have")


def _copy(connection: Connection, reader: Reader, part: Part, source: Source) -> None:
    columns = sql.SQL(", ").join(map(sql.Identifier, part.columns))
    into = sql.SQL("COPY {} ({}) FROM STDIN").format(source.identifier, columns)
    with connection.cursor() as cursor, cursor.copy(into) as copy:
        for block in reader.blocks(part):
            copy.write(block)


def _continue(connection: Connection, table: str, column: str, sequence: str) -> None:
    """Let a column number on behind what was restored."""
    names = sql.Identifier(column), sql.Identifier("ingest", table)
    last = sql.SQL("SELECT max({}) FROM {}").format(*names)
    connection.execute(sql.SQL("SELECT setval({}, number) FROM ({}) m (number)").format(sql.Literal(sequence), last))


def _analyze(connection: Connection, sources: list[Source]) -> None:
    for source in sources:
        try:
            connection.execute(sql.SQL("ANALYZE {}").format(source.identifier))
        except psycopg.errors.InsufficientPrivilege:
            return  # autovacuum will
