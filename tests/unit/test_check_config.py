"""The report of `ingest check-config`, as a person and as a program read it."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from structlog.testing import capture_logs

from ingest import check_config, venues
from ingest.check_config import Report, check, report, show
from ingest.config.model import Config
from ingest.config.source import Loaded, load
from ingest.errors import ConfigError, Exit, Retryable
from ingest.records import Instrument

NOTES = """
Trades, quotes and liquidations are typical figures: 1,000,000, 3,000,000 and
2,000 a day of a major pair, 30,000, 100,000 and 100 of another; a busy day has
several times as many. A GB is 10⁹ bytes, uncompressed, with indexes, without
rollups and WAL.
"""
ROOT = Path(__file__).parents[2]
BLOCK = '[[collect]]\nexchange = "binance"\n'


def listed(*symbols: str) -> list[Instrument]:
    pairs = [symbol.split("/") for symbol in symbols]
    return [Instrument("binance", f"{base}/{quote}", base + quote, "spot", base, quote) for base, quote in pairs]


def loaded(tmp_path: Path, text: str) -> Loaded:
    (tmp_path / "ingest.toml").write_text(text)
    return load(tmp_path / "ingest.toml", environ={})


def shown(found: Report, *, width: int = 80) -> str:
    """What is printed, without the table of values and the blanks that fill the lines."""
    file = io.StringIO()
    show(Report(found.exchanges, found.estimate, ()), Console(file=file, width=width))
    head, _, text = "\n".join(line.rstrip() for line in file.getvalue().splitlines()).partition("\n")
    assert head.split() == ["key", "value", "from"]
    return f"{text}\n"


def test_the_streams_and_the_estimate(tmp_path: Path) -> None:
    found = report(loaded(tmp_path, f'{BLOCK}symbols = ["BTC/USDT", "ETH/USDT", "BTC/EUR"]\n'), {})
    text = """
binance: 9 streams on 1 connection (at most 1,024 streams each)
  trades, candles, book  BTC/USDT, ETH/USDT, BTC/EUR

estimate  streams   rows/day  GB/day      kept  GB kept
trades          3  2,030,000    0.35  365 days      130
candles         3      4,320  <0.001  730 days     0.53
book            3    259,200    0.31   30 days      9.4
total           9  2,293,520    0.67                140
"""
    assert shown(found) == text + NOTES
    assert shown(found, width=120).startswith(text)


def test_the_documentation_shows_what_the_example_leads_to() -> None:
    text = shown(report(load(ROOT / "ingest.example.toml", environ={}), {})).removesuffix(NOTES).strip("\n")
    page = (ROOT / "docs" / "reference" / "configuration.md").read_text()
    assert "\n".join(f"    {line}" if line else "" for line in text.splitlines()) in page


def test_globs_without_the_listing(tmp_path: Path) -> None:
    text = f"""{BLOCK}symbols = ["BTC/USDT", "[be]*/EUR"]
{BLOCK}symbols = ["*/BTC"]
channels = ["quotes", "ticker"]
[retention]
trades = "forever"
candles_1m = 2
"""
    assert (
        shown(report(loaded(tmp_path, text), {}))
        == """
binance: 3 streams and those of the globs, on at least 1 connection (at most
1,024 streams each)
  trades, candles, book  BTC/USDT
                         [be]*/EUR: expanded at start
  quotes, ticker         */BTC: expanded at start

estimate  streams   rows/day  GB/day     kept       GB kept
trades          1  1,000,000    0.17  forever        no end
candles         1      1,440  <0.001   2 days        <0.001
book            1     86,400    0.10  30 days           3.1
total           3  1,087,840    0.28           3.1 and more

The streams of globs are not in the estimate: --online asks the venue for them.
"""
        + NOTES.removeprefix("\n")
    )


def test_globs_alone_are_not_estimated(tmp_path: Path) -> None:
    assert (
        shown(report(loaded(tmp_path, f'{BLOCK}symbols = ["*/EUR"]\nchannels = ["trades"]\n'), {}))
        == """
binance: those of the globs, on at least 1 connection (at most 1,024 streams
each)
  trades  */EUR: expanded at start

The streams of globs are not in the estimate: --online asks the venue for them.
"""
        + NOTES.removeprefix("\n")
    )


def test_globs_with_the_listing(tmp_path: Path) -> None:
    text = f'{BLOCK}symbols = ["ETC/USDT", "*/EUR", "*/USDT", "*/TRY"]\nchannels = ["ticker"]\n'
    venue = listed("BTC/USDT", *(f"{base}/EUR" for base in ("BTC", "ETH", "SOL", "XRP", "BNB", "ADA")))
    with capture_logs():
        found = report(loaded(tmp_path, text), {"binance": venue})
    assert (
        shown(found)
        == """
binance: 7 streams on 1 connection (at most 1,024 streams each)
  ticker  */EUR: 6 instruments: BTC/EUR, ETH/EUR, SOL/EUR, XRP/EUR, BNB/EUR, …
          */USDT: 1 instrument: BTC/USDT
          */TRY: no instrument
  not listed at binance: ETC/USDT, */TRY

