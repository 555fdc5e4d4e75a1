"""`haproxy_backends` as Ansible runs it."""

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
    """Run the module on localhost; what it returned."""
    config = tmp_path / "reconciler.json"

    def run(*arguments, **parameters):
        config.write_text(json.dumps(fabric.document))
        environment = os.environ | {
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_LOAD_CALLBACK_PLUGINS": "1",
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
        }
        command = [str(Path(sys.executable).with_name("ansible")), "localhost", "-c", "local"]
        command += ["-i", "localhost,", "-e", f"ansible_python_interpreter={sys.executable}"]
        command += ["-m", "haproxy_backends", *arguments]
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
            "out_of_service": [],
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
