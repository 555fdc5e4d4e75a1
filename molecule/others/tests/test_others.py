"""The fabric on servers that are not our lab's, as seen on them."""

import os
import subprocess

import pytest

CONFIG = f"/var/lib/selvage-lab/{os.environ['LAB_NAME']}/ssh/config"
PASSWORD = "of the lab alone"
ONE, TWO, THREE = EVERY = ("one", "two", "three")
ADDRESSES = dict(zip(EVERY, (f"{os.environ['LAB_PREFIX']}.{n}" for n in (11, 12, 13)), strict=True))


def shell(name: str, command: str) -> str:
    """What a command prints on a host, as root by way of the operator's account."""
    ssh = ["ssh", "-F", CONFIG, "-p", "2222", f"operator@{ADDRESSES[name]}"]
    done = subprocess.run(
        [*ssh, f"sudo --stdin --prompt= sh -c '{command}'"],
        input=f"{PASSWORD}\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{name}: {command}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("name", EVERY)
def test_nothing_failed(name):
    assert shell(name, "systemctl --failed --quiet") == ""


@pytest.mark.parametrize("name", EVERY)
def test_both_instances_answer_on_every_host(name):
    answers = shell(name, "for i in 1 2 3 4 5 6; do curl -sS -m 60 127.0.0.1:3000/; echo; done")
    assert '"one"' in answers and '"two"' in answers


def test_a_host_of_three_tiers_has_the_rules_and_the_tuning_of_each():
    rules = shell(ONE, "nft list table inet selvage")
    for port in ("2222", "2181", "2888, 3888", "8080"):
        assert f"tcp dport {{ {port} }}" in rules or f"tcp dport {port} " in rules, rules
    assert shell(ONE, "sysctl -n net.core.somaxconn").strip() == "4096"
    assert "8080" not in shell(THREE, "nft list table inet selvage")


@pytest.mark.parametrize("name", EVERY)
def test_what_the_operator_had_is_kept(name):
    assert "install ok installed" in shell(name, "dpkg --status chrony")
    assert "install ok installed" not in shell(name, "dpkg --status systemd-timesyncd || true")
    (former,) = shell(name, "ls /etc/systemd/system/zookeeper.service*~").split()
    assert "ExecStart=/bin/true" in shell(name, f"cat {former}")


@pytest.mark.parametrize("name", EVERY)
def test_a_host_keeps_its_own_names(name):
    assert shell(name, "hostname --fqdn").strip() == f"{name}.shop.example"
    assert shell(name, f"getent ahostsv4 {name}").split()[0] == ADDRESSES[name]


def test_the_schedule_comes_through_the_operators_port():
    # cron starts it each minute; the limit only ends a broken test.
    shell(ONE, 'timeout 300 sh -c "until selvage-reconcile --status; do sleep 1; done"')
    assert " failed=0 " in shell(ONE, "tail --lines=1 /var/log/selvage/reconcile.log")
