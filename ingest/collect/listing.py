"""What a venue lists: made known to the database, and told as the streams that may run and those that may not."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

import structlog

from ingest.collect.selection import Settings, select, withdrawn
from ingest.errors import Blocked, Retryable
from ingest.exchanges.adapter import Adapter
from ingest.records import Instrument, Progress, Stream
from ingest.retry import BLOCKED_RETRY_SECONDS, Backoff

log = structlog.get_logger()

Load = Callable[[], Awaitable[list[Instrument]]]
Register = Callable[[Sequence[Instrument]], Awaitable[dict[str, int]]]
Admit = Callable[[Sequence[Stream], Adapter], Awaitable[Mapping[Stream, Progress | None]]]


class Listing:
    """`instruments` and `ids` (by the adapter's key) grow with what was chosen; others read them."""

    def __init__(
        self,
        adapter: Adapter,
        ids: dict[str, int],
        instruments: dict[int, Instrument],
        *,
        load: Load,
        register: Register,
        admit: Admit,
    ) -> None:
        self.unreachable: Retryable | None = None  # why it cannot be had
        self._adapter = adapter
        self._ids, self._instruments = ids, instruments
        self._load, self._register, self._admit = load, register, admit
        self._registered: Mapping[str, int] = {}  # by symbol: the instrument that is listed now
        self._traded: Mapping[str, bool] = {}  # by symbol: is it traded now?
        self._doubtful: Mapping[Stream, str] = {}  # by the latest listing

    @property
    def doubted(self) -> bool:
        """Whether the latest listing lacked something that runs: the next one should come soon."""
        return bool(self._doubtful)

    async def streams(
        self, settings: Settings, known: Collection[Stream], running: Collection[Stream]
    ) -> Mapping[Stream, Progress | None]:
        """The streams that the settings name, with how far each had come; tries until it has them.

        One that is `known` is given back as it was: the venue may describe its instrument in other words now. What
        runs already has nothing to tell. Raises what is not Retryable.
        """
        backoff = Backoff(first_seconds=1.0)
        while True:
            try:
                listed = await self._load()
                wanted = select(settings, listed, self._adapter.channels)
                chosen = list({instrument.symbol: instrument for instrument, _ in wanted}.values())
                ids = self._registered = await self._register(listed)
                self._instruments.update({ids[instrument.symbol]: instrument for instrument in chosen})
                self._ids.update({self._adapter.key(instrument): ids[instrument.symbol] for instrument in chosen})
                before = {(stream.instrument_id, stream.channel): stream for stream in known}
                streams = [Stream(ids[instrument.symbol], instrument, channel) for instrument, channel in wanted]
                admitted = await self._admitted(
                    [before.get((stream.instrument_id, stream.channel), stream) for stream in streams], running
                )
            except Retryable as error:
                self.unreachable = error
                delay = max(backoff.next_seconds(), error.retry_after_seconds or 0.0)
                if isinstance(error, Blocked):
                    delay = BLOCKED_RETRY_SECONDS
                log.warning(
                    "exchange.unreachable",
                    exchange=settings.exchange,
                    error=str(error),
                    retry_seconds=round(delay, 1),
                )
                await asyncio.sleep(delay)
            else:
                self.unreachable = None
                self._note(settings.exchange, {instrument.symbol: instrument.active for instrument in listed})
                return admitted

    def withdrawn(self, running: Collection[Stream]) -> dict[Stream, str]:
        """What must end, with the reason: two listings in turn lacked it or showed it halted (one proves nothing), or
        the same name is another instrument now. To be asked once after each listing.
        """
        before, self._doubtful = self._doubtful, withdrawn(running, self._traded)
        ended = {stream: reason for stream, reason in self._doubtful.items() if stream in before}
        self._doubtful = {stream: reason for stream, reason in self._doubtful.items() if stream not in ended}
        for stream in running:
            if self._registered.get(stream.instrument.symbol, stream.instrument_id) != stream.instrument_id:
                ended.setdefault(stream, "delisted: the venue lists another instrument under its name")
        return ended

    def _note(self, exchange: str, traded: Mapping[str, bool]) -> None:
        """A listing that has lost half of what was there is no whole one, here as in the database."""
        if 2 * len(traded) > len(self._traded):
            self._traded = traded
        else:
            log.warning("exchange.listing_partial", exchange=exchange, listed=len(traded), before=len(self._traded))

    async def _admitted(
        self, streams: Sequence[Stream], running: Collection[Stream]
    ) -> Mapping[Stream, Progress | None]:
        """Those of the streams that may run; what runs already is not asked about again."""
        new = [stream for stream in streams if stream not in running]
        admitted: dict[Stream, Progress | None] = {stream: None for stream in streams if stream in running}
        admitted |= await self._admit(new, self._adapter)
        for stream in new:
            if stream not in admitted:
                log.error(
                    "stream.refused",
                    stream=str(stream),
                    reason=f"its stored ids are of another kind than {self._adapter.id_space(stream.channel)!r}; "
                    "never mixed",
                    remedy=f"set [exchanges.{stream.instrument.exchange}] trade_stream back",
                )
        return admitted
