"""The one way to replace a file: a reader finds the former content or the new one, whole."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def write(path: Path, text: str, *, mode: int = 0o644, durable: bool = False) -> os.stat_result:
    """Put a file with this text and mode in the place of `path`; what the new file is like.

    With `durable` it is on disk when this returns, in its folder too. A link at `path` is replaced,
    and no link is followed. Processes may write one path at the same time; threads may not. Raises
    OSError with `path` for its file name, and leaves nothing behind then.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        _remove_abandoned(path)
        # A new file, whoever made something of that name; and nobody else's until it is whole.
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fchmod(descriptor, mode)
            if durable:
                os.fsync(descriptor)
            status = os.fstat(descriptor)
        draft.replace(path)
        if durable:
            sync(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            draft.unlink()
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    return status


def remove(path: Path, *, durable: bool = False) -> None:
    """Remove the file if it is there; raises OSError."""
    path.unlink(missing_ok=True)
    if durable:
        sync(path.parent)


def sync(folder: Path) -> None:
    """Return when the names in the folder are on disk; raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_abandoned(path: Path) -> None:
    """Remove the drafts of processes that were killed: one each time would fill the disk."""
    prefix, suffix = f".{path.name}.", ".new"
    with os.scandir(path.parent) as entries:
        names = [e.name for e in entries if e.name.startswith(prefix) and e.name.endswith(suffix)]
    for name in names:
        owner = name[len(prefix) : -len(suffix)]
        if owner.isdecimal() and (int(owner) == os.getpid() or not _runs(int(owner))):
            path.with_name(name).unlink(missing_ok=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True
