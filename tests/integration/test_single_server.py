"""`guards.max_servers: 1`: a primary has one successor, and there are never two, whatever happens.

Clients keep their connections, as applications do with a database. Each notes when it asked and
when it was answered: who was asked after somebody else had answered must not be the former one.
"""

from __future__ import annotations

import http.client
import itertools
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

import pytest
from test_killed import World, data
from test_killed import mortal as mortal
from test_metrics import metrics as metrics
from test_operator import selvage as selvage

from programs import wait_for
from selvage.formats.registrations import Dated
from selvage.registry.connection import RegistryUnavailable
from selvage.registry.view import RegistryView

ONE = {"mode": "tcp", "guards": {"max_servers": 1}}
CHECK = {"check": {"type": "http", "interval": "100ms", "timeout": "1m"}}
LATER = "has the traffic, and was registered later"


class Answer(NamedTuple):
    name: str
    asked: float
    answered: float


class Clients:
    """What they were answered, in no order; a failure is nobody's answer."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.failures = 0
        self.stop = threading.Event()

    def ask(self, port: int) -> None:
        """Over one connection, as long as it lasts."""
        link = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        while not self.stop.is_set():
            asked = time.monotonic()
            try:
                link.request("GET", "/")
                name = link.getresponse().read().decode()
            except (OSError, http.client.HTTPException):
                self.failures += 1
                link.close()
                # Who asks without a pause has the processor that the reconciler needs.
                time.sleep(0.001)
                continue
            self.answers.append(Answer(name, asked, time.monotonic()))
        link.close()

    def heard(self, name: str) -> None:
        """Wait until this one answers somebody now."""
        since = time.monotonic()
        wait_for(lambda: any(a.name == name and a.asked > since for a in self.answers[-50:]))

    def gap_ms(self, old: str, new: str) -> float:
        """From the last answer of the one to the first of the other; nobody heard both at once."""
        first = min(a.answered for a in self.answers if a.name == new)
        late = [a for a in self.answers if a.name == old and a.asked > first]
        assert not late, f"{old} answered {len(late)} requests after {new} had answered"
        return (first - max(a.answered for a in self.answers if a.name == old)) * 1000


@contextmanager
def clients(port: int, number: int = 3) -> Iterator[Clients]:
    found = Clients()
    threads = [threading.Thread(target=found.ask, args=(port,)) for _ in range(number)]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        found.stop.set()
        for thread in threads:
            thread.join()


@pytest.fixture
def primary(fabric):
    """The service's port, and two instances that want to be its one server."""
    return fabric.service(**ONE, **CHECK), fabric.instance("old"), fabric.instance("new")


def able(fabric):
    """The servers that have traffic, or sessions, in the worker that serves."""
    return {
        name
        for name, row in fabric.haproxy.servers("inventory").items()
        if row["srv_admin_state"] == "0"
    }


def processes(haproxy):
    """The master's list; nothing while it replaces itself."""
    with suppress(OSError):
        return haproxy.ask("show proc", haproxy.master_socket)
    return ""


def only(result):
    (service,) = result.services
    return service


def test_the_newest_registration_takes_over_break_before_make(
    fabric, daemon, primary, metrics, selvage, capsys
):
    port, old, new = primary
    fabric.register(old.child)
    daemon.start()
    gaps = []
    first, second = old, new
    with clients(port) as asking:
        asking.heard(first.name)
        for _ in range(10):
            asking.answers.clear()
            asking.heard(first.name)
            fabric.register(second.child)
            asking.heard(second.name)
            gaps.append(asking.gap_ms(first.name, second.name))
            wait_for(lambda one=second: fabric.haproxy.servers("inventory").keys() == {
                one.server("inventory")
            })  # fmt: skip
            assert f"{first.port} " not in fabric.services_file
            # Registered still: it is told, and gets nothing.
            where = f"127.0.0.1:{second.port} {LATER}"
            wait_for(lambda one=first, two=where: f"{one.child}: {two}" in daemon.log)
            fabric.deregister(first.child)
            first, second = second, first
        fabric.register(second.child)
        asking.heard(second.name)
    wait_for(lambda: metrics()['selvage_service_held_out{service="inventory"}'] == 1)
    daemon.stop()
    reason = f"127.0.0.1:{second.port} {LATER}"
    assert f"  {first.child:<24} held out     {reason}" in selvage("status").splitlines()
    explained = selvage("explain", "inventory").splitlines()
    assert "registered: 1 taken, 1 held out" in explained
    assert any(line.endswith(f"held out: {reason}") for line in explained)
    assert fabric.haproxy.reloads() == 1
    with capsys.disabled():
        shown = ", ".join(f"{gap:.0f}" for gap in sorted(gaps))
        print(f"\nno server had traffic for {shown} ms (10 switchovers, 3 clients)")


