"""Whether HAProxy would take a services file."""

from __future__ import annotations

import errno
import re
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from ..formats.grammar import printable
from .places import HAProxySettings
from .sections import owner
from .services_file import FileFailed

# How much of HAProxy's words a message has: an alert may hold two paths.
_SHOWN: Final = 600
_ALERT: Final = re.compile(r"\[ALERT\] +\([0-9]+\) : (?:config : )?(.+)")
# 2.6 and 3.0 write it with a capital where a proxy's name is taken.
_PLACE: Final = re.compile(r"[Pp]arsing \[/dev/stdin:([0-9]+)\] ?: (.+)")


@dataclass(frozen=True)
class Complaint:
    """Why HAProxy would not take a services file: its first alert, on one line.

    `services` are those whose lines it names, each with the first alert about it.
    """

    reason: str
    services: Mapping[str, str] = field(default_factory=dict)


def complaint(settings: HAProxySettings, text: str) -> Complaint | None:
    """What HAProxy has against this text as its services file; None if nothing.

    `haproxy -c` reads the text from its standard input, so that a text is on disk only once it is
    good. Raises `FileFailed` when HAProxy cannot be run.
    """
    command = [settings.binary, "-c", "-f", settings.config, "-f", "/dev/stdin"]
    try:
        result = subprocess.run(
            command,
            input=text,
            # HAProxy returns to where it was started, which may be root's own folder.
            cwd="/",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=settings.timeout_ms / 1000,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FileFailed(
            f"{settings.binary}: the configuration cannot be checked: {error}"
        ) from error
    if result.returncode == 0:
        return None
    return _complaint(result.stdout, text, f"exit {result.returncode}")


def _complaint(output: str, text: str, otherwise: str) -> Complaint:
    alerts = [match[1] for match in map(_ALERT.match, output.split("\n")) if match]
    services: dict[str, str] = {}
    reasons = []
    for alert in alerts:
        place = _PLACE.match(alert)
        # Nobody else sees the text, so that its lines mean nothing to an operator.
        reason = printable(place[2] if place else alert, _SHOWN)
        reasons.append(reason)
        name = owner(text, int(place[1])) if place else None
        if name is not None:
            services.setdefault(name, reason)
    whole = f"{otherwise}: {printable(' '.join(output.split()), _SHOWN)}"
    return Complaint(reasons[0] if reasons else whole, services)


def occupied(port: int) -> str | None:
    """Who else has a local port, which `haproxy -c` does not see; None when it is free."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return f"another program listens on 127.0.0.1:{port}"
    return None
