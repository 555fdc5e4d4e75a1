"""No text becomes a command that nobody meant."""

from __future__ import annotations

import pytest

from selvage.haproxy import commands, runtime
from selvage.haproxy.runtime import Runtime
from selvage.haproxy.socket import HAProxyUnavailable

HOSTILE = ["", "a;b", "a b", "a\nb", "a/b", "ä", "a\x00", "a\\", "#a"]
COMMANDS = [
    lambda service, server: commands.add(service, server, "127.0.0.1:80 check"),
    lambda service, server: commands.admit(service, server, healthy=True),
    commands.drain,
    commands.undrain,
    lambda service, server: commands.remove(service, server, (3, 0), sessions=True),
    lambda service, server: commands.set_weight(service, server, 1),
    lambda service, server: commands.set_max_connections(service, server, None),
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
        commands.add("a", "b", arguments)


@pytest.mark.parametrize("weight", [-1, 257])
def test_weights_are_checked(weight):
    with pytest.raises(ValueError, match="not a weight"):
        commands.set_weight("a", "b", weight)


def test_names_of_ipv6_servers_pass():
    line = commands.add("a-b_c", "a-b_c_2001:db8::1_80", "[2001:db8::1]:80 check")
    assert line == "add server a-b_c/a-b_c_2001:db8::1_80 [2001:db8::1]:80 check"


@pytest.mark.parametrize("name", ["_a", "-a", ".a", ":a", "a" * 256])
def test_names_that_haproxy_takes_pass(name):
    assert commands.drain("a", name) == f"set server a/{name} state drain"


STATE = (
    "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight"
    " srv_check_state srv_port\n3 inventory 1 a 10.0.0.1 2 0 1 6 80\n"
)
STAT = "# pxname,svname,scur,slim,bck,\ninventory,a,0,,0,\n"


@pytest.mark.parametrize(
    ("state", "stat", "expected"),
    [
        (STATE, STAT, None),
        ("\n", STAT, "not the state of servers"),
        (STATE, "\n", "answer is cut off"),
        (STATE, STAT[:10], "answer is cut off"),
        (STATE, STAT[:-4], "answer is cut off"),
        (STATE[:-6], STAT, "answer is cut off"),
    ],
)
def test_an_answer_that_is_cut_off_is_none(monkeypatch, state, stat, expected):
    answers = {
        "show backend": "inventory\n",
        "show servers state": state,
        "show stat -1 4 -1": stat,
        "get var proc.selvage.inventory": "\n",
    }
    monkeypatch.setattr(runtime, "exchange", lambda path, line, *_, **__: answers[line])
    haproxy = Runtime("/sock", 1)
    if expected is None:
        assert [server.name for server in haproxy.services()["inventory"].servers] == ["a"]
    else:
        with pytest.raises(HAProxyUnavailable, match=expected):
            haproxy.services()
