"""The service definitions (`fabric_services`), validated: the only source of HAProxy's options.

The table of fields with their meaning and defaults stands in docs/interfaces.md. Every text that
ends in HAProxy's configuration has a grammar without its special characters.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from .fields import Fields, Invalid, unique
from .healthcheck import Check, parse_check

# A znode's name, a proxy's in HAProxy, and a part of file names: the same everywhere.
SERVICE_NAME: Final = r"[a-z0-9][a-z0-9_-]{0,62}"
_WORD: Final = r"[A-Za-z0-9._-]{1,63}"
MAX_CONNECTIONS: Final = 1_000_000
# HAProxy's configuration manual, `weight`. Registrations may hold more: shares of their service.
WEIGHT_MAX: Final = 256


@dataclass(frozen=True)
class Timeouts:
    """HAProxy's timeouts; None leaves them to its defaults section."""

    connect_ms: int | None = None
    client_ms: int | None = None
    server_ms: int | None = None


@dataclass(frozen=True)
class Breaker:
    """When real traffic takes a server out, and how much may wait meanwhile.

    `error_limit` errors in a row open it: failed connections, and with `observe` layer7 also
    answers that are late or 5xx. `queue` requests may wait for a free connection, each for
    `wait_ms`. For `slow_start_ms` who comes up has a growing share; 0 is off.
    """

    observe: str
    error_limit: int = 10
    on_error: str = "mark-down"
    queue: int = 100
    wait_ms: int = 500
    slow_start_ms: int = 0


@dataclass(frozen=True)
class Guards:
    """What the registry must not do to a service by itself.

    `max_loss` is a share in percent, of the most servers that the service had within the window.
    With more than `max_registrations` nothing of the service is read. `max_servers` is None, or 1
    where two servers must never have traffic.
    """

    allow_empty: bool = False
    min_servers: int = 1
    max_servers: int | None = None
    max_loss: int = 100
    window_ms: int = 60_000
    max_registrations: int = 1_000

    def surplus(self, registrations: int) -> str | None:
        """Why a service may not have so many; None when it may."""
        if registrations <= self.max_registrations:
            return None
        return (
            f"has {registrations:,} registrations,"
            f" and guards.max_registrations is {self.max_registrations:,}"
        )


@dataclass(frozen=True)
class Zone:
    """What becomes of instances whose label `label` is not the node's zone.

    `others` is `equal`, `backup` or `weighted`; the last gives them `weight` percent of theirs.
    """

    label: str = "zone"
    others: str = "equal"
    weight: int = 10


@dataclass(frozen=True)
class Service:
    """One entry of the catalogue."""

    name: str
    port: int
    mode: str = "http"
    balance: str = "roundrobin"
    check: Check = field(default_factory=Check)
    timeouts: Timeouts = field(default_factory=Timeouts)
    breaker: Breaker | None = None
    instance_port: int | None = None
    max_connections: int | None = None
    drain_ms: int = 30_000
    guards: Guards = field(default_factory=Guards)
    zone: Zone = field(default_factory=Zone)
    endpoint: str | None = None


def parse_services(raw: object, where: str = "services") -> tuple[Service, ...]:
    """The catalogue, sorted by name; null means empty. Raises `fields.Invalid`.

    `where` is the place of the list in the input, used in messages.
    """
    services = sorted(
        (_service(entry) for entry in Fields({where: raw}, "").tables(where)),
        key=lambda service: service.name,
    )
    unique((service.name for service in services), where, "name")
    unique((str(service.port) for service in services), where, "port")
    return tuple(services)


def find(services: Sequence[Service], name: str) -> Service:
    """The service of this name; raises `fields.Invalid`, which names what comes close."""
    for service in services:
        if service.name == name:
            return service
    close = difflib.get_close_matches(name, [service.name for service in services])
    hint = f"did you mean {' or '.join(close)}?" if close else "selvage status lists what is"
    raise Invalid(f"{name!r:.80} is not in this node's catalogue; {hint}")


