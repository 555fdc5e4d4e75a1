"""Failures of the lab's hosts, over one connection to each that is kept.

No start of ssh and no login is in a figure.
"""

from __future__ import annotations

import shlex
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path

import paramiko

from labs import LIMIT_S, SSH_CONFIG

# It only ends a broken test.
LOGIN_S = 120

# All but the connections that these tests hold, in both directions.
CUT_OFF = """
table inet drill {
  chain arriving {
    type filter hook input priority -300; policy drop
    iif lo accept
    tcp dport 22 accept
  }
  chain leaving {
    type filter hook output priority -300; policy drop
    oif lo accept
    tcp sport 22 accept
  }
}
"""


class Host:
    """A host of the lab, as root."""

    def __init__(self, name: str) -> None:
        self.name = name
        found = paramiko.SSHConfig.from_path(SSH_CONFIG).lookup(name)
        self.address = found["hostname"]
        self._client = paramiko.SSHClient()
        self._client.load_host_keys(found["userknownhostsfile"])
        self._client.connect(
            self.address,
            username=found["user"],
            key_filename=found["identityfile"],
            allow_agent=False,
            look_for_keys=False,
            timeout=LOGIN_S,
            banner_timeout=LOGIN_S,
            auth_timeout=LOGIN_S,
        )

    def __call__(self, command: str, text: str = "") -> str:
        """What a shell's command prints, with `text` as its input; it must succeed."""
        channel = self.open(command)
        channel.set_combine_stderr(True)
        channel.sendall(text.encode())
        channel.shutdown_write()
        said = channel.makefile("r").read().decode()
        status = channel.recv_exit_status()
        assert status == 0, f"{self.name}: {command}: {said}"
        return said

    def open(self, command: str) -> paramiko.Channel:
        """A command that has begun."""
        transport = self._client.get_transport()
        assert transport is not None
        channel = transport.open_session(timeout=LOGIN_S)
        channel.settimeout(LIMIT_S)
        channel.exec_command(command)
        return channel


@cache
def connected(name: str) -> Host:
    """The lab's host, with the connection that all tests share."""
    return Host(name)


class Program:
    """A Python program on a host: its lines as they come, until its input ends."""

    def __init__(self, host: Host, program: Path, text: str) -> None:
        self.lines: list[str] = []
        self._channel = host.open(f"python3 -uc {shlex.quote(program.read_text())}")
        self._channel.set_combine_stderr(True)
        self._channel.sendall(f"{text}\n".encode())
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._channel.makefile("r"):
            self.lines.append(line.rstrip("\n"))

    def end(self) -> None:
        """End its input, and wait until it has ended as well."""
        self._channel.shutdown_write()
        self._reader.join(LIMIT_S)
        # It comes a moment after the last line.
        assert self._channel.status_event.wait(LIMIT_S), self.lines[-20:]
        assert self._channel.recv_exit_status() == 0, self.lines[-20:]


@contextmanager
def killed(host: Host, unit: str) -> Iterator[None]:
    """Gone without a word, and not started again by systemd meanwhile."""
    extra = f"/run/systemd/system/{unit}.service.d"
    # By its name the last one, after those of the roles.
    alone = "[Service]\nRestart=no\n"
    host(f"mkdir -p {extra} && cat > {extra}/zz-drill.conf && systemctl daemon-reload", alone)
    try:
        host(f"systemctl kill --signal=KILL {unit}")
        yield
    finally:
        host(f"rm -r {extra} && systemctl daemon-reload && systemctl start --no-block {unit}")


@contextmanager
def frozen(host: Host, unit: str) -> Iterator[None]:
    """Its connections stay, and nobody answers."""
    host(f"systemctl kill --signal=STOP {unit}")
    try:
        yield
    finally:
        host(f"systemctl kill --signal=CONT {unit}")


@contextmanager
def cut_off(host: Host, unit: str) -> Iterator[None]:
    """The whole host, which sees nobody; `unit` runs on."""
    host(f"systemctl is-active {unit} && nft --file -", CUT_OFF)
    try:
        yield
    finally:
        host("nft delete table inet drill")


FAILURES: dict[str, Callable[[Host, str], AbstractContextManager[None]]] = {
    "killed": killed,
    "frozen": frozen,
    "cut off": cut_off,
}
