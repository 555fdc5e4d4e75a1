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
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from ..catalogue import MAX_CONNECTIONS, WEIGHT_MAX, Service
from ..formats.grammar import parse_address
from .sections import Section, assemble, variable_name
from .servers import Server, by_name, server_name

_SERVER: Final = re.compile(
    r"    server \S+ (\S+):([0-9]{1,5}) weight ([0-9]{1,3})( backup)?"
    r"(?: maxconn ([0-9]{1,7}))?( disabled)? (?P<options>check .+)"
)


@dataclass(frozen=True)
class Options:
    """What a section says besides its servers.

    `variable` is its line in the global section, `lines` are those of its proxy above the servers.
    Each server's line, and each `add server`, ends with `servers`.
    """

    variable: str
    lines: tuple[str, ...]
    servers: str


def options_of(service: Service) -> Options:
    """The options that the catalogue asks for."""
    return Options(
        variable=f"    set-var {variable_name(service.name)} str({fingerprint(service)})\n",
        lines=tuple(_options(service)),
        servers=_server_options(service),
    )


def options_in(section: Section) -> Options | None:
    """The options that a section of the file has; None when it has no server that shows them all.

    Only for a section as `section` writes it.
    """
    lines, servers = [], ""
    for line in section.listen.splitlines()[1:]:
        match = _SERVER.fullmatch(line)
        if match is None:
            lines.append(line.removeprefix("    "))
        else:
            servers = match["options"]
    return Options(section.variable, tuple(lines), servers) if servers else None


def server_arguments(options: Options, server: Server) -> str:
    """What follows the server's name, in its line and in `add server`."""
    return f"{_own_arguments(server)} {options.servers}"


@lru_cache(1024)
def fingerprint(service: Service) -> str:
    """16 hex digits over everything of the service that only a reload can change."""
    text = "\n".join([*_options(service), _server_options(service)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def section(name: str, options: Options, servers: Sequence[Server]) -> Section:
    """What the services file says about a service. The same input gives the same bytes."""
    lines = [*options.lines, *_server_lines(options, servers)]
    return Section(
        variable=options.variable,
        listen=f"listen {name}\n" + "".join(f"    {line}\n" for line in lines),
    )


def render(services: Sequence[Service], servers: Mapping[str, Sequence[Server]]) -> str:
    """The services file, whole."""
    return assemble(
        {s.name: section(s.name, options_of(s), servers.get(s.name, ())) for s in services}
    )


@lru_cache(1024)
def parse_servers(name: str, found: Section) -> tuple[Server, ...]:
    """The servers in a service's section, sorted.

    Only lines as `section` writes them count; others are skipped, because the file is made anew in
    any case and half of it is worth more than none.
    """
    servers = {}
    for line in found.listen.split("\n"):
        if (server := _parse_server(name, line)) is not None:
            servers[server.name] = server
    return by_name(servers.values())


def _options(service: Service) -> Iterator[str]:
    yield f"bind 127.0.0.1:{service.port}"
    yield f"mode {service.mode}"
    if service.mode == "tcp":
        # The defaults section says `option httplog`, which does not fit.
        yield "option tcplog"
    yield f"balance {service.balance}"
    if service.zone.others == "backup":
        # All of them share the load when the node's own zone is down, not the first alone.
        yield "option allbackups"
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


def _server_options(service: Service) -> str:
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


def _server_lines(options: Options, servers: Sequence[Server]) -> Iterator[str]:
    for server in by_name(servers):
        yield f"server {server.name} {server_arguments(options, server)}"


def _own_arguments(server: Server) -> str:
    host = f"[{server.address}]" if ":" in server.address else server.address
    arguments = f"{host}:{server.port} weight {server.weight}"
    if server.backup:
        arguments += " backup"
    if server.max_connections is not None:
        arguments += f" maxconn {server.max_connections}"
    if server.disabled:
        arguments += " disabled"
    return arguments


def _parse_server(service: str, line: str) -> Server | None:
    match = _SERVER.fullmatch(line)
    if match is None:
        return None
    host, port, weight, backup, limit, disabled, _ = match.groups()
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
        disabled=disabled is not None,
    )
    in_range = (
        1 <= server.port <= 65_535
        and server.weight <= WEIGHT_MAX
        and (server.max_connections is None or 1 <= server.max_connections <= MAX_CONNECTIONS)
    )
    written = f"    server {server.name} {_own_arguments(server)} "
    return server if in_range and line.startswith(written) else None
