"""A project-local TimescaleDB, Apache edition, for machines with no server and no container engine.

It is made of Debian 13's own signed packages, unpacked under a cache folder, with nothing changed on the
system; the machine must be Debian 12 or newer, amd64 or arm64. Everything here blocks: call it from a thread
in async code.

    binaries = prepare(default_root(), report)
    server = Server(binaries, default_data_dir(), report=report)
    dsn = server.up()

Where this way is not open, `errors.DatabaseUnavailable` says which ways are.
"""

from ingest.embedded.binaries import Binaries, default_root, installed, prepare
from ingest.embedded.server import ClientCommand, Server, Status, default_data_dir

__all__ = [
    "Binaries",
    "ClientCommand",
    "Server",
    "Status",
    "default_data_dir",
    "default_root",
    "installed",
    "prepare",
]
