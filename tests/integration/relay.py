"""Between the reconciler and what it talks to: relays that count, wait, change and swallow."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

# ZooDefs.OpCode
KINDS = {
    3: "exists",
    4: "get",
    8: "children",
    9: "sync",
    11: "ping",
    12: "children",
    22: "multi",
    101: "watches",
    -11: "close",
}


class RegistryRelay:
    """Forwards connections to a ZooKeeper server, and counts the requests by their kind.

    `first` holds, per connection, when it was made and when it read for the first time.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self.requests: Counter[str] = Counter()
        self.first: list[tuple[float, float]] = []
        self._flows = threading.Event()
        self._flows.set()
        self._answers = threading.Event()
        self._answers.set()
        self._links: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def hold(self) -> None:
        """Let nothing through, as a network does that is cut: nobody is told."""
        self._flows.clear()

    def hold_answers(self) -> None:
        """Let requests through, but no answers."""
        self._answers.clear()

    def resume(self) -> None:
        self._flows.set()
        self._answers.set()

    def cut(self) -> None:
        """Reset all connections."""
        for link in [*self._links]:
            with suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.resume()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                with suppress(OSError):
                    server = socket.create_connection(("127.0.0.1", self._target))
                    self._links |= {client, server}
                    for source, sink, watch in (
                        (client, server, self._watch()),
                        (server, client, lambda _: self._answers.wait()),
                    ):
                        threading.Thread(
                            target=self._pump, args=(source, sink, watch), daemon=True
                        ).start()
                    continue
                client.close()

    def _pump(
        self, source: socket.socket, sink: socket.socket, watch: Callable[[bytes], object]
    ) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                self._flows.wait()
                watch(data)
                sink.sendall(data)
        self._flows.wait()
        for link in (source, sink):
            with suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)
        self._links -= {source, sink}

    def _watch(self) -> Callable[[bytes], None]:
        """Reads the frames of one client: first its session, then requests with their kind."""
        rest, frames, since = bytearray(), 0, time.monotonic()

        def watch(data: bytes) -> None:
            nonlocal rest, frames, since
            rest += data
            while len(rest) >= 4 and len(rest) >= 4 + (size := struct.unpack_from("!i", rest)[0]):
                if frames:
                    kind = KINDS.get(struct.unpack_from("!ii", rest, 4)[1], "other")
                    self.requests[kind] += 1
                    if since and kind in ("get", "children", "exists"):
                        self.first.append((since, time.monotonic()))
                        since = 0
                del rest[: 4 + size]
                frames += 1

        return watch


class SocketRelay:
    """Forwards to one of HAProxy's sockets, line by line.

    `change` gets each line, and gives what is forwarded. None swallows it, as if HAProxy had done
    it; an empty one too, as if HAProxy had ended. It may wait.
    """

    def __init__(self, target: Path, *, half_close: bool = False) -> None:
        self._target = target
        self._half_close = half_close
        self.path = target.with_name(f"{target.name}.relay")
        self.change: Callable[[str], str | None] = lambda line: line
        self.lines: list[tuple[float, str]] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            said = b""
            while not said.endswith(b"\n") and (data := client.recv(65_536)):
                said += data
            self.lines.append((time.monotonic(), said.decode().strip()))
            line = self.change(said.decode().strip())
            if line is None:
                client.sendall(b"\n")
            if not line:
                return
            with socket.socket(socket.AF_UNIX) as server:
                server.connect(str(self._target))
                server.sendall(line.encode() + b"\n")
                if self._half_close:
                    server.shutdown(socket.SHUT_WR)
                while data := server.recv(65_536):
                    client.sendall(data)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.path.unlink()
