"""A disk that is full, or read-only: under the services file, and under what runs remember."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from daemon import MODULES

RUN = """
import sys
from pathlib import Path
from selvage.reconciler import reconcile, settings
from selvage.reconciler.passes import Limits
limits = Limits(probe_s=60.0)
try:
    result = reconcile.reconcile(settings.load(Path(sys.argv[1])), limits=limits)
    print(*result.problems, sep="\\n")
except reconcile.FAILURES as failure:
    print(failure)
"""
FULL = (
    'mkdir "$1.full"; mount -t tmpfs -o size=64k tmpfs "$1.full"; cp -a "$1/." "$1.full";'
    ' mount --move "$1.full" "$1"; dd if=/dev/zero of="$1/fill" bs=4k 2>/dev/null || true'
)
READ_ONLY = 'mount --bind "$1" "$1"; mount -o remount,bind,ro "$1"'
REASONS = {FULL: "No space left on device", READ_ONLY: "Read-only file system"}


@pytest.fixture
def run(fabric, tmp_path):
    """Reconcile where this is done to the folder, which nobody else sees; what was said."""
    (tmp_path / "state").mkdir()
    fabric.document["state_directory"] = str(tmp_path / "state")

    def run(broken: str, folder: Path) -> tuple[str, str]:
        config = tmp_path / "reconciler.json"
        config.write_text(json.dumps(fabric.document))
        # What is there afterwards, where it was broken.
        script = f'{broken}; shift; "$@"; echo; cat "$0"'
        look_at = next(path for path in folder.iterdir() if path.suffix in (".cfg", ".json"))
        command = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
        ended = subprocess.run(
            [*command, "sh", "-ec", script, look_at, folder, sys.executable, "-c", RUN, config],
            env=os.environ | {"PYTHONPATH": str(MODULES)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (ended.returncode, ended.stderr) == (0, "")
        said, _, left = ended.stdout.partition("\n\n")
        return said.strip(), left

    return run


@pytest.fixture
def two(fabric):
    """One instance is served, and this one is registered since."""
    fabric.service()
    fabric.register(fabric.instance("one").child)
    fabric.reconcile()
    two = fabric.instance("two")
    fabric.register(two.child)
    return two


@pytest.mark.parametrize("broken", [FULL, READ_ONLY], ids=["full", "read-only"])
def test_a_services_file_that_cannot_be_written_changes_nothing(fabric, run, two, broken):
    port = fabric.document["services"][0]["port"]
    before = fabric.services_file
    file = fabric.haproxy.services_config
    said, left = run(broken, file.parent)
    assert said == f"{file}: cannot be written: {REASONS[broken]}"
    assert left == before
    assert fabric.answers(port) == {"one"}
    assert fabric.reconcile().problems == ()
    assert fabric.answers(port) == {"one", "two"}


@pytest.mark.parametrize("broken", [FULL, READ_ONLY], ids=["full", "read-only"])
def test_what_runs_remember_is_told_when_it_is_lost_and_holds_nothing_up(
    fabric, run, two, broken, tmp_path
):
    port = fabric.document["services"][0]["port"]
    memory = tmp_path / "state" / "memory.json"
    before = memory.read_text()
    said, left = run(broken, memory.parent)
    lost = [memory, memory.with_name("metrics.prom")]
    assert said == "\n".join(f"{path}: cannot be written: {REASONS[broken]}" for path in lost)
    assert left == before
    assert fabric.answers(port) == {"one", "two"}
    assert fabric.reconcile().problems == ()


def test_a_lock_that_cannot_be_made_is_told(fabric, run, two, tmp_path):
    (tmp_path / "state" / "lock").unlink()
    before = fabric.services_file
    said, _ = run(READ_ONLY, tmp_path / "state")
    assert said == f"{tmp_path}/state/lock: Read-only file system"
    assert fabric.services_file == before
