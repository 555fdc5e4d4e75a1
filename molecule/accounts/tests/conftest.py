"""One node, the ways to it, and a console that no rule closes."""

import json
import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ansible_collections.community.general as community_general
import pytest

PROJECT = Path(__file__).parents[3]
PREFIX = os.environ["LAB_PREFIX"]
SSH_CONFIG = f"/var/lib/selvage-lab/{os.environ['LAB_NAME']}/ssh/config"
COMPUTER, NODE, BASTION = (f"{PREFIX}.{number}" for number in (1, 11, 12))
PASSWORD = "of the lab alone"
PLAYBOOK = "molecule/accounts/firewall.yml"
# What a run that starts on the node needs there.
SHIPPED = (
    *("action_plugins", "ansible.cfg", "filter_plugins", "library", "module_utils"),
    *(PLAYBOOK, "roles/node"),
)
MODPROBE = ("plugins/modules/modprobe.py", "plugins/module_utils", "plugins/doc_fragments", "meta")

SSH: dict[str, Any] = {"ansible_host": NODE, "ansible_ssh_common_args": f"-F {SSH_CONFIG}"}
SUDO: dict[str, Any] = {"ansible_user": "operator", "ansible_become": True}


@dataclass(frozen=True)
class Way:
    """How a run comes to the node, as the inventory says it, and what the node sees of it."""

    variables: Mapping[str, Any]
    client: str = COMPUTER
    port: int = 22
    # What starts a run on the node itself; empty when it starts on this computer.
    login: tuple[str, ...] = ()
    # Whether sudo asks for the password, which the run is given as -K would take it.
    asked: bool = False
    # Whether it starts as cron would start it, so that no ssh session carries it.
    detached: bool = False


FRESH = ("ssh", "-F", SSH_CONFIG, "-o", "ControlPath=none")
WAYS = {
    "root": Way({**SSH, "ansible_user": "root"}),
    "sudo": Way({**SSH, **SUDO}, asked=True),
    "bastion": Way(
        {**SSH, **SUDO, "ansible_ssh_common_args": f"-F {SSH_CONFIG} -o ProxyJump=bastion"},
        client=BASTION,
        asked=True,
    ),
    "port": Way({**SSH, "ansible_user": "root", "ansible_port": 2222}, port=2222),
    "local": Way({"ansible_connection": "local"}, login=(*FRESH, f"root@{NODE}")),
    "local with sudo": Way(
        {"ansible_connection": "local", "ansible_become": True},
        login=(*FRESH, f"operator@{NODE}"),
        asked=True,
    ),
}
DETACHED = Way(WAYS["local"].variables, login=WAYS["local"].login, detached=True)
OVER_SSH = [name for name, way in WAYS.items() if not way.login]


class Console:
    """A connection to the node that is older than every rule, so that none closes it."""

    def __init__(self, folder: Path) -> None:
        self._ssh = ("ssh", "-F", SSH_CONFIG, "-o", f"ControlPath={folder}/console")
        # Without a rule that asks for the state, the kernel tracks no connection.
        chain = "{ type filter hook input priority -10; ct state new; }"
        track = f"table inet console {{ chain c {chain}; }}"
        self._command([*FRESH, f"root@{NODE}", f"nft {track!r}"])
        self._command([*self._ssh, "-o", "ControlPersist=yes", "-f", "-N", "-M", f"root@{NODE}"])

    def __call__(self, command: str, check: bool = True, text: str | None = None) -> str:
        """What a command prints on the node."""
        return self._command([*self._ssh, f"root@{NODE}", command], check, text)

    def close(self) -> None:
        """End the connection."""
        self._command([*self._ssh, "-O", "exit", f"root@{NODE}"])

    @staticmethod
    def _command(command: list[str], check: bool = True, text: str | None = None) -> str:
        done = subprocess.run(command, capture_output=True, text=True, input=text, check=False)
        assert done.returncode == 0 or not check, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """A folder with a short name: the path of a socket has 108 characters at most."""
    with tempfile.TemporaryDirectory(prefix="acc") as name:
        yield Path(name)


