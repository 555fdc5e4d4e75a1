"""Whether HAProxy would take a services file."""

from __future__ import annotations

import errno
import re
import socket
import subprocess
from typing import Final

from ..formats.grammar import printable
from .places import HAProxySettings
from .services_file import FileFailed

# How much of HAProxy's words a message has: an alert may hold two paths.
_SHOWN: Final = 600


def complaint(settings: HAProxySettings, text: str) -> str | None:
    """What HAProxy has against this text as its services file, on one line; None if nothing.

    `haproxy -c` reads the text from its standard input, so that a text is on disk only once it is
    good. Raises `FileFailed` when HAProxy cannot be run.
    """
    command = [settings.binary, "-c", "-f", settings.config, "-f", "/dev/stdin"]
    try:
        result = subprocess.run(
            command,
            input=text,
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
    # The first alert says it, with its place unless that is in a text that nobody else sees.
    alert = re.search(
        r"\[ALERT\] +\([0-9]+\) : (?:config : )?(?:parsing \[/dev/stdin:\d+\] : )?(.+)",
        result.stdout,
    )
    if alert is None:
        return f"exit {result.returncode}: {printable(' '.join(result.stdout.split()), _SHOWN)}"
    return printable(alert[1], _SHOWN)


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
