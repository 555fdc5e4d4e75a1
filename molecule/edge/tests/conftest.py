"""The edges from outside: this computer is a client of theirs, as others in their network are."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
import time
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import labs
from drills import Program, connected
from labs import PREFIX

EDGES = ("edge1", "edge2")
INSTANCES = ("app1", "app2", "app3")
SHARED = f"{PREFIX}.100"
SITE = "shop.example"
# A client that is not answered within it asks again, over a new connection.
PATIENCE_S = 0.5
PAUSE_S = 0.05


def playbook(name: str, *arguments: str) -> SimpleNamespace:
    """Run one of the project's playbooks on the scenario's lab."""
    return labs.playbook(["molecule/edge/inventory"], name, *arguments)


@cache
def trust() -> ssl.SSLContext:
    """The fabric's CA, and no other."""
    return ssl.create_default_context(cadata=connected("app1")("cat /etc/selvage/tls/ca.pem"))


def answer(address: str, path: str = "/") -> str:
    """The body of one answer of the site at this address, over a connection of its own."""
    with socket.create_connection((address, 443), PATIENCE_S) as link:
        wrapped = trust().wrap_socket(link, server_hostname=SITE)
        client = http.client.HTTPConnection(SITE)
        client.sock = wrapped
        client.request("GET", path)
        response = client.getresponse()
        body = response.read().decode()
        assert response.status == 200, f"{response.status}: {body}"
        return body


def instance(address: str) -> str:
    """The host whose instance of the service answers."""
    return str(json.loads(answer(address))["host"])


class Client:
    """Asks for the site at the shared address, all the time."""

    def __init__(self) -> None:
        self.answered: list[float] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def _ask(self) -> None:
        while not self._ended.wait(PAUSE_S):
            try:
                answer(SHARED)
            except (OSError, AssertionError, http.client.HTTPException):
                continue
            self.answered.append(time.monotonic())

    def gap_s(self) -> float:
        """The longest time without an answer."""
        return max(later - one for one, later in pairwise(self.answered))

    def end(self) -> None:
        self._ended.set()
        self._thread.join()


class Watcher(Program):
    """From when to when a host has the shared address; all hosts of a lab have one clock."""

    def __init__(self, name: str) -> None:
        super().__init__(connected(name), Path(__file__).with_name("address_watcher.py"), SHARED)

    def spans(self) -> list[tuple[float, float]]:
        """The last one may go on."""
        found: list[tuple[float, float]] = []
        for line in [*self.lines]:
            at, word = line.split()
            if word == "has" and not (found and found[-1][1] == float("inf")):
                found.append((float(at), float("inf")))
            elif word == "lost" and found:
                found[-1] = (found[-1][0], float(at))
        return found


def on_both_s(one: Watcher, two: Watcher) -> float:
    """For how many seconds both had it."""
    now = time.monotonic()
    return sum(
        max(0.0, min(end, other_end, now) - max(begin, other_begin))
        for begin, end in one.spans()
        for other_begin, other_end in two.spans()
    )


def has_address(name: str) -> bool:
    """Whether the shared address is on this edge."""
    return SHARED in connected(name)("ip -oneline -4 address")


def holders() -> list[str]:
    """The edges that have the shared address."""
    return [name for name in EDGES if has_address(name)]


def state(name: str) -> str:
    """What keepalived is, in its own word."""
    said = connected(name)("journalctl --unit=keepalived --output=cat | grep Entering | tail -n 1")
    return said.split()[-2]


def settled() -> str | None:
    """The edge that has the address, once one has it and the other would take it."""
    found = holders()
    (other,) = [name for name in EDGES if name not in found] or [None]
    ready = len(found) == 1 and other and (state(found[0]), state(other)) == ("MASTER", "BACKUP")
    return found[0] if ready else None
