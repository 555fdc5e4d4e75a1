"""A logical backup: what `mariadb-dump` writes. Pure, but for the look into a file."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

# The server's own files come as an archive of `mbstream`, which begins so.
_ARCHIVE: Final = b"XBSTCK01"
# A dump's last lines, after all that a client wrote.
TAIL: Final = 4_096
_POSITION: Final = re.compile(rb"^-- SET GLOBAL gtid_slave_pos='([0-9,-]*)';$", re.MULTILINE)


def position(tail: bytes) -> str | None:
    """The GTIDs at which a dump stands, by its last lines; none where they name none."""
    found = _POSITION.findall(tail)
    return found[-1].decode() if found else None


def position_of(archive: Path) -> str | None:
    """The same, of a backup's file; none where it is no dump."""
    with archive.open("rb") as file:
        if file.read(len(_ARCHIVE)) == _ARCHIVE:
            return None
        file.seek(max(file.seek(0, os.SEEK_END) - TAIL, 0))
        return position(file.read())
