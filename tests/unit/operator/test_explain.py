"""What `selvage explain` tells a person."""

from __future__ import annotations

from dataclasses import replace

import pytest

from selvage.catalogue import Guards, Service, Zone
from selvage.formats.registrations import Reading, Refusal, Registration
from selvage.haproxy.servers import BreakerState, Server, server_name
from selvage.haproxy.text import options_of, section
from selvage.operator.explain import report
from selvage.operator.facts import Facts
from selvage.planning.circumstances import Circumstances
from selvage.planning.plan import make_plan
from selvage.reconciler.overrides import Override
from strategies import live_server, live_service

INVENTORY = Service("inventory", 3000, guards=Guards(min_servers=2))
AT = 1_000_000


def server(number, **fields):
    address = f"10.0.0.{number}"
    return Server(server_name("inventory", address, 80), address, 80, **fields)


def reading(*numbers, **fields):
    return Reading(tuple(Registration(f"i-{n}", f"10.0.0.{n}", 80) for n in numbers), **fields)


def up(*numbers, **state):
    return tuple(live_server(server(number), **state) for number in numbers)


def explained(
    read_now, live, filed, service=INVENTORY, overrides=(), zone=None, running=True, **facts
):
    """The lines, with what the registry says, what runs, and the servers in the file."""
    node = Circumstances(zone=zone, maintained=frozenset(override.server for override in overrides))
    services = {} if live is None else {service.name: live_service(service, *live)}
    (plan,) = make_plan(
        [service],
        {service.name: read_now},
        services if running else None,
        {service.name: section(service.name, options_of(service), filed)},
        node,
    ).services
    said = {
        "service": service,
        "zone": zone,
        "plan": plan,
        "live": services.get(service.name),
        "breakers": {},
        "away": None,
        "complaint": None,
        "reload_in_s": 0.0,
        "overrides": tuple(overrides),
        "at": AT,
        "absent": {},
        "problems": (),
    }
    return report(Facts(**{**said, **facts})).splitlines()


def row(lines, number):
    """The line of a server, below the heading."""
    below = lines[next(i for i, line in enumerate(lines) if line.startswith("servers")) :]
    return next(line for line in below if f"10.0.0.{number}:80" in line)


def test_what_is_as_it_shall_be_is_said():
    assert explained(reading(1, 2), up(1, 2), [server(1), server(2)]) == [
        "inventory  127.0.0.1:3000  http",
        "HAProxy runs what is wanted.",
        "",
        "registered: 2 taken",
        "  i-1  10.0.0.1:80, weight 1",
        "  i-2  10.0.0.2:80, weight 1",
        "",
        "servers        wanted    runs  why they differ",
        "  10.0.0.1:80  weight 1  up",
        "  10.0.0.2:80  weight 1  up",
    ]


def test_a_held_service_says_why_and_what_ends_it():
    lines = explained(reading(2), up(1, 2, sessions=3), [server(1), server(2)])
    assert lines[1:4] == [
        "held: only 1 would be left, and guards.min_servers is 2",
        "  It ends when enough instances are registered again, or at your word:",
        "  selvage release inventory",
    ]
    assert row(lines, 1) == "  10.0.0.1:80  weight 1  up, 3 sessions  held: no longer registered"
    assert row(lines, 2).endswith("up, 3 sessions")


def test_who_is_not_registered_has_the_words_of_its_registrar():
    absent = {"db3_3306": "lag 61 s, more than 10 s", "db2_3306": "replication stopped: 1950: x"}
    lines = explained(reading(1, 2), up(1, 2), [server(1), server(2)], absent=absent)
    assert lines[3:9] == [
        "registered: 2 taken",
        "  i-1  10.0.0.1:80, weight 1",
        "  i-2  10.0.0.2:80, weight 1",
        "not registered, as the registrars there say:",
        "  db2_3306  replication stopped: 1950: x",
        "  db3_3306  lag 61 s, more than 10 s",
    ]


def test_many_words_are_not_all_shown():
    absent = {f"{number:04}\x1b[2J": "x" for number in range(1000)}
    lines = explained(reading(1, 2), up(1, 2), [server(1), server(2)], absent=absent)
    assert r"  0000\x1b[2J  x" in lines
    assert "  and 950 more" in lines
    assert len(lines) < 65


def test_each_znode_has_its_verdict():
    read_now = reading(
        1, 2, refusals=(Refusal("bad", "is bad"),), out_of_service=(Refusal("i-9", "status DOWN"),)
    )
    lines = explained(read_now, up(1, 2), [server(1), server(2)])
    assert lines[3:8] == [
        "registered: 2 taken, 1 refused, 1 out of service",
        "  bad  refused: is bad",
        "  i-1  10.0.0.1:80, weight 1",
        "  i-2  10.0.0.2:80, weight 1",
        "  i-9  out of service: status DOWN",
    ]


def test_what_waits_for_a_check_needs_nobody():
    service = replace(INVENTORY, guards=Guards())
    lines = explained(reading(3), up(1), [server(1)], service)
    assert lines[1].startswith("waiting: nothing of what would be left has passed its check")
    assert not any("selvage release" in line for line in lines)
    assert row(lines, 1).endswith("waiting: no longer registered")
    assert row(lines, 3).endswith("-     pending: to be probed and added")


