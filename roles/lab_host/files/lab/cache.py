"""The package cache: apt-cacher-ng in a layer of its own, so the computer gets no service."""

from __future__ import annotations

import subprocess
from pathlib import Path

from common import run, write
from layers import mount_overlay
from processes import record, recorded
from spec import CACHE_PORT, Lab


def start_cache(lab: Lab) -> bool:
    """Run a package cache on the bridge; returns whether it had to be started."""
    folder = lab.home / "cache"
    root = folder / "root"
    pid_file = folder / "pid"
    mount_overlay(lab, folder)
    if recorded(pid_file):
        return False
    write(root / "etc/resolv.conf", Path("/etc/resolv.conf").read_text())
    write(root / "etc/hosts", "127.0.0.1 localhost\n")
    if not (root / "usr/sbin/apt-cacher-ng").exists():
        run("chroot", str(root), "apt-get", "update")
        run(
            "chroot", str(root), "env", "DEBIAN_FRONTEND=noninteractive",
            "apt-get", "install", "--yes", "--no-install-recommends", "apt-cacher-ng",
        )  # fmt: skip
    process = subprocess.Popen(
        [
            "chroot", "--userspec=apt-cacher-ng:apt-cacher-ng", str(root),
            "/usr/sbin/apt-cacher-ng", "-c", "/etc/apt-cacher-ng", "ForeGround=1",
            f"BindAddress={lab.gateway}", f"Port={CACHE_PORT}",
            "LogDir=/var/log/apt-cacher-ng", "CacheDir=/var/cache/apt-cacher-ng",
            "PassThroughPattern=.*",
        ],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    record(pid_file, process.pid)
    return True
