"""`selvage status`: the services of this node as its HAProxy runs them, for a person. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Final

from ..catalogue import Service
from ..haproxy.servers import BreakerState, Fault, LiveServer, LiveService
from ..reconciler.overrides import Override

NOTHING: Final[Mapping[str, Collection[tuple[str, str]]]] = MappingProxyType({})
NO_BREAKERS: Final[Mapping[str, Mapping[str, BreakerState]]] = MappingProxyType({})
_FAULTS: Final[Mapping[Fault | None, str]] = {
    "connection": "a connection failed",
    "status": "an answer was 5xx",
    "invalid": "an answer was no HTTP",
    "broken": "an answer broke off",
    "timeout": "an answer was late",
    "closed": "a connection was closed",
    None: "it is not known",
}


def report(
    services: Iterable[Service],
    live: Mapping[str, LiveService],
    overrides: Collection[Override] = (),
    at: float = 0,
    held_out: Mapping[str, Collection[tuple[str, str]]] = NOTHING,
    breakers: Mapping[str, Mapping[str, BreakerState]] = NO_BREAKERS,
) -> str:
    """One line per service of the catalogue, and one per server below it.

    `overrides` are in force at `at`, in seconds since 1970. `held_out` are registrations, by
    service, that got no traffic in the last pass, and why. `breakers` are by service and server.
    """
    said = {override.server: override_words(override, at) for override in overrides}
    lines = []
    for service in services:
        running = live.get(service.name)
        up = sum(state(server) == "up" for server in running.servers) if running else 0
        count = "not loaded by HAProxy yet" if running is None else f"{up} up"
        if running is not None and running.frontend != "open":
            count += f", but the frontend was {running.frontend} and takes no connections"
        lines.append(f"{service.name}  127.0.0.1:{service.port}  {service.mode}  {count}")
        for server in sorted(running.servers, key=_place) if running else ():
            where = place(server.address, server.port)
            detail = f"weight {server.weight}" + (", backup" if server.backup else "")
            if server.name in said:
                detail += f"  {said[server.name]}"
            if words := breaker_words(breakers.get(service.name, {}).get(server.name)):
                detail += f"  {words}"
            lines.append(f"  {where:<24} {state(server):<12} {detail}")
        for child, reason in held_out.get(service.name, ()):
            lines.append(f"  {child:<24} {'held out':<12} {reason}")
    return "\n".join(lines) or "the catalogue is empty"


def state(server: LiveServer) -> str:
    """The server's state in a word."""
    if server.maintenance:
        return "maintenance"
    if server.draining:
        return "draining"
    return "up" if server.up else "down"


def breaker_words(breaker: BreakerState | None) -> str:
    """What there is to say of a server's breaker; nothing where it never opened."""
    if breaker is None or not breaker.opened:
        return ""
    opened = f"opened {breaker.opened} time{'s' if breaker.opened > 1 else ''}"
    if not breaker.open:
        return f"breaker {opened}"
    since = f"breaker open for {duration(breaker.since_s)}, {opened}"
    if breaker.returning:
        return f"{since}; its check succeeds again"
    return f"{since}; the last error: {_FAULTS[breaker.fault]}"


def place(address: str, port: int) -> str:
    """Address and port, as one writes them."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def override_words(override: Override, at: float) -> str:
    """What an operator wants of a server, and for how long from `at` on."""
    return f"override for another {duration(override.until - at)}: {override.reason}"


def duration(seconds: float) -> str:
    """A duration in words: its two largest units."""
    hours, rest = divmod(max(0, round(seconds)), 3600)
    minutes, rest = divmod(rest, 60)
    parts = [f"{n} {unit}" for n, unit in ((hours, "h"), (minutes, "min"), (rest, "s")) if n]
    return " ".join(parts[:2]) or "0 s"


def _place(server: LiveServer) -> tuple[str, int]:
    return server.address, server.port
