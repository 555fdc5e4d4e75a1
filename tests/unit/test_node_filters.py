"""Role node: input that does not fit is named."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

import node

ROOT = Path(__file__).parents[2]

GOOD = {
    "address": "198.18.0.11",
    "members": [
        {"name": "zk1", "address": "198.18.0.11"},
        {"name": "zk2", "address": "198.18.0.12"},
    ],
    "control_addresses": ["198.18.0.0/28", "2001:db8::1"],
    "networks": [],
    "allow": [{"name": "ZooKeeper's clients", "port": 2181, "from": "fabric"}],
    "close": ["rpcbind", "5353/udp"],
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
        ({"port": None}, "port: give either port or ports"),
        ({"ports": [1]}, "port: give either port or ports"),
        ({"port": 65536}, "port: expected a whole number from 1 to 65535, got 65536"),
        ({"port": None, "ports": []}, "ports: an empty list opens nothing: leave the rule out"),
        ({"port": None, "ports": [80, "http"]}, "ports.1: expected a whole number"),
        ({"protocol": "vrrp"}, "port: vrrp has no ports"),
        ({"protocol": "icmp"}, "protocol: expected one of tcp, udp, sctp, ah, esp, gre, igmp, "),
        ({"interface": "a-name-of-16-chr"}, "interface: expected a network interface"),
        ({"interface": 'eth0"'}, "interface: expected a network interface"),
        ({"interface": "*"}, "interface: expected a network interface"),
        ({"from": "everywhere"}, "from: expected fabric, control, anywhere, or a list of addr"),
        ({"from": None}, "from: is required"),
        ({"from": []}, "from: expected fabric, control, anywhere, or a list of addresses"),
        ({"from": ["here"]}, "from[0]: here is not an address or a network"),
        ({"name": 'a" drop'}, "name: expected up to 100 plain characters, without quotation"),
        ({"name": "a\\"}, "name: expected up to 100 plain characters, without quotation marks"),
        ({"name": "a\nb"}, "name: expected up to 100 plain characters, without quotation marks"),
        ({"iface": "eth0"}, "iface: is not a known field; did you mean interface?"),
    ],
)
def test_a_wrong_rule_is_named(change, problem):
    rule = GOOD["allow"][0] | change
    (line,) = node.node_problems(GOOD | {"allow": [rule]})
    assert line.startswith(f"node_firewall_allow[0].{problem}")
    assert "\n" not in line


@pytest.mark.parametrize("name", ["8080", "8080/", "111/rpc", "", "a name of 16 chr", 8080])
def test_what_may_be_closed_is_a_port_or_a_program(name):
    (line,) = node.node_problems(GOOD | {"close": ["rpcbind", name]})
    expected = "expected a port such as 111/udp, or the name of a program"
    assert line.startswith(f"node_firewall_close[1]: {expected}")


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


def test_the_session_is_found_where_the_environment_was_cleared(tmp_path):
    variables = yaml.safe_load((ROOT / "roles/node/vars/main.yml").read_text())
    (tmp_path / "probe").write_text(f"{variables['__node_session_sh']}\nsession\n")
    login = ["sh", "-c", f"env -i sh {tmp_path}/probe; true"]
    words = "198.18.0.1 50000 198.18.0.11 22"
    environment = {**os.environ, "SSH_CONNECTION": words}
    done = subprocess.run(login, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == f"{words}\n"
    assert done.stderr == ""
