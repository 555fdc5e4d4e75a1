"""The text of HAProxy's services file, and what it says about itself.

The file holds one `listen` per service. Every server line carries all of its options, because
`add server` ignores `default-server`: the line and the command share one text. What only a reload
can change is hashed into a variable of HAProxy's (`set-var`), so that a running HAProxy can tell
which options it was loaded with (`get var`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from ..catalogue import Breaker, Service
from ..dialogue import dialogue
from ..healthcheck import Check
from .lines import own_arguments, shared_options
from .sections import Section, assemble, variable_name
from .servers import Server, by_name

# How long a connection lasts of which one side has hung up.
_LEFT_MS: Final = 2_000


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
    for line in section.listen.split("\n")[1:]:
        shared = shared_options(line)
        servers = shared or servers
        if line and shared is None:
            lines.append(line.removeprefix("    "))
    return Options(section.variable, tuple(lines), servers) if servers else None


def server_arguments(options: Options, server: Server) -> str:
    """What follows the server's name, in its line and in `add server`."""
    return f"{own_arguments(server)} {options.servers}"


@lru_cache(1024)
def fingerprint(service: Service) -> str:
    """16 hex digits over everything of the service that only a reload can change."""
    text = "\n".join([*_options(service), _server_options(service)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def section(name: str, options: Options, servers: Sequence[Server]) -> Section:
    """What the services file says about a service. The same input gives the same bytes."""
    ordered = by_name(servers)
    lines = [*options.lines, *_server_lines(options, ordered)]
    return Section(
        variable=options.variable,
        listen=f"listen {name}\n" + "".join(f"    {line}\n" for line in lines),
        servers=ordered,
    )


def render(services: Sequence[Service], servers: Mapping[str, Sequence[Server]]) -> str:
    """The services file, whole."""
    return assemble(
        {s.name: section(s.name, options_of(s), servers.get(s.name, ())) for s in services}
    )


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
    if service.breaker is not None:
        yield from _breaker_options(service.breaker, service.mode)
    if service.guards.max_servers is not None or service.check.role is not None:
        # The next server waits until this one is gone. When its client has hung up, no command ends
        # a connection to a server that is frozen: without these it stays for as long as `server`.
        yield f"timeout client-fin {_LEFT_MS}ms"
        yield f"timeout server-fin {_LEFT_MS}ms"
    yield from _check_options(service)


def _breaker_options(breaker: Breaker, mode: str) -> Iterator[str]:
    """What keeps requests from piling up, and those that may be repeated from failing."""
    yield f"timeout queue {breaker.wait_ms}ms"
    yield "retries 1"
    yield "option redispatch 1"
    if mode == "tcp":
        yield f"tcp-request connection reject if {{ queue ge {breaker.queue} }}"
        return
    # The limit of a server's own queue (`maxqueue`) does not hold for the proxy's, where most wait.
    yield f"http-request return status 503 hdr Retry-After 1 if {{ queue ge {breaker.queue} }}"
    # Late and failed answers are not asked for again: HAProxy hides what it repeats from `observe`,
    # and who is slow already would have twice as much to do.
    yield "retry-on conn-failure empty-response"
    yield "http-request disable-l7-retry unless METH_GET or METH_OPTIONS"


def _check_options(service: Service) -> Iterator[str]:
    check = service.check
    if check.type == "http":
        yield f"option httpchk GET {check.path}"
        yield "http-check expect status 200-399"
    elif check.role is not None:
        yield from _dialogue(check)
    elif check.type == "mysql":
        yield "option mysql-check" + (f" user {check.user}" if check.user else "")
    elif check.type == "redis":
        yield "option redis-check"


def _dialogue(check: Check) -> Iterator[str]:
    yield "option tcp-check"
    if check.ca is not None:
        # `add server` takes no file that was not loaded with the configuration.
        yield f"default-server{_tls(check)}"
    for step in dialogue(check):
        yield f"tcp-check send-binary {step.say.hex()}"
        yield f"tcp-check expect comment '{step.meaning}' rstring '{step.expect.decode('ascii')}'"


def _tls(check: Check) -> str:
    return "" if check.ca is None else f" check-ssl ca-file {check.ca} verify required"


def _server_options(service: Service) -> str:
    """The options that all servers of a service share."""
    check, breaker = service.check, service.breaker
    options = f"check inter {check.interval_ms}ms rise {check.rise} fall {check.fall}"
    options += _tls(check)
    if breaker is not None:
        options += f" observe {breaker.observe} error-limit {breaker.error_limit}"
        options += f" on-error {breaker.on_error}"
        if breaker.slow_start_ms:
            options += f" slowstart {breaker.slow_start_ms}ms"
    if service.mode == "tcp" and breaker is None:
        # A session lasts for hours in mode tcp: it must not stay with a primary that is none. What
        # a breaker counts is said of new connections alone; and HAProxy 3.0 leaves that one without
        # an answer which it ends in this way amid its next attempt.
        options += " on-marked-down shutdown-sessions"
    return options


def _server_lines(options: Options, servers: Sequence[Server]) -> Iterator[str]:
    for server in servers:
        yield f"server {server.name} {server_arguments(options, server)}"
