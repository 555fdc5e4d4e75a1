"""Passes of the reconciler against a real registry and a real HAProxy."""

from __future__ import annotations

import gc
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

import pytest
from kazoo.security import make_digest_acl
from passes import passes

from programs import free_port, get, wait_for
from selvage.haproxy import services_file
from selvage.haproxy.master import Master
from selvage.haproxy.runtime import Runtime
from selvage.haproxy.sections import NOTHING, Section
from selvage.haproxy.servers import Server
from selvage.haproxy.socket import HAProxyUnavailable
from selvage.reconciler.passes import Limits
from selvage.reconciler.prober import Prober
from selvage.registry.connection import RegistryUnavailable
from selvage.system import lock

DRAIN = "8"  # srv_admin_state
MODULES = Path(__file__).parents[2] / "module_utils"


def only(result):
    """The one service of a result that has no problems."""
    assert result.problems == ()
    (service,) = result.services
    return service


def test_join_and_leave_without_a_reload(fabric):
    port = fabric.service()
    one, two = fabric.instance("one"), fabric.instance("two")
    fabric.register(one.child)
    first = fabric.reconcile()
    assert only(first).added == (one.server("inventory"),)
    assert first.reloaded
    assert fabric.answers(port) == {"one"}

    reloads = fabric.haproxy.reloads()
    fabric.register(two.child)
    assert only(fabric.reconcile()).added == (two.server("inventory"),)
    assert fabric.answers(port) == {"one", "two"}
    assert two.server("inventory") in fabric.services_file

    fabric.deregister(one.child)
    assert only(fabric.reconcile()).removed == (one.server("inventory"),)
    assert fabric.answers(port) == {"two"}
    assert fabric.haproxy.servers("inventory").keys() == {two.server("inventory")}
    assert one.server("inventory") not in fabric.services_file
    assert fabric.haproxy.reloads() == reloads


def test_a_second_run_changes_nothing(fabric):
    fabric.service()
    fabric.service("empty")
    fabric.register(fabric.instance("one").child)
    fabric.register("127.0.0.1:9", service="other")
    assert fabric.reconcile().changed
    written = fabric.haproxy.services_config.stat().st_mtime_ns
    second = fabric.reconcile()
    assert not second.changed
    assert second.commands == ()
    assert fabric.haproxy.services_config.stat().st_mtime_ns == written


def test_weight_and_limit_change_at_runtime(fabric):
    fabric.service()
    one = fabric.instance("one")
    data = {"host": "127.0.0.1", "port": one.port, "name": "one", "weight": 3}
    fabric.register("one_0000000001", json.dumps(data).encode())
    fabric.reconcile()
    reloads = fabric.haproxy.reloads()

    data |= {"weight": 9, "haproxy_server_options": "maxconn 77"}
    fabric.client.set(f"{fabric.root}/inventory/one_0000000001", json.dumps(data).encode())
    assert only(fabric.reconcile()).changed == (one.server("inventory"),)
    assert fabric.haproxy.servers("inventory")[one.server("inventory")]["srv_uweight"] == "9"
    assert "weight 9 maxconn 77" in fabric.services_file
    assert not fabric.reconcile().changed
    assert fabric.haproxy.reloads() == reloads


def test_an_option_that_is_fixed_at_birth_replaces_the_server(fabric):
    port = fabric.service()
    one, two = fabric.instance("one"), fabric.instance("two")
    fabric.register(two.child)
    data = {"host": "127.0.0.1", "port": one.port, "name": "one"}
    fabric.register("one_0000000001", json.dumps(data).encode())
    fabric.reconcile()
    data["haproxy_server_options"] = "backup"
    fabric.client.set(f"{fabric.root}/inventory/one_0000000001", json.dumps(data).encode())
    planned, done = fabric.reconcile(dry_run=True), fabric.reconcile()
    assert only(done) == only(planned)
    assert only(done).changed == (one.server("inventory"),)
    assert only(done).drift == ()
    # A removal is repeated while HAProxy still closes its connections.
    assert [*dict.fromkeys(done.commands)] == [*planned.commands]
    assert fabric.answers(port) == {"two"}
    assert not fabric.reconcile().changed


