"""The server's settings, suited to the machine."""

import os
import stat
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

MIB = 1024 * 1024
SHM = Path("/dev/shm")  # noqa: S108 # the mount, not a temporary file
OPEN_TO_ALL = stat.S_IWOTH | stat.S_IXOTH


class Memory(Struct, frozen=True):
    """Sizes in MiB, named as PostgreSQL names them."""

    shared_buffers: int
    effective_cache_size: int
    work_mem: int
    maintenance_work_mem: int
    max_wal_size: int


def memory_for(machine_bytes: int) -> Memory:
    """An eighth of the machine for shared buffers, at most 2 GiB: the daemon and the page cache need the rest."""
    total = machine_bytes // MIB
    return Memory(
        shared_buffers=min(max(total // 8, 64), 2048),
        effective_cache_size=max(total // 2, 128),
        work_mem=min(max(total // 256, 4), 64),
        maintenance_work_mem=min(max(total // 32, 32), 512),
        max_wal_size=min(max(total // 4, 512), 4096),
    )


def machine_bytes(cgroup_limit: Path = Path("/sys/fs/cgroup/memory.max")) -> int:
    """The memory this process may use: the machine's, or less where a container says so."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with suppress(OSError, ValueError):  # no such file outside cgroup 2; "max" where there is no limit
        return min(physical, int(cgroup_limit.read_text()))
    return physical


def configuration(
    *, memory: Memory, port: int, sockets: Path, durable: bool, time_zone: str, dynamic_shared_memory: str
) -> str:
    """The text of `ingest.conf`, which postgresql.conf includes last."""
    lines = [
        "# Written by ingest at each start; set what you want otherwise with ALTER SYSTEM.",
        "listen_addresses = '127.0.0.1'",
        f"port = {port}",
        f"unix_socket_directories = '{_quoted(sockets)}'",
        "unix_socket_permissions = 0700",
        "password_encryption = 'scram-sha-256'",
        "max_connections = 100",
        "shared_preload_libraries = 'timescaledb'",
        "timescaledb.telemetry_level = off",
        f"shared_buffers = {memory.shared_buffers}MB",
        f"effective_cache_size = {memory.effective_cache_size}MB",
        f"work_mem = {memory.work_mem}MB",
        f"maintenance_work_mem = {memory.maintenance_work_mem}MB",
        f"max_wal_size = {memory.max_wal_size}MB",
        "checkpoint_timeout = 15min",
        "wal_compression = lz4",
        "max_locks_per_transaction = 256  # a query over a hypertable locks each of its chunks",
        "random_page_cost = 1.1",
        "jit = off  # its compiler is not unpacked",
        f"dynamic_shared_memory_type = {dynamic_shared_memory}",
        f"timezone = '{time_zone}'",
        f"log_timezone = '{time_zone}'",
        "logging_collector = on",
        "log_directory = '../log'",
        "log_filename = 'postgresql-%a.log'  # a file a weekday, overwritten a week later",
        "log_truncate_on_rotation = on",
        "log_rotation_age = 1d",
        "log_rotation_size = 0",
        "log_min_messages = warning",
        "log_line_prefix = '%m [%p] %q%u@%d %a '",
    ]
    if not durable:
        lines += [
            "# A throw-away server: killed, it forgets its last commits; a crash of the machine may break it.",
            "fsync = off",
            "synchronous_commit = off",
            "full_page_writes = off",
            "wal_level = minimal",
            "max_wal_senders = 0",
        ]
    return "\n".join(lines) + "\n"


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def time_zone(zones: Path = Path("/usr/share/zoneinfo")) -> str:
    """UTC; under its built-in name where the system has no time zone data, which Debian's server reads from there."""
    return "UTC" if (zones / "UTC").exists() else "GMT"


def dynamic_shared_memory(*, own_account: bool, shm: Path = SHM) -> str:
    """`posix`, or `mmap` where POSIX shared memory would fail under a parallel query.

    Containers give /dev/shm 64 MB, a chroot may close it, and systemd deletes an ordinary user's segments when
    the user logs out.
    """
    try:
        state, mode = os.statvfs(shm), shm.stat().st_mode
    except OSError:
        return "mmap"
    usable = state.f_blocks * state.f_frsize >= 256 * MIB and mode & OPEN_TO_ALL == OPEN_TO_ALL
    return "posix" if own_account and usable else "mmap"
