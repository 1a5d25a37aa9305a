"""docs/reference/schema.md out of a database: what `COMMENT ON` says of schemas, tables, views, columns and
functions, with
the figures of `ingest.policies`. The same on every edition.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, LiteralString

import psycopg

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "schema.md"

HEAD = """\
# Schema

Made by `make reference` from the comments in the database (`\\d+` in psql shows the same); a test holds it to
them and to
completeness. Prices are in quote currency and amounts in base currency (contracts for derivatives), all of
them `numeric`
with the exchange's own digits; times are `timestamptz`, in UTC. [The cookbook](cookbook.md) shows what to ask.
"""

_SCHEMAS: LiteralString = """
SELECT nspname::text, obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname IN ('ingest', 'market')
ORDER BY nspname DESC
"""
_RELATIONS: LiteralString = """
SELECT c.oid, c.relname::text, obj_description(c.oid, 'pg_class'),
       CASE WHEN p.source IS NOT NULL THEN 'rollup' WHEN c.relkind = 'v' THEN 'view' ELSE 'table' END,
       (SELECT string_agg(a.attname, ', ' ORDER BY k.place)
        FROM pg_index i CROSS JOIN unnest(i.indkey) WITH ORDINALITY AS k (attnum, place)
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
        WHERE i.indexrelid = (SELECT u.indexrelid FROM pg_index u
                              WHERE u.indrelid = c.oid AND u.indisunique AND u.indpred IS NULL AND u.indexprs IS NULL
                              ORDER BY u.indisprimary DESC, u.indexrelid LIMIT 1)),
       p.source, p.chunk_interval, p.compress_after, p.retention, p.bucket
FROM pg_class c
LEFT JOIN ingest.policies p ON c.relnamespace = 'ingest'::regnamespace AND p.table_name = c.relname
WHERE c.relnamespace::regnamespace::text = %s AND c.relkind IN ('r', 'v', 'm')
ORDER BY c.relname COLLATE "C"
"""
_COLUMNS: LiteralString = """
SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), col_description(a.attrelid, a.attnum)
FROM pg_attribute a WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
_FUNCTIONS: LiteralString = """
SELECT p.proname::text, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid), obj_description(p.oid,
'pg_proc')
FROM pg_proc p
WHERE p.pronamespace::regnamespace::text = %s
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
ORDER BY p.proname COLLATE "C", 2
"""
_KINDS = {"view": "Views", "table": "Tables", "rollup": "Rollups"}


def render(url: str) -> str:
    """The page."""
    with psycopg.connect(
        url, options="-c search_path=pg_catalog -c timezone=UTC -c intervalstyle=postgres"
    ) as connection:
        return HEAD + "\n".join(_lines(connection))


def silent(url: str) -> list[str]:
    """What has no comment."""
    with psycopg.connect(url, options="-c search_path=pg_catalog") as connection:
        found = []
        for schema, remark in _rows(connection, _SCHEMAS):
            found += [] if remark else [schema]
            for oid, name, comment, *_ in _rows(connection, _RELATIONS, schema):
                found += [] if comment else [f"{schema}.{name}"]
                found += [
                    f"{schema}.{name}.{column}" for column, _, says in _rows(connection, _COLUMNS, oid) if not says
                ]
            found += [
                f"{schema}.{name}({arguments})"
                for name, arguments, _, says in _rows(connection, _FUNCTIONS, schema)
                if not says
            ]
        return found


def _lines(connection: psycopg.Connection) -> Iterator[str]:
    for schema, remark in _rows(connection, _SCHEMAS):
        yield f"\n## Schema `{schema}`\n\n{remark}"
        relations = _rows(connection, _RELATIONS, schema)
        for kind, title in _KINDS.items():
            those = [relation for relation in relations if relation[3] == kind]
            if those:
                yield f"\n### {title} of `{schema}`"
            for oid, name, comment, _, found, *policy in those:
                key = "instrument_id, time" if kind == "rollup" else found  # an aggregate has no index of its own
                yield f"\n#### `{schema}.{name}`\n\n{comment}"
                facts = [*([f"Key: {key}."] if key else []), *_policy(*policy)]
                if facts:
                    yield "\n" + " ".join(facts)
                yield "\n| column | type | meaning |\n|---|---|---|"
                for column, type_, says in _rows(connection, _COLUMNS, oid):
                    yield f"| `{column}` | {_type(type_)} | {_cell(says)} |"
        functions = _rows(connection, _FUNCTIONS, schema)
        if functions:
            yield f"\n### Functions of `{schema}`"
        for name, arguments, result, comment in functions:
            signature = _signature(schema, name, arguments, result)
            yield f"\n#### `{schema}.{name}`\n\n{comment}\n\n```text\n{signature}\n```"
    yield ""


def _policy(source: str | None, chunk: Any, compress: Any, retention: Any, bucket: Any) -> Iterator[str]:
    """Intervals as whole days or hours, as a person says them."""
    if source:
        yield f"Rolled up from `{source}` by {_span(bucket)}."
    if chunk:
        yield f"Chunks of {_span(chunk)};" + (f" compressed after {_span(compress)} (Community);" if compress else "")
        yield f"kept for {_span(retention)}." if retention else "kept for ever."
    elif retention:
        yield f"Kept for {_span(retention)}."


def _span(value: Any) -> str:
    seconds = int(value.total_seconds())
    unit, length = next(
        (u, n) for u, n in (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)) if seconds % n == 0
    )
    count = seconds // length
    return f"{count} {unit}{'' if count == 1 else 's'}"


def _signature(schema: str, name: str, arguments: str, result: str) -> str:
    return f"{schema}.{name}({_type(arguments)})\n→ {_type(result)}"


def _type(text: str) -> str:
    return text.replace("timestamp with time zone", "timestamptz").replace("double precision", "float8")


def _cell(text: str | None) -> str:
    return (text or "").replace("|", "\\|")


def _rows(connection: psycopg.Connection, statement: LiteralString, *parameters: Any) -> list[Any]:
    return connection.execute(statement, parameters or None).fetchall()
