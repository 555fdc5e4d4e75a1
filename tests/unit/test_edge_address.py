"""Addresses that edges share: what the map and the role make of them, and what they refuse."""

from __future__ import annotations

import pytest
from plugin_utils import edge_address
from test_fabric_filters import drawn, hosts

SHARED = "198.18.0.100"
EDGES = {"edge": ["edge1", "app1"]}
LOCATION = {"path": "/", "service": "inventory"}
SITES = [{"name": "shop", "server_names": ["shop.example"], "locations": [LOCATION]}]


def shared(edges=EDGES, **changes):
    """A fabric with two edges that share an address."""
    mine = {name: {"edge_address_shared": [SHARED], "nginx_sites": SITES} for name in EDGES["edge"]}
    return drawn(
        edges, **{name: {**mine.get(name, {}), **changes.get(name, {})} for name in hosts()}
    )


def test_edges_that_share_hear_each_other_and_nobody_else():
    found = shared()
    assert found["problems"] == []
    assert found["edge_address"] == [
        {"name": "app1", "address": "198.18.0.21"},
        {"name": "edge1", "address": "198.18.0.31"},
    ]
    assert found["witnesses"] == ["198.18.0.11", "198.18.0.12", "198.18.0.41"]
    rules = {
        host: [rule["from"] for rule in mine["firewall"] if rule.get("protocol") == "vrrp"]
        for host, mine in found["hosts"].items()
    }
    assert {host: some for host, some in rules.items() if some} == {
        "app1": [["198.18.0.31"]],
        "edge1": [["198.18.0.21"]],
    }
    assert "__fabric_edge_address" in found["hosts"]["edge1"]["groups"]
    assert "__fabric_edge_address" not in found["hosts"]["zk1"]["groups"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"app1": {"edge_address_shared": []}},
            "edge1: edge_address_shared: expected 2 to 10 edges",
        ),
        (
            {"app1": {"edge_address_shared": ["198.18.0.101"]}},
            "app1, edge1: edge_address_shared: ['198.18.0.100'] for edge1, ['198.18.0.101'] for",
        ),
        (
            {"app1": {"edge_address_interval": "1s"}},
            "app1, edge1: edge_address_interval: 1s for app1, 500ms for edge1; set it",
        ),
        ({"app1": {"nginx_sites": []}}, "app1: edge_address_shared: this edge has no Nginx"),
        ({"zk1": {"edge_address_shared": [SHARED]}}, "zk1: edge_address_shared: only hosts of the"),
        (
            {name: {"edge_address_shared": ["198.18.0.41"]} for name in ("app1", "edge1")},
            "app1, edge1: edge_address_shared: 198.18.0.41 is ctl1's own address;",
        ),
        (
            {name: {"edge_address_shared": [SHARED, SHARED]} for name in ("app1", "edge1")},
            f"app1, edge1: edge_address_shared: the address {SHARED} stands twice",
        ),
        ({"app1": {"edge_address_shared": SHARED}}, "app1: edge_address_shared: expected a list"),
        (
            {"app1": {"edge_address_shared": ["198.18.0.100/24"]}},
            "app1: edge_address_shared[0]: expected an IPv4 address",
        ),
        (
            {"app1": {"edge_address_shared": ["198.18.0.256"]}},
            "app1: edge_address_shared[0]: 198.18.0.256 is not an IPv4 address",
        ),
        (
            {"app1": {"edge_address_shared": ["127.0.0.2"]}},
            "app1: edge_address_shared[0]: 127.0.0.2 is no address that a host may share",
        ),
        (
            {"app1": {"edge_address_interval": "50ms"}},
            "app1: edge_address_interval: expected a duration from 100ms to 10s",
        ),
        (
            {"app1": {"edge_address_interval": "125ms"}},
            "app1: edge_address_interval: expected hundredths of a second",
        ),
        (
            {"app1": {"edge_address_interval": 1}},
            "app1: edge_address_interval: expected a duration",
        ),
        (
            {"app1": {"edge_address_back_after": "1h"}},
            "app1: edge_address_back_after: expected a duration from 0s to 1000s",
        ),
        (
            {"app1": {"edge_address_command": ["move"]}},
            "app1: edge_address_command: expected the absolute path of a program first, got 'move'",
        ),
        (
            {"app1": {"edge_address_command": ["/bin/move", "a\nb"]}},
            "app1: edge_address_command[1]: expected a word of printable ASCII",
        ),
        (
            {"app1": {"edge_address_witnesses": ["198.18.0.1"]}},
            "app1: edge_address_witnesses has no effect here",
        ),
    ],
)
def test_shared_addresses_that_cannot_be_meant(changes, expected):
    found = shared(**changes)["problems"]
    assert any(line.startswith(expected) for line in found), found
    assert all("\n" not in line for line in found)


