"""The sd_notify protocol (sd_notify(3)), enough for Type=notify with a watchdog."""

from __future__ import annotations

import os
import socket


def notify(state: str) -> None:
    """Send `READY=1`, `RELOADING=1`, `STOPPING=1`, `WATCHDOG=1` or `STATUS=…` to systemd.

    Without systemd (a trial in a shell) it does nothing. Raises OSError when systemd's socket is
    named but does not take the message: the unit would otherwise be killed without a reason.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.connect(address)
        channel.sendall(state.encode())


def watchdog_seconds() -> float | None:
    """Half of the unit's WatchdogSec, in seconds: how often to send `WATCHDOG=1`."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 2_000_000 if microseconds.isdigit() else None
