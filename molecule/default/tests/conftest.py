"""What the tests of the fabric share."""

from types import SimpleNamespace

import pytest

import labs
from labs import PREFIX, PROJECT, shell, wait_for

SIDECARS = ("app1", "app2", "edge1")


def playbook(name: str, *arguments: str) -> SimpleNamespace:
    """Run one of the project's playbooks on the fabric."""
    return labs.playbook(["inventories/lab/hosts.yml"], name, *arguments)


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
