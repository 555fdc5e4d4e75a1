"""What unattended-upgrades would install, by apt's own reading of our file among the others."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

TEMPLATE = Path(__file__).parents[2] / "roles/node/templates/updates.conf.j2"

SECURITY = "origin=Debian,codename=${distro_codename}-security,label=Debian-Security"
POINTS = "origin=Debian,codename=${distro_codename},label=Debian"
PACKAGED = f'Unattended-Upgrade::Origins-Pattern {{ "{POINTS}"; "{SECURITY}"; }};\n'
PACKAGED += "Unattended-Upgrade::Package-Blacklist {};\n"


@pytest.fixture
def apt(tmp_path):
    """What apt makes of our file and of others beside it."""

    def _apt(others, compared, excluded=()):
        variables = {
            "node_updates_enabled": True,
            "node_updates_excluded": list(excluded),
            "__node_updates_compared": {"rc": compared},
        }
        ours = Templar(DataLoader(), variables=variables).template(
            trust_as_template(TEMPLATE.read_text())
        )
        parts = tmp_path / "apt.conf.d"
        parts.mkdir()
        for name, text in {**others, "51selvage-updates": ours}.items():
            (parts / name).write_text(text)
        (tmp_path / "apt.conf").write_text(
            f'Dir::Etc::Parts "{parts}";\nDir::Etc::Main "/dev/null";\n'
        )
        dump = subprocess.run(
            ["apt-config", "dump", "--no-empty", "--format=%f %v%n"],
            env={**os.environ, "APT_CONFIG": str(tmp_path / "apt.conf")},
            capture_output=True,
            text=True,
            check=True,
        )
        pairs = [line.split(" ", 1) for line in dump.stdout.splitlines()]
        return lambda name: [
            value for key, value in pairs if key.rstrip(":") == f"Unattended-Upgrade::{name}"
        ]

    return _apt


def test_point_releases_wait_as_long_as_the_operator_says_nothing(apt):
    read = apt({"50unattended-upgrades": PACKAGED}, compared=0)
    assert read("Origins-Pattern") == [SECURITY]
    assert read("Automatic-Reboot") == ["false"]


def test_a_file_that_the_operator_changed_stays_in_force_with_security_among_it(apt):
    theirs = 'Unattended-Upgrade::Origins-Pattern { "origin=Docker"; };\n'
    theirs += 'Unattended-Upgrade::Package-Blacklist { "mariadb"; };\n'
    read = apt({"50unattended-upgrades": theirs}, compared=1, excluded=["redis"])
    assert read("Origins-Pattern") == ["origin=Docker", SECURITY]
    assert read("Package-Blacklist") == ["mariadb", "redis"]


def test_a_file_of_the_operators_adds_to_ours(apt):
    local = 'Unattended-Upgrade::Origins-Pattern { "origin=Docker"; };\n'
    local += 'Unattended-Upgrade::Automatic-Reboot "true";\n'
    others = {"50unattended-upgrades": PACKAGED, "52unattended-upgrades-local": local}
    read = apt(others, compared=0)
    assert read("Origins-Pattern") == [SECURITY, "origin=Docker"]
    assert read("Automatic-Reboot") == ["true"]
