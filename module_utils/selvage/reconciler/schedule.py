"""When the daemon's next pass is due, and whether it looks at everything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from .result import Result

# After the first failure; each further one doubles it.
_RETRY_S: Final = 0.5
_LONGEST_RETRY_S: Final = 10.0
_LONGEST_PAUSE_S: Final = 1.0


@dataclass
class Schedule:
    """Times are seconds of the `clock`; the first pass is due at `due_at`, and looks at all."""

    clock: Callable[[], float]
    resync_s: float
    due_at: float
    _resync_at: float = field(init=False)
    _whole_at: float = field(init=False)
    _failures: int = 0
    _looks: int = 0

    def __post_init__(self) -> None:
        self._resync_at = self.clock() + self.resync_s
        self._whole_at = self.clock()

    @property
    def wait_s(self) -> float:
        """How long it is until the next pass."""
        return max(0.0, self.due_at - self.clock())

    def ask(self, in_s: float = 0.0) -> None:
        """Something has happened: a pass is due by then."""
        self.due_at = min(self.due_at, self.clock() + in_s)

    def put_off(self, to_s: float) -> None:
        """Whatever was due before: a pass is due then."""
        self.due_at = self.clock() + to_s

    def begin(self) -> tuple[bool, bool]:
        """A pass begins; whether it looks at everything, and whether it is a resync."""
        now = self.clock()
        resync = now >= self._resync_at
        if resync:
            self._resync_at = now + self.resync_s
        return now >= self._whole_at, resync

    def end(self, problems: tuple[str, ...], result: Result | None) -> None:
        """The pass has ended; without a `result` it has failed."""
        now = self.clock()
        if not problems:
            self._failures, self._whole_at = 0, self._resync_at
        elif self._whole_at <= now or not self._failures:
            self._failures += 1
            retry_s = min(_RETRY_S * 2 ** min(self._failures - 1, 16), _LONGEST_RETRY_S)
            self._whole_at = now + retry_s
        pauses_s = [self._whole_at - now]
        if result is not None:
            pauses_s += [s for s in (result.begun_s, result.look_s) if s is not None]
        if result is None or result.drains_s is None:
            self._looks = 0
        else:
            # Looks at servers that drain are spaced out; they keep nothing else waiting.
            self._looks = 1 if result.commands else self._looks + 1
            pauses_s.append(min(result.drains_s * 2 ** min(self._looks - 1, 16), _LONGEST_PAUSE_S))
        self.due_at = now + min(pauses_s)
