"""Names of the ensemble that have no address: why a client never gets to connect."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import re
import socket
import threading
import time
from collections.abc import Sequence
from typing import Final

from ..system.journal import event

_AGAIN_S: Final = 60.0
_PORT: Final = re.compile(r":[0-9]{1,5}\Z")
_logger = logging.getLogger(__name__)


class Unresolved:
    """Tells, once, which of the hosts have no address while the registry is away.

    The resolver may hang for as long as it likes: it is asked on a thread of its own, one at a
    time. kazoo asks it as well, and goes on trying.
    """

    def __init__(self, hosts: Sequence[str], patience_s: float) -> None:
        self._names = [name for name in map(_host, hosts) if not _is_address(name)]
        self._patience_s = patience_s
        self._asked_at = time.monotonic()
        self._wait_s = patience_s
        self._asking: threading.Thread | None = None
        self._found: dict[str, str] = {}
        self._told: dict[str, str] = {}

    @property
    def explains(self) -> bool:
        """Whether that is, or may be, why there is no connection."""
        return bool(self._found) or (self._asking is not None and self._asking.is_alive())

    def follow(self, *, connected: bool) -> None:
        """Ask when the registry has been away for `patience_s`; to be called now and then."""
        now = time.monotonic()
        if connected or not self._names:
            self._asked_at, self._wait_s = now, self._patience_s
            self._found, self._told = {}, {}
            return
        if self._asking is not None and self._asking.is_alive():
            return
        if self._found != self._told:
            self._told = self._found
            for name, reason in self._told.items():
                event(_logger, logging.WARNING, "the registry's name has no address",
                      name=name, reason=reason)  # fmt: skip
        if now - self._asked_at >= self._wait_s:
            self._asked_at, self._wait_s = now, _AGAIN_S
            self._asking = threading.Thread(target=self._ask, daemon=True)
            self._asking.start()

    def _ask(self) -> None:
        found = {}
        for name in self._names:
            try:
                socket.getaddrinfo(name, 0, type=socket.SOCK_STREAM)
            except OSError as error:
                found[name] = error.strerror or str(error)
        self._found = found


def _host(place: str) -> str:
    return _PORT.sub("", place).strip("[]")


def _is_address(name: str) -> bool:
    with contextlib.suppress(ValueError):
        return bool(ipaddress.ip_address(name))
    return False
