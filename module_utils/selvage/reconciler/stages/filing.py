"""The services file as it shall be, and the losses that it stands for."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ...catalogue import Service
from ...haproxy.sections import NOTHING, Section
from ...planning.plan import Plan
from ..memory import Memory
from .sight import Sight


def sections(plan: Plan, sight: Sight, *, others: bool) -> dict[str, Section]:
    """The sections of the file.

    A pass that looks at some services leaves the rest as it is. So does one with `others`: it
    keeps services that are no longer in the catalogue, because HAProxy still runs them.
    """
    found = dict(sight.filed.sections) if others or sight.names is not None else {}
    for service in plan.services:
        found.pop(service.name, None)
        if service.section != NOTHING:
            found[service.name] = service.section
    return found


def note_losses(
    plan: Plan, services: Mapping[str, Service], released: Collection[str], memory: Memory
) -> None:
    """Remember how many servers a service had that now has fewer: its guards count them."""
    for service in plan.services:
        guards = services[service.name].guards
        if service.left >= service.before:
            continue
        if service.name in released:
            memory.losses.pop(service.name, None)
        elif guards.max_loss < 100:
            memory.note_loss(service.name, service.before, guards.window_ms)
