"""The `ingest` command as a user meets it: messages, exit codes, and the audit that must be able to fail."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ingest.simulator.audit import audit
from ingest.store.database import connect_sync
from tests.end_to_end.processes import Daemon, Simulator


def ingest(*arguments: str, url: str | None = None, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("INGEST_")}
    environment.pop("DATABASE_URL", None)
    if url is not None:
        environment["DATABASE_URL"] = url
    return subprocess.run(
        [sys.executable, "-m", "ingest", *arguments],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
        cwd=folder,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--version"], 0, ""),
        (["stats"], 2, "No such command 'stats'"),
        (["run"], 2, "ingest.toml: no such file; copy the example"),
        (["check-config"], 2, "ingest.toml: no such file; copy the example"),
        (["check-config", "--onlin"], 2, "No such option: --onlin"),
        (["replay", "nothing.gz"], 2, "nothing.gz: there is no such file"),
        (["record", "binanze", "BTC/USDT"], 2, "does not know the exchange 'binanze'; did you mean binance"),
        (["symbols", "binanze"], 2, "does not know the exchange 'binanze'; did you mean binance"),
        (["instruments", "refresh"], 2, "nothing to refresh: name an exchange"),
        (["replay", "."], 2, ". is a directory: name the recorded connections in it"),
        (["probe", "binance", "btcusdt"], 2, '"btcusdt" is neither BASE/QUOTE nor a glob of that form; did you'),
        (["record", "binance", "BTC-USDT"], 2, "did you mean BTC/USDT?"),
        (["backfill", "binance", "btcusdt", "--from", "1 day"], 2, "did you mean BTC/USDT?"),
        (["status", "--watch", "--json"], 2, "--watch, --json and --check: choose one"),
        (["--config", "c.toml", "check-config"], 2, "behind the command: ingest check-config --config ingest.toml\n"),
        (["check-config", "c.toml"], 2, "is an option: ingest check-config --config c.toml\n"),
    ],
)
def test_a_users_mistake_is_a_message_and_an_exit_code(
    arguments: list[str], code: int, message: str, tmp_path: Path
) -> None:
    result = ingest(*arguments, folder=tmp_path)
    assert result.returncode == code
    assert message in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("arguments", [["--verison"], ["check-config", "--config", "c.toml", "more"]])
def test_other_mistakes_have_no_hint(arguments: list[str], tmp_path: Path) -> None:
    result = ingest(*arguments, folder=tmp_path)
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith("Error: ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["backfill", "binance", "BTC/USDT", "--from", "1 day"],
        ["backfill", "status"],
        ["import", "a.csv", "--exchange", "binance"],
        ["maintain"],
        ["rejected", "retry", "--all"],
        ["status"],
    ],
)
def test_a_database_that_is_away_is_told_with_what_to_check(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "a.csv").touch()
    result = ingest(*arguments, url="postgresql://ingest@127.0.0.1:1/ingest", folder=tmp_path)
    assert result.returncode == 3
    assert result.stderr.startswith("ingest: no connection to the database: ")
    assert "Check [database] url (or DATABASE_URL)" in result.stderr


def test_a_wrong_key_is_named_with_its_line_and_the_right_spelling(tmp_path: Path) -> None:
    (tmp_path / "ingest.toml").write_text("[book]\ndepht = 10\n")
    result = ingest("check-config", folder=tmp_path)
    assert result.returncode == 2
    assert "ingest.toml:2: book.depht" in result.stderr
    assert 'did you mean "depth"?' in result.stderr


def test_without_anything_to_collect_no_database_is_asked(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text("[log]\nlevel = 'info'\n")
    result = ingest("run", "--config", "other.toml", url="postgresql://127.0.0.1:1/nobody", folder=tmp_path)
    assert result.returncode == 2
    assert result.stderr == (
        "ingest: the configuration is refused: other.toml: collect: nothing to collect: there is no [[collect]] block; "
        "add one, with exchange and symbols, as in ingest.example.toml\n"
    )


@pytest.mark.long
def test_check_config_asks_the_venue_when_told_to(venue: Simulator, tmp_path: Path) -> None:
    (tmp_path / "ingest.toml").write_text(
        '[[collect]]\nexchange = "binance"\nsymbols = ["BTC/USDT", "[ES]*/USDT"]\nchannels = ["trades"]\n'
        f'[exchanges.binance]\nrest_url = "{venue.url}"\n'
    )
    offline = ingest("check-config", folder=tmp_path)
    online = ingest("check-config", "--online", folder=tmp_path)
    assert (offline.returncode, offline.stderr, online.returncode, online.stderr) == (0, "", 0, "")
    assert "[ES]*/USDT: expanded at start" in offline.stdout
    assert "binance: 3 streams on 1 connection (at most 1,024 streams each)" in online.stdout
    assert "[ES]*/USDT: 2 instruments: ETH/USDT, SOL/USDT" in online.stdout
    (plan,) = json.loads(ingest("check-config", "--online", "--json", folder=tmp_path).stdout)["exchanges"]
    assert plan["selections"] == [
        {
            "channel": "trades",
            "symbols": ["BTC/USDT"],
            "globs": [{"pattern": "[ES]*/USDT", "symbols": ["ETH/USDT", "SOL/USDT"]}],
        }
    ]


@pytest.mark.long
def test_check_config_names_what_the_venue_does_not_list(venue: Simulator, tmp_path: Path) -> None:
    (tmp_path / "ingest.toml").write_text(
        '[[collect]]\nexchange = "binance"\nsymbols = ["BTCC/USDT", "ETH/USDT"]\n'
        f'[exchanges.binance]\nrest_url = "{venue.url}"\n'
    )
    assert ingest("check-config", folder=tmp_path).returncode == 0
    result = ingest("check-config", "--online", folder=tmp_path)
    assert result.returncode == 2
    assert "not listed at binance: BTCC/USDT\n" in result.stdout.replace(" \n", "\n")
    assert json.loads(result.stderr)["remedy"] == "did you mean BTC/USDT?"


def test_check_config_says_that_a_venue_is_away(tmp_path: Path) -> None:
    (tmp_path / "ingest.toml").write_text(
        '[[collect]]\nexchange = "binance"\nsymbols = ["*/USDT"]\n'
        '[exchanges.binance]\nrest_url = "http://127.0.0.1:1"\n'
    )
    result = ingest("check-config", "--online", folder=tmp_path)
    assert (result.returncode, result.stdout) == (3, "")
    assert result.stderr.startswith("ingest: binance: cannot load the instruments: ")
    assert result.stderr.endswith("The configuration itself is valid; without --online no venue is asked.\n")
    assert "Traceback" not in result.stderr


@pytest.mark.long
def test_symbols_are_asked_of_the_venue_that_is_configured(venue: Simulator, tmp_path: Path) -> None:
    (tmp_path / "ingest.toml").write_text(f'[exchanges.binance]\nrest_url = "{venue.url}"\n')
    found = ingest("symbols", "binance", "B*", "--json", folder=tmp_path)
    assert [one["symbol"] for one in json.loads(found.stdout)] == ["BTC/USDT"]
    nothing = ingest("symbols", "binance", "b*", folder=tmp_path)
    assert (nothing.returncode, nothing.stdout) == (2, "")
    assert nothing.stderr.startswith("ingest: binance lists nothing that matches 'b*'")


def test_help_names_the_page_of_exit_codes() -> None:
    result = ingest("--help")
    assert result.returncode == 0
    assert "Exit codes, environment variables, shell completion: docs/reference/cli.md" in result.stdout


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("check", ["check-config"]),
        ("db de", ["destroy"]),
        ("check-config --o", ["--online"]),
        ("sta", ["status"]),
    ],
)
def test_completion_in_bash(words: str, completed: list[str]) -> None:
    script = f"""
        eval "$(ingest --show-completion bash)"
        COMP_WORDS=(ingest {words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
        _ingest_completion ingest
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    folder = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}
    result = subprocess.run(
        ["bash", "-c", script],  # noqa: S607 - the user's own
        check=True,
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
    )
    assert result.stdout.splitlines() == completed


def test_a_database_that_is_away_or_not_migrated_is_said_so(empty_database_url: str) -> None:
    away = ingest("status", url="postgresql://ingest:planted@127.0.0.1:1/x")
    assert (away.returncode, "Traceback" in away.stderr, "planted" in away.stderr) == (3, False, False)
    bare = ingest("status", url=empty_database_url)
    assert (bare.returncode, bare.stderr) == (2, "ingest: the database is not migrated. Run `ingest migrate`.\n")


def test_migrate_says_what_it_does_and_does_it_once(empty_database_url: str) -> None:
    dry = ingest("migrate", "--dry-run", url=empty_database_url)
    first = ingest("migrate", url=empty_database_url)
    again = ingest("migrate", url=empty_database_url)
    assert [result.returncode for result in (dry, first, again)] == [0, 0, 0]
    assert "would apply 0001_schemas_and_reference.sql" in dry.stdout
    assert "applied sql/migrations/0001_schemas_and_reference.sql" in first.stdout
    assert again.stdout == "the database is up to date\n"


def test_migrate_puts_the_configurations_figures_in_force(database_url: str, tmp_path: Path) -> None:
    (tmp_path / "ingest.toml").write_text("[retention]\ntrades = 100\n")
    dry = ingest("migrate", "--dry-run", url=database_url, folder=tmp_path)
    assert dry.stdout == (
        "would change the policy of trades: retention 365 days -> 100 days\nwould apply 10_trades.sql\n"
    )
    first = ingest("migrate", url=database_url, folder=tmp_path)
    assert first.stdout.splitlines()[0] == "policy of trades: retention 365 days -> 100 days"
    again = ingest("migrate", url=database_url, folder=tmp_path)
    assert (dry.returncode, first.returncode, again.returncode) == (0, 0, 0)
    assert again.stdout == "the database is up to date\n"
    (tmp_path / "ingest.toml").write_text("[retention]\norder_books = 1\n")
    refused = ingest("migrate", url=database_url, folder=tmp_path)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "(retention.order_books): rows would be lost. Raise it to 2 days at least" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_status_tells_of_every_stream(venue: Simulator, daemon: Daemon) -> None:
    daemon.wait_until_live()
    venue.ledger.pause(paused=False)
    daemon.wait_until(lambda: daemon.count("SELECT count(*) FROM ingest.order_books") > 0)
    result = ingest("status", "--json", url=daemon.database_url)
    streams = json.loads(result.stdout)
    assert sorted((s["exchange"], s["symbol"], s["channel"], s["state"]) for s in streams) == [
        ("binance", symbol, channel, "live")
        for symbol in ("BTC/USDT", "ETH/USDT", "SOL/USDT")
        for channel in ("book", "candles", "trades")
    ]
    assert all(s["rows_per_second"] > 0 for s in streams if s["channel"] == "trades")
    assert ingest("status", "--check", url=daemon.database_url).returncode == 0
    daemon.close()
    with connect_sync(daemon.database_url, role="test") as connection:
        connection.execute(
            "UPDATE ingest.streams SET state = 'reconnecting', committed_at = now() - INTERVAL '6 minutes'"
        )
    ill = ingest("status", "--check", url=daemon.database_url)
    assert (ill.returncode, ill.stderr.count("reconnecting")) == (1, 9)


def test_a_recording_replays_into_what_was_sent(venue: Simulator, tmp_path: Path, database_url: str) -> None:
    (tmp_path / "ingest.toml").write_text(f'[exchanges.binance]\nrest_url = "{venue.url}"\nws_url = "{venue.ws_url}"\n')
    venue.ledger.pause(paused=False)
    recorded = ingest("record", "binance", "*/USDT", "--seconds", "3", "-o", "recordings", folder=tmp_path)
    assert recorded.returncode == 0, recorded.stderr
    truth = venue.ledger.pause(paused=True)
    for _ in range(2):
        replayed = ingest("replay", "recordings/BINANCE.ws.1.0.gz", "--to-database", folder=tmp_path, url=database_url)
        assert replayed.returncode == 0, replayed.stdout + replayed.stderr
    with connect_sync(database_url, role="test") as connection:
        stored = connection.execute(
            "SELECT i.native_symbol, min(t.trade_id::bigint), max(t.trade_id::bigint), array_agg("
            " (t.trade_id || ' ' || (extract(epoch FROM t.time) * 1000000)::bigint || ' ' || t.side || ' ' || t.price"
            "  || ' ' || t.amount) ORDER BY t.trade_id::bigint)"
            " FROM ingest.trades t JOIN ingest.instruments i USING (instrument_id) GROUP BY 1 ORDER BY 1"
        ).fetchall()
    assert [row[0] for row in stored] == sorted(symbol.symbol for symbol in truth.symbols)
    for symbol, first, last, rows in stored:
        assert len(rows) > 50
        assert rows == [" ".join(map(str, trade)) for trade in venue.ledger.trades(symbol, first, last)]


def test_the_audit_sees_a_row_missing_changed_and_added(venue: Simulator, daemon: Daemon) -> None:
    daemon.wait_until_live()
    venue.ledger.pause(paused=False)
    time.sleep(1.5)
    venue.ledger.pause(paused=True)
    daemon.wait_until_committed(venue)
    assert daemon.stop() == 0
    with connect_sync(daemon.database_url, role="test") as connection:
        connection.execute("DELETE FROM ingest.trades WHERE ctid = (SELECT ctid FROM ingest.trades LIMIT 1)")
        connection.execute(
            "UPDATE ingest.trades SET price = price + 0.00000001 WHERE (instrument_id, trade_id) ="
            " (SELECT instrument_id, max(trade_id) FROM ingest.trades GROUP BY 1 ORDER BY 1 LIMIT 1)"
        )
        connection.execute(
            "INSERT INTO ingest.candles_1m SELECT time + INTERVAL '1 day', instrument_id, open, high, low, close,"
            " volume, quote_volume, trades, taker_buy_volume, taker_buy_quote_volume, source, received_at"
            " FROM ingest.candles_1m ORDER BY time LIMIT 1"
        )
        connection.execute("UPDATE ingest.order_books SET bid_amounts[1] = bid_amounts[1] + 1")
    trades, candles, books = audit(daemon.database_url, venue.ledger, since=venue.since, depth=20)
    assert (trades.equal, trades.missing, trades.different, trades.unexpected) == (False, 1, 1, 0)
    assert (candles.equal, candles.unexpected) == (False, 1)
    assert (books.equal, books.different) == (False, books.compared)


def test_the_demo_ends_with_equality(database_url: str) -> None:
    result = ingest("demo", "--seconds", "3", url=database_url)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("equal") >= 3
    assert "NOT EQUAL" not in result.stdout
