"""Two edges with Debian's keepalived in network namespaces, and a client of their address.

The switch and the client are in a namespace of their own, so that nothing outside is touched.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import filter_loader
from ansible.template import Templar, trust_as_template

from programs import ROOT, wait_for

ROLE = Path(__file__).parents[2] / "roles" / "edge_address"
SHARED = "198.18.14.100"
WITNESS = "198.18.14.254"
PORT = 8403

# What stands in for Nginx: its health on loopback, and who it is at every address.
SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(sys.argv[1].encode())
    def log_message(self, *_): pass
class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_): pass
Server(("", int(sys.argv[2])), Handler).serve_forever()
"""
# A line per question: who answered it, or nothing.
CLIENT = """
import http.client, sys, time
while True:
    link = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=0.2)
    try:
        link.request("GET", "/")
        who = link.getresponse().read().decode()
    except OSError:
        who = ""
    link.close()
    print(who, flush=True)
    time.sleep(0.02)
"""


class Namespace:
    """A process that holds a network namespace, and commands in it."""

    def __init__(self, around: Namespace | None = None) -> None:
        apart = ["unshare", "--net", "--mount"]
        if os.geteuid() != 0 and around is None:
            apart.append("--map-root-user")
        self.process = subprocess.Popen(
            [*(around.enter if around else []), *apart, "sleep", "infinity"]
        )
        comm = Path(f"/proc/{self.process.pid}/comm")
        wait_for(lambda: comm.read_text() == "sleep\n")
        self("ip", "link", "set", "lo", "up")

    @property
    def enter(self) -> list[str]:
        user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        return ["nsenter", f"--target={self.process.pid}", "--net", "--mount", *user]

    def __call__(self, *command: str | Path) -> None:
        subprocess.run([*self.enter, *map(str, command)], check=True, timeout=60)

    def start(self, *command: str | Path, **options: Any) -> subprocess.Popen[str]:
        # Before others: a busy machine must not look like an edge that fails.
        first = ["nice", "--adjustment=-15"]
        return subprocess.Popen([*first, *self.enter, *map(str, command)], text=True, **options)


