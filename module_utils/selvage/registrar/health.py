"""What the results of one instance's checks add up to, and what follows from it. Pure."""

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


class Wish(enum.Enum):
    """What shall be in the registry for one instance."""

    PRESENT = "present"
    ABSENT = "absent"
    AS_FOUND = "as found"


def wish(status: Status, leaving: bool) -> Wish:
    """Until the checks have decided, what a former session registered stays registered."""
    if leaving or status is Status.DOWN:
        return Wish.ABSENT
    return Wish.PRESENT if status is Status.UP else Wish.AS_FOUND
