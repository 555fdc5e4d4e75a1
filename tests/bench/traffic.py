"""Requests at a steady rate to ports of HAProxy, in turns: one process, one thread.

Some go over connections of their own, the others over kept-alive ones. A request has failed when
it does not get a 200 within ten seconds. A kept connection that HAProxy closes between two
requests is replaced, as every client does; a request that was sent over it by then has failed.
The rate is open-loop, except that a kept connection carries one request at a time.
"""

from __future__ import annotations

import argparse
import itertools
import json
import select
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

# What the reasons of failures on kept connections end with.
KEPT = ", kept"
_TURN_S = 0.0003
_LIMIT_S = 10.0
# A generator that stood still makes up for that much, not for more.
_ARREARS_S = 0.1


class _Request:
    """One connection with at most one request on it."""

    def __init__(self, port: int, keep: bool) -> None:
        self.place = ("127.0.0.1", port)
        self.keep = keep
        self.socket: socket.socket | None = None
        self.sent_at = 0.0
        self.waiting = False
        self.unsent = b""
        self.received = b""


class _Generator:
    def __init__(self, ports: list[int], fresh: float, kept: float, connections: int) -> None:
        self._ports = itertools.cycle(ports)
        self._poll = select.epoll()
        self._open: dict[int, _Request] = {}
        self._fresh_every = 1 / fresh if fresh else None
        self._kept_every = 1 / kept if kept else None
        self._kept = [
            _Request(next(self._ports), keep=True) for _ in range(connections if kept else 0)
        ]
        self._next_kept = 0
        self.requests = 0
        self.skipped = 0
        self.failures: list[tuple[float, str]] = []
        self.first: dict[str, float] = {}
        self.last: dict[str, float] = {}

    def run(self, stop: int) -> None:
        """Until the descriptor `stop` has something to read; then wait for what is under way."""
        self._poll.register(stop, select.EPOLLIN | select.EPOLLHUP)
        began = fresh_at = kept_at = time.monotonic()
        expire_at = began + 1.0
        stopping = False
        while not stopping or any(request.waiting for request in self._open.values()):
            now = time.monotonic()
            if not stopping:
                while self._fresh_every and fresh_at <= now:
                    self._send(_Request(next(self._ports), keep=False))
                    fresh_at = max(fresh_at + self._fresh_every, now - _ARREARS_S)
                while self._kept_every and kept_at <= now:
                    self._send_kept()
                    kept_at = max(kept_at + self._kept_every, now - _ARREARS_S)
            if now >= expire_at:
                expire_at = now + 1.0
                self._expire(now)
            for descriptor, _ in self._poll.poll(0):
                if descriptor == stop:
                    stopping = True
                    self._poll.unregister(stop)
                elif descriptor in self._open:
                    self._happened(self._open[descriptor])
            time.sleep(_TURN_S)

    def _send_kept(self) -> None:
        for _ in self._kept:
            request = self._kept[self._next_kept]
            self._next_kept = (self._next_kept + 1) % len(self._kept)
            if not request.waiting:
                self._send(request)
                return
        self.skipped += 1

    def _send(self, request: _Request) -> None:
        self.requests += 1
        request.waiting = True
        request.received = b""
        request.sent_at = time.monotonic()
        last = b"" if request.keep else b"Connection: close\r\n"
        request.unsent = b"GET / HTTP/1.1\r\nHost: bench\r\n" + last + b"\r\n"
        if request.socket is None:
            request.socket = socket.socket()
            request.socket.setblocking(False)
            request.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            request.socket.connect_ex(request.place)
            self._open[request.socket.fileno()] = request
            self._poll.register(request.socket, select.EPOLLIN)
        self._write(request)

    def _write(self, request: _Request) -> None:
        assert request.socket
        try:
            request.socket.send(request.unsent)
            request.unsent = b""
        except BlockingIOError:
            self._poll.modify(request.socket, select.EPOLLIN | select.EPOLLOUT)
        except OSError as error:
            self._fail(request, type(error).__name__)

    def _happened(self, request: _Request) -> None:
        assert request.socket
        if request.unsent:
            self._poll.modify(request.socket, select.EPOLLIN)
            self._write(request)
            return
        try:
            data = request.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(request, type(error).__name__)
            return
        if not data:
            if request.waiting:
                self._fail(request, "closed without an answer")
            else:
                self._close(request)
            return
        request.received += data
        self._read(request)

    def _read(self, request: _Request) -> None:
        head, end, body = request.received.partition(b"\r\n\r\n")
        lower = head.lower()
        size = lower.partition(b"content-length: ")[2].partition(b"\r")[0]
        if not end or len(body) < int(size or 0):
            return
        if not head.startswith(b"HTTP/1.1 200"):
            self._fail(request, head.partition(b"\r")[0].decode("ascii", "replace"))
            return
        now, name = time.monotonic(), body.decode()
        self.first.setdefault(name, now)
        self.last[name] = now
        request.waiting = False
        if not request.keep or b"connection: close" in lower:
            self._close(request)

    def _expire(self, now: float) -> None:
        late = [r for r in self._open.values() if r.waiting and now - r.sent_at > _LIMIT_S]
        for request in late:
            self._fail(request, "no answer in time")

    def _fail(self, request: _Request, reason: str) -> None:
        self.failures.append((request.sent_at, f"{reason}{KEPT if request.keep else ''}"))
        request.waiting = False
        self._close(request)

    def _close(self, request: _Request) -> None:
        assert request.socket
        del self._open[request.socket.fileno()]
        self._poll.unregister(request.socket)
        request.socket.close()
        request.socket = None


@dataclass(frozen=True)
class Report:
    """What the requests met. Times are of `time.monotonic`, which all processes share.

    `skipped` requests were not sent because every kept connection was busy. `failures` are pairs of
    when the request was sent and what went wrong. `first` and `last` say for each instance when
    its first and its last answer arrived.
    """

    requests: int
    skipped: int
    seconds: float
    failures: list[tuple[float, str]]
    first: dict[str, float]
    last: dict[str, float]
    cpu_s: float


class Traffic:
    """The process, as the benchmark sees it. Rates are requests a second."""

    def __init__(self, *ports: int, fresh: float, kept: float = 0, connections: int = 0) -> None:
        options = (fresh, kept, connections, *ports)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.traffic", *map(str, options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def stop(self) -> Report:
        """No more requests; what they met."""
        output, _ = self._process.communicate()
        return Report(**json.loads(output))


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("fresh", type=float)
    parser.add_argument("kept", type=float)
    parser.add_argument("connections", type=int)
    parser.add_argument("ports", type=int, nargs="+")
    options = parser.parse_args()
    began = time.monotonic()
    generator = _Generator(options.ports, options.fresh, options.kept, options.connections)
    generator.run(sys.stdin.fileno())
    report: dict[str, Any] = {
        "requests": generator.requests,
        "skipped": generator.skipped,
        "seconds": time.monotonic() - began,
        "failures": generator.failures,
        "first": generator.first,
        "last": generator.last,
        "cpu_s": time.process_time(),
    }
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    _main()
