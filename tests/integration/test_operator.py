"""What an operator sees and does on a node: guards, overrides, drift, `selvage`."""

from __future__ import annotations

import json
import os
import pwd
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from conftest import PATIENT
from programs import free_port, get, wait_for
from selvage.reconciler import overrides
from selvage.reconciler.reconcile import reconcile

MODULES = Path(__file__).parents[2] / "module_utils"
# srv_admin_state
MAINTENANCE = "1"
# Added, or started, as `disabled`.
DISABLED = "5"
DRAIN = "8"


@pytest.fixture
def selvage(fabric, tmp_path):
    """The operator's command, as a process; what it printed, once it ended with `code`."""

    # What Python loads late may not be there for another user.
    program = "import encodings.idna, functools, sys; from selvage import __main__;"
    # A busy machine may take its time to answer.
    program += (
        "from selvage.operator import commands; from selvage.reconciler.passes import Limits;"
        "patient = functools.partial(commands.reconcile, limits=Limits(probe_s=60.0));"
        "commands.reconcile = patient;"
        "sys.exit(__main__.main())"
    )

    def run(*arguments, code=0):
        config = tmp_path / "reconciler.json"
        config.write_text(json.dumps(fabric.document))
        ended = subprocess.run(
            [sys.executable, "-c", program, *arguments, "--config", str(config)],
            cwd=MODULES,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == code, ended.stdout + ended.stderr
        return ended.stdout if code == 0 else ended.stderr

    return run


@pytest.fixture
def four(fabric):
    """Four registered instances; by name."""
    instances = [fabric.instance(name) for name in ("one", "two", "three", "four")]
    for instance in instances:
        fabric.register(instance.child)
    return instances


def only(result):
    """The one service of a result that has no problems."""
    assert result.problems == ()
    (service,) = result.services
    return service


@contextmanager
def busy(fabric, port, instances):
    """Each of the instances has a request that it does not answer yet."""

    def serving():
        rows = [line.split(",") for line in fabric.haproxy.ask("show stat -1 4 -1").splitlines()]
        return {row[1] for row in rows[1:] if len(row) > 4 and row[4] not in ("", "0")}

    for instance in instances:
        instance.release.clear()
    clients = [threading.Thread(target=get, args=(port,)) for _ in instances]
    for client in clients:
        client.start()
    wait_for(lambda: serving() >= {instance.server("inventory") for instance in instances})
    try:
        yield
    finally:
        for instance in instances:
            instance.release.set()
        for client in clients:
            client.join()


def admin(fabric, instance, service="inventory"):
    return fabric.haproxy.servers(service)[instance.server(service)]["srv_admin_state"]


def states(fabric):
    servers = fabric.haproxy.servers("inventory").values()
    return [(s["srv_name"], s["srv_admin_state"], s["srv_uweight"]) for s in servers]


# Guards


def test_a_guard_holds_losses_lets_joins_in_and_lets_go_by_itself(fabric, four):
    port = fabric.service(guards={"min_servers": 3})
    fabric.reconcile()
    one, two, three, _ = four
    for instance in (one, two, three):
        fabric.deregister(instance.child)
    five = fabric.instance("five")
    fabric.register(five.child)
    held = only(fabric.reconcile())
    assert held.held == "only 2 would be left, and guards.min_servers is 3"
    assert held.added == (five.server("inventory"),)
    assert held.removed == ()
    assert fabric.answers(port, 20) == {"one", "two", "three", "four", "five"}
    assert not fabric.reconcile().changed

    fabric.register(one.child)
    free = only(fabric.reconcile())
    assert free.held is None
    assert sorted(free.removed) == sorted([two.server("inventory"), three.server("inventory")])
    assert fabric.answers(port, 20) == {"one", "four", "five"}


def test_a_release_lasts_for_one_run(fabric, four):
    port = fabric.service(guards={"min_servers": 2})
    fabric.reconcile()
    for instance in four[:3]:
        fabric.deregister(instance.child)
    assert only(fabric.reconcile()).held
    released = only(reconcile(fabric.settings(), released={"inventory"}))
    assert released.held is None
    assert len(released.removed) == 3
    assert fabric.answers(port) == {"four"}
    # Fewer than the guard wants, but nothing is lost: it holds nothing back.
    assert only(fabric.reconcile()).held is None
    fabric.deregister(four[3].child)
    assert "no valid registration is left" in only(fabric.reconcile()).held


def test_a_weight_of_zero_is_a_loss(fabric, four, selvage):
    """Also when all of them have it."""
    port = fabric.service(guards={"min_servers": 2})
    fabric.reconcile()

    def weights(*weights):
        for instance, weight in zip(four, weights, strict=True):
            data = {"host": "127.0.0.1", "port": instance.port, "weight": weight}
            path = f"{fabric.root}/inventory/{instance.child}"
            fabric.client.set(path, json.dumps(data).encode())
        return only(fabric.reconcile())

    assert weights(0, 0, 1, 1).held is None
    assert fabric.answers(port, 20) == {"three", "four"}
    for given, held in (
        ((0, 0, 0, 1), "only 1 would be left, and guards.min_servers is 2"),
        ((0, 0, 0, 0), "all that is left has the weight 0, and guards.allow_empty is false"),
    ):
        assert weights(*given).held == held
        assert fabric.answers(port, 20) == {"three", "four"}
        lines = selvage("explain", "inventory").splitlines()
        assert f"held: {held}" in lines
        row = next(line for line in lines if line.startswith(f"  {four[2].child}  weight"))
        assert row.endswith("held: registered with the weight 0")
    assert weights(0, 1, 1, 0).held is None
    assert fabric.answers(port, 20) == {"two", "three"}
    # An operator may stop what the registry may not.
    weights(0, 0, 0, 0)
    selvage("release", "inventory")
    assert fabric.answers(port, 4) == {"HTTP 503"}


def test_losses_within_the_window_add_up_over_passes_and_processes(fabric, four, tmp_path):
    fabric.service(guards={"max_loss": 50, "window": "1h"})
    fabric.reconcile()
    # Each is a reconciler of its own, as cron's runs are: what they share is the memory's file.
    for instance in four[:2]:
        fabric.deregister(instance.child)
        assert only(fabric.reconcile()).removed == (instance.server("inventory"),)
    fabric.deregister(four[2].child)
    assert only(fabric.reconcile()).held == (
        "3 of 4 would be lost within 3600 s, and guards.max_loss is 50 %"
    )

    # An hour later.
    path = tmp_path / "memory.json"
    memory = json.loads(path.read_text())
    memory["losses"]["inventory"] = [
        [at - 3600, size] for at, size in memory["losses"]["inventory"]
    ]
    path.write_text(json.dumps(memory))
    assert only(fabric.reconcile()).removed == (four[2].server("inventory"),)


def test_selvage_release(fabric, four, selvage):
    port = fabric.service(guards={"max_loss": 50})
    fabric.reconcile()
    for instance in four[:3]:
        fabric.deregister(instance.child)
    fabric.reconcile()
    said = selvage("release", "inventory")
    assert said.startswith("inventory follows the registry on this node; removed: inventory_")
    assert fabric.answers(port) == {"four"}
    assert "removed: nothing" in selvage("release", "inventory")


# Overrides


def test_maintenance_survives_a_restart_of_haproxy_and_ends(fabric, four, selvage, tmp_path):
    port = fabric.service()
    fabric.reconcile()
    one = four[0]
    said = selvage("maint", "inventory", one.child, "--reason", "new disk", "--for", "2h")
    assert said == (
        f"{one.child} is in maintenance for inventory on this node, for 2 h or until:"
        f" selvage ready inventory {one.child}\n"
    )
    assert fabric.answers(port, 20) == {"two", "three", "four"}
    assert admin(fabric, one) == MAINTENANCE
    for command in (["status"], ["explain", "inventory"]):
        said = [line for line in selvage(*command).splitlines() if "maintenance" in line]
        (line,) = [line for line in said if one.child in line]
        assert "override for another" in line
        assert line.endswith(": new disk")

    assert " disabled check " in fabric.services_file
    fabric.haproxy.stop()
    fabric.haproxy.start()
    assert fabric.answers(port, 20) == {"two", "three", "four"}
    assert not fabric.reconcile().changed

    selvage("maint", "inventory", one.child, "--reason", "new disk", "--for", "2h")
    assert not fabric.reconcile().changed
    assert "is back in inventory" in selvage("ready", "inventory", one.child)
    assert fabric.answers(port, 20) == {"one", "two", "three", "four"}
    assert "disabled" not in fabric.services_file
    assert "nothing to do" in selvage("ready", "inventory", one.child)


def test_an_override_ends_by_itself(fabric, four, tmp_path):
    port = fabric.service()
    override = overrides.Override("inventory", four[0].server("inventory"), "disk", 2_000_000_000)
    overrides.put(tmp_path / "overrides", override, 0)
    joined = only(fabric.reconcile())
    assert four[0].server("inventory") in joined.kept + joined.added
    assert fabric.answers(port, 20) == {"two", "three", "four"}
    overrides.put(tmp_path / "overrides", replace(override, until=1_000_000_000), 0)
    assert only(fabric.reconcile()).changed == (four[0].server("inventory"),)
    assert fabric.answers(port, 20) == {"one", "two", "three", "four"}


def test_the_end_of_an_override_is_when_the_daemon_looks_again(fabric, four, tmp_path):
    fabric.service()
    until = int(time.time()) + 3_600
    override = overrides.Override("inventory", four[0].server("inventory"), "disk", until)
    overrides.put(tmp_path / "overrides", override, 0)
    children = {instance.child: b"" for instance in four}
    began = time.time()
    result = fabric.reconciler().run(lambda: {"inventory": children})
    assert until - time.time() <= result.look_s <= until - began


def test_maintenance_of_what_is_not_registered_is_said(fabric, four, selvage):
    port = fabric.service()
    five = fabric.instance("five")
    said = selvage("maint", "inventory", five.child, "--reason", "new disk", "--for", "2h")
    assert said.endswith("\nIt is not registered: it joins in maintenance.\n")
    fabric.register(five.child)
    fabric.reconcile()
    assert admin(fabric, five) == DISABLED
    assert fabric.answers(port, 20) == {"one", "two", "three", "four"}
    fabric.deregister(five.child)
    fabric.reconcile()
    assert "not registered" in selvage("ready", "inventory", five.child)


def test_bad_input_is_one_line_and_changes_nothing(fabric, four, selvage, tmp_path):
    fabric.service()
    fabric.reconcile()
    good = ("--reason", "new disk", "--for", "2h")
    one = four[0].child
    for arguments, message in (
        (("explain", "inventry"), "'inventry' is not in this node's catalogue; did you mean inv"),
        (("maint", "inventry", one, *good), "'inventry' is not in this node's catalogue"),
        (("maint", "inventory", "one", *good), "'one' is not an address and a port: expected"),
        (("maint", "inventory", one, "--reason", " ", "--for", "2h"), "reason: expected one line"),
        (("maint", "inventory", one, "--reason", "x", "--for", "2"), "for: expected a duration"),
        (("ready", "inventory", "one"), "'one' is not an address and a port: expected"),
        (("release", "inventry"), "'inventry' is not in this node's catalogue"),
    ):
        said = selvage(*arguments, code=2)
        assert said.startswith(f"selvage: {message}")
        assert said.count("\n") == 1
    assert not (tmp_path / "overrides").exists()
    assert not fabric.reconcile().changed


@pytest.fixture
def away(fabric):
    """Make the registry unreachable for who reconciles."""

    def leave():
        hosts = [f"127.0.0.1:{free_port()}"]
        fabric.document["registry"] |= {"hosts": hosts, "connect_timeout": "1s"}

    return leave


def test_overrides_begin_and_end_while_the_registry_is_away(fabric, four, selvage, away):
    port = fabric.service()
    fabric.reconcile()
    away()
    one = four[0]
    said = selvage("maint", "inventory", one.child, "--reason", "new disk", "--for", "2h")
    assert f"{one.child} is in maintenance for inventory on this node" in said
    assert "The registry is away: " in said
    assert admin(fabric, one) == MAINTENANCE
    assert " disabled check " in fabric.services_file
    assert fabric.answers(port, 20) == {"two", "three", "four"}
    assert "is back in inventory" in selvage("ready", "inventory", one.child)
    assert fabric.answers(port, 20) == {"one", "two", "three", "four"}
    assert "disabled" not in fabric.services_file


def test_the_daemon_heeds_overrides_while_the_registry_is_away(
    fabric, four, daemon, away, tmp_path
):
    port = fabric.service()
    fabric.reconcile()
    away()
    daemon.start()
    one = four[0].server("inventory")
    override = overrides.Override("inventory", one, "disk", 2_000_000_000)
    overrides.put(tmp_path / "overrides", override, 0)
    wait_for(lambda: admin(fabric, four[0]) == MAINTENANCE)
    assert fabric.answers(port, 20) == {"two", "three", "four"}
    overrides.remove(tmp_path / "overrides", one)
    wait_for(lambda: fabric.answers(port, 20) == {"one", "two", "three", "four"})
    assert "the registry is away" in daemon.log


def test_without_a_registry_only_overrides_are_seen_to(fabric, four, selvage, away):
    """What else the catalogue asks for waits, new services and new options too."""
    port = fabric.service()
    fabric.reconcile()
    before = fabric.services_file
    away()
    fabric.service("new")
    fabric.document["services"][0]["balance"] = "leastconn"
    selvage("maint", "inventory", four[0].child, "--reason", "new disk", "--for", "2h")
    assert admin(fabric, four[0]) == MAINTENANCE
    assert fabric.services_file.replace(" disabled check ", " check ") == before
    assert fabric.haproxy.reloads() == 1
    assert fabric.answers(port, 20) == {"two", "three", "four"}


def test_an_operators_word_waits_for_no_servers_that_drain(fabric, four, selvage):
    """Another service's sessions may last for hours."""
    fabric.service()
    port = fabric.service("orders", drain="1h")
    stays, leaves = fabric.instance("stays"), fabric.instance("leaves")
    fabric.register(leaves.child, service="orders")
    fabric.reconcile()
    client = hold(fabric, port, leaves, "orders")
    fabric.register(stays.child, service="orders")
    fabric.deregister(leaves.child, service="orders")
    selvage("maint", "inventory", four[0].child, "--reason", "new disk", "--for", "2h")
    selvage("ready", "inventory", four[0].child)
    selvage("release", "inventory")
    assert fabric.haproxy.servers("orders")[leaves.server("orders")]["srv_admin_state"] == DRAIN
    # Neither does cron's run, and that is no failure.
    result = reconcile(fabric.settings(), limits=replace(PATIENT, drains_s=0.0))
    assert result.problems == ()
    assert [service.draining for service in result.services] == [(), (leaves.server("orders"),)]
    leaves.release.set()
    client.join()
    assert not any(service.draining for service in fabric.reconcile().services)
    assert leaves.server("orders") not in fabric.haproxy.servers("orders")


def hold(fabric, port, instance, service):
    """A thread with a request that lasts until the instance is released."""
    instance.release.clear()
    client = threading.Thread(target=get, args=(port,))
    client.start()

    def busy():
        lines = fabric.haproxy.ask(f"show stat {service} 4 -1").split("\n")
        return [line for line in lines[1:] if line and line.split(",")[4] != "0"]

    wait_for(busy)
    return client


def test_root_leaves_nothing_of_its_own(fabric, four, selvage, tmp_path):
    owner = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    fabric.service()
    fabric.reconcile()
    for path in (*tmp_path.iterdir(), *fabric.haproxy.folder.iterdir()):
        os.chown(path, owner.pw_uid, owner.pw_gid)
    for path in (tmp_path, fabric.haproxy.folder):
        os.chown(path, owner.pw_uid, owner.pw_gid)
    for parent in tmp_path.parents[:2]:
        parent.chmod(0o755)
    selvage("maint", "inventory", four[0].child, "--reason", "new disk", "--for", "2h")
    assert admin(fabric, four[0]) == MAINTENANCE
    selvage("release", "inventory")
    found = {path: path.stat().st_uid for path in tmp_path.rglob("*")}
    del found[tmp_path / "reconciler.json"]
    assert set(found.values()) == {owner.pw_uid}
    assert tmp_path / "overrides" in found


# Drift


def test_a_server_that_a_hand_took_out_is_told_and_repaired(fabric, four):
    port = fabric.service()
    fabric.reconcile()
    name = four[0].server("inventory")
    fabric.haproxy.ask(f"set server inventory/{name} state maint")
    fabric.haproxy.ask(f"set server inventory/{four[1].server('inventory')} weight 0")
    planned = only(fabric.reconcile(dry_run=True))
    repaired = only(fabric.reconcile())
    assert repaired.drift == planned.drift
    assert sorted(repaired.drift) == sorted(
        [
            f"{name} was put into maintenance",
            f"{four[1].server('inventory')} was given the weight 0",
        ]
    )
    assert fabric.answers(port, 20) == {"one", "two", "three", "four"}
    assert only(fabric.reconcile()).drift == ()


@pytest.mark.parametrize(
    ("command", "state", "reloads"),
    [
        ("disable frontend inventory", "disabled", False),
        ("shutdown frontend inventory", "shut down", True),
        ("set maxconn frontend inventory 0", "given the limit 0", True),
    ],
)
def test_a_service_that_a_hand_stopped_is_told_and_takes_connections_again(
    fabric, four, selvage, command, state, reloads
):
    port = fabric.service()
    fabric.reconcile()
    fabric.haproxy.ask(command)
    drift = f"inventory was {state} and takes no connections"
    assert f"\ndrift: {drift}; the next pass repairs it\n" in selvage("explain", "inventory")
    assert (
        selvage("status")
        .splitlines()[0]
        .endswith(f"  4 up, but the frontend was {state} and takes no connections")
    )
    planned = fabric.reconcile(dry_run=True)
    assert planned.commands == (("reload",) if reloads else ("enable frontend inventory",))
    repaired = fabric.reconcile()
    assert only(repaired).drift == only(planned).drift == (drift,)
    assert repaired.reloaded == reloads
    assert repaired.commands == planned.commands
    names = {instance.name for instance in four}
    # A worker that was stopped may hold its port until it has ended.
    wait_for(lambda: fabric.answers(port, 20) == names)
    assert fabric.answers(port, 40) == names
    assert not fabric.reconcile().changed
    assert "\nHAProxy runs what is wanted.\n" in selvage("explain", "inventory")


def test_an_edited_services_file_is_told_and_put_right(fabric, four, selvage):
    port = fabric.service()
    fabric.reconcile()
    before = fabric.services_file
    path = fabric.haproxy.services_config
    path.write_text(before.replace("balance roundrobin", "balance leastconn"))
    edited = "inventory was edited in the services file"
    assert only(fabric.reconcile(dry_run=True)).drift == (edited,)
    assert edited in selvage("explain", "inventory")
    assert only(fabric.reconcile()).drift == (edited,)
    assert fabric.services_file == before
    path.write_text("".join(line for line in before.splitlines(True) if four[0].child not in line))
    (drift,) = only(fabric.reconcile()).drift
    assert drift == f"{four[0].server('inventory')} was taken out of the services file"
    assert fabric.services_file == before
    assert fabric.answers(port, 20) == {"one", "two", "three", "four"}


@pytest.mark.parametrize("how", ["removed", "edited"])
def test_a_reload_that_no_service_needs_waits_and_is_not_forgotten(fabric, four, how, tmp_path):
    """Meanwhile the file is right, and all services are reconciled."""
    fabric.service()
    fabric.service("orders")
    fabric.document["reload_interval"] = "10m"
    fabric.reconcile()
    if how == "removed":
        del fabric.document["services"][1]
    else:
        path = fabric.haproxy.services_config
        path.write_text(fabric.services_file.replace("balance roundrobin", "balance leastconn"))
    fabric.deregister(four[0].child)
    content = {"inventory": {instance.child: b"" for instance in four[1:]}, "orders": {}}
    reconciler = fabric.reconciler()
    result = reconciler.run(lambda: content)
    assert not result.reloaded
    assert [service.held for service in result.services if service.held] == []
    assert "leastconn" not in fabric.services_file
    assert four[0].child not in fabric.services_file
    assert result.again_s is not None

    # Ten minutes later.
    path = tmp_path / "memory.json"
    memory = json.loads(path.read_text())
    path.write_text(json.dumps(memory | {"reloaded_at": memory["reloaded_at"] - 600}))
    assert reconciler.run(lambda: content, whole=False).reloaded
    assert not fabric.reconcile().changed


# Tiers


def registered(instance, weight, zone):
    """The znode as the registrar writes it: name and data."""
    data = {"host": "127.0.0.1", "port": instance.port, "name": instance.name, "weight": weight}
    return f"{instance.name}_{instance.port}", json.dumps(
        data | {"labels": {"zone": zone}}
    ).encode()


def shares(port, requests):
    """How many requests each instance answered."""
    return Counter(get(port) for _ in range(requests))


def test_a_canary_gets_its_share_and_more_at_runtime(fabric):
    port = fabric.service()
    stable, canary = fabric.instance("stable"), fabric.instance("canary")
    fabric.register(*registered(stable, 19, "a"))
    fabric.register(*registered(canary, 1, "a"))
    fabric.reconcile()
    assert 9 <= shares(port, 200)["canary"] <= 11
    child, data = registered(canary, 19, "a")
    fabric.client.set(f"{fabric.root}/inventory/{child}", data)
    assert fabric.reconcile().commands == (
        f"set server inventory/{canary.server('inventory')} weight 19",
    )
    assert 99 <= shares(port, 200)["canary"] <= 101


def test_other_zones_are_a_reserve_or_get_a_share(fabric):
    """One instance nearby, two elsewhere."""
    zone = {"others": "backup"}
    port = fabric.service(zone=zone)
    fabric.document["zone"] = "a"
    near, far, further = (fabric.instance(name) for name in ("near", "far", "further"))
    fabric.register(*registered(near, 1, "a"))
    fabric.register(*registered(far, 1, "b"))
    fabric.register(*registered(further, 1, "b"))
    fabric.reconcile()
    assert shares(port, 20) == {"near": 20}
    near.healthy = False
    wait_for(lambda: "near" not in shares(port, 4))
    # Both of them, and not the first alone.
    assert shares(port, 20) == {"far": 10, "further": 10}

    near.healthy = True
    zone |= {"others": "weighted", "weight": 25}
    fabric.reconcile()
    wait_for(lambda: shares(port, 6).keys() == {"near", "far", "further"})
    counts = shares(port, 120)
    assert 78 <= counts["near"] <= 82
    assert 19 <= counts["far"] <= 21
    assert not fabric.reconcile().changed


# Explain


def test_explain_with_a_held_a_refused_and_a_draining_instance(fabric, four, selvage):
    fabric.service("another")
    port = fabric.service(drain="10m", guards={"max_loss": 50, "window": "1h"})
    fabric.register("198.18.0.300:8080")
    fabric.reconcile()
    one, two, three, four_ = four
    with busy(fabric, port, four):
        fabric.deregister(four_.child)
        runner = threading.Thread(target=fabric.reconcile)
        runner.start()
        wait_for(lambda: admin(fabric, four_) == DRAIN)
        for instance in (one, two):
            fabric.deregister(instance.child)
        lines = selvage("explain", "inventory").splitlines()
    runner.join()
    assert lines[:6] == [
        f"inventory  127.0.0.1:{port}  http",
        "held: 3 of 4 would be lost within 3600 s, and guards.max_loss is 50 %",
        "  It ends when enough instances are registered again, or at your word:",
        "  selvage release inventory",
        "",
        "registered: 1 taken, 1 refused",
    ]
    verdicts = {line.split()[0]: line.split("  ", 2)[2] for line in lines[6:8]}
    assert verdicts[three.child].endswith(f"{three.child}, weight 1")
    assert "refused: 198.18.0.300:8080: is not an IP address" in verdicts["198.18.0.300:8080"]
    servers = {line.split()[0]: line for line in lines[10:]}
    assert servers.keys() == {instance.child for instance in four}
    for instance in (one, two):
        assert servers[instance.child].endswith("  held: no longer registered")
    assert servers[three.child].endswith("  up, 1 session")
    assert servers[four_.child].endswith(
        "  draining, 1 session  left: its sessions have 10 min, then it is deleted"
    )


def test_explain_names_who_is_not_registered_and_shows_anybodys_words_harmlessly(
    fabric, four, selvage
):
    fabric.service()
    fabric.reconcile()
    registry, notes = fabric.client, f"{fabric.root}.notes/inventory"
    words = {
        "db2_3306": b"replication stopped: 1950: out of order",
        four[0].child: b"it is registered by now",
        "evil_1": b"\x1b[2J\n  db1_3306  fine" + b"x" * 1_000,
        "large_1": b"x" * 100_000,
    }
    for child, text in words.items():
        registry.create(f"{notes}/{child}", text, makepath=True)
    lines = selvage("explain", "inventory").splitlines()
    at = lines.index("not registered, as the registrars there say:")
    assert lines[at + 1] == "  db2_3306  replication stopped: 1950: out of order"
    assert lines[at + 2].startswith(r"  evil_1    \x1b[2J\n  db1_3306  fine")
    assert len(lines[at + 2]) < 230
    assert lines[at + 3] == ""
    assert "registered: 4 taken" in lines
    assert fabric.reconcile().services[0].changed == ()
    for made in [registry.create_async(f"{notes}/more_{number}") for number in range(1_000)]:
        made.get(60)
    said = selvage("explain", "inventory")
    assert f"problem: why others are not registered is not shown: {notes} has too many" in said
    registry.delete(notes.rpartition("/")[0], recursive=True)


def test_explain_while_others_are_away_and_it_changes_nothing(fabric, four, selvage, tmp_path):
    port = fabric.service()
    fabric.reconcile()
    before = sorted(tmp_path.iterdir()), fabric.services_file, states(fabric)
    assert "\nHAProxy runs what is wanted.\n" in selvage("explain", "inventory")
    hosts = fabric.document["registry"]["hosts"]
    fabric.document["registry"] |= {"hosts": [f"127.0.0.1:{free_port()}"], "connect_timeout": "1s"}
    said = selvage("explain", "inventory")
    assert "\nheld: its registrations are not known: the registry at 127.0.0.1:" in said
    assert said.count("  up\n") == 4
    fabric.document["registry"]["hosts"] = hosts
    after = sorted(tmp_path.iterdir()), fabric.services_file, states(fabric)
    assert set(after[0]) - set(before[0]) == {tmp_path / "reconciler.json"}
    assert after[1:] == before[1:]

    fabric.haproxy.stop()
    said = selvage("explain", "inventory")
    assert "is HAProxy running? It starts with what is wanted below." in said
    assert said.count("  weight 1  -\n") == 4
    assert get(port) == "ConnectionRefusedError"


def test_explain_a_service_that_haproxy_refuses(fabric, selvage):
    fabric.service()
    fabric.reconcile()
    fabric.document["services"][0]["check"]["interval"] = "200ms"
    said = selvage("explain", "inventory")
    assert "\npending: a reload of HAProxy (changed options)" in said
    assert "left as it was" not in said
    (fabric.haproxy.folder / "haproxy.cfg").write_text("nonsense\n")
    said = selvage("explain", "inventory")
    assert "\nleft as it was: " in said
    assert "unknown keyword 'nonsense'" in said


def test_explain_a_service_whose_port_is_taken(fabric, selvage):
    port = fabric.service()
    with socket.create_server(("127.0.0.1", port)):
        said = selvage("explain", "inventory")
    assert f"\nleft as it was: another program listens on 127.0.0.1:{port}\n" in said
    assert "left as it was" not in selvage("explain", "inventory")
