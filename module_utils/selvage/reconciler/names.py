"""The addresses of the host names that registrations hold: looked up, remembered, kept.

A name server that is away, slow or wrong must not take traffic away: an address once known
stays until another one is learnt.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Final

from ..formats.grammar import parse_address
from .workers import Workers

# Nobody can end a look-up: the host's resolver gives up after 5 to 30 s (resolv.conf: timeout,
# attempts), and has the thread until then.
_AT_ONCE: Final = 128
# Of names that no service has any more.
_MOST_KEPT: Final = 16_384
_KEEP_S: Final = 3_600.0
_FRESH_S: Final = 60.0
# After a failure; each further one doubles it, up to `_FRESH_S`.
_RETRY_S: Final = 5.0
# At most so often somebody has to call for nothing else than to look up again.
_PAUSE_S: Final = 1.0
# How long a name that is new is waited for.
_WAIT_S: Final = 1.0


def look_up(name: str) -> list[str]:
    """The addresses that this host's resolver has for a name; raises OSError."""
    found = socket.getaddrinfo(name.encode(), None, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class Resolver:
    """The addresses of the names that services want, each looked up again from time to time.

    `known` holds the addresses of an earlier run. Names are looked up in threads that nobody waits
    for at the end; of these a service never has all, so that names without an answer delay only
    its own. What has no service any more is remembered for an hour. `on_change` is called, in one
    of the threads, when a name has another address, and when a new one has its first answer.
    `wait_s` is how long a new name is waited for.
    """

    def __init__(
        self,
        known: Mapping[str, str] = MappingProxyType({}),
        *,
        look_up: Callable[[str], Iterable[str]] = look_up,
        clock: Callable[[], float] = time.monotonic,
        wait_s: float = _WAIT_S,
        at_once: int = _AT_ONCE,
        most_kept: int = _MOST_KEPT,
        on_change: Callable[[], None] | None = None,
    ) -> None:
        self._look_up = look_up
        self._clock = clock
        self.wait_s = wait_s
        self._most_kept = most_kept
        self._on_change = on_change
        self._workers = Workers("names", at_once)
        self._answered = threading.Condition()
        self._wanted: dict[str, _Name] = {}
        self._services: dict[str, frozenset[str]] = {}
        # The one that was given up last is at the end.
        self._kept = {
            name: _Name(name, address, left=clock())
            for name, text in known.items()
            if (address := _valid(text)) is not None
        }
        # Asked for the first time, and not answered yet.
        self._new: set[_Name] = set()
        self._changed: set[str] = set()
        self._due = float("inf")

    @property
    def known(self) -> dict[str, str]:
        """Every known address by name, for the resolver of the next run."""
        with self._answered:
            names = [*self._kept.values(), *self._wanted.values()]
            return {name.name: name.address for name in names if name.address is not None}

    @property
    def due_s(self) -> float | None:
        """In how many seconds to call `refresh` at the latest; None when no name is wanted."""
        with self._answered:
            return max(0.0, self._due - self._clock()) if self._due < float("inf") else None

    def want(self, service: str, hosts: Collection[str]) -> None:
        """These are the names of the service from now on; what is not known is looked up."""
        with self._answered:
            now = self._clock()
            former, new = self._services.get(service, frozenset()), frozenset(hosts)
            self._services[service] = new
            for host in former - new:
                self._give_up(service, self._wanted[host], now)
            for host in sorted(new - former):
                name = self._wanted.get(host) or self._kept.pop(host, None) or _Name(host)
                self._wanted[host] = name
                name.services.add(service)
                if name.pending:
                    # Another service asked for it, and may have to wait for its own names.
                    self._submit(name, service)
                elif name.due <= now:
                    self._ask(name, now, service)
                else:
                    self._plan(name.due, now)
            self._forget(now)

    def refresh(self) -> None:
        """Look up again what is due."""
        with self._answered:
            now = self._clock()
            if now < self._due:
                return
            self._due = float("inf")
            for name in self._wanted.values():
                if name.due <= now and name.pending:
                    name.due = now + _RETRY_S
                elif name.due <= now:
                    self._ask(name, now, min(name.services))
                self._plan(name.due, now)

    def wait(self) -> None:
        """Wait for what was asked for the first time, within its limit."""
        with self._answered:
            self._answered.wait_for(lambda: not self._new, self.wait_s)

    def awaited(self, service: str) -> bool:
        """Whether it has a name without an address that was first asked for a moment ago."""
        with self._answered:
            names = self._asked_lately()
            return any(name.address is None and service in name.services for name in names)

    @property
    def waiting(self) -> bool:
        """Whether a name was first asked for a moment ago, or has an answer nobody asked for."""
        with self._answered:
            return bool(self._changed) or any(self._asked_lately())

    def addresses(self, service: str) -> dict[str, str]:
        """The addresses of the service's names, as far as they are known."""
        with self._answered:
            names = map(self._wanted.__getitem__, self._services.get(service, ()))
            return {name.name: name.address for name in names if name.address is not None}

    def changed(self) -> frozenset[str]:
        """The services that have a name whose address is another one than at the last call."""
        with self._answered:
            changed, self._changed = frozenset(self._changed), set()
            return changed

    def _asked_lately(self) -> Iterator[_Name]:
        since = self._clock() - self.wait_s
        return (name for name in self._new if name.asked > since)

    def _ask(self, name: _Name, now: float, service: str) -> None:
        name.pending = True
        if name.task is None:
            name.task = partial(self._answer, name)
            name.asked = now
            self._new.add(name)
        name.due = now + _RETRY_S
        self._plan(name.due, now)
        self._submit(name, service)

    def _submit(self, name: _Name, service: str) -> None:
        # What is asked for again does not delay what is new.
        if name.task is not None:
            self._workers.submit((service, name in self._new), name.task)

    def _plan(self, due: float, now: float) -> None:
        self._due = max(min(self._due, due), now + _PAUSE_S)

    def _give_up(self, service: str, name: _Name, now: float) -> None:
        name.services.discard(service)
        if name.task is not None and name.pending and not name.running:
            self._workers.withdraw((service, name in self._new), name.task)
            if name.services:
                self._submit(name, min(name.services))
        if name.services:
            return
        del self._wanted[name.name]
        self._new.discard(name)
        name.pending = name.running
        if name.address is not None:
            name.left = now
            self._kept[name.name] = name

    def _forget(self, now: float) -> None:
        for name in [*self._kept.values()]:
            if len(self._kept) <= self._most_kept and name.left > now - _KEEP_S:
                break
            del self._kept[name.name]

    def _answer(self, name: _Name) -> None:
        with self._answered:
            if not name.pending or name.running:
                return
            name.running = True
        address = None
        with suppress(OSError):
            address = _chosen(self._look_up(name.name), name.address)
        with self._answered:
            now = self._clock()
            name.pending = name.running = False
            name.failures = 0 if address is not None else name.failures + 1
            retry_s = min(_RETRY_S * 2 ** min(name.failures - 1, 16), _FRESH_S)
            name.due = now + (_FRESH_S if address is not None else retry_s)
            self._plan(name.due, now)
            tell = bool(name.services) and name in self._new
            self._new.discard(name)
            if address is not None and address != name.address:
                name.address = address
                self._changed |= name.services
                tell = bool(name.services)
            self._answered.notify_all()
        if tell and self._on_change is not None:
            self._on_change()


@dataclass(eq=False)
class _Name:
    name: str
    address: str | None = None
    services: set[str] = field(default_factory=set)
    left: float = 0.0
    due: float = float("-inf")
    asked: float = 0.0
    failures: int = 0
    pending: bool = False
    running: bool = False
    task: Callable[[], None] | None = None


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