MEMBERS = [{"name": "edge1", "address": "198.18.0.31"}, {"name": "edge2", "address": "198.18.0.32"}]
INPUTS = {
    "edge_address_shared": [SHARED],
    "edge_address_members": MEMBERS,
    "edge_address_name": "edge1",
    "edge_address_witnesses": ["198.18.0.11"],
    "edge_address_interval": "500ms",
    "edge_address_back_after": "0s",
    "edge_address_command": [],
    "edge_address_check_url": "http://127.0.0.1:8405/healthz",
}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, []),
        (
            {"edge_address_shared": []},
            ["edge_address_shared: is empty, so there is nothing to share"],
        ),
        (
            {"edge_address_members": MEMBERS[:1]},
            ["edge_address_members: expected 2 to 10 hosts that share an address, got 1"],
        ),
        (
            {"edge_address_name": "edge3"},
            ["edge_address_name: edge3 is none of edge_address_members"],
        ),
        (
            {"edge_address_members": [MEMBERS[0], {**MEMBERS[1], "address": "198.18.0.31"}]},
            ["edge_address_members: the address 198.18.0.31 stands twice"],
        ),
    ],
)
def test_the_roles_inputs(change, expected):
    assert edge_address.problems({**INPUTS, **change}) == expected


def test_what_could_end_keepalives_words_is_refused():
    url = 'http://127.0.0.1:8405/" user root "'
    (line,) = edge_address.problems({**INPUTS, "edge_address_check_url": url})
    assert line.startswith("edge_address_check_url: expected a URL")


def interface(device, address, prefix, *more):
    entries = [{"address": one, "prefix": two} for one, two in more]
    return {
        "device": device,
        "ipv4": {"address": address, "prefix": prefix},
        "ipv4_secondaries": entries,
    }


FACTS = {
    "interfaces": ["lo", "eth0", "eth1", "br-1"],
    "lo": interface("lo", "127.0.0.1", "8"),
    "eth0": interface("eth0", "198.18.0.31", "24"),
    "eth1": interface("eth1", "203.0.113.9", "29", (SHARED, "32")),
    "br_1": {"device": "br-1"},
}


def test_an_address_belongs_where_its_network_is():
    shared = [SHARED, "203.0.113.10"]
    found = edge_address.places(shared, FACTS, "198.18.0.31", routed=False)
    assert found == {"198.18.0.31": "eth0", SHARED: "eth0", "203.0.113.10": "eth1"}


def test_an_address_that_a_provider_routes_stands_beside_the_hosts_own():
    shared = ["192.0.2.7"]
    assert edge_address.places(shared, FACTS, "198.18.0.31", False)["192.0.2.7"] == ""
    assert edge_address.places(shared, FACTS, "198.18.0.31", True)["192.0.2.7"] == "eth0"


def test_networks_are_told_with_their_interfaces():
    assert edge_address.known_networks(FACTS) == ["198.18.0.0/24 (eth0)", "203.0.113.8/29 (eth1)"]


def test_systemd_interprets_no_word_of_a_command():
    words = ["/bin/move", 'a "b" $HOME %n \\']
    assert edge_address.systemd_words(words) == '"/bin/move" "a \\"b\\" $$HOME %%n \\\\"'
