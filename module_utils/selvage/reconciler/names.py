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

from ..formats.grammar import parse_address

AT_ONCE: Final = 32
MAX_NAMES: Final = 16_384
KEEP_S: Final = 3_600.0
FRESH_S: Final = 60.0
RETRY_S: Final = 5.0
# How long a call waits: for names that it asks for first, and for others, whose last address
# will do; and one that is not patient.
WAIT_S: Final = 1.0
WAIT_AGAIN_S: Final = 0.1
IMPATIENT_S: Final = 0.05


def look_up(name: str) -> list[str]:
    """The addresses that this host's resolver has for a name; raises OSError."""
    found = socket.getaddrinfo(name.encode(), None, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class Resolver:
    """Names → addresses, many at the same time, in threads that nobody waits for at the end.

    `known` holds the addresses of an earlier run. A name that was not asked for during `KEEP_S`
    is forgotten, and of more than `MAX_NAMES` the surplus is not looked up.
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
        self._names = {
            name: _Name(name, _valid(text), wanted=clock()) for name, text in known.items()
        }
        self._queue: deque[_Name] = deque()
        self._workers = 0

    @property
    def known(self) -> dict[str, str]:
        """Every known address by name, for the resolver of the next run."""
        with self._changed:
            return _addresses(self._names.values())

    @property
    def awaited(self) -> frozenset[str]:
        """Names without an address that were first asked for less than `WAIT_S` ago."""
        with self._changed:
            since = self._clock() - WAIT_S
            return frozenset(
                name.name
                for name in self._names.values()
                if name.pending and name.address is None and name.tries == 1 and name.asked > since
            )

    def addresses(self, hosts: Iterable[str], *, patient: bool = True) -> dict[str, str]:
        """The addresses of these names, as far as they are known after at most `WAIT_S`.

        What is unknown or older than `FRESH_S` is looked up; an answer that comes later counts
        at the next call.
        """
        with self._changed:
            now = self._clock()
            names = self._take(hosts, now)
            asked = self._ask(names, now)
            limit = WAIT_S if any(name.tries == 1 for name in asked) else WAIT_AGAIN_S
            if not patient:
                limit = IMPATIENT_S

            def answered() -> bool:
                while asked and not asked[-1].pending:
                    asked.pop()
                return not asked

            self._changed.wait_for(answered, limit)
            return _addresses(names)

    def _take(self, hosts: Iterable[str], now: float) -> list[_Name]:
        known_first = sorted(set(hosts), key=lambda host: (host not in self._names, host))
        names = [self._names.pop(host, _Name(host)) for host in known_first[:MAX_NAMES]]
        for oldest in list(self._names.values()):
            surplus = len(self._names) + len(names) > MAX_NAMES
            if not surplus and oldest.wanted > now - KEEP_S:
                break
            del self._names[oldest.name]
        for name in names:
            name.wanted = now
            self._names[name.name] = name
        return names

    def _ask(self, names: Iterable[_Name], now: float) -> list[_Name]:
        asked = [name for name in names if not name.pending and name.due <= now]
        for name in asked:
            name.pending = True
            name.tries += 1
            name.asked = now
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
    wanted: float = 0.0
    due: float = float("-inf")
    asked: float = 0.0
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
