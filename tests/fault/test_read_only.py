"""A root filesystem that nobody may write: the daemon writes into its spool's folder, and nowhere else."""

import subprocess
from pathlib import Path

import pytest

from tests.fault.conftest import Set
from tests.fault.line import Line

# In a namespace of its own every filesystem is made read-only, /tmp and the home as well, but for the folder $0. What
# is the kernel's stays as it is. Exit 99: something else can be written all the same.
READ_ONLY = """
mount --bind "$0" "$0"
while read -r _ place _; do
  case "$place" in
    "$0"|/proc*|/sys*|/dev|/dev/pts|/dev/mqueue) ;;
    *) mount -o remount,bind,ro "$place" 2>/dev/null ;;
  esac
done < /proc/self/mounts
for place in / /tmp /var/tmp /dev/shm "$HOME" "$PWD" "$(dirname "$0")"; do
  if [ -d "$place" ] && touch "$place/probe.$$" 2>/dev/null; then rm -f "$place/probe.$$"; exit 99; fi
done
touch "$0/probe" && rm "$0/probe" || exit 98
exec "$@"
"""
WITHIN = ("unshare", "--map-root-user", "--mount", "sh", "-c", READ_ONLY)


def test_the_daemon_writes_into_its_spool_and_nowhere_else(
    stage: Set, line: Line, database_url: str, tmp_path: Path
) -> None:
    (tmp_path / "probe").mkdir()
    tried = subprocess.run([*WITHIN, str(tmp_path / "probe"), "true"], check=False, capture_output=True)
    if tried.returncode:
        pytest.skip(f"this machine lets nobody make his filesystems read-only ({tried.returncode})")
    it = stage(line.url, direct_url=database_url, within=[*WITHIN, "{spool}"], extra="database = true\n")
    it.spool.mkdir(mode=0o700)
    it.start_live()
    it.go()
    line.refuse()  # so that the spool is written, too
    it.wait(lambda: it.events("spool.filling") > 0)
    line.accept()
    it.wait(lambda: it.events("spool.drained") > 0)
    trades, candles, _ = it.finish()
    assert (trades.named, candles.named) == (0, 0)
    assert trades.compared > 500
    assert "ead-only file system" not in it.log_file.read_text()
    assert it.count("SELECT count(*) FROM ingest.logs WHERE event = 'spool.filling'") >= 1