def test_a_session_whose_client_has_gone_holds_nobody_up(fabric, daemon):
    """Its server hears nothing, and HAProxy's `shutdown sessions` does not end it."""
    hours = {"timeouts": {"client": "8h", "server": "8h"}}
    port = fabric.service(**ONE, **hours, check={"type": "tcp", "interval": "100ms"})
    new = fabric.instance("new")
    # Nobody accepts, so each check takes a place as well: on a busy machine many.
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as frozen:
        fabric.register(f"127.0.0.1:{frozen.getsockname()[1]}")
        daemon.start()
        wait_for(lambda: len(able(fabric)) == 1)
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"?")
            wait_for(lambda: sessions(fabric) == 1)
        fabric.register(new.child)
        wait_for(lambda: able(fabric) == {new.server("inventory")})


def sessions(fabric):
    """How many the service's servers have together."""
    # Column `scur`. `show servers conn` of 2.6 says 0 of some that are there.
    shown = fabric.haproxy.ask("show stat inventory 4 -1").splitlines()[1:]
    return sum(int(line.split(",")[4]) for line in shown if line)


def test_one_whose_check_fails_takes_nothing_over_and_gives_nothing_back(fabric, daemon, primary):
    port, old, new = primary
    new.healthy = False
    fabric.register(old.child)
    daemon.start()
    with clients(port) as asking:
        asking.heard("old")
        fabric.register(new.child)
        wait_for(lambda: f"{new.child}: its check has not passed" in daemon.log)
        checks = new.checks
        wait_for(lambda: new.checks > checks + 1)
        assert {answer.name for answer in asking.answers} == {"old"}
        # It is tried again and again.
        new.healthy = True
        asking.heard("new")
        asking.gap_ms("old", "new")
        # When it fails then, nobody takes it back: who has been overtaken stays so.
        new.healthy = False
        server = new.server("inventory")
        wait_for(lambda: fabric.haproxy.servers("inventory")[server]["srv_op_state"] == "0")
        asking.answers.clear()
        failures, checks = asking.failures, old.checks
        wait_for(lambda: asking.failures > failures + 20)
        assert not fabric.reconcile().changed
        assert (asking.answers, old.checks) == ([], checks)
        # It leaves, as its registrar makes it: the other one follows.
        fabric.deregister(new.child)
        asking.heard("old")


def test_two_that_fail_change_nothing(fabric, primary):
    _, old, new = primary
    fabric.register(old.child)
    fabric.reconcile()
    old.healthy = new.healthy = False
    server = old.server("inventory")
    wait_for(lambda: fabric.haproxy.servers("inventory")[server]["srv_op_state"] == "0")
    fabric.register(new.child)
    assert not fabric.reconcile().changed
    assert able(fabric) == {server}


def test_sessions_that_a_reload_left_behind_end_too(fabric, primary):
    port, old, new = primary
    fabric.register(old.child)
    fabric.reconcile()
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    link.request("GET", "/")
    assert link.getresponse().read() == b"old"
    fabric.haproxy.ask("reload", fabric.haproxy.master_socket)
    wait_for(lambda: "\n# old workers" in processes(fabric.haproxy))
    link.request("GET", "/")
    assert link.getresponse().read() == b"old"
    fabric.register(new.child)
    assert fabric.reconcile().problems == ()
    assert fabric.answers(port) == {"new"}
    with pytest.raises((OSError, http.client.HTTPException)):
        link.request("GET", "/")
        link.getresponse()


def by_hand(fabric, instance):
    """Somebody adds a second server and gives it traffic."""
    server = f"inventory/{instance.server('inventory')}"
    fabric.haproxy.ask(f"add server {server} 127.0.0.1:{instance.port} check inter 100ms")
    fabric.haproxy.ask(f"enable server {server}; enable health {server}")
    assert len(able(fabric)) == 2


def test_a_second_server_by_hand_is_stopped(fabric, primary):
    _, old, new = primary
    fabric.register(new.child)
    fabric.register(old.child)
    fabric.reconcile()
    by_hand(fabric, new)
    found = only(fabric.reconcile())
    assert found.drift == (f"{new.server('inventory')} was added",)
    assert able(fabric) == {old.server("inventory")}
    assert not fabric.reconcile().changed


