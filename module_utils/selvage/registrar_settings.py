"""`/etc/selvage/registrar.json`, validated: what this node announces, and how it is checked."""

from __future__ import annotations

import ipaddress
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .announcement import Announcement
from .fields import Fields, Invalid, unique
from .registry import RegistrySettings

DEFAULT_PATH: Final = Path("/etc/selvage/registrar.json")


@dataclass(frozen=True)
class CheckSettings:
    """How one instance is checked. `type` is http (with `path`), tcp or exec (with `command`)."""

    type: str
    path: str
    command: tuple[str, ...]
    interval_s: float
    timeout_s: float
    rise: int
    fall: int


@dataclass(frozen=True)
class Instance:
    """What is announced for one instance, when, and how long its clients take to leave it."""

    announcement: Announcement
    check: CheckSettings
    drain_s: float


@dataclass(frozen=True)
class RegistrarSettings:
    """The whole file."""

    registry: RegistrySettings
    instances: tuple[Instance, ...]
    state_directory: Path

    @property
    def drain_folder(self) -> Path:
        """Where `selvage drain` leaves its files."""
        return self.state_directory / "drain"


def load(path: Path) -> RegistrarSettings:
    """Read and validate the file. Raises Invalid with one line that begins with its path."""
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise Invalid(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise Invalid(f"{path}: not valid JSON: {error}") from error
    try:
        return parse(document)
    except Invalid as error:
        raise Invalid(f"{path}: {error}") from error


def parse(document: object) -> RegistrarSettings:
    """Validate the parsed file (docs/interfaces.md). Raises Invalid."""
    fields = Fields(document, "")
    registry = RegistrySettings.parse(fields.table("registry"))
    node = fields.text("node", r"[A-Za-z0-9][A-Za-z0-9.-]{0,62}", "a host name")
    address = _address(fields)
    instances = tuple(_instance(item, node, address) for item in fields.tables("instances"))
    unique(
        (f"{i.announcement.service}:{i.announcement.port}" for i in instances),
        "instances",
        "service and port",
    )
    settings = RegistrarSettings(
        registry, instances, Path(fields.path("state_directory", "/var/lib/selvage-registrar"))
    )
    fields.done()
    return settings


def _address(fields: Fields) -> str:
    text = fields.text("address", r"[0-9a-fA-F.:]{2,39}", "an IP address")
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise fields.fail("address", f"expected an IP address, got {text}") from None
    if address.is_unspecified or address.is_multicast:
        raise fields.fail("address", f"expected an address that clients can reach, got {text}")
    return str(address)


def _instance(fields: Fields, node: str, address: str) -> Instance:
    announcement = Announcement(
        service=fields.text("service", SERVICE_NAME, "a service name such as inventory"),
        node=node,
        address=address,
        port=fields.integer("port", 1, 65535),
        weight=fields.integer("weight", 0, WEIGHT_MAX) if fields.has("weight") else None,
        labels=_labels(fields),
    )
    instance = Instance(
        announcement, _check(fields.table("check")), fields.duration("drain", "0s", "1h", "5s") / 1000
    )
    fields.done()
    return instance
