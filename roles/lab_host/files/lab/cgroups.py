"""A cgroup for each host, on pure v2 as on a v1/v2 hybrid, where no systemd runs outside."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from common import LabError


def cgroup_roots() -> list[Path]:
    """Where systemd's cgroups live here: one place on pure v2, two on a v1/v2 hybrid."""
    roots = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, right = line.split(" - ")
        kind, _, options = right.split()[:3]
        if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options.split(",")):
            roots.append(Path(left.split()[4]))
    return roots


def enter_cgroup(name: str) -> None:
    """Move this process into a cgroup of its own.

    Hosts that share one also share its `payload`, and then stopping user sessions in one host
    hangs for minutes.
    """
    for root in cgroup_roots():
        group = root / name
        group.mkdir(exist_ok=True)
        (group / "cgroup.procs").write_text(f"{os.getpid()}\n")


def clear_cgroup(name: str) -> None:
    """End whatever is left in a host's cgroups and remove them.

    A killed supervisor or systemd-nspawn leaves the machine's processes behind, without a parent
    that anyone recorded; the cgroup is what still says that they are ours.
    """
    deadline = time.monotonic() + 60
    while processes := _processes(name):
        if time.monotonic() > deadline:
            raise LabError(f"processes {processes} of {name} do not end: look at them with ps")
        for pid in processes:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.1)
    for root in cgroup_roots():
        for folder, _, _ in os.walk(root / name, topdown=False):
            Path(folder).rmdir()


def _processes(name: str) -> list[int]:
    return sorted(
        {
            int(pid)
            for root in cgroup_roots()
            for procs in (root / name).rglob("cgroup.procs")
            for pid in procs.read_text().split()
        }
    )
