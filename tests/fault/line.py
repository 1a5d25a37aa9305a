"""The line between the daemon and its database, in a thread of its own, for tests that wait while it is cut."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.db.support import Proxy


class Line:
    """`Proxy` for code that blocks: each call has taken effect when it returns."""

    def __init__(self, proxy: Proxy, loop: asyncio.AbstractEventLoop) -> None:
        self._proxy = proxy
        self._loop = loop
        self.url = proxy.url

    @classmethod
    @contextmanager
    def to(cls, database_url: str) -> Iterator["Line"]:
        """A line that is served until the block ends."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="line", daemon=True)
        thread.start()
        proxy = Proxy(database_url)
        try:
            asyncio.run_coroutine_threadsafe(proxy.__aenter__(), loop).result(10)
            yield cls(proxy, loop)
            asyncio.run_coroutine_threadsafe(proxy.__aexit__(), loop).result(10)
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(10)
            loop.close()

    def refuse(self) -> None:
        """The database is away: lines break, new ones too, until `accept`."""
        self._do(self._proxy.refuse)

    def accept(self) -> None:
        self._do(self._proxy.accept)

    def cut(self) -> None:
        """Every line breaks; new ones are served."""
        self._do(self._proxy.cut)

    def cut_after(self, count: int) -> None:
        """So many more bytes reach the server, then the lines break."""
        self._do(lambda: self._proxy.cut_after(count))

    def stall_after(self, count: int) -> None:
        """So many more bytes reach the server, then everything is held until `flow`."""
        self._do(lambda: self._proxy.stall_after(count))

    @property
    def stalled(self) -> bool:
        return self._proxy.stalled.is_set()

    def flow(self) -> None:
        self._do(self._proxy.flow)

    def mute(self) -> None:
        """What the server answers is held until `answer`."""
        self._do(self._proxy.mute)

    def answer(self) -> None:
        self._do(self._proxy.answer)

    def _do(self, act: Callable[[], None]) -> None:
        async def now() -> None:
            act()

        asyncio.run_coroutine_threadsafe(now(), self._loop).result(10)
