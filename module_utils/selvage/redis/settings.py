"""Which settings differ from what runs, and which of these need a restart. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

# What CONFIG SET refuses as immutable or protected in Redis 7.0 and 8.0; a test asks the real ones.
FIXED: Final = frozenset(
    (
        "aclfile",
        "always-show-logo",
        "aof_rewrite_cpulist",
        "aof-rewrite-cpulist",
        "appenddirname",
        "appendfilename",
        "bgsave_cpulist",
        "bgsave-cpulist",
        "bio_cpulist",
        "bio-cpulist",
        "cluster-config-file",
        "cluster-enabled",
        "cluster-port",
        "daemonize",
        "databases",
        "dbfilename",
        "dir",
        "disable-thp",
        "enable-debug-command",
        "enable-module-command",
        "enable-protected-configs",
        "io-threads",
        "io-threads-do-reads",
        "logfile",
        "pidfile",
        "rdbchecksum",
        "server_cpulist",
        "server-cpulist",
        "set-proc-title",
        "socket-mark-id",
        "supervised",
        "syslog-enabled",
        "syslog-facility",
        "syslog-ident",
        "tcp-backlog",
        "unixsocket",
        "unixsocketperm",
    )
)
# Where certificates are read from: what stands in the files counts, not their names.
CERTIFICATES: Final = ("tls-cert-file", "tls-key-file", "tls-ca-cert-file")
_UNITS: Final = {
    "": 1,
    "b": 1,
    "k": 1_000,
    "kb": 1_024,
    "m": 1_000_000,
    "mb": 1_024**2,
    "g": 1_000_000_000,
    "gb": 1_024**3,
}


@dataclass(frozen=True)
class Differences:
    """Settings by name with the value that they are to have; `unknown` the server has not."""

    live: dict[str, str]
    restart: dict[str, str]
    unknown: tuple[str, ...]


def differences(wanted: Mapping[str, str], actual: Mapping[str, str]) -> Differences:
    """What has to change, from what CONFIG GET said."""
    differing = {
        name: value
        for name, value in wanted.items()
        if name in actual and not same(value, actual[name])
    }
    return Differences(
        live={name: value for name, value in differing.items() if name not in FIXED},
        restart={name: value for name, value in differing.items() if name in FIXED},
        unknown=tuple(sorted(wanted.keys() - actual.keys())),
    )


def same(one: str, other: str) -> bool:
    """Whether both say the same to Redis: sizes have units, words no capitals."""
    if one == other:
        return True
    size = _size(one)
    return size is not None and size == _size(other)


def _size(text: str) -> int | None:
    match = re.fullmatch(r"([0-9]{1,18})([a-z]{0,2})", text.lower())
    if match is None or match[2] not in _UNITS:
        return None
    return int(match[1]) * _UNITS[match[2]]
