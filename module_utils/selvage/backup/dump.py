"""What is taken of each service, as pieces of one stream. Runs as the service's own user."""

from __future__ import annotations

import os
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Final, cast

from . import frames, transactions
from .settings import Redis, ZooKeeper

_ATTEMPTS: Final = 5
# A program's last words, of which the operator gets some.
_WORDS: Final = 4_096
# What ends a transfer whose length the server did not know; redis-cli cuts it off files alone.
_MARK_SIZE: Final = 40
# Redis's data end with a byte and their checksum.
_END_SIZE: Final = 9
_TAIL: Final = _MARK_SIZE + _END_SIZE
_MARK: Final = re.compile(rb"[0-9a-f]{40}")
_PASSWORD: Final = re.compile(r"^masterauth (\S+)$", re.MULTILINE)


class FailedError(Exception):
    """There is nothing to take; the message is one line for the operator."""


def zookeeper(settings: ZooKeeper, out: IO[bytes], details: dict[str, Any]) -> None:
    """A snapshot and the transactions since, as a tar of files that ZooKeeper itself reads."""
    with ExitStack() as stack:
        (name, file), *logs = _opened(settings, stack)
        with tarfile.open(fileobj=out, mode="w|") as archive:
            add(archive, name, file, os.fstat(file.fileno()).st_size)
            last = transactions.number(name)
            for place, (name, file) in enumerate(logs):
                found = transactions.whole(file)
                if not found.clean and place < len(logs) - 1:
                    raise FailedError(f"{name} is damaged at byte {found.size}")
                file.seek(0)
                if found.size:
                    add(archive, name, file, found.size)
                last = max(last, found.last)
        details["position"] = f"{last:#x}"


def _opened(settings: ZooKeeper, stack: ExitStack) -> list[tuple[str, IO[bytes]]]:
    """The snapshot and the logs, open: ZooKeeper removes old ones, and what is open stays."""
    for _ in range(_ATTEMPTS):
        try:
            snapshot = next(filter(None, map(_sealed, _snapshots(settings.data))), None)
            if snapshot is None:
                raise FailedError(f"{settings.data}: has no whole snapshot yet")
            folder = settings.log / "version-2"
            # Listed after the snapshot, so that none of its transactions is missing.
            names = transactions.logs((path.name for path in folder.iterdir()), snapshot.name)
            files = [(folder / name).open("rb") for name in names]
            opened = [stack.enter_context(file) for file in (snapshot.open("rb"), *files)]
            return list(zip([snapshot.name, *names], opened, strict=True))
        except FileNotFoundError:
            continue
    raise FailedError(f"{settings.data}: its files change all the time")


def _snapshots(data: Path) -> list[Path]:
    folder = data / "version-2"
    return [folder / name for name in transactions.snapshots(p.name for p in folder.iterdir())]


def _sealed(path: Path) -> Path | None:
    """The snapshot if it was written to its end."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - len(transactions.SEAL), 0))
        return path if file.read() == transactions.SEAL else None


def add(archive: tarfile.TarFile, name: str, file: IO[bytes], size: int) -> None:
    """One file of an archive, as long as that."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o640
    archive.addfile(entry, file)


def redis(settings: Redis, out: IO[bytes]) -> None:
    """What a new replica would get: all data as of one moment, in Redis's own format."""
    try:
        password = _PASSWORD.search(settings.secrets.read_text())
    except OSError as error:
        raise FailedError(f"{settings.secrets}: {error.strerror}") from None
    if password is None:
        raise FailedError(f"{settings.secrets}: has no password for replication")
    words = (
        *("redis-cli", "--tls", "--cacert", str(settings.ca), "--user", "replication"),
        *("-h", settings.address, "-p", str(settings.port), "--rdb", "-"),
    )
    last = b""
    for piece in said_by(words, {"REDISCLI_AUTH": password[1]}):
        last += piece
        out.write(last[:-_TAIL])
        last = last[-_TAIL:]
    # The end of the data has a byte that no such character is.
    if _MARK.fullmatch(last[-_MARK_SIZE:]):
        last = last[:-_MARK_SIZE]
    if last[-_END_SIZE:][:1] != b"\xff":
        raise FailedError("redis-cli brings no whole file of Redis's")
    out.write(last)


def said_by(words: Sequence[str], environment: Mapping[str, str]) -> Iterator[bytes]:
    """The pieces that a program writes; raises `FailedError` with its last words if it fails."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=said,
            env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C.UTF-8", **environment},
        )
        try:
            yield from pieces(cast(IO[bytes], process.stdout))
        except BaseException:
            process.kill()
            raise
        finally:
            process.communicate()
        if process.returncode:
            said.seek(max(said.seek(0, os.SEEK_END) - _WORDS, 0))
            words_last = frames.printable(said.read().decode(errors="replace")[-300:])
            raise FailedError(f"{words[0]} failed: {words_last or process.returncode}")


def pieces(out: IO[bytes]) -> Iterator[bytes]:
    """What is read from a pipe."""
    while piece := out.read(frames.PIECE):
        yield piece
