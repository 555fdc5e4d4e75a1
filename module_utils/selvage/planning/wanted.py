"""The servers that a service's registrations ask for, as one node sees them. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from ..catalogue import Service
from ..formats.grammar import printable
from ..formats.registrations import Reading, Refusal, Registration
from ..haproxy.servers import Server, by_name, server_name
from . import weights


def wanted_servers(
    service: Service, registrations: Collection[Registration], zone: str | None = None
) -> tuple[Server, ...]:
    """The servers, sorted. `zone` is the node's own; without one all zones are equal.

    Of two limits of connections, the smaller one holds. An instance that names no zone is not in
    the node's.
    """
    far = [
        zone is not None
        and service.zone.others != "equal"
        and registration.labels.get(service.zone.label) != zone
        for registration in registrations
    ]
    share = service.zone.weight / 100 if service.zone.others == "weighted" else 1
    shares = weights.scale(
        [
            (1 if registration.weight is None else registration.weight) * (share if away else 1)
            for registration, away in zip(registrations, far, strict=True)
        ]
    )
    return by_name(
        Server(
            name=server_name(service.name, registration.address, registration.port),
            address=registration.address,
            port=registration.port,
            weight=weight,
            backup=registration.backup or (away and service.zone.others == "backup"),
            max_connections=_smaller(service.max_connections, registration.max_connections),
        )
        for registration, weight, away in zip(registrations, shares, far, strict=True)
    )


def without_loops(reading: Reading, ports: Collection[int]) -> Reading:
    """The reading without instances that are HAProxy's own listeners on `ports`.

    One request to such a server would go round until no connection is left.
    """
    loops = [r for r in reading.registrations if r.address == "127.0.0.1" and r.port in ports]
    if not loops:
        return reading
    refusals = [
        Refusal(printable(r.child), f"127.0.0.1:{r.port} is a listener of HAProxy itself")
        for r in loops
    ]
    return replace(
        reading,
        registrations=tuple(r for r in reading.registrations if r not in loops),
        refusals=(*reading.refusals, *refusals),
    )


def _smaller(one: int | None, other: int | None) -> int | None:
    return min((limit for limit in (one, other) if limit is not None), default=None)
