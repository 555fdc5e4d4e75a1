"""`playbooks/reconcile.yml` over the lab's sidecars, next to a play that only pings them."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

from .common import Bench
from .sides import NAIVE, OURS

_ROOT = Path(__file__).parents[2]
_PLAYS = Path(__file__).parent / "plays"
_PLAYBOOKS = {
    "reconcile": _ROOT / "playbooks" / "reconcile.yml",
    "ping": _PLAYS / "ping.yml",
    "naive": _PLAYS / "naive.yml",
}
_SCRATCH = "/run/selvage-bench-services.cfg"


def measure(bench: Bench) -> dict[str, dict[str, object]]:
    """By side, the key `playbook`; makes the lab when it does not run."""
    if not _lab_runs():
        print("         building the lab first (minutes)", file=sys.stderr)
        subprocess.run(["make", "lab"], cwd=_ROOT, stdout=sys.stderr, check=True)
    times: dict[str, list[float]] = {name: [] for name in _PLAYBOOKS}
    for playbook in _PLAYBOOKS.values():
        _run(playbook)
    for _ in range(bench.effort.playbook_runs):
        for name, playbook in _PLAYBOOKS.items():
            began = time.monotonic()
            _run(playbook, unchanged=True)
            times[name].append(time.monotonic() - began)
    _ansible("ansible", "services:edge", "-m", "file", "-a", f"path={_SCRATCH} state=absent")
    medians = {name: statistics.median(found) for name, found in times.items()}
    return {
        side: {
            "playbook": {
                "reconcile_s": round(medians[name], 2),
                "ping_s": round(medians["ping"], 2),
                "ratio": round(medians[name] / medians["ping"], 2),
                "runs": bench.effort.playbook_runs,
            }
        }
        for side, name in ((OURS, "reconcile"), (NAIVE, "naive"))
    }


def _lab_runs() -> bool:
    config = Path("/var/lib/selvage-lab") / os.environ.get("LAB_NAME", "default") / "ssh/config"
    return (
        config.exists()
        and subprocess.run(
            ["ssh", "-F", config, "app1", "test", "-e", "/etc/selvage/reconciler.json"],
            check=False,
        ).returncode
        == 0
    )


def _run(playbook: Path, *, unchanged: bool = False) -> None:
    output = _ansible("ansible-playbook", playbook)
    if unchanged and re.search(r"changed=[1-9]", output):
        raise RuntimeError(f"{playbook.name} shall have nothing to do:\n{output}")


def _ansible(program: str, *arguments: str | Path) -> str:
    command = [Path(sys.executable).parent / program, "-i", "inventories/lab/hosts.yml", *arguments]
    run = subprocess.run(
        command, cwd=_ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if run.returncode:
        raise RuntimeError(f"{arguments[0]} failed:\n{run.stdout}")
    return run.stdout
