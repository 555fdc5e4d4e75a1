"""What ZooKeeper holds about some services: read on demand, and kept current.

An error is never read as absence: what is read is what the registry holds, or the reading raises
`RegistryUnavailable`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Final

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException, NoAuthError, NoNodeError
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.interfaces import IAsyncResult
from kazoo.protocol.states import EventType, WatchedEvent

from . import multi_read, set_watches
from .connection import RegistryUnavailable

_FORBIDDEN = "reading is not allowed: check username, password and the znodes' ACLs"

# Per service the children with their data, or the reason why they are not known.
Content = Mapping[str, Mapping[str, bytes] | str]

_Found = dict[tuple[str, str], bytes | KazooException]
_Watch = Callable[[WatchedEvent], None]
_READS_AT_ONCE: Final = 256
# Of paths in one request: ZooKeeper takes no requests of 1 MiB (jute.maxbuffer), and a character
# may have four bytes.
_CHARACTERS_AT_ONCE: Final = 128 * 1024
# So many are read and watched with a request each; more take two requests for all.
_FEW: Final = 2


class RegistryView:
    """The instances of some services, read on demand: only what has changed since the last read.

    With `on_change`, every node that is read is watched: changes mark what is stale and call
    `on_change` on kazoo's thread. kazoo does not set its watches again after a lost connection:
    call `expire` whenever the client becomes CONNECTED. Reading is for one thread.
    """

    def __init__(
        self,
        client: KazooClient,
        root: str,
        services: Iterable[str],
        on_change: Callable[[], None] | None = None,
    ) -> None:
        self._client = client
        self._root = root
        self._services = frozenset(services)
        self._on_change = on_change
        # kazoo keeps watchers in sets: one bound method for all of them is kept once per path.
        self._watch: _Watch | None = self._event if on_change else None
        self._content: dict[str, dict[str, bytes]] = {}
        self._forbidden: set[str] = set()
        self._lock = threading.Lock()
        self._stale_lists: set[str] = set()
        self._stale_data: set[tuple[str, str]] = set()
        self.expire()

    @property
    def content(self) -> Content:
        """What was read last; empty before the first refresh.

        A service that did not change is the same object as before.
        """
        return {**self._content, **dict.fromkeys(self._forbidden, _FORBIDDEN)}

    def expire(self) -> None:
        """Mark everything as stale."""
        with self._lock:
            self._stale_lists = set(self._services)
            self._stale_data = {(s, c) for s, data in self._content.items() for c in data}

    def refresh(self, limit_s: float) -> None:
        """Read what is stale, within `limit_s` seconds.

        A service whose znode does not exist is empty. Raises `RegistryUnavailable`; the content
        is then what it was before.
        """
        with self._lock:
            lists, self._stale_lists = self._stale_lists, set()
            data, self._stale_data = self._stale_data, set()
        try:
            self._read(lists, data, time.monotonic() + limit_s)
        except (KazooException, KazooTimeoutError) as error:
            with self._lock:
                self._stale_lists |= lists
                self._stale_data |= data
            raise RegistryUnavailable(_reason(error)) from error

    def verify(self, limit_s: float) -> None:
        """Mark as stale what is not what was read, in case a watch was missed.

        Costs about a tenth of `expire` and `refresh`. Raises `RegistryUnavailable`.
        """
        deadline = time.monotonic() + limit_s
        try:
            lists, data = self._differences(deadline)
        except (KazooException, KazooTimeoutError) as error:
            raise RegistryUnavailable(_reason(error)) from error
        with self._lock:
            self._stale_lists |= lists
            self._stale_data |= data

    def _differences(self, deadline: float) -> tuple[set[str], set[tuple[str, str]]]:
        requests = {
            service: self._client.get_children_async(self._path(service))
            for service in self._content.keys() - self._forbidden
        }
        lists = set()
        for service, request in requests.items():
            try:
                children = request.get(timeout=_left(deadline))
            except NoNodeError:
                children = []
            if self._content[service].keys() != set(children):
                lists.add(service)
        known = [(s, c) for s in requests.keys() - lists for c in self._content[s]]
        found = self._get_many(known, deadline)
        return lists, {(s, c) for s, c in known if found[s, c] != self._content[s][c]}

    def _read(self, lists: set[str], data: set[tuple[str, str]], deadline: float) -> None:
        # A client that sees a member for the first time does not know how far behind it is.
        synced = self._client.sync_async(self._root) if self._watch is None else None
        get = partial(self._get_and_watch, self._watch) if self._watch else self._get_many
        forbidden = self._forbidden - lists
        # What is not known, or stale, is None until it is read.
        read: dict[str, dict[str, bytes | None]] = {}
        while lists or data:
            requests = {service: self._list(service) for service in sorted(lists)}
            for service, request in requests.items():
                former = read.get(service, self._content.get(service, {}))
                try:
                    children = self._children(service, request, deadline)
                except NoAuthError:
                    forbidden.add(service)
                else:
                    read[service] = {child: former.get(child) for child in children}
            for service, child in data:
                stale = read.setdefault(service, {**self._content.get(service, {})})
                if child in stale:
                    stale[child] = None
            unread = [(s, c) for s, known in read.items() for c, d in known.items() if d is None]
            lists, data = set(), set()
            for (service, child), found in get(unread, deadline).items():
                if isinstance(found, bytes):
                    read[service][child] = found
                elif isinstance(found, NoNodeError):
                    # One transaction may have replaced it by others: the list tells.
                    lists.add(service)
                elif isinstance(found, NoAuthError):
                    forbidden.add(service)
                else:
                    raise found
        if synced is not None:
            synced.get(timeout=_left(deadline))
        if forbidden and forbidden == self._services:
            raise NoAuthError
        for service, known_data in read.items():
            complete = {child: d for child, d in known_data.items() if d is not None}
            if self._content.get(service) != complete:
                self._content[service] = complete
        self._forbidden = forbidden
        with self._lock:
            self._stale_lists |= forbidden

    def _get_many(self, znodes: list[tuple[str, str]], deadline: float) -> _Found:
        requests = [
            (part, multi_read.get_data(self._client, [self._path(*znode) for znode in part]))
            for part in self._parts(znodes)
        ]
        found: _Found = {}
        for part, request in requests:
            found.update(zip(part, request.get(timeout=_left(deadline)), strict=True))
        return found

    def _get_and_watch(
        self, watch: _Watch, znodes: list[tuple[str, str]], deadline: float
    ) -> _Found:
        if len(znodes) > _FEW:
            return self._get_and_watch_many(watch, znodes, deadline)
        found: _Found = {}
        requests = [self._client.get_async(self._path(*znode), watch=watch) for znode in znodes]
        for znode, request in zip(znodes, requests, strict=True):
            try:
                # kazoo has None for a znode that was made without data.
                found[znode] = request.get(timeout=_left(deadline))[0] or b""
            except (NoNodeError, NoAuthError) as error:
                found[znode] = error
        return found

    def _get_and_watch_many(
        self, watch: _Watch, znodes: list[tuple[str, str]], deadline: float
    ) -> _Found:
        found: _Found = {}
        watches = []
        # Part by part: after an outage many watchers ask at once, and each asks for much.
        for part in self._parts(znodes):
            since = self._client.last_zxid
            read = self._get_many(part, deadline)
            paths = [self._path(*znode) for znode in part if isinstance(read[znode], bytes)]
            watches.append(set_watches.on_data(self._client, paths, since, watch))
            found.update(read)
        for request in watches:
            request.get(timeout=_left(deadline))
        return found

    def _children(self, service: str, request: IAsyncResult, deadline: float) -> list[str]:
        while True:
            try:
                children: list[str] = request.get(timeout=_left(deadline))
                return children
            except NoNodeError:
                if self._watch is None:
                    return []
                exists = self._client.exists_async(self._path(service), watch=self._watch)
                if exists.get(timeout=_left(deadline)) is None:
                    return []
            # It was made between the two requests.
            request = self._list(service)

    def _list(self, service: str) -> IAsyncResult:
        return self._client.get_children_async(self._path(service), watch=self._watch)

    def _path(self, *names: str) -> str:
        return "/".join((self._root, *names))

    def _parts(self, znodes: list[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
        """What fits into one request."""
        part: list[tuple[str, str]] = []
        characters = 0
        for znode in znodes:
            length = len(self._path(*znode))
            if part and (len(part) == _READS_AT_ONCE or characters + length > _CHARACTERS_AT_ONCE):
                yield part
                part, characters = [], 0
            part.append(znode)
            characters += length
        if part:
            yield part

    def _event(self, event: WatchedEvent) -> None:
        if event.path is None:
            return  # The connection's state; `expire` answers it.
        service, _, child = event.path.removeprefix(f"{self._root}/").partition("/")
        with self._lock:
            if child:
                self._stale_data.add((service, child))
            if not child or event.type == EventType.DELETED:
                self._stale_lists.add(service)
        if self._on_change:
            self._on_change()


def _left(deadline: float) -> float:
    return max(0.0, deadline - time.monotonic())


def _reason(error: Exception) -> str:
    if isinstance(error, NoAuthError):
        return f"the registry: {_FORBIDDEN}"
    return f"the registry does not answer ({type(error).__name__})"
