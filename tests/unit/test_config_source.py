"""Where values come from, and how everything that is wrong is told."""

# ruff: noqa: E501  messages stand whole, as the user reads them

import traceback
from collections.abc import Mapping
from pathlib import Path

import pytest

from ingest.config.model import Collect
from ingest.config.source import Loaded, explain, load
from ingest.errors import ConfigError, Exit

SECRET = "pl4nted"
BLOCK = '[[collect]]\nexchange = "binance"\nsymbols = ["BTC/USDT"]\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ingest.toml"


def refused(
    file: Path | None, environ: Mapping[str, str] | None = None, overrides: Mapping[str, object] | None = None
) -> str:
    """The message, with the file's folder left out; fails where anything of the error holds the secret."""
    with pytest.raises(ConfigError) as caught:
        load(file, environ=environ or {}, overrides=overrides)
    assert caught.value.exit_code is Exit.USAGE
    assert caught.value.__context__ is None
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    message = str(caught.value)
    return message.replace(f"{file.parent}/", "") if file else message


def wrong(file: Path, line: str) -> str:
    """The refusal of one line, which is the second of a file."""
    file.write_text(f"\n{line}\n")
    return refused(file).removeprefix("the configuration is refused: ingest.toml:2: ")


def test_without_any_source_there_are_the_defaults() -> None:
    loaded = load(None, environ={})
    assert loaded.config.collect == ()
    assert {origin for _, _, origin in explain(loaded)} == {"default"}


def test_flags_win_over_the_environment_and_that_over_the_file(file: Path) -> None:
    file.write_text('[book]\ndepth = 1\ncadence_seconds = 2\n[log]\nlevel = "error"\n[candles]\nwarmup = 3\n')
    environ = {"INGEST_BOOK__CADENCE_SECONDS": "4", "INGEST_LOG__LEVEL": "warning", "PATH": "/bin"}
    loaded = load(file, environ=environ, overrides={"log.level": "debug", "log.format": None, "book.depth": 7})
    assert (loaded.config.book.depth, loaded.config.book.cadence_seconds) == (7, 4.0)
    assert (loaded.config.log.level, loaded.config.log.format, loaded.config.candles.warmup) == ("debug", "auto", 3)
    given = {key: origin for key, origin in loaded.origins.items() if origin != "default"}
    assert given == {
        "book.depth": "flag --book-depth",
        "book.cadence_seconds": "environment INGEST_BOOK__CADENCE_SECONDS",
        "candles.warmup": f"{file}:7",
        "log.level": "flag --log-level",
    }


def test_a_list_is_replaced_whole(file: Path) -> None:
    file.write_text(f"{BLOCK}channels = ['book']\n{BLOCK.replace('BTC', 'ETH')}")
    assert load(file, environ={}).origins["collect[1].symbols"] == f"{file}:7"
    blocks = '[{"exchange": "binance", "symbols": ["*/EUR"]}]'
    loaded = load(file, environ={"INGEST_COLLECT": blocks})
    assert loaded.config.collect == (Collect(exchange="binance", symbols=("*/EUR",)),)
    assert {key: origin for key, origin in loaded.origins.items() if key.startswith("collect")} == {
        "collect[0].exchange": "environment INGEST_COLLECT",
        "collect[0].symbols": "environment INGEST_COLLECT",
        "collect[0].channels": "default",
    }


@pytest.mark.parametrize(
    ("environ", "url", "origin"),
    [
        ({"DATABASE_URL": "postgresql://env/d"}, "postgresql://env/d", "environment DATABASE_URL"),
        (
            {"DATABASE_URL": "postgresql://env/d", "INGEST_DATABASE__URL": "postgresql://own/d"},
            "postgresql://own/d",
            "environment INGEST_DATABASE__URL",
        ),
        ({"DATABASE_URL": "", "INGEST_DATABASE__URL": ""}, "postgresql://file/d", "ingest.toml:2"),
    ],
)
def test_the_database_url(file: Path, environ: dict[str, str], url: str, origin: str) -> None:
    file.write_text('[database]\nurl = "postgresql://file/d"\n')
    loaded = load(file, environ=environ)
    assert loaded.config.database.url is not None
    assert loaded.config.database.url.get_secret_value() == url
    assert loaded.origins["database.url"].removeprefix(f"{file.parent}/") == origin


