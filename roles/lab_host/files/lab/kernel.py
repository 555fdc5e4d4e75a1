"""The kernel settings of the computer that labs need, and their way back."""

from __future__ import annotations

import json
from pathlib import Path

from common import write

# Forwarding lets the hosts reach a package mirror. Each systemd takes about eight inotify
# instances, all of them root's: at the kernel's default of 128, the sixteenth host boots degraded.
NEEDED = {"net/ipv4/ip_forward": 1, "fs/inotify/max_user_instances": 2048}


def raise_settings(state: Path) -> bool:
    """Raise what is too low, remembering the former values; returns whether anything was.

    The memory lies beside the labs, not in one of them: several may need the same setting.
    """
    memory = state / "kernel.json"
    former: dict[str, int] = json.loads(memory.read_text()) if memory.exists() else {}
    low = {key: value for key in NEEDED if (value := _read(key)) < NEEDED[key]}
    write(memory, json.dumps(low | former) + "\n")
    for key in low:
        _write(key, NEEDED[key])
    return bool(low)


def restore_settings(state: Path) -> None:
    """Put back the former values."""
    memory = state / "kernel.json"
    if memory.exists():
        for key, value in json.loads(memory.read_text()).items():
            _write(key, value)
        memory.unlink()


def _read(key: str) -> int:
    return int(Path("/proc/sys", key).read_text())


def _write(key: str, value: int) -> None:
    Path("/proc/sys", key).write_text(f"{value}\n")
