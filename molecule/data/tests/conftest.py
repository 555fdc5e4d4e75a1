"""The application's side of the data tiers, on app1."""

import os
import subprocess
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

import labs
import secrecy
from labs import SSH_CONFIG

REDIS = ("redis1", "redis2", "redis3")
MYSQL = ("db1", "db2", "db3")
EVERY = (*REDIS, *MYSQL, "app1")
CA = "/etc/selvage/tls/ca.pem"
# Where the tests leave what an application would log in with.
OPTIONS = "/run/shop.cnf"


def playbook(name: str, *arguments: str) -> SimpleNamespace:
    """Run one of the project's playbooks on the scenario's lab."""
    return labs.playbook(["inventories/lab/data.yml", "molecule/data/inventory"], name, *arguments)


def secrets() -> dict[str, str]:
    """The lab's secrets, by name."""
    return secrecy.of_lab(os.environ["LAB_NAME"])


def given(host: str, command: str, text: str) -> str:
    """What a command prints on a host that gets `text` on its standard input; it must succeed."""
    done = subprocess.run(
        ["ssh", "-F", SSH_CONFIG, host, command],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{host}: {command}: {done.stdout}{done.stderr}"
    return done.stdout


def mysql(statement: str, port: int, *options: str) -> str:
    """What MySQL answers an application at this port of its sidecar: tabs between columns."""
    words = f"mariadb --defaults-file={OPTIONS} --port={port} --batch --skip-column-names"
    return given("app1", " ".join([words, *options]), statement)


def redis(command: str, port: int) -> str:
    """What Redis answers an application at this port of its sidecar."""
    words = f"redis-cli --tls --cacert {CA} -h 127.0.0.1 -p {port} --no-auth-warning"
    login = f"AUTH orders {secrets()['redis_orders']}\n{command}\n"
    return given("app1", words, login).splitlines()[-1]


@pytest.fixture(scope="session", autouse=True)
def options() -> Iterator[None]:
    """An application's own file with its password, gone before anybody looks for leaks."""
    text = (
        f"[client]\nhost=127.0.0.1\nuser=shop\npassword={secrets()['mysql_shop']}\ndatabase=shop\n"
        f"ssl-ca={CA}\nssl-verify-server-cert\n"
    )
    given("app1", f"umask 077; cat > {OPTIONS}", text)
    yield
    given("app1", f"rm {OPTIONS}", "")