def test_nested_environment_reaches_an_exchange() -> None:
    loaded = load(None, environ={"INGEST_EXCHANGES__BINANCE__TRADE_STREAM": "aggTrade", "INGEST_CONFIG": "x.toml"})
    assert loaded.config.exchanges.binance.trade_stream == "aggTrade"
    assert loaded.origins["exchanges.binance.trade_stream"] == "environment INGEST_EXCHANGES__BINANCE__TRADE_STREAM"


def test_days_and_the_word_come_through_the_environment() -> None:
    environ = {"INGEST_RETENTION__TRADES": "7", "INGEST_RETENTION__CANDLES_1M": "forever"}
    loaded = load(None, environ=environ)
    assert (loaded.config.retention.trades, loaded.config.retention.candles_1m) == (7, "forever")
    assert ("retention.candles_1m", "forever", "environment INGEST_RETENTION__CANDLES_1M") in explain(loaded)


def test_what_is_shown_hides_passwords(file: Path) -> None:
    file.write_text(f'{BLOCK}[exchanges.binance]\nproxy = "http://u:{SECRET}@p:1"\n')
    loaded = load(file, environ={"DATABASE_URL": f"postgresql://ingest:{SECRET}@host/db"})
    shown = explain(loaded)
    assert ("database.url", "postgresql://ingest:***@host/db", "environment DATABASE_URL") in shown
    assert ("exchanges.binance.proxy", "http://u:***@p:1", f"{file}:5") in shown
    assert ("collect[0].channels", "trades, candles, book", "default") in shown
    assert ("candles.include_open", "false", "default") in shown
    assert [key for key, _, _ in shown] == list(loaded.origins)
    for text in (repr(shown), repr(loaded), str(loaded)):
        assert SECRET not in text


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("databse = 1", 'databse: unknown key; did you mean "database"?'),
        ("[book]\ndept = 1", 'ingest.toml:3: book.dept: unknown key; did you mean "depth"?'),
        ("[database]\nconnect_timeout = 1", 'ingest.toml:3: database.connect_timeout: unknown key; did you mean "connect_timeout_seconds"?'),
        ("[candles]\ndepth = 1", "ingest.toml:3: candles.depth: unknown key here; it belongs to book.depth"),
        ("[log]\nzzz = 1", "ingest.toml:3: log.zzz: unknown key; remove it; known here: database, format, level"),
        ("book.depth = 0", "book.depth: 0 is outside 1 to 1000 levels; the default is 20"),
        ("book.cadence_seconds = 61", "book.cadence_seconds: 61 is outside 0.1 to 60 seconds; the default is 1.0"),
        ("book.cadence_seconds = nan", "book.cadence_seconds: nan is outside 0.1 to 60 seconds; the default is 1.0"),
        ('book.cadence_seconds = "1s"', "book.cadence_seconds: must be a number of seconds, without quotes or unit; write cadence_seconds = 1.0"),
        ("book.depth = 1.5", "book.depth: must be a whole number; remove the fraction"),
        ("book.depth = true", "book.depth: must be a number, not true or false"),
        ("retention.trades = 0", 'retention.trades: 0 is outside 1 to 36500 days; to delete nothing, write "forever"'),
        ('retention.trades = "30 days"', 'retention.trades: must be whole days, or "forever"; write 30, for example'),
        ("[retention]\nbooks = 1", 'ingest.toml:3: retention.books: unknown key; did you mean "order_books"?'),
        ("[retention]\norder_book = 1", 'ingest.toml:3: retention.order_book: unknown key; did you mean "order_books"?'),
        ("candles.include_open = 5", "candles.include_open: must be true or false"),
        ('log.level = "inf"', 'log.level: "inf" is not one of debug, info, warning, error; did you mean "info"?'),
        ("book = 1", "book: must be a table; write [book] and its keys below"),
        (f'database = "{SECRET}"', "database: must be a table; write [database] and its keys below"),
        ("[collect]", "collect: must be blocks; write [[collect]], with double brackets (in the environment: a JSON list)"),
        ('exchanges.binance.rest_url = "htp://h"', "exchanges.binance.rest_url: must begin with https:// or http://"),
        ('exchanges.binance.ws_url = "https://h"', "exchanges.binance.ws_url: must begin with wss:// or ws://"),
        (f'exchanges.binance.ws_url = "wss://u:{SECRET}@h"', "exchanges.binance.ws_url: must hold no user name or password; a proxy's go into `proxy`"),
        (f'exchanges.binance.proxy = "socks5://u:{SECRET}@h"', "exchanges.binance.proxy: must begin with http:// or https://"),
        (f'database.url = "mysql://u:{SECRET}@h/d"', "database.url: is not a PostgreSQL URL; write postgresql://USER:PASSWORD@HOST:5432/DATABASE"),
        ("exchanges.binanse.proxy = ''", 'exchanges.binanse: unknown exchange "binanse"; did you mean "binance"?'),
        ('a = "x', "not valid TOML: illegal character '\\n'; text stands in double quotes, a list in [ ], and a key once a table"),
    ],
)  # fmt: skip
def test_one_wrong_line(file: Path, line: str, message: str) -> None:
    assert wrong(file, line).removeprefix("the configuration is refused: ") == message


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ('exchange = "binance"', '1: collect[0].symbols: is missing; add symbols = ["BTC/USDT", "*/EUR"]'),
        ('exchange = "binance"\nsymbols = []', '3: collect[0].symbols: is empty; write symbols = ["BTC/USDT", "*/EUR"]'),
        ('exchange = "binance"\nsymbols = "A/B"', '3: collect[0].symbols: must be a list; write symbols = ["BTC/USDT", "*/EUR"]'),
        (
            'exchange = "binance"\nsymbols = [\n"BTCUSDT"]',
            '3: collect[0].symbols[0]: "BTCUSDT" is neither BASE/QUOTE nor a glob of that form; did you mean BTC/USDT?',
        ),
        (
            'exchange = "binance"\nsymbols = ["A/B"]\nchannels = ["trade"]',
            '4: collect[0].channels[0]: "trade" is not one of trades, candles, book, quotes, ticker, funding, open_interest, mark_price, liquidations; did you mean "trades"?',
        ),
        ('symbols = ["A/B"]\nexchange = "krakn"', '3: collect[0].exchange: unknown exchange "krakn"; did you mean "kraken"?'),
        ('symbols = ["A/B"]', '1: collect[0].exchange: is missing; add exchange = "binance"'),
        ('exchange = "binance"\nsymbol = "A/B"\nsymbols = ["A/B"]', '3: collect[0].symbol: unknown key; did you mean "symbols"?'),
    ],
)  # fmt: skip
def test_one_wrong_block(file: Path, block: str, message: str) -> None:
    file.write_text(f"[[collect]]\n{block}\n")
    assert refused(file) == f"the configuration is refused: ingest.toml:{message}"


