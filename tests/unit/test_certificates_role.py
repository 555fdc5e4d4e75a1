"""Role certificates as Ansible runs it, on this computer, in folders of the test's own.

Packages alone are left out: the environment that runs the tests has their library.
"""

from __future__ import annotations

import grp
import json
import os
import pwd
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import authorities
import pytest
from authorities import Authority, pem
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

ROOT = Path(__file__).parents[2]
PASSPHRASE = "uNguess4ble-0f-the-tests"
PLAYBOOK = """
- hosts: ctl1
  gather_facts: false
  tasks:
    - ansible.builtin.import_role: {name: certificates, tasks_from: authority_keep}
      vars: {certificates_authority_name: fabric}
- hosts: app1
  gather_facts: false
  tasks:
    - ansible.builtin.import_role: {name: certificates, tasks_from: keep}
      vars: {certificates_authority_host: ctl1}
"""


class Place:
    """Two hosts, of which one has the CA, as folders."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tls = folder / "app1/tls"
        self.authority = folder / "ctl1/ca"
        self.certificate = self.tls / "web.pem"
        self.key = self.tls / "web.pem.key"
        (folder / "play.yml").write_text(PLAYBOOK)
        (folder / "hosts").write_text(
            "app1\nctl1\n[all:vars]\nansible_connection=local\nansible_pipelining=true\n"
        )
        self.variables = {
            "__certificates_dir": str(self.tls),
            "__certificates_authority_dir": str(self.authority),
            "__certificates_state_dir": str(folder / "app1/state"),
            "__certificates_root": {
                "owner": pwd.getpwuid(os.getuid()).pw_name,
                "group": grp.getgrgid(os.getgid()).gr_name,
            },
            "certificates_authority_passphrase": PASSPHRASE,
            "certificates_wanted": [
                {
                    "name": "web",
                    "names": ["app1", "web.example"],
                    "addresses": ["192.0.2.1"],
                    "owner": pwd.getpwuid(os.getuid()).pw_name,
                    "group": grp.getgrgid(os.getgid()).gr_name,
                    "mode": "0640",
                }
            ],
        }
        for name in ("app1", "ctl1"):
            (folder / name).mkdir()

    def run(self, *arguments: str, **variables: object) -> Run:
        (self.folder / "variables.json").write_text(json.dumps({**self.variables, **variables}))
        done = subprocess.run(
            [
                Path(sys.executable).with_name("ansible-playbook"),
                *("-i", self.folder / "hosts", self.folder / "play.yml"),
                *("-e", f"@{self.folder}/variables.json", "--diff", *arguments),
            ],
            cwd=ROOT,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.folder),
                "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
                "ANSIBLE_HOME": str(self.folder),
                "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
                "ANSIBLE_NOCOLOR": "1",
                # A third of the time, as in the scenarios (docs/decisions.md).
                "ANSIBLE_STRATEGY": "lab_linear",
                "ANSIBLE_STRATEGY_PLUGINS": str(ROOT / "molecule/strategy"),
                "LC_ALL": "C.UTF-8",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        return Run(done.returncode, done.stdout + done.stderr)


class Run:
    """One run of the playbook."""

    def __init__(self, code: int, output: str) -> None:
        self.code, self.output = code, output

    @property
    def changed(self) -> int:
        return sum(map(int, re.findall(r" changed=(\d+)", self.output)))

    @property
    def refused(self) -> str:
        (line,) = re.findall(r"^\[ERROR\]: Task failed: Action failed: (.*)$", self.output, re.M)
        return line


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def openssl(*arguments: object) -> str:
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True)
    return done.stdout + done.stderr


def test_made_once_and_renewed_before_the_end(place):
    # -vvvv tells everything that a log could ever have.
    made = place.run("-vvvv")
    assert made.code == 0, made.output
    assert PASSPHRASE not in made.output and "PRIVATE KEY" not in made.output
    assert place.key.stat().st_mode & 0o777 == 0o640
    assert (place.authority / "key.pem").stat().st_mode & 0o777 == 0o600
    assert "BEGIN ENCRYPTED" in (place.authority / "key.pem").read_text()
    ca = place.tls / "ca.pem"
    assert "OK" in openssl("verify", "-x509_strict", "-CAfile", ca, place.certificate)
    shown = openssl("x509", "-noout", "-text", "-in", place.certificate)
    assert "DNS:app1, DNS:web.example, IP Address:192.0.2.1" in shown
    metrics = (place.folder / "app1/state/metrics.prom").read_text()
    assert re.findall(r'_seconds\{certificate="(\w+)"\} \d{10}\n', metrics) == ["ca", "web"]

    # What is made for 180 days ends within 181.
    first, key = place.certificate.read_text(), place.key.read_text()
    later = {"certificates_renew_days": 181, "certificates_days": 360}
    renewed = place.run(**later)
    assert renewed.code == 0, renewed.output
    assert "item=web: it expires on" in renewed.output and "PRIVATE KEY" not in renewed.output
    assert place.certificate.read_text() != first and place.key.read_text() == key
    again = place.run(**later)
    assert (again.code, again.changed) == (0, 0), again.output

    # A foreign CA's, and its key: refused, in check mode too.
    private = authorities.key()
    place.certificate.write_text(pem(Authority("other CA").issue(private, ["app1"])))
    place.key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    foreign = place.run("--check")
    assert foreign.code != 0
    assert f"{place.certificate} is of a foreign CA (CN=other CA)" in foreign.refused


def test_a_ca_of_ones_own(place):
    """It stands below another one, as a company's does."""
    root = Authority("root", now=datetime.now(UTC))
    own = Authority("ours", above=root, now=datetime.now(UTC))
    made = place.run(
        "-vvvv",
        certificates_authority_certificate=pem(*own.chain),
        certificates_authority_key=authorities.encrypted(own.key, PASSPHRASE),
    )
    assert made.code == 0, made.output
    assert PASSPHRASE not in made.output and "PRIVATE KEY" not in made.output
    assert (place.authority / "key.pem").stat().st_mode & 0o777 == 0o600
    (place.folder / "root.pem").write_text(pem(root.certificate))
    chain = ("-CAfile", place.folder / "root.pem", "-untrusted", place.certificate)
    assert ": OK" in openssl("verify", *chain, place.certificate)
    assert (place.tls / "ca.pem").read_text() == pem(*own.chain)
