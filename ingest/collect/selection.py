"""What of a venue is collected: the settings, and the instruments and channels that they name. Pure."""

import difflib
from collections.abc import Callable, Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from hashlib import blake2b

import structlog
from msgspec import Struct

from ingest import clock
from ingest.collect.session import PING_SECONDS
from ingest.collect.silence import FLOOR_NS
from ingest.records import CHANNELS, Channel, Instrument, Stream

log = structlog.get_logger()


class Subscription(Struct, frozen=True):
    """Symbols or globs over them, and the channels to collect of each."""

    symbols: tuple[str, ...]
    channels: tuple[Channel, ...]
    where_offered: bool = False  # of each symbol those that the venue has; the others were not asked for by name


class Share(Struct, frozen=True):
    """What one of several daemons takes of each venue: part `number`, from 1, of `of`."""

    number: int = 1
    of: int = 1

    def takes(self, exchange: str, symbol: str) -> bool:
        """Whether the symbol, with all its channels, is this daemon's. The same in each process and each version."""
        digest = blake2b(f"{exchange} {symbol}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") % self.of == self.number - 1


class Settings(Struct, frozen=True):
    """How a venue is collected."""

    exchange: str
    subscriptions: tuple[Subscription, ...]
    book_depth: int = 20
    book_cadence_ns: int = clock.SECOND
    book_unchanged: bool = True
    warmup: int = 120
    ping_seconds: float = PING_SECONDS
    silence_ns: int = FLOOR_NS
    proxy: str | None = None
    share: Share = Share()


Offers = Callable[[Instrument], Collection[Channel]]
"""`Adapter.channels`."""


def everything(_instrument: Instrument) -> Collection[Channel]:
    return CHANNELS


def names(settings: Settings, stream: Stream) -> bool:
    """Whether the subscriptions name this stream."""
    return any(
        stream.channel in subscription.channels
        and any(fnmatchcase(stream.instrument.symbol, pattern) for pattern in subscription.symbols)
        for subscription in settings.subscriptions
    )


def unlisted(settings: Settings, streams: Collection[Stream]) -> bool:
    """Whether some symbol or glob of the subscriptions has no stream: the venue may list it later.

    A symbol that is another daemon's has none here.
    """
    symbols = {stream.instrument.symbol for stream in streams}
    return any(
        not any(fnmatchcase(symbol, pattern) for symbol in symbols)
        for subscription in settings.subscriptions
        for pattern in subscription.symbols
        if not is_name(pattern) or settings.share.takes(settings.exchange, pattern)
    )


def withdrawn(streams: Collection[Stream], listed: Mapping[str, bool]) -> dict[Stream, str]:
    """The streams whose instrument the listing (symbol → is it traded) lacks or shows halted, with the reason."""
    found: dict[Stream, str] = {}
    for stream in streams:
        active = listed.get(stream.instrument.symbol)
        if active is None:
            found[stream] = "delisted: the venue lists it no more"
        elif not active:
            found[stream] = "halted by the venue"
    return found


def select(
    settings: Settings, listed: Sequence[Instrument], offers: Offers = everything
) -> list[tuple[Instrument, Channel]]:
    """The listed instruments and channels that the subscriptions name and that are this daemon's, each once, in the
    order of the listing.

    A symbol that the venue does not list is logged with the nearest one that it does, and a channel that it does not
    offer with those that it does; the rest goes on: one delisting must not keep a daemon from starting. A glob means
    what there is something of: not the options that are listed and not translated.
    """
    active = [instrument for instrument in listed if instrument.active]
    wanted: dict[tuple[str, Channel], tuple[Instrument, Channel]] = {}
    for subscription in settings.subscriptions:
        for pattern in subscription.symbols:
            matching = [instrument for instrument in active if fnmatchcase(instrument.symbol, pattern)]
            found = [instrument for instrument in matching if offers(instrument)] or matching
            if not found:
                near = difflib.get_close_matches(pattern, [instrument.symbol for instrument in active], n=1)
                log.error(
                    "symbol.unknown",
                    exchange=settings.exchange,
                    symbol=pattern,
                    remedy=f"did you mean {near[0]}?" if near else "the exchange lists nothing like it",
                )
            lacking: dict[Channel, Instrument] = {}
            for instrument in found:
                offered = offers(instrument)
                for channel in subscription.channels:
                    if channel in offered:
                        wanted[instrument.symbol, channel] = (instrument, channel)
                    elif not subscription.where_offered:
                        lacking[channel] = instrument
            for channel, instrument in lacking.items():
                log.error(
                    "channel.not_offered",
                    exchange=settings.exchange,
                    symbol=instrument.symbol,
                    channel=channel,
                    remedy=f"it offers {', '.join(offers(instrument)) or 'nothing'} of this symbol",
                )
    share = settings.share
    return [one for one in wanted.values() if share.takes(settings.exchange, one[0].symbol)]


def is_name(pattern: str) -> bool:
    """No glob."""
    return not any(sign in pattern for sign in "*?[")
