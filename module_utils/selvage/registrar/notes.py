"""Why instances of this node are not registered: said in the registry, for `selvage explain`.

A note is one ephemeral line beside the registrations. It decides nothing, so it may be late: it is
written seldom, however often the reason changes, and the registry keeps nobody waiting for it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException
from kazoo.handlers.threading import KazooTimeoutError

from ..registry.settings import RegistrySettings
from ..system.journal import event
from .announcement import Announcement
from .announcer import UNREACHABLE, Announcer, Outcome
from .health import Wish
from .sessions import Sessions

# From one write of a note to the next, and until it is looked after again.
WRITE_S: Final = 10.0
LOOK_S: Final = 30.0
# For all of them together; what was not done is due again later.
_LIMIT_S: Final = 1.0
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Note:
    """One instance's."""

    announcement: Announcement
    reason: str

    @property
    def service(self) -> str:
        """The name of the znode's parent."""
        return self.announcement.service

    @property
    def child(self) -> str:
        """The name that the registration would have."""
        return self.announcement.child

    @property
    def data(self) -> bytes:
        """The reason alone."""
        return self.reason.encode()


def told(kind: str, detail: str) -> str:
    """What a check said, without what a command printed: that is for its host alone."""
    return detail.partition(":")[0] if kind == "exec" else detail


@dataclass(frozen=True)
class _Stands:
    """What was done last; None for a note that is not there."""

    reason: str | None
    done: bool
    at: float


class Notes:
    """Those of one node. `clock` tells seconds."""

    def __init__(
        self,
        settings: RegistrySettings,
        sessions: Sessions,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings.notes
        self._sessions = sessions
        self._clock = clock
        self._stands: dict[Announcement, _Stands] = {}
        self._failed = False

    def take_client(self, client: KazooClient) -> None:
        """Write through this one from now on."""
        self._announcer = Announcer(client, self._settings, self._sessions)

    def keep(self, reasons: Mapping[Announcement, str | None]) -> None:
        """Say these, and take those away that are None; what is not in it stays as it is."""
        due = dict(self._due(reasons))
        if not due:
            return
        outcomes: Mapping[Note, Outcome | KazooException | KazooTimeoutError]
        try:
            outcomes = self._announcer.fulfil(due, _LIMIT_S)
        except UNREACHABLE as error:
            outcomes = dict.fromkeys(due, error)
        for note, outcome in outcomes.items():
            reason = note.reason if due[note] is Wish.PRESENT else None
            # What a former session or somebody else has there may go by itself.
            done = isinstance(outcome, Outcome) and outcome.clash is None
            self._stands[note.announcement] = _Stands(reason, done, self._clock())
        errors = [error for error in outcomes.values() if isinstance(error, Exception)]
        if errors and not self._failed:
            event(_logger, logging.WARNING, "cannot say why instances are not registered",
                  error=repr(errors[0]))  # fmt: skip
        self._failed = bool(errors)

    def _due(self, reasons: Mapping[Announcement, str | None]) -> Iterator[tuple[Note, Wish]]:
        for announcement, reason in reasons.items():
            stands = self._stands.get(announcement)
            if stands is not None:
                rest_s = WRITE_S
                if stands.done and stands.reason == reason:
                    # Its session may have ended, and it with that.
                    rest_s = LOOK_S if reason is not None else float("inf")
                if self._clock() < stands.at + rest_s:
                    continue
            wish = Wish.ABSENT if reason is None else Wish.PRESENT
            yield Note(announcement, reason or ""), wish
