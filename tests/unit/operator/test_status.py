"""What `selvage status` tells a person."""

from dataclasses import replace

import pytest

from selvage.catalogue import parse_services
from selvage.haproxy.servers import BreakerState, LiveServer, LiveService
from selvage.operator.status import duration, report
from selvage.reconciler.overrides import Override

SERVER = LiveServer(
    name="inventory_198.18.0.21_8080",
    address="198.18.0.21",
    port=8080,
    weight=1,
    backup=False,
    max_connections=None,
    up=True,
    checked=True,
    maintenance=False,
    draining=False,
    sessions=0,
)


def shown(*servers):
    live = {"inventory": LiveService("inventory", None, tuple(servers))}
    return report(parse_services([{"name": "inventory", "port": 3000}]), live).splitlines()


def test_each_server_has_a_line_with_its_state():
    lines = shown(
        SERVER,
        replace(SERVER, up=False, weight=5, backup=True),
        replace(SERVER, draining=True),
        replace(SERVER, maintenance=True),
    )
    assert lines[0] == "inventory  127.0.0.1:3000  http  1 up"
    assert [line.split()[1] for line in lines[1:]] == ["up", "down", "draining", "maintenance"]
    assert lines[2].endswith("weight 5, backup")


def test_a_service_that_takes_no_connections_says_so():
    live = {"inventory": LiveService("inventory", None, (SERVER,), "disabled")}
    services = parse_services([{"name": "inventory", "port": 3000}])
    assert (
        report(services, live)
        .splitlines()[0]
        .endswith("1 up, but the frontend was disabled and takes no connections")
    )


def test_maintenance_by_an_operators_word_has_its_reason():
    live = {"inventory": LiveService("inventory", None, (replace(SERVER, maintenance=True),))}
    services = parse_services([{"name": "inventory", "port": 3000}])
    override = Override("inventory", SERVER.name, "new disk", 1_000_060)
    line = report(services, live, [override], 1_000_000).splitlines()[1]
    assert line.endswith("maintenance  weight 1  override for another 1 min: new disk")


def test_who_is_held_out_is_told_below_who_serves():
    live = {"inventory": LiveService("inventory", None, (SERVER,))}
    services = parse_services([{"name": "inventory", "port": 3000}])
    held_out = {"inventory": [("db1_0000000003", "the other one has it")], "gone": [("x", "y")]}
    lines = report(services, live, held_out=held_out).splitlines()
    assert lines[-1] == "  db1_0000000003           held out     the other one has it"
    assert len(lines) == 3


@pytest.mark.parametrize(
    ("breaker", "words"),
    [
        (None, ""),
        (BreakerState(False, False, 9, 0), ""),
        (BreakerState(False, False, 9, 1), "  breaker opened 1 time"),
        (
            BreakerState(True, False, 61, 2, "timeout"),
            "  breaker open for 1 min 1 s, opened 2 times; the last error: an answer was late",
        ),
        (
            BreakerState(True, True, 3, 2),
            "  breaker open for 3 s, opened 2 times; its check succeeds again",
        ),
    ],
)
def test_a_breaker_has_its_words(breaker, words):
    live = {"inventory": LiveService("inventory", None, (replace(SERVER, up=False),))}
    services = parse_services([{"name": "inventory", "port": 3000}])
    breakers = {"inventory": {} if breaker is None else {SERVER.name: breaker}}
    line = report(services, live, breakers=breakers).splitlines()[1]
    assert line.partition("weight 1")[2] == words


def test_durations_have_two_units():
    assert [duration(seconds) for seconds in (-5, 59.6, 61, 7_200, 90_061)] == [
        "0 s",
        "1 min",
        "1 min 1 s",
        "2 h",
        "25 h 1 min",
    ]


def test_servers_are_in_order():
    lines = shown(replace(SERVER, address="198.18.0.22"), SERVER)
    assert [line.split()[0] for line in lines[1:]] == ["198.18.0.21:8080", "198.18.0.22:8080"]


def test_what_haproxy_does_not_run_is_said():
    services = parse_services([{"name": "inventory", "port": 3000}])
    assert report(services, {}) == "inventory  127.0.0.1:3000  http  not loaded by HAProxy yet"
    assert report((), {}) == "the catalogue is empty"
