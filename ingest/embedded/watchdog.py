"""The end of a throw-away server, whatever happens to the process that wanted it."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ingest
from ingest.embedded import postmaster
from ingest.embedded.binaries import Binaries
from ingest.embedded.cluster import Cluster
from ingest.embedded.command import clean_environment


@contextmanager
def watchdog(tree: Path, folder: Path) -> Iterator[None]:
    """Stop the server in `folder` and delete both when the block ends or this process dies, by SIGKILL too.

    A process in a session of its own reads a pipe from this one, and the kernel closes the pipe at its death.
    (PR_SET_PDEATHSIG would stop the server already at the end of the thread that started it.)
    """
    with subprocess.Popen(
        [sys.executable, "-c", "from ingest.embedded.watchdog import main; main()", tree, folder],
        stdin=subprocess.PIPE,
        start_new_session=True,
        cwd="/",
        env=clean_environment() | {"PYTHONPATH": str(Path(ingest.__file__).parents[1])},
    ):
        yield  # leaving closes the pipe and waits for the process


def main() -> None:
    """Wait for the end of the other process, then tidy up."""
    tree, folder = (Path(word) for word in sys.argv[1:])
    sys.stdin.buffer.read()
    cluster = Cluster(folder, durable=False)
    postmaster.stop(Binaries(tree, "", ""), cluster, at_once=True)
    if folder.exists():
        cluster.delete()
