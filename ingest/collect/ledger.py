"""What a venue's streams owe: gaps that open and close, and marks of how far each stream is complete.

Pure: times are given; gaps and marks go to `put`, after the rows that they speak of. Every interruption opens a gap
at once, without an end, so that nothing is forgotten when the process dies; the end is told when the stream goes on.
"""

from collections.abc import Callable, Iterable

from ingest import events
from ingest.clock import MINUTE, SECOND
from ingest.collect.continuity import Hole, Run
from ingest.collect.silence import FLOOR_NS, Silence
from ingest.records import Channel, Gap, GapState, Item, Mark, Progress, Stream

_CANDLE_PATIENCE_NS = 30 * SECOND  # REST is asked first
_HEARTBEAT_NS = 10 * SECOND
_ATTEST_LATE_NS = 2 * SECOND
_DOUBT_NS = 3 * SECOND
_AGAIN_NS = 5 * SECOND
"""The venue's REST can trail its stream: that no trade is missing it must say twice, so far apart."""
_SKIPPED: dict[Channel, str] = {"trades": "trade ids skipped", "candles": "candles skipped"}
_HISTORY = ("trades", "candles")
"""Channels whose past a venue's REST can supply."""


class Account:
    """One stream: whether it is delivered now, its open gap, and the run of its numbers where they promise something.

    `token` changes with each record, and `seen_ns` is the receipt of the latest; the feed sets both before a tick.
    """

    __slots__ = (
        "again_ns", "began_ns", "doubt", "gap", "live", "live_ns", "mark", "quiet_ns", "run", "seen_ns", "silence",
        "stream", "token",
    )  # fmt: skip

    def __init__(self, stream: Stream, run: Run | None, silence: Silence) -> None:
        self.stream = stream
        self.run = run
        self.live = False
        self.live_ns = 0  # when it was first acknowledged
        self.gap: Gap | None = None
        self.quiet_ns = 0  # when the venue first said that nothing of the gap is missing
        self.again_ns = 0  # when it is to be asked once more
        self.began_ns = 0
        self.seen_ns = 0
        self.token: object = None
        self.mark: Mark | None = None
        self.doubt: tuple[object, int] | None = None  # a token, and until when it may stay the same
        self.silence = silence


