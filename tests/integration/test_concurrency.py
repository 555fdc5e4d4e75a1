"""Daemon, scheduled runs and a person at HAProxy's reload, all at the same time."""

from __future__ import annotations

import contextlib
import random
import signal
import threading
import time

from traffic import traffic

from programs import wait_for
from selvage.haproxy.socket import HAProxyUnavailable


def test_everyone_at_once_ends_consistent_and_loses_no_request(fabric, daemon):
    fabric.document["reload_interval"] = "100ms"
    port = fabric.service()
    stays, *guests = (fabric.instance(f"i{number}") for number in range(6))
    fabric.register(stays.child)
    daemon.start()
    stop, problems = threading.Event(), []
    chance = random.Random(1)

    def churn():
        registered = set()
        while not stop.is_set():
            guest = chance.choice(guests)
            if guest in registered:
                fabric.deregister(guest.child)
            else:
                fabric.register(guest.child)
            registered ^= {guest}
            time.sleep(0.02)

    def scheduled():
        while not stop.is_set():
            try:
                problems.extend(fabric.reconcile().problems)
            except HAProxyUnavailable as error:
                problems.append(str(error))

    def person():
        while not stop.wait(0.3):
            with contextlib.suppress(OSError):  # The master replaces itself just now.
                fabric.haproxy.ask("reload", fabric.haproxy.master_socket)

    threads = [threading.Thread(target=act) for act in (churn, scheduled, scheduled, person)]
    with traffic(port) as answers:
        for thread in threads:
            thread.start()
        # In the middle of it, the catalogue gets another service.
        other = fabric.service("orders")
        fabric.register(stays.child, service="orders")
        daemon.configure()
        daemon.process.send_signal(signal.SIGHUP)
        wait_for(lambda: fabric.answers(other, 1) == {"i0"})
        wait_for(lambda: len(answers) > 3000, 300)
        stop.set()
        for thread in threads:
            thread.join()
        wait_for(lambda: not fabric.reconcile().changed)
    children = fabric.client.get_children(f"{fabric.root}/inventory")
    registered = {guest.name for guest in fabric.instances if guest.child in children}
    wait_for(lambda: fabric.answers(port) == registered)
    # A run that met a reload says so in one line, and the next one makes up for it.
    assert all("\n" not in problem for problem in problems)
    assert set(answers) <= {instance.name for instance in fabric.instances}
