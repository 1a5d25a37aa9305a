"""The simulator and the daemon as processes of a test, each ended with it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from ingest.simulator.audit import Comparison, LedgerClient
from ingest.store.database import connect_sync

START_SECONDS = 120.0
SYMBOLS = ("BTC/USDT", "ETH/USDT", "SOL/USDT")


class Simulator:
    """The venue as a process, frozen until `ledger.pause(paused=False)`."""

    def __init__(self, *flags: str) -> None:
        # Far from a full minute, unless a test asks for one.
        start = [] if "--start-second" in flags else ["--start-second", "15"]
        command = [sys.executable, "-m", "ingest.simulator", "--symbols", ",".join(SYMBOLS), *start, *flags]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        ready = json.loads(self.process.stdout.readline())
        self.url, self.ws_url = ready["url"], ready["ws_url"]
        self.ledger = LedgerClient(self.url)
        self.since = self.ledger.pause(paused=True)

    def between_candles(self) -> bool:
        """Whether the latest closed candle is final to REST, also for a market that is paused now."""
        return 14 < self.ledger.summary().now_us / 1e6 % 60 < 55

    def close(self) -> None:
        end(self.process)


class Daemon:
    """`ingest run` as a process."""

    def __init__(
        self,
        folder: Path,
        venue: Simulator,
        database_url: str,
        extra: str = "",
        *,
        venue_keys: str = "",
        http: str = "[http]\nport = 0\n",
    ) -> None:
        config = folder / "ingest.toml"
        config.write_text(
            f'[[collect]]\nexchange = "binance"\nsymbols = ["*/USDT"]\n'
            f'[exchanges.binance]\nrest_url = "{venue.url}"\nws_url = "{venue.ws_url}"\n{venue_keys}'
            f'{http}[log]\nlevel = "debug"\nformat = "json"\n{extra}'
        )
        self.log_file = folder / "daemon.log"
        self.database_url = database_url
        environment = {name: value for name, value in os.environ.items() if not name.startswith("INGEST_")}
        with self.log_file.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ingest", "run", "--config", str(config)],
                env={**environment, "DATABASE_URL": database_url, "INGEST_SPOOL__FOLDER": str(folder / "spool")},
                stderr=output,
            )

    def wait_until(self, met: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not met():
            assert self.process.poll() is None, self.log_file.read_text()
            assert time.monotonic() < deadline, self.log_file.read_text()
            time.sleep(0.05)

    def wait_until_live(self) -> None:
        self.wait_until(lambda: self.count("SELECT count(*) FROM ingest.streams WHERE state = 'live'") == 9)

    def wait_until_committed(self, venue: Simulator) -> None:
        """Until the ledger's last trade of every instrument is stored; the market must be paused."""
        wanted = {symbol.symbol: symbol.last_trade_id for symbol in venue.ledger.summary().symbols}
        statement = (
            "SELECT count(*) FROM ingest.streams s JOIN ingest.instruments i USING (instrument_id)"
            " WHERE s.channel = 'trades' AND s.last_sequence = (%s::jsonb ->> i.native_symbol)::bigint"
        )
        self.wait_until(lambda: self.count(statement, json.dumps(wanted)) == len(wanted))

    def wait_until_candles(self, venue: Simulator) -> None:
        """Until the latest closed candle of every instrument is stored; the market must be paused `between_candles`."""
        statement = "SELECT count(*) FROM ingest.streams WHERE channel = 'candles' AND watermark_id >= %s::bigint"
        latest = venue.ledger.summary().now_us // 60_000_000 - 1
        self.wait_until(lambda: self.count(statement, str(latest)) == len(SYMBOLS))

    def count(self, statement: str, *parameters: str) -> int:
        with connect_sync(self.database_url, role="test") as connection:
            row = connection.execute(statement, parameters).fetchone()
        assert row is not None
        return int(row[0])

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def close(self) -> None:
        end(self.process)


def end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def assert_equal(comparisons: list[Comparison]) -> None:
    assert [c.examples for c in comparisons if c.examples] == []
    assert [c.channel for c in comparisons if not c.equal] == []
