"""What the daemon's log says of a service, and that it says it once."""

from dataclasses import replace

import pytest

from selvage.formats.registrations import Refusal
from selvage.reconciler.news import News
from selvage.reconciler.result import ServiceResult

QUIET = ServiceResult("inventory", kept=("a", "b"))
BAD = (Refusal("bad", "is bad"),)


def test_nothing_new_is_nothing():
    news = News()
    assert news.of(QUIET) == {}
    assert news.of(replace(QUIET, kept=("a",))) == {}


@pytest.mark.parametrize(
    ("state", "what", "words"),
    [
        ({"held": "only 1 would be left"}, "held", "only 1 would be left"),
        ({"refused": BAD}, "refused", "bad: is bad"),
        ({"out_of_service": BAD}, "out_of_service", "bad: is bad"),
        ({"held_out": BAD}, "held_out", "bad: is bad"),
    ],
)
def test_what_lasts_is_told_when_it_begins_changes_and_ends(state, what, words):
    news = News()
    lasting = replace(QUIET, **state)
    assert news.of(lasting) == {what: words}
    assert news.of(lasting) == {}
    assert news.of(replace(lasting, added=("c",))) == {"added": "c"}
    assert news.of(QUIET) == {what: "none"}
    assert news.of(QUIET) == {}


@pytest.mark.parametrize("what", ["added", "removed", "changed", "drift"])
def test_what_is_done_is_told_each_time_it_is_done_anew(what):
    news = News()
    done = replace(QUIET, **{what: ("c", "d")})
    assert news.of(done) == {what: "c,d"}
    # Still under way, as a server that drains.
    assert news.of(done) == {}
    assert news.of(QUIET) == {}
    assert news.of(done) == {what: "c,d"}


def test_services_are_told_apart():
    news = News()
    held = replace(QUIET, held="why")
    assert news.of(held)
    assert news.of(replace(held, name="orders"))


def test_of_many_the_new_ones_are_told_and_how_many_there_are():
    news = News()
    many = [Refusal(f"i{number:04}", "is bad") for number in range(3_000)]
    first = news.of(replace(QUIET, refused=tuple(many[:-1])))["refused"].split(",")
    assert (first[0], first[-1], len(first)) == ("i0000: is bad", "and 2979 more", 21)
    then = news.of(replace(QUIET, refused=tuple(many)))["refused"]
    assert then.startswith("i2999: is bad,i0000: is bad,")
