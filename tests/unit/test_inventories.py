"""Inventories as operators write them, through Ansible itself: what each host's settings become."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.vault import VaultLib, VaultSecret

ROOT = Path(__file__).parents[2]

# After the first play: what the others would hand to the roles, and to which hosts.
SHOW = """
- ansible.builtin.import_playbook: {root}/playbooks/fabric.yml
- hosts: __fabric_members
  gather_facts: false
  tasks:
    - ansible.builtin.copy:
        dest: "{folder}/shown.json"
        content: "{{{{ shown | to_json }}}}"
        mode: "0644"
      delegate_to: localhost
      connection: local
      become: false
      check_mode: false
      run_once: true
      vars:
        shown:
          map: "{{{{ __fabric_map }}}}"
          plays: "{{{{ groups }}}}"
"""


@dataclass
class Run:
    """One run of the map."""

    code: int
    output: str
    shown: dict[str, Any]

    def of(self, host: str) -> dict[str, Any]:
        """A host's settings."""
        return self.shown["map"]["hosts"][host]

    def play(self, group: str) -> set[str]:
        """The hosts that a play for this group would have."""
        return {*self.shown["plays"].get(f"__fabric_{group}", [])}

    @property
    def problems(self) -> list[str]:
        """What was refused."""
        (line,) = re.findall(r"^\[ERROR\]: Task failed: Action failed: (.*)$", self.output, re.M)
        return line.split("; ")


@pytest.fixture
def run(tmp_path):
    """Draw the map of an inventory, given by file name and text."""

    def _run(files: dict[str, str], *arguments: str) -> Run:
        inventory = tmp_path / "inventory"
        for name, text in files.items():
            path = inventory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        inventory.mkdir(exist_ok=True)
        (tmp_path / "show.yml").write_text(SHOW.format(root=ROOT, folder=tmp_path))
        done = ansible_playbook(tmp_path, inventory, tmp_path / "show.yml", *arguments)
        shown = tmp_path / "shown.json"
        return Run(
            done.returncode,
            done.stdout + done.stderr,
            json.loads(shown.read_text()) if shown.exists() else {},
        )

    _run.folder = tmp_path
    return _run


def encrypted(text: str, password: str) -> str:
    """A file as `ansible-vault encrypt` leaves it."""
    secret = VaultSecret(password.encode())
    return VaultLib([("default", secret)]).encrypt(text.encode(), secret).decode()


def ansible_playbook(folder: Path, inventory: Path, playbook: Path, *arguments: str):
    program = Path(sys.executable).with_name("ansible-playbook")
    return subprocess.run(
        [program, "-i", inventory, playbook, *arguments],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_HOME": str(folder),
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
            "ANSIBLE_NOCOLOR": "1",
            "COLUMNS": "200",
            "LC_ALL": "C.UTF-8",
        },
        capture_output=True,
        text=True,
        check=False,
    )


HOSTS = """
all:
  children:
    fabric:
      hosts:
        zk1: {ansible_host: 203.0.113.1, private_ip: 198.18.0.11, zookeeper_id: 1}
        app1: {ansible_host: 203.0.113.2, private_ip: 198.18.0.21}
        edge1: {ansible_host: 203.0.113.3, private_ip: 198.18.0.31}
    zookeeper: {hosts: {zk1: }}
    # Other teams have hosts in this group, too.
    services: {hosts: {app1: , billing1: {ansible_host: 203.0.113.9}}}
    edge: {hosts: {edge1: }EDGE}
"""
CATALOGUE = """
fabric_services: [{name: inventory, port: 3000}, {name: orders, port: 3001}]
fabric_control_addresses: [203.0.113.7]
"""


def test_the_inventorys_group_vars_all_beats_the_defaults(run):
    variables = 'fabric_address: "{{ private_ip }}"\nfabric_networks: [198.18.0.0/24]\n'
    done = run(
        {"hosts.yml": HOSTS.replace("EDGE", ""), "group_vars/all.yml": CATALOGUE + variables}
    )
    assert done.code == 0, done.output
    assert done.of("app1")["address"] == "198.18.0.21"
    assert done.of("app1")["networks"] == ["198.18.0.0/24"]
    # billing1's public address would stand here, had it been asked.
    assert [node["address"] for node in done.shown["map"]["members"]] == [
        "198.18.0.21",
        "198.18.0.31",
        "198.18.0.11",
    ]


