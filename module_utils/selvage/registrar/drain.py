"""Services that an operator has taken out of the registry on this node: one file each.

The file is named after the service and holds the operator's reason. Files outlive restarts of the
daemon and of the node, and nothing but a file has to be there for an operator to decide.
"""

from __future__ import annotations

from pathlib import Path

from ..fields import REASON_CHARACTERS, Fields
from ..system import files


def drained(folder: Path) -> dict[str, str]:
    """Service → reason. A folder that is not there means that nothing is drained.

    Raises OSError when the folder cannot be read: that must not look like "nothing is drained".
    """
    try:
        paths = sorted(folder.iterdir())
    except FileNotFoundError:
        return {}
    # Files with a dot are still being written.
    return {path.name: _reason(path) for path in paths if not path.name.startswith(".")}


def drain(folder: Path, service: str, reason: str) -> None:
    """Write the file for a service, all at once. Raises Invalid for the reason, OSError."""
    reason = Fields({"--reason": reason}, "").reason("--reason")
    files.write(folder / service, f"{reason}\n", durable=True)


def undrain(folder: Path, service: str) -> None:
    """Remove the file of a service, if there is one. Raises OSError."""
    files.remove(folder / service, durable=True)


def _reason(path: Path) -> str:
    # That the file is there is what counts.
    try:
        with path.open(errors="replace") as file:
            return file.readline(REASON_CHARACTERS).strip()
    except OSError as error:
        return f"unknown: {error.strerror}"
