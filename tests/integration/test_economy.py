"""What a watcher asks of the registry, counted on the wire."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from daemon import MODULES
from relay import RegistryRelay

from programs import wait_for

WATCHERS = 20


@pytest.fixture
def relay(fabric, zookeeper):
    """The way to the registry for the reconciler alone."""
    relay = RegistryRelay(zookeeper.port)
    fabric.document["registry"]["hosts"] = [relay.host]
    yield relay
    relay.close()


def fill(fabric, size):
    """Register so many instances that nobody will ever ask for anything."""
    fabric.service(check={"interval": "5m"})
    fabric.client.ensure_path(f"{fabric.root}/inventory")
    transaction = fabric.client.transaction()
    for number in range(1, size + 1):
        transaction.create(f"{fabric.root}/inventory/127.0.1.{number % 250}:{number}", b"")
    transaction.commit()


def parts(size):
    """How many requests ask for the data of so many instances: for 4 first, for 256 at most."""
    number, most = 0, 4
    while size > 0:
        number, size, most = number + 1, size - most, min(2 * most, 256)
    return number


def reads(relay):
    return sum(relay.requests[kind] for kind in ("children", "exists", "get", "multi"))


@pytest.mark.parametrize("size", [1, 20, 500])
def test_a_change_costs_at_most_two_reads(fabric, relay, daemon, size):
    fill(fabric, size - 1)
    fabric.register(fabric.instance("stays").child)
    daemon.start()
    servers = fabric.haproxy.servers
    wait_for(lambda: len(servers("inventory")) == size)
    # The list's length, the list, the data.
    assert reads(relay) == 2 + parts(size)
    one = fabric.instance("one")
    path, name = f"{fabric.root}/inventory/one", one.server("inventory")

    def data(weight):
        return json.dumps({"host": "127.0.0.1", "port": one.port, "weight": weight}).encode()

    before = reads(relay)
    fabric.client.create(path, data(1))
    wait_for(lambda: name in servers("inventory"))
    assert reads(relay) - before <= 2

    before = reads(relay)
    fabric.client.set(path, data(7))
    wait_for(lambda: servers("inventory")[name]["srv_uweight"] == "7")
    assert reads(relay) - before <= 2

    before = reads(relay)
    fabric.client.delete(path)
    wait_for(lambda: name not in servers("inventory"))
    assert reads(relay) - before <= 2


def test_a_watcher_reads_nothing_while_nothing_happens(fabric, relay, daemon):
    fill(fabric, 20)
    daemon.start()
    wait_for(lambda: len(fabric.haproxy.servers("inventory")) == 20)
    before = reads(relay)
    for _ in range(4):
        wait_for(lambda: daemon.heard("WATCHDOG=1"))
    assert reads(relay) == before


def test_a_resync_asks_for_much_in_few_requests(fabric, relay, daemon):
    """One list per service, and the data of many instances at once."""
    fabric.document["resync_interval"] = "1s"
    fill(fabric, 300)
    daemon.start()
    wait_for(lambda: len(fabric.haproxy.servers("inventory")) == 300)
    # The daemon's start, and at least two resyncs of five.
    wait_for(lambda: relay.requests["multi"] >= 1 + 3 * parts(300))
    assert daemon.stop() == 0
    assert relay.requests["multi"] == 1 + parts(300) * relay.requests["children"]
    assert relay.requests["get"] == 0


def test_a_run_asks_for_much_in_few_requests(fabric, relay):
    fill(fabric, 300)
    for changed in (True, False):
        relay.requests.clear()
        assert fabric.reconcile().changed == changed
        wait_for(lambda: relay.requests["close"])
        del relay.requests["ping"]
        assert relay.requests == {"sync": 1, "children": 1, "multi": 1 + parts(300), "close": 1}


def test_only_the_services_of_this_node_are_read(fabric, relay):
    fill(fabric, 3)
    fabric.register("127.0.0.1:9", service="others")
    fabric.reconcile()
    assert reads(relay) == 3
    assert "others" not in fabric.services_file


def test_after_a_mass_reconnect_reads_are_spread_and_bounded(fabric, relay, tmp_path):
    fill(fabric, 20)
    fabric.reconcile()
    relay.requests.clear()
    config = tmp_path / "reconciler.json"
    config.write_text(json.dumps(fabric.document))
    crowd = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("crowd.py"), config, str(WATCHERS)],
        env=os.environ | {"PYTHONPATH": str(MODULES)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        each = Counter({"children": WATCHERS, "multi": WATCHERS * parts(20)})
        first = each + Counter({"multi": WATCHERS})
        wait_for(lambda: relay.requests & first == first, 120)
        relay.requests.clear()
        relay.first.clear()
        relay.cut()
        wait_for(lambda: relay.requests & each == each, 120)
        time.sleep(2)
        # Nobody reads anything twice.
        assert relay.requests["children"] == WATCHERS
        # Who was cut off before its first answers does not know how long the list is.
        assert 0 <= reads(relay) - each.total() <= WATCHERS
        chosen = sorted(float(crowd.stdout.readline()) for _ in range(WATCHERS))
        # Evenly within a second: that all fall into a third of it happens once in 10^8 times.
        assert chosen[-1] - chosen[0] > 0.33
        # Nobody reads before it shall. However busy the machine, that holds for the sorted ones.
        delays = sorted(read - made for made, read in relay.first)
        assert len(delays) == WATCHERS
        assert all(delay >= least for delay, least in zip(delays, chosen, strict=True))
    finally:
        crowd.terminate()
        crowd.wait(60)
        crowd.stdout.close()