@pytest.fixture(scope="session")
def console(folder: Path) -> Iterator[Console]:
    """The console."""
    console = Console(folder)
    general = Path(next(iter(community_general.__path__)))
    collections = "collections/ansible_collections/community/general"
    console(f"rm -rf /srv/selvage; mkdir -p /srv/selvage/{collections}")
    for place, names, into in ((PROJECT, SHIPPED, ""), (general, MODPROBE, collections)):
        sent = subprocess.run(
            f"tar -cz --exclude=__pycache__ -C {place} {' '.join(names)} | ssh -F {SSH_CONFIG}"
            f" root@{NODE} tar -xz --no-same-owner -C /srv/selvage/{into}",
            shell=True,
            check=False,
        )
        assert sent.returncode == 0
    yield console
    console.close()


CLEAN = (
    "systemctl disable --now selvage-firewall.service selvage-firewall-rollback.timer;"
    "nft delete table inet selvage; rm -f /etc/selvage-firewall.nft"
)


@pytest.fixture
def rules(console: Console) -> Iterator[Callable[[], str]]:
    """The rules in force; none before the test, and none afterwards."""
    console(CLEAN, check=False)
    yield lambda: console("nft list table inet selvage", check=False)
    console(CLEAN, check=False)


@pytest.fixture
def second(folder: Path) -> Iterator[Mapping[str, Any]]:
    """Another host, as an inventory has it, that lets nobody in while the node tries its rules."""
    trial = "systemctl --quiet is-active selvage-firewall-rollback.timer"
    config = folder / "second"
    config.write_text(
        f'Match exec "while {shlex.join([*FRESH, f"root@{NODE}", trial])}; do sleep 0.2; done"\n'
        f"Match all\nInclude {SSH_CONFIG}\n"
    )
    yield {
        "ansible_host": BASTION,
        "ansible_ssh_common_args": f"-F {config}",
        "ansible_user": "root",
        "node_address": BASTION,
    }
    subprocess.run([*FRESH, f"root@{BASTION}", CLEAN], capture_output=True, check=False)


@dataclass
class Run:
    """How a run of the playbook ended."""

    rc: int
    output: str

    @property
    def words(self) -> str:
        """What it printed, without line breaks."""
        return " ".join(self.output.split())


def provision(
    console: Console,
    folder: Path,
    way: Way,
    second: Mapping[str, Any] | None = None,
    check: bool = False,
    **variables: Any,
) -> Run:
    """Role node on the node, that way, with these variables in the inventory.

    With a second host it is provisioned too, and the controller does one thing at a time.
    """
    inventory = {
        "node_address": NODE,
        "node_members": [{"name": "node1", "address": NODE}],
        "node_control_addresses": [way.client],
        "node_time_enabled": False,
        "node_updates_enabled": False,
        # The other port that sshd listens on.
        "node_firewall_close": ["sshd"],
        **way.variables,
        **variables,
    }
    hosts = {"node1": inventory} | ({"second": inventory | second} if second else {})
    text = json.dumps({"all": {"hosts": hosts}})
    environment = {
        "ANSIBLE_FORKS": "1",
        "ANSIBLE_FORCE_COLOR": "0",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_SSH_ARGS": "-o ControlMaster=auto -o ControlPersist=20s -o ConnectTimeout=10",
        "LC_ALL": "C.UTF-8",
    }
    place = "/srv/selvage" if way.login else str(folder)
    asked = ["--become-password-file", f"{place}/password"] if way.asked else []
    command = ["ansible-playbook", PLAYBOOK, "-i", f"{place}/inventory.yml", *asked]
    command += ["--check"] if check else []
    if way.login:
        console("cat > /srv/selvage/inventory.yml", text=text)
        console("cat > /srv/selvage/password", text=PASSWORD)
        environment["ANSIBLE_COLLECTIONS_PATH"] = "/srv/selvage/collections"
        words = [f"{name}={value}" for name, value in environment.items()]
        line = f"cd /srv/selvage && {shlex.join(['env', *words, *command])}"
        if way.detached:
            service = "systemd-run --quiet --pipe --wait --collect --setenv=HOME=/root"
            line = f"{service} sh -c {shlex.quote(line)}"
        command = [*way.login, line]
    else:
        (folder / "inventory.yml").write_text(text)
        (folder / "password").write_text(PASSWORD)
        environment["ANSIBLE_CONFIG"] = str(PROJECT / "ansible.cfg")
        # A kept connection of another way would be taken for this one's.
        environment["ANSIBLE_SSH_CONTROL_PATH_DIR"] = tempfile.mkdtemp(dir=folder)
    done = subprocess.run(
        command,
        cwd=PROJECT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return Run(done.returncode, done.stdout + done.stderr)
