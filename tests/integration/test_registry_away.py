"""A registry that does not answer: how long anybody waits for it, and who comes back to it."""

from __future__ import annotations

import signal
import threading

import pytest
from backup import age, client, restore
from daemon import Daemon
from silence import silent_hosts

from conftest import fabric_of
from programs import wait_for
from selvage.fields import Fields
from selvage.registry.connection import RegistryUnavailable, close, connect, connected
from selvage.registry.settings import parse_settings


def settings(hosts, **more):
    """Whoever waits for a session's time here waits for longer than any test."""
    return parse_settings(Fields({"hosts": hosts, "session_timeout": "10m", **more}, "registry"))


def test_a_run_waits_no_longer_than_it_shall():
    said = []

    def run(hosts):
        with (
            pytest.raises(RegistryUnavailable) as failure,
            connected(settings(hosts, connect_timeout="1s")),
        ):
            pass
        said.append(str(failure.value))

    with silent_hosts(3) as hosts:
        running = threading.Thread(target=run, args=(hosts,), daemon=True)
        running.start()
        running.join(60)
        assert not running.is_alive()
    assert "cannot be reached within 1 s" in said[0]


def test_one_host_that_answers_is_enough(zookeeper):
    with silent_hosts(12) as hosts:
        one = connect(settings([*hosts, zookeeper.host], connect_timeout="2s"))
        wait_for(lambda: one.connected)
        close(one)


def test_a_session_that_nobody_answers_any_more_is_left(zookeeper):
    """The server hangs: it says nothing to the request that ends the session."""
    one = connect(settings([zookeeper.host]))
    wait_for(lambda: one.connected)
    zookeeper.send(signal.SIGSTOP)
    try:
        closing = threading.Thread(target=close, args=(one,), daemon=True)
        closing.start()
        closing.join(60)
        assert not closing.is_alive()
    finally:
        zookeeper.send(signal.SIGCONT)


def test_signals_are_acted_on_while_no_host_answers(fabric, daemon):
    fabric.service()
    with silent_hosts(3) as hosts:
        fabric.document["registry"] |= {
            "hosts": hosts,
            "connect_timeout": "1s",
            "session_timeout": "10m",
        }
        daemon.start()
        fabric.document["resync_interval"] = "30m"
        daemon.configure()
        daemon.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "new configuration" in daemon.log)
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(60) == 0


@pytest.fixture
def own_fabric(own_zookeeper, haproxy, tmp_path):
    with fabric_of(own_zookeeper, haproxy, tmp_path) as fabric:
        fabric.document["registry"]["session_timeout"] = "1s"
        yield fabric


@pytest.fixture
def own_daemon(own_fabric, tmp_path):
    daemon = Daemon(own_fabric, tmp_path)
    yield daemon
    daemon.close()


def test_the_reconciler_comes_back_to_a_registry_that_was_restored(own_fabric, own_daemon):
    age(own_fabric.zookeeper)
    port = own_fabric.service()
    one, two = own_fabric.instance("one"), own_fabric.instance("two")
    own_fabric.register(one.child)
    own_daemon.start()
    wait_for(lambda: own_fabric.answers(port) == {"one"})
    restore(own_fabric.zookeeper)
    with client(own_fabric.zookeeper) as own_fabric.client:
        for instance in (one, two):
            own_fabric.register(instance.child)
        wait_for(lambda: own_fabric.answers(port) == {"one", "two"})
        # It watches, too.
        own_fabric.deregister(one.child)
        wait_for(lambda: own_fabric.answers(port) == {"two"})


def test_the_watchdog_need_not_wait_for_a_member_that_hangs(own_fabric, own_daemon):
    """A session may be longer than the unit's WatchdogSec."""
    own_fabric.service()
    own_fabric.document["registry"]["session_timeout"] = "10m"
    # With each fifth resync everything is read anew.
    own_fabric.document["resync_interval"] = "1s"
    own_daemon.watchdog_s = 4
    own_daemon.start()
    own_fabric.zookeeper.send(signal.SIGSTOP)
    try:
        # The other end of waiting is a connection that kazoo gives up.
        wait_for(lambda: "does not answer (KazooTimeoutError)" in own_daemon.log)
        wait_for(lambda: own_daemon.heard("WATCHDOG=1"))
    finally:
        own_fabric.zookeeper.send(signal.SIGCONT)
    wait_for(lambda: "all is well again" in own_daemon.log)