class Ledger:
    """The accounts of one venue. `suspect` is called for a stream whose quiet should be checked with the venue,
    `renew` for one that is subscribed and dead.
    """

    def __init__(
        self,
        put: Callable[[Iterable[Item]], None],
        *,
        suspect: Callable[[Stream], None],
        renew: Callable[[Stream], None],
        silence_ns: int = FLOOR_NS,
        emit: events.Emit = events.say,
    ) -> None:
        self._emit = emit
        self.accounts: dict[tuple[int, Channel], Account] = {}
        self._put = put
        self._suspect = suspect
        self._renew = renew
        self._silence_ns = silence_ns

    def follow(self, stream: Stream, progress: Progress | None, now_ns: int, *, contiguous: bool) -> Account:
        """Keep an account, going on from where the stream stood: what it missed since is a gap from there."""
        run: Run | None = None
        if stream.channel == "candles":
            run = Run(patience_ns=_CANDLE_PATIENCE_NS)
        elif stream.channel == "trades" and contiguous:
            run = Run()
        silence = Silence(stream.channel, now_ns, self._silence_ns)
        account = self.accounts[_key(stream)] = Account(stream, run, silence)
        if progress is not None:
            if run is not None and progress.id is not None:
                run.last, run.last_ns = progress.id, progress.time_ns
                if stream.channel == "candles":
                    run.last_ns = progress.id * MINUTE  # its open: `progress` tells its close
            account.seen_ns = account.began_ns = progress.time_ns
            account.gap = progress.gap
            first = None if progress.gap is None else _first_missing(progress.gap)
            if run is not None and run.last is None and first is not None:
                run.last, run.last_ns = first - 1, progress.time_ns
            self.lost(stream, "not collected", progress.time_ns, now_ns, "the daemon did not run")
        return account

    def name_of(self, key: tuple[int, Channel] | None) -> str:
        """What a person calls the stream; nothing where there is no such account."""
        account = None if key is None else self.accounts.get(key)
        return "" if account is None else f"{account.stream.instrument.symbol} {account.stream.channel}"

    def forget(self, stream: Stream, now_ns: int) -> None:
        """It is collected no more."""
        account = self.accounts.pop(_key(stream), None)
        if account is not None:
            self._settle(account, now_ns + MINUTE)
            self._mark(account, now_ns)

    def lost(self, stream: Stream, cause: str, since_ns: int, now_ns: int, evidence: str = "") -> None:
        """The stream is not delivered any more; `since_ns` is when its line was last known to be alive."""
        account = self.accounts.get(_key(stream))
        if account is not None:
            account.live, account.doubt = False, None
            self.suspend(account, cause, since_ns, now_ns, evidence)

    def suspend(self, account: Account, cause: str, since_ns: int, now_ns: int, evidence: str = "") -> None:
        """Something of the stream may be missing from here on. While a gap is open, no second one opens."""
        self._begin(account)
        if account.gap is not None or not (account.began_ns or account.seen_ns):
            return
        stream, run = account.stream, account.run
        from_id = None
        if stream.channel == "trades" and run is None:  # told in a moment's time after they were made
            since_ns = max(account.began_ns, since_ns - _ATTEST_LATE_NS)
        if run is not None and run.last is not None:
            since_ns = run.last_ns
            from_id = run.last + 1 if stream.channel == "trades" else None
        if stream.channel == "candles" and run is not None:
            if run.last is None:  # from here on each minute is owed
                run.last, run.last_ns = since_ns // MINUTE - 1, (since_ns // MINUTE - 1) * MINUTE
            since_ns = (run.last + 1) * MINUTE
        account.quiet_ns = 0
        ids = (stream.instrument_id, stream.channel)
        account.gap = Gap(*ids, cause, since_ns, None, from_id, None, evidence, opened_ns=now_ns)
        self._put((account.gap,))
        self._emit(events.GapOpened(stream.instrument.exchange, stream.channel, str(stream), cause))

    def live(self, stream: Stream, now_ns: int) -> None:
        """The stream is subscribed and acknowledged."""
        account = self.accounts.get(_key(stream))
        if account is None:
            return
        account.live = True
        account.live_ns = account.live_ns or now_ns
        counted = stream.channel == "trades" and account.run is not None
        if stream.channel != "book" and not counted:  # which begin with their first snapshot, and their first number
            account.began_ns = account.began_ns or now_ns
        account.silence.restart(now_ns)
        if account.run is None and stream.channel != "book":  # nothing but the line can tell that it goes on
            self.resume(account, now_ns)
        if counted:
            self._suspect(stream)  # a quiet market would leave the question open

    def resume(self, account: Account, to_ns: int, evidence: str = "") -> None:
        """An open gap of a stream without history, or whose numbers promise nothing, ends here."""
        history = account.stream.channel in _HISTORY
        self._close(account, to_ns, "open" if history else "unrecoverable", evidence)

    def latest(self, stream: Stream, number: int | None, now_ns: int) -> None:
        """The venue says what its latest number is, a trade's id or a candle's minute (None: it knows of none now)."""
        account = self.accounts.get(_key(stream))
        if account is None or account.run is None:
            return
        run, gap = account.run, account.gap
        if run.last is None:  # what was before is not owed
            account.began_ns = account.began_ns or now_ns
        if number is None or (run.last is not None and number <= run.last):
            account.silence.real(now_ns)
            first = None if gap is None else _first_missing(gap)
            known = first is None or (number is not None and number < first)
            if gap is None or not account.live or not known:
                return
            if stream.channel == "candles":  # which are asked for again a moment after each subscription
                self._close(account, now_ns, "repaired", f"the venue's latest is {number}")
            elif not account.quiet_ns:
                account.quiet_ns, account.again_ns = now_ns, now_ns + _AGAIN_NS
            elif now_ns - account.quiet_ns >= _AGAIN_NS:
                self._close(account, now_ns, "repaired", f"the venue's latest is {number}")
        elif gap is not None or run.last is None:
            run.expect(number, now_ns)
        else:
            self.doubt(account, now_ns)

    def doubt(self, account: Account, now_ns: int) -> None:
        """The venue has news that the stream has not brought: it is dead unless they come in a moment."""
        if account.doubt is None or account.doubt[0] != account.token:  # to ask again does not put it off
            account.doubt = (account.token, now_ns + _DOUBT_NS)

    def tick(self, now_ns: int) -> None:
        """Report holes that nothing filled, close gaps that ended, notice silence, and mark how far all came."""
        for account in self.accounts.values():
            self._settle(account, now_ns)
            if account.live:
                self._listen(account, now_ns)
                self._mark(account, now_ns)

    def finish(self, now_ns: int) -> None:
        """Intake ended: report what is still missing, and mark the rest. Open gaps stay open for the next start."""
        for account in self.accounts.values():
            self._settle(account, now_ns + MINUTE)
            if account.live:
                self._mark(account, now_ns, final=True)
            account.live = False

    # One account

    def _begin(self, account: Account) -> None:
        """What has numbers is collected from its acknowledgement on, once it has brought one."""
        if account.run is not None and account.run.last is not None:
            account.began_ns = account.began_ns or account.live_ns

    def _settle(self, account: Account, now_ns: int) -> None:
        run, gap = account.run, account.gap
        if run is None:
            return
        for hole in run.overdue(now_ns):
            if gap is not None and _first_missing(gap) == hole.first:
                self._put((_bounded(gap, account.stream, hole),))
                account.gap = gap = None
            else:
                stream = account.stream
                cause = gap.cause if gap is not None else _SKIPPED[stream.channel]
                skipped = Gap(stream.instrument_id, stream.channel, cause, opened_ns=hole.noticed_ns)
                self._put((_bounded(skipped, stream, hole),))
                self._emit(events.GapOpened(stream.instrument.exchange, stream.channel, str(stream), cause))
        if gap is not None and account.live and run.last is not None:
            first = _first_missing(gap)
            if first is None:
                self._close(account, run.last_ns, "open", "")
            elif run.last >= first and not run.pending(first):
                self._close(account, run.last_ns, "repaired", "no number is missing")

    def _close(self, account: Account, to_ns: int, state: GapState, evidence: str) -> None:
        gap, account.gap = account.gap, None
        if gap is None:
            return
        from_ns = gap.from_ns if gap.from_ns is not None else to_ns
        told = "; ".join(text for text in (gap.evidence, evidence) if text)
        to_id = gap.from_id - 1 if gap.from_id is not None and state == "repaired" else None
        self._put(
            (
                Gap(
                    *(gap.instrument_id, gap.channel, gap.cause, gap.from_ns, max(to_ns, from_ns), gap.from_id, to_id),
                    evidence=told,
                    state=state,
                    opened_ns=gap.opened_ns,
                ),
            )
        )

    def _listen(self, account: Account, now_ns: int) -> None:
        if account.doubt is not None:
            token, due_ns = account.doubt
            if token != account.token:
                account.doubt = None
            elif now_ns >= due_ns:
                self.dead(account, now_ns, "the venue has newer data than its stream brought")
                return
        if account.gap is not None and account.quiet_ns and now_ns >= account.again_ns:
            account.again_ns = now_ns + _AGAIN_NS
            self._suspect(account.stream)
        if account.silence.observe(account.token, now_ns):
            self._suspect(account.stream)

    def dead(self, account: Account, now_ns: int, evidence: str) -> None:
        """The subscription delivers nothing although the line is alive."""
        stream = account.stream
        self._emit(events.StreamSilent(stream.instrument.exchange, stream.channel, str(stream), evidence))
        account.doubt = None
        self.suspend(account, "silent", account.seen_ns or account.began_ns, now_ns, evidence)
        account.silence.restart(now_ns)
        self._renew(account.stream)

    def _mark(self, account: Account, now_ns: int, *, final: bool = False) -> None:
        self._begin(account)
        if account.gap is not None or not account.began_ns:
            return
        number, proved_ns = account.run.contiguous() if account.run is not None else (None, account.seen_ns)
        if account.stream.channel == "candles":
            proved_ns += MINUTE  # its close
        proved_ns = max(proved_ns, account.began_ns)
        attested_ns = max(now_ns - _ATTEST_LATE_NS, proved_ns)
        before = account.mark
        if (
            before is not None
            and (before.id, before.proved_ns) == (number, proved_ns)
            and not (final or attested_ns - before.attested_ns >= _HEARTBEAT_NS)
        ):
            return
        stream = account.stream
        account.mark = Mark(stream.instrument_id, stream.channel, number, proved_ns, attested_ns, account.began_ns)
        self._put((account.mark,))


def _key(stream: Stream) -> tuple[int, Channel]:
    return stream.instrument_id, stream.channel


def _first_missing(gap: Gap) -> int | None:
    """The first number that may be missing: an id, or a candle's minute; None where numbers promise nothing."""
    if gap.channel == "candles":
        return None if gap.from_ns is None else gap.from_ns // MINUTE
    return gap.from_id


def _bounded(gap: Gap, stream: Stream, hole: Hole) -> Gap:
    """The gap that this hole is: by minutes for candles, else by ids with the times of the trades around it."""
    ids = (stream.instrument_id, stream.channel)
    if stream.channel == "candles":
        ends = (hole.first * MINUTE, hole.last * MINUTE, None, None)
        return Gap(*ids, gap.cause, *ends, gap.evidence, opened_ns=gap.opened_ns)
    since_ns = gap.from_ns if gap.from_ns is not None else hole.after_ns
    seen = f"{hole.first - 1} was followed by {hole.last + 1}"
    told = "; ".join(text for text in (gap.evidence, seen) if text)
    return Gap(*ids, gap.cause, since_ns, hole.before_ns, hole.first, hole.last, told, opened_ns=gap.opened_ns)
