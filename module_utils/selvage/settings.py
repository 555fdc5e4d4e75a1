"""The reconciler's configuration, `/etc/selvage/reconciler.json`; its table of fields stands in
docs/interfaces.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .catalogue import Service, parse_services
from .fields import Fields, Invalid
from .registry import RegistrySettings, parse_settings

DEFAULT_PATH: Final = Path("/etc/selvage/reconciler.json")


@dataclass(frozen=True)
class HAProxySettings:
    """Where HAProxy is: its program, files and sockets. The time limit is one answer's, in ms."""

    binary: str
    config: str
    services_config: str
    admin_socket: str
    master_socket: str
    timeout_ms: int


@dataclass(frozen=True)
class Settings:
    """Everything that a reconciler needs to know.

    `zone` is the node's, None when it has none. Between two reloads of HAProxy lies at least
    `reload_interval_ms`.
    """

    registry: RegistrySettings
    haproxy: HAProxySettings
    services: tuple[Service, ...]
    state_directory: str
    metrics_file: str
    resync_interval_ms: int
    reload_interval_ms: int
    zone: str | None


def load(path: Path) -> Settings:
    """The settings in a file; raises `fields.Invalid`, which begins with the file's path."""
    document = read(path)
    try:
        return parse(document)
    except Invalid as error:
        raise Invalid(f"{path}: {error}") from error


def read(path: Path) -> dict[str, object]:
    """The document in a JSON file, not yet validated; raises `fields.Invalid`."""
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise Invalid(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise Invalid(f"{path}: not valid JSON: {error}") from error
    if not isinstance(document, dict):
        raise Invalid(f"{path}: expected a JSON object")
    return document


def parse(document: Mapping[str, object]) -> Settings:
    """The settings in a document; raises `fields.Invalid`."""
    fields = Fields(document, "")
    fields.tables("services")  # A known field; the catalogue parses it.
    state_directory = fields.path("state_directory", "/var/lib/selvage-reconciler")
    settings = Settings(
        registry=parse_settings(fields.table("registry")),
        haproxy=_haproxy(fields.table("haproxy")),
        services=parse_services(document.get("services")),
        state_directory=state_directory,
        metrics_file=fields.path("metrics_file", f"{state_directory}/metrics.prom"),
        resync_interval_ms=fields.duration("resync_interval", "1s", "1h", "60s"),
        # Two reloads less than 100 ms apart can leave the last configuration not running.
        reload_interval_ms=fields.duration("reload_interval", "100ms", "10m", "2s"),
        zone=fields.text("zone", r"[A-Za-z0-9._-]{0,63}", "a label such as a or fsn1", "") or None,
    )
    fields.done()
    return settings


def _haproxy(fields: Fields) -> HAProxySettings:
    settings = HAProxySettings(
        binary=fields.path("binary", "/usr/sbin/haproxy"),
        config=fields.path("config", "/etc/haproxy/haproxy.cfg"),
        services_config=fields.path("services_config", "/etc/haproxy/services/services.cfg"),
        admin_socket=fields.path("admin_socket", "/run/haproxy/admin.sock"),
        master_socket=fields.path("master_socket", "/run/haproxy-master.sock"),
        timeout_ms=fields.duration("timeout", "100ms", "5m", "5s"),
    )
    fields.done()
    return settings
