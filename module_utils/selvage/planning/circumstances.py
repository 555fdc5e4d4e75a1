"""What a plan depends on besides the registry, HAProxy and the services file."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Circumstances:
    """What else the plan depends on.

    `peaks` is, by service, the largest number of servers within its guards' window. `maintained`
    are servers that an operator took out. `probed` says of servers that join whether the service's
    check passed, `begun` names those that an earlier pass left something to do for. `released` are
    services for which the guards do not count now. `edited` says that the services file is not as
    we write it. `kept` are services that keep the options they have, and why. `elsewhere` names, by
    service, servers with sessions in workers that HAProxy has left behind when it was reloaded.
    """

    zone: str | None = None
    peaks: Mapping[str, int] = field(default_factory=dict)
    maintained: Collection[str] = ()
    probed: Mapping[str, bool] = field(default_factory=dict)
    begun: Collection[str] = ()
    released: Collection[str] = ()
    edited: bool = False
    kept: Mapping[str, str] = field(default_factory=dict)
    elsewhere: Mapping[str, Collection[str]] = field(default_factory=dict)
