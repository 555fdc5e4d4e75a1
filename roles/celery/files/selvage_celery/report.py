"""What a worker says of itself in a file, and whether that process still runs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from .settings import replace


@dataclass(frozen=True)
class Report:
    """Of a worker's main process. Times are monotonic, which is one clock for a whole host.

    `full` is when it last did as many tasks as it can, `canary` when it last consumed one.
    """

    pid: int
    born: int
    at: float
    ending: bool
    active: int
    full: float
    canary: float
    succeeded: int
    failed: int
    retried: int

    def alive(self) -> bool:
        """Whether it is still that process, and not another one with its number."""
        return born(self.pid) == self.born


def write(path: Path, report: Report) -> None:
    """Replace the former one."""
    replace(path, json.dumps(asdict(report)))


def read(path: Path) -> Report | None:
    """None before the first one, and of a former version of this program."""
    try:
        return Report(**json.loads(path.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def born(pid: int) -> int | None:
    """When a process began, in ticks since the boot; none for one that is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])
