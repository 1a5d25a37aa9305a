"""Whom the server runs as, and which folders that account can reach."""

import os
import pwd
import stat
from pathlib import Path

from msgspec import Struct


class Account(Struct, frozen=True):
    """An unprivileged account that root drops to, since PostgreSQL refuses to run as root."""

    name: str
    uid: int
    gid: int


def server_account(data: Path | None = None) -> Account | None:
    """None unless the caller is root; then the owner of `data`, where that exists, else `postgres`, else `nobody`.

    The owner comes first: a `postgres` account that appears later must not lock out a server begun as `nobody`.
    """
    if os.geteuid() != 0:
        return None
    if data is not None and data.exists() and (owner := data.stat().st_uid) != 0:
        return _account(pwd.getpwuid(owner))
    for name in ("postgres", "nobody"):
        try:
            return _account(pwd.getpwnam(name))
        except KeyError:
            continue
    return Account("nobody", 65534, 65534)


def _account(entry: pwd.struct_passwd) -> Account:
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def barrier(path: Path, account: Account | None) -> Path | None:
    """The first folder on the way to `path` that `account` may not pass; None when the way is open.

    Folders that do not exist yet are no barrier: `ensure_folder` will make them passable.
    """
    if account is None:
        return None
    for folder in (*reversed(path.parents), path):
        try:
            entry = folder.stat()
        except FileNotFoundError:
            return None
        if not _passable(entry, account):
            return folder
    return None


def _passable(entry: os.stat_result, account: Account) -> bool:
    if entry.st_uid == account.uid:
        return bool(entry.st_mode & stat.S_IXUSR)
    if entry.st_gid == account.gid:
        return bool(entry.st_mode & stat.S_IXGRP)
    return bool(entry.st_mode & stat.S_IXOTH)


def ensure_folder(path: Path, mode: int = 0o755, account: Account | None = None) -> None:
    """Make `path` with `mode`, owned by `account`; missing parents are made passable for all, whatever the umask.

    What is there already stays as it is: the caller judges whether it can be trusted.
    """
    if not path.parent.is_dir():
        ensure_folder(path.parent)
    try:
        path.mkdir(mode)
    except FileExistsError:
        return
    path.chmod(mode)
    give(path, account)


def give(path: Path, account: Account | None) -> None:
    if account:
        os.chown(path, account.uid, account.gid)
