"""Whether a worker has stopped to consume: decided over values alone."""

from __future__ import annotations

from dataclasses import dataclass

from .report import Report

# A worker that says nothing of itself for so long hangs, or tries to reach the broker.
SILENT_SECONDS = 60.0


@dataclass(frozen=True)
class Memory:
    """What the last look left for the next; `pid` and `born` are the process that was meant."""

    pid: int = 0
    born: int = 0
    asked: float = 0.0
    told: float = 0.0
    restarts: int = 0
    in_a_row: int = 0


@dataclass(frozen=True)
class Limits:
    """Of an application."""

    patience_s: float
    busy_s: float
    stop_s: float


@dataclass(frozen=True)
class Verdict:
    """What to do: `send` a canary, end the worker (`term`, `kill`), or nothing."""

    memory: Memory
    act: str = ""
    why: str = ""


def judge(now: float, said: Report, memory: Memory, limits: Limits) -> Verdict:
    """One worker that runs, while the broker can be reached."""
    if (memory.pid, memory.born) != (said.pid, said.born):
        memory = Memory(said.pid, said.born, 0.0, 0.0, memory.restarts, memory.in_a_row)
    if memory.told:
        if now - memory.told < limits.stop_s:
            return Verdict(memory)
        return Verdict(memory, "kill", f"did not end within {limits.stop_s:.0f} s")
    if said.ending:
        # Somebody else's doing, who waits for its tasks, and not for ever.
        return Verdict(memory)
    if memory.asked and said.canary >= memory.asked:
        memory = Memory(said.pid, said.born, 0.0, 0.0, memory.restarts, 0)
    if not memory.asked:
        return Verdict(
            Memory(said.pid, said.born, now, 0.0, memory.restarts, memory.in_a_row), "send"
        )
    waited = now - memory.asked
    # Between two tasks it looks free for a moment.
    free = now - max(memory.asked, said.full)
    # One that is restarted over and over is not helped by it: twice as long each time.
    patience = limits.patience_s * 2 ** min(memory.in_a_row, 6)
    if free < patience and waited < limits.busy_s + patience:
        return Verdict(memory)
    silent = now - said.at
    if silent > SILENT_SECONDS:
        return _end(memory, now, f"has said nothing for {silent:.0f} s")
    return _end(memory, now, f"has not consumed its canary for {waited:.0f} s")


def away(memory: Memory) -> Memory:
    """The broker cannot be reached, which is no worker's fault: the canary is asked for anew."""
    return Memory(memory.pid, memory.born, 0.0, memory.told, memory.restarts, memory.in_a_row)


def _end(memory: Memory, now: float, why: str) -> Verdict:
    ended = Memory(
        memory.pid, memory.born, memory.asked, now, memory.restarts + 1, memory.in_a_row + 1
    )
    return Verdict(ended, "term", why)
