"""`selvage status`: the services of this node as its HAProxy runs them, for a person."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .catalogue import Service
from .model import LiveServer, LiveService


def report(services: Iterable[Service], live: Mapping[str, LiveService]) -> str:
    """One line per service of the catalogue, and one per server below it."""
    lines = []
    for service in services:
        running = live.get(service.name)
        up = sum(_state(server) == "up" for server in running.servers) if running else 0
        count = "not loaded by HAProxy yet" if running is None else f"{up} up"
        lines.append(f"{service.name}  127.0.0.1:{service.port}  {service.mode}  {count}")
        for server in sorted(running.servers, key=_place) if running else ():
            where = f"{server.address}:{server.port}"
            detail = f"weight {server.weight}" + (", backup" if server.backup else "")
            lines.append(f"  {where:<24} {_state(server):<12} {detail}")
    return "\n".join(lines) or "the catalogue is empty"


def _place(server: LiveServer) -> tuple[str, int]:
    return server.address, server.port


def _state(server: LiveServer) -> str:
    if server.maintenance:
        return "maintenance"
    if server.draining:
        return "draining"
    return "up" if server.up else "down"
