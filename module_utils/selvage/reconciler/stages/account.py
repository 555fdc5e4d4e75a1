"""What a pass has come to: what runs now, compared with what was wanted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ...haproxy.servers import LiveService
from ...planning.plan import Plan
from ...planning.steps import Remove, Replace, Stop
from ..result import ServiceResult
from .applying import Done

# How soon to go on with instances that are being probed, and to look at servers that drain: with
# sessions, and without.
_PROBING_S: Final = 0.02
_SESSIONS_S: Final = 0.5
_EMPTY_S: Final = 0.05


@dataclass(frozen=True)
class Left:
    """What a pass leaves to later ones.

    `plan` is the plan for what runs now. `problems` are differences that no later pass is expected
    to end. `begun_s` says how soon to go on with what was begun, `drains_s` how soon to look at
    servers that drain; None for never.
    """

    plan: Plan
    problems: tuple[str, ...] = ()
    begun_s: float | None = None
    drains_s: float | None = None

    @property
    def services(self) -> frozenset[str]:
        """The services that are not yet as they shall be."""
        waiting = {s.name for s in self.plan.services if s.waiting or s.candidates}
        return frozenset({*waiting, *(name for name, _ in self.plan.steps())})


def unchanged(plan: Plan, live: Mapping[str, LiveService], done: Done) -> Left:
    """Nothing was to be done to HAProxy's servers, or nothing was sent."""
    return Left(plan, (), _PROBING_S if done.probing else None, _drains_s(plan, live))


def compare(
    plan: Plan,
    left: Plan,
    live: Mapping[str, LiveService],
    done: Done,
    denied: Sequence[tuple[str, str]],
) -> Left:
    """`plan` was carried out, and `left` is the plan for what runs now.

    `denied` are commands that HAProxy refused, by server.
    """
    # Another HAProxy may have come in the middle, that needs no such command: one is loaded
    # still when a run was killed right after it had asked for a reload.
    needed = {step.name for _, step in left.steps()}
    problems = [answer for server, answer in denied if server in needed]
    # What a probe, or a check, has only just decided is for the next pass.
    later = done.probing | {service.name for service in plan.services if service.waiting}
    soon = done.probing | {name for name, _ in left.steps() if name in later}
    missing = [
        f"{name}: {type(step).__name__} {step.name}"
        for name, step in left.steps()
        if not isinstance(step, (Remove, Replace, Stop)) and name not in later
    ]
    stopping = any(isinstance(step, Stop) for _, step in left.steps())
    begun_s = _PROBING_S if soon or stopping else None
    if missing and done.replaced:
        begun_s = 0.0
    elif missing and not problems:
        problems.append(f"HAProxy does not run what it took: {'; '.join(missing)}")
    return Left(left, tuple(problems), begun_s, _drains_s(left, live))


def _drains_s(plan: Plan, live: Mapping[str, LiveService]) -> float | None:
    servers = {(name, s.name): s for name, found in live.items() for s in found.servers}
    looks_s = [
        _SESSIONS_S if servers[name, step.name].sessions else _EMPTY_S
        for name, step in plan.steps()
        if isinstance(step, (Remove, Replace))
    ]
    return min(looks_s, default=None)


def services(plan: Plan, left: Left) -> tuple[ServiceResult, ...]:
    """What the plan has meant for each service, and what of it drains."""
    draining = defaultdict(list)
    for name, step in left.plan.steps():
        if isinstance(step, (Remove, Replace)):
            draining[name].append(step.name)
    return tuple(
        ServiceResult(
            name=service.name,
            added=service.added,
            removed=service.removed,
            changed=service.changed,
            kept=service.kept,
            held=service.held,
            drift=service.drift,
            refused=service.reading.refusals,
            out_of_service=service.reading.out_of_service,
            held_out=service.held_out,
            draining=tuple(draining[service.name]),
        )
        for service in plan.services
    )
