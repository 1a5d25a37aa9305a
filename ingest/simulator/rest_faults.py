"""Faults of the REST side: what a call meets, and what becomes of its reply.

What history remembers is the sum of all such faults; beside it at most one fault acts on a call.
"""

import asyncio
from typing import Final

import orjson
from aiohttp import web
from msgspec import Struct

from ingest.simulator.faults import (
    ForgottenHistory,
    LaggingHistory,
    RestCut,
    RestEmpty,
    RestError,
    RestMalformed,
    RestSilent,
    RestTruncated,
    StaleDepth,
)
from ingest.simulator.garbled import spoil_reply
from ingest.simulator.limits import SECOND_US
from ingest.simulator.memory import WHOLE, Memory
from ingest.simulator.saboteur import Armed, Saboteur, Yard
from ingest.simulator.stream_faults import retry_after

_HISTORY: Final = ("trades", "historicalTrades", "aggTrades", "klines", "uiKlines")
_BANNED: Final = "Way too much request weight used; IP banned until {until}. Please use WebSocket Streams."


class Trouble(Struct, frozen=True):
    """What one call meets. `armed` acts on it; the rest is nothing for a call that meets none."""

    memory: Memory = WHOLE
    armed: Armed | None = None
    target: str = ""


NO_TROUBLE: Final = Trouble()


class RestFaults:
    """`meet` decides at the call, `spoiled` and `cut_short` act on the reply."""

    def __init__(self, saboteur: Saboteur, yard: Yard) -> None:
        self._saboteur = saboteur
        self._yard = yard
        self._waiting: list[tuple[int, Armed, asyncio.Future[None]]] = []

    def meet(self, path: str, symbol: str) -> Trouble:
        """Count the call against every fault that applies to it. `path` is the endpoint below `/api/v3/`."""
        of, now_us = self._saboteur.of, self._yard.now_us()
        if not (of("call") or of("memory")):
            return NO_TROUBLE
        target = f"{path} {symbol}".rstrip()
        memory = self._remember(path, symbol, target, now_us)
        for armed in of("call"):
            if armed.on_call(path, symbol) and armed.strikes(now_us):
                if not isinstance(armed.fault, RestMalformed):
                    self._saboteur.tell(armed, target, _did(armed), time_us=now_us)
                return Trouble(memory, armed, target)
        return Trouble(memory)

    async def wait(self, trouble: Trouble) -> None:
        """As long as the call is to be left without an answer, or until the fault is lifted."""
        if trouble.armed is None or not isinstance(trouble.armed.fault, RestSilent):
            return
        due_us = self._yard.now_us() + round(trouble.armed.fault.wait_seconds * SECOND_US)
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((due_us, trouble.armed, future))
        await future

    def release(self, now_us: int | None) -> None:
        """Let the calls go on whose time has come; with None all."""
        for entry in list(self._waiting):
            due_us, armed, future = entry
            if now_us is None or due_us <= now_us or armed.lifted:
                self._waiting.remove(entry)
                if not future.done():
                    future.set_result(None)

    def refusal(self, trouble: Trouble) -> web.Response | None:
        """The error that a call gets in place of its answer."""
        if trouble.armed is None or not isinstance(trouble.armed.fault, RestError):
            return None
        fault, now_us = trouble.armed.fault, self._yard.now_us()
        retry = retry_after(trouble.armed, fault.status, fault.retry_after, now_us)
        headers = {} if retry is None else {"Retry-After": str(retry)}
        if fault.status >= 500:  # as the load balancer before the venue words it
            text = f"<html><body><h1>{fault.status}</h1></body></html>"
            return web.Response(status=fault.status, text=text, content_type="text/html", headers=headers)
        message = _BANNED.format(until=now_us // 1_000 + (retry or 0) * 1_000)
        code = -1003 if fault.status in {418, 429} else -1000
        return web.Response(
            status=fault.status,
            body=orjson.dumps({"code": code, "msg": message}),
            content_type="application/json",
            charset="utf-8",
            headers=headers,
        )

    def spoiled(self, trouble: Trouble, body: bytes) -> bytes:
        """The body as the client shall read it."""
        armed = trouble.armed
        if armed is None:
            return body
        fault = armed.fault
        if isinstance(fault, RestTruncated):
            return body[: int(len(body) * fault.keep)]
        if isinstance(fault, RestEmpty):
            return b"[]" if body.startswith(b"[") else body
        if isinstance(fault, RestMalformed):
            body, did, row = spoil_reply(body, fault.what, armed.rng, instead=fault.instead)
            number = _number(row)
            now_us = self._yard.now_us()
            self._saboteur.tell(armed, trouble.target, did, (number, number), time_us=now_us)
        return body

    def _remember(self, path: str, symbol: str, target: str, now_us: int) -> Memory:
        lag_us = lag_trades = before_us = behind = 0
        holes: list[tuple[int, int]] = []
        for armed in self._saboteur.of("memory"):
            fault = armed.fault
            wanted = ("depth",) if isinstance(fault, StaleDepth) else _HISTORY
            if path not in wanted or not armed.on_call(path, symbol) or not armed.strikes(now_us):
                continue
            if isinstance(fault, StaleDepth):
                behind = max(behind, fault.behind)
                did = f"{fault.behind} changes behind"
            elif isinstance(fault, LaggingHistory):
                lag_us = max(lag_us, round(fault.lag_seconds * SECOND_US))
                lag_trades = max(lag_trades, fault.lag_trades)
                did = f"lags by {fault.lag_seconds:g} s and {fault.lag_trades} trades"
            elif isinstance(fault, ForgottenHistory):
                before_us = max(before_us, fault.before_us)
                if fault.before_id > 1:
                    holes.append((1, fault.before_id - 1))
                if fault.to_id >= fault.from_id > 0:
                    holes.append((fault.from_id, fault.to_id))
                did = f"forgot before id {fault.before_id}, time {fault.before_us}, and {fault.from_id}..{fault.to_id}"
            else:
                continue
            self._saboteur.tell(armed, target, did, time_us=now_us)
        return Memory(
            lag_us=lag_us, lag_trades=lag_trades, before_us=before_us, holes=tuple(sorted(set(holes))), behind=behind
        )


async def cut_short(request: web.Request, reply: web.Response, trouble: Trouble) -> web.StreamResponse:
    """Send the reply, or with `RestCut` a part of what it promises, and then end the connection."""
    if trouble.armed is None or not isinstance(trouble.armed.fault, RestCut):
        return reply
    body = reply.body if isinstance(reply.body, bytes) else b""
    part = web.StreamResponse(status=reply.status, headers=reply.headers)
    part.content_length = len(body)
    await part.prepare(request)
    await part.write(body[: min(int(len(body) * trouble.armed.fault.keep), len(body) - 1)])
    if request.transport is not None:
        request.transport.close()
    return part


def _did(armed: Armed) -> str:
    fault = armed.fault
    if isinstance(fault, RestError):
        return f"refused with {fault.status}"
    if isinstance(fault, RestSilent):
        return f"no answer for {fault.wait_seconds:g} s"
    if isinstance(fault, RestTruncated):
        return f"body truncated to {fault.keep:g}"
    if isinstance(fault, RestCut):
        return f"cut after {fault.keep:g} of the body"
    return "empty list"


def _number(row: object) -> int:
    """The id of a trade's or an aggregate's row, when a candle opens, the update id of a book; else 0."""
    if isinstance(row, list):
        return row[0] if row and isinstance(row[0], int) else 0
    if isinstance(row, dict):
        return next((row[name] for name in ("id", "a", "lastUpdateId") if isinstance(row.get(name), int)), 0)
    return 0
