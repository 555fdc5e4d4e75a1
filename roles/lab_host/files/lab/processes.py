"""Processes recorded with their start time, so that a reused pid is never taken for ours."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from common import write


def started_at(pid: int) -> str | None:
    """The start time of a live process in clock ticks since boot (proc(5), stat field 22)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else fields[19]


def boot_id() -> str:
    """This boot of the computer: start times count from it."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def record(path: Path, pid: int) -> None:
    """Write down a process that we started."""
    write(path, f"{pid} {started_at(pid)} {boot_id()}\n")


def recorded(path: Path) -> int | None:
    """The pid of a recorded process that still runs."""
    try:
        pid, start, boot = path.read_text().split()
    except (FileNotFoundError, ValueError):
        return None
    return int(pid) if boot == boot_id() and started_at(int(pid)) == start else None


def end(paths: list[Path], patience: float) -> None:
    """End recorded processes: all get SIGTERM, and what outlives the patience SIGKILL."""
    for signal_number in (signal.SIGTERM, signal.SIGKILL):
        for path in paths:
            pid = recorded(path)
            if pid is not None:
                os.kill(pid, signal_number)
        deadline = time.monotonic() + patience
        while any(recorded(path) for path in paths) and time.monotonic() < deadline:
            time.sleep(0.1)
    for path in paths:
        path.unlink(missing_ok=True)
