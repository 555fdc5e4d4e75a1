"""The order of an inventory's hosts and groups changes no file and no unit of any role."""

from __future__ import annotations

import base64
import json

import pytest
import yaml
from test_inventories import ROOT, ansible_playbook

NUMBERS = {
    "zk1": 11,
    "zk2": 12,
    "app1.example.net": 21,
    "App_2": 22,
    "ctl1": 41,
    "ctl2": 42,
}
# Lists that an operator makes from groups are in the inventory's order.
ADDRESSES = "groups['{}'] | map('extract', hostvars, 'ansible_host')"
INVENTORY = {
    "fabric": {
        "children": {
            "zookeeper": {"hosts": {name: {} for name in NUMBERS if name.startswith("zk")}},
            "services": {
                "hosts": {"app1.example.net": {}, "App_2": {}},
                "vars": {
                    "fabric_instances": [
                        {"service": "orders", "port": 8081},
                        {"service": "inventory", "port": 8080},
                    ],
                    "fabric_instance_units": ["orders.service", "inventory.service"],
                },
            },
            "edge": {"hosts": {"app1.example.net": {}, "App_2": {}}},
            "controller": {"hosts": {"ctl1": {}, "ctl2": {}}},
        },
        "hosts": {
            name: {
                "ansible_host": f"198.18.0.{number}",
                "zookeeper_id": number - 10,
            }
            for name, number in NUMBERS.items()
        },
        "vars": {
            "fabric_services": [
                {"name": "orders", "port": 3001},
                {"name": "inventory", "port": 3000},
            ],
            "fabric_control_addresses": "{{ " + ADDRESSES.format("edge") + " }}",
            "fabric_networks": "{{ " + ADDRESSES.format("services") + " }}",
            "fabric_zookeeper_hosts": (
                "{{ " + ADDRESSES.format("zookeeper") + " | map('regex_replace', '$', ':2181') }}"
            ),
            "fabric_extra_firewall": [
                {"name": "b", "ports": [2, 1], "from": "{{ " + ADDRESSES.format("edge") + " }}"},
                {"name": "a", "port": 9100, "from": "{{ " + ADDRESSES.format("controller") + " }}"},
            ],
        },
    }
}


def turned(value):
    """Every mapping and list from its end."""
    if isinstance(value, dict):
        return {key: turned(item) for key, item in reversed(value.items())}
    if isinstance(value, list):
        return [*map(turned, reversed(value))]
    return value


# What becomes a file without being a template.
LISTS = {
    "node": {
        "hosts": "{{ __node_hosts_block }}",
        "sysctl": "{{ __node_sysctl | to_nice_yaml }}",
    },
}
KNOWN = "".join(f"198.18.0.{number} ssh-ed25519 {name}\n" for name, number in NUMBERS.items())
# What the roles' tasks find on a host.
SEEN = {
    "__node_updates_compared": {"rc": 0},
    "__node_seen": {"stdout_lines": ["session ", "hostname host", "fqdn host.example.net"]},
    "__schedule_former_keys": {"content": base64.b64encode(KNOWN.encode()).decode()},
}


def play_of(play, elsewhere):
    """A play that renders all that the play's role would write, for each of its hosts."""
    (given,) = play["roles"]
    role = ROOT / "roles" / given["role"]
    texts = {
        path.stem: "{{ lookup('ansible.builtin.template', '" + str(path) + "') }}"
        for path in role.glob("templates/*.j2")
    } | LISTS.get(role.name, {})
    return {
        "hosts": play["hosts"],
        "gather_facts": False,
        "vars_files": [str(role / folder / "main.yml") for folder in ("defaults", "vars")],
        "tasks": [
            {
                "ansible.builtin.set_fact": {f"rendered_{role.name}": texts},
                "vars": given.get("vars", {}) | elsewhere | SEEN,
            }
        ],
    }


COLLECT = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.copy:
        dest: "{{ playbook_dir }}/rendered.json"
        content: "{{ groups['__fabric_members'] | map('extract', hostvars) | map('dict2items')
                     | map('selectattr', 'key', 'match', 'rendered_|inventory_hostname$')
                     | map('items2dict') | to_json }}"
        mode: "0644"
"""


@pytest.fixture
def written(tmp_path):
    """What the roles would write for an inventory: texts by host, role and file."""

    def _written(name, inventory):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "hosts.yml").write_text(yaml.safe_dump(inventory, sort_keys=False))
        site = yaml.safe_load((ROOT / "playbooks/site.yml").read_text())
        # What role schedule gets in its other plays.
        tasks = [task for play in site for task in play.get("tasks", ())]
        elsewhere = {name: value for task in tasks for name, value in task["vars"].items()}
        plays = [play_of(play, elsewhere) for play in site if "roles" in play]
        beginning = {"ansible.builtin.import_playbook": str(ROOT / "playbooks/fabric.yml")}
        (folder / "render.yml").write_text(yaml.safe_dump([beginning, *plays]) + COLLECT)
        done = ansible_playbook(folder, folder / "hosts.yml", folder / "render.yml")
        assert done.returncode == 0, done.stdout + done.stderr
        return {
            f"{host['inventory_hostname']}: {role}: {file}": text
            for host in json.loads((folder / "rendered.json").read_text())
            for role, files in host.items()
            if role != "inventory_hostname"
            for file, text in files.items()
        }

    return _written


def test_the_order_of_hosts_and_groups_changes_no_file(written):
    straight, around = written("straight", INVENTORY), written("turned", turned(INVENTORY))
    assert "App_2: rendered_registrar: selvage-registrar.service" in straight
    assert "1,2,22,3000,3001,8080,8081,8404,9100" in straight["App_2: rendered_node: sysctl"]
    assert {*straight} == {*around}
    assert [name for name, text in straight.items() if around[name] != text] == []
