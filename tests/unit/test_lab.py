"""The lab's refusals and its memory of processes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

LAB = Path(__file__).parents[2] / "roles/lab_host/files/lab"
sys.path.insert(0, str(LAB))

import common  # noqa: E402  # the path above makes it importable
import processes  # noqa: E402
import requirements  # noqa: E402

PREFIX = "198.19.250"


def test_several_labs_are_removed_at_the_same_time(tmp_path):
    """With the last one goes what labs share: one of them removes it, and no other stumbles."""
    for folder in range(200):
        (tmp_path / f"state/base-trixie/{folder}/x").mkdir(parents=True)
    command = [sys.executable, "-B", LAB, "down"]
    downs = [
        subprocess.Popen([*command, tmp_path / f"state/{name}"], stderr=subprocess.PIPE, text=True)
        for name in "abcd"
    ]
    assert [down.communicate()[1] for down in downs] == [""] * 4
    assert not (tmp_path / "state").exists()


@pytest.fixture
def able(monkeypatch):
    """A computer that can carry a lab, whatever this one is."""
    monkeypatch.setattr(requirements.platform, "system", lambda: "Linux")
    monkeypatch.setattr(requirements.os, "geteuid", lambda: 0)
    monkeypatch.setattr(requirements, "has_overlayfs", lambda: True)
    monkeypatch.setattr(requirements, "cgroup_roots", lambda: [Path("/sys/fs/cgroup")])
    monkeypatch.setattr(requirements, "routed_elsewhere", lambda *_: None)
    monkeypatch.setattr(requirements, "available_memory", lambda: 4 * requirements.GIB)
    usage = shutil._ntuple_diskusage(10, 0, 8 * requirements.GIB)
    monkeypatch.setattr(requirements.shutil, "disk_usage", lambda _: usage)
    return monkeypatch


def refusal(tmp_path):
    with pytest.raises(common.LabError) as error:
        requirements.check(tmp_path, "trial", PREFIX, "trixie")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_an_able_computer_passes(able, tmp_path):
    requirements.check(tmp_path, "trial", PREFIX, "trixie")


def test_another_system_is_refused(able, tmp_path):
    able.setattr(requirements.platform, "system", lambda: "Darwin")
    assert "needs Linux, this is Darwin" in refusal(tmp_path)


def test_neither_root_nor_sudo_is_refused(able, tmp_path):
    able.setattr(requirements.os, "geteuid", lambda: 1000)
    able.setattr(requirements.shutil, "which", lambda _: None)
    assert "needs root" in refusal(tmp_path)


def test_a_kernel_without_overlayfs_is_refused(able, tmp_path):
    able.setattr(requirements, "has_overlayfs", lambda: False)
    assert "overlayfs" in refusal(tmp_path)


def test_a_taken_subnet_is_refused(able, tmp_path):
    able.setattr(requirements, "routed_elsewhere", lambda *_: "tun0")
    assert f"{PREFIX}.0/24 is already routed to tun0" in refusal(tmp_path)


def test_a_full_disk_is_refused(able, tmp_path):
    usage = shutil._ntuple_diskusage(10, 0, 2 * requirements.GIB)
    able.setattr(requirements.shutil, "disk_usage", lambda _: usage)
    assert "2.0 GiB free: the lab needs 6 GiB" in refusal(tmp_path)


def test_too_little_memory_is_refused(able, tmp_path):
    able.setattr(requirements, "available_memory", lambda: requirements.GIB)
    assert "1.0 GiB of memory are free: the lab needs 3 GiB" in refusal(tmp_path)


def test_another_release_is_refused(able, tmp_path):
    spec = (
        '{"name": "trial", "release": "bookworm", "base": "/b", "prefix": "198.19.250",'
        ' "owner": "root", "machines": []}'
    )
    (tmp_path / "trial").mkdir()
    (tmp_path / "trial/lab.json").write_text(spec)
    assert "runs bookworm, not trixie" in refusal(tmp_path)


def test_the_program_refuses_in_one_line():
    command = [sys.executable, "-B", str(LAB), "status", "/nowhere/trial"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "lab: /nowhere/trial: no lab is described here; run make lab\n"


@pytest.mark.parametrize(
    ("subnet", "taken"),
    [("198.18.4.0/24", "tun0"), ("198.20.0.0/24", None), ("203.0.113.0/24", None)],
)
def test_overlapping_routes_count_but_the_default_route(monkeypatch, tmp_path, subnet, taken):
    routes = tmp_path / "route"
    routes.write_text(
        "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\n"
        "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\n"
        "tun0\t000012C6\t00000000\t0001\t0\t0\t0\t0000FEFF\t0\n"
        "slv-trial\t007100CB\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\n"
    )
    monkeypatch.setattr(requirements, "ROUTES", routes)
    assert requirements.routed_elsewhere(subnet, "slv-trial") == taken


def test_a_recorded_process_is_known_by_its_start_time(tmp_path):
    path = tmp_path / "pid"
    processes.record(path, os.getpid())
    assert processes.recorded(path) == os.getpid()
    pid, start, boot = path.read_text().split()
    path.write_text(f"{pid} {int(start) + 1} {boot}\n")
    assert processes.recorded(path) is None
    path.write_text(f"{pid} {start} another-boot\n")
    assert processes.recorded(path) is None


def test_only_the_recorded_process_is_ended(tmp_path):
    ours, other = (subprocess.Popen(["sleep", "600"]) for _ in range(2))
    try:
        processes.record(tmp_path / "ours", ours.pid)
        processes.record(tmp_path / "other", other.pid)
        pid, start, boot = (tmp_path / "other").read_text().split()
        (tmp_path / "other").write_text(f"{pid} {int(start) - 1} {boot}\n")
        processes.end([tmp_path / "ours", tmp_path / "other"], patience=5)
        assert ours.wait(60) == -15
        assert other.poll() is None
    finally:
        for process in (ours, other):
            process.kill()
            process.wait()
