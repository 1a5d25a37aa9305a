"""What every scenario plays on: one venue, one database, and one daemon after another in the same folder."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, LiteralString

import psycopg

from ingest.pipeline import spool_view
from ingest.simulator.audit import Comparison, audit
from ingest.simulator.ledger import Summary
from tests.end_to_end.processes import SYMBOLS, assert_equal, end
from tests.fault.venue import Venue

PATIENCE_SECONDS = 60.0
CHANNELS = ("trades", "candles", "book")

_CONFIG = """\
{collect}
[exchanges.binance]
rest_url = "{rest_url}"
ws_url = "{ws_url}"
[sessions]
ping_seconds = {ping_seconds}
silence_seconds = {silence_seconds}
[spool]
folder = "{spool}"
max_bytes = {spool_max_bytes}
[http]
{http}
[log]
level = "info"
format = "json"
{extra}"""

Rows = list[tuple[Any, ...]]


def block(symbols: Sequence[str] = SYMBOLS, channels: Sequence[str] = CHANNELS) -> str:
    """A `[[collect]]` block."""
    return f'[[collect]]\nexchange = "binance"\nsymbols = {json.dumps(symbols)}\nchannels = {json.dumps(channels)}\n'


class Stage:
    """`database_url` is the daemon's way to the database; a test that holds a proxy gives its own as `direct_url`.

    `within` are words before the daemon's command, in which `{spool}` is its spool's folder.
    """

    def __init__(
        self,
        folder: Path,
        venue: Venue,
        database_url: str,
        *,
        direct_url: str = "",
        collect: str | None = None,
        ping_seconds: float = 20.0,
        silence_seconds: float = 60.0,
        spool_max_bytes: int = 1_000_000_000,
        within: Sequence[str] = (),
        http: str = "port = 0",
        extra: str = "",
    ) -> None:
        self.venue = venue
        self.direct_url = direct_url or database_url
        self.spool = folder / "spool"
        self.log_file = folder / "daemon.log"
        self.config_file = folder / "ingest.toml"
        self.process: subprocess.Popen[bytes] | None = None
        self._database_url = database_url
        self._within = [word.replace("{spool}", str(self.spool)) for word in within]
        self._settings = {
            "rest_url": venue.url,
            "ws_url": venue.ws_url,
            "spool": self.spool,
            "ping_seconds": ping_seconds,
            "silence_seconds": silence_seconds,
            "spool_max_bytes": spool_max_bytes,
            "http": http,
            "extra": extra,
        }
        self.configure(block() if collect is None else collect)
        self.log_file.touch()
        self._read = 0
        self._events: Counter[str] = Counter()
        self.log: list[dict[str, Any]] = []

    # The daemon

    def configure(self, collect: str) -> None:
        self.config_file.write_text(_CONFIG.format(collect=collect, **self._settings))

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "ingest", *words, "--config", str(self.config_file)]

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("INGEST_")}
        return {**kept, "DATABASE_URL": self._database_url}

    def start(self) -> None:
        assert self.process is None
        with self.log_file.open("ab") as output:
            self.process = subprocess.Popen([*self._within, *self.command("run")], env=self.environment, stderr=output)

    def start_live(self, streams: int = len(SYMBOLS) * len(CHANNELS)) -> None:
        """Start it, and wait until `streams` streams are live."""
        ((begun,),) = self.fetch("SELECT clock_timestamp()")
        self.start()
        statement = "SELECT count(*) FROM ingest.streams WHERE state = 'live' AND state_since > %s"
        self.wait(lambda: self.count(statement, begun) == streams)

    def kill(self) -> None:
        """As the kernel does it: nothing is said any more."""
        assert self.process is not None
        assert self.process.poll() is None, self.tail()
        end(self.process)
        self.process = None

    def stop(self, within: float = 40.0, meanwhile: Callable[[], None] = lambda: None) -> int:
        """SIGTERM, and what happens meanwhile; the exit code."""
        assert self.process is not None
        assert self.process.poll() is None, self.tail()
        self.process.send_signal(signal.SIGTERM)
        meanwhile()
        code = self.process.wait(within)
        self.process = None
        return code

    def close(self) -> None:
        if self.process is not None:
            end(self.process)
            self.process = None

    def go(self) -> None:
        """Let the market run, and wait until every book is in sync."""
        self.venue.go()
        waiting = "SELECT count(*) FROM ingest.streams WHERE channel = 'book' AND covered_from IS NULL"
        self.wait(lambda: self.count(waiting) == 0)

    # Looking

    def events(self, name: str) -> int:
        """How often the daemons so far have logged an event: of one kind at most five times a minute each."""
        with self.log_file.open("rb") as file:
            file.seek(self._read)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            try:
                said = json.loads(line)
            except ValueError:
                continue  # what the command itself says to a person
            self.log.append(said)
            self._events[said.get("event", "")] += 1
        return self._events[name]

    def said(self, name: str) -> list[dict[str, Any]]:
        """The lines of one event."""
        self.events(name)
        return [line for line in self.log if line.get("event") == name]

    def tail(self) -> str:
        return self.log_file.read_text(errors="replace")[-6000:]

    def fetch(self, statement: LiteralString, *parameters: Any) -> Rows:
        options = "-c timezone=UTC -c datestyle=ISO"
        with psycopg.connect(self.direct_url, autocommit=True, options=options) as connection:
            return connection.execute(statement, parameters or None).fetchall()

    def count(self, statement: LiteralString, *parameters: Any) -> int:
        return int(self.fetch(statement, *parameters)[0][0])

    def gaps(self) -> Rows:
        """(channel, state, cause, how many), in order."""
        return self.fetch("SELECT channel, state, cause, count(*) FROM ingest.gaps GROUP BY 1, 2, 3 ORDER BY 1, 2, 3")

    def spooled(self) -> int:
        """Batches that wait on disk."""
        return spool_view.inspect(self.spool).batches

    def wait(self, met: Callable[[], bool], seconds: float = PATIENCE_SECONDS, why: Callable[[], object] = str) -> None:
        """Until it is so; the daemon, where there is one, must not end meanwhile."""
        deadline = time.monotonic() + seconds
        while not met():
            assert self.process is None or self.process.poll() is None, self.tail()
            assert time.monotonic() < deadline, f"{why()}\n{self.tail()}"
            time.sleep(0.05)

    # The end of a scenario

    def settle(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Freeze the market, and wait until all of it is stored or named and nothing is to be repaired any more.

        A book needs a change to be in sync again: where a line had broken just before, the market runs once more.
        """
        deadline = time.monotonic() + seconds
        out = "SELECT count(*) FROM ingest.gaps WHERE channel = 'book' AND to_time IS NULL"
        down = "SELECT count(*) FROM ingest.streams WHERE state NOT IN ('live', 'stopped')"
        while True:
            self.venue.go()
            self.wait(lambda: self.count(out) + self.count(down) == 0, seconds, self._unsettled)
            # A candle that closed just now is not final yet to REST, and to a market that stands still never will be.
            self.wait(lambda: 4 < self.venue.ledger.summary().now_us / 1e6 % 60 < 59)
            self.venue.freeze()
            left = deadline - time.monotonic()
            self.wait(lambda: not self._unsettled() or self.count(out) > 0, left, self._unsettled)
            if not self.count(out):
                return

    def _unsettled(self) -> list[object]:
        """What is still to come."""
        summary = self.venue.ledger.summary()
        last = {symbol.symbol: symbol.last_trade_id for symbol in summary.symbols}
        minute_us = summary.now_us // 60_000_000 * 60_000_000 - 60_000_000
        found: list[object] = []
        found += self.fetch(
            "SELECT i.symbol, s.channel, s.state, s.watermark_id, s.proved_to"
            " FROM ingest.streams s JOIN ingest.instruments i USING (instrument_id)"
            " WHERE s.state <> 'stopped' AND (s.state <> 'live' OR CASE s.channel"
            "   WHEN 'trades' THEN s.watermark_id IS DISTINCT FROM (%s::jsonb ->> i.native_symbol)::bigint"
            "   WHEN 'candles' THEN coalesce(s.watermark_id < %s / 60000000, true)"
            "   ELSE false END)",
            json.dumps(last),
            minute_us,
        )
        found += self.fetch("SELECT * FROM ingest.gaps WHERE state IN ('open', 'repairing')")
        if waiting := self.spooled():
            found.append(f"{waiting} batches in the spool")
        return found

    def compare(self, *, since: Summary | None = None, until: Summary | None = None) -> list[Comparison]:
        """Equal to the ledger outside of the gaps, or the test fails; the comparisons, for what they count."""
        compared = audit(
            self.direct_url,
            self.venue.ledger,
            since=since or self.venue.since,
            until=until,
            depth=20,
            outside_gaps=True,
        )
        told = "\n".join(f"{each.channel}: {example}" for each in compared for example in each.examples)
        assert told == "", f"{told}\n{self.gaps()}"
        assert_equal(compared)
        return compared

    def finish(self) -> list[Comparison]:
        """Settle, stop, compare."""
        self.settle()
        assert self.stop() == 0, self.tail()
        assert "Traceback" not in self.log_file.read_text(), self.tail()
        return self.compare()