def test_the_only_server_becomes_a_backup_without_a_gap(fabric):
    """While it was replaced at runtime nobody would answer, for as long as its sessions last."""
    port = fabric.service()
    fabric.document["reload_interval"] = "100ms"
    one = fabric.instance("one")
    data = {"host": "127.0.0.1", "port": one.port, "name": "one"}
    fabric.register("one_0000000001", json.dumps(data).encode())
    fabric.reconcile()
    client, answers = held_request(fabric, port, one)
    data["haproxy_server_options"] = "backup"
    fabric.client.set(f"{fabric.root}/inventory/one_0000000001", json.dumps(data).encode())
    runner = threading.Thread(target=fabric.reconcile)
    runner.start()
    wait_for(lambda: " backup " in fabric.services_file)
    assert {get(port, "/health") for _ in range(20)} == {""}
    one.release.set()
    runner.join()
    client.join()
    assert answers == ["one"]
    assert not fabric.reconcile().changed


def test_a_dead_instance_joins_down_and_hinders_nobody(fabric):
    port = fabric.service()
    one, sick, new = (fabric.instance(name) for name in ("one", "sick", "new"))
    fabric.register(one.child)
    fabric.reconcile()
    sick.healthy = False
    fabric.register(sick.child)
    fabric.register(new.child)
    fabric.reconcile()
    assert fabric.answers(port) == {"one", "new"}
    assert not fabric.reconcile().changed
    sick.healthy = True
    wait_for(lambda: fabric.answers(port) == {"one", "sick", "new"})


def test_a_dead_instance_of_a_new_service_gets_no_traffic(fabric, monkeypatch):
    """HAProxy starts the servers in its file UP, and spreads their first checks over a minute."""
    port = fabric.service(check={"interval": "1m"})
    one, *dead = (fabric.instance(name) for name in ("one", "a", "b", "c", "d"))
    for instance in dead:
        instance.healthy = False
        fabric.register(instance.child)
    fabric.register(one.child)
    planned = fabric.reconcile(dry_run=True)
    # However fast HAProxy reloads, the instances have said how they are.
    probes, start, reload = [], Prober.start, Master.reload
    monkeypatch.setattr(Prober, "start", lambda *given: probes.append(start(*given)) or probes[-1])
    monkeypatch.setattr(
        Master,
        "reload",
        lambda *given: wait([probe.future for probe in probes]) and reload(*given),
    )
    result = fabric.reconcile()
    assert result.reloaded
    assert len(probes) == 5
    assert result.commands == planned.commands
    up = {n for n, s in fabric.haproxy.servers("inventory").items() if s["srv_op_state"] != "0"}
    assert up == {one.server("inventory")}
    assert fabric.answers(port) == {"one"}


def test_an_unreachable_registry_changes_nothing(fabric):
    port = fabric.service()
    fabric.register(fabric.instance("one").child)
    fabric.reconcile()
    before = fabric.services_file
    fabric.document["registry"] |= {
        "hosts": [f"127.0.0.1:{free_port()}"],
        "connect_timeout": "300ms",
    }
    match = r"^the registry at \S+ cannot be reached within 0.3 s; HAProxy goes on with"
    with pytest.raises(RegistryUnavailable, match=match):
        fabric.reconcile()
    assert fabric.services_file == before
    assert fabric.answers(port) == {"one"}


def test_an_empty_service_is_held_unless_it_may_be_empty(fabric):
    port = fabric.service()
    one = fabric.instance("one")
    fabric.register(one.child)
    fabric.reconcile()
    fabric.deregister(one.child)
    held = fabric.reconcile()
    assert "allow_empty" in only(held).held
    assert not held.changed
    assert fabric.answers(port) == {"one"}

    fabric.document["services"][0]["guards"] = {"allow_empty": True}
    assert only(fabric.reconcile()).removed == (one.server("inventory"),)
    assert fabric.haproxy.servers("inventory") == {}
    assert fabric.answers(port) == {"HTTP 503"}


