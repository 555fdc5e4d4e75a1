"""Role mysql: what it refuses before it asks or changes anything, in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible_modules import ROOT

MEMBERS = [
    {"name": "localhost", "address": "198.18.0.1", "id": 1},
    {"name": "db2", "address": "198.18.0.2", "id": 2},
]
VARIABLES = {
    "mysql_members": MEMBERS,
    "mysql_server_id": 1,
    "mysql_first_primary": "db2",
    "mysql_semi_sync_without_replica": "go_on",
    "mysql_replication_passwords": ["replication-secret"],
    "mysql_backup_passwords": ["backup-secret-of-its-own"],
    "mysql_monitor_passwords": ["monitor-secret-of-its-own"],
    **{f"mysql_tls_{file}": "/nonexistent" for file in ("ca", "cert", "key")},
}


@pytest.fixture
def refused(tmp_path):
    """What the role says of these variables on this host."""

    def run(**more):
        play = {"hosts": "localhost", "gather_facts": False, "roles": ["mysql"]}
        (tmp_path / "play.yml").write_text(yaml.safe_dump([play | {"vars": VARIABLES | more}]))
        program = Path(sys.executable).with_name("ansible-playbook")
        ended = subprocess.run(
            [program, "-i", "localhost,", "-c", "local", "-v", tmp_path / "play.yml"],
            cwd=ROOT,
            env=os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
            capture_output=True,
            text=True,
        )
        assert ended.returncode == 2
        assert "changed=0" in ended.stdout
        return ended.stdout + ended.stderr

    return run


def test_bad_input_is_named_and_no_password_shown(refused):
    secret = "too-short-one"
    told = refused(
        mysql_members=[MEMBERS[0], {**MEMBERS[1], "id": 1}],
        mysql_backup_passwords=[secret],
        mysql_users=[{"name": "shop", "passwords": [secret + "!"], "privileges": {}}],
    )
    assert (
        "mysql_members: id 1 is there twice; "
        "mysql_backup_passwords[0]: 16 to 32 letters, digits and _.:,+/=@%^~- (not shown); "
        "mysql_users[0].passwords[0]: 16 to 32 letters"
    ) in told
    assert secret not in told


@pytest.mark.parametrize(
    ("flavour", "words"),
    [
        ("percona", "value of mysql_flavour must be one of: mariadb, mysql, got: percona"),
        # Whatever release this is: none that the role sets up packages it.
        ("mysql", "mysql_flavour is mysql, and on Debian "),
    ],
)
def test_a_flavour_that_is_none_or_not_packaged_is_refused(refused, flavour, words):
    assert words in refused(mysql_flavour=flavour)
