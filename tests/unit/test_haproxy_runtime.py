"""No text becomes a command that nobody meant."""

from __future__ import annotations

import pytest

from selvage import haproxy_runtime

HOSTILE = ["", "a;b", "a b", "a\nb", "a/b", "ä", "a\x00", "a\\", "#a"]
COMMANDS = [
    lambda service, server: haproxy_runtime.add(service, server, "127.0.0.1:80 check"),
    lambda service, server: haproxy_runtime.admit(service, server, healthy=True),
    haproxy_runtime.drain,
    haproxy_runtime.undrain,
    lambda service, server: haproxy_runtime.remove(service, server, (3, 0), sessions=True),
    lambda service, server: haproxy_runtime.set_weight(service, server, 1),
    lambda service, server: haproxy_runtime.set_max_connections(service, server, None),
]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_checked(command, name):
    for service, server in ((name, "s"), ("s", name)):
        with pytest.raises(ValueError, match="not a name for HAProxy"):
            command(service, server)


@pytest.mark.parametrize("arguments", ["", "127.0.0.1:80; show env", "127.0.0.1:80\nshutdown"])
def test_arguments_are_checked(arguments):
    with pytest.raises(ValueError, match="not arguments of a server"):
        haproxy_runtime.add("a", "b", arguments)


@pytest.mark.parametrize("weight", [-1, 257])
def test_weights_are_checked(weight):
    with pytest.raises(ValueError, match="not a weight"):
        haproxy_runtime.set_weight("a", "b", weight)


def test_names_of_ipv6_servers_pass():
    line = haproxy_runtime.add("a-b_c", "a-b_c_2001:db8::1_80", "[2001:db8::1]:80 check")
    assert line == "add server a-b_c/a-b_c_2001:db8::1_80 [2001:db8::1]:80 check"


@pytest.mark.parametrize("name", ["_a", "-a", ".a", ":a", "a" * 256])
def test_names_that_haproxy_takes_pass(name):
    assert haproxy_runtime.drain("a", name) == f"set server a/{name} state drain"


@pytest.mark.parametrize("word", ["show servers state", "show stat -1 4 -1"])
def test_an_answer_without_its_table_is_none(monkeypatch, word):
    answers = {
        "show backend": "inventory\n",
        "show servers state": "1\n# be_name srv_name\n",
        "show stat -1 4 -1": "# pxname,svname\n",
        word: "\n",
    }
    monkeypatch.setattr(haproxy_runtime, "_exchange", lambda path, line, *_, **__: answers[line])
    with pytest.raises(haproxy_runtime.HAProxyUnavailable, match="/sock: not "):
        haproxy_runtime.Runtime("/sock", 1).services()