def test_a_deleted_service_znode_is_empty_and_held(fabric):
    port = fabric.service()
    one = fabric.instance("one")
    fabric.register(one.child)
    fabric.reconcile()
    fabric.client.delete(f"{fabric.root}", recursive=True)
    assert only(fabric.reconcile()).held
    assert fabric.answers(port) == {"one"}


def test_a_service_that_may_not_be_read_is_held_and_the_others_go_on(fabric):
    port = fabric.service()
    fabric.register(fabric.instance("one").child)
    fabric.service("secret")
    fabric.register("127.0.0.1:9", service="secret")
    acl = [make_digest_acl("someone", "else", all=True)]
    fabric.client.set_acls(f"{fabric.root}/secret", acl)
    inventory, secret = fabric.reconcile().services
    assert inventory.added
    assert "reading is not allowed" in secret.held
    assert fabric.answers(port) == {"one"}


def test_a_dry_run_changes_nothing_and_lists_the_commands(fabric, tmp_path):
    port = fabric.service()
    one, two = fabric.instance("one"), fabric.instance("two")
    fabric.register(one.child)
    first = fabric.reconcile(dry_run=True)
    assert first.commands == ("reload",)
    assert first.after != first.before == fabric.services_file == ""
    assert not (tmp_path / "lock").exists()

    fabric.reconcile()
    fabric.register(two.child)
    fabric.deregister(one.child)
    before = fabric.services_file, fabric.haproxy.servers("inventory").keys()
    folder = sorted(path.name for path in fabric.haproxy.folder.iterdir())
    version = fabric.client.get(f"{fabric.root}/inventory")[1]
    result = fabric.reconcile(dry_run=True)
    assert result.changed
    joins, drains, leaves = result.commands
    assert joins.startswith(f"add server inventory/{two.server('inventory')} 127.0.0.1:")
    assert drains == f"set server inventory/{one.server('inventory')} state drain"
    assert leaves.endswith(f"; del server inventory/{one.server('inventory')}")
    assert (fabric.services_file, fabric.haproxy.servers("inventory").keys()) == before
    assert sorted(path.name for path in fabric.haproxy.folder.iterdir()) == folder
    assert fabric.client.get(f"{fabric.root}/inventory")[1] == version
    assert fabric.answers(port) == {"one"}

    # What it listed is what a run does.
    commands = fabric.reconcile().commands
    assert list(dict.fromkeys(commands)) == list(result.commands)


@pytest.mark.parametrize(
    ("child", "data"),
    [
        ("127.0.0.1;add", b""),
        ("127.0.0.1:80 backup", b""),
        ("evil_0000000001", b'{"host":"127.0.0.1\\nlisten x","port":1,"name":"e"}'),
        ("evil_0000000001", b'{"host":"127.0.0.1","port":"80; shutdown","name":"e"}'),
        (
            "evil_0000000001",
            b'{"host":"127.0.0.1","port":80,"name":"e","haproxy_server_options":"check\\nglobal"}',
        ),
        ("evil_0000000001", b"\xff\xfe"),
        ("evil_0000000001", b"x" * 70_000),
    ],
)
def test_a_hostile_registration_harms_only_itself(fabric, child, data):
    port = fabric.service()
    one, two = fabric.instance("one"), fabric.instance("two")
    fabric.register(one.child)
    fabric.register(child, data)
    result = fabric.reconcile()
    assert len(only(result).refused) == 1
    assert only(result).refused[0].reason
    assert fabric.answers(port) == {"one"}
    fabric.register(two.child)
    fabric.reconcile()
    assert fabric.answers(port) == {"one", "two"}
    assert fabric.haproxy.servers("inventory").keys() == {
        one.server("inventory"),
        two.server("inventory"),
    }


