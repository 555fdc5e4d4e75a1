"""Measure, print the table, write build/bench.json."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import kazoo

from . import churn, flood, latency, nodes, playbook, scale, slow_clients, trace
from .common import FULL, QUICK, Bench, bench
from .report import table
from .sides import NAIVE, OURS

_MEASUREMENTS: dict[str, Callable[[Bench], dict[str, dict[str, object]]]] = {
    "latency": latency.measure,
    "churn": churn.measure_churn,
    "fleet": churn.measure_fleet,
    "scale": scale.measure,
    "flood": flood.measure,
    "slow": slow_clients.measure,
    "playbook": playbook.measure,
}
# They have no naive side; the first takes minutes.
_ON_REQUEST = {"nodes": nodes.measure, "trace": trace.measure}
_BUILD = Path(__file__).parents[2] / "build"


def main() -> int:
    """0 when everything was measured, whatever came out."""
    every = _MEASUREMENTS | _ON_REQUEST
    parser = argparse.ArgumentParser(prog='make bench BENCH="…"')
    parser.add_argument("--quick", action="store_true", help="few trials: only for development")
    parser.add_argument("--only", metavar="A,B", help=f"measure only these: {', '.join(every)}")
    options = parser.parse_args()
    names = options.only.split(",") if options.only else list(_MEASUREMENTS)
    if unknown := [name for name in names if name not in every]:
        parser.error(f"not a measurement: {', '.join(unknown)}")
    began = time.monotonic()
    conditions = _conditions()
    result: dict[str, object] = {}
    naive: dict[str, object] = {}
    failed = []
    with bench(QUICK if options.quick else FULL) as shared:
        for name in names:
            print(f"{time.monotonic() - began:5.0f} s  measuring {name}", file=sys.stderr)
            try:
                found = every[name](shared)
            except Exception as error:  # The others can still be measured.
                failed.append(f"bench: {name} could not be measured: {error!r}")
            else:
                result |= found[OURS]
                naive |= found[NAIVE]
    conditions["load at the end"] = _load()
    conditions["seconds"] = str(round(time.monotonic() - began))
    result |= {"naive": naive, "conditions": conditions}
    _BUILD.mkdir(exist_ok=True)
    # What stands in bench.json comes from one run, and is complete.
    whole = not options.quick and not options.only
    path = _BUILD / ("bench.json" if whole else "bench-part.json")
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(table(result))
    for line in failed:
        print(line, file=sys.stderr)
    return 1 if failed else 0


def _conditions() -> dict[str, str]:
    haproxy = subprocess.run(["haproxy", "-v"], stdout=subprocess.PIPE, text=True, check=True)
    return {
        "cores": str(os.cpu_count()),
        "HAProxy": haproxy.stdout.split()[2],
        "Python, kazoo": f"{platform.python_version()}, {kazoo.__version__}",
        "load at the begin": _load(),
    }


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}"


if __name__ == "__main__":
    sys.exit(main())
