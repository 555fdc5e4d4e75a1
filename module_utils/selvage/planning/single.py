"""Which one server of a service may have traffic (`guards.max_servers: 1`). Pure.

The rule: the newest registration whose check passes. The newest is whose znode ZooKeeper made last.

- Traffic moves to a newer registration only, once a check of that one has passed.
- Who has the traffic keeps it while it is registered, healthy or not, and never loses it to an
  older one. So it does not swing between two of whom one is healthy now and then.
- Once it is no longer registered, or an operator has taken it out, the newest of the others whose
  check passes follows. Until one does, a healthy server keeps its traffic though it has left.
- Break before make: nobody gets traffic while anyone else has some, or has sessions left.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from ..catalogue import Service
from ..formats.grammar import printable
from ..formats.registrations import Refusal, Registration
from ..haproxy.servers import LiveServer, Server, by_name, server_name
from .circumstances import Circumstances

UNPROVEN: Final = "nothing of what would be left has passed its check yet"


@dataclass(frozen=True)
class Single:
    """Who may have traffic.

    `wanted` stands in the services file; one of them at most is not in maintenance. While `stops`
    names servers that have to lose their traffic or their sessions first, that is who had it
    before, and nobody joins. `chosen` is who has traffic then, None for nobody. `held_out` are
    registrations that get none, and why. `candidates` would take it over if their checks passed;
    with `waiting` somebody keeps it until then, or nobody has it, as the words say. `joins` says
    that the chosen one has no traffic yet.
    """

    wanted: tuple[Server, ...]
    chosen: Server | None
    stops: tuple[str, ...]
    held_out: tuple[Refusal, ...]
    candidates: tuple[Server, ...]
    waiting: str | None
    joins: bool


@dataclass(frozen=True)
class Chooser:
    """What the choice depends on.

    `asked` are the servers of the registrations, `found` those that run, `filed` those of the
    services file; `baseline` are the servers that stay unless the registry says otherwise.
    """

    service: Service
    registrations: Collection[Registration]
    asked: Sequence[Server]
    found: Sequence[LiveServer]
    filed: Sequence[Server]
    baseline: Sequence[Server]
    circumstances: Circumstances
    running: bool

    def choose(self, *, follows: bool) -> Single:
        """The choice; unless it `follows` the registry, who has the traffic keeps it."""
        holder = self.holder
        newest = self._newest() if follows else ()
        chosen = None if holder is None or self._maintained(holder) else holder
        candidates: Sequence[Server] = ()
        waiting: str | None = None
        if follows:
            chosen, candidates = self._first(newest, holder)
            if chosen is None:
                chosen, waiting = self._without_check(newest, holder)
        stops = tuple(self._stops(chosen, holder)) if self.running else ()
        serves = chosen is not None and self._serves(chosen.name)
        one = holder if stops and not serves else chosen
        stay = [s for s in (self.asked if follows else self.baseline) if self._maintained(s)]
        servers = {s.name: s for s in (*stay, *([one] if one is not None else []))}
        return Single(
            wanted=by_name(
                replace(server, disabled=self._maintained(server)) for server in servers.values()
            ),
            chosen=chosen,
            stops=stops,
            held_out=tuple(self._held_out(newest, chosen, {s.name for s in candidates})),
            candidates=tuple(candidates),
            waiting=waiting,
            joins=chosen is not None and not serves,
        )

    @property
    def holder(self) -> Server | None:
        """Who has the traffic, or had it last."""
        live = {server.name: server for server in self.found}
        filed = {server.name for server in self.filed}
        ages = self._ages()

        def order(server: Server) -> tuple[bool, bool, bool, tuple[int, str], str]:
            # What was written and runs is our own doing; what somebody added is not.
            found = live.get(server.name)
            return (
                server.name in filed and found is not None,
                found is not None and found.serves,
                found is not None and found.up,
                ages.get(server.name, (0, "")),
                server.name,
            )

        return max((s for s in self.baseline if s.weight), key=order, default=None)

    def _newest(self) -> tuple[Server, ...]:
        """Whose registrations ask for traffic, the newest first."""
        ages = self._ages()
        able = [s for s in self.asked if s.weight and not self._maintained(s)]
        return tuple(sorted(able, key=lambda server: ages[server.name], reverse=True))

    def _ages(self) -> Mapping[str, tuple[int, str]]:
        # Those of one transaction have the same number.
        return {
            server_name(self.service.name, r.address, r.port): (r.created, r.child)
            for r in self.registrations
        }

    def _first(
        self, newest: Sequence[Server], holder: Server | None
    ) -> tuple[Server | None, Sequence[Server]]:
        """The first that has the traffic or whose check passes, and those before it."""
        for number, server in enumerate(newest):
            if (holder is not None and holder.name == server.name) or self._passes(server.name):
                return server, newest[:number]
        return None, newest

    def _without_check(
        self, newest: Sequence[Server], holder: Server | None
    ) -> tuple[Server | None, str | None]:
        """Who has traffic while none of these has passed its check, and what is waited for."""
        released = self.service.name in self.circumstances.released
        if holder is not None and not self._maintained(holder) and not released:
            left = holder.name not in {server.name for server in newest}
            healthy = any(s.up and s.serves for s in self.found if s.name == holder.name)
            if left and healthy and any(server.weight for server in self.asked):
                return holder, UNPROVEN
        if len(newest) == 1 and (holder is None or not self._maintained(holder)):
            # It joins DOWN, and HAProxy's own checks raise it.
            return newest[0], None
        # Whoever joined would keep the others from it, healthy or not.
        return None, "nothing that is registered has passed its check yet" if newest else None

    def _passes(self, name: str) -> bool:
        known = any(s.up and s.serves and s.checked for s in self.found if s.name == name)
        return (known and self.running) or bool(self.circumstances.probed.get(name))

    def _stops(self, chosen: Server | None, holder: Server | None) -> Iterator[str]:
        """Who has traffic, or sessions, beside the one that may have it."""
        one = chosen or holder
        elsewhere = self.circumstances.elsewhere.get(self.service.name, ())
        names = {name for name in elsewhere if one is None or name != one.name}
        for server in self.found:
            other = one is None or (server.name, server.address, server.port) != (
                one.name,
                one.address,
                one.port,
            )
            if other and ((server.serves and server.weight) or server.sessions):
                names.add(server.name)
        yield from sorted(names)

    def _serves(self, name: str) -> bool:
        return any(server.serves for server in self.found if server.name == name)

    def _maintained(self, server: Server) -> bool:
        return server.name in self.circumstances.maintained

    def _held_out(
        self, newest: Collection[Server], chosen: Server | None, failing: Collection[str]
    ) -> Iterator[Refusal]:
        able = {server.name for server in newest}
        other = "" if chosen is None else f"{_place(chosen)} has the traffic"
        for registration in self.registrations:
            name = server_name(self.service.name, registration.address, registration.port)
            if name not in able or (chosen is not None and name == chosen.name):
                continue
            if name in failing:
                reason = "; ".join(filter(None, ["its check has not passed", other]))
            else:
                reason = f"{other}, and was registered later"
            yield Refusal(printable(registration.child), reason)


def _place(server: Server) -> str:
    address = f"[{server.address}]" if ":" in server.address else server.address
    return f"{address}:{server.port}"
