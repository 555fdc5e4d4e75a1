"""The hosts: what makes each one itself, and the process that keeps it running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from cgroups import clear_cgroup, enter_cgroup
from common import LabError, run, succeeds, write
from keys import make_host_key, public
from layers import mount_overlay, unmount
from network import resolvers
from processes import end, record, recorded
from spec import CACHE_PORT, Lab, Machine

REBOOT = 133  # systemd-nspawn's exit code when the machine asked for a reboot


def prepare(lab: Lab, machine: Machine) -> bool:
    """Give a host its root, name, address and keys; returns whether anything changed.

    What runs is its roles' business: the files are only written while the host is down.
    """
    folder = lab.folder(machine)
    root = folder / "root"
    changed = mount_overlay(lab, folder)
    if recorded(folder / "pid"):
        return changed
    host_key = make_host_key(lab, machine)
    (root / "root/.ssh").mkdir(mode=0o700, exist_ok=True)
    identity = uuid.uuid5(uuid.NAMESPACE_DNS, f"{machine.name}.{lab.name}.selvage-lab")
    network = (
        f"[Match]\nName=host0\n[Network]\nAddress={machine.address}/24\n"
        f"Gateway={lab.gateway}\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n"
    )
    proxy = f'Acquire::http::Proxy "http://{lab.gateway}:{CACHE_PORT}";\n'
    files = [
        ("etc/hostname", f"{machine.name}\n", 0o644),
        ("etc/machine-id", f"{identity.hex}\n", 0o444),
        ("etc/resolv.conf", resolvers(), 0o644),
        ("etc/systemd/network/10-lab.network", network, 0o644),
        ("etc/apt/apt.conf.d/90lab-cache", proxy, 0o644),
        ("etc/ssh/ssh_host_ed25519_key", host_key.read_text(), 0o600),
        ("etc/ssh/ssh_host_ed25519_key.pub", public(host_key).read_text(), 0o644),
        ("root/.ssh/authorized_keys", public(lab.key).read_text(), 0o600),
    ]
    if not (root / "etc/hosts").exists():
        files.append(("etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {machine.name}\n", 0o644))
    for path, content, mode in files:
        changed |= write(root / path, content, mode)
    return changed


def start(lab: Lab, machine: Machine) -> bool:
    """Start a host's supervisor, detached; returns whether it was down."""
    folder = lab.folder(machine)
    if recorded(folder / "pid"):
        return False
    clear(lab, machine)
    program = str(Path(__file__).resolve().parent)
    command = [sys.executable, program, "run", str(lab.home), machine.name]
    if Path("/run/systemd/system").is_dir():
        properties = ["-p", "Delegate=yes", "-p", "KillMode=mixed"]
        run(
            "systemd-run",
            "--quiet",
            "--collect",
            f"--unit={lab.unit(machine)}",
            *properties,
            *command,
        )
    else:
        nowhere = subprocess.DEVNULL
        subprocess.Popen(
            command, stdin=nowhere, stdout=nowhere, stderr=nowhere, start_new_session=True
        )
    deadline = time.monotonic() + 60
    while not recorded(folder / "pid"):
        if time.monotonic() > deadline:
            raise LabError(f"{machine.name} did not start: see {folder}/console.log")
        time.sleep(0.05)
    return True


def known(lab: Lab) -> list[Machine]:
    """The lab's machines and those that it had before: their folders are still here."""
    described = {machine.name for machine in lab.machines}
    folders = sorted((lab.home / "hosts").glob("*"))
    former = [Machine(folder.name, "") for folder in folders if folder.name not in described]
    return [*lab.machines, *former]


def stop(lab: Lab, machines: Sequence[Machine]) -> None:
    """End machines, all at once, and unmount their roots."""
    folders = [lab.folder(machine) for machine in machines]
    end([folder / "pid" for folder in folders], patience=20)
    # Only left when a supervisor was killed.
    end([folder / "nspawn.pid" for folder in folders], patience=5)
    for machine in machines:
        clear(lab, machine)
        unmount(lab.folder(machine) / "root")


def clear(lab: Lab, machine: Machine) -> None:
    """Remove what a host that ended badly left outside its folder."""
    if Path("/run/systemd/system").is_dir():
        # Waits for the unit's last process: until then its name is taken. Often it is not loaded.
        succeeds("systemctl", "stop", f"{lab.unit(machine)}.service")
    else:
        clear_cgroup(lab.unit(machine))
    name = lab.machine_name(machine)
    if succeeds("ip", "link", "show", f"vb-{name}"):
        run("ip", "link", "delete", f"vb-{name}")
    # systemd-nspawn 256 and newer refuse to start over the mount that a killed one left.
    for kind in ("propagate", "unix-export"):
        left = Path("/run/systemd/nspawn", kind, name)
        unmount(left)
        if left.is_dir():
            left.rmdir()


def supervise(lab: Lab, machine: Machine) -> None:
    """Run one host until it powers off or we are told to end; a reboot starts it again."""
    folder = lab.folder(machine)
    name = lab.machine_name(machine)
    if not Path("/run/systemd/system").is_dir():
        enter_cgroup(lab.unit(machine))
    record(folder / "pid", os.getpid())
    ending = False
    host: subprocess.Popen[bytes] | None = None

    def on_end(_number: int, _frame: object) -> None:
        nonlocal ending
        ending = True
        if host is not None:
            host.terminate()

    signal.signal(signal.SIGTERM, on_end)
    with (folder / "console.log").open("ab") as log:
        while not ending:
            host = subprocess.Popen(
                [
                    "systemd-nspawn", "--quiet", "--register=no", "--keep-unit",
                    f"--machine={name}", f"--hostname={machine.name}",
                    f"--directory={folder}/root", f"--network-bridge={lab.bridge}",
                    "--resolv-conf=off", "--timezone=off", "--link-journal=no", "--boot",
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
            )  # fmt: skip
            record(folder / "nspawn.pid", host.pid)
            if ending:
                host.terminate()
            if host.wait() != REBOOT:
                break
    (folder / "nspawn.pid").unlink(missing_ok=True)
    (folder / "pid").unlink(missing_ok=True)
