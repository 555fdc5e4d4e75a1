"""Watchers reduced to what the servers see of them, so that hundreds fit into one process.

Each asks as a node's daemon does with its `RegistryView`: for everything after it has connected,
then for what the events say, in the same order and as many znodes at once. Of the answers it keeps
only which instances there are. The first line of standard input says which watchers, each other
one is answered with their tally.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import json
import random
import sys
from collections.abc import Iterator, Sequence

from kazoo.exceptions import EXCEPTIONS
from kazoo.protocol.connection import DELETED_EVENT, PING_XID, WATCH_XID
from kazoo.protocol.serialization import (
    Connect,
    GetChildren,
    GetData,
    Ping,
    Watch,
    int_int_struct,
    int_struct,
    reply_header_struct,
)

from selvage.reconciler.daemon import _JITTER_S
from selvage.registry import multi_read, set_watches
from selvage.registry.reader import _FEW, _FIRST, _READS_AT_ONCE

from .watchers import ROOT, Tally

_SESSION_S = 10.0
# kazoo's: a ping when nothing was sent for so long, less than that by up to 0.4 s.
_SILENCE_S = _SESSION_S / 3
_PAUSE_S = 0.1
_NO_NODE = -101

_Paths = dict[str, None]


@functools.cache
def _request(kind: type[GetChildren | GetData], path: str) -> bytes:
    return int_struct.pack(kind.type) + bytes(kind(path, True).serialize())


def _size(_answer: bytes, _begin: int, size: int) -> int:
    return size


@functools.cache
def _instances(service: str, answer: bytes) -> _Paths:
    """The paths in an answer to GetChildren, in its order; all watchers share them."""
    return {f"{service}/{child}": None for child in GetChildren.deserialize(answer, 0)}


def _parts(paths: Sequence[str]) -> Iterator[Sequence[str]]:
    """What is asked for at once: all answers here are small."""
    start, count = 0, _FIRST
    while start < len(paths):
        yield paths[start : start + count]
        start, count = start + count, min(2 * count, _READS_AT_ONCE)


class _LeanWatcher(asyncio.Protocol):
    """One node."""

    def __init__(self, hosts: Sequence[str], services: Sequence[str], tally: Tally) -> None:
        self._hosts = [host.rsplit(":", 1) for host in hosts]
        self._services = frozenset(f"{ROOT}/{service}" for service in services)
        self._tally = tally
        self._session = (0, bytes(16))
        self._known: dict[str, _Paths] = {}
        self._stale_lists: set[str] = set()
        self._stale_data: set[str] = set()
        self._changed = asyncio.Event()
        self.current = False

    async def run(self) -> None:
        """Follow the registry; a lost connection leads to the next member."""
        jitter_s = 0.0
        for host, port in itertools.cycle(random.sample(self._hosts, len(self._hosts))):
            try:
                async with asyncio.timeout(_SESSION_S / len(self._hosts)):
                    await asyncio.get_running_loop().create_connection(lambda: self, host, port)
                    await self._greet()
                await asyncio.sleep(jitter_s)
                jitter_s = random.uniform(0, _JITTER_S)
                await self._follow()
            except OSError:
                await asyncio.sleep(_PAUSE_S)

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._received = bytearray()
        self._done = asyncio.get_running_loop().create_future()
        self._xid = self._zxid = 0
        self._greeted = False
        self._timer: asyncio.TimerHandle | None = None

    async def _greet(self) -> None:
        request = bytes(Connect(0, 0, round(1000 * _SESSION_S), *self._session, False).serialize())
        try:
            (answer,) = await self._exchange(int_struct.pack(len(request)) + request, 1)
        except asyncio.CancelledError:  # The time is over.
            self._transport.abort()
            raise
        session, _ = Connect.deserialize(answer, 0)
        if not session.time_out:
            raise RuntimeError("a session has expired: the servers were too slow to keep it")
        self._session = (session.session_id, session.passwd)
        self._greeted = True
        self._keep_alive()

    async def _follow(self) -> None:
        self._stale_lists = set(self._services)
        self._stale_data = {path for paths in self._known.values() for path in paths}
        while not self._transport.is_closing():
            self._changed.clear()
            await self._refresh()
            await self._changed.wait()

    async def _refresh(self) -> None:
        lists, self._stale_lists = self._stale_lists, set()
        data, self._stale_data = self._stale_data, set()
        while lists or data:
            services = sorted(lists)
            await self._measure([service for service in services if not self._known.get(service)])
            answers = await self._ask([_request(GetChildren, path) for path in services])
            found = {s: _instances(s, answer) for s, answer in zip(services, answers, strict=True)}
            for path in data:
                service = path.rpartition("/")[0]
                found.setdefault(service, self._known[service])
            unread = [
                path
                for service, paths in found.items()
                for path in paths
                if path in data or path not in self._known.get(service, ())
            ]
            few = len(unread) <= _FEW
            lists = set()
            for part in _parts(unread):
                gone = await (self._read_few(part) if few else self._read_many(part))
                lists |= {path.rpartition("/")[0] for path in gone}
                if self.current:
                    for path in part:
                        self._tally.joined[path].append(self._now())
            self._known |= found
            data = set()
        if not self.current:
            self._tally.complete.append(self._now())
            self.current = True

    async def _measure(self, services: Sequence[str]) -> None:
        """Ask for the lengths of lists that are not known."""
        for part in _parts(services):
            request = multi_read.Request(tuple(part), multi_read.number_of_children)
            await self._ask([int_struct.pack(request.type) + request.serialize()])

    async def _read_few(self, paths: Sequence[str]) -> list[str]:
        """Those that are gone."""
        answers = await self._ask([_request(GetData, path) for path in paths])
        return [path for path, answer in zip(paths, answers, strict=True) if answer is None]

    async def _read_many(self, paths: Sequence[str]) -> list[str]:
        """Those that are gone."""
        since, request = self._zxid, multi_read.Request(tuple(paths), _size)
        (answer,) = await self._ask([int_struct.pack(request.type) + request.serialize()])
        found, _ = request.deserialize(answer, 0)
        gone = [path for path, size in zip(paths, found, strict=True) if not isinstance(size, int)]
        watched = [path for path in paths if path not in gone]
        await self._ask([int_struct.pack(set_watches.TYPE) + set_watches.encoded(watched, since)])
        return gone

    async def _ask(self, requests: Sequence[bytes]) -> list[bytes | None]:
        """Per request the answer's record; None when there is no such znode."""
        if not requests:
            return []
        packets = []
        for request in requests:
            self._xid += 1
            packets.append(int_int_struct.pack(len(request) + int_struct.size, self._xid))
            packets.append(request)
        return await self._exchange(b"".join(packets), len(requests))

    async def _exchange(self, packets: bytes, answers: int) -> list[bytes | None]:
        if self._transport.is_closing():
            raise ConnectionResetError
        self._answers, self._awaited = [], answers
        self._done = asyncio.get_running_loop().create_future()
        self._send(packets)
        return await self._done

    def _send(self, packets: bytes) -> None:
        self._sent_at = self._now()
        self._tally.bytes_sent += len(packets)
        self._transport.write(packets)

    def _keep_alive(self) -> None:
        """Ping in time; a member that said nothing since the last ping is given up."""
        due_at = self._sent_at + _SILENCE_S - random.uniform(0.01, 0.4)
        if due_at <= self._now():
            if not self._heard:
                self._transport.abort()
                return
            self._heard = False
            self._send(
                int_int_struct.pack(2 * int_struct.size, PING_XID) + int_struct.pack(Ping.type)
            )
            due_at = self._sent_at + _SILENCE_S
        self._timer = asyncio.get_running_loop().call_at(due_at, self._keep_alive)

    def data_received(self, data: bytes) -> None:
        self._heard = True
        self._tally.bytes_received += len(data)
        self._received += data
        begin = 0
        while len(self._received) >= begin + int_struct.size:
            (length,) = int_struct.unpack_from(self._received, begin)
            end = begin + int_struct.size + length
            if len(self._received) < end:
                break
            self._take(bytes(self._received[begin + int_struct.size : end]))
            begin = end
        del self._received[:begin]

    def _take(self, packet: bytes) -> None:
        if not self._greeted:
            self._done.set_result([packet])
            return
        xid, zxid, error = reply_header_struct.unpack_from(packet)
        if xid == WATCH_XID:
            self._hear(packet)
        elif xid != PING_XID:
            self._zxid = zxid
            if error not in (0, _NO_NODE):
                raise EXCEPTIONS[error]
            self._answers.append(None if error else packet[reply_header_struct.size :])
            if len(self._answers) == self._awaited:
                self._done.set_result(self._answers)

    def _hear(self, packet: bytes) -> None:
        event, _ = Watch.deserialize(packet, reply_header_struct.size)
        if event.path in self._services:
            self._stale_lists.add(event.path)
        else:
            self._stale_data.add(event.path)
            if event.type == DELETED_EVENT:
                self._stale_lists.add(event.path.rpartition("/")[0])
        self._changed.set()

    def connection_lost(self, error: Exception | None) -> None:
        if self._timer:
            self._timer.cancel()
        if self._greeted:
            self._tally.lost.append(self._now())
        self.current = False
        if not self._done.done():
            self._done.set_exception(ConnectionResetError())
        self._changed.set()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    words = asyncio.StreamReader(limit=2**24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(words), sys.stdin)
    order = json.loads(await words.readline())
    tally = Tally(len(order["subscriptions"]))
    watchers = [_LeanWatcher(order["hosts"], s, tally) for s in order["subscriptions"]]
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(watcher.run()) for watcher in watchers]
        while await words.readline():
            print(tally.dump(sum(watcher.current for watcher in watchers)), flush=True)
        for task in running:
            task.cancel()


if __name__ == "__main__":
    asyncio.run(_serve())
