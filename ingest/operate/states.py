"""What the daemon tells the database of itself while it runs: the state of each stream, and how each venue is."""

import asyncio
from collections.abc import Mapping

import structlog
from msgspec import structs

from ingest.collect.collector import Collector
from ingest.errors import IngestError
from ingest.records import Stream
from ingest.store.registry import Registry, State

log = structlog.get_logger()

_STATES_SECONDS = 1.0
_HEALTH_SECONDS = 5.0


class States:
    """`collectors` by exchange may grow while it saves. Collecting goes on whatever fails here."""

    def __init__(self, registry: Registry, collectors: Mapping[str, Collector]) -> None:
        self._registry = registry
        self._collectors = collectors

    def current(self) -> dict[Stream, tuple[State, str | None]]:
        return {stream: state for c in self._collectors.values() for stream, state in c.states.items()}

    async def save(self) -> None:
        """For ever: each stream's state, when it changes."""
        saved: dict[Stream, tuple[State, str | None]] = {}
        while True:
            await asyncio.sleep(_STATES_SECONDS)
            changed = {stream: state for stream, state in self.current().items() if saved.get(stream) != state}
            try:
                await self._registry.save_states(changed)
                saved.update(changed)
            except IngestError as error:
                log.warning("states.not_saved", error=str(error))
            except Exception:
                log.exception("states.not_saved")  # delivery goes on without it

    async def save_health(self) -> None:
        """For ever: how each venue is, every few seconds."""
        while True:
            await asyncio.sleep(_HEALTH_SECONDS)
            for exchange, collector in list(self._collectors.items()):
                health = collector.health
                if not collector.states and health.detail is None:
                    continue  # nothing is known yet, or this shard has no stream of it: that is not `offline`
                try:
                    await self._registry.save_health(exchange, *structs.astuple(health))
                except IngestError as error:
                    log.warning("health.not_saved", exchange=exchange, error=str(error))
                except Exception:
                    log.exception("health.not_saved", exchange=exchange)

    async def save_last(self) -> None:
        """At the end; the registry is closed."""
        try:
            await self._registry.save_states(self.current())
            for exchange in self._collectors:
                await self._registry.save_health(exchange, "stopped", "the daemon ended", None, None)
        except IngestError as error:
            log.warning("states.not_saved", error=str(error))
        finally:
            await self._registry.close()
