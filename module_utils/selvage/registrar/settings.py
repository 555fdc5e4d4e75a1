"""`/etc/selvage/registrar.json`, validated: what this node announces, and how it is checked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..catalogue import SERVICE_NAME, WEIGHT_MAX
from ..fields import Fields, Invalid, read, unique
from ..formats.grammar import parse_address
from ..healthcheck import belongs, optional_ca, optional_role, optional_user
from ..registry.settings import RegistrySettings, parse_settings
from .announcement import Announcement

DEFAULT_PATH: Final = Path("/etc/selvage/registrar.json")
# An inventory's name for a host, as operators give them.
NODE: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}"
# The daemon's own, by whom MariaDB and MySQL know it at their socket, which is where Debian has it.
USER: Final = "selvage-registrar"
_MYSQL_SOCKET: Final = "/run/mysqld/mysqld.sock"
_LABEL: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"


@dataclass(frozen=True)
class CheckSettings:
    """How one instance is checked.

    `type` is http (with `path`), tcp, exec (with `command`), redis or mysql (with `role`).
    """

    type: str
    path: str
    command: tuple[str, ...]
    interval_s: float
    timeout_s: float
    rise: int
    fall: int
    role: str | None = None
    user: str | None = None
    ca: str | None = None
    socket: str = _MYSQL_SOCKET
    max_lag_s: float = 10.0


@dataclass(frozen=True)
class Announced:
    """What is announced for one instance, when, and how long its clients take to leave it."""

    announcement: Announcement
    check: CheckSettings
    drain_s: float


@dataclass(frozen=True)
class RegistrarSettings:
    """The whole file."""

    registry: RegistrySettings
    address: str
    instances: tuple[Announced, ...]
    state_directory: Path

    @property
    def drain_folder(self) -> Path:
        """Where `selvage drain` leaves its files."""
        return self.state_directory / "drain"

    @property
    def sessions_file(self) -> Path:
        """Where the registrar notes its sessions for its successor."""
        return self.state_directory / "sessions.json"


def load(path: Path) -> RegistrarSettings:
    """Read and validate the file. Raises Invalid with one line that begins with its path."""
    return read(path, parse)


def parse(document: object) -> RegistrarSettings:
    """Validate the parsed file (docs/interfaces.md). Raises Invalid."""
    fields = Fields(document, "")
    registry = parse_settings(fields.table("registry"))
    node = fields.text("node", NODE, "a host name")
    address = _address(fields)
    instances = tuple(_instance(item, node, address) for item in fields.tables("instances"))
    unique(
        (f"{i.announcement.service}:{i.announcement.port}" for i in instances),
        "instances",
        "service and port",
    )
    settings = RegistrarSettings(
        registry=registry,
        address=address,
        instances=instances,
        state_directory=Path(fields.path("state_directory", "/var/lib/selvage-registrar")),
    )
    fields.done()
    return settings


def _address(fields: Fields) -> str:
    # What readers refuse must not be announced.
    text = fields.text("address", r"[0-9A-Fa-f.:]{2,45}", "an IP address")
    try:
        return parse_address(text)
    except ValueError:
        raise fields.fail(
            "address", f"expected an IP address that clients can reach, got {text}"
        ) from None


def _instance(fields: Fields, node: str, address: str) -> Announced:
    announcement = Announcement(
        service=fields.text("service", SERVICE_NAME, "a service name such as inventory"),
        node=node,
        address=address,
        port=fields.integer("port", 1, 65535),
        weight=fields.integer("weight", 0, WEIGHT_MAX) if fields.has("weight") else None,
        labels=_labels(fields),
    )
    instance = Announced(
        announcement,
        _check(fields.table("check")),
        fields.duration("drain", "0s", "1h", "5s") / 1000,
    )
    fields.done()
    return instance


def _labels(fields: Fields) -> dict[str, str]:
    place = fields.at("labels")
    labels = {}
    for key, value in fields.mapping("labels").items():
        for text in (key, value):
            if not isinstance(text, str) or re.fullmatch(_LABEL, text) is None:
                raise Invalid(
                    f"{place}: expected keys and values such as zone or eu-1, got {text!r:.80}"
                )
        labels[key] = str(value)
    return labels


def _check(fields: Fields) -> CheckSettings:
    kind = fields.choice("type", ("http", "tcp", "exec", "redis", "mysql"), "http")
    belongs(
        fields,
        kind,
        {
            "role": ("redis", "mysql"),
            "user": ("redis", "mysql"),
            "ca": ("redis",),
            "socket": ("mysql",),
            "max_lag": ("redis", "mysql"),
        },
    )
    if kind in ("redis", "mysql") and not fields.has("role"):
        raise fields.fail("role", f"is required with type {kind}: primary or replica")
    check = CheckSettings(
        type=kind,
        path=fields.text("path", r"/[!-~]{0,255}", "a path such as /health", "/health"),
        command=tuple(fields.texts("command", r"[^\0]{1,4096}", "a word of the command")),
        interval_s=fields.duration("interval", "100ms", "10m", "1s") / 1000,
        timeout_s=fields.duration("timeout", "10ms", "1m", "1s") / 1000,
        rise=fields.integer("rise", 1, 100, 1),
        fall=fields.integer("fall", 1, 100, 2),
        role=optional_role(fields),
        user=optional_user(fields) or (USER if kind == "mysql" else None),
        ca=optional_ca(fields),
        socket=fields.path("socket", _MYSQL_SOCKET),
        max_lag_s=fields.duration("max_lag", "1s", "1h", "10s") / 1000,
    )
    fields.done()
    if check.type == "exec" and not check.command[:1]:
        raise fields.fail("command", "is required with type exec")
    if check.type == "exec" and not check.command[0].startswith("/"):
        raise fields.fail("command[0]", f"expected an absolute path, got {check.command[0]!r:.80}")
    if check.type != "exec" and check.command:
        raise fields.fail("command", f"belongs to type exec, not {check.type}")
    return check
