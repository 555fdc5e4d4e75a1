"""How much of each service is read in a second, so that who floods one service delays no other."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

# In units: one for a name in a list, one for a znode and each KiB of its data.
A_SECOND: Final = 20_000
# What is read without a pause: the first time, before others have anything to wait for, and later.
FIRST: Final = A_SECOND
AT_ONCE: Final = 2_000
# However little it is, a turn has its requests, and what is made of the answers.
_A_TURN: Final = 100


class Shares:
    """What services have been read lately. `clock` tells seconds.

    A service may use a second's share at once, and has to wait until it is within it again.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # When all that was read would have been read at an even pace.
        self._paid_at: dict[str, float] = {}

    def spend(self, service: str, units: int) -> None:
        """So much was read in a turn."""
        now = self._clock()
        paid_at = max(now - 1.0, self._paid_at.get(service, now - 1.0))
        self._paid_at[service] = paid_at + (_A_TURN + units) / A_SECOND

    def wait_s(self, service: str) -> float:
        """In how many seconds the service has a turn; 0 when it may be read now."""
        return max(0.0, self._paid_at.get(service, 0.0) - self._clock())
