"""A section that is kept stays as it was, byte for byte; the others are what is new."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selvage.catalogue import parse_services
from selvage.formats.registrations import Registration
from selvage.haproxy.sections import HEADER, Section, assemble, split
from selvage.haproxy.text import render
from strategies import wanted_server

NAMES = ("a", "a-b", "c")


def file(ports, address):
    """A services file with these services, each with one server."""
    services = parse_services([{"name": name, "port": port} for name, port in ports.items()])
    server = Registration("x", address, 80)
    return render(services, {s.name: [wanted_server(s, server)] for s in services})


OLD = file({"a": 3000, "a-b": 3001, "c": 3002}, "10.0.0.1")
NEW = file({"a": 4000, "a-b": 4001, "c": 4002}, "10.0.0.2")


@pytest.mark.parametrize(
    "kept", [n for size in range(4) for n in itertools.combinations(NAMES, size)]
)
def test_each_service_is_as_it_was_or_as_it_shall_be(kept):
    old, new = split(OLD), split(NEW)
    mixed = {name: (old if name in kept else new)[name] for name in NAMES}
    text = assemble(mixed)
    assert split(text) == mixed
    for name in NAMES:
        port, address = (3000, "10.0.0.1") if name in kept else (4000, "10.0.0.2")
        assert split(text)[name].port == port + NAMES.index(name)
        assert f"{name}_{address}_80" in split(text)[name].listen


@pytest.mark.parametrize("text", [OLD, NEW, HEADER])
def test_what_was_taken_apart_is_put_together_again(text):
    assert assemble(split(text)) == text


def test_what_belongs_to_no_service_is_left_out():
    foreign = "frontend evil\n    bind :80\n\nglobal\n    stats socket /tmp/x\n"
    assert split(f"{foreign}\n{OLD}\n{foreign}") == split(OLD)


def test_a_section_without_a_port_says_so():
    assert Section("", "listen a\n    bind :80\n", ()).port is None


@given(st.text())
def test_any_text_can_be_taken_apart(text):
    assemble(split(text))
    assert "a" in split(f"listen a\n{text}")
