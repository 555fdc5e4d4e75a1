"""Instances that hang or are dead delay nobody but themselves."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time

import pytest
from passes import passes

from programs import free_port, wait_for
from selvage.reconciler.passes import Limits
from selvage.registry.connection import RegistryUnavailable


@pytest.fixture
def holes():
    """Make so many addresses where connections are taken and nothing is ever said."""
    with contextlib.ExitStack() as stack:
        listeners = []

        def make(count):
            port = free_port()
            children = []
            for number in range(1, count + 1):
                listener = stack.enter_context(socket.socket())
                address = f"127.0.{1 + number // 250}.{1 + number % 250}"
                listener.bind((address, port))
                listener.listen(64)
                listeners.append(listener)
                children.append(f"{address}:{port}")
            return children

        make.listeners = listeners
        yield make


# A pass waits as long for its probes as it does in production.
HASTY = Limits(probe_s=60.0)


def down(fabric, service):
    """The servers that are down."""
    rows = fabric.haproxy.servers(service)
    return {name for name, row in rows.items() if row["srv_op_state"] == "0"}


@pytest.mark.parametrize("count", [1, 100])
def test_instances_that_hang_delay_nobody_else(fabric, holes, count):
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
    reconciler = fabric.reconciler(Limits())
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
    assert not fabric.reconciler(HASTY).run(lambda: content).changed


def test_a_crowd_that_hangs_keeps_no_other_service_waiting(fabric, holes):
    """There are more of them than a reconciler has threads, and none is decided yet."""
    fabric.service()
    other = fabric.service("zebra")
    one, two = fabric.instance("one"), fabric.instance("two")
    content = {"inventory": {one.child: b""}, "zebra": {one.child: b""}}
    reconciler = fabric.reconciler(HASTY)
    passes(reconciler, content)
    content["inventory"] = {one.child: b"", **dict.fromkeys(holes(300), b"")}
    # So many may take more than one turn to read.
    wait_for(lambda: reconciler.run(lambda: content).again_s is not None)
    content["zebra"] = dict.fromkeys([one.child, two.child], b"")
    wait_for(lambda: reconciler.run(lambda: content) and fabric.answers(other) == {"one", "two"})
    assert len(fabric.haproxy.servers("inventory")) == 1


def test_a_success_of_long_ago_admits_nobody(fabric, holes):
    """The registry was away between the probe's answer and the next pass, and the instance died."""
    port = fabric.service(check={"interval": "5m", "timeout": "1m"})
    one, (late,) = fabric.instance("one"), holes(1)
    content = {"inventory": {one.child: b""}}
    reconciler = fabric.reconciler(HASTY)
    passes(reconciler, content)
    content["inventory"] = dict.fromkeys([one.child, late], b"")
    assert reconciler.run(lambda: content).again_s is not None
    (listener,) = holes.listeners
    with listener.accept()[0] as link:
        link.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
        assert link.recv(1024).startswith(b"GET /health")
        # It reads to the end of the header, and closes.
        assert link.recv(1024) == b""
    listener.close()
    since = time.monotonic()
    while time.monotonic() < since + 2.5:
        with pytest.raises(RegistryUnavailable):
            reconciler.run(away)
        time.sleep(0.1)
    assert passes(reconciler, content) == []
    assert len(fabric.haproxy.servers("inventory")) == 2
    assert len(down(fabric, "inventory")) == 1
    assert fabric.answers(port) == {"one"}


def away():
    raise RegistryUnavailable("it is away")


@contextlib.contextmanager
def accepting(listeners):
    """Take connections, and say nothing; those that were made."""
    links, over = [], threading.Event()

    def accept():
        with selectors.DefaultSelector() as selector:
            for listener in listeners:
                selector.register(listener, selectors.EVENT_READ)
            while not over.is_set():
                links.extend(key.fileobj.accept()[0] for key, _ in selector.select(0.05))

    thread = threading.Thread(target=accept)
    thread.start()
    yield links
    over.set()
    thread.join()
    for link in links:
        link.close()


def test_a_daemon_ends_without_the_probes_that_wait(fabric, daemon, holes):
    fabric.service(check={"interval": "5m"})
    fabric.register(fabric.instance("one").child)
    daemon.start()
    crowd = holes(900)
    transaction = fabric.client.transaction()
    for child in crowd:
        transaction.create(f"{fabric.root}/inventory/{child}")
    with accepting(holes.listeners) as links:
        transaction.commit()
        wait_for(lambda: links)
        assert daemon.stop() == 0
        assert len(links) < len(crowd)
