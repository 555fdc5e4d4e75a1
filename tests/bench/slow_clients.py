"""What 500 slow clients cost the others: a byte a second each, half in headers and half in bodies.

Nginx stands as role nginx configures it, before one application. Normal requests come at a fixed
rate over kept connections, in turns with the slow ones there and without.
"""

from __future__ import annotations

import http.client
import socket
import threading
import time
from contextlib import ExitStack, closing, suppress

from application import Application
from nginx_server import Nginx

from .common import Bench, spread
from .sides import NAIVE, OURS

_HOST = "shop.example"
_SLOW = 500
_SENDERS = 8
_RATE = 200
_TURNS = 3
_HEADS = (
    f"GET /slow HTTP/1.1\r\nHost: {_HOST}\r\nX-Slow: ",
    f"POST /slow HTTP/1.1\r\nHost: {_HOST}\r\nContent-Length: 1000000\r\n\r\n",
)


def measure(bench: Bench) -> dict[str, dict[str, object]]:
    """Latencies of the normal requests, with and without the slow clients, and their ratio."""
    site = {
        "name": "shop",
        "server_names": [_HOST],
        "locations": [{"path": "/", "service": "inventory"}],
    }
    times: dict[bool, list[float]] = {False: [], True: []}
    with ExitStack() as stack:
        application = stack.enter_context(closing(Application()))
        services = {"inventory": application.port}
        nginx = stack.enter_context(closing(Nginx([site], nginx_services=services)))
        nginx.start()
        _normal(nginx.http, 2.0)
        for _ in range(_TURNS):
            for slow in (False, True):
                with ExitStack() as turn:
                    if slow:
                        turn.enter_context(closing(_Slow(nginx.http)))
                    times[slow] += _normal(nginx.http, bench.effort.slow_s)
        reached = sum(one.path == "/slow" for one in application.seen)
    alone, beside = spread(times[False]), spread(times[True])
    found = {
        "clients": _SLOW,
        "requests_per_s": round(len(times[True]) / bench.effort.slow_s / _TURNS),
        "alone_ms": alone,
        "beside_ms": beside,
        "ratio_p99": round(beside["p99"] / alone["p99"], 2),
        "reached": reached,
    }
    return {OURS: {"slow_clients": found}, NAIVE: {}}


def _normal(port: int, seconds: float) -> list[float]:
    """How long each request took, from the moment at which it was due."""
    times: list[float] = []
    begin = time.monotonic() + 0.1
    count = int(seconds * _RATE)

    def send(first: int) -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as link:
            for number in range(first, count, _SENDERS):
                due = begin + number / _RATE
                time.sleep(max(0.0, due - time.monotonic()))
                link.request("GET", "/", headers={"Host": _HOST})
                answer = link.getresponse()
                answer.read()
                if answer.status != 200:
                    raise RuntimeError(f"a normal request got {answer.status}")
                times.append(time.monotonic() - due)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(_SENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(times) != count:
        raise RuntimeError(f"{count - len(times)} of {count} normal requests failed")
    return times


class _Slow:
    """Clients that come again when they are sent away."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._links = [self._come(number) for number in range(_SLOW)]
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._trickle)
        self._thread.start()

    def _come(self, number: int) -> socket.socket:
        link = socket.create_connection(("127.0.0.1", self._port), 60)
        link.sendall(_HEADS[number % 2].encode())
        return link

    def _trickle(self) -> None:
        while not self._done.wait(1.0):
            for number, link in enumerate(self._links):
                try:
                    link.sendall(b"x")
                except OSError:
                    link.close()
                    with suppress(OSError):
                        self._links[number] = self._come(number)

    def close(self) -> None:
        self._done.set()
        self._thread.join()
        for link in self._links:
            link.close()