def test_a_restarted_haproxy_comes_back_with_the_same_servers(fabric):
    port = fabric.service()
    one, two = fabric.instance("one"), fabric.instance("two")
    fabric.register(one.child)
    fabric.reconcile()
    fabric.register(two.child)
    fabric.reconcile()
    fabric.haproxy.stop()
    fabric.haproxy.start()
    assert fabric.answers(port) == {"one", "two"}
    assert not fabric.reconcile().changed


def test_haproxy_away_gets_its_file_for_the_next_start(fabric):
    port = fabric.service()
    one, two = fabric.instance("one"), fabric.instance("two")
    fabric.register(one.child)
    fabric.reconcile()
    fabric.haproxy.stop()
    fabric.register(two.child)
    result = fabric.reconcile()
    assert result.changed
    (problem,) = result.problems
    assert "is HAProxy running?" in problem
    assert "\n" not in problem
    fabric.haproxy.start()
    assert fabric.answers(port) == {"one", "two"}


@pytest.mark.parametrize("killed_before", ["execute", "reload"])
def test_killed_between_persist_and_apply(fabric, tmp_path, killed_before):
    """A kill -9 leaves a file that HAProxy does not run yet; the next pass repairs that."""
    port = fabric.service()
    one, two = fabric.instance("one"), fabric.instance("two")
    fabric.register(one.child)
    if killed_before == "execute":
        fabric.reconcile()
    fabric.register(two.child)
    (tmp_path / "reconciler.json").write_text(json.dumps(fabric.document))
    script = f"""
import os, signal
from pathlib import Path
from selvage.haproxy.master import Master
from selvage.haproxy.runtime import Runtime
from selvage.reconciler import reconcile, settings
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
Runtime.execute = Master.reload = die
reconcile.reconcile(settings.load(Path({str(tmp_path)!r}, "reconciler.json")))
"""
    ended = subprocess.run([sys.executable, "-c", script], cwd=MODULES, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert two.server("inventory") in fabric.services_file
    assert two.server("inventory") not in fabric.haproxy.servers("inventory")

    assert fabric.reconcile().problems == ()
    assert fabric.answers(port) == {"one", "two"}
    assert not fabric.reconcile().changed


def test_killed_after_adding_in_maintenance(fabric):
    port = fabric.service()
    one, two = fabric.instance("one"), fabric.instance("two")
    fabric.register(one.child)
    fabric.reconcile()
    fabric.register(two.child)
    add = fabric.reconcile(dry_run=True).commands[0].split(";")[0]
    assert "registered" in fabric.haproxy.ask(add)
    fabric.reconcile()
    assert fabric.answers(port) == {"one", "two"}


def test_a_new_service_is_confirmed_and_keeps_the_others(fabric):
    first = fabric.service()
    fabric.register(fabric.instance("one").child)
    fabric.reconcile()
    second = fabric.service("orders", mode="tcp")
    fabric.register(fabric.instance("two").child, service="orders")
    result = fabric.reconcile()
    assert result.reloaded
    assert result.problems == ()
    # Confirmed means now: the new worker serves.
    assert get(second) == "two"
    assert get(first) == "one"

    del fabric.document["services"][0]
    assert fabric.reconcile().reloaded
    # The former worker is about to leave.
    wait_for(lambda: get(first) == "ConnectionRefusedError")
    assert get(second) == "two"
    assert not fabric.reconcile().changed


def test_a_reload_waits_until_the_new_worker_answers(fabric, monkeypatch):
    """While both workers run, the former one may take a connection: HAProxy does that rarely."""
    process, former = Runtime.process, [1, 1, 1]
    monkeypatch.setattr(Runtime, "process", lambda self: former.pop() if former else process(self))
    fabric.service()
    assert fabric.reconcile().reloaded
    assert former == []


@contextmanager
def taken_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_service_whose_port_is_taken_harms_only_itself(fabric):
    port = fabric.service()
    one, two = fabric.instance("one"), fabric.instance("two")
    fabric.register(one.child)
    fabric.reconcile()
    fabric.register(two.child)
    fabric.service("zebra")
    other = fabric.service("orders")
    fabric.register(two.child, service="orders")
    with taken_port() as taken:
        fabric.document["services"][1]["port"] = taken
        result = fabric.reconcile()
        assert result.problems == (
            f"zebra: left as it was: another program listens on 127.0.0.1:{taken}",
        )
        assert fabric.answers(port) == {"one", "two"}
        assert fabric.answers(other) == {"two"}
        assert "listen zebra" not in fabric.services_file
        assert not fabric.reconcile().changed
    result = fabric.reconcile()
    assert result.problems == ()
    assert "listen zebra" in fabric.services_file


def test_a_service_that_cannot_move_keeps_its_port(fabric):
    """HAProxy would listen twice on it, and give the requests for one service to the other."""
    ports = [fabric.service(name) for name in ("one", "two", "three")]
    instances = [fabric.instance(name) for name in ("one", "two", "three")]
    for instance in instances:
        fabric.register(instance.child, service=instance.name)
    fabric.reconcile()
    with taken_port() as taken:
        for service, port in zip(fabric.document["services"], [taken, *ports], strict=False):
            service["port"] = port
        result = fabric.reconcile()
        assert result.problems == (
            f"one: left as it was: another program listens on 127.0.0.1:{taken}",
            f"two: left as it was: one, which stays as it was, has 127.0.0.1:{ports[0]}",
            f"three: left as it was: two, which stays as it was, has 127.0.0.1:{ports[1]}",
        )
        kept = {service.name: service.kept for service in result.services}
        assert kept == {i.name: (i.server(i.name),) for i in instances}
        assert [fabric.answers(port) for port in ports] == [{"one"}, {"two"}, {"three"}]
    assert fabric.reconcile().problems == ()
    assert [fabric.answers(port) for port in ports[:2]] == [{"two"}, {"three"}]


def test_a_service_that_haproxy_refuses_harms_only_itself(fabric, monkeypatch):
    """The catalogue's grammar lets nothing through that HAProxy refuses, so the grammar is cut."""
    port = fabric.service()
    one, two = fabric.instance("one"), fabric.instance("two")
    fabric.register(one.child)
    fabric.service("bad")
    fabric.reconcile()
    section = fabric.services_file[fabric.services_file.index("listen bad") :]
    other = fabric.service("orders")
    fabric.register(two.child)
    fabric.register(two.child, service="orders")
    settings = fabric.settings()
    bad = next(service for service in settings.services if service.name == "bad")
    object.__setattr__(bad, "balance", "bogus")
    monkeypatch.setattr(fabric, "settings", lambda: settings)
    result = fabric.reconcile()
    (problem,) = result.problems
    assert problem.startswith("bad: left as it was: ")
    assert "balance only supports" in problem
    assert fabric.answers(port) == {"one", "two"}
    assert fabric.answers(other) == {"two"}
    assert section.split("\n\n")[0] in fabric.services_file
    assert not fabric.reconcile().changed


def test_two_hundred_services_that_haproxy_rejects_take_few_checks(fabric, monkeypatch):
    """It names 50 of them at once; the catalogue's grammar is cut, because it lets none through."""
    port = fabric.service()
    one = fabric.instance("one")
    fabric.register(one.child)
    for number in range(200):
        fabric.service(f"bad{number}")
    settings = fabric.settings()
    for service in settings.services:
        if service.name.startswith("bad"):
            object.__setattr__(service, "balance", "bogus")
    monkeypatch.setattr(fabric, "settings", lambda: settings)
    checks, run = [], subprocess.run
    monkeypatch.setattr(
        subprocess, "run", lambda *given, **more: checks.append(given) or run(*given, **more)
    )
    (problem,) = fabric.reconcile().problems
    assert "bad0, bad1, bad10" in problem
    assert "balance only supports" in problem
    assert fabric.answers(port) == {"one"}
    assert len(checks) <= 8


def test_a_rejected_service_follows_its_registrations_with_the_options_it_has(fabric):
    port = fabric.service(check={"interval": "5m"})
    one, two = fabric.instance("one"), fabric.instance("two")
    fabric.register(one.child)
    fabric.reconcile()
    reloads = fabric.haproxy.reloads()
    with taken_port() as taken:
        fabric.document["services"][0] |= {"port": taken, "check": {"interval": "4m"}}
        fabric.register(two.child)
        result = fabric.reconcile()
        assert result.problems == (
            f"inventory: left as it was: another program listens on 127.0.0.1:{taken}",
        )
        assert result.services[0].held == f"another program listens on 127.0.0.1:{taken}"
        assert fabric.answers(port) == {"one", "two"}
        assert fabric.services_file.count("inter 300000ms") == 2
        fabric.deregister(one.child)
        fabric.reconcile()
        assert fabric.answers(port) == {"two"}
        assert not fabric.reconcile().changed
        assert fabric.haproxy.reloads() == reloads
        # What HAProxy runs it would also start with.
        fabric.haproxy.stop()
        fabric.haproxy.start()
        assert fabric.answers(port) == {"two"}
    assert fabric.reconcile().problems == ()
    assert fabric.answers(taken) == {"two"}


def test_a_rejected_service_follows_while_the_daemon_looks_at_it_alone(fabric, daemon):
    port = fabric.service()
    one, two = fabric.instance("one"), fabric.instance("two")
    fabric.register(one.child)
    fabric.reconcile()
    with taken_port() as taken:
        fabric.document["services"][0]["port"] = taken
        daemon.start()
        wait_for(lambda: "another program listens" in daemon.log)
        fabric.register(two.child)
        wait_for(lambda: fabric.answers(port) == {"one", "two"})


@pytest.mark.parametrize("more", [True, False])
def test_what_is_broken_elsewhere_forbids_the_reload_and_nothing_else(fabric, more):
    """Whether a service needs it, or only one that left the catalogue."""
    fabric.document["reload_interval"] = "100ms"
    port, left = fabric.service(), fabric.service("left")
    one, two = fabric.instance("one"), fabric.instance("two")
    fabric.register(one.child)
    fabric.register(one.child, service="left")
    fabric.reconcile()
    config = fabric.haproxy.folder / "haproxy.cfg"
    good, reloads = config.read_text(), fabric.haproxy.reloads()
    config.write_text(good + "    bogus\n")
    del fabric.document["services"][1]
    if more:
        fabric.service("new")
    fabric.register(two.child)
    for _ in range(3):
        (problem,) = fabric.reconcile().problems
        assert problem.startswith(f"{'new' if more else 'reload'}: left as it was: ")
        assert "haproxy.cfg" in problem
        assert "bogus" in problem
        assert fabric.haproxy.reloads() == reloads
        assert "listen left" in fabric.services_file
        assert "listen new" not in fabric.services_file
        assert fabric.answers(port) == {"one", "two"}
        assert fabric.answers(left) == {"one"}
    config.write_text(good)
    assert fabric.reconcile().problems == ()
    assert fabric.haproxy.reloads() == reloads + 1
    assert "listen left" not in fabric.services_file
    assert ("listen new" in fabric.services_file) == more


def test_a_complaint_about_another_file_is_told_as_it_is(fabric):
    for number in range(4):
        fabric.service(f"s{number}")
    config = fabric.haproxy.folder / "haproxy.cfg"
    config.write_text(config.read_text() + "    bogus\n")
    (problem,) = fabric.reconcile().problems
    assert problem.startswith("s0, s1, s2, s3: left as it was: ")
    assert "haproxy.cfg" in problem
    assert "bogus" in problem


def test_a_reload_that_fails_is_rolled_back(fabric, monkeypatch):
    """`haproxy -c` accepts a port that is taken: without our own look the reload fails."""
    port = fabric.service()
    one, two = fabric.instance("one"), fabric.instance("two")
    fabric.register(one.child)
    fabric.reconcile()
    monkeypatch.setattr("selvage.haproxy.validation.occupied", lambda _: None)
    fabric.register(two.child)
    fabric.service("bad")
    with taken_port() as taken:
        fabric.document["services"][1]["port"] = taken
        result = fabric.reconcile()
    (problem,) = result.problems
    assert problem.startswith("bad: left as it was: ")
    assert not result.reloaded
    assert "listen bad" not in fabric.services_file
    assert fabric.answers(port) == {"one", "two"}
    fabric.haproxy.stop()
    fabric.haproxy.start()
    assert fabric.answers(port) == {"one", "two"}


def test_changes_leave_nothing_behind_in_memory(fabric):
    """The file's sections, and the servers in them, are all that there is of either."""
    fabric.service()
    fabric.service("orders")
    one, two, other = (fabric.instance(name) for name in ("one", "two", "other"))
    reconciler = fabric.reconciler()

    def change(number):
        data = f'{{"host":"127.0.0.1","port":{one.port},"weight":{1 + number % 200}}}'
        found = {"one": data.encode(), two.child: b""} if number % 3 else {"one": data.encode()}
        passes(reconciler, {"inventory": found, "orders": {other.child: b""}})

    def kept():
        gc.collect()
        return Counter(
            type(o).__name__ for o in gc.get_objects() if isinstance(o, Section | Server)
        )

    for number in range(10):
        change(number)
    before = kept()
    for number in range(10, 100):
        change(number)
    assert kept() == before
    assert before["Section"] == len(fabric.settings().services) + len([NOTHING])


def test_concurrent_runs_take_turns(fabric):
    port = fabric.service()
    instances = [fabric.instance(f"i{number}") for number in range(6)]
    fabric.register(instances[0].child)
    fabric.reconcile()
    for instance in instances[1:]:
        fabric.register(instance.child)
    fabric.deregister(instances[0].child)
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(fabric.reconcile())) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result.problems for result in results] == [()] * 4
    assert sum(bool(result.services[0].added) for result in results) == 1
    assert fabric.answers(port) == {"i1", "i2", "i3", "i4", "i5"}
    assert not fabric.reconcile().changed


