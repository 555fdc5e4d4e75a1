"""Services that an operator has taken out of the registry on this node: one file each.

The file is named after the service and holds the operator's reason. Files outlive restarts of the
daemon and of the node, and nothing but a file has to be there for an operator to decide.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Final

from .fields import Invalid

REASON_CHARACTERS: Final = 200


def drained(folder: Path) -> dict[str, str]:
    """Service → reason. A folder that is not there means that nothing is drained.

    Raises OSError when the folder cannot be read: that must not look like "nothing is drained".
    """
    reasons = {}
    with contextlib.suppress(FileNotFoundError):
        for path in sorted(folder.iterdir()):
            # Files with a dot are being written; others may be lifted at this very moment.
            with contextlib.suppress(FileNotFoundError):
                if not path.name.startswith("."):
                    with path.open(errors="replace") as file:
                        reasons[path.name] = file.readline(REASON_CHARACTERS).strip()
    return reasons


def drain(folder: Path, service: str, reason: str) -> None:
    """Write the file for a service, all at once. Raises Invalid for the reason, OSError."""
    if not reason.strip() or not reason.isprintable() or len(reason) > REASON_CHARACTERS:
        raise Invalid(
            f"--reason: expected one line of 1 to {REASON_CHARACTERS} printable characters"
        )
    handle, unfinished = tempfile.mkstemp(dir=folder, prefix=".")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(f"{reason}\n")
            os.fchmod(handle, 0o644)
            file.flush()
            os.fsync(handle)
        Path(unfinished).replace(folder / service)
    except BaseException:
        Path(unfinished).unlink(missing_ok=True)
        raise


def undrain(folder: Path, service: str) -> None:
    """Remove the file of a service, if there is one. Raises OSError."""
    (folder / service).unlink(missing_ok=True)