def test_who_is_held_out_is_told_and_by_whom():
    service = replace(INVENTORY, guards=Guards(max_servers=1))
    lines = explained(reading(1, 2), up(2), [server(2)], service)
    assert "registered: 1 taken, 1 held out" in lines
    reason = "10.0.0.2:80 has the traffic, and was registered later"
    assert f"  i-1  10.0.0.1:80, weight 1; held out: {reason}" in lines
    assert "  i-2  10.0.0.2:80, weight 1" in lines
    # A second one that somebody added.
    assert row(explained(reading(2), up(1, 2), [server(2)], service), 1).endswith(
        "drift: was added; the next pass repairs it"
    )


def test_leaving_servers_say_how_long():
    live = [*up(1, 2), *up(3, draining=True, sessions=1), *up(4, maintenance=True), *up(5)]
    lines = explained(reading(1, 2), live, [server(1), server(2)])
    assert row(lines, 3).endswith(
        "-         draining, 1 session  left: its sessions have 30 s, then it is deleted"
    )
    assert row(lines, 4).endswith("left: about to be deleted")
    # Somebody added it by hand.
    assert row(lines, 5).endswith("drift: was added; the next pass repairs it")


def test_an_override_has_its_reason_and_its_end():
    override = Override("inventory", server(1).name, "new disk", AT + 5_400)
    lines = explained(
        reading(1, 2),
        [*up(1, maintenance=True), *up(2)],
        [server(1, disabled=True), server(2)],
        overrides=[override],
    )
    assert row(lines, 1).endswith(
        "maintenance, weight 1  maintenance  override for another 1 h 30 min: new disk"
    )


def test_an_override_of_what_is_not_registered_is_there_too():
    override = Override("inventory", server(7).name, "new disk", AT + 60)
    lines = explained(reading(1, 2), up(1, 2), [server(1), server(2)], overrides=[override])
    assert row(lines, 7).endswith("-         -     override for another 1 min: new disk")


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ({"maintenance": True}, "drift: was put into maintenance; the next pass repairs it"),
        ({"weight": 7}, "drift: was given the weight 7; the next pass repairs it"),
        ({"up": False}, "HAProxy's check fails from this node"),
    ],
)
def test_other_differences(state, why):
    live = [*up(1, **state), *up(2)]
    assert row(explained(reading(1, 2), live, [server(1), server(2)]), 1).endswith(why)


def test_what_is_not_applied_yet_is_pending():
    read_now = Reading(
        (Registration("i-1", "10.0.0.1", 80, weight=9), Registration("i-2", "10.0.0.2", 80))
    )
    line = row(explained(read_now, up(1, 2), [server(1), server(2)]), 1)
    assert "weight 9" in line
    assert line.endswith("up, weight 1  pending: to get the weight 9")


def test_the_registry_may_be_away():
    failure = "the registry at zk1:2181 cannot be reached within 5 s"
    lines = explained(Reading(failure=failure), up(1, 2), [server(1), server(2)])
    assert lines[1] == f"held: its registrations are not known: {failure}"
    assert "registered: not known" in lines
    assert row(lines, 1) == "  10.0.0.1:80  weight 1  up"


def test_haproxy_may_be_away():
    away = "/run/haproxy/admin.sock: No such file or directory; is HAProxy running?"
    lines = explained(
        reading(1, 2), None, [server(1), server(2)], running=False, away=away, problems=("p",)
    )
    assert lines[1:3] == [f"HAProxy: {away} It starts with what is wanted below.", "problem: p"]
    assert row(lines, 1) == "  10.0.0.1:80  weight 1  -"


def test_a_reload_that_haproxy_would_refuse():
    lines = explained(reading(1, 2), None, [], complaint="no such balance", reload_in_s=75.0)
    assert lines[1:3] == [
        "pending: a reload of HAProxy (new), due in 1 min 15 s",
        "left as it was: no such balance",
    ]
    assert row(lines, 1) == "  10.0.0.1:80  weight 1  -"


def test_zones_are_shown_where_they_count():
    service = replace(INVENTORY, zone=Zone(others="backup"))
    read_now = Reading(
        tuple(
            Registration(f"i-{n}", f"10.0.0.{n}", 80, labels={"zone": zone})
            for n, zone in ((1, "a"), (2, "b"))
        )
    )
    live = [*up(1), *up(2, backup=True)]
    lines = explained(read_now, live, [server(1), server(2, backup=True)], service, zone="a")
    assert lines[0] == "inventory  127.0.0.1:3000  http  zone a, others backup"
    assert "  i-2  10.0.0.2:80, weight 1, zone b" in lines
    assert "weight 1, backup" in row(lines, 2)


def test_names_from_the_registry_are_printable():
    read_now = Reading((Registration("i\x1b[31m", "10.0.0.1", 80),))
    service = replace(INVENTORY, guards=Guards())
    lines = explained(read_now, up(1), [server(1)], service)
    assert r"  i\x1b[31m  10.0.0.1:80, weight 1" in lines


def test_a_server_that_its_breaker_took_out_is_not_down_by_its_check():
    filed = tuple(server(n) for n in (1, 2))
    live = (*up(1), *up(2, up=False))
    late = {filed[1].name: BreakerState(True, False, 4, 1, "timeout")}
    lines = explained(reading(1, 2), live, filed, breakers=late)
    words = "breaker open for 4 s, opened 1 time; the last error: an answer was late"
    assert any(line.endswith(f"down  {words}") for line in lines)
    assert not any("check fails" in line for line in lines)
    # By now its check fails, too.
    both = {filed[1].name: BreakerState(False, False, 4, 1)}
    lines = explained(reading(1, 2), live, filed, breakers=both)
    words = "HAProxy's check fails from this node; breaker opened 1 time"
    assert any(line.endswith(words) for line in lines)