def test_a_lock_that_is_held_is_told(fabric, tmp_path):
    reconciler = fabric.reconciler(Limits(lock_s=0.1))
    with (
        lock.held(tmp_path / "lock", 1, create=True),
        pytest.raises(lock.Locked, match="another reconciler is still at work"),
    ):
        reconciler.run(dict)


def test_sessions_end_before_their_server_goes(fabric):
    port = fabric.service(drain="1h")
    one, two = fabric.instance("one"), fabric.instance("two")
    fabric.register(one.child)
    fabric.reconcile()
    client, answers = held_request(fabric, port, one)
    fabric.register(two.child)
    fabric.deregister(one.child)
    runner = threading.Thread(target=fabric.reconcile)
    runner.start()
    name = one.server("inventory")
    wait_for(lambda: fabric.haproxy.servers("inventory")[name]["srv_admin_state"] == DRAIN)
    assert fabric.answers(port) == {"two"}
    time.sleep(1.5)  # for some more passes
    assert one.server("inventory") in fabric.haproxy.servers("inventory")
    one.release.set()
    client.join()
    runner.join()
    assert answers == ["one"]
    assert one.server("inventory") not in fabric.haproxy.servers("inventory")


def test_an_instance_that_returns_while_it_drains_keeps_its_sessions(fabric):
    port = fabric.service()
    one, two = fabric.instance("one"), fabric.instance("two")
    fabric.register(one.child)
    fabric.reconcile()
    client, answers = held_request(fabric, port, one)
    reconciler, content = fabric.reconciler(), {"inventory": {two.child: b""}}
    assert reconciler.run(lambda: content).again_s is not None
    assert fabric.answers(port) == {"two"}
    content["inventory"] = {one.child: b"", two.child: b""}
    result = reconciler.run(lambda: content)
    assert only(result).changed == (one.server("inventory"),)
    assert result.again_s is None
    one.release.set()
    client.join()
    assert fabric.answers(port) == {"one", "two"}
    assert answers == ["one"]


