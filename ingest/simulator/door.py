"""The port that the venue listens on: it can be shut and opened again without ending anything else."""

import socket

from aiohttp import web

_HOST = "127.0.0.1"


class Door:
    """Keeps its port while shut, by a socket that is bound and never listens. Raises `OSError` for a taken one."""

    def __init__(self, runner: web.AppRunner, port: int) -> None:
        self._runner = runner
        self._site: web.TCPSite | None = None
        self._place = socket.socket()
        self._place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._place.bind((_HOST, port))
        except OSError:
            self._place.close()
            raise
        self.port: int = self._place.getsockname()[1]

    @property
    def is_open(self) -> bool:
        return self._site is not None

    async def open(self) -> None:
        """Listen."""
        self._site = web.TCPSite(self._runner, _HOST, self.port, reuse_address=True)
        await self._site.start()

    async def close(self) -> None:
        """Refuse new connections at once; those that stand go on."""
        if self._site:
            await self._site.stop()
            self._site = None

    def release(self) -> None:
        """Give the port back."""
        self._place.close()