class Lines:
    """What a program prints, with the time at which each line came."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.all: list[tuple[float, str]] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.all.append((time.monotonic(), line.rstrip("\n")))

    def close(self) -> None:
        self.process.kill()
        self.process.wait(60)
        self._reader.join(60)


class Edge:
    """A host with keepalived as the role configures it."""

    def __init__(
        self, world: Namespace, number: int, folder: Path, settings: dict[str, Any]
    ) -> None:
        self.name, self.address = f"edge{number}", f"198.18.14.{number}"
        self.folder, self.number, self.settings = folder, number, settings
        self.world, self.space = world, Namespace(world)
        end = ["peer", "name", "eth0", "netns", str(self.space.process.pid)]
        world("ip", "link", "add", self.name, "type", "veth", *end)
        world("ip", "link", "set", self.name, "master", "switch", "up")
        self.space("ip", "address", "add", f"{self.address}/24", "dev", "eth0")
        self.space("ip", "link", "set", "eth0", "up")
        if ROOT:
            self.inside.mkdir(parents=True, exist_ok=True)
            # What is only extracted knows no user.
            for name in ("passwd", "group"):
                Path(f"{ROOT}/etc/{name}").touch()
            for name in ("proc", "dev", "etc/passwd", "etc/group"):
                self.space("mount", "--rbind", f"/{name}", f"{ROOT}/{name}")
            self.space("mount", "--bind", folder, self.inside)
        self.keepalived: subprocess.Popen[str] | None = None
        self.server: subprocess.Popen[str] | None = None
        monitor = ["ip", "-oneline", "monitor", "address"]
        self.moves = Lines(self.space.start(*monitor, stdout=subprocess.PIPE))
        self.log = folder / f"{self.name}.log"

    @property
    def inside(self) -> Path:
        """Where the folder is in the root of another release: under the same name."""
        return Path(f"{ROOT}{self.folder}")

    def start(self) -> None:
        self.serve()
        self.configure()
        self.run()

    def run(self) -> None:
        with self.log.open("a") as log:
            self.keepalived = self.space.start(
                *(["chroot", ROOT] if ROOT else []),
                *("/usr/sbin/keepalived", "--dont-fork", "--log-console", "--log-detail", "--vrrp"),
                f"--use-file={self.folder / self.name}.conf",
                f"--pid={self.folder / self.name}.pid",
                f"--vrrp_pid={self.folder / self.name}-vrrp.pid",
                stdout=log,
                stderr=log,
            )

    def serve(self) -> None:
        self.server = self.space.start(sys.executable, "-c", SERVER, self.name, str(PORT))

    def configure(self, **settings: Any) -> None:
        text = rendered(self.number, **self.settings | settings)
        (self.folder / f"{self.name}.conf").write_text(text)

    def is_backup(self, since: float) -> bool:
        """Whether the last state that keepalived has told of is this one, and newer than that."""
        told = self.log.read_text()
        state = re.findall(r"Entering (\w+) STATE", told)[-1:]
        return state == ["BACKUP"] and self.log.stat().st_mtime > time.time() - (
            time.monotonic() - since
        )

    def held(self) -> list[tuple[float, float]]:
        """From when to when it has had the shared address; the last one may go on."""
        spans: list[tuple[float, float]] = []
        for at, line in self.moves.all:
            if f" {SHARED}/32 " not in line:
                continue
            if line.startswith("Deleted"):
                spans[-1] = (spans[-1][0], at)
            elif not _goes_on(spans):
                spans.append((at, float("inf")))
        return spans

    def holds(self) -> bool:
        return _goes_on(self.held())

    def end(self, process: subprocess.Popen[str] | None) -> None:
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            process.wait(60)

    def close(self) -> None:
        self.end(self.keepalived)
        self.end(self.server)
        self.moves.close()
        self.space.process.kill()
        self.space.process.wait(60)


def _goes_on(spans: list[tuple[float, float]]) -> bool:
    return bool(spans) and spans[-1][1] == float("inf")


class Edges:
    """Two of them, a switch, and a client that never stops asking."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.world = Namespace()
        self.world("ip", "link", "add", "switch", "type", "bridge")
        self.world("ip", "address", "add", f"{WITNESS}/24", "dev", "switch")
        self.world("ip", "link", "set", "switch", "up")
        self.both = [Edge(self.world, number, folder, settings) for number in (1, 2)]
        client = [sys.executable, "-c", CLIENT, SHARED, str(PORT)]
        self.answers = Lines(self.world.start(*client, stdout=subprocess.PIPE))

    def start(self) -> None:
        for edge in self.both:
            edge.start()
        wait_for(self.settled)

    def settled(self) -> bool:
        """Exactly one has the address, and that one answers."""
        (*_, (_, last)) = [(0.0, ""), *self.answers.all]
        return [edge.name for edge in self.both if edge.holds()] == [last]

    @property
    def holder(self) -> Edge:
        return next(edge for edge in self.both if edge.holds())

    @property
    def other(self) -> Edge:
        return next(edge for edge in self.both if not edge.holds())

    def answered(self, edge: Edge, since: float) -> float:
        """Wait until this one answers, later than that; how many seconds it took."""
        found: list[float] = []

        def looked() -> bool:
            found.extend(at for at, who in [*self.answers.all] if who == edge.name and at > since)
            return bool(found)

        wait_for(looked)
        return found[0] - since

    def on_both(self, since: float = 0.0) -> float:
        """For how many seconds both have had the address."""
        one, two = (edge.held() for edge in self.both)
        now = time.monotonic()
        return sum(
            max(0.0, min(end, other_end, now) - max(begin, other_begin, since))
            for begin, end in one
            for other_begin, other_end in two
        )

    def close(self) -> None:
        self.answers.close()
        for edge in self.both:
            edge.close()
        self.world.process.kill()
        self.world.process.wait(60)
        if ROOT:
            self.both[0].inside.rmdir()


def rendered(number: int, **settings: Any) -> str:
    """keepalived.conf of one of them."""
    eth0 = {
        "device": "eth0",
        "ipv4": {"address": f"198.18.14.{number}", "prefix": "24"},
    }
    values: dict[str, Any] = {
        "ansible_facts": {"eth0": eth0},
        "edge_address_name": f"edge{number}",
        "edge_address_members": [
            {"name": f"edge{one}", "address": f"198.18.14.{one}"} for one in (1, 2)
        ],
        "edge_address_shared": [SHARED],
        "edge_address_witnesses": [WITNESS],
        "edge_address_check_url": f"http://127.0.0.1:{PORT}/healthz",
    }
    for folder in ("defaults", "vars"):
        for name, value in yaml.safe_load((ROLE / folder / "main.yml").read_text()).items():
            values.setdefault(name, value)
    values |= {"__edge_address_user": "root", **settings}
    filter_loader.add_directory(str(ROLE.parents[1] / "filter_plugins"))
    templar = Templar(DataLoader(), trusted(values))
    text = (ROLE / "templates" / "keepalived.conf.j2").read_text()
    return str(templar.template(trust_as_template(text)))


def trusted(value: Any) -> Any:
    """What stands in the role's files may be a template."""
    if isinstance(value, dict):
        return {name: trusted(item) for name, item in value.items()}
    if isinstance(value, list):
        return [trusted(item) for item in value]
    return trust_as_template(value) if isinstance(value, str) else value
