"""What runs remember for each other, across processes, kills and boots."""

import json

import pytest

from selvage.reconciler import memory
from selvage.reconciler.memory import MemoryFile


class Node:
    """One computer: its file, the time since its boot, and the boot's name."""

    def __init__(self, folder):
        self.path = folder / "memory.json"
        self.now = 1_000.0
        self._boot = folder / "boot_id"
        self.boot("one")

    def boot(self, name):
        self._boot.write_text(f"{name}\n")

    def file(self):
        return MemoryFile(self.path, clock=lambda: self.now, boot=self._boot)

    def remembered(self):
        return self.file().load()


@pytest.fixture
def node(tmp_path):
    return Node(tmp_path)


def test_the_next_process_knows(node):
    first = node.file()
    first.load().counters["selvage_drift_total"] += 2
    first.memory.note_loss("inventory", 5, 60_000)
    first.memory.reloaded_at = 990.0
    first.memory.addresses["db1"] = "10.0.0.1"
    first.memory.held_out["db"] = [("i-1", "it is older")]
    first.save()
    again = node.remembered()
    assert again.counters["selvage_drift_total"] == 2
    assert again.peak("inventory", 60_000) == 5
    assert again.reloaded_at == 990.0
    assert again.addresses == {"db1": "10.0.0.1"}
    assert again.held_out == {"db": [("i-1", "it is older")]}


def test_what_another_process_wrote_is_read_anew(node):
    one, other = node.file(), node.file()
    one.save()
    other.load().note_loss("inventory", 5, 60_000)
    other.save()
    assert one.load().peak("inventory", 60_000) == 5


def test_the_largest_size_within_the_window_counts(node):
    found = node.remembered()
    assert found.peak("inventory", 60_000) == 0
    found.note_loss("inventory", 9, 60_000)
    node.now += 30
    found.note_loss("inventory", 4, 60_000)
    assert found.peak("inventory", 60_000) == 9
    assert found.peak("inventory", 29_000) == 4
    assert found.peak("orders", 60_000) == 0
    node.now += 31
    assert found.peak("inventory", 60_000) == 4


def test_losses_that_are_no_peak_any_more_are_forgotten(node):
    found = node.remembered()
    for size in range(100, 0, -1):
        found.note_loss("inventory", size, 60_000)
        node.now += 10
    assert len(found.losses["inventory"]) <= 7
    for _ in range(100):
        found.note_loss("inventory", 9, 60_000)
    assert found.losses["inventory"] == [(node.now, 9)]


def test_after_a_boot_there_are_no_times(node):
    first = node.file()
    first.load().note_loss("inventory", 5, 60_000)
    first.memory.counters["selvage_drift_total"] = 2
    first.memory.reloaded_at = 990.0
    first.save()
    node.boot("another")
    again = node.remembered()
    assert again.losses == {}
    assert again.reloaded_at is None
    assert again.counters["selvage_drift_total"] == 2


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "1", '{"boot": 1}', '{"counters": []}', "[" * 100_000]
)
def test_a_damaged_file_is_an_empty_one(node, text):
    node.path.write_text(text)
    assert node.remembered() == memory.Memory()


@pytest.mark.parametrize("field", ["counters", "losses", "reloaded_at", "addresses", "held_out"])
@pytest.mark.parametrize("value", ["x", [1], {"a": None}, {"a": [[1]]}, {"a": 1e999}])
def test_a_field_of_another_kind_is_damage_too(node, field, value):
    node.file().save()
    empty = node.file()
    empty.load().reloaded_at = 1.0
    empty.save()
    document = json.loads(node.path.read_text())
    node.path.write_text(json.dumps(document | {field: value}))
    assert node.remembered().losses == {}


def test_nothing_new_is_not_written(node):
    first = node.file()
    first.load().reloaded_at = 1.0
    first.save()
    before = node.path.stat()
    first.save()
    assert (node.path.stat().st_ino, node.path.stat().st_mtime_ns) == (
        before.st_ino,
        before.st_mtime_ns,
    )
