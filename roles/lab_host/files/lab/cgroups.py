"""A cgroup for each host, on pure v2 as on a v1/v2 hybrid."""

from __future__ import annotations

import os
from pathlib import Path


def cgroup_roots() -> list[Path]:
    """Where systemd's cgroups live here: one place on pure v2, two on a v1/v2 hybrid."""
    roots = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, right = line.split(" - ")
        kind, _, options = right.split()[:3]
        if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options.split(",")):
            roots.append(Path(left.split()[4]))
    return roots


def own_cgroup(name: str) -> None:
    """Move this process into a cgroup of its own.

    Hosts that share one also share its `payload`, and then stopping user sessions in one host
    hangs for minutes.
    """
    for root in cgroup_roots():
        group = root / name
        group.mkdir(exist_ok=True)
        (group / "cgroup.procs").write_text(f"{os.getpid()}\n")


def remove_cgroup(name: str) -> None:
    """Remove the host's cgroups, leaves first; they are empty once it has ended."""
    for root in cgroup_roots():
        for folder, _, _ in os.walk(root / name, topdown=False):
            Path(folder).rmdir()
