"""The kernel's values and the file agree, or nothing changes. The errors are the kernel's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_modules import load

module = load("sysctl_file")


@pytest.fixture
def proc(tmp_path):
    """A tree like /proc/sys; two of its keys are real files that refuse what is written."""
    root = tmp_path / "sys"
    for key, value in {"vm/swappiness": "60", "fs/file-max": "100000", "net/a": "1\t2"}.items():
        path = root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
    (root / "vm/refusing").symlink_to("/proc/self/oom_score_adj")  # EINVAL for a word
    (root / "vm/hosts").symlink_to("/proc/sys/kernel/ostype")  # EACCES, for root too
    return root


def settle(proc, values, at_least=(), previous="", container=False, check=False, later=None):
    return module.settle(
        values, at_least, previous, later or {}, container=container, check=check, proc=proc
    )


def value(proc, key):
    return (proc / key).read_text().strip()


def test_sets_what_differs_and_writes_all_keys_sorted(proc):
    outcome = settle(proc, {"vm.swappiness": 1, "net.a": "1 2"})
    assert value(proc, "vm/swappiness") == "1"
    assert outcome.after == {"vm.swappiness": "1"}
    assert outcome.text == module.HEADER + "net.a = 1 2\nvm.swappiness = 1\n"


def test_a_second_run_has_nothing_to_set(proc):
    settle(proc, {"vm.swappiness": 1})
    assert settle(proc, {"vm.swappiness": 1}).after == {}


def test_check_mode_says_the_same_and_touches_nothing(proc):
    outcome = settle(proc, {"vm.swappiness": 1, "vm.hosts": "x"}, container=True, check=True)
    assert outcome.after["vm.swappiness"] == "1"
    assert value(proc, "vm/swappiness") == "60"


def test_a_container_reports_what_belongs_to_its_host_and_persists_it(proc):
    outcome = settle(proc, {"vm.hosts": "x", "net.gone": 1, "vm.swappiness": 1}, container=True)
    assert outcome.not_settable == {
        "net.gone": "No such file or directory",
        "vm.hosts": "Permission denied",
    }
    assert outcome.after == {"vm.swappiness": "1"}
    assert "net.gone = 1\n" in outcome.text
    assert "vm.hosts = x\n" in outcome.text


@pytest.mark.parametrize("container", [True, False])
def test_a_refused_value_fails_with_its_key_and_takes_the_others_back(proc, container):
    with pytest.raises(module.Refused, match=r"vm\.refusing: the kernel refuses 'word' \(Inv"):
        settle(proc, {"net.a": "3 4", "vm.refusing": "word"}, container=container)
    assert value(proc, "net/a") == "1 2"


@pytest.mark.parametrize(
    ("key", "reason"),
    [("vm.swapiness", "vm.swapiness: this kernel has no such key"), ("vm.hosts", "Permission")],
)
def test_outside_a_container_nothing_is_excused(proc, key, reason):
    with pytest.raises(module.Refused, match=reason):
        settle(proc, {key: 1})


def test_check_mode_finds_a_misspelt_key_but_trusts_modules_to_be_loaded(proc):
    with pytest.raises(module.Refused, match="no such key"):
        settle(proc, {"vm.swapiness": 1}, check=True)
    outcome = settle(proc, {"net.netfilter.nf_conntrack_max": 5}, check=True)
    assert outcome.after == {"net.netfilter.nf_conntrack_max": "5"}


@pytest.mark.parametrize(
    ("current", "previous", "after", "kept"),
    [
        ("100", "", "200", True),
        ("300", "", "300", False),
        ("200", "", "200", False),
        ("200", "fs.file-max = 200\n", "200", True),
        ("300", "fs.file-max = 200\n", "300", False),
    ],
)
def test_at_least_never_lowers(proc, current, previous, after, kept):
    (proc / "fs/file-max").write_text(current)
    outcome = settle(proc, {"fs.file-max": 200}, at_least=["fs.file-max"], previous=previous)
    assert value(proc, "fs/file-max") == after
    assert ("fs.file-max" in outcome.text) is kept


@pytest.fixture
def folders(tmp_path):
    """Folders as systemd-sysctl reads them at boot, with our own file and others."""
    names = {
        "etc": {
            "50-early.conf": "vm.swappiness = 5\n",
            "90-selvage.conf": "vm.swappiness = 1\n",
            "99-ours.conf": "# vm.dirty_ratio = 1\nvm/swappiness=10\n\nnet.a = 3   4\n",
            "99-zz.conf.bak": "vm.swappiness = 30\n",
        },
        "run": {"90-selvage.conf": "vm.swappiness = 40\n"},
        "usr": {
            "95-vendor.conf": "-vm.swappiness = 20\n;x\nkernel.core_pattern=|/bin/x %p\n",
            "99-ours.conf": "net.a = 5\n",
            "99-globs.conf": "net.*.b = 1\n-net.c\nnonsense\n",
        },
    }
    for folder, files in names.items():
        (tmp_path / folder).mkdir()
        for name, text in files.items():
            (tmp_path / folder / name).write_text(text)
    (tmp_path / "etc/98-masked.conf").symlink_to("/dev/null")
    (tmp_path / "etc/99-sysctl.conf").symlink_to("../sysctl.conf")
    return [tmp_path / folder for folder in ("etc", "run", "local", "usr")]


def test_who_comes_after_us_at_boot_is_known(folders):
    ours = folders[0] / "99-ours.conf"
    assert module.read_later(folders[0] / "90-selvage.conf", folders) == {
        "vm/swappiness": (ours, "10"),
        "net/a": (ours, "3 4"),
        "kernel/core_pattern": (folders[3] / "95-vendor.conf", "|/bin/x %p"),
    }


def test_what_each_boot_would_take_back_is_refused_by_name(proc):
    later = {"vm/swappiness": (Path("/etc/sysctl.d/99-ours.conf"), "10")}
    for check in (True, False):
        with pytest.raises(module.Refused) as refused:
            settle(proc, {"vm.swappiness": 1, "net.a": "3 4"}, later=later, check=check)
        assert str(refused.value) == (
            "vm.swappiness: /etc/sysctl.d/99-ours.conf makes it 10 at each boot, and this would be "
            "1 until then: remove it there, or set it to 10 in node_sysctl"
        )
    assert (value(proc, "vm/swappiness"), value(proc, "net/a")) == ("60", "1\t2")


def test_what_a_boot_makes_the_same_or_more_is_accepted(proc):
    later = {
        "vm/swappiness": (Path("/x"), "1"),
        "net/a": (Path("/x"), "3 4"),
        "fs/file-max": (Path("/x"), "300"),
    }
    values = {"vm.swappiness": 1, "net.a": "3\t4", "fs.file-max": 200}
    settle(proc, values, at_least=["fs.file-max"], later=later)
    with pytest.raises(module.Refused, match=r"fs\.file-max: /x makes it 300"):
        settle(proc, values, later=later)
    later["fs/file-max"] = (Path("/x"), "100")
    with pytest.raises(module.Refused, match=r"fs\.file-max: /x makes it 100"):
        settle(proc, values, at_least=["fs.file-max"], later=later)


def test_the_kernels_way_to_write_ports_is_no_difference():
    assert module.same("22,2888-2890", "2888,22,2889,2890")
    assert not module.same("22,2888", "22,2889")
    assert not module.same("1 2", "2 1")


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("net.ipv4.conf.eth0/1.rp_filter", "net/ipv4/conf/eth0.1/rp_filter"),
        ("net/ipv4/conf/eth0.1/rp_filter", "net/ipv4/conf/eth0.1/rp_filter"),
        ("fs.file-max", "fs/file-max"),
    ],
)
def test_keys_are_read_as_sysctl_d_reads_them(key, path):
    assert str(module.location(key)) == path


@pytest.mark.parametrize("key", ["", "swappiness", "vm..swappiness", "net.//.x", "vm.*", "-vm.x"])
def test_what_is_no_key_is_refused(key):
    with pytest.raises(module.Refused, match="is not the name of a sysctl"):
        module.location(key)


@pytest.mark.parametrize("value", [True, None, [1], "1\nvm.x = 2"])
def test_what_is_no_value_is_refused_with_its_key(proc, value):
    with pytest.raises(module.Refused, match=r"vm\.swappiness: expected a number"):
        settle(proc, {"vm.swappiness": value})


def test_the_module_writes_the_file_once(proc, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module.settle, "__kwdefaults__", {"proc": proc})
    path = tmp_path / "90-selvage.conf"

    def run(check):
        arguments = {
            "path": str(path),
            "values": {"vm.swappiness": 1},
            "_ansible_check_mode": check,
        }
        with patch_module_args(arguments), pytest.raises(SystemExit):
            module.main()
        return json.loads(capsys.readouterr().out)

    assert run(check=True)["changed"] is True
    assert not path.exists()
    first = run(check=False)
    assert (first["changed"], first["set"]) == (True, ["vm.swappiness"])
    assert path.read_text().endswith("vm.swappiness = 1\n")
    assert path.stat().st_mode & 0o777 == 0o644
    assert run(check=False)["changed"] is False
    path.unlink()
    assert run(check=False)["changed"] is True
