"""What a watcher's answers prove."""

import pytest

from sightings import Sighting, changes, reigns, two_at_once


def said(name, *answers, place=None):
    """Answers that took 10 ms each: when it was asked, and whether it was writable."""
    return [Sighting(place or name, at, at + 0.01, name, writable) for at, writable in answers]


ONE = said("db1", (0.0, True), (0.05, True), (0.1, True), (0.15, False))


def test_a_change_with_nobody_between_is_none_of_two():
    other = said("db2", (0.01, False), (0.12, False), (0.2, True), (0.25, True))
    assert two_at_once([*ONE, *other]) == []
    ((before, after),) = changes([*other, *ONE])
    assert (before.name, before.last.asked) == ("db1", 0.1)
    assert (after.name, after.first.asked) == ("db2", 0.2)


def test_answers_that_took_long_prove_nothing():
    # Writable at some time before 0.5, which may have been after the other one's end.
    late = [Sighting("db2", 0.08, 0.5, "db2", True), Sighting("db2", 0.5, 0.51, "db2", True)]
    assert two_at_once([*ONE, *late]) == []


@pytest.mark.parametrize(
    "other",
    [
        said("db2", (0.04, True), (0.09, True)),
        said("db2", (0.02, True)),
        said("db2", (-0.1, True), (0.3, True)),
        said("db2", (0.02, False), (0.07, True)),
        said("db2", (0.07, True), place="sidecar"),
    ],
)
def test_two_at_the_same_time_are_found(other):
    (pair,) = two_at_once([*ONE, *other])
    assert {one.name for one in pair} == {"db1", "db2"}


def test_one_that_comes_back_has_reigned_twice():
    again = said("db1", (0.3, True), (0.35, True))
    assert [reign.name for reign in reigns([*ONE, *again])] == ["db1", "db1"]
    # In between it was another one's turn.
    assert two_at_once([*ONE, *again, *said("db2", (0.2, True), (0.25, True))]) == []
    assert len(two_at_once([*ONE, *again, *said("db2", (0.2, True), (0.32, True))])) == 1


def test_the_sidecar_and_the_server_itself_tell_of_the_same():
    through = said("db1", (0.02, True), (0.07, True), place="sidecar")
    (reign,) = reigns([*ONE, *through])
    assert (reign.first.asked, reign.last.asked) == (0.0, 0.1)
