"""Refusals, before anything changes: can this computer carry the lab?"""

from __future__ import annotations

import ipaddress
import os
import platform
import shutil
from pathlib import Path

from cgroups import cgroup_roots
from common import LabError, succeeds
from processes import recorded
from spec import Lab

GIB = 1024**3
DISK_NEEDED = 6 * GIB
MEMORY_NEEDED = 3 * GIB
ROUTES = Path("/proc/net/route")


def check(state: Path, name: str, prefix: str, release: str) -> None:
    """Raise LabError unless this computer can carry the lab."""
    if platform.system() != "Linux":
        raise LabError(f"the lab needs Linux, this is {platform.system()}: use a Linux machine")
    if os.geteuid() != 0 and shutil.which("sudo") is None:
        raise LabError("the lab needs root: run make as root, or install sudo")
    missing = [space for space in ("net", "pid", "mnt", "uts", "ipc")
               if not Path(f"/proc/self/ns/{space}").exists()]  # fmt: skip
    if missing:
        raise LabError(f"this kernel lacks the namespaces {', '.join(missing)}: use another kernel")
    if not has_overlayfs():
        raise LabError("this kernel has no overlayfs: load the module overlay")
    if not Path("/run/systemd/system").is_dir() and not cgroup_roots():
        raise LabError("no cgroup hierarchy for systemd is mounted: mount cgroup2 first")
    taken = routed_elsewhere(f"{prefix}.0/24", f"slv-{name}")
    if taken:
        raise LabError(f"{prefix}.0/24 is already routed to {taken}: choose another LAB_PREFIX")
    here = described(state / name)
    if here and here.release != release:
        raise LabError(
            f"the lab {name} runs {here.release}, not {release}: "
            "run make lab-down first, or choose another LAB_NAME and LAB_PREFIX"
        )
    if here and all(recorded(here.folder(machine) / "pid") for machine in here.machines):
        return  # It is up already, and needs no further room.
    existing = next(path for path in (state, *state.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < DISK_NEEDED:
        raise LabError(f"{existing} has {free / GIB:.1f} GiB free: the lab needs 6 GiB")
    memory = available_memory()
    if memory < MEMORY_NEEDED:
        raise LabError(f"{memory / GIB:.1f} GiB of memory are free: the lab needs 3 GiB")


def has_overlayfs() -> bool:
    """Whether overlayfs is there or its module can be loaded."""
    filesystems = Path("/proc/filesystems")
    if "\toverlay\n" in filesystems.read_text():
        return True
    modprobe = shutil.which("modprobe") or "/usr/sbin/modprobe"
    return Path(modprobe).exists() and succeeds(modprobe, "--dry-run", "overlay")


def available_memory() -> int:
    """MemAvailable in bytes."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise LabError("/proc/meminfo names no MemAvailable: this kernel is too old")


def routed_elsewhere(subnet: str, bridge: str) -> str | None:
    """The interface that already carries a part of the subnet; the default route does not count."""
    wanted = ipaddress.ip_network(subnet)
    for line in ROUTES.read_text().splitlines()[1:]:
        interface, destination, _, _, _, _, _, mask = line.split()[:8]
        network = ipaddress.ip_network(
            (
                int.from_bytes(bytes.fromhex(destination), "little"),
                bin(int(mask, 16)).count("1"),
            )
        )
        if network.prefixlen and interface != bridge and network.overlaps(wanted):
            return interface
    return None


def described(home: Path) -> Lab | None:
    """The lab that is already here."""
    return Lab.load(home) if (home / "lab.json").exists() else None
