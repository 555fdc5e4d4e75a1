"""How runs come to a node."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PREFIX = os.environ["LAB_PREFIX"]
SSH_CONFIG = f"/var/lib/selvage-lab/{os.environ['LAB_NAME']}/ssh/config"
COMPUTER, BASTION = f"{PREFIX}.1", f"{PREFIX}.16"
FRESH = ("ssh", "-F", SSH_CONFIG, "-o", "ControlPath=none")
SUDO: Mapping[str, Any] = {"ansible_user": "operator", "ansible_become": True}


@dataclass(frozen=True)
class Way:
    """How a run comes to its node, as the inventory says it, and what the node sees of it."""

    # The node's name in the lab, and its address.
    node: str
    address: str
    variables: Mapping[str, Any]
    client: str = COMPUTER
    port: int = 22
    # Who starts a run on the node itself; nobody when it starts on this computer.
    user: str = ""
    # Whether it starts as cron would start it, so that no ssh session carries it.
    detached: bool = False

    @property
    def wrong_port(self) -> int:
        """A port on which sshd listens, but not the one through which the run comes."""
        return 2222 if self.port == 22 else 22


def over_ssh(node: str, number: int, variables: Mapping[str, Any], **seen: Any) -> Way:
    """A run from this computer."""
    address = f"{PREFIX}.{number}"
    ssh = {"ansible_host": address, "ansible_ssh_common_args": f"-F {SSH_CONFIG}"}
    return Way(node, address, ssh | variables, **seen)


def local(user: str, detached: bool = False, **variables: Any) -> Way:
    """A run that starts on its node."""
    here = {"ansible_connection": "local"}
    return Way("inside", f"{PREFIX}.15", here | variables, user=user, detached=detached)


JUMP = {"ansible_ssh_common_args": f"-F {SSH_CONFIG} -o ProxyJump=bastion"}
OVER_SSH = {
    "root": over_ssh("root", 11, {"ansible_user": "root"}),
    "sudo": over_ssh("sudo", 12, SUDO),
    "bastion": over_ssh("far", 13, {**SUDO, **JUMP}, client=BASTION),
    "port": over_ssh("port", 14, {"ansible_user": "root", "ansible_port": 2222}, port=2222),
}
LOCAL = {
    "local": local("root"),
    "local with sudo": local("operator", ansible_become=True),
}
WAYS = OVER_SSH | LOCAL
DETACHED = local("root", detached=True)
