"""Real programs on loopback for the tests: ZooKeeper, HAProxy, and instances that answer HTTP.

Each has its own folder and port, and is ended by its recorded process id.
"""

from __future__ import annotations

import http.client
import http.server
import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

# A root directory with another Debian release, whose HAProxy and ZooKeeper are then used.
ROOT = os.environ.get("SELVAGE_TEST_ROOT", "")
# zookeeper.jar names the others by their place on this machine: what must be its own comes first.
JARS = ":".join(
    f"{ROOT}/usr/share/java/{name}.jar" for name in ("zookeeper-jute", "zookeeper", "slf4j-simple")
)

# Below those that the kernel gives to whoever asks for any port, which would take one before its
# user has bound it. Where it begins keeps runs that go on at the same time apart.
PORTS = itertools.islice(itertools.cycle(range(20_000, 32_000)), os.getpid() * 97 % 12_000, None)
# A ZooKeeper for tests. Who waits for a busy disk is soon without a quorum, or a session.
SMALL = ("-Xmx128m", "-XX:TieredStopAtLevel=1", "-Dzookeeper.forceSync=no")


def free_port() -> int:
    """Nobody has it, and nobody else gets it from here soon."""
    for port in PORTS:
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
    raise AssertionError


def is_running(pid: str) -> bool:
    """Neither gone nor a zombie that waits for its parent."""
    try:
        return Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for(what: Callable[[], object], limit_s: float = 60.0) -> None:
    """Wait until it holds; the limit is generous, because it only ends a broken test."""
    deadline = time.monotonic() + limit_s
    while not what():
        assert time.monotonic() < deadline, f"not within {limit_s} s: {what}"
        time.sleep(0.02)


class Program:
    """A process with a folder of its own, whose path is short: sockets need that."""

    def __init__(self, name: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"selvage-{name}-"))
        self.process: subprocess.Popen[bytes] | None = None

    def run(self, *command: str | Path) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder
            )

    @property
    def pid(self) -> int:
        assert self.process
        return self.process.pid

    def send(self, number: signal.Signals) -> None:
        assert self.process
        self.process.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None:
            self.send(number)
            self.process.wait(60)
            self.process = None

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.folder)


class ZooKeeper(Program):
    """One standalone server; its data outlives `stop` and `start`."""

    def __init__(self, port: int | None = None) -> None:
        super().__init__("zookeeper")
        self.port = port or free_port()
        self.host = f"127.0.0.1:{self.port}"
        (self.folder / "zoo.cfg").write_text(
            f"tickTime=100\nminSessionTimeout=500\nmaxSessionTimeout=600000\n"
            f"dataDir={self.folder}/data\nclientPort={self.port}\nclientPortAddress=127.0.0.1\n"
            "admin.enableServer=false\nmaxClientCnxns=0\n4lw.commands.whitelist=*\n"
        )

    @property
    def hosts(self) -> list[str]:
        """The server, and some places without one, which do not change what a client finds.

        A server that starts forgets some of the first connections, and a client waits for each
        place for its share of the session's time: with so many it is back before that is over.
        """
        return [self.host, *(f"127.0.0.{number}:{self.port}" for number in range(2, 13))]

    def start(self) -> None:
        self.launch(*SMALL)
        wait_for(lambda: "Mode:" in self.command("srvr"))

    def launch(self, *java_options: str) -> None:
        """Begin to start; a member of an ensemble serves once the others are there."""
        self.run(
            *("java", *java_options, "-cp", JARS),
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            *("org.apache.zookeeper.server.quorum.QuorumPeerMain", "zoo.cfg"),
        )

    def stop(self, number: signal.Signals = signal.SIGKILL) -> None:
        super().stop(number)

    def command(self, word: str) -> str:
        """The answer to a four-letter word; empty when there is none."""
        answer = b""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 2) as link:
            link.sendall(word.encode())
            while piece := link.recv(65536):
                answer += piece
        return answer.decode()

    def figures(self) -> dict[str, str]:
        """Those that `mntr` tells, by name."""
        return dict(line.split("\t", 1) for line in self.command("mntr").splitlines())


