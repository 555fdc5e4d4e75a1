"""The nodes, runs of the role on them, and a console to each that no rule closes."""

import json
import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ways import FRESH, LOCAL, OVER_SSH, SSH_CONFIG, Way

PROJECT = Path(__file__).parents[3]
PASSWORD = "of the lab alone"
PLAYBOOK = "molecule/accounts/firewall.yml"
# What a run that starts on the node needs there.
SHIPPED = (
    *("action_plugins", "ansible.cfg", "filter_plugins", "module_utils", "plugin_utils"),
    *(PLAYBOOK, "roles/node"),
)
CLEAN = (
    "systemctl disable --now selvage-firewall.service selvage-firewall-rollback.timer;"
    "nft delete table inet selvage; rm -f /etc/selvage-firewall.nft"
)
# Variables of a way's host in the inventory.
Variables = Callable[[Way], Mapping[str, Any]]


def command(words: list[str], check: bool = True, text: str | None = None) -> str:
    """What a command prints."""
    done = subprocess.run(words, capture_output=True, text=True, input=text, check=False)
    assert done.returncode == 0 or not check, done.stdout + done.stderr
    return done.stdout


class Console:
    """A connection to a node that is older than every rule, so that none closes it."""

    def __init__(self, name: str, folder: Path) -> None:
        self._root = f"root@{name}"
        self._ssh = ["ssh", "-F", SSH_CONFIG, "-o", f"ControlPath={folder}/{name}"]
        # Without a rule that asks for the state, the kernel tracks no connection.
        chain = "{ type filter hook input priority -10; ct state new; }"
        track = f"table inet console {{ chain c {chain}; }}"
        command([*FRESH, self._root, f"nft {track!r}"])
        command([*self._ssh, "-o", "ControlPersist=yes", "-f", "-N", "-M", self._root])

    def __call__(self, words: str, check: bool = True, text: str | None = None) -> str:
        """What a command prints on the node."""
        return command([*self._ssh, self._root, words], check, text)

    def clean(self) -> None:
        """No rules, and nothing that would bring any."""
        self(CLEAN, check=False)

    def rules(self) -> str:
        """The rules in force."""
        return self("nft list table inet selvage", check=False)

    def close(self) -> None:
        """End the connection."""
        command([*self._ssh, "-O", "exit", self._root])


@dataclass
class Outcome:
    """How a run ended for one host, and what it left there."""

    rc: int
    output: str
    # The rules in force, and the file of those that passed; empty where there are none.
    rules: str
    file: str

    @property
    def words(self) -> str:
        """What was printed, without line breaks."""
        return " ".join(self.output.split())


