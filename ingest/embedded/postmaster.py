"""The running server: whether it runs, its start and its stop. No process is touched before it is known to be ours."""

import os
import socket
import time
from contextlib import suppress
from pathlib import Path

from ingest.embedded.binaries import Binaries
from ingest.embedded.cluster import Cluster, free_port, is_free
from ingest.embedded.command import run, unavailable

START_SECONDS = 300  # recovery after a crash replays up to max_wal_size
FAST_STOP_SECONDS = 60
IMMEDIATE_STOP_SECONDS = 20
LAST_MOMENT_SECONDS = 5
ATTEMPTS = 3
START_LOG = "start.log"


def pid_of(pgdata: Path) -> int | None:
    """The server's process when it runs on `pgdata`; None when it does not, or when its number is another's by now."""
    lines = _pid_file(pgdata)
    if not lines or not lines[0].isdecimal():
        return None
    pid = int(lines[0])
    return pid if _runs_on(pid, pgdata) else None


def start(binaries: Binaries, cluster: Cluster) -> None:
    """Start it and return once it accepts connections; where its port was taken meanwhile, on another.

    Raises DatabaseUnavailable with the log's last lines.
    """
    _clear_stale_pid_file(cluster)
    port = cluster.port if is_free(cluster.port) else free_port()
    for _ in range(ATTEMPTS):  # someone may take the port between the look and the start
        cluster.configure(port)
        log = cluster.logs / START_LOG
        log.unlink(missing_ok=True)
        result = run(
            *(binaries.pg_ctl, "start", "--pgdata", cluster.pgdata, "--log", log),
            *("--wait", "--timeout", str(START_SECONDS), "--silent"),
            cwd=cluster.pgdata,
            account=cluster.account,
        )
        if result.returncode == 0:
            return
        if is_free(port):
            break
        port = free_port()
    raise unavailable(f"the server in {cluster.folder} did not start:\n{result.stdout}{_last_lines(cluster)}")


def wait_until_ready(cluster: Cluster) -> bool:
    """For a server that someone else started: True once it accepts connections, False when it has gone instead."""
    deadline = time.monotonic() + START_SECONDS
    while pid_of(cluster.pgdata) is not None:
        if (lines := _pid_file(cluster.pgdata))[7:] and lines[7].strip() == "ready":
            return True
        if time.monotonic() > deadline:
            raise unavailable(f"the server in {cluster.folder} runs but is not ready:\n{_last_lines(cluster)}")
        time.sleep(0.05)
    return False


def stop(binaries: Binaries, cluster: Cluster, *, at_once: bool = False) -> None:
    """Stop it and wait until it has stopped; open transactions are rolled back.

    `at_once`, or when a clean stop takes too long, it stops as in a crash, and recovers at its next start.
    """
    modes = (("fast", FAST_STOP_SECONDS), ("immediate", IMMEDIATE_STOP_SECONDS))
    for mode, seconds in modes[1:] if at_once else modes:
        if (pid := pid_of(cluster.pgdata)) is None:
            return
        run(
            *(binaries.pg_ctl, "stop", "--pgdata", cluster.pgdata, "--mode", mode),
            *("--wait", "--timeout", str(seconds), "--silent"),
            cwd=cluster.pgdata,
            account=cluster.account,
        )
        _wait_for_the_end(pid, cluster.pgdata)
    if (pid := pid_of(cluster.pgdata)) is not None:
        raise unavailable(f"the server in {cluster.folder} (process {pid}) does not stop:\n{_last_lines(cluster)}")


def _pid_file(pgdata: Path) -> list[str]:
    """Process, data folder, start time, port, socket folder, address, shared memory, state."""
    try:
        return (pgdata / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []


def _runs_on(pid: int, pgdata: Path) -> bool:
    """By its command line, which everyone may read; its working folder is hidden even from a container's root."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return Path(os.fsdecode(words[0])).name == "postgres" and os.fsencode(pgdata) in words[1:]


def _wait_for_the_end(pid: int, pgdata: Path) -> None:
    """The server deletes its pid file, by which pg_ctl judges, a moment before it ends."""
    deadline = time.monotonic() + LAST_MOMENT_SECONDS
    while not _pid_file(pgdata) and _runs_on(pid, pgdata) and time.monotonic() < deadline:
        time.sleep(0.005)


def _clear_stale_pid_file(cluster: Cluster) -> None:
    """Let a start succeed after a crash or a power cut.

    PostgreSQL refuses to start while processes of a killed server still hold its memory: they are waited for. It also
    refuses when the number in its two lock files is another process (or a zombie) by now: then they are removed, unless
    somebody answers on the socket, as a server in another container that shares this folder would.
    """
    lines = _pid_file(cluster.pgdata)
    if not lines:
        return
    deadline = time.monotonic() + LAST_MOMENT_SECONDS
    while _is_attached(lines) and time.monotonic() < deadline:
        time.sleep(0.02)
    if _is_attached(lines) or not Path("/proc", lines[0].strip() or "0").exists():
        return  # PostgreSQL judges these itself
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(cluster.socket_file))
        except OSError:
            for file in (cluster.pgdata / "postmaster.pid", Path(f"{cluster.socket_file}.lock")):
                file.unlink(missing_ok=True)
            return
    raise unavailable(f"{cluster.folder} is in use by a server in another container.")


def _is_attached(pid_file: list[str]) -> bool:
    """Whether a process still holds the shared memory that the pid file names by key and id."""
    words = pid_file[6].split() if pid_file[6:] else []
    with suppress(OSError):
        for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]:
            _, shmid, _, _, _, _, attached, *_ = line.split()
            if shmid in words[1:]:
                return int(attached) > 0
    return False


def _last_lines(cluster: Cluster) -> str:
    lines: list[str] = []
    with suppress(OSError):
        for file in sorted(cluster.logs.glob("*.log"), key=lambda file: file.stat().st_mtime)[-2:]:
            lines += file.read_text(errors="replace").splitlines()[-8:]
    return "\n".join(f"  {line}" for line in lines)
