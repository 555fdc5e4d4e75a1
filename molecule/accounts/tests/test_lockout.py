"""No protection of the firewall passes without having looked, whoever runs it from wherever."""

import pytest

from conftest import DETACHED, OVER_SSH, WAYS, Way, provision

# Nobody of the lab.
ELSEWHERE = ["192.0.2.1"]


def wrong_port(way: Way) -> int:
    """A port on which sshd listens, but not the one through which the run comes."""
    return 2222 if way.port == 22 else 22


@pytest.mark.parametrize("name", WAYS)
def test_right_rules_come_into_force_and_stay(console, folder, rules, name):
    way = WAYS[name]
    run = provision(console, folder, way)
    assert run.rc == 0, run.output
    assert f"tcp dport {way.port} accept" in rules()
    assert console("ls /etc/selvage-firewall.nft")
    again = provision(console, folder, way)
    assert again.rc == 0 and "changed=0 " in again.output, again.output


@pytest.mark.parametrize("name", WAYS)
def test_wrong_control_addresses_are_refused(console, folder, rules, name):
    way = WAYS[name]
    run = provision(console, folder, way, node_control_addresses=ELSEWHERE)
    assert run.rc != 0 and rules() == "", run.output
    assert f"node_control_addresses leaves out {way.client}, from which this run comes" in run.words


@pytest.mark.parametrize("name", WAYS)
def test_a_wrong_ssh_port_is_refused(console, folder, rules, name):
    way = WAYS[name]
    run = provision(console, folder, way, node_ssh_port=wrong_port(way))
    assert run.rc != 0 and rules() == "", run.output
    wrong = f"node_ssh_port is {wrong_port(way)}, but this run comes in on port {way.port}"
    assert wrong in run.words


@pytest.mark.parametrize("wrong", ["addresses", "port"])
@pytest.mark.parametrize("name", OVER_SSH)
def test_wrong_rules_that_were_not_refused_are_rolled_back(console, folder, rules, name, wrong):
    way = WAYS[name]
    inputs = {
        "addresses": {"node_control_addresses": ELSEWHERE},
        "port": {"node_ssh_port": wrong_port(way)},
    }[wrong]
    # The part alone: without the first protection.
    run = provision(console, folder, way, part="firewall", node_firewall_patience=25, **inputs)
    assert run.rc != 0 and rules() == "", run.output
    assert "The new firewall rules let no new ssh connection in" in run.words
    assert console("ls /etc/selvage-firewall.nft", check=False) == ""


def test_each_host_is_confirmed_before_the_next_one_is_tried(console, folder, rules, second):
    """As one of hundreds: whoever waits for the others, waits longer than its own patience."""
    patience = {"part": "firewall", "node_firewall_patience": 30}
    run = provision(console, folder, WAYS["root"], second, **patience)
    assert run.rc == 0 and "tcp dport 22 accept" in rules(), run.output


def test_without_any_ssh_session_the_run_says_what_nobody_looked_at(console, folder, rules):
    run = provision(console, folder, DETACHED)
    assert run.rc == 0 and "tcp dport 22 accept" in rules(), run.output
    assert "This run comes over no ssh session" in run.words


def test_without_any_ssh_session_the_port_has_to_be_sshds(console, folder, rules):
    run = provision(console, folder, DETACHED, node_ssh_port=2223)
    assert run.rc != 0 and rules() == "", run.output
    assert "node_ssh_port is 2223, where nothing listens" in run.words