class Lab:
    """The nodes and the runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        nodes = {way.node for way in (*OVER_SSH.values(), *LOCAL.values())}
        self.consoles = {node: Console(node, folder) for node in sorted(nodes)}

    def close(self) -> None:
        """Leave the nodes as they were."""
        for console in self.consoles.values():
            console.clean()
            console.close()

    def ship(self) -> None:
        """Bring the role to the node where runs start."""
        self.consoles["inside"]("rm -rf /srv/selvage; mkdir -p /srv/selvage")
        sent = subprocess.run(
            f"tar -cz --exclude=__pycache__ -C {PROJECT} {' '.join(SHIPPED)}"
            f" | ssh -F {SSH_CONFIG} root@inside tar -xz --no-same-owner -C /srv/selvage",
            shell=True,
            check=False,
        )
        assert sent.returncode == 0

    def each_way(self, variables: Variables, times: int = 1) -> dict[str, Outcome]:
        """The outcome of a run from no rules on, by each way; after the last run of several."""
        with ThreadPoolExecutor() as pool:
            inside = pool.submit(
                lambda: {name: self.alone(way, variables, times) for name, way in LOCAL.items()}
            )
            return self.over_ssh(variables, times) | inside.result()

    def over_ssh(self, variables: Variables, times: int = 1) -> dict[str, Outcome]:
        """The same for the ways over ssh alone: one run for all of them."""
        for way in OVER_SSH.values():
            self.consoles[way.node].clean()
        hosts = {name: {**way.variables, **variables(way)} for name, way in OVER_SSH.items()}
        for _ in range(times):
            outputs = self.run(hosts)
        return {name: self._outcome(OVER_SSH[name], *said) for name, said in outputs.items()}

    def alone(self, way: Way, variables: Variables, times: int = 1, check: bool = False) -> Outcome:
        """The same for one way."""
        self.consoles[way.node].clean()
        for _ in range(times):
            outcome = self.again(way, variables, check)
        return outcome

    def again(self, way: Way, variables: Variables, check: bool = False) -> Outcome:
        """The same, without removing the rules before."""
        outputs = self.run({"node": {**way.variables, **variables(way)}}, way, check=check)
        return self._outcome(way, *outputs["node"])

    def run(
        self,
        hosts: Mapping[str, Mapping[str, Any]],
        way: Way | None = None,
        forks: int = 20,
        check: bool = False,
    ) -> dict[str, tuple[int, str]]:
        """Whether a run failed for a host, and what it said there, for each of them."""
        text = json.dumps({"all": {"hosts": hosts}})
        environment = {
            "ANSIBLE_FORKS": str(forks),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_FORCE_COLOR": "0",
            "ANSIBLE_SSH_ARGS": "-o ControlMaster=auto -o ControlPersist=20s -o ConnectTimeout=10",
            "LC_ALL": "C.UTF-8",
        }
        inside = way is not None and way.user != ""
        place = "/srv/selvage" if inside else tempfile.mkdtemp(dir=self.folder)
        words = ["ansible-playbook", PLAYBOOK, "-i", f"{place}/inventory.yml"]
        words += ["--become-password-file", f"{place}/password"] + (["--check"] if check else [])
        if inside:
            console = self.consoles["inside"]
            console("cat > /srv/selvage/inventory.yml", text=text)
            console("cat > /srv/selvage/password", text=PASSWORD)
            line = shlex.join(["env", *(f"{k}={v}" for k, v in environment.items()), *words])
            line = f"cd /srv/selvage && {line}"
            if way.detached:
                service = "systemd-run --quiet --pipe --wait --collect --setenv=HOME=/root"
                line = f"{service} sh -c {shlex.quote(line)}"
            words = [*FRESH, f"{way.user}@{way.address}", line]
        else:
            Path(place, "inventory.yml").write_text(text)
            Path(place, "password").write_text(PASSWORD)
            environment["ANSIBLE_CONFIG"] = str(PROJECT / "ansible.cfg")
            # A kept connection of another way would be taken for this one's.
            environment["ANSIBLE_SSH_CONTROL_PATH_DIR"] = place
        done = subprocess.run(
            words,
            cwd=PROJECT,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        return {name: _of(name, done.stdout + done.stderr) for name in hosts}

    def _outcome(self, way: Way, rc: int, output: str) -> Outcome:
        console = self.consoles[way.node]
        kept = console("cat /etc/selvage-firewall.nft", check=False)
        return Outcome(rc, output, console.rules(), kept)


def _of(name: str, output: str) -> tuple[int, str]:
    """Whether a run failed for a host, and what it said of it, its line in the recap included."""
    said = re.findall(
        rf"^(?:[a-z]+: \[{name}\]|{name} +:).*\n(?:[ \t].*\n)*", output, flags=re.MULTILINE
    )
    recap = said[-1] if said else ""
    fine = "unreachable=0" in recap and "failed=0" in recap
    return (0, "".join(said)) if fine else (1, "".join(said) or output)


def inputs(way: Way, **changes: Any) -> dict[str, Any]:
    """The role's inputs for a node."""
    return {
        "node_address": way.address,
        "node_members": [{"name": "node", "address": way.address}],
        "node_control_addresses": [way.client],
        "node_time_enabled": False,
        # The other port that sshd listens on.
        "node_firewall_close": ["sshd"],
        "parts": ["refuse", "firewall"],
        **changes,
    }


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """The lab; its folder has a short name, for the path of a socket has 108 characters at most."""
    with tempfile.TemporaryDirectory(prefix="acc") as folder:
        lab = Lab(Path(folder))
        lab.ship()
        yield lab
        lab.close()


@pytest.fixture
def second(lab: Lab) -> Iterator[Mapping[str, Any]]:
    """Another host, as an inventory has it, that lets nobody in while `root` tries its rules."""
    trial = "systemctl --quiet is-active selvage-firewall-rollback.timer"
    config = lab.folder / "second"
    config.write_text(
        f'Match exec "while {shlex.join([*FRESH, "root@root", trial])}; do sleep 0.2; done"\n'
        f"Match all\nInclude {SSH_CONFIG}\n"
    )
    way = OVER_SSH["port"]
    yield inputs(way, **{**way.variables, "ansible_ssh_common_args": f"-F {config}"})
