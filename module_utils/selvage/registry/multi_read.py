"""Many znodes in one request: ZooKeeper's multiRead, which kazoo does not have.

It belongs to ZooKeeper 3.6 and later (`ZooDefs.OpCode.multiRead`, `MultiOperationRecord`), sets no
watches, and costs about a tenth of as many single reads. It knows getData and getChildren alone, so
how large an answer will be cannot be asked in it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from kazoo.client import KazooClient
from kazoo.exceptions import EXCEPTIONS, KazooException
from kazoo.interfaces import IAsyncResult

_GET_DATA: Final = 4
_ERROR: Final = -1
# The type of an operation, whether it is the end of the list, an error code.
_HEADER: Final = struct.Struct("!i?i")
_INTEGER: Final = struct.Struct("!i")
_STAT_SIZE: Final = 68
# Its places in the Stat; `czxid` is its first field.
_NUMBER_OF_CHILDREN: Final = 56
_CZXID: Final = struct.Struct("!q")
_END: Final = _HEADER.pack(_ERROR, True, _ERROR)

# Takes the answer, where a znode's data begins, and its size.
Reader = Callable[[bytes, int, int], object]


def ask(client: KazooClient, paths: Sequence[str], reader: Reader) -> IAsyncResult:
    """Ask for these znodes, all as of one moment.

    The result is a list with, per path, what `reader` made of its data or the exception of that
    path alone; and how many bytes the answer had.
    """
    result = client.handler.async_result()
    client._call(Request(tuple(paths), reader), result)
    return result


def number_of_children(answer: bytes, begin: int, size: int) -> int:
    """A reader of how many children a znode has."""
    (number,) = _INTEGER.unpack_from(answer, begin + size + _NUMBER_OF_CHILDREN)
    return int(number)


def czxid(answer: bytes, begin: int, size: int) -> int:
    """The transaction that made a znode."""
    (number,) = _CZXID.unpack_from(answer, begin + size)
    return int(number)


@dataclass(frozen=True)
class Request:
    """A request as kazoo's connection takes it: its type, its bytes, and the answer's reader."""

    type: ClassVar[int] = 22
    paths: tuple[str, ...]
    reader: Reader

    def serialize(self) -> bytes:
        """The operations, and the end of their list."""
        return b"".join([*map(_operation, self.paths), _END])

    def deserialize(self, answer: bytes, offset: int) -> tuple[list[object | KazooException], int]:
        """What was read of each znode or its exception, in order; the size of all."""
        found: list[object | KazooException] = []
        size_of_all = len(answer) - offset
        while True:
            kind, done, _ = _HEADER.unpack_from(answer, offset)
            offset += _HEADER.size
            if done:
                return found, size_of_all
            (number,) = _INTEGER.unpack_from(answer, offset)
            offset += _INTEGER.size
            if kind == _ERROR:
                found.append(EXCEPTIONS[number]())
                continue
            size = max(0, number)  # -1 is ZooKeeper's null
            found.append(self.reader(answer, offset, size))
            offset += size + _STAT_SIZE


def _operation(path: str) -> bytes:
    encoded = path.encode()
    return _HEADER.pack(_GET_DATA, False, _ERROR) + _INTEGER.pack(len(encoded)) + encoded + b"\0"
