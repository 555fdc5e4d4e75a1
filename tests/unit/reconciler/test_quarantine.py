"""Who has to stay as it was, so that the others can go on."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from selvage.haproxy.validation import Complaint
from selvage.reconciler.stages.quarantine import Verdict, judge, ports_kept

NAMES = [f"s{number:03}" for number in range(200)]


class HAProxy:
    """Complains of each of the bad groups, as a whole; names those of one that it can name."""

    def __init__(self, *groups: set[str], named: int = 0, lasts_s: float = 0.0) -> None:
        self._groups = groups
        self._named = named
        self._lasts_s = lasts_s
        self.now = 0.0
        self.questions = 0

    def check(self, part):
        self.questions += 1
        self.now += self._lasts_s
        bad = [group for group in self._groups if group <= {*part}]
        alone = sorted(name for group in bad if len(group) == 1 for name in group)
        services = {name: f"bad: {name}" for name in alone[: self._named]}
        return Complaint("bad", services) if bad else None

    def judge(self, suspects=NAMES):
        return judge(suspects, self.check, lambda: self.now)


@given(st.sets(st.sampled_from(NAMES), max_size=4))
def test_those_who_harm_by_themselves_are_found(bad):
    verdict = HAProxy(*({name} for name in bad)).judge()
    assert verdict == Verdict(dict.fromkeys(bad, "bad"))


@given(st.sets(st.sampled_from(NAMES)))
def test_those_whom_haproxy_names_take_a_check_for_50(bad):
    haproxy = HAProxy(*({name} for name in bad), named=50)
    assert haproxy.judge() == Verdict({name: f"bad: {name}" for name in bad})
    assert haproxy.questions <= 3 + len(bad) / 50


def test_few_among_many_take_few_checks():
    haproxy = HAProxy({"s007"}, {"s008"}, {"s150"})
    assert haproxy.judge().services.keys() == {"s007", "s008", "s150"}
    assert haproxy.questions <= 3 + 2 * 3 * 8


@given(st.sets(st.sampled_from(NAMES), min_size=2, max_size=5))
def test_those_who_harm_together_are_found_together(group):
    assert group <= HAProxy(group).judge().services.keys()


def test_checks_are_bounded_and_what_was_not_found_out_counts_as_rejected():
    haproxy = HAProxy(*({name} for name in NAMES[::2]))
    rejected = haproxy.judge().services
    assert {*NAMES[::2]} <= rejected.keys()
    assert haproxy.questions <= 132


def test_time_is_bounded_too():
    haproxy = HAProxy(*({name} for name in NAMES[::2]), lasts_s=5.0)
    assert {*NAMES[::2]} <= haproxy.judge().services.keys()
    assert haproxy.questions <= 7


def test_a_complaint_without_any_of_them_is_about_the_whole():
    haproxy = HAProxy(set())
    assert haproxy.judge() == Verdict(whole="bad")
    assert haproxy.questions == 2


def test_without_a_complaint_nobody_stays():
    assert HAProxy().judge() == HAProxy().judge([]) == Verdict()


def test_whoever_stays_keeps_its_port_from_who_is_to_have_it_next():
    former = {"stays": 3000, "next": 3001, "free": 3002}
    wanted = {"stays": 3009, "next": 3000, "after": 3001, "free": 3003, "other": 3002, "none": None}
    assert list(ports_kept({"stays"}, former, wanted)) == [("next", "stays"), ("after", "next")]
    assert list(ports_kept({"unknown"}, former, wanted)) == []
