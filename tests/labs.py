"""The hosts of a scenario's lab over ssh, and playbooks on them."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import testinfra
from testinfra.host import Host

PROJECT = Path(__file__).parents[1]
PREFIX = os.environ["LAB_PREFIX"]
SSH_CONFIG = f"/var/lib/selvage-lab/{os.environ['LAB_NAME']}/ssh/config"
LIMIT_S = 300


def host(name: str) -> Host:
    """A lab host."""
    return testinfra.get_host(f"ssh://{name}", ssh_config=SSH_CONFIG, timeout=60)


def shell(name: str, command: str) -> str:
    """What a command prints on a host; it must succeed."""
    result = host(name).run(command)
    assert result.rc == 0, f"{name}: {command}: {result.stdout}{result.stderr}"
    return result.stdout


def printed(name: str, command: str) -> str:
    """What a command prints on a host that may be away: then nothing."""
    try:
        return host(name).run(command).stdout
    except RuntimeError:  # ssh's own exit code, 255
        return ""


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """Wait until the condition holds; fail with what was awaited when it does not.

    The limit is generous, because it only ends a broken test.
    """
    deadline = time.monotonic() + LIMIT_S
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {LIMIT_S} s"
        time.sleep(0.2)
    return value


def playbook(inventories: Iterable[str], name: str, *arguments: str) -> SimpleNamespace:
    """Run one of the project's playbooks on a lab; returns rc, output and changed hosts."""
    sources = [f"--inventory={inventory}" for inventory in inventories]
    done = subprocess.run(
        ["ansible-playbook", *sources, f"playbooks/{name}", *arguments],
        cwd=PROJECT,
        env={
            **os.environ,
            "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"),
            "ANSIBLE_FORCE_COLOR": "0",  # molecule forces it, and the recap is read here
            "ANSIBLE_NOCOLOR": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    recap = done.stdout.partition("PLAY RECAP")[2]
    changed = [
        line.split()[0]
        for line in recap.splitlines()
        if " changed=" in line and " changed=0 " not in line
    ]
    return SimpleNamespace(rc=done.returncode, output=done.stdout + done.stderr, changed=changed)