def test_a_session_that_outlives_the_drain_is_ended(fabric):
    port = fabric.service(drain="1s")
    one, two = fabric.instance("one"), fabric.instance("two")
    fabric.register(one.child)
    fabric.reconcile()
    client, answers = held_request(fabric, port, one)
    fabric.register(two.child)
    fabric.deregister(one.child)
    assert fabric.reconcile().problems == ()
    client.join()
    assert answers != ["one"]
    assert one.server("inventory") not in fabric.haproxy.servers("inventory")


def test_a_run_that_ends_early_says_what_it_did(fabric, zookeeper):
    """It leaves servers that drain to the next run, but nobody may think that it did nothing."""
    port = fabric.service(drain="1h")
    one, two = fabric.instance("one"), fabric.instance("two")
    fabric.register(one.child)
    fabric.reconcile()
    client, answers = held_request(fabric, port, one)
    fabric.register(two.child)
    fabric.deregister(one.child)
    fabric.document["registry"]["session_timeout"] = "2s"
    with ThreadPoolExecutor() as pool:
        run = pool.submit(fabric.reconcile)
        name = one.server("inventory")
        wait_for(lambda: fabric.haproxy.servers("inventory")[name]["srv_admin_state"] == DRAIN)
        zookeeper.stop()
        try:
            result = run.result(120)
        finally:
            zookeeper.start()
    (problem,) = result.problems
    assert problem.startswith("the registry does not answer")
    assert problem.endswith("; what was done before that stays")
    assert result.changed
    assert result.services[0].added == (two.server("inventory"),)
    one.release.set()
    client.join()
    assert answers == ["one"]


