"""A writable layer per host over one read-only base."""

from __future__ import annotations

import time
from pathlib import Path

from common import LabError, run, succeeds
from spec import Lab


def mount_overlay(lab: Lab, folder: Path) -> bool:
    """Lay a writable layer over the base at `<folder>/root`; returns whether it was missing."""
    root = folder / "root"
    for name in ("root", "upper", "work"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    if root.is_mount():
        return False
    options = f"lowerdir={lab.base},upperdir={folder}/upper,workdir={folder}/work"
    run("mount", "-t", "overlay", "-o", options, f"selvage-lab-{lab.name}", str(root))
    return True


def unmount(root: Path) -> None:
    """Unmount, patiently: the last process in it may just be ending."""
    for attempt in range(50):
        if not root.is_mount():
            return
        if succeeds("umount", str(root)):
            return
        time.sleep(0.1 * min(attempt, 5))
    raise LabError(f"{root} is still in use: see fuser -vm {root}, then run make lab-down again")
