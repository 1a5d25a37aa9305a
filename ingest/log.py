"""The log: lines for a person in a terminal, JSON for a service; repeats are limited, secrets masked."""

import logging
import sys
import time
from collections.abc import Callable, MutableMapping
from typing import Any, Literal

import structlog

from ingest.config.secret import redact_dsn

Event = MutableMapping[str, Any]

_BURST = 5
_WINDOW_SECONDS = 60.0


class RepeatLimiter:
    """Lets an event through five times a minute; then counts, and says at the next window how many it held back.

    Events are the same when their name, level and subject (exchange, stream, symbol) are.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._windows: dict[tuple[object, ...], tuple[float, int]] = {}

    def __call__(self, _logger: object, method: str, event: Event) -> Event:
        if method == "debug":  # whoever asks for these wants them all
            return event
        key = (event.get("event"), method, event.get("exchange"), event.get("stream"), event.get("symbol"))
        now = self._clock()
        started, seen = self._windows.get(key, (now, 0))
        if now - started >= _WINDOW_SECONDS:
            if seen > _BURST:
                event["held_back"] = seen - _BURST
            started, seen = now, 0
        self._windows[key] = (started, seen + 1)
        if seen >= _BURST:
            raise structlog.DropEvent
        return event


def _mask(_logger: object, _method: str, event: Event) -> Event:
    """No DSN with its password leaves, whatever put it into an event."""
    for key, value in event.items():
        if isinstance(value, str) and ("://" in value or "password" in value):
            event[key] = redact_dsn(value)
    return event


def _order(_logger: object, _method: str, event: Event) -> Event:
    """What a reader looks for first comes first."""
    first = {key: event.pop(key) for key in ("timestamp", "level", "event") if key in event}
    return {**first, **event}


class _Bridge(logging.Handler):
    """What libraries say goes the same way as what we say: one form, and masked."""

    def emit(self, record: logging.LogRecord) -> None:
        say = structlog.get_logger()
        say.log(record.levelno, record.name, message=record.getMessage(), exc_info=record.exc_info)


def configure(level: str, form: Literal["auto", "json", "console"]) -> None:
    """Set up structlog for the process: to standard error, so that standard output stays for results."""
    as_console = form == "console" or (form == "auto" and sys.stderr.isatty())
    renderer: Any = (
        structlog.dev.ConsoleRenderer(pad_event_to=24) if as_console else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            RepeatLimiter(),
            structlog.processors.TimeStamper(fmt="%H:%M:%S" if as_console else "iso", utc=not as_console),
            structlog.processors.format_exc_info,
            _mask,
            _order,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_Bridge()], level=logging.WARNING, force=True)
    logging.getLogger("websockets").setLevel(logging.CRITICAL)  # what it says, our sessions say with their streams
