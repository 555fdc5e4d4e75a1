"""Whether the registry may take servers away from a service. Pure.

A guard holds back losses only: what joins is let in, and what changes is changed. A weight of 0 is
a loss, and the server keeps the one that it had. A guard lets go by itself when enough instances
are registered again, or at an operator's word (`selvage release`).
"""

from __future__ import annotations

from ..catalogue import Service


def objection(service: Service, left: int, lost: int, peak: int, *, idle: int) -> str | None:
    """Why `lost` servers may not go so that `left` stay; None when they may.

    `peak` is the largest number of servers that the service had within its window, now included.
    Only servers with a weight above 0 count; `idle` are those that stay without one.
    """
    guards = service.guards
    if not lost:
        return None
    if not left:
        # Zero is then taken at its word, whatever the other guards say.
        if guards.allow_empty:
            return None
        what = "all that is left has the weight 0" if idle else "no valid registration is left"
        return f"{what}, and guards.allow_empty is false"
    if left < guards.min_servers:
        return f"only {left} would be left, and guards.min_servers is {guards.min_servers}"
    if left * 100 < peak * (100 - guards.max_loss):
        return (
            f"{peak - left} of {peak} would be lost within {guards.window_ms / 1000:g} s,"
            f" and guards.max_loss is {guards.max_loss} %"
        )
    return None
