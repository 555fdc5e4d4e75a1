"""No protection of the firewall passes without having looked, whoever runs it from wherever."""

import pytest
from ways import DETACHED, OVER_SSH, WAYS

from conftest import Lab, inputs

# Nobody of the lab.
ELSEWHERE = ["192.0.2.1"]
# Without the first protection.
UNJUDGED = {"parts": ["firewall"], "node_firewall_patience": 25}


@pytest.fixture(scope="module")
def right_twice(lab: Lab):
    return lab.each_way(inputs, times=2)


@pytest.fixture(scope="module")
def wrong_addresses(lab: Lab):
    return lab.each_way(lambda way: inputs(way, node_control_addresses=ELSEWHERE))


@pytest.fixture(scope="module")
def wrong_port(lab: Lab):
    return lab.each_way(lambda way: inputs(way, node_ssh_port=way.wrong_port))


@pytest.fixture(scope="module", params=["addresses", "port"])
def unjudged(lab: Lab, request):
    def wrong(way):
        port = {"node_ssh_port": way.wrong_port}
        changes = {"addresses": {"node_control_addresses": ELSEWHERE}, "port": port}
        return inputs(way, **UNJUDGED, **changes[request.param])

    return lab.over_ssh(wrong)


@pytest.mark.parametrize("name", WAYS)
def test_right_rules_come_into_force_and_stay(right_twice, name):
    run = right_twice[name]
    assert run.rc == 0 and "changed=0 " in run.output, run.output
    assert f"tcp dport {WAYS[name].port} accept" in run.rules
    assert run.file


@pytest.mark.parametrize("name", WAYS)
def test_wrong_control_addresses_are_refused(wrong_addresses, name):
    run = wrong_addresses[name]
    assert run.rc != 0 and run.rules == "", run.output
    client = WAYS[name].client
    assert f"node_control_addresses leaves out {client}, from which this run comes" in run.words


@pytest.mark.parametrize("name", WAYS)
def test_a_wrong_ssh_port_is_refused(wrong_port, name):
    run, way = wrong_port[name], WAYS[name]
    assert run.rc != 0 and run.rules == "", run.output
    wrong = f"node_ssh_port is {way.wrong_port}, but this run comes in on port {way.port}"
    assert wrong in run.words


@pytest.mark.parametrize("name", OVER_SSH)
def test_wrong_rules_that_were_not_refused_are_rolled_back(unjudged, name):
    run = unjudged[name]
    assert run.rc != 0 and run.rules == "" and run.file == "", run.output
    assert "The new firewall rules let no new ssh connection in" in run.words


def test_each_host_is_confirmed_before_the_next_one_is_tried(lab: Lab, second):
    """As one of hundreds: whoever waits for the others, waits longer than its own patience."""
    for node in ("root", "port"):
        lab.consoles[node].clean()
    patience = {"parts": ["firewall"], "node_firewall_patience": 30}
    way = OVER_SSH["root"]
    first = inputs(way, **way.variables)
    runs = lab.run({"first": first | patience, "second": second | patience}, forks=1)
    assert [rc for rc, _ in runs.values()] == [0, 0], runs
    assert "tcp dport 22 accept" in lab.consoles["root"].rules()


def test_without_any_ssh_session_the_run_says_what_nobody_looked_at(lab: Lab):
    run = lab.alone(DETACHED, inputs)
    assert run.rc == 0 and "tcp dport 22 accept" in run.rules, run.output
    assert "This run comes over no ssh session" in run.words


def test_without_any_ssh_session_the_port_has_to_be_sshds(lab: Lab):
    run = lab.alone(DETACHED, lambda way: inputs(way, node_ssh_port=2223))
    assert run.rc != 0 and run.rules == "", run.output
    assert "node_ssh_port is 2223, where nothing listens" in run.words
