"""Probes: all at once, each bounded, and none waited for here."""

import threading
from dataclasses import replace

import pytest

from programs import wait_for
from selvage import checks
from selvage.catalogue import Check, Service
from selvage.haproxy.servers import Server
from selvage.reconciler import prober
from selvage.reconciler.prober import Prober

SERVICE = Service("inventory", 3000)


def server(number):
    return Server(f"inventory_10.0.0.{number}_80", f"10.0.0.{number}", 80)


@pytest.fixture
def checked(monkeypatch):
    """The stand-in for the check: it answers when `release` is set, and by the address."""
    calls = []
    release = threading.Event()
    monkeypatch.setattr(prober, "LIMIT_S", 600)

    def probe(service, address, port):
        calls.append((service.check.timeout_ms, address, port))
        release.wait(600)
        return checks.CheckResult(address.endswith(".1"), "")

    monkeypatch.setattr(checks, "probe", probe)
    yield calls, release
    release.set()


def decided(probe):
    wait_for(lambda: probe.healthy is not None)
    return probe.healthy


def test_a_server_is_probed_once_until_it_is_forgotten(checked):
    calls, release = checked
    probers = Prober()
    first = probers.start(SERVICE, server(1))
    assert probers.start(SERVICE, server(1)) is first
    assert first.healthy is None
    assert probers.probes.keys() == {server(1).name}
    release.set()
    assert decided(first)
    assert not decided(probers.start(SERVICE, server(2)))
    probers.forget(server(1).name)
    probers.forget("unknown")
    assert decided(probers.start(SERVICE, server(1)))
    assert [address for _, address, _ in calls] == ["10.0.0.1", "10.0.0.2", "10.0.0.1"]


def test_who_does_not_answer_in_time_counts_as_sick(checked, monkeypatch):
    monkeypatch.setattr(prober, "LIMIT_S", 0.05)
    probers = Prober()
    many = [probers.start(SERVICE, server(n)) for n in range(100)]
    assert not any(decided(probe) for probe in many)


def test_a_check_that_may_take_long_is_cut_short(checked, monkeypatch):
    calls, release = checked
    monkeypatch.setattr(prober, "LIMIT_S", 1.0)
    release.set()
    probers = Prober()
    slow = replace(SERVICE, check=Check(timeout_ms=60_000))
    decided(probers.start(slow, server(1)))
    decided(probers.start(SERVICE, server(2)))
    decided(probers.start(replace(SERVICE, check=Check(timeout_ms=20)), server(3)))
    assert [timeout_ms for timeout_ms, _, _ in calls] == [1_000, 1_000, 20]
