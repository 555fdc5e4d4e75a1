"""What the results of one instance's checks add up to. Pure."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace


class Status(enum.Enum):
    """UNKNOWN until the checks have decided for the first time since the daemon's start."""

    UNKNOWN = "unknown"
    UP = "up"
    DOWN = "down"


@dataclass(frozen=True)
class Health:
    """`rise` successes in a row make UP, `fall` failures in a row make DOWN (HAProxy's terms).

    `streak` counts the equal results in a row so far: positive successes, negative failures.
    """

    rise: int
    fall: int
    status: Status = Status.UNKNOWN
    streak: int = 0

    def after(self, healthy: bool) -> Health:
        """The health after one more result."""
        if healthy:
            streak = max(self.streak, 0) + 1
            status = Status.UP if streak >= self.rise else self.status
        else:
            streak = min(self.streak, 0) - 1
            status = Status.DOWN if -streak >= self.fall else self.status
        return replace(self, status=status, streak=streak)
