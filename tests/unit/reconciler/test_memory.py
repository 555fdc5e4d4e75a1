"""What runs remember for each other, across processes, kills and boots."""

import json

import pytest

from selvage.reconciler import memory
from selvage.reconciler.memory import MemoryFile


@pytest.fixture
def clock(monkeypatch):
    """The time since the boot, to be set."""
    time = [1_000.0]
    monkeypatch.setattr(memory, "now", lambda: time[0])
    return time


@pytest.fixture
def file(tmp_path):
    return tmp_path / "memory.json"


def remembered(file):
    return MemoryFile(file).load()


def test_the_next_process_knows(file, clock):
    first = MemoryFile(file)
    first.load().counters["selvage_drift_total"] += 2
    first.memory.note_loss("inventory", 5, 60_000)
    first.memory.reloaded_at = 990.0
    first.memory.addresses["db1"] = "10.0.0.1"
    first.save()
    again = remembered(file)
    assert again.counters["selvage_drift_total"] == 2
    assert again.peak("inventory", 60_000) == 5
    assert again.reloaded_at == 990.0
    assert again.addresses == {"db1": "10.0.0.1"}


def test_what_another_process_wrote_is_read_anew(file, clock):
    one, other = MemoryFile(file), MemoryFile(file)
    one.save()
    other.load().note_loss("inventory", 5, 60_000)
    other.save()
    assert one.load().peak("inventory", 60_000) == 5


def test_the_largest_size_within_the_window_counts(file, clock):
    found = remembered(file)
    assert found.peak("inventory", 60_000) == 0
    found.note_loss("inventory", 9, 60_000)
    clock[0] += 30
    found.note_loss("inventory", 4, 60_000)
    assert found.peak("inventory", 60_000) == 9
    assert found.peak("inventory", 29_000) == 4
    assert found.peak("orders", 60_000) == 0
    clock[0] += 31
    assert found.peak("inventory", 60_000) == 4


def test_losses_that_are_no_peak_any_more_are_forgotten(file, clock):
    found = remembered(file)
    for size in range(100, 0, -1):
        found.note_loss("inventory", size, 60_000)
        clock[0] += 10
    assert len(found.losses["inventory"]) <= 7
    for _ in range(100):
        found.note_loss("inventory", 9, 60_000)
    assert found.losses["inventory"] == [(clock[0], 9)]


def test_after_a_boot_there_are_no_times(file, clock, monkeypatch, tmp_path):
    first = MemoryFile(file)
    first.load().note_loss("inventory", 5, 60_000)
    first.memory.counters["selvage_drift_total"] = 2
    first.memory.reloaded_at = 990.0
    first.save()
    boot = tmp_path / "boot_id"
    boot.write_text("another\n")
    monkeypatch.setattr(memory, "_BOOT", boot)
    again = remembered(file)
    assert again.losses == {}
    assert again.reloaded_at is None
    assert again.counters["selvage_drift_total"] == 2


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "1", '{"boot": 1}', '{"counters": []}', "[" * 100_000]
)
def test_a_damaged_file_is_an_empty_one(file, text):
    file.write_text(text)
    assert remembered(file) == memory.Memory()


@pytest.mark.parametrize("field", ["counters", "losses", "reloaded_at", "addresses"])
@pytest.mark.parametrize("value", ["x", [1], {"a": None}, {"a": [[1]]}, {"a": 1e999}])
def test_a_field_of_another_kind_is_damage_too(file, field, value):
    MemoryFile(file).save()
    empty = MemoryFile(file)
    empty.load().reloaded_at = 1.0
    empty.save()
    document = json.loads(file.read_text())
    file.write_text(json.dumps(document | {field: value}))
    assert remembered(file).losses == {}


def test_nothing_new_is_not_written(file):
    first = MemoryFile(file)
    first.load().reloaded_at = 1.0
    first.save()
    before = file.stat()
    first.save()
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
