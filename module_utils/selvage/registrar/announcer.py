"""This node's own znodes in the registry: put there, kept as they shall be, taken away."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable
from typing import Final, cast

from kazoo.client import KazooClient
from kazoo.exceptions import (
    ConnectionClosedError,
    ConnectionLoss,
    NoNodeError,
    RolledBackError,
    SessionExpiredError,
)
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.interfaces import IAsyncResult
from kazoo.protocol.states import WatchedEvent, ZnodeStat
from kazoo.security import ACL, CREATOR_ALL_ACL, READ_ACL_UNSAFE

from ..registry.settings import RegistrySettings
from .announcement import Announcement

LIMIT_S: Final = 5.0

UNREACHABLE: Final = (
    ConnectionClosedError,
    ConnectionLoss,
    SessionExpiredError,
    KazooTimeoutError,
)
"""What kazoo raises when the registry, and not one znode, is the matter."""


class Change(enum.Enum):
    """What was done to one znode."""

    NONE = "nothing to do"
    REGISTERED = "registered"
    TAKEN_OVER = "taken over from another session"
    UPDATED = "updated in place"
    DEREGISTERED = "deregistered"


class Announcer:
    """Writes through one client, whose session owns the znodes.

    Every method has a limit of `LIMIT_S` seconds and raises one of `UNREACHABLE` or another
    KazooException. `on_change` is called on kazoo's thread when a znode that was last seen
    changes.
    """

    def __init__(
        self, client: KazooClient, settings: RegistrySettings, on_change: Callable[[], None]
    ) -> None:
        self._client = client
        self._root = settings.root
        self._acl: list[ACL] | None = (
            [*CREATOR_ALL_ACL, *READ_ACL_UNSAFE] if settings.username else None
        )
        self._on_change = on_change

    def announce(self, announcement: Announcement, *, only_if_there: bool = False) -> Change | None:
        """See to it that the znode is there, is ours and has this content.

        A former session's znode is replaced in one transaction: readers never see a gap.
        `only_if_there` leaves a znode absent that is absent, and returns None for it.
        """
        deadline = time.monotonic() + LIMIT_S
        path = self._path(announcement)
        found = self._find(path, deadline)
        if found is None:
            if only_if_there:
                return None
            self._create(path, announcement.data, deadline)
            change = Change.REGISTERED
        elif found[1].ephemeralOwner != self._session():
            self._replace(path, announcement.data, found[1].version, deadline)
            change = Change.TAKEN_OVER
        elif found[0] != announcement.data:
            _result(self._client.set_async(path, announcement.data), deadline)
            change = Change.UPDATED
        else:
            return Change.NONE
        # The watch belongs to what is there now.
        _result(self._client.exists_async(path, watch=self._watch), deadline)
        return change

    def withdraw(self, announcement: Announcement) -> Change:
        """See to it that the znode is not there, whoever put it there."""
        deadline = time.monotonic() + LIMIT_S
        try:
            _result(self._client.delete_async(self._path(announcement)), deadline)
        except NoNodeError:
            return Change.NONE
        return Change.DEREGISTERED

    def _find(self, path: str, deadline: float) -> tuple[bytes, ZnodeStat] | None:
        try:
            found = _result(self._client.get_async(path, watch=self._watch), deadline)
        except NoNodeError:
            return None
        return cast("tuple[bytes, ZnodeStat]", found)

    def _create(self, path: str, data: bytes, deadline: float) -> None:
        created = self._client.create_async(
            path, data, acl=self._acl, ephemeral=True, makepath=True
        )
        _result(created, deadline)

    def _replace(self, path: str, data: bytes, version: int, deadline: float) -> None:
        transaction = self._client.transaction()
        transaction.delete(path, version)
        transaction.create(path, data, acl=self._acl, ephemeral=True)
        outcomes = cast("list[object]", _result(transaction.commit_async(), deadline))
        failures = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
        if failures:
            # What came before the operation that failed is only reported as rolled back.
            raise next((f for f in failures if not isinstance(f, RolledBackError)), failures[0])

    def _session(self) -> int:
        identity = self._client.client_id
        if identity is None:
            raise ConnectionLoss
        return int(identity[0])

    def _path(self, announcement: Announcement) -> str:
        return f"{self._root}/{announcement.service}/{announcement.child}"

    def _watch(self, event: WatchedEvent) -> None:
        # Without a path it tells of the connection, which the client's listener hears too.
        if event.path is not None:
            self._on_change()


def _result(request: IAsyncResult, deadline: float) -> object:
    result: object = request.get(timeout=max(0.0, deadline - time.monotonic()))
    return result
