"""Registrations with host names, and a name server that is silent, or wrong."""

from __future__ import annotations

import json
import socket
import threading

import pytest
from passes import passes

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
    assert passes(again, content) == []
    assert fabric.answers(port) == {"one", "two"}


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
