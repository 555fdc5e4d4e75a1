"""Metrics of an application on this host, for a collector of text files."""

from __future__ import annotations

import time
from collections.abc import Mapping

from .judge import Memory
from .report import Report
from .settings import Settings

HELP = {
    "queue_length": ("gauge", "Jobs that wait in a queue, as the broker says."),
    "oldest_job_age_seconds": (
        "gauge",
        "How long the first has waited, if its sender says.",
    ),
    "tasks_total": ("counter", "Tasks that ended, by outcome, since the worker started."),
    "worker_active": ("gauge", "Tasks that a worker does at the moment."),
    "worker_up": ("gauge", "Whether the worker's process runs."),
    "worker_canary_age_seconds": ("gauge", "Since when a worker has consumed no canary."),
    "worker_ended_total": ("counter", "How often it was ended because it did not consume."),
    "beat": ("gauge", "Whether the fabric's one beat of the application is on this host."),
    "broker_up": ("gauge", "Whether the broker could be reached."),
    "look_timestamp_seconds": ("gauge", "When all this was seen."),
}


def text(
    settings: Settings,
    alive: Mapping[str, Report],
    memory: Mapping[str, Memory],
    queues: Mapping[str, tuple[int, float | None]],
    there: bool,
    beat: bool | None,
) -> str:
    """The whole file."""
    rows: dict[str, list[tuple[dict[str, str], float]]] = {name: [] for name in HELP}
    for queue, (length, age) in queues.items():
        rows["queue_length"].append(({"queue": queue}, length))
        if age is not None:
            rows["oldest_job_age_seconds"].append(({"queue": queue}, age))
    now = time.monotonic()
    for worker in settings.workers:
        label = {"worker": worker}
        rows["worker_up"].append((label, float(worker in alive)))
        restarts = memory[worker].restarts if worker in memory else 0
        rows["worker_ended_total"].append((label, restarts))
        if (one := alive.get(worker)) is None:
            continue
        rows["worker_active"].append((label, one.active))
        if one.canary:
            rows["worker_canary_age_seconds"].append((label, now - one.canary))
        for outcome in ("succeeded", "failed", "retried"):
            rows["tasks_total"].append(({**label, "outcome": outcome}, getattr(one, outcome)))
    if beat is not None:
        rows["beat"].append(({}, float(beat)))
    rows["broker_up"].append(({}, float(there)))
    rows["look_timestamp_seconds"].append(({}, time.time()))
    lines = []
    for name, (kind, words) in HELP.items():
        if rows[name]:
            full = f"selvage_celery_{name}"
            lines += [f"# HELP {full} {words}", f"# TYPE {full} {kind}"]
            lines += [
                f"{full}{{{_labels(settings, more)}}} {value:.17g}" for more, value in rows[name]
            ]
    return "".join(f"{line}\n" for line in lines)


def _labels(settings: Settings, more: Mapping[str, str]) -> str:
    return ",".join(f'{k}="{v}"' for k, v in {"application": settings.name, **more}.items())
