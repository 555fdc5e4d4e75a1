"""Nginx as role nginx configures it: reloads under load, and slow clients."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

from edge import HOST, ask, site

from programs import wait_for

UPGRADE = f"GET {{}} HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


class Socket:
    """A WebSocket, as far as Nginx looks: what is sent comes back."""

    def __init__(self, nginx):
        self.link = socket.create_connection(("127.0.0.1", nginx.http), 120)
        self.send(UPGRADE.format("/live"))
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.link.recv(1)
        assert head.startswith(b"HTTP/1.1 101 ")

    def send(self, text):
        self.link.sendall(text.encode())

    def lives(self):
        self.send("hello")
        back = b""
        while len(back) < 5 and (piece := self.link.recv(5 - len(back))):
            back += piece
        return back == b"hello"


class Load(threading.Thread):
    """One request after the other, each over a connection of its own."""

    def __init__(self, nginx):
        super().__init__()
        self.nginx = nginx
        self.answers = []
        self.done = threading.Event()

    def run(self):
        while not self.done.wait(0.005):
            try:
                self.answers.append(ask(self.nginx).status)
            except OSError as error:
                self.answers.append(repr(error))


def test_a_hundred_reloads_fail_no_request_and_close_no_websocket(start, application):
    nginx = start(
        site(
            {"path": "/", "service": "inventory"},
            {"path": "/live", "service": "inventory", "websocket": True},
        ),
        nginx_services={"inventory": application.port},
    )
    load = Load(nginx)
    load.start()
    try:
        sockets = []
        for number in range(100):
            if number % 2 == 0:
                sockets.append(Socket(nginx))
            nginx.renew()
    finally:
        load.done.set()
        load.join()
    assert {*load.answers} == {200}
    assert [one.lives() for one in sockets] == [True] * 50
    print(f"{len(load.answers)} requests, {len(sockets)} sockets")
    for one in sockets:
        one.link.close()
    # No WebSocket where the site has none.
    with socket.create_connection(("127.0.0.1", nginx.http), 60) as link:
        link.sendall(UPGRADE.format("/").encode())
        assert link.recv(12) == b"HTTP/1.1 200"
    assert "Upgrade" not in application.seen[-1].headers


def test_slow_clients_reach_nobody_and_harm_nobody(start, application):
    nginx = start(
        site({"path": "/", "service": "inventory"}), nginx_services={"inventory": application.port}
    )
    heads = [
        f"GET /slow HTTP/1.1\r\nHost: {HOST}\r\nX-Slow: ",
        f"POST /slow HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 100000\r\n\r\n",
    ]
    slow = [socket.create_connection(("127.0.0.1", nginx.http), 120) for _ in range(200)]
    for number, link in enumerate(slow):
        link.sendall(heads[number % 2].encode())
    for _ in range(3):
        for link in slow:
            link.sendall(b"x")
        assert {ask(nginx).status for _ in range(20)} == {200}
    assert application.count("GET", "/slow") + application.count("POST", "/slow") == 0

    # Headers have their time as a whole; whoever sends a body may rest for longer.
    def trickles():
        for link in slow[0:40:2]:
            with suppress(OSError):
                link.sendall(b"x")
        return all(closed(link) for link in slow[0:40:2])

    wait_for(trickles, 120)
    assert not any(closed(link) for link in slow[1:40:2])
    for link in slow:
        link.close()


def closed(link):
    """Whether the other side has ended it."""
    link.setblocking(False)
    try:
        return link.recv(1) is not None
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        link.setblocking(True)
