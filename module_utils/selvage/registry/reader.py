"""What znodes hold, read in answers of bounded size.

Who may write into the registry decides how large its data is, and a server holds each answer in
memory, for each of its clients. So many znodes are asked for at once as made a small answer before:
few at first, and in random order, so that nobody can put the large ones where many are read.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final, Generic, TypeVar

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException, NoAuthError, NoNodeError
from kazoo.protocol.states import WatchedEvent

from ..formats.registrations import Dated
from ..formats.znode import MAX_BYTES
from . import multi_read, set_watches

FORBIDDEN: Final = "reading is not allowed: check username, password and the znodes' ACLs"
TOO_LARGE: Final = f"the data is larger than {MAX_BYTES} bytes"

# A service and its child.
Znode = tuple[str, str]
# The data or why it was not read; None when the znode is gone.
Found = bytes | Dated | str | None
Watch = Callable[[WatchedEvent], None]

_T = TypeVar("_T")

# So many are read and watched with a request each; more take two requests for all.
_FEW: Final = 2
_FIRST: Final = 4
_READS_AT_ONCE: Final = 256
_ANSWER_BYTES: Final = 256 * 1024
# Of paths in one request: a character may have four bytes, and ZooKeeper takes no requests above
# jute.maxbuffer, which is 1 MiB, or 256 KiB where role `zookeeper` configured it.
_CHARACTERS_AT_ONCE: Final = 32 * 1024


class Reader:
    """Reads through one client, and sets a `watch` on what it read. For one thread.

    Data above `MAX_BYTES` is refused, and not kept. Where that was found once, in the services
    `large`, sizes are asked for before data. The data of services that are `dated` comes with the
    transaction that made its znode. Raises KazooException and KazooTimeoutError.
    """

    def __init__(
        self,
        client: KazooClient,
        root: str,
        watch: Watch | None,
        dated: Collection[str] = (),
    ) -> None:
        self._client = client
        self._root = root
        self._watch = watch
        self._dated = dated
        self.large: set[str] = set()

    def path(self, *names: str) -> str:
        """Of a service, or one of its children."""
        return "/".join((self._root, *names))

    def numbers(self, services: Iterable[str], deadline: float) -> dict[str, int | KazooException]:
        """How many children each service has."""
        found: dict[str, int | KazooException] = {}
        window = _Window([*services])
        while part := window.next(self.path):
            paths = [self.path(service) for service in part]
            request = multi_read.ask(self._client, paths, multi_read.number_of_children)
            numbers, size = request.get(timeout=left(deadline))
            window.answered(size)
            found.update(zip(part, numbers, strict=True))
        return found

    def data(
        self, znodes: Collection[Znode], skipped: Collection[str], deadline: float
    ) -> Iterator[dict[Znode, Found]]:
        """The znodes, answer by answer, without those of services that are `skipped` by then."""
        if len(znodes) <= _FEW and self._watch and not any(s in self.large for s, _ in znodes):
            yield self._few(znodes, self._watch, deadline)
            return
        watches = []
        window = _Window([*znodes])
        while part := window.next(lambda znode: self.path(*znode)):
            part = [znode for znode in part if znode[0] not in skipped]
            if not part:
                continue
            since = self._client.last_zxid
            found = self._refused(part, deadline)
            unread = [znode for znode in part if znode not in found]
            if unread:
                paths = [self.path(*znode) for znode in unread]
                values, size = multi_read.ask(self._client, paths, _data).get(
                    timeout=left(deadline)
                )
                window.answered(size)
                for znode, value in zip(unread, map(_outcome, values), strict=True):
                    if isinstance(value, Dated) and znode[0] not in self._dated:
                        found[znode] = value.data
                    else:
                        found[znode] = value
            self.large |= {service for (service, _), value in found.items() if value is TOO_LARGE}
            if self._watch:
                paths = [self.path(*z) for z, value in found.items() if _is_watchable(value)]
                watches.append(set_watches.on_data(self._client, paths, since, self._watch))
            yield found
        for request in watches:
            request.get(timeout=left(deadline))

    def _few(self, znodes: Collection[Znode], watch: Watch, deadline: float) -> dict[Znode, Found]:
        requests = {z: self._client.get_async(self.path(*z), watch=watch) for z in znodes}
        found: dict[Znode, Found] = {}
        for znode, request in requests.items():
            try:
                # kazoo has None for a znode that was made without data.
                data, stat = request.get(timeout=left(deadline))
                data = data or b""
            except (NoNodeError, NoAuthError) as error:
                found[znode] = _outcome(error)
            else:
                if len(data) > MAX_BYTES:
                    found[znode] = TOO_LARGE
                    self.large.add(znode[0])
                else:
                    found[znode] = Dated(data, stat.czxid) if znode[0] in self._dated else data
        return found

    def _refused(self, znodes: Iterable[Znode], deadline: float) -> dict[Znode, Found]:
        """Those of services with large data that need not be read."""
        requests = {
            znode: self._client.exists_async(self.path(*znode))
            for znode in znodes
            if znode[0] in self.large
        }
        found: dict[Znode, Found] = {}
        for znode, request in requests.items():
            try:
                stat = request.get(timeout=left(deadline))
            except NoAuthError as error:
                found[znode] = _outcome(error)
            else:
                if stat is None or stat.dataLength > MAX_BYTES:
                    found[znode] = None if stat is None else TOO_LARGE
        return found


class _Window(Generic[_T]):
    """Parts of what is unread: after a small answer twice as many, after a large one fewer."""

    def __init__(self, unread: list[_T]) -> None:
        self._unread = unread
        self._asked = 0
        self._next = _FIRST
        random.shuffle(unread)

    def next(self, path: Callable[[_T], str]) -> list[_T]:
        """What is to be asked for now; empty at the end."""
        part: list[_T] = []
        size = 0
        while self._unread and len(part) < self._next:
            size += len(path(self._unread[-1]))
            if part and size > _CHARACTERS_AT_ONCE:
                break
            part.append(self._unread.pop())
        self._asked = len(part)
        self._next = min(2 * self._next, _READS_AT_ONCE)
        return part

    def answered(self, size: int) -> None:
        """So many bytes came back."""
        if size > _ANSWER_BYTES // 2:
            self._next = max(1, min(self._next, self._asked * _ANSWER_BYTES // size))


def left(deadline: float) -> float:
    """Seconds until then."""
    return max(0.0, deadline - time.monotonic())


def _data(answer: bytes, begin: int, size: int) -> Dated | str:
    if size > MAX_BYTES:
        return TOO_LARGE
    return Dated(bytes(answer[begin : begin + size]), multi_read.czxid(answer, begin, size))


def _outcome(value: Dated | str | Exception) -> Dated | str | None:
    if isinstance(value, NoNodeError):
        return None
    if isinstance(value, NoAuthError):
        return FORBIDDEN
    if isinstance(value, Exception):
        raise value
    return value


def _is_watchable(value: Found) -> bool:
    return isinstance(value, (bytes, Dated)) or value is TOO_LARGE
