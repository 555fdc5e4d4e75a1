"""A backup on its way: pieces of data, then its end with a checksum, or why there is none.

Without its end a stream is no backup, whoever closed the connection.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import IO, Any, Final

# What one frame holds at most.
PIECE: Final = 262_144
_HEADER: Final = struct.Struct("!cI")
_DATA: Final = b"D"
_END: Final = b"E"
_FAILURE: Final = b"X"


class BrokenError(Exception):
    """No whole backup came; the message is one line for the operator."""


def pack(pieces: Iterable[bytes], details: Callable[[], Mapping[str, Any]]) -> Iterator[bytes]:
    """The frames of a stream; `details` are asked for when all pieces have gone."""
    digest, size = hashlib.sha256(), 0
    for piece in pieces:
        for start in range(0, len(piece), PIECE):
            part = piece[start : start + PIECE]
            digest.update(part)
            size += len(part)
            yield _frame(_DATA, part)
    yield end({**details(), "sha256": digest.hexdigest(), "size": size})


def end(details: Mapping[str, Any]) -> bytes:
    """The last frame."""
    return _frame(_END, json.dumps(dict(details)).encode())


def failure(reason: str) -> bytes:
    """The last frame of a stream that is none."""
    return _frame(_FAILURE, reason.encode()[:PIECE])


def unpack(stream: IO[bytes], write: Callable[[bytes], object]) -> dict[str, Any]:
    """Write the pieces, and return the details of a whole stream; raises `BrokenError`.

    What came is compared with the checksum that its sender made.
    """
    digest, size = hashlib.sha256(), 0
    while True:
        kind, body = _next(stream)
        if kind == _DATA:
            digest.update(body)
            size += len(body)
            write(body)
        elif kind == _FAILURE:
            raise BrokenError(printable(body.decode(errors="replace")))
        elif kind == _END:
            break
        else:
            raise BrokenError("it sends something else than a backup")
    try:
        details = dict(json.loads(body))
    except (ValueError, TypeError):
        raise BrokenError("the end of what it sends is damaged") from None
    checked = size > 0 or "sha256" in details
    if checked and (details.get("sha256"), details.get("size")) != (digest.hexdigest(), size):
        raise BrokenError("what came is not what was sent: its checksum differs")
    return details


def printable(text: str) -> str:
    """A program's words as one line of some length."""
    words = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(words.split())[:300]


def _frame(kind: bytes, body: bytes) -> bytes:
    return _HEADER.pack(kind, len(body)) + body


def _next(stream: IO[bytes]) -> tuple[bytes, bytes]:
    kind, size = _HEADER.unpack(_exactly(stream, _HEADER.size))
    if size > PIECE:
        raise BrokenError("it sends something else than a backup")
    return kind, _exactly(stream, size)


def _exactly(stream: IO[bytes], size: int) -> bytes:
    found = b""
    while len(found) < size:
        piece = stream.read(size - len(found))
        if not piece:
            raise BrokenError("the connection ended before the backup was whole")
        found += piece
    return found
