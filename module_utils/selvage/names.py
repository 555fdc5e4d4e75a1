"""The addresses of the host names that registrations hold: looked up, remembered, kept.

A name server that is away, slow or wrong must not take traffic away: an address once known
stays until another one is learnt.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from .grammar import parse_address

AT_ONCE: Final = 32
MAX_NAMES: Final = 32_768
FRESH_S: Final = 60.0
RETRY_S: Final = 5.0
# How long a call waits: for names that it asks for first, and for others, whose last address
# will do.
WAIT_S: Final = 1.0
WAIT_AGAIN_S: Final = 0.1


def look_up(name: str) -> list[str]:
    """The addresses that this host's resolver has for a name; raises OSError."""
    found = socket.getaddrinfo(name.encode(), None, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class Resolver:
    """Names → addresses, many at the same time, in threads that nobody waits for at the end.

    `known` holds the addresses of an earlier run. Of more than `MAX_NAMES` names at once the
    surplus is not looked up.
    """

    def __init__(
        self,
        known: Mapping[str, str] = MappingProxyType({}),
        look_up: Callable[[str], Iterable[str]] = look_up,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look_up = look_up
        self._clock = clock
        self._changed = threading.Condition()
        # Those that were asked for last are at the end.
        self._names = {name: _Name(name, _valid(text)) for name, text in known.items()}
        self._queue: deque[_Name] = deque()
        self._workers = 0

    @property
    def known(self) -> dict[str, str]:
        """Every known address by name, for the resolver of the next run."""
        with self._changed:
            return _addresses(self._names.values())

    def addresses(self, hosts: Iterable[str]) -> dict[str, str]:
        """The addresses of these names, as far as they are known after at most `WAIT_S`.

        What is unknown or older than `FRESH_S` is looked up; an answer that comes later counts
        at the next call.
        """
        with self._changed:
            names = self._take(hosts)
            asked = self._ask(names)
            limit = WAIT_S if any(name.tries == 1 for name in asked) else WAIT_AGAIN_S
            self._changed.wait_for(lambda: not any(name.pending for name in asked), limit)
            return _addresses(names)

    def _take(self, hosts: Iterable[str]) -> list[_Name]:
        known_first = sorted(set(hosts), key=lambda host: (host not in self._names, host))
        taken = {host: self._names.pop(host, None) for host in known_first[:MAX_NAMES]}
        while self._names and len(self._names) + len(taken) > MAX_NAMES:
            del self._names[next(iter(self._names))]
        names = {host: name or _Name(host) for host, name in taken.items()}
        self._names.update(names)
        return list(names.values())

    def _ask(self, names: Iterable[_Name]) -> list[_Name]:
        now = self._clock()
        asked = [name for name in names if not name.pending and name.due <= now]
        for name in asked:
            name.pending = True
            name.tries += 1
            # However many names have no answer, they do not delay a new one.
            (self._queue.appendleft if name.tries == 1 else self._queue.append)(name)
        for _ in range(min(AT_ONCE, self._workers + len(self._queue)) - self._workers):
            threading.Thread(target=self._work, name="names", daemon=True).start()
            self._workers += 1
        return asked

    def _work(self) -> None:
        while (name := self._next()) is not None:
            address = None
            with suppress(OSError):
                address = _chosen(self._look_up(name.name), name.address)
            with self._changed:
                name.address = address or name.address
                name.due = self._clock() + (RETRY_S if address is None else FRESH_S)
                name.pending = False
                self._changed.notify_all()

    def _next(self) -> _Name | None:
        with self._changed:
            if self._queue:
                return self._queue.popleft()
            self._workers -= 1
            return None


@dataclass(eq=False)
class _Name:
    name: str
    address: str | None = None
    due: float = float("-inf")
    tries: int = 0
    pending: bool = False


def _addresses(names: Iterable[_Name]) -> dict[str, str]:
    return {name.name: name.address for name in names if name.address is not None}


def _chosen(answers: Iterable[str], former: str | None) -> str | None:
    """The former address if it still holds, else the lowest, IPv4 before IPv6."""
    valid = {address for text in answers if (address := _valid(text)) is not None}
    return former if former in valid else min(valid, key=_rank, default=None)


def _rank(address: str) -> tuple[int, int]:
    parsed = ipaddress.ip_address(address)
    return parsed.version, int(parsed)


def _valid(address: str) -> str | None:
    try:
        return parse_address(address)
    except ValueError:
        return None