def test_blocks_that_name_a_stream_twice(file: Path) -> None:
    file.write_text(BLOCK + BLOCK)
    assert "ingest.toml:4: collect[1]: blocks 1 and 2 both name trades of BTC/USDT at binance" in refused(file)


def test_other_exchanges_may_be_known(file: Path) -> None:
    file.write_text(BLOCK.replace("binance", "kucoin") + "[exchanges.kucoin]\ntrade_stream = 'trade'\n")
    with pytest.raises(ConfigError) as caught:
        load(file, environ={}, known_exchanges={"kucoin"})
    assert "kucoin.trade_stream: unknown key here; it belongs to exchanges.binance.trade_stream" in str(caught.value)
    file.write_text(BLOCK.replace("binance", "kucoin") + "[exchanges.kucoin]\nrest_url = 'https://h'\n")
    loaded: Loaded = load(file, environ={}, known_exchanges={"kucoin"})
    assert loaded.config.exchanges["kucoin"].rest_url == "https://h"
    assert loaded.origins["exchanges.kucoin.rest_url"] == f"{file}:5"


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"INGEST_LOG_LEVEL": SECRET}, "environment INGEST_LOG_LEVEL: sets no key of the configuration; did you mean INGEST_LOG__LEVEL?"),
        ({"INGEST_QQQ": SECRET}, "environment INGEST_QQQ: sets no key of the configuration; unset it, or see docs/reference/configuration.md"),
        ({"INGEST_COLLECT": f"binance:{SECRET}"}, "environment INGEST_COLLECT: is not valid JSON; write a JSON list or object"),
        ({"INGEST_DATABASE": f"postgresql://u:{SECRET}@h/d"}, "environment INGEST_DATABASE: is not valid JSON; write a JSON list or object"),
        ({"INGEST_DATABASE__URI": f"postgresql://u:{SECRET}@h/d"}, 'environment INGEST_DATABASE__URI: database.uri: unknown key; did you mean "url"?'),
        ({"INGEST_BOOK__DEPTH": SECRET}, "environment INGEST_BOOK__DEPTH: book.depth: must be a whole number of levels, without quotes or unit; write depth = 20"),
        ({"INGEST_BOOK__DEPTH": "5000"}, 'environment INGEST_BOOK__DEPTH: book.depth: "5000" is outside 1 to 1000 levels; the default is 20'),
        ({"DATABASE_URL": f"u:{SECRET}@h"}, "environment DATABASE_URL: database.url: is not a PostgreSQL URL; write postgresql://USER:PASSWORD@HOST:5432/DATABASE"),
        ({"INGEST_PIPELINE__QUEUE_MAX_ROWS": "10"}, "environment INGEST_PIPELINE__QUEUE_MAX_ROWS: pipeline: queue_max_rows (10) is below batch_max_rows (20000), so that no batch could fill; raise the one or lower the other"),
    ],
)  # fmt: skip
def test_one_wrong_variable(environ: dict[str, str], message: str) -> None:
    assert refused(None, environ) == f"the configuration is refused: {message}"


