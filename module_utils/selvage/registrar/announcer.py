"""This node's own znodes in the registry: put there, kept as they shall be, taken away.

They are its registrations, and beside those its notes.

What another host has put there stays: a name has who came first, until its session ends.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar, cast

from kazoo.client import KazooClient
from kazoo.exceptions import (
    BadVersionError,
    ConnectionClosedError,
    ConnectionLoss,
    KazooException,
    NoNodeError,
    RolledBackError,
    SessionExpiredError,
)
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.interfaces import IAsyncResult
from kazoo.protocol.states import WatchedEvent, ZnodeStat
from kazoo.security import ACL, CREATOR_ALL_ACL, READ_ACL_UNSAFE

from ..formats.grammar import printable
from ..registry.settings import RegistrySettings
from .health import Wish
from .sessions import Sessions

LIMIT_S: Final = 5.0
# Who changes it each time meanwhile is not fought with until the next pass.
_LOOKS: Final = 3

UNREACHABLE: Final = (
    ConnectionClosedError,
    ConnectionLoss,
    SessionExpiredError,
    KazooTimeoutError,
)
"""What kazoo raises when the registry, and not one znode, is the matter."""


class Znode(Protocol):
    """One below its service's."""

    @property
    def service(self) -> str:
        """The name of its parent."""

    @property
    def child(self) -> str:
        """Its own name."""

    @property
    def data(self) -> bytes:
        """What it shall hold."""


_Own = TypeVar("_Own", bound=Znode)


class Change(enum.Enum):
    """What was done to one znode."""

    NONE = "nothing to do"
    REGISTERED = "registered"
    TAKEN_OVER = "taken over from a former session of this host"
    UPDATED = "updated in place"
    DEREGISTERED = "deregistered"


@dataclass(frozen=True)
class Clash:
    """Somebody else's znode, which was left alone: its session, 0 for none, and what it says."""

    session: int
    data: str


@dataclass(frozen=True)
class Outcome:
    """What was done, and whether the registration is there now and is ours."""

    change: Change
    registered: bool
    clash: Clash | None = None


# Yields requests, gets their results, and returns what came of it.
_Steps = Generator[IAsyncResult, object, Outcome]
_Found = tuple[bytes, ZnodeStat]


class Announcer:
    """Writes through one client, whose session owns the znodes.

    `on_change` is called on kazoo's thread when a znode that was last seen changes; without it
    nothing is watched.
    """

    def __init__(
        self,
        client: KazooClient,
        settings: RegistrySettings,
        sessions: Sessions,
        on_change: Callable[[], None] | None = None,
    ) -> None:
        self._client = client
        self._root = settings.root
        self._acl: list[ACL] | None = (
            [*CREATOR_ALL_ACL, *READ_ACL_UNSAFE] if settings.username else None
        )
        self._sessions = sessions
        self._on_change = on_change

    def fulfil(
        self, wishes: Mapping[_Own, Wish], limit_s: float = LIMIT_S
    ) -> dict[_Own, Outcome | KazooException | KazooTimeoutError]:
        """See to it that the registry is as wished: what came of each, or what kept it from it.

        All znodes are worked on at the same time, and `limit_s` seconds are for all of them: how
        many there are, and how slow the registry is, keeps nobody longer. Raises one of
        `UNREACHABLE` without a session.
        """
        deadline = time.monotonic() + limit_s
        session = self._session()
        self._sessions.note(session)
        outcomes: dict[_Own, Outcome | KazooException | KazooTimeoutError] = {}
        steps = {
            own: self._withdraw(own, session)
            if wish is Wish.ABSENT
            else self._announce(own, session, only_if_there=wish is Wish.AS_FOUND)
            for own, wish in wishes.items()
        }
        requests = {own: next(steps[own]) for own in steps}
        while requests:
            for own, request in [*requests.items()]:
                try:
                    try:
                        result = request.get(timeout=max(0.0, deadline - time.monotonic()))
                    except (KazooException, KazooTimeoutError) as error:
                        requests[own] = steps[own].throw(error)
                    else:
                        requests[own] = steps[own].send(result)
                    continue
                except StopIteration as end:
                    outcomes[own] = end.value
                except (KazooException, KazooTimeoutError) as error:
                    outcomes[own] = error
                del requests[own]
        return outcomes

    def _announce(self, own: Znode, session: int, *, only_if_there: bool) -> _Steps:
        """The znode is there, is ours and has this content.

        A former session's znode is replaced in one transaction: readers never see a gap.
        `only_if_there` leaves a znode absent that is absent.
        """
        path = self._path(own)
        change = Change.NONE
        # The last look finds it as it shall be, and watches what it finds.
        for _ in range(_LOOKS):
            found = yield from self._find(path)
            if found is None:
                if only_if_there and change is Change.NONE:
                    return Outcome(change, registered=False)
                yield self._client.create_async(
                    path, own.data, acl=self._acl, ephemeral=True, makepath=True
                )
                change = Change.REGISTERED
            elif (owner := found[1].ephemeralOwner) != session:
                if owner not in self._sessions:
                    return Outcome(change, False, Clash(owner, _shown(found[0])))
                yield from self._replace(path, own.data, found[1].version)
                change = Change.TAKEN_OVER
            elif found[0] != own.data:
                yield self._client.set_async(path, own.data)
                change = Change.UPDATED
            else:
                return Outcome(change, registered=True)
        raise BadVersionError

    def _withdraw(self, own: Znode, session: int) -> _Steps:
        """The znode is not there, unless it is somebody else's."""
        path = self._path(own)
        found = yield from self._find(path)
        if found is None:
            return Outcome(Change.NONE, registered=False)
        owner = found[1].ephemeralOwner
        if owner != session and owner not in self._sessions:
            return Outcome(Change.NONE, False, Clash(owner, _shown(found[0])))
        try:
            yield self._client.delete_async(path, found[1].version)
        except NoNodeError:
            return Outcome(Change.NONE, registered=False)
        return Outcome(Change.DEREGISTERED, registered=False)

    def _find(self, path: str) -> Generator[IAsyncResult, object, _Found | None]:
        try:
            watch = self._watch if self._on_change else None
            found = yield self._client.get_async(path, watch=watch)
        except NoNodeError:
            return None
        return cast("_Found", found)

    def _replace(
        self, path: str, data: bytes, version: int
    ) -> Generator[IAsyncResult, object, None]:
        transaction = self._client.transaction()
        transaction.delete(path, version)
        transaction.create(path, data, acl=self._acl, ephemeral=True)
        outcomes = cast("list[object]", (yield transaction.commit_async()))
        failures = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
        if failures:
            # What came before the operation that failed is only reported as rolled back.
            raise next((f for f in failures if not isinstance(f, RolledBackError)), failures[0])

    def _session(self) -> int:
        identity = self._client.client_id
        if identity is None:
            raise ConnectionLoss
        return int(identity[0])

    def _path(self, own: Znode) -> str:
        return f"{self._root}/{own.service}/{own.child}"

    def _watch(self, event: WatchedEvent) -> None:
        # Without a path it tells of the connection, which the client's listener hears too.
        if event.path is not None and self._on_change:
            self._on_change()


def _shown(data: bytes) -> str:
    return printable(data.decode("utf-8", "replace"))
