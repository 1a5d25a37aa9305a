"""The websocket's two sides: what is new goes out, what the viewer chooses comes in. Who does not read is cut off."""

import asyncio

import msgspec
import structlog
from aiohttp import web

from ingest.page.feed import Client
from ingest.page.market import Choice

log = structlog.get_logger()


async def converse(
    request: web.Request, socket: web.WebSocketResponse, client: Client, *, period_seconds: float, send_seconds: float
) -> None:
    """Until either side ends it. An update is sent at most every `period_seconds`.

    A viewer that says what is no choice is closed with 1008; one that has not taken an update within `send_seconds` is
    cut off without a word, because it would not read that either; the daemon's end is 1001 (RFC 6455, 7.4.1).
    """
    async with asyncio.TaskGroup() as group:
        sending = group.create_task(_send(request, socket, client, period_seconds, send_seconds))
        async for message in socket:
            try:
                client.choose(msgspec.json.decode(message.data, type=Choice))
            except (msgspec.DecodeError, UnicodeDecodeError, TypeError):
                await socket.close(code=1008, message=b"not understood")
        sending.cancel()


async def _send(
    request: web.Request, socket: web.WebSocketResponse, client: Client, period_seconds: float, send_seconds: float
) -> None:
    try:
        while (update := await client.next()) is not None:
            async with asyncio.timeout(send_seconds):
                await socket.send_str(update.decode())
            await asyncio.sleep(period_seconds)
        await socket.close(code=1001, message=b"the daemon ends")
    except TimeoutError:
        log.info("page.viewer_dropped", remedy="it did not read; the page connects again by itself")
        if request.transport is not None:
            request.transport.abort()
    except ConnectionError:
        return  # it has gone; the reading side sees it too
