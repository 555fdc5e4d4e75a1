"""What the registry says about each service: read once, and again when it changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ..catalogue import Service
from ..formats.registrations import Reading, hosts
from ..planning.wanted import read_service
from ..registry.view import Content
from .names import Resolver

# How soon to ask again for the address of a name, and to see whether a new one has one by now.
_LOOK_UP_S: Final = 5.0
_NAMES_S: Final = 0.02


@dataclass(frozen=True)
class _Known:
    """One service's registrations as they were read last, and what they were read from."""

    content: Mapping[str, bytes | str] | str
    hosts: frozenset[str]
    addresses: Mapping[str, str]
    reading: Reading


class Readings:
    """The services of one catalogue, as the registry and the host's resolver have them."""

    def __init__(self, services: Sequence[Service], addresses: Mapping[str, str]) -> None:
        self._services = services
        self._ports = frozenset(service.port for service in services)
        self._resolver = Resolver(addresses)
        self._known: dict[str, _Known] = {}
        self._awaited: frozenset[str] = frozenset()
        self.unresolved = False

    @property
    def latest(self) -> Mapping[str, Reading]:
        """What is known, by service."""
        return {name: known.reading for name, known in self._known.items()}

    @property
    def addresses(self) -> Mapping[str, str]:
        """The addresses of names, for the next run."""
        return self._resolver.known

    @property
    def again_s(self) -> float | None:
        """How soon a name that was first asked for a moment ago may have an address."""
        return _NAMES_S if self._awaited else None

    @property
    def look_s(self) -> float | None:
        """How soon to ask again for names that have no address."""
        return _LOOK_UP_S if self.unresolved else None

    def read(self, content: Content, *, whole: bool, patient: bool) -> frozenset[str]:
        """Read the registrations that changed; the names of their services."""
        new: dict[str, frozenset[str]] = {}
        for name, found in content.items():
            known = self._known.get(name)
            if known is None or not (known.content is found or known.content == found):
                new[name] = frozenset() if isinstance(found, str) else hosts(found)
            elif whole and known.hosts:
                new[name] = known.hosts
        names = frozenset().union(*new.values())
        addresses = self._resolver.addresses(names, patient=patient) if names else {}
        self.unresolved = bool(names - addresses.keys())
        self._awaited = self._resolver.awaited & names
        changed = set()
        for service in self._services:
            # Whoever lacks an address for a moment would look like someone who left.
            if service.name not in new or new[service.name] & self._awaited:
                continue
            found = content[service.name]
            own = {host: addresses[host] for host in new[service.name] if host in addresses}
            known = self._known.get(service.name)
            if known is not None and known.content == found and known.addresses == own:
                continue
            reading = read_service(service, found, own, self._ports)
            self._known[service.name] = _Known(found, new[service.name], own, reading)
            changed.add(service.name)
        return frozenset(changed)
