"""Manifests, rotation, and from whom a backup comes."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selvage.backup import manifest
from selvage.backup.manifest import Seen
from selvage.fields import Invalid

SAID = {
    "role": "replica",
    "position": "0x100000007",
    "version": "8.0.2",
    "sha256": "0" * 64,
    "size": 12,
    "encrypted": False,
}
ABOUT = {"fabric": "shop", "service": "redis", "name": "20261122T031700Z", "member": "redis2"}
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2099, 1, 1))


def test_a_manifest_is_read_as_it_was_written():
    made = manifest.complete(ABOUT, SAID)
    assert manifest.parse(made.text(), "there") == made


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"sha256": "0" * 63}, "sha256"),
        ({"sha256": None}, "sha256: is required"),
        ({"role": "leader"}, "role"),
        ({"position": "a\nb"}, "position"),
        ({"size": -1}, "size"),
    ],
)
def test_what_a_member_says_is_judged(change, problem):
    with pytest.raises(Invalid, match=f"redis2.{problem}"):
        manifest.complete(ABOUT, {**SAID, **change})


def test_a_member_does_not_say_who_it_is():
    made = manifest.complete(ABOUT, {**SAID, "member": "zk1", "fabric": "other"})
    assert (made.member, made.fabric) == ("redis2", "shop")


@pytest.mark.parametrize("text", ["", "[]", "{", '{"format": 2}'])
def test_a_damaged_manifest_is_refused_with_its_place(text):
    with pytest.raises(Invalid, match=r"^there"):
        manifest.parse(text, "there")


def test_a_manifest_with_more_than_it_should_have_is_refused():
    text = json.dumps({**json.loads(manifest.complete(ABOUT, SAID).text()), "more": 1})
    with pytest.raises(Invalid, match="more"):
        manifest.parse(text, "there")


@given(MOMENTS, MOMENTS)
def test_names_sort_as_times_do(one, other):
    one, other = (when.replace(microsecond=0, tzinfo=UTC) for when in (one, other))
    names = manifest.name_of(one), manifest.name_of(other)
    assert (names[0] < names[1]) == (one < other)


@given(st.integers(0, 40), st.integers(-3, 30))
def test_the_oldest_go_and_the_newest_stays(count, keep):
    start = datetime(2026, 11, 22, tzinfo=UTC)
    names = [manifest.name_of(start + timedelta(days=day)) for day in range(count)]
    gone = manifest.surplus([*reversed(names), ".partial", "lost+found"], keep)
    assert gone == names[: len(gone)]
    assert len(names) - len(gone) == min(count, max(keep, 1))


def test_replicas_come_before_the_primary_and_the_furthest_first():
    seen = [
        Seen("a", "primary", 9),
        Seen("b", "replica", 7),
        Seen("c", "replica", 8),
        Seen("d", "replica", 8),
        Seen("e", "replica", 10, problem="still loads"),
    ]
    assert [one.name for one in manifest.order(seen, "elsewhere")] == ["c", "d", "b", "a"]


def test_never_from_the_host_that_keeps_it():
    seen = [Seen("a", "primary", 9), Seen("b", problem="does not answer")]
    assert manifest.order(seen, "a") == []
    assert manifest.refusal(seen, "a") == (
        "no member can be taken: a: is this very host, and a backup is kept elsewhere;"
        " b: does not answer"
    )


def test_an_answer_that_is_none_is_a_problem_of_that_member():
    assert manifest.seen("a", {"role": "boss"}).problem.startswith("a.role: expected one of")
    assert manifest.seen("a", {"role": "primary", "position": 3}) == Seen("a", "primary", 3)
