"""`haproxy_backends` and `haproxy_maintenance` as Ansible runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def ansible(fabric, tmp_path):
    """Run a module on localhost; what it returned."""
    config = tmp_path / "reconciler.json"

    def run(*arguments, module="haproxy_backends", **parameters):
        config.write_text(json.dumps(fabric.document))
        environment = os.environ | {
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_LOAD_CALLBACK_PLUGINS": "1",
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
        }
        command = [str(Path(sys.executable).with_name("ansible")), "localhost", "-c", "local"]
        command += ["-i", "localhost,", "-e", f"ansible_python_interpreter={sys.executable}"]
        command += ["-m", module, *arguments]
        command += ["-a", json.dumps({"config": str(config), **parameters})]
        ended = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        assert ended.stdout, ended.stderr
        (play,) = json.loads(ended.stdout)["plays"]
        return play["tasks"][0]["hosts"]["localhost"]

    return run


def test_check_then_run_then_fail(fabric, ansible):
    port = fabric.service()
    one, two = fabric.instance("one"), fabric.instance("two")
    fabric.register(one.child)
    fabric.register("bad name")
    fabric.reconcile()
    fabric.register(two.child)

    check = ansible("--check", "--diff")
    assert check["changed"]
    (command,) = check["commands"]
    assert command.startswith(f"add server inventory/{two.server('inventory')} 127.0.0.1:")
    assert two.server("inventory") not in check["diff"][0]["before"]
    assert two.server("inventory") in check["diff"][0]["after"]
    assert check["diff"][1]["prepared"] == f"{command}\n"
    assert fabric.answers(port) == {"one"}

    done = ansible()
    assert done["changed"]
    assert done["commands"] == check["commands"]
    assert done["services"] == [
        {
            "name": "inventory",
            "added": [two.server("inventory")],
            "removed": [],
            "changed": [],
            "kept": [one.server("inventory")],
            "held": None,
            "drift": [],
            "held_out": [],
            "out_of_service": [],
            "draining": [],
            "refused": [
                {"child": "bad name", "reason": done["services"][0]["refused"][0]["reason"]}
            ],
        }
    ]
    assert fabric.answers(port) == {"one", "two"}

    fabric.haproxy.stop()
    fabric.deregister(one.child)
    failed = ansible()
    assert failed["failed"]
    assert failed["msg"].startswith(f"{fabric.haproxy.admin_socket}: ")
    assert "\n" not in failed["msg"]
    assert failed["services"][0]["removed"] == [one.server("inventory")]


def test_what_a_guard_holds_is_released_at_a_word(fabric, ansible):
    port = fabric.service(guards={"min_servers": 2})
    one, two = fabric.instance("one"), fabric.instance("two")
    fabric.register(one.child)
    fabric.register(two.child)
    fabric.reconcile()
    fabric.deregister(one.child)
    held = ansible()
    reason = "only 1 would be left, and guards.min_servers is 2"
    assert held["services"][0]["held"] == reason
    assert f"inventory is held: {reason}" in held["warnings"]
    released = ansible(release=["inventory"])
    assert released["changed"]
    assert released["services"][0]["removed"] == [one.server("inventory")]
    assert fabric.answers(port) == {"two"}


def test_maintenance_is_idempotent_and_its_check_true(fabric, ansible, tmp_path):
    port = fabric.service()
    one, two = fabric.instance("one"), fabric.instance("two")
    fabric.register(one.child)
    fabric.register(two.child)
    fabric.reconcile()

    def maintain(*arguments, **parameters):
        place = {"module": "haproxy_maintenance", "service": "inventory", "server": one.child}
        return ansible(*arguments, **place, **parameters)

    words = {"reason": "new disk", "for": "2h"}
    check = maintain("--check", "--diff", **words)
    assert check["changed"]
    assert check["diff"]["prepared"] == f"inventory {one.child} maint for 2h: new disk\n"
    assert not (tmp_path / "overrides").exists()
    assert maintain(**words)["changed"]
    assert not maintain(**words)["changed"]
    assert ansible()["services"][0]["changed"] == [one.server("inventory")]
    assert fabric.answers(port) == {"two"}

    assert maintain("--check", state="ready")["changed"]
    assert maintain(state="ready")["changed"]
    assert not maintain(state="ready")["changed"]
    fabric.reconcile()
    assert fabric.answers(port) == {"one", "two"}

    assert maintain()["msg"] == "state is maint but all of the following are missing: reason, for"
    bad = maintain(**words | {"for": "soon"})
    assert bad["msg"].startswith("for: expected a duration from 1s to 720h")
