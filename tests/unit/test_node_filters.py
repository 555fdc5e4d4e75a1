"""Role node: input that does not fit is named, rules become nftables lines."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from pathlib import Path

import pytest
import yaml

SOURCE = Path(__file__).parents[2] / "filter_plugins" / "node.py"
spec = importlib.util.spec_from_file_location("node_filters", SOURCE)
node = importlib.util.module_from_spec(spec)
spec.loader.exec_module(node)

GOOD = {
    "address": "198.18.0.11",
    "members": [
        {"name": "zk1", "address": "198.18.0.11"},
        {"name": "zk2", "address": "198.18.0.12"},
    ],
    "control_addresses": ["198.18.0.0/28", "2001:db8::1"],
    "networks": [],
    "allow": [{"name": "ZooKeeper's clients", "port": 2181, "from": "fabric"}],
    "firewall": True,
    "ssh_port": 22,
    "connection": "ssh",
    "session": "198.18.0.1 50000 198.18.0.11 22",
    "listening": [22, 2181],
}


def came(client: str, port: int = 22, server: str = "198.18.0.11") -> dict[str, str]:
    return {"session": f"{client} 50000 {server} {port}"}


# Started on the node: by somebody who logged in there, or not over ssh at all.
LOCAL = {"connection": "local"}
CONSOLE = {"connection": "local", "session": ""}


def test_good_input_has_no_problems():
    assert node.node_problems(GOOD) == []


@pytest.mark.parametrize("name", ["app1.example.net", "App1", "app_1", "192.0.2.9"])
def test_names_as_inventories_have_them(name):
    other = {"name": name, "address": "198.18.0.13"}
    assert node.node_problems(GOOD | {"members": [*GOOD["members"], other]}) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"address": "zk1"}, "node_address: zk1 is not an address"),
        ({"address": "198.18.0.99"}, "own address 198.18.0.99 is missing"),
        ({"members": GOOD["members"] * 2}, "name zk1 is there twice"),
        (
            {"members": [*GOOD["members"], {"name": "zk3", "address": "198.18.0.12"}]},
            "address 198.18.0.12 is there twice",
        ),
        (
            {"members": [*GOOD["members"], {"name": "ZK1", "address": "198.18.0.13"}]},
            "name zk1 is there twice",
        ),
        ({"members": [{"name": "zk 1", "address": "198.18.0.11"}]}, "zk 1: not a name of letters"),
        ({"control_addresses": []}, "node_control_addresses is empty"),
        (
            {"networks": ["198.18.0.1/24"]},
            "node_networks: 198.18.0.1/24 is not an address or a network",
        ),
        ({"control_addresses": ["198.18.0.1/24"]}, "198.18.0.1/24 is not an address or a network"),
        (came("192.0.2.9"), "leaves out 192.0.2.9, from which this run comes"),
        (came("fe80::1%eth0"), "leaves out fe80::1,"),
        (came("198.18.0.1", 2222), "node_ssh_port is 22, but this run comes in on port 2222"),
        (LOCAL | came("192.0.2.9"), "leaves out 192.0.2.9, from which this run comes"),
        (LOCAL | came("198.18.0.1", 2222), "node_ssh_port is 22, but this run comes in on port"),
        # The node from itself: any port is open to it.
        (came("198.18.0.1", server="198.18.0.1") | {"ssh_port": 23}, "23, where nothing listens"),
        (CONSOLE | {"ssh_port": 23}, "node_ssh_port is 23, where nothing listens"),
        ({"session": ""}, "its session cannot be found"),
        ({"session": "", "connection": "paramiko"}, "its session cannot be found"),
        ({"session": "", "connection": "community.general.libssh"}, "its session cannot be found"),
        ({"session": "UNKNOWN 65535 UNKNOWN 65535"}, "UNKNOWN is not an address"),
    ],
)
def test_wrong_input_is_named(change, problem):
    assert problem in "; ".join(node.node_problems(GOOD | change))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"port": None}, "give either port or ports"),
        ({"ports": [1]}, "give either port or ports"),
        ({"port": 65536}, "65536 is not a port"),
        ({"from": "everywhere"}, "not 'everywhere'"),
        ({"from": []}, "a list of addresses"),
        ({"from": ["here"]}, "here is not an address or a network"),
        ({"name": 'a" drop'}, "without quotation marks"),
        ({"name": "a\\"}, "without quotation marks"),
        ({"name": "a\nb"}, "without quotation marks"),
    ],
)
def test_a_wrong_rule_is_named(change, problem):
    rule = GOOD["allow"][0] | change
    assert problem in "; ".join(node.node_problems(GOOD | {"allow": [rule]}))


@pytest.mark.parametrize(
    "change",
    [
        {"firewall": False, "control_addresses": []},
        {"firewall": False, **came("192.0.2.9")},
        {"firewall": False, "session": ""},
        came("::ffff:198.18.0.1"),
        came("2001:db8::1"),
        came("198.18.0.1", 2222) | {"ssh_port": "2222"},
        came("198.18.0.1", 2222, server="198.18.0.1"),
        LOCAL,
        CONSOLE,
        CONSOLE | {"connection": "community.docker.docker"},
        # No sshd at all.
        CONSOLE | {"ssh_port": 23, "listening": []},
    ],
)
def test_what_is_right_in_its_place(change):
    assert node.node_problems(GOOD | change) == []


def test_networks_are_sorted_and_never_overlap():
    addresses = ["10.0.0.2", "10.0.0.1", "10.1.0.0/16", "10.1.2.3", "2001:db8::/32", "10.0.0.1"]
    assert node.networks(addresses, 4) == ["10.0.0.1", "10.0.0.2", "10.1.0.0/16"]
    assert node.networks(addresses, 6) == ["2001:db8::/32"]


def test_rules_name_their_sources_and_do_not_depend_on_order():
    rules = [
        {"name": "web", "ports": ["443", 80], "from": "anywhere"},
        {"name": "names", "port": 53, "protocol": "udp", "from": "fabric"},
        {"name": "quorum", "port": 2888, "from": ["198.18.0.12", "198.18.0.14"]},
    ]
    expected = [
        'ip saddr @fabric4 udp dport { 53 } accept comment "names"',
        'ip saddr { 198.18.0.12, 198.18.0.14 } tcp dport { 2888 } accept comment "quorum"',
        'ip6 saddr @fabric6 udp dport { 53 } accept comment "names"',
        'tcp dport { 80, 443 } accept comment "web"',
    ]
    assert node.firewall_lines(rules) == expected
    assert node.firewall_lines(reversed(rules)) == expected


def test_the_session_is_found_where_the_environment_was_cleared(tmp_path):
    variables = yaml.safe_load((SOURCE.parents[1] / "roles/node/vars/main.yml").read_text())
    (tmp_path / "probe").write_text(f"{variables['__node_session_sh']}\nsession\n")
    login = ["sh", "-c", f"env -i sh {tmp_path}/probe; true"]
    words = "198.18.0.1 50000 198.18.0.11 22"
    environment = {**os.environ, "SSH_CONNECTION": words}
    done = subprocess.run(login, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == f"{words}\n"
    assert done.stderr == ""