def test_a_setting_works_wherever_the_inventory_has_it(run):
    files = {
        "hosts.yml": HOSTS.replace("EDGE", ", vars: {haproxy_services: [orders]}"),
        "group_vars/all.yml": CATALOGUE + "fabric_zone: a\n",
        "group_vars/edge.yml": "fabric_profiles: [cache]",
        "host_vars/edge1.yml": "fabric_zone: b",
    }
    done = run(files, "-e", '{"fabric_networks": ["198.18.0.0/24"]}')
    assert done.code == 0, done.output
    edge, app = done.of("edge1"), done.of("app1")
    assert [service["name"] for service in edge["services"]] == ["orders"]
    assert [service["name"] for service in app["services"]] == ["inventory", "orders"]
    assert (edge["profiles"], app["profiles"]) == (["cache"], ["proxy"])
    assert (edge["zone"], app["zone"]) == ("b", "a")
    assert edge["networks"] == app["networks"] == ["198.18.0.0/24"]


def test_hosts_outside_the_limit_are_resolved_too(run):
    files = {"hosts.yml": HOSTS.replace("EDGE", ""), "group_vars/all.yml": CATALOGUE}
    done = run(files, "--limit", "app1")
    assert done.code == 0, done.output
    assert done.of("edge1")["address"] == "203.0.113.3"
    assert done.play("sidecars") == {"app1", "edge1"}
    assert "edge1 " not in done.output  # its line in the recap
    assert re.search(r"^app1 +: ok=4 +changed=1 ", done.output, re.M)


def test_plays_take_no_hosts_of_other_teams(run):
    done = run({"hosts.yml": HOSTS.replace("EDGE", ""), "group_vars/all.yml": CATALOGUE})
    assert done.code == 0, done.output
    assert done.play("services") == {"app1"}
    assert done.play("sidecars") == {"app1", "edge1"}
    assert done.play("members") == {"app1", "edge1", "zk1"}


TWO = """
all:
  children:
    production:
      hosts:
        p-zk: {ansible_host: 198.18.0.11, zookeeper_id: 1}
        p-app: {ansible_host: 198.18.0.21}
      vars: {fabric_group: production}
    staging:
      hosts:
        s-zk: {ansible_host: 198.18.1.11, zookeeper_id: 1}
        s-app: {ansible_host: 198.18.1.21}
      vars: {fabric_group: staging}
    keepers: {hosts: {p-zk: , s-zk: }}
    web: {hosts: {p-app: , s-app: }}
  vars: {fabric_zookeeper_group: keepers, fabric_services_group: web, fabric_services: []}
"""


@pytest.mark.parametrize("arguments", [("-e", "fabric_group=production"), ("--limit", "p-app")])
def test_two_fabrics_in_one_inventory_stay_two(run, arguments):
    done = run({"hosts.yml": TWO}, *arguments)
    assert done.code == 0, done.output
    assert {*done.shown["map"]["hosts"]} == {"p-zk", "p-app"}
    assert done.of("p-app")["zookeeper_hosts"] == ["198.18.0.11:2181"]
    assert (done.play("zookeeper"), done.play("services")) == ({"p-zk"}, {"p-app"})


def test_a_run_for_two_fabrics_is_refused(run):
    done = run({"hosts.yml": TWO})
    assert done.code != 0
    assert done.problems == [
        "production and staging are fabrics of their own, and a run is for one: choose it, such as"
        " with -e fabric_group=production"
    ]


WEB = "all: {hosts: {web1: {ansible_host: 198.18.0.1}}}"


@pytest.mark.parametrize(
    ("playbook", "hosts"), [("site", WEB), ("site", ""), ("reconcile", WEB), ("maintenance", WEB)]
)
def test_an_inventory_without_a_fabric_is_refused(tmp_path, playbook, hosts):
    (tmp_path / "hosts.yml").write_text(hosts)
    done = ansible_playbook(
        tmp_path, tmp_path / "hosts.yml", ROOT / "playbooks" / f"{playbook}.yml"
    )
    assert done.returncode != 0
    line = "no host of this run is in the group fabric: put the fabric's hosts there, or name their"
    assert line in done.stdout + done.stderr


def test_a_zookeeper_of_ones_own_needs_no_group(run):
    hosts = """
fabric:
  vars: {fabric_zookeeper_hosts: ["zk.example:2181", "198.18.0.9:2182"], fabric_services: []}
  children: {services: {hosts: {app1: {ansible_host: 198.18.0.21}}}}
"""
    done = run({"hosts.yml": hosts})
    assert done.code == 0, done.output
    assert done.of("app1")["zookeeper_hosts"] == ["zk.example:2181", "198.18.0.9:2182"]
    assert done.play("zookeeper") == set()


