"""What passes of the reconciler did, or would do."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..formats.registrations import Refusal


@dataclass(frozen=True)
class ServiceResult:
    """What happened to one service: names of servers, and why something did not happen.

    `held` says why the service does not follow the registry or the catalogue. `drift` are
    differences that somebody else made on this node, and that were repaired. `out_of_service` are
    instances that say themselves that they take no traffic. `held_out` are those that get none
    because another one has it, where one server alone may. `draining` are servers that left, and
    are deleted once they have drained.
    """

    name: str
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    held: str | None = None
    drift: tuple[str, ...] = ()
    refused: tuple[Refusal, ...] = ()
    out_of_service: tuple[Refusal, ...] = ()
    held_out: tuple[Refusal, ...] = ()
    draining: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """The number of servers afterwards."""
        return len({*self.kept, *self.changed, *self.added})


@dataclass(frozen=True)
class Result:
    """What one pass did, or would do.

    `services` are those that the pass looked at. `before` and `after` are the texts of the
    services file. `problems` are failures, one line each, that did not keep the pass from doing
    the rest; `away` is the one of them that says why the registry was not read, so that only
    overrides were seen to. The others say in how many seconds to go on, None for never: `begun_s`
    with what was begun, `drains_s` with servers that drain, `look_s` with what needs no more than
    time, such as a health check.
    """

    services: tuple[ServiceResult, ...]
    before: str
    after: str
    commands: tuple[str, ...]
    reloaded: bool
    problems: tuple[str, ...]
    away: str | None
    begun_s: float | None
    drains_s: float | None
    look_s: float | None

    @property
    def changed(self) -> bool:
        """Whether anything was, or would be, done."""
        return self.before != self.after or bool(self.commands)

    @property
    def again_s(self) -> float | None:
        """How soon to go on with anything that is not done; None when all is done."""
        return min((s for s in (self.begun_s, self.drains_s) if s is not None), default=None)

    def then(self, later: Result) -> Result:
        """This pass and the one that went on with it, as one."""
        services = {service.name: service for service in self.services}
        for service in later.services:
            services[service.name] = _joined(services.get(service.name, service), service)
        return replace(
            later,
            services=tuple(services[name] for name in sorted(services)),
            before=self.before,
            commands=self.commands + later.commands,
            reloaded=self.reloaded or later.reloaded,
        )


def _joined(earlier: ServiceResult, later: ServiceResult) -> ServiceResult:
    def union(
        one: tuple[str, ...], other: tuple[str, ...], without: tuple[str, ...] = ()
    ) -> tuple[str, ...]:
        return tuple(sorted({*one, *other} - {*without}))

    # A server that is replaced is changed, and added then; one that was added may change.
    changed = union(earlier.changed, later.changed, earlier.added)
    added = union(earlier.added, later.added, earlier.changed)
    return replace(
        later,
        added=added,
        removed=union(earlier.removed, later.removed),
        changed=changed,
        kept=tuple(name for name in later.kept if name not in {*added, *changed}),
        drift=union(earlier.drift, later.drift),
    )
