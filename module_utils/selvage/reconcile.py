"""One pass: read, plan, persist, apply, read back.

A pass never waits for sessions: what still drains is left to a later pass, and `Result.again_s`
says when. Whatever a pass leaves undone, for one because it was killed, the next one finds in
what HAProxy runs and in the services file.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from . import checks, haproxy_runtime, lock, services_file
from .catalogue import Service
from .fields import Invalid
from .haproxy_config import server_arguments
from .haproxy_runtime import CommandRefused, HAProxyUnavailable, Master, ReloadFailed, Runtime
from .model import LiveServer, LiveService, Refusal, Server
from .plan import (
    AddServer,
    Admit,
    Drain,
    Plan,
    Remove,
    Replace,
    ServicePlan,
    SetMaxConnections,
    SetWeight,
    Step,
    Undrain,
    make_plan,
)
from .quarantine import keep, new_ports
from .registration import Reading
from .registration import read as read_registrations
from .registry import RegistryUnavailable
from .settings import Settings

FAILURES: Final = (
    Invalid,
    RegistryUnavailable,
    HAProxyUnavailable,
    lock.Locked,
    services_file.NotWritten,
)
_LOCK_LIMIT_S: Final = 30.0
_PROBES_AT_ONCE: Final = 32
_LOOK_AGAIN_S: Final = 0.1

Registry = Callable[[], Mapping[str, Mapping[str, bytes]]]


@dataclass(frozen=True)
class ServiceResult:
    """What happened to one service; names of servers, and why something did not happen."""

    name: str
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    kept: tuple[str, ...]
    held: str | None
    refused: tuple[Refusal, ...]


@dataclass(frozen=True)
class Result:
    """What one pass did, or would do.

    `before` and `after` are the services file's texts. `problems` are failures that harmed one
    service or server only. `again_s` says when to look again because something still drains.
    """

    services: tuple[ServiceResult, ...]
    before: str
    after: str
    commands: tuple[str, ...]
    reloaded: bool
    problems: tuple[str, ...]
    again_s: float | None

    @property
    def changed(self) -> bool:
        """Whether anything was, or would be, done."""
        return self.before != self.after or bool(self.commands)
