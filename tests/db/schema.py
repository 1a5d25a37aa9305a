"""The schema as text: what the migrations and definitions of `sql/` make, the same on every server and edition.

`python -m tests.db.schema` writes `schema.txt` anew; a test compares it, so that a review sees what a change to
`sql/` does to the database.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, LiteralString

import psycopg

FILE = Path(__file__).with_name("schema.txt")

# Tables under Apache, continuous aggregates under Community: names, columns and types are what both share.
_ROLLUPS: LiteralString = """
SELECT format('ingest.%I', table_name)::regclass::oid FROM ingest.policies WHERE source IS NOT NULL
"""
_SCHEMAS: LiteralString = """
SELECT nspname, obj_description(oid, 'pg_namespace') FROM pg_namespace
WHERE nspname IN ('ingest', 'market') ORDER BY nspname
"""
_RELATIONS: LiteralString = """
SELECT c.oid, c.oid::regclass::text,
       CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' ELSE 'table' END,
       c.reloptions, obj_description(c.oid, 'pg_class'),
       CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END
FROM pg_class c
WHERE c.relnamespace IN ('ingest'::regnamespace, 'market'::regnamespace) AND c.relkind IN ('r', 'p', 'v', 'm')
ORDER BY 3, c.oid::regclass::text COLLATE "C"
"""
_COLUMNS: LiteralString = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity <> '',
       pg_get_expr(d.adbin, d.adrelid), col_description(a.attrelid, a.attnum)
FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
# PostgreSQL 18 lists NOT NULL among the constraints; here it stands with its column.
_CONSTRAINTS: LiteralString = """
SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %s AND contype <> 'n'
ORDER BY conname COLLATE "C"
"""
_INDEXES: LiteralString = """
SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = %s ORDER BY 1
"""
# TimescaleDB before 2.20 guards each hypertable with a trigger of its own.
_TRIGGERS: LiteralString = """
SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = %s AND NOT tgisinternal AND tgname <> 'ts_insert_blocker'
ORDER BY 1
"""
_DIMENSIONS: LiteralString = """
SELECT column_name::text, time_interval FROM timescaledb_information.dimensions
WHERE format('%%I.%%I', hypertable_schema, hypertable_name)::regclass = %s ORDER BY dimension_number
"""
_TYPES: LiteralString = """
SELECT t.oid::regtype::text, obj_description(t.oid, 'pg_type'),
       (SELECT array_agg(enumlabel::text ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = t.oid)
FROM pg_type t
WHERE t.typnamespace IN ('ingest'::regnamespace, 'market'::regnamespace) AND t.typtype IN ('e', 'd') ORDER BY 1
"""
# An extension's own do not count, wherever it was put.
_FUNCTIONS: LiteralString = """
SELECT oid::regprocedure::text, obj_description(oid, 'pg_proc'), pg_get_functiondef(oid) FROM pg_proc p
WHERE pronamespace IN ('ingest'::regnamespace, 'market'::regnamespace) AND prokind IN ('f', 'p')
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
ORDER BY 1
"""


def listing(url: str) -> str:
    """Schemas, types, tables, views and functions of `ingest` and `market`, in a fixed order."""
    with psycopg.connect(url, options="-c search_path=pg_catalog -c timezone=UTC") as connection:
        return "\n".join(_lines(connection)) + "\n"


def _lines(connection: psycopg.Connection) -> Iterator[str]:
    def rows(statement: LiteralString, *parameters: Any) -> list[Any]:
        return connection.execute(statement, parameters or None).fetchall()

    for name, comment in rows(_SCHEMAS):
        yield f"schema {name}{_comment(comment)}"
    for name, comment, labels in rows(_TYPES):
        yield f"\ntype {name} ({', '.join(labels or ())}){_comment(comment)}"
    rollups = {oid for (oid,) in rows(_ROLLUPS)}
    relations = rows(_RELATIONS)
    for oid, name, _, _, comment, _ in sorted((r for r in relations if r[0] in rollups), key=lambda r: r[1]):
        yield f"\nrollup {name}{_comment(comment)}"
        for column, type_, _, _, _, remark in rows(_COLUMNS, oid):
            yield f"  {column} {type_}{_comment(remark)}"
    for oid, name, kind, options, comment, definition in relations:
        if oid in rollups:
            continue
        yield f"\n{kind} {name}{_comment(comment)}"
        for column, type_, not_null, identity, default, remark in rows(_COLUMNS, oid):
            words = [f"  {column} {type_}", *(["not null"] if not_null else []), *(["identity"] if identity else [])]
            yield " ".join(words) + (f" default {default}" if default else "") + _comment(remark)
        for dimension, interval in rows(_DIMENSIONS, oid):
            yield f"  hypertable by {dimension}, chunks of {interval}"
        for constraint, text in rows(_CONSTRAINTS, oid):
            yield f"  constraint {constraint} {text}"
        for statement in (_INDEXES, _TRIGGERS):
            for (text,) in rows(statement, oid):
                yield f"  {text}"
        if options:
            yield f"  with {', '.join(sorted(options))}"
        if definition:
            yield _indented(definition)
    for name, comment, definition in rows(_FUNCTIONS):
        yield f"\nfunction {name}{_comment(comment)}"
        yield _indented(definition)


def _comment(text: str | None) -> str:
    return f"  -- {text}" if text else ""


def _indented(text: str) -> str:
    return "\n".join(f"  {line}".rstrip() for line in text.strip().splitlines())


def _write() -> None:
    from tests.conftest import _server  # noqa: PLC0415 - only the command makes a server of its own

    with _server() as server, server.migrated() as url:
        FILE.write_text(listing(url))
        server.close()
    sys.stdout.write(f"wrote {FILE}\n")


if __name__ == "__main__":
    _write()
