"""Role schedule: the wrapper with a stand-in for ansible-playbook, the report by Ansible itself."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from programs import is_running, wait_for

ROOT = Path(__file__).parents[2]
FILES = ROOT / "roles" / "schedule" / "files"


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Schedule:
    """The wrapper, with everything it touches below one folder."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.module = load(FILES / "selvage_reconcile.py")
        self.folder = folder
        self.journal: list[str] = []
        self._monkeypatch = monkeypatch
        for name, value in {
            "LIB": folder,
            "STATE_DIR": folder,
            "STATE": folder / "state.json",
            "LOCK": folder / "lock",
            "LOG": folder / "log",
            "GRACE_S": 0.2,
        }.items():
            monkeypatch.setattr(self.module, name, value)
        monkeypatch.setattr(self.module, "tell", lambda _, message: self.journal.append(message))

    def run(self, playbook: str, *arguments: str) -> int:
        """Run with a shell script instead of ansible-playbook."""
        self._monkeypatch.setattr(self.module, "COMMAND", ("/bin/sh", "-c", playbook))
        self._monkeypatch.setattr(sys, "argv", ["selvage-reconcile", *arguments])
        return self.module.main()

    @property
    def state(self) -> dict[str, object]:
        return json.loads((self.folder / "state.json").read_text())


@pytest.fixture
def schedule(tmp_path, monkeypatch):
    return Schedule(tmp_path, monkeypatch)


GOOD = "echo 'hosts=3 changed=0 failed=0 unreachable=0'"
BAD = "echo 'b failed: two'; echo 'a unreachable: one'; echo 'hosts=3 failed=1'; exit 2"


def test_success(schedule, capsys):
    assert schedule.run(GOOD) == 0
    assert schedule.state["last_success"] == schedule.state["last_end"]
    assert schedule.state["consecutive_failures"] == 0
    assert schedule.state["reason"] is None
    assert "hosts=3" in (schedule.folder / "log").read_text()
    assert capsys.readouterr().err == ""
    assert schedule.journal == []


def test_failure_names_the_first_host_and_keeps_the_last_success(schedule, capsys):
    schedule.run(GOOD)
    success = schedule.state["last_success"]
    assert schedule.run(BAD) == 1
    assert schedule.run(BAD) == 1
    assert schedule.state["reason"] == "a unreachable: one (and 1 more)"
    assert schedule.state["exit_code"] == 2
    assert schedule.state["consecutive_failures"] == 2
    assert schedule.state["last_success"] == success
    assert "selvage-reconcile: a unreachable: one (and 1 more)" in capsys.readouterr().err
    assert schedule.journal[-1] == "reconciling failed: a unreachable: one (and 1 more)"
    assert "failed: a unreachable: one" in (schedule.folder / "log").read_text()
    schedule.run(GOOD)
    assert schedule.journal[-1] == "reconciling works again"
    assert schedule.state["consecutive_failures"] == 0


@pytest.mark.parametrize(
    ("playbook", "reason"),
    [
        ("echo 'ERROR! the playbook could not be found' >&2; exit 1", "ERROR! the playbook could"),
        ("exit 4", "ansible-playbook ended with 4"),
        ("echo 'hosts=0 changed=0'", "no node was reconciled"),
        ("true", "no node was reconciled"),
        ("echo 'a warning: held'; echo 'hosts=1 failed=0'; exit 3", "hosts=1 failed=0"),
    ],
)
def test_every_other_end_is_a_failure_with_a_reason(schedule, playbook, reason):
    assert schedule.run(playbook) == 1
    assert schedule.state["reason"].startswith(reason)


def test_time_limit_ends_the_whole_run(schedule):
    child, late = schedule.folder / "child", schedule.folder / "late"
    child.touch()
    begin = f"trap '' TERM; (sleep 100; touch {late}) & echo $! > {child}"
    for limit in ("1", "10", "60"):
        assert schedule.run(f"{begin}; wait; sleep 600", "--time-limit", limit) == 1
        assert schedule.state["reason"] == f"ended after {limit} s, its time limit"
        if child.read_text():  # else the shell had not come that far
            break
    # A killed process closes its files, which ends the wait for its output, before it is gone.
    wait_for(lambda: not is_running(child.read_text().strip()))
    assert not late.exists()


