"""The reconciler daemon, from the outside: a process, its signals and what HAProxy then routes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from daemon import MODULES
from kazoo.security import OPEN_ACL_UNSAFE, make_digest_acl
from traffic import traffic

from programs import get, wait_for
from selvage.catalogue import Service
from selvage.reconciler import overrides


@pytest.fixture
def serving(fabric, daemon):
    """A daemon that serves one instance; the port and the instance."""
    port = fabric.service()
    one = fabric.instance("one")
    fabric.register(one.child)
    daemon.start()
    wait_for(lambda: fabric.answers(port) == {"one"})
    return port, one


def test_joins_and_leaves_are_routed(fabric, daemon, serving):
    port, one = serving
    reloads = fabric.haproxy.reloads()
    two = fabric.instance("two")
    fabric.register(two.child)
    wait_for(lambda: fabric.answers(port) == {"one", "two"})
    fabric.deregister(one.child)
    wait_for(lambda: fabric.answers(port) == {"two"})
    wait_for(lambda: len(fabric.haproxy.servers("inventory")) == 1)
    assert fabric.haproxy.reloads() == reloads
    assert not fabric.reconcile().changed


def test_changed_data_is_followed(fabric, daemon):
    fabric.service()
    one = fabric.instance("one")
    name = one.server("inventory")

    def data(weight):
        entry = {"host": "127.0.0.1", "port": one.port, "name": "one", "weight": weight}
        return json.dumps(entry).encode()

    fabric.register("one_0000000001", data(3))
    daemon.start()
    for weight in (5, 7):
        fabric.client.set(f"{fabric.root}/inventory/one_0000000001", data(weight))
        wait_for(
            lambda weight=weight: (
                fabric.haproxy.servers("inventory")[name]["srv_uweight"] == str(weight)
            )
        )


def test_parents_that_are_made_later_and_anew_are_watched(fabric, daemon):
    port = fabric.service(guards={"allow_empty": True})
    daemon.start()
    one, two = fabric.instance("one"), fabric.instance("two")
    fabric.register(one.child)
    wait_for(lambda: fabric.answers(port) == {"one"})
    for instance in (two, one):
        fabric.client.delete(fabric.root, recursive=True)
        wait_for(lambda: fabric.answers(port) == {"HTTP 503"})
        fabric.register(instance.child)
        wait_for(lambda name=instance.name: fabric.answers(port) == {name})


def test_the_registry_may_be_away_at_the_start_and_later(fabric, daemon, zookeeper):
    port = fabric.service()
    one, two, three = (fabric.instance(name) for name in ("one", "two", "three"))
    fabric.register(one.child)
    fabric.reconcile()
    fabric.register(two.child)
    fabric.document["registry"] |= {"hosts": zookeeper.hosts, "connect_timeout": "2s"}
    zookeeper.stop()
    try:
        daemon.start()
        assert fabric.answers(port) == {"one"}
    finally:
        zookeeper.start()
    wait_for(lambda: fabric.answers(port) == {"one", "two"})

    zookeeper.stop()
    try:
        wait_for(lambda: daemon.log.count("the registry is away hosts") == 1)
        fabric.haproxy.stop()
        fabric.haproxy.start()
        assert fabric.answers(port) == {"one", "two"}
    finally:
        zookeeper.start()
    wait_for(lambda: fabric.client.connected)
    fabric.register(three.child)
    wait_for(lambda: fabric.answers(port) == {"one", "two", "three"})


@pytest.fixture
def short_session(fabric):
    fabric.document["registry"]["session_timeout"] = "2s"


def test_an_expired_session_is_followed_by_a_new_one(fabric, daemon, short_session, serving):
    """A process that stood still for longer than its session timeout."""
    port, _ = serving
    two, three = fabric.instance("two"), fabric.instance("three")
    daemon.process.send_signal(signal.SIGSTOP)
    wait_for(lambda: f"{fabric.root}/" not in fabric.zookeeper.command("wchp"))
    fabric.register(two.child)
    daemon.process.send_signal(signal.SIGCONT)
    wait_for(lambda: fabric.answers(port) == {"one", "two"})
    fabric.register(three.child)
    wait_for(lambda: fabric.answers(port) == {"one", "two", "three"})


def test_a_clock_that_jumps_changes_nothing(fabric, daemon):
    """By ten years, forth and back, whenever someone looks at it. Guards count real time."""
    port = fabric.service(guards={"max_loss": 50, "window": "1h"})
    instances = [fabric.instance(f"i{number}") for number in range(4)]
    for instance in instances:
        fabric.register(instance.child)
    daemon.start(
        "-c",
        "import itertools, sys, time; from selvage.reconciler.__main__ import main;"
        "jumps, clock = itertools.cycle([0, 3e8, -3e8]), time.time;"
        "time.time = lambda: clock() + next(jumps); sys.exit(main())",
    )
    for number, instance in enumerate(instances[:2], 1):
        fabric.deregister(instance.child)
        names = {other.name for other in instances[number:]}
        wait_for(lambda names=names: fabric.answers(port) == names)
    fabric.deregister(instances[2].child)
    wait_for(
        lambda: "3 of 4 would be lost within 3600 s, and guards.max_loss is 50 %" in daemon.log
    )
    assert fabric.answers(port) == {"i2", "i3"}


def test_a_haproxy_that_was_away_is_brought_up_to_date(fabric, daemon, serving):
    port, _ = serving
    two = fabric.instance("two")
    fabric.haproxy.stop()
    fabric.register(two.child)
    wait_for(lambda: two.server("inventory") in fabric.services_file)
    fabric.haproxy.start()
    assert fabric.answers(port) == {"one", "two"}
    wait_for(lambda: "all is well again" in daemon.log)


def test_what_a_hand_took_out_of_haproxy_comes_back_with_the_resync(fabric, daemon):
    fabric.document["resync_interval"] = "1s"
    port = fabric.service()
    fabric.register(fabric.instance("one").child)
    two = fabric.instance("two")
    fabric.register(two.child)
    daemon.start()
    target = f"inventory/{two.server('inventory')}"
    fabric.haproxy.ask(f"set server {target} state maint; del server {target}")
    wait_for(lambda: fabric.answers(port) == {"one", "two"})


def test_what_a_watch_missed_comes_with_the_resync(fabric, daemon):
    fabric.document["resync_interval"] = "1s"
    port = fabric.service()
    fabric.register(fabric.instance("one").child)
    deaf = "RegistryView._event = lambda *_: None"
    daemon.start(
        "-c",
        "import sys; from selvage.registry.view import RegistryView;"
        "from selvage.reconciler.__main__ import main;"
        f"{deaf}; sys.exit(main())",
    )
    fabric.register(fabric.instance("two").child)
    wait_for(lambda: fabric.answers(port) == {"one", "two"})


def test_a_registration_that_may_not_be_read_costs_itself_alone(fabric, daemon, serving):
    """Once it may be read it is taken, although no watch tells."""
    port, _ = serving
    two, three = fabric.instance("two"), fabric.instance("three")
    path = f"{fabric.root}/inventory/{two.child}"
    fabric.client.create(path, acl=[make_digest_acl("nobody", "knows", all=True)])
    wait_for(lambda: "refused" in daemon.log)
    fabric.register(three.child)
    wait_for(lambda: fabric.answers(port) == {"one", "three"})
    fabric.client.add_auth("digest", "nobody:knows")
    fabric.client.set_acls(path, OPEN_ACL_UNSAFE)
    wait_for(lambda: fabric.answers(port) == {"one", "two", "three"})


def test_what_haproxy_refuses_is_tried_less_and_less_often(fabric, daemon):
    """Our own look at the port is cut out: it would keep the reload from being tried."""
    port = fabric.service()
    fabric.register(fabric.instance("one").child)
    fabric.reconcile()
    fabric.document["reload_interval"] = "6s"
    began = time.monotonic()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        fabric.service("bad")
        fabric.document["services"][1]["port"] = taken.getsockname()[1]
        daemon.start(
            "-c",
            "import sys; from selvage.haproxy import validation;"
            "from selvage.reconciler.__main__ import main;"
            "validation.occupied = lambda _: None; sys.exit(main())",
        )
        refused = 'selvage_reloads_total{result="refused"}'
        memory = Path(fabric.document["state_directory"]) / "memory.json"

        def refusals():
            return json.loads(memory.read_text())["counters"].get(refused, 0)

        wait_for(lambda: refusals() >= 2)
        two = fabric.instance("two")
        fabric.register(two.child)
        wait_for(lambda: fabric.answers(port) == {"one", "two"})
        assert refusals() <= 1 + (time.monotonic() - began) / 6
        assert "all is well again" not in daemon.log
        assert daemon.log.count("left as it was") == 1
    wait_for(lambda: "all is well again" in daemon.log)


def test_the_watchdog_is_fed_unless_the_loop_hangs(fabric, daemon, serving):
    daemon.heard("WATCHDOG=1")
    wait_for(lambda: daemon.heard("WATCHDOG=1"))
    # What a pass waits for does not answer: a HAProxy that stands still.
    worker = int(fabric.haproxy.ask("show info").split("Pid: ")[1].split()[0])
    os.kill(worker, signal.SIGSTOP)

    def silent():
        daemon.heard("WATCHDOG=1")
        time.sleep(2.5)
        return not daemon.heard("WATCHDOG=1")

    try:
        fabric.register("127.0.0.1:9")
        wait_for(silent)
    finally:
        os.kill(worker, signal.SIGCONT)
    wait_for(lambda: daemon.heard("WATCHDOG=1"))


def test_overrides_that_somebody_else_sets_are_heeded_and_end(fabric, daemon, serving, tmp_path):
    port, _ = serving
    two = fabric.instance("two")
    fabric.register(two.child)
    wait_for(lambda: fabric.answers(port) == {"one", "two"})
    folder, now = tmp_path / "overrides", time.time()
    override = overrides.parse(Service("inventory", port), two.child, "new disk", "1h", now)
    overrides.put(folder, override, now)
    wait_for(lambda: fabric.answers(port) == {"one"})
    overrides.put(folder, replace(override, until=round(time.time()) + 1), now)
    wait_for(lambda: fabric.answers(port) == {"one", "two"})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_its_end_leaves_haproxy_alone(fabric, daemon, serving, number):
    port, _ = serving
    before = fabric.services_file
    assert daemon.stop(number) == 0
    wait_for(lambda: daemon.heard("STOPPING=1"))
    assert fabric.services_file == before
    assert fabric.answers(port) == {"one"}


def test_sighup_takes_a_new_configuration_unless_it_is_invalid(fabric, daemon, serving):
    port, _ = serving
    other = fabric.service("orders")
    two, three = fabric.instance("two"), fabric.instance("three")
    fabric.register(two.child, service="orders")
    daemon.configure()
    daemon.process.send_signal(signal.SIGHUP)
    wait_for(lambda: get(other) == "two")

    fabric.document["servics"] = []
    daemon.configure()
    daemon.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "servics: is not a known field" in daemon.log)
    fabric.register(three.child)
    wait_for(lambda: fabric.answers(port) == {"one", "three"})


def test_check_validates_the_file(fabric, daemon):
    def check():
        return subprocess.run(
            [sys.executable, "-m", "selvage.reconciler", "--check", "--config", str(daemon.config)],
            cwd=MODULES,
            capture_output=True,
            text=True,
            check=False,
        )

    fabric.service()
    daemon.configure()
    assert (check().returncode, check().stdout) == (0, f"{daemon.config}: valid, services: 1\n")
    fabric.document["services"][0]["port"] = 0
    daemon.configure()
    assert check().returncode == 2
    assert check().stderr == (
        f"{daemon.config}: services[0].port: expected a whole number from 1 to 65535, got 0\n"
    )


def test_traffic_under_joins_and_leaves_loses_no_request(fabric, daemon, serving):
    port, _ = serving
    guests = [fabric.instance(f"guest{number}") for number in range(4)]
    names = {guest.name for guest in guests}
    with traffic(port) as answers:
        for _ in range(6):
            for guest in guests:
                fabric.register(guest.child)
            wait_for(lambda: set(answers[-50:]) == {*names, "one"})
            for guest in guests:
                fabric.deregister(guest.child)
            wait_for(lambda: set(answers[-50:]) == {"one"})
    assert set(answers) == {*names, "one"}
    assert fabric.haproxy.reloads() == 1
