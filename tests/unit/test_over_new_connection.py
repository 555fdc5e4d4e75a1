"""The step that a host takes alone, however many others are in its play."""

from __future__ import annotations

import json

from test_inventories import ansible_playbook

PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - over_new_connection:
        first: echo '{{ inventory_hostname }} first' >> {folder}/order; exit {{ first }}
        then: echo '{{ inventory_hostname }} then' >> {folder}/order; exit {{ then }}
      register: tried
      check_mode: "{{ check | default(false) }}"
      ignore_errors: true
    - ansible.builtin.copy:
        dest: "{folder}/{{ inventory_hostname }}.json"
        content: "{{ tried | to_json }}"
        mode: "0644"
"""


def test_each_host_comes_back_before_the_next_one_leaves(tmp_path):
    hosts = {"one": {}, "two": {"then": 3}, "three": {"first": 1}, "four": {"check": True}}
    local = {"ansible_connection": "local", "first": 0, "then": 0}
    (tmp_path / "hosts.yml").write_text(json.dumps({"all": {"hosts": hosts, "vars": local}}))
    (tmp_path / "play.yml").write_text(PLAY.replace("{folder}", str(tmp_path)))
    done = ansible_playbook(tmp_path, tmp_path / "hosts.yml", tmp_path / "play.yml", "--forks=1")
    assert done.returncode == 0, done.stdout + done.stderr
    tried = {host: json.loads((tmp_path / f"{host}.json").read_text()) for host in hosts}
    assert (tmp_path / "order").read_text().splitlines() == [
        *("one first", "one then", "two first", "two then", "three first")
    ]
    assert (tried["one"]["changed"], tried["one"]["then"]["rc"]) == (True, 0)
    # How the second one went is for who reads it; where the first fails, the task does.
    assert (tried["two"].get("failed", False), tried["two"]["then"]["rc"]) == (False, 3)
    assert tried["three"]["failed"] and "then" not in tried["three"]
    assert tried["four"]["skipped"]
