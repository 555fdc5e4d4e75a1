"""The result as a table: ours, naive, their ratio, the target of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class _Row:
    text: str
    path: str
    unit: str = ""
    target: float | None = None


_ROWS = (
    _Row("join: znode created → first request answered, p50", "join_ms.p50", "ms", 10),
    _Row("  p95", "join_ms.p95", "ms"),
    _Row("  p99", "join_ms.p99", "ms", 50),
    _Row("  from the call of create, p50", "latency.join_from_call_ms.p50", "ms"),
    _Row("  joins that were never served", "latency.never_served", "", 0),
    _Row("leave: znode deleted → last request routed, p50", "leave_ms.p50", "ms", 10),
    _Row("  p95", "leave_ms.p95", "ms"),
    _Row("  p99", "leave_ms.p99", "ms", 50),
    _Row("churn: joins, and as many leaves", "churn.joins"),
    _Row("  requests a second", "churn.requests_per_s"),
    _Row("  failed requests", "churn.failed", "", 0),
    _Row("  reloads", "churn.reloads", "", 0),
    _Row("  old HAProxy processes at a time", "churn.old_processes", "", 0),
    _Row("  instances that never got a request", "churn.never_served", "", 0),
    _Row("fleet of 10 replaced in one transaction: trials", "fleet.trials"),
    _Row("  trials with a failed request", "fleet.failed_trials", "", 0),
    _Row("  failed requests", "fleet.failed", "", 0),
    _Row("200 services of 20 instances: first complete reconcile", "scale.first_s", "s", 2),
    _Row("  as a single run", "scale.first_once_s", "s"),
    _Row("  a run that changes nothing", "scale.noop_s", "s", 0.5),
    _Row("    of which reading takes", "scale.noop_read_s", "s"),
    _Row("  one change", "scale.one_change_ms", "ms", 20),
    _Row("  reads for one join", "scale.reads_per_join", "", 2),
    _Row("  the daemon's memory", "scale.rss_mib", "MiB", 80),
    _Row("  its share of a core when idle", "scale.idle_percent", "%", 0.2),
    _Row("another service is flooded: join, p50", "flood.flooded.join_ms.p50", "ms"),
    _Row("  p99", "flood.flooded.join_ms.p99", "ms", 50),
    _Row("  joins", "flood.flooded.join_ms.n"),
    _Row("  joins that were never served", "flood.flooded.never_served", "", 0),
    _Row("  without the flood, p50", "flood.quiet.join_ms.p50", "ms"),
    _Row("  the daemon's share of a core", "flood.flooded.cpu_percent", "%"),
    _Row("  its memory", "flood.flooded.rss_mib", "MiB"),
    _Row("  its memory without the flood", "flood.quiet.rss_mib", "MiB"),
    _Row("  its memory afterwards", "flood.afterwards.rss_mib", "MiB"),
    _Row("500 slow clients at Nginx: others' requests, p50", "slow_clients.beside_ms.p50", "ms"),
    _Row("  p99", "slow_clients.beside_ms.p99", "ms"),
    _Row("  p99 without them", "slow_clients.alone_ms.p99", "ms"),
    _Row("  their ratio", "slow_clients.ratio_p99", "", 1.2),
    _Row(
        "  slow requests that reached an instance",
        "slow_clients.reached",
        "",
        0,
    ),
    _Row("playbook over all sidecars, nothing to do", "playbook.reconcile_s", "s"),
    _Row("  a play that only pings them", "playbook.ping_s", "s"),
    _Row("  their ratio", "playbook.ratio", "", 1.5),
)
_CURVE = ("services", "instances", "first_s", "noop_s", "one_change_ms", "rss_mib")


def table(result: Mapping[str, Any]) -> str:
    """The lines for what was measured."""
    lines = [_line("", "ours", "naive", "naive/ours", "target")]
    for row in _ROWS:
        ours, naive = _at(result, row.path), _at(result.get("naive", {}), row.path)
        if ours is None:
            continue
        ratio = f"{naive / ours:.1f}" if row.unit and naive is not None and ours else ""
        met = (
            ""
            if row.target is None
            else f"≤ {row.target:g} {'ok' if ours <= row.target else 'MISSED'}"
        )
        lines.append(_line(row.text, _shown(ours, row.unit), _shown(naive, row.unit), ratio, met))
    lines += ["", *(f"{key}: {value}" for key, value in result["conditions"].items())]
    for name, side in (("ours", result), ("naive", result.get("naive", {}))):
        points = _at(side, "scale.curve") or []
        if points:
            lines += ["", f"growth, {name}:", "".join(f"{key:>14}" for key in _CURVE)]
            lines += ["".join(f"{point[key]:>14}" for key in _CURVE) for point in points]
    if "trace_ms" in result:
        lines += ["", "a join, in milliseconds from the acknowledgement to the end of each stage:"]
        lines += [
            _line(f"  {stage}", *(f"{name} {ms:g}" for name, ms in figures.items()))
            for stage, figures in result["trace_ms"].items()
        ]
    for case in result.get("nodes", []):
        lines += ["", f"{case['watchers']} watchers of {case['subscribed']} services:"]
        lines += _indented(case, "  ")
    return "\n".join(lines)


def _indented(figures: Mapping[str, Any], indent: str) -> list[str]:
    lines = []
    for key, value in figures.items():
        if isinstance(value, Mapping):
            lines += [f"{indent}{key}:", *_indented(value, f"{indent}  ")]
        else:
            lines.append(f"{indent}{key}: {value}")
    return lines


def _line(text: str, *columns: str) -> str:
    return f"{text:<52}" + "".join(f"{column:>14}" for column in columns)


def _shown(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:g} {unit}".rstrip()


def _at(result: Mapping[str, Any], path: str) -> Any:
    found: Any = result
    for key in path.split("."):
        if not isinstance(found, Mapping) or key not in found:
            return None
        found = found[key]
    return found
