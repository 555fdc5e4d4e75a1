"""What becomes of traffic when the registry fails: three servers, and a network between."""

from __future__ import annotations

import signal

import pytest
from daemon import Daemon
from kazoo.client import KazooClient
from relay import RegistryRelay
from traffic import traffic

from programs import wait_for
from selvage.registry.connection import RegistryUnavailable


@pytest.fixture
def daemon(ensemble_fabric, tmp_path):
    """It knows all members, and looks at everything each second."""
    ensemble_fabric.document["resync_interval"] = "1s"
    daemon = Daemon(ensemble_fabric, tmp_path)
    yield daemon
    daemon.close()


@pytest.fixture
def serving(ensemble_fabric, daemon):
    # No guard stands in for what the reconciler has to know by itself.
    port = ensemble_fabric.service(guards={"allow_empty": True})
    ensemble_fabric.register(ensemble_fabric.instance("one").child)
    daemon.start()
    wait_for(lambda: ensemble_fabric.answers(port) == {"one"})
    return port


def joins(fabric, port, name, limit_s=120):
    """A new instance is registered and gets traffic."""
    fabric.register(fabric.instance(name).child)
    names = {instance.name for instance in fabric.instances}
    wait_for(lambda: fabric.answers(port) == names, limit_s)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_the_leader_changes(ensemble_fabric, ensemble, daemon, serving, number):
    """It dies, or it hangs: then its connections stay open and say nothing."""
    leader = ensemble.leader
    with traffic(serving) as answers:
        if number is signal.SIGKILL:
            leader.stop()
        else:
            leader.send(number)
        others = [member for member in ensemble.members if member is not leader]
        wait_for(lambda: any("Mode: leader" in m.command("srvr") for m in others), 120)
        joins(ensemble_fabric, serving, "two")
        ensemble.heal()
        joins(ensemble_fabric, serving, "three")
    assert set(answers) == {"one", "two", "three"}
    assert ensemble_fabric.haproxy.reloads() == 1


def test_the_quorum_is_lost_and_comes_back(ensemble_fabric, ensemble, daemon, serving):
    registrar = Registrar(ensemble)
    registrar.register(ensemble_fabric, ensemble_fabric.instance("two"))
    wait_for(lambda: ensemble_fabric.answers(serving) == {"one", "two"})
    survivor, *lost = ensemble.members
    with traffic(serving) as answers:
        for member in lost:
            member.stop()
        # It lives, but it serves nobody.
        wait_for(lambda: "not currently serving" in survivor.command("srvr"))
        wait_for(lambda: "HAProxy goes on with what it has" in daemon.log)
        with pytest.raises(RegistryUnavailable, match="HAProxy goes on with what it has"):
            ensemble_fabric.reconcile()
        assert ensemble_fabric.answers(serving) == {"one", "two"}
        ensemble.heal()
        joins(ensemble_fabric, serving, "three")
    assert set(answers) == {"one", "two", "three"}
    # Sessions live through it, and what they registered.
    assert ensemble_fabric.answers(serving) == {"one", "two", "three"}
    registrar.end()
    wait_for(lambda: ensemble_fabric.answers(serving) == {"one", "three"})


class Registrar:
    """Another client, whose registrations live as long as its session."""

    def __init__(self, ensemble):
        retry = {"max_tries": -1, "max_delay": 0.5}
        hosts = ",".join(ensemble.hosts)
        self.client = KazooClient(hosts, timeout=60, connection_retry=retry)
        self.client.start(60)

    def register(self, fabric, instance):
        self.client.create(f"{fabric.root}/inventory/{instance.child}", ephemeral=True)

    def end(self):
        self.client.stop()
        self.client.close()


def test_a_member_that_hangs_is_left_for_another(ensemble_fabric, ensemble, daemon, serving):
    watched = f"{ensemble_fabric.root}/inventory/"
    members = []
    wait_for(
        lambda: (
            members.extend(m for m in ensemble.members if watched in m.command("wchp")) or members
        )
    )
    members[0].send(signal.SIGSTOP)
    joins(ensemble_fabric, serving, "two")


@pytest.fixture
def relay(ensemble, ensemble_fabric):
    """The only way to the registry that the reconciler knows; others reach it without."""
    relay = RegistryRelay(ensemble.members[0].port)
    ensemble_fabric.document["registry"]["hosts"] = [relay.host]
    yield relay
    relay.close()


def test_a_node_that_is_cut_off_goes_on_with_what_it_has(
    relay, ensemble_fabric, daemon, serving, haproxy
):
    with traffic(serving) as answers:
        relay.hold()
        two = ensemble_fabric.instance("two")
        ensemble_fabric.register(two.child)
        wait_for(lambda: "HAProxy goes on with what it has" in daemon.log)
        with pytest.raises(RegistryUnavailable, match="cannot be reached within 4 s"):
            ensemble_fabric.reconcile()
        assert ensemble_fabric.answers(serving) == {"one"}
        relay.resume()
        wait_for(lambda: ensemble_fabric.answers(serving) == {"one", "two"}, 120)
        joins(ensemble_fabric, serving, "three")
    assert set(answers) == {"one", "two", "three"}
    assert haproxy.reloads() == 1


def test_a_cut_in_the_middle_of_reading_loses_nothing(relay, ensemble_fabric, daemon, serving):
    """Answers that do not come are no registrations that went."""
    for number in range(3):
        relay.cut()
        joins(ensemble_fabric, serving, f"new{number}")
    relay.hold()
    ensemble_fabric.register(ensemble_fabric.instance("two").child)
    relay.cut()
    relay.resume()
    names = {instance.name for instance in ensemble_fabric.instances}
    wait_for(lambda: ensemble_fabric.answers(serving) == names, 120)
