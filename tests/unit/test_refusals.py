"""Each venue refuses one symbol of several in its own way, and its session goes on with the others."""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from msgspec import structs
from websockets.asyncio.server import ServerConnection

from ingest.collect.session import Session
from ingest.exchanges import ADAPTERS
from ingest.exchanges.adapter import Adapter, Options
from ingest.records import Channel, Instrument, Stream
from tests.unit.scripted import Sink, serving, until

pytestmark = pytest.mark.timeout(20)

Message = dict[str, Any]
Answer = Callable[[Message, set[str]], Iterator[Message]]
"""What the venue says to a request; the set is what it has subscribed, and grows."""


def kraken(asked: Message, _held: set[str]) -> Iterator[Message]:
    for symbol in asked["params"]["symbol"]:
        said: Message = {"method": "subscribe", "req_id": asked["req_id"], "success": symbol != "BAD/USD"}
        if symbol == "BAD/USD":
            yield said | {"error": f"Currency pair not supported {symbol}", "symbol": symbol}
        else:
            yield said | {"result": {"channel": asked["params"]["channel"], "symbol": symbol}}


def okx(asked: Message, _held: set[str]) -> Iterator[Message]:
    for argument in asked["args"]:
        if argument["instId"].startswith("BAD"):
            named = f"channel:{argument['channel']},instId:{argument['instId']}"
            said = f"Wrong URL or {named} doesn't exist. Please use the correct URL, channel and parameters."
            yield {"event": "error", "id": asked["id"], "code": "60018", "msg": said}
        else:
            yield {"event": "subscribe", "id": asked["id"], "arg": argument}


def bybit(asked: Message, _held: set[str]) -> Iterator[Message]:
    bad = next((topic for topic in asked["args"] if ".BAD" in topic), None)
    said = "" if bad is None else f"error:handler not found,topic:{bad}"
    yield {"op": "subscribe", "req_id": asked["req_id"], "success": bad is None, "ret_msg": said, "conn_id": "x"}


def coinbase(asked: Message, held: set[str]) -> Iterator[Message]:
    products = asked.get("product_ids", [])
    if "BAD-USD" in products:
        yield {"type": "error", "message": "Failed to subscribe", "reason": "BAD-USD is not a valid product"}
        return
    held.update(f"{asked['channel']} {product}" for product in products or [""])
    subscribed: dict[str, list[str]] = {}
    for each in held:
        name, _, product = each.partition(" ")
        subscribed.setdefault(name, []).extend([product] if product else [])
    yield {
        "channel": "subscriptions", "timestamp": "2026-11-21T12:00:00.000000Z", "sequence_num": 0,
        "events": [{"subscriptions": subscribed}],
    }  # fmt: skip


VENUES: Mapping[str, tuple[Answer, str]] = {
    "kraken": (kraken, "/"),
    "okx": (okx, "-"),
    "bybit": (bybit, ""),
    "coinbase": (coinbase, "-"),
}


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


@pytest.mark.parametrize("exchange", VENUES)
async def test_the_others_of_its_connection_go_on(exchange: str) -> None:
    answer, between = VENUES[exchange]
    held: set[str] = set()

    async def handler(socket: ServerConnection) -> None:
        async for text in socket:
            for said in answer(json.loads(text), held):
                await socket.send(json.dumps(said))

    def stream(number: int, base: str, channel: Channel) -> Stream:
        instrument = Instrument(exchange, f"{base}/USD", f"{base}{between}USD", "spot", base, "USD")
        return Stream(number, instrument, channel)

    channels: tuple[Channel, ...] = ("ticker",) if exchange == "okx" else ("trades", "ticker")
    streams = [stream(n, base, channel) for channel in channels for n, base in enumerate(("BTC", "BAD", "ETH"), 1)]
    sink = Sink()
    async with serving(handler) as url:
        it = Session(quick(ADAPTERS[exchange])(ids(exchange, streams), Options(ws_url=url)), streams, sink)
        running = asyncio.create_task(it.run())
        await until(it.live.is_set)
        await it.close()
        await running
    assert sorted((s.instrument.base, s.channel) for s, _ in sink.refused) == [("BAD", c) for c in sorted(channels)]
    assert all("BAD" in said for _, said in sink.refused)


def quick(adapter: type[Adapter]) -> type[Adapter]:
    """Without the pause between two messages."""
    limits = structs.replace(adapter.limits, messages_per_second=10_000)
    return type(adapter.__name__, (adapter,), {"limits": limits})


def ids(exchange: str, streams: list[Stream]) -> dict[str, int]:
    return {ADAPTERS[exchange].key(stream.instrument): stream.instrument_id for stream in streams}
