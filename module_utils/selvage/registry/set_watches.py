"""Watches on many znodes' data in one request: ZooKeeper's setWatches, which kazoo does not have.

ZooKeeper's own clients set their watches again with it after a lost connection
(`ZooDefs.OpCode.setWatches`, `SetWatches` in zookeeper.jute).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from kazoo.client import KazooClient
from kazoo.interfaces import IAsyncResult
from kazoo.protocol.states import WatchedEvent

TYPE: Final = 101
_INTEGER: Final = struct.Struct("!i")
_ZXID: Final = struct.Struct("!q")
# No watches on existence, none on children.
_NO_OTHERS: Final = 2 * _INTEGER.pack(0)


def on_data(
    client: KazooClient, paths: Sequence[str], since: int, watch: Callable[[WatchedEvent], None]
) -> IAsyncResult:
    """Watch these znodes; what changed after the transaction `since`, or is gone, fires at once.

    `since` has to be what `client.last_zxid` was before the znodes were read: an answer's own zxid
    may be that of a change that came while the answer was made.
    """
    result = client.handler.async_result()
    client._call(_Request(client, tuple(paths), since, watch), result)
    return result


def encoded(paths: Sequence[str], since: int) -> bytes:
    """The record SetWatches with these watches on data alone."""
    names = [path.encode() for path in paths]
    return b"".join(
        [
            _ZXID.pack(since) + _INTEGER.pack(len(names)),
            *(_INTEGER.pack(len(name)) + name for name in names),
            _NO_OTHERS,
        ]
    )


@dataclass(frozen=True)
class _Request:
    """A request as kazoo's connection takes it: its type, its bytes, and the answer's reader."""

    type: ClassVar[int] = TYPE
    client: KazooClient
    paths: tuple[str, ...]
    since: int
    watch: Callable[[WatchedEvent], None]

    def serialize(self) -> bytes:
        """The watches; and make them known to kazoo.

        The connection's thread asks for the bytes just before it sends them. Only this thread may
        touch kazoo's watchers, and the first of them fire before the answer is there.
        """
        for path in self.paths:
            self.client._data_watchers[path].add(self.watch)
        return encoded(self.paths, self.since)

    @classmethod
    def deserialize(cls, _answer: bytes, _offset: int) -> None:
        """It says nothing."""
