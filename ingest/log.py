"""The log: lines for a person in a terminal, JSON for a service; repeats are limited, secrets masked."""

import logging
import sys
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from types import FrameType
from typing import Any, Literal

import structlog
from msgspec import Struct

from ingest.clock import now_ns
from ingest.config.secret import redact_dsn

Event = MutableMapping[str, Any]


class Line(Struct, frozen=True):
    """A warning or an error as it was logged, masked. `fields` holds numbers, booleans, None and text."""

    time_ns: int
    level: str
    module: str
    event: str
    fields: dict[str, Any]


Listener = Callable[[Line], None]
_listeners: list[Listener] = []
"""Of the process, as structlog's configuration is."""
_KEPT = frozenset({"warning", "error", "critical"})
_BETWEEN = ("structlog", "logging", "ingest.log", "ingest.events", "ingest.operate.metrics")
"""Modules through which a line passes; the one before them said it."""
_LIBRARY = "_library"
_TEXT_MAX = 8_000

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
        if not isinstance(value, int | float):
            event[key] = _masked(value)
    return event


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return redact_dsn(value) if "://" in value or "password" in value else value
    if isinstance(value, dict):
        return {name: _masked(inner) for name, inner in value.items()}
    return [_masked(inner) for inner in value] if isinstance(value, list | tuple) else value


def _tell(_logger: object, _method: str, event: Event) -> Event:
    """Listeners hear of warnings and errors, after masking."""
    library = event.pop(_LIBRARY, None)
    if _listeners and event["level"] in _KEPT:
        known = ("timestamp", "level", "event")
        fields = {key: _plain(value) for key, value in event.items() if key not in known}
        line = Line(now_ns(), event["level"], library or _speaker(), str(event["event"]), fields)
        for listener in _listeners:
            listener(line)
    return event


def _plain(value: object) -> object:
    return value if value is None or isinstance(value, bool | int | float) else redact_dsn(str(value))[:_TEXT_MAX]


def _speaker() -> str:
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - as the library itself finds it
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if not any(name == between or name.startswith(f"{between}.") for between in _BETWEEN):
            return name
        frame = frame.f_back
    return ""


@contextmanager
def heard_by(listener: Listener) -> Iterator[None]:
    """`listener` hears each warning and error, in the thread that says it; it must neither wait nor log nor raise."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def _order(_logger: object, _method: str, event: Event) -> Event:
    """What a reader looks for first comes first."""
    first = {key: event.pop(key) for key in ("timestamp", "level", "event") if key in event}
    return {**first, **event}


class _Bridge(logging.Handler):
    """What libraries say goes the same way as what we say: one form, and masked."""

    def emit(self, record: logging.LogRecord) -> None:
        say = structlog.get_logger()
        fields = {"message": record.getMessage(), "exc_info": record.exc_info, _LIBRARY: record.name}
        say.log(record.levelno, record.name, **fields)


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
            _tell,
            _order,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_Bridge()], level=logging.WARNING, force=True)
    logging.getLogger("websockets").setLevel(logging.CRITICAL)  # what it says, our sessions say with their streams
