"""Whether HAProxy may be reloaded now, and who keeps its options until it is."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final

from ...haproxy import validation
from ...haproxy.places import HAProxySettings
from ...haproxy.sections import Section, assemble
from ...haproxy.validation import Complaint
from ...planning.plan import Plan
from . import quarantine
from .filing import sections
from .sight import Sight

# The same words each time, so that the daemon logs them once.
_WAITS: Final = "it waits: HAProxy was reloaded a moment ago"


@dataclass(frozen=True)
class Clearance:
    """`kept` are services that keep the options they have, and why; those in `waits` only wait.

    `whole` is what HAProxy has against any file of ours. `wait_s` says for how many seconds it is
    too early for a reload.
    """

    kept: Mapping[str, str]
    waits: frozenset[str] = frozenset()
    whole: str | None = None
    wait_s: float = 0.0

    @property
    def loads(self) -> bool:
        """Whether the services that are not kept may be loaded now."""
        return self.whole is None and not self.wait_s

    def rejecting(self, plan: Plan, reason: str) -> Clearance:
        """The clearance after HAProxy has rejected what the plan wanted to load."""
        names = [service.name for service in plan.services if service.reload is not None]
        return replace(self, kept={**self.kept, **dict.fromkeys(names, reason)}, whole=reason)


def too_early(plan: Plan, rejected: Mapping[str, str], wait_s: float) -> Clearance:
    """What needs a reload waits; what HAProxy has `rejected` before still has that reason."""
    waits = [service.name for service in plan.services if service.reload is not None]
    kept = {name: rejected.get(name, _WAITS) for name in waits}
    return Clearance(kept, waits=frozenset(waits), wait_s=wait_s)


def ask(plan: Plan, sight: Sight, haproxy: HAProxySettings) -> Clearance:
    """Ask HAProxy what it has against the file. Raises `FileFailed`."""
    former = sight.filed.sections
    kept = dict(_occupied(plan, sight))
    shall_be = sections(plan, sight, others=False)
    suspects = {s.name for s in plan.services if s.reload is not None or not sight.live}
    suspects -= kept.keys()

    def check(part: Collection[str]) -> Complaint | None:
        text = assemble(_with_former(shall_be, former, kept.keys() | suspects - {*part}))
        return validation.complaint(haproxy, text)

    verdict = quarantine.judge(suspects, check, time.monotonic)
    kept |= verdict.services
    if verdict.whole is not None:
        kept |= dict.fromkeys(suspects, verdict.whole)
    ports = {name: section.port for name, section in former.items()}
    wanted = {name: section.port for name, section in plan.sections.items()}
    for other, name in quarantine.ports_kept(kept, ports, wanted):
        kept[other] = f"{name}, which stays as it was, has 127.0.0.1:{ports[name]}"
    return Clearance(kept, whole=verdict.whole)


def _occupied(plan: Plan, sight: Sight) -> list[tuple[str, str]]:
    """`haproxy -c` does not see this, and a reload that fails so stops traffic for a second."""
    filed, running = sight.filed.sections, sight.live or {}
    ports = {section.port for section in filed.values()}
    found = []
    for name, section in plan.sections.items():
        known = section.port in ports or (name in running and name not in filed)
        if not known and section.port is not None:
            others = validation.occupied(section.port)
            if others is not None:
                found.append((name, others))
    return found


def _with_former(
    wanted: Mapping[str, Section], former: Mapping[str, Section], names: Collection[str]
) -> dict[str, Section]:
    """The wanted sections, but of these services the former ones, if there are any."""
    found = {name: section for name, section in wanted.items() if name not in names}
    return found | {name: former[name] for name in names if name in former}
