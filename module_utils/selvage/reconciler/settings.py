"""The reconciler's configuration, `/etc/selvage/reconciler.json`; its table of fields stands in
docs/interfaces.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..catalogue import Service, parse_services
from ..fields import Fields, read
from ..haproxy.places import HAProxySettings, parse_places
from ..registry.settings import RegistrySettings, parse_settings

DEFAULT_PATH: Final = Path("/etc/selvage/reconciler.json")


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
    return read(path, parse)


def parse(document: Mapping[str, object]) -> Settings:
    """The settings in a document; raises `fields.Invalid`."""
    fields = Fields(document, "")
    fields.tables("services")  # A known field; the catalogue parses it.
    state_directory = fields.path("state_directory", "/var/lib/selvage-reconciler")
    settings = Settings(
        registry=parse_settings(fields.table("registry")),
        haproxy=parse_places(fields.table("haproxy")),
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
