"""An operator's overrides: their grammar, their files, and what a repeated command changes."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from selvage.catalogue import Service
from selvage.fields import Invalid
from selvage.reconciler import overrides
from selvage.reconciler.overrides import Override, Overrides, load, parse, put, remove

INVENTORY = Service("inventory", 3000)
NOW = 1_000_000.4
OVERRIDE = Override("inventory", "inventory_198.18.0.21_8080", "new disk", 1_007_200)


def test_what_an_operator_says():
    assert parse(INVENTORY, "198.18.0.21:8080", "new disk", "2h", NOW) == OVERRIDE
    six = parse(INVENTORY, "[2001:DB8::1]:80", "x", "1s", NOW)
    assert (six.server, six.until) == ("inventory_2001:db8::1_80", 1_000_001)


@pytest.mark.parametrize(
    ("place", "reason", "lasts", "message"),
    [
        ("198.18.0.21", "x", "2h", "'198.18.0.21' is not an address and a port: expected ADDRESS"),
        ("app1:8080", "x", "2h", "'app1:8080' is not an address and a port"),
        ("198.18.0.300:80", "x", "2h", "'198.18.0.300:80' is not an IP address"),
        ("198.18.0.21:65536", "x", "2h", "'198.18.0.21:65536' is not an address and a port"),
        ("198.18.0.21:80;x", "x", "2h", "'198.18.0.21:80;x' is not an address and a port"),
        ("198.18.0.21:80", "", "2h", "reason: expected one line of 1 to 200 printable characters"),
        ("198.18.0.21:80", "   ", "2h", "reason: expected one line of 1 to 200 printable"),
        ("198.18.0.21:80", "a\nb", "2h", "reason: expected one line"),
        ("198.18.0.21:80", "a\x1b[31m", "2h", "reason: expected one line of 1 to 200 printable"),
        ("198.18.0.21:80", "x" * 201, "2h", "reason: expected one line"),
        ("198.18.0.21:80", "x", "2d", "for: expected a duration from 1s to 720h, such as"),
        ("198.18.0.21:80", "x", "721h", "for: expected a duration from 1s to 720h"),
        ("198.18.0.21:80", "x", "500ms", "for: expected a duration from 1s to 720h"),
    ],
)
def test_what_does_not_fit_is_one_line(place, reason, lasts, message):
    with pytest.raises(Invalid) as failure:
        parse(INVENTORY, place, reason, lasts, NOW)
    assert str(failure.value).startswith(message)
    assert "\n" not in str(failure.value)


def test_overrides_are_in_force_until_their_end(tmp_path):
    folder = tmp_path / "overrides"
    assert load(folder, NOW) == ((), ())
    assert put(folder, OVERRIDE, NOW)
    assert load(folder, NOW) == ((OVERRIDE,), ())
    assert load(folder, OVERRIDE.until) == ((), ())
    assert remove(folder, OVERRIDE.server)
    assert load(folder, NOW) == ((), ())
    assert not remove(folder, OVERRIDE.server)


def test_a_repeated_command_changes_nothing_until_it_extends(tmp_path):
    assert put(tmp_path, OVERRIDE, NOW)
    soon = replace(OVERRIDE, until=OVERRIDE.until + 600)
    assert not put(tmp_path, soon, NOW + 600)
    assert load(tmp_path, NOW)[0] == (OVERRIDE,)
    later = replace(OVERRIDE, until=OVERRIDE.until + 3_600)
    assert put(tmp_path, later, NOW + 3_600)
    assert load(tmp_path, NOW)[0] == (later,)
    other = replace(later, reason="new fan")
    assert put(tmp_path, other, NOW + 3_600)
    shorter = replace(other, until=later.until - 7_000)
    assert put(tmp_path, shorter, NOW + 3_600)
    assert load(tmp_path, NOW)[0] == (shorter,)


def test_a_dry_run_says_what_would_change_and_changes_nothing(tmp_path):
    folder = tmp_path / "overrides"
    assert put(folder, OVERRIDE, NOW, dry_run=True)
    assert not folder.exists()
    put(folder, OVERRIDE, NOW)
    assert not put(folder, OVERRIDE, NOW, dry_run=True)
    assert remove(folder, OVERRIDE.server, dry_run=True)
    assert load(folder, NOW)[0] == (OVERRIDE,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "expected a"),
        ('{"service": "a"}', "server: is required"),
        ('{"service": "a", "server": "a_x"}', "server: expected a server of a, got a_x"),
        ('{"service": "a", "server": "b_10.0.0.1_80"}', "server: expected a server of a"),
    ],
)
def test_a_damaged_file_is_named_and_the_others_hold(tmp_path, text, message):
    put(tmp_path, OVERRIDE, NOW)
    other = replace(OVERRIDE, server="inventory_198.18.0.22_8080")
    path = tmp_path / f"{other.server}.json"
    path.write_text(text)
    found, (problem,) = load(tmp_path, NOW)
    assert found == (OVERRIDE,)
    assert problem.startswith(f"{path}: {message}")
    assert put(tmp_path, other, NOW)
    assert load(tmp_path, NOW)[1] == ()


DAY = 86_400


def test_an_override_is_on_disk_before_it_is_said_to_be_set(tmp_path, monkeypatch):
    done = []
    replace_, sync = os.replace, os.fsync

    def synced(descriptor):
        done.append(os.fstat(descriptor).st_ino)
        sync(descriptor)

    def replaced(source, target, **options):
        done.append("replaced")
        replace_(source, target, **options)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    folder = tmp_path / "overrides"
    put(folder, OVERRIDE, NOW)
    path = folder / f"{OVERRIDE.server}.json"
    assert done == [
        tmp_path.stat().st_ino, path.stat().st_ino, "replaced", folder.stat().st_ino
    ]  # fmt: skip
    done.clear()
    remove(folder, OVERRIDE.server)
    assert done == [folder.stat().st_ino]


@pytest.fixture
def reads(monkeypatch):
    """The names of the files that were read."""
    seen = []
    read = overrides.read
    monkeypatch.setattr(overrides, "read", lambda path, how: seen.append(path) or read(path, how))
    return seen


def set_at(folder, override, at):
    """Set it, in a folder whose clock says so."""
    put(folder, override, at)
    os.utime(folder, (at, at))


def test_what_did_not_change_is_not_read_again(tmp_path, reads):
    set_at(tmp_path, OVERRIDE, NOW)
    known = Overrides(tmp_path)
    assert known.load(NOW + 10) == ((OVERRIDE,), ())
    reads.clear()
    assert known.load(NOW + 11) == ((OVERRIDE,), ())
    assert known.load(OVERRIDE.until) == ((), ())
    assert known.load(OVERRIDE.until - 1) == ((OVERRIDE,), ())
    assert reads == []
    other = replace(OVERRIDE, server="inventory_198.18.0.22_8080")
    set_at(tmp_path, other, NOW + 20)
    assert known.load(NOW + 30)[0] == (OVERRIDE, other)


def test_two_changes_at_the_same_time_are_both_seen(tmp_path):
    set_at(tmp_path, OVERRIDE, NOW)
    known = Overrides(tmp_path)
    assert known.load(NOW + 0.1)[0] == (OVERRIDE,)
    longer = replace(OVERRIDE, until=OVERRIDE.until + 9_000)
    set_at(tmp_path, longer, NOW)
    assert known.load(NOW + 0.2)[0] == (longer,)


def test_what_ended_long_ago_is_removed_and_nothing_else(tmp_path):
    other = replace(OVERRIDE, server="inventory_198.18.0.22_8080", until=OVERRIDE.until + DAY)
    put(tmp_path, OVERRIDE, NOW)
    put(tmp_path, other, NOW)
    (tmp_path / "notes.txt").touch()
    known = Overrides(tmp_path)
    known.load(NOW)
    known.clear(OVERRIDE.until + DAY - 1)
    assert len([*tmp_path.iterdir()]) == 3, "a clock that is wrong for an hour ends nothing"
    known.clear(OVERRIDE.until + DAY)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{other.server}.json", "notes.txt"]
    assert known.load(NOW)[0] == (other,)


def test_what_an_operator_sets_anew_while_it_is_removed_stays(tmp_path):
    later = OVERRIDE.until + DAY
    put(tmp_path, OVERRIDE, NOW)
    known = Overrides(tmp_path)
    known.load(later)
    again = replace(OVERRIDE, until=round(later) + 600)
    put(tmp_path, again, later)
    known.clear(later)
    assert load(tmp_path, later) == ((again,), ())
    assert len([*tmp_path.iterdir()]) == 1


def test_what_a_killed_run_was_about_to_remove_is_judged_again(tmp_path):
    path = tmp_path / f"{OVERRIDE.server}.json"
    put(tmp_path, OVERRIDE, NOW)
    path.replace(path.with_suffix(".ended"))
    known = Overrides(tmp_path)
    known.load(NOW)
    known.clear(NOW)
    assert known.load(NOW)[0] == (OVERRIDE,)
    assert [*tmp_path.iterdir()] == [path]


def test_a_folder_that_cannot_be_read_ends_nothing(tmp_path):
    folder = tmp_path / "overrides"
    put(folder, OVERRIDE, NOW)
    known = Overrides(folder)
    known.load(NOW)
    folder.rename(tmp_path / "gone")
    folder.touch()
    assert known.load(NOW) == ((OVERRIDE,), (f"{folder}: Not a directory",))
