"""What commands share: where the configuration is, and words of the command line."""

from pathlib import Path

import pytest

from ingest.cli.options import load, symbols_of
from ingest.errors import ConfigError


def test_an_empty_variable_is_as_good_as_an_unset_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INGEST_CONFIG", "")
    assert load(None).config.log.level == "info"
    Path("ingest.toml").write_text('[log]\nlevel = "debug"\n')
    assert load(None).config.log.level == "debug"
    Path("other.toml").write_text('[log]\nlevel = "error"\n')
    monkeypatch.setenv("INGEST_CONFIG", "other.toml")
    assert load(None).config.log.level == "error"


def test_symbols_are_held_to_what_the_configuration_takes() -> None:
    assert symbols_of(["BTC/USDT", "*/EUR", "BTC/USDT:USDT"]) == ["BTC/USDT", "*/EUR", "BTC/USDT:USDT"]
    with pytest.raises(ConfigError, match=r'^"btcusdt" is neither .*; did you mean BTC/USDT\?$'):
        symbols_of(["BTC/USDT", "btcusdt"])
