"""What joins is there before what leaves goes, also when everything changes at once."""

from __future__ import annotations

import pytest
from traffic import traffic

from programs import wait_for


def swap(fabric, old, new):
    """One transaction replaces the registrations of one fleet by those of another."""
    transaction = fabric.client.transaction()
    for instance in old:
        transaction.delete(f"{fabric.root}/inventory/{instance.child}")
    for instance in new:
        transaction.create(f"{fabric.root}/inventory/{instance.child}")
    assert all(isinstance(answer, (bool, str)) for answer in transaction.commit())


def fleets(fabric, *names, size=3):
    return [[fabric.instance(f"{name}{number}") for number in range(size)] for name in names]


def servers(fleet):
    return {instance.server("inventory") for instance in fleet}


def routed(fabric, fleet):
    """These servers and no others run."""
    return fabric.haproxy.servers("inventory").keys() == servers(fleet)


@pytest.fixture
def serving(fabric, daemon):
    """A daemon that serves the first of two fleets; the port and the fleets."""
    port = fabric.service()
    blue, green = fleets(fabric, "blue", "green")
    for instance in blue:
        fabric.register(instance.child)
    daemon.start()
    return port, blue, green


def test_fleets_replaced_in_one_transaction_lose_no_request(fabric, serving):
    port, old, new = serving
    everyone = {instance.name for instance in old + new}
    with traffic(port) as answers:
        for _ in range(10):
            swap(fabric, old, new)
            wait_for(lambda fleet=new: routed(fabric, fleet))
            old, new = new, old
        wait_for(lambda: set(answers) >= everyone)
    assert set(answers) == everyone
    assert fabric.haproxy.reloads() == 1


@pytest.mark.parametrize("depth", [0, 1])
def test_a_parent_deleted_and_made_anew_loses_no_request(fabric, serving, depth):
    """The service's znode, or the whole tree: with another fleet, which is followed on."""
    port, old, new = serving
    path = f"{fabric.root}/inventory".rsplit("/", depth)[0]
    with traffic(port) as answers:
        for _ in range(3):
            fabric.client.delete(path, recursive=True)
            for instance in new:
                fabric.register(instance.child)
            wait_for(lambda fleet=new: routed(fabric, fleet))
            wait_for(lambda fleet=new: {i.name for i in fleet} <= set(answers))
            old, new = new, old
    assert set(answers) == {instance.name for instance in old + new}


def test_the_old_fleet_stays_until_a_new_instance_is_up(fabric, daemon, serving):
    port, old, new = serving
    for instance in new:
        instance.healthy = False
    with traffic(port) as answers:
        swap(fabric, old, new)
        wait_for(lambda: routed(fabric, old + new))
        wait_for(lambda: "nothing of what would be left has passed its check yet" in daemon.log)
        # Whoever restarts HAProxy meanwhile, or runs the module, does not break it either.
        held = fabric.reconcile()
        assert held.services[0].held == "nothing of what would be left has passed its check yet"
        assert routed(fabric, old + new)
        before = len(answers)
        wait_for(lambda: len(answers) > before + 100)
        assert set(answers) <= {instance.name for instance in old}
        new[0].healthy = True
        wait_for(lambda: routed(fabric, new))
        before = len(answers)
        wait_for(lambda: len(answers) > before + 100)
        assert set(answers[before + 50 :]) == {new[0].name}
    assert set(answers) == {new[0].name} | {instance.name for instance in old}
    assert not fabric.reconcile().changed


def test_the_old_fleet_goes_when_it_is_as_dead_as_the_new_one(fabric, serving):
    """To keep servers that are down helps nobody."""
    port, old, new = serving
    for instance in old + new:
        instance.healthy = False
    wait_for(lambda: fabric.answers(port) == {"HTTP 503"})
    swap(fabric, old, new)
    wait_for(lambda: routed(fabric, new))


def test_what_joins_is_admitted_before_what_leaves_drains(fabric):
    """In the order of the commands, service by service."""
    fabric.service()
    old, new = fleets(fabric, "old", "new")
    reconciler = fabric.reconciler()
    reconciler.run(lambda: {"inventory": {instance.child: b"" for instance in old}})
    commands = reconciler.run(
        lambda: {"inventory": {instance.child: b"" for instance in new}}
    ).commands
    kinds = [" ".join(command.split()[:2]) for command in commands if "weight 0" not in command]
    assert kinds == ["add server"] * 3 + ["set server"] * 3
    assert all("health up" in command for command in commands[:3])
    assert all("state drain" in command for command in commands[3:])
