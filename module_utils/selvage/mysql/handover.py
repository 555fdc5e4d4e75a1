"""Two servers change places while clients write: one program beside each, at the same time.

They meet on the server that gives: a flag is a lock there (GET_LOCK), held by the connection of
whoever raised it, gone with that connection, and named by a token that only these two know.

    gives   here  ready         stopped                           go
    takes         ready                  applied                      (writes)

Only `go` lets the other one write, and whoever gives undoes nothing once it has raised it. Until
then each takes its own steps back, by itself, when the other one's flag is gone or too late.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from . import acting
from .acting import NotDoneError
from .session import Session, Source, SqlError

Connect = Callable[[], AbstractContextManager[Session]]


@dataclass(frozen=True)
class Limits:
    """Seconds."""

    # Until both are there, and the one that takes has caught up: writes go on meanwhile.
    ready_s: int = 60
    # After that the one that gives writes again.
    pause_s: int = 5

    @property
    def answer_s(self) -> int:
        """The one that takes waits longer: so the one that gives decides alone."""
        return 2 * self.pause_s + 5


class Flags:
    """Those of one handover, as one connection sees them."""

    def __init__(self, session: Session, token: str) -> None:
        self._session = session
        self._token = token

    def raise_(self, name: str) -> None:
        """Until the connection ends."""
        if self._session.value("GET_LOCK(%s, 0)", self._lock(name)) != 1:
            raise NotDoneError("somebody else acts for this switchover")

    def up(self, name: str) -> bool:
        """Whether anyone holds it."""
        return self._session.value("IS_USED_LOCK(%s)", self._lock(name)) is not None

    def wait(self, name: str, while_up: str, limit_s: float, otherwise: str) -> None:
        """Until it is up, and no longer than the other one is."""

        def there() -> bool:
            if self.up(name):
                return True
            if while_up and not self.up(while_up) and not self.up(name):
                raise NotDoneError("the other side gave up, see there")
            return False

        acting.wait_until(there, limit_s, lambda: otherwise)

    def _lock(self, name: str) -> str:
        return f"selvage-{self._token}-{name}"


def give(connect: Connect, taker: Source, token: str, limits: Limits) -> float:
    """Stop to write, become the other one's replica, and let it write; seconds without a writer.

    When it raises, this server writes again as before, or the error says why not.
    """
    with connect() as own:
        if own.value("GET_LOCK('selvage-handover', 0)") != 1:
            raise NotDoneError("another switchover is under way, or somebody holds its lock")
        if own.value("@@GLOBAL.read_only") or acting.status(own) is not None:
            raise NotDoneError("it is not the primary any more")
        flags = Flags(own, token)
        flags.raise_("here")
        flags.wait("ready", "", limits.ready_s, f"{taker.name} is not ready to take over")
        semi_sync = bool(own.value(f"@@GLOBAL.{own.flavour.semi_sync}"))
        begun = time.monotonic()
        try:
            acting.read_only(own, limits.pause_s)
            flags.raise_("stopped")
            # What needs nothing of the other one is done while that one applies: clients wait.
            acting.point(own, taker)
            late = f"{taker.name} took more than {limits.pause_s} s"
            flags.wait("applied", "ready", limits.pause_s, late)
            acting.start(own)
            acting.wait_until_it_runs(own, limits.pause_s)
            if not flags.up("applied"):
                raise NotDoneError(f"{taker.name} gave up, see there")
        except Exception as error:
            _undo(error, connect, lambda session: _write_again(session, semi_sync=semi_sync))
            raise
        flags.raise_("go")
        paused = time.monotonic() - begun
        # It sees the flag while this connection lasts.
        acting.wait_until(
            lambda: not flags.up("ready"),
            limits.answer_s,
            lambda: f"{taker.name} does not say that it writes",
        )
        # Its own threads would wait for replicas of its own. No client waits: MySQL takes a second.
        acting.wait_for_replica(own, False)
        return paused


def _write_again(session: Session, *, semi_sync: bool) -> None:
    acting.forget(session)
    acting.writable(session, semi_sync=semi_sync)


def take(
    connect: Connect, look_at_giver: Connect, giver: Source, token: str, limits: Limits
) -> None:
    """Wait for the last transaction of the one that gives, leave it, and write.

    When it raises, this server is its replica as before, or the error says why not.
    """
    with connect() as own, look_at_giver() as there:
        flags = Flags(there, token)
        flags.wait("here", "", limits.ready_s, f"nobody hands over on {giver.name}")
        # What is far behind would stop writes for long.
        acting.catch_up(own, str(there.value(there.flavour.committed)), limits.ready_s)
        flags.raise_("ready")
        flags.wait("stopped", "here", limits.answer_s, f"{giver.name} does not stop to write")
        try:
            if not there.value("@@GLOBAL.read_only"):
                raise NotDoneError(f"{giver.name} still writes")
            acting.catch_up(own, str(there.value(there.flavour.committed)), limits.pause_s)
            acting.forget(own)
            acting.wait_for_replica(own, True)
            flags.raise_("applied")
            flags.wait("go", "here", limits.answer_s, f"{giver.name} does not let it write")
        except Exception as error:
            _undo(error, connect, lambda session: acting.follow(session, giver))
            raise
        acting.writable(own, semi_sync=True)


def _undo(error: Exception, connect: Connect, back: Callable[[Session], None]) -> None:
    """Over a new connection, for the former may be what failed."""
    try:
        with connect() as session:
            back(session)
    except (SqlError, NotDoneError) as failed:
        raise NotDoneError(f"{error}; and it could not go back by itself: {failed}") from error