def held_request(fabric, port, instance):
    """A request that the instance answers once it is released: its thread, and the answers."""
    instance.release.clear()
    answers = []
    client = threading.Thread(target=lambda: answers.append(get(port)))
    client.start()
    wait_for(lambda: instance.server("inventory") in busy(fabric.haproxy))
    return client, answers


def busy(haproxy):
    """Servers with sessions."""
    rows = [line.split(",") for line in haproxy.ask("show stat -1 4 -1").splitlines()[1:] if line]
    return {row[1] for row in rows if row[4] != "0"}


def test_a_file_that_cannot_be_written_changes_nothing(fabric, monkeypatch):
    port = fabric.service()
    one, two = fabric.instance("one"), fabric.instance("two")
    fabric.register(one.child)
    fabric.reconcile()
    before = fabric.services_file
    fabric.register(two.child)
    fabric.document["haproxy"]["services_config"] = "/proc/services.cfg"
    with pytest.raises(services_file.FileFailed, match=r"^/proc/services.cfg: cannot be written"):
        fabric.reconcile()
    assert fabric.services_file == before
    assert fabric.answers(port) == {"one"}


def test_what_a_failed_pass_has_read_is_not_forgotten(fabric):
    port = fabric.service()
    one, two = fabric.instance("one"), fabric.instance("two")
    reconciler = fabric.reconciler()
    reconciler.run(lambda: {"inventory": {one.child: b""}})
    content = {"inventory": {one.child: b"", two.child: b""}}
    file = fabric.haproxy.services_config
    file.rename(file.with_suffix(".aside"))
    file.mkdir()
    with pytest.raises(services_file.FileFailed):
        reconciler.run(lambda: content, whole=False)
    file.rmdir()
    file.with_suffix(".aside").rename(file)
    reconciler.run(lambda: content, whole=False)
    assert fabric.answers(port) == {"one", "two"}


def test_a_socket_that_hangs_is_told_in_time(fabric):
    fabric.service()
    fabric.register(fabric.instance("one").child)
    fabric.reconcile()
    path = fabric.haproxy.folder / "mute.sock"
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(path))
        mute.listen()
        runtime = Runtime(str(path), 0.2)
        with pytest.raises(HAProxyUnavailable, match="does not answer within"):
            runtime.services()
