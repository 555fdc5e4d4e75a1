"""The text of HAProxy's services file, and what it says about itself.

The file holds one `listen` per service. Every server line carries all of its options, because
`add server` ignores `default-server`: the line and the command share one text. What only a reload
can change is hashed into a variable of HAProxy's (`set-var`), so that a running HAProxy can tell
which options it was loaded with (`get var`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from typing import Final

from .catalogue import MAX_CONNECTIONS, Service
from .grammar import parse_address
from .model import WEIGHT_MAX, Registration, Server

HEADER: Final = """\
# Written by Selvage's reconciler. Edits are overwritten: change the catalogue (fabric_services)
# for options, the registry for servers.
"""
_LISTEN: Final = re.compile(r"listen ([a-z0-9][a-z0-9_-]{0,62})")
_SERVER: Final = re.compile(
    r"    server \S+ (\S+):([0-9]{1,5}) weight ([0-9]{1,3})( backup)?"
    r"(?: maxconn ([0-9]{1,7}))? check .+"
)


def server_name(service: str, address: str, port: int) -> str:
    """`<service>_<address>_<port>`: an address that moves is a new server."""
    return f"{service}_{address}_{port}"


def wanted_server(service: Service, registration: Registration) -> Server:
    """The server of a registration. Of two limits of connections, the smaller one holds."""
    limits = [n for n in (service.max_connections, registration.max_connections) if n is not None]
    return Server(
        name=server_name(service.name, registration.address, registration.port),
        address=registration.address,
        port=registration.port,
        weight=1 if registration.weight is None else min(ceil(registration.weight), WEIGHT_MAX),
        backup=registration.backup,
        max_connections=min(limits, default=None),
    )


def variable_name(service: str) -> str:
    """The variable with the service's fingerprint; variables know dots, but no dashes."""
    return f"proc.selvage.{service.replace('-', '.')}"


def server_options(service: Service) -> str:
    """The options that all servers of a service share."""
    check, breaker = service.check, service.breaker
    options = f"check inter {check.interval_ms}ms rise {check.rise} fall {check.fall}"
    if breaker is not None:
        options += (
            f" observe {breaker.observe} error-limit {breaker.error_limit}"
            f" on-error {breaker.on_error}"
        )
    if service.mode == "tcp":
        # A session lasts for hours in mode tcp: it must not stay with a primary that is none.
        options += " on-marked-down shutdown-sessions"
    return options


def server_arguments(service: Service, server: Server) -> str:
    """What follows the server's name, in its line and in `add server`."""
    return f"{_own_arguments(server)} {server_options(service)}"


def fingerprint(service: Service) -> str:
    """16 hex digits over everything of the service that only a reload can change."""
    text = "\n".join([*_options(service), server_options(service)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def render(services: Sequence[Service], servers: Mapping[str, Sequence[Server]]) -> str:
    """The services file. The same input gives the same bytes, whatever its order."""
    ordered = sorted(services, key=lambda service: service.name)
    sections = [HEADER]
    if ordered:
        sections.append("global\n" + "".join(_variable(service) for service in ordered))
    for service in ordered:
        lines = [*_options(service), *_server_lines(service, servers.get(service.name, ()))]
        sections.append(f"listen {service.name}\n" + "".join(f"    {line}\n" for line in lines))
    return "\n".join(sections)


def parse_servers(text: str) -> dict[str, tuple[Server, ...]]:
    """The servers in a services file, by service, sorted by name.

    Only lines as `render` writes them count; others are skipped, because the file is made anew in
    any case and half of it is worth more than none.
    """
    found: dict[str, dict[str, Server]] = {}
    service = None
    for line in text.splitlines():
        if line and not line.startswith(" "):
            listen = _LISTEN.fullmatch(line)
            service = listen[1] if listen else None
            if service is not None:
                found.setdefault(service, {})
        elif service is not None and (server := _parse_server(service, line)) is not None:
            found[service][server.name] = server
    return {name: tuple(servers[key] for key in sorted(servers)) for name, servers in found.items()}


def _variable(service: Service) -> str:
    return f"    set-var {variable_name(service.name)} str({fingerprint(service)})\n"


def _options(service: Service) -> Iterator[str]:
    yield f"bind 127.0.0.1:{service.port}"
    yield f"mode {service.mode}"
    if service.mode == "tcp":
        # The defaults section says `option httplog`, which does not fit.
        yield "option tcplog"
    yield f"balance {service.balance}"
    if service.balance == "source":
        # The map-based hash, the default, refuses servers that are added at runtime.
        yield "hash-type consistent"
    timeouts = service.timeouts
    for name, milliseconds in (
        ("connect", timeouts.connect_ms),
        ("client", timeouts.client_ms),
        ("server", timeouts.server_ms),
        ("check", service.check.timeout_ms),
    ):
        if milliseconds is not None:
            yield f"timeout {name} {milliseconds}ms"
    yield from _check_options(service)


def _check_options(service: Service) -> Iterator[str]:
    check = service.check
    if check.type == "http":
        yield f"option httpchk GET {check.path}"
        yield "http-check expect status 200-399"
    elif check.type == "mysql":
        yield "option mysql-check" + (f" user {check.user}" if check.user else "")
    elif check.type == "redis":
        yield "option redis-check"


def _server_lines(service: Service, servers: Sequence[Server]) -> Iterator[str]:
    for server in sorted(servers):
        yield f"server {server.name} {server_arguments(service, server)}"


def _own_arguments(server: Server) -> str:
    host = f"[{server.address}]" if ":" in server.address else server.address
    arguments = f"{host}:{server.port} weight {server.weight}"
    if server.backup:
        arguments += " backup"
    if server.max_connections is not None:
        arguments += f" maxconn {server.max_connections}"
    return arguments


def _parse_server(service: str, line: str) -> Server | None:
    match = _SERVER.fullmatch(line)
    if match is None:
        return None
    host, port, weight, backup, limit = match.groups()
    try:
        address = parse_address(host.strip("[]"))
    except ValueError:
        return None
    server = Server(
        name=server_name(service, address, int(port)),
        address=address,
        port=int(port),
        weight=int(weight),
        backup=backup is not None,
        max_connections=int(limit) if limit else None,
    )
    in_range = (
        1 <= server.port <= 65_535
        and server.weight <= WEIGHT_MAX
        and (server.max_connections is None or 1 <= server.max_connections <= MAX_CONNECTIONS)
    )
    written = f"    server {server.name} {_own_arguments(server)} "
    return server if in_range and line.startswith(written) else None
