"""One server's line in the services file. Pure."""

from __future__ import annotations

import re
from typing import Final

from ..catalogue import MAX_CONNECTIONS, WEIGHT_MAX
from ..formats.grammar import parse_address
from .servers import Server, server_name

_SERVER: Final = re.compile(
    r"    server \S+ (\S+):([0-9]{1,5}) weight ([0-9]{1,3})( backup)?"
    r"(?: maxconn ([0-9]{1,7}))?( disabled)? (?P<shared>check .+)"
)


def own_arguments(server: Server) -> str:
    """What is the server's own between its name and the options that its service shares."""
    host = f"[{server.address}]" if ":" in server.address else server.address
    arguments = f"{host}:{server.port} weight {server.weight}"
    if server.backup:
        arguments += " backup"
    if server.max_connections is not None:
        arguments += f" maxconn {server.max_connections}"
    if server.disabled:
        arguments += " disabled"
    return arguments


def parse_server(service: str, line: str) -> Server | None:
    """The server in a line, None where it is not a line as we write it."""
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
    written = f"    server {server.name} {own_arguments(server)} "
    return server if in_range and line.startswith(written) else None


def shared_options(line: str) -> str | None:
    """What a server's line says of its service's options; None where it is no server's."""
    match = _SERVER.fullmatch(line)
    return match["shared"] if match else None