def test_also_while_the_registry_is_away(fabric, primary):
    _, old, new = primary
    fabric.register(old.child)
    fabric.reconcile()
    by_hand(fabric, new)

    def away():
        raise RegistryUnavailable("it is away")

    reconciler = fabric.reconciler()
    result = reconciler.run(away)
    assert result.away == "it is away"
    assert able(fabric) == {old.server("inventory")}
    reconciler.run(away)
    assert able(fabric) == {old.server("inventory")}


def test_an_operator_may_take_it_out_and_back(fabric, primary, selvage):
    port, old, new = primary
    fabric.register(old.child)
    fabric.register(new.child)
    fabric.reconcile()
    assert fabric.answers(port) == {"new"}
    selvage("maint", "inventory", new.child, "--for", "1h", "--reason", "disk")
    assert fabric.answers(port) == {"old"}
    assert able(fabric) == {old.server("inventory")}
    selvage("ready", "inventory", new.child)
    assert fabric.answers(port) == {"new"}
    assert able(fabric) == {new.server("inventory")}


def test_a_guard_that_is_new_leaves_the_newest_of_many(fabric):
    port = fabric.service(mode="tcp", **CHECK)
    instances = [fabric.instance(name) for name in ("one", "two", "three")]
    for instance in instances:
        fabric.register(instance.child)
    fabric.reconcile()
    assert len(able(fabric)) == 3
    fabric.document["services"][0]["guards"] = {"max_servers": 1}
    dry = fabric.reconcile(dry_run=True)
    result = fabric.reconcile()
    assert [c for c in dry.commands if "del server" not in c] == [
        c for c in result.commands if "del server" not in c
    ]
    assert fabric.answers(port) == {"three"}
    assert fabric.services_file.count("    server ") == 1
    assert {one.child for one in only(result).held_out} == {i.child for i in instances[:2]}


def test_a_switchover_with_a_reload_breaks_before_it_makes(fabric, primary):
    port, old, new = primary
    fabric.document["reload_interval"] = "100ms"
    fabric.register(old.child)
    fabric.reconcile()
    with clients(port) as asking:
        asking.heard("old")
        fabric.document["services"][0]["balance"] = "leastconn"
        fabric.register(new.child)
        assert fabric.reconcile().problems == ()
        asking.heard("new")
        asking.gap_ms("old", "new")


@pytest.mark.parametrize("taken_over", ["registered", "gone"])
def test_a_switchover_that_is_killed_anywhere_leaves_one(fabric, primary, mortal, taken_over):
    _, old, new = primary
    services = [*fabric.document["services"]]
    both = {"o": data(old)} if taken_over == "registered" else {}
    world = World(
        fabric,
        [
            (services, {"inventory": {"o": data(old)}}),
            (services, {"inventory": {**both, "n": data(new)}}),
        ],
    )
    for point in itertools.count():
        killed = []
        for number in (0, 1):
            world.change(number)
            killed.append(mortal(point))
            # As it stands, and whatever HAProxy comes up with.
            assert len(able(fabric)) <= 1, killed
            if number:
                assert world.restart() in world.settled, killed
            assert fabric.reconcile().problems == (), killed
            assert world.running() == world.settled[number], killed
        if killed == [None, None]:
            break
    for word in ("shutdown", "rename", "add server", "del server"):
        assert any(word in point for point in mortal.passed)


def test_what_was_made_last_is_the_registrys_own_word(fabric):
    """However it is read: two znodes with a request each, more in one request for all."""
    fabric.service(**ONE)
    (service,) = fabric.settings().services
    view = RegistryView(
        fabric.client, fabric.root, {"inventory": service.guards}, on_change=lambda: None
    )
    ages = {}
    # Neither the name nor what it says decides.
    for child in ("c", "a_0000000009", "b", "d"):
        fabric.register(child, b"{}")
        wait_for(lambda one=child: view.refresh(60) or one in view.content["inventory"])
        ages[child] = view.content["inventory"][child]
    assert ages == view.content["inventory"]
    assert all(isinstance(one, Dated) for one in ages.values())
    assert sorted(ages, key=lambda child: ages[child].czxid) == [*ages]
    once = RegistryView(fabric.client, fabric.root, {"inventory": service.guards})
    once.refresh(60)
    assert once.content == view.content
    # The same name again is another registration.
    fabric.deregister("c")
    fabric.register("c", b"{}")
    wait_for(lambda: view.refresh(60) or view.content["inventory"]["c"] != ages["c"])
    assert max(view.content["inventory"].items(), key=lambda item: item[1].czxid)[0] == "c"
