"""Instances that hang or are dead delay nobody but themselves."""

from __future__ import annotations

import contextlib
import socket

import pytest
from passes import passes

from programs import free_port, wait_for
from selvage.reconciler.passes import Limits


@pytest.fixture
def holes():
    """Make so many addresses where connections are taken and nothing is ever said."""
    with contextlib.ExitStack() as stack:

        def make(count):
            port = free_port()
            children = []
            for number in range(1, count + 1):
                listener = stack.enter_context(socket.socket())
                listener.bind((f"127.0.1.{number}", port))
                listener.listen(64)
                children.append(f"127.0.1.{number}:{port}")
            return children

        yield make


# A pass waits as long for its probes as it does in production.
HASTY = Limits()


def down(fabric, service):
    """The servers that are down."""
    rows = fabric.haproxy.servers(service)
    return {name for name, row in rows.items() if row["srv_op_state"] == "0"}


@pytest.mark.parametrize("count", [1, 100])
def test_instances_that_hang_delay_nobody_else(fabric, holes, monkeypatch, count):
    port, other = fabric.service(), fabric.service("zebra")
    one, two = fabric.instance("one"), fabric.instance("two")
    first = {"inventory": {one.child: b""}, "zebra": {one.child: b""}}
    reconciler = fabric.reconciler(HASTY)
    passes(reconciler, first)
    hung = holes(count)
    content = {
        "inventory": first["inventory"] | dict.fromkeys([*hung, two.child], b""),
        "zebra": first["zebra"] | {two.child: b""},
    }
    wait_for(
        lambda: (
            reconciler.run(lambda: content)
            and fabric.answers(port) == fabric.answers(other) == {"one", "two"}
        )
    )
    # They are probed still, somewhere else. HAProxy may restart with them all the same.
    assert len(fabric.haproxy.servers("inventory")) == 2
    assert all(f" {child} " in fabric.services_file for child in hung)
    monkeypatch.undo()  # A probe, too, takes no longer than it does in production.
    reconciler = fabric.reconciler(HASTY)
    assert passes(reconciler, content) == []
    assert len(down(fabric, "inventory")) == count == len(fabric.haproxy.servers("inventory")) - 2
    assert fabric.answers(port) == {"one", "two"}


def test_an_instance_that_hangs_leaves_as_fast_as_it_came(fabric, holes):
    """Whoever is probed still, and is no longer wanted, is not waited for."""
    port = fabric.service()
    one, (hung,) = fabric.instance("one"), holes(1)
    content = {"inventory": {one.child: b""}}
    reconciler = fabric.reconciler(HASTY)
    passes(reconciler, content)
    assert reconciler.run(lambda: {"inventory": {one.child: b"", hung: b""}}).again_s is not None
    result = reconciler.run(lambda: content)
    assert (result.again_s, result.problems) == (None, ())
    assert hung not in fabric.services_file
    assert fabric.answers(port) == {"one"}
    assert not fabric.reconciler().run(lambda: content).changed
