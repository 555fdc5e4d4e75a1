"""Role mysql: steps of a promotion by Ansible, with a module that writes down what it is told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import yaml
from ansible_modules import ROOT
from test_mysql_filters import ROW, answer, said
from test_mysql_filters import STOPPED as SILENT

import mysql
from selvage.mysql.failover import STOPPED

MODULE = """
from pathlib import Path
from ansible.module_utils.basic import AnsibleModule
names = ("do", "source", "position", "semi_sync", "socket", "wait")
types = {"source": "dict", "semi_sync": "bool", "wait": "int"}
module = AnsibleModule({name: {"type": types.get(name, "str")} for name in names})
log = Path(PLACE)
told = module.params["do"]
with log.open("a") as told_so_far:
    told_so_far.write(told + "\\n")
if told == FAILS:
    module.fail_json(msg="the reason")
module.exit_json(changed=True)
"""


def run(tmp_path: Path, fails: str) -> tuple[list[str], str]:
    """What was told in its order, and what Ansible printed."""
    row = {**ROW, "Slave_IO_Running": "Connecting", "Seconds_Behind_Master": None}
    plan = mysql.mysql_failover(
        [answer(1, SILENT), answer(2, said(2, rows=[row]))], "", STOPPED, False
    )
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "mysql_step.py").write_text(
        MODULE.replace("PLACE", repr(str(tmp_path / "log"))).replace("FAILS", repr(fails))
    )
    steps = {"name": "mysql", "tasks_from": "steps"}
    variables = {
        "mysql_members": [
            {"name": f"db{number}", "address": f"198.18.0.{number}"} for number in (1, 2)
        ],
        "mysql_replication_passwords": ["secret-of-this-test"],
        "mysql_tls_ca": "/ca.pem",
        "__mysql_steps": plan["steps"],
    }
    play = {
        **{"hosts": "all", "gather_facts": False, "connection": "local", "vars": variables},
        "tasks": [{"ansible.builtin.include_role": steps}],
    }
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    ended = subprocess.run(
        [
            *(Path(sys.executable).with_name("ansible-playbook"), "-i", "db1,db2", "-vv"),
            *("-e", f"ansible_python_interpreter={sys.executable}", tmp_path / "play.yml"),
        ],
        cwd=ROOT,
        env=os.environ
        | {
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_LIBRARY": str(tmp_path / "library"),
        },
        capture_output=True,
        text=True,
    )
    told = ended.stdout + ended.stderr
    assert "secret-of-this-test" not in told
    assert (ended.returncode == 0) == (not fails), told
    return (tmp_path / "log").read_text().split(), told


def test_steps_are_done_in_their_order(tmp_path):
    assert run(tmp_path, "")[0] == ["stop_receiving", "apply_received", "forget", "writable"]


def test_nothing_is_done_after_a_step_that_failed(tmp_path):
    done, printed = run(tmp_path, "forget")
    assert done == ["stop_receiving", "apply_received", "forget"]
    words = "db2 is nobody's replica any more: this failed: the reason. Run it again"
    assert words in " ".join(printed.replace("''", "'").split())
