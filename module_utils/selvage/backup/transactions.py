"""ZooKeeper's files: which of them are its whole tree, and how far a log can be trusted.

A snapshot is written while the tree changes, so it needs the transactions from its number on. The
newest log is written to while it is copied: what is not whole at its end is left out. Source of the
formats: ZooKeeper's FileTxnLog, FileSnap and SnapStream; 3.8 and 3.9 write the same.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import IO, Final

_LOG_HEADER: Final = struct.Struct("!4siq")
_MAGIC: Final = b"ZKLG"
# A checksum and the length of what follows it: client, counter, transaction, time, kind.
_RECORD: Final = struct.Struct("!qi")
_TRANSACTION: Final = struct.Struct("!qiq")
_RECORD_END: Final = b"B"
# What the end of a snapshot that is whole says: a string of one character.
SEAL: Final = struct.pack("!i", 1) + b"/"
# A transaction has 256 KiB of data, and the end of a session a path for each of its znodes.
_LARGEST: Final = 1 << 28


class DamagedError(Exception):
    """A file is not what ZooKeeper wrote; the message is one line for the operator."""


@dataclass(frozen=True)
class Log:
    """The part of a log that is whole: its length, and its last transaction, 0 for none."""

    size: int
    last: int
    # Nothing but zeros follows, which ZooKeeper writes ahead.
    clean: bool


def number(name: str) -> int:
    """The transaction in the name of a snapshot or a log."""
    return int(name.partition(".")[2], 16)


def snapshots(names: Iterable[str]) -> list[str]:
    """The snapshots among the names in a folder, the newest first."""
    found = [name for name in names if re.fullmatch(r"snapshot\.[0-9a-f]{1,16}", name)]
    return sorted(found, key=number, reverse=True)


def logs(names: Iterable[str], snapshot: str) -> list[str]:
    """The logs that a snapshot needs, the oldest first: from the one that goes on at its number."""
    found = sorted(
        (name for name in names if re.fullmatch(r"log\.[0-9a-f]{1,16}", name)), key=number
    )
    before: Sequence[str] = [name for name in found if number(name) <= number(snapshot)]
    return found[max(len(before) - 1, 0) :]


def whole(file: IO[bytes]) -> Log:
    """How much of a log is whole; raises `DamagedError` for what is none."""
    header = file.read(_LOG_HEADER.size)
    if not header.strip(b"\0"):
        # Made a moment ago, and nothing written to it yet.
        return Log(0, 0, clean=True)
    if len(header) < _LOG_HEADER.size or _LOG_HEADER.unpack(header)[:2] != (_MAGIC, 2):
        raise DamagedError("is no transaction log")
    size, last = _LOG_HEADER.size, 0
    while True:
        head = file.read(_RECORD.size)
        if not head.strip(b"\0"):
            return Log(size, last, clean=not head or _only_zeros(file))
        if len(head) < _RECORD.size:
            return Log(size, last, clean=False)
        checksum, length = _RECORD.unpack(head)
        if not _TRANSACTION.size <= length <= _LARGEST:
            return Log(size, last, clean=False)
        body = file.read(length + 1)
        if body[length:] != _RECORD_END or zlib.adler32(body[:length]) != checksum:
            return Log(size, last, clean=False)
        size += len(head) + len(body)
        last = _TRANSACTION.unpack_from(body)[2]


def _only_zeros(file: IO[bytes]) -> bool:
    while piece := file.read(1 << 20):
        if piece.strip(b"\0"):
            return False
    return True
