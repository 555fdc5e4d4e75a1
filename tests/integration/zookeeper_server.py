"""A real ZooKeeper from Debian's package on loopback, which tests may stop, freeze and start."""

import contextlib
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

JARS = ("zookeeper", "slf4j-log4j12", "log4j-1.2", "servlet-api")
CLASS_PATH = ":".join(["/etc/zookeeper/conf_example", *(f"/usr/share/java/{j}.jar" for j in JARS)])


class ZooKeeperServer:
    """One standalone server; its data outlives `stop` and `start`. Ticks of 100 ms."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.host = f"127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "zoo.cfg").write_text(
            f"tickTime=100\nminSessionTimeout=500\nmaxSessionTimeout=60000\n"
            f"dataDir={folder}/data\nclientPort={self.port}\nclientPortAddress=127.0.0.1\n"
            "admin.enableServer=false\n4lw.commands.whitelist=*\nmaxClientCnxns=0\n"
        )

    def start(self) -> None:
        """Start, and wait until it serves."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *("java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp", CLASS_PATH),
                    *("org.apache.zookeeper.server.quorum.QuorumPeerMain",),
                    str(self.folder / "zoo.cfg"),
                ],
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 30
        while "Mode:" not in self.command("srvr"):
            assert self._process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, "ZooKeeper does not answer"
            time.sleep(0.05)

    def stop(self) -> None:
        """Kill it, as a crash does."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Let connections hang."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """End `freeze`."""
        assert self._process
        self._process.send_signal(signal.SIGCONT)

    def command(self, word: str) -> str:
        """The answer to a four-letter word; empty when there is none."""
        answer = b""
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection,
        ):
            connection.sendall(word.encode())
            while piece := connection.recv(65536):
                answer += piece
        return answer.decode()


@contextlib.contextmanager
def zookeeper_server(folder: Path) -> Iterator[ZooKeeperServer]:
    """A running server, killed at the end whatever happened to it."""
    server = ZooKeeperServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
