"""Probes: all at once, each bounded, and none waited for here."""

import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from programs import wait_for
from selvage import checks
from selvage.catalogue import Check, Service
from selvage.haproxy.servers import Server
from selvage.reconciler.prober import Prober

SERVICE = Service("inventory", 3000)
OTHER = Service("orders", 3001)


def server(number):
    return Server(f"inventory_10.0.0.{number}_80", f"10.0.0.{number}", 80)


class Instances:
    """What the check finds: they answer when `release` is set, and by their address."""

    def __init__(self):
        self.calls = []
        self.release = threading.Event()
        self.now = 0.0

    def probe(self, service, address, port):
        self.calls.append((service.check.timeout_ms, address, port))
        self.release.wait(600)
        return checks.CheckResult(address.endswith(".1"), "")

    def prober(self, **limits):
        return Prober(clock=lambda: self.now, **limits)


@pytest.fixture
def instances(monkeypatch):
    instances = Instances()
    monkeypatch.setattr(checks, "probe", instances.probe)
    yield instances
    instances.release.set()


def decided(probe):
    wait_for(lambda: probe.healthy is not None)
    return probe.healthy


def test_a_server_is_probed_once_until_it_is_forgotten(instances):
    prober = instances.prober()
    first = prober.start(SERVICE, server(1))
    assert prober.start(SERVICE, server(1)) is first
    assert first.healthy is None
    assert prober.probes.keys() == {server(1).name}
    instances.release.set()
    assert decided(first)
    assert not decided(prober.start(SERVICE, server(2)))
    prober.forget(server(1).name)
    prober.forget("unknown")
    assert decided(prober.start(SERVICE, server(1)))
    assert [address for _, address, _ in instances.calls] == ["10.0.0.1", "10.0.0.2", "10.0.0.1"]


def test_who_does_not_answer_in_time_counts_as_sick(instances):
    prober = instances.prober(limit_s=5.0)
    many = [prober.start(SERVICE, server(n)) for n in range(100)]
    wait_for(lambda: len(instances.calls) == len(many))
    instances.now = 4.9
    assert {probe.healthy for probe in many} == {None}
    instances.now = 5.0
    assert {probe.healthy for probe in many} == {False}


def test_a_check_that_may_take_long_is_cut_short(instances):
    instances.release.set()
    prober = instances.prober(limit_s=1.0)
    slow = replace(SERVICE, check=Check(timeout_ms=60_000))
    decided(prober.start(slow, server(1)))
    decided(prober.start(SERVICE, server(2)))
    decided(prober.start(replace(SERVICE, check=Check(timeout_ms=20)), server(3)))
    assert [timeout_ms for timeout_ms, _, _ in instances.calls] == [1_000, 1_000, 20]


def test_a_success_counts_for_a_moment_and_is_asked_for_anew_then(instances):
    instances.release.set()
    prober = instances.prober(fresh_s=2.0)
    probe = prober.start(SERVICE, server(1))
    assert decided(probe)
    instances.now = 1.9
    assert probe.healthy
    instances.now = 2.0
    assert probe.healthy is None
    again = prober.start(SERVICE, server(1))
    assert decided(again)
    assert len(instances.calls) == 2
    # Who comes too late for that one too leaves the decision to HAProxy, and does not ask for ever.
    instances.now = 4.0
    assert again.healthy is False
    assert prober.start(SERVICE, server(1)) is again


def test_a_failure_counts_until_it_is_forgotten(instances):
    """HAProxy's own checks raise who joins with it."""
    instances.release.set()
    prober = instances.prober(fresh_s=2.0)
    probe = prober.start(SERVICE, server(2))
    assert decided(probe) is False
    instances.now = 60.0
    assert prober.start(SERVICE, server(2)) is probe
    assert probe.healthy is False


def test_instances_that_hang_keep_no_other_service_waiting(instances):
    prober = instances.prober(at_once=8)
    for number in range(1_000):
        prober.start(SERVICE, server(number))
    prober.start(OTHER, Server("orders_10.0.1.1_80", "10.0.1.1", 80))
    wait_for(lambda: ("10.0.1.1", 80) in [call[1:] for call in instances.calls])
    wait_for(lambda: len(instances.calls) == 5)
    for name in [*prober.probes]:
        prober.forget(name)


def test_who_is_forgotten_before_its_turn_is_not_probed(instances):
    prober = instances.prober(at_once=1)
    prober.start(SERVICE, server(1))
    prober.start(SERVICE, server(2))
    prober.start(SERVICE, server(3))
    prober.forget(server(2).name)
    instances.release.set()
    wait_for(lambda: len(instances.calls) == 2)
    assert [address for _, address, _ in instances.calls] == ["10.0.0.1", "10.0.0.3"]


def test_probes_that_hang_do_not_keep_a_process_from_ending():
    program = """
import threading
from selvage import checks
from selvage.catalogue import Service
from selvage.haproxy.servers import Server
from selvage.reconciler.prober import Prober
begun = threading.Semaphore(0)
def hang(*_):
    begun.release()
    threading.Event().wait()
checks.probe = hang
prober = Prober()
for number in range(1_500):
    prober.start(Service("inventory", 3000), Server(f"s{number}", "10.0.0.1", number))
for _ in range(100):
    begun.acquire()
print("over")
"""
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(Path(checks.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert (ended.stdout, ended.stderr) == ("over\n", "")
