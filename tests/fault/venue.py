"""The venue as a process that can be told to misbehave."""

import urllib.request

import msgspec

from ingest.simulator.faults import Fault, fields
from ingest.simulator.listing import Listed
from ingest.simulator.saboteur import Incident
from tests.end_to_end.processes import Simulator


class Venue(Simulator):
    """Frozen until `go`. Faults act until they end by themselves, or until `calm`."""

    def go(self) -> None:
        self.ledger.pause(paused=False)

    def freeze(self) -> None:
        self.ledger.pause(paused=True)

    def fault(self, fault: Fault) -> None:
        kind = type(fault)
        said = {name: getattr(fault, name) for name in fields(kind)}
        self._post("fault", msgspec.json.encode({"kind": kind.__struct_config__.tag, **said}))

    def chaos(self, seed: int, per_minute: float, weights: dict[str, float] | None = None) -> None:
        order = {"seed": seed, "per_minute": per_minute, "weights": weights or {}}
        self._post("chaos", msgspec.json.encode(order))

    def calm(self) -> None:
        """No fault any more, neither random nor set down for later."""
        self._post("calm", b"{}")

    def burst(self, symbol: str, trades: int) -> None:
        self._post("burst", msgspec.json.encode({"symbol": symbol, "trades": trades}))

    def list_as(self, symbol: str, listed: Listed) -> None:
        """What its listing says of the instrument from now on."""
        self._post("listing", msgspec.json.encode({"symbol": symbol, "listed": listed}))

    def incidents(self, kind: str = "") -> list[Incident]:
        """What faults did so far."""
        with urllib.request.urlopen(f"{self.url}/ledger/faults?kind={kind}", timeout=30) as reply:  # noqa: S310 - our own url
            return [msgspec.json.decode(line, type=Incident) for line in reply]

    def _post(self, path: str, body: bytes) -> None:
        with urllib.request.urlopen(f"{self.url}/control/{path}", data=body, timeout=30) as reply:  # noqa: S310 - our own url
            reply.read()