def test_no_zookeeper_at_all_is_refused(run):
    hosts = """
fabric:
  vars: {fabric_services: []}
  children: {services: {hosts: {app1: {ansible_host: 198.18.0.21}}}}
"""
    done = run({"hosts.yml": hosts})
    assert done.problems == [
        "app1: no host of fabric is in the group zookeeper: put its members there, or set"
        " fabric_zookeeper_hosts to those of a ZooKeeper of your own"
    ]


def test_what_cannot_be_meant_is_refused_in_check_mode_too(run):
    variables = """
fabric_services: [{name: inventory, port: 3000, check: {interval: soon}}]
fabric_netwroks: [192.0.2.0/24]
node_firewall_allow: []
fabric_zone: "{{ nobody_set_this }}"
"""
    files = {"hosts.yml": HOSTS.replace("EDGE", ""), "group_vars/fabric.yml": variables}
    done = run(files, "--check")
    assert done.code != 0
    hosts = "app1, edge1, zk1"
    netwroks, interval, zone, allow = done.problems
    assert interval.startswith(f"{hosts}: fabric_services[0].check.interval: expected a duration")
    assert netwroks == (
        f"{hosts}: fabric_netwroks is no variable of the fabric, did you mean fabric_networks?"
    )
    assert zone == f"{hosts}: fabric_zone: 'nobody_set_this' is undefined"
    assert allow == (
        f"{hosts}: node_firewall_allow has no effect here: set fabric_extra_firewall instead"
    )


def test_a_host_without_an_address_is_named(run):
    hosts = "fabric: {hosts: {app1: , app2: {ansible_host: app2.example}}}"
    done = run({"hosts.yml": hosts}, "-e", '{"fabric_zookeeper_hosts": ["198.18.0.9:2181"]}')
    assert done.problems == [
        "app1: fabric_address: set it, or ansible_host, to the host's IPv4 address in the fabric",
        "app2: fabric_address: expected the host's IPv4 address in the fabric, got 'app2.example'",
    ]


def test_a_host_of_several_tiers_has_the_union(run):
    hosts = """
fabric:
  children:
    zookeeper: {hosts: {one: {ansible_host: 198.18.0.11, zookeeper_id: 1}}}
    services:
      hosts: {one: }
      vars: {fabric_instances: [{service: inventory, port: 8080}]}
    controller: {hosts: {one: }}
  vars: {fabric_services: [{name: inventory, port: 3000}]}
"""
    done = run({"hosts.yml": hosts})
    assert done.code == 0, done.output
    assert done.of("one")["profiles"] == ["zookeeper", "proxy"]
    assert [rule.get("port") or rule["ports"] for rule in done.of("one")["firewall"]] == [
        2181,
        [2888, 3888],
        8080,
    ]
    for tier in ("zookeeper", "services", "sidecars", "controller"):
        assert done.play(tier) == {"one"}


def test_the_example_is_accepted_once_its_secrets_are_somebodys_own(run):
    """Its map alone: nothing connects to its hosts."""
    example = ROOT / "inventories/example"
    files = {str(path.relative_to(example)): path.read_text() for path in example.rglob("*.yml")}
    done = run(files, "--check")
    assert done.code != 0 and not done.shown
    assert len(done.problems) == 7
    for name in ("fabric_ca_passphrase", "redis_admin_passwords[0]", "mysql_backup_passwords[0]"):
        line = f"{name}: it contains 'changeme', as examples do"
        assert any(line in problem for problem in done.problems)

    # A vault, as an operator makes it.
    secret, password = "kept-f0r-the-operator-al0ne", run.folder / "password"
    password.write_text("any")
    vault = "group_vars/fabric/vault.yml"
    text = re.sub("CHANGE-ME", lambda found: f"{secret}{found.start():04}", files[vault])
    done = run(files | {vault: encrypted(text, "any")}, "--vault-password-file", password, "-vvvv")
    assert done.code == 0, done.output
    assert done.play("sidecars") == {"app1", "app2", "edge1", "edge2"}
    assert [service["name"] for service in done.of("edge1")["services"]] == ["inventory"]
    assert secret not in done.output and secret not in str(done.shown)


def test_a_wrong_firewall_rule_is_refused_once_for_all_hosts(run):
    variables = CATALOGUE + "fabric_extra_firewall: [{name: peers, protocol: vrpp, from: fabric}]\n"
    done = run({"hosts.yml": HOSTS.replace("EDGE", ""), "group_vars/all.yml": variables})
    (line,) = done.problems
    assert line.startswith(
        "app1, edge1, zk1: fabric_extra_firewall[0].protocol: expected one of tcp, udp, sctp, ah,"
    )