class HAProxy(Program):
    """A master with its worker."""

    def __init__(self) -> None:
        super().__init__("haproxy")
        self.metrics_port = free_port()
        self.binary = "/usr/sbin/haproxy"
        if ROOT:
            self._use_root()
        (self.folder / "haproxy.cfg").write_text(
            "global\n"
            f"    stats socket {self.admin_socket} mode 600 level admin expose-fd listeners\n"
            "    maxconn 4096\n"
            "defaults\n"
            "    mode http\n"
            "    option httplog\n"
            "    timeout connect 1m\n    timeout client 10m\n    timeout server 10m\n"
            "frontend metrics\n"
            f"    bind 127.0.0.1:{self.metrics_port}\n    stats enable\n"
        )
        self.services_config.parent.mkdir()
        self.services_config.write_text("")

    def _use_root(self) -> None:
        self.binary = str(self.folder / "haproxy-in-root")
        inside = f"{ROOT}{self.folder}"
        Path(self.binary).write_text(
            "#!/bin/sh\n"
            f"mkdir -p {inside}\n"
            f"exec unshare -m sh -c 'mount --bind {self.folder} {inside} &&"
            f' mount -t proc proc {ROOT}/proc && exec chroot {ROOT} /usr/sbin/haproxy "$@"\''
            ' haproxy "$@"\n'
        )
        Path(self.binary).chmod(0o755)

    @property
    def services_config(self) -> Path:
        return self.folder / "services" / "services.cfg"

    @property
    def admin_socket(self) -> Path:
        return self.folder / "admin.sock"

    @property
    def master_socket(self) -> Path:
        return self.folder / "master.sock"

    def start(self) -> None:
        self.run(
            *(self.binary, "-W", "-S", self.master_socket),
            *("-f", self.folder / "haproxy.cfg", "-f", self.services_config),
        )
        wait_for(self.serves)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        # A master that just replaces itself loses signals.
        process = self.process
        if process is not None:
            wait_for(lambda: process.send_signal(number) or process.poll() is not None)
        super().stop(number)

    def serves(self) -> bool:
        with suppress(OSError):
            return "Pid:" in self.ask("show info")
        return False

    @staticmethod
    def _listens(link: socket.socket, path: Path) -> bool:
        """A master that just replaces itself lets nobody in for a moment."""
        with suppress(ConnectionRefusedError):
            link.connect(str(path))
            return True
        return False

    def ask(self, line: str, path: Path | None = None) -> str:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(60)
            if path is None:
                link.connect(str(self.admin_socket))
            else:
                wait_for(lambda: self._listens(link, path))
            link.sendall(f"{line}\n".encode())
            if path is not None:
                link.shutdown(socket.SHUT_WR)
            answer = b""
            while piece := link.recv(65536):
                answer += piece
            return answer.decode()

    def reloads(self) -> int:
        rows = [row.split() for row in self.ask("show proc", self.master_socket).splitlines()]
        return next(int(row[2]) for row in rows if row[1:2] == ["master"])

    def servers(self, service: str) -> dict[str, dict[str, str]]:
        """Per server the columns of `show servers state`; a worker that is ending says nothing."""
        lines = self.ask("show servers state").splitlines() or ["1", "#"]
        header = lines[1].removeprefix("# ").split()
        rows = [dict(zip(header, line.split(), strict=False)) for line in lines[2:] if line]
        return {row["srv_name"]: row for row in rows if row["be_name"] == service}

    def close(self) -> None:
        super().close()
        if ROOT:
            Path(f"{ROOT}{self.folder}").rmdir()


class Instance:
    """An application: answers its name, and its health at /health.

    With `status` 0 it hangs up without an answer. `asked` counts what it was asked, by method.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.healthy = True
        self.status = 200
        self.asked: Counter[str] = Counter()
        self.release = threading.Event()
        self.release.set()
        self.checks = 0
        instance = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                if self.path == "/health":
                    instance.checks += 1
                    status, body = (200 if instance.healthy else 503), b""
                else:
                    instance.asked[self.command] += 1
                    instance.release.wait(600)
                    status, body = instance.status, instance.name.encode()
                if not status:
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.do_GET()

            def log_message(self, *_: object) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_: object) -> None:
                """A client that is gone is no news."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def child(self) -> str:
        return f"127.0.0.1:{self.port}"

    def server(self, service: str) -> str:
        """The name of its server in HAProxy."""
        return f"{service}_127.0.0.1_{self.port}"

    def close(self) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def get(port: int, path: str = "/") -> str:
    """The body of one answer over a new connection; a failed request is its status or error."""
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        link.request("GET", path)
        answer = link.getresponse()
        body = answer.read().decode()
        return body if answer.status == 200 else f"HTTP {answer.status}"
    except OSError as error:
        return type(error).__name__
    finally:
        link.close()
