"""More registrations than a service may have: that service is held, and the others go on."""

from __future__ import annotations

from programs import wait_for

SURPLUS = "has 9 registrations, and guards.max_registrations is 8"


def test_a_flooded_service_is_held_and_told_and_the_others_go_on(fabric, daemon):
    port = fabric.service(guards={"max_registrations": 8})
    other = fabric.service("orders")
    one, two = fabric.instance("one"), fabric.instance("two")
    for service in ("inventory", "orders"):
        fabric.register(one.child, service=service)
    daemon.start()
    wait_for(lambda: fabric.answers(port) == fabric.answers(other) == {"one"})
    flood = [f"hostile_{number:010}" for number in range(7)]
    transaction = fabric.client.transaction()
    for child in (*flood, two.child):
        transaction.create(f"{fabric.root}/inventory/{child}")
    transaction.commit()
    wait_for(lambda: SURPLUS in daemon.log)
    fabric.register(two.child, service="orders")
    wait_for(lambda: fabric.answers(other) == {"one", "two"})
    assert fabric.answers(port) == {"one"}
    # A run by hand, or by cron, holds it as well.
    held = {service.name: service.held for service in fabric.reconcile().services}
    assert SURPLUS in held["inventory"]
    assert held["orders"] is None
    assert fabric.answers(port) == {"one"}
    for child in flood:
        fabric.deregister(child)
    wait_for(lambda: fabric.answers(port) == {"one", "two"})
    wait_for(lambda: "held=none" in daemon.log)