estimate  streams  rows/day  GB/day        kept  GB kept
ticker          7   604,800       0  latest row   <0.001
total           7   604,800       0               <0.001
"""
        + NOTES
    )


def test_nothing_to_collect(tmp_path: Path) -> None:
    assert shown(report(loaded(tmp_path, ""), {})) == (
        "\nNothing would be collected: `ingest run` wants a [[collect]] block.\n"
    )


def checked(given: Loaded) -> tuple[Exit, str]:
    file = io.StringIO()
    code = check(given, online=False, as_json=False, console=Console(file=file, width=400))
    return code, "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def test_nothing_to_collect_is_a_fault_as_it_is_for_run_unless_there_is_history_to_fetch(tmp_path: Path) -> None:
    assert checked(loaded(tmp_path, ""))[0] is Exit.USAGE
    history = '[[backfill]]\nexchange = "binance"\nsymbols = ["BTC/USDT"]\nsince = "2024-01-01"\n'
    assert checked(loaded(tmp_path, history))[0] is Exit.OK


def test_figures_that_migrate_refuses_are_refused_with_their_line(tmp_path: Path) -> None:
    given = loaded(tmp_path, f'{BLOCK}symbols = ["BTC/USDT"]\n[retention]\ncandles_1m = 1\ntrades = 1\n')
    with pytest.raises(ConfigError) as caught:
        checked(given)
    assert caught.value.exit_code is Exit.USAGE
    head, *lines = str(caught.value).splitlines()
    assert head == "the configuration is refused, 3 problems:"
    file = f"{tmp_path}/ingest.toml"
    assert [line.split(" is refreshed ")[0] for line in lines] == [
        f"  {file}:5: retention.candles_1m: trade_candles_1m",
        f"  {file}:5: retention.candles_1m: candles_5m",
        f"  {file}:6: retention.trades: trade_candles_1m",
    ]
    assert "its source candles_1m is kept for 1 day only (retention.candles_1m): rows would be lost." in lines[1]


def test_rows_that_are_gone_before_they_are_compressed_are_a_remark(tmp_path: Path) -> None:
    pair = f'{BLOCK}symbols = ["BTC/USDT"]\n'
    code, text = checked(loaded(tmp_path, f"{pair}[retention]\nquotes = 3\n"))
    assert code is Exit.OK
    assert (
        f"\n{tmp_path}/ingest.toml:5: retention.quotes: quotes is never compressed: that comes after 3 days "
        "(compression.quotes), but it is kept for 3 days only (retention.quotes). "
        'Lower the first, or write "never".\n'
    ) in text
    for fits in ("[retention]\nquotes = 4\n", '[retention]\nquotes = 3\n[compression]\nquotes = "never"\n'):
        assert "never compressed" not in checked(loaded(tmp_path, pair + fits))[1]


def test_a_symbol_of_another_venue_is_told_with_its_place_and_is_no_stream(tmp_path: Path) -> None:
    text = f'{BLOCK}symbols = ["BTC/USDT"]\n{BLOCK}symbols = ["BTC/USDT:USDT"]\nchannels = ["funding"]\n'
    code, said = checked(loaded(tmp_path, text))
    assert code is Exit.USAGE
    assert "binance: 3 streams on 1 connection " in said
    assert (
        f"\n  {tmp_path}/ingest.toml:6: collect[1].symbols: binance does not offer funding of BTC/USDT:USDT "
        '(it offers nothing of it); it is at binanceusdm: write exchange = "binanceusdm"\n'
    ) in said
    assert "1,440" in said.partition("estimate")[2]  # the candles
    assert "funding  " not in said.partition("estimate")[2]


def test_a_channel_that_is_not_offered_is_told_at_the_channels(tmp_path: Path) -> None:
    text = f'{BLOCK}symbols = ["BTC/USDT"]\nchannels = ["trades", "funding"]\n'
    code, said = checked(loaded(tmp_path, text))
    assert code is Exit.USAGE
    assert (
        f"\n  {tmp_path}/ingest.toml:4: collect[0].channels: binance does not offer funding of BTC/USDT (it offers "
        "trades, candles, book, quotes, ticker of it); remove funding from its channels, or give the symbol a block of "
        "its own\n"
    ) in said


@pytest.mark.parametrize("width", [80, 120])
def test_every_value_is_printed_with_its_origin_as_it_is(tmp_path: Path, width: int) -> None:
    given = loaded(
        tmp_path, f'{BLOCK}symbols = ["[be]*/EUR"]\n[exchanges.binance]\nproxy = "http://u:pl4nted@[::1]:1"\n'
    )
    file = io.StringIO()
    show(report(given, {}), Console(file=file, width=width))
    lines = [line.split() for line in file.getvalue().splitlines()]
    assert [line[0] for line in lines[1 : 1 + len(given.origins)] if line[0] in given.origins][:3] == [
        "database.url",
        "database.connect_timeout_seconds",
        "collect[0].exchange",
    ]
    assert {line[0] for line in lines if line} >= set(given.origins)
    assert ["exchanges.binance.proxy", "http://u:***@[::1]:1"] in [line[:2] for line in lines]
    assert ["collect[0].symbols", "[be]*/EUR"] in [line[:2] for line in lines]
    assert "pl4nted" not in file.getvalue()


def test_the_object_is_ascii_whatever_the_values_are(tmp_path: Path) -> None:
    given = loaded(tmp_path, f'{BLOCK}symbols = ["BTC/USDT"]\n[spool]\nfolder = "/données/[/spool]\\u202e"\n')
    file = io.StringIO()
    assert check(given, online=False, as_json=True, console=Console(file=file, width=80)) is Exit.OK
    assert file.getvalue().isascii()
    values = {value["key"]: value["value"] for value in json.loads(file.getvalue())["values"]}
    assert values["spool.folder"] == "/données/[/spool]\u202e"


def test_the_object_for_programs(tmp_path: Path) -> None:
    given = loaded(tmp_path, f'{BLOCK}symbols = ["BTC/USDT", "[be]*/EUR"]\nchannels = ["trades"]\n')
    file = io.StringIO()
    code = check(given, online=False, as_json=True, console=Console(file=file, width=80))
    assert code is Exit.OK
    assert file.getvalue().count("\n") == 1
    found = json.loads(file.getvalue())
    assert found["exchanges"] == [
        {
            "exchange": "binance",
            "selections": [
                {
                    "channel": "trades",
                    "symbols": ["BTC/USDT"],
                    "globs": [{"pattern": "[be]*/EUR", "symbols": None}],
                }
            ],
            "streams": 1,
            "expanded": False,
            "connections": 1,
            "streams_per_connection": 1024,
            "unknown": [],
            "polled": [],
            "lacking": [],
        }
    ]
    assert found["estimate"] == {
        "channels": [
            {
                "channel": "trades",
                "table": "trades",
                "streams": 1,
                "rows_per_day": 1_000_000,
                "bytes_per_day": 174_000_000,
                "kept_days": 365,
                "kept_bytes": 63_510_000_000,
            }
        ],
        "rows_per_day": 1_000_000,
        "bytes_per_day": 174_000_000,
        "kept_bytes": 63_510_000_000,
    }
    assert [value["key"] for value in found["values"]] == list(given.origins)
    assert {
        "key": "collect[0].symbols",
        "value": "BTC/USDT, [be]*/EUR",
        "origin": f"{tmp_path}/ingest.toml:3",
    } in found["values"]


@pytest.fixture
def venue(monkeypatch: pytest.MonkeyPatch) -> None:
    """A venue that lists two instruments."""

    async def load() -> list[Instrument]:
        return listed("BTC/USDT", "BTC/EUR")

    monkeypatch.setattr(venues, "listing", lambda _config, _exchange: load)


@pytest.mark.usefixtures("venue")
@pytest.mark.parametrize(
    ("symbol", "code", "unknown"),
    [("*/EUR", Exit.OK, []), ("BTC/USDT", Exit.OK, []), ("BTCC/USDT", Exit.USAGE, ["BTCC/USDT"])],
)
def test_a_symbol_that_the_venue_does_not_list_is_a_fault(
    tmp_path: Path, symbol: str, code: Exit, unknown: list[str]
) -> None:
    file = io.StringIO()
    with capture_logs():
        given = loaded(tmp_path, f'{BLOCK}symbols = ["{symbol}"]\n')
        assert check(given, online=True, as_json=True, console=Console(file=file)) is code
    assert json.loads(file.getvalue())["exchanges"][0]["unknown"] == unknown


def test_a_venue_that_cannot_be_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def load() -> list[Instrument]:
        raise Retryable("binance: cannot load the instruments: proxy http://u:pl4nted@h:1 is away")

    monkeypatch.setattr(venues, "listing", lambda _config, _exchange: load)
    given = loaded(tmp_path, f'{BLOCK}symbols = ["*/EUR"]\n')
    with pytest.raises(Retryable) as caught:
        check(given, online=True, as_json=False, console=Console(file=io.StringIO()))
    assert caught.value.exit_code is Exit.UNAVAILABLE
    assert str(caught.value) == (
        "binance: cannot load the instruments: proxy http://u:***@h:1 is away\n"
        "The configuration itself is valid; without --online no venue is asked."
    )


def test_no_venue_is_asked_without_the_flag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_config: Config, exchange: str) -> None:
        pytest.fail(f"{exchange} was asked")

    monkeypatch.setattr(venues, "listing", refuse)
    given = loaded(tmp_path, f'{BLOCK}symbols = ["*/EUR"]\n')
    assert check_config.check(given, online=False, as_json=False, console=Console(file=io.StringIO())) is Exit.OK
