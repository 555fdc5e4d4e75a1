"""What ZooKeeper holds about some services: read on demand, and kept current.

An error is never read as absence: what is read is what the registry holds, or the reading raises
`RegistryUnavailable`.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping
from typing import Final

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException, NoAuthError, NoNodeError
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.interfaces import IAsyncResult
from kazoo.protocol.states import EventType, WatchedEvent

from ..catalogue import Guards
from ..formats.registrations import Children, Dated
from ..formats.znode import MAX_NAME
from . import shares
from .connection import RegistryUnavailable
from .reader import FORBIDDEN, TOO_LARGE, Found, Reader, Watch, left
from .shares import Shares

# Per service the children with their data, or the reason why they are not known. A child has a
# reason in place of its data when that was not read.
Content = Mapping[str, Children | str]

_TOO_LONG: Final = f"the name is longer than {MAX_NAME} characters"
_UNREAD: Final = "it has not been read completely yet"
# Nothing tells that an ACL has changed, or that a list that was not read has become shorter.
_AGAIN_S: Final = 10.0
# How often a list is read anew in one turn, because what was in it has gone meanwhile.
_LISTS_A_TURN: Final = 5


class RegistryView:
    """The instances of some services, read on demand: only what has changed since the last read.

    `services` has the guards of each: a service with more registrations than they allow is not
    read. With `on_change`, every node that is read is watched: changes mark what is stale and call
    `on_change` on kazoo's thread. kazoo does not set its watches again after a lost connection:
    call `expire` whenever the client becomes CONNECTED, and now and then, in case a watch was
    missed. Reading is for one thread; `clock` tells seconds.

    Who watches is in a hurry: then a service that has much to read is read in turns (`Shares`), and
    is what it was before until it has been read completely.
    """

    def __init__(
        self,
        client: KazooClient,
        root: str,
        services: Mapping[str, Guards],
        on_change: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._root = root
        self._guards = services
        self._on_change = on_change
        self._clock = clock
        # kazoo keeps watchers in sets: one bound method for all of them is kept once per path.
        self._watch: Watch | None = self._event if on_change else None
        # Of two that want the traffic of one server, the registry's own order tells.
        dated = frozenset(s for s, guards in services.items() if guards.max_servers is not None)
        self._reader = Reader(client, root, self._watch, dated)
        self._shares = Shares(clock)
        self._content: dict[str, Children | str] = {}
        # What is being read: its children, and None for the data that is still to be read.
        self._half: dict[str, dict[str, Found]] = {}
        # Those of which something is forbidden, or that have too many, and when to look again.
        self._closed: set[str] = set()
        self._again_at = 0.0
        self._lock = threading.Lock()
        self._stale_lists: set[str] = set()
        self._stale_data: dict[str, set[str]] = defaultdict(set)
        self.expire()

    @property
    def content(self) -> Content:
        """What was read last. A service that did not change is the same object as before."""
        return {**dict.fromkeys(self._guards, _UNREAD), **self._content}

    @property
    def stale(self) -> frozenset[str]:
        """The services of which something is to be read."""
        with self._lock:
            return frozenset(self._unfinished())

    def expire(self) -> None:
        """Mark everything as stale."""
        self._half.clear()
        with self._lock:
            self._stale_lists = set(self._guards)
            self._stale_data.clear()
            for service, children in self._content.items():
                if not isinstance(children, str):
                    self._stale_data[service] = set(children)

    def refresh(self, limit_s: float) -> float | None:
        """Read what is stale, within `limit_s` seconds.

        In how many seconds there is more to be read, unless a change is told before; None when
        there is nothing. A service whose znode does not exist is empty. Raises
        `RegistryUnavailable`; the content is then what it was before.
        """
        self._look_again()
        with self._lock:
            turn = {s for s in self._unfinished() if not self._watch or not self._shares.wait_s(s)}
            lists = self._stale_lists & turn
            self._stale_lists -= turn
            data = {s: self._stale_data.pop(s) for s in turn if s in self._stale_data}
        try:
            self._read(turn, lists, data, time.monotonic() + limit_s)
        except (KazooException, KazooTimeoutError) as error:
            with self._lock:
                self._stale_lists |= lists
                for service, children in data.items():
                    self._stale_data[service] |= children
            raise RegistryUnavailable(_reason(error)) from error
        if self._guards and all(self._content.get(s) == FORBIDDEN for s in self._guards):
            raise RegistryUnavailable(f"the registry: {FORBIDDEN}")
        if not self._watch:
            return None
        with self._lock:
            waits_s = [self._shares.wait_s(service) for service in self._unfinished()]
        if self._closed:
            waits_s.append(max(0.0, self._again_at - self._clock()))
        return min(waits_s, default=None)

    def _look_again(self) -> None:
        if self._clock() < self._again_at:
            return
        self._again_at = self._clock() + _AGAIN_S
        with self._lock:
            for service in self._closed:
                children = self._content[service]
                if isinstance(children, str):
                    self._stale_lists.add(service)
                else:
                    self._stale_data[service] |= {c for c, d in children.items() if d == FORBIDDEN}

    def _unfinished(self) -> set[str]:
        return self._stale_lists | self._stale_data.keys() | self._half.keys()

    def _read(
        self,
        turn: Collection[str],
        lists: Collection[str],
        data: Mapping[str, Collection[str]],
        deadline: float,
    ) -> None:
        # A client that sees a member for the first time does not know how far behind it is.
        synced = self._client.sync_async(self._root) if self._watch is None else None
        spent: Counter[str] = Counter()
        failed: dict[str, str] = {}
        for service, children in data.items():
            known = self._known(service)
            if known:
                self._half[service] = known | dict.fromkeys(known.keys() & children)
        for _ in range(_LISTS_A_TURN):
            self._read_lists(lists, failed, spent, deadline)
            lists = self._read_data(turn, spent, deadline)
            if not lists:
                break
        if synced is not None:
            synced.get(timeout=left(deadline))
        with self._lock:
            self._stale_lists |= set(lists)
        for service in turn:
            self._shares.spend(service, spent[service])
            self._settle(service, failed.get(service), unsettled=service in lists)

    def _settle(self, service: str, failure: str | None, *, unsettled: bool) -> None:
        """Make what was read of a service its content, if that is all."""
        if failure is not None:
            self._content[service] = failure
            self._half.pop(service, None)
            self._closed.add(service)
            return
        children = self._half.get(service)
        if children is None or unsettled:
            return
        complete = {child: data for child, data in children.items() if data is not None}
        if len(complete) < len(children):
            return
        del self._half[service]
        if self._content.get(service) != complete:
            self._content[service] = complete
        reasons = {data for data in complete.values() if isinstance(data, str)}
        (self._closed.add if FORBIDDEN in reasons else self._closed.discard)(service)
        if TOO_LARGE not in reasons:
            self._reader.large.discard(service)

    def _known(self, service: str) -> dict[str, Found]:
        known = self._half.get(service, self._content.get(service))
        return {} if known is None or isinstance(known, str) else {**known}

    def _read_lists(
        self,
        lists: Collection[str],
        failed: dict[str, str],
        spent: Counter[str],
        deadline: float,
    ) -> None:
        """Read the children of these services, but of none that has too many."""
        # Whoever had much room is not asked: a join in such a service costs two reads.
        full = [s for s in sorted(lists) if not self._has_room(s)]
        for service, number in self._reader.numbers(full, deadline).items():
            if isinstance(number, NoAuthError):
                failed[service] = FORBIDDEN
            elif isinstance(number, int) and (surplus := self._guards[service].surplus(number)):
                failed[service] = surplus
        requests = {s: self._list(s) for s in sorted(lists) if s not in failed}
        for service, request in requests.items():
            try:
                children = self._children(service, request, deadline)
            except NoAuthError:
                failed[service] = FORBIDDEN
                continue
            spent[service] += len(children)
            if surplus := self._guards[service].surplus(len(children)):
                failed[service] = surplus
            else:
                known = self._known(service)
                self._half[service] = {
                    child: known.get(child) if len(child) <= MAX_NAME else _TOO_LONG
                    for child in children
                }

    def _read_data(
        self, turn: Collection[str], spent: Counter[str], deadline: float
    ) -> Collection[str]:
        """Read what is unread, of each service as much as a turn allows; whose lists are stale."""
        stale = set()
        znodes = [
            (service, child)
            for service in turn
            for child, data in self._half.get(service, {}).items()
            if data is None
        ]
        done: set[str] = set()
        for found in self._reader.data(znodes, done, deadline):
            for (service, child), data in found.items():
                # One transaction may have replaced it by others: the list tells.
                if data is None:
                    stale.add(service)
                self._half[service][child] = data
                text = data.data if isinstance(data, Dated) else data
                spent[service] += 1 + (len(text) >> 10 if text else 0)
            if self._watch:
                done |= {s for s, _ in found if spent[s] > self._at_once(s)}
        return stale

    def _at_once(self, service: str) -> int:
        return shares.AT_ONCE if service in self._content else shares.FIRST

    def _has_room(self, service: str) -> bool:
        return 0 < 4 * len(self._known(service)) <= 3 * self._guards[service].max_registrations

    def _children(self, service: str, request: IAsyncResult, deadline: float) -> list[str]:
        while True:
            try:
                children: list[str] = request.get(timeout=left(deadline))
                return children
            except NoNodeError:
                if self._watch is None:
                    return []
                path = self._reader.path(service)
                exists = self._client.exists_async(path, watch=self._watch)
                if exists.get(timeout=left(deadline)) is None:
                    return []
            # It was made between the two requests.
            request = self._list(service)

    def _list(self, service: str) -> IAsyncResult:
        return self._client.get_children_async(self._reader.path(service), watch=self._watch)

    def _event(self, event: WatchedEvent) -> None:
        if event.path is None:
            return  # The connection's state; `expire` answers it.
        service, _, child = event.path.removeprefix(f"{self._root}/").partition("/")
        with self._lock:
            if child:
                self._stale_data[service].add(child)
            if not child or event.type == EventType.DELETED:
                self._stale_lists.add(service)
        if self._on_change:
            self._on_change()


def _reason(error: Exception) -> str:
    return f"the registry does not answer ({type(error).__name__})"
