"""Who has to stay as it was, so that the others can go on."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from selvage.reconciler.stages.quarantine import ports_kept, refused

NAMES = [f"s{number:03}" for number in range(200)]


class Checker:
    """Complains of each of the bad, and of the whole of each group."""

    def __init__(self, *groups: set[str]) -> None:
        self._groups = groups
        self.questions = 0

    def __call__(self, part):
        self.questions += 1
        bad = [group for group in self._groups if group <= {*part}]
        return f"bad: {bad}" if bad else None


@given(st.sets(st.sampled_from(NAMES), max_size=20))
def test_those_who_harm_by_themselves_are_found(bad):
    found = list(refused(NAMES, Checker(*({name} for name in bad))))
    assert [names for names, _ in found] == [[name] for name in sorted(bad)]
    assert all(reason == f"bad: [{{'{name}'}}]" for (name,), reason in found)


def test_few_among_many_take_few_questions():
    checker = Checker({"s007"}, {"s008"}, {"s150"})
    assert len(list(refused(NAMES, checker))) == 3
    assert checker.questions <= 2 + 2 * 3 * 8


@given(st.sets(st.sampled_from(NAMES), min_size=2, max_size=5))
def test_those_who_harm_together_are_found_together(group):
    ((names, _),) = refused(NAMES, Checker(group))
    assert group <= {*names}


def test_a_complaint_without_any_of_them_is_about_all():
    assert list(refused(NAMES, Checker(set()))) == [(NAMES, "bad: [set()]")]


def test_without_a_complaint_nobody_stays():
    assert list(refused(NAMES, Checker())) == []
    assert list(refused([], Checker())) == []


def test_whoever_stays_keeps_its_port_from_who_is_to_have_it_next():
    former = {"stays": 3000, "next": 3001, "free": 3002}
    wanted = {"stays": 3009, "next": 3000, "after": 3001, "free": 3003, "other": 3002, "none": None}
    assert list(ports_kept({"stays"}, former, wanted)) == [("next", "stays"), ("after", "next")]
    assert list(ports_kept({"unknown"}, former, wanted)) == []
