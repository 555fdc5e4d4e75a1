"""Metrics of the reconciler: a file in Prometheus' text format, for a textfile collector."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..haproxy.servers import BreakerState
from ..system import files
from .result import ServiceResult

_SAMPLE: Final = re.compile(r'(selvage_[a-z_]+_total)(\{[a-z]+="[a-z]+"\})?')
_COUNTERS: Final = {
    "selvage_steps_total": "Commands for servers that were sent to HAProxy.",
    "selvage_reloads_total": "Reloads of HAProxy.",
    "selvage_probes_total": "Instances that were checked before they joined.",
    "selvage_drift_total": "Changes of somebody else's in HAProxy or its services file.",
}
# What one wants to see the first time of has to begin at zero.
_ZEROS: Final = (
    *(
        f'selvage_steps_total{{step="{step}"}}'
        for step in (
            "add",
            "admit",
            "demote",
            "disable",
            "drain",
            "maxconn",
            "open",
            "remove",
            "stop",
            "undrain",
            "weight",
        )
    ),
    *(f'selvage_reloads_total{{result="{result}"}}' for result in ("done", "refused")),
    *(f'selvage_probes_total{{result="{result}"}}' for result in ("passed", "failed")),
    "selvage_drift_total",
)


@dataclass(frozen=True)
class Snapshot:
    """Times are in seconds since 1970, 0 for never.

    `read_at` is when the registry was last known to be as it was read. `breakers` are by service,
    of those that have one, and server. They were asked for at `at`.
    """

    read_at: float
    passed_at: float
    connected: bool
    problems: int
    overrides: int
    services: Collection[ServiceResult]
    counters: Mapping[str, int]
    breakers: Mapping[str, Mapping[str, BreakerState]]
    at: float


def render(snapshot: Snapshot) -> str:
    """The text of the file. Pure."""
    return "".join(f"{line}\n" for line in _lines(snapshot))


def write(path: Path, text: str) -> None:
    """Put the text in the file's place, for everyone to read; raises OSError."""
    # They are written anew within seconds: a crash of the computer may take the last ones.
    files.write(path, text)


def _lines(snapshot: Snapshot) -> Iterator[str]:
    for name, meaning, value in (
        (
            "selvage_registry_read_timestamp_seconds",
            "When the registry was last known to be as it was read; 0 for never.",
            f"{snapshot.read_at:.3f}",
        ),
        (
            "selvage_pass_timestamp_seconds",
            "When the last pass of the reconciler ended.",
            f"{snapshot.passed_at:.3f}",
        ),
        (
            "selvage_registry_connected",
            "Whether there is a connection to the registry.",
            int(snapshot.connected),
        ),
        ("selvage_problems", "What the last pass could not do.", snapshot.problems),
        ("selvage_overrides", "Servers in maintenance by an operator's word.", snapshot.overrides),
    ):
        yield from _head(name, meaning, "gauge")
        yield f"{name} {value}"
    services = sorted(snapshot.services, key=lambda service: service.name)
    for name, meaning, values in (
        (
            "selvage_service_held",
            "Whether the service does not follow the registry or the catalogue.",
            [int(service.held is not None) for service in services],
        ),
        (
            "selvage_service_refused",
            "Registrations that were refused.",
            [len(service.refused) for service in services],
        ),
        (
            "selvage_service_out_of_service",
            "Registrations that say themselves that they take no traffic.",
            [len(service.out_of_service) for service in services],
        ),
        (
            "selvage_service_held_out",
            "Registrations that get no traffic where one server alone may have it.",
            [len(service.held_out) for service in services],
        ),
        (
            "selvage_service_servers",
            "Servers that the service has in HAProxy, healthy or not.",
            [service.size for service in services],
        ),
    ):
        yield from _head(name, meaning, "gauge")
        for service, value in zip(services, values, strict=True):
            yield f'{name}{{service="{_escaped(service.name)}"}} {value}'
    yield from _breakers(snapshot)
    yield from _counters(snapshot.counters)


def _breakers(snapshot: Snapshot) -> Iterator[str]:
    breakers = sorted(snapshot.breakers.items())
    name = "selvage_service_breakers_open"
    yield from _head(name, "Servers that the service's breaker has taken out.", "gauge")
    for service, servers in breakers:
        yield f'{name}{{service="{service}"}} {sum(one.open for one in servers.values())}'
    name = "selvage_service_breaker_opened_total"
    yield from _head(name, "Errors in a row that open it, of the servers that it has.", "counter")
    for service, servers in breakers:
        yield f'{name}{{service="{service}"}} {sum(one.opened for one in servers.values())}'
    name = "selvage_breaker_open_since_timestamp_seconds"
    yield from _head(name, "Since when a server is out, by which error.", "gauge")
    for service, servers in breakers:
        for server, one in sorted(servers.items()):
            labels = f'service="{service}",server="{_escaped(server)}",error="{one.fault or ""}"'
            if one.open:
                yield f"{name}{{{labels}}} {snapshot.at - one.since_s:.0f}"


def _counters(counted: Mapping[str, int]) -> Iterator[str]:
    samples = sorted({**dict.fromkeys(_ZEROS, 0), **counted}.items())
    for name, meaning in _COUNTERS.items():
        yield from _head(name, meaning, "counter")
        for sample, value in samples:
            match = _SAMPLE.fullmatch(sample)
            if match is not None and match[1] == name:
                yield f"{sample} {value}"


def _head(name: str, meaning: str, kind: str) -> Iterator[str]:
    yield f"# HELP {name} {meaning}"
    yield f"# TYPE {name} {kind}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
