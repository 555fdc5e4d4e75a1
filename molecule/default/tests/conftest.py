"""The lab's hosts over ssh, and what the tests share."""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import testinfra
from testinfra.host import Host

PROJECT = Path(__file__).parents[3]
PREFIX = os.environ["LAB_PREFIX"]
SSH_CONFIG = f"/var/lib/selvage-lab/{os.environ['LAB_NAME']}/ssh/config"
SIDECARS = ("app1", "app2", "edge1")
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


def playbook(name: str, *arguments: str) -> SimpleNamespace:
    """Run one of the project's playbooks on the lab; returns rc, output and changed hosts."""
    done = subprocess.run(
        ["ansible-playbook", "-i", "inventories/lab/hosts.yml", f"playbooks/{name}", *arguments],
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


def answering(name: str, requests: int = 10) -> set[str]:
    """The hosts that answer for `inventory` on a node, over some requests."""
    urls = f"for i in $(seq {requests}); do curl -s -m 60 127.0.0.1:3000/; echo; done"
    answers = [line for line in shell(name, urls).splitlines() if line]
    return {field for line in answers for field in ("app1", "app2") if f'"{field}"' in line}


def servers(name: str) -> str:
    """The servers of `inventory` that a node's HAProxy runs, sorted, as text."""
    script = (
        "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/haproxy/admin.sock');"
        "s.sendall(b'show servers state inventory\\n');"
        "print(b''.join(iter(lambda: s.recv(65536), b'')).decode())"
    )
    rows = [line.split() for line in shell(name, f'python3 -c "{script}"').splitlines()]
    return " ".join(sorted(row[3] for row in rows if len(row) > 20 and row[1] == "inventory"))


def server(address: str, port: int = 8080) -> str:
    """A server's name in HAProxy."""
    return f"inventory_{address}_{port}"


BOTH = f"{server(f'{PREFIX}.21')} {server(f'{PREFIX}.22')}"


@pytest.fixture(autouse=True)
def healthy_fabric():
    """Each test starts and ends with both instances routed on every sidecar."""
    yield
    wait_for(lambda: all(servers(name) == BOTH for name in SIDECARS), "both instances again")


class Traffic:
    """Requests against a node's sidecar, one after another, from start to stop."""

    PROGRAM = PROJECT / "molecule/default/tests/traffic.py"

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> "Traffic":
        shell(self.name, f"cat > /tmp/traffic.py <<'END'\n{self.PROGRAM.read_text()}END")
        shell(
            self.name,
            ": > /tmp/traffic.log; systemd-run --quiet --collect --unit=traffic "
            "python3 /tmp/traffic.py /tmp/traffic.log",
        )
        wait_for(self.requests, "the first request")
        return self

    def __exit__(self, *_: object) -> None:
        shell(self.name, "systemctl stop traffic")

    def requests(self) -> list[tuple[float, str]]:
        """Time and answer of each request so far: the answering host, or what went wrong."""
        lines = shell(self.name, "cat /tmp/traffic.log").splitlines()
        return [(float(at), answer) for at, _, answer in (line.partition(" ") for line in lines)]
