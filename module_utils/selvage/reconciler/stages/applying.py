"""The plan's steps, as commands for the running HAProxy."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ...catalogue import Service
from ...haproxy import commands
from ...haproxy.servers import LiveServer, LiveService
from ...haproxy.text import Options, server_arguments
from ...planning.plan import Plan
from ...planning.steps import (
    AddServer,
    Admit,
    Disable,
    Drain,
    OpenFrontend,
    Remove,
    Replace,
    SetMaxConnections,
    SetWeight,
    Stop,
    Undrain,
)
from ..prober import Prober
from .admission import Join, decided
from .drains import Drains
from .sending import Sender


@dataclass(frozen=True)
class Done:
    """What the steps have come to.

    `probing` are services with instances whose probe is not decided yet. `replaced` says whether
    a server was deleted that the next pass adds again.
    """

    probing: frozenset[str] = frozenset()
    replaced: bool = False


@dataclass(frozen=True)
class Applier:
    """What it takes to carry out the steps of a pass."""

    services: Mapping[str, Service]
    prober: Prober
    drains: Drains
    sender: Sender
    count: Callable[[str], None]
    patience_s: float

    def apply(self, plan: Plan, live: Mapping[str, LiveService]) -> Done:
        """Take the steps: changes, then per service what joins, then what leaves.

        Raises `HAProxyUnavailable`.
        """
        options = {service.name: service.options for service in plan.services}
        joins: list[Join] = []
        leaves: dict[str, list[Drain | Remove | Replace]] = defaultdict(list)
        for name, step in plan.steps():
            match step:
                case AddServer() | Admit():
                    joins.append((name, step))
                case Drain() | Remove() | Replace():
                    leaves[name].append(step)
                case Stop():
                    # What it leaves undone is for the next pass: sessions that have not ended yet.
                    if any(server.name == step.name for server in live[name].servers):
                        self.sender.send("stop", step.name, commands.stop(name, step.name))
                case SetWeight() | SetMaxConnections() | Undrain() | Disable() | OpenFrontend():
                    self._change(name, step)
        joining = Counter(name for name, _ in joins)
        probing: set[str] = set()
        replaced = False
        for name in leaves.keys() - joining.keys():
            replaced |= self._leave(name, leaves[name], live, options)
        for name, step, healthy in decided(joins, self.prober, self.services, self.patience_s):
            if healthy is None:
                probing.add(name)
                continue
            self._join(name, step, options[name], healthy)
            joining[name] -= 1
            if not joining[name]:
                replaced |= self._leave(name, leaves[name], live, options)
        return Done(frozenset(probing), replaced)

    def _change(
        self,
        service: str,
        step: SetWeight | SetMaxConnections | Undrain | Disable | OpenFrontend,
    ) -> None:
        match step:
            case SetWeight():
                kind, line = "weight", commands.set_weight(service, step.name, step.weight)
            case SetMaxConnections():
                limit = step.max_connections
                kind, line = "maxconn", commands.set_max_connections(service, step.name, limit)
            case Undrain():
                kind, line = "undrain", commands.undrain(service, step.name)
            case OpenFrontend():
                kind, line = "open", commands.open_frontend(service)
            case Disable():
                kind, line = "disable", commands.disable(service, step.name)
        self.sender.send(kind, step.name, line)

    def _join(self, service: str, step: AddServer | Admit, options: Options, healthy: bool) -> None:
        server = step.server
        lines = []
        if isinstance(step, AddServer):
            lines.append(commands.add(service, server.name, server_arguments(options, server)))
        if not server.disabled:
            lines.append(commands.admit(service, server.name, healthy=healthy))
            self.count(f'probes_total{{result="{"passed" if healthy else "failed"}"}}')
        kind = "add" if isinstance(step, AddServer) else "admit"
        self.sender.send(kind, server.name, "; ".join(lines))
        if not self.sender.dry_run:
            self.prober.forget(server.name)

    def _leave(
        self,
        service: str,
        steps: Sequence[Drain | Remove | Replace],
        live: Mapping[str, LiveService],
        options: Mapping[str, Options],
    ) -> bool:
        """Drain and delete; whether a server is deleted that is to be added again."""
        servers = {server.name: server for server in live[service].servers} if steps else {}
        replaced = False
        for step in steps:
            if isinstance(step, Drain):
                self.sender.send("drain", step.name, commands.drain(service, step.name))
            elif self._may_go(service, step, servers[step.name]) or self.sender.dry_run:
                # Where no session was seen, one that is there now belongs to a HAProxy that was
                # loaded since then.
                sessions = servers[step.name].sessions > 0
                line = commands.remove(
                    service, step.name, self.sender.runtime.version(), sessions=sessions
                )
                self.sender.send("remove", step.name, line)
                if isinstance(step, Replace):
                    replaced = True
                    if self.sender.dry_run:
                        self._add_again(service, step, options[service])
        return replaced

    def _add_again(self, service: str, step: Replace, options: Options) -> None:
        """What the pass does that comes after the removal."""
        again: list[Join] = [(service, AddServer(step.server))]
        for _, add, healthy in decided(again, self.prober, self.services, self.patience_s):
            self._join(service, add, options, bool(healthy))

    def _may_go(self, service: str, step: Remove | Replace, found: LiveServer) -> bool:
        over = self.drains.over(service, step.name, step.drain_ms)
        # One that serves got sessions until a moment ago: the next pass sees how many it has now.
        return not found.serves and (found.sessions == 0 or over)
