"""The ssh key of the lab and the host keys of its hosts."""

from __future__ import annotations

import shutil
from pathlib import Path

from common import run, succeeds, write
from spec import Lab, Machine


def public(key: Path) -> Path:
    """The public half of a key, as ssh-keygen names it."""
    return key.with_name(f"{key.name}.pub")


def make_key(lab: Lab) -> None:
    """The key that opens every host of the lab."""
    lab.key.parent.mkdir(exist_ok=True)
    _generate(lab.key, f"selvage-lab-{lab.name}")


def make_host_key(lab: Lab, machine: Machine) -> Path:
    """The key that a host shows: made outside, so that nothing is trusted on first use."""
    key = lab.key.with_name(f"{machine.name}.key")
    _generate(key, machine.name)
    return key


def publish(lab: Lab) -> bool:
    """Write known hosts and an ssh configuration, so that `ssh -F config app1` is all it takes.

    The folder goes to its owner, the person who runs make. Returns whether anything changed.
    """
    folder = lab.key.parent
    known, config = [], []
    for machine in lab.machines:
        kind, key = public(make_host_key(lab, machine)).read_text().split()[:2]
        known.append(f"{machine.name},{machine.address} {kind} {key}\n")
        config.append(f"Host {machine.name} {machine.address}\n  HostName {machine.address}\n")
    config.append(
        "Host *\n  User root\n"
        f"  IdentityFile {lab.key}\n  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {folder}/known_hosts\n  StrictHostKeyChecking yes\n"
        f"  ControlMaster auto\n  ControlPersist 30s\n  ControlPath {folder}/%C\n"
        "  ConnectTimeout 20\n"
    )
    changed = write(folder / "known_hosts", "".join(known))
    changed |= write(folder / "config", "".join(config))
    for path in (folder, *folder.iterdir()):
        shutil.chown(path, lab.owner)
    return changed


def hang_up(lab: Lab) -> None:
    """End the ssh processes that keep connections to the hosts open for a minute after use."""
    for path in lab.key.parent.glob("*"):
        if path.is_socket():
            # One that has just ended by itself answers no more, and that is as good.
            succeeds("ssh", "-o", f"ControlPath={path}", "-O", "exit", lab.name)


def _generate(key: Path, comment: str) -> None:
    # The public half is written last: without it, an earlier attempt was interrupted.
    if not public(key).exists():
        key.unlink(missing_ok=True)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(key))
