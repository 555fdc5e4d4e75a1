"""Which servers a node wants, with which weights."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selvage.catalogue import Service, Zone
from selvage.formats.registrations import Reading, Refusal, Registration
from selvage.planning.wanted import wanted_servers, without_loops
from selvage.planning.weights import scale

SERVICE = Service("inventory", 3000)


def registration(number, zone=None, **fields):
    labels = {} if zone is None else {"zone": zone}
    return Registration(f"i{number}", f"10.0.0.{number}", 80, labels=labels, **fields)


HERE, THERE, NOWHERE = registration(1, "a"), registration(2, "b"), registration(3)


def seen(others, zone="a", *registrations, label="zone", **fields):
    service = replace(SERVICE, zone=Zone(label=label, others=others, **fields))
    servers = wanted_servers(service, registrations or (HERE, THERE, NOWHERE), zone)
    return [(server.weight, server.backup) for server in servers]


def test_zones_are_equal_unless_the_service_says_otherwise():
    assert seen("equal") == [(1, False)] * 3


@pytest.mark.parametrize("others", ["equal", "backup", "weighted"])
def test_a_node_without_a_zone_prefers_none(others):
    assert seen(others, None) == [(1, False)] * 3


def test_other_zones_are_backup():
    assert seen("backup") == [(1, False), (1, True), (1, True)]


def test_other_zones_are_weighted_down():
    assert seen("weighted") == [(256, False), (26, False), (26, False)]
    assert seen("weighted", weight=50) == [(256, False), (128, False), (128, False)]


def test_a_zone_alone_has_all_the_traffic():
    assert seen("weighted", "a", THERE, NOWHERE) == [(256, False)] * 2
    assert seen("weighted", "a", HERE) == [(1, False)]


def test_the_label_that_names_the_zone_is_the_services():
    other = replace(HERE, labels={"az": "a", "zone": "b"})
    assert seen("backup", "a", other, label="az") == [(1, False)]
    assert seen("backup", "a", other) == [(1, True)]


def test_a_registered_backup_stays_one_in_its_own_zone():
    assert seen("backup", "a", replace(HERE, backup=True)) == [(1, True)]


def test_the_smaller_limit_holds():
    def limit(service, registered):
        found = replace(HERE, max_connections=registered)
        (server,) = wanted_servers(replace(SERVICE, max_connections=service), [found])
        return server.max_connections

    assert [limit(None, None), limit(5, None), limit(None, 6), limit(5, 6), limit(7, 6)] == [
        None,
        5,
        6,
        5,
        6,
    ]


def test_whole_weights_stay_as_they_are():
    assert scale([0, 1, 10, 256]) == (0, 1, 10, 256)
    assert scale([]) == ()


def test_other_weights_are_scaled_to_the_largest():
    assert scale([0.5, 1]) == (128, 256)
    assert scale([1_000, 500, 1, 0]) == (256, 128, 1, 0)
    assert scale([5e-324]) == (256,)


@given(st.lists(st.floats(1e-6, 1_000_000) | st.integers(0, 300)))
def test_scaled_weights_keep_their_order_and_nothing_falls_silent(weights):
    scaled = scale(weights)
    assert all(0 <= weight <= 256 for weight in scaled)
    assert [weight > 0 for weight in scaled] == [weight > 0 for weight in weights]
    pairs = sorted(zip(weights, scaled, strict=True))
    assert [new for _, new in pairs] == sorted(new for _, new in pairs)


def test_haproxys_own_listeners_are_no_instances():
    loop = Registration("127.0.0.1:3001", "127.0.0.1", 3001)
    beside = Registration("127.0.0.1:3002", "127.0.0.1", 3002)
    far = Registration("10.0.0.1:3001", "10.0.0.1", 3001)
    known = Refusal("x", "y")
    reading = without_loops(Reading((loop, beside, far), (known,)), {3000, 3001})
    assert reading.registrations == (beside, far)
    assert reading.refusals == (
        known,
        Refusal("127.0.0.1:3001", "127.0.0.1:3001 is a listener of HAProxy itself"),
    )
