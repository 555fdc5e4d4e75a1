"""How the last runs went: a file for people and programs, and metrics for a collector."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from ..system import files
from .manifest import Manifest

State = dict[str, dict[str, Any]]
_METRICS: Final = (
    ("last_success_timestamp_seconds", "When the last whole backup of a service was there."),
    ("size_bytes", "The size of the last whole backup."),
    ("failures", "Runs since then that brought none."),
)


def read(path: Path) -> State:
    """What the file says; nothing before the first run, or where something else spoilt it."""
    try:
        found = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return {k: v for k, v in found.items() if isinstance(v, dict)} if type(found) is dict else {}


def begun(state: State, service: str, moment: datetime) -> State:
    """The state when a run begins with a service."""
    return {**state, service: {**state.get(service, {}), "last_start": stamp(moment)}}


def succeeded(state: State, service: str, moment: datetime, made: Manifest, kept: int) -> State:
    """The state after a backup."""
    return {
        **state,
        service: {
            **state.get(service, {}),
            "last_end": stamp(moment),
            "last_success": stamp(moment),
            "name": made.name,
            "member": made.member,
            "size": made.size,
            "kept": kept,
            "failures": 0,
            "reason": None,
        },
    }


def failed(state: State, service: str, moment: datetime, reason: str) -> State:
    """The state after a run that brought none."""
    former = state.get(service, {})
    return {
        **state,
        service: {
            **former,
            "last_end": stamp(moment),
            "failures": int(former.get("failures", 0)) + 1,
            "reason": reason,
        },
    }


def write(folder: Path, state: State) -> None:
    """Put both files in their place; everyone may read them."""
    files.write(folder / "state.json", json.dumps(state, indent=2) + "\n")
    files.write(folder / "metrics.prom", metrics(state))


def metrics(state: State) -> str:
    """The text that a collector of Prometheus's node exporter takes."""
    lines = []
    for name, words in _METRICS:
        lines += [f"# HELP selvage_backup_{name} {words}", f"# TYPE selvage_backup_{name} gauge"]
        for service, told in sorted(state.items()):
            value = _value(name, told)
            if value is not None:
                lines.append(f'selvage_backup_{name}{{service="{service}"}} {value}')
    return "\n".join(lines) + "\n"


def _value(name: str, told: Mapping[str, Any]) -> int | None:
    if name == "failures":
        return int(told.get("failures", 0))
    if told.get("last_success") is None:
        return None
    if name == "size_bytes":
        return int(told["size"])
    return int(datetime.fromisoformat(told["last_success"]).timestamp())


def report(
    state: State, services: list[str], now: datetime, most_h: float
) -> tuple[bool, list[str]]:
    """Whether each service has a backup that is recent enough, and a line for each of them."""
    fine, lines = True, []
    for service in services:
        told = state.get(service, {})
        success = told.get("last_success")
        age_h = (
            (now - datetime.fromisoformat(success)).total_seconds() / 3_600
            if success
            else float("inf")
        )
        fresh = age_h <= most_h
        fine = fine and fresh
        words = [f"{service} {'fresh' if fresh else 'stale'}: last success {success or 'never'}"]
        if success:
            words.append(f"age={age_h:.1f}h size={told['size']} member={told['member']}")
            words.append(f"kept={told['kept']}")
        if told.get("reason"):
            words.append(f"failures={told['failures']} reason: {told['reason']}")
        lines.append(" ".join(words))
    return fine, lines


def stamp(moment: datetime) -> str:
    """A time in UTC, such as 2026-11-20T19:00:01+00:00."""
    return moment.astimezone(UTC).isoformat(timespec="seconds")
