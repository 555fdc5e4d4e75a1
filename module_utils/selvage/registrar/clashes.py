"""Names that somebody else has in the registry: told at once, and again, but ever less often."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from ..system.journal import event
from .announcement import Announcement
from .announcer import Clash

_AGAIN_S = 60.0
_LONGEST_S = 3_600.0
_logger = logging.getLogger(__name__)


@dataclass
class _Told:
    next_at: float
    pause_s: float = _AGAIN_S


class Clashes:
    """What is told of clashes: what to do about one only when it lasts for `patience_s` seconds.

    After a start of the computer it may be this host's own former session, which ends by itself.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._told: dict[Announcement, _Told] = {}

    @property
    def names(self) -> list[str]:
        """The znodes' names, sorted."""
        return sorted(announcement.child for announcement in self._told)

    def follow(self, announcement: Announcement, clash: Clash | None, now: float) -> None:
        """Tell what there is to tell, at `now` in seconds of a clock that only goes on."""
        told = self._told.get(announcement)
        if clash is None:
            if told is not None:
                del self._told[announcement]
                _say(logging.INFO, "nobody else has this name any more", announcement)
            return
        if told is None:
            patience_s = self._patience_s if clash.session else 0.0
            told = self._told[announcement] = _Told(now + patience_s)
            if clash.session:
                _say(logging.WARNING, "waiting for the end of a session that is not ours",
                     announcement, clash)  # fmt: skip
        if now >= told.next_at:
            told.next_at = now + told.pause_s
            told.pause_s = min(2 * told.pause_s, _LONGEST_S)
            advice = (
                "another host registers under this name: give each its own `node`"
                if clash.session
                else "this name was registered by hand: delete the znode"
            )
            _say(logging.ERROR, advice, announcement, clash)


def _say(level: int, sentence: str, announcement: Announcement, clash: Clash | None = None) -> None:
    more = {} if clash is None else {"session": f"{clash.session & 2**64 - 1:#x}",
                                     "data": clash.data}  # fmt: skip
    event(_logger, level, sentence, service=announcement.service, child=announcement.child, **more)
