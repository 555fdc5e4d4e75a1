"""Restarts come in batches, and one that fails ends the run: site.yml's plays, without roles."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_inventories import ansible_playbook

ROOT = Path(__file__).parents[2]
RESTARTING = {"haproxy", "reconciler", "registrar"}

HOSTS = """
all:
  vars: {ansible_connection: local, ansible_host: 198.18.0.9}
fabric:
  children:
    services:
      hosts:
        app1: {ansible_host: 198.18.0.1}
        app2: {ansible_host: 198.18.0.2}
        app3: {ansible_host: 198.18.0.3}
        app4: {ansible_host: 198.18.0.4}
        app5: {ansible_host: 198.18.0.5}
  vars: {fabric_services: [], fabric_zookeeper_hosts: ["198.18.0.11:2181"]VARS}
"""


def reduced() -> list[dict[str, Any]]:
    """The playbook with a task instead of its restarting roles, and without its other plays."""
    plays = yaml.safe_load((ROOT / "playbooks/site.yml").read_text())
    restarting = [
        play for play in plays if RESTARTING & {role["role"] for role in play.get("roles", ())}
    ]
    for play in restarting:
        (role,) = play.pop("roles")
        report = {"msg": f"<{role['role']} on {{{{ ansible_play_batch | sort | join(' ') }}}}>"}
        play["gather_facts"] = False
        play["tasks"] = [
            {"ansible.builtin.debug": report, "run_once": True},
            {"ansible.builtin.fail": {}, "when": "inventory_hostname == broken | default('')"},
        ]
    fabric = {"ansible.builtin.import_playbook": str(ROOT / "playbooks/fabric.yml")}
    return [fabric, *restarting]


@pytest.fixture
def batches(tmp_path):
    """The batches that a run begins, in order, and its exit code."""

    def _batches(variables: str, *arguments: str) -> tuple[list[str], int]:
        (tmp_path / "hosts.yml").write_text(HOSTS.replace("VARS", variables))
        (tmp_path / "site.yml").write_text(yaml.safe_dump(reduced()))
        done = ansible_playbook(tmp_path, tmp_path / "hosts.yml", tmp_path / "site.yml", *arguments)
        return re.findall(r"<(\w+ on [\w ]+)>", done.stdout), done.returncode

    return _batches


def test_first_one_host_and_then_a_share(batches):
    begun, code = batches("")
    alone = ["app1", "app2", "app3", "app4", "app5"]
    assert begun == [f"{role} on {host}" for role in sorted(RESTARTING) for host in alone]
    begun, code = batches(', fabric_serial: [1, "50%"]')
    assert begun[:3] == ["haproxy on app1", "haproxy on app2 app3", "haproxy on app4 app5"]
    assert code == 0


def test_a_batch_that_fails_ends_the_run(batches):
    begun, code = batches(", fabric_serial: 2", "-e", "broken=app3")
    assert begun == ["haproxy on app1 app2", "haproxy on app3 app4"]
    assert code != 0