def test_a_run_that_is_going_is_not_doubled(schedule, capsys):
    other = f'{sys.executable} -c \'import fcntl, sys, time; f = open(sys.argv[1], "a")'
    other += "; fcntl.flock(f, fcntl.LOCK_SH); print(1, flush=True); time.sleep(600)'"
    schedule.run(GOOD)
    before = schedule.state
    command = ["/bin/sh", "-c", f"exec {other} {schedule.folder}/lock"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        assert schedule.run(f"touch {schedule.folder}/ran; {GOOD}") == 1
        holder.kill()
    assert not (schedule.folder / "ran").exists()
    assert schedule.state == before
    assert "still going" in capsys.readouterr().err
    assert schedule.run(GOOD) == 0


def test_nobody_else_can_take_the_lock(schedule):
    for mode in (0o600, 0o644):  # the latter is an older version's
        schedule.run(GOOD)
        lock = schedule.folder / "lock"
        assert lock.stat().st_mode & 0o777 == 0o600
        lock.chmod(mode)
    schedule.run(GOOD)
    assert lock.stat().st_mode & 0o777 == 0o600


def test_the_lock_ends_with_the_run(schedule):
    """What Ansible leaves behind, such as shared ssh connections, must not hold it."""
    assert schedule.run(f"setsid sleep 5 >/dev/null 2>&1 & {GOOD}") == 0
    assert schedule.run(GOOD) == 0


def test_spoilt_state_is_no_reason_to_stop(schedule):
    (schedule.folder / "state.json").write_text('{"last_')
    assert schedule.run(GOOD) == 0
    assert schedule.state["consecutive_failures"] == 0


@pytest.mark.parametrize(
    ("minutes", "arguments", "code"),
    [(4, (), 0), (6, (), 1), (6, ("--max-age", "10"), 0), (None, (), 1)],
)
def test_status_tells_monitoring(schedule, capsys, minutes, arguments, code):
    if minutes is not None:
        success = datetime.now(UTC) - timedelta(minutes=minutes)
        state = {"last_success": success.isoformat(), "reason": "a failed: x"}
        (schedule.folder / "state.json").write_text(json.dumps(state))
    assert schedule.run("exit 1", "--status", *arguments) == code
    output = capsys.readouterr().out
    assert output.startswith("stale" if code else "fresh")
    assert ("never" in output) == (minutes is None)
    assert ("reason: a failed: x" in output) == (minutes is not None)


PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - name: Act
      ansible.builtin.{action}
"""
ACTION = """set_fact:
        services: "{{ unchanged }}"
      when: "'quiet' in inventory_hostname"

    - name: Change
      ansible.builtin.command: "true"
      when: "'changed' in inventory_hostname"

    - name: Fail
      ansible.builtin.fail:
        msg: "one\\ntwo"
      when: "'failed' in inventory_hostname"

    - name: Reach
      ansible.builtin.ping:
      when: "'unreachable' in inventory_hostname"
"""


def test_the_report_has_a_line_per_host_with_news(tmp_path):
    (tmp_path / "play.yml").write_text(PLAY.replace("{action}", ACTION))
    (tmp_path / "hosts").write_text(
        "quiet ansible_connection=local unchanged=1\nchanged ansible_connection=local\n"
        "failed ansible_connection=local\nunreachable ansible_host=127.0.0.1 ansible_port=1\n"
    )
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "ANSIBLE_HOME": str(tmp_path),
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_CALLBACK_PLUGINS": str(FILES / "callback_plugins"),
        "ANSIBLE_STDOUT_CALLBACK": "selvage_lines",
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        "LC_ALL": "C.UTF-8",
    }
    command = [Path(sys.executable).with_name("ansible-playbook"), "-i", "hosts", "play.yml"]
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    lines = sorted(run.stdout.splitlines())
    assert run.returncode != 0
    assert lines[:2] == ["changed changed: the services file", "failed failed: one two"]
    assert lines[2] == "hosts=4 changed=1 failed=1 unreachable=1"
    assert lines[3].startswith("unreachable unreachable: ")
    assert len(lines) == 4


def test_the_report_says_what_changed_per_service():
    changes = load(FILES / "callback_plugins" / "selvage_lines.py")._changes
    quiet = {"name": "quiet", "added": [], "removed": [], "changed": []}
    busy = {"name": "busy", "added": ["a", "b"], "removed": ["c"], "changed": []}
    assert changes({"services": [quiet, busy], "reloaded": True}) == (
        "busy added a, b; busy removed c; HAProxy reloaded"
    )


NODES = [{"name": "a", "address": "198.18.0.1"}, {"name": "b", "address": "198.18.0.2"}]


def facts(key: str) -> dict[str, object]:
    return {"ansible_facts": {"ssh_host_key_ed25519_public": key}}


def keys(hostvars: dict[str, dict[str, object]], known: str) -> dict[str, str]:
    targets = load(ROOT / "filter_plugins" / "schedule.py").schedule_targets
    return {t["address"]: t["host_key"] for t in targets(NODES, hostvars, known)}


def test_targets_come_from_facts():
    assert keys({"a": facts("A"), "b": facts("B")}, "") == {
        "198.18.0.1": "ssh-ed25519 A",
        "198.18.0.2": "ssh-ed25519 B",
    }


def test_targets_outside_the_limit_keep_their_keys():
    known = "198.18.0.1 ssh-ed25519 OLD\n198.18.0.2 ssh-ed25519 KEPT\n"
    assert keys({"a": facts("NEW"), "b": {}}, known) == {
        "198.18.0.1": "ssh-ed25519 NEW",
        "198.18.0.2": "ssh-ed25519 KEPT",
    }


def test_targets_leave_out_unknown_and_former_nodes():
    assert keys({"a": facts("A"), "b": {}}, "198.18.0.9 ssh-ed25519 GONE\n") == {
        "198.18.0.1": "ssh-ed25519 A"
    }


RENDER = """
- hosts: controller
  connection: local
  gather_facts: false
  vars:
    three:
      - {name: a, address: 198.18.0.1}
      - {name: b, address: 198.18.0.2}
      - {name: c, address: 198.18.0.3}
    schedule_nodes: "{{ three | with_ssh_ports(hostvars) }}"
    __schedule_former_keys: {content: "{{ KNOWN | b64encode }}"}
  vars_files: [ROLE/vars/main.yml]
  tasks:
    - ansible.builtin.template:
        src: ROLE/templates/{{ item }}.j2
        dest: "{{ playbook_dir }}/{{ item }}"
      loop: [hosts.yml, known_hosts]
"""
KNOWN = "[198.18.0.1]:2222 ssh-ed25519 A\n198.18.0.2 ssh-ed25519 B\n198.18.0.3 ssh-ed25519 C\n"


def test_the_controller_finds_sshd_on_its_port(tmp_path):
    """Moved from 22 (b), as the inventory writes it (a), and behind a forwarded port (c)."""
    (tmp_path / "hosts").write_text(
        "controller\na ansible_port=2222\nb ansible_port='{{ 2000 + 222 }}'\n"
        "c ansible_port=40022 node_ssh_port=22\n"
    )
    text = RENDER.replace("ROLE", str(ROOT / "roles" / "schedule")).replace("KNOWN", repr(KNOWN))
    (tmp_path / "render.yml").write_text(text)
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_HOME": str(tmp_path),
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        "LC_ALL": "C.UTF-8",
    }
    command = [Path(sys.executable).with_name("ansible-playbook"), "-i", "hosts", "render.yml"]
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    hosts = yaml.safe_load((tmp_path / "hosts.yml").read_text())["__fabric_sidecars"]["hosts"]
    assert {name: (host["ansible_host"], host["ansible_port"]) for name, host in hosts.items()} == {
        "a": ("198.18.0.1", 2222),
        "b": ("198.18.0.2", 2222),
        "c": ("198.18.0.3", 22),
    }
    assert (tmp_path / "known_hosts").read_text().splitlines() == [
        "[198.18.0.1]:2222 ssh-ed25519 A",
        "[198.18.0.2]:2222 ssh-ed25519 B",
        "198.18.0.3 ssh-ed25519 C",
    ]


def test_the_user_who_steers_haproxy_is_no_input():
    """Units, playbooks and modules know it by name: a variable for it would move a part of them."""
    for name in ("haproxy", "reconciler", "schedule"):
        defaults = yaml.safe_load((ROOT / "roles" / name / "defaults/main.yml").read_text())
        assert "selvage-reconciler" not in map(str, defaults.values()), name
