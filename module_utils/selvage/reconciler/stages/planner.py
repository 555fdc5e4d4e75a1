"""From what a pass sees to its plan. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from ...catalogue import Service
from ...formats.registrations import Reading
from ...haproxy.sections import assemble
from ...haproxy.services_file import Filed
from ...planning.circumstances import Circumstances
from ...planning.drift import edited
from ...planning.plan import Plan, make_plan
from .sight import Sight


@dataclass(frozen=True)
class Planner:
    """What does not change during a pass: the catalogue, the registry, the circumstances.

    `verified` is a services file that is known to be as we write it. The services `kept` keep
    their options in any case, each for the reason given.
    """

    services: Mapping[str, Service]
    readings: Mapping[str, Reading]
    circumstances: Circumstances
    verified: Filed | None
    kept: Mapping[str, str] = field(default_factory=dict)

    def plan(
        self,
        sight: Sight,
        *,
        kept: Mapping[str, str],
        probed: Mapping[str, bool],
        begun: Collection[str],
        reload_due: bool,
    ) -> Plan:
        """The plan for what is seen.

        So do the services `kept` here. `probed` says of servers
        whether their check passed, `begun` names servers that the last pass left something to do
        for. With `reload_due` HAProxy was not reloaded yet for a file that had been edited.
        """
        chosen = [
            service
            for name, service in self.services.items()
            if sight.names is None or name in sight.names
        ]
        return make_plan(
            chosen,
            self.readings,
            sight.live,
            sight.filed.sections,
            replace(
                self.circumstances,
                kept={**kept, **self.kept},
                probed=probed,
                begun=begun,
                elsewhere=sight.elsewhere,
                edited=reload_due or self._edited(sight, kept),
            ),
        )

    def _edited(self, sight: Sight, kept: Mapping[str, str]) -> bool:
        if sight.names is not None or sight.filed is self.verified:
            return False
        if not kept:
            return edited([*self.services.values()], sight.filed.text)
        others = [service for name, service in self.services.items() if name not in kept]
        sections = sight.filed.sections
        return edited(others, assemble({n: s for n, s in sections.items() if n not in kept}))
