"""No text becomes a command that nobody meant."""

from __future__ import annotations

import pytest

from selvage.haproxy import commands

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


@pytest.mark.parametrize("name", HOSTILE)
def test_names_of_frontends_are_checked(name):
    with pytest.raises(ValueError, match="not a name for HAProxy"):
        commands.open_frontend(name)


def test_the_words_of_haproxy_are_one_bounded_line():
    said = str(commands.CommandRefused("del server a/b", "no\n\x1b[31m\u2028" + "x" * 9_000))
    assert said.isprintable()
    assert said.isascii()
    assert len(said) < 700


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
