"""When HAProxy may be reloaded, and whether it was."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from ...haproxy.master import Master, ReloadFailed
from ...haproxy.runtime import Runtime
from ...haproxy.socket import HAProxyUnavailable


@dataclass(frozen=True)
class Reloaded:
    """HAProxy runs the new file, unless `rejected` says why it goes on with what it had."""

    rejected: str | None = None


def early_s(reloaded_at: float | None, interval_s: float, now: float) -> float:
    """For how many seconds it is too early to reload again; 0 when it is not."""
    left_s = 0.0 if reloaded_at is None else reloaded_at + interval_s - now
    # Not every node at the same time, when they all wait for the same.
    return left_s * random.uniform(1, 1.5) if left_s > 0 else 0.0  # noqa: S311 - no secret


def reload(master: Master, runtime: Runtime, count: Callable[[str], None]) -> Reloaded:
    """Reload, and wait until the new worker answers."""
    try:
        master.reload(runtime)
    except (ReloadFailed, HAProxyUnavailable) as error:
        count('reloads_total{result="refused"}')
        return Reloaded(str(error))
    count('reloads_total{result="done"}')
    return Reloaded()