def _service(entry: Fields) -> Service:
    mode = entry.choice("mode", ("http", "tcp"), "http")
    breaker = _breaker(entry.table("breaker"), mode)
    service = Service(
        name=entry.text("name", SERVICE_NAME, "lower-case letters, digits, - and _, at most 63"),
        port=entry.integer("port", 1, 65_535),
        mode=mode,
        balance=entry.choice(
            "balance", ("roundrobin", "leastconn", "first", "random", "source"), "roundrobin"
        ),
        check=parse_check(entry.table("check"), mode),
        timeouts=_timeouts(entry.table("timeouts")),
        breaker=breaker,
        instance_port=_optional_integer(entry, "instance_port", 65_535),
        max_connections=_optional_integer(entry, "max_connections", MAX_CONNECTIONS),
        drain_ms=entry.duration("drain", "0s", "1h", "30s"),
        guards=_guards(entry.table("guards")),
        zone=_zone(entry.table("zone")),
        endpoint=(
            entry.text("endpoint", _WORD, "letters, digits, dots, - and _, at most 63")
            if entry.has("endpoint")
            else None
        ),
    )
    _fits(entry, service)
    if service.guards.max_servers is not None and service.zone.others != "equal":
        raise entry.fail("zone.others", "has no effect with guards.max_servers: 1; leave it out")
    entry.done()
    return service


def _timeouts(fields: Fields) -> Timeouts:
    def optional(name: str) -> int | None:
        return fields.duration(name, "1ms", "24h") if fields.has(name) else None

    timeouts = Timeouts(optional("connect"), optional("client"), optional("server"))
    fields.done()
    return timeouts


def _breaker(fields: Fields, mode: str) -> Breaker | None:
    breaker = Breaker(
        observe=fields.choice(
            "observe", ("layer4", "layer7"), "layer7" if mode == "http" else "layer4"
        ),
        error_limit=fields.integer("error_limit", 1, 1_000, 10),
        on_error=fields.choice(
            "on_error", ("mark-down", "fastinter", "fail-check", "sudden-death"), "mark-down"
        ),
        queue=fields.integer("queue", 1, MAX_CONNECTIONS, 100),
        wait_ms=fields.duration("wait", "10ms", "1m", "500ms"),
        slow_start_ms=fields.duration("slow_start", "0s", "10m", "0s"),
    )
    fields.done()
    if not fields.has("observe") and not fields.has("error_limit"):
        for name in ("on_error", "queue", "wait", "slow_start"):
            if fields.has(name):
                raise fields.fail(name, "has no effect without observe: layer4 or layer7")
        return None
    if breaker.observe == "layer7" and mode != "http":
        raise fields.fail("observe", "layer7 needs mode http")
    return breaker


def _fits(entry: Fields, service: Service) -> None:
    """Whether the breaker can do what it is for."""
    if service.breaker is None:
        return
    if service.check.role is not None or service.guards.max_servers is not None:
        raise entry.fail(
            "breaker", "is not for a service with one role: its check says who may have traffic"
        )
    fields = entry.table("breaker")
    for name in ("queue", "wait"):
        if service.max_connections is None and fields.has(name):
            raise fields.fail(name, "has no effect without the service's max_connections")


def _guards(fields: Fields) -> Guards:
    guards = Guards(
        allow_empty=fields.boolean("allow_empty", False),
        min_servers=fields.integer("min_servers", 1, 10_000, 1),
        max_servers=_optional_integer(fields, "max_servers", 10_000),
        max_loss=fields.integer("max_loss", 1, 100, 100),
        window_ms=fields.duration("window", "1s", "24h", "1m"),
        max_registrations=fields.integer("max_registrations", 1, 100_000, 1_000),
    )
    if guards.min_servers > guards.max_registrations:
        raise fields.fail("max_registrations", f"is below min_servers, {guards.min_servers}")
    if guards.max_servers is not None:
        if guards.max_servers > 1:
            raise fields.fail(
                "max_servers",
                "can be 1 and nothing else: it is for services that"
                " must never have two; without it their number is free",
            )
        if guards.min_servers > 1:
            raise fields.fail("min_servers", "is above max_servers, 1")
        if guards.max_loss < 100:
            raise fields.fail("max_loss", "has no effect with max_servers: 1; leave it out")
    fields.done()
    return guards


def _zone(fields: Fields) -> Zone:
    zone = Zone(
        label=fields.text("label", _WORD, "letters, digits, dots, - and _, at most 63", "zone"),
        others=fields.choice("others", ("equal", "backup", "weighted"), "equal"),
        weight=fields.integer("weight", 1, 99, 10),
    )
    if fields.has("weight") and zone.others != "weighted":
        raise fields.fail("weight", "has no effect without others: weighted")
    fields.done()
    return zone


def _optional_integer(fields: Fields, name: str, high: int) -> int | None:
    return fields.integer(name, 1, high) if fields.has(name) else None
