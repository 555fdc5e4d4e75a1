"""What a pass sees before it plans: HAProxy's services, and the services file."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from ...haproxy.runtime import Runtime
from ...haproxy.servers import LiveService
from ...haproxy.services_file import Filed
from ...haproxy.socket import HAProxyUnavailable


@dataclass(frozen=True)
class Sight:
    """`names` are the services that the pass looks at, None for all.

    `live` is what HAProxy runs of them. It is None when HAProxy is away, and `away` says why.
    `elsewhere` names, by service, servers with sessions in workers that no longer serve, as far as
    somebody asked.
    """

    names: Collection[str] | None
    filed: Filed
    live: Mapping[str, LiveService] | None
    away: str | None = None
    elsewhere: Mapping[str, Collection[str]] = field(default_factory=dict)

    @property
    def drained(self) -> frozenset[str]:
        """What drains, or is in maintenance, as `service/server`."""
        return frozenset(
            f"{name}/{server.name}"
            for name, service in (self.live or {}).items()
            for server in service.servers
            if not server.serves
        )


def look(runtime: Runtime, filed: Filed, names: Collection[str] | None) -> Sight:
    """Look at these services."""
    try:
        return Sight(names, filed, runtime.services(names))
    except HAProxyUnavailable as error:
        return Sight(names, filed, None, str(error))
