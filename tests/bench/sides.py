"""The two that are compared: each has a HAProxy, a root in the registry and a daemon."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import sys
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from programs import HAProxy, Program, wait_for

from .ensemble import Ensemble, Registry
from .instances import Place
from .ports import free_ports

OURS = "ours"
NAIVE = "naive"


class Daemon(Program):
    """A program that says READY=1 to systemd."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._ready = threading.Event()
        self._systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._systemd.bind(str(self.folder / "notify"))
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        # Nobody else empties this socket, and a writer would wait for it.
        while message := self._systemd.recv(4096):
            if b"READY=1" in message:
                self._ready.set()

    def start(self, *command: str | Path) -> None:
        """Returns when it is ready."""
        self._ready.clear()
        self.run("env", f"NOTIFY_SOCKET={self.folder}/notify", sys.executable, *command)
        wait_for(lambda: self._ready.is_set(), 120)

    def close(self) -> None:
        self._systemd.shutdown(socket.SHUT_RD)
        super().close()


class Side:
    """One of the two: services `s000` and on, each with a port of its own, and no instances yet."""

    def __init__(self, name: str, ensemble: Ensemble) -> None:
        self.name = name
        self.haproxy = HAProxy()
        # It asks for a descriptor for each server's check: more than some machines let anyone have.
        config = self.haproxy.folder / "haproxy.cfg"
        config.write_text(config.read_text().replace("global\n", "global\n    no strict-limits\n"))
        self.registry = Registry(ensemble, f"/bench-{name}")
        self.registry.clear()
        self.daemon = Daemon(name)
        self._document: dict[str, Any] = {
            "registry": {"hosts": ensemble.hosts, "root": self.registry.root},
            "haproxy": {
                "binary": self.haproxy.binary,
                "config": str(self.haproxy.folder / "haproxy.cfg"),
                "services_config": str(self.haproxy.services_config),
                "admin_socket": str(self.haproxy.admin_socket),
                "master_socket": str(self.haproxy.master_socket),
            },
            "state_directory": str(self._state),
        }
        self.forget()

    @property
    def _state(self) -> Path:
        return self.daemon.folder / "state"

    def forget(self) -> None:
        """Make the node as it was at first: a HAProxy without services, a daemon without memory."""
        self.haproxy.stop()
        self.haproxy.services_config.write_text("")
        self.haproxy.start()
        shutil.rmtree(self._state, ignore_errors=True)
        self._state.mkdir()

    @property
    def config(self) -> Path:
        """The daemon's configuration file; the one of ours serves both."""
        return self.daemon.folder / "config.json"

    @property
    def services(self) -> list[str]:
        """The names in the catalogue."""
        return [service["name"] for service in self._document["services"]]

    def configure(self, services: int, **options: object) -> None:
        """Make the catalogue, and the services' znodes."""
        self._document["services"] = [
            {"name": f"s{number:03}", "port": port, **options}
            for number, port in enumerate(free_ports(services))
        ]
        self.config.write_text(json.dumps(self._document))
        self.registry.change({f"{self.registry.root}/{name}": b"" for name in self.services})

    def port(self, service: str) -> int:
        """Where HAProxy listens for it."""
        return next(s["port"] for s in self._document["services"] if s["name"] == service)

    def path(self, service: str, place: Place) -> str:
        """The znode of an instance, named as the registrar names it."""
        return f"{self.registry.root}/{service}/{place[0]}_{place[1]}"

    def nodes(self, instances: Mapping[str, Iterable[Place]]) -> dict[str, bytes]:
        """The znodes of instances, by service, with their data."""
        return {
            self.path(service, place): nerve(*place)
            for service, found in instances.items()
            for place in found
        }

    def register(self, instances: Mapping[str, Iterable[Place]]) -> None:
        """Put instances into the registry."""
        self.registry.change(self.nodes(instances))

    @property
    def program(self) -> str:
        """The daemon, as a module of Python."""
        return "selvage.reconciler" if self.name == OURS else "bench.naive"

    def start(self) -> None:
        """Returns when what is registered is routed."""
        self.daemon.start("-m", self.program, "--config", self.config)

    def reloads(self) -> int:
        """How often HAProxy was reloaded since it was started."""
        master = next(row for row in self._processes().splitlines() if " master " in row)
        return int(master.split()[2])

    def old_processes(self) -> int:
        """HAProxy's workers that were replaced and still run."""
        old = self._processes().partition("# old workers")[2]
        return old.count(" worker ")

    def _processes(self) -> str:
        """The master's list; it does not answer while it replaces itself."""
        answer = ""

        def answered() -> bool:
            nonlocal answer
            with contextlib.suppress(OSError):
                answer = self.haproxy.ask("show proc", self.haproxy.master_socket)
            return "# programs" in answer

        wait_for(answered)
        return answer

    def close(self) -> None:
        self.daemon.close()
        self.registry.close()
        self.haproxy.close()


def nerve(address: str, port: int) -> bytes:
    """A registration as the registrar writes it."""
    entry = {"host": address, "port": port, "name": f"{address}_{port}"}
    return json.dumps(entry, separators=(",", ":")).encode()
