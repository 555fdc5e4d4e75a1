"""The node's reconcile lock: cron, the daemon and a person take turns."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class Locked(Exception):
    """The lock cannot be had; the message is one line for the operator."""


@contextmanager
def held(path: Path, limit_s: float, *, create: bool) -> Iterator[None]:
    """Hold the lock file, which stays empty; raises `Locked` after `limit_s` seconds.

    Without `create` a file that is missing means that nobody else is at work: a dry run leaves
    nothing behind. The kernel lets go of the lock when its holder ends, however it ends.
    """
    try:
        descriptor = os.open(
            path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_CREAT if create else 0), 0o600
        )
    except FileNotFoundError as error:
        if create:
            raise Locked(f"{path.parent}: the state directory does not exist") from error
        yield
        return
    except OSError as error:
        raise Locked(f"{path}: {error.strerror}") from error
    try:
        if create:
            _close_to_others(descriptor, path.parent)
        _take(descriptor, path, time.monotonic() + limit_s)
        yield
    finally:
        os.close(descriptor)


def _close_to_others(descriptor: int, folder: Path) -> None:
    """Who can open the file can lock it: that shall be the folder's owner, and root."""
    file, owner = os.fstat(descriptor), folder.stat()
    # A file with another name beside this one may be somebody else's.
    if file.st_nlink != 1:
        return
    # On a read-only disk it stays as it is, and can be locked all the same.
    with suppress(OSError):
        if os.geteuid() == 0:
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        if file.st_mode & 0o077:
            os.fchmod(descriptor, 0o600)


def _take(descriptor: int, path: Path, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                raise Locked(f"{path}: another reconciler is still at work; try again") from error
            time.sleep(0.01)
