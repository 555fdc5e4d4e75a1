"""Instances of services: one process, and as many listeners as wanted.

Each answers `GET /health` and, to any other request, its own `address:port`. Lines on standard
input say what to do, each is answered with `ok`: `open ADDRESS PORT …`, `close ADDRESS PORT …`, or
`served ADDRESS PORT …`, which waits until all of them have answered a request that was no check.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys

Place = tuple[str, int]
_BACKLOG = 1024
_LIMIT_S = 10.0


class _Instance(asyncio.Protocol):
    def __init__(self, listener: _Listener) -> None:
        self._listener = listener
        self._received = b""

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._listener.connections.add(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._listener.connections.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        while b"\r\n\r\n" in self._received:
            request, self._received = self._received.split(b"\r\n\r\n", 1)
            head = request.lower()
            if not head.startswith(b"get /health "):
                self._listener.served.set()
            last = b"\r\nconnection: close" in head or b"http/1.0" in head.partition(b"\r\n")[0]
            self._transport.write(self._listener.last_answer if last else self._listener.answer)
            if last:
                self._transport.close()


class _Listener:
    def __init__(self, address: str, port: int) -> None:
        body = f"{address}:{port}".encode()
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n" % len(body)
        self.answer = head + b"\r\n" + body
        self.last_answer = head + b"Connection: close\r\n\r\n" + body
        self.connections: set[asyncio.Transport] = set()
        self.served = asyncio.Event()
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setblocking(False)
        self._socket.bind((address, port))
        self._socket.listen(_BACKLOG)
        loop = asyncio.get_running_loop()
        loop.add_reader(self._socket, self._accept, loop)
        self._connecting: set[asyncio.Task[object]] = set()

    def _accept(self, loop: asyncio.AbstractEventLoop) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
            while True:
                connection, _ = self._socket.accept()
                connection.setblocking(False)
                task = loop.create_task(
                    loop.connect_accepted_socket(lambda: _Instance(self), connection)
                )
                self._connecting.add(task)
                task.add_done_callback(self._connecting.discard)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        for transport in self.connections:
            transport.close()


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    orders = asyncio.StreamReader(limit=2**24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    listeners: dict[Place, _Listener] = {}
    while order := (await orders.readline()).decode().split():
        action, *words = order
        for place in zip(words[::2], map(int, words[1::2]), strict=True):
            if action == "open":
                listeners[place] = _Listener(*place)
            elif action == "close":
                listeners.pop(place).close()
            else:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(listeners[place].served.wait(), _LIMIT_S)
        print("ok", flush=True)


class Instances:
    """The process, as the benchmark sees it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.instances"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def open(self, *places: Place) -> None:
        """Listen; returns when all listen."""
        self._order("open", places)

    def close_places(self, *places: Place) -> None:
        """Stop listening, and close what is connected."""
        self._order("close", places)

    def wait_until_served(self, place: Place) -> None:
        """Wait for its first request, for ten seconds at most."""
        self._order("served", (place,))

    def _order(self, action: str, places: tuple[Place, ...]) -> None:
        assert self._process.stdin
        assert self._process.stdout
        words = " ".join(f"{address} {port}" for address, port in places)
        self._process.stdin.write(f"{action} {words}\n")
        self._process.stdin.flush()
        if self._process.stdout.readline() != "ok\n":
            raise RuntimeError(f"the instances' process did not {action}: {words[:200]}")

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(20)


if __name__ == "__main__":
    asyncio.run(_serve())
