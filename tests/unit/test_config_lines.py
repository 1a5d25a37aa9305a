"""The line of each key, against texts whose lines are known."""

import pytest

from ingest.config.lines import lines_of_keys

TEXT = '''# a comment
top = 1

[database]  # [not.a.header]
url = "a # b = c"
[[collect]]
exchange = "x"
symbols = [
  "A/B",  # ] in a comment
  "C/D",
]
channels = ["trades"]
[[collect]]
exchange = """
[[collect]]
exchange = "inside"
"""
[exchanges.binance]
proxy = "p"
dotted.inner = 1
[exchanges]
"quoted name" = { a = 1, b = [ { c = 2 } ] }
'''

LINES = {
    "top": 2,
    "database": 4,
    "database.url": 5,
    "collect[0]": 6,
    "collect[0].exchange": 7,
    "collect[0].symbols": 8,
    "collect[0].channels": 12,
    "collect[1]": 13,
    "collect[1].exchange": 14,
    "exchanges.binance": 18,
    "exchanges.binance.proxy": 19,
    "exchanges.binance.dotted": 20,
    "exchanges.binance.dotted.inner": 20,
    "exchanges": 21,
    "exchanges.quoted name": 22,
    "exchanges.quoted name.a": 22,
    "exchanges.quoted name.b": 22,
    "exchanges.quoted name.b[0]": 22,
    "exchanges.quoted name.b[0].c": 22,
}


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_lines(newline: str) -> None:
    assert lines_of_keys(TEXT.replace("\n", newline)) == LINES


def test_a_table_of_a_repeated_block() -> None:
    text = "[[a]]\n[a.b]\nx = 1\n[[a]]\n[[a.c]]\n[[a.c]]\ny = 2\n"
    assert lines_of_keys(text) == {
        "a[0]": 1,
        "a[0].b": 2,
        "a[0].b.x": 3,
        "a[1]": 4,
        "a[1].c[0]": 5,
        "a[1].c[1]": 6,
        "a[1].c[1].y": 7,
    }
