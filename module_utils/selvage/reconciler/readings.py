"""What the registry says about each service: read once, and again when it changed.

Whoever floods one service costs that service alone: of its registrations only what changed is
judged, for a moment at a time, and then it rests many times as long.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ..catalogue import Service
from ..formats.registrations import Children, Judged, Reading, Rules, hosts, judge, read
from ..planning.wanted import without_loops
from ..registry.view import Content
from .names import Resolver

# How soon to see whether a new name has an address by now.
_NAMES_S: Final = 0.02
# How long one service is judged at a time. A thousand common registrations take less.
_SLICE_S: Final = 0.02
# How many times as long as that it is left alone.
_REST: Final = 10.0


@dataclass
class _Known:
    """One service's registrations, as far as they are judged, and as they were read last."""

    service: Service
    rules: Rules
    judged: dict[str, Judged] = field(default_factory=dict)
    # What the reading was made from.
    content: Children | str = ""
    addresses: Mapping[str, str] = field(default_factory=dict)
    reading: Reading | None = None
    # Since when a name without an address has kept it from being read.
    waits_since: float | None = None
    rests_until: float = float("-inf")


class Readings:
    """The services of one catalogue, as the registry and the host's resolver have them.

    `timer` measures the work on one service, in seconds.
    """

    def __init__(
        self,
        services: Sequence[Service],
        resolver: Resolver,
        *,
        clock: Callable[[], float] = time.monotonic,
        timer: Callable[[], float] = time.thread_time,
    ) -> None:
        self._resolver = resolver
        self._clock = clock
        self._timer = timer
        self._ports = frozenset(service.port for service in services)
        self._known = {
            service.name: _Known(service, Rules(service.instance_port, service.endpoint))
            for service in services
        }
        # Those of whom more is known than was read.
        self._unread: set[str] = set()

    @property
    def latest(self) -> Mapping[str, Reading]:
        """What is known, by service."""
        return {n: known.reading for n, known in self._known.items() if known.reading is not None}

    @property
    def addresses(self) -> Mapping[str, str]:
        """The addresses of names, for the next run."""
        return self._resolver.known

    @property
    def again_s(self) -> float | None:
        """How soon to read again for names that were first asked for a moment ago."""
        waits = any(known.waits_since is not None for known in self._known.values())
        return _NAMES_S if waits or self._resolver.waiting else None

    @property
    def look_s(self) -> float | None:
        """When to read again, although the registry has nothing new: names, and who rests."""
        now = self._clock()
        waits_s = [self._until(self._known[name]) - now for name in self._unread]
        waits_s += [self._resolver.due_s] if self._resolver.due_s is not None else []
        return max(0.0, min(waits_s)) if waits_s else None

    def _until(self, known: _Known) -> float:
        """When it can be read at the latest."""
        if known.waits_since is None:
            return known.rests_until
        return max(known.rests_until, known.waits_since + self._resolver.wait_s)

    def read(self, content: Content, *, patient: bool) -> frozenset[str]:
        """Read what changed, in the registry or in its names; the names of those services.

        Who is `patient` waits for the addresses of new names. A service that rests, or waits for
        an address, stays as it was read last until then.
        """
        self._resolver.refresh()
        self._unread |= self._resolver.changed()
        for name, known in self._known.items():
            found = content[name]
            if known.reading is None or not (known.content is found or known.content == found):
                self._unread.add(name)
        now = self._clock()
        due = [name for name in self._unread if self._known[name].rests_until <= now]
        judged = [name for name in due if self._judge(self._known[name], content[name])]
        if patient and judged:
            self._resolver.wait()
        return frozenset(
            name for name in judged if self._take(self._known[name], content[name], self._clock())
        )

    def _judge(self, known: _Known, found: Children | str) -> bool:
        """Whether all that was found is judged."""
        name, began, done = known.service.name, self._timer(), True
        judged: dict[str, Judged] = {}
        if not isinstance(found, str) and known.service.guards.surplus(len(found)) is None:
            for child, one in judge(found, known.judged):
                judged[child] = one
                # What has never been read is read in one go, or its service would have nothing.
                if known.reading is not None and self._timer() - began >= _SLICE_S:
                    done = len(judged) == len(found)
                    break
        if not done:
            judged = {c: j for c, j in (known.judged | judged).items() if c in found}
        known.judged = judged
        if done:
            self._resolver.want(name, hosts(judged, known.rules))
        known.rests_until = self._clock() + _REST * (self._timer() - began)
        return done

    def _take(self, known: _Known, found: Children | str, now: float) -> bool:
        """Whether there is something new in what it says."""
        name = known.service.name
        if self._resolver.awaited(name):
            # Whoever lacks an address for a moment would look like someone who left.
            known.waits_since = now if known.waits_since is None else known.waits_since
            if now - known.waits_since < self._resolver.wait_s:
                return False
        known.waits_since = None
        self._unread.discard(name)
        began = self._timer()
        addresses = self._resolver.addresses(name)
        if known.reading is not None and known.content == found and known.addresses == addresses:
            return False
        surplus = None if isinstance(found, str) else known.service.guards.surplus(len(found))
        if isinstance(found, str) or surplus is not None:
            known.reading = Reading(failure=surplus or str(found))
        else:
            reading = read(known.judged, known.rules, addresses)
            known.reading = without_loops(reading, self._ports)
        known.content, known.addresses = found, addresses
        known.rests_until += _REST * (self._timer() - began)
        return True
