"""What operators fear, done to the running fabric; under traffic where routing is at stake."""

import json
import time

import pytest

from conftest import BOTH, SIDECARS, Traffic, answering, playbook, server, servers
from labs import PREFIX, host, printed, shell, wait_for

ZOOKEEPERS = ("zk1", "zk2", "zk3")
ZKCLI = "zkCli.sh -server 127.0.0.1:2181"
EXTRA = f"{PREFIX}.31:8080"
EXTRA_SERVER = server(f"{PREFIX}.31")
WITH_EXTRA = " ".join(sorted([*BOTH.split(), EXTRA_SERVER]))


@pytest.fixture
def without_daemons():
    """The watching reconcilers stopped, so that only what the test runs can change a route."""
    for name in SIDECARS:
        shell(name, "systemctl stop selvage-reconciler")
    yield
    for name in SIDECARS:
        shell(name, "systemctl start selvage-reconciler")


@pytest.fixture
def without_cron():
    """No scheduled reconciliation meanwhile."""
    shell("ctl1", "systemctl stop cron")
    # A run that is under way ends before the test begins.
    wait_for(lambda: host("ctl1").run("pgrep -f '[r]econcile.yml'").rc != 0, "the last run")
    yield
    shell("ctl1", "systemctl start cron")


@pytest.fixture
def extra_instance():
    """An instance put into the registry by hand, as a bare address."""
    shell("zk1", f"{ZKCLI} create /services/inventory/{EXTRA} ''")
    yield
    shell("zk1", f"{ZKCLI} delete /services/inventory/{EXTRA}")


def test_a_stopped_instance_leaves_and_returns_without_a_failed_request():
    with Traffic("app1") as traffic:
        shell("app2", "systemctl stop demo-inventory")
        wait_for(lambda: servers("app1") == server(f"{PREFIX}.21"), "app2 gone")
        noticed = time.time()
        assert answering("app1") == {"app1"}
        shell("app2", "systemctl start demo-inventory")
        wait_for(lambda: answering("app1") == {"app1", "app2"}, "app2 back")
        back = len(traffic.requests())
        wait_for(lambda: len(traffic.requests()) > back + 50, "some more requests")
        later = [answer for at, answer in traffic.requests() if at > noticed]
    assert [answer for answer in later if answer.startswith("failed")] == []


def registrar_pid():
    return shell("app2", "systemctl show -P MainPID selvage-registrar")


def test_a_killed_registrar_costs_no_request():
    with Traffic("app1") as traffic:
        before = registrar_pid()
        shell("app2", "systemctl kill -s KILL selvage-registrar")
        wait_for(lambda: registrar_pid() not in (before, "0\n"), "a new registrar")
        # Longer than a session of the killed one could live on.
        time.sleep(15)
        wait_for(lambda: answering("app1") == {"app1", "app2"}, "both instances")
        failed = [answer for _, answer in traffic.requests() if answer.startswith("failed")]
    assert failed == []


def test_a_dry_run_tells_the_truth_and_a_second_run_changes_nothing(
    without_daemons, without_cron, extra_instance
):
    dry = playbook("reconcile.yml", "--check", "--diff")
    assert dry.rc == 0, dry.output
    assert f"add server inventory/{EXTRA_SERVER}" in dry.output
    assert sorted(dry.changed) == sorted(SIDECARS)
    assert {servers(name) for name in SIDECARS} == {BOTH}
    for changed in (sorted(SIDECARS), []):
        run = playbook("reconcile.yml")
        assert run.rc == 0, run.output
        assert sorted(run.changed) == changed, run.output
        assert {servers(name) for name in SIDECARS} == {WITH_EXTRA}


def test_cron_reconciles_when_the_daemons_are_away(without_daemons, extra_instance):
    wait_for(lambda: {servers(name) for name in SIDECARS} == {WITH_EXTRA}, "cron's run")


def test_losing_the_registry_takes_no_traffic_away():
    with Traffic("app1") as traffic:
        for name in ZOOKEEPERS:
            shell(name, "systemctl stop zookeeper")
        run = playbook("reconcile.yml")
        assert run.rc != 0
        assert "app1" in run.output and run.changed == []
        shell("edge1", "systemctl restart haproxy")
        assert servers("edge1") == BOTH
        assert answering("edge1") == {"app1", "app2"}
        for name in ZOOKEEPERS:
            shell(name, "systemctl start zookeeper")
        wait_for(lambda: host("zk1").run(f"{ZKCLI} ls /services").rc == 0, "a quorum")
        shell("zk1", f"{ZKCLI} create /services/inventory/{EXTRA} ''")
        wait_for(lambda: servers("edge1") == WITH_EXTRA, "the new registration")
        shell("zk1", f"{ZKCLI} delete /services/inventory/{EXTRA}")
        failed = [answer for _, answer in traffic.requests() if answer.startswith("failed")]
    assert failed == []


@pytest.mark.parametrize(
    "field",
    [
        {"name": "x\n  server evil 198.18.255.1:80"},
        {"name": "x;disable frontend metrics"},
        {"haproxy_server_options": "check inter 1ms"},
        {"host": "198.18.255.1 backup"},
        {"labels": {"zone": "a\nlisten evil"}},
    ],
)
def test_a_hostile_registration_is_refused_with_its_reason(field):
    data = json.dumps({"host": f"{PREFIX}.31", "port": 8080, "name": "i-9", **field})
    create = (
        "from kazoo.client import KazooClient; import sys; c = KazooClient('127.0.0.1:2181');"
        "c.start(); c.create('/services/inventory/hostile', sys.argv[1].encode()); c.stop()"
    )
    put = host("app1").run("python3 -c %s %s", create.replace("127.0.0.1", f"{PREFIX}.11"), data)
    assert put.rc == 0, put.stderr
    try:
        run = playbook("reconcile.yml", "-v")
        assert run.rc == 0, run.output
        assert "hostile" in run.output and "refused" in run.output
        assert {servers(name) for name in SIDECARS} == {BOTH}
        assert "evil" not in shell("app1", "cat /etc/haproxy/services/services.cfg")
    finally:
        shell("zk1", f"{ZKCLI} delete /services/inventory/hostile")


def test_a_restarted_haproxy_has_the_same_servers():
    shell("app1", "systemctl restart haproxy")
    assert servers("app1") == BOTH
    assert answering("app1") == {"app1", "app2"}


def test_a_rebooted_host_has_the_same_routes():
    # The start time of its systemd tells a host that has come back from one that is still going.
    started = "cut -d' ' -f22 /proc/1/stat"
    before = shell("edge1", started)
    shell("edge1", "systemctl reboot")
    wait_for(lambda: printed("edge1", started) not in ("", before), "a new boot")
    wait_for(lambda: printed("edge1", "systemctl is-active haproxy") == "active\n", "HAProxy")
    assert servers("edge1") == BOTH
    assert answering("edge1") == {"app1", "app2"}
