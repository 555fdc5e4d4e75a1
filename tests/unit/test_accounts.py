"""Whose rights a playbook acts with, whatever the inventory says about accounts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Writes down whom it was asked for, and does as it was told, as whoever runs the test.
SUDO = """#!/bin/sh
while test $# -gt 0; do
  case $1 in
    -u) echo "$2" >> {asked}; shift 2 ;;
    -*) shift ;;
    *) break ;;
  esac
done
exec "$@"
"""
VARIABLES = ("service=inventory", "server=192.0.2.1:8080", "state=ready")


@pytest.mark.parametrize("playbook", ["reconcile.yml", "maintenance.yml"])
@pytest.mark.parametrize("account", ["ansible_become_user=admin", "ansible_sudo_user=admin"])
def test_the_inventory_does_not_choose_who_steers_haproxy(tmp_path, playbook, account):
    asked = tmp_path / "asked"
    sudo = tmp_path / "sudo"
    sudo.write_text(SUDO.format(asked=asked))
    sudo.chmod(0o755)
    (tmp_path / "hosts").write_text(
        "[fabric:children]\nservices\n"
        "[services]\nnode ansible_connection=local ansible_pipelining=true\n"
        f"[services:vars]\nansible_become=true\nansible_become_exe={sudo}\n{account}\n"
        "fabric_address=192.0.2.1\nfabric_control_addresses=['192.0.2.9']\n"
        "fabric_zookeeper_hosts=['192.0.2.11:2181']\n"
        "fabric_services=[{'name': 'inventory', 'port': 3000, 'instance_port': 8080}]\n"
    )
    command = [Path(sys.executable).with_name("ansible-playbook"), f"playbooks/{playbook}"]
    command += ["-i", tmp_path / "hosts", "--check"]
    command += [word for variable in VARIABLES for word in ("-e", variable)]
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_HOME": str(tmp_path),
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        "LC_ALL": "C.UTF-8",
    }
    # The module finds no reconciler here and fails; who was to run it is what counts.
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert asked.exists(), run.stdout + run.stderr
    assert set(asked.read_text().split()) == {"selvage-reconciler"}
