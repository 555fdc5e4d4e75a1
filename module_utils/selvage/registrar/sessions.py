"""The proof that a registration is this host's own: which sessions its registrars had.

A znode says which session put it there. The next process of this host must know that session for
its own, to take the znode over without a gap; a clone of the machine must not. So the sessions are
noted in a file, with what a clone does not share: the boot it was, and the address.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Final

from ..fields import Fields, Invalid, read
from ..system import files
from ..system.journal import event

# Those of a daemon that is killed each second may all live on for a while.
_MOST: Final = 100
_ID: Final = 2**63
_logger = logging.getLogger(__name__)


def this_host(
    address: str,
    machine: Path = Path("/etc/machine-id"),
    boot: Path = Path("/proc/sys/kernel/random/boot_id"),
) -> str:
    """What tells this host, until its next start, from every other one.

    A clone has the machine's id, but starts anew; containers may share the boot, and have an
    address of their own. Raises OSError.
    """
    name = machine.read_text().strip() if machine.exists() else ""
    return f"{name} {boot.read_text().strip()} {address}"


class Sessions:
    """The sessions that this host has had since its start, over all of its processes."""

    def __init__(self, path: Path, host: str) -> None:
        self._path = path
        self._host = host
        self._ids = _load(path, host)

    def __contains__(self, session: int) -> bool:
        return session in self._ids

    def note(self, session: int) -> None:
        """Note it before it owns anything: who is killed afterwards has a successor who knows.

        When that fails, the journal says so, and the successor waits for this session's end.
        """
        if session in self._ids:
            return
        self._ids = [*self._ids, session][-_MOST:]
        document = {"host": self._host, "sessions": self._ids}
        try:
            # Nothing in it outlives the computer's next start.
            files.write(self._path, json.dumps(document) + "\n")
        except OSError as error:
            event(
                _logger,
                logging.ERROR,
                "the next registrar of this host will have to wait for this one's session to end",
                error=error,
            )


def _load(path: Path, host: str) -> list[int]:
    def parse(document: dict[str, object]) -> list[int]:
        fields = Fields(document, "")
        noted = fields.text("host", r".*", "what tells a host")
        return fields.integers("sessions", -_ID, _ID - 1) if noted == host else []

    if not path.exists():
        return []
    try:
        return read(path, parse)
    except Invalid as error:
        event(_logger, logging.ERROR, "the sessions of before are not known", error=error)
        return []
