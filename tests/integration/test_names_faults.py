"""Registrations with host names, and a name server that is silent, or wrong."""

from __future__ import annotations

import json
import socket
import threading

import pytest
from passes import passes
from relay import SocketRelay

from programs import wait_for


class NameServer:
    """What the host's resolver says; `None` for silence until `speak` is set."""

    def __init__(self):
        self.records = {}
        self.speak = threading.Event()
        self._getaddrinfo = socket.getaddrinfo

    def getaddrinfo(self, host, *arguments, **more):
        if not isinstance(host, bytes):  # Not a question of ours: a probe's address.
            return self._getaddrinfo(host, *arguments, **more)
        answer = self.records[host.decode()]
        if answer is None:
            self.speak.wait(600)
            answer = "127.0.0.1"
        if answer == "":
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answer, 0))]


@pytest.fixture
def name_server(monkeypatch):
    server = NameServer()
    monkeypatch.setattr(socket, "getaddrinfo", server.getaddrinfo)
    yield server
    server.speak.set()


def curator(instance, host):
    document = {"name": "inventory", "id": "i", "address": host, "port": instance.port}
    return json.dumps(document).encode()


def test_a_name_without_an_answer_delays_no_other_service(fabric, name_server):
    port, other = fabric.service(), fabric.service("orders")
    one, two = fabric.instance("one"), fabric.instance("two")
    content = {"inventory": {one.child: b""}, "orders": {one.child: b""}}
    reconciler = fabric.reconciler()
    passes(reconciler, content)
    name_server.records["app2"] = None
    content = {
        "inventory": {"two": curator(two, "app2")},
        "orders": {one.child: b"", two.child: b""},
    }
    wait_for(lambda: reconciler.run(lambda: content) and fabric.answers(other) == {"one", "two"})
    # Nobody has left because of it either.
    assert reconciler.run(lambda: content).again_s is not None
    assert fabric.answers(port) == {"one"}
    name_server.speak.set()
    assert passes(reconciler, content) == []
    assert fabric.answers(port) == {"two"}


@pytest.mark.parametrize("answer", [None, ""])
def test_a_name_server_that_fails_takes_no_traffic_away(fabric, name_server, answer):
    """Also from a process that has just begun, and never had an answer of its own."""
    port = fabric.service()
    one, two = fabric.instance("one"), fabric.instance("two")
    name_server.records = {"app1": "127.0.0.1", "app2": "127.0.0.1"}
    content = {"inventory": {"one": curator(one, "app1")}}
    passes(fabric.reconciler(), content)
    name_server.records = {"app1": answer, "app2": "127.0.0.1"}
    content["inventory"]["two"] = curator(two, "app2")
    again = fabric.reconciler()
    wait_for(lambda: again.run(lambda: content) and fabric.answers(port) == {"one", "two"})


def test_an_unknown_name_is_refused_and_the_others_go_on(fabric, name_server):
    port = fabric.service()
    one, two = fabric.instance("one"), fabric.instance("two")
    name_server.records = {"app1": "127.0.0.1", "app2": ""}
    data = {"one": curator(one, "app1"), "two": curator(two, "app2")}
    reconciler = fabric.reconciler()
    assert passes(reconciler, {"inventory": data}) == []
    (refusal,) = reconciler.latest["inventory"].refused
    assert (refusal.child, "app2" in refusal.reason) == ("two", True)
    assert fabric.answers(port) == {"one"}


def test_a_name_that_does_not_resolve_is_no_reason_to_look_at_everything(fabric, daemon):
    """A change of another service asks HAProxy only about that service."""
    fabric.service()
    other = fabric.service("orders")
    one, two = fabric.instance("one"), fabric.instance("two")
    relay = SocketRelay(fabric.haproxy.admin_socket)
    try:
        fabric.document["haproxy"]["admin_socket"] = str(relay.path)
        fabric.register(one.child)
        fabric.register("nowhere", curator(one, "nowhere.invalid"))
        fabric.register(one.child, service="orders")
        daemon.start()
        wait_for(lambda: "nowhere.invalid cannot be resolved" in daemon.log)
        wait_for(lambda: fabric.answers(other) == {"one"})
        relay.lines.clear()
        fabric.register(two.child, service="orders")
        wait_for(lambda: fabric.answers(other) == {"one", "two"})
        questions = {line for _, line in relay.lines if line.startswith("show")}
        assert questions <= {"show servers state orders", "show stat orders 4 -1"}
    finally:
        relay.close()
