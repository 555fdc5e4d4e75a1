"""The naive watcher: whenever the children of a service change, render everything and reload.

Written as one writes it who knows kazoo and HAProxy: a `ChildrenWatch` per service, the data of a
child read once, one thread that renders, several changes at once rendered once, the file replaced
atomically and only when it differs, a graceful reload by SIGUSR2. Data that changes in place is
not followed.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import re
import signal
import socket
import time
from pathlib import Path
from typing import Any

from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError
from kazoo.recipe.watchers import ChildrenWatch

_COALESCE_S = 0.002


class Naive:
    """What is registered, as far as it was read."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._root = document["registry"]["root"]
        self._servers: dict[str, dict[str, tuple[str, int]]] = {}
        self._changed: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._client = KazooClient(",".join(document["registry"]["hosts"]), timeout=10)
        self._client.start()

    def read(self) -> None:
        """Read everything once."""
        for service in self._document["services"]:
            name = service["name"]
            self._update(name, self._client.get_children(f"{self._root}/{name}"))

    def run(self) -> None:
        """For ever."""
        for service in self._document["services"]:
            name = service["name"]
            ChildrenWatch(
                self._client,
                f"{self._root}/{name}",
                lambda children, name=name: self._watched(name, children),
            )
        self.apply()
        _ready()
        while True:
            self._changed.get()
            self.apply()

    def _watched(self, service: str, children: list[str]) -> None:
        self._update(service, children)
        self._changed.put(None)

    def _update(self, service: str, children: list[str]) -> None:
        known = self._servers.get(service, {})
        servers = {}
        for child in children:
            if child in known:
                servers[child] = known[child]
                continue
            try:
                data, _ = self._client.get(f"{self._root}/{service}/{child}")
            except NoNodeError:
                continue
            entry = json.loads(data)
            servers[child] = (entry["host"], entry["port"])
        self._servers[service] = servers

    def apply(self) -> bool:
        """Render, and reload if that changed anything; whether it did."""
        while not self._changed.empty():
            self._changed.get()
        path = Path(self._document["haproxy"]["services_config"])
        text = "\n".join(self._section(service) for service in self._document["services"])
        if path.exists() and path.read_text() == text:
            return False
        draft = path.with_name(f"{path.name}.new")
        draft.write_text(text)
        draft.replace(path)
        os.kill(self._master(), signal.SIGUSR2)
        return True

    def _section(self, service: dict[str, Any]) -> str:
        name, inter = service["name"], service.get("check", {}).get("interval", "2s")
        lines = [
            f"listen {name}",
            f"    bind 127.0.0.1:{service['port']}",
            "    mode http",
            "    balance roundrobin",
            "    option httpchk GET /health",
            "    http-check expect status 200-399",
        ]
        lines += [
            f"    server {name}_{address}_{port} {address}:{port} check inter {inter}"
            for address, port in sorted(self._servers[name].values())
        ]
        return "\n".join([*lines, ""])

    def _master(self) -> int:
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(self._document["haproxy"]["master_socket"])
            link.sendall(b"show proc\n")
            link.shutdown(socket.SHUT_WR)
            answer = b""
            while piece := link.recv(65536):
                answer += piece
        match = re.search(r"^([0-9]+) +master ", answer.decode(), re.MULTILINE)
        assert match
        return int(match[1])


def _ready() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.connect(os.environ["NOTIFY_SOCKET"])
        systemd.send(b"READY=1")


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--once", action="store_true")
    options = parser.parse_args()
    began = time.monotonic()
    naive = Naive(json.loads(options.config.read_text()))
    if not options.once:
        naive.run()
    naive.read()
    read_s = time.monotonic() - began
    changed = naive.apply()
    seconds = time.monotonic() - began
    print(json.dumps({"seconds": seconds, "read_s": read_s, "changed": changed}))


if __name__ == "__main__":
    _main()
