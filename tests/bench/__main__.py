"""`python -m bench`: measure, print the table, write build/bench.json."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from . import churn, latency, nodes, playbook, scale
from .common import FULL, QUICK, Bench, bench
from .report import table
from .sides import NAIVE, OURS

_MEASUREMENTS: dict[str, Callable[[Bench], dict[str, dict[str, object]]]] = {
    "latency": latency.measure,
    "churn": churn.measure_churn,
    "fleet": churn.measure_fleet,
    "scale": scale.measure,
    "playbook": playbook.measure,
    "nodes": nodes.measure,
}
_RESULT = Path(__file__).parents[2] / "build" / "bench.json"


def main() -> int:
    """0 when everything was measured, whatever came out."""
    parser = argparse.ArgumentParser(prog="make bench BENCH=…")
    parser.add_argument("--quick", action="store_true", help="few trials: only for development")
    parser.add_argument(
        "--only", metavar="A,B", default=",".join(_MEASUREMENTS), help=", ".join(_MEASUREMENTS)
    )
    options = parser.parse_args()
    names = options.only.split(",")
    if unknown := [name for name in names if name not in _MEASUREMENTS]:
        parser.error(f"not a measurement: {', '.join(unknown)}")
    began = time.monotonic()
    result: dict[str, object] = {"quick": options.quick, "load": [os.getloadavg()]}
    naive: dict[str, object] = {}
    failed = []
    with bench(QUICK if options.quick else FULL) as shared:
        for name in names:
            print(f"{time.monotonic() - began:5.0f} s  measuring {name}", file=sys.stderr)
            try:
                found = _MEASUREMENTS[name](shared)
            except Exception as error:  # The others can still be measured.
                failed.append(f"bench: {name} could not be measured: {error!r}")
            else:
                result |= found[OURS]
                naive |= found[NAIVE]
    result["naive"] = naive
    result["load"].append(os.getloadavg())
    result["seconds"] = round(time.monotonic() - began)
    _RESULT.parent.mkdir(exist_ok=True)
    _RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(table(result))
    for line in failed:
        print(line, file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
