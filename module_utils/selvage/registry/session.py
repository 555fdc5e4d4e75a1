"""A daemon's connection to the registry, for as long as the daemon lives."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from kazoo.client import KazooClient

from ..system.journal import event
from . import connection
from .settings import RegistrySettings
from .unresolved import Unresolved

# A client that has only just been made has not yet begun to connect.
_GIVE_UP_S: Final = 5.0
# Without a connection: of the session nothing is left that another one could not do.
_TIMEOUTS: Final = 3

_logger = logging.getLogger(__name__)


class Session:
    """A client that is made anew when it is of no more use, and tells when the registry is away.

    kazoo gives up for good after an unexpected reply. And members refuse a session that has seen
    newer transactions than theirs: after the registry was restored from a backup, they do so for as
    long as the client lives.

    `on_state` gets each `KazooState` on kazoo's thread, `on_client` each client, the first one
    included, on the thread that calls.
    """

    def __init__(
        self,
        settings: RegistrySettings,
        on_state: Callable[[str], None],
        on_client: Callable[[KazooClient], None],
        *,
        give_up_s: float = _GIVE_UP_S,
    ) -> None:
        self._settings = settings
        self._give_up_s = give_up_s
        self._unresolved = Unresolved(settings.hosts, give_up_s)
        self._patience_s = _TIMEOUTS * settings.session_timeout_ms / 1000
        self._on_state = on_state
        self._on_client = on_client
        self._told = False
        self._gave_up = False
        self._connect()

    @property
    def connected(self) -> bool:
        """Whether there is a connection at this moment."""
        return bool(self._client.connected)

    def follow(self) -> None:
        """Do what the connection's state asks for; to be called now and then."""
        now = time.monotonic()
        self._unresolved.follow(connected=self.connected)
        if self.connected:
            self._since, self._gave_up = now, False
        elif connection.ended(self._client) and now - self._since > self._give_up_s:
            # kazoo 2.8 also gives up when no name has an address.
            if not self._gave_up and not self._unresolved.explains:
                self._gave_up = True
                event(_logger, logging.ERROR, "the registry's client gave up, trying a new one")
            self._renew()
        elif self._client.last_zxid and now - self._since > self._patience_s:
            event(_logger, logging.WARNING, "no way back to the session, beginning a new one")
            self._renew()
        if self.connected != self._told:
            self._told = self.connected
            event(
                _logger,
                logging.INFO if self._told else logging.WARNING,
                "the registry is there" if self._told else "the registry is away",
                hosts=self._settings.place,
            )

    def close(self) -> None:
        """End the session."""
        connection.close(self._client)

    def _renew(self) -> None:
        self.close()
        self._connect()

    def _connect(self) -> None:
        self._since = time.monotonic()
        self._client = connection.connect(self._settings, self._on_state)
        self._on_client(self._client)
