"""One lab, as Ansible described it in `lab.json`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from common import LabError

CACHE_PORT = 3142


@dataclass(frozen=True)
class Machine:
    """One host of the lab."""

    name: str
    address: str


@dataclass(frozen=True)
class Lab:
    """One lab, as Ansible described it."""

    home: Path
    name: str
    release: str
    base: Path
    prefix: str
    owner: str
    machines: tuple[Machine, ...]

    @classmethod
    def load(cls, home: Path) -> Lab:
        """Read `lab.json` in the lab's folder; raises LabError when it is missing."""
        try:
            spec = json.loads((home / "lab.json").read_text())
        except FileNotFoundError:
            raise LabError(f"{home}: no lab is described here; run make lab") from None
        return cls(
            home=home,
            name=spec["name"],
            release=spec["release"],
            base=Path(spec["base"]),
            prefix=spec["prefix"],
            owner=spec["owner"],
            machines=tuple(Machine(**machine) for machine in spec["machines"]),
        )

    @property
    def key(self) -> Path:
        """The ssh key that opens the hosts."""
        return self.home / "ssh" / "id_ed25519"

    @property
    def bridge(self) -> str:
        """The bridge's name; interface names have at most 15 characters."""
        return f"slv-{self.name}"

    @property
    def table(self) -> str:
        """The nftables table that masquerades the hosts."""
        return f"selvage_lab_{self.name}"

    @property
    def gateway(self) -> str:
        """The computer's own address on the bridge."""
        return f"{self.prefix}.1"

    @property
    def subnet(self) -> str:
        """The bridge's network."""
        return f"{self.prefix}.0/24"

    def folder(self, machine: Machine) -> Path:
        """Everything of one host: overlay, log and pid."""
        return self.home / "hosts" / machine.name

    def machine_name(self, machine: Machine) -> str:
        """The name that systemd-nspawn and its veth carry."""
        return f"{self.name}-{machine.name}"

    def unit(self, machine: Machine) -> str:
        """The name of the host's cgroup, or of its unit where systemd runs outside."""
        return f"selvage-lab-{self.name}-{machine.name}"
