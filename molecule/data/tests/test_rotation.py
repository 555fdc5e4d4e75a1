"""Secrets and certificates of both tiers change while applications write: no request fails."""

import json
import os
import secrets as random
import ssl
import time
from pathlib import Path

import pytest
from test_redis import Writer

from conftest import CA, MYSQL, REDIS, given, playbook, secrets
from drills import Program, connected
from labs import wait_for

SECRETS = Path("/var/lib/selvage-lab", os.environ["LAB_NAME"], "secrets")
REDIS_USERS = {"selvage": "admin", "replication": "replication", "sentinel": "sentinel"}
MYSQL_USERS = ("backup", "monitor", "replication")
OWN = [f"redis_{word}_passwords" for word in REDIS_USERS.values()]
OWN += [f"mysql_{name}_passwords" for name in MYSQL_USERS]
DAY_S = 86_400


class Logins(Program):
    """An application of MySQL's on app1: a login for each row, and a connection that stays."""

    def __init__(self):
        given = {"ca": CA, "port": 3307, "user": "shop", "password": secrets()["mysql_shop"]}
        program = Path(__file__).with_name("mysql_logins.py")
        super().__init__(connected("app1"), program, json.dumps(given))

    def acknowledged(self):
        return [line for line in [*self.lines] if line.isdigit()]


@pytest.fixture(scope="module")
def load():
    """Both tiers are written to, before, meanwhile and afterwards."""
    writers = {"redis": Writer("rotation"), "mysql": Logins()}

    def some_more():
        for name, writer in writers.items():
            enough = len(writer.acknowledged()) + 20
            wait_for(lambda w=writer, e=enough: len(w.acknowledged()) >= e, f"writes to {name}")

    some_more()
    yield
    some_more()
    for writer in writers.values():
        writer.end()
    for name, writer in writers.items():
        failed = [line for line in writer.lines if "failed" in line]
        missing = json.loads(writer.lines[-1])["missing"]
        done = len(writer.acknowledged())
        print(f"\n{name}: {done} writes, {len(failed)} failed, {len(missing)} lost")
        assert (failed, missing) == ([], [])


def rotate(folder, values):
    """As an operator: both stand in the vault, the run, the new ones stand there alone."""
    vault = folder / "group_vars" / "fabric" / "vault.yml"
    vault.parent.mkdir(parents=True)
    vault.write_text(json.dumps(values))
    (folder / "hosts.yml").write_text("fabric:\n")
    done = playbook("rotate_secrets.yml", f"--inventory={folder}")
    assert done.rc == 0, done.output
    for name, (new, former) in values.items():
        (SECRETS / name).write_text(new)
        assert new not in done.output and former not in done.output


def login(host, user, password):
    """What a server says to one of the role's accounts on its own host."""
    at = f"host={connected(host).address}\nssl-ca={CA}\n" if user == "replication" else ""
    command = "mariadb --defaults-file=/run/login.cnf -BN -e 'SELECT CURRENT_USER()' 2>&1"
    return connected(host)(
        f"umask 077; cat > /run/login.cnf; {command}; rm /run/login.cnf",
        f"[client]\nuser={user}\npassword={password}\n{at}",
    )


def test_every_secret_rotates_under_load(load, tmp_path):
    values = {name: [random.token_hex(16), secrets()[name]] for name in OWN}
    rotate(tmp_path / "rotation", values)
    for host in MYSQL:
        for user in MYSQL_USERS:
            new, former = values[f"mysql_{user}_passwords"]
            assert "Access denied" in login(host, user, former)
            assert login(host, user, new).startswith(f"{user}@")
    for host in REDIS:
        words = f"redis-cli --tls --cacert {CA} -h {connected(host).address} --no-auth-warning"
        for user, word in REDIS_USERS.items():
            new, former = values[f"redis_{word}_passwords"]
            said = given(host, words, f"AUTH {user} {former}\nAUTH {user} {new}\n").split("\n")
            assert said[0].startswith("WRONGPASS") and "OK" in said[1:], f"{user} at {host}"


def ends():
    """Until when the certificate is good that each server shows, by its host and port."""
    found = {}
    for hosts, port, more in ((REDIS, 6379, ""), (MYSQL, 3306, "-starttls mysql")):
        for host in hosts:
            place = f"{connected(host).address}:{port}"
            said = given(
                "app1",
                f"openssl s_client -connect {place} {more} 2>/dev/null"
                " | openssl x509 -noout -enddate",
                "",
            )
            found[place] = ssl.cert_time_to_seconds(said.strip().removeprefix("notAfter="))
    return found


def test_certificates_are_renewed_under_load(load):
    before = ends()
    # All that are there end within this; those that are made now do not.
    days = int((max(before.values()) - time.time()) // DAY_S) + 2
    done = playbook(
        "certificates.yml",
        *("-e", f"certificates_renew_days={days}", "-e", f"certificates_days={days + 2}"),
    )
    assert done.rc == 0, done.output
    after = ends()
    assert all(after[place] > before[place] for place in before), (before, after)
