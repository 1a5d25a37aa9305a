"""Every question of `sql/analyst` on the known market, with its exact answer: docs/reference/cookbook.md holds both.

`make reference` writes the page anew; read what has changed in it before you commit it.
"""

import os
from pathlib import Path

import pytest

from ingest import analyst
from ingest.analyst import Question, questions
from tests.db import known_market

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "cookbook.md"
RANGE = {"from": "2026-03-02", "to": "2026-03-03"}
DEFAULT = {**RANGE, "at": "2026-03-02 00:00:25Z"}

ASKED: dict[str, dict[str, str]] = {
    "arbitrage": {"at": "2026-03-02 00:00:12Z"},
    "candle_check": {"to": "2026-03-02 00:05Z"},
    "candles_filled": {"from": "2026-03-02 00:28Z", "to": "2026-03-02 00:37Z"},
    "execution_benchmarks": {"to": "2026-03-02 00:04Z"},
    "missing": {"to": "2026-03-02 01:00Z"},
    "latest_prices": {"at": "2026-03-02 00:02Z"},
    "last_trades": {"count": "5"},
    "trade_against_book": {"count": "6"},
}
"""What is asked other than the range of the market's day; what a question does not take is left out."""

HEAD = """\
# Cookbook

Questions that people ask of the record, ready to run: the files of `sql/analyst/`. Made by `make reference`; a
test runs
each one on a small market of which every number is known (`tests/db/known_market.py`) and compares the answer
with this page.

    make sql                                    # list them
    make sql Q=vwap ARGS='--symbol ETH/USDT --from 2026-03-02 --to 2026-03-03 --set interval="15 minutes"'
    ingest sql vwap --json                      # a row a line, for programs
    ingest export vwap vwap.parquet             # into a file; .csv, too
    psql -v exchange=binance -v symbol=BTC/USDT -v interval='1 hour' -v from=yesterday -v to=now -f sql/analyst/vwap.sql

Parameters stand in a file as psql variables (`:'symbol'`), and a line `-- :symbol = BTC/USDT` declares each
with its default.
Times are UTC: a date, a time, or one of PostgreSQL's words `now`, `today`, `yesterday`, `tomorrow`,
`infinity`; `from` belongs to a
range, `to` does not. To ask a question of your own, put a file of the same form anywhere: `ingest sql mine.sql`.

Write queries in the same way: a function of `market` where there is one, else `instrument_id = (SELECT
market.instrument_id(exchange, symbol))`, which is what the tables are ordered by, and a range of time as
constants, which
lets the planner leave chunks out. [The schema's reference](schema.md) lists every view, column and function.
"""


def values(question: Question) -> dict[str, str]:
    return {
        name: value
        for name, value in {**DEFAULT, **ASKED.get(question.name, {})}.items()
        if name in question.parameters
    }


def answer(url: str, question: Question) -> str:
    """Columns and rows as text."""
    with analyst.connect(url) as connection:
        cursor = connection.execute(question.filled(values(question)))
        lines = [[column.name for column in cursor.description or ()]]
        lines += [[analyst.shown(value) for value in row] for row in cursor]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(text.rjust(w) for text, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def section(question: Question, text: str) -> str:
    given = values(question)
    takes = ", ".join(f"`{name}` = {default}" for name, default in question.parameters.items())
    asked = f"With {', '.join(f'`{name}` = {value}' for name, value in given.items())}:" if given else "The answer:"
    parts = [f"## {question.name}", question.answers, *([f"Parameters: {takes}."] if takes else [])]
    parts += [f"```sql\n{question.statement}\n```", asked, f"```text\n{text}\n```"]
    return "\n\n".join(parts) + "\n"


def sections(page: str) -> dict[str, str]:
    """The page's parts, by heading; the head is ''."""
    head, *rest = page.split("\n## ")
    return {"": head, **{part.partition("\n")[0]: part for part in rest}}


@pytest.fixture
def market(database_url: str) -> str:
    known_market.load(database_url)
    known_market.load_derivatives(database_url)
    return database_url


def test_every_answer_is_the_one_on_record(market: str) -> None:
    page = "\n".join([HEAD, *(section(question, answer(market, question)) for question in questions().values())])
    if os.environ.get("UPDATE_REFERENCE"):
        PAGE.write_text(page)
    made, recorded = sections(page), sections(PAGE.read_text())
    assert list(made) == list(recorded)
    for name, part in made.items():
        assert part == recorded[name]


def test_there_are_enough_and_each_has_an_answer(market: str) -> None:
    assert len(questions()) >= 20
    assert [question.name for question in questions().values() if "\n" not in answer(market, question)] == []


@pytest.mark.parametrize("question", questions().values(), ids=lambda question: question.name)
def test_a_question_says_what_it_answers_and_declares_what_it_takes(question: Question) -> None:
    assert question.answers.endswith((".", "?"))
    assert question.variables == set(question.parameters)
    assert all(question.parameters.values())
    assert ";" not in question.statement


@pytest.mark.parametrize("question", questions().values(), ids=lambda question: question.name)
def test_a_question_runs_with_its_defaults(market: str, question: Question) -> None:
    with analyst.connect(market) as connection:
        connection.execute(question.filled({}))


def test_no_question_has_the_name_of_a_view(market: str) -> None:
    """`ingest export` takes either."""
    with analyst.connect(market) as connection:
        views = {
            row[0] for row in connection.execute("SELECT viewname::text FROM pg_views WHERE schemaname = 'market'")
        }
    assert views & questions().keys() == set()


def test_only_analysts_parts_are_read() -> None:
    assert [question.name for question in questions().values() if "ingest." in question.statement] == []
