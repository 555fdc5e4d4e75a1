"""The sd_notify protocol (sd_notify(3)), enough for Type=notify with a watchdog."""

from __future__ import annotations

import logging
import os
import socket
from typing import Final

from .journal import event

# systemd ignores a datagram of more than a page, and the kernel one of more than its buffer.
_STATUS_BYTES: Final = 2_048
# systemd may be busy; the watchdog counts longer than that.
_LIMIT_S: Final = 1.0

_logger = logging.getLogger(__name__)
_told: set[str] = set()


def notify(state: str) -> None:
    """Send `READY=1`, `RELOADING=1`, `STOPPING=1` or `WATCHDOG=1` to systemd.

    Without systemd (a trial in a shell) it does nothing. It raises nothing and waits a second at
    most: when systemd does not take what it waits for, the journal says why, and its watchdog is
    the judge.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.settimeout(_LIMIT_S)
            channel.connect(address)
            channel.sendall(state.encode())
    except OSError as error:
        if str(error) not in _told:
            _told.add(str(error))
            event(_logger, logging.ERROR, "systemd does not take what is said to it", error=error)
    else:
        _told.clear()


def status(text: str) -> None:
    """What `systemctl status` shows: the text on one line, cut off where it is too long."""
    line = "".join(c if c.isprintable() else "?" for c in " ".join(text.splitlines()))
    data = line.encode()
    if len(data) > _STATUS_BYTES:
        line = data[:_STATUS_BYTES].decode(errors="ignore") + "…"
    notify(f"STATUS={line}")


def watchdog_seconds() -> float | None:
    """Half of the unit's WatchdogSec, in seconds: how often to send `WATCHDOG=1`."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 2_000_000 if microseconds.isdigit() else None
