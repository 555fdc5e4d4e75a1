"""Backups as the backup host keeps them, and the steps of a restore."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

from selvage.backup import manifest, source
from selvage.backup.settings import Source
from selvage.backup.store import Store

MODULES = Path(__file__).parents[2] / "module_utils"
NAME = "20261122T031700Z"


def backed_up(
    service: str,
    given: Source,
    folder: Path,
    name: str = NAME,
    since: str = "",
    ended: str = "2026-11-22T03:18:00+00:00",
) -> Store:
    """A backup as the backup host keeps it."""
    stream = io.BytesIO()
    source.send(service, given, stream, since)
    stream.seek(0)
    about = {"fabric": "fabric", "service": service, "name": name, "member": "here", "ended": ended}
    folder.mkdir(exist_ok=True)
    store = Store(folder)
    store.keep(name, stream, lambda details: manifest.complete(about, details))
    return store


def place(*words: object, program: str = "place") -> subprocess.CompletedProcess[str]:
    """A step of a restore, on a network of its own, as systemd gives it one."""
    step = ["/usr/bin/python3", "-P", "-m", f"selvage.backup.{program}", *map(str, words)]
    return subprocess.run(
        ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", *step],
        # Of a service there is Debian's Python alone, which has PyMySQL.
        env={"PYTHONPATH": str(MODULES), "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"},
        capture_output=True,
        text=True,
    )
