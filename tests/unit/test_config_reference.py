"""The example file and the reference say what the models say.

After a change of a model, `make reference` writes the table anew.
"""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from ingest.config.keys import REQUIRED, Key, keys, reference_table, shown_default
from ingest.config.model import DEFAULT_CHANNELS, Backfill, Config
from ingest.config.source import explain, load

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "ingest.example.toml"
REFERENCE = ROOT / "docs" / "reference" / "configuration.md"

KEYS = keys()
OPTIONAL = [key for key in KEYS if not key.name.startswith(("collect[]", "backfill[]"))]
SWITCHED_OFF = re.compile(r"^# (\[\[backfill\]\]|[a-z0-9_]+ = )", re.MULTILINE)


def test_the_example_loads_and_collects_every_channel_from_binance() -> None:
    loaded = load(EXAMPLE, environ={})
    assert [(block.exchange, block.channels) for block in loaded.config.collect] == [("binance", DEFAULT_CHANNELS)]
    assert len(loaded.config.collect[0].symbols) >= 3
    assert loaded.config == Config(collect=loaded.config.collect)
    assert {origin for key, _, origin in explain(loaded) if not key.startswith("collect")} == {"default"}


def _uncommented() -> dict[str, Any]:
    """The example with every optional key switched on."""
    return tomllib.loads(SWITCHED_OFF.sub(r"\1", EXAMPLE.read_text()))


def test_the_example_mentions_every_key_and_no_other() -> None:
    found = set()
    for table, inner in _uncommented().items():
        tables = inner if isinstance(inner, list) else [inner]
        prefix = f"{table}[]" if isinstance(inner, list) else table
        for keys_of_table in tables:
            for name, value in keys_of_table.items():
                nested = (
                    [f"{prefix}.{name}.{key}" for key in value] if isinstance(value, dict) else [f"{prefix}.{name}"]
                )
                found.update(nested)
    assert found == {key.name for key in KEYS}


@pytest.mark.parametrize("key", OPTIONAL, ids=lambda key: key.name)
def test_each_default_that_the_example_states_is_the_default(key: Key) -> None:
    value: Any = _uncommented()
    for name in key.name.split("."):
        value = value[name]
    stated = None if value == "" and key.default is None else value
    assert (stated, type(stated)) == (key.default, type(key.default))


def test_the_uncommented_example_is_the_configuration_of_defaults(tmp_path: Path) -> None:
    path = tmp_path / "all.toml"
    path.write_text(SWITCHED_OFF.sub(r"\1", EXAMPLE.read_text()))
    loaded = load(path, environ={})
    assert loaded.config == Config(collect=loaded.config.collect, backfill=loaded.config.backfill)
    assert loaded.config.backfill == (Backfill(exchange="binance", symbols=("BTC/USDT",), since="30 days"),)
    assert all(origin.startswith(f"{path}:") for _, _, origin in explain(loaded))


@pytest.mark.parametrize("key", OPTIONAL, ids=lambda key: key.name)
def test_the_range_in_the_example_is_the_models(key: Key) -> None:
    line = next(line for line in EXAMPLE.read_text().splitlines() if line.startswith(f"# {key.name.split('.')[-1]} ="))
    stated = re.search(r"[\d.]+ to [\d.]+", line)
    if stated:
        assert key.type.endswith(f" {stated[0]}")


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
def test_every_key_has_a_meaning_and_every_number_a_unit(key: Key) -> None:
    assert key.meaning.endswith(".")
    assert "number" not in key.type or key.unit


def test_the_reference_holds_the_table_of_the_models() -> None:
    assert reference_table() in REFERENCE.read_text()


def test_defaults_are_shown_as_toml() -> None:
    defaults = {key.name: shown_default(key.default) for key in KEYS if key.default not in (None, REQUIRED)}
    assert {name: tomllib.loads(f"x = {text}")["x"] for name, text in defaults.items()} == {
        key.name: list(key.default) if isinstance(key.default, tuple) else key.default
        for key in KEYS
        if key.name in defaults
    }
