"""playbooks/rotate_secrets.yml: what it cannot do is refused before any host is asked."""

from __future__ import annotations

import json
import re

import pytest
from test_inventories import ROOT, ansible_playbook

EXAMPLE = ROOT / "inventories" / "example"
BOTH = ["f1e9c0aa5b60d42be77a", "a5b60d42be77af1e9c0a"]


@pytest.mark.parametrize(
    ("extra", "line"),
    [
        (
            {},
            "redis_sentinel_passwords have one value each, and so have mysql_replication_passwords",
        ),
        (
            {"mysql_backup_passwords": BOTH},
            "a password of MySQL's came with -e, where nothing can take the former one away",
        ),
    ],
)
def test_what_cannot_rotate_is_named_and_not_shown(tmp_path, extra, line):
    inventory = tmp_path / "inventory"
    for path in EXAMPLE.rglob("*.yml"):
        here = inventory / path.relative_to(EXAMPLE)
        here.parent.mkdir(parents=True, exist_ok=True)
        text = re.sub("CHANGE-ME", lambda at: f"{BOTH[0][::-1]}{at.start():04}", path.read_text())
        here.write_text(text)
    done = ansible_playbook(
        *(tmp_path, inventory, ROOT / "playbooks" / "rotate_secrets.yml"),
        *("-v", "-e", json.dumps(extra)),
    )
    told = done.stdout + done.stderr
    assert done.returncode != 0
    assert line in " ".join(told.split()), told
    assert not any(word in told for word in (*BOTH, BOTH[0][::-1]))
