"""A quarantined service stays as it was, byte for byte; the others get what is new."""

from __future__ import annotations

import itertools

import pytest

from selvage.catalogue import parse_services
from selvage.haproxy_config import render, wanted_server
from selvage.model import Registration
from selvage.quarantine import keep, listeners

NAMES = ("a", "a-b", "c")


def file(ports, address):
    """A services file with these services, each with one server."""
    services = parse_services([{"name": name, "port": port} for name, port in ports.items()])
    server = Registration("x", address, 80)
    return render(services, {s.name: [wanted_server(s, server)] for s in services})


OLD = file({"a": 3000, "a-b": 3001, "c": 3002}, "10.0.0.1")
NEW = file({"a": 4000, "a-b": 4001, "c": 4002}, "10.0.0.2")


def lines(text, name):
    """What a file says about a service: its section and its variable."""
    section = text.split(f"listen {name}\n")[1].split("\n\n")[0].rstrip()
    variable = f"set-var proc.selvage.{name.replace('-', '.')} "
    return section, [line for line in text.splitlines() if variable in line]


@pytest.mark.parametrize(
    "names", [n for size in range(4) for n in itertools.combinations(NAMES, size)]
)
def test_each_service_is_as_it_was_or_as_it_shall_be(names):
    text = keep(NEW, OLD, names)
    for name in NAMES:
        assert lines(text, name) == lines(OLD if name in names else NEW, name)
    assert text.count("listen ") == text.count("set-var") == 3
    assert keep(text, OLD, names) == text


def test_nothing_and_everything():
    assert keep(NEW, OLD, ()) == NEW
    assert keep(NEW, OLD, NAMES) == OLD


def test_a_service_that_was_not_there_is_left_out():
    assert keep(NEW, file({"a": 3000, "c": 3002}, "10.0.0.1"), ["a-b"]) == file(
        {"a": 4000, "c": 4002}, "10.0.0.2"
    )
    assert keep(NEW, file({"a": 3000, "a-b": 3001}, "10.0.0.1"), ["c"]) == file(
        {"a": 4000, "a-b": 4001}, "10.0.0.2"
    )


def test_listeners():
    assert listeners(OLD) == {"a": 3000, "a-b": 3001, "c": 3002}
    assert listeners("") == {}