def test_flags_give_whole_blocks() -> None:
    block = Collect(exchange="binance", symbols=("*/EUR",))
    for given in ((block,), [{"exchange": "binance", "symbols": ["*/EUR"]}]):
        loaded = load(None, environ={}, overrides={"collect": given})
        assert loaded.config.collect == (block,)
        assert loaded.origins["collect[0].symbols"] == "flag --collect"
        assert loaded.origins["collect[0].channels"] == "default"
    elsewhere = Collect(exchange="krakn", symbols=("*/EUR",))
    assert 'flag --collect: collect[0].exchange: unknown exchange "krakn"' in refused(
        None, overrides={"collect": (elsewhere,)}
    )


def test_a_wrong_flag() -> None:
    message = refused(None, overrides={"log.level": "loud", "no.such": 1})
    assert "flag --log-level: log.level:" in message
    assert "flag --no-such: no: unknown key" in message


def test_all_problems_are_told_at_once_in_the_order_of_the_file(file: Path) -> None:
    file.write_text(
        f'[log]\nlevel = "inf"\n[book]\ndepth = 0\ncadense_seconds = 1\n{BLOCK.replace("binance", "binanse")}'
    )
    assert refused(file, {"INGEST_QUUX": "1"}).splitlines() == [
        "the configuration is refused, 5 problems:",
        '  ingest.toml:2: log.level: "inf" is not one of debug, info, warning, error; did you mean "info"?',
        "  ingest.toml:4: book.depth: 0 is outside 1 to 1000 levels; the default is 20",
        '  ingest.toml:5: book.cadense_seconds: unknown key; did you mean "cadence_seconds"?',
        '  ingest.toml:7: collect[0].exchange: unknown exchange "binanse"; did you mean "binance"?',
        "  environment INGEST_QUUX: sets no key of the configuration; unset it, or see docs/reference/configuration.md",
    ]


def test_files_that_cannot_be_read(file: Path) -> None:
    assert refused(file).startswith(
        "the configuration is refused: ingest.toml: no such file; copy the example: cp ingest.example.toml "
    )
    file.write_bytes(b"a = 1\xff")
    assert refused(file) == "the configuration is refused: ingest.toml: is not UTF-8 (byte 5); save it as UTF-8"
    file.unlink()
    file.mkdir()
    assert refused(file).startswith("the configuration is refused: ingest.toml: cannot be read: Is a directory;")


@pytest.mark.parametrize(
    ("text", "line"), [("a = 1\na = 2\n", 2), ("[a]\nb =\n", 2), ("a = [1,\n2\n\n", 3), ("a = 1\n[b\n", 2)]
)
def test_malformed_toml_names_its_line(file: Path, text: str, line: int) -> None:
    file.write_text(text)
    assert refused(file).startswith(f"the configuration is refused: ingest.toml:{line}: not valid TOML: ")
