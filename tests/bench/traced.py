"""The reconciler's daemon, which tells when each stage of a pass has ended.

Run as `python -m bench.traced FILE --config …`: FILE gets a line of JSON per pass, with times of
`time.monotonic` by the names of the stages.
"""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from selvage.haproxy import services_file
from selvage.haproxy.runtime import Runtime
from selvage.reconciler import memory
from selvage.reconciler.__main__ import main
from selvage.reconciler.passes import Reconciler
from selvage.reconciler.prober import Probe
from selvage.registry.view import RegistryView

# In the order in which a join meets them. What happens twice in a pass counts the first time,
# but for the last two.
STAGES = ("event", "pass", "read", "looked", "probed", "filed", "applied", "read_back", "saved")


class Trace:
    """The times of the present pass."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", buffering=1)
        self._times: dict[str, float] = {}

    def mark(self, stage: str, *, last: bool = False) -> None:
        at = time.monotonic()
        if last or stage not in self._times:
            self._times[stage] = at

    def end(self) -> None:
        times, self._times = self._times, {}
        if "applied" in times:
            self._file.write(json.dumps(times) + "\n")

    def after(self, kind: type | Any, name: str, what: Callable[[], None]) -> None:
        """Call `what` whenever this function has returned."""
        inner = getattr(kind, name)

        @functools.wraps(inner)
        def traced(*given: Any, **more: Any) -> Any:
            try:
                return inner(*given, **more)
            finally:
                what()

        setattr(kind, name, traced)


def install(trace: Trace) -> None:
    """Mark the stages."""

    def looked() -> None:
        trace.mark("read_back" if "applied" in trace._times else "looked")

    trace.after(RegistryView, "_event", lambda: trace.mark("event"))
    trace.after(RegistryView, "refresh", lambda: trace.mark("read"))
    trace.after(Runtime, "services", looked)
    trace.after(Probe, "run", lambda: trace.mark("probed"))
    trace.after(services_file, "write", lambda: trace.mark("filed"))
    trace.after(Runtime, "execute", lambda: trace.mark("applied"))
    trace.after(memory.MemoryFile, "save", lambda: trace.mark("saved"))
    run = Reconciler.run

    def traced(*given: Any, **more: Any) -> Any:
        trace.mark("pass")
        try:
            return run(*given, **more)
        finally:
            trace.end()

    Reconciler.run = traced  # type: ignore[method-assign]


if __name__ == "__main__":
    install(Trace(Path(sys.argv.pop(1))))
    sys.exit(main())
