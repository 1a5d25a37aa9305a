"""What repair tells the operator: one line when a gap is taken up, waits, is closed, or cannot be."""

from collections.abc import Mapping, Sequence

import structlog
from tenacity import RetryCallState

from ingest import events
from ingest.errors import Retryable
from ingest.exchanges.adapter import Bad
from ingest.records import Candle, Channel, Instrument, Reject, Trade
from ingest.repair.page import Absent
from ingest.store.copy_writer import Written
from ingest.store.gap_parts import Settled
from ingest.store.queue import Job, Planned
from ingest.store.rows import timestamp
from ingest.store.window import Window

log = structlog.get_logger()

FORGOTTEN = "the venue's history does not reach back to it"


class Says:
    """Log lines of one venue's repair, and its events."""

    def __init__(self, exchange: str, instruments: Mapping[int, Instrument], emit: events.Emit) -> None:
        self._exchange = exchange
        self._instruments = instruments
        self._emit = emit

    def stored(self, records: Sequence[Trade] | Sequence[Candle] | Sequence[Reject], written: Written) -> None:
        if isinstance(records[0], Reject):
            self._unreadable([row for row in records if isinstance(row, Reject)] if written.stored else [])
            return
        channel: Channel = "trades" if isinstance(records[0], Trade) else "candles"  # of any length
        counts = (written.stored, written.duplicate, written.rejected)
        self._emit(events.HistoryCommitted(self._exchange, channel, *counts))
        if written.rejected:
            self._emit(events.RowsRejected(channel, written.rejected))

    def _unreadable(self, rows: Sequence[Reject]) -> None:
        for row in rows:
            self._emit(events.FrameRejected(self._exchange, row.reason, len(row.payload)))

    def planned(self, gaps: Sequence[Planned]) -> None:
        for each in gaps:
            log.info("repair.planned", **self.named(each.span), windows=each.windows)

    def settled(self, settled: Settled) -> None:
        for lost in settled.lost:
            event = "repair.awaiting_dump" if lost.state == "awaiting_dump" else "repair.unrecoverable"
            log.warning(event, **self.named(lost.window), reason=lost.detail)
        for each in settled.repaired:
            log.info("repair.done", **self.named(each.span), cause=each.cause, rows=each.stored, known=each.known)

    def waiting(self, job: Job, seconds: float, reason: str) -> None:
        log.info("repair.waiting", **self.named(job.window), reason=reason, retry_seconds=round(seconds, 1))

    def taken_over(self, job: Job) -> None:
        log.info("repair.taken_over", **self.named(job.window))  # another worker goes on with it

    def not_released(self, job: Job, error: Exception) -> None:
        log.warning("repair.not_released", **self.named(job.window), error=str(error))

    def database_away(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        say = log.warning if isinstance(error, Retryable) else log.error
        say("repair.database_retry", exchange=self._exchange, error=str(error), attempt=state.attempt_number)

    def named(self, window: Window) -> dict[str, str]:
        """What a log line calls a window."""
        instrument = self._instruments.get(window.instrument_id)
        symbol = instrument.symbol if instrument else f"instrument {window.instrument_id}"
        named = {"stream": f"{self._exchange} {symbol} {window.channel}"}
        if window.from_id is not None:
            return named | {"ids": f"{window.from_id}-{window.to_id}"}
        return named | {"from_time": timestamp(window.first), "to_time": timestamp(window.last)}


def said(absent: Absent, bad: Sequence[Bad]) -> str:
    """Why rows are absent."""
    if absent.why == "forgotten":
        return FORGOTTEN
    if absent.why == "skipped":
        return "the venue's history skips it"
    return f"the venue's rows cannot be read: {bad[0].reason}"
