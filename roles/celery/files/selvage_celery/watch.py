"""A look at an application's workers: canaries, the end of who does not consume, and metrics."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from . import broker, metrics, report
from .judge import Limits, Memory, away, judge
from .settings import Settings, load, replace

BEAT_SECONDS = 30.0


def run(settings: Settings, patience_s: float) -> int:
    """One look; 1 when a worker had to be ended, so that the unit shows it."""
    app = load(settings)
    path = settings.state / "watch.json"
    memory = _recall(path)
    limits = Limits(
        patience_s,
        float(settings.hard_seconds * settings.prefetch),
        float(settings.stop_seconds),
    )
    said = {worker: report.read(settings.state / f"{worker}.json") for worker in settings.workers}
    alive = {worker: one for worker, one in said.items() if one is not None and one.alive()}
    queues: dict[str, tuple[int, float | None]] = {}
    ended = 0
    there = True
    try:
        with broker.reached(app) as reached:
            for worker, one in alive.items():
                verdict = judge(time.monotonic(), one, memory.get(worker, Memory()), limits)
                memory[worker] = verdict.memory
                if verdict.act == "send":
                    reached.send_canary(settings.canaries(worker))
                elif verdict.act:
                    ended += _end(worker, one, verdict.act, verdict.why)
            for queue in settings.queues:
                queues[queue] = (reached.length(queue), reached.age(queue))
    # Each transport has its own, and all mean the same.
    except Exception as error:
        there = False
        print(f"the broker cannot be reached: {type(error).__name__}: {_bare(error)}", flush=True)
        memory = {worker: away(one) for worker, one in memory.items()}
    replace(path, json.dumps({worker: asdict(memory[worker]) for worker in memory}))
    text = metrics.text(settings, alive, memory, queues, there, _has_beat(settings))
    replace(settings.state / "metrics.prom", text)
    return 1 if ended else 0


def consumes(settings: Settings, worker: str, limit_s: float) -> int:
    """Wait until a worker that was just started has consumed a canary."""
    app = load(settings)
    deadline = time.monotonic() + limit_s
    path = settings.state / f"{worker}.json"
    asked, trouble = 0, "it did not start: its log says why"
    while time.monotonic() < deadline:
        one = report.read(path)
        if one is not None and one.alive():
            if one.canary:
                return 0
            trouble = "it has not consumed its canary"
            if asked != one.pid:
                try:
                    with broker.reached(app) as reached:
                        reached.send_canary(settings.canaries(worker))
                    asked = one.pid
                except Exception as error:
                    trouble = f"the broker cannot be reached: {_bare(error)}"
        time.sleep(0.5)
    print(f"{worker}: {trouble} (waited {limit_s:.0f} s)")
    return 1


def _recall(path: Path) -> dict[str, Memory]:
    try:
        return {name: Memory(**one) for name, one in json.loads(path.read_text()).items()}
    except (FileNotFoundError, ValueError, TypeError, AttributeError):
        return {}


def _end(worker: str, one: report.Report, act: str, why: str) -> int:
    """Supervisor starts it again. It leads a group of its own processes, the pool's children."""
    print(f"{worker} is ended ({act}): it {why}", flush=True)
    if one.alive():
        if act == "kill" and os.getpgid(one.pid) == one.pid:
            os.killpg(one.pid, signal.SIGKILL)
        else:
            os.kill(one.pid, signal.SIGKILL if act == "kill" else signal.SIGTERM)
    return 1


def _has_beat(settings: Settings) -> bool | None:
    """Whether the fabric's one beat of this application is here."""
    if not settings.beat:
        return None
    try:
        held = (settings.state / "beat").stat().st_mtime
    except FileNotFoundError:
        return False
    return time.time() - held < BEAT_SECONDS


def _bare(error: Any) -> str:  # noqa: ANN401 - whatever it is
    """One line; an address in it may have a password."""
    return re.sub(r"//[^@/\s]*@", "//", " ".join(str(error).split()))[:200]
